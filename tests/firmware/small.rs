//! Hand-built programs.

use nestc::bench::{self, BenchOptions, Compiled, EmulatorRunner};
use nestc::emit::{Budgets, read_program, write_program};
use nestc::image;

use crate::sample;
use crate::support::{board, build_options, cargo_ok, emit_to};

#[test]
fn a_program_file_reads_back_as_it_was() {
    let program = sample::program("tiny", 3, 2);
    let bytes = write_program(&program);
    assert_eq!(read_program("x", &bytes).unwrap(), program);
    for at in [0, 9, 20, 44, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let fault = read_program("x", &damaged).unwrap_err();
        assert_eq!(fault.code, nestc::diag::PROGRAM_FILE, "byte {at}");
    }
    assert!(read_program("x", &bytes[..bytes.len() - 1]).is_err());
    assert!(read_program("x", b"").is_err());
}

#[test]
fn emitted_sources_are_formatted_and_lint_free() {
    for (levels, outputs) in [(1, 1), (3, 2), (6, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        emit_to(&out, &sample::program("tiny", levels, outputs));
        cargo_ok(&out, &["fmt", "--all", "--check"]);
        cargo_ok(
            &out,
            &[
                "clippy",
                "--release",
                "--locked",
                "--workspace",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ],
        );
    }
}

#[test]
fn every_kind_of_layer_is_bit_exact_on_the_device() {
    for (name, levels, outputs) in [("tiny_nested", 3, 1), ("tiny_plain", 1, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let program = sample::program(name, levels, outputs);
        let report = image::compile(
            &program,
            &board(),
            Budgets::default(),
            &out,
            &build_options(),
        )
        .unwrap_or_else(|e| panic!("{e}"));
        println!("{}", report.table());
        let compiled = Compiled::open(&out).unwrap_or_else(|e| panic!("{e}"));
        let mut runner = EmulatorRunner::new(&compiled).unwrap();
        let options = BenchOptions {
            verify: 4,
            ..BenchOptions::default()
        };
        let report = bench::bench(&compiled, &mut runner, &options, &mut |_, _| {})
            .unwrap_or_else(|e| panic!("{e}"));
        println!("{}", report.table());
        bench::verdict(&report).unwrap_or_else(|e| panic!("{e}"));
    }
}
