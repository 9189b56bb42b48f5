//! Streams come back as they went in, at every level.

use nest_format::{Entry, NestedStream};

use super::*;
use crate::ir::program::EncodedStream;
use crate::passes::calibrate::Random;

fn checked(stream: &EncodedStream) -> NestedStream<'_> {
    NestedStream::try_new(
        stream.rows,
        stream.columns,
        stream.levels,
        &stream.words,
        &stream.prefix,
    )
    .expect("the device accepts what the encoder writes")
}

fn expected(weights: &[i8], level_of: &[u8], level: usize) -> Vec<i8> {
    (weights.iter().zip(level_of))
        .map(|(&w, &l)| if usize::from(l) <= level { w } else { 0 })
        .collect()
}

fn entries(stream: &EncodedStream) -> Vec<Entry> {
    (stream.words.iter())
        .flat_map(|&w| [Entry::of(w, 0), Entry::of(w, 1)])
        .collect()
}

fn entry(delta: i8, weight: i8) -> Entry {
    Entry { delta, weight }
}

#[test]
fn a_row_goes_up_then_down() {
    let weights = [1, 0, 2, 3, 4, 5];
    let stream = encode_stream(1, 6, 2, &weights, Some(&[0, 0, 1, 0, 1, 0])).unwrap();
    let want = [
        entry(0, 1),
        entry(3, 3),
        entry(2, 5),
        entry(0, 0),
        entry(-1, 4),
        entry(-2, 2),
    ];
    assert_eq!(entries(&stream), want);
    assert_eq!(stream.prefix, [2, 3]);
}

#[test]
fn gaps_are_bridged_at_the_reach_of_a_delta() {
    for (gap, bridges) in [(31, 0), (32, 1), (62, 1), (63, 2), (200, 6)] {
        let mut weights = vec![0; gap + 1];
        weights[gap] = 7;
        let stream = encode_stream(1, gap + 1, 1, &weights, None).unwrap();
        let filled: usize = entries(&stream).iter().filter(|e| e.weight == 0).count();
        assert_eq!(filled, bridges + (bridges + 1) % 2, "gap {gap}");
        assert_eq!(decode_stream(&stream, 0), weights);
    }
    // Downwards one column more. At 64 and 65 the way up ends in a filler, which is the first bridge
    // down.
    for (gap, words) in [
        (32, 1),
        (33, 1),
        (64, 1),
        (65, 1),
        (96, 2),
        (97, 2),
        (129, 2),
    ] {
        let mut weights = vec![0; gap + 1];
        (weights[0], weights[gap]) = (5, 7);
        let mut level_of = vec![1u8; gap + 1];
        level_of[gap] = 0;
        let stream = encode_stream(1, gap + 1, 2, &weights, Some(&level_of)).unwrap();
        let own = stream.prefix[1] - stream.prefix[0];
        assert_eq!(own, words, "gap {gap}");
        assert_eq!(decode_stream(&stream, 1), weights);
    }
}

#[test]
fn nothing_is_stored_of_nothing() {
    let stream = encode_stream(3, 40, 2, &[0; 120], None).unwrap();
    assert!(stream.words.is_empty());
    assert_eq!(stream.prefix, [0; 6]);
    checked(&stream);
}

/// A turn out of reach: level 1 begins far above where level 0 ends.
#[test]
fn compact_turns_are_bridged_by_the_level_before() {
    for (columns, first) in [
        (33, 0),
        (34, 0),
        (40, 0),
        (64, 0),
        (65, 0),
        (200, 3),
        (600, 0),
    ] {
        let mut weights = vec![0; columns];
        (weights[first], weights[columns - 1], weights[columns / 2]) = (5, -7, 9);
        let mut level_of = vec![1u8; columns];
        level_of[first] = 0;
        level_of[columns / 2] = 2;
        let compact = encode_compact(1, columns, 3, &weights, Some(&level_of)).unwrap();
        for level in 0..3 {
            let want = expected(&weights, &level_of, level);
            assert_eq!(compact.decode(level), want, "{columns} level {level}");
        }
    }
}

