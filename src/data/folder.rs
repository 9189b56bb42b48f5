//! Folders of pictures: one folder a class, or flat without labels.
//!
//! Where the folder has `train` and `test` (or `val`) inside, a split chooses between them.
//! Classes are numbered in the order of their names. Under a limit, classes take turns, so that a
//! part of the set still has all of them.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageError, ImageReader};
use rayon::prelude::*;

use super::files::{refused, room, sorted_names};
use super::spec::{DataSpec, Split};
use super::{Raw, planar, resized};
use crate::data::Pixels;
use crate::diag::{
    DATA_EMPTY, DATA_NOT_FOUND, DATA_SPLIT_MISSING, Diagnostic, Diagnostics, IMAGE_SIZES,
    IMAGE_UNREADABLE, Result,
};
use crate::ir::float::Shape;

/// Reads the pictures of the chosen split.
pub(super) fn read(spec: &DataSpec) -> Result<Raw> {
    let root = split_folder(spec)?;
    let (pictures, class_count) = list(&root, spec.limit)?;
    let channels = spec.channels.unwrap_or(3);

    // The first picture gives the extent, so that the memory needed is known before decoding all.
    let first = decode(&pictures[0].0, channels, spec.resize)?;
    let shape = first.0;
    let mut pixels: Vec<u8> = room(&root, pictures.len(), shape)?;
    let mut labels = Vec::with_capacity(pictures.len());
    let mut faults = Diagnostics::default();
    const BATCH: usize = 256;
    for batch in pictures.chunks(BATCH) {
        let decoded: Vec<_> = batch
            .par_iter()
            .map(|(path, _)| decode(path, channels, spec.resize))
            .collect();
        for ((path, label), picture) in batch.iter().zip(decoded) {
            match picture {
                Err(fault) => faults.push(fault),
                Ok((own, _)) if own != shape => faults.push(Diagnostic::new(
                    IMAGE_SIZES,
                    path.display().to_string(),
                    format!(
                        "this picture is {own}, and the first, {}, is {shape}",
                        pictures[0].0.display()
                    ),
                    format!("add resize={}x{} to the specification", shape.h, shape.w),
                )),
                Ok((_, own)) => {
                    pixels.extend_from_slice(&own);
                    labels.push(*label);
                }
            }
        }
    }
    faults.into_result(Raw {
        shape,
        pixels: Pixels::U8(pixels),
        labels: (class_count > 0).then_some(labels),
        class_count,
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
    let mut classes: Vec<Vec<PathBuf>> = Vec::new();
    if folders.is_empty() {
        classes.push(entries.iter().filter(|p| is_picture(p)).cloned().collect());
    } else {
        for folder in &folders {
            let mut pictures = sorted_names(folder)?;
            pictures.retain(|p| is_picture(p));
            classes.push(pictures);
        }
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
    Ok((pictures, folders.len()))
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| {
        ["png", "jpg", "jpeg"]
            .iter()
            .any(|known| e.eq_ignore_ascii_case(known))
    })
}

/// A picture, channel-major.
fn decode(
    path: &Path,
    channels: usize,
    resize: Option<[usize; 2]>,
) -> Result<(Shape, Vec<u8>), Diagnostic> {
    let unreadable = |error: ImageError| match error {
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::NotFound => {
            refused(path, "open the picture", &e)
        }
        error => Diagnostic::new(
            IMAGE_UNREADABLE,
            path.display().to_string(),
            format!("the picture cannot be decoded: {error}"),
            "remove the file or save it again as PNG or JPEG",
        ),
    };
    // By content, not by name: photographs are often JPEG under a PNG's name.
    let picture = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(ImageError::IoError)
        .and_then(ImageReader::decode)
        .map_err(unreadable)?;
    let (h, w) = (picture.height() as usize, picture.width() as usize);
    let interleaved = match channels {
        1 => DynamicImage::to_luma8(&picture).into_raw(),
        _ => DynamicImage::to_rgb8(&picture).into_raw(),
    };
    let own = Shape::map(channels, h, w);
    let pixels = planar(&interleaved, own);
    Ok(match resize {
        Some([h, w]) if [h, w] != [own.h, own.w] => {
            let to = Shape::map(channels, h, w);
            (to, resized(&pixels, own, to))
        }
        _ => (own, pixels),
    })
}
