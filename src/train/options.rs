//! What is asked of training and what it reports.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ir::nested::NestedModel;

use super::recipe::loss::Loss;
use super::recipe::routing::Routing;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Sparsity of each level, 0 (dense) to below 1, in any order. What it is a share of is said by
    /// [`TrainOptions::allocation`] and [`TrainOptions::method`].
    pub levels: Vec<f64>,
    /// Passes over the training images; 0 prunes the given weights and trains nothing, which makes
    /// sense with [`TrainOptions::recalibrate`].
    pub epochs: usize,
    /// What the levels are trained towards.
    pub loss: Loss,
    /// Peak learning rate; without it [`usual_rate`] of the number of steps.
    pub learning_rate: Option<f32>,
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
    /// Share of their extent that pictures are shifted by at most, up and down, left and right, 0
    /// (not at all) to below 1.
    pub shift: f64,
    /// Weight decay of convolution and fully connected weights.
    pub weight_decay: f32,
    /// What a level leaves out.
    pub method: Method,
    /// How sparsity is spread over the layers.
    pub allocation: Allocation,
    /// When weights are cut.
    pub pruning: Pruning,
    /// Weights cut together: this many neighbouring input channels of one tap; 1 cuts each alone.
    pub block: usize,
    /// How much each level's loss counts, sparsest first; without it [`LevelWeights::usual`].
    pub level_weights: Option<LevelWeights>,
    /// Which levels a step trains.
    pub schedule: Schedule,
    /// What levels learn from beside labels.
    pub distillation: Distillation,
    /// Share of a label's probability that is spread evenly over all classes, 0 (none) to below 1.
    pub label_smoothing: f64,
    /// In this many last epochs a level's loss moves only the weights it adds ([`Routing::Hard`]).
    pub own_epochs: usize,
    /// In this many last epochs weights and activations are rounded as int8 inference rounds them,
    /// while gradients pass as if they were not.
    pub qat_epochs: usize,
    /// The learning rate's course.
    pub rate: RateShape,
    /// Epochs over which the learning rate rises to its peak, at most a quarter of all.
    pub warmup: f64,
    /// Decay a step of the running average of all parameters that becomes the model, 0 to below 1.
    pub average: Option<f64>,
    /// Whether the statistics of batch normalisation are measured anew at the end, level by level.
    pub recalibrate: bool,
    /// Batches that they are measured on.
    pub recalibration_batches: usize,
    /// Training images held out of training for the accuracies of every epoch: the last of a
    /// seeded permutation. With some, the validation set is read once, at the end.
    pub validation_split: usize,
    /// Where to write a line of JSON an epoch.
    pub log: Option<PathBuf>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            levels: vec![0.9, 0.8, 0.5],
            epochs: 10,
            loss: Loss::Auto,
            learning_rate: None,
            batch: 128,
            seed: 1,
            threads: None,
            resume: false,
            checkpoint: PathBuf::from("nestc-train.checkpoint"),
            routing: Routing::OwnerMean,
            flip: true,
            shift: 0.125,
            weight_decay: 5e-4,
            method: Method::Nested,
            allocation: Allocation::Global,
            pruning: Pruning::default(),
            block: 1,
            level_weights: None,
            schedule: Schedule::Sandwich(1),
            distillation: Distillation::default(),
            label_smoothing: 0.0,
            own_epochs: 0,
            qat_epochs: 0,
            rate: RateShape::Cosine,
            warmup: 1.0,
            average: Some(0.999),
            recalibrate: false,
            recalibration_batches: 32,
            validation_split: 0,
            log: None,
        }
    }
}

impl TrainOptions {
    /// The options that a recipe stands for.
    pub fn recipe(recipe: Recipe) -> Self {
        match recipe {
            Recipe::Default => Self::default(),
            Recipe::Paper => Self {
                routing: Routing::Hard,
                level_weights: Some(LevelWeights::default()),
                schedule: Schedule::All,
                average: None,
                pruning: Pruning::OneShot,
                block: 2,
                distillation: Distillation {
                    from: Source::InPlace,
                    share: Some(0.5),
                    temperature: 1.0,
                },
                ..Self::default()
            },
        }
    }
}

impl TrainOptions {
    /// The peak learning rate for `images` training images.
    pub(super) fn peak_rate(&self, images: usize) -> f32 {
        let kept = images.saturating_sub(self.validation_split);
        let steps = kept / self.batch.max(1) * self.epochs;
        (self.learning_rate).unwrap_or_else(|| usual_rate(steps))
    }

    /// How much each level counts.
    pub(super) fn weights_of_levels(&self) -> LevelWeights {
        let usual = || LevelWeights::usual(self.levels.len());
        self.level_weights.clone().unwrap_or_else(usual)
    }

    /// The same for `images` training images, with nothing left to be derived.
    pub(super) fn resolved(&self, images: usize) -> Self {
        Self {
            learning_rate: Some(self.peak_rate(images)),
            level_weights: Some(self.weights_of_levels()),
            ..self.clone()
        }
    }
}

/// The peak learning rate of a run of `steps` steps unless one is asked for.
///
/// A high rate shakes a trained network out of the minimum it is in, which pays only where the run
/// is long enough to find a better one for all levels: the usual rate from 2,000 steps on, falling
/// with the square root of the steps below.
pub fn usual_rate(steps: usize) -> f32 {
    const USUAL: f32 = 0.05;
    const LONG_RUN: f32 = 2000.0;
    let rate = USUAL * (steps as f32 / LONG_RUN).sqrt().min(1.0);
    // Two digits say enough, and read well in records.
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

/// A set of options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// What did best in nestc's own study.
    #[default]
    Default,
    /// The plain variant after Grimaldi et al., "Dynamic ConvNets on Tiny Devices via Nested
    /// Sparsity" (arXiv 2203.03324). Known of it: magnitude pruning in blocks of 1x2, gradient
    /// masking, in-place distillation. nestc's reading of the rest: masks are cut once, before
    /// fine-tuning, by one ranking over all layers; the share of distillation is a half; batch
    /// normalisation belongs to the level.
    Paper,
}

