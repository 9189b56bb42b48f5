//! Operators that pad, cut, join and resample axes.

use crate::diag;
use crate::import::builder::{Aligned, Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::proto::data_type;
use crate::import::tensor::MAX_ELEMENTS;
use crate::import::view::{Groups, View};
use crate::ir::float::{
    Axis, Coordinates, FloatOp, Interpolation, Pad, Resize, Shape, Slice, Value,
};

/// The value's axis that ONNX axis `index` is.
fn axis_of(node: &NodeReader<'_>, x: &Aligned, index: usize, what: &str) -> Step<Axis> {
    x.axis(index).ok_or_else(|| {
        node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("{what} along axis {index} of extents {:?}", x.extents),
            "only channels, rows and columns can be cut, joined or padded, and never the batch",
        )
    })
}

/// `Pad` by a constant, or by elements of the value itself.
pub fn pad<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let mode = node.text("mode")?.unwrap_or_default();
    let view = node.view(0)?.clone();
    let rank = view.dims.len();
    let pads = match node.ints("pads")? {
        Some(pads) => pads.to_vec(),
        None => node.optional_integers(1)?.unwrap_or_default().to_vec(),
    };
    let value = pad_value(builder, node)?;
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
    if pads.iter().all(|&n| n == 0) {
        return builder.realias(node, 0, view.dims);
    }
    let most = MAX_ELEMENTS as i64;
    if pads.iter().any(|n| !(-most..=most).contains(n)) {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("pads = {pads:?}"),
            "padding must not be huge: the file is damaged",
        ));
    }
    let x = builder.aligned(node, 0, None)?;
    let mut extents = x.extents.clone();
    let mut added = [[0; 2]; 3];
    let mut current = x.value;
    for (i, &index) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        if before == 0 && after == 0 {
            continue;
        }
        let axis = axis_of(node, &x, index, "padding")?;
        let extent = builder.graph.shape(current).extent(axis);
        let positions = padded_positions(node, &mode, extent, [before, after])?;
        let constant = matches!(mode.as_str(), "" | "constant");
        extents[index] = positions.len();
        let kept: Vec<usize> = positions.iter().flatten().copied().collect();
        if constant {
            let outside = |p: &&Option<usize>| p.is_none();
            added[axis as usize] = [
                positions.iter().take_while(outside).count(),
                positions.iter().rev().take_while(outside).count(),
            ];
        }
        if kept.len() == extent && kept.is_sorted() {
            continue;
        }
        if kept.is_empty() {
            return Err(empty(node, index, &x.extents));
        }
        let op = selection(builder.graph.shape(current), axis, &kept);
        current = builder.emit(node, op, vec![current])?;
    }
    if added != [[0; 2]; 3] {
        if !value.is_finite() {
            return Err(node.finding(
                diag::NON_FINITE,
                format!("pads with {value}"),
                "pad with a finite value; a MaxPool ignores its own padding",
            ));
        }
        let [c, h, w] = added;
        let op = FloatOp::Pad(Pad { c, h, w, value });
        current = builder.emit(node, op, vec![current])?;
    }
    Ok(x.made(current, &extents))
}

fn pad_value(builder: &Builder<'_>, node: &NodeReader<'_>) -> Step<f32> {
    if let Some(value) = node.float("value")? {
        return Ok(value);
    }
    let constant = node.optional_constant(2)?;
    if let Some(steps) = builder.steps(node.input_name(0)) {
        let unsigned = builder.element_type(node.input_name(2)) == Some(data_type::UINT8);
        let integer = constant.and_then(|c| c.integers()).and_then(|i| i.first());
        return Ok(steps.number(integer.copied().unwrap_or(0), unsigned));
    }
    let Some(constant) = constant else {
        return Ok(0.0);
    };
    match constant.floats() {
        Some(&[value]) => Ok(value),
        _ => Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("constant_value of extents {}", constant.extents()),
            "padding needs a single float",
        )),
    }
}

/// What stands at each position of a padded axis: an element of the value or the constant.
fn padded_positions(
    node: &NodeReader<'_>,
    mode: &str,
    extent: usize,
    [before, after]: [i64; 2],
) -> Step<Vec<Option<usize>>> {
    let n = extent as i64;
    let source = |at: i64| -> Option<i64> {
        match mode {
            "reflect" if n == 1 => Some(0),
            "reflect" => {
                let period = 2 * (n - 1);
                let at = at.rem_euclid(period);
                Some(at.min(period - at))
            }
            "edge" => Some(at.clamp(0, n - 1)),
            "wrap" => Some(at.rem_euclid(n)),
            _ => (0..n).contains(&at).then_some(at),
        }
    };
    if !matches!(mode, "" | "constant" | "reflect" | "edge" | "wrap") {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("mode = '{mode}'"),
            "mode is constant, reflect, edge or wrap: export the model again",
        ));
    }
    Ok((-before..n + after)
        .map(|at| source(at).map(|at| at as usize))
        .collect())
}

