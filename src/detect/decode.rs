//! Raw outputs as boxes. Every function goes through all candidates of one image and pushes those
//! whose score is above the threshold (which a score that is not a number never is).

use super::candidates::{Detection, Strongest};
use super::math::{exp, pow, sigmoid, tanh};
use crate::data::BBox;

/// An output of one row a candidate, stored in either order.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one column to the next.
    pub column: usize,
}

impl Table<'_> {
    /// An element.
    fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.row + column * self.column]
    }
}

fn keep(found: &mut Strongest, threshold: f32, score: f32, class: usize, bbox: BBox) {
    if score > threshold {
        found.push(Detection {
            score,
            class: class as u32,
            bbox,
        });
    }
}

/// FastestDet's head: one map of `5 + classes` channels (objectness, the centre's offset from the
/// cell, width and height, class probabilities), objectness and classes activated in the network.
/// (dog-qiuqiu, FastestDet: <https://github.com/dog-qiuqiu/FastestDet>.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fastestdet {
    /// Rows and columns of the map.
    pub grid: [usize; 2],
    /// Classes.
    pub classes: usize,
    /// Width and height of a box whose predicted extent is 1, in fractions of the input: above 1
    /// where the network runs on smaller pictures than it was trained for.
    pub unit: [f32; 2],
}

impl Fastestdet {
    /// Decodes the map, channel-major. A cell has the class that is most probable in it; its score is
    /// `objectness^0.6 probability^0.4`.
    ///
    /// # Panics
    /// If the map is shorter than its extents ask for.
    pub fn decode(&self, map: &[f32], threshold: f32, found: &mut Strongest) {
        let [rows, columns] = self.grid;
        let plane = rows * columns;
        for cell in 0..plane {
            let at = |channel: usize| map[channel * plane + cell];
            let (mut class, mut best) = (0, f32::NEG_INFINITY);
            for c in 0..self.classes {
                if at(5 + c) > best {
                    (class, best) = (c, at(5 + c));
                }
            }
            let score = pow(at(0), 0.6) * pow(best, 0.4);
            let x = ((cell % columns) as f32 + tanh(at(1))) / columns as f32;
            let y = ((cell / columns) as f32 + tanh(at(2))) / rows as f32;
            let (w, h) = (sigmoid(at(3)) * self.unit[0], sigmoid(at(4)) * self.unit[1]);
            keep(found, threshold, score, class, BBox::centred(x, y, w, h));
        }
    }
}

/// A box that predictions are relative to, in fractions of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Its centre.
    pub x: f32,
    /// Its centre.
    pub y: f32,
    /// Its width.
    pub width: f32,
    /// Its height.
    pub height: f32,
}

/// The priors of one feature map: the same extents at every cell.
#[derive(Clone, Copy, Debug)]
pub struct Level<'a> {
    /// Rows and columns.
    pub grid: [usize; 2],
    /// From one cell to the next, horizontally and vertically, in fractions of the input.
    pub step: [f32; 2],
    /// Widths and heights, in fractions of the input.
    pub extents: &'a [[f32; 2]],
}

impl<'a> Level<'a> {
    /// All priors, row by row, at each cell in the order of the extents.
    pub fn priors(self) -> impl Iterator<Item = Prior> + use<'a> {
        let [rows, columns] = self.grid;
        (0..rows * columns).flat_map(move |cell| {
            let x = ((cell % columns) as f32 + 0.5) * self.step[0];
            let y = ((cell / columns) as f32 + 0.5) * self.step[1];
            self.extents.iter().map(move |&[width, height]| Prior {
                x,
                y,
                width,
                height,
            })
        })
    }
}

/// What the four numbers of a box are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BoxCoding {
    /// Left, top, right, bottom in fractions of the input.
    Corners,
    /// Centre, width, height in fractions of the input.
    Centres,
    /// The centre's offset in prior extents, and the logarithms of the ratios of extents, divided by
    /// these two variances.
    Priors([f32; 2]),
}

/// What is left to do to scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreCoding {
    /// They are probabilities.
    Plain,
    /// They need a softmax over all columns.
    Softmax,
    /// Each needs a sigmoid.
    Sigmoid,
}

/// Heads in the manner of SSD: one row of four numbers and one row of scores a candidate.
/// (Liu et al., "SSD: Single Shot MultiBox Detector", arXiv 1512.02325, section 2.2.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ssd {
    /// What boxes are.
    pub boxes: BoxCoding,
    /// What scores are.
    pub scores: ScoreCoding,
    /// Columns of scores.
    pub columns: usize,
    /// Whether the first column is the background.
    pub background: bool,
}

