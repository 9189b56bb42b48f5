//! Rules I1 to I14.

use nest_format::AddParams;
use nest_kernels::layer::{Nest, Tap};

use super::Breaches;
use crate::ir::float::Shape;
use crate::ir::int::{IntBinary, IntConv, IntGraph, IntLayer, IntMove, IntOp, RequantTable};

pub(super) fn check(graph: &IntGraph, b: &mut Breaches) {
    let levels = graph.sparsities.len();
    b.check(levels > 0, "I1", "graph", || "0 levels".to_owned());
    for (id, tensor) in graph.tensors.iter_enumerated() {
        let place = format!("tensor {id} `{}`", tensor.name);
        b.check(tensor.quant.len() == levels, "I1", &place, || {
            format!("{} quantisations for {levels} levels", tensor.quant.len())
        });
        let sound = |s: f32| s.is_finite() && s > 0.0;
        b.check(
            tensor.quant.iter().all(|q| sound(q.scale)),
            "I4",
            &place,
            || format!("{:?}", tensor.quant),
        );
    }
    let before_ids = b.0.0.len();
    order(graph, b);
    if b.0.0.len() > before_ids {
        // Ids may be out of range: the rest would read them.
        return;
    }
    let input = &graph.tensors[graph.input];
    b.check(
        input.quant.windows(2).all(|q| q[0] == q[1]),
        "I3",
        format!("tensor `{}`", input.name),
        || "quantisations differ".to_owned(),
    );
    for layer in &graph.layers {
        self::layer(graph, layer, levels, b);
    }
}

fn order(graph: &IntGraph, b: &mut Breaches) {
    let mut written = vec![false; graph.tensors.len()];
    let known = |t: crate::ir::ids::TensorId| graph.tensors.get(t).is_some();
    use crate::ir::ids::Id;
    b.check(known(graph.input), "I2", "graph", || {
        format!("the input {} does not exist", graph.input)
    });
    if let Some(w) = written.get_mut(graph.input.index()) {
        *w = true;
    }
    for layer in &graph.layers {
        let place = format!("layer `{}`", layer.name);
        for &t in &layer.inputs {
            let ready = written.get(t.index()).copied().unwrap_or(false);
            b.check(ready, "I2", &place, || {
                format!("{t} is read before it is written")
            });
        }
        match written.get_mut(layer.output.index()) {
            Some(w) => {
                b.check(!*w, "I2", &place, || {
                    format!("{} is written twice", layer.output)
                });
                *w = true;
            }
            None => b.check(false, "I2", &place, || {
                format!("{} does not exist", layer.output)
            }),
        }
    }
    for (id, tensor) in graph.tensors.iter_enumerated() {
        b.check(
            written[id.index()],
            "I2",
            format!("tensor {id} `{}`", tensor.name),
            || "nothing writes it".to_owned(),
        );
    }
    b.check(!graph.outputs.is_empty(), "I3", "graph", || {
        "0 outputs".to_owned()
    });
    for &t in &graph.outputs {
        b.check(known(t), "I2", "graph", || {
            format!("the output {t} does not exist")
        });
    }
}

