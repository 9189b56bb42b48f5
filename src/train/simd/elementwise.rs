//! Passes over feature maps: activations, normalisation and their gradients.

use super::lanes::{LANES, Lanes, Simd};
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
    /// `out = activation(sum of terms)`; one or two terms.
    pub fn pointwise(terms: &[Term<'_>], activation: Activation, map: &Map, out: &mut [Lanes]) = pointwise_generic;
    /// Sums of `x - center` and of its square over all pixels and the lanes below `live`; `sums` is
    /// `[channel][2]`.
    pub fn moments(map: &Map, x: &[Lanes], center: &[f32], live: usize, sums: &mut [f64]) = moments_generic;
    /// Turns the gradient of the activation's output into that of its input, in place, and sums it
    /// per channel: `sums` is `[channel][1 + centred.len()]`.
    pub fn gate(activation: Activation, out_map: &Map, out: &[Lanes], map: &Map, gradient: &mut [Lanes], centred: &[Centred<'_>], sums: &mut [f64]) = gate_generic;
    /// The gradient through a term, written or added to `dx`; lanes where `mask` is 0 become 0.
    pub fn slope(slope: &Slope<'_>, dz_map: &Map, dz: &[Lanes], x_map: &Map, x: &[Lanes], mask: &Lanes, dx_map: &Map, dx: &mut [Lanes], accumulate: bool) = slope_generic;
}

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
    out: &mut [Lanes],
) {
    for y in 0..map.h {
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
#[inline(always)]
fn fold<S: Simd>(simd: S, v: S::V, live: usize) -> f64 {
    let mut lanes = Lanes::ZERO;
    simd.store(v, &mut lanes);
    lanes.0[..live].iter().map(|&v| f64::from(v)).sum()
}

#[inline(always)]
fn moments_generic<S: Simd>(
    simd: S,
    map: &Map,
    x: &[Lanes],
    center: &[f32],
    live: usize,
    sums: &mut [f64],
) {
    for c in 0..map.c {
        let k = simd.splat(center[c]);
        let (mut s1, mut s2) = (simd.splat(0.0), simd.splat(0.0));
        for y in 0..map.h {
            for x in &x[map.span(c, y)] {
                let v = simd.sub(simd.load(x), k);
                s1 = simd.add(s1, v);
                s2 = simd.fma(v, v, s2);
            }
        }
        sums[2 * c] = fold(simd, s1, live);
        sums[2 * c + 1] = fold(simd, s2, live);
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
    gradient: &mut [Lanes],
    centred: &[Centred<'_>],
    sums: &mut [f64],
) {
    let (zero, six) = (simd.splat(0.0), simd.splat(6.0));
    assert!(centred.len() <= 2, "a pass has at most two terms");
    let width = 1 + centred.len();
    for c in 0..map.c {
        let mut totals = [simd.splat(0.0); 3];
        for y in 0..map.h {
            let dz = &mut gradient[map.span(c, y)];
            for (dz, out) in dz.iter_mut().zip(&out[out_map.span(c, y)]) {
                let (mut g, v) = (simd.load(dz), simd.load(out));
                if activation != Activation::None {
                    g = simd.where_above(v, zero, g);
                }
                if activation == Activation::Relu6 {
                    g = simd.where_below(v, six, g);
                }
                totals[0] = simd.add(totals[0], g);
                simd.store(g, dz);
            }
            for (term, total) in centred.iter().zip(&mut totals[1..]) {
                if term.x.is_empty() {
                    continue;
                }
                let center = simd.splat(term.center[c]);
                let mut sum = *total;
                for (dz, x) in dz.iter().zip(&term.x[term.map.span(c, y)]) {
                    let v = simd.sub(simd.load(x), center);
                    sum = simd.fma(simd.load(dz), v, sum);
                }
                *total = sum;
            }
        }
        for (sum, total) in sums[c * width..][..width].iter_mut().zip(totals) {
            *sum = fold(simd, total, LANES);
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn slope_generic<S: Simd>(
    simd: S,
    slope: &Slope<'_>,
    dz_map: &Map,
    dz: &[Lanes],
    x_map: &Map,
    x: &[Lanes],
    mask: &Lanes,
    dx_map: &Map,
    dx: &mut [Lanes],
    accumulate: bool,
) {
    let mask = simd.load(mask);
    for y in 0..dz_map.h {
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
