//! Post-training quantisation to int8.
//!
//! Arithmetic (all of it exact but for the roundings named):
//! - activations: asymmetric, one scale and zero point a tensor and level; the network's input has
//!   one for all levels. A tensor behind a fused ReLU has zero point -128, so that saturation is
//!   the activation; behind ReLU6 its range ends at 6 at most;
//! - weights: symmetric, one scale an output channel, `max |w| / 127` over the weights of all
//!   levels *before* normalisation, since one int8 value serves them all;
//! - normalisation, bias and zero points of a level are in its requantisation constants
//!   ([`nest_format::Requant`]). The bias is rounded to a whole accumulator step;
//! - rounding is half away from zero here and half up (once) in the kernels.
//!
//! A multiplier must stay below one half. Where a channel's accumulator step is half an output step
//! or more, the tensor's output step is widened until it is not; the outputs of that channel are
//! coarser than that anyhow.

mod elements;
mod weights;

use std::collections::BTreeMap;

use weights::quantise_weights;

use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::float::{Conv, FloatOp, Shape, Unary, Window};
use crate::ir::ids::{Id, IdVec, LayerId, Level, NodeId, TensorId, ValueId};
use crate::ir::int::{IntConv, IntGraph, IntLayer, IntOp, IntTensor, Quant, RequantTable};
use crate::ir::nested::NestedModel;
use crate::ir::rounding::{Range, quantise_real};

use super::calibrate::{Calibration, RangeRule};
use super::fold::{affine_levels, bias_levels};
use super::moving::{Gather, only_moves};
use super::requant::{
    MAX_FACTOR, MIN_FACTOR, NEGLIGIBLE_FACTOR, add_params, constant, requant, softmax_table,
};
use super::shared::{Groups, keeps_quantisation};

/// A quantised network and where it came from.
#[derive(Debug)]
pub(super) struct Quantised {
    pub graph: IntGraph,
    /// The value of the folded model that each tensor stands for.
    pub values: IdVec<TensorId, ValueId>,
    /// One a layer.
    pub rows: IdVec<LayerId, Rows>,
}

/// A layer's rows of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub all: usize,
    /// Those that take wider steps than they would alone.
    pub coarser: usize,
}

/// Quantises a folded model.
///
/// # Errors
/// Every layer that has no int8 form.
pub fn quantise(
    model: &NestedModel,
    calibration: &Calibration,
    rule: RangeRule,
) -> Result<IntGraph> {
    traced(model, calibration, rule).map(|quantised| quantised.graph)
}

/// As [`quantise`].
pub(super) fn traced(
    model: &NestedModel,
    calibration: &Calibration,
    rule: RangeRule,
) -> Result<Quantised> {
    super::supported::check(model)?;
    let mut builder = Builder::new(model, calibration, rule);
    let graph = &model.graph;
    for id in graph.nodes.ids() {
        builder.node(id);
    }
    let Builder {
        tensors,
        layers,
        of_value,
        rows,
        faults,
        ..
    } = builder;
    let mut values: IdVec<TensorId, ValueId> = tensors.iter().map(|_| graph.input()).collect();
    for (&value, &tensor) in &of_value {
        values[tensor] = value;
    }
    let int = IntGraph {
        name: crate_name(&graph.name),
        sparsities: model.levels.iter().map(|l| l.sparsity).collect(),
        tensors,
        layers,
        input: of_value[&graph.input()],
        outputs: (graph.outputs.iter())
            .filter_map(|v| of_value.get(v).copied())
            .collect(),
    };
    faults.into_result(Quantised {
        graph: int,
        values,
        rows,
    })
}

/// `name` as the name of a crate: lower-case letters, digits and `_`, a letter first.
pub(crate) fn crate_name(name: &str) -> String {
    let mut out: String = (name.chars())
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '_',
        })
        .collect();
    if !out.starts_with(|c: char| c.is_ascii_alphabetic()) {
        out.insert_str(0, "model_");
    }
    // The firmware has a crate of that name already.
    match out.as_str() {
        "model" => "network".into(),
        _ => out,
    }
}

/// An activation function fused into the layer before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activation {
    None,
    Relu,
    Relu6,
}

