//! Calibration: the constants of the cycle model from what a board measured.
//!
//! The calibration firmware times one short loop a constant and prints the cycles. The same firmware
//! runs here in the emulator, and each constant is moved until the emulator takes as many cycles as
//! the board did: no formula for what surrounds a loop can be wrong. What is left over of each
//! measurement is reported, because it is what the model does not explain.

use std::fmt::Write;

use serde::Serialize;

use crate::diag::{CALIBRATION_LOG, CALIBRATION_MISFIT, Diagnostic, Diagnostics, Result};
use crate::emit::NESTC_VERSION;
use crate::emulator::{
    EMULATOR_MODEL, LongMultiplyPairing, Machine, MemoryMap, Stop, TimingConfig,
};
use crate::units::{Instructions, group_thousands};

/// The first line of what the firmware prints.
const HEADER: &str = "nestc-calibrate 1";
/// The last one.
const FOOTER: &str = "done";
/// What a call takes without a loop; subtracted from every other measurement.
const EMPTY: &str = "empty";
/// The loops that pair SMLAL with a load.
const PAIRS: [&str; 2] = ["pair_immediate", "pair_register"];
/// Instructions that the firmware may take; it needs some 150,000.
const LIMIT: Instructions = Instructions(50_000_000);
/// Share of a measurement that the fitted model may leave unexplained.
const EXPLAINED: f64 = 0.02;

/// A constant that one measurement decides. More of it never takes fewer cycles.
struct Fit {
    constant: &'static str,
    measurement: &'static str,
    /// Least and most that is tried.
    range: (u8, u8),
    field: fn(&mut TimingConfig) -> &mut u8,
}

/// In an order in which each measurement depends on no constant that comes later.
const FITS: &[Fit] = &[
    Fit {
        constant: "load_word_to_address",
        measurement: "chase",
        range: (1, 32),
        field: |c| &mut c.load_word_to_address,
    },
    Fit {
        constant: "load_word_to_factor",
        measurement: "factor_word",
        range: (1, 32),
        field: |c| &mut c.load_word_to_factor,
    },
    Fit {
        constant: "load_narrow_to_factor",
        measurement: "factor_narrow",
        range: (1, 32),
        field: |c| &mut c.load_narrow_to_factor,
    },
    Fit {
        constant: "mispredict",
        measurement: "exit_late_flags",
        range: (1, 64),
        field: |c| &mut c.mispredict,
    },
    Fit {
        constant: "mispredict_early_flags",
        measurement: "exit_early_flags",
        range: (1, 64),
        field: |c| &mut c.mispredict_early_flags,
    },
    Fit {
        constant: "sram_line_fill",
        measurement: "sram_lines",
        range: (0, 255),
        field: |c| &mut c.sram_line_fill,
    },
    Fit {
        constant: "flash_line_fill",
        measurement: "flash_lines",
        range: (0, 255),
        field: |c| &mut c.flash_line_fill,
    },
    Fit {
        constant: "store_miss",
        measurement: "sram_store_lines",
        range: (0, 255),
        field: |c| &mut c.store_miss,
    },
    Fit {
        constant: "dirty_eviction",
        measurement: "sram_dirty_lines",
        range: (0, 255),
        field: |c| &mut c.dirty_eviction,
    },
];

/// Cycles by the measurement's name, in order, without what a call takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurements(Vec<(String, u64)>);

impl Measurements {
    /// Reads what the firmware printed, with or without other lines around and between.
    ///
    /// # Errors
    /// `E757` if it is not all there.
    pub fn parse(place: &str, text: &str) -> Result<Self> {
        let fault = |message: String| {
            Diagnostic::new(
                CALIBRATION_LOG,
                place,
                message,
                "run `make calibrate` again, and give all of what the board printed",
            )
        };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let Some(start) = lines.iter().position(|line| *line == HEADER) else {
            return Err(fault(format!("there is no line `{HEADER}`")).into());
        };
        let Some(length) = lines[start..].iter().position(|line| *line == FOOTER) else {
            return Err(fault(format!(
                "there is no line `{FOOTER}`: the run was broken off"
            ))
            .into());
        };
        let lines = &lines[start..start + length];
        let mut faults = Diagnostics::default();
        let mut cycles = |name: &str| {
            let found = lines.iter().find_map(|line| {
                let (key, value) = line.split_once(' ')?;
                (key == name).then(|| value.trim().parse::<u64>().ok())
            });
            match found {
                Some(Some(cycles)) => cycles,
                Some(None) => {
                    faults.push(fault(format!("`{name}` has no number of cycles")));
                    0
                }
                None => {
                    faults.push(fault(format!("`{name}` was not measured")));
                    0
                }
            }
        };
        let empty = cycles(EMPTY);
        let names = PAIRS
            .into_iter()
            .chain(FITS.iter().map(|fit| fit.measurement));
        let measured: Vec<(String, u64)> =
            names.map(|name| (name.to_string(), cycles(name))).collect();
        for (name, cycles) in &measured {
            if *cycles <= empty && faults.0.is_empty() {
                faults.push(fault(format!(
                    "`{name}` took {cycles} cycles, and nothing at all took {empty}"
                )));
            }
        }
        let measured = (measured.into_iter())
            .map(|(name, cycles)| (name, cycles.saturating_sub(empty)))
            .collect();
        faults.into_result(Self(measured))
    }

