//! Boxes on the device: a small network of random weights for each kind of head, whose module `detect`
//! finds there what the host finds, to the last bit. One workspace serves all of them.

use std::fs;
use std::path::Path;

use nestc::bench::{
    self, BenchOptions, Compiled, EmulatorRunner, Exchange, Recorder, ReplayRunner, Runner,
};
use nestc::detect::Head;
use nestc::diag;
use nestc::emit::{self, Budgets};
use nestc::image::{self, Image};
use nestc::ir::float::{Conv, FloatGraph, FloatOp, Node, Shape, Value, Window};
use nestc::ir::ids::{Id, NodeId};
use nestc::ir::nested::{LevelInfo, NestedModel};
use nestc::ir::program::Program;
use nestc::passes::{self, CompileOptions};
use nestc::report::BenchReport;

use crate::support::{Random, board, build_options, cargo, cargo_ok, host_triple};

/// Rows and columns of the input.
const SIDE: usize = 16;

/// A network of two levels: an output a convolution, `channels` at every `stride` pixels.
fn program(outputs: &[(usize, usize)]) -> Program {
    let mut random = Random(2027);
    let mut graph = FloatGraph {
        name: "boxes".into(),
        ..FloatGraph::default()
    };
    let input = graph.values.push(Value {
        name: "input".into(),
        shape: Shape::map(3, SIDE, SIDE),
    });
    graph.input = Some(input);
    let mut weight_levels = Vec::new();
    for (index, &(channels, stride)) in outputs.iter().enumerate() {
        let output = graph.values.push(Value {
            name: format!("output{index}"),
            shape: Shape::map(channels, SIDE / stride, SIDE / stride),
        });
        let len = channels * 3 * stride * stride;
        let mut unit = || random.signed(1000) as f32 / 1000.0;
        graph.nodes.push(Node {
            name: format!("head{index}"),
            op: FloatOp::Conv(Conv {
                weight: (0..len).map(|_| unit()).collect(),
                bias: Some((0..channels).map(|_| unit()).collect()),
                out_channels: channels,
                group_channels: 3,
                groups: 1,
                window: Window {
                    kernel: [stride, stride],
                    stride: [stride, stride],
                    ..Window::UNIT
                },
            }),
            inputs: vec![input],
            output,
        });
        graph.outputs.push(output);
        weight_levels.push((0..len).map(|_| random.below(2) as u8).collect::<Vec<u8>>());
    }
    let mut model = NestedModel::plain(graph);
    let level = |sparsity| LevelInfo {
        sparsity,
        accuracy_top1: None,
    };
    model.levels = vec![level(0.5), level(0.0)];
    for (index, levels) in weight_levels.into_iter().enumerate() {
        model
            .weight_levels
            .insert(NodeId::from_index(index), levels);
    }
    passes::compile(model, &CompileOptions::default(), &mut ()).unwrap_or_else(|e| panic!("{e}"))
}

/// Emits over what is there, changing no file that stays as it is, and builds.
fn build(out: &Path, program: &Program, head: &Head) -> Compiled {
    let board = board();
    let decoder = emit::decoder(program, head).unwrap_or_else(|e| panic!("{e}"));
    let budgets = Budgets {
        boxes: emit::box_bytes(&decoder),
        ..Budgets::default()
    };
    let files = emit::emit(program, &board, budgets, Some(head)).unwrap_or_else(|e| panic!("{e}"));
    for file in files {
        let path = out.join(&file.path);
        if fs::read(&path).ok().as_ref() != Some(&file.bytes) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &file.bytes).unwrap();
        }
    }
    let elf = image::build(out, &board, &program.name, &build_options())
        .unwrap_or_else(|e| panic!("{e}"));
    fs::write(out.join(image::ELF_NAME), &elf).unwrap();
    Compiled::open(out).unwrap_or_else(|e| panic!("{e}"))
}

fn measure(compiled: &Compiled, runner: &mut dyn Runner) -> BenchReport {
    let options = BenchOptions {
        verify: 3,
        ..BenchOptions::default()
    };
    bench::bench(compiled, runner, &options, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}"))
}

