//! Every kernel against plain loops, and every instruction set against the others, to the bit.

use super::convolve::*;
use super::elementwise::*;
use super::winograd::{FREQUENCIES, Tiles, patches, pixels, tiles_out};
use super::*;

/// A fixed sequence of numbers in -1..1.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn vectors(n: usize, seed: u32) -> Vec<Lanes> {
    numbers(n * LANES, seed)
        .chunks_exact(LANES)
        .map(|c| Lanes(std::array::from_fn(|i| c[i])))
        .collect()
}

fn bits(x: &[Lanes]) -> Vec<u32> {
    x.iter().flat_map(|v| v.0.map(f32::to_bits)).collect()
}

fn row(cols: usize, outputs: usize, accumulate: bool) -> (Row, usize) {
    let row = Row {
        cols,
        x_base: 3,
        x_step: 1 + (cols + outputs) % 3,
        out_base: 1,
        out_step: 1,
        out_channel: cols,
        accumulate,
    };
    (row, 1 + outputs * cols)
}

/// Whether `work` panics.
fn panics(work: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err()
}

/// The kernels index unchecked behind one check of the furthest place; a place that wraps around
/// must not pass it.
#[test]
fn rows_and_bands_that_wrap_around_are_refused() {
    let offsets = Offsets::new(vec![0, 1]);
    let mut weights = DenseWeights::default();
    let isa = Isa::detect();
    weights.pack(2, 2, isa.tile_channels(), |_, _| 1.0);
    let x = vectors(16, 1);
    // `(cols - 1) * step` is 2^64 or close below it, so that the sum wraps to a small number.
    let half = 1 << (usize::BITS - 1);
    let sound = row(3, 2, false).0;
    let rows = [
        Row {
            x_step: half,
            ..sound
        },
        Row {
            out_step: half,
            ..sound
        },
        Row {
            x_base: usize::MAX,
            ..sound
        },
        Row {
            out_base: usize::MAX,
            ..sound
        },
        Row {
            x_step: usize::MAX,
            x_base: 9,
            ..sound
        },
        Row {
            out_channel: usize::MAX,
            out_base: 9,
            ..sound
        },
    ];
    let run = |row: &Row| {
        let mut out = vectors(7, 2);
        dense_row(isa, &offsets, &weights, None, &x, &mut out, row);
    };
    assert!(!panics(|| run(&sound)));
    for row in &rows {
        assert!(panics(|| run(row)), "{row:?}");
    }
    let sound = Band {
        rows: 3,
        cols: 3,
        x_base: 0,
        x_step: 1,
        x_row: 3,
        dy_base: 0,
        dy_row: 3,
        dy_channel: 0,
        outputs: 2,
    };
    let bands = [
        Band {
            x_row: half,
            ..sound
        },
        Band {
            x_step: half,
            ..sound
        },
        Band {
            x_base: usize::MAX,
            ..sound
        },
        Band {
            dy_base: usize::MAX,
            ..sound
        },
        Band {
            dy_row: half,
            ..sound
        },
        Band {
            dy_channel: usize::MAX,
            dy_base: 1,
            ..sound
        },
    ];
    let run = |band: &Band| {
        let mut gradient = [0.0; 4];
        dense_gradient(isa, &offsets, &x, &x, band, &mut gradient);
    };
    assert!(!panics(|| run(&sound)));
    for band in &bands {
        assert!(panics(|| run(band)), "{band:?}");
    }
}

/// Every width and channel count around the tile sizes: the kernels against plain sums, and lists
/// against tiles and every instruction set against the first, to the bit.
#[test]
fn rows_agree_with_plain_sums_on_every_instruction_set() {
    for cols in 1..=19 {
        for outputs in [1, 2, 3, 4, 5, 6, 7, 10, 11] {
            let list: Vec<u32> = vec![0, 1, 2, 7, 8, 9, 40, 41, 5];
            let weights = numbers(outputs * list.len(), 7);
            let bias = numbers(outputs, 8);
            let x = vectors(3 + cols * 3 + 41, 9);
            let accumulate = cols % 2 == 0;
            let (row, len) = row(cols, outputs, accumulate);
            let start = vectors(len, 10);
            let mut expected = start.clone();
            for o in 0..outputs {
                for p in 0..cols {
                    for lane in 0..LANES {
                        let mut sum = bias[o];
                        for (k, &offset) in list.iter().enumerate() {
                            let v = x[row.x_base + p * row.x_step + offset as usize].0[lane];
                            sum = v.mul_add(weights[o * list.len() + k], sum);
                        }
                        let to = &mut expected[1 + o * cols + p].0[lane];
                        *to = if accumulate { *to + sum } else { sum };
                    }
                }
            }
            let offsets = Offsets::new(list.clone());
            let mut lists = TapLists::default();
            lists.clear();
            for o in 0..outputs {
                lists.push_output(list.iter().enumerate().map(|(k, &offset)| Tap {
                    offset,
                    weight: weights[o * list.len() + k],
                }));
            }
            for isa in Isa::available() {
                let mut packed = DenseWeights::default();
                packed.pack(outputs, list.len(), isa.tile_channels(), |o, k| {
                    weights[o * list.len() + k]
                });
                let mut out = start.clone();
                dense_row(isa, &offsets, &packed, Some(&bias), &x, &mut out, &row);
                assert_eq!(
                    bits(&out),
                    bits(&expected),
                    "{isa:?} dense {cols} {outputs}"
                );
                let mut out = start.clone();
                list_row(isa, &lists, Some(&bias), &x, &mut out, &row);
                assert_eq!(
                    bits(&out),
                    bits(&expected),
                    "{isa:?} lists {cols} {outputs}"
                );
            }
        }
    }
}

