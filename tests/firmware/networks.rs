//! Networks by others all the way: ONNX, int8, image, emulator; every layer of every input as on
//! the host.

use std::fs;
use std::path::{Path, PathBuf};

use nestc::bench::{self, BenchOptions, Compiled, EmulatorRunner};
use nestc::data::DataSpec;
use nestc::emit::Budgets;
use nestc::import::proto::TensorProto;
use nestc::ir::float::Shape;
use nestc::passes::{self, CompileOptions};
use nestc::{image, import};
use prost::Message;

use crate::support::{Random, board, build_options};

/// Networks that are not for this version: already quantised (QDQ).
const OUT_OF_SCOPE: [&str; 3] = [
    "google_mobilenetv1_025_128_imagenet_qdq",
    "mlperf_mobilenetv1_025_vww96_qdq",
    "mlperf_resnet8_cifar10_qdq",
];

/// Inputs compared a network.
const INPUTS: usize = 8;

#[test]
#[ignore = "needs NESTC_MODELS=folder of models"]
fn networks_by_others_are_bit_exact_on_the_device() {
    let folder = std::env::var_os("NESTC_MODELS").expect("NESTC_MODELS is a folder of models");
    let mut networks: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("model.onnx").is_file())
        .collect();
    networks.sort();
    assert!(!networks.is_empty(), "no folder with a model.onnx");
    let mut compared = 0;
    for network in &networks {
        let name = network.file_name().unwrap().to_str().unwrap();
        let loaded = import::load(&network.join("model.onnx"));
        if OUT_OF_SCOPE.contains(&name) {
            let findings = loaded.map(|_| ()).expect_err(name);
            println!("{name}: refused: {}", findings.0[0]);
            continue;
        }
        let imported = loaded.unwrap_or_else(|e| panic!("{name}: {e}"));
        let shape = imported.model.graph.input_shape();
        let stored = stored_inputs(network, shape, imported.input_layout);
        assert!(
            !stored.is_empty(),
            "{name} has no test_data_set_*/input_0.pb"
        );
        let work = tempfile::tempdir().unwrap();
        let array = work.path().join("inputs.npy");
        let inputs = with_variations(stored);
        fs::write(&array, npy(shape, &inputs)).unwrap();
        let spec = DataSpec::parse(&format!("npy:{}", array.display())).unwrap();
        let dataset = spec.load(None).unwrap_or_else(|e| panic!("{name}: {e}"));
        let options = CompileOptions {
            calibration: Some(&dataset),
            preprocessing: Some(dataset.preprocessing.clone()),
            ..CompileOptions::default()
        };
        let mut program = passes::compile(imported.model, &options, &mut ())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        program.name = name.to_ascii_lowercase().replace(['-', '.'], "_");
        let out = work.path().join("out");
        image::compile(
            &program,
            &board(),
            Budgets::default(),
            &out,
            &build_options(),
        )
        .unwrap_or_else(|e| panic!("{name}: {e}"));
        let compiled = Compiled::open(&out).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut runner = EmulatorRunner::new(&compiled).unwrap();
        let options = BenchOptions {
            verify: inputs.len(),
            data: Some(spec),
            ..BenchOptions::default()
        };
        let report = bench::bench(&compiled, &mut runner, &options, &mut |_, _| {})
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        bench::verdict(&report).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(report.bit_exact.inputs >= INPUTS as u64);
        for level in &report.levels {
            println!(
                "{name}: bit-exact on {} inputs; level {}: {}",
                report.bit_exact.inputs, level.level, level.cycles
            );
        }
        compared += 1;
    }
    assert!(compared > 0, "every network is out of scope");
}

/// The inputs beside a network, channel-major.
fn stored_inputs(network: &Path, shape: Shape, layout: import::Layout) -> Vec<Vec<f32>> {
    (0..)
        .map(|set| network.join(format!("test_data_set_{set}/input_0.pb")))
        .take_while(|path| path.is_file())
        .map(|path| {
            let tensor = TensorProto::decode(fs::read(&path).unwrap().as_slice()).unwrap();
            let values: Vec<f32> = match tensor.raw_data {
                Some(raw) => (raw.as_chunks().0.iter())
                    .map(|&b| f32::from_le_bytes(b))
                    .collect(),
                None => tensor.float_data,
            };
            assert_eq!(values.len(), shape.len(), "{}", path.display());
            match layout {
                import::Layout::Nchw => values,
                import::Layout::Nhwc => {
                    let plane = shape.h * shape.w;
                    (0..shape.len())
                        .map(|i| values[i % plane * shape.c + i / plane])
                        .collect()
                }
            }
        })
        .collect()
}

/// The inputs and seeded mixtures of two of them, each with noise of 2 % of the range.
fn with_variations(mut inputs: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let stored = inputs.clone();
    let all = || stored.iter().flatten().copied();
    let range = all().fold(f32::MIN, f32::max) - all().fold(f32::MAX, f32::min);
    let mut random = Random(2026);
    while inputs.len() < INPUTS {
        let [a, b] = [(); 2].map(|()| &stored[random.below(stored.len() as u64) as usize]);
        let share = random.below(1000) as f32 / 1000.0;
        let mixed = (a.iter().zip(b))
            .map(|(a, b)| a + (b - a) * share + range * 2e-5 * random.signed(1000) as f32)
            .collect();
        inputs.push(mixed);
    }
    inputs
}

/// The array as a NumPy file of version 1.0: `(n, c, h, w)`, little-endian floats.
fn npy(shape: Shape, inputs: &[Vec<f32>]) -> Vec<u8> {
    let header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}, {}, {}), }}",
        inputs.len(),
        shape.c,
        shape.h,
        shape.w
    );
    // Magic, version, length and header together are a multiple of 64 bytes.
    let header = format!("{header:<width$}\n", width = 256 - 11);
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(inputs.iter().flatten().flat_map(|v| v.to_le_bytes()));
    out
}
