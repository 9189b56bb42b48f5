//! Dense 3x3 convolutions of stride 1 by minimal filtering: see [`crate::train::simd::winograd`].

use crate::train::simd::convolve::{Band, DenseWeights, Offsets, Row, dense_gradient, dense_row};
use crate::train::simd::winograd::{
    FREQUENCIES, Tiles, patches, pixels, tiles_out, transform_gradient, transform_weights,
};
use crate::train::simd::{Isa, Lanes};

use super::run::grown;

/// Channels from which the transforms cost less than they save.
pub const LEAST_CHANNELS: usize = 8;

/// Tiles that are transformed at once, so that what lies between the transforms stays in the second
/// cache.
const AT_ONCE: usize = 8;

/// Transformed maps of a few tiles.
#[derive(Debug, Default)]
pub struct Spare {
    input: Vec<Lanes>,
    output: Vec<Lanes>,
}

/// Transformed weights, one dense layer for each frequency.
#[derive(Clone, Debug, Default)]
pub struct Weights(Vec<DenseWeights>);

impl Weights {
    /// Takes the 3x3 weights `weight(output, input)` of a convolution.
    pub fn prepare(
        &mut self,
        isa: Isa,
        [outputs, inputs]: [usize; 2],
        weight: impl Fn(usize, usize) -> [f32; 9],
    ) {
        let transformed: Vec<[f32; FREQUENCIES]> = (0..outputs * inputs)
            .map(|at| transform_weights(&weight(at / inputs, at % inputs)))
            .collect();
        self.0.resize_with(FREQUENCIES, Default::default);
        for (frequency, packed) in self.0.iter_mut().enumerate() {
            packed.pack(outputs, inputs, isa.tile_channels(), |o, i| {
                transformed[o * inputs + i][frequency]
            });
        }
    }

    /// Writes or adds to the pixels of `to` the convolution of the patches of `from`.
    #[allow(clippy::too_many_arguments)]
    pub fn convolve(
        &self,
        isa: Isa,
        from: &Tiles,
        x: &[Lanes],
        to: &Tiles,
        bias: Option<&[f32]>,
        accumulate: bool,
        out: &mut [Lanes],
        spare: &mut Spare,
    ) {
        for (from, to) in from.parts(AT_ONCE).zip(to.parts(AT_ONCE)) {
            let input = grown(&mut spare.input, from.transformed_len());
            patches(isa, &from, x, input);
            let output = grown(&mut spare.output, to.transformed_len());
            let offsets = channel_offsets(&from);
            for (frequency, weights) in self.0.iter().enumerate() {
                let row = Row {
                    cols: from.count(),
                    x_base: frequency * from.frequency(),
                    x_step: 1,
                    out_base: frequency * to.frequency(),
                    out_step: 1,
                    out_channel: to.count(),
                    accumulate: false,
                };
                dense_row(isa, &offsets, weights, None, input, output, &row);
            }
            tiles_out(isa, &to, output, bias, accumulate, out);
        }
    }
}

fn channel_offsets(tiles: &Tiles) -> Offsets {
    let count = tiles.count();
    Offsets::new((0..tiles.channels).map(|c| (c * count) as u32).collect())
}

/// Adds the band's gradient of the transformed weights to `sums`, `[frequency][output][input]`.
pub fn add_gradient(
    isa: Isa,
    from: &Tiles,
    x: &[Lanes],
    to: &Tiles,
    dy: &[Lanes],
    sums: &mut [f32],
    spare: &mut Spare,
) {
    let input = grown(&mut spare.input, from.transformed_len());
    patches(isa, from, x, input);
    let output = grown(&mut spare.output, to.transformed_len());
    pixels(isa, to, dy, output);
    let offsets = channel_offsets(from);
    let pairs = from.channels * to.channels;
    for (frequency, sums) in sums.chunks_exact_mut(pairs).enumerate() {
        let band = Band {
            rows: 1,
            cols: from.count(),
            x_base: frequency * from.frequency(),
            x_step: 1,
            x_row: 0,
            dy_base: frequency * to.frequency(),
            dy_row: 0,
            dy_channel: to.count(),
            outputs: to.channels,
        };
        dense_gradient(isa, &offsets, input, output, &band, sums);
    }
}

/// Adds the gradient of the 3x3 weights, `[output][input][9]`, from that of the transformed ones.
pub fn finish_gradient(sums: &[f32], gradient: &mut [f32]) {
    let pairs = sums.len() / FREQUENCIES;
    for (pair, to) in gradient.chunks_exact_mut(9).enumerate() {
        let u = std::array::from_fn(|frequency| sums[frequency * pairs + pair]);
        for (to, v) in to.iter_mut().zip(transform_gradient(&u)) {
            *to += v;
        }
    }
}