struct Builder<'a> {
    model: &'a NestedModel,
    calibration: &'a Calibration,
    rule: RangeRule,
    consumers: IdVec<ValueId, Vec<NodeId>>,
    /// Nodes that a layer built earlier has swallowed.
    fused: Vec<bool>,
    tensors: IdVec<TensorId, IntTensor>,
    layers: IdVec<LayerId, IntLayer>,
    rows: IdVec<LayerId, Rows>,
    of_value: BTreeMap<ValueId, TensorId>,
    /// Values that are not made: whoever reads them reads what they consist of.
    held: BTreeMap<ValueId, Gather>,
    groups: Groups,
    /// The quantisation of each group that has one already.
    group_quant: BTreeMap<usize, Vec<Quant>>,
    /// Values whose steps the file states.
    stated: BTreeMap<ValueId, Quant>,
    faults: Diagnostics,
}

impl<'a> Builder<'a> {
    fn new(model: &'a NestedModel, calibration: &'a Calibration, rule: RangeRule) -> Self {
        let graph = &model.graph;
        let mut builder = Self {
            model,
            calibration,
            rule,
            consumers: graph.consumers(),
            fused: vec![false; graph.nodes.len()],
            tensors: IdVec::new(),
            layers: IdVec::new(),
            rows: IdVec::new(),
            of_value: BTreeMap::new(),
            held: BTreeMap::new(),
            groups: Groups::new(model, calibration, rule),
            group_quant: BTreeMap::new(),
            stated: BTreeMap::new(),
            faults: Diagnostics::default(),
        };
        let rounded = builder.take_rounding(graph.input());
        if let Some(&quant) = builder.stated.get(&rounded) {
            let id = builder.tensor(graph.input(), vec![quant; builder.levels()]);
            builder.of_value.insert(rounded, id);
            return builder;
        }
        let range = calibration.input_range(graph.input());
        let ranges = vec![range; builder.levels()];
        let ranges = builder.with_constants(graph.input(), ranges, Activation::None);
        builder.tensor(
            graph.input(),
            ranges.into_iter().map(Range::quant).collect(),
        );
        builder
    }

    fn levels(&self) -> usize {
        self.model.level_count()
    }

    fn shape(&self, value: ValueId) -> Shape {
        self.model.graph.shape(value)
    }

    fn fault(&mut self, node: NodeId, message: String, hint: &str) {
        let name = &self.model.graph.nodes[node].name;
        let place = format!("layer `{name}`");
        self.faults.push(Diagnostic::new(
            diag::QUANTISE_UNSUPPORTED,
            place,
            message,
            hint,
        ));
    }

    fn tensor(&mut self, value: ValueId, quant: Vec<Quant>) -> TensorId {
        let id = self.tensors.push(IntTensor {
            name: self.model.graph.values[value].name.clone(),
            shape: self.shape(value),
            quant,
        });
        self.of_value.insert(value, id);
        id
    }

    fn layer(&mut self, node: NodeId, op: IntOp, inputs: Vec<TensorId>, output: TensorId) {
        self.layers.push(IntLayer {
            name: self.model.graph.nodes[node].name.clone(),
            op,
            inputs,
            output,
        });
        self.rows.push(Rows::default());
    }

    fn quant_of(&self, tensor: TensorId, level: usize) -> Quant {
        self.tensors[tensor].quant[level]
    }

    /// The only node that reads `value`, if it is not a graph output.
    fn only_consumer(&self, value: ValueId) -> Option<NodeId> {
        match self.consumers[value][..] {
            [one] if !self.model.graph.outputs.contains(&value) => Some(one),
            _ => None,
        }
    }

    /// Swallows an activation behind `value`, and the rounding behind that where the file states one.
    fn take_activation(&mut self, value: ValueId) -> (Activation, ValueId) {
        let mut found = (Activation::None, value);
        if let Some(next) = self.only_consumer(value) {
            let node = &self.model.graph.nodes[next];
            let activation = match node.op {
                FloatOp::Relu => Activation::Relu,
                FloatOp::Relu6 => Activation::Relu6,
                _ => Activation::None,
            };
            if activation != Activation::None {
                self.fused[next.index()] = true;
                found = (activation, node.output);
            }
        }
        (found.0, self.take_rounding(found.1))
    }

