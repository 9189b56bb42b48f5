//! A program becomes a Cargo workspace: a library crate with the model, an image crate to measure
//! it, and the runtime crates both use.

mod boxes;
mod layer;
mod lock;
mod program_file;
mod rust_text;
mod view;
mod write;

use std::collections::BTreeSet;

use askama::Template;
use serde::{Deserialize, Serialize};

use crate::detect::Head;
use crate::diag::{Diagnostic, Diagnostics, FLASH_OVERFLOW, MODEL_NAME, RAM_OVERFLOW, Result};
use crate::ir::float::{FloatGraph, FloatOp};
use crate::ir::ids::{Id, LayerId, ValueId};
use crate::ir::program::Program;
use crate::ir::text_int;
use crate::passes::{FastMemory, Patching};
use crate::report::SCHEMA_VERSION;
use crate::target::{Board, ClockSetUp, Memory};
use crate::units::{Bytes, group_thousands};

pub use boxes::{box_bytes, decoder};
pub use program_file::{read_program, write_program};
pub use write::{File, Staged, check_output, write_folder};

/// nestc's version.
pub const NESTC_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The file by which nestc knows its own output folders: a [`Marker`].
pub const MARKER: &str = "nestc.json";
/// The file that holds the program.
pub const PROGRAM_FILE_NAME: &str = "program.bin";

/// Source of the runtime crates, by path below `runtime/`.
const RUNTIME_FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runtime_files.rs"));

/// Flash that code takes at most besides the model's data: kernels and start-up.
const CODE_RESERVE: Bytes = Bytes(48 * 1024);
/// Data memory kept free for the stack.
pub const STACK_RESERVE: Bytes = Bytes(8 * 1024);

/// What `nestc.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Who wrote the folder.
    pub nestc_version: String,
    /// The model's name.
    pub model: String,
    /// The board's name.
    pub target: String,
    /// What the outputs of a detection network mean, as [`Head`] writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// Limits tighter than the board's, and what else takes memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budgets {
    /// For the whole image.
    pub flash: Option<Bytes>,
    /// For the arena and the stack of an inference.
    pub ram: Option<Bytes>,
    /// What the image keeps in RAM for boxes: [`box_bytes`].
    pub boxes: Bytes,
}

/// Flash that the program's data take.
pub fn model_bytes(program: &Program) -> Bytes {
    (program.steps.iter())
        .map(|step| step.weight_bytes + step.index_bytes + step.requant_bytes)
        .sum()
}

/// About how much flash an image's code takes, from what its kernels and layers are: figures of built
/// images, within a third of each. Limits are held with [`CODE_RESERVE`].
pub fn estimated_code(program: &Program) -> Bytes {
    const START_UP: u64 = 6 << 10;
    const KERNEL: u64 = 2200;
    const LAYER: u64 = 200;
    let kernels: BTreeSet<&str> = program.steps.iter().map(|step| step.kernel).collect();
    Bytes(START_UP + KERNEL * kernels.len() as u64 + LAYER * program.steps.len() as u64)
}

/// Bytes of the arena as a Rust type: rounded up to its alignment.
fn arena_type_bytes(program: &Program) -> Bytes {
    Bytes(program.arena_bytes.0.next_multiple_of(32))
}

