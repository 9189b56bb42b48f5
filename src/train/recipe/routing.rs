//! How the gradients of several levels' losses meet in a weight they share.

use serde::{Deserialize, Serialize};

/// The rule. `o` is the sparsest level that holds the weight, `G_l` the gradient of level `l`'s loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Routing {
    /// The mean of `G_l` over the levels that hold the weight (`l >= o`): every weight moves at the
    /// same rate, however many levels use it.
    #[default]
    OwnerMean,
    /// Their sum.
    Sum,
    /// `G_o` only: a level's loss moves only the weights it adds.
    Hard,
    /// `G_o` plus this share of the denser levels' gradients.
    Soft(f32),
}

impl Routing {
    /// The coefficient of level `level`'s gradient on a weight of owner `owner <= level`, of
    /// `levels` levels.
    pub fn coefficient(self, owner: usize, level: usize, levels: usize) -> f32 {
        match self {
            Routing::OwnerMean => 1.0 / (levels - owner) as f32,
            Routing::Sum => 1.0,
            Routing::Hard => f32::from(u8::from(level == owner)),
            Routing::Soft(share) => {
                if level == owner {
                    1.0
                } else {
                    share
                }
            }
        }
    }

    /// Adds `gradient` of level `level` to `sum` as the rule says. `owners` gives each weight's
    /// sparsest level; without it, all belong to level 0.
    pub fn add(
        self,
        level: usize,
        levels: usize,
        owners: Option<&[u8]>,
        gradient: &[f32],
        sum: &mut [f32],
    ) {
        let coefficients: Vec<f32> = (0..=level)
            .map(|owner| self.coefficient(owner, level, levels))
            .collect();
        match owners {
            None => {
                for (sum, g) in sum.iter_mut().zip(gradient) {
                    *sum += coefficients[0] * g;
                }
            }
            Some(owners) => {
                for ((sum, g), &owner) in sum.iter_mut().zip(gradient).zip(owners) {
                    if let Some(c) = coefficients.get(usize::from(owner)) {
                        *sum += c * g;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_weighs_the_levels_as_it_says() {
        let owners = [0u8, 1, 2, 255];
        let routed = |rule: Routing| {
            let mut sum = [0.0; 4];
            for level in 0..3 {
                let gradient = [10f32.powi(level as i32); 4];
                rule.add(level, 3, Some(&owners), &gradient, &mut sum);
            }
            sum
        };
        assert_eq!(routed(Routing::Sum), [111.0, 110.0, 100.0, 0.0]);
        assert_eq!(routed(Routing::Hard), [1.0, 10.0, 100.0, 0.0]);
        assert_eq!(routed(Routing::Soft(0.5)), [56.0, 60.0, 100.0, 0.0]);
        let mean = routed(Routing::OwnerMean);
        assert!((mean[0] - 37.0).abs() < 1e-5, "{mean:?}");
        assert_eq!(mean[1..], [55.0, 100.0, 0.0]);
    }
}
