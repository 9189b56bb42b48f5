//! A head held against a network: which output is what.

use super::candidates::{Detection, Strongest, suppress};
use super::decode::{BoxCoding, Fastestdet, Level, Prior, ScoreCoding, Ssd, Table, Yolo, YoloForm};
use super::head::{BoxesKey, Head, HeadKind};
use crate::diag::{Diagnostic, HEAD_MISFIT};
use crate::ir::float::Shape;

/// Decodes one network's outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    score: f32,
    overlap: f32,
    /// The strongest candidates of one image.
    slots: Vec<Detection>,
    plan: Plan,
}

#[derive(Clone, Debug, PartialEq)]
enum Plan {
    Fastestdet(Fastestdet),
    Ssd {
        head: Ssd,
        boxes: Place,
        scores: Place,
        /// Feature maps with priors; without any, there are `rows` candidates.
        maps: Vec<Map>,
        rows: usize,
    },
    Yolo {
        form: YoloForm,
        classes: usize,
        /// One an output, in the order of the outputs.
        maps: Vec<Map>,
    },
}

/// A feature map and the boxes at each of its cells.
#[derive(Clone, Debug, PartialEq)]
struct Map {
    grid: [usize; 2],
    step: [f32; 2],
    extents: Vec<[f32; 2]>,
}

/// Where a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    output: usize,
    row: usize,
    column: usize,
}

impl Place {
    fn table<'a>(&self, outputs: &[&'a [f32]]) -> Table<'a> {
        Table {
            data: outputs[self.output],
            row: self.row,
            column: self.column,
        }
    }
}

/// How a value holds rows of `columns` elements: their number and the steps from row to row and from
/// column to column. An axis of that extent is the columns; the others count the rows.
fn rows_of(shape: Shape, columns: usize) -> Option<(usize, usize, usize)> {
    if shape.c == columns {
        Some((shape.pixels(), 1, shape.pixels()))
    } else if shape.w == columns && shape.w > 1 {
        Some((shape.c * shape.h, columns, 1))
    } else if shape.h == columns && shape.w == 1 {
        Some((shape.c, columns, 1))
    } else {
        None
    }
}

impl Head {
    /// Holds the head against a network's input and outputs.
    ///
    /// # Errors
    /// `E801` with what the head needs and what the network has.
    pub fn fit(&self, input: Shape, outputs: &[Shape]) -> Result<Decoder, Diagnostic> {
        let plan = self.plan(input, outputs).map_err(|(needs, hint)| {
            let texts: Vec<String> = outputs.iter().map(Shape::to_string).collect();
            Diagnostic::new(
                HEAD_MISFIT,
                format!("head `{self}`"),
                format!(
                    "it needs {needs}, and the network's outputs are {}",
                    texts.join(", ")
                ),
                hint,
            )
        })?;
        Ok(Decoder {
            score: self.score,
            overlap: self.overlap,
            slots: vec![Detection::default(); self.candidates],
            plan,
        })
    }

    /// The plan, or what is needed and what to do.
    fn plan(&self, input: Shape, outputs: &[Shape]) -> Result<Plan, (String, String)> {
        let classes = self.classes.len();
        let fraction = |extents: &[[f32; 2]]| {
            let one = |&[w, h]: &[f32; 2]| [w / input.w as f32, h / input.h as f32];
            extents.iter().map(one).collect::<Vec<_>>()
        };
        let as_many = |channels: usize, fixed: usize| {
            format!(
                "name {} classes with classes=",
                channels.saturating_sub(fixed)
            )
        };
        match &self.kind {
            HeadKind::Fastestdet { size } => match outputs {
                &[map] if map.c == 5 + classes => Ok(Plan::Fastestdet(Fastestdet {
                    grid: [map.h, map.w],
                    classes,
                    unit: [*size as f32 / input.w as f32, *size as f32 / input.h as f32],
                })),
                _ => Err((
                    format!("one output of 5 + {classes} channels"),
                    match outputs {
                        [map] if map.c > 5 => as_many(map.c, 5),
                        _ => "name another head".into(),
                    },
                )),
            },
            HeadKind::Ultraface => self.rows(
                Ssd {
                    boxes: BoxCoding::Corners,
                    scores: ScoreCoding::Plain,
                    columns: classes + 1,
                    background: true,
                },
                Vec::new(),
                outputs,
            ),
            HeadKind::Ssd {
                boxes,
                scores,
                background,
                strides,
                priors,
            } => {
                let map = |(&stride, extents): (&usize, &Vec<[f32; 2]>)| Map {
                    grid: [input.h.div_ceil(stride), input.w.div_ceil(stride)],
                    step: [
                        stride as f32 / input.w as f32,
                        stride as f32 / input.h as f32,
                    ],
                    extents: fraction(extents),
                };
                let (boxes, maps) = match boxes {
                    BoxesKey::Corners => (BoxCoding::Corners, Vec::new()),
                    BoxesKey::Centres => (BoxCoding::Centres, Vec::new()),
                    BoxesKey::Priors(variances) => (
                        BoxCoding::Priors(*variances),
                        strides.iter().zip(priors).map(map).collect(),
                    ),
                };
                let head = Ssd {
                    boxes,
                    scores: *scores,
                    columns: classes + usize::from(*background),
                    background: *background,
                };
                self.rows(head, maps, outputs)
            }
            HeadKind::Yolo { form, anchors } => {
                let misfit = |hint: String| {
                    let needs: Vec<String> = (anchors.iter())
                        .map(|a| format!("{} x (5 + {classes})", a.len()))
                        .collect();
                    let needs = needs.join(", ");
                    (format!("maps of {needs} channels, the finest first"), hint)
                };
                if outputs.len() != anchors.len() {
                    let hint = format!("give {} lists of anchors", outputs.len());
                    return Err(misfit(hint));
                }
                // Outputs may come in any order; lists of anchors go from fine to coarse.
                let mut order: Vec<usize> = (0..outputs.len()).collect();
                order.sort_by_key(|&i| std::cmp::Reverse(outputs[i].pixels()));
                let mut maps = vec![None; outputs.len()];
                for (&i, anchors) in order.iter().zip(anchors) {
                    let shape = outputs[i];
                    if shape.c != anchors.len() * (5 + classes) {
                        let hint = if shape.c.is_multiple_of(anchors.len()) {
                            as_many(shape.c / anchors.len(), 5)
                        } else {
                            "correct the number of anchors".into()
                        };
                        return Err(misfit(hint));
                    }
                    maps[i] = Some(Map {
                        grid: [shape.h, shape.w],
                        step: [0.0; 2],
                        extents: fraction(anchors),
                    });
                }
                Ok(Plan::Yolo {
                    form: *form,
                    classes,
                    maps: maps.into_iter().flatten().collect(),
                })
            }
        }
    }

