//! Memory maps: which addresses answer, how fast, and what the few registers that start-up code
//! polls read as. A board is data; the rest of the emulator does not know any.

/// What kind of memory a region is: what may be done with it, and how the timing model treats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// Instruction TCM: no cache, no wait states.
    Itcm,
    /// Data TCM: no cache, no wait states, two banks of words.
    Dtcm,
    /// RAM behind the caches.
    Sram,
    /// Read-only memory behind the caches.
    Flash,
    /// Registers: never executed, accessed aligned, shaped by [`RegisterRule`]s.
    Peripheral,
}

/// A range of addresses. Regions must not share a 16 KB block of the address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// As the reference manual calls it.
    pub name: &'static str,
    /// First address.
    pub base: u32,
    /// Bytes.
    pub size: u32,
    /// What it is.
    pub kind: RegionKind,
    /// Every byte before anything is loaded: flash reads erased, and RAM holds rubbish that a
    /// program must not take for zeros.
    pub fill: u8,
}

impl Region {
    fn new(name: &'static str, base: u32, size: u32, kind: RegionKind) -> Self {
        let fill = match kind {
            RegionKind::Flash => 0xff,
            RegionKind::Peripheral => 0,
            RegionKind::Itcm | RegionKind::Dtcm | RegionKind::Sram => 0xa5,
        };
        Self {
            name,
            base,
            size,
            kind,
            fill,
        }
    }
}

/// How a peripheral register differs from a plain word that reads as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterRule {
    /// Holds `value` after reset.
    Reset {
        /// Address of the register.
        address: u32,
        /// Its value.
        value: u32,
    },
    /// `bits` always read as ones.
    ReadsSet {
        /// Address of the register.
        address: u32,
        /// The bits.
        bits: u32,
    },
    /// A status field reads as what was written to a control field: hardware that is always
    /// ready. `status = control.bits` moved left by `shift`.
    Follows {
        /// Address of the register that holds the status field.
        status: u32,
        /// Address of the register that holds the control field.
        control: u32,
        /// The control field's bits.
        bits: u32,
        /// How far left of the control field the status field lies.
        shift: u32,
    },
}

/// The address space of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// The regions, in any order.
    pub regions: Vec<Region>,
    /// Registers in peripheral regions that are not plain words.
    pub rules: Vec<RegisterRule>,
    /// Where the core fetches its vector table from after reset.
    pub boot: u32,
}

const KIB: u32 = 1024;

impl MemoryMap {
    /// STM32H743 (RM0433 rev 8, table 7), started from flash bank 1, with the registers that
    /// clock set-up touches. Everything enabled is ready at once.
    pub fn stm32h743() -> Self {
        use RegionKind::*;
        const RCC: u32 = 0x5802_4400;
        const PWR: u32 = 0x5802_4800;
        const FLASH: u32 = 0x5200_2000;
        let ready = |register: u32, enable: u32, shift| RegisterRule::Follows {
            status: register,
            control: register,
            bits: 1 << enable,
            shift,
        };
        Self {
            regions: vec![
                Region::new("ITCM", 0x0000_0000, 64 * KIB, Itcm),
                Region::new("flash", 0x0800_0000, 2048 * KIB, Flash),
                Region::new("DTCM", 0x2000_0000, 128 * KIB, Dtcm),
                Region::new("AXI SRAM", 0x2400_0000, 512 * KIB, Sram),
                Region::new("SRAM1-3", 0x3000_0000, 288 * KIB, Sram),
                Region::new("SRAM4", 0x3800_0000, 64 * KIB, Sram),
                Region::new("FLASH registers", FLASH, 0x400, Peripheral),
                Region::new("SYSCFG", 0x5800_0400, 0x400, Peripheral),
                Region::new("GPIO, RCC, PWR", 0x5802_0000, 0x4c00, Peripheral),
                Region::new("DBGMCU", 0x5c00_1000, 0x400, Peripheral),
            ],
            rules: vec![
                // RCC_CR: HSI on; a ready bit above each oscillator's and PLL's enable bit.
                RegisterRule::Reset {
                    address: RCC,
                    value: 1,
                },
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
                RegisterRule::Reset {
                    address: RCC + 0x28,
                    value: 0x0202_0200,
                }, // PLLCKSELR
                RegisterRule::Reset {
                    address: RCC + 0x2c,
                    value: 0x01ff_0000,
                }, // PLLCFGR
                RegisterRule::Reset {
                    address: RCC + 0x30,
                    value: 0x0101_0280,
                }, // PLL1DIVR
                RegisterRule::Reset {
                    address: RCC + 0x38,
                    value: 0x0101_0280,
                }, // PLL2DIVR
                RegisterRule::Reset {
                    address: RCC + 0x40,
                    value: 0x0101_0280,
                }, // PLL3DIVR
                ready(RCC + 0x70, 0, 1), // BDCR: LSEON -> LSERDY
                ready(RCC + 0x74, 0, 1), // CSR: LSION -> LSIRDY
                RegisterRule::Reset {
                    address: PWR,
                    value: 0xf000_c000,
                }, // CR1
                RegisterRule::Reset {
                    address: PWR + 0x04,
                    value: 0x0000_4000,
                }, // CSR1
                RegisterRule::ReadsSet {
                    address: PWR + 0x04,
                    bits: 1 << 13,
                }, // ACTVOSRDY
                // CSR1.ACTVOS follows D3CR.VOS.
                RegisterRule::Follows {
                    status: PWR + 0x04,
                    control: PWR + 0x18,
                    bits: 0b11 << 14,
                    shift: 0,
                },
                RegisterRule::Reset {
                    address: PWR + 0x0c,
                    value: 0x0000_0006,
                }, // CR3
                RegisterRule::Reset {
                    address: PWR + 0x18,
                    value: 0x0000_4000,
                }, // D3CR
                RegisterRule::ReadsSet {
                    address: PWR + 0x18,
                    bits: 1 << 13,
                }, // VOSRDY
                RegisterRule::Reset {
                    address: FLASH,
                    value: 0x0000_0037,
                }, // ACR
                // DBGMCU_IDC: STM32H742/743/753/750, revision V.
                RegisterRule::Reset {
                    address: 0x5c00_1000,
                    value: 0x2003_6450,
                },
            ],
            boot: 0x0800_0000,
        }
    }

    /// The board `mps2-an500` of QEMU: 4 MB of zero-wait code and data memory each, 16 MB of RAM
    /// behind the bus, no peripherals. It is here to run one ELF in both emulators and compare.
    pub fn mps2_an500() -> Self {
        let mut regions = vec![
            Region::new("code", 0x0000_0000, 4096 * KIB, RegionKind::Itcm),
            Region::new("RAM", 0x2000_0000, 4096 * KIB, RegionKind::Dtcm),
            Region::new("PSRAM", 0x6000_0000, 16 * 1024 * KIB, RegionKind::Sram),
        ];
        for region in &mut regions {
            region.fill = 0; // as QEMU does
        }
        Self {
            regions,
            rules: Vec::new(),
            boot: 0,
        }
    }
}
