//! Printing.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::ir::float::{FloatGraph, FloatOp, Unary, Window};
use crate::ir::nested::{LevelParams, NestedModel, PRUNED};

/// How parameters print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// As the first eight hexadecimal digits of a hash over their bits.
    Hashed,
    /// Element by element, so that the text can be parsed.
    Full,
}

/// The text of a graph.
pub fn print(graph: &FloatGraph, weights: Weights) -> String {
    let mut out = String::new();
    graph_text(&mut out, graph, weights);
    out
}

/// The text of a nested model: its graph, then a line a level and a line a node with parameters of
/// its levels.
pub fn print_nested(model: &NestedModel, weights: Weights) -> String {
    let mut out = String::new();
    graph_text(&mut out, &model.graph, weights);
    for (i, level) in model.levels.iter().enumerate() {
        let _ = write!(out, "level {i} sparsity={:?}", level.sparsity);
        if let Some(accuracy) = level.accuracy_top1 {
            let _ = write!(out, " accuracy_top1={accuracy:?}");
        }
        out.push('\n');
    }
    for (&id, levels) in &model.weight_levels {
        let _ = write!(out, "weights {:?}", model.graph.nodes[id].name);
        for level in 0..model.levels.len() {
            let count = levels.iter().filter(|&&l| usize::from(l) == level).count();
            let _ = write!(out, " level{level}={count}");
        }
        let pruned = levels.iter().filter(|&&l| l == PRUNED).count();
        let _ = writeln!(out, " pruned={pruned} #{}", hash(levels.iter().copied()));
    }
    for (&id, all) in &model.level_params {
        let name = &model.graph.nodes[id].name;
        for (level, params) in all.iter().enumerate() {
            let _ = write!(out, "params {name:?} level={level}");
            match params {
                LevelParams::BatchNorm(bn) => {
                    let _ = write!(out, " epsilon={:?}", bn.epsilon);
                    let vectors = [
                        ("gamma", &bn.gamma),
                        ("beta", &bn.beta),
                        ("mean", &bn.mean),
                        ("var", &bn.var),
                    ];
                    for (key, vector) in vectors {
                        tensor(&mut out, key, &[vector.len()], vector, weights);
                    }
                }
                LevelParams::Affine(scale, shift) => {
                    tensor(&mut out, "scale", &[scale.len()], scale, weights);
                    tensor(&mut out, "shift", &[shift.len()], shift, weights);
                }
                LevelParams::Bias(bias) => {
                    tensor(&mut out, "bias", &[bias.len()], bias, weights);
                }
            }
            out.push('\n');
        }
    }
    out
}

// Writing into a `String` cannot fail, so results of `write!` are dropped throughout.
fn graph_text(out: &mut String, graph: &FloatGraph, weights: Weights) {
    let _ = writeln!(out, "graph {:?} {{", graph.name);
    if let Some(id) = graph.input {
        let value = &graph.values[id];
        let _ = writeln!(out, "  input {id} {:?} {}", value.name, value.shape);
    }
    for node in &graph.nodes {
        let value = &graph.values[node.output];
        let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
        let _ = write!(
            out,
            "  {} {:?} {} = {} {:?} ({})",
            node.output,
            value.name,
            value.shape,
            node.op.name(),
            node.name,
            inputs.join(",")
        );
        attributes(out, &node.op, weights);
        out.push('\n');
    }
    for (i, id) in graph.outputs.iter().enumerate() {
        let _ = write!(out, "  output {id}");
        if let Some(layout) = graph.output_layouts.get(i) {
            let order = if layout.pixel_major {
                "pixel"
            } else {
                "channel"
            };
            let _ = write!(out, " order={order} dims=");
            list(out, &layout.dims);
        }
        out.push('\n');
    }
    out.push_str("}\n");
}

