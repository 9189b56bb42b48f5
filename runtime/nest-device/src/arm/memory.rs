//! Memories that start-up code must fill: kernels in the instruction memory, zeros in the RAM on the
//! main bus. `cortex-m-rt` fills the data memory before `main`.

use core::ptr;

unsafe extern "C" {
    static mut __nest_itcm_start: u32;
    static mut __nest_itcm_end: u32;
    static __nest_itcm_load: u32;
    static mut __nest_sram_start: u32;
    static mut __nest_sram_end: u32;
}

/// Copies the section `.nest.itcm` from flash to the instruction memory. Call it before any
/// kernel.
pub fn copy_kernels() {
    let start = &raw mut __nest_itcm_start;
    let end = &raw mut __nest_itcm_end;
    let words = (end.addr() - start.addr()) / 4;
    for i in 0..words {
        // Volatile, because `start` is address 0, where the instruction memory begins: a pointer
        // that plain accesses must not use.
        // SAFETY: the linker script reserves `words` aligned words from both addresses, the
        // second in flash; no code runs from the section before it is copied.
        unsafe {
            let word = ptr::read_volatile((&raw const __nest_itcm_load).wrapping_add(i));
            ptr::write_volatile(start.wrapping_add(i), word);
        }
    }
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}

/// Zeroes the section `.nest.sram`. Call it first of all: statics of that section have their value
/// only then.
pub fn zero_sram() {
    let start = &raw mut __nest_sram_start;
    let end = &raw mut __nest_sram_end;
    let words = (end.addr() - start.addr()) / 4;
    for i in 0..words {
        // SAFETY: the linker script reserves `words` aligned words from `start`; all statics of the
        // section are plain integers that are zero at first.
        unsafe { ptr::write_volatile(start.wrapping_add(i), 0) };
    }
}
