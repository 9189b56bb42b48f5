//! Measuring an image: what it computes against the host, and what it costs.
//!
//! [`Runner`] is anything that can run the image and give access to its memory: the emulator, a board
//! on a debug probe, or a recorded session. The image and its program come from a folder that
//! [`crate::image::compile`] wrote.

mod board;
mod calibrate;
mod emulated;
mod emulator;
pub mod probe;
mod replay;
mod session;
mod timing_file;

use std::fs;
use std::path::Path;

use crate::data::DataSpec;
use crate::detect::{Decoder, Detection, Head};
use crate::diag::{BENCH_INPUTS, Diagnostic, IMAGE_MISSING, NOT_BIT_EXACT, PROGRAM_FILE, Result};
use crate::emit::{self, MARKER, Marker, NESTC_VERSION, PROGRAM_FILE_NAME, read_program};
use crate::emulator::EMULATOR_MODEL;
use crate::image::{self, ELF_NAME, Image};
use crate::ir::eval::Executor;
use crate::ir::ids::{Id, Level};
use crate::ir::program::Program;
use crate::passes::{evaluate_int8, quantise_input};
use crate::report::{
    BenchBoxes, BenchLayer, BenchLevel, BenchReport, BitExact, LayerKernels, MeasuredBy, Mismatch,
    SCHEMA_VERSION,
};
use crate::target::{Board, CoreKind};
use crate::units::{Bytes, Cycles, Instructions};

pub use board::memory_map;
pub use calibrate::{Calibration, Explained, Measurements, calibrate, rehearse};
pub use emulated::{Settings, bench_emulated};
pub use emulator::EmulatorRunner;
pub use replay::{Exchange, Recorder, ReplayRunner, Transcript};
use session::{Session, Timing};

/// Something that runs an image.
pub trait Runner {
    /// What its cycles are.
    fn measured_by(&self) -> MeasuredBy;
    /// The cycle model's name, if it is one.
    fn emulator_model(&self) -> Option<String>;
    /// The name of the cycle model's setting, if it is one.
    fn timing(&self) -> Option<String> {
        None
    }
    /// Reads memory while the image stands.
    ///
    /// # Errors
    /// If there is no such memory, or the connection fails.
    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic>;
    /// Writes memory while the image stands.
    ///
    /// # Errors
    /// As [`Runner::read`].
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Diagnostic>;
    /// Runs until the next breakpoint and gives its immediate.
    ///
    /// # Errors
    /// If the image faults or does not reach one in time.
    fn resume(&mut self) -> Result<u8, Diagnostic>;
    /// Calls of `nest_layer_mark` since the last time this was asked; none if the runner cannot
    /// see them.
    fn take_marks(&mut self) -> Vec<Mark>;
}

/// A call of `nest_layer_mark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// The layer that has just run, or [`nest_device::mailbox::MARK_START`].
    pub layer: u32,
    /// Instructions since reset.
    pub instructions: Instructions,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Inputs to compare with the host, each at every level.
    pub verify: usize,
    /// Where inputs come from; otherwise they are random.
    pub data: Option<DataSpec>,
    /// At most so many images are evaluated on the host for the accuracy, unless the data
    /// specification sets its own limit.
    pub accuracy_images: usize,
    /// Of random inputs.
    pub seed: u64,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            verify: 1,
            data: None,
            accuracy_images: 1000,
            seed: 1,
        }
    }
}

/// What a folder holds that `nestc compile` wrote.
#[derive(Debug)]
pub struct Compiled {
    /// The board.
    pub board: Board,
    /// The program.
    pub program: Program,
    /// The ELF file.
    pub elf: Vec<u8>,
    /// What it holds.
    pub image: Image,
    /// What the outputs mean, if they are boxes.
    pub head: Option<Head>,
    /// Makes boxes of them.
    pub decoder: Option<Decoder>,
}

