//! A failing case for every rule.

use super::*;
use crate::ir::ids::{Id, LayerId, TensorId};
use crate::ir::int::{IntBinary, IntGraph, IntMove, IntOp, ModelCounts, Quant};
use crate::ir::program::{Payload, Step, word_bytes};
use crate::ir::text_int;
use crate::passes::Preferences;
use crate::units::Macs;

/// A graph of every operator, two levels.
const TEXT: &str = r#"int "all"
sparsities [0.9, 0.5]
tensor t0 "x" shape=[2, 4, 4] quant=[[0.5, -1], [0.5, -1]]
tensor t1 "c1" shape=[2, 4, 4] quant=[[0.5, -128], [0.25, -128]]
tensor t2 "c2" shape=[2, 4, 4] quant=[[0.5, -128], [0.25, -128]]
tensor t3 "sum" shape=[2, 4, 4] quant=[[0.5, -128], [0.25, -128]]
tensor t4 "padded" shape=[3, 5, 4] quant=[[0.5, -128], [0.25, -128]]
tensor t5 "capped" shape=[3, 5, 4] quant=[[0.5, -128], [0.25, -128]]
tensor t6 "selected" shape=[2, 2, 2] quant=[[0.5, -128], [0.25, -128]]
tensor t7 "largest" shape=[2, 1, 2] quant=[[0.5, -128], [0.25, -128]]
tensor t8 "average" shape=[2, 1, 2] quant=[[0.5, -128], [0.25, -128]]
tensor t9 "mean" shape=[2, 1, 1] quant=[[0.5, -128], [0.25, -128]]
tensor t10 "shares" shape=[2, 1, 1] quant=[[0.00390625, -128], [0.00390625, -128]]
tensor t11 "looked" shape=[2, 1, 1] quant=[[0.5, 0], [0.5, 0]]
tensor t12 "sloped" shape=[2, 1, 1] quant=[[0.5, 0], [0.5, 0]]
tensor t13 "joined" shape=[3, 1, 2] quant=[[0.5, 0], [0.5, 0]]
tensor t14 "scaled" shape=[3, 1, 2] quant=[[0.5, 0], [0.5, 0]]
tensor t15 "sized" shape=[3, 2, 3] quant=[[0.5, 0], [0.5, 0]]
tensor t16 "less" shape=[3, 2, 3] quant=[[0.5, 0], [0.5, 0]]
tensor t17 "both" shape=[3, 2, 3] quant=[[0.5, 0], [0.5, 0]]
input t0
t1 = conv(t0) "conv" kernel=[3, 3] stride=[1, 1] pads=[1, 1, 1, 1] dilation=[1, 1] out=2 group_channels=2 groups=1
  weight_scale=[0.125, 0.5]
  weight=[1, 0, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -9]
  weight_levels=[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
  requant=[[[0, 1000000], [5, 2000000]], [[0, 1000000], [5, 2000000]]]
t2 = conv(t1) "depthwise" kernel=[1, 1] stride=[1, 1] pads=[0, 0, 0, 0] dilation=[1, 1] out=2 group_channels=1 groups=2
  weight_scale=[0.125, 0.5]
  weight=[100, -100]
  requant=[[[0, 1000000], [5, 2000000]], [[0, 1000000], [5, 2000000]]]
t3 = add(t1, t2) "add" params=[[16384, 16384, 8192, 14], [1, 2, 3, 4]]
t4 = pad(t3) "pad" c=[0, 1] h=[1, 0] w=[0, 0] value=[-128, -128]
t5 = clamp(t4) "clamp" bounds=[[-128, 127], [-128, -68]]
t6 = move(t5) "slice" nests=[[[4, 0, [[2, 24, 4], [4, 1, 1]]]]] tables=[[]]
t7 = max_pool(t6) "max_pool" kernel=[2, 1] stride=[1, 1] pads=[0, 0, 0, 0] dilation=[1, 1]
t8 = avg_pool(t7) "avg_pool" kernel=[1, 2] stride=[1, 1] pads=[0, 1, 0, 0] dilation=[1, 1] include_pad=0 requant=[[[1, 2], [3, 4]], [[1, 2], [3, 4]]]
t9 = global_avg_pool(t8) "mean" requant=[[1, 2], [3, 4]]
t10 = softmax(t9) "softmax" tables=TABLES
t11 = lookup(t10) "lookup" tables=TABLES
t12 = prelu(t11) "prelu" params=[[[1, 2, 3, 4], [5, 6, 7, 8]], [[1, 2, 3, 4], [5, 6, 7, 8]]]
t13 = move(t12, t8) "move" nests=[[[0, 0, [[2, 1, 3]]]], [[0, 1, [[2, 1, 1]]], [2, 4, [[2, 1, 1]]]]] tables=[[], TABLES]
t14 = product(t13) "product" params=[[0, 1, 2, 3], [0, 1, 2, 3]] constant_shape=[3, 1, 1] constant=[1, 2, 3]
t15 = resize(t14) "resize" rows=[[0, 0, 0], [0, 0, 256]] columns=[[0, 0, 0], [0, 1, 128], [1, 1, 0]]
t16 = least(t15, t15) "least" params=[[[1, 0, 3, 4], [5, 0, 7, 8]], [[1, 0, 3, 4], [5, 0, 7, 8]]]
t17 = sum(t16, t15) "sum" params=[[1, 2, 3, 4], [1, 2, 3, 4]]
output t17
"#;

fn graph() -> IntGraph {
    let table = format!("[{}]", vec!["7"; 256].join(", "));
    let text = TEXT.replace("TABLES", &format!("[{table}, {table}]"));
    text_int::parse(&text).unwrap()
}

fn layer(g: &mut IntGraph, i: usize) -> &mut IntOp {
    &mut g.layers[LayerId::from_index(i)].op
}

fn id(i: usize) -> TensorId {
    TensorId::from_index(i)
}

/// The rules a diagnostic list names.
fn rules(result: crate::diag::Result<()>) -> Vec<String> {
    let Err(all) = result else { return Vec::new() };
    (all.0.iter())
        .filter_map(|d| {
            assert_eq!(d.code, crate::diag::IR_INVALID);
            d.message
                .strip_prefix("rule ")?
                .split(',')
                .next()
                .map(str::to_owned)
        })
        .collect()
}

fn breaks(rule: &str, change: impl FnOnce(&mut IntGraph)) {
    let mut g = graph();
    change(&mut g);
    let found = rules(verify(&g));
    assert!(
        found.iter().any(|r| r == rule),
        "{rule} is not among {found:?}"
    );
}

#[test]
fn a_sound_graph_passes() {
    verify(&graph()).unwrap();
}

#[test]
fn each_rule_of_the_graph_has_a_breach() {
    breaks("I1", |g| g.sparsities.clear());
    breaks("I1", |g| g.tensors[id(3)].quant.truncate(1));
    breaks("I2", |g| g.layers[LayerId::from_index(1)].inputs[0] = id(4));
    breaks("I2", |g| {
        g.layers[LayerId::from_index(1)].inputs[0] = id(99)
    });
    breaks("I2", |g| g.layers[LayerId::from_index(1)].output = id(1));
    breaks("I2", |g| g.layers[LayerId::from_index(1)].output = id(99));
    breaks("I2", |g| g.input = id(99));
    breaks("I2", |g| g.outputs.push(id(99)));
    breaks("I3", |g| g.tensors[id(0)].quant[1].scale = 0.25);
    breaks("I3", |g| g.outputs.clear());
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        breaks("I4", |g| g.tensors[id(3)].quant[1].scale = scale);
    }
    for t in [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17] {
        breaks("I5", |g| g.tensors[id(t)].shape.w += 1);
    }
    breaks("I5", |g| {
        g.layers[LayerId::from_index(2)].inputs.truncate(1)
    });
    breaks("I5", |g| {
        g.layers[LayerId::from_index(3)].inputs.push(id(1))
    });
    breaks("I5", |g| match layer(g, 0) {
        IntOp::Conv(c) => c.window.stride = [0, 1],
        _ => unreachable!(),
    });
    breaks("I7", |g| {
        g.tensors[id(4)].quant[0] = Quant {
            scale: 0.5,
            zero_point: 0,
        }
    });
    breaks("I7", |g| g.tensors[id(15)].quant[1].zero_point = 3);
    breaks("I10", |g| g.tensors[id(10)].quant[0].zero_point = 0);
}

