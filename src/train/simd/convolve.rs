//! Convolution rows and weight gradients.
//!
//! Everything a convolution does, forward and backward, any kernel, stride and dilation, is a sum
//! over *taps*: `out[pixel] = sum over k of weight[k] * x[base + pixel * step + offset[k]]`, where
//! `offset` names the input channel and the place in the window. Two forms exist: dense tiles, where
//! several output channels share the offsets, and lists, where every output has its own taps (masked
//! layers and depthwise ones). Both add the taps of an output in the order given, so they agree to
//! the bit as long as the taps a list leaves out have weight zero.

// Indexed loops over register arrays; see `dense_row_generic`.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Lanes, Simd};
use super::{Map, dispatched};

/// Tap offsets with their furthest reach known.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    list: Vec<u32>,
    reach: usize,
}

impl Offsets {
    /// Offsets in vectors from a row's base.
    pub fn new(list: Vec<u32>) -> Self {
        let reach = list.iter().copied().max().unwrap_or(0) as usize;
        Self { list, reach }
    }
    /// How many taps there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

/// Weights of outputs that share their taps, packed `[tile][tap][channel of the tile]`.
#[derive(Clone, Debug, Default)]
pub struct DenseWeights {
    packed: Vec<f32>,
    outputs: usize,
    tile: usize,
}

impl DenseWeights {
    /// Packs `weight(output, tap)` for tiles of `tile` channels; missing channels are zero.
    pub fn pack(
        &mut self,
        outputs: usize,
        taps: usize,
        tile: usize,
        weight: impl Fn(usize, usize) -> f32,
    ) {
        self.outputs = outputs;
        self.tile = tile;
        self.packed.clear();
        for first in (0..outputs).step_by(tile) {
            for tap in 0..taps {
                for output in first..first + tile {
                    self.packed.push(if output < outputs {
                        weight(output, tap)
                    } else {
                        0.0
                    });
                }
            }
        }
    }
}

/// A tap of one output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    /// In vectors from a row's base.
    pub offset: u32,
    /// Its weight.
    pub weight: f32,
}

/// Each output's own taps.
#[derive(Clone, Debug, Default)]
pub struct TapLists {
    starts: Vec<u32>,
    taps: Vec<Tap>,
    reach: usize,
}

impl TapLists {
    /// Forgets all outputs, keeps the memory.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.starts.push(0);
        self.taps.clear();
        self.reach = 0;
    }
    /// Appends the next output's taps.
    pub fn push_output(&mut self, taps: impl Iterator<Item = Tap>) {
        let first = self.taps.len();
        self.taps.extend(taps);
        for tap in &self.taps[first..] {
            self.reach = self.reach.max(tap.offset as usize);
        }
        self.starts.push(self.taps.len() as u32);
    }
    /// How many outputs there are.
    pub fn outputs(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }
    /// How many taps there are in all.
    pub fn len(&self) -> usize {
        self.taps.len()
    }
    fn of(&self, output: usize) -> &[Tap] {
        &self.taps[self.starts[output] as usize..self.starts[output + 1] as usize]
    }
}

/// One row of pixels: where it reads, where it writes.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Pixels.
    pub cols: usize,
    /// The vector that offset 0 means for pixel 0.
    pub x_base: usize,
    /// From pixel to pixel.
    pub x_step: usize,
    /// The vector that pixel 0 of output 0 is written to.
    pub out_base: usize,
    /// From pixel to pixel.
    pub out_step: usize,
    /// From output to output.
    pub out_channel: usize,
    /// Whether to add to what stands there.
    pub accumulate: bool,
}

/// The last place of a nest of loops of `(count, step)` from `base` on; `None` if a count is 0 or
/// the place is beyond any integer. The kernels index unchecked up to it, so it must not wrap.
fn furthest(base: usize, loops: &[(usize, usize)]) -> Option<usize> {
    loops.iter().try_fold(base, |at, &(count, step)| {
        at.checked_add(count.checked_sub(1)?.checked_mul(step)?)
    })
}

