//! Whole layers against the processor's peak, measured on the spot.
//!
//! A test of speed on a shared machine must not fail because of a neighbour: peak and kernel take
//! turns in slices of a millisecond, the best slice of each counts, and a layer has many rounds to
//! reach its share.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::*;
use crate::train::simd::{Isa, LANES};

/// Sums so many that neither latency nor loads bound them: what the instruction set can do.
#[inline(always)]
fn chains_generic<S: Simd>(simd: S, rounds: usize, out: &mut [Lanes]) {
    /// Vectors in flight: twelve registers with AVX-512, six pairs with AVX2.
    const CHAINS: usize = 6;
    let factor = simd.splat(black_box(0.5));
    let mut acc = [[factor; 2]; CHAINS];
    for _ in 0..rounds {
        for chain in 0..CHAINS {
            acc[chain][0] = simd.fma(acc[chain][0], factor, factor);
            if S::TILE_PIXELS == 4 {
                acc[chain][1] = simd.fma(acc[chain][1], factor, factor);
            }
        }
    }
    for chain in 0..CHAINS {
        simd.store(acc[chain][0], &mut out[2 * chain]);
        simd.store(acc[chain][1], &mut out[2 * chain + 1]);
    }
}

dispatched! {
    fn chains(rounds: usize, out: &mut [Lanes]) = chains_generic;
}

/// Multiply-adds a second.
struct Rate {
    best: f64,
    repeat: usize,
}

impl Rate {
    const SLICE: Duration = Duration::from_millis(1);

    /// Finds how often `work` fits into a slice.
    fn new(mut work: impl FnMut(usize)) -> Self {
        let mut repeat = 1;
        loop {
            let start = Instant::now();
            work(repeat);
            if start.elapsed() > Self::SLICE || repeat > 1 << 30 {
                return Self { best: 0.0, repeat };
            }
            repeat *= 2;
        }
    }
    /// One slice; `work` does `of_one` multiply-adds each time.
    fn measure(&mut self, of_one: usize, mut work: impl FnMut(usize)) {
        let start = Instant::now();
        work(self.repeat);
        let rate = (self.repeat * of_one) as f64 / start.elapsed().as_secs_f64();
        self.best = self.best.max(rate);
    }
}

/// A dense layer of stride 1 that keeps the size of its map.
#[derive(Clone, Copy, Debug)]
struct Layer {
    kernel: usize,
    inputs: usize,
    outputs: usize,
    side: usize,
}

struct Buffers {
    layer: Layer,
    in_map: Map,
    out_map: Map,
    x: Vec<Lanes>,
    y: Vec<Lanes>,
    offsets: Offsets,
    weights: DenseWeights,
    gradient: Vec<f32>,
}

/// Pixels of a band, as the engine takes them.
const BAND_PIXELS: usize = 128;

impl Buffers {
    fn new(isa: Isa, layer: Layer) -> Self {
        let map = |c: usize| {
            let channel = layer.side + layer.kernel - 1;
            let (row, pad) = (c * channel, layer.kernel / 2);
            let map = Map {
                c,
                h: layer.side,
                w: layer.side,
                origin: pad * row + pad,
                row,
                channel,
            };
            (map, vec![Lanes([0.5; LANES]); row * channel])
        };
        let (in_map, x) = map(layer.inputs);
        let (out_map, y) = map(layer.outputs);
        let window = layer.kernel * layer.kernel;
        let taps = layer.inputs * window;
        let offset = |k: usize| {
            let (ky, kx) = (k % window / layer.kernel, k % layer.kernel);
            (k / window * in_map.channel + ky * in_map.row + kx) as u32
        };
        let mut weights = DenseWeights::default();
        weights.pack(layer.outputs, taps, isa.tile_channels(), |_, _| 1e-3);
        Self {
            layer,
            in_map,
            out_map,
            x,
            y,
            offsets: Offsets::new((0..taps).map(offset).collect()),
            weights,
            gradient: vec![0.0; layer.outputs * taps],
        }
    }
    fn window(&self, y: usize) -> usize {
        let pad = self.layer.kernel / 2;
        self.in_map.span(0, y).start - pad * self.in_map.row - pad
    }
    fn forward(&mut self, isa: Isa) {
        for y in 0..self.layer.side {
            let row = Row {
                cols: self.layer.side,
                x_base: self.window(y),
                x_step: 1,
                out_base: self.out_map.span(0, y).start,
                out_step: 1,
                out_channel: self.out_map.channel,
                accumulate: false,
            };
            dense_row(
                isa,
                &self.offsets,
                &self.weights,
                None,
                &self.x,
                &mut self.y,
                &row,
            );
        }
    }
    fn gradient(&mut self, isa: Isa) {
        let rows = BAND_PIXELS / self.layer.side;
        for first in (0..self.layer.side).step_by(rows) {
            let rows = rows.min(self.layer.side - first);
            let band = Band {
                x_base: self.window(first),
                x_step: 1,
                x_row: self.in_map.row,
                ..Band::of(&self.out_map, 0, self.layer.outputs, first, rows)
            };
            dense_gradient(
                isa,
                &self.offsets,
                &self.x,
                &self.y,
                &band,
                &mut self.gradient,
            );
        }
    }
}

