//! The rewriting rules.

use crate::ir::float::{Conv, FloatOp, Rearrange, Shape, Value, Window};
use crate::ir::nested::LevelParams;

use super::{Work, WorkNode, affine_levels, bias_levels};

/// Applies the first rule that fits, if any.
pub(super) fn apply_one(work: &mut Work) -> bool {
    if work.drop_dead() {
        return true;
    }
    let rules = [
        norm_to_affine,
        drop_no_op,
        merge_affines,
        bias_into_affine,
        shift_into_bias,
        merge_activations,
        activation_before,
        pad_into_conv,
        pool_to_global,
    ];
    let applied = (0..work.nodes.len()).any(|at| rules.iter().any(|rule| rule(work, at)));
    if applied {
        work.index();
    }
    applied
}

/// BatchNorm becomes the affine map it is.
fn norm_to_affine(work: &mut Work, at: usize) -> bool {
    let node = &mut work.nodes[at];
    let FloatOp::BatchNorm(bn) = &node.op else {
        return false;
    };
    let (scale, shift) = bn.affine();
    node.op = FloatOp::ChannelAffine { scale, shift };
    for params in node.level_params.iter_mut().flatten() {
        if let LevelParams::BatchNorm(bn) = params {
            let (scale, shift) = bn.affine();
            *params = LevelParams::Affine(scale, shift);
        }
    }
    true
}

/// What changes nothing goes: unit pooling, empty padding, whole slices, identity maps, flattening
/// of vectors, ReLU of what is not negative already.
fn drop_no_op(work: &mut Work, at: usize) -> bool {
    let node = &work.nodes[at];
    let input = node.inputs[0];
    let x = work.shape(input);
    let unit = |w: &Window| w.kernel == [1, 1] && w.stride == [1, 1] && w.pads == [0; 4];
    let nothing = match &node.op {
        FloatOp::MaxPool(window) | FloatOp::AvgPool { window, .. } => unit(window),
        FloatOp::GlobalAvgPool => x.pixels() == 1,
        FloatOp::Flatten => x.pixels() == 1,
        FloatOp::Pad(_) | FloatOp::Slice(_) => work.shape(node.output) == x,
        FloatOp::ChannelAffine { .. } => {
            affine_levels(&node.op, node.level_params.as_deref(), work.levels())
                .iter()
                .all(|(s, t)| s.iter().all(|&s| s == 1.0) && t.iter().all(|&t| t == 0.0))
        }
        _ => false,
    };
    let goes = nothing && work.can_bypass(at, input);
    if goes {
        work.bypass(at, input);
    }
    goes
}

fn set_affine(node: &mut WorkNode, mut levels: Vec<(Vec<f32>, Vec<f32>)>) {
    let same = levels.windows(2).all(|pair| pair[0] == pair[1]);
    node.level_params = (!same).then(|| {
        (levels.iter())
            .map(|(s, t)| LevelParams::Affine(s.clone(), t.clone()))
            .collect()
    });
    if let Some((scale, shift)) = levels.pop() {
        node.op = FloatOp::ChannelAffine { scale, shift };
    }
}

/// Two affine maps in a row are one.
fn merge_affines(work: &mut Work, at: usize) -> bool {
    let is_affine = |n: &WorkNode| matches!(n.op, FloatOp::ChannelAffine { .. });
    if !is_affine(&work.nodes[at]) {
        return false;
    }
    let Some(before) = work.exclusive_producer(at) else {
        return false;
    };
    if !is_affine(&work.nodes[before]) {
        return false;
    }
    let levels = work.levels();
    let of = |n: &WorkNode| affine_levels(&n.op, n.level_params.as_deref(), levels);
    let first = of(&work.nodes[before]);
    let second = of(&work.nodes[at]);
    let merged = (first.iter().zip(&second))
        .map(|((s1, t1), (s2, t2))| {
            let scale = s1.iter().zip(s2).map(|(a, b)| a * b).collect();
            let shift = (0..t1.len())
                .map(|c| (f64::from(s2[c]) * f64::from(t1[c]) + f64::from(t2[c])) as f32)
                .collect();
            (scale, shift)
        })
        .collect();
    set_affine(&mut work.nodes[at], merged);
    let input = work.nodes[before].inputs[0];
    work.bypass(before, input);
    true
}

