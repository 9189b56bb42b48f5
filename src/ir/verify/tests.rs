//! Each rule has a sound graph and a change that breaks that rule.

use super::*;
use crate::ir::float::{
    Axis, Binary, Coordinates, Dense, Interpolation, OutputLayout, Pad, Rearrange, Resize, Slice,
    Value, WithConstant,
};
use crate::ir::ids::{Id, NodeId};
use crate::ir::nested::{ChannelOrder, LevelInfo, LevelParams, NestedModel, PRUNED, Preprocessing};

/// input 2x4x4 -> conv -> batch_norm -> max_pool -> pad -> slice -> channel_affine -> flatten ->
/// dense, with a residual sum behind the normalisation.
pub(crate) fn sound() -> FloatGraph {
    let mut graph = FloatGraph {
        name: "sound".into(),
        ..FloatGraph::default()
    };
    let mut value = |name: &str, shape| {
        graph.values.push(Value {
            name: name.into(),
            shape,
        })
    };
    let input = value("input", Shape::map(2, 4, 4));
    let window = |kernel, pads| Window {
        kernel,
        pads,
        ..Window::UNIT
    };
    let conv = Conv {
        weight: (0..36).map(|i| i as f32 / 8.0 - 2.0).collect(),
        bias: Some(vec![0.5, -0.5]),
        out_channels: 2,
        group_channels: 2,
        groups: 1,
        window: window([3, 3], [1; 4]),
    };
    let norm = BatchNorm {
        gamma: vec![1.0, 2.0],
        beta: vec![0.0, 1.0],
        mean: vec![0.1, 0.2],
        var: vec![1.0, 0.0],
        epsilon: 1e-5,
    };
    let pad = Pad {
        c: [0, 1],
        h: [1, 0],
        w: [0, 0],
        value: 0.25,
    };
    let slice = Slice {
        start: [0, 1, 0],
        step: [1, 1, 2],
        count: [3, 2, 2],
    };
    let affine = FloatOp::ChannelAffine {
        scale: vec![1.0, 2.0, 3.0],
        shift: vec![0.0, -1.0, 1e-9],
    };
    let dense = Dense {
        weight: vec![0.125; 24],
        bias: None,
        out_features: 2,
        in_features: 12,
    };
    let steps = [
        (FloatOp::Conv(conv), Shape::map(2, 4, 4)),
        (FloatOp::BatchNorm(norm), Shape::map(2, 4, 4)),
        (FloatOp::Add, Shape::map(2, 4, 4)),
        (FloatOp::Relu, Shape::map(2, 4, 4)),
        (
            FloatOp::MaxPool(window([2, 2], [0; 4])),
            Shape::map(2, 3, 3),
        ),
        (FloatOp::Pad(pad), Shape::map(3, 4, 3)),
        (FloatOp::Slice(slice), Shape::map(3, 2, 2)),
        (affine, Shape::map(3, 2, 2)),
        (FloatOp::Flatten, Shape::vector(12)),
        (FloatOp::Dense(dense), Shape::vector(2)),
        (FloatOp::Softmax, Shape::vector(2)),
    ];
    let mut last = input;
    for (i, (op, shape)) in steps.into_iter().enumerate() {
        let name = format!("{}{i}", op.name());
        let output = graph.values.push(Value {
            name: name.clone(),
            shape,
        });
        let mut inputs = vec![last];
        if op == FloatOp::Add {
            inputs.push(input);
        }
        graph.nodes.push(Node {
            name,
            op,
            inputs,
            output,
        });
        last = output;
    }
    graph.input = Some(input);
    graph.outputs = vec![last];
    graph
}

fn node(i: usize) -> NodeId {
    NodeId::from_index(i)
}
fn value(i: usize) -> ValueId {
    ValueId::from_index(i)
}

