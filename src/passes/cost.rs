//! What a layer costs, before anything is built: cycles from its geometry, its stored weights and
//! the tile of its kernel.
//!
//! A convolution runs in passes. A pass packs some tiles of pixels, then takes all rows of weights over
//! them. [`Work`] counts what that makes, the rates of each kernel say what one of each takes:
//!
//! | counted | what one takes |
//! |---|---|
//! | `packed` | gathering a packed word |
//! | `rows` | starting a row of weights in a pass |
//! | `tiles` | starting a tile in a row, and requantising its pixels |
//! | `entries` | a stored weight (1x4: a block; dense: four columns of two rows) over a tile |
//! | `lines` | fetching a line of weights from flash: once, or in every pass if they exceed the cache |
//!
//! The rates are fitted to the emulator's expected setting with code in ITCM, activations in DTCM and
//! weights in cached flash; [`behind_cache`] says what activations in cached memory cost more. The bench prints estimates beside measurements, and a test holds their
//! distance (`cycles::no_network_becomes_slower`).

mod cached;

use nest_kernels::layer::{Geometry, Loop, Tile};
use nest_kernels::{DensePasses, DepthwiseStrips, Gather, NestedLayout};

use crate::ir::int::{IntBinary, IntMove, IntNest};
use crate::ir::program::{EncodedCompact, Payload};
use crate::units::Cycles;

pub use cached::behind_cache;

/// Bytes of a line of the data cache.
const LINE: f64 = 32.0;
/// Bytes of weights that stay in the data cache from one pass to the next.
const CACHED: f64 = 12_288.0;

/// What a convolution has to do: see the module.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Packed words.
    pub packed: f64,
    /// Rows in passes.
    pub rows: f64,
    /// Rows in tiles.
    pub tiles: f64,
    /// Stored weights in tiles.
    pub entries: f64,
    /// Lines of flash.
    pub lines: f64,
    /// Of compact streams: levels of rows that are expanded.
    pub expanded_levels: f64,
    /// Of compact streams: words that rows expand to.
    pub expanded_words: f64,
}

/// Cycles of a call, and for one of each of [`Work`]'s counts.
struct Rates {
    call: f64,
    packed: f64,
    row: f64,
    tile: f64,
    entry: f64,
    line: f64,
}

/// Packing is counted in cycles.
const NESTED_P8: Rates = Rates {
    call: 0.0,
    packed: 1.0,
    row: 55.0,
    tile: 55.0,
    entry: 6.48,
    line: 38.0,
};
const NESTED_P4: Rates = Rates {
    row: 40.0,
    entry: 3.75,
    ..NESTED_P8
};
const NESTED_P2: Rates = Rates {
    row: 40.0,
    tile: 45.0,
    entry: 3.0,
    ..NESTED_P8
};
const BLOCK: Rates = Rates {
    call: 1000.0,
    packed: 2.13,
    row: 0.0,
    tile: 39.9,
    entry: 12.07,
    line: 27.8,
};
/// Rows in pairs over tiles of 3 pixels; an entry is 4 columns of a pair.
const DENSE: Rates = Rates {
    call: 0.0,
    packed: 0.68,
    row: 0.0,
    tile: 32.0,
    entry: 13.1,
    line: 0.0,
};
/// What packing a column takes more where channels do not come in words.
const DENSE_GATHER: f64 = 3.0;
/// Words' worth of packing that gathering a pixel's bytes takes besides, and each of its rows of taps;
/// a first layer's 3 x 3 windows of 3 channels have a way of their own.
const DENSE_GATHER_PIXEL: f64 = 300.0;
const DENSE_GATHER_ROW: f64 = 120.0;
/// The level of a row, and a word of it, that is expanded.
const EXPANDED_LEVEL: f64 = 129.0;
const EXPANDED_WORD: f64 = 5.8;
/// The share of a line's fetch that the expansion, which reads them in order, waits for.
const EXPANDED_LINES: f64 = 0.45;

