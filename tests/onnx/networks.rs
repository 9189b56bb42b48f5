//! Whole networks by others against the outputs onnxruntime gave for them.

use std::ffi::OsString;
use std::path::Path;

use nestc::import::{self, oracle::deviation, proto::TensorProto};
use nestc::ir::eval_float::eval_outputs;
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

/// Networks out of scope and the codes of what is said about them, each once.
const OUT_OF_SCOPE: [(&str, &[&str]); 3] = [
    ("mlperf_resnet8_cifar10_qdq", &["E110"]),
    ("mlperf_mobilenetv1_025_vww96_qdq", &["E110"]),
    ("google_mobilenetv1_025_128_imagenet_qdq", &["E110"]),
];

/// The folder of the reference networks, which are not part of this repository.
fn reference_networks() -> OsString {
    std::env::var_os("NESTC_MODELS").expect("NESTC_MODELS is the folder of the reference networks")
}

#[test]
#[ignore = "needs NESTC_MODELS: make acceptance"]
fn out_of_scope_networks_are_explained() {
    let folder = reference_networks();
    for (name, expected) in OUT_OF_SCOPE {
        let path = Path::new(&folder).join(name).join("model.onnx");
        let findings = import::load(&path).expect_err(name);
        let mut codes: Vec<&str> = findings.0.iter().map(|f| f.code.0).collect();
        codes.sort_unstable();
        codes.dedup();
        println!("{name}: {} findings", findings.0.len());
        assert_eq!(codes, expected, "{name}: {findings}");
    }
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
