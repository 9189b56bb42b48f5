//! The reference against the definitions: sums in 64 bits straight from the formulas, over random
//! shapes. Nothing here shares code with the kernels but the layer types.

mod elements;

use nest_format::{AddParams, DenseWeights, Entry, NestedStream, Requant};
use nest_kernels::layer::*;
use nest_kernels::{
    DensePasses, NestedLayout, conv_dense_least_distance, conv_nested_least_distance, reference,
};

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    fn between(&mut self, low: u16, high: u16) -> u16 {
        low + (self.next() % u64::from(high - low + 1)) as u16
    }
    fn byte(&mut self) -> i8 {
        match self.next() % 10 {
            0 => -128,
            1 => 127,
            _ => self.next() as i8,
        }
    }
    fn bytes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.byte()).collect()
    }
    fn requants(&mut self, n: usize) -> Vec<Requant> {
        (0..n)
            .map(|_| {
                let multiplier = (self.next() % (1 << 24)) as i32 - (1 << 21);
                Requant::new(self.next() as i32 >> 16, multiplier)
            })
            .collect()
    }
    fn geometry(&mut self) -> Geometry {
        Geometry {
            in_h: self.between(1, 8),
            in_w: self.between(1, 8),
            in_c: self.between(1, 6),
            out_h: self.between(1, 6),
            out_w: self.between(1, 6),
            out_c: self.between(1, 6),
            kernel_h: self.between(1, 4),
            kernel_w: self.between(1, 4),
            stride_h: self.between(1, 3),
            stride_w: self.between(1, 3),
            dilation_h: self.between(1, 2),
            dilation_w: self.between(1, 2),
            pad_top: self.between(0, 3),
            pad_left: self.between(0, 3),
        }
    }
}

/// The requantisation rule, from its definition.
fn requantised(requant: &Requant, zero: i8, sum: i64) -> i8 {
    let exact = (i128::from(sum) + i128::from(requant.bias)) * i128::from(requant.multiplier);
    let half = 1i128 << 31;
    ((exact + half).div_euclid(1 << 32) + i128::from(zero)).clamp(-128, 127) as i8
}

/// Element `[y][x][c]` of the input under a tap; `None` in the padding.
fn tap(g: &Geometry, input: &[i8], at: [u16; 4], channel: usize) -> Option<i8> {
    let [oy, ox, ky, kx] = at.map(i64::from);
    let y = oy * i64::from(g.stride_h) + ky * i64::from(g.dilation_h) - i64::from(g.pad_top);
    let x = ox * i64::from(g.stride_w) + kx * i64::from(g.dilation_w) - i64::from(g.pad_left);
    let inside = (0..i64::from(g.in_h)).contains(&y) && (0..i64::from(g.in_w)).contains(&x);
    let (w, c) = (usize::from(g.in_w), usize::from(g.in_c));
    inside.then(|| input[(y as usize * w + x as usize) * c + channel])
}

/// A grouped convolution by the formula; `weight(o, ky, kx, i)` with `i` in the group.
fn convolution(
    g: &Geometry,
    groups: u16,
    (pad, zero): (i8, i8),
    input: &[i8],
    requant: &[Requant],
    weight: impl Fn(usize, u16, u16, usize) -> i8,
) -> Vec<i8> {
    let in_group = usize::from(g.in_c / groups);
    let out_group = usize::from(g.out_c / groups);
    let mut output = Vec::new();
    for oy in 0..g.out_h {
        for ox in 0..g.out_w {
            for (o, requant) in requant.iter().enumerate() {
                let mut sum = 0i64;
                for ky in 0..g.kernel_h {
                    for kx in 0..g.kernel_w {
                        for i in 0..in_group {
                            let channel = o / out_group * in_group + i;
                            let x = tap(g, input, [oy, ox, ky, kx], channel).unwrap_or(pad);
                            sum += i64::from(x) * i64::from(weight(o, ky, kx, i));
                        }
                    }
                }
                output.push(requantised(requant, zero, sum));
            }
        }
    }
    output
}

fn input_len(g: &Geometry) -> usize {
    usize::from(g.in_h) * usize::from(g.in_w) * usize::from(g.in_c)
}

