//! Operators that keep every element in its place: activations, sums, normalisation, softmax.

use crate::diag;
use crate::import::builder::{Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::proto::data_type;
use crate::import::tensor::Constant;
use crate::import::view::{Axis, Form, View};
use crate::ir::float::{BatchNorm, FloatOp};
use crate::ir::ids::{NodeId, ValueId};

/// `Relu`.
pub fn relu<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    builder.elementwise(node, FloatOp::Relu, 0)
}

/// `Clip` to 0..6 or 0..; the bounds are attributes or inputs.
pub fn clip<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let bound = |index: usize, name: &str, none: f32| -> Step<f32> {
        if let Some(value) = node.float(name)? {
            return Ok(value);
        }
        let Some(constant) = node.optional_constant(index)? else {
            return Ok(none);
        };
        match constant.floats() {
            Some(&[value]) => Ok(value),
            _ => Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("{name} of extents {}", constant.extents()),
                "the bounds of Clip must be single floats",
            )),
        }
    };
    let min = bound(1, "min", f32::NEG_INFINITY)?;
    let max = bound(2, "max", f32::INFINITY)?;
    let op = if min == 0.0 && max == 6.0 {
        FloatOp::Relu6
    } else if min == 0.0 && max >= f32::MAX {
        FloatOp::Relu
    } else {
        return Err(node.finding(
            diag::CLIP_BOUNDS,
            format!("clips to {min}..{max}"),
            "only 0..6 (ReLU6) and 0.. (ReLU) are supported: use one of them in the model",
        ));
    };
    builder.elementwise(node, op, 0)
}

/// `Cast` of a value between float types: nothing, as everything is computed in `f32`.
pub fn cast<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    use data_type::*;
    let to = node.int("to")?.unwrap_or(0);
    let to = i32::try_from(to).unwrap_or(0);
    if !matches!(to, FLOAT | FLOAT16 | DOUBLE | BFLOAT16) {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("casts a value to {}", data_type::name(to)),
            "values must stay floating point: export the float model and let nestc quantise it",
        ));
    }
    let dims = node.view(0)?.dims.clone();
    builder.realias(node, 0, dims)
}

/// `Dropout` outside training: nothing.
pub fn dropout<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    if let Some(training) = node.optional_integers(2)?
        && training.iter().any(|&t| t != 0)
    {
        return Err(node.finding(
            diag::TRAINING_MODE,
            "training_mode is true",
            "call model.eval() before export",
        ));
    }
    let dims = node.view(0)?.dims.clone();
    builder.realias(node, 0, dims)
}

/// The value whose channels lie along ONNX axis 1 of input `index`, and its axes.
fn channels<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    index: usize,
) -> Step<(ValueId, Vec<Vec<Axis>>)> {
    let view = node.view(index)?.clone();
    let e = builder.extents(&view);
    let rank = view.dims.len();
    if rank >= 2 && e.long(&view.dims[1]).iter().all(|&a| a == Axis::C) {
        return Ok((view.value, view.dims));
    }
    if rank >= 2 && view.as_vector(1, e) == Some(Form::Flattened) {
        let flat = builder.flatten(view.value, node.input_name(index));
        let mut dims = vec![Vec::new(); rank];
        dims[0] = vec![Axis::N];
        dims[1] = vec![Axis::C];
        return Ok((flat, dims));
    }
    Err(builder.wrong_layout(node, index, "channels-first"))
}

