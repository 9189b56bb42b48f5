//! Chooses a kernel for each layer and lays its weights out for it.
//!
//! | layer | becomes |
//! |---|---|
//! | convolution whose window is the whole map | `dense_nested` or `fully_connected` |
//! | depthwise, all weights at all levels | `depthwise` |
//! | any other grouping, all weights at all levels | `conv_generic` |
//! | grouped, with levels | `conv_nested` over all channels: other groups' weights are not stored |
//! | one group, few zeros, all weights at all levels | `conv_dense` |
//! | one group otherwise | `conv_nested` |
//! | one group, a row beyond the packed sums' 23 bits | `conv_generic` |

mod conv;
mod dense;
mod depthwise;
mod generic;
mod nested;
mod step;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::ids::{IdVec, LayerId};
use crate::ir::int::IntGraph;
use crate::ir::program::Step;

pub use stream::{decode_stream, encode_stream};

/// Share of non-zero weights above which dense storage is the faster and the smaller one.
pub(crate) const DENSE_SHARE: f64 = 0.8;

/// An integer graph with the steps its layers have become.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedGraph {
    /// The graph.
    pub graph: IntGraph,
    /// One a layer.
    pub steps: IdVec<LayerId, Step>,
}

/// Encodes a verified graph.
///
/// # Errors
/// Every extent the kernels cannot count.
pub fn encode(graph: IntGraph) -> Result<EncodedGraph> {
    let mut faults = Diagnostics::default();
    let mut steps = IdVec::new();
    for layer in &graph.layers {
        match step::step(&graph, layer) {
            Ok(step) => {
                steps.push(step);
            }
            Err(message) => faults.push(Diagnostic::new(
                diag::EXTENT_TOO_LARGE,
                format!("layer `{}`", layer.name),
                message,
                "use a smaller input resolution, or split the layer",
            )),
        }
    }
    faults.into_result(())?;
    Ok(EncodedGraph { graph, steps })
}

/// Whether a row's sum stays within the 23 bits of a packed accumulator for all inputs (the bound
/// of [`nest_format::NestedStream`]).
pub(crate) fn row_fits(weights: impl Iterator<Item = i8>) -> bool {
    let (mut positive, mut negative) = (0i64, 0i64);
    for w in weights {
        if w > 0 {
            positive += i64::from(w);
        } else {
            negative -= i64::from(w);
        }
    }
    127 * positive + 128 * negative < 1 << 22 && 128 * positive + 127 * negative < 1 << 22
}

/// One line a step, for `--dump-after encode`.
pub(crate) fn summary(encoded: &EncodedGraph) -> String {
    let mut out = format!(
        "encoded \"{}\" levels={}\n",
        encoded.graph.name,
        encoded.graph.sparsities.len()
    );
    for (id, step) in encoded.steps.iter_enumerated() {
        let _ = writeln!(out, "{id}: {}", crate::ir::text_int::step_line(step));
    }
    out
}
