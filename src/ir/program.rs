//! The program: layers with encoded weights, a chosen kernel each, and every tensor and every
//! kernel's scratch at its place in one arena. What the emitted crate contains and what the host executes, bit by bit.

use serde::{Deserialize, Serialize};

use nest_format::{AddParams, BlockStream, CompactStream, FormatError, Requant};
use nest_kernels::layer::{Geometry, Tap, Tile};
use nest_kernels::{DensePasses, DepthwiseStrips, NestedLayout};

use super::ids::{IdVec, LayerId, TensorId};
use super::int::{IntBinary, IntMove, Quant, RequantTable};
use super::nested::Preprocessing;
use crate::units::{Bytes, Cycles, Macs};

use super::float::Shape;

/// An activation at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedTensor {
    /// The ONNX tensor's name.
    pub name: String,
    /// Extent; data are in `h, w, c` order.
    pub shape: Shape,
    /// One a level.
    pub quant: Vec<Quant>,
    /// First byte in the arena, a multiple of 4.
    pub offset: usize,
    /// The tensor of which this one is some rows, in the same bytes. What one step writes in part,
    /// others may read as a whole.
    pub part_of: Option<TensorId>,
}

impl PlacedTensor {
    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.shape.w * self.shape.c
    }
}

/// A nested stream, owned: see [`nest_format::NestedStream`].
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedStream {
    /// Output channels.
    pub rows: u16,
    /// Inputs of a row.
    pub columns: u16,
    /// Levels.
    pub levels: u8,
    /// Entries, two a word.
    pub words: Vec<u32>,
    /// `[level][row]`.
    pub prefix: Vec<u16>,
}

impl EncodedStream {
    /// Bytes of a count in flash: one where all fit.
    pub fn count_bytes(&self) -> usize {
        if self.prefix.iter().all(|&n| n <= u8::MAX.into()) {
            1
        } else {
            2
        }
    }
}

/// A compact stream, owned: see [`nest_format::CompactStream`].
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedCompact {
    /// Output channels.
    pub rows: u16,
    /// Columns of a row.
    pub columns: u16,
    /// Whether entries are counted in two bytes.
    pub wide: bool,
    /// Bits of a gap, one a level.
    pub gap_bits: Vec<u8>,
    /// All rows.
    pub bytes: Vec<u8>,
}

impl EncodedCompact {
    /// The stream as kernels take it.
    ///
    /// # Errors
    /// What is malformed.
    pub fn stream(&self) -> Result<CompactStream<'_>, FormatError> {
        CompactStream::try_new(
            self.rows,
            self.columns,
            self.wide,
            &self.gap_bits,
            &self.bytes,
        )
    }

    /// The weights that running `level` uses, `rows x columns`, as a kernel reads them; none of a
    /// malformed stream.
    pub fn decode(&self, level: usize) -> Vec<i8> {
        let columns = usize::from(self.columns);
        let mut weights = vec![0i8; usize::from(self.rows) * columns];
        let Ok(stream) = self.stream() else {
            return Vec::new();
        };
        let mut start = 0;
        for row in weights.chunks_exact_mut(columns.max(1)) {
            let (mut next, mut column) = (stream.body(start), 0i32);
            for index in 0..stream.levels() {
                let at = stream.level(start, next, index);
                for i in 0..if index <= level { at.count } else { 0 } {
                    let (delta, weight) = stream.entry(&at, index, i);
                    column += i32::from(delta);
                    row[column as usize] += weight;
                }
                next = at.end;
            }
            start = next;
        }
        weights
    }
}

/// A stream of 1x4 blocks, owned: see [`nest_format::BlockStream`].
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedBlocks {
    /// Output channels.
    pub rows: u16,
    /// Inputs of a row.
    pub columns: u16,
    /// Levels.
    pub levels: u8,
    /// Four weights each.
    pub words: Vec<u32>,
    /// Blocks from one to the next.
    pub steps: Vec<i8>,
    /// `[level][row]`.
    pub prefix: Vec<u16>,
}

