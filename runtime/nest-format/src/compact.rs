//! The compact sparse stream: the entries of a [`crate::NestedStream`] in fewer bytes, to be expanded
//! a row at a time.

use crate::{FormatError, PackedBound};

/// Bits of a gap field, least and most.
const GAP_BITS: [u8; 2] = [3, 5];

/// Nested sparse weights of `rows` output channels over `columns` columns, one byte a weight and a few
/// bits a gap.
///
/// `bytes` holds the rows one after the other, then [`CompactStream::TAIL`] zeros that readers of
/// words may touch. A row is
///
/// - for each level, how many entries it adds (a byte, or two little-endian ones if `wide`), and its
///   `turn`, an `i8` in -32..=31: the columns from the last entry before it to its first;
/// - for each level, the weights of its entries, then their gaps.
///
/// Weights lie in groups of four, `[w0, w2, w1, w3]`; the last group ends with its last weight, and
/// where it is one of two, byte 1 is 0. Gaps are fields of `gap_bits[level]` bits, the first in the
/// lowest bits, in as few bytes as hold them. Even levels ascend: an entry lies `max - field` columns
/// after the one before it, where `max = 2^bits - 1`. Odd levels descend by `field` columns. A level's
/// first entry has a field of 0 that says nothing: its turn does. Entries of weight 0 bridge
/// longer gaps.
///
/// Rows obey the same 23-bit bound as [`crate::NestedStream`].
#[derive(Clone, Copy, Debug)]
pub struct CompactStream<'a> {
    rows: u16,
    columns: u16,
    wide: bool,
    gap_bits: &'a [u8],
    bytes: &'a [u8],
    most_words: u16,
}

/// The head of a row at a level: its entries, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactLevel {
    /// Entries.
    pub count: usize,
    /// Columns to the first.
    pub turn: i8,
    /// First byte of the weights.
    pub weights: usize,
    /// First byte of the gaps.
    pub gaps: usize,
    /// The byte after the last.
    pub end: usize,
}

/// Bytes of `count` weights.
pub const fn compact_weight_bytes(count: usize) -> usize {
    count + (count % 4 == 2) as usize
}

/// Bytes of `count` gaps of `bits` bits.
pub const fn compact_gap_bytes(count: usize, bits: u8) -> usize {
    (count * bits as usize).div_ceil(8)
}

impl<'a> CompactStream<'a> {
    /// Zeros after the last row.
    pub const TAIL: usize = 8;

    /// A checked stream; in a `static` a breach stops the compilation.
    ///
    /// # Panics
    /// On any breach that [`CompactStream::try_new`] reports.
    pub const fn new(
        rows: u16,
        columns: u16,
        wide: bool,
        gap_bits: &'a [u8],
        bytes: &'a [u8],
    ) -> Self {
        match Self::try_new(rows, columns, wide, gap_bits, bytes) {
            Ok(stream) => stream,
            Err(_) => panic!("malformed compact stream"),
        }
    }

    /// A checked stream, or what is wrong with it.
    pub const fn try_new(
        rows: u16,
        columns: u16,
        wide: bool,
        gap_bits: &'a [u8],
        bytes: &'a [u8],
    ) -> Result<Self, FormatError> {
        let mut level = 0;
        while level < gap_bits.len() {
            if gap_bits[level] < GAP_BITS[0] || gap_bits[level] > GAP_BITS[1] {
                return Err(FormatError::GapBits);
            }
            level += 1;
        }
        if gap_bits.len() > u8::MAX as usize || bytes.len() < Self::TAIL {
            return Err(FormatError::WordCount);
        }
        let mut stream = Self {
            rows,
            columns,
            wide,
            gap_bits,
            bytes,
            most_words: 0,
        };
        let end = bytes.len() - Self::TAIL;
        let (mut row, mut start) = (0, 0);
        while row < rows as usize {
            match stream.check_row(start, end) {
                Ok((next, words)) => {
                    start = next;
                    if words > u16::MAX as usize {
                        return Err(FormatError::WordCount);
                    }
                    if words > stream.most_words as usize {
                        stream.most_words = words as u16;
                    }
                }
                Err(error) => return Err(error),
            }
            row += 1;
        }
        if start != end {
            return Err(FormatError::WordCount);
        }
        Ok(stream)
    }