#[test]
fn weight_gradients_agree_with_plain_sums_on_every_instruction_set() {
    for taps in [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 19, 25] {
        for outputs in [1, 2, 3, 4, 5, 9] {
            let list: Vec<u32> = (0..taps as u32).map(|k| k * 3 % 17).collect();
            let (rows, cols, step) = (3, 5 + outputs % 3, 1 + taps % 3);
            let map = Map {
                c: outputs,
                h: rows,
                w: cols,
                origin: 2,
                row: outputs * 8,
                channel: 8,
            };
            let mut band = Band::of(&map, 0, outputs, 0, rows);
            (band.x_base, band.x_step, band.x_row) = (1, step, 11);
            let x = vectors(1 + 2 * 11 + 6 * 3 + 17, 3);
            let dy = vectors(2 + rows * outputs * 8, 4);
            let mut expected = numbers(outputs * taps, 5);
            let start = expected.clone();
            for o in 0..outputs {
                for (k, &offset) in list.iter().enumerate() {
                    let mut acc = Lanes::ZERO;
                    for r in 0..rows {
                        for c in 0..cols {
                            let v = x[1 + r * 11 + c * step + offset as usize];
                            let d = dy[map.span(o, r).start + c];
                            for lane in 0..LANES {
                                acc.0[lane] = v.0[lane].mul_add(d.0[lane], acc.0[lane]);
                            }
                        }
                    }
                    expected[o * taps + k] += lane_sum(&acc);
                }
            }
            let offsets = Offsets::new(list.clone());
            let mut lists = TapLists::default();
            lists.clear();
            for _ in 0..outputs {
                lists.push_output(list.iter().map(|&offset| Tap {
                    offset,
                    weight: 0.0,
                }));
            }
            for isa in Isa::available() {
                let mut gradient = start.clone();
                dense_gradient(isa, &offsets, &x, &dy, &band, &mut gradient);
                assert_eq!(gradient, expected, "{isa:?} dense {taps} {outputs}");
                let mut gradient = start.clone();
                list_gradient(isa, &lists, &x, &dy, &band, &mut gradient);
                assert_eq!(gradient, expected, "{isa:?} lists {taps} {outputs}");
            }
        }
    }
}

