//! The `nestc` command.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        // Standard error may be closed, too; the exit code still tells.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::from(3)
    })
}

fn run() -> Result<ExitCode> {
    match nestc::cli::run(std::env::args_os()) {
        // The reader has what it wanted: `nestc kernels | head -1` has not failed.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        done => done
            .map(ExitCode::from)
            .context("cannot write to standard output"),
    }
}
