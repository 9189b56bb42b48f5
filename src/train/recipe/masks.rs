//! Which weight belongs to which level: one magnitude ranking over all prunable weights, cut at each
//! level's sparsity, so that the levels are nested by construction.
//!
//! While training, the sparsity grows from nothing to its target along the cubic schedule of Zhu and
//! Gupta ("To prune, or not to prune", arXiv 1710.01878), and the weights are ranked anew every few
//! steps: a weight that was cut lives on in the denser levels and may come back.

use crate::ir::nested::PRUNED;

/// Share of the training during which the masks grow.
pub const RAMP: f64 = 0.5;
/// Steps between rankings.
pub const RANK_EVERY: usize = 10;

/// What part of its final sparsity a level has when `progress` (0..=1) of the training is done.
pub fn ramp(progress: f64) -> f64 {
    1.0 - (1.0 - (progress / RAMP).clamp(0.0, 1.0)).powi(3)
}

/// The sparsest level that holds each weight ([`PRUNED`] for none), for sparsities given sparsest
/// first. Exactly `floor(sparsity * n)` of all weights lie outside a level; among equal magnitudes
/// the earlier weight goes first.
pub fn owners(tensors: &[&[f32]], sparsities: &[f64]) -> Vec<Vec<u8>> {
    let mut ranking: Vec<u64> = Vec::with_capacity(tensors.iter().map(|t| t.len()).sum());
    for w in tensors.iter().flat_map(|t| t.iter()) {
        // Magnitudes order like their bits.
        ranking.push(u64::from(w.abs().to_bits()) << 32 | ranking.len() as u64);
    }
    ranking.sort_unstable();
    let n = ranking.len();
    let mut flat = vec![0u8; n];
    for (level, sparsity) in sparsities.iter().enumerate() {
        let cut = ((sparsity * n as f64).floor() as usize).min(n);
        let next = if level + 1 < sparsities.len() {
            level as u8 + 1
        } else {
            PRUNED
        };
        for rank in &ranking[..cut] {
            flat[*rank as u32 as usize] = next;
        }
    }
    let mut rest = flat.as_slice();
    tensors
        .iter()
        .map(|t| {
            let (own, behind) = rest.split_at(t.len());
            rest = behind;
            own.to_vec()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_nested_and_exactly_as_sparse_as_asked() {
        let a: Vec<f32> = (0..70).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        let b: Vec<f32> = (0..30).map(|i| ((i * 53) % 97) as f32 * 0.7).collect();
        let owners = owners(&[&a, &b], &[0.9, 0.8, 0.5]);
        let all: Vec<(f32, u8)> = a
            .iter()
            .chain(&b)
            .map(|w| w.abs())
            .zip(owners.concat())
            .collect();
        for (level, kept) in [(0, 10), (1, 20), (2, 50)] {
            assert_eq!(all.iter().filter(|(_, o)| *o <= level).count(), kept);
            let least = all
                .iter()
                .filter(|(_, o)| *o <= level)
                .map(|(w, _)| *w)
                .fold(f32::INFINITY, f32::min);
            let most = all
                .iter()
                .filter(|(_, o)| *o > level)
                .map(|(w, _)| *w)
                .fold(0.0, f32::max);
            assert!(most <= least, "level {level} keeps the largest");
        }
        assert!(all.iter().all(|(_, o)| *o <= 2 || *o == PRUNED));
    }

    #[test]
    fn a_dense_level_holds_everything() {
        let w = [0.0, 1.0, -2.0, 0.5];
        assert_eq!(owners(&[&w], &[0.5, 0.0]), [[1, 0, 0, 1]]);
        assert_eq!(owners(&[&w], &[0.0]), [[0, 0, 0, 0]]);
    }

    #[test]
    fn the_ramp_is_cubic_and_ends_halfway() {
        assert_eq!(ramp(0.0), 0.0);
        assert_eq!(ramp(0.25), 0.875);
        assert_eq!(ramp(0.5), 1.0);
        assert_eq!(ramp(0.9), 1.0);
    }
}
