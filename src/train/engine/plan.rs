//! What to compute: a float graph lowered to passes over feature maps of sixteen images.

use std::collections::BTreeMap;

use crate::ir::float::{FloatGraph, FloatOp, Node, Shape, Window};
use crate::ir::ids::{IdVec, NodeId, ValueId};
use crate::train::simd::Map;
use crate::train::simd::elementwise::Activation;

use super::gather::Gather;
use super::linear::Linear;
use super::local::Local;
use super::params::{ParamInfo, Role};

/// Index of a [`Slot`].
pub type SlotIx = usize;
/// Index of a parameter tensor.
pub type ParamIx = usize;

/// Margins of a feature map, in vectors: `[top, left, bottom, right]`.
pub type Halo = [usize; 4];

/// A feature map that the passes write or read.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The graph's value.
    pub value: ValueId,
    /// Its extent.
    pub shape: Shape,
    /// Its zero margin, as wide as its readers reach.
    pub halo: Halo,
    /// The margin of its gradient.
    pub gradient_halo: Halo,
    /// Whether anything that is trained lies before it.
    pub needs_gradient: bool,
}

impl Slot {
    /// Where the elements lie.
    pub fn map(&self) -> Map {
        layout(self.shape, self.halo)
    }
    /// Where the gradient's elements lie.
    pub fn gradient_map(&self) -> Map {
        layout(self.shape, self.gradient_halo)
    }
    /// Vectors of the buffer.
    pub fn len(&self) -> usize {
        buffer_len(self.shape, self.halo)
    }
    /// Vectors of the gradient's buffer.
    pub fn gradient_len(&self) -> usize {
        buffer_len(self.shape, self.gradient_halo)
    }
}

fn layout(shape: Shape, [top, left, _, right]: Halo) -> Map {
    let channel = left + shape.w + right;
    let row = shape.c * channel;
    Map {
        c: shape.c,
        h: shape.h,
        w: shape.w,
        origin: top * row + left,
        row,
        channel,
    }
}

fn buffer_len(shape: Shape, [top, left, bottom, right]: Halo) -> usize {
    (top + shape.h + bottom) * shape.c * (left + shape.w + right)
}

/// How a summand of a [`Pointwise`] pass is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Not at all.
    Identity,
    /// `scale * x + shift`.
    Affine {
        /// The scale tensor.
        scale: ParamIx,
        /// The shift tensor.
        shift: ParamIx,
    },
    /// Batch normalisation: index into [`Plan::norms`].
    Norm(usize),
}

/// A summand of a [`Pointwise`] pass.
#[derive(Clone, Copy, Debug)]
pub struct Summand {
    /// What it reads.
    pub input: SlotIx,
    /// How it is scaled.
    pub scaling: Scaling,
    /// Whether its input's gradient is added to what stands there.
    pub accumulate: bool,
}

/// `activation(sum of one or two scaled maps)`.
#[derive(Clone, Debug)]
pub struct Pointwise {
    /// One or two.
    pub summands: Vec<Summand>,
    /// At the end.
    pub activation: Activation,
    /// What it writes.
    pub output: SlotIx,
}

/// A batch normalisation.
#[derive(Clone, Debug)]
pub struct Norm {
    /// The node.
    pub node: NodeId,
    /// What it normalises.
    pub input: SlotIx,
    /// Scale tensor.
    pub gamma: ParamIx,
    /// Shift tensor.
    pub beta: ParamIx,
    /// Channels.
    pub channels: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Which pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Maximum; padding never wins.
    Max,
    /// Mean over the taps within the map, or over all with padding as zeros.
    Average {
        /// Whether padding counts.
        count_include_pad: bool,
    },
}

/// A pooling pass.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its window.
    pub window: Window,
    /// Its kind.
    pub kind: PoolKind,
    /// What it reads.
    pub input: SlotIx,
    /// What it writes.
    pub output: SlotIx,
    /// Whether the input's gradient is added to what stands there.
    pub accumulate: bool,
}

/// Softmax over channels of a vector.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// What it reads.
    pub input: SlotIx,
    /// What it writes.
    pub output: SlotIx,
    /// Whether the input's gradient is added to what stands there.
    pub accumulate: bool,
}

