//! The emulator's clock against programs by others whose times on Cortex-M7 silicon are published.
//!
//! `make anchors` runs this. It needs arm-none-eabi-gcc, git, and the sources, of which nothing is
//! part of this repository: checkouts named by `NESTC_CMSIS_NN` and `NESTC_SLOTHY` (any clone that
//! holds the commits below), or a network from which to clone them into `target/anchors`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nestc::emulator::{EMULATOR_MODEL, Machine, MemoryMap, Stop, TimingConfig};
use nestc::units::Instructions;

/// A repository and how to find it.
struct Repository {
    variable: &'static str,
    folder: &'static str,
    url: &'static str,
}

const CMSIS_NN: Repository = Repository {
    variable: "NESTC_CMSIS_NN",
    folder: "cmsis-nn",
    url: "https://github.com/ARM-software/CMSIS-NN",
};
const SLOTHY: Repository = Repository {
    variable: "NESTC_SLOTHY",
    folder: "slothy",
    url: "https://github.com/slothy-optimizer/slothy",
};

/// The last commit of CMSIS-NN with the functions of its first release.
const CMSIS_NN_LEGACY: &str = "011bf3228a64cd70ba6bfac91ac6840a88b829ee^";
/// CMSIS-NN of July 2026.
const CMSIS_NN_NOW: &str = "99f736a6";
/// SLOTHY of July 2026.
const SLOTHY_NOW: &str = "ede5131d40cf468b25b178fe053725a0863c18fb";

/// A program: its sources from a repository, and one of `harness`.
struct Program {
    name: &'static str,
    harness: &'static str,
    repository: &'static Repository,
    commit: &'static str,
    /// Files, and folders of which those for int8 are taken.
    sources: &'static [&'static str],
    include: &'static [&'static str],
}

/// A check against a published figure.
struct Anchor {
    what: &'static str,
    published: f64,
    unit: &'static str,
    source: &'static str,
    /// Relative to the published figure.
    tolerance: f64,
    ours: f64,
}

fn harness(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/anchors/harness")
        .join(file)
}

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/anchors")
        .join(name);
    fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    folder
}

/// Runs a command and gives what it prints; `missing` says what to do where it is not installed.
fn run(command: &mut Command, missing: &str) -> Vec<u8> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {name}: {e}\n{missing}"));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A clone that holds the repository.
fn repository(of: &Repository) -> PathBuf {
    if let Some(folder) = std::env::var_os(of.variable) {
        return folder.into();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/anchors")
        .join(of.folder);
    if !folder.join("HEAD").is_file() {
        let remedy = format!(
            "set {} to a clone of {}, or let this machine reach it",
            of.variable, of.url
        );
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet", "--bare", "--filter=blob:none", of.url]);
        let output = clone.arg(&folder).output();
        let cloned = output.is_ok_and(|output| output.status.success());
        assert!(cloned, "{} cannot be cloned\n{remedy}", of.url);
    }
    folder
}

/// The files of a commit below `paths`, written into a folder of their own.
fn checkout(of: &Repository, commit: &str, paths: &[&str], name: &str) -> PathBuf {
    let folder = scratch(&format!("{name}-sources"));
    let archive = folder.join("files.tar");
    let mut git = Command::new("git");
    git.arg("-C").arg(repository(of)).args(["archive", commit]);
    let bytes = run(git.args(paths), "install git");
    fs::write(&archive, bytes).unwrap_or_else(|e| panic!("{e}"));
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&archive).arg("-C").arg(&folder);
    run(&mut tar, "install tar");
    folder
}

