//! Whole networks by others against the outputs onnxruntime gave for them.

use std::ffi::OsString;
use std::path::Path;

use nestc::import;
use nestc::import::oracle::{deviation, to_channel_major};
use nestc::import::proto::{TensorProto, data_type};
use nestc::ir::eval_float::eval_outputs;
use nestc::ir::float::{FloatGraph, FloatOp, Node, Unary};
use nestc::ir::ids::ValueId;
use prost::Message;

/// Networks the importer must read, in the layout of ONNX's backend tests.
const NETWORKS: [&str; 7] = [
    "mlperf_resnet8_cifar10",
    "mlperf_mobilenetv1_025_vww96",
    "akamaster_resnet20_cifar10",
    "akamaster_resnet20_cifar10_rawexport",
    "onnxzoo_mnist_cntk",
    "fastestdet_160",
    "ultraface_slim_160x120",
];

/// Largest error allowed, as a share of the output's range.
const TOLERANCE: f32 = 1e-4;

/// The floats of a stored `TensorProto`.
fn tensor(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensor = TensorProto::decode(bytes.as_slice()).expect("a tensor");
    match tensor.raw_data {
        Some(raw) => raw
            .as_chunks()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect(),
        None => tensor.float_data,
    }
}

/// Networks that are quantised already.
const QUANTISED: [&str; 3] = [
    "mlperf_resnet8_cifar10_qdq",
    "mlperf_mobilenetv1_025_vww96_qdq",
    "google_mobilenetv1_025_128_imagenet_qdq",
];

/// The integers of a stored `TensorProto`, those of uint8 counted from -128 on.
fn integers(path: &Path) -> Vec<i8> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensor = TensorProto::decode(bytes.as_slice()).expect("a tensor");
    let offset = match tensor.data_type {
        data_type::INT8 => 0,
        data_type::UINT8 => 128,
        other => panic!("{}: {other}", path.display()),
    };
    let raw = tensor.raw_data.expect("raw data");
    raw.iter().map(|&b| b.wrapping_sub(offset) as i8).collect()
}

/// Scale and zero point of the rounding that gives a value, or that the input goes through.
fn steps(graph: &FloatGraph, value: ValueId, input: bool) -> (f32, i8) {
    let find = |n: &&Node| match input {
        true => n.inputs == [value],
        false => n.output == value,
    };
    match graph.nodes.iter().find(find).map(|n| &n.op) {
        Some(&FloatOp::Unary(Unary::Int8 { scale, zero_point })) => (scale, zero_point),
        other => panic!("{other:?}"),
    }
}

/// The folder of the reference networks, which are not part of this repository.
fn reference_networks() -> OsString {
    std::env::var_os("NESTC_MODELS").expect("NESTC_MODELS is the folder of the reference networks")
}

#[test]
#[ignore = "needs NESTC_MODELS: make acceptance"]
fn third_party_networks_agree_with_onnxruntime() {
    let folder = reference_networks();
    for name in NETWORKS {
        let folder = Path::new(&folder).join(name);
        let imported = import::load(&folder.join("model.onnx")).unwrap_or_else(|e| panic!("{e}"));
        for set in 0..3 {
            let set = folder.join(format!("test_data_set_{set}"));
            let graph = &imported.model.graph;
            let input = tensor(&set.join("input_0.pb"));
            for (i, output) in eval_outputs(graph, &input).iter().enumerate() {
                let expected = tensor(&set.join(format!("output_{i}.pb")));
                let output = graph.output_as_in_file(i, output);
                assert_eq!(output.len(), expected.len(), "{name}");
                let share = deviation(&output, &expected);
                println!("{name}: output {i}: {share:.1e} of its range");
                assert!(share <= TOLERANCE, "{name}: output {i}: {share:e}");
            }
        }
    }
}

/// The numbers between differ by what single precision leaves of a rounding at one half; a rounding
/// that goes the other way is one step, and what follows from it may be another.
#[test]
#[ignore = "needs NESTC_MODELS: make acceptance"]
fn quantised_networks_agree_with_onnxruntime() {
    let folder = reference_networks();
    for name in QUANTISED {
        let folder = Path::new(&folder).join(name);
        let imported = import::load(&folder.join("model.onnx")).unwrap_or_else(|e| panic!("{e}"));
        let graph = &imported.model.graph;
        let (scale, zero) = steps(graph, graph.input(), true);
        for set in 0..3 {
            let set = folder.join(format!("test_data_set_{set}"));
            let numbers: Vec<f32> = (integers(&set.join("input_0.pb")).iter())
                .map(|&q| f32::from(i16::from(q) - i16::from(zero)) * scale)
                .collect();
            let input = to_channel_major(&numbers, graph.input_shape());
            let output = &eval_outputs(graph, &input)[0];
            let (scale, zero) = steps(graph, graph.outputs[0], false);
            let expected = integers(&set.join("output_0.pb"));
            assert_eq!(output.len(), expected.len(), "{name}");
            let off = output
                .iter()
                .zip(&expected)
                .map(|(&o, &q)| (o / scale - f32::from(i16::from(q) - i16::from(zero))).abs());
            let worst = off.fold(0.0, f32::max);
            println!("{name}: {worst} steps");
            assert!(worst <= 6.01, "{name}: {worst} steps");
        }
    }
}
