//! The choice of a convolution's kernel. What a format makes of a layer stands in that format's own
//! file.

use nest_kernels::layer::Geometry;

use crate::ir::float::Shape;
use crate::ir::int::IntConv;

use super::step::{Chosen, geometry, narrow};
use super::{DENSE_SHARE, dense, depthwise, generic, nested, row_fits};

/// A convolution between its tensors.
pub(super) struct ConvLayer<'a> {
    /// Weights and constants.
    pub op: &'a IntConv,
    /// Levels of the network.
    pub levels: usize,
    /// The input's extent.
    pub x: Shape,
    /// The output's extent.
    pub y: Shape,
    /// The input's zero points, one a level.
    pub pad: Vec<i8>,
}

impl ConvLayer<'_> {
    /// Weights of an output channel.
    pub fn row(&self) -> usize {
        self.op.group_channels * self.op.window.taps()
    }

    /// Whether levels hold different weights.
    pub fn has_levels(&self) -> bool {
        self.op.weight_levels.is_some()
    }

    /// Whether every row's sum fits a packed accumulator.
    pub fn rows_fit(&self) -> bool {
        (self.op.weight.chunks(self.row().max(1))).all(|r| row_fits(r.iter().copied()))
    }

    /// Whether one window covers the whole input: a fully connected layer.
    pub fn covers_map(&self) -> bool {
        let window = &self.op.window;
        self.op.groups == 1
            && window.kernel == [self.x.h, self.x.w]
            && window.pads == [0; 4]
            && window.dilation == [1, 1]
            && self.y.pixels() == 1
    }

    /// Extents as kernels count them.
    ///
    /// # Errors
    /// Extents beyond 16 bits.
    pub fn geometry(&self) -> Result<Geometry, String> {
        geometry(&self.op.window, self.x, self.y)
    }

    /// Columns of a row over all input channels, as sparse and dense storage count them.
    ///
    /// # Errors
    /// More than 16 bits of them.
    pub fn columns(&self) -> Result<u16, String> {
        narrow(self.x.c * self.op.window.taps(), "columns of weights")
    }
}

/// The kernel of a convolution, or which extent is too large.
pub(super) fn choose(conv: &ConvLayer<'_>) -> Result<Chosen, String> {
    let op = conv.op;
    let nested = conv.has_levels();
    let rows_fit = conv.rows_fit();
    if nested && !rows_fit {
        return Err("nested rows beyond the 23 bits of a packed sum".to_owned());
    }
    let nonzero = op.weight.iter().filter(|&&w| w != 0).count();
    let dense = !nested && nonzero as f64 > DENSE_SHARE * op.weight.len() as f64;
    if conv.covers_map() {
        return if dense || !rows_fit {
            dense::fully_connected(conv)
        } else {
            nested::fully_connected(conv)
        };
    }
    if op.groups > 1 && !nested {
        return if op.group_channels == 1 {
            depthwise::depthwise(conv)
        } else {
            generic::conv(conv)
        };
    }
    // Only the generic kernel takes any row, and beyond 16 bits of columns only it counts.
    if !rows_fit || (!nested && conv.columns().is_err()) {
        return generic::conv(conv);
    }
    if dense {
        dense::conv(conv)
    } else {
        nested::conv(conv)
    }
}
