//! Which layers of a folded model have an int8 form. Asked before anything is measured, so that all
//! findings come at once and at no cost.

use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::float::{Binary, FloatOp};
use crate::ir::nested::NestedModel;

/// Whether every layer of a folded model can be quantised.
///
/// # Errors
/// A finding for every layer that cannot.
pub(super) fn check(model: &NestedModel) -> Result<()> {
    let graph = &model.graph;
    let mut found = Diagnostics::default();
    for node in &graph.nodes {
        let Some((reason, remedy)) = obstacle(&node.op) else {
            continue;
        };
        found.push(Diagnostic::new(
            diag::QUANTISE_UNSUPPORTED,
            format!("layer `{}`", node.name),
            format!("{} {reason}", node.op.name()),
            remedy,
        ));
    }
    found.into_result(())
}

/// Puts the nearest operation that a device runs in the place of one that none does.
pub(super) fn stand_in(op: &mut FloatOp) {
    if obstacle(op).is_none() {
        return;
    }
    match op {
        FloatOp::Binary(of) => *of = Binary::Mul,
        FloatOp::WithConstant(with) => with.op = Binary::Mul,
        _ => {}
    }
}

/// What keeps an operation from running on the device, and what to do about it.
fn obstacle(op: &FloatOp) -> Option<(&'static str, &'static str)> {
    const NO_QUOTIENT: &str = "divides by a tensor: where that is close to zero, an int8 step of it changes the result without bound";
    const REMEDY: &str = "end the network before it and compute the rest on the host";
    match op {
        FloatOp::Binary(Binary::Div) => Some((NO_QUOTIENT, REMEDY)),
        // One constant for all elements makes it a function of one element.
        FloatOp::WithConstant(w)
            if w.op == Binary::Div && w.constant_first && w.shape.len() > 1 =>
        {
            Some((NO_QUOTIENT, REMEDY))
        }
        _ => None,
    }
}