/// `BatchNormalization` with its stored statistics.
pub fn batch_norm<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    if node.flag("training_mode", false)? {
        return Err(node.finding(
            diag::TRAINING_MODE,
            "training_mode = 1: statistics of the batch instead of stored ones",
            "call model.eval() before export",
        ));
    }
    let epsilon = node.float("epsilon")?.unwrap_or(1e-5);
    let mut parameters = Vec::new();
    for index in 1..5 {
        parameters.push(node.parameters(index)?.clone());
    }
    let (input, dims) = channels(builder, node, 0)?;
    let count = builder.graph.shape(input).c;
    for (i, constant) in parameters.iter().enumerate() {
        if constant.dims != [count] {
            return Err(node.finding(
                diag::SHAPE_MISMATCH,
                format!(
                    "'{}' has extents {}, input '{}' has {count} channels",
                    node.input_name(i + 1),
                    constant.extents(),
                    node.input_name(0)
                ),
                "the parameters belong to another layer: export the model again",
            ));
        }
    }
    let mut vectors = parameters
        .iter()
        .map(|c| c.floats().unwrap_or_default().to_vec());
    let mut next = || vectors.next().unwrap_or_default();
    let (gamma, beta, mean, var) = (next(), next(), next(), next());
    if !epsilon.is_finite() {
        return Err(node.finding(
            diag::NON_FINITE,
            format!("epsilon is {epsilon}"),
            "the file is damaged: epsilon is about 0.00001 in any usual export",
        ));
    }
    let positive = |v: &f32| f64::from(*v) + f64::from(epsilon) > 0.0;
    if let Some(i) = var.iter().position(|v| !positive(v)) {
        return Err(node.finding(
            diag::NEGATIVE_VARIANCE,
            format!("variance {} of channel {i}, epsilon {epsilon}", var[i]),
            "the statistics are damaged: run a calibration pass and export again",
        ));
    }
    let op = FloatOp::BatchNorm(BatchNorm {
        gamma,
        beta,
        mean,
        var,
        epsilon,
    });
    Ok(fresh(builder.emit(node, op, vec![input])?, dims))
}

/// `Softmax` over a vector.
pub fn softmax<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let rank = view.dims.len();
    // Up to operator set 12 all axes from `axis` on are one.
    let flattens = builder.opset < 13;
    let axis = node.int("axis")?.unwrap_or(if flattens { 1 } else { -1 });
    let mut axis = node.resolve_axis(axis, rank)?;
    if flattens {
        let e = builder.extents(&view);
        let long = |i: &usize| !e.long(&view.dims[*i]).is_empty();
        axis = (axis..rank).find(long).unwrap_or(axis);
    }
    let vector = builder.vector(node, 0, axis);
    let Ok((value, None)) = vector else {
        return Err(node.finding(
            diag::LAYOUT,
            format!(
                "softmax along axis {axis} of extents {:?}",
                view.extents(builder.extents(&view))
            ),
            "only the softmax of a vector is supported: end the network before it",
        ));
    };
    let mut dims = view.dims;
    dims[axis] = vec![Axis::C];
    Ok(fresh(
        builder.emit(node, FloatOp::Softmax, vec![value])?,
        dims,
    ))
}

/// `Add` of two values, or of a constant per channel.
pub fn add<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    match (node.input(0), node.input(1)) {
        (Some(Operand::View(a)), Some(Operand::View(b))) => {
            let (a, b) = (a.clone(), b.clone());
            add_values(builder, node, &a, &b)
        }
        (Some(Operand::Constant(_)), _) => with_constant(builder, node, 1, 0, |c| (1.0, c)),
        _ => with_constant(builder, node, 0, 1, |c| (1.0, c)),
    }
}

/// `Sub` of a constant per channel, or from one.
pub fn sub<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    if let Some(Operand::Constant(_)) = node.input(0) {
        with_constant(builder, node, 1, 0, |c| (-1.0, c))
    } else {
        with_constant(builder, node, 0, 1, |c| (1.0, -c))
    }
}

/// `Mul` by a constant per channel.
pub fn mul<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    if let Some(Operand::Constant(_)) = node.input(0) {
        with_constant(builder, node, 1, 0, |c| (c, 0.0))
    } else {
        with_constant(builder, node, 0, 1, |c| (c, 0.0))
    }
}

/// `Div` by a constant per channel.
pub fn div<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    with_constant(builder, node, 0, 1, |c| ((1.0 / f64::from(c)) as f32, 0.0))
}

fn add_values<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    a: &View,
    b: &View,
) -> Step<Operand> {
    let (ea, eb) = (builder.extents(a), builder.extents(b));
    let (found_a, found_b) = (a.extents(ea), b.extents(eb));
    if found_a != found_b {
        return Err(node.finding(
            diag::BROADCAST,
            format!("adds values of extents {found_a:?} and {found_b:?}"),
            "both must have the same extents: broadcasting between values is not supported",
        ));
    }
    let same_axes = (a.dims.iter().zip(&b.dims)).all(|(x, y)| ea.long(x) == eb.long(y));
    if ea.shape == eb.shape && same_axes {
        let value = builder.emit(node, FloatOp::Add, vec![a.value, b.value])?;
        return Ok(fresh(value, a.dims.clone()));
    }
    // One of them was flattened on its way.
    let last = a.dims.len().saturating_sub(1);
    let (x, x_order) = builder.vector(node, 0, last)?;
    let (y, y_order) = builder.vector(node, 1, last)?;
    if x_order.is_some() || y_order.is_some() {
        return Err(builder.wrong_layout(node, 0, "laid out like the other summand"));
    }
    let mut dims = vec![Vec::new(); last];
    if let Some(first) = dims.first_mut() {
        *first = vec![Axis::N];
    }
    dims.push(vec![Axis::C]);
    Ok(fresh(builder.emit(node, FloatOp::Add, vec![x, y])?, dims))
}

