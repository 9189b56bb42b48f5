//! From the results of all runs to the figures of a study.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::approach::{Approach, Deployment};
use super::measure::{Build, BuildLevel, Measured, measured};
use super::runs::{Fingerprint, Run, RunRecord, record};
use super::{Material, StudyOptions};
use crate::diag::{Diagnostic, Result, STUDY_DAMAGED};
use crate::emulator::EMULATOR_MODEL;
use crate::report::chart::pareto_front;
use crate::report::{FlashBytes, SCHEMA_VERSION};
use crate::units::{Bytes, Hertz};

/// A figure over seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of a sample (divided by one less than the count), from two on.
    pub deviation: Option<f64>,
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// How many seeds.
    pub count: usize,
}

impl Figure {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count.max(1) as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self {
            mean,
            deviation: (count > 1).then(|| (squares / (count - 1) as f64).sqrt()),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            count,
        }
    }
}

/// What a study found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The program's version.
    pub nestc_version: String,
    /// The network.
    pub model: String,
    /// The data set.
    pub data: String,
    /// What accuracies were measured on.
    pub evaluated_on: String,
    /// How many images those are.
    pub images: u64,
    /// Training images.
    pub training_images: u64,
    /// The board.
    pub target: String,
    /// Its clock.
    pub clock_hz: Hertz,
    /// The cycle model.
    pub emulator_model: String,
    /// Sparsities asked for, sparsest first.
    pub levels: Vec<f64>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Epochs of each run that trains.
    pub epochs: usize,
    /// What a run of the first approach depends on.
    pub fingerprint: Fingerprint,
    /// What was compared, approach by approach.
    pub variants: Vec<Variant>,
}

/// An approach in one form of deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The approach.
    #[serde(rename = "method")]
    pub approach: Approach,
    /// How its levels lie in flash.
    pub deployment: Deployment,
    /// In tables and charts.
    pub title: String,
    /// What is done.
    pub rule: String,
    /// Of all training runs of a seed, added up.
    pub training_seconds: Figure,
    /// What must be stored to offer all levels, the mean over seeds. Of levels that are images of
    /// their own: the data of all and the code of the largest.
    pub flash_bytes: FlashBytes,
    /// RAM of an inference at the level that needs most, the most over seeds.
    pub ram_bytes: Bytes,
    /// Levels, sparsest first.
    pub levels: Vec<LevelFigures>,
}

/// A level of a variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelFigures {
    /// 0 is the sparsest.
    pub level: usize,
    /// The sparsity asked for.
    pub sparsity: f64,
    /// Share of images classified right in float.
    pub accuracy_float: Figure,
    /// The same in the device's arithmetic.
    pub accuracy_int8: Figure,
    /// The float accuracy less that of the separately trained model of the same seed, if such are
    /// part of the study.
    pub float_minus_separate: Option<Figure>,
    /// The device's accuracy less the float one of the same run.
    pub int8_minus_float: Figure,
    /// Of an inference, in the cycle model's expected setting.
    pub cycles: Figure,
    /// With everything that the cycle model assumes at its unfavourable end.
    pub cycles_pessimistic: Figure,
    /// Multiply-accumulates by weights that are not zero.
    pub effective_macs: Figure,
    /// Whether no level of any variant has no more cycles and no less accuracy (means, int8).
    pub on_front: bool,
}

/// What one seed gave.
struct OfSeed {
    training_seconds: f64,
    /// A level each, sparsest first.
    float: Vec<f64>,
    /// By deployment.
    builds: BTreeMap<Deployment, Vec<Build>>,
}

