//! What the command line accepts. Every verb's help ends in an example.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::fail_if::Condition;
use super::study_args::StudyArgs;
use super::train_args::TrainArgs;
use crate::bench::probe::Selector;
use crate::data::DataSpec;
use crate::detect::Head;
use crate::passes::Forced;

/// Compiles pretrained ONNX ConvNets into nested-sparse int8 firmware for Cortex-M7.
#[derive(Debug, Parser)]
#[command(
    name = "nestc",
    version,
    after_help = "Exit codes:\n  0  done\n  1  a stated check failed (--fail-if, bit-exactness)\n  2  wrong use or input\n  3  the surroundings failed (disk, toolchain, probe)\n\nExample:\n  nestc train net.onnx --data cifar10:data/cifar10 --levels 90,80,50 -o net.nest.onnx\n  nestc compile net.nest.onnx --target stm32h743 -o firmware\n  nestc bench firmware"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Print the result as one JSON document on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say what in a model is not supported and whether it fits a board, all findings at once.
    Check(CheckArgs),
    /// Prune a pretrained network to nested levels and fine-tune them together.
    Train(TrainArgs),
    /// Measure the accuracy, or the average precision of detections, of every level.
    Eval(EvalArgs),
    /// Write one level as an ordinary ONNX file.
    Export(ExportArgs),
    /// Quantise a network and emit, build and inspect its firmware.
    Compile(CompileArgs),
    /// Run compiled firmware and report cycles, time and bit-exactness.
    Bench(BenchArgs),
    /// Compare nested training with separate models, dynamic pruning and width scaling.
    Study(StudyArgs),
    /// Find the cycle model's constants from what a board measured.
    Calibrate(CalibrateArgs),
    /// List the debug probes on this computer.
    #[command(
        after_help = "Example:\n  nestc probes\n  nestc bench firmware --on probe --probe 0483:374e"
    )]
    Probes,
    /// List the boards.
    #[command(after_help = "Example:\n  nestc targets")]
    Targets,
    /// List the kernels that firmware is built from.
    #[command(after_help = "Example:\n  nestc kernels")]
    Kernels,
    /// Explain a diagnostic code, or list all of them.
    Explain(ExplainArgs),
    /// Print a completion script for a shell.
    #[command(
        after_help = "Example:\n  nestc completions bash > ~/.local/share/bash-completion/completions/nestc"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// `nestc check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs no data and no training: activations get estimated ranges, and --levels cuts the least weights.\nCycles are estimates of the cost model. A network that does not fit gives exit code 2; with --target all,\none that fits no board does.\n\nExample:\n  nestc check net.onnx --target stm32h743 --levels 95,90,80\n  nestc check net.onnx --target all"
)]
pub struct CheckArgs {
    /// An ONNX file or a `.nest.onnx`.
    pub model: PathBuf,
    /// The board whose limits to check (see `nestc targets`), or `all`.
    #[arg(long, value_name = "BOARD")]
    pub target: Option<CheckTarget>,
    /// Sparsities in percent that a plain network is to be cut to, in any order; 0 is the dense
    /// network.
    #[arg(long, value_name = "LIST", allow_negative_numbers = true, value_parser = levels)]
    pub levels: Option<Levels>,
}

/// Boards to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckTarget {
    /// Every board.
    All,
    /// One, by its name.
    Board(String),
}

impl std::str::FromStr for CheckTarget {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "all" => Self::All,
            name => Self::Board(name.to_owned()),
        })
    }
}

/// The arithmetic of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32-bit floats.
    Float,
    /// int8, as the device computes it.
    Int8,
}

