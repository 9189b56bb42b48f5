//! How the convolution over 1x4 blocks packs activations: as int16, four pixels to a tile.

use crate::layer::Geometry;

/// Output pixels of a tile.
pub(crate) const PIXELS: usize = 4;

/// Words of a tile: those of its pixels, two columns a word, and two addresses.
pub(crate) const fn block_tile_words(columns: usize) -> usize {
    columns / 2 * PIXELS + 2
}

/// Pixels from one tile to the next: fewer pixels than a tile has take a tile each.
pub(crate) const fn block_advance(pixels: usize) -> usize {
    if pixels < PIXELS { 1 } else { PIXELS }
}

/// Tiles of a pass that should have `pass_tiles`: at least one, at most all.
pub(crate) const fn block_pass_tiles(pixels: usize, pass_tiles: u16) -> usize {
    let all = pixels.div_ceil(block_advance(pixels));
    let tiles = if pass_tiles == 0 {
        1
    } else {
        pass_tiles as usize
    };
    if tiles < all { tiles } else { all }
}

/// Scratch of [`crate::conv_block`], in words.
pub const fn conv_block_scratch_words(g: &Geometry, pass_tiles: u16) -> usize {
    block_pass_tiles(g.out_pixels(), pass_tiles) * block_tile_words(g.columns())
}

/// The most tiles a pass may have in `words` words of scratch, at least 1.
pub const fn block_tiles_within(g: &Geometry, words: usize) -> u16 {
    let fit = words / block_tile_words(g.columns());
    let fit = if fit > u16::MAX as usize {
        u16::MAX
    } else {
        fit as u16
    };
    let tiles = block_pass_tiles(g.out_pixels(), fit);
    if tiles == 0 { 1 } else { tiles as u16 }
}
