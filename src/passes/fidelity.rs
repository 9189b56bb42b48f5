//! How closely the integer network follows the float network: signal to noise, per layer and level.
//!
//! Two figures a layer, in decibels, `10 log10(Σ real² / Σ (real - int8)²)` over all elements of the
//! layer's output and all images:
//! - *whole*: against the float network, with all noise that earlier layers brought in;
//! - *own*: against the float layer on the very inputs that the integer layer read, so that only what
//!   this layer itself rounds and clips is counted. The layer of least own figure is where better
//!   ranges, or training with rounding, would gain most.

use rayon::prelude::*;

use crate::diag::Result;
use crate::ir::eval::Executor;
use crate::ir::eval_ops;
use crate::ir::float::{FloatGraph, FloatOp, Node, Shape};
use crate::ir::ids::{Id, IdVec, LayerId, Level, TensorId, ValueId};
use crate::ir::int::{IntGraph, IntOp, IntTensor};
use crate::ir::nested::NestedModel;
use crate::ir::program::Program;
use crate::train::Inference;

use super::quantise::Quantised;
use super::{Preferences, encode, plan, quantise_input};

/// Images worked on at once.
const BATCH: usize = 16;

/// What was measured of a quantised network.
#[derive(Clone, Debug, PartialEq)]
pub struct Fidelity {
    /// Images it was measured on.
    pub images: usize,
    /// One a layer of the integer network, in execution order.
    pub layers: Vec<LayerFidelity>,
}

/// What was measured of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerFidelity {
    /// The ONNX node's name.
    pub name: String,
    /// Whether it gives an output of the network.
    pub is_output: bool,
    /// The signal-to-noise ratio with all noise before the layer, in dB, one a level; `None` where
    /// there is no noise or no signal.
    pub whole: Vec<Option<f64>>,
    /// The same of the noise that the layer itself adds.
    pub own: Vec<Option<f64>>,
    /// Rows of weights, if it has any.
    pub rows: usize,
    /// Those whose weights take wider steps than they would alone: because packed sums could leave
    /// their bits, or because a level's factor would be too small.
    pub coarser_rows: usize,
}

