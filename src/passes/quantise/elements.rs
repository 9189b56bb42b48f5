//! Layers without weights: functions of one element and of two, and movements.

use crate::ir::float::{Binary, FloatOp, Shape, Tap, Unary, WithConstant};
use crate::ir::ids::{Id, NodeId, TensorId, ValueId};
use crate::ir::int::{IntBinary, IntConstant, IntMove, IntOp, Quant};
use crate::ir::rounding::{Range, quantise_real};
use crate::passes::moving::{Gather, only_moves};
use crate::passes::requant::{
    MAX_FACTOR, add_params, lookup_table, product_params, rescaling, sum_params,
};

use super::{Activation, Builder};

/// How much finer the step of a sum may be than an input's: factors have 16 bits.
const FINEST: f64 = (1 << 14) as f64;

/// Shares of interpolation as 256ths.
pub(super) fn int_taps(taps: &[Tap]) -> Vec<nest_kernels::layer::Tap> {
    (taps.iter())
        .map(|tap| {
            let share = (f64::from(tap.share) * 256.0).round() as u16;
            [tap.first as u16, tap.second as u16, share]
        })
        .collect()
}

/// The function of one element that a node computes, if it computes one.
fn function(op: &FloatOp) -> Option<impl Fn(f64) -> f64 + use<>> {
    enum Function {
        Unary(Unary),
        /// Whether the constant comes first.
        Constant(Binary, f64, bool),
    }
    let clip = |low, high| Function::Unary(Unary::Clip { low, high });
    let f = match op {
        FloatOp::Unary(f) => Function::Unary(*f),
        FloatOp::Relu => clip(0.0, f32::INFINITY),
        FloatOp::Relu6 => clip(0.0, 6.0),
        FloatOp::WithConstant(w) if w.shape.len() == 1 => {
            Function::Constant(w.op, f64::from(w.data[0]), w.constant_first)
        }
        _ => return None,
    };
    Some(move |x| match f {
        Function::Unary(f) => f.value(x),
        Function::Constant(f, c, true) => f.value(c, x),
        Function::Constant(f, c, false) => f.value(x, c),
    })
}