impl Row {
    /// Panics unless `outputs` channels of this row stay within `x_len` and `out_len` vectors.
    fn check(&self, outputs: usize, reach: usize, x_len: usize, out_len: usize) {
        let x = furthest(self.x_base, &[(self.cols, self.x_step)]);
        assert!(
            x.and_then(|x| x.checked_add(reach))
                .is_some_and(|x| x < x_len),
            "{self:?} with reach {reach} leaves {x_len} vectors"
        );
        let out = [(self.cols, self.out_step), (outputs, self.out_channel)];
        assert!(
            furthest(self.out_base, &out).is_some_and(|out| out < out_len),
            "{self:?} of {outputs} outputs leaves {out_len} vectors"
        );
    }
}

/// Up to this many taps a dense row walks pixels outside and channels inside, so that the window
/// stays in the first cache while the weights stream; beyond it the other way round.
const PIXELS_OUTSIDE: usize = 288;

dispatched! {
    /// One row of a dense convolution.
    ///
    /// # Panics
    /// If the row leaves `x` or `out`, or the weights are not packed for `isa`.
    pub fn dense_row(offsets: &Offsets, weights: &DenseWeights, bias: Option<&[f32]>, x: &[Lanes], out: &mut [Lanes], row: &Row) = dense_row_generic[4, 6, 4];
    /// One row of a convolution given as lists.
    ///
    /// # Panics
    /// If the row leaves `x` or `out`.
    pub fn list_row(lists: &TapLists, bias: Option<&[f32]>, x: &[Lanes], out: &mut [Lanes], row: &Row) = list_row_generic;
    /// Adds a dense layer's weight gradient: `gradient[output * taps + tap] +=` the sum over pixels
    /// and images of `x * dy`, for the rows of `band`.
    ///
    /// # Panics
    /// If the band leaves `x` or `dy`, or `gradient` is not `outputs x taps`.
    pub fn dense_gradient(offsets: &Offsets, x: &[Lanes], dy: &[Lanes], band: &Band, gradient: &mut [f32]) = dense_gradient_generic;
    /// The same for lists: one sum a tap, in the lists' order.
    ///
    /// # Panics
    /// If the band leaves `x` or `dy`, or `gradient` has not one element a tap.
    pub fn list_gradient(lists: &TapLists, x: &[Lanes], dy: &[Lanes], band: &Band, gradient: &mut [f32]) = list_gradient_generic;
}

#[inline(always)]
fn dense_row_generic<S: Simd, const Q: usize>(
    simd: S,
    offsets: &Offsets,
    weights: &DenseWeights,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
) {
    let (outputs, taps) = (weights.outputs, offsets.len());
    if row.cols == 0 || outputs == 0 {
        return;
    }
    row.check(outputs, offsets.reach, x.len(), out.len());
    assert_eq!(weights.tile, Q);
    assert_eq!(weights.packed.len(), outputs.div_ceil(Q) * Q * taps);
    assert!(bias.is_none_or(|b| b.len() >= outputs));
    // The kernels below use neither closures nor functions that take some: those would not be
    // compiled for the instruction set, and every vector operation in them would become a call.
    if taps <= PIXELS_OUTSIDE {
        let mut col = 0;
        while col < row.cols {
            let mut first = 0;
            while first < outputs {
                dense_step::<S, Q>(simd, offsets, weights, bias, x, out, row, col, first);
                first += Q;
            }
            col += S::TILE_PIXELS;
        }
    } else {
        let mut first = 0;
        while first < outputs {
            let mut col = 0;
            while col < row.cols {
                dense_step::<S, Q>(simd, offsets, weights, bias, x, out, row, col, first);
                col += S::TILE_PIXELS;
            }
            first += Q;
        }
    }
}