#[test]
fn each_rule_of_layers_without_weights_has_a_breach() {
    // The order of layers is that of their outputs, from t1 on.
    fn moves(g: &mut IntGraph) -> &mut Vec<IntMove> {
        match layer(g, 12) {
            IntOp::Move(moves) => moves,
            _ => unreachable!(),
        }
    }
    breaks("I5", |g| {
        g.layers[LayerId::from_index(12)].inputs.pop();
    });
    breaks("I5", |g| {
        moves(g).clear();
        g.layers[LayerId::from_index(12)].inputs.clear();
    });
    let changes: [fn(&mut Vec<IntMove>); 8] = [
        // Read outside, written outside, written twice, left out, without a round, more elements
        // than there are (by far), too deep.
        |m| m[0].nests[0].from = 1,
        |m| m[1].nests[1].to = 5,
        |m| m[1].nests[1].to = 1,
        |m| m[1].nests.truncate(1),
        |m| m[0].nests[0].loops.push([0, 1, 1]),
        |m| m[0].nests[0].loops.push([u32::MAX, 0, 0]),
        |m| m[0].nests[0].loops = vec![[u32::MAX; 3]; 6],
        |m| m[0].nests[0].loops.extend([[1, 0, 0]; 6]),
    ];
    for change in changes {
        breaks("I13", |g| change(moves(g)));
    }
    breaks("I13", |g| g.tensors[id(13)].shape.w += 1);
    breaks("I8", |g| {
        moves(g)[1].tables.as_mut().map(Vec::pop);
    });
    breaks("I8", |g| match layer(g, 10) {
        IntOp::Lookup(tables) => tables.truncate(1),
        _ => unreachable!(),
    });
    breaks("I8", |g| match layer(g, 11) {
        IntOp::PRelu(params) => params.truncate(1),
        _ => unreachable!(),
    });
    breaks("I8", |g| match layer(g, 11) {
        IntOp::PRelu(params) => params[1].truncate(1),
        _ => unreachable!(),
    });
    breaks("I11", |g| match layer(g, 11) {
        IntOp::PRelu(params) => params[1][1].bias = i32::MIN,
        _ => unreachable!(),
    });
    for i in [13, 15, 16] {
        breaks("I8", |g| match layer(g, i) {
            IntOp::Binary { operation, .. } => match operation {
                IntBinary::Sum(p) => p.truncate(1),
                IntBinary::Product(p) => p.truncate(1),
                IntBinary::Least(p) | IntBinary::Largest(p) => p.truncate(1),
            },
            _ => unreachable!(),
        });
    }
    breaks("I5", |g| match layer(g, 13) {
        IntOp::Binary {
            constant: Some(constant),
            ..
        } => constant.data.truncate(2),
        _ => unreachable!(),
    });
    for i in [15, 16] {
        breaks("I11", |g| match layer(g, i) {
            IntOp::Binary { operation, .. } => match operation {
                IntBinary::Sum(p) => p[0].shift = 23,
                IntBinary::Least(p) => p[1][1].shift = 23,
                _ => unreachable!(),
            },
            _ => unreachable!(),
        });
    }
    for tap in [[1, 0, 0], [0, 1, 0], [0, 0, 257]] {
        breaks("I14", |g| match layer(g, 14) {
            IntOp::Resize { rows, .. } => rows[1] = tap,
            _ => unreachable!(),
        });
    }
    breaks("I14", |g| match layer(g, 14) {
        IntOp::Resize { columns, .. } => columns[1] = [0, 2, 0],
        _ => unreachable!(),
    });
}