/// The sound graph of three levels, the conv's weights nested, normalisation and bias per level.
pub(crate) fn sound_nested() -> NestedModel {
    let mut graph = sound();
    let FloatOp::Conv(conv) = &mut graph.nodes[node(0)].op else {
        unreachable!("node 0 is the conv")
    };
    let levels: Vec<u8> = (0..36).map(|i| [0, 1, 2, PRUNED][i % 4]).collect();
    for (w, &l) in conv.weight.iter_mut().zip(&levels) {
        if l == PRUNED {
            *w = 0.0;
        }
    }
    let FloatOp::BatchNorm(bn) = graph.nodes[node(1)].op.clone() else {
        unreachable!("node 1 is the normalisation")
    };
    let mut model = NestedModel::plain(graph);
    model.levels = [0.75, 0.5, 0.25]
        .map(|sparsity| LevelInfo {
            sparsity,
            accuracy_top1: None,
        })
        .to_vec();
    model.weight_levels.insert(node(0), levels);
    let norms = [3.0, 2.0, 0.0].map(|shift| {
        let mut own = bn.clone();
        own.mean.iter_mut().for_each(|m| *m += shift);
        LevelParams::BatchNorm(own)
    });
    model.level_params.insert(node(1), norms.to_vec());
    let biases = [vec![1.0, 2.0], vec![3.0, 4.0], vec![0.5, -0.5]];
    let biases = biases.map(LevelParams::Bias).to_vec();
    model.level_params.insert(node(0), biases);
    model
}

fn conv(graph: &mut FloatGraph) -> &mut Conv {
    match &mut graph.nodes[node(0)].op {
        FloatOp::Conv(conv) => conv,
        op => unreachable!("{}", op.name()),
    }
}

#[test]
fn the_sound_graph_is_sound() {
    assert_eq!(verify(&sound()), []);
    assert_eq!(verify_nested(&sound_nested()), []);
}

