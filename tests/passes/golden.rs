//! Passes as text in, text out. `BLESS=1` (`make bless`) records anew.

use std::path::Path;

use nestc::ir::float::{Conv, Dense, FloatOp, Shape, Window};
use nestc::ir::nested::{LevelParams, NestedModel};
use nestc::ir::text_int::{parse, print, print_program};
use nestc::ir::verify_int::{verify, verify_program};
use nestc::passes::{
    Artefact, CompileOptions, PIPELINE, Preferences, compile_until, encode, find_pass, plan,
};

use crate::chain::dataset;
use crate::random::{ModelBuilder, window};

/// Compares with `tests/golden/passes/NAME`.
pub fn expect(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/passes")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("recorded");
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text,
        recorded,
        "{}: `make bless` records a wanted change",
        path.display()
    );
}

pub const SMALL: &str = r#"# A block with a shortcut, two levels.
int "small"
sparsities [0.75, 0.25]
tensor t0 "x" shape=[2, 3, 3] quant=[[0.5, -3], [0.5, -3]]
tensor t1 "a" shape=[2, 3, 3] quant=[[0.5, -128], [0.25, -128]]
tensor t2 "b" shape=[2, 3, 3] quant=[[0.5, 7], [0.25, -9]]
tensor t3 "sum" shape=[2, 3, 3] quant=[[0.5, -128], [0.25, -128]]
tensor t4 "y" shape=[3, 1, 1] quant=[[1, 0], [1, 0]]
input t0
t1 = conv(t0) "first" kernel=[1, 1] stride=[1, 1] pads=[0, 0, 0, 0] dilation=[1, 1] out=2 group_channels=2 groups=1
  weight_scale=[0.125, 0.5]
  weight=[100, -100, 90, 1]
  requant=[[[0, 1000000], [5, 2000000]], [[0, 1000000], [5, 2000000]]]
t2 = conv(t1) "second" kernel=[3, 3] stride=[1, 1] pads=[1, 1, 1, 1] dilation=[1, 1] out=2 group_channels=2 groups=1
  weight_scale=[0.125, 0.5]
  weight=[1, 0, 3, 0, 5, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 7, 8, 9, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -9]
  weight_levels=[0, 1, 0, 1, 1, 255, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
  requant=[[[0, 1000000], [5, 2000000]], [[0, 1000000], [5, 2000000]]]
t3 = add(t2, t1) "add" params=[[16384, 8192, 8192, 14], [1, 2, 3, 4]]
t4 = conv(t3) "classes" kernel=[3, 3] stride=[1, 1] pads=[0, 0, 0, 0] dilation=[1, 1] out=3 group_channels=2 groups=1
  weight_scale=[1, 1, 1]
  weight=[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]
  requant=[[[0, 1], [0, 2], [0, 3]], [[0, 1], [0, 2], [0, 3]]]
output t4
"#;

#[test]
fn encoding_and_planning() {
    let graph = parse(SMALL).expect("reads");
    verify(&graph).expect("sound");
    let program = plan(encode(graph, &Preferences::default()).expect("encodes"));
    verify_program(&program).expect("sound");
    expect("small.program.txt", &print_program(&program));
}

/// A nested block with a shortcut. All its numbers are small multiples of powers of two, so that
/// every float sum is exact: the texts do not depend on the processor's order of summation.
fn exact_model() -> NestedModel {
    let eighths = |n: usize, step: usize| -> Vec<f32> {
        (0..n)
            .map(|i| ((i * step) % 17) as f32 / 8.0 - 1.0)
            .collect()
    };
    let conv = |x: usize, out: usize, window: Window| {
        FloatOp::Conv(Conv {
            weight: eighths(out * x * window.taps(), 5),
            bias: Some(eighths(out, 3)),
            out_channels: out,
            group_channels: x,
            groups: 1,
            window,
        })
    };
    let affine = |scale: f32| (vec![scale; 4], eighths(4, 7));
    let (mut b, input) = ModelBuilder::new(Shape::map(2, 4, 4), 2);
    let stem = b.node(conv(2, 4, window(3, 1, 1)), &[input]);
    let stem = b.node(FloatOp::Relu, &[stem]);
    let (masked, inner) = b
        .try_node(conv(4, 4, window(3, 1, 1)), &[stem])
        .expect("it fits");
    b.weight_levels
        .insert(masked, (0..144).map(|i| u8::from(i % 3 != 0)).collect());
    let (scale, shift) = affine(0.5);
    let (own, inner) = b
        .try_node(FloatOp::ChannelAffine { scale, shift }, &[inner])
        .expect("it fits");
    let levels = [affine(0.25), affine(0.5)].map(|(s, t)| LevelParams::Affine(s, t));
    b.level_params.insert(own, levels.into());
    let sum = b.node(FloatOp::Add, &[stem, inner]);
    let sum = b.node(FloatOp::Relu, &[sum]);
    let pooled = b.node(FloatOp::MaxPool(window(2, 2, 0)), &[sum]);
    let mean = b.node(FloatOp::GlobalAvgPool, &[pooled]);
    let classes = FloatOp::Dense(Dense {
        weight: eighths(12, 3),
        bias: None,
        out_features: 3,
        in_features: 4,
    });
    let classes = b.node(classes, &[mean]);
    b.finish(&[classes])
}

/// Everything `--dump-after` can print of one network.
#[test]
fn every_pass_of_a_network() {
    let model = exact_model();
    let shape = model.graph.input_shape();
    let quarters = (0..8).map(|k| {
        (0..shape.len())
            .map(|i| ((i * 7 + k * 3) % 13) as f32 / 4.0 - 1.5)
            .collect()
    });
    let data = dataset(shape, &quarters.collect::<Vec<Vec<f32>>>());
    let options = CompileOptions {
        calibration: Some(&data),
        ..CompileOptions::default()
    };
    for pass in PIPELINE {
        let artefact =
            compile_until(model.clone(), &options, pass.name, &mut ()).expect("compiles");
        expect(&format!("block.{}.txt", pass.name), &artefact.text());
        if let Artefact::Int(graph) = artefact {
            assert_eq!(parse(&print(&graph)).expect("reads"), graph);
        }
    }
}

#[test]
fn an_unknown_pass_names_all() {
    let error = find_pass("optimise").expect_err("there is none");
    assert_eq!(error.0[0].code.to_string(), "E512");
    assert!(
        error.0[0]
            .message
            .contains("fold, quantise, eliminate, encode, plan")
    );
}
