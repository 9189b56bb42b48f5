//! Training that expects int8 (quantisation-aware fine-tuning).
//!
//! In the last epochs every forward pass computes with weights and activations that int8 can stand
//! for, by the compiler's own rule ([`crate::ir::rounding`]): weights with one step a row for all
//! levels, activations on a grid of 255 steps a tensor and level. Gradients pass as if nothing were
//! rounded or clipped, and move the unrounded weights, which are what the model keeps.
//!
//! A grid's range follows the least and the largest value of every batch, averaged; from the middle of
//! these epochs on it stays.

use crate::ir::rounding::{Range, round_weight, row_step};

use crate::train::engine::Rounding;
use crate::train::simd::rounding::Grid;

/// Share of the past in a range's average, a step.
const KEPT: f32 = 0.95;

/// Which steps expect int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    first: usize,
    frozen: usize,
}

impl Course {
    /// That of the last `rounded` of `epochs` epochs of `steps` steps; `None` if none is.
    pub fn new(rounded: usize, epochs: usize, steps: usize) -> Option<Self> {
        let rounded = rounded.min(epochs);
        let first = (epochs - rounded) * steps;
        (rounded > 0).then(|| Self {
            first,
            frozen: first + (rounded * steps).div_ceil(2),
        })
    }

    /// Whether step `now` rounds.
    pub fn rounds(self, now: usize) -> bool {
        now >= self.first
    }

    /// Whether ranges follow the batch of step `now`.
    pub fn follows(self, now: usize) -> bool {
        (self.first..self.frozen).contains(&now)
    }
}

/// The weights that int8 stands for, rows of `row_len`: those that no level up to `densest` holds
/// count as zeros. Levels that hold all of the others are one network to the compiler.
pub fn round_rows(
    weight: &[f32],
    owners: Option<&[u8]>,
    densest: usize,
    row_len: usize,
    rounded: &mut [f32],
) {
    let dead = |owner: u8| usize::from(owner) > densest;
    let nested = owners.is_some_and(|o| o.iter().any(|&o| o > 0 && !dead(o)));
    let rows = weight.chunks_exact(row_len.max(1));
    let mut live = vec![0.0; row_len];
    for (r, (row, rounded)) in rows
        .zip(rounded.chunks_exact_mut(row_len.max(1)))
        .enumerate()
    {
        live.copy_from_slice(row);
        if let Some(owners) = owners {
            for (w, &owner) in live.iter_mut().zip(&owners[r * row_len..]) {
                if dead(owner) {
                    *w = 0.0;
                }
            }
        }
        let (step, _) = row_step(&live, nested, 0.0);
        for (to, &w) in rounded.iter_mut().zip(&live) {
            *to = f32::from(round_weight(w, step)) * step;
        }
    }
}

/// What a level's forward pass does to each slot: `ranges` holds two ends a slot, both zero before
/// any was seen.
pub fn roundings(stored: &[bool], ranges: &[f32]) -> Vec<Rounding> {
    (stored.iter().zip(ranges.chunks_exact(2)))
        .map(|(&stored, ends)| match ends {
            _ if !stored => Rounding::Leave,
            [0.0, 0.0] => Rounding::Watch,
            ends => Rounding::Round(grid(ends[0], ends[1])),
        })
        .collect()
}

fn grid(low: f32, high: f32) -> Grid {
    let range = Range::ZERO.with(f64::from(low)).with(f64::from(high));
    let quant = range.quant();
    let zero = f32::from(quant.zero_point);
    Grid {
        step: quant.scale,
        low: -128.0 - zero,
        high: 127.0 - zero,
    }
}

/// Moves the ends of the ranges of all `stored` slots towards what was seen of each.
pub fn follow(ranges: &mut [f32], stored: &[bool], seen: impl Fn(usize) -> [f32; 2]) {
    for (slot, (ends, &stored)) in ranges.chunks_exact_mut(2).zip(stored).enumerate() {
        if !stored {
            continue;
        }
        let [low, high] = seen(slot);
        let seen = [low.min(0.0), high.max(0.0)];
        if *ends == [0.0, 0.0] {
            ends.copy_from_slice(&seen);
        }
        for (end, seen) in ends.iter_mut().zip(seen) {
            *end += (1.0 - KEPT) * (seen - *end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_epochs_round_and_ranges_freeze_in_their_middle() {
        assert_eq!(Course::new(0, 5, 10), None);
        let course = Course::new(2, 5, 10).expect("two epochs");
        let at = |now| (course.rounds(now), course.follows(now));
        assert_eq!(at(29), (false, false));
        assert_eq!([at(30), at(39)], [(true, true); 2]);
        assert_eq!([at(40), at(49)], [(true, false); 2]);
        assert!(Course::new(9, 5, 10).is_some_and(|c| c.follows(0)));
        assert!(Course::new(1, 1, 1).is_some_and(|c| c.follows(0)));
    }

    #[test]
    fn weights_come_to_points_of_one_step_a_row_for_all_levels() {
        let weight = [1.27, 0.504, -0.496, 100.0, 0.0, 0.02, -0.01103, 3.0];
        let owners = [1, 0, 0, 2, 0, 0, 1, 2];
        let mut rounded = [9.0; 8];
        round_rows(&weight, Some(&owners), 1, 4, &mut rounded);
        // What no level holds neither counts nor lives; the largest weight is 127 steps.
        let first = [1.27, 0.50, -0.50, 0.0];
        for (a, b) in rounded.iter().zip(first) {
            assert!((a - b).abs() < 1e-6, "{rounded:?}");
        }
        assert_eq!(rounded[4], 0.0);
        assert!((rounded[5] - 0.02).abs() < 1e-8);
        assert!((rounded[6] + 0.02 * 70.0 / 127.0).abs() < 1e-7);
        // Rounding again moves nothing.
        let mut again = [0.0; 8];
        round_rows(&rounded, Some(&owners), 1, 4, &mut again);
        for (a, b) in rounded.iter().zip(again) {
            assert!((a - b).abs() <= 1e-7, "{a} {b}");
        }
    }

    #[test]
    fn ranges_follow_and_hold_zero() {
        let mut ranges = [0.0; 4];
        let stored = [false, true];
        follow(&mut ranges, &stored, |slot| [0.5, 2.0 * slot as f32]);
        assert_eq!(ranges, [0.0, 0.0, 0.0, 2.0]);
        follow(&mut ranges, &stored, |_| [-1.0, 4.0]);
        assert_eq!(ranges[..2], [0.0, 0.0]);
        assert!((ranges[2] + 0.05).abs() < 1e-6 && (ranges[3] - 2.1).abs() < 1e-6);
        let [leave, watch, round] =
            roundings(&[false, true, true], &[1.0, 1.0, 0.0, 0.0, 0.0, 2.55])[..]
        else {
            panic!("one a slot");
        };
        assert_eq!((leave, watch), (Rounding::Leave, Rounding::Watch));
        let expected = Grid {
            step: 0.01,
            low: 0.0,
            high: 255.0,
        };
        assert_eq!(round, Rounding::Round(expected));
    }
}
