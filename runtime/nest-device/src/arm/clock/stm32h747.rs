//! The Cortex-M7 of an STM32H747: 480 MHz. Registers and sequence: ST RM0399, chapters on flash,
//! power, reset and clocks, and system configuration; but for the supply they are those of the STM32H743.

use super::ClockError;
use super::stm32h7::{Supply, start};

/// Brings the core from its 64 MHz after reset to 480 MHz, the bus to 240 MHz, and gives the
/// core's clock in hertz.
///
/// The core's supply becomes the linear regulator alone, with the step-down converter off: the
/// configuration in which the data sheet allows 480 MHz. A board that feeds the core from the converter
/// must not run this.
///
/// # Errors
/// If a step does not become ready in time; the clocks are then as far as they got.
pub fn start_480_mhz() -> Result<u32, ClockError> {
    // PWR_CR3: LDOEN without SMPSEN and BYPASS. It can be written once after power-on.
    start(Supply(0b010))
}