/// One pass.
#[derive(Clone, Debug)]
pub enum Step {
    /// Convolution or fully connected layer.
    Linear(Box<Linear>),
    /// Elementwise.
    Pointwise(Pointwise),
    /// Pooling.
    Pool(Pool),
    /// Whatever moves elements of one value.
    Gather(Gather),
    /// Softmax.
    Softmax(Softmax),
    /// Elementwise without parameters, concatenation, resampling.
    Local(Local),
}

impl Step {
    /// What it writes.
    pub fn output(&self) -> SlotIx {
        match self {
            Step::Linear(s) => s.output,
            Step::Pointwise(s) => s.output,
            Step::Pool(s) => s.output,
            Step::Gather(s) => s.output,
            Step::Softmax(s) => s.output,
            Step::Local(s) => s.output,
        }
    }

    /// What it reads.
    pub fn inputs(&self) -> Vec<SlotIx> {
        match self {
            Step::Linear(s) => vec![s.input],
            Step::Pointwise(s) => s.summands.iter().map(|t| t.input).collect(),
            Step::Pool(s) => vec![s.input],
            Step::Gather(s) => vec![s.input],
            Step::Softmax(s) => vec![s.input],
            Step::Local(s) => s.inputs.iter().map(|i| i.slot).collect(),
        }
    }

    /// Whether the gradient of its input `slot` is added to what stands there.
    pub fn accumulates(&self, slot: SlotIx) -> bool {
        match self {
            Step::Linear(s) => s.accumulate,
            Step::Pointwise(s) => (s.summands.iter())
                .find(|t| t.input == slot)
                .is_some_and(|t| t.accumulate),
            Step::Pool(s) => s.accumulate,
            Step::Gather(s) => s.accumulate,
            Step::Softmax(s) => s.accumulate,
            Step::Local(s) => (s.inputs.iter())
                .find(|i| i.slot == slot)
                .is_some_and(|i| i.accumulate),
        }
    }

    /// Each input with the flag whether its gradient is accumulated.
    fn inputs_mut(&mut self) -> Vec<(SlotIx, &mut bool)> {
        match self {
            Step::Linear(s) => vec![(s.input, &mut s.accumulate)],
            Step::Pointwise(s) => s
                .summands
                .iter_mut()
                .map(|t| (t.input, &mut t.accumulate))
                .collect(),
            Step::Pool(s) => vec![(s.input, &mut s.accumulate)],
            Step::Gather(s) => vec![(s.input, &mut s.accumulate)],
            Step::Softmax(s) => vec![(s.input, &mut s.accumulate)],
            Step::Local(s) => (s.inputs.iter_mut())
                .map(|i| (i.slot, &mut i.accumulate))
                .collect(),
        }
    }
}

/// A lowered graph.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All feature maps.
    pub slots: Vec<Slot>,
    /// All passes in order.
    pub steps: Vec<Step>,
    /// All parameter tensors.
    pub params: Vec<ParamInfo>,
    /// All batch normalisations.
    pub norms: Vec<Norm>,
    /// The graph's input.
    pub input: SlotIx,
    /// The graph's outputs.
    pub outputs: Vec<SlotIx>,
}

/// Whether the elementwise operations between two others become one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// Fewer passes; inner values are never written.
    Fused,
    /// As many as integer inference has layers: both sides of an addition are written.
    Rounded,
    /// Every value of the graph is written.
    EveryValue,
}

impl Plan {
    /// Lowers what `outputs` need of `graph`, which must be verified.
    pub fn new(graph: &FloatGraph, outputs: &[ValueId], fusion: Fusion) -> Self {
        Builder::new(graph, outputs, fusion).build(outputs)
    }
}

struct Builder<'g> {
    graph: &'g FloatGraph,
    /// Nodes whose work is done by the pass of a later node.
    absorbed: IdVec<NodeId, bool>,
    /// Nodes that an output depends on.
    needed: IdVec<NodeId, bool>,
    slot_of: BTreeMap<ValueId, SlotIx>,
    plan: Plan,
}

