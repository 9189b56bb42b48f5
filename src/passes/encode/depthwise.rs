//! Depthwise convolution: the weights of a tap side by side.

use nest_kernels::{DepthwiseForm, Kernel, depthwise_scratch_words};

use crate::ir::program::Payload;

use super::conv::ConvLayer;
use super::step::Chosen;

/// A convolution of one input channel a group, whose levels hold the same weights.
///
/// # Errors
/// Extents beyond 16 bits.
pub(super) fn depthwise(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    let geometry = conv.geometry()?;
    let taps = op.window.taps();
    let weights = (0..taps * op.out_channels)
        .map(|i| op.weight[i % op.out_channels * taps + i / op.out_channels])
        .collect();
    let kernel = Kernel::Depthwise(DepthwiseForm::of(&geometry));
    let scratch_words = depthwise_scratch_words(&geometry);
    let payload = Payload::Depthwise {
        geometry,
        weights,
        requant: op.requant.clone(),
        pad: conv.pad.clone(),
    };
    Ok(Chosen {
        scratch_words,
        weight_bytes: op.weight.len() as u64,
        ..Chosen::plain("depthwise", kernel, payload)
    })
}