/// Refuses a network whose activations cannot fit whatever the compiler does: a convolution's input
/// and output are in memory, the one over the other where that can be. Asked before anything is calibrated, which for such networks
/// takes more memory than computers have. Layers that could run in stripes (`patched`) are not asked of.
///
/// # Errors
/// `E604` for the convolution that needs most.
pub fn check_activations(
    graph: &FloatGraph,
    board: &Board,
    budgets: Budgets,
    patched: bool,
) -> Result<()> {
    let first = if patched { first_chain(graph) } else { 0 };
    let unpadded = |value: ValueId| match graph.producer(value).map(|id| &graph.nodes[id]) {
        // Padding may become the convolution's own.
        Some(node) if matches!(node.op, FloatOp::Pad(_)) => graph.shape(node.inputs[0]).len(),
        _ => graph.shape(value).len(),
    };
    let heaviest = graph
        .nodes
        .iter()
        .skip(first)
        .filter(|node| matches!(node.op, FloatOp::Conv(_)))
        .map(|node| {
            (
                unpadded(node.inputs[0]),
                graph.shape(node.output).len(),
                node,
            )
        })
        .max_by_key(|(input, output, _)| *input.max(output));
    let Some((input, output, node)) = heaviest else {
        return Ok(());
    };
    let memory = board.sram().bytes.max(board.data().bytes);
    let (limit, whose) = match budgets.ram {
        Some(budget) if budget < memory => (budget, "--ram-budget"),
        _ => (memory, "the board's largest memory"),
    };
    let needed = Bytes(input.max(output) as u64);
    if needed <= limit {
        return Ok(());
    }
    Err(Diagnostic::new(
        RAM_OVERFLOW,
        format!("node {} on {}", node.name, board.name),
        format!(
            "this convolution alone needs {needed}, for an input of {} and an output of {}; {whose} allows {limit}",
            Bytes(input as u64),
            Bytes(output as u64)
        ),
        "export the network for smaller pictures or with fewer channels",
    )
    .into())
}

/// Nodes from the first on of which each reads the one before it and nothing else does.
fn first_chain(graph: &FloatGraph) -> usize {
    let reads = |v: ValueId| {
        let reads = graph.nodes.iter().flat_map(|n| &n.inputs);
        reads.filter(|&&input| input == v).count() + usize::from(graph.outputs.contains(&v))
    };
    let mut last = graph.input;
    let chained = |node: &&crate::ir::float::Node| {
        let next = node.inputs.len() == 1
            && Some(node.inputs[0]) == last
            && (last == graph.input || reads(node.inputs[0]) == 1);
        last = Some(node.output);
        next
    };
    graph.nodes.iter().take_while(chained).count()
}

/// When layers are to run in stripes: where an arena exceeds what the board has for what does not lie in
/// tightly coupled memory, or the budget.
pub fn patch_to_fit(graph: &FloatGraph, board: &Board, budgets: Budgets) -> Patching {
    let values = graph.input.iter().chain(&graph.outputs);
    let buffers: u64 = values.map(|&v| graph.shape(v).len() as u64).sum();
    let whole = fast_memory(graph, board).whole;
    let rest = match board.dtcm() {
        Some(_) => Bytes(board.sram().bytes.0.saturating_sub(buffers) / 32 * 32).max(whole),
        None => whole,
    };
    let budget = |Bytes(bytes)| Bytes(bytes.saturating_sub(STACK_RESERVE.0) / 32 * 32);
    Patching::ToFit {
        rest,
        all: budgets.ram.map_or(Bytes(u64::MAX), budget),
    }
}

/// What an image keeps in the data memory beside the arena: the host's buffers and mailbox, and the
/// stack.
fn beside_arena(buffers: u64, layers: usize) -> Bytes {
    Bytes(buffers + 256 + 16 * layers as u64) + STACK_RESERVE
}

/// Memory without wait states that an arena of this network may take on the board: tightly coupled
/// memory, or the RAM of a core that has none and no caches either. And what a part of an arena may take
/// of tightly coupled memory, beside which the host's buffers lie in the other.
pub fn fast_memory(graph: &FloatGraph, board: &Board) -> FastMemory {
    let values = graph.input.iter().chain(&graph.outputs);
    let buffers: u64 = values.map(|&v| graph.shape(v).len() as u64).sum();
    let room = board.data().bytes.0;
    // Layers are fewer than nodes, and the arena ends on a multiple of 32.
    let beside = |buffers| {
        let beside = beside_arena(buffers, graph.nodes.len());
        Bytes(room.saturating_sub(beside.0) / 32 * 32)
    };
    FastMemory {
        whole: beside(buffers),
        part: match board.dtcm() {
            Some(_) => beside(0),
            None => Bytes(0),
        },
    }
}

