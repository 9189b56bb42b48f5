//! Operators that move, name, cut or pad axes. Most of them make no node at all: they give another
//! view of the same value.

use crate::diag;
use crate::import::builder::{Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::tensor::{Constant, MAX_ELEMENTS};
use crate::import::view::{Axis, View};
use crate::ir::float::{FloatOp, Pad, Slice};
use std::rc::Rc;

/// `Identity`.
pub fn identity<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let dims = node.view(0)?.dims.clone();
    builder.realias(node, 0, dims)
}

/// `Transpose`.
pub fn transpose<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?;
    let perm = permutation(node, view.dims.len())?;
    let dims = perm.iter().map(|&i| view.dims[i].clone()).collect();
    builder.realias(node, 0, dims)
}

/// The attribute `perm` of a transposition of `rank` axes.
pub fn permutation(node: &NodeReader<'_>, rank: usize) -> Step<Vec<usize>> {
    let Some(perm) = node.ints("perm")? else {
        return Ok((0..rank).rev().collect());
    };
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank as i64) {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("perm = {perm:?} for {rank} axes"),
            "perm must name every axis once: export the model again",
        ));
    }
    Ok(perm.iter().map(|&p| p as usize).collect())
}

/// `Reshape`.
pub fn reshape<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?;
    let found = view.extents(builder.extents(view));
    let Some(wanted) = node.optional_integers(1)? else {
        return Err(node.finding(
            diag::NODE_ARITY,
            "the target shape is missing",
            "the file is damaged: export the model again",
        ));
    };
    let target = target_shape(node, &found, wanted)?;
    reshaped(builder, node, &target)
}

/// The target of a `Reshape` with 0 (keep) and -1 (whatever is left) resolved.
pub fn target_shape(node: &NodeReader<'_>, found: &[usize], wanted: &[i64]) -> Step<Vec<usize>> {
    let keeps = !node.flag("allowzero", false)?;
    let refuse = || {
        node.finding(
            diag::SHAPE_MISMATCH,
            format!("reshapes {found:?} to {wanted:?}"),
            "the number of elements must stay the same: export for one picture size and batch 1",
        )
    };
    let mut target = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (i, &extent) in wanted.iter().enumerate() {
        target.push(match extent {
            0 if keeps => *found.get(i).ok_or_else(refuse)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            _ => usize::try_from(extent).map_err(|_| refuse())?,
        });
    }
    let count: usize = found.iter().product();
    let product = target.iter().try_fold(1usize, |p, &d| p.checked_mul(d));
    match (product, open) {
        (Some(p), Some(i)) if p > 0 && count.is_multiple_of(p) => target[i] = count / p,
        (Some(p), None) if p == count => {}
        _ => return Err(refuse()),
    }
    Ok(target)
}

/// Input 0 over other extents of as many elements.
fn reshaped<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    target: &[usize],
) -> Step<Operand> {
    let view = node.view(0)?;
    let e = builder.extents(view);
    match view.reshaped(target, e) {
        Some(dims) => builder.realias(node, 0, dims),
        None => Err(node.finding(
            diag::LAYOUT,
            format!(
                "reshapes {:?} to {target:?}, which cuts an axis apart",
                view.extents(e)
            ),
            "only flattening and adding or removing axes of extent 1 are supported (no channel shuffle)",
        )),
    }
}

/// `Flatten`.
pub fn flatten<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?;
    let found = view.extents(builder.extents(view));
    let axis = node.int("axis")?.unwrap_or(1);
    let axis = if axis == found.len() as i64 {
        found.len()
    } else {
        node.resolve_axis(axis, found.len())?
    };
    let target = [
        found[..axis].iter().product(),
        found[axis..].iter().product(),
    ];
    reshaped(builder, node, &target)
}

/// `Squeeze`.
pub fn squeeze<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?;
    let found = view.extents(builder.extents(view));
    let target = squeezed(node, &found)?;
    reshaped(builder, node, &target)
}

/// The extents a `Squeeze` leaves.
pub fn squeezed(node: &NodeReader<'_>, found: &[usize]) -> Step<Vec<usize>> {
    let mut removed = vec![false; found.len()];
    match node.axes(1)? {
        None => removed
            .iter_mut()
            .zip(found)
            .for_each(|(r, &d)| *r = d == 1),
        Some(axes) => {
            for axis in axes {
                let axis = node.resolve_axis(axis, found.len())?;
                if found[axis] != 1 {
                    return Err(node.finding(
                        diag::SHAPE_MISMATCH,
                        format!("squeezes axis {axis} of extents {found:?}"),
                        "only an axis of extent 1 can be removed: check the picture size",
                    ));
                }
                removed[axis] = true;
            }
        }
    }
    let kept = found.iter().zip(removed).filter(|(_, r)| !r);
    Ok(kept.map(|(&d, _)| d).collect())
}

