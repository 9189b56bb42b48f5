//! What ends a run that should not have ended.

use std::fmt;

use crate::diag::{Diagnostic, EMULATOR_FAULT};

/// Why the core could not go on. On the device each of these is a fault exception or a lock-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The encoding is undefined, UNPREDICTABLE, or not part of ARMv7E-M with single-precision
    /// floating point.
    Undefined {
        /// The halfword, or both halfwords with the first on top.
        encoding: u32,
    },
    /// No region of the memory map answers.
    Unmapped {
        /// The address accessed.
        address: u32,
        /// `read`, `write` or `execute`.
        access: &'static str,
    },
    /// The access must be aligned and is not.
    Unaligned {
        /// The address accessed.
        address: u32,
    },
    /// A store to read-only memory.
    WriteToFlash {
        /// The address accessed.
        address: u32,
    },
    /// A branch into memory that the architecture never executes from.
    ExecuteNever {
        /// The address branched to.
        address: u32,
    },
    /// An indirect branch whose target has bit 0 clear: ARM state, which this core lacks.
    ArmState {
        /// The value branched to.
        target: u32,
    },
    /// A floating-point instruction while CPACR denies access.
    FpuDisabled,
    /// A division by zero while CCR.DIV_0_TRP is set.
    DivideByZero,
    /// An instruction that branches to itself: no interrupt is modelled that could end the loop.
    EndlessLoop,
    /// Something the emulator does not model.
    Unsupported {
        /// What, for the reader.
        what: &'static str,
    },
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::Undefined { encoding } if *encoding > 0xffff => {
                write!(
                    f,
                    "undefined instruction {:04x} {:04x}",
                    encoding >> 16,
                    encoding & 0xffff
                )
            }
            FaultKind::Undefined { encoding } => {
                write!(f, "undefined instruction {encoding:04x}")
            }
            FaultKind::Unmapped { address, access } => {
                write!(
                    f,
                    "{access} at {address:#010x}, which the memory map leaves empty"
                )
            }
            FaultKind::Unaligned { address } => {
                write!(f, "unaligned access at {address:#010x}")
            }
            FaultKind::WriteToFlash { address } => write!(f, "write to flash at {address:#010x}"),
            FaultKind::ExecuteNever { address } => {
                write!(f, "branch to {address:#010x}, which is device memory")
            }
            FaultKind::ArmState { target } => {
                write!(f, "branch to {target:#010x}, whose bit 0 (Thumb) is clear")
            }
            FaultKind::FpuDisabled => {
                f.write_str("floating-point instruction while the unit is disabled (CPACR)")
            }
            FaultKind::DivideByZero => f.write_str("division by zero (CCR.DIV_0_TRP is set)"),
            FaultKind::EndlessLoop => {
                f.write_str("endless loop: the instruction branches to itself")
            }
            FaultKind::Unsupported { what } => write!(f, "{what}, which is not emulated"),
        }
    }
}

impl FaultKind {
    fn hint(&self) -> &'static str {
        match self {
            FaultKind::Undefined { .. } => {
                "check that the firmware is built for thumbv7em-none-eabihf without double precision, and that no data is executed"
            }
            FaultKind::Unmapped { .. } => {
                "check the pointer, the linker script against the target's memory map, and the stack's size"
            }
            FaultKind::Unaligned { .. } => {
                "align the data: pairs, multiples, exclusives, floating-point and device accesses need 4 bytes"
            }
            FaultKind::WriteToFlash { .. } => {
                "make the data `static mut` or copy it to RAM before writing"
            }
            FaultKind::ExecuteNever { .. } | FaultKind::ArmState { .. } => {
                "a function pointer or return address was overwritten; check for a stack overflow"
            }
            FaultKind::FpuDisabled => {
                "enable the unit before the first use (cortex-m-rt does so for -eabihf targets)"
            }
            FaultKind::DivideByZero => "check the divisor before dividing",
            FaultKind::EndlessLoop => {
                "usually a panic or fault handler; the symbol names it. End firmware with `bkpt`"
            }
            FaultKind::Unsupported { .. } => {
                "the emulator runs straight-line firmware without interrupts; run this on the device"
            }
        }
    }
}

/// A fault and where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// Address of the instruction.
    pub pc: u32,
    /// Nearest symbol, as `name+0x12`, or empty if the ELF has none below `pc`.
    pub symbol: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pc {:#010x}", self.kind, self.pc)?;
        if !self.symbol.is_empty() {
            write!(f, " in {}", self.symbol)?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Diagnostic {
    fn from(fault: Fault) -> Self {
        let mut place = format!("pc {:#010x}", fault.pc);
        if !fault.symbol.is_empty() {
            place = format!("{place} in {}", fault.symbol);
        }
        Diagnostic::new(
            EMULATOR_FAULT,
            place,
            fault.kind.to_string(),
            fault.kind.hint(),
        )
    }
}