/// Applies each change to the sound graph and expects that rule among the breaches.
#[test]
fn every_graph_rule_can_fail() {
    type Change = fn(&mut FloatGraph);
    let cases: &[(&str, Change)] = &[
        ("V001", |g| g.input = None),
        ("V002", |g| g.input = Some(value(99))),
        ("V002", |g| g.outputs.push(value(99))),
        ("V002", |g| g.nodes[node(3)].inputs[0] = value(99)),
        ("V002", |g| g.nodes[node(3)].output = value(99)),
        ("V003", |g| g.nodes[node(3)].output = value(2)),
        ("V004", |g| g.nodes[node(1)].inputs[0] = value(5)),
        ("V005", |g| g.nodes[node(2)].inputs.truncate(1)),
        ("V005", |g| g.nodes[node(0)].inputs.push(value(0))),
        ("V006", |g| conv(g).window.stride[1] = 0),
        ("V006", |g| conv(g).window.pads[3] = usize::MAX),
        ("V006", |g| conv(g).groups = 0),
        ("V006", |g| conv(g).groups = 2),
        ("V006", |g| conv(g).group_channels = 3),
        ("V006", |g| {
            g.nodes[node(4)].op = FloatOp::MaxPool(Window {
                dilation: [0, 1],
                ..Window::UNIT
            });
        }),
        ("V006", |g| {
            if let FloatOp::Pad(pad) = &mut g.nodes[node(5)].op {
                pad.h[0] = usize::MAX;
            }
        }),
        ("V006", |g| {
            if let FloatOp::Slice(slice) = &mut g.nodes[node(6)].op {
                slice.start[1] = 3;
            }
        }),
        ("V006", |g| {
            if let FloatOp::Slice(slice) = &mut g.nodes[node(6)].op {
                slice.count[2] = 0;
            }
        }),
        ("V006", |g| {
            g.nodes[node(3)].op = FloatOp::Unary(Unary::Clip {
                low: 1.0,
                high: -1.0,
            });
        }),
        ("V006", |g| {
            g.nodes[node(3)].op = FloatOp::Unary(Unary::Int8 {
                scale: 0.0,
                zero_point: 0,
            });
        }),
        ("V006", |g| {
            g.nodes[node(3)].op = FloatOp::Select {
                axis: Axis::C,
                indices: Vec::new(),
            };
        }),
        ("V006", |g| {
            g.nodes[node(3)].op = FloatOp::Rearrange(Rearrange {
                factors: vec![usize::MAX, 2],
                perm: vec![1, 0],
                shape: Shape::map(2, 4, 4),
            });
        }),
        ("V006", |g| {
            g.nodes[node(3)].op = FloatOp::Resize(Resize {
                size: [4, 4],
                scale: [1.0, 0.0],
                coordinates: Coordinates::Asymmetric,
                interpolation: Interpolation::Linear,
            });
        }),
        ("V007", |g| {
            g.nodes[node(3)].op = FloatOp::WithConstant(WithConstant {
                op: Binary::Mul,
                shape: Shape::map(2, 1, 1),
                data: vec![1.0],
                constant_first: false,
            });
        }),
        ("V008", |g| {
            g.nodes[node(3)].op = FloatOp::PRelu(vec![0.5; 3])
        }),
        ("V008", |g| {
            g.nodes[node(3)].op = FloatOp::Select {
                axis: Axis::C,
                indices: vec![0, 2],
            };
        }),
        ("V008", |g| {
            g.nodes[node(3)].op = FloatOp::ChannelShuffle { groups: 3 };
        }),
        ("V008", |g| {
            g.nodes[node(3)].op = FloatOp::Rearrange(Rearrange {
                factors: vec![8, 4],
                perm: vec![0, 0],
                shape: Shape::map(2, 4, 4),
            });
        }),
        ("V008", |g| {
            g.nodes[node(3)].op = FloatOp::WithConstant(WithConstant {
                op: Binary::Mul,
                shape: Shape::map(2, 3, 1),
                data: vec![1.0; 6],
                constant_first: false,
            });
        }),
        ("V008", |g| g.nodes[node(2)].op = FloatOp::Concat(Axis::W)),
        ("V010", |g| {
            g.nodes[node(3)].op = FloatOp::Unary(Unary::Elu { alpha: f32::NAN });
        }),
        ("V012", |g| {
            g.output_layouts = vec![OutputLayout::default(); 2];
        }),
        ("V012", |g| {
            g.output_layouts = vec![OutputLayout {
                pixel_major: false,
                dims: vec![3],
            }];
        }),
        ("V007", |g| {
            conv(g).weight.pop();
        }),
        ("V007", |g| conv(g).bias = Some(vec![0.0])),
        ("V007", |g| {
            if let FloatOp::BatchNorm(bn) = &mut g.nodes[node(1)].op {
                bn.beta.push(0.0);
            }
        }),
        ("V007", |g| {
            if let FloatOp::ChannelAffine { shift, .. } = &mut g.nodes[node(7)].op {
                shift.pop();
            }
        }),
        ("V007", |g| {
            if let FloatOp::Dense(dense) = &mut g.nodes[node(9)].op {
                dense.in_features = 11;
            }
        }),
        ("V008", |g| g.values[value(1)].shape.c = 3),
        ("V008", |g| conv(g).window.kernel = [9, 1]),
        ("V009", |g| g.values[value(11)].shape.c = 0),
        ("V009", |g| g.values[value(0)].shape.h = usize::MAX),
        ("V010", |g| conv(g).weight[7] = f32::NAN),
        ("V010", |g| conv(g).bias = Some(vec![f32::INFINITY, 0.0])),
        ("V010", |g| {
            if let FloatOp::BatchNorm(bn) = &mut g.nodes[node(1)].op {
                bn.var[0] = -1.0;
            }
        }),
        ("V010", |g| {
            if let FloatOp::BatchNorm(bn) = &mut g.nodes[node(1)].op {
                bn.epsilon = f32::INFINITY;
            }
        }),
        ("V010", |g| {
            if let FloatOp::Pad(pad) = &mut g.nodes[node(5)].op {
                pad.value = f32::NEG_INFINITY;
            }
        }),
        ("V011", |g| {
            g.nodes[node(4)].op = FloatOp::MaxPool(Window {
                kernel: [2, 2],
                pads: [2, 0, 0, 0],
                ..Window::UNIT
            });
            g.values[value(5)].shape.h = 5;
        }),
        ("V012", |g| g.outputs.clear()),
        ("V012", |g| g.outputs.push(value(11))),
        ("V012", |g| g.outputs.push(value(0))),
        ("V013", |g| g.values[value(3)].name = "input".into()),
        ("V013", |g| g.nodes[node(3)].name.clear()),
        ("V014", |g| g.nodes[node(2)].inputs[0] = value(0)),
    ];
    for (i, (rule, change)) in cases.iter().enumerate() {
        let mut graph = sound();
        change(&mut graph);
        let breaches = verify(&graph);
        assert!(
            breaches.iter().any(|b| b.rule == *rule),
            "case {i}: {rule} not in {breaches:?}"
        );
    }
}