/// `Unsqueeze`.
pub fn unsqueeze<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?;
    let found = view.extents(builder.extents(view));
    let target = unsqueezed(node, &found)?;
    reshaped(builder, node, &target)
}

/// The extents an `Unsqueeze` makes.
pub fn unsqueezed(node: &NodeReader<'_>, found: &[usize]) -> Step<Vec<usize>> {
    let axes = node.axes(1)?.ok_or_else(|| {
        node.finding(
            diag::ATTRIBUTE,
            "axes are missing",
            "the file is damaged: export the model again",
        )
    })?;
    let rank = found.len() + axes.len();
    let mut target = vec![None; rank];
    for &axis in &axes {
        let axis = node.resolve_axis(axis, rank)?;
        if target[axis].replace(1).is_some() {
            return Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("axes = {axes:?} name axis {axis} twice"),
                "the file is damaged: export the model again",
            ));
        }
    }
    let mut rest = found.iter();
    Ok((target.into_iter())
        .map(|d| d.or_else(|| rest.next().copied()).unwrap_or(1))
        .collect())
}

/// `Shape`: known at import; a symbolic batch counts as 1.
pub fn shape<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?;
    let found = view.extents(builder.extents(view));
    Ok(Operand::Constant(Rc::new(shape_of(node, &found)?)))
}

/// The result of `Shape` over these extents.
pub fn shape_of(node: &NodeReader<'_>, found: &[usize]) -> Step<Constant> {
    let rank = found.len() as i64;
    let clamp = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let start = clamp(node.int("start")?.unwrap_or(0));
    let end = clamp(node.int("end")?.unwrap_or(rank)).max(start);
    let kept = found[start..end].iter().map(|&d| d as i64);
    Ok(Constant::ints(kept.collect()))
}

/// What a list over ONNX axes says about channel, row and column; `refuse` gives the finding for an
/// axis that is none of them alone.
fn image_axis(node: &NodeReader<'_>, view: &View, index: usize, what: &str) -> Step<usize> {
    match view.single_axis(index) {
        Some(Axis::C) => Ok(0),
        Some(Axis::H) => Ok(1),
        Some(Axis::W) => Ok(2),
        Some(Axis::N) => Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("{what} along the batch"),
            "only channels, rows and columns can be cut or padded",
        )),
        None => Err(node.finding(
            diag::LAYOUT,
            format!("{what} along axis {index}, which is no single axis of the picture"),
            "cut and pad before flattening",
        )),
    }
}

/// `Pad` by a constant.
pub fn pad<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let mode = node.text("mode")?.unwrap_or_default();
    if !matches!(mode.as_str(), "" | "constant") {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("mode = '{mode}'"),
            "only constant padding is supported: use padding_mode='zeros'",
        ));
    }
    let view = node.view(0)?.clone();
    let rank = view.dims.len();
    let pads = match node.ints("pads")? {
        Some(pads) => pads.to_vec(),
        None => node.optional_integers(1)?.unwrap_or_default().to_vec(),
    };
    let value = match (node.float("value")?, node.optional_parameters(2)?) {
        (Some(value), _) => value,
        (None, None) => 0.0,
        (None, Some(constant)) => match constant.floats() {
            Some(&[value]) => value,
            _ => {
                return Err(node.finding(
                    diag::ATTRIBUTE_VALUE,
                    format!("constant_value of extents {}", constant.extents()),
                    "padding needs a single value",
                ));
            }
        },
    };
    let axes: Vec<usize> = match node.optional_integers(3)? {
        None => (0..rank).collect(),
        Some(axes) => {
            let resolved = axes.iter().map(|&a| node.resolve_axis(a, rank));
            resolved.collect::<Step<_>>()?
        }
    };
    if pads.len() != 2 * axes.len() {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("{} pads for {} axes", pads.len(), axes.len()),
            "pads must hold a start and an end for every axis: export the model again",
        ));
    }
    let mut amount = [[0; 2]; 3];
    for (i, &axis) in axes.iter().enumerate() {
        for (side, &n) in [pads[i], pads[i + axes.len()]].iter().enumerate() {
            if n == 0 {
                continue;
            }
            let n = usize::try_from(n)
                .ok()
                .filter(|&n| n <= MAX_ELEMENTS)
                .ok_or_else(|| {
                    node.finding(
                        diag::ATTRIBUTE_VALUE,
                        format!("pads = {pads:?}"),
                        "padding must not be negative (use Slice to crop) nor huge",
                    )
                })?;
            amount[image_axis(node, &view, axis, "padding")?][side] += n;
        }
    }
    if amount == [[0; 2]; 3] {
        return builder.realias(node, 0, view.dims);
    }
    if !value.is_finite() {
        return Err(node.finding(
            diag::NON_FINITE,
            format!("pads with {value}"),
            "pad with a finite value; a MaxPool ignores its own padding",
        ));
    }
    let [c, h, w] = amount;
    let op = FloatOp::Pad(Pad { c, h, w, value });
    Ok(fresh(builder.emit(node, op, vec![view.value])?, view.dims))
}

