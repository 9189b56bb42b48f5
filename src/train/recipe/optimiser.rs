//! Stochastic gradient descent with Nesterov's momentum, under a cosine schedule.

use crate::train::math::cos_pi;

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

/// The learning rate of step `step` of `steps`: up linearly over `warmup` steps, down along half a
/// cosine.
pub fn cosine(peak: f32, step: usize, steps: usize, warmup: usize) -> f32 {
    let up = ((step + 1) as f64 / warmup.max(1) as f64).min(1.0);
    let down = 0.5 * (1.0 + cos_pi(step as f64 / steps as f64));
    (f64::from(peak) * up * down) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls_to_nothing() {
        assert_eq!(
            cosine(0.1, 9, 1000, 10),
            (0.1 * 0.5 * (1.0 + (0.009 * std::f64::consts::PI).cos())) as f32
        );
        assert!(cosine(0.1, 0, 1000, 10) < 0.011);
        assert!((cosine(0.1, 500, 1000, 10) - 0.05).abs() < 1e-6);
        assert!(cosine(0.1, 999, 1000, 10) < 1e-6);
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
}