/// Compiles a program and gives what it measured, in order, with this timing.
fn measure(program: &Program, timing: &TimingConfig) -> Vec<(String, u64)> {
    let mut paths = program.sources.to_vec();
    paths.extend(program.include);
    let sources = checkout(program.repository, program.commit, &paths, program.name);
    let elf = scratch("programs").join(program.name);
    let mut gcc = Command::new("arm-none-eabi-gcc");
    gcc.args([
        "-mcpu=cortex-m7",
        "-mthumb",
        "-mfpu=fpv5-sp-d16",
        "-mfloat-abi=hard",
    ])
    .args([
        "-O3",
        "-ffunction-sections",
        "-fdata-sections",
        "-nostartfiles",
    ])
    .args([
        "-Wl,--gc-sections",
        "-Wl,--no-warn-rwx-segments",
        "--specs=nano.specs",
    ])
    .arg("-I")
    .arg(harness(""))
    .arg("-T")
    .arg(harness("board.ld"))
    .arg(harness("board.c"))
    .arg(harness(program.harness));
    for folder in program.include {
        gcc.arg("-I").arg(sources.join(folder));
    }
    if program.harness == "keccak.c" {
        // Continues lines with backslashes, which the assembler alone does not know.
        gcc.args(["-x", "assembler-with-cpp"]);
    }
    for source in program.sources {
        let path = sources.join(source);
        if path.is_dir() {
            let mut files: Vec<PathBuf> = fs::read_dir(&path)
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
                .map(|entry| entry.unwrap_or_else(|e| panic!("{e}")).path())
                .filter(|file| {
                    let name = file.file_name().unwrap_or_default().to_string_lossy();
                    name.ends_with(".c") && (name.contains("s8") || name.contains("q7"))
                })
                .collect();
            files.sort();
            gcc.args(files);
        } else {
            gcc.arg(path);
        }
    }
    gcc.arg("-o").arg(&elf);
    run(
        &mut gcc,
        "install the compiler (Debian: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi)",
    );
    let bytes = fs::read(&elf).unwrap_or_else(|e| panic!("{e}"));
    let mut machine = Machine::new(MemoryMap::stm32h743(), timing.clone());
    machine.load_elf(&bytes).unwrap_or_else(|e| panic!("{e}"));
    let stop = machine.run(Instructions(1_000_000_000));
    assert_eq!(stop, Ok(Stop::Exited(0)), "{}", program.name);
    String::from_utf8_lossy(machine.console())
        .lines()
        .map(|line| {
            let (name, cycles) = line.split_once(' ').expect("name and cycles");
            (name.to_string(), cycles.parse().expect("a number"))
        })
        .collect()
}

const NTT: Program = Program {
    name: "ntt",
    harness: "ntt.c",
    repository: &SLOTHY,
    commit: SLOTHY_NOW,
    sources: &[
        "examples/naive/armv7m/kyber/ntt_kyber.s",
        "examples/opt/armv7m/kyber/ntt_kyber_opt_m7.s",
    ],
    include: &[],
};

const KECCAK: Program = Program {
    name: "keccak",
    harness: "keccak.c",
    repository: &SLOTHY,
    commit: SLOTHY_NOW,
    sources: &[
        "examples/naive/armv7m/keccak/keccakf1600_adomnicai_m4.s",
        "examples/naive/armv7m/keccak/keccakf1600_adomnicai_m7.s",
        "examples/opt/armv7m/keccak/keccakf1600_adomnicai_m7_opt_m7.s",
    ],
    include: &[],
};

const CIFAR: Program = Program {
    name: "cifar2018",
    harness: "cifar2018.c",
    repository: &CMSIS_NN,
    commit: CMSIS_NN_LEGACY,
    sources: &[
        "Source/ConvolutionFunctions/arm_convolve_HWC_q7_RGB.c",
        "Source/ConvolutionFunctions/arm_convolve_HWC_q7_fast.c",
        "Source/ConvolutionFunctions/arm_nn_mat_mult_kernel_q7_q15.c",
        "Source/ConvolutionFunctions/arm_nn_mat_mult_kernel_q7_q15_reordered.c",
        "Source/NNSupportFunctions/arm_q7_to_q15_reordered_no_shift.c",
    ],
    include: &["Include"],
};

const LAYERS: Program = Program {
    name: "layers",
    harness: "layers.c",
    repository: &CMSIS_NN,
    commit: CMSIS_NN_NOW,
    sources: &[
        "Source/ConvolutionFunctions",
        "Source/NNSupportFunctions",
        "Source/BasicMathFunctions",
    ],
    include: &["Include"],
};

