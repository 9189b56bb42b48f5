//! In which order a block's passes run, which of them run row by row together, and which buffers
//! the gradients share.
//!
//! A block's map is about as large as a core's second cache. A pass that makes rows for the next, or
//! takes over those of the one before, therefore runs together with it, a few rows at a time: the
//! elementwise pass before a convolution, the moments behind it, and on the way back the slope of the
//! normalisation behind it, its two gradients, and the gate of the activation before it.
//!
//! A map that a pointwise step makes for one convolution alone is not kept: the way back makes its rows
//! again, from what the step reads, which is read for the gate anyway.
//!
//! Tasks of a segment work on one block without waiting for the others; between segments the blocks'
//! sums are joined.

use super::plan::{Halo, Plan, Pointwise, Scaling, SlotIx, Step};

/// A task of the forward pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Forward {
    /// A convolution or fully connected layer.
    Linear {
        /// The step.
        step: usize,
        /// The pointwise step that makes its input, row by row as it is needed.
        producer: Option<usize>,
        /// Normalisations whose moments are taken of its output.
        norms: Vec<usize>,
    },
    /// Any other step.
    Run(usize),
    /// The moments of a normalisation.
    Moments(usize),
}

/// A task of the backward pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Backward {
    /// A convolution or fully connected layer.
    Linear {
        /// The step.
        step: usize,
        /// The pointwise step and its summand that the gradient of the output comes through.
        slope: Option<(usize, usize)>,
        /// The pointwise step that made the input and whose gate the gradient goes through.
        gate: Option<usize>,
    },
    /// Any other step that is not pointwise.
    Run(usize),
    /// A pointwise step up to its sums.
    Gate(usize),
    /// One summand of a pointwise step, from the sums on.
    Slope(usize, usize),
}

/// Where the gradient of a slot lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has none.
    Nowhere,
    /// In this buffer of its block.
    Pool(usize),
    /// In the thread's scratch, because one task makes and uses it.
    Scratch,
}

/// The order of everything.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// With the batch's own statistics.
    pub forward_batch: Vec<Vec<Forward>>,
    /// With the running statistics.
    pub forward_running: Vec<Vec<Forward>>,
    /// From the gradients of the plan's outputs.
    pub backward: Vec<Vec<Backward>>,
    /// One entry a slot.
    pub places: Vec<Place>,
    /// Vectors of each buffer of gradients.
    pub pool: Vec<usize>,
    /// For each slot whose values are not kept, the pointwise step that makes its rows.
    pub makers: Vec<Option<usize>>,
}

impl Schedule {
    /// The schedule of `plan`; without the backward part if not `training`. With `keep_values`, every
    /// slot's values are there after a forward pass, and not only those that nothing can make again.
    pub fn new(plan: &Plan, training: bool, keep_values: bool) -> Self {
        let mut schedule = Self {
            forward_batch: forward(plan, true),
            forward_running: forward(plan, false),
            places: vec![Place::Nowhere; plan.slots.len()],
            makers: vec![None; plan.slots.len()],
            ..Self::default()
        };
        if training {
            let mut backward = backward(plan);
            fuse_slopes(plan, &mut backward);
            fuse_gates(plan, &mut backward);
            let aliases = alias_identities(plan, &mut backward);
            schedule.place(plan, &backward, &aliases);
            if !keep_values {
                schedule.makers = makers(plan, &schedule.forward_batch, &backward);
            }
            schedule.backward = backward;
        }
        schedule
    }

    /// Gives every gradient a buffer. Two share one if they are never needed at once.
    fn place(&mut self, plan: &Plan, backward: &[Vec<Backward>], aliases: &[SlotIx]) {
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; plan.slots.len()];
        let mut touch = |slot: SlotIx, at: usize| {
            let life = lives[aliases[slot]].get_or_insert((at, at));
            life.1 = at;
        };
        for &output in &plan.outputs {
            if plan.slots[output].needs_gradient {
                touch(output, 0);
            }
        }
        for (at, task) in backward.iter().flatten().enumerate() {
            let (reads, writes) = gradients_of(plan, task);
            for slot in reads.into_iter().chain(writes) {
                touch(slot, at + 1);
            }
            if let Backward::Linear {
                step,
                slope: Some(_),
                ..
            } = task
            {
                self.places[plan.steps[*step].output()] = Place::Scratch;
            }
        }
        let mut order: Vec<SlotIx> = (0..plan.slots.len())
            .filter(|&s| lives[s].is_some())
            .collect();
        order.sort_by_key(|&slot| lives[slot]);
        // When each buffer is free again.
        let mut free_at: Vec<usize> = Vec::new();
        for slot in order {
            let Some((first, last)) = lives[slot] else {
                continue;
            };
            let len = plan.slots[slot].gradient_len();
            let free = (0..free_at.len()).filter(|&b| free_at[b] < first);
            // The smallest that is large enough, or the largest, which then grows.
            let best = free.min_by_key(|&b| {
                let have = self.pool[b];
                (have < len, if have < len { len - have } else { have })
            });
            let buffer = best.unwrap_or_else(|| {
                free_at.push(0);
                self.pool.push(0);
                self.pool.len() - 1
            });
            free_at[buffer] = last;
            self.pool[buffer] = self.pool[buffer].max(len);
            self.places[slot] = Place::Pool(buffer);
        }
        for (slot, &alias) in aliases.iter().enumerate() {
            if alias != slot {
                self.places[slot] = self.places[alias];
            }
        }
    }
}

