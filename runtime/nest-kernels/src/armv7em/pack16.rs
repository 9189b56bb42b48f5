//! Gathers the columns of output pixels as pairs of int16, for `conv_dense.s`.

use core::arch::global_asm;

use super::window::{Window, Windows};
use crate::dense_layout::{TILE, gathers};
use crate::layer::Geometry;

global_asm!(include_str!("pack16.s"), options(raw));

unsafe extern "C" {
    fn nest_kernels_pack16(
        from: *const i8,
        words: usize,
        to: *mut u32,
        rows: usize,
        from_step: usize,
        to_step: usize,
    );
}

/// Words of a tile for 4 columns.
const BLOCK: usize = 2 * TILE;

/// Channels of padding at hand; a multiple of 4.
const PADDING: usize = 64;

#[repr(align(4))]
struct Padding([i8; PADDING]);

/// Packs pixels of one input map.
pub(super) struct Packer16<'a> {
    windows: Windows<'a>,
    input: *const i8,
    padding: Padding,
    /// Elements of a row of taps.
    row: usize,
    /// Elements from one row of taps to the next.
    row_step: usize,
    /// The output row of the pixel packed last.
    line: Line,
}

/// What all windows of an output row share.
#[derive(Clone, Copy)]
struct Line {
    /// The row's first pixel, and the one after its last.
    first: usize,
    end: usize,
    /// The output row.
    oy: usize,
    /// Rows of taps above the input, inside it and below it.
    above: usize,
    inside: usize,
    below: usize,
    /// First element of the input row under the first row of taps inside.
    start: usize,
}

impl Line {
    fn of(windows: Windows<'_>, oy: usize) -> Self {
        let g = windows.geometry;
        let kernel_h = g.kernel_h as usize;
        let window = windows.at(oy, 0);
        let above = (0..kernel_h)
            .take_while(|&ky| windows.above(window, ky))
            .count();
        let inside = (above..kernel_h)
            .take_while(|&ky| windows.row(window, ky).is_some())
            .count();
        let first = oy * g.out_w as usize;
        Self {
            first,
            end: first + g.out_w as usize,
            oy,
            above,
            inside,
            below: kernel_h - above - inside,
            start: windows.row(window, above).unwrap_or(0),
        }
    }
}

impl<'a> Packer16<'a> {
    /// `input` has the geometry's extent, which `check` has seen.
    pub fn new(geometry: &'a Geometry, input: *const i8, pad: i8) -> Self {
        let in_c = geometry.in_c as usize;
        let windows = Windows::new(geometry);
        Self {
            windows,
            input,
            padding: Padding([pad; PADDING]),
            row: in_c * geometry.kernel_w as usize,
            row_step: in_c * geometry.in_w as usize * geometry.dilation_h as usize,
            line: Line::of(windows, 0),
        }
    }

    /// Packs an output pixel into the tile's words from `to` on; `bytes` is for gathering.
    ///
    /// # Safety
    /// The output has this pixel; the input can be read. From `to` on, every third word for two for each block of 4 columns
    /// can be written, and, where [`gathers`] says so, as many bytes as there are columns, rounded up
    /// to 4, from `bytes` on.
    pub unsafe fn pixel(&mut self, pixel: usize, to: *mut u32, bytes: *mut i8) {
        if pixel < self.line.first || pixel >= self.line.end {
            // Nearly always the next row: no division.
            let g = self.windows.geometry;
            let mut oy = self.line.oy;
            while pixel < oy * g.out_w as usize {
                oy -= 1;
            }
            while pixel >= (oy + 1) * g.out_w as usize {
                oy += 1;
            }
            self.line = Line::of(self.windows, oy);
        }
        let x = self.windows.x(pixel - self.line.first);
        if gathers(self.windows.geometry) {
            let blocks = self.windows.geometry.columns().div_ceil(4);
            // SAFETY: the contract's bytes and words.
            unsafe {
                self.gather(x, bytes);
                nest_kernels_pack16(bytes, blocks, to, 1, 0, 0);
            }
            return;
        }
        let row_words = self.row / 4 * BLOCK;
        let line = self.line;
        let inside = to.wrapping_add(line.above * row_words);
        let below = inside.wrapping_add(line.inside * row_words);
        // SAFETY: the three parts of the contract's words; `line` has `inside` rows of taps in the
        // input.
        unsafe {
            self.fill(to, line.above * self.row);
            self.rows(x, inside);
            self.fill(below, line.below * self.row);
        }
    }

