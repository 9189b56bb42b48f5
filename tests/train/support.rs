//! A small network and small pictures that it can learn.

use std::path::Path;

use nestc::data::{Dataset, Pixels};
use nestc::ir::float::*;
use nestc::ir::ids::ValueId;
use nestc::ir::nested::{ChannelOrder, Preprocessing};
use nestc::train::TrainOptions;

pub const CLASSES: usize = 4;
pub const SHAPE: Shape = Shape::map(3, 12, 12);

/// A fixed sequence of numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn add(graph: &mut FloatGraph, op: FloatOp, inputs: &[ValueId]) -> ValueId {
    let shapes: Vec<Shape> = inputs.iter().map(|&v| graph.shape(v)).collect();
    let shape = op.output_shape(&shapes).unwrap();
    let name = format!("{}{}", op.name(), graph.nodes.len());
    let output = graph.values.push(Value {
        name: name.clone(),
        shape,
    });
    graph.nodes.push(Node {
        name,
        op,
        inputs: inputs.to_vec(),
        output,
    });
    output
}

fn conv(
    graph: &mut FloatGraph,
    numbers: &mut Numbers,
    x: ValueId,
    out: usize,
    groups: usize,
    window: Window,
) -> ValueId {
    let group_channels = graph.shape(x).c / groups;
    let taps = group_channels * window.taps();
    let scale = (6.0 / taps as f32).sqrt();
    let conv = Conv {
        weight: (0..out * taps).map(|_| scale * numbers.next()).collect(),
        bias: Some(vec![0.1; out]),
        out_channels: out,
        group_channels,
        groups,
        window,
    };
    add(graph, FloatOp::Conv(conv), &[x])
}

/// A residual network with a strided, a depthwise and a pointwise convolution, without batch
/// normalisation, ending in softmax.
pub fn network() -> FloatGraph {
    let mut graph = FloatGraph {
        name: "small".into(),
        ..FloatGraph::default()
    };
    let mut numbers = Numbers(1);
    let n = &mut numbers;
    let window = |kernel: usize, stride: usize, pad: usize| Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        pads: [pad; 4],
        dilation: [1; 2],
    };
    let x = graph.values.push(Value {
        name: "picture".into(),
        shape: SHAPE,
    });
    graph.input = Some(x);
    let y = conv(&mut graph, n, x, 8, 1, window(3, 1, 1));
    let y = add(&mut graph, FloatOp::Relu, &[y]);
    let z = conv(&mut graph, n, y, 8, 1, window(3, 1, 1));
    let y = add(&mut graph, FloatOp::Add, &[z, y]);
    let y = add(&mut graph, FloatOp::Relu6, &[y]);
    let y = conv(&mut graph, n, y, 16, 1, window(3, 2, 1));
    let y = add(&mut graph, FloatOp::Relu, &[y]);
    let y = conv(&mut graph, n, y, 16, 16, window(3, 1, 1));
    let y = conv(&mut graph, n, y, 16, 1, window(1, 1, 0));
    let y = add(&mut graph, FloatOp::Relu, &[y]);
    let y = add(&mut graph, FloatOp::MaxPool(window(2, 2, 0)), &[y]);
    let y = add(&mut graph, FloatOp::GlobalAvgPool, &[y]);
    let y = add(&mut graph, FloatOp::Flatten, &[y]);
    let dense = Dense {
        weight: (0..CLASSES * 16).map(|_| 0.4 * n.next()).collect(),
        bias: Some(vec![0.0; CLASSES]),
        out_features: CLASSES,
        in_features: 16,
    };
    let y = add(&mut graph, FloatOp::Dense(dense), &[y]);
    let y = add(&mut graph, FloatOp::Softmax, &[y]);
    graph.outputs = vec![y];
    graph
}

/// Noisy pictures of a bar whose colour and direction tell the class.
pub fn pictures(count: usize, seed: u64) -> Dataset {
    let mut numbers = Numbers(seed);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for i in 0..count {
        let class = i % CLASSES;
        let at = ((numbers.next() + 1.0) * 4.0) as usize + 2;
        for c in 0..SHAPE.c {
            for y in 0..SHAPE.h {
                for x in 0..SHAPE.w {
                    let along = if class.is_multiple_of(2) { y } else { x };
                    let bright = along.abs_diff(at) < 2 && c == class / 2;
                    let noise = 50.0 * numbers.next();
                    pixels.push((110.0 + noise + if bright { 70.0 } else { 0.0 }) as u8);
                }
            }
        }
        labels.push(class as u32);
    }
    Dataset {
        shape: SHAPE,
        pixels: Pixels::U8(pixels),
        labels: Some(labels),
        class_count: CLASSES,
        boxes: None,
        preprocessing: Preprocessing {
            scale: 1.0,
            mean: vec![120.0; 3],
            std: vec![50.0; 3],
            order: ChannelOrder::Rgb,
        },
    }
}

/// Three levels, few epochs, a batch that is no multiple of sixteen.
pub fn options(folder: &Path) -> TrainOptions {
    TrainOptions {
        levels: vec![0.5, 0.9, 0.0],
        epochs: 4,
        batch: 40,
        learning_rate: Some(0.05),
        loss: nestc::train::Loss::Labels,
        flip: false,
        checkpoint: folder.join("small.checkpoint"),
        threads: Some(2),
        seed: 0,
        ..TrainOptions::default()
    }
}
