//! Text forms of the integer graph and the program, stable from run to run.
//!
//! An integer graph is written in full and read back by [`parse`]:
//!
//! ```text
//! int "name"
//! sparsities [0.9, 0.5]
//! tensor t0 "x" shape=[1, 2, 2] quant=[[0.5, -128], [0.5, -128]]
//! tensor t1 "y" shape=[1, 2, 2] quant=[[0.25, -128], [0.3, -128]]
//! input t0
//! t1 = clamp(t0) "relu" bounds=[[-128, 127], [-128, 127]]
//! output t1
//! ```
//!
//! Shapes are `[c, h, w]`; a quantisation is `[scale, zero point]`, a requantisation `[bias,
//! multiplier]`, what a convolution was before dead channels were removed `[output channels,
//! weights, [non-zero weights of each level]]`, an addition's constants `[factor a, factor b, bias, shift]`, a
//! product's `[zero point a, zero point b, zero point, multiplier]`, loops that move elements `[from,
//! to, [[count, from, to], ...]]` (one list an input, and its tables, if any). A program is printed only:
//! its weights are in the graph it came from.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt::{Display, Write};

use nest_format::{AddParams, Requant};

use super::float::Window;
use super::int::{IntBinary, IntConv, IntGraph, IntNest, IntOp, Quant};
use super::program::{Program, Step};

pub use parse::parse;

/// The text form of an integer graph.
pub fn print(graph: &IntGraph) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = print_to(graph, &mut out);
    out
}

fn print_to(graph: &IntGraph, out: &mut String) -> std::fmt::Result {
    writeln!(out, "int {:?}", graph.name)?;
    writeln!(out, "sparsities {}", list(&graph.sparsities))?;
    for (id, t) in graph.tensors.iter_enumerated() {
        let shape = [t.shape.c, t.shape.h, t.shape.w];
        writeln!(
            out,
            "tensor {id} {:?} shape={} quant={}",
            t.name,
            list(shape),
            quants(&t.quant)
        )?;
    }
    writeln!(out, "input {}", graph.input)?;
    for layer in &graph.layers {
        let inputs: Vec<String> = layer.inputs.iter().map(ToString::to_string).collect();
        write!(
            out,
            "{} = {}({}) {:?}",
            layer.output,
            name(&layer.op),
            inputs.join(", "),
            layer.name
        )?;
        attributes(&layer.op, out)?;
        out.push('\n');
    }
    let outputs: Vec<String> = graph.outputs.iter().map(ToString::to_string).collect();
    writeln!(out, "output {}", outputs.join(", "))
}

fn name(op: &IntOp) -> &'static str {
    match op {
        IntOp::Conv(_) => "conv",
        IntOp::Add(_) => "add",
        IntOp::MaxPool(_) => "max_pool",
        IntOp::AvgPool { .. } => "avg_pool",
        IntOp::GlobalAvgPool(_) => "global_avg_pool",
        IntOp::Clamp(_) => "clamp",
        IntOp::Pad { .. } => "pad",
        IntOp::Softmax(_) => "softmax",
        IntOp::Lookup(_) => "lookup",
        IntOp::Move(_) => "move",
        IntOp::Binary { operation, .. } => match operation {
            IntBinary::Sum(_) => "sum",
            IntBinary::Product(_) => "product",
            IntBinary::Least(_) => "least",
            IntBinary::Largest(_) => "largest",
        },
        IntOp::PRelu(_) => "prelu",
        IntOp::Resize { .. } => "resize",
    }
}

fn attributes(op: &IntOp, out: &mut String) -> std::fmt::Result {
    match op {
        IntOp::Conv(conv) => conv_attributes(conv, out),
        IntOp::Add(params) => write!(out, " params={}", sums(params)),
        IntOp::MaxPool(window) => write!(out, "{}", window_text(window)),
        IntOp::AvgPool {
            window,
            count_include_pad,
            requant,
        } => write!(
            out,
            "{} include_pad={} requant={}",
            window_text(window),
            u8::from(*count_include_pad),
            list(requant.iter().map(|l| requants(l)))
        ),
        IntOp::GlobalAvgPool(requant) => write!(out, " requant={}", requants(requant)),
        IntOp::Clamp(bounds) => write!(out, " bounds={}", list(bounds.iter().map(list))),
        IntOp::Pad { c, h, w, value } => write!(
            out,
            " c={} h={} w={} value={}",
            list(c),
            list(h),
            list(w),
            list(value)
        ),
        IntOp::Softmax(tables) => write!(out, " tables={}", list(tables.iter().map(list))),
        IntOp::Lookup(tables) => write!(out, " tables={}", list(tables.iter().map(list))),
        IntOp::Move(inputs) => {
            let nest = |n: &IntNest| {
                let loops = list(n.loops.iter().map(list));
                format!("[{}, {}, {loops}]", n.from, n.to)
            };
            let nests = inputs.iter().map(|i| list(i.nests.iter().map(nest)));
            let tables = (inputs.iter()).map(|i| list(i.tables.iter().flatten().map(list)));
            write!(out, "\n  nests={}\n  tables={}", list(nests), list(tables))
        }
        IntOp::Binary {
            operation,
            constant,
        } => {
            let params = match operation {
                IntBinary::Sum(params) => sums(params),
                IntBinary::Product(params) => list(params.iter().map(|p| {
                    list([
                        i32::from(p.zero_a),
                        i32::from(p.zero_b),
                        i32::from(p.zero),
                        p.multiplier,
                    ])
                })),
                IntBinary::Least(pairs) | IntBinary::Largest(pairs) => {
                    list(pairs.iter().map(|pair| sums(pair)))
                }
            };
            write!(out, " params={params}")?;
            match constant {
                Some(constant) => write!(
                    out,
                    " constant_shape={} constant={}",
                    list(constant.shape.extents()),
                    list(&constant.data)
                ),
                None => Ok(()),
            }
        }
        IntOp::PRelu(params) => {
            write!(
                out,
                " params={}",
                list(params.iter().map(|level| sums(level)))
            )
        }
        IntOp::Resize { rows, columns } => write!(
            out,
            " rows={} columns={}",
            list(rows.iter().map(list)),
            list(columns.iter().map(list))
        ),
    }
}

