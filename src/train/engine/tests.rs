//! Every operation forward against plain double-precision loops, and every gradient against finite
//! differences of them.

use super::*;
use crate::ir::float::*;
use crate::ir::ids::{Id, ValueId};
use crate::train::reference;
use crate::train::simd::Isa;

mod operators;
mod rounding;
mod torch;

struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
    fn take(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }
    fn around(&mut self, n: usize, centre: f32, spread: f32) -> Vec<f32> {
        (0..n).map(|_| centre + spread * self.next()).collect()
    }
}

/// A graph under construction.
struct Net {
    graph: FloatGraph,
    numbers: Numbers,
}

impl Net {
    fn new(shape: Shape) -> (Self, ValueId) {
        let mut graph = FloatGraph::default();
        let input = graph.values.push(Value {
            name: "x".into(),
            shape,
        });
        graph.input = Some(input);
        let numbers = Numbers(shape.len() as u32);
        (Self { graph, numbers }, input)
    }
    fn add(&mut self, op: FloatOp, inputs: &[ValueId]) -> ValueId {
        let shapes: Vec<Shape> = inputs.iter().map(|&v| self.graph.shape(v)).collect();
        let shape = op.output_shape(&shapes).unwrap();
        let name = format!("{}{}", op.name(), self.graph.nodes.len());
        let output = self.graph.values.push(Value {
            name: name.clone(),
            shape,
        });
        self.graph.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }
    fn conv(
        &mut self,
        x: ValueId,
        out: usize,
        groups: usize,
        window: Window,
        bias: bool,
    ) -> ValueId {
        let group_channels = self.graph.shape(x).c / groups;
        let taps = group_channels * window.taps();
        let scale = 1.5 / (taps as f32).sqrt();
        let conv = Conv {
            weight: self.numbers.around(out * taps, 0.0, scale),
            bias: bias.then(|| self.numbers.take(out)),
            out_channels: out,
            group_channels,
            groups,
            window,
        };
        self.add(FloatOp::Conv(conv), &[x])
    }
    fn bn(&mut self, x: ValueId) -> ValueId {
        let c = self.graph.shape(x).c;
        let bn = BatchNorm {
            gamma: self.numbers.around(c, 1.0, 0.5),
            beta: self.numbers.take(c),
            mean: self.numbers.take(c),
            var: self.numbers.around(c, 1.0, 0.5),
            epsilon: 1e-3,
        };
        self.add(FloatOp::BatchNorm(bn), &[x])
    }
    fn dense(&mut self, x: ValueId, out: usize) -> ValueId {
        let n = self.graph.shape(x).c;
        let dense = Dense {
            weight: self.numbers.around(out * n, 0.0, 1.0 / (n as f32).sqrt()),
            bias: Some(self.numbers.take(out)),
            out_features: out,
            in_features: n,
        };
        self.add(FloatOp::Dense(dense), &[x])
    }
    fn finish(mut self, output: ValueId) -> FloatGraph {
        self.graph.outputs = vec![output];
        self.graph
    }
}

fn window(
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    dilation: [usize; 2],
) -> Window {
    Window {
        kernel,
        stride,
        pads,
        dilation,
    }
}

const SAME3: Window = Window {
    kernel: [3, 3],
    stride: [1, 1],
    pads: [1; 4],
    dilation: [1, 1],
};

/// The network whose convolutions go through minimal filtering unless masked.
const FILTERED: &str = "conv 3x3 of even maps";

