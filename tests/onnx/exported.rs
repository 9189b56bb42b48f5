//! Written files in the hands of others: ONNX's checker and onnxruntime.

use std::path::Path;

use nestc::export;
use nestc::import::{self, Imported, proto::ModelProto};
use nestc::ir::eval_float::eval_outputs;
use nestc::ir::float::{FloatGraph, FloatOp};
use nestc::ir::nested::{LevelInfo, LevelParams, NestedModel, PRUNED};
use nestc::ir::verify::verify_nested;
use prost::Message;

use crate::python;

fn committed(name: &str) -> Imported {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name);
    import::load_checked(&path).unwrap_or_else(|e| panic!("{e}"))
}

/// Three levels over a real network: weights ranked by magnitude in each layer, normalisations and
/// the last bias moved a little at the sparser levels.
fn nested() -> NestedModel {
    let mut model = NestedModel::plain(committed("resnet8_cifar10_bn.onnx").model.graph);
    model.levels = [0.9, 0.8, 0.5]
        .map(|sparsity| LevelInfo {
            sparsity,
            accuracy_top1: Some(1.0 - sparsity / 7.0),
        })
        .to_vec();
    for id in model.graph.nodes.ids() {
        match &mut model.graph.nodes[id].op {
            FloatOp::Conv(conv) => {
                let mut order: Vec<usize> = (0..conv.weight.len()).collect();
                order.sort_by(|&a, &b| conv.weight[b].abs().total_cmp(&conv.weight[a].abs()));
                let mut levels = vec![PRUNED; order.len()];
                for (rank, &i) in order.iter().enumerate() {
                    let share = rank as f64 / order.len() as f64;
                    let level = [0.1, 0.2, 0.5].iter().position(|&kept| share < kept);
                    match level {
                        Some(level) => levels[i] = level as u8,
                        None => conv.weight[i] = 0.0,
                    }
                }
                model.weight_levels.insert(id, levels);
            }
            FloatOp::BatchNorm(bn) => {
                let all = [0.3, 0.1, 0.0].map(|shift| {
                    let mut own = bn.clone();
                    own.beta.iter_mut().for_each(|b| *b += shift);
                    own.var.iter_mut().for_each(|v| *v *= 1.0 + shift);
                    LevelParams::BatchNorm(own)
                });
                model.level_params.insert(id, all.to_vec());
            }
            FloatOp::Dense(dense) => {
                let own = dense.bias.clone().expect("the classifier has a bias");
                let all = [1.0f32, 0.5, 0.0]
                    .map(|shift| LevelParams::Bias(own.iter().map(|b| b + shift).collect()));
                model.level_params.insert(id, all.to_vec());
            }
            _ => {}
        }
    }
    model
}

/// Writes what nestc computes for the stored inputs beside the file.
fn expect(path: &Path, graph: &FloatGraph, inputs: &[f32]) {
    let bytes: Vec<u8> = inputs
        .chunks(graph.input_shape().len())
        .flat_map(|input| eval_outputs(graph, input).swap_remove(0))
        .flat_map(f32::to_le_bytes)
        .collect();
    std::fs::write(format!("{}.bin", path.display()), bytes).expect("written");
}

#[test]
fn onnxruntime_runs_what_nestc_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let model = nested();
    assert_eq!(verify_nested(&model), []);
    // Two pictures, so that the open batch is used.
    let inputs: Vec<f32> = (0..2 * 3 * 32 * 32)
        .map(|i| ((i * 7919 % 2003) as f32) / 500.0 - 2.0)
        .collect();
    let bytes: Vec<u8> = inputs.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(folder.join("input.bin"), bytes).expect("written");

    let nest = folder.join("model.nest.onnx");
    export::write_nest(&model, &nest).expect("written");
    expect(&nest, &model.graph, &inputs);
    for level in model.level_ids() {
        let path = folder.join(format!("{level}.onnx"));
        export::export_level(&model, nestc::ir::ids::Id::index(level), &path).expect("written");
        expect(&path, &model.level(level), &inputs);
    }
    for name in ["resnet8_cifar10.onnx", "resnet8_cifar10_bn.onnx"] {
        let graph = committed(name).model.graph;
        let path = folder.join(name);
        export::write_onnx(&graph, &path).expect("written");
        expect(&path, &graph, &inputs);
    }
    let report = python::run("check_export.py", &[folder]);
    let (files, worst) = report.trim().split_once(' ').expect("two numbers");
    assert_eq!(files, "6");
    let worst: f64 = worst.parse().expect("a number");
    println!("largest difference to onnxruntime: {worst:.1e} of the outputs' range");
    assert!(worst < 2e-6, "{worst:e}");

    let again = import::load_checked(&nest).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.warnings, []);
    assert!(again.model == model, "read back bit by bit");
    // The levels do compute different things.
    let first: Vec<_> = (model.level_ids())
        .map(|level| eval_outputs(&model.level(level), &inputs[..3 * 32 * 32]).swap_remove(0))
        .collect();
    assert!(first[0] != first[1] && first[1] != first[2]);
}

/// Files of PyTorch itself: nothing of the messages is lost by decoding and encoding.
#[test]
fn messages_survive_decoding_and_encoding() {
    let folder = tempfile::tempdir().expect("a folder");
    python::run("op_models.py", &[folder.path()]);
    let mut paths = vec![
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/resnet8_cifar10.onnx"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/resnet8_cifar10_bn.onnx"),
    ];
    for entry in std::fs::read_dir(folder.path()).expect("readable") {
        paths.push(entry.expect("an entry").path().join("model.onnx"));
    }
    for path in paths {
        let bytes = std::fs::read(&path).expect("readable");
        let model = ModelProto::decode(bytes.as_slice()).expect("valid");
        let encoded = model.encode_to_vec();
        assert_eq!(ModelProto::decode(encoded.as_slice()), Ok(model));
        // Fields may move and defaults may go, but no content: less than a byte in a hundred.
        assert!(
            encoded.len() + 16 + bytes.len() / 100 > bytes.len(),
            "{}: {} of {} bytes",
            path.display(),
            encoded.len(),
            bytes.len()
        );
    }
}
