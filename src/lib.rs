//! nestc compiles pretrained ONNX ConvNets into nested-sparse int8 firmware for Cortex-M7.
//!
//! Modules stand in data-flow order: each may import only from those above it
//! (`tests/tidy.rs` holds the order). `ARCHITECTURE.md` is the map.

pub mod units;

pub mod diag;

pub mod ir;

pub mod import;

pub mod export;

pub mod data;

pub mod detect;

pub mod train;

pub mod passes;

pub mod target;

pub mod report;

pub mod emit;

pub mod image;

pub mod emulator;

pub mod bench;

pub mod study;

pub mod cli;
