//! Texts read back; wrong ones name their line.

use super::*;
use crate::ir::float::FloatOp;
use crate::ir::ids::{Id, NodeId};
use crate::ir::verify::{tests::sound, verify};

#[test]
fn the_full_form_reads_back_bit_by_bit() {
    let mut graph = sound();
    graph.name = "quoted \"name\" \\ with\ttab, \u{7f} and ü".into();
    if let FloatOp::Conv(conv) = &mut graph.nodes[NodeId::from_index(0)].op {
        conv.weight[..4].copy_from_slice(&[f32::MIN_POSITIVE / 2.0, -0.0, 0.1, f32::MAX]);
    }
    let text = print(&graph, Weights::Full);
    let again = parse(&text).expect("parses");
    assert_eq!(again, graph);
    assert_eq!(print(&again, Weights::Full), text);
    // -0.0 equals 0.0, so compare the hash of the bits too.
    assert_eq!(
        print(&again, Weights::Hashed),
        print(&graph, Weights::Hashed)
    );
    assert_eq!(verify(&again), []);
}

#[test]
fn the_hashed_form_is_short_and_tells_weights_apart() {
    let graph = sound();
    let text = print(&graph, Weights::Hashed);
    assert!(text.lines().all(|line| line.len() < 200), "{text}");
    let mut other = graph.clone();
    if let FloatOp::Conv(conv) = &mut other.nodes[NodeId::from_index(0)].op {
        conv.weight[35] = -conv.weight[35];
    }
    assert_ne!(print(&other, Weights::Hashed), text);
    let error = parse(&text).expect_err("abbreviated");
    assert!(error.message.contains("abbreviated"), "{error}");
}

#[test]
fn errors_name_the_line() {
    let cases = [
        ("", 0, "not closed"),
        ("graph \"g\" {", 1, "not closed"),
        ("graph g {", 1, "quoted name"),
        ("graph \"g {", 1, "not closed"),
        ("graph \"g\" {\n}\nmore", 3, "after the end"),
        ("graph \"g\" {\n  input x0 \"a\" 1x1x1\n}", 2, "a value"),
        ("graph \"g\" {\n  input v0 \"a\" 1x1\n}", 2, "3 numbers"),
        (
            "graph \"g\" {\n  input v1 \"a\" 1x1x1\n}",
            3,
            "v0 is missing",
        ),
        (
            "graph \"g\" {\n  input v0 \"a\" 1x1x1\n  v0 \"b\" 1x1x1 = relu \"r\" (v0)\n}",
            3,
            "given twice",
        ),
        (
            "graph \"g\" {\n  v0 \"b\" 1x1x1 = relu \"r\" (v0) pads=1\n}",
            2,
            "does not belong",
        ),
        (
            "graph \"g\" {\n  v0 \"b\" 1x1x1 = gelu \"r\" (v0)\n}",
            2,
            "no operation",
        ),
        (
            "graph \"g\" {\n  v0 \"b\" 1x1x1 = dense \"r\" (v0) weight=1x1:[1.0*99999999999]\n}",
            2,
            "elements",
        ),
    ];
    for (text, line, part) in cases {
        let error = parse(text).expect_err(text);
        assert_eq!(error.line, line, "{text}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}
