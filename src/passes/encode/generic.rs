//! Any convolution: plain weights, 32-bit accumulators.

use nest_kernels::Kernel;

use crate::ir::program::Payload;

use super::conv::ConvLayer;
use super::step::{Chosen, MOST_PRODUCTS, at_most, narrow};

/// A convolution whose levels hold the same weights.
///
/// # Errors
/// Extents beyond 16 bits, rows beyond what 32 bits can sum.
pub(super) fn conv(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    at_most(MOST_PRODUCTS, conv.row(), "weights in a row")?;
    let payload = Payload::ConvGeneric {
        geometry: conv.geometry()?,
        groups: narrow(op.groups, "groups")?,
        weights: op.weight.clone(),
        requant: op.requant.clone(),
        pad: conv.pad.clone(),
    };
    Ok(Chosen {
        weight_bytes: op.weight.len() as u64,
        ..Chosen::plain("conv2d", Kernel::ConvGeneric, payload)
    })
}
