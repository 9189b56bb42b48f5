//! Every finding from target to bench, as users read it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nest_device::mailbox::{self, Field, Status};
use nestc::bench::{self, BenchOptions, Compiled, Mark, ReplayRunner, Runner};
use nestc::data::DataSpec;
use nestc::diag::{Diagnostic, Diagnostics};
use nestc::emit::{self, Budgets, File, MARKER, read_program, write_program};
use nestc::image::{self, BuildOptions, ELF_NAME, Image, MAILBOX_SYMBOL};
use nestc::ir::ids::Id;
use nestc::ir::ids::LayerId;
use nestc::ir::program::Program;
use nestc::report::MeasuredBy;
use nestc::target::Board;
use nestc::units::Bytes;

use crate::support::{board, emit_to};
use crate::{golden, sample};

/// A device with words as memory: everything else reads 0.
struct Words {
    memory: BTreeMap<u32, u32>,
    breakpoint: u8,
}

const MAILBOX: u32 = 0x2000_0000;

impl Words {
    /// A device that says of itself what a good image would, but computes nothing.
    fn good(program: &Program) -> Self {
        let len = |t| program.tensors[t].shape.len() as u32;
        let mut device = Self {
            memory: BTreeMap::new(),
            breakpoint: mailbox::READY,
        };
        for (field, value) in [
            (Field::Magic, mailbox::MAGIC),
            (Field::Version, mailbox::VERSION),
            (Field::FormatVersion, nest_format::FORMAT_VERSION),
            (Field::Status, Status::Ready as u32),
            (Field::LevelCount, program.level_count() as u32),
            (Field::LayerCount, program.steps.len() as u32),
            (Field::InputAddress, 0x2400_0000),
            (Field::InputBytes, len(program.input)),
            (Field::OutputAddress, 0x2401_0000),
            (Field::OutputBytes, len(program.outputs[0])),
            (Field::ClockHz, 480_000_000),
        ] {
            device.set(field, value);
        }
        device
    }

    fn set(&mut self, field: Field, value: u32) {
        self.memory.insert(MAILBOX + field.offset(), value);
    }
}

