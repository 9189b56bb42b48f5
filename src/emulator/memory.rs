//! The bus: routes an address to memory, a peripheral or the system space, and holds the table of
//! decoded instructions per halfword of memory so that a store to code drops what it overwrites.

use super::fault::FaultKind;
use super::map::{MemoryMap, RegionKind, RegisterRule};
use super::system::{self, System};
use super::timing::TimingConfig;

/// Granularity of the routing table: one byte per 16 KB of the address space.
const PAGE_SHIFT: u32 = 14;

/// A block of memory that the core reads, writes and executes.
pub(super) struct Block {
    base: u32,
    data: Vec<u8>,
    kind: RegionKind,
    /// For each halfword, the slot of its decoded instruction, or 0; empty until the first
    /// instruction is fetched from here.
    decoded: Vec<u32>,
}

impl Block {
    /// Forgets the decoded instructions that overlap `offset..offset + length`; true if there
    /// were any.
    #[cold]
    fn forget_decoded(&mut self, offset: usize, length: usize) -> bool {
        // An instruction that starts in the halfword before may reach into this one.
        let first = (offset / 2).saturating_sub(1);
        let last = ((offset + length - 1) / 2).min(self.decoded.len() - 1);
        let entries = &mut self.decoded[first..=last];
        let any = entries.iter().any(|&slot| slot != 0);
        entries.fill(0);
        any
    }
}

/// Peripheral registers as plain words.
struct Peripheral {
    base: u32,
    words: Vec<u32>,
}

/// What a data access costs depends on where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route {
    Memory(RegionKind),
    /// The private peripheral bus inside the core.
    System,
    /// Everything else that answers: peripherals on AHB and APB.
    Device,
}

/// The address space.
pub(super) struct Bus {
    /// Block number per page; 0 is an empty block.
    pages: Vec<u8>,
    blocks: Vec<Block>,
    peripherals: Vec<Peripheral>,
    rules: Vec<RegisterRule>,
    /// Registers of the core itself.
    pub system: System,
    /// Cycles so far, for the counters that firmware reads; kept by the run loop.
    pub now: u64,
    /// 3 while CCR.UNALIGN_TRP is set, else 0: the low address bits that must be clear.
    alignment: u32,
    generation: u32,
}

impl Bus {
    pub fn new(map: &MemoryMap, config: &TimingConfig) -> Self {
        let mut bus = Self {
            pages: vec![0; 1 << (32 - PAGE_SHIFT)],
            blocks: vec![Block {
                base: 0,
                data: Vec::new(),
                kind: RegionKind::Peripheral,
                decoded: Vec::new(),
            }],
            peripherals: Vec::new(),
            rules: map.rules.clone(),
            system: System::new(map.core, config),
            now: 0,
            alignment: 0,
            generation: 0,
        };
        for region in &map.regions {
            if region.kind == RegionKind::Peripheral {
                let words = vec![0; region.size as usize / 4];
                bus.peripherals.push(Peripheral {
                    base: region.base,
                    words,
                });
                continue;
            }
            let number = bus.blocks.len() as u8;
            let first = region.base >> PAGE_SHIFT;
            let last = (region.base + (region.size - 1)) >> PAGE_SHIFT;
            for page in first..=last {
                debug_assert_eq!(bus.pages[page as usize], 0, "{} overlaps", region.name);
                bus.pages[page as usize] = number;
            }
            bus.blocks.push(Block {
                base: region.base,
                data: vec![region.fill; region.size as usize],
                kind: region.kind,
                decoded: Vec::new(),
            });
        }
        for rule in &map.rules {
            if let RegisterRule::Reset { address, value } = *rule
                && let Some(word) = bus.peripheral_word(address)
            {
                *word = value;
            }
        }
        bus
    }

    fn peripheral_word(&mut self, address: u32) -> Option<&mut u32> {
        self.peripherals
            .iter_mut()
            .find_map(|p| p.words.get_mut((address.wrapping_sub(p.base) / 4) as usize))
    }

    fn block_number(&self, address: u32) -> usize {
        self.pages[(address >> PAGE_SHIFT) as usize].into()
    }

