//! Hand-built programs.

use std::fs;
use std::path::Path;

use nestc::bench::{
    self, BenchOptions, Compiled, EmulatorRunner, Exchange, Recorder, ReplayRunner, Runner,
    Settings,
};
use nestc::diag;
use nestc::emit::{Budgets, read_program, write_program};
use nestc::image::{self, Image};
use nestc::ir::eval::Executor;
use nestc::ir::ids::{Id, LayerId, Level};
use nestc::ir::program::Program;
use nestc::report::{BenchReport, MeasuredBy};
use nestc::target::MemoryKind;
use nestc::units::{Bytes, Cycles};

use crate::sample;
use crate::support::{
    Random, board, build_options, cargo, cargo_ok, command, emit_to, host_triple,
};

#[test]
fn a_program_file_reads_back_as_it_was() {
    let program = sample::program("tiny", 3, 2);
    let bytes = write_program(&program);
    assert_eq!(read_program("x", &bytes).unwrap(), program);
    for at in [0, 9, 20, 44, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let fault = read_program("x", &damaged).unwrap_err();
        assert_eq!(fault.code, diag::PROGRAM_FILE, "byte {at}");
    }
    assert!(read_program("x", &bytes[..bytes.len() - 1]).is_err());
    assert!(read_program("x", b"").is_err());
}

