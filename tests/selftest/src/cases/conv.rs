//! Convolutions with nested weights.

use nest_format::{Counts, Entry, NestedStream, Requant};
use nest_kernels::layer::{ConvNested, Geometry, Tile};
use nest_kernels::{Kernel, NestedLayout, conv_nested_least_distance, kernel_for, reference};

use super::{in_place, requant};
use crate::arena::Arena;
use crate::random::Random;
use crate::{OUTPUT_MAX, Report};

/// What the 23-bit bound leaves of a row's weights, see [`NestedStream`].
pub struct Budget(i32);

impl Budget {
    pub const fn new() -> Self {
        // 128 * (sum of magnitudes) < 2^22 keeps both bounds.
        Self((1 << 22) / 128 - 1)
    }
    pub fn weight(&mut self, w: i8) -> i8 {
        let magnitude = i32::from(w).abs();
        if magnitude > self.0 {
            return 0;
        }
        self.0 -= magnitude;
        w
    }
}

/// A random stream: any columns in any order the format allows. `prefix` is `[level][row]`; returns
/// the words used.
pub fn stream(
    random: &mut Random,
    columns: u32,
    levels: usize,
    longest: u32,
    prefix: &mut [u16],
    words: &mut [u32],
) -> usize {
    stream_on(random, columns, levels, longest, prefix, words, |_| true)
}

/// As [`stream`], with weights only on columns that are `real`.
fn stream_on(
    random: &mut Random,
    columns: u32,
    levels: usize,
    longest: u32,
    prefix: &mut [u16],
    words: &mut [u32],
    real: impl Fn(usize) -> bool,
) -> usize {
    let rows = prefix.len() / levels;
    let mut used = 0;
    for row in 0..rows {
        let mut budget = Budget::new();
        let mut column = 0i32;
        let mut count = 0;
        for level in 0..levels {
            // Every length from 0 on, whatever its parity.
            let more = random.below(longest + 1);
            for _ in 0..more {
                let mut entry = || {
                    let low = (-32).max(-column);
                    let high = 31.min(columns as i32 - 1 - column);
                    let delta = low + random.below((high - low + 1) as u32) as i32;
                    column += delta;
                    let weight = budget.weight(random.byte());
                    Entry {
                        delta: delta as i8,
                        weight: if real(column as usize) { weight } else { 0 },
                    }
                };
                let (first, second) = (entry(), entry());
                words[used] = Entry::pair(first, second);
                used += 1;
            }
            count += more;
            prefix[level * rows + row] = count as u16;
        }
    }
    used
}

/// Words of the longest stream of a case.
pub const WORDS_MAX: usize = 8_192;