/// The bounds of a `Slice` along one axis: first element, step and number of elements.
pub struct Bounds {
    /// ONNX axis.
    pub axis: usize,
    /// First element.
    pub start: usize,
    /// Distance.
    pub step: usize,
    /// Elements.
    pub count: usize,
}

/// Reads the bounds of a `Slice` over `found`, as attributes or as inputs.
pub fn bounds(node: &NodeReader<'_>, found: &[usize]) -> Step<Vec<Bounds>> {
    let list = |name: &str, index: usize| -> Step<Option<Vec<i64>>> {
        if let Some(values) = node.ints(name)? {
            return Ok(Some(values.to_vec()));
        }
        Ok(node.optional_integers(index)?.map(<[i64]>::to_vec))
    };
    let (Some(starts), Some(ends)) = (list("starts", 1)?, list("ends", 2)?) else {
        return Err(node.finding(
            diag::ATTRIBUTE,
            "starts or ends are missing",
            "the file is damaged: export the model again",
        ));
    };
    let axes = list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!(
                "{} starts, {} ends, {} axes, {} steps",
                starts.len(),
                ends.len(),
                axes.len(),
                steps.len()
            ),
            "all must have the same length: export the model again",
        ));
    }
    let mut all: Vec<Bounds> = Vec::with_capacity(starts.len());
    for i in 0..starts.len() {
        let axis = node.resolve_axis(axes[i], found.len())?;
        let extent = found[axis] as i64;
        let resolve = |v: i64| (if v < 0 { v.saturating_add(extent) } else { v }).clamp(0, extent);
        let (start, end) = (resolve(starts[i]), resolve(ends[i]));
        let step = steps[i];
        if step < 1 || all.iter().any(|b| b.axis == axis) {
            return Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("slices axis {axis} by step {step}"),
                "steps must be positive and axes named once",
            ));
        }
        let count = (end - start).max(0) as usize;
        // A step beyond the extent takes the first element alone.
        let step = step.min(extent.max(1)) as usize;
        all.push(Bounds {
            axis,
            start: start as usize,
            step,
            count: count.div_ceil(step),
        });
    }
    Ok(all)
}

/// `Slice` with positive steps.
pub fn slice<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let e = builder.extents(&view);
    let found = view.extents(e);
    let image = [e.shape.c, e.shape.h, e.shape.w];
    let mut slice = Slice {
        start: [0; 3],
        step: [1; 3],
        count: image,
    };
    for b in bounds(node, &found)? {
        if b.count == 0 {
            return Err(node.finding(
                diag::SHAPE_MISMATCH,
                format!("slices axis {} of extents {found:?} to nothing", b.axis),
                "check the picture size the model was exported for",
            ));
        }
        if b.count == found[b.axis] {
            continue;
        }
        let axis = image_axis(node, &view, b.axis, "slicing")?;
        slice.start[axis] = b.start;
        slice.step[axis] = b.step;
        slice.count[axis] = b.count;
    }
    if slice.count == image {
        return builder.realias(node, 0, view.dims);
    }
    let exclusive = view.exclusive && builder.is_only_reader(node, 0);
    let producer = builder.graph.producer(view.value).filter(|_| exclusive);
    if let Some(id) = producer
        && builder.may_merge(id, node)
        && let FloatOp::Slice(before) = &builder.graph.nodes[id].op
    {
        // torch cuts one axis at a time; one selection does the same.
        let merged = Slice {
            start: std::array::from_fn(|i| before.start[i] + slice.start[i] * before.step[i]),
            step: std::array::from_fn(|i| before.step[i] * slice.step[i]),
            count: slice.count,
        };
        builder.graph.nodes[id].op = FloatOp::Slice(merged);
        builder.graph.values[view.value] = crate::ir::float::Value {
            name: node.proto.output.first().cloned().unwrap_or_default(),
            shape: crate::ir::float::Shape::map(slice.count[0], slice.count[1], slice.count[2]),
        };
        return Ok(fresh(view.value, view.dims));
    }
    let value = builder.emit(node, FloatOp::Slice(slice), vec![view.value])?;
    Ok(fresh(value, view.dims))
}
