//! `nestc bench`: run compiled firmware, compare it with the host, hold it to conditions.

use std::io;

use super::args::{BenchArgs, RunnerArg};
use super::compile;
use super::fail_if::{Condition, Measured, MeasuredLevel};
use super::printer::Printer;
use crate::bench::{self, BenchOptions, Compiled, Settings};
use crate::data::{DataSpec, Split};
use crate::diag::{CONDITION_HOLDS, Diagnostic, Diagnostics, NO_PROBE, NOT_MEASURED, Result};
use crate::report::BenchReport;
use crate::target::Board;

/// Runs the bench.
pub fn run(args: &BenchArgs, printer: &Printer) -> Result<io::Result<()>> {
    let (compiled, settings) = open(args)?;
    let options = BenchOptions {
        verify: args.verify as usize,
        data: inputs(args, &compiled, printer),
        ..BenchOptions::default()
    };
    judgeable(args, &compiled, options.data.as_ref())?;
    if args.on == RunnerArg::Probe {
        return Err(no_probe(args, &compiled).into());
    }
    let progress = printer.progress("bench", 0);
    let report = bench::bench_emulated(&compiled, &settings, &options, &mut |done, total| {
        progress.set_of(done as u64, total as u64);
    })?;
    progress.finish(&format!("{} levels", report.levels.len()));

    let written = printer.report(&report, &report.table());
    // The report is complete in any case; what fails decides the exit code only.
    let mut failures = Diagnostics::default();
    if let Err(mismatch) = bench::verdict(&report) {
        failures.push(mismatch);
    }
    judge(args, &measured(&report), &mut failures);
    failures.into_result(written)
}

/// The compiled folder, and the settings on its board. What is wrong with a timing file does not depend on
/// the board, so it is found beside what is wrong with the folder.
fn open(args: &BenchArgs) -> Result<(Compiled, Settings)> {
    match Compiled::open(&args.dir) {
        Ok(compiled) => {
            let settings = Settings::named(&args.timing, &compiled.board)?;
            Ok((compiled, settings))
        }
        Err(mut faults) => {
            let any = Board::all();
            if let Some(Err(more)) = any.first().map(|b| Settings::named(&args.timing, b)) {
                faults.0.extend(more.0);
            }
            Err(faults)
        }
    }
}

fn no_probe(args: &BenchArgs, compiled: &Compiled) -> Diagnostic {
    let board = &compiled.board;
    let chip = (args.chip.as_ref().or(board.probe_rs_chip.as_ref())).unwrap_or(&board.name);
    Diagnostic::new(
        NO_PROBE,
        "--on probe",
        format!("{chip} on a debug probe is asked for, and this version runs the emulator only"),
        "leave --on out, or flash the image with probe-rs yourself",
    )
}

/// The data asked for, else those the folder names if they can be read, else none: random inputs.
fn inputs(args: &BenchArgs, compiled: &Compiled, printer: &Printer) -> Option<DataSpec> {
    if let Some(spec) = &args.data {
        return Some(spec.with_split(Split::Test));
    }
    let spec = compile::recorded_data(&args.dir)?;
    let spec = spec.test_split().unwrap_or(spec);
    let probe = DataSpec {
        limit: Some(1),
        ..spec.clone()
    };
    match probe.load(compiled.program.preprocessing.as_ref()) {
        Ok(_) => Some(spec),
        Err(findings) => {
            // Cycles and bit-exactness can be had without pictures.
            for finding in &findings.0 {
                printer.warning(finding);
            }
            None
        }
    }
}

fn measured(report: &BenchReport) -> Measured {
    Measured {
        flash: report.flash_bytes.total.0,
        ram: report.ram_bytes.total.0,
        cycles_missing: report.cycles_missing.clone(),
        levels: report
            .levels
            .iter()
            .map(|l| MeasuredLevel {
                cycles: l.cycles.map(|c| c.0),
                cycles_pessimistic: l.cycles_pessimistic.map(|c| c.0),
                latency_ms: l.latency_ms,
                accuracy: l.accuracy_top1,
            })
            .collect(),
    }
}

/// Refuses conditions that this bench cannot judge before it spends minutes on measuring.
fn judgeable(args: &BenchArgs, compiled: &Compiled, data: Option<&DataSpec>) -> Result<()> {
    if args.fail_if.is_empty() {
        return Ok(());
    }
    let labelled = match data {
        Some(spec) => {
            let one = DataSpec {
                limit: Some(1),
                ..spec.clone()
            };
            let data = one.load(compiled.program.preprocessing.as_ref())?;
            data.labels.is_some()
        }
        None => false,
    };
    let levels = compiled.program.level_count();
    let mut failures = Diagnostics::default();
    let cycles_missing = bench::cycles_missing(compiled.board.core.kind);
    for condition in &args.fail_if {
        let judged = condition.can_be_judged(levels, labelled, cycles_missing.clone());
        if let Err(missing) = judged {
            failures.push(not_measured(condition, missing));
        }
    }
    failures.into_result(())
}

fn not_measured(condition: &Condition, missing: String) -> Diagnostic {
    Diagnostic::new(
        NOT_MEASURED,
        format!("--fail-if '{condition}'"),
        missing,
        "give what is needed, or drop the condition",
    )
}

fn judge(args: &BenchArgs, measured: &Measured, failures: &mut Diagnostics) {
    for condition in &args.fail_if {
        let place = format!("--fail-if '{condition}'");
        match condition.holds(measured) {
            Ok(None) => {}
            Ok(Some(value)) => failures.push(Diagnostic::new(
                CONDITION_HOLDS,
                place,
                format!("{value}, so `{condition}` holds"),
                "see the report for the layer that costs most",
            )),
            Err(missing) => failures.push(not_measured(condition, missing)),
        }
    }
}
