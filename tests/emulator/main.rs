//! The emulator against QEMU's Cortex-M7, and its clock against published measurements.

mod qemu;
mod timing;

#[test]
fn random_instructions_equal_qemu() {
    let run = qemu::compare(&qemu::firmware("instructions"));
    assert!(
        run.console.lines().count() > 150,
        "a line per class:\n{}",
        run.console
    );
}
