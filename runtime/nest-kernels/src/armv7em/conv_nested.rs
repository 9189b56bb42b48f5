//! Convolution with nested sparse weights over packed activations: passes of as many tiles as the
//! layer tells, all rows of weights over each pass.

use core::arch::global_asm;

use nest_format::Requant;

use super::maps::Maps;
use super::pack::Packer;
use crate::check::{AtLevel, checked, refuse};
use crate::layer::{ConvNested, Geometry, Tile};
use crate::nested_layout::{Gather, NestedLayout, NestedPass};

global_asm!(include_str!("conv_nested.s"), options(raw));

/// A tile: the first window, and channel 0 of the output pixels of its first pair.
#[repr(C)]
struct TileAt {
    window: *const u32,
    first: *mut i8,
    second: *mut i8,
}

/// Arguments of `conv_nested.s`.
#[repr(C)]
pub(super) struct PassArgs {
    pub words: *const u32,
    pub active: *const u8,
    pub stored: *const u8,
    pub rows: usize,
    pub requant: *const Requant,
    tiles: *const TileAt,
    tiles_end: *const TileAt,
    step: usize,
    zero: i32,
    /// The first row's channel.
    pub row: usize,
    /// Bytes of a number in `active` and `stored`.
    pub count_width: usize,
    /// Bytes from a window to the next.
    distance: usize,
}

pub(super) type RunPass = unsafe extern "C" fn(*const PassArgs);

unsafe extern "C" {
    fn nest_kernels_conv_nested_p8_49(pass: *const PassArgs);
    fn nest_kernels_conv_nested_p8_97(pass: *const PassArgs);
    fn nest_kernels_conv_nested_p8_193(pass: *const PassArgs);
    fn nest_kernels_conv_nested_p8_341(pass: *const PassArgs);
    fn nest_kernels_conv_nested_p4(pass: *const PassArgs);
    fn nest_kernels_conv_nested_p2(pass: *const PassArgs);
}

/// The assembly for a tile whose windows lie `block_words` apart.
fn assembly(tile: Tile, block_words: usize) -> RunPass {
    match (tile, block_words) {
        (Tile::P8, 49) => nest_kernels_conv_nested_p8_49,
        (Tile::P8, 97) => nest_kernels_conv_nested_p8_97,
        (Tile::P8, 193) => nest_kernels_conv_nested_p8_193,
        (Tile::P8, _) => nest_kernels_conv_nested_p8_341,
        (Tile::P4, _) => nest_kernels_conv_nested_p4,
        (Tile::P2, _) => nest_kernels_conv_nested_p2,
    }
}

/// Convolution with nested sparse weights at a level. `input` is `[in_h][in_w][in_c]`, `output`
/// `[out_h][out_w][out_c]`; `scratch` holds [`crate::conv_nested_scratch_words`] words.
///
/// A layer that its tile cannot run ([`NestedLayout::of`]) is refused like wrong lengths are.
pub fn conv_nested(
    layer: &ConvNested<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    run(layer, level, at, Maps::apart(input, output), scratch);
}

/// [`conv_nested`] with the output at the start of `data` and the input `input_at` elements from
/// there on, at least [`crate::conv_nested_least_distance`]; `data` ends with the later of both.
pub fn conv_nested_in_place(
    layer: &ConvNested<'_>,
    level: usize,
    data: &mut [i8],
    input_at: usize,
    scratch: &mut [u32],
) {
    let g = &layer.geometry;
    let (input, output) = checked!(crate::overlap::parts(g, data, input_at));
    let at = checked!(layer.check(level, input, output));
    debug_assert!(
        crate::conv_nested_least_distance(g, layer.tile, layer.pass_tiles)
            .is_some_and(|least| input_at >= least)
    );
    let maps = checked!(Maps::in_place(g, data, input_at));
    run(layer, level, at, maps, scratch);
}

/// Runs a layer that `check` has seen on maps of its extents.
fn run(layer: &ConvNested<'_>, level: usize, at: AtLevel<'_>, maps: Maps<'_>, scratch: &mut [u32]) {
    let layout = checked!(layer.layout());
    let packed = Packed {
        geometry: &layer.geometry,
        layout,
        tile: layer.tile,
        pass_tiles: layer.pass_tiles.into(),
        at,
    };
    packed.passes(maps, scratch, &mut |run, args| {
        args.words = layer.stream.words().as_ptr();
        args.active = layer.stream.prefix(level).as_ptr();
        args.count_width = layer.stream.prefix(level).width();
        args.stored = layer.stream.prefix(layer.stream.levels() - 1).as_ptr();
        // SAFETY: `check` saw as many rows in the stream and in `requant` as channels; the stream's
        // constructor, that its counts and columns stay inside words and windows; tiles lie as many
        // pixels before the end of the output as the kernel writes.
        unsafe { run(args) };
    });
}

/// A convolution over packed activations, whatever its weights are stored as.
pub(super) struct Packed<'a> {
    pub geometry: &'a Geometry,
    pub layout: NestedLayout,
    pub tile: Tile,
    pub pass_tiles: usize,
    pub at: AtLevel<'a>,
}