/// A convolution's bias moves into the affine map behind it.
fn bias_into_affine(work: &mut Work, at: usize) -> bool {
    let Some(before) = affine_over_conv(work, at) else {
        return false;
    };
    let levels = work.levels();
    let conv = &mut work.nodes[before];
    let FloatOp::Conv(op) = &conv.op else {
        return false;
    };
    if op.bias.is_none() && conv.level_params.is_none() {
        return false;
    }
    let bias = bias_levels(&conv.op, conv.level_params.as_deref(), levels);
    if let FloatOp::Conv(op) = &mut conv.op {
        op.bias = None;
    }
    conv.level_params = None;
    let affine = &mut work.nodes[at];
    let mut moved = affine_levels(&affine.op, affine.level_params.as_deref(), levels);
    for ((scale, shift), bias) in moved.iter_mut().zip(&bias) {
        for c in 0..shift.len() {
            shift[c] = (f64::from(scale[c]) * f64::from(bias[c]) + f64::from(shift[c])) as f32;
        }
    }
    set_affine(affine, moved);
    true
}

/// An affine map of scale 1 behind a convolution is its bias.
fn shift_into_bias(work: &mut Work, at: usize) -> bool {
    let Some(before) = affine_over_conv(work, at) else {
        return false;
    };
    let node = &work.nodes[at];
    let mut levels = affine_levels(&node.op, node.level_params.as_deref(), work.levels());
    if !levels.iter().all(|(s, _)| s.iter().all(|&s| s == 1.0)) {
        return false;
    }
    let per_level = node.level_params.is_some();
    let conv = &mut work.nodes[before];
    if per_level {
        let biases = levels.iter().map(|(_, t)| LevelParams::Bias(t.clone()));
        conv.level_params = Some(biases.collect());
    }
    if let (FloatOp::Conv(op), Some((_, shift))) = (&mut conv.op, levels.pop()) {
        op.bias = Some(shift);
    }
    let input = work.nodes[at].inputs[0];
    work.bypass(at, input);
    true
}

/// The convolution that node `at` is the affine map of.
fn affine_over_conv(work: &Work, at: usize) -> Option<usize> {
    if !matches!(work.nodes[at].op, FloatOp::ChannelAffine { .. }) {
        return None;
    }
    work.exclusive_producer(at)
        .filter(|&before| matches!(work.nodes[before].op, FloatOp::Conv(_)))
}

/// ReLU of ReLU is one of them.
fn merge_activations(work: &mut Work, at: usize) -> bool {
    let input = work.nodes[at].inputs[0];
    let Some(before) = work.producer(input) else {
        return false;
    };
    match (&work.nodes[before].op, &work.nodes[at].op) {
        (FloatOp::Relu | FloatOp::Relu6, FloatOp::Relu) | (FloatOp::Relu6, FloatOp::Relu6)
            if work.can_bypass(at, input) =>
        {
            work.bypass(at, input);
            true
        }
        (FloatOp::Relu, FloatOp::Relu6) => {
            // Capping alone remains to be done, and Relu6 does it from before the Relu as well.
            let source = work.nodes[before].inputs[0];
            work.nodes[at].inputs[0] = source;
            true
        }
        _ => false,
    }
}

/// An activation behind a pooling, selecting or flattening node commutes with it; before it, it can
/// be fused with what computes the values.
fn activation_before(work: &mut Work, at: usize) -> bool {
    if !matches!(work.nodes[at].op, FloatOp::Relu | FloatOp::Relu6) {
        return false;
    }
    let Some(before) = work.exclusive_producer(at) else {
        return false;
    };
    if !matches!(
        work.nodes[before].op,
        FloatOp::MaxPool(_) | FloatOp::Slice(_) | FloatOp::Flatten
    ) {
        return false;
    }
    let source = work.nodes[before].inputs[0];
    let between = work.nodes[before].output;
    let end = work.nodes[at].output;
    work.values[between].shape = work.shape(source);
    let (first, second) = (work.nodes[before].clone(), work.nodes[at].clone());
    work.values[between].name = work.fresh_name(&second.name);
    work.nodes[before] = WorkNode {
        inputs: vec![source],
        output: between,
        ..second
    };
    work.nodes[at] = WorkNode {
        inputs: vec![between],
        output: end,
        ..first
    };
    true
}

