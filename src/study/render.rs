//! A study as tables in Markdown and as charts.

use std::fmt::Write;
use std::path::Path;

use super::summary::{Figure, LevelFigures, StudyReport, Variant};
use super::{
    CYCLES_CHART_NAME, FLASH_CHART_NAME, PARTS_CHART_NAME, REPORT_NAME, TABLES_NAME,
    approach::Deployment,
    runs::{short, write_json},
};
use crate::diag::Result;
use crate::export;
use crate::report::chart::{Axis, Bar, Bars, Join, Plot, Point, Series, pareto_front};
use crate::units::{Bytes, group_thousands};

/// Writes the report, its tables and its charts into the study's folder. `command` is what makes the
/// study anew.
///
/// # Errors
/// What the operating system says; files that stand there are replaced as a whole.
pub fn write(folder: &Path, report: &StudyReport, command: &str) -> Result<()> {
    write_json(&folder.join(REPORT_NAME), report)?;
    for (name, text) in [
        (CYCLES_CHART_NAME, cycles_chart(report)),
        (FLASH_CHART_NAME, flash_chart(report)),
        (PARTS_CHART_NAME, parts_chart(report)),
        // The tables last: they name the charts.
        (TABLES_NAME, tables(report, command)),
    ] {
        export::replace(&folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// The tables, as Markdown without a heading of the first rank.
pub fn tables(report: &StudyReport, command: &str) -> String {
    let mut out = String::new();
    // Writing into a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "`{command}`\n\n{}, {} training images, {} epochs, seeds {}; accuracies on {} {}. Cycles, flash and RAM: {} at {} MHz, emulated (cycle model {}).\n",
        report.model,
        group_thousands(report.training_images),
        report.epochs,
        list(&report.seeds),
        group_thousands(report.images),
        report.evaluated_on,
        report.target,
        report.clock_hz.0 / 1_000_000,
        report.emulator_model,
    );
    let seeds = report.seeds.len();
    let spread = if seeds > 1 {
        format!("Means of {seeds} seeds ± standard deviation.")
    } else {
        "One seed: differences below half a point are not established.".to_string()
    };
    let first = |v: &&Variant| v.approach.deployments().first() == Some(&v.deployment);
    out += "## Methods\n\n| method | what is done |\n|---|---|\n";
    for v in &report.variants {
        let _ = writeln!(out, "| {} | {} |", v.title, v.rule);
    }
    let _ = writeln!(out, "\n## Accuracy in float, percent\n\n{spread}\n");
    out += &by_level(report, report.variants.iter().filter(first), &|l| {
        with_spread(&l.accuracy_float, 100.0, 2)
    });
    if report.variants.iter().any(has_difference) {
        out += "\n## Accuracy in float, less that of separately trained models, points\n\nSeed by seed.\n\n";
        let compared = report
            .variants
            .iter()
            .filter(first)
            .filter(|v| has_difference(v));
        out += &by_level(report, compared, &|l| {
            let figure = l.float_minus_separate.unwrap_or_default();
            signed(&figure, 100.0, 2)
        });
    }
    out += "\n## Accuracy in int8, percent\n\nIn the device's arithmetic, bit by bit; in brackets the difference to float in points.\n\n";
    out += &by_level(report, report.variants.iter(), &|l| {
        let figure = with_spread(&l.accuracy_int8, 100.0, 2);
        let less = with_sign(l.int8_minus_float.mean * 100.0, 2);
        format!("{figure} ({less})")
    });
    out += "\n## Million cycles, expected / pessimistic\n\nBold: on the Pareto front of int8 accuracy and expected cycles.\n\n";
    out += &by_level(report, report.variants.iter(), &|l| {
        let text = format!(
            "{:.3} / {:.3}",
            l.cycles.mean / 1e6,
            l.cycles_pessimistic.mean / 1e6
        );
        match l.on_front {
            true => format!("**{text}**"),
            false => text,
        }
    });
    out += "\n## Flash and RAM of all levels, bytes\n\nOf levels that are images of their own: the data of all and the code of the largest. Training: seconds a seed, all runs added up, on the machine of this study.\n\n| method | stored as | weights | indices | requantisation | code | flash | RAM | training |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n";
    for v in &report.variants {
        let f = &v.flash_bytes;
        let stored = match v.deployment {
            Deployment::Together => "one artefact".to_string(),
            Deployment::Apart => format!("{} artefacts", v.levels.len()),
        };
        let _ = write!(out, "| {} | {stored}", v.title);
        for bytes in [
            f.weights,
            f.indices,
            f.requant,
            f.code,
            f.total,
            v.ram_bytes,
        ] {
            let _ = write!(out, " | {}", group_thousands(bytes.0));
        }
        let _ = writeln!(out, " | {:.0} |", v.training_seconds.mean);
    }
    let _ = writeln!(
        out,
        "\n![{}]({CYCLES_CHART_NAME})\n\n![{}]({FLASH_CHART_NAME})\n\n![{}]({PARTS_CHART_NAME})",
        alternative(report, "accuracy against cycles"),
        alternative(report, "accuracy against flash"),
        alternative(report, "what the flash holds")
    );
    out
}

fn alternative(report: &StudyReport, what: &str) -> String {
    format!(
        "{}: {what}; the tables above hold the figures",
        report.model
    )
}

fn has_difference(variant: &Variant) -> bool {
    variant
        .levels
        .iter()
        .any(|l| l.float_minus_separate.is_some())
}

fn list(seeds: &[u64]) -> String {
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    seeds.join(", ")
}

/// A table with a row a variant and a column a level.
fn by_level<'a>(
    report: &StudyReport,
    variants: impl Iterator<Item = &'a Variant>,
    cell: &dyn Fn(&LevelFigures) -> String,
) -> String {
    let mut out = String::from("| method |");
    for &level in &report.levels {
        let _ = write!(out, " {} % |", short(level));
    }
    out += "\n|---|";
    out += &"--:|".repeat(report.levels.len());
    out.push('\n');
    for variant in variants {
        let _ = write!(out, "| {} |", variant.title);
        for level in &variant.levels {
            let _ = write!(out, " {} |", cell(level));
        }
        out.push('\n');
    }
    out
}

fn with_spread(figure: &Figure, scale: f64, decimals: usize) -> String {
    let mean = figure.mean * scale;
    match figure.deviation {
        Some(d) => format!("{mean:.decimals$} ± {:.decimals$}", d * scale),
        None => format!("{mean:.decimals$}"),
    }
}

/// A difference with its sign; what rounds to zero is `+0`.
fn with_sign(value: f64, decimals: usize) -> String {
    let text = format!("{value:+.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => format!("+{rest}"),
        _ => text,
    }
}

fn signed(figure: &Figure, scale: f64, decimals: usize) -> String {
    let mean = with_sign(figure.mean * scale, decimals);
    match figure.deviation {
        Some(d) => format!("{mean} ± {:.decimals$}", d * scale),
        None => mean,
    }
}

/// Accuracy against cycles.
pub fn cycles_chart(report: &StudyReport) -> String {
    let axis = format!("million cycles on {}, emulated", report.target);
    chart(
        report,
        "study-cycles",
        "Accuracy against cycles",
        &axis,
        &|_, level| level.cycles.mean / 1e6,
        &|x| format!("{x:.3} million cycles"),
    )
}

/// Accuracy against the flash that serves all levels.
pub fn flash_chart(report: &StudyReport) -> String {
    chart(
        report,
        "study-flash",
        "Accuracy against the flash that serves all levels",
        "kB of flash",
        &|variant, _| kilobytes(variant.flash_bytes.total),
        &|x| format!("{x:.1} kB of flash"),
    )
}

/// What the flash of each variant holds.
pub fn parts_chart(report: &StudyReport) -> String {
    let bar = |variant: &Variant| {
        let f = &variant.flash_bytes;
        let parts = [f.weights, f.indices, f.requant, f.code];
        Bar {
            name: variant.title.clone(),
            lengths: parts.map(kilobytes).to_vec(),
            note: format!("{:.1} kB", kilobytes(f.total)),
        }
    };
    let bars: Vec<Bar> = report.variants.iter().map(bar).collect();
    let totals: Vec<String> = (bars.iter())
        .map(|bar| format!("{} {}", bar.name, bar.note))
        .collect();
    Bars {
        id: "study-parts".into(),
        title: "Flash that serves all levels".into(),
        description: format!(
            "Weights, indices, requantisation and code: {}.",
            totals.join("; ")
        ),
        width: 720.0,
        label: "kB".into(),
        segments: ["weights", "indices", "requantisation", "code"]
            .map(String::from)
            .to_vec(),
        bars,
    }
    .svg()
}

fn kilobytes(bytes: Bytes) -> f64 {
    bytes.0 as f64 / 1e3
}

/// A mark for each level of each variant, and the front.
fn chart(
    report: &StudyReport,
    id: &str,
    title: &str,
    axis: &str,
    cost: &dyn Fn(&Variant, &LevelFigures) -> f64,
    in_words: &dyn Fn(f64) -> String,
) -> String {
    let series: Vec<Series> = (report.variants.iter())
        .map(|variant| Series {
            name: variant.title.clone(),
            join: Join::Marks,
            points: (variant.levels.iter())
                .map(|level| point(variant, level, cost(variant, level), in_words))
                .collect(),
        })
        .collect();
    let all: Vec<&Point> = series.iter().flat_map(|s| &s.points).collect();
    let costs: Vec<(f64, f64)> = all.iter().map(|p| (p.x, p.y)).collect();
    let front: Vec<&str> = pareto_front(&costs)
        .into_iter()
        .map(|i| all[i].label.as_str())
        .collect();
    Plot {
        id: id.into(),
        title: title.into(),
        description: format!(
            "{} variants at {} levels. On the Pareto front, from the cheapest: {}.",
            report.variants.len(),
            report.levels.len(),
            front.join("; ")
        ),
        size: [720.0, 460.0],
        x: Axis::new(axis).with(0.0),
        y: Axis::new("int8 accuracy [%]"),
        series,
        front: Some("Pareto front".into()),
    }
    .svg()
}

fn point(
    variant: &Variant,
    level: &LevelFigures,
    x: f64,
    in_words: &dyn Fn(f64) -> String,
) -> Point {
    let accuracy = &level.accuracy_int8;
    let y = accuracy.mean * 100.0;
    Point {
        x,
        y,
        spread: (accuracy.count > 1).then_some([accuracy.low * 100.0, accuracy.high * 100.0]),
        label: format!(
            "{} {} %: {y:.2} % right at {}",
            variant.title,
            short(level.sparsity),
            in_words(x)
        ),
    }
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::super::summary::tests::variants;
    use super::*;
    use crate::units::Hertz;

    fn report() -> StudyReport {
        StudyReport {
            schema_version: 1,
            nestc_version: "0.1.0".into(),
            model: "net".into(),
            data: "cifar10:d".into(),
            evaluated_on: "test images".into(),
            images: 10_000,
            training_images: 50_000,
            target: "stm32h743".into(),
            clock_hz: Hertz(480_000_000),
            emulator_model: "m7-3".into(),
            levels: vec![0.9, 0.5],
            seeds: vec![1, 2],
            epochs: 30,
            fingerprint: Default::default(),
            variants: variants(),
        }
    }

    #[test]
    fn tables_hold_every_figure() {
        let text = tables(&report(), "nestc study net.onnx");
        for line in [
            "| method | 90 % | 50 % |",
            "| nested | 81.00 ± 1.41 | 88.00 ± 0.00 |",
            "| separate | 81.00 ± 0.00 | 88.00 ± 1.41 |",
            "| nested | +0.00 ± 1.41 | +0.00 ± 1.41 |",
            "| nested | 81.00 ± 2.83 (+0.00) | 88.00 ± 0.00 (+0.00) |",
            "| nested | **1.000 / 1.000** | 2.000 / 2.000 |",
            "| separate | 1.000 / 1.000 | **1.900 / 1.900** |",
            "| nested | one artefact | 80 | 10 | 5 | 40 | 135 | 40 | 11 |",
            "| separate | 2 artefacts | 100 | 20 | 10 | 44 | 174 | 35 | 30 |",
        ] {
            let found = text.lines().any(|l| l == line);
            assert!(found, "{line} is not in\n{text}");
        }
        assert!(text.starts_with("`nestc study net.onnx`\n"));
        assert!(!text.contains("separate | +"), "{text}");
    }

    #[test]
    fn charts_mark_every_level_and_the_front() {
        let svg = cycles_chart(&report());
        let document = Document::parse(&svg).unwrap();
        let titles: Vec<&str> = document
            .descendants()
            .filter(|n| n.has_tag_name("title"))
            .filter_map(|n| n.text())
            .collect();
        assert_eq!(titles.len(), 1 + 4, "{titles:?}");
        assert!(titles.contains(&"nested 90 %: 81.00 % right at 1.000 million cycles"));
        let description = document
            .descendants()
            .find(|n| n.has_tag_name("desc"))
            .and_then(|n| n.text())
            .unwrap();
        assert!(description.contains("nested 90 %"), "{description}");
        assert!(!description.contains("nested 50 %"), "{description}");
        Document::parse(&flash_chart(&report())).unwrap();
        let parts = parts_chart(&report());
        Document::parse(&parts).unwrap();
        assert!(parts.contains("nested 0.1 kB; separate 0.2 kB"), "{parts}");
    }
}