/// The memory the arena and the host's buffers go to: tightly coupled if they fit. Of an arena in two
/// parts it is the second's; the first lies in the tightly coupled one. Behind the data
/// cache of the bus memory inference is slower by half, since packed activations are read again and
/// again: see [`crate::passes::plan_for`], which makes an arena fit where shorter passes can.
///
/// Weights stay in flash and are read through the data cache. Bringing the next layer's by DMA into
/// tightly coupled memory while the present layer runs could gain no more than all line fills from
/// flash cost. With fills for nothing the emulator takes 1.2, 1.4 and 1.6 % fewer cycles at the three
/// levels of the nested ResNet-8, 2.6 % on the dense one and 1.7 % on MobileNetV1-0.25, because a pass
/// over many tiles reads each weight once. Against that stand a buffer as large as a layer's weights
/// (37 KiB in ResNet-8, where the arena is 39 KiB), a DMA controller on the same bus and the same
/// memory, and code to drive it: there is none.
///
/// # Errors
/// Every limit of the board or budget that the program breaks: `E603`, `E604`.
pub fn place<'a>(program: &Program, board: &'a Board, budgets: Budgets) -> Result<&'a Memory> {
    let mut faults = Diagnostics::default();
    let model = model_bytes(program) + CODE_RESERVE;
    let (limit, whose) = flash_limit(board.flash(), budgets);
    if model > limit {
        faults.push(Diagnostic::new(
            FLASH_OVERFLOW,
            format!("{} on {}", program.name, board.name),
            format!(
                "weights, indices and constants take {} and code about {CODE_RESERVE}, {model} in all; {whose} allows {limit}",
                model_bytes(program)
            ),
            format!(
                "the largest layer is {}: prune more, or leave out the densest level",
                largest(program, |step| (step.weight_bytes + step.index_bytes).0)
            ),
        ));
    }
    let arena = arena_type_bytes(program);
    let too_much = |limit: Bytes, whose: &str| {
        Diagnostic::new(
            RAM_OVERFLOW,
            format!("{} on {}", program.name, board.name),
            format!(
                "the arena takes {arena} ({}); {whose} allows {limit}",
                fullest(program)
            ),
            widest(program),
        )
    };
    if let Some(budget) = budgets.ram
        && arena + STACK_RESERVE > budget
    {
        faults.push(Diagnostic::new(
            RAM_OVERFLOW,
            format!("{} on {}", program.name, board.name),
            format!(
                "the arena takes {arena} ({}) and {STACK_RESERVE} are kept for the stack; --ram-budget allows {budget}",
                fullest(program)
            ),
            widest(program),
        ));
    }
    let lens = [program.input].into_iter().chain(program.outputs.clone());
    let tensors: u64 = lens.map(|t| program.tensors[t].shape.len() as u64).sum();
    let buffers = tensors + budgets.boxes.0;
    let (data, sram) = (board.data(), board.sram());
    let (fast, layers) = (program.fast_bytes, program.steps.len());
    let beside_data = beside_arena(buffers, layers);
    let memory = if fast == Bytes(0) && arena + beside_data <= data.bytes {
        data
    } else {
        let beside_fast = beside_arena(0, layers);
        if fast > Bytes(0) && fast + beside_fast > data.bytes {
            faults.push(too_much(
                data.bytes - Bytes(beside_fast.0.min(data.bytes.0)),
                &data.name,
            ));
        }
        // Without tightly coupled memory the stack is there as well.
        let beside = if data == sram {
            beside_data
        } else {
            Bytes(buffers)
        };
        if Bytes(arena.0.saturating_sub(fast.0)) + beside > sram.bytes {
            faults.push(too_much(
                sram.bytes - Bytes(beside.0.min(sram.bytes.0)),
                &sram.name,
            ));
        }
        sram
    };
    faults.into_result(memory)
}

