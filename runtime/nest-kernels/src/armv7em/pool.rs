//! Pooling.

use core::arch::global_asm;

use super::elementwise::max_into;
use super::window::{Pixels, Window, Windows};
use crate::check::checked;
use crate::layer::{AvgPool, GlobalAvgPool, MaxPool};

global_asm!(include_str!("pool.s"), options(raw));

unsafe extern "C" {
    fn nest_kernels_sum4(from: *const i8, step: usize, n: usize) -> u64;
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
    for (window, pixel) in windows.iter().zip(Pixels::of(output, channels)) {
        pixel.fill(i8::MIN);
        for ky in 0..g.kernel_h as usize {
            let Some(row) = windows.row(window, ky) else {
                continue;
            };
            for kx in 0..g.kernel_w as usize {
                let tap = windows
                    .column(window, kx)
                    .and_then(|x| input.get(row + x..));
                if let Some(tap) = tap {
                    max_into(pixel, tap);
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
    let step = g.dilation_w as usize * g.in_c as usize;
    let windows = Windows::new(g);
    for (window, pixel) in windows.iter().zip(Pixels::of(output, channels)) {
        let (first, across) = taps_inside(windows, window);
        let rows = || (0..g.kernel_h as usize).filter_map(move |ky| windows.row(window, ky));
        let inside = across * rows().count();
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
        let column = windows.column(window, first);
        for channel in groups_of_4(channels) {
            let mut sums = [padding; 4];
            if let Some(column) = column {
                for row in rows() {
                    let from = input.as_ptr().wrapping_add(row + column + channel);
                    // SAFETY: `across` taps from the first one on lie inside the row, and 4 channels
                    // from `channel` on inside each.
                    unsafe { sum4(from, step, across, &mut sums) };
                }
            }
            for (out, sum) in pixel.iter_mut().skip(channel).zip(sums) {
                *out = requant.apply(sum, at.zero);
            }
        }
        if channels < 4 {
            for (channel, out) in pixel.iter_mut().enumerate() {
                let mut sum = padding;
                for (row, column) in rows().zip(core::iter::repeat(column)) {
                    let values = column.and_then(|column| input.get(row + column + channel..));
                    let values = values
                        .unwrap_or(&[])
                        .iter()
                        .step_by(step.max(1))
                        .take(across);
                    sum += values.map(|&x| i32::from(x)).sum::<i32>();
                }
                *out = requant.apply(sum, at.zero);
            }
        }
    }
}

/// Mean over all pixels of each channel.
pub fn global_avg_pool(layer: &GlobalAvgPool<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let (requant, zero) = checked!(layer.check(level, input, output));
    let channels = layer.channels as usize;
    for channel in groups_of_4(channels) {
        let mut sums = [0; 4];
        let from = input.as_ptr().wrapping_add(channel);
        // SAFETY: `check` saw `pixels * channels` elements; 4 channels from `channel` on exist.
        unsafe { sum4(from, channels, layer.pixels as usize, &mut sums) };
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