fn conv_breaks(rule: &str, change: impl FnOnce(&mut crate::ir::int::IntConv)) {
    breaks(rule, |g| match layer(g, 0) {
        IntOp::Conv(c) => change(c),
        _ => unreachable!(),
    });
}

#[test]
fn each_rule_of_constants_has_a_breach() {
    conv_breaks("I6", |c| {
        c.weight.pop();
    });
    conv_breaks("I6", |c| c.weight[0] = -128);
    conv_breaks("I6", |c| {
        c.weight_levels.as_mut().map(Vec::pop);
    });
    conv_breaks("I6", |c| {
        c.weight_scale.pop();
    });
    conv_breaks("I6", |c| {
        c.requant[1].pop();
    });
    conv_breaks("I8", |c| {
        c.requant.pop();
    });
    let counts: [fn(&mut ModelCounts); 5] = [
        |m| m.out_channels = 1,
        |m| m.weights = 35,
        |m| m.nonzero[1] = 37,
        |m| m.nonzero.swap(0, 1),
        |m| m.nonzero.truncate(1),
    ];
    for change in counts {
        conv_breaks("I12", |c| {
            let mut model = c.model_counts(2);
            change(&mut model);
            c.model = Some(model);
        });
    }
    breaks("I8", |g| match layer(g, 2) {
        IntOp::Add(p) => p.truncate(1),
        _ => unreachable!(),
    });
    breaks("I8", |g| match layer(g, 3) {
        IntOp::Pad { value, .. } => value.truncate(1),
        _ => unreachable!(),
    });
    breaks("I8", |g| match layer(g, 4) {
        IntOp::Clamp(b) => b.truncate(1),
        _ => unreachable!(),
    });
    breaks("I8", |g| match layer(g, 7) {
        IntOp::AvgPool { requant, .. } => requant[0].truncate(1),
        _ => unreachable!(),
    });
    breaks("I8", |g| match layer(g, 8) {
        IntOp::GlobalAvgPool(r) => r.truncate(1),
        _ => unreachable!(),
    });
    breaks("I8", |g| match layer(g, 9) {
        IntOp::Softmax(t) => t.truncate(1),
        _ => unreachable!(),
    });
    breaks("I9", |g| match layer(g, 4) {
        IntOp::Clamp(b) => b[1] = [5, 4],
        _ => unreachable!(),
    });
    breaks("I11", |g| match layer(g, 2) {
        IntOp::Add(p) => p[0].bias = i32::MAX,
        _ => unreachable!(),
    });
    breaks("I11", |g| match layer(g, 2) {
        IntOp::Add(p) => p[0].shift = 23,
        _ => unreachable!(),
    });
}