#[test]
fn generic_convolutions_follow_the_formula() {
    let mut random = Random(1);
    for case in 0..400 {
        let mut g = random.geometry();
        let groups = random.between(1, 3);
        g.in_c *= groups;
        g.out_c *= groups;
        if case % 40 == 0 {
            // Beyond the strips: thousands of columns.
            g.in_c = groups * [500, 1200][case / 40 % 2];
        }
        let in_group = usize::from(g.in_c / groups);
        let taps = usize::from(g.kernel_h) * usize::from(g.kernel_w);
        let weights = random.bytes(usize::from(g.out_c) * taps * in_group);
        let requant = random.requants(g.out_c.into());
        let zero = random.byte();
        let input = random.bytes(input_len(&g));
        let pad = random.byte();
        let layer = ConvGeneric {
            geometry: g,
            groups,
            weights: &weights,
            requant: &[&requant],
            out_zero: &[zero],
            pad: &[pad],
        };
        let expected = convolution(&g, groups, (pad, zero), &input, &requant, |o, ky, kx, i| {
            let tap = usize::from(ky) * usize::from(g.kernel_w) + usize::from(kx);
            weights[(o * taps + tap) * in_group + i]
        });
        let mut output = vec![0; expected.len()];
        reference::conv_generic(&layer, 0, &input, &mut output);
        assert_eq!(output, expected, "{g:?}, {groups} groups");
    }
}

/// Random weights with a level each (`levels` = none), and their stream.
fn nested(
    random: &mut Random,
    rows: usize,
    columns: usize,
    levels: usize,
    real: impl Fn(usize) -> bool,
) -> (Vec<(i8, usize)>, Vec<u32>, Vec<u16>) {
    let weights: Vec<(i8, usize)> = (0..rows * columns)
        .map(|_| {
            let level = random.next() as usize % (levels + 2);
            (random.byte(), level.min(levels))
        })
        .collect();
    let mut words = Vec::new();
    let mut prefix = vec![0; rows * levels];
    for row in 0..rows {
        let start = words.len();
        let mut column = 0i32;
        for level in 0..levels {
            let mut entries = Vec::new();
            let mut live: Vec<usize> = (0..columns)
                .filter(|&c| weights[row * columns + c].1 == level && real(c))
                .collect();
            if level % 2 == 1 {
                live.reverse();
            }
            for c in live {
                while c as i32 - column > 31 {
                    entries.push(Entry {
                        delta: 31,
                        weight: 0,
                    });
                    column += 31;
                }
                while c as i32 - column < -32 {
                    entries.push(Entry {
                        delta: -32,
                        weight: 0,
                    });
                    column -= 32;
                }
                let delta = (c as i32 - column) as i8;
                entries.push(Entry {
                    delta,
                    weight: weights[row * columns + c].0,
                });
                column = c as i32;
            }
            if entries.len() % 2 == 1 {
                entries.push(Entry {
                    delta: 0,
                    weight: 0,
                });
            }
            words.extend(entries.chunks(2).map(|pair| Entry::pair(pair[0], pair[1])));
            prefix[level * rows + row] = (words.len() - start) as u16;
        }
    }
    (weights, words, prefix)
}

