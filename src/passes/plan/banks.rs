//! An arena in two parts: what is read and written most for its size lies in tightly coupled memory,
//! the rest behind the data cache of another. The network's input and outputs stay with the rest,
//! where a program finds them whatever the plan.

use super::{Block, Layout, MemoryPlan, fullest, search};
use crate::ir::ids::{Id, IdVec, LayerId, TensorId};
use crate::ir::program::{Payload, Step};

/// The fast part ends on a multiple of this, so that the other keeps its alignment.
const CUT_ALIGN: usize = 32;

/// Shares of the room that are filled by size alone, tried in turn: what does not fit by size does not
/// by offsets either, and what fits by size may leave gaps.
const FILLED_PERCENT: [usize; 4] = [100, 96, 90, 80];

/// Divides the arena so that its first part takes no more than `room` bytes; none if nothing is
/// worth a place there.
pub(super) fn divide(
    layout: &Layout,
    steps: &IdVec<LayerId, Step>,
    room: usize,
) -> Option<MemoryPlan> {
    let blocks = &layout.blocks;
    let kept = |t: &TensorId| *t == layout.tensors.input || layout.tensors.outputs.contains(t);
    let worth = worth(layout, steps);
    let density = |i: usize| {
        let block = &blocks[i];
        worth[i] / (block.bytes * (1 + block.to - block.from)) as f64
    };
    let mut order: Vec<usize> = (0..blocks.len())
        .filter(|&i| blocks[i].bytes > 0 && !blocks[i].tensors.iter().any(kept))
        .collect();
    // Kernels read their scratch again and again.
    order.sort_by(|&a, &b| {
        let scratch = |i: usize| blocks[i].tensors.is_empty();
        (scratch(b).cmp(&scratch(a))).then(density(b).total_cmp(&density(a)))
    });
    let room = room / CUT_ALIGN * CUT_ALIGN;
    FILLED_PERCENT.iter().find_map(|percent| {
        let fast = chosen(blocks, &order, room / 100 * percent);
        let plan = placed(layout, steps.len(), &fast);
        (plan.fast_bytes > 0 && plan.fast_bytes <= room).then_some(plan)
    })
}

/// Takes blocks in order, as long as those that live at any step fit `room` together.
fn chosen(blocks: &[Block], order: &[usize], room: usize) -> Vec<bool> {
    let steps = blocks.iter().map(|b| b.to + 1).max().unwrap_or(0);
    let mut taken = vec![0; steps];
    let mut fast = vec![false; blocks.len()];
    for &i in order {
        let block = &blocks[i];
        let span = &mut taken[block.from..=block.to];
        if span.iter().all(|&t| t + block.bytes <= room) {
            span.iter_mut().for_each(|t| *t += block.bytes);
            fast[i] = true;
        }
    }
    fast
}

/// Both parts, each placed for itself.
fn placed(layout: &Layout, steps: usize, fast: &[bool]) -> MemoryPlan {
    let mut offsets = vec![0; layout.blocks.len()];
    let (mut bytes, mut lower_bound, mut fast_bytes) = (0, 0, 0);
    for part in [true, false] {
        let members: Vec<usize> = (0..fast.len()).filter(|&i| fast[i] == part).collect();
        let own: Vec<Block> = (members.iter())
            .map(|&i| {
                let block = layout.blocks[i].clone();
                // Only in one part can an output lie over its input.
                let over = block.over.and_then(|(input, distance)| {
                    let at = members.iter().position(|&m| m == input)?;
                    Some((at, distance))
                });
                Block { over, ..block }
            })
            .collect();
        let bound = fullest(&own).map_or(0, |(bytes, _)| bytes);
        let found = search::best_offsets(&own, bound);
        for (&i, &offset) in members.iter().zip(&found.offsets) {
            offsets[i] = bytes + offset;
        }
        bytes += found.bytes;
        lower_bound += found.lower_bound;
        if part {
            fast_bytes = bytes.next_multiple_of(CUT_ALIGN);
            bytes = fast_bytes;
        }
    }
    layout.plan(&offsets, steps, [bytes, fast_bytes, lower_bound])
}

/// How often the bytes of each block are read and written in an inference, about.
fn worth(layout: &Layout, steps: &IdVec<LayerId, Step>) -> Vec<f64> {
    let mut worth = vec![0.0; layout.blocks.len()];
    let sizes = &layout.tensors.sizes;
    let block_of = |t: TensorId| {
        let t = layout.tensors.whole(t);
        let of = |b: &Block| b.tensors.contains(&t);
        layout.blocks.iter().position(of)
    };
    for (id, step) in steps.iter_enumerated() {
        let macs: u64 = step.effective_macs.iter().map(|m| m.0).sum();
        let macs = macs as f64 / step.effective_macs.len().max(1) as f64;
        // A packed word has two elements.
        worth[layout.first_scratch + id.index()] += macs / 2.0;
        let reads = |bytes: f64| match &step.payload {
            Payload::ConvNested { geometry: g, .. }
            | Payload::ConvBlock { geometry: g, .. }
            | Payload::ConvCompact { geometry: g, .. }
            | Payload::ConvDense { geometry: g, .. } => {
                // Packed once for each row of taps.
                bytes * f64::from(g.kernel_h.max(1)) / f64::from(g.stride_h.max(1))
            }
            Payload::ConvGeneric { .. } | Payload::Depthwise { .. } => macs,
            Payload::MaxPool(g) | Payload::AvgPool { geometry: g, .. } => {
                let taps = f64::from(g.kernel_h) * f64::from(g.kernel_w);
                g.out_pixels() as f64 * f64::from(g.out_c) * taps
            }
            _ => bytes,
        };
        for &t in &step.inputs {
            if let Some(block) = block_of(t) {
                worth[block] += reads(sizes[t] as f64);
            }
        }
        if let Some(block) = block_of(step.output) {
            worth[block] += sizes[step.output] as f64;
        }
    }
    worth
}
