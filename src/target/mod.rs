//! Boards: what a target's memories, clocks and names are.
//!
//! A board is a TOML file in `runtime/boards`, built into nestc.

use serde::{Deserialize, Deserializer};

use crate::diag::{Diagnostic, TARGET_UNKNOWN};
use crate::units::{Bytes, Hertz};

/// Every board file, by name.
const BOARD_FILES: &[(&str, &str)] = &[
    (
        "stm32h743",
        include_str!("../../runtime/boards/stm32h743.toml"),
    ),
    (
        "stm32h747",
        include_str!("../../runtime/boards/stm32h747.toml"),
    ),
    (
        "stm32h7a3",
        include_str!("../../runtime/boards/stm32h7a3.toml"),
    ),
    (
        "stm32f746",
        include_str!("../../runtime/boards/stm32f746.toml"),
    ),
    (
        "stm32f767",
        include_str!("../../runtime/boards/stm32f767.toml"),
    ),
    (
        "stm32f446",
        include_str!("../../runtime/boards/stm32f446.toml"),
    ),
    (
        "stm32l4r5",
        include_str!("../../runtime/boards/stm32l4r5.toml"),
    ),
    (
        "mps2-an500",
        include_str!("../../runtime/boards/mps2-an500.toml"),
    ),
    (
        "mps2-an386",
        include_str!("../../runtime/boards/mps2-an386.toml"),
    ),
];

/// A board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The name given to `--target`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The chip's name in probe-rs; none for boards that exist in software only.
    pub probe_rs_chip: Option<String>,
    /// The Rust target triple.
    pub rust_target: String,
    /// rustc's `target-cpu`.
    pub rust_target_cpu: String,
    /// rustc's `target-feature`, where the core has less than `target-cpu` allows.
    pub rust_target_features: Option<String>,
    /// What the core is.
    pub core: Core,
    /// Clocks.
    pub clock: Clock,
    /// All memories.
    pub memory: Vec<Memory>,
    /// How a debug probe knows the chip; boards without are told by their core alone.
    pub debug: Option<Debug>,
}

/// Words by which a debug probe tells this chip from others, and a locked one from an open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debug {
    /// Where the chip's identification stands.
    pub id_address: u32,
    /// The bits that count.
    pub id_mask: u32,
    /// What they are.
    pub id: u32,
    /// Where the read-out protection stands.
    pub lock_address: u32,
    /// The bits that count.
    pub lock_mask: u32,
    /// What they are without protection.
    pub lock_open: u32,
}

/// The core and its caches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// Which core.
    pub kind: CoreKind,
    /// What its floating-point unit computes.
    pub fpu: Fpu,
    /// Instruction cache; 0 without.
    #[serde(deserialize_with = "bytes", default)]
    pub icache_bytes: Bytes,
    /// Data cache; 0 without.
    #[serde(deserialize_with = "bytes", default)]
    pub dcache_bytes: Bytes,
}

/// A processor core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum CoreKind {
    /// Arm Cortex-M7.
    #[serde(rename = "cortex-m7")]
    CortexM7,
    /// Arm Cortex-M4.
    #[serde(rename = "cortex-m4")]
    CortexM4,
}

/// Precision of a floating-point unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fpu {
    /// `f32`.
    Single,
    /// `f32` and `f64`.
    Double,
}

/// Clocks, as the bench image sets them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// How the bench image sets them; nothing to set without.
    pub set_up: Option<ClockSetUp>,
    /// The core's.
    pub core_hz: Hertz,
    /// The memory bus's.
    pub bus_hz: Hertz,
    /// Wait states of the flash at that bus clock.
    pub flash_wait_states: u32,
}

