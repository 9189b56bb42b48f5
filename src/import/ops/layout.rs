//! Operators that move, name, split or join axes. They make no node: they give another view of the
//! same value.

use std::rc::Rc;

use crate::diag;
use crate::import::builder::{Builder, fresh};
use crate::import::node::{NodeReader, Operand, Step};
use crate::import::tensor::Constant;
use crate::import::view::vector;

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
    let found = view.extents();
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
    let view = node.view(0)?.clone();
    if let Some(dims) = view.reshaped(target) {
        return builder.realias(node, 0, dims);
    }
    // Axes are cut across: the elements must be brought into their order first.
    let axes = view
        .batch_axes()
        .map(|first| (first..view.dims.len()).collect());
    let joined = axes.map(|axes| {
        let value = builder.with_groups(&view, &[axes, vec![], vec![]], node.input_name(0));
        (value, vector(builder.graph.shape(value), view.batch()))
    });
    let reshaped = joined.and_then(|(value, dims)| {
        let view = view.alias(dims, false);
        Some(fresh(value, view.reshaped(target)?))
    });
    reshaped.ok_or_else(|| {
        node.finding(
            diag::LAYOUT,
            format!(
                "reshapes {:?} to {target:?}, which cuts the batch apart",
                view.extents()
            ),
            "keep the batch the first axis, and export for a batch of 1 or an open one",
        )
    })
}

/// `Flatten`.
pub fn flatten<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?;
    let found = view.extents();
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
    let found = view.extents();
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
    let found = view.extents();
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
pub fn shape<'m>(_: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let view = node.view(0)?;
    let found = view.extents();
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

/// A square block of pixels and the extents of input 0, `N x C x H x W`.
fn block<'m>(node: &NodeReader<'m>) -> Step<(usize, [usize; 4])> {
    let found = node.view(0)?.extents();
    let block = node.int("blocksize")?.unwrap_or(0);
    let refuse = || {
        node.finding(
            diag::SHAPE_MISMATCH,
            format!("blocks of {block}x{block} over extents {found:?}"),
            "the file is damaged: export the model again",
        )
    };
    let extents: [usize; 4] = found.as_slice().try_into().map_err(|_| refuse())?;
    let size = usize::try_from(block).map_err(|_| refuse())?;
    let [_, c, h, w] = extents;
    let divides = match node.proto.op_type.as_str() {
        "DepthToSpace" => size > 0 && size <= c && c.is_multiple_of(size * size),
        _ => size > 0 && h.is_multiple_of(size) && w.is_multiple_of(size),
    };
    if divides {
        Ok((size, extents))
    } else {
        Err(refuse())
    }
}

/// Input 0 split to `split`, turned by `perm` and joined to `joined`.
fn turned<'m>(
    builder: &mut Builder<'m>,
    node: &NodeReader<'m>,
    split: &[usize],
    perm: &[usize],
    joined: &[usize],
) -> Step<Operand> {
    let view = node.view(0)?;
    let dims = view.reshaped(split).and_then(|dims| {
        let turned = perm.iter().map(|&i| dims[i].clone()).collect();
        view.alias(turned, false).reshaped(joined)
    });
    match dims {
        Some(dims) => builder.realias(node, 0, dims),
        None => Err(builder.wrong_layout(node, 0, "NxCxHxW")),
    }
}

/// `DepthToSpace`.
pub fn depth_to_space<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let (b, [n, c, h, w]) = block(node)?;
    let deep = c / (b * b);
    let joined = [n, deep, h * b, w * b];
    match node.text("mode")?.as_deref() {
        None | Some("DCR") => {
            let split = [n, b, b, deep, h, w];
            turned(builder, node, &split, &[0, 3, 4, 1, 5, 2], &joined)
        }
        Some("CRD") => {
            let split = [n, deep, b, b, h, w];
            turned(builder, node, &split, &[0, 1, 4, 2, 5, 3], &joined)
        }
        Some(mode) => Err(node.finding(
            diag::ATTRIBUTE_VALUE,
            format!("mode = '{mode}'"),
            "mode is DCR or CRD: export the model again",
        )),
    }
}

/// `SpaceToDepth`.
pub fn space_to_depth<'m>(builder: &mut Builder<'m>, node: &NodeReader<'m>) -> Step<Operand> {
    let (b, [n, c, h, w]) = block(node)?;
    let split = [n, c, h / b, b, w / b, b];
    let joined = [n, c * b * b, h / b, w / b];
    turned(builder, node, &split, &[0, 3, 5, 1, 2, 4], &joined)
}
