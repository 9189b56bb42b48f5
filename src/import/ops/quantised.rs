//! Tensors of 8-bit integers.
//!
//! The float graph has numbers only, so an integer tensor is imported as the numbers it stands for,
//! and what rounds them is an operation of the graph ([`Unary::Int8`]). QuantizeLinear becomes that
//! operation; DequantizeLinear is another name for the same numbers, once the steps of its input
//! are known to be those it states.

use std::rc::Rc;

use crate::diag;
use crate::import::builder::Builder;
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::proto::{TypeValue, data_type};
use crate::import::tensor::{Constant, Elements};
use crate::ir::float::{FloatOp, Unary};

/// What the integers of a tensor stand for: `scale * (q - zero_point)`, `q` from -128 to 127.
/// Unsigned integers are counted from -128 on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// The step.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: i8,
}

impl Steps {
    fn op(self) -> FloatOp {
        let Self { scale, zero_point } = self;
        FloatOp::Unary(Unary::Int8 { scale, zero_point })
    }

    /// The number that an integer of the file stands for.
    pub fn number(self, integer: i64, unsigned: bool) -> f32 {
        let zero = i64::from(self.zero_point) + if unsigned { 128 } else { 0 };
        (integer - zero) as f32 * self.scale
    }
}

/// Operators that only move the elements of their first input, or choose among them: their results
/// have its steps.
const KEEP_STEPS: &[&str] = &[
    "Concat",
    "DepthToSpace",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Pad",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// `QuantizeLinear`.
pub fn quantize<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let stated = match node.int("output_dtype")? {
        None | Some(0) => i64::from(data_type::UINT8),
        Some(code) => code,
    };
    let steps = steps(builder, node, stated as i32)?;
    let rounded = builder.elementwise(node, steps.op(), 0)?;
    if let Some(output) = node.proto.output.first() {
        builder.set_integers(output, Some(steps));
    }
    Ok(rounded)
}

/// `DequantizeLinear`.
pub fn dequantize<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let given = builder.steps(node.input_name(0));
    // Without a zero point it is 0, of the type that the input has.
    let usual = match given {
        None => builder.input_type(),
        Some(steps) if steps.zero_point == -128 => data_type::UINT8,
        Some(_) => data_type::INT8,
    };
    let stated = steps(builder, node, usual)?;
    let Some(given) = given else {
        // The graph's own input: nothing before this node says what its integers stand for.
        return builder.elementwise(node, stated.op(), 0);
    };
    if given != stated {
        return Err(node.finding(
            diag::QUANTISATION,
            format!(
                "reads '{}' in steps of {} from zero point {}, but it was rounded to steps of {} from {}",
                node.input_name(0),
                stated.scale,
                stated.zero_point,
                given.scale,
                given.zero_point
            ),
            "integers must be read as they were written: quantise the model again",
        ));
    }
    let view = node.view(0)?.clone();
    // One tensor under two names: that of its numbers is the one to know it by.
    if let Some(output) = node.proto.output.first()
        && builder.graph.values[view.value].name == node.input_name(0)
    {
        builder.graph.values[view.value].name.clone_from(output);
    }
    builder.realias(node, 0, view.dims)
}

/// The steps that inputs 1 and 2 state; `usual` is the type of the integers without input 2.
fn steps(builder: &Builder<'_>, node: &NodeReader<'_>, usual: i32) -> Step<Steps> {
    let refuse = |message: String, hint: &str| Err(node.finding(diag::QUANTISATION, message, hint));
    let scale = node.parameters(1)?;
    let &[scale] = scale.floats().unwrap_or_default() else {
        return refuse(
            format!("a scale of extents {} for activations", scale.extents()),
            "quantise activations tensor by tensor; channel by channel is for weights",
        );
    };
    if !(scale.is_normal() && scale > 0.0) {
        return refuse(
            format!("steps of {scale}"),
            "a step must be above 0: the calibration data were wrong, quantise again",
        );
    }
    let zero = match node.optional_constant(2)? {
        None => None,
        Some(zero) => match zero.integers() {
            Some(&[zero]) => Some(zero),
            _ => {
                return refuse(
                    format!("a zero point of extents {} for activations", zero.extents()),
                    "quantise to 8-bit integers, tensor by tensor",
                );
            }
        },
    };
    let code = match zero {
        None => usual,
        Some(_) => builder.element_type(node.input_name(2)).unwrap_or(usual),
    };
    let offset = match code {
        data_type::INT8 => 0,
        data_type::UINT8 => 128,
        other => {
            return refuse(
                format!("rounds to {}", data_type::name(other)),
                "nestc computes in 8 bits: quantise to INT8 or UINT8",
            );
        }
    };
    let zero = zero.unwrap_or(0) - offset;
    match i8::try_from(zero) {
        Ok(zero_point) => Ok(Steps { scale, zero_point }),
        Err(_) => refuse(
            format!(
                "a zero point of {} in {}",
                zero + offset,
                data_type::name(code)
            ),
            "the file is damaged: quantise the model again",
        ),
    }
}

