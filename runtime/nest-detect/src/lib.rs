//! From the raw outputs of a detection network to boxes, on the host and on the device alike.
//!
//! A [`Decoder`] says what a network's outputs mean. It goes through all candidates, keeps the
//! strongest of those above its threshold in memory of the caller's, and suppresses boxes that overlap a
//! stronger one of their class:
//!
//! ```
//! use nest_detect::{Decoder, Detection, Fastestdet, Form, Int8, Rows};
//!
//! // One cell, one class.
//! const DECODER: Decoder = Decoder {
//!     form: Form::Fastestdet(Fastestdet { grid: [1, 1], classes: 1, unit: [1.0, 1.0] }),
//!     outputs: &[Rows::pixels(1, 6)],
//!     score: 0.3,
//!     overlap: 0.45,
//! };
//! let output = Int8 { data: &[100, 0, 0, 0, 0, 90], scale: 0.01, zero_point: 0 };
//! let mut slots = [Detection::NONE; 4];
//! let found = DECODER.detect(&[output], &mut slots);
//! assert_eq!(found.len(), 1);
//! assert!(found[0].score > 0.9);
//! ```
//!
//! Outputs are int8 with their quantisation ([`Int8`]), or floats as networks on the host give them.
//! Of an int8 output, a score is held against the threshold as an integer, where it grows with it:
//! reals are computed of the few candidates that remain. Arithmetic is single precision and uses
//! additions, multiplications, divisions and conversions alone, which IEEE 754 defines to the last
//! bit, so every machine finds the same boxes.
//!
//! # Lengths
//! An output that is shorter than its [`Rows`] say, or fewer outputs than a [`Decoder`] has, is a bug of
//! the caller: elements that are not there count as the least there are. Nothing here panics.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod bbox;
mod candidates;
mod decode;
mod decoder;
mod math;
mod output;

pub use bbox::BBox;
pub use candidates::{Detection, Strongest};
pub use decode::{BoxCoding, Fastestdet, Prior, PriorMap, ScoreCoding, Ssd, Yolo, YoloForm};
pub use decoder::{Decoder, Form, YoloMap};
pub use output::{Int8, Rows, Table, Values};
