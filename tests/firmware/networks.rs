//! Networks by others all the way: ONNX, int8, image, emulator; every layer of every input as on
//! the host.

use std::fs;
use std::path::{Path, PathBuf};

use nestc::bench::{self, BenchOptions, Compiled, EmulatorRunner};
use nestc::data::DataSpec;
use nestc::detect::Head;
use nestc::emit::Budgets;
use nestc::image::BuildOptions;
use nestc::import::Imported;
use nestc::import::proto::{TensorProto, data_type};
use nestc::ir::float::{FloatOp, Shape, Unary};
use nestc::passes::{self, CompileOptions};
use nestc::{image, import};
use prost::Message;

use crate::support::{Random, board, build_options};

/// What the outputs of detectors mean: by a part of the network's name.
const HEADS: [(&str, &str); 2] = [
    ("fastestdet", "fastestdet,score=0.3"),
    ("ultraface", "ultraface,score=0.5"),
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
    for network in &networks {
        let name = network.file_name().unwrap().to_str().unwrap();
        let loaded = import::load(&network.join("model.onnx"));
        let imported = loaded.unwrap_or_else(|e| panic!("{name}: {e}"));
        let shape = imported.model.graph.input_shape();
        let stored = stored_inputs(network, &imported);
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
        let head = HEADS.iter().find(|(part, _)| program.name.contains(part));
        let head = head.map(|(_, text)| Head::parse(text).unwrap_or_else(|e| panic!("{e}")));
        let build = BuildOptions {
            head,
            ..build_options()
        };
        image::compile(&program, &board(), Budgets::default(), &out, &build)
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
            assert_eq!(level.boxes.is_some(), build.head.is_some(), "{name}");
            println!(
                "{name}: bit-exact on {} inputs; level {}: {}; boxes {:?}",
                report.bit_exact.inputs,
                level.level,
                level.cycles.unwrap(),
                level.boxes
            );
        }
    }
}

/// The inputs beside a network, channel-major.
fn stored_inputs(network: &Path, imported: &Imported) -> Vec<Vec<f32>> {
    let graph = &imported.model.graph;
    let shape = graph.input_shape();
    // What the integers of a quantised file stand for.
    let steps = graph.nodes.iter().find_map(|node| match node.op {
        FloatOp::Unary(Unary::Int8 { scale, zero_point }) => Some((scale, zero_point)),
        _ => None,
    });
    let number = |integer: i8| {
        let (scale, zero) = steps.expect("steps of the input");
        (f32::from(integer) - f32::from(zero)) * scale
    };
    (0..)
        .map(|set| network.join(format!("test_data_set_{set}/input_0.pb")))
        .take_while(|path| path.is_file())
        .map(|path| {
            let tensor = TensorProto::decode(fs::read(&path).unwrap().as_slice()).unwrap();
            let values: Vec<f32> = match tensor.raw_data {
                Some(raw) if tensor.data_type == data_type::INT8 => {
                    raw.iter().map(|&b| number(b as i8)).collect()
                }
                Some(raw) if tensor.data_type == data_type::UINT8 => {
                    raw.iter().map(|&b| number((b ^ 0x80) as i8)).collect()
                }
                Some(raw) => (raw.as_chunks().0.iter())
                    .map(|&b| f32::from_le_bytes(b))
                    .collect(),
                None => tensor.float_data,
            };
            assert_eq!(values.len(), shape.len(), "{}", path.display());
            match imported.input_layout {
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
