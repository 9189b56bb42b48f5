//! The first layers in stripes of rows, where activations of whole layers are too large.
//!
//! Feature maps lie in memory row by row, so a stripe of rows is one range of bytes. A chain of layers
//! from the network's input on, each read by the next alone, runs once for each stripe of the last
//! one's output: every layer computes the rows that the next one's stripe needs. Kernels and constants
//! are those of the whole layers; only extents and padding differ, and so no output does. Between
//! stripes nothing is kept: rows that two need are computed twice. This is patch-based inference, J. Lin
//! et al., "MCUNetV2" (2021), with patches as wide as the map.

use std::collections::BTreeMap;

use super::encode::{EncodedGraph, Forced, Preferences, encode_layer};
use super::plan::{FastMemory, plan_for};
use crate::diag::Result;
use crate::ir::float::{Shape, Window};
use crate::ir::ids::{Id, IdVec, LayerId, TensorId};
use crate::ir::int::{IntGraph, IntLayer, IntOp, IntTensor};
use crate::ir::program::{Patches, Payload, Program, word_bytes};
use crate::units::{Bytes, Macs};

/// Stripes that are tried at most.
const MOST_STRIPES: usize = 16;
/// Rows of a stripe of the last layer at least: kernels take two at a time.
const LEAST_ROWS: usize = 2;
/// Plans that are made at most, best estimates first.
const TRIES: usize = 6;

/// Whether the first layers may run in stripes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patching {
    /// Never.
    #[default]
    Off,
    /// If the arena exceeds one of these, with the fewest rows computed twice that make it fit.
    ToFit {
        /// For what does not lie in tightly coupled memory.
        rest: Bytes,
        /// For the whole arena.
        all: Bytes,
    },
    /// In so many stripes, with the number of layers that makes the arena smallest.
    Stripes(usize),
}

/// Rows of a tensor: from the first on, up to before the second.
type Rows = [usize; 2];

/// A chain of layers cut into stripes.
#[derive(Clone, Debug)]
struct Cut {
    /// For each stripe, the rows of the input and of each layer's output.
    stripes: Vec<Vec<Rows>>,
    /// What the arena takes, about.
    bytes: usize,
    /// Multiply-accumulates that are done again.
    again: u64,
}

/// Plans memory as [`plan_for`] does, with the first layers in stripes if that is asked for.
///
/// # Errors
/// What the encoding of a stripe finds.
pub fn plan_patched(
    encoded: EncodedGraph,
    preferences: &Preferences,
    fast_memory: Option<FastMemory>,
    patching: Patching,
) -> Result<Program> {
    let plain = plan_for(encoded.clone(), fast_memory);
    let (rest, all) = match patching {
        Patching::Off => return Ok(plain),
        Patching::ToFit { rest, all } => (rest, all),
        Patching::Stripes(_) => (Bytes(0), Bytes(0)),
    };
    let fits = |p: &Program| p.arena_bytes - p.fast_bytes <= rest && p.arena_bytes <= all;
    if fits(&plain) {
        return Ok(plain);
    }
    let limit = rest.min(all);
    let counts = match patching {
        Patching::Stripes(count) => count..=count,
        _ => 2..=MOST_STRIPES,
    };
    let longest = chain(&encoded.graph);
    let mut cuts: Vec<Cut> = (2..=longest)
        .flat_map(|layers| counts.clone().map(move |stripes| (layers, stripes)))
        .filter_map(|(layers, stripes)| cut(&encoded.graph, &plain, layers, stripes))
        .collect();
    // What fits, with the least work first; then what comes closest.
    cuts.sort_by_key(|cut| match cut.bytes as u64 <= limit.0 {
        true => (0, cut.again, cut.bytes),
        false => (1, cut.bytes as u64, cut.again as usize),
    });
    let mut best = plain.clone();
    for cut in cuts.iter().take(TRIES) {
        let patched = apply(&encoded, preferences, cut)?;
        let mut program = plan_for(patched, fast_memory);
        program.patches = Some(Patches {
            layers: cut.stripes.first().map_or(0, |s| s.len() - 1),
            stripes: cut.stripes.len(),
            whole_arena: plain.arena_bytes,
            again: Macs(cut.again),
        });
        if program.arena_bytes < best.arena_bytes {
            best = program;
        }
        if fits(&best) {
            break;
        }
    }
    Ok(best)
}

/// How many layers from the first on form a chain of which every one can run in stripes.
fn chain(graph: &IntGraph) -> usize {
    let readers = |t: TensorId| {
        let reads = graph.layers.iter().flat_map(|l| &l.inputs);
        reads.filter(|&&input| input == t).count() + usize::from(graph.outputs.contains(&t))
    };
    let mut last = graph.input;
    let mut length = 0;
    for layer in &graph.layers {
        let striped = match &layer.op {
            IntOp::Conv(_) | IntOp::MaxPool(_) | IntOp::AvgPool { .. } => true,
            IntOp::Clamp(_) | IntOp::Lookup(_) | IntOp::PRelu(_) => true,
            IntOp::Binary { constant, .. } => constant.as_ref().is_some_and(|c| c.shape.h == 1),
            _ => false,
        };
        if !striped || layer.inputs != [last] || length > 0 && readers(last) != 1 {
            break;
        }
        last = layer.output;
        length += 1;
    }
    length
}

