//! Fixed-point constants from real factors.
//!
//! All rules here are exact up to the one rounding each names; the kernels' arithmetic on them is
//! exact.

use nest_format::{AddParams, ProductParams, Requant};

use crate::ir::int::Quant;
use crate::ir::rounding::quantise_real;

/// The largest real factor [`Requant`] can hold: `(2^31 - 1) / 2^32`, just below one half.
pub(super) const MAX_FACTOR: f64 = (i32::MAX as f64) / 4_294_967_296.0;

const ONE: f64 = 4_294_967_296.0;

/// The smallest real factor of a convolution's row. Below it the 32-bit bias could not reach over
/// 1024 output steps; a row of so small weights gets a coarser step instead.
pub(super) const MIN_FACTOR: f64 = 1.0 / 1_048_576.0;

/// Stands for a factor of 0 (a normalisation that cancels its channel) where the accumulator is not
/// 0: the bias reaches over 256 output steps, and a packed accumulator moves the output by one at most.
pub(super) const NEGLIGIBLE_FACTOR: f64 = 1.0 / 4_194_304.0;

/// Constants for `output = factor * (sum over inputs - zero_sum) + offset`, in output steps above
/// the zero point: `factor` is the real multiplier (at most [`MAX_FACTOR`] in size), `zero_sum` what
/// the accumulator holds when all inputs are real zeros. The offset is rounded to whole accumulator
/// steps.
pub(super) fn requant(factor: f64, zero_sum: i64, offset: f64) -> Requant {
    let multiplier = (factor * ONE)
        .round()
        .clamp(f64::from(-i32::MAX), f64::from(i32::MAX)) as i32;
    let offset = if multiplier == 0 {
        0.0
    } else {
        offset / factor
    };
    let limit = f64::from(Requant::MAX_BIAS);
    let bias = (offset - zero_sum as f64).round().clamp(-limit, limit) as i32;
    Requant::new(bias, multiplier)
}

/// Constants of a row without weights, whose accumulator is always 0: `offset` output steps.
pub(super) fn constant(offset: f64) -> Requant {
    requant(1.0 / 65_536.0, 0, offset)
}

/// Constants of an elementwise sum; factors keep as many bits as 16 hold.
pub(super) fn add_params(a: Quant, b: Quant, out: Quant) -> AddParams {
    sum_params(1.0, a, 1.0, b, out)
}

/// Constants of `weight_a * a + weight_b * b`; factors keep as many bits as 16 hold.
pub(super) fn sum_params(
    weight_a: f64,
    a: Quant,
    weight_b: f64,
    b: Quant,
    out: Quant,
) -> AddParams {
    let ratio = |weight: f64, q: Quant| weight * f64::from(q.scale) / f64::from(out.scale);
    let (ra, rb) = (ratio(weight_a, a), ratio(weight_b, b));
    let largest = ra.abs().max(rb.abs());
    let most = f64::from(i16::MAX);
    let shift = (0..=22u32)
        .rev()
        .find(|&s| (largest * f64::from(1u32 << s)).round() <= most)
        .unwrap_or(0);
    let factor = |r: f64| (r * f64::from(1u32 << shift)).round().clamp(-most, most) as i16;
    let (factor_a, factor_b) = (factor(ra), factor(rb));
    let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
    let bias = half + (i32::from(out.zero_point) << shift)
        - i32::from(a.zero_point) * i32::from(factor_a)
        - i32::from(b.zero_point) * i32::from(factor_b);
    AddParams {
        factor_a,
        factor_b,
        bias,
        shift,
    }
}

/// Constants that bring one element from `x` to `out`, for [`AddParams::apply`] with 0 as the second
/// element.
pub(super) fn rescaling(x: Quant, out: Quant) -> AddParams {
    let nothing = Quant {
        scale: x.scale,
        zero_point: 0,
    };
    sum_params(1.0, x, 0.0, nothing, out)
}

/// Constants of an elementwise product, whose factor is at most [`MAX_FACTOR`].
pub(super) fn product_params(a: Quant, b: Quant, out: Quant) -> ProductParams {
    let factor = f64::from(a.scale) * f64::from(b.scale) / f64::from(out.scale);
    ProductParams {
        zero_a: a.zero_point,
        zero_b: b.zero_point,
        zero: out.zero_point,
        multiplier: requant(factor, 0, 0.0).multiplier,
    }
}

