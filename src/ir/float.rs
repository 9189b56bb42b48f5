//! The float graph: a ConvNet as ONNX states it, without the batch dimension.
//!
//! Every value is a feature map of `channels x height x width` (a vector has height and width 1);
//! data are in channel-major order, as in ONNX. Nodes stand in topological order.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::ids::{IdVec, NodeId, ValueId};

pub use super::float_ops::{
    Axis, Binary, Coordinates, Interpolation, OutputLayout, Rearrange, Resize, Tap, Unary,
    WithConstant, int8,
};

/// The extent of a value: one image, channel-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl Shape {
    /// A feature map.
    pub const fn map(c: usize, h: usize, w: usize) -> Self {
        Self { c, h, w }
    }
    /// A vector.
    pub const fn vector(c: usize) -> Self {
        Self { c, h: 1, w: 1 }
    }
    /// Elements in all.
    pub const fn len(self) -> usize {
        self.c * self.h * self.w
    }
    /// Whether it holds nothing.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// Pixels of one channel.
    pub const fn pixels(self) -> usize {
        self.h * self.w
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.c, self.h, self.w)
    }
}

/// A sliding window, shared by convolution and pooling. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Extent in taps.
    pub kernel: [usize; 2],
    /// Step.
    pub stride: [usize; 2],
    /// Padding `[top, left, bottom, right]`, as in ONNX.
    pub pads: [usize; 4],
    /// Distance between taps.
    pub dilation: [usize; 2],
}

impl Window {
    /// A `1 x 1` window of stride 1.
    pub const UNIT: Window = Window {
        kernel: [1, 1],
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
    };

    /// The taps' reach along `axis` (0 vertical, 1 horizontal).
    pub fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }
    /// Output height and width over an input of `h x w`, or `None` if the window does not fit.
    pub fn output(&self, h: usize, w: usize) -> Option<[usize; 2]> {
        let one = |n: usize, axis: usize| {
            let padded = n + self.pads[axis] + self.pads[axis + 2];
            padded
                .checked_sub(self.extent(axis))
                .map(|room| room / self.stride[axis] + 1)
        };
        Some([one(h, 0)?, one(w, 1)?])
    }
    /// Whether every position of the window covers at least one element of an input of `h x w`: a
    /// pooling window over padding alone has no value.
    pub fn meets(&self, h: usize, w: usize) -> bool {
        let Some(output) = self.output(h, w) else {
            return false;
        };
        let one = |axis: usize, n: usize| {
            (0..output[axis]).all(|o| {
                (0..self.kernel[axis]).any(|k| {
                    let at = o * self.stride[axis] + k * self.dilation[axis];
                    (self.pads[axis]..self.pads[axis] + n).contains(&at)
                })
            })
        };
        one(0, h) && one(1, w)
    }
    /// Taps.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// A convolution's weights and geometry.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Weights in the order `[out_channel][in_channel of the group][ky][kx]` (ONNX's OIHW).
    pub weight: Vec<f32>,
    /// One a channel, if any.
    pub bias: Option<Vec<f32>>,
    /// Output channels.
    pub out_channels: usize,
    /// Input channels of one group.
    pub group_channels: usize,
    /// Groups: 1 is an ordinary convolution; as many as input channels is depthwise.
    pub groups: usize,
    /// Kernel, strides, pads, dilation.
    pub window: Window,
}

impl Conv {
    /// Weights of one output channel.
    pub fn row_len(&self) -> usize {
        self.group_channels * self.window.taps()
    }
    /// Whether every output channel reads one input channel only.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.group_channels == 1
    }
}

/// A fully connected layer: `out x in` weights in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// `[out][in]`.
    pub weight: Vec<f32>,
    /// One an output, if any.
    pub bias: Option<Vec<f32>>,
    /// Rows.
    pub out_features: usize,
    /// Columns.
    pub in_features: usize,
}

/// Normalisation per channel: `gamma * (x - mean) / sqrt(var + epsilon) + beta`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Scale.
    pub gamma: Vec<f32>,
    /// Shift.
    pub beta: Vec<f32>,
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running variance.
    pub var: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

impl BatchNorm {
    /// The same function as `scale * x + shift`, per channel.
    pub fn affine(&self) -> (Vec<f32>, Vec<f32>) {
        let mut scale = Vec::with_capacity(self.gamma.len());
        let mut shift = Vec::with_capacity(self.gamma.len());
        for c in 0..self.gamma.len() {
            let s = f64::from(self.gamma[c])
                / (f64::from(self.var[c]) + f64::from(self.epsilon)).sqrt();
            scale.push(s as f32);
            shift.push((f64::from(self.beta[c]) - s * f64::from(self.mean[c])) as f32);
        }
        (scale, shift)
    }
}

