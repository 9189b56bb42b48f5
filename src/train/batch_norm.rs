//! Putting batch normalisation back where an exporter folded it into the convolutions.

use crate::data::Dataset;
use crate::ir::float::{BatchNorm, FloatGraph, FloatOp, Node, Value};
use crate::ir::ids::{Id, IdVec, NodeId, ValueId};

use super::engine::{Engine, MOMENTUM, Mode, Params, Prepared, Running, Threads};
use super::inference::Inference;
use super::recipe::random::shuffled;

/// Images that the statistics are measured on.
const CALIBRATION_IMAGES: usize = 512;
/// Images observed at once, to bound memory.
const CHUNK: usize = 64;
/// Added to the variance of every inserted normalisation.
const EPSILON: f32 = 1e-5;

/// Root mean square of a re-scaled row of weights times the square root of its input channels.
///
/// Folding multiplies every row by a scale that has nothing to do with what the row is worth: in
/// the ResNet-8 of `models/`, folded rows of one layer are 11 times as large as those of the layer
/// before, trained ones all about as large. A magnitude ranking over all layers would empty some
/// and spare others, and the same learning rate would be too small for the large ones. Behind a
/// normalisation the scale of a row is free, so each is set to what training with weight decay
/// leaves in rows of 3x3 weights: an L2 norm of about 1.15, which is 0.38 / sqrt(channels) a weight.
const ROW_RMS: f64 = 0.38;

/// `graph` with a batch normalisation behind every convolution that has none: its statistics are the
/// mean and variance of the convolution's output on some of the `images` of `data`, its scale and shift undo them,
/// so that the function is unchanged up to rounding. Biases of convolutions move into the
/// normalisation behind them. The weights of a convolution that gets a normalisation are re-scaled
/// row by row ([`ROW_RMS`]). The result does not depend on `threads`.
pub fn reinsert(
    graph: &FloatGraph,
    data: &Dataset,
    images: &[u32],
    threads: Threads,
) -> FloatGraph {
    let bare: Vec<NodeId> = graph
        .nodes
        .iter_enumerated()
        .filter(|(_, node)| matches!(node.op, FloatOp::Conv(_)))
        .map(|(id, _)| id)
        .filter(|&id| normalisation_behind(graph, id).is_none())
        .collect();
    let statistics = if bare.is_empty() {
        Vec::new()
    } else {
        measure(graph, data, images, &bare, threads)
    };
    let mut result = insert(graph, &bare, statistics);
    absorb_biases(&mut result);
    result
}

/// The batch normalisation that is the only reader of a node's output.
fn normalisation_behind(graph: &FloatGraph, node: NodeId) -> Option<NodeId> {
    let output = graph.nodes[node].output;
    if graph.outputs.contains(&output) {
        return None;
    }
    let mut readers = graph
        .nodes
        .iter_enumerated()
        .filter(|(_, n)| n.inputs.contains(&output));
    let (id, reader) = readers.next()?;
    (readers.next().is_none() && matches!(reader.op, FloatOp::BatchNorm(_))).then_some(id)
}

/// Sums over the elements of one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }
    fn var(&self) -> f64 {
        (self.squares / self.count.max(1.0) - self.mean().powi(2)).max(0.0)
    }
}

/// The output moments of each channel of each node of `nodes`.
fn measure(
    graph: &FloatGraph,
    data: &Dataset,
    images: &[u32],
    nodes: &[NodeId],
    threads: Threads,
) -> Vec<Vec<Moments>> {
    let outputs: Vec<ValueId> = nodes.iter().map(|&id| graph.nodes[id].output).collect();
    let mut moments: Vec<Vec<Moments>> = outputs
        .iter()
        .map(|&v| vec![Moments::default(); graph.shape(v).c])
        .collect();
    let mut inference = Inference::with_threads(graph, threads);
    let len = data.shape.len();
    let count = images.len().min(CALIBRATION_IMAGES);
    // Spread over the data set, which may be sorted by class.
    let chosen: Vec<usize> = (0..count)
        .map(|i| images[i * images.len() / count] as usize)
        .collect();
    for chunk in chosen.chunks(CHUNK) {
        let mut inputs = vec![0.0; chunk.len() * len];
        for (input, &i) in inputs.chunks_exact_mut(len).zip(chunk) {
            data.input(i, input);
        }
        inference.observe(&inputs, chunk.len(), &mut |value, elements| {
            let Some(at) = outputs.iter().position(|&v| v == value) else {
                return;
            };
            let channels = moments[at].len();
            for (plane, x) in elements.chunks(graph.shape(value).pixels()).enumerate() {
                let m = &mut moments[at][plane % channels];
                for &v in x {
                    let v = f64::from(v);
                    m.count += 1.0;
                    m.sum += v;
                    m.squares += v * v;
                }
            }
        });
    }
    moments
}

