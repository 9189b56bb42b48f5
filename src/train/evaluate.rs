//! Accuracy and loss of every level on a data set.

use crate::data::Dataset;
use crate::diag::Result;
use crate::ir::float::{FloatGraph, FloatOp};
use crate::ir::ids::ValueId;
use crate::ir::nested::NestedModel;

use super::check;
use super::engine::{Engine, Fusion, Mode, Params, Prepared};
use super::recipe::loss::{Scratch, Target, image_loss, top1};
use super::simd::{Isa, LANES};
use super::targets::{Targets, Teacher, read_all};

/// Blocks of sixteen images a thread takes at once.
const BLOCKS_A_THREAD: usize = 4;

/// What one level achieves.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Share of images whose most probable class is their label; `None` without labels.
    pub accuracy_top1: Option<f64>,
    /// Mean cross-entropy with the labels; `None` without labels.
    pub loss: Option<f64>,
    /// Each image's most probable class.
    pub classes: Vec<u32>,
}

/// Evaluates every level of `model` on `data` in float, sparsest first, on `threads` threads (a
/// thread a core without).
///
/// # Errors
/// If the network is not a classifier of such images and classes, or threads cannot be had.
pub fn evaluate(
    model: &NestedModel,
    data: &Dataset,
    threads: Option<usize>,
) -> Result<Vec<Evaluation>> {
    let logits = check::classifier(&model.graph)?;
    check::data(&model.graph, data, "evaluation")?;
    let threads = check::threads(threads)?;
    let mut evaluations = Vec::new();
    let mut engine: Option<Engine> = None;
    for level in model.level_ids() {
        let graph = model.level(level);
        let engine = engine.get_or_insert_with(|| {
            let images = threads.count() * BLOCKS_A_THREAD * LANES;
            let isa = Isa::detect();
            Engine::new(
                &graph,
                &[logits],
                Fusion::Fused,
                images,
                false,
                isa,
                threads.clone(),
            )
        });
        let params = Params::of(engine.plan(), &graph);
        // Zero weights are as good as masked ones.
        let masks: Vec<Vec<bool>> = params
            .tensors
            .iter()
            .map(|t| t.iter().map(|w| *w != 0.0).collect())
            .collect();
        let masks: Vec<Option<&[bool]>> = masks.iter().map(|m| Some(m.as_slice())).collect();
        let mut prepared = Prepared::default();
        engine.prepare(&params, &masks, &mut prepared);
        let level = [(&params, &prepared)];
        evaluations.extend(evaluate_levels(engine, &level, data));
    }
    Ok(evaluations)
}

/// What one level did so far.
#[derive(Default)]
struct Sums {
    predicted: Vec<u32>,
    right: usize,
    loss: f64,
}

/// Evaluates prepared levels of a classifier; the engine's only output is the logits.
pub(super) fn evaluate_levels(
    engine: &mut Engine,
    levels: &[(&Params, &Prepared)],
    data: &Dataset,
) -> Vec<Evaluation> {
    let logits_slot = engine.plan().outputs[0];
    let classes = engine.plan().slots[logits_slot].shape.len();
    let mut sums: Vec<Sums> = levels.iter().map(|_| Sums::default()).collect();
    let (mut gradient, mut scratch) = (vec![0.0; classes], Scratch::default());
    for first in (0..data.len()).step_by(engine.capacity()) {
        let count = engine.capacity().min(data.len() - first);
        engine.load(count, &|i, out| data.input(first + i, out));
        for ((params, prepared), sums) in levels.iter().zip(&mut sums) {
            engine.forward(params, prepared, Mode::Running, None);
            for (i, logits) in engine.read(logits_slot).chunks_exact(classes).enumerate() {
                let class = top1(logits);
                sums.predicted.push(class as u32);
                if let Some(labels) = &data.labels {
                    let label = labels[first + i];
                    sums.right += usize::from(class == label as usize);
                    let target = Target::label(label);
                    sums.loss += image_loss(logits, target, 1.0, &mut gradient, &mut scratch);
                }
            }
        }
    }
    let n = data.len().max(1) as f64;
    let labelled = data.labels.is_some();
    sums.into_iter()
        .map(|s| Evaluation {
            accuracy_top1: labelled.then(|| s.right as f64 / n),
            loss: labelled.then(|| s.loss / n),
            classes: s.predicted,
        })
        .collect()
}

/// The mean loss of prepared levels against a teacher's raw outputs, `scales` being each output's
/// factor ([`Targets::scales`]).
pub(super) fn raw_losses(
    engine: &mut Engine,
    levels: &[(&Params, &Prepared)],
    teacher: &Teacher,
    scales: &[f64],
    data: &Dataset,
) -> Vec<Evaluation> {
    let mut losses = vec![0.0; levels.len()];
    for first in (0..data.len()).step_by(engine.capacity()) {
        let count = engine.capacity().min(data.len() - first);
        let batch: Vec<u32> = (first..first + count).map(|i| i as u32).collect();
        engine.load(count, &|i, out| data.input(first + i, out));
        let taught = teacher.outputs(engine);
        let targets = Targets {
            labels: None,
            smoothing: 0.0,
            teacher: Some(&taught),
            share: 1.0,
            temperature: 1.0,
            scales,
        };
        for ((params, prepared), loss) in levels.iter().zip(&mut losses) {
            engine.forward(params, prepared, Mode::Running, None);
            *loss += targets.batch_loss(&read_all(engine), &batch).1.loss;
        }
    }
    losses
        .into_iter()
        .map(|loss| Evaluation {
            accuracy_top1: None,
            loss: Some(loss / data.len().max(1) as f64),
            classes: Vec::new(),
        })
        .collect()
}

/// The value that the loss is taken on: the output, or what the softmax at the end reads.
pub(super) fn logits_of(graph: &FloatGraph, output: ValueId) -> ValueId {
    match graph.producer(output).map(|id| &graph.nodes[id]) {
        Some(node) if matches!(node.op, FloatOp::Softmax) => node.inputs[0],
        _ => output,
    }
}
