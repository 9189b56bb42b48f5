//! Slimmable networks (Yu et al., arXiv 1812.08928): a level keeps a share of the channels of every
//! layer, the strongest ones.
//!
//! Channels that are added to each other live and die together, and a depthwise convolution's are
//! those of its input; such channels form a *group*. A group is kept whole where a channel's number
//! means something to the outside: outputs of the network, and operators that are not known to leave
//! a channel of zeros a channel of zeros. The strength of a channel is the sum of the magnitudes of
//! its normalisations' scales in the given network.
//!
//! A level of share `s` gets the largest width `w` at which `max(1, round(w n))` channels of each
//! group of `n` need at most `1 - s` of the network's multiply-accumulates.

use std::collections::BTreeMap;

use crate::ir::float::{FloatGraph, FloatOp, Shape};
use crate::ir::ids::{NodeId, ValueId};
use crate::ir::nested::PRUNED;

/// Channels that are kept or dropped together.
#[derive(Clone, Debug)]
struct Group {
    /// Whether all are kept at any width.
    whole: bool,
    /// Each channel's place in the order of strength, 0 the strongest.
    place: Vec<usize>,
}

impl Group {
    fn kept(&self, width: f64) -> usize {
        let n = self.place.len();
        if self.whole {
            n
        } else {
            ((width * n as f64).round() as usize).clamp(1, n.max(1))
        }
    }
}

/// A convolution or fully connected layer.
#[derive(Clone, Debug)]
struct Layer {
    node: NodeId,
    /// The groups of its inputs and outputs, if they have such.
    input: Option<usize>,
    output: Option<usize>,
    inputs: usize,
    outputs: usize,
    /// Weights of one pair of input and output channel.
    taps: usize,
    /// Output pixels.
    pixels: usize,
    depthwise: bool,
    /// Whether channels of its weights can be left out.
    cut: bool,
}

/// The groups of a network.
#[derive(Clone, Debug)]
pub struct Widths {
    groups: Vec<Group>,
    layers: Vec<Layer>,
    /// Every node whose parameters are one a channel, with its group.
    channel_nodes: Vec<(NodeId, usize)>,
}

/// Collects channels into groups.
#[derive(Default)]
struct Groups {
    parent: Vec<usize>,
    whole: Vec<bool>,
    channels: Vec<usize>,
    of: BTreeMap<ValueId, usize>,
}

impl Groups {
    fn new_group(&mut self, channels: usize) -> usize {
        self.parent.push(self.parent.len());
        self.whole.push(false);
        self.channels.push(channels);
        self.parent.len() - 1
    }

    fn root(&self, mut group: usize) -> usize {
        while self.parent[group] != group {
            group = self.parent[group];
        }
        group
    }

    fn keep_whole(&mut self, value: ValueId) {
        if let Some(&group) = self.of.get(&value) {
            let root = self.root(group);
            self.whole[root] = true;
        }
    }

    /// The group of two values that are added.
    fn join(&mut self, a: ValueId, b: ValueId) -> Option<usize> {
        match (self.of.get(&a).copied(), self.of.get(&b).copied()) {
            (Some(x), Some(y)) => {
                let (x, y) = (self.root(x), self.root(y));
                self.parent[y] = x;
                self.whole[x] |= self.whole[y];
                Some(x)
            }
            _ => {
                self.keep_whole(a);
                self.keep_whole(b);
                None
            }
        }
    }

    /// The group of a node's output.
    fn through(&mut self, graph: &FloatGraph, id: NodeId) -> Option<usize> {
        let node = &graph.nodes[id];
        let (shape, input) = (graph.shape(node.inputs[0]), node.inputs[0]);
        let same = self.of.get(&input).copied();
        match &node.op {
            FloatOp::Conv(conv) if conv.groups == 1 => Some(self.new_group(conv.out_channels)),
            FloatOp::Conv(conv) if conv.is_depthwise() && conv.out_channels == shape.c => same,
            FloatOp::BatchNorm(_)
            | FloatOp::ChannelAffine { .. }
            | FloatOp::Relu
            | FloatOp::Relu6
            | FloatOp::MaxPool(_)
            | FloatOp::AvgPool { .. }
            | FloatOp::GlobalAvgPool => same,
            FloatOp::Flatten if shape == Shape::vector(shape.c) => same,
            // Zeros stay zeros, and a fully connected layer reads them like any others.
            FloatOp::Flatten | FloatOp::Dense(_) => None,
            FloatOp::Pad(pad) if pad.c == [0, 0] && pad.value == 0.0 => same,
            FloatOp::Slice(s) if (s.start[0], s.step[0], s.count[0]) == (0, 1, shape.c) => same,
            FloatOp::Add => self.join(node.inputs[0], node.inputs[1]),
            _ => {
                for &input in &node.inputs {
                    self.keep_whole(input);
                }
                None
            }
        }
    }
}

