//! Which weight belongs to which level: a ranking of the prunable weights, cut at each level's
//! share, so that the levels are nested by construction.
//!
//! A weight's score is its magnitude, that of a block the mean of its weights' magnitudes. With a
//! budget of multiply-accumulates it is `|w| / sqrt(p)`, `p` the output pixels that the weight is
//! multiplied at: of all masks within a budget, cutting by it keeps the largest sum of `w^2` (the
//! greedy answer to the knapsack of value `w^2` and weight `p`).
//!
//! While training, the cut grows from nothing to its target along the cubic schedule of Zhu and
//! Gupta ("To prune, or not to prune", arXiv 1710.01878), and the weights are ranked anew every few
//! steps: a weight that was cut lives on in the denser levels and may come back.

use rayon::slice::ParallelSliceMut;

use crate::ir::nested::PRUNED;
use crate::train::options::Allocation;

/// What part of its final cut a level has when `progress` (0..=1) of the training is done and the
/// ramp ends at `end`: `1 - (1 - progress / end)^3`.
pub fn ramp(progress: f64, end: f64) -> f64 {
    1.0 - (1.0 - (progress / end).clamp(0.0, 1.0)).powi(3)
}

/// A tensor of prunable weights, `[row][channel][tap]`.
#[derive(Clone, Copy, Debug)]
pub struct Prunable<'a> {
    /// The weights.
    pub weight: &'a [f32],
    /// Input channels of a row.
    pub channels: usize,
    /// Taps of a channel.
    pub taps: usize,
    /// Output pixels: multiply-accumulates of one weight.
    pub pixels: usize,
}

/// How weights are ranked and cut.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// How the cut is spread over tensors.
    pub allocation: Allocation,
    /// Neighbouring input channels of one tap that are cut together.
    pub block: usize,
    /// Multiply-accumulates of all that is not prunable, for [`Allocation::Macs`].
    pub fixed_macs: u64,
}

/// One candidate of the ranking.
#[derive(Clone, Copy, Debug)]
struct Item {
    /// Scores order like their bits; the earlier of equals goes first.
    key: u64,
    tensor: u32,
}

impl Item {
    /// Index in its tensor of the block's first weight.
    fn first(self) -> usize {
        self.key as u32 as usize
    }
}