fn nested(report: &mut Report, seed: u32, g: Geometry, tile: Tile, levels: usize, longest: u32) {
    let rows = g.out_c as usize;
    let outputs = g.out_pixels() * rows;
    let longest = longest.min((WORDS_MAX / (rows * levels)) as u32);
    let Some(layout) = NestedLayout::of(&g, tile).filter(|_| outputs <= OUTPUT_MAX) else {
        return;
    };
    let columns = layout.columns;
    let real = |column: usize| layout.tap(column).is_some();
    // Passes of a unit, of some and of all.
    let pass_tiles = [0, 1, 5, u16::MAX][seed as usize % 4];
    // The words' number decides a buffer's length: a first pass counts them.
    // SAFETY: the arena of this pass is not used after it.
    let mut count = unsafe { crate::Arena::new(0) };
    let words_len = stream_on(
        &mut Random::new(seed),
        columns as u32,
        levels,
        longest,
        count.take(rows * levels),
        count.take(WORDS_MAX),
        real,
    );
    for level in 0..levels {
        let name = format_args!(
            "{}/{seed}_k{columns}_r{rows}_p{}_level{level}",
            kernel_for(Kernel::ConvNested(tile)),
            g.out_pixels()
        );
        report.case_in_place(name, |arena, expected| {
            let mut random = Random::new(seed);
            let words = arena.take::<u32>(words_len);
            let mut counts = [0; COUNTS_MAX];
            let counts = &mut counts[..rows * levels];
            stream_on(
                &mut random,
                columns as u32,
                levels,
                longest,
                counts,
                words,
                real,
            );
            let prefix = take_counts(arena, counts, seed % 2 == 0);
            let requant_at = arena.take::<Requant>(rows);
            let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
            let output = arena.take::<i8>(outputs);
            let scratch = arena.take::<u32>(nest_kernels::conv_nested_scratch_words(
                &g, tile, pass_tiles,
            ));
            let zeros = requant(&mut random, 60 * 60 * longest.isqrt().max(1), requant_at);
            random.fill(input);
            output.fill(0x55);
            let pads = [-128, 127, random.byte()];
            let tables: [&[Requant]; 3] = [requant_at; 3];
            let layer = ConvNested {
                geometry: g,
                stream: NestedStream::counted(
                    rows as u16,
                    columns as u16,
                    levels as u8,
                    words,
                    prefix,
                )
                .expect("a stream within the rules"),
                requant: &tables,
                out_zero: &zeros,
                pad: &pads,
                tile,
                pass_tiles,
            };
            if let Some(expected) = expected {
                reference::conv_nested(&layer, level, input, &mut expected[..outputs], &mut []);
            }
            if arena.in_place() {
                let least = conv_nested_least_distance(&g, tile, pass_tiles).unwrap_or(0);
                return in_place(arena, input, outputs, least, |data, at| {
                    nest_kernels::conv_nested_in_place(&layer, level, data, at, scratch);
                });
            }
            nest_kernels::conv_nested(&layer, level, input, output, scratch);
            output
        });
    }
}

/// Counts of a case at most.
const COUNTS_MAX: usize = 128;

/// Counts in a buffer of their own, as bytes if asked for and possible.
fn take_counts(arena: &mut Arena, counts: &[u16], narrow: bool) -> Counts<'static> {
    if narrow && counts.iter().all(|&n| n <= 255) {
        let to = arena.take::<u8>(counts.len());
        (to.iter_mut().zip(counts)).for_each(|(to, &n)| *to = n as u8);
        Counts::Bytes(to)
    } else {
        let to = arena.take::<u16>(counts.len());
        to.copy_from_slice(counts);
        Counts::Halfwords(to)
    }
}

/// Rows of `first` words and more, one word longer each: every way into the loops and out of them.
fn lengths(report: &mut Report, tile: Tile, first: usize, rows: usize) {
    const COLUMNS: usize = 300;
    let g = Geometry {
        in_h: 2,
        in_w: 4,
        out_h: 2,
        out_w: 4,
        ..square(2, COLUMNS as u16, rows as u16, 1, 1)
    };
    let name = kernel_for(Kernel::ConvNested(tile));
    let name = format_args!("{name}/rows_of_{first}_words_and_more");
    report.case(name, |arena, expected| {
        let mut random = Random::new(first as u32);
        let words = arena.take::<u32>((first..first + rows).sum());
        let mut counts = [0; COUNTS_MAX];
        let counts = &mut counts[..rows];
        let mut at = 0;
        for (row, count) in counts.iter_mut().enumerate() {
            *count = (first + row) as u16;
            // Columns up by 31 and down by 29, within reach.
            let (mut column, mut up) = (0i32, true);
            for word in &mut words[at..at + first + row] {
                let mut entry = || {
                    let way = if up { 31 } else { -29 };
                    if (0..COLUMNS as i32).contains(&(column + way)) {
                        column += way;
                        let weight = (column * 7 + row as i32) % 50 - 25;
                        Entry {
                            delta: way as i8,
                            weight: weight as i8,
                        }
                    } else {
                        up = !up;
                        Entry {
                            delta: 0,
                            weight: row as i8 % 9,
                        }
                    }
                };
                *word = Entry::pair(entry(), entry());
            }
            at += first + row;
        }
        let prefix = take_counts(arena, counts, true);
        let requant_at = arena.take::<Requant>(rows);
        let input = arena.take::<i8>(8 * COLUMNS);
        let output = arena.take::<i8>(8 * rows);
        let scratch = arena.take::<u32>(nest_kernels::conv_nested_scratch_words(&g, tile, 9));
        let zeros = requant(&mut random, 40_000, requant_at);
        random.fill(input);
        output.fill(0x55);
        let tables: [&[Requant]; 1] = [requant_at];
        let layer = ConvNested {
            geometry: g,
            stream: NestedStream::counted(rows as u16, COLUMNS as u16, 1, words, prefix)
                .expect("a stream within the rules"),
            requant: &tables,
            out_zero: &zeros,
            pad: &[0],
            tile,
            pass_tiles: 9,
        };
        if let Some(expected) = expected {
            reference::conv_nested(&layer, 0, input, &mut expected[..8 * rows], &mut []);
        }
        nest_kernels::conv_nested(&layer, 0, input, output, scratch);
        output
    });
}

