//! The whole way from the command line, on the committed network and sample: check, train,
//! evaluate, export, compile, bench; and what each step refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nestc::bench::{self, BenchOptions, Compiled, EmulatorRunner, Recorder, Transcript};
use serde_json::Value;

use crate::golden;

const PREPARATION: &str = "mean=125.3/123.0/113.9,std=63.0/62.1/66.7";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Flow {
    folder: tempfile::TempDir,
}

impl Flow {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs nestc in the folder.
    fn nestc(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_nestc"))
            .current_dir(self.folder.path())
            .env(
                "NESTC_TARGET_DIR",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware-build"),
            )
            .args(args)
            .output()
            .unwrap()
    }

    /// Runs nestc, which must succeed, and reads the document it prints.
    fn json(&self, args: &[&str]) -> Value {
        let output = self.nestc(&[args, &["--json"]].concat());
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.starts_with("{\n  \"schema_version\": 1,\n  \"nestc_version\": \""),
            "{text}"
        );
        serde_json::from_str(&text).unwrap()
    }

    /// Runs nestc, which must exit with `code`, and gives its findings.
    fn refused(&self, code: i32, args: &[&str]) -> String {
        let output = self.nestc(args);
        let findings = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {findings}");
        let at = findings
            .find("error[")
            .unwrap_or_else(|| panic!("{args:?}: {findings}"));
        format!("$ nestc {}\n{}\n", args.join(" "), &findings[at..])
    }
}

/// The levels of a document that have `field`.
fn levels<'a>(document: &'a Value, field: &str) -> Vec<&'a Value> {
    document["levels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|level| &level[field])
        .collect()
}

