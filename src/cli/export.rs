//! `nestc export`: one level as an ordinary ONNX file.

use std::io;

use serde_json::json;

use super::args::ExportArgs;
use super::model;
use super::printer::Printer;
use crate::diag::Result;
use crate::export;

/// Writes the level.
pub fn run(args: &ExportArgs, printer: &Printer) -> Result<io::Result<()>> {
    model::refuse_overwrite(&args.model, &args.output)?;
    let nested = model::load(&args.model, printer)?;
    export::export_level(&nested, args.level, &args.output)?;
    let info = &nested.levels[args.level];
    let document = json!({
        "model": args.model,
        "level": args.level,
        "sparsity": info.sparsity,
        "accuracy_top1": info.accuracy_top1,
        "output": args.output,
    });
    let text = format!(
        "level {} of {}, {:.1} % sparse: {}\n",
        args.level,
        nested.level_count(),
        info.sparsity * 100.0,
        args.output.display()
    );
    Ok(printer.result(&document, &text))
}
