//! Boxes in pictures, and how pictures of any size lie in a network's input.
//!
//! Every box is given in fractions of the network's input, so that boxes of a data set and boxes a
//! network finds compare without knowing how large the picture was. The overlap of two boxes does not
//! change when an axis is stretched, so it is the one of the original picture.

use nest_detect::BBox;

use crate::diag::{BOX_DEGENERATE, Diagnostic};

/// An object that a picture is known to show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroundTruthBox {
    /// Its class, an index into [`Boxes::classes`].
    pub class: u32,
    /// Where it is.
    pub bbox: BBox,
    /// Marked as hard to recognise: finding it counts neither for nor against a network.
    pub difficult: bool,
}

/// The objects in the pictures of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Boxes {
    /// The names of the classes, sorted.
    pub classes: Vec<String>,
    /// One list a picture, in the order of the pictures.
    pub of_image: Vec<Vec<GroundTruthBox>>,
    /// Boxes without area that were left out.
    pub degenerate: usize,
}

impl Boxes {
    /// The warning that boxes were left out, if any were.
    pub fn warning(&self, place: &str) -> Option<Diagnostic> {
        let kept: usize = self.of_image.iter().map(Vec::len).sum();
        (self.degenerate > 0).then(|| {
            Diagnostic::new(
                BOX_DEGENERATE,
                place,
                format!(
                    "{} boxes have no area and are left out; {kept} are used",
                    self.degenerate
                ),
                "correct or remove them in the annotations",
            )
        })
    }
}

/// Where a picture lies in the network's input: a point of the picture, in pixels, times `scale`
/// plus `offset` is a fraction of the input. Pairs are `[horizontal, vertical]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placement {
    pub(super) scale: [f64; 2],
    pub(super) offset: [f64; 2],
    /// The picture's own extent in pixels.
    pub(super) extent: [usize; 2],
}

impl Placement {
    /// The box with these corners, in pixels of the picture.
    pub(super) fn place(&self, left: f64, top: f64, right: f64, bottom: f64) -> BBox {
        let one = |axis: usize, at: f64| (at * self.scale[axis] + self.offset[axis]) as f32;
        BBox {
            left: one(0, left),
            top: one(1, top),
            right: one(0, right),
            bottom: one(1, bottom),
        }
    }
}