    /// Swallows the rounding that alone reads `value`, and gives what it gives.
    fn take_rounding(&mut self, value: ValueId) -> ValueId {
        let Some(next) = self.only_consumer(value) else {
            return value;
        };
        let node = &self.model.graph.nodes[next];
        let FloatOp::Unary(Unary::Int8 { scale, zero_point }) = node.op else {
            return value;
        };
        self.fused[next.index()] = true;
        self.stated.insert(node.output, Quant { scale, zero_point });
        node.output
    }

    /// The range of `value` at each level.
    fn ranges(&mut self, value: ValueId, activation: Activation) -> Vec<Range> {
        if let Some((_, ranges)) = self.groups.of(value) {
            return ranges.to_vec();
        }
        let ranges = (0..self.levels())
            .map(|level| {
                let level = Level::from_index(level);
                let mut range = self.calibration.range(level, value, self.rule);
                if activation != Activation::None {
                    range.low = 0.0;
                }
                if activation == Activation::Relu6 {
                    range.high = range.high.min(6.0);
                }
                range
            })
            .collect();
        self.with_constants(value, ranges, activation)
    }

    /// Widens ranges by constants that padding adds downstream, where tensors share quantisation.
    fn with_constants(
        &mut self,
        value: ValueId,
        mut ranges: Vec<Range>,
        activation: Activation,
    ) -> Vec<Range> {
        let model = self.model;
        for &node in &self.consumers[value].clone() {
            match &model.graph.nodes[node].op {
                FloatOp::Pad(pad) => {
                    let constant = f64::from(pad.value);
                    if activation != Activation::None && constant < 0.0 {
                        self.fault(
                            node,
                            format!(
                                "it pads with {constant}, and the values before it are a ReLU's, 0 or more"
                            ),
                            "pad with 0, or pad before the ReLU",
                        );
                    }
                    for range in &mut ranges {
                        *range = range.with(constant);
                    }
                }
                op if keeps_quantisation(op) => {}
                _ => continue,
            }
            let next = model.graph.nodes[node].output;
            ranges = self.with_constants(next, ranges, activation);
        }
        ranges
    }

    fn node(&mut self, id: NodeId) {
        if self.fused[id.index()] {
            return;
        }
        let model = self.model;
        let node = &model.graph.nodes[id];
        if only_moves(&node.op) {
            return self.moving(id);
        }
        let inputs: Vec<TensorId> = (node.inputs.iter())
            .filter_map(|v| self.of_value.get(v).copied())
            .collect();
        let Some(&input) = inputs.first() else {
            unreachable!("nodes stand in topological order")
        };
        match &node.op {
            FloatOp::Conv(conv) => self.conv(id, conv, input),
            FloatOp::Add => self.add(id, inputs),
            FloatOp::MaxPool(window) => self.sharing(id, IntOp::MaxPool(*window), input),
            FloatOp::Pad(pad) => {
                let value = (self.tensors[input].quant.iter())
                    .map(|&q| quantise_real(f64::from(pad.value), q))
                    .collect();
                let op = IntOp::Pad {
                    c: pad.c,
                    h: pad.h,
                    w: pad.w,
                    value,
                };
                self.sharing(id, op, input);
            }
            FloatOp::Relu | FloatOp::Relu6 => {
                let capped = node.op == FloatOp::Relu6;
                let bounds = (self.tensors[input].quant.iter())
                    .map(|&q| {
                        let high = if capped { quantise_real(6.0, q) } else { 127 };
                        [q.zero_point, high]
                    })
                    .collect();
                self.sharing(id, IntOp::Clamp(bounds), input);
            }
            FloatOp::AvgPool {
                window,
                count_include_pad,
            } => self.avg_pool(id, window, *count_include_pad, input),
            FloatOp::GlobalAvgPool => self.global_avg_pool(id, input),
            FloatOp::Softmax => {
                let tables = (self.tensors[input].quant.iter())
                    .map(|q| softmax_table(q.scale))
                    .collect();
                let quant = Quant {
                    scale: 1.0 / 256.0,
                    zero_point: -128,
                };
                let output = self.tensor(node.output, vec![quant; self.levels()]);
                self.layer(id, IntOp::Softmax(tables), vec![input], output);
            }
            FloatOp::Unary(Unary::Int8 { scale, zero_point }) => {
                let stated = Quant {
                    scale: *scale,
                    zero_point: *zero_point,
                };
                if self.tensors[input].quant.iter().all(|&q| q == stated) {
                    // Rounded to these steps already.
                    self.of_value.insert(node.output, input);
                } else {
                    self.lookup(id, input);
                }
            }
            FloatOp::Unary(Unary::Clip { low, high }) => {
                let bounds = (self.tensors[input].quant.iter())
                    .map(|&q| [*low, *high].map(|bound| quantise_real(f64::from(bound), q)))
                    .collect();
                self.sharing(id, IntOp::Clamp(bounds), input);
            }
            FloatOp::Unary(_) => self.lookup(id, input),
            FloatOp::PRelu(slopes) => self.prelu(id, slopes, input),
            FloatOp::Binary(f) => self.binary(id, *f, &inputs),
            FloatOp::WithConstant(w) if w.shape.len() == 1 => self.lookup(id, input),
            FloatOp::WithConstant(w) => self.by_constant(id, w, input),
            FloatOp::Resize(resize) => {
                let x = self.tensors[input].shape;
                let op = IntOp::Resize {
                    rows: elements::int_taps(&resize.taps(0, x.h)),
                    columns: elements::int_taps(&resize.taps(1, x.w)),
                };
                self.sharing(id, op, input);
            }
            op @ (FloatOp::Slice(_)
            | FloatOp::Concat(_)
            | FloatOp::Select { .. }
            | FloatOp::ChannelShuffle { .. }
            | FloatOp::Rearrange(_)) => unreachable!("{} moves elements", op.name()),
            op @ (FloatOp::Dense(_)
            | FloatOp::BatchNorm(_)
            | FloatOp::ChannelAffine { .. }
            | FloatOp::Flatten) => {
                unreachable!("folding leaves no free-standing {}", op.name())
            }
        }
    }