/// `nestc eval`.
#[derive(Debug, Args)]
#[command(
    after_help = "Average precision follows the rule of PASCAL VOC (all points, an overlap of 0.5 suffices).\n\nExample:\n  nestc eval net.nest.onnx --data cifar10:data/cifar10 --precision int8\n  nestc eval detector.onnx --data voc:data/people,resize=160,scale=0.00392157,order=bgr --head fastestdet"
)]
pub struct EvalArgs {
    /// An ONNX file or a `.nest.onnx`.
    pub model: PathBuf,
    /// Test images: kind:path[,key=value…]; `split=test` unless the specification chooses.
    #[arg(long, value_name = "SPEC")]
    pub data: DataSpec,
    /// What a detection network's outputs mean: fastestdet, ultraface, ssd or yolo, with
    /// [,key=value…] (default: what the model was trained with).
    #[arg(long, value_name = "HEAD")]
    pub head: Option<Head>,
    /// The arithmetic.
    #[arg(long, value_enum, default_value_t = Precision::Float)]
    pub precision: Precision,
    /// Images that set the int8 ranges (default: those the model was trained
    /// on, else the `split=train` of --data).
    #[arg(long, value_name = "SPEC")]
    pub calibrate: Option<DataSpec>,
    /// Threads (default: all cores).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
}

/// `nestc export`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nestc export net.nest.onnx --level 0 -o net-sparsest.onnx")]
pub struct ExportArgs {
    /// A `.nest.onnx`.
    pub model: PathBuf,
    /// The level: 0 is the sparsest.
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub level: usize,
    /// The ONNX file to write.
    #[arg(short, long, value_name = "PLAIN.onnx")]
    pub output: PathBuf,
}

/// Shapes of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BlockArg {
    /// One output channel, four input channels.
    #[value(name = "1x4")]
    OneByFour,
}

/// What kernels are chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectiveArg {
    /// The fewest cycles.
    Latency,
    /// The least flash.
    Flash,
}

/// `nestc compile`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nestc compile net.nest.onnx --target stm32h743 --calibrate cifar10:data/cifar10 -o firmware\n  nestc compile net.nest.onnx --target stm32h743 --optimise flash --explain-kernels -o firmware\n  nestc compile net.nest.onnx --target stm32h743 --kernel conv1=conv2d_s8_generic__armv7em -o firmware\n  nestc compile detector.onnx --target stm32h743 --calibrate folder:pictures --head fastestdet,score=0.4 -o firmware"
)]
pub struct CompileArgs {
    /// An ONNX file or a `.nest.onnx`.
    pub model: PathBuf,
    /// The board (see `nestc targets`).
    #[arg(long, value_name = "BOARD")]
    pub target: String,
    /// Images that set the int8 ranges (default: those the model was trained on).
    #[arg(long, value_name = "SPEC")]
    pub calibrate: Option<DataSpec>,
    /// What a detection network's outputs mean (default: what the model was trained with): the
    /// firmware's module `detect` then makes boxes of them.
    #[arg(long, value_name = "HEAD")]
    pub head: Option<Head>,
    /// The most flash the model may take, for example 512K (default: the board's).
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub flash_budget: Option<u64>,
    /// The most RAM an inference may take, its stack included, for example 128K (default: the board's).
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub ram_budget: Option<u64>,
    /// Keep all activations in one block, even where the fast memory could take a part of them.
    #[arg(long)]
    pub one_arena: bool,
    /// Run the first layers in stripes of rows, whose halos are computed twice: where the arena would
    /// not fit otherwise (auto), in so many stripes, or never (off).
    #[arg(long, value_name = "auto|N|off", default_value = "auto", value_parser = patches)]
    pub patches: PatchesArg,
    /// What to choose kernels for: the fewest cycles on average over the levels, or the least flash
    /// at no more than 1.5 times the fewest cycles.
    #[arg(long, value_enum, default_value_t = ObjectiveArg::Latency)]
    pub optimise: ObjectiveArg,
    /// Store weights in blocks of four input channels wherever a kernel takes them: best for
    /// weights that were pruned so.
    #[arg(long, value_enum)]
    pub block: Option<BlockArg>,
    /// Use this kernel instead, for one layer or wherever it can run; may be given more than once
    /// (see `nestc kernels`).
    #[arg(long, value_name = "[LAYER=]KERNEL")]
    pub kernel: Vec<Forced>,
    /// Print which kernels can run each layer, what each would cost, and why others cannot.
    #[arg(long)]
    pub explain_kernels: bool,
    /// Print how closely each layer follows its float form, as signal to noise in dB at every level,
    /// and which adds most noise.
    #[arg(long)]
    pub explain_quantisation: bool,
    /// Print where every tensor and every kernel's scratch lies in the arena, and when.
    #[arg(long)]
    pub explain_memory: bool,
    /// Write a page with the plan of memory as a picture, for a browser. Example: --report plan.html
    #[arg(long, value_name = "PAGE.html")]
    pub report: Option<PathBuf>,
    /// Stop after this pass and emit nothing.
    #[arg(long, value_name = "PASS")]
    pub stop_after: Option<String>,
    /// Print the text form of what this pass gives.
    #[arg(long, value_name = "PASS")]
    pub dump_after: Option<String>,
    /// The folder to write the firmware workspace to.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// What runs the firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunnerArg {
    /// The built-in cycle model of the Cortex-M7.
    Emulator,
    /// A board on a debug probe, through probe-rs.
    Probe,
    /// A session with a board that was recorded in this file.
    Replay(PathBuf),
}

