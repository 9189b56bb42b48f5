//! What single rules of the passes do to small networks made for them.

use nestc::data::{Dataset, Pixels};
use nestc::ir::eval::Executor;
use nestc::ir::eval_float::eval_outputs;
use nestc::ir::float::{BatchNorm, Conv, Dense, FloatOp, Pad, Shape, Slice, Window};
use nestc::ir::ids::{Id, Level, ValueId};
use nestc::ir::int::{IntGraph, IntOp, Quant};
use nestc::ir::nested::{ChannelOrder, LevelParams, NestedModel, Preprocessing};
use nestc::ir::program::{Payload, Program};
use nestc::passes::{
    Artefact, CompileOptions, RangeRule, compile, compile_until, fold, quantise_input,
};

use crate::chain::{dataset, decibel, reals};
use crate::interpret;
use crate::random::{ModelBuilder, Random, conv, images, window};

/// A chain of nodes over one input.
fn chain(input: Shape, ops: Vec<FloatOp>) -> NestedModel {
    let (mut b, mut value) = ModelBuilder::new(input, 1);
    for op in ops {
        value = b.node(op, &[value]);
    }
    b.finish(&[value])
}

/// The operators after folding, which must not change the function.
fn folded(model: NestedModel) -> (Vec<&'static str>, NestedModel) {
    let result = fold(model.clone());
    let image = &images(&mut Random(1), model.graph.input_shape(), 1)[0];
    let (want, got) = (
        eval_outputs(&model.graph, image),
        eval_outputs(&result.graph, image),
    );
    for (a, b) in want.iter().flatten().zip(got.iter().flatten()) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{a} {b}");
    }
    let names = result.graph.nodes.iter().map(|n| n.op.name()).collect();
    (names, result)
}

fn pointwise(r: &mut Random, x: Shape, out: usize) -> FloatOp {
    FloatOp::Conv(conv(r, x, out, 1, Window::UNIT, true))
}

fn norm(c: usize) -> FloatOp {
    FloatOp::BatchNorm(BatchNorm {
        gamma: vec![1.5; c],
        beta: vec![0.5; c],
        mean: vec![0.25; c],
        var: vec![2.0; c],
        epsilon: 1e-3,
    })
}

fn affine(c: usize, scale: f32, shift: f32) -> FloatOp {
    FloatOp::ChannelAffine {
        scale: vec![scale; c],
        shift: vec![shift; c],
    }
}

const X: Shape = Shape::map(3, 4, 6);

#[test]
fn chains_of_affine_maps_become_one_behind_their_convolution() {
    let r = &mut Random(1);
    let c = pointwise(r, X, 3);
    let (names, model) = folded(chain(X, vec![c, norm(3), affine(3, 2.0, 1.0), norm(3)]));
    assert_eq!(names, ["conv", "channel_affine"]);
    let FloatOp::Conv(conv) = &model.graph.nodes.as_slice()[0].op else {
        panic!("a convolution")
    };
    assert_eq!(conv.bias, None, "the bias has moved into the affine map");
}

#[test]
fn a_shift_alone_becomes_a_bias() {
    let r = &mut Random(1);
    let c = pointwise(r, X, 3);
    let (names, _) = folded(chain(X, vec![c, affine(3, 1.0, 0.5)]));
    assert_eq!(names, ["conv"]);
}

#[test]
fn an_affine_map_of_the_input_becomes_depthwise() {
    let (names, model) = folded(chain(X, vec![norm(3), FloatOp::Relu]));
    assert_eq!(names, ["conv", "channel_affine", "relu"]);
    let FloatOp::Conv(conv) = &model.graph.nodes.as_slice()[0].op else {
        panic!("a convolution")
    };
    assert!(conv.is_depthwise() && conv.weight == [1.0; 3]);
}

