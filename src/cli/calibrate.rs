//! `nestc calibrate`: constants of the cycle model from what a board measured.

use std::fs;
use std::io;
use std::path::Path;

use super::args::CalibrateArgs;
use super::printer::Printer;
use crate::bench::{Measurements, Settings, calibrate, rehearse};
use crate::diag::{CALIBRATION_LOG, Diagnostic, Result};
use crate::export;
use crate::target::Board;

/// The board that the calibration firmware is for.
const FIRMWARE_BOARD: &str = "stm32h743";

/// Runs the calibration.
pub fn run(args: &CalibrateArgs, printer: &Printer) -> Result<io::Result<()>> {
    export::check_replaceable(&args.output)?;
    let place = args.firmware.display().to_string();
    let firmware = read(&args.firmware)?;
    let (board, source) = match &args.log {
        Some(log) => {
            let source = log.display().to_string();
            let text = String::from_utf8_lossy(&read(log)?).into_owned();
            (Measurements::parse(&source, &text)?, source)
        }
        None => {
            let timing = Settings::named(&args.timing, &Board::named(FIRMWARE_BOARD)?)?.main;
            let source = format!("{place} in the emulator");
            (rehearse(&place, &firmware, &timing)?, source)
        }
    };
    let found = calibrate(&place, &firmware, &board)?;
    for misfit in found.misfits(&source) {
        printer.warning(&misfit);
    }
    let name = args
        .output
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    export::replace(&args.output, found.file(&name).as_bytes())?;
    printer.step("wrote", &args.output.display().to_string());
    Ok(printer.result(&found, &found.table()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Diagnostic::new(
            CALIBRATION_LOG,
            path.display().to_string(),
            format!("cannot be read: {error}"),
            "give the firmware and the log of `make calibrate`",
        )
        .into()
    })
}
