//! Rules every float graph and nested model keeps, checked after every pass.
//!
//! A breach is a bug of nestc, not of the user's file: the importer refuses whatever could lead to
//! one. All breaches are collected. The rules:
//!
//! | rule | holds when |
//! |---|---|
//! | V001 | the graph has an input |
//! | V002 | every id is in range |
//! | V003 | every value but the input is given by exactly one node |
//! | V004 | nodes stand in topological order |
//! | V005 | every node has as many inputs as its operation takes |
//! | V006 | windows, pads, slices and groups are in range |
//! | V007 | parameters are as many as the operation needs |
//! | V008 | every value has the extents its node gives |
//! | V009 | every value has between 1 and 2^24 elements |
//! | V010 | parameters are finite and variances positive |
//! | V011 | every position of a pooling window covers an element of the input |
//! | V012 | there is an output, outputs differ, none is the input; layouts have their extents |
//! | V013 | names of values and of nodes are given and unique |
//! | V014 | every value is read or is an output |
//! | V020 | a nested model has 1 to 254 levels of falling sparsity within 0 to 1 |
//! | V021 | weight levels belong to a conv or dense node, one a weight, each a level or pruned |
//! | V022 | a weight that no level uses is zero |
//! | V023 | level parameters are one set a level, of the node's kind and size, finite |
//! | V024 | the graph's own parameters are those of the densest level |
//! | V025 | preprocessing is finite, divides by above 0, one value a channel or one for all; bgr has 3 channels |

use std::collections::HashSet;
use std::fmt;

use super::float::{BatchNorm, Conv, FloatGraph, FloatOp, Node, Shape, Unary, Window};
use super::ids::{IdVec, ValueId};

mod nested;
#[cfg(test)]
pub(crate) mod tests;

pub use nested::verify_nested;

/// Most elements a value or a tensor of parameters may have. Nothing near it runs on a
/// microcontroller, and a product of two extents below it fits any integer.
pub const MAX_ELEMENTS: usize = 1 << 24;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// `V006`.
    pub rule: &'static str,
    /// The node, value or level.
    pub place: String,
    /// What is found.
    pub message: String,
}

impl Breach {
    fn new(rule: &'static str, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule,
            place: place.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.place, self.message)
    }
}

/// All breaches of a graph; empty if it is sound.
pub fn verify(graph: &FloatGraph) -> Vec<Breach> {
    let mut breaches = Vec::new();
    ids(graph, &mut breaches);
    if !breaches.is_empty() {
        // Nothing below may index by these ids.
        return breaches;
    }
    flow(graph, &mut breaches);
    for node in &graph.nodes {
        let place = place(node);
        let before = breaches.len();
        if !node.op.arity().contains(&node.inputs.len()) {
            breaches.push(Breach::new(
                "V005",
                &place,
                format!(
                    "{} inputs, {} takes {}",
                    node.inputs.len(),
                    node.op.name(),
                    node.op.arity().start()
                ),
            ));
            continue;
        }
        ranges(&place, node, graph, &mut breaches);
        parameters(&place, &node.op, &mut breaches);
        if breaches.len() == before {
            shapes(&place, node, graph, &mut breaches);
        }
    }
    for value in &graph.values {
        let extents = [value.shape.c, value.shape.h, value.shape.w];
        let count = extents
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .filter(|n| (1..=MAX_ELEMENTS).contains(n));
        if count.is_none() {
            breaches.push(Breach::new(
                "V009",
                format!("value '{}'", value.name),
                format!("{} elements", value.shape),
            ));
        }
    }
    names(graph, &mut breaches);
    breaches
}

/// `conv 'name'`.
pub(super) fn place(node: &Node) -> String {
    format!("{} '{}'", node.op.name(), node.name)
}