/// The operation that takes these positions along an axis: a slice if they are at equal distances.
fn selection(shape: Shape, axis: Axis, positions: &[usize]) -> FloatOp {
    let at = axis as usize;
    let step = match positions {
        [a, b, ..] if b > a => b - a,
        _ => 1,
    };
    let even = (positions.windows(2)).all(|pair| pair[1].checked_sub(pair[0]) == Some(step));
    if !even {
        return FloatOp::Select {
            axis,
            indices: positions.to_vec(),
        };
    }
    let mut slice = Slice {
        start: [0; 3],
        step: [1; 3],
        count: shape.extents(),
    };
    slice.start[at] = positions[0];
    slice.step[at] = step;
    slice.count[at] = positions.len();
    FloatOp::Slice(slice)
}

/// The positions that a `Slice` takes along one axis.
pub struct Bounds {
    /// ONNX axis.
    pub axis: usize,
    /// First element.
    pub start: i64,
    /// Distance, not zero.
    pub step: i64,
    /// Elements.
    pub count: usize,
}

impl Bounds {
    /// The positions.
    pub fn positions(&self) -> Vec<usize> {
        let at = |i: usize| self.start + i as i64 * self.step;
        (0..self.count).map(|i| at(i) as usize).collect()
    }
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
        if steps[i] == 0 || all.iter().any(|b| b.axis == axis) {
            return Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("slices axis {axis} by step {}", steps[i]),
                "steps must not be 0 and axes named once",
            ));
        }
        // A step beyond the extent takes the first element alone.
        let step = steps[i].clamp(-extent.max(1), extent.max(1));
        let (low, high) = if step > 0 {
            (0, extent)
        } else {
            (-1, extent - 1)
        };
        let resolve = |v: i64| (if v < 0 { v.saturating_add(extent) } else { v }).clamp(low, high);
        let (start, end) = (resolve(starts[i]), resolve(ends[i]));
        let room = if step > 0 { end - start } else { start - end };
        all.push(Bounds {
            axis,
            start,
            step,
            count: (room.max(0) as usize).div_ceil(step.unsigned_abs() as usize),
        });
    }
    Ok(all)
}

fn empty(node: &NodeReader<'_>, axis: usize, found: &[usize]) -> diag::Diagnostic {
    node.finding(
        diag::SHAPE_MISMATCH,
        format!("cuts axis {axis} of extents {found:?} to nothing"),
        "check the picture size the model was exported for",
    )
}

/// `Slice`.
pub fn slice<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let found = view.extents();
    let mut cuts = bounds(node, &found)?;
    if let Some(b) = cuts.iter().find(|b| b.count == 0) {
        return Err(empty(node, b.axis, &found));
    }
    cuts.retain(|b| b.count < found[b.axis] || b.step < 0 && b.count > 1);
    if cuts.is_empty() {
        return builder.realias(node, 0, view.dims);
    }
    if let Some(operand) = plain_slice(builder, node, &view, &cuts)? {
        return Ok(operand);
    }
    let mut operand = Operand::View(view);
    for b in cuts {
        operand = select(builder, node, &operand, b.axis, &b.positions())?;
    }
    Ok(operand)
}

/// One [`FloatOp::Slice`] where every cut is along one axis of the value.
fn plain_slice<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    view: &View,
    cuts: &[Bounds],
) -> Step<Option<Operand>> {
    let shape = builder.shape(view);
    let Some(groups) = view.groups(shape) else {
        return Ok(None);
    };
    let mut slice = Slice {
        start: [0; 3],
        step: [1; 3],
        count: shape.extents(),
    };
    let mut dims = view.dims.clone();
    for b in cuts {
        let Some(axis) = (0..3)
            .find(|&a| groups[a] == [b.axis])
            .filter(|_| b.step > 0)
        else {
            return Ok(None);
        };
        slice.start[axis] = b.start as usize;
        slice.step[axis] = b.step as usize;
        slice.count[axis] = b.count;
        dims = view.alias(dims, false).thinned(b.axis, b.count);
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
        builder.graph.values[view.value] = Value {
            name: node.proto.output.first().cloned().unwrap_or_default(),
            shape: Shape::map(slice.count[0], slice.count[1], slice.count[2]),
        };
        return Ok(Some(fresh(view.value, dims)));
    }
    let value = builder.emit(node, FloatOp::Slice(slice), vec![view.value])?;
    Ok(Some(fresh(value, dims)))
}

