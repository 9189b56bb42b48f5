//! One layer of a program as a Rust module.

mod data;

use askama::Template;
use nest_kernels::layer::Tap;

use data::*;

use super::rust_text::{
    Expr, array, array_ref, atom, atoms, for_comment, static_item, static_name,
};
use super::view::{LayerName, Place, shape_text};
use crate::diag::{Diagnostic, PROGRAM_LAYOUT};
use crate::ir::ids::{Id, TensorId};
use crate::ir::int::{IntBinary, IntMove};
use crate::ir::program::{Payload, Program, Step};

/// `templates/model_layer.rs.j2`.
#[derive(Template)]
#[template(path = "model_layer.rs.j2")]
struct LayerFile {
    index: usize,
    name: String,
    op: String,
    kernel: String,
    input_shape: String,
    output_shape: String,
    format_imports: String,
    layer_imports: String,
    layer_type: String,
    layer: String,
    inputs: String,
    output: String,
    level_parameter: &'static str,
    /// Whether the arena has two parts.
    divided: bool,
    arena_parameter: &'static str,
    fast_parameter: &'static str,
    body: Vec<String>,
    /// What is named of an earlier layer's module, which holds the constants of both.
    shared: String,
    data: Vec<String>,
}

/// The parts that depend on the kind of layer.
struct Parts {
    format_imports: &'static [&'static str],
    /// The layer's type in `nest_kernels::layer`.
    ty: &'static str,
    /// What else of that module is named.
    helpers: &'static [&'static str],
    /// Whether the type borrows weights.
    borrows: bool,
    fields: Vec<(&'static str, Expr)>,
    /// Instead of the fields: one value of the type for each input.
    several: Option<Vec<Expr>>,
    data: Vec<String>,
    kernel: &'static str,
    /// Whether the kernel takes a level.
    takes_level: bool,
    /// Whether the kernel takes scratch.
    takes_scratch: bool,
}

/// The source of layer `index`.
///
/// # Errors
/// `E602` if the layer's tensors share memory other than in place.
pub(super) fn layer_file(
    program: &Program,
    index: usize,
    step: &Step,
    modules: &[LayerName],
) -> Result<String, Diagnostic> {
    let mut parts = parts(program, step);
    let mut shared = String::new();
    if let Some(owner) = step.same_as.and_then(|of| modules.get(of.index())) {
        let mut names: Vec<&str> = parts.data.iter().filter_map(|d| static_name(d)).collect();
        if !names.is_empty() {
            names.sort_unstable();
            shared = format!("use super::{}::{};", owner.module, import_list(&names));
        }
        parts.data.clear();
    }
    let cut = program.fast_bytes.0 as usize;
    let inputs: Vec<Place> = (step.inputs.iter())
        .map(|&t| Place::of(&program.tensors[t]))
        .collect();
    let output = Place::of(&program.tensors[step.output]);
    let Some(&first) = inputs.first() else {
        return Err(clash(step, "it reads no tensor".into()));
    };
    let may_share = step.may_share(
        &program.tensors[step.inputs[0]],
        &program.tensors[step.output],
    );
    let body = match &step.payload {
        Payload::Move(_) => moves(step, &inputs, output, cut)?,
        _ => body(step, &parts, &inputs, output, may_share, cut)?,
    };
    let names = |arena: &str| body.iter().any(|line| line.contains(arena));
    let types: Vec<&str> = {
        let mut all = parts.helpers.to_vec();
        all.push(parts.ty);
        all.sort_unstable();
        all
    };
    let mut layer_type = if parts.borrows {
        format!("{}<'static>", parts.ty)
    } else {
        parts.ty.to_string()
    };
    let layer = match parts.several {
        Some(all) => {
            layer_type = format!("[{layer_type}; {}]", all.len());
            array(all)
        }
        None => Expr::Struct(parts.ty, parts.fields),
    };
    let layer = layer.print(0, format!("static LAYER: {layer_type} = ").len());
    let named = |import: &&&str| shared.is_empty() || layer.contains(**import);
    let format_imports: Vec<&str> = parts.format_imports.iter().filter(named).copied().collect();
    let ranges: Vec<String> = inputs.iter().map(Place::range).collect();
    let file = LayerFile {
        index,
        name: for_comment(&step.name),
        op: for_comment(step.op),
        kernel: for_comment(step.kernel),
        input_shape: shape_text(program.tensors[step.inputs[0]].shape),
        output_shape: shape_text(program.tensors[step.output].shape),
        format_imports: import_list(&format_imports),
        layer_imports: import_list(&types),
        layer_type,
        layer,
        inputs: ranges.join(" and "),
        output: output.range(),
        level_parameter: if parts.takes_level { "level" } else { "_level" },
        divided: cut > 0,
        arena_parameter: if names("arena.bytes") {
            "arena"
        } else {
            "_arena"
        },
        fast_parameter: if names("fast.bytes") { "fast" } else { "_fast" },
        body,
        shared,
        data: parts.data,
    };
    debug_assert!(first.end > 0);
    Ok(super::text(&file))
}

