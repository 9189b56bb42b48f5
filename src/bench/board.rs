//! A board in the emulator: its address space, and what the timing model takes its memories to cost.

use super::Settings;
use crate::emulator::{
    CacheGeometry, Core, MemoryMap, Region, RegionKind, Registers, TimingConfig,
};
use crate::target::{Board, ClockSetUp, CoreKind, MemoryKind};

/// The memory map of a board: its memories, and the registers its clock set-up polls.
pub fn memory_map(board: &Board) -> MemoryMap {
    let registers = match board.clock.set_up {
        // Device 0x450, revision V.
        Some(ClockSetUp::Stm32h743 | ClockSetUp::Stm32h747) => Registers::stm32h7(0x2003_6450),
        // Device 0x480.
        Some(ClockSetUp::Stm32h7a3) => Registers::stm32h7(0x1001_6480),
        Some(ClockSetUp::Stm32f7 | ClockSetUp::Stm32f446) => Registers::stm32fx(),
        Some(ClockSetUp::Stm32l4r5) => Registers::stm32l4_plus(),
        None => Registers::default(),
    };
    let memories = board.memory.iter().map(|memory| {
        let kind = match memory.kind {
            // What answers at once costs what tightly coupled memory costs.
            MemoryKind::Flash if board.clock.flash_wait_states == 0 => RegionKind::Itcm,
            MemoryKind::Flash => RegionKind::Flash,
            MemoryKind::Itcm => RegionKind::Itcm,
            MemoryKind::Dtcm => RegionKind::Dtcm,
            MemoryKind::Sram | MemoryKind::Other => RegionKind::Sram,
        };
        let bytes = u32::try_from(memory.bytes.0).unwrap_or(u32::MAX);
        Region::new(&memory.name, memory.origin, bytes, kind)
    });
    MemoryMap {
        core: match board.core.kind {
            CoreKind::CortexM7 => Core::CortexM7,
            CoreKind::CortexM4 => Core::CortexM4,
        },
        regions: memories.chain(registers.regions).collect(),
        rules: registers.rules,
        boot: board.flash().origin,
    }
}

impl Settings {
    /// The cycle model's settings on a board: caches of its size, and memory behind the bus at its
    /// bus clock and wait states.
    pub fn of(board: &Board) -> Self {
        Self {
            main: on_board(TimingConfig::expected(), board),
            pessimistic: on_board(TimingConfig::pessimistic(), board),
        }
    }
}

/// A setting, which is for an STM32H743, on another board. What an access costs beyond the core is a
/// number of bus cycles, the same on every board but for the wait states of flash: an assumption, as the
/// numbers themselves are.
fn on_board(standard: TimingConfig, board: &Board) -> TimingConfig {
    /// Core cycles in a bus cycle, and wait states of flash, that the standard settings hold for.
    const STANDARD: (u64, u64) = (2, 4);
    let ratio = board.clock.core_hz.0 / board.clock.bus_hz.0.max(1);
    let wait_states = u64::from(board.clock.flash_wait_states);
    let core_cycles = |bus_cycles: u64| u8::try_from(bus_cycles * ratio).unwrap_or(u8::MAX);
    let bus = |cycles: u8| core_cycles(u64::from(cycles) / STANDARD.0);
    let flash = |cycles: u8| core_cycles(u64::from(cycles) / STANDARD.0 - STANDARD.1 + wait_states);
    let cache = |standard: CacheGeometry, bytes: u64| match u32::try_from(bytes) {
        Ok(0) | Err(_) => standard,
        Ok(bytes) => CacheGeometry { bytes, ..standard },
    };
    TimingConfig {
        instruction_cache: cache(standard.instruction_cache, board.core.icache_bytes.0),
        data_cache: cache(standard.data_cache, board.core.dcache_bytes.0),
        flash_line_fill: flash(standard.flash_line_fill),
        flash_uncached: flash(standard.flash_uncached),
        sram_line_fill: bus(standard.sram_line_fill),
        sram_uncached: bus(standard.sram_uncached),
        dirty_eviction: bus(standard.dirty_eviction),
        store_miss: bus(standard.store_miss),
        device_access: bus(standard.device_access),
        ..standard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_board_is_the_emulators_own() {
        let board = Board::named("stm32h743").unwrap();
        let mut own = MemoryMap::stm32h743();
        let mut map = memory_map(&board);
        for map in [&mut own, &mut map] {
            map.regions.sort_by_key(|region| region.base);
        }
        assert_eq!(map, own);
        let settings = Settings::of(&board);
        assert_eq!(settings.main, TimingConfig::expected());
        assert_eq!(settings.pessimistic, TimingConfig::pessimistic());
    }

    /// By hand: `bus cycles x ratio`, flash with the difference in wait states.
    #[test]
    fn other_boards_differ_by_clock_ratio_wait_states_and_caches() {
        let of = |name| Settings::of(&Board::named(name).unwrap()).main;
        // 216 MHz on a bus of 216 MHz, 7 wait states: 38 / 2 - 4 + 7 = 22; 26 / 2 = 13.
        let f746 = of("stm32f746");
        assert_eq!((f746.flash_line_fill, f746.sram_line_fill), (22, 13));
        assert_eq!((f746.flash_uncached, f746.sram_uncached), (16, 8));
        assert_eq!(
            (f746.instruction_cache.bytes, f746.data_cache.bytes),
            (4096, 4096)
        );
        assert_eq!((f746.instruction_cache.ways, f746.data_cache.ways), (2, 4));
        // 6 wait states.
        let h7a3 = of("stm32h7a3");
        assert_eq!((h7a3.flash_line_fill, h7a3.sram_line_fill), (21, 13));
        assert_eq!(of("stm32h747"), of("stm32h743"));
        for board in Board::all() {
            let settings = Settings::of(&board);
            for setting in [&settings.main, &settings.pessimistic] {
                assert_eq!(setting.faults(), [], "{}", board.name);
            }
        }
    }

    #[test]
    fn no_two_memories_share_a_block_of_the_address_space() {
        for board in Board::all() {
            let map = memory_map(&board);
            let blocks: Vec<(u32, u32)> = (map.regions.iter())
                .filter(|region| region.kind != RegionKind::Peripheral)
                .map(|region| (region.base >> 14, (region.base + (region.size - 1)) >> 14))
                .collect();
            for (i, a) in blocks.iter().enumerate() {
                for b in &blocks[i + 1..] {
                    assert!(a.1 < b.0 || b.1 < a.0, "{}: {a:?} {b:?}", board.name);
                }
            }
        }
    }
}
