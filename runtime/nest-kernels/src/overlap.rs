//! Outputs that share bytes with their input.
//!
//! A convolution runs pass by pass. A pass packs the windows of its output pixels, which are a range
//! in raster order, and then writes those pixels. So the output may begin below the input and grow
//! into it, as long as no pass writes what a later one has yet to pack. How far below follows from
//! the geometry and the passes alone; kernel, planner and verifier ask the functions here.

use crate::dense_layout::DensePasses;
use crate::layer::{Geometry, Tile};
use crate::nested_layout::NestedLayout;

/// The first input element that windows of the output pixels `first` to `end` (excluded, above
/// `first`) may reach.
fn first_element(g: &Geometry, first: usize, end: usize) -> usize {
    let out_w = (g.out_w as usize).max(1);
    let of = |pixel: usize| {
        let y = (pixel / out_w * g.stride_h as usize).saturating_sub(g.pad_top as usize);
        let x = (pixel % out_w * g.stride_w as usize).saturating_sub(g.pad_left as usize);
        (y * g.in_w as usize + x) * g.in_c as usize
    };
    // Windows move right within a row and down from row to row: the first of the next row may reach
    // further back than the first of all.
    let next_row = first - first % out_w + out_w;
    if next_row < end {
        of(first).min(of(next_row))
    } else {
        of(first)
    }
}

/// How many elements below the input the output must begin at least, for passes given as the first
/// pixel whose window they pack and the pixel after the last they write.
pub(crate) fn least_distance(g: &Geometry, passes: impl Iterator<Item = (usize, usize)>) -> usize {
    let (mut written, mut least) = (0, 0);
    for (first, end) in passes {
        let over = written * g.out_c as usize;
        least = least.max(over.saturating_sub(first_element(g, first, end)));
        written = end;
    }
    least
}

/// How many elements below its input the output of [`crate::conv_nested_in_place`] must begin at
/// least; `None` for a layer that the tile cannot run.
pub fn conv_nested_least_distance(g: &Geometry, tile: Tile, pass_tiles: u16) -> Option<usize> {
    let layout = NestedLayout::of(g, tile)?;
    let passes = (0..).map_while(|index| layout.pass(pass_tiles.into(), index));
    Some(least_distance(g, passes.map(|pass| (pass.first, pass.end))))
}

/// How many elements below its input the output of [`crate::conv_dense_in_place`] must begin at
/// least.
pub fn conv_dense_least_distance(g: &Geometry, pass_tiles: u16) -> usize {
    let passes = DensePasses::new(g.out_pixels(), pass_tiles);
    least_distance(g, passes.map(|pass| (pass.first, pass.end)))
}

/// The input and the output of a call in place: `input_at` elements from the output's start on.
/// `None` unless `data` ends with the later of both.
#[cfg_attr(all(target_os = "none", not(nest_armv7em)), allow(dead_code))]
pub(crate) fn parts<'a>(
    g: &Geometry,
    data: &'a [i8],
    input_at: usize,
) -> Option<(&'a [i8], &'a [i8])> {
    let len = |h: u16, w: u16, c: u16| h as usize * w as usize * c as usize;
    let input_len = len(g.in_h, g.in_w, g.in_c);
    let input = data.get(input_at..input_at.checked_add(input_len)?)?;
    let output = data.get(..len(g.out_h, g.out_w, g.out_c))?;
    (data.len() == output.len().max(input_at + input_len)).then_some((input, output))
}
