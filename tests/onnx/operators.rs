//! Every form of every operator against onnxruntime.

use std::collections::HashSet;
use std::path::Path;

use nestc::export;
use nestc::import::oracle::{self, Verdict, deviation, to_channel_major, to_pixel_major};
use nestc::import::{self, Imported, Layout};
use nestc::ir::eval_float::eval_outputs;

use crate::python;

/// The outputs of the imported graph for the stored input, laid out as in the file.
fn outputs(imported: &Imported, folder: &Path) -> Vec<Vec<f32>> {
    let graph = &imported.model.graph;
    let stored = python::floats(&folder.join("input.bin"));
    let input = match imported.input_layout {
        Layout::Nchw => stored,
        Layout::Nhwc => to_channel_major(&stored, graph.input_shape()),
    };
    (eval_outputs(graph, &input).into_iter())
        .zip(&imported.output_layouts)
        .zip(&graph.outputs)
        .map(|((data, layout), &value)| match layout {
            Layout::Nchw => data,
            Layout::Nhwc => to_pixel_major(&data, graph.shape(value)),
        })
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
        let tolerance = if name == "half_precision" { 2e-3 } else { 2e-6 };
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
        // What is written again computes the same, bit by bit.
        export::write_onnx(&imported.model.graph, &again).expect("written");
        let reread = import::load(&again).unwrap_or_else(|e| panic!("{name}: {e}"));
        let input: Vec<f32> = python::floats(&path.join("input.bin"));
        let bits = |imported: &Imported| -> Vec<Vec<u32>> {
            (eval_outputs(&imported.model.graph, &input).iter())
                .map(|o| o.iter().map(|v| v.to_bits()).collect())
                .collect()
        };
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
    // tract knows no Squeeze without axes and is given single precision only.
    unchecked.sort();
    assert_eq!(unchecked.len(), 2, "{unchecked:?}");
    assert!(unchecked[0].starts_with("half_precision:"), "{unchecked:?}");
    assert!(
        unchecked[1].starts_with("squeeze_attributes:"),
        "{unchecked:?}"
    );
    assert_eq!(
        operators.len(),
        14,
        "every operation of the float graph: {operators:?}"
    );
}
