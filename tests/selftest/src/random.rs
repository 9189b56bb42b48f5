//! Deterministic numbers.

/// xorshift32.
#[derive(Clone)]
pub struct Random(u32);

impl Random {
    /// Of a case's number.
    pub fn new(seed: u32) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9) ^ 0x1234_5678);
        if random.0 == 0 {
            random.0 = 1;
        }
        (0..8).for_each(|_| {
            random.next();
        });
        random
    }
    /// 32 bits.
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
    /// Below `n`, or 0.
    pub fn below(&mut self, n: u32) -> u32 {
        if n == 0 { 0 } else { self.next() % n }
    }
    /// `low..=high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }
    /// An int8: a fifth of them the extremes.
    pub fn byte(&mut self) -> i8 {
        match self.below(10) {
            0 => -128,
            1 => 127,
            _ => self.next() as i8,
        }
    }
    /// Fills with [`Random::byte`].
    pub fn fill(&mut self, to: &mut [i8]) {
        to.iter_mut().for_each(|x| *x = self.byte());
    }
    /// Fills with any bytes, four at a time.
    pub fn fill_fast(&mut self, to: &mut [i8]) {
        let mut words = to.chunks_exact_mut(4);
        for bytes in &mut words {
            bytes.copy_from_slice(&self.next().to_le_bytes().map(|byte| byte as i8));
        }
        self.fill(words.into_remainder());
    }
}
