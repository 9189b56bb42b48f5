//! The one table of kernels: what the compiler chooses from, tests sweep and reports name.

use crate::layer::Tile;

/// A kernel's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Which layers it runs.
    pub accepts: &'static str,
}

/// The kernels the device runs, one for each choice the compiler has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// [`crate::conv_nested`].
    ConvNested(Tile),
    /// [`crate::conv_dense`].
    ConvDense,
    /// [`crate::conv_generic`].
    ConvGeneric,
    /// [`crate::depthwise`].
    Depthwise {
        /// Whether the window is 3 x 3, with one output channel for each input channel.
        kernel_3x3: bool,
    },
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
    /// [`crate::slice`].
    Slice,
    /// [`crate::softmax`].
    Softmax,
}

macro_rules! table {
    ($($index:ident: $op:literal, $format:literal, $arch:literal, $name:literal, $pixels:literal, $accepts:literal;)*) => {
        // The reference's rows are listed, but never chosen.
        #[allow(dead_code)]
        enum Index { $($index),* }
        /// All kernels.
        pub static KERNELS: &[KernelInfo] = &[$(KernelInfo {
            name: $name, op: $op, format: $format, arch: $arch, pixels: $pixels, accepts: $accepts,
        }),*];
        const NAMES: &[&str] = &[$($name),*];
    };
}

table! {
    NestedP8: "conv2d", "nested", "armv7em", "conv2d_s8_nested__armv7em_p8", 8, "groups 1, at most 341 columns (kernel_h * kernel_w * in_c), rows within 23 bits";
    NestedP4: "conv2d", "nested", "armv7em", "conv2d_s8_nested__armv7em_p4", 4, "groups 1, at most 1023 columns, rows within 23 bits";
    NestedP2: "conv2d", "nested", "armv7em", "conv2d_s8_nested__armv7em_p2", 2, "groups 1, any columns, rows within 23 bits";
    Dense: "conv2d", "dense", "armv7em", "conv2d_s8_dense_2x4__armv7em_p4", 4, "groups 1, any columns, rows within 23 bits";
    Generic: "conv2d", "generic", "armv7em", "conv2d_s8_generic__armv7em", 1, "any convolution";
    Depthwise3x3: "depthwise", "dense", "armv7em", "depthwise_s8_dense_3x3__armv7em", 1, "3 x 3, one output channel for each input channel";
    DepthwiseAny: "depthwise", "dense", "armv7em", "depthwise_s8_dense__armv7em", 1, "any depthwise convolution";
    FcNested: "dense", "nested", "armv7em", "dense_s8_nested__armv7em", 1, "any vector, rows within 23 bits";
    FcDense: "dense", "dense", "armv7em", "dense_s8_dense__armv7em", 1, "any vector";
    Add: "add", "none", "armv7em", "add_s8_none__armv7em", 4, "two tensors of one shape";
    MaxPool: "max_pool", "none", "armv7em", "max_pool_s8_none__armv7em", 4, "any window";
    AvgPool: "avg_pool", "none", "armv7em", "avg_pool_s8_none__armv7em", 4, "any window";
    GlobalAvgPool: "global_avg_pool", "none", "armv7em", "global_avg_pool_s8_none__armv7em", 4, "any map";
    Clamp: "clamp", "none", "armv7em", "clamp_s8_none__armv7em", 4, "any tensor";
    NestedRef: "conv2d", "nested", "reference", "conv2d_s8_nested__reference", 16, "groups 1, any columns";
    DenseRef: "conv2d", "dense", "reference", "conv2d_s8_dense__reference", 16, "groups 1, any columns";
    GenericRef: "conv2d", "generic", "reference", "conv2d_s8_generic__reference", 16, "any convolution";
    DepthwiseRef: "depthwise", "dense", "reference", "depthwise_s8_dense__reference", 1, "any depthwise convolution";
    FcNestedRef: "dense", "nested", "reference", "dense_s8_nested__reference", 1, "any vector";
    FcDenseRef: "dense", "dense", "reference", "dense_s8_dense__reference", 1, "any vector";
    AddRef: "add", "none", "reference", "add_s8_none__reference", 1, "two tensors of one shape";
    MaxPoolRef: "max_pool", "none", "reference", "max_pool_s8_none__reference", 1, "any window";
    AvgPoolRef: "avg_pool", "none", "reference", "avg_pool_s8_none__reference", 1, "any window";
    GlobalAvgPoolRef: "global_avg_pool", "none", "reference", "global_avg_pool_s8_none__reference", 1, "any map";
    ClampRef: "clamp", "none", "reference", "clamp_s8_none__reference", 1, "any tensor";
    PadRef: "pad", "none", "reference", "pad_s8_none__reference", 1, "any map";
    SliceRef: "slice", "none", "reference", "slice_s8_none__reference", 1, "any map";
    SoftmaxRef: "softmax", "none", "reference", "softmax_s8_none__reference", 1, "any vector";
}

/// The name of the kernel that the device runs for a choice, as [`KERNELS`] lists it.
pub const fn kernel_for(kernel: Kernel) -> &'static str {
    let index = match kernel {
        Kernel::ConvNested(Tile::P8) => Index::NestedP8,
        Kernel::ConvNested(Tile::P4) => Index::NestedP4,
        Kernel::ConvNested(Tile::P2) => Index::NestedP2,
        Kernel::ConvDense => Index::Dense,
        Kernel::ConvGeneric => Index::Generic,
        Kernel::Depthwise { kernel_3x3: true } => Index::Depthwise3x3,
        Kernel::Depthwise { kernel_3x3: false } => Index::DepthwiseAny,
        Kernel::DenseNested => Index::FcNested,
        Kernel::FullyConnected => Index::FcDense,
        Kernel::Add => Index::Add,
        Kernel::MaxPool => Index::MaxPool,
        Kernel::AvgPool => Index::AvgPool,
        Kernel::GlobalAvgPool => Index::GlobalAvgPool,
        Kernel::Clamp => Index::Clamp,
        Kernel::Pad => Index::PadRef,
        Kernel::Slice => Index::SliceRef,
        Kernel::Softmax => Index::SoftmaxRef,
    };
    NAMES[index as usize]
}
