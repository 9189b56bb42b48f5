//! Prints cycles in both settings of the cycle model, as Markdown.
//!
//! ```text
//! cargo run --release --example cycles                       every network
//! cargo run --release --example cycles -- resnet8 conv3x3    those whose name begins so
//! cargo run --release --example cycles -- --layers resnet8_0 and each layer
//! cargo run --release --example cycles -- --kernels          every kernel on every layer it accepts
//! cargo run --release --example cycles -- --sensitivity      what each assumption of the model carries
//! cargo run --release --example cycles -- --report           all of it, with its heading (make bench)
//! NESTC_MODELS=folder …                                      and every FOLDER/NAME/model.onnx
//! ```
//!
//! Expected is the cycle model as it stands; pessimistic has everything it assumes at its
//! unfavourable end. Each figure is the median of three inferences, the first with cold caches.

#[path = "../cycles/measure.rs"]
mod measure;
#[path = "../cycles/networks.rs"]
mod networks;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use nest_kernels::KERNELS;
use nestc::bench::{Compiled, Settings};
use nestc::emulator::{EMULATOR_MODEL, TimingConfig};
use nestc::import;
use nestc::ir::float::FloatOp;
use nestc::passes::{Forced, Preferences};
use nestc::report::{BenchLayer, BenchLevel, ImageLayer};

use measure::Measured;
use networks::Network;

/// Million cycles that models of `NESTC_MODELS` may take, expected and pessimistic.
const BARS: [(&str, [f64; 2]); 1] = [("mlperf_mobilenetv1_025_vww96", [5.0, 6.0])];

/// The best that is published for a network on a Cortex-M7, million cycles.
const PUBLISHED: [(&str, &str); 5] = [
    ("resnet8_0", "11.44 (X-CUBE-AI 9.0 [1])"),
    ("mlperf_resnet8_cifar10", "11.44 (X-CUBE-AI 9.0 [1])"),
    ("mobilenet_vww_live", "11.98 (X-CUBE-AI 10.0 [2])"),
    ("mlperf_mobilenetv1_025_vww96", "6.67 (X-CUBE-AI 9.0 [1])"),
    ("akamaster_resnet20_cifar10", "–"),
];

const SOURCES: &str = "\
[1] MLPerf Tiny v0.7 to v1.2, closed division, STM32H7A3 at 280 MHz: clock divided by throughput. The \
visual wake words network there has its own weights, of whose channels many are dead.\n\
[2] ST model zoo, MobileNetV1-0.25 at 96x96, STM32H747 at 400 MHz: 29.9 ms.\n\
[3] Commit 99f736a6, gcc -O3, in this emulator: `make anchors`.\n";

/// Cycles of CMSIS-NN's kernel for a layer of [`networks::layers`], in the same emulator: the table
/// that `make anchors` prints.
const CMSIS_NN: [(&str, u64); 7] = [
    ("conv3x3_3_16_at32", 1_765_958),
    ("conv3x3_16_16_at32", 4_153_646),
    ("conv3x3_32_64_at16", 7_738_266),
    ("conv1x1_64_64_at16", 1_407_153),
    ("depthwise3x3_64_at16_stride2", 249_483),
    ("depthwise3x3_64_at16", 998_770),
    ("add_16_at32", 833_732),
];

/// Constants that the calibration firmware measures, of those that the settings differ in.
const CALIBRATED: [&str; 7] = [
    "dirty_eviction",
    "flash_line_fill",
    "load_narrow_to_factor",
    "load_word_to_factor",
    "long_multiply_pairing",
    "sram_line_fill",
    "store_miss",
];

fn main() -> Result<()> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let mut option = |wanted: &str| {
        let before = names.len();
        names.retain(|name| name != wanted);
        names.len() < before
    };
    let (layers, kernels, report) = (option("--layers"), option("--kernels"), option("--report"));
    let sensitivity = option("--sensitivity");
    if let Some(option) = names.iter().find(|name| name.starts_with('-')) {
        bail!("{option} is no option: the first lines of tests/tools/cycles.rs list them");
    }
    if report {
        print_heading();
    }
    if report || !(kernels || sensitivity) {
        print_networks(&names, layers)?;
    }
    if report || sensitivity {
        print_sensitivity(&names)?;
    }
    if report || kernels {
        print_kernels();
    }
    if report {
        println!("\n{SOURCES}");
    }
    Ok(())
}