/// What a node makes of integers that it reads: passes them on, or must not read them.
pub fn pass_on<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<()> {
    let op = node.proto.op_type.as_str();
    if matches!(op, "QuantizeLinear" | "DequantizeLinear" | "Cast" | "Shape") {
        return Ok(());
    }
    let names = (0..node.proto.input.len()).map(|i| node.input_name(i));
    let all: Vec<(&str, Option<Steps>)> = names
        .filter(|name| builder.holds_integers(name))
        .map(|name| (name, builder.steps(name)))
        .collect();
    let Some(&(name, first)) = all.first() else {
        return Ok(());
    };
    if !KEEP_STEPS.contains(&op) {
        return Err(node.finding(
            diag::QUANTISATION,
            format!("{op} reads the integers of '{name}' as numbers"),
            "put DequantizeLinear before it and QuantizeLinear behind it (the QDQ format), or Cast integers that are numbers",
        ));
    }
    if let Some((other, _)) = all.iter().find(|(_, steps)| *steps != first)
        && op == "Concat"
    {
        return Err(node.finding(
            diag::QUANTISATION,
            format!("joins '{name}' and '{other}', whose integers stand for different numbers"),
            "give them the same scale and zero point, or join them as numbers",
        ));
    }
    for output in &node.proto.output {
        builder.set_integers(output, first);
    }
    Ok(())
}

/// `DequantizeLinear` of a constant, per tensor or per slice of an axis.
pub fn dequantize_constant(node: &NodeReader<'_>, x: &Constant) -> Step<Constant> {
    let Some(integers) = x.integers() else {
        return Err(node.finding(
            diag::QUANTISATION,
            format!("'{}' holds no integers", node.input_name(0)),
            "weights must be INT8, UINT8 or INT32 there: quantise the model again",
        ));
    };
    let spread = Spread::of(node, x)?;
    let mut numbers = Vec::with_capacity(integers.len());
    for (i, &q) in integers.iter().enumerate() {
        let (scale, zero) = spread.at(i);
        numbers.push((q - zero) as f32 * scale);
    }
    Ok(Constant {
        dims: x.dims.clone(),
        elements: Elements::Float(numbers),
    })
}

/// `QuantizeLinear` of a constant.
pub fn quantize_constant(
    builder: &Builder<'_>,
    node: &NodeReader<'_>,
    x: &Constant,
) -> Step<Constant> {
    let Some(numbers) = x.floats() else {
        return Err(node.finding(
            diag::QUANTISATION,
            format!("'{}' holds integers already", node.input_name(0)),
            "export the model again",
        ));
    };
    let spread = Spread::of(node, x)?;
    let code = builder.element_type(node.input_name(2));
    let [low, high] = match code.unwrap_or(data_type::UINT8) {
        data_type::INT8 => [-128.0, 127.0],
        data_type::UINT8 => [0.0, 255.0],
        other => {
            return Err(node.finding(
                diag::QUANTISATION,
                format!("rounds a constant to {}", data_type::name(other)),
                "quantise to INT8 or UINT8",
            ));
        }
    };
    let rounded = numbers.iter().enumerate().map(|(i, v)| {
        let (scale, zero) = spread.at(i);
        ((v / scale).round_ties_even() + zero as f32).clamp(low, high) as i64
    });
    Ok(Constant {
        dims: x.dims.clone(),
        elements: Elements::Int(rounded.collect()),
    })
}

/// Scales and zero points over a constant: one, or one for each slice of an axis.
struct Spread {
    scale: Rc<Constant>,
    zero: Option<Rc<Constant>>,
    /// Slices, and elements of the axes behind.
    slices: usize,
    inner: usize,
}

impl Spread {
    fn of(node: &NodeReader<'_>, x: &Constant) -> Step<Self> {
        if node.int("block_size")?.unwrap_or(0) != 0 {
            return Err(node.finding(
                diag::QUANTISATION,
                "scales for blocks of an axis",
                "quantise weights channel by channel",
            ));
        }
        let scale = node.parameters(1)?.clone();
        let zero = node.optional_constant(2)?.cloned();
        let count = scale.elements.len();
        let (slices, inner) = if count == 1 {
            (1, 1)
        } else {
            let axis = node.resolve_axis(node.int("axis")?.unwrap_or(1), x.dims.len())?;
            (x.dims[axis], x.dims[axis + 1..].iter().product())
        };
        let fits = |n: usize| n == slices;
        let zeros = zero.as_ref().map_or(slices, |z| z.elements.len());
        if !fits(count) || !fits(zeros) || zero.as_ref().is_some_and(|z| z.integers().is_none()) {
            return Err(node.finding(
                diag::QUANTISATION,
                format!("{count} scales and {zeros} zero points for {slices} slices"),
                "each slice of the axis needs one of both: quantise the model again",
            ));
        }
        Ok(Self {
            scale,
            zero,
            slices,
            inner,
        })
    }

    /// Scale and zero point of element `i`.
    fn at(&self, i: usize) -> (f32, i64) {
        let slice = i / self.inner % self.slices;
        let of = |list: &[i64]| list.get(slice).copied().unwrap_or(0);
        (
            self.scale.floats().map_or(1.0, |s| s[slice]),
            self.zero.as_ref().and_then(|z| z.integers()).map_or(0, of),
        )
    }
}

impl<'m> Builder<'m> {
    /// The type of the elements of `name`, as far as the file states it: of an initializer, or of a
    /// constant in a node.
    pub fn element_type(&self, name: &str) -> Option<i32> {
        if let Some(tensor) = self.structure.initializers.get(name) {
            return Some(tensor.data_type);
        }
        let node = self.structure.givers.get(name)?;
        match node.op_type.as_str() {
            "Identity" => self.element_type(node.input.first()?),
            "Constant" => {
                let value = node.attribute.iter().find(|a| a.name == "value")?;
                Some(value.t.as_ref()?.data_type)
            }
            _ => None,
        }
    }

    /// The type of the elements of the graph's input.
    pub fn input_type(&self) -> i32 {
        let stated =
            (self.structure.inputs.first()).and_then(|input| input.r#type.as_ref()?.value.as_ref());
        match stated {
            Some(TypeValue::Tensor(tensor)) => tensor.elem_type,
            _ => data_type::UNDEFINED,
        }
    }
}