#[test]
fn from_a_pretrained_network_to_a_report() {
    let flow = Flow {
        folder: tempfile::tempdir().unwrap(),
    };
    let models = repository().join("models");
    fs::copy(models.join("resnet8_cifar10.onnx"), flow.path("net.onnx")).unwrap();
    fs::create_dir(flow.path("sample")).unwrap();
    for name in ["data_batch_1.bin", "test_batch.bin"] {
        fs::copy(
            models.join("cifar10-sample").join(name),
            flow.path("sample").join(name),
        )
        .unwrap();
    }
    let mut refusals = String::new();

    let checked = flow.json(&["check", "net.onnx", "--target", "stm32h743"]);
    assert_eq!(checked["macs"], 12_501_632);
    let ram = &checked["targets"][0]["ram_bytes"];
    assert_eq!(ram["arena_memory"], "DTCM");

    let data = format!("cifar10:sample,limit=64,{PREPARATION}");
    let train = ["train", "net.onnx", "--data", &data, "--levels", "80,0"];
    refusals += &flow.refused(2, &[&train[..], &["-o", "net.onnx"]].concat());
    refusals += &flow.refused(2, &[&train[..], &["-o", "sample"]].concat());
    refusals += &flow.refused(2, &[&train[..], &["-o", "no/such/folder.onnx"]].concat());
    fs::write(flow.path("n.nest.onnx.checkpoint"), b"an earlier run's").unwrap();
    refusals += &flow.refused(2, &[&train[..], &["-o", "n.nest.onnx"]].concat());
    fs::remove_file(flow.path("n.nest.onnx.checkpoint")).unwrap();
    let trained = flow.json(
        &[
            &train[..],
            &["--epochs", "1", "--batch", "64", "-o", "n.nest.onnx"],
            &["--report", "n.html"],
        ]
        .concat(),
    );
    let page = fs::read_to_string(flow.path("n.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("Training of net"));
    assert_eq!(page.matches("<svg ").count(), 3, "loss, accuracy, sparsity");
    assert_eq!(levels(&trained, "level"), [0, 1]);
    assert!((trained["levels"][0]["sparsity"].as_f64().unwrap() - 0.8).abs() < 0.001);
    assert!(trained["levels"][0]["accuracy_top1"].is_number());
    assert!(!flow.path("n.nest.onnx.checkpoint").exists());

    // Preparation and data need no repetition: the model remembers them.
    let test = ["--data", "cifar10:sample,limit=64"];
    let float = flow.json(&[&["eval", "n.nest.onnx"], &test[..]].concat());
    assert_eq!(float["images"], 64);
    let int8 = flow.json(&[&["eval", "n.nest.onnx", "--precision", "int8"], &test[..]].concat());
    assert_eq!(levels(&int8, "sparsity"), levels(&float, "sparsity"));

    refusals += &flow.refused(
        2,
        &["export", "n.nest.onnx", "--level", "2", "-o", "l2.onnx"],
    );
    assert!(!flow.path("l2.onnx").exists());
    flow.json(&["export", "n.nest.onnx", "--level", "0", "-o", "l0.onnx"]);
    let alone = format!("{},{PREPARATION}", test[1]);
    let plain = flow.json(&["eval", "l0.onnx", "--data", &alone]);
    assert_eq!(
        plain["levels"][0]["accuracy_top1"],
        float["levels"][0]["accuracy_top1"]
    );

    let dump = flow.nestc(&[
        "compile",
        "n.nest.onnx",
        "--target",
        "stm32h743",
        "--stop-after",
        "encode",
        "--dump-after",
        "quantise",
        "-o",
        "none",
    ]);
    assert!(
        String::from_utf8(dump.stdout)
            .unwrap()
            .starts_with("int \"")
    );
    assert!(!flow.path("none").exists());
    let compile = ["compile", "n.nest.onnx", "--target", "stm32h743"];
    refusals += &flow.refused(
        2,
        &[&compile[..], &["--ram-budget", "40K", "-o", "fw"]].concat(),
    );
    refusals += &flow.refused(
        2,
        &[&compile[..], &["--dump-after", "fuse", "-o", "fw"]].concat(),
    );
    refusals += &flow.refused(
        2,
        &["compile", "n.nest.onnx", "--target", "stm32f4", "-o", "fw"],
    );
    assert!(!flow.path("fw").exists());
    let image = flow.json(&[&compile[..], &["-o", "fw"]].concat());
    assert!(image["flash_bytes"]["total"].as_u64().unwrap() > 50_000);
    assert_eq!(image["run_time_transposes"], 0);
    let checked = flow.json(&["check", "n.nest.onnx", "--target", "stm32h743"]);
    let on = &checked["targets"][0];
    for part in ["weights", "indices", "requant"] {
        assert_eq!(
            on["flash_bytes"][part], image["flash_bytes"][part],
            "{part}"
        );
    }
    for part in ["arena", "scratch"] {
        assert_eq!(on["ram_bytes"][part], image["ram_bytes"][part], "{part}");
    }
    let code = |document: &Value| document["flash_bytes"]["code"].as_f64().unwrap();
    assert!((code(on) / code(&image) - 1.0).abs() < 0.33);

    // The bench finds the data from any folder.
    let recorded = fs::read_to_string(flow.path("fw/data.json")).unwrap();
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    let absolute = format!("cifar10:{}", flow.path("sample").display());
    assert!(recorded["data"].as_str().unwrap().starts_with(&absolute));

    let bench = flow.json(&["bench", "fw", "--verify", "2"]);
    assert_eq!(bench["bit_exact"]["inputs"], 2);
    assert_eq!(bench["bit_exact"]["mismatches"], 0);
    assert_eq!(bench["measured_by"], "emulator");
    // The inputs are the test images that belong to the data the model was trained on.
    assert!(bench["inputs"].as_str().unwrap().contains("split=test"));
    let cycles: Vec<u64> = levels(&bench, "cycles")
        .iter()
        .map(|c| c.as_u64().unwrap())
        .collect();
    assert!(cycles[0] < cycles[1], "{cycles:?}");
    for (estimate, is) in levels(on, "estimated_cycles").iter().zip(&cycles) {
        let ratio = estimate.as_f64().unwrap() / *is as f64;
        assert!((ratio - 1.0).abs() < 0.2, "{estimate} of {is}");
    }

    let passing = [
        "bench",
        "fw",
        "--fail-if",
        "cycles > 100M",
        "--fail-if",
        "ram > 512k",
    ];
    assert_eq!(flow.nestc(&passing).status.code(), Some(0));
    let failing = ["bench", "fw", "--fail-if", "flash > 1k", "--json"];
    let output = flow.nestc(&failing);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["target"], "stm32h743", "the report is complete");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("error[E005]")
    );
    refusals += &flow.refused(2, &["bench", "fw", "--fail-if", "cycles[level=2] > 1"]);
    refusals += &flow.refused(2, &["bench", "fw", "--verify", "65", "--data", test[1]]);
    // A name that no probe is asked about, so that nothing depends on what is connected.
    let probe = ["bench", "fw", "--on", "probe", "--chip", "stm32nosuch"];
    let (exit, code) = if cfg!(feature = "probe") {
        (2, "E767")
    } else {
        (3, "E008")
    };
    assert!(flow.refused(exit, &probe).contains(code));
    refusals += &flow.refused(
        2,
        &[&probe[..], &["--record", "no/such/session.json"]].concat(),
    );
    refusals += &flow.refused(
        2,
        &["bench", "fw", "--on", "probe", "--timing", "pessimistic"],
    );
    refusals += &flow.refused(
        2,
        &[
            "bench",
            "fw",
            "--chip",
            "STM32H743ZITx",
            "--probe",
            "0483:374e",
            "--record",
            "s.json",
        ],
    );
    fs::write(flow.path("empty.json"), "{}").unwrap();
    refusals += &flow.refused(2, &["bench", "fw", "--on", "replay:empty.json"]);
    refusals += &flow.refused(2, &["bench", "fw", "--on", "replay:none.json"]);
    let timed = flow.nestc(&["bench", "fw", "--verify", "0"]);
    let table = String::from_utf8(timed.stdout).unwrap();
    assert!(table.contains("not compared with the host"), "{table}");
    assert!(table.contains("top-1 measured on "), "{table}");
    fs::copy(flow.path("n.nest.onnx"), flow.path("syn.onnx")).unwrap();
    refusals += &flow.refused(2, &["check", "syn.onnx", "--target", "stm32h743"]);
    refusals += &flow.refused(2, &["bench", "sample"]);

    // Without the data: ranges from noise and a bench on random inputs, and both are said.
    fs::remove_dir_all(flow.path("sample")).unwrap();
    let stop = ["--stop-after", "quantise", "-o", "again"];
    let noise = flow.nestc(&[&compile[..], &stop].concat());
    assert_eq!(noise.status.code(), Some(0));
    let said = String::from_utf8(noise.stderr).unwrap();
    assert!(said.contains("warning[E004]"), "{said}");
    assert!(said.contains("--calibrate"), "{said}");
    let random = flow.json(&["bench", "fw"]);
    assert!(random["inputs"].as_str().unwrap().starts_with("random"));
    assert_eq!(random["levels"][0]["accuracy_top1"], Value::Null);

    // A recorded session gives what the recorded board gave, here the emulator.
    let compiled = Compiled::open(&flow.path("fw")).unwrap();
    let mut recorder = Recorder::new(EmulatorRunner::new(&compiled).unwrap());
    let options = BenchOptions::default();
    bench::bench(&compiled, &mut recorder, &options, &mut |_, _| {}).unwrap();
    let transcript = Transcript::new(&compiled, recorder.exchanges);
    transcript.write(&flow.path("session.json")).unwrap();
    let replay = ["bench", "fw", "--on", "replay:session.json"];
    let played = flow.json(&replay);
    assert_eq!(played["measured_by"], "replay");
    assert_eq!(played["bit_exact"]["mismatches"], 0);
    assert_eq!(levels(&played, "cycles"), levels(&random, "cycles"));
    let diverged = flow.refused(3, &[&replay[..], &["--verify", "2"]].concat());
    assert!(diverged.contains("error[E755]"), "{diverged}");

    golden::check("flow", &refusals);
}

