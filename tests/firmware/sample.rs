//! A program by hand that holds every kind of layer.

use nest_format::{AddParams, Entry, ProductParams, Requant};
use nest_kernels::layer::{Geometry, Tile};
use nest_kernels::{
    DepthwiseForm, Kernel, NestedLayout, conv_block_scratch_words, conv_compact_scratch_words,
    conv_dense_least_distance, conv_dense_scratch_words, conv_nested_least_distance,
    conv_nested_scratch_words, depthwise_scratch_words, kernel_for,
};
use nestc::ir::float::Shape;
use nestc::ir::ids::{IdVec, TensorId};
use nestc::ir::int::{IntBinary, IntMove, IntNest, Quant, RequantTable};
use nestc::ir::nested::{ChannelOrder, Preprocessing};
use nestc::ir::program::{EncodedCompact, EncodedStream, Payload, PlacedTensor, Program, Step};
use nestc::passes::{decode_stream, encode_blocks, encode_compact};
use nestc::units::{Bytes, Macs};

use crate::support::Random;

/// Puts steps one after another.
struct Builder {
    levels: usize,
    random: Random,
    tensors: IdVec<TensorId, PlacedTensor>,
    steps: Vec<Step>,
    next_byte: usize,
}

impl Builder {
    fn tensor(&mut self, name: &str, shape: Shape) -> TensorId {
        let offset = self.next_byte;
        self.next_byte += shape.len().next_multiple_of(4);
        self.tensor_at(name, shape, offset)
    }

    fn tensor_at(&mut self, name: &str, shape: Shape, offset: usize) -> TensorId {
        let quant = (0..self.levels)
            .map(|level| Quant {
                scale: 0.05 + 0.01 * level as f32,
                zero_point: -3,
            })
            .collect();
        self.tensors.push(PlacedTensor {
            name: name.into(),
            shape,
            quant,
            offset,
            part_of: None,
        })
    }

    /// An input and an output that begins `least` bytes below it, in the bytes of both.
    fn sharing(&mut self, names: [&str; 2], shapes: [Shape; 2], least: usize) -> [TensorId; 2] {
        let start = self.next_byte;
        let bytes = (least + shapes[0].len()).max(shapes[1].len());
        self.next_byte += bytes.next_multiple_of(4);
        [0, 1].map(|i| self.tensor_at(names[i], shapes[i], [start + least, start][i]))
    }

    fn requant(&mut self, rows: usize) -> RequantTable {
        (0..self.levels)
            .map(|_| {
                (0..rows)
                    .map(|_| {
                        let bias = self.random.signed(20_000) as i32;
                        Requant::new(bias, 3_000_000 + self.random.signed(2_000_000) as i32)
                    })
                    .collect()
            })
            .collect()
    }

    fn pad(&self) -> Vec<i8> {
        (0..self.levels).map(|level| -3 - level as i8).collect()
    }

