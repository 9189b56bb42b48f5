//! The emulator against QEMU's Cortex-M7, and its clock against published measurements.

mod calibration;
mod errors;
#[path = "../cli/golden.rs"]
mod golden;
mod qemu;
#[path = "../kernels/firmware.rs"]
mod selftest;
mod timing;

use nestc::emulator::{Machine, MemoryMap, Stop, TimingConfig};
use nestc::units::Instructions;

#[test]
fn random_instructions_equal_qemu() {
    let run = qemu::compare(&qemu::firmware("instructions"), TimingConfig::expected());
    assert!(
        run.console.lines().count() > 200,
        "a line per class:\n{}",
        run.console
    );
}

#[test]
fn the_kernel_self_test_equals_qemu() {
    let elf = selftest::selftest(selftest::Board::Mps2An500);
    let run = qemu::compare(&elf, TimingConfig::functional());
    assert_eq!(run.exit, 0, "{}", run.console);
    let cases = run.console.lines().filter(|l| l.starts_with("CASE "));
    assert!(cases.count() > 10, "a line per case:\n{}", run.console);
}

/// The same self-test linked for the real memory map, which QEMU does not have.
#[test]
fn the_kernel_self_test_passes_on_the_h743() {
    let elf = selftest::selftest(selftest::Board::Stm32h743);
    let elf = std::fs::read(elf).expect("the built self-test");
    let mut machine = Machine::new(MemoryMap::stm32h743(), TimingConfig::functional());
    machine.load_elf(&elf).expect("the self-test loads");
    let stop = machine.run(Instructions(20_000_000_000));
    let console = String::from_utf8_lossy(machine.console()).into_owned();
    assert_eq!(stop, Ok(Stop::Exited(0)), "{console}");
    assert!(console.contains("DONE "), "{console}");
}
