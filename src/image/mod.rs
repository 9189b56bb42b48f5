//! From an emitted workspace to an image: building it, reading what came out, and writing it in
//! the forms that flashing tools take.

mod build;
mod formats;
mod inspect;

use std::env;
use std::path::Path;

use crate::diag::{BUILD_FAILED, RUST_TARGET_MISSING, Result};
use crate::emit::{self, Budgets, NESTC_VERSION};
use crate::ir::ids::{Id, LayerId, TensorId};
use crate::ir::int::IntMove;
use crate::ir::program::{Payload, Program, Step};
use crate::report::{
    DeadChannels, FlashBytes, ImageLayer, ImageLevel, ImageReport, LayerKernels, MemoryMap,
    RamBytes, SCHEMA_VERSION,
};
use crate::target::Board;
use crate::units::{Bytes, Macs};

pub use build::{BuildOptions, TARGET_DIR_VARIABLE, build};
pub use formats::{flat_binary, intel_hex};
pub use inspect::{Image, LoadedSegment, MAILBOX_SYMBOL, MARK_SYMBOL, Section};

/// The image as an ELF file.
pub const ELF_NAME: &str = "firmware.elf";
/// The image's flash contents.
pub const BIN_NAME: &str = "firmware.bin";
/// The same in Intel HEX.
pub const HEX_NAME: &str = "firmware.hex";
/// The [`ImageReport`].
pub const REPORT_NAME: &str = "report.json";

/// Emits `program` into `folder`, builds it, and writes the image and its report there.
///
/// # Errors
/// What [`emit::emit`], [`emit::write_folder`], [`build`] and [`Image::read`] find. An
/// earlier output is replaced only after everything has succeeded.
pub fn compile(
    program: &Program,
    board: &Board,
    budgets: Budgets,
    folder: &Path,
    options: &BuildOptions,
) -> Result<ImageReport> {
    emit::check_output(folder)?;
    let decoder = (options.head.as_ref())
        .map(|head| emit::decoder(program, head))
        .transpose()?;
    let budgets = Budgets {
        boxes: decoder.as_ref().map_or(Bytes(0), emit::box_bytes),
        ..budgets
    };
    let files = emit::emit(program, board, budgets, options.head.as_ref())?;
    // All is made beside the folder, so that an earlier output outlives any fault.
    let staged = emit::Staged::write(folder, &files)?;
    let mut options = options.clone();
    if options.target_dir.is_none() && env::var_os(TARGET_DIR_VARIABLE).is_none() {
        options.target_dir = Some(staged.target_dir());
    }
    let place = folder.display().to_string();
    let bytes = build(&staged.path(), board, &program.name, &options).map_err(|mut fault| {
        if fault.code == BUILD_FAILED || fault.code == RUST_TARGET_MISSING {
            fault.place.clone_from(&place);
        }
        fault
    })?;
    let image = Image::read(&place, &bytes, board)?;
    emit::check_flash(program, board, budgets, image.flash_total)?;
    let memory = emit::place(program, board, budgets)?;
    let report = ImageReport {
        quantisation: options.quantisation,
        ..report(program, board, &image, &memory.name)
    };
    // A struct of numbers and strings always has a JSON form.
    let json = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
    for (name, contents) in [
        (ELF_NAME, bytes.as_slice()),
        (BIN_NAME, &flat_binary(&image.segments)),
        (HEX_NAME, intel_hex(&image.segments, image.entry).as_bytes()),
        (REPORT_NAME, json.as_bytes()),
    ] {
        staged.add(name, contents)?;
    }
    staged.commit()?;
    Ok(report)
}

/// Flash of an image: the model's share is known from the program, code is the rest.
pub fn flash_bytes(program: &Program, image: &Image) -> FlashBytes {
    let model = emit::model_bytes(program);
    let code = Bytes(image.flash_total.0.saturating_sub(model.0));
    FlashBytes {
        total: image.flash_total,
        ..flash_with_code(program, code)
    }
}

/// Flash of an image whose code takes so much.
pub fn flash_with_code(program: &Program, code: Bytes) -> FlashBytes {
    let sum = |of: fn(&Step) -> Bytes| program.steps.iter().map(of).sum::<Bytes>();
    FlashBytes {
        weights: sum(|step| step.weight_bytes),
        indices: sum(|step| step.index_bytes),
        requant: sum(|step| step.requant_bytes),
        code,
        total: emit::model_bytes(program) + code,
    }
}

/// RAM of an inference whose deepest stack is `stack`.
pub fn ram_bytes(program: &Program, stack: Bytes) -> RamBytes {
    let scratch = program.peak_scratch();
    let arena = program.arena_bytes - scratch;
    RamBytes {
        arena,
        scratch,
        stack,
        total: arena + scratch + stack,
    }
}

