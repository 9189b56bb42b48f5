//! A Cortex-M7 in software (or, without cycles, a Cortex-M4): runs an unmodified firmware ELF on a board's memory map and says in
//! how many cycles a cycle-modelled core would run it.
//!
//! [`Machine`] is the way in. Inside, what happens and when it happens are apart: `decode` turns
//! halfwords into instructions, `execute` changes registers and memory, and `timing` is told of
//! each instruction afterwards and keeps the clock. `memory` routes addresses, `map` holds boards
//! as data, `system` the core's own registers.
//!
//! The instruction set is ARMv7E-M with single-precision floating point: all of what
//! `thumbv7em-none-eabihf` code can contain. Interrupts and exceptions are not modelled; what the
//! hardware would answer with a fault exception ends the run with a [`Fault`].

mod decode;
mod elf;
mod execute;
mod fault;
mod instruction;
mod machine;
mod map;
mod memory;
mod registers;
mod semihosting;
mod system;
mod timing;

pub use fault::{Fault, FaultKind};
pub use machine::{Machine, Stop, TracePoint};
pub use map::{Core, MemoryMap, Region, RegionKind, RegisterRule};
pub use registers::Registers;
pub use timing::{CacheGeometry, Counters, LongMultiplyPairing, TimingConfig};

/// Version of the timing model: changes whenever the same firmware may take other cycles.
pub const EMULATOR_MODEL: &str = "m7-3";

#[cfg(test)]
mod tests;
