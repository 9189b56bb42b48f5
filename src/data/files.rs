//! File access shared by the readers: a missing path is the user's fault, any other refusal the
//! surroundings'.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::diag::{DATA_NOT_FOUND, DATA_TOO_LARGE, Diagnostic};
use crate::ir::float::Shape;

/// The most memory a data set's elements may take.
pub(super) const MAX_BYTES: usize = 32 << 30;

/// A diagnostic for a refused file operation.
pub(super) fn refused(path: &Path, action: &str, error: &std::io::Error) -> Diagnostic {
    if error.kind() == ErrorKind::NotFound {
        Diagnostic::new(
            DATA_NOT_FOUND,
            path.display().to_string(),
            format!("cannot {action}: there is nothing at this path"),
            "correct the path in the data specification",
        )
    } else {
        Diagnostic::io(path, action, error)
    }
}

/// An opened file whose length is known.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    file: File,
}

impl Source {
    /// Opens `path`.
    pub(super) fn open(path: &Path) -> Result<Self, Diagnostic> {
        let file = File::open(path).map_err(|e| refused(path, "open the file", &e))?;
        let meta = file
            .metadata()
            .map_err(|e| refused(path, "read the file's size", &e))?;
        if meta.is_dir() {
            return Err(Diagnostic::new(
                DATA_NOT_FOUND,
                path.display().to_string(),
                "a file is needed, and this is a folder",
                "name the file itself",
            ));
        }
        Ok(Self {
            path: path.to_path_buf(),
            len: meta.len(),
            file,
        })
    }

    /// Reads `count` bytes from `offset` on and appends them to `out`.
    pub(super) fn read(
        &mut self,
        offset: u64,
        count: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Diagnostic> {
        let start = out.len();
        out.resize(start + count, 0);
        self.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.file.read_exact(&mut out[start..]))
            .map_err(|e| refused(&self.path, "read the file", &e))
    }
}

/// The names in a folder, sorted; hidden files are left out.
pub(super) fn sorted_names(folder: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let entries = fs::read_dir(folder).map_err(|e| refused(folder, "list the folder", &e))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| refused(folder, "list the folder", &e))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// An empty vector with room for `images` images of `shape`, or a finding with the size asked for.
pub(super) fn room<T>(path: &Path, images: usize, shape: Shape) -> Result<Vec<T>, Diagnostic> {
    let elements = images
        .checked_mul(shape.c)
        .and_then(|n| n.checked_mul(shape.h))
        .and_then(|n| n.checked_mul(shape.w));
    let bytes = elements.and_then(|n| n.checked_mul(size_of::<T>()));
    let mut out = Vec::new();
    match (elements, bytes) {
        (Some(elements), Some(bytes))
            if bytes <= MAX_BYTES && out.try_reserve_exact(elements).is_ok() =>
        {
            Ok(out)
        }
        _ => Err(Diagnostic::new(
            DATA_TOO_LARGE,
            path.display().to_string(),
            format!(
                "{images} images of {shape} do not fit in memory (at most {MAX_BYTES} bytes are used)"
            ),
            "take fewer images with `limit=` or smaller ones with `resize=`",
        )),
    }
}
