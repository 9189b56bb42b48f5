//! `nestc check`: what in a model is not supported, and what it would take on a board.

use std::io;

use serde::Serialize;

use super::args::CheckArgs;
use super::compile;
use super::model;
use super::printer::{Printer, table};
use super::watch::Watch;
use crate::diag::{Diagnostics, Result};
use crate::emit::{self, Budgets};
use crate::image;
use crate::ir::float::FloatOp;
use crate::ir::ids::NodeId;
use crate::ir::nested::NestedModel;
use crate::ir::program::Program;
use crate::passes::{self, Artefact, Preferences};
use crate::target::Board;
use crate::units::{Bytes, Cycles, Macs, group_thousands};

/// The document of `nestc check --json`.
#[derive(Debug, Serialize)]
struct Checked {
    model: String,
    input: [usize; 3],
    outputs: Vec<[usize; 3]>,
    nodes: usize,
    weights: u64,
    macs: Macs,
    levels: Vec<f64>,
    /// Layers that no device runs yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    float_only_layers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Estimate>,
}

/// What the model would take on a board. Exact but for code size and cycles.
#[derive(Debug, Serialize)]
struct Estimate {
    board: String,
    arena_memory: String,
    activation_bytes: Bytes,
    scratch_bytes: Bytes,
    model_flash_bytes: Bytes,
    levels: Vec<LevelEstimate>,
}

/// One level.
#[derive(Debug, Serialize)]
struct LevelEstimate {
    level: usize,
    effective_macs: Macs,
    estimated_cycles: Cycles,
    estimated_latency_ms: f64,
}

/// Checks.
pub fn run(args: &CheckArgs, printer: &Printer) -> Result<io::Result<()>> {
    let board = args.target.as_deref().map(Board::named).transpose()?;
    let nested = model::load(&args.model, printer)?;
    let mut checked = describe(args, &nested);
    if let Some(board) = board {
        emit::check_activations(&nested.graph, &board, Budgets::default())?;
        // Weights and memory do not depend on the ranges, so synthetic inputs serve.
        let mut watch = Watch::silent(printer);
        let fast_memory = emit::fast_memory(&nested.graph, &board);
        let preferences = Preferences::default();
        let artefact = compile::lower(
            nested,
            None,
            None,
            &preferences,
            Some(fast_memory),
            &mut watch,
        )?;
        let Artefact::Program(program) = artefact else {
            unreachable!("the whole pipeline gives a program")
        };
        checked.target = Some(estimate(&program, &board)?);
    }
    let text = text(&checked);
    Ok(printer.result(&checked, &text))
}

fn describe(args: &CheckArgs, nested: &NestedModel) -> Checked {
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
        float_only_layers: passes::float_only(nested),
        target: None,
    }
}

fn weights(op: &FloatOp) -> u64 {
    match op {
        FloatOp::Conv(conv) => conv.weight.len() as u64,
        FloatOp::Dense(dense) => dense.weight.len() as u64,
        _ => 0,
    }
}

fn estimate(program: &Program, board: &Board) -> Result<Estimate> {
    let mut faults = Diagnostics::default();
    if let Err(fault) = emit::check_name(&program.name) {
        faults.push(fault);
    }
    let memory = match emit::place(program, board, Budgets::default()) {
        Ok(memory) => faults.into_result(memory)?,
        Err(more) => {
            faults.0.extend(more.0);
            return Err(faults);
        }
    };
    let levels = (0..program.level_count())
        .map(|level| {
            let cycles = estimated_cycles(program, level);
            LevelEstimate {
                level,
                effective_macs: image::effective_macs(program, level),
                estimated_cycles: cycles,
                estimated_latency_ms: cycles.milliseconds_at(board.clock.core_hz),
            }
        })
        .collect();
    Ok(Estimate {
        board: board.name.clone(),
        arena_memory: memory.name.clone(),
        activation_bytes: program.arena_bytes - program.peak_scratch(),
        scratch_bytes: program.peak_scratch(),
        model_flash_bytes: emit::model_bytes(program),
        levels,
    })
}

/// What the cost model expects of all layers.
fn estimated_cycles(program: &Program, level: usize) -> Cycles {
    (program.steps.iter())
        .map(|step| {
            step.estimated_cycles
                .get(level)
                .copied()
                .unwrap_or_default()
        })
        .sum()
}

fn text(checked: &Checked) -> String {
    let extent = |[c, h, w]: [usize; 3]| format!("{c}x{h}x{w}");
    let outputs: Vec<String> = checked.outputs.iter().map(|&o| extent(o)).collect();
    let sparsities: Vec<String> = checked
        .levels
        .iter()
        .map(|s| format!("{:.1} %", s * 100.0))
        .collect();
    let mut out = format!(
        "{}: {}\ninput   {}\noutput  {}\nnodes   {}\nweights {}\nMACs    {}\nlevels  {}\n",
        checked.model,
        match checked.float_only_layers.len() {
            0 => "every node is supported".to_owned(),
            n =>
                format!("every node can be read; {n} layers run in float only (--target says why)"),
        },
        extent(checked.input),
        outputs.join(", "),
        checked.nodes,
        group_thousands(checked.weights),
        group_thousands(checked.macs.0),
        sparsities.join(", "),
    );
    let Some(on) = &checked.target else {
        return out;
    };
    out += &format!(
        "\nfits {}: weights, indices and constants {}; arena {} + scratch {} in {}\n",
        on.board, on.model_flash_bytes, on.activation_bytes, on.scratch_bytes, on.arena_memory
    );
    let mut rows = vec![
        ["level", "MACs", "cycles (estimate)", "ms (estimate)"]
            .map(String::from)
            .to_vec(),
    ];
    for l in &on.levels {
        rows.push(vec![
            l.level.to_string(),
            group_thousands(l.effective_macs.0),
            group_thousands(l.estimated_cycles.0),
            format!("{:.1}", l.estimated_latency_ms),
        ]);
    }
    out += &table(&rows);
    out
}
