//! Passes that need no parameters and nothing of other images: elementwise functions of one and two
//! values, concatenation and resampling.

use crate::ir::float::{Axis, Binary, FloatOp, Shape, Tap, WithConstant};
use crate::train::simd::{LANES, Lanes, Map};

use super::plan::SlotIx;
use super::unary::Function;

/// What a [`Local`] pass computes.
#[derive(Clone, Debug)]
enum Kind {
    Function(Function),
    Binary(Binary),
    WithConstant(WithConstant),
    Concat(Axis),
    Resize { rows: Vec<Tap>, columns: Vec<Tap> },
}

/// An input of a [`Local`] pass.
#[derive(Clone, Copy, Debug)]
pub struct LocalInput {
    /// What it reads.
    pub slot: SlotIx,
    /// Whether its gradient is added to what stands there.
    pub accumulate: bool,
}

/// A pass over one or more values.
#[derive(Clone, Debug)]
pub struct Local {
    kind: Kind,
    /// What it reads.
    pub inputs: Vec<LocalInput>,
    /// What it writes.
    pub output: SlotIx,
}

/// A feature map and where its elements lie.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Where they lie.
    pub map: Map,
    /// The buffer.
    pub x: &'a [Lanes],
}

impl Operand<'_> {
    fn at(&self, [c, y, x]: [usize; 3]) -> &Lanes {
        &self.x[index(&self.map, [c, y, x])]
    }
}

impl Local {
    /// The pass of a node over inputs of these shapes, or `None` if another kind of pass does it.
    pub fn new(op: &FloatOp, shapes: &[Shape], inputs: &[SlotIx], output: SlotIx) -> Option<Self> {
        let kind = match op {
            FloatOp::Unary(f) => Kind::Function(Function::Unary(*f)),
            FloatOp::PRelu(slope) => Kind::Function(Function::PRelu(slope.clone())),
            FloatOp::Binary(f) => Kind::Binary(*f),
            FloatOp::WithConstant(w) => Kind::WithConstant(w.clone()),
            FloatOp::Concat(axis) => Kind::Concat(*axis),
            FloatOp::Resize(r) => Kind::Resize {
                rows: r.taps(0, shapes[0].h),
                columns: r.taps(1, shapes[0].w),
            },
            _ => return None,
        };
        let input = |&slot: &SlotIx| LocalInput {
            slot,
            accumulate: false,
        };
        Some(Self {
            kind,
            inputs: inputs.iter().map(input).collect(),
            output,
        })
    }

