//! `nestc eval` on boxes: the average precision of every level.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use super::args::EvalArgs;
use super::printer::{Printer, table};
use crate::data::{Boxes, Dataset};
use crate::detect::{Decoder, Detection, Head, average_precisions, mean};
use crate::diag::{
    CLASSES_LEFT_OUT, Diagnostic, Diagnostics, HEAD_MISSING, NO_BOXES, NO_COMMON_CLASS, Result,
};
use crate::ir::eval::Executor;
use crate::ir::float::{FloatGraph, Shape};
use crate::ir::ids::Level;
use crate::ir::nested::NestedModel;
use crate::ir::program::Program;
use crate::passes::quantise_input;
use crate::train::Inference;

/// The overlap that makes a box right.
const OVERLAP: f32 = 0.5;

/// Images of one call into the engine, between which progress is shown.
const BATCH: usize = 64;

/// One level's figures.
#[derive(Debug, Serialize)]
pub struct LevelPrecision {
    /// 0 is the sparsest.
    pub level: usize,
    /// Share of prunable weights that are zero.
    pub sparsity: f64,
    /// Mean over the classes of the average precision at an overlap of 0.5.
    pub map50: Option<f64>,
    /// The classes that data and network have in common.
    pub classes: Vec<ClassFigures>,
}

/// One class at one level.
#[derive(Debug, Serialize)]
pub struct ClassFigures {
    /// Its name.
    pub class: String,
    /// Objects to find: those that are not difficult.
    pub objects: usize,
    /// Average precision; none without objects.
    pub ap50: Option<f64>,
}

/// That the outputs could mean anything.
pub fn missing_head(args: &EvalArgs, nested: &NestedModel) -> Diagnostic {
    let shapes: Vec<String> = output_shapes(&nested.graph)
        .iter()
        .map(Shape::to_string)
        .collect();
    Diagnostic::new(
        HEAD_MISSING,
        args.model.display().to_string(),
        format!(
            "the data hold boxes, and the outputs {} could mean anything",
            shapes.join(", ")
        ),
        "name what they mean with --head fastestdet, ultraface, ssd,… or yolo,…",
    )
}

/// The figures of every level, sparsest first: in floats, or in the device's arithmetic by the program
/// that `lower` gives.
pub fn levels(
    args: &EvalArgs,
    head: &Head,
    nested: &NestedModel,
    data: &Dataset,
    lower: Option<&dyn Fn() -> Result<Program>>,
    printer: &Printer,
) -> Result<Vec<LevelPrecision>> {
    let place = args.data.to_string();
    let Some(boxes) = &data.boxes else {
        return Err(Diagnostic::new(
            NO_BOXES,
            place,
            format!("{} images come without boxes", data.len()),
            "use data with annotations: voc:DIR",
        )
        .into());
    };
    if let Some(warning) = boxes.warning(&place) {
        printer.warning(&warning);
    }
    let shapes = output_shapes(&nested.graph);
    let fitted = head.fit(nested.graph.input_shape(), &shapes);
    let (of_network, decoder) = match (shared_classes(head, boxes, &place, printer), fitted) {
        (Ok(of_network), Ok(decoder)) => (of_network, decoder),
        (of_network, decoder) => {
            let faults = of_network.err().into_iter().chain(decoder.err());
            return Err(Diagnostics(faults.collect()));
        }
    };
    let program = lower.map(|lower| lower()).transpose()?;

    let total = data.len() * nested.level_count();
    let progress = printer.progress("eval", total as u64);
    let done = AtomicU64::new(0);
    let finished = |images: usize| {
        let images = images as u64;
        progress.set(done.fetch_add(images, Ordering::Relaxed) + images);
    };
    let mut levels = Vec::new();
    for (index, level) in nested.level_ids().enumerate() {
        let found = match &program {
            Some(program) => in_int8(program, level, data, &decoder, &finished),
            None => in_floats(&nested.level(level), data, &decoder, &finished),
        };
        let classes = average_precisions(&found, boxes, &of_network, OVERLAP);
        levels.push(LevelPrecision {
            level: index,
            sparsity: nested.levels[index].sparsity,
            map50: mean(&classes),
            classes: (classes.iter())
                .map(|c| ClassFigures {
                    class: boxes.classes[c.class as usize].clone(),
                    objects: c.objects,
                    ap50: c.average,
                })
                .collect(),
        });
    }
    progress.finish(&format!("{} images", data.len()));
    Ok(levels)
}

