//! `nestc study`: compare ways to get levels of different cost.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::Serialize;

use super::model;
use super::printer::{Printer, Progress as Bar};
use super::process;
use super::study_args::StudyArgs;
use crate::bench;
use crate::data::{Dataset, Split};
use crate::diag::{BAD_ARGUMENT, Diagnostic, Result};
use crate::ir::nested::NestedModel;
use crate::study::{self, Material, Measured, Run, RunRecord, StudyOptions};
use crate::target::Board;
use crate::train::{self, EpochSummary, TrainOptions};

/// The document of `nestc study --only`.
#[derive(Debug, Serialize)]
struct Part {
    runs: Vec<String>,
    measured: bool,
}

/// Runs a study, or a part of one.
pub fn run(args: &StudyArgs, printer: &Printer) -> Result<io::Result<()>> {
    process::use_threads(args.threads);
    let board = Board::named(&args.target)?;
    if let Some(why) = bench::cycles_missing(board.core.kind) {
        return Err(Diagnostic::new(
            BAD_ARGUMENT,
            format!("--target {}", board.name),
            format!("a study compares cycles, and there is {why}"),
            "choose a board with a Cortex-M7: see `nestc targets`",
        )
        .into());
    }
    let options = StudyOptions {
        train: train_options(args),
        seeds: args.seeds.0.clone(),
        approaches: args.methods.0.clone(),
        board,
        folder: args.output.clone(),
        validation_split: args.validation_split as usize,
    };
    let runs = chosen(args, study::planned(&options))?;
    let plain = model::load(&args.model, printer)?;
    let data = model::load_data(&args.data, Split::Train, &plain)?;
    let (train, evaluation, evaluated_on) = parts(args, data, &plain)?;
    let outputs = model::output_count(&plain.graph);
    evaluation.expect_labels(&args.data.to_string(), outputs)?;
    make_folders(&args.output)?;
    let data = args.data.to_string();
    let material = Material {
        name: &plain.graph.name,
        graph: &plain.graph,
        train: &train,
        evaluation: &evaluation,
        evaluated_on,
        data: &data,
    };
    let mut show = Show {
        printer,
        run: String::new(),
        bar: None,
        epochs: 0,
        done: 0,
        total: runs.len(),
    };
    study::train_runs(&runs, &material, &options, &mut show)?;
    if !args.no_measure {
        study::measure_runs(&runs, &material, &options, &mut show)?;
    }
    if args.no_measure || !args.only.is_empty() {
        let part = Part {
            runs: runs.iter().map(Run::name).collect(),
            measured: !args.no_measure,
        };
        let text = format!(
            "{} of the study's runs are in {}; the same command without --only and --no-measure makes the rest and the tables\n",
            part.runs.len(),
            args.output.display()
        );
        return Ok(printer.result(&part, &text));
    }
    let report = study::assemble(&material, &options)?;
    let command = command();
    study::write(&args.output, &report, &command)?;
    let text = study::tables(&report, &command);
    Ok(printer.report(&report, &text))
}

/// Those of the planned runs that --only asks for; all without.
fn chosen(args: &StudyArgs, planned: Vec<Run>) -> Result<Vec<Run>> {
    if args.only.is_empty() {
        return Ok(planned);
    }
    for only in &args.only {
        if !planned.iter().any(|run| only.includes(run)) {
            let names: Vec<&str> = args.methods.0.iter().map(|m| m.info().name).collect();
            let seeds: Vec<String> = args.seeds.0.iter().map(u64::to_string).collect();
            return Err(Diagnostic::new(
                BAD_ARGUMENT,
                format!("--only {only}"),
                format!(
                    "the study has the methods {} with the seeds {}",
                    names.join(","),
                    seeds.join(",")
                ),
                "name one of them, or add it to --methods or --seeds",
            )
            .into());
        }
    }
    let wanted = |run: &Run| args.only.iter().any(|only| only.includes(run));
    Ok(planned.into_iter().filter(wanted).collect())
}