/// The share of its peak that an instruction set must reach in `[rows, gradients]` of each layer.
///
/// AVX2 has half the registers. A row's tile loads two pixels and six weights for twelve products, and
/// a gradient's tile five half vectors for six, close to what two loads a cycle give; where every tap is
/// another channel those come from the second cache. The portable form is what the compiler makes of
/// arrays, its peak what it makes of the same arrays kept in registers; where it may not use fused
/// instructions every lane is a call, and layers take too long for an undisturbed slice.
fn shares(isa: Isa, layer: Layer) -> [f64; 2] {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(_) => [0.85, 0.85],
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(_) => [0.8, if layer.kernel == 1 { 0.5 } else { 0.7 }],
        Isa::Portable(_) => {
            let _ = layer;
            [0.15, 0.15]
        }
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "measures optimised code")]
fn dense_layers_reach_their_share_of_the_peak() {
    const LAYERS: [Layer; 4] = [
        Layer {
            kernel: 3,
            inputs: 16,
            outputs: 16,
            side: 32,
        },
        Layer {
            kernel: 3,
            inputs: 32,
            outputs: 32,
            side: 16,
        },
        Layer {
            kernel: 3,
            inputs: 64,
            outputs: 64,
            side: 8,
        },
        Layer {
            kernel: 1,
            inputs: 128,
            outputs: 128,
            side: 6,
        },
    ];
    /// Slices before the first verdict, and how long to wait for a better one.
    const ROUNDS: usize = 5;
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut failures = Vec::new();
    for isa in Isa::available() {
        let mut out = [Lanes::ZERO; 12];
        // Six chains of vectors; AVX-512 runs two of each.
        let mut of_one = 6 * LANES;
        #[cfg(target_arch = "x86_64")]
        if let Isa::Avx512(_) = isa {
            of_one *= 2;
        }
        let mut peak = Rate::new(|n| chains(isa, n, &mut out));
        for layer in LAYERS {
            let mut buffers = Buffers::new(isa, layer);
            for (what, share) in ["rows", "gradients"].into_iter().zip(shares(isa, layer)) {
                let mut work = |n: usize| {
                    for _ in 0..n {
                        match what {
                            "rows" => buffers.forward(isa),
                            _ => buffers.gradient(isa),
                        }
                    }
                };
                let mut rate = Rate::new(&mut work);
                let macs =
                    layer.inputs * layer.outputs * (layer.kernel * layer.side).pow(2) * LANES;
                let mut rounds = 0;
                let start = Instant::now();
                while rounds < ROUNDS
                    || (rate.best < share * peak.best && start.elapsed() < PATIENCE)
                {
                    peak.measure(of_one, |n| chains(isa, n, &mut out));
                    rate.measure(macs, &mut work);
                    rounds += 1;
                }
                let reached = rate.best / peak.best;
                if reached < share {
                    failures.push(format!(
                        "{isa:?} {layer:?} {what}: {:.0} % of the peak instead of {:.0} %",
                        reached * 100.0,
                        share * 100.0
                    ));
                }
            }
        }
        black_box(out);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
