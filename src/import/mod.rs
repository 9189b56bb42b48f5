//! ONNX files become float graphs.
//!
//! The graph is read from the protobuf itself: [`proto`] decodes it, [`structure`] checks who gives
//! what, [`ops`] turns each node into operations or another view of a value ([`view`]), [`fold`]
//! computes what is constant. All findings of a file come together; what depends on something
//! already reported stays silent.

pub mod nest;
pub mod oracle;
pub mod proto;

pub(crate) mod builder;
mod fold;
mod node;
mod ops;
mod qlinear;
mod structure;
mod tensor;
mod view;

use std::collections::HashSet;
use std::path::Path;

use prost::Message;

use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::float::{FloatGraph, OutputLayout, Shape, Value};
use crate::ir::ids::ValueId;
use crate::ir::nested::NestedModel;
use crate::ir::verify::{Breach, verify_nested};
use builder::{Builder, fresh};
use node::Operand;
use proto::{
    DimensionValue, GraphProto, ModelProto, NodeProto, TypeValue, ValueInfoProto, data_type,
};
use structure::Structure;
use tensor::{TensorReader, element_count};
use view::{Dims, Run, View, choose_groups};

/// ONNX operator sets nestc reads.
pub const OPSETS: std::ops::RangeInclusive<i64> = 11..=25;

/// Protobuf's own limit of a message.
const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// Largest fixed batch a file may state.
const MAX_BATCH: usize = 1 << 16;

/// In which order the file holds a picture. The float graph is channel-major in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Channel-major (PyTorch). Vectors count as this.
    Nchw,
    /// Pixel-major (TensorFlow).
    Nhwc,
}

/// A model read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network.
    pub model: NestedModel,
    /// The order in which the file's own input holds pictures.
    pub input_layout: Layout,
    /// Axes of the file's input: 4; 3 for signals, which are maps of one column, and for pictures
    /// without an axis of channels; 2 for vectors.
    pub input_rank: usize,
    /// The order of each output.
    pub output_layouts: Vec<Layout>,
    /// The batch the file states, `None` if symbolic.
    pub batch: Option<usize>,
    /// What the user should know though the model is usable.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a model: any ONNX file within the supported operators, or a `.nest.onnx`.
///
/// # Errors
/// All findings about the file at once.
pub fn load(path: &Path) -> Result<Imported> {
    let bytes = read_file(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    from_bytes(&bytes, folder, &path.display().to_string())
}

/// Reads a model as [`load`] and checks it against an independent runtime on one random input
/// ([`oracle`]); a file that runtime cannot run gets a warning.
///
/// # Errors
/// As [`load`], and if the check fails.
pub fn load_checked(path: &Path) -> Result<Imported> {
    let mut imported = load(path)?;
    if let oracle::Verdict::Unchecked(warning) = oracle::cross_check(path, &imported, 1)? {
        imported.warnings.push(warning);
    }
    Ok(imported)
}

/// Reads a model from the bytes of a file in `folder` (where external data are looked for); `place`
/// names it in findings.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: &[u8], folder: &Path, place: &str) -> Result<Imported> {
    let model = decode(bytes, place)?;
    from_proto(&model, folder, place)
}

/// The bytes of a model file.
fn read_file(path: &Path) -> Result<Vec<u8>, Diagnostic> {
    let io = |error: std::io::Error| Diagnostic::io(path, "read the model", &error);
    let meta = std::fs::metadata(path).map_err(io)?;
    if !meta.is_file() {
        return Err(Diagnostic::new(
            diag::NOT_A_MODEL,
            path.display().to_string(),
            "not a file",
            "name the .onnx file itself",
        ));
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(Diagnostic::new(
            diag::NOT_A_MODEL,
            path.display().to_string(),
            format!(
                "{} bytes, an ONNX file has at most {MAX_FILE_BYTES}",
                meta.len()
            ),
            "larger models keep their weights in external data; this one is beyond a microcontroller",
        ));
    }
    std::fs::read(path).map_err(io)
}