    /// A layer whose output has its input's quantisation.
    fn sharing(&mut self, id: NodeId, op: IntOp, input: TensorId) {
        let quant = self.tensors[input].quant.clone();
        let output = self.tensor(self.model.graph.nodes[id].output, quant);
        self.layer(id, op, vec![input], output);
    }

    /// The quantisation of an output whose steps must be at least `least[level]` wide.
    fn output_quant(
        &mut self,
        value: ValueId,
        activation: Activation,
        least: impl Fn(usize) -> f64,
    ) -> Vec<Quant> {
        let levels = 0..self.levels();
        if let Some(&quant) = self.stated.get(&value)
            && levels
                .map(&least)
                .all(|least| f64::from(quant.scale) >= least)
        {
            return vec![quant; self.levels()];
        }
        let ranges = self.ranges(value, activation);
        let own = (ranges.iter().enumerate())
            .map(|(level, range)| range.quant_of_least_step(least(level)))
            .collect();
        let Some((group, _)) = self.groups.of(value) else {
            return own;
        };
        let shared = self.group_quant.entry(group).or_insert_with(|| own.clone());
        let wide_enough = |(level, q): (usize, &Quant)| f64::from(q.scale) >= least(level);
        if shared.iter().enumerate().all(wide_enough) {
            shared.clone()
        } else {
            own
        }
    }

    /// The tensor a layer with a fused activation writes: `value`, or `before` where a clamp between
    /// the two must follow.
    fn fused_output(
        &mut self,
        before: ValueId,
        value: ValueId,
        activation: Activation,
        quant: &[Quant],
    ) -> TensorId {
        // Saturation caps at the ends of the range. Padding constants, wide steps and what a file
        // states put these beyond 0 and 6.
        let above = |q: &Quant| f64::from(q.scale) * (126.5 - f64::from(q.zero_point)) > 6.0;
        let below = |q: &Quant| q.zero_point > -128;
        let capped = match activation {
            Activation::None => false,
            Activation::Relu => quant.iter().any(below),
            Activation::Relu6 => quant.iter().any(|q| above(q) || below(q)),
        };
        self.tensor(if capped { before } else { value }, quant.to_vec())
    }

