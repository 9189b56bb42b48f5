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
    let beside = format!(".{}.tmp", std::process::id());
    replace_by(path, &beside, &mut |file| file.write_all(bytes))
}

/// As [`replace`], with the content that `write` writes, into `path` with `ending` behind its name
/// first. With the same ending every time, what a killed process left is overwritten by the next.
///
/// # Errors
/// As [`replace`]; what `write` says is taken for the operating system's word.
pub fn replace_by(
    path: &Path,
    ending: &str,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Diagnostic> {
    check_replaceable(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    let beside = path.with_file_name(name);
    let result = write_through(&beside, write).and_then(|()| fs::rename(&beside, path));
    result.map_err(|error| {
        // Nothing more can be done if even this fails; the first error is the one to report.
        let _ = fs::remove_file(&beside);
        Diagnostic::io(path, "write the file", &error)
    })?;
    // The rename itself must reach the disk too; not every system lets a folder be opened for it.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn write_through(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = File::create(path)?;
    write(&mut file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full after `left` bytes.
    struct Full<'a> {
        disk: &'a mut dyn Write,
        left: usize,
    }

    impl Write for Full<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = self.disk.write(&bytes[..bytes.len().min(self.left)])?;
            self.left -= n;
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.disk.flush()
        }
    }

    #[test]
    fn a_full_disk_leaves_the_old_content_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        replace(&path, b"the old content").unwrap();
        for left in [0, 1, 12] {
            let error = replace_by(&path, ".partial", &mut |disk| {
                Full { disk, left }.write_all(b"the new content")
            })
            .unwrap_err();
            assert_eq!(error.code, crate::diag::IO_FAILED);
            assert_eq!(fs::read(&path).unwrap(), b"the old content");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        }
        replace_by(&path, ".partial", &mut |disk| {
            Full { disk, left: 15 }.write_all(b"the new content")
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"the new content");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
