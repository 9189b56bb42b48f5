//! How an ONNX tensor's axes lie over a value of the float graph.
//!
//! ONNX moves and merges axes freely (Transpose, Reshape, Flatten, Squeeze …); the float graph only
//! knows feature maps of `c x h x w`. A [`View`] is an ONNX tensor as such a value plus, for each
//! ONNX axis, the list of the value's axes that it runs through, outermost first. Layout operators
//! then change the view alone; a node comes into being only where an operator needs the data in
//! another form.

use crate::ir::float::Shape;
use crate::ir::ids::ValueId;

/// An axis of a value, or the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Axis {
    /// Batch.
    N,
    /// Channel.
    C,
    /// Row.
    H,
    /// Column.
    W,
}

/// Extents that axes stand for: the batch and one image.
#[derive(Clone, Copy, Debug)]
pub struct Extents {
    /// Images a run; a symbolic batch counts as 1.
    pub batch: usize,
    /// One image.
    pub shape: Shape,
}

impl Extents {
    /// The extent of one axis.
    pub fn of(self, axis: Axis) -> usize {
        match axis {
            Axis::N => self.batch,
            Axis::C => self.shape.c,
            Axis::H => self.shape.h,
            Axis::W => self.shape.w,
        }
    }
    /// The extent of an ONNX axis made of `group`.
    pub fn of_group(self, group: &[Axis]) -> usize {
        group.iter().map(|&a| self.of(a)).product()
    }
    /// The axes of `group` longer than 1: the only ones that decide where elements lie.
    pub fn long(self, group: &[Axis]) -> Vec<Axis> {
        (group.iter().copied())
            .filter(|&a| self.of(a) > 1)
            .collect()
    }
}

/// An ONNX tensor as a view of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The value.
    pub value: ValueId,
    /// One entry an ONNX axis; an axis of extent 1 may be made of nothing.
    pub dims: Vec<Vec<Axis>>,
    /// Whether no other tensor of the file shows the same value, so that the node that gives it
    /// may be changed.
    pub exclusive: bool,
}

/// The axes of a feature map as ONNX orders them.
pub fn nchw() -> Vec<Vec<Axis>> {
    vec![vec![Axis::N], vec![Axis::C], vec![Axis::H], vec![Axis::W]]
}

/// The axes of a vector.
pub fn vector() -> Vec<Vec<Axis>> {
    vec![vec![Axis::N], vec![Axis::C]]
}

/// How an operator can read a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// The value as it is.
    AsIs,
    /// The value flattened in channel-major order.
    Flattened,
    /// The value flattened, its elements in another order: element `i` of the ONNX tensor is
    /// element `order[i]` of the flattened value.
    Permuted(Vec<usize>),
}

impl View {
    /// Extents of the ONNX tensor.
    pub fn extents(&self, e: Extents) -> Vec<usize> {
        self.dims.iter().map(|group| e.of_group(group)).collect()
    }

    /// The view as an `N x C x H x W` tensor, or `None` if its axes lie otherwise.
    pub fn as_map(&self, e: Extents) -> Option<Form> {
        let [n, c, h, w] = self.dims.as_slice() else {
            return None;
        };
        let within = |group: &[Axis], axis| e.long(group).iter().all(|&a| a == axis);
        if !within(n, Axis::N) {
            return None;
        }
        if within(c, Axis::C) && within(h, Axis::H) && within(w, Axis::W) {
            Some(Form::AsIs)
        } else if e.long(h).is_empty() && e.long(w).is_empty() {
            // Everything on the channel axis: a vector seen as a map of one pixel.
            self.as_vector(1, e).filter(|f| *f == Form::Flattened)
        } else {
            None
        }
    }

    /// The view as vectors along ONNX axis `axis`, or `None` if other axes than the batch (in
    /// front) are longer than 1.
    pub fn as_vector(&self, axis: usize, e: Extents) -> Option<Form> {
        let mut along = Vec::new();
        for (i, group) in self.dims.iter().enumerate() {
            let long = e.long(group);
            if i == axis {
                along = long;
            } else if long.iter().any(|&a| a != Axis::N) || (i > axis && !long.is_empty()) {
                return None;
            }
        }
        if along.contains(&Axis::N) {
            None
        } else if e.shape.pixels() == 1 {
            Some(Form::AsIs)
        } else if along.is_sorted() {
            Some(Form::Flattened)
        } else {
            Some(Form::Permuted(order(&along, e.shape)))
        }
    }

