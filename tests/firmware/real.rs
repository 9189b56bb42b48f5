//! The project's own networks all the way: ONNX, int8, image, emulator.

use nestc::bench::{self, BenchOptions, Compiled, EmulatorRunner};
use nestc::data::DataSpec;
use nestc::emit::Budgets;
use nestc::passes::{self, CompileOptions};
use nestc::{image, import};

use crate::support::{board, build_options};

const PICTURES: &str =
    "cifar10:models/cifar10-sample,mean=125.3/123.0/113.9,std=63.0/62.1/66.7,limit=64";

/// Compiles a network, compares 8 pictures at every level with the host, and holds the cycles of
/// the first levels below a limit.
fn runs(model: &str, name: &str, most_cycles: &[u64]) {
    let imported = import::load(model.as_ref()).unwrap_or_else(|e| panic!("{e}"));
    let spec = DataSpec::parse(PICTURES).unwrap();
    let dataset = spec.load(None).unwrap();
    let options = CompileOptions {
        calibration: Some(&dataset),
        preprocessing: Some(dataset.preprocessing.clone()),
        ..CompileOptions::default()
    };
    let mut program = passes::compile(imported.model, &options, &mut ()).unwrap();
    program.name = name.into();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let built = image::compile(
        &program,
        &board(),
        Budgets::default(),
        &out,
        &build_options(),
    )
    .unwrap_or_else(|e| panic!("{e}"));
    // The peak of the layers' needs is the arena.
    let peak = built.layers.iter().map(|l| l.live_bytes).max();
    assert!(peak <= Some(program.arena_bytes));
    assert_eq!(built.arena_memory, "DTCM");

    let compiled = Compiled::open(&out).unwrap_or_else(|e| panic!("{e}"));
    let mut runner = EmulatorRunner::new(&compiled).unwrap();
    let options = BenchOptions {
        verify: 8,
        data: Some(spec),
        ..BenchOptions::default()
    };
    let report = bench::bench(&compiled, &mut runner, &options, &mut |_, _| {})
        .unwrap_or_else(|e| panic!("{e}"));
    println!("{}", report.table());
    bench::verdict(&report).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(report.bit_exact.inputs, 8);
    for (level, &most) in report.levels.iter().zip(most_cycles) {
        assert!(level.cycles.0 <= most, "{name}: {}", level.cycles);
        // A core that issues two instructions a cycle at most.
        assert!(level.instructions.0 <= 2 * level.cycles.0);
    }
}

#[test]
fn dense_resnet8_takes_less_than_14_million_cycles() {
    runs("models/resnet8_cifar10.onnx", "resnet8", &[14_000_000]);
}

#[test]
fn nested_resnet8_takes_less_than_5_5_million_cycles_at_its_sparsest() {
    runs(
        "models/resnet8_cifar10.nest.onnx",
        "resnet8_nested",
        &[5_500_000],
    );
}
