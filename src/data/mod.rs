//! Data sets: pictures with or without labels, and how they become a network's input.
//!
//! [`DataSpec::parse`] reads the form in which the command line names a set;
//! [`DataSpec::load`] gives the [`Dataset`].

mod boxes;
mod cifar10;
mod files;
mod folder;
mod idx;
mod npy;
mod pictures;
pub mod spec;
#[cfg(test)]
mod tests;
mod voc;

use std::path::Path;

use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};

use crate::diag::{
    DATA_CHANNELS, DATA_CLASSES, DATA_NO_LABELS, DATA_SHAPE, Diagnostic, Diagnostics, Result,
};
use crate::ir::float::Shape;
use crate::ir::nested::{ChannelOrder, Preprocessing};

pub use boxes::{Boxes, GroundTruthBox};
pub use nest_detect::BBox;
pub use spec::{DataSpec, Kind, Layout, Split};

/// The raw elements of all images, image after image, each channel-major (`c x h x w`).
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Raw pixels 0..=255, to be prepared by the data set's [`Preprocessing`].
    U8(Vec<u8>),
    /// Network inputs as they are (`npy:`): preprocessing is not applied.
    F32(Vec<f32>),
}

/// A set of images of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The extent of every image. Channels of [`Pixels::U8`] are already in
    /// [`Preprocessing::order`].
    pub shape: Shape,
    /// All images.
    pub pixels: Pixels,
    /// One class an image, where known.
    pub labels: Option<Vec<u32>>,
    /// Classes the labels are drawn from (0 without labels).
    pub class_count: usize,
    /// The objects that the images show, where known (`voc:`).
    pub boxes: Option<Boxes>,
    /// How raw pixels become inputs.
    pub preprocessing: Preprocessing,
}

impl Preprocessing {
    /// Pixels as they are: 0..=255.
    pub fn identity(channels: usize) -> Self {
        Self {
            scale: 1.0,
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            order: ChannelOrder::Rgb,
        }
    }
    /// The network input for a raw pixel of `channel`.
    pub fn apply(&self, pixel: u8, channel: usize) -> f32 {
        (f32::from(pixel) * self.scale - self.mean[channel]) / self.std[channel]
    }
}

impl Dataset {
    /// How many images there are.
    pub fn len(&self) -> usize {
        let elements = match &self.pixels {
            Pixels::U8(p) => p.len(),
            Pixels::F32(p) => p.len(),
        };
        elements / self.shape.len().max(1)
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Writes image `index`, prepared, into `out` (channel-major, `shape.len()` elements).
    ///
    /// # Panics
    /// If `index` is out of range or `out` is shorter than an image.
    pub fn input(&self, index: usize, out: &mut [f32]) {
        let n = self.shape.len();
        match &self.pixels {
            Pixels::F32(p) => out[..n].copy_from_slice(&p[index * n..][..n]),
            Pixels::U8(p) => {
                let plane = self.shape.pixels();
                for (c, (dst, src)) in out[..n]
                    .chunks_mut(plane)
                    .zip(p[index * n..][..n].chunks(plane))
                    .enumerate()
                {
                    for (d, &s) in dst.iter_mut().zip(src) {
                        *d = self.preprocessing.apply(s, c);
                    }
                }
            }
        }
    }
}

impl Dataset {
    /// The images of these numbers, in this order.
    ///
    /// # Panics
    /// If a number is out of range.
    pub fn subset(&self, images: &[u32]) -> Self {
        fn pick<T: Copy>(all: &[T], len: usize, images: &[u32]) -> Vec<T> {
            let of = |&i: &u32| &all[i as usize * len..][..len];
            images.iter().flat_map(of).copied().collect()
        }
        let len = self.shape.len();
        Self {
            shape: self.shape,
            pixels: match &self.pixels {
                Pixels::U8(p) => Pixels::U8(pick(p, len, images)),
                Pixels::F32(p) => Pixels::F32(pick(p, len, images)),
            },
            labels: self.labels.as_ref().map(|l| pick(l, 1, images)),
            class_count: self.class_count,
            boxes: self.boxes.as_ref().map(|b| Boxes {
                classes: b.classes.clone(),
                of_image: (images.iter())
                    .map(|&i| b.of_image[i as usize].clone())
                    .collect(),
                degenerate: b.degenerate,
            }),
            preprocessing: self.preprocessing.clone(),
        }
    }

