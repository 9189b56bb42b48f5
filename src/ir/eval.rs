//! Runs a program on the host: the same kernels, the same arena, the same bits as on the device.

use std::ops::Range;

use nest_format::{
    AddParams, BlockStream, CompactStream, DenseWeights, NestedStream, Requant, checksum,
};
use nest_kernels::layer;

use super::ids::{Id, LayerId, Level, TensorId};
use super::int::{IntBinary, IntMove};
use super::program::{EncodedStream, Payload, PlacedTensor, Program, Step};

/// What [`Executor::run_with`] shows after a step.
#[derive(Clone, Copy, Debug)]
pub struct StepOutput<'a> {
    /// Which step.
    pub step: LayerId,
    /// What it wrote, in `h, w, c` order.
    pub output: &'a [i8],
}

impl StepOutput<'_> {
    /// By which host and device compare: see [`nest_format::checksum`].
    pub fn checksum(&self) -> u32 {
        checksum(self.output)
    }
}

/// Runs one program on one image after another.
#[derive(Debug)]
pub struct Executor<'a> {
    program: &'a Program,
    steps: Vec<Prepared<'a>>,
    arena: Vec<i8>,
}

/// Descriptors that a step's kernel takes, checked once.
#[derive(Debug)]
struct Prepared<'a> {
    stream: Option<NestedStream<'a>>,
    blocks: Option<BlockStream<'a>>,
    compact: Option<CompactStream<'a>>,
    dense: Option<DenseWeights<'a>>,
    requant: Vec<&'a [Requant]>,
    /// Constants of sums, one list a level.
    sums: Vec<&'a [AddParams]>,
    /// The output's zero point, one a level.
    out_zero: Vec<i8>,
}

impl<'a> Executor<'a> {
    /// Prepares a verified program.
    ///
    /// # Panics
    /// If a stream is malformed, which the verifier rules out.
    pub fn new(program: &'a Program) -> Self {
        Self {
            program,
            steps: (program.steps.iter())
                .map(|step| Prepared::new(program, step))
                .collect(),
            arena: vec![0; program.arena_bytes.0 as usize],
        }
    }

    /// The program.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// Runs `level` on one image of int8 in `h, w, c` order; read the result with
    /// [`Executor::output`].
    ///
    /// # Panics
    /// If the input has another length, there is no such level, or the plan lets a step's output
    /// overlap its inputs.
    pub fn run(&mut self, level: Level, input: &[i8]) {
        self.run_with(level, input, &mut |_| {});
    }

