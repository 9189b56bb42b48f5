//! What is asked of training and what it reports.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ir::nested::NestedModel;

use super::recipe::loss::Loss;
use super::recipe::routing::Routing;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Sparsity of each level, 0 (dense) to below 1, in any order.
    pub levels: Vec<f64>,
    /// Passes over the training images.
    pub epochs: usize,
    /// What the levels are trained towards.
    pub loss: Loss,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Images a step.
    pub batch: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// Threads to work with; as many as the machine has cores without it. The result does not
    /// depend on it.
    pub threads: Option<usize>,
    /// Go on from `checkpoint` if it is there.
    pub resume: bool,
    /// Where the state is kept after every epoch. It is left there at the end.
    pub checkpoint: PathBuf,
    /// How the levels' gradients meet in shared weights.
    pub routing: Routing,
    /// Whether half of the pictures are mirrored.
    pub flip: bool,
    /// Weight decay of convolution and fully connected weights.
    pub weight_decay: f32,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            levels: vec![0.9, 0.8, 0.5],
            epochs: 10,
            loss: Loss::Auto,
            learning_rate: 0.05,
            batch: 256,
            seed: 1,
            threads: None,
            resume: false,
            checkpoint: PathBuf::from("nestc-train.checkpoint"),
            routing: Routing::OwnerMean,
            flip: true,
            weight_decay: 5e-4,
        }
    }
}

/// What one level did in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelEpoch {
    /// Mean training loss.
    pub loss: f64,
    /// Share of augmented training images classified right, where there are labels.
    pub training_accuracy: Option<f64>,
    /// Share of validation images classified right, where there are such.
    pub accuracy_top1: Option<f64>,
}

/// What happened in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochSummary {
    /// Counted from 0.
    pub epoch: usize,
    /// Sparsest first.
    pub levels: Vec<LevelEpoch>,
    /// Share of the prunable weights that each level left out at the end of the epoch.
    pub sparsity: Vec<f64>,
    /// How long it took, validation included.
    #[serde(skip)]
    pub seconds: f64,
    /// Training images a second, each counted once however many levels it trained.
    #[serde(skip)]
    pub images_per_second: f64,
}

/// Told how training goes; the library itself prints nothing.
pub trait Progress {
    /// Epoch `epoch` (from 0) of `epochs` begins; it has `steps` steps.
    fn epoch_started(&mut self, epoch: usize, epochs: usize, steps: usize) {
        let _ = (epoch, epochs, steps);
    }
    /// Step `step` (from 0) of the epoch is done.
    fn step(&mut self, step: usize, images_per_second: f64) {
        let _ = (step, images_per_second);
    }
    /// An epoch is over and its checkpoint written.
    fn epoch_finished(&mut self, summary: &EpochSummary) {
        let _ = summary;
    }
    /// Asked after every epoch: whether to stop here, with the model as it is. A later run may
    /// resume from the checkpoint.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// No progress is shown.
impl Progress for () {}

/// What training gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The nested model.
    pub model: NestedModel,
    /// How it went.
    pub report: TrainReport,
}

/// A level at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelReport {
    /// 0 is the sparsest.
    pub level: usize,
    /// Share of the prunable weights that are zero.
    pub sparsity: f64,
    /// Share of validation images classified right, where there are labels.
    pub accuracy_top1: Option<f64>,
    /// Mean cross-entropy over the validation images, or the last epoch's training loss without.
    pub loss: f64,
}

/// How training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// Sparsest first.
    pub levels: Vec<LevelReport>,
    /// Training images a second, over the epochs of this run.
    pub images_per_second: f64,
    /// This run's duration.
    pub seconds: f64,
    /// The process's largest resident set, where the system tells.
    pub peak_rss_bytes: Option<u64>,
    /// Epochs trained, those before a resumption included.
    pub epochs: usize,
    /// The epoch that this run resumed at, if it did.
    pub resumed_at: Option<usize>,
}

/// The process's largest resident set so far, where the system tells.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
