//! An independent check of every import: tract runs the file, the reference evaluator runs the
//! imported graph, and both must agree. This is the only module that names tract.

use std::path::Path;

use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTensor, Tensor,
    TractError, TractResult, tvec,
};

use super::{Imported, Layout};
use crate::diag::{self, Diagnostic, Result};
use crate::ir::eval_float::eval_outputs;
use crate::ir::float::{Coordinates, FloatOp, Shape, Unary};

/// Largest difference between both, as a share of an output's range, that counts as agreement.
/// Both compute in single precision in different orders of summation.
pub const TOLERANCE: f32 = 1e-4;

/// Multiply-accumulates up to which a check is worth its time: about a second of plain loops.
const MAX_MACS: u64 = 400_000_000;

/// How far the imported graph is from tract's result.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Both ran; the largest difference over all outputs, as a share of the output's range.
    Agrees(f32),
    /// tract could not run the file: nothing is known. The warning says why.
    Unchecked(Diagnostic),
}

/// Runs the file at `path` in tract and `imported` in the reference evaluator on one random input
/// made from `seed`.
///
/// # Errors
/// If both give different results: an error in nestc (or in tract), never the user's.
pub fn cross_check(path: &Path, imported: &Imported, seed: u64) -> Result<Verdict> {
    let place = path.display().to_string();
    let unchecked = |reason: String| {
        Ok(Verdict::Unchecked(Diagnostic::new(
            diag::ORACLE_SKIPPED,
            &place,
            format!("the import could not be checked against tract: {reason}"),
            "compare `nestc eval` with the accuracy you expect",
        )))
    };
    let graph = &imported.model.graph;
    let macs: u64 = graph.nodes.ids().map(|id| graph.macs(id)).sum();
    if macs > MAX_MACS {
        return unchecked(format!("{macs} multiply-accumulates take too long"));
    }
    let aligned = |op: &FloatOp| match op {
        FloatOp::Resize(r) => r.coordinates == Coordinates::AlignCorners,
        _ => false,
    };
    if graph.nodes.iter().any(|n| aligned(&n.op)) {
        return unchecked("tract finds other positions where corners are aligned".into());
    }
    let rounds = |op: &FloatOp| matches!(op, FloatOp::Unary(Unary::Int8 { .. }));
    if graph.nodes.iter().any(|n| rounds(&n.op)) {
        return unchecked("the model is quantised, and tract does not round as ONNX says".into());
    }
    let input = random_input(graph.input_shape().len(), seed);
    let theirs = match run(path, imported, &input) {
        Ok(outputs) => outputs,
        Err(error) => return unchecked(format!("{error:#}")),
    };
    let ours = eval_outputs(graph, &input);
    if ours.len() != theirs.len() {
        let message = format!("{} outputs, tract gives {}", ours.len(), theirs.len());
        return Err(disagree(&place, message));
    }
    let mut worst = 0f32;
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        if ours.len() != theirs.len() {
            let message = format!(
                "output {i} has {} elements, tract gives {}",
                ours.len(),
                theirs.len()
            );
            return Err(disagree(&place, message));
        }
        let share = deviation(ours, theirs);
        if share > TOLERANCE || share.is_nan() {
            let message = format!("output {i} differs from tract's by {share:.1e} of its range");
            return Err(disagree(&place, message));
        }
        worst = worst.max(share);
    }
    Ok(Verdict::Agrees(worst))
}

fn disagree(place: &str, message: String) -> diag::Diagnostics {
    Diagnostic::new(
        diag::ORACLE_DISAGREES,
        place,
        format!("the imported graph computes something else: {message}"),
        "this is an error in nestc: please report it with the model",
    )
    .into()
}

/// The largest difference as a share of the range of `theirs` (or of its magnitude, where the range
/// is small against it: a constant output has no range).
pub fn deviation(ours: &[f32], theirs: &[f32]) -> f32 {
    let low = theirs.iter().copied().fold(f32::INFINITY, f32::min);
    let high = theirs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let magnitude = low.abs().max(high.abs());
    let range = (high - low).max(1e-2 * magnitude).max(f32::MIN_POSITIVE);
    (ours.iter().zip(theirs))
        .map(|(a, b)| (a - b).abs() / range)
        // `f32::max` would drop a NaN.
        .fold(
            0.0,
            |worst, d| if d > worst || d.is_nan() { d } else { worst },
        )
}

/// Uniform in -1..1, from a counter hashed by SplitMix64 (Steele, Lea, Flood 2014).
fn random_input(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64)
        .map(|i| {
            let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// The outputs of the file for `input` (channel-major), each channel-major.
fn run(path: &Path, imported: &Imported, input: &[f32]) -> TractResult<Vec<Vec<f32>>> {
    let shape = imported.model.graph.input_shape();
    let batch = imported.batch.unwrap_or(1);
    let dims = file_dims(batch, shape, imported.input_layout, imported.input_rank);
    let one = match imported.input_layout {
        Layout::Nchw => input.to_vec(),
        Layout::Nhwc => to_pixel_major(input, shape),
    };
    // tract reports some files by panicking; that too only means that nothing is known.
    let outputs = std::panic::catch_unwind(|| {
        let framework = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_shapes(true);
        let fact = InferenceFact::dt_shape(DatumType::F32, dims.as_slice());
        let model = framework
            .model_for_path(path)?
            .with_input_fact(0, fact)?
            .into_optimized()?
            .into_runnable()?;
        let tensor = Tensor::from_shape(&dims, &one.repeat(batch))?;
        model.run(tvec!(tensor.into_tensor().into()))
    })
    .map_err(|_| TractError::msg("tract panicked"))??;
    let mut all = Vec::new();
    for (i, output) in outputs.iter().enumerate() {
        let values: Vec<f32> = output
            .to_plain_array_view::<f32>()?
            .iter()
            .copied()
            .collect();
        let one = &values[..values.len() / batch];
        all.push(match imported.output_layouts.get(i) {
            Some(Layout::Nhwc) => {
                let value = imported.model.graph.outputs[i];
                to_channel_major(one, imported.model.graph.shape(value))
            }
            _ => one.to_vec(),
        });
    }
    Ok(all)
}

fn file_dims(batch: usize, shape: Shape, layout: Layout, rank: usize) -> Vec<usize> {
    match (rank, layout) {
        (2, _) => vec![batch, shape.len()],
        (3, _) if shape.w == 1 => vec![batch, shape.c, shape.h],
        (3, _) => vec![batch, shape.h, shape.w],
        (_, Layout::Nchw) => vec![batch, shape.c, shape.h, shape.w],
        (_, Layout::Nhwc) => vec![batch, shape.h, shape.w, shape.c],
    }
}

/// A channel-major picture in pixel-major order.
pub fn to_pixel_major(data: &[f32], shape: Shape) -> Vec<f32> {
    let pixels = shape.pixels();
    (0..pixels)
        .flat_map(|p| (0..shape.c).map(move |c| data[c * pixels + p]))
        .collect()
}

/// A pixel-major picture in channel-major order.
pub fn to_channel_major(data: &[f32], shape: Shape) -> Vec<f32> {
    (0..shape.c)
        .flat_map(|c| (0..shape.pixels()).map(move |p| data[p * shape.c + c]))
        .collect()
}