    /// As [`Executor::run`]; `see` is shown every step's output.
    ///
    /// # Panics
    /// As [`Executor::run`].
    pub fn run_with(&mut self, level: Level, input: &[i8], see: &mut dyn FnMut(StepOutput<'_>)) {
        assert!(level.index() < self.program.level_count(), "{level}");
        let range = bytes_of(&self.program.tensors[self.program.input]);
        self.arena[range].copy_from_slice(input);
        for (id, step) in self.program.steps.iter_enumerated() {
            self.step(id, step, level.index());
            see(StepOutput {
                step: id,
                output: self.tensor(step.output),
            });
        }
    }

    /// The graph's output number `index` after a run.
    ///
    /// # Panics
    /// If there is no such output.
    pub fn output(&self, index: usize) -> &[i8] {
        self.tensor(self.program.outputs[index])
    }

    /// The bytes of a tensor as they lie in the arena; another tensor may have taken its place.
    pub fn tensor(&self, tensor: TensorId) -> &[i8] {
        &self.arena[bytes_of(&self.program.tensors[tensor])]
    }

    fn step(&mut self, id: LayerId, step: &Step, level: usize) {
        let prepared = &self.steps[id.index()];
        let (requant, out_zero) = (&prepared.requant[..], &prepared.out_zero[..]);
        let range = |t: TensorId| bytes_of(&self.program.tensors[t]);
        let from = range(step.inputs[0]);
        let to = range(step.output);
        // The reference kernels take none.
        let scratch: &mut [u32] = &mut [];
        let in_place = from == to;
        match &step.payload {
            Payload::Add(params) => {
                let add = layer::Add { params };
                let other = range(step.inputs[1]);
                if in_place {
                    let (b, out) = split(&mut self.arena, &other, &to);
                    nest_kernels::add_in_place(&add, level, out, b);
                } else {
                    let (a, b, out) = two_and_output(&mut self.arena, &from, &other, &to);
                    nest_kernels::add(&add, level, a, b, out);
                }
                return;
            }
            Payload::Binary {
                operation,
                a,
                b,
                output,
                constant,
            } => {
                let layer = layer::Binary {
                    operation: operation.layer(),
                    a: *a,
                    b: *b,
                    output: *output,
                };
                match (constant, in_place) {
                    (Some(b), true) => {
                        let data = &mut self.arena[to];
                        nest_kernels::binary_in_place(&layer, level, data, b);
                    }
                    (Some(b), false) => {
                        let (a, out) = split(&mut self.arena, &from, &to);
                        nest_kernels::binary(&layer, level, a, b, out);
                    }
                    (None, true) => {
                        let (b, out) = split(&mut self.arena, &range(step.inputs[1]), &to);
                        nest_kernels::binary_in_place(&layer, level, out, b);
                    }
                    (None, false) => {
                        let other = range(step.inputs[1]);
                        let (a, b, out) = two_and_output(&mut self.arena, &from, &other, &to);
                        nest_kernels::binary(&layer, level, a, b, out);
                    }
                }
                return;
            }
            Payload::Move(moves) => {
                for (&input, moved) in step.inputs.iter().zip(moves) {
                    let (x, out) = split(&mut self.arena, &range(input), &to);
                    moved.with_layer(x.len(), out.len(), |layer| {
                        nest_kernels::move_elements(layer, level, x, out);
                    });
                }
                return;
            }
            Payload::Clamp(bounds) if in_place => {
                let layer = layer::Clamp { bounds };
                nest_kernels::clamp_in_place(&layer, level, &mut self.arena[to]);
                return;
            }
            Payload::Lookup(table) if in_place => {
                let layer = layer::Lookup { table };
                nest_kernels::lookup_in_place(&layer, level, &mut self.arena[to]);
                return;
            }
            Payload::PRelu { zero, .. } if in_place => {
                let layer = layer::PRelu {
                    zero,
                    params: &prepared.sums,
                };
                nest_kernels::prelu_in_place(&layer, level, &mut self.arena[to]);
                return;
            }
            _ => {}
        }
        let copy;
        let (x, y) = if from.start < to.end && to.start < from.end {
            // The kernel reads what it needs before it writes over it: as if from a copy.
            copy = self.arena[from].to_vec();
            (&copy[..], &mut self.arena[to])
        } else {
            split(&mut self.arena, &from, &to)
        };
        match &step.payload {
            Payload::ConvNested {
                geometry,
                pad,
                tile,
                pass_tiles,
                ..
            } => {
                if let Some(stream) = prepared.stream {
                    let layer = layer::ConvNested {
                        geometry: *geometry,
                        stream,
                        requant,
                        out_zero,
                        pad,
                        tile: *tile,
                        pass_tiles: *pass_tiles,
                    };
                    nest_kernels::conv_nested(&layer, level, x, y, scratch);
                }
            }
            Payload::ConvBlock {
                geometry,
                pad,
                pass_tiles,
                ..
            } => {
                if let Some(stream) = prepared.blocks {
                    let layer = layer::ConvBlock {
                        geometry: *geometry,
                        stream,
                        requant,
                        out_zero,
                        pad,
                        pass_tiles: *pass_tiles,
                    };
                    nest_kernels::conv_block(&layer, level, x, y, scratch);
                }
            }
            Payload::ConvCompact {
                geometry,
                pad,
                tile,
                pass_tiles,
                buffer_words,
                ..
            } => {
                if let Some(stream) = prepared.compact {
                    let layer = layer::ConvCompact {
                        geometry: *geometry,
                        stream,
                        requant,
                        out_zero,
                        pad,
                        tile: *tile,
                        pass_tiles: *pass_tiles,
                        buffer_words: *buffer_words,
                    };
                    nest_kernels::conv_compact(&layer, level, x, y, scratch);
                }
            }
            Payload::ConvDense {
                geometry,
                pad,
                pass_tiles,
                ..
            } => {
                if let Some(weights) = prepared.dense {
                    let layer = layer::ConvDense {
                        geometry: *geometry,
                        weights,
                        requant,
                        out_zero,
                        pad,
                        pass_tiles: *pass_tiles,
                    };
                    nest_kernels::conv_dense(&layer, level, x, y, scratch);
                }
            }
            Payload::ConvGeneric {
                geometry,
                groups,
                weights,
                pad,
                ..
            } => {
                let layer = layer::ConvGeneric {
                    geometry: *geometry,
                    groups: *groups,
                    weights,
                    requant,
                    out_zero,
                    pad,
                };
                nest_kernels::conv_generic(&layer, level, x, y);
            }
            Payload::Depthwise {
                geometry,
                weights,
                pad,
                ..
            } => {
                let layer = layer::Depthwise {
                    geometry: *geometry,
                    weights,
                    requant,
                    out_zero,
                    pad,
                };
                nest_kernels::depthwise(&layer, level, x, y, scratch);
            }
            Payload::DenseNested { .. } => {
                if let Some(stream) = prepared.stream {
                    let layer = layer::DenseNested {
                        stream,
                        requant,
                        out_zero,
                    };
                    nest_kernels::dense_nested(&layer, level, x, y);
                }
            }
            Payload::FullyConnected {
                weights, columns, ..
            } => {
                let layer = layer::FullyConnected {
                    weights,
                    columns: *columns,
                    requant,
                    out_zero,
                };
                nest_kernels::fully_connected(&layer, level, x, y);
            }
            Payload::MaxPool(geometry) => {
                let layer = layer::MaxPool {
                    geometry: *geometry,
                };
                nest_kernels::max_pool(&layer, x, y);
            }
            Payload::AvgPool {
                geometry,
                count_include_pad,
                pad,
                ..
            } => {
                let layer = layer::AvgPool {
                    geometry: *geometry,
                    count_include_pad: *count_include_pad,
                    pad,
                    requant,
                    out_zero,
                };
                nest_kernels::avg_pool(&layer, level, x, y);
            }
            Payload::GlobalAvgPool {
                pixels,
                channels,
                requant,
            } => {
                let layer = layer::GlobalAvgPool {
                    pixels: *pixels,
                    channels: *channels,
                    requant,
                    out_zero,
                };
                nest_kernels::global_avg_pool(&layer, level, x, y);
            }
            Payload::Clamp(bounds) => {
                nest_kernels::clamp(&layer::Clamp { bounds }, level, x, y);
            }
            Payload::Pad {
                input,
                before,
                output,
                value,
            } => {
                let layer = layer::Pad {
                    input: *input,
                    before: *before,
                    output: *output,
                    value,
                };
                nest_kernels::pad(&layer, level, x, y);
            }
            Payload::Softmax { channels, table } => {
                let channels = *channels;
                nest_kernels::softmax(&layer::Softmax { channels, table }, level, x, y);
            }
            Payload::Lookup(table) => {
                nest_kernels::lookup(&layer::Lookup { table }, level, x, y);
            }
            Payload::PRelu { zero, .. } => {
                let layer = layer::PRelu {
                    zero,
                    params: &prepared.sums,
                };
                nest_kernels::prelu(&layer, level, x, y);
            }
            Payload::Resize {
                input,
                rows,
                columns,
            } => {
                let layer = layer::Resize {
                    input: *input,
                    rows,
                    columns,
                };
                nest_kernels::resize(&layer, x, y);
            }
            Payload::Add(_) | Payload::Binary { .. } | Payload::Move(_) => {
                unreachable!("layers of several inputs are handled above")
            }
        }
    }
}

impl<'a> Prepared<'a> {
    fn new(program: &Program, step: &'a Step) -> Self {
        let stream = |s: &'a EncodedStream| {
            NestedStream::new(s.rows, s.columns, s.levels, &s.words, &s.prefix)
        };
        let mut prepared = Self {
            stream: None,
            blocks: None,
            compact: None,
            dense: None,
            requant: Vec::new(),
            sums: Vec::new(),
            out_zero: program.zero_points(step.output),
        };
        let table: &'a [Vec<Requant>] = match &step.payload {
            Payload::ConvNested {
                stream: s, requant, ..
            }
            | Payload::DenseNested { stream: s, requant } => {
                prepared.stream = Some(stream(s));
                requant
            }
            Payload::ConvBlock {
                blocks, requant, ..
            } => {
                prepared.blocks = Some(blocks.stream().expect("a verified stream"));
                requant
            }
            Payload::ConvCompact {
                compact, requant, ..
            } => {
                prepared.compact = Some(compact.stream().expect("a verified stream"));
                requant
            }
            Payload::ConvDense {
                geometry,
                columns,
                words,
                requant,
                ..
            } => {
                prepared.dense = Some(DenseWeights::new(geometry.out_c, *columns, words));
                requant
            }
            Payload::ConvGeneric { requant, .. }
            | Payload::Depthwise { requant, .. }
            | Payload::FullyConnected { requant, .. }
            | Payload::AvgPool { requant, .. } => requant,
            Payload::PRelu { params, .. } => {
                prepared.sums = params.iter().map(Vec::as_slice).collect();
                &[]
            }
            _ => &[],
        };
        prepared.requant = table.iter().map(Vec::as_slice).collect();
        prepared
    }
}