#[test]
#[ignore = "needs arm-none-eabi-gcc and sources by others: make anchors"]
fn published_programs_take_their_published_time() {
    let expected = TimingConfig::expected();
    let mut anchors = Vec::new();
    let ntt = measure(&NTT, &expected);
    anchors.push(Anchor {
        what: "ML-KEM NTT, Cortex-M4 code / the same scheduled for the M7",
        published: 1.69,
        unit: "x",
        source: "ePrint 2025/366, STM32F767",
        tolerance: 0.03,
        ours: ntt[0].1 as f64 / ntt[1].1 as f64,
    });
    // The paper gives both factors for one code; that it is this file is our reading.
    let keccak = measure(&KECCAK, &expected);
    let [m4, m7, scheduled] = [0, 1, 2].map(|k| keccak[k].1 as f64);
    for (what, published, ours) in [
        (
            "Keccak-f[1600], code by hand for the M7 / the same scheduled by SLOTHY",
            1.05,
            m7 / scheduled,
        ),
        (
            "Keccak-f[1600], code for the M4 / code for the M7 scheduled by SLOTHY",
            1.30,
            m4 / scheduled,
        ),
    ] {
        anchors.push(Anchor {
            what,
            published,
            unit: "x",
            source: "ePrint 2025/366, STM32F767",
            tolerance: 0.06,
            ours,
        });
    }
    // The F746's flash is not the H743's; a fill from its 216 MHz bus costs about one from AXI SRAM.
    let cifar = measure(&CIFAR, &expected);
    for ((name, cycles), (what, macs, milliseconds)) in cifar.iter().zip([
        (
            "CMSIS-NN 2018 CIFAR-10, conv1 (3 to 32 channels, 32x32)",
            2_457_600.0,
            31.4,
        ),
        (
            "CMSIS-NN 2018 CIFAR-10, conv3 (32 to 32 channels, 16x16)",
            6_553_600.0,
            42.8,
        ),
        (
            "CMSIS-NN 2018 CIFAR-10, conv5 (32 to 64 channels, 8x8)",
            3_276_800.0,
            22.6,
        ),
    ]) {
        assert!(what.contains(name.as_str()), "{name}");
        anchors.push(Anchor {
            what,
            published: milliseconds * 216e3 / macs,
            unit: "cycles a MAC",
            source: "arXiv:1801.06601 table 1, STM32F746 at 216 MHz",
            tolerance: 0.10,
            ours: *cycles as f64 / macs,
        });
    }

    let mut table = String::from(
        "| anchor | published | emulator | difference | tolerance | source |\n|---|--:|--:|--:|--:|---|\n",
    );
    let mut faults = Vec::new();
    for a in &anchors {
        let difference = a.ours / a.published - 1.0;
        // Writing into a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {:.2} {} | {:.2} | {:+.1} % | {:.0} % | {} |",
            a.what,
            a.published,
            a.unit,
            a.ours,
            100.0 * difference,
            100.0 * a.tolerance,
            a.source
        );
        if difference.abs() > a.tolerance {
            faults.push(format!("{}: {:.3}", a.what, a.ours));
        }
    }
    println!("Emulator model {EMULATOR_MODEL}, setting expected.\n\n{table}");
    println!("{}", todays_layers());
    assert!(
        faults.is_empty(),
        "beyond tolerance:\n{}",
        faults.join("\n")
    );
}

/// Layers of today's CMSIS-NN in both settings: no published figures, but those to beat.
fn todays_layers() -> String {
    let [expected, pessimistic] = [TimingConfig::expected(), TimingConfig::pessimistic()]
        .map(|timing| measure(&LAYERS, &timing));
    let units = [
        (
            "conv3x3_32_64_16",
            "3x3, 32 to 64 channels, 16x16",
            4_718_592.0,
        ),
        (
            "conv3x3_16_16_32",
            "3x3, 16 to 16 channels, 32x32",
            2_359_296.0,
        ),
        ("conv3x3_3_16_32", "3x3, 3 to 16 channels, 32x32", 442_368.0),
        (
            "conv1x1_64_64_16",
            "1x1, 64 to 64 channels, 16x16",
            1_048_576.0,
        ),
        (
            "depthwise3x3_64_16",
            "depthwise 3x3, 64 channels, 16x16",
            147_456.0,
        ),
        ("depthwise3x3_64_16_s2", "the same, stride 2", 36_864.0),
        ("add_16384", "residual add (an element)", 16_384.0),
    ];
    let mut table = format!(
        "CMSIS-NN {CMSIS_NN_NOW}, gcc -O3, weights in AXI SRAM, activations in DTCM:\n\n\
         | layer | cycles expected | pessimistic | a MAC | a MAC pessimistic |\n|---|--:|--:|--:|--:|\n"
    );
    for (name, what, macs) in units {
        let of = |all: &[(String, u64)]| {
            let found = all.iter().find(|(known, _)| known == name);
            found.unwrap_or_else(|| panic!("{name} was not measured")).1
        };
        let (expected, pessimistic) = (of(&expected), of(&pessimistic));
        // Writing into a string cannot fail.
        let _ = writeln!(
            table,
            "| {what} | {expected} | {pessimistic} | {:.2} | {:.2} |",
            expected as f64 / macs,
            pessimistic as f64 / macs
        );
    }
    table
}