/// Rows as heavy as the formats allow: the packed sums touch both ends of their 23 bits.
fn heaviest(report: &mut Report, weight: i8, value: i8, other: i8) {
    const COLUMNS: usize = 258;
    let count = (((1 << 22) - 1) / 128 / i32::from(weight).abs()) as usize;
    let g = square(4, COLUMNS as u16, 2, 1, 1);
    let outputs = g.out_pixels() * 2;
    let entry = |column: usize| Entry {
        delta: i8::from(column > 0),
        weight: if column < count { weight } else { 0 },
    };
    // Neighbouring pixels, which share packed words, differ.
    let fill = |input: &mut [i8]| {
        for (pixel, channels) in input.chunks_exact_mut(COLUMNS).enumerate() {
            channels.fill(if pixel % 2 == 0 { value } else { other });
        }
    };
    // The exact sums are -2^22 + 256 and the like: show them on a scale of 2^15.
    let constants = [Requant::new(0, 1 << 17); 2];
    let tables: [&[Requant]; 1] = [&constants];
    for tile in [Tile::P8, Tile::P4, Tile::P2] {
        let name = kernel_for(Kernel::ConvNested(tile));
        let name = format_args!("{name}/heaviest_{weight}_{value}_{other}");
        report.case(name, |arena, expected| {
            let words = arena.take::<u32>(COLUMNS);
            let prefix = arena.take::<u16>(2);
            let input = arena.take::<i8>(g.out_pixels() * COLUMNS);
            let output = arena.take::<i8>(outputs);
            let scratch = arena.take::<u32>(nest_kernels::conv_nested_scratch_words(&g, tile, 1));
            for (at, word) in words.iter_mut().enumerate() {
                let column = at * 2 % COLUMNS;
                *word = Entry::pair(entry(column), entry(column + 1));
            }
            prefix.fill(COLUMNS as u16 / 2);
            fill(input);
            let layer = ConvNested {
                geometry: g,
                stream: NestedStream::new(2, COLUMNS as u16, 1, words, prefix),
                requant: &tables,
                out_zero: &[0],
                pad: &[0],
                tile,
                pass_tiles: 1,
            };
            if let Some(expected) = expected {
                reference::conv_nested(&layer, 0, input, &mut expected[..outputs], &mut []);
            }
            nest_kernels::conv_nested(&layer, 0, input, output, scratch);
            output
        });
    }
}