/// The networks: each operation at least once behind something trained, so that its input gradient
/// counts too.
pub(crate) fn networks() -> Vec<(&'static str, FloatGraph)> {
    let mut all = Vec::new();
    let convs: Vec<(&'static str, usize, usize, usize, Window)> = vec![
        ("conv 3x3", 3, 5, 1, SAME3),
        ("conv 1x1", 4, 7, 1, Window::UNIT),
        (
            "conv stride 2 after the pixel",
            3,
            4,
            1,
            window([3, 3], [2, 2], [0, 0, 1, 1], [1, 1]),
        ),
        (
            "conv stride 2 before the pixel",
            3,
            4,
            1,
            window([3, 3], [2, 2], [1, 1, 0, 0], [1, 1]),
        ),
        (
            "conv 1x1 stride 2",
            3,
            6,
            1,
            window([1, 1], [2, 2], [0; 4], [1, 1]),
        ),
        (
            "conv stride 3 x 1",
            2,
            3,
            1,
            window([2, 4], [3, 1], [0, 2, 1, 1], [1, 1]),
        ),
        (
            "conv dilated",
            2,
            3,
            1,
            window([3, 2], [1, 2], [2, 1, 1, 0], [2, 3]),
        ),
        (
            "conv 5x5 wider than padding",
            2,
            3,
            1,
            window([5, 5], [1, 1], [1; 4], [1, 1]),
        ),
        (
            "conv padded beyond its kernel",
            2,
            3,
            1,
            window([2, 2], [1, 1], [3; 4], [1, 1]),
        ),
        ("conv in groups", 6, 9, 3, SAME3),
        ("conv in narrow groups", 6, 4, 2, SAME3),
        ("depthwise", 5, 5, 5, SAME3),
        (
            "depthwise stride 2, two a channel",
            3,
            6,
            3,
            window([3, 3], [2, 2], [1; 4], [1, 1]),
        ),
    ];
    for (name, c, out, groups, w) in convs {
        let (mut net, x) = Net::new(Shape::map(3, 7, 8));
        let y = net.conv(x, c, 1, SAME3, true);
        let y = net.conv(y, out, groups, w, true);
        all.push((name, net.finish(y)));
    }
    // Even maps and enough channels: minimal filtering, with a bias, into a margin, accumulated.
    let (mut net, x) = Net::new(Shape::map(3, 6, 10));
    let y = net.conv(x, 9, 1, SAME3, true);
    let wide = window([3, 3], [1, 1], [2, 0, 2, 2], [1, 1]);
    let z = net.conv(y, 9, 1, wide, true);
    let w = net.conv(y, 8, 1, SAME3, false);
    let z = net.conv(z, 8, 1, window([3, 1], [1, 1], [0; 4], [1, 1]), false);
    let sum = net.add(FloatOp::Add, &[w, z]);
    all.push((FILTERED, net.finish(sum)));
    let mut unary = |name, shape, op: FloatOp| {
        let (mut net, x) = Net::new(shape);
        let y = net.conv(x, 4, 1, SAME3, true);
        let y = net.add(op, &[y]);
        all.push((name, net.finish(y)));
    };
    let map = Shape::map(2, 6, 7);
    unary("relu", map, FloatOp::Relu);
    unary("relu6", map, FloatOp::Relu6);
    unary(
        "max pool",
        map,
        FloatOp::MaxPool(window([3, 2], [2, 1], [1, 0, 1, 1], [1, 1])),
    );
    unary(
        "max pool dilated",
        map,
        FloatOp::MaxPool(window([2, 2], [2, 2], [0; 4], [2, 3])),
    );
    for count_include_pad in [false, true] {
        let window = window([3, 3], [2, 2], [1, 0, 1, 1], [1, 1]);
        let op = FloatOp::AvgPool {
            window,
            count_include_pad,
        };
        unary("average pool", map, op);
    }
    unary("global average pool", map, FloatOp::GlobalAvgPool);
    unary("flatten", map, FloatOp::Flatten);
    let pad = Pad {
        c: [1, 2],
        h: [0, 1],
        w: [2, 0],
        value: 0.5,
    };
    unary("pad", map, FloatOp::Pad(pad));
    let slice = Slice {
        start: [1, 0, 2],
        step: [2, 3, 2],
        count: [2, 2, 3],
    };
    unary("slice", map, FloatOp::Slice(slice));
    let affine = FloatOp::ChannelAffine {
        scale: vec![0.5, -1.5, 2.0, 1.0],
        shift: vec![0.1, 0.2, 0.3, -0.4],
    };
    unary("affine", map, affine);
    unary("softmax", Shape::vector(3), FloatOp::Softmax);

    let (mut net, x) = Net::new(Shape::map(2, 5, 5));
    let stem = net.conv(x, 4, 1, SAME3, false);
    let stem = net.bn(stem);
    let stem = net.add(FloatOp::Relu, &[stem]);
    let y = net.conv(stem, 6, 1, window([3, 3], [2, 2], [1; 4], [1, 1]), false);
    let y = net.bn(y);
    let y = net.add(FloatOp::Relu6, &[y]);
    let y = net.conv(y, 6, 1, SAME3, false);
    let y = net.bn(y);
    let s = net.conv(stem, 6, 1, window([1, 1], [2, 2], [0; 4], [1, 1]), true);
    let s = net.bn(s);
    let y = net.add(FloatOp::Add, &[y, s]);
    let y = net.add(FloatOp::Relu, &[y]);
    let z = net.conv(y, 6, 1, SAME3, false);
    let z = net.bn(z);
    let z = net.add(FloatOp::Add, &[z, y]);
    let z = net.bn(z);
    let z = net.add(FloatOp::GlobalAvgPool, &[z]);
    let z = net.add(FloatOp::Flatten, &[z]);
    let z = net.dense(z, 5);
    all.push(("residual network", net.finish(z)));

    let (mut net, x) = Net::new(Shape::map(3, 4, 4));
    let y = net.conv(x, 3, 1, SAME3, true);
    let z = net.add(FloatOp::Add, &[y, y]);
    let z = net.add(FloatOp::Add, &[z, y]);
    let z = net.add(FloatOp::Relu, &[z]);
    all.push(("a value added to itself", net.finish(z)));
    all.extend(operators::networks());
    all
}

