//! Fully connected layers.

use std::rc::Rc;

use crate::diag;
use crate::import::builder::{Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::tensor::{Constant, Elements};
use crate::import::view::{Groups, View, vector};
use crate::ir::float::{Binary, Conv, Dense, FloatOp, Shape, Window};

use super::arithmetic::join;

/// `Gemm`: `alpha * A * B + beta * C` with constant B and C.
pub fn gemm<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let b = node.parameters(1)?.clone();
    let c = node.optional_parameters(2)?.cloned();
    if node.view(0)?.dims.len() != 2 {
        return Err(builder.wrong_layout(node, 0, "a batch of vectors"));
    }
    let node = &match node.flag("transA", false)? {
        true => turned(node)?,
        false => node.clone(),
    };
    let transposed = node.flag("transB", false)?;
    let alpha = node.float("alpha")?.unwrap_or(1.0);
    let beta = node.float("beta")?.unwrap_or(1.0);
    let mut dense = weights(node, &b, transposed)?;
    if alpha != 1.0 {
        dense.weight.iter_mut().for_each(|w| *w *= alpha);
    }
    if let Some(c) = c.as_ref().filter(|c| c.dims.len() == 2 && c.dims[0] > 1) {
        // Rows of their own are added behind.
        check_finite(node, &dense, alpha, beta)?;
        let product = emit(builder, node, dense)?;
        let rows = c.floats().unwrap_or_default().iter().map(|v| beta * v);
        let rows = Operand::Constant(Rc::new(Constant {
            dims: c.dims.clone(),
            elements: Elements::Float(rows.collect()),
        }));
        return join(builder, node, Binary::Add, [product, rows]);
    }
    if let Some(c) = c {
        let outputs = dense.out_features;
        let fits = match c.dims.as_slice() {
            [] | [1] | [1, 1] => true,
            [n] | [1, n] => *n == outputs,
            _ => false,
        };
        if !fits {
            return Err(node.finding(
                diag::SHAPE_MISMATCH,
                format!("bias of extents {} for {outputs} outputs", c.extents()),
                "the bias belongs to another layer: export the model again",
            ));
        }
        let values = c.floats().unwrap_or_default();
        dense.bias = Some(
            (0..outputs)
                .map(|i| beta * values[if values.len() == 1 { 0 } else { i }])
                .collect(),
        );
    }
    check_finite(node, &dense, alpha, beta)?;
    emit(builder, node, dense)
}

/// The node reading the columns of its first input as the rows.
fn turned<'m>(node: &NodeReader<'m>) -> Step<NodeReader<'m>> {
    let mut view = node.view(0)?.clone();
    view.dims.swap(0, 1);
    let mut turned = node.clone();
    turned.inputs[0] = Some(Operand::View(view));
    Ok(turned)
}

/// `MatMul` of vectors with a constant matrix.
pub fn matmul<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let b = node.parameters(1)?.clone();
    if let [n] = b.dims[..] {
        // A vector is a matrix of one column, and the product has no axis for it.
        let column = Constant {
            dims: vec![n, 1],
            elements: b.elements.clone(),
        };
        let product = emit(builder, node, weights(node, &column, false)?)?;
        return Ok(match product {
            Operand::View(mut view) => {
                view.dims.pop();
                Operand::View(view)
            }
            other => other,
        });
    }
    if b.dims.len() > 2 {
        return each_matrix(builder, node, &b);
    }
    let dense = weights(node, &b, false)?;
    emit(builder, node, dense)
}

/// A product of matrices one by one: a convolution of one pixel whose groups are the matrices.
fn each_matrix<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    b: &Constant,
) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let (found, rank) = (view.extents(), b.dims.len());
    let [matrices @ .., inner, columns] = &b.dims[..] else {
        return Err(builder.wrong_layout(node, 0, "a batch of vectors"));
    };
    let front = view.batch_axes().unwrap_or(0);
    let fits = found.len() == rank
        && found[rank - 1] == *inner
        && found[..rank - 2] == *matrices
        && found[..front].iter().all(|&n| n == 1);
    if !fits {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!(
                "weights of extents {} for matrices of {found:?}",
                b.extents()
            ),
            "one matrix of weights, or one for each matrix, is supported",
        ));
    }
    let groups: usize = matrices.iter().product();
    let channels = (front..rank - 2).chain([rank - 1]).collect();
    let x = builder.aligned_to(
        &view,
        &[channels, vec![rank - 2], vec![]],
        node.input_name(0),
    );
    let values = b.floats().unwrap_or_default();
    let weight = (0..groups * columns)
        .flat_map(|o| {
            let (group, column) = (o / columns, o % columns);
            (0..*inner).map(move |i| values[(group * inner + i) * columns + column])
        })
        .collect();
    let conv = Conv {
        weight,
        bias: None,
        out_channels: groups * columns,
        group_channels: *inner,
        groups,
        window: Window::UNIT,
    };
    let mut extents = found;
    extents[rank - 1] = *columns;
    let value = builder.emit(node, FloatOp::Conv(conv), vec![x.value])?;
    Ok(x.made(value, &extents))
}

