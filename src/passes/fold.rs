//! Canonical form: what the passes behind this one need not tell apart any more.
//!
//! Afterwards a graph has these nodes only: [`FloatOp::Conv`] (fully connected layers and
//! flattening included), [`FloatOp::ChannelAffine`] directly behind a convolution that nothing else
//! reads, [`FloatOp::Relu`], [`FloatOp::Relu6`], [`FloatOp::Add`], [`FloatOp::MaxPool`],
//! [`FloatOp::AvgPool`], [`FloatOp::GlobalAvgPool`], [`FloatOp::Pad`], [`FloatOp::Slice`],
//! [`FloatOp::Softmax`] and those of `ir::float_ops`. The function of every level is unchanged up to
//! rounding.
//!
//! Rules run over a list of nodes until none applies any more; each removes a node, replaces one by
//! a more canonical one, or moves an activation towards the input, so they end.

mod rules;

use std::collections::BTreeMap;

use crate::ir::float::{FloatGraph, FloatOp, Node, OutputLayout, Shape, Value};
use crate::ir::ids::{Id, IdVec, NodeId, ValueId};
use crate::ir::nested::{LevelParams, NestedModel};

/// Brings a verified model into canonical form.
pub fn fold(model: NestedModel) -> NestedModel {
    let mut work = Work::new(model);
    while rules::apply_one(&mut work) {}
    rules::dense_to_conv(&mut work);
    while rules::apply_one(&mut work) {}
    rules::anchor_affines(&mut work);
    while rules::apply_one(&mut work) {}
    work.finish()
}

/// A node with its nested parameters beside it, so that rules need not mind ids.
#[derive(Clone, Debug)]
pub(super) struct WorkNode {
    name: String,
    op: FloatOp,
    inputs: Vec<ValueId>,
    output: ValueId,
    weight_levels: Option<Vec<u8>>,
    level_params: Option<Vec<LevelParams>>,
}

/// A model under rewriting. Nodes stay in topological order.
#[derive(Debug)]
pub(super) struct Work {
    model: NestedModel,
    values: IdVec<ValueId, Value>,
    nodes: Vec<WorkNode>,
    /// As of the last [`Work::index`]: the node that gives each value, and how often it is read.
    producers: IdVec<ValueId, Option<usize>>,
    reads: IdVec<ValueId, usize>,
    outputs: Vec<ValueId>,
    output_layouts: Vec<OutputLayout>,
    input: ValueId,
}

impl Work {
    fn new(mut model: NestedModel) -> Self {
        let graph = std::mem::take(&mut model.graph);
        let input = graph.input();
        let nodes = (graph.nodes.iter_enumerated())
            .map(|(id, node)| WorkNode {
                name: node.name.clone(),
                op: node.op.clone(),
                inputs: node.inputs.clone(),
                output: node.output,
                weight_levels: model.weight_levels.remove(&id),
                level_params: model.level_params.remove(&id),
            })
            .collect();
        model.graph.name = graph.name;
        let mut work = Self {
            model,
            values: graph.values,
            nodes,
            producers: IdVec::new(),
            reads: IdVec::new(),
            outputs: graph.outputs,
            output_layouts: graph.output_layouts,
            input,
        };
        work.index();
        work
    }

    /// Brings the tables of who gives and who reads a value up to date. Whoever changes nodes does so
    /// before the tables are asked again.
    fn index(&mut self) {
        self.producers = self.values.iter().map(|_| None).collect();
        self.reads = self.values.iter().map(|_| 0).collect();
        for (at, node) in self.nodes.iter().enumerate() {
            self.producers[node.output] = Some(at);
            for &input in &node.inputs {
                self.reads[input] += 1;
            }
        }
        for &output in &self.outputs {
            self.reads[output] += 1;
        }
    }

    fn levels(&self) -> usize {
        self.model.level_count()
    }

    fn shape(&self, value: ValueId) -> Shape {
        self.values[value].shape
    }

    /// The node that gives `value`.
    fn producer(&self, value: ValueId) -> Option<usize> {
        self.producers[value]
    }

    /// How often `value` is read, as a graph output too.
    fn uses(&self, value: ValueId) -> usize {
        self.reads[value]
    }

    /// The producer of input 0 of node `at`, if nothing else reads that value.
    fn exclusive_producer(&self, at: usize) -> Option<usize> {
        let value = self.nodes[at].inputs[0];
        (self.uses(value) == 1)
            .then(|| self.producer(value))
            .flatten()
    }