#[test]
fn emitted_sources_are_formatted_and_lint_free() {
    // One level and one output, several of both, and enough levels that arrays need several lines.
    for (levels, outputs) in [(1, 1), (3, 2), (6, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        emit_to(&out, &sample::program("tiny", levels, outputs));
        cargo_ok(&out, &["fmt", "--all", "--check"]);
        cargo_ok(
            &out,
            &[
                "clippy",
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

/// A test file for the emitted model: every layer's checksum, and the outputs.
const HOST_TEST: &str = r#"
use tiny::{Arena, INPUT_LEN, LAYERS, Level};

#[test]
fn prints_what_it_computes() {
    let mut input = [0; INPUT_LEN];
    for (byte, element) in include_bytes!("input.bin").iter().zip(&mut input) {
        *element = *byte as i8;
    }
    let mut arena = Arena::new();
    for level in Level::ALL {
        let mut seen = 0;
        tiny::run_with(level, &input, &mut arena, |layer, output| {
            assert_eq!(layer, &LAYERS[seen]);
            seen += 1;
            println!("{} {} {}", level.index(), layer.index, nest_format::checksum(output));
        });
        assert_eq!(seen, LAYERS.len());
    }
    assert_eq!(Level::from_index(Level::ALL.len()), None);
}
"#;

#[test]
fn the_model_crate_runs_on_the_host_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let program = sample::program("tiny", 3, 2);
    emit_to(&out, &program);
    let input = Random(77).bytes(432);
    fs::create_dir(out.join("model/tests")).unwrap();
    fs::write(out.join("model/tests/host.rs"), HOST_TEST).unwrap();
    let raw: Vec<u8> = input.iter().map(|&q| q as u8).collect();
    fs::write(out.join("model/tests/input.bin"), raw).unwrap();
    // The unoptimised build, with its overflow checks and the kernels' assertions. The example in
    // the documentation is compiled and run, too.
    let host = host_triple();
    let args = [
        "test",
        "--quiet",
        "--package",
        "tiny",
        "--target",
        &host,
        "--",
        "--nocapture",
    ];
    let output = cargo(&out, &args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
    let mut doc = command(
        &out,
        &[
            "doc",
            "--quiet",
            "--no-deps",
            "--package",
            "tiny",
            "--target",
            &host,
        ],
    );
    let doc = doc.env("RUSTDOCFLAGS", "-D warnings").output().unwrap();
    assert!(
        doc.status.success(),
        "{}",
        String::from_utf8_lossy(&doc.stderr)
    );
    let mut executor = Executor::new(&program);
    for level in 0..3 {
        executor.run_with(Level::from_index(level), &input, &mut |step| {
            let line = format!("{level} {} {}\n", step.step.index(), step.checksum());
            assert!(text.contains(&line), "no line `{line}` in\n{text}");
        });
    }
}

fn compile(program: &Program, out: &Path) -> Compiled {
    image::compile(program, &board(), Budgets::default(), out, &build_options())
        .unwrap_or_else(|e| panic!("{e}"));
    Compiled::open(out).unwrap_or_else(|e| panic!("{e}"))
}

fn measure(compiled: &Compiled, runner: &mut dyn Runner, verify: usize) -> BenchReport {
    let options = BenchOptions {
        verify,
        ..BenchOptions::default()
    };
    bench::bench(compiled, runner, &options, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_kind_of_layer_is_bit_exact_on_the_device() {
    for (name, levels, outputs) in [("tiny_nested", 3, 1), ("tiny_plain", 1, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let program = sample::program(name, levels, outputs);
        let compiled = compile(&program, &out);
        elf_facts(&compiled.image);
        output_files(&out, &compiled.image);
        let mut recorder = Recorder::new(EmulatorRunner::new(&compiled).unwrap());
        let report = measure(&compiled, &mut recorder, 4);
        bench::verdict(&report).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(report.bit_exact.inputs, 4);
        assert_eq!(report.levels.len(), levels);
        assert_eq!(report.levels[0].layers.len(), program.steps.len());
        // Denser levels take longer, and the first run, with cold caches, longer than the median.
        for pair in report.levels.windows(2) {
            assert!(pair[0].cycles < pair[1].cycles);
        }
        for level in &report.levels {
            assert!(level.cold_cycles > level.cycles);
            assert!(
                level
                    .layers
                    .iter()
                    .all(|l| l.cycles.unwrap().0 > 0 && l.instructions.0 > 0)
            );
        }
        let stack = report.ram_bytes.stack.0;
        assert!((100..4096).contains(&stack), "{stack} bytes of stack");
        replayed(&compiled, recorder.exchanges, &report);
    }
}

/// Both settings side by side, on machines of their own: cycles do not depend on what else is asked
/// for, and the constants of a timing file reach the machine.
#[test]
fn both_settings_are_measured_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let compiled = compile(&sample::program("tiny_settings", 3, 1), &out);
    let measure = |settings: &Settings, verify| {
        let options = BenchOptions {
            verify,
            ..BenchOptions::default()
        };
        let mut heard = Vec::new();
        let report = bench::bench_emulated(&compiled, settings, &options, &mut |done, total| {
            heard.push((done, total));
        })
        .unwrap_or_else(|e| panic!("{e}"));
        let total = 3 * (verify + 2);
        assert_eq!(heard, (1..=total).map(|n| (n, total)).collect::<Vec<_>>());
        bench::verdict(&report).unwrap_or_else(|e| panic!("{e}"));
        report
    };
    let standard = measure(&Settings::of(&board()), 3);
    assert_eq!(standard.bit_exact.inputs, 3);
    assert_eq!(standard.timing.as_deref(), Some("expected"));
    for level in &standard.levels {
        let layers = level.layers.iter();
        let pessimistic: Cycles = layers.filter_map(|l| l.cycles_pessimistic).sum();
        assert_eq!(level.cycles_pessimistic, Some(pessimistic));
        assert!(Some(pessimistic) > level.cycles);
    }
    let unverified = measure(&Settings::of(&board()), 0);
    assert_eq!(unverified.levels, standard.levels);

    let file = folder.path().join("slow_flash.toml");
    fs::write(&file, "flash_line_fill = 200\n").unwrap();
    let slow = measure(
        &Settings::named(&file.to_string_lossy(), &board()).unwrap(),
        0,
    );
    assert_eq!(slow.timing.as_deref(), Some("slow_flash"));
    for (level, before) in slow.levels.iter().zip(&standard.levels) {
        // What was measured holds in both settings.
        assert!(level.cold_cycles > before.cold_cycles);
        assert!(level.cycles_pessimistic > before.cycles_pessimistic);
    }
}

/// A recorded session gives the same report, and a device that computes something else is caught.
fn replayed(compiled: &Compiled, exchanges: Vec<Exchange>, report: &BenchReport) {
    let mut replay = ReplayRunner::new(exchanges.clone());
    let mut again = measure(compiled, &mut replay, 4);
    assert_eq!(again.measured_by, MeasuredBy::Replay);
    again.measured_by = report.measured_by;
    again.emulator_model.clone_from(&report.emulator_model);
    again.timing.clone_from(&report.timing);
    assert_eq!(&again, report);

    // The checksums are the first read of the mailbox behind its start that is long enough.
    let mailbox = compiled.image.address_of(image::MAILBOX_SYMBOL).unwrap();
    let layers = compiled.program.steps.len();
    let mut wrong = exchanges;
    let checksums = wrong.iter_mut().find_map(|exchange| match exchange {
        Exchange::Read { address, bytes } if *address > mailbox && bytes.len() == 4 * layers => {
            Some(bytes)
        }
        _ => None,
    });
    checksums.unwrap()[4 * 7] ^= 1;
    let report = measure(compiled, &mut ReplayRunner::new(wrong), 4);
    assert_eq!(report.bit_exact.mismatches, 1);
    let fault = bench::verdict(&report).unwrap_err();
    assert_eq!(fault.code, diag::NOT_BIT_EXACT);
    assert_eq!(fault.code.info().exit.code(), 1);
    let step = &compiled.program.steps[LayerId::from_index(7)];
    assert_eq!(fault.place, format!("layer {}", step.name));
}

/// What lies where, and what must not be in an image.
fn elf_facts(image: &Image) {
    let board = board();
    let inside = |address: u32, kind| board.memory(kind).unwrap().contains(address.into());
    for (name, kind) in [
        (".text", MemoryKind::Flash),
        (".rodata", MemoryKind::Flash),
        (".nest.itcm", MemoryKind::Itcm),
        (".bss", MemoryKind::Dtcm),
    ] {
        let section = image.sections.iter().find(|s| s.name == name).unwrap();
        assert!(inside(section.address, kind), "{section:?}");
    }
    let mut layers = 0;
    for (name, &(address, size)) in &image.symbols {
        // No formatting, no heap, and no index of the model that could be out of range.
        for unwanted in ["4core3fmt", "panic_bounds_check", "slice_index", "alloc"] {
            assert!(!name.contains(unwanted), "{name}");
        }
        if name.contains("layers") && size > 0 {
            layers += u32::from(name.contains("3run"));
            if ["STREAM", "PREFIX", "WEIGHTS", "REQUANT", "TABLE"]
                .iter()
                .any(|data| name.contains(data))
            {
                assert!(inside(address, MemoryKind::Flash), "{name} at {address:#x}");
            }
        }
    }
    assert!(
        layers >= 19,
        "a function for each layer, and {layers} are there"
    );
}

fn output_files(out: &Path, image: &Image) {
    let bin = fs::read(out.join(image::BIN_NAME)).unwrap();
    let flash = board().flash().origin;
    for segment in &image.segments {
        let at = (segment.address - flash) as usize;
        assert_eq!(&bin[at..][..segment.bytes.len()], &segment.bytes[..]);
    }
    let stack = u32::from_le_bytes(bin[..4].try_into().unwrap());
    let dtcm = board().data().clone();
    assert!(
        dtcm.contains(u64::from(stack) - 4),
        "the stack begins at {stack:#x}"
    );
    let arena = (image.symbols.iter()).find(|(name, _)| name.contains("ARENA"));
    let (_, &(arena, _)) = arena.expect("a symbol");
    assert!(dtcm.contains(arena.into()), "the arena is at {arena:#x}");
    let plan = fs::read_to_string(out.join("program.txt")).unwrap();
    for line in [
        "DTCM arena",
        "DTCM stack",
        "ITCM inner loops",
        "FLASH weights",
    ] {
        assert!(plan.contains(&format!("\nmemory {line}")), "{plan}");
    }
    // The reset vector is the entry point.
    assert_eq!(bin[4..8], image.entry.to_le_bytes());
    let hex = fs::read_to_string(out.join(image::HEX_NAME)).unwrap();
    assert!(hex.starts_with(":020000040800F2\n") && hex.ends_with(":00000001FF\n"));
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join(image::REPORT_NAME)).unwrap()).unwrap();
    let flash = &report["flash_bytes"];
    let parts = ["weights", "indices", "requant", "code"].map(|p| flash[p].as_u64().unwrap());
    assert_eq!(flash["total"].as_u64().unwrap(), parts.iter().sum::<u64>());
    assert_eq!(flash["total"].as_u64().unwrap(), image.flash_total.0);
}

#[test]
fn a_large_arena_goes_to_the_bus_memory() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut program = sample::program("tiny_wide", 1, 1);
    // The output alone at the end.
    let output = &mut program.tensors[program.outputs[0]];
    output.offset = 200 * 1024 - output.shape.len().next_multiple_of(4);
    program.arena_bytes = Bytes(200 * 1024);
    let compiled = compile(&program, &out);
    let sram = board().sram().clone();
    let section = (compiled.image.sections.iter())
        .find(|s| s.name == ".nest.sram")
        .unwrap();
    assert!(sram.contains(section.address.into()) && section.bytes.0 > 200 * 1024);
    let plan = fs::read_to_string(out.join("program.txt")).unwrap();
    assert!(
        plan.contains("\nmemory AXISRAM arena\nmemory DTCM stack\n"),
        "{plan}"
    );
    let mut runner = EmulatorRunner::new(&compiled).unwrap();
    let report = measure(&compiled, &mut runner, 1);
    bench::verdict(&report).unwrap_or_else(|e| panic!("{e}"));
}