fn import_list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_string(),
        many => format!("{{{}}}", many.join(", ")),
    }
}

fn clash(step: &Step, message: String) -> Diagnostic {
    Diagnostic::new(
        PROGRAM_LAYOUT,
        format!("layer {}", step.name),
        message,
        "compile the model again; if it stays, this is a bug of nestc",
    )
}

/// The statements of `run`.
fn body(
    step: &Step,
    parts: &Parts,
    inputs: &[Place],
    output: Place,
    may_share: bool,
    cut: usize,
) -> Result<Vec<String>, Diagnostic> {
    let in_place = inputs[0].start == output.start && step.payload.runs_in_place();
    if in_place && inputs[0] != output {
        return Err(clash(
            step,
            format!(
                "it works in place, but its input is bytes {} and its output {}",
                inputs[0].range(),
                output.range()
            ),
        ));
    }
    let shares = !in_place
        && matches!(inputs, [input] if input.start < output.end && output.start < input.end);
    if shares && !may_share {
        return Err(clash(
            step,
            format!(
                "its input is bytes {} and its output {}, and its kernel reads what it would overwrite",
                inputs[0].range(),
                output.range()
            ),
        ));
    }
    // Name, place, whether it is written.
    let mut regions: Vec<(&str, Place, bool)> = Vec::new();
    let mut arguments: Vec<&str> = Vec::new();
    let input_at = inputs[0].start.wrapping_sub(output.start).to_string();
    if shares {
        let both = Place {
            start: output.start,
            end: output.end.max(inputs[0].end),
        };
        regions.push(("data", both, true));
        arguments.extend(["data", &input_at]);
    } else if in_place {
        regions.push(("data", output, true));
        arguments.push("data");
    } else {
        regions.push(("output", output, true));
    }
    let names: &[&str] = if step.payload.arity() == 2 {
        &["a", "b"]
    } else {
        &["input"]
    };
    for (i, (&name, &place)) in names.iter().zip(inputs).enumerate() {
        if (in_place || shares) && i == 0 {
            continue;
        }
        match regions.iter().find(|(_, known, w)| *known == place && !w) {
            Some(&(known, ..)) => arguments.push(known),
            None => {
                regions.push((name, place, false));
                arguments.push(name);
            }
        }
    }
    if let Payload::Binary {
        constant: Some(_), ..
    } = step.payload
    {
        arguments.push("&CONSTANT");
    }
    if !in_place && !shares {
        arguments.push("output");
    }
    let scratch = Place {
        start: step.scratch_offset,
        end: step.scratch_end().unwrap_or(usize::MAX),
    };
    let has_scratch = parts.takes_scratch && step.scratch_words > 0;
    if has_scratch {
        regions.push(("scratch", scratch, true));
    }
    let mut lines = carve(step, &mut regions, cut)?;
    if has_scratch {
        lines.push("let scratch = nest_kernels::words(scratch);".into());
        arguments.push("scratch");
    } else if parts.takes_scratch {
        arguments.push("&mut []");
    }
    let kernel = match (in_place, parts.kernel) {
        (true, "add") => "add_in_place",
        (true, "clamp") => "clamp_in_place",
        (true, "depthwise") => "depthwise_in_place",
        (true, "lookup") => "lookup_in_place",
        (true, "binary") => "binary_in_place",
        (true, "prelu") => "prelu_in_place",
        (_, "conv_nested") if shares => "conv_nested_in_place",
        (_, "conv_dense") if shares => "conv_dense_in_place",
        (_, kernel) => kernel,
    };
    let level = if parts.takes_level {
        "level.index(), "
    } else {
        ""
    };
    lines.push(format!(
        "nest_kernels::{kernel}(&LAYER, {level}{});",
        arguments.join(", ")
    ));
    Ok(lines)
}