#[test]
fn nested_convolutions_run_each_level_as_if_it_were_alone() {
    let mut random = Random(2);
    for case in 0..200 {
        let mut g = random.geometry();
        if case % 10 == 0 {
            // Gaps longer than a delta, in both directions.
            g.in_c = random.between(100, 200);
            (g.kernel_h, g.kernel_w) = (1, 1);
        }
        let (tile, layout) = (case..)
            .map(|n| [Tile::P2, Tile::P8, Tile::P4][n % 3])
            .find_map(|tile| Some((tile, NestedLayout::of(&g, tile)?)))
            .expect("2 pixels run anything");
        let (rows, columns) = (usize::from(g.out_c), layout.columns);
        let levels = usize::from(random.between(1, 4));
        let real = |c| layout.tap(c).is_some();
        let (weights, words, prefix) = nested(&mut random, rows, columns, levels, real);
        let tables: Vec<Vec<Requant>> = (0..levels).map(|_| random.requants(rows)).collect();
        let requant: Vec<&[Requant]> = tables.iter().map(Vec::as_slice).collect();
        let (pads, zeros) = (random.bytes(levels), random.bytes(levels));
        let layer = ConvNested {
            geometry: g,
            stream: NestedStream::new(rows as u16, columns as u16, levels as u8, &words, &prefix),
            requant: &requant,
            out_zero: &zeros,
            pad: &pads,
            tile,
            pass_tiles: 1,
        };
        let input = random.bytes(input_len(&g));
        for (level, &requant) in requant.iter().enumerate() {
            let expected = convolution(
                &g,
                1,
                (pads[level], zeros[level]),
                &input,
                requant,
                |o, ky, kx, i| {
                    let first = layout.word(usize::from(ky), usize::from(kx));
                    let (w, from) = weights[o * columns + first + i];
                    if from <= level { w } else { 0 }
                },
            );
            let mut output = vec![0; expected.len()];
            reference::conv_nested(&layer, level, &input, &mut output, &mut []);
            assert_eq!(output, expected, "level {level} of {levels}, {g:?}");
        }
        if (g.kernel_h, g.kernel_w) == (1, 1) {
            let layer = DenseNested {
                stream: layer.stream,
                requant: &requant,
                out_zero: &zeros,
            };
            let vector = random.bytes(columns);
            for (level, requant) in requant.iter().enumerate() {
                let expected: Vec<i8> = (0..rows)
                    .map(|row| {
                        let sum = (0..columns).map(|c| {
                            let (w, from) = weights[row * columns + c];
                            i64::from(vector[c]) * if from <= level { i64::from(w) } else { 0 }
                        });
                        requantised(&requant[row], zeros[level], sum.sum())
                    })
                    .collect();
                let mut output = vec![0; rows];
                reference::dense_nested(&layer, level, &vector, &mut output);
                assert_eq!(output, expected);
            }
        }
    }
}

#[test]
fn dense_convolutions_follow_the_formula() {
    let mut random = Random(3);
    for _ in 0..200 {
        let g = random.geometry();
        let (rows, columns) = (usize::from(g.out_c), g.columns());
        let weights = random.bytes(rows * columns);
        let mut words = vec![0; DenseWeights::words_for(rows, columns)];
        let weight = |row: usize, column: usize| weights[row * columns + column];
        DenseWeights::encode(rows, columns, weight, &mut words);
        let requant = random.requants(rows);
        let zero = random.byte();
        let pad = random.byte();
        let layer = ConvDense {
            geometry: g,
            weights: DenseWeights::new(rows as u16, columns as u16, &words),
            requant: &[&requant],
            out_zero: &[zero],
            pad: &[pad],
            pass_tiles: 1,
        };
        let input = random.bytes(input_len(&g));
        let expected = convolution(&g, 1, (pad, zero), &input, &requant, |o, ky, kx, i| {
            let tap = usize::from(ky) * usize::from(g.kernel_w) + usize::from(kx);
            weights[o * columns + tap * usize::from(g.in_c) + i]
        });
        let mut output = vec![0; expected.len()];
        reference::conv_dense(&layer, 0, &input, &mut output, &mut []);
        assert_eq!(output, expected, "{g:?}");
    }
}

#[test]
fn depthwise_convolutions_follow_the_formula() {
    let mut random = Random(4);
    for _ in 0..300 {
        let mut g = random.geometry();
        g.in_c = random.between(1, 40);
        g.out_c = g.in_c * random.between(1, 2);
        let channels = usize::from(g.out_c);
        let weights = random.bytes(usize::from(g.kernel_h) * usize::from(g.kernel_w) * channels);
        let requant = random.requants(channels);
        let zero = random.byte();
        let pad = random.byte();
        let layer = Depthwise {
            geometry: g,
            weights: &weights,
            requant: &[&requant],
            out_zero: &[zero],
            pad: &[pad],
        };
        let input = random.bytes(input_len(&g));
        let expected = convolution(&g, g.in_c, (pad, zero), &input, &requant, |o, ky, kx, _| {
            let tap = usize::from(ky) * usize::from(g.kernel_w) + usize::from(kx);
            weights[tap * channels + o]
        });
        let mut output = vec![0; expected.len()];
        reference::depthwise(&layer, 0, &input, &mut output, &mut []);
        assert_eq!(output, expected, "{g:?}");
    }
}

