//! Comparison with recorded text. `BLESS=1` (`make bless`) records anew.

use std::path::PathBuf;

/// Compares `text` with `tests/golden/NAME.txt`.
pub fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    if recorded == text {
        return;
    }
    let differing = recorded
        .lines()
        .zip(text.lines())
        .position(|(a, b)| a != b)
        .unwrap_or(recorded.lines().count().min(text.lines().count()));
    panic!(
        "{} differs from line {}:\n  recorded: {:?}\n  now:      {:?}\nrun `make bless` if this is meant",
        path.display(),
        differing + 1,
        recorded.lines().nth(differing),
        text.lines().nth(differing)
    );
}
