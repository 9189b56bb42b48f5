//! Object detection: from a network's raw outputs to boxes, and how well these agree with the truth.
//!
//! A [`Head`] says what the outputs mean; [`Head::fit`] holds it against a network and gives
//! the [`Decoder`], which decodes one image's outputs and suppresses boxes that overlap stronger ones.
//! [`average_precisions`] compares what was found with what is there.
//!
//! `candidates`, `decode` and `math` are what a device needs: they use nothing beyond `core`, allocate
//! nothing, and compute with additions, multiplications and divisions only, so that host and device
//! find the same boxes.

mod candidates;
mod classes;
mod decode;
mod decoder;
mod head;
mod math;
mod precision;

pub use candidates::{Detection, Strongest, suppress};
pub use classes::ClassNames;
pub use decode::{BoxCoding, Fastestdet, Level, Prior, ScoreCoding, Ssd, Table, Yolo, YoloForm};
pub use decoder::Decoder;
pub use head::{BoxesKey, Head, HeadKind};
pub use precision::{ClassPrecision, average_precisions, mean};
