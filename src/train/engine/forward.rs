//! The forward pass of a batch.

use crate::train::simd::elementwise::{Rows, Term, fold, moments, pointwise};
use crate::train::simd::{LANES, Lanes, Map};

use super::local::{Local, Operand};
use super::params::{Params, Running};
use super::plan::{Pointwise, Scaling, SlotIx, Step};
use super::rounding::Rounder;
use super::run::{Block, Engine, Mode, Prepared, Scratch, grown};
use super::schedule::Forward;
use super::softmax;

/// Share of the batch's statistics in the running ones.
pub const MOMENTUM: f32 = 0.1;

impl Engine {
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
        let input = self.plan.input;
        if self.rounding.is_some() {
            self.each_block(|engine, _, block, _| engine.round_slot(block, input));
        }
        let schedule = self.schedule.clone();
        let segments = match mode {
            Mode::Batch => &schedule.forward_batch,
            Mode::Running => &schedule.forward_running,
        };
        for segment in segments {
            self.each_block(|engine, _, block, scratch| {
                for task in segment {
                    engine.run_forward(block, scratch, task, params, prepared);
                }
            });
            for task in segment {
                let norms = match task {
                    Forward::Linear { norms, .. } => norms.as_slice(),
                    Forward::Moments(norm) => std::slice::from_ref(norm),
                    Forward::Run(_) => &[],
                };
                for &norm in norms {
                    let running = running.as_mut().map(|r| &mut r[norm]);
                    self.finish_moments(norm, params, running);
                }
            }
        }
    }

    fn run_forward(
        &self,
        block: &mut Block,
        scratch: &mut Scratch,
        task: &Forward,
        params: &Params,
        prepared: &Prepared,
    ) {
        match task {
            Forward::Linear {
                step,
                producer,
                norms,
            } => self.linear_forward(block, scratch, *step, *producer, norms, params, prepared),
            Forward::Moments(norm) => {
                let slot = self.plan.norms[*norm].input;
                let rows = 0..self.plan.slots[slot].shape.h;
                self.start_moments(*norm, scratch);
                self.add_moments(*norm, &block.values[slot], rows, params, &mut scratch.sums);
                finish_block_moments(block, *norm, &scratch.sums);
            }
            Forward::Run(step) => {
                let step = &self.plan.steps[*step];
                let mut out = std::mem::take(&mut block.values[step.output()]);
                self.run_step(block, step, params, &mut out);
                block.values[step.output()] = out;
                self.round_slot(block, step.output());
            }
        }
    }

    /// A step that is no convolution.
    fn run_step(&self, block: &Block, step: &Step, params: &Params, out: &mut [Lanes]) {
        let map = |slot: SlotIx| self.plan.slots[slot].map();
        let out_map = map(step.output());
        match step {
            Step::Linear(_) => unreachable!("a task of its own"),
            Step::Pointwise(p) => {
                let terms = self.terms(block, p, params);
                pointwise(self.isa, &terms, p.activation, &out_map, 0..out_map.h, out);
            }
            Step::Pool(s) => s.forward(&map(s.input), &block.values[s.input], &out_map, out),
            Step::Gather(s) => s.forward(&map(s.input), &block.values[s.input], &out_map, out),
            Step::Softmax(s) => {
                softmax::forward(&map(s.input), &block.values[s.input], &out_map, out);
            }
            Step::Local(s) => s.forward(&self.operands(block, s), &out_map, out),
        }
    }

    pub(super) fn operands<'a>(&self, block: &'a Block, step: &Local) -> Vec<Operand<'a>> {
        (step.inputs.iter())
            .map(|i| Operand {
                map: self.plan.slots[i.slot].map(),
                x: &block.values[i.slot],
            })
            .collect()
    }

    /// A buffer for the values of a slot that are not kept, with its margins zero. It is given back to
    /// `scratch.value`.
    pub(super) fn fresh_value(&self, scratch: &mut Scratch, slot: SlotIx) -> Vec<Lanes> {
        let mut value = std::mem::take(&mut scratch.value);
        let slot = &self.plan.slots[slot];
        clear_margins(&slot.map(), slot.len(), grown(&mut value, slot.len()));
        value
    }

    pub(super) fn terms<'a>(
        &'a self,
        block: &'a Block,
        p: &Pointwise,
        params: &'a Params,
    ) -> Vec<Term<'a>> {
        p.summands
            .iter()
            .map(|t| {
                let (scale, shift) = self.scale_and_shift(t.scaling, params);
                Term {
                    map: self.plan.slots[t.input].map(),
                    x: &block.values[t.input],
                    scale,
                    shift,
                }
            })
            .collect()
    }

    /// A convolution row by row: makes the rows of its input that the next one needs, computes it,
    /// and takes its moments.
    #[allow(clippy::too_many_arguments)]
    fn linear_forward(
        &self,
        block: &mut Block,
        scratch: &mut Scratch,
        step: usize,
        producer: Option<usize>,
        norms: &[usize],
        params: &Params,
        prepared: &Prepared,
    ) {
        let Step::Linear(linear) = &self.plan.steps[step] else {
            unreachable!("the schedule names a linear step");
        };
        let (x_map, out_map) = (
            self.plan.slots[linear.input].map(),
            self.plan.slots[linear.output].map(),
        );
        let kept = self.schedule.makers[linear.input].is_none();
        let mut x = if kept {
            std::mem::take(&mut block.values[linear.input])
        } else {
            self.fresh_value(scratch, linear.input)
        };
        let mut out = std::mem::take(&mut block.values[linear.output]);
        // A second normalisation of the same map is rare; it takes its moments behind the others.
        let (first, rest) = match norms.split_first() {
            Some((first, rest)) => (Some(*first), rest),
            None => (None, norms),
        };
        if let Some(norm) = first {
            self.start_moments(norm, scratch);
        }
        let producer = producer.map(|p| self.pointwise_step(p));
        let terms = producer.map_or(Vec::new(), |p| self.terms(block, p, params));
        let bias = linear.bias.map(|b| params.tensors[b].as_slice());
        let prepared = &prepared.linear[step];
        let mut rounder = Rounder::new(self, linear.input);
        let mut made = 0;
        let mut next = 0;
        while next < linear.out_rows() {
            let rows = next..(next + linear.rows_at_once(prepared)).min(linear.out_rows());
            next = rows.end;
            if let Some(p) = producer {
                let need = if next == linear.out_rows() {
                    x_map.h
                } else {
                    linear.input_rows_for(next).max(made)
                };
                pointwise(self.isa, &terms, p.activation, &x_map, made..need, &mut x);
                rounder.round(self, made..need, &mut x);
                made = need;
            }
            linear.forward(
                self.isa,
                prepared,
                bias,
                &x_map,
                &x,
                &out_map,
                rows.clone(),
                &mut out,
                &mut scratch.spare,
            );
            if let Some(norm) = first {
                self.add_moments(norm, &out, rows, params, &mut scratch.sums);
            }
        }
        drop(terms);
        if kept {
            block.values[linear.input] = x;
        } else {
            scratch.value = x;
        }
        if producer.is_some() {
            rounder.finish(block);
        }
        if let Some(norm) = first {
            finish_block_moments(block, norm, &scratch.sums);
        }
        for &norm in rest {
            self.start_moments(norm, scratch);
            self.add_moments(norm, &out, 0..out_map.h, params, &mut scratch.sums);
            finish_block_moments(block, norm, &scratch.sums);
        }
        block.values[linear.output] = out;
        self.round_slot(block, linear.output);
    }

    pub(super) fn pointwise_step(&self, step: usize) -> &Pointwise {
        match &self.plan.steps[step] {
            Step::Pointwise(p) => p,
            _ => unreachable!("the schedule names a pointwise step"),
        }
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

    fn start_moments(&self, norm: usize, scratch: &mut Scratch) {
        scratch.sums.clear();
        let channels = self.plan.norms[norm].channels;
        scratch.sums.resize(2 * channels, Lanes::ZERO);
    }

    fn add_moments(
        &self,
        norm: usize,
        x: &[Lanes],
        rows: Rows,
        params: &Params,
        sums: &mut [Lanes],
    ) {
        let map = self.plan.slots[self.plan.norms[norm].input].map();
        // Centring on the running mean keeps the variance exact where it is far from zero.
        moments(self.isa, &map, rows, x, &params.running[norm].mean, sums);
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
}

fn finish_block_moments(block: &mut Block, norm: usize, sums: &[Lanes]) {
    for (to, sum) in block.moments[norm].iter_mut().zip(sums) {
        *to = fold(sum, block.live);
    }
}

/// Makes what lies around the elements of a map zero: its buffer, of `len` vectors, may have held
/// another map.
pub(super) fn clear_margins(map: &Map, len: usize, buffer: &mut [Lanes]) {
    let mut from = 0;
    for y in 0..map.h {
        for c in 0..map.c {
            let span = map.span(c, y);
            buffer[from..span.start].fill(Lanes::ZERO);
            from = span.end;
        }
    }
    buffer[from..len].fill(Lanes::ZERO);
}
