//! Chooses a kernel for each layer and lays its weights out for it.
//!
//! Every kernel that accepts a layer is a candidate: its format's file lays the weights out for it,
//! the cost model says what it would take, and [`Preferences`] decide. Groups whose levels differ are
//! stored over all channels; the other groups' weights, zeros, cost nothing there.

mod block;
mod choose;
mod compact;
mod conv;
mod dense;
mod depthwise;
mod generic;
mod nested;
mod step;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::ids::{IdVec, LayerId, TensorId};
use crate::ir::int::{IntGraph, IntLayer};
use crate::ir::program::Step;

use step::Fault;

pub use block::encode_blocks;
pub use choose::{Forced, MOST_SLOWDOWN, Objective, Preferences};
pub use compact::encode_compact;
pub use stream::{decode_stream, encode_stream};

/// An integer graph with the steps its layers have become.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedGraph {
    /// The graph.
    pub graph: IntGraph,
    /// One a layer.
    pub steps: IdVec<LayerId, Step>,
    /// Tensors that are rows of others: of which, from which row on.
    pub parts: BTreeMap<TensorId, (TensorId, usize)>,
}

/// Encodes a verified graph.
///
/// # Errors
/// Every extent the kernels cannot count, and every preference that cannot be met.
pub fn encode(graph: IntGraph, preferences: &Preferences) -> Result<EncodedGraph> {
    preferences.check(&graph)?;
    let mut faults = Diagnostics::default();
    let mut steps = IdVec::new();
    for layer in &graph.layers {
        match encode_layer(&graph, layer, preferences) {
            Ok(step) => {
                steps.push(step);
            }
            Err(fault) => faults.push(fault),
        }
    }
    faults.into_result(())?;
    Ok(EncodedGraph {
        graph,
        steps,
        parts: BTreeMap::new(),
    })
}

/// Encodes one layer over tensors of a graph.
///
/// # Errors
/// What [`encode`] would find of it.
pub(super) fn encode_layer(
    graph: &IntGraph,
    layer: &IntLayer,
    preferences: &Preferences,
) -> Result<Step, Diagnostic> {
    step::step(graph, layer, preferences).map_err(|fault| match fault {
        Fault::Other(fault) => fault,
        Fault::Extent(message) => Diagnostic::new(
            diag::EXTENT_TOO_LARGE,
            format!("layer `{}`", layer.name),
            message,
            "use a smaller input resolution, or split the layer",
        ),
    })
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
