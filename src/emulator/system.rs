//! The private peripheral bus: system control space, cycle counter, system timer (ARMv7-M
//! Architecture Reference Manual B3 and C1; Cortex-M7 Technical Reference Manual, Arm DDI 0489).

use super::fault::FaultKind;
use super::map::Core;
use super::timing::{CacheGeometry, TimingConfig};

/// First address of the private peripheral bus; it takes 1 MB.
pub(super) const BASE: u32 = 0xe000_0000;

const DWT_CTRL: u32 = 0xe000_1000;
const DWT_CYCCNT: u32 = 0xe000_1004;
const DWT_LAR: u32 = 0xe000_1fb0;
const DWT_LSR: u32 = 0xe000_1fb4;
const SYST_CSR: u32 = 0xe000_e010;
const SYST_RVR: u32 = 0xe000_e014;
const SYST_CVR: u32 = 0xe000_e018;
const ICSR: u32 = 0xe000_ed04;
const AIRCR: u32 = 0xe000_ed0c;
const CCR: u32 = 0xe000_ed14;
const CCSIDR: u32 = 0xe000_ed80;
const CSSELR: u32 = 0xe000_ed84;
const CPACR: u32 = 0xe000_ed88;
const DHCSR: u32 = 0xe000_edf0;
const DEMCR: u32 = 0xe000_edfc;

const CYCCNTENA: u32 = 1 << 0;
const TRCENA: u32 = 1 << 24;
const UNLOCK_KEY: u32 = 0xc5ac_ce55;

/// Values that registers hold after reset and never lose, but for the fields handled below.
const RESET: &[(u32, u32)] = &[
    (DWT_CTRL, 0x4000_0000),    // four comparators, cycle counter present
    (0xe000_ed00, 0x411f_c271), // CPUID: Cortex-M7 r1p1, as the STM32H743 has
    (CCR, 0x0004_0200),         // BP, STKALIGN
    (0xe000_ed40, 0x0000_0030), // ID_PFR0
    (0xe000_ed44, 0x0000_0200), // ID_PFR1
    (0xe000_ed48, 0x0010_0000), // ID_DFR0
    (0xe000_ed50, 0x0010_0030), // ID_MMFR0
    (0xe000_ed58, 0x0100_0000), // ID_MMFR2
    (0xe000_ed60, 0x0110_1110), // ID_ISAR0
    (0xe000_ed64, 0x0211_2000), // ID_ISAR1
    (0xe000_ed68, 0x2023_2231), // ID_ISAR2
    (0xe000_ed6c, 0x0111_1131), // ID_ISAR3
    (0xe000_ed70, 0x0131_0132), // ID_ISAR4
    (0xe000_ed78, 0x0900_0003), // CLIDR: separate level 1 caches
    (0xe000_ed7c, 0x8303_c003), // CTR: lines of 32 bytes
    (0xe000_ed90, 0x0000_1000), // MPU_TYPE: 16 regions
    (0xe000_ef34, 0xc000_0000), // FPCCR
    (0xe000_ef40, 0x1011_0221), // MVFR0
    (0xe000_ef44, 0x1200_0011), // MVFR1
    (0xe000_ef48, 0x0000_0040), // MVFR2
    (0xe000_ef90, 0x0000_0001), // ITCMCR
    (0xe000_ef94, 0x0000_0001), // DTCMCR
];

/// What a Cortex-M4 has in place of these (Arm DDI 0439, table 4-1): no caches, no tightly coupled
/// memory, eight memory regions, and no double precision.
const RESET_M4: &[(u32, u32)] = &[
    (0xe000_ed00, 0x410f_c241), // CPUID: r0p1
    (CCR, 0x0000_0200),         // STKALIGN
    (0xe000_ed78, 0),           // CLIDR
    (0xe000_ed7c, 0),           // CTR
    (0xe000_ed90, 0x0000_0800), // MPU_TYPE
    (0xe000_ef40, 0x1011_0021), // MVFR0
    (0xe000_ef44, 0x1100_0011), // MVFR1
    (0xe000_ef48, 0),           // MVFR2
    (0xe000_ef90, 0),           // ITCMCR
    (0xe000_ef94, 0),           // DTCMCR
];

/// CCSIDR of a cache with 8-word lines that takes write-through, write-back and allocation on both
/// (DDI 0489, table 3-7).
fn cache_size(cache: CacheGeometry) -> u32 {
    let sets = cache.bytes / 32 / cache.ways;
    0xf000_0001 | (sets - 1) << 13 | (cache.ways - 1) << 3
}

