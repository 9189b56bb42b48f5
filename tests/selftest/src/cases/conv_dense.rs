//! Convolutions with dense weights.

use nest_format::{DenseWeights, Requant};
use nest_kernels::layer::{ConvDense, Geometry};
use nest_kernels::{
    Kernel, conv_dense_least_distance, conv_dense_scratch_words, kernel_for, reference,
};

use super::conv::{geometry, square};
use super::{in_place, requant};
use crate::random::Random;
use crate::{OUTPUT_MAX, Report};

/// What the first round of a case made, for the others: making it takes longer than running it.
struct Kept {
    words: [u32; 4096],
    input: [i8; 8192],
}

static mut KEPT: Kept = Kept {
    words: [0; 4096],
    input: [0; 8192],
};

/// One layer with sums of about `largest`; `fill` makes weights and input.
fn case(
    report: &mut Report,
    seed: u32,
    g: Geometry,
    pass_tiles: u16,
    largest: u32,
    fill: impl Fn(&mut Random, &mut [i8], &mut [i8]),
) {
    let rows = g.out_c as usize;
    let columns = g.columns();
    let outputs = g.out_pixels() * rows;
    if outputs > OUTPUT_MAX {
        return;
    }
    let name = format_args!(
        "{}/{seed}_k{columns}_r{rows}_p{}_t{pass_tiles}",
        kernel_for(Kernel::ConvDense),
        g.out_pixels()
    );
    let kept = &raw mut KEPT;
    // SAFETY: the only use of the static, and the program has one thread.
    let kept = unsafe { &mut *kept };
    let mut made = false;
    report.case_in_place(name, |arena, expected| {
        let mut random = Random::new(seed);
        let words = arena.take::<u32>(DenseWeights::words_for(rows, columns));
        let requant_at = arena.take::<Requant>(rows);
        let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
        let output = arena.take::<i8>(outputs);
        let scratch = arena.take::<u32>(conv_dense_scratch_words(&g, pass_tiles));
        let weights = arena.take::<i8>(rows * columns);
        let zeros = requant(&mut random, largest, requant_at);
        let pads = [random.byte()];
        let room = kept.words.get_mut(..words.len());
        match room.zip(kept.input.get_mut(..input.len())) {
            Some((kept_words, kept_input)) if made => {
                words.copy_from_slice(kept_words);
                input.copy_from_slice(kept_input);
            }
            room => {
                fill(&mut random, weights, input);
                DenseWeights::encode(rows, columns, |row, k| weights[row * columns + k], words);
                if let Some((kept_words, kept_input)) = room {
                    kept_words.copy_from_slice(words);
                    kept_input.copy_from_slice(input);
                    made = true;
                }
            }
        }
        output.fill(0x55);
        let tables: [&[Requant]; 1] = [requant_at];
        let layer = ConvDense {
            geometry: g,
            weights: DenseWeights::new(rows as u16, columns as u16, words),
            requant: &tables,
            out_zero: &zeros,
            pad: &pads,
            pass_tiles,
        };
        if let Some(expected) = expected {
            reference::conv_dense(&layer, 0, input, &mut expected[..outputs], &mut []);
        }
        if arena.in_place() {
            let least = conv_dense_least_distance(&g, pass_tiles);
            return in_place(arena, input, outputs, least, |data, at| {
                nest_kernels::conv_dense_in_place(&layer, 0, data, at, scratch);
            });
        }
        nest_kernels::conv_dense(&layer, 0, input, output, scratch);
        output
    });
}

/// A layer of random values, with many extremes for every fourth seed.
fn random(report: &mut Report, seed: u32, g: Geometry, pass_tiles: u16) {
    let largest = 60 * 60 * g.columns().isqrt().max(1) as u32;
    case(
        report,
        seed,
        g,
        pass_tiles,
        largest,
        |random, weights, input| {
            if seed % 4 == 0 {
                random.fill(weights);
                random.fill(input);
            } else {
                random.fill_fast(weights);
                random.fill_fast(input);
            }
        },
    );
}

pub fn run(report: &mut Report) {
    // Every number of columns, with every tail of rows and pixels.
    for columns in 0..=600u16 {
        let mut g = square(1, columns, 1 + columns % 3, 1, 1);
        g.in_w = 3 + columns / 4 % 2;
        g.out_w = g.in_w;
        let largest = 80 * 80 * u32::from(columns.isqrt());
        case(
            report,
            columns.into(),
            g,
            1,
            largest,
            |random, weights, input| {
                random.fill_fast(weights);
                random.fill_fast(input);
            },
        );
    }
    // The largest sums there are.
    for weight in [127, -128] {
        for value in [127, -128] {
            let g = square(2, 600, 2, 1, 1);
            case(report, 700, g, 2, 128 * 128 * 600, |_, weights, input| {
                weights.fill(weight);
                input.fill(value);
            });
        }
    }
    for (n, pass_tiles) in [(1, 1), (2, 5), (3, u16::MAX)] {
        random(report, 710 + n, square(8, 32, 9, 3, 1), pass_tiles);
        random(report, 720 + n, square(12, 16, 8, 3, 2), pass_tiles);
        random(report, 730 + n, square(4, 64, 5, 3, 1), pass_tiles);
        random(report, 740 + n, square(2, 1500, 3, 1, 1), pass_tiles);
        random(report, 750 + n, square(10, 3, 6, 3, 1), pass_tiles);
        random(report, 760 + n, square(11, 3, 4, 3, 2), pass_tiles);
        random(report, 770 + n, square(9, 1, 3, 5, 1), pass_tiles);
    }
    // First layers: all alignments of lines, padding on every side and beyond.
    for n in 0..48 {
        let (pad, stride) = (n % 4, 1 + n / 4 % 3);
        let size = [1, 2, 5, 8][n as usize / 12];
        let mut g = square(size, 3, 2 + n % 2, 3, stride);
        (g.pad_top, g.pad_left) = (pad, 3 - pad);
        (g.out_h, g.out_w) = (1 + (size + n % 3) / stride, 2 + (size + pad) / stride);
        random(report, 800 + u32::from(n), g, 1 + n % 4);
    }
    for n in 0..120 {
        let mut values = Random::new(n);
        let g = geometry(&mut values, false);
        let pass_tiles = [1, 2, 3, 40][values.below(4) as usize];
        random(report, 1_000 + n, g, pass_tiles);
    }
}
