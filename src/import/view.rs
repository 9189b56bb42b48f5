//! How an ONNX tensor's axes lie over a value of the float graph.
//!
//! ONNX moves, merges and splits axes freely (Transpose, Reshape, Flatten, Squeeze …); the float
//! graph only knows feature maps of `c x h x w`. A [`View`] is an ONNX tensor as such a value plus,
//! for each ONNX axis, the runs of the value's elements that it goes through, outermost first.
//! Layout operators then change the view alone; a node comes into being only where an operator needs
//! the data in another form.

use crate::ir::float::{Axis, FloatOp, Rearrange, Shape};
use crate::ir::ids::ValueId;

/// Elements at equal distances in a value's channel-major order; or images of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// How many, at least 2.
    pub extent: usize,
    /// Their distance; 0 stands for the batch.
    pub stride: usize,
}

impl Run {
    fn is_batch(self) -> bool {
        self.stride == 0
    }
}

/// The runs of each ONNX axis; one of extent 1 has none. Every element of the value is met exactly
/// once.
pub type Dims = Vec<Vec<Run>>;

/// An ONNX tensor as a view of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The value.
    pub value: ValueId,
    /// One entry an ONNX axis.
    pub dims: Dims,
    /// Whether no other tensor of the file shows the same value, so that the node that gives it
    /// may be changed.
    pub exclusive: bool,
}

/// For each axis of a value, the ONNX axes that together are it, outermost first.
pub type Groups = [Vec<usize>; 3];

/// An ONNX axis over a batch.
fn batch_dim(batch: usize) -> Vec<Run> {
    let run = Run {
        extent: batch,
        stride: 0,
    };
    if batch > 1 { vec![run] } else { Vec::new() }
}

/// The runs of each axis of a value.
fn axis_runs(shape: Shape) -> [Vec<Run>; 3] {
    let strides = [shape.pixels(), shape.w, 1];
    std::array::from_fn(|i| {
        let (extent, stride) = (shape.extents()[i], strides[i]);
        match extent {
            1 => Vec::new(),
            _ => vec![Run { extent, stride }],
        }
    })
}

/// The axes of a feature map as ONNX orders them.
pub fn nchw(shape: Shape, batch: usize) -> Dims {
    let [c, h, w] = axis_runs(shape);
    vec![batch_dim(batch), c, h, w]
}

/// The axes of a vector.
pub fn vector(shape: Shape, batch: usize) -> Dims {
    vec![batch_dim(batch), merged(axis_runs(shape).concat())]
}

/// Joins runs of which each goes on where the next one ends.
pub fn merged(runs: impl IntoIterator<Item = Run>) -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    for run in runs {
        match all.last_mut() {
            Some(last) if !run.is_batch() && last.stride == run.stride * run.extent => {
                *last = Run {
                    extent: last.extent * run.extent,
                    stride: run.stride,
                };
            }
            _ => all.push(run),
        }
    }
    all
}

