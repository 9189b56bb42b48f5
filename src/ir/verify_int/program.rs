//! Rules P1 to P12.

use nest_format::{DenseWeights, Entry, NestedStream, Requant};
use nest_kernels::layer::Geometry;
use nest_kernels::{
    KERNELS, NestedLayout, conv_block_scratch_words, conv_compact_scratch_words,
    conv_dense_scratch_words, conv_nested_scratch_words, depthwise_scratch_words,
};

use super::Breaches;
use super::graph::{covers, taps_inside};
use crate::ir::float::Shape;
use crate::ir::ids::{Id, LayerId, TensorId};
use crate::ir::program::{EncodedCompact, EncodedStream, Payload, PlacedTensor, Program, Step};

/// No microcontroller has more memory, in bytes.
const LARGEST_ARENA: usize = 1 << 30;

pub(super) fn check(program: &Program, b: &mut Breaches) {
    let room = program.arena_bytes.0 as usize;
    b.check(room.is_multiple_of(4), "P1", "program", || {
        format!("an arena of {room} B")
    });
    let bound = program.arena_bound.0;
    b.check(bound <= program.arena_bytes.0, "P1", "program", || {
        format!("an arena of {room} B, and none below {bound} B is said to be possible")
    });
    let before = b.0.0.len();
    let levels = program.level_count();
    let mut furthest = 0;
    for (id, t) in program.tensors.iter_enumerated() {
        let place = format!("tensor {id} `{}`", t.name);
        let end = end_of(t);
        furthest = furthest.max(end.unwrap_or(0));
        b.check(
            t.offset.is_multiple_of(4) && end.is_some_and(|end| end <= room),
            "P1",
            &place,
            || format!("{} from byte {} of {room}", t.shape, t.offset),
        );
        b.check(t.quant.len() == levels, "P4", &place, || {
            format!("{} quantisations for {levels} levels", t.quant.len())
        });
    }
    for step in &program.steps {
        let end = step.scratch_end();
        furthest = furthest.max(end.unwrap_or(0));
        b.check(
            step.scratch_offset.is_multiple_of(8) && end.is_some_and(|end| end <= room),
            "P1",
            format!("step `{}`", step.name),
            || {
                format!(
                    "{} words of scratch from byte {} of {room}",
                    step.scratch_words, step.scratch_offset
                )
            },
        );
    }
    // The executor allocates the arena: nothing but what it holds may set its size.
    let due = furthest.next_multiple_of(4);
    b.check(
        room == due && room <= LARGEST_ARENA,
        "P1",
        "program",
        || {
            format!(
                "an arena of {room} B, what it holds ends at {due}, and {LARGEST_ARENA} are allowed"
            )
        },
    );
    parts(program, b);
    // What follows computes with offsets and extents.
    if b.0.0.len() > before || !order(program, b) {
        return;
    }
    lifetimes(program, b);
    for step in &program.steps {
        let shape = |t| program.tensors[t].shape;
        self::step(program.level_count(), &shape, step, b);
    }
}

/// Rule P11.
fn parts(program: &Program, b: &mut Breaches) {
    let cut = program.fast_bytes.0 as usize;
    b.check(cut.is_multiple_of(32), "P11", "program", || {
        format!("{cut} B of the arena lie in fast memory")
    });
    for (id, t) in program.tensors.iter_enumerated() {
        let fast = t.offset < cut;
        let crosses = fast && end_of(t).is_none_or(|end| end > cut);
        let outer = id == program.input || program.outputs.contains(&id);
        let place = format!("tensor {id} `{}`", t.name);
        b.check(!(crosses || fast && outer), "P11", place, || {
            format!("{} from byte {}, and {cut} B are fast", t.shape, t.offset)
        });
    }
    for step in &program.steps {
        let end = step.scratch_end().unwrap_or(usize::MAX);
        let crosses = step.scratch_offset < cut && end > cut;
        b.check(!crosses, "P11", format!("step `{}`", step.name), || {
            format!(
                "scratch from byte {} to {end}, and {cut} B are fast",
                step.scratch_offset
            )
        });
    }
}

/// The byte behind a tensor, if it can be counted.
fn end_of(t: &PlacedTensor) -> Option<usize> {
    let Shape { c, h, w } = t.shape;
    let bytes = c.checked_mul(h)?.checked_mul(w)?;
    // Room for rounding up to a word.
    t.offset
        .checked_add(bytes)?
        .checked_add(3)
        .map(|end| end - 3)
}