    /// Checks that a network of input `shape` can take these images.
    pub fn expect_shape(&self, place: &str, shape: Shape) -> Result<(), Diagnostic> {
        if self.shape == shape {
            return Ok(());
        }
        let hint = if self.shape.c == 1 && shape == Shape::map(self.shape.h, self.shape.w, 1) {
            "add layout=ncl to the data specification: the network reads signals".to_owned()
        } else if self.shape.c == shape.c {
            format!(
                "add resize={}x{} to the data specification",
                shape.h, shape.w
            )
        } else {
            format!(
                "the network reads {} channels: choose data that have as many",
                shape.c
            )
        };
        Err(Diagnostic::new(
            DATA_SHAPE,
            place,
            format!(
                "images are {}, and the network's input is {shape}",
                self.shape
            ),
            hint,
        ))
    }

    /// The labels, checked against a network of `outputs` outputs.
    pub fn expect_labels(&self, place: &str, outputs: usize) -> Result<&[u32], Diagnostic> {
        let Some(labels) = &self.labels else {
            return Err(Diagnostic::new(
                DATA_NO_LABELS,
                place,
                format!("{} images have 0 labels, and each needs one", self.len()),
                "use labelled data: a folder a class, or labels=Y.npy",
            ));
        };
        match labels.iter().position(|&l| l as usize >= outputs) {
            None => Ok(labels),
            Some(at) => Err(Diagnostic::new(
                DATA_CLASSES,
                place,
                format!(
                    "image {at} has class {}, and the network has {outputs} outputs, 0 to {}",
                    labels[at],
                    outputs.saturating_sub(1)
                ),
                "use the data the network was trained for",
            )),
        }
    }
}

/// What a reader found: raw elements, channels in the order red, green, blue.
struct Raw {
    shape: Shape,
    pixels: Pixels,
    labels: Option<Vec<u32>>,
    class_count: usize,
    boxes: Option<Boxes>,
}

impl DataSpec {
    /// Reads the data set. Where the specification says nothing on preparation, `defaults` holds
    /// (what the network was trained with); without any, pixels are taken as they are.
    ///
    /// # Errors
    /// Every fault in the files and every clash of the specification with them.
    pub fn load(&self, defaults: Option<&Preprocessing>) -> Result<Dataset> {
        let mut raw = match self.kind {
            Kind::Cifar10 => cifar10::read(self),
            Kind::Idx => idx::read(self),
            Kind::Folder => folder::read(self),
            Kind::Npy => npy::read(self),
            Kind::Voc => voc::read(self),
        }?;
        let place = self.to_string();
        let preprocessing = self.preprocessing(&place, raw.shape.c, defaults)?;
        if let Pixels::U8(pixels) = &mut raw.pixels {
            if let Some([h, w]) = self.resize {
                let to = Shape::map(raw.shape.c, h, w);
                resize_all(&self.path, &place, pixels, raw.shape, to)?;
                raw.shape = to;
            }
            if preprocessing.order == ChannelOrder::Bgr {
                let plane = raw.shape.pixels();
                for image in pixels.chunks_exact_mut(raw.shape.len()) {
                    let (red, rest) = image.split_at_mut(plane);
                    red.swap_with_slice(&mut rest[plane..]);
                }
            }
        }
        Ok(Dataset {
            shape: raw.shape,
            pixels: raw.pixels,
            labels: raw.labels,
            class_count: raw.class_count,
            boxes: raw.boxes,
            preprocessing,
        })
    }

