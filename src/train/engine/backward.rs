//! The backward pass of a batch.

use rayon::prelude::*;

use crate::train::simd::elementwise::{
    Activation, Centred, Rows, Slope, fold, gate, pointwise, slope,
};
use crate::train::simd::{LANES, Lanes, Map};

use super::forward;
use super::linear::bias_gradient;
use super::local::Operand;
use super::params::{Params, Role};
use super::plan::{Halo, Scaling, Slot, SlotIx, Step};
use super::run::{Block, Engine, Mode, Prepared, Scratch, grown};
use super::schedule::{Backward, Place};
use super::softmax;

/// What the gate of a pointwise step works with.
struct Gate<'a> {
    activation: Activation,
    out_map: Map,
    map: Map,
    centred: Vec<Centred<'a>>,
}

impl Engine {
    /// The gradient of every trained parameter for the forward pass just run. `seeds` has one
    /// gradient for each of [`Plan::outputs`](super::Plan::outputs), laid out as [`Engine::read`]
    /// gives the output; an empty one counts as zeros.
    ///
    /// # Panics
    /// If there are not as many seeds as outputs, or one is neither empty nor as long as its output.
    pub fn backward(
        &mut self,
        params: &Params,
        prepared: &Prepared,
        seeds: &[&[f32]],
    ) -> &mut [Vec<f32>] {
        assert_eq!(seeds.len(), self.plan.outputs.len());
        let images = self.images;
        self.each_block(|engine, b, block, _| {
            block.params.iter_mut().for_each(|p| p.fill(0.0));
            for &output in &engine.plan.outputs {
                if let Place::Pool(place) = engine.schedule.places[output] {
                    let len = engine.plan.slots[output].gradient_len();
                    block.pool[place][..len].fill(Lanes::ZERO);
                }
            }
            for (&output, seed) in engine.plan.outputs.iter().zip(seeds) {
                let slot = &engine.plan.slots[output];
                let len = slot.shape.len();
                assert!(seed.is_empty() || seed.len() == images * len);
                if let Place::Pool(place) = engine.schedule.places[output] {
                    let seed = seed.get(b * LANES * len..).unwrap_or(&[]);
                    plant(slot, block.live, seed, &mut block.pool[place]);
                }
            }
        });
        let schedule = self.schedule.clone();
        for segment in &schedule.backward {
            self.each_block(|engine, _, block, scratch| {
                for task in segment {
                    engine.run_backward(block, scratch, task, params, prepared);
                }
            });
            for task in segment {
                if let Backward::Gate(step)
                | Backward::Linear {
                    gate: Some(step), ..
                } = task
                {
                    self.finish_sums(*step, params);
                }
            }
        }
        self.reduce();
        &mut self.gradients
    }

    fn run_backward(
        &self,
        block: &mut Block,
        scratch: &mut Scratch,
        task: &Backward,
        params: &Params,
        prepared: &Prepared,
    ) {
        match *task {
            Backward::Linear { step, slope, gate } => {
                self.linear_backward(block, scratch, step, slope, gate, params, prepared);
            }
            Backward::Run(step) => self.step_backward(block, step),
            Backward::Gate(step) => {
                let output = self.pointwise_step(step).output;
                let mut gradient = self.take_gradient(block, output);
                if let Some(gate) = self.gate(block, step) {
                    self.start_sums(step, scratch);
                    let rows = 0..gate.map.h;
                    let out = &block.values[output];
                    self.add_gate(&gate, out, rows, &mut gradient, &mut scratch.sums);
                    drop(gate);
                    finish_block_sums(block, step, &scratch.sums);
                }
                self.put_gradient(block, output, gradient);
            }
            Backward::Slope(step, summand) => {
                let p = self.pointwise_step(step);
                let (output, input) = (p.output, p.summands[summand].input);
                let dz = self.take_gradient(block, output);
                let mut dx = self.take_gradient(block, input);
                let slot = &self.plan.slots[input];
                if !p.summands[summand].accumulate {
                    clear_margins(slot, &mut dx);
                }
                self.add_slope(block, step, summand, 0..slot.shape.h, &dz, &mut dx);
                self.put_gradient(block, input, dx);
                self.put_gradient(block, output, dz);
            }
        }
    }

    /// Takes the buffer of a slot's gradient; empty if it has none of its own.
    fn take_gradient(&self, block: &mut Block, slot: SlotIx) -> Vec<Lanes> {
        match self.schedule.places[slot] {
            Place::Pool(ix) => std::mem::take(&mut block.pool[ix]),
            Place::Nowhere | Place::Scratch => Vec::new(),
        }
    }

    fn put_gradient(&self, block: &mut Block, slot: SlotIx, gradient: Vec<Lanes>) {
        if let Place::Pool(ix) = self.schedule.places[slot] {
            block.pool[ix] = gradient;
        }
    }

