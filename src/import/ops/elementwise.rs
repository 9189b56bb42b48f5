//! Operators that keep every element in its place: activations, normalisation, softmax.

use crate::diag;
use crate::import::builder::{Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::proto::data_type;
use crate::import::view::Dims;
use crate::ir::float::{BatchNorm, Binary, FloatOp, Unary};
use crate::ir::ids::ValueId;

use super::arithmetic::{constant_over, join};
use super::linear::channels_last;

/// `Relu`.
pub fn relu<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    builder.elementwise(node, FloatOp::Relu, 0)
}

/// `LeakyRelu`.
pub fn leaky_relu<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let alpha = finite(node, "alpha", 0.01)?;
    function(builder, node, Unary::LeakyRelu { alpha })
}

/// `Elu`.
pub fn elu<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let alpha = finite(node, "alpha", 1.0)?;
    function(builder, node, Unary::Elu { alpha })
}

/// `HardSigmoid`.
pub fn hard_sigmoid<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let alpha = finite(node, "alpha", 0.2)?;
    let beta = finite(node, "beta", 0.5)?;
    function(builder, node, Unary::HardSigmoid { alpha, beta })
}

/// `Sigmoid`, `HardSwish`, `Tanh`, `Exp`.
pub fn plain<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let f = match node.proto.op_type.as_str() {
        "Sigmoid" => Unary::Sigmoid,
        "HardSwish" => Unary::HardSwish,
        "Tanh" => Unary::Tanh,
        _ => Unary::Exp,
    };
    function(builder, node, f)
}

fn function<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>, f: Unary) -> Step<Operand> {
    builder.elementwise(node, FloatOp::Unary(f), 0)
}

fn finite(node: &NodeReader<'_>, name: &str, default: f32) -> Step<f32> {
    let value = node.float(name)?.unwrap_or(default);
    if value.is_finite() {
        return Ok(value);
    }
    Err(node.finding(
        diag::NON_FINITE,
        format!("{name} is {value}"),
        "the file is damaged: export the model again",
    ))
}

/// `PRelu`: a layer of its own where there is a slope a channel.
pub fn prelu<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let slope = node.parameters(1)?.clone();
    let view = node.view(0)?.clone();
    let (shape, data) = constant_over(builder, node, &view, &slope)?;
    let channels = builder.shape(&view).c;
    if shape.pixels() > 1 {
        // What is above zero, and what is below times its slope.
        let above = builder.elementwise(node, FloatOp::Relu, 0)?;
        let low = f32::NEG_INFINITY;
        let below = FloatOp::Unary(Unary::Clip { low, high: 0.0 });
        let below = builder.elementwise(node, below, 0)?;
        let slopes = Operand::Constant(slope);
        let below = join(builder, node, Binary::Mul, [below, slopes])?;
        return join(builder, node, Binary::Add, [above, below]);
    }
    let slope = (0..channels).map(|c| data[c % data.len()]).collect();
    builder.elementwise(node, FloatOp::PRelu(slope), 0)
}

/// `Clip`; the bounds are attributes or inputs.
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
    let low = bound(1, "min", f32::NEG_INFINITY)?;
    let high = bound(2, "max", f32::INFINITY)?;
    // Exporters write the ends of the type for a bound that is not there.
    let low = if low <= f32::MIN {
        f32::NEG_INFINITY
    } else {
        low
    };
    let high = if high >= f32::MAX {
        f32::INFINITY
    } else {
        high
    };
    if low.is_nan() || high.is_nan() {
        return Err(node.finding(
            diag::CLIP_BOUNDS,
            format!("clips to {low}..{high}"),
            "the bounds must be numbers: export the model again",
        ));
    }
    // Bounds that cross leave the upper one everywhere.
    let low = low.min(high);
    let op = match (low, high) {
        (0.0, 6.0) => FloatOp::Relu6,
        (0.0, f32::INFINITY) => FloatOp::Relu,
        _ => FloatOp::Unary(Unary::Clip { low, high }),
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
) -> Step<(ValueId, Dims)> {
    let view = node.view(index)?.clone();
    let shape = builder.shape(&view);
    let own = view.groups(shape).filter(|groups| groups[0] == [1]);
    if own.is_some() {
        return Ok((view.value, view.dims));
    }
    let groups = (view.dims.len() >= 2)
        .then(|| channels_last(&view, 1))
        .flatten();
    let Some(groups) = groups else {
        return Err(builder.wrong_layout(node, index, "channels-first"));
    };
    let x = builder.aligned_to(&view, &groups, node.input_name(index));
    match x.made(x.value, &x.extents) {
        Operand::View(view) => Ok((view.value, view.dims)),
        _ => Err(builder.wrong_layout(node, index, "channels-first")),
    }
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

/// `Softmax` along one axis.
pub fn softmax<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let rank = view.dims.len();
    // Up to operator set 12 all axes from `axis` on are one.
    let flattens = builder.opset < 13;
    let axis = node.int("axis")?.unwrap_or(if flattens { 1 } else { -1 });
    let axis = node.resolve_axis(axis, rank)?;
    let mut joined = vec![axis];
    if flattens {
        joined = (axis..rank).filter(|&i| !view.dims[i].is_empty()).collect();
        if joined.is_empty() {
            joined.push(axis);
        }
    }
    let shape = builder.shape(&view);
    let own = view.groups(shape).is_some_and(|groups| groups[0] == joined);
    if own {
        let value = builder.emit(node, FloatOp::Softmax, vec![view.value])?;
        return Ok(fresh(value, view.dims));
    }
    let first = view.batch_axes().filter(|&first| joined[0] >= first);
    let Some(first) = first else {
        return Err(builder.wrong_layout(node, 0, "a batch"));
    };
    let others = (first..rank).filter(|i| !joined.contains(i)).collect();
    let x = builder.aligned_to(&view, &[joined, vec![], others], node.input_name(0));
    let value = builder.emit(node, FloatOp::Softmax, vec![x.value])?;
    Ok(x.made(value, &x.extents))
}
