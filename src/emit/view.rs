//! What the templates see.

use askama::Template;

use super::rust_text::{Expr, array, atom, atoms, float, for_comment, identifier, literal};
use crate::ir::float::Shape;
use crate::ir::ids::TensorId;
use crate::ir::program::{PlacedTensor, Program};
use crate::passes::quantise_input;
use crate::target::{Board, Memory};

/// Bytes of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// First byte.
    pub start: usize,
    /// Behind the last.
    pub end: usize,
}

impl Place {
    pub(super) fn of(tensor: &PlacedTensor) -> Self {
        Self {
            start: tensor.offset,
            end: tensor.offset + tensor.shape.len(),
        }
    }
    pub(super) fn range(&self) -> String {
        format!("{}..{}", self.start, self.end)
    }
}

/// Rows, columns, channels: `32x32x3`.
pub(super) fn shape_text(shape: Shape) -> String {
    format!("{}x{}x{}", shape.h, shape.w, shape.c)
}

/// `[h, w, c]`.
fn shape_expr(shape: Shape) -> Expr {
    atoms([shape.h, shape.w, shape.c])
}

pub(super) struct LevelView {
    pub index: usize,
    pub percent: String,
    pub effective_macs: u64,
}

pub(super) struct InputView {
    pub shape: String,
    pub len: usize,
    pub channels: usize,
    pub scale: String,
    pub zero_point: i8,
    pub offset: usize,
}

pub(super) struct OutputView {
    /// The ONNX tensor's name.
    pub name: String,
    /// `` or `_0`.
    pub suffix: String,
    pub suffix_lower: String,
    /// `` or ` ` and its name, for comments.
    pub of: String,
    pub shape: String,
    pub len: usize,
    pub offset: usize,
    pub scales: String,
    pub zero_points: String,
}

pub(super) struct LayerName {
    /// The module's name.
    pub module: String,
}

/// `templates/model_lib.rs.j2`.
#[derive(Template)]
#[template(path = "model_lib.rs.j2")]
pub(super) struct ModelLib<'a> {
    pub name: &'a str,
    pub nestc_version: &'a str,
    pub format_version: u32,
    /// Of the arena's second part, which is all of an arena of one.
    pub arena_bytes: u64,
    /// Of its first part; 0 if there is one part.
    pub fast_bytes: u64,
    pub model_bytes: u64,
    pub levels: &'a [LevelView],
    pub sparsities: String,
    pub level_names: String,
    pub preprocessing: Vec<String>,
    pub pixel_table: Option<String>,
    pub input: &'a InputView,
    pub outputs: &'a [OutputView],
    pub layers: &'a [LayerName],
    pub layer_table: String,
    /// What the outputs mean, if they are boxes.
    pub head: Option<&'a str>,
}

/// `templates/model_arena.rs.j2`.
#[derive(Template)]
#[template(path = "model_arena.rs.j2")]
pub(super) struct ModelArena<'a> {
    pub bytes: u64,
    pub fast_bytes: u64,
    pub input: &'a InputView,
    pub outputs: &'a [OutputView],
}

/// `templates/model_inference.rs.j2`.
#[derive(Template)]
#[template(path = "model_inference.rs.j2")]
pub(super) struct ModelInference<'a> {
    pub fast_bytes: u64,
    pub outputs: &'a [OutputView],
}

/// `templates/model_layers.rs.j2`.
#[derive(Template)]
#[template(path = "model_layers.rs.j2")]
pub(super) struct ModelLayers<'a> {
    pub fast_bytes: u64,
    pub layers: &'a [LayerName],
    pub output_ranges: String,
}

/// `templates/model_cargo.toml.j2`.
#[derive(Template)]
#[template(path = "model_cargo.toml.j2")]
pub(super) struct ModelCargo<'a> {
    pub name: &'a str,
    pub nestc_version: &'a str,
    /// Whether boxes are decoded.
    pub boxes: bool,
}

/// `templates/workspace.toml.j2`.
#[derive(Template)]
#[template(path = "workspace.toml.j2")]
pub(super) struct Workspace<'a> {
    pub nestc_version: &'a str,
    /// Whether boxes are decoded.
    pub boxes: bool,
}

/// `templates/config.toml.j2`.
#[derive(Template)]
#[template(path = "config.toml.j2")]
pub(super) struct CargoConfig<'a> {
    pub board: &'a Board,
}

/// `templates/bench_cargo.toml.j2`.
#[derive(Template)]
#[template(path = "bench_cargo.toml.j2")]
pub(super) struct BenchCargo<'a> {
    pub name: &'a str,
    pub nestc_version: &'a str,
    pub board: &'a Board,
    /// Whether boxes are decoded.
    pub boxes: bool,
}

