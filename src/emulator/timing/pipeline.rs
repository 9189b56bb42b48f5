//! The pipeline: in what cycle each retired instruction issued.
//!
//! Instructions issue in order, at most two a cycle (the *older* and the *younger*). Each waits
//! until its operands are ready where it takes them up, and for its bytes to be fetched; the
//! younger also needs that no unit is wanted twice. The model is told each instruction after it
//! has executed, so branches and addresses are known and nothing is speculated.

use super::cache::{Cache, LINE};
use super::class::{Branch, Class, Early, LATENCIES, Latency, NOWHERE, row, unit};
use super::store_buffer::StoreBuffer;
use super::{Counters, TimingConfig};
use crate::emulator::execute::Access;
use crate::emulator::map::RegionKind;
use crate::emulator::memory::{Bus, Route};
use crate::emulator::system::CacheRequest;

/// How one instruction went, beside its class.
pub(in crate::emulator) struct Retired {
    /// Its address.
    pub pc: u32,
    /// The address of the instruction after it.
    pub next: u32,
    /// Inside an IT block.
    pub predicated: bool,
    /// Its condition held.
    pub executed: bool,
    /// Its data access, if it made one.
    pub access: Access,
}

/// Bytes that arrive per fetch.
const FETCH_SHIFT: u32 = 3;

/// No group of bytes is being looked at: after a reset or a mispredicted branch.
const NO_GROUP: u32 = u32::MAX;

/// Predictor entry that no branch has trained yet.
const UNTRAINED: u8 = 4;

/// Ready times after issue: address, ALU, factor, addend for core registers; operand, addend,
/// stored for floating-point ones.
type Offsets = [u64; 4];

/// The model's state.
pub(in crate::emulator) struct Pipeline {
    config: TimingConfig,
    latencies: [Offsets; LATENCIES],
    /// Cycle of the group being issued.
    cycle: u64,
    /// Instructions in the group.
    issued: u8,
    /// The group takes no second instruction.
    closed: bool,
    /// Units the group uses.
    units: u16,
    /// Bank of the group's load.
    load_bank: u32,
    /// Cycle from which each operand can be taken up; see [`row`].
    ready: Box<[u64; 256]>,
    /// Last group of bytes fetched and when it came.
    fetch_group: u32,
    fetch_ready: u64,
    /// Issue cycle of the last VMLA or VFMA, plus the cycles others must keep away.
    float_mac_shadow: u64,
    /// Two-bit counters.
    predictor: Vec<u8>,
    instruction_cache: Cache,
    data_cache: Cache,
    instruction_cache_on: bool,
    data_cache_on: bool,
    store_buffer: StoreBuffer,
    counters: Counters,
}

impl Pipeline {
    pub fn new(config: &TimingConfig) -> Self {
        Self {
            latencies: latencies(config),
            cycle: 0,
            issued: 0,
            closed: false,
            units: 0,
            load_bank: 0,
            ready: Box::new([0; 256]),
            fetch_group: NO_GROUP,
            fetch_ready: 0,
            float_mac_shadow: 0,
            predictor: vec![UNTRAINED; config.predictor_entries.next_power_of_two()],
            instruction_cache: Cache::new(config.instruction_cache),
            data_cache: Cache::new(config.data_cache),
            instruction_cache_on: false,
            data_cache_on: false,
            store_buffer: StoreBuffer::new(config),
            counters: Counters::default(),
            config: config.clone(),
        }
    }

    /// Cycles so far.
    #[inline(always)]
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    #[inline(always)]
    fn ready(&self, index: u8) -> u64 {
        self.ready[usize::from(index)]
    }

    #[inline(always)]
    fn set_core(&mut self, r: u8, cycle: u64, offsets: &Offsets) {
        self.ready[usize::from(row::ADDRESS + r)] = cycle + offsets[0];
        self.ready[usize::from(row::ALU + r)] = cycle + offsets[1];
        self.ready[usize::from(row::FACTOR + r)] = cycle + offsets[2];
        self.ready[usize::from(row::ADDEND + r)] = cycle + offsets[3];
    }

