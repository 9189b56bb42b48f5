//! Convolution with dense weights over packed activations: passes of as many tiles as the layer says,
//! all rows of weights over each pass.

use core::arch::global_asm;

use nest_format::Requant;

use super::maps::Maps;
use super::pack16::Packer16;
use crate::check::{AtLevel, checked, refuse};
use crate::dense_layout::{DensePasses, TILE, conv_dense_scratch_words, gather_words, tile_words};
use crate::layer::ConvDense;

global_asm!(include_str!("conv_dense.s"), options(raw));

/// Arguments of `conv_dense.s`.
#[repr(C)]
struct Pass {
    words: *const u32,
    blocks: usize,
    rows: usize,
    requant: *const Requant,
    tiles: *const u32,
    tiles_end: *const u32,
    step: usize,
    zero: i32,
    entry: u32,
    to_end: usize,
    first: isize,
    pair_step: isize,
    pairs_end: isize,
}

impl Pass {
    /// What, added to itself, sets the flags by which the loop over blocks, eight at a time and without
    /// the last one, is entered.
    const fn entry(blocks: usize) -> u32 {
        match (blocks.wrapping_sub(1), blocks.wrapping_sub(1) % 8) {
            (0, _) => 1,           // not at all: no flag
            (_, 7) => 0x8000_0001, // C
            (_, 3) => 0x8000_0000, // C, Z
            (_, 1) => 0,           // Z
            _ => 0x4000_0000,      // N: `to_end` tells
        }
    }
}

unsafe extern "C" {
    fn nest_kernels_conv_dense(pass: *const Pass);
}

/// Convolution with dense weights at a level; slices as in [`conv_nested`], `scratch` holds
/// [`crate::conv_dense_scratch_words`] words.
///
/// [`conv_nested`]: crate::conv_nested
pub fn conv_dense(
    layer: &ConvDense<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    run(layer, at, Maps::apart(input, output), scratch);
}

/// [`conv_dense`] with the output at the start of `data` and the input `input_at` elements from
/// there on, at least [`crate::conv_dense_least_distance`]; `data` ends with the later of both.
pub fn conv_dense_in_place(
    layer: &ConvDense<'_>,
    level: usize,
    data: &mut [i8],
    input_at: usize,
    scratch: &mut [u32],
) {
    let g = &layer.geometry;
    let (input, output) = checked!(crate::overlap::parts(g, data, input_at));
    let at = checked!(layer.check(level, input, output));
    debug_assert!(input_at >= crate::conv_dense_least_distance(g, layer.pass_tiles));
    let maps = checked!(Maps::in_place(g, data, input_at));
    run(layer, at, maps, scratch);
}

/// Runs a layer that `check` has seen on maps of its extents.
fn run(layer: &ConvDense<'_>, at: AtLevel<'_>, maps: Maps<'_>, scratch: &mut [u32]) {
    let g = &layer.geometry;
    if scratch.len() < conv_dense_scratch_words(g, layer.pass_tiles) {
        return refuse();
    }
    let columns = g.columns();
    let rows = g.out_c as usize;
    if rows == 0 {
        return;
    }
    if columns == 0 {
        // No block to run: every sum is 0.
        for pixel in 0..g.out_pixels() {
            for (row, requant) in at.requant.iter().enumerate() {
                let out = maps.output.wrapping_add(pixel * rows + row);
                // SAFETY: an element of the output, which `check` saw to have these extents.
                unsafe { out.write(requant.apply(0, at.zero)) };
            }
        }
        return;
    }
    let lone = rows == 1;
    let twice = match at.requant {
        [only] => [*only; 2],
        _ => [Requant::new(0, 0); 2],
    };
    let requant = if lone { &twice } else { at.requant };

    let blocks = columns.div_ceil(4);
    let tile_words = tile_words(columns);
    let passes = DensePasses::new(g.out_pixels(), layer.pass_tiles);
    let advance = passes.advance();
    let tiles = scratch.as_mut_ptr();
    let tile_at = |tile: usize| tiles.wrapping_add(tile * tile_words);
    // After the tiles: what `conv_dense_scratch_words` adds to them.
    let bytes = tile_at(passes.most_tiles());
    let lone_pairs = bytes.wrapping_add(gather_words(g)).cast::<i8>();
    let bytes = bytes.cast::<i8>();
    let mut packer = Packer16::new(g, maps.input, at.pad);
    let pairs = rows.div_ceil(2) as isize;
    let mut back = false;
    for pass in passes {
        // The last tile reaches back into the one before it.
        let pixel_of = |tile: usize| (pass.first + tile * advance).min(pass.end - advance);
        let whole = (pass.end - pass.first) / advance;
        let mut packed = 0;
        while packed < pass.tiles {
            let (pixel, tile) = (pixel_of(packed), tile_at(packed));
            // SAFETY: the tiles' words, which scratch was seen to have, and those for gathering after
            // the last of them; the pixels come before the pass's end.
            unsafe {
                if advance == TILE {
                    let tiles = whole.saturating_sub(packed).max(1);
                    packed += packer.tiles(pixel, tiles, tile, tile_words, bytes);
                } else {
                    for lane in 0..TILE {
                        packer.pixel(pixel, tile.wrapping_add(lane), bytes);
                    }
                    packed += 1;
                }
            }
        }
        for tile in 0..pass.tiles {
            let pixel = pixel_of(tile);
            let to = if lone {
                lone_pairs.wrapping_add(2 * (pixel - pass.first))
            } else {
                maps.output.wrapping_add(pixel * rows)
            };
            // SAFETY: the last word of the tile.
            unsafe { tile_at(tile + 1).wrapping_sub(1).write(to as u32) };
        }
        let (first, pair_step, pairs_end) = match back {
            false => (0, 1, pairs),
            true => (pairs - 1, -1, -1),
        };
        back = !back;
        let args = Pass {
            words: layer.weights.words().as_ptr(),
            blocks,
            rows: rows.max(2),
            requant: requant.as_ptr(),
            tiles,
            tiles_end: tile_at(pass.tiles),
            step: match (advance, lone) {
                (1, _) => 0,
                (_, true) => 2,
                (_, false) => rows,
            },
            zero: at.zero.into(),
            entry: Pass::entry(blocks),
            to_end: (blocks - 1) % 8,
            first,
            pair_step,
            pairs_end,
        };
        // SAFETY: `check` saw as many rows of weights and of `requant` as channels; the weights'
        // constructor, that they hold `blocks` blocks a row pair; a tile has that many columns, and
        // its last pixel lies inside the output, or inside the pairs after the tiles.
        unsafe { nest_kernels_conv_dense(&args) };
        if lone {
            for at in 0..pass.end - pass.first {
                let out = maps.output.wrapping_add(pass.first + at);
                // SAFETY: the kernel wrote a pair for each of the pass's pixels, which the output
                // has.
                unsafe { out.write(lone_pairs.wrapping_add(2 * at).read()) };
            }
        }
    }
}
