//! Functions whose bits must not depend on the platform's mathematical library.

/// `e^x` in double precision, to about one unit in the last place, from additions and
/// multiplications only. Arguments below -700 give 0.
pub fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < -700.0 {
        return 0.0;
    }
    if x > 700.0 {
        return f64::INFINITY;
    }
    // e^x = 2^n e^r with |r| <= ln(2) / 2; ln(2) in two parts keeps r exact.
    let n = (x * std::f64::consts::LOG2_E).round();
    let r = (x - n * 6.931_471_803_691_238e-1) - n * 1.908_214_929_270_587_7e-10;
    // Taylor's series: the fourteenth term is below 1e-17.
    let mut sum = 1.0;
    for k in (1..=14).rev() {
        sum = 1.0 + sum * r / f64::from(k);
    }
    sum * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// `cos(pi * t)` for `t` in 0..=1, from additions and multiplications only.
pub fn cos_pi(t: f64) -> f64 {
    // cos(pi t) = -cos(pi (1 - t)); the series converges fast for arguments up to pi / 2.
    let (t, sign) = if t > 0.5 { (1.0 - t, -1.0) } else { (t, 1.0) };
    let x2 = (t * std::f64::consts::PI).powi(2);
    let mut sum = 1.0;
    for k in (1..=11).rev() {
        sum = 1.0 - sum * x2 / f64::from(2 * k * (2 * k - 1));
    }
    sign * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_matches_the_library() {
        for i in -6000..=6000 {
            let x = f64::from(i) * 0.01137;
            let (own, library) = (exp(x), x.exp());
            assert!(
                (own - library).abs() <= 4e-16 * library,
                "{x}: {own} {library}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e9), 0.0);
        assert!(exp(f64::NAN).is_nan());
    }

    #[test]
    fn cosine_matches_the_library() {
        for i in 0..=1000 {
            let t = f64::from(i) / 1000.0;
            assert!((cos_pi(t) - (t * std::f64::consts::PI).cos()).abs() < 1e-15);
        }
    }
}
