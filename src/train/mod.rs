//! Nested training on the CPU, and float inference for calibration and checks.
//!
//! [`train`] makes a nested model from a dense network; [`evaluate`] measures one; [`Inference`] runs
//! a float graph. All three stand on the `engine`, which computes with the kernels of `simd`.
//!
//! **Determinism.** The same arguments give the same bits with any number of threads and with any
//! instruction set: sums over images are taken per block of sixteen and then in block order,
//! multiply-add is fused everywhere or nowhere, and no function of the platform's mathematical
//! library decides anything that is trained.

pub mod batch_norm;
mod check;
mod checkpoint;
mod driver;
mod engine;
mod evaluate;
mod inference;
mod log;
mod math;
mod one_shot;
mod options;
mod recipe;
mod record;
#[cfg(test)]
mod reference;
mod simd;
mod state;
pub mod stopwatch;
mod targets;

pub use driver::train;
pub use evaluate::{Evaluation, evaluate};
pub use inference::Inference;
pub use one_shot::one_shot;
pub use options::{
    Allocation, Distillation, EpochSummary, LevelEpoch, LevelReport, LevelWeights, Method, Outlook,
    Progress, Pruning, RateShape, Recipe, Schedule, Source, TrainOptions, TrainReport, Trained,
    peak_rss_bytes,
};
pub use recipe::loss::Loss;
pub use recipe::routing::Routing;
pub use record::{depends_on, hash_of_data};
