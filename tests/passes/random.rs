//! Seeded random networks: every operator, nested masks, parameters a level.

use std::collections::BTreeMap;

use nestc::ir::float::{
    Axis, BatchNorm, Binary, Conv, Coordinates, Dense, FloatGraph, FloatOp, Interpolation, Node,
    Pad, Rearrange, Resize, Shape, Slice, Unary, Value, Window, WithConstant,
};
use nestc::ir::ids::{NodeId, ValueId};
use nestc::ir::nested::{LevelInfo, LevelParams, NestedModel, PRUNED};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
    /// Uniform in -1..1.
    pub fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
    pub fn reals(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.real() * scale).collect()
    }
}

/// Builds a nested model node by node.
pub struct ModelBuilder {
    pub graph: FloatGraph,
    pub levels: usize,
    pub weight_levels: BTreeMap<NodeId, Vec<u8>>,
    pub level_params: BTreeMap<NodeId, Vec<LevelParams>>,
}

impl ModelBuilder {
    pub fn new(input: Shape, levels: usize) -> (Self, ValueId) {
        let mut graph = FloatGraph {
            name: "random".to_owned(),
            ..FloatGraph::default()
        };
        let x = graph.values.push(Value {
            name: "x".to_owned(),
            shape: input,
        });
        graph.input = Some(x);
        let builder = Self {
            graph,
            levels,
            weight_levels: BTreeMap::new(),
            level_params: BTreeMap::new(),
        };
        (builder, x)
    }

    /// Adds a node if it fits its inputs.
    pub fn try_node(&mut self, op: FloatOp, inputs: &[ValueId]) -> Option<(NodeId, ValueId)> {
        let shapes: Vec<Shape> = inputs.iter().map(|&v| self.graph.shape(v)).collect();
        let shape = op.output_shape(&shapes).ok()?;
        let name = format!("{}{}", op.name(), self.graph.nodes.len());
        let output = self.graph.values.push(Value {
            name: format!("{name}.out"),
            shape,
        });
        let node = self.graph.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            output,
        });
        Some((node, output))
    }

    /// Adds a node that fits.
    pub fn node(&mut self, op: FloatOp, inputs: &[ValueId]) -> ValueId {
        self.try_node(op, inputs).expect("the node fits").1
    }

    pub fn finish(mut self, outputs: &[ValueId]) -> NestedModel {
        self.graph.outputs = outputs.to_vec();
        NestedModel {
            graph: self.graph,
            levels: (0..self.levels)
                .map(|l| LevelInfo {
                    sparsity: 0.9 - 0.8 * l as f64 / self.levels as f64,
                    accuracy_top1: None,
                })
                .collect(),
            weight_levels: self.weight_levels,
            level_params: self.level_params,
            preprocessing: None,
            training: None,
        }
    }
}

/// A convolution with random weights of a size that keeps activations near unit deviation.
pub fn conv(
    r: &mut Random,
    x: Shape,
    out_channels: usize,
    groups: usize,
    window: Window,
    bias: bool,
) -> Conv {
    let row = x.c / groups * window.taps();
    Conv {
        weight: r.reals(out_channels * row, (3.0 / row as f32).sqrt()),
        bias: bias.then(|| r.reals(out_channels, 0.5)),
        out_channels,
        group_channels: x.c / groups,
        groups,
        window,
    }
}

pub fn window(kernel: usize, stride: usize, pad: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        pads: [pad; 4],
        dilation: [1; 2],
    }
}

fn random_window(r: &mut Random) -> Window {
    Window {
        kernel: [1 + r.below(3), 1 + r.below(4)],
        stride: [1 + r.below(2), 1 + r.below(2)],
        pads: [r.below(2), r.below(3), r.below(2), r.below(2)],
        dilation: [1 + r.below(2), 1 + r.below(2)],
    }
}

fn batch_norm(r: &mut Random, c: usize) -> BatchNorm {
    BatchNorm {
        gamma: (0..c)
            .map(|_| if r.chance(8) { 0.0 } else { r.real() + 0.3 })
            .collect(),
        beta: r.reals(c, 0.5),
        mean: r.reals(c, 0.3),
        var: (0..c).map(|_| 0.5 + r.real().abs()).collect(),
        epsilon: 1e-5,
    }
}

/// Masks the node's weights; those of no level become zero.
fn mask(r: &mut Random, b: &mut ModelBuilder, id: NodeId) {
    let levels = b.levels;
    let weight = match &mut b.graph.nodes[id].op {
        FloatOp::Conv(c) => &mut c.weight,
        FloatOp::Dense(d) => &mut d.weight,
        _ => return,
    };
    let of: Vec<u8> = weight
        .iter_mut()
        .map(|w| {
            if r.chance(4) {
                *w = 0.0;
                PRUNED
            } else {
                r.below(levels) as u8
            }
        })
        .collect();
    b.weight_levels.insert(id, of);
}

