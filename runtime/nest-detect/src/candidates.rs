//! Boxes that a network found: keeping the strongest, and suppressing those that overlap them.

use core::cmp::Ordering;

use crate::BBox;

/// A box with what it is taken to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Detection {
    /// How sure the network is; above the threshold.
    pub score: f32,
    /// The class, counted as the network does, without background.
    pub class: u32,
    /// Where; may reach over the edges of the input.
    pub bbox: BBox,
}

impl Detection {
    /// Nothing: what to fill slots with.
    pub const NONE: Self = Self {
        score: 0.0,
        class: 0,
        bbox: BBox {
            left: 0.0,
            top: 0.0,
            right: 0.0,
            bottom: 0.0,
        },
    };

    /// Strongest first. Among equal scores the class and then the sides decide, so that the order
    /// does not depend on the order in which boxes were decoded.
    pub fn rank(&self, other: &Self) -> Ordering {
        let sides = |d: &Self| [d.bbox.left, d.bbox.top, d.bbox.right, d.bbox.bottom];
        (other.score.total_cmp(&self.score))
            .then_with(|| self.class.cmp(&other.class))
            .then_with(|| {
                let (own, others) = (sides(self), sides(other));
                let mut pairs = own.iter().zip(&others).map(|(a, b)| a.total_cmp(b));
                pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            })
    }
}

/// The strongest of any number of candidates, in memory of the caller's.
#[derive(Debug)]
pub struct Strongest<'a> {
    /// The first `len` are a heap: none ranks before its children at `2 i + 1` and `2 i + 2`, so the
    /// first is the weakest.
    slots: &'a mut [Detection],
    len: usize,
}

impl<'a> Strongest<'a> {
    /// Keeps at most as many candidates as there are slots.
    pub fn new(slots: &'a mut [Detection]) -> Self {
        Self { slots, len: 0 }
    }

    /// Takes a candidate; where all slots are full, the weakest goes.
    pub fn push(&mut self, candidate: Detection) {
        if let Some(slot) = self.slots.get_mut(self.len) {
            *slot = candidate;
            self.len += 1;
            self.rise(self.len - 1);
        } else if let Some(weakest) = self.slots.first_mut() {
            if candidate.rank(weakest) == Ordering::Less {
                *weakest = candidate;
                self.sink(self.len);
            }
        }
    }

