//! Convolutions: strips of output pixels are gathered into `[column][pixel]`, so that one weight
//! meets neighbouring pixels in neighbouring lanes.

use nest_format::Requant;

use super::{block_rows, compact_rows, nested_rows};
use crate::check::{AtLevel, checked};
use crate::layer::{ConvBlock, ConvCompact, ConvDense, ConvGeneric, ConvNested, Geometry};
use crate::nested_layout::NestedLayout;

/// Convolution with nested sparse weights at a level. `input` is `[in_h][in_w][in_c]`, `output`
/// `[out_h][out_w][out_c]`; `scratch` holds [`crate::conv_nested_scratch_words`] words.
pub fn conv_nested(
    layer: &ConvNested<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    _scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let columns = Columns::Nested(checked!(layer.layout()));
    conv(&layer.geometry, 1, columns, at, input, output, |_| {
        nested_rows(&layer.stream, level)
    });
}

/// [`conv_nested`] in place, as if from a copy of the input: the output is at the start of `data`,
/// the input `input_at` elements from there on. There is none without an operating
/// system, and so without a heap.
#[cfg(not(target_os = "none"))]
pub fn conv_nested_in_place(
    layer: &ConvNested<'_>,
    level: usize,
    data: &mut [i8],
    input_at: usize,
    scratch: &mut [u32],
) {
    let g = &layer.geometry;
    let least = crate::conv_nested_least_distance(g, layer.tile, layer.pass_tiles);
    let (input, output) = checked!(copied(g, data, input_at, least));
    conv_nested(layer, level, &input, output, scratch);
}

/// [`conv_dense`] in place: see [`conv_nested_in_place`].
#[cfg(not(target_os = "none"))]
pub fn conv_dense_in_place(
    layer: &ConvDense<'_>,
    level: usize,
    data: &mut [i8],
    input_at: usize,
    scratch: &mut [u32],
) {
    let g = &layer.geometry;
    let least = Some(crate::conv_dense_least_distance(g, layer.pass_tiles));
    let (input, output) = checked!(copied(g, data, input_at, least));
    conv_dense(layer, level, &input, output, scratch);
}

/// A copy of the input, and the output, of a call in place that keeps the least distance.
#[cfg(not(target_os = "none"))]
fn copied<'a>(
    g: &Geometry,
    data: &'a mut [i8],
    input_at: usize,
    least: Option<usize>,
) -> Option<(alloc::vec::Vec<i8>, &'a mut [i8])> {
    let (input, output) = crate::overlap::parts(g, data, input_at)?;
    let (input, outputs) = (input.to_vec(), output.len());
    let output = data.get_mut(..outputs)?;
    (least? <= input_at).then_some((input, output))
}

/// Convolution with compact sparse weights at a level; slices as in [`conv_nested`], `scratch` holds
/// [`crate::conv_compact_scratch_words`] words.
pub fn conv_compact(
    layer: &ConvCompact<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    _scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let columns = Columns::Nested(checked!(layer.layout()));
    conv(&layer.geometry, 1, columns, at, input, output, |_| {
        compact_rows(layer.stream, level)
    });
}

/// Convolution with 1x4 blocks of sparse weights at a level; slices as in [`conv_nested`], `scratch`
/// holds [`crate::conv_block_scratch_words`] words.
pub fn conv_block(
    layer: &ConvBlock<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    _scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let order = Columns::Dense;
    conv(&layer.geometry, 1, order, at, input, output, |_| {
        block_rows(layer.stream, level)
    });
}

/// Convolution with dense weights at a level; slices as in [`conv_nested`], `scratch` holds
/// [`crate::conv_dense_scratch_words`] words.
pub fn conv_dense(
    layer: &ConvDense<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    _scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let weights = layer.weights;
    conv(
        &layer.geometry,
        1,
        Columns::Dense,
        at,
        input,
        output,
        |_| {
            let columns = weights.columns();
            (0..weights.rows()).map(move |row| {
                (0..columns).map(move |column| (column, i16::from(weights.weight(row, column))))
            })
        },
    );
}

/// Convolution of any number of groups at a level; slices as in [`conv_nested`].
pub fn conv_generic(layer: &ConvGeneric<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let at = checked!(layer.check(level, input, output));
    let groups = layer.groups as usize;
    let per_group = layer.weights.len() / groups;
    let columns = layer.geometry.columns() / groups;
    conv(
        &layer.geometry,
        groups,
        Columns::Dense,
        at,
        input,
        output,
        |group| {
            layer.weights[group * per_group..][..per_group]
                .chunks_exact(columns.max(1))
                .map(|row| row.iter().map(|&w| i16::from(w)).enumerate())
        },
    );
}

/// How the columns of a row of weights follow one another.
#[derive(Clone, Copy)]
enum Columns {
    /// `(ky * kernel_w + kx) * in_c + ic`.
    Dense,
    /// As packed activations lie.
    Nested(NestedLayout),
}

impl Columns {
    /// The first column of a tap.
    fn first(self, ky: usize, kx: usize, kernel_w: usize, in_c: usize) -> usize {
        match self {
            Columns::Dense => (ky * kernel_w + kx) * in_c,
            Columns::Nested(layout) => layout.word(ky, kx),
        }
    }

