//! Operations that only move elements of one value.

use crate::ir::float::{FloatOp, Shape};
use crate::train::simd::{LANES, Lanes, Map};

use super::plan::SlotIx;

/// Each output element is one input element or a constant.
#[derive(Clone, Debug)]
pub struct Gather {
    /// For each output element in channel-major order, the input element's `(c, y, x)`, if any.
    sources: Vec<Option<[u32; 3]>>,
    /// What elements without a source hold.
    fill: f32,
    /// What it reads.
    pub input: SlotIx,
    /// What it writes.
    pub output: SlotIx,
    /// Whether the input's gradient is added to what stands there.
    pub accumulate: bool,
}

impl Gather {
    /// The pass of a node that pads, permutes or selects.
    pub fn new(op: &FloatOp, shape: Shape, out: Shape, input: SlotIx, output: SlotIx) -> Self {
        let order = match op {
            FloatOp::Rearrange(r) => r.sources(),
            _ => Vec::new(),
        };
        let mut sources = Vec::with_capacity(out.len());
        for c in 0..out.c {
            for y in 0..out.h {
                for x in 0..out.w {
                    sources.push(match order.get(sources.len()) {
                        Some(&at) => Some(unflattened(shape, at)),
                        None => source(op, shape, [c, y, x]),
                    });
                }
            }
        }
        Self {
            sources,
            fill: match op {
                FloatOp::Pad(p) => p.value,
                _ => 0.0,
            },
            input,
            output,
            accumulate: false,
        }
    }

    /// Writes `out`.
    pub fn forward(&self, x_map: &Map, x: &[Lanes], out_map: &Map, out: &mut [Lanes]) {
        for (to, from) in positions(out_map).zip(&self.sources) {
            out[to] = match from {
                Some(at) => x[position(x_map, at)],
                None => Lanes([self.fill; LANES]),
            };
        }
    }

    /// Writes or adds to `dx`.
    pub fn backward(&self, dy_map: &Map, dy: &[Lanes], dx_map: &Map, dx: &mut [Lanes]) {
        if !self.accumulate {
            for at in positions(dx_map) {
                dx[at] = Lanes::ZERO;
            }
        }
        for (from, to) in positions(dy_map).zip(&self.sources) {
            if let Some(at) = to {
                let to = &mut dx[position(dx_map, at)];
                for (to, from) in to.0.iter_mut().zip(dy[from].0) {
                    *to += from;
                }
            }
        }
    }
}

fn source(op: &FloatOp, shape: Shape, [c, y, x]: [usize; 3]) -> Option<[u32; 3]> {
    let within =
        |at: usize, before: usize, extent: usize| at.checked_sub(before).filter(|&at| at < extent);
    let at = match op {
        FloatOp::Pad(p) => [
            within(c, p.c[0], shape.c)?,
            within(y, p.h[0], shape.h)?,
            within(x, p.w[0], shape.w)?,
        ],
        FloatOp::Slice(s) => {
            let at = |axis: usize, i: usize| s.start[axis] + i * s.step[axis];
            [at(0, c), at(1, y), at(2, x)]
        }
        FloatOp::Select { axis, indices } => {
            let mut at = [c, y, x];
            at[*axis as usize] = indices[at[*axis as usize]];
            at
        }
        FloatOp::ChannelShuffle { groups } => [c % groups * (shape.c / groups) + c / groups, y, x],
        // Flatten: element `c` of the vector.
        _ => return Some(unflattened(shape, c)),
    };
    Some(at.map(|v| v as u32))
}

/// Where the element at place `at` in channel-major order lies.
fn unflattened(shape: Shape, at: usize) -> [u32; 3] {
    [
        at / shape.pixels(),
        at % shape.pixels() / shape.w,
        at % shape.w,
    ]
    .map(|v| v as u32)
}

fn position(map: &Map, &[c, y, x]: &[u32; 3]) -> usize {
    map.span(c as usize, y as usize).start + x as usize
}

/// All elements in channel-major order.
fn positions(map: &Map) -> impl Iterator<Item = usize> + '_ {
    (0..map.c).flat_map(move |c| (0..map.h).flat_map(move |y| map.span(c, y)))
}
