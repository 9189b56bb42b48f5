//! What can go wrong at a debug probe, and what is said of it.

use std::fmt;

use super::chip;
use crate::diag::{
    CHIP_SILENT, CHIP_UNKNOWN, CORE_STUCK, DEVICE_MEMORY, Diagnostic, FLASH_FAILED, PROBE_LOST,
    PROBE_REFUSED, WIRE_FAULT,
};

/// What a driver can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This user may not use the probe.
    Denied,
    /// Another program uses it.
    Busy,
    /// Its own firmware is too old.
    Outdated,
    /// It cannot be used for another reason.
    Driver,
    /// It is not there any more.
    Gone,
    /// It has no such speed.
    Speed,
    /// The chip does not answer.
    Silent,
    /// What the chip answers is damaged on the wire.
    Garbled,
    /// The chip is protected.
    Locked,
    /// There is no chip of that name.
    ChipUnknown,
    /// There is no program that writes the flash at this address.
    NoFlashAlgorithm {
        /// The address, if it is known.
        address: Option<u32>,
    },
    /// The program that writes the flash does not run on the chip.
    FlashLoader,
    /// A sector was not erased.
    Erase {
        /// Its address, if it is known.
        address: Option<u32>,
    },
    /// A page was not written.
    Program {
        /// Its address, if it is known.
        address: Option<u32>,
    },
    /// Nothing answers at an address.
    Memory,
    /// What was asked for did not happen in time.
    Timeout,
    /// Something else.
    Other,
}

/// What a driver could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeError {
    /// What it is.
    pub cause: Cause,
    /// The driver's own words.
    pub detail: String,
}

impl ProbeError {
    /// An error.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
        }
    }
}

/// What was being done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    Listing,
    Naming,
    Opening,
    SettingSpeed(u32),
    Measuring,
    /// With what the probe measures at the chip's supply.
    Attaching(Option<f32>),
    Identifying,
    /// Bytes written and in all.
    Flashing(u64, u64),
    ReadingBack,
    Resetting,
    Starting,
    Waiting,
    Halting,
    Inspecting,
    Reading(u32, usize),
    Writing(u32, usize),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Listing => f.write_str("while probes were searched"),
            Stage::Naming => f.write_str("while the chip's name was looked up"),
            Stage::Opening => f.write_str("while it was opened"),
            Stage::SettingSpeed(_) => f.write_str("while its speed was set"),
            Stage::Measuring => f.write_str("while the chip's supply was measured"),
            Stage::Attaching(_) => f.write_str("when the chip was connected to"),
            Stage::Identifying => f.write_str("while the chip was identified"),
            Stage::Flashing(done, all) => {
                write!(
                    f,
                    "while the flash was written, after {done} of {all} bytes"
                )
            }
            Stage::ReadingBack => f.write_str("while the flash was read"),
            Stage::Resetting => f.write_str("while the chip was reset"),
            Stage::Starting => f.write_str("while the image was started"),
            Stage::Waiting => f.write_str("while the image ran"),
            Stage::Halting => f.write_str("while the core was halted"),
            Stage::Inspecting => f.write_str("while the halted core was read"),
            Stage::Reading(address, bytes) => {
                write!(f, "while {bytes} bytes at {address:#010x} were read")
            }
            Stage::Writing(address, bytes) => {
                write!(f, "while {bytes} bytes at {address:#010x} were written")
            }
        }
    }
}

/// What to do about a probe that this user may not use.
pub(super) const PERMISSION_HINT: &str = "install the udev rule of docs/probe.md as /etc/udev/rules.d/70-debug-probe.rules, run `udevadm control --reload`, and plug the probe in again";

/// What findings name.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// Probe and chip.
    pub place: String,
    /// The chip's name.
    pub chip: String,
}

