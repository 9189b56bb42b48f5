//! What a layer is: geometry, weights, and per-level constants.

use nest_format::{
    AddParams, BlockStream, CompactStream, DenseWeights, NestedStream, ProductParams, Requant,
};

/// Extents of a windowed layer. Bottom and right padding follow from the output extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Input rows.
    pub in_h: u16,
    /// Input columns.
    pub in_w: u16,
    /// Input channels.
    pub in_c: u16,
    /// Output rows.
    pub out_h: u16,
    /// Output columns.
    pub out_w: u16,
    /// Output channels.
    pub out_c: u16,
    /// Taps, vertical.
    pub kernel_h: u16,
    /// Taps, horizontal.
    pub kernel_w: u16,
    /// Step, vertical.
    pub stride_h: u16,
    /// Step, horizontal.
    pub stride_w: u16,
    /// Distance between taps, vertical.
    pub dilation_h: u16,
    /// Distance between taps, horizontal.
    pub dilation_w: u16,
    /// Padding above.
    pub pad_top: u16,
    /// Padding to the left.
    pub pad_left: u16,
}

/// Output pixels that one pass over a row's weights serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    /// 8 pixels; which layers it can run tells [`crate::NestedLayout::of`].
    P8,
    /// 4 pixels, for larger windows.
    P4,
    /// 2 pixels, for any window.
    P2,
}

/// Convolution with nested sparse weights.
#[derive(Clone, Copy, Debug)]
pub struct ConvNested<'a> {
    /// Extents.
    pub geometry: Geometry,
    /// Weights; the column of `(ky, kx, ic)` is `layout.word(ky, kx) + ic` in [`ConvNested::layout`].
    pub stream: NestedStream<'a>,
    /// `[level][out channel]`.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
    /// What padding holds, one a level: the input's zero point.
    pub pad: &'a [i8],
    /// How many pixels at once.
    pub tile: Tile,
    /// How many tiles a pass over all rows of weights serves, about: a pass takes whole lines, see
    /// [`crate::NestedLayout::pass`]. More tiles read the weights less often and take more scratch.
    pub pass_tiles: u16,
}

/// Convolution with compact sparse weights, which are expanded row by row.
#[derive(Clone, Copy, Debug)]
pub struct ConvCompact<'a> {
    /// Extents.
    pub geometry: Geometry,
    /// Weights; columns as in [`ConvNested`].
    pub stream: CompactStream<'a>,
    /// `[level][out channel]`.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
    /// What padding holds, one a level.
    pub pad: &'a [i8],
    /// How many pixels at once.
    pub tile: Tile,
    /// How many tiles a pass serves, as in [`ConvNested`].
    pub pass_tiles: u16,
    /// Words for expanded rows: those of the longest and 3 more at least. If all rows fit at once, an
    /// inference expands them once and not in every pass.
    pub buffer_words: u16,
}

/// Convolution with sparse weights in blocks of four input channels, of which the input has a multiple
/// of four.
#[derive(Clone, Copy, Debug)]
pub struct ConvBlock<'a> {
    /// Extents.
    pub geometry: Geometry,
    /// Weights; columns are `(ky * kernel_w + kx) * in_c + ic`.
    pub stream: BlockStream<'a>,
    /// `[level][out channel]`.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
    /// What padding holds, one a level.
    pub pad: &'a [i8],
    /// Tiles of 4 pixels that a pass over all rows serves, at most.
    pub pass_tiles: u16,
}

/// Convolution with dense weights.
#[derive(Clone, Copy, Debug)]
pub struct ConvDense<'a> {
    /// Extents.
    pub geometry: Geometry,
    /// Weights; columns are `(ky * kernel_w + kx) * in_c + ic`.
    pub weights: DenseWeights<'a>,
    /// `[level][out channel]`.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
    /// What padding holds, one a level.
    pub pad: &'a [i8],
    /// Tiles of a pass over the weights at most, see [`crate::DensePasses`].
    pub pass_tiles: u16,
}

