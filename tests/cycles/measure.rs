//! Compiles a network and measures it in both settings.

use std::path::{Path, PathBuf};

use nestc::bench::{self, BenchOptions, Compiled, Settings};
use nestc::emit::Budgets;
use nestc::image::{self, BuildOptions};
use nestc::passes::{self, CompileOptions, FastMemory, Preferences};
use nestc::report::{BenchReport, ImageReport};
use nestc::target::Board;
use nestc::units::Bytes;

use crate::networks::Network;

/// One build folder for all networks, so that what does not change is built once.
fn build_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cycles/build")
}

/// A network's image and what it measured.
pub struct Measured {
    /// What was compiled.
    #[allow(dead_code)] // Not every program that includes this file prints it.
    pub image: ImageReport,
    /// What it took.
    pub bench: BenchReport,
}

/// Compiles `network` as `nestc compile` does and measures it as `nestc bench` does, in the expected
/// and the pessimistic setting and with one input compared bit by bit.
pub fn measure(network: Network, preferences: Preferences) -> Measured {
    let name = network.name.clone();
    let (image, compiled) = compile(network, preferences);
    let bench = bench(&name, &compiled, &Settings::of(&compiled.board));
    Measured { image, bench }
}

/// As `nestc compile`.
pub fn compile(network: Network, preferences: Preferences) -> (ImageReport, Compiled) {
    let board = Board::named("stm32h743").unwrap_or_else(|e| panic!("{e}"));
    compile_for(network, preferences, &board, None)
}

/// The same for some board, with so much tightly coupled memory for the arena.
pub fn compile_for(
    network: Network,
    preferences: Preferences,
    board: &Board,
    fast_memory: Option<Bytes>,
) -> (ImageReport, Compiled) {
    let name = &network.name;
    let dataset = (network.data.as_ref())
        .map(|spec| spec.load(None).unwrap_or_else(|e| panic!("{name}: {e}")));
    let options = CompileOptions {
        calibration: dataset.as_ref(),
        preprocessing: dataset.as_ref().map(|data| data.preprocessing.clone()),
        preferences,
        fast_memory: fast_memory.map(|whole| FastMemory {
            whole,
            part: Bytes(0),
        }),
        ..CompileOptions::default()
    };
    let mut program =
        passes::compile(network.model, &options, &mut ()).unwrap_or_else(|e| panic!("{name}: {e}"));
    program.name.clone_from(name);
    let work = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let out = work.path().join("out");
    let build = BuildOptions {
        target_dir: Some(build_folder()),
        ..BuildOptions::default()
    };
    let image = image::compile(&program, board, Budgets::default(), &out, &build)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let compiled = Compiled::open(&out).unwrap_or_else(|e| panic!("{name}: {e}"));
    (image, compiled)
}

/// As `nestc bench`.
pub fn bench(name: &str, compiled: &Compiled, settings: &Settings) -> BenchReport {
    let options = BenchOptions {
        verify: 1,
        ..BenchOptions::default()
    };
    let report = bench::bench_emulated(compiled, settings, &options, &mut |_, _| {})
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    bench::verdict(&report).unwrap_or_else(|e| panic!("{name}: {e}"));
    report
}
