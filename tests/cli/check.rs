//! `nestc check`: what it says of networks that fit, that do not, and that no device runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nestc::export::write_onnx;
use nestc::ir::float::{Binary, Conv, FloatGraph, FloatOp, Node, Shape, Value, Window};
use nestc::ir::ids::ValueId;
use nestc::target::Board;
use serde_json::Value as Json;

use crate::golden;

struct Folder(tempfile::TempDir);

impl Folder {
    /// An empty folder with the committed networks in it.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        for name in ["resnet8_cifar10.onnx", "resnet8_cifar10.nest.onnx"] {
            fs::copy(models.join(name), folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn check(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_nestc"))
            .current_dir(self.0.path())
            .arg("check")
            .args(args)
            .output()
            .unwrap()
    }

    fn json(&self, code: i32, args: &[&str]) -> Json {
        let output = self.check(&[args, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What both streams say.
    fn text(&self, args: &[&str]) -> String {
        let output = self.check(args);
        let code = output.status.code().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, said) = (text(output.stdout), text(output.stderr));
        format!(
            "$ nestc check {}\n{out}{said}exit code {code}\n\n",
            args.join(" ")
        )
    }
}

/// A network of `1x1` convolutions over pictures of `side`, divided by its own mean.
fn divided(side: usize) -> FloatGraph {
    let mut graph = FloatGraph::default();
    let mut value = |name: &str, shape: Shape| -> ValueId {
        graph.values.push(Value {
            name: name.into(),
            shape,
        })
    };
    let map = Shape::map(16, side, side);
    let input = value("picture", Shape::map(3, side, side));
    let wide = value("wide_out", map);
    let mean = value("mean_out", Shape::map(16, 1, 1));
    let quotient = value("quotient_out", map);
    let conv = Conv {
        weight: (0..48).map(|i| (i % 7) as f32 / 8.0 + 0.1).collect(),
        bias: Some(vec![1.0; 16]),
        out_channels: 16,
        group_channels: 3,
        groups: 1,
        window: Window::UNIT,
    };
    for (name, op, inputs, output) in [
        ("wide", FloatOp::Conv(conv), vec![input], wide),
        ("mean", FloatOp::GlobalAvgPool, vec![wide], mean),
        (
            "quotient",
            FloatOp::Binary(Binary::Div),
            vec![wide, mean],
            quotient,
        ),
    ] {
        graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs,
            output,
        });
    }
    graph.input = Some(input);
    graph.outputs = vec![quotient];
    graph
}

#[test]
fn checks_read_as_recorded() {
    let folder = Folder::new();
    write_onnx(&divided(400), &folder.path("alloc.onnx")).unwrap();
    write_onnx(&divided(12), &folder.path("small.onnx")).unwrap();
    let board = ["--target", "stm32h743"];
    let levels = ["--levels", "50,95,0"];
    let mut text = String::new();
    text += &folder.text(&["resnet8_cifar10.onnx"]);
    text += &folder.text(&[&["resnet8_cifar10.onnx"], &board[..], &levels[..]].concat());
    text += &folder.text(&[&["resnet8_cifar10.nest.onnx"], &board[..]].concat());
    text += &folder.text(&[&["resnet8_cifar10.nest.onnx"], &levels[..]].concat());
    // A layer that no device runs, a name that no crate may have, and too little memory.
    text += &folder.text(&[&["alloc.onnx"], &board[..]].concat());
    text += &folder.text(&["small.onnx"]);
    golden::check("check", &text);
}

#[test]
fn all_findings_come_with_the_estimates() {
    let folder = Folder::new();
    write_onnx(&divided(400), &folder.path("alloc.onnx")).unwrap();
    let checked = folder.json(2, &["alloc.onnx", "--target", "stm32h743"]);
    let codes = |of: &Json| -> Vec<String> {
        let all = of["findings"].as_array().unwrap().iter();
        all.map(|f| f["code"].as_str().unwrap().to_owned())
            .collect()
    };
    let on = &checked["targets"][0];
    assert_eq!(codes(&checked), ["E502", "E611"]);
    assert_eq!(codes(on), ["E604"]);
    assert_eq!(on["fits"], false);
    assert!(on["ram_bytes"]["arena"].as_u64().unwrap() >= 16 * 400 * 400);
    assert!(on["levels"][0]["estimated_cycles"].as_u64().unwrap() > 1_000_000);
}

#[test]
fn every_board_is_estimated_and_one_that_fits_is_enough() {
    let folder = Folder::new();
    let args = [
        "resnet8_cifar10.onnx",
        "--target",
        "all",
        "--levels",
        "90,0",
    ];
    let checked = folder.json(0, &args);
    assert_eq!(checked["levels_from"], "magnitude");
    assert_eq!(checked["run_time_transposes"].as_array().unwrap().len(), 0);
    let targets = checked["targets"].as_array().unwrap();
    let named: Vec<&str> = targets
        .iter()
        .map(|t| t["board"].as_str().unwrap())
        .collect();
    assert_eq!(named, Board::names());
    assert!(targets.iter().any(|on| on["fits"] == true));
    for on in targets {
        assert_eq!(on["levels"].as_array().unwrap().len(), 2);
        assert_eq!(
            on["fits"] == true,
            on["findings"].as_array().unwrap().is_empty()
        );
    }
    let table = folder.text(&args);
    for name in named {
        assert!(table.contains(&format!("\n{name}  ")), "{table}");
    }
}
