//! Comparing ways to get levels of different cost: nested training, separate models, dynamic pruning,
//! and scaling of the width, all from one program, on the same images, network, epochs and target.
//!
//! A study is a folder. Every training run is a model and a record in its `runs/`, written when the
//! run is done and not made again while it belongs to the same options and data; every measurement
//! lies beside it. So a study that is killed goes on where it stood, and parts of one may be made on
//! several machines and put into one folder. [`train_runs`] and [`measure_runs`] fill the folder,
//! [`assemble`] makes [`StudyReport`] of it, and [`write`] the tables and charts.
//!
//! **The test set.** With a validation split, accuracies are those of images held out of training, and
//! the test set is not read at all: this is how options are chosen. Without, training sees all
//! training images and no other, and the test images are read once, when the models are final.

mod approach;
mod measure;
mod render;
mod runs;
mod split;
mod summary;

use std::path::{Path, PathBuf};

use crate::data::Dataset;
use crate::diag::Result;
use crate::ir::float::FloatGraph;
use crate::target::Board;
use crate::train::{self, TrainOptions};

pub use approach::{APPROACHES, Approach, Deployment};
pub use measure::{Build, BuildLevel, Measured};
pub use render::{tables, write};
pub use runs::{Run, RunRecord, short};
pub use split::hold_out;
pub use summary::{Figure, LevelFigures, StudyReport, Variant, assemble};

/// Training runs, in the study's folder.
const RUNS: &str = "runs";
/// Firmware of the models, in the study's folder.
const IMAGES: &str = "images";
/// Where firmware is built, in the study's folder.
const BUILD: &str = "build";
/// The [`StudyReport`].
pub const REPORT_NAME: &str = "study.json";
/// Its tables.
pub const TABLES_NAME: &str = "study.md";
/// Accuracy against cycles.
pub const CYCLES_CHART_NAME: &str = "study.svg";
/// Accuracy against flash.
pub const FLASH_CHART_NAME: &str = "study-flash.svg";
/// What that flash holds.
pub const PARTS_CHART_NAME: &str = "study-flash-parts.svg";

/// What to compare.
#[derive(Clone, Debug)]
pub struct StudyOptions {
    /// What every run is trained with. Levels are those of the study; seed, checkpoint and what an
    /// approach is about are set run by run.
    pub train: TrainOptions,
    /// Every approach is trained once with each.
    pub seeds: Vec<u64>,
    /// What is compared, in the order of the tables.
    pub approaches: Vec<Approach>,
    /// The board whose cycles, flash and RAM are measured.
    pub board: Board,
    /// The study's folder, which exists.
    pub folder: PathBuf,
    /// How many training images were held out, 0 for a study on the test images.
    pub validation_split: usize,
}

/// What a study works with.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The network's name.
    pub name: &'a str,
    /// The dense network.
    pub graph: &'a FloatGraph,
    /// Images to train on and to calibrate with.
    pub train: &'a Dataset,
    /// Images to measure accuracies on. Training sees them only where they were held out.
    pub evaluation: &'a Dataset,
    /// What those are, in words.
    pub evaluated_on: &'a str,
    /// Where the data come from.
    pub data: &'a str,
}

/// Told how a study goes.
pub trait Progress {
    /// A run begins to be trained, or goes on from its checkpoint.
    fn training(&mut self, run: &Run, epochs: usize) -> &mut dyn train::Progress;
    /// A run is there already.
    fn kept(&mut self, run: &Run) {
        let _ = run;
    }
    /// A run is trained and its result written.
    fn trained(&mut self, run: &Run, record: &RunRecord) {
        let _ = (run, record);
    }
    /// Something of a run is being measured.
    fn measuring(&mut self, run: &Run, what: &str) {
        let _ = (run, what);
    }
    /// A run is measured and that is written.
    fn measured(&mut self, run: &Run, measured: &Measured) {
        let _ = (run, measured);
    }
}

/// Trains those of `runs` that are not in the folder yet.
///
/// # Errors
/// As [`train::train`]; `E900` and `E901` if the folder holds something else; what the operating
/// system says. Runs that were done stay.
pub fn train_runs(
    runs: &[Run],
    material: &Material<'_>,
    options: &StudyOptions,
    progress: &mut dyn Progress,
) -> Result<()> {
    for run in runs {
        runs::train_run(run, material, options, progress)?;
    }
    Ok(())
}

/// Measures those of `runs`, all of them trained, that are not measured yet.
///
/// # Errors
/// As compiling and measuring; `E901` if a run is not there or damaged.
pub fn measure_runs(
    runs: &[Run],
    material: &Material<'_>,
    options: &StudyOptions,
    progress: &mut dyn Progress,
) -> Result<()> {
    for run in runs {
        measure::measure_run(run, material, options, progress)?;
    }
    Ok(())
}

/// Every training run of a study, seed by seed, so that all approaches have their first result early.
pub fn planned(options: &StudyOptions) -> Vec<Run> {
    let mut all = Vec::new();
    for &seed in &options.seeds {
        for &approach in &options.approaches {
            all.extend(approach.runs(seed, &options.train.levels));
        }
    }
    all
}

/// A file of a run.
fn run_file(folder: &Path, run: &Run, suffix: &str) -> PathBuf {
    folder.join(RUNS).join(format!("{}{suffix}", run.name()))
}