/// The emulator finds boxes at every level, and they are the host's.
fn runs(compiled: &Compiled, head: &str) -> Vec<Exchange> {
    let mut recorder = Recorder::new(EmulatorRunner::new(compiled).unwrap());
    let report = measure(compiled, &mut recorder);
    bench::verdict(&report).unwrap_or_else(|e| panic!("{head}: {e}"));
    assert_eq!(report.bit_exact.inputs, 3);
    assert_eq!(report.head.as_deref(), Some(head));
    for level in &report.levels {
        let boxes = level.boxes.as_ref().expect("boxes are measured");
        assert!(boxes.found > 2, "{head}: {boxes:?}");
        assert!(boxes.cycles.unwrap().0 > 100, "{head}: {boxes:?}");
        assert!(boxes.instructions.0 > 100, "{head}: {boxes:?}");
        assert_eq!(level.layers.len(), compiled.program.steps.len());
    }
    assert!(report.table().contains("\n(boxes)"), "{}", report.table());
    recorder.exchanges
}

/// No formatting, no heap, no index that could be out of range and no division by zero.
fn no_panics(image: &Image) {
    for name in image.symbols.keys() {
        for unwanted in [
            "4core3fmt",
            "panic_bounds_check",
            "panic_const",
            "slice_index",
            "unwrap_failed",
            "alloc",
        ] {
            assert!(!name.contains(unwanted), "{name}");
        }
    }
}

#[test]
fn boxes_of_every_kind_of_head_are_those_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let one = program(&[(5 + 3, 2)]);
    let two = program(&[(12, 2), (6, 2)]);
    let mut exchanges = Vec::new();
    for (program, text) in [
        (&one, "fastestdet,size=24,classes=a/b/c,score=0.2"),
        // Three rows a pixel.
        (&two, "ultraface,classes=face,score=0.3,candidates=40"),
        (
            &two,
            "ssd,scores=softmax,strides=2,priors=3x3:5x4:4x6,classes=face,score=0.4",
        ),
        (
            &two,
            "ssd,boxes=centres,scores=sigmoid,classes=face,score=0.6",
        ),
        (
            &two,
            "yolo,form=v5,anchors=3x4:6x5/8x8.5,classes=a,score=0.3",
        ),
    ] {
        let head = Head::parse(text).unwrap_or_else(|e| panic!("{e}"));
        let compiled = build(&out, program, &head);
        cargo_ok(&out, &["fmt", "--all", "--check"]);
        no_panics(&compiled.image);
        exchanges = runs(&compiled, text);
    }

    // A box that differs in one bit is found out.
    let compiled = Compiled::open(&out).unwrap();
    let mut symbols = compiled.image.symbols.iter();
    let (_, &(place, _)) = symbols.find(|(name, _)| name.contains("BOXES")).unwrap();
    let boxes = exchanges.iter_mut().find_map(|exchange| match exchange {
        Exchange::Read { address, bytes } if *address == place && !bytes.is_empty() => Some(bytes),
        _ => None,
    });
    boxes.expect("boxes were read")[0] ^= 1;
    let report = measure(&compiled, &mut ReplayRunner::new(exchanges));
    assert_eq!(report.bit_exact.mismatches, 1);
    let fault = bench::verdict(&report).unwrap_err();
    assert_eq!(fault.code, diag::NOT_BIT_EXACT);
    assert_eq!(fault.place, "layer boxes");

    let clippy = [
        "clippy",
        "--locked",
        "--workspace",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    cargo_ok(&out, &clippy);
    // The example in the documentation.
    let host = host_triple();
    let args = [
        "test",
        "--locked",
        "--doc",
        "--package",
        "boxes",
        "--features",
        "detect",
    ];
    let output = cargo(&out, &[&args[..], &["--target", &host]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("2 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_head_that_does_not_fit_is_refused() {
    let head = Head::parse("fastestdet,classes=a").unwrap();
    let faults = emit::emit(
        &program(&[(7, 2)]),
        &board(),
        Budgets::default(),
        Some(&head),
    );
    let faults = faults.unwrap_err();
    assert_eq!(faults.0[0].code, diag::HEAD_MISFIT);
}