#[test]
fn pools_follow_the_formula() {
    let mut random = Random(5);
    for _ in 0..300 {
        let mut g = random.geometry();
        g.out_c = g.in_c;
        let input = random.bytes(input_len(&g));
        let taps = usize::from(g.kernel_h) * usize::from(g.kernel_w);
        let requant = random.requants(taps);
        let zero = random.byte();
        let pad = random.byte();
        let include = random.next() % 2 == 0;
        let (mut maxima, mut means) = (Vec::new(), Vec::new());
        for oy in 0..g.out_h {
            for ox in 0..g.out_w {
                for channel in 0..usize::from(g.in_c) {
                    let window: Vec<Option<i8>> = (0..g.kernel_h)
                        .flat_map(|ky| (0..g.kernel_w).map(move |kx| [oy, ox, ky, kx]))
                        .map(|at| tap(&g, &input, at, channel))
                        .collect();
                    let inside: Vec<i8> = window.iter().flatten().copied().collect();
                    maxima.push(inside.iter().copied().max().unwrap_or(-128));
                    let counted: Vec<i8> = if include {
                        window.iter().map(|x| x.unwrap_or(pad)).collect()
                    } else if inside.is_empty() {
                        vec![pad]
                    } else {
                        inside
                    };
                    let sum = counted.iter().map(|&x| i64::from(x)).sum();
                    means.push(requantised(&requant[counted.len() - 1], zero, sum));
                }
            }
        }
        let mut output = vec![0; maxima.len()];
        reference::max_pool(&MaxPool { geometry: g }, &input, &mut output);
        assert_eq!(output, maxima, "{g:?}");
        let layer = AvgPool {
            geometry: g,
            count_include_pad: include,
            pad: &[pad],
            requant: &[&requant],
            out_zero: &[zero],
        };
        reference::avg_pool(&layer, 0, &input, &mut output);
        assert_eq!(output, means, "{g:?}");

        let channels = usize::from(g.in_c);
        let pixels = input.len() / channels;
        let layer = GlobalAvgPool {
            pixels: pixels as u32,
            channels: g.in_c,
            requant: &requant[..1],
            out_zero: &[zero],
        };
        let expected: Vec<i8> = (0..channels)
            .map(|c| {
                let sum = (0..pixels).map(|p| i64::from(input[p * channels + c]));
                requantised(&requant[0], zero, sum.sum())
            })
            .collect();
        let mut output = vec![0; channels];
        reference::global_avg_pool(&layer, 0, &input, &mut output);
        assert_eq!(output, expected);
    }
}

#[test]
fn fully_connected_layers_follow_the_formula() {
    let mut random = Random(6);
    for columns in [0, 1, 2, 3, 7, 64, 129] {
        let rows = 5;
        let weights = random.bytes(rows * columns);
        let input = random.bytes(columns);
        let requant = random.requants(rows);
        let zero = random.byte();
        let layer = FullyConnected {
            weights: &weights,
            columns: columns as u16,
            requant: &[&requant],
            out_zero: &[zero],
        };
        let expected: Vec<i8> = (0..rows)
            .map(|row| {
                let sum = (0..columns)
                    .map(|c| i64::from(weights[row * columns + c]) * i64::from(input[c]));
                requantised(&requant[row], zero, sum.sum())
            })
            .collect();
        let mut output = vec![0; rows];
        reference::fully_connected(&layer, 0, &input, &mut output);
        assert_eq!(output, expected);
    }
}

#[test]
fn elementwise_operators_follow_their_formulas() {
    let mut random = Random(7);
    let (a, b) = (random.bytes(2000), random.bytes(2000));
    let params = AddParams {
        factor_a: 15_000,
        factor_b: -7_001,
        bias: (1 << 13) + 12_345,
        shift: 14,
    };
    let expected: Vec<i8> = a
        .iter()
        .zip(&b)
        .map(|(&a, &b)| {
            let sum = 15_000 * i64::from(a) - 7_001 * i64::from(b) + 8_192 + 12_345;
            sum.div_euclid(1 << 14).clamp(-128, 127) as i8
        })
        .collect();
    let layer = Add { params: &[params] };
    let mut output = vec![0; a.len()];
    reference::add(&layer, 0, &a, &b, &mut output);
    assert_eq!(output, expected);
    let mut in_place = a.clone();
    reference::add_in_place(&layer, 0, &mut in_place, &b);
    assert_eq!(in_place, expected);

    let layer = Clamp {
        bounds: &[[-7, 99]],
    };
    let expected: Vec<i8> = a.iter().map(|&x| x.clamp(-7, 99)).collect();
    reference::clamp(&layer, 0, &a, &mut output);
    assert_eq!(output, expected);
    in_place.copy_from_slice(&a);
    reference::clamp_in_place(&layer, 0, &mut in_place);
    assert_eq!(in_place, expected);
}

