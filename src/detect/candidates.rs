//! Boxes that a network found: keeping the strongest, and suppressing those that overlap them.

use core::cmp::Ordering;

use crate::data::BBox;

/// A box with what it is taken to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Detection {
    /// How sure the network is; above the head's threshold.
    pub score: f32,
    /// The class, counted as the network does, without background.
    pub class: u32,
    /// Where, in fractions of the network's input; may reach over its edges.
    pub bbox: BBox,
}

impl Detection {
    /// Strongest first. Among equal scores the class and then the sides decide, so that the order
    /// does not depend on the order in which boxes were decoded.
    pub fn rank(&self, other: &Self) -> Ordering {
        let sides = |d: &Self| [d.bbox.left, d.bbox.top, d.bbox.right, d.bbox.bottom];
        let mut order = (other.score.total_cmp(&self.score)).then(self.class.cmp(&other.class));
        for (a, b) in sides(self).iter().zip(&sides(other)) {
            order = order.then(a.total_cmp(b));
        }
        order
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
        if self.len < self.slots.len() {
            self.slots[self.len] = candidate;
            self.len += 1;
            self.rise(self.len - 1);
        } else if let Some(weakest) = self.slots.first_mut()
            && candidate.rank(weakest) == Ordering::Less
        {
            *weakest = candidate;
            self.sink();
        }
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.slots[parent].rank(&self.slots[at]) != Ordering::Less {
                break;
            }
            self.slots.swap(parent, at);
            at = parent;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let mut weakest = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.len
                    && self.slots[weakest].rank(&self.slots[child]) == Ordering::Less
                {
                    weakest = child;
                }
            }
            if weakest == at {
                return;
            }
            self.slots.swap(at, weakest);
            at = weakest;
        }
    }

    /// The candidates that were kept, in no particular order.
    pub fn into_slice(self) -> &'a mut [Detection] {
        &mut self.slots[..self.len]
    }
}

/// Greedy suppression: going from the strongest box to the weakest, a box is dropped if it overlaps a
/// kept one of its class by more than `overlap`. The kept boxes stand first afterwards, strongest
/// first; gives how many they are.
pub fn suppress(found: &mut [Detection], overlap: f32) -> usize {
    found.sort_unstable_by(Detection::rank);
    let mut kept = 0;
    for i in 0..found.len() {
        let candidate = found[i];
        let dropped = found[..kept]
            .iter()
            .any(|k| k.class == candidate.class && k.bbox.overlap(&candidate.bbox) > overlap);
        if !dropped {
            found[kept] = candidate;
            kept += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
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
            let mut got = strongest.into_slice().to_vec();
            got.sort_by(Detection::rank);
            let mut expected = all;
            expected.sort_by(Detection::rank);
            expected.truncate(room);
            assert_eq!(got, expected, "case {case}");
        }
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
            let mut found = all;
            let kept = suppress(&mut found, overlap);
            assert_eq!(found[..kept], expected, "case {case}");
            dropped += count - kept;
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
        assert_eq!(suppress(&mut [at(0.0), at(0.25)], 0.5), 2);
        assert_eq!(suppress(&mut [at(0.0), at(0.25)], 0.499), 1);
        assert_eq!(suppress(&mut [], 0.5), 0);
    }
}