/// Convolution of any groups, 32-bit accumulators: for shapes and rows the packed forms refuse.
#[derive(Clone, Copy, Debug)]
pub struct ConvGeneric<'a> {
    /// Extents.
    pub geometry: Geometry,
    /// Groups; divides both channel counts.
    pub groups: u16,
    /// `[out channel][ky][kx][in channel of the group]`.
    pub weights: &'a [i8],
    /// `[level][out channel]`.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
    /// What padding holds, one a level.
    pub pad: &'a [i8],
}

/// Depthwise convolution: output channel `o` reads input channel `o / (out_c / in_c)`.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'a> {
    /// Extents.
    pub geometry: Geometry,
    /// `[ky][kx][out channel]`.
    pub weights: &'a [i8],
    /// `[level][out channel]`.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
    /// What padding holds, one a level.
    pub pad: &'a [i8],
}

/// Fully connected layer over a vector with nested sparse weights.
#[derive(Clone, Copy, Debug)]
pub struct DenseNested<'a> {
    /// Weights.
    pub stream: NestedStream<'a>,
    /// `[level][out]`.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
}

/// Fully connected layer over a vector.
#[derive(Clone, Copy, Debug)]
pub struct FullyConnected<'a> {
    /// `[out][in]`.
    pub weights: &'a [i8],
    /// Inputs.
    pub columns: u16,
    /// `[level][out]`.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
}

/// Elementwise sum.
#[derive(Clone, Copy, Debug)]
pub struct Add<'a> {
    /// One a level.
    pub params: &'a [AddParams],
}

/// Maximum over a window, per channel; taps outside the input do not take part. Input and output
/// share their quantisation.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    /// Extents (`out_c == in_c`).
    pub geometry: Geometry,
}

/// Mean over a window, per channel: the sum of the raw taps is requantised.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool<'a> {
    /// Extents (`out_c == in_c`).
    pub geometry: Geometry,
    /// Whether taps outside the input count, as `pad`.
    pub count_include_pad: bool,
    /// What padding holds, one a level.
    pub pad: &'a [i8],
    /// `[level][taps that count - 1]`, `kernel_h * kernel_w` of them; with `count_include_pad` all
    /// taps always count.
    pub requant: &'a [&'a [Requant]],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
}

/// Mean over all pixels, per channel.
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool<'a> {
    /// Pixels of the input.
    pub pixels: u32,
    /// Channels.
    pub channels: u16,
    /// One a level.
    pub requant: &'a [Requant],
    /// Output zero point, one a level.
    pub out_zero: &'a [i8],
}

/// Clamp to a range: a ReLU that could not be fused.
#[derive(Clone, Copy, Debug)]
pub struct Clamp<'a> {
    /// `[low, high]`, one a level.
    pub bounds: &'a [[i8; 2]],
}

/// Constant padding of a feature map, channels included.
#[derive(Clone, Copy, Debug)]
pub struct Pad<'a> {
    /// Input `[h, w, c]`.
    pub input: [u16; 3],
    /// Elements before `[h, w, c]`.
    pub before: [u16; 3],
    /// Output `[h, w, c]`.
    pub output: [u16; 3],
    /// One a level.
    pub value: &'a [i8],
}

/// Softmax over the channels of each pixel, by table: `table[level][d]` is
/// `round(exp(-d * input_scale) * 2^20)`, the output
/// `min(255, (256 * table[max - q] + sum / 2) / sum) - 128` (scale 1/256, zero point -128), where the
/// maximum and the sum are those of the pixel.
#[derive(Clone, Copy, Debug)]
pub struct Softmax<'a> {
    /// Channels of a pixel.
    pub channels: u16,
    /// One table a level.
    pub table: &'a [[u32; 256]],
}

/// A function of each element, by table.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// One table a level; the entry of `x` is number `x as u8`.
    pub table: &'a [[i8; 256]],
}

/// `[count, from, to]`: so many rounds, so many elements apart in the input and in the output.
pub type Loop = [u32; 3];

/// Loops in loops that copy elements.
#[derive(Clone, Copy, Debug)]
pub struct Nest<'a> {
    /// The first element of the input.
    pub from: u32,
    /// The first element of the output.
    pub to: u32,
    /// Outermost first, at most [`Nest::DEPTH`]. Without any, one element is copied.
    pub loops: &'a [Loop],
}

