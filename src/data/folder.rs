//! Folders of pictures: one folder a class, or flat without labels.
//!
//! A flat folder may hold other folders, as long as no pictures are in them.
//!
//! Where the folder has `train` and `test` (or `val`) inside, a split chooses between them.
//! Classes are numbered in the order of their names. Under a limit, classes take turns, so that a
//! part of the set still has all of them.

use std::path::{Path, PathBuf};

use super::files::{refused, sorted_names};
use super::pictures::{self, Form, is_picture};
use super::spec::{DataSpec, Split};
use super::{Pixels, Raw};
use crate::diag::{
    DATA_EMPTY, DATA_MIXED, DATA_NOT_FOUND, DATA_SPLIT_MISSING, Diagnostic, Diagnostics, Result,
};

/// Reads the pictures of the chosen split.
pub(super) fn read(spec: &DataSpec) -> Result<Raw> {
    let root = split_folder(spec)?;
    let (pictures, class_count) = list(&root, spec.limit)?;
    let form = Form {
        channels: spec.channels.unwrap_or(3),
        resize: spec.resize,
        letterbox: spec.letterbox,
    };
    let paths: Vec<&Path> = pictures.iter().map(|(path, _)| path.as_path()).collect();
    let mut faults = Diagnostics::default();
    let read = pictures::read_all(&root, &paths, form, &mut faults)?;
    let labels = pictures.iter().map(|&(_, label)| label).collect();
    faults.into_result(Raw {
        shape: read.shape,
        pixels: Pixels::U8(read.pixels),
        labels: (class_count > 0).then_some(labels),
        class_count,
        boxes: None,
    })
}

/// The folder that holds the chosen split: `train` or `test`/`val` inside if there are such, the
/// folder itself otherwise.
fn split_folder(spec: &DataSpec) -> Result<PathBuf, Diagnostic> {
    let root = &spec.path;
    match std::fs::metadata(root) {
        Err(e) => return Err(refused(root, "open the folder", &e)),
        Ok(meta) if !meta.is_dir() => {
            return Err(Diagnostic::new(
                DATA_NOT_FOUND,
                root.display().to_string(),
                "a folder is needed, and this is a file",
                "name the folder that holds the pictures",
            ));
        }
        Ok(_) => {}
    }
    let train = root.join("train");
    let test = ["test", "val"]
        .iter()
        .map(|n| root.join(n))
        .find(|p| p.is_dir());
    if !train.is_dir() && test.is_none() {
        return Ok(root.clone());
    }
    let (found, wanted) = match spec.split.unwrap_or(Split::Train) {
        Split::Train => (train.is_dir().then_some(train), "`train`"),
        Split::Test => (test, "`test` or `val`"),
    };
    found.ok_or_else(|| {
        Diagnostic::new(
            DATA_SPLIT_MISSING,
            root.display().to_string(),
            format!("the split needs a folder {wanted} inside, and there is none"),
            "choose another split, or point to the folder of the pictures itself",
        )
    })
}

/// The pictures with their classes, and how many classes there are (0 for a flat folder).
fn list(root: &Path, limit: Option<usize>) -> Result<(Vec<(PathBuf, u32)>, usize), Diagnostic> {
    let entries = sorted_names(root)?;
    let folders: Vec<&PathBuf> = entries.iter().filter(|p| p.is_dir()).collect();
    let beside: Vec<PathBuf> = entries.iter().filter(|p| is_picture(p)).cloned().collect();
    let mut classes: Vec<Vec<PathBuf>> = Vec::new();
    for folder in &folders {
        let mut pictures = sorted_names(folder)?;
        pictures.retain(|p| is_picture(p));
        classes.push(pictures);
    }
    let inside: usize = classes.iter().map(Vec::len).sum();
    if !beside.is_empty() && inside > 0 {
        return Err(Diagnostic::new(
            DATA_MIXED,
            root.display().to_string(),
            format!(
                "{} pictures lie in the folder itself and {inside} in the folders inside",
                beside.len()
            ),
            "give each class a folder, or put all pictures into one folder for pictures without labels",
        ));
    }
    // Folders without pictures, such as one of annotations, make no classes.
    let class_count = if beside.is_empty() { folders.len() } else { 0 };
    if class_count == 0 {
        classes = vec![beside];
    }
    let held: usize = classes.iter().map(Vec::len).sum();
    if held == 0 {
        return Err(Diagnostic::new(
            DATA_EMPTY,
            root.display().to_string(),
            format!(
                "{} class folders hold 0 pictures (.png, .jpg, .jpeg)",
                folders.len()
            ),
            "point to a folder with one folder of pictures a class, or of pictures only",
        ));
    }
    let count = limit.map_or(held, |limit| limit.min(held));
    let mut pictures: Vec<(PathBuf, u32)> = Vec::with_capacity(count);
    if count == held {
        for (class, paths) in classes.into_iter().enumerate() {
            pictures.extend(paths.into_iter().map(|path| (path, class as u32)));
        }
    } else {
        let mut turns: Vec<_> = classes.into_iter().map(Vec::into_iter).collect();
        while pictures.len() < count {
            for (class, turn) in turns.iter_mut().enumerate() {
                if let Some(path) = turn.next().filter(|_| pictures.len() < count) {
                    pictures.push((path, class as u32));
                }
            }
        }
    }
    Ok((pictures, class_count))
}
