//! Sums, products and the like: of two values, or of a value and a constant.

use crate::diag;
use crate::import::builder::{Builder, GATE, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::tensor::Constant;
use crate::import::view::{Form, Groups, View, choose_groups};
use crate::ir::float::{Axis, Binary, FloatOp, Shape, Unary, WithConstant};
use crate::ir::ids::{NodeId, ValueId};

/// `Add`, `Sub`, `Mul`, `Div`.
pub fn arithmetic<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let f = match node.proto.op_type.as_str() {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        _ => Binary::Div,
    };
    pair(builder, node, f)
}

/// `Min` and `Max`, of more than two by and by.
pub fn extremum<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let f = match node.proto.op_type.as_str() {
        "Min" => Binary::Min,
        _ => Binary::Max,
    };
    match node.inputs.len() {
        1 => {
            let dims = node.view(0)?.dims.clone();
            builder.realias(node, 0, dims)
        }
        2 => pair(builder, node, f),
        _ => {
            // Computed values first: constants have something to be joined with then.
            let (values, constants): (Vec<Operand>, Vec<Operand>) = (node.inputs.iter().flatten())
                .cloned()
                .partition(|operand| matches!(operand, Operand::View(_)));
            let mut all = values.into_iter().chain(constants);
            let first = all.next().ok_or_else(|| node.missing(0))?;
            all.try_fold(first, |so_far, next| join(builder, node, f, [so_far, next]))
        }
    }
}

/// A function of two operands that `node` is made of, which are not all it reads.
pub(super) fn join<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    f: Binary,
    operands: [Operand; 2],
) -> Step<Operand> {
    let kept = |operand| match operand {
        // Something else may read it as well: nothing must be merged into what gives it.
        Operand::View(view) => Operand::View(View {
            exclusive: false,
            ..view
        }),
        other => other,
    };
    let part = NodeReader {
        inputs: operands.map(|operand| Some(kept(operand))).into(),
        ..node.clone()
    };
    pair(builder, &part, f)
}

/// `Neg`.
pub fn negate<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let mut view = node.view(0)?.clone();
    view.exclusive &= builder.is_only_reader(node, 0);
    let channels = builder.shape(&view).c;
    let value = affine(
        builder,
        node,
        &view,
        vec![-1.0; channels],
        vec![0.0; channels],
    )?;
    Ok(fresh(value, view.dims))
}

fn pair<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>, f: Binary) -> Step<Operand> {
    match (node.input(0), node.input(1)) {
        (Some(Operand::View(a)), Some(Operand::View(b))) => {
            let (a, b) = (a.clone(), b.clone());
            of_values(builder, node, f, a, b)
        }
        (Some(Operand::Constant(_)), _) => with_constant(builder, node, f, 1, 0),
        _ => with_constant(builder, node, f, 0, 1),
    }
}

/// A function of two values, broadcast against each other.
fn of_values<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    f: Binary,
    mut a: View,
    mut b: View,
) -> Step<Operand> {
    if f == Binary::Mul
        && let Some(operand) = gated(builder, node, &a, &b)?
    {
        return Ok(operand);
    }
    // Axes are counted from the last.
    let rank = a.dims.len().max(b.dims.len());
    for view in [&mut a, &mut b] {
        let missing = rank - view.dims.len();
        view.dims.splice(0..0, vec![Vec::new(); missing]);
    }
    let (found_a, found_b) = (a.extents(), b.extents());
    let mut extents = Vec::with_capacity(rank);
    for (&x, &y) in found_a.iter().zip(&found_b) {
        if x != y && x != 1 && y != 1 {
            return Err(node.finding(
                diag::BROADCAST,
                format!("{} of extents {found_a:?} and {found_b:?}", f.name()),
                "extents must be the same or 1: export the model again",
            ));
        }
        extents.push(x.max(y));
    }
    let (shape_a, shape_b) = (builder.shape(&a), builder.shape(&b));
    if a.dims == b.dims && shape_a == shape_b {
        let value = builder.emit(node, operation(f, true), vec![a.value, b.value])?;
        return Ok(fresh(value, a.dims));
    }
    let groups = common_groups((&a, shape_a), (&b, shape_b))
        .ok_or_else(|| builder.wrong_layout(node, 0, "laid out like the other operand"))?;
    let x = builder.aligned_to(&a, &groups, node.input_name(0));
    let y = builder.aligned_to(&b, &groups, node.input_name(1));
    let same = builder.graph.shape(x.value) == builder.graph.shape(y.value);
    let value = builder.emit(node, operation(f, same), vec![x.value, y.value])?;
    Ok(x.made(value, &extents))
}

