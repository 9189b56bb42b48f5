//! Passes over feature maps: activations, normalisation and their gradients.

use super::lanes::{Lanes, Simd};
use super::{Map, dispatched};

/// What stands at the end of a fused pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

/// One summand of a fused pass: `scale[c] * x + shift[c]`.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// Where the elements lie.
    pub map: Map,
    /// The buffer.
    pub x: &'a [Lanes],
    /// One a channel.
    pub scale: &'a [f32],
    /// One a channel.
    pub shift: &'a [f32],
}

/// A buffer whose product with the gradient is summed, centred: `sum of dz * (x - center[c])`.
#[derive(Clone, Copy, Debug)]
pub struct Centred<'a> {
    /// Where the elements lie.
    pub map: Map,
    /// The buffer; empty if this sum is not wanted.
    pub x: &'a [Lanes],
    /// One a channel.
    pub center: &'a [f32],
}

/// `dx = a[c] * dz + b[c] * x + c[c]`, the gradient through one term.
#[derive(Clone, Copy, Debug)]
pub struct Slope<'a> {
    /// Of the gradient behind.
    pub a: &'a [f32],
    /// Of the term's input.
    pub b: &'a [f32],
    /// Constant.
    pub c: &'a [f32],
}

dispatched! {
    /// `out = activation(sum of terms)` for the rows `rows` of `map`; one or two terms.
    pub fn pointwise(terms: &[Term<'_>], activation: Activation, map: &Map, rows: Rows, out: &mut [Lanes]) = pointwise_generic;
    /// Adds the rows' `x - center` and its square to `sums`, `[channel][2]`, lane by lane.
    pub fn moments(map: &Map, rows: Rows, x: &[Lanes], center: &[f32], sums: &mut [Lanes]) = moments_generic;
    /// Turns the rows' gradient of the activation's output into that of its input, in place, and
    /// adds it and its products to `sums`, `[channel][1 + centred.len()]`, lane by lane.
    pub fn gate(activation: Activation, out_map: &Map, out: &[Lanes], map: &Map, rows: Rows, gradient: &mut [Lanes], centred: &[Centred<'_>], sums: &mut [Lanes]) = gate_generic;
    /// The rows' gradient through a term, written or added to `dx`; lanes where `mask` is 0 become 0.
    pub fn slope(slope: &Slope<'_>, dz_map: &Map, rows: Rows, dz: &[Lanes], x_map: &Map, x: &[Lanes], mask: &Lanes, dx_map: &Map, dx: &mut [Lanes], accumulate: bool) = slope_generic;
}

/// Rows of a map.
pub type Rows = std::ops::Range<usize>;

#[inline(always)]
fn activate<S: Simd>(simd: S, activation: Activation, v: S::V) -> S::V {
    let zero = simd.splat(0.0);
    // The value stands second, so that what is not a number stays so.
    match activation {
        Activation::None => v,
        Activation::Relu => simd.max(zero, v),
        Activation::Relu6 => simd.min(simd.splat(6.0), simd.max(zero, v)),
    }
}

#[inline(always)]
fn pointwise_generic<S: Simd>(
    simd: S,
    terms: &[Term<'_>],
    activation: Activation,
    map: &Map,
    rows: Rows,
    out: &mut [Lanes],
) {
    for y in rows {
        for c in 0..map.c {
            let to = &mut out[map.span(c, y)];
            let first = &terms[0];
            let scale = simd.splat(first.scale[c]);
            let x = &first.x[first.map.span(c, y)];
            match terms.get(1) {
                None => {
                    let shift = simd.splat(first.shift[c]);
                    for (to, x) in to.iter_mut().zip(x) {
                        let v = simd.fma(simd.load(x), scale, shift);
                        simd.store(activate(simd, activation, v), to);
                    }
                }
                Some(second) => {
                    let shift = simd.splat(first.shift[c] + second.shift[c]);
                    let other = simd.splat(second.scale[c]);
                    let x2 = &second.x[second.map.span(c, y)];
                    for ((to, x), x2) in to.iter_mut().zip(x).zip(x2) {
                        let v = simd.fma(simd.load(x), scale, shift);
                        let v = simd.fma(simd.load(x2), other, v);
                        simd.store(activate(simd, activation, v), to);
                    }
                }
            }
        }
    }
}

/// The sum of the lanes below `live`, in lane order.
pub fn fold(v: &Lanes, live: usize) -> f64 {
    v.0[..live].iter().map(|&v| f64::from(v)).sum()
}

#[inline(always)]
fn moments_generic<S: Simd>(
    simd: S,
    map: &Map,
    rows: Rows,
    x: &[Lanes],
    center: &[f32],
    sums: &mut [Lanes],
) {
    assert!(sums.len() == 2 * map.c && center.len() >= map.c);
    for y in rows {
        for c in 0..map.c {
            let k = simd.splat(center[c]);
            let (mut s1, mut s2) = (simd.load(&sums[2 * c]), simd.load(&sums[2 * c + 1]));
            for x in &x[map.span(c, y)] {
                let v = simd.sub(simd.load(x), k);
                s1 = simd.add(s1, v);
                s2 = simd.fma(v, v, s2);
            }
            simd.store(s1, &mut sums[2 * c]);
            simd.store(s2, &mut sums[2 * c + 1]);
        }
    }
}

/// The term whose product is to be summed, if it is.
#[inline(always)]
fn wanted<'c, 'a>(centred: &'c [Centred<'a>], term: usize) -> Option<&'c Centred<'a>> {
    match centred.get(term) {
        Some(term) if !term.x.is_empty() => Some(term),
        _ => None,
    }
}

/// The gradient `g` of the activation's output `v` as that of its input.
#[inline(always)]
fn pass<S: Simd>(simd: S, activation: Activation, v: S::V, g: S::V) -> S::V {
    let zero = simd.splat(0.0);
    match activation {
        Activation::None => g,
        Activation::Relu => simd.where_above(v, zero, g),
        Activation::Relu6 => simd.where_below(v, simd.splat(6.0), simd.where_above(v, zero, g)),
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn gate_generic<S: Simd>(
    simd: S,
    activation: Activation,
    out_map: &Map,
    out: &[Lanes],
    map: &Map,
    rows: Rows,
    gradient: &mut [Lanes],
    centred: &[Centred<'_>],
    sums: &mut [Lanes],
) {
    let width = 1 + centred.len();
    assert!(width <= 3, "a pass has at most two terms");
    assert_eq!(sums.len(), width * map.c);
    for y in rows {
        for c in 0..map.c {
            let dz = &mut gradient[map.span(c, y)];
            let out = &out[out_map.span(c, y)];
            let sums = &mut sums[c * width..][..width];
            let mut total = simd.load(&sums[0]);
            // The first term's product is summed on the way: most passes have no second.
            match wanted(centred, 0) {
                Some(term) => {
                    let center = simd.splat(term.center[c]);
                    let mut product = simd.load(&sums[1]);
                    let x = &term.x[term.map.span(c, y)];
                    for ((dz, out), x) in dz.iter_mut().zip(out).zip(x) {
                        let g = pass(simd, activation, simd.load(out), simd.load(dz));
                        total = simd.add(total, g);
                        product = simd.fma(g, simd.sub(simd.load(x), center), product);
                        simd.store(g, dz);
                    }
                    simd.store(product, &mut sums[1]);
                }
                None => {
                    for (dz, out) in dz.iter_mut().zip(out) {
                        let g = pass(simd, activation, simd.load(out), simd.load(dz));
                        total = simd.add(total, g);
                        simd.store(g, dz);
                    }
                }
            }
            simd.store(total, &mut sums[0]);
            if let Some(term) = wanted(centred, 1) {
                let center = simd.splat(term.center[c]);
                let mut product = simd.load(&sums[2]);
                for (dz, x) in dz.iter().zip(&term.x[term.map.span(c, y)]) {
                    let v = simd.sub(simd.load(x), center);
                    product = simd.fma(simd.load(dz), v, product);
                }
                simd.store(product, &mut sums[2]);
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn slope_generic<S: Simd>(
    simd: S,
    slope: &Slope<'_>,
    dz_map: &Map,
    rows: Rows,
    dz: &[Lanes],
    x_map: &Map,
    x: &[Lanes],
    mask: &Lanes,
    dx_map: &Map,
    dx: &mut [Lanes],
    accumulate: bool,
) {
    let mask = simd.load(mask);
    for y in rows {
        for c in 0..dz_map.c {
            let (a, b, k) = (
                simd.splat(slope.a[c]),
                simd.splat(slope.b[c]),
                simd.splat(slope.c[c]),
            );
            let dz = &dz[dz_map.span(c, y)];
            let x = &x[x_map.span(c, y)];
            for ((dx, dz), x) in dx[dx_map.span(c, y)].iter_mut().zip(dz).zip(x) {
                let v = simd.fma(simd.load(dz), a, simd.fma(simd.load(x), b, k));
                let v = simd.mul(v, mask);
                let v = if accumulate {
                    simd.add(simd.load(dx), v)
                } else {
                    v
                };
                simd.store(v, dx);
            }
        }
    }
}
