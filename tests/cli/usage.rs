//! Help, wrong use, and the table of codes.

use std::process::{Command, Output};

use nestc::diag::CODES;

use crate::golden;

const VERBS: [&str; 12] = [
    "check",
    "train",
    "eval",
    "export",
    "compile",
    "bench",
    "study",
    "probes",
    "targets",
    "kernels",
    "explain",
    "completions",
];

fn nestc(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nestc"))
        .args(args)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_verbs_help_ends_in_an_example() {
    for verb in VERBS {
        let output = nestc(&[verb, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{verb}");
        let help = stdout(&output);
        let (_, example) = help
            .rsplit_once("Example:\n")
            .unwrap_or_else(|| panic!("{verb}: {help}"));
        assert!(
            example.contains(&format!("  nestc {verb}")),
            "{verb}: {example}"
        );
        assert!(stderr(&output).is_empty());
    }
}

/// What is connected differs, and may be nothing; that it is said does not.
#[test]
fn probes_are_listed_wherever_nestc_runs() {
    let output = nestc(&["probes"]);
    if !cfg!(feature = "probe") {
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains("error[E008]"));
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text == "no debug probe is connected\n" || text.starts_with("--probe"),
        "{text}"
    );
    let document = nestc(&["probes", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(
        document["probes"].as_array().unwrap().is_empty(),
        text.starts_with("no")
    );
}

#[test]
fn wrong_use_gives_a_coded_finding_and_exit_2() {
    let cases: [&[&str]; 29] = [
        &["tran"],
        &[
            "train",
            "m.onnx",
            "--data",
            "cifar10:d",
            "--levels",
            "-5",
            "-o",
            "o",
        ],
        &["bench", "d", "--timing", "no/timing.toml"],
        &["bench", "d", "--on", "board"],
        &["bench", "d", "--on", "probe", "--probe", "stlink"],
        &["bench", "d", "--on", "probe", "--speed", "0"],
        &["bench", "d", "--on", "probe", "--timeout", "0"],
        &["bench", "d", "--probe", "0483:374e"],
        &["bench", "d", "--fail-if", "cycles_optimistic > 1"],
        &["calibrate", "no.elf", "-o", "timing.toml"],
        &[
            "calibrate",
            "no.elf",
            "--log",
            "l",
            "--timing",
            "t",
            "-o",
            "o",
        ],
        &["export", "m.onnx", "--level", "-1", "-o", "o"],
        &["--frobnicate"],
        &["check"],
        &["train", "m.onnx", "-o", "o"],
        &[
            "train",
            "m.onnx",
            "--data",
            "cifar10:d",
            "--levels",
            "90,100",
            "-o",
            "o",
        ],
        &[
            "train",
            "m.onnx",
            "--data",
            "cifar10:d",
            "--epochs",
            "0",
            "-o",
            "o",
        ],
        &[
            "train",
            "m.onnx",
            "--data",
            "cifar10:d",
            "--lr",
            "nan",
            "-o",
            "o",
        ],
        &[
            "train",
            "m.onnx",
            "--data",
            "cifar10:d",
            "--loss",
            "hinge",
            "-o",
            "o",
        ],
        &["eval", "m.onnx", "--data", "cifar10:d,split=valid"],
        &["eval", "m.onnx", "--data", "coco:d"],
        &[
            "compile",
            "m.onnx",
            "--target",
            "x",
            "--flash-budget",
            "1.5M",
            "-o",
            "o",
        ],
        &[
            "compile",
            "m.onnx",
            "--target",
            "stm32h743",
            "--stop-after",
            "fold",
            "--dump-after",
            "plan",
            "-o",
            "o",
        ],
        &[
            "compile",
            "m.onnx",
            "--target",
            "stm32h743",
            "--stop-after",
            "fold",
            "--explain-kernels",
            "-o",
            "o",
        ],
        &[
            "compile",
            "m.onnx",
            "--target",
            "stm32h743",
            "--stop-after",
            "fold",
            "--explain-quantisation",
            "-o",
            "o",
        ],
        &[
            "compile", "m.onnx", "--target", "x", "--kernel", "conv1=", "-o", "o",
        ],
        &["bench", "d", "--fail-if", "cycles = 5"],
        &["explain", "E999"],
        &["completions", "tcsh"],
    ];
    let mut text = String::new();
    for args in cases {
        let output = nestc(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?} printed a result");
        let findings = stderr(&output);
        assert!(findings.starts_with("error[E"), "{args:?}: {findings}");
        text += &format!("$ nestc {}\n{findings}\n", args.join(" "));
    }
    golden::check("usage", &text);
}

#[test]
fn with_json_findings_are_a_document() {
    let output = nestc(&[
        "eval",
        "m.onnx",
        "--data",
        "cifar10:d,limit=0,zoom=2",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let text = stdout(&output);
    assert!(text.starts_with("{\n  \"schema_version\": 1,\n"), "{text}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let codes: Vec<&str> = document["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["E303", "E302"]);
}

#[test]
fn explain_knows_every_code() {
    let mut list = String::new();
    for row in CODES {
        let output = nestc(&["explain", row.code]);
        assert_eq!(output.status.code(), Some(0), "{}", row.code);
        let text = stdout(&output);
        assert!(
            text.starts_with(&format!("{}: {}\n\n", row.code, row.title)),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("Exit code: {}\n", row.exit.code())),
            "{text}"
        );
        list += &format!("{}  {}\n", row.code, row.title);
    }
    let lower = nestc(&["explain", "e001"]);
    assert_eq!(lower.status.code(), Some(0));
    let all = stdout(&nestc(&["explain"]));
    assert_eq!(all, list);
    golden::check("explain", &all);
}

#[test]
fn lists_are_tables_and_documents() {
    for (verb, field) in [
        ("targets", "stm32h743"),
        ("kernels", "conv2d_s8_nested__armv7em_p8"),
    ] {
        let text = stdout(&nestc(&[verb]));
        assert!(
            text.lines().skip(1).any(|line| line.starts_with(field)),
            "{text}"
        );
        let document: serde_json::Value =
            serde_json::from_str(&stdout(&nestc(&[verb, "--json"]))).unwrap();
        let names: Vec<&str> = document[verb]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap())
            .collect();
        assert_eq!(names.len(), text.lines().count() - 1);
        assert!(names.contains(&field));
    }
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&nestc(&["completions", shell]));
        for verb in VERBS {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn version_and_help_are_results() {
    let version = nestc(&["--version"]);
    assert_eq!(
        stdout(&version),
        format!("nestc {}\n", env!("CARGO_PKG_VERSION"))
    );
    let bare = nestc(&[]);
    assert_eq!(bare.status.code(), Some(2));
    assert!(stderr(&bare).contains("Usage: nestc"));
    assert!(stdout(&nestc(&["help"])).contains("Exit codes:"));
}
