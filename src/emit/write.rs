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

/// Writes `files` as `folder`, replacing an earlier output. A build folder `target` in it is kept.
/// Until the last step nothing of an earlier output is changed.
///
/// # Errors
/// `E605` as [`check_output`]; `E002` if a file cannot be written.
pub fn write_folder(folder: &Path, files: &[File]) -> Result<(), Diagnostic> {
    check_output(folder)?;
    let parent = match folder.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let io = |path: &Path, action: &'static str| {
        let path = path.to_path_buf();
        move |e: std::io::Error| Diagnostic::io(&path, action, &e)
    };
    fs::create_dir_all(parent).map_err(io(parent, "create the folder"))?;
    let beside = tempfile::Builder::new()
        .prefix(".nestc-")
        .tempdir_in(parent)
        .map_err(io(parent, "create a folder"))?;
    let new = beside.path().join("new");
    for file in files {
        let path = new.join(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io(folder, "create the folder"))?;
        }
        fs::write(&path, &file.bytes).map_err(io(&path, "write the file"))?;
    }
    let old: PathBuf = beside.path().join("old");
    if folder.exists() {
        fs::rename(folder, &old).map_err(io(folder, "move the earlier output away"))?;
        let target = old.join("target");
        if target.is_dir() {
            fs::rename(&target, new.join("target")).map_err(io(&target, "keep the folder"))?;
        }
    }
    fs::rename(&new, folder).map_err(io(folder, "put the folder in place"))
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