/// The elements of `operand`, a view of input 0, at these positions along ONNX axis `index`.
pub fn select<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    operand: &Operand,
    index: usize,
    positions: &[usize],
) -> Step<Operand> {
    let Operand::View(view) = operand else {
        return Ok(operand.clone());
    };
    let shape = builder.shape(view);
    if let Some((axis, [outer, inner])) = view.part_of_axis(index, shape) {
        // The axis may be a part of the value's: nothing but the selection has to be made.
        let extent = view.extents()[index];
        let all: Vec<usize> = (0..outer)
            .flat_map(|o| positions.iter().map(move |&i| o * extent + i))
            .flat_map(|block| (0..inner).map(move |i| block * inner + i))
            .collect();
        let op = selection(shape, axis, &all);
        let value = builder.emit(node, op, vec![view.value])?;
        return Ok(fresh(value, view.thinned(index, positions.len())));
    }
    let groups = (view.groups(shape))
        .filter(|groups| groups.iter().flatten().any(|&i| i == index))
        .or_else(|| crate::import::view::choose_groups(view, shape, Some(index)));
    let Some(groups) = groups else {
        return Err(builder.wrong_layout(node, 0, "a batch"));
    };
    let x = builder.aligned_to(view, &groups, node.input_name(0));
    let axis = axis_of(node, &x, index, "cutting")?;
    let op = selection(builder.graph.shape(x.value), axis, positions);
    let value = builder.emit(node, op, vec![x.value])?;
    let mut extents = x.extents.clone();
    extents[index] = positions.len();
    Ok(x.made(value, &extents))
}

/// `Gather` by constant indices along one axis.
pub fn gather<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let found = view.extents();
    let axis = node.resolve_axis(node.int("axis")?.unwrap_or(0), found.len())?;
    let indices = node.constant(1)?.clone();
    let mut positions = Vec::new();
    for &index in indices.integers().unwrap_or_default() {
        let extent = found[axis] as i64;
        let resolved = if index < 0 {
            index.saturating_add(extent)
        } else {
            index
        };
        if !(0..extent).contains(&resolved) {
            return Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("takes element {index} of {extent} along axis {axis}"),
                "the file is damaged: export the model again",
            ));
        }
        positions.push(resolved as usize);
    }
    if positions.is_empty() {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("indices of extents {}", indices.extents()),
            "something must be taken",
        ));
    }
    let whole = positions.iter().copied().eq(0..found[axis]);
    let operand = match whole {
        true => builder.realias(node, 0, view.dims)?,
        false => select(builder, node, &Operand::View(view), axis, &positions)?,
    };
    match operand {
        Operand::View(mut view) if indices.dims.is_empty() => {
            view.dims.remove(axis);
            Ok(Operand::View(view))
        }
        Operand::View(mut view) if indices.dims.len() > 1 => {
            let mut extents = view.extents();
            extents.splice(axis..=axis, indices.dims.iter().copied());
            match view.reshaped(&extents) {
                Some(dims) => view.dims = dims,
                None => return Err(builder.wrong_layout(node, 0, "a batch")),
            }
            Ok(Operand::View(view))
        }
        operand => Ok(operand),
    }
}

/// `Split`: defines the outputs behind the first itself.
pub fn split<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let found = view.extents();
    let axis = node.resolve_axis(node.int("axis")?.unwrap_or(0), found.len())?;
    let outputs = &node.proto.output;
    let stated = match node.ints("split")? {
        Some(sizes) => Some(sizes.to_vec()),
        None => node.optional_integers(1)?.map(<[i64]>::to_vec),
    };
    let sizes = stated.unwrap_or_else(|| {
        // Equal parts; the last one may be smaller.
        let size = found[axis].div_ceil(outputs.len().max(1));
        let rest = |i: usize| found[axis].saturating_sub(i * size).min(size);
        (0..outputs.len()).map(|i| rest(i) as i64).collect()
    });
    let positive = sizes.iter().all(|&s| s > 0);
    let total = sizes.iter().try_fold(0i64, |sum, &s| sum.checked_add(s));
    if sizes.len() != outputs.len() || !positive || total != Some(found[axis] as i64) {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!(
                "splits axis {axis} of extents {found:?} to {sizes:?} for {} outputs",
                outputs.len()
            ),
            "the parts must add up to the whole: export the model again",
        ));
    }
    let mut first = None;
    let mut start = 0;
    for (output, &size) in outputs.iter().zip(&sizes) {
        let end = start + size as usize;
        let positions: Vec<usize> = (start..end).collect();
        start = end;
        let part = match (sizes.len(), builder.is_read(output)) {
            (1, _) => builder.realias(node, 0, view.dims.clone())?,
            (_, false) => Operand::UnknownValue,
            (_, true) => {
                let part = select(
                    builder,
                    node,
                    &Operand::View(view.clone()),
                    axis,
                    &positions,
                )?;
                if let Operand::View(part) = &part {
                    builder.graph.values[part.value].name.clone_from(output);
                }
                part
            }
        };
        if first.is_none() {
            first = Some(part);
        } else {
            builder.define(output, part);
        }
    }
    Ok(first.unwrap_or(Operand::UnknownValue))
}

