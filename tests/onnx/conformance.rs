//! The ONNX project's own node tests. Each is a model of one or a few nodes with inputs and the
//! outputs they must give.
//!
//! nestc reads networks of one input whose first axis is the batch, and these models are none, so
//! each is tried as several networks ([`READINGS`]); it passes if one of them is read and gives the
//! outputs. What becomes of every case is recorded in `tests/golden/conformance.txt`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use nestc::import::oracle::to_channel_major;
use nestc::import::proto::{
    Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto,
    TensorType, TypeProto, TypeValue, ValueInfoProto, data_type,
};
use nestc::import::{self, Layout};
use nestc::ir::eval_float::eval_outputs;
use prost::Message;

/// ONNX's own comparison: `|a - b| <= ATOL + RTOL |b|`.
const RTOL: f32 = 1e-3;
const ATOL: f32 = 1e-7;

/// What became of a case.
enum Outcome {
    Passes,
    /// Not what nestc is for, and why.
    Apart(&'static str),
    /// In scope and not met.
    Fails(String),
}

#[test]
#[ignore = "needs NESTC_ONNX_NODES=folder of ONNX's node tests: make conformance"]
fn node_tests_of_onnx() {
    let folder = std::env::var_os("NESTC_ONNX_NODES").expect("NESTC_ONNX_NODES is set");
    let mut cases: Vec<PathBuf> = (fs::read_dir(&folder).expect("readable"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("model.onnx").is_file())
        .collect();
    cases.sort();
    assert!(cases.len() > 1000, "{} cases only", cases.len());
    let (mut passed, mut failed) = (0, 0);
    let mut apart: BTreeMap<&str, usize> = BTreeMap::new();
    let mut lines = String::new();
    for case in &cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy();
        match outcome(case) {
            Outcome::Passes => {
                passed += 1;
                let _ = writeln!(lines, "pass  {name}");
            }
            Outcome::Apart(reason) => *apart.entry(reason).or_default() += 1,
            Outcome::Fails(reason) => {
                failed += 1;
                let _ = writeln!(lines, "FAIL  {name}: {reason}");
            }
        }
    }
    let share = 100.0 * f64::from(passed) / f64::from(passed + failed);
    let mut golden = format!(
        "{passed} of {} cases in scope pass, {share:.1} %\n",
        passed + failed
    );
    for (reason, count) in apart {
        let _ = writeln!(golden, "{count} apart: {reason}");
    }
    golden += &lines;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/conformance.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &golden).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == expected,
        "another outcome; with BLESS=1 it is recorded:\n{golden}"
    );
    assert!(share >= 98.0, "{share} %");
}

fn decode(path: &Path) -> TensorProto {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    TensorProto::decode(bytes.as_slice()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    match &tensor.raw_data {
        Some(raw) if !raw.is_empty() => {
            let (chunks, _) = raw.as_chunks();
            chunks.iter().map(|&b| f32::from_le_bytes(b)).collect()
        }
        _ => tensor.float_data.clone(),
    }
}

/// Type and extents of a tensor that a graph states; none if it is something else.
fn stated(value: &ValueInfoProto) -> Option<(i32, Vec<Option<i64>>)> {
    let Some(TypeValue::Tensor(tensor)) = value.r#type.as_ref()?.value.as_ref() else {
        return None;
    };
    let dims = tensor.shape.as_ref()?.dim.iter().map(|d| match d.value {
        Some(DimensionValue::DimValue(n)) => Some(n),
        _ => None,
    });
    Some((tensor.elem_type, dims.collect()))
}

/// A case as a network of one input.
struct Network {
    graph: GraphProto,
    /// Images of the input, one behind the other.
    input: Vec<f32>,
}

/// A way to make a network of a case's graph and inputs; none if there is no such way.
type Reading = fn(&GraphProto, &[TensorProto]) -> Option<Network>;

const READINGS: [Reading; 3] = [batch_first, one_picture, one_vector];

/// The first input is the network's, its first axis the batch; all others are constants.
fn batch_first(graph: &GraphProto, inputs: &[TensorProto]) -> Option<Network> {
    let mut graph = graph.clone();
    bind(&mut graph, inputs, 1);
    let mut wrapped = Wrapped {
        graph,
        before: Vec::new(),
    };
    wrapped.finish(false);
    Some(Network {
        graph: wrapped.graph,
        input: floats(inputs.first()?),
    })
}

/// The first input is a single picture; all others are constants.
fn one_picture(graph: &GraphProto, inputs: &[TensorProto]) -> Option<Network> {
    let first = inputs.first()?;
    // Axes behind the third are joined to it.
    let mut extents = [1; 4];
    for (i, &n) in first.dims.iter().enumerate() {
        extents[(i + 1).min(3)] *= n;
    }
    let mut graph = graph.clone();
    bind(&mut graph, inputs, 1);
    let name = graph.input[0].name.clone();
    let mut wrapped = Wrapped::new(graph, &extents);
    wrapped.reshape("picture", &first.dims, &name);
    wrapped.finish(true);
    let input = floats(first);
    Some(Network {
        graph: wrapped.graph,
        input,
    })
}

