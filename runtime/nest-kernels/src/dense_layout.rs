//! Passes and scratch of dense convolution, for the kernel and for whoever plans memory.

use crate::layer::Geometry;

/// Output pixels of a tile: see `armv7em/conv_dense.s`.
pub(crate) const TILE: usize = 3;

/// Words of a tile's activations and of the pointer to its output.
pub(crate) const fn tile_words(columns: usize) -> usize {
    columns.div_ceil(4) * 2 * TILE + 1
}

/// How the bytes of a window come together before they are extended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gather {
    /// They need not: channels come in words.
    None,
    /// The rows of the input under an output row are copied with their padding, for windows of 3 x 3
    /// pixels of 3 channels: the first layer of most networks.
    Lines,
    /// Byte by byte.
    Bytes,
}

/// The form for a layer.
pub(crate) const fn gather(g: &Geometry) -> Gather {
    let rgb = g.in_c == 3 && g.kernel_h == 3 && g.kernel_w == 3;
    if g.in_c % 4 == 0 {
        Gather::None
    } else if rgb && g.dilation_h == 1 && g.dilation_w == 1 && g.out_w > 0 {
        Gather::Lines
    } else {
        Gather::Bytes
    }
}

/// Bytes of a line of [`Gather::Lines`]: the pixels under an output row, and as many bytes before them
/// as make the input's first one begin a word.
pub(crate) const fn line_bytes(g: &Geometry) -> usize {
    let pixels = (g.out_w as usize).saturating_sub(1) * g.stride_w as usize + 3;
    (3 * pixels + line_start(g)).div_ceil(4) * 4
}

/// Where in a line its first pixel begins.
pub(crate) const fn line_start(g: &Geometry) -> usize {
    let before = 3 * g.pad_left as usize;
    before.div_ceil(4) * 4 - before
}

/// Words for gathering.
pub(crate) const fn gather_words(g: &Geometry) -> usize {
    match gather(g) {
        Gather::None => 0,
        Gather::Lines => 3 * line_bytes(g) / 4,
        Gather::Bytes => g.columns().div_ceil(4),
    }
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
    // A lone row is computed beside a copy of itself.
    let pairs = if geometry.out_c == 1 {
        (2 * TILE * tiles).div_ceil(4)
    } else {
        0
    };
    tiles * tile_words(columns) + gather_words(geometry) + pairs
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
