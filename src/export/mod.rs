//! Float graphs and nested models to ONNX files.
//!
//! Files are written for operator set 17 with an open batch `N`, channel-major. [`crate::import`]
//! reads them back to the same graph; a `.nest.onnx` to the same nested model, bit by bit.

mod file;
mod graph;
mod nest;
#[cfg(test)]
mod tests;

use std::path::Path;

use prost::Message;

use crate::diag::{self, Diagnostic, Result};
use crate::import::proto::ModelProto;
use crate::ir::float::FloatGraph;
use crate::ir::ids::{Id, Level};
use crate::ir::nested::NestedModel;

pub use file::{check_replaceable, replace, replace_by};
pub use graph::to_proto;
pub use nest::to_nest_proto;

/// Writes a verified graph as a plain ONNX file.
///
/// # Errors
/// If the file cannot be written; an old one then stays as it was.
pub fn write_onnx(graph: &FloatGraph, path: &Path) -> Result<()> {
    write(&to_proto(graph), path)
}

/// Writes level `level` of a verified model as a plain ONNX file.
///
/// # Errors
/// If the model has no such level, or as [`write_onnx`].
pub fn export_level(model: &NestedModel, level: usize, path: &Path) -> Result<()> {
    if level >= model.level_count() {
        return Err(Diagnostic::new(
            diag::BAD_ARGUMENT,
            "--level",
            format!("level {level} of a model of {} levels", model.level_count()),
            format!(
                "levels run from 0 (the sparsest) to {}",
                model.level_count().saturating_sub(1)
            ),
        )
        .into());
    }
    write_onnx(&model.level(Level::from_index(level)), path)
}

/// Writes a verified model as a `.nest.onnx` file.
///
/// # Errors
/// As [`write_onnx`].
pub fn write_nest(model: &NestedModel, path: &Path) -> Result<()> {
    write(&to_nest_proto(model), path)
}

fn write(proto: &ModelProto, path: &Path) -> Result<()> {
    Ok(replace(path, &proto.encode_to_vec())?)
}
