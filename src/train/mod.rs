//! Nested training on the CPU, and float inference for calibration and checks.

mod engine;
mod inference;
mod math;
#[cfg(test)]
mod reference;
#[allow(dead_code)]
mod simd;

pub use inference::Inference;
