//! Cross-entropy with labels and distillation from the given network's outputs.

use serde::{Deserialize, Serialize};

use crate::train::math::exp;

/// What a level is trained towards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Labels and the given network's outputs where there are labels, the outputs alone otherwise.
    #[default]
    Auto,
    /// Labels only.
    Labels,
    /// The given network's outputs only.
    Distill,
}

/// Distillation's temperature: both distributions are softened by it.
pub const TEMPERATURE: f64 = 2.0;
/// Share of distillation in [`Loss::Auto`] with labels.
pub const DISTILLATION: f64 = 0.7;

impl Loss {
    /// Weight of distillation, 0..=1; the rest is cross-entropy.
    pub fn distillation(self, has_labels: bool) -> f64 {
        match self {
            Loss::Labels => 0.0,
            Loss::Distill => 1.0,
            Loss::Auto if has_labels => DISTILLATION,
            Loss::Auto => 1.0,
        }
    }
}

/// The targets of one image.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its class, if known.
    pub label: Option<u32>,
    /// The given network's logits, if it is distilled from.
    pub teacher: Option<&'a [f32]>,
    /// Weight of distillation.
    pub distillation: f64,
}

fn softmax(logits: &[f32], temperature: f64) -> (Vec<f64>, f64) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut p: Vec<f64> = logits
        .iter()
        .map(|&z| exp((f64::from(z) - f64::from(max)) / temperature))
        .collect();
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    (p, f64::from(max) / temperature + sum.ln())
}

/// The loss of one image, `(1 - a) CE + a T^2 KL(teacher || level)`; writes its gradient by the
/// logits, times `weight`, into `gradient`.
pub fn image_loss(logits: &[f32], target: Target<'_>, weight: f64, gradient: &mut [f32]) -> f64 {
    let mut total = 0.0;
    let mut slope = vec![0.0; logits.len()];
    let a = target.distillation;
    if let Some(label) = target.label.filter(|_| a < 1.0) {
        let label = label as usize;
        let (p, log_sum) = softmax(logits, 1.0);
        total += (1.0 - a) * (log_sum - f64::from(logits[label]));
        for (k, (slope, p)) in slope.iter_mut().zip(p).enumerate() {
            *slope += (1.0 - a) * (p - f64::from(u8::from(k == label)));
        }
    }
    if let Some(teacher) = target.teacher.filter(|_| a > 0.0) {
        let (p, log_sum) = softmax(logits, TEMPERATURE);
        let (q, teacher_sum) = softmax(teacher, TEMPERATURE);
        for k in 0..logits.len() {
            let log_p = f64::from(logits[k]) / TEMPERATURE - log_sum;
            let log_q = f64::from(teacher[k]) / TEMPERATURE - teacher_sum;
            total += a * TEMPERATURE * TEMPERATURE * q[k] * (log_q - log_p);
            slope[k] += a * TEMPERATURE * (p[k] - q[k]);
        }
    }
    for (to, slope) in gradient.iter_mut().zip(slope) {
        *to = (slope * weight) as f32;
    }
    total
}

/// The class with the largest logit, the first of equals.
pub fn top1(logits: &[f32]) -> usize {
    let mut best = 0;
    for (k, v) in logits.iter().enumerate() {
        if *v > logits[best] {
            best = k;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let logits = [1.5f32, -0.25, 3.0, 0.5];
        let teacher = [0.5f32, 2.0, 1.0, -1.0];
        for (label, distillation) in [(Some(1), 0.0), (Some(2), 0.7), (None, 1.0)] {
            let target = Target {
                label,
                teacher: Some(&teacher),
                distillation,
            };
            let mut gradient = [0.0; 4];
            image_loss(&logits, target, 0.5, &mut gradient);
            for k in 0..4 {
                let at = |h: f32| {
                    let mut moved = logits;
                    moved[k] += h;
                    image_loss(&moved, target, 1.0, &mut [0.0; 4])
                };
                let h = 1.0 / 1024.0;
                let slope = (at(h) - at(-h)) / (2.0 * f64::from(h));
                assert!((f64::from(gradient[k]) - 0.5 * slope).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn known_values() {
        let target = |distillation| Target {
            label: Some(0),
            teacher: Some(&[0.0, 0.0]),
            distillation,
        };
        let loss = image_loss(&[0.0, 0.0], target(0.0), 1.0, &mut [0.0; 2]);
        assert!((loss - 2f64.ln()).abs() < 1e-12);
        let loss = image_loss(&[3.0, 3.0], target(1.0), 1.0, &mut [0.0; 2]);
        assert!(loss.abs() < 1e-12, "equal to the teacher: {loss}");
        assert_eq!(top1(&[1.0, 2.0, 2.0]), 1);
    }
}