    fn of(&self, name: &str) -> u64 {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or(0, |(_, cycles)| *cycles)
    }
}

/// What the emulator measures in the board's place.
///
/// # Errors
/// If `firmware` is not the calibration firmware, or faults.
pub fn rehearse(place: &str, firmware: &[u8], timing: &TimingConfig) -> Result<Measurements> {
    let mut machine = Machine::new(MemoryMap::stm32h743(), timing.clone());
    machine.load_elf(firmware)?;
    match machine.run(LIMIT) {
        Ok(Stop::Exited(0)) => {}
        Ok(stop) => {
            return Err(Diagnostic::new(
                CALIBRATION_LOG,
                place,
                format!("the firmware did not end as it should in the emulator: {stop:?}"),
                "give the file that `make calibrate` builds",
            )
            .into());
        }
        Err(fault) => return Err(Diagnostic::from(fault).into()),
    }
    Measurements::parse(place, &String::from_utf8_lossy(machine.console()))
}

/// One measurement, on the board and in the fitted model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The firmware's name for it.
    pub measurement: String,
    /// On the board.
    pub board_cycles: u64,
    /// In the emulator with the constants found.
    pub model_cycles: u64,
}

/// The constants found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The cycle model they are of.
    pub emulator_model: String,
    /// Constant and value, as a timing file has them.
    pub constants: Vec<(String, toml::Value)>,
    /// How well they explain what was measured.
    pub measurements: Vec<Explained>,
    /// The expected setting with these constants.
    #[serde(skip)]
    pub timing: TimingConfig,
}

