//! Float inference of a graph as it stands (batch normalisation by its running statistics).

use crate::ir::float::FloatGraph;
use crate::ir::ids::ValueId;

use super::engine::{Engine, Fusion, Mode, Params, Prepared, Threads};
use super::simd::{Isa, LANES};

/// Images that each thread works on between two calls into the engine.
const BLOCKS_A_THREAD: usize = 2;

/// Bytes that the values of all images at work may take; one block is there in any case.
const VALUE_BYTES: usize = 1 << 30;

/// Blocks of [`LANES`] images for `threads` threads where an image's values are `elements` long.
fn blocks(threads: usize, elements: usize) -> usize {
    let block = elements.saturating_mul(LANES * size_of::<f32>()).max(1);
    (threads * BLOCKS_A_THREAD).min(VALUE_BYTES / block).max(1)
}

/// Evaluates one graph on many images.
#[derive(Debug)]
pub struct Inference {
    graph: FloatGraph,
    threads: Threads,
    fused: Option<Runner>,
    every_value: Option<Runner>,
}

#[derive(Debug)]
struct Runner {
    engine: Engine,
    params: Params,
    prepared: Prepared,
}

impl Runner {
    fn new(graph: &FloatGraph, threads: Threads, fusion: Fusion) -> Self {
        let elements = graph.values.iter().map(|v| v.shape.len()).sum();
        let images = blocks(threads.count(), elements) * LANES;
        let every: Vec<ValueId>;
        let outputs = match fusion {
            Fusion::Fused | Fusion::Rounded => &graph.outputs,
            Fusion::EveryValue => {
                every = graph.values.ids().collect();
                &every
            }
        };
        let engine = Engine::new(
            graph,
            outputs,
            fusion,
            images,
            false,
            Isa::detect(),
            threads,
        );
        let params = Params::of(engine.plan(), graph);
        let mut prepared = Prepared::default();
        engine.prepare(&params, &[], &mut prepared);
        Self {
            engine,
            params,
            prepared,
        }
    }

    /// Runs the images in batches and shows the engine after each.
    fn each_batch(&mut self, inputs: &[f32], len: usize, mut see: impl FnMut(&Engine)) {
        let batch = self.engine.capacity() * len;
        for inputs in inputs.chunks(batch.max(1)) {
            self.engine.load(inputs.len() / len, &|i, out| {
                out.copy_from_slice(&inputs[i * len..][..len]);
            });
            self.engine
                .forward(&self.params, &self.prepared, Mode::Running, None);
            see(&self.engine);
        }
    }
}

impl Inference {
    /// Prepares `graph`, which must be verified, to run on all cores.
    pub fn new(graph: &FloatGraph) -> Self {
        Self::with_threads(graph, Threads::default())
    }

    /// As [`Inference::new`], on these threads.
    pub(super) fn with_threads(graph: &FloatGraph, threads: Threads) -> Self {
        Self {
            graph: graph.clone(),
            threads,
            fused: None,
            every_value: None,
        }
    }

    /// Elements of one image's outputs: all graph outputs one after the other, each channel-major.
    pub fn output_len(&self) -> usize {
        let len = |&v: &ValueId| self.graph.shape(v).len();
        self.graph.outputs.iter().map(len).sum()
    }

    /// The outputs (`n x` [`Inference::output_len`]) of `n` images (`n x c x h x w`, prepared).
    ///
    /// # Panics
    /// If `inputs` does not hold exactly `n` images.
    pub fn run(&mut self, inputs: &[f32], n: usize) -> Vec<f32> {
        let len = self.check(inputs, n);
        let output_len = self.output_len();
        let runner = self
            .fused
            .get_or_insert_with(|| Runner::new(&self.graph, self.threads.clone(), Fusion::Fused));
        let mut out = Vec::with_capacity(n * output_len);
        runner.each_batch(inputs, len, |engine| {
            let slots = &engine.plan().outputs;
            let outputs: Vec<Vec<f32>> = slots.iter().map(|&s| engine.read(s)).collect();
            for i in 0..engine.images() {
                for output in &outputs {
                    let len = output.len() / engine.images();
                    out.extend_from_slice(&output[i * len..][..len]);
                }
            }
        });
        out
    }

    /// Shows the elements of every value of the graph, the input included, for `n` images. A value
    /// is shown in several calls, each with whole images one after the other, in no particular order.
    ///
    /// # Panics
    /// If `inputs` does not hold exactly `n` images.
    pub fn observe(&mut self, inputs: &[f32], n: usize, see: &mut dyn FnMut(ValueId, &[f32])) {
        let len = self.check(inputs, n);
        let runner = self.every_value.get_or_insert_with(|| {
            Runner::new(&self.graph, self.threads.clone(), Fusion::EveryValue)
        });
        runner.each_batch(inputs, len, |engine| {
            for (slot, info) in engine.plan().slots.iter().enumerate() {
                see(info.value, &engine.read(slot));
            }
        });
    }

    /// Elements of one image.
    fn check(&self, inputs: &[f32], n: usize) -> usize {
        let len = self.graph.input_shape().len();
        assert_eq!(inputs.len(), n * len, "inputs hold {n} images");
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::ids::Id;
    use crate::train::engine::tests::{images, networks};
    use crate::train::reference;

    #[test]
    fn large_graphs_run_fewer_blocks_at_once() {
        assert_eq!(blocks(4, 1000), 8);
        // 16 lanes of 4 bytes: 2^22 elements are 2^28 bytes a block.
        assert_eq!(blocks(4, 1 << 22), 4);
        assert_eq!(blocks(4, (1 << 22) + 1), 3);
        assert_eq!(blocks(4, 1 << 40), 1);
        assert_eq!(blocks(4, usize::MAX), 1);
    }

    #[test]
    fn outputs_and_every_value_agree_with_the_reference() {
        for (name, mut graph) in networks() {
            // A second output, to see that outputs are joined image by image.
            let first = graph.nodes.iter().next().unwrap().output;
            graph.outputs.push(first);
            let inputs = images(&graph, 70);
            let flat = inputs.concat();
            let mut inference = Inference::new(&graph);
            let got = inference.run(&flat, inputs.len());
            let mut seen = vec![Vec::new(); graph.values.len()];
            inference.observe(&flat, inputs.len(), &mut |v, x| {
                seen[v.index()].extend_from_slice(x);
            });
            let mut expected = Vec::new();
            let mut values = vec![Vec::new(); graph.values.len()];
            for image in &inputs {
                let all = reference::forward(&graph, image);
                expected.extend(reference::outputs(&graph, &all));
                for (all, one) in values.iter_mut().zip(all) {
                    all.extend(one);
                }
            }
            let near = |a: &[f32], b: &[f64]| {
                a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|(&a, b)| (f64::from(a) - b).abs() <= 1e-5 * b.abs().max(10.0))
            };
            assert!(near(&got, &expected), "{name}: outputs");
            for (i, (seen, values)) in seen.iter().zip(&values).enumerate() {
                assert!(near(seen, values), "{name}: value {i}");
            }
        }
    }
}
