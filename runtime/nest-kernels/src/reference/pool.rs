//! Pooling.

use crate::check::checked;
use crate::layer::{AvgPool, GlobalAvgPool, MaxPool};

/// Maximum of the taps inside the input; -128 where there are none.
pub fn max_pool(layer: &MaxPool, input: &[i8], output: &mut [i8]) {
    checked!(layer.check(input, output));
    let g = &layer.geometry;
    let (out_w, channels) = (g.out_w as usize, g.out_c as usize);
    if channels == 0 {
        return;
    }
    for (index, pixel) in output.chunks_exact_mut(channels).enumerate() {
        pixel.fill(i8::MIN);
        for ky in 0..g.kernel_h as usize {
            for kx in 0..g.kernel_w as usize {
                if let Some(at) = g.tap(index / out_w, index % out_w, ky, kx) {
                    for (out, &x) in pixel.iter_mut().zip(&input[at..]) {
                        *out = (*out).max(x);
                    }
                }
            }
        }
    }
}

/// Mean of the taps, by the constant for as many taps as count. A window wholly outside the input
/// (no tap counts) gives what one tap of padding gives.
pub fn avg_pool(layer: &AvgPool<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let at = checked!(layer.check(level, input, output));
    let g = &layer.geometry;
    let (out_w, channels) = (g.out_w as usize, g.out_c as usize);
    if channels == 0 {
        return;
    }
    for (index, pixel) in output.chunks_exact_mut(channels).enumerate() {
        for (channel, out) in pixel.iter_mut().enumerate() {
            let (mut sum, mut inside, mut outside) = (0i32, 0, 0);
            for ky in 0..g.kernel_h as usize {
                for kx in 0..g.kernel_w as usize {
                    match g.tap(index / out_w, index % out_w, ky, kx) {
                        Some(at) => {
                            sum += i32::from(input[at + channel]);
                            inside += 1;
                        }
                        None => outside += 1,
                    }
                }
            }
            if layer.count_include_pad || inside == 0 {
                let padding = if layer.count_include_pad { outside } else { 1 };
                sum += padding * i32::from(at.pad);
                inside += padding as usize;
            }
            if let Some(requant) = at.requant.get(inside.wrapping_sub(1)) {
                *out = requant.apply(sum, at.zero);
            }
        }
    }
}

/// Mean over all pixels of each channel.
pub fn global_avg_pool(layer: &GlobalAvgPool<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let (requant, zero) = checked!(layer.check(level, input, output));
    let channels = layer.channels as usize;
    for (channel, out) in output.iter_mut().enumerate() {
        let values = input.iter().skip(channel).step_by(channels);
        *out = requant.apply(values.map(|&x| i32::from(x)).sum(), zero);
    }
}
