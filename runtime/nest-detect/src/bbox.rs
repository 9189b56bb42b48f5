//! Boxes.

/// A rectangle with sides along the axes: in fractions of the network's input, where 0, 0 is its
/// upper left corner and 1, 1 the lower right one, or, after [`BBox::scaled`], in its pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
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

/// The larger of two numbers; the second where the first is none.
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The smaller of two numbers; the second where the first is none.
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
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
        larger(self.right - self.left, 0.0) * larger(self.bottom - self.top, 0.0)
    }

    /// Intersection over union, 0..=1; 0 if the boxes do not meet or have no area.
    pub fn overlap(&self, other: &Self) -> f32 {
        // Most pairs are apart on the first axis, and cost no more than that.
        let width = smaller(self.right, other.right) - larger(self.left, other.left);
        if width > 0.0 {
            let height = smaller(self.bottom, other.bottom) - larger(self.top, other.top);
            let shared = width * height;
            if shared > 0.0 {
                return shared / (self.area() + other.area() - shared);
            }
        }
        0.0
    }

    /// The box with horizontal places times `width` and vertical ones times `height`: fractions of an
    /// image become its pixels.
    #[must_use]
    pub fn scaled(&self, width: f32, height: f32) -> Self {
        Self {
            left: self.left * width,
            top: self.top * height,
            right: self.right * width,
            bottom: self.bottom * height,
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
        assert_eq!(a.overlap(&corners(f32::NAN, 0.0, 0.5, f32::NAN)), 0.0);
    }

    #[test]
    fn a_box_has_its_centre_and_extent() {
        let b = BBox::centred(0.5, 0.25, 0.5, 0.25);
        assert_eq!(b, corners(0.25, 0.125, 0.75, 0.375));
        assert_eq!(b.scaled(64.0, 32.0), corners(16.0, 4.0, 48.0, 12.0));
    }
}