/// The tile whose first pixel is `col` and whose first channel is `first`; the row was checked.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn dense_step<S: Simd, const Q: usize>(
    simd: S,
    offsets: &Offsets,
    weights: &DenseWeights,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
    col: usize,
    first: usize,
) {
    let taps = offsets.len();
    let packed = &weights.packed[first * taps..][..Q * taps];
    let live = (weights.outputs - first).min(Q);
    let mut start = [0.0; Q];
    if let Some(bias) = bias {
        start[..live].copy_from_slice(&bias[first..first + live]);
    }
    let base = row.x_base + col * row.x_step;
    macro_rules! go {
        ($r:literal) => {{
            // SAFETY: `row.check` covers every pixel of the row with the furthest offset, and `$r`
            // pixels from `col` on belong to the row.
            let acc = unsafe {
                let x = x.as_ptr().add(base);
                dense_tile::<S, $r, Q>(simd, &offsets.list, packed, start, x, row.x_step)
            };
            write_tile(simd, acc, live, out, row, col, first);
        }};
    }
    match (row.cols - col).min(S::TILE_PIXELS) {
        4 => go!(4),
        3 => go!(3),
        2 => go!(2),
        _ => go!(1),
    }
}

/// `R` pixels times `Q` channels, all in registers.
///
/// # Safety
/// `x + r * step + offset` is readable for every `r < R` and every offset.
#[inline(always)]
unsafe fn dense_tile<S: Simd, const R: usize, const Q: usize>(
    simd: S,
    offsets: &[u32],
    packed: &[f32],
    start: [f32; Q],
    x: *const Lanes,
    step: usize,
) -> [[S::V; R]; Q] {
    let mut acc = [[simd.splat(0.0); R]; Q];
    for q in 0..Q {
        acc[q] = [simd.splat(start[q]); R];
    }
    for (&offset, weights) in offsets.iter().zip(packed.chunks_exact(Q)) {
        let mut pixels = [simd.splat(0.0); R];
        for r in 0..R {
            // SAFETY: the caller vouches for this offset of every pixel.
            pixels[r] = unsafe { simd.load(&*x.add(r * step + offset as usize)) };
        }
        for q in 0..Q {
            let weight = simd.splat(weights[q]);
            for r in 0..R {
                acc[q][r] = simd.fma(pixels[r], weight, acc[q][r]);
            }
        }
    }
    acc
}

/// Writes the first `live` channels of a tile.
#[inline(always)]
fn write_tile<S: Simd, const R: usize, const Q: usize>(
    simd: S,
    acc: [[S::V; R]; Q],
    live: usize,
    out: &mut [Lanes],
    row: &Row,
    col: usize,
    first: usize,
) {
    for q in 0..Q {
        if q >= live {
            break;
        }
        let base = row.out_base + (first + q) * row.out_channel + col * row.out_step;
        for r in 0..R {
            let to = &mut out[base + r * row.out_step];
            let mut v = acc[q][r];
            if row.accumulate {
                v = simd.add(simd.load(to), v);
            }
            simd.store(v, to);
        }
    }
}

#[inline(always)]
fn list_row_generic<S: Simd>(
    simd: S,
    lists: &TapLists,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
) {
    let outputs = lists.outputs();
    if row.cols == 0 || outputs == 0 {
        return;
    }
    row.check(outputs, lists.reach, x.len(), out.len());
    assert!(bias.is_none_or(|b| b.len() >= outputs));
    let mut col = 0;
    while col < row.cols {
        let room = (row.cols - col).min(S::LIST_PIXELS);
        macro_rules! go {
            ($r:literal) => {{
                for output in 0..outputs {
                    let start = match bias {
                        Some(bias) => bias[output],
                        None => 0.0,
                    };
                    // SAFETY: `row.check` covers every pixel of the row with the furthest offset,
                    // and `$r` pixels from `col` on belong to the row.
                    let acc = unsafe {
                        list_tile::<S, $r>(
                            simd,
                            lists.of(output),
                            start,
                            x.as_ptr().add(row.x_base + col * row.x_step),
                            row.x_step,
                        )
                    };
                    write_tile(simd, [acc], 1, out, row, col, output);
                }
                $r
            }};
        }
        col += match room {
            16.. => go!(16),
            8.. => go!(8),
            4.. => go!(4),
            2.. => go!(2),
            _ => go!(1),
        };
    }
}