#[test]
fn what_changes_nothing_goes() {
    let r = &mut Random(1);
    let c = pointwise(r, X, 3);
    let nothing = vec![
        affine(3, 1.0, 0.0),
        FloatOp::MaxPool(Window::UNIT),
        FloatOp::Pad(Pad {
            c: [0; 2],
            h: [0; 2],
            w: [0; 2],
            value: 1.0,
        }),
        FloatOp::Slice(Slice {
            start: [0; 3],
            step: [1; 3],
            count: [3, 4, 6],
        }),
    ];
    let ops = std::iter::once(c).chain(nothing.clone()).collect();
    assert_eq!(folded(chain(X, ops)).0, ["conv"]);
    // An output of its own stays one, even if it repeats the input.
    let (names, model) = folded(chain(X, vec![affine(3, 1.0, 0.0)]));
    assert_eq!(names, ["conv"], "a depthwise convolution by ones");
    assert_ne!(model.graph.outputs[0], model.graph.input());
}

#[test]
fn activations_move_to_where_they_can_be_fused() {
    let r = &mut Random(1);
    for between in [
        FloatOp::MaxPool(window(2, 2, 0)),
        FloatOp::Slice(Slice {
            start: [0, 1, 0],
            step: [1, 2, 2],
            count: [3, 2, 3],
        }),
    ] {
        let name = between.name();
        let c = pointwise(r, X, 3);
        let (names, _) = folded(chain(X, vec![c, between, FloatOp::Relu, FloatOp::Relu6]));
        assert_eq!(names, ["conv", "relu6", name]);
    }
}

#[test]
fn zero_padding_becomes_the_convolutions_own() {
    let r = &mut Random(1);
    let zeros = |value: f32| {
        FloatOp::Pad(Pad {
            c: [0; 2],
            h: [1, 2],
            w: [0, 1],
            value,
        })
    };
    let padded = Shape::map(3, 7, 7);
    let c = FloatOp::Conv(conv(r, padded, 2, 1, window(3, 2, 1), false));
    let (names, model) = folded(chain(X, vec![zeros(0.0), c.clone()]));
    assert_eq!(names, ["conv"]);
    let FloatOp::Conv(op) = &model.graph.nodes.as_slice()[0].op else {
        panic!("a convolution")
    };
    assert_eq!(op.window.pads, [2, 1, 3, 2]);
    assert_eq!(folded(chain(X, vec![zeros(0.5), c])).0, ["pad", "conv"]);
}

#[test]
fn a_mean_over_the_whole_map_is_the_global_one() {
    let whole = FloatOp::AvgPool {
        window: Window {
            kernel: [4, 6],
            ..Window::UNIT
        },
        count_include_pad: true,
    };
    assert_eq!(folded(chain(X, vec![whole])).0, ["global_avg_pool"]);
}

#[test]
fn flattened_layers_become_convolutions_over_the_whole_map() {
    let r = &mut Random(1);
    let dense = |r: &mut Random| {
        FloatOp::Dense(Dense {
            weight: r.reals(5 * 72, 0.1),
            bias: None,
            out_features: 5,
            in_features: 72,
        })
    };
    let (names, model) = folded(chain(X, vec![FloatOp::Flatten, dense(r)]));
    assert_eq!(names, ["conv"]);
    let FloatOp::Conv(op) = &model.graph.nodes.as_slice()[0].op else {
        panic!("a convolution")
    };
    assert_eq!(op.window.kernel, [4, 6]);
    // Nothing behind it that could take the order of elements.
    assert_eq!(folded(chain(X, vec![FloatOp::Flatten])).0, ["rearrange"]);
    // An activation between moves in front.
    let ops = vec![FloatOp::Flatten, FloatOp::Relu, dense(r)];
    assert_eq!(folded(chain(X, ops)).0, ["relu", "conv"]);
}

fn compiled(model: &NestedModel, data: &Dataset) -> (IntGraph, Program) {
    let options = CompileOptions {
        calibration: Some(data),
        range_rule: RangeRule::MinMax,
        ..CompileOptions::default()
    };
    let artefact = compile_until(model.clone(), &options, "quantise", &mut ());
    let Artefact::Int(graph) = artefact.expect("quantises") else {
        panic!("an integer graph comes after quantisation")
    };
    (
        graph,
        compile(model.clone(), &options, &mut ()).expect("compiles"),
    )
}

