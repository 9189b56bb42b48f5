//! Nested sparse storage: see [`nest_format::NestedStream`].

use nest_kernels::layer::{Geometry, Tile};
use nest_kernels::{Kernel, NestedLayout};

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
pub(super) fn conv(conv: &ConvLayer<'_>, tile: Tile) -> Result<Chosen, String> {
    let op = conv.op;
    let geometry = conv.geometry()?;
    let layout = NestedLayout::of(&geometry, tile)
        .ok_or_else(|| format!("{} columns in tile {tile:?}", geometry.columns()))?;
    let (weights, level_of) = over_all_channels(op, conv.x.c);
    let stream = encode_stream(
        op.out_channels,
        layout.columns,
        conv.levels,
        &in_layout(&weights, &geometry, &layout),
        level_of
            .map(|l| in_layout(&l, &geometry, &layout))
            .as_deref(),
    )?;
    let pass_tiles = pass_tiles(&layout, 4 * stream.words.len());
    let (weight_bytes, index_bytes) = stream_bytes(&stream);
    Ok(Chosen {
        scratch_words: layout.scratch_words(pass_tiles.into()),
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
                pass_tiles,
            },
        )
    })
}

/// Rows of `(ky * kernel_w + kx) * in_c + ic`, in the order of a layout; words between blocks are 0.
pub(super) fn in_layout<T: Copy + Default>(
    values: &[T],
    g: &Geometry,
    layout: &NestedLayout,
) -> Vec<T> {
    let in_c = usize::from(g.in_c);
    let mut out = vec![T::default(); usize::from(g.out_c) * layout.columns];
    let rows = values.chunks_exact(g.columns().max(1));
    for (from, to) in rows.zip(out.chunks_exact_mut(layout.columns.max(1))) {
        let mut taps = from.chunks_exact(in_c.max(1));
        for ky in 0..usize::from(g.kernel_h) {
            for kx in 0..usize::from(g.kernel_w) {
                if let Some(tap) = taps.next() {
                    to[layout.word(ky, kx)..][..in_c].copy_from_slice(tap);
                }
            }
        }
    }
    out
}

/// Words of scratch that a layer takes by default: where the weights stay in a data cache of 16 KiB
/// beside the scratch, and where they do not and each pass fetches them anew.
const SCRATCH_WORDS: [usize; 2] = [2816, 6144];

/// Bytes of weights above which passes should be few.
const CACHED_BYTES: usize = 12 << 10;

/// Tiles of a pass, for weights of so many bytes.
pub(super) fn pass_tiles(layout: &NestedLayout, bytes: usize) -> u16 {
    let few = bytes > CACHED_BYTES;
    let tiles = layout.pass_tiles_within(SCRATCH_WORDS[usize::from(few)]);
    u16::try_from(tiles).unwrap_or(u16::MAX)
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
    let all = 4 * stream.words.len() + stream.count_bytes() * stream.prefix.len();
    let all = all as u64;
    (stored, all - stored)
}