/// `Concat` of values.
pub fn concat<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let first = node.view(0)?.clone();
    let found = first.extents();
    let Some(axis) = node.int("axis")? else {
        return Err(node.finding(
            diag::ATTRIBUTE,
            "attribute 'axis' is missing",
            "the file is damaged: export the model again",
        ));
    };
    let index = node.resolve_axis(axis, found.len())?;
    let mut extents = found.clone();
    for input in 1..node.inputs.len() {
        let other = node.view(input)?.extents();
        let fits = other.len() == found.len()
            && (0..found.len()).all(|i| i == index || other[i] == found[i]);
        if !fits {
            return Err(node.finding(
                diag::SHAPE_MISMATCH,
                format!("joins extents {found:?} and {other:?} along axis {index}"),
                "all other axes must be the same: export the model again",
            ));
        }
        extents[index] += other[index];
    }
    if node.inputs.len() == 1 {
        return builder.realias(node, 0, first.dims);
    }
    let x = builder.aligned(node, 0, Some(index))?;
    let axis = axis_of(node, &x, index, "joining")?;
    let mut values = vec![x.value];
    for input in 1..node.inputs.len() {
        let view = node.view(input)?.clone();
        values.push(builder.with_groups(&view, &x.groups, node.input_name(input)));
    }
    let value = builder.emit(node, FloatOp::Concat(axis), values)?;
    Ok(x.made(value, &extents))
}

/// `Expand` to extents of which some were 1.
pub fn expand<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let mut view = node.view(0)?.clone();
    let wanted = node.optional_integers(1)?.unwrap_or_default().to_vec();
    let missing = wanted.len().saturating_sub(view.dims.len());
    let mut dims = vec![Vec::new(); missing];
    dims.extend(view.dims);
    view.dims = dims;
    let found = view.extents();
    let mut operand = Operand::View(view);
    for (back, &extent) in wanted.iter().rev().enumerate() {
        let index = found.len() - 1 - back;
        match (usize::try_from(extent), found[index]) {
            (Ok(1), _) => {}
            (Ok(wanted), found) if wanted == found => {}
            (Ok(wanted), 1) if (2..=MAX_ELEMENTS).contains(&wanted) => {
                operand = select(builder, node, &operand, index, &vec![0; wanted])?;
            }
            _ => {
                return Err(node.finding(
                    diag::BROADCAST,
                    format!("expands {found:?} to {wanted:?}"),
                    "only axes of extent 1 can be expanded: export the model again",
                ));
            }
        }
    }
    match operand {
        Operand::View(view) if view.value == node.view(0)?.value => {
            builder.realias(node, 0, view.dims)
        }
        operand => Ok(operand),
    }
}

/// The extents and scales that a `Resize` states for each ONNX axis.
fn resize_target(node: &NodeReader<'_>, found: &[usize]) -> Step<(Vec<usize>, Vec<f32>)> {
    let refuse = |message: String| {
        Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            message,
            "give a scale or a size for each axis: export the model again",
        ))
    };
    let axes: Vec<usize> = match node.ints("axes")? {
        None => (0..found.len()).collect(),
        Some(axes) => {
            (axes.iter().map(|&a| node.resolve_axis(a, found.len()))).collect::<Step<_>>()?
        }
    };
    let (mut sizes, mut scales) = (found.to_vec(), vec![1.0; found.len()]);
    let stated = node.optional_constant(2)?.filter(|c| c.elements.len() > 0);
    if let Some(constant) = stated {
        let Some(values) = constant.floats().filter(|v| v.len() == axes.len()) else {
            return refuse(format!("scales of extents {}", constant.extents()));
        };
        for (&axis, &scale) in axes.iter().zip(values) {
            if !(scale.is_finite() && scale > 0.0 && scale <= MAX_ELEMENTS as f32) {
                return refuse(format!("scales = {values:?}"));
            }
            sizes[axis] = (found[axis] as f32 * scale).floor() as usize;
            scales[axis] = scale;
        }
        return Ok((sizes, scales));
    }
    let Some(values) = node.optional_integers(3)?.filter(|v| v.len() == axes.len()) else {
        return refuse("neither scales nor sizes fit the axes".into());
    };
    for (&axis, &size) in axes.iter().zip(values) {
        let Some(size) = usize::try_from(size)
            .ok()
            .filter(|s| (1..=MAX_ELEMENTS).contains(s))
        else {
            return refuse(format!("sizes = {values:?}"));
        };
        let extent = found[axis] as f32;
        let mut scale = size as f32 / extent;
        // What is written again states the scale alone: it must lead to this size.
        while ((extent * scale).floor() as usize) < size {
            scale = scale.next_up();
        }
        sizes[axis] = size;
        scales[axis] = scale;
    }
    Ok((sizes, scales))
}