fn operation(f: Binary, same_shape: bool) -> FloatOp {
    match (f, same_shape) {
        (Binary::Add, true) => FloatOp::Add,
        _ => FloatOp::Binary(f),
    }
}

/// Groups of ONNX axes that are the axes of both values, so that they can be broadcast; those of the
/// one that is not broadcast, if they fit both.
fn common_groups(a: (&View, Shape), b: (&View, Shape)) -> Option<Groups> {
    let all = |(view, shape): (&View, Shape)| {
        let first = view.batch_axes()?;
        let groups = view.groups(shape)?;
        // Every ONNX axis must have a place, for the other operand may be longer along it.
        let placed = groups.iter().flatten().count();
        (placed == view.dims.len() - first).then_some(groups)
    };
    let (first, second) = if a.1.len() >= b.1.len() {
        (a, b)
    } else {
        (b, a)
    };
    let own = [all(first), all(second)].into_iter().flatten();
    let (mut fitting, chosen) = (
        own.filter(|g| first.0.has_groups(first.1, g) && second.0.has_groups(second.1, g)),
        || {
            let view = first.0;
            let front = view.batch_axes()?.max(second.0.batch_axes()?);
            // Axes that only the other operand has stand apart too.
            let long = |i: &usize| !view.dims[*i].is_empty() || !second.0.dims[*i].is_empty();
            let axes: Vec<usize> = (front..view.dims.len()).filter(long).collect();
            match axes[..] {
                [] | [_] => Some([axes, vec![], vec![]]),
                [c, w] => Some([vec![c], vec![], vec![w]]),
                [c, h, w] => Some([vec![c], vec![h], vec![w]]),
                _ => choose_groups(view, first.1, None)
                    .filter(|_| view.extents() == second.0.extents()),
            }
        },
    );
    fitting.next().or_else(chosen)
}

/// `x * Sigmoid(x)` is SiLU.
fn gated<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    a: &View,
    b: &View,
) -> Step<Option<Operand>> {
    for (index, gate, x) in [(1, b, a), (0, a, b)] {
        let exclusive = gate.exclusive && builder.is_only_reader(node, index);
        let producer = builder.graph.producer(gate.value).filter(|_| exclusive);
        let Some(id) = producer.filter(|_| gate.dims == x.dims) else {
            continue;
        };
        let producer = &builder.graph.nodes[id];
        let named = producer.name.strip_suffix(GATE) == Some(NodeReader::name(node.proto));
        let is_gate = matches!(producer.op, FloatOp::Unary(Unary::Sigmoid));
        if is_gate && producer.inputs[0] == x.value && (named || !builder.faithful) {
            // The sigmoid is left to nobody and goes with what is not needed.
            let silu = FloatOp::Unary(Unary::Silu);
            let value = builder.emit(node, silu, vec![x.value])?;
            return Ok(Some(fresh(value, x.dims.clone())));
        }
    }
    Ok(None)
}

