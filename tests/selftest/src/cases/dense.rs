//! Fully connected layers, and convolutions of any groups.

use nest_format::{NestedStream, Requant};
use nest_kernels::layer::{ConvGeneric, DenseNested, FullyConnected, Geometry};
use nest_kernels::{Kernel, kernel_for, reference};

use super::conv::{WORDS_MAX, geometry, stream};
use super::requant;
use crate::random::Random;
use crate::{Arena, OUTPUT_MAX, Report};

fn fully_connected(report: &mut Report, seed: u32, columns: usize, rows: usize) {
    let name = kernel_for(Kernel::FullyConnected);
    report.case(
        format_args!("{name}/k{columns}_r{rows}"),
        |arena, expected| {
            let mut random = Random::new(seed);
            let weights = arena.take::<i8>(rows * columns);
            let input = arena.take::<i8>(columns);
            let output = arena.take::<i8>(rows);
            let requant_at = arena.take::<Requant>(rows);
            random.fill(weights);
            random.fill(input);
            output.fill(0x55);
            let zeros = requant(
                &mut random,
                60 * 60 * columns.isqrt().max(1) as u32,
                requant_at,
            );
            let tables: [&[Requant]; 1] = [requant_at];
            let layer = FullyConnected {
                weights,
                columns: columns as u16,
                requant: &tables,
                out_zero: &zeros,
            };
            if let Some(expected) = expected {
                reference::fully_connected(&layer, 0, input, &mut expected[..rows]);
            }
            nest_kernels::fully_connected(&layer, 0, input, output);
            output
        },
    );
}

fn nested(report: &mut Report, seed: u32, columns: usize, rows: usize) {
    let levels = 3;
    let longest = (columns / 4 + 1).min(WORDS_MAX / (rows * levels)) as u32;
    // SAFETY: the arena of this pass is not used after it.
    let mut count = unsafe { Arena::new(0) };
    let words_len = stream(
        &mut Random::new(seed),
        columns as u32,
        levels,
        longest,
        count.take(rows * levels),
        count.take(WORDS_MAX),
    );
    let name = kernel_for(Kernel::DenseNested);
    for level in 0..levels {
        report.case(
            format_args!("{name}/k{columns}_r{rows}_level{level}"),
            |arena, expected| {
                let mut random = Random::new(seed);
                let words = arena.take::<u32>(words_len);
                let prefix = arena.take::<u16>(rows * levels);
                let requant_at = arena.take::<Requant>(rows);
                let input = arena.take::<i8>(columns);
                let output = arena.take::<i8>(rows);
                stream(&mut random, columns as u32, levels, longest, prefix, words);
                let zeros = requant(&mut random, 60 * 60 * longest.isqrt().max(1), requant_at);
                random.fill(input);
                output.fill(0x55);
                let tables: [&[Requant]; 3] = [requant_at; 3];
                let layer = DenseNested {
                    stream: NestedStream::new(
                        rows as u16,
                        columns as u16,
                        levels as u8,
                        words,
                        prefix,
                    ),
                    requant: &tables,
                    out_zero: &zeros,
                };
                if let Some(expected) = expected {
                    reference::dense_nested(&layer, level, input, &mut expected[..rows]);
                }
                nest_kernels::dense_nested(&layer, level, input, output);
                output
            },
        );
    }
}

fn generic(report: &mut Report, seed: u32, g: Geometry, groups: u16) {
    let rows = g.out_c as usize;
    let outputs = g.out_pixels() * rows;
    if outputs > OUTPUT_MAX {
        return;
    }
    let name = kernel_for(Kernel::ConvGeneric);
    report.case(
        format_args!("{name}/{seed}_r{rows}_g{groups}"),
        |arena, expected| {
            let mut random = Random::new(seed);
            let columns = g.columns() / groups as usize;
            let weights = arena.take::<i8>(rows * columns);
            let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
            let output = arena.take::<i8>(outputs);
            let requant_at = arena.take::<Requant>(rows);
            random.fill(weights);
            random.fill(input);
            output.fill(0x55);
            let zeros = requant(
                &mut random,
                60 * 60 * columns.isqrt().max(1) as u32,
                requant_at,
            );
            let pads = [random.byte()];
            let tables: [&[Requant]; 1] = [requant_at];
            let layer = ConvGeneric {
                geometry: g,
                groups,
                weights,
                requant: &tables,
                out_zero: &zeros,
                pad: &pads,
            };
            if let Some(expected) = expected {
                reference::conv_generic(&layer, 0, input, &mut expected[..outputs]);
            }
            nest_kernels::conv_generic(&layer, 0, input, output);
            output
        },
    );
}

pub fn run(report: &mut Report) {
    let mut seed = 0;
    for columns in (0..=13).chain([64, 127, 1000]) {
        for rows in [1, 2, 10] {
            seed += 1;
            fully_connected(report, seed, columns, rows);
            if columns > 0 {
                nested(report, 1_000 + seed, columns, rows);
            }
        }
    }
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut g = geometry(&mut random, false);
        let groups = random.between(1, 3) as u16;
        g.in_c *= groups;
        g.out_c *= groups;
        generic(report, seed, g, groups);
    }
}
