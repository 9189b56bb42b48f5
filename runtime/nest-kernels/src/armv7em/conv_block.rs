//! Convolution over 1x4 blocks: passes of as many tiles as the layer says, all rows over each pass.

use core::arch::global_asm;

use nest_format::Requant;

use super::window::{Window, Windows};
use crate::block_layout::{PIXELS, block_advance, block_pass_tiles, conv_block_scratch_words};
use crate::check::{checked, refuse};
use crate::layer::{ConvBlock, Geometry};

global_asm!(include_str!("conv_block.s"), options(raw));

/// A tile: its activations, and channel 0 of its first output pixel.
#[repr(C)]
struct TileAt {
    activations: *const u32,
    output: *mut i8,
}

/// Arguments of `conv_block.s`.
#[repr(C)]
struct BlockPass {
    words: *const u32,
    steps: *const i8,
    active: *const u16,
    stored: *const u16,
    rows: usize,
    requant: *const Requant,
    tiles: *const TileAt,
    tiles_end: *const TileAt,
    step: usize,
    zero: i32,
    row: usize,
}

unsafe extern "C" {
    fn nest_kernels_conv_block(pass: *const BlockPass);
    fn nest_kernels_pack_blocks(from: *const i8, words: usize, to: *mut u32);
}

/// Convolution with 1x4 blocks of sparse weights at a level; slices as in [`super::conv_nested`],
/// `scratch` holds [`crate::conv_block_scratch_words`] words. Input channels come in fours.
pub fn conv_block(
    layer: &ConvBlock<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let g = &layer.geometry;
    if scratch.len() < conv_block_scratch_words(g, layer.pass_tiles) {
        return refuse();
    }
    let (rows, pixels) = (g.out_c as usize, g.out_pixels());
    if rows == 0 || pixels == 0 {
        return;
    }
    let (advance, most) = (
        block_advance(pixels),
        block_pass_tiles(pixels, layer.pass_tiles),
    );
    let tiles = scratch.as_mut_ptr().cast::<TileAt>();
    let words = scratch.as_mut_ptr().wrapping_add(2 * most);
    let tile_words = g.columns() / 2 * PIXELS;
    let packer = Packer::new(g, input, at.pad);
    let output = output.as_mut_ptr();
    let mut next = 0;
    while next < pixels {
        let (mut tile, mut to, mut count) = (tiles, words, 0);
        while next < pixels && count < most {
            // The last tile reaches back into the one before it.
            let first = next.min(pixels - advance);
            for lane in 0..PIXELS {
                let lane_to = to.wrapping_add(2 * lane);
                // SAFETY: the pixel is one of the output; the words are the tile's, which scratch
                // was seen to have.
                unsafe { packer.pixel(first + lane % advance, lane_to) };
            }
            let at = TileAt {
                activations: to,
                output: output.wrapping_add(first * rows),
            };
            // SAFETY: scratch holds two words for each tile before the activations.
            unsafe { tile.write(at) };
            (tile, to, count) = (tile.wrapping_add(1), to.wrapping_add(tile_words), count + 1);
            next += advance;
        }
        let pass = BlockPass {
            words: layer.stream.words().as_ptr(),
            steps: layer.stream.steps().as_ptr(),
            active: layer.stream.prefix(level).as_ptr(),
            stored: layer.stream.prefix(layer.stream.levels() - 1).as_ptr(),
            rows,
            requant: at.requant.as_ptr(),
            tiles,
            tiles_end: tile,
            step: if advance == 1 { 0 } else { rows },
            zero: at.zero.into(),
            row: 0,
        };
        // SAFETY: `check` saw as many rows in the stream and in `requant` as channels; the stream's
        // constructor, that its counts and blocks stay inside streams and columns; tiles hold all
        // columns, and their pixels lie inside the output.
        unsafe { nest_kernels_conv_block(&pass) };
    }
}

/// Channels of padding at hand, a multiple of 4.
const PADDING: usize = 64;

/// Packs pixels of one input map.
struct Packer<'a> {
    windows: Windows<'a>,
    input: &'a [i8],
    padding: [i8; PADDING],
}

impl<'a> Packer<'a> {
    fn new(geometry: &'a Geometry, input: &'a [i8], pad: i8) -> Self {
        Self {
            windows: Windows::new(geometry),
            input,
            padding: [pad; PADDING],
        }
    }

    /// Packs the window of an output pixel.
    ///
    /// # Safety
    /// The output has this pixel; from `to` on, the first two of every 8 words can be written for each
    /// 4 columns.
    unsafe fn pixel(&self, pixel: usize, mut to: *mut u32) {
        let g = self.windows.geometry;
        let (in_c, kernel_w) = (g.in_c as usize, g.kernel_w as usize);
        let out_w = g.out_w.max(1) as usize;
        let window = self.windows.at(pixel / out_w, pixel % out_w);
        let side = g.dilation_w == 1
            && window.x >= 0
            && window.x + kernel_w as i32 <= g.in_w as i32
            && kernel_w * in_c > 0;
        for ky in 0..g.kernel_h as usize {
            match self.windows.row(window, ky) {
                Some(row) if side => {
                    let from = row + window.x as usize * in_c;
                    // SAFETY: all taps of the row lie side by side in the input.
                    unsafe { self.run(Some(from), kernel_w * in_c, to) };
                }
                row => {
                    for kx in 0..kernel_w {
                        let tap = self.tap(row, window, kx);
                        // SAFETY: a tap inside the input, or padding; its part of the words.
                        unsafe { self.run(tap, in_c, to.wrapping_add(kx * in_c * 2)) };
                    }
                }
            }
            to = to.wrapping_add(kernel_w * in_c * 2);
        }
    }

    fn tap(&self, row: Option<usize>, window: Window, kx: usize) -> Option<usize> {
        Some(row? + self.windows.column(window, kx)?)
    }

    /// Packs `n` elements from `from` on, or of padding.
    ///
    /// # Safety
    /// They lie in the input; `to` as in [`Self::pixel`].
    unsafe fn run(&self, from: Option<usize>, n: usize, to: *mut u32) {
        match from {
            Some(from) if n > 0 => {
                let from = self.input.as_ptr().wrapping_add(from);
                // SAFETY: by contract; `n` is a multiple of 4.
                unsafe { nest_kernels_pack_blocks(from, n / 4, to) };
            }
            Some(_) => {}
            None => {
                for at in (0..n).step_by(PADDING) {
                    let words = PADDING.min(n - at) / 4;
                    let to = to.wrapping_add(2 * at);
                    // SAFETY: as much padding is at hand; by contract.
                    unsafe { nest_kernels_pack_blocks(self.padding.as_ptr(), words, to) };
                }
            }
        }
    }
}