impl EncodedBlocks {
    /// The stream as kernels take it.
    ///
    /// # Errors
    /// What is malformed.
    pub fn stream(&self) -> Result<BlockStream<'_>, FormatError> {
        BlockStream::try_new(
            self.rows,
            self.columns,
            self.levels,
            &self.words,
            &self.steps,
            &self.prefix,
        )
    }

    /// The weights that running `level` uses, `rows x columns`, as a kernel reads them.
    ///
    /// # Panics
    /// If the stream is malformed.
    pub fn decode(&self, level: usize) -> Vec<i8> {
        let (rows, columns) = (usize::from(self.rows), usize::from(self.columns));
        let densest = usize::from(self.levels) - 1;
        let mut weights = vec![0i8; rows * columns];
        let mut start = 0;
        for row in 0..rows {
            let mut block = 0i32;
            for i in start..start + usize::from(self.prefix[level * rows + row]) {
                block += i32::from(self.steps[i]);
                let at = row * columns + 4 * block as usize;
                for (to, byte) in weights[at..at + 4]
                    .iter_mut()
                    .zip(self.words[i].to_le_bytes())
                {
                    *to += byte as i8;
                }
            }
            start += usize::from(self.prefix[densest * rows + row]);
        }
        weights
    }
}

/// What a step runs: one variant for each layer type of [`nest_kernels::layer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// See [`nest_kernels::layer::ConvNested`].
    ConvNested {
        /// Extents.
        geometry: Geometry,
        /// Weights.
        stream: EncodedStream,
        /// Constants.
        requant: RequantTable,
        /// One a level.
        pad: Vec<i8>,
        /// Pixels at once.
        tile: Tile,
        /// Tiles of a pass.
        pass_tiles: u16,
    },
    /// See [`nest_kernels::layer::ConvCompact`].
    ConvCompact {
        /// Extents.
        geometry: Geometry,
        /// Weights.
        compact: EncodedCompact,
        /// Constants.
        requant: RequantTable,
        /// One a level.
        pad: Vec<i8>,
        /// Pixels at once.
        tile: Tile,
        /// Tiles of a pass.
        pass_tiles: u16,
        /// Words for expanded rows.
        buffer_words: u16,
    },
    /// See [`nest_kernels::layer::ConvBlock`].
    ConvBlock {
        /// Extents.
        geometry: Geometry,
        /// Weights.
        blocks: EncodedBlocks,
        /// Constants.
        requant: RequantTable,
        /// One a level.
        pad: Vec<i8>,
        /// Tiles of a pass.
        pass_tiles: u16,
    },
    /// See [`nest_kernels::layer::ConvDense`].
    ConvDense {
        /// Extents.
        geometry: Geometry,
        /// Columns of a row.
        columns: u16,
        /// See [`nest_format::DenseWeights`].
        words: Vec<u32>,
        /// Constants.
        requant: RequantTable,
        /// One a level.
        pad: Vec<i8>,
        /// See [`nest_kernels::DensePasses`].
        pass_tiles: u16,
    },
    /// See [`nest_kernels::layer::ConvGeneric`].
    ConvGeneric {
        /// Extents.
        geometry: Geometry,
        /// Groups.
        groups: u16,
        /// `[out channel][ky][kx][in channel of the group]`.
        weights: Vec<i8>,
        /// Constants.
        requant: RequantTable,
        /// One a level.
        pad: Vec<i8>,
    },
    /// See [`nest_kernels::layer::Depthwise`]; in place if the output lies on the input.
    Depthwise {
        /// Extents.
        geometry: Geometry,
        /// `[ky][kx][out channel]`.
        weights: Vec<i8>,
        /// Constants.
        requant: RequantTable,
        /// One a level.
        pad: Vec<i8>,
    },
    /// See [`nest_kernels::layer::DenseNested`].
    DenseNested {
        /// Weights.
        stream: EncodedStream,
        /// Constants.
        requant: RequantTable,
    },
    /// See [`nest_kernels::layer::FullyConnected`].
    FullyConnected {
        /// `[out][in]`.
        weights: Vec<i8>,
        /// Inputs.
        columns: u16,
        /// Constants.
        requant: RequantTable,
    },
    /// See [`nest_kernels::layer::Add`]. If the output lies on an input, the step is in place.
    Add(Vec<AddParams>),
    /// See [`nest_kernels::layer::MaxPool`].
    MaxPool(Geometry),
    /// See [`nest_kernels::layer::AvgPool`].
    AvgPool {
        /// Extents.
        geometry: Geometry,
        /// Whether padding counts.
        count_include_pad: bool,
        /// One a level.
        pad: Vec<i8>,
        /// Constants.
        requant: RequantTable,
    },
    /// See [`nest_kernels::layer::GlobalAvgPool`].
    GlobalAvgPool {
        /// Pixels of the input.
        pixels: u32,
        /// Channels.
        channels: u16,
        /// One a level.
        requant: Vec<Requant>,
    },
    /// See [`nest_kernels::layer::Clamp`]; in place if the output lies on the input.
    Clamp(Vec<[i8; 2]>),
    /// See [`nest_kernels::layer::Pad`].
    Pad {
        /// Input `[h, w, c]`.
        input: [u16; 3],
        /// Elements before.
        before: [u16; 3],
        /// Output `[h, w, c]`.
        output: [u16; 3],
        /// One a level.
        value: Vec<i8>,
    },
    /// See [`nest_kernels::layer::Softmax`].
    Softmax {
        /// Of a pixel.
        channels: u16,
        /// One a level.
        table: Vec<[u32; 256]>,
    },
    /// See [`nest_kernels::layer::Lookup`]; in place if the output lies on the input.
    Lookup(Vec<[i8; 256]>),
    /// One [`nest_kernels::layer::Move`] an input.
    Move(Vec<IntMove>),
    /// See [`nest_kernels::layer::Binary`]; in place if the output lies on the first input.
    Binary {
        /// The function.
        operation: IntBinary,
        /// First input `[h, w, c]`.
        a: [u16; 3],
        /// Second input `[h, w, c]`.
        b: [u16; 3],
        /// Output `[h, w, c]`.
        output: [u16; 3],
        /// The second input, if it is no tensor.
        constant: Option<Vec<i8>>,
    },
    /// See [`nest_kernels::layer::PRelu`]; in place if the output lies on the input.
    PRelu {
        /// Zero point of the input, one a level.
        zero: Vec<i8>,
        /// `[level][channel]`.
        params: Vec<Vec<AddParams>>,
    },
    /// See [`nest_kernels::layer::Resize`].
    Resize {
        /// Input `[h, w, c]`.
        input: [u16; 3],
        /// One an output row.
        rows: Vec<Tap>,
        /// One an output column.
        columns: Vec<Tap>,
    },
}

