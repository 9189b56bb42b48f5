//! The nested sparse stream: see [`nest_format::NestedStream`] for the layout.

use nest_format::Entry;

use crate::ir::program::EncodedStream;

/// Columns a delta can move.
const REACH: std::ops::RangeInclusive<i32> = -32..=31;

/// Encodes `rows x columns` weights. `level_of` gives the sparsest level that holds each weight
/// (any number from `levels` on: none); `None` puts all at level 0. Zeros are not stored.
///
/// # Errors
/// If rows or columns exceed 16 bits, or a row needs more than 65,535 words.
///
/// # Panics
/// If the slices do not hold `rows * columns` elements.
pub fn encode_stream(
    rows: usize,
    columns: usize,
    levels: usize,
    weights: &[i8],
    level_of: Option<&[u8]>,
) -> Result<EncodedStream, String> {
    assert_eq!(weights.len(), rows * columns, "weights");
    assert!(level_of.is_none_or(|l| l.len() == weights.len()), "levels");
    let narrow = |n: usize, what: &str| {
        u16::try_from(n).map_err(|_| format!("{n} {what}, and kernels count up to 65535"))
    };
    let mut words = Vec::new();
    let mut prefix = vec![0u16; rows * levels];
    for row in 0..rows {
        let start = words.len();
        let at = row * columns..(row + 1) * columns;
        let row_weights = &weights[at.clone()];
        let row_levels = level_of.map(|l| &l[at]);
        let mut order = vec![Vec::new(); levels];
        for (column, &weight) in row_weights.iter().enumerate() {
            let level = row_levels.map_or(0, |l| usize::from(l[column]));
            if weight != 0 && level < levels {
                order[level].push(column);
            }
        }
        for descending in order.iter_mut().skip(1).step_by(2) {
            descending.reverse();
        }
        let mut position = 0i32;
        for level in 0..levels {
            let mut entries = Vec::new();
            for &column in &order[level] {
                step_to(column, row_weights[column], &mut position, &mut entries);
            }
            if entries.len() % 2 == 1 {
                // The filler may as well be the first bridge to what a denser level adds.
                let next = order[level + 1..].iter().flatten().next();
                let way = next.map_or(0, |&c| c as i32 - position);
                let delta = if REACH.contains(&way) { 0 } else { bridge(way) };
                entries.push(Entry { delta, weight: 0 });
                position += i32::from(delta);
            }
            words.extend(entries.chunks_exact(2).map(|e| Entry::pair(e[0], e[1])));
            prefix[level * rows + row] = narrow(words.len() - start, "words in a row")?;
        }
    }
    Ok(EncodedStream {
        rows: narrow(rows, "rows of weights")?,
        columns: narrow(columns, "columns of weights")?,
        levels: u8::try_from(levels).map_err(|_| format!("{levels} levels"))?,
        words,
        prefix,
    })
}

/// The longest step on a way out of reach.
fn bridge(way: i32) -> i8 {
    way.clamp(*REACH.start(), *REACH.end()) as i8
}

/// Moves to `column`, over bridges where the way is long, and stores `weight` there.
fn step_to(column: usize, weight: i8, position: &mut i32, entries: &mut Vec<Entry>) {
    let mut way = column as i32 - *position;
    while !REACH.contains(&way) {
        let delta = bridge(way);
        entries.push(Entry { delta, weight: 0 });
        way -= i32::from(delta);
    }
    entries.push(Entry {
        delta: way as i8,
        weight,
    });
    *position = column as i32;
}

/// The weights that running `level` uses, `rows x columns`, as a kernel reads them.
///
/// # Panics
/// If the stream is malformed.
pub fn decode_stream(stream: &EncodedStream, level: usize) -> Vec<i8> {
    let (rows, columns) = (usize::from(stream.rows), usize::from(stream.columns));
    let densest = usize::from(stream.levels) - 1;
    let mut weights = vec![0i8; rows * columns];
    let mut start = 0;
    for row in 0..rows {
        let words = usize::from(stream.prefix[level * rows + row]);
        let mut column = 0i32;
        for &word in &stream.words[start..start + words] {
            for half in 0..2 {
                let entry = Entry::of(word, half);
                column += i32::from(entry.delta);
                weights[row * columns + column as usize] += entry.weight;
            }
        }
        start += usize::from(stream.prefix[densest * rows + row]);
    }
    weights
}
