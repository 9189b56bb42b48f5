//! How the nested convolution packs activations: where the words of a window lie, how many tiles a
//! pass has and what scratch it takes. Kernel, encoder and memory planner read the same functions.
//!
//! A packed word holds one input element of two output pixels, a *pair*. The words of an input
//! column under a window (`kernel_h * in_c` of them) stand side by side, and as many columns as lie
//! between the windows of neighbouring pairs make a *block*. Blocks are a fixed number of words apart,
//! so that a window is a run of words from its own block on, and a tile is as many neighbouring
//! windows as it has pairs, one block apart.
//!
//! | [`Gather`] | pairs | a block holds | used for |
//! |---|---|---|---|
//! | `Lines` | a pixel and the one below | `min(stride_w, kernel_w)` input columns, shared by windows | all that follows but in |
//! | `Pixels` | pixels 2k and 2k + 1 | the pixel | 1x1 windows that do not move against the output |
//! | `Windows` | pixels 2k and 2k + 1 | the whole window | dilated windows, maps too small for lines |

use crate::layer::{ConvCompact, ConvNested, Geometry, Tile};

/// How windows become blocks; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Two output rows at a time, each input column packed once.
    Lines,
    /// Windows of one pixel, which follow one another in the input as in the output.
    Pixels,
    /// Each window for itself.
    Windows,
}

/// The layout of a layer's packed activations, and with it the order of its weights' columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NestedLayout {
    /// How windows become blocks.
    pub gather: Gather,
    /// Words from a block to the next, which is also the distance of a tile's windows.
    pub block_words: usize,
    /// Words that a window spans: the columns of the layer's stream.
    pub columns: usize,
    /// Pairs of pixels in a tile.
    pub pairs: usize,
    /// Input columns in a block.
    pub(crate) taps_in_block: usize,
    /// Words of an input column under a window.
    tap_words: usize,
    in_c: usize,
    kernel_w: usize,
    out_w: usize,
    /// Output pixels.
    pixels: usize,
}

/// Output pixels of one pass: `first` is the first whose window is packed, all before any of `first`
/// to `end` (excluded) is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NestedPass {
    /// The first pixel.
    pub first: usize,
    /// The pixel after the last.
    pub end: usize,
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

const fn at_least_1(n: usize) -> usize {
    if n == 0 { 1 } else { n }
}

/// The distances of blocks for which the 8-pixel kernel exists: odd, so that neighbouring windows lie
/// in opposite banks of the tightly coupled memory, and three times the distance is in reach of a
/// load's immediate offset.
pub(crate) const P8_BLOCKS: [usize; 4] = [49, 97, 193, 341];
/// The distance for blocks of `words` words.
const fn block_words(tile: Tile, words: usize) -> Option<usize> {
    match tile {
        Tile::P8 => {}
        // Odd, too, and no larger than needed.
        Tile::P4 => return Some(words | 1),
        Tile::P2 => return Some(at_least_1(words)),
    }
    let mut i = 0;
    while i < P8_BLOCKS.len() {
        if words <= P8_BLOCKS[i] {
            return Some(P8_BLOCKS[i]);
        }
        i += 1;
    }
    None
}

impl NestedLayout {
    /// The layout of a layer under a tile; `None` if the tile cannot run it: its windows are too
    /// large, or it has fewer pixels than the tile.
    pub const fn of(g: &Geometry, tile: Tile) -> Option<Self> {
        let pairs = match tile {
            Tile::P8 => 4,
            Tile::P4 => 2,
            Tile::P2 => 1,
        };
        let (kernel_w, out_w) = (g.kernel_w as usize, g.out_w as usize);
        let (in_c, pixels) = (g.in_c as usize, g.out_pixels());
        let tap_words = g.kernel_h as usize * in_c;
        let stride = at_least_1(g.stride_w as usize);
        let mut layout = Self {
            gather: Gather::Windows,
            block_words: 0,
            columns: g.columns(),
            pairs,
            taps_in_block: at_least_1(kernel_w),
            tap_words,
            in_c,
            kernel_w,
            out_w,
            pixels,
        };
        let still = g.kernel_h == 1
            && kernel_w == 1
            && g.stride_h == 1
            && stride == 1
            && g.pad_top == 0
            && g.pad_left == 0
            && g.in_w == g.out_w
            && g.out_h <= g.in_h;
        let lines = (g.dilation_w == 1 || kernel_w == 1)
            && g.out_h >= 2
            && out_w >= pairs
            && tap_words > 0
            && kernel_w > 0;
        if lines && !still {
            let taps = min(stride, kernel_w);
            if let Some(words) = block_words(tile, taps * tap_words) {
                layout.gather = Gather::Lines;
                layout.block_words = words;
                layout.taps_in_block = taps;
                layout.columns = layout.word(0, kernel_w - 1) + tap_words;
                return layout.if_counted();
            }
        }
        if !matches!(tile, Tile::P2) && pixels < 2 * pairs {
            return None;
        }
        if still {
            layout.gather = Gather::Pixels;
        }
        match block_words(tile, layout.columns) {
            Some(words) => layout.block_words = words,
            None => return None,
        }
        layout.if_counted()
    }

    /// Streams count columns in 16 bits.
    const fn if_counted(self) -> Option<Self> {
        if self.columns <= u16::MAX as usize {
            Some(self)
        } else {
            None
        }
    }

    /// The first word of a tap within its window: its channels follow.
    pub const fn word(&self, ky: usize, kx: usize) -> usize {
        match self.gather {
            Gather::Lines => {
                let taps = at_least_1(self.taps_in_block);
                kx / taps * self.block_words + kx % taps * self.tap_words + ky * self.in_c
            }
            Gather::Pixels | Gather::Windows => (ky * self.kernel_w + kx) * self.in_c,
        }
    }