#[test]
fn softmax_comes_within_a_step_of_the_real_one() {
    let mut random = Random(8);
    // More than 2047 channels take wider arithmetic.
    for (pixels, channels) in [(1, 1), (1, 2), (3, 10), (2, 1000), (2, 2047), (2, 2048)] {
        let scale = 0.07f64;
        let table: [u32; 256] = std::array::from_fn(|d| {
            ((-(d as f64) * scale).exp() * f64::from(1 << 20)).round() as u32
        });
        let mut input = random.bytes(pixels * channels);
        if channels >= 2047 {
            // The largest sums there are.
            input[..channels].fill(127);
        }
        let mut output = vec![0; input.len()];
        let layer = Softmax {
            channels: channels as u16,
            table: &[table],
        };
        reference::softmax(&layer, 0, &input, &mut output);
        for (input, output) in input.chunks(channels).zip(output.chunks(channels)) {
            let powers = input.iter().map(|&q| (f64::from(q) * scale).exp());
            let powers: Vec<f64> = powers.collect();
            let sum: f64 = powers.iter().sum();
            for (power, &out) in powers.iter().zip(output) {
                let real = (256.0 * power / sum).min(255.0) - 128.0;
                assert!((real - f64::from(out)).abs() <= 0.51, "{real} became {out}");
            }
        }
    }
    // All equal: nobody gets more than another.
    let mut output = [0; 4];
    reference::softmax(
        &Softmax {
            channels: 4,
            table: &[[1 << 20; 256]],
        },
        0,
        &[9; 4],
        &mut output,
    );
    assert_eq!(output, [-64; 4]);
}

#[test]
fn shapes_move_every_element_to_its_place() {
    let mut random = Random(9);
    for _ in 0..200 {
        let input: [u16; 3] = std::array::from_fn(|_| random.between(1, 5));
        let before: [u16; 3] = std::array::from_fn(|_| random.between(0, 2));
        let output: [u16; 3] =
            std::array::from_fn(|axis| input[axis] + before[axis] + random.between(0, 2));
        let at = |extent: [u16; 3], index: [u16; 3]| {
            let [_, w, c] = extent.map(usize::from);
            let [y, x, z] = index.map(usize::from);
            (y * w + x) * c + z
        };
        let data = random.bytes(volume(input));
        let value = random.byte();
        let layer = Pad {
            input,
            before,
            output,
            value: &[value],
        };
        let mut padded = vec![0; volume(output)];
        reference::pad(&layer, 0, &data, &mut padded);
        for index in indices(output) {
            let source: [Option<u16>; 3] = std::array::from_fn(|axis| {
                index[axis]
                    .checked_sub(before[axis])
                    .filter(|&i| i < input[axis])
            });
            let expected = match source {
                [Some(y), Some(x), Some(z)] => data[at(input, [y, x, z])],
                _ => value,
            };
            assert_eq!(padded[at(output, index)], expected);
        }
    }
}

fn volume(extent: [u16; 3]) -> usize {
    extent.map(usize::from).iter().product()
}

/// All indices of an extent, in order.
fn indices(extent: [u16; 3]) -> impl Iterator<Item = [u16; 3]> {
    (0..extent[0])
        .flat_map(move |y| (0..extent[1]).flat_map(move |x| (0..extent[2]).map(move |z| [y, x, z])))
}

/// The input elements that the windows of some output pixels reach.
fn reached(g: &Geometry, pixels: std::ops::Range<usize>) -> Vec<usize> {
    let positions: Vec<i8> = vec![0; input_len(g)];
    let mut reached = Vec::new();
    for pixel in pixels {
        let (oy, ox) = (pixel / usize::from(g.out_w), pixel % usize::from(g.out_w));
        for (ky, kx) in (0..g.kernel_h).flat_map(|ky| (0..g.kernel_w).map(move |kx| (ky, kx))) {
            if tap(g, &positions, [oy as u16, ox as u16, ky, kx], 0).is_some() {
                let y = oy * usize::from(g.stride_h) + usize::from(ky * g.dilation_h);
                let x = ox * usize::from(g.stride_w) + usize::from(kx * g.dilation_w);
                let (y, x) = (y - usize::from(g.pad_top), x - usize::from(g.pad_left));
                reached.push((y * usize::from(g.in_w) + x) * usize::from(g.in_c));
            }
        }
    }
    reached
}

