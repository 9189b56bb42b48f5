//! Rules P1 to P10.

use nest_format::{DenseWeights, NestedStream, Requant};
use nest_kernels::layer::Geometry;
use nest_kernels::{
    KERNELS, conv_dense_scratch_words, conv_nested_scratch_words, depthwise_scratch_words,
    max_columns,
};

use super::Breaches;
use crate::ir::float::Shape;
use crate::ir::ids::{Id, TensorId};
use crate::ir::program::{EncodedStream, Payload, PlacedTensor, Program, Step};

pub(super) fn check(program: &Program, b: &mut Breaches) {
    let room = program.activation_bytes.0 as usize;
    b.check(room.is_multiple_of(4), "P1", "program", || {
        format!("an arena of {room} B")
    });
    for (id, t) in program.tensors.iter_enumerated() {
        let end = t.offset + t.shape.len();
        b.check(
            t.offset.is_multiple_of(4) && end <= room,
            "P1",
            format!("tensor {id} `{}`", t.name),
            || format!("bytes {}..{end} of {room}", t.offset),
        );
    }
    if !order(program, b) {
        return;
    }
    lifetimes(program, b);
    for step in &program.steps {
        let shape = |t| program.tensors[t].shape;
        self::step(program.level_count(), &shape, step, b);
    }
    let most = program
        .steps
        .iter()
        .map(|s| s.scratch_words)
        .max()
        .unwrap_or(0);
    b.check(program.scratch_words == most, "P7", "program", || {
        format!(
            "{} words of scratch, and its steps need {most}",
            program.scratch_words
        )
    });
}

/// Rule P3; false if ids cannot be trusted.
fn order(program: &Program, b: &mut Breaches) -> bool {
    let before = b.0.0.len();
    let mut written = vec![false; program.tensors.len()];
    let mut write = |t: TensorId| written.get_mut(t.index()).map(|w| *w = true).is_some();
    b.check(write(program.input), "P3", "program", || {
        format!("the input {} does not exist", program.input)
    });
    for step in &program.steps {
        let place = format!("step `{}`", step.name);
        let arity = if matches!(step.payload, Payload::Add(_)) {
            2
        } else {
            1
        };
        b.check(step.inputs.len() == arity, "P3", &place, || {
            format!("{} inputs, and it takes {arity}", step.inputs.len())
        });
        for &t in &step.inputs {
            let ready = written.get(t.index()).copied().unwrap_or(false);
            b.check(ready, "P3", &place, || {
                format!("{t} is read before it is written")
            });
        }
        let known = written
            .get_mut(step.output.index())
            .map(|w| *w = true)
            .is_some();
        b.check(known, "P3", &place, || {
            format!("{} does not exist", step.output)
        });
    }
    b.check(!program.outputs.is_empty(), "P3", "program", || {
        "0 outputs".to_owned()
    });
    for &t in &program.outputs {
        let ready = written.get(t.index()).copied().unwrap_or(false);
        b.check(ready, "P3", "program", || {
            format!("the output {t} is never written")
        });
    }
    b.0.0.len() == before
}

/// Rule P2: follows which tensor's bytes are intact.
fn lifetimes(program: &Program, b: &mut Breaches) {
    let mut last_read = vec![0; program.tensors.len()];
    for (at, step) in program.steps.iter().enumerate() {
        for &t in &step.inputs {
            last_read[t.index()] = at;
        }
    }
    for &t in &program.outputs {
        last_read[t.index()] = program.steps.len();
    }
    let overlap = |a: &PlacedTensor, b: &PlacedTensor| {
        a.offset < b.offset + b.shape.len() && b.offset < a.offset + a.shape.len()
    };
    let mut live = vec![program.input];
    for (at, step) in program.steps.iter().enumerate() {
        let out = &program.tensors[step.output];
        for &t in &live {
            let tensor = &program.tensors[t];
            let in_place = matches!(step.payload, Payload::Add(_) | Payload::Clamp(_))
                && t == step.inputs[0]
                && step.inputs.iter().filter(|&&i| i == t).count() == 1
                && last_read[t.index()] == at
                && tensor.offset == out.offset
                && tensor.shape.len() == out.shape.len();
            b.check(
                in_place || !overlap(tensor, out),
                "P2",
                format!("step `{}`", step.name),
                || {
                    format!(
                        "its output overwrites `{}`, which is still needed",
                        tensor.name
                    )
                },
            );
        }
        live.retain(|t| last_read[t.index()] > at);
        live.push(step.output);
    }
}

