//! The one table of kernels: what the compiler chooses from, tests sweep and reports name.

use crate::accept::{self, Demand};
use crate::depthwise_layout::DepthwiseForm;
use crate::layer::Tile;

/// A kernel's description.
#[derive(Clone, Copy, Debug)]
pub struct KernelInfo {
    /// `<op>_<dtype>_<format>[_<rows>x<cols>]__<arch>[_p<pixels>]`.
    pub name: &'static str,
    /// The operator.
    pub op: &'static str,
    /// How its weights are stored; `none` for operators without weights.
    pub format: &'static str,
    /// `armv7em` or `reference`.
    pub arch: &'static str,
    /// Output pixels at once (elements at once for elementwise operators).
    pub pixels: u8,
    /// Which layers it runs, in words.
    pub accepts: &'static str,
    /// The same as a rule: why it does not run a layer, or `None` if it does.
    pub refuses: fn(&Demand) -> Option<&'static str>,
}

/// The kernels the device runs, one for each choice the compiler has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// [`crate::conv_nested`].
    ConvNested(Tile),
    /// [`crate::conv_compact`].
    ConvCompact(Tile),
    /// [`crate::conv_block`].
    ConvBlock,
    /// [`crate::conv_dense`].
    ConvDense,
    /// [`crate::conv_generic`].
    ConvGeneric,
    /// [`crate::depthwise`].
    Depthwise(DepthwiseForm),
    /// [`crate::dense_nested`].
    DenseNested,
    /// [`crate::fully_connected`].
    FullyConnected,
    /// [`crate::add`] and [`crate::add_in_place`].
    Add,
    /// [`crate::max_pool`].
    MaxPool,
    /// [`crate::avg_pool`].
    AvgPool,
    /// [`crate::global_avg_pool`].
    GlobalAvgPool,
    /// [`crate::clamp`] and [`crate::clamp_in_place`].
    Clamp,
    /// [`crate::pad`].
    Pad,
    /// [`crate::softmax`].
    Softmax,
    /// [`crate::lookup`] and [`crate::lookup_in_place`].
    Lookup,
    /// [`crate::move_elements`].
    Move,
    /// [`crate::binary`] and [`crate::binary_in_place`].
    Binary,
    /// [`crate::prelu`] and [`crate::prelu_in_place`].
    PRelu,
    /// [`crate::resize`].
    Resize,
}

macro_rules! table {
    ($($index:ident: $op:literal, $format:literal, $arch:literal, $name:literal, $pixels:literal, $refuses:ident, $accepts:literal;)*) => {
        // The reference's rows are listed, but never chosen.
        #[allow(dead_code)]
        enum Index { $($index),* }
        /// All kernels.
        pub static KERNELS: &[KernelInfo] = &[$(KernelInfo {
            name: $name, op: $op, format: $format, arch: $arch, pixels: $pixels, accepts: $accepts,
            refuses: accept::$refuses,
        }),*];
        const NAMES: &[&str] = &[$($name),*];
    };
}