    /// Accounts for one instruction.
    #[inline(always)]
    pub fn retire(&mut self, class: &Class, retired: &Retired, bus: &mut Bus) {
        let fetched = self.fetch(retired.pc, class.length, bus);
        let mut operands = class.sources.iter().fold(0, |t, &s| t.max(self.ready(s)));
        if retired.predicated {
            operands = operands.max(self.ready(row::FLAGS));
        }
        if class.list != 0 && class.units & unit::STORE != 0 {
            operands = operands.max(self.list_ready(class.list));
        }
        if class.after_float_mac {
            operands = operands.max(self.float_mac_shadow);
        }
        self.counters.dependency_stalls += operands.saturating_sub(self.cycle + 1);

        let younger = self.issue(class, operands.max(fetched), retired.access);
        let cycle = self.cycle;
        let extra = if retired.executed {
            u64::from(class.extra) + self.access(class, retired.access, bus)
        } else {
            0
        };
        self.write_results(class, cycle, extra, younger);
        if extra > 0 {
            self.cycle += extra;
            self.closed = true;
        }
        if class.branch != Branch::No {
            self.branch(class, retired, cycle);
        }
    }

    /// Places the instruction in the current group or opens a new one; true if it is the
    /// younger of a pair.
    #[inline(always)]
    fn issue(&mut self, class: &Class, earliest: u64, access: Access) -> bool {
        let bank = access.address >> 2 & 1;
        let load = class.units & unit::LOAD != 0;
        if earliest <= self.cycle && self.issued == 1 && !self.closed {
            let conflict = self.units & class.conflicts != 0
                || (class.units & unit::FLOAT_MOVE != 0 && self.cycle < self.float_mac_shadow);
            if !conflict {
                let banks_clash = load
                    && self.units & unit::LOAD != 0
                    && self.config.load_banks
                    && bank == self.load_bank;
                if !banks_clash {
                    self.issued = 2;
                    self.units |= class.units;
                    if load {
                        self.load_bank = bank;
                    }
                    self.counters.dual_issued += 1;
                    return true;
                }
                self.counters.bank_conflicts += 1;
            }
        }
        let free = if self.issued > 0 || self.closed {
            self.cycle + 1
        } else {
            self.cycle
        };
        self.cycle = free.max(earliest);
        self.issued = 1;
        self.closed = class.units & unit::ALONE != 0;
        self.units = class.units;
        self.load_bank = bank;
        false
    }

    /// Notes when the results can be taken up.
    #[inline(always)]
    fn write_results(&mut self, class: &Class, cycle: u64, extra: u64, younger: bool) {
        let early = match class.early {
            Early::Never => false,
            Early::Constant => !younger,
            Early::Older => !younger && self.early_operands(class, cycle),
            Early::Shifter => self.units & unit::SHIFT == 0 && self.early_operands(class, cycle),
        };
        let latency = if early {
            Latency::EarlyAlu
        } else {
            class.latency
        };
        let offsets = self.latencies[latency as usize];
        let done = cycle + extra;
        self.set_core(class.results[0], done, &offsets);
        if class.results[1] != NOWHERE {
            self.set_core(class.results[1], done, &offsets);
        }
        if class.sets_flags {
            self.ready[usize::from(row::FLAGS)] = done + 1;
        }
        if class.base != NOWHERE {
            self.set_core(class.base, cycle, &[1, 1, 1, 0]);
        }
        if class.list != 0 && class.units & unit::LOAD != 0 {
            self.write_list(class.list, cycle);
        }
        if class.float_results > 0 {
            for k in 0..class.float_results {
                let r = (class.float_result + k) & 31;
                self.ready[usize::from(row::FLOAT + r)] = done + offsets[0];
                self.ready[usize::from(row::FLOAT_ADDEND + r)] = done + offsets[1];
                self.ready[usize::from(row::FLOAT_STORE + r)] = done + offsets[2];
            }
            if class.units & unit::FLOAT_MAC != 0 {
                self.float_mac_shadow =
                    cycle + 1 + u64::from(self.config.float_after_multiply_accumulate);
            }
        }
        if class.sets_fpscr {
            self.ready[usize::from(row::FPSCR)] = done + u64::from(self.config.float_to_operand);
        }
    }

    #[inline(always)]
    fn early_operands(&self, class: &Class, cycle: u64) -> bool {
        class.early_sources.iter().all(|&s| self.ready(s) <= cycle)
    }

    fn list_ready(&self, mut list: u16) -> u64 {
        let mut time = 0;
        while list != 0 {
            time = time.max(self.ready(row::ADDEND + list.trailing_zeros() as u8));
            list &= list - 1;
        }
        time
    }

    /// LDM: two registers arrive per cycle.
    fn write_list(&mut self, mut list: u16, cycle: u64) {
        let offsets = self.latencies[Latency::LoadWord as usize];
        let mut position = 0;
        while list != 0 {
            self.set_core(list.trailing_zeros() as u8, cycle + position / 2, &offsets);
            position += 1;
            list &= list - 1;
        }
    }

