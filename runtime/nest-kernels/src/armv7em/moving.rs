//! Copying elements, and looking them up.

use core::arch::global_asm;

use crate::check::{checked, refuse};
use crate::layer::{Lookup, Loop, Move};

global_asm!(include_str!("moving.s"), options(raw));

/// Arguments of the functions below: three loops.
#[repr(C)]
struct Blocks {
    from: *const i8,
    to: *mut i8,
    rows: usize,
    from_row: usize,
    to_row: usize,
    count: usize,
    from_step: usize,
    to_step: usize,
    table: *const i8,
    blocks: usize,
    from_block: usize,
    to_block: usize,
}

unsafe extern "C" {
    fn nest_kernels_move_runs(blocks: *mut Blocks);
    fn nest_kernels_move_strided(blocks: *mut Blocks);
    fn nest_kernels_move_table(blocks: *mut Blocks);
}

impl Blocks {
    /// Copies; afterwards the struct has another place, and no blocks left to count.
    ///
    /// # Safety
    /// All elements that the loops name can be read and written; each loop has a round at least. The
    /// table is null or holds 256 entries.
    unsafe fn copy(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            if !self.table.is_null() {
                nest_kernels_move_table(self);
            } else if (self.from_step, self.to_step) == (1, 1) {
                nest_kernels_move_runs(self);
            } else {
                nest_kernels_move_strided(self);
            }
        }
    }
}

/// One round.
const ONCE: Loop = [1, 0, 0];

/// Copies what the nests name.
pub fn move_elements(layer: &Move<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let table = checked!(layer.check(level, input, output));
    let table = table.map_or(core::ptr::null(), |table| table.as_ptr());
    let output = output.as_mut_ptr();
    for nest in layer.nests {
        let (outer, [blocks, rows, run]) = match nest.loops {
            [outer @ .., blocks, rows, run] => (outer, [*blocks, *rows, *run]),
            [rows, run] => (&[][..], [ONCE, *rows, *run]),
            [run] => (&[][..], [ONCE, ONCE, *run]),
            [] => (&[][..], [ONCE; 3]),
        };
        for [from, to] in nest.rounds(outer) {
            let mut blocks = Blocks {
                from: input.as_ptr().wrapping_add(from),
                to: output.wrapping_add(to),
                rows: rows[0] as usize,
                from_row: rows[1] as usize,
                to_row: rows[2] as usize,
                count: run[0] as usize,
                from_step: run[1] as usize,
                to_step: run[2] as usize,
                table,
                blocks: blocks[0] as usize,
                from_block: blocks[1] as usize,
                to_block: blocks[2] as usize,
            };
            // SAFETY: `check` saw that the nest's loops, of one round at least, stay inside both
            // maps, and the tables hold 256 entries.
            unsafe { blocks.copy() };
        }
    }
}

/// The table's entry for every element.
///
/// # Safety
/// `n` elements can be read at `from` and written at `to`, which may be one.
unsafe fn look_up(table: &[i8; 256], from: *const i8, to: *mut i8, n: usize) {
    if n == 0 {
        return;
    }
    let mut blocks = Blocks {
        from,
        to,
        rows: 1,
        from_row: 0,
        to_row: 0,
        count: n,
        from_step: 1,
        to_step: 1,
        table: table.as_ptr(),
        blocks: 1,
        from_block: 0,
        to_block: 0,
    };
    // SAFETY: the caller's promise, for one row of `n` elements.
    unsafe { blocks.copy() };
}

/// The table's entry for every element.
pub fn lookup(layer: &Lookup<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let table = checked!(layer.table.get(level));
    if input.len() != output.len() {
        return refuse();
    }
    // SAFETY: two slices of one length.
    unsafe { look_up(table, input.as_ptr(), output.as_mut_ptr(), input.len()) };
}

/// [`lookup`] in place.
pub fn lookup_in_place(layer: &Lookup<'_>, level: usize, data: &mut [i8]) {
    let table = checked!(layer.table.get(level));
    let to = data.as_mut_ptr();
    // SAFETY: one slice; each element is read before it is written.
    unsafe { look_up(table, to, to, data.len()) };
}
