//! Softmax over the channels of a vector, lane by lane.

use crate::train::math::exp;
use crate::train::simd::{LANES, Lanes, Map};

/// Writes `out`.
pub fn forward(x_map: &Map, x: &[Lanes], out_map: &Map, out: &mut [Lanes]) {
    let at = |map: &Map, c: usize| map.span(c, 0).start;
    for lane in 0..LANES {
        let max = (0..x_map.c)
            .map(|c| x[at(x_map, c)].0[lane])
            .fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for c in 0..x_map.c {
            let e = exp(f64::from(x[at(x_map, c)].0[lane] - max));
            out[at(out_map, c)].0[lane] = e as f32;
            sum += e;
        }
        for c in 0..x_map.c {
            let v = &mut out[at(out_map, c)].0[lane];
            *v = (f64::from(*v) / sum) as f32;
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
    let at = |map: &Map, c: usize| map.span(c, 0).start;
    for lane in 0..LANES {
        let dot: f32 = (0..y_map.c)
            .map(|c| y[at(y_map, c)].0[lane] * dy[at(dy_map, c)].0[lane])
            .sum();
        for c in 0..y_map.c {
            let v = y[at(y_map, c)].0[lane] * (dy[at(dy_map, c)].0[lane] - dot);
            let to = &mut dx[at(dx_map, c)].0[lane];
            *to = if accumulate { *to + v } else { v };
        }
    }
}
