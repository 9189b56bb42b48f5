//! Convolutions with 1x4 blocks.

use nest_format::{BlockStream, Requant};
use nest_kernels::layer::{ConvBlock, Geometry};
use nest_kernels::{Kernel, conv_block_scratch_words, kernel_for, reference};

use super::conv::{geometry, square};
use super::requant;
use crate::random::Random;
use crate::{OUTPUT_MAX, Report};

/// Blocks of the largest stream of a case.
const BLOCKS_MAX: usize = 12_000;

/// What a stream looks like.
#[derive(Clone, Copy)]
struct Kind {
    rows: usize,
    columns: usize,
    levels: usize,
    /// Blocks of row `r` at each level: any number up to `longest`, or `r` more than `first`.
    longest: u32,
    first: Option<usize>,
    /// All weights, if not random ones.
    weight: Option<i8>,
}

/// A random stream; returns the blocks used.
fn stream(
    random: &mut Random,
    kind: Kind,
    words: &mut [u32],
    steps: &mut [i8],
    prefix: &mut [u16],
) -> usize {
    let mut used = 0;
    for row in 0..kind.rows {
        let mut block = 0i32;
        let mut count = 0;
        for level in 0..kind.levels {
            let more = match kind.first {
                Some(first) => first + row,
                None => random.below(kind.longest + 1) as usize,
            };
            for _ in 0..more {
                let low = (-128).max(-block);
                let high = 127.min(kind.columns as i32 / 4 - 1 - block);
                let step = low + random.below((high - low + 1) as u32) as i32;
                block += step;
                steps[used] = step as i8;
                words[used] = match kind.weight {
                    Some(w) => u32::from_le_bytes([w as u8; 4]),
                    None => random.next(),
                };
                used += 1;
            }
            count += more;
            prefix[level * kind.rows + row] = count as u16;
        }
    }
    used
}

fn block(report: &mut Report, seed: u32, g: Geometry, kind: Kind) {
    let rows = usize::from(g.out_c);
    let outputs = g.out_pixels() * rows;
    if outputs > OUTPUT_MAX || g.in_c % 4 != 0 {
        return;
    }
    let columns = g.columns();
    let kind = Kind {
        rows,
        columns,
        ..kind
    };
    let pass_tiles = [0, 1, 5, u16::MAX][seed as usize % 4];
    // SAFETY: the arena of this pass is not used after it.
    let mut count = unsafe { crate::Arena::new(0) };
    let len = stream(
        &mut Random::new(seed),
        kind,
        count.take(BLOCKS_MAX),
        count.take(BLOCKS_MAX),
        count.take(rows * kind.levels),
    );
    for level in 0..kind.levels {
        let name = format_args!(
            "{}/{seed}_k{columns}_r{rows}_p{}_level{level}",
            kernel_for(Kernel::ConvBlock),
            g.out_pixels()
        );
        report.case(name, |arena, expected| {
            let mut random = Random::new(seed);
            let words = arena.take::<u32>(len);
            let steps = arena.take::<i8>(len);
            let prefix = arena.take::<u16>(rows * kind.levels);
            let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
            let output = arena.take::<i8>(outputs);
            let scratch = arena.take::<u32>(conv_block_scratch_words(&g, pass_tiles));
            stream(&mut random, kind, words, steps, prefix);
            let mut constants = [Requant::new(0, 0); 64];
            let requant_at = &mut constants[..rows];
            let scale = 60 * 60 * ((len / rows) as u32).isqrt().max(1);
            let zeros = requant(&mut random, scale, requant_at);
            random.fill(input);
            if kind.weight.is_some() {
                input.fill(if seed % 2 == 0 { -128 } else { 127 });
            }
            output.fill(0x55);
            let pads = [-128, 127, random.byte()];
            let tables: [&[Requant]; 3] = [requant_at; 3];
            let (out_c, levels) = (rows as u16, kind.levels as u8);
            let layer = ConvBlock {
                geometry: g,
                stream: BlockStream::new(out_c, columns as u16, levels, words, steps, prefix),
                requant: &tables,
                out_zero: &zeros,
                pad: &pads,
                pass_tiles,
            };
            if let Some(expected) = expected {
                reference::conv_block(&layer, level, input, &mut expected[..outputs], &mut []);
            }
            nest_kernels::conv_block(&layer, level, input, output, scratch);
            output
        });
    }
}

pub fn run(report: &mut Report) {
    let seed = 30_000;
    let any = |levels: usize, longest: u32| Kind {
        rows: 0,
        columns: 0,
        levels,
        longest,
        first: None,
        weight: None,
    };
    block(report, seed, square(8, 32, 8, 3, 1), any(3, 30));
    block(report, seed + 1, square(12, 16, 8, 3, 2), any(3, 20));
    block(report, seed + 2, square(7, 64, 4, 3, 1), any(3, 60));
    for n in 0..90 {
        let mut random = Random::new(seed + n);
        let g = geometry(&mut random, false);
        let in_c = g.in_c.next_multiple_of(4);
        let levels = random.between(1, 3) as usize;
        block(
            report,
            seed + 100 + n,
            Geometry { in_c, ..g },
            any(levels, 12),
        );
    }
    // Every length from 0 to 600 columns, and extreme values.
    for n in 0..6 {
        let lengths = Kind {
            first: Some(25 * n),
            ..any(1, 0)
        };
        block(
            report,
            seed + 200 + n as u32,
            square(3, 600, 26, 1, 1),
            lengths,
        );
    }
    for (n, weight) in [127, 127, -128, -128].into_iter().enumerate() {
        let extreme = Kind {
            weight: Some(weight),
            ..any(1, 150)
        };
        block(
            report,
            seed + 300 + n as u32,
            square(3, 600, 5, 1, 1),
            extreme,
        );
    }
}
