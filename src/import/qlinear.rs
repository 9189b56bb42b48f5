//! Quantised operators written out: QLinearConv and its kin are DequantizeLinear, the operator over
//! numbers and QuantizeLinear in one node. ONNX has three of them; the others are those of
//! onnxruntime's own operator set, which its quantiser writes.

use std::borrow::Cow;

use super::proto::{AttributeProto, GraphProto, NodeProto, attribute_type};

/// An operator over quantised tensors.
struct Row {
    name: &'static str,
    /// The operator over numbers.
    plain: &'static str,
    /// Where each operand stands, its scale and zero point behind it; weights with the axis of
    /// their channels.
    operands: &'static [(usize, Axis)],
    /// A bias in steps of the first two operands' scales multiplied, if it has one.
    bias: Option<usize>,
    /// Where the result's scale stands, its zero point behind it.
    result: usize,
    /// Attributes that only the quantised form has.
    dropped: &'static [&'static str],
}

/// Which axis of an operand may have scales of its own.
#[derive(Clone, Copy)]
enum Axis {
    /// None.
    Whole,
    /// This one, counted from the end if negative.
    At(i64),
    /// The rows of a Gemm's matrix if it is transposed, else its columns.
    OfGemm,
}

const ONE: &[(usize, Axis)] = &[(0, Axis::Whole)];
const TWO: &[(usize, Axis)] = &[(0, Axis::Whole), (3, Axis::Whole)];

const fn unary(name: &'static str, plain: &'static str, dropped: &'static [&'static str]) -> Row {
    Row {
        name,
        plain,
        operands: ONE,
        bias: None,
        result: 3,
        dropped,
    }
}

const fn binary(name: &'static str, plain: &'static str) -> Row {
    Row {
        name,
        plain,
        operands: TWO,
        bias: None,
        result: 6,
        dropped: &[],
    }
}

static ROWS: &[Row] = &[
    Row {
        operands: &[(0, Axis::Whole), (3, Axis::OfGemm)],
        bias: Some(6),
        result: 7,
        ..binary("QGemm", "Gemm")
    },
    binary("QLinearAdd", "Add"),
    unary("QLinearAveragePool", "AveragePool", &["channels_last"]),
    Row {
        operands: &[(0, Axis::Whole), (3, Axis::At(0))],
        bias: Some(8),
        ..binary("QLinearConv", "Conv")
    },
    unary(
        "QLinearGlobalAveragePool",
        "GlobalAveragePool",
        &["channels_last"],
    ),
    unary("QLinearLeakyRelu", "LeakyRelu", &[]),
    Row {
        operands: &[(0, Axis::Whole), (3, Axis::At(-1))],
        ..binary("QLinearMatMul", "MatMul")
    },
    binary("QLinearMul", "Mul"),
    unary("QLinearSigmoid", "Sigmoid", &[]),
    unary("QLinearSoftmax", "Softmax", &["opset"]),
];

/// Joins any number of tensors; scale and zero point of the result come first.
const CONCAT: &str = "QLinearConcat";

/// `graph` without quantised operators, as far as they are known.
pub fn written_out(graph: &GraphProto) -> Cow<'_, GraphProto> {
    let known = |node: &NodeProto| {
        node.op_type == CONCAT || ROWS.iter().any(|row| row.name == node.op_type)
    };
    if !graph.node.iter().any(known) {
        return Cow::Borrowed(graph);
    }
    let mut nodes = Vec::new();
    for node in &graph.node {
        let row = ROWS.iter().find(|row| row.name == node.op_type);
        match row {
            // A pixel-major form has no plain operator to stand for it.
            Some(_) if has_flag(node, "channels_last") => nodes.push(node.clone()),
            Some(row) => Expansion::new(node).of(row, &mut nodes),
            None if node.op_type == CONCAT => Expansion::new(node).concat(&mut nodes),
            None => nodes.push(node.clone()),
        }
    }
    Cow::Owned(GraphProto {
        node: nodes,
        ..graph.clone()
    })
}

fn has_flag(node: &NodeProto, name: &str) -> bool {
    let mut attributes = node.attribute.iter();
    attributes.any(|a| a.name == name && a.i.unwrap_or(0) != 0)
}

/// One node on its way to several.
struct Expansion<'a> {
    node: &'a NodeProto,
    name: &'a str,
    /// Its result.
    output: String,
}