/// `templates/bench_build.rs.j2`.
#[derive(Template)]
#[template(path = "bench_build.rs.j2")]
pub(super) struct BenchBuild;

/// `templates/bench_main.rs.j2`.
#[derive(Template)]
#[template(path = "bench_main.rs.j2")]
pub(super) struct BenchMain<'a> {
    pub name: &'a str,
    pub board: &'a Board,
    /// The function of `nest-device` that sets the clocks.
    pub clock: Option<&'static str>,
    /// The core's clock, as a literal.
    pub clock_hz: String,
    /// Register and bits of each memory whose clock must be turned on.
    pub enables: Vec<(String, String)>,
    /// Whether there is a section for RAM on the main bus.
    pub has_sram: bool,
    /// The section of the arena and the buffers; empty for the data memory.
    pub arena_section: &'a str,
    pub fast_bytes: u64,
    pub outputs: &'a [OutputView],
    pub output_len_sum: usize,
    /// Whether boxes are decoded.
    pub boxes: bool,
}

pub(super) struct MemoryView {
    pub name: &'static str,
    pub origin: String,
    pub bytes: u64,
}

/// `templates/memory.x.j2`.
#[derive(Template)]
#[template(path = "memory.x.j2")]
pub(super) struct MemoryX<'a> {
    pub board: &'a Board,
    pub nestc_version: &'a str,
    pub memories: Vec<MemoryView>,
    pub has_itcm: bool,
    pub has_sram: bool,
}

/// `templates/readme.md.j2`.
#[derive(Template)]
#[template(path = "readme.md.j2")]
pub(super) struct Readme<'a> {
    pub name: &'a str,
    pub nestc_version: &'a str,
    pub board: &'a Board,
    pub levels: &'a [LevelView],
    pub arena_bytes: u64,
    pub fast_bytes: u64,
    pub fast_memory: &'a str,
    pub arena_memory: &'a str,
    pub model_bytes: u64,
    /// What the outputs mean, if they are boxes.
    pub head: Option<&'a str>,
    /// The head's threshold.
    pub score: f32,
}

/// The linker's memories. The instruction memory starts 32 bytes late, because no pointer may be
/// null.
pub(super) fn memories(board: &Board) -> Vec<MemoryView> {
    let view = |name, memory: &Memory, skip: u32| MemoryView {
        name,
        origin: format!("{:#010x}", memory.origin + skip),
        bytes: memory.bytes.0 - u64::from(skip),
    };
    let mut views = vec![
        view("FLASH", board.flash(), 0),
        view("RAM", board.data(), 0),
    ];
    views.extend(board.itcm().map(|itcm| view("ITCM", itcm, 32)));
    views.extend(separate_sram(board).map(|sram| view("SRAM", sram, 0)));
    views
}

/// The RAM on the main bus, where it is not the data memory.
pub(super) fn separate_sram(board: &Board) -> Option<&Memory> {
    Some(board.sram()).filter(|sram| *sram != board.data())
}

/// Register and bits that turn on the clocks of the memory the arena is in.
pub(super) fn enables(memory: &Memory) -> Vec<(String, String)> {
    let hex = |word: u32| format!("{:#06x}_{:04x}", word >> 16, word & 0xffff);
    let enable = memory.enable.iter();
    enable.map(|e| (hex(e.register), hex(e.bits))).collect()
}

pub(super) fn levels(program: &Program) -> Vec<LevelView> {
    (program.sparsities.iter().enumerate())
        .map(|(index, sparsity)| LevelView {
            index,
            percent: percent(*sparsity),
            effective_macs: program
                .steps
                .iter()
                .map(|step| step.effective_macs[index].0)
                .sum(),
        })
        .collect()
}

/// `0.9` as `90`, `0.125` as `12.5`.
fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    text.strip_suffix(".0").map(String::from).unwrap_or(text)
}

/// Where a tensor of an arena's second part begins in it.
fn in_second_part(program: &Program, tensor: &PlacedTensor) -> usize {
    tensor.offset.saturating_sub(program.fast_bytes.0 as usize)
}

pub(super) fn input(program: &Program) -> InputView {
    let tensor = &program.tensors[program.input];
    InputView {
        shape: shape_expr(tensor.shape).print(0, 0),
        len: tensor.shape.len(),
        channels: tensor.shape.c,
        scale: float(tensor.quant[0].scale),
        zero_point: tensor.quant[0].zero_point,
        offset: in_second_part(program, tensor),
    }
}

