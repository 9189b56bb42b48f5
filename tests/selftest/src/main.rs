//! Runs every kernel of nest-kernels against its reference twin on the device itself.
//!
//! One line for each case, `CASE name fails=0 hash=0123abcd`, then `DONE cases=N fails=0`; the exit
//! status (semihosting) is 0 when nothing failed. The hash is of the output, so that two executors
//! can be compared case by case.
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

static mut EXPECTED: [i8; OUTPUT_MAX] = [0; OUTPUT_MAX];

/// Counts cases and failures.
#[derive(Default)]
pub struct Report {
    cases: u32,
    fails: u32,
}

impl Report {
    /// Runs a case in all placements of its buffers. `run` takes fresh buffers, fills them by its
    /// own deterministic numbers, runs the kernel, and the reference into its second argument if
    /// there is one; it returns the kernel's output.
    pub fn case(
        &mut self,
        name: fmt::Arguments<'_>,
        mut run: impl FnMut(&mut Arena, Option<&mut [i8]>) -> &'static [i8],
    ) {
        let expected = &raw mut EXPECTED;
        // SAFETY: the only use of the static, and the program has one thread.
        let expected = unsafe { &mut *expected };
        let mut fails = 0u32;
        let mut hash = 0x811c_9dc5u32;
        for round in 0..ROUNDS {
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
    }
}

#[unsafe(no_mangle)]
extern "C" fn selftest_main() -> ! {
    let mut report = Report::default();
    cases::conv::run(&mut report);
    cases::dense::run(&mut report);
    cases::depthwise::run(&mut report);
    cases::elementwise::run(&mut report);
    cases::pool::run(&mut report);
    board::print(format_args!(
        "DONE cases={} fails={}",
        report.cases, report.fails
    ));
    board::exit(report.fails == 0)
}