/// Rules P3 and P12; false if ids cannot be trusted.
fn order(program: &Program, b: &mut Breaches) -> bool {
    let before = b.0.0.len();
    for (id, t) in program.tensors.iter_enumerated() {
        let Some(of) = t.part_of else { continue };
        let inside = program.tensors.get(of).filter(|of| {
            let from = t.offset.checked_sub(of.offset);
            let whole = of.shape.h * of.row_bytes();
            of.part_of.is_none()
                && (t.shape.c, t.shape.w) == (of.shape.c, of.shape.w)
                && t.shape.h > 0
                && from.is_some_and(|from| {
                    from.is_multiple_of(of.row_bytes().max(1)) && from + t.shape.len() <= whole
                })
        });
        b.check(
            inside.is_some(),
            "P12",
            format!("tensor {id} `{}`", t.name),
            || format!("it is said to be a part of {of}"),
        );
    }
    if b.0.0.len() > before {
        return false;
    }
    // Bytes of each tensor that are written: all, or one part after the other, none twice.
    let mut written = vec![0usize; program.tensors.len()];
    let mut parts: Vec<TensorId> = Vec::new();
    let whole = |t: TensorId| program.tensors.get(t).and_then(|t| t.part_of).unwrap_or(t);
    let len = |t: TensorId| program.tensors[t].shape.len();
    b.check(
        program.tensors.get(program.input).is_some(),
        "P3",
        "program",
        || format!("the input {} does not exist", program.input),
    );
    if let Some(w) = written.get_mut(program.input.index()) {
        *w = len(program.input);
    }
    let ready = |t: TensorId, written: &[usize]| {
        let known = program.tensors.get(t).is_some();
        let own = known && whole(t) != t && written[t.index()] == len(t);
        known && (own || written[whole(t).index()] == len(whole(t)))
    };
    for step in &program.steps {
        let place = format!("step `{}`", step.name);
        let arity = step.payload.arity();
        b.check(
            step.inputs.len() == arity && arity > 0,
            "P3",
            &place,
            || format!("{} inputs, and it takes {arity}", step.inputs.len()),
        );
        for &t in &step.inputs {
            b.check(ready(t, &written), "P3", &place, || {
                format!("{t} is read before it is written")
            });
        }
        let Some(output) = program.tensors.get(step.output) else {
            b.check(false, "P3", &place, || {
                format!("{} does not exist", step.output)
            });
            continue;
        };
        written[step.output.index()] = output.shape.len();
        if let Some(of) = output.part_of {
            let apart = |&other: &TensorId| {
                let other = &program.tensors[other];
                other.part_of != Some(of)
                    || output.offset + output.shape.len() <= other.offset
                    || other.offset + other.shape.len() <= output.offset
            };
            b.check(parts.iter().all(apart), "P12", &place, || {
                format!("it writes rows of {of} that another step wrote")
            });
            parts.push(step.output);
            written[of.index()] += output.shape.len();
        }
    }
    b.check(!program.outputs.is_empty(), "P3", "program", || {
        "0 outputs".to_owned()
    });
    for &t in &program.outputs {
        b.check(ready(t, &written), "P3", "program", || {
            format!("the output {t} is never written")
        });
    }
    let same = |id: LayerId, step: &Step| match step.same_as {
        Some(of) => of < id && program.steps[of].same_as.is_none(),
        None => true,
    };
    for (id, step) in program.steps.iter_enumerated() {
        b.check(
            same(id, step),
            "P12",
            format!("step `{}`", step.name),
            || format!("its constants are those of {:?}", step.same_as),
        );
    }
    b.0.0.len() == before
}