/// What a payload has to do at a level, if it is a convolution that runs in passes.
///
/// # Panics
/// If the payload has no such level.
pub fn work(payload: &Payload, level: usize) -> Option<Work> {
    Some(match payload {
        Payload::ConvNested {
            geometry,
            stream,
            tile,
            pass_tiles,
            ..
        } => {
            let active = active(&stream.prefix, stream.rows.into(), level);
            nested(geometry, *tile, *pass_tiles, 2.0 * active, 4.0 * active)
        }
        Payload::ConvCompact {
            geometry,
            compact,
            tile,
            pass_tiles,
            buffer_words,
            ..
        } => {
            let (levels, words, all) = expansion(compact, level);
            let once = nested(geometry, *tile, *pass_tiles, 2.0 * words, 0.0);
            let passes = once.rows / f64::from(geometry.out_c.max(1));
            let whole = all + 3.0 <= f64::from(*buffer_words);
            let times = if whole { 1.0 } else { passes };
            Work {
                expanded_levels: times * levels,
                expanded_words: times * words,
                lines: EXPANDED_LINES * lines(compact.bytes.len() as f64, times),
                ..once
            }
        }
        Payload::ConvBlock {
            geometry,
            blocks,
            pass_tiles,
            ..
        } => {
            let pixels = geometry.out_pixels();
            let tiles = pixels.div_ceil(if pixels < 4 { 1 } else { 4 }) as f64;
            let passes = (tiles / f64::from((*pass_tiles).max(1))).ceil();
            let rows = f64::from(geometry.out_c);
            let active = active(&blocks.prefix, blocks.rows.into(), level);
            Work {
                packed: 4.0 * tiles * geometry.columns() as f64,
                rows: rows * passes,
                tiles: rows * tiles,
                entries: active * tiles,
                lines: lines(5.0 * active, passes),
                ..Work::default()
            }
        }
        Payload::ConvDense {
            geometry,
            words,
            pass_tiles,
            ..
        } => {
            let (mut passes, mut tiles) = (0.0, 0.0);
            for pass in DensePasses::new(geometry.out_pixels(), *pass_tiles) {
                passes += 1.0;
                tiles += pass.tiles as f64;
            }
            let pairs = f64::from(geometry.out_c.div_ceil(2));
            let pixels = 3.0 * tiles;
            let columns = geometry.columns() as f64;
            let taps = [geometry.kernel_h, geometry.kernel_w];
            let of_a_pixel = match geometry.in_c {
                words if words % 4 == 0 => columns,
                3 if taps == [3, 3] => DENSE_GATHER * columns,
                _ => {
                    DENSE_GATHER * columns
                        + DENSE_GATHER_PIXEL
                        + DENSE_GATHER_ROW * f64::from(geometry.kernel_h)
                }
            };
            Work {
                packed: pixels * of_a_pixel,
                rows: pairs * passes,
                tiles: pairs * tiles,
                entries: pairs * tiles * geometry.columns().div_ceil(4) as f64,
                lines: lines(4.0 * words.len() as f64, passes),
                ..Work::default()
            }
        }
        _ => return None,
    })
}

/// Estimated cycles of a step at a level; `output` is the number of elements it writes.
///
/// # Panics
/// If the payload has no such level.
pub fn cycles(payload: &Payload, output: usize, level: usize) -> Cycles {
    let outputs = output as f64;
    let passes = |rates: &Rates| work(payload, level).map_or(0.0, |work| rates.cycles(&work));
    let cycles = match payload {
        Payload::ConvNested { tile, .. } | Payload::ConvCompact { tile, .. } => {
            passes(match tile {
                Tile::P8 => &NESTED_P8,
                Tile::P4 => &NESTED_P4,
                Tile::P2 => &NESTED_P2,
            })
        }
        Payload::ConvBlock { .. } => passes(&BLOCK),
        Payload::ConvDense { .. } => passes(&DENSE),
        Payload::ConvGeneric {
            geometry, weights, ..
        } => 2.9 * weights.len() as f64 * geometry.out_pixels() as f64 + 9.0 * outputs,
        Payload::Depthwise {
            geometry, weights, ..
        } => {
            let taps = weights.len() as f64 * geometry.out_pixels() as f64;
            DepthwiseStrips::of(geometry).map_or(6.0 * taps + 15.0 * outputs, |strips| {
                over_strips(geometry, &strips)
            })
        }
        Payload::DenseNested { stream, .. } => {
            let words = active(&stream.prefix, stream.rows.into(), level);
            12.0 * words + 60.0 * outputs + 500.0
        }
        Payload::FullyConnected { weights, .. } => {
            2.4 * weights.len() as f64 + 40.0 * outputs + 400.0
        }
        Payload::MaxPool(g) => 30.0 * g.out_pixels() as f64 + (2.2 + 0.75 * taps(g)) * outputs,
        Payload::AvgPool { geometry: g, .. } => (9.0 + 0.75 * taps(g)) * outputs,
        Payload::GlobalAvgPool { pixels, .. } => {
            // Few pixels are summed in one go.
            let each = if *pixels > 64 { 1.38 } else { 1.0 };
            (6.0 + each * f64::from(*pixels)) * outputs
        }
        Payload::Softmax { .. } => 33.0 * outputs,
        Payload::Lookup(_) => 5.0 * outputs,
        Payload::Move(inputs) => inputs.iter().map(moving).sum(),
        Payload::Binary {
            operation,
            a,
            b,
            output,
            ..
        } => {
            let each = match operation {
                IntBinary::Sum(_) => 9.0,
                IntBinary::Product(_) => 11.0,
                IntBinary::Least(_) | IntBinary::Largest(_) => 14.0,
            };
            let broadcast = if a == output && b == output { 0.0 } else { 4.4 };
            (each + broadcast) * outputs
        }
        Payload::PRelu { .. } => 14.0 * outputs,
        Payload::Resize { .. } => 16.0 * outputs,
        Payload::Add(_) => 3.3 * outputs,
        Payload::Clamp(_) => 1.5 * outputs,
        Payload::Pad { .. } => 6.0 * outputs,
    };
    Cycles(cycles as u64)
}

