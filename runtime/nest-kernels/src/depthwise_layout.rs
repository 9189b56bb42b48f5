//! How [`crate::depthwise`] runs a layer, and what its scratch holds: compiler and kernel agree here.

use crate::layer::Geometry;

/// The code that runs a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepthwiseForm {
    /// Windows of 3 x 3 over strips, see [`DepthwiseStrips`].
    Strips3x3,
    /// Windows of 5 x 5 over strips.
    Strips5x5,
    /// Any window: tap by tap.
    Taps,
}

impl DepthwiseForm {
    /// The form for a layer.
    pub const fn of(geometry: &Geometry) -> Self {
        match DepthwiseStrips::of(geometry) {
            Some(strips) if strips.kernel == 3 => Self::Strips3x3,
            Some(_) => Self::Strips5x5,
            None => Self::Taps,
        }
    }
}

/// What planes and records may take, in words, unless 4 channels alone need more. Fewer channels at
/// once start more loops: with 16 of them the layer takes 3 % longer.
const WORDS: usize = 2048;

/// The most output columns: more would need scratch beyond reason.
const COLUMNS: u16 = 512;

/// Windows of 3 x 3 or 5 x 5 at stride 1 or 2, for 4 channels and more, each with one output channel.
///
/// The channels are taken in chunks, the rows of a chunk two by two. Scratch holds a *plane* for
/// each channel of a chunk: the last few pairs of input rows (*strips*), padding included, a word
/// for each column. Then follow *records*, the channels' weights and constants; then room that the
/// kernel reads, but does not use. In cycles, about
///
/// ```text
/// block * channels * ceil(out_w / 2) * ceil(out_h / 2)        outputs, 2 x 2 at once
/// + 2 * channels * in_w * strips                              packing
/// + (2 * record + 25) * channels                              weights and constants
/// + (25 * ceil(out_w / 2) + 400) * ceil(out_h / 2) * chunks   starting loops
/// ```
///
/// where `block` is 33 for 3 x 3 at stride 1, 35 at stride 2; 69 for 5 x 5 at stride 1, 73 at stride
/// 2. Of an odd number of 3 x 3 rows the last one takes 20 and 22.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseStrips {
    /// 3 or 5.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Strips of a plane: a power of two.
    pub strips: usize,
    /// Channels of a chunk; the last one may have fewer.
    pub channels: usize,
    /// Columns of a strip, padding included.
    pub columns: usize,
    /// Words of a plane.
    pub plane: usize,
    /// Words of a record.
    pub record: usize,
    /// Words of it all.
    pub words: usize,
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

impl DepthwiseStrips {
    /// Whether [`crate::depthwise_in_place`] runs a layer: over strips, from a map to one of the same
    /// extent, with less padding above than makes rows run ahead of those that are read.
    pub const fn in_place(g: &Geometry) -> bool {
        match Self::of(g) {
            Some(strips) => {
                strips.stride == 1
                    && g.in_h == g.out_h
                    && g.in_w == g.out_w
                    && (g.pad_top as usize) < strips.kernel
            }
            None => false,
        }
    }

    /// The layout for a layer, if it can run over strips.
    pub const fn of(g: &Geometry) -> Option<Self> {
        let fits = (g.kernel_h == 3 || g.kernel_h == 5)
            && g.kernel_w == g.kernel_h
            && (g.stride_h == 1 || g.stride_h == 2)
            && g.stride_w == g.stride_h
            && g.dilation_h == 1
            && g.dilation_w == 1
            && g.in_c >= 4
            && g.out_c == g.in_c
            && g.out_w > 0
            && g.out_w <= COLUMNS;
        if !fits {
            return None;
        }
        let kernel = g.kernel_w as usize;
        let stride = g.stride_w as usize;
        let pixels = (g.out_w as usize).div_ceil(2) * 2;
        let columns = (pixels - 1) * stride + kernel;
        let strips = if kernel == 3 { 2 * stride } else { 4 };
        let plane = strips * columns;
        let record = kernel * (kernel - 1) + 2;
        let groups = (g.in_c as usize).div_ceil(4);
        let at_once = max(WORDS / (4 * (plane + record)), 1);
        let channels = 4 * groups.div_ceil(groups.div_ceil(at_once));
        Some(Self {
            kernel,
            stride,
            strips,
            channels,
            columns,
            plane,
            record,
            words: channels * plane + max((channels + 1) * record, plane),
        })
    }
}

/// Scratch of [`crate::depthwise`]. Tap by tap it holds a pointer for each tap and a pixel of padding;
/// it is none where elements are computed one by one: several output channels for an input channel,
/// or less than 4.
pub const fn depthwise_scratch_words(geometry: &Geometry) -> usize {
    if let Some(strips) = DepthwiseStrips::of(geometry) {
        return strips.words;
    }
    let taps = geometry.kernel_h as usize * geometry.kernel_w as usize;
    let channels = geometry.in_c as usize;
    if geometry.out_c != geometry.in_c || channels < 4 || taps == 0 {
        return 0;
    }
    taps + channels.div_ceil(4)
}