/// How a convolution may be cut into passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassChoice {
    /// Tiles of a pass.
    pub pass_tiles: u16,
    /// Passes.
    pub passes: usize,
    /// Scratch, in words.
    pub scratch_words: usize,
}

impl Payload {
    /// Whether the output may take exactly the first input's place: it has the same extent, and the
    /// kernel reads each element before it writes there.
    pub fn runs_in_place(&self) -> bool {
        match self {
            Payload::Add(_) | Payload::Clamp(_) | Payload::Lookup(_) | Payload::PRelu { .. } => {
                true
            }
            Payload::Binary { a, output, .. } => a == output,
            Payload::Depthwise { geometry, .. } => DepthwiseStrips::in_place(geometry),
            _ => false,
        }
    }

    /// How many tensors it reads.
    pub fn arity(&self) -> usize {
        match self {
            Payload::Add(_) | Payload::Binary { constant: None, .. } => 2,
            Payload::Move(inputs) => inputs.len(),
            _ => 1,
        }
    }

    /// The lengths of passes to choose from, longest scratch last: for each number of passes that a
    /// convolution can run in, the fewest tiles a pass that reach it. Empty for layers that do not
    /// run in passes.
    pub fn pass_choices(&self) -> Vec<PassChoice> {
        let mut choices: Vec<PassChoice> = Vec::new();
        let mut add = |pass_tiles: usize, passes: usize, scratch_words: usize| {
            if choices.last().is_none_or(|last| passes < last.passes) {
                choices.push(PassChoice {
                    pass_tiles: pass_tiles as u16,
                    passes,
                    scratch_words,
                });
            }
        };
        match self {
            Payload::ConvNested { geometry, tile, .. } => {
                let layout = NestedLayout::of(geometry, *tile);
                for layout in layout.into_iter() {
                    for tiles in 1..=layout.tiles().min(u16::MAX.into()) {
                        let passes = (0..).take_while(|&i| layout.pass(tiles, i).is_some());
                        add(tiles, passes.count(), layout.scratch_words(tiles));
                    }
                }
            }
            Payload::ConvDense { geometry, .. } => {
                let pixels = geometry.out_pixels();
                let all = DensePasses::new(pixels, u16::MAX).most_tiles();
                for tiles in 1..=all {
                    let passes = DensePasses::new(pixels, tiles as u16).count();
                    let words = nest_kernels::conv_dense_scratch_words(geometry, tiles as u16);
                    add(tiles, passes, words);
                }
            }
            _ => {}
        }
        choices
    }

