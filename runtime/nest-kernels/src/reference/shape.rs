//! Operators that only move elements. The device runs these, too, so that they hold no panic.

use crate::check::checked;
use crate::layer::{Pad, Slice};

/// Constant padding.
pub fn pad(layer: &Pad<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let value = checked!(layer.check(level, input, output));
    output.fill(value);
    let [_, w, c] = layer.input.map(usize::from);
    let [_, out_w, out_c] = layer.output.map(usize::from);
    let [top, left, front] = layer.before.map(usize::from);
    if c == 0 || w == 0 {
        return;
    }
    if c == out_c {
        // Rows as a whole.
        for (y, row) in input.chunks_exact(w * c).enumerate() {
            copy(output, ((y + top) * out_w + left) * c, row);
        }
        return;
    }
    for (index, pixel) in input.chunks_exact(c).enumerate() {
        let at = ((index / w + top) * out_w + index % w + left) * out_c + front;
        copy(output, at, pixel);
    }
}

/// Copies `from` to `to[at..]`, if it fits there.
fn copy(to: &mut [i8], at: usize, from: &[i8]) {
    if let Some(to) = to.get_mut(at..).and_then(|to| to.get_mut(..from.len())) {
        to.copy_from_slice(from);
    }
}

/// Strided selection.
pub fn slice(layer: &Slice, input: &[i8], output: &mut [i8]) {
    checked!(layer.check(input, output));
    let [_, in_w, in_c] = layer.input.map(usize::from);
    let [_, out_w, out_c] = layer.output.map(usize::from);
    let [top, left, front] = layer.start.map(usize::from);
    let [down, right, deep] = layer.step.map(usize::from);
    if out_c == 0 || out_w == 0 {
        return;
    }
    for (index, pixel) in output.chunks_exact_mut(out_c).enumerate() {
        let (y, x) = (index / out_w * down + top, index % out_w * right + left);
        let at = (y * in_w + x) * in_c + front;
        if deep == 1 {
            if let Some(from) = input.get(at..).and_then(|from| from.get(..out_c)) {
                copy(pixel, 0, from);
            }
            continue;
        }
        for (channel, out) in pixel.iter_mut().enumerate() {
            if let Some(&x) = input.get(at + channel * deep) {
                *out = x;
            }
        }
    }
}