/// `Resize` of rows and columns.
pub fn resize<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let found = view.extents();
    let unsupported = |name: &str, value: String| {
        node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("{name} = {value}"),
            "nearest and linear resizing to a fixed size are supported (torch: F.interpolate without antialias)",
        )
    };
    let text = |name: &str, default: &str| -> Step<String> {
        Ok(node.text(name)?.unwrap_or_else(|| default.into()))
    };
    let mode = text("mode", "nearest")?;
    let rounding = text("nearest_mode", "round_prefer_floor")?;
    let coordinates = text("coordinate_transformation_mode", "half_pixel")?;
    let wanted = if mode == "nearest" { &rounding } else { &mode };
    let interpolation = (Interpolation::ALL.iter())
        .find(|(i, name)| name == wanted && (mode == "linear") == (*i == Interpolation::Linear))
        .ok_or_else(|| unsupported("mode", format!("'{mode}' '{rounding}'")))?
        .0;
    let coordinates = (Coordinates::ALL.iter())
        .find(|(_, name)| *name == coordinates)
        .ok_or_else(|| unsupported("coordinate_transformation_mode", format!("'{coordinates}'")))?
        .0;
    if node.flag("antialias", false)? {
        return Err(unsupported("antialias", "1".into()));
    }
    let policy = text("keep_aspect_ratio_policy", "stretch")?;
    if policy != "stretch" {
        return Err(unsupported(
            "keep_aspect_ratio_policy",
            format!("'{policy}'"),
        ));
    }
    let (sizes, scales) = resize_target(node, &found)?;
    if sizes.contains(&0) {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!("resizes {found:?} to {sizes:?}"),
            "the picture is too small for this network: export it for larger ones",
        ));
    }
    if sizes == found && scales.iter().all(|&s| s == 1.0) {
        return builder.realias(node, 0, view.dims);
    }
    let mut x = builder.aligned(node, 0, None)?;
    let changed: Vec<usize> = (0..found.len())
        .filter(|&i| sizes[i] != found[i] || scales[i] != 1.0)
        .collect();
    let on_picture = |x: &Aligned| {
        changed
            .iter()
            .all(|&i| matches!(x.axis(i), Some(Axis::H | Axis::W)))
    };
    if !on_picture(&x) {
        // Whatever is resized becomes rows and columns.
        let groups: Option<Groups> = match changed[..] {
            [w] => Some([other_axes(&view, &[w]), vec![], vec![w]]),
            [h, w] => Some([other_axes(&view, &[h, w]), vec![h], vec![w]]),
            _ => None,
        };
        let groups = groups.filter(|_| view.batch_axes().is_some_and(|b| changed[0] >= b));
        let Some(groups) = groups else {
            return Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("resizes {found:?} to {sizes:?}"),
                "only two axes can be resized, and never the batch",
            ));
        };
        x = builder.aligned_to(&view, &groups, node.input_name(0));
    }
    let shape = builder.graph.shape(x.value);
    let mut resize = Resize {
        size: [shape.h, shape.w],
        scale: [1.0; 2],
        coordinates,
        interpolation,
    };
    for &i in &changed {
        let at = usize::from(x.axis(i) == Some(Axis::W));
        resize.size[at] = sizes[i];
        resize.scale[at] = scales[i];
    }
    let value = builder.emit(node, FloatOp::Resize(resize), vec![x.value])?;
    Ok(x.made(value, &sizes))
}

/// All ONNX axes behind the batch but these.
fn other_axes(view: &View, without: &[usize]) -> Vec<usize> {
    let first = view.batch_axes().unwrap_or(0);
    (first..view.dims.len())
        .filter(|i| !without.contains(i))
        .collect()
}