/// Zero padding in front of a convolution is the convolution's own.
fn pad_into_conv(work: &mut Work, at: usize) -> bool {
    let FloatOp::Conv(conv) = &work.nodes[at].op else {
        return false;
    };
    let mut window = conv.window;
    let Some(before) = work.producer(work.nodes[at].inputs[0]) else {
        return false;
    };
    let FloatOp::Pad(pad) = &work.nodes[before].op else {
        return false;
    };
    if pad.value != 0.0 || pad.c != [0, 0] {
        return false;
    }
    for side in 0..2 {
        window.pads[2 * side] += pad.h[side];
        window.pads[2 * side + 1] += pad.w[side];
    }
    let source = work.nodes[before].inputs[0];
    let node = &mut work.nodes[at];
    node.inputs[0] = source;
    if let FloatOp::Conv(conv) = &mut node.op {
        conv.window = window;
    }
    true
}

/// A mean over a window that covers the whole map once is the global one.
fn pool_to_global(work: &mut Work, at: usize) -> bool {
    let node = &work.nodes[at];
    let x = work.shape(node.inputs[0]);
    let FloatOp::AvgPool { window, .. } = &node.op else {
        return false;
    };
    let whole = window.kernel == [x.h, x.w]
        && window.pads == [0; 4]
        && window.dilation == [1, 1]
        && work.shape(node.output).pixels() == 1;
    if whole {
        work.nodes[at].op = FloatOp::GlobalAvgPool;
    }
    whole
}

/// Fully connected layers become convolutions whose window is the whole map: ONNX's channel-major
/// weight rows are then `[in channel][ky][kx]` as they stand. Flattening that remains becomes a
/// rearrangement.
pub(super) fn dense_to_conv(work: &mut Work) {
    for at in 0..work.nodes.len() {
        let input = work.nodes[at].inputs[0];
        let flattened = (work.producer(input))
            .filter(|&p| matches!(work.nodes[p].op, FloatOp::Flatten))
            .map(|p| work.nodes[p].inputs[0]);
        let FloatOp::Dense(dense) = &mut work.nodes[at].op else {
            continue;
        };
        let (weight, bias) = (std::mem::take(&mut dense.weight), dense.bias.take());
        let out_channels = dense.out_features;
        let source = flattened.unwrap_or(input);
        let x = work.shape(source);
        work.nodes[at].inputs[0] = source;
        work.nodes[at].op = FloatOp::Conv(whole_map_conv(x, weight, bias, out_channels));
    }
    work.index();
    work.drop_dead();
    for at in 0..work.nodes.len() {
        if matches!(work.nodes[at].op, FloatOp::Flatten) {
            let n = work.shape(work.nodes[at].inputs[0]).len();
            work.nodes[at].op = FloatOp::Rearrange(Rearrange {
                factors: vec![n],
                perm: vec![0],
                shape: Shape::vector(n),
            });
        }
    }
}

fn whole_map_conv(x: Shape, weight: Vec<f32>, bias: Option<Vec<f32>>, out_channels: usize) -> Conv {
    Conv {
        weight,
        bias,
        out_channels,
        group_channels: x.c,
        groups: 1,
        window: Window {
            kernel: [x.h, x.w],
            ..Window::UNIT
        },
    }
}

/// An affine map that is not a convolution's own gets one: a depthwise convolution by ones.
pub(super) fn anchor_affines(work: &mut Work) {
    let mut at = 0;
    while at < work.nodes.len() {
        let is_affine = matches!(work.nodes[at].op, FloatOp::ChannelAffine { .. });
        if is_affine && affine_over_conv(work, at).is_none() {
            let source = work.nodes[at].inputs[0];
            let x = work.shape(source);
            let name = work.fresh_name(&format!("{}.unscaled", work.nodes[at].name));
            let output = work.values.push(Value {
                name: name.clone(),
                shape: x,
            });
            let conv = WorkNode {
                name,
                op: FloatOp::Conv(Conv {
                    weight: vec![1.0; x.c],
                    bias: None,
                    out_channels: x.c,
                    group_channels: 1,
                    groups: x.c,
                    window: Window::UNIT,
                }),
                inputs: vec![source],
                output,
                weight_levels: None,
                level_params: None,
            };
            work.nodes.insert(at, conv);
            work.nodes[at + 1].inputs[0] = output;
            work.index();
            at += 1;
        }
        at += 1;
    }
}
