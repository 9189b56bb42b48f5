//! STM32L4R5: 120 MHz. Registers and sequence: ST RM0432, chapters 3 (flash), 5 (power) and 6 (reset
//! and clocks).

use super::{ClockError, Register};

const FLASH_ACR: Register = Register(0x4002_2000);
const PWR_SR2: Register = Register(0x4000_7014);
const PWR_CR1: Register = Register(0x4000_7000);
const PWR_CR5: Register = Register(0x4000_7080);
const RCC_CR: Register = Register(0x4002_1000);
const RCC_CFGR: Register = Register(0x4002_1008);
const RCC_PLLCFGR: Register = Register(0x4002_100c);
const RCC_APB1ENR1: Register = Register(0x4002_1058);

/// Brings the core from its 4 MHz after reset to 120 MHz, the bus with it, and gives the core's clock in
/// hertz.
///
/// # Errors
/// If a step does not become ready in time; the clocks are then as far as they got.
pub fn start_120_mhz() -> Result<u32, ClockError> {
    // The power controller's own clock.
    RCC_APB1ENR1.modify(1 << 28, 1 << 28);
    RCC_APB1ENR1.read();
    // Voltage range 1, in boost mode: R1MODE off.
    PWR_CR1.modify(0b11 << 9, 0b01 << 9);
    PWR_SR2.wait(1 << 10, 0, ClockError::Voltage)?;
    PWR_CR5.modify(1 << 8, 0);
    // The 16 MHz oscillator, whose accuracy does not depend on a range.
    RCC_CR.modify(1 << 8, 1 << 8);
    RCC_CR.wait(1 << 10, 1 << 10, ClockError::Oscillator)?;
    // PLL: 16 MHz / 4 = 4 MHz, x 60 = 240 MHz, output R / 2 = 120 MHz.
    RCC_PLLCFGR.write(1 << 24 | 60 << 8 | 3 << 4 | 0b10);
    const PLLON: u32 = 1 << 24;
    const PLLRDY: u32 = 1 << 25;
    RCC_CR.modify(PLLON, PLLON);
    RCC_CR.wait(PLLRDY, PLLRDY, ClockError::Pll)?;
    // 5 wait states; prefetch, instruction and data lines of the flash interface on.
    const WAIT_STATES: u32 = 5;
    FLASH_ACR.modify(0b111 << 8 | 0xf, 0b111 << 8 | WAIT_STATES);
    FLASH_ACR.wait(0xf, WAIT_STATES, ClockError::Flash)?;
    // Above 80 MHz the bus must spend a microsecond at half the clock first.
    RCC_CFGR.modify(0x3ff0, 0b1000 << 4);
    RCC_CFGR.modify(0b11, 0b11);
    RCC_CFGR.wait(0b11 << 2, 0b11 << 2, ClockError::Switch)?;
    for _ in 0..120 {
        RCC_CFGR.read();
    }
    RCC_CFGR.modify(0xf0, 0);
    Ok(120_000_000)
}
