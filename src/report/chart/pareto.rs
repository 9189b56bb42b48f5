//! The Pareto front.

/// Which of the points `(cost, gain)` no other beats: none has less or equal cost and more or equal
/// gain, and differs in one of them. In order of rising cost; equal points stay together, and points
/// with a number that is none are never on the front.
pub fn pareto_front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len())
        .filter(|&i| points[i].0.is_finite() && points[i].1.is_finite())
        .collect();
    order.sort_by(|&a, &b| {
        let ((cost_a, gain_a), (cost_b, gain_b)) = (points[a], points[b]);
        (cost_a.total_cmp(&cost_b))
            .then(gain_b.total_cmp(&gain_a))
            .then(a.cmp(&b))
    });
    let mut front: Vec<usize> = Vec::new();
    for i in order {
        let stays = front
            .last()
            .is_none_or(|&best| points[i].1 > points[best].1 || points[i] == points[best]);
        if stays {
            front.push(i);
        }
    }
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition itself.
    fn by_definition(points: &[(f64, f64)]) -> Vec<usize> {
        let beaten = |a: (f64, f64)| {
            points
                .iter()
                .any(|&b| b.0 <= a.0 && b.1 >= a.1 && (b.0 < a.0 || b.1 > a.1))
        };
        (0..points.len()).filter(|&i| !beaten(points[i])).collect()
    }

    #[test]
    fn is_what_the_definition_says() {
        let mut state = 7u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Few values, so that ties and equal points come up.
            f64::from((state >> 33) as u32 % 6)
        };
        for round in 0..500 {
            let points: Vec<(f64, f64)> = (0..round % 12).map(|_| (next(), next())).collect();
            let mut front = pareto_front(&points);
            assert!(
                front.windows(2).all(|w| points[w[0]].0 <= points[w[1]].0),
                "{points:?}"
            );
            front.sort_unstable();
            assert_eq!(front, by_definition(&points), "{points:?}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_left_out() {
        let points = [(f64::NAN, 9.0), (1.0, f64::NAN), (2.0, 1.0), (0.5, 0.5)];
        assert_eq!(pareto_front(&points), [3, 2]);
    }
}
