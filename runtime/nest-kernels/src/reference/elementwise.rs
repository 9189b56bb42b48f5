//! Operators on single elements, and softmax.

use crate::check::{checked, refuse};
use crate::layer::{Add, Clamp, Lookup, PRelu, Softmax};

/// `output[i]` from `a[i]` and `b[i]`.
pub fn add(layer: &Add<'_>, level: usize, a: &[i8], b: &[i8], output: &mut [i8]) {
    let params = checked!(layer.params.get(level));
    if a.len() != b.len() || a.len() != output.len() {
        return refuse();
    }
    for ((out, &a), &b) in output.iter_mut().zip(a).zip(b) {
        *out = params.apply(a, b);
    }
}

/// [`add`] with the result in place of `a`, which takes `factor_a`.
pub fn add_in_place(layer: &Add<'_>, level: usize, a_and_output: &mut [i8], b: &[i8]) {
    let params = checked!(layer.params.get(level));
    if a_and_output.len() != b.len() {
        return refuse();
    }
    for (a, &b) in a_and_output.iter_mut().zip(b) {
        *a = params.apply(*a, b);
    }
}

/// Clamps every element to the level's bounds; a lower bound above the upper one wins.
pub fn clamp(layer: &Clamp<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let &[low, high] = checked!(layer.bounds.get(level));
    if input.len() != output.len() {
        return refuse();
    }
    for (out, &x) in output.iter_mut().zip(input) {
        *out = x.min(high).max(low);
    }
}

/// [`clamp`] in place.
pub fn clamp_in_place(layer: &Clamp<'_>, level: usize, data: &mut [i8]) {
    let &[low, high] = checked!(layer.bounds.get(level));
    for x in data {
        *x = (*x).min(high).max(low);
    }
}

/// Softmax over the channels of each pixel, in the fixed-point form that [`Softmax`] tells.
pub fn softmax(layer: &Softmax<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let table = checked!(layer.check(level, input, output));
    let channels = usize::from(layer.channels);
    if channels == 0 {
        return;
    }
    let pixels = input.chunks_exact(channels);
    for (input, output) in pixels.zip(output.chunks_exact_mut(channels)) {
        let max = i32::from(input.iter().copied().max().unwrap_or(0));
        let power = |q: i8| table[(max - i32::from(q)) as u8 as usize];
        if channels < 1 << 11 {
            // Entries are 2^20 at most: all fits 32 bits.
            let sum = input.iter().map(|&q| power(q)).sum::<u32>().max(1);
            for (out, &q) in output.iter_mut().zip(input) {
                let share = (256 * power(q)).wrapping_add(sum / 2) / sum;
                *out = (share.min(255) as i32 - 128) as i8;
            }
        } else {
            let sum = input
                .iter()
                .map(|&q| u64::from(power(q)))
                .sum::<u64>()
                .max(1);
            for (out, &q) in output.iter_mut().zip(input) {
                let share = (256 * u64::from(power(q)) + sum / 2) / sum;
                *out = (share.min(255) as i32 - 128) as i8;
            }
        }
    }
}

/// The table's entry for every element.
pub fn lookup(layer: &Lookup<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let table = checked!(layer.table.get(level));
    if input.len() != output.len() {
        return refuse();
    }
    for (out, &x) in output.iter_mut().zip(input) {
        *out = table[x as u8 as usize];
    }
}

/// [`lookup`] in place.
pub fn lookup_in_place(layer: &Lookup<'_>, level: usize, data: &mut [i8]) {
    let table = checked!(layer.table.get(level));
    for x in data {
        *x = table[*x as u8 as usize];
    }
}

/// A slope above zero and one below for each channel.
pub fn prelu(layer: &PRelu<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let (zero, params) = checked!(layer.check(level, input.len(), output.len()));
    if params.is_empty() {
        return;
    }
    let pixels = input.chunks_exact(params.len());
    for (out, x) in output.chunks_exact_mut(params.len()).zip(pixels) {
        for ((out, &x), params) in out.iter_mut().zip(x).zip(params) {
            *out = params.apply(x.max(zero), x.min(zero));
        }
    }
}

/// [`prelu`] in place.
pub fn prelu_in_place(layer: &PRelu<'_>, level: usize, data: &mut [i8]) {
    let (zero, params) = checked!(layer.check(level, data.len(), data.len()));
    if params.is_empty() {
        return;
    }
    for pixel in data.chunks_exact_mut(params.len()) {
        for (x, params) in pixel.iter_mut().zip(params) {
            *x = params.apply((*x).max(zero), (*x).min(zero));
        }
    }
}
