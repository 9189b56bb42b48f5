//! Nested sparse storage: see [`nest_format::NestedStream`].

use nest_kernels::layer::Tile;
use nest_kernels::{Kernel, conv_nested_scratch_words, max_columns};

use crate::ir::int::IntConv;
use crate::ir::program::{EncodedStream, Payload};

use super::conv::ConvLayer;
use super::encode_stream;
use super::step::Chosen;

/// A layer over its whole input, whose rows fit.
///
/// # Errors
/// Counts beyond 16 bits.
pub(super) fn fully_connected(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    let stream = encode_stream(
        op.out_channels,
        conv.row(),
        conv.levels,
        &op.weight,
        op.weight_levels.as_deref(),
    )?;
    let (weight_bytes, index_bytes) = stream_bytes(&stream);
    let requant = op.requant.clone();
    Ok(Chosen {
        weight_bytes,
        index_bytes,
        ..Chosen::plain(
            "dense",
            Kernel::DenseNested,
            Payload::DenseNested { stream, requant },
        )
    })
}

/// A convolution whose rows fit; of several groups, the other groups' weights are zeros.
///
/// # Errors
/// Extents and counts beyond 16 bits.
pub(super) fn conv(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    let geometry = conv.geometry()?;
    let columns = usize::from(conv.columns()?);
    let (weights, level_of) = over_all_channels(op, conv.x.c);
    let stream = encode_stream(
        op.out_channels,
        columns,
        conv.levels,
        &weights,
        level_of.as_deref(),
    )?;
    let tile = tile(columns, conv.y.pixels());
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
                requant: op.requant.clone(),
                pad: conv.pad.clone(),
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

/// Rows over all input channels, zero outside a row's group.
pub(super) fn over_all_channels(op: &IntConv, channels: usize) -> (Vec<i8>, Option<Vec<u8>>) {
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

/// Bytes of weights and of everything else in a stream.
fn stream_bytes(stream: &EncodedStream) -> (u64, u64) {
    let stored = (stream.words.iter())
        .flat_map(|&w| [0, 1].map(|half| nest_format::Entry::of(w, half).weight))
        .filter(|&w| w != 0)
        .count() as u64;
    let all = 4 * stream.words.len() as u64 + 2 * stream.prefix.len() as u64;
    (stored, all - stored)
}
