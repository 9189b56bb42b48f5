//! Clocks of an STM32H743: 480 MHz from the internal oscillator, so that no crystal is assumed.
//!
//! Registers and sequence: ST RM0433, chapters 4 (flash), 6 (power), 8 (reset and clocks) and
//! 12 (system configuration).

use core::ptr;

/// A clock that did not become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockError {
    /// The regulator did not reach its voltage.
    Voltage,
    /// The flash did not take its wait states.
    Flash,
    /// The PLL did not lock.
    Pll,
    /// The core did not switch to the PLL.
    Switch,
}

/// A device register.
#[derive(Clone, Copy)]
struct Register(usize);

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

impl Register {
    fn read(self) -> u32 {
        // SAFETY: all `Register`s of this file are readable 32-bit registers of the device, and
        // reading them changes nothing.
        unsafe { ptr::read_volatile(ptr::with_exposed_provenance(self.0)) }
    }
    fn write(self, value: u32) {
        // SAFETY: all `Register`s of this file are writable 32-bit registers that only this module
        // touches, once, before any other code relies on the clocks.
        unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut(self.0), value) }
    }
    /// Replaces the bits of `mask`.
    fn modify(self, mask: u32, value: u32) {
        self.write((self.read() & !mask) | value);
    }
    /// Waits until the bits of `mask` are `value`; several times the slowest of these waits.
    fn wait(self, mask: u32, value: u32, error: ClockError) -> Result<(), ClockError> {
        for _ in 0..1_000_000 {
            if self.read() & mask == value {
                return Ok(());
            }
        }
        Err(error)
    }
}

/// Brings the core from its 64 MHz after reset to 480 MHz, the bus to 240 MHz, and gives the
/// core's clock in hertz.
///
/// # Errors
/// If a step does not become ready in time; the clocks are then as far as they got.
pub fn start_480_mhz() -> Result<u32, ClockError> {
    const VOSRDY: u32 = 1 << 13;
    const ACTVOSRDY: u32 = 1 << 13;
    // Supply from the internal regulator, as after reset; the write confirms it (6.4.1).
    PWR_CR3.modify(0b111, 0b110);
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
