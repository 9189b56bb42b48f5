//! Convolution with dense weights over packed activations: passes of as many tiles as scratch holds,
//! all rows of weights over each pass.

use core::arch::global_asm;

use nest_format::Requant;

use super::pack::{Packer, Step};
use super::tiles::{TileAt, Tiles};
use super::window::Pixels;
use crate::check::{checked, refuse};
use crate::layer::ConvDense;
use crate::scratch::{conv_dense_scratch_words, dense_tile_words, dense_tiles};

global_asm!(include_str!("conv_dense.s"), options(raw));

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
    zero: i32,
}

unsafe extern "C" {
    fn nest_kernels_conv_dense(pass: *const DensePass);
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
                *out = requant.apply(0, at.zero);
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
            zero: at.zero.into(),
        };
        // SAFETY: `check` saw as many rows of weights and of `requant` as channels; the weights'
        // constructor, that they hold `blocks` blocks a row pair; a tile has that many columns, and
        // its last pixel lies inside the output.
        unsafe { nest_kernels_conv_dense(&pass) };
    }
}
