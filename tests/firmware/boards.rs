//! Every board: its workspace compiles, and its image computes what the host computes, in the emulator
//! and, for those that QEMU models, in QEMU.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use nestc::bench::{self, BenchOptions, Compiled, Settings};
use nestc::diag;
use nestc::emit::{self, Budgets};
use nestc::image::{self, ELF_NAME, Image};
use nestc::ir::program::Program;
use nestc::target::{Board, CoreKind};
use nestc::units::Bytes;

use crate::qemu::Qemu;
use crate::sample;
use crate::support::build_options;

const VERIFIED: BenchOptions = BenchOptions {
    verify: 2,
    data: None,
    accuracy_images: 0,
    seed: 7,
};

/// The program that holds every kind of layer, built for every board. One folder serves them all, and
/// files that do not differ stay as they are, so that cargo builds anew only what depends on the board.
static BUILT: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let program = sample::program("tiny", 3, 2);
    (Board::all().into_iter())
        .map(|board| build(folder.path(), &program, board))
        .collect()
});

fn build(folder: &Path, program: &Program, board: Board) -> Compiled {
    let name = board.name.clone();
    let files =
        emit::emit(program, &board, Budgets::default(), None).unwrap_or_else(|e| panic!("{e}"));
    for file in &files {
        let path = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if fs::read(&path).ok().as_ref() != Some(&file.bytes) {
            fs::write(&path, &file.bytes).unwrap();
        }
    }
    let elf = image::build(folder, &board, &program.name, &build_options())
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let image = Image::read(&name, &elf, &board).unwrap_or_else(|e| panic!("{name}: {e}"));
    Compiled {
        board,
        program: program.clone(),
        elf,
        image,
        head: None,
        decoder: None,
    }
}

#[test]
fn every_board_runs_its_image_bit_exactly_in_the_emulator() {
    for compiled in BUILT.iter() {
        let board = &compiled.board;
        let settings = Settings::of(board);
        let report = bench::bench_emulated(compiled, &settings, &VERIFIED, &mut |_, _| ())
            .unwrap_or_else(|e| panic!("{}: {e}", board.name));
        bench::verdict(&report).unwrap_or_else(|e| panic!("{}: {e}", board.name));
        assert_eq!((report.bit_exact.inputs, report.levels.len()), (2, 3));
        assert_eq!(report.clock_hz, board.clock.core_hz);
        let modelled = board.core.kind == CoreKind::CortexM7;
        for level in &report.levels {
            assert_eq!(level.cycles.is_some(), modelled, "{}", board.name);
            assert_eq!(level.latency_ms.is_some(), modelled);
            assert!(level.instructions.0 > 0);
            if let (Some(cycles), Some(pessimistic)) = (level.cycles, level.cycles_pessimistic) {
                assert!(0 < cycles.0 && cycles < pessimistic, "{}", board.name);
            }
        }
        let missing = "no cycle model for Cortex-M4";
        assert_eq!(report.table().contains(missing), !modelled);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["levels"][0]["cycles"].is_null(), !modelled);
        assert_eq!(json["cycles_missing"] == missing, !modelled);
    }
}

#[test]
fn memories_hold_what_they_should_on_every_board() {
    for Compiled { board, image, .. } in BUILT.iter() {
        let in_memory = |section: &str| {
            let section = image.sections.iter().find(|s| s.name == section)?;
            board
                .memory_at(section.address.into())
                .map(|m| m.name.as_str())
        };
        let (flash, data) = (Some(board.flash()), Some(board.data()));
        for (section, memory) in [
            (".text", flash),
            (".rodata", flash),
            (".bss", data),
            (".nest.itcm", board.itcm()),
            (".nest.kernels", flash.filter(|_| board.itcm().is_none())),
        ] {
            let expected = memory.map(|m| m.name.as_str());
            assert_eq!(in_memory(section), expected, "{}: {section}", board.name);
        }
        assert_eq!(image.itcm_bytes.0 > 0, board.itcm().is_some());
    }
}

/// The same image, the same inputs, and nothing of ours that executes: QEMU's Cortex-M7 and Cortex-M4.
#[test]
fn bench_images_are_bit_exact_in_qemu() {
    let folder = tempfile::tempdir().unwrap();
    let mut cores = Vec::new();
    for compiled in (BUILT.iter()).filter(|c| c.board.name.starts_with("mps2-")) {
        let mut qemu = Qemu::start(compiled, &folder.path().join("firmware.elf"));
        let report = bench::bench(compiled, &mut qemu, &VERIFIED, &mut |_, _| ())
            .unwrap_or_else(|e| panic!("{}: {e}", compiled.board.name));
        bench::verdict(&report).unwrap_or_else(|e| panic!("{}: {e}", compiled.board.name));
        assert_eq!((report.bit_exact.inputs, report.levels.len()), (2, 3));
        cores.push(compiled.board.core.kind);
    }
    assert_eq!(cores, [CoreKind::CortexM7, CoreKind::CortexM4]);
}

