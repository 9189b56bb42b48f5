//! Writing a folder: beside its place, then renamed into it.

use std::fs;
use std::path::{Path, PathBuf};

use super::MARKER;
use crate::diag::{Diagnostic, OUTPUT_FOREIGN};

/// A file of an output folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative, with `/`.
    pub path: String,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// Whether `folder` may be written or replaced: it is absent, empty, or nestc's own.
///
/// # Errors
/// `E605` if it is something else.
pub fn check_output(folder: &Path) -> Result<(), Diagnostic> {
    let foreign = |what: &str| {
        Diagnostic::new(
            OUTPUT_FOREIGN,
            folder.display().to_string(),
            format!("the output folder is {what}, and only folders with a `{MARKER}` are replaced"),
            "choose another folder with -o, or remove this one yourself",
        )
    };
    if !folder.exists() || folder.join(MARKER).is_file() {
        return Ok(());
    }
    if !folder.is_dir() {
        return Err(foreign("a file"));
    }
    let mut entries =
        fs::read_dir(folder).map_err(|e| Diagnostic::io(folder, "read the folder", &e))?;
    if entries.next().is_some() {
        return Err(foreign("not empty"));
    }
    Ok(())
}

/// A complete output folder beside its place. Dropped without [`Staged::commit`], it is removed and
/// the earlier output stays as it was.
#[derive(Debug)]
pub struct Staged {
    folder: PathBuf,
    beside: PathBuf,
    /// Held for as long as `beside` is in use.
    _lock: fs::File,
}

impl Staged {
    /// Writes `files` into a folder beside `folder`.
    ///
    /// # Errors
    /// `E605` as [`check_output`]; `E002` if a file cannot be written, or another process is about
    /// to write the same output.
    pub fn write(folder: &Path, files: &[File]) -> Result<Self, Diagnostic> {
        check_output(folder)?;
        let folder = (std::path::absolute(folder))
            .map_err(|e| Diagnostic::io(folder, "find the absolute path", &e))?;
        let parent = folder.parent().unwrap_or(&folder);
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        // The same path every time: what cargo builds in it depends on the path.
        let beside = parent.join(format!(".{name}.nestc"));
        fs::create_dir_all(&beside).map_err(io(&beside, "create the folder"))?;
        let lock_path = beside.join("lock");
        let lock = fs::File::create(&lock_path).map_err(io(&lock_path, "create the file"))?;
        lock.try_lock().map_err(|e| {
            let e = std::io::Error::from(e);
            Diagnostic::io(&folder, "write the folder while another nestc does", &e)
        })?;
        let staged = Self {
            folder,
            beside,
            _lock: lock,
        };
        // What a killed process left: an output moved away and not yet replaced goes back.
        let (new, old) = (staged.path(), staged.old());
        if old.exists() && !staged.folder.exists() {
            fs::rename(&old, &staged.folder).map_err(io(&old, "put the earlier output back"))?;
        }
        for left in [&new, &old] {
            if left.exists() {
                fs::remove_dir_all(left).map_err(io(left, "remove the folder"))?;
            }
        }
        for file in files {
            staged.add(&file.path, &file.bytes)?;
        }
        Ok(staged)
    }

    /// Where the new output lies until it is put in place.
    pub fn path(&self) -> PathBuf {
        self.beside.join("new")
    }

    fn old(&self) -> PathBuf {
        self.beside.join("old")
    }

    /// The folder that cargo builds in: that of an earlier output, if there is one.
    pub fn target_dir(&self) -> PathBuf {
        let earlier = self.folder.join("target");
        if earlier.is_dir() {
            earlier
        } else {
            self.path().join("target")
        }
    }

