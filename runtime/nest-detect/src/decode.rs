//! Raw outputs as boxes. Every function goes through all candidates of one image and pushes those
//! whose score is above the threshold (which a score that is not a number never is).

use crate::math::{exp, ln, pow, sigmoid, tanh};
use crate::{BBox, Detection, Strongest, Table, Values};

/// Column and row of every cell of a grid, row by row.
fn cells([rows, columns]: [usize; 2]) -> impl Iterator<Item = (f32, f32)> {
    (0..rows).flat_map(move |y| (0..columns).map(move |x| (x as f32, y as f32)))
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
    /// Decodes the map, whose rows are its cells. A cell has the class that is most probable in it; its
    /// score is `objectness^0.6 probability^0.4`.
    pub fn decode<V: Values>(&self, map: Table<V>, threshold: f32, found: &mut Strongest<'_>) {
        let [rows, columns] = self.grid;
        let values = map.values;
        let surest = pow(values.most(), 0.4);
        // No class can lift an object below this over the threshold.
        let Some(object) = values.least(|x| pow(x, 0.6) * surest > threshold) else {
            return;
        };
        for (start, (x, y)) in map.rows.starts().zip(cells(self.grid)) {
            let present = map.at(start, 0);
            if present < object {
                continue;
            }
            let (mut class, mut best) = (0, V::LEAST);
            for c in 0..self.classes {
                let element = map.at(start, 5 + c);
                if element > best {
                    (class, best) = (c, element);
                }
            }
            let score = pow(values.real(present), 0.6) * pow(values.real(best), 0.4);
            if score > threshold {
                let x = (x + tanh(map.real(start, 1))) / columns as f32;
                let y = (y + tanh(map.real(start, 2))) / rows as f32;
                let w = sigmoid(map.real(start, 3)) * self.unit[0];
                let h = sigmoid(map.real(start, 4)) * self.unit[1];
                found.push(Detection {
                    score,
                    class: class as u32,
                    bbox: BBox::centred(x, y, w, h),
                });
            }
        }
    }
}

/// A box that predictions are relative to, in fractions of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriorMap<'a> {
    /// Rows and columns.
    pub grid: [usize; 2],
    /// From one cell to the next, horizontally and vertically, in fractions of the input.
    pub step: [f32; 2],
    /// Widths and heights, in fractions of the input.
    pub extents: &'a [[f32; 2]],
}

impl<'a> PriorMap<'a> {
    /// All priors, row by row, at each cell in the order of the extents.
    pub fn priors(self) -> impl Iterator<Item = Prior> + use<'a> {
        cells(self.grid).flat_map(move |(x, y)| {
            let x = (x + 0.5) * self.step[0];
            let y = (y + 0.5) * self.step[1];
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
    pub fn decode<V: Values>(
        &self,
        boxes: Table<V>,
        scores: Table<V>,
        priors: impl Iterator<Item = Prior>,
        threshold: f32,
        found: &mut Strongest<'_>,
    ) {
        let first = usize::from(self.background);
        let values = scores.values;
        let least = match self.scores {
            ScoreCoding::Plain => values.least(|x| x > threshold),
            ScoreCoding::Sigmoid => values.least(|x| sigmoid(x) > threshold),
            ScoreCoding::Softmax => Some(V::LEAST),
        };
        let Some(least) = least else { return };
        // A class whose number is `d` below another's has a probability of at most
        // `e^d / (1 + e^d)`. The margin is wider than all roundings on the way.
        let most_gap = if threshold > 0.0 {
            ln(threshold / (1.0 - threshold)) - 1e-3
        } else {
            f32::NEG_INFINITY
        };
        let rows = boxes.rows.starts().zip(scores.rows.starts());
        for ((box_start, start), prior) in rows.zip(priors) {
            // The largest of the classes, and the largest of all columns.
            let mut best = V::LEAST;
            for c in first..self.columns {
                let element = scores.at(start, c);
                if element > best {
                    best = element;
                }
            }
            if best < least {
                continue;
            }
            // Softmax is shifted by the maximum, so that no exponential overflows.
            let (mut max, mut sum) = (0.0, 0.0);
            if self.scores == ScoreCoding::Softmax {
                let background = scores.at(start, 0);
                let most = if background > best { background } else { best };
                max = values.real(most);
                if best < most && values.real(best) - max <= most_gap {
                    continue;
                }
                for c in 0..self.columns {
                    sum += exp(scores.real(start, c) - max);
                }
            }
            let mut bbox = None;
            for c in first..self.columns {
                let element = scores.at(start, c);
                if element < least {
                    continue;
                }
                let raw = values.real(element);
                let score = match self.scores {
                    ScoreCoding::Plain => raw,
                    ScoreCoding::Sigmoid => sigmoid(raw),
                    ScoreCoding::Softmax => exp(raw - max) / sum,
                };
                if score > threshold {
                    let bbox = *bbox.get_or_insert_with(|| self.bbox(boxes, box_start, prior));
                    found.push(Detection {
                        score,
                        class: (c - first) as u32,
                        bbox,
                    });
                }
            }
        }
    }

    /// The box of the row that starts at `start`.
    fn bbox<V: Values>(&self, boxes: Table<V>, start: usize, prior: Prior) -> BBox {
        let of = |i: usize| boxes.real(start, i);
        match self.boxes {
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
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// Decodes the map, whose rows are its cells. A score is `sigmoid(objectness) sigmoid(class)`.
    pub fn decode<V: Values>(&self, map: Table<V>, threshold: f32, found: &mut Strongest<'_>) {
        let [rows, columns] = self.grid;
        let values = map.values;
        // Objectness and class must each be above the threshold, as none is above 1.
        let Some(least) = values.least(|x| sigmoid(x) > threshold) else {
            return;
        };
        for (start, (cell_x, cell_y)) in map.rows.starts().zip(cells(self.grid)) {
            for (anchor, &[width, height]) in self.anchors.iter().enumerate() {
                let first = anchor * (5 + self.classes);
                let element = map.at(start, first + 4);
                if element < least {
                    continue;
                }
                let object = sigmoid(values.real(element));
                let mut bbox = None;
                for c in 0..self.classes {
                    let element = map.at(start, first + 5 + c);
                    if element < least {
                        continue;
                    }
                    let score = object * sigmoid(values.real(element));
                    if score > threshold {
                        let bbox = *bbox.get_or_insert_with(|| {
                            let of = |i: usize| map.real(start, first + i);
                            let [x, y] = [sigmoid(of(0)), sigmoid(of(1))];
                            let (x, y, w, h) = match self.form {
                                YoloForm::V3 => (x, y, width * exp(of(2)), height * exp(of(3))),
                                YoloForm::V5 => {
                                    let [w, h] = [2.0 * sigmoid(of(2)), 2.0 * sigmoid(of(3))];
                                    (2.0 * x - 0.5, 2.0 * y - 0.5, width * w * w, height * h * h)
                                }
                            };
                            let x = (cell_x + x) / columns as f32;
                            let y = (cell_y + y) / rows as f32;
                            BBox::centred(x, y, w, h)
                        });
                        found.push(Detection {
                            score,
                            class: c as u32,
                            bbox,
                        });
                    }
                }
            }
        }
    }
}
