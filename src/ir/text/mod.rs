//! The text form of float graphs and nested models: for people, for `--dump-after` and for tests of
//! passes.
//!
//! ```text
//! graph "net" {
//!   input v0 "picture" 3x32x32
//!   v1 "sum" 16x32x32 = conv "c1" (v0) groups=1 kernel=3x3 stride=1x1 pads=1,1,1,1 dilation=1x1 weight=16x3x3x3:#5f0c… bias=16:#91e2…
//!   output v1
//! }
//! ```
//!
//! Parameters print as extents and a hash, or in full on demand (`weight=2:[1.5,-0.25]`); only the
//! full form can be read back, and then gives the same graph bit by bit. `[0.5*12]` stands for
//! twelve equal elements. An output that its file lays out in another way than the graph says so:
//! `output v9 order=pixel dims=1118,4`.

mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use parse::{TextError, parse};
pub use print::{Weights, print, print_nested};
