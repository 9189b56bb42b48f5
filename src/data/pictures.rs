//! Picture files: decoding, and bringing them to one extent.

use std::path::Path;

use image::{DynamicImage, ImageError, ImageReader};
use rayon::prelude::*;

use super::boxes::Placement;
use super::files::{refused, room};
use super::{planar, resized};
use crate::diag::{Diagnostic, Diagnostics, IMAGE_SIZES, IMAGE_UNREADABLE};
use crate::ir::float::Shape;

/// What every picture is brought to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// 1 (grey) or 3.
    pub(super) channels: usize,
    /// Rows and columns; the pictures' own if not given.
    pub(super) resize: Option<[usize; 2]>,
    /// Keep the proportions and fill what is left over with this grey.
    pub(super) letterbox: Option<u8>,
}

/// Pictures of one extent.
pub(super) struct Pictures {
    pub(super) shape: Shape,
    /// One after the other, each channel-major.
    pub(super) pixels: Vec<u8>,
    /// Where each lies in the network's input.
    pub(super) placements: Vec<Placement>,
}

/// Pictures decoded at once, so that no more than these are held beside the result.
const BATCH: usize = 256;

/// Decodes all pictures. Those that cannot be decoded or have another extent are all added to
/// `faults`; what is returned then has gaps.
pub(super) fn read_all(
    folder: &Path,
    paths: &[&Path],
    form: Form,
    faults: &mut Diagnostics,
) -> Result<Pictures, Diagnostic> {
    // The extent is needed first, so that the memory is asked for before all are decoded.
    let first = match form.resize {
        Some([h, w]) => Some((Shape::map(form.channels, h, w), None)),
        None => (paths.iter()).find_map(|&path| Some((decode(path, form).ok()?.shape, Some(path)))),
    };
    let (shape, model) = first.unwrap_or((Shape::vector(form.channels), None));
    let mut pictures = Pictures {
        shape,
        pixels: room(folder, paths.len(), shape)?,
        placements: Vec::with_capacity(paths.len()),
    };
    let mut others: Option<(&Path, Shape)> = None;
    let mut other_count = 0;
    for batch in paths.chunks(BATCH) {
        let decoded: Vec<_> = batch.par_iter().map(|path| decode(path, form)).collect();
        for (&path, picture) in batch.iter().zip(decoded) {
            match picture {
                Err(fault) => faults.push(fault),
                Ok(picture) if picture.shape != shape => {
                    others.get_or_insert((path, picture.shape));
                    other_count += 1;
                }
                Ok(picture) => {
                    pictures.pixels.extend_from_slice(&picture.pixels);
                    pictures.placements.push(picture.placement);
                }
            }
        }
    }
    // One finding for all: photographs usually all differ, and the remedy is one.
    if let Some((path, other)) = others {
        faults.push(Diagnostic::new(
            IMAGE_SIZES,
            path.display().to_string(),
            format!(
                "this picture is {other}, and the first, {}, is {shape}; {other_count} of {} are not as the first",
                model.unwrap_or(path).display(),
                paths.len()
            ),
            "add resize=HxW, the extent of the network's input, to the specification",
        ));
    }
    Ok(pictures)
}

/// Whether the name is that of a picture that can be decoded.
pub(super) fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| {
        ["png", "jpg", "jpeg"]
            .iter()
            .any(|known| e.eq_ignore_ascii_case(known))
    })
}

struct Picture {
    shape: Shape,
    /// Channel-major.
    pixels: Vec<u8>,
    placement: Placement,
}

fn decode(path: &Path, form: Form) -> Result<Picture, Diagnostic> {
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
    let interleaved = match form.channels {
        1 => DynamicImage::to_luma8(&picture).into_raw(),
        _ => DynamicImage::to_rgb8(&picture).into_raw(),
    };
    let own = Shape::map(form.channels, h, w);
    Ok(fit(planar(&interleaved, own), own, form))
}