fn print_heading() {
    let git = Command::new("git")
        .args(["log", "-1", "--format=commit %h of %cs"])
        .output();
    let commit = git.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_string(),
    );
    let models = std::env::var_os("NESTC_MODELS").map_or("", |_| "NESTC_MODELS=… ");
    println!(
        "# Benchmarks\n\n\
         `{models}make -s bench >docs/benchmarks.md`, {commit}, cycle model {EMULATOR_MODEL}. Emulated: no\n\
         Cortex-M7 silicon was at hand. *Expected* is the cycle model as it stands, *pessimistic* has\n\
         everything that it assumes at its unfavourable end. STM32H743: weights in flash, arena in DTCM,\n\
         kernels in ITCM, caches on; the median of three inferences, the first with cold caches. Every\n\
         run was bit-exact with the host on the input compared.\n\n\
         ## Networks\n\n\
         `tests/cycles/networks.rs` makes them: the committed models, masks by magnitude over them, and\n\
         topologies with seeded weights. `tests/cycles` holds their cycles to 1 %.\n"
    );
}

/// A table of networks whose names begin with one of `names`, or of all.
fn print_networks(names: &[String], layers: bool) -> Result<()> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| name.starts_with(n));
    let mut found: Vec<Network> = networks::all();
    if let Some(folder) = std::env::var_os("NESTC_MODELS") {
        found.extend(third_party(Path::new(&folder))?);
    }
    found.retain(|network| wanted(&network.name));
    if found.is_empty() {
        bail!("no network's name begins with any of {names:?}");
    }
    println!(
        "| network | level | million cycles expected | bar | pessimistic | bar | a MAC | a non-zero MAC | bytes a non-zero weight | arena, bytes | published |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for network in found {
        let (name, bars) = (network.name.clone(), network.bars);
        let measured = measure::measure(network, Preferences::default());
        for line in rows(&name, &measured, bars) {
            println!("{line}");
        }
        if layers {
            println!("\n```text\n{}```\n", measured.bench.table());
        }
    }
    Ok(())
}

/// A line a level.
fn rows(name: &str, measured: &Measured, bars: [Option<f64>; 2]) -> Vec<String> {
    let report = &measured.bench;
    let densest = report.levels.len() - 1;
    let stored = (report.flash_bytes.weights + report.flash_bytes.indices).0 as f64;
    let millions = |cycles: u64| format!("{:.3}", cycles as f64 / 1e6);
    let published = PUBLISHED.iter().find(|(known, _)| *known == name);
    (report.levels.iter())
        .map(|level| {
            let expected = level.cycles.0;
            let pessimistic = level.cycles_pessimistic.map_or(0, |c| c.0);
            let last = level.level == densest;
            let bar = |bar: Option<f64>, cycles: u64| match bar {
                Some(bar) if last && cycles as f64 <= bar * 1e6 => format!("{bar:.2}"),
                Some(bar) if last => format!("**{bar:.2} missed**"),
                _ => "–".into(),
            };
            let [bytes, arena] = if last {
                [
                    format!("{:.2}", stored / level.nonzero_weights as f64),
                    report.ram_bytes.arena.0.to_string(),
                ]
            } else {
                ["–", "–"].map(String::from)
            };
            format!(
                "| {name} | {} ({:.1} % zeros) | {} | {} | {} | {} | {} | {} | {bytes} | {arena} | {} |",
                level.level,
                100.0 * (1.0 - level.effective_macs.0 as f64 / level.macs.0 as f64),
                millions(expected),
                bar(bars[0], expected),
                millions(pessimistic),
                bar(bars[1], pessimistic),
                per(expected, level.macs.0),
                per(expected, level.effective_macs.0),
                published.map_or("–", |(_, figure)| figure),
            )
        })
        .collect()
}

fn per(cycles: u64, n: u64) -> String {
    if n == 0 {
        "–".into()
    } else {
        format!("{:.2}", cycles as f64 / n as f64)
    }
}

