//! Every form of every operator against onnxruntime.

use std::collections::HashSet;
use std::path::Path;

use nestc::export;
use nestc::import::oracle::{self, Verdict, deviation, to_channel_major};
use nestc::import::{self, Imported, Layout};
use nestc::ir::eval_float::eval_outputs;
use nestc::ir::text::{Weights, parse, print};

use crate::python;

/// The outputs of the imported graph for the stored input, in the order of the file.
fn outputs(imported: &Imported, folder: &Path) -> Vec<Vec<f32>> {
    let graph = &imported.model.graph;
    let stored = python::floats(&folder.join("input.bin"));
    let input = match imported.input_layout {
        Layout::Nchw => stored,
        Layout::Nhwc => to_channel_major(&stored, graph.input_shape()),
    };
    (eval_outputs(graph, &input).iter().enumerate())
        .map(|(i, data)| graph.output_as_in_file(i, data))
        .collect()
}

#[test]
fn operators_agree_with_onnxruntime() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = python::run("op_models.py", &[folder.path()]);
    let again = folder.path().join("again.onnx");
    let mut names = Vec::new();
    let mut operators = HashSet::new();
    let mut failures = Vec::new();
    let mut unchecked = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("readable") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        // Half precision differs by its own rounding.
        let tolerance = match name.as_str() {
            "half_precision" => 2e-3,
            // One step of 8 bits: a number at one half is rounded this way or that.
            name if name.starts_with('q') => 1.01 / 100.0,
            _ => 2e-6,
        };
        let imported = match import::load(&path.join("model.onnx")) {
            Ok(imported) => imported,
            Err(findings) => {
                failures.push(format!("{name}: {findings}"));
                continue;
            }
        };
        let ours = outputs(&imported, &path);
        for (i, ours) in ours.iter().enumerate() {
            let theirs = python::floats(&path.join(format!("output_{i}.bin")));
            let share = deviation(ours, &theirs);
            if ours.len() != theirs.len() || share > tolerance || share.is_nan() {
                failures.push(format!(
                    "{name}: output {i} differs by {share:e} of its range"
                ));
            }
        }
        match oracle::cross_check(&path.join("model.onnx"), &imported, 7) {
            Ok(Verdict::Agrees(_)) => {}
            Ok(Verdict::Unchecked(warning)) => {
                unchecked.push(format!("{name}: {}", warning.message))
            }
            Err(findings) => failures.push(format!("{name}: {findings}")),
        }
        // Its text form stands for it.
        let text = print(&imported.model.graph, Weights::Full);
        match parse(&text) {
            Ok(graph) if graph == imported.model.graph => {}
            other => failures.push(format!(
                "{name}: read as text it is another: {:?}",
                other.err()
            )),
        }
        // What is written again computes the same, bit by bit.
        export::write_onnx(&imported.model.graph, &again).expect("written");
        let reread = import::load(&again).unwrap_or_else(|e| panic!("{name}: {e}"));
        let input: Vec<f32> = python::floats(&path.join("input.bin"));
        let bits = |imported: &Imported| -> Vec<Vec<u32>> {
            (eval_outputs(&imported.model.graph, &input).iter())
                .map(|o| o.iter().map(|v| v.to_bits()).collect())
                .collect()
        };
        if reread.model.graph.output_layouts != imported.model.graph.output_layouts {
            failures.push(format!("{name}: outputs are laid out in another way"));
        }
        if bits(&reread) != bits(&imported) {
            failures.push(format!(
                "{name}: written and read again it computes something else"
            ));
        }
        operators.extend(imported.model.graph.nodes.iter().map(|n| n.op.name()));
        names.push(name);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(names.len().to_string(), written.trim(), "{names:?}");
    // What tract cannot run, and half precision, which it is not given.
    unchecked.sort();
    let unchecked: Vec<&str> = (unchecked.iter())
        .filter_map(|line| line.split(':').next())
        .filter(|name| !name.contains("align_corners") && !name.starts_with('q'))
        .collect();
    assert_eq!(unchecked, UNCHECKED);
    let missing: Vec<&&str> = OPERATIONS
        .iter()
        .filter(|o| !operators.contains(*o))
        .collect();
    assert!(missing.is_empty(), "no model has {missing:?}");
}

/// Models that tract cannot run, besides those with aligned corners and the quantised, where it is
/// known to differ.
const UNCHECKED: &[&str] = &[
    "conv_transpose_same_lower",
    "conv_transpose_same_upper",
    "half_precision",
    "pad_and_crop",
    "squeeze_attributes",
];

/// Every operation of the float graph.
const OPERATIONS: &[&str] = &[
    "conv",
    "dense",
    "batch_norm",
    "channel_affine",
    "relu",
    "relu6",
    "add",
    "max_pool",
    "avg_pool",
    "global_avg_pool",
    "flatten",
    "pad",
    "slice",
    "softmax",
    "clip",
    "leaky_relu",
    "elu",
    "sigmoid",
    "hard_sigmoid",
    "hard_swish",
    "silu",
    "tanh",
    "exp",
    "int8",
    "prelu",
    "binary",
    "with_constant",
    "concat",
    "select",
    "channel_shuffle",
    "rearrange",
    "resize",
];