/// V001, V002.
fn ids(graph: &FloatGraph, breaches: &mut Vec<Breach>) {
    let known = |id: ValueId| graph.values.get(id).is_some();
    match graph.input {
        None => breaches.push(Breach::new("V001", "graph", "has no input")),
        Some(id) if !known(id) => {
            breaches.push(Breach::new("V002", "graph", format!("input {id}")));
        }
        Some(_) => {}
    }
    for node in &graph.nodes {
        for &id in node.inputs.iter().chain([&node.output]) {
            if !known(id) {
                breaches.push(Breach::new("V002", place(node), format!("value {id}")));
            }
        }
    }
    for &id in &graph.outputs {
        if !known(id) {
            breaches.push(Breach::new("V002", "graph", format!("output {id}")));
        }
    }
}

/// V003, V004, V012, V014: who gives and who reads.
fn flow(graph: &FloatGraph, breaches: &mut Vec<Breach>) {
    let mut given: IdVec<ValueId, usize> = graph.values.iter().map(|_| 0).collect();
    let mut read: IdVec<ValueId, bool> = graph.values.iter().map(|_| false).collect();
    if let Some(input) = graph.input {
        given[input] += 1;
        // A network may ignore its input only by having no outputs, which V012 reports.
        read[input] = true;
    }
    for node in &graph.nodes {
        for &input in &node.inputs {
            read[input] = true;
            if given[input] == 0 {
                breaches.push(Breach::new(
                    "V004",
                    place(node),
                    format!("reads '{}' before it is given", graph.values[input].name),
                ));
            }
        }
        given[node.output] += 1;
    }
    let mut outputs = HashSet::new();
    for &output in &graph.outputs {
        read[output] = true;
        let name = format!("output '{}'", graph.values[output].name);
        if Some(output) == graph.input {
            breaches.push(Breach::new("V012", name, "is the input"));
        } else if !outputs.insert(output) {
            breaches.push(Breach::new("V012", name, "is listed twice"));
        }
    }
    if graph.outputs.is_empty() {
        breaches.push(Breach::new("V012", "graph", "has no output"));
    }
    let (layouts, outputs) = (graph.output_layouts.len(), graph.outputs.len());
    if layouts != 0 && layouts != outputs {
        let message = format!("lays out {layouts} of {outputs} outputs");
        breaches.push(Breach::new("V012", "graph", message));
    }
    for (&output, layout) in graph.outputs.iter().zip(&graph.output_layouts) {
        let count = layout
            .dims
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d));
        let shape = graph.shape(output);
        let held = (shape.extents().into_iter()).try_fold(1usize, usize::checked_mul);
        if count.is_none() || count != held {
            let name = format!("output '{}'", graph.values[output].name);
            let message = format!("{shape} is laid out as {:?}", layout.dims);
            breaches.push(Breach::new("V012", name, message));
        }
    }
    for id in graph.values.ids() {
        let name = format!("value '{}'", graph.values[id].name);
        if given[id] != 1 {
            breaches.push(Breach::new(
                "V003",
                &name,
                format!("is given {} times", given[id]),
            ));
        }
        if !read[id] {
            breaches.push(Breach::new("V014", &name, "is never read"));
        }
    }
}

