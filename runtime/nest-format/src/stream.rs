//! The nested sparse stream: one stored set of weights, any level a prefix of each row.

use crate::PackedBound;

/// One stored weight: the distance from the previous one's column, and the weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Columns to move, -32..=31.
    pub delta: i8,
    /// The weight; 0 marks filler.
    pub weight: i8,
}

/// Numbers of words, a byte each where all fit, else two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts<'a> {
    /// None above 255.
    Bytes(&'a [u8]),
    /// Any.
    Halfwords(&'a [u16]),
}

impl<'a> Counts<'a> {
    /// How many numbers.
    pub const fn len(self) -> usize {
        match self {
            Counts::Bytes(counts) => counts.len(),
            Counts::Halfwords(counts) => counts.len(),
        }
    }
    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// Bytes of one number.
    pub const fn width(self) -> usize {
        match self {
            Counts::Bytes(_) => 1,
            Counts::Halfwords(_) => 2,
        }
    }
    const fn at(self, index: usize) -> u16 {
        match self {
            Counts::Bytes(counts) => counts[index] as u16,
            Counts::Halfwords(counts) => counts[index],
        }
    }
    /// `count` of the numbers from `start` on; empty if there are fewer.
    fn part(self, start: usize, count: usize) -> Self {
        fn of<T>(all: &[T], start: usize, count: usize) -> &[T] {
            let rest = all.get(start..).unwrap_or(&[]);
            rest.get(..count).unwrap_or(&[])
        }
        match self {
            Counts::Bytes(counts) => Counts::Bytes(of(counts, start, count)),
            Counts::Halfwords(counts) => Counts::Halfwords(of(counts, start, count)),
        }
    }
    /// Where the numbers lie, [`Counts::width`] bytes each, little-endian.
    pub const fn as_ptr(self) -> *const u8 {
        match self {
            Counts::Bytes(counts) => counts.as_ptr(),
            Counts::Halfwords(counts) => counts.as_ptr().cast(),
        }
    }
    /// The numbers.
    pub fn iter(self) -> impl Iterator<Item = u16> + use<'a> {
        let (bytes, halfwords): (&[u8], &[u16]) = match self {
            Counts::Bytes(counts) => (counts, &[]),
            Counts::Halfwords(counts) => (&[], counts),
        };
        let bytes = bytes.iter().map(|&count| count.into());
        bytes.chain(halfwords.iter().copied())
    }
}

/// Why a stream was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// `prefix` must hold `rows * levels` counts.
    PrefixLength,
    /// A row's count shrinks from one level to the next.
    PrefixNotMonotone,
    /// The counts of the densest level do not sum up to the words stored.
    WordCount,
    /// An entry's column lies outside `0..columns`.
    ColumnOutOfRange,
    /// A row's packed sum could leave 23 bits: see [`NestedStream`].
    RowTooHeavy,
    /// Gaps take 3 to 5 bits.
    GapBits,
    /// Dense words must hold `rows` (rounded up to 2) times `columns` (rounded up to 4) bytes.
    DenseLength,
    /// Dense weights beyond the rows and columns, or a last row pair that is not what it must be.
    DenseFilling,
}

/// Nested sparse weights of `rows` output channels over `columns` inputs. A convolution numbers its
/// inputs as its packed activations lie (`NestedLayout` in nest-kernels): no weight may stand on a
/// column between two blocks of them.
///
/// `words` holds the rows one after the other. A word is two entries, little-endian
/// `[delta0 * 4, weight0, delta1 * 4, weight1]`. A row starts at column 0 and holds first the
/// entries of level 0, then those level 1 adds, and so on; even levels ascend, odd levels descend
/// (serpentine), so that no level starts with a jump. Gaps beyond -32..=31 are bridged by entries
/// of weight 0; each level of a row is filled up to whole words.
///
/// `prefix[level * rows + row]` counts the words of `row` up to and including `level`.
///
/// Every row keeps `max(sum over w>0 of 128 w + ..)` within the packed accumulators' 23 bits:
/// `127 * P + 128 * N < 2^22` and `128 * P + 127 * N < 2^22`, where `P` and `N` are the sums of the
/// positive and of the negated negative weights of the row at the densest level.
#[derive(Clone, Copy, Debug)]
pub struct NestedStream<'a> {
    rows: u16,
    columns: u16,
    levels: u8,
    words: &'a [u32],
    prefix: Counts<'a>,
}

