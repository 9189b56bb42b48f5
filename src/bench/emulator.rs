//! The built-in cycle model as a runner.

use super::{Compiled, Mark, Runner, Settings, memory_map};
use crate::diag::{DEVICE_STOPPED, Diagnostic, Result};
use crate::emulator::{EMULATOR_MODEL, Fault, Machine, Stop, TimingConfig};
use crate::image::MARK_SYMBOL;
use crate::report::MeasuredBy;
use crate::units::Instructions;

/// Instructions that one command may take: minutes of emulation, seconds on a device.
const LIMIT: Instructions = Instructions(20_000_000_000);

/// An emulated board with an image on it.
pub struct EmulatorRunner {
    machine: Machine,
    place: String,
    /// The setting's name; none without a cycle model.
    timing: Option<String>,
}

impl EmulatorRunner {
    /// Loads the image onto its board with the expected timing, or without any where the core has no
    /// cycle model.
    ///
    /// # Errors
    /// What the emulator finds in the ELF file.
    pub fn new(compiled: &Compiled) -> Result<Self> {
        let timing = if compiled.board.core.kind.has_cycle_model() {
            Settings::of(&compiled.board).main
        } else {
            TimingConfig::functional()
        };
        Self::with(compiled, timing)
    }

    /// Loads the image onto a board with this timing.
    ///
    /// # Errors
    /// As [`EmulatorRunner::new`].
    pub fn with(compiled: &Compiled, timing: TimingConfig) -> Result<Self> {
        let modelled = compiled.board.core.kind.has_cycle_model();
        let name = modelled.then(|| timing.name.clone());
        let mut machine = Machine::new(memory_map(&compiled.board), timing);
        machine.load_elf(&compiled.elf)?;
        if let Some(address) = machine.symbol(MARK_SYMBOL) {
            machine.add_tracepoint(address);
        }
        Ok(Self {
            machine,
            place: format!("{} in the emulator", compiled.program.name),
            timing: name,
        })
    }

    fn stopped(&self, message: String) -> Diagnostic {
        Diagnostic::new(
            DEVICE_STOPPED,
            &self.place,
            message,
            "if the image is as nestc built it, this is a bug of nestc: please report it",
        )
    }

    fn memory_fault(&self, fault: &Fault) -> Diagnostic {
        self.stopped(format!("memory cannot be accessed: {fault}"))
    }
}

impl Runner for EmulatorRunner {
    fn measured_by(&self) -> MeasuredBy {
        MeasuredBy::Emulator
    }

    fn emulator_model(&self) -> Option<String> {
        self.timing.as_ref().map(|_| EMULATOR_MODEL.into())
    }

    fn timing(&self) -> Option<String> {
        self.timing.clone()
    }

    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic> {
        (self.machine.read(address, buffer)).map_err(|fault| self.memory_fault(&fault))
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Diagnostic> {
        (self.machine.write(address, bytes)).map_err(|fault| self.memory_fault(&fault))
    }

    fn resume(&mut self) -> Result<u8, Diagnostic> {
        match self.machine.run(LIMIT) {
            Ok(Stop::Breakpoint { imm, .. }) => Ok(imm),
            Ok(Stop::Exited(code)) => Err(self.stopped(format!("the image exited with {code}"))),
            Ok(Stop::Limit) => Err(self.stopped(format!("no breakpoint within {LIMIT}"))),
            Err(fault) => Err(fault.into()),
        }
    }

    fn take_marks(&mut self) -> Vec<Mark> {
        (self.machine.take_trace().into_iter())
            .map(|point| Mark {
                layer: point.r0,
                instructions: point.instructions,
            })
            .collect()
    }
}
