//! Removes dead channels: those that hold one constant value, and those that nothing reads.
//!
//! A channel of a feature map is *constant* if every pixel holds the same value whatever the input,
//! one value a level: an output channel whose weights are all zero at the densest level, and
//! whatever is computed from constants alone. A consumer does not need to read it: its share of the
//! accumulator is a constant that moves into the bias, `bias += sum(w * value)`, exactly. Where the
//! consumer pads, some windows see padding instead of the channel, so that the value must be what
//! padding holds (the zero point), unless no tap in question ever leaves the map.
//!
//! What stays is found backwards from the network's outputs, as in any elimination of dead code: a
//! channel stays if a weight that cannot be folded leads from it to a channel that stays. Layers
//! that keep their channels apart (depthwise, additions, pooling) tie channels of their tensors
//! together: those go together or not at all. The network's input and outputs are never changed, nor
//! are the neighbours of layers that mix channels otherwise (grouped convolutions, padding and
//! slopes of channels, softmax). A tensor keeps one channel at least.
//!
//! The outputs of the network keep every bit. Convolutions remember what they were in the model
//! ([`ModelCounts`](crate::ir::int::ModelCounts)), for reports.

use std::collections::BTreeSet;

use nest_format::Requant;

use crate::ir::float::{Shape, Window};
use crate::ir::ids::{IdVec, LayerId, TensorId};
use crate::ir::int::{IntConv, IntGraph, IntLayer, IntMove, IntOp};

use super::moving::nests;

/// Removes dead channels from a verified graph.
pub fn eliminate(graph: IntGraph) -> IntGraph {
    // Channels that cannot be folded for the size of a bias: none in practice.
    let mut kept_for_bias = BTreeSet::new();
    loop {
        let channels = Channels::of(&graph);
        let constants = constants(&graph, &channels);
        let live = live(&graph, &channels, &constants, &kept_for_bias);
        let removal = Removal {
            graph: &graph,
            channels: &channels,
            constants: &constants,
            live: &live,
        };
        match removal.apply() {
            Ok(smaller) => return smaller,
            Err(channel) => {
                kept_for_bias.insert(channel);
            }
        }
    }
}

/// Numbers all channels of all tensors.
struct Channels {
    first: IdVec<TensorId, usize>,
    count: usize,
}

impl Channels {
    fn of(graph: &IntGraph) -> Self {
        let mut count = 0;
        let first = (graph.tensors.iter())
            .map(|t| {
                count += t.shape.c;
                count - t.shape.c
            })
            .collect();
        Self { first, count }
    }
    fn number(&self, tensor: TensorId, channel: usize) -> usize {
        self.first[tensor] + channel
    }
}

/// How a layer treats channels.
enum Kind<'a> {
    /// Any output channel reads any input channel.
    Mixing(&'a IntConv),
    /// Output channel `o` reads channel `o / multiplier` of each input.
    Apart { multiplier: usize },
    /// An output channel consists of elements of input channels.
    Moving(&'a [IntMove]),
    /// Otherwise.
    Fixed,
}

fn kind<'a>(graph: &IntGraph, layer: &'a IntLayer) -> Kind<'a> {
    match &layer.op {
        IntOp::Conv(conv) if conv.groups == 1 => Kind::Mixing(conv),
        IntOp::Conv(conv) if conv.group_channels == 1 => Kind::Apart {
            multiplier: conv.out_channels / conv.groups,
        },
        IntOp::Conv(_) | IntOp::Softmax(_) | IntOp::PRelu(_) => Kind::Fixed,
        IntOp::Move(moves) => Kind::Moving(moves),
        IntOp::Binary { constant, .. } => {
            let all = graph.tensors[layer.output].shape.c;
            let same = (layer.inputs.iter()).all(|&t| graph.tensors[t].shape.c == all);
            if same && constant.is_none() {
                Kind::Apart { multiplier: 1 }
            } else {
                Kind::Fixed
            }
        }
        IntOp::Pad { c, .. } if *c != [0, 0] => Kind::Fixed,
        _ => Kind::Apart { multiplier: 1 },
    }
}

impl IntConv {
    /// The weights of an output channel that some level uses and that are not zero, each as (index,
    /// tap, channel of the group).
    fn row(&self, channel: usize, levels: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let row = self.window.taps() * self.group_channels;
        (0..row)
            .map(move |i| {
                (
                    channel * row + i,
                    i / self.group_channels,
                    i % self.group_channels,
                )
            })
            .filter(move |&(at, ..)| self.weight[at] != 0 && self.first_level(at) < levels)
    }
    /// The sparsest level that holds a weight.
    fn first_level(&self, at: usize) -> usize {
        (self.weight_levels.as_ref()).map_or(0, |levels| usize::from(levels[at]))
    }
}

