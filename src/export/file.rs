//! Replacing a file as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::diag::{BAD_ARGUMENT, Diagnostic, NO_SUCH_FILE};

/// Refuses what [`replace`] could not or must not replace: a folder, a device, a pipe, a file in a
/// folder that does not exist. Long work asks before it begins.
///
/// # Errors
/// One finding that says what stands in the way.
pub fn check_replaceable(path: &Path) -> Result<(), Diagnostic> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(Diagnostic::new(
            NO_SUCH_FILE,
            path.display().to_string(),
            format!("its folder {} does not exist", folder.display()),
            "make the folder first, or name another",
        ));
    }
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(Diagnostic::new(
            BAD_ARGUMENT,
            path.display().to_string(),
            "the output is to be a file, and what is there is none",
            "name a file that is new or may be replaced",
        )),
        _ => Ok(()),
    }
}

/// Makes `bytes` the content of `path`: written beside it, flushed to the disk, renamed. Whoever
/// opens the path sees the old content or the new one, never a part.
///
/// # Errors
/// If [`check_replaceable`] or the operating system refuses; `path` then is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Diagnostic> {
    check_replaceable(path)?;
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