fn report(program: &Program, board: &Board, image: &Image, arena_memory: &str) -> ImageReport {
    ImageReport {
        schema_version: SCHEMA_VERSION,
        nestc_version: NESTC_VERSION.into(),
        model: program.name.clone(),
        target: board.name.clone(),
        format_version: image.format_version,
        flash_bytes: flash_bytes(program, image),
        ram_bytes: ram_bytes(program, Bytes(0)),
        arena_memory: arena_memory.into(),
        arena_bytes: program.arena_bytes,
        arena_lower_bound_bytes: program.arena_bound,
        itcm_bytes: image.itcm_bytes,
        levels: (program.sparsities.iter().enumerate())
            .map(|(level, &sparsity)| ImageLevel {
                level,
                sparsity,
                nonzero_weights: nonzero_weights(program, level),
                macs: program.steps.iter().map(|step| step.macs).sum(),
                effective_macs: effective_macs(program, level),
            })
            .collect(),
        dead_channels: dead_channels(program),
        run_time_transposes: Some(
            run_time_transposes(program.steps.iter(), |t| program.tensors[t].shape.len()).len(),
        ),
        layers: (program.steps.iter_enumerated())
            .map(|(id, step)| image_layer(program, id, step))
            .collect(),
        kernels: LayerKernels::of(&program.steps),
        quantisation: None,
        patches: program.patches,
        memory: MemoryMap::of(program),
    }
}

/// The layers of a device that put all elements of one value in another order and do nothing else:
/// what a layout that does not fit its kernels would need. A network's own channel shuffles count, too.
pub fn run_time_transposes<'a>(
    steps: impl IntoIterator<Item = &'a Step>,
    len: impl Fn(TensorId) -> usize,
) -> Vec<String> {
    (steps.into_iter())
        .filter(|step| match (&step.payload, &step.inputs[..]) {
            (Payload::Move(moves), &[input]) => {
                len(input) == len(step.output)
                    && moves.iter().all(|m| is_permutation(m, len(input)))
            }
            _ => false,
        })
        .map(|step| step.name.clone())
        .collect()
}

/// Whether each of `len` elements goes to a place of its own, and as it is.
fn is_permutation(moved: &IntMove, len: usize) -> bool {
    let mut seen = vec![[false; 2]; len];
    let mut each_once = moved.tables.is_none();
    moved.each(&mut |from, to| {
        for (side, place) in [from, to].into_iter().enumerate() {
            each_once &= seen.get(place).is_some_and(|seen| !seen[side]);
            if let Some(seen) = seen.get_mut(place) {
                seen[side] = true;
            }
        }
    });
    each_once && seen.iter().all(|&[from, to]| from && to)
}

/// What was removed of the layers that have weights.
fn dead_channels(program: &Program) -> DeadChannels {
    let mut dead = DeadChannels::default();
    for step in program.steps.iter().filter(|step| step.weights > 0) {
        let channels = step.model_channels as u64;
        dead.channels += channels;
        dead.removed += channels.saturating_sub(program.tensors[step.output].shape.c as u64);
        dead.live_macs += step.live_macs;
    }
    dead
}

/// Weights of a level that are not zero.
pub fn nonzero_weights(program: &Program, level: usize) -> u64 {
    (program.steps.iter())
        .map(|step| step.nonzero_weights.get(level).copied().unwrap_or(0))
        .sum()
}

/// Multiply-accumulates of a level by weights that are not zero.
pub fn effective_macs(program: &Program, level: usize) -> Macs {
    (program.steps.iter())
        .map(|step| step.effective_macs.get(level).copied().unwrap_or_default())
        .sum()
}

fn image_layer(program: &Program, id: LayerId, step: &Step) -> ImageLayer {
    let bytes = |t: TensorId| program.tensors[t].shape.len() as u64;
    ImageLayer {
        name: step.name.clone(),
        op: step.op.into(),
        kernel: step.kernel.into(),
        weight_bytes: step.weight_bytes,
        index_bytes: step.index_bytes,
        requant_bytes: step.requant_bytes,
        input_bytes: Bytes(step.inputs.iter().map(|&t| bytes(t)).sum()),
        output_bytes: Bytes(bytes(step.output)),
        live_bytes: live_bytes(program, id) + Bytes(4 * step.scratch_words as u64),
        model_channels: step.model_channels as u64,
        live_channels: program.tensors[step.output].shape.c as u64,
        macs: step.macs,
        live_macs: step.live_macs,
    }
}

/// Bytes of the arena that hold a tensor while step `id` runs.
fn live_bytes(program: &Program, id: LayerId) -> Bytes {
    let at = id.index();
    let mut ranges: Vec<(usize, usize)> = (program.tensors.iter_enumerated())
        .filter(|&(tensor, _)| {
            let made = (program
                .steps
                .iter()
                .position(|s| program.whole(s.output) == tensor))
            .map_or(tensor == program.input, |made| made <= at);
            let needed = program.outputs.contains(&tensor)
                || (program.steps.iter().skip(at))
                    .any(|s| s.inputs.iter().any(|&t| program.whole(t) == tensor))
                || program.whole(program.steps[id].output) == tensor;
            made && needed && program.tensors[tensor].part_of.is_none()
        })
        .map(|(_, t)| (t.offset, t.offset + t.shape.len()))
        .collect();
    ranges.sort_unstable();
    let (mut live, mut reached) = (0, 0);
    for (start, end) in ranges {
        live += end.saturating_sub(start.max(reached));
        reached = reached.max(end);
    }
    Bytes(live as u64)
}