/// The protobuf message in `bytes`.
fn decode(bytes: &[u8], place: &str) -> Result<ModelProto, Diagnostic> {
    let refuse =
        |message: String, hint: &str| Err(Diagnostic::new(diag::NOT_A_MODEL, place, message, hint));
    if bytes.is_empty() {
        return refuse(
            "the file is empty".into(),
            "download or export the model again",
        );
    }
    let magic = [
        (
            0,
            &b"PK\x03\x04"[..],
            "a PyTorch or zip archive",
            "export it: torch.onnx.export(model, input, 'model.onnx')",
        ),
        (
            0,
            b"\x89HDF",
            "a Keras HDF5 file",
            "convert it: python -m tf2onnx.convert --keras",
        ),
        (
            4,
            b"TFL3",
            "a TensorFlow Lite file",
            "convert it: python -m tf2onnx.convert --tflite",
        ),
        (
            4,
            b"ORTM",
            "an onnxruntime .ort file",
            "use the .onnx file it was made from",
        ),
        (
            0,
            b"version https://git-lfs",
            "a Git LFS pointer, not the file itself",
            "fetch it: git lfs pull",
        ),
    ];
    for (at, bytes_at, what, hint) in magic {
        if bytes.get(at..).is_some_and(|b| b.starts_with(bytes_at)) {
            return refuse(format!("this is {what}"), hint);
        }
    }
    match ModelProto::decode(bytes) {
        Ok(model) if model.graph.is_none() => refuse(
            "the file holds no graph".into(),
            "the download is incomplete or this is no ONNX file",
        ),
        Ok(model) => Ok(model),
        Err(error) => refuse(
            format!("the file cannot be decoded: {error}"),
            "the download is incomplete or this is no ONNX file",
        ),
    }
}

/// Reads a decoded model.
fn from_proto(model: &ModelProto, folder: &Path, place: &str) -> Result<Imported> {
    let empty = GraphProto::default();
    let graph = qlinear::written_out(model.graph.as_ref().unwrap_or(&empty));
    let graph = graph.as_ref();
    let mut findings = Diagnostics::default();
    let document = nest::Document::read(model, place)?;
    let opset = opset(model, place, &mut findings);
    let structure = Structure::read(graph, &mut findings);
    let mut builder = Builder::new(&structure, TensorReader::new(folder), opset);
    builder.findings = findings;
    builder.faithful = document.is_some();
    builder.graph.name.clone_from(&graph.name);

    let mut input_layout = Layout::Nchw;
    let mut input_rank = 4;
    let mut batch = None;
    match structure.inputs.as_slice() {
        &[input] => match read_input(input, &structure, place) {
            Ok(read) => {
                input_layout = read.layout;
                input_rank = read.dims.len();
                batch = read.batch;
                builder.batch = read.batch.unwrap_or(1);
                builder.warnings.extend(read.warning);
                let value = builder.graph.values.push(Value {
                    name: input.name.clone(),
                    shape: read.shape,
                });
                builder.graph.input = Some(value);
                builder.define(&input.name, fresh(value, read.dims));
                if matches!(builder.input_type(), data_type::INT8 | data_type::UINT8) {
                    builder.set_integers(&input.name, None);
                }
            }
            Err(finding) => {
                builder.findings.0.extend(finding);
                builder.define(&input.name, Operand::UnknownValue);
            }
        },
        inputs => {
            let names: Vec<_> = inputs.iter().map(|v| v.name.as_str()).collect();
            builder.findings.push(Diagnostic::new(
                diag::GRAPH_INPUT,
                place,
                format!(
                    "the graph has {} inputs {names:?}, one is expected",
                    names.len()
                ),
                "export a network that takes one picture and nothing else",
            ));
        }
    }
    for &node in &structure.order {
        ops::import(&mut builder, node);
    }
    let output_layouts = outputs(&mut builder, graph, place);
    let Builder {
        graph,
        findings,
        warnings,
        ..
    } = builder;
    let graph = findings.into_result(graph)?;
    let (mut graph, _) = graph.renumbered();
    unique_names(&mut graph);
    let model = match &document {
        Some(document) => document.model(graph, model, place)?,
        None => NestedModel::plain(graph),
    };
    let breaches = verify_nested(&model);
    if !breaches.is_empty() {
        return Err(unsound(&breaches, place));
    }
    Ok(Imported {
        model,
        input_layout,
        input_rank,
        output_layouts,
        batch,
        warnings,
    })
}