    /// The tiles of its passes, if it runs in passes.
    pub fn pass_tiles(&self) -> Option<u16> {
        match self {
            Payload::ConvNested { pass_tiles, .. } | Payload::ConvDense { pass_tiles, .. } => {
                Some(*pass_tiles)
            }
            _ => None,
        }
    }

    /// The same, to change them; the scratch follows.
    pub fn pass_tiles_mut(&mut self) -> Option<&mut u16> {
        match self {
            Payload::ConvNested { pass_tiles, .. } | Payload::ConvDense { pass_tiles, .. } => {
                Some(pass_tiles)
            }
            _ => None,
        }
    }

    /// How many bytes below its input the output must begin at least, where the two may share bytes:
    /// for kernels that read what they need before they write over it.
    pub fn least_distance(&self) -> Option<usize> {
        self.least_distance_with(self.pass_tiles()?)
    }

    /// [`Self::least_distance`] if passes had so many tiles.
    pub fn least_distance_with(&self, pass_tiles: u16) -> Option<usize> {
        match self {
            Payload::ConvNested { geometry, tile, .. } => {
                nest_kernels::conv_nested_least_distance(geometry, *tile, pass_tiles)
            }
            Payload::ConvDense { geometry, .. } => Some(nest_kernels::conv_dense_least_distance(
                geometry, pass_tiles,
            )),
            _ => None,
        }
    }
}

/// One layer of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The ONNX node's name.
    pub name: String,
    /// The operator for reports: `conv2d`, `depthwise`, `dense`, `add`, `max_pool`, ….
    pub op: &'static str,
    /// The kernel's name in [`nest_kernels`]' table, as the device runs it.
    pub kernel: &'static str,
    /// What it runs.
    pub payload: Payload,
    /// The earlier step whose constants are its own, too: flash holds them once.
    pub same_as: Option<LayerId>,
    /// What it reads.
    pub inputs: Vec<TensorId>,
    /// What it writes.
    pub output: TensorId,
    /// Scratch it needs, in 32-bit words.
    pub scratch_words: usize,
    /// First byte of the scratch in the arena, a multiple of 8. It is the step's only while it runs.
    pub scratch_offset: usize,
    /// Multiply-accumulates of the model's layer with all weights live.
    pub macs: Macs,
    /// What is left of them without dead channels.
    pub live_macs: Macs,
    /// Multiply-accumulates by the model's non-zero weights, one a level.
    pub effective_macs: Vec<Macs>,
    /// The model's non-zero weights, one a level.
    pub nonzero_weights: Vec<u64>,
    /// The model's weights, zero or not.
    pub weights: u64,
    /// Output channels in the model; those of a convolution that are dead are not in the program.
    pub model_channels: usize,
    /// Flash for weight values.
    pub weight_bytes: Bytes,
    /// Flash for indices (deltas, fillers, counts).
    pub index_bytes: Bytes,
    /// Flash for requantisation constants and tables.
    pub requant_bytes: Bytes,
    /// What the cost model expects, one a level.
    pub estimated_cycles: Vec<Cycles>,
    /// All kernels that were considered, this step's among them; none for operators without weights.
    pub candidates: Vec<Candidate>,
}

