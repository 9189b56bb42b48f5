//! The tiles of a pass over packed activations, as the assembly of the convolutions reads them.

use core::mem::MaybeUninit;

use crate::scratch::MAX_TILES;

/// A tile: its packed activations, and channel 0 of its first output pixel.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct TileAt {
    pub activations: *const u32,
    pub output: *mut i8,
}

/// The tiles of a pass.
pub(super) struct Tiles {
    at: [MaybeUninit<TileAt>; MAX_TILES],
    pub len: usize,
}

impl Tiles {
    pub const fn new() -> Self {
        Self {
            at: [MaybeUninit::uninit(); MAX_TILES],
            len: 0,
        }
    }
    pub fn push(&mut self, tile: TileAt) {
        if let Some(at) = self.at.get_mut(self.len) {
            at.write(tile);
            self.len += 1;
        }
    }
    pub fn ends(&self) -> (*const TileAt, *const TileAt) {
        let start = self.at.as_ptr().cast::<TileAt>();
        (start, start.wrapping_add(self.len))
    }
}
