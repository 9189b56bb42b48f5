//! Whether the chip on the wire is the one that the image is for.

use super::fault::{Context, Stage};
use super::{Probe, Result};
use crate::diag::{CHIP_DIFFERS, CHIP_LOCKED, Diagnostic};
use crate::target::Board;

/// Arm's identification register of the core (ARMv7-M Architecture Reference Manual, B3.2.3).
const CPUID: u32 = 0xe000_ed00;

/// Part numbers of CPUID, as rustc and Arm call the cores.
const CORES: &[(u32, &str, &str)] = &[
    (0xc20, "cortex-m0", "Cortex-M0"),
    (0xc60, "cortex-m0plus", "Cortex-M0+"),
    (0xc23, "cortex-m3", "Cortex-M3"),
    (0xc24, "cortex-m4", "Cortex-M4"),
    (0xc27, "cortex-m7", "Cortex-M7"),
    (0xd20, "cortex-m23", "Cortex-M23"),
    (0xd21, "cortex-m33", "Cortex-M33"),
    (0xd22, "cortex-m55", "Cortex-M55"),
];

/// Compares the core, the device's number and its protection with the board's.
pub(super) fn identify(
    probe: &mut dyn Probe,
    board: &Board,
    chip: &str,
    context: &Context,
) -> std::result::Result<(), Diagnostic> {
    let stage = Stage::Identifying;
    let mut word = |address| read(probe, address).map_err(|e| context.explain(&stage, &e));
    let part = word(CPUID)? >> 4 & 0xfff;
    let expected = (CORES.iter()).find(|(_, rustc, _)| *rustc == board.rust_target_cpu);
    if let Some((number, _, name)) = expected
        && part != *number
    {
        let found = (CORES.iter().find(|(n, ..)| *n == part))
            .map_or(format!("one with part number {part:#05x}"), |c| c.2.into());
        return Err(Diagnostic::new(
            CHIP_DIFFERS,
            &context.place,
            format!(
                "the chip's core is {found}, and the image is for {}, which has {name}",
                board.name
            ),
            "check which board the probe is wired to, or compile for that board",
        ));
    }
    let Some(debug) = &board.debug else {
        return Ok(());
    };
    let found = word(debug.id_address)? & debug.id_mask;
    if found != debug.id {
        return Err(Diagnostic::new(
            CHIP_DIFFERS,
            &context.place,
            format!(
                "the chip says of itself that it is {found:#x}, and {chip} of {} is {:#x}",
                board.name, debug.id
            ),
            "check which board the probe is wired to, or compile for that board (`nestc targets`)",
        ));
    }
    let lock = word(debug.lock_address)? & debug.lock_mask;
    if lock != debug.lock_open {
        return Err(locked(
            context,
            format!(
                "its read-out protection is set: {lock:#x} at {:#010x} instead of {:#x}",
                debug.lock_address, debug.lock_open
            ),
        ));
    }
    Ok(())
}

/// What is said of a chip that keeps its flash to itself.
pub(super) fn locked(context: &Context, how: String) -> Diagnostic {
    Diagnostic::new(
        CHIP_LOCKED,
        &context.place,
        format!("the chip is locked: {how}"),
        "take the protection off with the vendor's tool, which erases the flash: for example `STM32_Programmer_CLI -c port=SWD mode=UR -ob RDP=0xAA`; at protection level 2 no tool can",
    )
}

/// A word of memory.
pub(super) fn read(probe: &mut dyn Probe, address: u32) -> Result<u32> {
    let mut bytes = [0; 4];
    probe.read(address, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