    fn weights(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.random.signed(60) as i8).collect()
    }

    /// Nested weights of a convolution under a tile.
    fn nested_stream(&mut self, g: &Geometry, tile: Tile) -> EncodedStream {
        let layout = NestedLayout::of(g, tile).unwrap();
        self.stream_on(usize::from(g.out_c), layout.columns, |column| {
            layout.tap(column).is_some()
        })
    }

    /// The weights of such a stream, stored compactly.
    fn compact_stream(&mut self, g: &Geometry, tile: Tile) -> EncodedCompact {
        let stream = self.nested_stream(g, tile);
        let at: Vec<Vec<i8>> = (0..self.levels)
            .map(|level| decode_stream(&stream, level))
            .collect();
        let densest = at.last().unwrap();
        let level_of: Vec<u8> = (0..densest.len())
            .map(|i| at.iter().position(|w| w[i] != 0).unwrap_or(255) as u8)
            .collect();
        let (rows, columns) = (usize::from(stream.rows), usize::from(stream.columns));
        encode_compact(rows, columns, self.levels, densest, Some(&level_of)).unwrap()
    }

    fn stream(&mut self, rows: usize, columns: usize) -> EncodedStream {
        self.stream_on(rows, columns, |_| true)
    }

    /// A nested stream: a sixth of the `real` weights a level, serpentine.
    fn stream_on(
        &mut self,
        rows: usize,
        columns: usize,
        real: impl Fn(usize) -> bool,
    ) -> EncodedStream {
        let mut words = Vec::new();
        let mut prefix = vec![0u16; rows * self.levels];
        for row in 0..rows {
            let (mut at, mut count) = (0i32, 0);
            for level in 0..self.levels {
                let mut chosen: Vec<i32> = (0..columns as i32)
                    .filter(|&c| real(c as usize) && self.random.below(6) == 0)
                    .collect();
                if level % 2 == 1 {
                    chosen.reverse();
                }
                let mut entries = Vec::new();
                for column in chosen {
                    while !(-32..=31).contains(&(column - at)) {
                        let step = (column - at).clamp(-32, 31);
                        entries.push(Entry {
                            delta: step as i8,
                            weight: 0,
                        });
                        at += step;
                    }
                    entries.push(Entry {
                        delta: (column - at) as i8,
                        weight: self.random.signed(60) as i8,
                    });
                    at = column;
                }
                if entries.len() % 2 == 1 {
                    entries.push(Entry {
                        delta: 0,
                        weight: 0,
                    });
                }
                for pair in entries.chunks_exact(2) {
                    words.push(Entry::pair(pair[0], pair[1]));
                    count += 1;
                }
                prefix[level * rows + row] = count;
            }
        }
        EncodedStream {
            rows: rows as u16,
            columns: columns as u16,
            levels: self.levels as u8,
            words,
            prefix,
        }
    }

    fn step(
        &mut self,
        name: &str,
        kernel: Kernel,
        payload: Payload,
        inputs: &[TensorId],
        output: TensorId,
    ) {
        let kernel = kernel_for(kernel);
        let row = nest_kernels::KERNELS
            .iter()
            .find(|row| row.name == kernel)
            .unwrap();
        let scratch_words = match &payload {
            Payload::ConvNested {
                geometry,
                tile,
                pass_tiles,
                ..
            } => conv_nested_scratch_words(geometry, *tile, *pass_tiles),
            Payload::ConvBlock {
                geometry,
                pass_tiles,
                ..
            } => conv_block_scratch_words(geometry, *pass_tiles),
            Payload::ConvCompact {
                geometry,
                tile,
                pass_tiles,
                buffer_words,
                ..
            } => conv_compact_scratch_words(geometry, *tile, *pass_tiles, *buffer_words),
            Payload::ConvDense {
                geometry,
                pass_tiles,
                ..
            } => conv_dense_scratch_words(geometry, *pass_tiles),
            Payload::Depthwise { geometry, .. } => depthwise_scratch_words(geometry),
            _ => 0,
        };
        let bytes = |words: usize| Bytes(4 * words as u64);
        let (weight_bytes, index_bytes) = match &payload {
            Payload::ConvNested { stream, .. } | Payload::DenseNested { stream, .. } => (
                Bytes(2 * stream.words.len() as u64),
                Bytes((2 * stream.words.len() + stream.count_bytes() * stream.prefix.len()) as u64),
            ),
            Payload::ConvBlock { blocks, .. } => (
                bytes(blocks.words.len()),
                Bytes((blocks.steps.len() + 2 * blocks.prefix.len()) as u64),
            ),
            Payload::ConvCompact { compact, .. } => (
                Bytes(compact.bytes.len() as u64 / 2),
                Bytes(compact.bytes.len() as u64 / 2 + compact.gap_bits.len() as u64),
            ),
            Payload::ConvDense { words, .. } => (bytes(words.len()), Bytes(0)),
            Payload::ConvGeneric { weights, .. }
            | Payload::Depthwise { weights, .. }
            | Payload::FullyConnected { weights, .. } => (Bytes(weights.len() as u64), Bytes(0)),
            _ => (Bytes(0), Bytes(0)),
        };
        self.steps.push(Step {
            same_as: None,
            name: name.into(),
            op: row.op,
            kernel,
            payload,
            inputs: inputs.to_vec(),
            output,
            scratch_words,
            scratch_offset: 0,
            macs: Macs(1000),
            live_macs: Macs(1000),
            effective_macs: (0..self.levels as u64)
                .map(|l| Macs(100 * (l + 1)))
                .collect(),
            nonzero_weights: (0..self.levels as u64).map(|l| 10 * (l + 1)).collect(),
            weights: 100,
            model_channels: self.tensors[output].shape.c,
            weight_bytes,
            index_bytes,
            requant_bytes: Bytes(0),
            estimated_cycles: Vec::new(),
            candidates: Vec::new(),
        });
    }
}