    /// Whether node `at` can go: outputs must stay different values, and none the input.
    fn can_bypass(&self, at: usize, instead: ValueId) -> bool {
        let is_output = self.outputs.contains(&self.nodes[at].output);
        !is_output || (instead != self.input && !self.outputs.contains(&instead))
    }

    /// `name`, or a variant of it that no value has.
    fn fresh_name(&self, name: &str) -> String {
        let mut fresh = name.to_owned();
        while self.values.iter().any(|v| v.name == fresh) {
            fresh.push('\'');
        }
        fresh
    }

    /// Takes node `at` out; whoever read its output reads `instead`. A graph output keeps its name.
    fn bypass(&mut self, at: usize, instead: ValueId) {
        let gone = self.nodes.remove(at).output;
        for node in &mut self.nodes {
            for input in &mut node.inputs {
                if *input == gone {
                    *input = instead;
                }
            }
        }
        if self.outputs.contains(&gone) {
            let name = std::mem::take(&mut self.values[gone].name);
            self.values[instead].name = name;
            for output in &mut self.outputs {
                if *output == gone {
                    *output = instead;
                }
            }
        }
    }

    /// Drops the nodes that no output depends on.
    fn drop_dead(&mut self) -> bool {
        let mut needed: IdVec<ValueId, bool> = self.values.iter().map(|_| false).collect();
        for &output in &self.outputs {
            needed[output] = true;
        }
        for node in self.nodes.iter().rev() {
            if needed[node.output] {
                for &input in &node.inputs {
                    needed[input] = true;
                }
            }
        }
        let before = self.nodes.len();
        self.nodes.retain(|node| needed[node.output]);
        let dropped = self.nodes.len() < before;
        if dropped {
            self.index();
        }
        dropped
    }

    /// The model again, with dense ids.
    fn finish(self) -> NestedModel {
        let mut model = self.model;
        let mut graph = FloatGraph {
            name: std::mem::take(&mut model.graph.name),
            ..FloatGraph::default()
        };
        let mut renamed: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        renamed.insert(
            self.input,
            graph.values.push(self.values[self.input].clone()),
        );
        for node in self.nodes {
            let output = graph.values.push(self.values[node.output].clone());
            renamed.insert(node.output, output);
            let id: NodeId = graph.nodes.push(Node {
                name: node.name,
                op: node.op,
                inputs: node.inputs.iter().map(|v| renamed[v]).collect(),
                output,
            });
            if let Some(levels) = node.weight_levels {
                model.weight_levels.insert(id, levels);
            }
            if let Some(params) = node.level_params {
                model.level_params.insert(id, params);
            }
        }
        graph.input = Some(ValueId::from_index(0));
        graph.outputs = self.outputs.iter().map(|v| renamed[v]).collect();
        graph.output_layouts = self.output_layouts;
        model.graph = graph;
        model
    }
}

/// The scale and shift of a ChannelAffine node at every level.
pub(crate) fn affine_levels(
    op: &FloatOp,
    params: Option<&[LevelParams]>,
    levels: usize,
) -> Vec<(Vec<f32>, Vec<f32>)> {
    let FloatOp::ChannelAffine { scale, shift } = op else {
        unreachable!("asked of a {} node", op.name())
    };
    match params {
        None => vec![(scale.clone(), shift.clone()); levels],
        Some(params) => params
            .iter()
            .map(|p| match p {
                LevelParams::Affine(s, t) => (s.clone(), t.clone()),
                _ => unreachable!("verified: an affine node has affine parameters"),
            })
            .collect(),
    }
}

/// The bias of a Conv node at every level; zeros where it has none.
pub(crate) fn bias_levels(
    op: &FloatOp,
    params: Option<&[LevelParams]>,
    levels: usize,
) -> Vec<Vec<f32>> {
    let (bias, channels) = match op {
        FloatOp::Conv(conv) => (&conv.bias, conv.out_channels),
        FloatOp::Dense(dense) => (&dense.bias, dense.out_features),
        _ => unreachable!("asked of a {} node", op.name()),
    };
    match params {
        None => vec![bias.clone().unwrap_or_else(|| vec![0.0; channels]); levels],
        Some(params) => params
            .iter()
            .map(|p| match p {
                LevelParams::Bias(b) => b.clone(),
                _ => unreachable!("verified: a convolution has a bias a level"),
            })
            .collect(),
    }
}
