//! Pooling and means over the picture.

use super::conv::{StatedWindow, kernel_shape, window};
use crate::diag;
use crate::import::builder::{Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::view::{Axis, nchw};
use crate::ir::float::{FloatOp, Window};
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
    Ok(fresh(builder.emit(node, op, vec![input])?, nchw()))
}

/// `MaxPool`. Padding never wins, so `ceil_mode` is padding at the end.
pub fn max<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let (input, stated) = stated(builder, node)?;
    let window = with_extra(&stated);
    emit(builder, node, FloatOp::MaxPool(window), &window, input)
}

/// `AveragePool`.
pub fn average<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let (input, stated) = stated(builder, node)?;
    let count_include_pad = node.flag("count_include_pad", false)?;
    if count_include_pad && stated.ceil_extra != [0; 2] {
        // The room ceil_mode adds is not counted, the stated padding is: no one window says both.
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            "ceil_mode and count_include_pad together, with a partial last window",
            "set count_include_pad=False or ceil_mode=False in the model",
        ));
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
    Ok(fresh(value, nchw()))
}

/// `ReduceMean` over the whole picture, whichever way its axes lie.
pub fn reduce_mean<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let e = builder.extents(&view);
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
    let mut reduced: Vec<Axis> = axes.iter().flat_map(|&a| e.long(&view.dims[a])).collect();
    reduced.sort();
    reduced.dedup();
    let picture = e.long(&[Axis::H, Axis::W]);
    let keepdims = node.flag("keepdims", true)?;
    let mut dims = Vec::new();
    for (i, group) in view.dims.iter().enumerate() {
        if !axes.contains(&i) {
            dims.push(group.clone());
        } else if keepdims {
            // Still the picture's axis, now of extent 1.
            dims.push(group.iter().copied().filter(|a| *a != Axis::C).collect());
        }
    }
    if reduced.is_empty() {
        return builder.realias(node, 0, dims);
    }
    if reduced != picture {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("mean over axes {axes:?} of extents {:?}", view.extents(e)),
            "only the mean over the whole picture (axes 2 and 3) is supported",
        ));
    }
    let value = builder.emit(node, FloatOp::GlobalAvgPool, vec![view.value])?;
    Ok(fresh(value, dims))
}