#[test]
fn several_breaches_are_reported_together() {
    let mut g = graph();
    g.tensors[id(1)].quant[0].scale = 0.0;
    g.outputs.clear();
    let found = rules(verify(&g));
    assert!(
        found.contains(&"I4".to_owned()) && found.contains(&"I3".to_owned()),
        "{found:?}"
    );
}

/// A kernel given.
fn with(kernel: &str) -> Preferences {
    Preferences {
        forced: vec![kernel.parse().unwrap()],
        ..Preferences::default()
    }
}

fn program() -> Program {
    let encoded =
        crate::passes::encode(graph(), &with("depthwise=depthwise_s8_dense__armv7em")).unwrap();
    crate::passes::plan(encoded)
}

fn program_breaks(rule: &str, change: impl FnOnce(&mut Program)) {
    let mut p = program();
    change(&mut p);
    let found = rules(verify_program(&p));
    assert!(
        found.iter().any(|r| r == rule),
        "{rule} is not among {found:?}"
    );
}

fn step(p: &mut Program, i: usize) -> &mut Step {
    &mut p.steps[LayerId::from_index(i)]
}

#[test]
fn a_sound_program_passes() {
    verify_program(&program()).unwrap();
}

/// Ends the arena where what it holds ends.
fn fit_arena(p: &mut Program) {
    let tensors = (p.tensors.iter()).map(|t| word_bytes(t.offset + t.shape.len()));
    let scratch = p.steps.iter().map(|s| s.scratch_end().unwrap());
    p.arena_bytes.0 = tensors.chain(scratch).max().unwrap() as u64;
}

