//! A float graph as ONNX messages.
//!
//! A value is a tensor of two axes where ONNX demands a vector (what Flatten, Gemm and Softmax give
//! and everything elementwise behind them), of four otherwise; reshaping nodes are put in where a
//! reader wants the other form. They move no data, and the importer makes nothing of them. Outputs are
//! laid out as in the file that the graph came from ([`OutputLayout`]).

use std::collections::HashSet;

use crate::import::builder::{GATE, INTEGERS, SHIFT};
use crate::import::proto::{
    AttributeProto, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue,
    ValueInfoProto, attribute_type, data_type,
};
use crate::ir::float::{
    Axis, Binary, FloatGraph, FloatOp, Interpolation, Node, OutputLayout, Rearrange, Shape, Unary,
    Window,
};
use crate::ir::ids::{IdVec, ValueId};

/// The version of the format written: the one current with operator set 17.
const IR_VERSION: i64 = 8;
/// The operator set written.
const OPSET: i64 = 17;
/// The open batch.
const BATCH: &str = "N";

/// The messages of a verified graph.
pub fn to_proto(graph: &FloatGraph) -> ModelProto {
    let mut writer = Writer::new(graph);
    for node in &graph.nodes {
        writer.node(node);
    }
    let outputs = (0..graph.outputs.len()).map(|i| writer.output(i)).collect();
    let input = |id: &ValueId| {
        let extents = form_extents(graph.shape(*id), writer.form[*id]);
        value_info(&graph.values[*id].name, &extents)
    };
    let name = if graph.name.is_empty() {
        "network"
    } else {
        &graph.name
    };
    let proto = GraphProto {
        name: name.to_owned(),
        input: graph.input.iter().map(input).collect(),
        output: outputs,
        node: writer.nodes,
        initializer: writer.initializers,
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        producer_name: "nestc".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(proto),
        ..ModelProto::default()
    }
}

/// How many axes a value has in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `N x C`.
    Vector,
    /// `N x C x H x W`.
    Map,
}

struct Writer<'g> {
    graph: &'g FloatGraph,
    form: IdVec<ValueId, Form>,
    /// What each value is called in the file.
    name: IdVec<ValueId, String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Names of tensors and of nodes taken so far.
    names: HashSet<String>,
}

impl<'g> Writer<'g> {
    fn new(graph: &'g FloatGraph) -> Self {
        let mut form: IdVec<ValueId, Form> = graph.values.iter().map(|_| Form::Map).collect();
        if let Some(input) = graph.input
            && graph.shape(input).pixels() == 1
        {
            form[input] = Form::Vector;
        }
        let values = graph.values.iter().map(|v| v.name.clone());
        let nodes = graph.nodes.iter().map(|n| n.name.clone());
        let mut writer = Self {
            graph,
            form,
            name: values.clone().collect(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            names: values.chain(nodes).collect(),
        };
        for (i, &output) in graph.outputs.iter().enumerate() {
            if writer.moved(i).is_some() {
                // The name belongs to the tensor in the file's order.
                let name = &graph.values[output].name;
                writer.name[output] = writer.unique(format!("{name}.value"));
            }
        }
        writer
    }

    /// The layout of output `index`, if it is not how the graph has the value.
    fn moved(&self, index: usize) -> Option<&'g OutputLayout> {
        let shape = self.graph.shape(self.graph.outputs[index]);
        (self.graph.output_layouts.get(index)).filter(|layout| !layout.is_plain(shape))
    }

    /// Output `index` as the file shows it.
    fn output(&mut self, index: usize) -> ValueInfoProto {
        let output = self.graph.outputs[index];
        let name = self.graph.values[output].name.clone();
        let Some(layout) = self.moved(index) else {
            let extents = form_extents(self.graph.shape(output), self.form[output]);
            return value_info(&name, &extents);
        };
        let mut last = self.read(output, Form::Map);
        if layout.pixel_major {
            let turned = self.unique(format!("{name}.turned"));
            let attribute = vec![ints("perm", &[0, 2, 3, 1])];
            self.push("Transpose", &turned, vec![last], turned.clone(), attribute);
            last = turned;
        }
        let node = self.unique(format!("{name}.layout"));
        self.reshape(&node, last, &layout.dims, name.clone());
        value_info(&name, &layout.dims)
    }

