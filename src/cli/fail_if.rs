//! Conditions under which `nestc bench` fails: `metric[level=N] op number`.

use std::fmt;
use std::str::FromStr;

/// A measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Cycles of one inference.
    Cycles,
    /// Cycles of one inference in the cycle model's pessimistic setting.
    CyclesPessimistic,
    /// Milliseconds of one inference at the board's clock.
    LatencyMs,
    /// Share of test images classified rightly, 0 to 1.
    Accuracy,
    /// Bytes of flash in all.
    Flash,
    /// Bytes of RAM in all.
    Ram,
}

const METRICS: [(&str, Metric); 6] = [
    ("cycles", Metric::Cycles),
    ("cycles_pessimistic", Metric::CyclesPessimistic),
    ("latency_ms", Metric::LatencyMs),
    ("accuracy", Metric::Accuracy),
    ("flash", Metric::Flash),
    ("ram", Metric::Ram),
];

impl Metric {
    /// Whether it differs from level to level.
    pub fn per_level(self) -> bool {
        !matches!(self, Metric::Flash | Metric::Ram)
    }
    fn name(self) -> &'static str {
        METRICS
            .iter()
            .find(|(_, m)| *m == self)
            .map_or("", |(name, _)| name)
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Longer spellings before those they begin with.
const OPS: [(&str, Op); 6] = [
    ("<=", Op::LessOrEqual),
    (">=", Op::GreaterOrEqual),
    ("==", Op::Equal),
    ("!=", Op::NotEqual),
    ("<", Op::Less),
    (">", Op::Greater),
];

/// A parsed condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    metric: Metric,
    level: Option<usize>,
    op: Op,
    number: f64,
}

/// What the conditions are held against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Bytes of flash in all.
    pub flash: u64,
    /// Bytes of RAM in all.
    pub ram: u64,
    /// Why there are no cycles, if there are none.
    pub cycles_missing: Option<String>,
    /// Level 0 first.
    pub levels: Vec<MeasuredLevel>,
}

/// What was measured at one level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredLevel {
    /// Cycles of one inference, if they are known.
    pub cycles: Option<u64>,
    /// The same in the pessimistic setting, if cycles are modelled.
    pub cycles_pessimistic: Option<u64>,
    /// Milliseconds of one inference, if cycles are known.
    pub latency_ms: Option<f64>,
    /// 0 to 1, if labelled images were given.
    pub accuracy: Option<f64>,
}

impl Condition {
    /// `Ok(Some(…))` says which measured value makes the condition true; `Ok(None)`: it is false
    /// everywhere; `Err`: it names what was not measured.
    pub fn holds(&self, measured: &Measured) -> Result<Option<String>, String> {
        if !self.metric.per_level() {
            let value = match self.metric {
                Metric::Flash => measured.flash,
                _ => measured.ram,
            } as f64;
            return Ok(self
                .compares(value)
                .then(|| format!("{} is {value}", self.metric.name())));
        }
        let count = measured.levels.len();
        let levels = match self.level {
            Some(level) if level >= count => {
                return Err(format!(
                    "level {level} is asked for, and there are {count}, from 0 on"
                ));
            }
            Some(level) => level..level + 1,
            None => 0..count,
        };
        let counted = matches!(
            self.metric,
            Metric::Cycles | Metric::CyclesPessimistic | Metric::LatencyMs
        );
        if let (true, Some(why)) = (counted, &measured.cycles_missing) {
            return Err(format!(
                "{} asks for cycles, and there is {why}",
                self.metric.name()
            ));
        }
        let unknown = || format!("{} was not measured", self.metric.name());
        for level in levels {
            let at = &measured.levels[level];
            let value = match self.metric {
                Metric::Cycles => at.cycles.ok_or_else(unknown)? as f64,
                Metric::CyclesPessimistic => at
                    .cycles_pessimistic
                    .ok_or("only the emulator has a pessimistic setting: a probe measures")?
                    as f64,
                Metric::LatencyMs => at.latency_ms.ok_or_else(unknown)?,
                _ => at
                    .accuracy
                    .ok_or("the accuracy was not measured: give labelled images with --data")?,
            };
            if self.compares(value) {
                return Ok(Some(format!(
                    "{}[level={level}] is {value}",
                    self.metric.name()
                )));
            }
        }
        Ok(None)
    }