impl<'g> Builder<'g> {
    fn new(graph: &'g FloatGraph, outputs: &[ValueId], fusion: Fusion) -> Self {
        let mut absorbed: IdVec<NodeId, bool> = graph.nodes.iter().map(|_| false).collect();
        let needed = needed(graph, outputs);
        if fusion != Fusion::EveryValue {
            mark_absorbed(graph, outputs, fusion, &mut absorbed);
        }
        Self {
            graph,
            absorbed,
            needed,
            slot_of: BTreeMap::new(),
            plan: Plan {
                slots: Vec::new(),
                steps: Vec::new(),
                params: Vec::new(),
                norms: Vec::new(),
                input: 0,
                outputs: Vec::new(),
            },
        }
    }

    fn build(mut self, outputs: &[ValueId]) -> Plan {
        self.plan.input = self.slot(self.graph.input(), false);
        let graph = self.graph;
        for (id, node) in graph.nodes.iter_enumerated() {
            if self.needed[id] && !self.absorbed[id] {
                self.lower(id, node);
            }
        }
        self.plan.outputs = outputs.iter().map(|v| self.slot_of[v]).collect();
        // Backwards, the first pass that gives a gradient writes it, later ones add theirs. Outputs
        // begin with the gradient that is given.
        let mut written = vec![false; self.plan.slots.len()];
        for &output in &self.plan.outputs {
            written[output] = true;
        }
        for step in self.plan.steps.iter_mut().rev() {
            for (slot, accumulate) in step.inputs_mut() {
                *accumulate = written[slot];
                written[slot] = true;
            }
        }
        self.plan
    }

    fn slot(&mut self, value: ValueId, needs_gradient: bool) -> SlotIx {
        let ix = self.plan.slots.len();
        self.plan.slots.push(Slot {
            value,
            shape: self.graph.shape(value),
            halo: [0; 4],
            gradient_halo: [0; 4],
            needs_gradient,
        });
        self.slot_of.insert(value, ix);
        ix
    }

    fn param(&mut self, node: NodeId, role: Role, len: usize, trained: bool) -> ParamIx {
        self.plan.params.push(ParamInfo {
            node,
            role,
            len,
            trained,
        });
        self.plan.params.len() - 1
    }

    fn lower(&mut self, id: NodeId, node: &'g Node) {
        match &node.op {
            FloatOp::Conv(_) | FloatOp::Dense(_) => self.lower_linear(id, node),
            FloatOp::BatchNorm(_)
            | FloatOp::ChannelAffine { .. }
            | FloatOp::Relu
            | FloatOp::Relu6
            | FloatOp::Add => self.lower_pointwise(id, node),
            FloatOp::MaxPool(window) => self.lower_pool(node, *window, PoolKind::Max),
            FloatOp::AvgPool {
                window,
                count_include_pad,
            } => {
                let kind = PoolKind::Average {
                    count_include_pad: *count_include_pad,
                };
                self.lower_pool(node, *window, kind);
            }
            FloatOp::GlobalAvgPool => {
                let shape = self.graph.shape(node.inputs[0]);
                let window = Window {
                    kernel: [shape.h, shape.w],
                    ..Window::UNIT
                };
                let kind = PoolKind::Average {
                    count_include_pad: false,
                };
                self.lower_pool(node, window, kind);
            }
            FloatOp::Flatten
            | FloatOp::Pad(_)
            | FloatOp::Slice(_)
            | FloatOp::Select { .. }
            | FloatOp::ChannelShuffle { .. }
            | FloatOp::Rearrange(_) => {
                let (input, output) = self.unary(node);
                let shape = self.plan.slots[input].shape;
                let out = self.plan.slots[output].shape;
                self.plan.steps.push(Step::Gather(Gather::new(
                    &node.op, shape, out, input, output,
                )));
            }
            FloatOp::Softmax => {
                let (input, output) = self.unary(node);
                self.plan.steps.push(Step::Softmax(Softmax {
                    input,
                    output,
                    accumulate: false,
                }));
            }
            FloatOp::Unary(_)
            | FloatOp::PRelu(_)
            | FloatOp::Binary(_)
            | FloatOp::WithConstant(_)
            | FloatOp::Concat(_)
            | FloatOp::Resize(_) => self.lower_local(node),
        }
    }

