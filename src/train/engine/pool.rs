//! Pooling passes.

use crate::train::simd::{LANES, Lanes, Map};

use super::plan::{Pool, PoolKind, tap_position};

impl Pool {
    /// The input vectors under the window at output `(oy, ox)` of channel `c`, in tap order.
    fn taps(&self, map: &Map, c: usize, oy: usize, ox: usize, taps: &mut Vec<usize>) {
        taps.clear();
        for ky in 0..self.window.kernel[0] {
            let Some(y) = tap_position(&self.window, 0, oy, ky, map.h) else {
                continue;
            };
            let row = map.span(c, y).start;
            for kx in 0..self.window.kernel[1] {
                if let Some(x) = tap_position(&self.window, 1, ox, kx, map.w) {
                    taps.push(row + x);
                }
            }
        }
    }

    /// One over the number of taps that the mean counts.
    fn weight(&self, within: usize, count_include_pad: bool) -> f32 {
        let count = if count_include_pad {
            self.window.taps()
        } else {
            within.max(1)
        };
        1.0 / count as f32
    }

    /// Writes `out`.
    pub fn forward(&self, x_map: &Map, x: &[Lanes], out_map: &Map, out: &mut [Lanes]) {
        let mut taps = Vec::new();
        for c in 0..out_map.c {
            for oy in 0..out_map.h {
                for (ox, to) in out_map.span(c, oy).enumerate() {
                    self.taps(x_map, c, oy, ox, &mut taps);
                    out[to] = match self.kind {
                        PoolKind::Max => maximum(x, &taps),
                        PoolKind::Average { count_include_pad } => {
                            let mut sum = Lanes::ZERO;
                            for &at in &taps {
                                for (sum, v) in sum.0.iter_mut().zip(x[at].0) {
                                    *sum += v;
                                }
                            }
                            let weight = self.weight(taps.len(), count_include_pad);
                            Lanes(sum.0.map(|v| v * weight))
                        }
                    };
                }
            }
        }
    }

    /// Writes or adds to `dx`. Where several taps share the maximum, the first in row order gets the
    /// gradient.
    pub fn backward(
        &self,
        x_map: &Map,
        x: &[Lanes],
        dy_map: &Map,
        dy: &[Lanes],
        dx_map: &Map,
        dx: &mut [Lanes],
    ) {
        if !self.accumulate {
            for y in 0..dx_map.h {
                for c in 0..dx_map.c {
                    dx[dx_map.span(c, y)].fill(Lanes::ZERO);
                }
            }
        }
        let (mut taps, mut targets) = (Vec::new(), Vec::new());
        for c in 0..dy_map.c {
            for oy in 0..dy_map.h {
                for (ox, from) in dy_map.span(c, oy).enumerate() {
                    self.taps(dx_map, c, oy, ox, &mut targets);
                    match self.kind {
                        PoolKind::Max => {
                            self.taps(x_map, c, oy, ox, &mut taps);
                            let max = maximum(x, &taps);
                            let mut rest = dy[from];
                            for (&at, &to) in taps.iter().zip(&targets) {
                                for lane in 0..LANES {
                                    if x[at].0[lane] == max.0[lane] {
                                        dx[to].0[lane] += rest.0[lane];
                                        rest.0[lane] = 0.0;
                                    }
                                }
                            }
                        }
                        PoolKind::Average { count_include_pad } => {
                            let weight = self.weight(targets.len(), count_include_pad);
                            for &to in &targets {
                                for (to, v) in dx[to].0.iter_mut().zip(dy[from].0) {
                                    *to += v * weight;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn maximum(x: &[Lanes], taps: &[usize]) -> Lanes {
    let mut max = Lanes([f32::NEG_INFINITY; LANES]);
    for &at in taps {
        for (max, v) in max.0.iter_mut().zip(x[at].0) {
            *max = if *max > v { *max } else { v };
        }
    }
    max
}
