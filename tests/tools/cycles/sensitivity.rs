//! What each assumption of the cycle model carries.

use anyhow::Result;
use nestc::bench::{Compiled, Settings};
use nestc::emulator::TimingConfig;
use nestc::passes::Preferences;
use nestc::report::BenchLevel;

use crate::{measure, networks};

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

/// A table of what each constant costs alone that the pessimistic setting has otherwise.
pub fn print_sensitivity(names: &[String]) -> Result<()> {
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
    let settings = Settings::of(&networks[0].1.board);
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
            levels
                .iter()
                .map(|l| l.cycles.map_or(0.0, |c| c.0 as f64))
                .collect(),
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
