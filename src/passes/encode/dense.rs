//! Weights stored one by one, zeros included: see [`nest_format::DenseWeights`].

use nest_format::DenseWeights;
use nest_kernels::{Kernel, conv_dense_scratch_words, dense_tiles_within};

use crate::ir::program::Payload;

use super::conv::ConvLayer;
use super::step::{Chosen, narrow};

/// A layer over its whole input whose levels hold the same weights.
///
/// # Errors
/// Extents beyond 16 bits.
pub(super) fn fully_connected(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    let payload = Payload::FullyConnected {
        weights: op.weight.clone(),
        columns: narrow(conv.row(), "columns of weights")?,
        requant: op.requant.clone(),
    };
    Ok(Chosen {
        weight_bytes: op.weight.len() as u64,
        ..Chosen::plain("dense", Kernel::FullyConnected, payload)
    })
}

/// Words of scratch that a layer takes by default: where the weights stay in a data cache of 16 KiB,
/// and where they do not and each pass fetches them anew.
const SCRATCH_WORDS: [usize; 2] = [2816, 7168];

/// Bytes of weights above which passes should be few.
const CACHED_BYTES: usize = 12 << 10;

/// A convolution of one group whose levels hold the same weights.
///
/// # Errors
/// Extents beyond 16 bits.
pub(super) fn conv(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    let geometry = conv.geometry()?;
    let columns = conv.columns()?;
    let row = usize::from(columns);
    let mut words = vec![0; DenseWeights::words_for(op.out_channels, row)];
    let weight = |o: usize, column: usize| op.weight[o * row + column];
    DenseWeights::encode(op.out_channels, row, weight, &mut words);
    let few = 4 * words.len() > CACHED_BYTES;
    let pass_tiles = dense_tiles_within(&geometry, SCRATCH_WORDS[usize::from(few)]);
    Ok(Chosen {
        scratch_words: conv_dense_scratch_words(&geometry, pass_tiles),
        weight_bytes: op.weight.len() as u64,
        index_bytes: (4 * words.len() - op.weight.len()) as u64,
        ..Chosen::plain(
            "conv2d",
            Kernel::ConvDense,
            Payload::ConvDense {
                geometry,
                columns,
                words,
                requant: op.requant.clone(),
                pad: conv.pad.clone(),
                pass_tiles,
            },
        )
    })
}