#[test]
fn each_rule_of_the_plan_has_a_breach() {
    program_breaks("P1", |p| p.tensors[id(3)].offset += 2);
    program_breaks("P1", |p| p.tensors[id(3)].offset = 4096);
    program_breaks("P1", |p| p.arena_bytes.0 += 1);
    program_breaks("P1", |p| p.arena_bytes.0 += 4);
    program_breaks("P1", |p| p.arena_bytes.0 = 1 << 50);
    program_breaks("P1", |p| p.tensors[id(3)].offset = usize::MAX - 3);
    program_breaks("P1", |p| p.tensors[id(3)].shape.h = usize::MAX / 2 + 2);
    // An arena that its tensors fill, and that no machine has.
    program_breaks("P1", |p| {
        p.tensors[id(0)].shape.h = 1 << 40;
        p.tensors[id(0)].offset = 0;
        p.arena_bytes.0 = p.tensors[id(0)].shape.len() as u64;
    });
    program_breaks("P4", |p| p.tensors[id(3)].quant.truncate(1));
    // The first convolution over its own input, but not below it.
    program_breaks("P2", |p| {
        p.tensors[id(1)].offset = p.tensors[id(0)].offset + 4;
        fit_arena(p);
    });
    // The second one over what the addition still needs.
    program_breaks("P2", |p| p.tensors[id(2)].offset = p.tensors[id(1)].offset);
    // In place by half.
    program_breaks("P2", |p| {
        p.tensors[id(3)].offset = p.tensors[id(1)].offset + 4;
        fit_arena(p);
    });
    // Scratch over the input, and over the output.
    for tensor in [0, 1] {
        program_breaks("P2", |p| {
            step(p, 0).scratch_offset = p.tensors[id(tensor)].offset / 8 * 8;
            fit_arena(p);
        });
    }
    program_breaks("P11", |p| p.fast_bytes.0 = 16);
    program_breaks("P11", |p| p.fast_bytes.0 = p.arena_bytes.0 / 32 * 32 + 32);
    program_breaks("P12", |p| p.tensors[id(2)].part_of = Some(id(77)));
    program_breaks("P12", |p| p.tensors[id(2)].part_of = Some(id(2)));
    program_breaks("P12", |p| step(p, 1).same_as = Some(LayerId::from_index(1)));
    program_breaks("P3", |p| p.outputs.clear());
    program_breaks("P3", |p| p.outputs[0] = id(77));
    program_breaks("P3", |p| step(p, 1).inputs[0] = id(9));
    program_breaks("P3", |p| step(p, 1).output = id(77));
    program_breaks("P3", |p| step(p, 2).inputs.truncate(1));
    program_breaks("P7", |p| step(p, 0).scratch_words += 1);
    program_breaks("P1", |p| step(p, 0).scratch_offset += 4);
    program_breaks("P1", |p| step(p, 0).scratch_offset = 8192);
    program_breaks("P1", |p| step(p, 0).scratch_offset = usize::MAX - 7);
    program_breaks("P1", |p| step(p, 0).scratch_words = usize::MAX / 2);
    program_breaks("P7", |p| step(p, 0).scratch_words -= 1);
    program_breaks("P9", |p| step(p, 0).kernel = "conv");
    program_breaks("P10", |p| step(p, 0).effective_macs.swap(0, 1));
    program_breaks("P10", |p| step(p, 0).effective_macs[1] = Macs(u64::MAX));
    program_breaks("P10", |p| step(p, 0).nonzero_weights.truncate(1));
    program_breaks("P10", |p| step(p, 0).live_macs.0 += 1);
    program_breaks("P10", |p| step(p, 0).model_channels -= 1);
}

