//! A head held against a network: which output is what, and where its numbers lie.

use nest_detect::{
    BoxCoding, Detection, Fastestdet, Form, Int8, PriorMap, Rows, ScoreCoding, Ssd, YoloForm,
    YoloMap,
};

use super::head::{BoxesKey, Head, HeadKind};
use crate::diag::{Diagnostic, HEAD_MISFIT};
use crate::ir::eval::Executor;
use crate::ir::float::Shape;
use crate::ir::ids::{Id, Level};

/// Decodes one network's outputs: floats in the order of the graph, or int8 in a device's.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    meaning: Meaning,
    /// The strongest candidates of one image.
    slots: Vec<Detection>,
}

/// What a [`nest_detect::Decoder`] borrows.
#[derive(Clone, Debug, PartialEq)]
struct Meaning {
    score: f32,
    overlap: f32,
    plan: Plan,
    /// One an output.
    rows: Vec<Layouts>,
}

#[derive(Clone, Debug, PartialEq)]
enum Plan {
    Fastestdet(Fastestdet),
    Ssd {
        head: Ssd,
        boxes: usize,
        /// Feature maps with priors; none where boxes are relative to nothing.
        maps: Vec<Map>,
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

/// Where the rows of an output lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layouts {
    /// In floats: `c, h, w`.
    channel_major: Rows,
    /// In int8: `h, w, c`.
    pixel_major: Rows,
}

/// One row a pixel.
fn rows_of_pixels(shape: Shape) -> Layouts {
    let pixels = shape.pixels();
    Layouts {
        channel_major: Rows {
            runs: 1,
            run: 0,
            rows: pixels,
            row: 1,
            column: pixels,
        },
        pixel_major: Rows::pixels(pixels, shape.c),
    }
}

/// How a value holds rows of `columns` elements. An axis of that extent is the columns, and the others
/// count the rows; or the channels hold several rows a pixel.
fn rows_of(shape: Shape, columns: usize) -> Option<Layouts> {
    let Shape { c, h, w } = shape;
    let layouts = |runs, rows, [run, row, column]: [usize; 3], of_pixels: [usize; 3]| Layouts {
        channel_major: Rows {
            runs,
            run,
            rows,
            row,
            column,
        },
        pixel_major: Rows {
            runs,
            run: of_pixels[0],
            rows,
            row: of_pixels[1],
            column: of_pixels[2],
        },
    };
    if c == columns {
        Some(rows_of_pixels(shape))
    } else if w == columns && w > 1 {
        Some(layouts(c, h, [h * w, w, 1], [1, w * c, c]))
    } else if h == columns && w == 1 {
        Some(layouts(c, 1, [h, 0, 1], [1, 0, c]))
    } else if c.is_multiple_of(columns) {
        let pixels = shape.pixels();
        let strides = [1, columns * pixels, pixels];
        Some(layouts(pixels, c / columns, strides, [c, columns, 1]))
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
        let (plan, rows, most) = plan;
        Ok(Decoder {
            meaning: Meaning {
                score: self.score,
                overlap: self.overlap,
                plan,
                rows,
            },
            slots: vec![Detection::NONE; self.candidates.min(most)],
        })
    }

    /// The plan, where the outputs' rows lie and how many candidates they hold; or what is needed and
    /// what to do.
    fn plan(&self, input: Shape, outputs: &[Shape]) -> Result<Fitted, (String, String)> {
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
                &[map] if map.c == 5 + classes => {
                    let plan = Plan::Fastestdet(Fastestdet {
                        grid: [map.h, map.w],
                        classes,
                        unit: [*size as f32 / input.w as f32, *size as f32 / input.h as f32],
                    });
                    Ok((plan, vec![rows_of_pixels(map)], map.pixels()))
                }
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
                let plan = Plan::Yolo {
                    form: *form,
                    classes,
                    maps: maps.into_iter().flatten().collect(),
                };
                let channels: usize = outputs.iter().map(|shape| shape.len()).sum();
                let most = channels / (5 + classes) * classes;
                Ok((
                    plan,
                    outputs.iter().copied().map(rows_of_pixels).collect(),
                    most,
                ))
            }
        }
    }

    /// A head of one row a candidate: finds out which output holds the boxes and which the scores.
    fn rows(
        &self,
        head: Ssd,
        maps: Vec<Map>,
        outputs: &[Shape],
    ) -> Result<Fitted, (String, String)> {
        let columns = head.columns;
        let needs = format!("rows of 4 numbers and rows of {columns} scores");
        let &[first, second] = outputs else {
            return Err((needs, "name another head".into()));
        };
        // Where classes and sides are as many, the first output holds the scores, as is usual.
        let both = [(1, [columns, 4]), (0, [4, columns])].into_iter().find_map(
            |(boxes, [of_first, of_second])| {
                let rows = vec![rows_of(first, of_first)?, rows_of(second, of_second)?];
                let [a, b] = [rows[0], rows[1]].map(|r| r.channel_major.count());
                (a == b).then_some((boxes, rows, a))
            },
        );
        let Some((boxes, rows, count)) = both else {
            let hint = "name as many classes as the network has with classes=";
            return Err((needs, hint.into()));
        };
        let priors: usize = (maps.iter())
            .map(|map| map.grid[0] * map.grid[1] * map.extents.len())
            .sum();
        if !maps.is_empty() && priors != count {
            let hint = "correct strides= and priors=, which give as many candidates as the network";
            return Err((format!("{priors} rows, one a prior"), hint.into()));
        }
        let plan = Plan::Ssd { head, boxes, maps };
        Ok((plan, rows, count * self.classes.len()))
    }
}