/// Rule P2: follows which tensor's bytes are intact.
fn lifetimes(program: &Program, b: &mut Breaches) {
    let last_read = program.last_reads();
    let overlap = |a: &PlacedTensor, b: &PlacedTensor| {
        a.offset < b.offset + b.shape.len() && b.offset < a.offset + a.shape.len()
    };
    let mut live = vec![program.input];
    for (at, step) in program.steps.iter().enumerate() {
        let out = &program.tensors[step.output];
        let whole = program.whole(step.output);
        for &t in live.iter().filter(|&&t| t != whole || whole == step.output) {
            let tensor = &program.tensors[t];
            let in_place = step.payload.runs_in_place()
                && t == step.inputs[0]
                && step.inputs.iter().filter(|&&i| i == t).count() == 1
                && last_read[t] == Some(at)
                && tensor.offset == out.offset
                && tensor.shape.len() == out.shape.len();
            let shared =
                t == step.inputs[0] && last_read[t] == Some(at) && step.may_share(tensor, out);
            b.check(
                in_place || shared || !overlap(tensor, out),
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
        let scratch = step.scratch_offset..step.scratch_end().unwrap_or(0);
        for &t in live.iter().chain([&whole]) {
            let tensor = &program.tensors[t];
            let end = tensor.offset + tensor.shape.len();
            b.check(
                scratch.is_empty() || end <= scratch.start || scratch.end <= tensor.offset,
                "P2",
                format!("step `{}`", step.name),
                || {
                    format!(
                        "its scratch, bytes {} to {}, overlaps `{}`",
                        scratch.start, scratch.end, tensor.name
                    )
                },
            );
        }
        if !live.contains(&whole) || whole == step.output {
            live.push(whole);
        }
        live.retain(|&t| last_read[t].is_some_and(|last| last > at));
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
        && nonzero.last().is_none_or(|&n| n <= step.weights)
        && step.live_macs <= step.macs
        && y.c <= step.model_channels;
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
            pass_tiles,
        } => {
            p.geometry(g, x, y);
            let layout = NestedLayout::of(g, *tile);
            p.b.check(layout.is_some(), "P8", &place, || {
                format!("{} columns in tile {tile:?}", g.columns())
            });
            if let Some(layout) = layout {
                p.stream(stream, usize::from(g.out_c), layout.columns);
                p.columns_exist(stream, &layout);
            }
            p.table(requant, usize::from(g.out_c));
            p.levels(pad.len());
            scratch = conv_nested_scratch_words(g, *tile, *pass_tiles);
        }
        Payload::ConvBlock {
            geometry: g,
            blocks,
            requant,
            pad,
            pass_tiles,
        } => {
            p.geometry(g, x, y);
            p.extent(usize::from(blocks.rows), usize::from(g.out_c));
            p.extent(usize::from(blocks.columns), g.columns());
            p.divides(4, g.in_c);
            p.levels(usize::from(blocks.levels));
            let stream = blocks.stream();
            p.b.check(stream.is_ok(), "P5", &place, || {
                format!("{:?}", stream.err())
            });
            p.table(requant, usize::from(g.out_c));
            p.levels(pad.len());
            scratch = conv_block_scratch_words(g, *pass_tiles);
        }
        Payload::ConvCompact {
            geometry: g,
            compact,
            requant,
            pad,
            tile,
            pass_tiles,
            buffer_words,
        } => {
            p.geometry(g, x, y);
            let layout = NestedLayout::of(g, *tile);
            p.b.check(layout.is_some(), "P8", &place, || {
                format!("{} columns in tile {tile:?}", g.columns())
            });
            if let Some(layout) = layout {
                p.extent(usize::from(compact.rows), usize::from(g.out_c));
                p.extent(usize::from(compact.columns), layout.columns);
                p.levels(compact.gap_bits.len());
                p.compact(compact, &layout, usize::from(*buffer_words));
            }
            p.table(requant, usize::from(g.out_c));
            p.levels(pad.len());
            scratch = conv_compact_scratch_words(g, *tile, *pass_tiles, *buffer_words);
        }
        Payload::ConvDense {
            geometry: g,
            columns,
            words,
            requant,
            pad,
            pass_tiles,
        } => {
            p.geometry(g, x, y);
            p.weights(usize::from(*columns), g.columns());
            let weights = DenseWeights::try_new(g.out_c, *columns, words);
            p.b.check(weights.is_ok(), "P5", &place, || {
                format!("{:?}", weights.err())
            });
            p.table(requant, usize::from(g.out_c));
            p.levels(pad.len());
            scratch = conv_dense_scratch_words(g, *pass_tiles);
        }
        Payload::ConvGeneric {
            geometry: g,
            groups,
            weights,
            requant,
            pad,
        } => {
            p.geometry(g, x, y);
            p.divides(*groups, g.in_c);
            p.divides(*groups, g.out_c);
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
            p.divides(g.in_c, g.out_c);
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
        Payload::Add(params) => {
            p.levels(params.len());
            for &input in &step.inputs {
                p.extent(shape(input).len(), y.len());
            }
        }
        Payload::MaxPool(g) => {
            p.geometry(g, x, y);
            p.extent(x.c, y.c);
        }
        Payload::AvgPool {
            geometry: g,
            pad,
            requant,
            ..
        } => {
            p.geometry(g, x, y);
            p.extent(x.c, y.c);
            p.levels(pad.len());
            p.table(requant, usize::from(g.kernel_h) * usize::from(g.kernel_w));
        }
        Payload::GlobalAvgPool {
            pixels,
            channels,
            requant,
        } => {
            p.extent(*pixels as usize, x.pixels());
            p.extent(usize::from(*channels), x.c);
            p.extent(usize::from(*channels), y.len());
            p.levels(requant.len());
        }
        Payload::Clamp(bounds) => {
            p.levels(bounds.len());
            p.extent(x.len(), y.len());
        }
        Payload::Pad {
            input,
            before,
            output,
            value,
        } => {
            p.hwc(*input, x);
            p.hwc(*output, y);
            for axis in 0..3 {
                let end = u32::from(before[axis]) + u32::from(input[axis]);
                p.within(u64::from(end), u64::from(output[axis]));
            }
            p.levels(value.len());
        }
        Payload::Softmax { channels, table } => {
            p.levels(table.len());
            p.extent(usize::from(*channels), x.c);
            p.extent(x.len(), y.len());
        }
        Payload::Lookup(table) => {
            p.levels(table.len());
            p.extent(x.len(), y.len());
        }
        Payload::Move(inputs) => {
            for tables in inputs.iter().filter_map(|input| input.tables.as_ref()) {
                p.levels(tables.len());
            }
            let lens: Vec<usize> = step.inputs.iter().map(|&t| shape(t).len()).collect();
            if let Err(why) = covers(inputs, &lens, y.len()) {
                p.b.check(false, "P6", &place, || why);
            }
        }
        Payload::Binary {
            operation,
            a,
            b: second,
            output,
            constant,
        } => {
            p.levels(operation.levels());
            p.hwc(*a, x);
            p.hwc(*output, y);
            let extents = |[h, w, c]: [u16; 3]| Shape::map(c.into(), h.into(), w.into());
            match (constant, step.inputs.get(1)) {
                (None, Some(&other)) => p.hwc(*second, shape(other)),
                (Some(data), _) => p.extent(data.len(), extents(*second).len()),
                (None, None) => {}
            }
            let fits = x.broadcast(extents(*second)) == Some(y);
            p.b.check(fits, "P6", &place, || format!("{x} and {second:?} for {y}"));
        }
        Payload::PRelu { zero, params } => {
            p.levels(zero.len());
            p.levels(params.len());
            let due = params.iter().all(|l| l.len() == x.c);
            p.b.check(due, "P4", &place, || format!("not {} slopes a level", x.c));
            p.extent(x.len(), y.len());
        }
        Payload::Resize {
            input,
            rows,
            columns,
        } => {
            p.hwc(*input, x);
            p.extent(x.c, y.c);
            p.extent(rows.len(), y.h);
            p.extent(columns.len(), y.w);
            let sound = taps_inside(rows, x.h) && taps_inside(columns, x.w);
            p.b.check(sound, "P6", &place, || format!("{rows:?} {columns:?}"));
        }
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
    fn divides(&mut self, groups: u16, channels: u16) {
        let even = groups > 0 && channels.is_multiple_of(groups);
        self.b.check(even, "P6", self.place, || {
            format!("{channels} channels in {groups} groups")
        });
    }
    fn within(&mut self, end: u64, room: u64) {
        self.b.check(end <= room, "P6", self.place, || {
            format!("{end} rows, columns or channels reached, and there are {room}")
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
        for (out, kernel, stride, dilation) in [
            (g.out_h, g.kernel_h, g.stride_h, g.dilation_h),
            (g.out_w, g.kernel_w, g.stride_w, g.dilation_w),
        ] {
            // Kernels count the coordinates of taps in 31 bits.
            let reach =
                u64::from(out) * u64::from(stride) + u64::from(kernel) * u64::from(dilation);
            let sound = kernel > 0 && stride > 0 && dilation > 0 && reach < 1 << 30;
            self.b.check(sound, "P6", self.place, || {
                format!("a window of {kernel} taps, stride {stride}, dilation {dilation}")
            });
        }
    }
    /// No weight meets the words between the blocks of a layout, and the longest row has room.
    fn compact(&mut self, c: &EncodedCompact, layout: &NestedLayout, buffer_words: usize) {
        let stream = match c.stream() {
            Ok(stream) => stream,
            Err(error) => {
                (self.b).check(false, "P5", self.place, || format!("{error:?}"));
                return;
            }
        };
        let due = stream.most_words() + 3;
        self.b.check(buffer_words >= due, "P7", self.place, || {
            format!("{buffer_words} words for expanded rows, and the longest needs {due}")
        });
        let columns = layout.columns;
        let sound = (c.decode(stream.levels().saturating_sub(1)))
            .chunks(columns.max(1))
            .all(|row| (0..columns).all(|c| row[c] == 0 || layout.tap(c).is_some()));
        self.b.check(sound, "P5", self.place, || {
            "weights of columns between blocks".to_owned()
        });
    }
    /// No weight meets the words between the blocks of a layout.
    fn columns_exist(&mut self, s: &EncodedStream, layout: &NestedLayout) {
        let densest = usize::from(s.levels).saturating_sub(1);
        let lengths = s.prefix.chunks(usize::from(s.rows).max(1)).nth(densest);
        let mut words = s.words.iter();
        let mut sound = true;
        for &length in lengths.unwrap_or_default() {
            let mut column = 0i32;
            for &word in words.by_ref().take(usize::from(length)) {
                for entry in [Entry::of(word, 0), Entry::of(word, 1)] {
                    column += i32::from(entry.delta);
                    sound &= entry.weight == 0
                        || usize::try_from(column).is_ok_and(|c| layout.tap(c).is_some());
                }
            }
        }
        self.b.check(sound, "P5", self.place, || {
            "a weight on a column that stands for no tap".to_owned()
        });
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
