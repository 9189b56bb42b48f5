//! STM32H743: 480 MHz. Registers and sequence: ST RM0433, chapters 4 (flash), 6 (power), 8 (reset and
//! clocks) and 12 (system configuration).

use super::ClockError;
use super::stm32h7::{Supply, start};

/// Brings the core from its 64 MHz after reset to 480 MHz, the bus to 240 MHz, and gives the
/// core's clock in hertz.
///
/// # Errors
/// If a step does not become ready in time; the clocks are then as far as they got.
pub fn start_480_mhz() -> Result<u32, ClockError> {
    // Supply from the internal regulator, as after reset; the write confirms it (6.4.1).
    start(Supply(0b110))
}