    /// A head of one row a candidate: finds out which output holds the boxes and which the scores.
    fn rows(&self, head: Ssd, maps: Vec<Map>, outputs: &[Shape]) -> Result<Plan, (String, String)> {
        let columns = head.columns;
        let needs = format!("rows of 4 numbers and rows of {columns} scores");
        let &[a, b] = outputs else {
            return Err((needs, "name another head".into()));
        };
        // Where classes and sides are as many, the first output holds the scores, as is usual.
        let both = [(1, b, 0, a), (0, a, 1, b)].into_iter().find_map(
            |(boxes, boxes_shape, scores, scores_shape)| {
                let (rows, row, column) = rows_of(boxes_shape, 4)?;
                let boxes = Place {
                    output: boxes,
                    row,
                    column,
                };
                let (count, row, column) = rows_of(scores_shape, columns)?;
                let scores = Place {
                    output: scores,
                    row,
                    column,
                };
                (rows == count).then_some((rows, boxes, scores))
            },
        );
        let Some((rows, boxes, scores)) = both else {
            let hint = "name as many classes as the network has with classes=";
            return Err((needs, hint.into()));
        };
        let priors: usize = (maps.iter())
            .map(|map| map.grid[0] * map.grid[1] * map.extents.len())
            .sum();
        if !maps.is_empty() && priors != rows {
            let hint = "correct strides= and priors=, which give as many candidates as the network";
            return Err((format!("{priors} rows, one a prior"), hint.into()));
        }
        Ok(Plan::Ssd {
            head,
            boxes,
            scores,
            maps,
            rows,
        })
    }
}

impl Decoder {
    /// The boxes in one image, strongest first, of its raw outputs.
    ///
    /// # Panics
    /// If the outputs are not of the extents of the network that the head was held against.
    pub fn detect(&mut self, outputs: &[&[f32]]) -> &[Detection] {
        let mut found = Strongest::new(&mut self.slots);
        match &self.plan {
            Plan::Fastestdet(head) => head.decode(outputs[0], self.score, &mut found),
            Plan::Ssd {
                head,
                boxes,
                scores,
                maps,
                rows,
            } => {
                let (boxes, scores) = (boxes.table(outputs), scores.table(outputs));
                if maps.is_empty() {
                    let none = Prior {
                        x: 0.0,
                        y: 0.0,
                        width: 0.0,
                        height: 0.0,
                    };
                    let priors = std::iter::repeat_n(none, *rows);
                    head.decode(boxes, scores, priors, self.score, &mut found);
                } else {
                    let priors = maps.iter().flat_map(|map| {
                        let level = Level {
                            grid: map.grid,
                            step: map.step,
                            extents: &map.extents,
                        };
                        level.priors()
                    });
                    head.decode(boxes, scores, priors, self.score, &mut found);
                }
            }
            Plan::Yolo {
                form,
                classes,
                maps,
            } => {
                for (map, output) in maps.iter().zip(outputs) {
                    let head = Yolo {
                        form: *form,
                        grid: map.grid,
                        classes: *classes,
                        anchors: &map.extents,
                    };
                    head.decode(output, self.score, &mut found);
                }
            }
        }
        let found = found.into_slice();
        let kept = suppress(found, self.overlap);
        &found[..kept]
    }
}

#[cfg(test)]
mod tests;
