//! Timing files: constants of the cycle model as TOML, which `nestc calibrate` writes and
//! `nestc bench --timing` reads.
//!
//! ```toml
//! name = "my board"
//! mispredict = 9
//! flash_line_fill = 41
//! ```
//!
//! What a file says was measured: it holds in the expected and in the pessimistic setting alike.
//! What it leaves out keeps the setting's own value.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::Settings;
use crate::diag::{Diagnostic, Diagnostics, Result, TIMING_FILE};
use crate::emulator::TimingConfig;
use crate::target::Board;

/// Fields of [`TimingConfig`] that are no constants of the model.
const NO_CONSTANTS: [&str; 2] = ["name", "timed"];

impl Settings {
    /// The settings that `--timing` names on a board: `expected`, `pessimistic`, or a file.
    ///
    /// # Errors
    /// `E756` if there is no such file, or for each thing in it that is no constant of the model.
    pub fn named(name: &str, board: &Board) -> Result<Settings> {
        let standard = Settings::of(board);
        match name {
            "expected" => Ok(standard),
            "pessimistic" => Ok(Settings {
                main: standard.pessimistic.clone(),
                ..standard
            }),
            file => Settings::from_file(Path::new(file), standard),
        }
    }

    fn from_file(path: &Path, standard: Settings) -> Result<Settings> {
        let place = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            Diagnostic::new(
                TIMING_FILE,
                &place,
                format!("cannot be read: {error}"),
                "give `expected`, `pessimistic` or a file that `nestc calibrate` wrote",
            )
        })?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Settings::parse(&place, &stem, &text, &standard)
    }

    /// Reads a timing file; `name` is used if it gives itself none.
    fn parse(place: &str, name: &str, text: &str, standard: &Settings) -> Result<Settings> {
        let mut measured: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| {
                1 + text[..span.start.min(text.len())].matches('\n').count()
            });
            Diagnostic::new(
                TIMING_FILE,
                format!("{place}:{line}"),
                format!("is not TOML: {}", error.message()),
                "write one `constant = value` a line",
            )
        })?;
        let mut faults = Diagnostics::default();
        let name = match measured.remove("name") {
            None => name.to_string(),
            Some(Value::String(name)) => name,
            Some(other) => {
                let message = format!("the name is {other}, and a text in quotes is expected");
                faults.push(fault(place, message, "write name = \"my board\""));
                name.to_string()
            }
        };
        let main = overlaid(place, &standard.main, &measured, &mut faults);
        // The same faults as in the other setting.
        let mut same = Diagnostics::default();
        let pessimistic = overlaid(place, &standard.pessimistic, &measured, &mut same);
        faults.into_result(Settings {
            main: TimingConfig { name, ..main },
            pessimistic,
        })
    }
}

fn fault(place: &str, message: String, hint: impl Into<String>) -> Diagnostic {
    Diagnostic::new(TIMING_FILE, place, message, hint)
}

/// A setting as a table, and the names of its constants.
fn constants(setting: &TimingConfig) -> Table {
    let mut table = Table::try_from(setting).unwrap_or_default();
    for field in NO_CONSTANTS {
        table.remove(field);
    }
    table
}

/// A setting with the constants of `measured` in place of its own.
fn overlaid(
    place: &str,
    setting: &TimingConfig,
    measured: &Table,
    faults: &mut Diagnostics,
) -> TimingConfig {
    let known = constants(setting);
    let mut result = setting.clone();
    for (key, value) in measured {
        if !known.contains_key(key) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            faults.push(fault(
                place,
                format!("`{key}` is no constant of the cycle model"),
                format!("the constants are {}", names.join(", ")),
            ));
            continue;
        }
        let mut table = Table::try_from(&result).unwrap_or_default();
        table.insert(key.clone(), value.clone());
        match table.try_into::<TimingConfig>() {
            Ok(changed) => result = changed,
            Err(error) => faults.push(fault(
                place,
                format!("{key} = {value}: {}", error.message().trim()),
                format!("the expected setting has {key} = {}", known[key]),
            )),
        }
    }
    for (field, message) in result.faults() {
        faults.push(fault(
            place,
            format!("{field}: {message}"),
            format!("the expected setting has {field} = {}", known[field]),
        ));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::LongMultiplyPairing;

    fn board() -> Board {
        Board::named("stm32h743").unwrap()
    }

    fn parse(text: &str) -> Result<Settings> {
        Settings::parse("t.toml", "t", text, &Settings::of(&board()))
    }

    #[test]
    fn what_was_measured_holds_in_both_settings_and_the_rest_keeps_its_own() {
        let settings = parse(
            "name = \"board\"\nflash_line_fill = 41\nlong_multiply_pairing = \"immediate_offset\"\n\
             data_cache = { bytes = 32768, ways = 4 }",
        )
        .unwrap();
        let standard = Settings::of(&board());
        for (setting, before) in [
            (&settings.main, standard.main),
            (&settings.pessimistic, standard.pessimistic),
        ] {
            assert_eq!(setting.flash_line_fill, 41);
            assert_eq!(
                setting.long_multiply_pairing,
                LongMultiplyPairing::ImmediateOffset
            );
            assert_eq!(setting.data_cache.bytes, 32768);
            assert_eq!(setting.sram_line_fill, before.sram_line_fill);
        }
        assert_eq!(settings.main.name, "board");
        assert_eq!(settings.pessimistic.name, "pessimistic");
        assert_eq!(parse("").unwrap().main.name, "t");
    }

    /// Every constant can be written and is read back.
    #[test]
    fn a_whole_setting_reads_back_as_it_was() {
        for setting in [TimingConfig::expected(), TimingConfig::pessimistic()] {
            let text = toml::to_string(&constants(&setting)).unwrap();
            let read = parse(&text).unwrap().main;
            let named = TimingConfig {
                name: "t".into(),
                ..setting
            };
            assert_eq!(read, named);
        }
    }

    #[test]
    fn every_fault_of_a_file_is_found_at_once() {
        let faults = parse(
            "name = 3\nflash_fill = 3\ntimed = false\nmispredict = 0\nsram_line_fill = 256\n\
             load_banks = 1\npredictor_entries = 3\ninstruction_cache = { bytes = 16000, ways = 2 }",
        )
        .unwrap_err();
        let text: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
        let text = text.join("\n");
        for part in [
            "the name is 3",
            "`flash_fill` is no constant",
            "`timed` is no constant",
            "mispredict: 0 is not within 1 to 255",
            "sram_line_fill = 256",
            "load_banks = 1",
            "predictor_entries: 3 is no power of two",
            "instruction_cache: 16000 bytes in 2 ways",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
        assert_eq!(faults.0.len(), 8, "{text}");
        assert!(faults.0.iter().all(|f| f.code == TIMING_FILE));
        let broken = parse("mispredict = 9\nflash_line_fill =\n").unwrap_err();
        assert!(broken.0[0].place.ends_with(":2"), "{}", broken.0[0].place);
        assert!(Settings::named("no/such/file.toml", &board()).is_err());
    }

    #[test]
    fn the_settings_have_names() {
        assert_eq!(
            Settings::named("expected", &board()).unwrap().main.name,
            "expected"
        );
        assert_eq!(
            Settings::named("pessimistic", &board()).unwrap().main.name,
            "pessimistic"
        );
    }
}
