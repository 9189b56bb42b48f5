//! The training run: epochs, steps, levels.

use std::collections::BTreeMap;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::data::{Dataset, Pixels};
use crate::diag::{self, Diagnostic, Result};
use crate::ir::float::FloatGraph;
use crate::ir::ids::ValueId;
use crate::ir::nested::{LevelInfo, NestedModel};

use super::batch_norm;
use super::check;
use super::checkpoint::{self, Fingerprint};
use super::engine::{Engine, Fusion, Mode, Params, Prepared, Role};
use super::evaluate::{Evaluation, evaluate_params, logits_of};
use super::options::{
    EpochSummary, LevelEpoch, LevelReport, Progress, TrainOptions, TrainReport, Trained,
    peak_rss_bytes,
};
use super::recipe::augment::Augment;
use super::recipe::loss::{Target, image_loss, top1};
use super::recipe::masks::{RAMP, RANK_EVERY, ramp};
use super::recipe::optimiser::{cosine, nesterov};
use super::recipe::random::permutation;
use super::simd::Isa;
use super::state::{State, prunable};

/// Changes whenever the same options give other results, so that old checkpoints are refused.
const RECIPE: &str = "1";

/// Trains the levels of a nested model together, from `graph` as the dense network.
///
/// The result is a function of the arguments except [`TrainOptions::threads`],
/// [`TrainOptions::resume`] and [`TrainOptions::checkpoint`]: not of the number of threads, not of
/// the processor's instruction set, and not of where the run was interrupted and resumed.
///
/// # Errors
/// Before anything is computed, every fault of options, network and data; on the way, a loss that is
/// not a number, and what the operating system says about the checkpoint.
pub fn train(
    graph: &FloatGraph,
    train: &Dataset,
    validation: Option<&Dataset>,
    options: &TrainOptions,
    progress: &mut dyn Progress,
) -> Result<Trained> {
    check::training(graph, train, validation, options)?;
    let started = Instant::now();
    let mut run = Run::new(graph, train, validation, options)?;
    let mut resumed_at = None;
    if options.resume && checkpoint::load(&options.checkpoint, &run.fingerprint, &mut run.state)? {
        resumed_at = Some(run.state.epoch);
    }
    let first = run.state.epoch;
    let mut training_seconds = 0.0;
    for epoch in first..options.epochs {
        progress.epoch_started(epoch, options.epochs, run.steps);
        let summary = run.epoch(epoch, progress)?;
        training_seconds += (run.steps * options.batch) as f64 / summary.images_per_second;
        run.state.history.push(summary.clone());
        run.state.epoch = epoch + 1;
        run.require_finite()?;
        checkpoint::save(&options.checkpoint, &run.fingerprint, &mut run.state)?;
        progress.epoch_finished(&summary);
        if progress.should_stop() {
            break;
        }
    }
    let trained = (run.state.epoch - first) * run.steps * options.batch;
    run.require_finite()?;
    let (model, levels) = run.finish();
    Ok(Trained {
        report: TrainReport {
            levels,
            history: run.state.history.clone(),
            images_per_second: if training_seconds > 0.0 {
                trained as f64 / training_seconds
            } else {
                0.0
            },
            seconds: started.elapsed().as_secs_f64(),
            peak_rss_bytes: peak_rss_bytes(),
            epochs: run.state.epoch,
            resumed_at,
        },
        model,
    })
}

struct Run<'a> {
    train: &'a Dataset,
    validation: Option<&'a Dataset>,
    options: &'a TrainOptions,
    /// Sparsest first.
    sparsities: Vec<f64>,
    /// The given network with batch normalisation put back.
    graph: FloatGraph,
    engine: Engine,
    teacher: Option<(Params, Prepared)>,
    prepared: Vec<Prepared>,
    augment: Augment,
    distillation: f64,
    steps: usize,
    fingerprint: Fingerprint,
    state: State,
}

/// What an epoch sums up for a level.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    loss: f64,
    right: usize,
}

