//! Movements and look-ups.

use nest_kernels::layer::{Lookup, Move, Nest};
use nest_kernels::{Kernel, kernel_for, reference};

use crate::Report;
use crate::random::Random;

/// A table without two equal neighbours.
fn table(random: &mut Random) -> [i8; 256] {
    let first = random.next() as u8;
    core::array::from_fn(|i| (i as u8).wrapping_mul(37).wrapping_add(first) as i8)
}

/// Nests over maps of so many elements, each written once; `c` and `n` are extents of theirs.
fn nests(report: &mut Report) {
    let name = kernel_for(Kernel::Move);
    for c in (1..=9).chain([15, 16, 17, 20, 31, 33, 64]) {
        let n = [1, 2, 3, 5][c as usize % 4];
        // Joined channels; every second channel; a transposition; rows twice; one element, and three
        // outer loops.
        let joined = [Nest {
            from: 0,
            to: 3,
            loops: &[[n, c, c + 7], [c, 1, 1]],
        }];
        let halves = [Nest {
            from: 1,
            to: 0,
            loops: &[[n, 2 * c, c], [c, 2, 1]],
        }];
        let turned = [Nest {
            from: 0,
            to: 0,
            loops: &[[n, c, 1], [c, 1, n]],
        }];
        let twice = [Nest {
            from: 0,
            to: 0,
            loops: &[[n, c, 4 * c], [2, 0, 2 * c], [c, 1, 2]],
        }];
        let several = [
            Nest {
                from: 5,
                to: 0,
                loops: &[],
            },
            Nest {
                from: 0,
                to: 1,
                loops: &[[c, 1, 1]],
            },
            Nest {
                from: c,
                to: c + 1,
                loops: &[
                    [2, 100, 12 * c],
                    [3, 10, 4 * c],
                    [2, 3, 2 * c],
                    [2, 1, c],
                    [c, 1, 1],
                ],
            },
        ];
        let cases: [(&str, &[Nest<'_>]); 5] = [
            ("joined", &joined),
            ("halves", &halves),
            ("turned", &turned),
            ("twice", &twice),
            ("several", &several),
        ];
        for (text, nests) in cases {
            for with_table in [false, true] {
                report.case(
                    format_args!("{name}/{text}_{c}x{n}_{with_table}"),
                    |arena, expected| {
                        let mut random = Random::new(c * 8 + n);
                        let tables = [table(&mut random), table(&mut random)];
                        let end = |side: usize| {
                            let last = |nest: &Nest<'_>| {
                                let first = [nest.from, nest.to][side];
                                let steps = nest.loops.iter().map(|l| (l[0] - 1) * l[1 + side]);
                                first + steps.sum::<u32>() + 1
                            };
                            nests.iter().map(last).max().unwrap_or(0)
                        };
                        let layer = Move {
                            input: end(0),
                            output: end(1),
                            nests,
                            table: with_table.then_some(&tables[..]),
                        };
                        let input = arena.take::<i8>(layer.input as usize);
                        let output = arena.take::<i8>(layer.output as usize);
                        random.fill(input);
                        output.fill(0x55);
                        if let Some(expected) = expected {
                            let expected = &mut expected[..layer.output as usize];
                            expected.fill(0x55);
                            reference::move_elements(&layer, 1, input, expected);
                        }
                        nest_kernels::move_elements(&layer, 1, input, output);
                        output
                    },
                );
            }
        }
    }
}

fn look_ups(report: &mut Report) {
    let name = kernel_for(Kernel::Lookup);
    for n in (0..=9).chain([64, 255, 1000]) {
        report.case(format_args!("{name}/{n}"), |arena, expected| {
            let mut random = Random::new(n as u32);
            let tables = [table(&mut random)];
            let layer = Lookup { table: &tables };
            let input = arena.take::<i8>(n);
            let output = arena.take::<i8>(n);
            random.fill(input);
            if let Some(expected) = expected {
                reference::lookup(&layer, 0, input, &mut expected[..n]);
            }
            nest_kernels::lookup(&layer, 0, input, output);
            output
        });
        report.case(format_args!("{name}/{n}_in_place"), |arena, expected| {
            let mut random = Random::new(n as u32);
            let tables = [table(&mut random)];
            let layer = Lookup { table: &tables };
            let data = arena.take::<i8>(n);
            random.fill(data);
            if let Some(expected) = expected {
                expected[..n].copy_from_slice(data);
                reference::lookup_in_place(&layer, 0, &mut expected[..n]);
            }
            nest_kernels::lookup_in_place(&layer, 0, data);
            data
        });
    }
}

pub fn run(report: &mut Report) {
    nests(report);
    look_ups(report);
}
