//! Softmax over the channels of each pixel, lane by lane.

use crate::train::math::exp;
use crate::train::simd::{LANES, Lanes, Map};

/// The places of one pixel's channels.
fn channels(map: &Map, y: usize, x: usize) -> impl Iterator<Item = usize> + use<> {
    let (first, distance) = (map.span(0, y).start + x, map.channel);
    (0..map.c).map(move |c| first + c * distance)
}

fn pixels(map: &Map) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (h, w) = (map.h, map.w);
    (0..h).flat_map(move |y| (0..w).map(move |x| (y, x)))
}

/// Writes `out`.
pub fn forward(x_map: &Map, x: &[Lanes], out_map: &Map, out: &mut [Lanes]) {
    for (row, column) in pixels(x_map) {
        for lane in 0..LANES {
            let max = channels(x_map, row, column)
                .map(|at| x[at].0[lane])
                .fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            let places = channels(x_map, row, column).zip(channels(out_map, row, column));
            for (from, to) in places {
                let e = exp(f64::from(x[from].0[lane] - max));
                out[to].0[lane] = e as f32;
                sum += e;
            }
            for at in channels(out_map, row, column) {
                let v = &mut out[at].0[lane];
                *v = (f64::from(*v) / sum) as f32;
            }
        }
    }
}

/// Writes or adds to `dx`: `y * (dy - sum of dy * y)`.
pub fn backward(
    y_map: &Map,
    y: &[Lanes],
    dy_map: &Map,
    dy: &[Lanes],
    dx_map: &Map,
    dx: &mut [Lanes],
    accumulate: bool,
) {
    for (row, column) in pixels(y_map) {
        let places = || channels(y_map, row, column).zip(channels(dy_map, row, column));
        for lane in 0..LANES {
            let dot: f32 = places()
                .map(|(y_at, dy_at)| y[y_at].0[lane] * dy[dy_at].0[lane])
                .sum();
            for ((y_at, dy_at), to) in places().zip(channels(dx_map, row, column)) {
                let v = y[y_at].0[lane] * (dy[dy_at].0[lane] - dot);
                let to = &mut dx[to].0[lane];
                *to = if accumulate { *to + v } else { v };
            }
        }
    }
}