/// Compiles, checks host against definition and float, and gives the program.
fn faithful(model: &NestedModel, at_least: f64) -> (IntGraph, Program) {
    let shape = model.graph.input_shape();
    let images = images(&mut Random(9), shape, 16);
    let (graph, program) = compiled(model, &dataset(shape, &images));
    let mut executor = Executor::new(&program);
    let input = &graph.tensors[graph.input];
    let output = &graph.tensors[graph.outputs[0]];
    for level in model.level_ids() {
        let (mut want, mut got) = (Vec::new(), Vec::new());
        for image in &images[..4] {
            let q = quantise_input(image, input.shape, input.quant[0]);
            executor.run(level, &q);
            let defined = interpret::run(&graph, level.index(), &q);
            assert_eq!(executor.output(0), defined[graph.outputs[0]], "{level}");
            want.extend_from_slice(&eval_outputs(&model.level(level), image)[0]);
            got.extend(reals(
                executor.output(0),
                output.shape,
                output.quant[level.index()],
            ));
        }
        let ratio = decibel(&want, &got);
        assert!(ratio > at_least, "{level}: {ratio:.1} dB");
    }
    (graph, program)
}

/// All weights of a row at full scale: 300 of them pass the 23 bits of a packed sum.
fn heavy(levels: usize) -> NestedModel {
    let x = Shape::map(300, 3, 3);
    let (mut b, input) = ModelBuilder::new(x, levels);
    let op = FloatOp::Conv(Conv {
        weight: vec![0.02; 600],
        bias: None,
        out_channels: 2,
        group_channels: 300,
        groups: 1,
        window: Window::UNIT,
    });
    let (id, value) = b.try_node(op, &[input]).expect("it fits");
    if levels > 1 {
        let of = (0..600).map(|i| (i % levels) as u8).collect();
        b.weight_levels.insert(id, of);
    }
    b.finish(&[value])
}

#[test]
fn heavy_rows_go_to_the_dense_kernel() {
    let (_, program) = faithful(&heavy(1), 35.0);
    let steps = program.steps.as_slice();
    assert!(
        matches!(steps[0].payload, Payload::ConvDense { .. }),
        "{}",
        steps[0].kernel
    );
}

#[test]
fn heavy_nested_rows_get_coarser_weights() {
    let (graph, program) = faithful(&heavy(3), 35.0);
    let steps = program.steps.as_slice();
    assert!(
        matches!(steps[0].payload, Payload::ConvNested { .. }),
        "{}",
        steps[0].kernel
    );
    let IntOp::Conv(conv) = &graph.layers.as_slice()[0].op else {
        panic!("a convolution")
    };
    let largest = conv.weight.iter().max().copied().unwrap_or(0);
    // 2^22 / 127.5 / 300.
    assert!((105..=109).contains(&largest), "{largest}");
}

#[test]
fn nested_groups_are_stored_over_all_channels() {
    let x = Shape::map(6, 4, 4);
    let r = &mut Random(4);
    let (mut b, input) = ModelBuilder::new(x, 2);
    let op = FloatOp::Conv(conv(r, x, 6, 6, window(3, 1, 1), true));
    let (id, value) = b.try_node(op, &[input]).expect("it fits");
    b.weight_levels
        .insert(id, (0..54).map(|i| (i % 2) as u8).collect());
    let (_, program) = faithful(&b.finish(&[value]), 30.0);
    let step = &program.steps.as_slice()[0];
    assert!(matches!(step.payload, Payload::ConvNested { .. }));
    assert_eq!(step.weights, 54, "zeros of other groups are not counted");
    assert!(step.nonzero_weights[0] <= 27 && step.nonzero_weights[0] >= 24);
}