#[test]
fn the_arena_goes_where_it_fits() {
    let memory = |board: &str, kib: u64| {
        let mut program = sample::program("tiny", 1, 1);
        program.arena_bytes = Bytes(kib * 1024);
        let board = Board::named(board).unwrap();
        match emit::place(&program, &board, Budgets::default()) {
            Ok(memory) => memory.name.clone(),
            Err(faults) => {
                assert_eq!(faults.0[0].code, diag::RAM_OVERFLOW);
                "none".into()
            }
        }
    };
    for (board, kib, expected) in [
        ("stm32h743", 100, "DTCM"),
        ("stm32h743", 130, "AXISRAM"),
        ("stm32h743", 520, "none"),
        ("stm32h7a3", 1000, "AXISRAM"),
        ("stm32f746", 40, "DTCM"),
        ("stm32f746", 60, "SRAM"),
        ("stm32f767", 100, "DTCM"),
        ("stm32f446", 110, "SRAM"),
        // The stack needs room in the same memory.
        ("stm32f446", 122, "none"),
        ("stm32l4r5", 620, "SRAM"),
        ("mps2-an500", 3000, "SSRAM23"),
    ] {
        assert_eq!(memory(board, kib), expected, "{kib} KiB on {board}");
    }
}

/// What a workspace says of its board in files that cargo and people read.
#[test]
fn workspaces_name_their_cores_and_probes() {
    let program = sample::program("tiny", 1, 1);
    for board in Board::all() {
        let files = emit::emit(&program, &board, Budgets::default(), None).unwrap();
        let file = |path: &str| {
            let file = files.iter().find(|file| file.path == path).unwrap();
            String::from_utf8(file.bytes.clone()).unwrap()
        };
        let config: toml::Table = file(".cargo/config.toml").parse().unwrap();
        let target = &config["target"][&board.rust_target];
        let mut flags = vec!["-C".into(), format!("target-cpu={}", board.rust_target_cpu)];
        if board.name == "stm32f746" {
            flags.extend(["-C".into(), "target-feature=-fp64".to_string()]);
        }
        let found: Vec<String> = target["rustflags"].clone().try_into().unwrap();
        assert_eq!(found, flags, "{}", board.name);
        let real = !board.name.starts_with("mps2-");
        assert_eq!(target.get("runner").is_some(), real, "{}", board.name);
        assert_eq!(
            file("README.md").contains("probe-rs"),
            real,
            "{}",
            board.name
        );
        let placed = file("program.txt");
        assert_eq!(placed.contains("\nmemory ITCM"), board.itcm().is_some());
    }
}

#[test]
fn conditions_on_cycles_are_refused_without_a_cycle_model() {
    let folder = tempfile::tempdir().unwrap();
    let compiled = BUILT.iter().find(|c| c.board.name == "stm32f446").unwrap();
    let files = emit::emit(&compiled.program, &compiled.board, Budgets::default(), None).unwrap();
    for file in files.iter().filter(|file| !file.path.contains('/')) {
        fs::write(folder.path().join(&file.path), &file.bytes).unwrap();
    }
    fs::write(folder.path().join(ELF_NAME), &compiled.elf).unwrap();
    let nestc = |condition: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_nestc"))
            .args(["bench", "--verify", "1", "--fail-if", condition])
            .arg(folder.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    for condition in [
        "cycles > 1M",
        "latency_ms > 3",
        "cycles_pessimistic[level=0] > 1",
    ] {
        let (code, text) = nestc(condition);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("E006"), "{text}");
        assert!(text.contains("no cycle model for Cortex-M4"), "{text}");
    }
    let (code, text) = nestc("ram > 128k");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("bit-exact with the host on 1 inputs"),
        "{text}"
    );
}

#[test]
fn studies_compare_cycles_and_are_refused_without_them() {
    let output = Command::new(env!("CARGO_BIN_EXE_nestc"))
        .args([
            "study",
            "net.onnx",
            "--data",
            "cifar10:nowhere",
            "-o",
            "nowhere",
        ])
        .args(["--target", "stm32l4r5"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("no cycle model for Cortex-M4"), "{text}");
}