/// All inputs are parts of a single vector.
fn one_vector(graph: &GraphProto, inputs: &[TensorProto]) -> Option<Network> {
    if inputs.len() < 2 || inputs.iter().any(|t| t.data_type != data_type::FLOAT) {
        return None;
    }
    let all: Vec<Vec<f32>> = inputs.iter().map(floats).collect();
    let total: usize = all.iter().map(Vec::len).sum();
    let names: Vec<String> = graph.input.iter().map(|i| i.name.clone()).collect();
    let mut wrapped = Wrapped::new(graph.clone(), &[1, total as i64]);
    let mut from = 0;
    for ((name, values), tensor) in names.iter().zip(&all).zip(inputs) {
        let to = from + values.len() as i64;
        let part = format!("part of {name}");
        wrapped.cut("picture", [from, to], &part);
        wrapped.reshape(&part, &tensor.dims, name);
        from = to;
    }
    wrapped.finish(true);
    Some(Network {
        graph: wrapped.graph,
        input: all.concat(),
    })
}

/// Makes the inputs from `first` on constants of the graph.
fn bind(graph: &mut GraphProto, inputs: &[TensorProto], first: usize) {
    for (input, tensor) in graph.input.iter().zip(inputs).skip(first) {
        graph.initializer.push(TensorProto {
            name: input.name.clone(),
            ..tensor.clone()
        });
    }
    graph.input.truncate(first);
}

/// A graph between nodes that give its inputs and others that take its outputs as vectors.
struct Wrapped {
    graph: GraphProto,
    before: Vec<NodeProto>,
}

impl Wrapped {
    /// With an input `picture` of these extents in place of its own.
    fn new(mut graph: GraphProto, extents: &[i64]) -> Self {
        let dim = extents.iter().map(|&n| Dimension {
            value: Some(DimensionValue::DimValue(n)),
            ..Dimension::default()
        });
        let tensor = TensorType {
            elem_type: data_type::FLOAT,
            shape: Some(TensorShapeProto { dim: dim.collect() }),
        };
        graph.input = vec![ValueInfoProto {
            name: "picture".into(),
            r#type: Some(TypeProto {
                value: Some(TypeValue::Tensor(tensor)),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        }];
        Self {
            graph,
            before: Vec::new(),
        }
    }

    fn integers(&mut self, name: String, values: &[i64]) -> String {
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            data_type: data_type::INT64,
            dims: vec![values.len() as i64],
            int64_data: values.to_vec(),
            ..TensorProto::default()
        });
        name
    }

    fn reshape(&mut self, from: &str, dims: &[i64], to: &str) {
        let dims = self.integers(format!("extents of {to}"), dims);
        let node = node("Reshape", &[from, &dims], to);
        self.before.push(node);
    }

    fn cut(&mut self, from: &str, [start, end]: [i64; 2], to: &str) {
        let start = self.integers(format!("start of {to}"), &[start]);
        let end = self.integers(format!("end of {to}"), &[end]);
        let axis = self.integers(format!("axis of {to}"), &[1]);
        let node = node("Slice", &[from, &start, &end, &axis], to);
        self.before.push(node);
    }

    fn finish(&mut self, flat: bool) {
        let vector = self.integers("a vector".into(), &[1, -1]);
        let mut nodes = std::mem::take(&mut self.before);
        nodes.append(&mut self.graph.node);
        for output in &mut self.graph.output {
            // A graph that only moves elements is no network; one that negates them twice is.
            let names = ["once", "twice", "flat"].map(|n| format!("{} {n}", output.name));
            nodes.push(node("Neg", &[&output.name], &names[0]));
            nodes.push(node("Neg", &[&names[0]], &names[1]));
            if flat {
                nodes.push(node("Reshape", &[&names[1], &vector], &names[2]));
            }
            output.name.clone_from(&names[if flat { 2 } else { 1 }]);
            output.r#type = None;
        }
        self.graph.node = nodes;
    }
}

