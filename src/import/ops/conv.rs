//! Convolutions and what they share with pooling: the sliding window.

use crate::diag;
use crate::import::builder::Builder;
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::tensor::Constant;
use crate::ir::float::{Conv, FloatOp, Shape, Window};

/// Largest kernel extent, stride, dilation or padding: enough for anything real, and no product of
/// two of them overflows.
pub(super) const MAX_STEP: i64 = 1 << 12;

/// A window as the attributes state it, with the extra room `ceil_mode` asks for.
pub struct StatedWindow {
    /// Kernel, strides, dilation and explicit or automatic padding.
    pub window: Window,
    /// Rows and columns to add at the bottom and right so that a last, partial window counts.
    pub ceil_extra: [usize; 2],
}

/// Two integers of an attribute, each from `min` on.
pub(super) fn pair(
    node: &NodeReader<'_>,
    name: &str,
    min: i64,
    default: usize,
) -> Step<[usize; 2]> {
    let Some(values) = node.ints(name)? else {
        return Ok([default; 2]);
    };
    two(node, name, values, min)
}

pub(super) fn two(node: &NodeReader<'_>, name: &str, values: &[i64], min: i64) -> Step<[usize; 2]> {
    match *values {
        [a, b] if (min..=MAX_STEP).contains(&a) && (min..=MAX_STEP).contains(&b) => {
            Ok([a as usize, b as usize])
        }
        // Of a signal there is one, and the map it is has one column.
        [a] if node.reads_signal() => two(node, name, &[a, min], min),
        [_, _] => Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("{name} = {values:?}"),
            format!("each must be from {min} to {MAX_STEP}: export the model again"),
        )),
        _ => Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("{name} has {} values, two are expected", values.len()),
            "only convolution and pooling of maps and signals are supported",
        )),
    }
}

/// The attribute `pads`, `[top, left, bottom, right]`.
pub(super) fn stated_pads(node: &NodeReader<'_>) -> Step<[usize; 4]> {
    let Some(pads) = node.ints("pads")? else {
        return Ok([0; 4]);
    };
    let [top, left, bottom, right] = match *pads {
        [top, left, bottom, right] => [top, left, bottom, right],
        [before, after] if node.reads_signal() => [before, 0, after, 0],
        _ => {
            return Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("pads has {} values, four are expected", pads.len()),
                "only convolution and pooling of maps and signals are supported",
            ));
        }
    };
    let before = two(node, "pads", &[top, left], 0)?;
    let after = two(node, "pads", &[bottom, right], 0)?;
    Ok([before[0], before[1], after[0], after[1]])
}

/// Reads the window of a node whose kernel is `kernel` over an input of extent `input`.
pub fn window(node: &NodeReader<'_>, kernel: [usize; 2], input: Shape) -> Step<StatedWindow> {
    let stride = pair(node, "strides", 1, 1)?;
    let dilation = pair(node, "dilations", 1, 1)?;
    let mut window = Window {
        kernel,
        stride,
        pads: [0; 4],
        dilation,
    };
    let size = [input.h, input.w];
    let auto = node.text("auto_pad")?.unwrap_or_default();
    match auto.as_str() {
        "" | "NOTSET" => {
            window.pads = stated_pads(node)?;
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            for axis in 0..2 {
                let count = size[axis].div_ceil(stride[axis]);
                let reach = (count - 1) * stride[axis] + window.extent(axis);
                let total = reach.saturating_sub(size[axis]);
                let small = total / 2;
                let (before, after) = if auto == "SAME_UPPER" {
                    (small, total - small)
                } else {
                    (total - small, small)
                };
                window.pads[axis] = before;
                window.pads[axis + 2] = after;
            }
        }
        other => {
            return Err(node.finding(
                diag::ATTRIBUTE_VALUE,
                format!("auto_pad = '{other}'"),
                "use NOTSET with pads, VALID, SAME_UPPER or SAME_LOWER",
            ));
        }
    }
    let mut ceil_extra = [0; 2];
    if node.flag("ceil_mode", false)? {
        for axis in 0..2 {
            let padded = size[axis] + window.pads[axis] + window.pads[axis + 2];
            let Some(room) = padded.checked_sub(window.extent(axis)) else {
                continue;
            };
            let mut last = room.div_ceil(stride[axis]);
            // A window that starts in the end padding or beyond does not count.
            if last * stride[axis] >= size[axis] + window.pads[axis] {
                last -= 1;
            }
            ceil_extra[axis] = (last * stride[axis]).saturating_sub(room);
        }
    }
    Ok(StatedWindow { window, ceil_extra })
}

