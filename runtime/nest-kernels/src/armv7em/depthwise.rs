//! Depthwise convolutions. Those that do not run over strips: for each output pixel a table of where
//! its taps lie, then all channels.

use core::arch::global_asm;

use nest_format::Requant;

use super::depthwise_strip;
use super::window::{Pixels, Windows};
use crate::check::{AtLevel, checked, refuse};
use crate::layer::Depthwise;
use crate::{DepthwiseStrips, depthwise_scratch_words};

global_asm!(include_str!("depthwise.s"), options(raw));

/// Arguments of `depthwise.s`.
#[repr(C)]
struct Pixel {
    taps: *const *const i8,
    taps_end: *const *const i8,
    weights: *const i8,
    channels: usize,
    requant: *const Requant,
    output: *mut i8,
    zero: i32,
}

unsafe extern "C" {
    fn nest_kernels_depthwise(pixel: *const Pixel);
}

/// Depthwise convolution at a level; `scratch` holds [`crate::depthwise_scratch_words`] words.
pub fn depthwise(
    layer: &Depthwise<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let g = &layer.geometry;
    if let Some(layout) = DepthwiseStrips::of(g) {
        let (from, to) = (input.as_ptr(), output.as_mut_ptr());
        // SAFETY: `check` saw the lengths of both.
        return unsafe { depthwise_strip::run(layer, layout, at, from, to, scratch) };
    }
    let words = depthwise_scratch_words(g);
    if words == 0 {
        return one_by_one(layer, at, input, output);
    }
    let taps = g.kernel_h as usize * g.kernel_w as usize;
    let channels = g.out_c as usize;
    let Some((table, padding)) = scratch
        .get_mut(..words)
        .and_then(|s| s.split_at_mut_checked(taps))
    else {
        return refuse();
    };
    padding.fill(u32::from_ne_bytes([at.pad as u8; 4]));
    let padding = padding.as_ptr().cast::<i8>();
    let windows = Windows::new(g);
    let pixels = Pixels::of(output, channels);
    for (window, pixel) in windows.iter().zip(pixels) {
        let mut slots = table.iter_mut();
        for ky in 0..g.kernel_h as usize {
            let row = windows.row(window, ky);
            for kx in 0..g.kernel_w as usize {
                let tap = match (row, windows.column(window, kx)) {
                    (Some(row), Some(column)) => input.as_ptr().wrapping_add(row + column),
                    _ => padding,
                };
                if let Some(slot) = slots.next() {
                    *slot = tap as u32;
                }
            }
        }
        let taps = table.as_ptr_range();
        let pixel = Pixel {
            taps: taps.start.cast(),
            taps_end: taps.end.cast(),
            weights: layer.weights.as_ptr(),
            channels,
            requant: at.requant.as_ptr(),
            output: pixel.as_mut_ptr(),
            zero: at.zero.into(),
        };
        // SAFETY: each entry of the table points to `channels` elements, of the input or of the
        // padding; `check` saw `taps * channels` weights and `channels` constants; the output pixel
        // has `channels` elements; scratch is only needed where `channels >= 4` and `taps > 0`.
        unsafe { nest_kernels_depthwise(&pixel) };
    }
}

/// [`depthwise`] with the result in place of the input, for layers that
/// [`DepthwiseStrips::in_place`] allows.
pub fn depthwise_in_place(
    layer: &Depthwise<'_>,
    level: usize,
    data: &mut [i8],
    scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, data, data));
    let g = &layer.geometry;
    let layout = checked!(DepthwiseStrips::of(g));
    if !DepthwiseStrips::in_place(g) {
        return refuse();
    }
    let data = data.as_mut_ptr();
    // SAFETY: `check` saw the length of both maps; rows are written when the rows of the same
    // channels that are still to be read lie below them.
    unsafe { depthwise_strip::run(layer, layout, at, data, data, scratch) };
}

/// Layers of less than 4 channels, or with several output channels for an input channel.
fn one_by_one(layer: &Depthwise<'_>, at: AtLevel<'_>, input: &[i8], output: &mut [i8]) {
    let g = &layer.geometry;
    let Some(multiplier) = g.out_c.checked_div(g.in_c) else {
        return;
    };
    let (out_c, multiplier) = (g.out_c as usize, multiplier as usize);
    if multiplier == 0 || out_c == 0 {
        return;
    }
    let windows = Windows::new(g);
    for (window, pixel) in windows.iter().zip(Pixels::of(output, out_c)) {
        for (channel, (out, requant)) in pixel.iter_mut().zip(at.requant).enumerate() {
            let mut weights = layer.weights.iter().skip(channel).step_by(out_c);
            let mut sum = 0;
            for ky in 0..g.kernel_h as usize {
                for kx in 0..g.kernel_w as usize {
                    let value = windows
                        .tap(window, ky, kx)
                        .and_then(|at| input.get(at + channel / multiplier))
                        .unwrap_or(&at.pad);
                    let weight = weights.next().unwrap_or(&0);
                    sum += i32::from(*value) * i32::from(*weight);
                }
            }
            *out = requant.apply(sum, at.zero);
        }
    }
}