/// Which memory holds what, as the last lines of a plan.
fn placement(program: &Program, board: &Board, arena: &Memory) -> String {
    let (flash, data) = (&board.flash().name, &board.data().name);
    let loops = match board.itcm() {
        Some(itcm) => format!(
            "memory {} inner loops of kernels, copied from {flash}\n",
            itcm.name
        ),
        None => String::new(),
    };
    let fast = match program.fast_bytes {
        Bytes(0) => String::new(),
        Bytes(bytes) => format!("memory {data} arena to byte {bytes}\n"),
    };
    format!(
        "{fast}memory {arena} arena\nmemory {data} stack\n{loops}\
         memory {flash} weights and constants, read in place, and all other code\n",
        arena = arena.name,
    )
}

/// What fills the arena.
fn fullest(program: &Program) -> String {
    let (bytes, step) = program.peak();
    match step {
        Some(id) => format!(
            "fullest in `{}`: {bytes}, of which scratch {}",
            program.steps[id].name,
            program.peak_scratch()
        ),
        None => format!("fullest before the first layer: {bytes}"),
    }
}

/// What shrinks the arena most.
fn widest(program: &Program) -> String {
    format!(
        "the layer with the largest output is {}: a smaller input or fewer channels there help most",
        largest(program, |step| program.tensors[step.output].shape.len()
            as u64)
    )
}

/// The flash an image may take, and who says so.
fn flash_limit(flash: &Memory, budgets: Budgets) -> (Bytes, &str) {
    match budgets.flash {
        Some(budget) if budget < flash.bytes => (budget, "--flash-budget"),
        _ => (flash.bytes, flash.name.as_str()),
    }
}

/// Holds a built image of `total` bytes to the limit that [`place`] could only estimate.
///
/// # Errors
/// `E603` if it is larger.
pub fn check_flash(
    program: &Program,
    board: &Board,
    budgets: Budgets,
    total: Bytes,
) -> Result<(), Diagnostic> {
    let (limit, whose) = flash_limit(board.flash(), budgets);
    if total <= limit {
        return Ok(());
    }
    let model = model_bytes(program);
    Err(Diagnostic::new(
        FLASH_OVERFLOW,
        format!("{} on {}", program.name, board.name),
        format!(
            "the built image takes {total}, of which weights, indices and constants {model}; {whose} allows {limit}"
        ),
        format!(
            "the largest layer is {}: prune more, or leave out the densest level",
            largest(program, |step| (step.weight_bytes + step.index_bytes).0)
        ),
    ))
}

/// The name of the step for which `size` is largest.
fn largest(program: &Program, size: impl Fn(&crate::ir::program::Step) -> u64) -> String {
    program
        .steps
        .iter()
        .max_by_key(|step| size(step))
        .map_or_else(String::new, |step| format!("`{}`", step.name))
}

/// Whether the model's name can be a crate's.
///
/// # Errors
/// `E611` if it is no crate name, or that of another crate of the workspace.
pub fn check_name(name: &str) -> Result<(), Diagnostic> {
    const TAKEN: &[&str] = &[
        "alloc",
        "as",
        "async",
        "await",
        "bench",
        "box",
        "break",
        "const",
        "continue",
        "core",
        "crate",
        "do",
        "dyn",
        "else",
        "enum",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "model",
        "move",
        "mut",
        "override",
        "priv",
        "proc_macro",
        "pub",
        "ref",
        "return",
        "self",
        "static",
        "std",
        "struct",
        "super",
        "test",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "yield",
    ];
    let shape = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let message = if shape && lock::is_package(name) {
        format!("`{name}` is the name of a crate that the firmware depends on")
    } else if shape && !TAKEN.contains(&name) && !name.starts_with("nest_") && name.len() <= 60 {
        return Ok(());
    } else {
        format!("`{name}` cannot be a crate's name")
    };
    Err(Diagnostic::new(
        MODEL_NAME,
        format!("model `{name}`"),
        message,
        "rename the model file: at most 60 lower-case letters, digits and underscores, starting with a letter, and no Rust keyword",
    ))
}