    /// A step that is neither pointwise nor a convolution.
    fn step_backward(&self, block: &mut Block, step: usize) {
        let step = &self.plan.steps[step];
        let slots = &self.plan.slots;
        let dy_map = slots[step.output()].gradient_map();
        let dy = self.take_gradient(block, step.output());
        for (which, input) in step.inputs().into_iter().enumerate() {
            if !slots[input].needs_gradient {
                continue;
            }
            let (x_map, dx_map) = (slots[input].map(), slots[input].gradient_map());
            let mut dx = self.take_gradient(block, input);
            if !step.accumulates(input) {
                clear_margins(&slots[input], &mut dx);
            }
            let x = &block.values[input];
            match step {
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
                Step::Local(s) => {
                    let output = &slots[s.output];
                    let y = Operand {
                        map: output.map(),
                        x: &block.values[s.output],
                    };
                    let dy = Operand {
                        map: dy_map,
                        x: &dy,
                    };
                    let operands = self.operands(block, s);
                    s.backward(which, &operands, &y, &dy, &dx_map, &mut dx);
                }
                Step::Linear(_) | Step::Pointwise(_) => unreachable!("tasks of their own"),
            }
            self.put_gradient(block, input, dx);
        }
        self.put_gradient(block, step.output(), dy);
    }

    /// A convolution band by band: the gradient of its output through the normalisation behind it,
    /// the gradient of its weights, the rows of its input's gradient that are complete, and those
    /// through the activation before it.
    #[allow(clippy::too_many_arguments)]
    fn linear_backward(
        &self,
        block: &mut Block,
        scratch: &mut Scratch,
        step: usize,
        slope: Option<(usize, usize)>,
        gate: Option<usize>,
        params: &Params,
        prepared: &Prepared,
    ) {
        let Step::Linear(linear) = &self.plan.steps[step] else {
            unreachable!("the schedule names a linear step");
        };
        let prepared = &prepared.linear[step];
        let slots = &self.plan.slots;
        let (input, output) = (&slots[linear.input], &slots[linear.output]);
        let (x_map, dx_map, dy_map) = (input.map(), input.gradient_map(), output.gradient_map());
        // What stands behind the slope, and the gradient of the output itself.
        let (behind, mut dy) = match slope {
            Some((p, _)) => {
                let mut dy = std::mem::take(&mut scratch.gradient);
                clear_margins(output, grown(&mut dy, output.gradient_len()));
                (Some(self.pointwise_step(p).output), dy)
            }
            None => (None, self.take_gradient(block, linear.output)),
        };
        let dz = behind.map_or(Vec::new(), |slot| self.take_gradient(block, slot));
        let mut dx = self.take_gradient(block, linear.input);
        if input.needs_gradient && !linear.accumulate {
            clear_margins(input, &mut dx);
        }
        let mut gradient = std::mem::take(&mut block.params[linear.weight]);
        linear.start_weight_gradient(prepared, &mut scratch.numbers);
        let gate_step = gate;
        let gate = gate.and_then(|step| self.gate(block, step));
        if let Some(step) = gate_step {
            self.start_sums(step, scratch);
        }
        let maker = self.schedule.makers[linear.input].map(|p| self.pointwise_step(p));
        let mut made = match maker {
            Some(_) => self.fresh_value(scratch, linear.input),
            None => Vec::new(),
        };
        let terms = maker.map_or(Vec::new(), |p| self.terms(block, p, params));
        let mut made_rows = 0;
        let mut groups = 0;
        for first in (0..linear.out_rows()).step_by(linear.band_rows()) {
            let rows = first..(first + linear.band_rows()).min(linear.out_rows());
            if let Some((p, summand)) = slope {
                self.add_slope(block, p, summand, rows.clone(), &dz, &mut dy);
            }
            let ready = linear.input_groups_for(rows.end);
            let x = match maker {
                Some(p) => {
                    let need = (linear.input_rows_for(rows.end))
                        .max(linear.input_rows_before(ready))
                        .max(made_rows);
                    let rows = made_rows..need;
                    pointwise(self.isa, &terms, p.activation, &x_map, rows, &mut made);
                    made_rows = need;
                    &made
                }
                None => &block.values[linear.input],
            };
            linear.weight_gradient(
                self.isa,
                prepared,
                &x_map,
                x,
                &dy_map,
                &dy,
                rows.clone(),
                &mut scratch.numbers,
                &mut gradient,
                &mut scratch.spare,
            );
            if !input.needs_gradient {
                continue;
            }
            linear.input_gradient(
                self.isa,
                prepared,
                &dy_map,
                &dy,
                &dx_map,
                groups..ready,
                &mut dx,
                &mut scratch.spare,
            );
            if let Some(gate) = &gate {
                let rows = linear.input_rows_before(groups)..linear.input_rows_before(ready);
                self.add_gate(gate, x, rows, &mut dx, &mut scratch.sums);
            }
            groups = ready;
        }
        linear.finish_weight_gradient(prepared, &scratch.numbers, &mut gradient);
        let gated = gate.is_some();
        drop(gate);
        drop(terms);
        if maker.is_some() {
            scratch.value = made;
        }
        if let Some(step) = gate_step.filter(|_| gated) {
            finish_block_sums(block, step, &scratch.sums);
        }
        block.params[linear.weight] = gradient;
        if let Some(bias) = linear.bias {
            bias_gradient(&dy_map, &dy, &mut block.params[bias]);
        }
        self.put_gradient(block, linear.input, dx);
        match behind {
            Some(slot) => {
                self.put_gradient(block, slot, dz);
                scratch.gradient = dy;
            }
            None => self.put_gradient(block, linear.output, dy),
        }
    }

