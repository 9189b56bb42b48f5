//! Networks that come quantised: their own steps are kept, and every layer is within one step of
//! what the file says it computes.

use nestc::ir::eval_float::eval;
use nestc::ir::float::{FloatOp, Shape, Unary};
use nestc::ir::ids::{Id, Level};
use nestc::ir::int::{IntGraph, IntOp, Quant};
use nestc::ir::nested::NestedModel;
use nestc::passes::{Artefact, CompileOptions, compile_until, fold, quantise_input};

use crate::interpret;
use crate::random::{ModelBuilder, Random, conv, images, window};

const X: Shape = Shape::map(3, 7, 6);

fn int8(scale: f32, zero_point: i8) -> FloatOp {
    FloatOp::Unary(Unary::Int8 { scale, zero_point })
}

/// A convolution whose weights are whole steps, another number of them for each row's largest.
fn stored(r: &mut Random, x: Shape, out: usize, kernel: usize) -> FloatOp {
    let mut conv = conv(r, x, out, 1, window(kernel, 1, kernel / 2), true);
    let row = conv.row_len();
    for (o, weights) in conv.weight.chunks_mut(row).enumerate() {
        let (step, most) = (0.004 + 0.001 * o as f32, 127 - 9 * o as i32);
        for w in weights.iter_mut() {
            *w = ((*w * 200.0) as i32).clamp(-most, most) as f32 * step;
        }
        weights[0] = most as f32 * step;
    }
    FloatOp::Conv(conv)
}

fn network(r: &mut Random) -> NestedModel {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let x = b.node(int8(0.015, 3), &[x]);
    let c = stored(r, X, 4, 3);
    let c = b.node(c, &[x]);
    let c = b.node(FloatOp::Relu, &[c]);
    let left = b.node(int8(0.02, -128), &[c]);
    let c = stored(r, X, 4, 1);
    let c = b.node(c, &[x]);
    let right = b.node(int8(0.025, -7), &[c]);
    let sum = b.node(FloatOp::Add, &[left, right]);
    // A ReLU whose zero is not the lowest integer, as some tools leave it.
    let sum = b.node(FloatOp::Relu, &[sum]);
    let sum = b.node(int8(0.03, -20), &[sum]);
    let pooled = b.node(FloatOp::MaxPool(window(2, 2, 0)), &[sum]);
    let pooled = b.node(int8(0.03, -20), &[pooled]);
    let mean = b.node(FloatOp::GlobalAvgPool, &[pooled]);
    let mean = b.node(int8(0.01, -100), &[mean]);
    b.finish(&[mean])
}

fn quantised(model: &NestedModel) -> IntGraph {
    match compile_until(
        model.clone(),
        &CompileOptions::default(),
        "quantise",
        &mut (),
    ) {
        Ok(Artefact::Int(graph)) => graph,
        other => panic!("{other:?}"),
    }
}

#[test]
fn steps_of_the_file_are_kept() {
    let graph = quantised(&network(&mut Random(3)));
    let steps: Vec<Quant> = graph.tensors.iter().map(|t| t.quant[0]).collect();
    let of = |scale, zero_point| Quant { scale, zero_point };
    #[rustfmt::skip]
    assert_eq!(steps, [
        of(0.015, 3), of(0.02, -128), of(0.025, -7), of(0.03, -20), of(0.03, -20), of(0.03, -20),
        of(0.01, -100),
    ]);
    let kinds: Vec<&str> = (graph.layers.iter())
        .map(|l| match l.op {
            IntOp::Conv(_) => "conv",
            IntOp::Add(_) => "add",
            IntOp::Clamp(_) => "clamp",
            IntOp::MaxPool(_) => "max_pool",
            IntOp::GlobalAvgPool(_) => "global_avg_pool",
            _ => "other",
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "conv",
            "conv",
            "add",
            "clamp",
            "max_pool",
            "global_avg_pool"
        ]
    );
    for layer in &graph.layers {
        let IntOp::Conv(conv) = &layer.op else {
            continue;
        };
        for (o, row) in conv.weight.chunks(conv.weight.len() / 4).enumerate() {
            let most = (127 - 9 * o) as f32;
            for &w in row {
                let steps = f32::from(w) * conv.weight_scale[o] / (0.004 + 0.001 * o as f32);
                assert!(
                    (steps - steps.round()).abs() < 1e-3,
                    "{}: {steps}",
                    layer.name
                );
                assert!(steps.abs() < most + 0.5);
            }
        }
    }
}

#[test]
fn every_layer_is_within_one_step_of_the_file() {
    let r = &mut Random(3);
    let model = network(r);
    let graph = quantised(&model);
    let float = fold(model).level(Level::from_index(0));
    let (mut same, mut all) = (0, 0);
    for image in images(r, X, 20) {
        let input = quantise_input(&image, X, graph.tensors[graph.input].quant[0]);
        let ints = interpret::run(&graph, 0, &input);
        let reals = eval(&float, &image);
        for layer in &graph.layers {
            let tensor = &graph.tensors[layer.output];
            let value = float
                .values
                .iter_enumerated()
                .find(|(_, v)| v.name == tensor.name);
            let (value, _) = value.expect("tensors are called as values");
            let quant = tensor.quant[0];
            let pixels = tensor.shape.pixels();
            for (i, &real) in reals[value].iter().enumerate() {
                // Channel-major there, pixel-major here.
                let at = i % pixels * tensor.shape.c + i / pixels;
                let steps = real / quant.scale + f32::from(quant.zero_point);
                let off = (steps.clamp(-128.0, 127.0) - f32::from(ints[layer.output][at])).abs();
                assert!(
                    off < 1.51,
                    "{}: {steps}, not {}",
                    layer.name,
                    ints[layer.output][at]
                );
                same += usize::from(off < 0.51);
                all += 1;
            }
        }
    }
    assert!(same * 100 > all * 97, "{same} of {all} are the nearest");
}
