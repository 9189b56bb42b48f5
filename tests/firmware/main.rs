//! Emitted workspaces: they compile, are clean, hold what they should, and compute on the device
//! what the host computes.

mod real;
mod sample;
mod small;
mod support;
