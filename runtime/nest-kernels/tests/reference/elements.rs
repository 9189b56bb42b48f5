//! Movements, look-ups, functions of two maps and interpolation.

use nest_format::{AddParams, ProductParams, Requant};
use nest_kernels::layer::*;
use nest_kernels::reference;

use crate::{Random, indices, requantised, volume};

#[test]
fn movements_copy_what_their_loops_say() {
    let mut random = Random(12);
    for _ in 0..400 {
        let loops = |random: &mut Random| -> Vec<Loop> {
            (0..random.between(0, 5))
                .map(|_| {
                    let [from, to] = [0, 1].map(|_| u32::from(random.between(0, 7)));
                    [u32::from(random.between(1, 4)), from, to]
                })
                .collect()
        };
        let loops = [loops(&mut random), loops(&mut random)];
        let nests = [0, 1].map(|i| Nest {
            from: u32::from(random.between(0, 9)),
            to: u32::from(random.between(0, 9)),
            loops: &loops[i],
        });
        let last = |side: usize| {
            let of = |n: &Nest<'_>| {
                let steps = n.loops.iter().map(|l| (l[0] - 1) * l[1 + side]);
                [n.from, n.to][side] + steps.sum::<u32>()
            };
            nests.iter().map(of).max().unwrap()
        };
        let tables: [[i8; 256]; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| random.byte()));
        let layer = Move {
            input: last(0) + 1,
            output: last(1) + 1 + u32::from(random.between(0, 3)),
            nests: &nests,
            table: (random.between(0, 1) == 1).then_some(&tables),
        };
        let input = random.bytes(layer.input as usize);
        let before = random.bytes(layer.output as usize);
        let mut expected = before.clone();
        for nest in &nests {
            let counts: Vec<u32> = nest.loops.iter().map(|l| l[0]).collect();
            // The rounds of all loops as digits of one number, the innermost last.
            for mut round in 0..counts.iter().product() {
                let (mut from, mut to) = (nest.from, nest.to);
                for &[count, f, t] in nest.loops.iter().rev() {
                    from += round % count * f;
                    to += round % count * t;
                    round /= count;
                }
                let x = input[from as usize];
                expected[to as usize] = match layer.table {
                    Some(tables) => tables[1][usize::from(x as u8)],
                    None => x,
                };
            }
        }
        let mut output = before;
        reference::move_elements(&layer, 1, &input, &mut output);
        assert_eq!(output, expected, "{layer:?}");
    }
}

#[test]
fn look_ups_take_the_entry_of_each_byte() {
    let mut random = Random(13);
    let tables: [[i8; 256]; 2] = std::array::from_fn(|_| std::array::from_fn(|_| random.byte()));
    let layer = Lookup { table: &tables };
    let input: Vec<i8> = (-128..=127).collect();
    for (level, table) in tables.iter().enumerate() {
        let mut output = vec![0; 256];
        reference::lookup(&layer, level, &input, &mut output);
        // -128 is the byte 128.
        let (upper, lower) = table.split_at(128);
        assert_eq!(output, [lower, upper].concat());
        let mut data = input.clone();
        reference::lookup_in_place(&layer, level, &mut data);
        assert_eq!(data, output);
    }
}

#[test]
fn functions_of_two_maps_follow_their_formulas() {
    let mut random = Random(14);
    for case in 0..600 {
        let output: [u16; 3] = std::array::from_fn(|_| random.between(1, 4));
        let mut operand = || output.map(|n| if random.between(0, 2) == 0 { 1 } else { n });
        let in_place = case % 3 == 0;
        let (a, b) = (if in_place { output } else { operand() }, operand());
        let mut sum = || AddParams {
            factor_a: random.next() as i16,
            factor_b: random.next() as i16,
            bias: random.next() as i32 % (1 << 24),
            shift: 15 + (random.next() % 4) as u32,
        };
        let sums = [sum(), sum()];
        let pairs = [[sum(), sum()], [sum(), sum()]];
        let products = [0, 1].map(|_| ProductParams {
            zero_a: random.byte(),
            zero_b: random.byte(),
            zero: random.byte(),
            multiplier: random.next() as i32 >> 8,
        });
        let operation = match case % 4 {
            0 => Operation::Sum(&sums),
            1 => Operation::Product(&products),
            2 => Operation::Least(&pairs),
            _ => Operation::Largest(&pairs),
        };
        let layer = Binary {
            operation,
            a,
            b,
            output,
        };
        let inputs = [random.bytes(volume(a)), random.bytes(volume(b))];
        let mut out = vec![0; volume(output)];
        reference::binary(&layer, 1, &inputs[0], &inputs[1], &mut out);
        let shifted = |v: i64, p: &AddParams| {
            ((v + i64::from(p.bias)).div_euclid(1 << p.shift)).clamp(-128, 127) as i8
        };
        for (index, &got) in indices(output).zip(&out) {
            let read = |extent: [u16; 3], data: &[i8]| {
                let [y, x, z] = [0, 1, 2]
                    .map(|axis| usize::from(if extent[axis] == 1 { 0 } else { index[axis] }));
                i64::from(data[(y * usize::from(extent[1]) + x) * usize::from(extent[2]) + z])
            };
            let (x, y) = (read(a, &inputs[0]), read(b, &inputs[1]));
            let both = |pair: &[AddParams; 2]| {
                [
                    shifted(x * i64::from(pair[0].factor_a), &pair[0]),
                    shifted(y * i64::from(pair[1].factor_a), &pair[1]),
                ]
            };
            let expected = match case % 4 {
                0 => {
                    let p = &sums[1];
                    shifted(x * i64::from(p.factor_a) + y * i64::from(p.factor_b), p)
                }
                1 => {
                    let p = &products[1];
                    let product = (x - i64::from(p.zero_a)) * (y - i64::from(p.zero_b));
                    requantised(&Requant::new(0, p.multiplier), p.zero, product)
                }
                2 => both(&pairs[1])[0].min(both(&pairs[1])[1]),
                _ => both(&pairs[1])[0].max(both(&pairs[1])[1]),
            };
            assert_eq!(got, expected, "{layer:?} {index:?}");
        }
        if in_place {
            let mut data = inputs[0].clone();
            reference::binary_in_place(&layer, 1, &mut data, &inputs[1]);
            assert_eq!(data, out, "{layer:?}");
        }
    }
}