    /// The tap and channel of a column; `None` for columns between blocks.
    fn tap(self, column: usize, kernel_w: usize, in_c: usize) -> Option<(usize, usize, usize)> {
        match self {
            Columns::Dense => {
                let tap = column / in_c;
                Some((tap / kernel_w, tap % kernel_w, column % in_c))
            }
            Columns::Nested(layout) => layout.tap(column),
        }
    }
}

/// One group of a convolution: where its channels lie.
struct Group<'a> {
    geometry: &'a Geometry,
    columns: Columns,
    pad: i8,
    zero: i8,
    first_in: usize,
    in_c: usize,
    first_out: usize,
}

fn conv<R, C>(
    geometry: &Geometry,
    groups: usize,
    order: Columns,
    at: AtLevel<'_>,
    input: &[i8],
    output: &mut [i8],
    rows: impl Fn(usize) -> R,
) where
    R: Iterator<Item = C>,
    C: Iterator<Item = (usize, i16)>,
{
    let in_c = geometry.in_c as usize / groups;
    let out_c = geometry.out_c as usize / groups;
    let columns = match order {
        Columns::Dense => geometry.columns() / groups,
        Columns::Nested(layout) => layout.columns,
    };
    if out_c == 0 {
        return;
    }
    for (index, requant) in at.requant.chunks_exact(out_c).enumerate() {
        let group = Group {
            geometry,
            columns: order,
            pad: at.pad,
            zero: at.zero,
            first_in: index * in_c,
            in_c,
            first_out: index * out_c,
        };
        let rows = || rows(index).zip(requant);
        // Strips of 36 KiB at most: what a stack bears.
        if columns <= 1152 {
            group.strips::<16, 1152, _, _>(input, output, rows);
        } else if columns <= 4608 {
            group.strips::<4, 4608, _, _>(input, output, rows);
        } else {
            group.pixels(input, output, rows);
        }
    }
}

impl Group<'_> {
    /// Pixels in strips of `S`, for up to `N` columns.
    fn strips<'r, const S: usize, const N: usize, R, C>(
        &self,
        input: &[i8],
        output: &mut [i8],
        rows: impl Fn() -> R,
    ) where
        R: Iterator<Item = (C, &'r Requant)>,
        C: Iterator<Item = (usize, i16)>,
    {
        let g = self.geometry;
        let out_c = g.out_c as usize;
        let out_w = g.out_w as usize;
        let mut strip = [[0i16; S]; N];
        for (first, pixels) in output.chunks_mut(S * out_c).enumerate() {
            for (lane, _) in pixels.chunks_exact(out_c).enumerate() {
                let pixel = first * S + lane;
                self.gather(pixel / out_w, pixel % out_w, input, |column, value| {
                    strip[column][lane] = i16::from(value);
                });
            }
            for (row, (weights, requant)) in rows().enumerate() {
                // A fold by value rather than a loop: the sums stay in vector registers.
                let sums = weights.fold([0i32; S], |mut sums, (column, weight)| {
                    for (sum, &value) in sums.iter_mut().zip(&strip[column]) {
                        *sum += i32::from(value) * i32::from(weight);
                    }
                    sums
                });
                for (pixel, sum) in pixels.chunks_exact_mut(out_c).zip(sums) {
                    pixel[self.first_out + row] = requant.apply(sum, self.zero);
                }
            }
        }
    }

    /// Pixel by pixel straight from the input, for any number of columns.
    fn pixels<'r, R, C>(&self, input: &[i8], output: &mut [i8], rows: impl Fn() -> R)
    where
        R: Iterator<Item = (C, &'r Requant)>,
        C: Iterator<Item = (usize, i16)>,
    {
        let g = self.geometry;
        let (out_c, out_w) = (g.out_c as usize, g.out_w as usize);
        let kernel_w = g.kernel_w as usize;
        for (index, pixel) in output.chunks_exact_mut(out_c).enumerate() {
            for (row, (weights, requant)) in rows().enumerate() {
                let mut sum = 0i32;
                for (column, weight) in weights {
                    let Some((ky, kx, channel)) = self.columns.tap(column, kernel_w, self.in_c)
                    else {
                        continue;
                    };
                    let at = g.tap(index / out_w, index % out_w, ky, kx);
                    let value = at.map_or(self.pad, |at| input[at + self.first_in + channel]);
                    sum += i32::from(value) * i32::from(weight);
                }
                pixel[self.first_out + row] = requant.apply(sum, self.zero);
            }
        }
    }

    /// All columns of an output pixel.
    fn gather(&self, oy: usize, ox: usize, input: &[i8], mut put: impl FnMut(usize, i8)) {
        let g = self.geometry;
        let kernel_w = g.kernel_w as usize;
        for ky in 0..g.kernel_h as usize {
            for kx in 0..kernel_w {
                let column = self.columns.first(ky, kx, kernel_w, self.in_c);
                match g.tap(oy, ox, ky, kx) {
                    Some(at) => {
                        let values = &input[at + self.first_in..][..self.in_c];
                        for (channel, &value) in values.iter().enumerate() {
                            put(column + channel, value);
                        }
                    }
                    None => (0..self.in_c).for_each(|channel| put(column + channel, self.pad)),
                }
            }
        }
    }
}
