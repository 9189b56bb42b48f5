//! What is compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::runs::Run;
use crate::train::{
    Allocation, Distillation, LevelWeights, Method, Pruning, Recipe, Routing, Schedule, Source,
    TrainOptions,
};

/// A way to get levels of different cost from one dense network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approach {
    /// Nested levels trained together, with the options as given.
    Nested,
    /// A sparse model of its own for every level.
    Separate,
    /// The dense network, pruned at run time.
    Dynamic,
    /// A slimmable network: levels of fewer channels.
    Width,
    /// Nested, gradients summed.
    NestedSum,
    /// Nested, a level's loss moves only the weights it adds.
    NestedHard,
    /// Nested, between the two.
    NestedSoft,
    /// Nested, cut once.
    NestedOneShot,
    /// Nested, one sparsity for all layers.
    NestedUniform,
    /// Nested, budgets in multiply-accumulates.
    NestedMacs,
    /// Nested, distilled from the densest level.
    NestedInPlace,
    /// Nested, without a teacher.
    NestedLabels,
    /// Nested, every level in every step.
    NestedAll,
    /// Nested, all levels counting alike.
    NestedEven,
    /// Nested, statistics measured anew at the end.
    NestedRecalibrated,
    /// Nested, by the recipe of the paper.
    Paper,
}

/// How the levels of an approach are put into flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deployment {
    /// One artefact serves all levels.
    Together,
    /// Every level is compiled as a model of its own.
    Apart,
}

/// A row of [`APPROACHES`].
#[derive(Debug)]
pub struct ApproachInfo {
    /// Which.
    pub approach: Approach,
    /// On the command line.
    pub name: &'static str,
    /// In tables and charts.
    pub title: &'static str,
    /// What is done, in one sentence.
    pub rule: &'static str,
}

/// Every approach, with its name.
pub static APPROACHES: &[ApproachInfo] = &[
    ApproachInfo {
        approach: Approach::Nested,
        name: "nested",
        title: "nested",
        rule: "all levels trained together with the options of the study; each weight follows the mean gradient of the levels that hold it",
    },
    ApproachInfo {
        approach: Approach::Separate,
        name: "separate",
        title: "separate",
        rule: "a model for each level, trained alone with the same options, epochs and seed",
    },
    ApproachInfo {
        approach: Approach::Dynamic,
        name: "dynamic",
        title: "dynamic",
        rule: "the given dense network, its smallest weights left out level by level; nothing is trained, and batch normalisation is measured anew for each level",
    },
    ApproachInfo {
        approach: Approach::Width,
        name: "width",
        title: "width",
        rule: "a slimmable network: each level keeps a share of every layer's channels, trained together with the same options",
    },
    ApproachInfo {
        approach: Approach::NestedSum,
        name: "nested-sum",
        title: "nested, summed",
        rule: "as nested, with the gradients of all levels added up",
    },
    ApproachInfo {
        approach: Approach::NestedHard,
        name: "nested-hard",
        title: "nested, hard",
        rule: "as nested, with a level's loss moving only the weights that the level adds",
    },
    ApproachInfo {
        approach: Approach::NestedSoft,
        name: "nested-soft",
        title: "nested, soft 0.3",
        rule: "as nested-hard, with 0.3 of the denser levels' gradients on the weights that they share",
    },
    ApproachInfo {
        approach: Approach::NestedOneShot,
        name: "nested-one-shot",
        title: "nested, one-shot",
        rule: "as nested, with the weights cut once, before the first step",
    },
    ApproachInfo {
        approach: Approach::NestedUniform,
        name: "nested-uniform",
        title: "nested, uniform",
        rule: "as nested, with the same share of every layer left out",
    },
    ApproachInfo {
        approach: Approach::NestedMacs,
        name: "nested-macs",
        title: "nested, MAC budget",
        rule: "as nested, with levels as budgets of multiply-accumulates instead of weights",
    },
    ApproachInfo {
        approach: Approach::NestedInPlace,
        name: "nested-in-place",
        title: "nested, in place",
        rule: "as nested, distilled from the densest level as it is in each step instead of from the given network",
    },
    ApproachInfo {
        approach: Approach::NestedLabels,
        name: "nested-labels",
        title: "nested, labels",
        rule: "as nested, with labels alone and no teacher",
    },
    ApproachInfo {
        approach: Approach::NestedAll,
        name: "nested-all",
        title: "nested, all levels a step",
        rule: "as nested, with all levels in each step, and not the sparsest, the densest and one drawn by lot",
    },
    ApproachInfo {
        approach: Approach::NestedEven,
        name: "nested-even",
        title: "nested, even",
        rule: "as nested, with the losses of all levels counting alike from start to end",
    },
    ApproachInfo {
        approach: Approach::NestedRecalibrated,
        name: "nested-recalibrated",
        title: "nested, recalibrated",
        rule: "as nested, with batch normalisation measured anew for each level at the end",
    },
    ApproachInfo {
        approach: Approach::Paper,
        name: "paper",
        title: "paper",
        rule: "all levels trained together by the recipe of the paper as nestc reads it: blocks of 1x2 cut once, hard gradient masks, in-place distillation",
    },
];