fn window(op: &IntOp) -> Option<&Window> {
    match op {
        IntOp::Conv(conv) => Some(&conv.window),
        IntOp::MaxPool(window) | IntOp::AvgPool { window, .. } => Some(window),
        _ => None,
    }
}

/// The rows of an input of `height` that a layer needs for `rows` of its output, and the padding above
/// and below them; none if it would read padding alone.
fn needed(op: &IntOp, rows: Rows, height: usize) -> Option<(Rows, [usize; 2])> {
    let Some(window) = window(op) else {
        return Some((rows, [0, 0]));
    };
    let [first, end] = rows;
    // Counted from the first row of padding.
    let from = first * window.stride[0];
    let to = (end - 1) * window.stride[0] + window.extent(0);
    let top = window.pads[0];
    let own = [from.saturating_sub(top), to.saturating_sub(top).min(height)];
    let above = top.saturating_sub(from);
    let below = (to.saturating_sub(top)).saturating_sub(height);
    (own[0] < own[1]).then_some((own, [above, below]))
}

/// The first `layers` layers in `stripes` stripes, if parts of tensors begin on whole words then.
fn cut(graph: &IntGraph, plain: &Program, layers: usize, stripes: usize) -> Option<Cut> {
    let chain: Vec<&IntLayer> = graph.layers.iter().take(layers).collect();
    let shape = |t: TensorId| graph.tensors[t].shape;
    let [input, output] = [chain.first()?.inputs[0], chain.last()?.output];
    let height = shape(output).h;
    if stripes < 2 || height / stripes < LEAST_ROWS {
        return None;
    }
    let row_bytes = |t: TensorId| shape(t).w * shape(t).c;
    // Rows whose offsets are whole words.
    let unit = (1..=4).find(|n| (n * row_bytes(output)).is_multiple_of(4))?;
    let bound = |s: usize| match s == stripes {
        true => height,
        false => s * height / stripes / unit * unit,
    };
    let mut all = Vec::new();
    for s in 0..stripes {
        let mut rows: Rows = [bound(s), bound(s + 1)];
        if rows[1] < rows[0] + LEAST_ROWS {
            return None;
        }
        let mut of_layers = vec![rows];
        for layer in chain.iter().rev() {
            (rows, _) = needed(&layer.op, rows, shape(layer.inputs[0]).h)?;
            of_layers.push(rows);
        }
        of_layers.reverse();
        if !(of_layers[0][0] * row_bytes(input)).is_multiple_of(4) {
            return None;
        }
        all.push(of_layers);
    }

    let rest = plain
        .live_bytes()
        .into_iter()
        .skip(layers)
        .max()
        .unwrap_or(0);
    let whole = |t: TensorId| word_bytes(shape(t).len());
    let (mut peak, mut again) = (rest, 0);
    for (at, layer) in chain.iter().enumerate() {
        let bytes = |t: TensorId, rows: Rows| word_bytes((rows[1] - rows[0]) * row_bytes(t));
        let step = &plain.steps[LayerId::from_index(at)];
        let mut rows_run = 0;
        for rows in &all {
            rows_run += rows[at + 1][1] - rows[at + 1][0];
            let from = if at == 0 {
                0
            } else {
                bytes(layer.inputs[0], rows[at])
            };
            let to = if at + 1 == layers {
                0
            } else {
                bytes(layer.output, rows[at + 1])
            };
            // Of the two, the one may lie over the other.
            let both = if step.payload.least_distance().is_some() || step.payload.runs_in_place() {
                from.max(to)
            } else {
                from + to
            };
            peak = peak.max(whole(input) + whole(output) + both + 4 * step.scratch_words);
        }
        let height = shape(layer.output).h as u64;
        again += step.live_macs.0 * (rows_run as u64 - height) / height.max(1);
    }
    Some(Cut {
        stripes: all,
        bytes: peak,
        again,
    })
}

/// A tensor that is some rows of another.
fn rows_of(graph: &IntGraph, tensor: TensorId, rows: Rows) -> IntTensor {
    let whole = &graph.tensors[tensor];
    IntTensor {
        name: format!("{} [{}..{}]", whole.name, rows[0], rows[1]),
        shape: Shape::map(whole.shape.c, rows[1] - rows[0], whole.shape.w),
        quant: whole.quant.clone(),
    }
}

/// The layer over a stripe.
fn striped(op: &IntOp, pads: [usize; 2]) -> IntOp {
    let mut op = op.clone();
    let window = match &mut op {
        IntOp::Conv(conv) => Some(&mut conv.window),
        IntOp::MaxPool(window) | IntOp::AvgPool { window, .. } => Some(window),
        _ => None,
    };
    if let Some(window) = window {
        (window.pads[0], window.pads[2]) = (pads[0], pads[1]);
    }
    op
}

