//! Reading an image: what lies where.

use std::collections::BTreeMap;

use object::elf::PT_LOAD;
use object::read::elf::{ElfFile32, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionFlags};

use crate::diag::{Diagnostic, Diagnostics, IMAGE_MALFORMED, Result};
use crate::target::Board;
use crate::units::Bytes;

/// Bytes that are written into flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSegment {
    /// Where they are stored.
    pub address: u32,
    /// What.
    pub bytes: Vec<u8>,
}

/// A section that takes memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// `.text`.
    pub name: String,
    /// Where it lies when the program runs.
    pub address: u32,
    /// Its size.
    pub bytes: Bytes,
}

/// What an ELF file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The reset handler.
    pub entry: u32,
    /// Flash contents by ascending address.
    pub segments: Vec<LoadedSegment>,
    /// Sections that take memory.
    pub sections: Vec<Section>,
    /// Symbols with an address, and their sizes.
    pub symbols: BTreeMap<String, (u32, u32)>,
    /// Version of the weights' layout.
    pub format_version: u32,
    /// All bytes in flash.
    pub flash_total: Bytes,
    /// Kernel code copied into the instruction memory.
    pub itcm_bytes: Bytes,
}

const SHF_ALLOC: u64 = object::elf::SHF_ALLOC as u64;
/// Where the host finds the mailbox.
pub const MAILBOX_SYMBOL: &str = "NEST_MAILBOX";
/// What the image calls after every layer.
pub const MARK_SYMBOL: &str = "nest_layer_mark";

impl Image {
    /// Reads an ELF file made for `board`; `place` names it.
    ///
    /// # Errors
    /// `E610` for everything that is not as nestc relies on it.
    pub fn read(place: &str, elf: &[u8], board: &Board) -> Result<Image> {
        let fault = |message: String| {
            Diagnostic::new(
                IMAGE_MALFORMED,
                place,
                message,
                "compile the model again; if it stays, check the toolchain's linker",
            )
        };
        let file = ElfFile32::<Endianness, _>::parse(elf)
            .map_err(|e| fault(format!("the file is no 32-bit ELF file: {e}")))?;
        let mut faults = Diagnostics::default();
        let flash = board.flash();
        let mut segments = Vec::new();
        for header in file.elf_program_headers() {
            let endian = file.endian();
            if ProgramHeader::p_type(header, endian) != PT_LOAD {
                continue;
            }
            let address = ProgramHeader::p_paddr(header, endian);
            match ProgramHeader::data(header, endian, elf) {
                Ok([]) => {}
                Ok(bytes) => {
                    let end = u64::from(address) + bytes.len() as u64;
                    if !flash.contains(address.into()) || end > flash.end() {
                        faults.push(fault(format!(
                            "bytes {address:#x}..{end:#x} are to be loaded outside the flash"
                        )));
                    }
                    segments.push(LoadedSegment {
                        address,
                        bytes: bytes.to_vec(),
                    });
                }
                Err(()) => faults.push(fault("a segment lies outside the file".into())),
            }
        }
        segments.sort_by_key(|s| s.address);
        let mut sections = Vec::new();
        let mut format_version = None;
        let mut itcm_bytes = Bytes(0);
        for section in file.sections() {
            let (Ok(name), SectionFlags::Elf { sh_flags }) = (section.name(), section.flags())
            else {
                continue;
            };
            if sh_flags & SHF_ALLOC == 0 || section.size() == 0 {
                continue;
            }
            let (start, size) = (section.address(), section.size());
            if board
                .memory_at(start)
                .is_none_or(|m| start + size > m.end())
            {
                faults.push(fault(format!(
                    "section {name} ({start:#x}..{:#x}) lies in no memory of {}",
                    start + size,
                    board.name
                )));
            }
            match name {
                ".nest.version" => {
                    format_version = section
                        .data()
                        .ok()
                        .and_then(|d| d.try_into().ok())
                        .map(u32::from_le_bytes);
                }
                ".nest.itcm" => itcm_bytes = Bytes(size),
                _ => {}
            }
            sections.push(Section {
                name: name.into(),
                address: start as u32,
                bytes: Bytes(size),
            });
        }
        let symbols: BTreeMap<String, (u32, u32)> = file
            .symbols()
            .filter(|s| s.is_definition())
            .filter_map(|s| {
                let name = s.name().ok()?;
                Some((name.to_string(), (s.address() as u32, s.size() as u32)))
            })
            .collect();
        for needed in [MAILBOX_SYMBOL, MARK_SYMBOL] {
            if !symbols.contains_key(needed) {
                faults.push(fault(format!("there is no symbol `{needed}`")));
            }
        }
        if format_version != Some(nest_format::FORMAT_VERSION) {
            faults.push(fault(format!(
                "its weights' layout has version {}, and this nestc writes {}",
                format_version.map_or("none".into(), |v: u32| v.to_string()),
                nest_format::FORMAT_VERSION
            )));
        }
        let flash_total = Bytes(segments.iter().map(|s| s.bytes.len() as u64).sum());
        faults.into_result(Image {
            entry: file.entry() as u32,
            segments,
            sections,
            symbols,
            format_version: format_version.unwrap_or(0),
            flash_total,
            itcm_bytes,
        })
    }

    /// A symbol's address.
    pub fn address_of(&self, symbol: &str) -> Option<u32> {
        self.symbols.get(symbol).map(|&(address, _)| address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_is_told_so() {
        let board = Board::named("stm32h743").unwrap();
        let faults = Image::read("firmware.elf", b"not an ELF file", &board).unwrap_err();
        assert_eq!(faults.0[0].code, IMAGE_MALFORMED);
    }
}
