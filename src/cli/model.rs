//! What several verbs do with a model and its data.

use std::path::Path;

use super::printer::Printer;
use crate::data::{DataSpec, Dataset, Split};
use crate::detect::Head;
use crate::diag::{Diagnostic, IMAGE_SIZES, NO_CALIBRATION, OUTPUT_IS_INPUT, Result};
use crate::import;
use crate::ir::float::FloatGraph;
use crate::ir::nested::NestedModel;

/// The key of the training record that holds the data specification.
pub const DATA_KEY: &str = "data";

/// The key of the training record that holds the detection head.
pub const HEAD_KEY: &str = "head";

/// Reads a model, checks the import against tract and prints warnings. The model is called as its
/// file is, since exporters name nearly all graphs alike.
pub fn load(path: &Path, printer: &Printer) -> Result<NestedModel> {
    let imported = import::load_checked(path)?;
    for warning in &imported.warnings {
        printer.warning(warning);
    }
    let mut model = imported.model;
    if let Some(name) = name_of(path) {
        model.graph.name = name;
    }
    Ok(model)
}

/// What a model's file is called; one called `model`, as ONNX has it in a model's folder, has the
/// folder's name.
fn name_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy();
    let name = stem.strip_suffix(".nest").unwrap_or(&stem);
    if name == "model"
        && let Ok(path) = std::path::absolute(path)
        && let Some(folder) = path.parent().and_then(Path::file_name)
    {
        return Some(folder.to_string_lossy().into_owned());
    }
    Some(name.to_owned())
}

/// Reads a data set for `model`: prepared and brought to size as the model was trained unless the
/// specification says otherwise, and checked against the model's input.
pub fn load_data(spec: &DataSpec, split: Split, model: &NestedModel) -> Result<Dataset> {
    let mut spec = spec.with_split(split);
    if let (Some(recorded), None) = (recorded_data(model), spec.resize) {
        spec.take_size(&recorded);
    }
    let input = model.graph.input_shape();
    let data = spec
        .load(model.preprocessing.as_ref())
        .map_err(|mut faults| {
            for fault in faults.0.iter_mut().filter(|f| f.code == IMAGE_SIZES) {
                let [h, w] = [input.h, input.w];
                fault.hint =
                    format!("add resize={h}x{w}, the network's input, to the specification");
            }
            faults
        })?;
    data.expect_shape(&spec.to_string(), input)?;
    Ok(data)
}

/// The data the model was trained on, by its own record.
pub fn recorded_data(model: &NestedModel) -> Option<DataSpec> {
    let text = model.training.as_ref()?.get(DATA_KEY)?.as_str()?;
    DataSpec::parse(text).ok()
}

/// The head the model was trained with, by its own record.
pub fn recorded_head(model: &NestedModel) -> Option<Head> {
    let text = model.training.as_ref()?.get(HEAD_KEY)?.as_str()?;
    Head::parse(text).ok()
}

/// The images to calibrate with: those asked for, else those the model was trained on, else
/// `fallback`. Without any, the caller calibrates on noise and says so; that the model's own images
/// cannot be read now is a warning, since a clone of a repository seldom has them.
pub fn calibration(
    asked: Option<&DataSpec>,
    fallback: Option<&DataSpec>,
    model: &NestedModel,
    printer: &Printer,
) -> Result<Option<Dataset>> {
    if let Some(spec) = asked {
        return load_data(spec, Split::Train, model).map(Some);
    }
    if let Some(spec) = recorded_data(model) {
        match load_data(&spec, Split::Train, model) {
            Ok(data) => return Ok(Some(data)),
            Err(faults) => {
                let why = faults
                    .0
                    .first()
                    .map_or(String::new(), |f| f.message.clone());
                let instead = match fallback {
                    Some(spec) => format!("the ranges are taken from `{spec}` instead"),
                    None => "name images with --calibrate SPEC".to_string(),
                };
                printer.warning(&Diagnostic::new(
                    NO_CALIBRATION,
                    spec.to_string(),
                    format!("the images the model was trained on cannot be read: {why}"),
                    instead,
                ));
            }
        }
    }
    fallback
        .map(|spec| load_data(spec, Split::Train, model))
        .transpose()
}

/// Refuses to write a result over the file it is made from.
pub fn refuse_overwrite(model: &Path, output: &Path) -> Result<()> {
    let same = match (model.canonicalize(), output.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => model == output,
    };
    if !same {
        return Ok(());
    }
    Err(Diagnostic::new(
        OUTPUT_IS_INPUT,
        output.display().to_string(),
        format!("-o is {}, the model that is read", output.display()),
        "give another file name",
    )
    .into())
}

/// How many classes a classifier of one output tells apart.
pub fn output_count(graph: &FloatGraph) -> usize {
    graph.outputs.first().map_or(0, |&o| graph.shape(o).len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_as_its_file_or_its_folder_is() {
        for (path, name) in [
            ("a/net.onnx", "net"),
            ("net.nest.onnx", "net"),
            ("a/resnet-20/model.onnx", "resnet-20"),
            ("/vww/model.nest.onnx", "vww"),
            ("/model.onnx", "model"),
            ("a/model/models.onnx", "models"),
        ] {
            assert_eq!(name_of(path.as_ref()).as_deref(), Some(name), "{path}");
        }
    }
}
