//! Pooling and means over the picture.

use super::conv::{StatedWindow, kernel_shape, window};
use crate::diag;
use crate::import::builder::{Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::view::{Run, View};
use crate::ir::float::{FloatOp, Pad, Window};
use crate::ir::ids::ValueId;

/// What `MaxPool` and `AveragePool` share: the input and the window as stated.
fn stated<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<(ValueId, StatedWindow)> {
    let kernel = kernel_shape(node)?.ok_or_else(|| {
        node.finding(
            diag::ATTRIBUTE,
            "attribute 'kernel_shape' is missing",
            "the file is damaged: export the model again",
        )
    })?;
    let input = builder.map(node, 0)?;
    let stated = window(node, kernel, builder.graph.shape(input))?;
    Ok((input, stated))
}

fn emit<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    op: FloatOp,
    window: &Window,
    input: ValueId,
) -> Step<Operand> {
    let shape = builder.graph.shape(input);
    let fits = window.output(shape.h, shape.w).is_some();
    if fits && !window.meets(shape.h, shape.w) {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!(
                "padding {:?} leaves a window of {}x{} without any element of {shape}",
                window.pads,
                window.extent(0),
                window.extent(1)
            ),
            "padding must be smaller than the kernel",
        ));
    }
    let value = builder.emit(node, op, vec![input])?;
    Ok(builder.fresh_map(node, value))
}

/// `MaxPool`. Padding never wins, so `ceil_mode` is padding at the end.
pub fn max<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let (input, stated) = stated(builder, node)?;
    let window = with_extra(&stated);
    emit(builder, node, FloatOp::MaxPool(window), &window, input)
}

/// `AveragePool`.
pub fn average<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let (mut input, mut stated) = stated(builder, node)?;
    let mut count_include_pad = node.flag("count_include_pad", false)?;
    let window = &mut stated.window;
    if count_include_pad && stated.ceil_extra != [0; 2] {
        // The room ceil_mode adds is not counted, the stated padding is: it becomes a part of the
        // picture, so that what lies outside is not counted.
        let [top, left, bottom, right] = std::mem::take(&mut window.pads);
        if [top, left, bottom, right] != [0; 4] {
            let op = FloatOp::Pad(Pad {
                c: [0, 0],
                h: [top, bottom],
                w: [left, right],
                value: 0.0,
            });
            input = builder.emit(node, op, vec![input])?;
        }
        count_include_pad = false;
    }
    let window = with_extra(&stated);
    let op = FloatOp::AvgPool {
        window,
        count_include_pad,
    };
    emit(builder, node, op, &window, input)
}

fn with_extra(stated: &StatedWindow) -> Window {
    let mut window = stated.window;
    window.pads[2] += stated.ceil_extra[0];
    window.pads[3] += stated.ceil_extra[1];
    window
}

/// `GlobalAveragePool`.
pub fn global_average<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let input = builder.map(node, 0)?;
    let value = builder.emit(node, FloatOp::GlobalAvgPool, vec![input])?;
    Ok(builder.fresh_map(node, value))
}

/// `GlobalMaxPool`: a window over the whole picture.
pub fn global_max<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let input = builder.map(node, 0)?;
    let value = builder.emit(node, whole_maximum(builder, input), vec![input])?;
    Ok(builder.fresh_map(node, value))
}

fn whole_maximum(builder: &Builder<'_>, input: ValueId) -> FloatOp {
    let shape = builder.graph.shape(input);
    FloatOp::MaxPool(Window {
        kernel: [shape.h, shape.w],
        ..Window::UNIT
    })
}

/// `ReduceMean`.
pub fn reduce_mean<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    reduce(builder, node, |_, _| FloatOp::GlobalAvgPool)
}

/// `ReduceMax`.
pub fn reduce_max<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    reduce(builder, node, |builder, input| {
        whole_maximum(builder, input)
    })
}

/// An operation over whole pictures, whichever way the reduced axes lie.
fn reduce<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    op: impl Fn(&Builder<'m>, ValueId) -> FloatOp,
) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let rank = view.dims.len();
    let stated = node.axes(1)?.unwrap_or_default();
    if stated.is_empty() && node.flag("noop_with_empty_axes", false)? {
        return builder.realias(node, 0, view.dims);
    }
    let mut axes = Vec::new();
    for axis in stated {
        axes.push(node.resolve_axis(axis, rank)?);
    }
    if axes.is_empty() {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    axes.dedup();
    let keepdims = node.flag("keepdims", true)?;
    let without_reduced = |view: &View| {
        let mut dims = view.dims.clone();
        axes.iter().for_each(|&a| dims[a].clear());
        for &a in axes.iter().rev().filter(|_| !keepdims) {
            dims.remove(a);
        }
        dims
    };
    let long: Vec<usize> = (axes.iter().copied())
        .filter(|&a| !view.dims[a].is_empty())
        .collect();
    if long.is_empty() {
        return builder.realias(node, 0, without_reduced(&view));
    }
    let first = view.batch_axes().filter(|&first| long[0] >= first);
    let Some(first) = first else {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("reduces axes {axes:?} of extents {:?}", view.extents()),
            "only axes behind the batch can be reduced",
        ));
    };
    let pixels = builder.shape(&view).pixels();
    let picture = [Run {
        extent: pixels,
        stride: 1,
    }];
    let mut reduced: Vec<Run> = long.iter().flat_map(|&a| view.dims[a].clone()).collect();
    reduced.sort_by_key(|run| std::cmp::Reverse(run.stride));
    if crate::import::view::merged(reduced) == picture {
        let op = op(builder, view.value);
        let value = builder.emit(node, op, vec![view.value])?;
        // Strides of what is left count pixels.
        let mut left = view.clone();
        for run in left.dims.iter_mut().flatten().filter(|r| r.stride > 0) {
            run.stride /= pixels;
        }
        return Ok(fresh(value, without_reduced(&left)));
    }
    // What is kept becomes channels, what is reduced the picture.
    let kept: Vec<usize> = (first..rank).filter(|a| !axes.contains(a)).collect();
    let x = builder.aligned_to(&view, &[kept, vec![], long], node.input_name(0));
    let op = op(builder, x.value);
    let value = builder.emit(node, op, vec![x.value])?;
    let mut extents = x.extents.clone();
    axes.iter().for_each(|&a| extents[a] = 1);
    match x.made(value, &extents) {
        Operand::View(view) => Ok(fresh(value, without_reduced(&view))),
        operand => Ok(operand),
    }
}
