//! The stack's high-water mark. `cortex-m-rt` paints the stack before `main` (feature
//! `paint-stack`); what still bears the paint was never used.

use core::ptr;

/// `cortex_m_rt::STACK_PAINT_VALUE`.
const PAINT: u32 = 0xcccc_cccc;

unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Bytes of stack there are.
pub fn stack_limit() -> u32 {
    ((&raw const _stack_start).addr() - (&raw const _stack_end).addr()) as u32
}

/// Bytes of the deepest stack so far.
pub fn stack_used() -> u32 {
    let limit = stack_limit();
    let bottom = &raw const _stack_end;
    let mut unused = 0;
    // SAFETY: the words between both symbols are RAM that the linker script gives to the stack;
    // volatile reads of them neither move nor assume their values.
    while unused < limit && unsafe { ptr::read_volatile(bottom.byte_add(unused as usize)) } == PAINT
    {
        unused += 4;
    }
    limit - unused
}
