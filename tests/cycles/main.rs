//! The gate on emulated cycles: no committed network becomes more than 1 % slower at any level in
//! either setting. The emulator is deterministic, so the figures are exact; what is left to the 1 % is
//! the toolchain's code around the kernels.

mod measure;
mod networks;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use nestc::bench::Settings;
use nestc::emulator::EMULATOR_MODEL;
use nestc::passes::Preferences;
use nestc::target::{Board, MemoryKind};
use nestc::units::Bytes;

/// How far a figure may be from the recorded one, in percent.
const TOLERANCE: u64 = 1;

/// How far the compiler's estimate of a layer may be from the expected cycles, and the cycles from which
/// a layer counts.
const ESTIMATE_TOLERANCE: f64 = 0.20;
const SMALL_LAYER: f64 = 20_000.0;

/// The same where activations lie in cached memory, for a layer and for all of a network.
const CACHED_TOLERANCE: f64 = 0.25;
const CACHED_SUM_TOLERANCE: f64 = 0.10;

/// Network, level and setting, to cycles.
type Table = BTreeMap<(String, usize, String), u64>;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cycles.txt")
}

fn print(table: &Table) -> String {
    let mut text = format!(
        "# Emulated cycles, model {EMULATOR_MODEL}: network, level, setting, the median of three inferences.\n\
         # Recorded by `make bless`; held to 1 % by tests/cycles.\n"
    );
    for ((network, level, setting), cycles) in table {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{network:<22} {level} {setting:<11} {cycles:>9}");
    }
    text
}

fn parse(text: &str) -> Table {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut word = || words.next().unwrap_or_else(|| panic!("bad line `{line}`"));
            let key = (word().into(), word().parse().unwrap(), word().into());
            (key, word().parse().unwrap())
        })
        .collect()
}

/// What differs by more than the tolerance, or stands in one table only.
fn differences(recorded: &Table, now: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for (key, &was) in recorded {
        let place = format!("{} level {} {}", key.0, key.1, key.2);
        let Some(&is) = now.get(key) else {
            found.push(format!("{place}: recorded, and measured no more"));
            continue;
        };
        if 100 * is.abs_diff(was) > TOLERANCE * was {
            let verdict = if is > was {
                "SLOWER"
            } else {
                "faster: record it"
            };
            found.push(format!(
                "{place}: {was} recorded, {is} now, {:+.2} %, {verdict}",
                100.0 * (is as f64 / was as f64 - 1.0)
            ));
        }
    }
    for key in now.keys().filter(|key| !recorded.contains_key(*key)) {
        found.push(format!("{} level {} {}: not recorded", key.0, key.1, key.2));
    }
    found
}

#[test]
fn no_network_becomes_slower() {
    let mut now = Table::new();
    let mut estimates = Vec::new();
    for network in networks::all() {
        let (name, bars) = (network.name.clone(), network.bars);
        let report = measure::measure(network, Preferences::default()).bench;
        for level in &report.levels {
            for layer in &level.layers {
                let (is, said) = (
                    layer.cycles.unwrap().0 as f64,
                    layer.estimated_cycles.0 as f64,
                );
                if is >= SMALL_LAYER && (said / is - 1.0).abs() > ESTIMATE_TOLERANCE {
                    estimates.push(format!(
                        "{name} level {} {} ({}): {said} estimated, {is} measured",
                        level.level, layer.name, layer.kernel
                    ));
                }
            }
            let pessimistic = level.cycles_pessimistic.expect("the emulator gives both");
            // Nothing that is assumed the worse may make a network faster.
            let cycles = level.cycles.expect("the emulator gives both");
            assert!(pessimistic >= cycles, "{name} level {}", level.level);
            let settings = [("expected", cycles), ("pessimistic", pessimistic)];
            for ((setting, cycles), bar) in settings.into_iter().zip(bars) {
                let densest = level.level + 1 == report.levels.len();
                if let Some(bar) = bar.filter(|_| densest) {
                    let is = cycles.0 as f64 / 1e6;
                    assert!(
                        is <= bar,
                        "{name} {setting}: {is} million cycles, bar {bar}"
                    );
                }
                now.insert((name.clone(), level.level, setting.into()), cycles.0);
            }
        }
    }
    assert!(
        estimates.is_empty(),
        "the cost model (src/passes/cost.rs) is off by more than {:.0} %:\n  {}",
        100.0 * ESTIMATE_TOLERANCE,
        estimates.join("\n  ")
    );
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path(), print(&now)).unwrap();
        return;
    }
    let recorded = parse(&std::fs::read_to_string(path()).unwrap_or_default());
    let found = differences(&recorded, &now);
    assert!(
        found.is_empty(),
        "emulated cycles are not those of {}:\n  {}\nif this is meant, record them: BLESS=1 cargo test --release --test cycles",
        path().display(),
        found.join("\n  ")
    );
}

