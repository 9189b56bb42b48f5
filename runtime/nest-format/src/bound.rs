//! Which rows of weights packed accumulators can sum.

/// The weights of a row, by sign: whether its sum over any int8 inputs stays within the 23 bits of a
/// packed accumulator. See [`crate::NestedStream`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackedBound {
    /// Sum of the positive weights.
    positive: i64,
    /// Sum of the negated negative weights.
    negative: i64,
}

impl PackedBound {
    /// Of a row without weights.
    pub const fn new() -> Self {
        Self {
            positive: 0,
            negative: 0,
        }
    }
    /// With another weight.
    #[must_use]
    pub const fn with(self, weight: i8) -> Self {
        if weight > 0 {
            Self {
                positive: self.positive + weight as i64,
                ..self
            }
        } else {
            Self {
                negative: self.negative - weight as i64,
                ..self
            }
        }
    }
    /// Whether every sum fits.
    pub const fn fits(self) -> bool {
        let Self { positive, negative } = self;
        127 * positive + 128 * negative < 1 << 22 && 128 * positive + 127 * negative < 1 << 22
    }
}
