//! Boards: what a target's memories, clocks and names are.
//!
//! A board is a TOML file in `runtime/boards`, built into nestc.

use serde::{Deserialize, Deserializer};

use crate::diag::{Diagnostic, TARGET_UNKNOWN};
use crate::units::{Bytes, Hertz};

/// Every board file, by name.
const BOARD_FILES: &[(&str, &str)] = &[(
    "stm32h743",
    include_str!("../../runtime/boards/stm32h743.toml"),
)];

/// A board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The name given to `--target`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The chip's name in probe-rs.
    pub probe_rs_chip: String,
    /// The Rust target triple.
    pub rust_target: String,
    /// rustc's `target-cpu`.
    pub rust_target_cpu: String,
    /// Caches.
    pub core: Core,
    /// Clocks.
    pub clock: Clock,
    /// All memories.
    pub memory: Vec<Memory>,
}

/// The core's caches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// Instruction cache.
    #[serde(deserialize_with = "bytes")]
    pub icache_bytes: Bytes,
    /// Data cache.
    #[serde(deserialize_with = "bytes")]
    pub dcache_bytes: Bytes,
}

/// Clocks, as the bench image sets them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The core's.
    pub core_hz: Hertz,
    /// The memory bus's.
    pub bus_hz: Hertz,
    /// Wait states of the flash at that bus clock.
    pub flash_wait_states: u32,
}

/// One memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Its name in linker scripts.
    pub name: String,
    /// What it serves for.
    pub kind: MemoryKind,
    /// First address.
    pub origin: u32,
    /// Size.
    #[serde(deserialize_with = "bytes")]
    pub bytes: Bytes,
}

/// What a memory serves for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryKind {
    /// Code and constants, kept without power.
    Flash,
    /// Tightly coupled with instruction fetch.
    Itcm,
    /// Tightly coupled with the load/store unit.
    Dtcm,
    /// Cached RAM on the main bus.
    Sram,
    /// RAM that emitted images leave alone.
    Other,
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    u64::deserialize(deserializer).map(Bytes)
}

impl Memory {
    /// The address behind the last.
    pub fn end(&self) -> u64 {
        u64::from(self.origin) + self.bytes.0
    }
    /// Whether `address` lies in it.
    pub fn contains(&self, address: u64) -> bool {
        (u64::from(self.origin)..self.end()).contains(&address)
    }
}

impl Board {
    /// The board of that name.
    ///
    /// # Errors
    /// `E601` if there is none; the hint lists those there are.
    pub fn named(name: &str) -> Result<Board, Diagnostic> {
        match BOARD_FILES.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Ok(parse(text)),
            None => Err(Diagnostic::new(
                TARGET_UNKNOWN,
                "--target",
                format!("`{name}` is not a known target"),
                format!("use one of: {}", Board::names().join(", ")),
            )),
        }
    }

    /// All boards' names.
    pub fn names() -> Vec<&'static str> {
        BOARD_FILES.iter().map(|(name, _)| *name).collect()
    }

    /// All boards.
    pub fn all() -> Vec<Board> {
        BOARD_FILES.iter().map(|(_, text)| parse(text)).collect()
    }

    /// The first memory of a kind; every board has one of each kind but `Other`.
    ///
    /// # Panics
    /// If a built-in board file lacks it; a test rules that out.
    pub fn memory(&self, kind: MemoryKind) -> &Memory {
        self.memory
            .iter()
            .find(|m| m.kind == kind)
            .unwrap_or_else(|| panic!("board {} has no {kind:?}", self.name))
    }

    /// The memory an address lies in.
    pub fn memory_at(&self, address: u64) -> Option<&Memory> {
        self.memory.iter().find(|m| m.contains(address))
    }
}

/// A built-in board file.
fn parse(text: &str) -> Board {
    toml::from_str(text).unwrap_or_else(|e| panic!("built-in board file: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_file_is_whole() {
        for (name, _) in BOARD_FILES {
            let board = Board::named(name).unwrap();
            assert_eq!(board.name, *name);
            for kind in [
                MemoryKind::Flash,
                MemoryKind::Itcm,
                MemoryKind::Dtcm,
                MemoryKind::Sram,
            ] {
                assert!(board.memory(kind).bytes.0 > 0);
            }
            for (i, a) in board.memory.iter().enumerate() {
                for b in &board.memory[i + 1..] {
                    assert!(
                        a.end() <= b.origin.into() || b.end() <= a.origin.into(),
                        "{} and {} overlap",
                        a.name,
                        b.name
                    );
                }
            }
        }
    }

    #[test]
    fn the_h743_has_its_data_sheet_memories() {
        let board = Board::named("stm32h743").unwrap();
        let of = |kind| {
            let m = board.memory(kind);
            (m.origin, m.bytes.0)
        };
        assert_eq!(of(MemoryKind::Flash), (0x0800_0000, 2 << 20));
        assert_eq!(of(MemoryKind::Itcm), (0, 64 << 10));
        assert_eq!(of(MemoryKind::Dtcm), (0x2000_0000, 128 << 10));
        assert_eq!(of(MemoryKind::Sram), (0x2400_0000, 512 << 10));
        assert_eq!(board.clock.core_hz, Hertz(480_000_000));
        assert_eq!(board.memory_at(0x2407_ffff).unwrap().name, "AXISRAM");
        assert_eq!(board.memory_at(0x2408_0000), None);
    }

    #[test]
    fn an_unknown_board_lists_the_known_ones() {
        let error = Board::named("stm32f103").unwrap_err();
        assert_eq!(error.code, TARGET_UNKNOWN);
        assert!(error.hint.contains("stm32h743"), "{}", error.hint);
    }
}