impl<'a> Expansion<'a> {
    fn new(node: &'a NodeProto) -> Self {
        let output = node.output.first().cloned().unwrap_or_default();
        let name = match node.name.is_empty() {
            true => node.output.first().map_or("", String::as_str),
            false => &node.name,
        };
        Self { node, name, output }
    }

    fn input(&self, index: usize) -> String {
        self.node.input.get(index).cloned().unwrap_or_default()
    }

    fn has(&self, index: usize) -> bool {
        self.node
            .input
            .get(index)
            .is_some_and(|name| !name.is_empty())
    }

    fn push(
        &self,
        op_type: &str,
        suffix: &str,
        input: Vec<String>,
        output: String,
        nodes: &mut Vec<NodeProto>,
    ) {
        nodes.push(NodeProto {
            op_type: op_type.to_owned(),
            name: format!("{}{suffix}", self.name),
            input,
            output: vec![output],
            ..NodeProto::default()
        });
    }

    /// The numbers of input `index`, whose scale and zero point stand behind it.
    fn numbers(&self, index: usize, axis: Option<i64>, nodes: &mut Vec<NodeProto>) -> String {
        let output = format!("{}:{index}", self.output);
        let mut input = vec![self.input(index), self.input(index + 1)];
        input.extend(self.has(index + 2).then(|| self.input(index + 2)));
        let suffix = format!(":{index}");
        self.push("DequantizeLinear", &suffix, input, output.clone(), nodes);
        set_axis(nodes, axis);
        output
    }

    /// Rounds `numbers` to the node's result.
    fn rounded(&self, numbers: String, scale: usize, nodes: &mut Vec<NodeProto>) {
        let mut input = vec![numbers, self.input(scale)];
        input.extend(self.has(scale + 1).then(|| self.input(scale + 1)));
        self.push("QuantizeLinear", ":int8", input, self.output.clone(), nodes);
    }

    fn of(&self, row: &Row, nodes: &mut Vec<NodeProto>) {
        let mut input = Vec::new();
        for &(index, axis) in row.operands {
            let axis = match axis {
                Axis::Whole => None,
                Axis::At(axis) => Some(axis),
                Axis::OfGemm => Some(if has_flag(self.node, "transB") { 0 } else { 1 }),
            };
            input.push(self.numbers(index, axis, nodes));
        }
        if let Some(index) = row.bias.filter(|&index| self.has(index)) {
            let step = format!("{}:step", self.output);
            let scales = row.operands.iter().map(|(at, _)| self.input(at + 1));
            self.push("Mul", ":step", scales.collect(), step.clone(), nodes);
            let bias = format!("{}:{index}", self.output);
            let integers = vec![self.input(index), step];
            self.push("DequantizeLinear", ":bias", integers, bias.clone(), nodes);
            set_axis(nodes, Some(0));
            input.push(bias);
        }
        let numbers = format!("{}:numbers", self.output);
        self.push(row.plain, "", input, numbers.clone(), nodes);
        if let Some(plain) = nodes.last_mut() {
            let kept = |a: &&AttributeProto| !row.dropped.contains(&a.name.as_str());
            plain.attribute = self.node.attribute.iter().filter(kept).cloned().collect();
        }
        // A QGemm without a scale gives numbers.
        if self.has(row.result) {
            self.rounded(numbers, row.result, nodes);
        } else if let Some(plain) = nodes.last_mut() {
            plain.output = vec![self.output.clone()];
        }
    }

    fn concat(&self, nodes: &mut Vec<NodeProto>) {
        let operands = (2..self.node.input.len()).step_by(3);
        let input = operands.map(|i| self.numbers(i, None, nodes)).collect();
        let numbers = format!("{}:numbers", self.output);
        self.push("Concat", "", input, numbers.clone(), nodes);
        if let Some(plain) = nodes.last_mut() {
            plain.attribute.clone_from(&self.node.attribute);
        }
        self.rounded(numbers, 0, nodes);
    }
}

/// Gives the last node the axis of its scales.
fn set_axis(nodes: &mut [NodeProto], axis: Option<i64>) {
    if let (Some(node), Some(axis)) = (nodes.last_mut(), axis) {
        node.attribute.push(AttributeProto {
            name: "axis".to_owned(),
            r#type: attribute_type::INT,
            i: Some(axis),
            ..AttributeProto::default()
        });
    }
}
