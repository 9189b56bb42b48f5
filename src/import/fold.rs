//! A small evaluator for nodes over constants alone: the shape arithmetic of raw exports and
//! weights that were stored in another form.

use std::rc::Rc;

use super::builder::Builder;
use super::node::{NodeReader, Operand, Step};
use super::ops::{layout, moving, quantised};
use super::proto::data_type;
use super::tensor::{Constant, Elements, element_count};
use crate::diag;

/// Most elements a folded constant may have beyond those of its inputs: shape arithmetic needs a
/// handful, and a small file must not ask for a large memory.
const MAX_GROWTH: usize = 1 << 20;

/// Whether an operator is evaluated over constants.
pub fn knows(op_type: &str) -> bool {
    matches!(
        op_type,
        "Add"
            | "Cast"
            | "Concat"
            | "Constant"
            | "ConstantOfShape"
            | "DequantizeLinear"
            | "Div"
            | "Exp"
            | "Expand"
            | "Flatten"
            | "Floor"
            | "Gather"
            | "Identity"
            | "Max"
            | "Min"
            | "Mul"
            | "Neg"
            | "QuantizeLinear"
            | "Range"
            | "Reshape"
            | "Shape"
            | "Slice"
            | "Sqrt"
            | "Squeeze"
            | "Sub"
            | "Transpose"
            | "Unsqueeze"
    )
}

/// Evaluates a node all of whose inputs are constants.
pub fn fold<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let inputs: Vec<Rc<Constant>> = (0..node.inputs.len())
        .filter(|&i| node.input(i).is_some())
        .map(|i| node.constant(i).cloned())
        .collect::<Step<_>>()?;
    if node.proto.op_type == "Constant" {
        return Ok(Operand::Constant(Rc::new(constant(builder, node)?)));
    }
    let Some(x) = inputs.first() else {
        return Err(node.finding(
            diag::NODE_ARITY,
            "no inputs",
            "the file is damaged: export the model again",
        ));
    };
    let result = match node.proto.op_type.as_str() {
        "Add" => binary(node, &inputs, |a, b| a + b, i64::checked_add)?,
        "Sub" => binary(node, &inputs, |a, b| a - b, i64::checked_sub)?,
        "Mul" => binary(node, &inputs, |a, b| a * b, i64::checked_mul)?,
        // Integer division of ONNX truncates.
        "Div" => binary(node, &inputs, |a, b| a / b, i64::checked_div)?,
        "Max" => binary(node, &inputs, f32::max, |a, b| Some(a.max(b)))?,
        "Min" => binary(node, &inputs, f32::min, |a, b| Some(a.min(b)))?,
        "Neg" => unary(node, x, |v| -v, Some(i64::checked_neg))?,
        "Exp" => unary(node, x, |v| f64::from(v).exp() as f32, None)?,
        "Floor" => unary(node, x, f32::floor, None)?,
        "Expand" => expand(node, x, &inputs)?,
        "Range" => range(node, &inputs)?,
        "Sqrt" => unary(node, x, f32::sqrt, None)?,
        "Cast" => cast(node, x)?,
        "DequantizeLinear" => quantised::dequantize_constant(node, x)?,
        "QuantizeLinear" => quantised::quantize_constant(builder, node, x)?,
        "Concat" => concat(node, &inputs)?,
        "ConstantOfShape" => constant_of_shape(builder, node, x)?,
        "Gather" => gather(node, x, &inputs)?,
        "Identity" => return Ok(Operand::Constant(x.clone())),
        "Shape" => layout::shape_of(node, &x.dims)?,
        "Slice" => slice(node, x)?,
        "Transpose" => transpose(node, x)?,
        "Flatten" => {
            let axis = node.int("axis")?.unwrap_or(1);
            let axis = if axis == x.dims.len() as i64 {
                x.dims.len()
            } else {
                node.resolve_axis(axis, x.dims.len())?
            };
            let (before, after) = x.dims.split_at(axis);
            with_dims(x, vec![before.iter().product(), after.iter().product()])
        }
        "Reshape" => {
            let wanted = node.optional_integers(1)?.unwrap_or_default();
            with_dims(x, layout::target_shape(node, &x.dims, wanted)?)
        }
        "Squeeze" => with_dims(x, layout::squeezed(node, &x.dims)?),
        "Unsqueeze" => with_dims(x, layout::unsqueezed(node, &x.dims)?),
        _ => return Err(cannot(node, "over constants")),
    };
    Ok(Operand::Constant(Rc::new(result)))
}