fn node(op_type: &str, input: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        name: output.into(),
        input: input.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn outcome(case: &Path) -> Outcome {
    let bytes = fs::read(case.join("model.onnx")).expect("readable");
    let model = ModelProto::decode(bytes.as_slice()).expect("a model");
    let graph = model.graph.clone().unwrap_or_default();
    let name = case.file_name().unwrap_or_default().to_string_lossy();
    if let Some(reason) = apart(&name, &graph, &model) {
        return Outcome::Apart(reason);
    }
    let set = case.join("test_data_set_0");
    let tensors = |kind: &str, count: usize| -> Vec<TensorProto> {
        (0..count)
            .map(|i| decode(&set.join(format!("{kind}_{i}.pb"))))
            .collect()
    };
    let inputs = tensors("input", graph.input.len());
    let outputs: Vec<Vec<f32>> = (tensors("output", graph.output.len()).iter())
        .map(floats)
        .collect();
    let mut reasons = Vec::new();
    for reading in READINGS {
        let Some(network) = reading(&graph, &inputs) else {
            continue;
        };
        let model = ModelProto {
            graph: Some(network.graph),
            ..model.clone()
        };
        match run(&model, case, &network.input, &outputs) {
            Ok(()) => return Outcome::Passes,
            Err(reason) => reasons.push(reason),
        }
    }
    Outcome::Fails(reasons.join("; "))
}

/// Reads the model and compares what it gives for the images in `input`.
fn run(
    model: &ModelProto,
    folder: &Path,
    input: &[f32],
    outputs: &[Vec<f32>],
) -> Result<(), String> {
    let imported = import::from_bytes(&model.encode_to_vec(), folder, "model.onnx")
        .map_err(|findings| format!("{}: {}", findings.0[0].code, findings.0[0].message))?;
    let graph = &imported.model.graph;
    let shape = graph.input_shape();
    let mut ours = vec![Vec::new(); outputs.len()];
    for image in input.chunks(shape.len()) {
        let image = match imported.input_layout {
            Layout::Nchw => image.to_vec(),
            Layout::Nhwc => to_channel_major(image, shape),
        };
        for (i, output) in eval_outputs(graph, &image).iter().enumerate() {
            ours[i].extend(graph.output_as_in_file(i, output));
        }
    }
    for (i, (ours, theirs)) in ours.iter().zip(outputs).enumerate() {
        if ours.len() != theirs.len() {
            return Err(format!(
                "output {i} has {} elements, not {}",
                ours.len(),
                theirs.len()
            ));
        }
        let near = |(a, b): (&f32, &f32)| a == b || (a - b).abs() <= ATOL + RTOL * b.abs();
        if let Some((a, b)) = ours.iter().zip(theirs).find(|&pair| !near(pair)) {
            return Err(format!("output {i}: {a}, not {b}"));
        }
    }
    Ok(())
}

/// Why a case is not for nestc, if it is not.
fn apart(name: &str, graph: &GraphProto, model: &ModelProto) -> Option<&'static str> {
    if !model.functions.is_empty() || name.contains("_expanded") {
        return Some("bodies of functions");
    }
    if let Some(node) = graph.node.iter().find(|n| !import::reads(n)) {
        return Some(match node.domain.as_str() {
            "" | "ai.onnx" => "operators outside the scope",
            _ => "operator sets of others",
        });
    }
    let mut attributes = graph.node.iter().flat_map(|n| &n.attribute);
    let modes = [
        ("mode", "cubic"),
        ("coordinate_transformation_mode", "tf_crop_and_resize"),
        ("coordinate_transformation_mode", "half_pixel_symmetric"),
        ("keep_aspect_ratio_policy", "not_larger"),
        ("keep_aspect_ratio_policy", "not_smaller"),
    ];
    let resizing = attributes.clone().any(|a| {
        let text = a.s.as_deref().unwrap_or_default();
        modes
            .iter()
            .any(|(n, v)| a.name == *n && text == v.as_bytes())
            || a.name == "antialias" && a.i == Some(1)
    });
    if resizing {
        return Some("ways to resize outside the scope");
    }
    if attributes.any(|a| a.name == "training_mode" && a.i == Some(1)) || name.contains("training")
    {
        return Some("training in the graph");
    }
    if graph
        .input
        .iter()
        .filter_map(stated)
        .any(|(_, dims)| dims.len() > 4)
        && name.contains("_3d")
    {
        return Some("volumes");
    }
    let second = |n: &NodeProto| n.op_type == "MaxPool" && n.output.len() > 1;
    if graph.node.iter().any(second) {
        return Some("indices as a second output");
    }
    let mut all = graph
        .input
        .iter()
        .map(stated)
        .chain(graph.output.iter().map(stated));
    let numbers = |t: Option<(i32, Vec<Option<i64>>)>| {
        // Extents, axes and indices are integers.
        t.is_some_and(|(code, _)| matches!(code, data_type::FLOAT | data_type::INT64))
    };
    let float = |v: Option<&ValueInfoProto>| {
        v.and_then(stated)
            .is_some_and(|(code, _)| code == data_type::FLOAT)
    };
    if !all.all(numbers) || !float(graph.input.first()) || !float(graph.output.first()) {
        return Some("other numbers than single precision");
    }
    let (_, dims) = graph.input.first().and_then(stated)?;
    let outputs = graph
        .output
        .iter()
        .filter_map(stated)
        .flat_map(|(_, dims)| dims);
    if dims
        .into_iter()
        .chain(outputs)
        .any(|d| d.is_none_or(|n| n == 0))
    {
        return Some("empty tensors, and extents left open");
    }
    None
}
