//! Depthwise convolutions.

use nest_format::Requant;
use nest_kernels::layer::{Depthwise, Geometry};
use nest_kernels::{Kernel, kernel_for, reference};

use super::conv::{geometry, square};
use super::requant;
use crate::random::Random;
use crate::{OUTPUT_MAX, Report};

fn depthwise(report: &mut Report, seed: u32, g: Geometry) {
    let channels = g.out_c as usize;
    let outputs = g.out_pixels() * channels;
    if outputs > OUTPUT_MAX {
        return;
    }
    let kernel_3x3 = (g.kernel_h, g.kernel_w) == (3, 3) && g.in_c == g.out_c;
    let name = kernel_for(Kernel::Depthwise { kernel_3x3 });
    report.case(
        format_args!("{name}/{seed}_{}x{}_c{channels}", g.kernel_h, g.kernel_w),
        |arena, expected| {
            let mut random = Random::new(seed);
            let taps = g.kernel_h as usize * g.kernel_w as usize;
            let weights = arena.take::<i8>(taps * channels);
            let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
            let output = arena.take::<i8>(outputs);
            let requant_at = arena.take::<Requant>(channels);
            let scratch = arena.take::<u32>(nest_kernels::depthwise_scratch_words(&g));
            random.fill(weights);
            random.fill(input);
            output.fill(0x55);
            let zeros = requant(
                &mut random,
                60 * 60 * taps.isqrt().max(1) as u32,
                requant_at,
            );
            let pads = [random.byte()];
            let tables: [&[Requant]; 1] = [requant_at];
            let layer = Depthwise {
                geometry: g,
                weights,
                requant: &tables,
                out_zero: &zeros,
                pad: &pads,
            };
            if let Some(expected) = expected {
                reference::depthwise(&layer, 0, input, &mut expected[..outputs], &mut []);
            }
            nest_kernels::depthwise(&layer, 0, input, output, scratch);
            output
        },
    );
}

pub fn run(report: &mut Report) {
    for (n, channels) in [1, 2, 3, 4, 5, 6, 7, 8, 9, 32, 63].into_iter().enumerate() {
        for stride in [1, 2] {
            let mut g = square(7, channels, channels, 3, stride);
            depthwise(report, 1_000 + 2 * n as u32 + u32::from(stride), g);
            (g.pad_top, g.pad_left) = (0, 0);
            depthwise(report, 1_100 + 2 * n as u32 + u32::from(stride), g);
        }
    }
    for seed in 0..120 {
        let g = geometry(&mut Random::new(seed), true);
        depthwise(report, seed, g);
    }
}