fn cannot(node: &NodeReader<'_>, what: &str) -> diag::Diagnostic {
    node.finding(
        diag::CANNOT_FOLD,
        format!("{} {what} cannot be computed at import", node.proto.op_type),
        "simplify the model first (python -m onnxsim in.onnx out.onnx)",
    )
}

fn with_dims(x: &Constant, dims: Vec<usize>) -> Constant {
    Constant {
        dims,
        elements: x.elements.clone(),
    }
}

/// Checks the extents of a result against what its inputs hold.
fn bounded(node: &NodeReader<'_>, dims: &[usize], held: usize) -> Step<usize> {
    element_count(dims)
        .filter(|&n| n <= held.max(MAX_GROWTH))
        .ok_or_else(|| {
            node.finding(
                diag::VALUE_TOO_LARGE,
                format!("a constant of extents {dims:?}"),
                "the file is damaged: no network needs a computed constant of this size",
            )
        })
}

/// `Constant`: its value in whichever attribute.
fn constant<'m>(builder: &Builder<'m>, node: &NodeReader<'m>) -> Step<Constant> {
    if let Some(tensor) = node.tensor("value")? {
        return builder.attribute_constant(tensor, node);
    }
    if let Some(value) = node.float("value_float")? {
        return Ok(Constant {
            dims: Vec::new(),
            elements: Elements::Float(vec![value]),
        });
    }
    if let Some(value) = node.int("value_int")? {
        return Ok(Constant {
            dims: Vec::new(),
            elements: Elements::Int(vec![value]),
        });
    }
    if let Some(values) = node.ints("value_ints")? {
        return Ok(Constant::ints(values.to_vec()));
    }
    if let Some(values) = node.floats("value_floats")? {
        return Ok(Constant {
            dims: vec![values.len()],
            elements: Elements::Float(values.to_vec()),
        });
    }
    Err(node.finding(
        diag::ATTRIBUTE,
        "no value, value_float(s) or value_int(s)",
        "sparse and text constants are not supported: store a dense tensor of numbers",
    ))
}

/// Row-major strides of `dims`, 0 for axes of extent 1, lined up at the end with `rank` axes: the
/// walk over a broadcast tensor.
fn broadcast_strides(dims: &[usize], rank: usize) -> Vec<usize> {
    let mut strides = vec![0; rank];
    let mut stride = 1;
    for (i, &d) in dims.iter().enumerate().rev() {
        if d != 1 {
            strides[rank - dims.len() + i] = stride;
        }
        stride *= d;
    }
    strides
}

/// For every element of a tensor of extents `dims`, in row-major order, its place in a tensor
/// walked by `strides` from `base` on.
fn places(dims: &[usize], strides: &[usize], base: usize) -> Vec<usize> {
    let mut all = vec![base];
    for (&d, &stride) in dims.iter().zip(strides) {
        all = (all.iter())
            .flat_map(|&at| (0..d).map(move |i| at + i * stride))
            .collect();
    }
    all
}

fn select(elements: &Elements, places: &[usize]) -> Elements {
    match elements {
        Elements::Float(v) => Elements::Float(places.iter().map(|&i| v[i]).collect()),
        Elements::Int(v) => Elements::Int(places.iter().map(|&i| v[i]).collect()),
    }
}

fn binary(
    node: &NodeReader<'_>,
    inputs: &[Rc<Constant>],
    float: impl Fn(f32, f32) -> f32,
    int: impl Fn(i64, i64) -> Option<i64>,
) -> Step<Constant> {
    let [a, b] = inputs else {
        return Err(cannot(node, "of other than two inputs"));
    };
    let rank = a.dims.len().max(b.dims.len());
    let extent =
        |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let mut dims = Vec::with_capacity(rank);
    for i in 0..rank {
        match (extent(&a.dims, i), extent(&b.dims, i)) {
            (x, y) if x == y || y == 1 => dims.push(x),
            (1, y) => dims.push(y),
            _ => {
                return Err(node.finding(
                    diag::BROADCAST,
                    format!("constants of extents {} and {}", a.extents(), b.extents()),
                    "the file is damaged: export the model again",
                ));
            }
        }
    }
    bounded(node, &dims, a.elements.len() + b.elements.len())?;
    let left = places(&dims, &broadcast_strides(&a.dims, rank), 0);
    let right = places(&dims, &broadcast_strides(&b.dims, rank), 0);
    let pairs = left.iter().zip(&right);
    let elements = match (&a.elements, &b.elements) {
        (Elements::Float(x), Elements::Float(y)) => {
            Elements::Float(pairs.map(|(&i, &j)| float(x[i], y[j])).collect())
        }
        (Elements::Int(x), Elements::Int(y)) => Elements::Int(
            pairs
                .map(|(&i, &j)| int(x[i], y[j]))
                .collect::<Option<_>>()
                .ok_or_else(|| cannot(node, "with overflow or division by zero"))?,
        ),
        _ => return Err(cannot(node, "of an integer and a float tensor")),
    };
    Ok(Constant { dims, elements })
}

