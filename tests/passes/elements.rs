//! How layers without weights are quantised: what becomes one layer, and which values share a
//! quantisation.

use nestc::ir::float::{Axis, Binary, FloatOp, Pad, Shape, Slice, Unary, Window, WithConstant};
use nestc::ir::ids::ValueId;
use nestc::ir::int::{IntBinary, IntGraph, IntMove, IntOp, Quant};
use nestc::passes::{Artefact, CompileOptions, RangeRule, compile_until};

use crate::chain::dataset;
use crate::random::{ModelBuilder, Random, conv, images};

const X: Shape = Shape::map(3, 6, 5);

/// A pointwise convolution of 4 channels, weights times `scale`.
fn pointwise(b: &mut ModelBuilder, r: &mut Random, from: ValueId, scale: f32) -> ValueId {
    let mut op = conv(r, b.graph.shape(from), 4, 1, Window::UNIT, true);
    op.weight.iter_mut().for_each(|w| *w *= scale);
    op.bias.iter_mut().flatten().for_each(|w| *w *= scale);
    b.node(FloatOp::Conv(op), &[from])
}

fn quantised(b: ModelBuilder, outputs: &[ValueId]) -> IntGraph {
    let model = b.finish(outputs);
    let data = dataset(X, &images(&mut Random(9), X, 16));
    let options = CompileOptions {
        calibration: Some(&data),
        range_rule: RangeRule::MinMax,
        ..CompileOptions::default()
    };
    match compile_until(model, &options, "quantise", &mut ()).expect("quantises") {
        Artefact::Int(graph) => graph,
        other => panic!("{other:?}"),
    }
}

/// The quantisation of the inputs and the output of the only layer that moves elements, and whether
/// each input has a table.
fn joined(graph: &IntGraph) -> (Vec<Quant>, Quant, Vec<bool>) {
    let moves: Vec<_> = (graph.layers.iter())
        .filter(|l| matches!(l.op, IntOp::Move(_)))
        .collect();
    let [layer] = moves[..] else {
        panic!("{} movements", moves.len())
    };
    let IntOp::Move(of_inputs) = &layer.op else {
        unreachable!()
    };
    let quant = |t| graph.tensors[t].quant[0];
    (
        layer.inputs.iter().map(|&t| quant(t)).collect(),
        quant(layer.output),
        of_inputs
            .iter()
            .map(|m: &IntMove| m.tables.is_some())
            .collect(),
    )
}

#[test]
fn joined_values_share_a_quantisation_where_that_costs_nothing() {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let r = &mut Random(1);
    let large = pointwise(&mut b, r, x, 1.0);
    let large = b.node(FloatOp::Relu, &[large]);
    let small = pointwise(&mut b, r, x, 0.05);
    let small = b.node(FloatOp::Relu, &[small]);
    let all = b.node(FloatOp::Concat(Axis::C), &[large, small]);
    let end = pointwise(&mut b, r, all, 1.0);
    let (inputs, output, tables) = joined(&quantised(b, &[end]));
    assert_eq!(inputs, [output; 2]);
    assert_eq!(tables, [false; 2]);
}

#[test]
fn a_value_that_others_read_keeps_its_own_finer_steps() {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let r = &mut Random(1);
    let large = pointwise(&mut b, r, x, 1.0);
    let small = pointwise(&mut b, r, x, 0.05);
    let all = b.node(FloatOp::Concat(Axis::C), &[large, small]);
    let end = pointwise(&mut b, r, all, 1.0);
    let other = pointwise(&mut b, r, small, 1.0);
    let (inputs, output, tables) = joined(&quantised(b, &[end, other]));
    assert_eq!(inputs[0], output);
    assert!(inputs[1].scale < output.scale / 4.0);
    assert_eq!(tables, [false, true]);
}

#[test]
fn saturation_stays_the_activation_of_joined_values() {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let r = &mut Random(1);
    let signed = pointwise(&mut b, r, x, 1.0);
    let rectified = pointwise(&mut b, r, x, 1.0);
    let rectified = b.node(FloatOp::Relu, &[rectified]);
    let all = b.node(FloatOp::Concat(Axis::H), &[rectified, signed]);
    let graph = quantised(b, &[all]);
    let (inputs, output, tables) = joined(&graph);
    assert_eq!(inputs[0].zero_point, -128);
    assert!(output.zero_point > -128);
    assert_eq!(tables, [true, false]);
    // No clamp is left over.
    assert_eq!(graph.layers.len(), 3);
}