impl Rule {
    /// The sparsest level that holds each weight ([`PRUNED`] for none), where `shares` (sparsest
    /// level first, none increasing) are left out. Of whole weights, exactly `floor(share * n)` are
    /// left out; blocks leave out no more than that. With a budget, a level's multiply-accumulates
    /// are at most `1 - share` of all.
    pub fn owners(&self, tensors: &[Prunable<'_>], shares: &[f64]) -> Vec<Vec<u8>> {
        let mut owners: Vec<Vec<u8>> = tensors.iter().map(|t| vec![0; t.weight.len()]).collect();
        if self.allocation == Allocation::Uniform {
            for ix in 0..tensors.len() {
                let items = self.items(&tensors[ix..=ix]);
                self.cut(&tensors[ix..=ix], &items, shares, &mut owners[ix..=ix]);
            }
        } else {
            let items = self.items(tensors);
            self.cut(tensors, &items, shares, &mut owners);
        }
        owners
    }

    /// All candidates, the least first.
    fn items(&self, tensors: &[Prunable<'_>]) -> Vec<Item> {
        let count = tensors.iter().map(|t| t.weight.len()).sum();
        let mut items: Vec<Item> = Vec::with_capacity(count);
        for (ix, t) in tensors.iter().enumerate() {
            let scale = match self.allocation {
                Allocation::Macs => 1.0 / (t.pixels as f32).sqrt(),
                Allocation::Global | Allocation::Uniform => 1.0,
            };
            let mut push = |score: f32, first: usize| {
                items.push(Item {
                    key: u64::from((score * scale).to_bits()) << 32 | first as u64,
                    tensor: ix as u32,
                });
            };
            if self.block == 1 {
                for (i, w) in t.weight.iter().enumerate() {
                    push(w.abs(), i);
                }
                continue;
            }
            for row in 0..t.weight.len() / (t.channels * t.taps) {
                for channel in (0..t.channels).step_by(self.block) {
                    let n = self.block.min(t.channels - channel);
                    for tap in 0..t.taps {
                        let first = (row * t.channels + channel) * t.taps + tap;
                        let sum: f32 = (0..n).map(|k| t.weight[first + k * t.taps].abs()).sum();
                        push(sum / n as f32, first);
                    }
                }
            }
        }
        // Keys of different tensors may be equal; the earlier tensor goes first.
        items.par_sort_unstable_by_key(|item| (item.key, item.tensor));
        items
    }

    fn cut(
        &self,
        tensors: &[Prunable<'_>],
        items: &[Item],
        shares: &[f64],
        owners: &mut [Vec<u8>],
    ) {
        let weights: usize = tensors.iter().map(|t| t.weight.len()).sum();
        let macs = |t: &Prunable<'_>| t.weight.len() as u64 * t.pixels as u64;
        let macs: u64 = tensors.iter().map(macs).sum();
        let mut items = items.iter().peekable();
        let (mut out, mut out_macs) = (0, 0);
        for (level, share) in shares.iter().enumerate().rev() {
            let owner = if level + 1 < shares.len() {
                level as u8 + 1
            } else {
                PRUNED
            };
            let most = (share * weights as f64).floor() as usize;
            let budget = ((1.0 - share) * (macs + self.fixed_macs) as f64).floor() as u64;
            let least = macs.saturating_sub(budget.saturating_sub(self.fixed_macs));
            while let Some(item) = items.peek() {
                let t = &tensors[item.tensor as usize];
                let first = item.first();
                let channel = first / t.taps % t.channels;
                let n = self.block.min(t.channels - channel);
                let go_on = match self.allocation {
                    Allocation::Macs => out_macs < least,
                    Allocation::Global | Allocation::Uniform => out + n <= most,
                };
                if !go_on {
                    break;
                }
                for k in 0..n {
                    owners[item.tensor as usize][first + k * t.taps] = owner;
                }
                out += n;
                out_macs += (n * t.pixels) as u64;
                items.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(weight: &[f32]) -> Prunable<'_> {
        Prunable {
            weight,
            channels: weight.len(),
            taps: 1,
            pixels: 1,
        }
    }

    fn rule(allocation: Allocation) -> Rule {
        Rule {
            allocation,
            block: 1,
            fixed_macs: 0,
        }
    }

    #[test]
    fn levels_are_nested_and_exactly_as_sparse_as_asked() {
        let a: Vec<f32> = (0..70).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        let b: Vec<f32> = (0..30).map(|i| ((i * 53) % 97) as f32 * 0.7).collect();
        let owners = rule(Allocation::Global).owners(&[plain(&a), plain(&b)], &[0.9, 0.8, 0.5]);
        let all: Vec<(f32, u8)> = a
            .iter()
            .chain(&b)
            .map(|w| w.abs())
            .zip(owners.concat())
            .collect();
        for (level, kept) in [(0, 10), (1, 20), (2, 50)] {
            assert_eq!(all.iter().filter(|(_, o)| *o <= level).count(), kept);
            let least = all
                .iter()
                .filter(|(_, o)| *o <= level)
                .map(|(w, _)| *w)
                .fold(f32::INFINITY, f32::min);
            let most = all
                .iter()
                .filter(|(_, o)| *o > level)
                .map(|(w, _)| *w)
                .fold(0.0, f32::max);
            assert!(most <= least, "level {level} keeps the largest");
        }
        assert!(all.iter().all(|(_, o)| *o <= 2 || *o == PRUNED));
    }

    #[test]
    fn a_dense_level_holds_everything() {
        let w = [0.0, 1.0, -2.0, 0.5];
        let global = rule(Allocation::Global);
        assert_eq!(global.owners(&[plain(&w)], &[0.5, 0.0]), [[1, 0, 0, 1]]);
        assert_eq!(global.owners(&[plain(&w)], &[0.0]), [[0, 0, 0, 0]]);
    }

    #[test]
    fn uniform_cuts_every_tensor_alike() {
        let (large, small) = ([9.0, 8.0, 7.0, 6.0], [0.4, 0.3, 0.2, 0.1]);
        let tensors = [plain(&large), plain(&small)];
        let owners = rule(Allocation::Uniform).owners(&tensors, &[0.75, 0.5]);
        assert_eq!(owners, [[0, 1, 255, 255], [0, 1, 255, 255]]);
        let owners = rule(Allocation::Global).owners(&tensors, &[0.75, 0.5]);
        assert_eq!(owners, [[0, 0, 1, 1], [255, 255, 255, 255]]);
    }

    /// Weights at 16 pixels and at 1: scores are |w| / 4 and |w|. Of 68 + 4 multiply-accumulates,
    /// half may stay: 36, of which 4 are fixed, so 32 of the prunable ones.
    #[test]
    fn a_budget_is_met_and_weighs_magnitude_against_cost() {
        let (wide, narrow) = ([4.0, 3.0, 2.0, 1.0], [0.6, 0.7, 0.8, 0.01]);
        let tensors = [
            Prunable {
                pixels: 16,
                ..plain(&wide)
            },
            plain(&narrow),
        ];
        let rule = Rule {
            fixed_macs: 4,
            ..rule(Allocation::Macs)
        };
        // Least first: narrow 0.01, wide 1 (0.25), wide 2 (0.5), narrow 0.6, 0.7, wide 3 (0.75).
        // 1 + 16 + 16 are out, 35 remain; 32 need three more: 0.6, 0.7 and wide 3.
        let owners = rule.owners(&tensors, &[0.5, 0.25]);
        // A quarter out: 54 may stay, 50 of them prunable, so 18 go: 0.01, wide 1 and wide 2.
        assert_eq!(owners, [[0, 1, 255, 255], [1, 1, 0, 255]]);
        let kept = |level: u8| {
            let count = |o: &Vec<u8>| o.iter().filter(|o| **o <= level).count();
            16 * count(&owners[0]) + count(&owners[1]) + 4
        };
        assert!(kept(0) <= 36 && kept(1) <= 54);
        let dense = rule.owners(&tensors, &[0.0]);
        assert!(dense.concat().iter().all(|o| *o == 0));
        let none = rule.owners(&tensors, &[0.99]);
        assert!(none.concat().iter().all(|o| *o == PRUNED));
    }

    /// Two rows of three channels and two taps, in blocks of two channels; the third channel's
    /// blocks are short.
    #[test]
    fn blocks_are_cut_whole() {
        #[rustfmt::skip]
        let weight = [
            5.0, 1.0,  1.0, 1.0,  2.0, 0.5,
            0.0, 9.0,  3.0, 9.0,  8.0, 8.0,
        ];
        let tensor = Prunable {
            weight: &weight,
            channels: 3,
            taps: 2,
            pixels: 1,
        };
        let rule = Rule {
            block: 2,
            ..rule(Allocation::Global)
        };
        // Means: row 0: tap 0 3.0, tap 1 1.0, short 2.0 and 0.5; row 1: 1.5, 9.0, short 8.0, 8.0.
        #[rustfmt::skip]
        let expected = [
            0, 255,  0, 255,  1, 255,
            1,   0,  1,   0,  0,   0,
        ];
        // 12 weights: 3 out of the denser level (0.5; then 1.0 with two), 6 of the sparser.
        assert_eq!(rule.owners(&[tensor], &[0.5, 0.25]), [expected]);
    }

    #[test]
    fn masks_are_nested_for_every_rule() {
        let mut state = 7u32;
        let mut number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let a: Vec<f32> = (0..8 * 5 * 9).map(|_| number()).collect();
        let b: Vec<f32> = (0..12 * 8).map(|_| 0.3 * number()).collect();
        let tensors = [
            Prunable {
                weight: &a,
                channels: 5,
                taps: 9,
                pixels: 64,
            },
            Prunable {
                weight: &b,
                channels: 8,
                taps: 1,
                pixels: 16,
            },
        ];
        for allocation in [Allocation::Global, Allocation::Uniform, Allocation::Macs] {
            for block in [1, 2, 4] {
                let rule = Rule {
                    allocation,
                    block,
                    fixed_macs: 100,
                };
                let of = |shares: &[f64]| rule.owners(&tensors, shares).concat();
                let all = of(&[0.9, 0.7, 0.4, 0.0]);
                // Each level is what it would be alone, whatever levels there are beside it.
                for (level, share) in [0.9, 0.7, 0.4, 0.0].into_iter().enumerate() {
                    let alone = of(&[share]);
                    for (o, alone) in all.iter().zip(&alone) {
                        let held = usize::from(*o) <= level;
                        assert_eq!(held, *alone == 0, "{allocation:?} {block} {level}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_ramp_is_cubic_and_ends_where_asked() {
        assert_eq!(ramp(0.0, 0.5), 0.0);
        assert_eq!(ramp(0.25, 0.5), 0.875);
        assert_eq!(ramp(0.5, 0.5), 1.0);
        assert_eq!(ramp(0.9, 0.5), 1.0);
        assert_eq!(ramp(0.5, 1.0), 0.875);
    }
}
