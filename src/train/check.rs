//! What is wrong with a network, its data or the options, found before anything is computed.

use crate::data::Dataset;
use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::float::{FloatGraph, Shape};
use crate::ir::ids::ValueId;

use super::engine::Threads;
use super::evaluate::logits_of;
use super::options::{Allocation, Method, Pruning, RateShape, Schedule, TrainOptions};
use super::recipe::loss::Loss;
use super::recipe::routing::Routing;
use super::state::{Cutter, node_macs};

/// What a network's outputs are to its training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// One vector of classes.
    Classes,
    /// Anything else: raw outputs, to be distilled.
    Raw,
}

impl Task {
    fn of(graph: &FloatGraph) -> Self {
        match graph.outputs[..] {
            [output] if graph.shape(output) == Shape::vector(graph.shape(output).c) => {
                Self::Classes
            }
            _ => Self::Raw,
        }
    }

    /// The values that the loss is taken on.
    pub fn values(self, graph: &FloatGraph) -> Vec<ValueId> {
        match self {
            Self::Classes => vec![logits_of(graph, graph.outputs[0])],
            Self::Raw => graph.outputs.clone(),
        }
    }
}

/// The logits of a graph that classifies.
pub(super) fn classifier(graph: &FloatGraph) -> Result<ValueId> {
    if Task::of(graph) == Task::Classes {
        return Ok(logits_of(graph, graph.outputs[0]));
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
    let labels = data
        .labels
        .as_ref()
        .filter(|_| Task::of(graph) == Task::Classes);
    if let Some(labels) = labels {
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

/// Everything about a training run.
pub(super) fn training(
    graph: &FloatGraph,
    train: &Dataset,
    validation: Option<&Dataset>,
    options: &TrainOptions,
) -> Result<Task> {
    let mut found = Diagnostics::default();
    let mut note = |result: Result<()>| {
        if let Err(Diagnostics(all)) = result {
            found.0.extend(all);
        }
    };
    let task = Task::of(graph);
    if options.loss == Loss::Labels {
        note(classifier(graph).map(|_| ()));
    }
    note(data(graph, train, "training"));
    if let Some(validation) = validation {
        note(data(graph, validation, "validation"));
    }
    note(arguments(options));
    note(levels(&options.levels));
    let images = train.len().saturating_sub(options.validation_split);
    if options.validation_split > 0 && images == 0 {
        note(argument(
            "--validation-split",
            false,
            options.validation_split,
            &format!("below the {} training images", train.len()),
        ));
    } else if options.batch > 0
        && images < options.batch
        && (options.epochs > 0 || !options.recalibrate)
    {
        note(Err(Diagnostic::new(
            diag::TOO_FEW_IMAGES,
            "training data",
            format!(
                "{images} images are fewer than a batch of {}",
                options.batch
            ),
            format!("give more images, or --batch {}", images.max(1)),
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
    Ok(task)
}

/// The options that are numbers.
fn arguments(o: &TrainOptions) -> Result<()> {
    let mut found = Diagnostics::default();
    let mut require = |name: &str, valid: bool, value: &dyn std::fmt::Display, accepted: &str| {
        if let Err(Diagnostics(all)) = argument(name, valid, value, accepted) {
            found.0.extend(all);
        }
    };
    let share = |v: f64| (0.0..=1.0).contains(&v);
    require(
        "--epochs",
        o.epochs > 0 || o.recalibrate,
        &o.epochs,
        "of at least 1, or 0 with --recalibrate",
    );
    require("--batch", o.batch > 0, &o.batch, "of at least 1");
    if let Some(rate) = o.learning_rate {
        require(
            "--lr",
            rate.is_finite() && rate > 0.0,
            &rate,
            "above 0; 0.05 is usual",
        );
    }
    let decay = o.weight_decay;
    require(
        "--weight-decay",
        decay.is_finite() && decay >= 0.0,
        &decay,
        "of at least 0",
    );
    require(
        "--block",
        (1..=64).contains(&o.block),
        &o.block,
        "from 1 to 64",
    );
    if let Pruning::Gradual { end, every } = o.pruning {
        require(
            "--ramp-end",
            end > 0.0 && end <= 1.0,
            &end,
            "above 0, at most 1",
        );
        require("--rank-every", every > 0, &every, "of at least 1");
    }
    if let Routing::Soft(s) = o.routing {
        require("--routing soft", share(f64::from(s)), &s, "from 0 to 1");
    }
    if let Schedule::Sandwich(k) | Schedule::Late(k) = o.schedule {
        require("--schedule", k > 0, &k, "of at least 1");
    }
    if let Some(s) = o.distillation.share {
        require("--distill-share", share(s), &s, "from 0 to 1");
    }
    let t = o.distillation.temperature;
    require("--temperature", t.is_finite() && t > 0.0, &t, "above 0");
    let s = o.label_smoothing;
    require(
        "--label-smoothing",
        (0.0..1.0).contains(&s),
        &s,
        "from 0 to below 1",
    );
    require(
        "--qat",
        o.qat_epochs <= o.epochs,
        &o.qat_epochs,
        &format!("at most the {} epochs there are", o.epochs),
    );
    if let RateShape::Hold(until) = o.rate {
        require(
            "--rate hold",
            (0.0..1.0).contains(&until),
            &until,
            "from 0 to below 1",
        );
    }
    require(
        "--warmup",
        o.warmup.is_finite() && o.warmup >= 0.0,
        &o.warmup,
        "of at least 0",
    );
    if let Some(decay) = o.average {
        require(
            "--average",
            (0.0..1.0).contains(&decay),
            &decay,
            "from 0 to below 1",
        );
    }
    require(
        "--shift",
        (0.0..1.0).contains(&o.shift),
        &o.shift,
        "from 0 to below 1",
    );
    require(
        "--recalibrate",
        o.recalibration_batches > 0,
        &o.recalibration_batches,
        "of at least 1",
    );
    let weights = o.weights_of_levels();
    for (which, weights) in [("start", &weights.start), ("end", &weights.end)] {
        let fits = weights.is_empty() || weights.len() == o.levels.len();
        require(
            "--level-weights",
            fits && weights.iter().all(|w| w.is_finite() && *w > 0.0),
            &format!("{weights:?} at the {which}"),
            &format!("above 0 for each of the {} levels", o.levels.len()),
        );
    }
    let width = o.method == Method::Width;
    require(
        "--method width",
        !width || (o.block == 1 && o.allocation == Allocation::Global),
        &"together with --block or --allocation",
        "of neither: whole channels are cut",
    );
    found.into_result(())
}

/// Whether there is something to cut, and whether the levels can be cut that far.
pub(super) fn cuts(graph: &FloatGraph, cutter: &Cutter, sparsities: &[f64]) -> Result<()> {
    if cutter.nodes(graph).is_empty() {
        return Err(Diagnostic::new(
            diag::NOTHING_TO_PRUNE,
            format!("network {}", graph.name),
            "it has no convolution behind the first whose weights could be pruned",
            "give a network of two or more ungrouped convolutions",
        )
        .into());
    }
    let Some(least) = cutter.least_macs() else {
        return Ok(());
    };
    let all = graph.nodes.iter_enumerated();
    let dense: u64 = all.map(|(id, _)| node_macs(graph, id)).sum();
    let mut found = Diagnostics::default();
    for level in sparsities {
        let budget = (1.0 - level) * dense as f64;
        if (least as f64) > budget {
            let most = 100.0 * (1.0 - least as f64 / dense as f64);
            found.push(Diagnostic::new(
                diag::BAD_LEVELS,
                "--levels",
                format!(
                    "{} % leave {budget:.0} of {dense} multiply-accumulates, and {least} cannot be \
                     cut",
                    level * 100.0
                ),
                format!("give percentages up to {:.1}", (most * 10.0).floor() / 10.0),
            ));
        }
    }
    found.into_result(())
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