/// The parts of the recipe as flags, on the committed network: held-out images, the log, a plain
/// recipe with one flag overruled, and pruning without training.
#[test]
fn recipes_and_logs() {
    let flow = Flow {
        folder: tempfile::tempdir().unwrap(),
    };
    let models = repository().join("models");
    let sample = models.join("cifar10-sample");
    let data = format!("cifar10:{},limit=80,{PREPARATION}", sample.display());
    let network = models.join("resnet8_cifar10.onnx");
    let train = ["train", network.to_str().unwrap(), "--data", &data];
    let common = ["--levels", "90,80,50", "--batch", "32"];
    let trained = flow.json(
        &[
            &train[..],
            &common,
            &[
                "--epochs",
                "2",
                "--validation-split",
                "16",
                "--log",
                "run.jsonl",
            ],
            &[
                "--recipe",
                "paper",
                "--schedule",
                "sandwich:1",
                "--recalibrate=1",
            ],
            &["-o", "paper.nest.onnx"],
        ]
        .concat(),
    );
    assert_eq!(trained["history"].as_array().unwrap().len(), 2);
    assert!(levels(&trained, "held_out_accuracy_top1")[0].is_number());
    assert!(levels(&trained, "accuracy_top1")[0].is_number());
    let macs: Vec<u64> = levels(&trained, "macs")
        .iter()
        .map(|m| m.as_u64().unwrap())
        .collect();
    assert!(macs[0] < macs[1] && macs[1] < macs[2] && macs[2] < 12_501_632);

    let log = fs::read_to_string(flow.path("run.jsonl")).unwrap();
    let lines: Vec<Value> = (log.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["images"], &lines[0]["images_held_out"]),
        (&64.into(), &16.into())
    );
    assert_eq!(lines[0]["options"]["routing"], "hard");
    assert_eq!(lines[0]["options"]["block"], 2);
    assert_eq!(lines[0]["options"]["schedule"]["sandwich"], 1);
    assert_eq!(lines[2]["epoch"], 1);
    assert!(lines[2]["seconds"].as_f64().unwrap() > 0.0);

    let none = [
        "--epochs",
        "0",
        "--recalibrate=2",
        "-o",
        "dynamic.nest.onnx",
    ];
    let dynamic = flow.json(&[&train[..], &common, &none].concat());
    assert_eq!(dynamic["epochs"], 0);
    let evaluated = flow.json(&["eval", "dynamic.nest.onnx", "--data", &data]);
    assert_eq!(
        levels(&evaluated, "accuracy_top1"),
        levels(&dynamic, "accuracy_top1")
    );

    // Both sets are read before anything is refused, and every wrong flag is named.
    let error = flow.refused(
        2,
        &[
            &train[..],
            &[
                "--block",
                "2",
                "--method",
                "width",
                "--average",
                "1",
                "--epochs",
                "0",
            ],
            &["-o", "no.nest.onnx"],
        ]
        .concat(),
    );
    for flag in ["--epochs", "--average", "--method width"] {
        assert!(error.contains(flag), "{error}");
    }
}