/// `R` pixels of one output.
///
/// # Safety
/// `x + r * step + offset` is readable for every `r < R` and every tap.
#[inline(always)]
unsafe fn list_tile<S: Simd, const R: usize>(
    simd: S,
    taps: &[Tap],
    start: f32,
    x: *const Lanes,
    step: usize,
) -> [S::V; R] {
    let mut acc = [simd.splat(start); R];
    for tap in taps {
        let weight = simd.splat(tap.weight);
        for r in 0..R {
            // SAFETY: the caller vouches for this offset of every pixel.
            let pixel = unsafe { simd.load(&*x.add(r * step + tap.offset as usize)) };
            acc[r] = simd.fma(pixel, weight, acc[r]);
        }
    }
    acc
}

/// A band of output rows whose contribution to the weight gradient is summed in registers.
#[derive(Clone, Copy, Debug)]
pub struct Band {
    /// Rows.
    pub rows: usize,
    /// Pixels a row.
    pub cols: usize,
    /// The vector that offset 0 means for the first pixel.
    pub x_base: usize,
    /// From pixel to pixel.
    pub x_step: usize,
    /// From output row to output row.
    pub x_row: usize,
    /// The first pixel of output 0.
    pub dy_base: usize,
    /// From output row to output row.
    pub dy_row: usize,
    /// From output to output.
    pub dy_channel: usize,
    /// Outputs.
    pub outputs: usize,
}

impl Band {
    /// A band over the rows `first..first + rows` of the output map `dy`, channels from `channel` on.
    pub fn of(dy: &Map, channel: usize, outputs: usize, first: usize, rows: usize) -> Self {
        Self {
            rows,
            cols: dy.w,
            x_base: 0,
            x_step: 0,
            x_row: 0,
            dy_base: dy.span(channel, first).start,
            dy_row: dy.row,
            dy_channel: dy.channel,
            outputs,
        }
    }
    fn check(&self, reach: usize, x_len: usize, dy_len: usize) {
        let x = [(self.rows, self.x_row), (self.cols, self.x_step)];
        assert!(
            furthest(self.x_base, &x)
                .and_then(|x| x.checked_add(reach))
                .is_some_and(|x| x < x_len),
            "{self:?} with reach {reach} leaves {x_len} vectors"
        );
        let dy = [
            (self.rows, self.dy_row),
            (self.cols, 1),
            (self.outputs, self.dy_channel),
        ];
        assert!(
            furthest(self.dy_base, &dy).is_some_and(|dy| dy < dy_len),
            "{self:?} leaves {dy_len} vectors"
        );
    }
}

#[inline(always)]
fn dense_gradient_generic<S: Simd>(
    simd: S,
    offsets: &Offsets,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    gradient: &mut [f32],
) {
    let taps = offsets.len();
    assert_eq!(gradient.len(), band.outputs * taps);
    if band.rows == 0 || band.cols == 0 || gradient.is_empty() {
        return;
    }
    band.check(offsets.reach, x.len(), dy.len());
    macro_rules! go {
        ($m:literal, $q:literal) => {{
            let mut first = 0;
            while first < band.outputs {
                // A tile that sticks out computes its last row or tap again and drops it.
                let mut channels = [0; $q];
                for q in 0..$q {
                    channels[q] = (first + q).min(band.outputs - 1) * band.dy_channel;
                }
                let mut tap = 0;
                while tap < taps {
                    let mut tile = [0; $m];
                    for m in 0..$m {
                        tile[m] = offsets.list[(tap + m).min(taps - 1)] as usize;
                    }
                    let acc = {
                        // SAFETY: `band.check` covers every pixel of the band with the furthest
                        // offset and the last channel.
                        unsafe { gradient_tile::<S, $m, $q>(simd, x, dy, band, tile, channels) }
                    };
                    for m in 0..$m {
                        let mut column = [simd.splat(0.0); 4];
                        for q in 0..$q {
                            column[q] = acc[q][m];
                        }
                        let sums = simd.sums(column);
                        if tap + m < taps {
                            for q in 0..$q.min(band.outputs - first) {
                                gradient[(first + q) * taps + tap + m] += sums[q];
                            }
                        }
                    }
                    tap += $m;
                }
                first += $q;
            }
        }};
    }
    // The accumulators fill the registers: 24 of 32 with AVX-512, 12 of 16 with AVX2.
    match S::TILE_PIXELS {
        4 => go!(6, 4),
        _ => go!(3, 2),
    }
}

