//! Networks with the operations of `ir::float_ops`, each behind something trained.

use super::*;
use crate::ir::text;

fn unary(op: Unary) -> FloatOp {
    FloatOp::Unary(op)
}

fn constant(op: Binary, shape: Shape, constant_first: bool) -> FloatOp {
    // Away from zero, so that it may divide.
    let data = Numbers(shape.len() as u32).around(shape.len(), 1.5, 0.5);
    FloatOp::WithConstant(WithConstant {
        op,
        shape,
        data,
        constant_first,
    })
}

fn resize(
    size: [usize; 2],
    from: [usize; 2],
    coordinates: Coordinates,
    interpolation: Interpolation,
) -> FloatOp {
    FloatOp::Resize(Resize {
        size,
        scale: [0, 1].map(|a| size[a] as f32 / from[a] as f32),
        coordinates,
        interpolation,
    })
}

/// Operations over one map of 4 channels, 3 rows and 4 columns.
fn single() -> Vec<(&'static str, FloatOp)> {
    use Coordinates::*;
    use Interpolation::*;
    let mut all = vec![
        (
            "clip",
            unary(Unary::Clip {
                low: -0.5,
                high: 0.75,
            }),
        ),
        (
            "clip above",
            unary(Unary::Clip {
                low: f32::NEG_INFINITY,
                high: 0.25,
            }),
        ),
        ("leaky relu", unary(Unary::LeakyRelu { alpha: 0.1 })),
        ("elu", unary(Unary::Elu { alpha: 0.8 })),
        ("sigmoid", unary(Unary::Sigmoid)),
        (
            "hard sigmoid",
            unary(Unary::HardSigmoid {
                alpha: 0.4,
                beta: 0.5,
            }),
        ),
        ("hard swish", unary(Unary::HardSwish)),
        ("silu", unary(Unary::Silu)),
        ("tanh", unary(Unary::Tanh)),
        ("exp", unary(Unary::Exp)),
        ("prelu", FloatOp::PRelu(vec![0.25, -0.5, 0.0, 2.0])),
        ("softmax at every pixel", FloatOp::Softmax),
        (
            "select channels",
            FloatOp::Select {
                axis: Axis::C,
                indices: vec![3, 0, 3],
            },
        ),
        (
            "select rows",
            FloatOp::Select {
                axis: Axis::H,
                indices: vec![2, 1, 0, 2],
            },
        ),
        (
            "select columns",
            FloatOp::Select {
                axis: Axis::W,
                indices: vec![1],
            },
        ),
        ("channel shuffle", FloatOp::ChannelShuffle { groups: 2 }),
        (
            "depth to space",
            FloatOp::Rearrange(Rearrange {
                factors: vec![2, 2, 3, 4],
                perm: vec![2, 0, 3, 1],
                shape: Shape::map(1, 6, 8),
            }),
        ),
    ];
    for (op, shape, first) in [
        (Binary::Add, Shape::map(4, 3, 4), false),
        (Binary::Sub, Shape::map(1, 3, 1), true),
        (Binary::Mul, Shape::map(1, 3, 4), false),
        (Binary::Div, Shape::map(4, 1, 4), false),
        (Binary::Min, Shape::map(4, 1, 1), false),
        (Binary::Max, Shape::map(1, 1, 1), true),
    ] {
        all.push(("a constant", constant(op, shape, first)));
    }
    let from = [3, 4];
    for (size, coordinates, interpolation) in [
        ([6, 8], Asymmetric, Floor),
        ([5, 7], HalfPixel, RoundPreferFloor),
        ([2, 3], HalfPixel, RoundPreferCeil),
        ([4, 4], Asymmetric, Ceil),
        ([6, 8], HalfPixel, Linear),
        ([7, 2], AlignCorners, Linear),
        ([1, 9], PytorchHalfPixel, Linear),
    ] {
        all.push(("resize", resize(size, from, coordinates, interpolation)));
    }
    all
}

pub(super) fn networks() -> Vec<(&'static str, FloatGraph)> {
    let mut all = Vec::new();
    let map = Shape::map(2, 3, 4);
    for (name, op) in single() {
        let (mut net, x) = Net::new(map);
        let y = net.conv(x, 4, 1, SAME3, true);
        let y = net.add(op, &[y]);
        // A reader with a margin of its own.
        let y = net.conv(y, 2, 1, SAME3, false);
        all.push((name, net.finish(y)));
    }
    for op in Binary::ALL {
        let (mut net, x) = Net::new(map);
        let a = net.conv(x, 4, 1, SAME3, true);
        let b = net.conv(x, 4, 1, SAME3, true);
        // Above zero, so that it may divide.
        let b = net.add(unary(Unary::Exp), &[b]);
        let y = net.add(FloatOp::Binary(op), &[a, b]);
        let gate = net.add(FloatOp::GlobalAvgPool, &[b]);
        let y = net.add(FloatOp::Binary(op), &[y, gate]);
        all.push(("of two maps and a vector", net.finish(y)));
        let (mut net, x) = Net::new(map);
        let a = net.conv(x, 4, 1, SAME3, true);
        let a = net.add(unary(Unary::Exp), &[a]);
        let gate = net.add(FloatOp::GlobalAvgPool, &[a]);
        let y = net.add(FloatOp::Binary(op), &[gate, a]);
        let y = net.add(FloatOp::Binary(op), &[y, y]);
        all.push((
            "of a vector and a map, of a value and itself",
            net.finish(y),
        ));
    }
    for (axis, shape) in [
        (Axis::C, Shape::map(3, 3, 4)),
        (Axis::H, Shape::map(4, 2, 4)),
        (Axis::W, Shape::map(4, 3, 1)),
    ] {
        let (mut net, x) = Net::new(map);
        let a = net.conv(x, 4, 1, SAME3, true);
        let keep = FloatOp::Slice(Slice {
            start: [0; 3],
            step: [1; 3],
            count: shape.extents(),
        });
        let b = net.add(keep, &[a]);
        let y = net.add(FloatOp::Concat(axis), &[b, a, b]);
        let y = net.conv(y, 2, 1, SAME3, true);
        all.push(("concat", net.finish(y)));
    }
    all.push(("several outputs", several_outputs()));
    all
}

/// Outputs that nothing else reads, that another layer reads, and that normalisation gives.
fn several_outputs() -> FloatGraph {
    let (mut net, x) = Net::new(Shape::map(2, 3, 4));
    let stem = net.conv(x, 4, 1, SAME3, false);
    let stem = net.bn(stem);
    let stem = net.add(FloatOp::Relu, &[stem]);
    let scores = net.conv(stem, 6, 1, Window::UNIT, true);
    let boxes = net.conv(stem, 4, 1, SAME3, false);
    let boxes = net.bn(boxes);
    let scores = net.add(unary(Unary::Sigmoid), &[scores]);
    let last = net.conv(boxes, 3, 1, SAME3, true);
    let mut graph = net.finish(last);
    graph.outputs = vec![scores, stem, boxes, last];
    graph
}

/// Every operation, and outputs laid out in another way, as text.
#[test]
fn texts_of_all_networks_read_back() {
    for (name, mut graph) in super::networks() {
        graph.output_layouts = (graph.outputs.iter().enumerate())
            .map(|(i, &v)| OutputLayout {
                pixel_major: i % 2 == 0,
                dims: vec![graph.shape(v).len()],
            })
            .collect();
        let text = text::print(&graph, text::Weights::Full);
        assert_eq!(text::parse(&text).as_ref(), Ok(&graph), "{name}");
    }
}
