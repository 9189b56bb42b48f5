//! Blocks of four input channels: one index for four weights.

use crate::FormatError;

/// Nested sparse weights of `rows` output channels over `columns` inputs (for a convolution
/// `(ky * kernel_w + kx) * in_c + ic`, `in_c` a multiple of 4), stored in blocks of 4 neighbouring
/// columns.
///
/// `words` holds the blocks row after row, a word each: its four weights, the first in the lowest byte.
/// `steps` tells for each how many blocks it lies after the one before it in its row, or, if it is the
/// row's first, after block 0. A row holds first the blocks of level 0, then those level 1 adds, and so
/// on; the weights of a block that a level adds are added to those of the levels before. Blocks of
/// zeros bridge longer ways.
///
/// `prefix[level * rows + row]` counts the blocks of `row` up to and including `level`.
#[derive(Clone, Copy, Debug)]
pub struct BlockStream<'a> {
    rows: u16,
    columns: u16,
    levels: u8,
    words: &'a [u32],
    steps: &'a [i8],
    prefix: &'a [u16],
}

impl<'a> BlockStream<'a> {
    /// A checked stream; in a `static` a breach stops the compilation.
    ///
    /// # Panics
    /// On any breach that [`BlockStream::try_new`] reports.
    pub const fn new(
        rows: u16,
        columns: u16,
        levels: u8,
        words: &'a [u32],
        steps: &'a [i8],
        prefix: &'a [u16],
    ) -> Self {
        match Self::try_new(rows, columns, levels, words, steps, prefix) {
            Ok(stream) => stream,
            Err(_) => panic!("malformed block stream"),
        }
    }

    /// A checked stream, or what is wrong with it.
    pub const fn try_new(
        rows: u16,
        columns: u16,
        levels: u8,
        words: &'a [u32],
        steps: &'a [i8],
        prefix: &'a [u16],
    ) -> Result<Self, FormatError> {
        if prefix.len() != rows as usize * levels as usize {
            return Err(FormatError::PrefixLength);
        }
        if words.len() != steps.len() || columns % 4 != 0 {
            return Err(FormatError::WordCount);
        }
        let (mut row, mut start) = (0, 0);
        while row < rows as usize {
            let (mut level, mut previous) = (0, 0);
            while level < levels as usize {
                let count = prefix[level * rows as usize + row];
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
            let mut block = 0i32;
            while start < end {
                block += steps[start] as i32;
                if block < 0 || block >= columns as i32 / 4 {
                    return Err(FormatError::ColumnOutOfRange);
                }
                start += 1;
            }
            row += 1;
        }
        if start != words.len() {
            return Err(FormatError::WordCount);
        }
        Ok(Self {
            rows,
            columns,
            levels,
            words,
            steps,
            prefix,
        })
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
    /// All blocks.
    pub const fn words(&self) -> &'a [u32] {
        self.words
    }
    /// The way to each block.
    pub const fn steps(&self) -> &'a [i8] {
        self.steps
    }
    /// Blocks of each row up to and including `level`; empty if there is no such level.
    pub fn prefix(&self, level: usize) -> &'a [u16] {
        let start = level.saturating_mul(self.rows());
        let rest = self.prefix.get(start..).unwrap_or(&[]);
        rest.get(..self.rows()).unwrap_or(&[])
    }
}
