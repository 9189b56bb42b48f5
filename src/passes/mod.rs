//! The compiler: from a [`NestedModel`] to a [`Program`], one pass a file.
//!
//! [`PIPELINE`] is the table of passes; [`compile`] runs them all, [`compile_until`] stops after
//! one. After every pass the verifier of its artefact runs.

mod calibrate;
pub mod cost;
mod eliminate;
mod encode;
mod evaluate;
mod fidelity;
mod fold;
mod moving;
mod patches;
mod plan;
mod quantise;
mod requant;
mod shared;
mod sketch;
mod supported;

use crate::data::Dataset;
use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::int::IntGraph;
use crate::ir::nested::{NestedModel, Preprocessing};
use crate::ir::program::Program;
use crate::ir::text::{self, Weights};
use crate::ir::verify::verify_nested;
use crate::ir::{text_int, verify_int};

pub use calibrate::{Calibration, Histogram, RangeRule};
pub use eliminate::eliminate;
pub use encode::{
    EncodedGraph, Forced, MOST_SLOWDOWN, Objective, Preferences, decode_stream, encode,
    encode_blocks, encode_compact, encode_stream,
};
pub use evaluate::{Accuracy, dequantise_output, evaluate_int8, quantise_input};
pub use fidelity::{Fidelity, LayerFidelity};
pub use fold::fold;
pub use patches::{Patching, plan_patched};
pub use plan::{FastMemory, MemoryPlan, plan, plan_for};
pub use quantise::quantise;
pub use sketch::{Sketch, sketch};

/// A row of the table of passes.
#[derive(Debug)]
pub struct PassInfo {
    /// What `--stop-after` and `--dump-after` call it.
    pub name: &'static str,
    /// The artefact it reads.
    pub from: &'static str,
    /// The artefact it makes.
    pub to: &'static str,
    /// One line.
    pub doc: &'static str,
}

/// All passes in order.
pub static PIPELINE: &[PassInfo] = &[
    PassInfo {
        name: "fold",
        from: "nested model",
        to: "nested model",
        doc: "canonicalise: merge affine chains, turn dense layers into convolutions, drop no-ops",
    },
    PassInfo {
        name: "quantise",
        from: "nested model",
        to: "integer graph",
        doc: "calibrate activations, quantise weights, fuse normalisations and activations",
    },
    PassInfo {
        name: "eliminate",
        from: "integer graph",
        to: "integer graph",
        doc: "remove channels that are constant or read by nothing, constants folded into biases",
    },
    PassInfo {
        name: "encode",
        from: "integer graph",
        to: "encoded graph",
        doc: "choose a kernel for each layer and lay its weights out for it",
    },
    PassInfo {
        name: "plan",
        from: "encoded graph",
        to: "program",
        doc: "place all activations in one arena, additions in place",
    },
];

/// How to compile.
#[derive(Clone, Debug)]
pub struct CompileOptions<'a> {
    /// Real inputs to calibrate on. Without any, seeded synthetic ones are used, with a warning.
    pub calibration: Option<&'a Dataset>,
    /// At most so many of them, spread evenly over the set.
    pub calibration_images: usize,
    /// How an activation's range is chosen.
    pub range_rule: RangeRule,
    /// Overrides the model's own record of how pictures become inputs.
    pub preprocessing: Option<Preprocessing>,
    /// Of synthetic inputs.
    pub seed: u64,
    /// Tightly coupled memory that an arena may take: see [`plan_for`].
    pub fast_memory: Option<FastMemory>,
    /// Whether the first layers may run in stripes.
    pub patching: Patching,
    /// What guides the choice of kernels.
    pub preferences: Preferences,
    /// Whether to measure how closely the integer network follows the float network, which
    /// [`Observer::fidelity`] is told: 32 images through both, at every level.
    pub measure_fidelity: bool,
}

impl Default for CompileOptions<'_> {
    fn default() -> Self {
        Self {
            calibration: None,
            calibration_images: 256,
            range_rule: RangeRule::default(),
            preprocessing: None,
            seed: 1,
            fast_memory: None,
            patching: Patching::Off,
            preferences: Preferences::default(),
            measure_fidelity: false,
        }
    }
}

/// What a pass made.
#[derive(Clone, Debug, PartialEq)]
pub enum Artefact {
    /// After `fold`.
    Nested(NestedModel),
    /// After `quantise` and `eliminate`.
    Int(IntGraph),
    /// After `encode`.
    Encoded(EncodedGraph),
    /// After `plan`.
    Program(Program),
}

impl Artefact {
    /// The text form, stable from run to run.
    pub fn text(&self) -> String {
        match self {
            Artefact::Nested(model) => text::print_nested(model, Weights::Hashed),
            Artefact::Int(graph) => text_int::print(graph),
            Artefact::Encoded(encoded) => encode::summary(encoded),
            Artefact::Program(program) => text_int::print_program(program),
        }
    }
}

