//! Gathers the columns of output pixels, two pixels packed into a word.

use core::arch::global_asm;

use super::window::{Window, Windows};
use crate::layer::Geometry;

global_asm!(include_str!("pack.s"), options(raw));

unsafe extern "C" {
    pub(super) fn nest_kernels_pack_plane(
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
pub(super) const PADDING: usize = 64;

/// Packs pixels of one input map.
pub(super) struct Packer<'a> {
    windows: Windows<'a>,
    input: *const i8,
    padding: [i8; PADDING],
    /// Elements from one row of taps to the next.
    row_step: usize,
    /// Words that a row of taps takes, spaces included.
    row_words: usize,
    /// What the output row packed last shares.
    line: Line,
}

/// What all windows of an output row share.
#[derive(Clone, Copy)]
struct Line {
    /// The row's first pixel.
    first: usize,
    y: i32,
    /// Rows of taps above the input, inside it and below it.
    above: usize,
    inside: usize,
    below: usize,
    /// First element of the input row under the first row of taps inside.
    start: usize,
}

/// One pixel of a pair, over some rows of taps: where its first row starts in the input, if it lies
/// there.
#[derive(Clone, Copy)]
struct Rows {
    window: Window,
    start: Option<usize>,
}

impl Line {
    fn of(windows: Windows<'_>, oy: usize) -> Self {
        let kernel_h = windows.geometry.kernel_h as usize;
        let window = windows.at(oy, 0);
        let above = (0..kernel_h)
            .take_while(|&ky| windows.above(window, ky))
            .count();
        let inside = (above..kernel_h)
            .take_while(|&ky| windows.row(window, ky).is_some())
            .count();
        Self {
            first: oy * windows.geometry.out_w as usize,
            y: window.y,
            above,
            inside,
            below: kernel_h - above - inside,
            start: windows.row(window, above).unwrap_or(0),
        }
    }
}

impl<'a> Packer<'a> {
    /// `input` has the geometry's extent, which `check` has seen.
    pub fn new(geometry: &'a Geometry, input: *const i8, pad: i8) -> Self {
        let in_c = geometry.in_c as usize;
        let windows = Windows::new(geometry);
        Self {
            windows,
            input,
            padding: [pad; PADDING],
            row_step: in_c * geometry.in_w as usize * geometry.dilation_h as usize,
            row_words: in_c * geometry.kernel_w as usize,
            line: Line::of(windows, 0),
        }
    }

    /// Packs output pixels `first` and `second`, which is the same or the next one, to `to`:
    /// `geometry.columns()` words.
    ///
    /// # Safety
    /// Both are pixels of the output; that many words from `to` on can be written.
    pub unsafe fn pair(&mut self, first: usize, second: usize, to: *mut u32) {
        let windows = self.windows;
        let out_w = windows.geometry.out_w.max(1) as usize;
        if first.wrapping_sub(self.line.first) >= out_w {
            self.line = Line::of(windows, first / out_w);
        }
        let line = self.line;
        let (ox, next) = (first - line.first, second - line.first);
        let y = line.y;
        let a = Window {
            y,
            x: windows.x(ox),
        };
        if next < out_w {
            let b = Window {
                y,
                x: windows.x(next),
            };
            let inside = to.wrapping_add(line.above * self.row_words);
            let below = inside.wrapping_add(line.inside * self.row_words);
            // SAFETY: the three parts of the contract's words; `line` has `inside` rows of taps in
            // the input.
            unsafe {
                self.padding_rows(line.above, to);
                if line.inside > 0 {
                    let start = Some(line.start);
                    let [a, b] = [a, b].map(|window| Rows { window, start });
                    self.rows(a, b, line.inside, inside);
                }
                self.padding_rows(line.below, below);
            }
        } else {
            // The last pixel of an output row and the first of the next.
            let b = windows.at(line.first / out_w + 1, 0);
            for ky in 0..windows.geometry.kernel_h as usize {
                let [a, b] = [a, b].map(|window| Rows {
                    window,
                    start: windows.row(window, ky),
                });
                // SAFETY: the contract's words, row by row.
                unsafe { self.rows(a, b, 1, to.wrapping_add(ky * self.row_words)) };
            }
        }
    }

    /// Fills rows of taps with padding.
    ///
    /// # Safety
    /// The rows' words from `to` on can be written.
    unsafe fn padding_rows(&self, rows: usize, to: *mut u32) {
        let [pad, ..] = self.padding.map(|pad| pad as i32 as u32);
        let word = pad.wrapping_add(pad << 23);
        for at in 0..rows * self.row_words {
            // SAFETY: within the contract's words.
            unsafe { to.wrapping_add(at).write(word) };
        }
    }

    /// Packs `rows > 0` rows of taps. Neighbouring taps that lie inside the input for both pixels go
    /// together, others one by one.
    ///
    /// # Safety
    /// The rows' words from `to` on can be written; pixels whose `start` is there have all `rows`
    /// inside the input.
    unsafe fn rows(&self, a: Rows, b: Rows, rows: usize, to: *mut u32) {
        let g = self.windows.geometry;
        let in_c = g.in_c as usize;
        let tap_words = in_c;
        let to_step = self.row_words * size_of::<u32>();
        let kernel_w = g.kernel_w as usize;
        let tap = |pixel: Rows, kx| Some(pixel.start? + self.windows.column(pixel.window, kx)?);
        let input = self.input;
        let whole = g.dilation_w == 1
            && self.row_words > 0
            && a.window.x.min(b.window.x) >= 0
            && a.window.x.max(b.window.x) + kernel_w as i32 <= g.in_w as i32;
        if let (true, Some(at_a), Some(at_b)) = (whole, a.start, b.start) {
            // The usual case: all taps inside, side by side.
            let side = |at: usize, x: i32| input.wrapping_add(at + x as usize * in_c);
            let (a, b) = (side(at_a, a.window.x), side(at_b, b.window.x));
            let (n, step) = (kernel_w * in_c, self.row_step);
            // SAFETY: `n` elements, more than 0, lie side by side in the input, in each of the rows;
            // `to` has room by contract.
            unsafe { nest_kernels_pack_plane(a, b, n, to, rows, step, step, to_step) };
            return;
        }
        let mut kx = 0;
        while kx < kernel_w {
            let to = to.wrapping_add(kx * tap_words);
            match (tap(a, kx), tap(b, kx)) {
                (Some(at_a), Some(at_b)) => {
                    let taps = if g.dilation_w == 1 {
                        self.neighbours(a.window, b.window, kx)
                    } else {
                        1
                    };
                    let (a, b) = (input.wrapping_add(at_a), input.wrapping_add(at_b));
                    let step = self.row_step;
                    if in_c > 0 {
                        // SAFETY: `taps` taps of `in_c` channels lie side by side in the input, in
                        // each of the rows; `to` has room by contract.
                        unsafe {
                            nest_kernels_pack_plane(
                                a,
                                b,
                                taps * in_c,
                                to,
                                rows,
                                step,
                                step,
                                to_step,
                            )
                        };
                    }
                    kx += taps;
                }
                (at_a, at_b) => {
                    for channel in (0..in_c).step_by(PADDING) {
                        let n = PADDING.min(in_c - channel);
                        let side = |at: Option<usize>| match at {
                            Some(at) => (input.wrapping_add(at + channel), self.row_step),
                            None => (self.padding.as_ptr(), 0),
                        };
                        let ((a, a_step), (b, b_step)) = (side(at_a), side(at_b));
                        let to = to.wrapping_add(channel);
                        // SAFETY: `n` channels of a tap inside the input, in each of the rows, or
                        // the padding at hand again and again; `to` has room by contract.
                        unsafe {
                            nest_kernels_pack_plane(a, b, n, to, rows, a_step, b_step, to_step)
                        };
                    }
                    kx += 1;
                }
            }
        }
    }

    /// Taps from `kx` on, which both pixels have inside the input, as far as that stays so.
    fn neighbours(&self, a: Window, b: Window, kx: usize) -> usize {
        let g = self.windows.geometry;
        let right = a.x.max(b.x) + kx as i32;
        let inside = (g.in_w as i32 - right).max(1) as usize;
        inside.min(g.kernel_w as usize - kx)
    }
}