#[test]
fn the_gate_closes_at_one_percent_either_way() {
    let table = |cycles: u64| Table::from([(("net".into(), 0, "expected".into()), cycles)]);
    assert_eq!(parse(&print(&table(10_000))), table(10_000));
    for (cycles, held) in [
        (10_100, true),
        (9_900, true),
        (10_101, false),
        (9_899, false),
    ] {
        let found = differences(&table(10_000), &table(cycles));
        assert_eq!(found.is_empty(), held, "{cycles}: {found:?}");
    }
    assert!(differences(&table(10_000), &table(10_101))[0].contains("+1.01 %, SLOWER"));
    assert_eq!(differences(&Table::new(), &table(1)).len(), 1);
    assert_eq!(differences(&table(1), &Table::new()).len(), 1);
}

/// A board whose tightly coupled memory holds the stack and nothing else: activations lie behind the data
/// cache, and the estimates are those of that.
#[test]
fn estimates_hold_behind_the_data_cache() {
    let mut board = Board::named("stm32h743").expect("a known board");
    for memory in &mut board.memory {
        if memory.kind == MemoryKind::Dtcm {
            memory.bytes = Bytes(12 << 10);
        }
    }
    let network = (networks::all().into_iter())
        .find(|network| network.name == "layers")
        .expect("in the list");
    let preferences = Preferences::default();
    let (image, compiled) = measure::compile_for(network, preferences, &board, Some(Bytes(0)));
    assert_eq!(image.arena_memory, "AXISRAM");
    let report = measure::bench("layers", &compiled, &Settings::of(&compiled.board));
    let mut off = Vec::new();
    let (mut is, mut said) = (0.0, 0.0);
    for layer in &report.levels[0].layers {
        let cycles = layer.cycles.expect("the emulator counts them").0 as f64;
        let estimate = layer.estimated_cycles.0 as f64;
        is += cycles;
        said += estimate;
        if cycles >= SMALL_LAYER && (estimate / cycles - 1.0).abs() > CACHED_TOLERANCE {
            off.push(format!(
                "{}: {estimate} estimated, {cycles} measured",
                layer.name
            ));
        }
    }
    assert!(off.is_empty(), "{}", off.join("\n  "));
    let ratio: f64 = said / is;
    assert!((ratio - 1.0).abs() < CACHED_SUM_TOLERANCE, "{said} of {is}");
}

/// The masks and the seeded weights are what their names say.
#[test]
fn the_networks_are_as_described() {
    use nestc::ir::float::FloatOp;
    for network in networks::all() {
        let graph = &network.model.graph;
        let macs: u64 = graph.nodes.ids().map(|node| graph.macs(node)).sum();
        let zeros: Vec<f64> = (graph.nodes.iter())
            .filter_map(|node| match &node.op {
                FloatOp::Conv(conv) => Some(&conv.weight),
                _ => None,
            })
            .map(|w| w.iter().filter(|x| **x == 0.0).count() as f64 / w.len() as f64)
            .collect();
        let (kind, percent) = network.name.split_once('_').unwrap_or((&network.name, ""));
        match kind {
            "conv3x3" => {
                let percent: f64 = percent.parse().unwrap();
                assert_eq!(macs, 4_718_592);
                assert!((zeros[0] - percent / 100.0).abs() < 0.001, "{zeros:?}");
            }
            "resnet8" if percent != "nested" => {
                let percent: f64 = percent.parse().unwrap();
                assert_eq!(macs, 12_501_632);
                assert_eq!(zeros[0], 0.0);
                for share in &zeros[1..] {
                    assert!((share - percent / 100.0).abs() < 0.002, "{share}");
                }
            }
            "mobilenet" => {
                assert_eq!(macs, 7_489_664);
                assert!(zeros.iter().all(|&share| share == 0.0));
            }
            _ => {}
        }
    }
}
