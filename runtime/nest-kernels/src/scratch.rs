//! Scratch that the device's kernels need, in 32-bit words: packed activations, see
//! `armv7em/pack.rs`. The planner reserves exactly this; the reference needs none.

use crate::layer::Geometry;

/// What a pass over the weights may pack at most, in words, unless one tile alone needs more: 2
/// tiles of 8 pixels. Longer passes fetch the weights less often, but a pass should stay in a data
/// cache of 16 KiB beside weights and feature maps, for images whose arena lies behind one: at
/// twice this size ResNet-8 gains 3 % in TCM and takes three times as long in cached RAM.
const PASS_WORDS: usize = 2 * 4 * 341;

/// Tiles of one pass at most.
pub(crate) const MAX_TILES: usize = 32;

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

const fn at_least_1(n: usize) -> usize {
    if n == 0 { 1 } else { n }
}

/// Words of a tile of 4 pixels of [`crate::conv_dense`]: two for each column, columns rounded up
/// to 4.
pub(crate) const fn dense_tile_words(columns: usize) -> usize {
    columns.div_ceil(4) * 4 * 2
}

/// Tiles of one pass of [`crate::conv_dense`].
pub(crate) const fn dense_tiles(columns: usize, pixels_out: usize) -> usize {
    let tile = at_least_1(dense_tile_words(columns));
    let fit = at_least_1(PASS_WORDS / tile);
    // Fewer than 4 pixels take a tile each.
    let wanted = if pixels_out < 4 {
        at_least_1(pixels_out)
    } else {
        pixels_out.div_ceil(4)
    };
    min(min(wanted, MAX_TILES), fit)
}

/// Scratch of [`crate::conv_dense`].
pub const fn conv_dense_scratch_words(geometry: &Geometry) -> usize {
    let columns = geometry.columns();
    dense_tiles(columns, geometry.out_pixels()) * dense_tile_words(columns)
}

/// What the strips and records of [`crate::depthwise`] may take, in words, unless 4 channels alone
/// need more. Fewer channels at once cost more loops: 16 of them 3 %.
const STRIP_WORDS: usize = 2048;

/// How [`crate::depthwise`] lays out its scratch: the planes of `channels` channels, each with the
/// words of its strips, then a record of weights and constants for each, then room to read beyond.
#[derive(Clone, Copy)]
#[cfg_attr(not(nest_armv7em), allow(dead_code))]
pub(crate) struct StripLayout {
    /// 1 or 2.
    pub stride: usize,
    /// Strips of a plane: a power of two.
    pub strips: usize,
    /// Channels at once.
    pub channels: usize,
    /// Input columns of a strip, padding included.
    pub columns: usize,
    /// Words of a plane.
    pub plane: usize,
    /// Words of a record.
    pub record: usize,
    /// Words of it all.
    pub words: usize,
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// The layout for layers that run over strips: windows of 3 x 3 or 5 x 5 at stride 1 or 2, one
/// output channel for each input channel, 4 or more of them.
pub(crate) const fn strip_layout(g: &Geometry) -> Option<StripLayout> {
    let fits = (g.kernel_h == 3 || g.kernel_h == 5)
        && g.kernel_w == g.kernel_h
        && g.stride_h == g.stride_w
        && (g.stride_w == 1 || g.stride_w == 2)
        && g.dilation_h == 1
        && g.dilation_w == 1
        && g.in_c == g.out_c
        && g.in_c >= 4
        && g.out_w > 0
        && g.out_w <= 512;
    if !fits {
        return None;
    }
    let kernel = g.kernel_w as usize;
    let stride = g.stride_w as usize;
    // Pixels come in pairs.
    let pixels = (g.out_w as usize).div_ceil(2) * 2;
    let columns = (pixels - 1) * stride + kernel;
    let strips = if kernel == 3 { 2 * stride } else { 4 };
    let plane = strips * columns;
    let record = kernel * (kernel - 1) + 2;
    let groups = (g.in_c as usize).div_ceil(4);
    let at_once = at_least_1(STRIP_WORDS / (4 * (plane + record)));
    let channels = 4 * groups.div_ceil(groups.div_ceil(at_once));
    let planes = channels * plane;
    let words = planes + max(channels * record + record, plane);
    Some(StripLayout {
        stride,
        strips,
        channels,
        columns,
        plane,
        record,
        words,
    })
}

/// Scratch of [`crate::depthwise`]. Over strips: see [`StripLayout`]; else a pointer for each tap,
/// and a pixel of padding. None where elements are computed one by one: several output channels for
/// an input channel, or less than 4.
pub const fn depthwise_scratch_words(geometry: &Geometry) -> usize {
    if let Some(layout) = strip_layout(geometry) {
        return layout.words;
    }
    let taps = geometry.kernel_h as usize * geometry.kernel_w as usize;
    let channels = geometry.in_c as usize;
    if geometry.out_c != geometry.in_c || channels < 4 || taps == 0 {
        return 0;
    }
    taps + channels.div_ceil(4)
}
