//! Reference evaluation of a float graph: plain loops, for tests and as the oracle of faster code.
//!
//! Sums run in `f64` and are rounded once, so the result is closer to the exact one than any
//! `f32` engine's and does not depend on an order of summation chosen for speed.

use super::eval_ops;
use super::float::{BatchNorm, Conv, Dense, FloatGraph, FloatOp, Pad, Shape, Slice, Window};
use super::ids::{IdVec, ValueId};

/// Evaluates a verified graph on one image and gives every value, channel-major.
///
/// # Panics
/// If `input` has not as many elements as the graph's input, or the graph breaks a rule of
/// [`super::verify`].
pub fn eval(graph: &FloatGraph, input: &[f32]) -> IdVec<ValueId, Vec<f32>> {
    assert_eq!(
        input.len(),
        graph.input_shape().len(),
        "elements of the input"
    );
    let mut values: IdVec<ValueId, Vec<f32>> = graph.values.iter().map(|_| Vec::new()).collect();
    values[graph.input()] = input.to_vec();
    for node in &graph.nodes {
        let x = &values[node.inputs[0]];
        let shape = graph.shape(node.inputs[0]);
        let out = graph.shape(node.output);
        let y = match &node.op {
            FloatOp::Conv(op) => conv(op, x, shape, out),
            FloatOp::Dense(op) => dense(op, x),
            FloatOp::BatchNorm(op) => batch_norm(op, x, shape),
            FloatOp::ChannelAffine { scale, shift } => {
                per_channel(x, shape, |c, v| scale[c] * v + shift[c])
            }
            FloatOp::Relu => x.iter().map(|&v| v.max(0.0)).collect(),
            FloatOp::Relu6 => x.iter().map(|&v| v.clamp(0.0, 6.0)).collect(),
            FloatOp::Add => {
                let other = &values[node.inputs[1]];
                x.iter().zip(other).map(|(a, b)| a + b).collect()
            }
            FloatOp::MaxPool(window) => max_pool(window, x, shape, out),
            FloatOp::AvgPool {
                window,
                count_include_pad,
            } => avg_pool(window, *count_include_pad, x, shape, out),
            FloatOp::GlobalAvgPool => x
                .chunks(shape.pixels())
                .map(|plane| mean(plane.iter().copied(), shape.pixels()))
                .collect(),
            FloatOp::Flatten => x.clone(),
            FloatOp::Pad(op) => pad(op, x, shape, out),
            FloatOp::Slice(op) => slice(op, x, shape),
            FloatOp::Softmax
            | FloatOp::Unary(_)
            | FloatOp::PRelu(_)
            | FloatOp::Binary(_)
            | FloatOp::WithConstant(_)
            | FloatOp::Concat(_)
            | FloatOp::Select { .. }
            | FloatOp::ChannelShuffle { .. }
            | FloatOp::Rearrange(_)
            | FloatOp::Resize(_) => {
                let wide: Vec<Vec<f64>> = (node.inputs.iter())
                    .map(|&v| values[v].iter().map(|&v| f64::from(v)).collect())
                    .collect();
                let inputs: Vec<_> = (wide.iter().zip(&node.inputs))
                    .map(|(x, &v)| (x.as_slice(), graph.shape(v)))
                    .collect();
                let y = eval_ops::apply(&node.op, &inputs, out).unwrap_or_default();
                y.into_iter().map(|v| v as f32).collect()
            }
        };
        values[node.output] = y;
    }
    values
}

/// The graph's outputs on one image, in the order of [`FloatGraph::outputs`].
///
/// # Panics
/// As [`eval`].
pub fn eval_outputs(graph: &FloatGraph, input: &[f32]) -> Vec<Vec<f32>> {
    let values = eval(graph, input);
    graph.outputs.iter().map(|&v| values[v].clone()).collect()
}

fn mean(items: impl Iterator<Item = f32>, count: usize) -> f32 {
    (items.map(f64::from).sum::<f64>() / count as f64) as f32
}

fn per_channel(x: &[f32], shape: Shape, f: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    let pixels = shape.pixels();
    (x.iter().enumerate())
        .map(|(i, &v)| f(i / pixels, v))
        .collect()
}

fn batch_norm(op: &BatchNorm, x: &[f32], shape: Shape) -> Vec<f32> {
    per_channel(x, shape, |c, v| {
        let deviation = (f64::from(op.var[c]) + f64::from(op.epsilon)).sqrt();
        let centred = f64::from(v) - f64::from(op.mean[c]);
        (f64::from(op.gamma[c]) * centred / deviation + f64::from(op.beta[c])) as f32
    })
}

/// The outputs `o` of `0..count` whose tap at `offset` (already multiplied by the dilation) falls
/// on an element `o * stride + offset - pad` inside `0..n`.
fn covered(
    offset: usize,
    stride: usize,
    pad: usize,
    n: usize,
    count: usize,
) -> std::ops::Range<usize> {
    let first = pad.saturating_sub(offset).div_ceil(stride);
    let end = (n + pad).saturating_sub(offset).div_ceil(stride).min(count);
    first..end.max(first)
}

