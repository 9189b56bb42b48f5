//! Object detection: from a network's raw outputs to boxes, and how well these agree with the truth.
//!
//! A [`Head`] says what the outputs mean; [`Head::fit`] holds it against a network and gives
//! the [`Decoder`], which decodes one image's outputs and suppresses boxes that overlap stronger ones.
//! [`average_precisions`] compares what was found with what is there.
//!
//! Decoding and suppression are `nest-detect`'s, which firmware uses as well, so that host and device
//! find the same boxes.

mod classes;
mod decoder;
mod head;
mod precision;

pub use classes::ClassNames;
pub use decoder::Decoder;
pub use head::{BoxesKey, Head, HeadKind};
pub use nest_detect::{BoxCoding, Detection, Int8, ScoreCoding, YoloForm};
pub use precision::{ClassPrecision, average_precisions, mean};
