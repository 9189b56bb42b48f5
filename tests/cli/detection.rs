//! `nestc eval` on boxes: a detector made by hand over pictures of a few pixels, so that every figure
//! is known, and what the verb refuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nestc::ir::float::{Conv, FloatGraph, FloatOp, Node, Shape, Value as GraphValue, Window};
use nestc::ir::ids::{Id, NodeId};
use nestc::ir::nested::{LevelInfo, NestedModel};
use serde_json::{Value, json};

use crate::golden;

/// FastestDet's head over pictures of 4 columns and 2 rows, a cell a pixel: red is objectness, green
/// the class `a`, blue the class `b`, every box a pixel large. The sparser of its two levels has no
/// weight for red and so finds nothing.
fn detector() -> NestedModel {
    let mut graph = FloatGraph {
        name: "detector".into(),
        ..FloatGraph::default()
    };
    let mut value = |name: &str, channels| {
        graph.values.push(GraphValue {
            name: name.into(),
            shape: Shape::map(channels, 2, 4),
        })
    };
    let (input, output) = (value("input", 3), value("output", 7));
    let mut weight = vec![0.0; 21];
    // Objectness from red, the classes from green and blue.
    for (out, channel) in [(0, 0), (5, 1), (6, 2)] {
        weight[out * 3 + channel] = 1.0 / 255.0;
    }
    // tanh(0.5493) = 0.5 is the middle of the cell; with size=4, sigmoid(-1.0986) = 0.25 is a cell.
    let bias = vec![0.0, 0.549_306, 0.549_306, -1.098_612, -1.098_612, 0.0, 0.0];
    graph.nodes.push(Node {
        name: "head".into(),
        op: FloatOp::Conv(Conv {
            weight,
            bias: Some(bias),
            out_channels: 7,
            group_channels: 3,
            groups: 1,
            window: Window::UNIT,
        }),
        inputs: vec![input],
        output,
    });
    graph.input = Some(input);
    graph.outputs.push(output);
    let mut model = NestedModel::plain(graph);
    let level = |sparsity| LevelInfo {
        sparsity,
        accuracy_top1: None,
    };
    model.levels = vec![level(0.5), level(0.0)];
    let mut levels = vec![0; 21];
    levels[0] = 1;
    model.weight_levels.insert(NodeId::from_index(0), levels);
    model
}

const HEAD: &str = "fastestdet,size=4,classes=a/b";

