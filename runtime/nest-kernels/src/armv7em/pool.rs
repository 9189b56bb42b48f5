//! Pooling.

use core::arch::global_asm;

use super::elementwise::max_into;
use super::window::{Window, Windows};
use crate::check::checked;
use crate::layer::{AvgPool, Geometry, GlobalAvgPool, MaxPool};

global_asm!(include_str!("pool.s"), options(raw));

/// Arguments of `nest_kernels_max_pixels` and `nest_kernels_mean_pixels`.
#[repr(C)]
struct PixelRun {
    from: *const i8,
    offsets: *const usize,
    offsets_end: *const usize,
    channels: usize,
    to: *mut i8,
    pixels: usize,
    step: usize,
    start: i32,
    multiplier: i32,
    zero: i32,
}

unsafe extern "C" {
    fn nest_kernels_sum4(from: *const i8, step: usize, n: usize) -> u64;
    fn nest_kernels_max_pixels(run: *mut PixelRun);
    fn nest_kernels_mean_pixels(run: *mut PixelRun);
}

/// Taps that one call of the above may take.
const TAPS: usize = 64;

/// Where the taps of a window lie, from the first one on.
struct Offsets {
    /// With room to read beyond.
    bytes: [usize; TAPS + 1],
    rows: usize,
    across: usize,
}

impl Offsets {
    const fn new() -> Self {
        Self {
            bytes: [0; TAPS + 1],
            rows: 0,
            across: 0,
        }
    }
    /// Of `rows` rows of `across` taps, `row` and `column` elements apart; at most [`TAPS`].
    fn set(&mut self, rows: usize, across: usize, row: usize, column: usize) {
        if (rows, across) == (self.rows, self.across) {
            return;
        }
        (self.rows, self.across) = (rows, across);
        let mut slots = self.bytes.iter_mut();
        for y in 0..rows {
            for x in 0..across {
                if let Some(slot) = slots.next() {
                    *slot = y * row + x * column;
                }
            }
        }
    }
    /// The first offset, and where they end.
    fn ends(&self) -> (*const usize, *const usize) {
        let start = self.bytes.as_ptr();
        (start, start.wrapping_add(self.rows * self.across))
    }
}

/// Neighbouring output pixels whose windows have the same taps inside the input.
#[derive(Clone, Copy)]
struct Run {
    /// The first pixel, and how many.
    first: usize,
    pixels: usize,
    /// The taps inside: element of the first one, rows and taps a row.
    from: usize,
    rows: usize,
    across: usize,
}

/// Runs of an output, in order.
fn runs(windows: Windows<'_>) -> impl Iterator<Item = Run> {
    let g = windows.geometry;
    let (out_h, out_w) = (g.out_h as usize, g.out_w as usize);
    let (mut oy, mut ox) = (0, 0);
    core::iter::from_fn(move || {
        if oy >= out_h || out_w == 0 {
            return None;
        }
        let window = windows.at(oy, ox);
        let row = |ky: usize| windows.row(window, ky);
        let taps = g.kernel_h as usize;
        let above = (0..taps).find_map(row);
        let rows = (0..taps).filter(|&ky| row(ky).is_some()).count();
        let (first, across) = taps_inside(windows, window);
        let mut pixels = 1;
        if across > 0 && across == g.kernel_w as usize {
            let inside = |ox: usize| {
                let window = windows.at(oy, ox);
                ox < out_w && windows.column(window, across - 1).is_some()
            };
            while inside(ox + pixels) {
                pixels += 1;
            }
        }
        let run = Run {
            first: oy * out_w + ox,
            pixels,
            from: above.unwrap_or(0) + windows.column(window, first).unwrap_or(0),
            rows,
            across,
        };
        ox += pixels;
        if ox >= out_w {
            (oy, ox) = (oy + 1, 0);
        }
        Some(run)
    })
}

/// Elements from one row of taps to the next, and from one tap to the next.
fn tap_steps(g: &Geometry) -> (usize, usize) {
    let pixel = g.in_c as usize;
    let row = pixel * g.in_w as usize;
    (row * g.dilation_h as usize, pixel * g.dilation_w as usize)
}