    /// Whether the candidate in slot `a` ranks before that in slot `b`; both are there.
    fn before(&self, a: usize, b: usize) -> bool {
        match (self.slots.get(a), self.slots.get(b)) {
            (Some(a), Some(b)) => a.rank(b) == Ordering::Less,
            _ => false,
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if let (Some(&of_a), Some(&of_b)) = (self.slots.get(a), self.slots.get(b)) {
            for (at, candidate) in [(a, of_b), (b, of_a)] {
                if let Some(slot) = self.slots.get_mut(at) {
                    *slot = candidate;
                }
            }
        }
    }

    /// Brings the candidate in slot `at` up to its place in the heap.
    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.before(parent, at) {
                break;
            }
            self.swap(parent, at);
            at = parent;
        }
    }

    /// Brings the first candidate down to its place in a heap of `len`.
    fn sink(&mut self, len: usize) {
        let mut at = 0;
        loop {
            let mut weakest = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < len && self.before(weakest, child) {
                    weakest = child;
                }
            }
            if weakest == at {
                return;
            }
            self.swap(at, weakest);
            at = weakest;
        }
    }

    /// The candidates that were kept, strongest first.
    pub fn into_sorted(mut self) -> &'a mut [Detection] {
        for len in (1..self.len).rev() {
            self.swap(0, len);
            self.sink(len);
        }
        self.slots.get_mut(..self.len).unwrap_or_default()
    }

    /// Greedy suppression: going from the strongest candidate to the weakest, one is dropped if it
    /// overlaps a kept one of its class by more than `overlap`. Gives the kept ones, strongest first.
    pub fn suppress(self, overlap: f32) -> &'a mut [Detection] {
        let found = self.into_sorted();
        let mut kept = 0;
        for i in 0..found.len() {
            let (Some(&candidate), Some(stronger)) = (found.get(i), found.get(..kept)) else {
                break;
            };
            let dropped = stronger
                .iter()
                .any(|k| k.class == candidate.class && k.bbox.overlap(&candidate.bbox) > overlap);
            if !dropped {
                if let Some(slot) = found.get_mut(kept) {
                    *slot = candidate;
                }
                kept += 1;
            }
        }
        found.get_mut(..kept).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// Small numbers with many ties.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 33) % n
        }
        fn detection(&mut self) -> Detection {
            let mut side = || self.below(8) as f32 / 8.0;
            let [left, top, width, height] = [side(), side(), side(), side()];
            Detection {
                score: self.below(6) as f32 / 4.0,
                class: self.below(2) as u32,
                bbox: BBox {
                    left,
                    top,
                    right: left + width,
                    bottom: top + height,
                },
            }
        }
    }

    #[test]
    fn the_strongest_are_those_a_full_sort_puts_first() {
        let mut draw = Draw(7);
        for case in 0..300 {
            let count = draw.below(40) as usize;
            let room = draw.below(30) as usize;
            let all: Vec<Detection> = (0..count).map(|_| draw.detection()).collect();
            let mut slots = vec![Detection::default(); room];
            let mut strongest = Strongest::new(&mut slots);
            all.iter().for_each(|d| strongest.push(*d));
            let got = strongest.into_sorted().to_vec();
            let mut expected = all;
            expected.sort_by(Detection::rank);
            expected.truncate(room);
            assert_eq!(got, expected, "case {case}");
        }
    }

    /// What suppression keeps of these.
    fn suppress(all: &[Detection], overlap: f32) -> Vec<Detection> {
        let mut slots = vec![Detection::NONE; all.len()];
        let mut strongest = Strongest::new(&mut slots);
        all.iter().for_each(|d| strongest.push(*d));
        strongest.suppress(overlap).to_vec()
    }

    /// Suppression by its definition, without an order of work: a box is kept if and only if no kept
    /// box that ranks before it overlaps it too much.
    fn is_kept(all: &[Detection], i: usize, overlap: f32) -> bool {
        let before = |j: usize| match all[j].rank(&all[i]) {
            Ordering::Less => true,
            // Of equal boxes, the first stands for all.
            Ordering::Equal => j < i,
            Ordering::Greater => false,
        };
        !(0..all.len()).any(|j| {
            before(j)
                && all[j].class == all[i].class
                && all[j].bbox.overlap(&all[i].bbox) > overlap
                && is_kept(all, j, overlap)
        })
    }

    #[test]
    fn suppression_agrees_with_its_definition() {
        let mut draw = Draw(11);
        let (mut dropped, mut total) = (0, 0);
        for case in 0..400 {
            let count = draw.below(14) as usize;
            let overlap = [0.0, 0.25, 0.45, 0.5, 1.0][case % 5];
            let all: Vec<Detection> = (0..count).map(|_| draw.detection()).collect();
            let mut expected: Vec<Detection> = (0..count)
                .filter(|&i| is_kept(&all, i, overlap))
                .map(|i| all[i])
                .collect();
            expected.sort_by(Detection::rank);
            let kept = suppress(&all, overlap);
            assert_eq!(kept, expected, "case {case}");
            dropped += count - kept.len();
            total += count;
        }
        assert!(
            dropped > total / 20 && dropped < total / 2,
            "{dropped} of {total}"
        );
    }

    #[test]
    fn overlap_at_the_threshold_is_kept() {
        let at = |left: f32| Detection {
            score: 1.0 - left,
            class: 0,
            bbox: BBox {
                left,
                top: 0.0,
                right: left + 0.75,
                bottom: 1.0,
            },
        };
        // The overlap is 0.5 / 1 exactly.
        assert_eq!(suppress(&[at(0.0), at(0.25)], 0.5).len(), 2);
        assert_eq!(suppress(&[at(0.0), at(0.25)], 0.499).len(), 1);
        assert_eq!(suppress(&[], 0.5).len(), 0);
    }
}
