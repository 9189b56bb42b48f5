//! A small valid model and ways to change it.

use nestc::import::proto::{
    AttributeProto, Dimension, DimensionValue, EXTERNAL, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorType,
    TypeProto, TypeValue, ValueInfoProto, attribute_type, data_type,
};

/// A valid network: conv "c" (padded), relu "r", max pool "m", global mean "g", flatten "f",
/// fully connected "d".
pub fn valid() -> ModelProto {
    let mut conv = node("Conv", "c", &["x", "w", "b"], "conv");
    conv.attribute = vec![
        ints("kernel_shape", &[3, 3]),
        ints("pads", &[1, 1, 1, 1]),
        ints("strides", &[1, 1]),
        ints("dilations", &[1, 1]),
        int("group", 1),
    ];
    let mut pool = node("MaxPool", "m", &["relu"], "pool");
    pool.attribute = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let mut dense = node("Gemm", "d", &["flat", "dw", "db"], "y");
    dense.attribute = vec![int("transB", 1)];
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        graph: Some(GraphProto {
            name: "small".into(),
            node: vec![
                conv,
                node("Relu", "r", &["conv"], "relu"),
                pool,
                node("GlobalAveragePool", "g", &["pool"], "mean"),
                node("Flatten", "f", &["mean"], "flat"),
                dense,
            ],
            initializer: vec![
                floats("w", &[4, 3, 3, 3]),
                floats("b", &[4]),
                floats("dw", &[2, 4]),
                floats("db", &[2]),
            ],
            input: vec![value("x", &[-1, 3, 8, 8])],
            output: vec![value("y", &[-1, 2])],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// A node of one output.
pub fn node(op: &str, name: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: name.into(),
        input: inputs.iter().map(|&i| i.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

/// A list of integers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_type::INTS,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

/// An integer.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_type::INT,
        i: Some(value),
        ..AttributeProto::default()
    }
}

/// A text.
pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_type::STRING,
        s: Some(value.into()),
        ..AttributeProto::default()
    }
}

/// A float tensor of these extents.
pub fn floats(name: &str, dims: &[i64]) -> TensorProto {
    let count: i64 = dims.iter().product();
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: data_type::FLOAT,
        float_data: (0..count).map(|i| i as f32 / 16.0 - 1.0).collect(),
        ..TensorProto::default()
    }
}

/// A vector of integers.
pub fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: data_type::INT64,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// A float tensor; an extent of -1 is symbolic.
pub fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&d| Dimension {
        value: Some(if d == -1 {
            DimensionValue::DimParam("N".into())
        } else {
            DimensionValue::DimValue(d)
        }),
        ..Dimension::default()
    });
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorType {
                elem_type: data_type::FLOAT,
                shape: Some(TensorShapeProto { dim: dim.collect() }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// The graph of a model.
pub fn graph(m: &mut ModelProto) -> &mut GraphProto {
    m.graph.as_mut().expect("a graph")
}
/// The node of this name.
pub fn at<'m>(m: &'m mut ModelProto, name: &str) -> &'m mut NodeProto {
    let mut nodes = graph(m).node.iter_mut();
    nodes.find(|n| n.name == name).expect("a node")
}
/// The initializer of this name.
pub fn weights<'m>(m: &'m mut ModelProto, name: &str) -> &'m mut TensorProto {
    let mut all = graph(m).initializer.iter_mut();
    all.find(|t| t.name == name).expect("an initializer")
}
/// The type of the input.
pub fn input_type(m: &mut ModelProto) -> &mut TensorType {
    match graph(m).input[0]
        .r#type
        .as_mut()
        .and_then(|t| t.value.as_mut())
    {
        Some(TypeValue::Tensor(t)) => t,
        _ => unreachable!("the valid model's input is a tensor"),
    }
}
/// Replaces an attribute of a node.
pub fn set(m: &mut ModelProto, name: &str, attribute: AttributeProto) {
    let node = at(m, name);
    node.attribute.retain(|a| a.name != attribute.name);
    node.attribute.push(attribute);
}
/// Puts a node with these further inputs between "relu" and the pool.
pub fn insert(m: &mut ModelProto, op: &str, more: &[&str], attributes: Vec<AttributeProto>) {
    let inputs = [&["relu"], more].concat();
    let mut new = node(op, "new", &inputs, "new_out");
    new.attribute = attributes;
    at(m, "m").input[0] = "new_out".into();
    graph(m).node.insert(2, new);
}
/// Moves the conv's weights to an external file.
pub fn external(m: &mut ModelProto, entries: &[(&str, &str)]) {
    let tensor = weights(m, "w");
    tensor.float_data.clear();
    tensor.data_location = EXTERNAL;
    tensor.external_data = (entries.iter())
        .map(|&(key, value)| StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        })
        .collect();
}

/// Adds the document of a nested model.
pub fn document(m: &mut ModelProto, json: &str) {
    m.metadata_props.push(StringStringEntryProto {
        key: "nestc".into(),
        value: json.into(),
    });
}