/// A sequence of register accesses that brings a chip from reset to its full clock, from the
/// internal oscillator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockSetUp {
    /// 480 MHz.
    Stm32h743,
    /// 480 MHz, the core's supply from the LDO.
    Stm32h747,
    /// 280 MHz.
    Stm32h7a3,
    /// 216 MHz with over-drive.
    Stm32f7,
    /// 180 MHz with over-drive.
    Stm32f446,
    /// 120 MHz, range 1 boost mode.
    Stm32l4r5,
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
    /// What turns its clock on, if reset leaves it off.
    pub enable: Option<Enable>,
}

/// Bits of a register that must be set before a memory answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enable {
    /// The register's address.
    pub register: u32,
    /// The bits.
    pub bits: u32,
}

/// What a memory serves for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryKind {
    /// Code and constants, kept without power. Every board has one.
    Flash,
    /// Tightly coupled with instruction fetch.
    Itcm,
    /// Tightly coupled with the load/store unit.
    Dtcm,
    /// RAM on the main bus, behind the caches if there are any. Every board has one.
    Sram,
    /// RAM that emitted images leave alone.
    Other,
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    u64::deserialize(deserializer).map(Bytes)
}

impl CoreKind {
    /// As Arm writes it.
    pub fn name(self) -> &'static str {
        match self {
            CoreKind::CortexM7 => "Cortex-M7",
            CoreKind::CortexM4 => "Cortex-M4",
        }
    }

    /// Whether the emulator knows in how many cycles the core runs code, and not only what the code
    /// computes.
    pub fn has_cycle_model(self) -> bool {
        self == CoreKind::CortexM7
    }
}

impl Core {
    /// Whether there are caches to turn on.
    pub fn has_caches(&self) -> bool {
        self.icache_bytes.0 + self.dcache_bytes.0 > 0
    }
}