#[test]
fn each_rule_of_payloads_has_a_breach() {
    fn nested(p: &mut Program) -> (&mut crate::ir::program::EncodedStream, &mut Vec<i8>) {
        match &mut step(p, 0).payload {
            Payload::ConvNested { stream, pad, .. } => (stream, pad),
            other => panic!("{other:?}"),
        }
    }
    program_breaks("P4", |p| {
        nested(p).1.pop();
    });
    program_breaks("P4", |p| match &mut step(p, 1).payload {
        Payload::Depthwise { requant, .. } => requant[0].truncate(1),
        other => panic!("{other:?}"),
    });
    program_breaks("P4", |p| match &mut step(p, 8).payload {
        Payload::GlobalAvgPool { requant, .. } => requant.truncate(1),
        other => panic!("{other:?}"),
    });
    program_breaks("P5", |p| {
        nested(p).0.words.pop();
    });
    program_breaks("P5", |p| nested(p).0.words[0] = 0x0180_01FC);
    program_breaks("P5", |p| match &mut step(p, 1).payload {
        Payload::Depthwise { weights, .. } => weights.push(0),
        other => panic!("{other:?}"),
    });
    program_breaks("P6", |p| nested(p).0.columns += 1);
    program_breaks("P6", |p| match &mut step(p, 1).payload {
        Payload::Depthwise { geometry, .. } => geometry.out_w += 1,
        other => panic!("{other:?}"),
    });
    program_breaks("P6", |p| match &mut step(p, 3).payload {
        Payload::Pad { output, .. } => output[0] += 1,
        other => panic!("{other:?}"),
    });
    let windows: [fn(&mut nest_kernels::layer::Geometry); 7] = [
        |g| g.kernel_h = 0,
        |g| g.kernel_w = 0,
        |g| g.stride_h = 0,
        |g| g.stride_w = 0,
        |g| g.dilation_h = 0,
        |g| g.dilation_w = 0,
        |g| (g.kernel_h, g.dilation_h) = (u16::MAX, u16::MAX),
    ];
    for change in windows {
        program_breaks("P6", |p| match &mut step(p, 6).payload {
            Payload::MaxPool(geometry) => change(geometry),
            other => panic!("{other:?}"),
        });
    }
    program_breaks("P6", |p| match &mut step(p, 3).payload {
        Payload::Pad { before, .. } => before[0] += 1,
        other => panic!("{other:?}"),
    });
    // Tensors that no longer fit layers without extents of their own.
    for (tensor, step) in [
        (3, "add"),
        (5, "clamp"),
        (10, "softmax"),
        (9, "mean"),
        (11, "lookup"),
        (12, "prelu"),
        (13, "move"),
        (14, "product"),
        (15, "resize"),
        (16, "least"),
    ] {
        let mut p = program();
        p.tensors[id(tensor)].shape.c -= 1;
        let found = verify_program(&p).unwrap_err().to_string();
        assert!(found.contains("rule P6"), "{step}: {found}");
        assert!(found.contains(&format!("step `{step}`")), "{step}: {found}");
    }
    program_breaks("P6", |p| match &mut step(p, 8).payload {
        Payload::GlobalAvgPool { pixels, .. } => *pixels += 1,
        other => panic!("{other:?}"),
    });
    program_breaks("P6", |p| match &mut step(p, 9).payload {
        Payload::Softmax { channels, .. } => *channels += 1,
        other => panic!("{other:?}"),
    });
    program_breaks("P4", |p| match &mut step(p, 10).payload {
        Payload::Lookup(table) => table.truncate(1),
        other => panic!("{other:?}"),
    });
    program_breaks("P4", |p| match &mut step(p, 11).payload {
        Payload::PRelu { zero, .. } => zero.truncate(1),
        other => panic!("{other:?}"),
    });
    program_breaks("P4", |p| match &mut step(p, 11).payload {
        Payload::PRelu { params, .. } => params[0].truncate(1),
        other => panic!("{other:?}"),
    });
    program_breaks("P6", |p| match &mut step(p, 12).payload {
        Payload::Move(moves) => moves[0].nests[0].from = 1,
        other => panic!("{other:?}"),
    });
    program_breaks("P4", |p| match &mut step(p, 12).payload {
        Payload::Move(moves) => moves[1].tables = Some(Vec::new()),
        other => panic!("{other:?}"),
    });
    // A row more of the first, another channel of the second, another column of the output.
    for (operand, axis) in [(0, 0), (1, 2), (2, 1)] {
        program_breaks("P6", |p| match &mut step(p, 13).payload {
            Payload::Binary { a, b, output, .. } => [a, b, output][operand][axis] += 1,
            other => panic!("{other:?}"),
        });
    }
    program_breaks("P6", |p| match &mut step(p, 14).payload {
        Payload::Resize { rows, .. } => rows[0] = [0, 1, 0],
        other => panic!("{other:?}"),
    });
    program_breaks("P6", |p| match &mut step(p, 14).payload {
        Payload::Resize { columns, .. } => columns.truncate(2),
        other => panic!("{other:?}"),
    });
}

