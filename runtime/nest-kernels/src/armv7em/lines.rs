//! Packs lines: two output rows at a time, each input column under them once (see
//! `crate::nested_layout`).

use super::pack::{PADDING, nest_kernels_pack_plane};
use crate::layer::Geometry;
use crate::nested_layout::NestedLayout;

/// Packs the lines of one input map.
pub(super) struct Lines<'a> {
    geometry: &'a Geometry,
    input: *const i8,
    padding: [i8; PADDING],
    /// Words from a block to the next.
    block_words: usize,
    /// Input columns in a block, and from a block to the next.
    taps: usize,
    stride: usize,
}

/// The input columns of a line that lie at one place in their blocks.
struct Phase {
    /// Word of that place in the line's first block.
    word: usize,
    /// Blocks with a column left of the input, in it, and right of it.
    left: usize,
    inside: usize,
    right: usize,
    /// The first input column inside.
    column: usize,
}

impl<'a> Lines<'a> {
    /// `input` has the geometry's extent and `layout` is that of the geometry.
    pub fn new(geometry: &'a Geometry, layout: &NestedLayout, input: *const i8, pad: i8) -> Self {
        Self {
            geometry,
            input,
            padding: [pad; PADDING],
            block_words: layout.block_words,
            taps: layout.taps_in_block,
            stride: geometry.stride_w.max(1) as usize,
        }
    }

    fn phase(&self, tap: usize) -> Phase {
        let g = self.geometry;
        // Columns of the line are counted from the first window's first tap on.
        let columns = (g.out_w as usize).saturating_sub(1) * self.stride + g.kernel_w as usize;
        let begin = (g.pad_left as usize).min(columns);
        let end = (begin + g.in_w as usize).min(columns);
        // Blocks whose column at this place lies before a limit.
        let before = |limit: usize| limit.saturating_sub(tap).div_ceil(self.stride.max(1));
        let (left, inside) = (before(begin), before(end));
        let word = tap * g.kernel_h as usize * g.in_c as usize;
        Phase {
            word,
            left,
            inside: inside - left,
            right: before(columns) - inside,
            column: (left * self.stride + tap).wrapping_sub(g.pad_left as usize),
        }
    }

    /// First element of the input row under a row of taps of output row `y`; `None` in the padding.
    fn row(&self, y: usize, ky: usize) -> Option<usize> {
        let g = self.geometry;
        let row = (y * g.stride_h as usize + ky * g.dilation_h as usize) as i32 - g.pad_top as i32;
        // A negative row is a huge unsigned one.
        ((row as u32) < u32::from(g.in_h)).then(|| row as usize * g.in_w as usize * g.in_c as usize)
    }

    /// Packs output row `y` with `below`, which is the next one or the same, to `to`: a unit's words.
    ///
    /// # Safety
    /// Both are rows of the output; the input can be read; the layout's `unit_words` from `to` on can
    /// be written.
    pub unsafe fn pack(&self, y: usize, below: usize, to: *mut u32) {
        let g = self.geometry;
        let (in_c, kernel_h) = (g.in_c as usize, g.kernel_h as usize);
        for tap in 0..self.taps {
            let phase = self.phase(tap);
            let left = to.wrapping_add(phase.word);
            let inside = left.wrapping_add(phase.left * self.block_words);
            let right = inside.wrapping_add(phase.inside * self.block_words);
            // SAFETY: these are columns of the line, which the contract's words hold.
            unsafe {
                self.pad(phase.left, left);
                self.pad(phase.right, right);
            }
            if phase.inside == 0 || in_c == 0 {
                continue;
            }
            let column = phase.column * in_c;
            let step = self.stride * in_c;
            for ky in 0..kernel_h {
                let to = inside.wrapping_add(ky * in_c);
                let (a, b) = (self.row(y, ky), self.row(below, ky));
                // Padding is at hand for so many channels only.
                let chunk = if a.is_some() && b.is_some() {
                    in_c
                } else {
                    PADDING
                };
                let mut channel = 0;
                while channel < in_c {
                    let n = chunk.min(in_c - channel);
                    let side = |row: Option<usize>| match row {
                        Some(row) => (self.input.wrapping_add(row + column + channel), step),
                        None => (self.padding.as_ptr(), 0),
                    };
                    let ((a, a_step), (b, b_step)) = (side(a), side(b));
                    // SAFETY: `n` channels of each of the input columns inside, or the padding again
                    // and again; the contract's words hold a column in each of as many blocks.
                    unsafe {
                        nest_kernels_pack_plane(
                            a,
                            b,
                            n,
                            to.wrapping_add(channel),
                            phase.inside,
                            a_step,
                            b_step,
                            self.block_words * size_of::<u32>(),
                        );
                    }
                    channel += chunk;
                }
            }
        }
    }

    /// Fills a column in each of `blocks` with padding.
    ///
    /// # Safety
    /// The columns' words can be written.
    unsafe fn pad(&self, blocks: usize, to: *mut u32) {
        let [pad, ..] = self.padding.map(|pad| pad as i32 as u32);
        let word = pad.wrapping_add(pad << 23);
        let words = self.geometry.kernel_h as usize * self.geometry.in_c as usize;
        for block in 0..blocks {
            let to = to.wrapping_add(block * self.block_words);
            for at in 0..words {
                // SAFETY: within the contract's words.
                unsafe { to.wrapping_add(at).write(word) };
            }
        }
    }
}
