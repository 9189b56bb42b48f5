//! What is wrong with a network, its data or the options, found before anything is computed.

use crate::data::Dataset;
use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::float::{FloatGraph, Shape};
use crate::ir::ids::ValueId;

use super::engine::Threads;
use super::evaluate::logits_of;
use super::options::TrainOptions;
use super::recipe::loss::Loss;

/// The logits of a graph that classifies.
pub(super) fn classifier(graph: &FloatGraph) -> Result<ValueId> {
    if let [output] = graph.outputs[..] {
        let shape = graph.shape(output);
        if shape == Shape::vector(shape.c) {
            return Ok(logits_of(graph, output));
        }
    }
    let shapes: Vec<String> = graph
        .outputs
        .iter()
        .map(|&v| format!("{} ({})", graph.values[v].name, graph.shape(v)))
        .collect();
    Err(Diagnostic::new(
        diag::NOT_A_CLASSIFIER,
        format!("network {}", graph.name),
        format!(
            "its outputs are {}, not one vector of classes",
            shapes.join(", ")
        ),
        "give a network with a single output vector, one element a class",
    )
    .into())
}

/// Whether `data` are images and classes of this network.
pub(super) fn data(graph: &FloatGraph, data: &Dataset, what: &str) -> Result<()> {
    let mut found = Diagnostics::default();
    let place = format!("{what} data");
    let input = graph.input_shape();
    if data.shape != input {
        found.push(Diagnostic::new(
            diag::IMAGE_SHAPE,
            &place,
            format!(
                "its images are {}, the network's input is {input}",
                data.shape
            ),
            if data.shape.c == input.c {
                format!("add `resize={}x{}` to the data", input.h, input.w)
            } else {
                format!("give images of {} channels", input.c)
            },
        ));
    }
    let classes = graph.outputs.first().map_or(0, |&v| graph.shape(v).len());
    if let Some(labels) = &data.labels {
        if data.class_count != classes {
            found.push(Diagnostic::new(
                diag::CLASS_COUNT,
                &place,
                format!(
                    "it has {} classes, the network has {classes} outputs",
                    data.class_count
                ),
                "give the data set the network was made for",
            ));
        }
        if let Some((i, label)) = labels
            .iter()
            .enumerate()
            .find(|(_, l)| **l as usize >= classes)
        {
            found.push(Diagnostic::new(
                diag::LABEL_RANGE,
                format!("{place}, image {i}"),
                format!("its label is {label}, the network has classes 0..{classes}"),
                "correct the label, or give the data set the network was made for",
            ));
        }
    }
    found.into_result(())
}

/// Everything about a training run. Gives the logits.
pub(super) fn training(
    graph: &FloatGraph,
    train: &Dataset,
    validation: Option<&Dataset>,
    options: &TrainOptions,
) -> Result<ValueId> {
    let mut found = Diagnostics::default();
    let mut note = |result: Result<()>| {
        if let Err(Diagnostics(all)) = result {
            found.0.extend(all);
        }
    };
    let logits = classifier(graph);
    note(logits.as_ref().map(|_| ()).map_err(Clone::clone));
    if logits.is_ok() {
        note(data(graph, train, "training"));
        if let Some(validation) = validation {
            note(data(graph, validation, "validation"));
        }
    }
    note(argument(
        "--epochs",
        options.epochs > 0,
        options.epochs,
        "at least 1",
    ));
    note(argument(
        "--batch",
        options.batch > 0,
        options.batch,
        "at least 1",
    ));
    let rate = options.learning_rate;
    note(argument(
        "--lr",
        rate.is_finite() && rate > 0.0,
        rate,
        "above 0; 0.05 is usual",
    ));
    note(levels(&options.levels));
    if options.batch > 0 && train.len() < options.batch {
        note(Err(Diagnostic::new(
            diag::TOO_FEW_IMAGES,
            "training data",
            format!(
                "{} images are fewer than a batch of {}",
                train.len(),
                options.batch
            ),
            format!("give more images, or --batch {}", train.len().max(1)),
        )
        .into()));
    }
    if options.loss == Loss::Labels && train.labels.is_none() {
        note(Err(Diagnostic::new(
            diag::NO_LABELS,
            "training data",
            "--loss labels needs a label for every image, the data have none",
            "give labels, or --loss distill to learn from the network's own outputs",
        )
        .into()));
    }
    found.into_result(())?;
    logits
}

fn argument(name: &str, valid: bool, value: impl std::fmt::Display, accepted: &str) -> Result<()> {
    if valid {
        return Ok(());
    }
    Err(Diagnostic::new(
        diag::BAD_ARGUMENT,
        name,
        format!("{value} is not a valid value"),
        format!("give a number {accepted}"),
    )
    .into())
}

fn levels(levels: &[f64]) -> Result<()> {
    /// Levels are stored in a byte, and 255 marks weights outside all.
    const MOST: usize = 16;
    let mut found = Diagnostics::default();
    let mut bad = |message: String, hint: String| {
        found.push(Diagnostic::new(diag::BAD_LEVELS, "--levels", message, hint));
    };
    if levels.is_empty() || levels.len() > MOST {
        bad(
            format!("{} levels are asked for", levels.len()),
            format!("give 1 to {MOST} sparsities, as in --levels 90,80,50"),
        );
    }
    for (i, level) in levels.iter().enumerate() {
        if !(0.0..1.0).contains(level) {
            bad(
                format!("{} % is not a sparsity", level * 100.0),
                "give percentages from 0 (dense) to below 100".into(),
            );
        }
        if levels[..i].contains(level) {
            bad(
                format!("{} % is given twice", level * 100.0),
                "give each sparsity once".into(),
            );
        }
    }
    found.into_result(())
}

/// The threads to work with.
pub(super) fn threads(count: Option<usize>) -> Result<Threads> {
    Threads::new(count).map_err(|error| {
        let action = format!("start {} threads", count.unwrap_or(0));
        let error = std::io::Error::other(error);
        Diagnostic::io(std::path::Path::new("--threads"), &action, &error).into()
    })
}
