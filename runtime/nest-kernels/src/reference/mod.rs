//! Safe, readable kernels: what every other backend must equal bit by bit. The host runs these, so
//! that they are written in a shape which the compiler turns into vector code.
#![forbid(unsafe_code)]

mod binary;
mod conv;
mod dense;
mod depthwise;
mod elementwise;
mod pool;
mod shape;

pub use binary::{binary, binary_in_place};
pub use conv::{conv_block, conv_compact, conv_dense, conv_generic, conv_nested};
#[cfg(not(target_os = "none"))]
pub use conv::{conv_dense_in_place, conv_nested_in_place};
pub use dense::{dense_nested, fully_connected};
pub use depthwise::{depthwise, depthwise_in_place};
pub use elementwise::{
    add, add_in_place, clamp, clamp_in_place, lookup, lookup_in_place, prelu, prelu_in_place,
    softmax,
};
pub use pool::{avg_pool, global_avg_pool, max_pool};
pub use shape::{move_elements, pad, resize};

use crate::layer::Geometry;
use nest_format::{BlockStream, CompactStream, Entry, NestedStream};

/// No words: these kernels take no scratch.
pub fn words(_bytes: &mut [i8]) -> &mut [u32] {
    &mut []
}

impl Geometry {
    /// First element of the input pixel under a tap of an output pixel; `None` in the padding.
    pub(crate) const fn tap(&self, oy: usize, ox: usize, ky: usize, kx: usize) -> Option<usize> {
        let y = oy as i64 * self.stride_h as i64 + ky as i64 * self.dilation_h as i64
            - self.pad_top as i64;
        let x = ox as i64 * self.stride_w as i64 + kx as i64 * self.dilation_w as i64
            - self.pad_left as i64;
        if y < 0 || y >= self.in_h as i64 || x < 0 || x >= self.in_w as i64 {
            return None;
        }
        Some((y as usize * self.in_w as usize + x as usize) * self.in_c as usize)
    }
}

/// The rows of a stream at a level, each as its `(column, weight)` pairs.
fn nested_rows<'a>(
    stream: &NestedStream<'a>,
    level: usize,
) -> impl Iterator<Item = impl Iterator<Item = (usize, i16)> + use<'a>> + use<'a> {
    let active = stream.prefix(level);
    let stored = stream.prefix(stream.levels().saturating_sub(1));
    let mut rest = stream.words();
    active
        .iter()
        .zip(stored.iter())
        .map(move |(active, stored)| {
            let (row, after) = rest
                .split_at_checked(stored as usize)
                .unwrap_or((rest, &[]));
            rest = after;
            let row = row.get(..active as usize).unwrap_or(row);
            let mut column = 0i32;
            row.iter()
                .flat_map(|&word| [Entry::of(word, 0), Entry::of(word, 1)])
                .map(move |entry| {
                    column += i32::from(entry.delta);
                    (column as usize, i16::from(entry.weight))
                })
        })
}

/// The rows of a compact stream at a level, each as its `(column, weight)` pairs.
fn compact_rows<'a>(
    stream: CompactStream<'a>,
    level: usize,
) -> impl Iterator<Item = impl Iterator<Item = (usize, i16)> + use<'a>> + use<'a> {
    let mut start = 0;
    (0..stream.rows()).map(move |_| {
        let row = start;
        start = (0..stream.levels()).fold(stream.body(row), |next, index| {
            stream.level(row, next, index).end
        });
        let (mut column, mut next) = (0i32, stream.body(row));
        (0..=level)
            .flat_map(move |index| {
                let at = stream.level(row, next, index);
                next = at.end;
                (0..at.count).map(move |i| stream.entry(&at, index, i))
            })
            .map(move |(delta, weight)| {
                column += i32::from(delta);
                (column as usize, i16::from(weight))
            })
    })
}

/// The rows of a block stream at a level, each as its `(column, weight)` pairs.
fn block_rows<'a>(
    stream: BlockStream<'a>,
    level: usize,
) -> impl Iterator<Item = impl Iterator<Item = (usize, i16)> + use<'a>> + use<'a> {
    let active = stream.prefix(level);
    let stored = stream.prefix(stream.levels().saturating_sub(1));
    let mut start = 0usize;
    active.iter().zip(stored).map(move |(&active, &stored)| {
        let at = start;
        start += usize::from(stored);
        let words = stream.words().iter().skip(at).take(active.into());
        let steps = stream.steps().iter().skip(at);
        let mut block = 0i32;
        words.zip(steps).flat_map(move |(word, &step)| {
            block += i32::from(step);
            let first = 4 * block as usize;
            let weights = word.to_le_bytes().map(|byte| i16::from(byte as i8));
            (first..).zip(weights)
        })
    })
}
