//! Weight gradients: sums over the pixels of a band, taps times outputs in registers.

use super::{Band, Lanes, Offsets, Simd, TapLists, share};

#[inline(always)]
pub(super) fn dense<S: Simd>(
    simd: S,
    offsets: &Offsets,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    gradient: &mut [f32],
) {
    let taps = offsets.len();
    assert_eq!(gradient.len(), band.outputs * taps);
    if band.rows == 0 || band.cols == 0 || gradient.is_empty() {
        return;
    }
    band.check(offsets.reach, x.len(), dy.len());
    let mut first = 0;
    while first < band.outputs {
        let outputs = share(band.outputs - first, S::GRADIENT_TILE[1]);
        let mut tap = 0;
        while tap < taps {
            let count = share(taps - tap, S::GRADIENT_TILE[0]);
            macro_rules! go {
                ($m:literal, $q:literal) => {
                    // A tile larger than the instruction set's never runs; it must not be compiled
                    // either.
                    if $m <= S::GRADIENT_TILE[0] && $q <= S::GRADIENT_TILE[1] {
                        // A tile that sticks out computes its last tap or output again and drops it.
                        let mut tile = [0; $m];
                        for m in 0..$m {
                            tile[m] = offsets.list[tap + m.min(count - 1)] as usize;
                        }
                        let mut channels = [0; $q];
                        for q in 0..$q {
                            channels[q] = (first + q.min(outputs - 1)) * band.dy_channel;
                        }
                        // SAFETY: `band.check` covers every pixel of the band with the furthest
                        // offset and the last channel.
                        let acc = unsafe { tile_sums::<S, $m, $q>(simd, x, dy, band, tile, channels) };
                        let mut sums = [0.0; ($m * $q as usize).next_multiple_of(4)];
                        for quad in 0..sums.len() / 4 {
                            let mut four = [simd.splat(0.0); 4];
                            for i in 0..4 {
                                let at = 4 * quad + i;
                                if at < $m * $q {
                                    four[i] = acc[at / $m][at % $m];
                                }
                            }
                            sums[4 * quad..4 * quad + 4].copy_from_slice(&simd.sums(four));
                        }
                        for q in 0..outputs {
                            let to = &mut gradient[(first + q) * taps + tap..][..count];
                            for m in 0..count {
                                to[m] += sums[q * $m + m];
                            }
                        }
                    }
                };
            }
            match (count, outputs) {
                (6, 4) => go!(6, 4),
                (5, 4) => go!(5, 4),
                (4, 4) => go!(4, 4),
                (_, 4) => go!(3, 4),
                (6, 3) => go!(6, 3),
                (5, 3) => go!(5, 3),
                (4, 3) => go!(4, 3),
                (_, 3) => go!(3, 3),
                (6, _) => go!(6, 2),
                (5, _) => go!(5, 2),
                (4, _) => go!(4, 2),
                _ => go!(3, 2),
            }
            tap += count;
        }
        first += outputs;
    }
}

/// Sums over a band of `M` taps times `Q` outputs, lane by lane.
///
/// # Safety
/// The band lies within `x` for each of `offsets` and within `dy` for each of `channels`.
#[inline(always)]
unsafe fn tile_sums<S: Simd, const M: usize, const Q: usize>(
    simd: S,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    offsets: [usize; M],
    channels: [usize; Q],
) -> [[S::V; M]; Q] {
    let mut acc = [[simd.splat(0.0); M]; Q];
    for row in 0..band.rows {
        // SAFETY: the caller vouches for the band.
        let (mut x, mut dy) = unsafe {
            (
                x.as_ptr().add(band.x_base + row * band.x_row),
                dy.as_ptr().add(band.dy_base + row * band.dy_row),
            )
        };
        for _ in 0..band.cols {
            let mut slopes = [simd.splat(0.0); Q];
            for q in 0..Q {
                // SAFETY: the caller vouches for each channel at this pixel.
                slopes[q] = unsafe { simd.load(&*dy.add(channels[q])) };
            }
            for m in 0..M {
                // SAFETY: the caller vouches for each offset at this pixel.
                let pixel = unsafe { simd.load(&*x.add(offsets[m])) };
                for q in 0..Q {
                    acc[q][m] = simd.fma(pixel, slopes[q], acc[q][m]);
                }
            }
            x = x.wrapping_add(band.x_step);
            dy = dy.wrapping_add(1);
        }
    }
    acc
}

