//! Buffers in a RAM with unmapped addresses on both sides, so that an access outside a buffer that
//! lies flush against an end is a fault.

use nest_format::Requant;

unsafe extern "C" {
    static mut _arena_start: u8;
    static mut _arena_end: u8;
}

/// What a buffer holds.
pub trait Plain: Copy {}
impl Plain for i8 {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for Requant {}

/// Hands out buffers, one flush against the end of the arena, one against its start, the others
/// between. Which ones turns with each round of a case.
pub struct Arena {
    round: usize,
    given: usize,
    middle: usize,
}

/// Rounds that bring each of up to 6 buffers to both ends.
pub const ROUNDS: usize = 6;

impl Arena {
    /// For one round of a case; the previous round's buffers are gone.
    ///
    /// # Safety
    /// No buffer of another `Arena` may be alive.
    pub unsafe fn new(round: usize) -> Self {
        Self {
            round,
            given: 0,
            middle: 0,
        }
    }

    /// Whether this round, one after all others, is for a layer's form in place, if it has one.
    pub fn in_place(&self) -> bool {
        self.round == ROUNDS
    }

    /// A buffer; the contents are whatever was there.
    pub fn take<T: Plain>(&mut self, len: usize) -> &'static mut [T] {
        let bytes = len * size_of::<T>();
        let start = &raw mut _arena_start as usize;
        let end = &raw mut _arena_end as usize;
        let index = self.given;
        self.given += 1;
        let at = if index == self.round {
            end - bytes
        } else if index == (self.round + 1) % ROUNDS {
            start
        } else {
            // From the middle on, at any alignment the type allows.
            if self.middle == 0 {
                self.middle = start + (end - start) / 3;
            }
            let at = (self.middle + 8 + self.round).next_multiple_of(align_of::<T>());
            self.middle = at + bytes;
            at
        };
        assert!(at >= start && at + bytes <= end, "arena too small");
        // SAFETY: the arena is RAM that nothing else uses; indices differ, so that ranges do not
        // overlap while the first and the last third hold one buffer each (asserted by the sizes
        // cases have); any bits are a value of T; the alignment is that of T, since `start` and
        // `end` are multiples of 4.
        unsafe { core::slice::from_raw_parts_mut(at as *mut T, len) }
    }
}
