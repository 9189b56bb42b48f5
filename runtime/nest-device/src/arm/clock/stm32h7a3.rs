//! STM32H7A3: 280 MHz. Registers and sequence: ST RM0455, chapters on flash, power, and reset and
//! clocks.

use super::{ClockError, Register};

const FLASH_ACR: Register = Register(0x5200_2000);
const PWR_CSR1: Register = Register(0x5802_4804);
const PWR_CR3: Register = Register(0x5802_480c);
const PWR_SRDCR: Register = Register(0x5802_4818);
const RCC_CR: Register = Register(0x5802_4400);
const RCC_CFGR: Register = Register(0x5802_4410);
const RCC_CDCFGR1: Register = Register(0x5802_4418);
const RCC_CDCFGR2: Register = Register(0x5802_441c);
const RCC_SRDCFGR: Register = Register(0x5802_4420);
const RCC_PLLCKSELR: Register = Register(0x5802_4428);
const RCC_PLLCFGR: Register = Register(0x5802_442c);
const RCC_PLL1DIVR: Register = Register(0x5802_4430);

/// Brings the core and the bus from their 64 MHz after reset to 280 MHz and gives the core's clock in
/// hertz.
///
/// # Errors
/// If a step does not become ready in time; the clocks are then as far as they got.
pub fn start_280_mhz() -> Result<u32, ClockError> {
    const VOSRDY: u32 = 1 << 13;
    const ACTVOSRDY: u32 = 1 << 13;
    // Supply from the internal regulator, as after reset; the write confirms it.
    PWR_CR3.modify(0b111, 0b110);
    PWR_CSR1.wait(ACTVOSRDY, ACTVOSRDY, ClockError::Voltage)?;
    // Voltage scale 0.
    PWR_SRDCR.modify(0b11 << 14, 0b11 << 14);
    PWR_SRDCR.wait(VOSRDY, VOSRDY, ClockError::Voltage)?;
    // 6 wait states, programming delay 3 (table 15).
    const WAIT_STATES: u32 = 3 << 4 | 6;
    FLASH_ACR.modify(0x3f, WAIT_STATES);
    FLASH_ACR.wait(0x3f, WAIT_STATES, ClockError::Flash)?;
    // Bus clocks: AXI and AHB the core's, all APBs the AHB's / 2.
    RCC_CDCFGR1.modify(0xf7f, 0b100 << 4);
    RCC_CDCFGR2.modify(0x770, 0b100 << 8 | 0b100 << 4);
    RCC_SRDCFGR.modify(0x70, 0b100 << 4);
    // PLL 1: 64 MHz / 8 = 8 MHz, x 70 = 560 MHz, / 2 = 280 MHz.
    RCC_PLLCKSELR.modify(0x3f3, 8 << 4);
    // Wide oscillator, input 8 to 16 MHz, output P on.
    RCC_PLLCFGR.modify(0x7_000f, 1 << 16 | 0b11 << 2);
    RCC_PLL1DIVR.write(1 << 24 | 1 << 16 | 1 << 9 | 69);
    const PLL1ON: u32 = 1 << 24;
    const PLL1RDY: u32 = 1 << 25;
    RCC_CR.modify(PLL1ON, PLL1ON);
    RCC_CR.wait(PLL1RDY, PLL1RDY, ClockError::Pll)?;
    // The core to PLL 1.
    RCC_CFGR.modify(0b111, 0b011);
    RCC_CFGR.wait(0b111 << 3, 0b011 << 3, ClockError::Switch)?;
    Ok(280_000_000)
}
