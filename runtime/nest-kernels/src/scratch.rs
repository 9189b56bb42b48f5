//! Scratch that the device's kernels need, in 32-bit words: packed activations, see
//! `armv7em/pack.rs`. The planner reserves exactly this; the reference needs none.

use crate::layer::{Geometry, Tile};

/// Columns that a tile can serve: the planes of pixel pairs lie at a fixed distance, which must fit
/// the 12-bit offset of a load.
pub const fn max_columns(tile: Tile) -> usize {
    match tile {
        Tile::P8 => 341,
        Tile::P4 => 1023,
        Tile::P2 => u16::MAX as usize,
    }
}

/// What a pass over the weights may pack at most, in words, unless one tile alone needs more.
/// Larger passes fetch the weights less often: 5,456 words (21.3 KiB) hold 4 tiles of 8 pixels.
const PASS_WORDS: usize = 4 * 4 * 341;

/// How tiles of packed activations lie in scratch.
///
/// A tile has `planes` planes (one a pixel pair), `plane_stride` words apart, each `columns` words
/// long. Tiles lie side by side in the gap between two planes, `per_block` of them; then the next
/// block of `planes * plane_stride` words follows.
#[derive(Clone, Copy)]
#[cfg_attr(not(nest_armv7em), allow(dead_code))]
pub(crate) struct Layout {
    /// Tiles that one pass over the weights serves.
    pub tiles: usize,
    /// Tiles in a block.
    pub per_block: usize,
    /// Words from one plane of a tile to the next.
    pub plane_stride: usize,
    /// Words of a block.
    pub block_words: usize,
}

/// Words between two planes: fixed by the code for 8 and 4 pixels, none for 2.
const fn plane_stride(tile: Tile, columns: usize) -> usize {
    match tile {
        Tile::P8 => 341,
        Tile::P4 if columns <= 577 => 577,
        Tile::P4 => 1023,
        Tile::P2 => columns,
    }
}

const fn pixels(tile: Tile) -> usize {
    match tile {
        Tile::P8 => 8,
        Tile::P4 => 4,
        Tile::P2 => 2,
    }
}

const fn at_least_1(n: usize) -> usize {
    if n == 0 { 1 } else { n }
}

/// The layout for `columns` columns and `pixels_out` output pixels.
pub(crate) const fn nested_layout(tile: Tile, columns: usize, pixels_out: usize) -> Layout {
    let columns = at_least_1(columns);
    let plane_stride = plane_stride(tile, columns);
    let per_block = at_least_1(plane_stride / columns);
    let block_words = plane_stride * pixels(tile) / 2;
    let blocks = at_least_1(PASS_WORDS / block_words);
    let wanted = at_least_1(pixels_out.div_ceil(pixels(tile)));
    let tiles = if wanted < blocks * per_block {
        wanted
    } else {
        blocks * per_block
    };
    Layout {
        tiles,
        per_block,
        plane_stride,
        block_words,
    }
}

/// Scratch of [`crate::conv_nested`].
pub const fn conv_nested_scratch_words(geometry: &Geometry, tile: Tile) -> usize {
    let layout = nested_layout(tile, geometry.columns(), geometry.out_pixels());
    layout.tiles.div_ceil(layout.per_block) * layout.block_words
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
    let wanted = at_least_1(pixels_out.div_ceil(4));
    if wanted < fit { wanted } else { fit }
}

/// Scratch of [`crate::conv_dense`].
pub const fn conv_dense_scratch_words(geometry: &Geometry) -> usize {
    let columns = geometry.columns();
    dense_tiles(columns, geometry.out_pixels()) * dense_tile_words(columns)
}

/// Scratch of [`crate::depthwise`].
pub const fn depthwise_scratch_words(_geometry: &Geometry) -> usize {
    0
}