/// The preprocessing of a sound model, which is given one for each channel.
fn preparation(model: &mut NestedModel) -> &mut Preprocessing {
    let channels = model.graph.input_shape().c;
    (model.preprocessing).get_or_insert_with(|| Preprocessing::identity(channels))
}

#[test]
fn preprocessing_may_have_one_value_for_all_channels() {
    let mut model = sound_nested();
    preparation(&mut model);
    assert_eq!(verify_nested(&model), []);
    preparation(&mut model).mean = vec![0.5];
    preparation(&mut model).std = vec![2.0];
    assert_eq!(verify_nested(&model), []);
}

#[test]
fn every_nested_rule_can_fail() {
    type Change = fn(&mut NestedModel);
    let cases: &[(&str, Change)] = &[
        ("V020", |m| m.levels.clear()),
        ("V020", |m| m.levels = vec![LevelInfo::default(); 255]),
        ("V020", |m| m.levels[0].sparsity = 0.1),
        ("V020", |m| m.levels[2].sparsity = f64::NAN),
        ("V021", |m| {
            m.weight_levels.insert(node(2), vec![]);
        }),
        ("V021", |m| {
            m.weight_levels.insert(node(99), vec![]);
        }),
        ("V021", |m| {
            m.weight_levels.insert(node(0), vec![0; 35]);
        }),
        ("V021", |m| {
            m.weight_levels.insert(node(0), vec![3; 36]);
        }),
        ("V022", |m| {
            m.weight_levels.insert(node(0), vec![PRUNED; 36]);
        }),
        ("V023", |m| {
            m.level_params.insert(node(99), vec![]);
        }),
        ("V023", |m| {
            m.level_params.insert(node(1), vec![]);
        }),
        ("V023", |m| {
            let wrong = vec![LevelParams::Bias(vec![0.0; 2]); 3];
            m.level_params.insert(node(1), wrong);
        }),
        ("V023", |m| {
            let wrong = vec![LevelParams::Bias(vec![0.0; 3]); 3];
            m.level_params.insert(node(0), wrong);
        }),
        ("V023", |m| {
            let wrong = vec![LevelParams::Bias(vec![f32::NAN; 2]); 3];
            m.level_params.insert(node(0), wrong);
        }),
        ("V024", |m| conv(&mut m.graph).bias = None),
        ("V025", |m| preparation(m).scale = f32::INFINITY),
        ("V025", |m| preparation(m).mean.clear()),
        ("V025", |m| preparation(m).mean.push(1.0)),
        ("V025", |m| preparation(m).mean[0] = f32::NAN),
        ("V025", |m| preparation(m).std = vec![1.0; 7]),
        ("V025", |m| preparation(m).std[0] = 0.0),
        ("V025", |m| preparation(m).std[0] = -1.0),
        ("V025", |m| preparation(m).std[0] = f32::INFINITY),
        ("V025", |m| preparation(m).order = ChannelOrder::Bgr),
    ];
    for (i, (rule, change)) in cases.iter().enumerate() {
        let mut model = sound_nested();
        change(&mut model);
        let breaches = verify_nested(&model);
        assert!(
            breaches.iter().any(|b| b.rule == *rule),
            "case {i}: {rule} not in {breaches:?}"
        );
    }
}

#[test]
fn the_table_of_rules_is_the_tested_one() {
    let documented: HashSet<&str> = include_str!("mod.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | V")?.split(' ').next())
        .collect();
    let tested: HashSet<&str> = include_str!("tests.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"V")?.split('"').next())
        .collect();
    assert_eq!(documented, tested);
}

#[test]
fn several_breaches_come_together() {
    let mut graph = sound();
    conv(&mut graph).weight.pop();
    graph.outputs.clear();
    let rules: HashSet<_> = verify(&graph).iter().map(|b| b.rule).collect();
    assert!(rules.is_superset(&HashSet::from(["V007", "V012"])));
}