    /// The tap and channel `(ky, kx, ic)` of a word of a window; `None` for words between blocks,
    /// which no weight may meet.
    pub const fn tap(&self, word: usize) -> Option<(usize, usize, usize)> {
        let in_c = at_least_1(self.in_c);
        match self.gather {
            Gather::Lines => {
                let tap_words = at_least_1(self.tap_words);
                let (block, within) = (word / self.block_words, word % self.block_words);
                let tap = within / tap_words;
                let kx = block * self.taps_in_block + tap;
                if tap >= self.taps_in_block || kx >= self.kernel_w {
                    return None;
                }
                Some((within % tap_words / in_c, kx, within % in_c))
            }
            Gather::Pixels | Gather::Windows => {
                let (tap, kernel_w) = (word / in_c, at_least_1(self.kernel_w));
                Some((tap / kernel_w, tap % kernel_w, word % in_c))
            }
        }
    }

    /// What a pass has a whole number of, in tiles: a line of two output rows, or a tile.
    const fn unit_tiles(&self) -> usize {
        match self.gather {
            Gather::Lines => at_least_1(self.out_w.div_ceil(at_least_1(self.pairs))),
            _ => 1,
        }
    }

    /// Output pixels of a unit, except for the last.
    pub(crate) const fn unit_pixels(&self) -> usize {
        match self.gather {
            Gather::Lines => 2 * self.out_w,
            _ => 2 * self.pairs,
        }
    }

    /// Words from a unit to the next.
    pub(crate) const fn unit_words(&self) -> usize {
        match self.gather {
            Gather::Lines => self.out_w.saturating_sub(1) * self.block_words + self.columns,
            _ => self.pairs * self.block_words,
        }
    }

    /// Units of a pass that should have `pass_tiles` tiles: at least one, at most all.
    pub(crate) const fn pass_units(&self, pass_tiles: usize) -> usize {
        let all = self.pixels.div_ceil(at_least_1(self.unit_pixels()));
        at_least_1(min(pass_tiles / self.unit_tiles(), all))
    }

    /// Tiles of all passes together: what [`ConvNested::pass_tiles`] is of any use for.
    pub const fn tiles(&self) -> usize {
        self.pixels.div_ceil(at_least_1(self.unit_pixels())) * self.unit_tiles()
    }

    /// Tiles of a pass, at most.
    pub(crate) const fn tiles_in_pass(&self, pass_tiles: usize) -> usize {
        self.pass_units(pass_tiles) * self.unit_tiles()
    }

    /// A pass; `None` after the last. The kernel packs and writes exactly as this tells, pass by
    /// pass, so that an output may take the place of input which no later pass packs.
    pub const fn pass(&self, pass_tiles: usize, index: usize) -> Option<NestedPass> {
        let step = self.pass_units(pass_tiles) * self.unit_pixels();
        let first = index * step;
        if first >= self.pixels || step == 0 {
            return None;
        }
        let end = min(first + step, self.pixels);
        let first = match self.gather {
            Gather::Lines => first,
            // The last tile overlaps the one before it.
            _ => min(first, self.pixels.saturating_sub(self.unit_pixels())),
        };
        Some(NestedPass { first, end })
    }

    /// Words of scratch before the packed ones: a pass's tiles, the last one twice.
    pub(crate) const fn address_words(&self, pass_tiles: usize) -> usize {
        TILE_WORDS * (self.tiles_in_pass(pass_tiles) + 1)
    }

    /// Words of scratch for passes of `pass_tiles` tiles: the packed blocks, and three words
    /// a tile for addresses.
    pub const fn scratch_words(&self, pass_tiles: usize) -> usize {
        let units = self.pass_units(pass_tiles);
        let packed = match self.gather {
            Gather::Lines => units * self.unit_words(),
            _ => (units * self.pairs - 1) * self.block_words + self.columns,
        };
        packed + self.address_words(pass_tiles)
    }

    /// The most tiles in a pass that `words` of scratch allow, at least one unit's.
    pub const fn pass_tiles_within(&self, words: usize) -> usize {
        let unit = self.unit_words() + TILE_WORDS * self.unit_tiles();
        let units = words.saturating_sub(TILE_WORDS) / at_least_1(unit);
        self.tiles_in_pass(units * self.unit_tiles())
    }
}

/// Words of scratch for a tile's addresses.
const TILE_WORDS: usize = 3;

impl ConvNested<'_> {
    /// The layer's layout; `None` if its tile cannot run it.
    pub const fn layout(&self) -> Option<NestedLayout> {
        NestedLayout::of(&self.geometry, self.tile)
    }
}

impl ConvCompact<'_> {
    /// The layer's layout; `None` if its tile cannot run it.
    pub const fn layout(&self) -> Option<NestedLayout> {
        NestedLayout::of(&self.geometry, self.tile)
    }
}

/// Scratch of [`crate::conv_compact`], in words: that of [`crate::conv_nested`], a count for each row
/// and the expanded rows.
pub const fn conv_compact_scratch_words(
    g: &Geometry,
    tile: Tile,
    pass_tiles: u16,
    buffer_words: u16,
) -> usize {
    conv_nested_scratch_words(g, tile, pass_tiles)
        + (g.out_c as usize).div_ceil(2)
        + buffer_words as usize
}

/// Scratch of [`crate::conv_nested`], in words; 0 for a layer that the tile cannot run.
pub const fn conv_nested_scratch_words(g: &Geometry, tile: Tile, pass_tiles: u16) -> usize {
    match NestedLayout::of(g, tile) {
        Some(layout) => layout.scratch_words(pass_tiles as usize),
        None => 0,
    }
}
