//! Memory maps: which addresses answer, how fast, and what the few registers that start-up code
//! polls read as. A board is data; the rest of the emulator does not know any.

use super::registers::Registers;

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
    pub name: String,
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
    /// A region as it is before anything is loaded.
    pub fn new(name: &str, base: u32, size: u32, kind: RegionKind) -> Self {
        let fill = match kind {
            RegionKind::Flash => 0xff,
            RegionKind::Peripheral => 0,
            RegionKind::Itcm | RegionKind::Dtcm | RegionKind::Sram => 0xa5,
        };
        Self {
            name: name.into(),
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

/// Which core a board has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Cortex-M7, with caches.
    CortexM7,
    /// Cortex-M4: the same instructions but for some of floating point, no caches, and no timing model.
    CortexM4,
}

/// The address space of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// The core that lives in it.
    pub core: Core,
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
        // Revision V.
        let registers = Registers::stm32h7(0x2003_6450);
        let memories = [
            ("ITCM", 0x0000_0000, 64, Itcm),
            ("FLASH", 0x0800_0000, 2048, Flash),
            ("DTCM", 0x2000_0000, 128, Dtcm),
            ("AXISRAM", 0x2400_0000, 512, Sram),
            ("SRAM1", 0x3000_0000, 128, Sram),
            ("SRAM2", 0x3002_0000, 128, Sram),
            ("SRAM3", 0x3004_0000, 32, Sram),
            ("SRAM4", 0x3800_0000, 64, Sram),
        ];
        let memories =
            memories.map(|(name, base, kib, kind)| Region::new(name, base, kib * KIB, kind));
        Self {
            core: Core::CortexM7,
            regions: memories.into_iter().chain(registers.regions).collect(),
            rules: registers.rules,
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
            core: Core::CortexM7,
            regions,
            rules: Vec::new(),
            boot: 0,
        }
    }
}