/// A geometry of small extents: any kernel, stride, dilation and pads, and every tail.
pub fn geometry(random: &mut Random, depthwise: bool) -> Geometry {
    let in_h = random.between(1, 9) as u16;
    let in_w = random.between(1, 9) as u16;
    let in_c = match random.below(4) {
        0 => random.between(1, 4),
        1 => random.between(5, 17),
        _ => 4 * random.between(1, 8),
    } as u16;
    let out_c = if depthwise {
        in_c * if random.below(4) == 0 { 2 } else { 1 }
    } else {
        random.between(1, 9) as u16
    };
    let side = |random: &mut Random| {
        let kernel = [1, 1, 2, 3, 3, 3, 4, 5][random.below(8) as usize];
        let stride = [1, 1, 2, 3][random.below(4) as usize];
        let dilation = [1, 1, 1, 2][random.below(4) as usize];
        (kernel as u16, stride as u16, dilation as u16)
    };
    let (kernel_h, stride_h, dilation_h) = side(random);
    let (kernel_w, stride_w, dilation_w) = side(random);
    let pad = |random: &mut Random, kernel: u16| random.below(u32::from(kernel) + 1) as u16;
    let out = |random: &mut Random, n: u16, stride: u16| {
        // Sometimes wholly in the padding, sometimes less than there is.
        (n / stride + random.below(3) as u16).max(1)
    };
    Geometry {
        in_h,
        in_w,
        in_c,
        out_h: out(random, in_h, stride_h),
        out_w: out(random, in_w, stride_w),
        out_c,
        kernel_h,
        kernel_w,
        stride_h,
        stride_w,
        dilation_h,
        dilation_w,
        pad_top: pad(random, kernel_h),
        pad_left: pad(random, kernel_w),
    }
}

/// A square kernel over a square map with `same` padding.
pub const fn square(size: u16, in_c: u16, out_c: u16, kernel: u16, stride: u16) -> Geometry {
    Geometry {
        in_h: size,
        in_w: size,
        in_c,
        out_h: size.div_ceil(stride),
        out_w: size.div_ceil(stride),
        out_c,
        kernel_h: kernel,
        kernel_w: kernel,
        stride_h: stride,
        stride_w: stride,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: kernel / 2,
        pad_left: kernel / 2,
    }
}

pub fn run(report: &mut Report) {
    let tiles = [Tile::P8, Tile::P4, Tile::P2];
    // The edges of what a tile serves, and shapes of real networks.
    for (index, tile) in tiles.into_iter().enumerate() {
        let seed = 1_000 * (index as u32 + 1);
        for (n, in_c) in [1, 340, 341, 576, 577, 578, 1022, 1023, 1500]
            .into_iter()
            .enumerate()
        {
            nested(
                report,
                seed + n as u32,
                square(3, in_c, 3, 1, 1),
                tile,
                2,
                40,
            );
        }
        nested(report, seed + 20, square(8, 32, 8, 3, 1), tile, 3, 30);
        nested(report, seed + 21, square(12, 16, 8, 3, 2), tile, 3, 20);
        nested(report, seed + 22, square(7, 64, 4, 3, 1), tile, 3, 90);
        // Rows of every length up to 600 entries, and numbers of columns up to 600: all that 8 pixels
        // accept.
        for (first, rows) in [
            (0, 128),
            (128, 50),
            (178, 40),
            (218, 34),
            (252, 30),
            (282, 19),
        ] {
            lengths(report, tile, first, rows);
        }
        let (first, step) = [(1, 1), (342, 9), (7, 60)][index];
        for in_c in (first..=600).step_by(step) {
            let g = Geometry {
                in_w: 4,
                out_w: 4,
                ..square(2, in_c, 1, 1, 1)
            };
            nested(report, seed + 300 + u32::from(in_c), g, tile, 1, 2);
        }
        // Blocks of every distance, full and nearly empty, under odd maps and wide padding.
        for in_c in [8, 9, 16, 17, 32, 33, 64, 65, 113] {
            for stride in [1, 2] {
                let g = Geometry {
                    in_h: 5,
                    in_w: 7,
                    out_h: 5 / stride,
                    out_w: 8 / stride,
                    stride_h: stride,
                    stride_w: stride,
                    ..square(5, in_c, 2, 3, 1)
                };
                if tile == Tile::P8 || in_c % 32 == 1 {
                    nested(report, seed + 40 + u32::from(in_c), g, tile, 1, 12);
                }
            }
        }
        for n in 0..60 {
            let mut random = Random::new(seed + n);
            let g = geometry(&mut random, false);
            let levels = random.between(1, 3) as usize;
            let longest = random.between(0, 6);
            nested(report, seed + 100 + n, g, tile, levels, longest);
        }
    }
    for weight in [127, -127, -128] {
        for value in [-128, 127] {
            for other in [-128, 127] {
                heaviest(report, weight, value, other);
            }
        }
    }
}