/// Padding by a constant; each pair is `[before, after]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pad {
    /// Channels added.
    pub c: [usize; 2],
    /// Rows added.
    pub h: [usize; 2],
    /// Columns added.
    pub w: [usize; 2],
    /// What they hold.
    pub value: f32,
}

/// Every `step`-th element from `start` on: `count` of them along each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First element `[c, h, w]`.
    pub start: [usize; 3],
    /// Distance `[c, h, w]`, at least 1.
    pub step: [usize; 3],
    /// Elements kept `[c, h, w]`.
    pub count: [usize; 3],
}

/// What a node computes. [`FloatOp::Add`] and [`FloatOp::Binary`] have two inputs,
/// [`FloatOp::Concat`] has any number, all others have one.
#[derive(Clone, Debug, PartialEq)]
pub enum FloatOp {
    /// Convolution.
    Conv(Conv),
    /// Fully connected; the input is a vector.
    Dense(Dense),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// `scale * x + shift` per channel.
    ChannelAffine {
        /// One a channel.
        scale: Vec<f32>,
        /// One a channel.
        shift: Vec<f32>,
    },
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// Elementwise sum of two values of one shape.
    Add,
    /// Maximum over a window; padding never wins.
    MaxPool(Window),
    /// Mean over a window.
    AvgPool {
        /// The window.
        window: Window,
        /// Whether padding counts as zeros in the mean.
        count_include_pad: bool,
    },
    /// Mean over all pixels of a channel.
    GlobalAvgPool,
    /// A feature map read as a vector in channel-major order.
    Flatten,
    /// Constant padding.
    Pad(Pad),
    /// Strided selection.
    Slice(Slice),
    /// Softmax over the channels of each pixel.
    Softmax,
    /// A function of each element.
    Unary(Unary),
    /// `x` above zero, `slope[c] * x` below: one slope a channel, which training leaves alone.
    PRelu(Vec<f32>),
    /// A function of two values; each axis has one extent in both, or extent 1 in one.
    Binary(Binary),
    /// A function of a value and a constant.
    WithConstant(WithConstant),
    /// Values one behind the other along an axis.
    Concat(Axis),
    /// The elements at these positions along an axis, in this order.
    Select {
        /// The axis.
        axis: Axis,
        /// Positions; any may be left out or stand several times.
        indices: Vec<usize>,
    },
    /// The channels read as `groups` rows, taken column by column (ShuffleNet).
    ChannelShuffle {
        /// Divides the number of channels.
        groups: usize,
    },
    /// A permutation of all elements.
    Rearrange(Rearrange),
    /// Resampling of rows and columns.
    Resize(Resize),
}