impl<'a> Run<'a> {
    fn new(
        given: &FloatGraph,
        train: &'a Dataset,
        validation: Option<&'a Dataset>,
        options: &'a TrainOptions,
    ) -> Result<Self> {
        let mut sparsities = options.levels.clone();
        sparsities.sort_by(|a, b| b.total_cmp(a));
        let threads = check::threads(options.threads)?;
        let graph = batch_norm::reinsert(given, train, threads.clone());
        if prunable(&graph).is_empty() {
            return Err(Diagnostic::new(
                diag::NOTHING_TO_PRUNE,
                format!("network {}", graph.name),
                "it has no convolution behind the first whose weights could be pruned",
                "give a network of two or more ungrouped convolutions",
            )
            .into());
        }
        let logits = logits_of(&graph, graph.outputs[0]);
        let engine = Engine::new(
            &graph,
            &[logits],
            Fusion::Fused,
            options.batch,
            true,
            Isa::detect(),
            threads,
        );
        let state = State::new(engine.plan(), &graph, sparsities.len());
        let distillation = options.loss.distillation(train.labels.is_some());
        let teacher = (distillation > 0.0).then(|| {
            let params = Params::of(engine.plan(), &graph);
            let mut prepared = Prepared::default();
            engine.prepare(&params, &[], &mut prepared);
            (params, prepared)
        });
        Ok(Self {
            fingerprint: fingerprint(given, train, options, &sparsities),
            augment: Augment::of(train, options.flip),
            prepared: vec![Prepared::default(); sparsities.len()],
            steps: train.len() / options.batch,
            train,
            validation,
            options,
            sparsities,
            graph,
            engine,
            teacher,
            distillation,
            state,
        })
    }

    fn epoch(&mut self, epoch: usize, progress: &mut dyn Progress) -> Result<EpochSummary> {
        let started = Instant::now();
        let order = permutation(self.options.seed, epoch, self.train.len());
        let mut tallies = vec![Tally::default(); self.sparsities.len()];
        for step in 0..self.steps {
            let batch = &order[step * self.options.batch..][..self.options.batch];
            self.step(epoch, step, batch, &mut tallies)?;
            let images = (step + 1) * self.options.batch;
            progress.step(step, images as f64 / started.elapsed().as_secs_f64());
        }
        let images = self.steps * self.options.batch;
        let images_per_second = images as f64 / started.elapsed().as_secs_f64();
        let evaluations = self.validate();
        let broken = |e: &Evaluation| e.loss.is_some_and(|loss| !loss.is_finite());
        if let Some(level) = evaluations.iter().position(broken) {
            let what = format!("the validation loss of level {level} is not a number");
            return Err(self.diverged_after(epoch, what));
        }
        let levels = tallies
            .iter()
            .enumerate()
            .map(|(level, tally)| LevelEpoch {
                loss: rounded(tally.loss / images as f64),
                training_accuracy: (self.train.labels.as_ref())
                    .map(|_| rounded(tally.right as f64 / images as f64)),
                accuracy_top1: evaluations
                    .get(level)
                    .and_then(|e| e.accuracy_top1)
                    .map(rounded),
            })
            .collect();
        Ok(EpochSummary {
            epoch,
            levels,
            sparsity: self.state.sparsity().into_iter().map(rounded).collect(),
            seconds: started.elapsed().as_secs_f64(),
            images_per_second,
        })
    }

    fn step(
        &mut self,
        epoch: usize,
        step: usize,
        batch: &[u32],
        tallies: &mut [Tally],
    ) -> Result<()> {
        let total = self.steps * self.options.epochs;
        let now = epoch * self.steps + step;
        let frozen = (RAMP * total as f64) as usize;
        if now == frozen {
            self.state.rank(&self.sparsities);
        } else if now < frozen && now.is_multiple_of(RANK_EVERY) {
            let share = ramp(now as f64 / total as f64);
            let cuts: Vec<f64> = self.sparsities.iter().map(|s| s * share).collect();
            self.state.rank(&cuts);
        }

        let (train, augment, seed) = (self.train, self.augment, self.options.seed);
        self.engine.load(batch.len(), &|i, out| {
            augment.input(train, seed, epoch, batch[i] as usize, out);
        });
        let logits = self.engine.plan().outputs[0];
        let teacher = match &self.teacher {
            Some((params, prepared)) => {
                self.engine.forward(params, prepared, Mode::Running, None);
                Some(self.engine.read(logits))
            }
            None => None,
        };

        let levels = self.sparsities.len();
        let mut shared: Vec<Vec<f32>> = self
            .state
            .shared
            .iter()
            .map(|s| vec![0.0; s.weight.len()])
            .collect();
        let rate = {
            let warmup = self.steps.min(total / 4).max(1);
            cosine(self.options.learning_rate, now, total, warmup)
        };
        for (level, sums) in tallies.iter_mut().enumerate() {
            self.state.load_shared(level);
            let state = &mut self.state.levels[level];
            let prepared = &mut self.prepared[level];
            self.engine.prepare(&state.params, &state.masks(), prepared);
            let mut running = std::mem::take(&mut state.params.running);
            // The moments are centred on the statistics of before this step.
            state.params.running.clone_from(&running);
            self.engine
                .forward(&state.params, prepared, Mode::Batch, Some(&mut running));
            state.params.running = running;
            let out = self.engine.read(logits);
            let targets = Targets {
                labels: train.labels.as_deref(),
                teacher: teacher.as_deref(),
                distillation: self.distillation,
            };
            let (seed, tally) = targets.batch_loss(&out, batch);
            if !tally.loss.is_finite() {
                return Err(self.diverged(epoch, step, level, rate));
            }
            sums.loss += tally.loss;
            sums.right += tally.right;
            let gradients = self.engine.backward(&state.params, prepared, &[&seed]);
            for (shared, sum) in self.state.shared.iter().zip(&mut shared) {
                self.options.routing.add(
                    level,
                    levels,
                    shared.owners.as_deref(),
                    &gradients[shared.param],
                    sum,
                );
            }
            for ((tensor, velocity), gradient) in state
                .params
                .tensors
                .iter_mut()
                .zip(&mut state.velocity)
                .zip(gradients)
            {
                if !velocity.is_empty() {
                    nesterov(tensor, velocity, gradient, rate, 0.0);
                }
            }
        }
        let decay = self.options.weight_decay;
        for (shared, sum) in self.state.shared.iter_mut().zip(&shared) {
            nesterov(&mut shared.weight, &mut shared.velocity, sum, rate, decay);
        }
        Ok(())
    }