/// V006: numbers that index or divide.
fn ranges(place: &str, node: &Node, graph: &FloatGraph, breaches: &mut Vec<Breach>) {
    let mut breach = |message: String| breaches.push(Breach::new("V006", place, message));
    let window = |w: &Window| {
        let positive = (w.kernel.iter())
            .chain(&w.stride)
            .chain(&w.dilation)
            .all(|n| (1..=MAX_ELEMENTS).contains(n));
        let small = w.pads.iter().all(|&p| p <= MAX_ELEMENTS);
        (!(positive && small)).then(|| format!("window {w:?}"))
    };
    match &node.op {
        FloatOp::Conv(conv) => {
            window(&conv.window).map(&mut breach);
            let channels = graph.shape(node.inputs[0]).c;
            let fits = conv.groups > 0
                && conv.out_channels > 0
                && conv.out_channels.is_multiple_of(conv.groups)
                && channels.is_multiple_of(conv.groups)
                && channels / conv.groups == conv.group_channels;
            if !fits {
                breach(format!(
                    "{} groups of {} channels from {channels} to {}",
                    conv.groups, conv.group_channels, conv.out_channels
                ));
            }
        }
        FloatOp::MaxPool(w) | FloatOp::AvgPool { window: w, .. } => {
            window(w).map(&mut breach);
        }
        FloatOp::Pad(pad) => {
            let amounts = [pad.c, pad.h, pad.w];
            if amounts.as_flattened().iter().any(|&n| n > MAX_ELEMENTS) {
                breach(format!("pads by {amounts:?}"));
            }
        }
        FloatOp::Slice(slice) => {
            let x = graph.shape(node.inputs[0]);
            for (axis, n) in [x.c, x.h, x.w].into_iter().enumerate() {
                let (start, step, count) = (slice.start[axis], slice.step[axis], slice.count[axis]);
                let last = count
                    .checked_sub(1)
                    .and_then(|c| c.checked_mul(step))
                    .and_then(|d| d.checked_add(start));
                if step == 0 || last.is_none_or(|last| last >= n) {
                    breach(format!(
                        "takes {count} of {n} from {start} by {step} on axis {axis}"
                    ));
                }
            }
        }
        FloatOp::Select { indices, .. } if indices.is_empty() || indices.len() > MAX_ELEMENTS => {
            breach(format!("takes {} elements", indices.len()));
        }
        FloatOp::WithConstant(w) => {
            small(&w.shape.extents()).map(&mut breach);
        }
        FloatOp::Rearrange(r) => {
            small(&r.factors).map(&mut breach);
            small(&r.shape.extents()).map(&mut breach);
        }
        FloatOp::Resize(r) => {
            small(&r.size).map(&mut breach);
            if !r.scale.iter().all(|s| s.is_finite() && *s > 0.0) {
                breach(format!("scales by {:?}", r.scale));
            }
        }
        _ => {}
    }
}

/// What is wrong with extents whose product is to be taken, if anything.
fn small(extents: &[usize]) -> Option<String> {
    let product = extents.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let fits = product.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n));
    (!fits).then(|| format!("extents {extents:?}"))
}

/// V007 and V010.
fn parameters(place: &str, op: &FloatOp, breaches: &mut Vec<Breach>) {
    let mut count = |what: &str, found: usize, needed: Option<usize>| {
        if Some(found) != needed {
            let needed = needed.map_or_else(|| "too many".to_owned(), |n| n.to_string());
            let message = format!("{found} {what} where {needed} are needed");
            breaches.push(Breach::new("V007", place, message));
        }
    };
    let mut all: Vec<&[f32]> = Vec::new();
    match op {
        FloatOp::Conv(conv) => {
            count("weights", conv.weight.len(), weight_count(conv));
            all.push(&conv.weight);
            if let Some(bias) = &conv.bias {
                count("biases", bias.len(), Some(conv.out_channels));
                all.push(bias);
            }
        }
        FloatOp::Dense(dense) => {
            let needed = dense.out_features.checked_mul(dense.in_features);
            count("weights", dense.weight.len(), needed);
            all.push(&dense.weight);
            if let Some(bias) = &dense.bias {
                count("biases", bias.len(), Some(dense.out_features));
                all.push(bias);
            }
        }
        FloatOp::BatchNorm(bn) => {
            for vector in [&bn.beta, &bn.mean, &bn.var] {
                count("parameters", vector.len(), Some(bn.gamma.len()));
            }
            all.extend([bn.gamma.as_slice(), &bn.beta, &bn.mean, &bn.var]);
            all.push(std::slice::from_ref(&bn.epsilon));
        }
        FloatOp::ChannelAffine { scale, shift } => {
            count("shifts", shift.len(), Some(scale.len()));
            all.extend([scale.as_slice(), shift]);
        }
        FloatOp::Pad(pad) => all.push(std::slice::from_ref(&pad.value)),
        FloatOp::PRelu(slope) => all.push(slope),
        FloatOp::WithConstant(w) => {
            let needed = (w.shape.extents().into_iter()).try_fold(1usize, usize::checked_mul);
            count("constants", w.data.len(), needed);
            all.push(&w.data);
        }
        FloatOp::Unary(Unary::LeakyRelu { alpha } | Unary::Elu { alpha }) => {
            all.push(std::slice::from_ref(alpha));
        }
        FloatOp::Unary(Unary::HardSigmoid { alpha, beta }) => {
            all.push(std::slice::from_ref(alpha));
            all.push(std::slice::from_ref(beta));
        }
        _ => {}
    }
    if let FloatOp::Unary(Unary::Clip { low, high }) = op
        && (low.is_nan() || high.is_nan() || low > high)
    {
        breaches.push(Breach::new(
            "V006",
            place,
            format!("clips to {low}..{high}"),
        ));
        return;
    }
    if let FloatOp::Unary(Unary::Int8 { scale, .. }) = op
        && !(scale.is_normal() && *scale > 0.0)
    {
        breaches.push(Breach::new("V006", place, format!("steps of {scale}")));
        return;
    }
    if let Some(v) = all.iter().flat_map(|v| v.iter()).find(|v| !v.is_finite()) {
        breaches.push(Breach::new("V010", place, format!("a parameter is {v}")));
    }
    if let FloatOp::BatchNorm(bn) = op
        && let Some(message) = bad_variance(bn)
    {
        breaches.push(Breach::new("V010", place, message));
    }
}

