//! What STM32F7 and STM32F446 have in common: the same reset and clock controller, and a regulator with
//! over-drive.

use super::{ClockError, Register};

const FLASH_ACR: Register = Register(0x4002_3c00);
const PWR_CR1: Register = Register(0x4000_7000);
const PWR_CSR1: Register = Register(0x4000_7004);
const RCC_CR: Register = Register(0x4002_3800);
const RCC_PLLCFGR: Register = Register(0x4002_3804);
const RCC_CFGR: Register = Register(0x4002_3808);
const RCC_APB1ENR: Register = Register(0x4002_3840);

/// What differs.
pub(super) struct Speed {
    /// The PLL's factor on 2 MHz; the core gets half of the product.
    pub factor: u32,
    /// The PLL's divider for 48 MHz peripherals, so that they get no more.
    pub divider_48_mhz: u32,
    /// FLASH_ACR: wait states, and what speeds the flash up.
    pub flash: u32,
}

/// Brings the core from its 16 MHz after reset to the PLL's clock, with over-drive.
pub(super) fn start(speed: Speed) -> Result<u32, ClockError> {
    // The power controller's own clock; it needs two cycles before the registers can be written.
    RCC_APB1ENR.modify(1 << 28, 1 << 28);
    RCC_APB1ENR.read();
    // Voltage scale 1, chosen while the PLL is off.
    PWR_CR1.modify(0b11 << 14, 0b11 << 14);
    // PLL from the internal oscillator: 16 MHz / 8 = 2 MHz, x factor, / 2.
    let dividers = 2 << 28 | speed.divider_48_mhz << 24;
    RCC_PLLCFGR.write(dividers | speed.factor << 6 | 8);
    const PLLON: u32 = 1 << 24;
    const PLLRDY: u32 = 1 << 25;
    RCC_CR.modify(PLLON, PLLON);
    RCC_CR.wait(PLLRDY, PLLRDY, ClockError::Pll)?;
    // Over-drive on, then the switch to it; the ready bits stand where the enable bits do.
    for over_drive in [1 << 16, 1 << 17] {
        PWR_CR1.modify(over_drive, over_drive);
        PWR_CSR1.wait(over_drive, over_drive, ClockError::Voltage)?;
    }
    FLASH_ACR.write(speed.flash);
    FLASH_ACR.wait(0xf, speed.flash & 0xf, ClockError::Flash)?;
    // AHB the core's clock, APB1 a quarter of it, APB2 a half; then the core to the PLL.
    RCC_CFGR.modify(0xfcf0, 0b100 << 13 | 0b101 << 10);
    RCC_CFGR.modify(0b11, 0b10);
    RCC_CFGR.wait(0b11 << 2, 0b10 << 2, ClockError::Switch)?;
    Ok(speed.factor * 1_000_000)
}
