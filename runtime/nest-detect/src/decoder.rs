//! A network's head, and what it finds in one image.

use crate::{
    Detection, Fastestdet, Prior, PriorMap, Rows, Ssd, Strongest, Table, Values, Yolo, YoloForm,
};

/// What the outputs of a network mean. Outputs are counted as the network gives them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form<'a> {
    /// One output, whose rows are its cells.
    Fastestdet(Fastestdet),
    /// Two outputs of as many rows.
    Ssd {
        /// How rows become candidates.
        head: Ssd,
        /// The output of boxes; the other one holds scores.
        boxes: usize,
        /// Feature maps with priors; without any, boxes are relative to nothing.
        priors: &'a [PriorMap<'a>],
    },
    /// One output a map, whose rows are its cells.
    Yolo {
        /// How boxes are coded.
        form: YoloForm,
        /// Classes.
        classes: usize,
        /// One an output.
        maps: &'a [YoloMap<'a>],
    },
}

/// One map of a YOLO head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct YoloMap<'a> {
    /// Rows and columns.
    pub grid: [usize; 2],
    /// Widths and heights of the anchors, in fractions of the input.
    pub anchors: &'a [[f32; 2]],
}

/// Decodes one network's outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoder<'a> {
    /// What they mean.
    pub form: Form<'a>,
    /// Where their rows lie.
    pub outputs: &'a [Rows],
    /// Boxes need a score above this; not negative.
    pub score: f32,
    /// Boxes that overlap a stronger one of their class by more are dropped.
    pub overlap: f32,
}

impl Decoder<'_> {
    /// The boxes in one image, strongest first, in fractions of the input. Of the candidates above the
    /// threshold, the strongest for which there are slots are compared.
    pub fn detect<'s, V: Values>(
        &self,
        outputs: &[V],
        slots: &'s mut [Detection],
    ) -> &'s mut [Detection] {
        let mut found = Strongest::new(slots);
        self.decode(outputs, &mut found);
        found.suppress(self.overlap)
    }

    fn decode<V: Values>(&self, outputs: &[V], found: &mut Strongest<'_>) {
        let table = |output: usize| {
            Some(Table {
                values: *outputs.get(output)?,
                rows: *self.outputs.get(output)?,
            })
        };
        match self.form {
            Form::Fastestdet(head) => {
                if let Some(map) = table(0) {
                    head.decode(map, self.score, found);
                }
            }
            Form::Ssd {
                head,
                boxes,
                priors,
            } => {
                let (Some(boxes), Some(scores)) = (table(boxes), table(1 - boxes.min(1))) else {
                    return;
                };
                if priors.is_empty() {
                    let nowhere = core::iter::repeat(Prior::default());
                    head.decode(boxes, scores, nowhere, self.score, found);
                } else {
                    let priors = priors.iter().flat_map(|map| map.priors());
                    head.decode(boxes, scores, priors, self.score, found);
                }
            }
            Form::Yolo {
                form,
                classes,
                maps,
            } => {
                for (output, map) in maps.iter().enumerate() {
                    let head = Yolo {
                        form,
                        grid: map.grid,
                        classes,
                        anchors: map.anchors,
                    };
                    if let Some(table) = table(output) {
                        head.decode(table, self.score, found);
                    }
                }
            }
        }
    }
}
