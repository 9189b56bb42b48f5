//! Signal to noise of quantised layers against the two plain interpreters.

use nestc::ir::eval_float::{eval, eval_outputs};
use nestc::ir::float::{Axis, Binary, FloatOp, Shape};
use nestc::ir::ids::{Id, TensorId};
use nestc::ir::int::IntGraph;
use nestc::ir::nested::NestedModel;
use nestc::passes::{
    Artefact, CompileOptions, Fidelity, Observer, compile_until, fold, quantise_input,
};

use crate::chain::dataset;
use crate::interpret;
use crate::random::{ALL_OPERATORS, ModelBuilder, Random, conv, images, model, window};

#[derive(Default)]
struct Keep(Option<Fidelity>);

impl Observer for Keep {
    fn fidelity(&mut self, fidelity: Fidelity) {
        self.0 = Some(fidelity);
    }
}

fn quantised(model: &NestedModel, images: &[Vec<f32>]) -> (IntGraph, Fidelity) {
    let data = dataset(model.graph.input_shape(), images);
    let options = CompileOptions {
        calibration: Some(&data),
        measure_fidelity: true,
        ..CompileOptions::default()
    };
    let mut keep = Keep::default();
    let artefact = compile_until(model.clone(), &options, "quantise", &mut keep);
    match (artefact.expect("compiles"), keep.0) {
        (Artefact::Int(graph), Some(fidelity)) => (graph, fidelity),
        _ => panic!("an integer graph, measured"),
    }
}

fn dequantised(graph: &IntGraph, tensor: TensorId, level: usize, int8: &[i8]) -> Vec<f32> {
    let t = &graph.tensors[tensor];
    let q = t.quant[level];
    let mut reals = vec![0.0; int8.len()];
    for (i, &v) in int8.iter().enumerate() {
        let at = i % t.shape.c * t.shape.pixels() + i / t.shape.c;
        reals[at] = q.scale * (f32::from(v) - f32::from(q.zero_point));
    }
    reals
}

fn decibels(pairs: impl Iterator<Item = (f32, f32)>) -> Option<f64> {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (real, int8) in pairs {
        signal += f64::from(real).powi(2);
        noise += (f64::from(real) - f64::from(int8)).powi(2);
    }
    // Rounding of the float engine itself is below 120 dB.
    (signal > 0.0 && noise > signal * 1e-12).then(|| 10.0 * (signal / noise).log10())
}

fn assert_near(what: &str, got: Option<f64>, expected: Option<f64>) {
    match (got, expected) {
        (Some(a), Some(b)) => assert!((a - b).abs() < 0.01, "{what}: {a} dB, expected {b}"),
        (got, None) => assert!(got.is_none_or(|db| db > 110.0), "{what}: {got:?}, no noise"),
        (None, Some(db)) => panic!("{what}: no noise, expected {db} dB"),
    }
}

#[test]
fn noise_is_that_between_the_two_interpreters() {
    for seed in (0..12).chain(ALL_OPERATORS..ALL_OPERATORS + 12) {
        let model = model(seed, 12);
        let folded = fold(model.clone());
        let shape = model.graph.input_shape();
        let images = images(&mut Random(seed), shape, 20);
        let (graph, fidelity) = quantised(&model, &images);
        assert_eq!(fidelity.images, 20);
        assert_eq!(fidelity.layers.len(), graph.layers.len());
        for level in folded.level_ids() {
            let float = folded.level(level);
            let mut pairs = vec![Vec::new(); graph.layers.len()];
            for image in &images {
                let reals = eval(&float, image);
                let quant = graph.tensors[graph.input].quant[0];
                let input = quantise_input(image, shape, quant);
                let int8 = interpret::run(&graph, level.index(), &input);
                for (layer, pairs) in graph.layers.iter().zip(&mut pairs) {
                    let name = &graph.tensors[layer.output].name;
                    let (value, _) = (float.values.iter_enumerated())
                        .find(|(_, v)| v.name == *name)
                        .expect("tensors are called as values");
                    let int8 = &int8[layer.output];
                    let int8 = dequantised(&graph, layer.output, level.index(), int8);
                    pairs.extend(reals[value].iter().copied().zip(int8));
                }
            }
            for (layer, pairs) in fidelity.layers.iter().zip(pairs) {
                let what = format!("seed {seed}, {level}, {}", layer.name);
                let whole = layer.whole[level.index()];
                assert_near(&what, whole, decibels(pairs.into_iter()));
            }
        }
    }
}