/// For every tap of a window, whether it lies in the padding for some output pixel.
fn touching_padding(window: &Window, x: Shape, y: Shape) -> Vec<bool> {
    let beyond = |axis: usize, tap: usize, n: usize, out: usize| {
        let first = tap * window.dilation[axis];
        let last = first + out.saturating_sub(1) * window.stride[axis];
        first < window.pads[axis] || last >= n + window.pads[axis]
    };
    let [rows, columns] = window.kernel;
    (0..rows * columns)
        .map(|tap| beyond(0, tap / columns, x.h, y.h) || beyond(1, tap % columns, x.w, y.w))
        .collect()
}

/// How many taps of a window lie inside the map, for every output pixel, each number once.
fn taps_inside(window: &Window, x: Shape, y: Shape) -> BTreeSet<usize> {
    let inside = |axis: usize, n: usize, out: usize| -> BTreeSet<usize> {
        (0..out)
            .map(|o| {
                let at = |k: usize| o * window.stride[axis] + k * window.dilation[axis];
                let range = window.pads[axis]..n + window.pads[axis];
                (0..window.kernel[axis])
                    .filter(|&k| range.contains(&at(k)))
                    .count()
            })
            .collect()
    };
    let columns = inside(1, x.w, y.w);
    (inside(0, x.h, y.h).iter())
        .flat_map(|rows| columns.iter().map(move |columns| rows * columns))
        .collect()
}

/// The value of every channel that has only one, one a level.
type Constants = Vec<Option<Vec<i8>>>;

fn constants(graph: &IntGraph, channels: &Channels) -> Constants {
    let mut known: Constants = vec![None; channels.count];
    let levels = graph.sparsities.len();
    for layer in &graph.layers {
        let y = graph.tensors[layer.output].shape;
        let sources = match &layer.op {
            IntOp::Move(moves) => moved_channels(graph, layer, moves),
            _ => Vec::new(),
        };
        for channel in 0..y.c {
            let value = match &layer.op {
                IntOp::Conv(conv) => conv_constant(graph, channels, layer, conv, channel, &known),
                IntOp::Move(moves) => {
                    moved_constant(channels, layer, moves, &sources[channel], &known)
                }
                _ => match kind(graph, layer) {
                    Kind::Apart { .. } => {
                        let inputs: Option<Vec<&[i8]>> = (layer.inputs.iter())
                            .map(|&t| known[channels.number(t, channel)].as_deref())
                            .collect();
                        inputs.and_then(|inputs| {
                            let at = |level| {
                                let inputs: Vec<i8> = inputs.iter().map(|k| k[level]).collect();
                                constant(graph, layer, &inputs, level)
                            };
                            (0..levels).map(at).collect()
                        })
                    }
                    _ => None,
                },
            };
            known[channels.number(layer.output, channel)] = value;
        }
    }
    known
}

/// For each output channel, the inputs' channels that its elements come from, as (input, channel).
fn moved_channels(
    graph: &IntGraph,
    layer: &IntLayer,
    moves: &[IntMove],
) -> Vec<BTreeSet<(usize, usize)>> {
    let out_channels = graph.tensors[layer.output].shape.c;
    let mut all = vec![BTreeSet::new(); out_channels];
    for (input, moved) in moves.iter().enumerate() {
        let channels = graph.tensors[layer.inputs[input]].shape.c;
        moved.each(&mut |from, to| {
            all[to % out_channels].insert((input, from % channels));
        });
    }
    all
}

/// The value of a moved channel, if all that it consists of has one and the same.
fn moved_constant(
    channels: &Channels,
    layer: &IntLayer,
    moves: &[IntMove],
    sources: &BTreeSet<(usize, usize)>,
    known: &Constants,
) -> Option<Vec<i8>> {
    let of_source = |&(input, channel): &(usize, usize)| -> Option<Vec<i8>> {
        let value = known[channels.number(layer.inputs[input], channel)].as_ref()?;
        let given = |(level, &v): (usize, &i8)| match &moves[input].tables {
            Some(tables) => tables[level][usize::from(v as u8)],
            None => v,
        };
        Some(value.iter().enumerate().map(given).collect())
    };
    let mut values = sources.iter().map(of_source);
    let first = values.next()??;
    values
        .all(|value| value.as_ref() == Some(&first))
        .then_some(first)
}