table! {
    NestedP8: "conv2d", "nested", "armv7em", "conv2d_s8_nested__armv7em_p8", 8, nested_p8, "8 pixels or more, blocks of at most 341 words (see NestedLayout), rows within 23 bits";
    NestedP4: "conv2d", "nested", "armv7em", "conv2d_s8_nested__armv7em_p4", 4, nested_p4, "4 pixels or more, any blocks, rows within 23 bits";
    NestedP2: "conv2d", "nested", "armv7em", "conv2d_s8_nested__armv7em_p2", 2, nested_p2, "any window, up to 65535 columns, rows within 23 bits";
    CompactP8: "conv2d", "compact", "armv7em", "conv2d_s8_compact__armv7em_p8", 8, nested_p8, "as nested";
    CompactP4: "conv2d", "compact", "armv7em", "conv2d_s8_compact__armv7em_p4", 4, nested_p4, "as nested";
    CompactP2: "conv2d", "compact", "armv7em", "conv2d_s8_compact__armv7em_p2", 2, nested_p2, "as nested";
    Block: "conv2d", "block", "armv7em", "conv2d_s8_block_1x4__armv7em_p4", 4, block, "input channels in fours, up to 65535 columns";
    Dense: "conv2d", "dense", "armv7em", "conv2d_s8_dense_2x4__armv7em_p3", 3, dense, "groups 1, up to 65535 columns, the same weights at all levels";
    Generic: "conv2d", "generic", "armv7em", "conv2d_s8_generic__armv7em", 1, generic, "any convolution with the same weights at all levels";
    Depthwise3x3: "depthwise", "dense", "armv7em", "depthwise_s8_dense_3x3__armv7em_p4", 4, depthwise_3x3, "3 x 3 at stride 1 or 2, one output channel for each of 4 and more input channels, the same weights at all levels";
    Depthwise5x5: "depthwise", "dense", "armv7em", "depthwise_s8_dense_5x5__armv7em_p4", 4, depthwise_5x5, "5 x 5 at stride 1 or 2, one output channel for each of 4 and more input channels, the same weights at all levels";
    DepthwiseAny: "depthwise", "dense", "armv7em", "depthwise_s8_dense__armv7em", 1, depthwise, "any depthwise convolution with the same weights at all levels";
    FcNested: "dense", "nested", "armv7em", "dense_s8_nested__armv7em", 1, vector_nested, "any vector, rows within 23 bits";
    FcDense: "dense", "dense", "armv7em", "dense_s8_dense__armv7em", 1, vector, "any vector, the same weights at all levels";
    Add: "add", "none", "armv7em", "add_s8_none__armv7em", 4, nothing, "two tensors of one shape";
    MaxPool: "max_pool", "none", "armv7em", "max_pool_s8_none__armv7em", 4, nothing, "any window";
    AvgPool: "avg_pool", "none", "armv7em", "avg_pool_s8_none__armv7em", 4, nothing, "any window";
    GlobalAvgPool: "global_avg_pool", "none", "armv7em", "global_avg_pool_s8_none__armv7em", 4, nothing, "any map";
    Move: "move", "none", "armv7em", "move_s8_none__armv7em", 4, nothing, "any tensors";
    Lookup: "lookup", "none", "armv7em", "lookup_s8_none__armv7em", 1, nothing, "any tensor";
    Clamp: "clamp", "none", "armv7em", "clamp_s8_none__armv7em", 4, nothing, "any tensor";
    NestedRef: "conv2d", "nested", "reference", "conv2d_s8_nested__reference", 16, nested, "any columns, rows within 23 bits";
    CompactRef: "conv2d", "compact", "reference", "conv2d_s8_compact__reference", 16, nested, "as nested";
    BlockRef: "conv2d", "block", "reference", "conv2d_s8_block_1x4__reference", 16, block, "input channels in fours, up to 65535 columns";
    DenseRef: "conv2d", "dense", "reference", "conv2d_s8_dense__reference", 16, dense, "groups 1, up to 65535 columns, the same weights at all levels";
    GenericRef: "conv2d", "generic", "reference", "conv2d_s8_generic__reference", 16, generic, "any convolution with the same weights at all levels";
    DepthwiseRef: "depthwise", "dense", "reference", "depthwise_s8_dense__reference", 1, depthwise, "any depthwise convolution with the same weights at all levels";
    FcNestedRef: "dense", "nested", "reference", "dense_s8_nested__reference", 1, vector_nested, "any vector";
    FcDenseRef: "dense", "dense", "reference", "dense_s8_dense__reference", 1, vector, "any vector, the same weights at all levels";
    AddRef: "add", "none", "reference", "add_s8_none__reference", 1, nothing, "two tensors of one shape";
    MaxPoolRef: "max_pool", "none", "reference", "max_pool_s8_none__reference", 1, nothing, "any window";
    AvgPoolRef: "avg_pool", "none", "reference", "avg_pool_s8_none__reference", 1, nothing, "any window";
    GlobalAvgPoolRef: "global_avg_pool", "none", "reference", "global_avg_pool_s8_none__reference", 1, nothing, "any map";
    ClampRef: "clamp", "none", "reference", "clamp_s8_none__reference", 1, nothing, "any tensor";
    PadRef: "pad", "none", "reference", "pad_s8_none__reference", 1, nothing, "any map";
    SoftmaxRef: "softmax", "none", "reference", "softmax_s8_none__reference", 1, nothing, "any map";
    LookupRef: "lookup", "none", "reference", "lookup_s8_none__reference", 1, nothing, "any tensor";
    MoveRef: "move", "none", "reference", "move_s8_none__reference", 1, nothing, "any tensors";
    BinaryRef: "binary", "none", "reference", "binary_s8_none__reference", 1, nothing, "two maps, each axis of one extent or of extent 1 in one";
    PReluRef: "prelu", "none", "reference", "prelu_s8_none__reference", 1, nothing, "any map";
    ResizeRef: "resize", "none", "reference", "resize_s8_none__reference", 1, nothing, "any map";
}

/// The name of the kernel that the device runs for a choice, as [`KERNELS`] lists it.
pub const fn kernel_for(kernel: Kernel) -> &'static str {
    NAMES[index_of(kernel)]
}

/// The row of [`KERNELS`] that the device runs for a choice.
pub fn kernel_info(kernel: Kernel) -> &'static KernelInfo {
    &KERNELS[index_of(kernel)]
}

const fn index_of(kernel: Kernel) -> usize {
    let index = match kernel {
        Kernel::ConvNested(Tile::P8) => Index::NestedP8,
        Kernel::ConvNested(Tile::P4) => Index::NestedP4,
        Kernel::ConvNested(Tile::P2) => Index::NestedP2,
        Kernel::ConvCompact(Tile::P8) => Index::CompactP8,
        Kernel::ConvCompact(Tile::P4) => Index::CompactP4,
        Kernel::ConvCompact(Tile::P2) => Index::CompactP2,
        Kernel::ConvBlock => Index::Block,
        Kernel::ConvDense => Index::Dense,
        Kernel::ConvGeneric => Index::Generic,
        Kernel::Depthwise(DepthwiseForm::Strips3x3) => Index::Depthwise3x3,
        Kernel::Depthwise(DepthwiseForm::Strips5x5) => Index::Depthwise5x5,
        Kernel::Depthwise(DepthwiseForm::Taps) => Index::DepthwiseAny,
        Kernel::DenseNested => Index::FcNested,
        Kernel::FullyConnected => Index::FcDense,
        Kernel::Add => Index::Add,
        Kernel::MaxPool => Index::MaxPool,
        Kernel::AvgPool => Index::AvgPool,
        Kernel::GlobalAvgPool => Index::GlobalAvgPool,
        Kernel::Clamp => Index::Clamp,
        Kernel::Pad => Index::PadRef,
        Kernel::Softmax => Index::SoftmaxRef,
        Kernel::Lookup => Index::Lookup,
        Kernel::Move => Index::Move,
        Kernel::Binary => Index::BinaryRef,
        Kernel::PRelu => Index::PReluRef,
        Kernel::Resize => Index::ResizeRef,
    };
    index as usize
}