/// A function of the value at input `of` and the constant at input `by`.
fn with_constant<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    f: Binary,
    of: usize,
    by: usize,
) -> Step<Operand> {
    let constant = node.parameters(by)?.clone();
    let mut view = node.view(of)?.clone();
    // A constant with more axes than the value adds axes of extent 1 in front.
    let missing = constant.dims.len().saturating_sub(view.dims.len());
    view.dims.splice(0..0, vec![Vec::new(); missing]);
    view.exclusive &= builder.is_only_reader(node, of);
    let (mut shape, mut data) = constant_over(builder, node, &view, &constant)?;
    let last = view.dims.len().saturating_sub(1);
    if shape.pixels() > 1 && view.as_vector(last, builder.shape(&view)) == Some(Form::Flattened) {
        // Behind a flattening each element is a channel.
        let flat = builder.flatten(view.value, node.input_name(of));
        view.exclusive &= flat == view.value;
        view.value = flat;
        let channels = builder.shape(&view);
        data = broadcast(shape, &data, builder.graph.shape(node.view(of)?.value));
        shape = channels;
    }
    let constant_first = by == 0;
    if shape.pixels() == 1
        && let Some(form) = affine_form(f, constant_first)
    {
        let channels = builder.shape(&view).c;
        let at = |c: usize| data[if data.len() == 1 { 0 } else { c }];
        let (scale, shift): (Vec<f32>, Vec<f32>) = (0..channels).map(|c| form(at(c))).unzip();
        if let Some(c) = (scale.iter().chain(&shift)).position(|v| !v.is_finite()) {
            return Err(divides_by_zero(node, at(c % channels), c % channels));
        }
        let value = affine(builder, node, &view, scale, shift)?;
        return Ok(fresh(value, view.dims));
    }
    if f == Binary::Div && !constant_first && data.contains(&0.0) {
        return Err(divides_by_zero(node, 0.0, 0));
    }
    let op = match (f, &data[..]) {
        (Binary::Max, [0.0]) => FloatOp::Relu,
        (Binary::Max, &[low]) => FloatOp::Unary(Unary::Clip {
            low,
            high: f32::INFINITY,
        }),
        (Binary::Min, &[high]) => FloatOp::Unary(Unary::Clip {
            low: f32::NEG_INFINITY,
            high,
        }),
        _ => FloatOp::WithConstant(WithConstant {
            op: f,
            shape,
            data,
            constant_first,
        }),
    };
    let value = builder.emit(node, op, vec![view.value])?;
    Ok(fresh(value, view.dims))
}

fn divides_by_zero(node: &NodeReader<'_>, by: f32, channel: usize) -> diag::Diagnostic {
    node.finding(
        diag::NON_FINITE,
        format!("{} by {by} in channel {channel}", node.proto.op_type),
        "the model divides by zero: check its normalisation constants",
    )
}

/// How an element of a constant becomes scale and shift, where the function is affine in the value.
fn affine_form(f: Binary, constant_first: bool) -> Option<fn(f32) -> (f32, f32)> {
    Some(match (f, constant_first) {
        (Binary::Add, _) => |c| (1.0, c),
        (Binary::Sub, false) => |c| (1.0, -c),
        (Binary::Sub, true) => |c| (-1.0, c),
        (Binary::Mul, _) => |c| (c, 0.0),
        (Binary::Div, false) => |c| ((1.0 / f64::from(c)) as f32, 0.0),
        _ => return None,
    })
}

/// A constant as the value behind a view meets it: channel-major, of extent 1 along each axis on
/// which it does not change.
pub fn constant_over<'m>(
    builder: &Builder<'m>,
    node: &NodeReader<'m>,
    view: &View,
    constant: &Constant,
) -> Step<(Shape, Vec<f32>)> {
    let found = view.extents();
    let refuse = || {
        node.finding(
            diag::BROADCAST,
            format!(
                "a constant of extents {} with a value of extents {found:?}",
                constant.extents()
            ),
            "a constant must have extent 1 or the value's along each axis",
        )
    };
    let values = constant.floats().unwrap_or_default();
    if let [value] = values[..] {
        return Ok((Shape::map(1, 1, 1), vec![value]));
    }
    // Where each ONNX axis of the constant leads, in the value and in the constant.
    let mut places = vec![(0usize, 0usize)];
    let mut strides = vec![1; constant.dims.len()];
    for i in (1..constant.dims.len()).rev() {
        strides[i - 1] = strides[i] * constant.dims[i];
    }
    let offset = found.len().checked_sub(constant.dims.len());
    for (i, dim) in view.dims.iter().enumerate() {
        let own = offset
            .and_then(|o| i.checked_sub(o))
            .map(|at| (constant.dims[at], strides[at]));
        let (extent, stride) = own.unwrap_or((1, 0));
        if extent != 1 && (extent != found[i] || dim.iter().any(|r| r.stride == 0)) {
            return Err(refuse());
        }
        let stride = if extent == 1 { 0 } else { stride };
        let mut index = vec![(0, 0)];
        for run in dim.iter().filter(|run| run.stride > 0) {
            index = (index.iter())
                .flat_map(|&(at, i)| (0..run.extent).map(move |k| (at, i, k)))
                .map(|(at, i, k)| (at + k * run.stride, i * run.extent + k))
                .collect();
        }
        places = (places.iter())
            .flat_map(|&(at, from)| index.iter().map(move |&(a, i)| (at + a, from + i * stride)))
            .collect();
    }
    let shape = builder.shape(view);
    if values.is_empty() || places.len() != shape.len() {
        return Err(refuse());
    }
    let mut data = vec![0.0; shape.len()];
    for (at, from) in places {
        data[at] = values[from];
    }
    Ok(compressed(shape, data))
}

