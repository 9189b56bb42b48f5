//! A study from the command line: killed and resumed, made in parts, refused where it must be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use roxmltree::Document;
use serde_json::Value;

const PREPARATION: &str = "mean=125.3/123.0/113.9,std=63.0/62.1/66.7";

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        fs::copy(
            models.join("resnet8_cifar10.onnx"),
            folder.path().join("net.onnx"),
        )
        .unwrap();
        fs::create_dir(folder.path().join("sample")).unwrap();
        for name in ["data_batch_1.bin", "test_batch.bin"] {
            let to = folder.path().join("sample").join(name);
            fs::copy(models.join("cifar10-sample").join(name), to).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A study of two methods at two levels on 64 images.
    fn command(&self, more: &[&str]) -> Command {
        let data = format!("cifar10:sample,limit=64,{PREPARATION}");
        let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware-build");
        let mut command = Command::new(env!("CARGO_BIN_EXE_nestc"));
        command
            .current_dir(self.folder.path())
            .env("NESTC_TARGET_DIR", build)
            .args(["study", "net.onnx", "--data", &data, "--levels", "90,0"])
            .args(["--epochs", "2", "--batch", "32", "--seeds", "1"])
            .args(["--lr", "0.01", "--methods", "nested,separate"])
            .args(more);
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    /// What a call that must succeed says on standard error.
    fn done(&self, more: &[&str]) -> String {
        let output = self.run(more);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{more:?}: {said}");
        said
    }

    /// Starts a study and kills it as soon as `file` is there.
    fn killed_at(&self, file: &str, more: &[&str]) {
        let mut child = self
            .command(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !self.path(file).exists() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended without {file}: {ended:?}");
            let limit = Duration::from_secs(120);
            assert!(started.elapsed() < limit, "no {file} in two minutes");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap()
    }
}

const RUNS: [&str; 3] = ["nested-seed1", "separate-90-seed1", "separate-0-seed1"];

#[test]
fn a_study_goes_on_wherever_it_was_killed() {
    let bench = Bench::new();
    // In the first run, between two of its epochs; then between runs.
    bench.killed_at("study/runs/nested-seed1.checkpoint", &["-o", "study"]);
    bench.killed_at("study/runs/nested-seed1.json", &["-o", "study"]);
    // Other runs are made elsewhere and carried over.
    let elsewhere = ["--no-measure", "-o", "elsewhere"];
    bench.done(&[&["--only", "separate:1"], &elsewhere[..]].concat());
    assert!(!bench.path("elsewhere/runs/nested-seed1.json").exists());
    for run in &RUNS[1..] {
        for suffix in ["json", "nest.onnx"] {
            let from = bench.path(&format!("elsewhere/runs/{run}.{suffix}"));
            let to = bench.path(&format!("study/runs/{run}.{suffix}"));
            fs::copy(from, to).unwrap();
        }
    }
    bench.killed_at("study/runs/nested-seed1.measured.json", &["-o", "study"]);
    let first = fs::read(bench.path("study/runs/nested-seed1.measured.json")).unwrap();
    let said = bench.done(&["-o", "study"]);
    for run in RUNS {
        assert!(said.contains(&format!("kept {run}\n")), "{run}: {said}");
    }
    let kept = fs::read(bench.path("study/runs/nested-seed1.measured.json")).unwrap();
    assert_eq!(first, kept);
    assert!(!bench.path("study/runs/nested-seed1.checkpoint").exists());
    // An unbroken run gives the same bits.
    bench.done(&[&["--only", "nested"], &elsewhere[..]].concat());
    let model = |folder: &str| fs::read(bench.path(folder).join("runs/nested-seed1.nest.onnx"));
    assert!(model("study").unwrap() == model("elsewhere").unwrap());

    let report = bench.json("study/study.json");
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["evaluated_on"], "test images");
    assert_eq!(report["images"], 64);
    assert_eq!(report["target"], "stm32h743");
    let variants = report["variants"].as_array().unwrap();
    let methods: Vec<&Value> = variants.iter().map(|v| &v["method"]).collect();
    assert_eq!(methods, ["nested", "separate"]);
    for variant in variants {
        let cycles = |level: usize| variant["levels"][level]["cycles"]["mean"].as_f64().unwrap();
        assert!(cycles(0) < 0.6 * cycles(1), "{variant}");
        for level in variant["levels"].as_array().unwrap() {
            let mean = |field: &str| level[field]["mean"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&mean("accuracy_int8")));
            let less = mean("accuracy_int8") - mean("accuracy_float");
            assert!((mean("int8_minus_float") - less).abs() < 1e-9);
            assert!(mean("cycles_pessimistic") >= mean("cycles"));
        }
    }
    // What is stored: one artefact, or the data of both and the larger code.
    let image = |run: &str, part: &str| -> u64 {
        let measured = bench.json(&format!("study/runs/{run}.measured.json"));
        measured["builds"][0]["flash_bytes"][part].as_u64().unwrap()
    };
    let flash = |v: usize| variants[v]["flash_bytes"]["total"].as_u64().unwrap();
    assert_eq!(flash(0), image(RUNS[0], "total"));
    let code = image(RUNS[1], "code").max(image(RUNS[2], "code"));
    let data = |run: &str| image(run, "total") - image(run, "code");
    assert_eq!(flash(1), data(RUNS[1]) + data(RUNS[2]) + code);
    let less = |v: usize| &variants[v]["levels"][0]["float_minus_separate"];
    assert!(less(0)["mean"].is_number() && less(1).is_null());

    let tables = fs::read_to_string(bench.path("study/study.md")).unwrap();
    assert!(tables.contains("| method | 90 % | 0 % |"), "{tables}");
    assert!(tables.contains("| separate | 2 artefacts |"), "{tables}");
    assert!(bench.path("study/study-flash-parts.svg").exists());
    for chart in ["study.svg", "study-flash.svg"] {
        let svg = fs::read_to_string(bench.path("study").join(chart)).unwrap();
        let document = Document::parse(&svg).unwrap();
        assert_eq!(document.root_element().attribute("role"), Some("img"));
        let marks = document.descendants().filter(|n| n.has_tag_name("title"));
        assert_eq!(marks.count(), 1 + 4, "{chart}");
    }

    // Results of other options are neither taken nor lost.
    let other = bench.run(&["--loss", "labels", "-o", "study"]);
    let said = String::from_utf8(other.stderr).unwrap();
    assert_eq!(other.status.code(), Some(2), "{said}");
    assert!(said.contains("error[E900]"), "{said}");
    assert!(
        said.contains("--loss: the run was made with auto"),
        "{said}"
    );
    fs::write(bench.path("study/runs/separate-0-seed1.nest.onnx"), "x").unwrap();
    fs::remove_file(bench.path("study/runs/separate-0-seed1.measured.json")).unwrap();
    let damaged = bench.run(&["-o", "study"]);
    let said = String::from_utf8(damaged.stderr).unwrap();
    assert_eq!(damaged.status.code(), Some(2), "{said}");
    assert!(said.contains("error[E901]"), "{said}");
}

#[test]
fn choosing_options_does_not_read_the_test_images() {
    let bench = Bench::new();
    fs::remove_file(bench.path("sample/test_batch.bin")).unwrap();
    let part = ["--no-measure", "--only", "nested", "-o", "study"];
    let refused = bench.run(&part);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--validation-split"), "{said}");
    bench.done(&[&["--validation-split", "20"], &part[..]].concat());
    let record = bench.json("study/runs/nested-seed1.json");
    assert_eq!(record["fingerprint"]["--validation-split"], "20");
    // What was held out was not trained on.
    let images = record["fingerprint"]["the training data"].as_str().unwrap();
    assert!(images.starts_with("of 44 images "), "{images}");
    let refused = bench.run(&[&["--validation-split", "64"], &part[..]].concat());
    assert_eq!(refused.status.code(), Some(2));
    let refused = bench.run(&["--only", "width", "-o", "study"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("nested,separate"), "{said}");
}