    /// Every image's elements under other extents.
    fn reshape(&mut self, node: &str, input: String, dims: &[usize], output: String) {
        // 0 keeps the batch.
        let target: Vec<i64> = [0]
            .into_iter()
            .chain(dims.iter().map(|&d| d as i64))
            .collect();
        let target = self.integers(format!("{node}.shape"), &target);
        self.push("Reshape", node, vec![input, target], output, Vec::new());
    }

    /// A permutation as reshape, transpose and reshape.
    fn rearrange(&mut self, name: &str, input: String, r: &Rearrange, output: String) {
        let split = self.unique(format!("{name}.split"));
        self.reshape(&split, input, &r.factors, split.clone());
        let turned = self.unique(format!("{name}.turned"));
        let perm: Vec<usize> = [0]
            .into_iter()
            .chain(r.perm.iter().map(|p| p + 1))
            .collect();
        let attribute = vec![ints("perm", &perm)];
        self.push("Transpose", &turned, vec![split], turned.clone(), attribute);
        self.reshape(name, turned, &r.shape.extents(), output);
    }

    /// `wanted`, or a numbered form of it nothing else has.
    fn unique(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{wanted}.{number}");
            number += 1;
        }
        name
    }

    fn push(
        &mut self,
        op_type: &str,
        name: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            op_type: op_type.to_owned(),
            name: name.to_owned(),
            input,
            output: vec![output],
            attribute,
            ..NodeProto::default()
        });
    }

    fn floats(&mut self, name: String, dims: &[usize], data: &[f32]) -> String {
        let name = self.unique(name);
        self.initializers
            .push(float_tensor(name.clone(), dims, data));
        name
    }

    /// Scale and zero point of an int8 tensor.
    fn steps(&mut self, name: &str, scale: f32, zero_point: i8) -> [String; 2] {
        let zero = self.unique(format!("{name}.zero_point"));
        self.initializers.push(TensorProto {
            data_type: data_type::INT8,
            name: zero.clone(),
            raw_data: Some(zero_point.to_le_bytes().into()),
            ..TensorProto::default()
        });
        [self.floats(format!("{name}.scale"), &[], &[scale]), zero]
    }

    fn integers(&mut self, name: String, data: &[i64]) -> String {
        let name = self.unique(name);
        self.initializers.push(TensorProto {
            dims: vec![data.len() as i64],
            data_type: data_type::INT64,
            name: name.clone(),
            raw_data: Some(data.iter().flat_map(|v| v.to_le_bytes()).collect()),
            ..TensorProto::default()
        });
        name
    }

    /// The name of a value in the form a reader wants.
    fn read(&mut self, value: ValueId, wanted: Form) -> String {
        let name = self.name[value].clone();
        match (self.form[value], wanted) {
            (Form::Map, Form::Vector) => {
                let flat = self.unique(format!("{name}.vector"));
                let attribute = vec![int("axis", 1)];
                self.push("Flatten", &flat, vec![name], flat.clone(), attribute);
                flat
            }
            (Form::Vector, Form::Map) => {
                let map = self.unique(format!("{name}.map"));
                let axes = self.integers(format!("{map}.axes"), &[2, 3]);
                self.push("Unsqueeze", &map, vec![name, axes], map.clone(), Vec::new());
                map
            }
            _ => name,
        }
    }

    fn node(&mut self, node: &Node) {
        let name = node.name.clone();
        let output = self.name[node.output].clone();
        let own = self.form[node.inputs[0]];
        let all_vectors = node.inputs.iter().all(|&v| self.form[v] == Form::Vector);
        let common = if all_vectors { Form::Vector } else { Form::Map };
        let (wants, gives) = match &node.op {
            FloatOp::Dense(_) => (Form::Vector, Form::Vector),
            FloatOp::Softmax if self.graph.shape(node.output).pixels() == 1 => {
                (Form::Vector, Form::Vector)
            }
            FloatOp::Flatten => (Form::Map, Form::Vector),
            FloatOp::Conv(_)
            | FloatOp::MaxPool(_)
            | FloatOp::AvgPool { .. }
            | FloatOp::GlobalAvgPool
            | FloatOp::Pad(_)
            | FloatOp::Softmax
            | FloatOp::ChannelShuffle { .. }
            | FloatOp::Rearrange(_)
            | FloatOp::Resize(_) => (Form::Map, Form::Map),
            FloatOp::Binary(_) | FloatOp::Concat(Axis::C) => (common, common),
            FloatOp::Concat(_) => (Form::Map, Form::Map),
            FloatOp::Select { axis: Axis::C, .. } => (own, own),
            FloatOp::Select { .. } => (Form::Map, Form::Map),
            FloatOp::BatchNorm(_)
            | FloatOp::ChannelAffine { .. }
            | FloatOp::Relu
            | FloatOp::Relu6
            | FloatOp::Add
            | FloatOp::Slice(_)
            | FloatOp::Unary(_)
            | FloatOp::PRelu(_)
            | FloatOp::WithConstant(_) => (own, own),
        };
        let mut inputs: Vec<String> = (node.inputs.iter())
            .map(|&value| self.read(value, wants))
            .collect();
        self.form[node.output] = gives;
        let mut attributes = Vec::new();
        let op_type = match &node.op {
            FloatOp::Conv(conv) => {
                let [kh, kw] = conv.window.kernel;
                let dims = [conv.out_channels, conv.group_channels, kh, kw];
                inputs.push(self.floats(format!("{name}.weight"), &dims, &conv.weight));
                if let Some(bias) = &conv.bias {
                    inputs.push(self.floats(format!("{name}.bias"), &[bias.len()], bias));
                }
                attributes = window(&conv.window);
                attributes.push(int("group", conv.groups as i64));
                "Conv"
            }
            FloatOp::Dense(dense) => {
                let dims = [dense.out_features, dense.in_features];
                inputs.push(self.floats(format!("{name}.weight"), &dims, &dense.weight));
                if let Some(bias) = &dense.bias {
                    inputs.push(self.floats(format!("{name}.bias"), &[bias.len()], bias));
                }
                attributes.push(int("transB", 1));
                "Gemm"
            }
            FloatOp::BatchNorm(bn) => {
                for (key, data) in [
                    ("gamma", &bn.gamma),
                    ("beta", &bn.beta),
                    ("mean", &bn.mean),
                    ("var", &bn.var),
                ] {
                    inputs.push(self.floats(format!("{name}.{key}"), &[data.len()], data));
                }
                attributes.push(float("epsilon", bn.epsilon));
                "BatchNormalization"
            }
            FloatOp::ChannelAffine { scale, shift } => {
                let dims = channel_dims(own, scale.len());
                let by = self.floats(format!("{name}.scale"), &dims, scale);
                let scaled = self.unique(format!("{name}.scaled"));
                inputs.push(by);
                self.push("Mul", &name, inputs, scaled.clone(), Vec::new());
                let by = self.floats(format!("{name}{SHIFT}"), &dims, shift);
                let second = format!("{name}{SHIFT}");
                self.push("Add", &second, vec![scaled, by], output, Vec::new());
                return;
            }
            FloatOp::Relu => "Relu",
            FloatOp::Relu6 => {
                inputs.push(self.floats(format!("{name}.min"), &[], &[0.0]));
                inputs.push(self.floats(format!("{name}.max"), &[], &[6.0]));
                "Clip"
            }
            FloatOp::Add => "Add",
            FloatOp::MaxPool(w) => {
                attributes = window(w);
                "MaxPool"
            }
            FloatOp::AvgPool {
                window: w,
                count_include_pad,
            } => {
                attributes = window(w);
                attributes.push(int("count_include_pad", (*count_include_pad).into()));
                // Operator set 17 has no dilated mean; set 19 brought it.
                attributes.retain(|a| a.name != "dilations" || w.dilation != [1, 1]);
                "AveragePool"
            }
            FloatOp::GlobalAvgPool => "GlobalAveragePool",
            FloatOp::Flatten => {
                attributes.push(int("axis", 1));
                "Flatten"
            }
            FloatOp::Pad(pad) => {
                let [before, after] =
                    [0, 1].map(|side| [pad.c[side], pad.h[side], pad.w[side]].map(|n| n as i64));
                let pads = [&[0], &before[..], &[0], &after[..]].concat();
                inputs.push(self.integers(format!("{name}.pads"), &pads));
                inputs.push(self.floats(format!("{name}.value"), &[], &[pad.value]));
                "Pad"
            }
            FloatOp::Slice(slice) => {
                let axes = if own == Form::Vector { 1 } else { 3 };
                let list = |f: &dyn Fn(usize) -> usize| -> Vec<i64> {
                    (0..axes).map(|axis| f(axis) as i64).collect()
                };
                let starts = list(&|a| slice.start[a]);
                let ends = list(&|a| slice.start[a] + (slice.count[a] - 1) * slice.step[a] + 1);
                inputs.push(self.integers(format!("{name}.starts"), &starts));
                inputs.push(self.integers(format!("{name}.ends"), &ends));
                inputs.push(self.integers(format!("{name}.axes"), &list(&|a| a + 1)));
                inputs.push(self.integers(format!("{name}.steps"), &list(&|a| slice.step[a])));
                "Slice"
            }
            FloatOp::Softmax => {
                attributes.push(int("axis", 1));
                "Softmax"
            }
            FloatOp::Unary(f) => match f {
                Unary::Clip { low, high } => {
                    let mut bound = |key: &str, value: f32| match value.is_finite() {
                        true => self.floats(format!("{name}.{key}"), &[], &[value]),
                        false => String::new(),
                    };
                    let bounds = [bound("min", *low), bound("max", *high)];
                    inputs.extend(bounds);
                    "Clip"
                }
                Unary::LeakyRelu { alpha } => {
                    attributes.push(float("alpha", *alpha));
                    "LeakyRelu"
                }
                Unary::Elu { alpha } => {
                    attributes.push(float("alpha", *alpha));
                    "Elu"
                }
                Unary::HardSigmoid { alpha, beta } => {
                    attributes.push(float("alpha", *alpha));
                    attributes.push(float("beta", *beta));
                    "HardSigmoid"
                }
                Unary::Silu => {
                    let gate = self.unique(format!("{name}{GATE}"));
                    let node = format!("{name}{GATE}");
                    self.push("Sigmoid", &node, inputs.clone(), gate.clone(), Vec::new());
                    inputs.push(gate);
                    "Mul"
                }
                Unary::Sigmoid => "Sigmoid",
                Unary::HardSwish => "HardSwish",
                Unary::Tanh => "Tanh",
                Unary::Exp => "Exp",
                Unary::Int8 { scale, zero_point } => {
                    let steps = self.steps(&name, *scale, *zero_point);
                    let integers = self.unique(format!("{output}{INTEGERS}"));
                    inputs.extend(steps.clone());
                    self.push(
                        "QuantizeLinear",
                        &name,
                        inputs,
                        integers.clone(),
                        Vec::new(),
                    );
                    let name = self.unique(format!("{name}{INTEGERS}"));
                    let [scale, zero] = steps;
                    self.push(
                        "DequantizeLinear",
                        &name,
                        vec![integers, scale, zero],
                        output,
                        attributes,
                    );
                    return;
                }
            },
            FloatOp::PRelu(slope) => {
                let dims = channel_dims(own, slope.len());
                inputs.push(self.floats(format!("{name}.slope"), &dims, slope));
                "PRelu"
            }
            FloatOp::Binary(f) => binary(*f),
            FloatOp::WithConstant(w) => {
                let dims = form_extents(w.shape, own);
                let at = if w.constant_first { 0 } else { 1 };
                inputs.insert(at, self.floats(format!("{name}.constant"), &dims, &w.data));
                binary(w.op)
            }
            FloatOp::Concat(axis) => {
                attributes.push(int("axis", *axis as i64 + 1));
                "Concat"
            }
            FloatOp::Select { axis, indices } => {
                let indices: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
                inputs.push(self.integers(format!("{name}.indices"), &indices));
                attributes.push(int("axis", *axis as i64 + 1));
                "Gather"
            }
            FloatOp::ChannelShuffle { groups } => {
                let shape = self.graph.shape(node.output);
                let shuffle = Rearrange {
                    factors: vec![*groups, shape.c / groups, shape.h, shape.w],
                    perm: vec![1, 0, 2, 3],
                    shape,
                };
                return self.rearrange(&name, inputs.remove(0), &shuffle, output);
            }
            FloatOp::Rearrange(r) => return self.rearrange(&name, inputs.remove(0), r, output),
            FloatOp::Resize(r) => {
                let scales = [1.0, 1.0, r.scale[0], r.scale[1]];
                inputs.push(String::new());
                inputs.push(self.floats(format!("{name}.scales"), &[4], &scales));
                let coordinates = r.coordinates.name();
                attributes.push(text("coordinate_transformation_mode", coordinates));
                if r.interpolation == Interpolation::Linear {
                    attributes.push(text("mode", "linear"));
                } else {
                    attributes.push(text("mode", "nearest"));
                    attributes.push(text("nearest_mode", r.interpolation.name()));
                }
                "Resize"
            }
        };
        self.push(op_type, &name, inputs, output, attributes);
    }
}

