//! Replacing a file as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::diag::Diagnostic;

/// Makes `bytes` the content of `path`: written beside it, flushed to the disk, renamed. Whoever
/// opens the path sees the old content or the new one, never a part.
///
/// # Errors
/// If the operating system refuses; `path` then is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Diagnostic> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let result = write_through(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    result.map_err(|error| {
        // Nothing more can be done if even this fails; the first error is the one to report.
        let _ = fs::remove_file(&beside);
        Diagnostic::io(path, "write the file", &error)
    })
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
