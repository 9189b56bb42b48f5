//! Convolutions with compact weights.

use nest_format::{CompactStream, Requant, compact_gap_bytes, compact_weight_bytes};
use nest_kernels::layer::{ConvCompact, Geometry, Tile};
use nest_kernels::{Kernel, NestedLayout, conv_compact_scratch_words, kernel_for, reference};

use super::conv::{Budget, geometry, square};
use super::requant;
use crate::random::Random;
use crate::{OUTPUT_MAX, Report};

/// Bytes of the longest stream of a case.
const BYTES_MAX: usize = 24_000;

/// What a stream looks like.
#[derive(Clone, Copy)]
struct Kind {
    rows: usize,
    columns: usize,
    levels: usize,
    /// Entries of row `r` at each level: any number up to `longest`, or `r` more than `first`.
    longest: u32,
    first: Option<usize>,
    wide: bool,
}

/// A random stream: any columns in any order the format allows, with weights only where `real`.
/// Returns the bytes used; `gap_bits` are drawn, too.
fn stream(
    random: &mut Random,
    kind: Kind,
    gap_bits: &mut [u8],
    bytes: &mut [u8],
    real: impl Fn(usize) -> bool,
) -> usize {
    for bits in gap_bits.iter_mut() {
        *bits = random.between(3, 5) as u8;
    }
    bytes.fill(0);
    let head = 2 + usize::from(kind.wide);
    let mut start = 0;
    for row in 0..kind.rows {
        let mut budget = Budget::new();
        let mut column = 0i32;
        let mut weights = start + kind.levels * head;
        for level in 0..kind.levels {
            let count = match kind.first {
                Some(first) => first + row,
                None => random.below(kind.longest + 1) as usize,
            };
            let gaps = weights + compact_weight_bytes(count);
            let bits = gap_bits[level];
            let most = (1i32 << bits) - 1;
            let at = start + level * head;
            bytes[at..at + 2].copy_from_slice(&(count as u16).to_le_bytes());
            let mut turn = 0;
            for i in 0..count {
                let (low, high) = match (i, level % 2) {
                    (0, _) => (-32, 31),
                    (_, 0) => (0, most),
                    _ => (-most, 0),
                };
                let low = low.max(-column);
                let high = high.min(kind.columns as i32 - 1 - column);
                let delta = low + random.below((high - low + 1) as u32) as i32;
                column += delta;
                let weight = budget.weight(random.byte());
                let lane = [0, 2, 1, 3][i % 4];
                bytes[weights + i / 4 * 4 + lane] = if real(column as usize) {
                    weight as u8
                } else {
                    0
                };
                let field = match (i, level % 2) {
                    (0, _) => {
                        turn = delta;
                        0
                    }
                    (_, 0) => most - delta,
                    _ => -delta,
                } as u32;
                let bit = i * usize::from(bits);
                let two = field << (bit % 8);
                bytes[gaps + bit / 8] |= two as u8;
                bytes[gaps + bit / 8 + 1] |= (two >> 8) as u8;
            }
            bytes[at + head - 1] = turn as u8;
            weights = gaps + compact_gap_bytes(count, bits);
        }
        start = weights;
    }
    start + CompactStream::TAIL
}

fn compact(report: &mut Report, seed: u32, g: Geometry, tile: Tile, kind: Kind) {
    let rows = kind.rows;
    let outputs = g.out_pixels() * rows;
    let Some(layout) = NestedLayout::of(&g, tile).filter(|_| outputs <= OUTPUT_MAX) else {
        return;
    };
    let columns = layout.columns;
    let kind = Kind { columns, ..kind };
    let real = |column: usize| layout.tap(column).is_some();
    let pass_tiles = [0, 1, 5, u16::MAX][seed as usize % 4];
    // The bytes' number decides a buffer's length, and the longest row scratch: a first pass counts.
    // SAFETY: the arena of this pass is not used after it.
    let mut count = unsafe { crate::Arena::new(0) };
    let gap_bits = count.take::<u8>(kind.levels);
    let bytes = count.take::<u8>(BYTES_MAX);
    let len = stream(&mut Random::new(seed), kind, gap_bits, bytes, real);
    let longest = CompactStream::new(
        rows as u16,
        columns as u16,
        kind.wide,
        gap_bits,
        &bytes[..len],
    )
    .most_words() as u16;
    // Room for one row, some and all.
    let buffer_words = longest + 3 + [0, 2 * longest, rows as u16 * longest][seed as usize % 3];
    for level in 0..kind.levels {
        let name = format_args!(
            "{}/{seed}_k{columns}_r{rows}_p{}_level{level}",
            kernel_for(Kernel::ConvCompact(tile)),
            g.out_pixels()
        );
        report.case(name, |arena, expected| {
            let mut random = Random::new(seed);
            let bytes = arena.take::<u8>(len);
            let gap_bits = arena.take::<u8>(kind.levels);
            let requant_at = arena.take::<Requant>(rows);
            let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
            let output = arena.take::<i8>(outputs);
            let words = conv_compact_scratch_words(&g, tile, pass_tiles, buffer_words);
            let scratch = arena.take::<u32>(words);
            stream(&mut random, kind, gap_bits, bytes, real);
            let scale = 60 * 60 * (len / rows) as u32;
            let zeros = requant(&mut random, scale.isqrt().max(1) * 40, requant_at);
            random.fill(input);
            output.fill(0x55);
            let pads = [-128, 127, random.byte()];
            let tables: [&[Requant]; 3] = [requant_at; 3];
            let layer = ConvCompact {
                geometry: g,
                stream: CompactStream::new(rows as u16, columns as u16, kind.wide, gap_bits, bytes),
                requant: &tables,
                out_zero: &zeros,
                pad: &pads,
                tile,
                pass_tiles,
                buffer_words,
            };
            if let Some(expected) = expected {
                reference::conv_compact(&layer, level, input, &mut expected[..outputs], &mut []);
            }
            nest_kernels::conv_compact(&layer, level, input, output, scratch);
            output
        });
    }
}

pub fn run(report: &mut Report) {
    for (index, tile) in [Tile::P8, Tile::P4, Tile::P2].into_iter().enumerate() {
        let seed = 20_000 + 1_000 * index as u32;
        let any = |rows: u16, levels: usize, longest: u32| Kind {
            rows: rows.into(),
            columns: 0,
            levels,
            longest,
            first: None,
            wide: longest > 255,
        };
        let real = [
            square(8, 32, 8, 3, 1),
            square(12, 16, 8, 3, 2),
            square(7, 64, 4, 3, 1),
        ];
        for (n, g) in real.into_iter().enumerate() {
            compact(report, seed + n as u32, g, tile, any(g.out_c, 3, 90));
        }
        for n in 0..24 {
            let mut random = Random::new(seed + n);
            let g = geometry(&mut random, false);
            let levels = random.between(1, 3) as usize;
            let longest = random.between(0, 20);
            compact(
                report,
                seed + 100 + n,
                g,
                tile,
                any(g.out_c, levels, longest),
            );
        }
        // Every length from 0 to 600, whatever the tile.
        for n in 0..if tile == Tile::P8 { 25 } else { 0 } {
            let g = square(3, 40, 25, 1, 1);
            let lengths = Kind {
                first: Some(25 * n),
                wide: 25 * n + 25 > 256,
                ..any(25, 1, 600)
            };
            compact(report, seed + 200 + n as u32, g, tile, lengths);
        }
    }
}
