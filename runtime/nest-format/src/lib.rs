//! Layouts that the compiler writes and the firmware reads.
//!
//! Everything here is plain data checked by `const fn`s: a static of these types that breaks its
//! own rules does not compile.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod block;
mod bound;
mod checksum;
mod compact;
mod dense;
mod requant;
mod stream;

pub use block::BlockStream;
pub use bound::PackedBound;
pub use checksum::checksum;
pub use compact::{CompactLevel, CompactStream, compact_gap_bytes, compact_weight_bytes};
pub use dense::DenseWeights;
pub use requant::{AddParams, ProductParams, Requant};
pub use stream::{Counts, Entry, FormatError, NestedStream};

/// Version of every layout in this crate, linked into images as a symbol and compared by readers.
pub const FORMAT_VERSION: u32 = 2;
