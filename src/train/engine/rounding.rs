//! A forward pass that expects int8: values are brought to the points of a grid as soon as they are
//! made, wherever integer inference stores a tensor of its own.
//!
//! Gradients pass as if nothing were rounded (the straight-through estimate).

use crate::train::simd::rounding::{Grid, round};
use crate::train::simd::{LANES, Lanes};

use super::plan::{Plan, PoolKind, SlotIx, Step};
use super::run::{Block, Engine};

/// What a forward pass does to a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rounding {
    /// Nothing.
    Leave,
    /// Takes its range.
    Watch,
    /// Takes its range and brings it to the points of a grid.
    Round(Grid),
}

/// Nothing seen yet, lane by lane.
const NOTHING: [Lanes; 2] = [
    Lanes([f32::INFINITY; LANES]),
    Lanes([f32::NEG_INFINITY; LANES]),
];

/// Which slots integer inference stores as tensors with a range of their own: the input, what ends a
/// fused layer (with [`super::Fusion::Rounded`]) and means. Other steps keep their input's points or
/// have no integer form.
pub fn stored(plan: &Plan) -> Vec<bool> {
    let mut stored = vec![false; plan.slots.len()];
    stored[plan.input] = true;
    for step in &plan.steps {
        stored[step.output()] = match step {
            Step::Pointwise(_) => true,
            Step::Pool(pool) => pool.kind != PoolKind::Max,
            Step::Linear(linear) => !continued(plan, linear.output),
            Step::Gather(_) | Step::Softmax(_) | Step::Local(_) => false,
        };
    }
    stored
}

/// Whether a convolution's output is only the inside of a fused layer: all that reads it scales it or
/// activates it.
fn continued(plan: &Plan, slot: SlotIx) -> bool {
    let mut readers = (plan.steps.iter())
        .filter(|s| s.inputs().contains(&slot))
        .peekable();
    !plan.outputs.contains(&slot)
        && readers.peek().is_some()
        && readers.all(|s| matches!(s, Step::Pointwise(p) if p.summands.len() == 1))
}

impl Engine {
    /// Rounds in forward passes from now on, as told for each slot, or no more.
    ///
    /// # Panics
    /// If `rounding` is not of this plan's slots.
    pub fn set_rounding(&mut self, rounding: Option<Vec<Rounding>>) {
        if let Some(rounding) = &rounding {
            assert_eq!(rounding.len(), self.plan.slots.len(), "slots");
        }
        self.rounding = rounding;
    }

    /// The least and the largest element of `slot` in the last forward pass, before rounding.
    pub fn seen(&self, slot: SlotIx) -> [f32; 2] {
        let mut seen = [f32::INFINITY, f32::NEG_INFINITY];
        for block in &self.blocks[..self.images.div_ceil(LANES)] {
            if let Some([low, high]) = block.seen.get(slot) {
                seen = [seen[0].min(*low), seen[1].max(*high)];
            }
        }
        seen
    }

    /// Rounds all of a slot, if it is to be.
    pub(super) fn round_slot(&self, block: &mut Block, slot: SlotIx) {
        let mut rows = Rounder::new(self, slot);
        let mut x = std::mem::take(&mut block.values[slot]);
        rows.round(self, 0..self.plan.slots[slot].shape.h, &mut x);
        rows.finish(block);
        block.values[slot] = x;
    }
}

/// Rounds a slot rows by rows.
pub(super) struct Rounder {
    slot: SlotIx,
    rounding: Rounding,
    seen: [Lanes; 2],
}

impl Rounder {
    pub fn new(engine: &Engine, slot: SlotIx) -> Self {
        Self {
            slot,
            rounding: (engine.rounding.as_ref()).map_or(Rounding::Leave, |r| r[slot]),
            seen: NOTHING,
        }
    }

    pub fn round(&mut self, engine: &Engine, rows: std::ops::Range<usize>, x: &mut [Lanes]) {
        let grid = match &self.rounding {
            Rounding::Leave => return,
            Rounding::Watch => None,
            Rounding::Round(grid) => Some(grid),
        };
        let map = engine.plan.slots[self.slot].map();
        round(engine.isa, &map, rows, grid, x, &mut self.seen);
    }

    /// Leaves what was seen in the lanes that hold an image.
    pub fn finish(self, block: &mut Block) {
        if self.rounding == Rounding::Leave {
            return;
        }
        let live = block.live;
        let [least, largest] = &self.seen;
        block.seen.resize(block.values.len(), [0.0; 2]);
        block.seen[self.slot] = [
            least.0[..live]
                .iter()
                .copied()
                .fold(f32::INFINITY, f32::min),
            (largest.0[..live].iter().copied()).fold(f32::NEG_INFINITY, f32::max),
        ];
    }
}
