//! Convolutions of any groups, one output element after the other.

use super::dense::dot;
use super::window::{Pixels, Windows};
use crate::check::checked;
use crate::layer::ConvGeneric;

/// Convolution of any number of groups at a level. `input` is `[in_h][in_w][in_c]`, `output`
/// `[out_h][out_w][out_c]`.
pub fn conv_generic(layer: &ConvGeneric<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let at = checked!(layer.check(level, input, output));
    let g = &layer.geometry;
    let (Some(in_c), Some(out_c)) = (
        g.in_c.checked_div(layer.groups).map(usize::from),
        g.out_c.checked_div(layer.groups).map(usize::from),
    ) else {
        return;
    };
    if out_c == 0 {
        return;
    }
    let windows = Windows::new(g);
    let pixels = Pixels::of(output, g.out_c as usize);
    for (window, pixel) in windows.iter().zip(pixels) {
        let mut weights = layer.weights;
        let groups = Pixels::of(pixel, out_c);
        let requants = at.requant.chunks_exact(out_c);
        for (group, (outputs, requants)) in groups.zip(requants).enumerate() {
            for (out, requant) in outputs.iter_mut().zip(requants) {
                let mut sum = 0;
                for ky in 0..g.kernel_h as usize {
                    for kx in 0..g.kernel_w as usize {
                        let Some((tap, rest)) = weights.split_at_checked(in_c) else {
                            continue;
                        };
                        weights = rest;
                        let values = windows
                            .tap(window, ky, kx)
                            .and_then(|at| input.get(at + group * in_c..))
                            .map(|values| dot(tap, values));
                        sum += values.unwrap_or_else(|| {
                            let weights = tap.iter().map(|&w| i32::from(w));
                            weights.sum::<i32>() * i32::from(at.pad)
                        });
                    }
                }
                *out = requant.apply(sum, at.zero);
            }
        }
    }
}