pub(super) fn outputs(program: &Program) -> Vec<OutputView> {
    let single = program.outputs.len() == 1;
    let view = |(k, &id): (usize, &TensorId)| {
        let tensor = &program.tensors[id];
        let suffix = if single {
            String::new()
        } else {
            format!("_{k}")
        };
        let column = |name: &str, ty: &str| {
            format!("pub const OUTPUT{suffix}_{name}: [{ty}; LEVELS] = ").len()
        };
        OutputView {
            name: for_comment(&tensor.name),
            suffix_lower: suffix.clone(),
            of: if single {
                String::new()
            } else {
                format!(" `{}`", for_comment(&tensor.name))
            },
            shape: shape_expr(tensor.shape).print(0, 0),
            len: tensor.shape.len(),
            offset: in_second_part(program, tensor),
            scales: atoms(tensor.quant.iter().map(|q| float(q.scale)))
                .print(0, column("SCALE", "f32")),
            zero_points: atoms(tensor.quant.iter().map(|q| q.zero_point))
                .print(0, column("ZERO_POINT", "i8")),
            suffix,
        }
    };
    program.outputs.iter().enumerate().map(view).collect()
}

pub(super) fn sparsities(program: &Program) -> String {
    atoms(program.sparsities.iter().map(|s| format!("{s:?}")))
        .print(0, "pub const SPARSITIES: [f64; LEVELS] = ".len())
}

pub(super) fn level_names(program: &Program) -> String {
    atoms((0..program.level_count()).map(|l| format!("Self::L{l}")))
        .print(4, "    pub const ALL: [Self; LEVELS] = ".len())
}

pub(super) fn layer_names(program: &Program) -> Vec<LayerName> {
    let digits = program.steps.len().saturating_sub(1).to_string().len();
    (program.steps.iter().enumerate())
        .map(|(i, step)| {
            let name = identifier(&step.name);
            let module = format!("l{i:0digits$}_{name}");
            LayerName {
                module: module.trim_end_matches('_').to_string(),
            }
        })
        .collect()
}

pub(super) fn layer_table(program: &Program) -> String {
    let row = |(index, step): (usize, &crate::ir::program::Step)| {
        Expr::Struct(
            "LayerInfo",
            vec![
                ("index", atom(index)),
                ("name", atom(literal(&step.name))),
                ("op", atom(literal(step.op))),
                ("kernel", atom(literal(step.kernel))),
                (
                    "output_shape",
                    shape_expr(program.tensors[step.output].shape),
                ),
                (
                    "effective_macs",
                    atoms(step.effective_macs.iter().map(|m| m.0)),
                ),
            ],
        )
    };
    array(program.steps.iter().enumerate().map(row)).print(0, 40)
}

pub(super) fn output_ranges(program: &Program) -> String {
    let lead = format!(
        "pub(crate) static OUTPUTS: [(usize, usize); {}] = ",
        program.steps.len()
    );
    let range = |step: &crate::ir::program::Step| {
        let place = Place::of(&program.tensors[step.output]);
        atom(format!("({}, {})", place.start, place.end))
    };
    array(program.steps.iter().map(range)).print(0, lead.len())
}

/// How raw pixels become the input, in words.
pub(super) fn preprocessing(program: &Program) -> Vec<String> {
    let Some(p) = &program.preprocessing else {
        return Vec::new();
    };
    let list = |values: &[f32]| {
        let parts: Vec<String> = values.iter().map(|v| v.to_string()).collect();
        parts.join(", ")
    };
    let order = match p.order {
        crate::ir::nested::ChannelOrder::Rgb => "red, green, blue",
        crate::ir::nested::ChannelOrder::Bgr => "blue, green, red",
    };
    let mut lines = vec![
        String::new(),
        "A raw pixel `p` of 0 to 255 becomes `(p * scale - mean[channel]) / std[channel]`, with"
            .to_string(),
        format!(
            "scale {}, mean {}, std {};",
            p.scale,
            list(&p.mean),
            list(&p.std)
        ),
        "[`PIXEL_TO_INPUT`] holds the integer for every pixel value.".to_string(),
    ];
    if p.mean.len() == 3 {
        lines.push(format!("The channels are {order}."));
    }
    // An empty comment line has no blank behind its mark.
    (lines.into_iter())
        .map(|line| {
            if line.is_empty() {
                line
            } else {
                format!(" {line}")
            }
        })
        .collect()
}

/// For every channel, the integer of every pixel value, if the preparation is known.
pub(super) fn pixel_table(program: &Program) -> Option<String> {
    let p = program.preprocessing.as_ref()?;
    let tensor = &program.tensors[program.input];
    let channels = tensor.shape.c;
    if p.mean.len() != channels || p.std.len() != channels {
        return None;
    }
    let row = |c: usize| {
        atoms((0..=255u8).map(|pixel| {
            let real = p.apply(pixel, c);
            quantise_input(&[real], Shape::vector(1), tensor.quant[0])[0]
        }))
    };
    let lead = format!("pub static PIXEL_TO_INPUT: [[i8; 256]; {channels}] = ");
    Some(array((0..channels).map(row)).print(0, lead.len()))
}
