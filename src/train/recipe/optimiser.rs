//! Stochastic gradient descent with Nesterov's momentum, and the learning rate's course.

use crate::train::math::cos_pi;
use crate::train::options::RateShape;

/// Share of the velocity that a step keeps.
pub const MOMENTUM: f32 = 0.9;

/// One step, in the form of Sutskever et al. that PyTorch uses: `v = m v + g`,
/// `w -= rate (g + m v)`, with `decay * w` added to the gradient first.
pub fn nesterov(w: &mut [f32], velocity: &mut [f32], gradient: &[f32], rate: f32, decay: f32) {
    for ((w, v), g) in w.iter_mut().zip(velocity).zip(gradient) {
        let g = g + decay * *w;
        *v = MOMENTUM * *v + g;
        *w -= rate * (g + MOMENTUM * *v);
    }
}

impl RateShape {
    /// The learning rate of step `step` of `steps`: up linearly over `warmup` steps, down along the
    /// shape.
    pub fn at(self, peak: f32, step: usize, steps: usize, warmup: usize) -> f32 {
        let t = step as f64 / steps as f64;
        let up = ((step + 1) as f64 / warmup.max(1) as f64).min(1.0);
        let half_cosine = |t: f64| 0.5 * (1.0 + cos_pi(t));
        let down = match self {
            RateShape::Cosine => half_cosine(t),
            RateShape::Linear => 1.0 - t,
            RateShape::Hold(until) if t < until => 1.0,
            RateShape::Hold(until) => half_cosine((t - until) / (1.0 - until)),
        };
        (f64::from(peak) * up * down) as f32
    }
}

/// The share that a running average keeps in its update `update` (from 0): `decay`, but at first
/// less, so that the average forgets where it began: `min(decay, (1 + n) / (10 + n))`.
pub fn kept(decay: f64, update: usize) -> f32 {
    let n = update as f64;
    decay.min((1.0 + n) / (10.0 + n)) as f32
}

/// Moves a running average towards `value`.
pub fn average(average: &mut [f32], value: &[f32], kept: f32) {
    for (a, v) in average.iter_mut().zip(value) {
        *a += (1.0 - kept) * (v - *a);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls_to_nothing() {
        let cosine = |step| RateShape::Cosine.at(0.1, step, 1000, 10);
        assert_eq!(
            cosine(9),
            (0.1 * 0.5 * (1.0 + (0.009 * std::f64::consts::PI).cos())) as f32
        );
        assert!(cosine(0) < 0.011);
        assert!((cosine(500) - 0.05).abs() < 1e-6);
        assert!(cosine(999) < 1e-6);
        let linear = |step| RateShape::Linear.at(0.1, step, 1000, 10);
        assert_eq!((linear(0), linear(250)), (0.01, 0.075));
        let hold = |step| RateShape::Hold(0.6).at(0.1, step, 1000, 10);
        assert_eq!((hold(10), hold(599), hold(600)), (0.1, 0.1, 0.1));
        assert!((hold(800) - 0.05).abs() < 1e-6 && hold(999) < 1e-5);
    }

    #[test]
    fn two_steps_by_hand() {
        let (mut w, mut v) = ([1.0f32], [0.0f32]);
        nesterov(&mut w, &mut v, &[0.5], 0.1, 0.0);
        assert_eq!((w[0], v[0]), (1.0 - 0.1 * (0.5 + 0.9 * 0.5), 0.5));
        let before = w[0];
        nesterov(&mut w, &mut v, &[0.5], 0.1, 0.0);
        assert_eq!(v[0], 0.9 * 0.5 + 0.5);
        assert_eq!(w[0], before - 0.1 * (0.5 + 0.9 * v[0]));
    }

    #[test]
    fn the_average_forgets_its_start() {
        assert_eq!(kept(0.999, 0), 0.1);
        assert_eq!(kept(0.999, 90), 0.91);
        assert_eq!(kept(0.9, 1_000_000), 0.9);
        let mut a = [1.0, 4.0];
        average(&mut a, &[3.0, 4.0], 0.75);
        assert_eq!(a, [1.5, 4.0]);
    }
}
