//! The integer graph interpreted straight from its definition: one obvious loop an operator, no
//! encoding, no plan, no kernel. The oracle for the compiled program.

use nest_format::{AddParams, Requant};
use nestc::ir::float::{Shape, Window};
use nestc::ir::ids::{IdVec, TensorId};
use nestc::ir::int::{IntBinary, IntConv, IntGraph, IntOp};

/// An activation in `h, w, c` order.
struct Map<'a> {
    data: &'a [i8],
    shape: Shape,
}

impl Map<'_> {
    fn at(&self, y: isize, x: isize, c: usize) -> Option<i8> {
        let inside = y >= 0 && x >= 0 && y < self.shape.h as isize && x < self.shape.w as isize;
        inside.then(|| self.data[(y as usize * self.shape.w + x as usize) * self.shape.c + c])
    }
}

/// Where tap `(ky, kx)` of output pixel `(oy, ox)` falls.
fn tap(w: &Window, oy: usize, ox: usize, ky: usize, kx: usize) -> (isize, isize) {
    (
        (oy * w.stride[0] + ky * w.dilation[0]) as isize - w.pads[0] as isize,
        (ox * w.stride[1] + kx * w.dilation[1]) as isize - w.pads[1] as isize,
    )
}

/// All activations of one image at `level`.
pub fn run(graph: &IntGraph, level: usize, input: &[i8]) -> IdVec<TensorId, Vec<i8>> {
    let mut values: IdVec<TensorId, Vec<i8>> = graph.tensors.iter().map(|_| Vec::new()).collect();
    values[graph.input] = input.to_vec();
    for layer in &graph.layers {
        let out = graph.tensors[layer.output].shape;
        let source = layer.inputs[0];
        let zero_point = graph.tensors[source].quant[level].zero_point;
        let x = Map {
            data: &values[source],
            shape: graph.tensors[source].shape,
        };
        let zero = graph.tensors[layer.output].quant[level].zero_point;
        let mut y = Vec::with_capacity(out.len());
        for oy in 0..out.h {
            for ox in 0..out.w {
                for oc in 0..out.c {
                    let index = y.len();
                    y.push(match &layer.op {
                        IntOp::Conv(c) => {
                            let (requant, sum) = conv(c, level, &x, zero_point, oy, ox, oc);
                            requant.apply(sum, zero)
                        }
                        IntOp::Add(params) => {
                            params[level].apply(x.data[index], values[layer.inputs[1]][index])
                        }
                        IntOp::MaxPool(w) => taps(w)
                            .filter_map(|(ky, kx)| {
                                let (iy, ix) = tap(w, oy, ox, ky, kx);
                                x.at(iy, ix, oc)
                            })
                            .max()
                            .unwrap_or(i8::MIN),
                        IntOp::AvgPool {
                            window: w,
                            count_include_pad,
                            requant,
                        } => {
                            let (mut sum, mut count) = (0, 0);
                            for (ky, kx) in taps(w) {
                                let (iy, ix) = tap(w, oy, ox, ky, kx);
                                match x.at(iy, ix, oc) {
                                    Some(v) => (sum, count) = (sum + i32::from(v), count + 1),
                                    None if *count_include_pad => {
                                        (sum, count) = (sum + i32::from(zero_point), count + 1);
                                    }
                                    None => {}
                                }
                            }
                            requant[level][count - 1].apply(sum, zero)
                        }
                        IntOp::GlobalAvgPool(requant) => {
                            let sum = x.data.iter().skip(oc).step_by(out.c);
                            requant[level].apply(sum.map(|&v| i32::from(v)).sum(), zero)
                        }
                        IntOp::Clamp(bounds) => {
                            x.data[index].clamp(bounds[level][0], bounds[level][1])
                        }
                        IntOp::Pad { c, h, w, value } => {
                            let from = |o: usize, before: usize| o as isize - before as isize;
                            let ic = from(oc, c[0]);
                            if ic < 0 || ic >= x.shape.c as isize {
                                value[level]
                            } else {
                                x.at(from(oy, h[0]), from(ox, w[0]), ic as usize)
                                    .unwrap_or(value[level])
                            }
                        }
                        IntOp::Softmax(tables) => {
                            let pixel = &x.data[index - oc..][..out.c];
                            let max = i32::from(*pixel.iter().max().expect("not empty"));
                            let power =
                                |q: i8| u64::from(tables[level][(max - i32::from(q)) as usize]);
                            let sum: u64 = pixel.iter().map(|&q| power(q)).sum();
                            let share = (256 * power(x.data[index]) + sum / 2) / sum;
                            (share.min(255) as i32 - 128) as i8
                        }
                        IntOp::Lookup(tables) => tables[level][x.data[index] as u8 as usize],
                        IntOp::Move(_) => 0,
                        IntOp::Binary {
                            operation,
                            constant,
                        } => {
                            let (data, shape) = match constant {
                                Some(constant) => (&constant.data, constant.shape),
                                None => {
                                    let other = layer.inputs[1];
                                    (&values[other], graph.tensors[other].shape)
                                }
                            };
                            let other = Map { data, shape };
                            let read = |m: &Map<'_>| {
                                let at = |o: usize, n: usize| if n == 1 { 0 } else { o };
                                let (y, x) = (at(oy, m.shape.h), at(ox, m.shape.w));
                                m.at(y as isize, x as isize, at(oc, m.shape.c))
                                    .expect("broadcast")
                            };
                            binary(operation, level, read(&x), read(&other))
                        }
                        IntOp::PRelu(params) => {
                            let p = &params[level][oc];
                            let v = x.data[index];
                            let above = i32::from(v.max(zero_point)) * i32::from(p.factor_a);
                            let below = i32::from(v.min(zero_point)) * i32::from(p.factor_b);
                            saturated((above + below + p.bias) >> p.shift)
                        }
                        IntOp::Resize { rows, columns } => {
                            let [above, below, v] = rows[oy].map(i64::from);
                            let [left, right, h] = columns[ox].map(i64::from);
                            let at = |y: i64, x_at: i64| {
                                i64::from(x.at(y as isize, x_at as isize, oc).expect("inside"))
                            };
                            let upper = (256 - h) * at(above, left) + h * at(above, right);
                            let lower = (256 - h) * at(below, left) + h * at(below, right);
                            let sum = (256 - v) * upper + v * lower;
                            saturated((sum + (1 << 15)).div_euclid(1 << 16) as i32)
                        }
                    });
                }
            }
        }
        if let IntOp::Move(moves) = &layer.op {
            // Each loop by itself, with the table where there is one.
            for (moved, &input) in moves.iter().zip(&layer.inputs) {
                for nest in &moved.nests {
                    let mut pairs = vec![(nest.from as usize, nest.to as usize)];
                    for &[count, from, to] in &nest.loops {
                        pairs = (pairs.iter())
                            .flat_map(|&(f, t)| {
                                (0..count as usize)
                                    .map(move |i| (f + i * from as usize, t + i * to as usize))
                            })
                            .collect();
                    }
                    for (from, to) in pairs {
                        let v = values[input][from];
                        y[to] = match &moved.tables {
                            Some(tables) => tables[level][v as u8 as usize],
                            None => v,
                        };
                    }
                }
            }
        }
        values[layer.output] = y;
    }
    values
}

