//! From a layer to a step.

use nest_kernels::layer::Geometry;
use nest_kernels::{Kernel, kernel_for};

use crate::diag::Diagnostic;
use crate::ir::float::{Shape, Window};
use crate::ir::ids::TensorId;
use crate::ir::int::{IntBinary, IntGraph, IntLayer, IntMove, IntOp, ModelCounts};
use crate::ir::program::{Payload, Step};
use crate::passes::cost;
use crate::units::{Bytes, Cycles, Macs};

use super::choose::Preferences;
use super::conv::{self, ConvLayer};

/// Bytes of one [`nest_format::Requant`] in flash.
const REQUANT_BYTES: u64 = size_of::<nest_format::Requant>() as u64;
const ADD_BYTES: u64 = size_of::<nest_format::AddParams>() as u64;

/// What the choice of a kernel settles.
pub(super) struct Chosen {
    /// The operator for reports.
    pub op: &'static str,
    /// The kernel.
    pub kernel: Kernel,
    /// What it runs.
    pub payload: Payload,
    /// Scratch it needs, in 32-bit words.
    pub scratch_words: usize,
    /// Flash for weight values.
    pub weight_bytes: u64,
    /// Flash for all that tells where they belong.
    pub index_bytes: u64,
}

impl Chosen {
    /// Estimated cycles at every level.
    pub fn cycles(&self, conv: &ConvLayer<'_>) -> Vec<Cycles> {
        (0..conv.levels)
            .map(|level| cost::cycles(&self.payload, conv.y.len(), level))
            .collect()
    }

    /// A step without weights or scratch.
    pub fn plain(op: &'static str, kernel: Kernel, payload: Payload) -> Self {
        Self {
            op,
            kernel,
            payload,
            scratch_words: 0,
            weight_bytes: 0,
            index_bytes: 0,
        }
    }
}

/// Why a layer has no step.
pub(super) enum Fault {
    /// An extent is too large for what counts it.
    Extent(String),
    /// Said in full.
    Other(Diagnostic),
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault::Extent(message)
    }
}

