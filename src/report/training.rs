//! The record of a training run as a page that needs nothing but a browser.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::chart::{Axis, Join, Plot, Point, Series};
use crate::ir::float::FloatOp;
use crate::ir::ids::{Id, Level};
use crate::ir::nested::NestedModel;
use crate::units::group_thousands;

/// Points of a curve, and rows of the table of epochs, at most: a page of a long run stays small.
const MOST_POINTS: usize = 200;
const MOST_ROWS: usize = 60;

/// What a training run was asked for, how it went and what it gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainRecord {
    /// The model's name.
    pub model: String,
    /// What the run was asked for: name and value.
    pub options: Vec<(String, String)>,
    /// Where the result comes from: name and value.
    pub provenance: Vec<(String, String)>,
    /// Levels at the end, sparsest first.
    pub levels: Vec<RecordedLevel>,
    /// Epoch by epoch.
    pub history: Vec<RecordedEpoch>,
    /// The layers that were pruned, in execution order.
    pub layers: Vec<LayerSparsity>,
}

/// How sparse a layer is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerSparsity {
    /// The node's name.
    pub name: String,
    /// How many weights it has.
    pub weights: u64,
    /// Share of zeros at each level, sparsest first.
    pub zeros: Vec<f64>,
}

/// A level at the end of training. Fields that an older or a newer record has not are at their
/// defaults: a page is drawn of every record.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RecordedLevel {
    /// 0 is the sparsest.
    pub level: usize,
    /// Share of the prunable weights that are zero.
    pub sparsity: f64,
    /// Multiply-accumulates of an inference.
    pub macs: u64,
    /// Share of the validation set's images classified right.
    pub accuracy_top1: Option<f64>,
    /// The same of the images held out of training.
    pub held_out_accuracy_top1: Option<f64>,
    /// Mean loss.
    pub loss: Option<f64>,
}

/// An epoch.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RecordedEpoch {
    /// Counted from 0.
    pub epoch: usize,
    /// Sparsest first.
    pub levels: Vec<RecordedLevelEpoch>,
    /// Share of the prunable weights that each level left out at its end.
    pub sparsity: Vec<f64>,
}

/// A level in an epoch.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RecordedLevelEpoch {
    /// Mean training loss.
    pub loss: f64,
    /// Share of augmented training images classified right.
    pub training_accuracy: Option<f64>,
    /// Share of validation images, or of those held out, classified right.
    pub accuracy_top1: Option<f64>,
}

/// The part of a model's training record that is drawn.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Recorded {
    options: serde_json::Map<String, Value>,
    levels: Vec<RecordedLevel>,
    history: Vec<RecordedEpoch>,
}

impl TrainRecord {
    /// The record that `nestc train` left in a model; none if the model has none.
    pub fn of(model: &NestedModel) -> Option<Self> {
        let training = model.training.as_ref()?;
        let recorded: Recorded = Recorded::deserialize(training).ok()?;
        let known = ["options", "levels", "history"];
        let provenance = training.as_object()?.iter();
        Some(Self {
            model: model.graph.name.clone(),
            options: recorded.options.iter().map(fact).collect(),
            provenance: provenance
                .filter(|(key, _)| !known.contains(&key.as_str()))
                .map(fact)
                .collect(),
            levels: recorded.levels,
            history: recorded.history,
            layers: layers(model),
        })
    }
}

/// A name in words, and a value in short.
fn fact((key, value): (&String, &Value)) -> (String, String) {
    (key.replace('_', " "), text(value))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(s) => s.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            items.join(", ")
        }
        Value::Object(fields) => {
            let fields: Vec<String> = (fields.iter())
                .map(|(k, v)| format!("{} {}", k.replace('_', " "), text(v)))
                .collect();
            fields.join(", ")
        }
        other => other.to_string(),
    }
}

