//! Convolution rows and weight gradients.
//!
//! Everything a convolution does, forward and backward, any kernel, stride and dilation, is a sum
//! over *taps*: `out[pixel] = sum over k of weight[k] * x[base + pixel * step + offset[k]]`, where
//! `offset` names the input channel and the place in the window. Two forms exist: dense tiles, where
//! several output channels share the offsets, and lists, where every output has its own taps (masked
//! layers and depthwise ones). Both add the taps of an output in the order given, so they agree to
//! the bit as long as the taps a list leaves out have weight zero.

// The kernels use indexed loops over register arrays and neither closures nor functions that take
// some: those would not be compiled for the instruction set, and every vector operation in them would
// become a call.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Lanes, Simd};
use super::{Map, dispatched};

mod dense;
mod depthwise;
mod gradient;
mod lists;
#[cfg(test)]
mod peak;

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

/// Weights of outputs that share their taps, packed `[tile][tap][channel of the tile]`. The tiles'
/// sizes differ by one at most: see [`share`].
#[derive(Clone, Debug, Default)]
pub struct DenseWeights {
    packed: Vec<f32>,
    outputs: usize,
    tile: usize,
}

impl DenseWeights {
    /// Packs `weight(output, tap)` for tiles of `tile` channels at most.
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
        self.packed.reserve_exact(outputs * taps);
        let mut first = 0;
        while first < outputs {
            let channels = share(outputs - first, tile);
            for tap in 0..taps {
                for output in first..first + channels {
                    self.packed.push(weight(output, tap));
                }
            }
            first += channels;
        }
    }
}

/// How many of `left` items the next tile takes if no tile may take more than `most`: as few tiles
/// as possible, and those as equal as possible.
#[inline(always)]
fn share(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
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

dispatched! {
    /// One row of a dense convolution.
    ///
    /// # Panics
    /// If the row leaves `x` or `out`, or the weights are not packed for `isa`.
    pub fn dense_row(offsets: &Offsets, weights: &DenseWeights, bias: Option<&[f32]>, x: &[Lanes], out: &mut [Lanes], row: &Row) = dense::row;
    /// One row of a convolution given as lists.
    ///
    /// # Panics
    /// If the row leaves `x` or `out`.
    pub fn list_row(lists: &TapLists, bias: Option<&[f32]>, x: &[Lanes], out: &mut [Lanes], row: &Row) = lists::row;
    /// Adds a dense layer's weight gradient: `gradient[output * taps + tap] +=` the sum over pixels
    /// and images of `x * dy`, for the rows of `band`.
    ///
    /// # Panics
    /// If the band leaves `x` or `dy`, or `gradient` is not `outputs x taps`.
    pub fn dense_gradient(offsets: &Offsets, x: &[Lanes], dy: &[Lanes], band: &Band, gradient: &mut [f32]) = gradient::dense;
    /// The same for lists: one sum a tap, in the lists' order.
    ///
    /// # Panics
    /// If the band leaves `x` or `dy`, or `gradient` has not one element a tap.
    pub fn list_gradient(lists: &TapLists, x: &[Lanes], dy: &[Lanes], band: &Band, gradient: &mut [f32]) = gradient::lists;
    /// Rows of a depthwise convolution; `row` tells the first one.
    ///
    /// # Panics
    /// If the rows leave `x` or `out`, or there is no kernel for the window: see [`Window::supports`].
    pub fn depthwise_rows(windows: &Windows<'_>, bias: Option<&[f32]>, x: &[Lanes], out: &mut [Lanes], row: &Row) = depthwise::rows;
    /// Adds a depthwise layer's weight gradient, `[channel][ky][kx]`, for the rows of `band`.
    ///
    /// # Panics
    /// If the band leaves `x` or `dy`, `gradient` has another length, or there is no kernel for the
    /// window: see [`Window::supports`].
    pub fn depthwise_gradient(window: &Window, x: &[Lanes], dy: &[Lanes], band: &Band, gradient: &mut [f32]) = depthwise::gradient;
}

/// The window of a depthwise layer, whose columns lie side by side.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// From row to row of the window.
    pub row: usize,
    /// From channel to channel.
    pub channel: usize,
}

impl Window {
    /// Whether there are kernels for windows of `columns` columns and pixels `step` apart.
    pub fn supports(columns: usize, step: usize) -> bool {
        matches!(columns, 1 | 2 | 3 | 5) && matches!(step, 1 | 2)
    }
}

/// The windows of a depthwise layer's rows.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    /// Their shape.
    pub window: Window,
    /// Channels.
    pub channels: usize,
    /// `[channel][ky][kx]`, the order in which taps are added.
    pub weights: &'a [f32],
    /// Whether weight `(ky, kx)` belongs to the place `(kh - 1 - ky, kw - 1 - kx)`; only where pixels
    /// are one apart.
    pub reversed: bool,
    /// Rows of output.
    pub rows: usize,
    /// From one's window to the next one's.
    pub x_row: usize,
    /// From output row to output row.
    pub out_row: usize,
}

impl Windows<'_> {
    /// Panics unless the rows, the first of them `row`, stay within `x_len` and `out_len` vectors.
    fn check(&self, row: &Row, x_len: usize, out_len: usize) {
        let Window {
            kernel: [kh, kw],
            row: line,
            channel,
        } = self.window;
        assert_eq!(self.weights.len(), self.channels * kh * kw);
        let x = [
            (row.cols, row.x_step),
            (self.rows, self.x_row),
            (self.channels, channel),
            (kh, line),
            (kw, 1),
        ];
        assert!(
            furthest(row.x_base, &x).is_some_and(|x| x < x_len),
            "{self:?} from {row:?} leaves {x_len} vectors"
        );
        let out = [
            (row.cols, row.out_step),
            (self.rows, self.out_row),
            (self.channels, row.out_channel),
        ];
        assert!(
            furthest(row.out_base, &out).is_some_and(|out| out < out_len),
            "{self:?} from {row:?} leaves {out_len} vectors"
        );
    }
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

/// Writes `R` pixels of a channel, or adds them to what stands there.
///
/// # Safety
/// `R` pixels from `out` on, `row.out_step` apart, are writable.
#[inline(always)]
unsafe fn write<S: Simd, const R: usize>(simd: S, acc: [S::V; R], out: *mut Lanes, row: &Row) {
    for r in 0..R {
        // SAFETY: the caller vouches for it.
        let to = unsafe { &mut *out.add(r * row.out_step) };
        let mut v = acc[r];
        if row.accumulate {
            v = simd.add(simd.load(to), v);
        }
        simd.store(v, to);
    }
}
