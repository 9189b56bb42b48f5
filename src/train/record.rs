//! What a run is, for checkpoints to compare and for the model to tell.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::data::{Dataset, Pixels};
use crate::ir::float::FloatGraph;
use crate::ir::ids::ValueId;

use super::checkpoint::Fingerprint;
use super::engine::{Fusion, Params, Plan, Role};
use super::options::{Pruning, RateShape, Schedule, TrainOptions};
use super::recipe::routing::Routing;

/// Changes whenever the same options give other results, so that old checkpoints are refused.
pub(super) const RECIPE: &str = "2";

/// All options that the result depends on, as flags and what would stand behind them.
fn flags(o: &TrainOptions, sparsities: &[f64]) -> Vec<(&'static str, String)> {
    let list = |values: &[f64]| {
        let texts: Vec<String> = values.iter().map(f64::to_string).collect();
        texts.join(",")
    };
    let percent: Vec<f64> = sparsities.iter().map(|s| rounded(s * 100.0)).collect();
    let (pruning, end, every) = match o.pruning {
        Pruning::OneShot => ("one-shot", "none".into(), "none".into()),
        Pruning::Gradual { end, every } => ("gradual", end.to_string(), every.to_string()),
    };
    let off = || String::from("off");
    let usual = || String::from("the usual");
    vec![
        ("--levels", list(&percent)),
        ("--epochs", o.epochs.to_string()),
        ("--loss", name(o.loss)),
        (
            "--lr",
            o.learning_rate.map_or_else(usual, |x| x.to_string()),
        ),
        ("--batch", o.batch.to_string()),
        ("--seed", o.seed.to_string()),
        (
            "--routing",
            match o.routing {
                Routing::Soft(share) => format!("soft:{share}"),
                other => name(other),
            },
        ),
        ("flips", o.flip.to_string()),
        ("--shift", o.shift.to_string()),
        ("--weight-decay", o.weight_decay.to_string()),
        ("--method", name(o.method)),
        ("--allocation", name(o.allocation)),
        ("--pruning", pruning.into()),
        ("--ramp-end", end),
        ("--rank-every", every),
        ("--block", o.block.to_string()),
        (
            "--level-weights",
            match &o.level_weights {
                None => usual(),
                Some(weights) => match (&weights.start[..], &weights.end[..]) {
                    ([], _) => "all alike".into(),
                    (start, []) => list(start),
                    (start, end) => format!("{}:{}", list(start), list(end)),
                },
            },
        ),
        (
            "--schedule",
            match o.schedule {
                Schedule::All => "all".into(),
                Schedule::Sandwich(k) => format!("sandwich:{k}"),
                Schedule::Late(k) => format!("late:{k}"),
            },
        ),
        ("--distill-from", name(o.distillation.from)),
        (
            "--distill-share",
            o.distillation.share.map_or_else(usual, |s| s.to_string()),
        ),
        ("--temperature", o.distillation.temperature.to_string()),
        ("--label-smoothing", o.label_smoothing.to_string()),
        ("--own-epochs", o.own_epochs.to_string()),
        ("--qat", o.qat_epochs.to_string()),
        (
            "--rate",
            match o.rate {
                RateShape::Hold(until) => format!("hold:{until}"),
                other => name(other),
            },
        ),
        ("--warmup", o.warmup.to_string()),
        ("--average", o.average.map_or_else(off, |d| d.to_string())),
        (
            "--recalibrate",
            match o.recalibrate {
                true => o.recalibration_batches.to_string(),
                false => off(),
            },
        ),
        ("--validation-split", o.validation_split.to_string()),
    ]
}

/// The name that a choice has in JSON and on the command line.
fn name(choice: impl serde::Serialize) -> String {
    match json!(choice) {
        Value::String(name) => name,
        other => other.to_string(),
    }
}

