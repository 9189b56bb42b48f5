//! What a layer costs, before anything is built: cycles from its geometry, its stored weights and
//! the tile of its kernel.
//!
//! A convolution over packed activations runs in passes. A pass packs some tiles of pixels, then
//! takes all rows of weights over them, so that its cycles are
//!
//! ```text
//! pack * columns * pixels                       gathering windows
//! + row * rows * passes                         starting a row of weights
//! + tile * rows * tiles                         starting a tile, requantising its pixels
//! + entry * (stored entries of the level) * tiles
//! + fetching the weights from flash: once, or in every pass if they exceed the cache
//! ```
//!
//! The constants are fitted to the emulator's expected setting with code in ITCM, activations in
//! DTCM and weights in cached flash; the bench prints estimate and measurement side by side, and a
//! test holds their distance.

use nest_kernels::layer::{Geometry, Tile};
use nest_kernels::{DensePasses, DepthwiseStrips, Gather, NestedLayout};

use crate::ir::program::{EncodedStream, Payload};
use crate::units::Cycles;

/// Cycles of a line fill from flash, and its bytes.
const FLASH_FILL: f64 = 38.0;
const LINE: f64 = 32.0;
/// Bytes of a stream that stay in the data cache from one pass to the next.
const CACHED: f64 = 12_288.0;

/// Rates of a kernel over packed activations, in cycles.
struct Packed {
    /// A packed word.
    pack: f64,
    /// Starting a row of weights in a pass.
    row: f64,
    /// Starting a tile, and requantising its pixels.
    tile: f64,
    /// A stored entry over a tile.
    entry: f64,
}

const NESTED_P8: Packed = Packed {
    pack: 1.0,
    row: 55.0,
    tile: 55.0,
    entry: 6.48,
};
const NESTED_P4: Packed = Packed {
    pack: 1.0,
    row: 40.0,
    tile: 55.0,
    entry: 3.75,
};
const NESTED_P2: Packed = Packed {
    pack: 1.0,
    row: 40.0,
    tile: 45.0,
    entry: 3.0,
};
/// Rows in pairs over tiles of 3 pixels: 12.25 cycles for 4 columns of the pair. Entries are the weights
/// as stored, those that fill up rows and columns included.
const DENSE: Packed = Packed {
    pack: 1.25,
    row: 20.0,
    tile: 12.5,
    entry: 12.25 / 8.0,
};
/// What packing a column takes more where channels do not come in words.
const DENSE_GATHER: f64 = 3.0;

/// Estimated cycles of a step at a level.
///
/// # Panics
/// If the payload has no such level.
pub fn cycles(payload: &Payload, output: usize, level: usize) -> Cycles {
    let outputs = output as f64;
    let cycles = match payload {
        Payload::ConvNested {
            geometry,
            stream,
            tile,
            pass_tiles,
            ..
        } => {
            let rates = match tile {
                Tile::P8 => &NESTED_P8,
                Tile::P4 => &NESTED_P4,
                Tile::P2 => &NESTED_P2,
            };
            let (packed, tiles, passes) = work(geometry, *tile, *pass_tiles);
            let entries = 2.0 * active_words(stream, level);
            rates.cycles(geometry, packed, tiles, passes, entries, 2.0 * entries)
        }
        Payload::ConvDense {
            geometry,
            words,
            pass_tiles,
            ..
        } => {
            let passes = DensePasses::new(geometry.out_pixels(), *pass_tiles);
            let tiles: usize = passes.map(|pass| pass.tiles).sum();
            let weights = 4.0 * words.len() as f64;
            let columns = (geometry.columns() * geometry.out_pixels()) as f64;
            let packed = match geometry.in_c % 4 {
                0 => columns,
                _ => DENSE_GATHER * columns,
            };
            let passes = passes.count() as f64;
            DENSE.cycles(geometry, packed, tiles as f64, passes, weights, weights)
        }
        Payload::ConvGeneric {
            geometry,
            groups,
            weights,
            ..
        } => {
            let _ = groups;
            8.0 * weights.len() as f64 * geometry.out_pixels() as f64 + 20.0 * outputs
        }
        Payload::Depthwise {
            geometry, weights, ..
        } => {
            let macs = weights.len() as f64 * geometry.out_pixels() as f64;
            DepthwiseStrips::of(geometry).map_or(6.0 * macs + 15.0 * outputs, |strips| {
                over_strips(geometry, &strips)
            })
        }
        Payload::DenseNested { stream, .. } => 8.0 * active_words(stream, level) + 20.0 * outputs,
        Payload::FullyConnected { weights, .. } => 4.0 * weights.len() as f64 + 20.0 * outputs,
        Payload::MaxPool(g) => (4.0 + 0.75 * taps(g)) * outputs,
        Payload::AvgPool { geometry: g, .. } => (9.0 + 0.75 * taps(g)) * outputs,
        Payload::GlobalAvgPool { pixels, .. } => (9.0 + 1.1 * f64::from(*pixels)) * outputs,
        Payload::Softmax(_) => 60.0 * outputs,
        Payload::Add(_) => 3.3 * outputs,
        Payload::Clamp(_) => 1.5 * outputs,
        Payload::Pad { .. } | Payload::Slice(_) => 6.0 * outputs,
    };
    Cycles(cycles as u64)
}