/// The extents of one constant a channel.
fn channel_dims(form: Form, channels: usize) -> Vec<usize> {
    match form {
        Form::Vector => vec![channels],
        Form::Map => vec![channels, 1, 1],
    }
}

fn form_extents(shape: Shape, form: Form) -> Vec<usize> {
    match form {
        Form::Vector => vec![shape.c],
        Form::Map => shape.extents().to_vec(),
    }
}

fn binary(f: Binary) -> &'static str {
    match f {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Min => "Min",
        Binary::Max => "Max",
    }
}

fn window(w: &Window) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &w.kernel),
        ints("strides", &w.stride),
        ints("pads", &w.pads),
        ints("dilations", &w.dilation),
    ]
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind,
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        ..attribute(name, attribute_type::INT)
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, attribute_type::FLOAT)
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(value.into()),
        ..attribute(name, attribute_type::STRING)
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        ints: values.iter().map(|&v| v as i64).collect(),
        ..attribute(name, attribute_type::INTS)
    }
}

/// A tensor of floats.
pub(super) fn float_tensor(name: String, dims: &[usize], data: &[f32]) -> TensorProto {
    TensorProto {
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: data_type::FLOAT,
        name,
        raw_data: Some(data.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

fn value_info(name: &str, extents: &[usize]) -> ValueInfoProto {
    let known = extents.iter().map(|&d| DimensionValue::DimValue(d as i64));
    let batch = DimensionValue::DimParam(BATCH.to_owned());
    let extents = [batch].into_iter().chain(known);
    let dim = extents
        .map(|value| Dimension {
            value: Some(value),
            denotation: String::new(),
        })
        .collect();
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorType {
                elem_type: data_type::FLOAT,
                shape: Some(TensorShapeProto { dim }),
            })),
            denotation: String::new(),
        }),
        ..ValueInfoProto::default()
    }
}
