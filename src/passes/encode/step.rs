//! From a layer to a step.

use nest_kernels::layer::{Geometry, Slice, Tile};
use nest_kernels::{
    Kernel, conv_dense_scratch_words, conv_nested_scratch_words, depthwise_scratch_words,
    kernel_for, max_columns,
};

use crate::ir::float::{Shape, Window};
use crate::ir::ids::TensorId;
use crate::ir::int::{IntConv, IntGraph, IntLayer, IntOp};
use crate::ir::program::{Payload, Step};
use crate::units::{Bytes, Macs};

use super::{DENSE_SHARE, encode_stream, row_fits};

/// Bytes of one [`nest_format::Requant`] in flash.
const REQUANT_BYTES: u64 = size_of::<nest_format::Requant>() as u64;
const ADD_BYTES: u64 = size_of::<nest_format::AddParams>() as u64;

/// What the choice of a kernel settles.
struct Chosen {
    op: &'static str,
    kernel: Kernel,
    payload: Payload,
    scratch_words: usize,
    weight_bytes: u64,
    index_bytes: u64,
}

impl Chosen {
    fn plain(op: &'static str, kernel: Kernel, payload: Payload) -> Self {
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

/// The step for `layer`, or which extent is too large.
pub(super) fn step(graph: &IntGraph, layer: &IntLayer) -> Result<Step, String> {
    let levels = graph.sparsities.len();
    let x = graph.tensors[layer.inputs[0]].shape;
    let y = graph.tensors[layer.output].shape;
    let pad = zero_points(graph, layer.inputs[0]);
    let chosen = match &layer.op {
        IntOp::Conv(op) => conv(op, levels, x, y, pad)?,
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
        IntOp::Slice(s) => {
            let [c, h, w] = s.start;
            let [sc, sh, sw] = s.step;
            Chosen::plain(
                "slice",
                Kernel::Slice,
                Payload::Slice(Slice {
                    input: hwc(x)?,
                    start: hwc(Shape::map(c, h, w))?,
                    step: hwc(Shape::map(sc, sh, sw))?,
                    output: hwc(y)?,
                }),
            )
        }
        IntOp::Softmax(tables) => {
            Chosen::plain("softmax", Kernel::Softmax, Payload::Softmax(tables.clone()))
        }
    };
    let counts = Counts::of(&layer.op, levels, y);
    Ok(Step {
        name: layer.name.clone(),
        op: chosen.op,
        kernel: kernel_for(chosen.kernel),
        payload: chosen.payload,
        inputs: layer.inputs.clone(),
        output: layer.output,
        scratch_words: chosen.scratch_words,
        macs: Macs(counts.weights * counts.uses),
        effective_macs: (counts.nonzero.iter())
            .map(|n| Macs(n * counts.uses))
            .collect(),
        nonzero_weights: counts.nonzero,
        weights: counts.weights,
        weight_bytes: Bytes(chosen.weight_bytes),
        index_bytes: Bytes(chosen.index_bytes),
        requant_bytes: Bytes(constant_bytes(&layer.op)),
    })
}

fn zero_points(graph: &IntGraph, tensor: TensorId) -> Vec<i8> {
    (graph.tensors[tensor].quant.iter())
        .map(|q| q.zero_point)
        .collect()
}

fn narrow(n: usize, what: &str) -> Result<u16, String> {
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
const MOST_PRODUCTS: usize = 1 << 17;

fn at_most(limit: usize, n: usize, what: &str) -> Result<(), String> {
    if n <= limit {
        Ok(())
    } else {
        Err(format!("{n} {what}, and 32 bits hold the sum of {limit}"))
    }
}

fn geometry(window: &Window, x: Shape, y: Shape) -> Result<Geometry, String> {
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

fn conv(op: &IntConv, levels: usize, x: Shape, y: Shape, pad: Vec<i8>) -> Result<Chosen, String> {
    let nested = op.weight_levels.is_some();
    let row = op.group_channels * op.window.taps();
    let rows_fit = op
        .weight
        .chunks(row.max(1))
        .all(|r| row_fits(r.iter().copied()));
    let requant = op.requant.clone();
    if nested && !rows_fit {
        return Err("nested rows beyond the 23 bits of a packed sum".to_owned());
    }
    let whole_map = op.groups == 1
        && op.window.kernel == [x.h, x.w]
        && op.window.pads == [0; 4]
        && op.window.dilation == [1, 1]
        && y.pixels() == 1;
    let nonzero = op.weight.iter().filter(|&&w| w != 0).count();
    let dense = !nested && nonzero as f64 > DENSE_SHARE * op.weight.len() as f64;

    if whole_map {
        if dense || !rows_fit {
            let payload = Payload::FullyConnected {
                weights: op.weight.clone(),
                columns: narrow(row, "columns of weights")?,
                requant,
            };
            return Ok(Chosen {
                weight_bytes: op.weight.len() as u64,
                ..Chosen::plain("dense", Kernel::FullyConnected, payload)
            });
        }
        let stream = encode_stream(
            op.out_channels,
            row,
            levels,
            &op.weight,
            op.weight_levels.as_deref(),
        )?;
        let (weight_bytes, index_bytes) = stream_bytes(&stream);
        return Ok(Chosen {
            weight_bytes,
            index_bytes,
            ..Chosen::plain(
                "dense",
                Kernel::DenseNested,
                Payload::DenseNested { stream, requant },
            )
        });
    }

    let geometry = geometry(&op.window, x, y)?;
    if op.groups > 1 && !nested {
        if op.group_channels == 1 {
            return Ok(depthwise(op, geometry, requant, pad));
        }
        return generic(op, geometry, requant, pad);
    }
    if !rows_fit {
        return generic(op, geometry, requant, pad);
    }
    // Beyond 16 bits of columns only the generic kernel counts.
    let columns = x.c * op.window.taps();
    let Ok(columns16) = u16::try_from(columns) else {
        if nested {
            return Err(format!(
                "{columns} columns of nested weights, and kernels count up to 65535"
            ));
        }
        return generic(op, geometry, requant, pad);
    };
    if dense {
        let words = dense_words(op.out_channels, columns, &op.weight);
        return Ok(Chosen {
            scratch_words: conv_dense_scratch_words(&geometry),
            weight_bytes: op.weight.len() as u64,
            index_bytes: (4 * words.len() - op.weight.len()) as u64,
            ..Chosen::plain(
                "conv2d",
                Kernel::ConvDense,
                Payload::ConvDense {
                    geometry,
                    columns: columns16,
                    words,
                    requant,
                    pad,
                },
            )
        });
    }
    let (weights, level_of) = over_all_channels(op, x.c);
    let stream = encode_stream(
        op.out_channels,
        columns,
        levels,
        &weights,
        level_of.as_deref(),
    )?;
    let tile = tile(columns, y.pixels());
    let (weight_bytes, index_bytes) = stream_bytes(&stream);
    Ok(Chosen {
        scratch_words: conv_nested_scratch_words(&geometry, tile),
        weight_bytes,
        index_bytes,
        ..Chosen::plain(
            "conv2d",
            Kernel::ConvNested(tile),
            Payload::ConvNested {
                geometry,
                stream,
                requant,
                pad,
                tile,
            },
        )
    })
}

/// The largest tile whose columns fit and that the pixels fill at least half.
fn tile(columns: usize, pixels: usize) -> Tile {
    [(Tile::P8, 8), (Tile::P4, 4)]
        .into_iter()
        .find(|&(tile, n)| columns <= max_columns(tile) && pixels > n / 2)
        .map_or(Tile::P2, |(tile, _)| tile)
}

fn generic(
    op: &IntConv,
    geometry: Geometry,
    requant: Vec<Vec<nest_format::Requant>>,
    pad: Vec<i8>,
) -> Result<Chosen, String> {
    let row = op.group_channels * op.window.taps();
    at_most(MOST_PRODUCTS, row, "weights in a row")?;
    let payload = Payload::ConvGeneric {
        geometry,
        groups: narrow(op.groups, "groups")?,
        weights: op.weight.clone(),
        requant,
        pad,
    };
    Ok(Chosen {
        weight_bytes: op.weight.len() as u64,
        ..Chosen::plain("conv2d", Kernel::ConvGeneric, payload)
    })
}

fn depthwise(
    op: &IntConv,
    geometry: Geometry,
    requant: Vec<Vec<nest_format::Requant>>,
    pad: Vec<i8>,
) -> Chosen {
    let taps = op.window.taps();
    let weights = (0..taps * op.out_channels)
        .map(|i| op.weight[i % op.out_channels * taps + i / op.out_channels])
        .collect();
    let kernel = Kernel::Depthwise {
        kernel_3x3: op.window.kernel == [3, 3]
            && op.window.dilation == [1, 1]
            && op.out_channels == op.groups,
    };
    let scratch_words = depthwise_scratch_words(&geometry);
    let payload = Payload::Depthwise {
        geometry,
        weights,
        requant,
        pad,
    };
    Chosen {
        scratch_words,
        weight_bytes: op.weight.len() as u64,
        ..Chosen::plain("depthwise", kernel, payload)
    }
}

/// Rows over all input channels, zero outside a row's group.
fn over_all_channels(op: &IntConv, channels: usize) -> (Vec<i8>, Option<Vec<u8>>) {
    if op.groups == 1 {
        return (op.weight.clone(), op.weight_levels.clone());
    }
    let taps = op.window.taps();
    let columns = taps * channels;
    let group_out = op.out_channels / op.groups;
    let mut weights = vec![0; op.out_channels * columns];
    let mut levels = op.weight_levels.as_ref().map(|_| vec![0; weights.len()]);
    for o in 0..op.out_channels {
        let first = o / group_out * op.group_channels;
        for tap in 0..taps {
            for c in 0..op.group_channels {
                let from = (o * taps + tap) * op.group_channels + c;
                let to = o * columns + tap * channels + first + c;
                weights[to] = op.weight[from];
                if let (Some(levels), Some(of)) = (&mut levels, &op.weight_levels) {
                    levels[to] = of[from];
                }
            }
        }
    }
    (weights, levels)
}

/// See [`nest_format::DenseWeights`].
fn dense_words(rows: usize, columns: usize, weights: &[i8]) -> Vec<u32> {
    let blocks = columns.div_ceil(4);
    let mut words = Vec::with_capacity(rows.div_ceil(2) * blocks * 2);
    for pair in 0..rows.div_ceil(2) {
        for block in 0..blocks {
            for row in [2 * pair, 2 * pair + 1] {
                words.push(u32::from_le_bytes(std::array::from_fn(|i| {
                    let column = 4 * block + i;
                    if row < rows && column < columns {
                        weights[row * columns + column] as u8
                    } else {
                        0
                    }
                })));
            }
        }
    }
    words
}

/// Bytes of weights and of everything else in a stream.
fn stream_bytes(stream: &crate::ir::program::EncodedStream) -> (u64, u64) {
    let stored = (stream.words.iter())
        .flat_map(|&w| [0, 1].map(|half| nest_format::Entry::of(w, half).weight))
        .filter(|&w| w != 0)
        .count() as u64;
    let all = 4 * stream.words.len() as u64 + 2 * stream.prefix.len() as u64;
    (stored, all - stored)
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
        IntOp::MaxPool(_) | IntOp::Slice(_) => 0,
    }
}

/// Weights and how often each is used.
struct Counts {
    weights: u64,
    /// One a level.
    nonzero: Vec<u64>,
    /// Output pixels.
    uses: u64,
}

impl Counts {
    fn of(op: &IntOp, levels: usize, y: Shape) -> Self {
        let IntOp::Conv(conv) = op else {
            return Self {
                weights: 0,
                nonzero: vec![0; levels],
                uses: 0,
            };
        };
        let mut nonzero = vec![0; levels];
        for (i, &w) in conv.weight.iter().enumerate() {
            let first = (conv.weight_levels.as_ref()).map_or(0, |l| usize::from(l[i]));
            if w != 0 {
                nonzero.iter_mut().skip(first).for_each(|n| *n += 1);
            }
        }
        Self {
            weights: conv.weight.len() as u64,
            nonzero,
            uses: y.pixels() as u64,
        }
    }
}