/// Pixels that one call of `nest_kernels_sum4` may sum.
const SUM_MAX: usize = 255;

/// Adds 4 neighbouring channels of `n` pixels, `step` elements apart, the first at `from`.
///
/// # Safety
/// 4 elements can be read at `from` and at every `step` from there, `n` times.
unsafe fn sum4(mut from: *const i8, step: usize, mut n: usize, sums: &mut [i32; 4]) {
    while n > 0 {
        let some = n.min(SUM_MAX);
        // SAFETY: `some` of the caller's pixels, 1 to 255.
        let packed = unsafe { nest_kernels_sum4(from, step, some) };
        for (sum, shift) in sums.iter_mut().zip([0, 32, 16, 48]) {
            *sum += i32::from((packed >> shift) as i16);
        }
        from = from.wrapping_add(some * step);
        n -= some;
    }
}

/// The first channels of groups of 4 that cover all: the last group may overlap the one before it.
/// None if there are fewer than 4 channels.
fn groups_of_4(channels: usize) -> impl Iterator<Item = usize> {
    let last = channels.checked_sub(4);
    (0..channels)
        .step_by(4)
        .filter_map(move |first| last.map(|last| first.min(last)))
}

/// Maximum of the taps inside the input; -128 where there are none.
pub fn max_pool(layer: &MaxPool, input: &[i8], output: &mut [i8]) {
    checked!(layer.check(input, output));
    let g = &layer.geometry;
    let channels = g.out_c as usize;
    if channels == 0 {
        return;
    }
    let windows = Windows::new(g);
    let (row, column) = tap_steps(g);
    let mut offsets = Offsets::new();
    for run in runs(windows) {
        let to = output.as_mut_ptr().wrapping_add(run.first * channels);
        if channels >= 4 && (1..=TAPS).contains(&(run.rows * run.across)) {
            offsets.set(run.rows, run.across, row, column);
            let (offsets, offsets_end) = offsets.ends();
            let mut run = PixelRun {
                from: input.as_ptr().wrapping_add(run.from),
                offsets,
                offsets_end,
                channels,
                to,
                pixels: run.pixels,
                step: g.stride_w as usize * channels,
                start: 0,
                multiplier: 0,
                zero: 0,
            };
            // SAFETY: all taps of the run's windows lie inside the input, its pixels in the output.
            unsafe { nest_kernels_max_pixels(&mut run) };
            continue;
        }
        for pixel in 0..run.pixels {
            let to = to.wrapping_add(pixel * channels);
            // SAFETY: a pixel of the output.
            let to = unsafe { core::slice::from_raw_parts_mut(to, channels) };
            to.fill(i8::MIN);
            let from = run.from + pixel * g.stride_w as usize * channels;
            for y in 0..run.rows {
                for x in 0..run.across {
                    if let Some(tap) = input.get(from + y * row + x * column..) {
                        max_into(to, tap);
                    }
                }
            }
        }
    }
}

/// The taps of a row of a window that lie inside the input: the first, and how many.
fn taps_inside(windows: Windows<'_>, window: Window) -> (usize, usize) {
    let taps = windows.geometry.kernel_w as usize;
    let inside = |kx: &usize| windows.column(window, *kx).is_some();
    let first = (0..taps).find(inside).unwrap_or(taps);
    (first, (first..taps).take_while(inside).count())
}