/// A table of what each constant costs alone that the pessimistic setting has otherwise.
fn print_sensitivity(names: &[String]) -> Result<()> {
    const SHOWN: [&str; 5] = [
        "resnet8_0",
        "resnet8_50",
        "resnet8_70",
        "resnet8_90",
        "mobilenet_vww_live",
    ];
    let networks: Vec<(String, Compiled)> = (networks::all().into_iter())
        .filter(|n| SHOWN.contains(&n.name.as_str()))
        .filter(|n| names.is_empty() || names.iter().any(|name| n.name.starts_with(name)))
        .map(|n| {
            (
                n.name.clone(),
                measure::compile(n, Preferences::default()).1,
            )
        })
        .collect();
    let settings = Settings::default();
    let [expected, pessimistic] = [
        toml::Table::try_from(&settings.main)?,
        toml::Table::try_from(&settings.pessimistic)?,
    ];
    // Two timings in one measurement: its two settings.
    let both = |first: &TimingConfig, second: &TimingConfig| -> [Vec<f64>; 2] {
        let settings = Settings {
            main: first.clone(),
            pessimistic: second.clone(),
        };
        let levels: Vec<BenchLevel> = (networks.iter())
            .map(|(name, compiled)| measure::bench(name, compiled, &settings).levels.remove(0))
            .collect();
        [
            levels.iter().map(|l| l.cycles.0 as f64).collect(),
            (levels.iter())
                .map(|l| l.cycles_pessimistic.map_or(0.0, |c| c.0 as f64))
                .collect(),
        ]
    };
    println!(
        "\n## What each assumption carries\n\n\
         The change of cycles when one constant of the expected setting takes its pessimistic value, and\n\
         when all do. The constants and their sources: `src/emulator/timing`. `make calibrate` measures\n\
         those with a star on a board.\n"
    );
    let heads: Vec<&str> = networks.iter().map(|(name, _)| name.as_str()).collect();
    println!("| constant | from | to | {} |", heads.join(" | "));
    println!("|---|--:|--:|{}", "--:|".repeat(heads.len()));
    let [before, all] = both(&settings.main, &settings.pessimistic);
    let change = |after: &[f64]| -> Vec<f64> {
        (after.iter().zip(&before))
            .map(|(after, before)| 100.0 * (after / before - 1.0))
            .collect()
    };
    let row = |name: &str, [from, to]: [String; 2], changes: &[f64]| {
        let changes: Vec<String> = changes.iter().map(|c| format!("{c:+.1} %")).collect();
        println!("| {name} | {from} | {to} | {} |", changes.join(" | "));
    };
    let moved: Vec<&String> = (pessimistic.iter())
        .filter(|(constant, value)| *constant != "name" && expected.get(*constant) != Some(value))
        .map(|(constant, _)| constant)
        .collect();
    let timing = |constant: &String| -> Result<TimingConfig> {
        let mut table = expected.clone();
        table.insert(constant.clone(), pessimistic[constant].clone());
        Ok(table.try_into()?)
    };
    let mut silent = Vec::new();
    for pair in moved.chunks(2) {
        let last = pair[pair.len() - 1];
        let after = both(&timing(pair[0])?, &timing(last)?);
        for (constant, after) in pair.iter().zip(after) {
            let changes = change(&after);
            let star = if CALIBRATED.contains(&constant.as_str()) {
                " *"
            } else {
                ""
            };
            if changes.iter().all(|c| c.abs() < 0.05) {
                silent.push(format!("{constant}{star}"));
                continue;
            }
            let values = [&expected, &pessimistic].map(|table| table[*constant].to_string());
            row(&format!("{constant}{star}"), values, &changes);
        }
    }
    row("all of them", ["", ""].map(String::from), &change(&all));
    println!("\nBelow 0.05 % everywhere: {}.", silent.join(", "));
    Ok(())
}