impl<'a> NestedStream<'a> {
    /// As [`NestedStream::new`], with counts of a byte.
    ///
    /// # Panics
    /// On any breach that [`NestedStream::try_new`] reports.
    pub const fn narrow(
        rows: u16,
        columns: u16,
        levels: u8,
        words: &'a [u32],
        prefix: &'a [u8],
    ) -> Self {
        match Self::counted(rows, columns, levels, words, Counts::Bytes(prefix)) {
            Ok(stream) => stream,
            Err(_) => panic!("malformed nested stream"),
        }
    }

    /// A checked stream; in a `static` a breach stops the compilation.
    ///
    /// # Panics
    /// On any breach that [`NestedStream::try_new`] reports.
    pub const fn new(
        rows: u16,
        columns: u16,
        levels: u8,
        words: &'a [u32],
        prefix: &'a [u16],
    ) -> Self {
        match Self::try_new(rows, columns, levels, words, prefix) {
            Ok(stream) => stream,
            Err(_) => panic!("malformed nested stream"),
        }
    }

    /// A checked stream, or what is wrong with it.
    pub const fn try_new(
        rows: u16,
        columns: u16,
        levels: u8,
        words: &'a [u32],
        prefix: &'a [u16],
    ) -> Result<Self, FormatError> {
        Self::counted(rows, columns, levels, words, Counts::Halfwords(prefix))
    }

    /// As [`NestedStream::try_new`], with counts of any width.
    pub const fn counted(
        rows: u16,
        columns: u16,
        levels: u8,
        words: &'a [u32],
        prefix: Counts<'a>,
    ) -> Result<Self, FormatError> {
        if prefix.len() != rows as usize * levels as usize {
            return Err(FormatError::PrefixLength);
        }
        let stream = Self {
            rows,
            columns,
            levels,
            words,
            prefix,
        };
        let mut start = 0;
        let mut row = 0;
        while row < rows as usize {
            let mut previous = 0;
            let mut level = 0;
            while level < levels as usize {
                let count = prefix.at(level * rows as usize + row);
                if count < previous {
                    return Err(FormatError::PrefixNotMonotone);
                }
                previous = count;
                level += 1;
            }
            let end = start + previous as usize;
            if end > words.len() {
                return Err(FormatError::WordCount);
            }
            if let Err(error) = stream.check_row(start, end) {
                return Err(error);
            }
            start = end;
            row += 1;
        }
        if start != words.len() {
            return Err(FormatError::WordCount);
        }
        Ok(stream)
    }

    const fn check_row(&self, start: usize, end: usize) -> Result<(), FormatError> {
        let mut column = 0i32;
        let mut bound = PackedBound::new();
        let mut i = start;
        while i < end {
            let mut half = 0;
            while half < 2 {
                let entry = Entry::of(self.words[i], half);
                column += entry.delta as i32;
                if column < 0 || column >= self.columns as i32 {
                    return Err(FormatError::ColumnOutOfRange);
                }
                bound = bound.with(entry.weight);
                half += 1;
            }
            i += 1;
        }
        if !bound.fits() {
            return Err(FormatError::RowTooHeavy);
        }
        Ok(())
    }

    /// Output channels.
    pub const fn rows(&self) -> usize {
        self.rows as usize
    }
    /// Inputs of a row.
    pub const fn columns(&self) -> usize {
        self.columns as usize
    }
    /// Levels.
    pub const fn levels(&self) -> usize {
        self.levels as usize
    }
    /// All words.
    pub const fn words(&self) -> &'a [u32] {
        self.words
    }
    /// Words of each row up to and including `level`; empty if there is no such level.
    pub fn prefix(&self, level: usize) -> Counts<'a> {
        let start = level.saturating_mul(self.rows());
        self.prefix.part(start, self.rows())
    }
}

impl Entry {
    /// Entry `half` (0 or 1) of a word.
    #[inline]
    pub const fn of(word: u32, half: u32) -> Self {
        let pair = (word >> (16 * half)) as u16;
        Self {
            delta: (pair as u8 as i8) >> 2,
            weight: (pair >> 8) as i8,
        }
    }
    /// Two entries as a word.
    pub const fn pair(first: Entry, second: Entry) -> u32 {
        u32::from_le_bytes([
            (first.delta << 2) as u8,
            first.weight as u8,
            (second.delta << 2) as u8,
            second.weight as u8,
        ])
    }
}