/// How an operator can read a view as a vector.
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
    pub fn extents(&self) -> Vec<usize> {
        let extent = |dim: &Vec<Run>| dim.iter().map(|run| run.extent).product();
        self.dims.iter().map(extent).collect()
    }

    /// Images of the batch.
    pub fn batch(&self) -> usize {
        let runs = self.dims.iter().flatten();
        runs.filter(|r| r.is_batch()).map(|r| r.extent).product()
    }

    /// Where the batch stands: the first axis, if it is the batch and nothing else, or of extent 1.
    /// `None` if the batch lies elsewhere.
    pub fn batch_axes(&self) -> Option<usize> {
        let is_batch = |dim: &Vec<Run>| dim.iter().any(|r| r.is_batch());
        if self.dims.iter().skip(1).any(is_batch) {
            return None;
        }
        match self.dims.first().map(Vec::as_slice) {
            None => Some(0),
            Some([]) => Some(1),
            Some([run]) if run.is_batch() => Some(1),
            Some(dim) if dim.iter().any(|r| r.is_batch()) => None,
            Some(_) => Some(0),
        }
    }

    /// The runs of several ONNX axes one behind the other.
    pub fn runs(&self, axes: impl IntoIterator<Item = usize>) -> Vec<Run> {
        merged(axes.into_iter().flat_map(|a| self.dims[a].iter().copied()))
    }

    /// The ONNX axes that are the value's axes, if each axis is one whole. ONNX axes of extent 1
    /// stand for the value's axes of extent 1, in order, as far as there are any.
    pub fn groups(&self, shape: Shape) -> Option<Groups> {
        let mut groups = Groups::default();
        let axes = axis_runs(shape);
        let data = self.batch_axes()?..self.dims.len();
        for i in data.clone().filter(|&i| !self.dims[i].is_empty()) {
            let at = axes.iter().position(|axis| *axis == self.dims[i])?;
            groups[at].push(i);
        }
        for i in data.filter(|&i| self.dims[i].is_empty()) {
            let free = (0..3).find(|&a| axes[a].is_empty() && groups[a].is_empty());
            if let Some(free) = free {
                groups[free].push(i);
            }
        }
        Some(groups)
    }

    /// Whether the value's axes are these ONNX axes together.
    pub fn has_groups(&self, shape: Shape, groups: &Groups) -> bool {
        let axes = axis_runs(shape);
        let same =
            |(axis, group): (&Vec<Run>, &Vec<usize>)| self.runs(group.iter().copied()) == *axis;
        axes.iter().zip(groups).all(same)
    }

    /// The view as vectors along ONNX axis `axis`, or `None` if other axes than the batch (in
    /// front) are longer than 1.
    pub fn as_vector(&self, axis: usize, shape: Shape) -> Option<Form> {
        let elsewhere = |(i, dim): (usize, &Vec<Run>)| {
            i != axis && (i > axis || dim.iter().any(|r| !r.is_batch())) && !dim.is_empty()
        };
        if self.dims.iter().enumerate().any(elsewhere) {
            return None;
        }
        let along = merged(self.dims[axis].iter().copied());
        if along.iter().any(|r| r.is_batch()) {
            None
        } else if shape.pixels() == 1 {
            Some(Form::AsIs)
        } else if along.len() <= 1 {
            Some(Form::Flattened)
        } else {
            Some(Form::Permuted(places(&along)))
        }
    }

    /// The same elements in row-major order over other extents, or `None` if the value's elements
    /// do not lie at equal distances along an axis then.
    pub fn reshaped(&self, target: &[usize]) -> Option<Dims> {
        let mut rest = merged(self.dims.iter().flatten().copied());
        rest.reverse();
        let mut dims = Vec::with_capacity(target.len());
        for &extent in target {
            let mut missing = extent;
            let mut dim = Vec::new();
            while missing > 1 {
                let run = rest.pop()?;
                if missing.is_multiple_of(run.extent) {
                    missing /= run.extent;
                    dim.push(run);
                } else if run.extent.is_multiple_of(missing) && !run.is_batch() {
                    let inner = run.extent / missing;
                    dim.push(Run {
                        extent: missing,
                        stride: run.stride * inner,
                    });
                    rest.push(Run {
                        extent: inner,
                        stride: run.stride,
                    });
                    missing = 1;
                } else {
                    return None;
                }
            }
            dims.push(merged(dim));
        }
        rest.is_empty().then_some(dims)
    }

    /// A copy as another tensor of the file shows it; `only_reader` tells whether that tensor is
    /// the only one to read this one.
    pub fn alias(&self, dims: Dims, only_reader: bool) -> View {
        View {
            value: self.value,
            dims,
            exclusive: self.exclusive && only_reader,
        }
    }

    /// The axis of a value of this shape that ONNX axis `index` is a part of, the extent of what
    /// lies outside it on that axis and of what lies inside; `None` if it is no single run of one
    /// axis.
    pub fn part_of_axis(&self, index: usize, shape: Shape) -> Option<(Axis, [usize; 2])> {
        let [run] = self.dims[index][..] else {
            return None;
        };
        let strides = [shape.pixels(), shape.w, 1];
        Axis::ALL.into_iter().find_map(|axis| {
            let (extent, stride) = (shape.extent(axis), strides[axis as usize]);
            let inner = run.stride / stride;
            let within = !run.is_batch()
                && run.stride.is_multiple_of(stride)
                && extent.is_multiple_of(inner * run.extent);
            within.then(|| (axis, [extent / (inner * run.extent), inner]))
        })
    }

    /// The axes once only `count` elements along ONNX axis `index`, a single run, are left.
    pub fn thinned(&self, index: usize, count: usize) -> Dims {
        let mut dims = self.dims.clone();
        let [run] = self.dims[index][..] else {
            return dims;
        };
        let outside = run.stride * run.extent;
        for other in dims.iter_mut().flatten().filter(|r| r.stride >= outside) {
            other.stride = other.stride / run.extent * count;
        }
        dims[index] = match count {
            1 => Vec::new(),
            _ => vec![Run {
                extent: count,
                ..run
            }],
        };
        dims
    }
}