fn unary(
    node: &NodeReader<'_>,
    x: &Constant,
    float: impl Fn(f32) -> f32,
    int: Option<fn(i64) -> Option<i64>>,
) -> Step<Constant> {
    let elements = match (&x.elements, int) {
        (Elements::Float(v), _) => Elements::Float(v.iter().map(|&v| float(v)).collect()),
        (Elements::Int(v), Some(int)) => Elements::Int(
            v.iter()
                .map(|&v| int(v))
                .collect::<Option<_>>()
                .ok_or_else(|| cannot(node, "with overflow"))?,
        ),
        (Elements::Int(_), None) => return Err(cannot(node, "of integers")),
    };
    Ok(Constant {
        dims: x.dims.clone(),
        elements,
    })
}

fn cast(node: &NodeReader<'_>, x: &Constant) -> Step<Constant> {
    use data_type::*;
    let to = node.int("to")?.unwrap_or(0);
    let elements = match (&x.elements, i32::try_from(to).unwrap_or(0)) {
        (Elements::Float(v), FLOAT | DOUBLE) => Elements::Float(v.clone()),
        (Elements::Int(v), FLOAT | DOUBLE) => {
            Elements::Float(v.iter().map(|&v| v as f32).collect())
        }
        (Elements::Float(v), INT64 | INT32) => Elements::Int(v.iter().map(|&v| v as i64).collect()),
        (Elements::Int(v), INT64 | INT32) => Elements::Int(v.clone()),
        (Elements::Float(v), BOOL) => {
            Elements::Int(v.iter().map(|&v| i64::from(v != 0.0)).collect())
        }
        (Elements::Int(v), BOOL) => Elements::Int(v.iter().map(|&v| i64::from(v != 0)).collect()),
        (_, code) => return Err(cannot(node, &format!("to {}", data_type::name(code)))),
    };
    Ok(Constant {
        dims: x.dims.clone(),
        elements,
    })
}

fn concat(node: &NodeReader<'_>, inputs: &[Rc<Constant>]) -> Step<Constant> {
    let first = &inputs[0];
    let rank = first.dims.len();
    let axis = node.resolve_axis(node.int("axis")?.unwrap_or(0), rank)?;
    let mut dims = first.dims.clone();
    dims[axis] = 0;
    for x in inputs {
        let same_rest =
            x.dims.len() == rank && (0..rank).all(|i| i == axis || x.dims[i] == first.dims[i]);
        if !same_rest {
            return Err(node.finding(
                diag::SHAPE_MISMATCH,
                format!("joins {} and {}", first.extents(), x.extents()),
                "the file is damaged: export the model again",
            ));
        }
        dims[axis] += x.dims[axis];
    }
    let held = inputs.iter().map(|x| x.elements.len()).sum();
    bounded(node, &dims, held)?;
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let chunk = |x: &Constant| x.dims[axis] * inner;
    let mut elements = match &first.elements {
        Elements::Float(_) => Elements::Float(Vec::new()),
        Elements::Int(_) => Elements::Int(Vec::new()),
    };
    for o in 0..outer {
        for x in inputs {
            let range = o * chunk(x)..(o + 1) * chunk(x);
            match (&mut elements, &x.elements) {
                (Elements::Float(to), Elements::Float(from)) => to.extend(&from[range]),
                (Elements::Int(to), Elements::Int(from)) => to.extend(&from[range]),
                _ => return Err(cannot(node, "of integer and float tensors")),
            }
        }
    }
    Ok(Constant { dims, elements })
}