#[test]
fn slopes_differ_above_and_below_zero() {
    let mut random = Random(15);
    for _ in 0..50 {
        let channels = usize::from(random.between(1, 5));
        let mut params = || -> Vec<AddParams> {
            (0..channels)
                .map(|_| AddParams {
                    factor_a: random.next() as i16,
                    factor_b: random.next() as i16,
                    bias: random.next() as i32 % (1 << 24),
                    shift: 15,
                })
                .collect()
        };
        let params = [params(), params()];
        let zero = [random.byte(), random.byte()];
        let layer = PRelu {
            zero: &zero,
            params: &[&params[0], &params[1]],
        };
        let pixels = usize::from(random.between(1, 9));
        let input = random.bytes(channels * pixels);
        let mut output = vec![0; input.len()];
        reference::prelu(&layer, 1, &input, &mut output);
        for (i, (&x, &got)) in input.iter().zip(&output).enumerate() {
            let p = &params[1][i % channels];
            let (x, zero) = (i64::from(x), i64::from(zero[1]));
            let (fa, fb) = (i64::from(p.factor_a), i64::from(p.factor_b));
            // What is on the other side counts as zero.
            let sum = if x >= zero {
                x * fa + zero * fb
            } else {
                zero * fa + x * fb
            };
            let exact = (sum + i64::from(p.bias))
                .div_euclid(1 << 15)
                .clamp(-128, 127);
            assert_eq!(i64::from(got), exact);
        }
        let mut data = input.clone();
        reference::prelu_in_place(&layer, 1, &mut data);
        assert_eq!(data, output);
    }
}

#[test]
fn interpolation_weighs_four_neighbours() {
    let mut random = Random(16);
    for _ in 0..200 {
        let input: [u16; 3] = std::array::from_fn(|_| random.between(1, 4));
        let mut taps = |extent: u16| -> Vec<Tap> {
            let count = random.between(1, 6);
            let mut tap = || {
                let [first, second] = [0, 1].map(|_| random.between(0, extent - 1));
                let share = [0, 256, random.between(0, 256)];
                [first, second, share[usize::from(random.between(0, 2))]]
            };
            (0..count).map(|_| tap()).collect()
        };
        let (rows, columns) = (taps(input[0]), taps(input[1]));
        let layer = Resize {
            input,
            rows: &rows,
            columns: &columns,
        };
        let data = random.bytes(volume(input));
        let extent = [rows.len() as u16, columns.len() as u16, input[2]];
        let mut output = vec![0; volume(extent)];
        reference::resize(&layer, &data, &mut output);
        for ([y, x, c], &got) in indices(extent).zip(&output) {
            let ([y0, y1, v], [x0, x1, h]) = (rows[usize::from(y)], columns[usize::from(x)]);
            let at = |y: u16, x: u16| {
                let [_, w, channels] = input.map(usize::from);
                f64::from(data[(usize::from(y) * w + usize::from(x)) * channels + usize::from(c)])
            };
            let (v, h) = (f64::from(v) / 256.0, f64::from(h) / 256.0);
            // Exact in double precision: shares are 256ths.
            let real = (1.0 - v) * ((1.0 - h) * at(y0, x0) + h * at(y0, x1))
                + v * ((1.0 - h) * at(y1, x0) + h * at(y1, x1));
            assert_eq!(f64::from(got), (real + 0.5).floor(), "{layer:?}");
        }
    }
}
