//! Which layers of a folded model have an int8 form. Asked before anything is measured, so that all
//! findings come at once and at no cost.

use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::float::{FloatOp, Unary};
use crate::ir::nested::NestedModel;

/// Whether every layer of a folded model can be quantised.
///
/// # Errors
/// A finding for every layer that cannot.
pub(super) fn check(model: &NestedModel) -> Result<()> {
    let graph = &model.graph;
    let mut found = Diagnostics::default();
    for node in &graph.nodes {
        let pixels = graph.shape(node.inputs[0]).pixels();
        let Some((reason, remedy)) = obstacle(&node.op, pixels) else {
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

/// The layers of a model, as they are called once it is folded, that are computed in float only.
pub fn float_only(model: &NestedModel) -> Vec<String> {
    let graph = super::fold(model.clone()).graph;
    (graph.nodes.iter())
        .filter(|n| obstacle(&n.op, graph.shape(n.inputs[0]).pixels()).is_some())
        .map(|n| n.name.clone())
        .collect()
}

/// What keeps an operation from running on the device, and what to do about it.
fn obstacle(op: &FloatOp, pixels: usize) -> Option<(&'static str, &'static str)> {
    const NO_KERNEL: &str = "has no int8 kernel yet; it is computed in float only";
    const BEHIND: &str =
        "end the network before it and compute the rest on the host, or use another layer";
    match op {
        FloatOp::Softmax if pixels > 1 => {
            Some(("of more than one pixel has no int8 kernel yet", BEHIND))
        }
        FloatOp::Unary(Unary::Clip { .. }) => None,
        FloatOp::Unary(_) | FloatOp::PRelu(_) => Some((
            NO_KERNEL,
            "train the network with ReLU or ReLU6, which cost nothing on the device; at an output, compute it on the host",
        )),
        FloatOp::Binary(_) | FloatOp::WithConstant(_) => Some((NO_KERNEL, BEHIND)),
        FloatOp::Concat(_)
        | FloatOp::Select { .. }
        | FloatOp::ChannelShuffle { .. }
        | FloatOp::Rearrange(_)
        | FloatOp::Resize(_) => Some((
            NO_KERNEL,
            "use a network whose branches meet by addition, such as ResNet or MobileNetV2",
        )),
        _ => None,
    }
}