    /// Whether an emulated measurement of `levels` levels, with an accuracy or without, can tell if
    /// the condition holds; otherwise what it will lack. `cycles_missing` says why there will be no
    /// cycles, if there will be none.
    ///
    /// # Errors
    /// As [`Condition::holds`].
    pub fn can_be_judged(
        &self,
        levels: usize,
        accuracy: bool,
        cycles_missing: Option<String>,
    ) -> Result<(), String> {
        let level = MeasuredLevel {
            cycles: Some(0),
            latency_ms: Some(0.0),
            accuracy: accuracy.then_some(0.0),
            cycles_pessimistic: Some(0),
        };
        let measured = Measured {
            cycles_missing,
            levels: vec![level; levels],
            ..Measured::default()
        };
        self.holds(&measured).map(drop)
    }

    fn compares(&self, value: f64) -> bool {
        match self.op {
            Op::Less => value < self.number,
            Op::LessOrEqual => value <= self.number,
            Op::Greater => value > self.number,
            Op::GreaterOrEqual => value >= self.number,
            Op::Equal => value == self.number,
            Op::NotEqual => value != self.number,
        }
    }
}

impl FromStr for Condition {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (at, spelling, op) = OPS
            .iter()
            .filter_map(|&(spelling, op)| text.find(spelling).map(|at| (at, spelling, op)))
            .min_by_key(|&(at, ..)| at)
            .ok_or("there is no comparison: < <= > >= == or !=")?;
        let (left, right) = (text[..at].trim(), text[at + spelling.len()..].trim());
        let (name, level) = match left.split_once('[') {
            None => (left, None),
            Some((name, rest)) => {
                let level = rest
                    .strip_suffix(']')
                    .and_then(|inside| inside.trim().strip_prefix("level"))
                    .and_then(|inside| inside.trim_start().strip_prefix('='))
                    .and_then(|n| n.trim().parse().ok())
                    .ok_or_else(|| format!("`[{rest}` is not of the form [level=N]"))?;
                (name.trim(), Some(level))
            }
        };
        let metric = METRICS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, metric)| *metric)
            .ok_or_else(|| {
                let known: Vec<&str> = METRICS.iter().map(|(known, _)| *known).collect();
                format!(
                    "`{name}` is no metric; the metrics are {}",
                    known.join(", ")
                )
            })?;
        if level.is_some() && !metric.per_level() {
            return Err(format!(
                "{name} is the same at every level: leave [level=N] out"
            ));
        }
        Ok(Self {
            metric,
            level,
            op,
            number: number(right, metric)?,
        })
    }
}

