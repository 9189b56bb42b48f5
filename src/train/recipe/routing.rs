//! How the gradients of several levels' losses meet in a weight they share.
//!
//! Let `G_l` be the gradient of level `l`'s loss, `o` the sparsest level that holds the weight, and
//! `λ_l` the levels' weights ([`super::schedule`]). Of `L` levels, a step may compute only some; each
//! of those counts for `1 / π_l` of itself, `π_l` being the probability that a step computes it, so
//! that a step's gradient is that of all levels on average. The weight moves along
//!
//! | rule | gradient |
//! |---|---|
//! | owner mean | `sum over l >= o of λ_l G_l / sum over l >= o of λ_l` |
//! | sum | `L / sum of all λ` times `sum over l >= o of λ_l G_l` |
//! | hard | `L / sum of all λ` times `λ_o G_o` |
//! | soft, share `s` | `L / sum of all λ` times `λ_o G_o + s (sum over l > o of λ_l G_l)` |
//!
//! What belongs to one level (normalisation, biases) moves along `G_l` itself, in the steps that
//! compute it.

use serde::{Deserialize, Serialize};

/// The rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Routing {
    /// The mean over the levels that hold the weight (`l >= o`): every weight moves at the same
    /// rate, however many levels use it.
    #[default]
    OwnerMean,
    /// The sum over the levels that hold it.
    Sum,
    /// `G_o` only: a level's loss moves only the weights it adds.
    Hard,
    /// `G_o` plus this share of the denser levels' gradients.
    Soft(f32),
}

/// What a step makes of the levels.
#[derive(Clone, Debug, PartialEq)]
pub struct StepWeights {
    /// `λ_l`, sparsest first.
    pub lambda: Vec<f64>,
    /// `1 / π_l` of the levels that the step computes, 0 of the others.
    pub factor: Vec<f64>,
}

impl StepWeights {
    /// Every level, all alike.
    #[cfg(test)]
    pub fn even(levels: usize) -> Self {
        Self {
            lambda: vec![1.0; levels],
            factor: vec![1.0; levels],
        }
    }
}

/// The coefficients of one level's gradient by the weight's owner.
pub type Coefficients = [f32; 256];

impl Routing {
    /// The coefficient of level `level`'s gradient on a weight, by the weight's owner.
    pub fn coefficients(self, level: usize, step: &StepWeights) -> Coefficients {
        let lambda = &step.lambda;
        let own = lambda[level] * step.factor[level];
        let even = lambda.len() as f64 / lambda.iter().sum::<f64>();
        let mut out = [0.0; 256];
        for (owner, out) in out.iter_mut().enumerate().take(level + 1) {
            let c = match self {
                Routing::OwnerMean => own / lambda[owner..].iter().sum::<f64>(),
                Routing::Sum => own * even,
                Routing::Hard | Routing::Soft(_) if owner == level => own * even,
                Routing::Hard => 0.0,
                Routing::Soft(share) => own * even * f64::from(share),
            };
            *out = c as f32;
        }
        out
    }
}

/// Adds `gradient` to `sum` by the owners' coefficients. Without `owners` all belong to level 0.
pub fn add(coefficients: &Coefficients, owners: Option<&[u8]>, gradient: &[f32], sum: &mut [f32]) {
    match owners {
        None => {
            let c = coefficients[0];
            for (sum, g) in sum.iter_mut().zip(gradient) {
                *sum += c * g;
            }
        }
        Some(owners) => {
            for ((sum, g), &owner) in sum.iter_mut().zip(gradient).zip(owners) {
                *sum += coefficients[usize::from(owner)] * g;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What weights of owners 0, 1, 2 and none get of gradients 1, 10 and 100.
    fn routed(rule: Routing, step: &StepWeights) -> [f32; 4] {
        let owners = [0u8, 1, 2, 255];
        let mut sum = [0.0; 4];
        for level in 0..3 {
            let gradient = [10f32.powi(level as i32); 4];
            let coefficients = rule.coefficients(level, step);
            add(&coefficients, Some(&owners), &gradient, &mut sum);
        }
        sum
    }

    #[test]
    fn each_rule_weighs_the_levels_as_it_says() {
        let even = StepWeights::even(3);
        assert_eq!(routed(Routing::Sum, &even), [111.0, 110.0, 100.0, 0.0]);
        assert_eq!(routed(Routing::Hard, &even), [1.0, 10.0, 100.0, 0.0]);
        assert_eq!(routed(Routing::Soft(0.5), &even), [56.0, 60.0, 100.0, 0.0]);
        let mean = routed(Routing::OwnerMean, &even);
        assert!((mean[0] - 37.0).abs() < 1e-5, "{mean:?}");
        assert_eq!(mean[1..], [55.0, 100.0, 0.0]);
    }

    /// λ = 1, 2, 5 with a sum of 8: the sums are multiplied by 3 / 8.
    #[test]
    fn level_weights_enter_every_rule() {
        let step = StepWeights {
            lambda: vec![1.0, 2.0, 5.0],
            factor: vec![1.0; 3],
        };
        let mean = routed(Routing::OwnerMean, &step);
        for (got, by_hand) in mean.into_iter().zip([521.0 / 8.0, 520.0 / 7.0, 100.0, 0.0]) {
            assert!((got - by_hand).abs() < 1e-4, "{got} {by_hand}");
        }
        let third = 3.0 / 8.0;
        let sum = [521.0, 520.0, 500.0, 0.0].map(|v| third * v);
        assert_eq!(routed(Routing::Sum, &step), sum);
        let hard = [1.0, 20.0, 500.0, 0.0].map(|v| third * v);
        assert_eq!(routed(Routing::Hard, &step), hard);
        let soft = [1.0 + 130.0, 20.0 + 125.0, 500.0, 0.0].map(|v| third * v);
        assert_eq!(routed(Routing::Soft(0.25), &step), soft);
    }

    #[test]
    fn weights_that_are_never_pruned_belong_to_the_sparsest_level() {
        let step = StepWeights::even(3);
        let mut sum = [1.0];
        add(
            &Routing::Hard.coefficients(1, &step),
            None,
            &[5.0],
            &mut sum,
        );
        assert_eq!(sum, [1.0]);
        add(&Routing::Sum.coefficients(1, &step), None, &[5.0], &mut sum);
        assert_eq!(sum, [6.0]);
    }
}
