//! Holding images out of training.

use crate::data::Dataset;

/// Splits `data` into images to train on and `count` images to choose by. Which ones are held out
/// depends on nothing but how many there are: all runs of a study hold the same ones out. Both parts
/// keep the order of the set.
pub fn hold_out(data: &Dataset, count: usize) -> (Dataset, Dataset) {
    let mut order: Vec<u32> = (0..data.len() as u32).collect();
    order.sort_by_key(|&i| (mixed(u64::from(i)), i));
    let rest = order.split_off(count.min(order.len()));
    let part = |mut images: Vec<u32>| {
        images.sort_unstable();
        data.subset(&images)
    };
    (part(rest), part(order))
}

/// The output function of SplitMix64 (G. Steele et al., 2014).
fn mixed(i: u64) -> u64 {
    let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pixels;
    use crate::ir::float::Shape;
    use crate::ir::nested::Preprocessing;

    #[test]
    fn parts_are_disjoint_complete_and_mixed() {
        let data = Dataset {
            shape: Shape::map(1, 1, 2),
            pixels: Pixels::U8((0..100).flat_map(|i| [i, 200 - i]).collect()),
            labels: Some((0..100).map(|i| i / 10).collect()),
            class_count: 10,
            boxes: None,
            preprocessing: Preprocessing::identity(1),
        };
        let (rest, held) = hold_out(&data, 30);
        assert_eq!((rest.len(), held.len()), (70, 30));
        let firsts = |d: &Dataset| -> Vec<u8> {
            let Pixels::U8(p) = &d.pixels else {
                panic!("pixels stay pixels")
            };
            let labels = d.labels.as_ref().unwrap();
            for (pair, &label) in p.chunks(2).zip(labels) {
                assert_eq!(u32::from(pair[0]) / 10, label);
                assert_eq!(pair[1], 200 - pair[0]);
            }
            p.chunks(2).map(|pair| pair[0]).collect()
        };
        let mut all = [firsts(&rest), firsts(&held)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        // A set sorted by class must not lose whole classes.
        let classes: std::collections::BTreeSet<_> = held.labels.unwrap().into_iter().collect();
        assert!(classes.len() >= 8, "{classes:?}");
    }
}