    /// The gate of a pointwise step, unless it changes and sums nothing.
    fn gate<'a>(&'a self, block: &'a Block, step: usize) -> Option<Gate<'a>> {
        let p = self.pointwise_step(step);
        let slots = &self.plan.slots;
        if p.activation == Activation::None && !p.summands.iter().any(|t| self.learns(t.scaling)) {
            return None;
        }
        let centred = p.summands.iter().map(|t| Centred {
            map: slots[t.input].map(),
            x: if self.learns(t.scaling) {
                &block.values[t.input]
            } else {
                &[]
            },
            center: match t.scaling {
                Scaling::Norm(ix) => &self.norms[ix].mean,
                _ => &self.zeros,
            },
        });
        Some(Gate {
            activation: p.activation,
            out_map: slots[p.output].map(),
            map: slots[p.output].gradient_map(),
            centred: centred.collect(),
        })
    }

    /// Whether anything about a scaling is trained.
    fn learns(&self, scaling: Scaling) -> bool {
        match scaling {
            Scaling::Identity => false,
            Scaling::Affine { scale, .. } => self.plan.params[scale].trained,
            Scaling::Norm(_) => true,
        }
    }

    fn start_sums(&self, step: usize, scratch: &mut Scratch) {
        let p = self.pointwise_step(step);
        let width = 1 + p.summands.len();
        let channels = self.plan.slots[p.output].shape.c;
        scratch.sums.clear();
        scratch.sums.resize(channels * width, Lanes::ZERO);
    }

    fn add_gate(
        &self,
        g: &Gate<'_>,
        out: &[Lanes],
        rows: Rows,
        gradient: &mut [Lanes],
        sums: &mut [Lanes],
    ) {
        gate(
            self.isa,
            g.activation,
            &g.out_map,
            out,
            &g.map,
            rows,
            gradient,
            &g.centred,
            sums,
        );
    }

    fn add_slope(
        &self,
        block: &Block,
        step: usize,
        summand: usize,
        rows: Rows,
        dz: &[Lanes],
        dx: &mut [Lanes],
    ) {
        let p = self.pointwise_step(step);
        let slots = &self.plan.slots;
        let term = &p.summands[summand];
        let slopes = &self.slopes[step][summand];
        slope(
            self.isa,
            &Slope {
                a: &slopes.a,
                b: &slopes.b,
                c: &slopes.c,
            },
            &slots[p.output].gradient_map(),
            rows,
            dz,
            &slots[term.input].map(),
            &block.values[term.input],
            &block.mask,
            &slots[term.input].gradient_map(),
            dx,
            term.accumulate,
        );
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
                    info.trained && matches!(info.role, Role::Weight | Role::Bias)
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

fn finish_block_sums(block: &mut Block, step: usize, sums: &[Lanes]) {
    let to = &mut block.sums[step];
    to.clear();
    // Lanes that hold no image have no gradient.
    to.extend(sums.iter().map(|sum| fold(sum, LANES)));
}

/// Adds the gradients `seed` of the first `live` images, image after image.
fn plant(slot: &Slot, live: usize, seed: &[f32], gradient: &mut [Lanes]) {
    let (map, shape) = (slot.gradient_map(), slot.shape);
    let images = seed.chunks_exact(shape.len()).take(live);
    for (lane, image) in images.enumerate() {
        for (i, row) in image.chunks_exact(shape.w).enumerate() {
            for (to, &v) in gradient[map.span(i / shape.h, i % shape.h)]
                .iter_mut()
                .zip(row)
            {
                to.0[lane] += v;
            }
        }
    }
}

/// Makes the margins of a gradient zero: its buffer may have held another map.
fn clear_margins(slot: &Slot, gradient: &mut [Lanes]) {
    if slot.gradient_halo != Halo::default() {
        forward::clear_margins(&slot.gradient_map(), slot.gradient_len(), gradient);
    }
}