#[inline(always)]
fn list_gradient_generic<S: Simd>(
    simd: S,
    lists: &TapLists,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    gradient: &mut [f32],
) {
    assert_eq!(gradient.len(), lists.len());
    assert_eq!(lists.outputs(), band.outputs);
    if band.rows == 0 || band.cols == 0 || gradient.is_empty() {
        return;
    }
    band.check(lists.reach, x.len(), dy.len());
    macro_rules! go {
        ($m:literal) => {
            for output in 0..band.outputs {
                let taps = lists.of(output);
                let first = lists.starts[output] as usize;
                let mut tap = 0;
                while tap < taps.len() {
                    let mut tile = [0; $m];
                    for m in 0..$m {
                        tile[m] = taps[(tap + m).min(taps.len() - 1)].offset as usize;
                    }
                    let channel = [output * band.dy_channel];
                    let [acc] = {
                        // SAFETY: `band.check` covers every pixel of the band with the furthest
                        // offset and the last channel.
                        unsafe { gradient_tile::<S, $m, 1>(simd, x, dy, band, tile, channel) }
                    };
                    for quad in 0..$m / 4 {
                        let at = 4 * quad;
                        let sums = simd.sums([acc[at], acc[at + 1], acc[at + 2], acc[at + 3]]);
                        for i in 0..4 {
                            if tap + at + i < taps.len() {
                                gradient[first + tap + at + i] += sums[i];
                            }
                        }
                    }
                    tap += $m;
                }
            }
        };
    }
    match S::TILE_PIXELS {
        4 => go!(8),
        _ => go!(4),
    }
}

/// Sums over a band of `M` taps times `Q` outputs, lane by lane.
///
/// # Safety
/// The band lies within `x` for each of `offsets` and within `dy` for each of `channels`.
#[inline(always)]
unsafe fn gradient_tile<S: Simd, const M: usize, const Q: usize>(
    simd: S,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    offsets: [usize; M],
    channels: [usize; Q],
) -> [[S::V; M]; Q] {
    let mut acc = [[simd.splat(0.0); M]; Q];
    for row in 0..band.rows {
        // SAFETY: the caller vouches for the band.
        let (mut x, mut dy) = unsafe {
            (
                x.as_ptr().add(band.x_base + row * band.x_row),
                dy.as_ptr().add(band.dy_base + row * band.dy_row),
            )
        };
        for _ in 0..band.cols {
            let mut slopes = [simd.splat(0.0); Q];
            for q in 0..Q {
                // SAFETY: the caller vouches for each channel at this pixel.
                slopes[q] = unsafe { simd.load(&*dy.add(channels[q])) };
            }
            for m in 0..M {
                // SAFETY: the caller vouches for each offset at this pixel.
                let pixel = unsafe { simd.load(&*x.add(offsets[m])) };
                for q in 0..Q {
                    acc[q][m] = simd.fma(pixel, slopes[q], acc[q][m]);
                }
            }
            x = x.wrapping_add(band.x_step);
            dy = dy.wrapping_add(1);
        }
    }
    acc
}