    /// The block that holds `address` and the offset in it.
    #[inline(always)]
    fn locate(&self, address: u32) -> (&Block, usize) {
        let block = &self.blocks[self.block_number(address)];
        (block, address.wrapping_sub(block.base) as usize)
    }

    /// Where an access to `address` goes.
    #[inline(always)]
    pub fn route(&self, address: u32) -> Route {
        match self.block_number(address) {
            0 if address >> 20 == system::BASE >> 20 => Route::System,
            0 => Route::Device,
            n => Route::Memory(self.blocks[n].kind),
        }
    }

    /// The kind of memory at `address`, if it is memory.
    pub fn kind(&self, address: u32) -> Option<RegionKind> {
        match self.route(address) {
            Route::Memory(kind) => Some(kind),
            Route::System | Route::Device => None,
        }
    }

    #[inline(always)]
    pub fn read32(&mut self, address: u32) -> Result<u32, FaultKind> {
        let (block, at) = self.locate(address);
        match block.data.get(at..at.wrapping_add(4)) {
            Some(bytes) if address & self.alignment == 0 => {
                Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            _ => self.read_slow(address, 4),
        }
    }

    #[inline(always)]
    pub fn read16(&mut self, address: u32) -> Result<u32, FaultKind> {
        let (block, at) = self.locate(address);
        match block.data.get(at..at.wrapping_add(2)) {
            Some(bytes) if address & self.alignment & 1 == 0 => {
                Ok(u16::from_le_bytes([bytes[0], bytes[1]]).into())
            }
            _ => self.read_slow(address, 2),
        }
    }

    #[inline(always)]
    pub fn read8(&mut self, address: u32) -> Result<u32, FaultKind> {
        let (block, at) = self.locate(address);
        match block.data.get(at) {
            Some(byte) => Ok((*byte).into()),
            None => self.read_slow(address, 1),
        }
    }

    /// Stores the low `N` bytes of `value`.
    #[inline(always)]
    pub fn write<const N: usize>(&mut self, address: u32, value: u32) -> Result<(), FaultKind> {
        let number = self.block_number(address);
        let block = &mut self.blocks[number];
        let at = address.wrapping_sub(block.base) as usize;
        match block.data.get_mut(at..at.wrapping_add(N)) {
            Some(bytes)
                if block.kind != RegionKind::Flash
                    && address & self.alignment & (N as u32 - 1) == 0 =>
            {
                bytes.copy_from_slice(&value.to_le_bytes()[..N]);
                if !block.decoded.is_empty() && block.forget_decoded(at, N) {
                    self.generation = self.generation.wrapping_add(1);
                }
                Ok(())
            }
            _ => self.write_slow(address, value, N as u32),
        }
    }

    #[cold]
    fn read_slow(&mut self, address: u32, size: u32) -> Result<u32, FaultKind> {
        self.check_alignment(address, size)?;
        let aligned = address & !3;
        let word = if address >> 20 == system::BASE >> 20 {
            self.system.read(aligned, self.now)?
        } else {
            self.read_peripheral(aligned).ok_or(FaultKind::Unmapped {
                address,
                access: "read",
            })?
        };
        let mask = u32::MAX >> (32 - 8 * size);
        Ok(word >> (8 * (address & 3)) & mask)
    }

    #[cold]
    fn write_slow(&mut self, address: u32, value: u32, size: u32) -> Result<(), FaultKind> {
        if self.kind(address) == Some(RegionKind::Flash) {
            return Err(FaultKind::WriteToFlash { address });
        }
        self.check_alignment(address, size)?;
        let aligned = address & !3;
        let shift = 8 * (address & 3);
        let mask = (u32::MAX >> (32 - 8 * size)) << shift;
        let merge = |old: u32| old & !mask | value << shift & mask;
        if address >> 20 == system::BASE >> 20 {
            let old = if size == 4 {
                0
            } else {
                self.system.read(aligned, self.now)?
            };
            self.system.write(aligned, merge(old), self.now)?;
            self.alignment = if self.system.traps_unaligned() { 3 } else { 0 };
            return Ok(());
        }
        match self.peripheral_word(aligned) {
            Some(word) => {
                *word = merge(*word);
                Ok(())
            }
            None => Err(FaultKind::Unmapped {
                address,
                access: "write",
            }),
        }
    }

    /// Accesses outside one block of memory, or under CCR.UNALIGN_TRP, must be aligned.
    fn check_alignment(&self, address: u32, size: u32) -> Result<(), FaultKind> {
        match address & (size - 1) {
            0 => Ok(()),
            _ => Err(FaultKind::Unaligned { address }),
        }
    }

    /// The word at a peripheral address with the map's rules applied.
    fn read_peripheral(&mut self, address: u32) -> Option<u32> {
        let mut value = *self.peripheral_word(address)?;
        for index in 0..self.rules.len() {
            match self.rules[index] {
                RegisterRule::ReadsSet { address: at, bits } if at == address => value |= bits,
                RegisterRule::Follows {
                    status,
                    control,
                    bits,
                    shift,
                } if status == address => {
                    let field = self.peripheral_word(control).map_or(0, |word| *word & bits);
                    value = value & !(bits << shift) | field << shift;
                }
                _ => {}
            }
        }
        Some(value)
    }

    /// Memory contents for the debugger and the loader: no rules, no write protection.
    pub fn bytes(&self, address: u32, length: usize) -> Option<&[u8]> {
        let (block, at) = self.locate(address);
        block.data.get(at..at.checked_add(length)?)
    }

    /// Writes memory as the debugger does. False if the range is not within one region.
    pub fn poke(&mut self, address: u32, bytes: &[u8]) -> bool {
        let number = self.block_number(address);
        let block = &mut self.blocks[number];
        let at = address.wrapping_sub(block.base) as usize;
        let Some(end) = at.checked_add(bytes.len()) else {
            return false;
        };
        let Some(target) = block.data.get_mut(at..end) else {
            return false;
        };
        target.copy_from_slice(bytes);
        if !block.decoded.is_empty() && !bytes.is_empty() && block.forget_decoded(at, bytes.len()) {
            self.generation = self.generation.wrapping_add(1);
        }
        true
    }

    /// Changes whenever a decoded instruction is forgotten.
    #[inline(always)]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The slot that holds the decoded instruction at `pc`, or 0.
    pub fn decoded_at(&self, pc: u32) -> u32 {
        let (block, at) = self.locate(pc);
        block.decoded.get(at / 2).copied().unwrap_or(0)
    }

    /// Remembers the slot of the decoded instruction at `pc`.
    pub fn set_decoded(&mut self, pc: u32, slot: u32) {
        let number = self.block_number(pc);
        let block = &mut self.blocks[number];
        if block.decoded.is_empty() {
            block.decoded = vec![0; block.data.len() / 2];
        }
        let at = (pc.wrapping_sub(block.base) / 2) as usize;
        if let Some(entry) = block.decoded.get_mut(at) {
            *entry = slot;
        }
    }

    /// Forgets the decoded instruction at `pc`.
    pub fn forget_decoded(&mut self, pc: u32) {
        self.generation = self.generation.wrapping_add(1);
        self.set_decoded(pc, 0);
    }

    /// Forgets every decoded instruction.
    pub fn forget_all_decoded(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        for block in &mut self.blocks {
            block.decoded = Vec::new();
        }
    }

    /// The halfwords at `pc`; the second is 0 where memory ends.
    pub fn fetch(&self, pc: u32) -> Result<(u16, u16), FaultKind> {
        let half = |address: u32| {
            self.bytes(address, 2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
        };
        match half(pc) {
            Some(first) => Ok((first, half(pc.wrapping_add(2)).unwrap_or(0))),
            None if matches!(pc >> 28, 4 | 5 | 0xa..=0xf) => {
                Err(FaultKind::ExecuteNever { address: pc })
            }
            None => Err(FaultKind::Unmapped {
                address: pc,
                access: "execute",
            }),
        }
    }
}