fn layer(graph: &IntGraph, layer: &IntLayer, levels: usize, b: &mut Breaches) {
    let place = format!("layer `{}`", layer.name);
    let arity = layer.op.arity();
    let sound = layer.inputs.len() == arity && arity > 0;
    b.check(sound, "I5", &place, || {
        format!("{} inputs, and it takes {arity}", layer.inputs.len())
    });
    if !sound {
        return;
    }
    let x = &graph.tensors[layer.inputs[0]];
    let y = &graph.tensors[layer.output];
    let expected = output_shape(graph, layer);
    b.check(expected == Some(y.shape), "I5", &place, || match expected {
        Some(shape) => format!("it gives {shape}, and its output is {}", y.shape),
        None => format!("it does not fit its input {}", x.shape),
    });
    let per_level = |n: usize, b: &mut Breaches| {
        b.check(n == levels, "I8", &place, || {
            format!("constants for {n} of {levels} levels")
        });
    };
    match &layer.op {
        IntOp::Conv(conv) => {
            conv_rules(conv, levels, &place, b);
        }
        IntOp::Add(params) => {
            per_level(params.len(), b);
            sums(params, &place, b);
        }
        IntOp::AvgPool {
            window, requant, ..
        } => {
            per_level(requant.len(), b);
            let taps = window.taps();
            b.check(
                requant.iter().all(|l| l.len() == taps),
                "I8",
                &place,
                || format!("not {taps} constants a level"),
            );
        }
        IntOp::GlobalAvgPool(requant) => per_level(requant.len(), b),
        IntOp::Clamp(bounds) => {
            per_level(bounds.len(), b);
            b.check(bounds.iter().all(|[l, h]| l <= h), "I9", &place, || {
                format!("{bounds:?}")
            });
        }
        IntOp::Pad { value, .. } => per_level(value.len(), b),
        IntOp::Softmax(tables) => {
            per_level(tables.len(), b);
            let fixed = (y.quant.iter()).all(|q| q.scale == 1.0 / 256.0 && q.zero_point == -128);
            b.check(fixed, "I10", &place, || format!("{:?}", y.quant));
        }
        IntOp::Lookup(tables) => per_level(tables.len(), b),
        IntOp::Move(inputs) => {
            for tables in inputs.iter().filter_map(|input| input.tables.as_ref()) {
                per_level(tables.len(), b);
            }
            let lens = layer.inputs.iter().map(|&t| graph.tensors[t].shape.len());
            let lens: Vec<usize> = lens.collect();
            if let Err(why) = covers(inputs, &lens, y.shape.len()) {
                b.check(false, "I13", &place, || why);
            }
        }
        IntOp::Binary { operation, .. } => {
            per_level(operation.levels(), b);
            match operation {
                IntBinary::Sum(params) => sums(params, &place, b),
                IntBinary::Product(_) => {}
                IntBinary::Least(pairs) | IntBinary::Largest(pairs) => {
                    sums(pairs.as_flattened(), &place, b);
                }
            }
        }
        IntOp::PRelu(params) => {
            per_level(params.len(), b);
            let due = params.iter().all(|l| l.len() == x.shape.c);
            b.check(due, "I8", &place, || {
                format!("not {} slopes a level", x.shape.c)
            });
            params.iter().for_each(|l| sums(l, &place, b));
        }
        IntOp::Resize { rows, columns } => {
            let sound = taps_inside(rows, x.shape.h) && taps_inside(columns, x.shape.w);
            b.check(sound, "I14", &place, || format!("{rows:?} {columns:?}"));
        }
        IntOp::MaxPool(_) => {}
    }
    if matches!(
        layer.op,
        IntOp::MaxPool(_) | IntOp::Clamp(_) | IntOp::Pad { .. } | IntOp::Resize { .. }
    ) {
        b.check(x.quant == y.quant, "I7", &place, || {
            format!("{:?} became {:?}", x.quant, y.quant)
        });
    }
}

fn sums(params: &[AddParams], place: &str, b: &mut Breaches) {
    for p in params {
        let reach = 128 * (i64::from(p.factor_a).abs() + i64::from(p.factor_b).abs());
        let fits = reach + i64::from(p.bias).abs() <= i64::from(i32::MAX);
        b.check(fits && p.shift <= 22, "I11", place, || format!("{p:?}"));
    }
}

/// Whether taps lie inside `extent` rows or columns and their shares are 256ths.
pub(super) fn taps_inside(taps: &[Tap], extent: usize) -> bool {
    (taps.iter()).all(|&[first, second, share]| {
        usize::from(first) < extent && usize::from(second) < extent && share <= 256
    })
}

/// Whether moves from inputs of `lens` elements give each of `output` elements once, or why not.
pub(super) fn covers(inputs: &[IntMove], lens: &[usize], output: usize) -> Result<(), String> {
    let mut given = vec![false; output];
    let mut count = 0u64;
    for (input, &len) in inputs.iter().zip(lens) {
        for nest in &input.nests {
            // Counted before anything is walked: the text form may state any counts.
            let elements = (nest.loops.iter())
                .try_fold(1u64, |n, l| n.checked_mul(l[0].into()))
                .filter(|&n| n > 0 && n <= output as u64);
            let (Some(elements), true) = (elements, nest.loops.len() <= Nest::DEPTH) else {
                return Err(format!("loops {:?} for {output} elements", nest.loops));
            };
            count += elements;
            if count > output as u64 {
                return Err(format!("more than {output} elements"));
            }
        }
        let mut fault = None;
        input.each(&mut |from, to| {
            let taken = given.get_mut(to).map(|g| std::mem::replace(g, true));
            if from >= len || taken != Some(false) {
                fault.get_or_insert((from, to));
            }
        });
        if let Some((from, to)) = fault {
            return Err(format!("element {from} of {len} goes to {to} of {output}"));
        }
    }
    if count == output as u64 {
        Ok(())
    } else {
        Err(format!("{count} of {output} elements"))
    }
}