impl<'a> Nest<'a> {
    /// The most loops.
    pub const DEPTH: usize = 6;

    /// Where each round of `outer` begins, the first loops of the nest: elements of the input and of
    /// the output.
    pub(crate) fn rounds(&self, outer: &'a [Loop]) -> Rounds<'a> {
        Rounds {
            outer,
            done: [0; Nest::DEPTH],
            next: Some([self.from as usize, self.to as usize]),
        }
    }
}

/// See [`Nest::rounds`].
pub(crate) struct Rounds<'a> {
    outer: &'a [Loop],
    /// How many rounds of each loop are done.
    done: [u32; Nest::DEPTH],
    next: Option<[usize; 2]>,
}

impl Iterator for Rounds<'_> {
    type Item = [usize; 2];

    fn next(&mut self) -> Option<[usize; 2]> {
        let now = self.next.take()?;
        let [mut from, mut to] = now;
        // The innermost loop that has rounds left goes on; those inside it begin anew.
        for (&[count, from_step, to_step], done) in self.outer.iter().zip(&mut self.done).rev() {
            *done += 1;
            if *done < count {
                self.next = Some([from + from_step as usize, to + to_step as usize]);
                break;
            }
            *done = 0;
            let back = count.wrapping_sub(1) as usize;
            from = from.wrapping_sub(back.wrapping_mul(from_step as usize));
            to = to.wrapping_sub(back.wrapping_mul(to_step as usize));
        }
        Some(now)
    }
}

/// Copies elements of one input to their places in the output: the share that an input has in a
/// concatenation, a transposition, a selection. Elements that no nest names stay as they are.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// Elements of the input.
    pub input: u32,
    /// Elements of the output.
    pub output: u32,
    /// What goes where.
    pub nests: &'a [Nest<'a>],
    /// What elements become on the way, one table a level; the entry of `x` is number `x as u8`.
    /// Without tables they stay as they are.
    pub table: Option<&'a [[i8; 256]]>,
}

/// What [`Binary`] computes, with constants for each level.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// `params.apply(a, b)`: a weighted sum, differences included.
    Sum(&'a [AddParams]),
    /// `params.apply(a, b)`.
    Product(&'a [ProductParams]),
    /// The smaller of `params[0].apply(a, 0)` and `params[1].apply(b, 0)`.
    Least(&'a [[AddParams; 2]]),
    /// The larger of `params[0].apply(a, 0)` and `params[1].apply(b, 0)`.
    Largest(&'a [[AddParams; 2]]),
}

/// A function of two maps. Each axis has one extent in all three, or extent 1 in an input, whose
/// elements then serve the whole axis.
#[derive(Clone, Copy, Debug)]
pub struct Binary<'a> {
    /// The function.
    pub operation: Operation<'a>,
    /// First input `[h, w, c]`.
    pub a: [u16; 3],
    /// Second input `[h, w, c]`.
    pub b: [u16; 3],
    /// Output `[h, w, c]`.
    pub output: [u16; 3],
}

/// One slope above zero and one below for each channel:
/// `params[level][channel].apply(max(x, zero), min(x, zero))`.
#[derive(Clone, Copy, Debug)]
pub struct PRelu<'a> {
    /// Zero point of the input, one a level.
    pub zero: &'a [i8],
    /// `[level][channel]`.
    pub params: &'a [&'a [AddParams]],
}

/// `[first, second, share]`: two positions of the input, and the share of the second in 256ths.
pub type Tap = [u16; 3];

/// Linear interpolation between rows and between columns. Of the four elements around a position,
/// with shares `v` of the second row and `h` of the second column, it gives
/// `((256 - v) * ((256 - h) * x00 + h * x01) + v * ((256 - h) * x10 + h * x11) + 2^15) >> 16`.
/// Input and output share their quantisation.
#[derive(Clone, Copy, Debug)]
pub struct Resize<'a> {
    /// Input `[h, w, c]`.
    pub input: [u16; 3],
    /// One an output row.
    pub rows: &'a [Tap],
    /// One an output column.
    pub columns: &'a [Tap],
}
