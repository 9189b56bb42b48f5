//! Transposed convolution, as a convolution of as many times the channels whose results are the
//! pixels of a block: output `s * q + r` of stride `s` is what phase `r` of the kernel gives at `q`.
//! Nothing is multiplied by inserted zeros, and the layer prunes and runs as any other.

use crate::diag;
use crate::import::builder::{Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::tensor::{MAX_ELEMENTS, element_count};
use crate::import::view::{View, nchw};
use crate::ir::float::{Conv, FloatOp, Window};

use super::conv::{MAX_STEP, pair, stated_pads, two, weight_extents};
use super::moving::select;

/// One axis of a transposed convolution.
#[derive(Clone, Copy)]
struct Along {
    kernel: usize,
    stride: usize,
    /// Taps of each phase.
    taps: usize,
    /// Padding of the convolution.
    pads: [usize; 2],
    /// Output pixels that the convolution gives before the first wanted one.
    skipped: usize,
    /// Output pixels wanted.
    size: usize,
}

impl Along {
    /// `extent` input pixels, `before` and `after` output pixels left out, `extra` ones added.
    fn new(
        extent: usize,
        kernel: usize,
        stride: usize,
        [before, after]: [usize; 2],
        extra: usize,
    ) -> Option<Self> {
        let taps = kernel.div_ceil(stride);
        let whole = stride * (extent - 1) + kernel + extra;
        let size = whole.checked_sub(before + after).filter(|&n| n > 0)?;
        // Blocks of pixels left out at the beginning need no results.
        let unused = (before / stride).min(taps - 1);
        let first = taps - 1 - unused;
        let blocks = (before + size).div_ceil(stride) - unused;
        // The convolution gives `extent + first + last - taps + 1` blocks.
        let last = (blocks + taps - 1).saturating_sub(extent + first);
        Some(Self {
            kernel,
            stride,
            taps,
            pads: [first, last],
            skipped: before - unused * stride,
            size,
        })
    }

    /// The tap of the kernel that tap `a` of phase `r` is.
    fn tap(&self, a: usize, r: usize) -> Option<usize> {
        Some(self.stride * (self.taps - 1 - a) + r).filter(|&k| k < self.kernel)
    }
}

/// `ConvTranspose`.
pub fn conv_transpose<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let weight = node.parameters(1)?.clone();
    let bias = node.optional_parameters(2)?.cloned();
    let input = builder.map(node, 0)?;
    let shape = builder.graph.shape(input);
    let groups = node.int("group")?.unwrap_or(1);
    let groups = usize::try_from(groups).unwrap_or(0);
    let (channels, group_out, small) = weight_extents(node, &weight)?;
    let fits = groups > 0 && channels == shape.c && channels.is_multiple_of(groups);
    if !fits || weight.elements.len() == 0 {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!(
                "weights of extents {} in {groups} groups for {} channels",
                weight.extents(),
                shape.c
            ),
            "the weights belong to another layer: export the model again",
        ));
    }
    let stride = pair(node, "strides", 1, 1)?;
    let dilation = pair(node, "dilations", 1, 1)?;
    let kernel = [0, 1].map(|axis| dilation[axis] * (small[axis] - 1) + 1);
    if kernel.iter().any(|&k| k > MAX_STEP as usize) {
        return Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("a kernel that reaches over {kernel:?} pixels"),
            format!("at most {MAX_STEP} along an axis are supported"),
        ));
    }
    let extra = pair(node, "output_padding", 0, 0)?;
    let extents = [shape.h, shape.w];
    let whole = [0, 1].map(|a| stride[a] * (extents[a] - 1) + kernel[a] + extra[a]);
    let (pads, extra) = cut_off(node, whole, [0, 1].map(|a| stride[a] * extents[a]), extra)?;
    let along = |a: usize| {
        Along::new(
            extents[a],
            kernel[a],
            stride[a],
            [pads[a], pads[a + 2]],
            extra[a],
        )
    };
    let (Some(rows), Some(columns)) = (along(0), along(1)) else {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!("pads leave nothing of the result over {shape}"),
            "padding must be smaller than the kernel",
        ));
    };
    let outputs = group_out * groups;
    // Zeros between taps, and phases without any: a small file must not ask for a large memory.
    let sizes = [
        [channels, group_out, kernel[0], kernel[1], 1, 1],
        [
            outputs,
            stride[0],
            stride[1],
            channels / groups,
            rows.taps,
            columns.taps,
        ],
    ];
    if sizes.iter().any(|extents| element_count(extents).is_none()) {
        return Err(node.finding(
            diag::VALUE_TOO_LARGE,
            format!("strides {stride:?} and dilations {dilation:?} over {kernel:?} pixels"),
            format!("weights that come of it must stay within {MAX_ELEMENTS} elements"),
        ));
    }
    if let Some(bias) = &bias
        && bias.dims != [outputs]
    {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!(
                "bias of extents {} for {outputs} output channels",
                bias.extents()
            ),
            "the bias belongs to another layer: export the model again",
        ));
    }
    let phases = stride[0] * stride[1];
    let conv = Conv {
        weight: phase_weights(
            &dilated(weight.floats().unwrap_or_default(), small, dilation),
            [channels / groups, group_out, groups],
            &rows,
            &columns,
        ),
        bias: bias.map(|b| {
            let values = b.floats().unwrap_or_default().iter();
            values
                .flat_map(|&v| std::iter::repeat_n(v, phases))
                .collect()
        }),
        out_channels: outputs * phases,
        group_channels: channels / groups,
        groups,
        window: Window {
            kernel: [rows.taps, columns.taps],
            stride: [1, 1],
            pads: [rows.pads[0], columns.pads[0], rows.pads[1], columns.pads[1]],
            dilation: [1, 1],
        },
    };
    let value = builder.emit(node, FloatOp::Conv(conv), vec![input])?;
    let made = builder.graph.shape(value);
    let n = builder.batch;
    let view = View {
        value,
        dims: nchw(made, n),
        exclusive: true,
    };
    // Each block's channels become its pixels.
    let split = [n, outputs, stride[0], stride[1], made.h, made.w];
    let joined = [n, outputs, made.h * stride[0], made.w * stride[1]];
    let dims = view.reshaped(&split).and_then(|dims| {
        let turned = [0, 1, 4, 2, 5, 3].map(|i: usize| dims[i].clone()).to_vec();
        view.alias(turned, true).reshaped(&joined)
    });
    let Some(mut dims) = dims else {
        return Err(builder.wrong_layout(node, 0, "NxCxHxW"));
    };
    if node.reads_signal() {
        dims.pop();
    }
    let mut operand = fresh(value, dims);
    for (index, along) in [(2, rows), (3, columns)] {
        if along.size < joined[index] {
            let wanted: Vec<usize> = (along.skipped..along.skipped + along.size).collect();
            operand = select(builder, node, &operand, index, &wanted)?;
        }
    }
    Ok(operand)
}