/// A picture with coloured pixels and objects a pixel large at these columns and rows.
fn picture(
    folder: &Path,
    name: &str,
    pixels: &[(u32, u32, [u8; 3])],
    objects: &[(&str, u32, u32)],
) {
    let mut picture = image::RgbImage::new(4, 2);
    for &(x, y, color) in pixels {
        picture.put_pixel(x, y, image::Rgb(color));
    }
    for inside in ["JPEGImages", "Annotations"] {
        fs::create_dir_all(folder.join(inside)).unwrap();
    }
    picture
        .save(folder.join(format!("JPEGImages/{name}.png")))
        .unwrap();
    let objects: String = (objects.iter())
        .map(|&(class, x, y)| {
            let (right, bottom) = (x + 1, y + 1);
            format!(
                "<object><name>{class}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>\
                 <xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            )
        })
        .collect();
    let xml = format!("<annotation>{objects}</annotation>");
    fs::write(folder.join(format!("Annotations/{name}.xml")), xml).unwrap();
}

fn nestc(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nestc"))
        .current_dir(folder)
        .args(args)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn detectors_are_measured_by_average_precision() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    const A: [u8; 3] = [255, 255, 0];
    const B: [u8; 3] = [255, 0, 255];
    const DIM_A: [u8; 3] = [128, 255, 0];
    // Of two objects of `a`, one is found, and a wrong box is stronger; both of `b` are found.
    let set = folder.join("set");
    picture(
        &set,
        "1",
        &[(0, 0, A), (3, 1, B), (1, 1, DIM_A)],
        &[("b", 3, 1), ("a", 1, 1), ("c", 0, 0)],
    );
    picture(&set, "2", &[(2, 0, B)], &[("b", 2, 0), ("a", 0, 1)]);
    let none = folder.join("none");
    picture(&none, "1", &[], &[("c", 0, 0)]);
    fs::create_dir(folder.join("flat")).unwrap();
    fs::copy(set.join("JPEGImages/1.png"), folder.join("flat/1.png")).unwrap();

    let mut model = detector();
    nestc::export::write_nest(&model, &folder.join("plain.nest.onnx")).unwrap();
    model.training = Some(json!({ "head": HEAD }));
    nestc::export::write_nest(&model, &folder.join("d.nest.onnx")).unwrap();

    let run = nestc(
        folder,
        &[
            "eval",
            "plain.nest.onnx",
            "--data",
            "voc:set",
            "--head",
            HEAD,
            "--json",
        ],
    );
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    assert!(stderr(&run).contains("warning[E804]"), "{}", stderr(&run));
    let document: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["head"], HEAD);
    assert_eq!(document["images"], 2);
    let level = |level, sparsity, map50, a, b| {
        json!({
            "level": level, "sparsity": sparsity, "map50": map50,
            "classes": [
                { "class": "a", "objects": 2, "ap50": a },
                { "class": "b", "objects": 2, "ap50": b },
            ],
        })
    };
    let expected = json!([
        level(0, 0.5, 0.0, 0.0, 0.0),
        level(1, 0.0, 0.625, 0.25, 1.0)
    ]);
    assert_eq!(document["levels"], expected);

    // The model remembers its head; another one on the command line goes before it.
    let run = nestc(folder, &["eval", "d.nest.onnx", "--data", "voc:set"]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(
        text,
        "2 images, float arithmetic\n\
         level  sparsity    mAP50        a         b\n    \
         0    50.0 %   0.00 %   0.00 %    0.00 %\n    \
         1     0.0 %  62.50 %  25.00 %  100.00 %\n"
    );
    let strict = format!("{HEAD},score=0.9");
    let run = nestc(
        folder,
        &[
            "eval",
            "d.nest.onnx",
            "--data",
            "voc:set",
            "--head",
            &strict,
            "--json",
        ],
    );
    let document: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(document["levels"][1]["map50"], 0.5);

    // The device's arithmetic finds the same.
    let int8 = [
        "eval",
        "d.nest.onnx",
        "--data",
        "voc:set",
        "--precision",
        "int8",
    ];
    let run = nestc(folder, &[&int8[..], &["--json"]].concat());
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let document: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(document["precision"], "int8");
    assert_eq!(document["levels"], expected);

    // It also remembers the size that pictures were brought to.
    let large = folder.join("large");
    picture(&large, "1", &[(3, 1, B)], &[("b", 3, 1)]);
    let colours = image::open(large.join("JPEGImages/1.png")).unwrap();
    let nearest = image::imageops::FilterType::Nearest;
    colours
        .resize_exact(8, 2, nearest)
        .save(large.join("JPEGImages/1.png"))
        .unwrap();
    let xml = fs::read_to_string(large.join("Annotations/1.xml")).unwrap();
    let wide = xml.replace(">3<", ">6<").replace(">4<", ">8<");
    fs::write(large.join("Annotations/1.xml"), wide).unwrap();
    let record = json!({ "head": HEAD, "data": "voc:set,resize=2x4" });
    model.training = Some(record);
    nestc::export::write_nest(&model, &folder.join("sized.nest.onnx")).unwrap();
    let run = nestc(
        folder,
        &["eval", "sized.nest.onnx", "--data", "voc:large", "--json"],
    );
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let document: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(document["levels"][1]["map50"], 1.0);
    picture(&large, "2", &[], &[]);

    let mut refusals = String::new();
    for args in [
        &["d.nest.onnx", "--data", "voc:large"][..],
        &["plain.nest.onnx", "--data", "voc:set"],
        &["d.nest.onnx", "--data", "voc:none"],
        &["d.nest.onnx", "--data", "folder:flat", "--head", HEAD],
        &["d.nest.onnx", "--data", "voc:set", "--head", "fastestdet"],
        &["d.nest.onnx", "--data", "voc:set", "--head", "detr,score=2"],
        &["d.nest.onnx", "--data", "voc:set", "--head", "yolo,form=v4"],
    ] {
        let args = [&["eval"], args].concat();
        let run = nestc(folder, &args);
        assert_eq!(run.status.code(), Some(2), "{args:?}: {}", stderr(&run));
        let findings = stderr(&run);
        let at = findings.find("error[").unwrap();
        refusals += &format!("$ nestc {}\n{}\n", args.join(" "), &findings[at..]);
    }
    golden::check("detection", &refusals);
}