#[test]
fn a_layers_own_noise_is_that_on_the_inputs_it_read() {
    let shape = Shape::map(3, 6, 7);
    let (mut b, x) = ModelBuilder::new(shape, 1);
    let mut r = Random(5);
    let first = conv(&mut r, shape, 8, 1, window(3, 1, 1), true);
    let y = b.node(FloatOp::Conv(first), &[x]);
    let y = b.node(FloatOp::Relu, &[y]);
    let z = b.node(FloatOp::MaxPool(window(2, 2, 0)), &[y]);
    let model = b.finish(&[z]);
    let images = images(&mut r, shape, 17);
    let (graph, fidelity) = quantised(&model, &images);
    let mut pairs = Vec::new();
    for image in &images {
        let input = quantise_input(image, shape, graph.tensors[graph.input].quant[0]);
        let int8 = interpret::run(&graph, 0, &input);
        let float = fold(model.clone()).graph;
        let read = dequantised(&graph, graph.input, 0, &input);
        let relu = eval(&float, &read)[y].clone();
        assert_eq!(eval_outputs(&float, &read).len(), 1);
        let output = graph.layers.iter().next().expect("a layer").output;
        pairs.extend(
            relu.into_iter()
                .zip(dequantised(&graph, output, 0, &int8[output])),
        );
    }
    let conv = &fidelity.layers[0];
    assert_near("conv", conv.own[0], decibels(pairs.into_iter()));
    // Taking maxima loses nothing.
    let pool = &fidelity.layers[1];
    assert_near("pool", pool.own[0], None);
    assert!(pool.whole[0].is_some() && pool.is_output && !conv.is_output);
    let (worst, db) = fidelity.worst(0).expect("some layer adds noise");
    assert_eq!((&worst.name, Some(db)), (&conv.name, conv.own[0]));
}

/// Layers of several inputs, one of which the kernel has in the other order.
#[test]
fn the_own_noise_of_layers_that_join_values_is_that_of_all_they_read() {
    let shape = Shape::map(3, 4, 5);
    let (mut b, x) = ModelBuilder::new(shape, 1);
    let mut r = Random(6);
    let wide = b.node(
        FloatOp::Conv(conv(&mut r, shape, 8, 1, window(3, 1, 1), true)),
        &[x],
    );
    let mean = b.node(FloatOp::GlobalAvgPool, &[wide]);
    let difference = b.node(FloatOp::Binary(Binary::Sub), &[mean, wide]);
    let joined = b.node(FloatOp::Concat(Axis::C), &[x, difference]);
    let model = b.finish(&[joined]);
    let images = images(&mut r, shape, 9);
    let (graph, fidelity) = quantised(&model, &images);
    let named = |name: &str| {
        let mut all = fidelity.layers.iter().enumerate();
        let found = all.find(|(_, layer)| layer.name.starts_with(name));
        found.expect("a layer of that name")
    };
    let tensor = |name: &str| {
        let mut all = graph.tensors.iter_enumerated();
        let found = all.find(|(_, t)| t.name.starts_with(name));
        found.expect("a tensor of that name").0
    };
    let [x, wide, mean] = ["x", "conv", "global"].map(tensor);
    let (mut differences, mut joins) = (Vec::new(), Vec::new());
    for image in &images {
        let input = quantise_input(image, shape, graph.tensors[graph.input].quant[0]);
        let int8 = interpret::run(&graph, 0, &input);
        let real = |t: TensorId| dequantised(&graph, t, 0, &int8[t]);
        let [binary, concat] = [named("binary").0, named("concat").0]
            .map(|i| graph.layers.iter().nth(i).expect("a layer").output);
        let of_mean = real(mean);
        let exact = (real(wide).into_iter().enumerate()).map(|(i, v)| of_mean[i / 20] - v);
        differences.extend(exact.zip(real(binary)));
        let both = [real(x), real(binary)].concat();
        joins.extend(both.into_iter().zip(real(concat)));
    }
    let own = |name: &str| named(name).1.own[0];
    assert_near("sub", own("binary"), decibels(differences.into_iter()));
    assert_near("concat", own("concat"), decibels(joins.into_iter()));
}
