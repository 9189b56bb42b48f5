//! Rules of nested models.

use super::{Breach, bad_variance, place, verify};
use crate::ir::float::FloatOp;
use crate::ir::nested::{ChannelOrder, LevelParams, NestedModel, PRUNED};

/// All breaches of a nested model and of its graph; empty if it is sound.
pub fn verify_nested(model: &NestedModel) -> Vec<Breach> {
    let mut breaches = verify(&model.graph);
    levels(model, &mut breaches);
    weights(model, &mut breaches);
    parameters(model, &mut breaches);
    preprocessing(model, &mut breaches);
    breaches
}

/// V020.
fn levels(model: &NestedModel, breaches: &mut Vec<Breach>) {
    let count = model.levels.len();
    if !(1..usize::from(PRUNED)).contains(&count) {
        breaches.push(Breach::new("V020", "model", format!("{count} levels")));
    }
    for (i, level) in model.levels.iter().enumerate() {
        if !(0.0..=1.0).contains(&level.sparsity) {
            let message = format!("sparsity {}", level.sparsity);
            breaches.push(Breach::new("V020", format!("level {i}"), message));
        }
    }
    for (i, pair) in model.levels.windows(2).enumerate() {
        if pair[0].sparsity < pair[1].sparsity {
            breaches.push(Breach::new(
                "V020",
                format!("level {}", i + 1),
                format!("sparsity {} after {}", pair[1].sparsity, pair[0].sparsity),
            ));
        }
    }
}

/// V021 and V022.
fn weights(model: &NestedModel, breaches: &mut Vec<Breach>) {
    for (&id, levels) in &model.weight_levels {
        let Some(node) = model.graph.nodes.get(id) else {
            breaches.push(Breach::new("V021", format!("node {id}"), "does not exist"));
            continue;
        };
        let place = place(node);
        let weight = match &node.op {
            FloatOp::Conv(conv) => &conv.weight,
            FloatOp::Dense(dense) => &dense.weight,
            _ => {
                breaches.push(Breach::new("V021", place, "has weight levels"));
                continue;
            }
        };
        if levels.len() != weight.len() {
            let message = format!("{} levels for {} weights", levels.len(), weight.len());
            breaches.push(Breach::new("V021", &place, message));
        }
        let count = model.levels.len();
        if let Some(l) = (levels.iter()).find(|&&l| l != PRUNED && usize::from(l) >= count) {
            let message = format!("level {l} of {count}");
            breaches.push(Breach::new("V021", &place, message));
        }
        let kept = (levels.iter().zip(weight)).position(|(&l, &w)| l == PRUNED && w != 0.0);
        if let Some(i) = kept {
            let message = format!("pruned weight {i} is {}", weight[i]);
            breaches.push(Breach::new("V022", &place, message));
        }
    }
}

/// V023 and V024.
fn parameters(model: &NestedModel, breaches: &mut Vec<Breach>) {
    for (&id, all) in &model.level_params {
        let Some(node) = model.graph.nodes.get(id) else {
            breaches.push(Breach::new("V023", format!("node {id}"), "does not exist"));
            continue;
        };
        let place = place(node);
        if all.len() != model.levels.len() {
            let message = format!(
                "{} sets of parameters for {} levels",
                all.len(),
                model.levels.len()
            );
            breaches.push(Breach::new("V023", &place, message));
        }
        for (level, params) in all.iter().enumerate() {
            if let Some(message) = mismatch(&node.op, params) {
                breaches.push(Breach::new(
                    "V023",
                    format!("{place}, level {level}"),
                    message,
                ));
            }
        }
        let own = match &node.op {
            FloatOp::BatchNorm(bn) => Some(LevelParams::BatchNorm(bn.clone())),
            FloatOp::ChannelAffine { scale, shift } => {
                Some(LevelParams::Affine(scale.clone(), shift.clone()))
            }
            FloatOp::Conv(conv) => conv.bias.clone().map(LevelParams::Bias),
            FloatOp::Dense(dense) => dense.bias.clone().map(LevelParams::Bias),
            _ => None,
        };
        if all.last() != own.as_ref() {
            let message = "the graph has other parameters than its densest level";
            breaches.push(Breach::new("V024", &place, message));
        }
    }
}

/// V025.
fn preprocessing(model: &NestedModel, breaches: &mut Vec<Breach>) {
    let Some(preparation) = &model.preprocessing else {
        return;
    };
    // A graph whose input does not exist breaks a rule of its own.
    let Some(input) = model.graph.input.and_then(|id| model.graph.values.get(id)) else {
        return;
    };
    let channels = input.shape.c;
    let mut breach = |message: String| breaches.push(Breach::new("V025", "preprocessing", message));
    if !preparation.scale.is_finite() {
        breach(format!("scale is {}", preparation.scale));
    }
    for (key, values) in [("mean", &preparation.mean), ("std", &preparation.std)] {
        if ![1, channels].contains(&values.len()) {
            let count = values.len();
            breach(format!("{key} has {count} values for {channels} channels"));
        }
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            breach(format!("a {key} is {bad}"));
        }
    }
    if let Some(bad) = preparation.std.iter().find(|&&s| s <= 0.0) {
        breach(format!("a std is {bad}"));
    }
    if preparation.order == ChannelOrder::Bgr && channels != 3 {
        breach(format!("bgr of {channels} channels"));
    }
}

/// What is wrong with parameters of a level for a node, if anything.
fn mismatch(op: &FloatOp, params: &LevelParams) -> Option<String> {
    let (channels, vectors): (usize, Vec<&Vec<f32>>) = match (op, params) {
        (FloatOp::BatchNorm(own), LevelParams::BatchNorm(bn)) => {
            if let Some(message) = bad_variance(bn) {
                return Some(message);
            }
            let vectors = vec![&bn.gamma, &bn.beta, &bn.mean, &bn.var];
            (own.gamma.len(), vectors)
        }
        (FloatOp::ChannelAffine { scale, .. }, LevelParams::Affine(s, t)) => {
            (scale.len(), vec![s, t])
        }
        (FloatOp::Conv(conv), LevelParams::Bias(b)) => (conv.out_channels, vec![b]),
        (FloatOp::Dense(dense), LevelParams::Bias(b)) => (dense.out_features, vec![b]),
        (op, _) => return Some(format!("parameters of another kind than {}", op.name())),
    };
    if let Some(v) = vectors.iter().find(|v| v.len() != channels) {
        return Some(format!("{} parameters for {channels} channels", v.len()));
    }
    let bad = vectors
        .iter()
        .flat_map(|v| v.iter())
        .find(|v| !v.is_finite())?;
    Some(format!("a parameter is {bad}"))
}
