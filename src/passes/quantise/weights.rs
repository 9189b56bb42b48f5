//! Weights in int8.

use crate::ir::float::Conv;
use crate::ir::nested::PRUNED;
use crate::ir::rounding::{round_weight, row_step};

/// Weights in int8.
pub(super) struct Weights {
    /// `[out channel][ky][kx][in channel of the group]`.
    pub values: Vec<i8>,
    /// In the same order.
    pub levels: Option<Vec<u8>>,
    /// One an output channel.
    pub scale: Vec<f32>,
    /// Rows whose step is wider than they would need alone.
    pub coarser_rows: usize,
}

impl Weights {
    /// Whether an output channel has no weight but 0.
    pub fn is_dead(&self, channel: usize) -> bool {
        let row = self.values.len() / self.scale.len().max(1);
        self.values[channel * row..][..row].iter().all(|&w| w == 0)
    }
}

/// Int8 weights, with a step of at least `least_scale` for each output channel.
pub(super) fn quantise_weights(
    conv: &Conv,
    weight_levels: Option<&[u8]>,
    least_scale: impl Fn(usize) -> f64,
) -> Weights {
    let row = conv.row_len();
    let taps = conv.window.taps();
    let nested = weight_levels.is_some_and(|l| l.iter().any(|&l| l != 0 && l != PRUNED));
    let mut values = Vec::with_capacity(conv.weight.len());
    let mut levels = weight_levels.map(|_| Vec::with_capacity(conv.weight.len()));
    let mut scales = Vec::with_capacity(conv.out_channels);
    let mut coarser_rows = 0;
    for o in 0..conv.out_channels {
        let weight: Vec<f32> = (o * row..(o + 1) * row)
            .map(|at| match weight_levels {
                Some(l) if l[at] == PRUNED => 0.0,
                _ => conv.weight[at],
            })
            .collect();
        let (scale, coarser) = row_step(&weight, nested, least_scale(o));
        coarser_rows += usize::from(coarser);
        scales.push(scale);
        for tap in 0..taps {
            for c in 0..conv.group_channels {
                let from = c * taps + tap;
                values.push(round_weight(weight[from], scale));
                if let (Some(to), Some(of)) = (&mut levels, weight_levels) {
                    to.push(of[o * row + from]);
                }
            }
        }
    }
    Weights {
        values,
        levels: levels.filter(|_| nested),
        scale: scales,
        coarser_rows,
    }
}