/// All files of the workspace for `program` on `board`; with a head, it decodes boxes.
///
/// # Errors
/// `E602`, `E603`, `E604`, `E611`, `E801`, all that apply at once.
pub fn emit(
    program: &Program,
    board: &Board,
    budgets: Budgets,
    head: Option<&Head>,
) -> Result<Vec<File>> {
    let mut faults = Diagnostics::default();
    let head = match head
        .map(|head| Ok((head, decoder(program, head)?)))
        .transpose()
    {
        Ok(head) => head,
        Err(fault) => {
            faults.push(fault);
            None
        }
    };
    let boxes = head.is_some();
    let head_text = head.as_ref().map(|(head, _)| head.to_string());
    if let Err(fault) = check_name(&program.name) {
        faults.push(fault);
    }
    let memory = match place(program, board, budgets) {
        Ok(memory) => memory,
        Err(more) => {
            faults.0.extend(more.0);
            board.data()
        }
    };
    let names = view::layer_names(program);
    let mut files = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let step = &program.steps[LayerId::from_index(i)];
        match layer::layer_file(program, i, step, &names) {
            Ok(text) => push(
                &mut files,
                format!("model/src/layers/{}.rs", name.module),
                text,
            ),
            Err(fault) => faults.push(fault),
        }
    }
    faults.into_result(())?;

    let name = program.name.as_str();
    let nestc_version = NESTC_VERSION;
    let levels = view::levels(program);
    let input = view::input(program);
    let outputs = view::outputs(program);
    let arena_bytes = arena_type_bytes(program).0;
    let model_bytes = model_bytes(program).0;
    let in_data = memory == board.data();
    let fast_bytes = program.fast_bytes.0;
    let mut add = |path: &str, text: String| push(&mut files, path.to_string(), text);

    add(
        "Cargo.toml",
        text(&view::Workspace {
            nestc_version,
            boxes,
        }),
    );
    add("Cargo.lock", lock::lock_file(name, boxes));
    add(".cargo/config.toml", text(&view::CargoConfig { board }));
    add(
        ".gitignore",
        include_str!("../../templates/gitignore").into(),
    );
    add(
        "README.md",
        text(&view::Readme {
            name,
            nestc_version,
            board,
            levels: &levels,
            arena_bytes,
            fast_bytes,
            fast_memory: &board.data().name,
            arena_memory: &memory.name,
            model_bytes,
            head: head_text.as_deref(),
            score: head.as_ref().map_or(0.0, |(head, _)| head.score),
        }),
    );
    add(
        "model/Cargo.toml",
        text(&view::ModelCargo {
            name,
            nestc_version,
            boxes,
        }),
    );
    add(
        "model/src/lib.rs",
        text(&view::ModelLib {
            name,
            nestc_version,
            format_version: nest_format::FORMAT_VERSION,
            arena_bytes: arena_bytes - fast_bytes,
            fast_bytes,
            model_bytes,
            levels: &levels,
            sparsities: view::sparsities(program),
            level_names: view::level_names(program),
            preprocessing: view::preprocessing(program),
            pixel_table: view::pixel_table(program),
            input: &input,
            outputs: &outputs,
            layers: &names,
            layer_table: view::layer_table(program),
            head: head_text.as_deref(),
        }),
    );
    if let Some((head, decoder)) = &head {
        let module = boxes::module(name, head, decoder, &outputs);
        add("model/src/detect.rs", module);
    }
    add(
        "model/src/arena.rs",
        text(&view::ModelArena {
            bytes: program.arena_bytes.0 - fast_bytes,
            fast_bytes,
            input: &input,
            outputs: &outputs,
        }),
    );
    add(
        "model/src/inference.rs",
        text(&view::ModelInference {
            fast_bytes,
            outputs: &outputs,
        }),
    );
    add(
        "model/src/layers.rs",
        text(&view::ModelLayers {
            fast_bytes,
            layers: &names,
            output_ranges: view::output_ranges(program),
        }),
    );
    add(
        "bench/Cargo.toml",
        text(&view::BenchCargo {
            name,
            nestc_version,
            board,
            boxes,
        }),
    );
    add("bench/build.rs", text(&view::BenchBuild));
    add(
        "bench/memory.x",
        text(&view::MemoryX {
            board,
            nestc_version,
            memories: view::memories(board),
            has_itcm: board.itcm().is_some(),
            has_sram: view::separate_sram(board).is_some(),
        }),
    );
    add(
        "bench/src/main.rs",
        text(&view::BenchMain {
            name,
            board,
            clock: board.clock.set_up.map(ClockSetUp::function),
            clock_hz: group_thousands(board.clock.core_hz.0).replace(',', "_"),
            enables: view::enables(memory),
            has_sram: view::separate_sram(board).is_some(),
            arena_section: if in_data { "" } else { ".nest.sram" },
            fast_bytes,
            outputs: &outputs,
            output_len_sum: outputs.iter().map(|o| o.len).sum(),
            boxes,
        }),
    );
    let needed = |path: &str| boxes || !path.starts_with("nest-detect/");
    for (path, source) in RUNTIME_FILES.iter().filter(|(path, _)| needed(path)) {
        add(&format!("runtime/{path}"), (*source).to_string());
    }
    let text = text_int::print_program(program) + &placement(program, board, memory);
    add("program.txt", text);
    files.push(File {
        path: PROGRAM_FILE_NAME.into(),
        bytes: write_program(program),
    });
    let marker = Marker {
        schema_version: SCHEMA_VERSION,
        nestc_version: nestc_version.into(),
        model: name.into(),
        target: board.name.clone(),
        head: head_text,
    };
    // A struct of strings and an integer always has a JSON form.
    let json = serde_json::to_string_pretty(&marker).unwrap_or_default();
    push(&mut files, MARKER.into(), json + "\n");
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn push(files: &mut Vec<File>, path: String, text: String) {
    files.push(File {
        path,
        bytes: text.into_bytes(),
    });
}

