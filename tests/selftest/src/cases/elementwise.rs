//! Additions and clamps.

use nest_format::AddParams;
use nest_kernels::layer::{Add, Clamp};
use nest_kernels::{Kernel, kernel_for, reference};

use crate::Report;
use crate::random::Random;

fn additions(report: &mut Report) {
    let add = kernel_for(Kernel::Add);
    // All variants at some lengths, one of them at all others.
    for n in (0..=130).chain((131..600).step_by(23)).chain([600, 1000]) {
        for variant in 0..6 {
            if variant != n % 6 && n > 19 && ![64, 255, 1000].contains(&n) {
                continue;
            }
            let params = [
                AddParams {
                    factor_a: 12_345,
                    factor_b: 9_876,
                    bias: 1 << 13,
                    shift: 14,
                },
                AddParams {
                    factor_a: i16::MAX,
                    factor_b: i16::MIN,
                    bias: 1 << 20,
                    shift: 22,
                },
                AddParams {
                    factor_a: 1,
                    factor_b: 1,
                    bias: 0,
                    shift: 0,
                },
                AddParams {
                    factor_a: -300,
                    factor_b: 31_000,
                    bias: -(1 << 24),
                    shift: 15,
                },
                // The largest sums that fit 16 bits when shifted, and the smallest that do not.
                AddParams {
                    factor_a: i16::MAX,
                    factor_b: -i16::MAX,
                    bias: 255,
                    shift: 8,
                },
                AddParams {
                    factor_a: i16::MIN,
                    factor_b: i16::MIN,
                    bias: 0,
                    shift: 8,
                },
            ];
            let params = [params[variant]];
            let layer = Add { params: &params };
            report.case(format_args!("{add}/{n}_{variant}"), |arena, expected| {
                let mut random = Random::new(n as u32 * 6 + variant as u32);
                let a = arena.take::<i8>(n);
                let b = arena.take::<i8>(n);
                let output = arena.take::<i8>(n);
                random.fill(a);
                random.fill(b);
                // The largest sums, among them.
                a.iter_mut().step_by(7).for_each(|x| *x = -128);
                b.iter_mut().step_by(7).for_each(|x| *x = -128);
                if let Some(expected) = expected {
                    reference::add(&layer, 0, a, b, &mut expected[..n]);
                }
                nest_kernels::add(&layer, 0, a, b, output);
                output
            });
            report.case(
                format_args!("{add}/{n}_{variant}_in_place"),
                |arena, expected| {
                    let mut random = Random::new(n as u32 * 6 + variant as u32);
                    let a = arena.take::<i8>(n);
                    let b = arena.take::<i8>(n);
                    random.fill(a);
                    random.fill(b);
                    if let Some(expected) = expected {
                        expected[..n].copy_from_slice(a);
                        reference::add_in_place(&layer, 0, &mut expected[..n], b);
                    }
                    nest_kernels::add_in_place(&layer, 0, a, b);
                    a
                },
            );
        }
    }
}

fn clamps(report: &mut Report) {
    let clamp = kernel_for(Kernel::Clamp);
    for n in (0..=9).chain([64, 255]) {
        for [low, high] in [
            [-128, 127],
            [-128, 0],
            [0, 127],
            [-3, 90],
            [5, -5],
            [127, 127],
        ] {
            let bounds = [[low, high]];
            let layer = Clamp { bounds: &bounds };
            report.case(
                format_args!("{clamp}/{n}_{low}..{high}"),
                |arena, expected| {
                    let input = arena.take::<i8>(n);
                    let output = arena.take::<i8>(n);
                    Random::new(n as u32).fill(input);
                    if let Some(expected) = expected {
                        reference::clamp(&layer, 0, input, &mut expected[..n]);
                    }
                    nest_kernels::clamp(&layer, 0, input, output);
                    output
                },
            );
            report.case(
                format_args!("{clamp}/{n}_{low}..{high}_in_place"),
                |arena, expected| {
                    let data = arena.take::<i8>(n);
                    Random::new(n as u32).fill(data);
                    if let Some(expected) = expected {
                        expected[..n].copy_from_slice(data);
                        reference::clamp_in_place(&layer, 0, &mut expected[..n]);
                    }
                    nest_kernels::clamp_in_place(&layer, 0, data);
                    data
                },
            );
        }
    }
}

pub fn run(report: &mut Report) {
    additions(report);
    clamps(report);
}