/// Taps of a window.
fn taps(g: &Geometry) -> f64 {
    f64::from(g.kernel_h) * f64::from(g.kernel_w)
}

/// A depthwise convolution over strips: see [`DepthwiseStrips`].
fn over_strips(g: &Geometry, strips: &DepthwiseStrips) -> f64 {
    // A block of two rows, and one of the last row alone.
    let (block, last) = match (strips.kernel, strips.stride) {
        (3, 1) => (33.0, 20.0),
        (3, _) => (35.0, 22.0),
        (_, 1) => (69.0, 69.0),
        _ => (73.0, 73.0),
    };
    let channels = f64::from(g.out_c);
    let rows = f64::from(g.out_h.div_ceil(2));
    let across = f64::from(g.out_w.div_ceil(2));
    let blocks = across * (block * f64::from(g.out_h / 2) + last * f64::from(g.out_h % 2));
    let chunks = (channels / strips.channels as f64).ceil();
    let packed = rows * strips.stride as f64 + (strips.kernel / 2) as f64;
    channels * (blocks + 2.0 * f64::from(g.in_w) * packed)
        + channels * (2.0 * strips.record as f64 + 25.0)
        + chunks * (25.0 * across + 400.0) * rows
}

/// Cycles that packing takes in all passes of a nested convolution.
fn gathering(g: &Geometry, layout: &NestedLayout) -> f64 {
    let channels = f64::from(g.in_c);
    let pairs = (g.out_pixels() as f64 / 2.0).ceil();
    // Runs of channels side by side, and calls that pack some of them.
    let (runs, calls) = match layout.gather {
        Gather::Lines => {
            let lines = f64::from(g.out_h.div_ceil(2));
            let stride = f64::from(g.stride_w.min(g.kernel_w));
            let columns = f64::from(g.out_w - 1) * stride + f64::from(g.kernel_w);
            let calls = lines * f64::from(g.kernel_h) * stride;
            (lines * columns * f64::from(g.kernel_h), calls)
        }
        Gather::Pixels => (pairs, pairs / layout.pairs as f64),
        Gather::Windows => (pairs * taps(g), pairs * taps(g)),
    };
    // Whole sixteens go in one loop, others word by word and four by four.
    let run = match (g.in_c % 16, f64::from(g.in_c % 4)) {
        (0, _) => 2.3 * channels,
        (_, rest) => 16.0 + 2.0 * (channels - rest) + 5.0 * rest,
    };
    runs * run + 70.0 * calls
}

/// Cycles for packing of a nested convolution, its tiles, and how many passes there are.
fn work(g: &Geometry, tile: Tile, pass_tiles: u16) -> (f64, f64, f64) {
    let Some(layout) = NestedLayout::of(g, tile) else {
        return (0.0, 0.0, 0.0);
    };
    let passes = (0..)
        .take_while(|&i| layout.pass(pass_tiles.into(), i).is_some())
        .count();
    let tiles = layout.tiles() as f64;
    (gathering(g, &layout), tiles, passes as f64)
}

impl Packed {
    /// Of a convolution that packs `packed` words for `tiles` tiles, and whose rows hold `entries` in
    /// all at the level, `bytes` of flash, which every pass reads.
    fn cycles(
        &self,
        g: &Geometry,
        packed: f64,
        tiles: f64,
        passes: f64,
        entries: f64,
        bytes: f64,
    ) -> f64 {
        let rows = f64::from(g.out_c);
        let fetched = if bytes > CACHED { passes } else { 1.0 };
        self.pack * packed
            + self.row * rows * passes
            + self.tile * rows * tiles
            + self.entry * entries * tiles
            + fetched * bytes / LINE * FLASH_FILL
    }
}

/// Words of a stream that a level runs.
fn active_words(stream: &EncodedStream, level: usize) -> f64 {
    let rows = usize::from(stream.rows);
    let words: u64 = (stream.prefix[level * rows..][..rows].iter())
        .map(|&n| u64::from(n))
        .sum();
    words as f64
}
