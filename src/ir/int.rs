//! The integer graph: the network after quantisation, before weights are encoded and memory is
//! planned. Feature maps are `height x width x channels`; operators are fused (a convolution
//! carries its normalisation and activation in its requantisation constants).

use nest_format::{AddParams, ProductParams, Requant};
use nest_kernels::layer::{Loop, Tap};

use super::float::{Shape, Window};
use super::ids::{IdVec, LayerId, TensorId};

/// How int8 stands for reals: `real = scale * (q - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// Step.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: i8,
}

/// An activation tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct IntTensor {
    /// The ONNX tensor's name.
    pub name: String,
    /// Extent; data are in `h, w, c` order.
    pub shape: Shape,
    /// One a level.
    pub quant: Vec<Quant>,
}

/// Per level, one [`Requant`] an output channel.
pub type RequantTable = Vec<Vec<Requant>>;

/// A convolution, fully connected layers included (a `1 x 1` window over a `1 x 1` map).
#[derive(Clone, Debug, PartialEq)]
pub struct IntConv {
    /// Kernel, strides, pads, dilation.
    pub window: Window,
    /// Output channels.
    pub out_channels: usize,
    /// Input channels of one group.
    pub group_channels: usize,
    /// Groups.
    pub groups: usize,
    /// `[out channel][ky][kx][in channel of the group]`.
    pub weight: Vec<i8>,
    /// The sparsest level that holds each weight (255 = none); `None`: all levels hold all.
    pub weight_levels: Option<Vec<u8>>,
    /// Constants.
    pub requant: RequantTable,
    /// Float scale of each output channel's weights, for reports and the text form.
    pub weight_scale: Vec<f32>,
    /// What the model has, if dead channels were removed.
    pub model: Option<ModelCounts>,
}

/// What a convolution was in the model, before dead channels were removed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCounts {
    /// Output channels.
    pub out_channels: usize,
    /// Weights, zero or not.
    pub weights: u64,
    /// Non-zero weights, one a level.
    pub nonzero: Vec<u64>,
}

impl IntConv {
    /// Counts of the model's layer, at `levels` levels.
    pub fn model_counts(&self, levels: usize) -> ModelCounts {
        self.model.clone().unwrap_or_else(|| {
            let mut nonzero = vec![0; levels];
            for (i, &w) in self.weight.iter().enumerate() {
                let first = (self.weight_levels.as_ref()).map_or(0, |l| usize::from(l[i]));
                if w != 0 {
                    nonzero.iter_mut().skip(first).for_each(|n| *n += 1);
                }
            }
            ModelCounts {
                out_channels: self.out_channels,
                weights: self.weight.len() as u64,
                nonzero,
            }
        })
    }
}

/// Loops in loops that copy elements: see [`nest_kernels::layer::Nest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntNest {
    /// The first element of the input, in `h, w, c` order.
    pub from: u32,
    /// The first element of the output.
    pub to: u32,
    /// Outermost first.
    pub loops: Vec<Loop>,
}

/// What one input gives to a layer that moves elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntMove {
    /// What goes where.
    pub nests: Vec<IntNest>,
    /// What elements become where the output is quantised otherwise, one table a level; the entry of
    /// `x` is number `x as u8`.
    pub tables: Option<Vec<[i8; 256]>>,
}

impl IntMove {
    /// Calls `each` with every pair of an input's element and the output's element it goes to.
    pub fn each(&self, each: &mut dyn FnMut(usize, usize)) {
        fn walk(loops: &[Loop], from: usize, to: usize, each: &mut dyn FnMut(usize, usize)) {
            let Some((&[count, from_step, to_step], inner)) = loops.split_first() else {
                return each(from, to);
            };
            for i in 0..count as usize {
                walk(
                    inner,
                    from + i * from_step as usize,
                    to + i * to_step as usize,
                    each,
                );
            }
        }
        for nest in &self.nests {
            walk(&nest.loops, nest.from as usize, nest.to as usize, each);
        }
    }
}

/// A function of two elements with its constants, one a level: see
/// [`nest_kernels::layer::Operation`].
#[derive(Clone, Debug, PartialEq)]
pub enum IntBinary {
    /// A weighted sum.
    Sum(Vec<AddParams>),
    /// A product.
    Product(Vec<ProductParams>),
    /// The smaller of both.
    Least(Vec<[AddParams; 2]>),
    /// The larger of both.
    Largest(Vec<[AddParams; 2]>),
}

