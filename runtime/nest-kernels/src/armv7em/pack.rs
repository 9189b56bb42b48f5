//! Gathers the columns of output pixels, two pixels packed into a word: see `crate::nested_layout`.

use core::arch::global_asm;

use super::window::Windows;
use crate::layer::Geometry;
use crate::nested_layout::NestedLayout;

global_asm!(include_str!("pack.s"), options(raw));

unsafe extern "C" {
    fn nest_kernels_pack_plane(
        a: *const i8,
        b: *const i8,
        n: usize,
        to: *mut u32,
        rows: usize,
        a_step: usize,
        b_step: usize,
        to_step: usize,
    );
}

/// Channels of padding at hand.
const PADDING: usize = 64;

/// Packs pixels of one input map.
pub(super) struct Packer<'a> {
    geometry: &'a Geometry,
    layout: &'a NestedLayout,
    input: *const i8,
    padding: [i8; PADDING],
}

/// Elements of a pixel pair that lie side by side, once or at regular distances: where the first
/// ones start in the input, `None` for padding.
struct Run {
    a: Option<usize>,
    b: Option<usize>,
    /// How many lie side by side.
    n: usize,
    /// From there to the next.
    step: usize,
    /// How often, each a block further.
    blocks: usize,
}

impl<'a> Packer<'a> {
    /// `input` has the geometry's extent and `layout` is that of the geometry.
    pub const fn new(
        geometry: &'a Geometry,
        layout: &'a NestedLayout,
        input: *const i8,
        pad: i8,
    ) -> Self {
        Self {
            geometry,
            layout,
            input,
            padding: [pad; PADDING],
        }
    }

    /// # Safety
    /// The input holds the elements of the run; its words can be written, from `to` on and block by
    /// block.
    #[inline(never)]
    unsafe fn run(&self, run: Run, to: *mut u32) {
        if run.blocks == 0 {
            return;
        }
        // Padding is at hand for so many channels only.
        let chunk = match (run.a, run.b) {
            (Some(_), Some(_)) => run.n,
            _ => PADDING,
        };
        let mut at = 0;
        while at < run.n {
            let side = |start: Option<usize>| match start {
                Some(start) => (self.input.wrapping_add(start + at), run.step),
                None => (self.padding.as_ptr(), 0),
            };
            let ((a, a_step), (b, b_step)) = (side(run.a), side(run.b));
            let n = chunk.min(run.n - at);
            let to_step = self.layout.block_words * size_of::<u32>();
            // SAFETY: by contract; padding is read again and again, no more than there is.
            unsafe {
                nest_kernels_pack_plane(
                    a,
                    b,
                    n,
                    to.wrapping_add(at),
                    run.blocks,
                    a_step,
                    b_step,
                    to_step,
                );
            }
            at += n;
        }
    }

    /// Packs the line of output row `y` with `below`, which is the next one or the same; what lies
    /// left and right of the input only if `sides`.
    ///
    /// # Safety
    /// Both are rows of the output; the layout's `unit_words` from `to` on can be written.
    #[inline(never)]
    pub unsafe fn line(&self, y: usize, below: usize, sides: bool, to: *mut u32) {
        let g = self.geometry;
        let (in_c, stride) = (g.in_c as usize, g.stride_w.max(1) as usize);
        let tap_words = g.kernel_h as usize * in_c;
        // Columns of the line are counted from the first window's first tap on; `begin` to `end` lie
        // in the input.
        let columns = (g.out_w as usize).saturating_sub(1) * stride + g.kernel_w as usize;
        let begin = (g.pad_left as usize).min(columns);
        let end = (begin + g.in_w as usize).min(columns);
        let row = |y: usize, ky: usize| {
            let row = y * g.stride_h as usize + ky * g.dilation_h as usize;
            // A row above the input is a huge one.
            let row = row.wrapping_sub(g.pad_top as usize);
            (row < g.in_h as usize).then(|| row * g.in_w as usize * in_c)
        };
        // Columns at one place of their blocks.
        for tap in 0..self.layout.taps_in_block {
            let before = |limit: usize| limit.saturating_sub(tap).div_ceil(stride);
            let (left, right) = (before(begin), before(end));
            let block =
                |block: usize| to.wrapping_add(block * self.layout.block_words + tap * tap_words);
            let padding = |blocks: usize| Run {
                a: None,
                b: None,
                n: tap_words,
                step: 0,
                blocks,
            };
            // SAFETY: the columns of the line, which the contract's words hold: those left of the
            // input, right of it, and in it a row of taps at a time.
            unsafe {
                if sides {
                    self.run(padding(left), block(0));
                    self.run(padding(before(columns) - right), block(right));
                }
                let column = (left * stride + tap).wrapping_sub(g.pad_left as usize) * in_c;
                for ky in 0..g.kernel_h as usize {
                    let start = |y: usize| Some(row(y, ky)? + column);
                    let inside = Run {
                        a: start(y),
                        b: start(below),
                        n: in_c,
                        step: stride * in_c,
                        blocks: right - left,
                    };
                    self.run(inside, block(left).wrapping_add(ky * in_c));
                }
            }
        }
    }

    /// Packs the windows of a tile's pairs of output pixels, each the window itself.
    ///
    /// # Safety
    /// The pairs from `first` and `second` on, two pixels apart, are pixels of the output; the
    /// layout's `unit_words` from `to` on can be written.
    #[inline(never)]
    pub unsafe fn windows(&self, first: usize, second: usize, to: *mut u32) {
        let g = self.geometry;
        let windows = Windows::new(g);
        let out_w = g.out_w.max(1) as usize;
        for pair in 0..self.layout.pairs {
            let at = |pixel: usize| windows.at(pixel / out_w, pixel % out_w);
            let (a, b) = (at(first + 2 * pair), at(second + 2 * pair));
            let to = to.wrapping_add(pair * self.layout.block_words);
            for ky in 0..g.kernel_h as usize {
                for kx in 0..g.kernel_w as usize {
                    let tap = Run {
                        a: windows.tap(a, ky, kx),
                        b: windows.tap(b, ky, kx),
                        n: g.in_c as usize,
                        step: 0,
                        blocks: 1,
                    };
                    // SAFETY: `in_c` channels of a tap in the input, or padding; the window's words
                    // of that tap.
                    unsafe { self.run(tap, to.wrapping_add(self.layout.word(ky, kx))) };
                }
            }
        }
    }

    /// Packs a tile's pairs of pixels, which are their own windows.
    ///
    /// # Safety
    /// See [`Self::windows`].
    pub unsafe fn pixels(&self, first: usize, second: usize, to: *mut u32) {
        let in_c = self.geometry.in_c as usize;
        let run = Run {
            a: Some(first * in_c),
            b: Some(second * in_c),
            n: in_c,
            step: 2 * in_c,
            blocks: self.layout.pairs,
        };
        // SAFETY: by contract, and the input has a pixel for each of the output.
        unsafe { self.run(run, to) };
    }
}
