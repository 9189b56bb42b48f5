//! What activations cost more in cached memory on the bus than in tightly coupled memory.
//!
//! Every line of the values that a layer reads and writes is fetched once. Kernels that go over the same
//! bytes again and again, packed windows above all, fetch them anew as far as they exceed the data
//! cache: the share of such reads that miss rises with the size of what is gone over, from none where it
//! fits beside the weights to all where it is twice as large. (The cache replaces lines at random, so it
//! does not go from none to all at once.)
//!
//! The constants are fitted to the emulator's expected setting, on detectors and ImageNet classifiers
//! whose arenas do not fit the tightly coupled memory: their layers, passes cut for that memory, are
//! within a quarter of it, where without this they take up to three times as long as estimated.

use nest_kernels::layer::{Geometry, Tile};
use nest_kernels::{DepthwiseStrips, NestedLayout, conv_dense_scratch_words};

use crate::ir::program::Payload;
use crate::units::Cycles;

use super::{LINE, Work, work};

/// Waiting for a line of bus memory, what it displaces written back.
const MISS: f64 = 28.0;
/// Bytes that are gone over again without a miss, and how many more until every read misses, in a cache
/// of 16 KiB.
const KEPT: f64 = 13_500.0;
const LOST: f64 = 12_500.0;

/// The share of lines that miss when `bytes` are gone over again and again.
fn missing(bytes: f64) -> f64 {
    ((bytes - KEPT) / LOST).clamp(0.0, 1.0)
}

/// Cycles that a step takes more where its activations and scratch lie in cached memory; `moved` is
/// the number of elements that it reads and writes.
///
/// # Panics
/// If the payload has no such level.
pub fn behind_cache(payload: &Payload, moved: usize, level: usize) -> Cycles {
    let lines = moved as f64 / LINE;
    let again = match (payload, work(payload, level)) {
        (
            Payload::ConvDense {
                geometry,
                pass_tiles,
                ..
            },
            Some(work),
        ) => {
            let packed = 4.0 * conv_dense_scratch_words(geometry, *pass_tiles) as f64;
            dense(geometry, packed, 3 * usize::from(*pass_tiles), &work)
        }
        (
            Payload::ConvNested {
                geometry,
                tile,
                pass_tiles,
                ..
            }
            | Payload::ConvCompact {
                geometry,
                tile,
                pass_tiles,
                ..
            },
            Some(work),
        ) => nested(geometry, *tile, *pass_tiles, &work),
        (Payload::Depthwise { geometry, .. }, _) => {
            DepthwiseStrips::of(geometry).map_or(0.0, |strips| depthwise(geometry, &strips))
        }
        _ => 0.0,
    };
    Cycles((MISS * (lines + again)) as u64)
}

/// Lines of the output that rows of weights write to in a pass of so many pixels, one after the other.
fn written(g: &Geometry, pixels: usize) -> f64 {
    pixels.min(g.out_pixels()) as f64 * (f64::from(g.out_c) / LINE).min(1.0)
}

/// Every pair of rows reads all that is packed and writes to every pixel.
fn dense(g: &Geometry, packed: f64, pixels: usize, work: &Work) -> f64 {
    let lines = packed / LINE + written(g, pixels);
    missing(LINE * lines) * work.rows * lines
}

/// Every weight reads half a line or less of what is packed, and a row no line twice.
fn nested(g: &Geometry, tile: Tile, pass_tiles: u16, work: &Work) -> f64 {
    let Some(layout) = NestedLayout::of(g, tile) else {
        return 0.0;
    };
    let packed = 4.0 * layout.scratch_words(pass_tiles.into()) as f64 / LINE;
    let written = written(g, 2 * layout.pairs * usize::from(pass_tiles));
    let read = (work.rows * packed).min(work.entries);
    missing(LINE * (packed + written)) * (read + work.rows * written)
}

/// Every chunk of channels goes over the whole map, of which it takes some bytes of each line.
fn depthwise(g: &Geometry, strips: &DepthwiseStrips) -> f64 {
    let channels = f64::from(g.out_c);
    let chunks = (channels / strips.channels as f64).ceil();
    let of_pixel = (strips.channels as f64 / LINE).ceil();
    let again = |pixels: f64| {
        let lines = pixels * channels / LINE;
        chunks * lines.min(pixels * of_pixel) - lines
    };
    let input = f64::from(g.in_h) * f64::from(g.in_w);
    let all = again(input) + again(g.out_pixels() as f64);
    missing(input * channels + 4.0 * strips.words as f64) * all.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointwise(channels: u16, side: u16) -> Geometry {
        Geometry {
            in_h: side,
            in_w: side,
            in_c: channels,
            out_h: side,
            out_w: side,
            out_c: channels,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            pad_top: 0,
            pad_left: 0,
            dilation_h: 1,
            dilation_w: 1,
        }
    }

    fn dense_payload(pass_tiles: u16) -> Payload {
        let geometry = pointwise(128, 8);
        Payload::ConvDense {
            geometry,
            columns: 128,
            words: vec![0; 128 * 128 / 4],
            requant: Vec::new(),
            pad: Vec::new(),
            pass_tiles,
        }
    }

    /// The emulator's figures for this layer (MobileNetV1-0.25, arena in AXISRAM): 641,034 cycles
    /// estimated without the cache, 1,101,150 measured with passes of all pixels.
    #[test]
    fn passes_that_exceed_the_cache_cost_what_they_do_and_shorter_ones_do_not() {
        let all = behind_cache(&dense_payload(22), 2 * 128 * 64, 0).0;
        assert!(all.abs_diff(460_000) < 60_000, "{all}");
        let half = behind_cache(&dense_payload(11), 2 * 128 * 64, 0).0;
        let lines = 2.0 * 128.0 * 64.0 / LINE;
        assert_eq!(half, (MISS * lines) as u64, "every line once");
    }

    #[test]
    fn misses_rise_from_none_to_all() {
        assert_eq!(missing(KEPT), 0.0);
        assert_eq!(missing(KEPT + LOST / 2.0), 0.5);
        assert_eq!(missing(1e6), 1.0);
    }
}
