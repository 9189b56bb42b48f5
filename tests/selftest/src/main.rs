//! Runs every kernel of nest-kernels against its reference twin on the device itself.
//!
//! One line for each case, `CASE name fails=0 hash=0123abcd`, then `DONE cases=N fails=0`; the exit
//! status (semihosting) is 0 when nothing failed. The hash is of the output, so that two executors
//! can be compared case by case.
//!
//! A debugger may write a kernel's name to `selftest_only` before the start: then that kernel's cases
//! run alone, and the first that fails ends the run.
#![no_std]
#![no_main]

mod arena;
mod board;
mod cases;
mod random;

use core::fmt;

use arena::{Arena, ROUNDS};

/// Elements of the largest output of a case.
const OUTPUT_MAX: usize = 12_000;

/// Zeros, or the start of the names of the cases to run.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data")]
static mut selftest_only: [u8; 64] = [0; 64];

static mut EXPECTED: [i8; OUTPUT_MAX] = [0; OUTPUT_MAX];

/// Counts cases and failures.
pub struct Report {
    cases: u32,
    fails: u32,
    /// Start of the names of the cases to run; empty for all.
    only: &'static [u8],
}

impl Report {
    fn new() -> Self {
        let only = &raw const selftest_only;
        // SAFETY: at most written by a debugger before the start; the program only reads it.
        let only: &'static [u8] = unsafe { &*core::hint::black_box(only) };
        Self {
            cases: 0,
            fails: 0,
            only: only.split(|&b| b == 0).next().unwrap_or(&[]),
        }
    }

    /// Runs a case in all placements of its buffers. `run` takes fresh buffers, fills them by its
    /// own deterministic numbers, runs the kernel, and the reference into its second argument if
    /// there is one; it returns the kernel's output.
    pub fn case(
        &mut self,
        name: fmt::Arguments<'_>,
        run: impl FnMut(&mut Arena, Option<&mut [i8]>) -> &'static [i8],
    ) {
        self.rounds(name, ROUNDS, run);
    }

    /// As [`Report::case`], with a last round in place: see [`Arena::in_place`].
    pub fn case_in_place(
        &mut self,
        name: fmt::Arguments<'_>,
        run: impl FnMut(&mut Arena, Option<&mut [i8]>) -> &'static [i8],
    ) {
        self.rounds(name, ROUNDS + 1, run);
    }

    fn rounds(
        &mut self,
        name: fmt::Arguments<'_>,
        rounds: usize,
        mut run: impl FnMut(&mut Arena, Option<&mut [i8]>) -> &'static [i8],
    ) {
        if !board::starts_with(name, self.only) {
            return;
        }
        let expected = &raw mut EXPECTED;
        // SAFETY: the only use of the static, and the program has one thread.
        let expected = unsafe { &mut *expected };
        let mut fails = 0u32;
        let mut hash = 0x811c_9dc5u32;
        for round in 0..rounds {
            // SAFETY: buffers of the previous round are not used any more.
            let mut arena = unsafe { Arena::new(round) };
            let output = run(&mut arena, (round == 0).then_some(&mut expected[..]));
            let wrong = output.iter().zip(&expected[..]).filter(|(a, b)| a != b);
            fails += wrong.count() as u32;
            if round == 0 {
                for &x in output {
                    hash = (hash ^ u32::from(x as u8)).wrapping_mul(0x0100_0193);
                }
            }
        }
        board::print(format_args!("CASE {name} fails={fails} hash={hash:08x}"));
        self.cases += 1;
        self.fails += u32::from(fails > 0);
        if fails > 0 && !self.only.is_empty() {
            board::exit(false);
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn selftest_main() -> ! {
    let mut report = Report::new();
    cases::conv::run(&mut report);
    cases::conv_dense::run(&mut report);
    cases::block::run(&mut report);
    cases::compact::run(&mut report);
    cases::dense::run(&mut report);
    cases::depthwise::run(&mut report);
    cases::elementwise::run(&mut report);
    cases::pool::run(&mut report);
    cases::moving::run(&mut report);
    board::print(format_args!(
        "DONE cases={} fails={}",
        report.cases, report.fails
    ));
    board::exit(report.fails == 0)
}
