//! Boxes in pictures, and how pictures of any size lie in a network's input.
//!
//! Every box is given in fractions of the network's input, so that boxes of a data set and boxes a
//! network finds compare without knowing how large the picture was. The overlap of two boxes does not
//! change when an axis is stretched, so it is the one of the original picture.

use crate::diag::{BOX_DEGENERATE, Diagnostic};

/// A rectangle with sides along the axes, in fractions of the network's input: 0, 0 is its upper
/// left corner, 1, 1 the lower right one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BBox {
    /// The left side.
    pub left: f32,
    /// The upper side.
    pub top: f32,
    /// The right side.
    pub right: f32,
    /// The lower side.
    pub bottom: f32,
}

impl BBox {
    /// The box of this centre and extent.
    pub fn centred(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self {
            left: x - width * 0.5,
            top: y - height * 0.5,
            right: x + width * 0.5,
            bottom: y + height * 0.5,
        }
    }

    /// The area; 0 where a side has no length.
    pub fn area(&self) -> f32 {
        (self.right - self.left).max(0.0) * (self.bottom - self.top).max(0.0)
    }

    /// Intersection over union, 0..=1; 0 if the boxes do not meet or have no area.
    pub fn overlap(&self, other: &Self) -> f32 {
        let meet = Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        };
        let shared = meet.area();
        if shared > 0.0 {
            shared / (self.area() + other.area() - shared)
        } else {
            0.0
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn corners(left: f32, top: f32, right: f32, bottom: f32) -> BBox {
        BBox {
            left,
            top,
            right,
            bottom,
        }
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        let a = corners(0.0, 0.0, 0.5, 0.5);
        assert_eq!(a.overlap(&a), 1.0);
        assert_eq!(a.overlap(&corners(0.25, 0.0, 0.75, 0.5)), 1.0 / 3.0);
        assert_eq!(a.overlap(&corners(0.0, 0.0, 0.25, 0.25)), 0.25);
        // Beside, corner to corner, and without area.
        assert_eq!(a.overlap(&corners(0.5, 0.0, 1.0, 0.5)), 0.0);
        assert_eq!(a.overlap(&corners(0.5, 0.5, 1.0, 1.0)), 0.0);
        let point = corners(0.25, 0.25, 0.25, 0.25);
        assert_eq!((a.overlap(&point), point.overlap(&point)), (0.0, 0.0));
        let turned = corners(0.5, 0.5, 0.0, 0.0);
        assert_eq!((turned.area(), a.overlap(&turned)), (0.0, 0.0));
    }

    #[test]
    fn a_box_has_its_centre_and_extent() {
        let b = BBox::centred(0.5, 0.25, 0.5, 0.25);
        assert_eq!(b, corners(0.25, 0.125, 0.75, 0.375));
    }
}
