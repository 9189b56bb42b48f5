//! Round ticks, after P. Heckbert, "Nice numbers for graph labels", Graphics Gems (1990).

/// An axis's range and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The first tick, where the axis begins.
    pub low: f64,
    /// The last tick, where the axis ends.
    pub high: f64,
    /// The distance of ticks: 1, 2 or 5 times a power of ten.
    pub step: f64,
    /// Decimals that ticks need.
    decimals: usize,
}

impl Scale {
    /// A scale over all `values`, of about `ticks` ticks. Numbers that are none are left out; without
    /// any others the scale runs from 0 to 1.
    pub fn over(values: impl Iterator<Item = f64>, ticks: usize) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| v.is_finite()) {
            low = low.min(v);
            high = high.max(v);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low == high {
            // One value stands in the middle of a scale that suits its size.
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - room, high + room);
        }
        let step = round_step((high - low) / ticks.max(2) as f64);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        Self {
            low: (low / step).floor() * step,
            high: (high / step).ceil() * step,
            step,
            decimals,
        }
    }

    /// Every tick and its text.
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> + '_ {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count).map(|i| {
            let at = self.low + i as f64 * self.step;
            (at, self.text(at))
        })
    }

    /// A number with the decimals of the ticks.
    fn text(&self, value: f64) -> String {
        let text = format!("{value:.*}", self.decimals);
        // What rounds to zero has no sign.
        match text.strip_prefix('-') {
            Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.into(),
            _ => text,
        }
    }

    /// Where a value stands between `from`, the place of the lowest, and `to`.
    pub fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        from + (value - self.low) / (self.high - self.low) * (to - from)
    }
}

/// The least of 1, 2, 5 and 10 times a power of ten that is no less than `raw`, to one in a million.
fn round_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let share = raw / power;
    let nice = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|n| share <= n * 1.000_001)
        .unwrap_or(10.0);
    nice * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64], count: usize) -> Vec<String> {
        Scale::over(values.iter().copied(), count)
            .ticks()
            .map(|(_, text)| text)
            .collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(ticks(&[0.3, 4.7], 5), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(
            ticks(&[80.2, 88.4], 5),
            ["80", "82", "84", "86", "88", "90"]
        );
        assert_eq!(ticks(&[0.0, 0.9], 4), ["0.0", "0.5", "1.0"]);
        assert_eq!(ticks(&[-0.02, 0.01], 3), ["-0.02", "-0.01", "0.00", "0.01"]);
        assert_eq!(ticks(&[100.0, 4e6], 4)[..2], ["0", "1000000"]);
    }

    #[test]
    fn degenerate_values_have_a_scale_too() {
        assert_eq!(ticks(&[], 4), ["0.0", "0.5", "1.0"]);
        assert_eq!(ticks(&[f64::NAN, f64::INFINITY], 4), ["0.0", "0.5", "1.0"]);
        assert_eq!(ticks(&[0.0], 2), ["-1", "0", "1"]);
        let one = Scale::over([50.0].into_iter(), 4);
        assert!(one.low < 50.0 && one.high > 50.0, "{one:?}");
        assert_eq!(one.place(50.0, 0.0, 100.0), 50.0);
    }

    #[test]
    fn steps_are_one_two_or_five() {
        for (raw, step) in [
            (1.0, 1.0),
            (1.1, 2.0),
            (2.0, 2.0),
            (3.0, 5.0),
            (7.0, 10.0),
            (0.03, 0.05),
        ] {
            assert!((round_step(raw) / step - 1.0).abs() < 1e-9, "{raw}");
        }
    }
}
