//! The project's own networks all the way: ONNX, int8, image, emulator.

use nestc::bench::{self, BenchOptions, Compiled, EmulatorRunner};
use nestc::data::DataSpec;
use nestc::emit::Budgets;
use nestc::passes::{self, CompileOptions};
use nestc::{image, import};
use object::{Object, ObjectSymbol, SymbolKind};

use crate::support::{board, build_options};

const PICTURES: &str =
    "cifar10:models/cifar10-sample,mean=125.3/123.0/113.9,std=63.0/62.1/66.7,limit=64";

/// Bytes of arena that the greedy planner of CMSIS-NN takes for ResNet-8.
const MOST_ARENA: u64 = 49_728;
/// Bytes of code without the bench shell.
const MOST_CODE: u64 = 16_000;

/// Bytes of the functions that the kernels and the model library bring into an image.
fn code_bytes(elf: &[u8], model: &str) -> u64 {
    let file = object::File::parse(elf).unwrap();
    (file.symbols())
        .filter(|s| s.kind() == SymbolKind::Text)
        .filter(|s| {
            let name = s.name().unwrap_or_default();
            ["nest_kernels", model, "memcpy", "memset", "memclr"]
                .iter()
                .any(|part| name.contains(part))
        })
        .map(|s| s.size())
        .sum()
}

/// Compiles a network, compares 8 pictures at every level with the host, and holds arena, code and
/// the cycles of the first levels below their limits.
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
    assert!(
        program.arena_bytes.0 <= MOST_ARENA,
        "{}",
        program.arena_bytes
    );

    let compiled = Compiled::open(&out).unwrap_or_else(|e| panic!("{e}"));
    let code = code_bytes(&compiled.elf, name);
    assert!((8_000..=MOST_CODE).contains(&code), "{code} B of code");
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
        let cycles = level.cycles.unwrap();
        assert!(cycles.0 <= most, "{name}: {cycles}");
        // A core that issues two instructions a cycle at most.
        assert!(level.instructions.0 <= 2 * cycles.0);
    }
}

#[test]
fn dense_resnet8_runs_within_its_limits() {
    runs("models/resnet8_cifar10.onnx", "resnet8", &[9_300_000]);
}

#[test]
fn nested_resnet8_runs_within_its_limits() {
    runs(
        "models/resnet8_cifar10.nest.onnx",
        "resnet8_nested",
        &[3_200_000],
    );
}
