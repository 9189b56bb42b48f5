//! A training step by itself, for benchmarks.

use crate::data::Dataset;
use crate::diag::{Diagnostics, Result};
use crate::ir::float::FloatGraph;

use super::batch_norm;
use super::check;
use super::engine::{Engine, Fusion, Mode, Prepared, Threads};
use super::evaluate::logits_of;
use super::options::{Allocation, TrainOptions};
use super::simd::Isa;
use super::state::{Cutter, State};
use super::targets::Targets;

/// Forward, cross-entropy, backward and stochastic gradient descent on one fixed batch: what
/// frameworks call a training step, without reading, augmentation and teacher.
pub struct TrainingStep {
    threads: Threads,
    engine: Engine,
    state: State,
    prepared: Vec<Prepared>,
    labels: Vec<u32>,
    batch: Vec<u32>,
}

impl TrainingStep {
    /// The step of the classifier `graph` on all of `data` as one batch. Every entry of `sparsities`
    /// is a level with its own masks by magnitude; all levels are trained in each step. `[0.0]` is the
    /// dense network.
    ///
    /// # Errors
    /// If the network is not a classifier of labelled images such as `data`, or threads cannot be had.
    pub fn new(
        graph: &FloatGraph,
        data: &Dataset,
        sparsities: &[f64],
        allocation: Allocation,
        threads: usize,
    ) -> Result<Self, Diagnostics> {
        check::classifier(graph)?;
        check::data(graph, data, "timing")?;
        let threads = check::threads(Some(threads))?;
        let batch: Vec<u32> = (0..data.len() as u32).collect();
        let graph = batch_norm::reinsert(graph, data, &batch, threads.clone());
        let logits = logits_of(&graph, graph.outputs[0]);
        let mut engine = Engine::new(
            &graph,
            &[logits],
            Fusion::Fused,
            data.len(),
            true,
            Isa::detect(),
            threads.clone(),
        );
        let options = TrainOptions {
            allocation,
            ..TrainOptions::default()
        };
        let cutter = Cutter::new(&graph, &options);
        let mut state = State::new(engine.plan(), &graph, sparsities.len(), &cutter, false);
        state.rank(&cutter, sparsities);
        engine.load(data.len(), &|i, out| data.input(i, out));
        Ok(Self {
            threads,
            engine,
            prepared: vec![Prepared::default(); sparsities.len()],
            state,
            labels: data.labels.clone().unwrap_or_default(),
            batch,
        })
    }

    /// Images of the batch.
    pub fn images(&self) -> usize {
        self.engine.images()
    }

    /// One step of every level; the mean loss of the last.
    pub fn run(&mut self) -> f64 {
        let threads = self.threads.clone();
        threads.install(|| rayon::scope(|_| self.step()))
    }

    fn step(&mut self) -> f64 {
        const RATE: f32 = 1e-3;
        let logits = self.engine.plan().outputs[0];
        let mut loss = 0.0;
        for level in 0..self.prepared.len() {
            self.state.load_shared(level);
            let state = &mut self.state.levels[level];
            let prepared = &mut self.prepared[level];
            self.engine.prepare(&state.params, &state.masks(), prepared);
            let mut running = state.params.running.clone();
            self.engine
                .forward(&state.params, prepared, Mode::Batch, Some(&mut running));
            state.params.running = running;
            let out = self.engine.read(logits);
            let targets = Targets {
                labels: Some(&self.labels),
                smoothing: 0.0,
                teacher: None,
                share: 0.0,
                temperature: 1.0,
                scales: &[],
            };
            let (seeds, tally) = targets.batch_loss(&[out], &self.batch);
            loss = tally.loss / self.labels.len() as f64;
            let gradients = self.engine.backward(&state.params, prepared, &[&seeds[0]]);
            self.state.levels[level].update(gradients, RATE);
            self.state
                .update_shared(&|param| &gradients[param], RATE, 0.0);
        }
        loss
    }
}
