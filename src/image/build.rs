//! Building an emitted workspace with cargo.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use crate::detect::Head;
use crate::diag::{BUILD_FAILED, CARGO_MISSING, Diagnostic, RUST_TARGET_MISSING};
use crate::report::Quantisation;
use crate::target::Board;

/// The environment variable that names a build folder shared by several workspaces.
pub const TARGET_DIR_VARIABLE: &str = "NESTC_TARGET_DIR";

/// Lines of cargo's output that a diagnostic quotes.
const QUOTED_LINES: usize = 20;

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// The build folder; otherwise that of `NESTC_TARGET_DIR`, otherwise `target` in the workspace.
    pub target_dir: Option<PathBuf>,
    /// The cargo to start; otherwise that of `CARGO`, otherwise `cargo`.
    pub cargo: Option<PathBuf>,
    /// What the outputs mean, if they are boxes.
    pub head: Option<Head>,
    /// What was measured of the model before, for the report.
    pub quantisation: Option<Quantisation>,
}

/// Builds the bench image of the workspace in `folder` and gives the ELF file's
/// contents.
///
/// # Errors
/// `E607` without cargo, `E608` without the board's Rust target, `E609` if cargo fails otherwise.
pub fn build(
    folder: &Path,
    board: &Board,
    model: &str,
    options: &BuildOptions,
) -> Result<Vec<u8>, Diagnostic> {
    let folder = std::path::absolute(folder)
        .map_err(|e| Diagnostic::io(folder, "find the absolute path", &e))?;
    let target_dir = options
        .target_dir
        .clone()
        .or_else(|| env::var_os(TARGET_DIR_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| folder.join("target"));
    let target_dir = std::path::absolute(&target_dir)
        .map_err(|e| Diagnostic::io(&target_dir, "find the absolute path", &e))?;
    let cargo = (options.cargo.clone().map(OsString::from))
        .or_else(|| env::var_os("CARGO"))
        .unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(&cargo);
    command
        .current_dir(&folder)
        .args(["build", "--release", "--locked", "--quiet", "--package"])
        .arg(format!("{model}-bench"))
        .args(["--target", &board.rust_target, "--target-dir"])
        .arg(&target_dir);
    // The workspace's own settings hold; what the caller's shell or an outer cargo sets does not.
    for (variable, _) in env::vars_os() {
        if changes_the_build(&variable.to_string_lossy()) {
            command.env_remove(&variable);
        }
    }
    // Every workspace's image has the same path in a shared build folder: no other may be built
    // there before this one is read.
    let _lock = lock(&target_dir)?;
    let output = command
        .output()
        .map_err(|error| not_started(&cargo, &error))?;
    if output.status.success() {
        let elf = target_dir.join(&board.rust_target).join("release/firmware");
        return fs::read(&elf).map_err(|e| Diagnostic::io(&elf, "read the image", &e));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(failed(&folder, board, &stderr))
}

/// Waits until this process alone builds images in a build folder; until the file is closed.
fn lock(target_dir: &Path) -> Result<fs::File, Diagnostic> {
    fs::create_dir_all(target_dir)
        .map_err(|e| Diagnostic::io(target_dir, "create the folder", &e))?;
    let path = target_dir.join(".nestc-lock");
    let file = fs::File::create(&path).map_err(|e| Diagnostic::io(&path, "create the file", &e))?;
    file.lock()
        .map_err(|e| Diagnostic::io(&path, "lock the file", &e))?;
    Ok(file)
}

/// Whether cargo or rustc take a variable as a setting that changes what is built.
/// (The Cargo Book, "Environment Variables" and "Configuration".)
fn changes_the_build(variable: &str) -> bool {
    const NAMES: &[&str] = &[
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_BOOTSTRAP",
        "CARGO_INCREMENTAL",
        "CARGO_MAKEFLAGS",
        "MAKEFLAGS",
    ];
    // `CARGO_TARGET_` stands for the build folder, and for linker and flags of a target.
    const PREFIXES: &[&str] = &[
        "CARGO_BUILD_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
    ];
    // How many cargo runs at once changes nothing in what it makes.
    variable != "CARGO_BUILD_JOBS"
        && (NAMES.contains(&variable) || PREFIXES.iter().any(|p| variable.starts_with(p)))
}

fn not_started(cargo: &OsString, error: &io::Error) -> Diagnostic {
    let hint = if error.kind() == ErrorKind::NotFound {
        "install Rust from https://rustup.rs, or set CARGO to the path of cargo"
    } else {
        "check that it may be run"
    };
    Diagnostic::new(
        CARGO_MISSING,
        cargo.to_string_lossy(),
        format!("cannot start cargo: {error}"),
        hint,
    )
}

/// What cargo's output says.
fn failed(folder: &Path, board: &Board, stderr: &str) -> Diagnostic {
    let place = folder.display().to_string();
    if stderr.contains("target may not be installed")
        || stderr.contains("can't find crate for `core`")
    {
        return Diagnostic::new(
            RUST_TARGET_MISSING,
            place,
            format!(
                "the Rust installation has no standard library for {}",
                board.rust_target
            ),
            format!("rustup target add {}", board.rust_target),
        );
    }
    let lines: Vec<&str> = stderr.lines().collect();
    let tail = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n    ");
    let offline = [
        "failed to download",
        "Could not resolve",
        "Couldn't connect",
        "offline",
    ]
    .iter()
    .any(|sign| stderr.contains(sign));
    Diagnostic::new(
        BUILD_FAILED,
        place,
        format!("cargo build failed:\n    {tail}"),
        if offline {
            "the first build downloads cortex-m and cortex-m-rt from crates.io: connect once, later builds need no network"
        } else {
            "check the Rust installation, for instance with `rustup update`, and compile again"
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board::named("stm32h743").unwrap()
    }

    #[test]
    fn the_callers_settings_do_not_reach_the_build() {
        for variable in [
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "CARGO_BUILD_RUSTC_WRAPPER",
            "CARGO_PROFILE_RELEASE_OPT_LEVEL",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER",
        ] {
            assert!(changes_the_build(variable), "{variable}");
        }
        for variable in [
            "PATH",
            "CARGO",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "RUSTUP_HOME",
        ] {
            assert!(!changes_the_build(variable), "{variable}");
        }
    }

    #[test]
    fn a_missing_rust_target_gets_its_remedy() {
        let stderr = "error[E0463]: can't find crate for `core`\n  = note: the `thumbv7em-none-eabihf` target may not be installed";
        let fault = failed(Path::new("out"), &board(), stderr);
        assert_eq!(fault.code, RUST_TARGET_MISSING);
        assert_eq!(fault.hint, "rustup target add thumbv7em-none-eabihf");
        assert_eq!(fault.code.info().exit.code(), 3);
    }

    #[test]
    fn other_failures_quote_the_end() {
        let stderr = (0..100).map(|i| format!("line {i}\n")).collect::<String>();
        let fault = failed(Path::new("out"), &board(), &stderr);
        assert_eq!(fault.code, BUILD_FAILED);
        assert!(fault.message.contains("line 99") && !fault.message.contains("line 79\n"));
        let fault = failed(Path::new("out"), &board(), "failed to download `cortex-m`");
        assert!(fault.hint.contains("crates.io"), "{}", fault.hint);
    }

    #[test]
    fn a_missing_cargo_is_the_surroundings_fault() {
        let error = io::Error::from(ErrorKind::NotFound);
        let fault = not_started(&OsString::from("/nowhere/cargo"), &error);
        assert_eq!(fault.code, CARGO_MISSING);
        assert_eq!(fault.code.info().exit.code(), 3);
    }
}
