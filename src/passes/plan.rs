//! The static memory plan: every activation and every kernel's scratch gets its place in one arena.
//!
//! A tensor lives from the step that writes it to the last step that reads it; the network's input
//! from the start, outputs to the end; scratch while its step runs. An addition, a clamp or another
//! function of single elements whose input dies with it writes over that input: tensors joined that way
//! are one block. A convolution whose input dies with it may begin its output below that input, so far
//! below that no byte is overwritten before the pass that reads it has packed it
//! ([`Payload::least_distance`]): the two then share bytes. Other blocks that live at the same time may
//! not overlap. What the fullest step
//! holds is a lower bound that no plan can beat, and the search ([`search`]) stops where it is reached.

use std::collections::BTreeMap;

use crate::ir::ids::{Id, IdVec, LayerId, TensorId};
use crate::ir::program::{
    PassChoice, Payload, PlacedTensor, Program, Step, shared_bytes, word_bytes,
};
use crate::units::{Bytes, Cycles};

use super::cost;
use super::encode::EncodedGraph;

mod banks;
mod search;

use search::Found;

/// Weights up to this size stay in a data cache of 16 KiB from one pass to the next.
const CACHED: Bytes = Bytes(12 << 10);

/// How much of the arena steps are to fill with longer passes, tried in turn.
const FILLED_PERCENT: [usize; 5] = [100, 97, 93, 88, 80];

/// Scratch begins at multiples of this: kernels load pairs of words, and their speed must not depend
/// on what lies before.
const SCRATCH_ALIGN: usize = 8;

/// Where every tensor lies.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryPlan {
    /// First byte of each tensor, a multiple of 4.
    pub offsets: IdVec<TensorId, usize>,
    /// First byte of each step's scratch, a multiple of 8.
    pub scratch: IdVec<LayerId, usize>,
    /// Bytes of the arena.
    pub bytes: usize,
    /// How many of them, from the first on, lie in the fast memory; 0 if the arena is one block.
    pub fast_bytes: usize,
    /// What each step holds besides its scratch.
    needs: Vec<Needs>,
    /// No plan with these kernels and passes needs less: what is live in the fullest step, or
    /// the arena itself where the search proved that nothing better exists.
    pub lower_bound: usize,
    /// The fullest step.
    pub peak: Option<LayerId>,
}

/// Plans memory and makes the program; whether it fits a board is for that board to say.
pub fn plan(encoded: EncodedGraph) -> Program {
    plan_for(encoded, None)
}

/// Tightly coupled memory that a plan may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastMemory {
    /// Room for a whole arena.
    pub whole: Bytes,
    /// Room for a part of an arena whose rest lies elsewhere; 0 if arenas are not to be divided.
    pub part: Bytes,
}

/// As [`plan`], for a board with fast memory. An arena that would exceed it is planned with shorter
/// passes, whose scratch is smaller, where that makes it fit. In one that fits, passes become as long
/// as the arena has room for anyway: the fewer passes, the fewer times weights are read. An arena that does
/// not fit is divided: see [`Program::fast_bytes`]. Where it may not be, all of it is in cached memory, and
/// long passes displace what they read: there they are cut by the cost model.
pub fn plan_for(encoded: EncodedGraph, fast_memory: Option<FastMemory>) -> Program {
    let EncodedGraph {
        graph,
        mut steps,
        parts,
    } = encoded;
    let tensors = Tensors {
        sizes: graph.tensors.iter().map(|t| t.shape.len()).collect(),
        parts: (parts.iter())
            .map(|(&part, &(of, row))| {
                let shape = graph.tensors[of].shape;
                (part, (of, row * shape.w * shape.c))
            })
            .collect(),
        input: graph.input,
        outputs: graph.outputs.clone(),
    };
    let mut memory = place(&tensors, &mut steps);
    if let Some(fast_memory) = fast_memory {
        let [whole, part] = [fast_memory.whole, fast_memory.part]
            .map(|Bytes(room)| usize::try_from(room).unwrap_or(usize::MAX));
        // To fit if it does not, then to be fast if it fits. Steps that all fill the arena are hard to
        // place: a share of it may do better.
        for to_fit in [true, false] {
            if to_fit == (memory.bytes <= whole) {
                continue;
            }
            let budget = if to_fit { whole } else { memory.bytes };
            let found = FILLED_PERCENT.iter().find_map(|percent| {
                let mut other = steps.clone();
                fit_passes(&memory, &mut other, budget, budget / 100 * percent);
                let plan = place(&tensors, &mut other);
                (plan.bytes <= budget).then_some((plan, other))
            });
            if let Some(found) = found {
                (memory, steps) = found;
            }
        }
        if memory.bytes > whole && part > 0 {
            let layout = Layout::of(&tensors, &mut steps);
            if let Some(divided) = banks::divide(&layout, &steps, part) {
                memory = divided;
            }
        }
    }
    let cached = memory.fast_bytes == 0
        && fast_memory.is_some_and(|fast| Bytes(memory.bytes as u64) > fast.whole);
    if cached {
        let mut other = steps.clone();
        cut_for_cache(&memory, &tensors.sizes, &mut other);
        let plan = place(&tensors, &mut other);
        if plan.bytes <= memory.bytes {
            (memory, steps) = (plan, other);
        }
    }
    for (step, &offset) in steps.iter_mut().zip(memory.scratch.iter()) {
        step.scratch_offset = offset;
    }
    for step in steps.iter_mut() {
        estimate_anew(step, &tensors.sizes, cached);
    }
    let placed = (graph.tensors.iter_enumerated())
        .map(|(id, t)| PlacedTensor {
            name: t.name.clone(),
            shape: t.shape,
            quant: t.quant.clone(),
            offset: memory.offsets[id],
            part_of: parts.get(&id).map(|part| part.0),
        })
        .collect();
    Program {
        name: graph.name,
        sparsities: graph.sparsities,
        tensors: placed,
        steps,
        input: graph.input,
        outputs: graph.outputs,
        arena_bytes: Bytes(memory.bytes as u64),
        fast_bytes: Bytes(memory.fast_bytes as u64),
        arena_bound: Bytes(memory.lower_bound as u64),
        patches: None,
        preprocessing: None,
    }
}

