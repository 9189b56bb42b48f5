//! Convolution with nested sparse weights over packed activations: passes of as many tiles as scratch
//! holds, all rows of weights over each pass.

use core::arch::global_asm;

use nest_format::Requant;

use super::pack::{Packer, Step};
use super::tiles::{TileAt, Tiles};
use crate::check::{checked, refuse};
use crate::layer::{ConvNested, Tile};
use crate::scratch::{conv_nested_scratch_words, effective_tile, nested_layout, pixels_of};

global_asm!(include_str!("conv_nested.s"), options(raw));

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
    zero: i32,
}

unsafe extern "C" {
    fn nest_kernels_conv_nested_p8(pass: *const NestedPass);
    fn nest_kernels_conv_nested_p4_577(pass: *const NestedPass);
    fn nest_kernels_conv_nested_p4_1023(pass: *const NestedPass);
    fn nest_kernels_conv_nested_p2(pass: *const NestedPass);
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
            zero: at.zero.into(),
        };
        // SAFETY: `check` saw as many rows in the stream and in `requant` as channels; the stream's
        // constructor, that its counts and columns stay inside words and planes; tiles are as many
        // pixels apart from the end of the output as the kernel writes.
        unsafe { run(&pass) };
    }
}