    /// Adds the clamp from `before` to `value` if [`Self::fused_output`] left it open.
    fn cap(&mut self, before: ValueId, value: ValueId, quant: Vec<Quant>) {
        if self.of_value.contains_key(&value) {
            return;
        }
        let (Some(&input), Some(relu)) = (self.of_value.get(&before), self.only_consumer(before))
        else {
            return;
        };
        let relu6 = self.model.graph.nodes[relu].op == FloatOp::Relu6;
        let high = |q| if relu6 { quantise_real(6.0, q) } else { 127 };
        let bounds = quant.iter().map(|&q| [q.zero_point, high(q)]);
        let op = IntOp::Clamp(bounds.collect());
        let output = self.tensor(value, quant);
        self.layer(relu, op, vec![input], output);
    }

    fn conv(&mut self, id: NodeId, conv: &Conv, input: TensorId) {
        let model = self.model;
        let levels = self.levels();
        let params = |id: NodeId| model.level_params.get(&id).map(Vec::as_slice);
        let node = &model.graph.nodes[id];
        let bias = bias_levels(&node.op, params(id), levels);
        let mut value = node.output;
        let mut post = vec![(vec![1.0; conv.out_channels], vec![0.0; conv.out_channels]); levels];
        if let Some(next) = self.only_consumer(value) {
            let affine = &model.graph.nodes[next];
            if matches!(affine.op, FloatOp::ChannelAffine { .. }) {
                post = affine_levels(&affine.op, params(next), levels);
                self.fused[next.index()] = true;
                value = affine.output;
            }
        }
        let before = value;
        let (activation, value) = self.take_activation(before);

        let weight_levels = model.weight_levels.get(&id);
        let weight_levels = weight_levels.map(Vec::as_slice);
        let mut weights = quantise_weights(conv, weight_levels, |_| 0.0);
        let row = conv.row_len();
        let in_quant = self.tensors[input].quant.clone();
        // What a weight of 1 is in the output's unit.
        let unit =
            |level: usize, o: usize| f64::from(in_quant[level].scale) * f64::from(post[level].0[o]);
        let quant = self.output_quant(value, activation, |level| {
            (0..conv.out_channels)
                .filter(|&o| !weights.is_dead(o))
                .map(|o| (unit(level, o) * f64::from(weights.scale[o])).abs())
                .fold(0.0, f64::max)
                / MAX_FACTOR
        });
        let least_scale = |o: usize| {
            (0..levels)
                .filter(|&level| unit(level, o) != 0.0)
                .map(|level| MIN_FACTOR * f64::from(quant[level].scale) / unit(level, o).abs())
                .fold(0.0, f64::max)
        };
        if (0..conv.out_channels).any(|o| f64::from(weights.scale[o]) < least_scale(o)) {
            weights = quantise_weights(conv, weight_levels, least_scale);
        }

        let table: RequantTable = (0..levels)
            .map(|level| {
                let (scale, shift) = &post[level];
                let out = quant[level];
                (0..conv.out_channels)
                    .map(|o| {
                        let live = (0..row).map(|i| o * row + i).filter(|&i| {
                            weights
                                .levels
                                .as_ref()
                                .is_none_or(|l| usize::from(l[i]) <= level)
                        });
                        let sum: i64 = live.map(|i| i64::from(weights.values[i])).sum();
                        let real =
                            f64::from(scale[o]) * f64::from(bias[level][o]) + f64::from(shift[o]);
                        let offset = real / f64::from(out.scale);
                        let factor = unit(level, o) * f64::from(weights.scale[o]);
                        if weights.is_dead(o) {
                            return constant(offset);
                        }
                        let zero_sum = i64::from(in_quant[level].zero_point) * sum;
                        if factor == 0.0 {
                            return requant(NEGLIGIBLE_FACTOR, zero_sum, offset);
                        }
                        requant(factor / f64::from(out.scale), zero_sum, offset)
                    })
                    .collect()
            })
            .collect();
        let output = self.fused_output(before, value, activation, &quant);
        let op = IntOp::Conv(IntConv {
            window: conv.window,
            out_channels: conv.out_channels,
            group_channels: conv.group_channels,
            groups: conv.groups,
            weight: weights.values,
            weight_levels: weights.levels,
            requant: table,
            weight_scale: weights.scale,
            model: None,
        });
        self.layer(id, op, vec![input], output);
        if let Some(rows) = self.rows.iter_mut().next_back() {
            *rows = Rows {
                all: conv.out_channels,
                coarser: weights.coarser_rows,
            };
        }
        self.cap(before, value, quant);
    }

