//! The command line: arguments in, results and messages out. The only module that prints.

pub mod args;
mod bench;
mod calibrate;
mod check;
mod compile;
mod detection;
mod eval;
mod explain;
mod export;
pub mod fail_if;
mod lists;
mod model;
mod printer;
mod process;
mod study;
mod study_args;
mod train;
mod train_args;
mod watch;

use std::ffi::OsString;
use std::io;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::diag::{BAD_ARGUMENT, Diagnostic, Diagnostics, Result};
use args::{Cli, Verb};
use printer::Printer;

/// Runs nestc with these arguments (the program's name first) and gives the exit code.
///
/// # Errors
/// Only if standard output cannot be written; everything else is reported and becomes an exit
/// code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> io::Result<u8> {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    error.print()?;
                    Ok(0)
                }
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    error.print()?;
                    Ok(BAD_ARGUMENT.info().exit.code())
                }
                _ => {
                    let json = args.iter().any(|a| a == "--json");
                    let findings = usage(&error);
                    Printer::new(json).findings(&findings)?;
                    Ok(findings.exit_code())
                }
            };
        }
    };
    let printer = Printer::new(cli.json);
    match dispatch(&cli.verb, &printer) {
        Ok(written) => written.map(|()| 0),
        Err(findings) => {
            printer.findings(&findings)?;
            Ok(findings.exit_code())
        }
    }
}

fn dispatch(verb: &Verb, printer: &Printer) -> Result<io::Result<()>> {
    match verb {
        Verb::Study(args) => study::run(args, printer),
        Verb::Train(args) => train::run(args, printer),
        Verb::Export(args) => export::run(args, printer),
        Verb::Bench(args) => bench::run(args, printer),
        Verb::Calibrate(args) => calibrate::run(args, printer),
        Verb::Compile(args) => compile::run(args, printer),
        Verb::Eval(args) => eval::run(args, printer),
        Verb::Explain(args) => explain::run(args, printer),
        Verb::Probes => lists::probes(printer),
        Verb::Targets => Ok(lists::targets(printer)),
        Verb::Kernels => Ok(lists::kernels(printer)),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "nestc", &mut script);
            let script = String::from_utf8_lossy(&script).into_owned();
            Ok(printer.result(&serde_json::json!({ "script": script }), &script))
        }
        Verb::Check(args) => check::run(args, printer),
    }
}

/// A refused command line as findings: those of the value's own reader if it has any, else clap's
/// message with the option as the place.
fn usage(error: &clap::Error) -> Diagnostics {
    let source = std::error::Error::source(error);
    if let Some(own) = source.and_then(|s| s.downcast_ref::<Diagnostics>()) {
        return own.clone();
    }
    let place = match error.get(ContextKind::InvalidArg) {
        Some(arg) => arg.to_string(),
        None => "command line".to_string(),
    };
    let rendered = error.render().to_string();
    let first = rendered.trim().split("\n\n").next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    let tip = rendered
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "));
    Diagnostic::new(
        BAD_ARGUMENT,
        place,
        lines.join(" "),
        tip.unwrap_or("see `nestc help` and `nestc VERB --help`, which ends in an example"),
    )
    .into()
}