    /// Cycle in which the bytes of the instruction are there.
    #[inline(always)]
    fn fetch(&mut self, pc: u32, length: u8, bus: &Bus) -> u64 {
        let last = (pc + u32::from(length) - 1) >> FETCH_SHIFT;
        if last != self.fetch_group {
            self.fetch_until(pc >> FETCH_SHIFT, last, bus);
        }
        self.fetch_ready
    }

    #[inline(never)]
    fn fetch_until(&mut self, first: u32, last: u32, bus: &Bus) {
        if self.fetch_group == NO_GROUP {
            self.fetch_group = first.wrapping_sub(1);
            self.fetch_ready = self.cycle;
        }
        while self.fetch_group != last {
            let follows = self.fetch_group == first || self.fetch_group.wrapping_add(1) == first;
            self.fetch_group = if follows {
                self.fetch_group.wrapping_add(1)
            } else {
                first
            };
            let ahead = self.cycle.saturating_sub(self.config.fetch_ahead.into());
            self.fetch_ready = (self.fetch_ready + 1).max(ahead);
            let address = self.fetch_group << FETCH_SHIFT;
            if let Some(kind @ (RegionKind::Flash | RegionKind::Sram)) = bus.kind(address) {
                self.fetch_ready += self.fetch_cost(address, kind);
            }
        }
    }

    fn fetch_cost(&mut self, address: u32, kind: RegionKind) -> u64 {
        let flash = kind == RegionKind::Flash;
        let c = &self.config;
        if !self.instruction_cache_on {
            return if flash {
                c.flash_uncached
            } else {
                c.sram_uncached
            }
            .into();
        }
        if self.instruction_cache.access(address, false).hit {
            return 0;
        }
        self.counters.instruction_cache_misses += 1;
        if flash {
            c.flash_line_fill
        } else {
            c.sram_line_fill
        }
        .into()
    }

    /// Cycles that a data access holds the pipeline beyond its first.
    #[inline(always)]
    fn access(&mut self, class: &Class, access: Access, bus: &mut Bus) -> u64 {
        if class.units & (unit::LOAD | unit::STORE) == 0 {
            return 0;
        }
        let store = class.units & unit::STORE != 0;
        let mut extra = u64::from(access.words.div_ceil(2).saturating_sub(1));
        if access.words > 1 {
            extra += u64::from(self.config.multiple_transfer);
            if store && access.words.is_multiple_of(2) && access.address & 4 != 0 {
                extra += u64::from(self.config.store_multiple_unaligned);
            }
        }
        match bus.route(access.address) {
            Route::Memory(RegionKind::Itcm | RegionKind::Dtcm) => {}
            Route::Memory(kind) => extra += self.cached_access(access, store, kind),
            Route::System => {
                extra += u64::from(self.config.system_access);
                if store && let Some(request) = bus.system.cache_request.take() {
                    self.serve(request);
                }
                return extra;
            }
            Route::Device => return extra + u64::from(self.config.device_access),
        }
        let unaligned = access.address & u32::from(class.alignment) != 0;
        if store {
            let narrow = unaligned || (access.words == 1 && class.alignment != 3);
            if narrow || self.store_buffer.busy(self.cycle) {
                extra += self.buffer_store(access.address, narrow, unaligned);
            }
        } else if unaligned {
            extra += u64::from(self.config.unaligned_load);
        }
        extra
    }

    #[inline(never)]
    fn buffer_store(&mut self, address: u32, narrow: bool, unaligned: bool) -> u64 {
        let cost = if narrow {
            self.config.narrow_store.into()
        } else {
            1
        };
        let stall = self.store_buffer.push(self.cycle, address, unaligned, cost);
        self.counters.store_buffer_stalls += stall;
        stall
    }

    fn cached_access(&mut self, access: Access, store: bool, kind: RegionKind) -> u64 {
        let flash = kind == RegionKind::Flash;
        let c = &self.config;
        if !self.data_cache_on {
            self.counters.data_cache_misses += 1;
            let cost = match (store, flash) {
                (true, _) => c.store_miss,
                (false, true) => c.flash_uncached,
                (false, false) => c.sram_uncached,
            };
            return cost.into();
        }
        let mut extra = 0;
        let end = access.address.saturating_add(access.words.max(1) * 4 - 4);
        let mut line = access.address & !(LINE - 1);
        while line <= end {
            let lookup = self.data_cache.access(line, store);
            if !lookup.hit {
                self.counters.data_cache_misses += 1;
                extra += u64::from(match (store, flash) {
                    (true, _) => c.store_miss,
                    (false, true) => c.flash_line_fill,
                    (false, false) => c.sram_line_fill,
                });
            }
            if lookup.evicted_dirty {
                self.counters.dirty_evictions += 1;
                extra += u64::from(c.dirty_eviction);
            }
            line += LINE;
        }
        extra
    }