fn bytes_of(tensor: &PlacedTensor) -> Range<usize> {
    tensor.offset..tensor.offset + tensor.shape.len()
}

impl IntBinary {
    /// As the kernels take it.
    fn layer(&self) -> layer::Operation<'_> {
        match self {
            IntBinary::Sum(params) => layer::Operation::Sum(params),
            IntBinary::Product(params) => layer::Operation::Product(params),
            IntBinary::Least(params) => layer::Operation::Least(params),
            IntBinary::Largest(params) => layer::Operation::Largest(params),
        }
    }
}

impl IntMove {
    /// Calls `run` with what the kernel takes, for an input and an output of so many elements.
    fn with_layer(&self, input: usize, output: usize, run: impl FnOnce(&layer::Move<'_>)) {
        let nests: Vec<layer::Nest<'_>> = (self.nests.iter())
            .map(|nest| layer::Nest {
                from: nest.from,
                to: nest.to,
                loops: &nest.loops,
            })
            .collect();
        run(&layer::Move {
            input: input as u32,
            output: output as u32,
            nests: &nests,
            table: self.tables.as_deref(),
        });
    }
}

/// Two parts of the arena that may be one, and a changeable part outside both.
fn two_and_output<'m>(
    arena: &'m mut [i8],
    a: &Range<usize>,
    b: &Range<usize>,
    own: &Range<usize>,
) -> (&'m [i8], &'m [i8], &'m mut [i8]) {
    let (before, rest) = arena.split_at_mut(own.start);
    let (out, after) = rest.split_at_mut(own.len());
    let (before, after) = (&*before, &*after);
    let side = |r: &Range<usize>| {
        if r.end <= own.start {
            &before[r.clone()]
        } else {
            &after[r.start - own.end..r.end - own.end]
        }
    };
    (side(a), side(b), out)
}

/// A shared and a changeable part of the arena, which must not overlap.
fn split<'m>(
    arena: &'m mut [i8],
    shared: &Range<usize>,
    own: &Range<usize>,
) -> (&'m [i8], &'m mut [i8]) {
    if shared.end <= own.start {
        let (low, high) = arena.split_at_mut(own.start);
        (&low[shared.clone()], &mut high[..own.len()])
    } else {
        assert!(
            own.end <= shared.start,
            "the plan lets an output overlap an input"
        );
        let (low, high) = arena.split_at_mut(shared.start);
        (&high[..shared.len()], &mut low[own.clone()])
    }
}
