//! Dense weights in the order the packed dense kernel reads them.

use crate::FormatError;

/// Dense int8 weights: pairs of rows one after the other, each pair as blocks of 4 columns, one block
/// two little-endian words. The first word holds the block's columns 0 and 2, the second its columns
/// 1 and 3: `[even row's left column, odd row's left, even row's right, odd row's right]`.
///
/// Columns are filled up to a multiple of 4 with zeros. Of an odd number of rows, the last pair holds
/// the last row and once more the one before it, as the even one; a lone row's partner is zeros.
#[derive(Clone, Copy, Debug)]
pub struct DenseWeights<'a> {
    rows: u16,
    columns: u16,
    words: &'a [u32],
}

impl<'a> DenseWeights<'a> {
    /// Words for as many rows and columns.
    pub const fn words_for(rows: usize, columns: usize) -> usize {
        rows.div_ceil(2) * columns.div_ceil(4) * 2
    }

    /// Writes the words of the weights that `weight` gives for row and column.
    #[inline]
    pub fn encode(
        rows: usize,
        columns: usize,
        weight: impl Fn(usize, usize) -> i8,
        words: &mut [u32],
    ) {
        let mut words = words.iter_mut();
        for pair in 0..rows.div_ceil(2) {
            // The last pair of an odd number reaches back; a lone row has no partner.
            let even = (2 * pair).min(rows.saturating_sub(2));
            for left in (0..columns).step_by(4).flat_map(|first| [first, first + 1]) {
                let at = |row, column| {
                    if row < rows && column < columns {
                        weight(row, column) as u8
                    } else {
                        0
                    }
                };
                let right = left + 2;
                let bytes = [
                    (even, left),
                    (even + 1, left),
                    (even, right),
                    (even + 1, right),
                ]
                .map(|(row, column)| at(row, column));
                if let Some(word) = words.next() {
                    *word = u32::from_le_bytes(bytes);
                }
            }
        }
    }

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
        let mut pair = 0;
        while pair < pairs {
            let mut column = columns as usize;
            while column < blocks * 4 {
                if weights.at(pair, 0, column) != 0 || weights.at(pair, 1, column) != 0 {
                    return Err(FormatError::DenseFilling);
                }
                column += 1;
            }
            pair += 1;
        }
        if rows % 2 == 1 {
            let mut column = 0;
            while column < columns as usize {
                let (row, partner) = match pairs {
                    1 => (0, weights.at(0, 1, column)),
                    _ => (
                        weights.at(pairs - 2, 1, column),
                        weights.at(pairs - 1, 0, column),
                    ),
                };
                if row != partner {
                    return Err(FormatError::DenseFilling);
                }
                column += 1;
            }
        }
        Ok(weights)
    }

    /// A weight by its place.
    const fn at(&self, pair: usize, lane: usize, column: usize) -> i8 {
        let blocks = (self.columns as usize).div_ceil(4);
        let word = self.words[(pair * blocks + column / 4) * 2 + column % 2];
        (word >> (8 * (lane + column % 4 / 2 * 2))) as i8
    }

    /// One weight; columns up to the next multiple of 4 are 0.
    #[inline]
    pub const fn weight(&self, row: usize, column: usize) -> i8 {
        let last_of_odd = row % 2 == 0 && row > 0 && row + 1 == self.rows as usize;
        self.at(row / 2, if last_of_odd { 1 } else { row % 2 }, column)
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