fn conv(op: &Conv, x: &[f32], shape: Shape, out: Shape) -> Vec<f32> {
    let window = &op.window;
    let [kh, kw] = window.kernel;
    let group_out = op.out_channels / op.groups;
    let mut y = Vec::with_capacity(out.len());
    let mut acc = vec![0f64; out.pixels()];
    for oc in 0..op.out_channels {
        let bias = op.bias.as_ref().map_or(0.0, |bias| f64::from(bias[oc]));
        acc.fill(bias);
        for ic in 0..op.group_channels {
            let channel = oc / group_out * op.group_channels + ic;
            let plane = &x[channel * shape.pixels()..][..shape.pixels()];
            for ky in 0..kh {
                for kx in 0..kw {
                    let w =
                        f64::from(op.weight[((oc * op.group_channels + ic) * kh + ky) * kw + kx]);
                    if w != 0.0 {
                        let tap = [ky * window.dilation[0], kx * window.dilation[1]];
                        add_tap(window, w, tap, plane, shape, &mut acc, out);
                    }
                }
            }
        }
        y.extend(acc.iter().map(|&v| v as f32));
    }
    y
}

/// Adds `w` times the shifted `plane` to every output pixel.
fn add_tap(
    window: &Window,
    w: f64,
    tap: [usize; 2],
    plane: &[f32],
    shape: Shape,
    acc: &mut [f64],
    out: Shape,
) {
    let [sy, sx] = window.stride;
    let [top, left, ..] = window.pads;
    let columns = covered(tap[1], sx, left, shape.w, out.w);
    for oy in covered(tap[0], sy, top, shape.h, out.h) {
        let row = &plane[(oy * sy + tap[0] - top) * shape.w..][..shape.w];
        let acc = &mut acc[oy * out.w..][..out.w];
        for ox in columns.clone() {
            acc[ox] += w * f64::from(row[ox * sx + tap[1] - left]);
        }
    }
}

fn dense(op: &Dense, x: &[f32]) -> Vec<f32> {
    (0..op.out_features)
        .map(|o| {
            let row = &op.weight[o * op.in_features..][..op.in_features];
            let bias = op.bias.as_ref().map_or(0.0, |bias| f64::from(bias[o]));
            let sum: f64 = row
                .iter()
                .zip(x)
                .map(|(&w, &v)| f64::from(w) * f64::from(v))
                .sum();
            (bias + sum) as f32
        })
        .collect()
}

/// Calls `f` with the elements under the window of every output pixel, in output order.
fn pool(
    window: &Window,
    x: &[f32],
    shape: Shape,
    out: Shape,
    f: impl Fn(&mut dyn Iterator<Item = f32>) -> f32,
) -> Vec<f32> {
    let [sy, sx] = window.stride;
    let [dy, dx] = window.dilation;
    let [top, left, ..] = window.pads;
    let inside = |tap: usize, pad: usize, n: usize| tap.checked_sub(pad).filter(|&i| i < n);
    let mut y = Vec::with_capacity(out.len());
    for plane in x.chunks(shape.pixels()) {
        for oy in 0..out.h {
            for ox in 0..out.w {
                let mut items = (0..window.kernel[0])
                    .filter_map(|ky| inside(oy * sy + ky * dy, top, shape.h))
                    .flat_map(|iy| {
                        (0..window.kernel[1])
                            .filter_map(|kx| inside(ox * sx + kx * dx, left, shape.w))
                            .map(move |ix| plane[iy * shape.w + ix])
                    });
                y.push(f(&mut items));
            }
        }
    }
    y
}

fn max_pool(window: &Window, x: &[f32], shape: Shape, out: Shape) -> Vec<f32> {
    pool(window, x, shape, out, |items| {
        items.fold(f32::NEG_INFINITY, f32::max)
    })
}

fn avg_pool(window: &Window, include_pad: bool, x: &[f32], shape: Shape, out: Shape) -> Vec<f32> {
    pool(window, x, shape, out, |items| {
        let (sum, count) = items.fold((0f64, 0usize), |(sum, count), v| {
            (sum + f64::from(v), count + 1)
        });
        let count = if include_pad { window.taps() } else { count };
        (sum / count as f64) as f32
    })
}

fn pad(op: &Pad, x: &[f32], shape: Shape, out: Shape) -> Vec<f32> {
    let mut y = vec![op.value; out.len()];
    for c in 0..shape.c {
        for h in 0..shape.h {
            let from = &x[(c * shape.h + h) * shape.w..][..shape.w];
            let at = ((c + op.c[0]) * out.h + h + op.h[0]) * out.w + op.w[0];
            y[at..at + shape.w].copy_from_slice(from);
        }
    }
    y
}

fn slice(op: &Slice, x: &[f32], shape: Shape) -> Vec<f32> {
    let at = |axis: usize, i: usize| op.start[axis] + i * op.step[axis];
    let mut y = Vec::with_capacity(op.count.iter().product());
    for c in 0..op.count[0] {
        for h in 0..op.count[1] {
            for w in 0..op.count[2] {
                y.push(x[(at(0, c) * shape.h + at(1, h)) * shape.w + at(2, w)]);
            }
        }
    }
    y
}