/// `graph` with a normalisation behind each of `nodes`.
fn insert(graph: &FloatGraph, nodes: &[NodeId], statistics: Vec<Vec<Moments>>) -> FloatGraph {
    let mut result = graph.clone();
    result.nodes = IdVec::new();
    // A convolution writes a new value; the normalisation takes over the name that others read.
    for (id, node) in graph.nodes.iter_enumerated() {
        let Some(at) = nodes.iter().position(|&n| n == id) else {
            result.nodes.push(node.clone());
            continue;
        };
        let name = format!("{}.conv", graph.values[node.output].name);
        let inner = result.values.push(Value {
            name,
            shape: graph.shape(node.output),
        });
        let mut scaled = Node {
            output: inner,
            ..node.clone()
        };
        let factors = rescale_rows(&mut scaled.op);
        result.nodes.push(scaled);
        let of = |f: &dyn Fn(&Moments, f64) -> f64| -> Vec<f32> {
            statistics[at]
                .iter()
                .zip(&factors)
                .map(|(m, &factor)| f(m, factor) as f32)
                .collect()
        };
        let epsilon = f64::from(EPSILON);
        let bn = BatchNorm {
            gamma: of(&|m, factor| (m.var() * factor * factor + epsilon).sqrt() / factor),
            beta: of(&|m, _| m.mean()),
            mean: of(&|m, factor| m.mean() * factor),
            var: of(&|m, factor| m.var() * factor * factor),
            epsilon: EPSILON,
        };
        result.nodes.push(Node {
            name: format!("{}.bn", node.name),
            op: FloatOp::BatchNorm(bn),
            inputs: vec![inner],
            output: node.output,
        });
    }
    result
}

/// Brings every row of a convolution to [`ROW_RMS`] and gives what each was multiplied by; a row of
/// zeros stays as it is.
fn rescale_rows(op: &mut FloatOp) -> Vec<f64> {
    let FloatOp::Conv(conv) = op else {
        return Vec::new();
    };
    let row_len = conv.row_len();
    let target = ROW_RMS / (conv.group_channels as f64).sqrt();
    let mut factors = Vec::with_capacity(conv.out_channels);
    for row in conv.weight.chunks_exact_mut(row_len) {
        let squares: f64 = row.iter().map(|&w| f64::from(w).powi(2)).sum();
        let rms = (squares / row_len as f64).sqrt();
        let factor = if rms > 0.0 { target / rms } else { 1.0 };
        for w in row {
            *w = (f64::from(*w) * factor) as f32;
        }
        factors.push(factor);
    }
    if let Some(bias) = &mut conv.bias {
        for (b, factor) in bias.iter_mut().zip(&factors) {
            *b = (f64::from(*b) * factor) as f32;
        }
    }
    factors
}

/// Moves the bias of every convolution with a normalisation behind it into that one's mean.
fn absorb_biases(graph: &mut FloatGraph) {
    for index in 0..graph.nodes.len() {
        let id = NodeId::from_index(index);
        let Some(bn) = normalisation_behind(graph, id) else {
            continue;
        };
        let FloatOp::Conv(conv) = &mut graph.nodes[id].op else {
            continue;
        };
        let Some(bias) = conv.bias.take() else {
            continue;
        };
        if let FloatOp::BatchNorm(bn) = &mut graph.nodes[bn].op {
            for (mean, b) in bn.mean.iter_mut().zip(bias) {
                *mean -= b;
            }
        }
    }
}

/// Training images in the order in which [`recalibrate`] takes them, in whole batches.
pub fn calibration(seed: u64, images: &[u32], batch: usize) -> Vec<u32> {
    const STREAM: u64 = 5;
    let order = shuffled(&[seed, STREAM], images.len());
    let whole = images.len() / batch * batch;
    (order[..whole].iter())
        .map(|&i| images[i as usize])
        .collect()
}