impl Fidelity {
    /// The layer that adds most noise at `level`, and its own figure.
    pub fn worst(&self, level: usize) -> Option<(&LayerFidelity, f64)> {
        (self.layers.iter())
            .filter_map(|layer| Some((layer, layer.own.get(level).copied()??)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Power of a signal and of what came out otherwise.
#[derive(Clone, Copy, Debug, Default)]
struct Power {
    signal: f64,
    noise: f64,
}

impl Power {
    /// Adds images of `real` (channel-major) against what `int8` (each `h, w, c`) stands for.
    fn add(&mut self, real: &[f32], int8: &[Vec<i8>], tensor: &IntTensor, level: usize) {
        let int8 = int8.iter().map(|image| reals(image, tensor, level));
        for (real, int8) in real.chunks_exact(tensor.shape.len().max(1)).zip(int8) {
            for (&v, q) in real.iter().zip(int8) {
                let error = f64::from(v) - q;
                self.signal += f64::from(v) * f64::from(v);
                self.noise += error * error;
            }
        }
    }

    fn decibels(self) -> Option<f64> {
        (self.signal > 0.0 && self.noise > 0.0).then(|| 10.0 * (self.signal / self.noise).log10())
    }
}

/// What an image's int8 (`h, w, c`) stands for, channel-major.
fn reals<'a>(
    image: &'a [i8],
    tensor: &IntTensor,
    level: usize,
) -> impl Iterator<Item = f64> + use<'a> {
    let quant = tensor.quant[level];
    let (c, pixels) = (tensor.shape.c, tensor.shape.pixels());
    (0..image.len()).map(move |i| {
        let q = i32::from(image[i % pixels * c + i / pixels]) - i32::from(quant.zero_point);
        f64::from(quant.scale) * f64::from(q)
    })
}

/// Every tensor of a batch: `[tensor][image]`.
type Tensors = IdVec<TensorId, Vec<Vec<i8>>>;

/// Compares the network quantised from the folded `model` with it on `inputs` (prepared images one
/// after the other).
///
/// # Errors
/// If a layer has no kernel.
pub(super) fn measure(
    model: &NestedModel,
    quantised: &Quantised,
    inputs: &[f32],
) -> Result<Fidelity> {
    let graph = &quantised.graph;
    // Dead channels are still there, as in the model.
    let program = plan(encode(graph.clone(), &Preferences::default())?);
    let len = model.graph.input_shape().len().max(1);
    let mut layers: Vec<LayerFidelity> = (graph.layers.iter().zip(&quantised.rows))
        .map(|(layer, rows)| LayerFidelity {
            name: layer.name.clone(),
            is_output: graph.outputs.contains(&layer.output),
            whole: Vec::new(),
            own: Vec::new(),
            rows: rows.all,
            coarser_rows: rows.coarser,
        })
        .collect();
    let mut tensor_of: IdVec<ValueId, Option<TensorId>> =
        model.graph.values.iter().map(|_| None).collect();
    for (tensor, &value) in quantised.values.iter_enumerated() {
        tensor_of[value] = Some(tensor);
    }
    for level in model.level_ids() {
        let float = model.level(level);
        let mut whole = vec![Power::default(); graph.tensors.len()];
        let mut own = vec![Power::default(); graph.layers.len()];
        let mut alone: Vec<Alone> = (graph.layers.ids())
            .map(|layer| Alone::new(&float, quantised, layer))
            .collect();
        let mut inference = Inference::new(&float);
        for batch in inputs.chunks(BATCH * len) {
            let int8 = run(&program, level, batch);
            let mut seen = vec![0; tensor_of.len()];
            inference.observe(batch, batch.len() / len, &mut |value, real| {
                if let Some(tensor) = tensor_of[value] {
                    let (of, first) = (&graph.tensors[tensor], seen[value.index()]);
                    whole[tensor.index()].add(real, &int8[tensor][first..], of, level.index());
                    seen[value.index()] += real.len() / of.shape.len().max(1);
                }
            });
            for (alone, power) in alone.iter_mut().zip(&mut own) {
                alone.compare(graph, &int8, level, power);
            }
        }
        for ((layer, own), of) in graph.layers.iter().zip(own).zip(&mut layers) {
            of.whole.push(whole[layer.output.index()].decibels());
            of.own.push(own.decibels());
        }
    }
    Ok(Fidelity {
        images: inputs.len() / len,
        layers,
    })
}

/// All tensors of a batch at a level.
fn run(program: &Program, level: Level, inputs: &[f32]) -> Tensors {
    let input = &program.tensors[program.input];
    let images: Vec<IdVec<TensorId, Vec<i8>>> = inputs
        .par_chunks_exact(input.shape.len().max(1))
        .map_init(
            || Executor::new(program),
            |executor, image| {
                let mut all: IdVec<TensorId, Vec<i8>> =
                    program.tensors.iter().map(|_| Vec::new()).collect();
                let quantised = quantise_input(image, input.shape, input.quant[0]);
                executor.run_with(level, &quantised, &mut |step| {
                    all[program.steps[step.step].output] = step.output.to_vec();
                });
                all[program.input] = quantised;
                all
            },
        )
        .collect();
    let mut tensors: Tensors = program.tensors.iter().map(|_| Vec::new()).collect();
    for mut image in images {
        for (tensor, elements) in tensors.iter_mut().zip(image.iter_mut()) {
            tensor.push(std::mem::take(elements));
        }
    }
    tensors
}

/// The float form of one integer layer.
struct Alone {
    layer: LayerId,
    /// How what the layer reads comes together.
    join: Join,
    /// The layer's nodes behind that, if there are any: from one value to the output.
    nodes: Option<Inference>,
}

/// How the inputs of a layer become one value.
enum Join {
    /// There is one input.
    Single,
    /// By a function of two values, which stand at these places among the layer's inputs.
    Function(FloatOp, Vec<usize>),
    /// By movements, which the integer layer states exactly.
    Moves,
}

impl Alone {
    fn new(float: &FloatGraph, quantised: &Quantised, layer: LayerId) -> Self {
        let of = &quantised.graph.layers[layer];
        let inputs: Vec<ValueId> = of.inputs.iter().map(|&t| quantised.values[t]).collect();
        let mut alone = Self {
            layer,
            join: Join::Single,
            nodes: None,
        };
        if let IntOp::Move(_) = of.op {
            alone.join = Join::Moves;
            return alone;
        }
        let mut at = quantised.values[of.output];
        let mut nodes: Vec<&Node> = Vec::new();
        while let Some(id) = float.producer(at).filter(|_| !inputs.contains(&at)) {
            let node = &float.nodes[id];
            if node.inputs.len() > 1 {
                let place = |&v: &ValueId| inputs.iter().position(|&input| input == v);
                let places = node.inputs.iter().filter_map(place).collect();
                alone.join = Join::Function(node.op.clone(), places);
                break;
            }
            nodes.push(node);
            at = node.inputs[0];
        }
        if nodes.is_empty() {
            return alone;
        }
        let mut graph = FloatGraph {
            name: of.name.clone(),
            ..FloatGraph::default()
        };
        let mut last = graph.values.push(float.values[at].clone());
        graph.input = Some(last);
        for node in nodes.into_iter().rev() {
            let output = graph.values.push(float.values[node.output].clone());
            graph.nodes.push(Node {
                inputs: vec![last],
                output,
                ..node.clone()
            });
            last = output;
        }
        graph.outputs.push(last);
        alone.nodes = Some(Inference::new(&graph));
        alone
    }

    /// Adds what the layer makes of the batch's inputs, in float and in int8.
    fn compare(&mut self, graph: &IntGraph, int8: &Tensors, level: Level, power: &mut Power) {
        let layer = &graph.layers[self.layer];
        let level = level.index();
        let (output, images) = (&graph.tensors[layer.output], int8[layer.output].len());
        let dequantised = |tensor: TensorId, image: usize| {
            reals(&int8[tensor][image], &graph.tensors[tensor], level)
        };
        let mut real: Vec<f32> = Vec::new();
        for image in 0..images {
            match &self.join {
                Join::Single => {
                    real.extend(dequantised(layer.inputs[0], image).map(|v| v as f32));
                }
                Join::Function(op, places) => {
                    let values: Vec<(Vec<f64>, Shape)> = (places.iter())
                        .map(|&place| layer.inputs[place])
                        .map(|t| (dequantised(t, image).collect(), graph.tensors[t].shape))
                        .collect();
                    real.extend(together(op, &values).into_iter().map(|v| v as f32));
                }
                Join::Moves => {
                    let IntOp::Move(moves) = &layer.op else {
                        continue;
                    };
                    let first = real.len();
                    real.resize(first + output.shape.len(), 0.0);
                    let (c, pixels) = (output.shape.c, output.shape.pixels());
                    for (moved, &input) in moves.iter().zip(&layer.inputs) {
                        let (data, quant) =
                            (&int8[input][image], graph.tensors[input].quant[level]);
                        moved.each(&mut |from, to| {
                            let steps = i32::from(data[from]) - i32::from(quant.zero_point);
                            real[first + to % c * pixels + to / c] = quant.scale * steps as f32;
                        });
                    }
                }
            }
        }
        if let Some(nodes) = &mut self.nodes {
            real = nodes.run(&real, images);
        }
        power.add(&real, &int8[layer.output], output, level);
    }
}

/// A function of two values, channel-major.
fn together(op: &FloatOp, values: &[(Vec<f64>, Shape)]) -> Vec<f64> {
    let [(a, a_shape), (b, b_shape)] = values else {
        return Vec::new();
    };
    if let FloatOp::Add = op {
        return a.iter().zip(b).map(|(a, b)| a + b).collect();
    }
    let out = a_shape.broadcast(*b_shape).unwrap_or(*a_shape);
    let inputs = [(&a[..], *a_shape), (&b[..], *b_shape)];
    eval_ops::apply(op, &inputs, out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::float::Shape;
    use crate::ir::int::Quant;

    #[test]
    fn noise_is_measured_in_the_order_of_channels() {
        let tensor = IntTensor {
            name: "t".into(),
            shape: Shape::map(2, 1, 2),
            quant: vec![Quant {
                scale: 0.5,
                zero_point: 1,
            }],
        };
        // Pixels are (1, 3) and (5, -7) in channels.
        let int8 = vec![vec![3, 7, 11, -13]];
        let real = [1.0, 5.0, 3.0, -7.5];
        let mut power = Power::default();
        power.add(&real, &int8, &tensor, 0);
        assert_eq!(power.noise, 0.25);
        let signal: f64 = 1.0 + 25.0 + 9.0 + 56.25;
        assert_eq!(power.signal, signal);
        assert_eq!(power.decibels(), Some(10.0 * (signal / 0.25).log10()));
        assert_eq!(Power::default().decibels(), None);
    }
}