/// A channel whose accumulator steps are coarser than the output's: the output step widens.
#[test]
fn multipliers_stay_below_one_half() {
    let x = Shape::map(2, 3, 3);
    let (mut b, input) = ModelBuilder::new(x, 1);
    let op = FloatOp::Conv(Conv {
        weight: vec![0.01; 2],
        bias: None,
        out_channels: 2,
        group_channels: 1,
        groups: 2,
        window: Window::UNIT,
    });
    let value = b.node(op, &[input]);
    // The first channel's inputs are all but constant and are blown up.
    let op = FloatOp::ChannelAffine {
        scale: vec![1e4, 1.0],
        shift: vec![-1e2, 0.0],
    };
    let value = b.node(op, &[value]);
    let model = b.finish(&[value]);
    let mut r = Random(2);
    let images: Vec<Vec<f32>> = (0..8)
        .map(|_| {
            let near_one = (0..9).map(|_| 1.0 + 1e-4 * r.real());
            let mut image: Vec<f32> = near_one.collect();
            image.extend(r.reals(9, 1.0));
            image
        })
        .collect();
    let (graph, _) = compiled(&model, &dataset(x, &images));
    let IntOp::Conv(conv) = &graph.layers.as_slice()[0].op else {
        panic!("a convolution")
    };
    let input = graph.tensors[graph.input].quant[0];
    let output = graph.tensors[graph.outputs[0]].quant[0];
    let real = f64::from(input.scale) * f64::from(conv.weight_scale[0]) * 1e4;
    let factor = f64::from(conv.requant[0][0].multiplier) / 2f64.powi(32);
    assert!(factor < 0.5 && factor > 0.49, "{factor}");
    assert!((factor - real / f64::from(output.scale)).abs() < 1e-6);
}

#[test]
fn multipliers_may_be_negative_or_all_but_zero() {
    let r = &mut Random(6);
    let c = pointwise(r, X, 3);
    let per_channel = FloatOp::ChannelAffine {
        scale: vec![-2.0, 0.0, 1.5],
        shift: vec![0.5, 0.75, -0.5],
    };
    let (graph, _) = faithful(&chain(X, vec![c, per_channel, FloatOp::Relu6]), 30.0);
    let IntOp::Conv(conv) = &graph.layers.as_slice()[0].op else {
        panic!("a convolution")
    };
    let m: Vec<i32> = conv.requant[0].iter().map(|r| r.multiplier).collect();
    // A factor of 0 leaves the accumulator one output step at most: 2^-22.
    assert!(m[0] < 0 && m[1] == 1 << 10 && m[2] > 0, "{m:?}");
    assert_eq!(
        graph.layers.len(),
        1,
        "normalisation and activation are fused"
    );
}

#[test]
fn normalisation_of_each_level_is_in_its_own_constants() {
    let r = &mut Random(8);
    let (mut b, input) = ModelBuilder::new(X, 2);
    let op = pointwise(r, X, 4);
    let value = b.node(op, &[input]);
    let (id, value) = b.try_node(norm(4), &[value]).expect("it fits");
    let of = |gamma: f32, mean: f32| {
        let FloatOp::BatchNorm(bn) = norm(4) else {
            unreachable!("made above")
        };
        LevelParams::BatchNorm(BatchNorm {
            gamma: vec![gamma; 4],
            mean: vec![mean; 4],
            ..bn
        })
    };
    b.level_params
        .insert(id, vec![of(0.5, -1.0), of(1.5, 0.25)]);
    let (graph, _) = faithful(&b.finish(&[value]), 35.0);
    let IntOp::Conv(conv) = &graph.layers.as_slice()[0].op else {
        panic!("a convolution")
    };
    assert_ne!(conv.requant[0], conv.requant[1]);
    let quant = &graph.tensors[graph.outputs[0]].quant;
    assert_ne!(quant[0], quant[1]);
}

#[test]
fn pixels_keep_their_exact_steps() {
    let x = Shape::map(1, 2, 2);
    let model = chain(x, vec![FloatOp::MaxPool(window(2, 1, 0))]);
    let mut data = Dataset {
        shape: x,
        // Far from both ends: the range comes from the preparation, not from the pixels.
        pixels: Pixels::U8(vec![100, 101, 102, 103]),
        labels: None,
        class_count: 0,
        boxes: None,
        preprocessing: Preprocessing::identity(1),
    };
    let quant = |data: &Dataset| compiled(&model, data).0.tensors.as_slice()[0].quant[0];
    assert_eq!(
        quant(&data),
        Quant {
            scale: 1.0,
            zero_point: -128
        }
    );
    data.preprocessing = Preprocessing {
        scale: 1.0,
        mean: vec![128.0],
        std: vec![0.5],
        order: ChannelOrder::Rgb,
    };
    assert_eq!(
        quant(&data),
        Quant {
            scale: 2.0,
            zero_point: 0
        }
    );
}