/// The value of a convolution's output channel, if it has only one.
fn conv_constant(
    graph: &IntGraph,
    channels: &Channels,
    layer: &IntLayer,
    conv: &IntConv,
    channel: usize,
    known: &Constants,
) -> Option<Vec<i8>> {
    let levels = graph.sparsities.len();
    let input = &graph.tensors[layer.inputs[0]];
    let output = &graph.tensors[layer.output];
    let touching = touching_padding(&conv.window, input.shape, output.shape);
    let first = channel / (conv.out_channels / conv.groups) * conv.group_channels;
    (0..levels)
        .map(|level| {
            let requant = &conv.requant[level][channel];
            let mut sum = 0i64;
            if requant.multiplier != 0 {
                for (at, tap, c) in conv.row(channel, level + 1) {
                    let value = known[channels.number(layer.inputs[0], first + c)].as_ref()?[level];
                    if touching[tap] && value != input.quant[level].zero_point {
                        return None;
                    }
                    sum += i64::from(value) * i64::from(conv.weight[at]);
                }
            }
            Some(requant.apply(i32::try_from(sum).ok()?, output.quant[level].zero_point))
        })
        .collect()
}

/// What a layer that keeps channels apart gives for a channel whose pixels all hold one value.
fn constant(graph: &IntGraph, layer: &IntLayer, inputs: &[i8], level: usize) -> Option<i8> {
    let tensor = &graph.tensors[layer.inputs[0]];
    let output = &graph.tensors[layer.output];
    let (x, y, zero) = (tensor.shape, output.shape, output.quant[level].zero_point);
    let value = inputs[0];
    match &layer.op {
        IntOp::Add(params) => Some(params[level].apply(value, inputs[1])),
        IntOp::Clamp(bounds) => Some(value.clamp(bounds[level][0], bounds[level][1])),
        IntOp::MaxPool(window) => {
            let some_outside = taps_inside(window, x, y).contains(&0);
            (!some_outside || value == i8::MIN).then_some(value)
        }
        IntOp::AvgPool {
            window,
            count_include_pad,
            requant,
        } => {
            let pad = i32::from(tensor.quant[level].zero_point);
            let means: BTreeSet<i8> = (taps_inside(window, x, y).into_iter())
                .map(|inside| {
                    let outside = match (count_include_pad, inside) {
                        (true, _) => window.taps() - inside,
                        (false, 0) => 1,
                        (false, _) => 0,
                    };
                    let sum = inside as i32 * i32::from(value) + outside as i32 * pad;
                    requant[level][inside + outside - 1].apply(sum, zero)
                })
                .collect();
            means.first().copied().filter(|_| means.len() == 1)
        }
        IntOp::GlobalAvgPool(requant) => {
            Some(requant[level].apply(x.pixels() as i32 * i32::from(value), zero))
        }
        IntOp::Pad {
            h, w, value: by, ..
        } => {
            let unpadded = (*h, *w) == ([0, 0], [0, 0]);
            (unpadded || by[level] == value).then_some(value)
        }
        IntOp::Resize { .. } => Some(value),
        IntOp::Lookup(tables) => Some(tables[level][usize::from(value as u8)]),
        IntOp::Binary { operation, .. } => Some(operation.apply(level, value, inputs[1])),
        IntOp::Conv(_) | IntOp::Softmax(_) | IntOp::Move(_) | IntOp::PRelu(_) => None,
    }
}

/// Channels that go together or not at all.
struct Ties {
    parent: Vec<usize>,
}

impl Ties {
    fn of(graph: &IntGraph, channels: &Channels) -> Self {
        let mut ties = Self {
            parent: (0..channels.count).collect(),
        };
        for layer in &graph.layers {
            match kind(graph, layer) {
                Kind::Apart { multiplier } => {
                    for channel in 0..graph.tensors[layer.output].shape.c {
                        let output = channels.number(layer.output, channel);
                        for &input in &layer.inputs {
                            ties.tie(channels.number(input, channel / multiplier), output);
                        }
                    }
                }
                Kind::Moving(moves) => {
                    let sources = moved_channels(graph, layer, moves);
                    for (channel, sources) in sources.iter().enumerate() {
                        let output = channels.number(layer.output, channel);
                        for &(input, channel) in sources {
                            ties.tie(channels.number(layer.inputs[input], channel), output);
                        }
                    }
                }
                Kind::Mixing(_) | Kind::Fixed => {}
            }
        }
        ties
    }
    fn tie(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a] = b;
    }
    fn find(&mut self, mut channel: usize) -> usize {
        while self.parent[channel] != channel {
            self.parent[channel] = self.parent[self.parent[channel]];
            channel = self.parent[channel];
        }
        channel
    }
}