    fn diverged(&self, epoch: usize, step: usize, level: usize, rate: f32) -> diag::Diagnostics {
        Diagnostic::new(
            diag::DIVERGED,
            format!("epoch {}, step {} of {}", epoch + 1, step + 1, self.steps),
            format!(
                "the loss of level {level} is not a number at learning rate {rate:.4} (--lr {})",
                self.options.learning_rate
            ),
            format!(
                "lower it, for example --lr {}",
                self.options.learning_rate / 4.0
            ),
        )
        .into()
    }

    /// Refuses a state with a number that is none: the loss tells of a step only in the next one,
    /// and after the last there is none.
    fn require_finite(&mut self) -> Result<()> {
        let mut bad = None;
        self.state.each_tensor(&mut |name, values| {
            if let Some(value) = values.iter().find(|v| !v.is_finite()) {
                bad.get_or_insert_with(|| format!("a number of {name} is {value}"));
            }
        });
        match bad {
            None => Ok(()),
            Some(what) => Err(self.diverged_after(self.state.epoch.saturating_sub(1), what)),
        }
    }

    fn diverged_after(&self, epoch: usize, what: String) -> diag::Diagnostics {
        let rate = self.options.learning_rate;
        Diagnostic::new(
            diag::DIVERGED,
            format!("end of epoch {}", epoch + 1),
            format!("{what} (--lr {rate})"),
            format!("lower it, for example --lr {}", rate / 4.0),
        )
        .into()
    }

    /// Every level on the validation images, sparsest first; empty without such.
    fn validate(&mut self) -> Vec<Evaluation> {
        let Some(validation) = self.validation else {
            return Vec::new();
        };
        (0..self.sparsities.len())
            .map(|level| {
                self.state.load_shared(level);
                let state = &self.state.levels[level];
                let prepared = &mut self.prepared[level];
                self.engine.prepare(&state.params, &state.masks(), prepared);
                evaluate_params(&mut self.engine, &state.params, prepared, validation)
            })
            .collect()
    }

    fn finish(&mut self) -> (NestedModel, Vec<LevelReport>) {
        let evaluations = self.validate();
        let last = self.state.history.last();
        let reports: Vec<LevelReport> = self
            .state
            .sparsity()
            .into_iter()
            .enumerate()
            .map(|(level, sparsity)| {
                let evaluation = evaluations.get(level);
                let trained = last.map(|s| s.levels[level].loss);
                LevelReport {
                    level,
                    sparsity,
                    macs: 0,
                    accuracy_top1: evaluation.and_then(|e| e.accuracy_top1),
                    held_out_accuracy_top1: None,
                    loss: evaluation.and_then(|e| e.loss).or(trained),
                }
            })
            .collect();
        let mut graph = self.graph.clone();
        let stored = self.state.store(self.engine.plan(), &mut graph);
        let levels = reports
            .iter()
            .map(|r| LevelInfo {
                sparsity: r.sparsity,
                accuracy_top1: r.accuracy_top1,
            })
            .collect();
        let model = NestedModel {
            graph,
            levels,
            weight_levels: stored.weight_levels,
            level_params: stored.level_params,
            preprocessing: match self.train.pixels {
                Pixels::U8(_) => Some(self.train.preprocessing.clone()),
                Pixels::F32(_) => None,
            },
            training: Some(self.record(&reports)),
        };
        (model, reports)
    }