fn window(input: Shape, output: Shape, kernel: u16, stride: u16, pad: u16) -> Geometry {
    Geometry {
        in_h: input.h as u16,
        in_w: input.w as u16,
        in_c: input.c as u16,
        out_h: output.h as u16,
        out_w: output.w as u16,
        out_c: output.c as u16,
        kernel_h: kernel,
        kernel_w: kernel,
        stride_h: stride,
        stride_w: stride,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: pad,
        pad_left: pad,
    }
}

fn nest(from: u32, to: u32, loops: &[[u32; 3]]) -> IntNest {
    IntNest {
        from,
        to,
        loops: loops.to_vec(),
    }
}

/// Behind two pixels of 5 channels: every kind of layer that has no weights and is newer than softmax,
/// in place and not.
fn unweighted(b: &mut Builder, x: TensorId) -> TensorId {
    let levels = b.levels;
    let tables = |b: &mut Builder| -> Vec<[i8; 256]> {
        (0..levels)
            .map(|_| std::array::from_fn(|_| b.random.signed(127) as i8))
            .collect()
    };
    let sums = |b: &mut Builder, n: usize| -> Vec<AddParams> {
        (0..n)
            .map(|_| AddParams {
                factor_a: b.random.signed(9000) as i16,
                factor_b: b.random.signed(9000) as i16,
                bias: b.random.signed(100_000) as i32,
                shift: 13,
            })
            .collect()
    };
    let table = tables(b);
    let looked = b.tensor("looked up", Shape::map(5, 1, 2));
    b.step(
        "look-up",
        Kernel::Lookup,
        Payload::Lookup(table),
        &[x],
        looked,
    );
    let table = tables(b);
    let at = b.tensors[looked].offset;
    let looked_again = b.tensor_at("looked up in place", Shape::map(5, 1, 2), at);
    b.step(
        "look-up in place",
        Kernel::Lookup,
        Payload::Lookup(table),
        &[looked],
        looked_again,
    );

    // Three inputs, one of them twice; runs, strides, a table, single elements.
    let wide = Shape::map(8, 2, 3);
    let moved = b.tensor("moved", wide);
    let payload = Payload::Move(vec![
        IntMove {
            nests: vec![nest(0, 0, &[[2, 5, 24], [5, 1, 1]]), nest(9, 47, &[])],
            tables: None,
        },
        IntMove {
            nests: vec![
                nest(0, 5, &[[2, 0, 24], [2, 5, 5], [5, 1, 1]]),
                nest(1, 15, &[[3, 2, 1]]),
            ],
            tables: Some(tables(b)),
        },
        IntMove {
            nests: vec![
                nest(2, 18, &[[6, 0, 1]]),
                nest(0, 39, &[[2, 3, 1], [4, 1, 2]]),
            ],
            tables: None,
        },
    ]);
    let inputs = [x, looked_again, x];
    b.step("join", Kernel::Move, payload, &inputs, moved);

    let binary = |operation, b: Shape, constant| Payload::Binary {
        operation,
        a: [2, 3, 8],
        b: [b.h as u16, b.w as u16, b.c as u16],
        output: [2, 3, 8],
        constant,
    };
    let per_channel = Shape::vector(8);
    let column = b.tensor("column", Shape::map(1, 2, 1));
    let payload = Payload::Move(vec![IntMove {
        nests: vec![nest(11, 0, &[[2, 24, 1]])],
        tables: None,
    }]);
    b.step("column", Kernel::Move, payload, &[moved], column);
    let difference = b.tensor("difference", wide);
    let params = sums(b, levels);
    let payload = binary(IntBinary::Sum(params), Shape::map(1, 2, 1), None);
    b.step(
        "difference",
        Kernel::Binary,
        payload,
        &[moved, column],
        difference,
    );
    let products = (0..levels)
        .map(|level| ProductParams {
            zero_a: -3,
            zero_b: level as i8,
            zero: 5,
            multiplier: 60_000_000 + 1_000_000 * level as i32,
        })
        .collect();
    let constant = b.weights(8);
    let at = b.tensors[difference].offset;
    let scaled = b.tensor_at("scaled in place", wide, at);
    let payload = binary(IntBinary::Product(products), per_channel, Some(constant));
    b.step(
        "scale in place",
        Kernel::Binary,
        payload,
        &[difference],
        scaled,
    );
    let pairs = |b: &mut Builder| -> Vec<[AddParams; 2]> {
        (0..levels)
            .map(|_| {
                let both = sums(b, 2);
                [both[0], both[1]]
            })
            .collect()
    };
    let least = b.tensor("least", wide);
    let params = pairs(b);
    let payload = binary(IntBinary::Least(params), wide, None);
    b.step("least", Kernel::Binary, payload, &[moved, scaled], least);
    let at = b.tensors[least].offset;
    let largest = b.tensor_at("largest in place", wide, at);
    let params = pairs(b);
    let payload = binary(IntBinary::Largest(params), Shape::map(1, 2, 1), None);
    b.step(
        "largest in place",
        Kernel::Binary,
        payload,
        &[least, column],
        largest,
    );

    let slopes = |b: &mut Builder| Payload::PRelu {
        zero: (0..levels).map(|l| -3 + l as i8).collect(),
        params: (0..levels).map(|_| sums(b, 8)).collect(),
    };
    let sloped = b.tensor("sloped", wide);
    let payload = slopes(b);
    b.step("prelu", Kernel::PRelu, payload, &[largest], sloped);
    let at = b.tensors[sloped].offset;
    let sloped_again = b.tensor_at("sloped in place", wide, at);
    let payload = slopes(b);
    b.step(
        "prelu in place",
        Kernel::PRelu,
        payload,
        &[sloped],
        sloped_again,
    );

    let sized = b.tensor("sized", Shape::map(8, 3, 2));
    let payload = Payload::Resize {
        input: [2, 3, 8],
        rows: vec![[0, 0, 0], [0, 1, 85], [1, 1, 256]],
        columns: vec![[0, 1, 128], [1, 2, 255]],
    };
    b.step("resize", Kernel::Resize, payload, &[sloped_again], sized);
    sized
}

