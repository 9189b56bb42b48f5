//! What STM32H743 and STM32H747 have in common.

use super::{ClockError, Register};

const FLASH_ACR: Register = Register(0x5200_2000);
const PWR_CSR1: Register = Register(0x5802_4804);
const PWR_CR3: Register = Register(0x5802_480c);
const PWR_D3CR: Register = Register(0x5802_4818);
const RCC_CR: Register = Register(0x5802_4400);
const RCC_CFGR: Register = Register(0x5802_4410);
const RCC_D1CFGR: Register = Register(0x5802_4418);
const RCC_D2CFGR: Register = Register(0x5802_441c);
const RCC_D3CFGR: Register = Register(0x5802_4420);
const RCC_PLLCKSELR: Register = Register(0x5802_4428);
const RCC_PLLCFGR: Register = Register(0x5802_442c);
const RCC_PLL1DIVR: Register = Register(0x5802_4430);
const RCC_APB4ENR: Register = Register(0x5802_44f4);
const SYSCFG_PWRCR: Register = Register(0x5800_042c);

/// The bits 0 to 2 of PWR_CR3: where the core's supply comes from.
pub(super) struct Supply(pub u32);

/// 480 MHz from the 64 MHz after reset. The sections are those of RM0433.
pub(super) fn start(supply: Supply) -> Result<u32, ClockError> {
    const VOSRDY: u32 = 1 << 13;
    const ACTVOSRDY: u32 = 1 << 13;
    PWR_CR3.modify(0b111, supply.0);
    PWR_CSR1.wait(ACTVOSRDY, ACTVOSRDY, ClockError::Voltage)?;
    // Voltage scale 1, then the overdrive on top of it: scale 0 (6.6.2).
    PWR_D3CR.modify(0b11 << 14, 0b11 << 14);
    PWR_D3CR.wait(VOSRDY, VOSRDY, ClockError::Voltage)?;
    RCC_APB4ENR.modify(0b10, 0b10);
    // The clock needs two cycles before the peripheral can be written (8.5.11).
    RCC_APB4ENR.read();
    SYSCFG_PWRCR.modify(1, 1);
    PWR_D3CR.wait(VOSRDY, VOSRDY, ClockError::Voltage)?;
    // 4 wait states, programming delay 2 (table 17).
    const WAIT_STATES: u32 = 2 << 4 | 4;
    FLASH_ACR.modify(0x3f, WAIT_STATES);
    FLASH_ACR.wait(0x3f, WAIT_STATES, ClockError::Flash)?;
    // Bus clocks: AXI and AHB the core's / 2, all APBs the AHB's / 2 (8.7.7 to 8.7.9).
    RCC_D1CFGR.modify(0xf7f, 0b100 << 4 | 0b1000);
    RCC_D2CFGR.modify(0x770, 0b100 << 8 | 0b100 << 4);
    RCC_D3CFGR.modify(0x70, 0b100 << 4);
    // PLL 1: 64 MHz / 8 = 8 MHz, x 120 = 960 MHz, / 2 = 480 MHz (8.7.11 to 8.7.13).
    RCC_PLLCKSELR.modify(0x3f3, 8 << 4);
    // Wide oscillator, input 8 to 16 MHz, output P on.
    RCC_PLLCFGR.modify(0x7_000f, 1 << 16 | 0b11 << 2);
    RCC_PLL1DIVR.write(1 << 24 | 1 << 16 | 1 << 9 | 119);
    const PLL1ON: u32 = 1 << 24;
    const PLL1RDY: u32 = 1 << 25;
    RCC_CR.modify(PLL1ON, PLL1ON);
    RCC_CR.wait(PLL1RDY, PLL1RDY, ClockError::Pll)?;
    // The core to PLL 1 (8.7.6).
    RCC_CFGR.modify(0b111, 0b011);
    RCC_CFGR.wait(0b111 << 3, 0b011 << 3, ClockError::Switch)?;
    Ok(480_000_000)
}
