//! How int8 comes to stand for reals: the one rule by which the compiler rounds and by which training
//! rounds when it is told to expect that.
//!
//! - Weights: symmetric, one step an output channel, a 127th of the largest weight of all levels,
//!   since one int8 value serves them all. Rows that packed sums could not take get a wider step.
//! - Activations: asymmetric, 255 steps over a range that holds zero; zero is exact.

use nest_format::PackedBound;

use super::int::Quant;

/// A range of reals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Lower end, at most 0.
    pub low: f64,
    /// Upper end, at least 0.
    pub high: f64,
}

impl Range {
    /// Zero alone.
    pub const ZERO: Self = Self {
        low: 0.0,
        high: 0.0,
    };

    /// The range of both and of zero, which int8 must always be able to stand for.
    pub fn with(self, value: f64) -> Self {
        Self {
            low: self.low.min(value).min(0.0),
            high: self.high.max(value).max(0.0),
        }
    }

    /// `real = scale * (q - zero_point)` over the range, 255 steps; zero is exact.
    pub fn quant(self) -> Quant {
        let scale = ((self.high - self.low) / 255.0) as f32;
        // Nothing but zeros was seen: any step will do.
        let scale = if scale > f32::MIN_POSITIVE {
            scale
        } else {
            1.0
        };
        self.quant_of_step(scale)
    }

    /// The same with a step of at least `least`.
    pub fn quant_of_least_step(self, least: f64) -> Quant {
        let quant = self.quant();
        if f64::from(quant.scale) >= least {
            return quant;
        }
        let mut wider = least as f32;
        if f64::from(wider) < least {
            wider = wider.next_up();
        }
        // The range that is not needed goes above: an activation's zero stays the lowest value.
        self.quant_of_step(wider)
    }

    fn quant_of_step(self, scale: f32) -> Quant {
        let zero_point = (-128.0 - self.low / f64::from(scale)).round();
        Quant {
            scale,
            zero_point: zero_point.clamp(-128.0, 127.0) as i8,
        }
    }
}

/// The int8 that stands for `real`: rounded half away from zero, saturated.
pub fn quantise_real(real: f64, quant: Quant) -> i8 {
    ((real / f64::from(quant.scale)).round() + f64::from(quant.zero_point)).clamp(-128.0, 127.0)
        as i8
}

/// The step of a row of weights: at least `least`, and so wide that packed sums take the row if it is
/// `nested`, since a nested row has no other kernel to go to. Tells too whether the row alone would
/// have had a finer step. A row of zeros has a step of 1.
pub fn row_step(row: &[f32], nested: bool, least: f64) -> (f32, bool) {
    let largest = row.iter().fold(0.0, |m: f64, &w| m.max(f64::from(w).abs()));
    let alone = match largest > 0.0 {
        true => (largest / f64::from(steps_of_largest(row, largest))) as f32,
        false => 1.0,
    };
    let mut step = alone;
    if f64::from(step) < least {
        step = (least as f32).next_up();
    }
    while nested && !row_fits(row.iter().map(|&w| round_weight(w, step))) {
        step *= 1.03;
    }
    (step, step > alone)
}

/// How many steps the largest weight of a row is: 127, or fewer if that makes whole steps of all the
/// others. Weights that were rounded before, as those of a quantised file, so keep their values.
fn steps_of_largest(row: &[f32], largest: f64) -> u8 {
    /// Above what single precision leaves of the product of a step and an integer.
    const TOLERANCE: f64 = 1e-4;
    let whole = |steps: u8| {
        let per_weight = f64::from(steps) / largest;
        let off = |w: f32| {
            let steps = f64::from(w) * per_weight;
            (steps - steps.round()).abs()
        };
        row.iter().all(|&w| off(w) < TOLERANCE)
    };
    (1..=127).rev().find(|&steps| whole(steps)).unwrap_or(127)
}