/// Windows of every size there is a kernel for, both ways round, against the same taps as lists, to
/// the bit; widths around the tiles' sizes.
#[test]
fn depthwise_kernels_agree_with_lists_on_every_instruction_set() {
    let channels = 2;
    for (kw, step, reversed) in [
        (1, 1, false),
        (1, 1, true),
        (1, 2, false),
        (2, 1, false),
        (2, 1, true),
        (2, 2, false),
        (3, 1, false),
        (3, 1, true),
        (3, 2, false),
        (5, 1, false),
        (5, 1, true),
        (5, 2, false),
    ] {
        assert!(Window::supports(kw, step));
        for (kh, rows, cols) in (1..=19).map(|cols| (1 + cols % 5, 1 + cols % 3, cols)) {
            let line = (cols - 1) * step + kw + 1;
            let window = Window {
                kernel: [kh, kw],
                row: channels * line,
                channel: line,
            };
            let weights = numbers(channels * kh * kw, 1);
            let bias = numbers(channels, 2);
            let accumulate = cols % 2 == 0;
            let first = Row {
                cols,
                x_base: 3,
                x_step: step,
                out_base: 1,
                out_step: 2,
                out_channel: 2 * cols,
                accumulate,
            };
            let windows = Windows {
                window,
                channels,
                weights: &weights,
                reversed,
                rows,
                x_row: window.row,
                out_row: channels * 2 * cols,
            };
            // Nothing beyond the last window and the last pixel: a kernel that reads or writes further
            // than it must panics.
            let x = vectors(3 + (rows + kh - 2) * window.row + 2 * line - 1, 3);
            let start = vectors(rows * channels * 2 * cols, 4);
            let offset = |c: usize, tap: usize| {
                let tap = if reversed { kh * kw - 1 - tap } else { tap };
                (c * line + tap / kw * window.row + tap % kw) as u32
            };
            let mut lists = TapLists::default();
            lists.clear();
            for c in 0..channels {
                lists.push_output((0..kh * kw).map(|tap| Tap {
                    offset: offset(c, tap),
                    weight: weights[c * kh * kw + tap],
                }));
            }
            let case = format!("{kh} x {kw}, step {step}, reversed {reversed}, {rows} x {cols}");
            for isa in Isa::available() {
                let mut expected = start.clone();
                for y in 0..rows {
                    let row = Row {
                        x_base: first.x_base + y * windows.x_row,
                        out_base: first.out_base + y * windows.out_row,
                        ..first
                    };
                    list_row(isa, &lists, Some(&bias), &x, &mut expected, &row);
                }
                let mut out = start.clone();
                depthwise_rows(isa, &windows, Some(&bias), &x, &mut out, &first);
                assert_eq!(bits(&out), bits(&expected), "{isa:?} {case}");
                if reversed {
                    continue;
                }
                let band = Band {
                    rows,
                    cols,
                    x_base: first.x_base,
                    x_step: step,
                    x_row: windows.x_row,
                    dy_base: 1,
                    dy_row: windows.out_row,
                    dy_channel: 2 * cols,
                    outputs: channels,
                };
                let mut expected = numbers(channels * kh * kw, 5);
                let mut gradient = expected.clone();
                list_gradient(isa, &lists, &x, &start, &band, &mut expected);
                depthwise_gradient(isa, &window, &x, &start, &band, &mut gradient);
                assert_eq!(gradient, expected, "{isa:?} gradient {case}");
            }
        }
    }
}

/// One vector too few, in or out, is refused.
#[test]
fn depthwise_windows_that_leave_their_buffers_are_refused() {
    let isa = Isa::detect();
    let weights = numbers(2 * 9, 1);
    let window = Window {
        kernel: [3, 3],
        row: 12,
        channel: 6,
    };
    let windows = Windows {
        window,
        channels: 2,
        weights: &weights,
        reversed: false,
        rows: 2,
        x_row: 12,
        out_row: 8,
    };
    let row = Row {
        cols: 4,
        x_base: 0,
        x_step: 1,
        out_base: 0,
        out_step: 1,
        out_channel: 4,
        accumulate: false,
    };
    let band = Band {
        rows: 2,
        cols: 4,
        x_base: 0,
        x_step: 1,
        x_row: 12,
        dy_base: 0,
        dy_row: 8,
        dy_channel: 4,
        outputs: 2,
    };
    let forward = |x: usize, out: usize| {
        let mut out = vectors(out, 2);
        depthwise_rows(isa, &windows, None, &vectors(x, 3), &mut out, &row);
    };
    let backward = |x: usize, dy: usize| {
        let mut gradient = [0.0; 18];
        depthwise_gradient(
            isa,
            &window,
            &vectors(x, 3),
            &vectors(dy, 2),
            &band,
            &mut gradient,
        );
    };
    // Row 3, channel 1, column 5 is the last place read.
    assert!(!panics(|| forward(48, 16)));
    assert!(panics(|| forward(47, 16)));
    assert!(panics(|| forward(48, 15)));
    assert!(!panics(|| backward(48, 16)));
    assert!(panics(|| backward(47, 16)));
    assert!(panics(|| backward(48, 15)));
}

