//! The operators nestc imports: one row each.

mod arithmetic;
mod conv;
mod deconv;
mod elementwise;
pub(super) mod layout;
mod linear;
pub(super) mod moving;
mod pool;
pub(super) mod quantised;

use std::ops::RangeInclusive;

use super::builder::Builder;
use super::fold;
use super::node::{NodeReader, Operand, Step};
use super::proto::{NodeProto, attribute_type};
use crate::diag::{self, Diagnostic};

/// Makes an operator's results from its node.
type Import = for<'m> fn(&mut Builder<'m>, &NodeReader<'m>) -> Step<Operand>;

/// An operator.
struct Row {
    name: &'static str,
    /// How many inputs it takes.
    inputs: RangeInclusive<usize>,
    /// Every attribute of any version nestc reads.
    attributes: &'static [&'static str],
    import: Import,
}

const fn row(
    name: &'static str,
    inputs: RangeInclusive<usize>,
    attributes: &'static [&'static str],
    import: Import,
) -> Row {
    Row {
        name,
        inputs,
        attributes,
        import,
    }
}

const CONV: &[&str] = &[
    "auto_pad",
    "dilations",
    "group",
    "kernel_shape",
    "pads",
    "strides",
];
const CONV_TRANSPOSE: &[&str] = &[
    "auto_pad",
    "dilations",
    "group",
    "kernel_shape",
    "output_padding",
    "output_shape",
    "pads",
    "strides",
];
const POOL: &[&str] = &[
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "kernel_shape",
    "pads",
    "storage_order",
    "strides",
];
const REDUCE: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];
/// As many inputs as a node may ever have.
const MANY: usize = i32::MAX as usize;

/// Operators all of whose inputs but the first are parameters.
const PARAMETERISED: &[&str] = &[
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
];

/// All operators over values, in alphabetical order. Over constants alone, [`fold`] knows more.
static ROWS: &[Row] = &[
    row("Add", 2..=2, &[], arithmetic::arithmetic),
    row("AveragePool", 1..=1, POOL, pool::average),
    row(
        "BatchNormalization",
        5..=5,
        &["epsilon", "momentum", "spatial", "training_mode"],
        elementwise::batch_norm,
    ),
    row(
        "Cast",
        1..=1,
        &["to", "saturate", "round_mode"],
        elementwise::cast,
    ),
    row("Clip", 1..=3, &["min", "max"], elementwise::clip),
    row("Concat", 1..=MANY, &["axis"], moving::concat),
    row("Conv", 2..=3, CONV, conv::conv),
    row(
        "ConvTranspose",
        2..=3,
        CONV_TRANSPOSE,
        deconv::conv_transpose,
    ),
    row(
        "DepthToSpace",
        1..=1,
        &["blocksize", "mode"],
        layout::depth_to_space,
    ),
    row(
        "DequantizeLinear",
        2..=3,
        &["axis", "block_size", "output_dtype"],
        quantised::dequantize,
    ),
    row("Div", 2..=2, &[], arithmetic::arithmetic),
    row("Dropout", 1..=3, &["ratio", "seed"], elementwise::dropout),
    row("Elu", 1..=1, &["alpha"], elementwise::elu),
    row("Exp", 1..=1, &[], elementwise::plain),
    row("Expand", 2..=2, &[], moving::expand),
    row("Flatten", 1..=1, &["axis"], layout::flatten),
    row("Gather", 2..=2, &["axis"], moving::gather),
    row(
        "Gemm",
        2..=3,
        &["alpha", "beta", "transA", "transB"],
        linear::gemm,
    ),
    row("GlobalAveragePool", 1..=1, &[], pool::global_average),
    row("GlobalMaxPool", 1..=1, &[], pool::global_max),
    row(
        "HardSigmoid",
        1..=1,
        &["alpha", "beta"],
        elementwise::hard_sigmoid,
    ),
    row("HardSwish", 1..=1, &[], elementwise::plain),
    row("Identity", 1..=1, &[], layout::identity),
    row("LeakyRelu", 1..=1, &["alpha"], elementwise::leaky_relu),
    row("MatMul", 2..=2, &[], linear::matmul),
    row("Max", 1..=MANY, &[], arithmetic::extremum),
    row("MaxPool", 1..=1, POOL, pool::max),
    row("Min", 1..=MANY, &[], arithmetic::extremum),
    row("Mul", 2..=2, &[], arithmetic::arithmetic),
    row("Neg", 1..=1, &[], arithmetic::negate),
    row("PRelu", 2..=2, &[], elementwise::prelu),
    row("Pad", 1..=4, &["mode", "pads", "value"], moving::pad),
    row(
        "QuantizeLinear",
        2..=3,
        &[
            "axis",
            "block_size",
            "output_dtype",
            "precision",
            "saturate",
        ],
        quantised::quantize,
    ),
    row("ReduceMax", 1..=2, REDUCE, pool::reduce_max),
    row("ReduceMean", 1..=2, REDUCE, pool::reduce_mean),
    row("Relu", 1..=1, &[], elementwise::relu),
    row("Reshape", 2..=2, &["allowzero"], layout::reshape),
    row(
        "Resize",
        1..=4,
        &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        moving::resize,
    ),
    row("Shape", 1..=1, &["start", "end"], layout::shape),
    row("Sigmoid", 1..=1, &[], elementwise::plain),
    row("Slice", 1..=5, &["axes", "ends", "starts"], moving::slice),
    row("Softmax", 1..=1, &["axis"], elementwise::softmax),
    row(
        "SpaceToDepth",
        1..=1,
        &["blocksize"],
        layout::space_to_depth,
    ),
    row(
        "Split",
        1..=2,
        &["axis", "num_outputs", "split"],
        moving::split,
    ),
    row("Squeeze", 1..=2, &["axes"], layout::squeeze),
    row("Sub", 2..=2, &[], arithmetic::arithmetic),
    row("Tanh", 1..=1, &[], elementwise::plain),
    row("Transpose", 1..=1, &["perm"], layout::transpose),
    row("Unsqueeze", 1..=2, &["axes"], layout::unsqueeze),
];