/// Whether nestc reads an operator at all: what it cannot read of a node is found when it is read.
pub fn reads(node: &NodeProto) -> bool {
    ops::knows(node)
}

/// Findings about breaches of the rules of graphs: no file should lead to any.
pub fn unsound(breaches: &[Breach], place: &str) -> Diagnostics {
    let finding = |breach: &Breach| {
        Diagnostic::new(
            diag::UNSOUND_IMPORT,
            place,
            format!("the imported graph breaks a rule: {breach}"),
            "this is an error in nestc: please report it with the model",
        )
    };
    Diagnostics(breaches.iter().map(finding).collect())
}

/// Numbers names that ONNX allows to be the same (those of nodes) or to be missing.
fn unique_names(graph: &mut FloatGraph) {
    let mut seen = HashSet::new();
    // The input and the outputs keep theirs: users know them by name.
    let fixed: Vec<ValueId> = graph.input.iter().chain(&graph.outputs).copied().collect();
    for &id in &fixed {
        make_unique(&mut graph.values[id].name, &mut seen);
    }
    let rest: Vec<ValueId> = graph
        .values
        .ids()
        .filter(|id| !fixed.contains(id))
        .collect();
    for id in rest {
        make_unique(&mut graph.values[id].name, &mut seen);
    }
    seen.clear();
    for node in graph.nodes.iter_mut() {
        make_unique(&mut node.name, &mut seen);
    }
}

fn make_unique(name: &mut String, seen: &mut HashSet<String>) {
    let base = if name.is_empty() {
        "unnamed"
    } else {
        name.as_str()
    };
    let mut unique = base.to_owned();
    let mut number = 2;
    while !seen.insert(unique.clone()) {
        unique = format!("{base}.{number}");
        number += 1;
    }
    *name = unique;
}

/// The version of ONNX's own operators.
fn opset(model: &ModelProto, place: &str, findings: &mut Diagnostics) -> i64 {
    let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let stated = model.opset_import.iter().find(|set| own(&set.domain));
    let message = match stated {
        Some(set) if OPSETS.contains(&set.version) => return set.version,
        Some(set) => format!("the file is written for operator set {}", set.version),
        None => "the file states no operator set".to_owned(),
    };
    findings.push(Diagnostic::new(
        diag::OPSET,
        place,
        message,
        format!(
            "nestc reads operator sets {} to {}: convert with onnx.version_converter.convert_version(model, 17)",
            OPSETS.start(),
            OPSETS.end()
        ),
    ));
    stated.map_or(*OPSETS.end(), |set| set.version)
}

/// The graph's input as the file states it.
struct Input {
    shape: Shape,
    dims: Dims,
    layout: Layout,
    batch: Option<usize>,
    warning: Option<Diagnostic>,
}

