//! The transforms of Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", arXiv 1509.09308) for stride 1.
//!
//! A 3x3 convolution of a 4x4 patch `d` with weights `g` gives 2x2 pixels
//! `A' [(G g G') * (B' d B)] A`, where `*` multiplies element by element: 16 products where the sum
//! over taps takes 36. The products of all channels are, for each of the 16 elements ("frequencies"),
//! a 1x1 convolution of the transformed map, which the kernels of [`convolve`](super::convolve) do.
//! The gradient of the weights is `G' [sum over tiles of (A dy A') * (B' d B)] G`.
//!
//! Transformed maps are `[frequency][channel][tile]` vectors, tiles row by row.

// As in `convolve`: indexed loops over register arrays and no closures.
#![allow(clippy::needless_range_loop)]

use super::dispatched;
use super::lanes::{Lanes, Simd};

/// Elements of a transformed tile.
pub const FREQUENCIES: usize = 16;
/// Vectors between the ends and beginnings of frequencies, so that a tile's sixteen elements do not
/// all fall into the same set of a cache.
const GAP: usize = 5;

/// Tiles of 2x2 pixels in a map.
#[derive(Clone, Copy, Debug)]
pub struct Tiles {
    /// Rows of tiles.
    pub rows: usize,
    /// Tiles a row.
    pub cols: usize,
    /// Channels.
    pub channels: usize,
    /// The vector of channel 0 that the first tile begins at.
    pub base: usize,
    /// From pixel row to pixel row.
    pub row: usize,
    /// From channel to channel.
    pub channel: usize,
}

impl Tiles {
    /// Tiles of one channel.
    pub fn count(&self) -> usize {
        self.rows * self.cols
    }
    /// The tiles in groups of at most `most`, each within a row of tiles.
    pub fn parts(&self, most: usize) -> impl Iterator<Item = Tiles> + '_ {
        (0..self.rows).flat_map(move |ty| {
            (0..self.cols).step_by(most).map(move |tx| Tiles {
                rows: 1,
                cols: most.min(self.cols - tx),
                base: self.base + 2 * ty * self.row + 2 * tx,
                ..*self
            })
        })
    }
    /// From frequency to frequency of the transformed map.
    pub fn frequency(&self) -> usize {
        self.channels * self.count() + GAP
    }
    /// Vectors of the transformed map.
    pub fn transformed_len(&self) -> usize {
        FREQUENCIES * self.frequency()
    }
    fn start(&self, c: usize, row: usize) -> usize {
        self.base + c * self.channel + row * self.row
    }
}

dispatched! {
    /// `B' d B` of every tile's 4x4 patch, whose first vector is the tile's.
    pub fn patches(tiles: &Tiles, x: &[Lanes], out: &mut [Lanes]) = patches_generic;
    /// `A dy A'` of every tile's 2x2 pixels.
    pub fn pixels(tiles: &Tiles, dy: &[Lanes], out: &mut [Lanes]) = pixels_generic;
    /// `A' m A` of every transformed tile, plus its channel's bias, written or added to its 2x2 pixels.
    pub fn tiles_out(tiles: &Tiles, m: &[Lanes], bias: Option<&[f32]>, accumulate: bool, out: &mut [Lanes]) = tiles_out_generic;
}

/// `B'` times column `j` of four rows.
#[inline(always)]
fn column<S: Simd>(simd: S, rows: &[&[Lanes]; 4], j: usize) -> [S::V; 4] {
    let d0 = simd.load(&rows[0][j]);
    let d1 = simd.load(&rows[1][j]);
    let d2 = simd.load(&rows[2][j]);
    let d3 = simd.load(&rows[3][j]);
    [
        simd.sub(d0, d2),
        simd.add(d1, d2),
        simd.sub(d2, d1),
        simd.sub(d1, d3),
    ]
}

#[inline(always)]
fn patches_generic<S: Simd>(simd: S, tiles: &Tiles, x: &[Lanes], out: &mut [Lanes]) {
    let width = 2 * tiles.cols + 2;
    let frequency = tiles.frequency();
    let out = &mut out[..tiles.transformed_len()];
    for c in 0..tiles.channels {
        for ty in 0..tiles.rows {
            let start = tiles.start(c, 2 * ty);
            let rows = [
                &x[start..][..width],
                &x[start + tiles.row..][..width],
                &x[start + 2 * tiles.row..][..width],
                &x[start + 3 * tiles.row..][..width],
            ];
            let mut first = column(simd, &rows, 0);
            let mut second = column(simd, &rows, 1);
            let at = c * tiles.count() + ty * tiles.cols;
            for tx in 0..tiles.cols {
                let third = column(simd, &rows, 2 * tx + 2);
                let fourth = column(simd, &rows, 2 * tx + 3);
                let mut to = at + tx;
                for i in 0..4 {
                    simd.store(simd.sub(first[i], third[i]), &mut out[to]);
                    simd.store(simd.add(second[i], third[i]), &mut out[to + frequency]);
                    simd.store(simd.sub(third[i], second[i]), &mut out[to + 2 * frequency]);
                    simd.store(simd.sub(second[i], fourth[i]), &mut out[to + 3 * frequency]);
                    to += 4 * frequency;
                }
                (first, second) = (third, fourth);
            }
        }
    }
}