/// The step for `layer`.
pub(super) fn step(
    graph: &IntGraph,
    layer: &IntLayer,
    preferences: &Preferences,
) -> Result<Step, Fault> {
    let levels = graph.sparsities.len();
    let x = graph.tensors[layer.inputs[0]].shape;
    let y = graph.tensors[layer.output].shape;
    let pad = zero_points(graph, layer.inputs[0]);
    let mut candidates = Vec::new();
    let chosen = match &layer.op {
        IntOp::Conv(op) => {
            let conv = ConvLayer {
                op,
                levels,
                x,
                y,
                pad,
            };
            let chosen;
            (chosen, candidates) = conv::choose(&conv, &layer.name, preferences)?;
            chosen
        }
        IntOp::Add(params) => Chosen::plain("add", Kernel::Add, Payload::Add(params.clone())),
        IntOp::MaxPool(window) => Chosen::plain(
            "max_pool",
            Kernel::MaxPool,
            Payload::MaxPool(geometry(window, x, y)?),
        ),
        IntOp::AvgPool {
            window,
            count_include_pad,
            requant,
        } => Chosen::plain(
            "avg_pool",
            Kernel::AvgPool,
            Payload::AvgPool {
                geometry: geometry(window, x, y)?,
                count_include_pad: *count_include_pad,
                pad,
                requant: requant.clone(),
            },
        ),
        IntOp::GlobalAvgPool(requant) => Chosen::plain(
            "global_avg_pool",
            Kernel::GlobalAvgPool,
            Payload::GlobalAvgPool {
                pixels: summed_pixels(x)?,
                channels: narrow(x.c, "channels")?,
                requant: requant.clone(),
            },
        ),
        IntOp::Clamp(bounds) => {
            Chosen::plain("clamp", Kernel::Clamp, Payload::Clamp(bounds.clone()))
        }
        IntOp::Pad { c, h, w, value } => Chosen::plain(
            "pad",
            Kernel::Pad,
            Payload::Pad {
                input: hwc(x)?,
                before: hwc(Shape::map(c[0], h[0], w[0]))?,
                output: hwc(y)?,
                value: value.clone(),
            },
        ),
        IntOp::Softmax(tables) => Chosen::plain(
            "softmax",
            Kernel::Softmax,
            Payload::Softmax {
                channels: narrow(x.c, "channels")?,
                table: tables.clone(),
            },
        ),
        IntOp::Lookup(tables) => {
            Chosen::plain("lookup", Kernel::Lookup, Payload::Lookup(tables.clone()))
        }
        IntOp::Move(inputs) => Chosen::plain("move", Kernel::Move, Payload::Move(inputs.clone())),
        IntOp::Binary {
            operation,
            constant,
        } => {
            let other = match constant {
                Some(constant) => constant.shape,
                None => graph.tensors[layer.inputs[1]].shape,
            };
            Chosen::plain(
                "binary",
                Kernel::Binary,
                Payload::Binary {
                    operation: operation.clone(),
                    a: hwc(x)?,
                    b: hwc(other)?,
                    output: hwc(y)?,
                    constant: constant.as_ref().map(|c| c.data.clone()),
                },
            )
        }
        IntOp::PRelu(params) => Chosen::plain(
            "prelu",
            Kernel::PRelu,
            Payload::PRelu {
                zero: pad,
                params: params.clone(),
            },
        ),
        IntOp::Resize { rows, columns } => Chosen::plain(
            "resize",
            Kernel::Resize,
            Payload::Resize {
                input: hwc(x)?,
                rows: rows.clone(),
                columns: columns.clone(),
            },
        ),
    };
    let counts = match &layer.op {
        IntOp::Conv(conv) => conv.model_counts(levels),
        _ => ModelCounts {
            out_channels: y.c,
            weights: 0,
            nonzero: vec![0; levels],
        },
    };
    let live_weights = match &layer.op {
        IntOp::Conv(conv) => conv.weight.len() as u64,
        _ => 0,
    };
    // Every weight meets every output pixel once.
    let macs = |weights: u64| Macs(weights * y.pixels() as u64);
    let estimated_cycles = (0..levels)
        .map(|level| cost::cycles(&chosen.payload, y.len(), level))
        .collect();
    Ok(Step {
        name: layer.name.clone(),
        op: chosen.op,
        kernel: kernel_for(chosen.kernel),
        payload: chosen.payload,
        same_as: None,
        inputs: layer.inputs.clone(),
        output: layer.output,
        scratch_words: chosen.scratch_words,
        scratch_offset: 0,
        macs: macs(counts.weights),
        live_macs: macs(live_weights),
        effective_macs: counts.nonzero.iter().map(|&n| macs(n)).collect(),
        nonzero_weights: counts.nonzero,
        weights: counts.weights,
        model_channels: counts.out_channels,
        weight_bytes: Bytes(chosen.weight_bytes),
        index_bytes: Bytes(chosen.index_bytes),
        requant_bytes: Bytes(constant_bytes(&layer.op)),
        estimated_cycles,
        candidates,
    })
}

fn zero_points(graph: &IntGraph, tensor: TensorId) -> Vec<i8> {
    (graph.tensors[tensor].quant.iter())
        .map(|q| q.zero_point)
        .collect()
}

pub(super) fn narrow(n: usize, what: &str) -> Result<u16, String> {
    u16::try_from(n).map_err(|_| format!("{n} {what}, and kernels count up to 65535"))
}

fn summed_pixels(x: Shape) -> Result<u32, String> {
    at_most(MOST_SUMMED, x.pixels(), "pixels")?;
    Ok(x.pixels() as u32)
}

fn hwc(shape: Shape) -> Result<[u16; 3], String> {
    Ok([
        narrow(shape.h, "rows")?,
        narrow(shape.w, "columns")?,
        narrow(shape.c, "channels")?,
    ])
}