/// Mean of the taps, by the constant for as many taps as count. A window wholly outside the input
/// (no tap counts) gives what one tap of padding gives.
pub fn avg_pool(layer: &AvgPool<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let at = checked!(layer.check(level, input, output));
    let g = &layer.geometry;
    let channels = g.out_c as usize;
    if channels == 0 {
        return;
    }
    let taps = g.kernel_h as usize * g.kernel_w as usize;
    let windows = Windows::new(g);
    let (row, column) = tap_steps(g);
    let mut offsets = Offsets::new();
    for run in runs(windows) {
        let inside = run.rows * run.across;
        let padding = if layer.count_include_pad {
            taps - inside
        } else {
            usize::from(inside == 0)
        };
        let count = inside + padding;
        let Some(requant) = count.checked_sub(1).and_then(|i| at.requant.get(i)) else {
            continue;
        };
        let padding = padding as i32 * i32::from(at.pad);
        let to = output.as_mut_ptr().wrapping_add(run.first * channels);
        if channels >= 4 && (1..=TAPS).contains(&inside) {
            offsets.set(run.rows, run.across, row, column);
            let (offsets, offsets_end) = offsets.ends();
            let mut run = PixelRun {
                from: input.as_ptr().wrapping_add(run.from),
                offsets,
                offsets_end,
                channels,
                to,
                pixels: run.pixels,
                step: g.stride_w as usize * channels,
                start: padding.wrapping_add(requant.bias),
                multiplier: requant.multiplier,
                zero: at.zero.into(),
            };
            // SAFETY: all taps of the run's windows lie inside the input, its pixels in the output.
            unsafe { nest_kernels_mean_pixels(&mut run) };
            continue;
        }
        for pixel in 0..run.pixels {
            let from = run.from + pixel * g.stride_w as usize * channels;
            let to = to.wrapping_add(pixel * channels);
            // SAFETY: a pixel of the output.
            let to = unsafe { core::slice::from_raw_parts_mut(to, channels) };
            for channel in groups_of_4(channels) {
                let mut sums = [padding; 4];
                for y in 0..run.rows {
                    let from = input.as_ptr().wrapping_add(from + y * row + channel);
                    // SAFETY: `across` taps from the first one on lie inside the row, and 4
                    // channels from `channel` on inside each.
                    unsafe { sum4(from, column, run.across, &mut sums) };
                }
                for (out, sum) in to.iter_mut().skip(channel).zip(sums) {
                    *out = requant.apply(sum, at.zero);
                }
            }
            if channels < 4 {
                for (channel, out) in to.iter_mut().enumerate() {
                    let mut sum = padding;
                    for y in 0..run.rows {
                        let values = input.get(from + y * row + channel..).unwrap_or(&[]);
                        let values = values.iter().step_by(column.max(1)).take(run.across);
                        sum += values.map(|&x| i32::from(x)).sum::<i32>();
                    }
                    *out = requant.apply(sum, at.zero);
                }
            }
        }
    }
}

/// Mean over all pixels of each channel.
pub fn global_avg_pool(layer: &GlobalAvgPool<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let (requant, zero) = checked!(layer.check(level, input, output));
    let channels = layer.channels as usize;
    let pixels = layer.pixels as usize;
    if channels >= 4 && (1..=TAPS).contains(&pixels) {
        let mut offsets = Offsets::new();
        offsets.set(1, pixels, 0, channels);
        let (offsets, offsets_end) = offsets.ends();
        let mut run = PixelRun {
            from: input.as_ptr(),
            offsets,
            offsets_end,
            channels,
            to: output.as_mut_ptr(),
            pixels: 1,
            step: 0,
            start: requant.bias,
            multiplier: requant.multiplier,
            zero: zero.into(),
        };
        // SAFETY: `check` saw `pixels * channels` elements and `channels` outputs.
        return unsafe { nest_kernels_mean_pixels(&mut run) };
    }
    for channel in groups_of_4(channels) {
        let mut sums = [0; 4];
        let from = input.as_ptr().wrapping_add(channel);
        // SAFETY: `check` saw `pixels * channels` elements; 4 channels from `channel` on exist.
        unsafe { sum4(from, channels, pixels, &mut sums) };
        for (out, sum) in output.iter_mut().skip(channel).zip(sums) {
            *out = requant.apply(sum, zero);
        }
    }
    if channels < 4 {
        for (channel, out) in output.iter_mut().enumerate() {
            let values = input.iter().skip(channel).step_by(channels.max(1));
            *out = requant.apply(values.map(|&x| i32::from(x)).sum(), zero);
        }
    }
}