    fn lower_local(&mut self, node: &Node) {
        let inputs: Vec<SlotIx> = node.inputs.iter().map(|v| self.slot_of[v]).collect();
        let shapes: Vec<Shape> = inputs.iter().map(|&s| self.plan.slots[s].shape).collect();
        let needs_gradient = inputs.iter().any(|&s| self.plan.slots[s].needs_gradient);
        let output = self.slot(node.output, needs_gradient);
        let local = Local::new(&node.op, &shapes, &inputs, output);
        self.plan.steps.extend(local.map(Step::Local));
    }

    /// The slots of a node of one input and no parameters.
    fn unary(&mut self, node: &Node) -> (SlotIx, SlotIx) {
        let input = self.slot_of[&node.inputs[0]];
        let needs_gradient = self.plan.slots[input].needs_gradient;
        (input, self.slot(node.output, needs_gradient))
    }

    fn lower_pool(&mut self, node: &Node, window: Window, kind: PoolKind) {
        let (input, output) = self.unary(node);
        self.plan.steps.push(Step::Pool(Pool {
            window,
            kind,
            input,
            output,
            accumulate: false,
        }));
    }

    fn lower_linear(&mut self, id: NodeId, node: &Node) {
        let input = self.slot_of[&node.inputs[0]];
        let output = self.slot(node.output, true);
        let (weights, bias) = match &node.op {
            FloatOp::Conv(conv) => (conv.weight.len(), conv.bias.as_ref().map(Vec::len)),
            FloatOp::Dense(dense) => (dense.weight.len(), dense.bias.as_ref().map(Vec::len)),
            _ => return,
        };
        let weight = self.param(id, Role::Weight, weights, true);
        let bias = bias.map(|len| self.param(id, Role::Bias, len, true));
        let shape = self.plan.slots[input].shape;
        let out = self.plan.slots[output].shape;
        let linear = Linear::new(&node.op, shape, out, input, output, weight, bias);
        widen(&mut self.plan.slots[input].halo, linear.input_halo());
        widen(
            &mut self.plan.slots[output].gradient_halo,
            linear.gradient_halo(),
        );
        self.plan.steps.push(Step::Linear(Box::new(linear)));
    }

    /// Lowers `node` and the elementwise nodes it absorbed: from the end of the chain backwards an
    /// activation, an addition, and on each branch one scaling.
    fn lower_pointwise(&mut self, mut id: NodeId, node: &'g Node) {
        let output_value = node.output;
        let mut node = node;
        let mut activation = Activation::None;
        if let Some(a) = activation_of(&node.op) {
            activation = a;
            match self.absorbed_producer(node.inputs[0]) {
                Some((before, n)) => (id, node) = (before, n),
                None => {
                    let input = self.slot_of[&node.inputs[0]];
                    return self.push_pointwise(
                        vec![(input, Scaling::Identity)],
                        activation,
                        output_value,
                    );
                }
            }
        }
        let branches: Vec<(SlotIx, Scaling)> = if matches!(node.op, FloatOp::Add) {
            node.inputs
                .iter()
                .map(|&input| match self.absorbed_producer(input) {
                    Some((id, node)) => self.scaling(id, node),
                    None => (self.slot_of[&input], Scaling::Identity),
                })
                .collect()
        } else {
            vec![self.scaling(id, node)]
        };
        self.push_pointwise(branches, activation, output_value);
    }

    fn push_pointwise(
        &mut self,
        branches: Vec<(SlotIx, Scaling)>,
        activation: Activation,
        output: ValueId,
    ) {
        let needs_gradient = branches.iter().any(|&(input, scaling)| {
            self.plan.slots[input].needs_gradient || self.is_trained(scaling)
        });
        let output = self.slot(output, needs_gradient);
        let summands = branches
            .into_iter()
            .map(|(input, scaling)| Summand {
                input,
                scaling,
                accumulate: false,
            })
            .collect();
        self.plan.steps.push(Step::Pointwise(Pointwise {
            summands,
            activation,
            output,
        }));
    }

