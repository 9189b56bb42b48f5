//! The intermediate representations, from the float graph to the program a device runs.

pub mod eval;
pub mod eval_float;
pub(crate) mod eval_ops;
pub mod float;
pub mod float_ops;
pub mod ids;
pub mod int;
pub mod nested;
pub mod program;
pub mod rounding;
pub mod text;
pub mod text_int;
pub mod verify;
pub mod verify_int;
