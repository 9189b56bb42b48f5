//! The checksum by which host and device compare activations.

/// FNV-1a, 32 bits, over the bytes of an activation.
///
/// Fowler, Noll, Vo: offset basis 2166136261, prime 16777619.
pub const fn checksum(bytes: &[i8]) -> u32 {
    let mut hash = 0x811C_9DC5u32;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ (bytes[i] as u8) as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::checksum;
    use std::vec::Vec;

    #[test]
    fn published_vectors() {
        assert_eq!(checksum(&[]), 0x811C_9DC5);
        assert_eq!(checksum(&[b'a' as i8]), 0xE40C_292C);
        let foobar: Vec<i8> = b"foobar".iter().map(|&b| b as i8).collect();
        assert_eq!(checksum(&foobar), 0xBF9C_F968);
    }
}