/// Images to train on, images to measure on, and what those are.
fn parts(
    args: &StudyArgs,
    data: Dataset,
    plain: &NestedModel,
) -> Result<(Dataset, Dataset, &'static str)> {
    let held_out = args.validation_split as usize;
    if held_out > 0 {
        if held_out >= data.len() {
            return Err(Diagnostic::new(
                BAD_ARGUMENT,
                "--validation-split",
                format!(
                    "{held_out} of {} training images are to be held out",
                    data.len()
                ),
                format!("hold out fewer, for example {}", data.len() / 10),
            )
            .into());
        }
        let (train, held) = study::hold_out(&data, held_out);
        return Ok((train, held, "images held out of training"));
    }
    let Some(spec) = args.data.test_split() else {
        return Err(Diagnostic::new(
            BAD_ARGUMENT,
            "--data",
            format!("`{}` has no test images to measure on", args.data),
            "hold training images out with --validation-split, or give data with a test split",
        )
        .into());
    };
    Ok((
        data,
        model::load_data(&spec, Split::Test, plain)?,
        "test images",
    ))
}

/// Makes the study's folder and those in it; none on the way to it.
fn make_folders(folder: &Path) -> Result<()> {
    for folder in [
        folder.to_path_buf(),
        folder.join("runs"),
        folder.join("images"),
    ] {
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                return Err(Diagnostic::io(&folder, "create the folder", &e).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// What every run of the study is trained with.
fn train_options(args: &StudyArgs) -> TrainOptions {
    let recipe = TrainOptions::recipe(args.fine.recipe());
    let mut options = TrainOptions {
        levels: args.levels.0.clone(),
        epochs: args.epochs as usize,
        loss: args.loss.into(),
        learning_rate: args.lr,
        batch: args.batch.map_or(recipe.batch, |n| n as usize),
        threads: args.threads.map(|n| n as usize),
        ..recipe
    };
    args.fine.apply(&mut options);
    options
}

/// The command that makes the study anew: this process's own.
fn command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+%".contains(c);
    let quoted = std::env::args().skip(1).map(|arg| {
        if !arg.is_empty() && arg.chars().all(plain) {
            arg
        } else {
            format!("'{}'", arg.replace('\'', "'\\''"))
        }
    });
    let words: Vec<String> = std::iter::once("nestc".into()).chain(quoted).collect();
    words.join(" ")
}

/// A line a run, an epoch and a measurement; a bar on a terminal meanwhile.
struct Show<'a> {
    printer: &'a Printer,
    run: String,
    bar: Option<Bar>,
    epochs: usize,
    done: usize,
    total: usize,
}

impl study::Progress for Show<'_> {
    fn training(&mut self, run: &Run, epochs: usize) -> &mut dyn train::Progress {
        self.run = run.name();
        self.epochs = epochs;
        self
    }

    fn kept(&mut self, run: &Run) {
        self.done += 1;
        self.printer.step("kept", &run.name());
    }

    fn trained(&mut self, run: &Run, record: &RunRecord) {
        self.done += 1;
        self.printer.step(
            "trained",
            &format!(
                "{}, {} of {}, in {:.0} s",
                run.name(),
                self.done,
                self.total,
                record.report.seconds
            ),
        );
    }

    fn measuring(&mut self, run: &Run, what: &str) {
        self.printer
            .step("measure", &format!("{}: {what}", run.name()));
    }

    fn measured(&mut self, run: &Run, measured: &Measured) {
        let accuracies: Vec<String> = (run.levels.iter().zip(&measured.accuracy_float))
            .map(|(&level, a)| format!("{} %: {:.2} %", study::short(level), a * 100.0))
            .collect();
        let text = format!("{}: {}", run.name(), accuracies.join("  "));
        self.printer.step("measured", &text);
    }
}

impl train::Progress for Show<'_> {
    fn epoch_started(&mut self, epoch: usize, epochs: usize, steps: usize) {
        let label = format!("{}/{epochs}", epoch + 1);
        self.bar = Some(self.printer.progress(&label, steps as u64));
    }

    fn step(&mut self, step: usize, images_per_second: f64) {
        if let Some(bar) = &self.bar {
            bar.set(step as u64 + 1);
            bar.message(&format!("{} {images_per_second:.0} images/s", self.run));
        }
    }

    fn epoch_finished(&mut self, summary: &EpochSummary) {
        let losses: Vec<String> = (summary.levels.iter())
            .map(|level| format!("{:.3}", level.loss))
            .collect();
        let text = format!(
            "{} loss {}  [{:.0} images/s]",
            self.run,
            losses.join(" "),
            summary.images_per_second
        );
        match self.bar.take() {
            Some(bar) => bar.finish(&text),
            None => {
                let label = format!("{}/{}", summary.epoch + 1, self.epochs);
                self.printer.step(&label, &text);
            }
        }
    }
}
