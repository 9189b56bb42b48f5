//! Which layers a kernel runs: the rules behind the table's `accepts`.

use crate::depthwise_layout::DepthwiseForm;
use crate::layer::{Geometry, Tile};
use crate::nested_layout::NestedLayout;

/// What a layer with weights asks of its kernel.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Extents.
    pub geometry: Geometry,
    /// Groups; divides both channel counts.
    pub groups: u16,
    /// Whether levels hold different weights.
    pub levels_differ: bool,
    /// Whether every row's packed sum stays within 23 bits, see [`nest_format::NestedStream`].
    pub rows_fit: bool,
}

const LEVELS: &str = "its levels hold different weights";
const ROWS: &str = "the packed sum of a row could leave 23 bits";

impl Demand {
    fn groups_are_channels(&self) -> bool {
        self.groups == self.geometry.in_c && self.groups > 0
    }
    /// One window over the whole input: a vector to the kernels of `dense`.
    pub fn covers_map(&self) -> bool {
        let g = &self.geometry;
        self.groups == 1
            && (g.kernel_h, g.kernel_w) == (g.in_h, g.in_w)
            && (g.dilation_h, g.dilation_w) == (1, 1)
            && (g.pad_top, g.pad_left) == (0, 0)
            && (g.out_h, g.out_w) == (1, 1)
    }
}

/// The first of the conditions that holds.
fn first(conditions: &[(bool, &'static str)]) -> Option<&'static str> {
    conditions
        .iter()
        .find(|(holds, _)| *holds)
        .map(|(_, why)| *why)
}

/// Operators without weights: the operator alone decides.
pub(crate) fn nothing(_: &Demand) -> Option<&'static str> {
    None
}

fn nested_by(d: &Demand, tile: Tile) -> Option<&'static str> {
    first(&[
        (!d.rows_fit, ROWS),
        (
            NestedLayout::of(&d.geometry, tile).is_none(),
            "its windows are too large for the tile, or its output has fewer pixels",
        ),
    ])
}

pub(crate) fn nested_p8(d: &Demand) -> Option<&'static str> {
    nested_by(d, Tile::P8)
}

pub(crate) fn nested_p4(d: &Demand) -> Option<&'static str> {
    nested_by(d, Tile::P4)
}

pub(crate) fn nested_p2(d: &Demand) -> Option<&'static str> {
    nested_by(d, Tile::P2)
}

/// Of the reference.
pub(crate) fn nested(d: &Demand) -> Option<&'static str> {
    first(&[(!d.rows_fit, ROWS)])
}

pub(crate) fn dense(d: &Demand) -> Option<&'static str> {
    first(&[
        (d.levels_differ, LEVELS),
        (d.groups != 1, "more than one group"),
        (
            d.geometry.columns() > usize::from(u16::MAX),
            "more than 65535 columns",
        ),
    ])
}

pub(crate) fn block(d: &Demand) -> Option<&'static str> {
    let g = &d.geometry;
    first(&[
        (g.in_c % 4 != 0, "input channels do not come in fours"),
        (
            g.columns() > usize::from(u16::MAX),
            "more than 65535 columns",
        ),
        (g.out_pixels() == 0, "no output pixels"),
    ])
}

pub(crate) fn generic(d: &Demand) -> Option<&'static str> {
    first(&[(d.levels_differ, LEVELS)])
}

pub(crate) fn depthwise(d: &Demand) -> Option<&'static str> {
    first(&[
        (!d.groups_are_channels(), "not one input channel a group"),
        (d.levels_differ, LEVELS),
    ])
}

fn depthwise_by(d: &Demand, form: DepthwiseForm, window: &'static str) -> Option<&'static str> {
    let g = &d.geometry;
    let size = match form {
        DepthwiseForm::Strips3x3 => 3,
        _ => 5,
    };
    depthwise(d).or_else(|| {
        first(&[
            ((g.kernel_h, g.kernel_w) != (size, size), window),
            (
                (g.dilation_h, g.dilation_w) != (1, 1),
                "taps that are not neighbours",
            ),
            (
                g.out_c != g.in_c,
                "several output channels for an input channel",
            ),
            (
                DepthwiseForm::of(g) != form,
                "fewer than 4 channels, strides other than 1 and 2, or more than 512 columns",
            ),
        ])
    })
}

pub(crate) fn depthwise_3x3(d: &Demand) -> Option<&'static str> {
    depthwise_by(d, DepthwiseForm::Strips3x3, "not a window of 3 x 3")
}

pub(crate) fn depthwise_5x5(d: &Demand) -> Option<&'static str> {
    depthwise_by(d, DepthwiseForm::Strips5x5, "not a window of 5 x 5")
}

pub(crate) fn vector(d: &Demand) -> Option<&'static str> {
    first(&[
        (d.levels_differ, LEVELS),
        (!d.covers_map(), "not one window over the whole input"),
    ])
}

pub(crate) fn vector_nested(d: &Demand) -> Option<&'static str> {
    first(&[
        (!d.covers_map(), "not one window over the whole input"),
        (!d.rows_fit, ROWS),
    ])
}