/// What a level leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Single weights (or blocks of them), by magnitude.
    #[default]
    Nested,
    /// Whole channels: a slimmable network. Every layer keeps the same share of its channels, so
    /// many that the level's multiply-accumulates are at most `1 - sparsity` of the network's.
    Width,
}

/// How sparsity is spread over the layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allocation {
    /// One ranking by magnitude; a level's sparsity is the share of all prunable weights it leaves
    /// out.
    #[default]
    Global,
    /// A ranking a layer; a level leaves the same share of every layer out.
    Uniform,
    /// One ranking by squared magnitude per multiply-accumulate; a level's multiply-accumulates, of
    /// all layers, are at most `1 - sparsity` of the network's.
    Macs,
}

/// When weights are cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pruning {
    /// Once, before the first step.
    OneShot,
    /// Little by little, along a cubic ramp.
    Gradual {
        /// Share of the steps after which every level is as sparse as asked, above 0, at most 1.
        end: f64,
        /// Steps between rankings.
        every: usize,
    },
}

impl Default for Pruning {
    fn default() -> Self {
        Self::Gradual {
            end: 0.5,
            every: 10,
        }
    }
}

/// How much each level's loss counts: moves evenly from a start to an end over the run. Only ratios
/// matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LevelWeights {
    /// At the first step, sparsest level first; empty for all alike.
    pub start: Vec<f64>,
    /// At the last step; empty for the same as at the start.
    pub end: Vec<f64>,
}

impl LevelWeights {
    /// All alike at the start; at the end the sparsest counts 4, the next 2, all others 1. What the
    /// denser levels need, they have weights of their own for; the sparsest has none.
    pub fn usual(levels: usize) -> Self {
        Self {
            start: vec![1.0; levels],
            end: (0..levels)
                .map(|l| f64::max(1.0, 4.0 / f64::powi(2.0, l as i32)))
                .collect(),
        }
    }
}

/// Which levels a step trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// All of them.
    #[default]
    All,
    /// The sparsest, the densest and this many of those between, drawn anew each step; the drawn
    /// ones count for those left out.
    Sandwich(usize),
    /// As [`Schedule::Sandwich`] while masks still change, all levels from then on.
    Late(usize),
}

/// What levels learn from beside labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distillation {
    /// Whose outputs.
    pub from: Source,
    /// Their share in the loss, 0 to 1; without it 0.7 with labels. [`Loss`] may overrule it.
    pub share: Option<f64>,
    /// Both distributions are softened by it.
    pub temperature: f64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self {
            from: Source::Given,
            share: None,
            temperature: super::recipe::loss::TEMPERATURE,
        }
    }
}

/// Whose outputs levels learn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The given network, which does not change.
    #[default]
    Given,
    /// The densest level as it is in this step. It learns from labels itself, or from the given
    /// network where there are none.
    InPlace,
    /// The densest level from the given network, the others from the densest level.
    Chain,
}

/// The learning rate's course after its rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateShape {
    /// Half a cosine, down to nothing.
    #[default]
    Cosine,
    /// A straight line, down to nothing.
    Linear,
    /// At its peak for this share of the steps, then half a cosine down to nothing.
    Hold(f64),
}

/// What one level did in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelEpoch {
    /// Mean training loss.
    pub loss: f64,
    /// Share of augmented training images classified right, where there are labels.
    pub training_accuracy: Option<f64>,
    /// Share of validation images classified right, where there are such: those held out
    /// ([`TrainOptions::validation_split`]), else those of the validation set.
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

/// What a run is going to need, said before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// Bytes that will be held at once, the images included.
    pub memory_bytes: u64,
    /// Images trained on.
    pub images: usize,
    /// Images held out of training.
    pub held_out: usize,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Multiply-accumulates of an inference of the dense network.
    pub dense_macs: u64,
}

/// Told how training goes; the library itself prints nothing.
pub trait Progress {
    /// Everything is found in order, and the first epoch is about to begin.
    fn begins(&mut self, outlook: &Outlook) {
        let _ = outlook;
    }
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
    /// Multiply-accumulates of an inference, those with weights the level leaves out not counted.
    pub macs: u64,
    /// Share of the validation set's images classified right, where there are labels.
    pub accuracy_top1: Option<f64>,
    /// The same of the images held out of training.
    pub held_out_accuracy_top1: Option<f64>,
    /// Mean cross-entropy over the validation set, else over the images held out, or the last epoch's
    /// training loss without either.
    pub loss: Option<f64>,
}

/// How training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// Sparsest first.
    pub levels: Vec<LevelReport>,
    /// All epochs, those before a resumption included.
    pub history: Vec<EpochSummary>,
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

#[cfg(test)]
mod tests {
    use super::usual_rate;

    #[test]
    fn short_runs_learn_more_carefully() {
        for (steps, rate) in [
            (0, 0.0),
            (20, 0.005),
            (300, 0.019),
            (2000, 0.05),
            (8000, 0.05),
        ] {
            assert_eq!(usual_rate(steps), rate, "{steps}");
        }
    }
}
