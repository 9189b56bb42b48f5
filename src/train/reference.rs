//! Plain double-precision loops for every operation: slow, obvious, and the oracle of the engine.

use crate::ir::eval_ops;
use crate::ir::float::{BatchNorm, Conv, Dense, FloatGraph, FloatOp, Pad, Shape, Slice, Window};
use crate::ir::ids::{Id, ValueId};

/// All values of one image, indexed by [`ValueId`]; every value is channel-major.
pub(crate) fn forward(graph: &FloatGraph, input: &[f32]) -> Vec<Vec<f64>> {
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); graph.values.len()];
    values[graph.input().index()] = input.iter().map(|&v| f64::from(v)).collect();
    for node in &graph.nodes {
        let inputs: Vec<(&[f64], Shape)> = node
            .inputs
            .iter()
            .map(|&v| (values[v.index()].as_slice(), graph.shape(v)))
            .collect();
        let out = apply(&node.op, &inputs, graph.shape(node.output));
        values[node.output.index()] = out;
    }
    values
}

/// The graph's outputs for one image, one after the other.
pub(crate) fn outputs(graph: &FloatGraph, values: &[Vec<f64>]) -> Vec<f64> {
    graph
        .outputs
        .iter()
        .flat_map(|v: &ValueId| values[v.index()].iter().copied())
        .collect()
}

/// One operation in evaluation mode (batch normalisation uses its running statistics).
pub(crate) fn apply(op: &FloatOp, inputs: &[(&[f64], Shape)], out: Shape) -> Vec<f64> {
    let (x, shape) = inputs[0];
    match op {
        FloatOp::Conv(conv) => convolve(conv, x, shape, out),
        FloatOp::Dense(dense) => dense_layer(dense, x),
        FloatOp::BatchNorm(bn) => normalise(bn, x, shape),
        FloatOp::ChannelAffine { scale, shift } => per_channel(x, shape, |c, v| {
            v * f64::from(scale[c]) + f64::from(shift[c])
        }),
        FloatOp::Relu => x.iter().map(|v| v.max(0.0)).collect(),
        FloatOp::Relu6 => x.iter().map(|v| v.clamp(0.0, 6.0)).collect(),
        FloatOp::Add => x.iter().zip(inputs[1].0).map(|(a, b)| a + b).collect(),
        FloatOp::MaxPool(window) => pool(window, x, shape, out, |taps| {
            taps.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        }),
        FloatOp::AvgPool {
            window,
            count_include_pad,
        } => pool(window, x, shape, out, |taps| {
            let count = if *count_include_pad {
                window.taps()
            } else {
                taps.len()
            };
            taps.iter().sum::<f64>() / count as f64
        }),
        FloatOp::GlobalAvgPool => x
            .chunks(shape.pixels())
            .map(|plane| plane.iter().sum::<f64>() / shape.pixels() as f64)
            .collect(),
        FloatOp::Flatten => x.to_vec(),
        FloatOp::Pad(p) => pad(p, x, shape, out),
        FloatOp::Slice(s) => slice(s, x, shape),
        other => eval_ops::apply(other, inputs, out).expect("an operation of `float_ops`"),
    }
}

fn per_channel(x: &[f64], shape: Shape, f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    x.iter()
        .enumerate()
        .map(|(i, &v)| f(i / shape.pixels(), v))
        .collect()
}

fn normalise(bn: &BatchNorm, x: &[f64], shape: Shape) -> Vec<f64> {
    per_channel(x, shape, |c, v| {
        let deviation = (f64::from(bn.var[c]) + f64::from(bn.epsilon)).sqrt();
        (v - f64::from(bn.mean[c])) / deviation * f64::from(bn.gamma[c]) + f64::from(bn.beta[c])
    })
}

/// The input position of tap `tap` of output position `out` along `axis`, unless it is padding.
fn tap(window: &Window, axis: usize, out: usize, tap: usize, extent: usize) -> Option<usize> {
    (out * window.stride[axis] + tap * window.dilation[axis])
        .checked_sub(window.pads[axis])
        .filter(|&at| at < extent)
}

fn convolve(conv: &Conv, x: &[f64], shape: Shape, out: Shape) -> Vec<f64> {
    let [kh, kw] = conv.window.kernel;
    let group_out = conv.out_channels / conv.groups;
    let mut result = Vec::with_capacity(out.len());
    for o in 0..out.c {
        let first_in = o / group_out * conv.group_channels;
        for oy in 0..out.h {
            for ox in 0..out.w {
                let mut sum = conv.bias.as_ref().map_or(0.0, |b| f64::from(b[o]));
                for i in 0..conv.group_channels {
                    for ky in 0..kh {
                        let Some(y) = tap(&conv.window, 0, oy, ky, shape.h) else {
                            continue;
                        };
                        for kx in 0..kw {
                            let Some(xx) = tap(&conv.window, 1, ox, kx, shape.w) else {
                                continue;
                            };
                            let weight =
                                conv.weight[((o * conv.group_channels + i) * kh + ky) * kw + kx];
                            sum += f64::from(weight)
                                * x[((first_in + i) * shape.h + y) * shape.w + xx];
                        }
                    }
                }
                result.push(sum);
            }
        }
    }
    result
}

fn dense_layer(dense: &Dense, x: &[f64]) -> Vec<f64> {
    dense
        .weight
        .chunks(dense.in_features)
        .enumerate()
        .map(|(o, row)| {
            let bias = dense.bias.as_ref().map_or(0.0, |b| f64::from(b[o]));
            bias + row
                .iter()
                .zip(x)
                .map(|(&w, v)| f64::from(w) * v)
                .sum::<f64>()
        })
        .collect()
}

fn pool(
    window: &Window,
    x: &[f64],
    shape: Shape,
    out: Shape,
    reduce: impl Fn(&[f64]) -> f64,
) -> Vec<f64> {
    let mut result = Vec::with_capacity(out.len());
    let mut taps = Vec::with_capacity(window.taps());
    for c in 0..out.c {
        for oy in 0..out.h {
            for ox in 0..out.w {
                taps.clear();
                for ky in 0..window.kernel[0] {
                    let Some(y) = tap(window, 0, oy, ky, shape.h) else {
                        continue;
                    };
                    for kx in 0..window.kernel[1] {
                        if let Some(xx) = tap(window, 1, ox, kx, shape.w) {
                            taps.push(x[(c * shape.h + y) * shape.w + xx]);
                        }
                    }
                }
                result.push(reduce(&taps));
            }
        }
    }
    result
}

fn pad(p: &Pad, x: &[f64], shape: Shape, out: Shape) -> Vec<f64> {
    let mut result = vec![f64::from(p.value); out.len()];
    for c in 0..shape.c {
        for y in 0..shape.h {
            for xx in 0..shape.w {
                result[((c + p.c[0]) * out.h + y + p.h[0]) * out.w + xx + p.w[0]] =
                    x[(c * shape.h + y) * shape.w + xx];
            }
        }
    }
    result
}

fn slice(s: &Slice, x: &[f64], shape: Shape) -> Vec<f64> {
    let mut result = Vec::with_capacity(s.count.iter().product());
    for c in 0..s.count[0] {
        for y in 0..s.count[1] {
            for xx in 0..s.count[2] {
                let at = |axis: usize, i: usize| s.start[axis] + i * s.step[axis];
                result.push(x[(at(0, c) * shape.h + at(1, y)) * shape.w + at(2, xx)]);
            }
        }
    }
    result
}