impl Packed<'_> {
    /// Packs pass after pass, each of which `weigh` takes the rows of weights over: it is given the
    /// assembly of the tile and its arguments, all but the words and their counts.
    pub fn passes(
        &self,
        maps: Maps<'_>,
        scratch: &mut [u32],
        weigh: &mut dyn FnMut(RunPass, &mut PassArgs),
    ) {
        let (g, layout, pass_tiles, at) = (self.geometry, self.layout, self.pass_tiles, self.at);
        if scratch.len() < layout.scratch_words(pass_tiles) {
            return refuse();
        }
        let rows = g.out_c as usize;
        if rows == 0 || g.out_pixels() == 0 {
            return;
        }
        let run = assembly(self.tile, layout.block_words);
        let mut packer = Packing {
            layout: &layout,
            rows,
            output: maps.output,
            tile: scratch.as_mut_ptr().cast(),
            words: scratch
                .as_mut_ptr()
                .wrapping_add(layout.address_words(pass_tiles)),
        };
        let (tiles, words) = (packer.tile, packer.words);
        let input = Packer::new(g, &layout, maps.input, at.pad);
        let mut index = 0;
        while let Some(pass) = layout.pass(pass_tiles, index) {
            (packer.tile, packer.words) = (tiles, words);
            // SAFETY: scratch was seen to hold the addresses and the words of a pass's tiles.
            let step = unsafe {
                match layout.gather {
                    Gather::Lines => packer.lines(&input, pass),
                    Gather::Pixels | Gather::Windows => packer.pairs(&input, pass),
                }
            };
            // SAFETY: scratch has room for one more than the tiles of a pass; there is a last one.
            unsafe { packer.tile.copy_from(packer.tile.wrapping_sub(1), 1) };
            let mut args = PassArgs {
                words: core::ptr::null(),
                active: core::ptr::null(),
                stored: core::ptr::null(),
                rows,
                requant: at.requant.as_ptr(),
                tiles,
                tiles_end: packer.tile,
                step,
                zero: at.zero.into(),
                row: 0,
                count_width: 2,
                distance: layout.block_words * size_of::<u32>(),
            };
            weigh(run, &mut args);
            index += 1;
        }
    }
}

/// Where the next tile of a pass goes.
struct Packing<'a> {
    layout: &'a NestedLayout,
    /// Output channels.
    rows: usize,
    output: *mut i8,
    tile: *mut TileAt,
    words: *mut u32,
}

impl Packing<'_> {
    /// Adds the tile whose first pair is of output pixels `first` and `second`.
    ///
    /// # Safety
    /// Scratch holds one more tile.
    unsafe fn push(&mut self, window: *const u32, first: usize, second: usize) {
        let output = |pixel: usize| self.output.wrapping_add(pixel * self.rows);
        let tile = TileAt {
            window,
            first: output(first),
            second: output(second),
        };
        // SAFETY: by contract; pointers take a word each.
        unsafe { self.tile.write(tile) };
        self.tile = self.tile.wrapping_add(1);
    }

    /// Lines of two output rows. Returns, as [`Self::pairs`] does, the bytes from the output of a pair
    /// to that of the next.
    ///
    /// # Safety
    /// Scratch holds the tiles of the pass.
    unsafe fn lines(&mut self, input: &Packer<'_>, pass: NestedPass) -> usize {
        let (layout, pairs) = (self.layout, self.layout.pairs);
        let out_w = layout.unit_pixels() / 2;
        let (mut pixel, mut y) = (pass.first, pass.first / out_w.max(1));
        while pixel < pass.end {
            // An odd row at the end goes with itself.
            let single = pixel + out_w >= pass.end;
            let below = if single { 0 } else { out_w };
            // Every pass finds the sides of its lines where the first one left them.
            let sides = pass.first == 0;
            // SAFETY: `y` and the next are rows of the pass; the words are the unit's.
            unsafe { input.line(y, y + usize::from(!single), sides, self.words) };
            let mut x = 0;
            while x < out_w {
                let at = x.min(out_w.saturating_sub(pairs));
                let window = self.words.wrapping_add(at * layout.block_words);
                // SAFETY: one of the pass's tiles.
                unsafe { self.push(window, pixel + at, pixel + at + below) };
                x += pairs;
            }
            self.words = self.words.wrapping_add(layout.unit_words());
            pixel += 2 * out_w;
            y += 2;
        }
        self.rows
    }

    /// Tiles of neighbouring pixels.
    ///
    /// # Safety
    /// Scratch holds the tiles of the pass.
    unsafe fn pairs(&mut self, input: &Packer<'_>, pass: NestedPass) -> usize {
        let layout = self.layout;
        let tile_pixels = layout.unit_pixels();
        // A single pixel is a pair with itself.
        let second = usize::from(pass.end > 1);
        let mut pixel = pass.first;
        while pixel < pass.end {
            // The last tile overlaps the one before it.
            let first = pixel.min(pass.end.saturating_sub(tile_pixels));
            let second = first + second;
            // SAFETY: one of the pass's tiles, whose words follow; its pixels lie in the output.
            unsafe {
                if let Gather::Pixels = layout.gather {
                    input.pixels(first, second, self.words);
                } else {
                    input.windows(first, second, self.words);
                }
                self.push(self.words, first, second);
            }
            self.words = self.words.wrapping_add(layout.unit_words());
            pixel += tile_pixels;
        }
        2 * self.rows
    }
}