/// What a store to the system space asks of the caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CacheRequest {
    /// CCR was written.
    Enable {
        instruction: bool,
        data: bool,
    },
    InvalidateInstruction,
    InvalidateInstructionLine(u32),
    /// Clean and/or invalidate one data line by address.
    DataLine {
        address: u32,
        invalidate: bool,
    },
    /// Clean and/or invalidate one data line by set and way.
    DataSetWay {
        operand: u32,
        invalidate: bool,
    },
}

/// Registers of the private peripheral bus.
pub(super) struct System {
    /// 0xE0000000..0xE0003000 (ITM, DWT, FPB) and 0xE000E000..0xE000F000 (SCS) as plain words.
    trace: Vec<u32>,
    control: Vec<u32>,
    /// CCSIDR of the data cache and of the instruction cache; 0 without.
    cache_sizes: [u32; 2],
    /// DWT registers ignore stores until the lock access register has its key (DDI 0489, 9.3).
    dwt_locked: bool,
    /// `now` when CYCCNT would have been 0, while it runs; its value while it stands.
    cycle_origin: u64,
    cycle_held: u32,
    /// `now` when the system timer last held its reload value, and reloads already reported.
    tick_origin: u64,
    ticks_seen: u64,
    /// CPACR grants access to the floating-point unit.
    pub fpu_enabled: bool,
    /// The last request to the caches, for the timing model to take.
    pub cache_request: Option<CacheRequest>,
}

impl System {
    pub fn new(core: Core, config: &TimingConfig) -> Self {
        let caches = [config.data_cache, config.instruction_cache];
        let (cache_sizes, other): ([u32; 2], &[(u32, u32)]) = match core {
            Core::CortexM7 => (caches.map(cache_size), &[]),
            Core::CortexM4 => ([0; 2], RESET_M4),
        };
        let mut system = Self {
            cache_sizes,
            trace: vec![0; 0x3000 / 4],
            control: vec![0; 0x1000 / 4],
            // A Cortex-M4 has no such lock.
            dwt_locked: core == Core::CortexM7,
            cycle_origin: 0,
            cycle_held: 0,
            tick_origin: 0,
            ticks_seen: 0,
            fpu_enabled: false,
            cache_request: None,
        };
        for &(address, value) in RESET.iter().chain(other) {
            if let Some(word) = system.word(address) {
                *word = value;
            }
        }
        system
    }

    fn word(&mut self, address: u32) -> Option<&mut u32> {
        let offset = ((address & 0xfff) / 4) as usize;
        match address >> 12 {
            0xe000e => self.control.get_mut(offset),
            page @ 0xe0000..=0xe0002 => self
                .trace
                .get_mut((page - 0xe0000) as usize * 0x400 + offset),
            _ => None,
        }
    }

    fn stored(&mut self, address: u32) -> u32 {
        self.word(address).map_or(0, |word| *word)
    }

    /// Whether CCR asks for faults on unaligned accesses.
    pub fn traps_unaligned(&mut self) -> bool {
        self.stored(CCR) & 1 << 3 != 0
    }

    /// Whether CCR asks for faults on divisions by zero.
    pub fn traps_division(&mut self) -> bool {
        self.stored(CCR) & 1 << 4 != 0
    }

    fn counting(&mut self) -> bool {
        self.stored(DEMCR) & TRCENA != 0 && self.stored(DWT_CTRL) & CYCCNTENA != 0
    }

    fn cycle_count(&mut self, now: u64) -> u32 {
        if self.counting() {
            now.wrapping_sub(self.cycle_origin) as u32
        } else {
            self.cycle_held
        }
    }

