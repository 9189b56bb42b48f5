//! The training engine's kernels, compiled once per instruction set and chosen at run time.
//!
//! This is the only folder of the host code with `unsafe`. What it may rely on is checked here, at
//! the safe entry points: every kernel asserts that the furthest element its offsets reach lies
//! within the slices it was given.
//!
//! All instruction sets give the same bits; see [`lanes`].

pub mod convolve;
pub mod elementwise;
pub mod lanes;
pub mod pages;
pub mod rounding;
pub mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use lanes::{LANES, Lanes, lane_sum};

use lanes::{Portable, Simd};

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug)]
pub enum Isa {
    /// AVX-512F: one register holds all lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    /// AVX2 and FMA: two registers hold them.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    /// Whatever the compiler makes of plain arrays.
    Portable(Portable),
}

impl Isa {
    /// The fastest one.
    pub fn detect() -> Self {
        Self::available().swap_remove(0)
    }

    /// All that this processor has, fastest first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(x86::Avx512::detect().map(Self::Avx512));
            all.extend(x86::Avx2::detect().map(Self::Avx2));
        }
        all.push(Self::Portable(Portable));
        all
    }

    /// Output channels whose weights the dense convolution kernel wants side by side.
    pub fn tile_channels(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => x86::Avx512::TILE_CHANNELS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => x86::Avx2::TILE_CHANNELS,
            Self::Portable(_) => Portable::TILE_CHANNELS,
        }
    }
}

/// A feature map of sixteen images in a buffer: `[row][channel][column]` vectors, with a margin
/// around every channel's plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Index of channel 0, row 0, column 0.
    pub origin: usize,
    /// Distance of rows.
    pub row: usize,
    /// Distance of channels.
    pub channel: usize,
}

impl Map {
    /// The columns of one row of one channel.
    pub fn span(&self, c: usize, y: usize) -> std::ops::Range<usize> {
        let start = self.origin + y * self.row + c * self.channel;
        start..start + self.w
    }
}

/// For each instruction set, a copy of the generic kernel compiled for it, and the entry point that
/// picks one.
macro_rules! dispatched {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $($generic:ident)::+;)*) => { $(
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(isa: $crate::train::simd::Isa, $($arg: $type),*) {
            use $crate::train::simd::Isa;
            #[cfg(target_arch = "x86_64")]
            use $crate::train::simd::x86::{Avx2, Avx512};
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            #[allow(clippy::too_many_arguments)]
            fn avx512(simd: Avx512, $($arg: $type),*) {
                $($generic)::+::<Avx512>(simd, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2(simd: Avx2, $($arg: $type),*) {
                $($generic)::+::<Avx2>(simd, $($arg),*)
            }
            match isa {
                // SAFETY: a value of `Avx512` exists only where AVX-512F was detected.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512(simd) => unsafe { avx512(simd, $($arg),*) },
                // SAFETY: a value of `Avx2` exists only where AVX2 and FMA were detected.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2(simd) => unsafe { avx2(simd, $($arg),*) },
                Isa::Portable(simd) => {
                    $($generic)::+::<$crate::train::simd::lanes::Portable>(simd, $($arg),*)
                }
            }
        }
    )* };
}
use dispatched;

#[cfg(test)]
mod tests;