/// A kernel that was considered for a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name in [`nest_kernels`]' table.
    pub kernel: &'static str,
    /// Why it cannot run the layer; the figures are 0 then.
    pub refused: Option<String>,
    /// Estimated cycles, one a level.
    pub cycles: Vec<Cycles>,
    /// Flash for weights and indices.
    pub flash: Bytes,
    /// Scratch, in 32-bit words.
    pub scratch_words: usize,
}

impl Candidate {
    /// Estimated cycles, on average over the levels.
    pub fn mean_cycles(&self) -> f64 {
        let sum: u64 = self.cycles.iter().map(|c| c.0).sum();
        sum as f64 / self.cycles.len().max(1) as f64
    }
}

impl Step {
    /// Whether its input and output share bytes as its kernel allows: the output begins at least the
    /// least distance below the input.
    pub fn may_share(&self, input: &PlacedTensor, output: &PlacedTensor) -> bool {
        (self.payload.least_distance())
            .and_then(|least| output.offset.checked_add(least))
            .is_some_and(|least| least <= input.offset)
    }
    /// The byte behind its scratch, if it can be counted; 0 if it has none.
    pub fn scratch_end(&self) -> Option<usize> {
        if self.scratch_words == 0 {
            return Some(0);
        }
        (self.scratch_words.checked_mul(4)?).checked_add(self.scratch_offset)
    }
}

/// First layers that run in stripes of rows, so that the arena is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patches {
    /// How many layers.
    pub layers: usize,
    /// In how many stripes.
    pub stripes: usize,
    /// The arena with whole layers.
    pub whole_arena: Bytes,
    /// Multiply-accumulates of rows that more than one stripe computes.
    pub again: Macs,
}

/// A program.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The model's name, a valid crate name.
    pub name: String,
    /// Share of zero weights at each level, sparsest level first.
    pub sparsities: Vec<f64>,
    /// All activations.
    pub tensors: IdVec<TensorId, PlacedTensor>,
    /// All layers in execution order.
    pub steps: IdVec<LayerId, Step>,
    /// The input; it lies in the arena, too.
    pub input: TensorId,
    /// The outputs.
    pub outputs: Vec<TensorId>,
    /// Bytes of the arena, a multiple of 4: all activations and all scratch.
    pub arena_bytes: Bytes,
    /// How many bytes of the arena, from the first on, lie in tightly coupled memory while the rest
    /// lies in another; 0 if the arena is one block. A multiple of 32. No tensor and no scratch lies in
    /// both parts; the input and the outputs lie in the second.
    pub fast_bytes: Bytes,
    /// What no plan with these kernels, passes and parts can go below, proven.
    pub arena_bound: Bytes,
    /// Whether the first layers run in stripes.
    pub patches: Option<Patches>,
    /// How pictures become inputs, if known.
    pub preprocessing: Option<Preprocessing>,
}