    /// Writes `out`.
    pub fn forward(&self, inputs: &[Operand<'_>], out_map: &Map, out: &mut [Lanes]) {
        let first = &inputs[0];
        match &self.kind {
            Kind::Function(f) => {
                for (c, y) in rows(out_map) {
                    let x = &first.x[first.map.span(c, y)];
                    f.forward(c, x, &mut out[out_map.span(c, y)]);
                }
            }
            Kind::Binary(f) => {
                for at in positions(out_map) {
                    let a = first.at(stretch(&first.map, at));
                    let b = inputs[1].at(stretch(&inputs[1].map, at));
                    out[index(out_map, at)] = each(|l| value(*f, a.0[l], b.0[l]));
                }
            }
            Kind::WithConstant(w) => {
                for at in positions(out_map) {
                    let k = w.data[w.shape.broadcast_index(at)];
                    let x = first.at(at);
                    out[index(out_map, at)] = match w.constant_first {
                        true => each(|l| value(w.op, k, x.0[l])),
                        false => each(|l| value(w.op, x.0[l], k)),
                    };
                }
            }
            Kind::Concat(axis) => {
                let mut offset = 0;
                for input in inputs {
                    for (c, y) in rows(&input.map) {
                        let from = &input.x[input.map.span(c, y)];
                        let start = index(out_map, shifted(*axis, offset, [c, y, 0]));
                        out[start..start + from.len()].copy_from_slice(from);
                    }
                    offset += extent(&input.map, *axis);
                }
            }
            Kind::Resize { rows, columns } => {
                for at @ [c, y, x] in positions(out_map) {
                    let (row, column) = (rows[y], columns[x]);
                    let along = |y: usize| {
                        let a = first.at([c, y, column.first]);
                        let b = first.at([c, y, column.second]);
                        mix(a, b, column.share)
                    };
                    out[index(out_map, at)] = if row.share == 0.0 {
                        along(row.first)
                    } else {
                        mix(&along(row.first), &along(row.second), row.share)
                    };
                }
            }
        }
    }

    /// The gradient of input `which`, written or added to `dx`. A lane whose `dy` is zero gets
    /// zero, whatever its value: lanes without an image may hold anything.
    pub fn backward(
        &self,
        which: usize,
        inputs: &[Operand<'_>],
        y: &Operand<'_>,
        dy: &Operand<'_>,
        dx_map: &Map,
        dx: &mut [Lanes],
    ) {
        let input = &inputs[which];
        if !self.inputs[which].accumulate {
            for (c, y) in rows(dx_map) {
                dx[dx_map.span(c, y)].fill(Lanes::ZERO);
            }
        }
        match &self.kind {
            Kind::Function(f) => {
                for (c, row) in rows(dx_map) {
                    f.backward(
                        c,
                        &input.x[input.map.span(c, row)],
                        &y.x[y.map.span(c, row)],
                        &dy.x[dy.map.span(c, row)],
                        &mut dx[dx_map.span(c, row)],
                    );
                }
            }
            Kind::Binary(f) => {
                for at in positions(&dy.map) {
                    let a = inputs[0].at(stretch(&inputs[0].map, at));
                    let b = inputs[1].at(stretch(&inputs[1].map, at));
                    let g = dy.at(at);
                    let to = &mut dx[index(dx_map, stretch(dx_map, at))];
                    add(to, |l| gated(g.0[l], || slope(*f, which, a.0[l], b.0[l])));
                }
            }
            Kind::WithConstant(w) => {
                for at in positions(&dy.map) {
                    let k = w.data[w.shape.broadcast_index(at)];
                    let (x, g) = (input.at(at), dy.at(at));
                    let by = |l: usize| match w.constant_first {
                        true => slope(w.op, 1, k, x.0[l]),
                        false => slope(w.op, 0, x.0[l], k),
                    };
                    add(&mut dx[index(dx_map, at)], |l| gated(g.0[l], || by(l)));
                }
            }
            Kind::Concat(axis) => {
                let before = inputs[..which].iter();
                let offset = before.map(|i| extent(&i.map, *axis)).sum();
                for (c, y) in rows(dx_map) {
                    let start = index(&dy.map, shifted(*axis, offset, [c, y, 0]));
                    let to = &mut dx[dx_map.span(c, y)];
                    let from = &dy.x[start..start + to.len()];
                    for (to, from) in to.iter_mut().zip(from) {
                        add(to, |l| from.0[l]);
                    }
                }
            }
            Kind::Resize { rows, columns } => {
                for at @ [c, y, x] in positions(&dy.map) {
                    let (row, column) = (rows[y], columns[x]);
                    let g = dy.at(at);
                    for (y, vertical) in shares(row) {
                        for (x, horizontal) in shares(column) {
                            let share = vertical * horizontal;
                            add(&mut dx[index(dx_map, [c, y, x])], |l| g.0[l] * share);
                        }
                    }
                }
            }
        }
    }
}

/// Both positions of a tap with their shares; one if the second has none.
fn shares(tap: Tap) -> impl Iterator<Item = (usize, f32)> {
    let both = [(tap.first, 1.0 - tap.share), (tap.second, tap.share)];
    both.into_iter().take(if tap.share == 0.0 { 1 } else { 2 })
}

fn each(f: impl Fn(usize) -> f32) -> Lanes {
    Lanes(std::array::from_fn(f))
}

fn add(to: &mut Lanes, f: impl Fn(usize) -> f32) {
    for l in 0..LANES {
        to.0[l] += f(l);
    }
}

/// `gradient * slope`, zero where the gradient is zero.
pub(super) fn gated(gradient: f32, slope: impl Fn() -> f32) -> f32 {
    if gradient == 0.0 {
        0.0
    } else {
        gradient * slope()
    }
}

fn mix(a: &Lanes, b: &Lanes, share: f32) -> Lanes {
    if share == 0.0 {
        return *a;
    }
    each(|l| a.0[l] + (b.0[l] - a.0[l]) * share)
}

fn value(f: Binary, a: f32, b: f32) -> f32 {
    match f {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
    }
}

/// The derivative by operand `which`. Of two equal operands of a minimum or maximum the first has
/// it.
fn slope(f: Binary, which: usize, a: f32, b: f32) -> f32 {
    match (f, which) {
        (Binary::Add, _) | (Binary::Sub, 0) => 1.0,
        (Binary::Sub, _) => -1.0,
        (Binary::Mul, 0) => b,
        (Binary::Mul, _) => a,
        (Binary::Div, 0) => 1.0 / b,
        (Binary::Div, _) => -a / (b * b),
        (Binary::Min, 0) => f32::from(a <= b),
        (Binary::Min, _) => f32::from(a > b),
        (Binary::Max, 0) => f32::from(a >= b),
        (Binary::Max, _) => f32::from(a < b),
    }
}

fn index(map: &Map, [c, y, x]: [usize; 3]) -> usize {
    map.origin + y * map.row + c * map.channel + x
}

fn rows(map: &Map) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (c, h) = (map.c, map.h);
    (0..h).flat_map(move |y| (0..c).map(move |c| (c, y)))
}

fn positions(map: &Map) -> impl Iterator<Item = [usize; 3]> + use<> {
    let w = map.w;
    rows(map).flat_map(move |(c, y)| (0..w).map(move |x| [c, y, x]))
}

/// The element of a broadcast operand that stands at `at` of the result.
fn stretch(map: &Map, [c, y, x]: [usize; 3]) -> [usize; 3] {
    let one = |i: usize, extent: usize| if extent == 1 { 0 } else { i };
    [one(c, map.c), one(y, map.h), one(x, map.w)]
}

fn extent(map: &Map, axis: Axis) -> usize {
    [map.c, map.h, map.w][axis as usize]
}

fn shifted(axis: Axis, by: usize, mut at: [usize; 3]) -> [usize; 3] {
    at[axis as usize] += by;
    at
}