/// A number with an optional suffix. `k` and `M` are powers of 1000, of 1024 where the metric
/// counts bytes (as in the budgets of `nestc compile`); `%` is for the accuracy.
fn number(text: &str, metric: Metric) -> Result<f64, String> {
    let thousand = if metric.per_level() { 1e3 } else { 1024.0 };
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], thousand),
        Some((at, 'M')) => (&text[..at], thousand * thousand),
        Some((at, '%')) if metric == Metric::Accuracy => (&text[..at], 0.01),
        _ => (text, 1.0),
    };
    match digits.trim_end().parse::<f64>() {
        Ok(n) if n.is_finite() => Ok(n * factor),
        _ => Err(format!(
            "`{text}` is not a number (with k or M, or % for the accuracy)"
        )),
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric.name())?;
        if let Some(level) = self.level {
            write!(f, "[level={level}]")?;
        }
        let op = OPS
            .iter()
            .find(|(_, op)| *op == self.op)
            .map_or("", |(spelling, _)| spelling);
        write!(f, " {op} {}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let level = |cycles, latency_ms, accuracy| MeasuredLevel {
            cycles: Some(cycles),
            cycles_pessimistic: Some(2 * cycles),
            latency_ms: Some(latency_ms),
            accuracy,
        };
        Measured {
            flash: 131_072,
            ram: 65_536,
            cycles_missing: None,
            levels: vec![
                level(5_000_000, 10.5, Some(0.825)),
                level(9_000_000, 19.0, Some(0.87)),
            ],
        }
    }

    fn holds(text: &str) -> bool {
        let condition: Condition = text.parse().unwrap();
        condition.holds(&measured()).unwrap().is_some()
    }

    #[test]
    fn each_comparison_at_below_and_above_its_number() {
        for (op, below, at, above) in [
            ("<", true, false, false),
            ("<=", true, true, false),
            (">", false, false, true),
            (">=", false, true, true),
            ("==", false, true, false),
            ("!=", true, false, true),
        ] {
            assert_eq!(holds(&format!("ram {op} 65537")), below, "{op}");
            assert_eq!(holds(&format!("ram{op}65536")), at, "{op}");
            assert_eq!(holds(&format!(" ram  {op}  65535 ")), above, "{op}");
        }
    }

    #[test]
    fn suffixes_scale_by_what_is_counted() {
        assert!(holds("flash == 128k"));
        assert!(holds("flash < 1M"));
        assert!(holds("cycles[level=0] == 5M"));
        assert!(holds("cycles[level=0] == 5000k"));
        assert!(holds("cycles_pessimistic[level=0] == 10M"));
        assert!(holds("accuracy[level=1] == 87%"));
    }

    #[test]
    fn without_a_level_any_level_counts() {
        assert!(holds("cycles > 8M"));
        assert!(!holds("cycles[level=0] > 8M"));
        assert!(holds("accuracy < 0.83"));
        assert!(!holds("accuracy[ level = 1 ] < 0.83"));
        assert!(holds("latency_ms >= 19"));
        assert!(!holds("latency_ms > 19"));
    }

    #[test]
    fn the_holding_value_is_named() {
        let condition: Condition = "cycles>8M".parse().unwrap();
        assert_eq!(
            condition.holds(&measured()).unwrap().unwrap(),
            "cycles[level=1] is 9000000"
        );
        assert_eq!(condition.to_string(), "cycles > 8000000");
    }

    #[test]
    fn what_was_not_measured_is_an_error_and_not_a_pass() {
        let level: Condition = "cycles[level=2] > 1".parse().unwrap();
        assert!(level.holds(&measured()).is_err());
        let accuracy: Condition = "accuracy < 0.5".parse().unwrap();
        let mut unlabelled = measured();
        unlabelled.levels[1].accuracy = None;
        assert!(accuracy.holds(&unlabelled).is_err());
        let pessimistic: Condition = "cycles_pessimistic > 1".parse().unwrap();
        let mut probed = measured();
        probed.levels[0].cycles_pessimistic = None;
        assert!(pessimistic.holds(&probed).is_err());
    }

    #[test]
    fn before_measuring_it_is_known_what_cannot_be_judged() {
        let condition = |text: &str| text.parse::<Condition>().unwrap();
        let level = condition("cycles[level=2] > 1");
        assert!(level.can_be_judged(3, false, None).is_ok());
        assert!(level.can_be_judged(2, false, None).is_err());
        for text in ["accuracy < 0.5", "accuracy[level=1] > 50%"] {
            assert!(
                condition(text).can_be_judged(2, true, None).is_ok(),
                "{text}"
            );
            assert!(
                condition(text).can_be_judged(2, false, None).is_err(),
                "{text}"
            );
        }
        assert!(condition("flash > 0").can_be_judged(1, false, None).is_ok());
        let none = || Some("no cycle model for Cortex-M4".to_string());
        for text in [
            "cycles > 1",
            "cycles_pessimistic[level=0] > 1",
            "latency_ms < 1",
        ] {
            let missing = condition(text).can_be_judged(1, true, none()).unwrap_err();
            assert!(
                missing.contains("no cycle model for Cortex-M4"),
                "{missing}"
            );
        }
        for text in ["accuracy < 0.5", "ram > 0"] {
            assert!(
                condition(text).can_be_judged(1, true, none()).is_ok(),
                "{text}"
            );
        }
    }

    #[test]
    fn malformed_conditions_are_refused() {
        for bad in [
            "",
            "cycles",
            "cycles 5",
            "cycles = 5",
            "cycles > ",
            "cycles > x",
            "cycles > 5G",
            "cycles > 5%",
            "cycles > nan",
            "cycles > inf",
            "speed > 5",
            "cycles[0] > 5",
            "cycles[level=] > 5",
            "cycles[level=-1] > 5",
            "cycles[level=0 > 5",
            "flash[level=0] > 5",
            "cycles > > 5",
            "> 5",
        ] {
            assert!(bad.parse::<Condition>().is_err(), "{bad}");
        }
    }
}