/// Reads all results of a study.
///
/// # Errors
/// `E901` if one is missing or damaged.
pub fn assemble(material: &Material<'_>, options: &StudyOptions) -> Result<StudyReport> {
    let levels = &options.train.levels;
    let mut fingerprint = None;
    let mut gathered: Vec<(Approach, Vec<OfSeed>)> = Vec::new();
    for &approach in &options.approaches {
        let mut seeds = Vec::new();
        for &seed in &options.seeds {
            let mut results = Vec::new();
            for run in approach.runs(seed, levels) {
                let (record, measured) = results_of(options, &run)?;
                fingerprint.get_or_insert_with(|| record.fingerprint.clone());
                results.push((record, measured));
            }
            seeds.push(of_seed(&results));
        }
        gathered.push((approach, seeds));
    }
    let separate: Option<Vec<Vec<f64>>> = gathered
        .iter()
        .find(|(approach, _)| *approach == Approach::Separate)
        .map(|(_, seeds)| seeds.iter().map(|s| s.float.clone()).collect());
    let mut variants: Vec<Variant> = Vec::new();
    for (approach, seeds) in &gathered {
        for &deployment in approach.deployments() {
            let separate = separate
                .as_deref()
                .filter(|_| *approach != Approach::Separate);
            variants.push(variant(*approach, deployment, levels, seeds, separate));
        }
    }
    mark_front(&mut variants);
    Ok(StudyReport {
        schema_version: SCHEMA_VERSION,
        nestc_version: env!("CARGO_PKG_VERSION").into(),
        model: material.name.into(),
        data: material.data.into(),
        evaluated_on: material.evaluated_on.into(),
        images: material.evaluation.len() as u64,
        training_images: material.train.len() as u64,
        target: options.board.name.clone(),
        clock_hz: options.board.clock.core_hz,
        emulator_model: EMULATOR_MODEL.into(),
        levels: levels.clone(),
        seeds: options.seeds.clone(),
        epochs: options.train.epochs,
        fingerprint: fingerprint.unwrap_or_default(),
        variants,
    })
}

fn results_of(options: &StudyOptions, run: &Run) -> Result<(RunRecord, Measured)> {
    let record = record(&options.folder, run)?;
    let measured = measured(&options.folder, run)?;
    match (record, measured) {
        (Some(record), Some(measured)) => Ok((record, measured)),
        (record, _) => {
            let what = match record {
                None => "trained",
                Some(_) => "measured",
            };
            Err(Diagnostic::new(
                STUDY_DAMAGED,
                options.folder.display().to_string(),
                format!("run {} is not {what}", run.name()),
                "run the study again, which makes what is missing",
            )
            .into())
        }
    }
}

/// Joins the runs of a seed: one, or one a level.
fn of_seed(results: &[(RunRecord, Measured)]) -> OfSeed {
    let mut builds: BTreeMap<Deployment, Vec<Build>> = BTreeMap::new();
    for build in results.iter().flat_map(|(_, m)| &m.builds) {
        builds
            .entry(build.deployment)
            .or_default()
            .push(build.clone());
    }
    OfSeed {
        training_seconds: results.iter().map(|(r, _)| r.report.seconds).sum(),
        float: (results.iter())
            .flat_map(|(_, m)| m.accuracy_float.iter().copied())
            .collect(),
        builds,
    }
}