/// A program of every kind of layer, with additions and clamps in place and not. `outputs` is 1
/// or 2.
pub fn program(name: &str, levels: usize, outputs: usize) -> Program {
    let mut b = Builder {
        levels,
        random: Random(0x1234_5678_9abc_def1),
        tensors: IdVec::new(),
        steps: Vec::new(),
        next_byte: 0,
    };
    let image = Shape::map(3, 12, 12);
    let wide = Shape::map(8, 12, 12);
    let half = Shape::map(8, 6, 6);
    let deep = Shape::map(16, 6, 6);
    let input = b.tensor("image", image);

    let generic = b.tensor("generic", wide);
    let payload = Payload::ConvGeneric {
        geometry: window(image, wide, 3, 1, 1),
        groups: 1,
        weights: b.weights(8 * 27),
        requant: b.requant(8),
        pad: b.pad(),
    };
    b.step(
        "/stem/Conv",
        Kernel::ConvGeneric,
        payload,
        &[input],
        generic,
    );

    // The second writes over the first.
    let geometry = window(wide, wide, 3, 1, 1);
    let least = conv_nested_least_distance(&geometry, Tile::P4, 3).expect("it runs");
    let [p8, p4] = b.sharing(["p8", "p4"], [wide, wide], least);
    let mut last = generic;
    for (tile, text) in [(Tile::P8, "p8"), (Tile::P4, "p4"), (Tile::P2, "p2")] {
        let out = match tile {
            Tile::P8 => p8,
            Tile::P4 => p4,
            Tile::P2 => b.tensor(text, wide),
        };
        let payload = Payload::ConvNested {
            geometry,
            stream: b.nested_stream(&geometry, tile),
            requant: b.requant(8),
            pad: b.pad(),
            tile,
            pass_tiles: 3,
        };
        b.step(
            &format!("nested `{text}`"),
            Kernel::ConvNested(tile),
            payload,
            &[last],
            out,
        );
        last = out;
        let out = b.tensor(&format!("compact {text}"), wide);
        let compact = b.compact_stream(&geometry, tile);
        let longest = compact.stream().unwrap().most_words() as u16;
        let payload = Payload::ConvCompact {
            geometry,
            compact,
            requant: b.requant(8),
            pad: b.pad(),
            tile,
            pass_tiles: 3,
            // For one row, a few and all.
            buffer_words: longest + [3, 2 * longest, 8 * longest][b.steps.len() / 2 % 3],
        };
        b.step(
            &format!("compact {text}"),
            Kernel::ConvCompact(tile),
            payload,
            &[last],
            out,
        );
        last = out;
    }

    let out = b.tensor("blocks", wide);
    let level_of: Vec<u8> = (0..8 * 72).map(|i| (i / 4 % 5) as u8).collect();
    let payload = Payload::ConvBlock {
        geometry: window(wide, wide, 3, 1, 1),
        blocks: encode_blocks(8, 72, levels, &b.weights(8 * 72), Some(&level_of)).unwrap(),
        requant: b.requant(8),
        pad: b.pad(),
        pass_tiles: 5,
    };
    b.step("blocks", Kernel::ConvBlock, payload, &[last], out);
    last = out;

    let params = |b: &mut Builder| {
        let one = |level: usize| AddParams {
            factor_a: 70 + level as i16,
            factor_b: -60,
            bias: 64 - 3 * level as i32,
            shift: 7,
        };
        Payload::Add((0..b.levels).map(one).collect())
    };
    let payload = params(&mut b);
    let sum = b.tensor("sum", wide);
    b.step("sum", Kernel::Add, payload, &[generic, last], sum);
    let payload = params(&mut b);
    let at = b.tensors[generic].offset;
    let in_place = b.tensor_at("sum in place", wide, at);
    b.step(
        "sum in place",
        Kernel::Add,
        payload,
        &[generic, sum],
        in_place,
    );
    let payload = params(&mut b);
    let twice = b.tensor("twice", wide);
    b.step("twice", Kernel::Add, payload, &[in_place, in_place], twice);

    let pooled = b.tensor("pooled", half);
    let payload = Payload::MaxPool(window(wide, half, 2, 2, 0));
    b.step("max", Kernel::MaxPool, payload, &[twice], pooled);

    let pointwise = window(half, deep, 1, 1, 0);
    let least = conv_dense_least_distance(&pointwise, 2);
    let [depthwise, dense] = b.sharing(["depthwise", "dense"], [half, deep], least);
    let geometry = window(half, half, 3, 1, 1);
    let payload = Payload::Depthwise {
        geometry,
        weights: b.weights(9 * 8),
        requant: b.requant(8),
        pad: b.pad(),
    };
    let kernel = Kernel::Depthwise(DepthwiseForm::of(&geometry));
    b.step("depthwise", kernel, payload, &[pooled], depthwise);

    let words = (0..16 / 2 * 2 * 2)
        .map(|_| {
            let w: [u8; 4] = std::array::from_fn(|_| b.random.signed(60) as u8);
            u32::from_le_bytes(w)
        })
        .collect();
    let payload = Payload::ConvDense {
        geometry: pointwise,
        columns: 8,
        words,
        requant: b.requant(16),
        pad: b.pad(),
        pass_tiles: 2,
    };
    b.step("dense", Kernel::ConvDense, payload, &[depthwise], dense);

    let padded_shape = Shape::map(16, 7, 7);
    let padded = b.tensor("padded", padded_shape);
    let payload = Payload::Pad {
        input: [6, 6, 16],
        before: [1, 0, 0],
        output: [7, 7, 16],
        value: b.pad(),
    };
    b.step("pad", Kernel::Pad, payload, &[dense], padded);

    let sliced_shape = Shape::map(16, 4, 4);
    let sliced = b.tensor("sliced", sliced_shape);
    let every_second = nest(0, 0, &[[4, 224, 64], [4, 32, 16], [16, 1, 1]]);
    let payload = Payload::Move(vec![IntMove {
        nests: vec![every_second],
        tables: None,
    }]);
    b.step("slice", Kernel::Move, payload, &[padded], sliced);

    let averaged_shape = Shape::map(16, 3, 3);
    let averaged = b.tensor("averaged", averaged_shape);
    let payload = Payload::AvgPool {
        geometry: window(sliced_shape, averaged_shape, 2, 1, 0),
        count_include_pad: false,
        pad: b.pad(),
        requant: (0..levels)
            .map(|_| {
                (1..=4)
                    .map(|taps| Requant::new(0, ((1i64 << 32) / taps).min(i32::MAX.into()) as i32))
                    .collect()
            })
            .collect(),
    };
    b.step("average", Kernel::AvgPool, payload, &[sliced], averaged);

    let clamped = b.tensor("clamped", averaged_shape);
    let bounds = |levels: usize| (0..levels).map(|l| [-100 + l as i8, 100]).collect();
    let payload = Payload::Clamp(bounds(levels));
    b.step("clamp", Kernel::Clamp, payload, &[averaged], clamped);
    let at = b.tensors[clamped].offset;
    let clamped_again = b.tensor_at("clamped in place", averaged_shape, at);
    let payload = Payload::Clamp(bounds(levels));
    b.step(
        "clamp in place",
        Kernel::Clamp,
        payload,
        &[clamped],
        clamped_again,
    );

    let mean = b.tensor("mean", Shape::vector(16));
    let payload = Payload::GlobalAvgPool {
        pixels: 9,
        channels: 16,
        requant: vec![Requant::new(0, (1i64 << 32).div_euclid(9) as i32); levels],
    };
    b.step(
        "mean",
        Kernel::GlobalAvgPool,
        payload,
        &[clamped_again],
        mean,
    );

    let hidden = b.tensor("hidden", Shape::vector(12));
    let payload = Payload::DenseNested {
        stream: b.stream(12, 16),
        requant: b.requant(12),
    };
    b.step("hidden", Kernel::DenseNested, payload, &[mean], hidden);

    // Ten outputs, read as two pixels by softmax.
    let logits = b.tensor("logits", Shape::map(5, 1, 2));
    let payload = Payload::FullyConnected {
        weights: b.weights(120),
        columns: 12,
        requant: b.requant(10),
    };
    b.step("logits", Kernel::FullyConnected, payload, &[hidden], logits);

    let shares = b.tensor("shares", Shape::map(5, 1, 2));
    let table = |scale: f64| {
        std::array::from_fn(|d| ((-(d as f64) * scale).exp() * f64::from(1 << 20)).round() as u32)
    };
    let payload = Payload::Softmax {
        channels: 5,
        table: (0..levels).map(|l| table(0.05 + 0.01 * l as f64)).collect(),
    };
    b.step("softmax", Kernel::Softmax, payload, &[logits], shares);
    let shares = unweighted(&mut b, shares);

    // All scratch behind all tensors.
    let scratch_offset = b.next_byte.next_multiple_of(8);
    let words = b.steps.iter().map(|s| s.scratch_words).max();
    let scratch_bytes = 4 * words.unwrap_or(0);
    for step in &mut b.steps {
        step.scratch_offset = scratch_offset;
    }
    Program {
        name: name.into(),
        sparsities: (0..levels)
            .map(|l| 0.9 - 0.9 * l as f64 / levels as f64)
            .collect(),
        tensors: b.tensors,
        steps: b.steps.into_iter().collect(),
        input,
        outputs: if outputs == 2 {
            vec![shares, logits]
        } else {
            vec![shares]
        },
        arena_bytes: Bytes((scratch_offset + scratch_bytes) as u64),
        fast_bytes: Bytes(0),
        arena_bound: Bytes(0),
        patches: None,
        preprocessing: (levels > 1).then(|| Preprocessing {
            scale: 1.0,
            mean: vec![125.3, 123.0, 113.9],
            std: vec![63.0, 62.1, 66.7],
            order: ChannelOrder::Rgb,
        }),
    }
}
