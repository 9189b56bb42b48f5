//! The networks whose cycles are held and printed. All come from the repository alone: the committed
//! models, deterministic masks over them, and topologies with seeded weights.

use nestc::data::DataSpec;
use nestc::import;
use nestc::ir::float::{
    Axis, Binary, Conv, Coordinates, Dense, FloatGraph, FloatOp, Interpolation, Node, Rearrange,
    Resize, Shape, Slice, Unary, Value, Window,
};
use nestc::ir::ids::ValueId;
use nestc::ir::nested::NestedModel;

/// Pictures that set the ranges of the CIFAR-10 networks.
const PICTURES: &str =
    "cifar10:models/cifar10-sample,mean=125.3/123.0/113.9,std=63.0/62.1/66.7,limit=64";

/// A network to measure.
pub struct Network {
    /// A crate name as well.
    pub name: String,
    /// The network.
    pub model: NestedModel,
    /// Images for the calibration, or seeded noise: cycles do not depend on them.
    pub data: Option<DataSpec>,
    /// Million cycles that the densest level may take, expected and pessimistic.
    pub bars: [Option<f64>; 2],
}

impl Network {
    fn seeded(name: &str, graph: FloatGraph, bars: [Option<f64>; 2]) -> Self {
        Self {
            name: name.into(),
            model: NestedModel::plain(graph),
            data: None,
            bars,
        }
    }
}

/// Every network, smallest first.
pub fn all() -> Vec<Network> {
    let mut all = Vec::new();
    for (percent, bar) in [
        (0, None),
        (50, Some(2.2)),
        (70, Some(1.46)),
        (90, Some(0.70)),
    ] {
        let mut graph = one_conv();
        prune(&mut graph, percent, 0);
        all.push(Network::seeded(
            &format!("conv3x3_{percent}"),
            graph,
            [bar, None],
        ));
    }
    // 1.8 cycles a multiply-accumulate.
    for stride in [1, 2] {
        let pixels = 16 / stride * (16 / stride);
        let bar = 1.8 * (64 * 9 * pixels) as f64 / 1e6;
        all.push(Network::seeded(
            &format!("depthwise3x3_stride{stride}"),
            one_depthwise(stride),
            [Some(bar), None],
        ));
    }
    for (percent, bars) in [
        (0, [9.3, 11.4]),
        (50, [6.6, 8.6]),
        (70, [5.0, 6.4]),
        (90, [3.2, 3.9]),
    ] {
        let mut model = load("models/resnet8_cifar10.onnx");
        prune(&mut model.graph, percent, 1);
        all.push(Network {
            name: format!("resnet8_{percent}"),
            model,
            data: pictures(),
            bars: bars.map(Some),
        });
    }
    all.push(Network {
        name: "resnet8_nested".into(),
        model: load("models/resnet8_cifar10.nest.onnx"),
        data: pictures(),
        bars: [None, None],
    });
    all.push(Network::seeded("layers", layers(), [None, None]));
    all.push(Network::seeded("elements", elements(), [None, None]));
    all.push(Network::seeded(
        "mobilenet_vww_live",
        mobilenet_vww(),
        [Some(9.5), Some(11.0)],
    ));
    all
}

/// The committed model at `path`.
pub fn load(path: &str) -> NestedModel {
    import::load(path.as_ref())
        .unwrap_or_else(|e| panic!("{e}"))
        .model
}

fn pictures() -> Option<DataSpec> {
    Some(DataSpec::parse(PICTURES).unwrap_or_else(|e| panic!("{e}")))
}

/// Sets the `percent` smallest weights of each ungrouped convolution to zero, the first `spared`
/// excepted: one sparsity for all layers, by magnitude.
pub fn prune(graph: &mut FloatGraph, percent: usize, spared: usize) {
    let convolutions = graph
        .nodes
        .iter_mut()
        .filter_map(|node| match &mut node.op {
            FloatOp::Conv(conv) if conv.groups == 1 => Some(&mut conv.weight),
            _ => None,
        });
    for weight in convolutions.skip(spared) {
        prune_weights(weight, percent);
    }
}

fn prune_weights(weight: &mut [f32], percent: usize) {
    let mut order: Vec<usize> = (0..weight.len()).collect();
    order.sort_by(|&a, &b| weight[a].abs().total_cmp(&weight[b].abs()).then(a.cmp(&b)));
    for &at in &order[..weight.len() * percent / 100] {
        weight[at] = 0.0;
    }
}

/// A graph under construction, and the generator of its weights.
struct Builder {
    graph: FloatGraph,
    last: ValueId,
    shape: Shape,
    /// SplitMix64.
    state: u64,
}