/// Seeds from here on give networks of all operators, those before of plain classifiers' alone.
pub const ALL_OPERATORS: u64 = 1000;

/// A random network of about `nodes` nodes.
pub fn model(seed: u64, nodes: usize) -> NestedModel {
    let mut r = Random(seed);
    let levels = 1 + r.below(3);
    let input = Shape::map(1 + r.below(4), 5 + r.below(6), 5 + r.below(6));
    let (mut b, x) = ModelBuilder::new(input, levels);
    let mut values = vec![x];
    while b.graph.nodes.len() < nodes {
        // Mostly on, at times back: that makes branches.
        let from = if r.chance(4) {
            values[r.below(values.len())]
        } else {
            values[values.len() - 1]
        };
        let value = if seed >= ALL_OPERATORS && r.chance(2) {
            other_node(&mut r, &mut b, &values, from)
        } else {
            random_node(&mut r, &mut b, &values, from)
        };
        values.extend(value);
    }
    let last = values[values.len() - 1];
    let shape = b.graph.shape(last);
    let flat = b.node(FloatOp::Flatten, &[last]);
    let dense = FloatOp::Dense(Dense {
        weight: r.reals(5 * shape.len(), (3.0 / shape.len() as f32).sqrt()),
        bias: Some(r.reals(5, 0.3)),
        out_features: 5,
        in_features: shape.len(),
    });
    let (id, logits) = b.try_node(dense, &[flat]).expect("it fits");
    if levels > 1 {
        mask(&mut r, &mut b, id);
        let biases: Vec<Vec<f32>> = (0..levels).map(|_| r.reals(5, 0.3)).collect();
        if let FloatOp::Dense(dense) = &mut b.graph.nodes[id].op {
            dense.bias = biases.last().cloned();
        }
        let own = biases.into_iter().map(LevelParams::Bias);
        b.level_params.insert(id, own.collect());
    }
    let mut outputs = vec![logits];
    if r.chance(2) {
        outputs = vec![b.node(FloatOp::Softmax, &[logits])];
    }
    if r.chance(3) {
        // A feature map as a second output: its producer cannot be fused away.
        outputs.push(values[r.below(values.len() - 1) + 1]);
    }
    b.finish(&outputs)
}

fn random_node(
    r: &mut Random,
    b: &mut ModelBuilder,
    values: &[ValueId],
    from: ValueId,
) -> Option<ValueId> {
    let x = b.graph.shape(from);
    let op = match r.below(16) {
        0..=4 => {
            let out = [1, 3, 4, 8][r.below(4)];
            let groups = if r.chance(3) && x.c > 1 { x.c } else { 1 };
            let out = if groups > 1 {
                groups * (1 + r.below(2))
            } else {
                out
            };
            // Windows that depthwise kernels are made for are rarely among the random ones.
            let w = if groups > 1 && r.chance(2) {
                window(3 + 2 * r.below(2), 1 + r.below(2), r.below(3))
            } else {
                random_window(r)
            };
            let bias = r.chance(2);
            FloatOp::Conv(conv(r, x, out, groups, w, bias))
        }
        5 => {
            // Grouped, not depthwise.
            if !x.c.is_multiple_of(2) || x.c < 4 {
                return None;
            }
            FloatOp::Conv(conv(r, x, 6, 2, window(3, 1, 1), true))
        }
        6..=7 => FloatOp::BatchNorm(batch_norm(r, x.c)),
        8 => FloatOp::ChannelAffine {
            scale: r.reals(x.c, 1.5),
            shift: r.reals(x.c, 0.5),
        },
        9..=10 => FloatOp::Relu,
        11 => FloatOp::Relu6,
        12 => {
            let same: Vec<ValueId> = (values.iter().copied())
                .filter(|&v| b.graph.shape(v) == x)
                .collect();
            let other = same[r.below(same.len())];
            return b.try_node(FloatOp::Add, &[from, other]).map(|(_, v)| v);
        }
        13 => {
            let w = window(2 + r.below(2), 1 + r.below(2), r.below(2));
            match r.below(3) {
                0 => FloatOp::MaxPool(w),
                n => FloatOp::AvgPool {
                    window: w,
                    count_include_pad: n == 1,
                },
            }
        }
        14 => FloatOp::Pad(Pad {
            c: [r.below(2), r.below(2)],
            h: [r.below(2), r.below(2)],
            w: [r.below(2), r.below(2)],
            value: [0.0, 0.0, 0.25][r.below(3)],
        }),
        _ => FloatOp::Slice(Slice {
            start: [0, r.below(2), r.below(2)],
            step: [1, 1 + r.below(2), 1 + r.below(2)],
            count: [x.c, x.h.div_ceil(3), x.w.div_ceil(3)],
        }),
    };
    let levels = b.levels;
    let (id, value) = b.try_node(op, &[from])?;
    if b.graph.shape(value).is_empty() {
        return None;
    }
    if levels > 1 {
        match &b.graph.nodes[id].op {
            FloatOp::Conv(_) if r.chance(2) => mask(r, b, id),
            FloatOp::BatchNorm(_) => {
                let mut own: Vec<LevelParams> = (0..levels)
                    .map(|_| LevelParams::BatchNorm(batch_norm(r, x.c)))
                    .collect();
                // The graph holds the densest level's.
                if let Some(LevelParams::BatchNorm(bn)) = own.last().cloned() {
                    b.graph.nodes[id].op = FloatOp::BatchNorm(bn);
                } else {
                    own.clear();
                }
                b.level_params.insert(id, own);
            }
            _ => {}
        }
    }
    Some(value)
}