/// The normalisations that a step applies.
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

fn pointwise(plan: &Plan, step: usize) -> Option<&Pointwise> {
    match &plan.steps[step] {
        Step::Pointwise(p) => Some(p),
        _ => None,
    }
}

fn forward(plan: &Plan, moments: bool) -> Vec<Vec<Forward>> {
    let mut segments = vec![Vec::new()];
    let mut pending = vec![false; plan.norms.len()];
    let of = |slot: SlotIx, pending: &mut Vec<bool>| -> Vec<usize> {
        let all = plan.norms.iter().enumerate();
        let norms: Vec<usize> = all
            .filter(|(_, norm)| moments && norm.input == slot)
            .map(|(ix, _)| ix)
            .collect();
        norms.iter().for_each(|&ix| pending[ix] = true);
        norms
    };
    segments[0].extend(
        of(plan.input, &mut pending)
            .into_iter()
            .map(Forward::Moments),
    );
    for (ix, step) in plan.steps.iter().enumerate() {
        if norms_of(step).any(|n| pending[n]) {
            pending.fill(false);
            segments.push(Vec::new());
        }
        let norms = of(step.output(), &mut pending);
        let Some(segment) = segments.last_mut() else {
            continue;
        };
        if let Step::Linear(linear) = step {
            let producer = match segment.last() {
                Some(&Forward::Run(before)) => pointwise(plan, before)
                    .filter(|p| p.output == linear.input)
                    .map(|_| before),
                _ => None,
            };
            if producer.is_some() {
                segment.pop();
            }
            segment.push(Forward::Linear {
                step: ix,
                producer,
                norms,
            });
        } else {
            segment.push(Forward::Run(ix));
            segment.extend(norms.into_iter().map(Forward::Moments));
        }
    }
    segments
}

fn backward(plan: &Plan) -> Vec<Vec<Backward>> {
    let mut segments = vec![Vec::new()];
    for (ix, step) in plan.steps.iter().enumerate().rev() {
        if !plan.slots[step.output()].needs_gradient {
            continue;
        }
        let Some(segment) = segments.last_mut() else {
            continue;
        };
        match step {
            Step::Linear(_) => segment.push(Backward::Linear {
                step: ix,
                slope: None,
                gate: None,
            }),
            Step::Pointwise(p) => {
                segment.push(Backward::Gate(ix));
                let slopes = p.summands.iter().enumerate();
                segments.push(
                    slopes
                        .filter(|(_, t)| plan.slots[t.input].needs_gradient)
                        .map(|(t, _)| Backward::Slope(ix, t))
                        .collect(),
                );
            }
            _ => segment.push(Backward::Run(ix)),
        }
    }
    segments
}

/// The slots whose gradients a task reads, and those it writes.
fn gradients_of(plan: &Plan, task: &Backward) -> (Vec<SlotIx>, Vec<SlotIx>) {
    let needed = |slot: &SlotIx| plan.slots[*slot].needs_gradient;
    match *task {
        Backward::Linear { step, slope, gate } => {
            let step = &plan.steps[step];
            let mut reads = match slope.and_then(|(p, _)| pointwise(plan, p)) {
                Some(p) => vec![p.output],
                None => vec![step.output()],
            };
            reads.extend(gate.and_then(|g| pointwise(plan, g)).map(|p| p.output));
            (reads, step.inputs().into_iter().filter(needed).collect())
        }
        Backward::Run(step) => {
            let step = &plan.steps[step];
            let writes = step.inputs().into_iter().filter(needed).collect();
            (vec![step.output()], writes)
        }
        Backward::Gate(step) => (vec![plan.steps[step].output()], Vec::new()),
        Backward::Slope(step, summand) => {
            let input = plan.steps[step].inputs()[summand];
            (vec![plan.steps[step].output()], vec![input])
        }
    }
}

