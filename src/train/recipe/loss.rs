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

/// Distillation's usual temperature.
pub const TEMPERATURE: f64 = 2.0;
/// Usual share of distillation in [`Loss::Auto`] with labels.
pub const DISTILLATION: f64 = 0.7;

impl Loss {
    /// Weight of distillation, 0..=1; the rest is cross-entropy. `share` is what is wanted where both
    /// are possible.
    pub fn distillation(self, has_labels: bool, share: Option<f64>) -> f64 {
        match self {
            Loss::Labels => 0.0,
            Loss::Distill => 1.0,
            Loss::Auto if has_labels => share.unwrap_or(DISTILLATION),
            Loss::Auto => 1.0,
        }
    }
}

/// The targets of one image.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its class, if known.
    pub label: Option<u32>,
    /// Share of the label's probability that is spread over all classes.
    pub smoothing: f64,
    /// The logits to learn from, if any.
    pub teacher: Option<&'a [f32]>,
    /// Weight of distillation.
    pub distillation: f64,
    /// Softens both distributions in distillation.
    pub temperature: f64,
}

impl Target<'_> {
    /// Cross-entropy with a label alone.
    pub fn label(label: u32) -> Self {
        Self {
            label: Some(label),
            smoothing: 0.0,
            teacher: None,
            distillation: 0.0,
            temperature: 1.0,
        }
    }
}

/// Working memory of [`image_loss`].
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    p: Vec<f64>,
    q: Vec<f64>,
    slope: Vec<f64>,
}

/// Writes the softmax into `p` and gives the logarithm of its denominator.
fn softmax(logits: &[f32], temperature: f64, p: &mut Vec<f64>) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    p.clear();
    p.extend((logits.iter()).map(|&z| exp((f64::from(z) - max) / temperature)));
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    max / temperature + sum.ln()
}

/// The loss of one image, `(1 - a) CE + a T^2 KL(teacher || level)`; writes its gradient by the
/// logits, times `weight`, into `gradient`. The label's distribution in the cross-entropy has
/// `1 - e + e / K` at the label and `e / K` at the other of `K` classes, `e` the smoothing.
pub fn image_loss(
    logits: &[f32],
    target: Target<'_>,
    weight: f64,
    gradient: &mut [f32],
    scratch: &mut Scratch,
) -> f64 {
    let Scratch { p, q, slope } = scratch;
    let mut total = 0.0;
    slope.clear();
    slope.resize(logits.len(), 0.0);
    let a = target.distillation;
    if let Some(label) = target.label.filter(|_| a < 1.0) {
        let label = label as usize;
        let log_sum = softmax(logits, 1.0, p);
        let even = target.smoothing / logits.len() as f64;
        for (k, (slope, p)) in slope.iter_mut().zip(p.iter()).enumerate() {
            let wanted = even + (1.0 - target.smoothing) * f64::from(u8::from(k == label));
            total += (1.0 - a) * wanted * (log_sum - f64::from(logits[k]));
            *slope += (1.0 - a) * (p - wanted);
        }
    }
    if let Some(teacher) = target.teacher.filter(|_| a > 0.0) {
        let t = target.temperature;
        let log_sum = softmax(logits, t, p);
        let teacher_sum = softmax(teacher, t, q);
        for k in 0..logits.len() {
            let log_p = f64::from(logits[k]) / t - log_sum;
            let log_q = f64::from(teacher[k]) / t - teacher_sum;
            total += a * t * t * q[k] * (log_q - log_p);
            slope[k] += a * t * (p[k] - q[k]);
        }
    }
    for (to, slope) in gradient.iter_mut().zip(slope) {
        *to = (*slope * weight) as f32;
    }
    total
}