impl Builder {
    fn new(name: &str, input: Shape) -> Self {
        let mut graph = FloatGraph {
            name: name.into(),
            ..FloatGraph::default()
        };
        let last = graph.values.push(Value {
            name: "input".into(),
            shape: input,
        });
        graph.input = Some(last);
        Self {
            graph,
            last,
            shape: input,
            state: 8,
        }
    }

    /// Of either sign, `least` to 1 in magnitude.
    fn real(&mut self, least: f32) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let magnitude = least + (1.0 - least) * (z >> 40) as f32 / (1u64 << 24) as f32;
        if z & 1 == 0 { magnitude } else { -magnitude }
    }

    /// Weights of which none becomes zero in int8, scaled so that activations keep their size.
    fn weights(&mut self, rows: usize, columns: usize) -> (Vec<f32>, Option<Vec<f32>>) {
        let scale = (6.0 / columns as f32).sqrt();
        let weight = (0..rows * columns)
            .map(|_| scale * self.real(0.02))
            .collect();
        let bias = (0..rows).map(|_| 0.1 * self.real(0.0)).collect();
        (weight, Some(bias))
    }

    fn push(&mut self, name: &str, op: FloatOp) {
        self.push_with(name, op, None);
    }

    /// A node of the last value, and perhaps of another one.
    fn push_with(&mut self, name: &str, op: FloatOp, other: Option<ValueId>) {
        let others = other.iter().map(|&v| self.graph.shape(v));
        let shapes: Vec<Shape> = [self.shape].into_iter().chain(others).collect();
        let shape = op
            .output_shape(&shapes)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let output = self.graph.values.push(Value {
            name: format!("{name}_output"),
            shape,
        });
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs: [self.last].into_iter().chain(other).collect(),
            output,
        });
        (self.last, self.shape) = (output, shape);
    }

    /// A convolution with bias and ReLU, padded as TensorFlow's `SAME`.
    fn conv(
        &mut self,
        name: &str,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) {
        let group_channels = self.shape.c / groups;
        let (weight, bias) = self.weights(out_channels, group_channels * kernel * kernel);
        let size = self.shape.h;
        let padding = (size.div_ceil(stride) - 1) * stride + kernel - size;
        let (before, after) = (padding / 2, padding.div_ceil(2));
        let conv = Conv {
            weight,
            bias,
            out_channels,
            group_channels,
            groups,
            window: Window {
                kernel: [kernel; 2],
                stride: [stride; 2],
                pads: [before, before, after, after],
                dilation: [1, 1],
            },
        };
        self.push(name, FloatOp::Conv(conv));
        self.push(&format!("{name}_relu"), FloatOp::Relu);
    }

    fn dense(&mut self, name: &str, out_features: usize) {
        let in_features = self.shape.c;
        let (weight, bias) = self.weights(out_features, in_features);
        let dense = Dense {
            weight,
            bias,
            out_features,
            in_features,
        };
        self.push(name, FloatOp::Dense(dense));
    }

    fn finish(mut self) -> FloatGraph {
        self.graph.outputs = vec![self.last];
        self.graph
    }
}

/// One 3x3 layer, 32 to 64 channels at 16x16: 288 weights a row, 4.72 million MACs.
pub fn one_conv() -> FloatGraph {
    let mut b = Builder::new("conv3x3", Shape::map(32, 16, 16));
    b.conv("conv", 64, 3, 1, 1);
    b.finish()
}

/// One depthwise 3x3 layer of 64 channels at 16x16.
pub fn one_depthwise(stride: usize) -> FloatGraph {
    let mut b = Builder::new("depthwise3x3", Shape::map(64, 16, 16));
    b.conv("depthwise", 64, 3, stride, 64);
    b.finish()
}

/// The topology of MLPerf Tiny's visual wake words network, MobileNetV1 of width 0.25 at 96x96
/// (7.49 million MACs), with seeded weights that are all live.
pub fn mobilenet_vww() -> FloatGraph {
    let mut b = Builder::new("mobilenet_vww", Shape::map(3, 96, 96));
    b.conv("conv0", 8, 3, 2, 1);
    #[rustfmt::skip]
    let blocks = [
        (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1),
        (128, 1), (128, 1), (256, 2), (256, 1),
    ];
    for (k, (channels, stride)) in blocks.into_iter().enumerate() {
        let width = b.shape.c;
        b.conv(&format!("depthwise{}", k + 1), width, 3, stride, width);
        b.conv(&format!("pointwise{}", k + 1), channels, 1, 1, 1);
    }
    b.push("pool", FloatOp::GlobalAvgPool);
    b.dense("dense", 2);
    b.push("softmax", FloatOp::Softmax);
    b.finish()
}