/// A node of those that plain classifiers lack.
fn other_node(
    r: &mut Random,
    b: &mut ModelBuilder,
    values: &[ValueId],
    from: ValueId,
) -> Option<ValueId> {
    const PAIRS: [Binary; 5] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Min,
        Binary::Max,
    ];
    let x = b.graph.shape(from);
    let axis = Axis::ALL[r.below(3)];
    let mut inputs = vec![from];
    let op = match r.below(14) {
        0 | 1 => FloatOp::Unary(
            [
                Unary::LeakyRelu { alpha: 0.1 },
                Unary::Elu { alpha: 0.7 },
                Unary::Sigmoid,
                Unary::HardSigmoid {
                    alpha: 0.2,
                    beta: 0.5,
                },
                Unary::HardSwish,
                Unary::Silu,
                Unary::Tanh,
                Unary::Clip {
                    low: -0.5,
                    high: 1.0,
                },
            ][r.below(8)],
        ),
        2 => FloatOp::PRelu(r.reals(x.c, 1.5)),
        3 | 4 => {
            // Another value, its means or one of its rows.
            let other = values[r.below(values.len())];
            let shape = b.graph.shape(other);
            let reduced = match r.below(3) {
                0 => Some(FloatOp::GlobalAvgPool),
                1 => Some(FloatOp::Slice(Slice {
                    start: [0; 3],
                    step: [1; 3],
                    count: [shape.c, 1, shape.w],
                })),
                _ => None,
            };
            let other = match reduced {
                Some(op) => b.try_node(op, &[other])?.1,
                None => other,
            };
            inputs = if r.chance(2) {
                vec![from, other]
            } else {
                vec![other, from]
            };
            FloatOp::Binary(PAIRS[r.below(5)])
        }
        5 => {
            let keep = |r: &mut Random, n: usize| if r.chance(2) { n } else { 1 };
            let shape = Shape::map(keep(r, x.c), keep(r, x.h), keep(r, x.w));
            let op = [PAIRS[r.below(5)], Binary::Div][r.below(2)];
            FloatOp::WithConstant(WithConstant {
                op,
                shape,
                data: (0..shape.len()).map(|_| r.real() + 1.5).collect(),
                constant_first: op != Binary::Div && r.chance(2),
            })
        }
        6..=8 => {
            let fits =
                |v: &ValueId| b.graph.shape(*v).with_extent(axis, 1) == x.with_extent(axis, 1);
            let others: Vec<ValueId> = values.iter().copied().filter(fits).collect();
            (0..1 + r.below(2)).for_each(|_| inputs.push(others[r.below(others.len())]));
            FloatOp::Concat(axis)
        }
        9 => {
            let n = x.extent(axis);
            let indices = (0..1 + r.below(n + 1)).map(|_| r.below(n)).collect();
            FloatOp::Select { axis, indices }
        }
        10 => FloatOp::ChannelShuffle {
            groups: 2 + r.below(2),
        },
        11 => {
            let mut perm = vec![0, 1, 2];
            perm.rotate_left(1 + r.below(2));
            let turned: Vec<usize> = perm.iter().map(|&p| x.extents()[p]).collect();
            FloatOp::Rearrange(Rearrange {
                factors: x.extents().to_vec(),
                perm,
                shape: Shape::map(turned[0], turned[1], turned[2]),
            })
        }
        12 => {
            let size = [1 + r.below(2 * x.h), 1 + r.below(2 * x.w)];
            FloatOp::Resize(Resize {
                size,
                scale: [size[0] as f32 / x.h as f32, size[1] as f32 / x.w as f32],
                coordinates: Coordinates::ALL[r.below(4)].0,
                interpolation: Interpolation::ALL[r.below(5)].0,
            })
        }
        _ => FloatOp::Softmax,
    };
    let out = b.try_node(op, &inputs)?.1;
    (b.graph.shape(out).len() <= 2000).then_some(out)
}

/// Prepared images of about unit deviation, channel-major.
pub fn images(r: &mut Random, shape: Shape, n: usize) -> Vec<Vec<f32>> {
    (0..n)
        .map(|_| {
            let base = r.real();
            (0..shape.len()).map(|_| base + r.real()).collect()
        })
        .collect()
}