impl Ssd {
    /// Decodes one candidate a prior; the priors' values matter to [`BoxCoding::Priors`] only.
    ///
    /// # Panics
    /// If a table is shorter than the priors ask for.
    pub fn decode(
        &self,
        boxes: Table,
        scores: Table,
        priors: impl Iterator<Item = Prior>,
        threshold: f32,
        found: &mut Strongest,
    ) {
        let first = usize::from(self.background);
        for (row, prior) in priors.enumerate() {
            let of = |i: usize| boxes.at(row, i);
            let bbox = match self.boxes {
                BoxCoding::Corners => BBox {
                    left: of(0),
                    top: of(1),
                    right: of(2),
                    bottom: of(3),
                },
                BoxCoding::Centres => BBox::centred(of(0), of(1), of(2), of(3)),
                BoxCoding::Priors([centre, extent]) => BBox::centred(
                    prior.x + of(0) * centre * prior.width,
                    prior.y + of(1) * centre * prior.height,
                    prior.width * exp(of(2) * extent),
                    prior.height * exp(of(3) * extent),
                ),
            };
            // Softmax shifted by the maximum, so that no exponential overflows.
            let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0);
            if self.scores == ScoreCoding::Softmax {
                for c in 0..self.columns {
                    max = max.max(scores.at(row, c));
                }
                for c in 0..self.columns {
                    sum += exp(scores.at(row, c) - max);
                }
            }
            for c in first..self.columns {
                let raw = scores.at(row, c);
                let score = match self.scores {
                    ScoreCoding::Plain => raw,
                    ScoreCoding::Sigmoid => sigmoid(raw),
                    ScoreCoding::Softmax => exp(raw - max) / sum,
                };
                keep(found, threshold, score, c - first, bbox);
            }
        }
    }
}

/// How YOLO's numbers become boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YoloForm {
    /// Centre `sigmoid(t)`, extent `anchor e^t` (Redmon and Farhadi, arXiv 1804.02767).
    V3,
    /// Centre `2 sigmoid(t) - 0.5`, extent `anchor (2 sigmoid(t))^2` (YOLOv5 and after).
    V5,
}

/// One map of a YOLO head: for each anchor `5 + classes` channels (centre, extent, objectness,
/// classes), none of them activated in the network.
#[derive(Clone, Copy, Debug)]
pub struct Yolo<'a> {
    /// How boxes are coded.
    pub form: YoloForm,
    /// Rows and columns of the map.
    pub grid: [usize; 2],
    /// Classes.
    pub classes: usize,
    /// Widths and heights of the anchors, in fractions of the input.
    pub anchors: &'a [[f32; 2]],
}

impl Yolo<'_> {
    /// Decodes the map, channel-major. A score is `sigmoid(objectness) sigmoid(class)`.
    ///
    /// # Panics
    /// If the map is shorter than its extents ask for.
    pub fn decode(&self, map: &[f32], threshold: f32, found: &mut Strongest) {
        let [rows, columns] = self.grid;
        let plane = rows * columns;
        let channels = 5 + self.classes;
        for (a, &[width, height]) in self.anchors.iter().enumerate() {
            for cell in 0..plane {
                let at = |channel: usize| map[(a * channels + channel) * plane + cell];
                let object = sigmoid(at(4));
                // No class can lift it over the threshold.
                if object <= threshold {
                    continue;
                }
                let [x, y] = [sigmoid(at(0)), sigmoid(at(1))];
                let (x, y, w, h) = match self.form {
                    YoloForm::V3 => (x, y, width * exp(at(2)), height * exp(at(3))),
                    YoloForm::V5 => {
                        let [w, h] = [2.0 * sigmoid(at(2)), 2.0 * sigmoid(at(3))];
                        (2.0 * x - 0.5, 2.0 * y - 0.5, width * w * w, height * h * h)
                    }
                };
                let x = ((cell % columns) as f32 + x) / columns as f32;
                let y = ((cell / columns) as f32 + y) / rows as f32;
                let bbox = BBox::centred(x, y, w, h);
                for c in 0..self.classes {
                    keep(found, threshold, object * sigmoid(at(5 + c)), c, bbox);
                }
            }
        }
    }
}
