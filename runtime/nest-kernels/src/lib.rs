//! int8 kernels of ConvNets, run by the host and by the device alike.
//!
//! Feature maps are `height x width x channels` (NHWC without N), int8. A layer is a validated
//! value from [`layer`]; the functions at the root run one layer at one level. On a Cortex-M with
//! the DSP extension they are those of `armv7em`, elsewhere those of [`reference`]: the results are
//! equal bit by bit, which the tests of nestc prove over shapes, strides, pads and tails.
//!
//! # Lengths
//! Every function takes slices of exactly the lengths its layer tells (scratch may be longer). A
//! call with other lengths, a level the layer does not have, or a layer that contradicts itself
//! (say, fewer requantisation constants than channels) is a bug of the caller: nothing is read,
//! nothing is written and, in builds with debug assertions, the call panics. Release builds carry
//! no panic code.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate alloc;

mod accept;
#[cfg(nest_armv7em)]
pub mod armv7em;
mod block_layout;
mod check;
mod dense_layout;
mod depthwise_layout;
pub mod layer;
mod nested_layout;
mod overlap;
pub mod reference;
mod table;

#[cfg(nest_armv7em)]
use armv7em as backend;
#[cfg(not(nest_armv7em))]
use reference as backend;

pub use accept::Demand;
pub use backend::{
    add, add_in_place, avg_pool, binary, binary_in_place, clamp, clamp_in_place, conv_block,
    conv_compact, conv_dense, conv_generic, conv_nested, dense_nested, depthwise,
    depthwise_in_place, fully_connected, global_avg_pool, lookup, lookup_in_place, max_pool,
    move_elements, pad, prelu, prelu_in_place, resize, softmax, words,
};
pub use block_layout::{block_tiles_within, conv_block_scratch_words};
// Elsewhere a model that needs these does not compile: the reference's need a heap.
#[cfg(any(nest_armv7em, not(target_os = "none")))]
pub use backend::{conv_dense_in_place, conv_nested_in_place};
pub use dense_layout::{DensePass, DensePasses, conv_dense_scratch_words, dense_tiles_within};
pub use depthwise_layout::{DepthwiseForm, DepthwiseStrips, depthwise_scratch_words};
pub use nested_layout::{
    Gather, NestedLayout, NestedPass, conv_compact_scratch_words, conv_nested_scratch_words,
};
pub use overlap::{conv_dense_least_distance, conv_nested_least_distance};
pub use table::{KERNELS, Kernel, KernelInfo, kernel_for, kernel_info};