fn variant(
    approach: Approach,
    deployment: Deployment,
    levels: &[f64],
    seeds: &[OfSeed],
    separate: Option<&[Vec<f64>]>,
) -> Variant {
    let builds: Vec<&[Build]> = seeds
        .iter()
        .map(|s| s.builds.get(&deployment).map_or(&[][..], Vec::as_slice))
        .collect();
    let info = approach.info();
    let own_images = deployment == Deployment::Apart && approach != Approach::Separate;
    let all = |of: &dyn Fn(&OfSeed, &BuildLevel, usize) -> f64, level: usize| -> Vec<f64> {
        (seeds.iter().zip(&builds).enumerate())
            .filter_map(|(seed, (result, builds))| {
                let built = builds.iter().flat_map(|b| &b.levels).nth(level)?;
                Some(of(result, built, seed))
            })
            .collect()
    };
    let figures = |level: usize| {
        let of = |f: &dyn Fn(&OfSeed, &BuildLevel, usize) -> f64| Figure::of(&all(f, level));
        LevelFigures {
            level,
            sparsity: levels[level],
            accuracy_float: of(&|s, _, _| s.float[level]),
            accuracy_int8: of(&|_, l, _| l.accuracy_int8),
            float_minus_separate: separate
                .map(|other| of(&|s, _, seed| s.float[level] - other[seed][level])),
            int8_minus_float: of(&|s, l, _| l.accuracy_int8 - s.float[level]),
            cycles: of(&|_, l, _| l.cycles.0 as f64),
            cycles_pessimistic: of(&|_, l, _| l.cycles_pessimistic.0 as f64),
            effective_macs: of(&|_, l, _| l.effective_macs.0 as f64),
            on_front: false,
        }
    };
    let flash: Vec<FlashBytes> = builds.iter().map(|builds| stored(builds)).collect();
    let mean = |of: fn(&FlashBytes) -> Bytes| {
        let sum: u64 = flash.iter().map(|f| of(f).0).sum();
        Bytes((sum as f64 / flash.len().max(1) as f64).round() as u64)
    };
    let ram = builds.iter().flat_map(|b| b.iter());
    let seconds: Vec<f64> = seeds.iter().map(|s| s.training_seconds).collect();
    let mut flash_bytes = FlashBytes {
        weights: mean(|f| f.weights),
        indices: mean(|f| f.indices),
        requant: mean(|f| f.requant),
        code: mean(|f| f.code),
        total: Bytes(0),
    };
    flash_bytes.total = data(&flash_bytes) + flash_bytes.code;
    Variant {
        approach,
        deployment,
        title: if own_images {
            format!("{}, own images", info.title)
        } else {
            info.title.into()
        },
        rule: if own_images {
            format!("{}; each level compiled as a model of its own", info.rule)
        } else {
            info.rule.into()
        },
        training_seconds: Figure::of(&seconds),
        flash_bytes,
        ram_bytes: ram.map(|b| b.ram_bytes.total).max().unwrap_or_default(),
        levels: (0..levels.len()).map(figures).collect(),
    }
}

/// Flash without code.
fn data(flash: &FlashBytes) -> Bytes {
    flash.weights + flash.indices + flash.requant
}

/// What must be stored to offer the levels of all of `builds`.
fn stored(builds: &[Build]) -> FlashBytes {
    let sum = |of: fn(&FlashBytes) -> Bytes| builds.iter().map(|b| of(&b.flash_bytes)).sum();
    let mut all = FlashBytes {
        weights: sum(|f| f.weights),
        indices: sum(|f| f.indices),
        requant: sum(|f| f.requant),
        code: builds
            .iter()
            .map(|b| b.flash_bytes.code)
            .max()
            .unwrap_or_default(),
        total: Bytes(0),
    };
    all.total = data(&all) + all.code;
    all
}

