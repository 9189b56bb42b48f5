//! Gradients against PyTorch's in double precision, which `tests/tools/torch_gradients.py` recorded.

use serde::Deserialize;

use super::*;
use crate::train::recipe::loss::{Scratch, Target, image_loss};

const RECORD: &str = include_str!("torch.json");

#[derive(Deserialize)]
struct Record {
    unit: f32,
    networks: Vec<Network>,
    losses: Vec<Loss>,
}

#[derive(Deserialize)]
struct Network {
    name: String,
    shape: [usize; 3],
    nodes: Vec<Layer>,
    /// Multiples of `1 / unit`, like the weights and the seed.
    images: Vec<Vec<i32>>,
    seed: Vec<i32>,
    output: Vec<f64>,
    gradients: Vec<Gradient>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Layer {
    op: String,
    inputs: Vec<usize>,
    out_channels: usize,
    group_channels: usize,
    groups: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    dilation: Option<[usize; 2]>,
    count_include_pad: bool,
    weight: Vec<i32>,
    bias: Option<Vec<i32>>,
    gamma: Vec<i32>,
    beta: Vec<i32>,
}

#[derive(Deserialize)]
struct Gradient {
    node: usize,
    role: String,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Loss {
    name: String,
    logits: Vec<i32>,
    teacher: Vec<i32>,
    label: u32,
    smoothing: f64,
    share: f64,
    temperature: f64,
    loss: f64,
    gradient: Vec<f64>,
}

fn scaled(integers: &[i32], unit: f32) -> Vec<f32> {
    integers.iter().map(|&v| v as f32 / unit).collect()
}

impl Layer {
    fn window(&self) -> Window {
        let dilation = self.dilation.unwrap_or([1, 1]);
        window(self.kernel, self.stride, self.pads, dilation)
    }
    fn build(&self, unit: f32) -> FloatOp {
        let bias = self.bias.as_ref().map(|b| scaled(b, unit));
        let weight = scaled(&self.weight, unit);
        match self.op.as_str() {
            "conv" => FloatOp::Conv(Conv {
                weight,
                bias,
                out_channels: self.out_channels,
                group_channels: self.group_channels,
                groups: self.groups,
                window: self.window(),
            }),
            "dense" => {
                let out_features = bias.as_ref().unwrap().len();
                FloatOp::Dense(Dense {
                    in_features: weight.len() / out_features,
                    weight,
                    bias,
                    out_features,
                })
            }
            "bn" => FloatOp::BatchNorm(BatchNorm {
                gamma: scaled(&self.gamma, unit),
                beta: scaled(&self.beta, unit),
                mean: vec![0.0; self.gamma.len()],
                var: vec![1.0; self.gamma.len()],
                epsilon: 1e-3,
            }),
            "relu" => FloatOp::Relu,
            "relu6" => FloatOp::Relu6,
            "add" => FloatOp::Add,
            "max pool" => FloatOp::MaxPool(self.window()),
            "average pool" => FloatOp::AvgPool {
                window: self.window(),
                count_include_pad: self.count_include_pad,
            },
            "global average pool" => FloatOp::GlobalAvgPool,
            "flatten" => FloatOp::Flatten,
            "softmax" => FloatOp::Softmax,
            other => panic!("{other}"),
        }
    }
}

impl Network {
    fn graph(&self, unit: f32) -> FloatGraph {
        let [c, h, w] = self.shape;
        let (mut net, x) = Net::new(Shape::map(c, h, w));
        let mut values = vec![x];
        for layer in &self.nodes {
            let inputs: Vec<ValueId> = layer.inputs.iter().map(|&i| values[i]).collect();
            values.push(net.add(layer.build(unit), &inputs));
        }
        net.finish(values.pop().unwrap())
    }
}

#[test]
fn gradients_agree_with_pytorch() {
    let record: Record = serde_json::from_str(RECORD).unwrap();
    for network in &record.networks {
        let graph = network.graph(record.unit);
        let n = network.images.len();
        let images: Vec<Vec<f32>> = network
            .images
            .iter()
            .map(|image| scaled(image, record.unit))
            .collect();
        let seed = scaled(&network.seed, record.unit);
        for isa in Isa::available() {
            for fusion in [Fusion::Fused, Fusion::EveryValue] {
                let name = format!("{} ({isa:?}, {fusion:?})", network.name);
                let mut engine = engine(&graph, fusion, n, isa);
                let params = Params::of(engine.plan(), &graph);
                let mut prepared = Prepared::default();
                engine.prepare(&params, &[], &mut prepared);
                engine.load(n, &|i, out| out.copy_from_slice(&images[i]));
                engine.forward(&params, &prepared, Mode::Batch, None);
                let output = wide(&read_outputs(&engine));
                close(&name, "output", &output, &network.output, 1e-5);
                let infos = engine.plan().params.clone();
                let gradients = engine.backward(&params, &prepared, &[&seed]).to_vec();
                assert_eq!(infos.len(), network.gradients.len(), "{name}");
                for expected in &network.gradients {
                    let at = infos.iter().position(|p| {
                        p.node.index() == expected.node
                            && format!("{:?}", p.role).to_lowercase() == expected.role
                    });
                    let got = wide(&gradients[at.unwrap()]);
                    let what = format!("{} of node {}", expected.role, expected.node);
                    close(&name, &what, &got, &expected.values, 2e-5);
                }
            }
        }
    }
}

#[test]
fn losses_agree_with_pytorch() {
    let record: Record = serde_json::from_str(RECORD).unwrap();
    for case in &record.losses {
        let logits = scaled(&case.logits, record.unit);
        let teacher = scaled(&case.teacher, record.unit);
        let target = Target {
            label: Some(case.label),
            smoothing: case.smoothing,
            teacher: Some(&teacher),
            distillation: case.share,
            temperature: case.temperature,
        };
        let mut gradient = vec![0.0; logits.len()];
        let loss = image_loss(&logits, target, 1.0, &mut gradient, &mut Scratch::default());
        close(&case.name, "loss", &[loss], &[case.loss], 1e-6);
        close(
            &case.name,
            "gradient",
            &wide(&gradient),
            &case.gradient,
            1e-6,
        );
    }
}
