//! Prints the cycles of the benchmark networks in both settings of the cycle model, as Markdown.
//!
//! ```text
//! cargo run --release --example cycles                       every network
//! cargo run --release --example cycles -- resnet8 conv3x3    those whose name begins so
//! cargo run --release --example cycles -- --layers resnet8_0 and each layer
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

use anyhow::{Result, bail};
use nestc::bench::Settings;
use nestc::import;
use nestc::report::BenchReport;

use networks::Network;

/// Million cycles that models of `NESTC_MODELS` may take, expected and pessimistic.
const BARS: [(&str, [f64; 2]); 1] = [("mlperf_mobilenetv1_025_vww96", [5.0, 6.0])];

fn main() -> Result<()> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let layers = names.iter().any(|name| name == "--layers");
    names.retain(|name| name != "--layers");
    if let Some(option) = names.iter().find(|name| name.starts_with('-')) {
        bail!("{option} is no option: give --layers and beginnings of networks' names");
    }
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
        "| network | level | million cycles expected | bar | pessimistic | bar | a MAC | a non-zero MAC | bytes a non-zero weight |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|");
    for network in found {
        let (name, bars) = (network.name.clone(), network.bars);
        let report = measure::measure(network, &Settings::default(), 1);
        for line in rows(&name, &report, bars) {
            println!("{line}");
        }
        if layers {
            println!("\n```text\n{}```\n", report.table());
        }
    }
    Ok(())
}

/// A line a level.
fn rows(name: &str, report: &BenchReport, bars: [Option<f64>; 2]) -> Vec<String> {
    let densest = report.levels.len() - 1;
    let stored = (report.flash_bytes.weights + report.flash_bytes.indices).0 as f64;
    let millions = |cycles: u64| format!("{:.3}", cycles as f64 / 1e6);
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
            let per = |n: u64| format!("{:.2}", expected as f64 / n as f64);
            let bytes = if last {
                format!("{:.2}", stored / level.nonzero_weights as f64)
            } else {
                "–".into()
            };
            format!(
                "| {name} | {} ({:.1} % zeros) | {} | {} | {} | {} | {} | {} | {bytes} |",
                level.level,
                100.0 * (1.0 - level.effective_macs.0 as f64 / level.macs.0 as f64),
                millions(expected),
                bar(bars[0], expected),
                millions(pessimistic),
                bar(bars[1], pessimistic),
                per(level.macs.0),
                per(level.effective_macs.0),
            )
        })
        .collect()
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
