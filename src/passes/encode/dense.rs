//! Weights stored one by one, zeros included: see [`nest_format::DenseWeights`].

use nest_kernels::{Kernel, conv_dense_scratch_words};

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

/// A convolution of one group whose rows fit and whose levels hold the same weights.
///
/// # Errors
/// Extents beyond 16 bits.
pub(super) fn conv(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    let geometry = conv.geometry()?;
    let columns = conv.columns()?;
    let words = dense_words(op.out_channels, usize::from(columns), &op.weight);
    Ok(Chosen {
        scratch_words: conv_dense_scratch_words(&geometry),
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
            },
        )
    })
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