/// Reads type and extents of the input; `Err(None)` if that is already reported.
fn read_input(
    input: &ValueInfoProto,
    structure: &Structure<'_>,
    file: &str,
) -> Result<Input, Option<Diagnostic>> {
    let place = format!("input '{}'", input.name);
    let finding = |message: String, hint: &str| {
        Some(Diagnostic::new(
            diag::GRAPH_INPUT,
            place.clone(),
            message,
            hint,
        ))
    };
    let tensor = match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TypeValue::Tensor(tensor)) => tensor,
        _ => {
            return Err(finding(
                "is not a dense tensor".into(),
                "export a network that takes one picture",
            ));
        }
    };
    let code = tensor.elem_type;
    let integer = matches!(code, data_type::INT8 | data_type::UINT8);
    let float = matches!(
        code,
        data_type::FLOAT | data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE
    );
    if !float && !integer {
        return Err(finding(
            format!("holds {}", data_type::name(code)),
            "export the model with a float input, or quantise it to INT8 or UINT8",
        ));
    }
    let warning = (float && code != data_type::FLOAT).then(|| {
        Diagnostic::new(
            diag::PRECISION,
            file,
            format!("the model computes in {}", data_type::name(code)),
            "nestc computes in FLOAT; results differ in the last digits",
        )
    });
    let stated = tensor.shape.as_ref().map_or(&[][..], |s| &s.dim);
    if !matches!(stated.len(), 2..=4) {
        return Err(finding(
            format!("has {} axes, 2 to 4 are expected", stated.len()),
            "export with a batch of pictures (NxCxHxW), of signals (NxCxL) or of vectors (NxC)",
        ));
    }
    let extent = |i: usize| match stated[i].value {
        Some(DimensionValue::DimValue(v)) => Some(v),
        _ => None,
    };
    // -1 is how some exporters write an open extent.
    let batch = match extent(0) {
        None | Some(-1) => None,
        Some(n) => Some(
            usize::try_from(n)
                .ok()
                .filter(|n| (1..=MAX_BATCH).contains(n))
                .ok_or_else(|| {
                    finding(
                        format!("has a batch of {n}"),
                        "export with a batch of 1 or an open one",
                    )
                })?,
        ),
    };
    let mut sizes = Vec::new();
    for i in 1..stated.len() {
        match extent(i) {
            None => {
                return Err(finding(
                    format!("axis {i} has no fixed extent"),
                    "firmware needs one picture size: export with fixed height and width (onnxsim --overwrite-input-shape)",
                ));
            }
            Some(n) => match usize::try_from(n) {
                Ok(n) if n > 0 => sizes.push(n),
                _ => {
                    return Err(finding(
                        format!("axis {i} has extent {n}"),
                        "every extent must be at least 1: export the model again",
                    ));
                }
            },
        }
    }
    if element_count(&sizes).is_none() {
        return Err(Some(Diagnostic::new(
            diag::VALUE_TOO_LARGE,
            place,
            format!("extents {sizes:?} exceed {} elements", tensor::MAX_ELEMENTS),
            "the file is damaged, or the network is far beyond a microcontroller",
        )));
    }
    let images = batch.unwrap_or(1);
    let (shape, dims, layout) = match *sizes.as_slice() {
        [h, w, c] if channels_last(&input.name, structure) => {
            let shape = Shape::map(c, h, w);
            let mut dims = view::nchw(shape, images);
            dims[1..].rotate_left(1);
            (shape, dims, Layout::Nhwc)
        }
        [c, h, w] => {
            let shape = Shape::map(c, h, w);
            (shape, view::nchw(shape, images), Layout::Nchw)
        }
        [h, w] if becomes_picture(&input.name, structure) => {
            let shape = Shape::map(1, h, w);
            let mut dims = view::nchw(shape, images);
            dims.remove(1);
            (shape, dims, Layout::Nchw)
        }
        [c, l] => {
            let shape = Shape::map(c, l, 1);
            let mut dims = view::nchw(shape, images);
            dims.pop();
            (shape, dims, Layout::Nchw)
        }
        _ => {
            let shape = Shape::vector(sizes[0]);
            (shape, view::vector(shape, images), Layout::Nchw)
        }
    };
    Ok(Input {
        shape,
        dims,
        layout,
        batch,
        warning,
    })
}

/// Whether an input of three axes holds pictures, `NxHxW`: something gives them an axis of channels, as
/// spectrograms are turned to maps. Otherwise it holds signals, `NxCxL`.
fn becomes_picture(input: &str, structure: &Structure<'_>) -> bool {
    (structure.order.iter())
        .filter(|node| node.input.first().is_some_and(|first| first == input))
        .any(|node| matches!(node.op_type.as_str(), "Unsqueeze" | "Reshape"))
}

/// Whether the input's pictures are pixel-major: everything that reads them, behind operators that
/// keep elements in place, turns them to channel-major first.
fn channels_last(input: &str, structure: &Structure<'_>) -> bool {
    let mut names = vec![input];
    let mut turned = false;
    let mut next = 0;
    while let Some(&name) = names.get(next) {
        next += 1;
        for node in &structure.order {
            if !node.input.iter().any(|i| i == name) {
                continue;
            }
            match node.op_type.as_str() {
                "Transpose" => {
                    let perm = node.attribute.iter().find(|a| a.name == "perm");
                    if perm.is_none_or(|p| p.ints != [0, 3, 1, 2]) {
                        return false;
                    }
                    turned = true;
                }
                "Identity" | "Cast" | "Dropout" | "Mul" | "Div" | "Sub" | "Add" | "Relu"
                | "Clip" | "QuantizeLinear" | "DequantizeLinear" => {
                    for output in &node.output {
                        if !names.contains(&output.as_str()) {
                            names.push(output);
                        }
                    }
                }
                _ => return false,
            }
        }
    }
    turned
}

