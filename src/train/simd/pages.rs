//! Large pages for the buffers of feature maps.
//!
//! A training step streams through a hundred megabytes, and its kernels read up to sixteen places at
//! once that lie kilobytes apart. With pages of 4 KiB it was measured to take 4 to 15 % longer, and
//! to differ by as much from process to process; the likely causes are the processor's look-up of
//! addresses and lines of the second cache that collide by luck. No counter was read.

use super::lanes::Lanes;

/// Asks the operating system (Linux from 6.1 on, with glibc) to gather the pages that `buffer`, which is best
/// written already, lies in into large ones. Small buffers are left alone. Nothing but the speed
/// depends on the answer.
pub fn enlarge(buffer: &[Lanes]) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The usual size of a large page.
        const LARGE: usize = 2 << 20;
        /// Buffers from this size on: a large page around a smaller one would be mostly others'.
        const LEAST: usize = LARGE / 16;
        let bytes = size_of_val(buffer);
        if bytes < LEAST {
            return;
        }
        let first = buffer.as_ptr().addr();
        let start = first & !(LARGE - 1);
        let len = (first + bytes).next_multiple_of(LARGE) - start;
        let start = buffer.as_ptr().with_addr(start).cast_mut().cast();
        // SAFETY: the advice changes neither what any memory of this process holds nor whether it
        // may be used, so it does not matter that others' lies around the buffer or that a part of
        // the range may be no memory at all, which is refused.
        unsafe {
            libc::madvise(start, len, libc::MADV_COLLAPSE);
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = buffer;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::simd::LANES;

    /// Neither what the buffers hold nor what lies between them changes, whatever the pages do.
    #[test]
    fn nothing_is_lost() {
        let number = |buffer: usize, i: usize| Lanes([(buffer << 20 | i) as f32; LANES]);
        let lengths = [1, 100_000, 3, 5_000, 40_001, 0];
        let buffers: Vec<Vec<Lanes>> = (lengths.iter().enumerate())
            .map(|(b, &len)| (0..len).map(|i| number(b, i)).collect())
            .collect();
        buffers.iter().for_each(|buffer| enlarge(buffer));
        for (b, buffer) in buffers.iter().enumerate() {
            assert_eq!(buffer.len(), lengths[b]);
            assert!((buffer.iter().enumerate()).all(|(i, v)| *v == number(b, i)));
        }
    }
}
