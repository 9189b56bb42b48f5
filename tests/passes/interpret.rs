//! The integer graph interpreted straight from its definition: one obvious loop an operator, no
//! encoding, no plan, no kernel. The oracle for the compiled program.

use nest_format::Requant;
use nestc::ir::float::{Shape, Window};
use nestc::ir::ids::{IdVec, TensorId};
use nestc::ir::int::{IntConv, IntGraph, IntOp};

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
                        IntOp::Slice(s) => {
                            let at = |axis: usize, o: usize| s.start[axis] + o * s.step[axis];
                            let (iy, ix) = (at(1, oy) as isize, at(2, ox) as isize);
                            x.at(iy, ix, at(0, oc)).expect("a slice stays inside")
                        }
                        IntOp::Softmax(tables) => {
                            let max = i32::from(*x.data.iter().max().expect("not empty"));
                            let power =
                                |q: i8| u64::from(tables[level][(max - i32::from(q)) as usize]);
                            let sum: u64 = x.data.iter().map(|&q| power(q)).sum();
                            let share = (256 * power(x.data[index]) + sum / 2) / sum;
                            (share.min(255) as i32 - 128) as i8
                        }
                    });
                }
            }
        }
        values[layer.output] = y;
    }
    values
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
