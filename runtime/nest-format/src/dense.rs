//! Dense weights in the order the packed dense kernel reads them.

use crate::FormatError;

/// Dense int8 weights: row pairs one after the other, each pair as blocks of 4 columns
/// `[4 bytes of the even row][4 bytes of the odd row]`, one block two little-endian words. Rows
/// are filled up to an even number and columns to a multiple of 4 with zeros.
/// Rows obey the same 23-bit bound as [`crate::NestedStream`].
#[derive(Clone, Copy, Debug)]
pub struct DenseWeights<'a> {
    rows: u16,
    columns: u16,
    words: &'a [u32],
}

impl<'a> DenseWeights<'a> {
    /// Checked weights; in a `static` a breach stops the compilation.
    ///
    /// # Panics
    /// On any breach that [`DenseWeights::try_new`] reports.
    pub const fn new(rows: u16, columns: u16, words: &'a [u32]) -> Self {
        match Self::try_new(rows, columns, words) {
            Ok(weights) => weights,
            Err(_) => panic!("malformed dense weights"),
        }
    }

    /// Checked weights, or what is wrong with them.
    pub const fn try_new(rows: u16, columns: u16, words: &'a [u32]) -> Result<Self, FormatError> {
        let pairs = (rows as usize).div_ceil(2);
        let blocks = (columns as usize).div_ceil(4);
        if words.len() != pairs * blocks * 2 {
            return Err(FormatError::DenseLength);
        }
        let weights = Self {
            rows,
            columns,
            words,
        };
        let mut row = 0;
        while row < rows as usize {
            let mut positive = 0i64;
            let mut negative = 0i64;
            let mut column = 0;
            while column < blocks * 4 {
                let w = weights.weight(row, column) as i64;
                if column >= columns as usize && w != 0 {
                    return Err(FormatError::DenseLength);
                }
                if w > 0 {
                    positive += w;
                } else {
                    negative -= w;
                }
                column += 1;
            }
            let limit = 1 << 22;
            if 127 * positive + 128 * negative >= limit || 128 * positive + 127 * negative >= limit
            {
                return Err(FormatError::RowTooHeavy);
            }
            row += 1;
        }
        Ok(weights)
    }

    /// One weight; columns up to the next multiple of 4 are 0.
    #[inline]
    pub const fn weight(&self, row: usize, column: usize) -> i8 {
        let blocks = (self.columns as usize).div_ceil(4);
        let word = self.words[((row / 2) * blocks + column / 4) * 2 + row % 2];
        (word >> (8 * (column % 4))) as i8
    }
    /// Output channels.
    pub const fn rows(&self) -> usize {
        self.rows as usize
    }
    /// Inputs of a row.
    pub const fn columns(&self) -> usize {
        self.columns as usize
    }
    /// All words.
    pub const fn words(&self) -> &'a [u32] {
        self.words
    }
}