impl Compiled {
    /// Reads a folder.
    ///
    /// # Errors
    /// `E750` if it is no such folder, `E606` or `E610` if a file in it is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let place = folder.display().to_string();
        let read = |name: &str| {
            fs::read(folder.join(name)).map_err(|error| {
                Diagnostic::new(
                    IMAGE_MISSING,
                    &place,
                    format!("cannot read `{name}`: {error}"),
                    "give the folder that `nestc compile -o` wrote",
                )
            })
        };
        let marker: Marker = serde_json::from_slice(&read(MARKER)?).map_err(|error| {
            Diagnostic::new(
                IMAGE_MISSING,
                &place,
                format!("`{MARKER}` is not what nestc writes: {error}"),
                "compile the model again",
            )
        })?;
        let board = Board::named(&marker.target)?;
        let program_place = folder.join(PROGRAM_FILE_NAME).display().to_string();
        let program = read_program(&program_place, &read(PROGRAM_FILE_NAME)?)?;
        // A hash protects against damage, not against a program that breaks the rules.
        crate::ir::verify_int::verify_program(&program).map_err(|faults| {
            let first = faults
                .0
                .first()
                .map_or_else(String::new, |f| f.message.clone());
            Diagnostic::new(
                PROGRAM_FILE,
                program_place,
                format!(
                    "the program breaks {} rules; the first: {first}",
                    faults.0.len()
                ),
                "compile the model again",
            )
        })?;
        let head = marker.head.as_deref().map(Head::parse).transpose()?;
        let decoder = (head.as_ref())
            .map(|head| emit::decoder(&program, head))
            .transpose()?;
        let elf = read(ELF_NAME)?;
        let image = Image::read(&folder.join(ELF_NAME).display().to_string(), &elf, &board)?;
        Ok(Self {
            board,
            program,
            elf,
            image,
            head,
            decoder,
        })
    }
}

/// Inputs of the network, and where they come from.
struct Inputs {
    items: Vec<Vec<i8>>,
    source: String,
}

/// Accuracy a level, and the images behind it.
type Accuracies = Option<(Vec<f64>, u64)>;

/// What runs gave, to be made a report.
struct Runs {
    bit_exact: BitExact,
    /// One a level.
    timings: Vec<Timing>,
    /// The same in the pessimistic setting, or none.
    pessimistic: Vec<Timing>,
    stack: Bytes,
    /// Why their cycles mean nothing, if they do.
    cycles_missing: Option<String>,
}

/// Measures the image of `compiled` on `runner`. `progress` hears of finished commands and how many
/// there are.
///
/// # Errors
/// Faulty data, too few of them (`E754`), an image that does not answer (`E751`, `E752`). A
/// difference from the host is no error here: see [`verdict`].
pub fn bench(
    compiled: &Compiled,
    runner: &mut dyn Runner,
    options: &BenchOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<BenchReport> {
    let program = &compiled.program;
    let (inputs, accuracies) = inputs(program, options)?;
    let levels = program.level_count();
    let total = levels * (options.verify + 1);
    let mut done = 0;
    let mut step = || {
        done += 1;
        progress(done, total);
    };
    let mut session = Session::start(compiled, runner)?;
    let mut bit_exact = BitExact::default();
    for level in (0..levels).map(Level::from_index) {
        let verified = verify(
            compiled,
            &mut session,
            level,
            &inputs.items[..options.verify],
            &mut step,
        )?;
        join(&mut bit_exact, verified);
    }
    let mut timings = Vec::new();
    for level in (0..levels).map(Level::from_index) {
        timings.push(session.time(level, &inputs.items[0])?);
        step();
    }
    let runs = Runs {
        bit_exact,
        timings,
        pessimistic: Vec::new(),
        stack: session.stack()?,
        // A processor's own counter needs no model.
        cycles_missing: match runner.measured_by() {
            MeasuredBy::Emulator => cycles_missing(compiled.board.core.kind),
            MeasuredBy::Probe | MeasuredBy::Replay => None,
        },
    };
    Ok(BenchReport {
        measured_by: runner.measured_by(),
        emulator_model: runner.emulator_model(),
        timing: runner.timing(),
        ..report(compiled, inputs.source, &accuracies, runs)
    })
}

/// The report of an emulated measurement.
fn report(compiled: &Compiled, inputs: String, accuracies: &Accuracies, runs: Runs) -> BenchReport {
    let program = &compiled.program;
    let core = compiled.board.core.kind;
    BenchReport {
        schema_version: SCHEMA_VERSION,
        nestc_version: NESTC_VERSION.into(),
        model: program.name.clone(),
        target: compiled.board.name.clone(),
        clock_hz: compiled.board.clock.core_hz,
        measured_by: MeasuredBy::Emulator,
        emulator_model: (core.has_cycle_model()).then(|| EMULATOR_MODEL.into()),
        cycles_missing: runs.cycles_missing.clone(),
        timing: None,
        head: compiled.head.as_ref().map(Head::to_string),
        inputs,
        flash_bytes: image::flash_bytes(program, &compiled.image),
        ram_bytes: image::ram_bytes(program, runs.stack),
        bit_exact: runs.bit_exact,
        levels: (runs.timings.iter().enumerate())
            .map(|(level, timing)| {
                let level = Level::from_index(level);
                let pessimistic = runs.pessimistic.get(level.index());
                let counted = runs.cycles_missing.is_none();
                level_report(compiled, level, timing, pessimistic, accuracies, counted)
            })
            .collect(),
        kernels: LayerKernels::of(&program.steps),
    }
}

/// Why there are no cycles for a core, if there are none.
pub fn cycles_missing(core: CoreKind) -> Option<String> {
    (!core.has_cycle_model()).then(|| format!("no cycle model for {}", core.name()))
}

/// Whether device and host agree.
///
/// # Errors
/// `E753`, which names the first layer that differs.
pub fn verdict(report: &BenchReport) -> Result<(), Diagnostic> {
    let exact = &report.bit_exact;
    let Some(at) = &exact.first_mismatch else {
        return Ok(());
    };
    Err(Diagnostic::new(
        NOT_BIT_EXACT,
        format!("layer {}", at.layer),
        format!(
            "{} of {} runs differ from the host; first at input {}, level {}: the layer's output has checksum {:#010x} on the device and {:#010x} on the host",
            exact.mismatches,
            exact.inputs * report.levels.len() as u64,
            at.input,
            at.level,
            at.device_checksum,
            at.host_checksum
        ),
        format!(
            "kernel {} computes something else there: please report it with the model",
            at.kernel
        ),
    ))
}

/// Compares each input's results at a level with the host's; `step` hears of each that is done.
fn verify(
    compiled: &Compiled,
    session: &mut Session<'_>,
    level: Level,
    inputs: &[Vec<i8>],
    step: &mut dyn FnMut(),
) -> Result<BitExact, Diagnostic> {
    let mut host = Host {
        executor: Executor::new(&compiled.program),
        decoder: compiled.decoder.clone(),
    };
    let mut exact = BitExact {
        inputs: inputs.len() as u64,
        ..BitExact::default()
    };
    for (index, input) in inputs.iter().enumerate() {
        if let Some(mut mismatch) = compare(&mut host, session, level, input)? {
            mismatch.input = index as u64;
            exact.mismatches += 1;
            exact.first_mismatch.get_or_insert(mismatch);
        }
        step();
    }
    Ok(exact)
}

/// Adds what another level gave on the same inputs.
fn join(all: &mut BitExact, level: BitExact) {
    all.inputs = level.inputs;
    all.mismatches += level.mismatches;
    all.first_mismatch = all.first_mismatch.take().or(level.first_mismatch);
}

/// What the device is compared with.
struct Host<'a> {
    executor: Executor<'a>,
    decoder: Option<Decoder>,
}