/// `emulator`, `probe` or `replay:FILE`.
fn runner(text: &str) -> Result<RunnerArg, String> {
    match text.split_once(':') {
        None if text == "emulator" => Ok(RunnerArg::Emulator),
        None if text == "probe" => Ok(RunnerArg::Probe),
        Some(("replay", file)) if !file.is_empty() => Ok(RunnerArg::Replay(file.into())),
        _ => Err("give emulator, probe or replay:FILE".into()),
    }
}

/// Seconds, fractions included, up to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    (text.parse::<f64>().ok())
        .filter(|s| (0.001..=86_400.0).contains(s))
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| "give a number of seconds from 0.001 to 86400".into())
}

/// `nestc bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "Conditions:\n  METRIC[level=N] OP NUMBER, where METRIC is cycles, cycles_pessimistic, latency_ms, accuracy,\n  flash or ram, OP is one of < <= > >= == !=, and NUMBER may end in k, M or %.\n  Without [level=N], all but flash and ram are tried at every level.\n\nCycles:\n  Those of the whole network, all layers included, at each level the median of three inferences\n  of which the first begins with cold caches. The emulator measures in two settings side by side:\n  expected (or what --timing gives) and pessimistic, with everything that the cycle model assumes\n  at its unfavourable end.\n\nExample:\n  nestc bench firmware --verify 8 --fail-if 'cycles[level=0] > 5.5M' --fail-if 'ram > 128k'\n  nestc bench firmware --on probe --verify 8"
)]
pub struct BenchArgs {
    /// A folder that `nestc compile` wrote.
    pub dir: PathBuf,
    /// Where to run: in the emulator, on a board on a debug probe, or as a recorded session went.
    #[arg(long, value_name = "emulator|probe|replay:FILE", default_value = "emulator", value_parser = runner)]
    pub on: RunnerArg,
    /// With --on probe, the chip's name in probe-rs (default: the board's).
    #[arg(long, value_name = "NAME")]
    pub chip: Option<String>,
    /// With --on probe, which debug probe if there are several (see `nestc probes`).
    #[arg(long, value_name = "VID:PID[:SERIAL]")]
    pub probe: Option<Selector>,
    /// With --on probe, the wire's speed (default: the probe's own).
    #[arg(long, value_name = "KHZ", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub speed: Option<u32>,
    /// With --on probe, how long the board may take for one command (default: 30).
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// With --on probe, write all that passes between nestc and the board, to be played with
    /// --on replay:FILE.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Inputs whose results are compared bit by bit with the host's, at every level.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub verify: u32,
    /// Images for the runs and the accuracy (default: those the model was trained on).
    #[arg(long, value_name = "SPEC")]
    pub data: Option<DataSpec>,
    /// The emulator's timing: expected, pessimistic, or a file that `nestc calibrate` wrote.
    #[arg(long, value_name = "NAME|FILE", default_value = "expected")]
    pub timing: String,
    /// Exit with 1 if this holds; may be given more than once.
    #[arg(long, value_name = "EXPR")]
    pub fail_if: Vec<Condition>,
}