/// Repeats axes of extent 1, and adds axes in front.
fn expand(node: &NodeReader<'_>, x: &Constant, inputs: &[Rc<Constant>]) -> Step<Constant> {
    let wanted = inputs.get(1).and_then(|c| c.integers()).unwrap_or_default();
    let wanted = (wanted.iter().map(|&d| usize::try_from(d)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| cannot(node, "to a negative extent"))?;
    let rank = wanted.len().max(x.dims.len());
    let mut dims = vec![1; rank - x.dims.len()];
    dims.extend(&x.dims);
    let strides = broadcast_strides(&x.dims, rank);
    for (d, &extent) in dims[rank - wanted.len()..].iter_mut().zip(&wanted) {
        match (*d, extent) {
            (_, 1) => {}
            (1, extent) => *d = extent,
            (d, extent) if d == extent => {}
            _ => return Err(cannot(node, &format!("from {:?} to {wanted:?}", x.dims))),
        }
    }
    bounded(node, &dims, x.elements.len())?;
    Ok(Constant {
        elements: select(&x.elements, &places(&dims, &strides, 0)),
        dims,
    })
}

/// Integers from a start to before a limit.
fn range(node: &NodeReader<'_>, inputs: &[Rc<Constant>]) -> Step<Constant> {
    let one = |i: usize| match inputs.get(i).and_then(|c| c.integers()) {
        Some(&[v]) => Ok(v),
        _ => Err(cannot(node, "of other than three integers")),
    };
    let (start, limit, delta) = (one(0)?, one(1)?, one(2)?);
    let room = limit.checked_sub(start).filter(|_| delta != 0);
    let room = room.ok_or_else(|| cannot(node, "of such integers"))?;
    let count = match room.signum() == delta.signum() {
        true => room.unsigned_abs().div_ceil(delta.unsigned_abs()),
        false => 0,
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    bounded(node, &[count], 0)?;
    Ok(Constant::ints(
        (0..count as i64).map(|i| start + i * delta).collect(),
    ))
}

fn constant_of_shape<'m>(
    builder: &Builder<'m>,
    node: &NodeReader<'m>,
    shape: &Constant,
) -> Step<Constant> {
    let value = match node.tensor("value")? {
        Some(tensor) => builder.attribute_constant(tensor, node)?.elements,
        None => Elements::Float(vec![0.0]),
    };
    let dims = (shape.integers().unwrap_or_default().iter())
        .map(|&d| usize::try_from(d))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| cannot(node, "with a negative extent"))?;
    let count = bounded(node, &dims, 0)?;
    let elements = match value {
        Elements::Float(v) if v.len() == 1 => Elements::Float(vec![v[0]; count]),
        Elements::Int(v) if v.len() == 1 => Elements::Int(vec![v[0]; count]),
        _ => return Err(cannot(node, "of more than one value")),
    };
    Ok(Constant { dims, elements })
}

fn gather(node: &NodeReader<'_>, x: &Constant, inputs: &[Rc<Constant>]) -> Step<Constant> {
    let Some(indices) = inputs.get(1) else {
        return Err(cannot(node, "without indices"));
    };
    let axis = node.resolve_axis(node.int("axis")?.unwrap_or(0), x.dims.len())?;
    let extent = x.dims[axis] as i64;
    let mut at = Vec::new();
    for &index in indices.integers().unwrap_or_default() {
        let resolved = if index < 0 {
            index.saturating_add(extent)
        } else {
            index
        };
        if !(0..extent).contains(&resolved) {
            return Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("takes element {index} of {extent}"),
                "the file is damaged: export the model again",
            ));
        }
        at.push(resolved as usize);
    }
    let mut dims = x.dims[..axis].to_vec();
    dims.extend(&indices.dims);
    dims.extend(&x.dims[axis + 1..]);
    if element_count(&indices.dims) != Some(at.len()) {
        return Err(cannot(node, "with float indices"));
    }
    bounded(node, &dims, x.elements.len())?;
    Ok(Constant {
        dims,
        elements: take(x, axis, &at).elements,
    })
}

fn slice(node: &NodeReader<'_>, x: &Constant) -> Step<Constant> {
    let mut result = x.clone();
    for b in moving::bounds(node, &x.dims)? {
        result = take(&result, b.axis, &b.positions());
    }
    Ok(result)
}

/// The elements at these positions along an axis.
fn take(x: &Constant, axis: usize, positions: &[usize]) -> Constant {
    let outer: usize = x.dims[..axis].iter().product();
    let inner: usize = x.dims[axis + 1..].iter().product();
    let from: Vec<usize> = (0..outer)
        .flat_map(|o| {
            positions
                .iter()
                .map(move |&i| (o * x.dims[axis] + i) * inner)
        })
        .flat_map(|start| start..start + inner)
        .collect();
    let mut dims = x.dims.clone();
    dims[axis] = positions.len();
    Constant {
        dims,
        elements: select(&x.elements, &from),
    }
}

fn row_major(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for i in (0..dims.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * dims[i + 1];
    }
    strides
}

fn transpose(node: &NodeReader<'_>, x: &Constant) -> Step<Constant> {
    let perm = layout::permutation(node, x.dims.len())?;
    let strides = row_major(&x.dims);
    let dims: Vec<usize> = perm.iter().map(|&i| x.dims[i]).collect();
    let steps: Vec<usize> = perm.iter().map(|&i| strides[i]).collect();
    let from = places(&dims, &steps, 0);
    Ok(Constant {
        dims,
        elements: select(&x.elements, &from),
    })
}