/// Which channels stay.
fn live(
    graph: &IntGraph,
    channels: &Channels,
    constants: &Constants,
    kept_for_bias: &BTreeSet<usize>,
) -> Vec<bool> {
    let mut ties = Ties::of(graph, channels);
    let mut members: Vec<Vec<(TensorId, usize)>> = vec![Vec::new(); channels.count];
    for (id, tensor) in graph.tensors.iter_enumerated() {
        for channel in 0..tensor.shape.c {
            let group = ties.find(channels.number(id, channel));
            members[group].push((id, channel));
        }
    }
    let mut producer: IdVec<TensorId, Option<LayerId>> =
        graph.tensors.iter().map(|_| None).collect();
    let mut fixed: Vec<TensorId> = graph.outputs.clone();
    fixed.push(graph.input);
    for (id, layer) in graph.layers.iter_enumerated() {
        producer[layer.output] = Some(id);
        if let Kind::Fixed = kind(graph, layer) {
            fixed.extend(&layer.inputs);
            fixed.push(layer.output);
        }
    }

    // Groups that stay, and those among them whose reads are not yet followed.
    let mut stays = vec![false; channels.count];
    let mut open: Vec<usize> = kept_for_bias.iter().map(|&c| ties.find(c)).collect();
    for tensor in fixed {
        for channel in 0..graph.tensors[tensor].shape.c {
            open.push(ties.find(channels.number(tensor, channel)));
        }
    }
    loop {
        while let Some(group) = open.pop() {
            if std::mem::replace(&mut stays[group], true) {
                continue;
            }
            for &(tensor, channel) in &members[group] {
                let Some(id) = producer[tensor] else {
                    continue;
                };
                let layer = &graph.layers[id];
                if let Kind::Mixing(conv) = kind(graph, layer) {
                    for input in reads(graph, channels, layer, conv, channel, constants) {
                        open.push(ties.find(input));
                    }
                }
            }
        }
        // No tensor without a channel.
        let empty = graph.tensors.iter_enumerated().find(|(id, tensor)| {
            !(0..tensor.shape.c).any(|c| stays[ties.find(channels.number(*id, c))])
        });
        match empty {
            Some((id, tensor)) if tensor.shape.c > 0 => {
                open.push(ties.find(channels.number(id, 0)));
            }
            _ => break,
        }
    }
    (0..channels.count)
        .map(|channel| stays[ties.find(channel)])
        .collect()
}

/// The input channels that an output channel of a convolution cannot do without.
fn reads(
    graph: &IntGraph,
    channels: &Channels,
    layer: &IntLayer,
    conv: &IntConv,
    channel: usize,
    constants: &Constants,
) -> BTreeSet<usize> {
    let input = &graph.tensors[layer.inputs[0]];
    let touching = touching_padding(&conv.window, input.shape, graph.tensors[layer.output].shape);
    let like_padding = |value: &Vec<i8>| {
        let zero_points = input.quant.iter().map(|q| &q.zero_point);
        value.iter().eq(zero_points)
    };
    conv.row(channel, graph.sparsities.len())
        .map(|(_, tap, c)| (tap, channels.number(layer.inputs[0], c)))
        .filter(|&(tap, c)| {
            let folds =
                (constants[c].as_ref()).is_some_and(|value| !touching[tap] || like_padding(value));
            !folds
        })
        .map(|(_, c)| c)
        .collect()
}

/// What goes, and all that is known of it.
struct Removal<'a> {
    graph: &'a IntGraph,
    channels: &'a Channels,
    constants: &'a Constants,
    live: &'a [bool],
}

