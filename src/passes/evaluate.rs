//! Accuracy of a program on a data set, bit-exact with the device.

use rayon::prelude::*;

use crate::data::Dataset;
use crate::diag::Result;
use crate::ir::eval::Executor;
use crate::ir::float::Shape;
use crate::ir::ids::{Id, Level};
use crate::ir::int::Quant;
use crate::ir::program::Program;
use crate::ir::rounding::quantise_real;

/// Right answers of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// Images whose largest output is their class; the first of equal outputs counts.
    pub correct: u64,
    /// Images.
    pub images: u64,
}

impl Accuracy {
    /// Share of right answers, 0..=1.
    pub fn top1(self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }
}

/// Brings a prepared image (channel-major reals) into the network's int8 input in `h, w, c` order:
/// `round(real / scale) + zero_point`, halves away from zero, saturated.
///
/// # Panics
/// If `image` has not `shape.len()` elements.
pub fn quantise_input(image: &[f32], shape: Shape, quant: Quant) -> Vec<i8> {
    assert_eq!(image.len(), shape.len(), "elements of the image");
    let pixels = shape.pixels();
    (0..image.len())
        .map(|i| quantise_real(f64::from(image[i % shape.c * pixels + i / shape.c]), quant))
        .collect()
}

/// What int8 in `h, w, c` order stands for, channel-major.
///
/// # Panics
/// If `data` has not `shape.len()` elements.
pub fn dequantise_output(data: &[i8], shape: Shape, quant: Quant) -> Vec<f32> {
    assert_eq!(data.len(), shape.len(), "elements of the output");
    let (c, pixels) = (shape.c, shape.pixels());
    (0..data.len())
        .map(|i| {
            let q = i32::from(data[i % pixels * c + i / pixels]);
            quant.scale * (q - i32::from(quant.zero_point)) as f32
        })
        .collect()
}

/// Runs every level on every image, on all cores. `progress` hears of finished images, each counted
/// once; it is called from several threads.
///
/// # Errors
/// If the images are not what the network reads, or have no labels.
pub fn evaluate_int8(
    program: &Program,
    dataset: &Dataset,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Accuracy>> {
    let input = &program.tensors[program.input];
    let outputs = program.tensors[program.outputs[0]].shape.len();
    dataset.expect_shape("data", input.shape)?;
    let labels = dataset.expect_labels("data", outputs)?;
    let levels = program.level_count();
    let correct = (0..dataset.len())
        .into_par_iter()
        .map_init(
            || (Executor::new(program), vec![0.0; input.shape.len()]),
            |(executor, image), index| {
                dataset.input(index, image);
                let quantised = quantise_input(image, input.shape, input.quant[0]);
                let right: Vec<u64> = (0..levels)
                    .map(|level| {
                        executor.run(Level::from_index(level), &quantised);
                        u64::from(largest(executor.output(0)) == labels[index] as usize)
                    })
                    .collect();
                progress(1);
                right
            },
        )
        .reduce(
            || vec![0; levels],
            |a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect(),
        );
    Ok(correct
        .into_iter()
        .map(|correct| Accuracy {
            correct,
            images: dataset.len() as u64,
        })
        .collect())
}

/// The first of the largest.
fn largest(values: &[i8]) -> usize {
    (values.iter().enumerate())
        .max_by_key(|&(i, &v)| (v, std::cmp::Reverse(i)))
        .map_or(0, |(i, _)| i)
}
