//! The accuracy bars, on all 10,000 test images of CIFAR-10. Not part of `make check`, which
//! downloads no data: `make acceptance` runs it.

use std::path::{Path, PathBuf};

use nestc::data::{DataSpec, Split};
use nestc::import;
use nestc::passes::{self, CompileOptions, evaluate_int8};

const PREPARATION: &str = ",mean=125.3/123.0/113.9,std=63.0/62.1/66.7";

/// The int8 accuracy of every level, calibrated on training images.
fn int8_accuracies(model: &Path, preparation: &str) -> Vec<f64> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let nested = import::load(model).unwrap_or_else(|e| panic!("{e}")).model;
    let spec = format!(
        "cifar10:{}{preparation}",
        root.join("data/cifar10").display()
    );
    let spec = DataSpec::parse(&spec).unwrap_or_else(|e| panic!("{e}"));
    let load = |split| {
        spec.with_split(split)
            .load(nested.preprocessing.as_ref())
            .unwrap_or_else(|e| panic!("{e}"))
    };
    let calibration = load(Split::Train);
    let options = CompileOptions {
        preprocessing: Some(calibration.preprocessing.clone()),
        calibration: Some(&calibration),
        ..CompileOptions::default()
    };
    let program =
        passes::compile(nested.clone(), &options, &mut ()).unwrap_or_else(|e| panic!("{e}"));
    let test = load(Split::Test);
    assert_eq!(test.len(), 10_000);
    let accuracies: Vec<f64> = evaluate_int8(&program, &test, &|_| {})
        .unwrap_or_else(|e| panic!("{e}"))
        .iter()
        .map(|a| a.top1())
        .collect();
    println!("{}: {accuracies:?}", model.display());
    accuracies
}

fn hold(model: &Path, preparation: &str, bars: &[f64]) {
    let accuracies = int8_accuracies(model, preparation);
    assert_eq!(accuracies.len(), bars.len());
    for (level, (accuracy, bar)) in accuracies.iter().zip(bars).enumerate() {
        assert!(accuracy >= bar, "level {level}: {accuracy} is below {bar}");
    }
}

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name)
}

#[test]
#[ignore = "needs full CIFAR-10: make acceptance"]
fn the_dense_network_keeps_its_accuracy() {
    hold(&committed("resnet8_cifar10.onnx"), PREPARATION, &[0.880]);
    hold(&committed("resnet8_cifar10_bn.onnx"), PREPARATION, &[0.880]);
}

#[test]
#[ignore = "needs full CIFAR-10: make acceptance"]
fn the_nested_network_keeps_its_accuracies() {
    hold(
        &committed("resnet8_cifar10.nest.onnx"),
        "",
        &[0.825, 0.855, 0.870],
    );
}

#[test]
#[ignore = "needs full CIFAR-10 and NESTC_MODELS: make acceptance"]
fn the_third_party_network_keeps_its_accuracy() {
    let folder =
        std::env::var_os("NESTC_MODELS").expect("NESTC_MODELS is the folder of reference networks");
    let model = Path::new(&folder).join("mlperf_resnet8_cifar10/model.onnx");
    hold(&model, "", &[0.869]);
}