/// The int8 that `f` of every int8 is, at the place of the input's bits read as an unsigned byte.
pub(super) fn lookup_table(x: Quant, out: Quant, f: impl Fn(f64) -> f64) -> [i8; 256] {
    std::array::from_fn(|byte| {
        let steps = f64::from(byte as u8 as i8) - f64::from(x.zero_point);
        quantise_real(f(f64::from(x.scale) * steps), out)
    })
}

/// Softmax's table: `round(exp(-d * scale) * 2^20)` for every distance `d` from the maximum.
pub(super) fn softmax_table(scale: f32) -> [u32; 256] {
    std::array::from_fn(|d| ((-(d as f64) * f64::from(scale)).exp() * 1_048_576.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(scale: f32, zero_point: i8) -> Quant {
        Quant { scale, zero_point }
    }

    #[test]
    fn requantisation_rounds_half_up_once() {
        // 0.25 * (acc - 8), output zero point 5, real offset of 0.5 output steps.
        let r = requant(0.25, 8, 0.5);
        for (acc, expect) in [
            (8, 6),
            (9, 6),
            (6, 5),
            (5, 5),
            (4, 5),
            (3, 4),
            (4000, 127),
            (-4000, -128),
        ] {
            let exact = (0.25 * f64::from(acc - 8) + 0.5 + 5.0 + 0.5).floor();
            assert_eq!(f64::from(expect), exact.clamp(-128.0, 127.0), "acc {acc}");
            assert_eq!(r.apply(acc, 5), expect, "acc {acc}");
        }
        assert_eq!(requant(-0.25, 0, 0.0).apply(8, 0), -2);
        assert_eq!(constant(7.25).apply(0, -3), 4);
    }

    #[test]
    fn sums_follow_the_reals() {
        let (a, b, out) = (q(0.02, -10), q(0.013, 5), q(0.031, -128));
        let p = add_params(a, b, out);
        for x in -128..=127i8 {
            for y in -128..=127i8 {
                let real = f64::from(a.scale) * f64::from(i32::from(x) + 10)
                    + f64::from(b.scale) * f64::from(i32::from(y) - 5);
                let exact = (real / f64::from(out.scale) - 128.0).clamp(-128.0, 127.0);
                assert!((f64::from(p.apply(x, y)) - exact).abs() < 0.51, "{x} {y}");
            }
        }
    }

    #[test]
    fn very_different_scales_do_not_overflow() {
        for (sa, sb, so) in [
            (1e-6, 1.0, 1.0),
            (1.0, 1e-6, 0.01),
            (1.0, 1.0, 1e-3),
            (1e-3, 1e-3, 100.0),
        ] {
            let p = add_params(q(sa, -128), q(sb, 127), q(so, 0));
            // In debug and release: no wrap at the ends.
            for x in [-128i8, 127] {
                for y in [-128i8, 127] {
                    let exact = i64::from(x) * i64::from(p.factor_a)
                        + i64::from(y) * i64::from(p.factor_b)
                        + i64::from(p.bias);
                    assert!(i32::try_from(exact).is_ok());
                }
            }
        }
    }

    #[test]
    fn differences_products_and_tables_follow_the_reals() {
        let (a, b) = (q(0.02, -10), q(0.013, 5));
        let (difference, product) = (q(0.031, 7), q(0.05, -20));
        let d = sum_params(1.0, a, -1.0, b, difference);
        let p = product_params(a, b, product);
        let table = lookup_table(a, difference, f64::tanh);
        let near = |got: i8, real: f64, of: Quant| {
            let exact = real / f64::from(of.scale) + f64::from(of.zero_point);
            (f64::from(got) - exact.clamp(-128.0, 127.0)).abs() < 0.51
        };
        for x in -128..=127i8 {
            let real = |x: i8, q: Quant| {
                f64::from(q.scale) * f64::from(i32::from(x) - i32::from(q.zero_point))
            };
            assert!(
                near(table[usize::from(x as u8)], real(x, a).tanh(), difference),
                "{x}"
            );
            assert!(
                near(rescaling(a, product).apply(x, 0), real(x, a), product),
                "{x}"
            );
            for y in -128..=127i8 {
                let (x_real, y_real) = (real(x, a), real(y, b));
                assert!(near(d.apply(x, y), x_real - y_real, difference), "{x} {y}");
                assert!(near(p.apply(x, y), x_real * y_real, product), "{x} {y}");
            }
        }
    }

    #[test]
    fn softmax_table_falls_from_one() {
        let table = softmax_table(0.1);
        assert_eq!(table[0], 1 << 20);
        assert!(table.windows(2).all(|w| w[0] >= w[1]));
    }
}
