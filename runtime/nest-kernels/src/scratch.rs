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