/// Brings a channel-major picture to the form.
fn fit(pixels: Vec<u8>, own: Shape, form: Form) -> Picture {
    let [h, w] = form.resize.unwrap_or([own.h, own.w]);
    let shape = Shape::map(own.c, h, w);
    let inner = match form.letterbox {
        Some(_) => within(own, shape),
        None => shape,
    };
    let pixels = if inner == own {
        pixels
    } else {
        resized(&pixels, own, inner)
    };
    let (top, left) = ((h - inner.h) / 2, (w - inner.w) / 2);
    let pixels = if inner == shape {
        pixels
    } else {
        let mut out = vec![form.letterbox.unwrap_or_default(); shape.len()];
        for (i, row) in pixels.chunks_exact(inner.w).enumerate() {
            let (c, y) = (i / inner.h, i % inner.h);
            out[(c * h + top + y) * w + left..][..inner.w].copy_from_slice(row);
        }
        out
    };
    let ratio = |a: usize, b: usize| a as f64 / b as f64;
    Picture {
        shape,
        pixels,
        placement: Placement {
            scale: [
                ratio(inner.w, own.w) / w as f64,
                ratio(inner.h, own.h) / h as f64,
            ],
            offset: [ratio(left, w), ratio(top, h)],
            extent: [own.w, own.h],
        },
    }
}

/// The largest extent inside `to` with the proportions of `own`.
fn within(own: Shape, to: Shape) -> Shape {
    let scaled = |n: usize, a: usize, b: usize| {
        let rounded = (n as f64 * a as f64 / b as f64).round() as usize;
        rounded.max(1)
    };
    // Compared as products, so that equal proportions are seen as equal.
    if own.w * to.h >= own.h * to.w {
        Shape::map(own.c, scaled(own.h, to.w, own.w).min(to.h), to.w)
    } else {
        Shape::map(own.c, to.h, scaled(own.w, to.h, own.h).min(to.w))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: Form = Form {
        channels: 1,
        resize: Some([4, 4]),
        letterbox: Some(9),
    };

    #[test]
    fn letterboxes_keep_proportions_and_know_where_the_picture_is() {
        let own = Shape::map(1, 2, 4);
        let wide = fit((1..=8).collect(), own, GREY);
        assert_eq!(wide.shape, Shape::map(1, 4, 4));
        assert_eq!(
            wide.pixels,
            [9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9]
        );
        let b = wide.placement.place(0.0, 0.0, 4.0, 2.0);
        assert_eq!((b.left, b.top, b.right, b.bottom), (0.0, 0.25, 1.0, 0.75));

        let high = fit(vec![5; 32], Shape::map(1, 16, 2), GREY);
        assert_eq!(high.pixels[..4], [9, 5, 9, 9]);
        let b = high.placement.place(0.0, 8.0, 2.0, 16.0);
        assert_eq!((b.left, b.top, b.right, b.bottom), (0.25, 0.5, 0.5, 1.0));
    }

    #[test]
    fn without_letterbox_the_picture_fills_the_input() {
        let form = Form {
            letterbox: None,
            ..GREY
        };
        let picture = fit(vec![5; 8], Shape::map(1, 2, 4), form);
        assert_eq!(picture.pixels, [5; 16]);
        let b = picture.placement.place(1.0, 1.0, 3.0, 2.0);
        assert_eq!((b.left, b.top, b.right, b.bottom), (0.25, 0.5, 0.75, 1.0));
    }

    #[test]
    fn extents_inside_never_vanish_or_overflow() {
        for (own, to) in [
            ((1, 5000), (4, 4)),
            ((5000, 1), (4, 4)),
            ((3, 7), (160, 160)),
        ] {
            let to = Shape::map(3, to.0, to.1);
            let inner = within(Shape::map(3, own.0, own.1), to);
            assert!((1..=to.h).contains(&inner.h) && (1..=to.w).contains(&inner.w));
            assert!(inner.h == to.h || inner.w == to.w);
        }
    }
}
