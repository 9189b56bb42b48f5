//! Functions of two maps. The device runs these, too, so that they hold no panic.

use crate::check::checked;
use crate::layer::{Binary, Operation};

/// Elements from row to row, from column to column and from channel to channel of an input; 0 along
/// axes that it serves with one.
fn steps([h, w, c]: [u16; 3]) -> [usize; 3] {
    let [w, c] = [usize::from(w), usize::from(c)];
    [
        if h == 1 { 0 } else { w * c },
        if w == 1 { 0 } else { c },
        usize::from(c != 1),
    ]
}

/// A map whose elements a function of two maps reads.
struct Operand<'a> {
    data: &'a [i8],
    steps: [usize; 3],
}

impl<'a> Operand<'a> {
    fn new(data: &'a [i8], extent: [u16; 3]) -> Self {
        Self {
            data,
            steps: steps(extent),
        }
    }
    /// What channels from a pixel's first on read.
    fn pixel(&self, y: usize, x: usize) -> &'a [i8] {
        let at = y * self.steps[0] + x * self.steps[1];
        self.data.get(at..).unwrap_or(&[])
    }
}

/// Calls `each` with the pixels of an output, in rows and columns.
fn pixels(extent: [u16; 3], output: &mut [i8], mut each: impl FnMut(usize, usize, &mut [i8])) {
    let [_, w, c] = extent.map(usize::from);
    if w == 0 || c == 0 {
        return;
    }
    let (mut y, mut x) = (0, 0);
    for pixel in output.chunks_exact_mut(c) {
        each(y, x, pixel);
        x += 1;
        if x == w {
            (y, x) = (y + 1, 0);
        }
    }
}

fn apart(layer: &Binary<'_>, a: &[i8], b: &[i8], output: &mut [i8], f: impl Fn(i8, i8) -> i8) {
    if layer.a == layer.output && layer.b == layer.output {
        for ((out, &a), &b) in output.iter_mut().zip(a).zip(b) {
            *out = f(a, b);
        }
        return;
    }
    let (a, b) = (Operand::new(a, layer.a), Operand::new(b, layer.b));
    pixels(layer.output, output, |y, x, pixel| {
        let (of_a, of_b) = (a.pixel(y, x), b.pixel(y, x));
        for (channel, out) in pixel.iter_mut().enumerate() {
            let a = of_a.get(channel * a.steps[2]);
            if let (Some(&a), Some(&b)) = (a, of_b.get(channel * b.steps[2])) {
                *out = f(a, b);
            }
        }
    });
}

fn over(layer: &Binary<'_>, data: &mut [i8], b: &[i8], f: impl Fn(i8, i8) -> i8) {
    if layer.b == layer.output {
        for (a, &b) in data.iter_mut().zip(b) {
            *a = f(*a, b);
        }
        return;
    }
    let b = Operand::new(b, layer.b);
    pixels(layer.output, data, |y, x, pixel| {
        let of_b = b.pixel(y, x);
        for (channel, a) in pixel.iter_mut().enumerate() {
            if let Some(&b) = of_b.get(channel * b.steps[2]) {
                *a = f(*a, b);
            }
        }
    });
}

/// The function of every pair of elements.
pub fn binary(layer: &Binary<'_>, level: usize, a: &[i8], b: &[i8], output: &mut [i8]) {
    checked!(layer.check(a.len(), b.len(), output.len()));
    match layer.operation {
        Operation::Sum(params) => {
            let p = checked!(params.get(level));
            apart(layer, a, b, output, |a, b| p.apply(a, b));
        }
        Operation::Product(params) => {
            let p = checked!(params.get(level));
            apart(layer, a, b, output, |a, b| p.apply(a, b));
        }
        Operation::Least(params) => {
            let [p, q] = checked!(params.get(level));
            apart(layer, a, b, output, |a, b| p.apply(a, 0).min(q.apply(b, 0)));
        }
        Operation::Largest(params) => {
            let [p, q] = checked!(params.get(level));
            apart(layer, a, b, output, |a, b| p.apply(a, 0).max(q.apply(b, 0)));
        }
    }
}

/// [`binary`] with the result in place of `a`, which has the output's extent.
pub fn binary_in_place(layer: &Binary<'_>, level: usize, a_and_output: &mut [i8], b: &[i8]) {
    let len = a_and_output.len();
    checked!(
        layer
            .check(len, b.len(), len)
            .filter(|()| layer.a == layer.output)
    );
    let data = a_and_output;
    match layer.operation {
        Operation::Sum(params) => {
            let p = checked!(params.get(level));
            over(layer, data, b, |a, b| p.apply(a, b));
        }
        Operation::Product(params) => {
            let p = checked!(params.get(level));
            over(layer, data, b, |a, b| p.apply(a, b));
        }
        Operation::Least(params) => {
            let [p, q] = checked!(params.get(level));
            over(layer, data, b, |a, b| p.apply(a, 0).min(q.apply(b, 0)));
        }
        Operation::Largest(params) => {
            let [p, q] = checked!(params.get(level));
            over(layer, data, b, |a, b| p.apply(a, 0).max(q.apply(b, 0)));
        }
    }
}