impl Removal<'_> {
    /// The graph without the dead channels, or the channel whose share a bias cannot hold.
    fn apply(&self) -> Result<IntGraph, usize> {
        let mut graph = self.graph.clone();
        for (id, tensor) in self.graph.tensors.iter_enumerated() {
            graph.tensors[id].shape.c = self.live_of(id, tensor.shape.c).len();
        }
        for (id, layer) in self.graph.layers.iter_enumerated() {
            match &mut graph.layers[id].op {
                IntOp::Conv(conv) => {
                    if let Some(smaller) = self.conv(layer, conv)? {
                        *conv = smaller;
                    }
                }
                IntOp::Move(moves) => self.moves(layer, moves),
                _ => {}
            }
        }
        Ok(graph)
    }

    fn live_of(&self, tensor: TensorId, channels: usize) -> Vec<usize> {
        (0..channels)
            .filter(|&c| self.live[self.channels.number(tensor, c)])
            .collect()
    }

    /// Movements without dead channels.
    fn moves(&self, layer: &IntLayer, moves: &mut [IntMove]) {
        // For each channel of a tensor, its number among those that stay.
        let numbers = |tensor: TensorId| {
            let all = self.graph.tensors[tensor].shape.c;
            let live = self.live_of(tensor, all);
            let mut numbers = vec![None; all];
            for (new, &old) in live.iter().enumerate() {
                numbers[old] = Some(new);
            }
            (numbers, live.len())
        };
        let (of_output, channels) = numbers(layer.output);
        for (moved, &input) in moves.iter_mut().zip(&layer.inputs) {
            let (of_input, input_channels) = numbers(input);
            if channels == of_output.len() && input_channels == of_input.len() {
                continue;
            }
            let mut pairs: Vec<(u32, u32)> = Vec::new();
            moved.each(&mut |from, to| {
                let at = |i: usize, numbers: &[Option<usize>], channels: usize| {
                    let pixel = i / numbers.len();
                    Some((pixel * channels + numbers[i % numbers.len()]?) as u32)
                };
                let from = at(from, &of_input, input_channels);
                pairs.extend(from.zip(at(to, &of_output, channels)));
            });
            pairs.sort_unstable_by_key(|&(_, to)| to);
            moved.nests = nests(pairs.into_iter());
        }
    }

    /// A convolution without its dead rows and columns; `None` if it has none.
    fn conv(&self, layer: &IntLayer, conv: &IntConv) -> Result<Option<IntConv>, usize> {
        let input = layer.inputs[0];
        let rows = self.live_of(layer.output, conv.out_channels);
        let columns = self.live_of(input, self.graph.tensors[input].shape.c);
        let all_columns = columns.len() == conv.groups * conv.group_channels;
        if rows.len() == conv.out_channels && all_columns {
            return Ok(None);
        }
        let mixing = conv.groups == 1;
        // Of a row's weights: all of a depthwise row, else those of live channels.
        let row = conv.window.taps() * conv.group_channels;
        let stays = |i: &usize| {
            let channel = i % conv.group_channels;
            !mixing || self.live[self.channels.number(input, channel)]
        };
        let places: Vec<usize> = (rows.iter())
            .flat_map(|&o| (0..row).filter(stays).map(move |i| o * row + i))
            .collect();
        let mut requant = Vec::with_capacity(conv.requant.len());
        for (level, table) in conv.requant.iter().enumerate() {
            let folded = |&o: &usize| {
                if mixing {
                    self.folded(conv, input, o, level, &table[o])
                } else {
                    Ok(table[o])
                }
            };
            requant.push(rows.iter().map(folded).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Some(IntConv {
            window: conv.window,
            out_channels: rows.len(),
            group_channels: if mixing { columns.len() } else { 1 },
            groups: if mixing { 1 } else { columns.len() },
            weight: places.iter().map(|&i| conv.weight[i]).collect(),
            weight_levels: (conv.weight_levels.as_ref())
                .map(|levels| places.iter().map(|&i| levels[i]).collect()),
            requant,
            weight_scale: rows.iter().map(|&o| conv.weight_scale[o]).collect(),
            model: Some(conv.model_counts(self.graph.sparsities.len())),
        }))
    }

    /// Constants of a row with the shares of its dead inputs, or the one that goes too far.
    fn folded(
        &self,
        conv: &IntConv,
        input: TensorId,
        channel: usize,
        level: usize,
        requant: &Requant,
    ) -> Result<Requant, usize> {
        let mut sum = 0i64;
        let mut dead = None;
        for (at, _, c) in conv.row(channel, level + 1) {
            let number = self.channels.number(input, c);
            if let (false, Some(value)) = (self.live[number], &self.constants[number]) {
                sum += i64::from(conv.weight[at]) * i64::from(value[level]);
                dead = Some(number);
            }
        }
        match (with_bias(requant, sum), dead) {
            (Some(requant), _) => Ok(requant),
            (None, Some(dead)) => Err(dead),
            (None, None) => Ok(*requant),
        }
    }
}

/// Constants for accumulators that lack `share`, if the bias bears it.
fn with_bias(requant: &Requant, share: i64) -> Option<Requant> {
    let bias = i32::try_from(i64::from(requant.bias) + share).ok()?;
    (bias.unsigned_abs() <= Requant::MAX_BIAS as u32)
        .then(|| Requant::new(bias, requant.multiplier))
}
