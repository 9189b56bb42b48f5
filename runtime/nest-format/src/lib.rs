//! Layouts that the compiler writes and the firmware reads.
//!
//! Everything here is plain data checked by `const fn`s: a static of these types that breaks its
//! own rules does not compile.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod checksum;
mod dense;
mod requant;
mod stream;

pub use checksum::checksum;
pub use dense::DenseWeights;
pub use requant::{AddParams, Requant};
pub use stream::{Counts, Entry, FormatError, NestedStream};

/// Version of every layout in this crate, linked into images as a symbol and compared by readers.
pub const FORMAT_VERSION: u32 = 1;