/// Copying what an input gives to a layer that moves elements.
fn moving(input: &IntMove) -> f64 {
    let nest = |nest: &IntNest| {
        let count = |loops: &[Loop]| loops.iter().map(|l| f64::from(l[0])).product::<f64>();
        let loops = &nest.loops[..];
        let [run, from, to] = loops.last().copied().unwrap_or([1, 1, 1]);
        let elements = count(loops);
        let runs = elements / f64::from(run);
        // The three innermost loops are one call, each round of the outermost of them a block.
        let blocks = count(&loops[..loops.len().saturating_sub(2)]);
        let calls = count(&loops[..loops.len().saturating_sub(3)]);
        let (start, each) = match (&input.tables, from, to) {
            (None, 1, 1) => (7.5, 0.55),
            (None, ..) => (20.0, 2.8),
            (Some(_), ..) => (20.0, 4.5),
        };
        110.0 * calls + 24.0 * blocks + start * runs + each * elements
    };
    100.0 + input.nests.iter().map(nest).sum::<f64>()
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

/// Taps of a window.
fn taps(g: &Geometry) -> f64 {
    f64::from(g.kernel_h) * f64::from(g.kernel_w)
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

/// Work of a nested convolution whose rows hold `entries` in all, `bytes` of flash.
fn nested(g: &Geometry, tile: Tile, pass_tiles: u16, entries: f64, bytes: f64) -> Work {
    let Some(layout) = NestedLayout::of(g, tile) else {
        return Work::default();
    };
    let passes = (0..)
        .take_while(|&i| layout.pass(pass_tiles.into(), i).is_some())
        .count();
    let (rows, tiles) = (f64::from(g.out_c), layout.tiles() as f64);
    Work {
        packed: gathering(g, &layout),
        rows: rows * passes as f64,
        tiles: rows * tiles,
        entries: entries * tiles,
        lines: lines(bytes, passes as f64),
        ..Work::default()
    }
}

/// Lines that passes over `bytes` fetch.
fn lines(bytes: f64, passes: f64) -> f64 {
    bytes / LINE * if bytes > CACHED { passes } else { 1.0 }
}

/// What a level runs of rows, by their counts `[level][row]`.
fn active(prefix: &[u16], rows: usize, level: usize) -> f64 {
    let sum: u64 = (prefix[level * rows..][..rows].iter())
        .map(|&n| u64::from(n))
        .sum();
    sum as f64
}

/// Levels of rows that are expanded, and their words; and the words that the longest row takes, times
/// the rows.
fn expansion(compact: &EncodedCompact, level: usize) -> (f64, f64, f64) {
    let Ok(stream) = compact.stream() else {
        return (0.0, 0.0, 0.0);
    };
    let (mut levels, mut words, mut start) = (0.0, 0.0, 0);
    for _ in 0..stream.rows() {
        let mut next = stream.body(start);
        for index in 0..stream.levels() {
            let at = stream.level(start, next, index);
            if index <= level {
                levels += 1.0;
                words += at.count.div_ceil(2) as f64;
            }
            next = at.end;
        }
        start = next;
    }
    (
        levels,
        words,
        words.max((stream.most_words() * stream.rows()) as f64),
    )
}

impl Rates {
    fn cycles(&self, work: &Work) -> f64 {
        self.call
            + self.packed * work.packed
            + self.row * work.rows
            + self.tile * work.tiles
            + self.entry * work.entries
            + self.line * work.lines
            + EXPANDED_LEVEL * work.expanded_levels
            + EXPANDED_WORD * work.expanded_words
    }
}