impl ClockSetUp {
    /// The function of the crate `nest-device`.
    pub fn function(self) -> &'static str {
        match self {
            ClockSetUp::Stm32h743 => "stm32h743::start_480_mhz",
            ClockSetUp::Stm32h747 => "stm32h747::start_480_mhz",
            ClockSetUp::Stm32h7a3 => "stm32h7a3::start_280_mhz",
            ClockSetUp::Stm32f7 => "stm32f7::start_216_mhz",
            ClockSetUp::Stm32f446 => "stm32f446::start_180_mhz",
            ClockSetUp::Stm32l4r5 => "stm32l4r5::start_120_mhz",
        }
    }
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

    /// The first memory of a kind, if there is one.
    pub fn memory(&self, kind: MemoryKind) -> Option<&Memory> {
        self.memory.iter().find(|m| m.kind == kind)
    }

    /// What the image is written into.
    ///
    /// # Panics
    /// If a built-in board file lacks it; a test rules that out.
    pub fn flash(&self) -> &Memory {
        self.needed(MemoryKind::Flash)
    }

    /// The largest RAM on the main bus.
    ///
    /// # Panics
    /// As [`Board::flash`].
    pub fn sram(&self) -> &Memory {
        let srams = self.memory.iter().filter(|m| m.kind == MemoryKind::Sram);
        srams
            .max_by_key(|m| m.bytes)
            .unwrap_or_else(|| self.needed(MemoryKind::Sram))
    }

    /// Instruction memory, if there is any.
    pub fn itcm(&self) -> Option<&Memory> {
        self.memory(MemoryKind::Itcm)
    }

    /// Tightly coupled data memory, if there is any.
    pub fn dtcm(&self) -> Option<&Memory> {
        self.memory(MemoryKind::Dtcm)
    }

    /// Where stack and ordinary statics lie: the tightly coupled data memory, else the RAM.
    pub fn data(&self) -> &Memory {
        self.dtcm().unwrap_or_else(|| self.sram())
    }

    /// The memory an address lies in.
    pub fn memory_at(&self, address: u64) -> Option<&Memory> {
        self.memory.iter().find(|m| m.contains(address))
    }

    fn needed(&self, kind: MemoryKind) -> &Memory {
        self.memory(kind)
            .unwrap_or_else(|| panic!("board {} has no {kind:?}", self.name))
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
            for memory in [board.flash(), board.sram(), board.data()] {
                assert!(memory.bytes.0 > 0);
            }
            assert_eq!(board.core.kind.name().to_lowercase(), board.rust_target_cpu);
            // The bus clock divides the core's: the timing model counts in both.
            assert!(board.clock.core_hz.0.is_multiple_of(board.clock.bus_hz.0));
            let without_double =
                board.core.kind == CoreKind::CortexM7 && board.core.fpu == Fpu::Single;
            assert_eq!(
                board.rust_target_features.as_deref(),
                without_double.then_some("-fp64")
            );
            let tcm = board.itcm().or(board.dtcm());
            assert!(tcm.is_none() || board.core.kind == CoreKind::CortexM7);
            assert_eq!(board.probe_rs_chip.is_some(), board.debug.is_some());
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

    /// Flash, ITCM, DTCM and SRAM: origin and KiB, from the data sheets' tables of memory and not from
    /// the files.
    #[test]
    fn boards_have_their_data_sheets_memories() {
        type Part = Option<(u32, u64)>;
        let expected: &[(&str, u64, [Part; 4])] = &[
            (
                "stm32h743",
                480,
                [
                    Some((0x0800_0000, 2048)),
                    Some((0, 64)),
                    Some((0x2000_0000, 128)),
                    Some((0x2400_0000, 512)),
                ],
            ),
            (
                "stm32h747",
                480,
                [
                    Some((0x0800_0000, 2048)),
                    Some((0, 64)),
                    Some((0x2000_0000, 128)),
                    Some((0x2400_0000, 512)),
                ],
            ),
            (
                "stm32h7a3",
                280,
                [
                    Some((0x0800_0000, 2048)),
                    Some((0, 64)),
                    Some((0x2000_0000, 128)),
                    Some((0x2400_0000, 256 + 384 + 384)),
                ],
            ),
            (
                "stm32f746",
                216,
                [
                    Some((0x0800_0000, 1024)),
                    Some((0, 16)),
                    Some((0x2000_0000, 64)),
                    Some((0x2001_0000, 240 + 16)),
                ],
            ),
            (
                "stm32f767",
                216,
                [
                    Some((0x0800_0000, 2048)),
                    Some((0, 16)),
                    Some((0x2000_0000, 128)),
                    Some((0x2002_0000, 368 + 16)),
                ],
            ),
            (
                "stm32f446",
                180,
                [
                    Some((0x0800_0000, 512)),
                    None,
                    None,
                    Some((0x2000_0000, 112 + 16)),
                ],
            ),
            (
                "stm32l4r5",
                120,
                [
                    Some((0x0800_0000, 2048)),
                    None,
                    None,
                    Some((0x2000_0000, 192 + 64 + 384)),
                ],
            ),
            (
                "mps2-an500",
                25,
                [
                    Some((0, 4096)),
                    None,
                    Some((0x2000_0000, 4096)),
                    Some((0x6000_0000, 16384)),
                ],
            ),
            (
                "mps2-an386",
                25,
                [Some((0, 4096)), None, None, Some((0x2000_0000, 4096))],
            ),
        ];
        assert_eq!(
            expected.iter().map(|e| e.0).collect::<Vec<_>>(),
            Board::names()
        );
        for (name, mhz, parts) in expected {
            let board = Board::named(name).unwrap();
            let found = [
                MemoryKind::Flash,
                MemoryKind::Itcm,
                MemoryKind::Dtcm,
                MemoryKind::Sram,
            ]
            .map(|kind| board.memory(kind).map(|m| (m.origin, m.bytes.0 / 1024)));
            assert_eq!(found, *parts, "{name}");
            assert_eq!(board.clock.core_hz, Hertz(mhz * 1_000_000), "{name}");
        }
    }

    #[test]
    fn an_address_lies_in_one_memory() {
        let board = Board::named("stm32h743").unwrap();
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
