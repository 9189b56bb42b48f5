//! Builds the self-test firmware for a board.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The boards that `tests/selftest` links for.
#[derive(Clone, Copy, Debug)]
pub enum Board {
    /// The board that nestc emits firmware for; runs in the emulator.
    #[allow(dead_code)] // Not every test that includes this file runs both.
    Stm32h743,
    /// The board that QEMU models.
    Mps2An500,
}

/// The self-test's ELF file, built anew where sources changed.
pub fn selftest(board: Board) -> PathBuf {
    let feature = match board {
        Board::Stm32h743 => "h743",
        Board::Mps2An500 => "mps2-an500",
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/selftest").join(feature);
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--features", feature])
        .args(["--target", "thumbv7em-none-eabihf", "--target-dir"])
        .arg(&target)
        .current_dir(root.join("tests/selftest"))
        // The outer build's flags are for the host.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "the self-test does not build (is the target thumbv7em-none-eabihf installed?):\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("thumbv7em-none-eabihf/release/selftest")
}