/// The statements of `run` for a layer that moves elements: each input by itself.
fn moves(
    step: &Step,
    inputs: &[Place],
    output: Place,
    cut: usize,
) -> Result<Vec<String>, Diagnostic> {
    let mut lines = Vec::new();
    for (i, &input) in inputs.iter().enumerate() {
        let mut regions = [("input", input, false), ("output", output, true)];
        lines.append(&mut carve(step, &mut regions, cut)?);
        lines.push(format!(
            "nest_kernels::move_elements(&LAYER[{i}], level.index(), input, output);"
        ));
    }
    Ok(lines)
}

/// Statements that borrow all regions at once: those that begin below `cut` from the arena's fast
/// part.
fn carve(
    step: &Step,
    regions: &mut [(&str, Place, bool)],
    cut: usize,
) -> Result<Vec<String>, Diagnostic> {
    regions.sort_by_key(|(_, place, _)| place.start);
    let (fast, rest) = regions.split_at(regions.partition_point(|(_, p, _)| p.start < cut));
    if let Some((name, place, _)) = fast.iter().find(|(_, place, _)| place.end > cut) {
        return Err(clash(
            step,
            format!("`{name}` is bytes {}, and {cut} are fast", place.range()),
        ));
    }
    let mut lines = Vec::new();
    for (part, of, base) in [(fast, "fast", 0), (rest, "arena", cut)] {
        if !part.is_empty() {
            lines.append(&mut carve_part(step, part, of, base)?);
        }
    }
    match lines.is_empty() {
        true => Err(clash(step, "it needs no tensor".into())),
        false => Ok(lines),
    }
}

/// Statements that borrow regions, in order, from one part of the arena, which begins at byte `base`.
fn carve_part(
    step: &Step,
    regions: &[(&str, Place, bool)],
    arena: &str,
    base: usize,
) -> Result<Vec<String>, Diagnostic> {
    for pair in regions.windows(2) {
        let ((a, left, _), (b, right, _)) = (pair[0], pair[1]);
        if left.end > right.start {
            return Err(clash(
                step,
                format!(
                    "`{a}` is bytes {} and `{b}` bytes {} of the arena: they overlap",
                    left.range(),
                    right.range()
                ),
            ));
        }
    }
    let borrow = |(name, place, written): (&str, Place, bool), of: &str, base: usize| {
        let amp = if written { "&mut " } else { "&" };
        let (start, end) = (place.start - base, place.end - base);
        let start = if start == 0 {
            String::new()
        } else {
            start.to_string()
        };
        format!("let {name} = {amp}{of}[{start}..{end}];")
    };
    let [.., last] = *regions else {
        return Err(clash(step, "it needs no tensor".into()));
    };
    // What is left to split, and its first byte.
    let prefix = if arena == "fast" { "fast_" } else { "" };
    let (mut rest, mut base) = (format!("{arena}.bytes"), base);
    let parts = ["low", "middle", "upper"].map(|part| format!("{prefix}{part}"));
    if regions.len() > parts.len() + 1 {
        return Err(clash(step, format!("it needs {} regions", regions.len())));
    }
    let (mut splits, mut borrows) = (Vec::new(), Vec::new());
    for (i, (pair, part)) in regions.windows(2).zip(parts).enumerate() {
        let next = pair[1].1.start;
        let after = if i + 2 == regions.len() {
            format!("{prefix}high")
        } else {
            format!("{prefix}rest")
        };
        splits.push(format!(
            "let ({part}, {after}) = {rest}.split_at_mut({});",
            next - base
        ));
        borrows.push(borrow(pair[0], &part, base));
        (rest, base) = (after, next);
    }
    borrows.push(borrow(last, &rest, base));
    splits.append(&mut borrows);
    Ok(splits)
}