/// Dense and nested convolutions whose inputs die: their outputs lie over them, at the least
/// distance; a word less is refused, and so is any overlap with an input that is still needed.
#[test]
fn outputs_keep_their_distance_below_their_inputs() {
    let weights = |zeros: usize| {
        let each: Vec<String> = (0..8 * 8 * 9)
            .map(|i| if i % 10 < zeros { 0 } else { i % 7 + 1 }.to_string())
            .collect();
        each.join(", ")
    };
    let requant = ["[0, 1000000]"; 8].join(", ");
    for (zeros, output) in [(0, "t3"), (8, "t3"), (8, "t3, t1")] {
        let conv = |from: usize, to: usize| {
            format!(
                "t{to} = conv(t{from}) \"c{to}\" kernel=[3, 3] stride=[1, 1] pads=[1, 1, 1, 1] \
                 dilation=[1, 1] out=8 group_channels=8 groups=1 weight_scale=[{}] weight=[{}] \
                 requant=[[{requant}]]\n",
                ["1"; 8].join(", "),
                weights(zeros)
            )
        };
        let tensors: String = (0..4)
            .map(|t| format!("tensor t{t} \"t{t}\" shape=[8, 24, 24] quant=[[1, 0]]\n"))
            .collect();
        let text = format!(
            "int \"chain\"\nsparsities [0]\n{tensors}input t0\n{}{}{}output {output}\n",
            conv(0, 1),
            conv(1, 2),
            conv(2, 3)
        );
        let graph = text_int::parse(&text).unwrap();
        let encoded = crate::passes::encode(graph, &Default::default()).unwrap();
        let p = crate::passes::plan(encoded);
        verify_program(&p).unwrap();
        let mut shared = 0;
        for (at, step) in p.steps.iter().enumerate() {
            let (x, y) = (&p.tensors[step.inputs[0]], &p.tensors[step.output]);
            let least = step.payload.least_distance().expect("a convolution");
            assert!(least > 0 && least.is_multiple_of(4));
            let beside = |distance: usize| {
                let mut y = y.clone();
                y.offset = 1 << 20;
                let mut x = x.clone();
                x.offset = y.offset + distance;
                step.may_share(&x, &y)
            };
            assert!(beside(least) && !beside(least - 1));
            if y.offset + least == x.offset {
                shared += 1;
                let mut p = p.clone();
                p.tensors[step.output].offset += 4;
                fit_arena(&mut p);
                let found = rules(verify_program(&p));
                assert!(found.contains(&"P2".to_owned()), "step {at}: {found:?}");
            }
        }
        // An input that is an output of the network stays whole.
        assert!(
            shared >= if output == "t3" { 2 } else { 1 },
            "{shared} of 3"
        );
        let maps = (p.arena_bytes - p.peak_scratch()).0 as usize / (8 * 24 * 24);
        assert_eq!(
            maps,
            if output == "t3" { 1 } else { 2 },
            "{}",
            p.arena_bytes
        );
    }
}

/// A convolution of 400 columns in a tile for 341.
#[test]
fn a_tile_too_large_is_found() {
    let zeros = vec!["0"; 400].join(", ");
    let text = format!(
        "int \"wide\"\nsparsities [0]\n\
         tensor t0 \"x\" shape=[400, 3, 3] quant=[[1, 0]]\n\
         tensor t1 \"y\" shape=[1, 3, 3] quant=[[1, 0]]\ninput t0\n\
         t1 = conv(t0) \"c\" kernel=[1, 1] stride=[1, 1] pads=[0, 0, 0, 0] dilation=[1, 1] \
         out=1 group_channels=400 groups=1 weight_scale=[1] weight=[{zeros}] requant=[[[0, 1]]]\n\
         output t1\n"
    );
    let encoded = crate::passes::encode(
        text_int::parse(&text).unwrap(),
        &with("conv2d_s8_nested__armv7em_p4"),
    )
    .unwrap();
    let mut p = crate::passes::plan(encoded);
    verify_program(&p).unwrap();
    match &mut step(&mut p, 0).payload {
        Payload::ConvNested { tile, .. } => *tile = nest_kernels::layer::Tile::P8,
        other => panic!("{other:?}"),
    }
    assert!(rules(verify_program(&p)).contains(&"P8".to_owned()));
}

#[test]
fn the_table_of_rules_has_each_once() {
    let mut names: Vec<&str> = RULES.iter().map(|r| r.0).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
}
