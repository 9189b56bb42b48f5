//! A training step by itself, for benchmarks.

use crate::data::Dataset;
use crate::diag::{Diagnostics, Result};
use crate::ir::float::FloatGraph;

use super::batch_norm;
use super::check;
use super::engine::{Engine, Fusion, Mode, Prepared};
use super::evaluate::logits_of;
use super::recipe::loss::{Target, image_loss};
use super::recipe::optimiser::nesterov;
use super::simd::Isa;
use super::state::State;

/// Forward, cross-entropy, backward and stochastic gradient descent on one fixed batch: what
/// frameworks call a training step, without reading, augmentation and teacher.
pub struct TrainingStep {
    engine: Engine,
    state: State,
    prepared: Vec<Prepared>,
    labels: Vec<u32>,
}

impl TrainingStep {
    /// The step of the classifier `graph` on all of `data` as one batch. Every entry of `sparsities`
    /// is a level under a uniform random mask; all levels are trained in each step. `[0.0]` is the
    /// dense network.
    ///
    /// # Errors
    /// If the network is not a classifier of labelled images such as `data`, or threads cannot be had.
    pub fn new(
        graph: &FloatGraph,
        data: &Dataset,
        sparsities: &[f64],
        threads: usize,
    ) -> Result<Self, Diagnostics> {
        check::classifier(graph)?;
        check::data(graph, data, "timing")?;
        let threads = check::threads(Some(threads))?;
        let graph = batch_norm::reinsert(graph, data, threads.clone());
        let logits = logits_of(&graph, graph.outputs[0]);
        let mut engine = Engine::new(
            &graph,
            &[logits],
            Fusion::Fused,
            data.len(),
            true,
            Isa::detect(),
            threads,
        );
        let mut state = State::new(engine.plan(), &graph, sparsities.len());
        state.rank(sparsities);
        engine.load(data.len(), &|i, out| data.input(i, out));
        Ok(Self {
            engine,
            prepared: vec![Prepared::default(); sparsities.len()],
            state,
            labels: data.labels.clone().unwrap_or_default(),
        })
    }

    /// Images of the batch.
    pub fn images(&self) -> usize {
        self.engine.images()
    }

    /// One step of every level; the mean loss of the last.
    pub fn run(&mut self) -> f64 {
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
            let classes = out.len() / self.labels.len();
            let mut seed = vec![0.0; out.len()];
            loss = 0.0;
            let weight = 1.0 / self.labels.len() as f64;
            for ((logits, seed), &label) in out
                .chunks_exact(classes)
                .zip(seed.chunks_exact_mut(classes))
                .zip(&self.labels)
            {
                let target = Target {
                    label: Some(label),
                    teacher: None,
                    distillation: 0.0,
                };
                loss += image_loss(logits, target, weight, seed) * weight;
            }
            let gradients = self.engine.backward(&state.params, prepared, &[&seed]);
            for shared in &mut self.state.shared {
                let gradient = &gradients[shared.param];
                nesterov(
                    &mut shared.weight,
                    &mut shared.velocity,
                    gradient,
                    1e-3,
                    0.0,
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
                    nesterov(tensor, velocity, gradient, 1e-3, 0.0);
                }
            }
        }
        loss
    }
}
