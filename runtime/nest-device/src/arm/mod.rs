//! The device side.

mod clock;
mod memory;
mod stack;

use core::arch::asm;

use cortex_m::peripheral::{CPUID, DCB, DWT, SCB};

pub use clock::{
    ClockError, enable_memory, stm32f7, stm32f446, stm32h7a3, stm32h743, stm32h747, stm32l4r5,
};
pub use memory::{copy_kernels, zero_sram};
pub use stack::{stack_limit, stack_used};

/// Turns both caches on.
pub fn enable_caches(scb: &mut SCB, cpuid: &mut CPUID) {
    scb.enable_icache();
    scb.enable_dcache(cpuid);
}

/// Brings memory and caches together and leaves both caches empty: what a probe reads is what the
/// program wrote, the program sees what a probe writes, and the next run starts cold.
pub fn flush_caches(scb: &mut SCB, cpuid: &mut CPUID) {
    scb.clean_invalidate_dcache(cpuid);
    scb.invalidate_icache();
}

/// Starts the cycle counter.
pub fn enable_cycle_counter(dcb: &mut DCB, dwt: &mut DWT) {
    dcb.enable_trace();
    // Without the unlock, a core started without a debugger ignores the next write.
    DWT::unlock();
    dwt.enable_cycle_counter();
}

/// Cycles since the counter's start, modulo 2^32.
pub fn cycles() -> u32 {
    DWT::cycle_count()
}

/// Halts with `bkpt #1`: [`crate::mailbox::READY`]. Goes on when the host resumes.
pub fn halt_ready() {
    // SAFETY: a breakpoint changes no register or memory of the program; what the debugger writes
    // meanwhile are atomics, and `asm!` without `nomem` keeps accesses to them on their side of it.
    unsafe { asm!("bkpt #1", options(nostack, preserves_flags)) }
}

/// Halts with `bkpt #2`: [`crate::mailbox::STOPPED`], for good.
pub fn halt_stopped() -> ! {
    loop {
        // SAFETY: as in `halt_ready`.
        unsafe { asm!("bkpt #2", options(nostack, preserves_flags)) }
    }
}

/// Called after every layer of a timed run, and with [`crate::mailbox::MARK_START`] before the
/// first: a place for tracepoints of an emulator or debugger.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn nest_layer_mark(layer: u32) {
    // SAFETY: no instruction; the register operand keeps the argument alive.
    unsafe { asm!("/* {0} */", in(reg) layer, options(nomem, nostack, preserves_flags)) }
}