/// Drops axes along which the data do not change.
fn compressed(mut shape: Shape, mut data: Vec<f32>) -> (Shape, Vec<f32>) {
    for axis in Axis::ALL {
        let extent = shape.extent(axis);
        let inner: usize = shape.extents()[axis as usize + 1..].iter().product();
        let same = |block: &[f32]| {
            block.chunks(inner).all(|part| {
                part.iter()
                    .zip(block)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            })
        };
        if data.chunks(extent * inner).all(same) {
            data = (data.chunks(extent * inner))
                .flat_map(|block| block[..inner].iter().copied())
                .collect();
            shape = shape.with_extent(axis, 1);
        }
    }
    (shape, data)
}

/// A constant of extents `shape` at every element of a value of extents `over`.
fn broadcast(shape: Shape, data: &[f32], over: Shape) -> Vec<f32> {
    let Shape { c, h, w } = over;
    (0..c * h * w)
        .map(|i| data[shape.broadcast_index([i / (h * w), i / w % h, i % w])])
        .collect()
}

/// `scale * x + shift` on a view, merged into the node before where that changes nothing else.
fn affine<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    view: &View,
    scale: Vec<f32>,
    shift: Vec<f32>,
) -> Step<ValueId> {
    let producer = builder.graph.producer(view.value);
    let shifts = matches!(node.proto.op_type.as_str(), "Add" | "Sub");
    if let Some(id) = producer.filter(|_| view.exclusive)
        && builder.may_merge(id, node)
        && merge(builder, id, &scale, &shift, shifts)
    {
        if let Some(output) = node.proto.output.first() {
            builder.graph.values[view.value].name.clone_from(output);
        }
        return Ok(view.value);
    }
    builder.emit(
        node,
        FloatOp::ChannelAffine { scale, shift },
        vec![view.value],
    )
}

/// Whether node `id` could take the affine step into itself: a convolution or fully connected
/// layer takes a shift (which `shifts` says this is) into its bias, another affine step takes
/// everything.
fn merge(
    builder: &mut Builder<'_>,
    id: NodeId,
    scale: &[f32],
    shift: &[f32],
    shifts: bool,
) -> bool {
    let only_shift = shifts && scale.iter().all(|&s| s == 1.0);
    let bias = match &mut builder.graph.nodes[id].op {
        FloatOp::Conv(conv) if only_shift => &mut conv.bias,
        FloatOp::Dense(dense) if only_shift => &mut dense.bias,
        FloatOp::ChannelAffine { scale: s, shift: t } => {
            let composed =
                |a: f32, b: f32, c: f32| (f64::from(a) * f64::from(b) + f64::from(c)) as f32;
            for c in 0..scale.len() {
                t[c] = composed(t[c], scale[c], shift[c]);
                s[c] = composed(s[c], scale[c], 0.0);
            }
            return true;
        }
        _ => return false,
    };
    match bias {
        Some(bias) => bias.iter_mut().zip(shift).for_each(|(b, s)| *b += s),
        None => *bias = Some(shift.to_vec()),
    }
    true
}
