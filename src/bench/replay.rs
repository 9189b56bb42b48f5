//! Recording a session and playing it back: what a device answered once, again and anywhere.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{Compiled, Mark, Runner};
use crate::diag::{CODES, Code, DEVICE_STOPPED, Diagnostic, REPLAY_DIVERGED, Result, TRANSCRIPT};
use crate::emit::NESTC_VERSION;
use crate::export;
use crate::report::MeasuredBy;

/// Version of the form of a [`Transcript`].
const TRANSCRIPT_VERSION: u32 = 1;

/// One step of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// Memory was read.
    Read {
        /// From where.
        address: u32,
        /// What was there.
        #[serde(with = "hexadecimal")]
        bytes: Vec<u8>,
    },
    /// Memory was written.
    Write {
        /// To where.
        address: u32,
        /// What.
        #[serde(with = "hexadecimal")]
        bytes: Vec<u8>,
    },
    /// The image ran to a breakpoint.
    Resume {
        /// Its immediate.
        breakpoint: u8,
    },
    /// Marks were taken.
    Marks(Vec<Mark>),
    /// Reading, writing or running failed, which ended the session.
    Failed {
        /// The finding's code.
        code: String,
        /// Where it was.
        place: String,
        /// What it was.
        message: String,
        /// What to do about it.
        hint: String,
    },
}

/// Bytes as pairs of hexadecimal digits.
mod hexadecimal {
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        serializer.serialize_str(&digits)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(deserializer)?;
        (digits.as_bytes().chunks(2))
            .map(|pair| {
                let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
                pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
            })
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| serde::de::Error::custom("bytes are pairs of hexadecimal digits"))
    }
}

/// A recorded session, and what it was recorded with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// Version of this form.
    pub schema_version: u32,
    /// The nestc that recorded it.
    pub nestc_version: String,
    /// The model's name.
    pub model: String,
    /// The board's.
    pub target: String,
    /// SHA-256 of the image's ELF file.
    pub image_sha256: String,
    /// What passed, in order.
    pub exchanges: Vec<Exchange>,
}

impl Transcript {
    /// A session with this image.
    pub fn new(compiled: &Compiled, exchanges: Vec<Exchange>) -> Self {
        Self {
            schema_version: TRANSCRIPT_VERSION,
            nestc_version: NESTC_VERSION.into(),
            model: compiled.program.name.clone(),
            target: compiled.board.name.clone(),
            image_sha256: digest(&compiled.elf),
            exchanges,
        }
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        // A struct of numbers and strings always has a JSON form.
        let json = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        export::replace(path, json.as_bytes())?;
        Ok(())
    }

    /// Reads one that was recorded with this image.
    ///
    /// # Errors
    /// `E773` if it is none, `E755` if it was recorded with another image.
    pub fn read(path: &Path, compiled: &Compiled) -> Result<Self> {
        let place = path.display().to_string();
        let text = fs::read(path).map_err(|e| Diagnostic::io(path, "read the session", &e))?;
        let fault = |message: String| {
            Diagnostic::new(
                TRANSCRIPT,
                &place,
                message,
                "give a file that `nestc bench --on probe --record FILE` wrote",
            )
        };
        let transcript: Self = serde_json::from_slice(&text)
            .map_err(|error| fault(format!("this is no recorded session: {error}")))?;
        if transcript.schema_version != TRANSCRIPT_VERSION {
            return Err(fault(format!(
                "the recorded session has version {}, and this nestc reads {TRANSCRIPT_VERSION}",
                transcript.schema_version
            ))
            .into());
        }
        if transcript.image_sha256 != digest(&compiled.elf) {
            return Err(Diagnostic::new(
                REPLAY_DIVERGED,
                place,
                format!(
                    "the session was recorded with another image: {} for {}, by nestc {}",
                    transcript.model, transcript.target, transcript.nestc_version
                ),
                "give the folder that it was recorded with",
            )
            .into());
        }
        Ok(transcript)
    }
}

/// SHA-256 in hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    (Sha256::digest(bytes).iter())
        .map(|b| format!("{b:02x}"))
        .collect()
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

    fn note<T: Copy>(
        &mut self,
        result: Result<T, Diagnostic>,
        exchange: impl FnOnce(T) -> Exchange,
    ) -> Result<T, Diagnostic> {
        self.exchanges.push(match &result {
            Ok(value) => exchange(*value),
            Err(fault) => Exchange::Failed {
                code: fault.code.to_string(),
                place: fault.place.clone(),
                message: fault.message.clone(),
                hint: fault.hint.clone(),
            },
        });
        result
    }
}

impl<R: Runner> Runner for Recorder<R> {
    fn measured_by(&self) -> MeasuredBy {
        self.inner.measured_by()
    }
    fn emulator_model(&self) -> Option<String> {
        self.inner.emulator_model()
    }
    fn timing(&self) -> Option<String> {
        self.inner.timing()
    }
    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic> {
        let read = self.inner.read(address, buffer);
        self.note(read, |()| Exchange::Read {
            address,
            bytes: buffer.to_vec(),
        })
    }
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Diagnostic> {
        let written = self.inner.write(address, bytes);
        self.note(written, |()| Exchange::Write {
            address,
            bytes: bytes.to_vec(),
        })
    }
    fn resume(&mut self) -> Result<u8, Diagnostic> {
        let resumed = self.inner.resume();
        self.note(resumed, |breakpoint| Exchange::Resume { breakpoint })
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
        if let Some(Exchange::Failed {
            code,
            place,
            message,
            hint,
        }) = &next
        {
            let row = CODES.iter().find(|row| row.code == code);
            let code = row.map_or(DEVICE_STOPPED, |row| Code(row.code));
            return Err(Diagnostic::new(code, place, message, hint));
        }
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
                Some(Exchange::Failed { .. }) => "a failure".into(),
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
    fn bytes_are_stored_as_digits() {
        let exchange = Exchange::Write {
            address: 16,
            bytes: vec![0, 0x5a, 255],
        };
        let json = serde_json::to_string(&exchange).unwrap();
        assert_eq!(json, r#"{"write":{"address":16,"bytes":"005aff"}}"#);
        assert_eq!(serde_json::from_str::<Exchange>(&json).unwrap(), exchange);
        for bad in ["0", "0x", "zz", "é"] {
            let json = json.replace("005aff", bad);
            assert!(serde_json::from_str::<Exchange>(&json).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failure_plays_back_as_itself() {
        let fault = Diagnostic::new(DEVICE_STOPPED, "here", "it stopped", "try again");
        let mut recorder = Recorder::new(Echo);
        let failed = recorder.note(Err::<(), _>(fault.clone()), |()| unreachable!());
        assert_eq!(failed.unwrap_err(), fault);
        let mut replay = ReplayRunner::new(recorder.exchanges);
        assert_eq!(replay.resume().unwrap_err(), fault);
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