/// The graph with its first layers in stripes.
fn apply(encoded: &EncodedGraph, preferences: &Preferences, cut: &Cut) -> Result<EncodedGraph> {
    let mut graph = encoded.graph.clone();
    let layers = cut.stripes.first().map_or(0, |s| s.len() - 1);
    let chain: Vec<IntLayer> = graph.layers.iter().take(layers).cloned().collect();
    let mut parts = BTreeMap::new();
    let mut steps = IdVec::new();
    let mut all_layers = IdVec::new();
    for stripe in &cut.stripes {
        let mut last = graph.input;
        if let Some(&rows) = stripe.first() {
            let part = rows_of(&encoded.graph, last, rows);
            let part = graph.tensors.push(part);
            parts.insert(part, (last, rows[0]));
            last = part;
        }
        for (at, layer) in chain.iter().enumerate() {
            let rows = stripe[at + 1];
            let height = encoded.graph.tensors[layer.inputs[0]].shape.h;
            let pads = needed(&layer.op, rows, height).map_or([0, 0], |(_, pads)| pads);
            let tensor = rows_of(&encoded.graph, layer.output, rows);
            let is_last = at + 1 == chain.len();
            // Whole tensors within the chain are no more: the first stripe's take their ids.
            let output = if is_last || steps.len() >= chain.len() {
                graph.tensors.push(tensor)
            } else {
                graph.tensors[layer.output] = tensor;
                layer.output
            };
            if is_last {
                parts.insert(output, (layer.output, rows[0]));
            }
            let mut own = IntLayer {
                name: layer.name.clone(),
                op: striped(&layer.op, pads),
                inputs: vec![last],
                output,
            };
            // The kernel of the whole layer, so that all stripes share its weights.
            let mut same = preferences.clone();
            let kernel = encoded.steps[LayerId::from_index(at)].kernel.to_owned();
            let of_layer = Some(layer.name.clone());
            if matches!(layer.op, IntOp::Conv(_)) {
                same.forced.insert(
                    0,
                    Forced {
                        layer: of_layer,
                        kernel,
                    },
                );
            }
            let mut step = match encode_layer(&graph, &own, &same) {
                Ok(step) => step,
                Err(_) => encode_layer(&graph, &own, preferences)?,
            };
            own.name = format!("{} [{}..{}]", layer.name, rows[0], rows[1]);
            step.name.clone_from(&own.name);
            if steps.len() >= chain.len() {
                let first = LayerId::from_index(at);
                let of: &crate::ir::program::Step = &steps[first];
                if same_constants(&of.payload, &step.payload) {
                    step.same_as = Some(first);
                    (step.weight_bytes, step.index_bytes) = (Bytes(0), Bytes(0));
                    step.requant_bytes = Bytes(0);
                }
                // The model has them once.
                step.weights = 0;
                step.nonzero_weights.fill(0);
                step.candidates.clear();
            }
            steps.push(step);
            all_layers.push(own);
            last = output;
        }
    }
    for (layer, step) in graph.layers.iter().zip(&encoded.steps).skip(layers) {
        all_layers.push(layer.clone());
        steps.push(step.clone());
    }
    graph.layers = all_layers;
    Ok(EncodedGraph {
        graph,
        steps,
        parts,
    })
}

/// Whether two layers are the same but for their extents.
fn same_constants(a: &Payload, b: &Payload) -> bool {
    let mut b = b.clone();
    match (a, &mut b) {
        (
            Payload::ConvNested {
                geometry: g,
                pass_tiles: p,
                ..
            },
            Payload::ConvNested {
                geometry,
                pass_tiles,
                ..
            },
        )
        | (
            Payload::ConvBlock {
                geometry: g,
                pass_tiles: p,
                ..
            },
            Payload::ConvBlock {
                geometry,
                pass_tiles,
                ..
            },
        )
        | (
            Payload::ConvDense {
                geometry: g,
                pass_tiles: p,
                ..
            },
            Payload::ConvDense {
                geometry,
                pass_tiles,
                ..
            },
        ) => (*geometry, *pass_tiles) = (*g, *p),
        (
            Payload::ConvCompact {
                geometry: g,
                pass_tiles: p,
                buffer_words: w,
                ..
            },
            Payload::ConvCompact {
                geometry,
                pass_tiles,
                buffer_words,
                ..
            },
        ) => (*geometry, *pass_tiles, *buffer_words) = (*g, *p, *w),
        (Payload::ConvGeneric { geometry: g, .. }, Payload::ConvGeneric { geometry, .. })
        | (Payload::Depthwise { geometry: g, .. }, Payload::Depthwise { geometry, .. })
        | (Payload::AvgPool { geometry: g, .. }, Payload::AvgPool { geometry, .. })
        | (Payload::MaxPool(g), Payload::MaxPool(geometry)) => *geometry = *g,
        (
            Payload::Binary {
                a: x,
                b: y,
                output: z,
                ..
            },
            Payload::Binary { a, b, output, .. },
        ) => (*a, *b, *output) = (*x, *y, *z),
        _ => {}
    }
    *a == b
}
