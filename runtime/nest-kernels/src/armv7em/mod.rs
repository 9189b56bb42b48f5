//! Kernels for Cortex-M with the DSP extension (ARMv7E-M), scheduled for the Cortex-M7.
//!
//! The inner loops are assembly in the `.s` files beside this one, each with its contract at its
//! head; the Rust around them walks the windows, packs activations and sees to the tails. Their code
//! lies in sections `.nest.itcm.*`, which an image may place in instruction TCM; without such a
//! placement they end up beside the rest of the text.

mod conv;
mod elementwise;
mod pack;

pub use crate::reference::{
    avg_pool, clamp, clamp_in_place, conv_generic, dense_nested, depthwise, fully_connected,
    global_avg_pool, max_pool, pad, slice, softmax,
};
pub use conv::{conv_dense, conv_nested};
pub use elementwise::{add, add_in_place};
