//! What a batch is trained towards: labels, another network's outputs, or both.

use rayon::prelude::*;

use super::engine::{Engine, Mode, Params, Prepared};
use super::options::{Source, TrainOptions};
use super::recipe::loss::{Loss, Scratch, Target, image_loss, raw_loss, top1};

/// Images that a thread takes at once.
const IMAGES: usize = 16;

/// A network that is learnt from.
#[derive(Debug)]
pub(super) struct Teacher {
    pub params: Params,
    pub prepared: Prepared,
}

impl Teacher {
    /// All outputs for the loaded images.
    pub fn outputs(&self, engine: &mut Engine) -> Vec<Vec<f32>> {
        engine.forward(&self.params, &self.prepared, Mode::Running, None);
        read_all(engine)
    }
}

/// All outputs of the forward pass just run.
pub(super) fn read_all(engine: &Engine) -> Vec<Vec<f32>> {
    let slots = &engine.plan().outputs;
    slots.iter().map(|&slot| engine.read(slot)).collect()
}

/// Who learns from whom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lessons {
    /// Share of distillation in the loss of all levels but the densest.
    pub share: f64,
    /// And of the densest.
    pub densest_share: f64,
    /// Whether all but the densest learn from the densest.
    pub from_densest: bool,
}

impl Lessons {
    /// What `options` ask for; `labels` says whether there are any that count.
    pub fn new(options: &TrainOptions, labels: bool) -> Self {
        let distillation = options.distillation;
        let share = options.loss.distillation(labels, distillation.share);
        let labels_alone = options.loss == Loss::Auto && labels;
        Self {
            share,
            densest_share: match distillation.from {
                Source::InPlace if labels_alone => 0.0,
                _ => share,
            },
            from_densest: distillation.from != Source::Given && share > 0.0,
        }
    }

    /// Whether the given network is needed, in a run of `levels` levels.
    pub fn need_given(&self, levels: usize) -> bool {
        self.densest_share > 0.0 || levels > 1 && self.share > 0.0 && !self.from_densest
    }
}

/// A batch's targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Targets<'a> {
    /// The labels of all images of the data set.
    pub labels: Option<&'a [u32]>,
    pub smoothing: f64,
    /// The outputs to learn from.
    pub teacher: Option<&'a [Vec<f32>]>,
    pub share: f64,
    pub temperature: f64,
    /// For networks that do not classify, each output's factor ([`raw_loss`]); empty for classifiers.
    pub scales: &'a [f64],
}

/// Sums over images.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub images: usize,
    pub loss: f64,
    pub right: usize,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.images += other.images;
        self.loss += other.loss;
        self.right += other.right;
    }
}

impl Targets<'_> {
    /// The gradient of the mean loss by each output, and the batch's sums. `batch` are the images'
    /// numbers in the data set.
    pub fn batch_loss(&self, outputs: &[Vec<f32>], batch: &[u32]) -> (Vec<Vec<f32>>, Tally) {
        let mut sum = Tally::default();
        let gradients = (outputs.iter().enumerate())
            .map(|(ix, output)| {
                let (gradient, tally) = self.output_loss(ix, output, batch);
                sum.add(tally);
                gradient
            })
            .collect();
        sum.images = batch.len();
        (gradients, sum)
    }

    fn output_loss(&self, ix: usize, output: &[f32], batch: &[u32]) -> (Vec<f32>, Tally) {
        let len = output.len() / batch.len();
        let teacher = self.teacher.map(|t| t[ix].as_slice());
        let weight = 1.0 / batch.len() as f64;
        let mut gradient = vec![0.0; output.len()];
        let parts: Vec<Tally> = (gradient.par_chunks_mut(IMAGES * len))
            .zip(output.par_chunks(IMAGES * len))
            .enumerate()
            .map(|(part, (gradient, output))| {
                let mut scratch = Scratch::default();
                let mut tally = Tally::default();
                let images = gradient.chunks_exact_mut(len).zip(output.chunks_exact(len));
                for (i, (gradient, output)) in images.enumerate() {
                    let image = part * IMAGES + i;
                    let teacher = teacher.map(|t| &t[image * len..][..len]);
                    if let Some(&scale) = self.scales.get(ix) {
                        if let Some(teacher) = teacher {
                            tally.loss += raw_loss(output, teacher, scale, weight, gradient);
                        }
                        continue;
                    }
                    let label = self.labels.map(|l| l[batch[image] as usize]);
                    let target = Target {
                        label,
                        smoothing: self.smoothing,
                        teacher,
                        distillation: self.share,
                        temperature: self.temperature,
                    };
                    tally.loss += image_loss(output, target, weight, gradient, &mut scratch);
                    tally.right += usize::from(label.is_some_and(|l| top1(output) == l as usize));
                }
                tally
            })
            .collect();
        let mut sum = Tally::default();
        parts.into_iter().for_each(|part| sum.add(part));
        (gradient, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::options::Distillation;

    fn lessons(loss: Loss, from: Source, labels: bool) -> (f64, f64, bool, bool) {
        let options = TrainOptions {
            loss,
            distillation: Distillation {
                from,
                share: Some(0.4),
                temperature: 1.0,
            },
            ..TrainOptions::default()
        };
        let l = Lessons::new(&options, labels);
        (l.share, l.densest_share, l.from_densest, l.need_given(3))
    }

    #[test]
    fn who_learns_from_whom() {
        use Loss::{Auto, Distill, Labels};
        use Source::{Chain, Given, InPlace};
        assert_eq!(lessons(Auto, Given, true), (0.4, 0.4, false, true));
        assert_eq!(lessons(Auto, InPlace, true), (0.4, 0.0, true, false));
        assert_eq!(lessons(Auto, Chain, true), (0.4, 0.4, true, true));
        assert_eq!(lessons(Auto, InPlace, false), (1.0, 1.0, true, true));
        assert_eq!(lessons(Distill, InPlace, true), (1.0, 1.0, true, true));
        assert_eq!(lessons(Distill, Given, false), (1.0, 1.0, false, true));
        assert_eq!(lessons(Labels, InPlace, true), (0.0, 0.0, false, false));
    }

    #[test]
    fn raw_losses_of_all_outputs_add_up() {
        let teacher = [vec![1.0, 1.0], vec![0.0; 4]];
        let outputs = [vec![2.0, 1.0], vec![0.0, 2.0, 0.0, 0.0]];
        let targets = Targets {
            labels: None,
            smoothing: 0.0,
            teacher: Some(&teacher),
            share: 1.0,
            temperature: 1.0,
            scales: &[0.5, 0.25],
        };
        let (gradients, tally) = targets.batch_loss(&outputs, &[7, 8]);
        // First image: 0.5 + 0.25 * 4; second: nothing. Gradients are of the mean over both.
        assert_eq!((tally.images, tally.loss), (2, 1.5));
        assert_eq!(gradients[0], [0.5, 0.0]);
        assert_eq!(gradients[1], [0.0, 0.5, 0.0, 0.0]);
    }
}
