//! Prints cycles in both settings of the cycle model, as Markdown.
//!
//! ```text
//! cargo run --release --example cycles                       every network
//! cargo run --release --example cycles -- resnet8 conv3x3    those whose name begins so
//! cargo run --release --example cycles -- --layers resnet8_0 and each layer
//! cargo run --release --example cycles -- --kernels          every kernel on every layer it accepts
//! cargo run --release --example cycles -- --nested           each nested level beside the same alone
//! cargo run --release --example cycles -- --sensitivity      what each assumption of the model carries
//! cargo run --release --example cycles -- --report           all of it, with its heading (make bench)
//! NESTC_MODELS=folder …                                      and every FOLDER/NAME/model.onnx
//! ```
//!
//! Expected is the cycle model as it stands; pessimistic has everything it assumes at its
//! unfavourable end. Each figure is the median of three inferences, the first with cold caches.

#[path = "cycles/kernels.rs"]
mod kernels;
#[path = "../cycles/measure.rs"]
mod measure;
#[path = "cycles/nested.rs"]
mod nested;
#[path = "../cycles/networks.rs"]
mod networks;
#[path = "cycles/sensitivity.rs"]
mod sensitivity;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use nestc::emulator::EMULATOR_MODEL;
use nestc::import;
use nestc::passes::Preferences;

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

fn main() -> Result<()> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let mut option = |wanted: &str| {
        let before = names.len();
        names.retain(|name| name != wanted);
        names.len() < before
    };
    let (layers, kernels, report) = (option("--layers"), option("--kernels"), option("--report"));
    let (nested, sensitivity) = (option("--nested"), option("--sensitivity"));
    if let Some(option) = names.iter().find(|name| name.starts_with('-')) {
        bail!("{option} is no option: the first lines of tests/tools/cycles.rs list them");
    }
    if report {
        print_heading();
    }
    if report || !(kernels || nested || sensitivity) {
        print_networks(&names, layers)?;
    }
    if report || nested {
        nested::print_nested();
    }
    if report || sensitivity {
        sensitivity::print_sensitivity(&names)?;
    }
    if report || kernels {
        kernels::print_kernels();
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
            let expected = level.cycles.map_or(0, |c| c.0);
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