/// Marks the levels that no other beats.
fn mark_front(variants: &mut [Variant]) {
    let mut all: Vec<&mut LevelFigures> = variants
        .iter_mut()
        .flat_map(|v| v.levels.iter_mut())
        .collect();
    let points: Vec<(f64, f64)> = all
        .iter()
        .map(|l| (l.cycles.mean, l.accuracy_int8.mean))
        .collect();
    for at in pareto_front(&points) {
        all[at].on_front = true;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::RamBytes;
    use crate::units::{Cycles, Macs};

    fn build(deployment: Deployment, weights: u64, code: u64, levels: &[(f64, u64)]) -> Build {
        let level = |&(accuracy_int8, cycles): &(f64, u64)| BuildLevel {
            sparsity: 0.0,
            accuracy_int8,
            cycles: Cycles(cycles),
            cycles_pessimistic: Cycles(cycles + 100),
            effective_macs: Macs(cycles / 2),
        };
        Build {
            deployment,
            levels: levels.iter().map(level).collect(),
            flash_bytes: FlashBytes {
                weights: Bytes(weights),
                indices: Bytes(10),
                requant: Bytes(5),
                code: Bytes(code),
                total: Bytes(weights + 15 + code),
            },
            ram_bytes: RamBytes {
                total: Bytes(weights / 2),
                ..RamBytes::default()
            },
        }
    }

    fn seed(seconds: f64, float: [f64; 2], builds: Vec<Build>) -> OfSeed {
        OfSeed {
            training_seconds: seconds,
            float: float.to_vec(),
            builds: [(builds[0].deployment, builds)].into(),
        }
    }

    /// Two seeds of nested levels beside two of separate models.
    pub fn variants() -> Vec<Variant> {
        let together = |a: f64, b: f64| {
            let levels = [(a, 1_000_000), (b, 2_000_000)];
            vec![build(Deployment::Together, 80, 40, &levels)]
        };
        let apart = |a: f64, b: f64| {
            vec![
                build(Deployment::Apart, 30, 41, &[(a, 1_000_000)]),
                build(Deployment::Apart, 70, 44, &[(b, 1_900_000)]),
            ]
        };
        let nested = [
            seed(10.0, [0.80, 0.88], together(0.79, 0.88)),
            seed(12.0, [0.82, 0.88], together(0.83, 0.88)),
        ];
        let separate = [
            seed(30.0, [0.81, 0.87], apart(0.80, 0.87)),
            seed(30.0, [0.81, 0.89], apart(0.80, 0.89)),
        ];
        let levels = [0.9, 0.5];
        let other: Vec<Vec<f64>> = separate.iter().map(|s| s.float.clone()).collect();
        let mut all = vec![
            variant(
                Approach::Nested,
                Deployment::Together,
                &levels,
                &nested,
                Some(&other),
            ),
            variant(
                Approach::Separate,
                Deployment::Apart,
                &levels,
                &separate,
                None,
            ),
        ];
        mark_front(&mut all);
        all
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} and {b}");
    }

    #[test]
    fn figures_are_over_seeds() {
        let figure = Figure::of(&[1.0, 2.0, 6.0]);
        near(figure.mean, 3.0);
        near(figure.deviation.unwrap(), 7f64.sqrt());
        assert_eq!((figure.low, figure.high, figure.count), (1.0, 6.0, 3));
        assert_eq!(Figure::of(&[4.0]).deviation, None);
    }

    #[test]
    fn levels_are_compared_seed_by_seed() {
        let all = variants();
        let [nested, separate] = &all[..] else {
            panic!("two variants")
        };
        near(nested.levels[0].accuracy_float.mean, 0.81);
        near(nested.levels[0].accuracy_int8.mean, 0.81);
        let less = nested.levels[0].float_minus_separate.unwrap();
        near(less.mean, 0.0);
        near(less.low, -0.01);
        near(less.high, 0.01);
        near(nested.levels[0].int8_minus_float.low, -0.01);
        assert_eq!(separate.levels[0].float_minus_separate, None);
        near(nested.training_seconds.mean, 11.0);
        near(nested.levels[1].cycles.mean, 2e6);
    }

    #[test]
    fn separate_models_are_added_up_and_share_their_code() {
        let all = variants();
        assert_eq!(all[0].flash_bytes.total, Bytes(80 + 15 + 40));
        assert_eq!(all[1].flash_bytes.weights, Bytes(100));
        assert_eq!(all[1].flash_bytes.code, Bytes(44));
        assert_eq!(all[1].flash_bytes.total, Bytes(100 + 30 + 44));
        assert_eq!(all[1].ram_bytes, Bytes(35));
    }

    #[test]
    fn the_front_is_of_means_in_the_devices_arithmetic() {
        let front: Vec<bool> = variants()
            .iter()
            .flat_map(|v| &v.levels)
            .map(|l| l.on_front)
            .collect();
        // Nested wins at 1.0 M (81 to 80 %); at 88 % for both, separate is cheaper.
        assert_eq!(front, [true, false, false, true]);
    }
}
