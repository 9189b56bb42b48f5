//! `nestc train`: prune to nested levels, fine-tune, write the nested model.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::eval::{LevelFigures, level_table};
use super::model::{self, DATA_KEY, HEAD_KEY};
use super::printer::{Printer, Progress as Bar};
use super::train_args::TrainArgs;
use crate::data::Split;
use crate::diag::{BAD_ARGUMENT, Diagnostic, Diagnostics, Result};
use crate::export;
use crate::report::{TrainRecord, training_html};
use crate::train::{self, EpochSummary, Outlook, Progress, TrainReport};

/// The document of `nestc train --json`.
#[derive(Debug, Serialize)]
struct Training<'a> {
    model: &'a Path,
    output: &'a Path,
    data: String,
    #[serde(flatten)]
    report: &'a TrainReport,
}

/// Trains.
pub fn run(args: &TrainArgs, printer: &Printer) -> Result<io::Result<()>> {
    model::refuse_overwrite(&args.model, &args.output)?;
    export::check_replaceable(&args.output)?;
    let checkpoint = checkpoint_of(&args.output);
    match (checkpoint.exists(), args.resume) {
        (true, false) => return Err(unfinished(&checkpoint).into()),
        (false, true) => printer.step("resume", "there is no checkpoint: training starts anew"),
        _ => {}
    }
    for file in [&args.log, &args.report].into_iter().flatten() {
        export::check_replaceable(file)?;
    }
    let plain = model::load(&args.model, printer)?;
    // What is wrong with either set is told at once.
    let data = model::load_data(&args.data, Split::Train, &plain);
    let test = args.data.test_split();
    let test = test.map(|spec| model::load_data(&spec, Split::Test, &plain));
    let (data, validation) = match (data, test.transpose()) {
        (Ok(data), Ok(test)) => (data, test),
        (data, test) => {
            let faults = [data.err(), test.err()].into_iter().flatten();
            return Err(Diagnostics(faults.flat_map(|f| f.0).collect()));
        }
    };
    let options = args.options(checkpoint);
    let mut show = Show {
        printer,
        bar: None,
        epochs: options.epochs,
        steps_left: 0,
        epoch_started: Instant::now(),
        started: Instant::now(),
    };
    let mut trained = train::train(
        &plain.graph,
        &data,
        validation.as_ref(),
        &options,
        &mut show,
    )?;
    if let Some(Value::Object(record)) = &mut trained.model.training {
        record.insert(DATA_KEY.into(), args.data.to_string().into());
        let recorded = model::recorded_head(&plain);
        if let Some(head) = args.head.as_ref().or(recorded.as_ref()) {
            record.insert(HEAD_KEY.into(), head.to_string().into());
        }
    }
    export::write_nest(&trained.model, &args.output)?;
    if let (Some(page), Some(record)) = (&args.report, TrainRecord::of(&trained.model)) {
        export::replace(page, training_html(&record).as_bytes())?;
    }
    // The model holds everything now; a checkpoint that stays would only invite a wrong --resume.
    let _ = std::fs::remove_file(&options.checkpoint);

    let report = &trained.report;
    let levels: Vec<LevelFigures> = report
        .levels
        .iter()
        .map(|l| LevelFigures {
            level: l.level,
            sparsity: l.sparsity,
            accuracy_top1: l.accuracy_top1,
            loss: l.loss,
        })
        .collect();
    let measured_on = match &validation {
        Some(test) => format!("{} test images", test.len()),
        None => "no test images".into(),
    };
    let text = format!(
        "{} training images, {} epochs, {:.0} images/s; accuracy on {measured_on}\n{}wrote {}\n",
        data.len(),
        report.epochs,
        report.images_per_second,
        level_table(&levels),
        args.output.display()
    );
    let document = Training {
        model: &args.model,
        output: &args.output,
        data: args.data.to_string(),
        report,
    };
    Ok(printer.result(&document, &text))
}

/// The checkpoint stands beside the output.
fn checkpoint_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".checkpoint");
    name.into()
}

/// Another run's checkpoint, which this one would overwrite epoch by epoch.
fn unfinished(checkpoint: &Path) -> Diagnostic {
    Diagnostic::new(
        BAD_ARGUMENT,
        checkpoint.display().to_string(),
        "an earlier run to this output was interrupted and left its checkpoint",
        "go on from it with --resume, or delete it to start anew",
    )
}

/// A bar an epoch on a terminal, a line an epoch elsewhere.
struct Show<'a> {
    printer: &'a Printer,
    bar: Option<Bar>,
    epochs: usize,
    /// Steps of the run that were left when the epoch began.
    steps_left: usize,
    epoch_started: Instant,
    started: Instant,
}

impl Progress for Show<'_> {
    fn begins(&mut self, outlook: &Outlook) {
        let held_out = match outlook.held_out {
            0 => String::new(),
            n => format!(", {n} held out"),
        };
        let text = format!(
            "{} images{held_out}; learning rate up to {}; about {} MB of memory",
            outlook.images,
            outlook.learning_rate,
            outlook.memory_bytes.div_ceil(1_000_000)
        );
        self.printer.step("train", &text);
    }

    fn epoch_started(&mut self, epoch: usize, epochs: usize, steps: usize) {
        let label = format!("{}/{epochs}", epoch + 1);
        self.steps_left = (epochs - epoch) * steps;
        self.epoch_started = Instant::now();
        self.bar = Some(self.printer.progress(&label, steps as u64));
    }

    fn step(&mut self, step: usize, images_per_second: f64) {
        if let Some(bar) = &self.bar {
            bar.set(step as u64 + 1);
            let a_step = self.epoch_started.elapsed().as_secs_f64() / (step + 1) as f64;
            let left = a_step * self.steps_left.saturating_sub(step + 1) as f64 / 60.0;
            bar.message(&format!(
                "{images_per_second:.0} images/s, {left:.0} min left of the run"
            ));
        }
    }

    fn epoch_finished(&mut self, summary: &EpochSummary) {
        let levels: Vec<String> = summary
            .levels
            .iter()
            .zip(&summary.sparsity)
            .map(|(l, s)| {
                let accuracy = l.accuracy_top1.or(l.training_accuracy);
                match accuracy {
                    Some(a) => format!(
                        "{:.0} %: {:.2} % (loss {:.3})",
                        s * 100.0,
                        a * 100.0,
                        l.loss
                    ),
                    None => format!("{:.0} %: loss {:.3}", s * 100.0, l.loss),
                }
            })
            .collect();
        let text = format!(
            "{}  [{:.0} images/s, {} s]",
            levels.join("  "),
            summary.images_per_second,
            self.started.elapsed().as_secs()
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