/// All outputs, one after the other.
fn read_outputs(engine: &Engine) -> Vec<f32> {
    let outputs = &engine.plan().outputs;
    outputs.iter().flat_map(|&slot| engine.read(slot)).collect()
}

/// A gradient for all outputs, one after the other, and its part of each output.
fn seeds(engine: &Engine, images: usize) -> (Vec<f32>, Vec<Vec<f32>>) {
    let (slots, outputs) = (&engine.plan().slots, &engine.plan().outputs);
    let mut numbers = Numbers(5);
    let parts: Vec<Vec<f32>> = (outputs.iter())
        .map(|&slot| numbers.take(images * slots[slot].shape.len()))
        .collect();
    (parts.concat(), parts)
}

/// The outputs of all images in double precision, batch normalisation by `mode`.
fn forward_reference(graph: &FloatGraph, inputs: &[Vec<f32>], mode: Mode) -> Vec<f64> {
    let mut values: Vec<Vec<Vec<f64>>> = vec![Vec::new(); graph.values.len()];
    values[graph.input().index()] = inputs
        .iter()
        .map(|image| image.iter().map(|&v| f64::from(v)).collect())
        .collect();
    for node in &graph.nodes {
        let shape = graph.shape(node.inputs[0]);
        let mut op = node.op.clone();
        if let (FloatOp::BatchNorm(bn), Mode::Batch) = (&mut op, mode) {
            let x = &values[node.inputs[0].index()];
            let (mut mean, mut var) = (Vec::new(), Vec::new());
            for c in 0..shape.c {
                let of = |x: &Vec<f64>| x[c * shape.pixels()..][..shape.pixels()].to_vec();
                let all: Vec<f64> = x.iter().flat_map(of).collect();
                let m = all.iter().sum::<f64>() / all.len() as f64;
                mean.push(m);
                var.push(all.iter().map(|v| (v - m).powi(2)).sum::<f64>() / all.len() as f64);
            }
            values[node.output.index()] = x
                .iter()
                .map(|image| {
                    let at = |(i, v): (usize, &f64)| {
                        let c = i / shape.pixels();
                        (v - mean[c]) / (var[c] + f64::from(bn.epsilon)).sqrt()
                            * f64::from(bn.gamma[c])
                            + f64::from(bn.beta[c])
                    };
                    image.iter().enumerate().map(at).collect()
                })
                .collect();
            continue;
        }
        values[node.output.index()] = (0..inputs.len())
            .map(|i| {
                let of = |&v: &ValueId| (values[v.index()][i].as_slice(), graph.shape(v));
                let inputs: Vec<_> = node.inputs.iter().map(of).collect();
                reference::apply(&op, &inputs, graph.shape(node.output))
            })
            .collect();
    }
    graph
        .outputs
        .iter()
        .flat_map(|v| values[v.index()].concat())
        .collect()
}

