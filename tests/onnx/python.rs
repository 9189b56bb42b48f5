//! The Python of the tests' virtual environment, for oracles.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `script` (beside this file) with `arguments` and gives its standard output.
///
/// # Panics
/// With what to do, if there is no such Python, or if the script fails.
pub fn run(script: &str, arguments: &[&Path]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("NESTC_PYTHON")
        .map_or_else(|| root.join("target/venv/bin/python"), PathBuf::from);
    let output = Command::new(&python)
        .arg(root.join("tests/onnx").join(script))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}\nthe tests need onnx and onnxruntime: run `make setup-python`",
                python.display()
            )
        });
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.trim().is_empty(), "{script} warns: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The little-endian floats of a file.
pub fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (chunks, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "{}", path.display());
    chunks.iter().map(|&b| f32::from_le_bytes(b)).collect()
}