/// The kernel extent a node states, if it does.
pub fn kernel_shape(node: &NodeReader<'_>) -> Step<Option<[usize; 2]>> {
    node.ints("kernel_shape")?
        .map(|values| two(node, "kernel_shape", values, 1))
        .transpose()
}

/// The extents of a convolution's weights: two of channels, then the kernel.
pub fn weight_extents(
    node: &NodeReader<'_>,
    weight: &Constant,
) -> Step<(usize, usize, [usize; 2])> {
    match *weight.dims.as_slice() {
        [a, b, kh, kw] => Ok((a, b, [kh, kw])),
        [a, b, taps] if node.reads_signal() => Ok((a, b, [taps, 1])),
        _ => Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!("weights of extents {}", weight.extents()),
            "only convolution of maps and signals is supported: weights of four axes, or three",
        )),
    }
}

/// `Conv`.
pub fn conv<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let weight = node.parameters(1)?.clone();
    let bias = node.optional_parameters(2)?.cloned();
    let (out_channels, group_channels, [kh, kw]) = weight_extents(node, &weight)?;
    if weight.elements.len() == 0 {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!("weights of extents {} are empty", weight.extents()),
            "a pruning step removed a whole layer: remove the layer from the network too",
        ));
    }
    if let Some(stated) = kernel_shape(node)?
        && stated != [kh, kw]
    {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!("kernel_shape is {stated:?}, the weights' is {:?}", [kh, kw]),
            "the file is damaged: export the model again",
        ));
    }
    if [kh, kw].iter().any(|&k| k > MAX_STEP as usize) {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("a kernel of {kh}x{kw}"),
            format!("at most {MAX_STEP} taps along an axis are supported"),
        ));
    }
    let input = builder.map(node, 0)?;
    let shape = builder.graph.shape(input);
    let groups = node.int("group")?.unwrap_or(1);
    let groups = usize::try_from(groups)
        .ok()
        .filter(|&g| g > 0 && shape.c.is_multiple_of(g) && out_channels.is_multiple_of(g))
        .ok_or_else(|| {
            node.finding(
                diag::ATTRIBUTE_VALUE,
                format!(
                    "group = {groups} does not divide {} input and {out_channels} output channels",
                    shape.c
                ),
                "the file is damaged: export the model again",
            )
        })?;
    if groups * group_channels != shape.c {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!(
                "weights of extents {} in {groups} groups need {} input channels, '{}' has {}",
                weight.extents(),
                groups * group_channels,
                node.input_name(0),
                shape.c
            ),
            "the weights belong to another layer: export the model again",
        ));
    }
    if let Some(bias) = &bias
        && bias.dims != [out_channels]
    {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!(
                "bias of extents {} for {out_channels} output channels",
                bias.extents()
            ),
            "the bias belongs to another layer: export the model again",
        ));
    }
    let StatedWindow { window, .. } = window(node, [kh, kw], shape)?;
    let op = FloatOp::Conv(Conv {
        weight: weight.floats().unwrap_or_default().to_vec(),
        bias: bias.and_then(|b| b.floats().map(<[f32]>::to_vec)),
        out_channels,
        group_channels,
        groups,
        window,
    });
    let value = builder.emit(node, op, vec![input])?;
    Ok(builder.fresh_map(node, value))
}
