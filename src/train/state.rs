//! Everything that training changes.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::ir::float::{FloatGraph, FloatOp};
use crate::ir::ids::NodeId;
use crate::ir::nested::{LevelParams, PRUNED};

use super::engine::{Params, Plan, Role};
use super::options::{Allocation, EpochSummary, Method, TrainOptions};
use super::recipe::fake_quant;
use super::recipe::masks::{Prunable, Rule};
use super::recipe::optimiser::{average, nesterov};
use super::recipe::width::Widths;

/// Elements that a thread takes at once.
const CHUNK: usize = 4096;

/// Weights that the levels share.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shared {
    /// Which parameter of the plan.
    pub param: usize,
    pub weight: Vec<f32>,
    pub velocity: Vec<f32>,
    /// Their running average; empty without one.
    pub average: Vec<f32>,
    /// What int8 stands for in place of the weights; empty while nothing is rounded.
    rounded: Vec<f32>,
    /// The sparsest level that holds each weight; `None` if this tensor is never pruned.
    pub owners: Option<Vec<u8>>,
    /// Input channels of a row, taps of a channel, output pixels.
    channels: usize,
    taps: usize,
    pixels: usize,
}

impl Shared {
    fn prunable(&self) -> Option<Prunable<'_>> {
        self.owners.as_ref().map(|_| Prunable {
            weight: &self.weight,
            channels: self.channels,
            taps: self.taps,
            pixels: self.pixels,
        })
    }

    fn row_len(&self) -> usize {
        self.channels * self.taps
    }
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
    /// Running averages of its own parameters and statistics; empty without.
    pub average: Params,
    /// Both ends of the range of each of the engine's slots, where rounding follows it; empty if it
    /// never does.
    pub ranges: Vec<f32>,
    /// Parameters of whole channels that are left out: they stay zero.
    dead: Vec<(usize, Vec<usize>)>,
}

impl LevelState {
    /// The masks as the engine takes them.
    pub fn masks(&self) -> Vec<Option<&[bool]>> {
        self.masks.iter().map(Option::as_deref).collect()
    }

    /// Zeroes its own parameters of channels that it leaves out.
    fn silence_dead(&mut self) {
        for (param, channels) in &self.dead {
            let velocity = &mut self.velocity[*param];
            if velocity.is_empty() {
                continue;
            }
            let value = &mut self.params.tensors[*param];
            let mut average = self.average.tensors.get_mut(*param);
            for &c in channels {
                velocity[c] = 0.0;
                value[c] = 0.0;
                if let Some(average) = &mut average {
                    average[c] = 0.0;
                }
            }
        }
    }

    /// A step of what belongs to this level alone.
    pub fn update(&mut self, gradients: &[Vec<f32>], rate: f32) {
        let own = self.params.tensors.iter_mut().zip(&mut self.velocity);
        for ((tensor, velocity), gradient) in own.zip(gradients) {
            if !velocity.is_empty() {
                nesterov(tensor, velocity, gradient, rate, 0.0);
            }
        }
        self.silence_dead();
    }

    /// Moves the running averages.
    pub fn move_average(&mut self, kept: f32) {
        for (a, v) in self.average.tensors.iter_mut().zip(&self.params.tensors) {
            average(a, v, kept);
        }
        for (a, v) in self.average.running.iter_mut().zip(&self.params.running) {
            average(&mut a.mean, &v.mean, kept);
            average(&mut a.var, &v.var, kept);
        }
    }
}

/// What a nested model has beside its graph.
#[derive(Debug)]
pub(super) struct Stored {
    pub weight_levels: BTreeMap<NodeId, Vec<u8>>,
    pub level_params: BTreeMap<NodeId, Vec<LevelParams>>,
}

/// How levels are cut.
#[derive(Clone, Debug)]
pub(super) enum Cutter {
    /// Weight by weight.
    Weights(Rule),
    /// Channel by channel.
    Channels(Widths),
}

impl Cutter {
    /// What `options` ask for.
    pub fn new(graph: &FloatGraph, options: &TrainOptions) -> Self {
        match options.method {
            Method::Width => Self::Channels(Widths::new(graph)),
            Method::Nested => {
                let cut = prunable(graph);
                let fixed = |(id, _): &(NodeId, _)| !cut.contains(id);
                Self::Weights(Rule {
                    allocation: options.allocation,
                    block: options.block,
                    fixed_macs: (graph.nodes.iter_enumerated())
                        .filter(fixed)
                        .map(|(id, _)| node_macs(graph, id))
                        .sum(),
                })
            }
        }
    }

