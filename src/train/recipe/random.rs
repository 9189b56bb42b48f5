//! Random numbers that are a function of what they are for, not of what was drawn before: a run that
//! resumes at any epoch draws the same ones.

/// A well-mixed number for `words` (the finaliser of SplitMix64, chained).
pub fn hash(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// A number below `n`, from a hash; the bias for any `n` met here is below one in a billion.
pub fn below(hash: u64, n: usize) -> usize {
    ((u128::from(hash) * n as u128) >> 64) as usize
}

/// The numbers below `n` in an order that follows from `words`.
pub fn shuffled(words: &[u64], n: usize) -> Vec<u32> {
    let mut words = words.to_vec();
    words.push(0);
    let last = words.len() - 1;
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        words[last] = i as u64;
        order.swap(i, below(hash(&words), i + 1));
    }
    order
}

/// The order in which an epoch visits `n` images.
pub fn permutation(seed: u64, epoch: usize, n: usize) -> Vec<u32> {
    const STREAM: u64 = 1;
    shuffled(&[seed, STREAM, epoch as u64], n)
}

/// The images to train on and, of `n`, the `out` to hold out: the last of a permutation. Both in
/// the order of the data set.
pub fn split(seed: u64, n: usize, out: usize) -> (Vec<u32>, Vec<u32>) {
    const STREAM: u64 = 3;
    let mut order: Vec<u32> = (0..n as u32).collect();
    if out == 0 {
        return (order, Vec::new());
    }
    order = shuffled(&[seed, STREAM], n);
    let mut out = order.split_off(n - out.min(n));
    order.sort_unstable();
    out.sort_unstable();
    (order, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_holds_every_image_once_and_depends_on_seed_and_epoch() {
        let a = permutation(1, 0, 1000);
        let mut sorted = a.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_eq!(a, permutation(1, 0, 1000));
        assert_ne!(a, permutation(2, 0, 1000));
        assert_ne!(a, permutation(1, 1, 1000));
    }

    #[test]
    fn a_split_takes_every_image_once() {
        let (kept, out) = split(1, 100, 30);
        assert_eq!((kept.len(), out.len()), (70, 30));
        let mut all = [kept.clone(), out.clone()].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
        assert_ne!(out, split(2, 100, 30).1);
        assert!(kept.is_sorted() && out.is_sorted());
        assert!(split(1, 5, 0).0.into_iter().eq(0..5));
    }

    #[test]
    fn numbers_below_n_are_spread_evenly() {
        let mut counts = [0; 9];
        for i in 0..90_000 {
            counts[below(hash(&[7, i]), 9)] += 1;
        }
        assert!(
            counts.iter().all(|c| (9_500..10_500).contains(c)),
            "{counts:?}"
        );
    }
}