/// How many steps read each slot; outputs are read once more.
fn readers(plan: &Plan) -> Vec<usize> {
    let mut readers = vec![0; plan.slots.len()];
    let inputs = plan.steps.iter().flat_map(Step::inputs);
    for slot in inputs.chain(plan.outputs.iter().copied()) {
        readers[slot] += 1;
    }
    readers
}

/// For each slot that one linear step alone reads, the pointwise step that makes it, if both ways run
/// the two together.
fn makers(plan: &Plan, forward: &[Vec<Forward>], backward: &[Vec<Backward>]) -> Vec<Option<usize>> {
    let readers = readers(plan);
    let mut makers = vec![None; plan.slots.len()];
    for task in forward.iter().flatten() {
        let Forward::Linear {
            step,
            producer: Some(producer),
            ..
        } = *task
        else {
            continue;
        };
        let slot = plan.steps[producer].output();
        let together = backward.iter().flatten().any(|task| {
            matches!(*task, Backward::Linear { step: s, gate, .. }
                if s == step && gate == plan.slots[slot].needs_gradient.then_some(producer))
        });
        if readers[slot] == 1 && together {
            makers[slot] = Some(producer);
        }
    }
    makers
}

/// Moves the slope into the task of the linear step whose output it is the gradient of, where no
/// other step reads that output.
fn fuse_slopes(plan: &Plan, backward: &mut [Vec<Backward>]) {
    let readers = readers(plan);
    for segment in backward {
        let slopes: Vec<(usize, usize)> = segment
            .iter()
            .filter_map(|task| match *task {
                Backward::Slope(step, summand) => Some((step, summand)),
                _ => None,
            })
            .collect();
        for (p, summand) in slopes {
            let slot = plan.steps[p].inputs()[summand];
            if readers[slot] != 1 {
                continue;
            }
            let target = segment.iter_mut().find_map(|task| match task {
                Backward::Linear { step, slope, .. } if plan.steps[*step].output() == slot => {
                    Some(slope)
                }
                _ => None,
            });
            if let Some(slope) = target {
                *slope = Some((p, summand));
                segment.retain(|task| *task != Backward::Slope(p, summand));
            }
        }
    }
}

/// Moves the gate into the task of the linear step that writes the last share of its gradient.
fn fuse_gates(plan: &Plan, backward: &mut [Vec<Backward>]) {
    for segment in backward {
        let Some(&Backward::Gate(p)) = segment.last() else {
            continue;
        };
        let output = plan.steps[p].output();
        let writes = |task: &Backward| gradients_of(plan, task).1.contains(&output);
        let Some(Backward::Linear { gate, .. }) = segment.iter_mut().rfind(|t| writes(t)) else {
            continue;
        };
        *gate = Some(p);
        segment.pop();
    }
}

/// The gradient through a summand that is not scaled is the gradient behind it: where nothing stands
/// in the way, both get the same buffer and the slope falls away. Gives for each slot the one whose
/// buffer it shares.
fn alias_identities(plan: &Plan, backward: &mut [Vec<Backward>]) -> Vec<SlotIx> {
    let mut aliases: Vec<SlotIx> = (0..plan.slots.len()).collect();
    let flat: Vec<Backward> = backward.iter().flatten().cloned().collect();
    for task in &flat {
        let &Backward::Slope(step, summand) = task else {
            continue;
        };
        let Some(p) = pointwise(plan, step) else {
            continue;
        };
        let term = &p.summands[summand];
        let (from, to) = (p.output, term.input);
        let same_layout = plan.slots[from].gradient_halo == Halo::default()
            && plan.slots[to].gradient_halo == Halo::default();
        if term.scaling != Scaling::Identity || term.accumulate || !same_layout {
            continue;
        }
        // All that is done with the buffer so far must come before what is done with it from now on.
        let touches = |t: &Backward, slot: SlotIx| {
            let (reads, writes) = gradients_of(plan, t);
            reads
                .into_iter()
                .chain(writes)
                .any(|s| aliases[s] == aliases[slot])
        };
        let mut others = backward.iter().flatten().filter(|t| *t != task).enumerate();
        let last = (others.clone())
            .filter(|(_, t)| touches(t, from))
            .map(|(at, _)| at)
            .last();
        let first = others.find(|(_, t)| touches(t, to)).map(|(at, _)| at);
        if first.is_none() || first > last {
            aliases[to] = aliases[from];
            for segment in &mut *backward {
                segment.retain(|t| t != task);
            }
        }
    }
    aliases
}
