//! Kernels for Cortex-M with the DSP extension (ARMv7E-M), scheduled for the Cortex-M7.
//!
//! The inner loops are assembly in the `.s` files beside this one, each with its contract at its
//! head; the Rust around them walks the windows, packs activations and sees to the tails. Their code
//! lies in sections `.nest.itcm.*`, which an image may place in instruction TCM; without such a
//! placement they end up beside the rest of the text.

mod conv_block;
mod conv_compact;
mod conv_dense;
mod conv_nested;
mod dense;
mod depthwise;
mod depthwise_strip;
mod elementwise;
mod generic;
mod maps;
mod moving;
mod pack;
mod pack16;
mod pool;
mod window;

// These only move elements, take one element at a time, or run once a network: the reference serves
// the device, too.
pub use crate::reference::{binary, binary_in_place, pad, prelu, prelu_in_place, resize, softmax};
pub use conv_block::conv_block;
pub use conv_compact::conv_compact;
pub use conv_dense::{conv_dense, conv_dense_in_place};
pub use conv_nested::{conv_nested, conv_nested_in_place};
pub use dense::{dense_nested, fully_connected};
pub use depthwise::{depthwise, depthwise_in_place};
pub use elementwise::{add, add_in_place, clamp, clamp_in_place};
pub use generic::conv_generic;
pub use moving::{lookup, lookup_in_place, move_elements};
pub use pool::{avg_pool, global_avg_pool, max_pool};

/// The whole words of a part of the arena, for scratch.
pub fn words(bytes: &mut [i8]) -> &mut [u32] {
    // SAFETY: any bits are a word, and any bits of a word are bytes.
    unsafe { bytes.align_to_mut().1 }
}