impl Widths {
    /// The groups of a verified network with a normalisation behind every convolution.
    pub fn new(graph: &FloatGraph) -> Self {
        let mut groups = Groups::default();
        for (id, node) in graph.nodes.iter_enumerated() {
            if let Some(group) = groups.through(graph, id) {
                groups.of.insert(node.output, group);
            }
        }
        for &output in &graph.outputs {
            groups.keep_whole(output);
        }
        let of = |v: ValueId| groups.of.get(&v).map(|&g| groups.root(g));
        let mut strength: Vec<Vec<f64>> = groups.channels.iter().map(|&n| vec![0.0; n]).collect();
        let (mut layers, mut channel_nodes) = (Vec::new(), Vec::new());
        for (id, node) in graph.nodes.iter_enumerated() {
            let (input, output) = (of(node.inputs[0]), of(node.output));
            let pixels = graph.shape(node.output).pixels();
            match &node.op {
                FloatOp::Conv(conv) => layers.push(Layer {
                    node: id,
                    input,
                    output,
                    inputs: conv.group_channels,
                    outputs: conv.out_channels,
                    taps: conv.window.taps(),
                    pixels,
                    depthwise: conv.is_depthwise(),
                    cut: conv.groups == 1,
                }),
                FloatOp::Dense(dense) => layers.push(Layer {
                    node: id,
                    input: None,
                    output: None,
                    inputs: dense.in_features,
                    outputs: dense.out_features,
                    taps: 1,
                    pixels: 1,
                    depthwise: false,
                    cut: false,
                }),
                _ => {}
            }
            if let FloatOp::BatchNorm(bn) = &node.op
                && let Some(group) = output
            {
                for (s, gamma) in strength[group].iter_mut().zip(&bn.gamma) {
                    *s += f64::from(gamma.abs());
                }
            }
            let by_channel = matches!(
                node.op,
                FloatOp::BatchNorm(_) | FloatOp::ChannelAffine { .. } | FloatOp::Conv(_)
            );
            if let Some(group) = output.filter(|_| by_channel) {
                channel_nodes.push((id, group));
            }
        }
        let groups = (strength.iter().zip(&groups.whole))
            .map(|(strength, &whole)| {
                let mut order: Vec<usize> = (0..strength.len()).collect();
                order.sort_by(|&a, &b| strength[b].total_cmp(&strength[a]).then(a.cmp(&b)));
                let mut place = vec![0; strength.len()];
                for (p, channel) in order.into_iter().enumerate() {
                    place[channel] = p;
                }
                Group { whole, place }
            })
            .collect();
        Self {
            groups,
            layers,
            channel_nodes,
        }
    }

    /// The convolutions whose channels can be left out.
    pub fn prunable(&self) -> Vec<NodeId> {
        let cut = self.layers.iter().filter(|l| l.cut);
        cut.map(|l| l.node).collect()
    }

    /// Every node whose parameters are one a channel, with a convolution that has the same channels
    /// as outputs: where a channel of that is dropped, so are these parameters.
    pub fn followers(&self) -> Vec<(NodeId, NodeId)> {
        let source = |group: usize| {
            let of_group = |l: &&Layer| l.cut && l.output == Some(group);
            self.layers.iter().find(of_group).map(|l| l.node)
        };
        (self.channel_nodes.iter())
            .filter_map(|&(id, group)| Some((id, source(group)?)))
            .collect()
    }

    /// Multiply-accumulates of an inference at a width.
    pub fn macs(&self, width: f64) -> u64 {
        let kept = |group: Option<usize>, all: usize| {
            group.map_or(all, |g| self.groups[g].kept(width)) as u64
        };
        self.layers
            .iter()
            .map(|l| {
                let outputs = kept(l.output, l.outputs);
                let inputs = if l.depthwise {
                    1
                } else {
                    kept(l.input.filter(|_| l.cut), l.inputs)
                };
                (l.taps * l.pixels) as u64 * outputs * inputs
            })
            .sum()
    }

    /// Multiply-accumulates that no width goes below.
    pub fn least_macs(&self) -> u64 {
        self.macs(0.0)
    }

    /// The largest width within `1 - share` of all multiply-accumulates, 0 if none is.
    pub fn width(&self, share: f64) -> f64 {
        let budget = ((1.0 - share) * self.macs(1.0) as f64).floor() as u64;
        if self.macs(1.0) <= budget {
            return 1.0;
        }
        let (mut fits, mut exceeds) = (0.0, 1.0);
        for _ in 0..40 {
            let middle = 0.5 * (fits + exceeds);
            if self.macs(middle) <= budget {
                fits = middle;
            } else {
                exceeds = middle;
            }
        }
        fits
    }

    /// The sparsest level that holds each weight of each of [`Widths::prunable`] ([`PRUNED`] for
    /// none), for these shares, sparsest first.
    pub fn owners(&self, shares: &[f64]) -> Vec<Vec<u8>> {
        let widths: Vec<f64> = shares.iter().map(|&s| self.width(s)).collect();
        let of_channel = |group: usize, channel: usize| {
            let group = &self.groups[group];
            let holds = |w: &f64| group.place[channel] < group.kept(*w);
            let level = widths.iter().position(holds);
            level.map_or(PRUNED, |l| l as u8)
        };
        let of = |group: Option<usize>, count: usize| -> Vec<u8> {
            (0..count)
                .map(|c| group.map_or(0, |g| of_channel(g, c)))
                .collect()
        };
        self.layers
            .iter()
            .filter(|l| l.cut)
            .map(|l| {
                let inputs = of(l.input, l.inputs);
                let outputs = of(l.output, l.outputs);
                let pairs = (outputs.iter()).flat_map(|&o| inputs.iter().map(move |&i| o.max(i)));
                pairs
                    .flat_map(|owner| std::iter::repeat_n(owner, l.taps))
                    .collect()
            })
            .collect()
    }
}