/// A table of every kernel on every layer of [`networks::layers`] that it accepts.
fn print_kernels() {
    println!(
        "\n## Kernels\n\n\
         Each layer of `tests/cycles/networks.rs: layers`, compiled as the compiler chooses and with every\n\
         other kernel that it can be told to use. `_70` is the share of zeros in percent, `_at16` the\n\
         extent of the input. Without multiplications, the figure a MAC is one an output element. The\n\
         estimate is the compiler's, and how far it is from the expected cycles.\n\n\
         | layer | kernel | chosen | cycles expected | pessimistic | estimate | a MAC | a MAC, pessimistic | a non-zero MAC | bytes a non-zero weight | CMSIS-NN [3] | a MAC |\n\
         |---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    let weights: Vec<(String, u64)> = (networks::layers().nodes.iter())
        .filter_map(|node| match &node.op {
            FloatOp::Conv(conv) => Some((node.name.clone(), conv.weight.len() as u64)),
            FloatOp::Dense(dense) => Some((node.name.clone(), dense.weight.len() as u64)),
            _ => None,
        })
        .collect();
    let measured = |preferences| {
        let network = networks::all().into_iter().find(|n| n.name == "layers");
        measure::measure(network.expect("it is one of them"), preferences)
    };
    let chosen = measured(Preferences::default());
    // Layer by layer, as chosen first.
    let mut lines: Vec<Vec<String>> = Vec::new();
    let kernels: Vec<String> = std::iter::once(String::new())
        .chain(
            (KERNELS.iter())
                .filter(|k| k.arch != "reference" && k.format != "none")
                .map(|k| k.name.to_string()),
        )
        .collect();
    for kernel in kernels {
        let forced = (!kernel.is_empty()).then(|| {
            measured(Preferences {
                forced: vec![Forced {
                    layer: None,
                    kernel: kernel.clone(),
                }],
                ..Preferences::default()
            })
        });
        let of = forced.as_ref().unwrap_or(&chosen);
        let layers = of.bench.levels[0].layers.iter().zip(&of.image.layers);
        for (at, (layer, image)) in layers.enumerate() {
            if lines.len() <= at {
                lines.push(Vec::new());
            }
            let other = chosen.bench.levels[0].layers[at].kernel != layer.kernel;
            if forced.is_none() || (other && layer.kernel == kernel) {
                lines[at].push(kernel_row(layer, image, &weights, forced.is_none()));
            }
        }
    }
    for line in lines.iter().flatten() {
        println!("{line}");
    }
}

fn kernel_row(
    layer: &BenchLayer,
    image: &ImageLayer,
    weights: &[(String, u64)],
    chosen: bool,
) -> String {
    let (expected, pessimistic) = (layer.cycles.0, layer.cycles_pessimistic.map_or(0, |c| c.0));
    let macs = layer.macs.0;
    let count = if macs == 0 {
        image.output_bytes.0
    } else {
        macs
    };
    let cmsis = CMSIS_NN.iter().find(|(known, _)| {
        layer.name == *known
            || (layer
                .name
                .strip_prefix(known)
                .and_then(|rest| rest.strip_prefix('_')))
            .is_some_and(|rest| rest.parse::<u32>().is_ok())
    });
    let bytes = (weights.iter().find(|(name, _)| *name == layer.name)).map(|(_, count)| {
        let nonzero = *count as f64 * layer.effective_macs.0 as f64 / macs as f64;
        (image.weight_bytes + image.index_bytes).0 as f64 / nonzero
    });
    let estimate = match layer.estimated_cycles.0 {
        0 => "–".to_string(),
        cycles => format!("{:+.0} %", 100.0 * (cycles as f64 / expected as f64 - 1.0)),
    };
    format!(
        "| {} | {} | {} | {expected} | {pessimistic} | {estimate} | {} | {} | {} | {} | {} | {} |",
        layer.name,
        layer.kernel,
        if chosen { "yes" } else { "" },
        per(expected, count),
        per(pessimistic, count),
        per(expected, layer.effective_macs.0),
        bytes.map_or("–".into(), |b| format!("{b:.2}")),
        cmsis.map_or("–".into(), |(_, cycles)| cycles.to_string()),
        cmsis.map_or("–".into(), |(_, cycles)| per(*cycles, count)),
    )
}

/// The models of a folder that this version takes.
fn third_party(folder: &Path) -> Result<Vec<Network>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<_>>()?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let file = path.join("model.onnx");
        if !file.is_file() {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
        match import::load(&file) {
            Ok(imported) => {
                let bars = BARS.iter().find(|(known, _)| *known == name);
                found.push(Network {
                    bars: bars.map_or([None; 2], |(_, bars)| bars.map(Some)),
                    name,
                    model: imported.model,
                    data: None,
                });
            }
            Err(findings) => eprintln!("{name}: left out: {}", findings.0[0]),
        }
    }
    Ok(found)
}
