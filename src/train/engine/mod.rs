//! Forward and backward passes of a float graph over batches of images.
//!
//! Images are worked on in blocks of sixteen, one in each lane of a vector; a block's feature map is
//! `[row][channel][column]` vectors with a zero margin as wide as its readers reach
//! ([`plan::Slot`]). Blocks run in parallel. What joins them (statistics of batch normalisation, the
//! gradient of a parameter) is summed in block order, so results do not depend on the threads.

mod backward;
mod forward;
mod gather;
mod linear;
mod local;
mod params;
mod plan;
mod pool;
mod rounding;
mod run;
mod schedule;
mod softmax;
mod unary;
mod winograd;

pub use forward::MOMENTUM;
pub use params::{Params, Role, Running};
pub use plan::{Fusion, Plan};
pub use rounding::{Rounding, stored};
pub use run::{Engine, Mode, Prepared, Threads};

#[cfg(test)]
pub(crate) mod tests;
