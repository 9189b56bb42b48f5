//! Whole networks by others against the outputs onnxruntime gave for them.

use std::ffi::OsString;
use std::path::Path;

use nestc::import::{self, proto::TensorProto};
use nestc::ir::eval_float::eval_outputs;
use prost::Message;

/// Networks the importer must read, in the layout of ONNX's backend tests.
const NETWORKS: [&str; 5] = [
    "mlperf_resnet8_cifar10",
    "mlperf_mobilenetv1_025_vww96",
    "akamaster_resnet20_cifar10",
    "akamaster_resnet20_cifar10_rawexport",
    "onnxzoo_mnist_cntk",
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
const OUT_OF_SCOPE: [(&str, &[&str]); 5] = [
    ("mlperf_resnet8_cifar10_qdq", &["E110"]),
    ("mlperf_mobilenetv1_025_vww96_qdq", &["E110"]),
    ("google_mobilenetv1_025_128_imagenet_qdq", &["E110"]),
    ("fastestdet_160", &["E200"]),
    ("ultraface_slim_160x120", &["E200", "E213"]),
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
            let expected = tensor(&set.join("output_0.pb"));
            let outputs = eval_outputs(&imported.model.graph, &tensor(&set.join("input_0.pb")));
            let low = expected.iter().copied().fold(f32::INFINITY, f32::min);
            let high = expected.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(outputs[0].len(), expected.len(), "{name}");
            let error = (outputs[0].iter().zip(&expected))
                .map(|(a, b)| (a - b).abs())
                .fold(0f32, f32::max);
            let share = error / (high - low);
            println!("{name}: {share:.1e} of the output's range");
            assert!(share <= TOLERANCE, "{name}: {share:e}");
        }
    }
}
