//! ELF images: what goes where in memory, and what addresses are called.

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, LittleEndian, Object, ObjectSymbol, SymbolKind, elf};

use crate::diag::{BAD_ELF, Diagnostic, Result};

/// A segment to load at its physical address.
pub(super) struct Segment<'a> {
    pub address: u32,
    pub bytes: &'a [u8],
}

/// A loadable image.
pub(super) struct Image<'a> {
    pub segments: Vec<Segment<'a>>,
    pub symbols: Symbols,
}

/// Reads an ELF file for 32-bit little-endian Arm.
pub(super) fn parse(file: &[u8]) -> Result<Image<'_>> {
    let bad = |message: String| {
        Diagnostic::new(
            BAD_ELF,
            "ELF",
            message,
            "give the ELF file that cargo built for the target",
        )
    };
    let header = elf::FileHeader32::<Endianness>::parse(file)
        .map_err(|e| bad(format!("not an ELF file of 32 bits: {e}")))?;
    let endian = header.endian().map_err(|e| bad(e.to_string()))?;
    let machine = header.e_machine(endian);
    if machine != elf::EM_ARM || endian != Endianness::Little {
        let message = format!(
            "an ELF file for machine {machine} in {endian:?} byte order, where Arm is {} in Little",
            elf::EM_ARM
        );
        return Err(bad(message).into());
    }
    let headers = header
        .program_headers(endian, file)
        .map_err(|e| bad(format!("program headers: {e}")))?;
    let mut segments = Vec::new();
    for (index, program) in headers.iter().enumerate() {
        if program.p_type(endian) != elf::PT_LOAD || program.p_filesz(endian) == 0 {
            continue;
        }
        let bytes = program
            .data(endian, file)
            .map_err(|()| bad(format!("segment {index} lies outside the file")))?;
        segments.push(Segment {
            address: program.p_paddr(endian),
            bytes,
        });
    }
    if segments.is_empty() {
        return Err(bad("no segment to load".to_owned()).into());
    }
    let object = object::read::elf::ElfFile32::<LittleEndian>::parse(file)
        .map_err(|e| bad(e.to_string()))?;
    Ok(Image {
        segments,
        symbols: Symbols::of(&object),
    })
}

/// Names of addresses.
#[derive(Default)]
pub(super) struct Symbols {
    /// Sorted by address; bit 0 (Thumb) cleared.
    by_address: Vec<(u32, String)>,
}

impl Symbols {
    fn of(object: &object::read::elf::ElfFile32<'_, LittleEndian>) -> Self {
        let mut by_address: Vec<(u32, String)> = object
            .symbols()
            .filter(|s| s.is_definition() || s.kind() == SymbolKind::Unknown && !s.is_undefined())
            .filter_map(|s| {
                let name = s.name().ok()?;
                // `$t`, `$d` mark code and data for disassemblers.
                let useful = !name.is_empty() && !name.starts_with('$') && !name.starts_with(".L");
                let address = s.address() as u32;
                let address = if s.kind() == SymbolKind::Text {
                    address & !1
                } else {
                    address
                };
                useful.then(|| (address, name.to_owned()))
            })
            .collect();
        by_address.sort();
        Self { by_address }
    }

    /// The address called `name`.
    pub fn address(&self, name: &str) -> Option<u32> {
        self.by_address
            .iter()
            .find(|(_, n)| n == name)
            .map(|(address, _)| *address)
    }

    /// The last symbol at or below `address` with the distance to it; empty without one.
    pub fn nearest(&self, address: u32) -> String {
        let end = self.by_address.partition_point(|(a, _)| *a <= address);
        match end.checked_sub(1).map(|last| &self.by_address[last]) {
            None => String::new(),
            Some((at, name)) if *at == address => name.clone(),
            Some((at, name)) => format!("{name}+{:#x}", address - at),
        }
    }
}
