//! What a network would take on a device, without measuring anything.
//!
//! Sizes and cycles hardly depend on the ranges of activations: a range decides whether joined values
//! share their quantisation and little else. So ranges are estimated from the weights alone, in one
//! pass over the graph. A value has one root mean square for all its elements; a convolution multiplies it by
//! the root of its weights' mean squared row norm, an addition adds squares, and what is bounded is
//! taken at its bounds. Normalisations tie the estimate to what the network was trained on.
//!
//! Layers that no device runs are found and stand as the nearest that one does, so that all findings
//! come together and the rest is still estimated.

use crate::diag::{Diagnostics, Result};
use crate::ir::float::{Binary, FloatGraph, FloatOp, Unary};
use crate::ir::ids::{IdVec, ValueId};
use crate::ir::nested::{NestedModel, Preprocessing};
use crate::ir::rounding::Range;
use crate::ir::verify_int;

use super::calibrate::{Calibration, RangeRule};
use super::{EncodedGraph, Preferences, eliminate, encode, fold, quantise, supported};

/// How many root mean squares a range reaches from zero.
const REACH: f64 = 4.0;
/// What the root mean square of a normal distribution falls to where half of it is cut.
const HALVED: f64 = 0.7;
/// Of a network's input, where its preparation is not known.
const INPUT: f64 = 1.0;

/// What [`sketch`] gives.
#[derive(Debug)]
pub struct Sketch {
    /// The encoded network, to be planned for a board; none where a layer cannot be encoded.
    pub encoded: Option<EncodedGraph>,
    /// Every layer that no device runs, and every other limit of the kernels.
    pub findings: Diagnostics,
}

/// Lowers a verified model as far as its layers are known, with estimated ranges. Weights, memory and
/// cycles are those of a compilation but for details.
pub fn sketch(model: NestedModel, preferences: &Preferences) -> Sketch {
    let preprocessing = model.preprocessing.clone();
    let mut model = fold(model);
    let mut findings = Diagnostics::default();
    if let Err(found) = supported::check(&model) {
        findings = found;
        for node in model.graph.nodes.iter_mut() {
            supported::stand_in(&mut node.op);
        }
    }
    let lowered = lower(&model, preprocessing.as_ref(), preferences);
    let encoded = lowered.map_err(|found| findings.0.extend(found.0)).ok();
    Sketch { encoded, findings }
}

fn lower(
    model: &NestedModel,
    preprocessing: Option<&Preprocessing>,
    preferences: &Preferences,
) -> Result<EncodedGraph> {
    let ranges = (model.level_ids())
        .map(|level| ranges(&model.level(level), preprocessing))
        .collect();
    let calibration = Calibration::estimated(ranges);
    let graph = eliminate(quantise(model, &calibration, RangeRule::MinMax)?);
    verify_int::verify(&graph)?;
    encode(graph, preferences)
}

/// The estimated range of every value of a folded graph.
fn ranges(graph: &FloatGraph, preprocessing: Option<&Preprocessing>) -> IdVec<ValueId, Range> {
    let mut sizes: IdVec<ValueId, f64> = graph.values.iter().map(|_| INPUT).collect();
    let mut ranges: IdVec<ValueId, Range> = sizes.iter().map(|&size| around_zero(size)).collect();
    if let Some(preprocessing) = preprocessing {
        let input = super::calibrate::pixel_range(preprocessing, graph.input_shape().c);
        sizes[graph.input()] = input.high.max(-input.low) / 2.0;
        ranges[graph.input()] = input;
    }
    for node in &graph.nodes {
        let inputs: Vec<f64> = node.inputs.iter().map(|&v| sizes[v]).collect();
        let (size, range) = output(&node.op, &inputs, ranges[node.inputs[0]]);
        // Whatever the weights are, a step stays a number.
        sizes[node.output] = size.clamp(1e-6, 1e6);
        ranges[node.output] = range.unwrap_or_else(|| around_zero(sizes[node.output]));
    }
    ranges
}

fn around_zero(size: f64) -> Range {
    Range {
        low: -REACH * size,
        high: REACH * size,
    }
}

/// The root mean square of what an operation gives, and its range where that is not as wide on either
/// side of zero; `before` is the range of its first input.
fn output(op: &FloatOp, inputs: &[f64], before: Range) -> (f64, Option<Range>) {
    let first = inputs.first().copied().unwrap_or(INPUT);
    let largest = inputs.iter().copied().fold(0.0, f64::max);
    let cut = |high: f64| Range {
        low: 0.0,
        high: high.max(f64::MIN_POSITIVE),
    };
    match op {
        FloatOp::Conv(conv) => {
            let rows = conv.out_channels.max(1) as f64;
            let gain = mean_square(&conv.weight) * conv.weight.len() as f64 / rows;
            let bias = conv.bias.as_deref().map_or(0.0, mean_square);
            ((gain * first * first + bias).sqrt(), None)
        }
        FloatOp::ChannelAffine { scale, shift } => {
            let gain = mean_square(scale);
            ((gain * first * first + mean_square(shift)).sqrt(), None)
        }
        FloatOp::Relu => (HALVED * first, Some(cut(before.high))),
        FloatOp::Relu6 => ((HALVED * first).min(6.0), Some(cut(before.high.min(6.0)))),
        FloatOp::Softmax => (0.5, Some(cut(1.0))),
        FloatOp::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }) => (0.5, Some(cut(1.0))),
        FloatOp::Unary(Unary::Tanh) => (first.min(1.0), Some(around_zero(first.min(1.0) / REACH))),
        FloatOp::Unary(Unary::Exp) => (1.0, Some(cut(before.high.min(8.0).exp()))),
        FloatOp::Unary(Unary::HardSwish | Unary::Silu | Unary::Elu { .. }) => (
            HALVED * first,
            Some(Range {
                low: before.low.max(-1.0),
                high: before.high,
            }),
        ),
        FloatOp::Unary(Unary::Clip { low, high }) => {
            let range = Range {
                low: before.low.max(f64::from(*low)).min(0.0),
                high: before.high.min(f64::from(*high)).max(0.0),
            };
            (first.min(range.high.max(-range.low)), Some(range))
        }
        FloatOp::Add | FloatOp::Binary(Binary::Add | Binary::Sub) => (
            inputs.iter().map(|size| size * size).sum::<f64>().sqrt(),
            None,
        ),
        FloatOp::Binary(Binary::Mul | Binary::Div) => (inputs.iter().product(), None),
        FloatOp::WithConstant(with) => {
            let constant = mean_square(&with.data).sqrt();
            let size = match with.op {
                Binary::Mul => first * constant,
                Binary::Div if with.constant_first => constant,
                Binary::Div => first / constant.max(f64::MIN_POSITIVE),
                _ => first.hypot(constant),
            };
            (size, None)
        }
        // Everything else keeps its values, or some of them.
        _ => (largest, Some(before).filter(|_| inputs.len() == 1)),
    }
}

fn mean_square(values: &[f32]) -> f64 {
    let sum: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    sum / values.len().max(1) as f64
}
