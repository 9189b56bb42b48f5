//! `nestc bench`: run compiled firmware, compare it with the host, hold it to conditions.

use std::io;
use std::time::Duration;

use super::args::{BenchArgs, RunnerArg};
use super::compile;
use super::fail_if::{Condition, Measured, MeasuredLevel};
use super::printer::{Printer, Progress};
use crate::bench::probe::{self, Event, FlashPhase, ProbeOptions, ProbeRunner};
use crate::bench::{
    self, BenchOptions, Compiled, Recorder, ReplayRunner, Runner, Settings, Transcript,
};
use crate::data::{DataSpec, Split};
use crate::diag::{BAD_ARGUMENT, CONDITION_HOLDS, Diagnostic, Diagnostics, NOT_MEASURED, Result};
use crate::export;
use crate::report::BenchReport;
use crate::target::Board;
use crate::units::group_thousands;

/// How long a board may take for one command, if nothing is said of it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the bench.
pub fn run(args: &BenchArgs, printer: &Printer) -> Result<io::Result<()>> {
    understood(args)?;
    let (compiled, settings) = open(args)?;
    let options = BenchOptions {
        verify: args.verify as usize,
        data: inputs(args, &compiled, printer),
        ..BenchOptions::default()
    };
    judgeable(args, &compiled, options.data.as_ref())?;
    let report = match &args.on {
        RunnerArg::Emulator => {
            let progress = printer.progress("bench", 0);
            let report =
                bench::bench_emulated(&compiled, &settings, &options, &mut |done, total| {
                    progress.set_of(done as u64, total as u64);
                })?;
            progress.finish(&format!("{} levels", report.levels.len()));
            report
        }
        RunnerArg::Probe => on_probe(args, &compiled, &options, printer)?,
        RunnerArg::Replay(file) => {
            let transcript = Transcript::read(file, &compiled)?;
            let mut runner = ReplayRunner::new(transcript.exchanges);
            measure(&compiled, &mut runner, &options, printer)?
        }
    };

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

/// Refuses options that the runner asked for has no use for.
fn understood(args: &BenchArgs) -> Result<()> {
    let of_probes = [
        ("--chip", args.chip.is_some()),
        ("--probe", args.probe.is_some()),
        ("--speed", args.speed.is_some()),
        ("--timeout", args.timeout.is_some()),
        ("--record", args.record.is_some()),
    ];
    let (unused, hint): (Vec<&str>, _) = match args.on {
        RunnerArg::Probe if args.timing != "expected" => {
            (vec!["--timing"], "leave it out: a board has its own timing")
        }
        RunnerArg::Probe => (Vec::new(), ""),
        RunnerArg::Emulator | RunnerArg::Replay(_) => (
            (of_probes.iter().filter(|(_, given)| *given))
                .map(|(name, _)| *name)
                .collect(),
            "add --on probe, or leave it out",
        ),
    };
    let there = match args.on {
        RunnerArg::Emulator => "in the emulator",
        RunnerArg::Probe => "on a board",
        RunnerArg::Replay(_) => "for a recorded session",
    };
    let mut faults = Diagnostics::default();
    for name in unused {
        let message = format!("{name} has no meaning {there}");
        faults.push(Diagnostic::new(BAD_ARGUMENT, name, message, hint));
    }
    faults.into_result(())
}

/// Measures on a board.
fn on_probe(
    args: &BenchArgs,
    compiled: &Compiled,
    options: &BenchOptions,
    printer: &Printer,
) -> Result<BenchReport> {
    if let Some(file) = &args.record {
        export::check_replaceable(file)?;
    }
    let driver = probe::driver()?;
    let how = ProbeOptions {
        chip: args.chip.clone(),
        probe: args.probe.clone(),
        speed_khz: args.speed,
        timeout: args.timeout.unwrap_or(TIMEOUT),
    };
    let mut bar: Option<(FlashPhase, Progress)> = None;
    let runner = ProbeRunner::start(&*driver, compiled, &how, &mut |event| match event {
        Event::Attached(place) => printer.step("attached", &place),
        Event::Unchanged => printer.step("flash", "holds the image already"),
        Event::Flash(phase, done, total) => {
            if bar.as_ref().is_none_or(|(shown, _)| *shown != phase) {
                let label = match phase {
                    FlashPhase::Erase => "erase",
                    FlashPhase::Program => "write",
                    FlashPhase::Verify => "read back",
                };
                bar = Some((phase, printer.progress(label, total)));
            }
            if let Some((_, bar)) = &bar {
                bar.set_of(done, total);
            }
        }
        Event::Flashed(bytes) => {
            bar = None;
            let text = format!("{} B written and read back", group_thousands(bytes));
            printer.step("flash", &text);
        }
    })?;
    let mut recorder = Recorder::new(runner);
    let measured = measure(compiled, &mut recorder, options, printer);
    if let Some(file) = &args.record {
        // Sessions that failed are those that one wants to look into.
        Transcript::new(compiled, recorder.exchanges).write(file)?;
        printer.step("wrote", &file.display().to_string());
    }
    measured
}

/// Measures on whatever runs the image.
fn measure(
    compiled: &Compiled,
    runner: &mut dyn Runner,
    options: &BenchOptions,
    printer: &Printer,
) -> Result<BenchReport> {
    let progress = printer.progress("bench", 0);
    let report = bench::bench(compiled, runner, options, &mut |done, total| {
        progress.set_of(done as u64, total as u64);
    })?;
    progress.finish(&format!("{} levels", report.levels.len()));
    Ok(report)
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
    let cycles_missing = match args.on {
        RunnerArg::Emulator => bench::cycles_missing(compiled.board.core.kind),
        RunnerArg::Probe | RunnerArg::Replay(_) => None,
    };
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