/// Axes of ONNX extents `extents` over a value whose axes are `groups` of them, behind a batch.
pub fn grouped(groups: &Groups, extents: &[usize], batch: usize) -> (Shape, Dims) {
    let mut dims = vec![Vec::new(); extents.len()];
    if batch > 1 {
        dims[0] = batch_dim(batch);
    }
    let mut stride = 1;
    let mut shape = [1; 3];
    for (axis, group) in groups.iter().enumerate().rev() {
        for &i in group.iter().rev() {
            if extents[i] > 1 {
                dims[i] = vec![Run {
                    extent: extents[i],
                    stride,
                }];
            }
            stride *= extents[i];
            shape[axis] *= extents[i];
        }
    }
    (Shape::map(shape[0], shape[1], shape[2]), dims)
}

/// The places of all elements that runs go through, outermost first.
fn places(runs: &[Run]) -> Vec<usize> {
    let mut positions = vec![0];
    for run in runs {
        positions = (positions.iter())
            .flat_map(|&base| (0..run.extent).map(move |i| base + i * run.stride))
            .collect();
    }
    positions
}

/// The operation that gives a value of shape `to`, whose elements in order are those `runs` go
/// through, from one of shape `from`; `None` if nothing needs to be done.
pub fn rearrangement(runs: &[Run], from: Shape, to: Shape) -> Option<FloatOp> {
    let runs = merged(runs.iter().copied());
    if runs.len() <= 1 {
        // The same order.
        return match (from == to, to.pixels()) {
            (true, _) => None,
            (false, 1) => Some(FloatOp::Flatten),
            (false, _) => Some(FloatOp::Rearrange(Rearrange {
                factors: vec![from.len()],
                perm: vec![0],
                shape: to,
            })),
        };
    }
    let pixels = from.pixels();
    let rest = (pixels > 1).then_some(Run {
        extent: pixels,
        stride: 1,
    });
    if from == to
        && let [columns, rows, ref behind @ ..] = runs[..]
        && behind.iter().eq(&rest)
        && rows.stride == columns.extent * pixels
        && columns.stride == pixels
    {
        return Some(FloatOp::ChannelShuffle {
            groups: rows.extent,
        });
    }
    let mut factors = runs.clone();
    factors.sort_by_key(|run| std::cmp::Reverse(run.stride));
    let place = |run: &Run| factors.iter().position(|f| f == run).unwrap_or(0);
    Some(FloatOp::Rearrange(Rearrange {
        perm: runs.iter().map(place).collect(),
        factors: factors.iter().map(|run| run.extent).collect(),
        shape: to,
    }))
}