/// The layer that boxes are decoded in, and its kernel, as reports name them.
const BOXES: (&str, &str) = ("boxes", "nest_detect");

/// The words of boxes as a device has them: in pixels of the input.
fn box_words(found: &[Detection], [width, height]: [f32; 2]) -> Vec<u32> {
    (found.iter())
        .flat_map(|d| {
            let b = d.bbox.scaled(width, height);
            let sides = [b.left, b.top, b.right, b.bottom].map(f32::to_bits);
            [[d.score.to_bits(), d.class].as_slice(), &sides].concat()
        })
        .collect()
}

/// The first layer whose output differs, if any.
fn compare(
    host: &mut Host<'_>,
    session: &mut Session<'_>,
    level: Level,
    input: &[i8],
) -> Result<Option<Mismatch>, Diagnostic> {
    let device = session.verify(level, input)?;
    let executor = &mut host.executor;
    let program = executor.program();
    let decoder = &mut host.decoder;
    let mut host = Vec::with_capacity(program.steps.len());
    executor.run_with(level, input, &mut |step| host.push(step.checksum()));
    let outputs: Vec<i8> = (0..program.outputs.len())
        .flat_map(|k| executor.output(k).to_vec())
        .collect();
    let at = (host.iter().zip(&device.checksums))
        .position(|(host, device)| host != device)
        // Layers agree and what the host reads does not: the last one's output was lost on its way.
        .or_else(|| (outputs != device.output).then(|| host.len() - 1));
    if let (None, Some(decoder)) = (at, decoder) {
        let shape = program.tensors[program.input].shape;
        let found = decoder.detect_after(executor, level);
        let expected = box_words(found, [shape.w as f32, shape.h as f32]);
        return Ok((expected != device.boxes).then(|| {
            let checksum = |words: &[u32]| {
                let bytes = words.iter().flat_map(|w| w.to_le_bytes());
                nest_format::checksum(&bytes.map(|b| b as i8).collect::<Vec<_>>())
            };
            Mismatch {
                input: 0,
                level: level.index(),
                layer: BOXES.0.into(),
                kernel: BOXES.1.into(),
                host_checksum: checksum(&expected),
                device_checksum: checksum(&device.boxes),
            }
        }));
    }
    Ok(at.map(|at| {
        let step = &program.steps.as_slice()[at];
        Mismatch {
            input: 0,
            level: level.index(),
            layer: step.name.clone(),
            kernel: step.kernel.into(),
            host_checksum: host[at],
            device_checksum: device.checksums[at],
        }
    }))
}

