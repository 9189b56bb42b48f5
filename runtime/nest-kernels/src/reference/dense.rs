//! Fully connected layers.

use super::nested_rows;
use crate::check::checked;
use crate::layer::{DenseNested, FullyConnected};

/// Fully connected layer with nested sparse weights: `input` holds the stream's columns, `output`
/// its rows.
pub fn dense_nested(layer: &DenseNested<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let (requant, zero) = checked!(layer.check(level, input, output));
    let rows = nested_rows(&layer.stream, level);
    for ((row, requant), out) in rows.zip(requant).zip(output) {
        let sum = row.map(|(column, w)| i32::from(input[column]) * i32::from(w));
        *out = requant.apply(sum.sum(), zero);
    }
}

/// Fully connected layer: `output[o]` from `weights[o][..]` and the whole input.
pub fn fully_connected(layer: &FullyConnected<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let (requant, zero) = checked!(layer.check(level, input, output));
    let columns = layer.columns as usize;
    for (o, (out, requant)) in output.iter_mut().zip(requant).enumerate() {
        let row = &layer.weights[o * columns..][..columns];
        let sum = row
            .iter()
            .zip(input)
            .map(|(&w, &x)| i32::from(w) * i32::from(x));
        *out = requant.apply(sum.sum(), zero);
    }
}
