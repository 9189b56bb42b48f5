//! Rows of dense layers: tiles of pixels times channels, all in registers.

use super::{DenseWeights, Lanes, Offsets, Row, Simd, share, write};

/// Up to this many taps a row walks pixels outside and channels inside, so that the window stays in
/// the first cache while the weights stream; beyond it the other way round.
const PIXELS_OUTSIDE: usize = 288;

#[inline(always)]
pub(super) fn row<S: Simd>(
    simd: S,
    offsets: &Offsets,
    weights: &DenseWeights,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
) {
    let (outputs, taps) = (weights.outputs, offsets.len());
    if row.cols == 0 || outputs == 0 {
        return;
    }
    row.check(outputs, offsets.reach, x.len(), out.len());
    assert_eq!(weights.tile, S::TILE_CHANNELS);
    assert_eq!(weights.packed.len(), outputs * taps);
    assert!(bias.is_none_or(|b| b.len() >= outputs));
    if taps <= PIXELS_OUTSIDE {
        let mut col = 0;
        while col < row.cols {
            let pixels = share(row.cols - col, S::TILE_PIXELS);
            let mut first = 0;
            while first < outputs {
                let channels = share(outputs - first, S::TILE_CHANNELS);
                // SAFETY: the row was checked, and the tile lies within it.
                unsafe {
                    step(
                        simd,
                        offsets,
                        weights,
                        bias,
                        x,
                        out,
                        row,
                        [col, pixels],
                        [first, channels],
                    )
                };
                first += channels;
            }
            col += pixels;
        }
    } else {
        let mut first = 0;
        while first < outputs {
            let channels = share(outputs - first, S::TILE_CHANNELS);
            let mut col = 0;
            while col < row.cols {
                let pixels = share(row.cols - col, S::TILE_PIXELS);
                // SAFETY: the row was checked, and the tile lies within it.
                unsafe {
                    step(
                        simd,
                        offsets,
                        weights,
                        bias,
                        x,
                        out,
                        row,
                        [col, pixels],
                        [first, channels],
                    )
                };
                col += pixels;
            }
            first += channels;
        }
    }
}

/// The tile of `pixels` from `col` on and `channels` from `first` on.
///
/// # Safety
/// `row.check` passed, the tile lies within the row and is no larger than the instruction set's.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn step<S: Simd>(
    simd: S,
    offsets: &Offsets,
    weights: &DenseWeights,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
    [col, pixels]: [usize; 2],
    [first, channels]: [usize; 2],
) {
    let taps = offsets.len();
    let packed = &weights.packed[first * taps..][..channels * taps];
    let mut start = [0.0; 8];
    if let Some(bias) = bias {
        start[..channels].copy_from_slice(&bias[first..first + channels]);
    }
    let base = row.x_base + col * row.x_step;
    let out_base = row.out_base + first * row.out_channel + col * row.out_step;
    macro_rules! go {
        ($r:literal, $q:literal) => {
            // A tile larger than the instruction set's never runs; it must not be compiled either.
            if $r <= S::TILE_PIXELS && $q <= S::TILE_CHANNELS {
                // SAFETY: `row.check` covers every pixel of the row with the furthest offset and
                // every output of it.
                unsafe {
                    let x = x.as_ptr().add(base);
                    let acc = tile::<S, $r, $q>(simd, &offsets.list, packed, &start, x, row.x_step);
                    for q in 0..$q {
                        let out = out.as_mut_ptr().add(out_base + q * row.out_channel);
                        write(simd, acc[q], out, row);
                    }
                }
            }
        };
    }
    macro_rules! pixels {
        ($q:literal) => {
            match pixels {
                4 => go!(4, $q),
                3 => go!(3, $q),
                2 => go!(2, $q),
                _ => go!(1, $q),
            }
        };
    }
    match channels {
        6 => pixels!(6),
        5 => pixels!(5),
        4 => pixels!(4),
        3 => pixels!(3),
        2 => pixels!(2),
        _ => pixels!(1),
    }
}

/// `R` pixels times `Q` channels.
///
/// # Safety
/// `x + r * step + offset` is readable for every `r < R` and every offset.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const Q: usize>(
    simd: S,
    offsets: &[u32],
    packed: &[f32],
    start: &[f32; 8],
    x: *const Lanes,
    step: usize,
) -> [[S::V; R]; Q] {
    let mut acc = [[simd.splat(0.0); R]; Q];
    for q in 0..Q {
        acc[q] = [simd.splat(start[q]); R];
    }
    for (&offset, weights) in offsets.iter().zip(packed.chunks_exact(Q)) {
        let mut pixels = [simd.splat(0.0); R];
        for r in 0..R {
            // SAFETY: the caller vouches for this offset of every pixel.
            pixels[r] = unsafe { simd.load(&*x.add(r * step + offset as usize)) };
        }
        for q in 0..Q {
            let weight = simd.splat(weights[q]);
            for r in 0..R {
                acc[q][r] = simd.fma(pixels[r], weight, acc[q][r]);
            }
        }
    }
    acc
}