/// How much is left out of a result of extents `whole` before and behind (`[top, left, bottom,
/// right]`), and added to it: as stated, so that a stated extent is left, or `same`, that of the input
/// times the strides.
fn cut_off(
    node: &NodeReader<'_>,
    whole: [usize; 2],
    same: [usize; 2],
    mut extra: [usize; 2],
) -> Step<([usize; 4], [usize; 2])> {
    let auto = node.text("auto_pad")?.unwrap_or_default();
    let wanted = match (node.ints("output_shape")?, auto.as_str()) {
        (Some(stated), _) => {
            // Some exporters state the extents of batch and channels as well.
            let axes = if node.reads_signal() { 1 } else { 2 };
            let last = &stated[stated.len().saturating_sub(axes)..];
            two(node, "output_shape", last, 1)?
        }
        (None, "SAME_UPPER" | "SAME_LOWER") => same,
        (None, _) => return Ok((stated_pads(node)?, extra)),
    };
    let mut pads = [0; 4];
    for axis in 0..2 {
        let total = whole[axis].saturating_sub(wanted[axis]);
        extra[axis] += wanted[axis].saturating_sub(whole[axis]);
        let small = total / 2;
        pads[axis] = if auto == "SAME_UPPER" {
            small
        } else {
            total - small
        };
        pads[axis + 2] = total - pads[axis];
    }
    Ok((pads, extra))
}

/// Kernels with zeros between their taps.
fn dilated(weight: &[f32], [kh, kw]: [usize; 2], dilation: [usize; 2]) -> Vec<f32> {
    let [h, w] = [(kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1];
    let mut all = vec![0.0; weight.len() / (kh * kw) * h * w];
    for (small, large) in weight.chunks(kh * kw).zip(all.chunks_mut(h * w)) {
        for (i, &v) in small.iter().enumerate() {
            large[i / kw * dilation[0] * w + i % kw * dilation[1]] = v;
        }
    }
    all
}

/// Weights `[output][phase][input of the group][ky][kx]` from ONNX's `[input][output of the
/// group][ky][kx]`.
fn phase_weights(
    weight: &[f32],
    [group_in, group_out, groups]: [usize; 3],
    rows: &Along,
    columns: &Along,
) -> Vec<f32> {
    let [kh, kw] = [rows.kernel, columns.kernel];
    let mut all = Vec::new();
    for output in 0..group_out * groups {
        let (group, o) = (output / group_out, output % group_out);
        for phase in 0..rows.stride * columns.stride {
            let (ry, rx) = (phase / columns.stride, phase % columns.stride);
            for i in 0..group_in {
                let plane = ((group * group_in + i) * group_out + o) * kh * kw;
                for ay in 0..rows.taps {
                    for ax in 0..columns.taps {
                        let taps = (rows.tap(ay, ry), columns.tap(ax, rx));
                        all.push(match taps {
                            (Some(ky), Some(kx)) => weight[plane + ky * kw + kx],
                            _ => 0.0,
                        });
                    }
                }
            }
        }
    }
    all
}