/// Finds the constants with which the emulator takes as many cycles as `board` for `firmware`.
///
/// # Errors
/// As [`rehearse`].
pub fn calibrate(place: &str, firmware: &[u8], board: &Measurements) -> Result<Calibration> {
    let mut timing = TimingConfig::expected();
    let run = |timing: &TimingConfig| rehearse(place, firmware, timing);
    let mut constants = Vec::new();

    let mut best = (u64::MAX, timing.long_multiply_pairing);
    for pairing in [
        LongMultiplyPairing::AnyLoad,
        LongMultiplyPairing::ImmediateOffset,
        LongMultiplyPairing::Never,
    ] {
        timing.long_multiply_pairing = pairing;
        let model = run(&timing)?;
        let apart = PAIRS.map(|name| model.of(name).abs_diff(board.of(name)));
        best = best.min((apart.iter().sum(), pairing));
    }
    timing.long_multiply_pairing = best.1;
    let value = toml::Value::try_from(best.1).unwrap_or(toml::Value::Boolean(false));
    constants.push(("long_multiply_pairing".to_string(), value));

    for fit in FITS {
        let goal = board.of(fit.measurement);
        let mut cycles = |value: u8| -> Result<u64> {
            *(fit.field)(&mut timing) = value;
            Ok(run(&timing)?.of(fit.measurement))
        };
        // The least value with which the model is not faster than the board, or the most.
        let (mut low, mut high) = fit.range;
        while low < high {
            let middle = low + (high - low) / 2;
            if cycles(middle)? < goal {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        // The one before it may be nearer.
        if low > fit.range.0 && cycles(low - 1)?.abs_diff(goal) <= cycles(low)?.abs_diff(goal) {
            low -= 1;
        }
        *(fit.field)(&mut timing) = low;
        constants.push((fit.constant.to_string(), i64::from(low).into()));
    }

    let model = run(&timing)?;
    let measurements = (board.0.iter())
        .map(|(name, cycles)| Explained {
            measurement: name.clone(),
            board_cycles: *cycles,
            model_cycles: model.of(name),
        })
        .collect();
    Ok(Calibration {
        emulator_model: EMULATOR_MODEL.into(),
        constants,
        measurements,
        timing,
    })
}

impl Calibration {
    /// What the model leaves unexplained: findings to be read, none that stop the use of the rest.
    pub fn misfits(&self, place: &str) -> Vec<Diagnostic> {
        (self.measurements.iter())
            .filter(|m| {
                let apart = m.model_cycles.abs_diff(m.board_cycles) as f64;
                apart > EXPLAINED * m.board_cycles as f64
            })
            .map(|m| {
                Diagnostic::new(
                    CALIBRATION_MISFIT,
                    place,
                    format!(
                        "`{}` takes {} cycles on the board and {} in the model with the nearest constants",
                        m.measurement, m.board_cycles, m.model_cycles
                    ),
                    "estimates of code that depends on it are off by as much; please report the log",
                )
            })
            .collect()
    }

    /// The timing file.
    pub fn file(&self, name: &str) -> String {
        let mut text = format!(
            "# Written by nestc {NESTC_VERSION} for `nestc bench --timing`, cycle model {}.\n\
             # Measured, and with these constants in the model:\n",
            self.emulator_model
        );
        // Writing into a string cannot fail.
        for m in &self.measurements {
            let _ = writeln!(
                text,
                "#   {:<17} {:>7} cycles, {:>7}",
                m.measurement, m.board_cycles, m.model_cycles
            );
        }
        let _ = writeln!(text, "\nname = {}", toml::Value::from(name));
        for (constant, value) in &self.constants {
            let _ = writeln!(text, "{constant} = {value}");
        }
        text
    }

    /// For people.
    pub fn table(&self) -> String {
        let expected = toml::Table::try_from(TimingConfig::expected()).unwrap_or_default();
        let mut text = String::new();
        // Writing into a string cannot fail.
        for (constant, value) in &self.constants {
            let was = expected.get(constant).unwrap_or(value);
            let _ = writeln!(text, "{constant:<24} {value}  (expected setting: {was})");
        }
        text.push('\n');
        for m in &self.measurements {
            let _ = writeln!(
                text,
                "{:<17} {:>8} cycles on the board, {:>8} in the model",
                m.measurement,
                group_thousands(m.board_cycles),
                group_thousands(m.model_cycles)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> String {
        let mut text = format!("probe says hello\n{HEADER}\nclock_hz 480000000\n{EMPTY} 18\n");
        for (k, name) in PAIRS
            .into_iter()
            .chain(FITS.iter().map(|fit| fit.measurement))
            .enumerate()
        {
            text += &format!("{name} {}\n", 1000 + k);
        }
        text + FOOTER + "\nFirmware exited\n"
    }

    #[test]
    fn a_log_is_read_among_other_lines_and_without_what_a_call_takes() {
        let read = Measurements::parse("log", &log()).unwrap();
        assert_eq!(read.of("pair_immediate"), 982);
        assert_eq!(read.of("sram_dirty_lines"), 992);
    }

    #[test]
    fn what_the_model_does_not_explain_is_said() {
        let explained = |board_cycles| Explained {
            measurement: "chase".into(),
            board_cycles,
            model_cycles: 1000,
        };
        let found = Calibration {
            emulator_model: EMULATOR_MODEL.into(),
            constants: Vec::new(),
            measurements: vec![explained(985), explained(1015), explained(1030)],
            timing: TimingConfig::expected(),
        };
        let misfits = found.misfits("log");
        assert_eq!(misfits.len(), 1);
        assert_eq!(misfits[0].code, CALIBRATION_MISFIT);
        assert!(misfits[0].message.contains("1030 cycles on the board"));
    }

    #[test]
    fn an_incomplete_log_is_refused_with_all_that_lacks() {
        let faults = |text: &str| Measurements::parse("log", text).unwrap_err().0;
        let one = |text: &str, part: &str| {
            let found = faults(text);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].code, CALIBRATION_LOG);
            assert!(found[0].message.contains(part), "{}", found[0].message);
        };
        one("", "no line `nestc-calibrate 1`");
        one(&log().replace(FOOTER, ""), "broken off");
        one(
            &log().replace("chase 1002", "chase many"),
            "`chase` has no number",
        );
        one(
            &log().replace("chase 1002", "chase 18"),
            "nothing at all took 18",
        );
        let lacking = log().replace("chase ", "x ").replace("sram_lines ", "y ");
        assert_eq!(faults(&lacking).len(), 2);
    }
}
