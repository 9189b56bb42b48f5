//! The training run: epochs, steps, levels.

use std::time::Instant;

use rayon::prelude::*;

use crate::data::{Dataset, Pixels};
use crate::diag::{self, Diagnostic, Result};
use crate::ir::float::FloatGraph;
use crate::ir::nested::{LevelInfo, NestedModel};

use super::batch_norm;
use super::check::{self, Task};
use super::checkpoint::{self, Fingerprint};
use super::engine::{Engine, Fusion, Mode, Params, Prepared, Threads, stored};
use super::evaluate::{Evaluation, evaluate_levels, raw_losses};
use super::log::Log;
use super::options::{
    EpochSummary, LevelEpoch, LevelReport, LevelWeights, Outlook, Progress, Pruning, TrainOptions,
    TrainReport, Trained, peak_rss_bytes,
};
use super::recipe::augment::Augment;
use super::recipe::fake_quant::{self, Course};
use super::recipe::masks::ramp;
use super::recipe::optimiser::kept;
use super::recipe::random::{permutation, split};
use super::recipe::routing::{self, Routing, StepWeights};
use super::record::{RECIPE, decimal, fingerprint, options_json, rounded};
use super::simd::Isa;
use super::state::{Cutter, State, node_macs};
use super::targets::{Lessons, Tally, Targets, Teacher, read_all};

/// Weights that a thread takes at once.
const CHUNK: usize = 4096;

/// Trains the levels of a nested model together, from `graph` as the dense network.
///
/// The result is a function of the arguments except [`TrainOptions::threads`],
/// [`TrainOptions::resume`], [`TrainOptions::checkpoint`] and [`TrainOptions::log`]: not of the
/// number of threads, not of the processor's instruction set, and not of where the run was
/// interrupted and resumed.
///
/// # Errors
/// Before anything is computed, every fault of options, network and data; on the way, a loss that is
/// not a number, and what the operating system says about the checkpoint and the log.
pub fn train(
    graph: &FloatGraph,
    train: &Dataset,
    validation: Option<&Dataset>,
    options: &TrainOptions,
    progress: &mut dyn Progress,
) -> Result<Trained> {
    let task = check::training(graph, train, validation, options)?;
    let started = Instant::now();
    let mut run = Run::new(graph, train, validation, options, task)?;
    let mut resumed_at = None;
    if options.resume && checkpoint::load(&options.checkpoint, &run.fingerprint, &mut run.state)? {
        resumed_at = Some(run.state.epoch);
    }
    progress.begins(&run.outlook());
    let log = run.log()?;
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
        if let Some(log) = &log {
            log.add(&summary, run.last_rate(epoch))?;
        }
        progress.epoch_finished(&summary);
        if progress.should_stop() {
            break;
        }
    }
    let trained = (run.state.epoch - first) * run.steps * options.batch;
    run.require_finite()?;
    let (model, levels) = run.on_threads(Run::finish);
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
    /// The training images that are held out, and the numbers of the others.
    held_out: Option<Dataset>,
    kept: Vec<u32>,
    options: &'a TrainOptions,
    /// Sparsest first.
    sparsities: Vec<f64>,
    /// The given network with batch normalisation put back.
    graph: FloatGraph,
    cutter: Cutter,
    threads: Threads,
    engine: Engine,
    lessons: Lessons,
    teacher: Option<Teacher>,
    /// Factors of the raw outputs' losses; empty for a classifier.
    scales: Vec<f64>,
    prepared: Vec<Prepared>,
    /// The gradient of each shared tensor, empty for other parameters.
    sums: Vec<Vec<f32>>,
    augment: Augment,
    steps: usize,
    /// The learning rate at its peak.
    peak: f32,
    level_weights: LevelWeights,
    /// When int8 is expected, if ever, and where it has tensors.
    rounding: Option<Course>,
    stored: Vec<bool>,
    fingerprint: Fingerprint,
    state: State,
}