/// One layer of every kind that has no weights beyond those of plain classifiers, in one chain.
pub fn elements() -> FloatGraph {
    let mut b = Builder::new("elements", Shape::map(3, 24, 24));
    b.conv("conv", 32, 3, 1, 1);
    let first = b.last;
    b.push("silu", FloatOp::Unary(Unary::Silu));
    b.push("prelu", FloatOp::PRelu(vec![0.25; 32]));
    let map = b.last;
    b.push("mean", FloatOp::GlobalAvgPool);
    let mean = b.last;
    (b.last, b.shape) = (map, b.graph.shape(map));
    b.push_with("gate", FloatOp::Binary(Binary::Mul), Some(mean));
    b.push_with("sub", FloatOp::Binary(Binary::Sub), Some(first));
    b.push_with("mul", FloatOp::Binary(Binary::Mul), Some(first));
    b.push_with("max", FloatOp::Binary(Binary::Max), Some(first));
    let joined = b.last;
    // Something between movements, or they are one.
    let between = |b: &mut Builder, n: usize| {
        b.push(
            &format!("max_pool_{n}"),
            FloatOp::MaxPool(Window {
                kernel: [1, 2],
                pads: [0, 0, 0, 1],
                ..Window::UNIT
            }),
        );
    };
    let halves = FloatOp::Slice(Slice {
        start: [1, 0, 0],
        step: [2, 1, 1],
        count: [16, 24, 24],
    });
    b.push("every_second_channel", halves);
    between(&mut b, 0);
    b.push_with("concat", FloatOp::Concat(Axis::C), Some(joined));
    between(&mut b, 1);
    b.push("shuffle", FloatOp::ChannelShuffle { groups: 2 });
    between(&mut b, 2);
    let resize = |size, interpolation| {
        FloatOp::Resize(Resize {
            size: [size; 2],
            scale: [size as f32 / 24.0; 2],
            coordinates: Coordinates::HalfPixel,
            interpolation,
        })
    };
    b.push("resize_linear", resize(16, Interpolation::Linear));
    b.push(
        "rearrange",
        FloatOp::Rearrange(Rearrange {
            factors: vec![48, 256],
            perm: vec![1, 0],
            shape: Shape::map(256, 1, 48),
        }),
    );
    b.push("softmax_256", FloatOp::Softmax);
    b.finish()
}

/// One layer of every kind that firmware spends its time in, in one chain. A number behind the last
/// `_` is the share of zeros in percent.
pub fn layers() -> FloatGraph {
    let mut b = Builder::new("layers", Shape::map(3, 32, 32));
    let mut sparse = Vec::new();
    let mut pruned = |b: &mut Builder, name: &str, channels, kernel, percent: usize| {
        let name = format!("{name}_{percent}");
        b.conv(&name, channels, kernel, 1, 1);
        sparse.push((name, percent));
    };
    let halved = |kernel| Window {
        kernel: [kernel; 2],
        stride: [2; 2],
        ..Window::UNIT
    };
    b.conv("conv3x3_3_16_at32", 16, 3, 1, 1);
    let mut before = b.last;
    for percent in [0, 70, 90] {
        before = b.last;
        pruned(&mut b, "conv3x3_16_16_at32", 16, 3, percent);
    }
    b.push_with("add_16_at32", FloatOp::Add, Some(before));
    b.push("max_pool2x2_16_at32", FloatOp::MaxPool(halved(2)));
    b.conv("conv1x1_16_32_at16", 32, 1, 1, 1);
    for percent in [0, 50, 70, 90] {
        pruned(&mut b, "conv3x3_32_64_at16", 64, 3, percent);
        pruned(&mut b, "conv1x1_64_64_at16", 64, 1, percent);
        b.conv(&format!("conv1x1_64_32_at16_{percent}"), 32, 1, 1, 1);
    }
    b.conv("conv1x1_32_64_at16", 64, 1, 1, 1);
    b.conv("depthwise3x3_64_at16", 64, 3, 1, 64);
    b.conv("depthwise5x5_64_at16", 64, 5, 1, 64);
    b.conv("depthwise3x3_64_at16_stride2", 64, 3, 2, 64);
    for percent in [0, 70, 90] {
        pruned(&mut b, "conv3x3_64_64_at8", 64, 3, percent);
    }
    b.conv("depthwise5x5_64_at8_stride2", 64, 5, 2, 64);
    let mean = FloatOp::AvgPool {
        window: halved(2),
        count_include_pad: false,
    };
    b.push("avg_pool2x2_64_at4", mean);
    b.push("global_avg_pool_64_at2", FloatOp::GlobalAvgPool);
    b.dense("dense_64_256", 256);
    b.dense("dense_256_10", 10);
    b.push("softmax_10", FloatOp::Softmax);
    let mut graph = b.finish();
    for node in graph.nodes.iter_mut() {
        let percent = sparse.iter().find(|(name, _)| *name == node.name);
        if let (FloatOp::Conv(conv), Some(&(_, percent))) = (&mut node.op, percent) {
            prune_weights(&mut conv.weight, percent);
        }
    }
    graph
}
