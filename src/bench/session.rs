//! The host's side of the mailbox protocol: see [`nest_device::mailbox`].

use nest_device::mailbox::{
    self, BOX_BYTES, Command, Field, HEADER_WORDS, MAGIC, MARK_START, READY, Status, TIMED_RUNS,
    VERSION, checksums_offset, cycles_offset,
};

use super::{Compiled, Runner, stack_bytes, words};
use crate::diag::{DEVICE_STOPPED, Diagnostic, IMAGE_PROTOCOL, Result};
use crate::image::MAILBOX_SYMBOL;
use crate::ir::ids::{Id, Level};
use crate::units::{Bytes, Cycles, Instructions};

/// An image that stands at its ready breakpoint.
pub(super) struct Session<'a> {
    runner: &'a mut dyn Runner,
    place: String,
    mailbox: u32,
    layers: usize,
    input: u32,
    output: u32,
    output_bytes: usize,
    boxes: u32,
    /// The most boxes there can be; 0 if none are decoded.
    box_limit: usize,
}

/// What one inference gave.
pub(super) struct Verified {
    pub checksums: Vec<u32>,
    pub output: Vec<i8>,
    /// Words of the boxes found; empty if none are decoded.
    pub boxes: Vec<u32>,
}

/// What the timed runs took.
pub(super) struct Timing {
    /// `[run][layer]`.
    pub cycles: Vec<Vec<Cycles>>,
    /// `[run][layer]`; runs are empty if the runner cannot count.
    pub instructions: Vec<Vec<Instructions>>,
    /// What decoding boxes took, if any are.
    pub boxes: Option<BoxTiming>,
}

/// What decoding the boxes of the timed runs took.
pub(super) struct BoxTiming {
    /// Boxes found.
    pub found: u64,
    /// One a run.
    pub cycles: Vec<Cycles>,
    /// One a run; 0 if the runner cannot count.
    pub instructions: Vec<Instructions>,
}

impl Timing {
    /// The run whose total is the median.
    pub fn median_run(&self) -> usize {
        let mut runs: Vec<usize> = (0..self.cycles.len()).collect();
        runs.sort_by_key(|&run| self.cycles[run].iter().map(|c| c.0).sum::<u64>());
        runs.get(runs.len() / 2).copied().unwrap_or(0)
    }
}

impl<'a> Session<'a> {
    /// Runs the image's start-up and checks that it is the one the program belongs to.
    pub fn start(compiled: &Compiled, runner: &'a mut dyn Runner) -> Result<Self, Diagnostic> {
        let place = format!("{} on {}", compiled.program.name, compiled.board.name);
        let mailbox = compiled.image.address_of(MAILBOX_SYMBOL).unwrap_or(0);
        let program = &compiled.program;
        let mut session = Self {
            runner,
            place,
            mailbox,
            layers: program.steps.len(),
            input: 0,
            output: 0,
            output_bytes: 0,
            boxes: 0,
            box_limit: (compiled.decoder.as_ref()).map_or(0, |decoder| decoder.candidates()),
        };
        session.resume()?;
        session.expect_status(Status::Ready)?;
        let header = session.header()?;
        let field = |field: Field| header[field as usize];
        let input_bytes = program.tensors[program.input].shape.len();
        let output_bytes = (program.outputs.iter())
            .map(|&t| program.tensors[t].shape.len())
            .sum::<usize>();
        for (what, of, expected) in [
            ("magic number", Field::Magic, MAGIC),
            ("protocol version", Field::Version, VERSION),
            (
                "layout version",
                Field::FormatVersion,
                nest_format::FORMAT_VERSION,
            ),
            ("number of layers", Field::LayerCount, session.layers as u32),
            (
                "number of levels",
                Field::LevelCount,
                program.level_count() as u32,
            ),
            ("size of the input", Field::InputBytes, input_bytes as u32),
            (
                "size of the outputs",
                Field::OutputBytes,
                output_bytes as u32,
            ),
            ("number of boxes", Field::BoxLimit, session.box_limit as u32),
            (
                "clock",
                Field::ClockHz,
                compiled.board.clock.core_hz.0 as u32,
            ),
        ] {
            if field(of) != expected {
                return Err(Diagnostic::new(
                    IMAGE_PROTOCOL,
                    &session.place,
                    format!(
                        "the image's {what} is {}, and {expected} is expected",
                        field(of)
                    ),
                    "compile the model again with this version of nestc",
                ));
            }
        }
        session.input = field(Field::InputAddress);
        session.output = field(Field::OutputAddress);
        session.output_bytes = output_bytes;
        session.boxes = field(Field::BoxAddress);
        Ok(session)
    }

    /// One inference, compared layer by layer.
    pub fn verify(&mut self, level: Level, input: &[i8]) -> Result<Verified, Diagnostic> {
        self.command(Command::Verify, level, input)?;
        let mut bytes = vec![0; 4 * self.layers];
        self.runner
            .read(self.mailbox + checksums_offset(self.layers), &mut bytes)?;
        let mut output = vec![0; self.output_bytes];
        self.runner.read(self.output, &mut output)?;
        Ok(Verified {
            checksums: words(&bytes),
            output: output.into_iter().map(|b| b as i8).collect(),
            boxes: self.boxes()?,
        })
    }