    /// The specification's keys over `defaults` over pixels as they are, for `channels` channels.
    fn preprocessing(
        &self,
        place: &str,
        channels: usize,
        defaults: Option<&Preprocessing>,
    ) -> Result<Preprocessing> {
        let mut out = defaults
            .cloned()
            .unwrap_or_else(|| Preprocessing::identity(channels));
        if let Some(scale) = self.scale {
            out.scale = scale;
        }
        if let Some(order) = self.order {
            out.order = order;
        }
        if let Some(mean) = &self.mean {
            out.mean.clone_from(mean);
        }
        if let Some(std) = &self.std {
            out.std.clone_from(std);
        }
        let mut faults = Diagnostics::default();
        for (key, values) in [("mean", &mut out.mean), ("std", &mut out.std)] {
            if let &mut [one] = &mut values[..] {
                values.resize(channels, one);
            }
            if values.len() != channels {
                faults.push(Diagnostic::new(
                    DATA_CHANNELS,
                    place,
                    format!(
                        "`{key}` has {} values, and the images have {channels} channels",
                        values.len()
                    ),
                    format!("give {key}= with one value, or with {channels}"),
                ));
            }
        }
        if out.order == ChannelOrder::Bgr && channels != 3 {
            faults.push(Diagnostic::new(
                DATA_CHANNELS,
                place,
                format!("`order` is bgr, which needs 3 channels, and the images have {channels}"),
                "leave order= out, or set order=rgb",
            ));
        }
        faults.into_result(out)
    }
}

/// Brings all images from one extent to another.
fn resize_all(
    path: &Path,
    place: &str,
    pixels: &mut Vec<u8>,
    from: Shape,
    to: Shape,
) -> Result<()> {
    if from == to {
        return Ok(());
    }
    if ![1, 3].contains(&from.c) {
        return Err(Diagnostic::new(
            DATA_CHANNELS,
            place,
            format!(
                "`resize` needs pictures of 1 or 3 channels, and these have {}",
                from.c
            ),
            "leave resize= out and store the arrays in the size needed",
        )
        .into());
    }
    let mut out = files::room(path, pixels.len() / from.len(), to)?;
    for image in pixels.chunks_exact(from.len()) {
        out.extend_from_slice(&resized(image, from, to));
    }
    *pixels = out;
    Ok(())
}

/// One channel-major image of 1 or 3 channels, brought to another extent with a triangle filter
/// (bilinear when enlarging, an area-weighted mean when reducing).
fn resized(image: &[u8], from: Shape, to: Shape) -> Vec<u8> {
    let (w, h) = (to.w as u32, to.h as u32);
    // The buffers have the length their extents ask for, so neither `from_raw` can fail.
    let out = if from.c == 1 {
        GrayImage::from_raw(from.w as u32, from.h as u32, image.to_vec())
            .map(|p| imageops::resize(&p, w, h, FilterType::Triangle).into_raw())
    } else {
        RgbImage::from_raw(from.w as u32, from.h as u32, interleaved(image, from))
            .map(|p| planar(&imageops::resize(&p, w, h, FilterType::Triangle), to))
    };
    out.unwrap_or_default()
}

/// From pixel after pixel to channel after channel.
fn planar(interleaved: &[u8], shape: Shape) -> Vec<u8> {
    let mut out = vec![0; shape.len()];
    for (i, pixel) in interleaved.chunks_exact(shape.c).enumerate() {
        for (c, &v) in pixel.iter().enumerate() {
            out[c * shape.pixels() + i] = v;
        }
    }
    out
}

/// From channel after channel to pixel after pixel.
fn interleaved(planar: &[u8], shape: Shape) -> Vec<u8> {
    let mut out = vec![0; shape.len()];
    for (c, plane) in planar.chunks_exact(shape.pixels()).enumerate() {
        for (i, &v) in plane.iter().enumerate() {
            out[i * shape.c + c] = v;
        }
    }
    out
}
