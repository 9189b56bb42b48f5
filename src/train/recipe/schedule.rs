//! Which levels a step trains, and how much each counts.

use crate::train::options::{LevelWeights, Schedule};

use super::random::{below, hash};
use super::routing::StepWeights;

impl LevelWeights {
    /// The weights when `progress` (0..=1) of the run is done: `start + progress (end - start)`.
    pub fn at(&self, levels: usize, progress: f64) -> Vec<f64> {
        if self.start.is_empty() {
            return vec![1.0; levels];
        }
        let end = if self.end.is_empty() {
            &self.start
        } else {
            &self.end
        };
        let between = |(a, b): (&f64, &f64)| a + progress * (b - a);
        self.start.iter().zip(end).map(between).collect()
    }
}

impl Schedule {
    /// `1 / π_l` for the levels that step `step` computes, 0 for the others; `masks_change` as long
    /// as masks do. The sparsest and the densest are always there. Of `m` levels between, `k` are
    /// drawn without replacement, so that each has probability `k / m`.
    pub fn factors(self, levels: usize, seed: u64, step: usize, masks_change: bool) -> Vec<f64> {
        const STREAM: u64 = 4;
        let between = levels.saturating_sub(2);
        let drawn = match self {
            Schedule::All => between,
            Schedule::Late(_) if !masks_change => between,
            Schedule::Sandwich(k) | Schedule::Late(k) => k.min(between),
        };
        let mut factors = vec![1.0; levels];
        if drawn == between {
            return factors;
        }
        let mut order: Vec<usize> = (1..=between).collect();
        for i in 0..between {
            let draw = hash(&[seed, STREAM, step as u64, i as u64]);
            order.swap(i, i + below(draw, between - i));
        }
        for (i, &level) in order.iter().enumerate() {
            factors[level] = if i < drawn {
                between as f64 / drawn as f64
            } else {
                0.0
            };
        }
        factors
    }

    /// What a step makes of the levels.
    pub fn step(
        self,
        weights: &LevelWeights,
        levels: usize,
        seed: u64,
        step: usize,
        steps: usize,
        masks_change: bool,
    ) -> StepWeights {
        let progress = step as f64 / steps.saturating_sub(1).max(1) as f64;
        StepWeights {
            lambda: weights.at(levels, progress),
            factor: self.factors(levels, seed, step, masks_change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::routing::{Routing, add};

    #[test]
    fn level_weights_move_evenly() {
        let weights = LevelWeights {
            start: vec![1.0, 2.0],
            end: vec![4.0, 1.0],
        };
        assert_eq!(weights.at(2, 0.0), [1.0, 2.0]);
        assert_eq!(weights.at(2, 0.5), [2.5, 1.5]);
        assert_eq!(weights.at(2, 1.0), [4.0, 1.0]);
        assert_eq!(LevelWeights::default().at(3, 0.3), [1.0; 3]);
        let still = LevelWeights {
            start: vec![3.0],
            end: Vec::new(),
        };
        assert_eq!(still.at(1, 0.7), [3.0]);
    }

    #[test]
    fn a_sandwich_holds_both_ends_and_as_many_between_as_asked() {
        for step in 0..200 {
            let factors = Schedule::Sandwich(2).factors(5, 9, step, false);
            assert_eq!((factors[0], factors[4]), (1.0, 1.0));
            assert_eq!(factors[1..4].iter().filter(|f| **f == 1.5).count(), 2);
            assert_eq!(factors[1..4].iter().filter(|f| **f == 0.0).count(), 1);
        }
        assert_eq!(Schedule::Sandwich(9).factors(3, 1, 0, true), [1.0; 3]);
        assert_eq!(Schedule::Sandwich(1).factors(2, 1, 0, true), [1.0; 2]);
        assert_eq!(
            Schedule::Sandwich(0).factors(3, 1, 0, true),
            [1.0, 0.0, 1.0]
        );
        assert_eq!(Schedule::Late(1).factors(5, 1, 0, false), [1.0; 5]);
        assert_ne!(Schedule::Late(1).factors(5, 1, 0, true), [1.0; 5]);
    }

    /// On average over many steps a sandwich gives the gradient of all levels.
    #[test]
    fn a_sandwich_is_unbiased() {
        let owners = [0u8, 1, 2, 3, 4];
        let weights = LevelWeights {
            start: vec![1.0, 2.0, 1.5, 1.0, 3.0],
            end: Vec::new(),
        };
        let gradient = |level: usize| [(level * level + 1) as f32; 5];
        for rule in [Routing::OwnerMean, Routing::Sum, Routing::Soft(0.3)] {
            let mean = |schedule: Schedule, steps: usize| {
                let mut sum = [0.0f32; 5];
                for step in 0..steps {
                    let now = schedule.step(&weights, 5, 3, step, steps, true);
                    for level in (0..5).filter(|&l| now.factor[l] > 0.0) {
                        let coefficients = rule.coefficients(level, &now);
                        add(&coefficients, Some(&owners), &gradient(level), &mut sum);
                    }
                }
                sum.map(|s| s / steps as f32)
            };
            let all = mean(Schedule::All, 1);
            for k in [1, 2] {
                let drawn = mean(Schedule::Sandwich(k), 6000);
                for (a, b) in all.iter().zip(drawn) {
                    assert!((a - b).abs() < 0.05 * a, "{rule:?} {k}: {all:?} {drawn:?}");
                }
            }
        }
    }
}