/// Whether the node is of ONNX's own operator set. onnxruntime has two of its operators under a name
/// of its own as well.
pub fn is_standard(node: &NodeProto) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx")
        || matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear")
            && node.domain == "com.microsoft"
}

/// Whether an operator is known over values, or gives a constant.
pub fn knows(node: &NodeProto) -> bool {
    let row = ROWS.iter().any(|row| row.name == node.op_type);
    is_standard(node) && (row || node.op_type == "Constant")
}

/// Imports one node; its first output stands for the result. Findings go to the builder, and what
/// depends on a node with findings stays silent.
pub fn import<'m>(builder: &mut Builder<'m>, proto: &'m NodeProto) {
    if proto.op_type == "Split" {
        // Defines what it can itself.
        for output in &proto.output {
            builder.define(output, Operand::UnknownValue);
        }
    }
    let operand = match operand(builder, proto) {
        Ok(operand) => operand,
        Err(finding) => {
            builder.findings.push(finding);
            unknown(builder, proto)
        }
    };
    let mut outputs = proto.output.iter();
    if let Some(first) = outputs.next() {
        builder.define(first, operand);
    }
    // Unsupported nodes are reported whole.
    let known = proto.op_type != "Split" && ROWS.iter().any(|row| row.name == proto.op_type);
    for extra in outputs.filter(|o| known && !o.is_empty()) {
        if builder.is_read(extra) {
            builder.findings.push(Diagnostic::new(
                diag::UNSUPPORTED_OP,
                NodeReader::place_of(proto),
                format!("a second output '{extra}' of {} is used", proto.op_type),
                "only the first output is supported: masks, indices and batch statistics are not",
            ));
        }
    }
}

/// What stands for the result of a reported node. The extents of a value are a constant, known or
/// not.
fn unknown<'m>(builder: &mut Builder<'m>, proto: &'m NodeProto) -> Operand {
    if proto.op_type == "Shape" {
        return Operand::Unknown;
    }
    let mut names = proto.input.iter().filter(|name| !name.is_empty());
    if names.any(|name| is_value(&builder.operand(name))) {
        Operand::UnknownValue
    } else {
        Operand::Unknown
    }
}

fn is_value(operand: &Operand) -> bool {
    matches!(operand, Operand::View(_) | Operand::UnknownValue)
}

fn is_unknown(operand: &Operand) -> bool {
    matches!(operand, Operand::Unknown | Operand::UnknownValue)
}

