//! Accuracy and loss of every level on a data set.

use crate::data::Dataset;
use crate::diag::Result;
use crate::ir::float::{FloatGraph, FloatOp};
use crate::ir::ids::ValueId;
use crate::ir::nested::NestedModel;

use super::check;
use super::engine::{Engine, Fusion, Mode, Params, Prepared};
use super::recipe::loss::{Target, image_loss, top1};
use super::simd::{Isa, LANES};

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
    let mut prepared = Prepared::default();
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
        engine.prepare(&params, &masks, &mut prepared);
        evaluations.push(evaluate_params(engine, &params, &prepared, data));
    }
    Ok(evaluations)
}

/// Evaluates prepared parameters; the engine's only output is the logits.
pub(super) fn evaluate_params(
    engine: &mut Engine,
    params: &Params,
    prepared: &Prepared,
    data: &Dataset,
) -> Evaluation {
    let logits_slot = engine.plan().outputs[0];
    let classes = engine.plan().slots[logits_slot].shape.len();
    let (mut predicted, mut right, mut loss) = (Vec::new(), 0usize, 0.0);
    let mut scratch = vec![0.0; classes];
    for first in (0..data.len()).step_by(engine.capacity()) {
        let count = engine.capacity().min(data.len() - first);
        engine.load(count, &|i, out| data.input(first + i, out));
        engine.forward(params, prepared, Mode::Running, None);
        for (i, logits) in engine.read(logits_slot).chunks_exact(classes).enumerate() {
            let class = top1(logits);
            predicted.push(class as u32);
            if let Some(labels) = &data.labels {
                let label = labels[first + i];
                right += usize::from(class == label as usize);
                let target = Target {
                    label: Some(label),
                    teacher: None,
                    distillation: 0.0,
                };
                loss += image_loss(logits, target, 1.0, &mut scratch);
            }
        }
    }
    let n = data.len().max(1) as f64;
    let labelled = data.labels.is_some();
    Evaluation {
        accuracy_top1: labelled.then(|| right as f64 / n),
        loss: labelled.then(|| loss / n),
        classes: predicted,
    }
}

/// The value that the loss is taken on: the output, or what the softmax at the end reads.
pub(super) fn logits_of(graph: &FloatGraph, output: ValueId) -> ValueId {
    match graph.producer(output).map(|id| &graph.nodes[id]) {
        Some(node) if matches!(node.op, FloatOp::Softmax) => node.inputs[0],
        _ => output,
    }
}
