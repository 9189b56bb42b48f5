//! What the tests share.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nestc::emit::{self, Budgets};
use nestc::image::BuildOptions;
use nestc::ir::program::Program;
use nestc::target::Board;

/// The board under test.
pub fn board() -> Board {
    Board::named("stm32h743").unwrap()
}

/// One build folder for all tests, so that what does not change is built once.
pub fn build_options() -> BuildOptions {
    BuildOptions {
        target_dir: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("firmware-build")),
        ..BuildOptions::default()
    }
}

/// Writes the workspace of a program into a fresh folder.
pub fn emit_to(folder: &Path, program: &Program) {
    let files =
        emit::emit(program, &board(), Budgets::default(), None).unwrap_or_else(|e| panic!("{e}"));
    emit::write_folder(folder, &files).unwrap_or_else(|e| panic!("{e}"));
}

/// A cargo command in an emitted workspace, with its settings and none of the outer cargo's.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(folder).args(args);
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        command.env_remove(variable);
    }
    command.env("CARGO_TARGET_DIR", build_options().target_dir.unwrap());
    command
}

/// Runs cargo in an emitted workspace.
pub fn cargo(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// As [`cargo`], and fails with its output.
pub fn cargo_ok(folder: &Path, args: &[&str]) {
    let output = cargo(folder, args);
    assert!(
        output.status.success(),
        "cargo {args:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What the host is called.
pub fn host_triple() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.unwrap().to_string()
}

/// Deterministic numbers (xorshift, G. Marsaglia, 2003).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    /// `0..n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
    /// `-limit..=limit`.
    pub fn signed(&mut self, limit: i64) -> i64 {
        self.below(2 * limit as u64 + 1) as i64 - limit
    }
    pub fn bytes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.next() as i8).collect()
    }
}