    /// What the artefact says about its making: nothing that differs between runs of the same
    /// arguments, such as durations.
    fn record(&self, reports: &[LevelReport]) -> serde_json::Value {
        let o = self.options;
        serde_json::json!({
            "nestc_version": env!("CARGO_PKG_VERSION"),
            "recipe": RECIPE,
            "options": {
                "levels": self.sparsities,
                "epochs": o.epochs,
                "loss": o.loss,
                "learning_rate": decimal(o.learning_rate),
                "batch": o.batch,
                "seed": o.seed,
                "routing": o.routing,
                "flip": o.flip,
                "weight_decay": decimal(o.weight_decay),
            },
            "images": self.train.len(),
            "validation_images": self.validation.map(Dataset::len),
            "epochs_done": self.state.epoch,
            "levels": reports,
            "history": self.state.history,
        })
    }
}

/// What a batch is trained towards.
struct Targets<'a> {
    labels: Option<&'a [u32]>,
    teacher: Option<&'a [f32]>,
    distillation: f64,
}

impl Targets<'_> {
    /// The gradient of the mean loss by the logits, and the batch's sums.
    fn batch_loss(&self, logits: &[f32], batch: &[u32]) -> (Vec<f32>, Tally) {
        let classes = logits.len() / batch.len();
        let mut gradient = vec![0.0; logits.len()];
        let mut tally = Tally::default();
        for (i, (out, gradient)) in logits
            .chunks_exact(classes)
            .zip(gradient.chunks_exact_mut(classes))
            .enumerate()
        {
            let label = self.labels.map(|l| l[batch[i] as usize]);
            let target = Target {
                label,
                teacher: self.teacher.map(|t| &t[i * classes..][..classes]),
                distillation: self.distillation,
            };
            tally.loss += image_loss(out, target, 1.0 / batch.len() as f64, gradient);
            tally.right += usize::from(label.is_some_and(|l| top1(out) == l as usize));
        }
        (gradient, tally)
    }
}

/// Six decimals: what is stored and read back as text is the same number.
fn rounded(v: f64) -> f64 {
    (v * 1e6).round() / 1e6
}

/// The short decimal that an option was given as.
fn decimal(v: f32) -> f64 {
    v.to_string().parse().unwrap_or(f64::from(v))
}

fn fingerprint(
    graph: &FloatGraph,
    train: &Dataset,
    options: &TrainOptions,
    sparsities: &[f64],
) -> Fingerprint {
    let percent: Vec<String> = sparsities
        .iter()
        .map(|s| format!("{}", rounded(s * 100.0)))
        .collect();
    let entries = [
        ("the recipe of version", RECIPE.to_string()),
        ("--levels", percent.join(",")),
        ("--epochs", options.epochs.to_string()),
        ("--loss", format!("{:?}", options.loss).to_lowercase()),
        ("--lr", options.learning_rate.to_string()),
        ("--batch", options.batch.to_string()),
        ("--seed", options.seed.to_string()),
        ("routing", format!("{:?}", options.routing)),
        ("flips", options.flip.to_string()),
        ("weight decay", options.weight_decay.to_string()),
        ("the network of SHA-256", hash_of_graph(graph)),
        (
            "the training data",
            format!(
                "of {} images {} and SHA-256 {}",
                train.len(),
                train.shape,
                hash_of_data(train)
            ),
        ),
    ];
    entries
        .into_iter()
        .map(|(k, v)| (k.to_string(), v))
        .collect::<BTreeMap<_, _>>()
}

fn short_hex(hash: Sha256) -> String {
    let hash = hash.finalize();
    hash[..8].iter().map(|b| format!("{b:02x}")).collect()
}

fn hash_of_graph(graph: &FloatGraph) -> String {
    let mut hash = Sha256::new();
    let outputs: Vec<ValueId> = graph.outputs.clone();
    let plan = super::engine::Plan::new(graph, &outputs, Fusion::EveryValue);
    let params = Params::of(&plan, graph);
    for (info, tensor) in plan.params.iter().zip(&params.tensors) {
        let role = match info.role {
            Role::Weight => 0u8,
            _ => 1,
        };
        hash.update([role]);
        for v in tensor {
            hash.update(v.to_le_bytes());
        }
    }
    for node in &graph.nodes {
        hash.update(node.op.name());
        hash.update(graph.shape(node.output).to_string());
    }
    short_hex(hash)
}

fn hash_of_data(data: &Dataset) -> String {
    let mut hash = Sha256::new();
    match &data.pixels {
        Pixels::U8(p) => hash.update(p),
        Pixels::F32(p) => p.iter().for_each(|v| hash.update(v.to_le_bytes())),
    }
    for label in data.labels.iter().flatten() {
        hash.update(label.to_le_bytes());
    }
    hash.update(format!("{:?}", data.preprocessing));
    short_hex(hash)
}
