//! The choice of a convolution's kernel. What a format makes of a layer stands in that format's own
//! file.

use nest_kernels::layer::{Geometry, Tile};
use nest_kernels::{Demand, DepthwiseForm, Kernel, kernel_info};

use crate::ir::float::Shape;
use crate::ir::int::IntConv;
use crate::ir::program::Candidate;
use crate::ir::rounding::row_fits;
use crate::units::Bytes;

use super::choose::Preferences;
use super::step::{Chosen, Fault, geometry, narrow};
use super::{block, compact, dense, depthwise, generic, nested};

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

    /// What the layer asks of a kernel.
    ///
    /// # Errors
    /// Extents beyond 16 bits.
    pub fn demand(&self) -> Result<Demand, String> {
        let op = self.op;
        let levels_differ = (op.weight_levels.as_ref())
            .is_some_and(|levels| (op.weight.iter().zip(levels)).any(|(&w, &l)| w != 0 && l != 0));
        Ok(Demand {
            geometry: self.geometry()?,
            groups: narrow(op.groups, "groups")?,
            levels_differ,
            rows_fit: (op.weight.chunks(self.row().max(1))).all(|r| row_fits(r.iter().copied())),
        })
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

/// Every way to run a convolution: a kernel of the table and what lays the weights out for it.
type Build = fn(&ConvLayer<'_>) -> Result<Chosen, String>;
static CONVOLUTIONS: &[(Kernel, Build)] = &[
    (Kernel::ConvNested(Tile::P8), |c| nested::conv(c, Tile::P8)),
    (Kernel::ConvNested(Tile::P4), |c| nested::conv(c, Tile::P4)),
    (Kernel::ConvNested(Tile::P2), |c| nested::conv(c, Tile::P2)),
    (Kernel::ConvCompact(Tile::P8), |c| {
        compact::conv(c, Tile::P8)
    }),
    (Kernel::ConvCompact(Tile::P4), |c| {
        compact::conv(c, Tile::P4)
    }),
    (Kernel::ConvCompact(Tile::P2), |c| {
        compact::conv(c, Tile::P2)
    }),
    (Kernel::ConvBlock, block::conv),
    (Kernel::ConvDense, dense::conv),
    (
        Kernel::Depthwise(DepthwiseForm::Strips3x3),
        depthwise::depthwise,
    ),
    (
        Kernel::Depthwise(DepthwiseForm::Strips5x5),
        depthwise::depthwise,
    ),
    (Kernel::Depthwise(DepthwiseForm::Taps), depthwise::depthwise),
    (Kernel::ConvGeneric, generic::conv),
];
/// The same for layers that see their whole input at once.
static VECTORS: &[(Kernel, Build)] = &[
    (Kernel::DenseNested, nested::fully_connected),
    (Kernel::FullyConnected, dense::fully_connected),
];

/// The kernel of a convolution, and all that were considered.
///
/// # Errors
/// If no kernel runs it, or not the one that was asked for.
pub(super) fn choose(
    conv: &ConvLayer<'_>,
    layer: &str,
    preferences: &Preferences,
) -> Result<(Chosen, Vec<Candidate>), Fault> {
    let demand = conv.demand()?;
    let ways = if demand.covers_map() {
        VECTORS
    } else {
        CONVOLUTIONS
    };
    let mut built = Vec::new();
    let mut candidates = Vec::new();
    for (kernel, build) in ways {
        let row = kernel_info(*kernel);
        let chosen = match (row.refuses)(&demand) {
            Some(why) => Err(why.to_owned()),
            // The general kernel would do, but the special one is the same at less cost.
            None if specialised(*kernel, &demand) => continue,
            None => build(conv),
        };
        candidates.push(Candidate {
            kernel: row.name,
            refused: chosen.as_ref().err().cloned(),
            cycles: chosen.iter().flat_map(|c| c.cycles(conv)).collect(),
            flash: Bytes(
                chosen
                    .as_ref()
                    .map_or(0, |c| c.weight_bytes + c.index_bytes),
            ),
            scratch_words: chosen.as_ref().map_or(0, |c| c.scratch_words),
        });
        built.push(chosen.ok());
    }
    let at = preferences.pick(layer, &candidates).map_err(Fault::Other)?;
    match built.swap_remove(at) {
        Some(chosen) => Ok((chosen, candidates)),
        None => unreachable!("what is picked was built"),
    }
}

/// Whether another row of the table runs the same code made for this layer.
fn specialised(kernel: Kernel, demand: &Demand) -> bool {
    kernel == Kernel::Depthwise(DepthwiseForm::Taps)
        && DepthwiseForm::of(&demand.geometry) != DepthwiseForm::Taps
}
