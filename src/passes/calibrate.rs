//! Calibration: which range of reals each activation takes, per level, measured on inputs.

use crate::data::{Dataset, Pixels};
use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::float::Shape;
use crate::ir::ids::{Id, IdVec, Level, ValueId};
use crate::ir::nested::{NestedModel, Preprocessing};
use crate::ir::rounding::Range;
use crate::train::Inference;

use super::CompileOptions;

/// Images evaluated at once.
const BATCH: usize = 32;
/// Images kept to compare the quantised network with the float one.
const SAMPLES: usize = 32;
/// Synthetic images where no data are given.
const SYNTHETIC_IMAGES: usize = 64;

/// How a range is chosen from what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RangeRule {
    /// The smallest and the largest value seen.
    MinMax,
    /// The range that keeps this share of all values on either side, e.g. `0.9999`.
    Percentile(f64),
    /// The range of least mean squared quantisation error, clipping included.
    #[default]
    LeastSquares,
}

/// A histogram over reals that doubles its reach when a value falls outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Bins over `-reach..reach`.
    bins: Vec<u64>,
    reach: f64,
    low: f64,
    high: f64,
    count: u64,
    finite: bool,
}

impl Histogram {
    /// Half of the bins; a power of two. Doubling the reach leaves at least half of them in use, so
    /// a bin is at most 1/1024 of the range.
    const HALF: usize = 2048;

    /// Nothing seen.
    pub fn new() -> Self {
        Self {
            bins: vec![0; 2 * Self::HALF],
            reach: 2f64.powi(-20),
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            count: 0,
            finite: true,
        }
    }

