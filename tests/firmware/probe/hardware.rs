//! The bench on boards themselves, by name: `make hardware`. Ignored where there is none; nothing here
//! passes without a board. With several probes, `NESTC_PROBE=VID:PID[:SERIAL]` names one.

use std::time::Duration;

use nestc::bench::probe::{self, ProbeOptions, ProbeRunner};
use nestc::bench::{self, BenchOptions, Compiled};
use nestc::emit::Budgets;
use nestc::image;
use nestc::report::MeasuredBy;
use nestc::target::Board;

use crate::sample;
use crate::support::build_options;

/// Every kind of layer at every level on a board, bit by bit as on the host, in plausible time.
fn bench_is_bit_exact(board: &str) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("fw");
    let board = Board::named(board).unwrap();
    let program = sample::program("hardware", 3, 1);
    image::compile(&program, &board, Budgets::default(), &out, &build_options())
        .unwrap_or_else(|e| panic!("{e}"));
    let compiled = Compiled::open(&out).unwrap_or_else(|e| panic!("{e}"));
    let driver = probe::driver().unwrap_or_else(|e| panic!("{e}"));
    let asked = std::env::var("NESTC_PROBE").ok();
    let options = ProbeOptions {
        chip: None,
        probe: asked.map(|text| text.parse().unwrap_or_else(|e| panic!("{e}"))),
        speed_khz: None,
        timeout: Duration::from_secs(30),
    };
    // The second time the flash holds the image already.
    for _ in 0..2 {
        let mut runner = ProbeRunner::start(&*driver, &compiled, &options, &mut |_| {})
            .unwrap_or_else(|e| panic!("{e}"));
        let options = BenchOptions {
            verify: 8,
            ..BenchOptions::default()
        };
        let report = bench::bench(&compiled, &mut runner, &options, &mut |_, _| {})
            .unwrap_or_else(|e| panic!("{e}"));
        bench::verdict(&report).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(report.measured_by, MeasuredBy::Probe);
        for level in &report.levels {
            // No layer takes no time, and none more than a second.
            assert!(
                level
                    .layers
                    .iter()
                    .all(|l| l.cycles.is_some_and(|c| c.0 > 0))
            );
            assert!(level.cycles.is_some_and(|c| c.0 < board.clock.core_hz.0));
        }
        println!("{}", report.table());
    }
}

#[test]
#[ignore = "needs a NUCLEO-H743ZI on USB"]
fn hardware_stm32h743_bench_is_bit_exact() {
    bench_is_bit_exact("stm32h743");
}

#[test]
#[ignore = "needs an STM32H747I-DISCO on USB"]
fn hardware_stm32h747_bench_is_bit_exact() {
    bench_is_bit_exact("stm32h747");
}

#[test]
#[ignore = "needs a NUCLEO-H7A3ZI-Q on USB"]
fn hardware_stm32h7a3_bench_is_bit_exact() {
    bench_is_bit_exact("stm32h7a3");
}

#[test]
#[ignore = "needs a NUCLEO-F746ZG on USB"]
fn hardware_stm32f746_bench_is_bit_exact() {
    bench_is_bit_exact("stm32f746");
}

#[test]
#[ignore = "needs a NUCLEO-F767ZI on USB"]
fn hardware_stm32f767_bench_is_bit_exact() {
    bench_is_bit_exact("stm32f767");
}

#[test]
#[ignore = "needs a NUCLEO-F446RE on USB"]
fn hardware_stm32f446_bench_is_bit_exact() {
    bench_is_bit_exact("stm32f446");
}

#[test]
#[ignore = "needs a NUCLEO-L4R5ZI on USB"]
fn hardware_stm32l4r5_bench_is_bit_exact() {
    bench_is_bit_exact("stm32l4r5");
}

#[test]
#[ignore = "needs a debug probe on USB"]
fn hardware_probes_are_listed_with_their_names() {
    let driver = probe::driver().unwrap_or_else(|e| panic!("{e}"));
    let probes = driver.list().unwrap_or_else(|e| panic!("{}", e.detail));
    assert!(!probes.is_empty(), "no probe is connected");
    for probe in probes {
        let text = probe.selector().to_string();
        assert_eq!(text.parse(), Ok(probe.selector()), "{text}");
    }
}
