//! Everything that training changes.

use std::collections::BTreeMap;

use crate::ir::float::{FloatGraph, FloatOp};
use crate::ir::ids::NodeId;
use crate::ir::nested::{LevelParams, PRUNED};

use super::engine::{Params, Plan, Role};
use super::options::EpochSummary;
use super::recipe::masks;

/// Weights that the levels share.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shared {
    /// Which parameter of the plan.
    pub param: usize,
    pub weight: Vec<f32>,
    pub velocity: Vec<f32>,
    /// The sparsest level that holds each weight; `None` if this tensor is never pruned.
    pub owners: Option<Vec<u8>>,
}

/// What a level has of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LevelState {
    /// All parameters; the shared ones are masked copies, renewed before every use.
    pub params: Params,
    /// One entry a parameter; empty for shared ones and those that are not trained.
    pub velocity: Vec<Vec<f32>>,
    /// One entry a parameter: the weights that live, where some do not.
    pub masks: Vec<Option<Vec<bool>>>,
}

impl LevelState {
    /// The masks as the engine takes them.
    pub fn masks(&self) -> Vec<Option<&[bool]>> {
        self.masks.iter().map(Option::as_deref).collect()
    }
}

/// What a nested model has beside its graph.
#[derive(Debug)]
pub(super) struct Stored {
    pub weight_levels: BTreeMap<NodeId, Vec<u8>>,
    pub level_params: BTreeMap<NodeId, Vec<LevelParams>>,
}

/// The state between two steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// Epochs done.
    pub epoch: usize,
    pub shared: Vec<Shared>,
    /// Sparsest first.
    pub levels: Vec<LevelState>,
    pub history: Vec<EpochSummary>,
}

impl State {
    /// The start of training: every level is the given network.
    pub fn new(plan: &Plan, graph: &FloatGraph, levels: usize) -> Self {
        let params = Params::of(plan, graph);
        let prunable = prunable(graph);
        let shared = plan
            .params
            .iter()
            .enumerate()
            .filter(|(_, info)| info.role == Role::Weight)
            .map(|(param, info)| Shared {
                param,
                weight: params.tensors[param].clone(),
                velocity: vec![0.0; info.len],
                owners: prunable.contains(&info.node).then(|| vec![0; info.len]),
            })
            .collect();
        let velocity = plan
            .params
            .iter()
            .map(|info| {
                let own = info.trained && info.role != Role::Weight;
                vec![0.0; if own { info.len } else { 0 }]
            })
            .collect();
        let level = LevelState {
            params,
            velocity,
            masks: vec![None; plan.params.len()],
        };
        Self {
            epoch: 0,
            shared,
            levels: vec![level; levels],
            history: Vec::new(),
        }
    }

    /// Prunable weights in all.
    pub fn prunable_len(&self) -> usize {
        let owned = |s: &Shared| s.owners.as_ref().map_or(0, Vec::len);
        self.shared.iter().map(owned).sum()
    }

    /// Ranks the prunable weights and cuts the levels at `sparsities` (sparsest first).
    pub fn rank(&mut self, sparsities: &[f64]) {
        let tensors: Vec<&[f32]> = self
            .shared
            .iter()
            .filter(|s| s.owners.is_some())
            .map(|s| s.weight.as_slice())
            .collect();
        let mut owners = masks::owners(&tensors, sparsities).into_iter();
        for shared in &mut self.shared {
            if let Some(own) = &mut shared.owners {
                *own = owners.next().unwrap_or_default();
            }
        }
        self.rebuild_masks();
    }

    /// Makes the levels' masks from the owners.
    pub fn rebuild_masks(&mut self) {
        for shared in &self.shared {
            let Some(owners) = &shared.owners else {
                continue;
            };
            for (level, state) in self.levels.iter_mut().enumerate() {
                let mask: Vec<bool> = owners.iter().map(|&o| usize::from(o) <= level).collect();
                state.masks[shared.param] = mask.contains(&false).then_some(mask);
            }
        }
    }

    /// Copies the shared weights into level `level`, masked.
    pub fn load_shared(&mut self, level: usize) {
        let state = &mut self.levels[level];
        for shared in &self.shared {
            let tensor = &mut state.params.tensors[shared.param];
            match &state.masks[shared.param] {
                None => tensor.copy_from_slice(&shared.weight),
                Some(mask) => {
                    for ((to, w), live) in tensor.iter_mut().zip(&shared.weight).zip(mask) {
                        *to = if *live { *w } else { 0.0 };
                    }
                }
            }
        }
    }