fn conv_rules(conv: &IntConv, levels: usize, place: &str, b: &mut Breaches) {
    let weights = conv.out_channels * conv.group_channels * conv.window.taps();
    b.check(conv.weight.len() == weights, "I6", place, || {
        format!("{} weights, and {weights} are due", conv.weight.len())
    });
    if let Some(l) = &conv.weight_levels {
        b.check(l.len() == weights, "I6", place, || {
            format!("levels of {} weights, and {weights} are due", l.len())
        });
    }
    b.check(!conv.weight.contains(&i8::MIN), "I6", place, || {
        "a weight is -128".to_owned()
    });
    b.check(
        conv.weight_scale.len() == conv.out_channels,
        "I6",
        place,
        || {
            format!(
                "{} weight scales for {} channels",
                conv.weight_scale.len(),
                conv.out_channels
            )
        },
    );
    table(&conv.requant, levels, conv.out_channels, place, b);
    if let Some(model) = &conv.model {
        let sound = model.out_channels >= conv.out_channels
            && model.weights >= weights as u64
            && model.nonzero.len() == levels
            && model.nonzero.iter().is_sorted()
            && model.nonzero.iter().all(|&n| n <= model.weights);
        b.check(sound, "I12", place, || {
            format!(
                "{model:?}, and {} channels and {weights} weights are left",
                conv.out_channels
            )
        });
    }
}

fn table(table: &RequantTable, levels: usize, channels: usize, place: &str, b: &mut Breaches) {
    b.check(table.len() == levels, "I8", place, || {
        format!("constants for {} of {levels} levels", table.len())
    });
    b.check(
        table.iter().all(|l| l.len() == channels),
        "I6",
        place,
        || format!("not {channels} constants a level"),
    );
}

/// The shape a layer gives, if it fits its inputs.
fn output_shape(graph: &IntGraph, layer: &IntLayer) -> Option<Shape> {
    let x = graph.tensors[layer.inputs[0]].shape;
    let windowed = |w: &crate::ir::float::Window, c: usize| {
        let sound = w
            .kernel
            .iter()
            .chain(&w.stride)
            .chain(&w.dilation)
            .all(|&n| n > 0);
        sound
            .then(|| w.output(x.h, x.w))
            .flatten()
            .map(|[h, w]| Shape::map(c, h, w))
    };
    match &layer.op {
        IntOp::Conv(conv) => {
            let fits = conv.groups > 0
                && conv.groups * conv.group_channels == x.c
                && conv.out_channels % conv.groups == 0;
            fits.then(|| windowed(&conv.window, conv.out_channels))
                .flatten()
        }
        IntOp::Add(_) => (graph.tensors[layer.inputs[1]].shape == x).then_some(x),
        IntOp::MaxPool(window) | IntOp::AvgPool { window, .. } => windowed(window, x.c),
        IntOp::GlobalAvgPool(_) => Some(Shape::vector(x.c)),
        IntOp::Clamp(_) => Some(x),
        IntOp::Pad { c, h, w, .. } => Some(Shape::map(
            x.c + c[0] + c[1],
            x.h + h[0] + h[1],
            x.w + w[0] + w[1],
        )),
        IntOp::Softmax(_) | IntOp::Lookup(_) | IntOp::PRelu(_) => Some(x),
        // Any shape of as many elements; rule I13 counts them.
        IntOp::Move(_) => Some(graph.tensors[layer.output].shape),
        IntOp::Binary { constant, .. } => {
            let other = match constant {
                Some(constant) => {
                    let fits = constant.data.len() == constant.shape.len();
                    fits.then_some(constant.shape)?
                }
                None => graph.tensors[layer.inputs[1]].shape,
            };
            x.broadcast(other)
        }
        IntOp::Resize { rows, columns } => Some(Shape::map(x.c, rows.len(), columns.len())),
    }
}
