//! Sixteen images side by side: the vector every kernel computes with.
//!
//! One [`Simd`] implementation stands for one instruction set. All of them hold the same sixteen
//! lanes and round in the same places (multiply-add is always fused, horizontal sums have one fixed
//! tree), so a kernel gives the same bits on each.

/// Images a vector holds.
pub const LANES: usize = 16;

/// One element of sixteen images, aligned to a cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// All lanes zero.
    pub const ZERO: Lanes = Lanes([0.0; LANES]);
}

/// An instruction set. A value of an implementing type proves that the processor has it, because it
/// is only made after detection; that is what makes the methods safe to call.
pub trait Simd: Copy {
    /// Sixteen lanes in registers.
    type V: Copy;
    /// Output pixels of one dense convolution tile.
    const TILE_PIXELS: usize;
    /// Output channels of one dense convolution tile.
    const TILE_CHANNELS: usize;
    /// Output pixels of one list convolution tile at most.
    const LIST_PIXELS: usize;
    /// Taps and outputs of one tile of a dense weight gradient at most.
    const GRADIENT_TILE: [usize; 2];
    /// Taps of one tile of a list's weight gradient at most.
    const GRADIENT_TAPS: usize;
    /// Pixels in whose products such a tile's taps share an address: 1 or 4.
    const GRADIENT_PIXELS: usize;
    /// Output pixels of one depthwise convolution tile at most.
    const DEPTHWISE_PIXELS: usize;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Reads a vector.
    fn load(self, from: &Lanes) -> Self::V;
    /// Writes a vector.
    fn store(self, v: Self::V, to: &mut Lanes);
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger of `a` and `b`; `b` if either is not a number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of `a` and `b`; `b` if either is not a number.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `x` where `low < v`, zero elsewhere.
    fn where_above(self, v: Self::V, low: Self::V, x: Self::V) -> Self::V;
    /// `x` where `v < high`, zero elsewhere.
    fn where_below(self, v: Self::V, high: Self::V, x: Self::V) -> Self::V;
    /// The sum over the lanes of each vector: quarters of four lanes are summed as
    /// `(l0 + l2) + (l1 + l3)`, then the quarters as `(q0 + q2) + (q1 + q3)`.
    fn sums(self, v: [Self::V; 4]) -> [f32; 4];
}

/// The sum of one vector's lanes in the order of [`Simd::sums`].
pub fn lane_sum(v: &Lanes) -> f32 {
    let quarter = |q: usize| (v.0[q] + v.0[q + 2]) + (v.0[q + 1] + v.0[q + 3]);
    (quarter(0) + quarter(8)) + (quarter(4) + quarter(12))
}

/// Plain arrays: every platform has it.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        out[i] = f(a[i], b[i]);
    }
    out
}

impl Simd for Portable {
    type V = [f32; LANES];
    const TILE_PIXELS: usize = 1;
    const TILE_CHANNELS: usize = 4;
    const LIST_PIXELS: usize = 4;
    const GRADIENT_TILE: [usize; 2] = [3, 2];
    const GRADIENT_TAPS: usize = 4;
    const GRADIENT_PIXELS: usize = 1;
    const DEPTHWISE_PIXELS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Lanes) -> Self::V {
        from.0
    }
    #[inline(always)]
    fn store(self, v: Self::V, to: &mut Lanes) {
        to.0 = v;
    }
    // Where the compiler may not use a fused instruction, every lane is a call: not to be repeated at
    // each place of every unrolled kernel.
    #[cfg_attr(
        all(target_arch = "x86_64", not(target_feature = "fma")),
        inline(never)
    )]
    #[cfg_attr(
        not(all(target_arch = "x86_64", not(target_feature = "fma"))),
        inline(always)
    )]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            out[i] = a[i].mul_add(b[i], c[i]);
        }
        out
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn where_above(self, v: Self::V, low: Self::V, x: Self::V) -> Self::V {
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            out[i] = if v[i] > low[i] { x[i] } else { 0.0 };
        }
        out
    }
    #[inline(always)]
    fn where_below(self, v: Self::V, high: Self::V, x: Self::V) -> Self::V {
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            out[i] = if v[i] < high[i] { x[i] } else { 0.0 };
        }
        out
    }
    #[inline(always)]
    fn sums(self, v: [Self::V; 4]) -> [f32; 4] {
        v.map(|v| lane_sum(&Lanes(v)))
    }
}