fn engine(graph: &FloatGraph, fusion: Fusion, images: usize, isa: Isa) -> Engine {
    let threads = Threads::new(Some(2)).unwrap();
    Engine::new(graph, &graph.outputs, fusion, images, true, isa, threads)
}

pub(crate) fn images(graph: &FloatGraph, n: usize) -> Vec<Vec<f32>> {
    let mut numbers = Numbers(99);
    (0..n)
        .map(|_| numbers.take(graph.input_shape().len()))
        .collect()
}

fn close(name: &str, what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{name}: {what}");
    let scale = expected.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * scale,
            "{name}: {what}[{i}] is {a}, should be {b} (scale {scale})"
        );
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

#[test]
fn forward_agrees_with_the_reference() {
    for (name, graph) in networks() {
        for n in [1, 16, 21] {
            let inputs = images(&graph, n);
            for fusion in [Fusion::Fused, Fusion::Rounded, Fusion::EveryValue] {
                for mode in [Mode::Running, Mode::Batch] {
                    let mut engine = engine(&graph, fusion, n, Isa::detect());
                    let params = Params::of(engine.plan(), &graph);
                    let mut prepared = Prepared::default();
                    engine.prepare(&params, &[], &mut prepared);
                    engine.load(n, &|i, out| out.copy_from_slice(&inputs[i]));
                    engine.forward(&params, &prepared, mode, None);
                    let got = read_outputs(&engine);
                    let expected = forward_reference(&graph, &inputs, mode);
                    close(name, "output", &wide(&got), &expected, 2e-5);
                }
            }
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let n = 18;
    for (name, graph) in networks() {
        let inputs = images(&graph, n);
        for (mode, fusion) in [
            (Mode::Batch, Fusion::Fused),
            (Mode::Batch, Fusion::EveryValue),
            (Mode::Running, Fusion::Fused),
        ] {
            let mut engine = engine(&graph, fusion, n, Isa::detect());
            let params = Params::of(engine.plan(), &graph);
            let mut prepared = Prepared::default();
            engine.prepare(&params, &[], &mut prepared);
            engine.load(n, &|i, out| out.copy_from_slice(&inputs[i]));
            engine.forward(&params, &prepared, mode, None);
            let (seed, parts) = seeds(&engine, n);
            let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
            let infos = engine.plan().params.clone();
            let gradients = engine.backward(&params, &prepared, &parts).to_vec();
            let objective = |graph: &FloatGraph| -> f64 {
                forward_reference(graph, &inputs, mode)
                    .iter()
                    .zip(&seed)
                    .map(|(a, &b)| a * f64::from(b))
                    .sum()
            };
            for (info, gradient) in infos.iter().zip(&gradients) {
                assert!(info.trained, "{name}: everything here is trained");
                let mut pick = Numbers(info.len as u32);
                let scale = gradient.iter().fold(1e-2f32, |m, v| m.max(v.abs()));
                for _ in 0..4 {
                    let i = ((pick.next() + 1.0) / 2.0 * info.len as f32) as usize % info.len;
                    // A kink within the step makes one difference wrong; a smaller step steps over it.
                    let errors: Vec<f64> = [1e-3f32, 1e-5]
                        .iter()
                        .map(|h| {
                            let at = |h: f32| {
                                let mut moved = graph.clone();
                                let mut all = Params::of(engine.plan(), &graph);
                                let index = infos
                                    .iter()
                                    .position(|p| p.node == info.node && p.role == info.role);
                                let v = &mut all.tensors[index.unwrap()][i];
                                *v += h;
                                let x = f64::from(*v);
                                all.store(engine.plan(), &mut moved);
                                (x, objective(&moved))
                            };
                            let ((x1, y1), (x0, y0)) = (at(*h), at(-h));
                            let slope = (y1 - y0) / (x1 - x0);
                            (f64::from(gradient[i]) - slope).abs() / f64::from(scale)
                        })
                        .collect();
                    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
                    assert!(
                        best < 2e-3,
                        "{name} ({mode:?}, {fusion:?}): {:?} of n{:?}[{i}] off by {errors:?}",
                        info.role,
                        info.node
                    );
                }
            }
        }
    }
}

/// Masked layers through lists and through tiles (but not minimal filtering), on every instruction
/// set and with any number of threads: the same bits.
#[test]
fn masks_threads_and_instruction_sets_do_not_change_a_bit() {
    let n = 50;
    for (name, graph) in networks() {
        let inputs = images(&graph, n);
        let mut first: Option<(Vec<u32>, Vec<Vec<u32>>)> = None;
        let mut runs: Vec<(Isa, usize, bool)> = Isa::available()
            .into_iter()
            .map(|isa| (isa, 2, true))
            .collect();
        runs.push((Isa::detect(), 1, true));
        runs.push((Isa::detect(), 3, true));
        runs.push((Isa::detect(), 2, false));
        for (isa, threads, lists) in runs {
            let pool = Threads::new(Some(threads)).unwrap();
            let mut engine = Engine::new(&graph, &graph.outputs, Fusion::Fused, n, true, isa, pool);
            let mut params = Params::of(engine.plan(), &graph);
            let mut masks: Vec<Vec<bool>> = Vec::new();
            for (info, tensor) in engine.plan().params.iter().zip(&mut params.tensors) {
                let mut numbers = Numbers(3);
                let mask: Vec<bool> = (0..info.len)
                    .map(|_| info.role != Role::Weight || numbers.next() > 0.6)
                    .collect();
                for (v, live) in tensor.iter_mut().zip(&mask) {
                    *v = if *live { *v } else { 0.0 };
                }
                masks.push(mask);
            }
            let given: Vec<Option<&[bool]>> = masks
                .iter()
                .map(|m| lists.then_some(m.as_slice()))
                .collect();
            let mut prepared = Prepared::default();
            engine.prepare(&params, &given, &mut prepared);
            engine.load(n, &|i, out| out.copy_from_slice(&inputs[i]));
            engine.forward(&params, &prepared, Mode::Batch, None);
            let out = read_outputs(&engine);
            let (_, parts) = seeds(&engine, n);
            let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
            let mut gradients = engine.backward(&params, &prepared, &parts).to_vec();
            for (gradient, mask) in gradients.iter_mut().zip(&masks) {
                for (v, live) in gradient.iter_mut().zip(mask) {
                    *v = if *live { *v + 0.0 } else { 0.0 };
                }
            }
            let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            let this = (bits(&out), gradients.iter().map(|g| bits(g)).collect());
            match &first {
                None => first = Some(this),
                // Minimal filtering adds the same products up in another order.
                Some((bits, _)) if !lists && name == FILTERED => {
                    let first: Vec<f64> = bits.iter().map(|b| f32::from_bits(*b).into()).collect();
                    close(name, "output without lists", &wide(&out), &first, 1e-5);
                }
                Some(first) => {
                    assert_eq!(first.0, this.0, "{name}: output, {isa:?} {threads} {lists}");
                    assert_eq!(
                        first.1, this.1,
                        "{name}: gradient, {isa:?} {threads} {lists}"
                    );
                }
            }
        }
    }
}