/// Brings the estimates of a step up to the passes it has now, and to the memory of its activations.
fn estimate_anew(step: &mut Step, sizes: &IdVec<TensorId, usize>, cached: bool) {
    let cycles: Vec<Cycles> = (0..step.estimated_cycles.len())
        .map(|level| cycles_of(step, &step.payload, sizes, level, cached))
        .collect();
    if let Some(chosen) = (step.candidates.iter_mut()).find(|c| c.kernel == step.kernel) {
        chosen.cycles.clone_from(&cycles);
        chosen.scratch_words = step.scratch_words;
    }
    step.estimated_cycles = cycles;
}

/// What the cost model expects of `step`, were it to run `payload`.
fn cycles_of(
    step: &Step,
    payload: &Payload,
    sizes: &IdVec<TensorId, usize>,
    level: usize,
    cached: bool,
) -> Cycles {
    let cycles = cost::cycles(payload, sizes[step.output], level);
    if !cached {
        return cycles;
    }
    let read: usize = step.inputs.iter().map(|&t| sizes[t]).sum();
    cycles + cost::behind_cache(payload, read + sizes[step.output], level)
}

/// Cuts convolutions whose scratch would displace itself from the data cache into the fewest passes
/// that the cost model likes best, none longer than they are and none that takes a larger arena.
fn cut_for_cache(
    memory: &MemoryPlan,
    sizes: &IdVec<TensorId, usize>,
    steps: &mut IdVec<LayerId, Step>,
) {
    for (step, needs) in steps.iter_mut().zip(&memory.needs) {
        let levels = step.estimated_cycles.len();
        let total = |payload: &Payload| -> Cycles {
            (0..levels)
                .map(|level| cycles_of(step, payload, sizes, level, true))
                .sum()
        };
        let mut best = (total(&step.payload), None);
        let mut payload = step.payload.clone();
        for choice in step.payload.pass_choices().into_iter().rev() {
            if choice.scratch_words >= step.scratch_words
                || needs.with(&step.payload, choice.pass_tiles, choice.scratch_words) > memory.bytes
            {
                continue;
            }
            if let Some(tiles) = payload.pass_tiles_mut() {
                *tiles = choice.pass_tiles;
            }
            let cycles = total(&payload);
            if cycles < best.0 {
                best = (cycles, Some(choice));
            }
        }
        if let (_, Some(choice)) = best
            && let Some(tiles) = step.payload.pass_tiles_mut()
        {
            *tiles = choice.pass_tiles;
            step.scratch_words = choice.scratch_words;
        }
    }
}

