//! The operations of [`super::float_ops`] in double precision: plain loops over channel-major
//! values, for the reference evaluators.

use super::float::{Axis, FloatOp, Resize, Shape};

/// What an operation that [`super::float_ops`] describes gives over `inputs`, or `None` for any
/// other operation. The extents are verified.
pub(crate) fn apply(op: &FloatOp, inputs: &[(&[f64], Shape)], out: Shape) -> Option<Vec<f64>> {
    let (x, shape) = *inputs.first()?;
    Some(match op {
        FloatOp::Softmax => softmax(x, shape),
        FloatOp::Unary(f) => x.iter().map(|&v| f.value(v)).collect(),
        FloatOp::PRelu(slope) => {
            let by = |(i, &v): (usize, &f64)| match v < 0.0 {
                true => f64::from(slope[i / shape.pixels()]) * v,
                false => v,
            };
            x.iter().enumerate().map(by).collect()
        }
        FloatOp::Binary(f) => {
            let (b, b_shape) = inputs[1];
            positions(out)
                .map(|at| f.value(x[shape.broadcast_index(at)], b[b_shape.broadcast_index(at)]))
                .collect()
        }
        FloatOp::WithConstant(w) => (positions(out).zip(x))
            .map(|(at, &v)| {
                let constant = f64::from(w.data[w.shape.broadcast_index(at)]);
                match w.constant_first {
                    true => w.op.value(constant, v),
                    false => w.op.value(v, constant),
                }
            })
            .collect(),
        FloatOp::Concat(axis) => concat(*axis, inputs, out),
        FloatOp::Select { axis, indices } => (positions(out))
            .map(|mut at| {
                at[*axis as usize] = indices[at[*axis as usize]];
                x[shape.broadcast_index(at)]
            })
            .collect(),
        FloatOp::ChannelShuffle { groups } => (positions(out))
            .map(|[c, y, column]| {
                let from = c % groups * (shape.c / groups) + c / groups;
                x[shape.broadcast_index([from, y, column])]
            })
            .collect(),
        FloatOp::Rearrange(r) => r.sources().iter().map(|&at| x[at]).collect(),
        FloatOp::Resize(r) => resize(r, x, shape),
        _ => return None,
    })
}

/// Channel, row and column of every element in channel-major order.
fn positions(shape: Shape) -> impl Iterator<Item = [usize; 3]> {
    let Shape { c, h, w } = shape;
    (0..c * h * w).map(move |i| [i / (h * w), i / w % h, i % w])
}

fn softmax(x: &[f64], shape: Shape) -> Vec<f64> {
    let pixels = shape.pixels();
    let mut y = vec![0.0; x.len()];
    for p in 0..pixels {
        let channel = |c: usize| c * pixels + p;
        // Shifted by the maximum so that no exponential overflows.
        let max = (0..shape.c).fold(f64::NEG_INFINITY, |m, c| m.max(x[channel(c)]));
        let sum: f64 = (0..shape.c).map(|c| (x[channel(c)] - max).exp()).sum();
        for c in 0..shape.c {
            y[channel(c)] = (x[channel(c)] - max).exp() / sum;
        }
    }
    y
}

fn concat(axis: Axis, inputs: &[(&[f64], Shape)], out: Shape) -> Vec<f64> {
    let outer: usize = out.extents()[..axis as usize].iter().product();
    let mut y = Vec::with_capacity(out.len());
    for o in 0..outer {
        for (x, shape) in inputs {
            let chunk = shape.len() / outer;
            y.extend_from_slice(&x[o * chunk..][..chunk]);
        }
    }
    y
}

fn resize(r: &Resize, x: &[f64], shape: Shape) -> Vec<f64> {
    let (rows, columns) = (r.taps(0, shape.h), r.taps(1, shape.w));
    let mut y = Vec::with_capacity(shape.c * rows.len() * columns.len());
    for plane in x.chunks(shape.pixels()) {
        for row in &rows {
            for column in &columns {
                let mix = |a: f64, b: f64, share: f32| a + (b - a) * f64::from(share);
                let along = |row: usize| {
                    let at = |column: usize| plane[row * shape.w + column];
                    mix(at(column.first), at(column.second), column.share)
                };
                y.push(mix(along(row.first), along(row.second), row.share));
            }
        }
    }
    y
}