impl<'a> Run<'a> {
    fn new(
        given: &FloatGraph,
        train: &'a Dataset,
        validation: Option<&'a Dataset>,
        options: &'a TrainOptions,
        task: Task,
    ) -> Result<Self> {
        let mut sparsities = options.levels.clone();
        sparsities.sort_by(|a, b| b.total_cmp(a));
        let threads = check::threads(options.threads)?;
        let (kept, out) = split(options.seed, train.len(), options.validation_split);
        let graph = batch_norm::reinsert(given, train, &kept, threads.clone());
        let cutter = Cutter::new(&graph, options);
        check::cuts(&graph, &cutter, &sparsities)?;
        let values = task.values(&graph);
        let fusion = match options.qat_epochs {
            0 => Fusion::Fused,
            _ => Fusion::Rounded,
        };
        let mut engine = Engine::new(
            &graph,
            &values,
            fusion,
            options.batch,
            true,
            Isa::detect(),
            threads.clone(),
        );
        let levels = sparsities.len();
        let averaged = options.average.is_some();
        let mut state = State::new(engine.plan(), &graph, levels, &cutter, averaged);
        let steps = kept.len() / options.batch;
        let rounding = Course::new(options.qat_epochs, options.epochs, steps);
        if rounding.is_some() {
            for level in &mut state.levels {
                level.ranges = vec![0.0; 2 * engine.plan().slots.len()];
            }
        }
        let raw = matches!(task, Task::Raw);
        let lessons = Lessons::new(options, train.labels.is_some() && !raw);
        let teacher = lessons.need_given(levels).then(|| {
            let params = Params::of(engine.plan(), &graph);
            let mut prepared = Prepared::default();
            engine.prepare(&params, &[], &mut prepared);
            Teacher { params, prepared }
        });
        let scales = match &teacher {
            Some(teacher) if raw => output_scales(&mut engine, teacher, train, &kept),
            _ => Vec::new(),
        };
        Ok(Self {
            fingerprint: fingerprint(given, train, options, &sparsities),
            augment: Augment::of(train, options.flip, options.shift),
            prepared: vec![Prepared::default(); levels],
            sums: {
                let mut sums = vec![Vec::new(); engine.plan().params.len()];
                for shared in &state.shared {
                    sums[shared.param].resize(shared.weight.len(), 0.0);
                }
                sums
            },
            steps,
            peak: options.peak_rate(train.len()),
            level_weights: options.weights_of_levels(),
            rounding,
            stored: stored(engine.plan()),
            held_out: (!out.is_empty()).then(|| train.subset(&out)),
            kept,
            train,
            validation,
            options,
            sparsities,
            graph,
            cutter,
            threads,
            engine,
            lessons,
            teacher,
            scales,
            state,
        })
    }

    fn outlook(&self) -> Outlook {
        let bytes = |d: &Dataset| match &d.pixels {
            Pixels::U8(p) => p.len(),
            Pixels::F32(p) => 4 * p.len(),
        };
        let images = [Some(self.train), self.validation, self.held_out.as_ref()];
        let images: usize = images.into_iter().flatten().map(bytes).sum();
        let weights: usize = self.state.shared.iter().map(|s| s.weight.len()).sum();
        // Weight, velocity and gradient; then a copy, a mask and the kernels' arrangements a level.
        let state = weights * 4 * (3 + 4 * self.sparsities.len());
        Outlook {
            memory_bytes: (images + state) as u64 + self.engine.buffer_bytes(),
            images: self.kept.len(),
            held_out: self.train.len() - self.kept.len(),
            learning_rate: self.peak,
            dense_macs: (self.graph.nodes.iter_enumerated())
                .map(|(id, _)| node_macs(&self.graph, id))
                .sum(),
        }
    }

    fn log(&self) -> Result<Option<Log>> {
        let Some(path) = &self.options.log else {
            return Ok(None);
        };
        let head = serde_json::json!({
            "recipe": RECIPE,
            "options": options_json(&self.options.resolved(self.train.len()), &self.sparsities),
            "network": self.graph.name,
            "images": self.kept.len(),
            "images_held_out": self.train.len() - self.kept.len(),
            "images_validation": self.validation.map(Dataset::len),
        });
        let history = &self.state.history;
        Log::open(path, &head, history, &|epoch| self.last_rate(epoch)).map(Some)
    }

    /// Steps of the whole run.
    fn total(&self) -> usize {
        self.steps * self.options.epochs
    }

    fn rate(&self, now: usize) -> f32 {
        let o = self.options;
        let warmup = (o.warmup * self.steps as f64).round() as usize;
        let warmup = warmup.min(self.total() / 4).max(1);
        o.rate.at(self.peak, now, self.total(), warmup)
    }

    fn last_rate(&self, epoch: usize) -> f64 {
        decimal(self.rate((epoch + 1) * self.steps - 1))
    }

