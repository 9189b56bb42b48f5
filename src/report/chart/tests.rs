//! Charts are well-formed, tell everything twice, and are the same bytes every time.

use std::collections::BTreeSet;
use std::path::Path;

use roxmltree::Document;

use super::*;

fn plot() -> Plot {
    let point = |x: f64, y: f64, label: &str| Point {
        x,
        y,
        spread: Some([y - 0.3, y + 0.4]),
        label: label.into(),
    };
    Plot {
        id: "cost".into(),
        title: "Accuracy against cycles".into(),
        description: "Nested: 80.1 % at 1.9 million cycles & more.".into(),
        size: [480.0, 320.0],
        x: Axis::new("million cycles").with(0.0),
        y: Axis::new("accuracy [%]"),
        series: vec![
            Series {
                name: "nested".into(),
                join: Join::Marks,
                points: vec![
                    point(1.9, 80.1, "nested 95 %: 80.1 %"),
                    point(6.5, 87.9, "nested 50 %: 87.9 %"),
                ],
            },
            Series {
                name: "width <slimmable>".into(),
                join: Join::Marks,
                points: vec![
                    point(1.8, 61.0, "width 95 %: 61.0 %"),
                    point(6.6, 86.0, "width 50 %: 86.0 %"),
                    point(f64::NAN, 86.0, "never drawn"),
                ],
            },
        ],
        front: Some("Pareto front".into()),
    }
}

fn lines() -> Plot {
    let series = |name: &str, share: f64| Series {
        name: name.into(),
        join: Join::Line,
        points: (0..30)
            .map(|i| Point::new(f64::from(i), 2.3 - share * f64::from(i)))
            .collect(),
    };
    Plot {
        id: "loss".into(),
        title: "Loss".into(),
        size: [420.0, 300.0],
        x: Axis::new("epoch"),
        y: Axis::new("mean loss"),
        series: vec![series("95 %", 0.03), series("50 %", 0.05)],
        ..Plot::default()
    }
}

fn bars() -> Bars {
    let bar = |name: &str, lengths: [f64; 2], note: &str| Bar {
        name: name.into(),
        lengths: lengths.to_vec(),
        note: note.into(),
    };
    Bars {
        id: "flash".into(),
        title: "Flash of all levels".into(),
        description: "One artefact against several.".into(),
        width: 480.0,
        label: "kB".into(),
        segments: vec!["weights and indices".into(), "code".into()],
        bars: vec![
            bar("nested", [81.3, 20.1], "101 kB"),
            bar("separate", [210.0, 20.4], "230 kB"),
        ],
    }
}

/// Every number in an attribute.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[test]
fn charts_are_what_was_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/charts");
    for (name, svg) in [
        ("plot", plot().svg()),
        ("lines", lines().svg()),
        ("bars", bars().svg()),
    ] {
        let path = folder.join(format!("{name}.svg"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &svg).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            recorded,
            svg,
            "{}: run `make bless` if this is meant",
            path.display()
        );
    }
}

#[test]
fn charts_are_well_formed_and_told_in_words() {
    for svg in [plot().svg(), lines().svg(), bars().svg()] {
        let document = Document::parse(&svg).unwrap();
        let root = document.root_element();
        assert_eq!(root.tag_name().name(), "svg");
        assert_eq!(root.attribute("role"), Some("img"));
        let ids: Vec<&str> = document
            .descendants()
            .filter_map(|n| n.attribute("id"))
            .collect();
        let unique: BTreeSet<&&str> = ids.iter().collect();
        assert_eq!(ids.len(), unique.len(), "{ids:?}");
        for id in root.attribute("aria-labelledby").unwrap().split(' ') {
            assert!(ids.contains(&id), "{id} of {ids:?}");
        }
        // Nothing lies outside the picture.
        let size = numbers(root.attribute("viewBox").unwrap());
        for text in document.descendants().filter(|n| n.has_tag_name("text")) {
            let of = |name: &str| text.attribute(name).unwrap().parse::<f64>().unwrap();
            assert!((0.0..=size[2]).contains(&of("x")), "{text:?}");
            assert!((0.0..=size[3]).contains(&of("y")), "{text:?}");
        }
    }
}

#[test]
fn text_is_escaped() {
    let hostile = "</title><script>\"'&\u{1}";
    let mut chart = plot();
    chart.title = hostile.into();
    chart.description = hostile.into();
    chart.x.label = hostile.into();
    chart.series[0].name = hostile.into();
    chart.series[0].points[0].label = hostile.into();
    let svg = chart.svg();
    let document = Document::parse(&svg).unwrap();
    assert!(!document.descendants().any(|n| n.has_tag_name("script")));
    let seen = document
        .descendants()
        .filter(|n| n.is_text() && n.text() == Some("</title><script>\"'&\u{fffd}"))
        .count();
    assert_eq!(
        seen, 7,
        "title, its heading, text, axis, legend, mark, front"
    );
}

#[test]
fn the_front_alone_is_ringed_and_labelled() {
    let svg = plot().svg();
    let document = Document::parse(&svg).unwrap();
    let labels: Vec<&str> = document
        .descendants()
        .filter(|n| n.attribute("font-size") == Some("11"))
        .filter_map(|n| n.text())
        .collect();
    assert_eq!(labels, ["width 95 %", "nested 95 %", "nested 50 %"]);
    // Of the legend and of three points.
    let rings = svg.matches("a8.5 8.5 0 1 0 17 0").count();
    assert_eq!(rings, 4);
}

#[test]
fn points_at_one_place_share_a_label() {
    let mut chart = plot();
    let mut twin = chart.series[0].points[0].clone();
    twin.label = "twin: the same".into();
    chart.series[1].points[2] = twin;
    assert!(
        chart.svg().contains(">nested 95 %, twin</text>"),
        "{}",
        chart.svg()
    );
}

#[test]
fn shapes_and_dashes_tell_series_apart_without_colour() {
    let series = |i: usize| Series {
        name: format!("s{i}"),
        join: Join::Line,
        points: vec![Point::new(0.0, 0.0), Point::new(1.0, 1.0)],
    };
    let chart = Plot {
        series: (0..16).map(series).collect(),
        ..lines()
    };
    let svg = chart.svg();
    let document = Document::parse(&svg).unwrap();
    // The last mark of every series stands at the same place: what is left is its look.
    let mut looks = BTreeSet::new();
    let groups = document.descendants().filter(|n| n.has_tag_name("g"));
    for group in groups.filter(|n| n.attribute("fill").is_some()) {
        let Some(last) = group.children().rfind(|n| n.has_tag_name("path")) else {
            continue;
        };
        let hollow = group.attribute("fill") == Some("#ffffff");
        looks.insert((last.attribute("d").unwrap().to_string(), hollow));
    }
    assert_eq!(looks.len(), 16);
}

#[test]
fn charts_without_data_say_so() {
    let empty = Plot {
        series: Vec::new(),
        ..lines()
    };
    assert!(empty.svg().contains(">no data</text>"));
    Document::parse(&empty.svg()).unwrap();
    let none = Bars {
        bars: Vec::new(),
        segments: Vec::new(),
        ..bars()
    };
    Document::parse(&none.svg()).unwrap();
}
