//! Functions of single precision from additions, multiplications and divisions: the same bits on the
//! host and on a device without a mathematical library.

/// `e^x`, to about 1e-7 of its value where `x` is exact; 0 below -87, infinite above 88.
pub(super) fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    if x < -87.0 {
        return 0.0;
    }
    if x > 88.0 {
        return f32::INFINITY;
    }
    // e^x = 2^n e^r with |r| <= ln(2) / 2; ln(2) in two parts keeps r exact.
    let scaled = x * core::f32::consts::LOG2_E;
    let n = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32;
    let r = (x - n as f32 * 0.693_359_4) + n as f32 * 2.121_944_4e-4;
    // Taylor's series: the eighth term is below 1e-8. Its coefficients are 1 / k!.
    const COEFFICIENTS: [f32; 8] = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        1.0 / 2.0,
        1.0,
        1.0,
    ];
    let mut sum = 1.0 / 40320.0;
    for c in COEFFICIENTS {
        sum = c + sum * r;
    }
    // n is at most 127 here: 88 / ln(2) = 126.96.
    sum * f32::from_bits(((n + 127) as u32) << 23)
}

/// The natural logarithm of a positive, normal number.
pub(super) fn ln(x: f32) -> f32 {
    // x = m 2^n with m between sqrt(1/2) and sqrt(2).
    let bits = x.to_bits();
    let mut n = (bits >> 23) as i32 - 127;
    let mut m = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    if m > core::f32::consts::SQRT_2 {
        m *= 0.5;
        n += 1;
    }
    // ln(m) = 2 artanh((m - 1) / (m + 1)), whose argument is at most 0.172.
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let mut sum = 0.0;
    for c in [1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
        sum = sum * t2 + c;
    }
    n as f32 * core::f32::consts::LN_2 + 2.0 * t * sum
}

/// `x^p` for positive `p`; 0 where `x` is not above the smallest normal number.
pub(super) fn pow(x: f32, p: f32) -> f32 {
    if x.is_nan() || x > f32::MAX {
        return x;
    }
    if x < f32::MIN_POSITIVE {
        return 0.0;
    }
    exp(p * ln(x))
}

/// `1 / (1 + e^-x)`.
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent.
pub(super) fn tanh(x: f32) -> f32 {
    2.0 * sigmoid(2.0 * x) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(name: &str, x: f32, own: f32, exact: f64, tolerance: f64) {
        let error = (f64::from(own) - exact).abs();
        assert!(
            error <= tolerance * exact.abs().max(1e-3),
            "{name} {x}: {own}, and {exact} is right"
        );
    }

    #[test]
    fn functions_agree_with_double_precision() {
        for i in -8000..=8000 {
            let x = i as f32 * 0.0108;
            let wide = f64::from(x);
            near("exp", x, exp(x), wide.exp(), 4e-7);
            near("sigmoid", x, sigmoid(x), 1.0 / (1.0 + (-wide).exp()), 4e-7);
            assert!((f64::from(tanh(x)) - wide.tanh()).abs() <= 3e-7);
            // Half a unit in the last place of an exponent of up to 35 is 2e-6.
            let positive = exp(x * 0.4);
            near(
                "pow",
                positive,
                pow(positive, 0.6),
                f64::from(positive).powf(0.6),
                4e-6,
            );
            near(
                "pow",
                positive,
                pow(positive, 0.4),
                f64::from(positive).powf(0.4),
                4e-6,
            );
        }
    }

    #[test]
    fn the_ends_of_the_range_are_met() {
        assert_eq!((exp(0.0), exp(-1e9), exp(1e9)), (1.0, 0.0, f32::INFINITY));
        assert_eq!((sigmoid(1e9), sigmoid(-1e9), tanh(-1e9)), (1.0, 0.0, -1.0));
        assert!(exp(88.0).is_finite() && exp(-87.0) > 0.0);
        assert_eq!(
            (pow(1.0, 0.6), pow(0.0, 0.6), pow(-1.0, 0.6)),
            (1.0, 0.0, 0.0)
        );
        assert!(exp(f32::NAN).is_nan() && pow(f32::NAN, 0.4).is_nan());
    }
}
