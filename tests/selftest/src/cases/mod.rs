//! The cases, by family of kernels.

pub mod block;
pub mod compact;
pub mod conv;
pub mod conv_dense;
pub mod dense;
pub mod depthwise;
pub mod elementwise;
pub mod moving;
pub mod pool;

use nest_format::Requant;

use crate::arena::Arena;
use crate::random::Random;

/// Runs a layer with its output `least` elements below its input, the least distance, in one buffer:
/// `run` is given both. Returns the output, of `outputs` elements.
fn in_place(
    arena: &mut Arena,
    input: &[i8],
    outputs: usize,
    least: usize,
    run: impl FnOnce(&mut [i8], usize),
) -> &'static [i8] {
    let data = arena.take::<i8>(outputs.max(least + input.len()));
    data.fill(0x55);
    for (at, &x) in data.iter_mut().skip(least).zip(input) {
        *at = x;
    }
    run(data, least);
    data.get(..outputs).unwrap_or(&[])
}

/// Requantisation that spreads sums of about `scale` over int8 and beyond; some channels take
/// extreme constants. Returns the output zero point of up to three levels.
fn requant(random: &mut Random, scale: u32, to: &mut [Requant]) -> [i8; 3] {
    for requant in to {
        let any_bias = random.next() as i32 % Requant::MAX_BIAS;
        *requant = match random.below(12) {
            0 => Requant::new(any_bias, 0),
            1 => Requant::new(any_bias >> 8, i32::MIN),
            2 => Requant::new(any_bias >> 24, i32::MAX),
            _ => {
                // About 200 / scale, as a fraction of 2^32.
                let unit = (200u64 << 32) / u64::from(scale.max(200));
                let multiplier = (unit / 2 + unit * u64::from(random.below(256)) / 256) as i64;
                let multiplier = multiplier.min(i64::from(i32::MAX)) as i32;
                let sign = if random.below(8) == 0 { -1 } else { 1 };
                let bias = random.below(scale.max(1)) as i32 - (scale / 2) as i32;
                Requant::new(bias, sign * multiplier)
            }
        };
    }
    [random.next() as i8; 3]
}
