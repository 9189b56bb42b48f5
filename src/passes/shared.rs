//! Values that are to share one quantisation, so that joining them copies bytes and nothing else.
//!
//! Pooling by maximum, clamping, padding and whatever only moves elements keep the quantisation of
//! what they read. A concatenation joins values of several layers: if each had its own quantisation, all
//! but one would have to be brought to the output's by a table. So a value takes the output's from the
//! start where that costs it nothing: nothing else reads it, or its own range is at least half as wide.
//! Groups are a wish only. What a layer gets in the end may be wider (a multiplier must stay below one
//! half), and then the concatenation has a table for it.

use std::collections::BTreeMap;

use crate::ir::float::{FloatGraph, FloatOp, Unary};
use crate::ir::ids::{Id, IdVec, Level, NodeId, ValueId};
use crate::ir::nested::NestedModel;
use crate::ir::rounding::Range;

use super::calibrate::{Calibration, RangeRule};
use super::moving::only_moves;

/// Least width of a value's own range, as a share of the group's, if other layers read it, too.
const LEAST_SHARE: f64 = 0.5;

/// Groups of values around concatenations.
#[derive(Debug)]
pub(super) struct Groups {
    parent: Vec<usize>,
    /// By the root's index; only groups with a concatenation stay.
    groups: BTreeMap<usize, Group>,
}

#[derive(Clone, Debug)]
struct Group {
    /// What all its members need, one a level.
    ranges: Vec<Range>,
    members: usize,
    /// Whether a concatenation gives one of them.
    joined: bool,
    /// Whether a member's quantisation is given.
    fixed: bool,
    /// Whether saturation at the lower end is the activation of a member.
    from_zero: bool,
    /// Whether saturation at 6 is.
    to_six: bool,
}

impl Group {
    fn with(&self, other: &Group) -> Group {
        let both = |(a, b): (&Range, &Range)| a.with(b.low).with(b.high);
        Group {
            ranges: self.ranges.iter().zip(&other.ranges).map(both).collect(),
            members: self.members + other.members,
            joined: self.joined || other.joined,
            fixed: self.fixed || other.fixed,
            from_zero: self.from_zero || other.from_zero,
            to_six: self.to_six || other.to_six,
        }
    }
    /// Whether the group's range still saturates where activations want it.
    fn saturates(&self) -> bool {
        let cut = |r: &Range| self.from_zero && r.low < 0.0 || self.to_six && r.high > 6.0;
        !self.ranges.iter().any(cut)
    }
}

/// Whether the output of an operation has the quantisation of its input.
pub(super) fn keeps_quantisation(op: &FloatOp) -> bool {
    match op {
        FloatOp::Concat(_) => false,
        FloatOp::MaxPool(_)
        | FloatOp::Pad(_)
        | FloatOp::Relu
        | FloatOp::Relu6
        | FloatOp::Resize(_)
        | FloatOp::Unary(Unary::Clip { .. }) => true,
        other => only_moves(other),
    }
}

/// Whether an activation behind an operation is part of its layer.
pub(super) fn takes_activation(op: &FloatOp) -> bool {
    matches!(
        op,
        FloatOp::Conv(_)
            | FloatOp::ChannelAffine { .. }
            | FloatOp::Add
            | FloatOp::AvgPool { .. }
            | FloatOp::GlobalAvgPool
            | FloatOp::Binary(_)
            | FloatOp::WithConstant(_)
            | FloatOp::PRelu(_)
    ) || matches!(op, FloatOp::Unary(f) if !matches!(f, Unary::Clip { .. }))
}

/// Whether node `id` is an activation that is part of the layer before it.
fn is_fused(graph: &FloatGraph, consumers: &IdVec<ValueId, Vec<NodeId>>, id: NodeId) -> bool {
    let node = &graph.nodes[id];
    let input = node.inputs[0];
    matches!(node.op, FloatOp::Relu | FloatOp::Relu6)
        && consumers[input] == [id]
        && !graph.outputs.contains(&input)
        && (graph.producer(input)).is_some_and(|p| takes_activation(&graph.nodes[p].op))
}

impl Groups {
    /// The groups of a folded model.
    pub fn new(model: &NestedModel, calibration: &Calibration, rule: RangeRule) -> Self {
        let graph = &model.graph;
        let mut all = Self {
            parent: (0..graph.values.len()).collect(),
            groups: BTreeMap::new(),
        };
        if !(graph.nodes.iter()).any(|n| matches!(n.op, FloatOp::Concat(_))) {
            return all;
        }
        let range = |value: ValueId| {
            let of = |level| calibration.range(Level::from_index(level), value, rule);
            (0..model.level_count()).map(of).collect()
        };
        for value in graph.values.ids() {
            let group = Group {
                ranges: range(value),
                members: 1,
                joined: false,
                fixed: value == graph.input(),
                from_zero: false,
                to_six: false,
            };
            all.groups.insert(value.index(), group);
        }
        let consumers = graph.consumers();
        for (id, node) in graph.nodes.iter_enumerated() {
            let of_output = all.groups.entry(node.output.index());
            of_output.and_modify(|group| match &node.op {
                FloatOp::Concat(_) => group.joined = true,
                FloatOp::Softmax | FloatOp::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }) => {
                    group.fixed = true
                }
                FloatOp::Pad(pad) => {
                    for range in &mut group.ranges {
                        *range = range.with(f64::from(pad.value));
                    }
                }
                _ => {}
            });
            if is_fused(graph, &consumers, id) {
                if let Some(group) = all.groups.get_mut(&node.output.index()) {
                    group.from_zero = true;
                    group.to_six = node.op == FloatOp::Relu6;
                }
            } else if keeps_quantisation(&node.op) {
                all.join(node.inputs[0], node.output);
            }
        }
        for node in &graph.nodes {
            if let FloatOp::Concat(_) = node.op {
                for &input in &node.inputs {
                    let alone = consumers[input].len() == 1 && !graph.outputs.contains(&input);
                    all.join_if_cheap(input, node.output, alone);
                }
            }
        }
        all.groups.retain(|_, group| group.joined);
        all
    }

    fn root(&self, value: ValueId) -> usize {
        let mut at = value.index();
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }

    fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        if let (Some(of_a), Some(of_b)) = (self.groups.remove(&a), self.groups.remove(&b)) {
            self.groups.insert(b, of_a.with(&of_b));
            self.parent[a] = b;
        }
    }

    fn join_if_cheap(&mut self, input: ValueId, output: ValueId, alone: bool) {
        let roots = (self.root(input), self.root(output));
        let (Some(of_input), Some(of_output)) =
            (self.groups.get(&roots.0), self.groups.get(&roots.1))
        else {
            return;
        };
        let both = of_input.with(of_output);
        let width = |r: &Range| r.high - r.low;
        let cheap = alone && of_input.members == 1
            || (of_input.ranges.iter().zip(&both.ranges))
                .all(|(own, both)| width(own) >= LEAST_SHARE * width(both));
        if !both.fixed && cheap && both.saturates() {
            self.join(input, output);
        }
    }

    /// The group of a value, by a number, and its ranges, one a level.
    pub fn of(&self, value: ValueId) -> Option<(usize, &[Range])> {
        let root = self.root(value);
        let group = self.groups.get(&root).filter(|group| !group.fixed)?;
        Some((root, &group.ranges))
    }
}