/// Cuts convolutions into the fewest passes with which their steps need no more than `wanted` bytes,
/// if each pass fetches the weights anew. Others stay as they are if that is within the `budget`, and
/// else get the passes with which they need least.
fn fit_passes(memory: &MemoryPlan, steps: &mut IdVec<LayerId, Step>, budget: usize, wanted: usize) {
    for (step, needs) in steps.iter_mut().zip(&memory.needs) {
        let payload = &step.payload;
        let Some(now) = payload.pass_tiles() else {
            continue;
        };
        let needed_by =
            |choice: &PassChoice| needs.with(payload, choice.pass_tiles, choice.scratch_words);
        let fetched_anew = step.weight_bytes + step.index_bytes > CACHED;
        let fits_now = needs.with(payload, now, step.scratch_words) <= budget;
        if fits_now && !fetched_anew {
            continue;
        }
        let choices = payload.pass_choices();
        let longest = (choices.iter())
            .filter(|choice| fetched_anew && needed_by(choice) <= wanted)
            .min_by_key(|choice| choice.passes);
        let best = match longest {
            None if !fits_now => choices.iter().min_by_key(|choice| needed_by(choice)),
            longest => longest,
        };
        if let (Some(&choice), Some(tiles)) = (best, step.payload.pass_tiles_mut()) {
            *tiles = choice.pass_tiles;
            step.scratch_words = choice.scratch_words;
        }
    }
}

/// What a step holds besides its scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// Bytes of all live tensors, apart.
    tensors: usize,
    /// Bytes of the input and of the output that may lie over it.
    shares: Option<[usize; 2]>,
}

impl Needs {
    /// Bytes of it all where `payload` runs in such passes.
    fn with(&self, payload: &Payload, pass_tiles: u16, scratch_words: usize) -> usize {
        let shared = self.shares.map_or(0, |[input, output]| {
            let least = payload.least_distance_with(pass_tiles);
            shared_bytes(input, output, least.map_or(input, word_bytes))
        });
        self.tensors + 4 * scratch_words - shared
    }
}

/// A block of memory: one tensor, several that take turns in one place, or scratch.
#[derive(Clone, Debug)]
struct Block {
    bytes: usize,
    /// Of its first byte.
    align: usize,
    /// Live at these steps, both ends included; the input lives from before step 0 (as 0).
    from: usize,
    to: usize,
    /// Empty for scratch.
    tensors: Vec<TensorId>,
    /// The block of the input that this one, an output, may share bytes with, and how far below it
    /// it must begin then.
    over: Option<(usize, usize)>,
}

impl Block {
    fn meets(&self, other: &Block) -> bool {
        self.from <= other.to && other.from <= self.to
    }
    fn lives(&self, at: usize) -> bool {
        self.from <= at && at <= self.to
    }
}

/// All blocks of a program.
struct Layout {
    blocks: Vec<Block>,
    /// The block of the first step's scratch; those of the others follow.
    first_scratch: usize,
    tensors: Tensors,
}

/// What is to be placed.
#[derive(Clone, Debug)]
struct Tensors {
    /// Bytes of each.
    sizes: IdVec<TensorId, usize>,
    /// Those that lie in others: in which, and from which byte on.
    parts: BTreeMap<TensorId, (TensorId, usize)>,
    input: TensorId,
    outputs: Vec<TensorId>,
}

impl Tensors {
    fn whole(&self, tensor: TensorId) -> TensorId {
        self.parts.get(&tensor).map_or(tensor, |part| part.0)
    }
}

impl Layout {
    /// The blocks of all tensors; swaps an addition's inputs where that puts it in place.
    fn of(tensors: &Tensors, steps: &mut IdVec<LayerId, Step>) -> Self {
        let mut blocks = blocks(tensors, steps);
        let first_scratch = blocks.len();
        for (at, step) in steps.iter().enumerate() {
            blocks.push(Block {
                bytes: 4 * step.scratch_words,
                align: SCRATCH_ALIGN,
                from: at,
                to: at,
                tensors: Vec::new(),
                over: None,
            });
        }
        Self {
            blocks,
            first_scratch,
            tensors: tensors.clone(),
        }
    }

    /// The plan that puts blocks at `offsets`; `[bytes, fast_bytes, lower_bound]`.
    fn plan(&self, offsets: &[usize], steps: usize, bytes: [usize; 3]) -> MemoryPlan {
        let [bytes, fast_bytes, lower_bound] = bytes;
        let mut of_tensors: IdVec<TensorId, usize> = self.tensors.sizes.iter().map(|_| 0).collect();
        for (block, &offset) in self.blocks.iter().zip(offsets) {
            for &tensor in &block.tensors {
                of_tensors[tensor] = offset;
            }
        }
        for (&part, &(of, from)) in &self.tensors.parts {
            of_tensors[part] = of_tensors[of] + from;
        }
        let needs = (0..steps.max(1)).map(|at| {
            let live = || (self.blocks[..self.first_scratch].iter()).filter(move |b| b.lives(at));
            let written = live().filter(|b| b.from == at);
            let over = written.filter_map(|b| Some((b.over?.0, b.bytes))).next();
            Needs {
                tensors: live().map(|b| b.bytes).sum(),
                shares: over.map(|(input, output)| [self.blocks[input].bytes, output]),
            }
        });
        let peak = fullest(&self.blocks).map(|(_, at)| at);
        MemoryPlan {
            offsets: of_tensors,
            scratch: offsets[self.first_scratch..].iter().copied().collect(),
            bytes,
            fast_bytes,
            needs: needs.collect(),
            lower_bound,
            peak: peak.filter(|&at| at < steps).map(LayerId::from_index),
        }
    }
}

