//! Gathers the columns of output pixels, two pixels packed into a word.

use core::arch::global_asm;

use crate::layer::Geometry;

global_asm!(include_str!("pack.s"), options(raw));

unsafe extern "C" {
    fn nest_kernels_pack_plane(a: *const i8, b: *const i8, n: usize, to: *mut u32) -> *mut u32;
    fn nest_kernels_pack_pairs(a: *const i8, b: *const i8, n: usize, to: *mut u32) -> *mut u32;
}

/// Where the next word of a packed row goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Beside the previous one.
    Plane,
    /// With a word between them.
    Pairs,
}

impl Step {
    const fn words(self) -> usize {
        match self {
            Step::Plane => 1,
            Step::Pairs => 2,
        }
    }
}

/// Packs pixels of one input map.
pub(super) struct Packer<'a> {
    geometry: &'a Geometry,
    input: &'a [i8],
    pad: i8,
    step: Step,
    /// Elements of a kernel row that lie side by side in the input: all of it unless dilated.
    run: usize,
    /// Runs of a kernel row.
    runs: usize,
    row_elements: usize,
}

/// An output pixel's window: the input coordinates of its first tap.
#[derive(Clone, Copy)]
struct Window {
    y: i32,
    x: i32,
}

const fn pack(a: i8, b: i8) -> u32 {
    (a as i32 as u32).wrapping_add((b as i32 as u32) << 23)
}

impl<'a> Packer<'a> {
    /// `input` has the geometry's extent, which `check` has seen.
    pub fn new(geometry: &'a Geometry, input: &'a [i8], pad: i8, step: Step) -> Self {
        let (in_c, kernel_w) = (geometry.in_c as usize, geometry.kernel_w as usize);
        let whole = geometry.dilation_w == 1;
        Self {
            geometry,
            input,
            pad,
            step,
            run: if whole { in_c * kernel_w } else { in_c },
            runs: if whole { 1 } else { kernel_w },
            row_elements: in_c * geometry.in_w as usize,
        }
    }

    fn window(&self, pixel: usize) -> Window {
        let g = self.geometry;
        let (oy, ox) = (pixel as u32 / g.out_w as u32, pixel as u32 % g.out_w as u32);
        Window {
            y: (oy * g.stride_h as u32) as i32 - g.pad_top as i32,
            x: (ox * g.stride_w as u32) as i32 - g.pad_left as i32,
        }
    }

    /// Whether all horizontal taps lie inside the input.
    fn inside(&self, window: Window) -> bool {
        let g = self.geometry;
        let last = window.x + (g.kernel_w as i32 - 1) * g.dilation_w as i32;
        window.x >= 0 && last < g.in_w as i32
    }

    /// Packs output pixels `first` and `second` to `to`: `geometry.columns()` words, `step` apart.
    ///
    /// # Safety
    /// `to` and the `(columns - 1) * step` words after it can be written.
    pub unsafe fn pair(&self, first: usize, second: usize, mut to: *mut u32) {
        let g = self.geometry;
        let (a, b) = (self.window(first), self.window(second));
        let both_inside = self.inside(a) && self.inside(b);
        for ky in 0..g.kernel_h as i32 {
            let dy = ky * g.dilation_h as i32;
            let (row_a, row_b) = (self.row(a.y + dy), self.row(b.y + dy));
            match (row_a, row_b) {
                (Some(row_a), Some(row_b)) if both_inside => {
                    for run in 0..self.runs {
                        let dx = run * g.dilation_w as usize;
                        let in_c = g.in_c as usize;
                        let at = |window: Window, row: usize| {
                            self.input
                                .as_ptr()
                                .wrapping_add(row + (window.x as usize + dx) * in_c)
                        };
                        // SAFETY: both rows and all horizontal taps of both windows lie inside the
                        // input, so `run` elements from each address do; `to` has room by contract.
                        to = unsafe {
                            match self.step {
                                Step::Plane => nest_kernels_pack_plane(
                                    at(a, row_a),
                                    at(b, row_b),
                                    self.run,
                                    to,
                                ),
                                Step::Pairs => nest_kernels_pack_pairs(
                                    at(a, row_a),
                                    at(b, row_b),
                                    self.run,
                                    to,
                                ),
                            }
                        };
                    }
                }
                _ => {
                    for kx in 0..g.kernel_w as i32 {
                        let dx = kx * g.dilation_w as i32;
                        // SAFETY: `to` has room by contract.
                        to = unsafe {
                            self.tap(self.pixel(row_a, a.x + dx), self.pixel(row_b, b.x + dx), to)
                        };
                    }
                }
            }
        }
    }

    /// First element of an input row.
    fn row(&self, y: i32) -> Option<usize> {
        (y >= 0 && y < self.geometry.in_h as i32).then(|| y as usize * self.row_elements)
    }

    /// The channels of an input pixel.
    fn pixel(&self, row: Option<usize>, x: i32) -> Option<&'a [i8]> {
        let g = self.geometry;
        if x < 0 || x >= g.in_w as i32 {
            return None;
        }
        let at = row? + x as usize * g.in_c as usize;
        self.input.get(at..at + g.in_c as usize)
    }

    /// Packs one tap of two pixels, either of which may be padding.
    ///
    /// # Safety
    /// `to` and the `(in_c - 1) * step` words after it can be written.
    unsafe fn tap(&self, a: Option<&[i8]>, b: Option<&[i8]>, mut to: *mut u32) -> *mut u32 {
        let pad = self.pad;
        let in_c = self.geometry.in_c as usize;
        let step = self.step.words();
        let mut put = |word: u32| {
            // SAFETY: called `in_c` times, each time one step on: the contract's words.
            unsafe { to.write(word) };
            to = to.wrapping_add(step);
        };
        match (a, b) {
            (Some(a), Some(b)) => {
                // SAFETY: two slices of `in_c` elements; `to` has room by contract.
                return unsafe {
                    match self.step {
                        Step::Plane => nest_kernels_pack_plane(a.as_ptr(), b.as_ptr(), in_c, to),
                        Step::Pairs => nest_kernels_pack_pairs(a.as_ptr(), b.as_ptr(), in_c, to),
                    }
                };
            }
            (Some(a), None) => a.iter().for_each(|&a| put(pack(a, pad))),
            (None, Some(b)) => b.iter().for_each(|&b| put(pack(pad, b))),
            (None, None) => (0..in_c).for_each(|_| put(pack(pad, pad))),
        }
        to
    }
}
