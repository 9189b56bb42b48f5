//! Bringing a feature map to the points that int8 can stand for.

use super::elementwise::Rows;
use super::lanes::{Lanes, Simd};
use super::{Map, dispatched};

/// Points `step * n`, `n` whole from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Distance of two points.
    pub step: f32,
    /// Number of the lowest point, at most 0.
    pub low: f32,
    /// Number of the highest point.
    pub high: f32,
}

/// Added and taken away again, it leaves a float below 2^22 rounded to a whole number, halves to even.
const WHOLE: f32 = 12_582_912.0;

dispatched! {
    /// Takes the rows' least and largest elements into `seen`, lane by lane, then brings every
    /// element to the nearest point of `grid`, if there is one.
    pub fn round(map: &Map, rows: Rows, grid: Option<&Grid>, x: &mut [Lanes], seen: &mut [Lanes; 2]) = round_generic;
}

#[inline(always)]
fn round_generic<S: Simd>(
    simd: S,
    map: &Map,
    rows: Rows,
    grid: Option<&Grid>,
    x: &mut [Lanes],
    seen: &mut [Lanes; 2],
) {
    let (mut least, mut largest) = (simd.load(&seen[0]), simd.load(&seen[1]));
    for y in rows {
        for c in 0..map.c {
            let row = &mut x[map.span(c, y)];
            for x in row.iter() {
                let v = simd.load(x);
                least = simd.min(v, least);
                largest = simd.max(v, largest);
            }
            if let Some(grid) = grid {
                let (step, inverse) = (simd.splat(grid.step), simd.splat(1.0 / grid.step));
                let (low, high) = (simd.splat(grid.low), simd.splat(grid.high));
                let whole = simd.splat(WHOLE);
                for x in row {
                    // Held to the ends first, so that adding `WHOLE` rounds it. What is not a number
                    // stays so.
                    let v = simd.mul(simd.load(x), inverse);
                    let v = simd.min(high, simd.max(low, v));
                    let v = simd.sub(simd.add(v, whole), whole);
                    simd.store(simd.mul(v, step), x);
                }
            }
        }
    }
    simd.store(least, &mut seen[0]);
    simd.store(largest, &mut seen[1]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::simd::{Isa, LANES};

    #[test]
    fn elements_come_to_the_nearest_point_with_any_instruction_set() {
        let map = Map {
            c: 2,
            h: 2,
            w: 3,
            origin: 1,
            row: 8,
            channel: 4,
        };
        let value = |i: usize, l: usize| (i as f32 - 7.3) * 0.31 + l as f32 * 0.017;
        let grid = Grid {
            step: 0.25,
            low: -6.0,
            high: 9.0,
        };
        for isa in Isa::available() {
            let mut x: Vec<Lanes> = (0..17)
                .map(|i| Lanes(std::array::from_fn(|l| value(i, l))))
                .collect();
            x[1].0[0] = f32::NAN;
            let before = x.clone();
            let infinite = [f32::INFINITY, f32::NEG_INFINITY].map(|v| Lanes([v; LANES]));
            let mut seen = infinite;
            round(isa, &map, 0..1, None, &mut x, &mut seen);
            assert_eq!(x[2..], before[2..], "nothing moves without a grid");
            let mut expected = infinite;
            for c in 0..2 {
                for i in map.span(c, 0) {
                    for l in 0..LANES {
                        expected[0].0[l] = expected[0].0[l].min(before[i].0[l]);
                        expected[1].0[l] = expected[1].0[l].max(before[i].0[l]);
                    }
                }
            }
            assert_eq!(seen, expected);
            round(isa, &map, 1..2, Some(&grid), &mut x, &mut seen);
            let inside: Vec<usize> = (0..2).flat_map(|c| map.span(c, 1)).collect();
            for i in 2..17 {
                for l in 0..LANES {
                    let v = before[i].0[l];
                    let point = 0.25 * (v / 0.25).clamp(-6.0, 9.0).round_ties_even();
                    let expected = if inside.contains(&i) { point } else { v };
                    assert_eq!(x[i].0[l], expected, "{isa:?} {i} {l}");
                }
            }
            round(isa, &map, 0..1, Some(&grid), &mut x, &mut seen);
            assert!(x[1].0[0].is_nan(), "what is not a number is not hidden");
        }
    }
}