/// Rules P4 to P10 of one step over tensors of known shape.
pub(super) fn step(
    levels: usize,
    shape: &dyn Fn(TensorId) -> Shape,
    step: &Step,
    b: &mut Breaches,
) {
    let place = format!("step `{}`", step.name);
    let x = shape(step.inputs[0]);
    let y = shape(step.output);
    b.check(
        KERNELS.iter().any(|k| k.name == step.kernel),
        "P9",
        &place,
        || format!("`{}`", step.kernel),
    );
    let (work, nonzero) = (&step.effective_macs, &step.nonzero_weights);
    let grows = work.len() == levels
        && nonzero.len() == levels
        && work.windows(2).all(|w| w[0] <= w[1])
        && nonzero.windows(2).all(|w| w[0] <= w[1])
        && work.last().is_none_or(|&w| w <= step.macs)
        && nonzero.last().is_none_or(|&n| n <= step.weights);
    b.check(grows, "P10", &place, || {
        format!("{work:?} of {:?}", step.macs)
    });

    let mut p = Payloads {
        b,
        place: &place,
        levels,
    };
    let mut scratch = 0;
    match &step.payload {
        Payload::ConvNested {
            geometry: g,
            stream,
            requant,
            pad,
            tile,
        } => {
            p.geometry(g, x, y);
            p.stream(stream, usize::from(g.out_c), g.columns());
            p.table(requant, usize::from(g.out_c));
            p.levels(pad.len());
            p.b.check(g.columns() <= max_columns(*tile), "P8", &place, || {
                format!("{} columns in tile {tile:?}", g.columns())
            });
            scratch = conv_nested_scratch_words(g, *tile);
        }
        Payload::ConvDense {
            geometry: g,
            columns,
            words,
            requant,
            pad,
        } => {
            p.geometry(g, x, y);
            p.weights(usize::from(*columns), g.columns());
            let weights = DenseWeights::try_new(g.out_c, *columns, words);
            p.b.check(weights.is_ok(), "P5", &place, || {
                format!("{:?}", weights.err())
            });
            p.table(requant, usize::from(g.out_c));
            p.levels(pad.len());
            scratch = conv_dense_scratch_words(g);
        }
        Payload::ConvGeneric {
            geometry: g,
            groups,
            weights,
            requant,
            pad,
        } => {
            p.geometry(g, x, y);
            let groups = usize::from((*groups).max(1));
            p.weights(weights.len() * groups, g.columns() * usize::from(g.out_c));
            p.table(requant, usize::from(g.out_c));
            p.levels(pad.len());
        }
        Payload::Depthwise {
            geometry: g,
            weights,
            requant,
            pad,
        } => {
            p.geometry(g, x, y);
            let taps = usize::from(g.kernel_h) * usize::from(g.kernel_w);
            p.weights(weights.len(), taps * usize::from(g.out_c));
            p.table(requant, usize::from(g.out_c));
            p.levels(pad.len());
            scratch = depthwise_scratch_words(g);
        }
        Payload::DenseNested { stream, requant } => {
            p.stream(stream, y.len(), x.len());
            p.table(requant, y.len());
        }
        Payload::FullyConnected {
            weights,
            columns,
            requant,
        } => {
            p.weights(usize::from(*columns), x.len());
            p.weights(weights.len(), x.len() * y.len());
            p.table(requant, y.len());
        }
        Payload::Add(params) => p.levels(params.len()),
        Payload::MaxPool(g) => p.geometry(g, x, y),
        Payload::AvgPool {
            geometry: g,
            pad,
            requant,
            ..
        } => {
            p.geometry(g, x, y);
            p.levels(pad.len());
            p.table(requant, usize::from(g.kernel_h) * usize::from(g.kernel_w));
        }
        Payload::GlobalAvgPool {
            pixels,
            channels,
            requant,
        } => {
            p.extent(*pixels as usize, x.pixels());
            p.extent(usize::from(*channels), y.c);
            p.levels(requant.len());
        }
        Payload::Clamp(bounds) => p.levels(bounds.len()),
        Payload::Pad {
            input,
            output,
            value,
            ..
        } => {
            p.hwc(*input, x);
            p.hwc(*output, y);
            p.levels(value.len());
        }
        Payload::Slice(s) => {
            p.hwc(s.input, x);
            p.hwc(s.output, y);
        }
        Payload::Softmax(tables) => p.levels(tables.len()),
    }
    b.check(step.scratch_words == scratch, "P7", &place, || {
        format!(
            "{} words, and its kernel needs {scratch}",
            step.scratch_words
        )
    });
}

/// Checks that several payloads share.
struct Payloads<'a> {
    b: &'a mut Breaches,
    place: &'a str,
    levels: usize,
}

impl Payloads<'_> {
    fn levels(&mut self, n: usize) {
        let levels = self.levels;
        self.b.check(n == levels, "P4", self.place, || {
            format!("constants for {n} of {levels} levels")
        });
    }
    fn table(&mut self, table: &[Vec<Requant>], each: usize) {
        self.levels(table.len());
        self.b.check(
            table.iter().all(|l| l.len() == each),
            "P4",
            self.place,
            || format!("not {each} constants a level"),
        );
    }
    fn weights(&mut self, is: usize, due: usize) {
        self.b.check(is == due, "P5", self.place, || {
            format!("{is} weights, and {due} are due")
        });
    }
    fn extent(&mut self, is: usize, due: usize) {
        self.b.check(is == due, "P6", self.place, || {
            format!("{is}, and its tensor has {due}")
        });
    }
    fn hwc(&mut self, is: [u16; 3], due: Shape) {
        let due = [due.h, due.w, due.c];
        self.b
            .check(is.map(usize::from) == due, "P6", self.place, || {
                format!("{is:?}, and its tensor has {due:?}")
            });
    }
    fn geometry(&mut self, g: &Geometry, x: Shape, y: Shape) {
        self.hwc([g.in_h, g.in_w, g.in_c], x);
        self.hwc([g.out_h, g.out_w, g.out_c], y);
    }
    fn stream(&mut self, s: &EncodedStream, rows: usize, columns: usize) {
        self.extent(usize::from(s.rows), rows);
        self.extent(usize::from(s.columns), columns);
        self.levels(usize::from(s.levels));
        let stream = NestedStream::try_new(s.rows, s.columns, s.levels, &s.words, &s.prefix);
        self.b.check(stream.is_ok(), "P5", self.place, || {
            format!("{:?}", stream.err())
        });
    }
}