/// Which ONNX axes become the channels, rows and columns of a value where they are not yet. `keep`
/// names an axis that must not be joined with another. At most three axes are apart; `None` if that
/// cannot be.
///
/// On the device the channels of a pixel lie side by side, so a last axis that runs along channels
/// (of heads turned to `[anchors, values]`) stays channels: then nothing has to be moved there.
pub fn choose_groups(view: &View, shape: Shape, keep: Option<usize>) -> Option<Groups> {
    let data = view.batch_axes()?..view.dims.len();
    let few = data.len() <= 3;
    let axes: Vec<usize> = (data.clone())
        .filter(|&i| few || !view.dims[i].is_empty() || Some(i) == keep)
        .collect();
    let pixels = shape.pixels();
    let of_channels = |&i: &usize| {
        pixels > 1
            && !view.dims[i].is_empty()
            && view.dims[i]
                .iter()
                .all(|run| run.stride.is_multiple_of(pixels))
    };
    Some(match axes[..] {
        [] => [data.take(1).collect(), Vec::new(), Vec::new()],
        [c] => [vec![c], Vec::new(), Vec::new()],
        [w, c] if of_channels(&c) => [vec![c], Vec::new(), vec![w]],
        [c, w] => [vec![c], Vec::new(), vec![w]],
        [h, w, c] if of_channels(&c) => [vec![c], vec![h], vec![w]],
        [c, h, w] => [vec![c], vec![h], vec![w]],
        _ => {
            let keep = keep.unwrap_or(axes[0]);
            let (before, behind) = (
                axes.iter().copied().filter(|&i| i < keep).collect(),
                axes.iter().copied().filter(|&i| i > keep).collect(),
            );
            match keep == axes[0] {
                true => [vec![keep], Vec::new(), behind],
                false => [before, vec![keep], behind],
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::ids::Id;

    fn view(dims: Dims) -> View {
        View {
            value: ValueId::from_index(0),
            dims,
            exclusive: true,
        }
    }
    fn map(c: usize, h: usize, w: usize) -> (Shape, View) {
        let shape = Shape::map(c, h, w);
        (shape, view(nchw(shape, 1)))
    }
    fn transposed(v: &View, perm: &[usize]) -> View {
        view(perm.iter().map(|&i| v.dims[i].clone()).collect())
    }
    const PLAIN: fn() -> Groups = || [vec![1], vec![2], vec![3]];

    #[test]
    fn flatten_and_back_is_the_map() {
        let (shape, v) = map(3, 4, 5);
        let flat = view(v.reshaped(&[1, 60]).expect("flat"));
        assert_eq!(
            flat.dims[1],
            [Run {
                extent: 60,
                stride: 1
            }]
        );
        assert_eq!(flat.as_vector(1, shape), Some(Form::Flattened));
        assert_eq!(flat.reshaped(&[1, 3, 4, 5]), Some(v.dims.clone()));
        assert_eq!(v.groups(shape), Some(PLAIN()));
        assert_eq!(flat.groups(shape), None);
    }

    #[test]
    fn axes_are_split_where_extents_divide() {
        let (_, v) = map(4, 1, 1);
        let split = v.reshaped(&[1, 2, 2]).expect("splits");
        assert_eq!(
            split[1],
            [Run {
                extent: 2,
                stride: 2
            }]
        );
        assert_eq!(
            split[2],
            [Run {
                extent: 2,
                stride: 1
            }]
        );
        assert_eq!(v.reshaped(&[1, 8]), None);
        assert_eq!(v.reshaped(&[2]), None);
        // Columns and rows turned round lie at no equal distances if cut across.
        let (_, v) = map(1, 4, 6);
        assert_eq!(transposed(&v, &[0, 1, 3, 2]).reshaped(&[1, 8, 3]), None);
    }

    #[test]
    fn channels_last_flatten_is_a_permutation() {
        let (shape, v) = map(2, 1, 3);
        let flat = transposed(&v, &[0, 2, 3, 1]).reshaped(&[1, 6]);
        // Elements in ONNX order: (w0 c0) (w0 c1) (w1 c0) …; channel-major position is c * 3 + w.
        assert_eq!(
            view(flat.expect("flat")).as_vector(1, shape),
            Some(Form::Permuted(vec![0, 3, 1, 4, 2, 5]))
        );
    }

    #[test]
    fn the_batch_stays_in_front() {
        let shape = Shape::vector(6);
        let v = view(vector(shape, 2));
        assert_eq!(v.as_vector(1, shape), Some(Form::AsIs));
        assert_eq!((v.batch(), v.batch_axes()), (2, Some(1)));
        let merged = view(v.reshaped(&[12]).expect("merged"));
        assert_eq!(merged.as_vector(0, shape), None);
        assert_eq!(merged.batch_axes(), None);
        assert_eq!(transposed(&v, &[1, 0]).groups(shape), None);
        let mixed = view(v.reshaped(&[4, 3]).expect("two images of two rows"));
        assert_eq!(mixed.batch_axes(), None);
    }

    #[test]
    fn axes_of_extent_1_get_their_places() {
        let shape = Shape::vector(8);
        let v = view(vector(shape, 1));
        let map = view(v.reshaped(&[1, 8, 1, 1]).expect("a map"));
        assert_eq!(map.groups(shape), Some(PLAIN()));
        let last = view(v.reshaped(&[1, 1, 1, 8]).expect("last"));
        assert_eq!(last.groups(shape), Some([vec![3], vec![1], vec![2]]));
    }

    #[test]
    fn a_shuffle_of_channels_is_recognised() {
        let (shape, v) = map(6, 2, 3);
        let split = view(v.reshaped(&[1, 2, 3, 2, 3]).expect("splits"));
        let turned = transposed(&split, &[0, 2, 1, 3, 4]);
        let shuffled = view(turned.reshaped(&[1, 6, 2, 3]).expect("joins"));
        let op = rearrangement(&shuffled.runs(0..4), shape, shape);
        assert_eq!(op, Some(FloatOp::ChannelShuffle { groups: 2 }));
        let depth_to_space = transposed(&split, &[0, 2, 3, 1, 4]);
        let Some(FloatOp::Rearrange(r)) =
            rearrangement(&depth_to_space.runs(0..5), shape, Shape::map(3, 4, 3))
        else {
            panic!("a rearrangement");
        };
        // Three channels of two rows each lie as six do.
        assert_eq!((r.factors, r.perm), (vec![2, 6, 3], vec![1, 0, 2]));
    }

    #[test]
    fn heads_turned_to_anchors_keep_their_channels() {
        // Two boxes of 4 numbers a pixel.
        let (shape, v) = map(8, 2, 3);
        let anchors = transposed(&v, &[0, 2, 3, 1]).reshaped(&[1, 12, 4]);
        let anchors = view(anchors.expect("anchors"));
        assert_eq!(anchors.groups(shape), None);
        let groups = choose_groups(&anchors, shape, None).expect("three axes");
        assert_eq!(groups, [vec![2], vec![], vec![1]]);
        let (shape, dims) = grouped(&groups, &[1, 12, 4], 1);
        assert_eq!(shape, Shape::map(4, 1, 12));
        assert_eq!(
            view(dims).groups(shape),
            Some([vec![2], vec![0; 0], vec![1]])
        );
    }

    #[test]
    fn a_part_of_an_axis_is_found_and_thinned() {
        let (shape, v) = map(12, 2, 3);
        let split = view(v.reshaped(&[1, 2, 3, 2, 2, 3]).expect("splits"));
        assert_eq!(split.part_of_axis(2, shape), Some((Axis::C, [2, 2])));
        let thin = view(split.thinned(2, 1));
        assert_eq!(thin.extents(), [1, 2, 1, 2, 2, 3]);
        let joined = thin.reshaped(&[1, 4, 2, 3]).expect("whole again");
        assert_eq!(view(joined).groups(Shape::map(4, 2, 3)), Some(PLAIN()));
    }
}
