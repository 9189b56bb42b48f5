//! What the levels of a trained run cost and how well they do.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::approach::Deployment;
use super::runs::{self, Fingerprint, Run, read_json, short, write_json};
use super::{BUILD, IMAGES, Material, Progress, StudyOptions, run_file};
use crate::bench::{self, BenchOptions, Compiled, Settings};
use crate::diag::Result;
use crate::emit::{self, Budgets};
use crate::emulator::EMULATOR_MODEL;
use crate::image::{self, BuildOptions, TARGET_DIR_VARIABLE};
use crate::ir::ids::Level;
use crate::ir::nested::NestedModel;
use crate::passes::{self, CompileOptions, evaluate_int8};
use crate::report::{FlashBytes, RamBytes, SCHEMA_VERSION};
use crate::train;
use crate::units::{Cycles, Macs};

/// Suffix of a run's measurement.
const MEASURED: &str = ".measured.json";

/// What was measured of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What the figures depend on: a measurement of another model, board or program is made anew.
    pub fingerprint: Fingerprint,
    /// Images behind all accuracies.
    pub images: u64,
    /// Share of them classified right in float, sparsest level first.
    pub accuracy_float: Vec<f64>,
    /// Every firmware that was made of the run.
    pub builds: Vec<Build>,
}

/// One firmware.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Whether it serves all levels of the run, or one.
    pub deployment: Deployment,
    /// Its levels, sparsest first.
    pub levels: Vec<BuildLevel>,
    /// Flash of the image.
    pub flash_bytes: FlashBytes,
    /// RAM of an inference.
    pub ram_bytes: RamBytes,
}

/// A level of a firmware.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildLevel {
    /// The sparsity asked for.
    pub sparsity: f64,
    /// Share of images classified right in the device's arithmetic.
    pub accuracy_int8: f64,
    /// Of an inference, in the cycle model's expected setting.
    pub cycles: Cycles,
    /// With everything that the cycle model assumes at its unfavourable end.
    pub cycles_pessimistic: Cycles,
    /// Multiply-accumulates by weights that are not zero.
    pub effective_macs: Macs,
}

/// The measurement of a run; none if there is none.
pub fn measured(folder: &Path, run: &Run) -> Result<Option<Measured>> {
    Ok(read_json(&run_file(folder, run, MEASURED))?)
}

/// Measures a run, unless that is done.
pub fn measure_run(
    run: &Run,
    material: &Material<'_>,
    options: &StudyOptions,
    progress: &mut dyn Progress,
) -> Result<()> {
    let (model, record) = runs::model(&options.folder, run)?;
    let board = &options.board;
    let fingerprint: Fingerprint = [
        ("nestc version", env!("CARGO_PKG_VERSION").to_string()),
        ("cycle model", EMULATOR_MODEL.to_string()),
        ("target", board.name.clone()),
        ("model of SHA-256", record.model_sha256),
        (
            "images of SHA-256",
            train::hash_of_data(material.evaluation),
        ),
        (
            "calibration of SHA-256",
            train::hash_of_data(material.train),
        ),
    ]
    .map(|(k, v)| (k.to_string(), v))
    .into();
    if let Some(found) = measured(&options.folder, run)?
        && found.fingerprint == fingerprint
    {
        return Ok(());
    }
    progress.measuring(run, "float accuracy");
    let evaluations = train::evaluate(&model, material.evaluation, options.train.threads)?;
    let mut builds = Vec::new();
    for &deployment in run.approach.deployments() {
        let apart = deployment == Deployment::Apart && model.level_count() > 1;
        let models: Vec<(Vec<f64>, NestedModel)> = if apart {
            (model.level_ids().zip(&run.levels))
                .map(|(level, &sparsity)| (vec![sparsity], alone(&model, level, sparsity)))
                .collect()
        } else {
            vec![(run.levels.clone(), model.clone())]
        };
        for (levels, model) in models {
            let name = match (apart, &levels[..]) {
                (true, &[level]) => format!("{}-only{}", run.name(), short(level)),
                _ => run.name(),
            };
            progress.measuring(run, &format!("firmware {name}"));
            builds.push(build(&name, deployment, &levels, model, material, options)?);
        }
    }
    let measured = Measured {
        schema_version: SCHEMA_VERSION,
        fingerprint,
        images: material.evaluation.len() as u64,
        accuracy_float: (evaluations.iter())
            .map(|e| e.accuracy_top1.unwrap_or(0.0))
            .collect(),
        builds,
    };
    write_json(&run_file(&options.folder, run, MEASURED), &measured)?;
    progress.measured(run, &measured);
    Ok(())
}

/// A level as a model of its own.
fn alone(model: &NestedModel, level: Level, sparsity: f64) -> NestedModel {
    let mut plain = NestedModel::plain(model.level(level));
    plain.graph.name = format!("{}-only{}", model.graph.name, short(sparsity));
    plain.preprocessing.clone_from(&model.preprocessing);
    for info in &mut plain.levels {
        info.sparsity = sparsity;
    }
    plain
}

/// Compiles a model, runs it on the emulator, and evaluates it in the device's arithmetic.
fn build(
    name: &str,
    deployment: Deployment,
    levels: &[f64],
    mut model: NestedModel,
    material: &Material<'_>,
    options: &StudyOptions,
) -> Result<Build> {
    let board = &options.board;
    let budgets = Budgets::default();
    emit::check_activations(&model.graph, board, budgets, false)?;
    // Names of crates hold no dots.
    model.graph.name = model.graph.name.replace('.', "_");
    let compile = CompileOptions {
        preprocessing: Some(material.train.preprocessing.clone()),
        calibration: Some(material.train),
        fast_memory: Some(emit::fast_memory(&model.graph, board)),
        ..CompileOptions::default()
    };
    let program = passes::compile(model, &compile, &mut ())?;
    let folder = options.folder.join(IMAGES).join(name);
    // All firmware of a study shares a build folder, unless the user has one for everything.
    let shared = std::env::var_os(TARGET_DIR_VARIABLE).is_none();
    let building = BuildOptions {
        target_dir: shared.then(|| options.folder.join(BUILD)),
        ..BuildOptions::default()
    };
    image::compile(&program, board, budgets, &folder, &building)?;
    let compiled = Compiled::open(&folder)?;
    // Cycles and bits do not depend on the picture.
    let bench = BenchOptions {
        verify: 1,
        ..BenchOptions::default()
    };
    let report = bench::bench_emulated(&compiled, &Settings::of(board), &bench, &mut |_, _| ())?;
    bench::verdict(&report)?;
    let accuracies = evaluate_int8(&program, material.evaluation, &|_| {})?;
    Ok(Build {
        deployment,
        levels: (report.levels.iter().zip(&accuracies).zip(levels))
            .map(|((level, accuracy), &sparsity)| BuildLevel {
                sparsity,
                accuracy_int8: accuracy.top1(),
                // The command line refuses boards without cycles.
                cycles: level.cycles.unwrap_or_default(),
                cycles_pessimistic: (level.cycles_pessimistic.or(level.cycles)).unwrap_or_default(),
                effective_macs: level.effective_macs,
            })
            .collect(),
        flash_bytes: report.flash_bytes,
        ram_bytes: report.ram_bytes,
    })
}