/// `scale * x + shift` for the value at input `of` and the constant at input `by`, where `f` turns
/// an element of the constant into scale and shift.
fn with_constant<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    of: usize,
    by: usize,
    f: impl Fn(f32) -> (f32, f32),
) -> Step<Operand> {
    if let (Some(Operand::View(_)), Some(Operand::View(_))) = (node.input(of), node.input(by)) {
        return Err(node.finding(
            diag::BROADCAST,
            format!("{} of two values computed at run time", node.proto.op_type),
            "only a constant per channel is supported there; squeeze-and-excitation and gates are not",
        ));
    }
    let constant = node.parameters(by)?.clone();
    let mut view = node.view(of)?.clone();
    let e = builder.extents(&view);
    let along = channel_constant(builder, node, &view, &constant)?;
    if along == Along::Flattened {
        let axis = view.dims.len() - 1;
        let (flat, _) = builder.vector(node, of, axis)?;
        view.exclusive &= flat == view.value;
        view.value = flat;
        view.dims[axis] = vec![Axis::C];
    }
    let channels = builder.graph.shape(view.value).c;
    let values = constant.floats().unwrap_or_default();
    let at = |c: usize| values[if values.len() == 1 { 0 } else { c }];
    let (scale, shift): (Vec<f32>, Vec<f32>) = (0..channels).map(|c| f(at(c))).unzip();
    if let Some(c) = (scale.iter().chain(&shift)).position(|v| !v.is_finite()) {
        let c = c % channels;
        return Err(node.finding(
            diag::NON_FINITE,
            format!("{} by {} in channel {c}", node.proto.op_type, at(c)),
            "the model divides by zero: check its normalisation constants",
        ));
    }
    view.exclusive &= builder.is_only_reader(node, of);
    // A constant with more axes than the value adds axes of extent 1 in front.
    let missing = constant.dims.len().saturating_sub(view.dims.len());
    let mut dims = vec![Vec::new(); missing];
    dims.extend(view.dims.clone());
    debug_assert_eq!(e.batch, builder.batch);
    let value = affine(builder, node, &view, scale, shift)?;
    Ok(fresh(value, dims))
}

/// Which elements of a value one element of a constant goes with.
#[derive(PartialEq)]
enum Along {
    /// A channel (or everything).
    Channel,
    /// One element of the flattened value.
    Flattened,
}

fn channel_constant<'m>(
    builder: &Builder<'m>,
    node: &NodeReader<'m>,
    view: &View,
    constant: &Constant,
) -> Step<Along> {
    let e = builder.extents(view);
    let found = view.extents(e);
    let refuse = || {
        node.finding(
            diag::BROADCAST,
            format!(
                "a constant of extents {} with a value of extents {found:?}",
                constant.extents()
            ),
            "only one constant per channel is supported",
        )
    };
    let rank = view.dims.len();
    let mut along = Vec::new();
    for (back, &extent) in constant.dims.iter().rev().enumerate() {
        if extent == 1 {
            continue;
        }
        let i = rank.checked_sub(back + 1).ok_or_else(refuse)?;
        if found[i] != extent {
            return Err(refuse());
        }
        along.push(i);
    }
    let axes: Vec<Axis> = along.iter().flat_map(|&i| e.long(&view.dims[i])).collect();
    if axes.iter().all(|&a| a == Axis::C) {
        return Ok(Along::Channel);
    }
    let flattened = along == [rank - 1] && view.as_vector(rank - 1, e) == Some(Form::Flattened);
    if flattened {
        Ok(Along::Flattened)
    } else {
        Err(refuse())
    }
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