impl Context {
    /// A driver's error as a finding with its remedy.
    pub fn explain(&self, stage: &Stage, error: &ProbeError) -> Diagnostic {
        let flashing = matches!(stage, Stage::Flashing(..));
        let (code, message, hint) = match error.cause {
            Cause::Denied => (
                PROBE_REFUSED,
                "this user may not use the probe".into(),
                PERMISSION_HINT.into(),
            ),
            Cause::Busy => (
                PROBE_REFUSED,
                "another program uses the probe".into(),
                "end it (probe-rs, OpenOCD, a GDB server, the debugger of an editor), or unplug the probe and plug it in again".into(),
            ),
            Cause::Outdated => (
                PROBE_REFUSED,
                "the probe's own firmware is too old".into(),
                "bring it up to date with the vendor's tool (ST-LINK: STM32CubeProgrammer, \"Firmware upgrade\")".into(),
            ),
            Cause::Driver => (
                PROBE_REFUSED,
                format!("the probe failed {stage}"),
                "unplug it and plug it in again; if it stays, try another USB port, and report the message".into(),
            ),
            Cause::Gone => (
                PROBE_LOST,
                format!("the probe went away {stage}"),
                if flashing {
                    "plug it in again, without a hub if there is one, and run the same again: the flash is written anew, what is half written does no harm".into()
                } else {
                    "plug it in again, without a hub if there is one, and run the same again".to_string()
                },
            ),
            Cause::Speed => (
                WIRE_FAULT,
                match stage {
                    Stage::SettingSpeed(khz) => format!("the probe cannot run its wire at {khz} kHz"),
                    _ => format!("the probe cannot run its wire at this speed {stage}"),
                },
                "give --speed a value that the probe has, for example 1800, or leave it out".into(),
            ),
            Cause::Silent => silent(stage),
            Cause::Garbled => (
                WIRE_FAULT,
                format!("what the chip answered was damaged on the wire {stage}"),
                "use shorter wires with a ground beside the clock, or a slower clock: --speed 500".into(),
            ),
            Cause::Locked => return chip::locked(self, error.detail.clone()),
            Cause::ChipUnknown => (
                CHIP_UNKNOWN,
                format!("probe-rs knows no chip `{}`", self.chip),
                "give --chip a name of `probe-rs chip list`, or leave it out: the board has its own".into(),
            ),
            Cause::NoFlashAlgorithm { address } => (
                FLASH_FAILED,
                format!("probe-rs cannot write the flash of {}{}", self.chip, at(address)),
                "check --chip: it must have flash where the board has; leave it out to take the board's own".into(),
            ),
            Cause::FlashLoader => (
                FLASH_FAILED,
                "the program that writes the flash does not run on the chip".into(),
                "disconnect other supplies and shields from the board, give --speed 500 a try, and run the same again".into(),
            ),
            Cause::Erase { address } => (
                FLASH_FAILED,
                format!("a sector of the flash was not erased{}", at(address)),
                "check the sectors' write protection with the vendor's tool; after some 10,000 erasures flash wears out".into(),
            ),
            Cause::Program { address } => (
                FLASH_FAILED,
                format!("a page of the flash was not written{}", at(address)),
                "check the supply under load and the write protection; run the same again".into(),
            ),
            Cause::Memory => memory(stage),
            Cause::Timeout | Cause::Other => stuck(stage),
        };
        let message = match error.detail.as_str() {
            "" => message,
            detail => format!("{message}: {detail}"),
        };
        Diagnostic::new(code, &self.place, message, hint)
    }
}

fn at(address: Option<u32>) -> String {
    address.map_or(String::new(), |address| format!(" at {address:#010x}"))
}

type Explained = (crate::diag::Code, String, String);

/// A chip that does not answer, by when that was.
fn silent(stage: &Stage) -> Explained {
    match stage {
        Stage::Attaching(volts) => {
            let supply = match volts {
                Some(volts) => format!(", though the probe measures {volts:.2} V at its supply"),
                None => String::new(),
            };
            (
                CHIP_SILENT,
                format!("no chip answers at the probe{supply}"),
                "check the board's power and the wires SWDIO, SWCLK, GND and NRST; on a NUCLEO the jumpers of the debug connector; a chip at protection level 2 never answers".into(),
            )
        }
        Stage::Flashing(..) => (
            CHIP_SILENT,
            format!("the chip stopped answering {stage}"),
            "its power failed or a wire came loose: make both firm and run the same again; the flash is written anew, what is half written does no harm".into(),
        ),
        _ => (
            CHIP_SILENT,
            format!("the chip stopped answering {stage}"),
            "its power failed, a wire came loose, or its clock stopped: check the supply under load, and run the same again".into(),
        ),
    }
}

/// An access that nothing answered.
fn memory(stage: &Stage) -> Explained {
    match stage {
        Stage::Flashing(..) | Stage::ReadingBack => (
            FLASH_FAILED,
            format!("the chip refuses access to its memory {stage}"),
            "check its read-out protection with the vendor's tool, and that --chip is the chip".into(),
        ),
        _ => (
            DEVICE_MEMORY,
            format!("the chip refuses access to its memory {stage}"),
            "check that the chip is the board's; if it is, the image left its memory protected or without a clock: please report it".into(),
        ),
    }
}

/// What did not happen, by what was asked for.
fn stuck(stage: &Stage) -> Explained {
    match stage {
        Stage::Listing => (
            PROBE_REFUSED,
            "debug probes cannot be searched for".into(),
            "check that USB devices are visible here, for example with `lsusb`; in a container pass /dev/bus/usb through".into(),
        ),
        Stage::Naming | Stage::Opening | Stage::SettingSpeed(_) | Stage::Measuring => (
            PROBE_REFUSED,
            format!("the probe does not answer as it should {stage}"),
            "unplug it and plug it in again; if it stays, bring its firmware up to date".into(),
        ),
        Stage::Attaching(_) => (
            CHIP_SILENT,
            "the chip cannot be connected to".into(),
            "hold the reset button while starting, or wire NRST to the probe: firmware on the chip may have taken the debug pins".into(),
        ),
        Stage::Flashing(..) => (
            FLASH_FAILED,
            format!("writing stopped {stage}"),
            "run the same again; if it stays, erase the chip with the vendor's tool first".into(),
        ),
        Stage::Resetting => (
            CORE_STUCK,
            "the chip does not come out of reset with its core halted".into(),
            "wire NRST to the probe, and see that nothing else on the board holds it low".into(),
        ),
        Stage::Halting => (
            CORE_STUCK,
            "the core cannot be halted".into(),
            "reset the board or switch it off and on, and run the same again; --speed 500 if it stays".into(),
        ),
        _ => (
            CORE_STUCK,
            format!("the core does not do what it is asked for {stage}"),
            "reset the board or switch it off and on, and run the same again; --speed 500 if it stays".into(),
        ),
    }
}