    /// The nodes whose weights are cut.
    pub fn nodes(&self, graph: &FloatGraph) -> Vec<NodeId> {
        match self {
            Self::Weights(_) => prunable(graph),
            Self::Channels(widths) => widths.prunable(),
        }
    }

    /// The least multiply-accumulates that a level can be cut to, where it is them that are asked
    /// for.
    pub fn least_macs(&self) -> Option<u64> {
        match self {
            Self::Weights(rule) => (rule.allocation == Allocation::Macs).then_some(rule.fixed_macs),
            Self::Channels(widths) => Some(widths.least_macs()),
        }
    }
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
    /// Parameters that are zero where the row of a shared tensor is.
    followers: Vec<(usize, usize)>,
}

impl State {
    /// The start of training: every level is the given network. `averaged` keeps running averages.
    pub fn new(
        plan: &Plan,
        graph: &FloatGraph,
        levels: usize,
        cutter: &Cutter,
        averaged: bool,
    ) -> Self {
        let params = Params::of(plan, graph);
        let prunable = cutter.nodes(graph);
        let shared: Vec<Shared> = plan
            .params
            .iter()
            .enumerate()
            .filter(|(_, info)| info.role == Role::Weight)
            .map(|(param, info)| {
                let (channels, taps) = match &graph.nodes[info.node].op {
                    FloatOp::Conv(conv) => (conv.group_channels, conv.window.taps()),
                    FloatOp::Dense(dense) => (dense.in_features, 1),
                    _ => (info.len, 1),
                };
                let weight = params.tensors[param].clone();
                Shared {
                    param,
                    average: if averaged { weight.clone() } else { Vec::new() },
                    weight,
                    velocity: vec![0.0; info.len],
                    rounded: Vec::new(),
                    owners: prunable.contains(&info.node).then(|| vec![0; info.len]),
                    channels,
                    taps,
                    pixels: graph.shape(graph.nodes[info.node].output).pixels(),
                }
            })
            .collect();
        let velocity: Vec<Vec<f32>> = plan
            .params
            .iter()
            .map(|info| {
                let own = info.trained && info.role != Role::Weight;
                vec![0.0; if own { info.len } else { 0 }]
            })
            .collect();
        let average = if averaged {
            let own = |(t, v): (&Vec<f32>, &Vec<f32>)| {
                if v.is_empty() { Vec::new() } else { t.clone() }
            };
            Params {
                tensors: params.tensors.iter().zip(&velocity).map(own).collect(),
                running: params.running.clone(),
            }
        } else {
            Params::default()
        };
        let level = LevelState {
            params,
            velocity,
            masks: vec![None; plan.params.len()],
            average,
            ranges: Vec::new(),
            dead: Vec::new(),
        };
        let followers = match cutter {
            Cutter::Weights(_) => Vec::new(),
            Cutter::Channels(widths) => followers(plan, &shared, &level, widths),
        };
        Self {
            epoch: 0,
            shared,
            levels: vec![level; levels],
            history: Vec::new(),
            followers,
        }
    }

    /// The shared tensor that is parameter `param`, if that is shared.
    pub fn shared_of(&self, param: usize) -> Option<&Shared> {
        shared_of(&self.shared, param)
    }

    /// Prunable weights in all.
    pub fn prunable_len(&self) -> usize {
        let owned = |s: &Shared| s.owners.as_ref().map_or(0, Vec::len);
        self.shared.iter().map(owned).sum()
    }

    /// Ranks the prunable weights and leaves these shares out of the levels (sparsest first).
    pub fn rank(&mut self, cutter: &Cutter, shares: &[f64]) {
        let owners = match cutter {
            Cutter::Weights(rule) => {
                let tensors: Vec<Prunable<'_>> =
                    self.shared.iter().filter_map(Shared::prunable).collect();
                rule.owners(&tensors, shares)
            }
            Cutter::Channels(widths) => widths.owners(shares),
        };
        let of_tensors = self.shared.iter_mut().filter_map(|s| s.owners.as_mut());
        for (own, new) in of_tensors.zip(owners) {
            *own = new;
        }
        self.rebuild_masks();
    }

