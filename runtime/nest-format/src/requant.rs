//! Fixed-point constants that bring 32-bit accumulators back to int8.

/// Requantisation of one output channel at one level:
/// `saturate_i8((bias + accumulator * multiplier) >> 32)`, exact in 64 bits.
///
/// This is the TFLite single-rounding rule (round half up, once) with the shift fixed at 32 and
/// everything constant folded into `bias`: the rounding half `1 << 31`, the output zero point
/// `<< 32`, the layer's bias and the correction `-input_zero_point * sum(weights)`, both times
/// `multiplier`. ReLU and ReLU6 are the saturation itself: their outputs are quantised so that
/// -128 stands for 0 and 127 for the upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Requant {
    bias_low: u32,
    bias_high: i32,
    /// `round(input_scale * weight_scale * post_scale / output_scale * 2^32)`; may be negative or 0.
    pub multiplier: i32,
}

impl Requant {
    /// From the 64-bit bias and the multiplier.
    pub const fn new(bias: i64, multiplier: i32) -> Self {
        Self {
            bias_low: bias as u32,
            bias_high: (bias >> 32) as i32,
            multiplier,
        }
    }
    /// The 64-bit bias.
    #[inline]
    pub const fn bias(&self) -> i64 {
        ((self.bias_high as i64) << 32) | self.bias_low as i64
    }
    /// The int8 output of an accumulator.
    #[inline]
    pub const fn apply(&self, accumulator: i32) -> i8 {
        let v = self
            .bias()
            .wrapping_add(accumulator as i64 * self.multiplier as i64)
            >> 32;
        if v < -128 {
            -128
        } else if v > 127 {
            127
        } else {
            v as i8
        }
    }
}

/// An elementwise sum at one level: `saturate_i8((a * factor_a + b * factor_b + bias) >> shift)`,
/// exact in 32 bits. `bias` holds rounding, both zero-point corrections and the output zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AddParams {
    /// Of the first input.
    pub factor_a: i16,
    /// Of the second input.
    pub factor_b: i16,
    /// Rounding and zero points.
    pub bias: i32,
    /// At most 22.
    pub shift: u32,
}

impl AddParams {
    /// The int8 sum of two elements.
    #[inline]
    pub const fn apply(&self, a: i8, b: i8) -> i8 {
        let v = (a as i32 * self.factor_a as i32 + b as i32 * self.factor_b as i32 + self.bias)
            >> self.shift;
        if v < -128 {
            -128
        } else if v > 127 {
            127
        } else {
            v as i8
        }
    }
}