impl Program {
    /// Levels.
    pub fn level_count(&self) -> usize {
        self.sparsities.len()
    }
    /// The zero points of an activation, one a level.
    pub fn zero_points(&self, tensor: TensorId) -> Vec<i8> {
        (self.tensors[tensor].quant.iter())
            .map(|q| q.zero_point)
            .collect()
    }
    /// The tensor whose bytes these are: itself, but for parts.
    pub fn whole(&self, tensor: TensorId) -> TensorId {
        (self.tensors[tensor].part_of).unwrap_or(tensor)
    }
    /// The last step that reads each tensor; outputs are read after all steps. Reading a part is
    /// reading the whole, and a part is there as long as the whole.
    pub fn last_reads(&self) -> IdVec<TensorId, Option<usize>> {
        let mut last: IdVec<TensorId, Option<usize>> = self.tensors.iter().map(|_| None).collect();
        for (at, step) in self.steps.iter().enumerate() {
            for &t in &step.inputs {
                last[self.whole(t)] = Some(at);
            }
        }
        for &t in &self.outputs {
            last[self.whole(t)] = Some(self.steps.len());
        }
        let of_whole = self.tensors.ids().map(|t| last[self.whole(t)]);
        of_whole.collect()
    }
    /// Bytes of the arena that each step needs: live tensors and its own scratch, where output and input
    /// share bytes as far as the kernel allows.
    pub fn live_bytes(&self) -> Vec<usize> {
        let last_read = self.last_reads();
        let bytes = |t: TensorId| word_bytes(self.tensors[t].shape.len());
        let mut live = vec![self.input];
        let mut all = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let output = self.whole(step.output);
            let offset = self.tensors[step.output].offset;
            // In place, the input's bytes become the output's.
            let in_place = step.payload.runs_in_place()
                && live.iter().any(|&t| self.tensors[t].offset == offset);
            let own = !in_place && !live.contains(&output);
            let mut sum = live.iter().map(|&t| bytes(t)).sum::<usize>()
                + if own { bytes(output) } else { 0 }
                + 4 * step.scratch_words;
            let input = step.inputs[0];
            if let (Some(distance), true) = (
                step.payload.least_distance(),
                last_read[input] == Some(at) && self.apart(step),
            ) {
                let [input, output] = [input, step.output].map(bytes);
                sum -= shared_bytes(input, output, word_bytes(distance));
            }
            all.push(sum);
            if !live.contains(&output) {
                live.push(output);
            }
            live.retain(|&t| last_read[t].is_some_and(|last| last > at));
        }
        all
    }
    /// Whether neither the input nor the output of a step is a part of another tensor: then the one may
    /// lie over the other.
    pub fn apart(&self, step: &Step) -> bool {
        let tensors = step.inputs.iter().chain([&step.output]);
        tensors
            .into_iter()
            .all(|&t| self.tensors[t].part_of.is_none())
    }
    /// The step that needs most of the arena, and how much that is. With these kernels no plan can need
    /// less.
    pub fn peak(&self) -> (Bytes, Option<LayerId>) {
        let input = word_bytes(self.tensors[self.input].shape.len()) as u64;
        let mut peak = (Bytes(input), None);
        for (id, bytes) in self.steps.ids().zip(self.live_bytes()) {
            if bytes as u64 > peak.0.0 {
                peak = (Bytes(bytes as u64), Some(id));
            }
        }
        peak
    }
    /// Scratch in the step that needs most of the arena.
    pub fn peak_scratch(&self) -> Bytes {
        let words = self.peak().1.map_or(0, |id| self.steps[id].scratch_words);
        Bytes(4 * words as u64)
    }
}

/// Bytes that an input and an output of so many bytes share at most, if the output begins at least
/// `distance` below the input.
pub fn shared_bytes(input: usize, output: usize, distance: usize) -> usize {
    (input + output).saturating_sub(output.max(distance + input))
}

/// Bytes that a tensor of `len` elements takes: whole words, which kernels may read.
pub fn word_bytes(len: usize) -> usize {
    len.next_multiple_of(4)
}
