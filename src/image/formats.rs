//! Flash contents in the forms that flashing tools take.

use std::fmt::Write;

use super::inspect::LoadedSegment;

/// What erased flash reads as.
const ERASED: u8 = 0xff;
/// Data bytes of a HEX record.
const RECORD: usize = 16;

/// The flash from the first to the last byte of the image; gaps as erased flash.
pub fn flat_binary(segments: &[LoadedSegment]) -> Vec<u8> {
    let start = segments.iter().map(|s| s.address).min().unwrap_or(0);
    let mut out = Vec::new();
    for segment in segments {
        let at = (segment.address - start) as usize;
        if out.len() < at + segment.bytes.len() {
            out.resize(at + segment.bytes.len(), ERASED);
        }
        out[at..][..segment.bytes.len()].copy_from_slice(&segment.bytes);
    }
    out
}

/// The flash in Intel HEX: data records with extended linear addresses, the entry point, the end.
/// (Intel, "Hexadecimal Object File Format Specification", revision A, 1988.)
pub fn intel_hex(segments: &[LoadedSegment], entry: u32) -> String {
    let mut out = String::new();
    let mut upper = None;
    for segment in segments {
        let mut address = segment.address;
        let mut rest = segment.bytes.as_slice();
        while !rest.is_empty() {
            if upper != Some(address >> 16) {
                upper = Some(address >> 16);
                record(&mut out, 4, 0, &((address >> 16) as u16).to_be_bytes());
            }
            // A record does not cross a 64 KiB boundary.
            let room = 0x1_0000 - (address & 0xffff) as usize;
            let (data, tail) = rest.split_at(rest.len().min(RECORD).min(room));
            record(&mut out, 0, address as u16, data);
            address += data.len() as u32;
            rest = tail;
        }
    }
    record(&mut out, 5, 0, &entry.to_be_bytes());
    record(&mut out, 1, 0, &[]);
    out
}

/// `:LLAAAATT…CC`.
fn record(out: &mut String, kind: u8, address: u16, data: &[u8]) {
    let [high, low] = address.to_be_bytes();
    let head = [data.len() as u8, high, low, kind];
    let sum = (head.iter().chain(data)).fold(0u8, |sum, b| sum.wrapping_add(*b));
    out.push(':');
    for byte in head.iter().chain(data).chain(&[sum.wrapping_neg()]) {
        // Writing into a string cannot fail.
        let _ = write!(out, "{byte:02X}");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads Intel HEX back: every byte with its address, and the entry point.
    fn parse(hex: &str) -> (Vec<(u32, u8)>, u32) {
        let (mut bytes, mut upper, mut entry, mut ended) = (Vec::new(), 0u32, 0, false);
        for line in hex.lines() {
            assert!(!ended, "a record after the end");
            let line = line
                .strip_prefix(':')
                .expect("a record starts with a colon");
            let raw: Vec<u8> = (0..line.len() / 2)
                .map(|i| u8::from_str_radix(&line[2 * i..][..2], 16).unwrap())
                .collect();
            assert_eq!(raw.iter().fold(0u8, |s, b| s.wrapping_add(*b)), 0, "{line}");
            let data = &raw[4..raw.len() - 1];
            assert_eq!(usize::from(raw[0]), data.len());
            let address = u32::from(u16::from_be_bytes([raw[1], raw[2]]));
            match raw[3] {
                0 => bytes.extend(
                    data.iter()
                        .enumerate()
                        .map(|(i, b)| ((upper << 16) + address + i as u32, *b)),
                ),
                1 => ended = true,
                4 => upper = u32::from(u16::from_be_bytes([data[0], data[1]])),
                5 => entry = u32::from_be_bytes(data.try_into().unwrap()),
                other => panic!("record type {other}"),
            }
        }
        assert!(ended);
        (bytes, entry)
    }

    fn segments() -> Vec<LoadedSegment> {
        vec![
            LoadedSegment {
                address: 0x0800_0000,
                bytes: (0..=20).collect(),
            },
            // Crosses a 64 KiB boundary 3 bytes in.
            LoadedSegment {
                address: 0x0800_fffd,
                bytes: vec![7; 40],
            },
        ]
    }

    #[test]
    fn hex_reads_back_as_it_was() {
        let (bytes, entry) = parse(&intel_hex(&segments(), 0x0800_02a1));
        let expected: Vec<(u32, u8)> = segments()
            .iter()
            .flat_map(|s| {
                (s.bytes.iter().enumerate()).map(move |(i, b)| (s.address + i as u32, *b))
            })
            .collect();
        assert_eq!(bytes, expected);
        assert_eq!(entry, 0x0800_02a1);
    }

    #[test]
    fn a_known_record_has_its_known_form() {
        let mut out = String::new();
        record(&mut out, 0, 0x0030, &[0x02, 0x33, 0x7a]);
        assert_eq!(out, ":0300300002337A1E\n");
    }

    #[test]
    fn gaps_of_the_binary_are_erased_flash() {
        let bin = flat_binary(&segments());
        assert_eq!(bin.len(), 0xfffd + 40);
        assert_eq!(&bin[..21], &(0..=20).collect::<Vec<u8>>()[..]);
        assert!(bin[21..0xfffd].iter().all(|&b| b == 0xff));
        assert_eq!(bin[0xfffd], 7);
    }
}
