//! Fixed-point constants that bring 32-bit accumulators back to int8.

/// Requantisation of one output channel at one level, exact in 64 bits:
/// `saturate_i8(((accumulator + bias) * multiplier + (zero << 32) + (1 << 31)) >> 32)`, where `zero`
/// is the output zero point of the layer at that level.
///
/// This is the TFLite single-rounding rule (round half up, once) with the shift fixed at 32, and what
/// one `SMMLAR` and one `SSAT` compute. `bias` holds the layer's bias and the correction
/// `-input_zero_point * sum(weights)`, in accumulator units. ReLU and ReLU6 are the saturation
/// itself: their outputs are quantised so that -128 stands for 0 and 127 for the upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Requant {
    /// Added to the accumulator. The sum of both must not overflow: see [`Requant::MAX_BIAS`].
    pub bias: i32,
    /// `round(input_scale * weight_scale * post_scale / output_scale * 2^32)`; may be negative or 0.
    pub multiplier: i32,
}

impl Requant {
    /// The largest size of a bias: half of what 32 bits hold, so that accumulators have the other.
    pub const MAX_BIAS: i32 = 1 << 30;

    /// From bias and multiplier.
    pub const fn new(bias: i32, multiplier: i32) -> Self {
        Self { bias, multiplier }
    }
    /// The int8 output of an accumulator, for an output zero point.
    #[inline]
    pub const fn apply(&self, accumulator: i32, zero: i8) -> i8 {
        let sum = accumulator.wrapping_add(self.bias) as i64;
        let v = (sum * self.multiplier as i64 + ((zero as i64) << 32) + (1 << 31)) >> 32;
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

/// An elementwise product at one level: `(a - zero_a) * (b - zero_b)`, requantised as [`Requant`]
/// tells with this multiplier and no bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ProductParams {
    /// Zero point of the first input.
    pub zero_a: i8,
    /// Zero point of the second input.
    pub zero_b: i8,
    /// Zero point of the output.
    pub zero: i8,
    /// `round(scale_a * scale_b / output_scale * 2^32)`.
    pub multiplier: i32,
}

impl ProductParams {
    /// The int8 product of two elements.
    #[inline]
    pub const fn apply(&self, a: i8, b: i8) -> i8 {
        let product = (a as i32 - self.zero_a as i32) * (b as i32 - self.zero_b as i32);
        Requant::new(0, self.multiplier).apply(product, self.zero)
    }
}
