//! What users read when an image does not load or firmware faults: recorded in
//! `tests/golden/emulator_errors.txt`.

use nestc::diag::{Diagnostic, Diagnostics};
use nestc::emulator::{Machine, MemoryMap, TimingConfig};
use nestc::units::Instructions;

use crate::golden;

const DTCM: u32 = 0x2000_0000;
const FLASH: u32 = 0x0800_0000;

fn machine() -> Machine {
    Machine::new(MemoryMap::stm32h743(), TimingConfig::functional())
}

/// A minimal Arm ELF with one segment.
fn elf(address: u32, words: &[u32]) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0".to_vec();
    let size = 4 * words.len() as u32;
    for word in [1, 0, 52, 0, 0] {
        file.extend(u32::to_le_bytes(word));
    }
    for half in [52, 32, 1, 40, 0, 0] {
        file.extend(u16::to_le_bytes(half));
    }
    for word in [1, 84, address, address, size, size, 5, 4] {
        file.extend(u32::to_le_bytes(word));
    }
    words
        .iter()
        .for_each(|word| file.extend(word.to_le_bytes()));
    file
}

/// What each refused image is, and the refusal.
fn refused() -> Vec<(&'static str, Diagnostics)> {
    let images: [(&str, Vec<u8>); 5] = [
        ("not an ELF file", b"firmware".to_vec()),
        ("an ELF file for another processor", {
            let mut file = elf(FLASH, &[0, 0]);
            file[18] = 62;
            file
        }),
        ("a segment beyond the end of the file", {
            let mut file = elf(FLASH, &[DTCM + 64, FLASH + 9, 0xe7fe_e7fe]);
            file.truncate(90);
            file
        }),
        (
            "linked for another board",
            elf(0x6000_0000, &[DTCM + 64, 0x6000_0009, 0xe7fe_e7fe]),
        ),
        (
            "a reset vector without the Thumb bit",
            elf(FLASH, &[DTCM + 64, FLASH + 8, 0xe7fe_e7fe]),
        ),
    ];
    images
        .into_iter()
        .map(|(what, file)| {
            let refusal = machine().load_elf(&file).expect_err(what);
            (what, refusal)
        })
        .collect()
}

/// A program's first halfwords, R0, and what it does.
const FAULTS: &[(&str, &[u16], u32)] = &[
    ("executes data", &[0xffff, 0xffff], 0),
    ("reads through a wild pointer", &[0x6801], 0x6000_0000),
    ("overruns the stack", &[0xb500], DTCM),
    ("loads an unaligned pair", &[0xe9d0, 0x1200], DTCM + 2),
    ("writes to flash", &[0x6001], FLASH + 0x100),
    ("branches to a peripheral", &[0x4700], 0x5802_4401),
    ("branches to an even address", &[0x4700], DTCM),
    (
        "computes in floating point before enabling it",
        &[0xee30, 0x0a00],
        0,
    ),
    ("loops for ever", &[0xe7fe], 0),
    ("makes a supervisor call", &[0xdf00], 0),
];

/// The diagnostic of a program that must fault.
fn fault(code: &[u16], r0: u32) -> Diagnostic {
    let mut machine = machine();
    let bytes: Vec<u8> = code.iter().flat_map(|half| half.to_le_bytes()).collect();
    machine.write(0x100, &bytes).expect("ITCM");
    machine.set_register(15, 0x100);
    machine.set_register(13, DTCM);
    machine.set_register(0, r0);
    machine
        .run(Instructions(10))
        .expect_err("the program faults")
        .into()
}

#[test]
fn errors_read_as_recorded() {
    let mut text = String::new();
    for (what, refusal) in refused() {
        text += &format!("# {what}\n{refusal}\n\n");
    }
    for (what, code, r0) in FAULTS {
        text += &format!("# {what}\n{}\n\n", fault(code, *r0));
    }
    golden::check("emulator_errors", &text);
}
