//! Functions of each element and their derivatives. Exponentials come from [`crate::train::math`],
//! so that results do not depend on the platform.

use crate::ir::float::{Unary, int8};
use crate::train::math::exp;
use crate::train::simd::{LANES, Lanes};

use super::local::gated;

/// A function of each element.
#[derive(Clone, Debug)]
pub enum Function {
    /// One for all channels.
    Unary(Unary),
    /// A slope below zero for each channel.
    PRelu(Vec<f32>),
}

impl Function {
    /// The function that channel `c` has.
    fn of(&self, c: usize) -> Unary {
        match self {
            Function::Unary(f) => *f,
            Function::PRelu(slope) => Unary::LeakyRelu { alpha: slope[c] },
        }
    }

    /// Writes a row of channel `c`.
    pub fn forward(&self, c: usize, x: &[Lanes], out: &mut [Lanes]) {
        match self.of(c) {
            Unary::Clip { low, high } => map(x, out, |x| x.max(low).min(high)),
            Unary::LeakyRelu { alpha } => map(x, out, |x| if x < 0.0 { alpha * x } else { x }),
            Unary::Elu { alpha } => map(x, out, |x| {
                if x < 0.0 {
                    (f64::from(alpha) * (exp(f64::from(x)) - 1.0)) as f32
                } else {
                    x
                }
            }),
            Unary::Sigmoid => map(x, out, |x| sigmoid(x) as f32),
            Unary::HardSigmoid { alpha, beta } => {
                map(x, out, |x| x.mul_add(alpha, beta).clamp(0.0, 1.0));
            }
            Unary::HardSwish => map(x, out, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
            Unary::Silu => map(x, out, |x| (f64::from(x) * sigmoid(x)) as f32),
            Unary::Tanh => map(x, out, tanh),
            Unary::Exp => map(x, out, |x| exp(f64::from(x)) as f32),
            Unary::Int8 { scale, zero_point } => map(x, out, |x| int8(x, scale, zero_point)),
        }
    }

    /// Adds the gradient of a row of channel `c` to `dx`. At a kink the derivative is that of the
    /// side where the function is constant or falls slower.
    pub fn backward(&self, c: usize, x: &[Lanes], y: &[Lanes], dy: &[Lanes], dx: &mut [Lanes]) {
        let rows = Rows { x, y, dy };
        match self.of(c) {
            Unary::Clip { low, high } => rows.add(dx, |x, _| f32::from(low < x && x < high)),
            Unary::LeakyRelu { alpha } => rows.add(dx, |x, _| if x > 0.0 { 1.0 } else { alpha }),
            Unary::Elu { alpha } => rows.add(dx, |x, y| if x > 0.0 { 1.0 } else { y + alpha }),
            Unary::Sigmoid => rows.add(dx, |_, y| y * (1.0 - y)),
            Unary::HardSigmoid { alpha, .. } => {
                rows.add(dx, |_, y| if 0.0 < y && y < 1.0 { alpha } else { 0.0 });
            }
            Unary::HardSwish => rows.add(dx, |x, _| match x {
                x if x <= -3.0 => 0.0,
                x if x >= 3.0 => 1.0,
                x => x / 3.0 + 0.5,
            }),
            Unary::Silu => rows.add(dx, |x, y| {
                let s = sigmoid(x) as f32;
                s + y * (1.0 - s)
            }),
            Unary::Tanh => rows.add(dx, |_, y| (1.0 - y) * (1.0 + y)),
            Unary::Exp => rows.add(dx, |_, y| y),
            // As if nothing were rounded, and what is clipped did not matter.
            Unary::Int8 { scale, zero_point } => {
                let [low, high] = [-128.0, 127.0].map(|q| (q - f32::from(zero_point)) * scale);
                let half = scale / 2.0;
                rows.add(dx, |x, _| f32::from(low - half <= x && x <= high + half));
            }
        }
    }
}

#[inline(always)]
fn map(x: &[Lanes], out: &mut [Lanes], f: impl Fn(f32) -> f32) {
    for (out, x) in out.iter_mut().zip(x) {
        for l in 0..LANES {
            out.0[l] = f(x.0[l]);
        }
    }
}

struct Rows<'a> {
    x: &'a [Lanes],
    y: &'a [Lanes],
    dy: &'a [Lanes],
}

impl Rows<'_> {
    #[inline(always)]
    fn add(&self, dx: &mut [Lanes], slope: impl Fn(f32, f32) -> f32) {
        let inputs = self.x.iter().zip(self.y).zip(self.dy);
        for (dx, ((x, y), dy)) in dx.iter_mut().zip(inputs) {
            for l in 0..LANES {
                dx.0[l] += gated(dy.0[l], || slope(x.0[l], y.0[l]));
            }
        }
    }
}

fn sigmoid(x: f32) -> f64 {
    1.0 / (1.0 + exp(-f64::from(x)))
}

fn tanh(x: f32) -> f32 {
    // The exponential of twice the magnitude: never infinite over infinite.
    let e = exp(-2.0 * f64::from(x.abs()));
    (((1.0 - e) / (1.0 + e)) as f32).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding has no slope of its own; what is learned through it is as if there were none.
    #[test]
    fn gradients_pass_through_rounding_within_its_range() {
        let rounding = Function::Unary(Unary::Int8 {
            scale: 0.5,
            zero_point: -28,
        });
        // Integers from -128 to 127 stand for -50 to 77.5.
        let inputs = [-51.0, -50.2, -50.0, 0.2, 0.25, 0.75, 77.5, 77.7, 78.0];
        let expected = [-50.0, -50.0, -50.0, 0.0, 0.0, 1.0, 77.5, 77.5, 77.5];
        let slopes = [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        let mut x = [Lanes::ZERO];
        x[0].0[..9].copy_from_slice(&inputs);
        let mut y = [Lanes::ZERO];
        rounding.forward(0, &x, &mut y);
        assert_eq!(y[0].0[..9], expected);
        let dy = [Lanes([2.0; LANES])];
        let mut dx = [Lanes::ZERO];
        rounding.backward(0, &x, &y, &dy, &mut dx);
        assert_eq!(dx[0].0[..9], slopes.map(|s| 2.0 * s));
    }
}
