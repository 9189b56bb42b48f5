//! Every finding of the passes, as the user reads it: `tests/golden/passes.txt`.

use nestc::diag::{Diagnostic, Diagnostics};
use nestc::ir::float::{Binary, FloatOp, Pad, Shape, Window, WithConstant};
use nestc::ir::int::IntGraph;
use nestc::ir::nested::NestedModel;
use nestc::ir::text_int::parse;
use nestc::ir::verify_int::verify;
use nestc::passes::{CompileOptions, Observer, Preferences, compile, encode, find_pass, sketch};

use crate::golden::{SMALL, expect};
use crate::random::{ModelBuilder, Random, conv};

fn compile_error(model: NestedModel) -> Diagnostics {
    compile(model, &CompileOptions::default(), &mut ()).expect_err("refused")
}

fn chain(input: Shape, ops: Vec<FloatOp>) -> NestedModel {
    let (mut b, mut value) = ModelBuilder::new(input, 1);
    for op in ops {
        value = b.node(op, &[value]);
    }
    b.finish(&[value])
}

fn warning() -> Diagnostics {
    struct Warnings(Diagnostics);
    impl Observer for Warnings {
        fn warning(&mut self, diagnostic: Diagnostic) {
            self.0.push(diagnostic);
        }
    }
    let mut seen = Warnings(Diagnostics::default());
    let model = chain(Shape::map(1, 2, 2), vec![FloatOp::Relu]);
    compile(model, &CompileOptions::default(), &mut seen).expect("compiles");
    seen.0
}

fn not_finite() -> Diagnostics {
    let huge = FloatOp::ChannelAffine {
        scale: vec![1e30],
        shift: vec![0.0],
    };
    let ops = vec![huge.clone(), FloatOp::Relu, huge, FloatOp::Relu];
    compile_error(chain(Shape::map(1, 2, 2), ops))
}

fn pad_below_relu() -> Diagnostics {
    let pad = FloatOp::Pad(Pad {
        c: [1, 0],
        h: [0; 2],
        w: [0; 2],
        value: -1.0,
    });
    let x = Shape::map(1, 2, 2);
    let c = FloatOp::Conv(conv(&mut Random(1), x, 2, 1, Window::UNIT, true));
    compile_error(chain(x, vec![c, FloatOp::Relu, pad]))
}

fn too_many_channels() -> Diagnostics {
    let x = Shape::map(70_000, 1, 1);
    let c = FloatOp::Conv(conv(&mut Random(1), x, 2, 1, Window::UNIT, false));
    compile_error(chain(x, vec![c]))
}

/// Every operation without an int8 form at once, and one beside that has one.
fn float_only() -> Diagnostics {
    let shape = Shape::map(4, 2, 2);
    let (mut b, x) = ModelBuilder::new(shape, 1);
    let constant = |n: usize| {
        FloatOp::WithConstant(WithConstant {
            op: Binary::Div,
            shape: Shape::map(n, 1, 1),
            data: vec![2.0; n],
            constant_first: true,
        })
    };
    let mean = b.node(FloatOp::GlobalAvgPool, &[x]);
    let table = b.node(constant(1), &[x]);
    let parts = b.node(constant(4), &[table]);
    let joined = b.node(FloatOp::Binary(Binary::Div), &[parts, mean]);
    let model = b.finish(&[joined, mean]);
    let found = compile_error(model.clone());
    // A sketch finds the same, and lays out the rest as if they were there.
    let sketch = sketch(model, &Preferences::default());
    assert_eq!(sketch.findings, found);
    let encoded = sketch.encoded.expect("the rest can be laid out");
    assert_eq!(encoded.graph.layers.len(), 4);
    found
}

fn small() -> IntGraph {
    parse(SMALL).expect("reads")
}

fn malformed() -> Diagnostics {
    let mut graph = small();
    graph.outputs.clear();
    verify(&graph).expect_err("refused")
}

fn unreadable() -> Diagnostics {
    let text = SMALL.replace("= add(", "= plus(");
    parse(&text).expect_err("refused")
}

/// A kernel, a layer and a pair of both that do not exist.
fn kernels() -> Vec<Diagnostics> {
    let refused = |forced: &[&str]| {
        let preferences = Preferences {
            forced: forced.iter().map(|f| f.parse().expect("reads")).collect(),
            ..Preferences::default()
        };
        encode(small(), &preferences).expect_err("refused")
    };
    vec![
        refused(&["fast", "conv9=conv2d_s8_generic__armv7em"]),
        refused(&["second=depthwise_s8_dense__armv7em"]),
        refused(&["first=dense_s8_dense__armv7em"]),
    ]
}

#[test]
fn findings_read_as_recorded() {
    let all = [
        warning(),
        not_finite(),
        pad_below_relu(),
        too_many_channels(),
        float_only(),
        find_pass("optimise").expect_err("refused"),
        malformed(),
        unreadable(),
    ];
    let texts: Vec<String> = (all.iter().chain(&kernels()))
        .map(ToString::to_string)
        .collect();
    expect("../passes.txt", &(texts.join("\n\n") + "\n"));
}