/// Plays the passes: what a pass packs lies above all that the passes before it have written, and
/// nearly always there is a pass for which no shorter distance would do.
#[test]
fn the_least_distance_keeps_what_later_passes_read_and_no_more() {
    let mut random = Random(7);
    let (mut tight, mut above_0) = (0, 0);
    for _ in 0..600 {
        let g = random.geometry();
        let pass_tiles = [0, 1, 2, 3, u16::MAX][random.between(0, 4) as usize];
        let mut kernels = Vec::new();
        for tile in [Tile::P8, Tile::P4, Tile::P2] {
            if let Some(layout) = NestedLayout::of(&g, tile) {
                let passes = (0..).map_while(|at| layout.pass(pass_tiles.into(), at));
                let least = conv_nested_least_distance(&g, tile, pass_tiles).expect("it runs");
                kernels.push((least, passes.map(|p| (p.first, p.end)).collect::<Vec<_>>()));
            }
        }
        let passes = DensePasses::new(g.out_pixels(), pass_tiles);
        let least = conv_dense_least_distance(&g, pass_tiles);
        kernels.push((least, passes.map(|p| (p.first, p.end)).collect()));
        for (least, passes) in kernels {
            assert_eq!(passes.last().map(|p| p.1), Some(g.out_pixels()));
            let (mut written, mut needed) = (0, 0);
            for (first, end) in passes {
                assert!(first <= written && written < end, "{g:?}");
                let lowest = reached(&g, first..end).into_iter().min();
                let over = written * usize::from(g.out_c);
                needed = needed.max(lowest.map_or(0, |lowest| over.saturating_sub(lowest)));
                written = end;
            }
            assert!(least >= needed, "{least} for {needed}: {g:?}");
            above_0 += u32::from(needed > 0);
            tight += u32::from(needed > 0 && least == needed);
        }
    }
    assert!(
        above_0 > 500 && tight * 10 > above_0 * 7,
        "{tight} of {above_0}"
    );
}

#[test]
fn convolutions_in_place_give_what_two_maps_do() {
    let mut random = Random(8);
    for case in 0..200 {
        let g = random.geometry();
        let (rows, columns) = (usize::from(g.out_c), g.columns());
        let pass_tiles = random.between(0, 3);
        let requant = random.requants(rows);
        let (zero, pad) = (random.byte(), random.byte());
        let input = random.bytes(input_len(&g));
        let outputs = g.out_pixels() * rows;
        let buffer = |least: usize| {
            let mut data = vec![0x55; outputs.max(least + input.len())];
            data[least..][..input.len()].copy_from_slice(&input);
            data
        };

        let weights = random.bytes(rows * columns);
        let mut words = vec![0; DenseWeights::words_for(rows, columns)];
        let weight = |row: usize, column: usize| weights[row * columns + column];
        DenseWeights::encode(rows, columns, weight, &mut words);
        let layer = ConvDense {
            geometry: g,
            weights: DenseWeights::new(rows as u16, columns as u16, &words),
            requant: &[&requant],
            out_zero: &[zero],
            pad: &[pad],
            pass_tiles,
        };
        let mut expected = vec![0; outputs];
        reference::conv_dense(&layer, 0, &input, &mut expected, &mut []);
        let least = conv_dense_least_distance(&g, pass_tiles);
        let mut data = buffer(least);
        reference::conv_dense_in_place(&layer, 0, &mut data, least, &mut []);
        assert_eq!(data[..outputs], expected, "case {case}: {g:?}");

        let layout = NestedLayout::of(&g, Tile::P2).expect("2 pixels run anything");
        let real = |c| layout.tap(c).is_some();
        let (_, words, prefix) = nested(&mut random, rows, layout.columns, 1, real);
        let columns = layout.columns as u16;
        let layer = ConvNested {
            geometry: g,
            stream: NestedStream::new(rows as u16, columns, 1, &words, &prefix),
            requant: &[&requant],
            out_zero: &[zero],
            pad: &[pad],
            tile: Tile::P2,
            pass_tiles,
        };
        reference::conv_nested(&layer, 0, &input, &mut expected, &mut []);
        let least = conv_nested_least_distance(&g, Tile::P2, pass_tiles).expect("it runs");
        let mut data = buffer(least);
        reference::conv_nested_in_place(&layer, 0, &mut data, least, &mut []);
        assert_eq!(data[..outputs], expected, "case {case}: {g:?}");
    }
}