/// Watches a compilation.
pub trait Observer {
    /// Something that does not stop the compilation but should be read.
    fn warning(&mut self, _diagnostic: Diagnostic) {}
    /// `done` of `total` units of the running pass are done.
    fn progress(&mut self, _pass: &'static PassInfo, _done: usize, _total: usize) {}
    /// What [`CompileOptions::measure_fidelity`] asked for.
    fn fidelity(&mut self, _fidelity: Fidelity) {}
    /// A pass has made its artefact, which is verified; `text` gives its text form.
    fn after(&mut self, _pass: &'static PassInfo, _text: &dyn Fn() -> String) {}
}

/// Watches nothing.
impl Observer for () {}

/// Compiles `model`, which must be verified.
///
/// # Errors
/// What the model's layers or the calibration data rule out: all findings of the first pass that has
/// any.
pub fn compile(
    model: NestedModel,
    options: &CompileOptions<'_>,
    observer: &mut dyn Observer,
) -> Result<Program> {
    match compile_until(model, options, "plan", observer)? {
        Artefact::Program(program) => Ok(program),
        _ => unreachable!("the pipeline ends with a program"),
    }
}

/// As [`compile`], up to and including the pass `last`, whose artefact is returned.
///
/// # Errors
/// As [`compile`], and if there is no such pass.
pub fn compile_until(
    model: NestedModel,
    options: &CompileOptions<'_>,
    last: &str,
    observer: &mut dyn Observer,
) -> Result<Artefact> {
    let [
        fold_info,
        quantise_info,
        eliminate_info,
        encode_info,
        plan_info,
    ] = PIPELINE
    else {
        unreachable!("the pipeline has five passes")
    };
    find_pass(last)?;
    let preprocessing = (options.preprocessing.clone()).or_else(|| model.preprocessing.clone());

    let folded = fold(model);
    verify_folded(&folded)?;
    observer.after(fold_info, &|| text::print_nested(&folded, Weights::Hashed));
    if last == fold_info.name {
        return Ok(Artefact::Nested(folded));
    }
    supported::check(&folded)?;

    let calibration =
        calibrate::for_options(
            &folded,
            preprocessing.as_ref(),
            options,
            |step| match step {
                calibrate::Progress::Warning(w) => observer.warning(w),
                calibrate::Progress::Images(done, total) => {
                    observer.progress(quantise_info, done, total)
                }
            },
        )?;
    let quantised = quantise::traced(&folded, &calibration, options.range_rule)?;
    verify_int::verify(&quantised.graph)?;
    if options.measure_fidelity {
        observer.fidelity(fidelity::measure(
            &folded,
            &quantised,
            &calibration.samples,
        )?);
    }
    let graph = quantised.graph;
    observer.after(quantise_info, &|| text_int::print(&graph));
    if last == quantise_info.name {
        return Ok(Artefact::Int(graph));
    }

    let graph = eliminate(graph);
    verify_int::verify(&graph)?;
    observer.after(eliminate_info, &|| text_int::print(&graph));
    if last == eliminate_info.name {
        return Ok(Artefact::Int(graph));
    }

    let encoded = encode(graph, &options.preferences)?;
    verify_int::verify_steps(&encoded.graph, &encoded.steps)?;
    observer.after(encode_info, &|| encode::summary(&encoded));
    if last == encode_info.name {
        return Ok(Artefact::Encoded(encoded));
    }

    let mut program = plan_patched(
        encoded,
        &options.preferences,
        options.fast_memory,
        options.patching,
    )?;
    program.preprocessing = preprocessing;
    verify_int::verify_program(&program)?;
    observer.after(plan_info, &|| text_int::print_program(&program));
    Ok(Artefact::Program(program))
}

fn verify_folded(model: &NestedModel) -> Result<()> {
    let breaches = verify_nested(model).into_iter().map(|breach| {
        Diagnostic::new(
            diag::IR_INVALID,
            breach.place,
            format!("rule {}: {}", breach.rule, breach.message),
            "report this as a fault of nestc, with the model",
        )
    });
    Diagnostics(breaches.collect()).into_result(())
}

/// The pass called `name`.
///
/// # Errors
/// If there is none: the message lists all.
pub fn find_pass(name: &str) -> Result<&'static PassInfo> {
    PIPELINE.iter().find(|p| p.name == name).ok_or_else(|| {
        let names: Vec<&str> = PIPELINE.iter().map(|p| p.name).collect();
        Diagnostic::new(
            diag::PASS_UNKNOWN,
            name,
            format!("`{name}` is none of the passes {}", names.join(", ")),
            "name one of them",
        )
        .into()
    })
}