    fn is_trained(&self, scaling: Scaling) -> bool {
        match scaling {
            Scaling::Identity => false,
            Scaling::Affine { scale, .. } => self.plan.params[scale].trained,
            Scaling::Norm(_) => true,
        }
    }

    fn absorbed_producer(&self, value: ValueId) -> Option<(NodeId, &'g Node)> {
        let id = self.graph.producer(value)?;
        self.absorbed[id].then(|| (id, &self.graph.nodes[id]))
    }

    /// The input and scaling of a normalisation or affine node.
    fn scaling(&mut self, id: NodeId, node: &Node) -> (SlotIx, Scaling) {
        let input = self.slot_of[&node.inputs[0]];
        let channels = self.plan.slots[input].shape.c;
        let scaling = match &node.op {
            FloatOp::BatchNorm(bn) => {
                let gamma = self.param(id, Role::Gamma, channels, true);
                let beta = self.param(id, Role::Beta, channels, true);
                self.plan.norms.push(Norm {
                    node: id,
                    input,
                    gamma,
                    beta,
                    channels,
                    epsilon: bn.epsilon,
                });
                Scaling::Norm(self.plan.norms.len() - 1)
            }
            FloatOp::ChannelAffine { .. } => {
                // An affine on the input prepares the pictures; it is not learnt.
                let trained = self.plan.slots[input].needs_gradient;
                let scale = self.param(id, Role::Scale, channels, trained);
                let shift = self.param(id, Role::Shift, channels, trained);
                Scaling::Affine { scale, shift }
            }
            _ => Scaling::Identity,
        };
        (input, scaling)
    }
}

fn activation_of(op: &FloatOp) -> Option<Activation> {
    match op {
        FloatOp::Relu => Some(Activation::Relu),
        FloatOp::Relu6 => Some(Activation::Relu6),
        _ => None,
    }
}

fn is_scaling(op: &FloatOp) -> bool {
    matches!(op, FloatOp::BatchNorm(_) | FloatOp::ChannelAffine { .. })
}

/// The nodes that `outputs` depend on.
fn needed(graph: &FloatGraph, outputs: &[ValueId]) -> IdVec<NodeId, bool> {
    let mut values: IdVec<ValueId, bool> = graph.values.iter().map(|_| false).collect();
    for &output in outputs {
        values[output] = true;
    }
    let mut nodes: IdVec<NodeId, bool> = graph.nodes.iter().map(|_| false).collect();
    for (id, node) in graph.nodes.iter_enumerated().rev() {
        if values[node.output] {
            nodes[id] = true;
            for &input in &node.inputs {
                values[input] = true;
            }
        }
    }
    nodes
}

/// Marks the nodes that the pass of their only reader can take over.
fn mark_absorbed(
    graph: &FloatGraph,
    outputs: &[ValueId],
    fusion: Fusion,
    absorbed: &mut IdVec<NodeId, bool>,
) {
    let consumers = graph.consumers();
    for (id, node) in graph.nodes.iter_enumerated() {
        let [reader] = consumers[node.output].as_slice() else {
            continue;
        };
        if outputs.contains(&node.output) {
            continue;
        }
        let reader = &graph.nodes[*reader].op;
        absorbed[id] = if is_scaling(&node.op) {
            activation_of(reader).is_some()
                || (fusion == Fusion::Fused && matches!(reader, FloatOp::Add))
        } else if matches!(node.op, FloatOp::Add) {
            activation_of(reader).is_some()
        } else {
            false
        };
    }
}

/// Makes `halo` at least as wide as `need`.
fn widen(halo: &mut Halo, need: Halo) {
    for (have, need) in halo.iter_mut().zip(need) {
        *have = (*have).max(need);
    }
}

/// The input position of a window's tap, unless it is padding.
pub fn tap_position(
    window: &Window,
    axis: usize,
    out: usize,
    tap: usize,
    extent: usize,
) -> Option<usize> {
    (out * window.stride[axis] + tap * window.dilation[axis])
        .checked_sub(window.pads[axis])
        .filter(|&at| at < extent)
}
