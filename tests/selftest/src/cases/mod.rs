//! The cases, by family of kernels.

pub mod conv;
pub mod dense;
pub mod depthwise;
pub mod elementwise;
pub mod pool;

use nest_format::Requant;

use crate::random::Random;

/// Requantisation that spreads sums of about `scale` over int8 and beyond; some channels take
/// extreme constants.
fn requant(random: &mut Random, scale: u32, to: &mut [Requant]) {
    for requant in to {
        *requant = match random.below(12) {
            0 => Requant::new(i64::from(random.next() as i32) << 8, 0),
            1 => Requant::new(i64::from(random.next() as i32) << 20, i32::MIN),
            2 => Requant::new(i64::from(random.next()), i32::MAX),
            _ => {
                // About 200 / scale, as a fraction of 2^32.
                let unit = (200u64 << 32) / u64::from(scale.max(200));
                let multiplier = (unit / 2 + unit * u64::from(random.below(256)) / 256) as i64;
                let multiplier = multiplier.min(i64::from(i32::MAX)) as i32;
                let sign = if random.below(8) == 0 { -1 } else { 1 };
                let zero = i64::from(random.next() as i8);
                let low = i64::from(random.next());
                Requant::new((zero << 32) + low, sign * multiplier)
            }
        };
    }
}
