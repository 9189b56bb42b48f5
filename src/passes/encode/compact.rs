//! Compact sparse storage: see [`nest_format::CompactStream`].

use nest_format::{CompactStream, compact_gap_bytes, compact_weight_bytes};
use nest_kernels::layer::Tile;
use nest_kernels::{Kernel, NestedLayout, conv_compact_scratch_words};

use crate::ir::program::{EncodedCompact, Payload};

use super::conv::ConvLayer;
use super::nested::{in_layout, over_all_channels, pass_tiles};
use super::step::Chosen;

/// Columns that a level's first entry can move.
const TURN: std::ops::RangeInclusive<i32> = -32..=31;

/// Words of scratch up to which it holds all rows, so that they are expanded once an inference.
const MOST_WORDS: usize = 6144;
/// Words for expanded rows otherwise: a few rows at once.
const SOME_WORDS: usize = 256;

/// A convolution whose rows fit; of several groups, the other groups' weights are zeros.
///
/// # Errors
/// Extents and counts beyond 16 bits.
pub(super) fn conv(conv: &ConvLayer<'_>, tile: Tile) -> Result<Chosen, String> {
    let op = conv.op;
    let geometry = conv.geometry()?;
    let layout = NestedLayout::of(&geometry, tile)
        .ok_or_else(|| format!("{} columns in tile {tile:?}", geometry.columns()))?;
    let (weights, level_of) = over_all_channels(op, conv.x.c);
    let level_of = level_of.map(|l| in_layout(&l, &geometry, &layout));
    let weights = in_layout(&weights, &geometry, &layout);
    let compact = encode_compact(
        op.out_channels,
        layout.columns,
        conv.levels,
        &weights,
        level_of.as_deref(),
    )?;
    let stream = (compact.stream()).map_err(|error| format!("a compact stream of {error:?}"))?;
    let longest = stream.most_words() + 3;
    let all = op.out_channels * stream.most_words() + 3;
    let pass_tiles = pass_tiles(&layout, compact.bytes.len());
    let buffer = if layout.scratch_words(pass_tiles.into()) + all <= MOST_WORDS {
        all
    } else {
        longest.max(SOME_WORDS)
    };
    let buffer_words =
        u16::try_from(buffer).map_err(|_| format!("{buffer} words of expanded weights"))?;
    let nonzero = weights.iter().filter(|&&w| w != 0).count() as u64;
    Ok(Chosen {
        scratch_words: conv_compact_scratch_words(&geometry, tile, pass_tiles, buffer_words),
        weight_bytes: nonzero,
        index_bytes: (compact.bytes.len() + compact.gap_bits.len()) as u64 - nonzero,
        ..Chosen::plain(
            "conv2d",
            Kernel::ConvCompact(tile),
            Payload::ConvCompact {
                geometry,
                compact,
                requant: op.requant.clone(),
                pad: conv.pad.clone(),
                tile,
                pass_tiles,
                buffer_words,
            },
        )
    })
}

/// Encodes `rows x columns` weights; the arguments are those of [`super::encode_stream`].
///
/// # Errors
/// If rows, columns or a row's entries at a level exceed 16 bits.
///
/// # Panics
/// If the slices do not hold `rows * columns` elements.
pub fn encode_compact(
    rows: usize,
    columns: usize,
    levels: usize,
    weights: &[i8],
    level_of: Option<&[u8]>,
) -> Result<EncodedCompact, String> {
    assert_eq!(weights.len(), rows * columns, "weights");
    assert!(level_of.is_none_or(|l| l.len() == weights.len()), "levels");
    let mut held = vec![Vec::new(); rows * levels];
    for (at, &weight) in weights.iter().enumerate() {
        let level = level_of.map_or(0, |l| usize::from(l[at]));
        if weight != 0 && level < levels {
            held[at / columns * levels + level].push(at % columns);
        }
    }
    let all = Rows {
        columns,
        levels,
        weights,
        held,
    };
    all.encode(rows)
}

/// Columns moved, and a weight, 0 for a bridge.
type Entry = (i32, i8);

/// Rows of weights to encode.
struct Rows<'a> {
    columns: usize,
    levels: usize,
    weights: &'a [i8],
    /// Columns of weights that are not zero, `[row][level]`, in ascending order.
    held: Vec<Vec<usize>>,
}