/// Measures the statistics of every level's normalisations anew on batches of pictures as they are:
/// the mean of the batches' means, and the mean of their (unbiased) variances plus the variance of
/// their means. `levels` must be prepared.
pub fn recalibrate<'a>(
    engine: &mut Engine,
    levels: &mut [Params],
    prepared: &[Prepared],
    data: &Dataset,
    batches: impl Iterator<Item = &'a [u32]>,
) {
    /// Sums of means, squared means and variances, one each a channel.
    type Sums = [Vec<f64>; 3];
    let norms = engine.plan().norms.iter().map(|n| n.channels);
    let empty: Vec<Sums> = norms
        .map(|n| std::array::from_fn(|_| vec![0.0; n]))
        .collect();
    let mut sums: Vec<Vec<Sums>> = vec![empty; levels.len()];
    let mut count = 0.0;
    for batch in batches {
        engine.load(batch.len(), &|i, out| data.input(batch[i] as usize, out));
        count += 1.0;
        for ((params, prepared), sums) in levels.iter().zip(prepared).zip(&mut sums) {
            // From zeros, running statistics become the batch's times MOMENTUM.
            let zeros = |r: &Running| Running {
                mean: vec![0.0; r.mean.len()],
                var: vec![0.0; r.var.len()],
            };
            let mut taken: Vec<Running> = params.running.iter().map(zeros).collect();
            engine.forward(params, prepared, Mode::Batch, Some(&mut taken));
            for ([means, squares, vars], taken) in sums.iter_mut().zip(&taken) {
                for c in 0..taken.mean.len() {
                    let of = |v: f32| f64::from(v) / f64::from(MOMENTUM);
                    let mean = of(taken.mean[c]);
                    means[c] += mean;
                    squares[c] += mean * mean;
                    vars[c] += of(taken.var[c]);
                }
            }
        }
    }
    if count == 0.0 {
        return;
    }
    for (params, sums) in levels.iter_mut().zip(&sums) {
        for (running, [means, squares, vars]) in params.running.iter_mut().zip(sums) {
            for c in 0..running.mean.len() {
                let mean = means[c] / count;
                let between = (squares[c] / count - mean * mean).max(0.0);
                running.mean[c] = mean as f32;
                running.var[c] = (vars[c] / count + between) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pixels;
    use crate::ir::nested::Preprocessing;
    use crate::train::engine::tests::{images, networks};

    fn id_of(graph: &FloatGraph, name: &str) -> NodeId {
        let found = graph.nodes.iter_enumerated().find(|(_, n)| n.name == name);
        found.expect("nodes keep their names").0
    }

    #[test]
    fn the_function_is_unchanged_and_no_convolution_keeps_a_bias() {
        for (name, graph) in networks() {
            let inputs = images(&graph, 40).concat();
            let data = Dataset {
                shape: graph.input_shape(),
                pixels: Pixels::F32(inputs.clone()),
                labels: None,
                class_count: 0,
                boxes: None,
                preprocessing: Preprocessing::identity(graph.input_shape().c),
            };
            let all: Vec<u32> = (0..40).collect();
            let with = reinsert(&graph, &data, &all, Threads::default());
            let alone = Threads::new(Some(1)).expect("one thread starts");
            assert_eq!(reinsert(&graph, &data, &all, alone), with, "{name}");
            for (id, node) in with.nodes.iter_enumerated() {
                if let FloatOp::Conv(conv) = &node.op {
                    assert!(conv.bias.is_none(), "{name}");
                    if normalisation_behind(&graph, id_of(&graph, &node.name)).is_none() {
                        let target = ROW_RMS / (conv.group_channels as f64).sqrt();
                        for row in conv.weight.chunks_exact(conv.row_len()) {
                            let squares: f64 = row.iter().map(|&w| f64::from(w).powi(2)).sum();
                            let rms = (squares / row.len() as f64).sqrt();
                            assert!((rms / target - 1.0).abs() < 1e-4, "{name}: {rms}");
                        }
                    }
                    assert!(normalisation_behind(&with, id).is_some(), "{name}");
                }
                let shapes: Vec<_> = node.inputs.iter().map(|&v| with.shape(v)).collect();
                assert_eq!(node.op.output_shape(&shapes), Ok(with.shape(node.output)));
            }
            let expected = Inference::new(&graph).run(&inputs, 40);
            let got = Inference::new(&with).run(&inputs, 40);
            for (a, b) in got.iter().zip(&expected) {
                assert!((a - b).abs() < 2e-5 * b.abs().max(5.0), "{name}: {a} {b}");
            }
        }
    }
}
