//! Depthwise layers: every channel has a window of its own, which slides along a row in registers, so
//! that a pixel is loaded once for all the columns of the window.

use super::{Band, Lanes, Row, Simd, Window, Windows, share, write};

/// Calls `$step!(n)` for all places a tile of up to eight pixels two apart reads with a window of up
/// to five columns. The loops around a register array must be unrolled, or it is none.
macro_rules! places {
    ($step:ident) => {
        $step!(0);
        $step!(1);
        $step!(2);
        $step!(3);
        $step!(4);
        $step!(5);
        $step!(6);
        $step!(7);
        $step!(8);
        $step!(9);
        $step!(10);
        $step!(11);
        $step!(12);
        $step!(13);
        $step!(14);
        $step!(15);
        $step!(16);
        $step!(17);
        $step!(18);
    };
}

#[inline(always)]
pub(super) fn rows<S: Simd>(
    simd: S,
    windows: &Windows<'_>,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
) {
    if row.cols == 0 || windows.rows == 0 || windows.channels == 0 {
        return;
    }
    windows.check(row, x.len(), out.len());
    assert!(bias.is_none_or(|b| b.len() >= windows.channels));
    macro_rules! go {
        ($kw:literal, $step:literal, $reversed:literal) => {
            // SAFETY: the rows were checked, the window is `$kw` wide and pixels are `$step` apart.
            unsafe { channels::<S, $kw, $step, $reversed>(simd, windows, bias, x, out, row) }
        };
    }
    match (windows.window.kernel[1], row.x_step, windows.reversed) {
        (1, 1, false) => go!(1, 1, false),
        (1, 1, true) => go!(1, 1, true),
        (1, 2, false) => go!(1, 2, false),
        (2, 1, false) => go!(2, 1, false),
        (2, 1, true) => go!(2, 1, true),
        (2, 2, false) => go!(2, 2, false),
        (3, 1, false) => go!(3, 1, false),
        (3, 1, true) => go!(3, 1, true),
        (3, 2, false) => go!(3, 2, false),
        (5, 1, false) => go!(5, 1, false),
        (5, 1, true) => go!(5, 1, true),
        (5, 2, false) => go!(5, 2, false),
        _ => panic!("no depthwise kernel for {windows:?} and {row:?}"),
    }
}