impl FloatOp {
    /// The ONNX-like name, for messages and the text form.
    pub fn name(&self) -> &'static str {
        match self {
            FloatOp::Conv(_) => "conv",
            FloatOp::Dense(_) => "dense",
            FloatOp::BatchNorm(_) => "batch_norm",
            FloatOp::ChannelAffine { .. } => "channel_affine",
            FloatOp::Relu => "relu",
            FloatOp::Relu6 => "relu6",
            FloatOp::Add => "add",
            FloatOp::MaxPool(_) => "max_pool",
            FloatOp::AvgPool { .. } => "avg_pool",
            FloatOp::GlobalAvgPool => "global_avg_pool",
            FloatOp::Flatten => "flatten",
            FloatOp::Pad(_) => "pad",
            FloatOp::Slice(_) => "slice",
            FloatOp::Softmax => "softmax",
            FloatOp::Unary(f) => f.name(),
            FloatOp::PRelu(_) => "prelu",
            FloatOp::Binary(_) => "binary",
            FloatOp::WithConstant(_) => "with_constant",
            FloatOp::Concat(_) => "concat",
            FloatOp::Select { .. } => "select",
            FloatOp::ChannelShuffle { .. } => "channel_shuffle",
            FloatOp::Rearrange(_) => "rearrange",
            FloatOp::Resize(_) => "resize",
        }
    }
    /// How many inputs it takes.
    pub fn arity(&self) -> RangeInclusive<usize> {
        match self {
            FloatOp::Add | FloatOp::Binary(_) => 2..=2,
            FloatOp::Concat(_) => 1..=usize::MAX,
            _ => 1..=1,
        }
    }
    /// The output shape over these inputs, or what is wrong with them.
    pub fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        if !self.arity().contains(&inputs.len()) {
            return Err(format!(
                "{} takes {} inputs, not {}",
                self.name(),
                self.arity().start(),
                inputs.len()
            ));
        }
        let x = inputs[0];
        let channels = |n: usize| {
            if n == x.c {
                Ok(x)
            } else {
                Err(format!("{} channels of parameters for {} of input", n, x.c))
            }
        };
        let windowed = |w: &Window, c: usize| {
            w.output(x.h, x.w)
                .map(|[h, w]| Shape::map(c, h, w))
                .ok_or_else(|| {
                    format!(
                        "a window of {}x{} does not fit in {x}",
                        w.extent(0),
                        w.extent(1)
                    )
                })
        };
        match self {
            FloatOp::Conv(conv) => {
                if conv.groups * conv.group_channels != x.c {
                    return Err(format!(
                        "weights for {} input channels, input has {}",
                        conv.groups * conv.group_channels,
                        x.c
                    ));
                }
                windowed(&conv.window, conv.out_channels)
            }
            FloatOp::Dense(dense) => {
                if x != Shape::vector(dense.in_features) {
                    return Err(format!(
                        "weights for {} inputs, input is {x}",
                        dense.in_features
                    ));
                }
                Ok(Shape::vector(dense.out_features))
            }
            FloatOp::BatchNorm(bn) => channels(bn.gamma.len()),
            FloatOp::ChannelAffine { scale, .. } => channels(scale.len()),
            FloatOp::Relu | FloatOp::Relu6 => Ok(x),
            FloatOp::Add => {
                if inputs[1] == x {
                    Ok(x)
                } else {
                    Err(format!("adds {x} and {}", inputs[1]))
                }
            }
            FloatOp::MaxPool(window) | FloatOp::AvgPool { window, .. } => windowed(window, x.c),
            FloatOp::GlobalAvgPool => Ok(Shape::vector(x.c)),
            FloatOp::Flatten => Ok(Shape::vector(x.len())),
            FloatOp::Pad(p) => Ok(Shape::map(
                x.c + p.c[0] + p.c[1],
                x.h + p.h[0] + p.h[1],
                x.w + p.w[0] + p.w[1],
            )),
            FloatOp::Slice(s) => {
                for (axis, n) in [x.c, x.h, x.w].into_iter().enumerate() {
                    let last = s.start[axis] + s.count[axis].saturating_sub(1) * s.step[axis];
                    if s.count[axis] == 0 || last >= n {
                        return Err(format!(
                            "slice reaches element {last} of {n} on axis {axis}"
                        ));
                    }
                }
                Ok(Shape::map(s.count[0], s.count[1], s.count[2]))
            }
            FloatOp::Softmax | FloatOp::Unary(_) => Ok(x),
            FloatOp::PRelu(slope) => channels(slope.len()),
            FloatOp::Binary(f) => (x.broadcast(inputs[1]))
                .ok_or_else(|| format!("{} of {x} and {}", f.name(), inputs[1])),
            FloatOp::WithConstant(w) => (x.broadcast(w.shape))
                .filter(|&out| out == x)
                .ok_or_else(|| format!("{} of {x} and a constant {}", w.op.name(), w.shape)),
            FloatOp::Concat(axis) => {
                let mut out = x.with_extent(*axis, 0);
                for &input in inputs {
                    if input.with_extent(*axis, 0) != out.with_extent(*axis, 0) {
                        return Err(format!("joins {x} and {input} along {}", axis.name()));
                    }
                    out = out.with_extent(*axis, out.extent(*axis) + input.extent(*axis));
                }
                Ok(out)
            }
            FloatOp::Select { axis, indices } => {
                let extent = x.extent(*axis);
                match indices.iter().find(|&&i| i >= extent) {
                    None => Ok(x.with_extent(*axis, indices.len())),
                    Some(i) => Err(format!(
                        "takes element {i} of {extent} along {}",
                        axis.name()
                    )),
                }
            }
            FloatOp::ChannelShuffle { groups } => {
                if *groups > 0 && x.c.is_multiple_of(*groups) {
                    Ok(x)
                } else {
                    Err(format!("shuffles {} channels in {groups} groups", x.c))
                }
            }
            FloatOp::Rearrange(r) => {
                let factors = r.factors.iter().try_fold(1usize, |n, &f| n.checked_mul(f));
                if factors == Some(x.len()) && r.shape.len() == x.len() && r.is_permutation() {
                    Ok(r.shape)
                } else {
                    Err(format!(
                        "rearranges {x} as {:?} in the order {:?} to {}",
                        r.factors, r.perm, r.shape
                    ))
                }
            }
            FloatOp::Resize(r) => Ok(Shape::map(x.c, r.size[0], r.size[1])),
        }
    }
}

/// A value: the graph's input or what a node gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The ONNX tensor's name.
    pub name: String,
    /// Its extent.
    pub shape: Shape,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The ONNX node's name (or its output's, where it has none).
    pub name: String,
    /// What it computes.
    pub op: FloatOp,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it gives.
    pub output: ValueId,
}

