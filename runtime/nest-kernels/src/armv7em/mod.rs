//! Kernels for Cortex-M with the DSP extension (ARMv7E-M), scheduled for the Cortex-M7.

pub use crate::reference::{
    add, add_in_place, avg_pool, clamp, clamp_in_place, conv_dense, conv_generic, conv_nested,
    dense_nested, depthwise, fully_connected, global_avg_pool, max_pool, pad, slice, softmax,
};
