//! `nestc eval`: the accuracy of every level.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

use super::args::{EvalArgs, Precision};
use super::printer::{Printer, table};
use super::watch::Watch;
use super::{compile, model, process};
use crate::data::{DataSpec, Dataset, Split};
use crate::diag::Result;
use crate::ir::float::{FloatGraph, FloatOp};
use crate::ir::ids::Id;
use crate::ir::nested::NestedModel;
use crate::passes::{Artefact, evaluate_int8};
use crate::train::Inference;

/// Images run at once.
const BATCH: usize = 64;

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
struct Evaluation {
    model: String,
    data: String,
    precision: &'static str,
    images: usize,
    levels: Vec<LevelFigures>,
    images_per_second: f64,
    seconds: f64,
    peak_rss_bytes: Option<u64>,
}

/// Evaluates a model.
pub fn run(args: &EvalArgs, printer: &Printer) -> Result<io::Result<()>> {
    process::use_threads(args.threads);
    let nested = model::load(&args.model, printer)?;
    let data = model::load_data(&args.data, Split::Test, &nested)?;
    data.expect_labels(&args.data.to_string(), model::output_count(&nested.graph))?;
    let start = Instant::now();
    let (precision, levels) = match args.precision {
        Precision::Float => ("float", float_levels(&nested, &data, printer)),
        Precision::Int8 => ("int8", int8_levels(args, nested, &data, printer)?),
    };
    let seconds = start.elapsed().as_secs_f64();
    let document = Evaluation {
        model: args.model.display().to_string(),
        data: args.data.with_split(Split::Test).to_string(),
        precision,
        images: data.len(),
        images_per_second: (data.len() * levels.len()) as f64 / seconds,
        levels,
        seconds,
        peak_rss_bytes: process::peak_rss_bytes(),
    };
    let text = format!(
        "{} images, {} arithmetic\n{}",
        document.images,
        document.precision,
        level_table(&document.levels)
    );
    Ok(printer.result(&document, &text))
}

/// Every level in the device's arithmetic.
fn int8_levels(
    args: &EvalArgs,
    nested: NestedModel,
    data: &Dataset,
    printer: &Printer,
) -> Result<Vec<LevelFigures>> {
    let asked = args.calibrate.clone().or_else(|| {
        let same_set = DataSpec {
            split: None,
            limit: None,
            ..args.data.clone()
        };
        model::recorded_data(&nested).is_none().then_some(same_set)
    });
    let calibration = model::calibration(asked.as_ref(), &nested)?;
    let mut watch = Watch::new(printer, None);
    let artefact = compile::lower(nested, calibration.as_ref(), None, &mut watch)?;
    let Artefact::Program(program) = artefact else {
        unreachable!("the whole pipeline gives a program")
    };
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
fn float_levels(nested: &NestedModel, data: &Dataset, printer: &Printer) -> Vec<LevelFigures> {
    let total = data.len() * nested.level_count();
    let progress = printer.progress("eval", total as u64);
    let mut figures = Vec::new();
    for level in nested.level_ids() {
        let (accuracy_top1, loss) = float_level(&nested.level(level), data, &mut |images| {
            progress.set((level.index() * data.len() + images) as u64);
        });
        figures.push(LevelFigures {
            level: level.index(),
            sparsity: nested.levels[level.index()].sparsity,
            accuracy_top1: Some(accuracy_top1),
            loss: Some(loss),
        });
    }
    progress.finish(&format!("{total} images"));
    figures
}

/// Accuracy and mean cross-entropy of one network.
fn float_level(graph: &FloatGraph, data: &Dataset, done: &mut dyn FnMut(usize)) -> (f64, f64) {
    let mut network = Inference::new(graph);
    let outputs = network.output_len();
    let ends_in_softmax = graph
        .outputs
        .first()
        .and_then(|&o| graph.producer(o))
        .is_some_and(|n| matches!(graph.nodes[n].op, FloatOp::Softmax));
    let labels = data.labels.as_deref().unwrap_or_default();
    let image = data.shape.len();
    let mut inputs = vec![0.0; BATCH * image];
    let (mut right, mut loss) = (0usize, 0.0);
    for (batch, labels) in labels.chunks(BATCH).enumerate() {
        for (i, input) in inputs
            .chunks_exact_mut(image)
            .take(labels.len())
            .enumerate()
        {
            data.input(batch * BATCH + i, input);
        }
        let results = network.run(&inputs[..labels.len() * image], labels.len());
        for (result, &label) in results.chunks_exact(outputs).zip(labels) {
            right += usize::from(argmax(result) == label as usize);
            loss += cross_entropy(result, label as usize, ends_in_softmax);
        }
        done(batch * BATCH + labels.len());
    }
    let n = data.len() as f64;
    (right as f64 / n, loss / n)
}

/// The first of the largest.
fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, &v) in values.iter().enumerate() {
        if v > values[best] {
            best = i;
        }
    }
    best
}

/// `-ln p(class)` from logits, or from probabilities.
fn cross_entropy(values: &[f32], class: usize, are_probabilities: bool) -> f64 {
    if are_probabilities {
        return -f64::from(values[class].max(f32::MIN_POSITIVE)).ln();
    }
    let max = f64::from(values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = values.iter().map(|&v| (f64::from(v) - max).exp()).sum();
    sum.ln() + max - f64::from(values[class])
}
