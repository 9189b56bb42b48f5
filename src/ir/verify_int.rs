//! Verifiers of the integer graph and of the program. Each rule has a number and a failing test;
//! all breaches are reported at once.

mod graph;
mod program;
#[cfg(test)]
mod tests;

use crate::diag::{self, Diagnostic, Diagnostics, Result};

use super::ids::{IdVec, LayerId};
use super::int::IntGraph;
use super::program::{Program, Step};

/// All rules, by number.
pub const RULES: &[(&str, &str)] = &[
    (
        "I1",
        "there is a level, and every tensor has a quantisation for each",
    ),
    (
        "I2",
        "every tensor is the input or written by exactly one layer, before it is read",
    ),
    (
        "I3",
        "the input has one quantisation for all levels, and there are outputs",
    ),
    ("I4", "scales are finite and positive"),
    ("I5", "a layer's output has the shape its operator gives"),
    (
        "I6",
        "a convolution has as many weights and constants as its extents say, weights from -127",
    ),
    (
        "I7",
        "pooling by maximum, clamping, padding and resizing keep their input's quantisation",
    ),
    ("I8", "constants that belong to a level are there for each"),
    ("I9", "a clamp's low bound is not above its high bound"),
    ("I10", "softmax gives scale 1/256 and zero point -128"),
    ("I11", "the constants of a sum cannot overflow 32 bits"),
    (
        "I12",
        "the model's layer is not smaller than what is left of it",
    ),
    (
        "I13",
        "moved elements come from inside their inputs, and each element of the output is given once",
    ),
    (
        "I14",
        "interpolation reads rows and columns that are there, in shares of 256ths",
    ),
    (
        "P1",
        "tensors and scratch lie in the arena, at multiples of 4 and 8, and it ends with the last of them",
    ),
    (
        "P2",
        "a tensor stays untouched, by scratch too, from the step that writes it to the last that reads it; a convolution may write over its input from the least distance on",
    ),
    (
        "P3",
        "every tensor is written before it is read, and there are outputs",
    ),
    ("P4", "constants that belong to a level are there for each"),
    (
        "P5",
        "streams and weights are well-formed and have the extents of their layer",
    ),
    (
        "P6",
        "a step's extents are those of its tensors, and its windows lie in them",
    ),
    ("P7", "scratch is what the kernels ask for"),
    ("P8", "a tile can serve its columns"),
    ("P9", "the kernel is in the kernels' table"),
    (
        "P10",
        "counts of work grow from level to level and stay within the dense count of the model",
    ),
    (
        "P11",
        "nothing lies in both parts of a divided arena, and the input and the outputs lie in the second",
    ),
    (
        "P12",
        "a part is whole rows of a tensor that is no part, written once; shared constants are an earlier step's",
    ),
];

/// Collects breaches.
#[derive(Debug, Default)]
struct Breaches(Diagnostics);

impl Breaches {
    fn check(
        &mut self,
        holds: bool,
        rule: &str,
        place: impl Into<String>,
        message: impl FnOnce() -> String,
    ) {
        if !holds {
            let text = RULES.iter().find(|r| r.0 == rule).map_or("", |r| r.1);
            self.0.push(Diagnostic::new(
                diag::IR_INVALID,
                place,
                format!("rule {rule}, {text}: {}", message()),
                "report this as a fault of nestc, with the model",
            ));
        }
    }
}

/// Checks rules I1 to I14.
///
/// # Errors
/// All breaches.
pub fn verify(graph: &IntGraph) -> Result<()> {
    let mut breaches = Breaches::default();
    graph::check(graph, &mut breaches);
    breaches.0.into_result(())
}

/// Checks rules P4 to P10 on steps that have no places yet.
///
/// # Errors
/// All breaches.
pub fn verify_steps(graph: &IntGraph, steps: &IdVec<LayerId, Step>) -> Result<()> {
    let mut breaches = Breaches::default();
    let shape = |t| graph.tensors[t].shape;
    for step in steps {
        program::step(graph.sparsities.len(), &shape, step, &mut breaches);
    }
    breaches.0.into_result(())
}

/// Checks rules P1 to P12.
///
/// # Errors
/// All breaches.
pub fn verify_program(program: &Program) -> Result<()> {
    let mut breaches = Breaches::default();
    program::check(program, &mut breaches);
    breaches.0.into_result(())
}