fn attributes(out: &mut String, op: &FloatOp, weights: Weights) {
    match op {
        FloatOp::Conv(conv) => {
            let _ = write!(out, " groups={}", conv.groups);
            window(out, &conv.window);
            let [kh, kw] = conv.window.kernel;
            let extents = [conv.out_channels, conv.group_channels, kh, kw];
            tensor(out, "weight", &extents, &conv.weight, weights);
            if let Some(bias) = &conv.bias {
                tensor(out, "bias", &[bias.len()], bias, weights);
            }
        }
        FloatOp::Dense(dense) => {
            let extents = [dense.out_features, dense.in_features];
            tensor(out, "weight", &extents, &dense.weight, weights);
            if let Some(bias) = &dense.bias {
                tensor(out, "bias", &[bias.len()], bias, weights);
            }
        }
        FloatOp::BatchNorm(bn) => {
            let _ = write!(out, " epsilon={:?}", bn.epsilon);
            tensor(out, "gamma", &[bn.gamma.len()], &bn.gamma, weights);
            tensor(out, "beta", &[bn.beta.len()], &bn.beta, weights);
            tensor(out, "mean", &[bn.mean.len()], &bn.mean, weights);
            tensor(out, "var", &[bn.var.len()], &bn.var, weights);
        }
        FloatOp::ChannelAffine { scale, shift } => {
            tensor(out, "scale", &[scale.len()], scale, weights);
            tensor(out, "shift", &[shift.len()], shift, weights);
        }
        FloatOp::MaxPool(w) => window(out, w),
        FloatOp::AvgPool {
            window: w,
            count_include_pad,
        } => {
            window(out, w);
            let _ = write!(out, " count_include_pad={count_include_pad}");
        }
        FloatOp::Pad(pad) => {
            let ([c0, c1], [h0, h1], [w0, w1]) = (pad.c, pad.h, pad.w);
            let _ = write!(out, " c={c0},{c1} h={h0},{h1} w={w0},{w1}");
            let _ = write!(out, " value={:?}", pad.value);
        }
        FloatOp::Slice(slice) => {
            for (key, [c, h, w]) in [
                ("start", slice.start),
                ("step", slice.step),
                ("count", slice.count),
            ] {
                let _ = write!(out, " {key}={c},{h},{w}");
            }
        }
        FloatOp::Unary(f) => match f {
            Unary::Clip { low, high } => {
                let _ = write!(out, " low={low:?} high={high:?}");
            }
            Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => {
                let _ = write!(out, " alpha={alpha:?}");
            }
            Unary::HardSigmoid { alpha, beta } => {
                let _ = write!(out, " alpha={alpha:?} beta={beta:?}");
            }
            Unary::Int8 { scale, zero_point } => {
                let _ = write!(out, " scale={scale:?} zero={zero_point}");
            }
            Unary::Sigmoid | Unary::HardSwish | Unary::Silu | Unary::Tanh | Unary::Exp => {}
        },
        FloatOp::PRelu(slope) => tensor(out, "slope", &[slope.len()], slope, weights),
        FloatOp::Binary(f) => {
            let _ = write!(out, " f={}", f.name());
        }
        FloatOp::WithConstant(w) => {
            let _ = write!(
                out,
                " f={} constant_first={}",
                w.op.name(),
                w.constant_first
            );
            tensor(out, "constant", &w.shape.extents(), &w.data, weights);
        }
        FloatOp::Concat(axis) => {
            let _ = write!(out, " axis={}", axis.name());
        }
        FloatOp::Select { axis, indices } => {
            let _ = write!(out, " axis={} indices=", axis.name());
            list(out, indices);
        }
        FloatOp::ChannelShuffle { groups } => {
            let _ = write!(out, " groups={groups}");
        }
        FloatOp::Rearrange(r) => {
            out.push_str(" factors=");
            list(out, &r.factors);
            out.push_str(" perm=");
            list(out, &r.perm);
            let _ = write!(out, " shape={}", r.shape);
        }
        FloatOp::Resize(r) => {
            let ([h, w], [sh, sw]) = (r.size, r.scale);
            let _ = write!(
                out,
                " size={h}x{w} scale={sh:?},{sw:?} coordinates={} interpolation={}",
                r.coordinates.name(),
                r.interpolation.name()
            );
        }
        FloatOp::Relu
        | FloatOp::Relu6
        | FloatOp::Add
        | FloatOp::GlobalAvgPool
        | FloatOp::Flatten
        | FloatOp::Softmax => {}
    }
}

/// Numbers between commas, `-` if there are none.
fn list(out: &mut String, numbers: &[usize]) {
    if numbers.is_empty() {
        out.push('-');
    }
    for (i, n) in numbers.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{n}");
    }
}

fn window(out: &mut String, w: &Window) {
    let ([kh, kw], [sh, sw], [dh, dw]) = (w.kernel, w.stride, w.dilation);
    let [top, left, bottom, right] = w.pads;
    let _ = write!(
        out,
        " kernel={kh}x{kw} stride={sh}x{sw} pads={top},{left},{bottom},{right} dilation={dh}x{dw}"
    );
}

fn tensor(out: &mut String, key: &str, extents: &[usize], data: &[f32], weights: Weights) {
    let extents: Vec<String> = extents.iter().map(ToString::to_string).collect();
    let _ = write!(out, " {key}={}:", extents.join("x"));
    match weights {
        Weights::Hashed => {
            let bytes = data.iter().flat_map(|v| v.to_bits().to_le_bytes());
            let _ = write!(out, "#{}", hash(bytes));
        }
        Weights::Full => {
            out.push('[');
            let same = |a: &f32, b: &f32| a.to_bits() == b.to_bits();
            for (i, run) in data.chunk_by(same).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let _ = match run.len() {
                    1 => write!(out, "{:?}", run[0]),
                    n => write!(out, "{:?}*{n}", run[0]),
                };
            }
            out.push(']');
        }
    }
}

/// The first eight hexadecimal digits of SHA-256.
fn hash(bytes: impl Iterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.collect();
    let digest = Sha256::digest(&bytes);
    digest[..4].iter().map(|b| format!("{b:02x}")).collect()
}