impl Builder<'_> {
    /// A function of one element, and all those behind it whose input nothing else reads, as one
    /// table.
    pub(super) fn lookup(&mut self, id: NodeId, input: TensorId) {
        let graph = &self.model.graph;
        let mut chain = Vec::from_iter(function(&graph.nodes[id].op));
        let mut last = id;
        while let Some(next) = self.only_consumer(graph.nodes[last].output) {
            let Some(f) = function(&graph.nodes[next].op) else {
                break;
            };
            chain.push(f);
            self.fused[next.index()] = true;
            last = next;
        }
        let (op, value) = (&graph.nodes[last].op, graph.nodes[last].output);
        let quant = match op {
            // From 0 to 1: the scale that softmax has, too, so that both can be joined.
            FloatOp::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }) => {
                let quant = Quant {
                    scale: 1.0 / 256.0,
                    zero_point: -128,
                };
                vec![quant; self.levels()]
            }
            FloatOp::Unary(Unary::Int8 { scale, zero_point }) => {
                let (scale, zero_point) = (*scale, *zero_point);
                vec![Quant { scale, zero_point }; self.levels()]
            }
            _ => self.output_quant(value, Activation::None, |_| 0.0),
        };
        let tables = (self.tensors[input].quant.iter().zip(&quant))
            .map(|(&x, &y)| lookup_table(x, y, |v| chain.iter().fold(v, |v, f| f(v))))
            .collect();
        let output = self.tensor(value, quant);
        self.layer(id, IntOp::Lookup(tables), vec![input], output);
    }

    pub(super) fn prelu(&mut self, id: NodeId, slopes: &[f32], input: TensorId) {
        let before = self.model.graph.nodes[id].output;
        let (activation, value) = self.take_activation(before);
        let x = self.tensors[input].quant.clone();
        let steepest = slopes
            .iter()
            .fold(1.0, |m: f64, &s| m.max(f64::from(s).abs()));
        let quant = self.output_quant(value, activation, |level| {
            steepest * f64::from(x[level].scale) / FINEST
        });
        // The larger of the element and zero, and the smaller, added with their slopes.
        let params = (x.iter().zip(&quant))
            .map(|(&x, &y)| {
                let slope = |&s: &f32| sum_params(1.0, x, f64::from(s), x, y);
                slopes.iter().map(slope).collect()
            })
            .collect();
        let output = self.fused_output(before, value, activation, &quant);
        self.layer(id, IntOp::PRelu(params), vec![input], output);
        self.cap(before, value, quant);
    }

    /// A function of two tensors.
    pub(super) fn binary(&mut self, id: NodeId, f: Binary, inputs: &[TensorId]) {
        let &[a, b] = inputs else {
            unreachable!("a function of two values has two inputs")
        };
        let out = self.shape(self.model.graph.nodes[id].output);
        // The first has the output's extent if one of them has: it may be overwritten.
        let swapped = self.tensors[a].shape != out && self.tensors[b].shape == out;
        let operands = [a, b].map(|t| self.tensors[t].quant.clone());
        let inputs = if swapped { vec![b, a] } else { vec![a, b] };
        if f == Binary::Add && self.tensors[a].shape == self.tensors[b].shape {
            return self.add(id, inputs);
        }
        self.pairs(id, f, operands, swapped, inputs, None);
    }

    /// A function of a tensor and a constant of more than one element.
    pub(super) fn by_constant(&mut self, id: NodeId, w: &WithConstant, input: TensorId) {
        let (f, reals): (Binary, Vec<f32>) = match (w.op, w.constant_first) {
            (Binary::Div, false) => (Binary::Mul, w.data.iter().map(|c| 1.0 / c).collect()),
            (f, _) => (f, w.data.clone()),
        };
        let range = (reals.iter()).fold(Range::ZERO, |range, &c| range.with(f64::from(c)));
        let quant = range.quant();
        let Shape { c, h, w: columns } = w.shape;
        let pixels = h * columns;
        let data = (0..c * pixels)
            .map(|i| quantise_real(f64::from(reals[i % c * pixels + i / c]), quant))
            .collect();
        let constant = IntConstant {
            shape: w.shape,
            data,
        };
        let x = self.tensors[input].quant.clone();
        let constants = vec![quant; self.levels()];
        // The tensor is the kernel's first operand in any case.
        let operands = match w.constant_first {
            true => [constants, x],
            false => [x, constants],
        };
        let swapped = w.constant_first;
        self.pairs(id, f, operands, swapped, vec![input], Some(constant));
    }

    /// The layer of `f(operands[0], operands[1])`; if they are `swapped`, the kernel has the second
    /// one as its first.
    fn pairs(
        &mut self,
        id: NodeId,
        f: Binary,
        operands: [Vec<Quant>; 2],
        swapped: bool,
        inputs: Vec<TensorId>,
        constant: Option<IntConstant>,
    ) {
        let before = self.model.graph.nodes[id].output;
        let (activation, value) = self.take_activation(before);
        let [first, second] = operands;
        let scale = |q: &Quant| f64::from(q.scale);
        let quant = self.output_quant(value, activation, |level| {
            let (a, b) = (scale(&first[level]), scale(&second[level]));
            match f {
                Binary::Mul => a * b / MAX_FACTOR,
                _ => a.max(b) / FINEST,
            }
        });
        let (a, b) = if swapped {
            (second, first)
        } else {
            (first, second)
        };
        let levels = || (0..a.len()).map(|l| (a[l], b[l], quant[l]));
        let operation = match f {
            Binary::Add => IntBinary::Sum(levels().map(|(a, b, y)| add_params(a, b, y)).collect()),
            Binary::Sub => {
                let (wa, wb) = if swapped { (-1.0, 1.0) } else { (1.0, -1.0) };
                let params = |(a, b, y)| sum_params(wa, a, wb, b, y);
                IntBinary::Sum(levels().map(params).collect())
            }
            Binary::Mul => {
                IntBinary::Product(levels().map(|(a, b, y)| product_params(a, b, y)).collect())
            }
            Binary::Min | Binary::Max => {
                let both = |(a, b, y)| [rescaling(a, y), rescaling(b, y)];
                let params = levels().map(both).collect();
                match f {
                    Binary::Min => IntBinary::Least(params),
                    _ => IntBinary::Largest(params),
                }
            }
            Binary::Div => unreachable!("refused before"),
        };
        let output = self.fused_output(before, value, activation, &quant);
        let op = IntOp::Binary {
            operation,
            constant,
        };
        self.layer(id, op, inputs, output);
        self.cap(before, value, quant);
    }

    /// A layer that only moves elements. If all that read its output only move elements, too, there is
    /// none: they read what it consists of.
    pub(super) fn moving(&mut self, id: NodeId) {
        let node = &self.model.graph.nodes[id];
        let value = node.output;
        let all_made = node.inputs.iter().all(|v| self.of_value.contains_key(v));
        let inputs: Vec<(Gather, Shape)> = (node.inputs.iter())
            .map(|&v| (self.gather(v), self.shape(v)))
            .collect();
        let gather = Gather::of(&node.op, &inputs, self.shape(value)).trimmed();
        if self.is_moved_on(value, all_made) {
            self.held.insert(value, gather);
            return;
        }
        let value = self.take_rounding(value);
        let quants: Vec<Vec<Quant>> = (gather.sources.iter())
            .map(|&t| self.tensors[t].quant.clone())
            .collect();
        let quant = match &quants[..] {
            _ if self.stated.contains_key(&value) => {
                self.output_quant(value, Activation::None, |_| 0.0)
            }
            [first, rest @ ..] if rest.iter().all(|other| other == first) => first.clone(),
            _ => self.output_quant(value, Activation::None, |_| 0.0),
        };
        let moves = (quants.iter().enumerate())
            .map(|(source, of_source)| IntMove {
                nests: gather.nests_of(source),
                tables: (*of_source != quant).then(|| {
                    (of_source.iter().zip(&quant))
                        .map(|(&x, &y)| lookup_table(x, y, |v| v))
                        .collect()
                }),
            })
            .collect();
        let output = self.tensor(value, quant);
        self.layer(id, IntOp::Move(moves), gather.sources, output);
    }

    /// What a value consists of.
    fn gather(&self, value: ValueId) -> Gather {
        match (self.held.get(&value), self.of_value.get(&value)) {
            (Some(gather), _) => gather.clone(),
            (None, Some(&tensor)) => Gather::whole(tensor, self.shape(value)),
            (None, None) => unreachable!("nodes stand in topological order"),
        }
    }

    /// Whether a moved value need not be made. What it consists of lives longer then: no longer than
    /// the value itself would if one layer reads it, and in as many bytes if it joins whole tensors
    /// (`all_made`).
    fn is_moved_on(&self, value: ValueId, all_made: bool) -> bool {
        let graph = &self.model.graph;
        let readers = &self.consumers[value];
        !readers.is_empty()
            && !graph.outputs.contains(&value)
            && (readers.iter()).all(|&reader| only_moves(&graph.nodes[reader].op))
            && (readers.len() == 1 || all_made)
    }
}
