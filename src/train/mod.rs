//! Nested training on the CPU, and float inference for calibration and checks.

mod inference;
mod reference;
#[allow(dead_code)]
mod simd;

pub use inference::Inference;