    /// Counts values; one that is not finite spoils the histogram.
    pub fn add(&mut self, values: &[f32]) {
        let (mut low, mut high, mut finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
        for &v in values {
            low = low.min(v);
            high = high.max(v);
            finite &= v.is_finite();
        }
        self.finite &= finite;
        if !finite || values.is_empty() {
            return;
        }
        self.low = self.low.min(f64::from(low));
        self.high = self.high.max(f64::from(high));
        while self.low.abs().max(self.high.abs()) >= self.reach {
            self.double();
        }
        let per_unit = Self::HALF as f64 / self.reach;
        for &v in values {
            // Rounded down, and without a call of the platform's library.
            let at = f64::from(v) * per_unit;
            let whole = at as isize;
            let bin = whole - isize::from((whole as f64) > at) + Self::HALF as isize;
            self.bins[bin.clamp(0, 2 * Self::HALF as isize - 1) as usize] += 1;
        }
        self.count += values.len() as u64;
    }

    fn double(&mut self) {
        let mut wider = vec![0; 2 * Self::HALF];
        for (i, pair) in self.bins.chunks_exact(2).enumerate() {
            wider[Self::HALF / 2 + i] = pair[0] + pair[1];
        }
        self.bins = wider;
        self.reach *= 2.0;
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether all values were finite.
    pub fn is_finite(&self) -> bool {
        self.finite
    }

    /// Centre and count of every bin that holds something.
    fn filled(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> + '_ {
        let width = self.reach / Self::HALF as f64;
        (self.bins.iter().enumerate())
            .filter(|&(_, &n)| n > 0)
            .map(move |(i, &n)| ((i as f64 - Self::HALF as f64 + 0.5) * width, n))
    }

    /// The range `rule` chooses; zero is always in it.
    pub fn range(&self, rule: RangeRule) -> Range {
        if self.count == 0 {
            return Range::ZERO;
        }
        let whole = Range::ZERO.with(self.low).with(self.high);
        match rule {
            RangeRule::MinMax => whole,
            RangeRule::Percentile(share) => {
                let allowed = ((1.0 - share) * self.count as f64).floor() as u64;
                Range {
                    low: percentile_end(self.filled(), allowed)
                        .max(whole.low)
                        .min(0.0),
                    high: percentile_end(self.filled().rev(), allowed)
                        .min(whole.high)
                        .max(0.0),
                }
            }
            RangeRule::LeastSquares => self.least_squares(whole),
        }
    }

    /// Coordinate descent over both ends in steps of 1/64 of the whole range: the error is close to
    /// convex in each end (clipping grows as rounding shrinks).
    fn least_squares(&self, whole: Range) -> Range {
        const STEPS: u32 = 64;
        let bins: Vec<(f64, f64)> = self.filled().map(|(v, n)| (v, n as f64)).collect();
        let mut best = whole;
        let mut least = squared_error(&bins, best);
        for _ in 0..3 {
            let before = best;
            for k in (STEPS / 8)..=STEPS {
                let share = f64::from(k) / f64::from(STEPS);
                for candidate in [
                    Range {
                        low: whole.low * share,
                        ..best
                    },
                    Range {
                        high: whole.high * share,
                        ..best
                    },
                ] {
                    let error = squared_error(&bins, candidate);
                    if error < least {
                        (best, least) = (candidate, error);
                    }
                }
            }
            if best == before {
                break;
            }
        }
        best
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The first bin with more than `allowed` values up to it.
fn percentile_end(mut bins: impl Iterator<Item = (f64, u64)>, allowed: u64) -> f64 {
    let mut seen = 0;
    bins.find(|&(_, n)| {
        seen += n;
        seen > allowed
    })
    .map_or(0.0, |(v, _)| v)
}

/// Sum of squared errors of 255 steps over `range`: step²/12 inside, the distance outside.
fn squared_error(bins: &[(f64, f64)], range: Range) -> f64 {
    let step = (range.high - range.low) / 255.0;
    let inside = step * step / 12.0;
    bins.iter()
        .map(|&(v, n)| {
            let outside = (v - range.high).max(range.low - v).max(0.0);
            n * (inside + outside * outside)
        })
        .sum()
}

/// What is known of every value of a folded model, `[level][value]`.
#[derive(Clone, Debug)]
enum Known {
    /// What was seen of it.
    Seen(Vec<IdVec<ValueId, Histogram>>),
    /// About which range it takes.
    Estimated(Vec<IdVec<ValueId, Range>>),
}

/// The ranges of every value of a folded model, per level.
#[derive(Clone, Debug)]
pub struct Calibration {
    known: Known,
    /// The input's exact bounds where they are known from the data's preparation.
    input: Option<Range>,
    /// Some of the images, spread evenly over them, one after the other.
    pub(super) samples: Vec<f32>,
}

impl Calibration {
    /// Ranges `[level][value]` that nobody measured.
    pub(super) fn estimated(ranges: Vec<IdVec<ValueId, Range>>) -> Self {
        Self {
            known: Known::Estimated(ranges),
            input: None,
            samples: Vec::new(),
        }
    }

    /// Runs every level of `model` on `images` of `dataset`, spread evenly over it, and counts.
    /// `progress` hears of evaluated and of all images, levels counted apart.
    ///
    /// # Errors
    /// If the images are not what the network reads, or a value is not finite.
    pub fn observe(
        model: &NestedModel,
        dataset: &Dataset,
        images: usize,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let shape = model.graph.input_shape();
        dataset.expect_shape("calibration data", shape)?;
        let n = images.min(dataset.len());
        let mut inputs = vec![0.0; n * shape.len()];
        for (i, input) in inputs.chunks_exact_mut(shape.len().max(1)).enumerate() {
            dataset.input(i * dataset.len() / n, input);
        }
        let input = match &dataset.pixels {
            Pixels::U8(_) => Some(pixel_range(&dataset.preprocessing, shape.c)),
            Pixels::F32(_) => None,
        };
        Self::run(model, &inputs, input, progress)
    }

    /// As [`Calibration::observe`] on seeded synthetic pictures: patches of random colours under
    /// noise, prepared by `preprocessing` or else of about unit deviation.
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn synthetic(
        model: &NestedModel,
        preprocessing: Option<&Preprocessing>,
        seed: u64,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let shape = model.graph.input_shape();
        let mut random = Random(seed);
        let mut inputs = Vec::with_capacity(SYNTHETIC_IMAGES * shape.len());
        for _ in 0..SYNTHETIC_IMAGES {
            synthetic_image(&mut random, shape, preprocessing, &mut inputs);
        }
        let input = preprocessing.map(|p| pixel_range(p, shape.c));
        Self::run(model, &inputs, input, progress)
    }

    fn run(
        model: &NestedModel,
        inputs: &[f32],
        input: Option<Range>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let len = model.graph.input_shape().len().max(1);
        let total = inputs.len() / len * model.level_count();
        let mut done = 0;
        let mut histograms = Vec::with_capacity(model.level_count());
        for level in model.level_ids() {
            let mut inference = Inference::new(&model.level(level));
            let mut seen: IdVec<ValueId, Histogram> = (model.graph.values.iter())
                .map(|_| Histogram::new())
                .collect();
            for batch in inputs.chunks(BATCH * len) {
                let n = batch.len() / len;
                inference.observe(batch, n, &mut |value, elements| seen[value].add(elements));
                done += n;
                progress(done, total);
            }
            histograms.push(seen);
        }
        let images = inputs.len() / len;
        let kept = images.min(SAMPLES);
        check_finite(model, &histograms)?;
        Ok(Self {
            known: Known::Seen(histograms),
            input,
            samples: (0..kept)
                .flat_map(|i| &inputs[i * images / kept * len..][..len])
                .copied()
                .collect(),
        })
    }

    /// The range of `value` at `level`.
    pub fn range(&self, level: Level, value: ValueId, rule: RangeRule) -> Range {
        match &self.known {
            Known::Seen(histograms) => histograms[level.index()][value].range(rule),
            Known::Estimated(ranges) => ranges[level.index()][value],
        }
    }

    /// The one range of the network's input, never clipped.
    pub fn input_range(&self, input: ValueId) -> Range {
        self.input
            .unwrap_or_else(|| self.range(Level::from_index(0), input, RangeRule::MinMax))
    }
}

fn check_finite(model: &NestedModel, histograms: &[IdVec<ValueId, Histogram>]) -> Result<()> {
    let mut faults = Diagnostics::default();
    for (level, seen) in histograms.iter().enumerate() {
        // The first in the graph's order: what follows is spoilt by it.
        let broken = model.graph.values.ids().find(|&v| !seen[v].is_finite());
        if let Some(value) = broken {
            faults.push(Diagnostic::new(
                diag::CALIBRATION_NOT_FINITE,
                format!("value `{}`", model.graph.values[value].name),
                format!("level {level} gives a value that is not finite"),
                "check the weights, and mean=, std= and scale= of the calibration data",
            ));
        }
    }
    faults.into_result(())
}

/// Bounds of prepared pixels.
pub(super) fn pixel_range(preprocessing: &Preprocessing, channels: usize) -> Range {
    (0..channels).fold(Range::ZERO, |range, c| {
        range
            .with(f64::from(preprocessing.apply(0, c)))
            .with(f64::from(preprocessing.apply(255, c)))
    })
}

/// What [`for_options`] reports.
pub(super) enum Progress {
    Warning(Diagnostic),
    Images(usize, usize),
}

/// Calibrates as `options` say.
pub(super) fn for_options(
    model: &NestedModel,
    preprocessing: Option<&Preprocessing>,
    options: &CompileOptions<'_>,
    mut report: impl FnMut(Progress),
) -> Result<Calibration> {
    if let Some(dataset) = options.calibration.filter(|d| !d.is_empty()) {
        return Calibration::observe(model, dataset, options.calibration_images, &mut |a, b| {
            report(Progress::Images(a, b));
        });
    }
    report(Progress::Warning(Diagnostic::new(
        diag::CALIBRATION_SYNTHETIC,
        model.graph.name.clone(),
        format!("0 real inputs: ranges come from {SYNTHETIC_IMAGES} synthetic ones"),
        "give some with --calibrate",
    )));
    Calibration::synthetic(model, preprocessing, options.seed, &mut |a, b| {
        report(Progress::Images(a, b));
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same everywhere.
#[derive(Debug)]
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Uniform in 0..1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn synthetic_image(
    random: &mut Random,
    shape: Shape,
    preprocessing: Option<&Preprocessing>,
    out: &mut Vec<f32>,
) {
    const PATCHES: usize = 4;
    for c in 0..shape.c {
        let patches: Vec<f64> = (0..PATCHES * PATCHES).map(|_| random.unit()).collect();
        for y in 0..shape.h {
            for x in 0..shape.w {
                let at = y * PATCHES / shape.h * PATCHES + x * PATCHES / shape.w;
                let v = 0.75 * patches[at] + 0.25 * random.unit();
                out.push(match preprocessing {
                    Some(p) => p.apply((v * 255.0).round() as u8, c),
                    None => ((v - 0.5) * 4.0) as f32,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_grows_and_keeps_every_value() {
        let mut h = Histogram::new();
        h.add(&[0.0, 1e-3, -2e-3]);
        h.add(&[1000.0, -0.5]);
        h.add(&[]);
        assert_eq!(h.count(), 5);
        assert_eq!(h.bins.iter().sum::<u64>(), 5);
        let range = h.range(RangeRule::MinMax);
        assert_eq!((range.low, range.high), (-0.5, 1000.0));
        assert!(h.reach > 1000.0 && h.reach <= 2048.0);
    }

    #[test]
    fn a_value_stays_in_its_bin_when_the_reach_doubles() {
        let mut h = Histogram::new();
        h.add(&[0.3]);
        h.add(&[100.0]);
        let width = h.reach / Histogram::HALF as f64;
        let (centre, _) = h.filled().next().expect("a value");
        assert!(
            (centre - 0.3).abs() <= width / 2.0 + 1e-9,
            "{centre} {width}"
        );
    }

    #[test]
    fn zero_is_in_every_range() {
        let mut h = Histogram::new();
        h.add(&[3.0, 4.0]);
        for rule in [
            RangeRule::MinMax,
            RangeRule::Percentile(0.99),
            RangeRule::LeastSquares,
        ] {
            let range = h.range(rule);
            assert!(range.low == 0.0 && range.high > 3.0, "{rule:?} {range:?}");
        }
        let nothing = Histogram::new().range(RangeRule::LeastSquares);
        assert_eq!((nothing.low, nothing.high), (0.0, 0.0));
    }

    #[test]
    fn percentiles_cut_either_side() {
        let mut h = Histogram::new();
        let values: Vec<f32> = (-1000..=1000).map(|i| i as f32 / 100.0).collect();
        h.add(&values);
        let range = h.range(RangeRule::Percentile(0.9));
        assert!((range.high - 8.0).abs() < 0.03, "{range:?}");
        assert!((range.low + 8.0).abs() < 0.03, "{range:?}");
    }

    #[test]
    fn least_squares_gives_up_an_outlier_and_keeps_a_uniform_range() {
        let mut h = Histogram::new();
        let values: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        h.add(&values);
        let whole = h.range(RangeRule::LeastSquares);
        assert!(whole.high > 0.98, "{whole:?}");
        h.add(&[20.0]);
        let cut = h.range(RangeRule::LeastSquares);
        // n (h/255)²/12 + (20 - h)² is least where h = 20 / (1 + n / (12 * 255²)).
        let least = 20.0 / (1.0 + 100_001.0 / (12.0 * 255.0 * 255.0));
        assert!((cut.high - least).abs() < 20.0 / 64.0, "{cut:?} {least}");
    }

    #[test]
    fn values_that_are_not_finite_are_noticed() {
        let mut h = Histogram::new();
        h.add(&[1.0, f32::NAN]);
        assert!(!h.is_finite());
        let mut h = Histogram::new();
        h.add(&[f32::INFINITY]);
        assert!(!h.is_finite());
    }
}
