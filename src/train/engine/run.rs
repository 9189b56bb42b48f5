//! Running a plan over a batch.

use std::sync::Arc;

use rayon::prelude::*;

use crate::ir::float::FloatGraph;
use crate::ir::ids::ValueId;
use crate::train::simd::elementwise::{
    Activation, Centred, Slope, Term, gate, moments, pointwise, slope,
};
use crate::train::simd::{Isa, LANES, Lanes};

use super::linear::{Maps, PreparedLinear, bias_gradient};
use super::local::{Local, Operand};
use super::params::{Params, Running};
use super::plan::{Fusion, Plan, Pointwise, Scaling, SlotIx, Step};
use super::softmax;

/// Share of the batch's statistics in the running ones.
const MOMENTUM: f32 = 0.1;

/// Which statistics batch normalisation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's own, as in training.
    Batch,
    /// The running ones, as in evaluation.
    Running,
}

/// Parameters arranged for the kernels; made by [`Engine::prepare`].
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    linear: Vec<PreparedLinear>,
}

/// What a batch normalisation does in the current pass.
#[derive(Clone, Debug, Default)]
struct NormState {
    mean: Vec<f32>,
    inverse: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// The gradient coefficients of one summand.
#[derive(Clone, Debug, Default)]
struct Slopes {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

/// Sixteen images and everything computed from them.
#[derive(Debug)]
struct Block {
    /// Lanes that hold an image.
    live: usize,
    mask: Lanes,
    values: Vec<Vec<Lanes>>,
    gradients: Vec<Vec<Lanes>>,
    /// This block's share of each parameter's gradient.
    params: Vec<Vec<f32>>,
    /// This block's share of each normalisation's moments, `[channel][2]`.
    moments: Vec<Vec<f64>>,
    /// This block's gradient sums of each pointwise step, `[channel][1 + summands]`.
    sums: Vec<Vec<f64>>,
    scratch: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
enum Forward {
    Run(usize),
    Moments(usize),
}

#[derive(Clone, Copy, Debug)]
enum Backward {
    /// A step in one go.
    Run(usize),
    /// A pointwise step up to its sums.
    Gate(usize),
    /// A pointwise step from its sums on.
    Slope(usize),
}

/// A plan with the buffers to run it.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    isa: Isa,
    threads: Threads,
    blocks: Vec<Block>,
    images: usize,
    mode: Mode,
    norms: Vec<NormState>,
    /// Ones and zeros for summands that are not scaled, as long as the widest map.
    ones: Vec<f32>,
    zeros: Vec<f32>,
    /// For each step and summand.
    slopes: Vec<Vec<Slopes>>,
    gradients: Vec<Vec<f32>>,
}

/// Where the blocks of a batch are worked on.
#[derive(Clone, Debug, Default)]
pub struct Threads(Option<Arc<rayon::ThreadPool>>);

impl Threads {
    /// `count` threads of their own, or the process's common pool (a thread a core).
    ///
    /// # Errors
    /// What the operating system said.
    pub fn new(count: Option<usize>) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build();
        Ok(Self(count.map(pool).transpose()?.map(Arc::new)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        match &self.0 {
            Some(pool) => pool.current_num_threads(),
            None => rayon::current_num_threads(),
        }
    }

    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

impl Engine {
    /// Buffers for up to `images` images of the part of `graph` that gives `outputs`; with those for gradients if `training`.
    pub fn new(
        graph: &FloatGraph,
        outputs: &[ValueId],
        fusion: Fusion,
        images: usize,
        training: bool,
        isa: Isa,
        threads: Threads,
    ) -> Self {
        let plan = Plan::new(graph, outputs, fusion);
        let widest = plan.slots.iter().map(|s| s.shape.c).max().unwrap_or(0);
        let block = |_| Block {
            live: 0,
            mask: Lanes::ZERO,
            values: plan
                .slots
                .iter()
                .map(|s| vec![Lanes::ZERO; s.len()])
                .collect(),
            gradients: plan
                .slots
                .iter()
                .map(|s| {
                    let len = if training && s.needs_gradient {
                        s.gradient_len()
                    } else {
                        0
                    };
                    vec![Lanes::ZERO; len]
                })
                .collect(),
            params: plan
                .params
                .iter()
                .map(|p| vec![0.0; if training && p.trained { p.len } else { 0 }])
                .collect(),
            moments: plan
                .norms
                .iter()
                .map(|n| vec![0.0; 2 * n.channels])
                .collect(),
            sums: vec![Vec::new(); plan.steps.len()],
            scratch: Vec::new(),
        };
        Self {
            isa,
            blocks: (0..images.div_ceil(LANES)).map(block).collect(),
            images: 0,
            mode: Mode::Running,
            norms: vec![NormState::default(); plan.norms.len()],
            ones: vec![1.0; widest],
            zeros: vec![0.0; widest],
            slopes: plan
                .steps
                .iter()
                .map(|s| match s {
                    Step::Pointwise(p) => vec![Slopes::default(); p.summands.len()],
                    _ => Vec::new(),
                })
                .collect(),
            gradients: plan.params.iter().map(|p| vec![0.0; p.len]).collect(),
            threads,
            plan,
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Images of the batch that is loaded.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Images that fit.
    pub fn capacity(&self) -> usize {
        self.blocks.len() * LANES
    }

    /// Takes `images` images; `input(i, out)` writes image `i`, channel-major.
    ///
    /// # Panics
    /// If there are more than [`Engine::capacity`].
    pub fn load(&mut self, images: usize, input: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        assert!(images <= self.capacity(), "{images} images fit");
        self.images = images;
        let slot = self.plan.input;
        let (map, shape) = (self.plan.slots[slot].map(), self.plan.slots[slot].shape);
        let blocks = &mut self.blocks[..images.div_ceil(LANES)];
        self.threads.install(|| {
            blocks.par_iter_mut().enumerate().for_each(|(b, block)| {
                block.live = (images - b * LANES).min(LANES);
                block.mask = Lanes(std::array::from_fn(|l| f32::from(l < block.live)));
                block.scratch.resize(shape.len(), 0.0);
                for lane in 0..LANES {
                    if lane < block.live {
                        input(b * LANES + lane, &mut block.scratch);
                    } else {
                        block.scratch.fill(0.0);
                    }
                    for (row, from) in block.scratch.chunks_exact(shape.w).enumerate() {
                        let span = map.span(row / shape.h, row % shape.h);
                        for (to, &v) in block.values[slot][span].iter_mut().zip(from) {
                            to.0[lane] = v;
                        }
                    }
                }
            });
        });
    }

    /// Arranges `params` for the kernels. `masks` has for each parameter the weights that live (the
    /// others must be zero), or `None` for all.
    pub fn prepare(&self, params: &Params, masks: &[Option<&[bool]>], prepared: &mut Prepared) {
        let plan = &self.plan;
        prepared
            .linear
            .resize_with(plan.steps.len(), Default::default);
        self.threads.install(|| {
            plan.steps
                .par_iter()
                .zip(&mut prepared.linear)
                .for_each(|(step, prepared)| {
                    if let Step::Linear(linear) = step {
                        let maps = Maps {
                            input: plan.slots[linear.input].map(),
                            dy: plan.slots[linear.output].gradient_map(),
                        };
                        let mask = masks.get(linear.weight).copied().flatten();
                        let weight = &params.tensors[linear.weight];
                        linear.prepare(self.isa, &maps, weight, mask, prepared);
                    }
                });
        });
    }

    /// Computes all values of the loaded images. In [`Mode::Batch`], `running` takes the batch's
    /// statistics in.
    pub fn forward(
        &mut self,
        params: &Params,
        prepared: &Prepared,
        mode: Mode,
        mut running: Option<&mut Vec<Running>>,
    ) {
        self.mode = mode;
        if mode == Mode::Running {
            for ix in 0..self.plan.norms.len() {
                let Running { mean, var } = &params.running[ix];
                self.set_norm(ix, params, mean.clone(), var);
            }
        }
        for segment in self.forward_segments() {
            self.each_block(|engine, block| {
                for task in &segment {
                    match *task {
                        Forward::Run(step) => engine.run_forward(block, step, params, prepared),
                        Forward::Moments(norm) => engine.take_moments(block, norm, params),
                    }
                }
            });
            for task in segment {
                if let Forward::Moments(norm) = task {
                    let running = running.as_mut().map(|r| &mut r[norm]);
                    self.finish_moments(norm, params, running);
                }
            }
        }
    }

    /// The loaded images' elements of `slot`, image after image, channel-major.
    pub fn read(&self, slot: SlotIx) -> Vec<f32> {
        let shape = self.plan.slots[slot].shape;
        let map = self.plan.slots[slot].map();
        let mut out = Vec::with_capacity(self.images * shape.len());
        for image in 0..self.images {
            let (block, lane) = (&self.blocks[image / LANES], image % LANES);
            for c in 0..shape.c {
                for y in 0..shape.h {
                    let span = &block.values[slot][map.span(c, y)];
                    out.extend(span.iter().map(|v| v.0[lane]));
                }
            }
        }
        out
    }

    /// The gradient of every trained parameter for the forward pass just run, where `seed` is the
    /// gradient of `slot` (image after image, channel-major). Steps behind `slot` are left out.
    pub fn backward(
        &mut self,
        params: &Params,
        prepared: &Prepared,
        slot: SlotIx,
        seed: &[f32],
    ) -> &mut [Vec<f32>] {
        let seeds: Vec<Vec<f32>> = (self.plan.outputs.iter())
            .map(|&o| if o == slot { seed.to_vec() } else { Vec::new() })
            .collect();
        let seeds: Vec<&[f32]> = seeds.iter().map(Vec::as_slice).collect();
        self.backward_all(params, prepared, &seeds)
    }

    /// As [`Engine::backward`] from all outputs together: `seeds` has one gradient for each of
    /// [`Plan::outputs`], laid out as [`Engine::read`] gives the output; an empty one counts as
    /// zeros.
    pub fn backward_all(
        &mut self,
        params: &Params,
        prepared: &Prepared,
        seeds: &[&[f32]],
    ) -> &mut [Vec<f32>] {
        self.seed(seeds);
        for segment in self.backward_segments() {
            self.each_block(|engine, block| {
                for task in &segment {
                    match *task {
                        Backward::Run(step) => engine.run_backward(block, step, prepared),
                        Backward::Gate(step) => engine.run_gate(block, step),
                        Backward::Slope(step) => engine.run_slope(block, step),
                    }
                }
            });
            for task in segment {
                if let Backward::Gate(step) = task {
                    self.finish_sums(step, params);
                }
            }
        }
        self.reduce();
        &mut self.gradients
    }

    /// Begins the gradients of the outputs.
    fn seed(&mut self, seeds: &[&[f32]]) {
        let slots = &self.plan.slots;
        for (b, block) in self.blocks.iter_mut().enumerate() {
            block.params.iter_mut().for_each(|p| p.fill(0.0));
            for &slot in &self.plan.outputs {
                block.gradients[slot].fill(Lanes::ZERO);
            }
            let live = self.images.saturating_sub(b * LANES).min(LANES);
            for (&slot, seed) in self.plan.outputs.iter().zip(seeds) {
                let (shape, map) = (slots[slot].shape, slots[slot].gradient_map());
                let images = seed.chunks_exact(shape.len()).skip(b * LANES);
                for (lane, image) in images.take(live).enumerate() {
                    for (i, row) in image.chunks_exact(shape.w).enumerate() {
                        for (at, &v) in map.span(i / shape.h, i % shape.h).zip(row) {
                            block.gradients[slot][at].0[lane] += v;
                        }
                    }
                }
            }
        }
    }

    fn each_block(&mut self, work: impl Fn(&Self, &mut Block) + Sync) {
        let used = self.images.div_ceil(LANES);
        let mut blocks = std::mem::take(&mut self.blocks);
        let engine = &*self;
        engine.threads.install(|| {
            blocks[..used]
                .par_iter_mut()
                .with_max_len(1)
                .for_each(|block| work(engine, block));
        });
        self.blocks = blocks;
    }

    /// Tasks between which blocks need not wait for each other.
    fn forward_segments(&self) -> Vec<Vec<Forward>> {
        let mut segments = vec![Vec::new()];
        let mut pending = vec![false; self.plan.norms.len()];
        let moments_of = |slot: SlotIx, pending: &mut Vec<bool>, segment: &mut Vec<Forward>| {
            for (ix, norm) in self.plan.norms.iter().enumerate() {
                if norm.input == slot && self.mode == Mode::Batch {
                    segment.push(Forward::Moments(ix));
                    pending[ix] = true;
                }
            }
        };
        moments_of(self.plan.input, &mut pending, &mut segments[0]);
        for (ix, step) in self.plan.steps.iter().enumerate() {
            if norms_of(step).any(|n| pending[n]) {
                pending.fill(false);
                segments.push(Vec::new());
            }
            if let Some(segment) = segments.last_mut() {
                segment.push(Forward::Run(ix));
                moments_of(step.output(), &mut pending, segment);
            }
        }
        segments
    }

    fn backward_segments(&self) -> Vec<Vec<Backward>> {
        let mut segments = vec![Vec::new()];
        for ix in (0..self.plan.steps.len()).rev() {
            let step = &self.plan.steps[ix];
            if !self.plan.slots[step.output()].needs_gradient {
                continue;
            }
            let mut push = |task| {
                if let Some(segment) = segments.last_mut() {
                    segment.push(task);
                }
            };
            if !matches!(step, Step::Pointwise(_)) {
                push(Backward::Run(ix));
                continue;
            }
            push(Backward::Gate(ix));
            segments.push(vec![Backward::Slope(ix)]);
        }
        segments
    }

    fn run_forward(&self, block: &mut Block, step: usize, params: &Params, prepared: &Prepared) {
        let step_ix = step;
        let step = &self.plan.steps[step];
        let out_map = self.plan.slots[step.output()].map();
        let mut out = std::mem::take(&mut block.values[step.output()]);
        let map = |slot: SlotIx| self.plan.slots[slot].map();
        match step {
            Step::Linear(s) => s.forward(
                self.isa,
                &prepared.linear[step_ix],
                s.bias.map(|b| params.tensors[b].as_slice()),
                &map(s.input),
                &block.values[s.input],
                &out_map,
                &mut out,
            ),
            Step::Pointwise(s) => {
                let terms: Vec<Term<'_>> = s
                    .summands
                    .iter()
                    .map(|t| {
                        let (scale, shift) = self.scale_and_shift(t.scaling, params);
                        Term {
                            map: map(t.input),
                            x: &block.values[t.input],
                            scale,
                            shift,
                        }
                    })
                    .collect();
                pointwise(self.isa, &terms, s.activation, &out_map, &mut out);
            }
            Step::Pool(s) => s.forward(&map(s.input), &block.values[s.input], &out_map, &mut out),
            Step::Gather(s) => {
                s.forward(&map(s.input), &block.values[s.input], &out_map, &mut out);
            }
            Step::Softmax(s) => {
                softmax::forward(&map(s.input), &block.values[s.input], &out_map, &mut out);
            }
            Step::Local(s) => s.forward(&self.operands(block, s), &out_map, &mut out),
        }
        block.values[step.output()] = out;
    }

    fn operands<'a>(&self, block: &'a Block, step: &Local) -> Vec<Operand<'a>> {
        (step.inputs.iter())
            .map(|i| Operand {
                map: self.plan.slots[i.slot].map(),
                x: &block.values[i.slot],
            })
            .collect()
    }

    fn run_local_backward(&self, block: &mut Block, step: &Local) {
        let slots = &self.plan.slots;
        let dy = std::mem::take(&mut block.gradients[step.output]);
        for (which, input) in step.inputs.iter().enumerate() {
            if !slots[input.slot].needs_gradient {
                continue;
            }
            let mut dx = std::mem::take(&mut block.gradients[input.slot]);
            step.backward(
                which,
                &self.operands(block, step),
                &Operand {
                    map: slots[step.output].map(),
                    x: &block.values[step.output],
                },
                &Operand {
                    map: slots[step.output].gradient_map(),
                    x: &dy,
                },
                &slots[input.slot].gradient_map(),
                &mut dx,
            );
            block.gradients[input.slot] = dx;
        }
        block.gradients[step.output] = dy;
    }

    fn scale_and_shift<'a>(
        &'a self,
        scaling: Scaling,
        params: &'a Params,
    ) -> (&'a [f32], &'a [f32]) {
        match scaling {
            Scaling::Identity => (&self.ones, &self.zeros),
            Scaling::Affine { scale, shift } => (&params.tensors[scale], &params.tensors[shift]),
            Scaling::Norm(ix) => (&self.norms[ix].scale, &self.norms[ix].shift),
        }
    }

    fn take_moments(&self, block: &mut Block, norm: usize, params: &Params) {
        let slot = self.plan.norms[norm].input;
        // Centring on the running mean keeps the variance exact where it is far from zero.
        moments(
            self.isa,
            &self.plan.slots[slot].map(),
            &block.values[slot],
            &params.running[norm].mean,
            block.live,
            &mut block.moments[norm],
        );
    }

    /// Joins the blocks' moments in block order.
    fn finish_moments(&mut self, ix: usize, params: &Params, running: Option<&mut Running>) {
        let norm = &self.plan.norms[ix];
        let count = (self.images * self.plan.slots[norm.input].shape.pixels()) as f64;
        let (mut mean, mut var) = (Vec::new(), Vec::new());
        for c in 0..norm.channels {
            let (mut first, mut second) = (0.0, 0.0);
            for block in &self.blocks[..self.images.div_ceil(LANES)] {
                first += block.moments[ix][2 * c];
                second += block.moments[ix][2 * c + 1];
            }
            let offset = first / count;
            mean.push((f64::from(params.running[ix].mean[c]) + offset) as f32);
            var.push((second / count - offset * offset).max(0.0) as f32);
        }
        if let Some(running) = running {
            let unbiased = (count / (count - 1.0).max(1.0)) as f32;
            for c in 0..norm.channels {
                running.mean[c] += MOMENTUM * (mean[c] - running.mean[c]);
                running.var[c] += MOMENTUM * (var[c] * unbiased - running.var[c]);
            }
        }
        self.set_norm(ix, params, mean, &var);
    }

    fn set_norm(&mut self, ix: usize, params: &Params, mean: Vec<f32>, var: &[f32]) {
        let norm = &self.plan.norms[ix];
        let (gamma, beta) = (&params.tensors[norm.gamma], &params.tensors[norm.beta]);
        let state = &mut self.norms[ix];
        state.inverse.clear();
        state.scale.clear();
        state.shift.clear();
        for c in 0..norm.channels {
            let inverse = 1.0 / (f64::from(var[c]) + f64::from(norm.epsilon)).sqrt();
            let scale = f64::from(gamma[c]) * inverse;
            state.inverse.push(inverse as f32);
            state.scale.push(scale as f32);
            state
                .shift
                .push((f64::from(beta[c]) - scale * f64::from(mean[c])) as f32);
        }
        state.mean = mean;
    }

    fn run_backward(&self, block: &mut Block, step: usize, prepared: &Prepared) {
        let step_ix = step;
        let step = &self.plan.steps[step];
        if let Step::Local(step) = step {
            return self.run_local_backward(block, step);
        }
        let slots = &self.plan.slots;
        let dy_map = slots[step.output()].gradient_map();
        let dy = std::mem::take(&mut block.gradients[step.output()]);
        let input = match step {
            Step::Linear(s) => s.input,
            Step::Pool(s) => s.input,
            Step::Gather(s) => s.input,
            Step::Softmax(s) => s.input,
            Step::Pointwise(_) | Step::Local(_) => unreachable!("they run by themselves"),
        };
        let (x_map, dx_map) = (slots[input].map(), slots[input].gradient_map());
        let mut dx = std::mem::take(&mut block.gradients[input]);
        let x = &block.values[input];
        if let Step::Linear(s) = step {
            s.weight_gradient(
                self.isa,
                &prepared.linear[step_ix],
                &x_map,
                x,
                &dy_map,
                &dy,
                &mut block.scratch,
                &mut block.params[s.weight],
            );
            if let Some(bias) = s.bias {
                bias_gradient(&dy_map, &dy, &mut block.params[bias]);
            }
        }
        if slots[input].needs_gradient {
            match step {
                Step::Linear(s) => {
                    let prepared = &prepared.linear[step_ix];
                    s.input_gradient(self.isa, prepared, &dy_map, &dy, &dx_map, &mut dx);
                }
                Step::Pool(s) => s.backward(&x_map, x, &dy_map, &dy, &dx_map, &mut dx),
                Step::Gather(s) => s.backward(&dy_map, &dy, &dx_map, &mut dx),
                Step::Softmax(s) => softmax::backward(
                    &slots[s.output].map(),
                    &block.values[s.output],
                    &dy_map,
                    &dy,
                    &dx_map,
                    &mut dx,
                    s.accumulate,
                ),
                Step::Pointwise(_) | Step::Local(_) => {}
            }
        }
        block.gradients[input] = dx;
        block.gradients[step.output()] = dy;
    }

    fn pointwise_step(&self, step: usize) -> &Pointwise {
        match &self.plan.steps[step] {
            Step::Pointwise(p) => p,
            _ => unreachable!("a pointwise step"),
        }
    }

    fn run_gate(&self, block: &mut Block, step: usize) {
        let p = self.pointwise_step(step);
        let slots = &self.plan.slots;
        let learns = |s: Scaling| match s {
            Scaling::Identity => false,
            Scaling::Affine { scale, .. } => self.plan.params[scale].trained,
            Scaling::Norm(_) => true,
        };
        if p.activation == Activation::None && !p.summands.iter().any(|t| learns(t.scaling)) {
            return;
        }
        let mut gradient = std::mem::take(&mut block.gradients[p.output]);
        let mut sums = std::mem::take(&mut block.sums[step]);
        let centred: Vec<Centred<'_>> = p
            .summands
            .iter()
            .map(|t| Centred {
                map: slots[t.input].map(),
                x: if learns(t.scaling) {
                    &block.values[t.input]
                } else {
                    &[]
                },
                center: match t.scaling {
                    Scaling::Norm(ix) => &self.norms[ix].mean,
                    _ => &self.zeros,
                },
            })
            .collect();
        sums.resize(slots[p.output].shape.c * (1 + centred.len()), 0.0);
        gate(
            self.isa,
            p.activation,
            &slots[p.output].map(),
            &block.values[p.output],
            &slots[p.output].gradient_map(),
            &mut gradient,
            &centred,
            &mut sums,
        );
        block.gradients[p.output] = gradient;
        block.sums[step] = sums;
    }

    /// Joins the blocks' sums in block order: the gradients of scales and shifts, and what the second
    /// part of the step needs.
    fn finish_sums(&mut self, step: usize, params: &Params) {
        let p = self.pointwise_step(step).clone();
        let shape = self.plan.slots[p.output].shape;
        let width = 1 + p.summands.len();
        let mut sums = vec![0.0; shape.c * width];
        for block in &self.blocks[..self.images.div_ceil(LANES)] {
            for (sum, v) in sums.iter_mut().zip(&block.sums[step]) {
                *sum += v;
            }
        }
        let count = (self.images * shape.pixels()) as f64;
        for (t, summand) in p.summands.iter().enumerate() {
            let total = |c: usize| sums[c * width];
            let product = |c: usize| sums[c * width + 1 + t];
            let slopes = &mut self.slopes[step][t];
            slopes.a.clear();
            slopes.b.clear();
            slopes.b.resize(shape.c, 0.0);
            slopes.c.clear();
            slopes.c.resize(shape.c, 0.0);
            match summand.scaling {
                Scaling::Identity => slopes.a.resize(shape.c, 1.0),
                Scaling::Affine { scale, shift } => {
                    slopes.a.extend(&params.tensors[scale]);
                    for c in 0..shape.c {
                        self.gradients[scale][c] = product(c) as f32;
                        self.gradients[shift][c] = total(c) as f32;
                    }
                }
                Scaling::Norm(ix) => {
                    let norm = &self.plan.norms[ix];
                    let state = &self.norms[ix];
                    slopes.a.extend(&state.scale);
                    for c in 0..shape.c {
                        let inverse = f64::from(state.inverse[c]);
                        self.gradients[norm.gamma][c] = (product(c) * inverse) as f32;
                        self.gradients[norm.beta][c] = total(c) as f32;
                        if self.mode == Mode::Batch {
                            // dx = a (dz - mean(dz) - xhat mean(dz xhat)), xhat = (x - mean) inverse
                            let a = f64::from(state.scale[c]);
                            let b = -a * inverse * inverse * product(c) / count;
                            slopes.b[c] = b as f32;
                            let k = -a * total(c) / count - b * f64::from(state.mean[c]);
                            slopes.c[c] = k as f32;
                        }
                    }
                }
            }
        }
    }

    fn run_slope(&self, block: &mut Block, step: usize) {
        let p = self.pointwise_step(step);
        let slots = &self.plan.slots;
        let dz = std::mem::take(&mut block.gradients[p.output]);
        for (t, slopes) in p.summands.iter().zip(&self.slopes[step]) {
            if !slots[t.input].needs_gradient {
                continue;
            }
            let mut dx = std::mem::take(&mut block.gradients[t.input]);
            slope(
                self.isa,
                &Slope {
                    a: &slopes.a,
                    b: &slopes.b,
                    c: &slopes.c,
                },
                &slots[p.output].gradient_map(),
                &dz,
                &slots[t.input].map(),
                &block.values[t.input],
                &block.mask,
                &slots[t.input].gradient_map(),
                &mut dx,
                t.accumulate,
            );
            block.gradients[t.input] = dx;
        }
        block.gradients[p.output] = dz;
    }

    /// Sums the blocks' parameter gradients in block order.
    fn reduce(&mut self) {
        let used = self.images.div_ceil(LANES);
        let (blocks, plan) = (&self.blocks[..used], &self.plan);
        let gradients = &mut self.gradients;
        self.threads.install(|| {
            gradients
                .par_iter_mut()
                .zip(&plan.params)
                .enumerate()
                .filter(|(_, (_, info))| {
                    info.trained && matches!(info.role, super::Role::Weight | super::Role::Bias)
                })
                .for_each(|(ix, (gradient, _))| {
                    gradient.fill(0.0);
                    for block in blocks {
                        for (sum, v) in gradient.iter_mut().zip(&block.params[ix]) {
                            *sum += v;
                        }
                    }
                });
        });
    }
}

fn norms_of(step: &Step) -> impl Iterator<Item = usize> + '_ {
    let summands = match step {
        Step::Pointwise(p) => p.summands.as_slice(),
        _ => &[],
    };
    summands.iter().filter_map(|t| match t.scaling {
        Scaling::Norm(ix) => Some(ix),
        _ => None,
    })
}