/// A network of one input and one or more outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatGraph {
    /// The model's name.
    pub name: String,
    /// All values.
    pub values: IdVec<ValueId, Value>,
    /// All nodes, in topological order.
    pub nodes: IdVec<NodeId, Node>,
    /// The input (`None` only in a graph under construction).
    pub input: Option<ValueId>,
    /// The outputs.
    pub outputs: Vec<ValueId>,
    /// How the file lays each output out; empty if all are as in the graph.
    pub output_layouts: Vec<OutputLayout>,
}

impl FloatGraph {
    /// The input's id; every verified graph has one.
    pub fn input(&self) -> ValueId {
        self.input.expect("a verified graph has an input")
    }
    /// The extent of the input.
    pub fn input_shape(&self) -> Shape {
        self.values[self.input()].shape
    }
    /// The extent of a value.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.values[value].shape
    }
    /// The node that gives `value`, if it is not the input.
    pub fn producer(&self, value: ValueId) -> Option<NodeId> {
        self.nodes
            .iter_enumerated()
            .find(|(_, n)| n.output == value)
            .map(|(id, _)| id)
    }
    /// The nodes that read each value, indexed by value.
    pub fn consumers(&self) -> IdVec<ValueId, Vec<NodeId>> {
        let mut all: IdVec<ValueId, Vec<NodeId>> = self.values.iter().map(|_| Vec::new()).collect();
        for (id, node) in self.nodes.iter_enumerated() {
            for &input in &node.inputs {
                all[input].push(id);
            }
        }
        all
    }
    /// The graph without what its outputs do not need, values numbered in the order in which they
    /// are given (the input first). Gives the new id of every node that is kept, by its old one.
    ///
    /// Two graphs that differ only in numbering and dead nodes become equal.
    pub fn renumbered(&self) -> (FloatGraph, BTreeMap<NodeId, NodeId>) {
        let mut needed: IdVec<ValueId, bool> = self.values.iter().map(|_| false).collect();
        for &output in &self.outputs {
            needed[output] = true;
        }
        for (_, node) in self.nodes.iter_enumerated().rev() {
            if needed[node.output] {
                for &input in &node.inputs {
                    needed[input] = true;
                }
            }
        }
        let mut graph = FloatGraph {
            name: self.name.clone(),
            ..FloatGraph::default()
        };
        let mut values = BTreeMap::new();
        if let Some(input) = self.input {
            let id = graph.values.push(self.values[input].clone());
            values.insert(input, id);
            graph.input = Some(id);
        }
        let mut nodes = BTreeMap::new();
        for (old, node) in self.nodes.iter_enumerated() {
            if !needed[node.output] {
                continue;
            }
            let output = graph.values.push(self.values[node.output].clone());
            values.insert(node.output, output);
            let id = graph.nodes.push(Node {
                inputs: node.inputs.iter().map(|v| values[v]).collect(),
                output,
                ..node.clone()
            });
            nodes.insert(old, id);
        }
        graph.outputs = self.outputs.iter().map(|v| values[v]).collect();
        graph.output_layouts.clone_from(&self.output_layouts);
        (graph, nodes)
    }
    /// How the file lays output `index` out.
    pub fn output_layout(&self, index: usize) -> OutputLayout {
        self.output_layouts.get(index).cloned().unwrap_or_else(|| {
            let shape = self.shape(self.outputs[index]);
            OutputLayout {
                pixel_major: false,
                dims: match shape.pixels() {
                    1 => vec![shape.c],
                    _ => shape.extents().to_vec(),
                },
            }
        })
    }
    /// Output `index` of one image, channel-major, in the order of the file: an array of the extents
    /// [`OutputLayout::dims`].
    ///
    /// # Panics
    /// If `data` has not as many elements as the output.
    pub fn output_as_in_file(&self, index: usize, data: &[f32]) -> Vec<f32> {
        let shape = self.shape(self.outputs[index]);
        assert_eq!(data.len(), shape.len(), "elements of output {index}");
        if !self.output_layout(index).pixel_major {
            return data.to_vec();
        }
        let pixels = shape.pixels();
        (0..pixels)
            .flat_map(|p| (0..shape.c).map(move |c| data[c * pixels + p]))
            .collect()
    }
    /// Multiply-accumulates of one node, all weights live.
    pub fn macs(&self, node: NodeId) -> u64 {
        let node = &self.nodes[node];
        let out = self.shape(node.output);
        match &node.op {
            FloatOp::Conv(conv) => (out.len() * conv.row_len()) as u64,
            FloatOp::Dense(dense) => dense.weight.len() as u64,
            _ => 0,
        }
    }
}
