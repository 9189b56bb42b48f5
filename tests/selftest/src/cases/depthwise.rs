//! Depthwise convolutions.

use nest_format::Requant;
use nest_kernels::layer::{Depthwise, Geometry};
use nest_kernels::{DepthwiseForm, DepthwiseStrips, Kernel, kernel_for, reference};

use super::conv::{geometry, square};
use super::requant;
use crate::random::Random;
use crate::{OUTPUT_MAX, Report};

fn depthwise(report: &mut Report, seed: u32, g: Geometry) {
    if g.out_pixels() * g.out_c as usize > OUTPUT_MAX {
        return;
    }
    run_case(report, seed, g, false);
    if seed.is_multiple_of(4) && DepthwiseStrips::in_place(&g) {
        run_case(report, seed, g, true);
    }
}

fn run_case(report: &mut Report, seed: u32, g: Geometry, in_place: bool) {
    let channels = g.out_c as usize;
    let outputs = g.out_pixels() * channels;
    let name = kernel_for(Kernel::Depthwise(DepthwiseForm::of(&g)));
    let place = if in_place { "_in_place" } else { "" };
    report.case(
        format_args!(
            "{name}/{seed}_{}x{}_c{channels}{place}",
            g.kernel_h, g.kernel_w
        ),
        |arena, expected| {
            let mut random = Random::new(seed);
            let taps = g.kernel_h as usize * g.kernel_w as usize;
            let weights = arena.take::<i8>(taps * channels);
            let input = arena.take::<i8>(g.in_h as usize * g.in_w as usize * g.in_c as usize);
            let output = arena.take::<i8>(if in_place { 0 } else { outputs });
            let requant_at = arena.take::<Requant>(channels);
            let scratch = arena.take::<u32>(nest_kernels::depthwise_scratch_words(&g));
            if seed.is_multiple_of(16) {
                // The largest sums there are, of either sign.
                weights.fill(-128);
                input.fill(if seed.is_multiple_of(32) { -128 } else { 127 });
            } else {
                random.fill(weights);
                random.fill(input);
            }
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
            if in_place {
                nest_kernels::depthwise_in_place(&layer, 0, input, scratch);
                return input;
            }
            nest_kernels::depthwise(&layer, 0, input, output, scratch);
            output
        },
    );
}

/// A layer that runs over strips: windows of 3 x 3 or 5 x 5 at stride 1 or 2.
fn strips(random: &mut Random) -> Geometry {
    let mut g = geometry(random, false);
    let kernel = [3, 5][random.below(2) as usize];
    let stride = random.between(1, 2) as u16;
    (g.kernel_h, g.kernel_w) = (kernel, kernel);
    (g.stride_h, g.stride_w) = (stride, stride);
    (g.dilation_h, g.dilation_w) = (1, 1);
    g.in_c = random.between(4, 21) as u16;
    g.out_c = g.in_c;
    g
}

pub fn run(report: &mut Report) {
    let mut seed = 1_000;
    let mut case = |g: Geometry| {
        seed += 1;
        depthwise(report, seed, g);
    };
    for channels in [1, 2, 3, 4, 5, 6, 7, 8, 9, 32, 63] {
        for stride in [1, 2] {
            for kernel in [3, 5] {
                let mut g = square(7, channels, channels, kernel, stride);
                case(g);
                (g.pad_top, g.pad_left) = (0, 0);
                case(g);
            }
        }
    }
    // Every chunk of channels there can be: one, several, with 1 to 3 channels in the last one.
    for channels in [100, 253, 255, 256] {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            case(square(4, channels, channels, kernel, stride));
        }
    }
    // Long rows: one group of channels fills the scratch.
    for columns in [127, 256, 511, 512, 513] {
        let mut g = square(3, 5, 5, 3, 1);
        (g.in_w, g.out_w) = (columns, columns);
        case(g);
    }
    for seed in 0..120 {
        case(geometry(&mut Random::new(seed), true));
    }
    for seed in 0..160 {
        case(strips(&mut Random::new(seed)));
    }
}
