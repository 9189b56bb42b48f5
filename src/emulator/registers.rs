//! Registers that start-up code of a chip writes and polls: which there are and how they differ from
//! plain words. Everything enabled is ready at once.

use super::map::{Region, RegionKind, RegisterRule};

/// A chip's registers, as far as start-up code knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Where they are.
    pub regions: Vec<Region>,
    /// How they behave.
    pub rules: Vec<RegisterRule>,
}

/// A status bit `shift` left of the bit that turns something on.
fn ready(register: u32, enable: u32, shift: u32) -> RegisterRule {
    RegisterRule::Follows {
        status: register,
        control: register,
        bits: 1 << enable,
        shift,
    }
}

fn reset(address: u32, value: u32) -> RegisterRule {
    RegisterRule::Reset { address, value }
}

fn peripheral(name: &str, base: u32, size: u32) -> Region {
    Region::new(name, base, size, RegionKind::Peripheral)
}

impl Registers {
    /// STM32H742 to H757 (RM0433, RM0399) and H7A3 to H7B3 (RM0455), whose registers for clocks and power lie
    /// in the same places. `identity` is what DBGMCU_IDC holds.
    pub fn stm32h7(identity: u32) -> Self {
        const RCC: u32 = 0x5802_4400;
        const PWR: u32 = 0x5802_4800;
        const FLASH: u32 = 0x5200_2000;
        Self {
            regions: vec![
                peripheral("FLASH registers", FLASH, 0x400),
                peripheral("SYSCFG", 0x5800_0400, 0x400),
                peripheral("GPIO, RCC, PWR", 0x5802_0000, 0x4c00),
                peripheral("DBGMCU", 0x5c00_1000, 0x400),
            ],
            rules: vec![
                // RCC_CR: HSI on; a ready bit above each oscillator's and PLL's enable bit.
                reset(RCC, 1),
                ready(RCC, 0, 2),  // HSION -> HSIRDY
                ready(RCC, 3, 2),  // HSIDIV -> HSIDIVF (any change completes)
                ready(RCC, 7, 1),  // CSION -> CSIRDY
                ready(RCC, 12, 1), // HSI48ON -> HSI48RDY
                ready(RCC, 16, 1), // HSEON -> HSERDY
                ready(RCC, 24, 1), // PLL1ON -> PLL1RDY
                ready(RCC, 26, 1), // PLL2ON -> PLL2RDY
                ready(RCC, 28, 1), // PLL3ON -> PLL3RDY
                // HSIDIVF, D1CKRDY, D2CKRDY.
                RegisterRule::ReadsSet {
                    address: RCC,
                    bits: 1 << 5 | 1 << 14 | 1 << 15,
                },
                // RCC_CFGR.SW -> SWS.
                RegisterRule::Follows {
                    status: RCC + 0x10,
                    control: RCC + 0x10,
                    bits: 0b111,
                    shift: 3,
                },
                reset(RCC + 0x28, 0x0202_0200), // PLLCKSELR
                reset(RCC + 0x2c, 0x01ff_0000), // PLLCFGR
                reset(RCC + 0x30, 0x0101_0280), // PLL1DIVR
                reset(RCC + 0x38, 0x0101_0280), // PLL2DIVR
                reset(RCC + 0x40, 0x0101_0280), // PLL3DIVR
                ready(RCC + 0x70, 0, 1),        // BDCR: LSEON -> LSERDY
                ready(RCC + 0x74, 0, 1),        // CSR: LSION -> LSIRDY
                reset(PWR, 0xf000_c000),        // CR1
                reset(PWR + 0x04, 0x0000_4000), // CSR1
                RegisterRule::ReadsSet {
                    address: PWR + 0x04,
                    bits: 1 << 13,
                }, // ACTVOSRDY
                // CSR1.ACTVOS follows the VOS of D3CR or SRDCR.
                RegisterRule::Follows {
                    status: PWR + 0x04,
                    control: PWR + 0x18,
                    bits: 0b11 << 14,
                    shift: 0,
                },
                reset(PWR + 0x0c, 0x0000_0006), // CR3
                reset(PWR + 0x18, 0x0000_4000), // D3CR or SRDCR
                RegisterRule::ReadsSet {
                    address: PWR + 0x18,
                    bits: 1 << 13,
                }, // VOSRDY
                reset(FLASH, 0x0000_0037),      // ACR
                reset(0x5c00_1000, identity),
            ],
        }
    }

    /// STM32F7 (RM0385, RM0410) and STM32F446 (RM0390).
    pub fn stm32fx() -> Self {
        const RCC: u32 = 0x4002_3800;
        const PWR: u32 = 0x4000_7000;
        Self {
            regions: vec![
                peripheral("PWR", PWR, 0x400),
                peripheral("RCC", RCC, 0x400),
                peripheral("FLASH registers", 0x4002_3c00, 0x400),
            ],
            rules: vec![
                reset(RCC, 0x0000_0083),
                ready(RCC, 0, 1),               // HSION -> HSIRDY
                ready(RCC, 16, 1),              // HSEON -> HSERDY
                ready(RCC, 24, 1),              // PLLON -> PLLRDY
                reset(RCC + 0x04, 0x2400_3010), // PLLCFGR
                // CFGR.SW -> SWS.
                RegisterRule::Follows {
                    status: RCC + 0x08,
                    control: RCC + 0x08,
                    bits: 0b11,
                    shift: 2,
                },
                reset(PWR, 0x0000_c000), // CR1
                // CSR1: VOSRDY always; ODRDY and ODSWRDY follow ODEN and ODSWEN.
                RegisterRule::ReadsSet {
                    address: PWR + 0x04,
                    bits: 1 << 14,
                },
                RegisterRule::Follows {
                    status: PWR + 0x04,
                    control: PWR,
                    bits: 0b11 << 16,
                    shift: 0,
                },
            ],
        }
    }

    /// STM32L4+ (RM0432).
    pub fn stm32l4_plus() -> Self {
        const RCC: u32 = 0x4002_1000;
        const PWR: u32 = 0x4000_7000;
        Self {
            regions: vec![
                peripheral("PWR", PWR, 0x400),
                peripheral("RCC", RCC, 0x400),
                peripheral("FLASH registers", 0x4002_2000, 0x400),
            ],
            rules: vec![
                reset(RCC, 0x0000_0063),
                ready(RCC, 0, 1),               // MSION -> MSIRDY
                ready(RCC, 8, 2),               // HSION -> HSIRDY
                ready(RCC, 16, 1),              // HSEON -> HSERDY
                ready(RCC, 24, 1),              // PLLON -> PLLRDY
                reset(RCC + 0x0c, 0x0000_1000), // PLLCFGR
                // CFGR.SW -> SWS.
                RegisterRule::Follows {
                    status: RCC + 0x08,
                    control: RCC + 0x08,
                    bits: 0b11,
                    shift: 2,
                },
                reset(PWR, 0x0000_0200),         // CR1: range 1
                reset(PWR + 0x80, 0x0000_0100),  // CR5: R1MODE
                reset(0x4002_2000, 0x0000_0600), // FLASH_ACR
            ],
        }
    }
}