/// What each kind of layer looks like.
fn parts(program: &Program, step: &Step) -> Parts {
    let out_zero = &program.zero_points(step.output)[..];
    let mut data = Vec::new();
    let mut parts = Parts {
        format_imports: &["Requant"],
        ty: "",
        helpers: &["Geometry"],
        borrows: true,
        fields: Vec::new(),
        several: None,
        data: Vec::new(),
        kernel: "",
        takes_level: true,
        takes_scratch: false,
    };
    match &step.payload {
        Payload::ConvNested {
            geometry: g,
            stream: s,
            requant: table,
            pad,
            tile,
            pass_tiles,
        } => {
            let (item, requant) = requant(table);
            data.push(item);
            parts.format_imports = &["NestedStream", "Requant"];
            parts.helpers = &["Geometry", "Tile"];
            (parts.ty, parts.kernel, parts.takes_scratch) = ("ConvNested", "conv_nested", true);
            parts.fields = vec![
                ("geometry", geometry(g)),
                ("stream", stream(s, &mut data)),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
                ("pad", per_level(pad)),
                ("tile", tile_atom(*tile)),
                ("pass_tiles", atom(pass_tiles)),
            ];
        }
        Payload::ConvBlock {
            geometry: g,
            blocks,
            requant: table,
            pad,
            pass_tiles,
        } => {
            let (item, requant) = requant(table);
            data.extend([
                item,
                numbers("PREFIX", "u16", &blocks.prefix),
                words("BLOCKS", &blocks.words),
                numbers("STEPS", "i8", &blocks.steps),
            ]);
            parts.format_imports = &["BlockStream", "Requant"];
            (parts.ty, parts.kernel, parts.takes_scratch) = ("ConvBlock", "conv_block", true);
            parts.fields = vec![
                ("geometry", geometry(g)),
                (
                    "stream",
                    atom(format!(
                        "BlockStream::new({}, {}, {}, &BLOCKS, &STEPS, &PREFIX)",
                        blocks.rows, blocks.columns, blocks.levels
                    )),
                ),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
                ("pad", per_level(pad)),
                ("pass_tiles", atom(pass_tiles)),
            ];
        }
        Payload::ConvCompact {
            geometry: g,
            compact: c,
            requant: table,
            pad,
            tile,
            pass_tiles,
            buffer_words,
        } => {
            let (item, requant) = requant(table);
            data.extend([item, numbers("STREAM", "u8", &c.bytes)]);
            let bits = atoms(&c.gap_bits);
            parts.format_imports = &["CompactStream", "Requant"];
            parts.helpers = &["Geometry", "Tile"];
            (parts.ty, parts.kernel, parts.takes_scratch) = ("ConvCompact", "conv_compact", true);
            parts.fields = vec![
                ("geometry", geometry(g)),
                (
                    "stream",
                    atom(format!(
                        "CompactStream::new({}, {}, {}, &GAP_BITS, &STREAM)",
                        c.rows, c.columns, c.wide
                    )),
                ),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
                ("pad", per_level(pad)),
                ("tile", tile_atom(*tile)),
                ("pass_tiles", atom(pass_tiles)),
                ("buffer_words", atom(buffer_words)),
            ];
            data.push(static_item(
                "GAP_BITS",
                &format!("[u8; {}]", c.gap_bits.len()),
                &bits,
            ));
        }
        Payload::ConvDense {
            geometry: g,
            columns,
            words: w,
            requant: table,
            pad,
            pass_tiles,
        } => {
            let (item, requant) = requant(table);
            data.extend([item, words("WEIGHTS", w)]);
            parts.format_imports = &["DenseWeights", "Requant"];
            (parts.ty, parts.kernel, parts.takes_scratch) = ("ConvDense", "conv_dense", true);
            parts.fields = vec![
                ("geometry", geometry(g)),
                (
                    "weights",
                    atom(format!(
                        "DenseWeights::new({}, {columns}, &WEIGHTS)",
                        g.out_c
                    )),
                ),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
                ("pad", per_level(pad)),
                ("pass_tiles", atom(pass_tiles.to_string())),
            ];
        }
        Payload::ConvGeneric {
            geometry: g,
            groups,
            weights,
            requant: table,
            pad,
        } => {
            let (item, requant) = requant(table);
            data.extend([item, numbers("WEIGHTS", "i8", weights)]);
            (parts.ty, parts.kernel) = ("ConvGeneric", "conv_generic");
            parts.fields = vec![
                ("geometry", geometry(g)),
                ("groups", atom(groups)),
                ("weights", atom("&WEIGHTS")),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
                ("pad", per_level(pad)),
            ];
        }
        Payload::Depthwise {
            geometry: g,
            weights,
            requant: table,
            pad,
        } => {
            let (item, requant) = requant(table);
            data.extend([item, numbers("WEIGHTS", "i8", weights)]);
            (parts.ty, parts.kernel, parts.takes_scratch) = ("Depthwise", "depthwise", true);
            parts.fields = vec![
                ("geometry", geometry(g)),
                ("weights", atom("&WEIGHTS")),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
                ("pad", per_level(pad)),
            ];
        }
        Payload::DenseNested {
            stream: s,
            requant: table,
        } => {
            let (item, requant) = requant(table);
            data.push(item);
            parts.format_imports = &["NestedStream", "Requant"];
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("DenseNested", "dense_nested");
            parts.fields = vec![
                ("stream", stream(s, &mut data)),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
            ];
        }
        Payload::FullyConnected {
            weights,
            columns,
            requant: table,
        } => {
            let (item, requant) = requant(table);
            data.extend([item, numbers("WEIGHTS", "i8", weights)]);
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("FullyConnected", "fully_connected");
            parts.fields = vec![
                ("weights", atom("&WEIGHTS")),
                ("columns", atom(columns)),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
            ];
        }
        Payload::Add(params) => {
            data.push(static_item(
                "PARAMS",
                &format!("[AddParams; {}]", params.len()),
                &array(params.iter().map(sum)),
            ));
            parts.format_imports = &["AddParams"];
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("Add", "add");
            parts.fields = vec![("params", atom("&PARAMS"))];
        }
        Payload::MaxPool(g) => {
            parts.format_imports = &[];
            parts.borrows = false;
            (parts.ty, parts.kernel, parts.takes_level) = ("MaxPool", "max_pool", false);
            parts.fields = vec![("geometry", geometry(g))];
        }
        Payload::AvgPool {
            geometry: g,
            count_include_pad,
            pad,
            requant: table,
        } => {
            let (item, requant) = requant(table);
            data.push(item);
            (parts.ty, parts.kernel) = ("AvgPool", "avg_pool");
            parts.fields = vec![
                ("geometry", geometry(g)),
                ("count_include_pad", atom(count_include_pad)),
                ("pad", per_level(pad)),
                ("requant", requant),
                ("out_zero", per_level(out_zero)),
            ];
        }
        Payload::GlobalAvgPool {
            pixels,
            channels,
            requant,
        } => {
            data.push(static_item(
                "REQUANT",
                &format!("[Requant; {}]", requant.len()),
                &array(requant.iter().map(requant_atom)),
            ));
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("GlobalAvgPool", "global_avg_pool");
            parts.fields = vec![
                ("pixels", atom(pixels)),
                ("channels", atom(channels)),
                ("requant", atom("&REQUANT")),
                ("out_zero", per_level(out_zero)),
            ];
        }
        Payload::Clamp(bounds) => {
            parts.format_imports = &[];
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("Clamp", "clamp");
            let rows = bounds.iter().map(atoms);
            parts.fields = vec![("bounds", array_ref(rows))];
        }
        Payload::Pad {
            input,
            before,
            output,
            value,
        } => {
            parts.format_imports = &[];
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("Pad", "pad");
            parts.fields = vec![
                ("input", extent(*input)),
                ("before", extent(*before)),
                ("output", extent(*output)),
                ("value", per_level(value)),
            ];
        }
        Payload::Softmax { channels, table } => {
            data.push(static_item(
                "TABLE",
                &format!("[[u32; 256]; {}]", table.len()),
                &array(table.iter().map(atoms)),
            ));
            parts.format_imports = &[];
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("Softmax", "softmax");
            parts.fields = vec![("channels", atom(channels)), ("table", atom("&TABLE"))];
        }
        Payload::Lookup(table) => {
            data.push(tables("TABLE", table));
            parts.format_imports = &[];
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("Lookup", "lookup");
            parts.fields = vec![("table", atom("&TABLE"))];
        }
        Payload::Move(inputs) => {
            parts.format_imports = &[];
            parts.helpers = &["Nest"];
            (parts.ty, parts.kernel) = ("Move", "move_elements");
            let len = |t| program.tensors[t].shape.len();
            let one = |(i, (moved, &input)): (usize, (&IntMove, &TensorId))| {
                let table = match &moved.tables {
                    Some(of_levels) => {
                        let name = format!("TABLE_{i}");
                        data.push(tables(&name, of_levels));
                        format!("Some(&{name})")
                    }
                    None => "None".to_string(),
                };
                Expr::Struct(
                    "Move",
                    vec![
                        ("input", atom(len(input))),
                        ("output", atom(len(step.output))),
                        ("nests", array_ref(moved.nests.iter().map(nest))),
                        ("table", atom(table)),
                    ],
                )
            };
            let all = inputs.iter().zip(&step.inputs).enumerate().map(one);
            parts.several = Some(all.collect());
        }
        Payload::Binary {
            operation,
            a,
            b,
            output,
            constant,
        } => {
            let (variant, imports, ty, params): (_, &[&str], _, _) = match operation {
                IntBinary::Sum(params) => {
                    let params = array(params.iter().map(sum));
                    ("Sum", &["AddParams"], "AddParams", params)
                }
                IntBinary::Product(params) => {
                    let params = array(params.iter().map(product));
                    ("Product", &["ProductParams"], "ProductParams", params)
                }
                IntBinary::Least(pairs) | IntBinary::Largest(pairs) => {
                    let params = array(pairs.iter().map(|pair| array(pair.iter().map(sum))));
                    let least = matches!(operation, IntBinary::Least(_));
                    let variant = if least { "Least" } else { "Largest" };
                    (variant, &["AddParams"], "[AddParams; 2]", params)
                }
            };
            let levels = operation.levels();
            data.push(static_item("PARAMS", &format!("[{ty}; {levels}]"), &params));
            if let Some(constant) = constant {
                data.push(numbers("CONSTANT", "i8", constant));
            }
            parts.format_imports = imports;
            parts.helpers = &["Operation"];
            (parts.ty, parts.kernel) = ("Binary", "binary");
            parts.fields = vec![
                ("operation", atom(format!("Operation::{variant}(&PARAMS)"))),
                ("a", extent(*a)),
                ("b", extent(*b)),
                ("output", extent(*output)),
            ];
        }
        Payload::PRelu { zero, params } => {
            let channels = params.first().map_or(0, Vec::len);
            data.push(static_item(
                "PARAMS",
                &format!("[[AddParams; {channels}]; {}]", params.len()),
                &array(params.iter().map(|level| array(level.iter().map(sum)))),
            ));
            parts.format_imports = &["AddParams"];
            parts.helpers = &[];
            (parts.ty, parts.kernel) = ("PRelu", "prelu");
            let levels = (0..params.len()).map(|level| atom(format!("&PARAMS[{level}]")));
            parts.fields = vec![("zero", per_level(zero)), ("params", array_ref(levels))];
        }
        Payload::Resize {
            input,
            rows,
            columns,
        } => {
            let taps = |name: &str, taps: &[Tap]| {
                let ty = format!("[Tap; {}]", taps.len());
                static_item(name, &ty, &array(taps.iter().map(atoms)))
            };
            data.extend([taps("ROWS", rows), taps("COLUMNS", columns)]);
            parts.format_imports = &[];
            parts.helpers = &["Tap"];
            (parts.ty, parts.kernel, parts.takes_level) = ("Resize", "resize", false);
            parts.fields = vec![
                ("input", extent(*input)),
                ("rows", atom("&ROWS")),
                ("columns", atom("&COLUMNS")),
            ];
        }
    }
    parts.data = data;
    parts
}
