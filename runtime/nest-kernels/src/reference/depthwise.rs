//! Depthwise convolution: channels are the lanes.

use crate::check::checked;
use crate::layer::Depthwise;

/// Channels at once.
const LANES: usize = 16;

/// Depthwise convolution at a level; `scratch` holds [`crate::depthwise_scratch_words`] words.
pub fn depthwise(
    layer: &Depthwise<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    _scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let g = &layer.geometry;
    let (out_w, out_c) = (g.out_w as usize, g.out_c as usize);
    if out_c == 0 {
        return;
    }
    let multiplier = out_c / g.in_c as usize;
    for (index, pixel) in output.chunks_exact_mut(out_c).enumerate() {
        let (oy, ox) = (index / out_w, index % out_w);
        for (block, out) in pixel.chunks_mut(LANES).enumerate() {
            let first = block * LANES;
            let mut sums = [0i32; LANES];
            for ky in 0..g.kernel_h as usize {
                for kx in 0..g.kernel_w as usize {
                    let tap = ky * g.kernel_w as usize + kx;
                    let weights = &layer.weights[tap * out_c + first..][..out.len()];
                    let values = g.tap(oy, ox, ky, kx).map(|at| &input[at..]);
                    match values {
                        Some(values) if multiplier == 1 => {
                            let values = &values[first..][..weights.len()];
                            for ((sum, &x), &w) in sums.iter_mut().zip(values).zip(weights) {
                                *sum += i32::from(x) * i32::from(w);
                            }
                        }
                        _ => {
                            for (lane, &w) in weights.iter().enumerate() {
                                let channel = (first + lane) / multiplier;
                                let x = values.map_or(at.pad, |values| values[channel]);
                                sums[lane] += i32::from(x) * i32::from(w);
                            }
                        }
                    }
                }
            }
            for ((out, sum), requant) in out.iter_mut().zip(sums).zip(&at.requant[first..]) {
                *out = requant.apply(sum, at.zero);
            }
        }
    }
}

/// [`depthwise`] in place, as if from a copy of the input, for layers that
/// [`crate::DepthwiseStrips::in_place`] allows. Without an operating system there is no heap for a copy, and
/// such a call is refused.
pub fn depthwise_in_place(
    layer: &Depthwise<'_>,
    level: usize,
    data: &mut [i8],
    scratch: &mut [u32],
) {
    let input = checked!(copied(layer, data));
    depthwise(layer, level, &input, data, scratch);
}

/// A copy of what a layer in place reads.
#[cfg(not(target_os = "none"))]
fn copied(layer: &Depthwise<'_>, data: &[i8]) -> Option<alloc::vec::Vec<i8>> {
    crate::DepthwiseStrips::in_place(&layer.geometry).then(|| data.to_vec())
}

/// None: see above.
#[cfg(target_os = "none")]
fn copied(_: &Depthwise<'_>, _: &[i8]) -> Option<[i8; 0]> {
    None
}