    /// Makes the levels' masks from the owners.
    pub fn rebuild_masks(&mut self) {
        let (shared, followers) = (&self.shared, &self.followers);
        self.levels
            .par_iter_mut()
            .enumerate()
            .for_each(|(level, state)| {
                let held = |owner: u8| usize::from(owner) <= level;
                for shared in shared {
                    let Some(owners) = &shared.owners else {
                        continue;
                    };
                    let mask: Vec<bool> = owners.iter().map(|&o| held(o)).collect();
                    state.masks[shared.param] = mask.contains(&false).then_some(mask);
                }
                state.dead.clear();
                for &(param, source) in followers {
                    let shared = &shared[source];
                    let rows = shared
                        .owners
                        .iter()
                        .flat_map(|o| o.chunks(shared.row_len()));
                    let dead: Vec<usize> = rows
                        .enumerate()
                        .filter(|(_, row)| !row.iter().any(|&o| held(o)))
                        .map(|(channel, _)| channel)
                        .collect();
                    state.dead.push((param, dead));
                }
                state.silence_dead();
            });
    }

    /// Copies the shared weights into level `level`, masked.
    pub fn load_shared(&mut self, level: usize) {
        let LevelState { params, masks, .. } = &mut self.levels[level];
        load(&self.shared, masks, current, params);
    }

    /// Rounds the shared weights as int8 inference does, for [`State::load_shared`].
    pub fn round_shared(&mut self) {
        let densest = self.levels.len() - 1;
        self.shared.par_iter_mut().for_each(|s| {
            let row_len = s.row_len();
            s.rounded.resize(s.weight.len(), 0.0);
            let owners = s.owners.as_deref();
            fake_quant::round_rows(&s.weight, owners, densest, row_len, &mut s.rounded);
        });
    }

    /// Level `level` as it stands, by the running averages if there are such.
    pub fn level_params(&self, level: usize) -> Params {
        let state = &self.levels[level];
        let mut params = state.params.clone();
        for (own, average) in params.tensors.iter_mut().zip(&state.average.tensors) {
            if !average.is_empty() {
                own.clone_from(average);
            }
        }
        if !state.average.running.is_empty() {
            params.running.clone_from(&state.average.running);
        }
        load(&self.shared, &state.masks, averaged, &mut params);
        params
    }

    /// A step of the shared weights along the gradients that `of` gives for their parameters.
    pub fn update_shared<'a>(
        &mut self,
        of: &(dyn Fn(usize) -> &'a [f32] + Sync),
        rate: f32,
        decay: f32,
    ) {
        self.shared.par_iter_mut().for_each(|shared| {
            (shared.weight.par_chunks_mut(CHUNK))
                .zip(shared.velocity.par_chunks_mut(CHUNK))
                .zip(of(shared.param).par_chunks(CHUNK))
                .for_each(|((w, v), g)| nesterov(w, v, g, rate, decay));
        });
    }