fn sums(params: &[AddParams]) -> String {
    list(params.iter().map(|p| {
        list([
            i64::from(p.factor_a),
            i64::from(p.factor_b),
            i64::from(p.bias),
            i64::from(p.shift),
        ])
    }))
}

/// Long lists stand on lines of their own, indented; the parser takes them as part of the layer.
fn conv_attributes(conv: &IntConv, out: &mut String) -> std::fmt::Result {
    write!(
        out,
        "{} out={} group_channels={} groups={}",
        window_text(&conv.window),
        conv.out_channels,
        conv.group_channels,
        conv.groups
    )?;
    write!(out, "\n  weight_scale={}", list(&conv.weight_scale))?;
    write!(out, "\n  weight={}", list(&conv.weight))?;
    if let Some(levels) = &conv.weight_levels {
        write!(out, "\n  weight_levels={}", list(levels))?;
    }
    if let Some(model) = &conv.model {
        let nonzero = list(&model.nonzero);
        write!(
            out,
            "\n  model=[{}, {}, {nonzero}]",
            model.out_channels, model.weights
        )?;
    }
    let table = conv.requant.iter().map(|l| requants(l));
    write!(out, "\n  requant={}", list(table))
}

fn window_text(w: &Window) -> String {
    format!(
        " kernel={} stride={} pads={} dilation={}",
        list(w.kernel),
        list(w.stride),
        list(w.pads),
        list(w.dilation)
    )
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    format!("[{}]", items.join(", "))
}

fn quants(quants: &[Quant]) -> String {
    list(
        quants
            .iter()
            .map(|q| format!("[{}, {}]", q.scale, q.zero_point)),
    )
}

fn requants(requants: &[Requant]) -> String {
    list((requants.iter()).map(|r| list([r.bias, r.multiplier])))
}

/// One line on a step.
pub fn step_line(step: &Step) -> String {
    let inputs: Vec<String> = step.inputs.iter().map(ToString::to_string).collect();
    format!(
        "{} = {}({}) {:?} kernel={} scratch={} macs={} nonzero={:?} weights={} indices={} requant={}",
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

/// The text form of a program: where tensors lie and what each step costs, all in bytes.
pub fn print_program(program: &Program) -> String {
    let mut out = String::new();
    let fullest = program.peak().1;
    let _ = writeln!(
        out,
        "program {:?}\nsparsities {}\narena {}{} lower_bound {}{}",
        program.name,
        list(&program.sparsities),
        program.arena_bytes.0,
        match program.fast_bytes.0 {
            0 => String::new(),
            fast => format!(" fast {fast}"),
        },
        program.arena_bound.0,
        fullest.map_or(String::new(), |id| format!(" in {id}"))
    );
    for (id, t) in program.tensors.iter_enumerated() {
        let shape = [t.shape.c, t.shape.h, t.shape.w];
        let _ = writeln!(
            out,
            "tensor {id} {:?} shape={} at={}{} quant={}",
            t.name,
            list(shape),
            t.offset,
            t.part_of.map_or(String::new(), |of| format!(" of={of}")),
            quants(&t.quant)
        );
    }
    let _ = writeln!(out, "input {}", program.input);
    for step in &program.steps {
        let at = match step.scratch_words {
            0 => String::new(),
            _ => format!(" scratch_at={}", step.scratch_offset),
        };
        let same = (step.same_as).map_or(String::new(), |of| format!(" same_as={of}"));
        let _ = writeln!(out, "{}{same}{at}", step_line(step));
    }
    let outputs: Vec<String> = program.outputs.iter().map(ToString::to_string).collect();
    let _ = writeln!(out, "output {}", outputs.join(", "));
    out
}
