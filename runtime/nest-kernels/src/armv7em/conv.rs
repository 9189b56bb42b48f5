//! Convolutions over packed activations: passes of as many tiles as scratch holds, all rows of
//! weights over each pass.

use core::arch::global_asm;
use core::mem::MaybeUninit;

use nest_format::Requant;

use super::pack::{Packer, Step};
use super::window::Pixels;
use crate::check::{checked, refuse};
use crate::layer::{ConvDense, ConvNested, Tile};
use crate::scratch::{
    MAX_TILES, conv_dense_scratch_words, conv_nested_scratch_words, dense_tile_words, dense_tiles,
    effective_tile, nested_layout, pixels_of,
};

global_asm!(include_str!("conv_nested.s"), options(raw));
global_asm!(include_str!("conv_dense.s"), options(raw));

/// A tile: its packed activations, and channel 0 of its first output pixel.
#[repr(C)]
#[derive(Clone, Copy)]
struct TileAt {
    activations: *const u32,
    output: *mut i8,
}

/// The tiles of a pass.
struct Tiles {
    at: [MaybeUninit<TileAt>; MAX_TILES],
    len: usize,
}

impl Tiles {
    const fn new() -> Self {
        Self {
            at: [MaybeUninit::uninit(); MAX_TILES],
            len: 0,
        }
    }
    fn push(&mut self, tile: TileAt) {
        if let Some(at) = self.at.get_mut(self.len) {
            at.write(tile);
            self.len += 1;
        }
    }
    fn ends(&self) -> (*const TileAt, *const TileAt) {
        let start = self.at.as_ptr().cast::<TileAt>();
        (start, start.wrapping_add(self.len))
    }
}

/// Arguments of `conv_nested.s`.
#[repr(C)]
struct NestedPass {
    words: *const u32,
    active: *const u16,
    stored: *const u16,
    rows: usize,
    requant: *const Requant,
    tiles: *const TileAt,
    tiles_end: *const TileAt,
    step: usize,
}

/// Arguments of `conv_dense.s`.
#[repr(C)]
struct DensePass {
    words: *const u32,
    blocks: usize,
    rows: usize,
    requant: *const Requant,
    tiles: *const TileAt,
    tiles_end: *const TileAt,
    step: usize,
}

unsafe extern "C" {
    fn nest_kernels_conv_nested_p8(pass: *const NestedPass);
    fn nest_kernels_conv_nested_p4_577(pass: *const NestedPass);
    fn nest_kernels_conv_nested_p4_1023(pass: *const NestedPass);
    fn nest_kernels_conv_nested_p2(pass: *const NestedPass);
    fn nest_kernels_conv_dense(pass: *const DensePass);
}