    /// Reads an aligned word. `now` is the cycle count of the run.
    pub fn read(&mut self, address: u32, now: u64) -> Result<u32, FaultKind> {
        let stored = match self.word(address) {
            Some(word) => *word,
            None => {
                return Err(FaultKind::Unmapped {
                    address,
                    access: "read",
                });
            }
        };
        Ok(match address {
            // ITM stimulus ports: ready, and heard by nobody.
            0xe000_0000..=0xe000_007c => 1,
            DWT_CYCCNT => self.cycle_count(now),
            DWT_LSR => 1 | u32::from(self.dwt_locked) << 1,
            SYST_CSR => {
                let reloads = self.tick_reloads(now);
                let flag = u32::from(reloads != self.ticks_seen) << 16;
                self.ticks_seen = reloads;
                stored | flag
            }
            SYST_CVR if self.stored(SYST_CSR) & 1 == 0 => stored,
            SYST_CVR => {
                let reload = u64::from(self.stored(SYST_RVR) & 0xff_ffff);
                (reload - now.wrapping_sub(self.tick_origin) % (reload + 1)) as u32
            }
            AIRCR => 0xfa05_0000 | stored & 0x700,
            CCSIDR => self.cache_sizes[(self.stored(CSSELR) & 1) as usize],
            // Semihosting is served, so as far as the firmware can tell a debugger is attached.
            DHCSR => stored & 0xffff | 1,
            _ => stored,
        })
    }

    fn tick_reloads(&mut self, now: u64) -> u64 {
        if self.stored(SYST_CSR) & 1 == 0 {
            return self.ticks_seen;
        }
        let period = u64::from(self.stored(SYST_RVR) & 0xff_ffff) + 1;
        now.wrapping_sub(self.tick_origin) / period
    }

    /// Writes an aligned word.
    pub fn write(&mut self, address: u32, value: u32, now: u64) -> Result<(), FaultKind> {
        let unsupported = |what| Err(FaultKind::Unsupported { what });
        let in_dwt = address >> 12 == DWT_CTRL >> 12;
        if in_dwt && self.dwt_locked && address != DWT_LAR {
            return Ok(());
        }
        match address {
            DWT_LAR => {
                self.dwt_locked = value != UNLOCK_KEY;
                return Ok(());
            }
            DWT_CYCCNT => {
                self.cycle_held = value;
                self.cycle_origin = now.wrapping_sub(value.into());
                return Ok(());
            }
            DWT_CTRL | DEMCR => {
                // The count stands still while either enable is off.
                self.cycle_held = self.cycle_count(now);
                self.cycle_origin = now.wrapping_sub(self.cycle_held.into());
            }
            SYST_CSR if value & 3 == 3 => return unsupported("the SysTick interrupt"),
            SYST_CSR if value & 1 == 1 && self.stored(SYST_CSR) & 1 == 0 => {
                (self.tick_origin, self.ticks_seen) = (now, 0);
            }
            SYST_CVR => {
                // Any write clears the timer; it reloads at the next tick.
                (self.tick_origin, self.ticks_seen) = (now, 0);
                return Ok(());
            }
            ICSR if value & (1 << 28 | 1 << 26 | 1 << 31) != 0 => {
                return unsupported("a pended exception (ICSR)");
            }
            AIRCR if value >> 16 == 0x05fa && value & 4 != 0 => {
                return unsupported("a system reset (AIRCR.SYSRESETREQ)");
            }
            CPACR => self.fpu_enabled = value >> 20 & 0xf == 0xf,
            CCR => {
                self.cache_request = Some(CacheRequest::Enable {
                    instruction: value & 1 << 17 != 0,
                    data: value & 1 << 16 != 0,
                });
            }
            0xe000_ef50 => self.cache_request = Some(CacheRequest::InvalidateInstruction),
            0xe000_ef58 => {
                self.cache_request = Some(CacheRequest::InvalidateInstructionLine(value));
            }
            0xe000_ef5c | 0xe000_ef64 | 0xe000_ef68 | 0xe000_ef70 => {
                let invalidate = matches!(address & 0xff, 0x5c | 0x70);
                self.cache_request = Some(CacheRequest::DataLine {
                    address: value,
                    invalidate,
                });
            }
            0xe000_ef60 | 0xe000_ef6c | 0xe000_ef74 => {
                let invalidate = matches!(address & 0xff, 0x60 | 0x74);
                self.cache_request = Some(CacheRequest::DataSetWay {
                    operand: value,
                    invalidate,
                });
            }
            _ => {}
        }
        let read_only =
            RESET.iter().any(|&(a, _)| a == address) && !matches!(address, DWT_CTRL | CCR);
        let always_on = 0x200 | u32::from(self.cache_sizes[0] != 0) << 18;
        match self.word(address) {
            Some(_) if read_only => Ok(()),
            Some(word) => {
                *word = if address == CCR {
                    // STKALIGN, and on a Cortex-M7 branch prediction, are always on.
                    value | always_on
                } else {
                    value
                };
                Ok(())
            }
            None => Err(FaultKind::Unmapped {
                address,
                access: "write",
            }),
        }
    }
}
