//! Operators on single elements, and softmax.

use crate::check::{checked, refuse};
use crate::layer::{Add, Clamp, Softmax};

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

/// Softmax over the whole slice, in the fixed-point form that [`Softmax`] tells.
pub fn softmax(layer: &Softmax<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let table = checked!(layer.table.get(level));
    if input.len() != output.len() {
        return refuse();
    }
    let max = i32::from(input.iter().copied().max().unwrap_or(0));
    let power = |q: i8| u64::from(table[(max - i32::from(q)) as u8 as usize]);
    let sum = input.iter().map(|&q| power(q)).sum::<u64>().max(1);
    for (out, &q) in output.iter_mut().zip(input) {
        let share = (256 * power(q) + sum / 2) / sum;
        *out = (share.min(255) as i32 - 128) as i8;
    }
}