fn check_finite(node: &NodeReader<'_>, dense: &Dense, alpha: f32, beta: f32) -> Step<()> {
    let mut all = dense.weight.iter().chain(dense.bias.iter().flatten());
    if all.all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(node.finding(
        diag::NON_FINITE,
        format!("weights times alpha = {alpha} or bias times beta = {beta} overflow"),
        "the file is damaged: alpha and beta are 1 in any usual export",
    ))
}

/// A constant matrix as `[out][in]` weights; ONNX has `[in][out]` unless transposed.
fn weights(node: &NodeReader<'_>, b: &Constant, transposed: bool) -> Step<Dense> {
    let &[rows, columns] = b.dims.as_slice() else {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!("weights of extents {}", b.extents()),
            "a fully connected layer has weights of two axes",
        ));
    };
    let values = b.floats().unwrap_or_default();
    if values.is_empty() {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!("weights of extents {} are empty", b.extents()),
            "remove the layer from the network",
        ));
    }
    let (weight, out_features, in_features) = if transposed {
        (values.to_vec(), rows, columns)
    } else {
        let turned = (0..columns).flat_map(|o| (0..rows).map(move |i| values[i * columns + o]));
        (turned.collect(), columns, rows)
    };
    Ok(Dense {
        weight,
        bias: None,
        out_features,
        in_features,
    })
}

/// Appends the layer over the input's last axis.
fn emit<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>, mut dense: Dense) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let Some(last) = view.dims.len().checked_sub(1) else {
        return Err(builder.wrong_layout(node, 0, "a batch of vectors"));
    };
    let found = view.extents()[last];
    if found != dense.in_features {
        return Err(node.finding(
            diag::SHAPE_MISMATCH,
            format!(
                "weights for {} inputs, '{}' has {found}",
                dense.in_features,
                node.input_name(0)
            ),
            "the picture size or the weights are another network's: export the model again",
        ));
    }
    if view.as_vector(last, builder.shape(&view)).is_none() {
        return each_vector(builder, node, dense);
    }
    let (input, order) = builder.vector(node, 0, last)?;
    if let Some(order) = order {
        // The file flattens its picture in another order than ours: move the columns instead.
        let mut moved = vec![0.0; dense.weight.len()];
        for (from, to) in (dense.weight.chunks(found)).zip(moved.chunks_mut(found)) {
            for (&w, &at) in from.iter().zip(&order) {
                to[at] = w;
            }
        }
        dense.weight = moved;
    }
    let outputs = Shape::vector(dense.out_features);
    let mut dims = view.dims;
    dims[last] = vector(outputs, 1).remove(1);
    let value = builder.emit(node, FloatOp::Dense(dense), vec![input])?;
    Ok(fresh(value, dims))
}

/// The layer on each of several vectors of an image: a convolution of one pixel.
fn each_vector<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    dense: Dense,
) -> Step<Operand> {
    let view = node.view(0)?.clone();
    let last = view.dims.len() - 1;
    let groups = channels_last(&view, last)
        .ok_or_else(|| builder.wrong_layout(node, 0, "a batch of vectors"))?;
    let x = builder.aligned_to(&view, &groups, node.input_name(0));
    let mut extents = x.extents.clone();
    extents[last] = dense.out_features;
    let conv = Conv {
        weight: dense.weight,
        bias: dense.bias,
        out_channels: dense.out_features,
        group_channels: dense.in_features,
        groups: 1,
        window: Window::UNIT,
    };
    let value = builder.emit(node, FloatOp::Conv(conv), vec![x.value])?;
    Ok(x.made(value, &extents))
}

/// ONNX axis `channel` as channels, all others behind the batch as rows and columns.
pub fn channels_last(view: &View, channel: usize) -> Option<Groups> {
    let first = view.batch_axes()?;
    let others: Vec<usize> = (first..view.dims.len()).filter(|&i| i != channel).collect();
    let (rows, columns) = match others.split_first() {
        Some((first, rest)) if !rest.is_empty() => (vec![*first], rest.to_vec()),
        _ => (Vec::new(), others),
    };
    (channel >= first).then(|| [vec![channel], rows, columns])
}
