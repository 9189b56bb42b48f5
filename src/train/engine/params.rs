//! Parameter tensors of a plan: which node they belong to, and how they come from and go to a graph.

use crate::ir::float::{FloatGraph, FloatOp};
use crate::ir::ids::NodeId;

use super::plan::Plan;

/// What a tensor is to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Convolution or fully connected weights.
    Weight,
    /// Their bias.
    Bias,
    /// Batch normalisation's scale.
    Gamma,
    /// Batch normalisation's shift.
    Beta,
    /// An affine's scale.
    Scale,
    /// An affine's shift.
    Shift,
}

/// A parameter tensor.
#[derive(Clone, Debug)]
pub struct ParamInfo {
    /// Whose it is.
    pub node: NodeId,
    /// What it is.
    pub role: Role,
    /// Elements.
    pub len: usize,
    /// Whether training may change it.
    pub trained: bool,
}

/// Running statistics of one batch normalisation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// Mean, one a channel.
    pub mean: Vec<f32>,
    /// Variance, one a channel.
    pub var: Vec<f32>,
}

/// The values of a plan's parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// One entry a [`Plan::params`].
    pub tensors: Vec<Vec<f32>>,
    /// One entry a [`Plan::norms`].
    pub running: Vec<Running>,
}

impl Params {
    /// The parameters that `graph`, from which `plan` was made, holds.
    pub fn of(plan: &Plan, graph: &FloatGraph) -> Self {
        let tensors = plan
            .params
            .iter()
            .map(|info| match (&graph.nodes[info.node].op, info.role) {
                (FloatOp::Conv(conv), Role::Weight) => conv.weight.clone(),
                (FloatOp::Conv(conv), Role::Bias) => conv.bias.clone().unwrap_or_default(),
                (FloatOp::Dense(dense), Role::Weight) => dense.weight.clone(),
                (FloatOp::Dense(dense), Role::Bias) => dense.bias.clone().unwrap_or_default(),
                (FloatOp::BatchNorm(bn), Role::Gamma) => bn.gamma.clone(),
                (FloatOp::BatchNorm(bn), Role::Beta) => bn.beta.clone(),
                (FloatOp::ChannelAffine { scale, .. }, Role::Scale) => scale.clone(),
                (FloatOp::ChannelAffine { shift, .. }, Role::Shift) => shift.clone(),
                (op, role) => unreachable!("a {} node has no {role:?}", op.name()),
            })
            .collect();
        let running = plan
            .norms
            .iter()
            .map(|norm| match &graph.nodes[norm.node].op {
                FloatOp::BatchNorm(bn) => Running {
                    mean: bn.mean.clone(),
                    var: bn.var.clone(),
                },
                op => unreachable!("a {} node has no statistics", op.name()),
            })
            .collect();
        Self { tensors, running }
    }

    /// Writes the parameters into `graph`.
    pub fn store(&self, plan: &Plan, graph: &mut FloatGraph) {
        for (info, tensor) in plan.params.iter().zip(&self.tensors) {
            let target = match (&mut graph.nodes[info.node].op, info.role) {
                (FloatOp::Conv(conv), Role::Weight) => &mut conv.weight,
                (FloatOp::Conv(conv), Role::Bias) => conv.bias.get_or_insert_default(),
                (FloatOp::Dense(dense), Role::Weight) => &mut dense.weight,
                (FloatOp::Dense(dense), Role::Bias) => dense.bias.get_or_insert_default(),
                (FloatOp::BatchNorm(bn), Role::Gamma) => &mut bn.gamma,
                (FloatOp::BatchNorm(bn), Role::Beta) => &mut bn.beta,
                (FloatOp::ChannelAffine { scale, .. }, Role::Scale) => scale,
                (FloatOp::ChannelAffine { shift, .. }, Role::Shift) => shift,
                (op, role) => unreachable!("a {} node has no {role:?}", op.name()),
            };
            target.clone_from(tensor);
        }
        for (norm, running) in plan.norms.iter().zip(&self.running) {
            if let FloatOp::BatchNorm(bn) = &mut graph.nodes[norm.node].op {
                bn.mean.clone_from(&running.mean);
                bn.var.clone_from(&running.var);
            }
        }
    }
}