/// Elements that a 32-bit accumulator can sum: of activations alone, and of products with weights.
const MOST_SUMMED: usize = 1 << 23;
pub(super) const MOST_PRODUCTS: usize = 1 << 17;

pub(super) fn at_most(limit: usize, n: usize, what: &str) -> Result<(), String> {
    if n <= limit {
        Ok(())
    } else {
        Err(format!("{n} {what}, and 32 bits hold the sum of {limit}"))
    }
}

pub(super) fn geometry(window: &Window, x: Shape, y: Shape) -> Result<Geometry, String> {
    at_most(MOST_SUMMED, window.taps(), "taps")?;
    Ok(Geometry {
        in_h: narrow(x.h, "input rows")?,
        in_w: narrow(x.w, "input columns")?,
        in_c: narrow(x.c, "input channels")?,
        out_h: narrow(y.h, "output rows")?,
        out_w: narrow(y.w, "output columns")?,
        out_c: narrow(y.c, "output channels")?,
        kernel_h: narrow(window.kernel[0], "taps down")?,
        kernel_w: narrow(window.kernel[1], "taps across")?,
        stride_h: narrow(window.stride[0], "rows of stride")?,
        stride_w: narrow(window.stride[1], "columns of stride")?,
        dilation_h: narrow(window.dilation[0], "rows of dilation")?,
        dilation_w: narrow(window.dilation[1], "columns of dilation")?,
        pad_top: narrow(window.pads[0], "rows of padding")?,
        pad_left: narrow(window.pads[1], "columns of padding")?,
    })
}

/// Flash for constants and tables.
fn constant_bytes(op: &IntOp) -> u64 {
    let table = |t: &[Vec<nest_format::Requant>]| {
        t.iter().map(|l| l.len() as u64).sum::<u64>() * REQUANT_BYTES
    };
    match op {
        IntOp::Conv(conv) => table(&conv.requant),
        IntOp::AvgPool { requant, .. } => table(requant),
        IntOp::GlobalAvgPool(requant) => requant.len() as u64 * REQUANT_BYTES,
        IntOp::Add(params) => params.len() as u64 * ADD_BYTES,
        IntOp::Clamp(bounds) => 2 * bounds.len() as u64,
        IntOp::Pad { value, .. } => value.len() as u64,
        IntOp::Softmax(tables) => tables.len() as u64 * 1024,
        IntOp::Lookup(tables) => tables.len() as u64 * 256,
        IntOp::Move(inputs) => inputs.iter().map(move_bytes).sum(),
        IntOp::Binary {
            operation,
            constant,
        } => {
            let each = match operation {
                IntBinary::Sum(_) => ADD_BYTES,
                IntBinary::Product(_) => size_of::<nest_format::ProductParams>() as u64,
                IntBinary::Least(_) | IntBinary::Largest(_) => 2 * ADD_BYTES,
            };
            let constant = constant.as_ref().map_or(0, |c| c.data.len() as u64);
            operation.levels() as u64 * each + constant
        }
        IntOp::PRelu(params) => params.iter().map(|l| l.len() as u64).sum::<u64>() * ADD_BYTES,
        IntOp::Resize { rows, columns } => {
            (rows.len() + columns.len()) as u64 * size_of::<nest_kernels::layer::Tap>() as u64
        }
        IntOp::MaxPool(_) => 0,
    }
}

/// Flash for an input's loops and tables, with 32-bit pointers.
fn move_bytes(input: &IntMove) -> u64 {
    const LAYER: u64 = 24;
    const NEST: u64 = 16;
    let loops: u64 = input.nests.iter().map(|n| n.loops.len() as u64).sum();
    let tables = input.tables.as_ref().map_or(0, |t| t.len() as u64 * 256);
    let of_loops = loops * size_of::<nest_kernels::layer::Loop>() as u64;
    LAYER + NEST * input.nests.len() as u64 + of_loops + tables
}
