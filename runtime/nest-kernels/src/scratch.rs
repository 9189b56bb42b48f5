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

/// What a pass over the weights may pack at most, in words, unless one tile alone needs more: 2
/// tiles of 8 pixels. Longer passes fetch the weights less often, but a pass should stay in a data
/// cache of 16 KiB beside weights and feature maps, for images whose arena lies behind one: at
/// twice this size ResNet-8 gains 3 % in TCM and takes three times as long in cached RAM.
const PASS_WORDS: usize = 2 * 4 * 341;

/// Tiles of one pass at most.
pub(crate) const MAX_TILES: usize = 32;

/// The tile that really runs: as wide as the output at most, so that the last tile can overlap the
/// one before it.
pub(crate) const fn effective_tile(tile: Tile, pixels: usize) -> Tile {
    match tile {
        Tile::P8 if pixels >= 8 => Tile::P8,
        Tile::P8 | Tile::P4 if pixels >= 4 => Tile::P4,
        _ => Tile::P2,
    }
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

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

/// Output pixels of a tile.
pub(crate) const fn pixels_of(tile: Tile) -> usize {
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
    let block_words = plane_stride * pixels_of(tile) / 2;
    let blocks = at_least_1(PASS_WORDS / at_least_1(block_words));
    let wanted = at_least_1(pixels_out.div_ceil(pixels_of(tile)));
    let tiles = min(min(wanted, MAX_TILES), blocks * per_block);
    Layout {
        tiles,
        per_block,
        plane_stride,
        block_words,
    }
}

/// Scratch of [`crate::conv_nested`].
pub const fn conv_nested_scratch_words(geometry: &Geometry, tile: Tile) -> usize {
    let pixels = geometry.out_pixels();
    let layout = nested_layout(effective_tile(tile, pixels), geometry.columns(), pixels);
    // `per_block` is never 0, but the compiler must see that to leave out a panic.
    match layout.per_block {
        0 => 0,
        per_block => layout.tiles.div_ceil(per_block) * layout.block_words,
    }
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

/// Scratch of [`crate::depthwise`]: a pointer for each tap, and a pixel of padding. None where
/// elements are computed one by one: several output channels for an input channel, or less than 4.
pub const fn depthwise_scratch_words(geometry: &Geometry) -> usize {
    let taps = geometry.kernel_h as usize * geometry.kernel_w as usize;
    let channels = geometry.in_c as usize;
    if geometry.out_c != geometry.in_c || channels < 4 || taps == 0 {
        return 0;
    }
    taps + channels.div_ceil(4)
}