/// Convolution with nested sparse weights at a level. `input` is `[in_h][in_w][in_c]`, `output`
/// `[out_h][out_w][out_c]`; `scratch` holds [`crate::conv_nested_scratch_words`] words.
///
/// A layer with more columns than its tile can serve ([`crate::max_columns`]) is refused like wrong
/// lengths are.
pub fn conv_nested(
    layer: &ConvNested<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let g = &layer.geometry;
    let columns = g.columns();
    let pixels = g.out_pixels();
    let tile = effective_tile(layer.tile, pixels);
    if columns > crate::max_columns(tile)
        || scratch.len() < conv_nested_scratch_words(g, layer.tile)
    {
        return refuse();
    }
    let rows = g.out_c as usize;
    if rows == 0 || pixels == 0 {
        return;
    }
    let layout = nested_layout(tile, columns, pixels);
    let run: unsafe extern "C" fn(*const NestedPass) = match tile {
        Tile::P8 => nest_kernels_conv_nested_p8,
        Tile::P4 if layout.plane_stride == 577 => nest_kernels_conv_nested_p4_577,
        Tile::P4 => nest_kernels_conv_nested_p4_1023,
        Tile::P2 => nest_kernels_conv_nested_p2,
    };
    let per_tile = pixels_of(tile);
    // Never 0, which the compiler does not know.
    let per_block = layout.per_block.max(1);
    let mut packer = Packer::new(g, input, at.pad, Step::Plane);
    // A single pixel fills its tile twice, both results at one place.
    let step = if pixels == 1 { 0 } else { rows };
    let (scratch, output) = (scratch.as_mut_ptr(), output.as_mut_ptr());
    let mut next = 0;
    while next < pixels {
        let mut tiles = Tiles::new();
        while next < pixels && tiles.len < layout.tiles {
            // The last tile overlaps the one before it.
            let first = next.min(pixels.saturating_sub(per_tile));
            let base = tiles.len / per_block * layout.block_words + tiles.len % per_block * columns;
            let activations = scratch.wrapping_add(base);
            for plane in 0..per_tile / 2 {
                let pixel = first + 2 * plane;
                let to = activations.wrapping_add(plane * layout.plane_stride);
                // SAFETY: the layout's words, which scratch was seen to have, hold `columns` words
                // from there on.
                unsafe { packer.pair(pixel, (pixel + 1).min(pixels - 1), to) };
            }
            tiles.push(TileAt {
                activations,
                output: output.wrapping_add(first * rows),
            });
            next += per_tile;
        }
        let (tiles, tiles_end) = tiles.ends();
        let pass = NestedPass {
            words: layer.stream.words().as_ptr(),
            active: layer.stream.prefix(level).as_ptr(),
            stored: layer.stream.prefix(layer.stream.levels() - 1).as_ptr(),
            rows,
            requant: at.requant.as_ptr(),
            tiles,
            tiles_end,
            step,
        };
        // SAFETY: `check` saw as many rows in the stream and in `requant` as channels; the stream's
        // constructor, that its counts and columns stay inside words and planes; tiles are as many
        // pixels apart from the end of the output as the kernel writes.
        unsafe { run(&pass) };
    }
}

/// Convolution with dense weights at a level; slices as in [`conv_nested`], `scratch` holds
/// [`crate::conv_dense_scratch_words`] words.
pub fn conv_dense(
    layer: &ConvDense<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let g = &layer.geometry;
    if scratch.len() < conv_dense_scratch_words(g) {
        return refuse();
    }
    let columns = g.columns();
    let pixels = g.out_pixels();
    let rows = g.out_c as usize;
    if rows == 0 || pixels == 0 {
        return;
    }
    if columns == 0 {
        // No block to run: every sum is 0.
        for pixel in Pixels::of(output, rows) {
            for (out, requant) in pixel.iter_mut().zip(at.requant) {
                *out = requant.apply(0);
            }
        }
        return;
    }
    let tile_words = dense_tile_words(columns);
    let pass_tiles = dense_tiles(columns, pixels);
    let mut packer = Packer::new(g, input, at.pad, Step::Pairs);
    // Fewer pixels than a tile: each fills a tile of its own, all results at one place.
    let (step, advance) = if pixels < 4 { (0, 1) } else { (rows, 4) };
    let (scratch, output) = (scratch.as_mut_ptr(), output.as_mut_ptr());
    let mut next = 0;
    while next < pixels {
        let mut tiles = Tiles::new();
        while next < pixels && tiles.len < pass_tiles {
            let first = next.min(pixels.saturating_sub(advance));
            let activations = scratch.wrapping_add(tiles.len * tile_words);
            let apart = usize::from(advance > 1);
            for half in 0..2 {
                let pixel = first + 2 * half * apart;
                // SAFETY: a tile has two words for each column, which scratch was seen to have.
                unsafe { packer.pair(pixel, pixel + apart, activations.wrapping_add(half)) };
            }
            tiles.push(TileAt {
                activations,
                output: output.wrapping_add(first * rows),
            });
            next += advance;
        }
        let (tiles, tiles_end) = tiles.ends();
        let pass = DensePass {
            words: layer.weights.words().as_ptr(),
            blocks: columns.div_ceil(4),
            rows,
            requant: at.requant.as_ptr(),
            tiles,
            tiles_end,
            step,
        };
        // SAFETY: `check` saw as many rows of weights and of `requant` as channels; the weights'
        // constructor, that they hold `blocks` blocks a row pair; a tile has that many columns, and
        // its last pixel lies inside the output.
        unsafe { nest_kernels_conv_dense(&pass) };
    }
}
