//! Passes and scratch of dense convolution, for the kernel and for whoever plans memory.

use crate::layer::Geometry;

/// Output pixels of a tile: see `armv7em/conv_dense.s`.
pub(crate) const TILE: usize = 3;

/// Words of a tile's activations and of the pointer to its output.
pub(crate) const fn tile_words(columns: usize) -> usize {
    columns.div_ceil(4) * 2 * TILE + 1
}

/// Whether pixels are gathered as bytes before they are expanded: where channels do not come in
/// words.
pub(crate) const fn gathers(geometry: &Geometry) -> bool {
    geometry.in_c % 4 != 0
}

/// How the pixels of a layer are cut into passes. Each packs its pixels, in raster order, before it
/// writes the first of them; then all weights run over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DensePasses {
    pixels: usize,
    pass_tiles: usize,
    next: usize,
}

/// One pass over the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DensePass {
    /// First pixel that is packed and written. It may have been written by the pass before, since a
    /// tile reaches back from the last pixel.
    pub first: usize,
    /// After the last pixel.
    pub end: usize,
    /// Tiles.
    pub tiles: usize,
}

impl DensePasses {
    /// Of a layer with as many output pixels, and at most `pass_tiles` tiles (at least 1) a pass.
    pub const fn new(pixels: usize, pass_tiles: u16) -> Self {
        Self {
            pixels,
            pass_tiles: if pass_tiles == 0 {
                1
            } else {
                pass_tiles as usize
            },
            next: 0,
        }
    }

    /// The most tiles that a pass has.
    pub const fn most_tiles(&self) -> usize {
        let all = self.pixels.div_ceil(self.advance());
        if all < self.pass_tiles {
            all
        } else {
            self.pass_tiles
        }
    }

    /// Pixels from one tile to the next. Fewer pixels than a tile has take a tile each.
    pub(crate) const fn advance(&self) -> usize {
        if self.pixels < TILE { 1 } else { TILE }
    }
}

impl Iterator for DensePasses {
    type Item = DensePass;

    fn next(&mut self) -> Option<DensePass> {
        if self.next >= self.pixels {
            return None;
        }
        let advance = self.advance();
        let end = (self.next + self.pass_tiles * advance).min(self.pixels);
        let pass = DensePass {
            first: self.next.min(self.pixels - advance),
            end,
            tiles: (end - self.next).div_ceil(advance),
        };
        self.next = end;
        Some(pass)
    }
}

/// Scratch of [`crate::conv_dense`], in words, with at most `pass_tiles` tiles a pass.
pub const fn conv_dense_scratch_words(geometry: &Geometry, pass_tiles: u16) -> usize {
    let columns = geometry.columns();
    let tiles = DensePasses::new(geometry.out_pixels(), pass_tiles).most_tiles();
    let gathered = if gathers(geometry) {
        columns.div_ceil(4)
    } else {
        0
    };
    // A lone row is computed beside a copy of itself.
    let pairs = if geometry.out_c == 1 {
        (2 * TILE * tiles).div_ceil(4)
    } else {
        0
    };
    tiles * tile_words(columns) + gathered + pairs
}

/// The most tiles a pass may have with tiles of at most `words` words: as many as make the fewest
/// passes, and no more than those need.
pub const fn dense_tiles_within(geometry: &Geometry, words: usize) -> u16 {
    let all = DensePasses::new(geometry.out_pixels(), u16::MAX).most_tiles();
    let fit = words / tile_words(geometry.columns());
    let most = if all < fit { all } else { fit };
    match most {
        0 => 1,
        most => all.div_ceil(all.div_ceil(most)) as u16,
    }
}
