//! Data sets: pictures with or without labels, and how they become a network's input.

use crate::ir::float::Shape;
use crate::ir::nested::{ChannelOrder, Preprocessing};

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