    /// The boxes that the last inference found, in words.
    fn boxes(&mut self) -> Result<Vec<u32>, Diagnostic> {
        if self.box_limit == 0 {
            return Ok(Vec::new());
        }
        let found = self.header()?[Field::Boxes as usize] as usize;
        // A wrong count allocates nothing big.
        let mut bytes = vec![0; BOX_BYTES * found.min(self.box_limit)];
        self.runner.read(self.boxes, &mut bytes)?;
        Ok(words(&bytes))
    }

    /// Timed inferences.
    pub fn time(&mut self, level: Level, input: &[i8]) -> Result<Timing, Diagnostic> {
        self.runner.take_marks();
        self.command(Command::Time, level, input)?;
        let mut instructions = Vec::new();
        let mut last = Instructions(0);
        for mark in self.runner.take_marks() {
            if mark.layer == MARK_START {
                instructions.push(Vec::new());
            } else if let Some(run) = instructions.last_mut() {
                run.push(mark.instructions - last);
            }
            last = mark.instructions;
        }
        instructions.resize(TIMED_RUNS, Vec::new());
        // Behind the last layer, boxes are decoded.
        let behind = (instructions.iter_mut())
            .map(|run| match run.len() > self.layers {
                true => run.pop().unwrap_or_default(),
                false => Instructions(0),
            })
            .collect();
        let mut cycles = Vec::new();
        for run in 0..TIMED_RUNS {
            let mut bytes = vec![0; 4 * self.layers];
            self.runner
                .read(self.mailbox + cycles_offset(self.layers, run), &mut bytes)?;
            cycles.push(
                words(&bytes)
                    .into_iter()
                    .map(|c| Cycles(c.into()))
                    .collect(),
            );
        }
        let boxes = if self.box_limit > 0 {
            let header = self.header()?;
            let of_runs = &header[Field::BoxCycles as usize..][..TIMED_RUNS];
            Some(BoxTiming {
                found: header[Field::Boxes as usize].into(),
                cycles: of_runs.iter().map(|&c| Cycles(c.into())).collect(),
                instructions: behind,
            })
        } else {
            None
        };
        Ok(Timing {
            cycles,
            instructions,
            boxes,
        })
    }

    /// The deepest stack so far.
    pub fn stack(&mut self) -> Result<Bytes, Diagnostic> {
        let header = self.header()?;
        Ok(stack_bytes(header[Field::StackBytes as usize]))
    }

    fn header(&mut self) -> Result<Vec<u32>, Diagnostic> {
        let mut bytes = vec![0; 4 * HEADER_WORDS];
        self.runner.read(self.mailbox, &mut bytes)?;
        Ok(words(&bytes))
    }

    fn set(&mut self, field: Field, value: u32) -> Result<(), Diagnostic> {
        let address = self.mailbox + field.offset();
        self.runner.write(address, &value.to_le_bytes())
    }

    fn command(&mut self, command: Command, level: Level, input: &[i8]) -> Result<(), Diagnostic> {
        let bytes: Vec<u8> = input.iter().map(|&q| q as u8).collect();
        self.runner.write(self.input, &bytes)?;
        self.set(Field::Level, level.index() as u32)?;
        self.set(Field::Command, command as u32)?;
        self.resume()?;
        self.expect_status(Status::Done)
    }

    /// Runs to the next ready breakpoint.
    fn resume(&mut self) -> Result<(), Diagnostic> {
        match self.runner.resume()? {
            READY => Ok(()),
            mailbox::STOPPED => {
                let header = self.header()?;
                let again = "reset the board and try again; if it stays, compile the model again";
                let (why, hint) = match Status::of(header[Field::Status as usize]) {
                    Some(Status::ClockFailed) => (
                        "a clock did not become ready".into(),
                        "switch the board off and on and try again; if it stays, check its supply: the full clock needs the full core voltage",
                    ),
                    Some(Status::Panicked) => ("it panicked".into(), again),
                    Some(Status::Fault) => ("a hard fault".into(), again),
                    other => (format!("status {other:?}"), again),
                };
                Err(Diagnostic::new(
                    DEVICE_STOPPED,
                    &self.place,
                    format!("the image gave up: {why}"),
                    hint,
                ))
            }
            other => Err(Diagnostic::new(
                IMAGE_PROTOCOL,
                &self.place,
                format!("the image stopped at breakpoint {other}, and {READY} is expected"),
                "compile the model again with this version of nestc",
            )),
        }
    }

    fn expect_status(&mut self, expected: Status) -> Result<(), Diagnostic> {
        let header = self.header()?;
        let word = header[Field::Status as usize];
        if Status::of(word) == Some(expected) {
            return Ok(());
        }
        if expected == Status::Done && Status::of(word) == Some(Status::Ready) {
            return Err(Diagnostic::new(
                DEVICE_STOPPED,
                &self.place,
                "the board was reset while it ran: the image stands at its start again",
                "leave the reset button alone, and check the supply under load; run the same again",
            ));
        }
        Err(Diagnostic::new(
            IMAGE_PROTOCOL,
            &self.place,
            format!("the image's status is {word}, and {expected:?} is expected"),
            "compile the model again with this version of nestc",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_run_is_the_one_in_the_middle() {
        let of = |totals: [u64; 3]| Timing {
            cycles: totals
                .iter()
                .map(|&t| vec![Cycles(t / 2), Cycles(t - t / 2)])
                .collect(),
            instructions: vec![vec![]; 3],
            boxes: None,
        };
        assert_eq!(of([900, 500, 600]).median_run(), 2);
        assert_eq!(of([900, 600, 500]).median_run(), 1);
        assert_eq!(of([600, 500, 900]).median_run(), 0);
    }
}