fn operand<'m>(builder: &mut Builder<'m>, proto: &'m NodeProto) -> Step<Operand> {
    let place = NodeReader::place_of(proto);
    let row = ROWS.iter().find(|row| row.name == proto.op_type);
    if !is_standard(proto) || (row.is_none() && !fold::knows(&proto.op_type)) {
        return Err(unsupported(proto, place));
    }
    let mut inputs = Vec::with_capacity(proto.input.len());
    for name in &proto.input {
        inputs.push(if name.is_empty() {
            None
        } else {
            Some(builder.operand(name))
        });
    }
    let node = NodeReader {
        proto,
        place,
        inputs,
    };
    check_form(&node, row)?;
    let given = || node.inputs.iter().flatten();
    if row.is_none() && given().any(is_value) {
        return Err(node.finding(
            diag::UNSUPPORTED_OP,
            format!(
                "operator {} over values computed at run time",
                proto.op_type
            ),
            remedy(&proto.op_type),
        ));
    }
    if given().any(is_unknown) {
        // What is known of the node can be looked at all the same.
        if PARAMETERISED.contains(&proto.op_type.as_str()) {
            for index in 1..node.inputs.len() {
                if let Some(Operand::Constant(_)) = node.input(index) {
                    node.parameters(index)?;
                }
            }
        }
        return Ok(unknown(builder, proto));
    }
    quantised::pass_on(builder, &node)?;
    match row {
        _ if given().all(|i| matches!(i, Operand::Constant(_))) && fold::knows(&proto.op_type) => {
            fold::fold(builder, &node)
        }
        Some(row) => (row.import)(builder, &node),
        // Values and unknown operands are dealt with, so all are constants `fold` knows.
        None => fold::fold(builder, &node),
    }
}

/// Checks what holds for every operator: the number of inputs and outputs and known attributes.
fn check_form(node: &NodeReader<'_>, row: Option<&Row>) -> Step<()> {
    let proto = node.proto;
    for attribute in &proto.attribute {
        let bad = |message: String| {
            node.finding(
                diag::ATTRIBUTE,
                message,
                "the file is damaged or was written for a runtime of its own: export it again",
            )
        };
        if !attribute.ref_attr_name.is_empty() {
            return Err(bad(format!(
                "attribute '{}' refers to an attribute of a function",
                attribute.name
            )));
        }
        if attribute.r#type == attribute_type::GRAPH {
            return Err(bad(format!("attribute '{}' is a graph", attribute.name)));
        }
        if row.is_some_and(|row| !row.attributes.contains(&attribute.name.as_str())) {
            return Err(bad(format!(
                "{} has no attribute '{}'",
                proto.op_type, attribute.name
            )));
        }
    }
    if let Some(row) = row
        && !row.inputs.contains(&proto.input.len())
    {
        return Err(node.finding(
            diag::NODE_ARITY,
            format!(
                "{} inputs, {} takes {} to {}",
                proto.input.len(),
                proto.op_type,
                row.inputs.start(),
                row.inputs.end()
            ),
            "the file is damaged or was written for another operator set",
        ));
    }
    if proto.output.first().is_none_or(String::is_empty) {
        return Err(node.finding(
            diag::NODE_ARITY,
            "no first output",
            "the file is damaged: export the model again",
        ));
    }
    Ok(())
}

fn unsupported(proto: &NodeProto, place: String) -> Diagnostic {
    if !is_standard(proto) {
        return Diagnostic::new(
            diag::UNSUPPORTED_OP,
            place,
            format!(
                "operator {} of the operator set '{}'",
                proto.op_type, proto.domain
            ),
            "nestc reads ONNX's own operators: export without runtime-specific fusions or local functions",
        );
    }
    let control = matches!(proto.op_type.as_str(), "If" | "Loop" | "Scan");
    Diagnostic::new(
        if control {
            diag::CONTROL_FLOW
        } else {
            diag::UNSUPPORTED_OP
        },
        place,
        format!("operator {} is not supported", proto.op_type),
        remedy(&proto.op_type),
    )
}

/// What to do without an operator.
fn remedy(op_type: &str) -> &'static str {
    match op_type {
        "If" | "Loop" | "Scan" => {
            "control flow is decided at export: trace the model (torch.onnx.export), then simplify it (onnxsim)"
        }
        "Upsample" => "export for operator set 11 or later, where it is Resize",
        "DynamicQuantizeLinear" | "ConvInteger" | "MatMulInteger" => {
            "quantise statically, in the QDQ format: firmware has no scales that follow the data"
        }
        "Gelu" | "Mish" | "Softplus" | "Erf" => {
            "train the network with ReLU or ReLU6, which cost nothing on the device"
        }
        "ArgMax" | "TopK" | "NonMaxSuppression" => {
            "end the network before it: export the scores and choose in the application"
        }
        "LayerNormalization" | "InstanceNormalization" | "GroupNormalization" => {
            "use batch normalisation, which folds into the convolutions"
        }
        _ => "`nestc explain E200` lists the operators; replace it in the model before export",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted() {
        assert!(ROWS.is_sorted_by_key(|row| row.name));
    }

    #[test]
    fn explanation_lists_every_operator() {
        let text = diag::UNSUPPORTED_OP.info().explanation;
        for row in ROWS {
            assert!(text.contains(row.name), "{} is not in E200", row.name);
        }
    }
}
