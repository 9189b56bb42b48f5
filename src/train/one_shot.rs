//! Nested levels without training: what they would cost, before anybody waits for their accuracy.

use crate::ir::float::FloatOp;
use crate::ir::nested::{LevelInfo, NestedModel, PRUNED};

use super::options::TrainOptions;
use super::recipe::masks::Prunable;
use super::state::{Cutter, prunable};

/// Cuts a network of one level to `sparsities` (0 to below 1, sparsest first), as training with its
/// default options does before its first step. Statistics and biases stay as they are, so the levels'
/// cost means something and their accuracy does not.
pub fn one_shot(mut model: NestedModel, sparsities: &[f64]) -> NestedModel {
    let graph = &model.graph;
    let Cutter::Weights(rule) = Cutter::new(graph, &TrainOptions::default()) else {
        unreachable!("single weights are cut by default")
    };
    let nodes = prunable(graph);
    let tensors: Vec<Prunable<'_>> = (nodes.iter())
        .filter_map(|&id| match &graph.nodes[id].op {
            FloatOp::Conv(conv) => Some(Prunable {
                weight: &conv.weight,
                channels: conv.group_channels,
                taps: conv.window.taps(),
                pixels: graph.shape(graph.nodes[id].output).pixels(),
            }),
            _ => None,
        })
        .collect();
    let owners = rule.owners(&tensors, sparsities);
    for (&id, owners) in nodes.iter().zip(owners) {
        if let FloatOp::Conv(conv) = &mut model.graph.nodes[id].op {
            for (weight, &owner) in conv.weight.iter_mut().zip(&owners) {
                if owner == PRUNED {
                    *weight = 0.0;
                }
            }
        }
        model.weight_levels.insert(id, owners);
    }
    model.levels = (sparsities.iter())
        .map(|&sparsity| LevelInfo {
            sparsity,
            accuracy_top1: None,
        })
        .collect();
    model
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import;
    use crate::ir::ids::{Id, Level};
    use crate::ir::verify::verify_nested;

    /// Shares of zeros among the weights that training cuts, over all layers.
    fn zeros(model: &NestedModel, level: usize) -> f64 {
        let graph = model.level(Level::from_index(level));
        let weights: Vec<f32> = (prunable(&graph).iter())
            .filter_map(|&id| match &graph.nodes[id].op {
                FloatOp::Conv(conv) => Some(conv.weight.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        weights.iter().filter(|&&w| w == 0.0).count() as f64 / weights.len() as f64
    }

    #[test]
    fn levels_are_cut_as_asked_and_the_network_is_sound() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/resnet8_cifar10.onnx");
        let dense = import::load(path.as_ref())
            .expect("the committed model")
            .model;
        let model = one_shot(dense.clone(), &[0.9, 0.5, 0.0]);
        assert_eq!(verify_nested(&model), []);
        for (level, share) in [0.9, 0.5, 0.0].into_iter().enumerate() {
            assert_eq!(model.levels[level].sparsity, share);
            let is = zeros(&model, level);
            assert!((is - share).abs() < 1e-3, "level {level}: {is}");
        }
        assert_eq!(model.level(Level::from_index(2)), dense.graph);
    }
}