/// A template's text, ending in one newline.
fn text(template: &impl Template) -> String {
    // Rendering writes strings and integers into a string: it cannot fail.
    let mut out = template.render().unwrap_or_default();
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::float::{Conv, Node, Shape, Value, Window};

    /// One `1 x 1` convolution over 3 channels of `side x side` pixels.
    fn network(side: usize) -> FloatGraph {
        let mut graph = FloatGraph::default();
        let [input, output] = ["x", "y"].map(|name| {
            graph.values.push(Value {
                name: name.into(),
                shape: Shape::map(3, side, side),
            })
        });
        graph.input = Some(input);
        graph.outputs = vec![output];
        graph.nodes.push(Node {
            name: "wide".into(),
            op: FloatOp::Conv(Conv {
                weight: vec![1.0; 9],
                bias: None,
                out_channels: 3,
                group_channels: 3,
                groups: 1,
                window: Window::UNIT,
            }),
            inputs: vec![input],
            output,
        });
        graph
    }

    #[test]
    fn a_layer_too_large_for_the_board_is_refused_by_its_two_tensors() {
        let board = Board::named("stm32h743").expect("known");
        let sram = board.sram().bytes.0;
        // 3 bytes a pixel: the output may lie over the input.
        let fits = ((sram / 3) as f64).sqrt() as usize;
        assert_eq!(
            check_activations(&network(fits), &board, Budgets::default(), false),
            Ok(())
        );
        let over = check_activations(&network(fits + 1), &board, Budgets::default(), false);
        let finding = &over.expect_err("too large").0[0];
        assert_eq!(finding.code, RAM_OVERFLOW);
        assert!(finding.place.contains("wide"), "{finding}");
        let tight = Budgets {
            ram: Some(Bytes(3 * 99)),
            ..Budgets::default()
        };
        assert_eq!(check_activations(&network(9), &board, tight, false), Ok(()));
        assert!(check_activations(&network(10), &board, tight, false).is_err());
    }
}
