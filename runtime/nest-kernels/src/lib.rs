//! int8 kernels of ConvNets, run by the host and by the device alike.
//!
//! Feature maps are `height x width x channels` (NHWC without N), int8. A layer is a validated
//! value from [`layer`]; the functions at the root run one layer at one level. On a Cortex-M with
//! the DSP extension they dispatch to `armv7em`, elsewhere to [`reference`]: the results are equal
//! bit by bit, which the tests of nestc prove over shapes, strides, pads and tails.
#![no_std]

pub mod layer;
