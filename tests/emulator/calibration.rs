//! Calibration without hardware: the firmware runs in emulators whose constants were altered, and what
//! it printed must lead back to exactly these constants.

use std::path::{Path, PathBuf};
use std::process::Command;

use nestc::bench::{Settings, calibrate, rehearse};
use nestc::emulator::{LongMultiplyPairing, TimingConfig};
use nestc::target::Board;

/// The calibration firmware, built anew where sources changed.
fn firmware() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/calibrate");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked"])
        .args(["--target", "thumbv7em-none-eabihf", "--target-dir"])
        .arg(&target)
        .current_dir(root.join("tests/calibrate"))
        // The outer build's flags are for the host.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "the calibration firmware does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("thumbv7em-none-eabihf/release/calibrate")
}

/// Boards that might be: each constant at several values, in changing company.
fn boards() -> Vec<TimingConfig> {
    use LongMultiplyPairing::*;
    let standard = [TimingConfig::expected(), TimingConfig::pessimistic()];
    let altered = (0..12u8).map(|k| TimingConfig {
        name: format!("board {k}"),
        long_multiply_pairing: [AnyLoad, ImmediateOffset, Never][usize::from(k) % 3],
        load_word_to_address: 2 + k % 2,
        load_word_to_factor: 1 + k % 3,
        load_narrow_to_factor: 2 + k / 2 % 2,
        mispredict: 5 + k % 8,
        mispredict_early_flags: 5 + (k + 3) % 8,
        flash_line_fill: 20 + 40 * k / 11,
        sram_line_fill: 60 - 40 * k / 11,
        store_miss: k,
        dirty_eviction: 20 - k,
        ..standard[usize::from(k) % 2].clone()
    });
    standard.iter().cloned().chain(altered).collect()
}

#[test]
fn calibration_finds_the_constants_of_an_altered_emulator() {
    let elf = std::fs::read(firmware()).expect("the built firmware");
    for board in boards() {
        let measured = rehearse("firmware", &elf, &board).unwrap_or_else(|e| panic!("{e}"));
        let found = calibrate("firmware", &elf, &measured).unwrap_or_else(|e| panic!("{e}"));
        let name = &board.name;
        let constants = toml::Table::try_from(&board).expect("constants");
        assert_eq!(found.constants.len(), 10);
        for (constant, value) in &found.constants {
            assert_eq!(*value, constants[constant], "{name}: {constant}");
        }
        for m in &found.measurements {
            assert_eq!(m.board_cycles, m.model_cycles, "{name}: {}", m.measurement);
        }
        assert!(found.misfits("log").is_empty());

        // And the file says so to `bench --timing`, in either setting.
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("timing.toml");
        std::fs::write(&file, found.file(name)).expect("written");
        let h743 = Board::named("stm32h743").unwrap_or_else(|e| panic!("{e}"));
        let settings =
            Settings::named(&file.to_string_lossy(), &h743).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(settings.main.name, *name);
        for setting in [&settings.main, &settings.pessimistic] {
            let read = toml::Table::try_from(setting).expect("constants");
            for (constant, value) in &found.constants {
                assert_eq!(*value, read[constant], "{name}: {constant}");
            }
        }
    }
}