    /// The same elements in row-major order over other extents, or `None` if an axis would have to
    /// be cut apart.
    pub fn reshaped(&self, target: &[usize], e: Extents) -> Option<Vec<Vec<Axis>>> {
        let axes: Vec<Axis> = self.dims.iter().flat_map(|g| e.long(g)).collect();
        let mut rest = axes.as_slice();
        let mut dims = Vec::with_capacity(target.len());
        for &extent in target {
            let mut product = 1;
            let mut taken = 0;
            while product < extent && taken < rest.len() {
                product *= e.of(rest[taken]);
                taken += 1;
            }
            if product != extent {
                return None;
            }
            dims.push(rest[..taken].to_vec());
            rest = &rest[taken..];
        }
        rest.is_empty().then(|| named(dims, e))
    }

    /// The value's axis that ONNX axis `index` runs along, if it is one alone.
    pub fn single_axis(&self, index: usize) -> Option<Axis> {
        match self.dims.get(index)?.as_slice() {
            [axis] => Some(*axis),
            _ => None,
        }
    }

    /// A copy as another tensor of the file shows it; `only_reader` tells whether that tensor is
    /// the only one to read this one.
    pub fn alias(&self, dims: Vec<Vec<Axis>>, only_reader: bool) -> View {
        View {
            value: self.value,
            dims,
            exclusive: self.exclusive && only_reader,
        }
    }
}

/// Gives axes of extent 1 their name where the others leave no doubt, so that they can be padded.
fn named(dims: Vec<Vec<Axis>>, e: Extents) -> Vec<Vec<Axis>> {
    let fits = |pattern: &[Vec<Axis>]| {
        dims.len() == pattern.len()
            && (dims.iter().zip(pattern)).all(|(d, p)| e.long(d) == e.long(p))
    };
    if fits(&nchw()) {
        nchw()
    } else if e.shape.pixels() == 1 && fits(&vector()) {
        vector()
    } else {
        dims
    }
}

/// Channel-major positions of the elements of `shape` taken along `axes`, outermost first.
fn order(axes: &[Axis], shape: Shape) -> Vec<usize> {
    let stride = |axis| match axis {
        Axis::C => shape.pixels(),
        Axis::H => shape.w,
        Axis::W => 1,
        Axis::N => 0,
    };
    let e = Extents { batch: 1, shape };
    let mut positions = vec![0];
    for &axis in axes {
        positions = (positions.iter())
            .flat_map(|&base| (0..e.of(axis)).map(move |i| base + i * stride(axis)))
            .collect();
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::ids::Id;

    fn view(dims: Vec<Vec<Axis>>) -> View {
        View {
            value: ValueId::from_index(0),
            dims,
            exclusive: true,
        }
    }
    fn extents(c: usize, h: usize, w: usize) -> Extents {
        Extents {
            batch: 1,
            shape: Shape::map(c, h, w),
        }
    }

    #[test]
    fn flatten_and_back_is_the_map() {
        let e = extents(3, 4, 5);
        let flat = view(nchw()).reshaped(&[1, 60], e).expect("flat");
        assert_eq!(flat, vec![vec![], vec![Axis::C, Axis::H, Axis::W]]);
        assert_eq!(view(flat.clone()).as_vector(1, e), Some(Form::Flattened));
        assert_eq!(view(flat).reshaped(&[1, 3, 4, 5], e), Some(nchw()));
    }

    #[test]
    fn an_axis_is_never_cut() {
        let e = extents(4, 1, 1);
        assert_eq!(view(nchw()).reshaped(&[1, 2, 2], e), None);
        assert_eq!(view(nchw()).reshaped(&[1, 8], e), None);
        assert_eq!(view(nchw()).reshaped(&[2], e), None);
    }

    #[test]
    fn channels_last_flatten_is_a_permutation() {
        let e = extents(2, 1, 3);
        let nhwc = vec![vec![Axis::N], vec![Axis::H], vec![Axis::W], vec![Axis::C]];
        let flat = view(nhwc).reshaped(&[1, 6], e).expect("flat");
        // Elements in ONNX order: (w0 c0) (w0 c1) (w1 c0) …; channel-major position is c * 3 + w.
        assert_eq!(
            view(flat).as_vector(1, e),
            Some(Form::Permuted(vec![0, 3, 1, 4, 2, 5]))
        );
    }

    #[test]
    fn the_batch_stays_in_front() {
        let e = Extents {
            batch: 2,
            shape: Shape::vector(6),
        };
        assert_eq!(view(vector()).as_vector(1, e), Some(Form::AsIs));
        let merged = view(vector()).reshaped(&[12], e).expect("merged");
        assert_eq!(view(merged).as_vector(0, e), None);
    }

    #[test]
    fn unit_axes_get_their_names_back() {
        let e = extents(8, 1, 1);
        let map = view(vector()).reshaped(&[1, 8, 1, 1], e);
        assert_eq!(map, Some(nchw()));
        let last = view(vector()).reshaped(&[1, 1, 1, 8], e).expect("last");
        assert_eq!(view(last).as_map(e), None);
    }
}