/// `nestc calibrate`.
#[derive(Debug, Args)]
#[command(
    after_help = "The firmware is tests/calibrate of nestc's repository; `make calibrate` there builds it, runs it\non an STM32H743 through probe-rs and calls this verb with what the board printed.\n\nExample:\n  nestc calibrate calibrate.elf --log board.log -o timing.toml\n  nestc bench firmware --timing timing.toml"
)]
pub struct CalibrateArgs {
    /// The calibration firmware, an ELF file.
    pub firmware: PathBuf,
    /// What it printed on the board (default: the emulator stands in for the board, a rehearsal).
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The emulator's timing in a rehearsal: expected, pessimistic, or a timing file.
    #[arg(
        long,
        value_name = "NAME|FILE",
        default_value = "expected",
        conflicts_with = "log"
    )]
    pub timing: String,
    /// The timing file to write.
    #[arg(short, long, value_name = "TIMING.toml")]
    pub output: PathBuf,
}

/// `nestc explain`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nestc explain E301\n  nestc explain")]
pub struct ExplainArgs {
    /// A code such as E301; all codes are listed without one.
    pub code: Option<String>,
}

/// Sparsities as fractions, sparsest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels(pub Vec<f64>);

/// `90,70,50` in any order.
pub fn levels(text: &str) -> Result<Levels, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let percent: f64 = part
            .trim()
            .parse()
            .map_err(|_| format!("`{part}` is not a number; give percentages such as 90,70,50"))?;
        if !(0.0..100.0).contains(&percent) {
            return Err(format!("{part} is not in 0 to below 100"));
        }
        all.push(percent / 100.0);
    }
    all.sort_by(|a: &f64, b| b.total_cmp(a));
    if let Some(twice) = all.windows(2).find(|p| p[0] == p[1]) {
        return Err(format!("{} is given twice", twice[0] * 100.0));
    }
    const MOST: usize = 16;
    if all.len() > MOST {
        return Err(format!(
            "{} levels are given, and {MOST} are the most",
            all.len()
        ));
    }
    Ok(Levels(all))
}

/// What `--patches` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchesArg {
    /// Where it is needed.
    Auto,
    /// Never.
    Off,
    /// In so many stripes.
    Stripes(usize),
}

/// `auto`, `off`, or a number of stripes.
fn patches(text: &str) -> Result<PatchesArg, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(PatchesArg::Auto),
        ("off", _) => Ok(PatchesArg::Off),
        (_, Ok(stripes @ 2..=64)) => Ok(PatchesArg::Stripes(stripes)),
        _ => Err("give auto, off or a number of stripes from 2 to 64".into()),
    }
}

/// A positive number.
pub fn learning_rate(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
        _ => Err("give a positive number, for example 0.05".into()),
    }
}

/// A size with an optional suffix: `K`, `KB` and `KiB` are 1024 bytes, `M…` 1024 of those.
fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        _ => 0,
    };
    digits
        .trim()
        .parse::<u64>()
        .ok()
        .filter(|_| factor > 0)
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| "give a whole number of bytes, or one with K or M".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example() {
        for verb in Cli::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string);
            let example = format!("  nestc {}", verb.get_name());
            assert!(
                help.is_some_and(|h| h.contains("Example:\n") && h.contains(&example)),
                "{}",
                verb.get_name()
            );
        }
    }

    #[test]
    fn levels_are_sorted_sparsest_first() {
        assert_eq!(levels("50,90,0"), Ok(Levels(vec![0.9, 0.5, 0.0])));
        for bad in ["", "90,", "100", "-1", "x", "nan", "50,50", "50.0,50"] {
            assert!(levels(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn runners_and_times_are_read() {
        assert_eq!(runner("emulator"), Ok(RunnerArg::Emulator));
        assert_eq!(runner("probe"), Ok(RunnerArg::Probe));
        assert_eq!(runner("replay:a:b"), Ok(RunnerArg::Replay("a:b".into())));
        for bad in ["", "board", "replay", "replay:", "probe:0483:374e"] {
            assert!(runner(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "0", "-1", "nan", "inf", "1e9", "5s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_take_suffixes() {
        assert_eq!(bytes("123"), Ok(123));
        assert_eq!(bytes("512K"), Ok(512 << 10));
        assert_eq!(bytes("2 MiB"), Ok(2 << 20));
        for bad in [
            "",
            "K",
            "-1",
            "1.5M",
            "3G",
            "99999999999999999999",
            "18446744073709551615K",
        ] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