impl Runner for Words {
    fn measured_by(&self) -> MeasuredBy {
        MeasuredBy::Probe
    }
    fn emulator_model(&self) -> Option<String> {
        None
    }
    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic> {
        for (i, bytes) in buffer.chunks_mut(4).enumerate() {
            let word = self.memory.get(&(address + 4 * i as u32)).unwrap_or(&0);
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
        Ok(())
    }
    fn write(&mut self, address: u32, _: &[u8]) -> Result<(), Diagnostic> {
        if address == MAILBOX + Field::Command.offset() {
            self.set(Field::Status, Status::Done as u32);
        }
        Ok(())
    }
    fn resume(&mut self) -> Result<u8, Diagnostic> {
        Ok(self.breakpoint)
    }
    fn take_marks(&mut self) -> Vec<Mark> {
        Vec::new()
    }
}

/// A folder's contents without the image, which no test here runs.
fn compiled() -> Compiled {
    Compiled {
        board: board(),
        program: sample::program("tiny", 2, 1),
        elf: Vec::new(),
        image: Image {
            entry: 0,
            segments: Vec::new(),
            sections: Vec::new(),
            symbols: [(MAILBOX_SYMBOL.to_string(), (MAILBOX, 4))].into(),
            format_version: nest_format::FORMAT_VERSION,
            flash_total: Bytes(0),
            itcm_bytes: Bytes(0),
        },
        head: None,
        decoder: None,
    }
}

fn run(runner: &mut dyn Runner, options: &BenchOptions) -> Diagnostics {
    match bench::bench(&compiled(), runner, options, &mut |_, _| {}) {
        Err(faults) => faults,
        Ok(report) => bench::verdict(&report).unwrap_err().into(),
    }
}

/// A stand-in for cargo that fails with a message.
fn failing_cargo(folder: &Path, name: &str, message: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    fs::write(
        &path,
        format!("#!/bin/sh\ncat >&2 <<'END'\n{message}\nEND\nexit 101\n"),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn emitting(program: &Program, budgets: Budgets) -> Diagnostics {
    emit::emit(program, &board(), budgets, None).unwrap_err()
}

#[test]
fn findings_from_target_to_bench_read_as_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let tiny = sample::program("tiny", 3, 1);
    let mut text = String::new();
    let mut show = |what: &str, faults: Diagnostics| {
        let faults = faults
            .to_string()
            .replace(&root.display().to_string(), "DIR");
        text += &format!("## {what}\n{faults}\n\n");
    };

    show(
        "an unknown target",
        Board::named("stm32f103").unwrap_err().into(),
    );

    let mut clash = tiny.clone();
    let output = clash.steps[LayerId::from_index(0)].output;
    clash.tensors[output].offset = 400;
    show("tensors that overlap", emitting(&clash, Budgets::default()));

    let budgets = Budgets {
        flash: Some(Bytes(1000)),
        ram: Some(Bytes(2000)),
        ..Budgets::default()
    };
    show("budgets too tight", emitting(&tiny, budgets));
    // The exact figures of the budget, and one byte less.
    let arena = tiny.arena_bytes.0.next_multiple_of(32);
    let fits = Budgets {
        flash: None,
        ram: Some(Bytes(arena + 8192)),
        ..Budgets::default()
    };
    emit::place(&tiny, &board(), fits).unwrap();
    let one_less = Budgets {
        flash: Some(Bytes(60_000)),
        ram: Some(Bytes(arena + 8191)),
        ..Budgets::default()
    };
    emit::place(&tiny, &board(), one_less).unwrap_err();
    emit::check_flash(&tiny, &board(), one_less, Bytes(60_000)).unwrap();
    let fault = emit::check_flash(&tiny, &board(), one_less, Bytes(60_001)).unwrap_err();
    show("an image larger than its budget", fault.into());
    let mut big = tiny.clone();
    big.arena_bytes = Bytes(600 * 1024);
    big.name = "Not A Crate".into();
    show(
        "more RAM than the board has, and a bad name",
        emitting(&big, Budgets::default()),
    );

    let foreign = root.join("thesis");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.tex"), "…").unwrap();
    let file = File {
        path: MARKER.into(),
        bytes: Vec::new(),
    };
    let fault = emit::write_folder(&foreign, &[file]).unwrap_err();
    show("a folder of something else", fault.into());
    assert_eq!(fs::read_to_string(foreign.join("thesis.tex")).unwrap(), "…");

    let mut bytes = write_program(&tiny);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    show(
        "a damaged program",
        read_program("program.bin", &bytes).unwrap_err().into(),
    );
    show(
        "no program",
        read_program("program.bin", b"").unwrap_err().into(),
    );

    let out = root.join("out");
    emit_to(&out, &tiny);
    for (what, cargo) in [
        ("no cargo", root.join("nowhere/cargo")),
        (
            "no Rust target",
            failing_cargo(root, "a", "error[E0463]: can't find crate for `core`"),
        ),
        (
            "another failure",
            failing_cargo(root, "b", "error: failed to download `cortex-m v0.7.10`"),
        ),
    ] {
        let options = BuildOptions {
            cargo: Some(cargo),
            ..BuildOptions::default()
        };
        // Compiling over an earlier output changes nothing of it.
        fs::write(out.join(ELF_NAME), "good").unwrap();
        let budgets = Budgets::default();
        let faults = image::compile(&tiny, &board(), budgets, &out, &options).unwrap_err();
        assert_eq!(fs::read_to_string(out.join(ELF_NAME)).unwrap(), "good");
        assert!(!root.join(".out.nestc").exists());
        fs::remove_file(out.join(ELF_NAME)).unwrap();
        show(what, faults);
    }
    show(
        "an image that is none",
        Image::read("firmware.elf", b"text", &board()).unwrap_err(),
    );

    show(
        "a folder without an image",
        Compiled::open(&out).unwrap_err(),
    );
    show(
        "a folder not by nestc",
        Compiled::open(&foreign).unwrap_err(),
    );
    let program = compiled().program;
    let options = BenchOptions::default();
    let mut other = Words::good(&program);
    other.set(Field::LayerCount, 7);
    show("an image of another program", run(&mut other, &options));
    let mut panicked = Words::good(&program);
    panicked.set(Field::Status, Status::Panicked as u32);
    panicked.breakpoint = mailbox::STOPPED;
    show("an image that panicked", run(&mut panicked, &options));
    show(
        "a device that computes zeros",
        run(&mut Words::good(&program), &options),
    );
    let few = BenchOptions {
        verify: 5,
        data: Some(DataSpec::parse("cifar10:models/cifar10-sample,limit=2,resize=12x12").unwrap()),
        ..BenchOptions::default()
    };
    show("too few inputs", run(&mut Words::good(&program), &few));
    show(
        "an empty recording",
        run(&mut ReplayRunner::new(Vec::new()), &options),
    );
    golden::check("firmware_errors", &text);
}
