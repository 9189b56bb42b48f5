//! Text forms of the integer graph and the program, stable from run to run.

use std::fmt::Write;

use super::int::IntGraph;
use super::program::{Program, Step};

/// The text form of an integer graph.
pub fn print(graph: &IntGraph) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "int \"{}\"", graph.name);
    for layer in &graph.layers {
        let _ = writeln!(out, "{} = \"{}\"", layer.output, layer.name);
    }
    out
}

/// One line on a step.
pub fn step_line(step: &Step) -> String {
    let inputs: Vec<String> = step.inputs.iter().map(ToString::to_string).collect();
    format!(
        "{} = {}({}) \"{}\" kernel={} scratch={} macs={} nonzero={:?} weights={} indices={} requant={}",
        step.output,
        step.op,
        inputs.join(", "),
        step.name,
        step.kernel,
        4 * step.scratch_words,
        step.macs.0,
        step.nonzero_weights,
        step.weight_bytes.0,
        step.index_bytes.0,
        step.requant_bytes.0,
    )
}

/// The text form of a program: its plan and its steps; weights by their checksum only.
pub fn print_program(program: &Program) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "program \"{}\" sparsities={:?} activations={} scratch={}",
        program.name,
        program.sparsities,
        program.activation_bytes.0,
        4 * program.scratch_words
    );
    for (id, t) in program.tensors.iter_enumerated() {
        let quant: Vec<String> = (t.quant.iter())
            .map(|q| format!("{}@{}", q.scale, q.zero_point))
            .collect();
        let _ = writeln!(
            out,
            "{id}: {} at {} quant=[{}] \"{}\"",
            t.shape,
            t.offset,
            quant.join(", "),
            t.name
        );
    }
    for (id, step) in program.steps.iter_enumerated() {
        let _ = writeln!(out, "{id}: {}", step_line(step));
    }
    let outputs: Vec<String> = program.outputs.iter().map(ToString::to_string).collect();
    let _ = writeln!(out, "input {} output {}", program.input, outputs.join(", "));
    out
}
