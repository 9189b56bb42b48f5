//! Running a plan over a batch.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::ir::float::FloatGraph;
use crate::ir::ids::ValueId;
use crate::train::simd::pages::enlarge;
use crate::train::simd::{Isa, LANES, Lanes};

use super::linear::{Maps, PreparedLinear};
use super::params::Params;
use super::plan::{Fusion, Plan, SlotIx, Step};
use super::rounding::Rounding;
use super::schedule::Schedule;
use super::winograd::Spare;

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
    pub(super) linear: Vec<PreparedLinear>,
}

/// What a batch normalisation does in the current pass.
#[derive(Clone, Debug, Default)]
pub(super) struct NormState {
    pub mean: Vec<f32>,
    pub inverse: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

/// The gradient coefficients of one summand.
#[derive(Clone, Debug, Default)]
pub(super) struct Slopes {
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    pub c: Vec<f32>,
}

/// Sixteen images and everything computed from them.
#[derive(Debug)]
pub(super) struct Block {
    /// Lanes that hold an image.
    pub live: usize,
    pub mask: Lanes,
    /// One entry a slot; empty where values are not kept, see [`Schedule::makers`].
    pub values: Vec<Vec<Lanes>>,
    /// Gradients; see [`Schedule::places`].
    pub pool: Vec<Vec<Lanes>>,
    /// This block's share of each parameter's gradient.
    pub params: Vec<Vec<f32>>,
    /// This block's share of each normalisation's moments, `[channel][2]`.
    pub moments: Vec<Vec<f64>>,
    /// This block's gradient sums of each pointwise step, `[channel][1 + summands]`.
    pub sums: Vec<Vec<f64>>,
    /// The range of each slot that is rounded, or empty before any is.
    pub seen: Vec<[f32; 2]>,
}

/// What a thread needs while it works on a block.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// An image, or the sums of a list's weight gradient.
    pub numbers: Vec<f32>,
    /// Values that one task makes and uses.
    pub value: Vec<Lanes>,
    /// A gradient that one task makes and uses.
    pub gradient: Vec<Lanes>,
    /// Sums over rows, lane by lane.
    pub sums: Vec<Lanes>,
    /// Transformed maps.
    pub spare: Spare,
}

/// `buffer`, at least `len` vectors long. It never shrinks: what one layer leaves in it is not cleared
/// for the next.
pub(super) fn grown(buffer: &mut Vec<Lanes>, len: usize) -> &mut [Lanes] {
    if buffer.len() < len {
        buffer.resize(len, Lanes::ZERO);
        enlarge(buffer);
    }
    buffer
}

/// A plan with the buffers to run it.
#[derive(Debug)]
pub struct Engine {
    pub(super) plan: Plan,
    pub(super) schedule: Arc<Schedule>,
    pub(super) isa: Isa,
    pub(super) threads: Threads,
    pub(super) blocks: Vec<Block>,
    /// One for each thread.
    scratch: Vec<Mutex<Scratch>>,
    pub(super) images: usize,
    pub(super) mode: Mode,
    pub(super) norms: Vec<NormState>,
    /// One a slot, if anything is rounded.
    pub(super) rounding: Option<Vec<Rounding>>,
    /// Ones and zeros for summands that are not scaled, as long as the widest map.
    pub(super) ones: Vec<f32>,
    pub(super) zeros: Vec<f32>,
    /// For each step and summand.
    pub(super) slopes: Vec<Vec<Slopes>>,
    pub(super) gradients: Vec<Vec<f32>>,
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

    /// Does `work` on them.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
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
        let schedule = Schedule::new(&plan, training, fusion != Fusion::Fused);
        let widest = plan.slots.iter().map(|s| s.shape.c).max().unwrap_or(0);
        let block = |_| Block {
            live: 0,
            mask: Lanes::ZERO,
            values: plan
                .slots
                .iter()
                .zip(&schedule.makers)
                .map(|(s, maker)| vec![Lanes::ZERO; if maker.is_none() { s.len() } else { 0 }])
                .collect(),
            pool: schedule
                .pool
                .iter()
                .map(|&len| vec![Lanes::ZERO; len])
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
            seen: Vec::new(),
        };
        let blocks: Vec<Block> = (0..images.div_ceil(LANES)).map(block).collect();
        // Only now that all of it is there: a large page may span several buffers.
        for block in &blocks {
            block.values.iter().for_each(|v| enlarge(v));
            block.pool.iter().for_each(|v| enlarge(v));
        }
        Self {
            isa,
            blocks,
            images: 0,
            mode: Mode::Running,
            norms: vec![NormState::default(); plan.norms.len()],
            rounding: None,
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
            scratch: (0..threads.count()).map(|_| Mutex::default()).collect(),
            threads,
            schedule: Arc::new(schedule),
            plan,
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of all buffers that grow with the number of images.
    pub fn buffer_bytes(&self) -> u64 {
        let lanes = |all: &[Vec<Lanes>]| all.iter().map(|v| size_of_val(&v[..])).sum::<usize>();
        let of = |b: &Block| {
            let params: usize = b.params.iter().map(|p| size_of_val(&p[..])).sum();
            lanes(&b.values) + lanes(&b.pool) + params
        };
        self.blocks.iter().map(of).sum::<usize>() as u64
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
        self.each_block(|_, b, block, scratch| {
            block.live = (images - b * LANES).min(LANES);
            block.mask = Lanes(std::array::from_fn(|l| f32::from(l < block.live)));
            scratch.numbers.resize(shape.len(), 0.0);
            for lane in 0..LANES {
                if lane < block.live {
                    input(b * LANES + lane, &mut scratch.numbers);
                } else {
                    scratch.numbers.fill(0.0);
                }
                for (row, from) in scratch.numbers.chunks_exact(shape.w).enumerate() {
                    let span = map.span(row / shape.h, row % shape.h);
                    for (to, &v) in block.values[slot][span].iter_mut().zip(from) {
                        to.0[lane] = v;
                    }
                }
            }
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

    /// Works on every loaded block, given its index, in any order.
    pub(super) fn each_block(
        &mut self,
        work: impl Fn(&Self, usize, &mut Block, &mut Scratch) + Sync,
    ) {
        let used = self.images.div_ceil(LANES);
        let mut blocks = std::mem::take(&mut self.blocks);
        let engine = &*self;
        engine.threads.install(|| {
            blocks[..used]
                .par_iter_mut()
                .with_max_len(1)
                .enumerate()
                .for_each(|(b, block)| {
                    let thread = rayon::current_thread_index().unwrap_or(0);
                    let scratch = &engine.scratch[thread % engine.scratch.len()];
                    let mut scratch = scratch.lock().unwrap_or_else(PoisonError::into_inner);
                    work(engine, b, block, &mut scratch);
                });
        });
        self.blocks = blocks;
    }
}
