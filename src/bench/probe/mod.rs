//! A board on a debug probe as a runner.
//!
//! [`Driver`] and [`Probe`] are what a debug probe can do, and no more: they decide nothing. What is
//! chosen, checked, waited for and explained stands above them, in [`ProbeRunner`] and
//! [`fault`], and is tested on a fake with the emulator behind it. `usb` implements the two with the
//! probe-rs library.

mod chip;
pub mod fault;
mod runner;
mod select;
#[cfg(feature = "probe")]
mod usb;

use std::time::Duration;

use crate::diag::Diagnostic;
use crate::image::LoadedSegment;

pub use fault::{Cause, ProbeError};
pub use runner::{Event, ProbeOptions, ProbeRunner};
pub use select::{ProbeInfo, Selector, choose};

/// What a driver gives.
pub type Result<T> = std::result::Result<T, ProbeError>;

/// Finds and opens debug probes.
pub trait Driver {
    /// Whether the chip's name is known.
    ///
    /// # Errors
    /// [`Cause::ChipUnknown`], with similar names in the detail.
    fn knows(&self, chip: &str) -> Result<()>;
    /// The probes on this computer, those included that this user may not use.
    ///
    /// # Errors
    /// If the computer's bus cannot be searched.
    fn list(&self) -> Result<Vec<ProbeInfo>>;
    /// Opens one of them.
    ///
    /// # Errors
    /// If it is in use, may not be used, or is gone.
    fn open(&self, probe: &ProbeInfo) -> Result<Box<dyn Probe>>;
}

/// An open debug probe. Before [`Probe::attach`] has succeeded, only `set_speed`, `voltage` and the
/// clock may be used; every other call answers with an error then. Dropping it lets go of the chip.
pub trait Probe {
    /// Sets the clock of the wire in kHz; the probe takes the next slower one it has.
    ///
    /// # Errors
    /// [`Cause::Speed`] if there is none.
    fn set_speed(&mut self, khz: u32) -> Result<()>;
    /// What the probe measures at the chip's supply, if it can.
    ///
    /// # Errors
    /// If the probe does not answer.
    fn voltage(&mut self) -> Result<Option<f32>>;
    /// Connects to the chip's debug port, holding the chip in reset meanwhile if `under_reset`.
    ///
    /// # Errors
    /// If the chip does not answer or is locked. The probe stays open.
    fn attach(&mut self, chip: &str, under_reset: bool) -> Result<()>;
    /// Erases what the segments lie in and writes them. `progress` hears of bytes done and in all.
    ///
    /// # Errors
    /// With the address where it stopped, if that is known.
    fn flash(
        &mut self,
        segments: &[LoadedSegment],
        progress: &mut dyn FnMut(FlashPhase, u64, u64),
    ) -> Result<()>;
    /// Resets the chip and halts the core before its first instruction.
    ///
    /// # Errors
    /// If the core does not halt.
    fn reset_and_halt(&mut self) -> Result<()>;
    /// Lets the core run from its program counter.
    ///
    /// # Errors
    /// If the chip does not answer.
    fn run(&mut self) -> Result<()>;
    /// Halts the core.
    ///
    /// # Errors
    /// If it does not halt.
    fn halt(&mut self) -> Result<()>;
    /// What the core does.
    ///
    /// # Errors
    /// If the chip does not answer.
    fn status(&mut self) -> Result<CoreStatus>;
    /// Reads a register of the halted core.
    ///
    /// # Errors
    /// If the chip does not answer.
    fn register(&mut self, register: Register) -> Result<u32>;
    /// Sets the program counter of the halted core.
    ///
    /// # Errors
    /// As [`Probe::register`].
    fn set_pc(&mut self, address: u32) -> Result<()>;
    /// Reads memory.
    ///
    /// # Errors
    /// [`Cause::Memory`] where nothing answers.
    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<()>;
    /// Writes memory.
    ///
    /// # Errors
    /// As [`Probe::read`].
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<()>;
    /// Time since some moment in the past. Time is the probe's, so that a fake has its own.
    fn now(&self) -> Duration;
    /// Waits.
    fn pause(&mut self, duration: Duration);
}

/// A part of flashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashPhase {
    /// Sectors are erased.
    Erase,
    /// Pages are written.
    Program,
    /// What was written is read back.
    Verify,
}

/// What a core does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreStatus {
    /// It executes instructions.
    Running,
    /// It stands, in debug state.
    Halted,
    /// It met a fault while handling a fault, and stands.
    LockedUp,
    /// It waits for an interrupt.
    Asleep,
}

/// A core register that the runner reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// R14.
    Lr,
    /// R15.
    Pc,
    /// Program status; the low nine bits are the exception's number.
    Xpsr,
    /// Main stack pointer.
    Msp,
    /// Process stack pointer.
    Psp,
}

/// The driver that this build has.
///
/// # Errors
/// `E008` if nestc was built without.
pub fn driver() -> std::result::Result<Box<dyn Driver>, Diagnostic> {
    #[cfg(feature = "probe")]
    return Ok(Box::new(usb::Usb));
    #[cfg(not(feature = "probe"))]
    return Err(built_without());
}

/// What a build without the feature `probe` says.
#[cfg_attr(feature = "probe", cfg(test))]
fn built_without() -> Diagnostic {
    Diagnostic::new(
        crate::diag::NO_PROBE,
        "--on probe",
        "this nestc was built without the feature `probe`",
        "build it with `cargo install --path . --features probe`, or leave --on out",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::NO_PROBE;

    #[test]
    fn a_build_without_probes_says_so() {
        let fault = built_without();
        assert_eq!(fault.code, NO_PROBE);
        assert_eq!(fault.code.info().exit.code(), 3);
    }

    #[test]
    #[cfg(feature = "probe")]
    fn the_driver_knows_every_board_and_refuses_others() {
        let driver = driver().unwrap();
        for board in crate::target::Board::all() {
            if let Some(chip) = &board.probe_rs_chip {
                driver
                    .knows(chip)
                    .unwrap_or_else(|e| panic!("{chip}: {e:?}"));
            }
        }
        let error = driver.knows("STM32H743ZZ").unwrap_err();
        assert_eq!(error.cause, Cause::ChipUnknown);
        assert!(error.detail.contains("STM32H743ZI"), "{}", error.detail);
    }
}