/// The int8 of a weight: rounded half away from zero.
pub fn round_weight(weight: f32, step: f32) -> i8 {
    (f64::from(weight) / f64::from(step))
        .round()
        .clamp(-127.0, 127.0) as i8
}

/// Whether a row's sum stays within the 23 bits of a packed accumulator for all inputs (the bound
/// of [`nest_format::NestedStream`]).
pub fn row_fits(weights: impl Iterator<Item = i8>) -> bool {
    weights.fold(PackedBound::new(), PackedBound::with).fits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(scale: f32, zero_point: i8) -> Quant {
        Quant { scale, zero_point }
    }

    #[test]
    fn quantisation_rounds_half_away_and_saturates() {
        let quant = q(0.5, 3);
        assert_eq!(quantise_real(0.25, quant), 4);
        assert_eq!(quantise_real(-0.25, quant), 2);
        assert_eq!(quantise_real(0.24, quant), 3);
        assert_eq!(quantise_real(1e9, quant), 127);
        assert_eq!(quantise_real(-1e9, quant), -128);
    }

    #[test]
    fn ranges_of_activations_start_at_the_lowest_value() {
        let quant = Range::ZERO.with(2.55).quant();
        assert_eq!(quant.zero_point, -128);
        assert_eq!(quant.scale, 0.01);
        assert_eq!(Range::ZERO.quant(), q(1.0, -128));
        assert_eq!(Range::ZERO.with(-255.0).quant(), q(1.0, 127));
    }

    #[test]
    fn widening_keeps_zero_lowest() {
        let range = Range::ZERO.with(2.55);
        let wide = range.quant_of_least_step(0.1);
        assert!(f64::from(wide.scale) >= 0.1 && wide.scale < 0.100_001);
        assert_eq!(wide.zero_point, -128);
        assert_eq!(range.quant_of_least_step(0.001), range.quant());
    }

    #[test]
    fn the_largest_weight_of_a_row_is_127_steps() {
        let row = [0.5, -1.27, 0.014_999];
        let (step, coarser) = row_step(&row, true, 0.0);
        assert!(!coarser && (f64::from(step) - 0.01).abs() < 1e-9);
        let ints = row.map(|w| round_weight(w, step));
        assert_eq!(ints, [50, -127, 1]);
        assert_eq!(row_step(&[0.0; 4], true, 0.0), (1.0, false));
        let (step, coarser) = row_step(&row, true, 0.5);
        assert!(coarser && (0.5..0.500_001).contains(&step));
    }

    #[test]
    fn weights_on_a_grid_keep_it() {
        let step = 0.003_141_59_f32;
        let ints = [90i8, -12, 33, 7, 0, -81];
        let row = ints.map(|q| f32::from(q) * step);
        let (found, coarser) = row_step(&row, true, 0.0);
        assert!(!coarser && (found / step - 1.0).abs() < 1e-6);
        assert_eq!(row.map(|w| round_weight(w, found)), ints);
        // One weight off it, and the grid is the usual one.
        let mut off = row;
        off[1] += 0.1 * step;
        assert_eq!(
            row_step(&off, true, 0.0).0,
            (f64::from(90.0 * step) / 127.0) as f32
        );
    }

    #[test]
    fn nested_rows_take_wider_steps_until_packed_sums_fit() {
        assert!(row_fits([127i8; 258].into_iter()));
        assert!(!row_fits([127i8; 259].into_iter()));
        assert!(row_fits([-127i8; 258].into_iter()));
        assert!(!row_fits([-127i8; 259].into_iter()));
        assert!(row_fits([1i8; 32_767].into_iter()));
        assert!(!row_fits([1i8; 32_768].into_iter()));
        let row = [1.0f32; 259];
        let (plain, coarser) = row_step(&row, false, 0.0);
        assert!(!coarser);
        let (nested, coarser) = row_step(&row, true, 0.0);
        assert!(coarser && nested > plain && nested < plain * 1.05);
        assert!(row_fits(row.iter().map(|&w| round_weight(w, nested))));
    }
}
