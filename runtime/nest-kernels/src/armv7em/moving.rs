//! Copying elements, and looking them up.

use core::arch::global_asm;

use crate::check::{checked, refuse};
use crate::layer::{Lookup, Loop, Move, Nest};

global_asm!(include_str!("moving.s"), options(raw));

/// Arguments of the functions below: two loops, the inner one last.
#[repr(C)]
struct Rows {
    from: *const i8,
    to: *mut i8,
    rows: usize,
    from_row: usize,
    to_row: usize,
    count: usize,
    from_step: usize,
    to_step: usize,
    table: *const i8,
}

unsafe extern "C" {
    fn nest_kernels_move_runs(rows: *const Rows);
    fn nest_kernels_move_strided(rows: *const Rows);
    fn nest_kernels_move_table(rows: *const Rows);
}

impl Rows {
    /// Copies.
    ///
    /// # Safety
    /// All elements that the loops name can be read and written; each loop has a round at least. The
    /// table is null or holds 256 entries.
    unsafe fn copy(&self) {
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
    let to = output.as_mut_ptr();
    for nest in layer.nests {
        let (outer, middle, inner) = match nest.loops {
            [outer @ .., middle, inner] => (outer, *middle, *inner),
            [inner] => (&[][..], ONCE, *inner),
            [] => (&[][..], ONCE, ONCE),
        };
        let mut rows = Rows {
            from: input.as_ptr().wrapping_add(nest.from as usize),
            to: to.wrapping_add(nest.to as usize),
            rows: middle[0] as usize,
            from_row: middle[1] as usize,
            to_row: middle[2] as usize,
            count: inner[0] as usize,
            from_step: inner[1] as usize,
            to_step: inner[2] as usize,
            table,
        };
        // How many rounds of each outer loop are done.
        let mut done = [0; Nest::DEPTH];
        loop {
            // SAFETY: `check` saw that the nest's loops, of one round at least, stay inside both
            // maps, and the tables hold 256 entries.
            unsafe { rows.copy() };
            // The innermost loop that has rounds left goes on; those inside it begin anew.
            let mut ended = true;
            for (&[count, from, to], done) in outer.iter().zip(&mut done).rev() {
                let (from, to) = (from as usize, to as usize);
                *done += 1;
                if *done < count {
                    rows.from = rows.from.wrapping_add(from);
                    rows.to = rows.to.wrapping_add(to);
                    ended = false;
                    break;
                }
                *done = 0;
                let back = count.wrapping_sub(1) as usize;
                rows.from = rows.from.wrapping_sub(back.wrapping_mul(from));
                rows.to = rows.to.wrapping_sub(back.wrapping_mul(to));
            }
            if ended {
                break;
            }
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
    let rows = Rows {
        from,
        to,
        rows: 1,
        from_row: 0,
        to_row: 0,
        count: n,
        from_step: 1,
        to_step: 1,
        table: table.as_ptr(),
    };
    // SAFETY: the caller's promise, for one row of `n` elements.
    unsafe { rows.copy() };
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