    fn epoch(&mut self, epoch: usize, progress: &mut dyn Progress) -> Result<EpochSummary> {
        let started = Instant::now();
        let order: Vec<u32> = permutation(self.options.seed, epoch, self.kept.len())
            .into_iter()
            .map(|i| self.kept[i as usize])
            .collect();
        let mut tallies = vec![Tally::default(); self.sparsities.len()];
        for step in 0..self.steps {
            let batch = &order[step * self.options.batch..][..self.options.batch];
            self.on_threads(|run| run.step(epoch, step, batch, &mut tallies))?;
            let images = (step + 1) * self.options.batch;
            progress.step(step, images as f64 / started.elapsed().as_secs_f64());
        }
        let images = self.steps * self.options.batch;
        let images_per_second = images as f64 / started.elapsed().as_secs_f64();
        let evaluations = self.on_threads(Self::validate);
        let broken = |e: &Evaluation| e.loss.is_some_and(|loss| !loss.is_finite());
        if let Some(level) = evaluations.iter().position(broken) {
            let what = format!("the validation loss of level {level} is not a number");
            return Err(self.diverged_after(epoch, what));
        }
        let labelled = self.train.labels.is_some() && self.scales.is_empty();
        let levels = tallies
            .iter()
            .enumerate()
            .map(|(level, tally)| {
                // A level that no step of this epoch drew shows what it showed before.
                let before = self.state.history.last().map(|s| &s.levels[level]);
                let images = tally.images.max(1) as f64;
                LevelEpoch {
                    loss: match before {
                        Some(before) if tally.images == 0 => before.loss,
                        _ => rounded(tally.loss / images),
                    },
                    training_accuracy: labelled.then(|| rounded(tally.right as f64 / images)),
                    accuracy_top1: evaluations
                        .get(level)
                        .and_then(|e| e.accuracy_top1)
                        .map(rounded),
                }
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

    /// The step from which on masks stay as they are.
    fn frozen_at(&self) -> usize {
        match self.options.pruning {
            Pruning::OneShot => 0,
            Pruning::Gradual { end, .. } => {
                let last = self.total().saturating_sub(1);
                ((end * self.total() as f64) as usize).min(last)
            }
        }
    }

    /// Ranks the weights anew if it is time.
    fn cut(&mut self, now: usize) {
        let frozen = self.frozen_at();
        let share = match self.options.pruning {
            _ if now == frozen => 1.0,
            Pruning::Gradual { end, every } if now < frozen && now.is_multiple_of(every) => {
                ramp(now as f64 / self.total() as f64, end)
            }
            _ => return,
        };
        let shares: Vec<f64> = self.sparsities.iter().map(|s| s * share).collect();
        self.state.rank(&self.cutter, &shares);
    }

    /// Does `work` where the threads are: whatever it does in parallel begins without waking any.
    fn on_threads<R: Send>(&mut self, work: impl FnOnce(&mut Self) -> R + Send) -> R {
        let threads = self.threads.clone();
        threads.install(|| rayon::scope(|_| work(self)))
    }

    fn step(
        &mut self,
        epoch: usize,
        step: usize,
        batch: &[u32],
        tallies: &mut [Tally],
    ) -> Result<()> {
        let options = self.options;
        let (levels, total, now) = (
            self.sparsities.len(),
            self.total(),
            epoch * self.steps + step,
        );
        self.cut(now);
        let masks_change = now < self.frozen_at();
        let weights: StepWeights = options.schedule.step(
            &self.level_weights,
            levels,
            options.seed,
            now,
            total,
            masks_change,
        );
        let routing = if epoch + options.own_epochs >= options.epochs {
            Routing::Hard
        } else {
            options.routing
        };
        let rate = self.rate(now);

        let (train, augment, seed) = (self.train, self.augment, options.seed);
        self.engine.load(batch.len(), &|i, out| {
            augment.input(train, seed, epoch, batch[i] as usize, out);
        });
        let teacher = self.teacher.as_ref();
        let given = teacher.map(|teacher| teacher.outputs(&mut self.engine));
        let mut densest: Option<Vec<Vec<f32>>> = None;
        for sum in &mut self.sums {
            sum.fill(0.0);
        }
        let rounds = self.rounding.is_some_and(|r| r.rounds(now));
        let follows = self.rounding.is_some_and(|r| r.follows(now));
        if rounds {
            let state = &mut self.state;
            self.threads.install(|| state.round_shared());
        }
        // The densest level first, since others may learn from it.
        for level in (0..levels).rev() {
            if weights.factor[level] == 0.0 {
                continue;
            }
            let is_densest = level + 1 == levels;
            self.state.load_shared(level);
            let state = &mut self.state.levels[level];
            let prepared = &mut self.prepared[level];
            self.engine.prepare(&state.params, &state.masks(), prepared);
            if rounds {
                let roundings = fake_quant::roundings(&self.stored, &state.ranges);
                self.engine.set_rounding(Some(roundings));
            }
            let mut running = std::mem::take(&mut state.params.running);
            // The moments are centred on the statistics of before this step.
            state.params.running.clone_from(&running);
            self.engine
                .forward(&state.params, prepared, Mode::Batch, Some(&mut running));
            state.params.running = running;
            if follows {
                fake_quant::follow(&mut state.ranges, &self.stored, |slot| {
                    self.engine.seen(slot)
                });
            }
            let out = read_all(&self.engine);
            let share = if is_densest {
                self.lessons.densest_share
            } else {
                self.lessons.share
            };
            let from = match &densest {
                Some(densest) if self.lessons.from_densest => Some(densest),
                _ => given.as_ref(),
            };
            let targets = Targets {
                labels: train.labels.as_deref(),
                smoothing: options.label_smoothing,
                teacher: from.map(Vec::as_slice).filter(|_| share > 0.0),
                share,
                temperature: options.distillation.temperature,
                scales: &self.scales,
            };
            let (seeds, tally) = targets.batch_loss(&out, batch);
            if !tally.loss.is_finite() {
                return Err(self.diverged(epoch, step, level, rate));
            }
            tallies[level].add(tally);
            if is_densest && self.lessons.from_densest {
                densest = Some(out);
            }
            let seeds: Vec<&[f32]> = seeds.iter().map(Vec::as_slice).collect();
            let gradients = self.engine.backward(&state.params, prepared, &seeds);
            let coefficients = routing.coefficients(level, &weights);
            let state = &self.state;
            let sums = self.sums.par_iter_mut().enumerate();
            sums.for_each(|(param, sum)| {
                let Some(shared) = state.shared_of(param) else {
                    return;
                };
                let gradient = &gradients[param];
                (sum.par_chunks_mut(CHUNK).enumerate()).for_each(|(i, sum)| {
                    let at = i * CHUNK..i * CHUNK + sum.len();
                    let owners = shared.owners.as_ref().map(|o| &o[at.clone()]);
                    routing::add(&coefficients, owners, &gradient[at], sum);
                });
            });
            self.state.levels[level].update(gradients, rate);
        }
        self.engine.set_rounding(None);
        let sums = &self.sums;
        let of = |param: usize| sums[param].as_slice();
        (self.state).update_shared(&of, rate, options.weight_decay);
        if let Some(decay) = options.average {
            self.state.move_averages(kept(decay, now));
        }
        Ok(())
    }

    fn diverged(&self, epoch: usize, step: usize, level: usize, rate: f32) -> diag::Diagnostics {
        Diagnostic::new(
            diag::DIVERGED,
            format!("epoch {}, step {} of {}", epoch + 1, step + 1, self.steps),
            format!(
                "the loss of level {level} is not a number at learning rate {rate:.4} (--lr {})",
                self.peak
            ),
            format!("lower it, for example --lr {}", self.peak / 4.0),
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
        let rate = self.peak;
        Diagnostic::new(
            diag::DIVERGED,
            format!("end of epoch {}", epoch + 1),
            format!("{what} (--lr {rate})"),
            format!("lower it, for example --lr {}", rate / 4.0),
        )
        .into()
    }

    /// What every epoch is judged on: the images held out, or else the validation set.
    fn judges(&self) -> Option<&Dataset> {
        self.held_out.as_ref().or(self.validation)
    }

    /// Every level on the images that epochs are judged on, sparsest first; empty without such.
    fn validate(&mut self) -> Vec<Evaluation> {
        let finals = self.final_params();
        self.prepare_all(&finals);
        match self.judges().is_some() {
            true => self.measure(&finals, self.held_out.is_some()),
            false => Vec::new(),
        }
    }

    fn final_params(&self) -> Vec<Params> {
        let levels = 0..self.sparsities.len();
        levels.map(|level| self.state.level_params(level)).collect()
    }

    fn prepare_all(&mut self, finals: &[Params]) {
        let levels = finals
            .iter()
            .zip(&mut self.prepared)
            .zip(&self.state.levels);
        for ((params, prepared), state) in levels {
            self.engine.prepare(params, &state.masks(), prepared);
        }
    }

    /// Every level, which must be prepared, on the images held out or on the validation set.
    fn measure(&mut self, finals: &[Params], held_out: bool) -> Vec<Evaluation> {
        let data = if held_out {
            self.held_out.as_ref()
        } else {
            self.validation
        };
        let Some(data) = data else {
            return Vec::new();
        };
        let levels: Vec<(&Params, &Prepared)> = finals.iter().zip(&self.prepared).collect();
        match &self.teacher {
            Some(teacher) if !self.scales.is_empty() => {
                raw_losses(&mut self.engine, &levels, teacher, &self.scales, data)
            }
            _ => evaluate_levels(&mut self.engine, &levels, data),
        }
    }

    fn finish(&mut self) -> (NestedModel, Vec<LevelReport>) {
        if self.options.epochs == 0 {
            self.state.rank(&self.cutter, &self.sparsities);
        }
        let mut finals = self.final_params();
        self.prepare_all(&finals);
        if self.options.recalibrate {
            let batch = self.options.batch.min(self.kept.len());
            let images = batch_norm::calibration(self.options.seed, &self.kept, batch);
            let batches = images
                .chunks_exact(batch)
                .take(self.options.recalibration_batches);
            let (engine, data) = (&mut self.engine, self.train);
            batch_norm::recalibrate(engine, &mut finals, &self.prepared, data, batches);
        }
        let held_out = self.measure(&finals, true);
        let evaluations = self.measure(&finals, false);
        let last = self.state.history.last();
        let reports: Vec<LevelReport> = self
            .state
            .sparsity()
            .into_iter()
            .enumerate()
            .map(|(level, sparsity)| {
                let of = |all: &[Evaluation]| all.get(level).cloned();
                let (test, held_out) = (of(&evaluations), of(&held_out));
                let loss = |e: &Option<Evaluation>| e.as_ref().and_then(|e| e.loss);
                let accuracy = |e: &Option<Evaluation>| e.as_ref().and_then(|e| e.accuracy_top1);
                let trained = last.map(|s| s.levels[level].loss);
                LevelReport {
                    level,
                    sparsity,
                    macs: self.state.macs(level),
                    accuracy_top1: accuracy(&test),
                    held_out_accuracy_top1: accuracy(&held_out),
                    loss: loss(&test).or(loss(&held_out)).or(trained),
                }
            })
            .collect();
        let mut graph = self.graph.clone();
        let stored = self.state.store(self.engine.plan(), &mut graph, &finals);
        let levels = reports
            .iter()
            .map(|r| LevelInfo {
                sparsity: r.sparsity,
                accuracy_top1: r.accuracy_top1.or(r.held_out_accuracy_top1),
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
        serde_json::json!({
            "nestc_version": env!("CARGO_PKG_VERSION"),
            "recipe": RECIPE,
            "options": options_json(&self.options.resolved(self.train.len()), &self.sparsities),
            "images": self.kept.len(),
            "images_held_out": self.train.len() - self.kept.len(),
            "validation_images": self.validation.map(Dataset::len),
            "epochs_done": self.state.epoch,
            "levels": reports,
            "history": self.state.history,
        })
    }
}

/// For each output `1 / (outputs * elements * variance)`, the variance being that of all elements of
/// the teacher's output over some of the images; 1 stands in for no variance.
fn output_scales(
    engine: &mut Engine,
    teacher: &Teacher,
    data: &Dataset,
    images: &[u32],
) -> Vec<f64> {
    const MOST: usize = 512;
    let count = images.len().min(MOST);
    let chosen: Vec<u32> = (0..count)
        .map(|i| images[i * images.len() / count])
        .collect();
    let slots = engine.plan().outputs.len();
    let (mut n, mut sum, mut squares) = (vec![0.0; slots], vec![0.0; slots], vec![0.0; slots]);
    for chosen in chosen.chunks(engine.capacity()) {
        engine.load(chosen.len(), &|i, out| data.input(chosen[i] as usize, out));
        for (ix, output) in teacher.outputs(engine).iter().enumerate() {
            for &v in output {
                n[ix] += 1.0;
                sum[ix] += f64::from(v);
                squares[ix] += f64::from(v) * f64::from(v);
            }
        }
    }
    let elements = |ix: usize| engine.plan().slots[engine.plan().outputs[ix]].shape.len();
    (0..slots)
        .map(|ix| {
            let mean: f64 = sum[ix] / n[ix];
            let variance: f64 = squares[ix] / n[ix] - mean * mean;
            let variance = if variance > 1e-12 { variance } else { 1.0 };
            1.0 / ((slots * elements(ix)) as f64 * variance)
        })
        .collect()
}
