//! Pooling.

use nest_format::Requant;
use nest_kernels::layer::{AvgPool, Geometry, GlobalAvgPool, MaxPool};
use nest_kernels::{Kernel, kernel_for, reference};

use super::conv::{geometry, square};
use super::requant;
use crate::random::Random;
use crate::{OUTPUT_MAX, Report};

fn max(report: &mut Report, seed: u32, g: Geometry) {
    let outputs = g.out_pixels() * g.out_c as usize;
    let name = kernel_for(Kernel::MaxPool);
    report.case(
        format_args!("{name}/{seed}_c{}", g.out_c),
        |arena, expected| {
            let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
            let output = arena.take::<i8>(outputs);
            Random::new(seed).fill(input);
            output.fill(0x55);
            let layer = MaxPool { geometry: g };
            if let Some(expected) = expected {
                reference::max_pool(&layer, input, &mut expected[..outputs]);
            }
            nest_kernels::max_pool(&layer, input, output);
            output
        },
    );
}

fn average(report: &mut Report, seed: u32, g: Geometry, count_include_pad: bool) {
    let outputs = g.out_pixels() * g.out_c as usize;
    let taps = g.kernel_h as usize * g.kernel_w as usize;
    let name = kernel_for(Kernel::AvgPool);
    report.case(
        format_args!("{name}/{seed}_c{}_{count_include_pad}", g.out_c),
        |arena, expected| {
            let mut random = Random::new(seed);
            let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
            let output = arena.take::<i8>(outputs);
            let requant_at = arena.take::<Requant>(taps);
            random.fill(input);
            output.fill(0x55);
            let zeros = requant(&mut random, 100 * taps as u32, requant_at);
            let pads = [random.byte()];
            let tables: [&[Requant]; 1] = [requant_at];
            let layer = AvgPool {
                geometry: g,
                count_include_pad,
                pad: &pads,
                requant: &tables,
                out_zero: &zeros,
            };
            if let Some(expected) = expected {
                reference::avg_pool(&layer, 0, input, &mut expected[..outputs]);
            }
            nest_kernels::avg_pool(&layer, 0, input, output);
            output
        },
    );
}

fn global(report: &mut Report, seed: u32, pixels: usize, channels: usize) {
    let name = kernel_for(Kernel::GlobalAvgPool);
    report.case(
        format_args!("{name}/p{pixels}_c{channels}"),
        |arena, expected| {
            let mut random = Random::new(seed);
            let input = arena.take::<i8>(pixels * channels);
            let output = arena.take::<i8>(channels);
            random.fill(input);
            if seed.is_multiple_of(3) {
                // The longest sums there are.
                input.fill(if seed.is_multiple_of(2) { -128 } else { 127 });
            }
            output.fill(0x55);
            let mut constant = [Requant::new(0, 0)];
            let zeros = requant(&mut random, 100 * pixels as u32, &mut constant);
            let layer = GlobalAvgPool {
                pixels: pixels as u32,
                channels: channels as u16,
                requant: &constant,
                out_zero: &zeros,
            };
            if let Some(expected) = expected {
                reference::global_avg_pool(&layer, 0, input, &mut expected[..channels]);
            }
            nest_kernels::global_avg_pool(&layer, 0, input, output);
            output
        },
    );
}

pub fn run(report: &mut Report) {
    for seed in 0..80 {
        let mut random = Random::new(seed);
        let mut g = geometry(&mut random, false);
        g.out_c = g.in_c;
        if g.out_pixels() * g.out_c as usize > OUTPUT_MAX {
            continue;
        }
        max(report, seed, g);
        average(report, seed, g, false);
        average(report, seed, g, true);
    }
    // More taps than one table holds, and every number of channels up to two groups.
    for (n, channels) in (1..=17).chain([64]).enumerate() {
        for kernel in [2, 3, 9] {
            if kernel == 9 && n % 4 != 0 {
                continue;
            }
            let mut g = square(11, channels, channels, kernel, 1 + n as u16 % 3);
            g.pad_left = n as u16 % kernel;
            let seed = 100 + 10 * n as u32 + u32::from(kernel);
            max(report, seed, g);
            average(report, seed, g, n % 2 == 0);
        }
    }
    let mut seed = 0;
    for pixels in [0, 1, 2, 49, 64, 65, 254, 255, 256, 511, 1024] {
        for channels in [1, 3, 4, 5, 8, 63, 64] {
            seed += 1;
            global(report, seed, pixels, channels);
        }
    }
}
