//! Nested training on the CPU, and float inference for calibration and checks.

mod inference;
mod reference;

pub use inference::Inference;
