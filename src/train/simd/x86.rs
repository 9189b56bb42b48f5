//! AVX-512 and AVX2+FMA.

use std::arch::x86_64::*;

use super::lanes::{LANES, Lanes, Simd};

/// AVX-512F.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// The instruction set, if the processor (and the operating system) has it.
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }
}

impl Simd for Avx512 {
    type V = __m512;
    const TILE_PIXELS: usize = 4;
    const TILE_CHANNELS: usize = 4;
    const LIST_PIXELS: usize = 8;
    const GRADIENT_TILE: [usize; 2] = [6, 4];
    const GRADIENT_TAPS: usize = 16;
    const GRADIENT_PIXELS: usize = 4;
    const DEPTHWISE_PIXELS: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` exists, so AVX-512F was detected.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, from: &Lanes) -> __m512 {
        // SAFETY: AVX-512F was detected; `Lanes` is 64 readable bytes aligned to 64.
        unsafe { _mm512_load_ps(from.0.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, to: &mut Lanes) {
        // SAFETY: AVX-512F was detected; `Lanes` is 64 writable bytes aligned to 64.
        unsafe { _mm512_store_ps(to.0.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: AVX-512F was detected.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: AVX-512F was detected.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: AVX-512F was detected.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: AVX-512F was detected.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: AVX-512F was detected.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: AVX-512F was detected.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn where_above(self, v: __m512, low: __m512, x: __m512) -> __m512 {
        // SAFETY: AVX-512F was detected.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(v, low), x) }
    }
    #[inline(always)]
    fn where_below(self, v: __m512, high: __m512, x: __m512) -> __m512 {
        // SAFETY: AVX-512F was detected.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(v, high), x) }
    }
    #[inline(always)]
    fn sums(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        // SAFETY: AVX-512F was detected (it implies AVX and SSE); `out` is 16 writable bytes.
        unsafe {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let quarters = _mm512_add_ps(
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
            );
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(quarters)));
            let halves = _mm256_add_ps(_mm512_castps512_ps256(quarters), upper);
            let sum = _mm_add_ps(
                _mm256_castps256_ps128(halves),
                _mm256_extractf128_ps::<1>(halves),
            );
            _mm_storeu_ps(out.as_mut_ptr(), sum);
        }
        out
    }
}

/// AVX2 with FMA: two registers hold the sixteen lanes.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// The instruction set, if the processor (and the operating system) has it.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// Lanes 0..8 and 8..16.
#[derive(Clone, Copy, Debug)]
pub struct Halves(__m256, __m256);

impl Simd for Avx2 {
    type V = Halves;
    const TILE_PIXELS: usize = 1;
    const TILE_CHANNELS: usize = 6;
    const LIST_PIXELS: usize = 6;
    const GRADIENT_TILE: [usize; 2] = [3, 2];
    const GRADIENT_TAPS: usize = 6;
    const GRADIENT_PIXELS: usize = 1;
    const DEPTHWISE_PIXELS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Halves {
        // SAFETY: `self` exists, so AVX2 was detected.
        unsafe { Halves(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }
    #[inline(always)]
    fn load(self, from: &Lanes) -> Halves {
        let p = from.0.as_ptr();
        // SAFETY: AVX2 was detected; `Lanes` is 64 readable bytes aligned to 64, 8 floats are 32.
        unsafe { Halves(_mm256_load_ps(p), _mm256_load_ps(p.add(LANES / 2))) }
    }
    #[inline(always)]
    fn store(self, v: Halves, to: &mut Lanes) {
        let p = to.0.as_mut_ptr();
        // SAFETY: AVX2 was detected; `Lanes` is 64 writable bytes aligned to 64, 8 floats are 32.
        unsafe {
            _mm256_store_ps(p, v.0);
            _mm256_store_ps(p.add(LANES / 2), v.1);
        }
    }
    #[inline(always)]
    fn fma(self, a: Halves, b: Halves, c: Halves) -> Halves {
        // SAFETY: FMA was detected.
        unsafe {
            Halves(
                _mm256_fmadd_ps(a.0, b.0, c.0),
                _mm256_fmadd_ps(a.1, b.1, c.1),
            )
        }
    }
    #[inline(always)]
    fn add(self, a: Halves, b: Halves) -> Halves {
        // SAFETY: AVX2 was detected.
        unsafe { Halves(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn sub(self, a: Halves, b: Halves) -> Halves {
        // SAFETY: AVX2 was detected.
        unsafe { Halves(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn mul(self, a: Halves, b: Halves) -> Halves {
        // SAFETY: AVX2 was detected.
        unsafe { Halves(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn max(self, a: Halves, b: Halves) -> Halves {
        // SAFETY: AVX2 was detected.
        unsafe { Halves(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn min(self, a: Halves, b: Halves) -> Halves {
        // SAFETY: AVX2 was detected.
        unsafe { Halves(_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn where_above(self, v: Halves, low: Halves, x: Halves) -> Halves {
        // SAFETY: AVX2 was detected.
        unsafe {
            Halves(
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(v.0, low.0), x.0),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(v.1, low.1), x.1),
            )
        }
    }
    #[inline(always)]
    fn where_below(self, v: Halves, high: Halves, x: Halves) -> Halves {
        // SAFETY: AVX2 was detected.
        unsafe {
            Halves(
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(v.0, high.0), x.0),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(v.1, high.1), x.1),
            )
        }
    }
    #[inline(always)]
    fn sums(self, [a, b, c, d]: [Halves; 4]) -> [f32; 4] {
        /// The four-lane sums of four vectors: two quarters, each in the order a, b, c, d.
        ///
        /// # Safety
        /// The processor has AVX.
        #[inline(always)]
        unsafe fn quarters(a: __m256, b: __m256, c: __m256, d: __m256) -> __m256 {
            // SAFETY: the caller vouches for AVX.
            unsafe {
                let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                let (ab, cd) = (_mm256_castps_pd(ab), _mm256_castps_pd(cd));
                _mm256_add_ps(
                    _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)),
                )
            }
        }
        let mut out = [0.0; 4];
        // SAFETY: AVX2 was detected (it implies AVX and SSE); `out` is 16 writable bytes.
        unsafe {
            let halves = _mm256_add_ps(quarters(a.0, b.0, c.0, d.0), quarters(a.1, b.1, c.1, d.1));
            let sum = _mm_add_ps(
                _mm256_castps256_ps128(halves),
                _mm256_extractf128_ps::<1>(halves),
            );
            _mm_storeu_ps(out.as_mut_ptr(), sum);
        }
        out
    }
}