/// The loss of one image's raw output: `scale` times the sum of squared differences from the
/// teacher's. Writes its gradient by the output, times `weight`, into `gradient`.
///
/// With `scale = 1 / (outputs * elements * variance)`, summed over a network's outputs, it is the
/// mean over outputs of the mean squared error as a share of the variance of the teacher's output.
pub fn raw_loss(
    output: &[f32],
    teacher: &[f32],
    scale: f64,
    weight: f64,
    gradient: &mut [f32],
) -> f64 {
    let mut total = 0.0;
    for ((to, y), t) in gradient.iter_mut().zip(output).zip(teacher) {
        let difference = f64::from(*y) - f64::from(*t);
        total += scale * difference * difference;
        *to = (2.0 * scale * difference * weight) as f32;
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

    fn loss(logits: &[f32], target: Target<'_>, weight: f64, gradient: &mut [f32]) -> f64 {
        image_loss(logits, target, weight, gradient, &mut Scratch::default())
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let logits = [1.5f32, -0.25, 3.0, 0.5];
        let teacher = [0.5f32, 2.0, 1.0, -1.0];
        let cases = [
            (Some(1), 0.0, 0.0, 2.0),
            (Some(2), 0.7, 0.0, 2.0),
            (Some(2), 0.5, 0.1, 4.0),
            (None, 1.0, 0.0, 1.0),
        ];
        for (label, distillation, smoothing, temperature) in cases {
            let target = Target {
                label,
                smoothing,
                teacher: Some(&teacher),
                distillation,
                temperature,
            };
            let mut gradient = [0.0; 4];
            loss(&logits, target, 0.5, &mut gradient);
            for k in 0..4 {
                let at = |h: f32| {
                    let mut moved = logits;
                    moved[k] += h;
                    loss(&moved, target, 1.0, &mut [0.0; 4])
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
            teacher: Some(&[0.0, 0.0]),
            distillation,
            ..Target::label(0)
        };
        let even = loss(&[0.0, 0.0], target(0.0), 1.0, &mut [0.0; 2]);
        assert!((even - 2f64.ln()).abs() < 1e-12);
        let same = loss(&[3.0, 3.0], target(1.0), 1.0, &mut [0.0; 2]);
        assert!(same.abs() < 1e-12, "equal to the teacher: {same}");
        assert_eq!(top1(&[1.0, 2.0, 2.0]), 1);
    }

    /// With probabilities 3/4 and 1/4: a smoothing of 0.2 wants 0.9 and 0.1.
    #[test]
    fn smoothing_spreads_the_label() {
        let logits = [3f32.ln(), 0.0];
        let target = Target {
            smoothing: 0.2,
            ..Target::label(0)
        };
        let mut gradient = [0.0; 2];
        let got = loss(&logits, target, 1.0, &mut gradient);
        let by_hand = -0.9 * 0.75f64.ln() - 0.1 * 0.25f64.ln();
        assert!((got - by_hand).abs() < 1e-6, "{got} {by_hand}");
        for (g, by_hand) in gradient.into_iter().zip([0.75 - 0.9, 0.25 - 0.1]) {
            assert!((g - by_hand).abs() < 1e-6);
        }
    }

    /// Differences 1 and -2 at a scale of 1/4: 5/4; gradients 2/4 and -4/4.
    #[test]
    fn raw_outputs_are_compared_by_their_squared_difference() {
        let mut gradient = [0.0; 2];
        let got = raw_loss(&[2.0, 1.0], &[1.0, 3.0], 0.25, 0.5, &mut gradient);
        assert_eq!((got, gradient), (1.25, [0.25, -0.5]));
    }

    #[test]
    fn the_share_of_distillation() {
        assert_eq!(Loss::Auto.distillation(true, None), DISTILLATION);
        assert_eq!(Loss::Auto.distillation(true, Some(0.2)), 0.2);
        assert_eq!(Loss::Auto.distillation(false, Some(0.2)), 1.0);
        assert_eq!(Loss::Labels.distillation(true, Some(0.2)), 0.0);
        assert_eq!(Loss::Distill.distillation(true, Some(0.2)), 1.0);
    }
}