/// The bars of the flash coding: bytes a non-zero weight of random masks, indices included.
#[test]
fn compact_rows_take_the_bytes_that_are_promised() {
    let mut r = Random(3);
    for (percent, most) in [(50, 1.42), (70, 1.55), (80, 1.62), (90, 1.80)] {
        let (rows, columns) = (64, 288);
        let weights: Vec<i8> = (0..rows * columns)
            .map(|_| if r.next() % 100 < percent { 0 } else { 77 })
            .collect();
        let nonzero = weights.iter().filter(|&&w| w != 0).count() as f64;
        let compact = encode_compact(rows, columns, 1, &weights, None).unwrap();
        let bytes = compact.bytes.len() as f64 / nonzero;
        assert!(bytes <= most, "{percent} %: {bytes:.3} B a non-zero");
    }
}

#[test]
fn blocks_take_a_step_and_bridge_long_ways() {
    let mut weights = vec![0; 4 * 300];
    weights[4 * 299 + 1] = -3;
    weights[6] = 9;
    let level_of: Vec<u8> = weights.iter().map(|&w| u8::from(w == 9)).collect();
    let blocks = encode_blocks(1, 1200, 2, &weights, Some(&level_of)).unwrap();
    assert_eq!(blocks.steps, [127, 127, 45, -128, -128, -42]);
    assert_eq!(blocks.words[2], 0xFD00);
    assert_eq!(blocks.prefix, [3, 6]);
    assert_eq!(blocks.decode(1), weights);
    // 288 columns in blocks at 70 %: 5 bytes for four weights, two for the row.
    let weights: Vec<i8> = (0..64 * 288)
        .map(|i| if i / 4 * 7 % 10 < 3 { 1 } else { 0 })
        .collect();
    let nonzero = weights.iter().filter(|&&w| w != 0).count() as f64;
    let blocks = encode_blocks(64, 288, 1, &weights, None).unwrap();
    let bytes = (5 * blocks.words.len() + 2 * blocks.prefix.len()) as f64;
    assert!(bytes / nonzero <= 1.28, "{} B a non-zero", bytes / nonzero);
}

#[test]
fn random_masks_come_back_at_every_level() {
    let mut r = Random(7);
    for case in 0..400 {
        let levels = 1 + (r.next() % 4) as usize;
        let rows = 1 + (r.next() % 5) as usize;
        let columns = 1 + (r.next() % 180) as usize;
        let zeros = r.next() % 20;
        let n = rows * columns;
        let weights: Vec<i8> = (0..n)
            .map(|_| {
                let zero = r.next() % 20 < zeros;
                let w = (r.next() % 255) as i64 - 127;
                if zero { 0 } else { w as i8 }
            })
            .collect();
        // 255 is what no level holds.
        let level_of: Vec<u8> = (0..n)
            .map(|_| match r.next() % (levels as u64 + 1) {
                l if l == levels as u64 => 255,
                l => l as u8,
            })
            .collect();
        let stream = encode_stream(rows, columns, levels, &weights, Some(&level_of)).unwrap();
        let device = checked(&stream);
        let compact = encode_compact(rows, columns, levels, &weights, Some(&level_of)).unwrap();
        for level in 0..levels {
            let want = expected(&weights, &level_of, level);
            assert_eq!(
                decode_stream(&stream, level),
                want,
                "case {case} level {level}"
            );
            let prefix: Vec<u16> = device.prefix(level).iter().collect();
            assert_eq!(prefix, &stream.prefix[level * rows..][..rows]);
            assert_eq!(
                compact.decode(level),
                want,
                "compact case {case} level {level}"
            );
        }
        // Even levels ascend and odd ones descend.
        let mut start = 0;
        for row in 0..rows {
            let (mut column, mut done) = (0i32, 0);
            for level in 0..levels {
                let end = usize::from(stream.prefix[level * rows + row]);
                let mut last: Option<i32> = None;
                for e in &entries(&stream)[2 * (start + done)..2 * (start + end)] {
                    column += i32::from(e.delta);
                    if e.weight != 0 {
                        let ordered = last.is_none_or(|l| (column > l) == (level % 2 == 0));
                        assert!(ordered, "case {case}");
                        last = Some(column);
                    }
                }
                done = end;
            }
            start += done;
        }
    }
}

#[test]
fn counts_beyond_16_bits_are_refused() {
    let error = encode_stream(1, 70_000, 1, &vec![0; 70_000], None).unwrap_err();
    assert!(error.contains("70000 columns"), "{error}");
    assert!(encode_stream(1, 65_535, 1, &vec![1; 65_535], None).is_ok());
}
