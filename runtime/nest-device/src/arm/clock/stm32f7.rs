//! STM32F74x, F75x, F76x and F77x: 216 MHz. Registers and sequence: ST RM0385 and RM0410, chapters 3
//! (flash), 4 (power) and 5 (reset and clocks).

use super::ClockError;
use super::stm32fx::{Speed, start};

/// Brings the core from its 16 MHz after reset to 216 MHz, the bus with it, and gives the core's clock
/// in hertz. The supply must be 2.7 V at least.
///
/// # Errors
/// If a step does not become ready in time; the clocks are then as far as they got.
pub fn start_216_mhz() -> Result<u32, ClockError> {
    start(Speed {
        factor: 216,
        divider_48_mhz: 9,
        // 7 wait states. Prefetch and ART serve the ITCM port only, which images do not use.
        flash: 7,
    })
}
