//! STM32F446: 180 MHz. Registers and sequence: ST RM0390, chapters 3 (flash), 5 (power) and 6 (reset
//! and clocks).

use super::ClockError;
use super::stm32fx::{Speed, start};

/// Brings the core from its 16 MHz after reset to 180 MHz, the bus with it, and gives the core's clock
/// in hertz. The supply must be 2.7 V at least.
///
/// # Errors
/// If a step does not become ready in time; the clocks are then as far as they got.
pub fn start_180_mhz() -> Result<u32, ClockError> {
    start(Speed {
        factor: 180,
        divider_48_mhz: 8,
        // 5 wait states; prefetch, instruction and data lines of the flash interface on.
        flash: 0b111 << 8 | 5,
    })
}