impl IntBinary {
    /// How many levels it has constants for.
    pub fn levels(&self) -> usize {
        match self {
            IntBinary::Sum(params) => params.len(),
            IntBinary::Product(params) => params.len(),
            IntBinary::Least(params) | IntBinary::Largest(params) => params.len(),
        }
    }
    /// The function at a level.
    pub fn apply(&self, level: usize, a: i8, b: i8) -> i8 {
        match self {
            IntBinary::Sum(params) => params[level].apply(a, b),
            IntBinary::Product(params) => params[level].apply(a, b),
            IntBinary::Least(params) => {
                let [p, q] = &params[level];
                p.apply(a, 0).min(q.apply(b, 0))
            }
            IntBinary::Largest(params) => {
                let [p, q] = &params[level];
                p.apply(a, 0).max(q.apply(b, 0))
            }
        }
    }
}

/// A constant operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntConstant {
    /// Its extent: each axis is the output's, or 1.
    pub shape: Shape,
    /// In `h, w, c` order.
    pub data: Vec<i8>,
}

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub enum IntOp {
    /// Convolution or fully connected layer, with fused normalisation and activation.
    Conv(IntConv),
    /// Sum of two tensors of one shape, with fused activation; one a level.
    Add(Vec<AddParams>),
    /// Maximum over a window; input and output share their quantisation.
    MaxPool(Window),
    /// Mean over a window; requantisation by `[level][taps that count - 1]`.
    AvgPool {
        /// The window.
        window: Window,
        /// Whether padding counts.
        count_include_pad: bool,
        /// Constants.
        requant: RequantTable,
    },
    /// Mean over all pixels; one constant a level.
    GlobalAvgPool(Vec<Requant>),
    /// Clamp to `[low, high]`, one a level; input and output share their quantisation.
    Clamp(Vec<[i8; 2]>),
    /// Constant padding `[before, after]` of c, h, w; the value is the input's zero point (or the
    /// quantised constant), one a level; input and output share their quantisation.
    Pad {
        /// Channels.
        c: [usize; 2],
        /// Rows.
        h: [usize; 2],
        /// Columns.
        w: [usize; 2],
        /// One a level.
        value: Vec<i8>,
    },
    /// Softmax over the channels of each pixel; one table a level (see
    /// [`nest_kernels::layer::Softmax`]).
    Softmax(Vec<[u32; 256]>),
    /// A function of each element; one table a level, the entry of `x` is number `x as u8`.
    Lookup(Vec<[i8; 256]>),
    /// Elements of any number of inputs in other places, one [`IntMove`] an input. Together they give
    /// every element of the output once.
    Move(Vec<IntMove>),
    /// A function of two elements, where an axis of extent 1 serves a longer one.
    Binary {
        /// The function.
        operation: IntBinary,
        /// The second operand, where it is no tensor.
        constant: Option<IntConstant>,
    },
    /// A slope above zero and one below: `[level][channel]` (see [`nest_kernels::layer::PRelu`]).
    PRelu(Vec<Vec<AddParams>>),
    /// Linear interpolation (see [`nest_kernels::layer::Resize`]); input and output share their
    /// quantisation.
    Resize {
        /// One an output row.
        rows: Vec<Tap>,
        /// One an output column.
        columns: Vec<Tap>,
    },
}

impl IntOp {
    /// How many tensors it reads.
    pub fn arity(&self) -> usize {
        match self {
            IntOp::Add(_) | IntOp::Binary { constant: None, .. } => 2,
            IntOp::Move(inputs) => inputs.len(),
            _ => 1,
        }
    }
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct IntLayer {
    /// The ONNX node's name.
    pub name: String,
    /// What it computes.
    pub op: IntOp,
    /// What it reads, [`IntOp::arity`] tensors.
    pub inputs: Vec<TensorId>,
    /// What it gives.
    pub output: TensorId,
}

/// A quantised network.
#[derive(Clone, Debug, PartialEq)]
pub struct IntGraph {
    /// The model's name.
    pub name: String,
    /// Share of zero weights at each level, sparsest level first.
    pub sparsities: Vec<f64>,
    /// All activations.
    pub tensors: IdVec<TensorId, IntTensor>,
    /// All layers in execution order.
    pub layers: IdVec<LayerId, IntLayer>,
    /// The input; one quantisation for all levels.
    pub input: TensorId,
    /// The outputs.
    pub outputs: Vec<TensorId>,
}