/// What the fullest step holds, and which that is: a bound that no plan of these blocks can beat.
fn fullest(blocks: &[Block]) -> Option<(usize, usize)> {
    let live = |at: usize| -> usize {
        let live = blocks.iter().filter(|b| b.lives(at));
        let shared = (blocks.iter().filter(|b| b.from == at))
            .filter_map(|b| Some((b.over?, b.bytes)))
            .map(|((input, least), output)| shared_bytes(blocks[input].bytes, output, least));
        live.map(|b| b.bytes).sum::<usize>() - shared.sum::<usize>()
    };
    let steps = blocks.iter().map(|b| b.from + 1).max()?;
    (0..steps)
        .map(|at| (live(at), at))
        .max_by_key(|&(bytes, at)| (bytes, std::cmp::Reverse(at)))
}

/// Places tensors in one block; swaps an addition's inputs where that puts it in place.
fn place(tensors: &Tensors, steps: &mut IdVec<LayerId, Step>) -> MemoryPlan {
    let layout = Layout::of(tensors, steps);
    let bound = fullest(&layout.blocks).map_or(0, |(bytes, _)| bytes);
    let Found {
        offsets,
        bytes,
        lower_bound,
    } = search::best_offsets(&layout.blocks, bound);
    layout.plan(&offsets, steps.len(), [bytes, 0, lower_bound])
}

/// A block for each tensor that is no part and takes no other's place.
fn blocks(tensors: &Tensors, steps: &mut IdVec<LayerId, Step>) -> Vec<Block> {
    let Tensors { sizes, input, .. } = tensors;
    let end = steps.len();
    let mut last_read: IdVec<TensorId, Option<usize>> = sizes.iter().map(|_| None).collect();
    for (at, step) in steps.iter().enumerate() {
        for &t in &step.inputs {
            last_read[tensors.whole(t)] = Some(at);
        }
    }
    for &t in &tensors.outputs {
        last_read[tensors.whole(t)] = Some(end);
    }

    let mut blocks: Vec<Block> = Vec::new();
    let mut block_of: IdVec<TensorId, usize> = sizes.iter().map(|_| usize::MAX).collect();
    let open = |t: TensorId, from: usize, blocks: &mut Vec<Block>| {
        blocks.push(Block {
            // Kernels copy whole words: every tensor ends on one.
            bytes: word_bytes(sizes[t]),
            align: 4,
            from,
            to: last_read[t].unwrap_or(from).max(from),
            tensors: vec![t],
            over: None,
        });
        blocks.len() - 1
    };
    block_of[*input] = open(*input, 0, &mut blocks);
    for (at, step) in steps.iter_mut().enumerate() {
        let output = tensors.whole(step.output);
        if output != step.output {
            // A part: the whole is there as soon as any of it is.
            if block_of[output] == usize::MAX {
                block_of[output] = open(output, at, &mut blocks);
            }
            continue;
        }
        let part = |t: TensorId| tensors.parts.contains_key(&t);
        let dies =
            |t: TensorId| last_read[t] == Some(at) && sizes[t] == sizes[step.output] && !part(t);
        let over = match &mut step.payload {
            Payload::Add(params) => {
                let [a, b] = [step.inputs[0], step.inputs[1]];
                if a == b {
                    None
                } else if dies(a) {
                    Some(a)
                } else if dies(b) {
                    step.inputs.swap(0, 1);
                    for p in params {
                        std::mem::swap(&mut p.factor_a, &mut p.factor_b);
                    }
                    Some(b)
                } else {
                    None
                }
            }
            other if other.runs_in_place() => {
                let twice = step.inputs[1..].contains(&step.inputs[0]);
                Some(step.inputs[0]).filter(|&t| dies(t) && !twice)
            }
            _ => None,
        };
        block_of[step.output] = match over {
            Some(t) => {
                let block = block_of[t];
                blocks[block].tensors.push(step.output);
                blocks[block].to = last_read[step.output].unwrap_or(at).max(at);
                block
            }
            None => {
                let block = open(step.output, at, &mut blocks);
                let input = block_of[tensors.whole(step.inputs[0])];
                if blocks[input].to == at && !part(step.inputs[0]) {
                    let distance = step.payload.least_distance();
                    blocks[block].over = distance.map(|d| (input, d.next_multiple_of(4)));
                }
                block
            }
        };
    }
    blocks
}

#[cfg(test)]
mod tests;