/// A plan, where the outputs' rows lie, and how many candidates they hold at most.
type Fitted = (Plan, Vec<Layouts>, usize);

impl Meaning {
    /// Calls `f` with the decoder of outputs whose rows lie as `of` says.
    fn with<R>(
        &self,
        of: impl Fn(&Layouts) -> Rows,
        f: impl FnOnce(&nest_detect::Decoder<'_>) -> R,
    ) -> R {
        let rows: Vec<Rows> = self.rows.iter().map(of).collect();
        let decoder = |form: Form<'_>| {
            f(&nest_detect::Decoder {
                form,
                outputs: &rows,
                score: self.score,
                overlap: self.overlap,
            })
        };
        match &self.plan {
            Plan::Fastestdet(head) => decoder(Form::Fastestdet(*head)),
            Plan::Ssd { head, boxes, maps } => {
                let priors: Vec<PriorMap<'_>> = (maps.iter())
                    .map(|map| PriorMap {
                        grid: map.grid,
                        step: map.step,
                        extents: &map.extents,
                    })
                    .collect();
                decoder(Form::Ssd {
                    head: *head,
                    boxes: *boxes,
                    priors: &priors,
                })
            }
            Plan::Yolo {
                form,
                classes,
                maps,
            } => {
                let maps: Vec<YoloMap<'_>> = (maps.iter())
                    .map(|map| YoloMap {
                        grid: map.grid,
                        anchors: &map.extents,
                    })
                    .collect();
                decoder(Form::Yolo {
                    form: *form,
                    classes: *classes,
                    maps: &maps,
                })
            }
        }
    }
}

impl Decoder {
    /// The boxes in one image, strongest first, of its raw outputs in floats, `c, h, w`.
    pub fn detect(&mut self, outputs: &[&[f32]]) -> &[Detection] {
        let slots = &mut self.slots;
        self.meaning
            .with(|rows| rows.channel_major, |d| d.detect(outputs, slots))
    }

    /// The boxes in one image, strongest first, of its raw outputs in int8, `h, w, c`: what a device
    /// finds, to the last bit.
    pub fn detect_int8(&mut self, outputs: &[Int8<'_>]) -> &[Detection] {
        let slots = &mut self.slots;
        self.meaning
            .with(|rows| rows.pixel_major, |d| d.detect(outputs, slots))
    }

    /// The boxes in what an executor has just computed at this level.
    ///
    /// # Panics
    /// If its program has no such level.
    pub fn detect_after(&mut self, executor: &Executor<'_>, level: Level) -> &[Detection] {
        let program = executor.program();
        let outputs: Vec<Int8<'_>> = (program.outputs.iter().enumerate())
            .map(|(i, &tensor)| {
                let quant = program.tensors[tensor].quant[level.index()];
                Int8 {
                    data: executor.output(i),
                    scale: quant.scale,
                    zero_point: quant.zero_point,
                }
            })
            .collect();
        self.detect_int8(&outputs)
    }

    /// Calls `f` with the decoder that a device uses.
    pub fn with_device<R>(&self, f: impl FnOnce(&nest_detect::Decoder<'_>) -> R) -> R {
        self.meaning.with(|rows| rows.pixel_major, f)
    }

    /// How many candidates are compared at most.
    pub fn candidates(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests;