fn layers(model: &NestedModel) -> Vec<LayerSparsity> {
    let mut layers = Vec::new();
    for (&id, owners) in &model.weight_levels {
        let node = &model.graph.nodes[id];
        let weight = match &node.op {
            FloatOp::Conv(conv) => &conv.weight,
            FloatOp::Dense(dense) => &dense.weight,
            _ => continue,
        };
        let zeros = model.level_ids().map(|level: Level| {
            let live = (weight.iter().zip(owners))
                .filter(|&(&w, &owner)| w != 0.0 && usize::from(owner) <= level.index())
                .count();
            1.0 - live as f64 / weight.len().max(1) as f64
        });
        layers.push(LayerSparsity {
            name: node.name.clone(),
            weights: weight.len() as u64,
            zeros: zeros.collect(),
        });
    }
    layers
}

#[derive(Template)]
#[template(path = "report/training.html")]
struct Page<'a> {
    nestc_version: &'static str,
    title: String,
    summary: String,
    end_heads: Vec<&'static str>,
    levels: Vec<(usize, Vec<String>)>,
    charts: Vec<String>,
    epoch_heads: Vec<String>,
    epochs: Vec<(usize, Vec<String>)>,
    level_heads: Vec<String>,
    layers: Vec<(&'a str, String, Vec<String>)>,
    options: &'a [(String, String)],
    provenance: &'a [(String, String)],
}

/// A page of the run: curves of loss and accuracy a level, the course of the sparsity, the zeros of
/// each layer, options and provenance. One file below 500 kB that loads nothing.
pub fn training_html(record: &TrainRecord) -> String {
    let names = level_names(record);
    let validated = |l: &RecordedLevelEpoch| l.accuracy_top1.is_some();
    let measured = record.history.iter().flat_map(|e| &e.levels).any(validated);
    let (end_heads, levels) = level_table(&record.levels);
    let page = Page {
        nestc_version: env!("CARGO_PKG_VERSION"),
        title: format!("Training of {}", record.model),
        summary: summary(record),
        end_heads,
        levels,
        charts: charts(record, &names, measured),
        epoch_heads: epoch_heads(&names, measured),
        epochs: thinned(record.history.len(), MOST_ROWS)
            .map(|i| epoch_row(&record.history[i], measured))
            .collect(),
        level_heads: names.clone(),
        layers: (record.layers.iter())
            .map(|l| {
                let zeros = l.zeros.iter().map(|z| format!("{:.1}", z * 100.0));
                (l.name.as_str(), group_thousands(l.weights), zeros.collect())
            })
            .collect(),
        options: &record.options,
        provenance: &record.provenance,
    };
    // The template is fixed and writes into a string: it cannot fail.
    page.render().unwrap_or_default()
}

/// The levels' figures: a column for each that was measured at any level, a dash where it was not.
fn level_table(levels: &[RecordedLevel]) -> (Vec<&'static str>, Vec<(usize, Vec<String>)>) {
    type Cell = fn(&RecordedLevel) -> Option<String>;
    let columns: [(&str, Cell); 5] = [
        ("sparsity", |l| Some(percent(l.sparsity, 1))),
        ("MACs", |l| (l.macs > 0).then(|| group_thousands(l.macs))),
        ("accuracy", |l| l.accuracy_top1.map(|a| percent(a, 2))),
        ("on images held out", |l| {
            l.held_out_accuracy_top1.map(|a| percent(a, 2))
        }),
        ("loss", |l| l.loss.map(|loss| format!("{loss:.4}"))),
    ];
    let measured = |cell: &Cell| levels.iter().any(|l| cell(l).is_some());
    let columns = columns.iter().filter(|(_, cell)| measured(cell));
    let row = |l: &RecordedLevel| {
        let cells = columns.clone();
        let cells = cells.map(|(_, cell)| cell(l).unwrap_or_else(|| "-".into()));
        (l.level, cells.collect())
    };
    let rows = levels.iter().map(row).collect();
    (columns.map(|(head, _)| *head).collect(), rows)
}

/// What a level is called: its sparsity at the end.
fn level_names(record: &TrainRecord) -> Vec<String> {
    let sparsity: Vec<f64> = match record.history.last() {
        _ if !record.levels.is_empty() => record.levels.iter().map(|l| l.sparsity).collect(),
        Some(epoch) => epoch.sparsity.clone(),
        None => Vec::new(),
    };
    sparsity.into_iter().map(|s| percent(s, 0)).collect()
}

