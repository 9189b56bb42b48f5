//! The whole measurement in the emulator: both settings of the cycle model side by side, and the
//! comparison with the host, each on a machine of its own and as many at a time as there are cores.

use std::sync::Mutex;

use rayon::prelude::*;

use super::session::{Session, Timing};
use super::{
    BenchOptions, Compiled, EmulatorRunner, Runs, cycles_missing, inputs, join, report, verify,
};
use crate::diag::Result;
use crate::emulator::TimingConfig;
use crate::ir::ids::{Id, Level};
use crate::report::{BenchReport, BitExact};
use crate::units::Bytes;

/// The cycle model's settings to measure in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of `cycles`.
    pub main: TimingConfig,
    /// Of `cycles_pessimistic`.
    pub pessimistic: TimingConfig,
}

/// One machine's work.
enum Task<'a> {
    /// Times every level in a setting.
    Time(&'a TimingConfig),
    /// Compares one level with the host. Results do not depend on the timing, so none is kept.
    Verify(Level),
}

/// What it gave, and the deepest stack.
enum Outcome {
    Timed(Vec<Timing>, Bytes),
    Verified(BitExact, Bytes),
}

/// Measures the image of `compiled` in both settings: at each level and in each setting, the median
/// of three inferences, of which the first begins with cold caches. Cycles do not depend on how many
/// inputs are compared. `progress` hears of finished commands and how many there are.
///
/// # Errors
/// As [`super::bench`].
pub fn bench_emulated(
    compiled: &Compiled,
    settings: &Settings,
    options: &BenchOptions,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<BenchReport> {
    let program = &compiled.program;
    let (inputs, accuracies) = inputs(program, options)?;
    let levels = || (0..program.level_count()).map(Level::from_index);
    // Without a cycle model the timed runs still count instructions.
    let functional = TimingConfig::functional();
    let timed = if compiled.board.core.kind.has_cycle_model() {
        vec![&settings.main, &settings.pessimistic]
    } else {
        vec![&functional]
    };
    let mut tasks: Vec<Task<'_>> = timed.iter().map(|&setting| Task::Time(setting)).collect();
    if options.verify > 0 {
        tasks.extend(levels().map(Task::Verify));
    }
    let total = program.level_count() * (options.verify + timed.len());
    let progress = Mutex::new((0, progress));
    let step = || {
        // A thread that panicked ends the measurement anyhow.
        if let Ok(mut guard) = progress.lock() {
            guard.0 += 1;
            let done = guard.0;
            (guard.1)(done, total);
        }
    };
    let run = |task: &Task<'_>| -> Result<Outcome> {
        let timing = match task {
            Task::Time(setting) => (*setting).clone(),
            Task::Verify(_) => TimingConfig::functional(),
        };
        let mut runner = EmulatorRunner::with(compiled, timing)?;
        let mut session = Session::start(compiled, &mut runner)?;
        Ok(match task {
            Task::Time(_) => {
                let mut timings = Vec::new();
                for level in levels() {
                    timings.push(session.time(level, &inputs.items[0])?);
                    step();
                }
                Outcome::Timed(timings, session.stack()?)
            }
            Task::Verify(level) => {
                let compared = &inputs.items[..options.verify];
                let exact = verify(compiled, &mut session, *level, compared, &mut || step())?;
                Outcome::Verified(exact, session.stack()?)
            }
        })
    };
    let outcomes: Vec<Result<Outcome>> = tasks.par_iter().map(run).collect();

    let mut bit_exact = BitExact::default();
    let mut timings = Vec::new();
    let mut stack = Bytes(0);
    for outcome in outcomes {
        let deepest = match outcome? {
            Outcome::Timed(all, deepest) => {
                timings.push(all);
                deepest
            }
            Outcome::Verified(exact, deepest) => {
                join(&mut bit_exact, exact);
                deepest
            }
        };
        stack = stack.max(deepest);
    }
    let mut timings = timings.into_iter();
    let runs = Runs {
        bit_exact,
        timings: timings.next().unwrap_or_default(),
        pessimistic: timings.next().unwrap_or_default(),
        stack,
        cycles_missing: cycles_missing(compiled.board.core.kind),
    };
    let modelled = compiled.board.core.kind.has_cycle_model();
    Ok(BenchReport {
        timing: modelled.then(|| settings.main.name.clone()),
        ..report(compiled, inputs.source, &accuracies, runs)
    })
}
