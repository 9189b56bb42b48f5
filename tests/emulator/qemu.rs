//! Runs firmware in QEMU's Cortex-M7 and in nestc's emulator, and holds them equal: the same
//! console output and the same count of instructions between any two semihosting calls.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nestc::emulator::{Machine, MemoryMap, Stop, TimingConfig};
use nestc::units::Instructions;

/// What a run did, in either emulator.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// Everything written by semihosting.
    pub console: String,
    /// The exit code.
    pub exit: u32,
    /// Instructions executed up to and including each semihosting call.
    pub calls: Vec<u64>,
}

/// A file of this test, wherever the test is run from.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/emulator")
        .join(path)
}

/// A folder for what these tests build, below cargo's target folder.
pub fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("emulator")
        .join(name);
    std::fs::create_dir_all(&folder).expect("scratch folder");
    folder
}

fn run_tool(command: &mut Command, install: &str) -> std::process::Output {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) => output,
        Err(e) => panic!("cannot start {name}: {e}\ninstall it: apt-get install {install}"),
    }
}

/// QEMU's major and minor version.
fn qemu_version() -> (u32, u32) {
    let output = run_tool(
        Command::new("qemu-system-arm").arg("--version"),
        "qemu-system-arm",
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("version ").nth(1).unwrap_or_default();
    let mut parts = version
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|p| p.parse().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => panic!("no version in what qemu-system-arm --version says:\n{text}"),
    }
}

/// Compiles the counting plugin once per test run and gives its path.
fn plugin() -> &'static Path {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let (major, minor) = qemu_version();
        let library = scratch("plugin").join(format!("count-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror"]);
        cc.arg(format!("-DQEMU_VERSION={}", major * 100 + minor));
        cc.arg("-o").arg(&library).arg(source("count_plugin.c"));
        let output = run_tool(&mut cc, "gcc");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        library
    })
}

/// Runs `elf`, linked for the board mps2-an500, in QEMU.
pub fn in_qemu(elf: &Path) -> Run {
    let plugin = plugin();
    let counts = scratch("counts").join(format!(
        "{}-{}.txt",
        elf.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    let mut qemu = Command::new("timeout");
    qemu.args([
        "120",
        "qemu-system-arm",
        "-M",
        "mps2-an500",
        "-cpu",
        "cortex-m7",
    ]);
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "none"]);
    qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel"]);
    qemu.arg(elf).arg("-plugin");
    qemu.arg(format!(
        "file={},out={}",
        plugin.display(),
        counts.display()
    ));
    let output = run_tool(&mut qemu, "qemu-system-arm");
    // SYS_WRITE0 and SYS_WRITEC go to stderr.
    let console = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    assert_ne!(
        code,
        Some(124),
        "QEMU did not end within 120 s; console:\n{console}"
    );
    let text = std::fs::read_to_string(&counts)
        .unwrap_or_else(|e| panic!("no counts from the plugin: {e}; QEMU said:\n{console}"));
    let calls = text
        .lines()
        .map(|l| l.parse().expect("a count per line"))
        .collect();
    let _ = std::fs::remove_file(&counts);
    Run {
        console,
        exit: code.expect("an exit code") as u32,
        calls,
    }
}

/// Runs `elf` in nestc's emulator on the same board.
pub fn in_emulator(elf: &Path, timing: TimingConfig) -> Run {
    let bytes = std::fs::read(elf).unwrap_or_else(|e| panic!("{}: {e}", elf.display()));
    let mut machine = Machine::new(MemoryMap::mps2_an500(), timing);
    machine.load_elf(&bytes).unwrap_or_else(|e| panic!("{e}"));
    let stop = machine
        .run(Instructions(20_000_000_000))
        .unwrap_or_else(|fault| {
            panic!(
                "{fault}; console:\n{}",
                String::from_utf8_lossy(machine.console())
            )
        });
    let Stop::Exited(exit) = stop else {
        panic!("{stop:?} instead of an exit")
    };
    Run {
        console: String::from_utf8_lossy(machine.console()).into_owned(),
        exit,
        calls: machine.semihosting_calls().iter().map(|i| i.0).collect(),
    }
}

/// Runs `elf` in both and asserts that they agree; returns the run. `timing` must not matter.
///
/// # Panics
/// On the first line of output or the first count that differs.
pub fn compare(elf: &Path, timing: TimingConfig) -> Run {
    let expected = in_qemu(elf);
    let actual = in_emulator(elf, timing);
    for (number, (e, a)) in expected
        .console
        .lines()
        .zip(actual.console.lines())
        .enumerate()
    {
        assert_eq!(
            a,
            e,
            "{}: console line {} (left: nestc, right: QEMU)",
            elf.display(),
            number + 1
        );
    }
    assert_eq!(
        actual.console.len(),
        expected.console.len(),
        "length of the console output"
    );
    assert_eq!(actual.exit, expected.exit, "exit code");
    let deltas = |calls: &[u64]| -> Vec<u64> {
        calls
            .iter()
            .scan(0, |last, &c| Some(c - std::mem::replace(last, c)))
            .collect()
    };
    let (e, a) = (deltas(&expected.calls), deltas(&actual.calls));
    for (number, (e, a)) in e.iter().zip(&a).enumerate() {
        assert_eq!(
            a, e,
            "instructions before semihosting call {number} (left: nestc, right: QEMU)"
        );
    }
    assert_eq!(a.len(), e.len(), "number of semihosting calls");
    actual
}

/// Builds a binary of `tests/emulator/firmware` for the board mps2-an500.
pub fn firmware(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let target = scratch("firmware");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--release",
            "--offline",
            "--target",
            "thumbv7em-none-eabihf",
        ]);
        // Run in its folder, where .cargo/config.toml names the linker script; and without what
        // the outer cargo sets for its own build.
        cargo
            .current_dir(source("firmware"))
            .arg("--target-dir")
            .arg(&target);
        cargo
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        let output = run_tool(&mut cargo, "cargo");
        assert!(
            output.status.success(),
            "{}\nif the target is missing: rustup target add thumbv7em-none-eabihf",
            String::from_utf8_lossy(&output.stderr)
        );
        target.join("thumbv7em-none-eabihf/release")
    });
    folder.join(name)
}