    /// Fills `columns` columns, a multiple of 4, with padding.
    ///
    /// # Safety
    /// The columns' words from `to` on can be written.
    unsafe fn fill(&self, to: *mut u32, columns: usize) {
        for column in (0..columns).step_by(PADDING) {
            let words = PADDING.min(columns - column) / 4;
            let to = to.wrapping_add(column / 4 * BLOCK);
            // SAFETY: as many words of padding are at hand, and within the contract's words.
            unsafe { nest_kernels_pack16(self.padding.0.as_ptr(), words, to, 1, 0, 0) };
        }
    }

    /// Packs the rows of taps inside the input, with the first tap in column `x`.
    ///
    /// # Safety
    /// The rows' words from `to` on can be written.
    unsafe fn rows(&self, x: i32, to: *mut u32) {
        let g = self.windows.geometry;
        let line = self.line;
        if line.inside == 0 {
            return;
        }
        let in_c = g.in_c as usize;
        let to_step = self.row / 4 * BLOCK * size_of::<u32>();
        let input = self.input.wrapping_add(line.start);
        if g.dilation_w == 1 && x >= 0 && x + g.kernel_w as i32 <= g.in_w as i32 && self.row > 0 {
            // The usual case: all taps inside, side by side.
            let from = input.wrapping_add(x as usize * in_c);
            // SAFETY: the elements of a row of taps, more than 0, lie side by side in the input, in
            // each of the rows; `to` has room by contract.
            unsafe {
                nest_kernels_pack16(from, self.row / 4, to, line.inside, self.row_step, to_step);
            }
            return;
        }
        for kx in 0..g.kernel_w as usize {
            let at = self.windows.column(Window { y: 0, x }, kx);
            let to = to.wrapping_add(kx * (in_c / 4 * BLOCK));
            for channel in (0..in_c).step_by(PADDING) {
                let words = PADDING.min(in_c - channel) / 4;
                let (from, step) = match at {
                    Some(at) => (input.wrapping_add(at + channel), self.row_step),
                    None => (self.padding.0.as_ptr(), 0),
                };
                let to = to.wrapping_add(channel / 4 * BLOCK);
                // SAFETY: as many channels of a tap inside the input, in each of the rows, or the
                // padding at hand again and again; `to` has room by contract.
                unsafe { nest_kernels_pack16(from, words, to, line.inside, step, to_step) };
            }
        }
    }

    /// Gathers the columns of a pixel whose first tap lies in column `x`.
    ///
    /// # Safety
    /// As many bytes as there are columns can be written from `to` on.
    unsafe fn gather(&self, x: i32, to: *mut i8) {
        let g = self.windows.geometry;
        let line = self.line;
        let in_c = g.in_c as usize;
        let whole = g.dilation_w == 1 && x >= 0 && x + g.kernel_w as i32 <= g.in_w as i32;
        let mut to = to;
        for ky in 0..g.kernel_h as usize {
            let inside = ky >= line.above && ky < line.above + line.inside;
            let start = line.start + ky.wrapping_sub(line.above).wrapping_mul(self.row_step);
            if inside && whole {
                let from = self.input.wrapping_add(start + x as usize * in_c);
                // SAFETY: a row of taps lies inside the input; `to` has room by contract.
                unsafe { copy(from, to, self.row) };
                to = to.wrapping_add(self.row);
                continue;
            }
            for kx in 0..g.kernel_w as usize {
                match self.windows.column(Window { y: 0, x }, kx) {
                    Some(at) if inside => {
                        let from = self.input.wrapping_add(start + at);
                        // SAFETY: a tap lies inside the input; `to` has room by contract.
                        unsafe { copy(from, to, in_c) };
                    }
                    _ => {
                        for channel in 0..in_c {
                            // SAFETY: `to` has room by contract.
                            unsafe { to.wrapping_add(channel).write(self.padding.0[0]) };
                        }
                    }
                }
                to = to.wrapping_add(in_c);
            }
        }
    }
}

/// Copies a few bytes: words as far as they go, at any alignment.
///
/// # Safety
/// As many bytes can be read and written.
unsafe fn copy(from: *const i8, to: *mut i8, n: usize) {
    let mut at = 0;
    // SAFETY: within the contract's bytes.
    unsafe {
        while at + 4 <= n {
            let word = from.wrapping_add(at).cast::<u32>().read_unaligned();
            to.wrapping_add(at).cast::<u32>().write_unaligned(word);
            at += 4;
        }
        while at < n {
            to.wrapping_add(at).write(from.wrapping_add(at).read());
            at += 1;
        }
    }
}