impl Rows<'_> {
    /// The stream, with the width of gaps at each level that takes the fewest bytes.
    fn encode(&self, rows: usize) -> Result<EncodedCompact, String> {
        let mut gap_bits = vec![4; self.levels];
        for level in 0..self.levels {
            let bytes = |bits: u8| {
                let mut gap_bits = gap_bits.clone();
                gap_bits[level] = bits;
                (0..rows)
                    .map(|row| bytes_of(&self.entries(row, &gap_bits), &gap_bits))
                    .sum::<usize>()
            };
            gap_bits[level] = (3..=5).min_by_key(|&bits| bytes(bits)).unwrap_or(4);
        }
        let all: Vec<Vec<Vec<Entry>>> = (0..rows).map(|row| self.entries(row, &gap_bits)).collect();
        let most = all.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let wide = most > usize::from(u8::MAX);
        let narrow = |n: usize, what: &str| {
            u16::try_from(n).map_err(|_| format!("{n} {what}, and kernels count up to 65535"))
        };
        narrow(most, "entries in a row")?;
        let mut bytes = Vec::new();
        for levels in &all {
            write_row(levels, &gap_bits, wide, &mut bytes);
        }
        bytes.extend([0; CompactStream::TAIL]);
        Ok(EncodedCompact {
            rows: narrow(rows, "rows of weights")?,
            columns: narrow(self.columns, "columns of weights")?,
            wide,
            gap_bits,
            bytes,
        })
    }

    /// The entries of a row, level by level: even levels ascend, odd ones descend.
    fn entries(&self, row: usize, gap_bits: &[u8]) -> Vec<Vec<Entry>> {
        let at = row * self.columns..(row + 1) * self.columns;
        let weights = &self.weights[at];
        let mut all: Vec<Vec<Entry>> = Vec::with_capacity(self.levels);
        let mut position = 0i32;
        for level in 0..self.levels {
            let held = &self.held[row * self.levels + level];
            let column = |i: usize| match level % 2 {
                0 => held[i],
                _ => held[held.len() - 1 - i],
            };
            let reach = |level: usize| (1 << gap_bits[level]) - 1;
            if !held.is_empty() {
                let first = column(0);
                // A turn against the way of its level, and out of reach, is made before it.
                let way = first as i32 - position;
                let against = if level % 2 == 0 { way < 0 } else { way > 0 };
                let beyond = against && !TURN.contains(&way);
                if let Some(last) = all.len().checked_sub(1).filter(|_| beyond) {
                    bridge(&mut all[last], first as i32, &mut position, reach(last));
                }
            }
            let mut entries = Vec::with_capacity(held.len());
            for column in (0..held.len()).map(column) {
                bridge(&mut entries, column as i32, &mut position, reach(level));
                entries.push((column as i32 - position, weights[column]));
                position = column as i32;
            }
            all.push(entries);
        }
        all
    }
}

/// Adds entries without weight until `column` is in reach of the next one: of a turn if there is no
/// entry yet or the way changes its direction, which the caller sees to.
fn bridge(entries: &mut Vec<Entry>, column: i32, position: &mut i32, reach: i32) {
    loop {
        let way = column - *position;
        let in_reach = if entries.is_empty() {
            TURN.contains(&way)
        } else {
            (-reach..=reach).contains(&way)
        };
        if in_reach {
            return;
        }
        let delta = if entries.is_empty() {
            way.clamp(*TURN.start(), *TURN.end())
        } else {
            way.clamp(-reach, reach)
        };
        entries.push((delta, 0));
        *position += delta;
    }
}

/// Bytes of a row but for its heads.
fn bytes_of(levels: &[Vec<Entry>], gap_bits: &[u8]) -> usize {
    (levels.iter().zip(gap_bits))
        .map(|(entries, &bits)| {
            compact_weight_bytes(entries.len()) + compact_gap_bytes(entries.len(), bits)
        })
        .sum()
}

fn write_row(levels: &[Vec<Entry>], gap_bits: &[u8], wide: bool, bytes: &mut Vec<u8>) {
    for entries in levels {
        let count = (entries.len() as u16).to_le_bytes();
        bytes.extend(&count[..1 + usize::from(wide)]);
        bytes.push(entries.first().map_or(0, |e| e.0) as u8);
    }
    for (level, (entries, &bits)) in levels.iter().zip(gap_bits).enumerate() {
        let start = bytes.len();
        bytes.resize(start + compact_weight_bytes(entries.len()), 0);
        for (i, &(_, weight)) in entries.iter().enumerate() {
            bytes[start + i / 4 * 4 + [0, 2, 1, 3][i % 4]] = weight as u8;
        }
        let start = bytes.len();
        bytes.resize(start + compact_gap_bytes(entries.len(), bits), 0);
        for (i, &(delta, _)) in entries.iter().enumerate().skip(1) {
            let most = (1 << bits) - 1;
            let field = if level % 2 == 0 { most - delta } else { -delta } as u32;
            let bit = i * usize::from(bits);
            for (byte, part) in (field << (bit % 8)).to_le_bytes().into_iter().enumerate() {
                if part != 0 {
                    bytes[start + bit / 8 + byte] |= part;
                }
            }
        }
    }
}