    /// Moves all running averages.
    pub fn move_averages(&mut self, kept: f32) {
        self.shared.par_iter_mut().for_each(|shared| {
            (shared.average.par_chunks_mut(CHUNK))
                .zip(shared.weight.par_chunks(CHUNK))
                .for_each(|(a, w)| average(a, w, kept));
        });
        (self.levels.par_iter_mut()).for_each(|level| level.move_average(kept));
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

    /// Multiply-accumulates of an inference at a level, weights that it leaves out not counted.
    pub fn macs(&self, level: usize) -> u64 {
        let of = |s: &Shared| {
            let held = |o: &&u8| usize::from(**o) <= level;
            let live = (s.owners.as_ref()).map(|o| o.iter().filter(held).count());
            live.unwrap_or(s.weight.len()) as u64 * s.pixels as u64
        };
        let all: u64 = self.shared.iter().map(of).sum();
        all - self.idle_macs(level)
    }

    /// Those of depthwise convolutions on channels that a level leaves out.
    fn idle_macs(&self, level: usize) -> u64 {
        let whole = self.shared.iter().filter(|s| s.owners.is_none());
        whole
            .map(|s| {
                let dead = |(param, _): &&(usize, Vec<usize>)| *param == s.param;
                let channels = self.levels[level].dead.iter().find(dead);
                channels.map_or(0, |(_, c)| c.len() * s.row_len() * s.pixels) as u64
            })
            .sum()
    }

    /// Shows every tensor that a checkpoint holds, by name.
    pub fn each_tensor(&mut self, see: &mut dyn FnMut(&str, &mut [f32])) {
        for s in &mut self.shared {
            see(&format!("shared.{}.weight", s.param), &mut s.weight);
            see(&format!("shared.{}.velocity", s.param), &mut s.velocity);
            if !s.average.is_empty() {
                see(&format!("shared.{}.average", s.param), &mut s.average);
            }
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
            for (p, average) in level.average.tensors.iter_mut().enumerate() {
                if !average.is_empty() {
                    see(&format!("level.{l}.{p}.average"), average);
                }
            }
            if !level.ranges.is_empty() {
                see(&format!("level.{l}.ranges"), &mut level.ranges);
            }
            let kinds = [
                ("", &mut level.params.running),
                (".average", &mut level.average.running),
            ];
            for (kind, running) in kinds {
                for (n, running) in running.iter_mut().enumerate() {
                    see(&format!("level.{l}.norm.{n}.mean{kind}"), &mut running.mean);
                    see(&format!("level.{l}.norm.{n}.var{kind}"), &mut running.var);
                }
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

    /// The densest of `levels` in `graph`, and what a nested model adds to it.
    pub fn store(&self, plan: &Plan, graph: &mut FloatGraph, levels: &[Params]) -> Stored {
        let densest = levels.len() - 1;
        levels[densest].store(plan, graph);
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
        let graphs: Vec<FloatGraph> = levels
            .iter()
            .map(|params| {
                let mut of_level = graph.clone();
                params.store(plan, &mut of_level);
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

/// The weights that a step computes with.
fn current(shared: &Shared) -> &[f32] {
    if shared.rounded.is_empty() {
        &shared.weight
    } else {
        &shared.rounded
    }
}

/// The weights that a level runs with in the end.
fn averaged(shared: &Shared) -> &[f32] {
    if shared.average.is_empty() {
        &shared.weight
    } else {
        &shared.average
    }
}

/// Writes the shared weights that `of` picks into `params`, masked.
fn load(
    shared: &[Shared],
    masks: &[Option<Vec<bool>>],
    of: fn(&Shared) -> &[f32],
    params: &mut Params,
) {
    let tensors = params.tensors.par_iter_mut().zip(masks).enumerate();
    tensors.for_each(|(param, (tensor, mask))| {
        let Some(shared) = shared_of(shared, param) else {
            return;
        };
        let weight = of(shared);
        match mask {
            None => tensor.copy_from_slice(weight),
            Some(mask) => {
                (tensor.par_chunks_mut(CHUNK))
                    .zip(weight.par_chunks(CHUNK))
                    .zip(mask.par_chunks(CHUNK))
                    .for_each(|((to, weight), mask)| {
                        for ((to, w), live) in to.iter_mut().zip(weight).zip(mask) {
                            *to = if *live { *w } else { 0.0 };
                        }
                    });
            }
        }
    });
}

/// The shared tensor that is parameter `param`; `shared` is in the order of parameters.
fn shared_of(shared: &[Shared], param: usize) -> Option<&Shared> {
    let at = shared.binary_search_by_key(&param, |s| s.param).ok()?;
    Some(&shared[at])
}

/// For every parameter of channels that may be left out, the shared tensor whose rows tell of it.
fn followers(
    plan: &Plan,
    shared: &[Shared],
    level: &LevelState,
    widths: &Widths,
) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (node, source) in widths.followers() {
        let of_source = |s: &Shared| plan.params[s.param].node == source;
        let Some(source) = shared.iter().position(of_source) else {
            continue;
        };
        for (param, info) in plan.params.iter().enumerate() {
            let own = !level.velocity[param].is_empty();
            let depthwise = shared
                .iter()
                .any(|s| s.param == param && s.owners.is_none());
            if info.node == node && (own || depthwise) {
                found.push((param, source));
            }
        }
    }
    found
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

/// Multiply-accumulates of a node, padding counted as any input.
pub(super) fn node_macs(graph: &FloatGraph, node: NodeId) -> u64 {
    let node = &graph.nodes[node];
    let weights = match &node.op {
        FloatOp::Conv(conv) => conv.weight.len(),
        FloatOp::Dense(dense) => dense.weight.len(),
        _ => 0,
    };
    weights as u64 * graph.shape(node.output).pixels() as u64
}