fn weight_count(conv: &Conv) -> Option<usize> {
    let [kh, kw] = conv.window.kernel;
    [conv.group_channels, kh, kw]
        .into_iter()
        .try_fold(conv.out_channels, usize::checked_mul)
}

/// What is wrong with a normalisation's variances, if anything.
fn bad_variance(bn: &BatchNorm) -> Option<String> {
    let sum = |v: f32| f64::from(v) + f64::from(bn.epsilon);
    let usable = |v: f32| sum(v) > 0.0 && sum(v).is_finite();
    let bad = bn.var.iter().find(|v| !usable(**v))?;
    Some(format!("variance {bad} with epsilon {}", bn.epsilon))
}

/// V008 and V011; everything they rest on holds.
fn shapes(place: &str, node: &Node, graph: &FloatGraph, breaches: &mut Vec<Breach>) {
    let inputs: Vec<Shape> = node.inputs.iter().map(|&v| graph.shape(v)).collect();
    let stated = graph.shape(node.output);
    match node.op.output_shape(&inputs) {
        Err(reason) => breaches.push(Breach::new("V008", place, reason)),
        Ok(shape) if shape != stated => breaches.push(Breach::new(
            "V008",
            place,
            format!("gives {shape}, its output is {stated}"),
        )),
        Ok(_) => {
            if let FloatOp::MaxPool(window) | FloatOp::AvgPool { window, .. } = &node.op
                && !window.meets(inputs[0].h, inputs[0].w)
            {
                breaches.push(Breach::new(
                    "V011",
                    place,
                    format!(
                        "{window:?} over {} covers only padding somewhere",
                        inputs[0]
                    ),
                ));
            }
        }
    }
}

/// V013.
fn names(graph: &FloatGraph, breaches: &mut Vec<Breach>) {
    let mut check = |kind: &str, names: &mut dyn Iterator<Item = &String>| {
        let mut seen = HashSet::new();
        for name in names {
            if name.is_empty() || !seen.insert(name) {
                let message = "is empty or used twice";
                breaches.push(Breach::new("V013", format!("{kind} '{name}'"), message));
            }
        }
    };
    check("value", &mut graph.values.iter().map(|v| &v.name));
    check("node", &mut graph.nodes.iter().map(|n| &n.name));
}
