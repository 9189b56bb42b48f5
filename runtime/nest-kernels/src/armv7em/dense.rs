//! Fully connected layers.

use core::arch::global_asm;

use crate::check::checked;
use crate::layer::{DenseNested, FullyConnected};

global_asm!(include_str!("dense.s"), options(raw));

unsafe extern "C" {
    fn nest_kernels_dot(a: *const i8, b: *const i8, n: usize) -> i32;
    fn nest_kernels_dot_nested(words: *const u32, end: *const u32, vector: *const i8) -> i32;
}

/// The dot product of two vectors, as far as the shorter one goes.
pub(super) fn dot(a: &[i8], b: &[i8]) -> i32 {
    // SAFETY: both slices hold that many elements.
    unsafe { nest_kernels_dot(a.as_ptr(), b.as_ptr(), a.len().min(b.len())) }
}

/// Fully connected layer with nested sparse weights: `input` holds the stream's columns, `output`
/// its rows.
pub fn dense_nested(layer: &DenseNested<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let (requant, zero) = checked!(layer.check(level, input, output));
    let stream = &layer.stream;
    let active = stream.prefix(level).iter();
    let stored = stream.prefix(stream.levels().saturating_sub(1)).iter();
    let mut words = stream.words().as_ptr();
    for (((out, requant), active), stored) in output.iter_mut().zip(requant).zip(active).zip(stored)
    {
        let end = words.wrapping_add(active as usize);
        // SAFETY: the stream's constructor saw that its counts sum up to its words and that every
        // column lies within its columns, which the input holds.
        *out = requant.apply(
            unsafe { nest_kernels_dot_nested(words, end, input.as_ptr()) },
            zero,
        );
        words = words.wrapping_add(stored as usize);
    }
}

/// Fully connected layer: `output[o]` from `weights[o][..]` and the whole input.
pub fn fully_connected(layer: &FullyConnected<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let (requant, zero) = checked!(layer.check(level, input, output));
    if input.is_empty() {
        for (out, requant) in output.iter_mut().zip(requant) {
            *out = requant.apply(0, zero);
        }
        return;
    }
    let rows = layer.weights.chunks_exact(input.len());
    for ((out, requant), row) in output.iter_mut().zip(requant).zip(rows) {
        *out = requant.apply(dot(row, input), zero);
    }
}