impl Approach {
    /// Its row of the table; every approach has one (held by a test).
    pub fn info(self) -> &'static ApproachInfo {
        let row = APPROACHES.iter().find(|row| row.approach == self);
        row.unwrap_or(&APPROACHES[0])
    }

    /// How its levels can be put into flash. A slimmable network is measured both ways: firmware of
    /// its own for each level drops the channels that the level does not have, which is the best
    /// that any runtime could do for its cycles.
    pub fn deployments(self) -> &'static [Deployment] {
        match self {
            Approach::Separate => &[Deployment::Apart],
            Approach::Width => &[Deployment::Together, Deployment::Apart],
            _ => &[Deployment::Together],
        }
    }

    /// The training runs that give its levels with one seed.
    pub fn runs(self, seed: u64, levels: &[f64]) -> Vec<Run> {
        let run = |levels: &[f64]| Run {
            approach: self,
            seed,
            levels: levels.to_vec(),
        };
        match self {
            Approach::Separate => levels.iter().map(|&level| run(&[level])).collect(),
            _ => vec![run(levels)],
        }
    }

    /// The options of a run: those of the study, but for what the approach is about.
    pub fn options(self, study: &TrainOptions) -> TrainOptions {
        let base = TrainOptions {
            method: Method::Nested,
            ..study.clone()
        };
        match self {
            Approach::Nested => base,
            // What says how levels share has no meaning for one alone.
            Approach::Separate => TrainOptions {
                level_weights: Some(LevelWeights::default()),
                schedule: Schedule::All,
                ..base
            },
            Approach::Dynamic => TrainOptions {
                epochs: 0,
                recalibrate: true,
                ..base
            },
            Approach::Width => TrainOptions {
                method: Method::Width,
                ..base
            },
            Approach::NestedSum => TrainOptions {
                routing: Routing::Sum,
                ..base
            },
            Approach::NestedHard => TrainOptions {
                routing: Routing::Hard,
                ..base
            },
            Approach::NestedSoft => TrainOptions {
                routing: Routing::Soft(0.3),
                ..base
            },
            Approach::NestedOneShot => TrainOptions {
                pruning: Pruning::OneShot,
                ..base
            },
            Approach::NestedUniform => TrainOptions {
                allocation: Allocation::Uniform,
                ..base
            },
            Approach::NestedMacs => TrainOptions {
                allocation: Allocation::Macs,
                ..base
            },
            Approach::NestedInPlace => TrainOptions {
                distillation: Distillation {
                    from: Source::InPlace,
                    ..base.distillation
                },
                ..base
            },
            Approach::NestedLabels => TrainOptions {
                loss: crate::train::Loss::Labels,
                ..base
            },
            Approach::NestedAll => TrainOptions {
                schedule: Schedule::All,
                ..base
            },
            Approach::NestedEven => TrainOptions {
                level_weights: Some(LevelWeights::default()),
                ..base
            },
            Approach::NestedRecalibrated => TrainOptions {
                recalibrate: true,
                ..base
            },
            Approach::Paper => TrainOptions {
                levels: base.levels,
                epochs: base.epochs,
                learning_rate: base.learning_rate,
                batch: base.batch,
                threads: base.threads,
                ..TrainOptions::recipe(Recipe::Paper)
            },
        }
    }
}

impl fmt::Display for Approach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().name)
    }
}

impl FromStr for Approach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let row = APPROACHES.iter().find(|row| row.name == text);
        row.map(|row| row.approach).ok_or_else(|| {
            let names: Vec<&str> = APPROACHES.iter().map(|row| row.name).collect();
            format!("there is no method `{text}`; give {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_approach_has_a_row_and_a_name_of_its_own() {
        let names: BTreeSet<&str> = APPROACHES.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), APPROACHES.len());
        for row in APPROACHES {
            assert_eq!(row.approach.info().name, row.name);
            assert_eq!(row.name.parse(), Ok(row.approach));
            let json = serde_json::to_string(&row.approach).unwrap();
            assert_eq!(json, format!("\"{}\"", row.name));
        }
        assert!(
            "nest"
                .parse::<Approach>()
                .unwrap_err()
                .contains("nested-sum")
        );
    }

    #[test]
    fn approaches_differ_in_what_they_are_about_alone() {
        let study = TrainOptions {
            levels: vec![0.9, 0.5],
            epochs: 7,
            seed: 3,
            ..TrainOptions::default()
        };
        let mut seen: Vec<TrainOptions> = Vec::new();
        for row in APPROACHES {
            let options = row.approach.options(&study);
            assert_eq!(options.levels, study.levels, "{}", row.name);
            assert_eq!(options.batch, study.batch, "{}", row.name);
            let trained = row.approach != Approach::Dynamic;
            assert_eq!(options.epochs, if trained { 7 } else { 0 }, "{}", row.name);
            // Separate models are trained as nested ones are, each alone.
            if row.approach != Approach::Separate {
                assert!(!seen.contains(&options), "{} is another's", row.name);
                seen.push(options);
            }
        }
    }

    #[test]
    fn separate_models_are_a_run_a_level() {
        let names = |approach: Approach| -> Vec<String> {
            let runs = approach.runs(2, &[0.9, 0.5, 0.0]);
            runs.iter().map(Run::name).collect()
        };
        assert_eq!(names(Approach::Nested), ["nested-seed2"]);
        let apart = ["separate-90-seed2", "separate-50-seed2", "separate-0-seed2"];
        assert_eq!(names(Approach::Separate), apart);
    }
}