    /// The share of the prunable weights that each level leaves out.
    pub fn sparsity(&self) -> Vec<f64> {
        let n = self.prunable_len().max(1) as f64;
        (0..self.levels.len())
            .map(|level| {
                let out = |o: &&u8| usize::from(**o) > level;
                let owners = self.shared.iter().filter_map(|s| s.owners.as_ref());
                owners.flatten().filter(out).count() as f64 / n
            })
            .collect()
    }

    /// Shows every tensor that a checkpoint holds, by name.
    pub fn each_tensor(&mut self, see: &mut dyn FnMut(&str, &mut [f32])) {
        for s in &mut self.shared {
            see(&format!("shared.{}.weight", s.param), &mut s.weight);
            see(&format!("shared.{}.velocity", s.param), &mut s.velocity);
        }
        for (l, level) in self.levels.iter_mut().enumerate() {
            for (p, velocity) in level.velocity.iter_mut().enumerate() {
                if !velocity.is_empty() {
                    see(
                        &format!("level.{l}.{p}.value"),
                        &mut level.params.tensors[p],
                    );
                    see(&format!("level.{l}.{p}.velocity"), velocity);
                }
            }
            for (n, running) in level.params.running.iter_mut().enumerate() {
                see(&format!("level.{l}.norm.{n}.mean"), &mut running.mean);
                see(&format!("level.{l}.norm.{n}.var"), &mut running.var);
            }
        }
    }

    /// Shows every tensor of owners that a checkpoint holds, by name.
    pub fn each_owners(&mut self, see: &mut dyn FnMut(&str, &mut [u8])) {
        for s in &mut self.shared {
            if let Some(owners) = &mut s.owners {
                see(&format!("shared.{}.owners", s.param), owners);
            }
        }
    }

    /// The densest level in `graph`, and what a nested model adds to it.
    pub fn store(&mut self, plan: &Plan, graph: &mut FloatGraph) -> Stored {
        let densest = self.levels.len() - 1;
        self.load_shared(densest);
        self.levels[densest].params.store(plan, graph);
        let weight_levels = self
            .shared
            .iter()
            .filter_map(|s| {
                let owners = s.owners.as_ref()?;
                let mark = |&o: &u8| if usize::from(o) > densest { PRUNED } else { o };
                Some((plan.params[s.param].node, owners.iter().map(mark).collect()))
            })
            .collect();
        let mut level_params = BTreeMap::new();
        let graphs: Vec<FloatGraph> = self
            .levels
            .iter()
            .map(|level| {
                let mut of_level = graph.clone();
                level.params.store(plan, &mut of_level);
                of_level
            })
            .collect();
        for (p, info) in plan.params.iter().enumerate() {
            let first_of_node = info.role != Role::Beta && info.role != Role::Shift;
            if self.levels[0].velocity[p].is_empty() || !first_of_node {
                continue;
            }
            let params = graphs
                .iter()
                .filter_map(|g| match &g.nodes[info.node].op {
                    FloatOp::BatchNorm(bn) => Some(LevelParams::BatchNorm(bn.clone())),
                    FloatOp::ChannelAffine { scale, shift } => {
                        Some(LevelParams::Affine(scale.clone(), shift.clone()))
                    }
                    FloatOp::Conv(conv) => conv.bias.clone().map(LevelParams::Bias),
                    FloatOp::Dense(dense) => dense.bias.clone().map(LevelParams::Bias),
                    _ => None,
                })
                .collect();
            level_params.insert(info.node, params);
        }
        Stored {
            weight_levels,
            level_params,
        }
    }
}

/// The nodes whose weights are pruned: ungrouped convolutions but the first.
pub(super) fn prunable(graph: &FloatGraph) -> Vec<NodeId> {
    graph
        .nodes
        .iter_enumerated()
        .filter(|(_, n)| matches!(n.op, FloatOp::Conv(_)))
        .skip(1)
        .filter(|(_, n)| matches!(&n.op, FloatOp::Conv(c) if c.groups == 1))
        .map(|(id, _)| id)
        .collect()
}