/// Marks the graph's outputs and says how each is laid out.
fn outputs<'m>(builder: &mut Builder<'m>, graph: &'m GraphProto, place: &str) -> Vec<Layout> {
    if graph.output.is_empty() {
        builder.findings.push(Diagnostic::new(
            diag::GRAPH_OUTPUT,
            place,
            "the graph has no output",
            "export the model again",
        ));
    }
    let mut layouts = Vec::new();
    for output in &graph.output {
        let refuse = |message: &str, hint: &str| {
            Diagnostic::new(
                diag::GRAPH_OUTPUT,
                format!("output '{}'", output.name),
                message,
                hint,
            )
        };
        let view = match builder.operand(&output.name) {
            Operand::View(view) => view,
            Operand::Constant(_) => {
                builder.findings.push(refuse(
                    "is a constant",
                    "remove it: it does not depend on the picture",
                ));
                continue;
            }
            Operand::Unknown | Operand::UnknownValue => continue,
        };
        let result = if Some(view.value) == builder.graph.input {
            Err(refuse(
                "is the input itself",
                "the graph computes nothing: export the model again",
            ))
        } else {
            output_value(builder, &view, &output.name).ok_or_else(|| {
                refuse(
                    "does not have the batch as its first axis",
                    "remove the last Transpose or Reshape before export",
                )
            })
        };
        match result {
            Ok((value, _)) if builder.graph.outputs.contains(&value) => {
                builder.findings.push(refuse(
                    "is the same as another output",
                    "remove one of them before export",
                ));
            }
            Ok((value, layout)) => {
                builder.graph.values[value].name.clone_from(&output.name);
                builder.graph.outputs.push(value);
                layouts.push(match layout.pixel_major {
                    true => Layout::Nhwc,
                    false => Layout::Nchw,
                });
                builder.graph.output_layouts.push(layout);
            }
            Err(finding) => builder.findings.push(finding),
        }
    }
    let graph = &mut builder.graph;
    let shapes = graph.outputs.iter().map(|&v| graph.values[v].shape);
    if (graph.output_layouts.iter().zip(shapes)).all(|(layout, shape)| layout.is_plain(shape)) {
        graph.output_layouts.clear();
    }
    layouts
}

/// The value behind an output, flattened if the file's is, and how the file lays it out.
fn output_value(
    builder: &mut Builder<'_>,
    view: &View,
    name: &str,
) -> Option<(ValueId, OutputLayout)> {
    let data = view.batch_axes()?..view.dims.len();
    let dims = view.extents()[data.clone()].to_vec();
    let plain = |pixel_major| OutputLayout {
        pixel_major,
        dims: dims.clone(),
    };
    let shape = builder.shape(view);
    let runs = view.runs(data.clone());
    if runs.len() <= 1 {
        let long = data.filter(|&i| !view.dims[i].is_empty()).count();
        let axes = shape.extents().into_iter().filter(|&n| n > 1).count();
        let value = match long == 1 && axes > 1 {
            true => builder.flatten(view.value, name),
            false => view.value,
        };
        return Some((value, plain(false)));
    }
    let pixel_major = [
        Run {
            extent: shape.pixels(),
            stride: 1,
        },
        Run {
            extent: shape.c,
            stride: shape.pixels(),
        },
    ];
    if runs == pixel_major {
        return Some((view.value, plain(true)));
    }
    let groups = choose_groups(view, shape, None)?;
    let value = builder.with_groups(view, &groups, name);
    let order: Vec<usize> = groups.iter().flatten().copied().collect();
    Some((value, plain(!order.is_sorted())))
}
