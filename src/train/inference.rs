//! Float inference of a graph as it stands (batch normalisation by its running statistics).

use crate::ir::float::FloatGraph;
use crate::ir::ids::{Id, ValueId};

use super::reference;

/// Evaluates one graph on many images.
#[derive(Debug)]
pub struct Inference {
    graph: FloatGraph,
}

impl Inference {
    /// Prepares `graph`, which must be verified.
    pub fn new(graph: &FloatGraph) -> Self {
        Self {
            graph: graph.clone(),
        }
    }

    /// Elements of one image's outputs: all graph outputs one after the other, each channel-major.
    pub fn output_len(&self) -> usize {
        self.graph
            .outputs
            .iter()
            .map(|&v| self.graph.shape(v).len())
            .sum()
    }

    /// The outputs (`n x` [`Inference::output_len`]) of `n` images (`n x c x h x w`, prepared).
    ///
    /// # Panics
    /// If `inputs` does not hold exactly `n` images.
    pub fn run(&mut self, inputs: &[f32], n: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(n * self.output_len());
        self.each_image(inputs, n, |graph, values| {
            out.extend(
                reference::outputs(graph, values)
                    .into_iter()
                    .map(|v| v as f32),
            );
        });
        out
    }

    /// Shows the elements of every value of the graph, the input included, for `n` images. A value
    /// is shown in one or several calls, in no particular order.
    ///
    /// # Panics
    /// If `inputs` does not hold exactly `n` images.
    pub fn observe(&mut self, inputs: &[f32], n: usize, see: &mut dyn FnMut(ValueId, &[f32])) {
        self.each_image(inputs, n, |_, values| {
            for (i, value) in values.iter().enumerate() {
                let value: Vec<f32> = value.iter().map(|&v| v as f32).collect();
                see(ValueId::from_index(i), &value);
            }
        });
    }

    fn each_image(&self, inputs: &[f32], n: usize, mut see: impl FnMut(&FloatGraph, &[Vec<f64>])) {
        let len = self.graph.input_shape().len();
        assert_eq!(inputs.len(), n * len, "inputs hold {n} images");
        for image in inputs.chunks_exact(len.max(1)) {
            see(&self.graph, &reference::forward(&self.graph, image));
        }
    }
}
