//! Rows of masked layers: every output has its own taps.
//!
//! Each multiply-add reads its pixel from memory, so a tile is as fast as the loads are: the
//! accumulators of a few pixels share a tap's weight and address. What bounds it in most layers is the
//! way from the second cache to the first: a tile's window must be narrow enough to leave something in
//! the first cache for the next output.

use super::{Lanes, Row, Simd, Tap, TapLists, share, write};

/// Taps an output beyond which one output alone fills the first cache, so that nothing is left for the
/// next one and wider tiles are better.
const LONG: usize = 192;

#[inline(always)]
pub(super) fn row<S: Simd>(
    simd: S,
    lists: &TapLists,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
) {
    let outputs = lists.outputs();
    if row.cols == 0 || outputs == 0 {
        return;
    }
    row.check(outputs, lists.reach, x.len(), out.len());
    assert!(bias.is_none_or(|b| b.len() >= outputs));
    // The distance of pixels is known to the compiler where it is 1 or 2: then sixteen pixels need
    // one address register instead of sixteen.
    match row.x_step {
        // SAFETY: the row was checked.
        1 => unsafe { tiles::<S, 1>(simd, lists, bias, x, out, row) },
        // SAFETY: the row was checked.
        2 => unsafe { tiles::<S, 2>(simd, lists, bias, x, out, row) },
        // SAFETY: the row was checked.
        _ => unsafe { tiles::<S, 0>(simd, lists, bias, x, out, row) },
    }
}

/// The row in tiles; `STEP` is the distance of pixels, 0 for any other than 1 and 2.
///
/// # Safety
/// `row.check` passed; `bias` has one element an output.
#[inline(always)]
unsafe fn tiles<S: Simd, const STEP: usize>(
    simd: S,
    lists: &TapLists,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
) {
    let long = lists.len() > LONG * lists.outputs();
    let most = S::LIST_PIXELS.min(if long { 8 } else { 6 });
    let mut col = 0;
    while col < row.cols {
        let pixels = share(row.cols - col, most);
        macro_rules! go {
            ($r:literal) => {
                // A tile larger than the instruction set's never runs; it must not be compiled either.
                if $r <= S::LIST_PIXELS {
                    for output in 0..lists.outputs() {
                        let start = match bias {
                            Some(bias) => bias[output],
                            None => 0.0,
                        };
                        let to = row.out_base + output * row.out_channel + col * row.out_step;
                        // SAFETY: `row.check` covers every pixel of the row with the furthest offset
                        // and every output; `$r` pixels from `col` on belong to the row.
                        unsafe {
                            let x = x.as_ptr().add(row.x_base + col * row.x_step);
                            let taps = lists.of(output);
                            let acc = tile::<S, $r, STEP>(simd, taps, start, x, row.x_step);
                            write(simd, acc, out.as_mut_ptr().add(to), row);
                        }
                    }
                }
            };
        }
        match pixels {
            8 => go!(8),
            7 => go!(7),
            6 => go!(6),
            5 => go!(5),
            4 => go!(4),
            3 => go!(3),
            2 => go!(2),
            _ => go!(1),
        }
        col += pixels;
    }
}

/// `R` pixels of one output.
///
/// # Safety
/// `x + r * step + offset` is readable for every `r < R` and every tap, where `step` is `STEP` unless
/// that is 0.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const STEP: usize>(
    simd: S,
    taps: &[Tap],
    start: f32,
    x: *const Lanes,
    step: usize,
) -> [S::V; R] {
    let step = if STEP == 0 { step } else { STEP };
    let mut acc = [simd.splat(start); R];
    for tap in taps {
        let weight = simd.splat(tap.weight);
        for r in 0..R {
            // SAFETY: the caller vouches for this offset of every pixel.
            let pixel = unsafe { simd.load(&*x.add(tap.offset as usize + r * step)) };
            acc[r] = simd.fma(pixel, weight, acc[r]);
        }
    }
    acc
}