#[inline(always)]
fn pixels_generic<S: Simd>(simd: S, tiles: &Tiles, dy: &[Lanes], out: &mut [Lanes]) {
    let frequency = tiles.frequency();
    let zero = simd.splat(0.0);
    let out = &mut out[..tiles.transformed_len()];
    for c in 0..tiles.channels {
        for ty in 0..tiles.rows {
            let start = tiles.start(c, 2 * ty);
            let upper = &dy[start..][..2 * tiles.cols];
            let lower = &dy[start + tiles.row..][..2 * tiles.cols];
            let at = c * tiles.count() + ty * tiles.cols;
            for tx in 0..tiles.cols {
                let a = [simd.load(&upper[2 * tx]), simd.load(&upper[2 * tx + 1])];
                let b = [simd.load(&lower[2 * tx]), simd.load(&lower[2 * tx + 1])];
                let rows = [
                    a,
                    [simd.add(a[0], b[0]), simd.add(a[1], b[1])],
                    [simd.sub(a[0], b[0]), simd.sub(a[1], b[1])],
                    [simd.sub(zero, b[0]), simd.sub(zero, b[1])],
                ];
                let mut to = at + tx;
                for [p, q] in rows {
                    simd.store(p, &mut out[to]);
                    simd.store(simd.add(p, q), &mut out[to + frequency]);
                    simd.store(simd.sub(p, q), &mut out[to + 2 * frequency]);
                    simd.store(simd.sub(zero, q), &mut out[to + 3 * frequency]);
                    to += 4 * frequency;
                }
            }
        }
    }
}

#[inline(always)]
fn tiles_out_generic<S: Simd>(
    simd: S,
    tiles: &Tiles,
    m: &[Lanes],
    bias: Option<&[f32]>,
    accumulate: bool,
    out: &mut [Lanes],
) {
    let frequency = tiles.frequency();
    let m = &m[..tiles.transformed_len()];
    for c in 0..tiles.channels {
        let start = match bias {
            Some(bias) => simd.splat(bias[c]),
            None => simd.splat(0.0),
        };
        for ty in 0..tiles.rows {
            let upper = tiles.start(c, 2 * ty);
            let lower = upper + tiles.row;
            let at = c * tiles.count() + ty * tiles.cols;
            for tx in 0..tiles.cols {
                let mut rows = [[start; 4]; 2];
                for j in 0..4 {
                    let from = at + tx + j * frequency;
                    let m0 = simd.load(&m[from]);
                    let m1 = simd.load(&m[from + 4 * frequency]);
                    let m2 = simd.load(&m[from + 8 * frequency]);
                    let m3 = simd.load(&m[from + 12 * frequency]);
                    rows[0][j] = simd.add(simd.add(m0, m1), m2);
                    rows[1][j] = simd.sub(simd.sub(m1, m2), m3);
                }
                for (i, base) in [upper, lower].into_iter().enumerate() {
                    let [p0, p1, p2, p3] = rows[i];
                    let to = &mut out[base + 2 * tx..][..2];
                    let mut left = simd.add(simd.add(simd.add(p0, p1), p2), start);
                    let mut right = simd.add(simd.sub(simd.sub(p1, p2), p3), start);
                    if accumulate {
                        left = simd.add(simd.load(&to[0]), left);
                        right = simd.add(simd.load(&to[1]), right);
                    }
                    simd.store(left, &mut to[0]);
                    simd.store(right, &mut to[1]);
                }
            }
        }
    }
}

/// `G g G'` of 3x3 weights.
pub fn transform_weights(g: &[f32; 9]) -> [f32; FREQUENCIES] {
    let line = |a: f32, b: f32, c: f32| {
        let (sum, half) = (0.5 * (a + c), 0.5 * b);
        [a, sum + half, sum - half, c]
    };
    let columns: [[f32; 4]; 3] = std::array::from_fn(|j| line(g[j], g[3 + j], g[6 + j]));
    let mut out = [0.0; FREQUENCIES];
    for i in 0..4 {
        out[4 * i..][..4].copy_from_slice(&line(columns[0][i], columns[1][i], columns[2][i]));
    }
    out
}

/// `G' u G`, the gradient of 3x3 weights from that of the transformed ones.
pub fn transform_gradient(u: &[f32; FREQUENCIES]) -> [f32; 9] {
    let line = |a: f32, b: f32, c: f32, d: f32| {
        let (sum, difference) = (0.5 * (b + c), 0.5 * (b - c));
        [a + sum, difference, sum + d]
    };
    let columns: [[f32; 3]; 4] = std::array::from_fn(|j| line(u[j], u[4 + j], u[8 + j], u[12 + j]));
    let mut out = [0.0; 9];
    for i in 0..3 {
        let row = line(columns[0][i], columns[1][i], columns[2][i], columns[3][i]);
        out[3 * i..][..3].copy_from_slice(&row);
    }
    out
}
