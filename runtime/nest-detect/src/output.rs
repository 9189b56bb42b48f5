//! Outputs of networks: what their elements stand for, and where they lie.

/// The elements of an output, and the reals they stand for.
pub trait Values: Copy {
    /// An element. It grows with the real it stands for.
    type Element: Copy + PartialOrd;
    /// None is below it.
    const LEAST: Self::Element;

    /// The element at a place; [`Values::LEAST`] behind the end.
    fn get(&self, index: usize) -> Self::Element;
    /// The real that an element stands for.
    fn real(&self, element: Self::Element) -> f32;
    /// The least element whose real `keeps` lets pass, where `keeps` holds for all reals from one on;
    /// `None` if no element passes. Elements that are not told apart may all be let pass.
    fn least(&self, keeps: impl Fn(f32) -> bool) -> Option<Self::Element>;
    /// The real of the largest element; infinite if there is none.
    fn most(&self) -> f32;
}

/// Reals as they are.
impl Values for &[f32] {
    type Element = f32;
    const LEAST: f32 = f32::NEG_INFINITY;

    fn get(&self, index: usize) -> f32 {
        <[f32]>::get(self, index).copied().unwrap_or(Self::LEAST)
    }
    fn real(&self, element: f32) -> f32 {
        element
    }
    fn least(&self, _: impl Fn(f32) -> bool) -> Option<f32> {
        Some(Self::LEAST)
    }
    fn most(&self) -> f32 {
        f32::INFINITY
    }
}

/// An int8 output: `q` stands for `scale * (q - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Int8<'a> {
    /// The elements.
    pub data: &'a [i8],
    /// The real of one step; positive.
    pub scale: f32,
    /// What stands for 0.
    pub zero_point: i8,
}

impl Values for Int8<'_> {
    type Element = i8;
    const LEAST: i8 = i8::MIN;

    fn get(&self, index: usize) -> i8 {
        self.data.get(index).copied().unwrap_or(Self::LEAST)
    }
    fn real(&self, element: i8) -> f32 {
        self.scale * (i32::from(element) - i32::from(self.zero_point)) as f32
    }
    fn least(&self, keeps: impl Fn(f32) -> bool) -> Option<i8> {
        if !keeps(self.most()) {
            return None;
        }
        // Of what is left, `most` passes and what is below `least` does not.
        let (mut least, mut most) = (i8::MIN, i8::MAX);
        while least < most {
            let middle = ((i32::from(least) + i32::from(most)) >> 1) as i8;
            if keeps(self.real(middle)) {
                most = middle;
            } else {
                least = middle + 1;
            }
        }
        Some(most)
    }
    fn most(&self) -> f32 {
        self.real(i8::MAX)
    }
}

/// Where the rows of an output lie, of which each is a candidate's numbers: `runs` times `rows` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Runs of rows.
    pub runs: usize,
    /// Elements from one run to the next.
    pub run: usize,
    /// Rows of a run.
    pub rows: usize,
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one number of a row to the next.
    pub column: usize,
}

impl Rows {
    /// Rows that follow one another: the pixels of a feature map whose channels lie side by side.
    pub const fn pixels(rows: usize, columns: usize) -> Self {
        Self {
            runs: 1,
            run: 0,
            rows,
            row: columns,
            column: 1,
        }
    }

    /// How many rows there are.
    pub const fn count(&self) -> usize {
        self.runs * self.rows
    }

    /// The first element of every row, in their order.
    pub fn starts(self) -> impl Iterator<Item = usize> {
        (0..self.runs)
            .flat_map(move |run| (0..self.rows).map(move |row| run * self.run + row * self.row))
    }
}

/// An output of one row a candidate.
#[derive(Clone, Copy, Debug)]
pub struct Table<V> {
    /// The elements.
    pub values: V,
    /// Where its rows lie.
    pub rows: Rows,
}

impl<V: Values> Table<V> {
    /// An element of the row that starts at `start`.
    pub(crate) fn at(&self, start: usize, column: usize) -> V::Element {
        self.values.get(start + column * self.rows.column)
    }

    /// Its real.
    pub(crate) fn real(&self, start: usize, column: usize) -> f32 {
        self.values.real(self.at(start, column))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::math::sigmoid;

    #[test]
    fn the_least_that_passes_is_found() {
        let mut seed = 5u32;
        let mut unit = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32
        };
        for _ in 0..2000 {
            let values = Int8 {
                data: &[],
                scale: unit() * 0.2 + 1e-5,
                zero_point: (unit() * 255.0 - 128.0) as i8,
            };
            let threshold = unit();
            let keeps = |x: f32| sigmoid(x) > threshold;
            let first = (i8::MIN..=i8::MAX).find(|&q| keeps(values.real(q)));
            assert_eq!(values.least(keeps), first, "{values:?} {threshold}");
        }
        let all = Int8 {
            data: &[3],
            scale: 1.0,
            zero_point: 3,
        };
        assert_eq!(all.least(|_| true), Some(i8::MIN));
        assert_eq!(all.least(|x| x >= 124.0), Some(127));
        assert_eq!(all.least(|_| false), None);
        assert_eq!((all.get(0), all.get(1)), (3, i8::MIN));
    }

    #[test]
    fn rows_start_run_by_run() {
        let rows = Rows {
            runs: 2,
            run: 100,
            rows: 3,
            row: 4,
            column: 1,
        };
        let starts: Vec<usize> = rows.starts().collect();
        assert_eq!(starts, [0, 4, 8, 100, 104, 108]);
        assert_eq!(rows.count(), 6);
        assert_eq!(Rows::pixels(2, 5).starts().collect::<Vec<_>>(), [0, 5]);
    }
}