/// Inputs to run, at least one, and the host's accuracy if they have labels.
fn inputs(program: &Program, options: &BenchOptions) -> Result<(Inputs, Accuracies)> {
    let tensor = &program.tensors[program.input];
    let needed = options.verify.max(1);
    let Some(spec) = &options.data else {
        let mut state = options.seed.max(1);
        let items = (0..needed)
            .map(|_| {
                (0..tensor.shape.len())
                    .map(|_| random(&mut state))
                    .collect()
            })
            .collect();
        return Ok((
            Inputs {
                items,
                source: format!("random, seed {}", options.seed),
            },
            None,
        ));
    };
    let mut spec = spec.clone();
    if spec.limit.is_none() {
        spec.limit = Some(options.accuracy_images.max(needed));
    }
    let dataset = spec.load(program.preprocessing.as_ref())?;
    let place = spec.to_string();
    dataset.expect_shape(&place, tensor.shape)?;
    if dataset.len() < needed {
        return Err(Diagnostic::new(
            BENCH_INPUTS,
            place,
            format!(
                "--verify asks for {needed} inputs, and the data hold {}",
                dataset.len()
            ),
            format!("ask for at most {}, or give more data", dataset.len()),
        )
        .into());
    }
    let mut image = vec![0.0; tensor.shape.len()];
    let items = (0..needed)
        .map(|index| {
            dataset.input(index, &mut image);
            quantise_input(&image, tensor.shape, tensor.quant[0])
        })
        .collect();
    let accuracies = if dataset.labels.is_some() {
        let all = evaluate_int8(program, &dataset, &|_| {})?;
        Some((all.iter().map(|a| a.top1()).collect(), dataset.len() as u64))
    } else {
        None
    };
    Ok((
        Inputs {
            items,
            source: place,
        },
        accuracies,
    ))
}

/// The next byte of a xorshift generator (G. Marsaglia, 2003).
fn random(state: &mut u64) -> i8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as i8
}

fn level_report(
    compiled: &Compiled,
    level: Level,
    timing: &Timing,
    pessimistic: Option<&Timing>,
    accuracies: &Accuracies,
    counted: bool,
) -> BenchLevel {
    let program = &compiled.program;
    let index = level.index();
    let run = timing.median_run();
    let cautious = pessimistic.map(|timing| &timing.cycles[timing.median_run()]);
    let layers: Vec<BenchLayer> = (program.steps.iter().enumerate())
        .map(|(layer, step)| BenchLayer {
            name: step.name.clone(),
            op: step.op.into(),
            kernel: step.kernel.into(),
            cycles: counted.then(|| timing.cycles[run][layer]),
            cycles_pessimistic: cautious.map(|cycles| cycles[layer]),
            instructions: timing.instructions[run]
                .get(layer)
                .copied()
                .unwrap_or_default(),
            macs: step.macs,
            effective_macs: step.effective_macs[index],
            estimated_cycles: (step.estimated_cycles.get(index).copied()).unwrap_or_default(),
        })
        .collect();
    let boxes = timing.boxes.as_ref().map(|boxes| BenchBoxes {
        found: boxes.found,
        cycles: counted.then(|| boxes.cycles[run]),
        cycles_pessimistic: pessimistic.and_then(|timing| {
            let boxes = timing.boxes.as_ref()?;
            Some(boxes.cycles[timing.median_run()])
        }),
        instructions: boxes.instructions[run],
    });
    let cycles: Cycles = timing.cycles[run].iter().copied().sum();
    BenchLevel {
        level: index,
        sparsity: program.sparsities[index],
        nonzero_weights: image::nonzero_weights(program, index),
        macs: program.steps.iter().map(|step| step.macs).sum(),
        effective_macs: image::effective_macs(program, index),
        accuracy_top1: accuracies.as_ref().map(|(top1, _)| top1[index]),
        accuracy_images: accuracies.as_ref().map_or(0, |(_, images)| *images),
        cycles: counted.then_some(cycles),
        cycles_pessimistic: cautious.map(|cycles| cycles.iter().copied().sum()),
        cold_cycles: counted.then(|| timing.cycles[0].iter().copied().sum()),
        instructions: layers.iter().map(|l| l.instructions).sum(),
        latency_ms: counted.then(|| cycles.milliseconds_at(compiled.board.clock.core_hz)),
        layers,
        boxes,
    }
}

/// Little-endian words.
fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
        .collect()
}

/// Bytes of the image's stack.
fn stack_bytes(word: u32) -> Bytes {
    Bytes(u64::from(word))
}