    fn add(&mut self, id: NodeId, inputs: Vec<TensorId>) {
        let before = self.model.graph.nodes[id].output;
        let (activation, value) = self.take_activation(before);
        let [a, b] = inputs[..] else {
            unreachable!("an addition has two inputs")
        };
        // Factors are 16-bit: an output step may be no more than 2^14 times finer than an input's.
        let widest: Vec<f32> = (0..self.levels())
            .map(|l| self.quant_of(a, l).scale.max(self.quant_of(b, l).scale))
            .collect();
        let quant = self.output_quant(value, activation, |level| {
            f64::from(widest[level]) / f64::from(1 << 14)
        });
        let params = (0..self.levels())
            .map(|l| add_params(self.quant_of(a, l), self.quant_of(b, l), quant[l]))
            .collect();
        let output = self.fused_output(before, value, activation, &quant);
        self.layer(id, IntOp::Add(params), inputs, output);
        self.cap(before, value, quant);
    }

    fn avg_pool(&mut self, id: NodeId, window: &Window, include_pad: bool, input: TensorId) {
        let before = self.model.graph.nodes[id].output;
        let (activation, value) = self.take_activation(before);
        let x = self.tensors[input].shape;
        let taps = window.taps();
        let fewest = if include_pad {
            taps
        } else {
            fewest_taps(window, x)
        };
        let in_quant = self.tensors[input].quant.clone();
        let quant = self.output_quant(value, activation, |level| {
            f64::from(in_quant[level].scale) / fewest as f64 / MAX_FACTOR
        });
        let table = (0..self.levels())
            .map(|level| {
                let (x, y) = (in_quant[level], quant[level]);
                (1..=taps)
                    .map(|n| {
                        let factor = f64::from(x.scale) / f64::from(y.scale) / n.max(fewest) as f64;
                        requant(factor, i64::from(x.zero_point) * n as i64, 0.0)
                    })
                    .collect()
            })
            .collect();
        let output = self.fused_output(before, value, activation, &quant);
        let op = IntOp::AvgPool {
            window: *window,
            count_include_pad: include_pad,
            requant: table,
        };
        self.layer(id, op, vec![input], output);
        self.cap(before, value, quant);
    }

    fn global_avg_pool(&mut self, id: NodeId, input: TensorId) {
        let before = self.model.graph.nodes[id].output;
        let (activation, value) = self.take_activation(before);
        let pixels = self.tensors[input].shape.pixels();
        let in_quant = self.tensors[input].quant.clone();
        let quant = self.output_quant(value, activation, |level| {
            f64::from(in_quant[level].scale) / pixels as f64 / MAX_FACTOR
        });
        let constants = (in_quant.iter().zip(&quant))
            .map(|(x, y)| {
                let factor = f64::from(x.scale) / f64::from(y.scale) / pixels as f64;
                requant(factor, i64::from(x.zero_point) * pixels as i64, 0.0)
            })
            .collect();
        let output = self.fused_output(before, value, activation, &quant);
        self.layer(id, IntOp::GlobalAvgPool(constants), vec![input], output);
        self.cap(before, value, quant);
    }
}

/// The fewest taps inside the input under any position of the window.
fn fewest_taps(window: &Window, x: Shape) -> usize {
    let Some(out) = window.output(x.h, x.w) else {
        return window.taps();
    };
    let inside = |axis: usize, n: usize, count: usize| {
        (0..count)
            .map(|o| {
                (0..window.kernel[axis])
                    .filter(|k| {
                        let at = o * window.stride[axis] + k * window.dilation[axis];
                        at >= window.pads[axis] && at - window.pads[axis] < n
                    })
                    .count()
            })
            .min()
            .unwrap_or(0)
    };
    (inside(0, x.h, out[0]) * inside(1, x.w, out[1])).max(1)
}
