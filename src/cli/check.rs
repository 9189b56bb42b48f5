//! `nestc check`: what in a model is not supported, and what it would take on a board.

mod board;
mod text;

use std::io;

use serde::{Serialize, Serializer};

use super::args::{CheckArgs, CheckTarget};
use super::model;
use super::printer::{self, Printer};
use crate::diag::{BAD_ARGUMENT, Diagnostic, Diagnostics, Result};
use crate::emit;
use crate::image;
use crate::ir::float::FloatOp;
use crate::ir::ids::NodeId;
use crate::ir::nested::NestedModel;
use crate::passes::{self, Preferences, Sketch};
use crate::target::Board;
use crate::train;
use crate::units::Macs;

use board::Estimate;

/// The document of `nestc check --json`.
#[derive(Debug, Serialize)]
struct Checked {
    model: String,
    /// Channels, rows, columns.
    input: [usize; 3],
    outputs: Vec<[usize; 3]>,
    nodes: usize,
    weights: u64,
    macs: Macs,
    /// Sparsities, sparsest level first.
    levels: Vec<f64>,
    levels_from: LevelsFrom,
    /// Layers that no device runs, and other limits of the kernels, whatever the board.
    #[serde(serialize_with = "findings")]
    findings: Diagnostics,
    /// Layers that only put elements in another order; absent where a layer cannot be lowered.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_time_transposes: Option<Vec<String>>,
    /// One a board that was asked for; none where a layer cannot be lowered.
    targets: Vec<Estimate>,
}

/// Where the levels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum LevelsFrom {
    /// The file.
    Model,
    /// `--levels`: the least weights are cut, and nothing is trained.
    Magnitude,
}

/// As the document of a failure has them.
fn findings<S: Serializer>(found: &Diagnostics, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(found.0.iter().map(printer::finding_json))
}

/// Checks. All findings come together: those of the layers, of the name and of every board that was
/// asked for by name; with `--target all` the network must fit one.
pub fn run(args: &CheckArgs, printer: &Printer) -> Result<io::Result<()>> {
    let boards = match &args.target {
        None => Vec::new(),
        Some(CheckTarget::All) => Board::all(),
        Some(CheckTarget::Board(name)) => vec![Board::named(name)?],
    };
    let mut nested = model::load(&args.model, printer)?;
    let mut levels_from = LevelsFrom::Model;
    if let Some(levels) = &args.levels {
        if nested.level_count() > 1 {
            return Err(own_levels(&nested).into());
        }
        nested = train::one_shot(nested, &levels.0);
        levels_from = LevelsFrom::Magnitude;
    }
    let mut checked = describe(args, &nested, levels_from);
    let graph = nested.graph.clone();
    let Sketch {
        encoded,
        findings: found,
    } = passes::sketch(nested, &Preferences::default());
    checked.findings = found;
    if let Some(encoded) = &encoded {
        let len = |t| encoded.graph.tensors[t].shape.len();
        checked.run_time_transposes = Some(image::run_time_transposes(encoded.steps.iter(), len));
        if !boards.is_empty()
            && let Err(fault) = emit::check_name(&encoded.graph.name)
        {
            checked.findings.push(fault);
        }
        checked.targets = (boards.iter())
            .map(|board| board::estimate(&graph, encoded, board))
            .collect();
    }
    let refused = refusals(&checked, &boards);
    if boards.is_empty() {
        for finding in &checked.findings.0 {
            printer.warning(finding);
        }
    }
    let table = args.target == Some(CheckTarget::All);
    let written = printer.result(&checked, &text::text(&checked, table));
    if let (Ok(()), false) = (&written, refused.0.is_empty()) {
        return Err(refused);
    }
    Ok(written)
}

/// What makes the check fail: nothing where no board was asked for.
fn refusals(checked: &Checked, boards: &[Board]) -> Diagnostics {
    let mut refused = Diagnostics::default();
    if boards.is_empty() {
        return refused;
    }
    refused.0.extend(checked.findings.0.iter().cloned());
    if !checked.targets.iter().any(|on| on.fits) {
        for on in &checked.targets {
            refused.0.extend(on.findings.0.iter().cloned());
        }
    }
    refused
}

fn own_levels(nested: &NestedModel) -> Diagnostic {
    Diagnostic::new(
        BAD_ARGUMENT,
        "--levels",
        format!(
            "levels are asked for, and the model has {} of its own",
            nested.level_count()
        ),
        "leave --levels out, or check the plain network that the model was trained from",
    )
}

fn describe(args: &CheckArgs, nested: &NestedModel, levels_from: LevelsFrom) -> Checked {
    let graph = &nested.graph;
    let extent = |v| {
        let s = graph.shape(v);
        [s.c, s.h, s.w]
    };
    Checked {
        model: args.model.display().to_string(),
        input: extent(graph.input()),
        outputs: graph.outputs.iter().map(|&o| extent(o)).collect(),
        nodes: graph.nodes.len(),
        weights: graph.nodes.iter().map(|n| weights(&n.op)).sum(),
        macs: Macs(graph.nodes.ids().map(|id: NodeId| graph.macs(id)).sum()),
        levels: nested.levels.iter().map(|l| l.sparsity).collect(),
        levels_from,
        findings: Diagnostics::default(),
        run_time_transposes: None,
        targets: Vec::new(),
    }
}

fn weights(op: &FloatOp) -> u64 {
    match op {
        FloatOp::Conv(conv) => conv.weight.len() as u64,
        FloatOp::Dense(dense) => dense.weight.len() as u64,
        _ => 0,
    }
}
