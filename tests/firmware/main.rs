//! Emitted workspaces: they compile, are clean, hold what they should, and compute on the device
//! what the host computes.

mod boards;
mod boxes;
#[path = "../cli/golden.rs"]
mod golden;
mod networks;
mod probe;
mod qemu;
mod real;
mod refusals;
mod sample;
mod small;
mod support;
