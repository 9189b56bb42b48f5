//! Recording a session and playing it back: what a device answered once, again and anywhere.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Mark, Runner};
use crate::diag::{Diagnostic, REPLAY_DIVERGED, Result};
use crate::report::MeasuredBy;

/// One step of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// Memory was read.
    Read {
        /// From where.
        address: u32,
        /// What was there.
        bytes: Vec<u8>,
    },
    /// Memory was written.
    Write {
        /// To where.
        address: u32,
        /// What.
        bytes: Vec<u8>,
    },
    /// The image ran to a breakpoint.
    Resume {
        /// Its immediate.
        breakpoint: u8,
    },
    /// Marks were taken.
    Marks(Vec<Mark>),
}

/// A runner that passes everything on and notes it.
pub struct Recorder<R> {
    inner: R,
    /// Everything so far.
    pub exchanges: Vec<Exchange>,
}

impl<R: Runner> Recorder<R> {
    /// Notes what passes to `inner`.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            exchanges: Vec::new(),
        }
    }
}

impl<R: Runner> Runner for Recorder<R> {
    fn measured_by(&self) -> MeasuredBy {
        self.inner.measured_by()
    }
    fn emulator_model(&self) -> Option<String> {
        self.inner.emulator_model()
    }
    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic> {
        self.inner.read(address, buffer)?;
        self.exchanges.push(Exchange::Read {
            address,
            bytes: buffer.to_vec(),
        });
        Ok(())
    }
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Diagnostic> {
        self.inner.write(address, bytes)?;
        self.exchanges.push(Exchange::Write {
            address,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }
    fn resume(&mut self) -> Result<u8, Diagnostic> {
        let breakpoint = self.inner.resume()?;
        self.exchanges.push(Exchange::Resume { breakpoint });
        Ok(breakpoint)
    }
    fn take_marks(&mut self) -> Vec<Mark> {
        let marks = self.inner.take_marks();
        self.exchanges.push(Exchange::Marks(marks.clone()));
        marks
    }
}

/// A runner that answers as a recorded session did.
pub struct ReplayRunner {
    left: VecDeque<Exchange>,
    played: usize,
}

impl ReplayRunner {
    /// Plays a session.
    pub fn new(exchanges: Vec<Exchange>) -> Self {
        Self {
            left: exchanges.into(),
            played: 0,
        }
    }

    /// The next step, which `fits` picks the answer from.
    fn next<T>(
        &mut self,
        asked: String,
        fits: impl FnOnce(&Exchange) -> Option<T>,
    ) -> Result<T, Diagnostic> {
        let next = self.left.pop_front();
        self.played += 1;
        next.as_ref().and_then(fits).ok_or_else(|| {
            let recorded = match next {
                None => "nothing more".into(),
                Some(Exchange::Read { address, bytes }) => {
                    format!("a read of {} bytes at {address:#x}", bytes.len())
                }
                Some(Exchange::Write { address, bytes }) => {
                    format!("another write of {} bytes at {address:#x}", bytes.len())
                }
                Some(Exchange::Resume { .. }) => "a resume".into(),
                Some(Exchange::Marks(_)) => "marks".into(),
            };
            Diagnostic::new(
                REPLAY_DIVERGED,
                format!("step {} of the session", self.played),
                format!("asked for {asked}, and recorded is {recorded}"),
                "replay with the folder and options of the recording",
            )
        })
    }
}

impl Runner for ReplayRunner {
    fn measured_by(&self) -> MeasuredBy {
        MeasuredBy::Replay
    }
    fn emulator_model(&self) -> Option<String> {
        None
    }
    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic> {
        let asked = format!("a read of {} bytes at {address:#x}", buffer.len());
        let bytes = self.next(asked, |e| match e {
            Exchange::Read { address: a, bytes }
                if *a == address && bytes.len() == buffer.len() =>
            {
                Some(bytes.clone())
            }
            _ => None,
        })?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Diagnostic> {
        let asked = format!("a write of {} bytes at {address:#x}", bytes.len());
        self.next(asked, |e| match e {
            Exchange::Write {
                address: a,
                bytes: b,
            } if *a == address && b == bytes => Some(()),
            _ => None,
        })
    }
    fn resume(&mut self) -> Result<u8, Diagnostic> {
        self.next("a resume".into(), |e| match e {
            Exchange::Resume { breakpoint } => Some(*breakpoint),
            _ => None,
        })
    }
    fn take_marks(&mut self) -> Vec<Mark> {
        // Without an error to give, a session that does not fit shows at its next step.
        match self.left.front() {
            Some(Exchange::Marks(marks)) => {
                let marks = marks.clone();
                self.left.pop_front();
                self.played += 1;
                marks
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers reads with the low byte of each address.
    struct Echo;

    impl Runner for Echo {
        fn measured_by(&self) -> MeasuredBy {
            MeasuredBy::Probe
        }
        fn emulator_model(&self) -> Option<String> {
            None
        }
        fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic> {
            for (i, b) in buffer.iter_mut().enumerate() {
                *b = address as u8 + i as u8;
            }
            Ok(())
        }
        fn write(&mut self, _: u32, _: &[u8]) -> Result<(), Diagnostic> {
            Ok(())
        }
        fn resume(&mut self) -> Result<u8, Diagnostic> {
            Ok(1)
        }
        fn take_marks(&mut self) -> Vec<Mark> {
            Vec::new()
        }
    }

    fn session(runner: &mut dyn Runner) -> Result<Vec<u8>, Diagnostic> {
        runner.resume()?;
        runner.write(0x10, &[1, 2])?;
        runner.take_marks();
        let mut bytes = vec![0; 3];
        runner.read(0x20, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn a_session_plays_back_as_recorded() {
        let mut recorder = Recorder::new(Echo);
        let first = session(&mut recorder).unwrap();
        let json = serde_json::to_string(&recorder.exchanges).unwrap();
        let mut replay = ReplayRunner::new(serde_json::from_str(&json).unwrap());
        assert_eq!(session(&mut replay).unwrap(), first);
        assert_eq!(session(&mut replay).unwrap_err().code, REPLAY_DIVERGED);
    }

    #[test]
    fn what_was_not_recorded_is_refused() {
        let mut recorder = Recorder::new(Echo);
        session(&mut recorder).unwrap();
        let mut replay = ReplayRunner::new(recorder.exchanges);
        replay.resume().unwrap();
        let error = replay.write(0x10, &[1, 3]).unwrap_err();
        assert_eq!(error.code, REPLAY_DIVERGED);
        assert!(error.place.contains("step 2"), "{}", error.place);
    }
}