fn percent(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", share * 100.0)
}

fn summary(record: &TrainRecord) -> String {
    let levels = match record.levels.len() {
        1 => "one level".to_string(),
        n => format!("{n} levels"),
    };
    let epochs = match record.history.len() {
        0 => "without an epoch of training".to_string(),
        1 => "one epoch".to_string(),
        n => format!("{n} epochs"),
    };
    format!(
        "{levels}, {epochs}. A level is named by the share of prunable weights that it leaves out."
    )
}

/// At most `most` of the indices up to `count`, evenly spread, first and last among them.
fn thinned(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let shown = count.min(most);
    (0..shown).map(move |i| match shown {
        0 | 1 => i,
        _ => i * (count - 1) / (shown - 1),
    })
}

fn charts(record: &TrainRecord, names: &[String], measured: bool) -> Vec<String> {
    if record.history.is_empty() {
        return Vec::new();
    }
    let accuracy = |l: &RecordedLevelEpoch| match measured {
        true => l.accuracy_top1,
        false => l.training_accuracy,
    };
    let images = if measured {
        "validation images"
    } else {
        "augmented training images"
    };
    let mut all = vec![curves(
        "loss",
        "Training loss",
        "mean loss of an epoch",
        record,
        names,
        &|e, l| e.levels.get(l).map(|l| l.loss),
    )];
    if record
        .history
        .iter()
        .flat_map(|e| &e.levels)
        .any(|l| accuracy(l).is_some())
    {
        all.push(curves(
            "accuracy",
            &format!("Accuracy on {images}"),
            "top-1 accuracy [%]",
            record,
            names,
            &|e, l| e.levels.get(l).and_then(accuracy).map(|a| a * 100.0),
        ));
    }
    all.push(curves(
        "sparsity",
        "Weights left out",
        "share of prunable weights [%]",
        record,
        names,
        &|e, l| e.sparsity.get(l).map(|s| s * 100.0),
    ));
    all
}

/// One curve a level over the epochs.
fn curves(
    id: &str,
    title: &str,
    label: &str,
    record: &TrainRecord,
    names: &[String],
    value: &dyn Fn(&RecordedEpoch, usize) -> Option<f64>,
) -> String {
    let series: Vec<Series> = (names.iter().enumerate())
        .map(|(level, name)| Series {
            name: name.clone(),
            join: Join::Line,
            points: thinned(record.history.len(), MOST_POINTS)
                .filter_map(|i| {
                    let epoch = &record.history[i];
                    Some(Point::new((epoch.epoch + 1) as f64, value(epoch, level)?))
                })
                .collect(),
        })
        .collect();
    let ends: Vec<String> = (series.iter())
        .filter_map(|s| {
            let (first, last) = (s.points.first()?, s.points.last()?);
            Some(format!("{} from {:.2} to {:.2}", s.name, first.y, last.y))
        })
        .collect();
    Plot {
        id: id.into(),
        title: title.into(),
        description: format!(
            "{label} over the epochs, level by level: {}.",
            ends.join("; ")
        ),
        size: [420.0, 300.0],
        x: Axis::new("epoch").with(0.0),
        y: Axis::new(label),
        series,
        front: None,
    }
    .svg()
}

fn epoch_heads(names: &[String], measured: bool) -> Vec<String> {
    let what = if measured {
        "accuracy"
    } else {
        "training accuracy"
    };
    let mut heads = vec!["epoch".to_string()];
    for name in names {
        heads.push(format!("{name}: loss"));
        heads.push(format!("{what} [%]"));
        heads.push("zeros [%]".to_string());
    }
    heads
}

