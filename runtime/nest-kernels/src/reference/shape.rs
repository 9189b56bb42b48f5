//! Operators that only move elements. The device runs these, too, so that they hold no panic.

use crate::check::checked;
use crate::layer::{Loop, Move, Pad, Resize};

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

/// Copies what the nests name.
pub fn move_elements(layer: &Move<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let table = checked!(layer.check(level, input, output));
    for nest in layer.nests {
        let (&inner, outer) = nest.loops.split_last().unwrap_or((&[1, 0, 0], &[]));
        for [from, to] in nest.rounds(outer) {
            if let (Some(input), Some(output)) = (input.get(from..), output.get_mut(to..)) {
                run(inner, input, output, table);
            }
        }
    }
}

/// The innermost loop: from the start of `input` to the start of `output`.
fn run(
    [count, from_step, to_step]: Loop,
    input: &[i8],
    output: &mut [i8],
    table: Option<&[i8; 256]>,
) {
    let count = count as usize;
    match (table, from_step, to_step) {
        (None, 1, 1) => copy(output, 0, input.get(..count).unwrap_or(&[])),
        (None, 0, 1) => {
            if let (Some(&x), Some(output)) = (input.first(), output.get_mut(..count)) {
                output.fill(x);
            }
        }
        (Some(table), 1, 1) => {
            for (out, &x) in output.iter_mut().zip(input).take(count) {
                *out = table[x as u8 as usize];
            }
        }
        _ => {
            let (mut from, mut to) = (0, 0);
            for _ in 0..count {
                if let (Some(&x), Some(out)) = (input.get(from), output.get_mut(to)) {
                    *out = table.map_or(x, |table| table[x as u8 as usize]);
                }
                from += from_step as usize;
                to += to_step as usize;
            }
        }
    }
}

/// Linear interpolation between rows and between columns.
pub fn resize(layer: &Resize<'_>, input: &[i8], output: &mut [i8]) {
    checked!(layer.check(input, output));
    let [_, w, c] = layer.input.map(usize::from);
    if c == 0 {
        return;
    }
    let mut pixels = output.chunks_exact_mut(c);
    for &[above, below, down] in layer.rows {
        let pixel = |row: u16, column: u16| {
            let at = (usize::from(row) * w + usize::from(column)) * c;
            input.get(at..).unwrap_or(&[])
        };
        for (&[left, right, across], pixel_out) in layer.columns.iter().zip(&mut pixels) {
            let [v, h] = [i32::from(down), i32::from(across)];
            let shares = [(256 - v) * (256 - h), (256 - v) * h, v * (256 - h), v * h];
            let (x00, x01) = (pixel(above, left), pixel(above, right));
            let (x10, x11) = (pixel(below, left), pixel(below, right));
            let taps = x00.iter().zip(x01).zip(x10).zip(x11);
            for (out, (((&x00, &x01), &x10), &x11)) in pixel_out.iter_mut().zip(taps) {
                let sum = shares[0] * i32::from(x00)
                    + shares[1] * i32::from(x01)
                    + shares[2] * i32::from(x10)
                    + shares[3] * i32::from(x11);
                *out = ((sum + (1 << 15)) >> 16) as i8;
            }
        }
    }
}