    #[cold]
    fn serve(&mut self, request: CacheRequest) {
        match request {
            CacheRequest::Enable { instruction, data } => {
                self.instruction_cache_on = instruction;
                self.data_cache_on = data;
            }
            CacheRequest::InvalidateInstruction => self.instruction_cache.clear(),
            CacheRequest::InvalidateInstructionLine(address) => {
                self.instruction_cache.maintain_line(address, true);
            }
            CacheRequest::DataLine {
                address,
                invalidate,
            } => {
                self.data_cache.maintain_line(address, invalidate);
            }
            CacheRequest::DataSetWay {
                operand,
                invalidate,
            } => {
                self.data_cache.maintain_set_way(operand, invalidate);
            }
        }
    }

    /// What a change of control flow costs.
    #[inline(always)]
    fn branch(&mut self, class: &Class, retired: &Retired, issued: u64) {
        let taken = retired.next != retired.pc.wrapping_add(class.length.into());
        if class.branch == Branch::Conditional || retired.predicated {
            let backward = class.target < retired.pc;
            if self.predict(retired.pc, taken, backward) != taken {
                self.counters.mispredicts += 1;
                let early_flags = self.ready(row::FLAGS) + 2 <= issued;
                let penalty = if early_flags {
                    self.config.mispredict_early_flags
                } else {
                    self.config.mispredict
                };
                self.cycle += u64::from(penalty) - 1;
                self.closed = true;
                self.fetch_group = NO_GROUP;
                self.fetch_ready = self.cycle;
                return;
            }
        }
        if taken {
            if class.branch == Branch::Indirect {
                self.cycle += u64::from(self.config.indirect_branch);
                self.closed = true;
            }
            self.closed |= !self.config.pair_across_taken_branch;
        }
    }

    /// The predictor's answer, and its training. An untrained branch is predicted taken if it
    /// goes backwards.
    #[inline(always)]
    fn predict(&mut self, pc: u32, taken: bool, backward: bool) -> bool {
        let mask = self.predictor.len() - 1;
        let counter = &mut self.predictor[(pc >> 1) as usize & mask];
        let state = match *counter {
            UNTRAINED if backward => 2,
            UNTRAINED => 1,
            trained => trained,
        };
        *counter = if taken {
            (state + 1).min(3)
        } else {
            state.saturating_sub(1)
        };
        state >= 2
    }
}

/// The table of latencies, from issue to where a result can be taken up.
fn latencies(c: &TimingConfig) -> [Offsets; LATENCIES] {
    let mut table = [[0; 4]; LATENCIES];
    let mut set = |latency: Latency, offsets: [u8; 4]| {
        table[latency as usize] = offsets.map(u64::from);
    };
    // [J]: the early ALU's result reaches the late ALU in the same cycle and the early ALU and
    // the address generator in the next; the late ALU's is a cycle behind.
    set(Latency::EarlyAlu, [1, 0, 1, 0]);
    set(Latency::LateAlu, [2, 1, 1, 0]);
    let multiply = c.multiply_to_alu;
    set(
        Latency::Multiply,
        [multiply + 1, multiply, multiply, c.multiply_to_accumulator],
    );
    // [J]: stored data and accumulators can be loaded in the same cycle (words) or the one before.
    set(
        Latency::LoadWord,
        [
            c.load_word_to_address,
            c.load_word_to_alu,
            c.load_word_to_factor,
            0,
        ],
    );
    set(
        Latency::LoadNarrow,
        [
            c.load_narrow_to_address,
            c.load_narrow_to_alu,
            c.load_narrow_to_factor,
            1,
        ],
    );
    let saturate = c.saturate_to_alu;
    set(Latency::Saturate, [saturate + 1, saturate, saturate, 1]);
    set(Latency::Special, [3, 2, 2, 2]);
    // [J]: one cycle into the late ALU, none into an accumulator.
    set(Latency::FloatToCore, [3, 1, 2, 0]);
    // Operand, addend, stored.
    let (operand, fused) = (c.float_to_operand, c.float_fused_to_factor);
    set(Latency::Float, [operand, c.float_to_addend, 1, 0]);
    set(Latency::FloatFused, [fused, c.float_to_addend, 3, 0]);
    set(Latency::FloatChained, [fused + 1, c.float_to_addend, 4, 0]);
    set(Latency::FloatLoad, [c.float_load, c.float_to_addend, 1, 0]);
    set(Latency::FloatMove, [3, 3, 1, 0]);
    set(Latency::FloatLong, [1, 1, 1, 0]);
    table
}