#[test]
fn given_quantisations_come_by_a_table_unless_all_are_one() {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let made = pointwise(&mut b, &mut Random(1), x, 1.0);
    let all = b.node(FloatOp::Concat(Axis::C), &[x, made]);
    let (inputs, output, tables) = joined(&quantised(b, &[all]));
    assert_eq!(inputs[1], output);
    assert_eq!(tables, [true, false]);

    let (mut b, x) = ModelBuilder::new(X, 1);
    let sigmoid = b.node(FloatOp::Unary(Unary::Sigmoid), &[x]);
    let softmax = b.node(FloatOp::Softmax, &[x]);
    let all = b.node(FloatOp::Concat(Axis::C), &[sigmoid, softmax]);
    let (inputs, output, tables) = joined(&quantised(b, &[all]));
    assert_eq!(inputs, [output; 2]);
    assert_eq!((output.scale, output.zero_point), (1.0 / 256.0, -128));
    assert_eq!(tables, [false; 2]);
}

#[test]
fn padding_in_a_joined_value_widens_the_range_of_all() {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let r = &mut Random(1);
    let [one, other] = [0, 1].map(|_| pointwise(&mut b, r, x, 1.0));
    let pad = FloatOp::Pad(Pad {
        c: [0, 1],
        h: [0; 2],
        w: [0; 2],
        value: 50.0,
    });
    let padded = b.node(pad, &[one]);
    let all = b.node(FloatOp::Concat(Axis::C), &[padded, other]);
    let (inputs, output, tables) = joined(&quantised(b, &[all]));
    assert_eq!(inputs, [output; 2]);
    assert_eq!(tables, [false; 2]);
    // But for the rounding of the zero point.
    assert!(output.scale * (127.5 - f32::from(output.zero_point)) >= 50.0);
}

#[test]
fn chains_of_movements_are_one_layer() {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let made = pointwise(&mut b, &mut Random(1), x, 1.0);
    let halves = [0, 1].map(|start| {
        let slice = FloatOp::Slice(Slice {
            start: [start, 0, 0],
            step: [2, 1, 1],
            count: [2, 6, 5],
        });
        b.node(slice, &[made])
    });
    let turned = b.node(FloatOp::Concat(Axis::C), &[halves[1], halves[0]]);
    let shuffled = b.node(FloatOp::ChannelShuffle { groups: 2 }, &[turned]);
    let graph = quantised(b, &[shuffled]);
    let (inputs, output, tables) = joined(&graph);
    assert_eq!((inputs, tables), (vec![output], vec![false]));
    assert_eq!(graph.layers.len(), 2);
}

#[test]
fn chains_of_functions_are_one_table() {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let halved = FloatOp::WithConstant(WithConstant {
        op: Binary::Mul,
        shape: Shape::vector(1),
        data: vec![0.5],
        constant_first: false,
    });
    let y = b.node(FloatOp::Unary(Unary::Silu), &[x]);
    let y = b.node(halved, &[y]);
    let y = b.node(FloatOp::Relu, &[y]);
    let graph = quantised(b, &[y]);
    assert_eq!(graph.layers.len(), 1);
    let (from, to) = (
        graph.tensors[graph.input].quant[0],
        graph.tensors[graph.outputs[0]].quant[0],
    );
    let Some(IntOp::Lookup(tables)) = graph.layers.iter().next().map(|l| &l.op) else {
        panic!("a table")
    };
    for q in -128..=127i8 {
        let x = f64::from(from.scale) * (f64::from(q) - f64::from(from.zero_point));
        let real = (x / (1.0 + (-x).exp()) / 2.0).max(0.0) / f64::from(to.scale) - 128.0;
        let got = f64::from(tables[0][usize::from(q as u8)]);
        assert!(
            (got - real.min(127.0)).abs() <= 0.5001,
            "{q}: {got}, {real}"
        );
    }
}

#[test]
fn the_operand_of_the_outputs_extent_comes_first() {
    let (mut b, x) = ModelBuilder::new(X, 1);
    let mean = b.node(FloatOp::GlobalAvgPool, &[x]);
    let y = b.node(FloatOp::Binary(Binary::Sub), &[mean, x]);
    let graph = quantised(b, &[y]);
    let layer = graph.layers.iter().last().expect("a layer");
    assert_eq!(layer.inputs[0], graph.input);
    let IntOp::Binary {
        operation: IntBinary::Sum(params),
        constant: None,
    } = &layer.op
    else {
        panic!("{:?}", layer.op)
    };
    assert!(params[0].factor_a < 0 && params[0].factor_b > 0);
}