#[test]
fn images_go_from_planes_to_pixels() {
    let quant = Quant {
        scale: 0.5,
        zero_point: 1,
    };
    let q = quantise_input(&[1.0, 2.0, -1.0, -0.25], Shape::map(2, 1, 2), quant);
    assert_eq!(q, [3, -1, 5, 0]);
}

#[test]
fn padding_below_a_relu_is_refused() {
    let r = &mut Random(1);
    let c = pointwise(r, X, 3);
    let pad = FloatOp::Pad(Pad {
        c: [1, 0],
        h: [0; 2],
        w: [0; 2],
        value: -1.0,
    });
    let model = chain(X, vec![c, FloatOp::Relu, pad]);
    let error = compile(model, &CompileOptions::default(), &mut ()).expect_err("refused");
    assert_eq!(error.0[0].code.to_string(), "E502");
    assert!(error.0[0].message.contains("pads with -1"), "{error}");
}

#[test]
fn values_that_are_not_finite_are_named() {
    let (mut b, input) = ModelBuilder::new(X, 1);
    let mut value: ValueId = input;
    for _ in 0..3 {
        value = b.node(affine(3, 1e30, 0.0), &[value]);
        value = b.node(FloatOp::Relu, &[value]);
    }
    let model = b.finish(&[value]);
    let error = compile(model, &CompileOptions::default(), &mut ()).expect_err("refused");
    assert_eq!(error.0.len(), 1, "{error}");
    assert_eq!(error.0[0].code.to_string(), "E501");
}

#[test]
fn extents_beyond_16_bits_are_refused() {
    let x = Shape::map(70_000, 1, 1);
    let error = compile(
        chain(
            x,
            vec![FloatOp::Conv(conv(
                &mut Random(1),
                x,
                1,
                1,
                window(1, 1, 0),
                false,
            ))],
        ),
        &CompileOptions::default(),
        &mut (),
    )
    .expect_err("refused");
    assert_eq!(error.0[0].code.to_string(), "E503");
    assert!(error.0[0].message.contains("70000"), "{error}");
}

/// Padding behind a ReLU6 with more than 6 widens the shared range: the cap must stay.
#[test]
fn relu6_caps_where_the_range_goes_beyond_6() {
    let x = Shape::map(1, 2, 3);
    let c = FloatOp::Conv(Conv {
        weight: vec![8.0],
        bias: None,
        out_channels: 1,
        group_channels: 1,
        groups: 1,
        window: Window::UNIT,
    });
    let pad = FloatOp::Pad(Pad {
        c: [0, 0],
        h: [1, 0],
        w: [0, 1],
        value: 20.0,
    });
    let model = chain(x, vec![c, FloatOp::Relu6, pad]);
    let image = vec![-1.0, 0.25, 0.5, 1.0, 2.0, 2.4];
    let data = dataset(x, std::slice::from_ref(&image));
    let (graph, program) = compiled(&model, &data);
    let clamps = (graph.layers.iter()).filter(|l| matches!(l.op, IntOp::Clamp(_)));
    assert_eq!(clamps.count(), 1);
    let input = &graph.tensors[graph.input];
    let mut executor = Executor::new(&program);
    executor.run(
        Level::from_index(0),
        &quantise_input(&image, input.shape, input.quant[0]),
    );
    let t = &program.tensors[program.outputs[0]];
    let got = reals(executor.output(0), t.shape, t.quant[0]);
    let want = eval_outputs(&model.graph, &image).remove(0);
    assert!(want.contains(&6.0) && want.contains(&20.0), "{want:?}");
    // A step is 20/255; the input's own rounding is multiplied by 8.
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < 0.15, "{got} {want}");
    }
}
