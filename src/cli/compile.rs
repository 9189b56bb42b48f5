//! `nestc compile`: from a model to a firmware workspace, its image and its report.

use std::io;
use std::path::Path;

use serde_json::json;

use super::args::{BlockArg, CompileArgs, ObjectiveArg, PatchesArg};
use super::printer::Printer;
use super::watch::Watch;
use super::{detection, model};
use crate::data::Dataset;
use crate::diag::{BAD_ARGUMENT, Diagnostic, Result};
use crate::emit::{self, Budgets};
use crate::export;
use crate::image::{self, BuildOptions};
use crate::ir::nested::NestedModel;
use crate::passes::{
    self, Artefact, CompileOptions, FastMemory, Objective, PIPELINE, Patching, Preferences,
};
use crate::report::{self, LayerKernels, MemoryMap, Quantisation};
use crate::target::Board;
use crate::units::Bytes;

/// The file of the output folder that says which data set belongs to the model.
pub const DATA_NAME: &str = "data.json";

/// Compiles.
pub fn run(args: &CompileArgs, printer: &Printer) -> Result<io::Result<()>> {
    let board = Board::named(&args.target)?;
    let last = args.stop_after.as_deref();
    for pass in [last, args.dump_after.as_deref()].into_iter().flatten() {
        passes::find_pass(pass)?;
    }
    check_order(last, args.dump_after.as_deref(), "--dump-after")?;
    if args.explain_kernels {
        check_order(last, Some("encode"), "--explain-kernels")?;
    }
    if args.explain_quantisation {
        check_order(last, Some("quantise"), "--explain-quantisation")?;
    }
    if args.explain_memory {
        check_order(last, Some("plan"), "--explain-memory")?;
    }
    if args.report.is_some() {
        check_order(last, Some("plan"), "--report")?;
    }
    emit::check_output(&args.output)?;
    let nested = model::load(&args.model, printer)?;
    let budgets = Budgets {
        flash: args.flash_budget.map(Bytes),
        ram: args.ram_budget.map(Bytes),
        ..Budgets::default()
    };
    let patching = match args.patches {
        PatchesArg::Off => Patching::Off,
        PatchesArg::Stripes(stripes) => Patching::Stripes(stripes),
        PatchesArg::Auto => emit::patch_to_fit(&nested.graph, &board, budgets),
    };
    emit::check_activations(&nested.graph, &board, budgets, patching != Patching::Off)?;
    let head = args.head.clone().or_else(|| model::recorded_head(&nested));
    let boxes = match &head {
        Some(head) => {
            let outputs = detection::output_shapes(&nested.graph);
            emit::box_bytes(&head.fit(nested.graph.input_shape(), &outputs)?)
        }
        None => Bytes(0),
    };
    let data = args
        .calibrate
        .clone()
        .or_else(|| model::recorded_data(&nested));
    let calibration = model::calibration(args.calibrate.as_ref(), None, &nested, printer)?;

    let mut fast_memory = emit::fast_memory(&nested.graph, &board);
    fast_memory.whole = Bytes(fast_memory.whole.0.saturating_sub(boxes.0) / 32 * 32);
    if args.one_arena {
        fast_memory.part = Bytes(0);
    }
    let mut watch = Watch::new(printer, args.dump_after.as_deref());
    watch.measure_fidelity = true;
    let artefact = lower(
        nested,
        calibration.as_ref(),
        last,
        &preferences(args),
        Some(fast_memory),
        patching,
        &mut watch,
    )?;
    let mut dumped = watch.dumped.unwrap_or_default();
    let quantisation = watch.fidelity.as_ref().map(Quantisation::of);
    if let (true, Some(quantisation)) = (args.explain_quantisation, &quantisation) {
        dumped += &quantisation.explain();
    }
    if args.explain_kernels {
        let kernels = match &artefact {
            Artefact::Encoded(encoded) => LayerKernels::of(&encoded.steps),
            Artefact::Program(program) => LayerKernels::of(&program.steps),
            _ => Vec::new(),
        };
        dumped += &report::explain(&kernels);
    }
    if let Artefact::Program(program) = &artefact {
        let memory = MemoryMap::of(program);
        if args.explain_memory {
            dumped += &memory.explain();
        }
        if let Some(page) = &args.report {
            export::replace(page, memory.html(&program.name, &board.name).as_bytes())?;
        }
    }
    let program = match (artefact, last) {
        (Artefact::Program(program), None) => program,
        _ => {
            let document = json!({
                "stopped_after": last,
                "text": dumped,
                "quantisation": quantisation,
            });
            return Ok(printer.result(&document, &dumped));
        }
    };
    let build = printer.progress("build", 1);
    let report = image::compile(
        &program,
        &board,
        budgets,
        &args.output,
        &BuildOptions {
            quantisation,
            head,
            ..BuildOptions::default()
        },
    )?;
    if let Some(spec) = data {
        // The bench may be run from another folder.
        let text = json!({ "data": spec.absolute()?.to_string() }).to_string() + "\n";
        export::replace(&args.output.join(DATA_NAME), text.as_bytes())?;
    }
    build.finish(&format!("firmware in {}", args.output.display()));
    Ok(printer.report(&report, &format!("{dumped}{}", report.table())))
}

/// What the options say of kernels.
fn preferences(args: &CompileArgs) -> Preferences {
    Preferences {
        objective: match args.optimise {
            ObjectiveArg::Latency => Objective::Latency,
            ObjectiveArg::Flash => Objective::Flash,
        },
        format: args.block.map(|BlockArg::OneByFour| "block"),
        forced: args.kernel.clone(),
    }
}

/// Refuses to show what a pass gives that will not run.
fn check_order(last: Option<&str>, dump: Option<&str>, option: &str) -> Result<()> {
    let at = |name: &str| PIPELINE.iter().position(|pass| pass.name == name);
    match (last, dump) {
        (Some(last), Some(dump)) if at(dump) > at(last) => Err(Diagnostic::new(
            BAD_ARGUMENT,
            option,
            format!("`{dump}` comes after `{last}`, where --stop-after ends the compilation"),
            format!(
                "stop after `{dump}` or later, or ask for what `{last}` or an earlier pass gives"
            ),
        )
        .into()),
        _ => Ok(()),
    }
}

/// Runs the pipeline up to `last`, or all of it.
pub fn lower(
    nested: NestedModel,
    calibration: Option<&Dataset>,
    last: Option<&str>,
    preferences: &Preferences,
    fast_memory: Option<FastMemory>,
    patching: Patching,
    watch: &mut Watch<'_>,
) -> Result<Artefact> {
    let options = CompileOptions {
        preprocessing: calibration.map(|data| data.preprocessing.clone()),
        calibration,
        preferences: preferences.clone(),
        fast_memory,
        patching,
        measure_fidelity: watch.measure_fidelity,
        ..CompileOptions::default()
    };
    let end = PIPELINE.last().map_or("", |pass| pass.name);
    passes::compile_until(nested, &options, last.unwrap_or(end), watch)
}

/// The data specification that `compile` left in a folder.
pub fn recorded_data(folder: &Path) -> Option<crate::data::DataSpec> {
    let text = std::fs::read_to_string(folder.join(DATA_NAME)).ok()?;
    let document: serde_json::Value = serde_json::from_str(&text).ok()?;
    document.get("data")?.as_str()?.parse().ok()
}