    /// Writes one more file.
    ///
    /// # Errors
    /// `E002` if it cannot be written.
    pub fn add(&self, name: &str, bytes: &[u8]) -> Result<(), Diagnostic> {
        let path = self.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io(folder, "create the folder"))?;
        }
        fs::write(&path, bytes).map_err(io(&path, "write the file"))
    }

    /// Puts the new output in place. A build folder `target` of an earlier one is kept.
    ///
    /// # Errors
    /// `E002` if a folder cannot be renamed; the earlier output is then back at its place.
    pub fn commit(self) -> Result<(), Diagnostic> {
        let (new, old) = (self.path(), self.old());
        let (built, kept) = (old.join("target"), new.join("target"));
        if self.folder.exists() {
            fs::rename(&self.folder, &old)
                .map_err(io(&self.folder, "move the earlier output away"))?;
        }
        let replace = || {
            if built.is_dir() && !kept.exists() {
                fs::rename(&built, &kept).map_err(io(&built, "keep the folder"))?;
            }
            fs::rename(&new, &self.folder).map_err(io(&self.folder, "put the folder in place"))
        };
        replace().inspect_err(|_| {
            // Best effort: the first error is the one to report.
            if old.exists() {
                if kept.exists() {
                    let _ = fs::rename(&kept, &built);
                }
                let _ = fs::rename(&old, &self.folder);
            }
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // An earlier output that could not be put back must not be lost with the rest.
        if self.folder.exists() || !self.old().exists() {
            let _ = fs::remove_dir_all(&self.beside);
        }
    }
}

fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Diagnostic {
    let path = path.to_path_buf();
    move |e| Diagnostic::io(&path, action, &e)
}

/// Writes `files` as `folder`, replacing an earlier output. A build folder `target` in it is kept.
/// Until the last step nothing of an earlier output is changed.
///
/// # Errors
/// As [`Staged::write`] and [`Staged::commit`].
pub fn write_folder(folder: &Path, files: &[File]) -> Result<(), Diagnostic> {
    Staged::write(folder, files)?.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.into(),
            bytes: text.into(),
        }
    }

    #[test]
    fn a_folder_is_replaced_and_its_build_kept() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("a/out");
        write_folder(&out, &[file(MARKER, "1"), file("x/old", "old")]).unwrap();
        fs::create_dir(out.join("target")).unwrap();
        fs::write(out.join("target/built"), "b").unwrap();
        write_folder(&out, &[file(MARKER, "2"), file("new", "new")]).unwrap();
        assert_eq!(fs::read_to_string(out.join(MARKER)).unwrap(), "2");
        assert!(!out.join("x").exists());
        assert_eq!(fs::read_to_string(out.join("target/built")).unwrap(), "b");
        let names: Vec<_> = fs::read_dir(root.path().join("a"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["out"]);
    }

    #[test]
    fn without_a_commit_the_earlier_output_stays() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        write_folder(&out, &[file(MARKER, "1"), file("firmware.elf", "good")]).unwrap();
        let staged = Staged::write(&out, &[file(MARKER, "2")]).unwrap();
        let second = Staged::write(&out, &[]).unwrap_err();
        assert_eq!(second.code, crate::diag::IO_FAILED);
        drop(staged);
        assert_eq!(
            fs::read_to_string(out.join("firmware.elf")).unwrap(),
            "good"
        );
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_is_undone() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        write_folder(&out, &[file(MARKER, "1")]).unwrap();
        fs::create_dir(out.join("target")).unwrap();
        let staged = Staged::write(&out, &[file(MARKER, "2")]).unwrap();
        fs::remove_dir_all(staged.path()).unwrap();
        staged.commit().unwrap_err();
        assert_eq!(fs::read_to_string(out.join(MARKER)).unwrap(), "1");
        assert!(out.join("target").is_dir());
    }

    #[test]
    fn an_interrupted_replacement_is_undone_by_the_next() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        write_folder(&out, &[file(MARKER, "1")]).unwrap();
        let beside = root.path().join(".out.nestc");
        fs::create_dir(&beside).unwrap();
        fs::rename(&out, beside.join("old")).unwrap();
        drop(Staged::write(&out, &[file(MARKER, "2")]).unwrap());
        assert_eq!(fs::read_to_string(out.join(MARKER)).unwrap(), "1");
    }

    #[test]
    fn foreign_folders_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        fs::create_dir(&out).unwrap();
        check_output(&out).unwrap();
        fs::write(out.join("thesis.tex"), "…").unwrap();
        let error = write_folder(&out, &[file(MARKER, "")]).unwrap_err();
        assert_eq!(error.code, OUTPUT_FOREIGN);
        assert_eq!(fs::read_to_string(out.join("thesis.tex")).unwrap(), "…");
        assert_eq!(
            check_output(&out.join("thesis.tex")).unwrap_err().code,
            OUTPUT_FOREIGN
        );
    }
}