/// All rows of a channel, then the next: the rows that windows share stay in the first cache.
///
/// # Safety
/// `windows.check` passed for `row`, the window is `KW` wide and `row.x_step` is `STEP`.
#[inline(always)]
unsafe fn channels<S: Simd, const KW: usize, const STEP: usize, const REVERSED: bool>(
    simd: S,
    windows: &Windows<'_>,
    bias: Option<&[f32]>,
    x: &[Lanes],
    out: &mut [Lanes],
    row: &Row,
) {
    let taps = windows.window.kernel[0] * KW;
    for channel in 0..windows.channels {
        let weights = &windows.weights[channel * taps..][..taps];
        let start = match bias {
            Some(bias) => bias[channel],
            None => 0.0,
        };
        for y in 0..windows.rows {
            let mut col = 0;
            while col < row.cols {
                let pixels = share(row.cols - col, S::DEPTHWISE_PIXELS);
                let from =
                    row.x_base + channel * windows.window.channel + y * windows.x_row + col * STEP;
                let to = row.out_base
                    + channel * row.out_channel
                    + y * windows.out_row
                    + col * row.out_step;
                macro_rules! go {
                    ($r:literal) => {
                        // A tile larger than the instruction set's never runs; it must not be
                        // compiled either.
                        if $r <= S::DEPTHWISE_PIXELS {
                            // SAFETY: `windows.check` covers every window of every row, and every
                            // pixel written.
                            unsafe {
                                let x = x.as_ptr().add(from);
                                let acc = tile::<S, $r, KW, STEP, REVERSED>(
                                    simd,
                                    weights,
                                    start,
                                    x,
                                    &windows.window,
                                );
                                write(simd, acc, out.as_mut_ptr().add(to), row);
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
    }
}

/// `R` pixels of one channel.
///
/// # Safety
/// The windows of all pixels, the first at `x`, are readable.
#[inline(always)]
unsafe fn tile<
    S: Simd,
    const R: usize,
    const KW: usize,
    const STEP: usize,
    const REVERSED: bool,
>(
    simd: S,
    weights: &[f32],
    start: f32,
    x: *const Lanes,
    window: &Window,
) -> [S::V; R] {
    let mut acc = [simd.splat(start); R];
    let rows = window.kernel[0];
    for ky in 0..rows {
        let mut w = [simd.splat(0.0); KW];
        for kx in 0..KW {
            w[kx] = simd.splat(weights[ky * KW + kx]);
        }
        let line = x.wrapping_add(if REVERSED { rows - 1 - ky } else { ky } * window.row);
        macro_rules! place {
            ($n:literal) => {
                if $n < (R - 1) * STEP + KW {
                    // A pixel's taps are added in the order of the weights, so a reversed window is
                    // walked from its far end.
                    let at = if REVERSED {
                        (R - 1) * STEP + KW - 1 - $n
                    } else {
                        $n
                    };
                    // SAFETY: the place belongs to the window of some pixel.
                    let v = unsafe { simd.load(&*line.wrapping_add(at)) };
                    for kx in 0..KW {
                        let column = if REVERSED { KW - 1 - kx } else { kx };
                        if at >= column && (at - column) % STEP == 0 && (at - column) / STEP < R {
                            let r = (at - column) / STEP;
                            acc[r] = simd.fma(v, w[kx], acc[r]);
                        }
                    }
                }
            };
        }
        places!(place);
    }
    acc
}

// Windows of one column make the macro divide by one.
#[allow(clippy::modulo_one)]
#[inline(always)]
pub(super) fn gradient<S: Simd>(
    simd: S,
    window: &Window,
    x: &[Lanes],
    dy: &[Lanes],
    band: &Band,
    gradient: &mut [f32],
) {
    let [kh, kw] = window.kernel;
    assert_eq!(gradient.len(), band.outputs * kh * kw);
    if band.rows == 0 || band.cols == 0 || gradient.is_empty() {
        return;
    }
    let reach = (band.outputs - 1) * window.channel + (kh - 1) * window.row + kw - 1;
    band.check(reach, x.len(), dy.len());
    macro_rules! go {
        ($kh:literal, $kw:literal, $step:literal) => {
            for channel in 0..band.outputs {
                for ky in (0..kh).step_by($kh) {
                    // SAFETY: the band was checked; the window is `$kw` wide, its height a multiple of
                    // `$kh`, and pixels are `$step` apart.
                    let sums = unsafe {
                        let x = x.as_ptr().add(band.x_base + channel * window.channel + ky * window.row);
                        let dy = dy.as_ptr().add(band.dy_base + channel * band.dy_channel);
                        window_sums::<S, $kh, $kw, $step>(simd, window, x, dy, band)
                    };
                    let to = &mut gradient[(channel * kh + ky) * $kw..][..$kh * $kw];
                    for quad in 0..($kh * $kw as usize).div_ceil(4) {
                        let mut four = [simd.splat(0.0); 4];
                        for i in 0..4 {
                            let tap = 4 * quad + i;
                            if tap < $kh * $kw {
                                four[i] = sums[tap / $kw][tap % $kw];
                            }
                        }
                        let sums = simd.sums(four);
                        for i in 0..4 {
                            if 4 * quad + i < $kh * $kw {
                                to[4 * quad + i] += sums[i];
                            }
                        }
                    }
                }
            }
        };
    }
    match (kh, kw, band.x_step) {
        (3, 3, 1) => go!(3, 3, 1),
        (3, 3, 2) => go!(3, 3, 2),
        (_, 1, 1) => go!(1, 1, 1),
        (_, 1, 2) => go!(1, 1, 2),
        (_, 2, 1) => go!(1, 2, 1),
        (_, 2, 2) => go!(1, 2, 2),
        (_, 3, 1) => go!(1, 3, 1),
        (_, 3, 2) => go!(1, 3, 2),
        (_, 5, 1) => go!(1, 5, 1),
        (_, 5, 2) => go!(1, 5, 2),
        _ => panic!("no depthwise kernel for {window:?} and {band:?}"),
    }
}

/// Sums over a band of `KH x KW` taps of one channel, lane by lane.
///
/// # Safety
/// The band lies within the channel of `x` for each of those taps, and within the one of `dy`.
#[inline(always)]
unsafe fn window_sums<S: Simd, const KH: usize, const KW: usize, const STEP: usize>(
    simd: S,
    window: &Window,
    x: *const Lanes,
    dy: *const Lanes,
    band: &Band,
) -> [[S::V; KW]; KH] {
    let mut acc = [[simd.splat(0.0); KW]; KH];
    for row in 0..band.rows {
        let mut x = x.wrapping_add(row * band.x_row);
        let mut dy = dy.wrapping_add(row * band.dy_row);
        macro_rules! pixels {
            ($r:literal) => {{
                let mut slopes = [simd.splat(0.0); $r];
                for r in 0..$r {
                    // SAFETY: the caller vouches for these pixels.
                    slopes[r] = unsafe { simd.load(&*dy.add(r)) };
                }
                for ky in 0..KH {
                    let line = x.wrapping_add(ky * window.row);
                    macro_rules! place {
                        ($n:literal) => {
                            if $n < ($r - 1) * STEP + KW {
                                // SAFETY: the place belongs to the window of some of these pixels.
                                let v = unsafe { simd.load(&*line.wrapping_add($n)) };
                                for kx in 0..KW {
                                    if $n >= kx && ($n - kx) % STEP == 0 && ($n - kx) / STEP < $r {
                                        acc[ky][kx] =
                                            simd.fma(v, slopes[($n - kx) / STEP], acc[ky][kx]);
                                    }
                                }
                            }
                        };
                    }
                    places!(place);
                }
                x = x.wrapping_add($r * STEP);
                dy = dy.wrapping_add($r);
            }};
        }
        for _ in 0..band.cols / 4 {
            pixels!(4);
        }
        for _ in 0..band.cols % 4 {
            pixels!(1);
        }
    }
    acc
}