fn epoch_row(epoch: &RecordedEpoch, measured: bool) -> (usize, Vec<String>) {
    let mut cells = Vec::new();
    for (level, sparsity) in epoch.levels.iter().zip(&epoch.sparsity) {
        let accuracy = match measured {
            true => level.accuracy_top1,
            false => level.training_accuracy,
        };
        cells.push(format!("{:.4}", level.loss));
        cells.push(accuracy.map_or("-".into(), |a| format!("{:.2}", a * 100.0)));
        cells.push(format!("{:.1}", sparsity * 100.0));
    }
    (epoch.epoch + 1, cells)
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;
    use serde_json::json;

    use super::*;

    fn record(epochs: usize, levels: usize) -> TrainRecord {
        let level = |epoch: usize, l: usize| {
            json!({
                "loss": 2.0 / (epoch + l + 1) as f64,
                "training_accuracy": 0.5,
                "accuracy_top1": 0.123_456 + epoch as f64 / (2 * epochs) as f64,
            })
        };
        let epoch = |epoch: usize| {
            let of = json!({
                "epoch": epoch,
                "levels": (0..levels).map(|l| level(epoch, l)).collect::<Vec<_>>(),
                "sparsity": vec![0.5; levels],
            });
            serde_json::from_value(of).unwrap()
        };
        let last = |l: usize| {
            let of = json!({
                "level": l,
                "sparsity": 0.9 - l as f64 / 20.0,
                "accuracy_top1": 0.875,
                "loss": 0.5,
            });
            serde_json::from_value(of).unwrap()
        };
        TrainRecord {
            model: "net <&> \"x\"".into(),
            options: vec![("epochs".into(), epochs.to_string())],
            provenance: vec![("nestc version".into(), "0.1.0".into())],
            levels: (0..levels).map(last).collect(),
            history: (0..epochs).map(epoch).collect(),
            layers: vec![LayerSparsity {
                name: "conv1".into(),
                weights: 12_345,
                zeros: vec![0.951; levels],
            }],
        }
    }

    /// The page as XML: what nestc writes closes every tag, but for those that HTML leaves open.
    fn parsed(html: &str) -> String {
        html.replacen("<!DOCTYPE html>", "", 1)
            .lines()
            .map(|line| match line.starts_with("<meta ") {
                true => line.replacen('>', "/>", 1),
                false => line.to_string(),
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_page_is_well_formed_and_loads_nothing() {
        let html = training_html(&record(12, 5));
        let xml = parsed(&html);
        let document = Document::parse(&xml).unwrap();
        let count = |tag: &str| {
            let all = document.descendants();
            all.filter(|n| n.tag_name().name() == tag).count()
        };
        assert_eq!(count("svg"), 3);
        assert_eq!((count("script"), count("link"), count("img")), (0, 0, 0));
        // Namespaces are names and are not loaded.
        let links = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!links.contains("http"), "a page names no address");
        assert!(
            html.contains("Training of net &#60;&#38;&#62; &#34;x&#34;"),
            "{html}"
        );
        let ids: Vec<&str> = document
            .descendants()
            .filter_map(|n| n.attribute("id"))
            .collect();
        let unique: std::collections::BTreeSet<&&str> = ids.iter().collect();
        assert_eq!(ids.len(), unique.len(), "{ids:?}");
    }

    #[test]
    fn figures_stand_on_the_page() {
        let html = training_html(&record(4, 2));
        for figure in ["90 %", "87.50 %", "12,345", ">95.1<", "12.35", "0.5000"] {
            assert!(html.contains(figure), "{figure}: {html}");
        }
    }

    #[test]
    fn the_longest_run_is_below_half_a_megabyte() {
        let html = training_html(&record(10_000, 16));
        assert!(html.len() < 500_000, "{} bytes", html.len());
        assert!(
            html.contains("<th scope=\"row\">10000</th>"),
            "the last epoch is kept"
        );
    }

    #[test]
    fn a_run_without_epochs_has_a_page() {
        let html = training_html(&record(0, 3));
        assert!(html.contains("without an epoch"));
        assert!(!html.contains("<svg") && !html.contains("on images held out"));
        Document::parse(&parsed(&html)).unwrap();
    }

    #[test]
    fn first_and_last_are_kept() {
        assert_eq!(thinned(0, 5).count(), 0);
        assert_eq!(thinned(1, 5).collect::<Vec<_>>(), [0]);
        assert_eq!(thinned(5, 5).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(thinned(100, 3).collect::<Vec<_>>(), [0, 49, 99]);
    }
}