    /// The end of the row from byte `start` on and the words it expands to.
    const fn check_row(&self, start: usize, end: usize) -> Result<(usize, usize), FormatError> {
        let head = self.gap_bits.len() * self.head_bytes();
        if start + head > end {
            return Err(FormatError::WordCount);
        }
        let mut column = 0i32;
        let mut bound = PackedBound::new();
        let (mut level, mut words, mut next) = (0, 0, start + head);
        while level < self.gap_bits.len() {
            let at = self.level(start, next, level);
            if at.end > end {
                return Err(FormatError::WordCount);
            }
            if at.turn < -32 || at.turn > 31 {
                return Err(FormatError::ColumnOutOfRange);
            }
            let mut i = 0;
            while i < at.count {
                let (delta, weight) = self.entry(&at, level, i);
                column += delta as i32;
                if column < 0 || column >= self.columns as i32 {
                    return Err(FormatError::ColumnOutOfRange);
                }
                bound = bound.with(weight);
                i += 1;
            }
            words += at.count.div_ceil(2);
            next = at.end;
            level += 1;
        }
        if !bound.fits() {
            return Err(FormatError::RowTooHeavy);
        }
        Ok((next, words))
    }

    /// Bytes of a level's head.
    const fn head_bytes(&self) -> usize {
        2 + self.wide as usize
    }

    /// The first byte of a row's body, for the row from byte `start` on.
    pub const fn body(&self, start: usize) -> usize {
        start + self.gap_bits.len() * self.head_bytes()
    }

    /// A level of the row from byte `start` on, whose weights begin at byte `weights`: the end of the
    /// level before it, or [`CompactStream::body`].
    #[inline]
    pub const fn level(&self, start: usize, weights: usize, level: usize) -> CompactLevel {
        let head = start + level * self.head_bytes();
        let low = self.byte(head) as usize;
        let (count, turn) = if self.wide {
            (
                low | (self.byte(head + 1) as usize) << 8,
                self.byte(head + 2),
            )
        } else {
            (low, self.byte(head + 1))
        };
        let gaps = weights + compact_weight_bytes(count);
        let bits = if level < self.gap_bits.len() {
            self.gap_bits[level]
        } else {
            0
        };
        CompactLevel {
            count,
            turn: turn as i8,
            weights,
            gaps,
            end: gaps + compact_gap_bytes(count, bits),
        }
    }

    /// Columns moved and weight of entry `i` of a level.
    #[inline]
    pub const fn entry(&self, at: &CompactLevel, level: usize, i: usize) -> (i8, i8) {
        let (group, lane) = (i / 4 * 4, i % 4);
        let lane = match lane {
            1 => 2,
            // Of a group of three, the last weight is in the middle.
            2 => 1,
            lane => lane,
        };
        let weight = self.byte(at.weights + group + lane) as i8;
        if i == 0 {
            return (at.turn, weight);
        }
        let bits = self.gap_bits[level] as usize;
        let first = i * bits;
        let two = self.byte(at.gaps + first / 8) as u32
            | (self.byte(at.gaps + first / 8 + 1) as u32) << 8;
        let most = (1u32 << bits) - 1;
        let field = two >> (first % 8) & most;
        let delta = if level % 2 == 0 {
            (most - field) as i8
        } else {
            -(field as i8)
        };
        (delta, weight)
    }

    /// A byte, 0 behind the end.
    #[inline]
    const fn byte(&self, at: usize) -> u8 {
        if at < self.bytes.len() {
            self.bytes[at]
        } else {
            0
        }
    }

    /// Output channels.
    pub const fn rows(&self) -> usize {
        self.rows as usize
    }
    /// Columns of a row.
    pub const fn columns(&self) -> usize {
        self.columns as usize
    }
    /// Levels.
    pub const fn levels(&self) -> usize {
        self.gap_bits.len()
    }
    /// Bits of a gap at a level.
    pub const fn gap_bits(&self) -> &'a [u8] {
        self.gap_bits
    }
    /// All bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// Words that the longest row expands to at the densest level.
    pub const fn most_words(&self) -> usize {
        self.most_words as usize
    }
}
