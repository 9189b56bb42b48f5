//! `nestc eval`: the accuracy of every level.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

use super::args::{EvalArgs, Precision};
use super::printer::{Printer, table};
use super::watch::Watch;
use super::{compile, detection, model, process};
use crate::data::{DataSpec, Dataset, Split};
use crate::detect::Head;
use crate::diag::Result;
use crate::ir::nested::NestedModel;
use crate::ir::program::Program;
use crate::passes::{Artefact, Patching, Preferences, evaluate_int8};
use crate::train;

/// One level's figures.
#[derive(Debug, Serialize)]
pub struct LevelFigures {
    /// 0 is the sparsest.
    pub level: usize,
    /// Share of prunable weights that are zero.
    pub sparsity: f64,
    /// Share of images whose largest output is their class, where there were labels.
    pub accuracy_top1: Option<f64>,
    /// Mean cross-entropy; not measured in int8.
    pub loss: Option<f64>,
}

/// The document of `nestc eval --json`.
#[derive(Debug, Serialize)]
struct Evaluation<L> {
    model: String,
    data: String,
    precision: &'static str,
    /// What the outputs of a detection network were taken to mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    images: usize,
    levels: Vec<L>,
    images_per_second: f64,
    seconds: f64,
    peak_rss_bytes: Option<u64>,
}

/// Evaluates a model.
pub fn run(args: &EvalArgs, printer: &Printer) -> Result<io::Result<()>> {
    process::use_threads(args.threads);
    let nested = model::load(&args.model, printer)?;
    let data = model::load_data(&args.data, Split::Test, &nested)?;
    let head = args.head.clone().or_else(|| model::recorded_head(&nested));
    if data.boxes.is_some() || args.head.is_some() {
        return detection(args, head, &nested, &data, printer);
    }
    data.expect_labels(&args.data.to_string(), model::output_count(&nested.graph))?;
    let start = Instant::now();
    let (precision, levels) = match args.precision {
        Precision::Float => ("float", float_levels(args, &nested, &data)?),
        Precision::Int8 => ("int8", int8_levels(args, nested, &data, printer)?),
    };
    let text = level_table(&levels);
    Ok(report(
        args, &data, precision, None, levels, start, &text, printer,
    ))
}

/// The average precision of every level of a detection network.
fn detection(
    args: &EvalArgs,
    head: Option<Head>,
    nested: &NestedModel,
    data: &Dataset,
    printer: &Printer,
) -> Result<io::Result<()>> {
    let head = head.ok_or_else(|| detection::missing_head(args, nested))?;
    let start = Instant::now();
    let lower = || program(args, nested.clone(), printer);
    let (precision, lower): (_, Option<&dyn Fn() -> Result<Program>>) = match args.precision {
        Precision::Float => ("float", None),
        Precision::Int8 => ("int8", Some(&lower)),
    };
    let levels = detection::levels(args, &head, nested, data, lower, printer)?;
    let text = detection::level_table(&levels);
    Ok(report(
        args,
        data,
        precision,
        Some(head.to_string()),
        levels,
        start,
        &text,
        printer,
    ))
}

/// Prints the result.
#[expect(clippy::too_many_arguments, reason = "each is a field of the document")]
fn report<L: Serialize>(
    args: &EvalArgs,
    data: &Dataset,
    precision: &'static str,
    head: Option<String>,
    levels: Vec<L>,
    start: Instant,
    text: &str,
    printer: &Printer,
) -> io::Result<()> {
    let seconds = start.elapsed().as_secs_f64();
    let document = Evaluation {
        model: args.model.display().to_string(),
        data: args.data.with_split(Split::Test).to_string(),
        precision,
        head,
        images: data.len(),
        images_per_second: (data.len() * levels.len()) as f64 / seconds,
        levels,
        seconds,
        peak_rss_bytes: train::peak_rss_bytes(),
    };
    let text = format!("{} images, {precision} arithmetic\n{text}", document.images);
    printer.result(&document, &text)
}

/// The program that a device would run.
fn program(args: &EvalArgs, nested: NestedModel, printer: &Printer) -> Result<Program> {
    let same_set = DataSpec {
        split: None,
        limit: None,
        ..args.data.clone()
    };
    let asked = args.calibrate.as_ref();
    let calibration = model::calibration(asked, Some(&same_set), &nested, printer)?;
    let mut watch = Watch::new(printer, None);
    let artefact = compile::lower(
        nested,
        calibration.as_ref(),
        None,
        &Preferences::default(),
        None,
        Patching::Off,
        &mut watch,
    )?;
    match artefact {
        Artefact::Program(program) => Ok(program),
        _ => unreachable!("the whole pipeline gives a program"),
    }
}

/// Every level in the device's arithmetic.
fn int8_levels(
    args: &EvalArgs,
    nested: NestedModel,
    data: &Dataset,
    printer: &Printer,
) -> Result<Vec<LevelFigures>> {
    let program = program(args, nested, printer)?;
    let progress = printer.progress("eval", data.len() as u64);
    let done = AtomicU64::new(0);
    let accuracies = evaluate_int8(&program, data, &|images| {
        let images = images as u64;
        progress.set(done.fetch_add(images, Ordering::Relaxed) + images);
    })?;
    progress.finish(&format!("{} images", data.len()));
    Ok(accuracies
        .iter()
        .zip(&program.sparsities)
        .enumerate()
        .map(|(level, (accuracy, &sparsity))| LevelFigures {
            level,
            sparsity,
            accuracy_top1: Some(accuracy.top1()),
            loss: None,
        })
        .collect())
}

/// The levels for people.
pub fn level_table(levels: &[LevelFigures]) -> String {
    let mut rows = vec![
        ["level", "sparsity", "top-1", "loss"]
            .map(String::from)
            .to_vec(),
    ];
    for l in levels {
        rows.push(vec![
            l.level.to_string(),
            format!("{:.1} %", l.sparsity * 100.0),
            l.accuracy_top1
                .map_or("-".into(), |a| format!("{:.2} %", a * 100.0)),
            l.loss.map_or("-".into(), |loss| format!("{loss:.4}")),
        ]);
    }
    table(&rows)
}

/// Every level in float arithmetic.
fn float_levels(
    args: &EvalArgs,
    nested: &NestedModel,
    data: &Dataset,
) -> Result<Vec<LevelFigures>> {
    let threads = args.threads.map(|n| n as usize);
    let evaluations = train::evaluate(nested, data, threads)?;
    Ok(evaluations
        .iter()
        .zip(&nested.levels)
        .enumerate()
        .map(|(level, (evaluation, info))| LevelFigures {
            level,
            sparsity: info.sparsity,
            accuracy_top1: evaluation.accuracy_top1,
            loss: evaluation.loss,
        })
        .collect())
}