fn saturated(v: i32) -> i8 {
    v.clamp(-128, 127) as i8
}

/// A function of two elements, from its definition.
fn binary(operation: &IntBinary, level: usize, a: i8, b: i8) -> i8 {
    let scaled = |p: &AddParams, v: i8| {
        saturated((i32::from(v) * i32::from(p.factor_a) + p.bias) >> p.shift)
    };
    match operation {
        IntBinary::Sum(params) => {
            let p = &params[level];
            let sum = i32::from(a) * i32::from(p.factor_a) + i32::from(b) * i32::from(p.factor_b);
            saturated((sum + p.bias) >> p.shift)
        }
        IntBinary::Product(params) => {
            let p = &params[level];
            let product =
                (i64::from(a) - i64::from(p.zero_a)) * (i64::from(b) - i64::from(p.zero_b));
            let exact = product * i64::from(p.multiplier) + (1 << 31);
            saturated((exact.div_euclid(1 << 32) + i64::from(p.zero)) as i32)
        }
        IntBinary::Least(params) => {
            let [p, q] = &params[level];
            scaled(p, a).min(scaled(q, b))
        }
        IntBinary::Largest(params) => {
            let [p, q] = &params[level];
            scaled(p, a).max(scaled(q, b))
        }
    }
}

fn taps(w: &Window) -> impl Iterator<Item = (usize, usize)> + use<> {
    let [kh, kw] = w.kernel;
    (0..kh).flat_map(move |ky| (0..kw).map(move |kx| (ky, kx)))
}

/// A convolution's accumulator, and the constants that bring it back.
fn conv(
    c: &IntConv,
    level: usize,
    x: &Map<'_>,
    zero_point: i8,
    oy: usize,
    ox: usize,
    oc: usize,
) -> (Requant, i32) {
    let group = oc / (c.out_channels / c.groups);
    let mut sum = 0i32;
    for (ky, kx) in taps(&c.window) {
        let (iy, ix) = tap(&c.window, oy, ox, ky, kx);
        for ic in 0..c.group_channels {
            let at =
                ((oc * c.window.kernel[0] + ky) * c.window.kernel[1] + kx) * c.group_channels + ic;
            let held = (c.weight_levels.as_ref()).is_none_or(|l| usize::from(l[at]) <= level);
            if held {
                let v = x
                    .at(iy, ix, group * c.group_channels + ic)
                    .unwrap_or(zero_point);
                sum += i32::from(v) * i32::from(c.weight[at]);
            }
        }
    }
    (c.requant[level][oc], sum)
}