/// What a float network finds in every image.
fn in_floats(
    graph: &FloatGraph,
    data: &Dataset,
    decoder: &Decoder,
    finished: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Detection>> {
    let shapes = output_shapes(graph);
    let mut decoder = decoder.clone();
    let mut inference = Inference::new(graph);
    let input = data.shape.len();
    let mut found = Vec::with_capacity(data.len());
    for first in (0..data.len()).step_by(BATCH) {
        let count = BATCH.min(data.len() - first);
        let mut inputs = vec![0.0; count * input];
        for (i, out) in inputs.chunks_exact_mut(input).enumerate() {
            data.input(first + i, out);
        }
        let outputs = inference.run(&inputs, count);
        for mut of_image in outputs.chunks_exact(inference.output_len()) {
            let mut split = Vec::with_capacity(shapes.len());
            for shape in &shapes {
                let (one, rest) = of_image.split_at(shape.len());
                split.push(one);
                of_image = rest;
            }
            found.push(decoder.detect(&split).to_vec());
        }
        finished(count);
    }
    found
}

/// What a program finds in every image, as a device does.
fn in_int8(
    program: &Program,
    level: Level,
    data: &Dataset,
    decoder: &Decoder,
    finished: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Detection>> {
    (0..data.len())
        .into_par_iter()
        .map_init(
            || (Executor::new(program), decoder.clone()),
            |(executor, decoder), index| {
                let input = &program.tensors[program.input];
                let mut image = vec![0.0; input.shape.len()];
                data.input(index, &mut image);
                let quantised = quantise_input(&image, input.shape, input.quant[0]);
                executor.run(level, &quantised);
                finished(1);
                decoder.detect_after(executor, level).to_vec()
            },
        )
        .collect()
}

/// The extents of a network's outputs.
pub fn output_shapes(graph: &FloatGraph) -> Vec<Shape> {
    graph.outputs.iter().map(|&v| graph.shape(v)).collect()
}

/// For each class of the data, the network's number of it.
fn shared_classes(
    head: &Head,
    boxes: &Boxes,
    place: &str,
    printer: &Printer,
) -> Result<Vec<Option<u32>>, Diagnostic> {
    let of_network: Vec<Option<u32>> = (boxes.classes.iter())
        .map(|name| head.classes.position(name))
        .collect();
    let left_out: Vec<&str> = (boxes.classes.iter().zip(&of_network))
        .filter(|(_, own)| own.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if left_out.len() == boxes.classes.len() {
        return Err(Diagnostic::new(
            NO_COMMON_CLASS,
            place,
            format!(
                "the data hold objects of the classes `{}`, and the network's are `{}`",
                left_out.join("/"),
                head.classes
            ),
            "name the network's classes, in its order, with classes= in --head",
        ));
    }
    if !left_out.is_empty() {
        printer.warning(&Diagnostic::new(
            CLASSES_LEFT_OUT,
            place,
            format!(
                "objects of the classes `{}` are left out",
                left_out.join("/")
            ),
            format!("the network's classes are `{}`", head.classes),
        ));
    }
    Ok(of_network)
}

/// The levels for people: one column a class.
pub fn level_table(levels: &[LevelPrecision]) -> String {
    let percent = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.2} %", x * 100.0));
    let mut header: Vec<String> = ["level", "sparsity", "mAP50"].map(String::from).to_vec();
    let classes = levels.first().map_or(&[][..], |l| &l.classes);
    header.extend(classes.iter().map(|c| c.class.clone()));
    let mut rows = vec![header];
    for l in levels {
        let mut row = vec![
            l.level.to_string(),
            format!("{:.1} %", l.sparsity * 100.0),
            percent(l.map50),
        ];
        row.extend(l.classes.iter().map(|c| percent(c.ap50)));
        rows.push(row);
    }
    table(&rows)
}