/// The options as JSON, for the model's record and the log.
pub(super) fn options_json(o: &TrainOptions, sparsities: &[f64]) -> Value {
    json!({
        "levels": sparsities,
        "epochs": o.epochs,
        "loss": o.loss,
        "learning_rate": o.learning_rate.map(decimal),
        "batch": o.batch,
        "seed": o.seed,
        "routing": o.routing,
        "flip": o.flip,
        "shift": o.shift,
        "weight_decay": decimal(o.weight_decay),
        "method": o.method,
        "allocation": o.allocation,
        "pruning": o.pruning,
        "block": o.block,
        "level_weights": o.level_weights,
        "schedule": o.schedule,
        "distillation": o.distillation,
        "label_smoothing": o.label_smoothing,
        "own_epochs": o.own_epochs,
        "qat_epochs": o.qat_epochs,
        "rate": o.rate,
        "warmup": o.warmup,
        "average": o.average,
        "recalibrate": o.recalibrate,
        "recalibration_batches": o.recalibration_batches,
        "validation_split": o.validation_split,
    })
}

/// What the result of a training run depends on, in words: options as flags, the network and the
/// images by their checksums. Not among it: threads, and where files lie.
pub fn depends_on(
    graph: &FloatGraph,
    train: &Dataset,
    options: &TrainOptions,
) -> BTreeMap<String, String> {
    let mut sparsities = options.levels.clone();
    sparsities.sort_by(|a, b| b.total_cmp(a));
    fingerprint(graph, train, options, &sparsities)
}

/// Everything that a run depends on.
pub(super) fn fingerprint(
    graph: &FloatGraph,
    train: &Dataset,
    options: &TrainOptions,
    sparsities: &[f64],
) -> Fingerprint {
    let mut entries = vec![("the recipe of version", RECIPE.to_string())];
    entries.extend(flags(options, sparsities));
    entries.push(("the network of SHA-256", hash_of_graph(graph)));
    entries.push((
        "the training data",
        format!(
            "of {} images {} and SHA-256 {}",
            train.len(),
            train.shape,
            hash_of_data(train)
        ),
    ));
    (entries.into_iter())
        .map(|(k, v)| (k.to_string(), v))
        .collect::<BTreeMap<_, _>>()
}

/// Six decimals: what is stored and read back as text is the same number.
pub(super) fn rounded(v: f64) -> f64 {
    (v * 1e6).round() / 1e6
}

/// The short decimal that an option was given as.
pub(super) fn decimal(v: f32) -> f64 {
    v.to_string().parse().unwrap_or(f64::from(v))
}

fn short_hex(hash: Sha256) -> String {
    let hash = hash.finalize();
    hash[..8].iter().map(|b| format!("{b:02x}")).collect()
}

fn hash_of_graph(graph: &FloatGraph) -> String {
    let mut hash = Sha256::new();
    let outputs: Vec<ValueId> = graph.outputs.clone();
    let plan = Plan::new(graph, &outputs, Fusion::EveryValue);
    let params = Params::of(&plan, graph);
    for (info, tensor) in plan.params.iter().zip(&params.tensors) {
        let role = match info.role {
            Role::Weight => 0u8,
            _ => 1,
        };
        hash.update([role]);
        for v in tensor {
            hash.update(v.to_le_bytes());
        }
    }
    for node in &graph.nodes {
        hash.update(node.op.name());
        hash.update(graph.shape(node.output).to_string());
    }
    short_hex(hash)
}

/// A checksum of a data set: pixels, labels, preparation.
pub fn hash_of_data(data: &Dataset) -> String {
    let mut hash = Sha256::new();
    match &data.pixels {
        Pixels::U8(p) => hash.update(p),
        Pixels::F32(p) => p.iter().for_each(|v| hash.update(v.to_le_bytes())),
    }
    for label in data.labels.iter().flatten() {
        hash.update(label.to_le_bytes());
    }
    hash.update(format!("{:?}", data.preprocessing));
    short_hex(hash)
}