#[test]
fn elementwise_passes_give_the_same_bits_on_every_instruction_set() {
    let map = Map {
        c: 2,
        h: 3,
        w: 5,
        origin: 7,
        row: 14,
        channel: 7,
    };
    let len = 7 + 3 * 14;
    let (x1, x2, g) = (vectors(len, 1), vectors(len, 2), vectors(len, 3));
    let (scale, shift, other) = (numbers(2, 4), numbers(2, 5), numbers(2, 6));
    let mut seen: Vec<Vec<u32>> = Vec::new();
    for isa in Isa::available() {
        for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
            let term = |x| Term {
                map,
                x,
                scale: &scale,
                shift: &shift,
            };
            let mut out = vectors(len, 9);
            pointwise(
                isa,
                &[term(&x1), term(&x2)],
                activation,
                &map,
                0..3,
                &mut out,
            );
            let mut dz = g.clone();
            let mut sums = vec![Lanes::ZERO; 4];
            let centred = [Centred {
                map,
                x: &x1,
                center: &shift,
            }];
            gate(
                isa,
                activation,
                &map,
                &out,
                &map,
                0..3,
                &mut dz,
                &centred,
                &mut sums,
            );
            let mut dx = vectors(len, 10);
            let slopes = Slope {
                a: &scale,
                b: &shift,
                c: &other,
            };
            let mut mask = Lanes([1.0; LANES]);
            mask.0[13..].fill(0.0);
            slope(
                isa,
                &slopes,
                &map,
                0..3,
                &dz,
                &map,
                &x1,
                &mask,
                &map,
                &mut dx,
                true,
            );
            let mut m = vec![Lanes::ZERO; 4];
            moments(isa, &map, 0..3, &dx, &shift, &mut m);
            let mut all = bits(&out);
            all.extend(bits(&dz));
            all.extend(bits(&dx));
            sums.extend(m);
            all.extend(bits(&sums));
            seen.push(all);
        }
    }
    for (i, this) in seen.iter().enumerate() {
        assert_eq!(*this, seen[i % 3], "run {i}");
    }
}

/// Patches, products and tiles together are a 3x3 convolution, and the two other transforms its weight
/// gradient; every instruction set gives the same bits.
#[test]
fn minimal_filtering_agrees_with_plain_sums_on_every_instruction_set() {
    let (rows, cols, channels) = (4, 6, 2);
    let (row, channel) = (channels * (cols + 3), cols + 3);
    let x = vectors((rows + 2) * row, 1);
    let dy = vectors(rows * row, 2);
    let g = numbers(9, 3);
    let weights: [f32; 9] = std::array::from_fn(|i| g[i]);
    let tiles = Tiles {
        rows: rows / 2,
        cols: cols / 2,
        channels,
        base: 0,
        row,
        channel,
    };
    let mut seen: Vec<Vec<u32>> = Vec::new();
    for isa in Isa::available() {
        let mut all = Vec::new();
        let mut from = vec![Lanes::ZERO; tiles.transformed_len()];
        patches(isa, &tiles, &x, &mut from);
        all.extend(bits(&from));
        let u = winograd::transform_weights(&weights);
        let mut products = from.clone();
        let at = |frequency: usize, i: usize| frequency * tiles.frequency() + i;
        for frequency in 0..FREQUENCIES {
            for i in 0..channels * tiles.count() {
                products[at(frequency, i)]
                    .0
                    .iter_mut()
                    .for_each(|v| *v *= u[frequency]);
            }
        }
        let before = vectors(rows * row, 4);
        for accumulate in [false, true] {
            let mut out = before.clone();
            tiles_out(
                isa,
                &tiles,
                &products,
                Some(&[0.5, -0.25]),
                accumulate,
                &mut out,
            );
            for c in 0..channels {
                for y in 0..rows {
                    for px in 0..cols {
                        for lane in 0..LANES {
                            let place = y * row + c * channel + px;
                            let mut sum = [0.5, -0.25][c];
                            for (k, w) in weights.iter().enumerate() {
                                let from = place + k / 3 * row + k % 3;
                                sum += f64::from(*w) * f64::from(x[from].0[lane]);
                            }
                            if accumulate {
                                sum += f64::from(before[place].0[lane]);
                            }
                            let got = f64::from(out[place].0[lane]);
                            assert!((got - sum).abs() < 1e-5, "{isa:?}: {got} for {sum}");
                        }
                    }
                }
            }
            all.extend(bits(&out));
        }
        let mut slopes = vec![Lanes::ZERO; tiles.transformed_len()];
        pixels(isa, &tiles, &dy, &mut slopes);
        all.extend(bits(&slopes));
        let mut sums = [0.0f32; FREQUENCIES];
        for (frequency, sum) in sums.iter_mut().enumerate() {
            for i in 0..tiles.count() {
                let (a, b) = (&from[at(frequency, i)], &slopes[at(frequency, i)]);
                *sum += a.0.iter().zip(b.0).map(|(a, b)| a * b).sum::<f32>();
            }
        }
        for (k, got) in winograd::transform_gradient(&sums).into_iter().enumerate() {
            let mut sum = 0.0;
            for y in 0..rows {
                for px in 0..cols {
                    let (a, b) = (&x[(y + k / 3) * row + px + k % 3], &dy[y * row + px]);
                    sum += (a.0.iter().zip(b.0))
                        .map(|(a, b)| f64::from(*a) * f64::from(b))
                        .sum::<f64>();
                }
            }
            assert!(
                (f64::from(got) - sum).abs() < 1e-3,
                "{isa:?}: {got} for {sum}"
            );
        }
        seen.push(all);
    }
    assert!(seen.iter().all(|bits| *bits == seen[0]));
}