#[inline(always)]
pub(super) fn lists<S: Simd>(
    simd: S,
    lists: &TapLists,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    gradient: &mut [f32],
) {
    assert_eq!(gradient.len(), lists.len());
    assert_eq!(lists.outputs(), band.outputs);
    if band.rows == 0 || band.cols == 0 || gradient.is_empty() {
        return;
    }
    band.check(lists.reach, x.len(), dy.len());
    // As in a row's lists, the compiler should know the distance of pixels.
    match band.x_step {
        // SAFETY: the band was checked.
        1 => unsafe { list_tiles::<S, 1>(simd, lists, x, dy, band, gradient) },
        // SAFETY: the band was checked.
        2 => unsafe { list_tiles::<S, 2>(simd, lists, x, dy, band, gradient) },
        // SAFETY: the band was checked.
        _ => unsafe { list_tiles::<S, 0>(simd, lists, x, dy, band, gradient) },
    }
}

/// The gradients of all taps; `STEP` is the distance of pixels, 0 for any other than 1 and 2.
///
/// # Safety
/// `band.check` passed.
#[inline(always)]
unsafe fn list_tiles<S: Simd, const STEP: usize>(
    simd: S,
    lists: &TapLists,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    gradient: &mut [f32],
) {
    for output in 0..band.outputs {
        let taps = lists.of(output);
        let first = lists.starts[output] as usize;
        let channel = output * band.dy_channel;
        let mut tap = 0;
        while tap < taps.len() {
            let count = share(taps.len() - tap, S::GRADIENT_TAPS);
            macro_rules! go {
                ($m:literal) => {
                    // A tile larger than the instruction set's never runs; it must not be compiled
                    // either.
                    if $m <= S::GRADIENT_TAPS {
                        let mut tile = [0; $m];
                        for m in 0..$m {
                            tile[m] = taps[tap + m.min(count - 1)].offset as usize;
                        }
                        let acc = {
                            // SAFETY: `band.check` covers every pixel of the band with the
                            // furthest offset and the last channel.
                            unsafe { list_sums::<S, $m, STEP>(simd, x, dy, band, &tile, channel) }
                        };
                        let to = &mut gradient[first + tap..][..count];
                        for quad in 0..($m as usize).div_ceil(4) {
                            let mut four = [simd.splat(0.0); 4];
                            for i in 0..4 {
                                if 4 * quad + i < $m {
                                    four[i] = acc[4 * quad + i];
                                }
                            }
                            let sums = simd.sums(four);
                            for i in 0..4 {
                                if 4 * quad + i < count {
                                    to[4 * quad + i] += sums[i];
                                }
                            }
                        }
                    }
                };
            }
            match count {
                15.. => go!(16),
                13.. => go!(14),
                11.. => go!(12),
                9.. => go!(10),
                7.. => go!(8),
                5.. => go!(6),
                3.. => go!(4),
                _ => go!(2),
            }
            tap += count;
        }
    }
}

/// Sums over a band of `M` taps of one output, lane by lane.
///
/// # Safety
/// The band lies within `x` for each of `offsets` and within `dy` for `channel`.
#[inline(always)]
unsafe fn list_sums<S: Simd, const M: usize, const STEP: usize>(
    simd: S,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    offsets: &[usize; M],
    channel: usize,
) -> [S::V; M] {
    let step = if STEP == 0 { band.x_step } else { STEP };
    let mut acc = [simd.splat(0.0); M];
    for row in 0..band.rows {
        // SAFETY: the caller vouches for the band.
        let (mut x, mut dy) = unsafe {
            (
                x.as_ptr().add(band.x_base + row * band.x_row),
                dy.as_ptr().add(band.dy_base + row * band.dy_row + channel),
            )
        };
        let mut left = band.cols;
        while S::GRADIENT_PIXELS == 4 && left >= 4 {
            let mut slopes = [simd.splat(0.0); 4];
            for r in 0..4 {
                // SAFETY: the caller vouches for the channel at these pixels.
                slopes[r] = unsafe { simd.load(&*dy.add(r)) };
            }
            for m in 0..M {
                for r in 0..4 {
                    // SAFETY: the caller vouches for each offset at these pixels.
                    let pixel = unsafe { simd.load(&*x.add(offsets[m] + r * step)) };
                    acc[m] = simd.fma(pixel, slopes[r], acc[m]);
                }
            }
            x = x.wrapping_add(4 * step);
            dy = dy.wrapping_add(4);
            left -= 4;
        }
        while left > 0 {
            // SAFETY: the caller vouches for the channel at this pixel.
            let slope = unsafe { simd.load(&*dy) };
            for m in 0..M {
                // SAFETY: the caller vouches for each offset at this pixel.
                let pixel = unsafe { simd.load(&*x.add(offsets[m])) };
                acc[m] = simd.fma(pixel, slope, acc[m]);
            }
            x = x.wrapping_add(step);
            dy = dy.wrapping_add(1);
            left -= 1;
        }
    }
    acc
}
