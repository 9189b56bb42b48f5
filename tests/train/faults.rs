//! Every fault is a coded diagnostic with both values, and found before anything is computed.

use std::path::Path;

use nestc::data::Dataset;
use nestc::diag::Diagnostics;
use nestc::ir::float::{FloatGraph, FloatOp, Shape};
use nestc::train::{EpochSummary, Loss, Progress, TrainOptions, evaluate, train};

use crate::golden;
use crate::support::{network, options, pictures};

fn fail(graph: &FloatGraph, data: &Dataset, options: &TrainOptions) -> Diagnostics {
    let error = train(graph, data, None, options, &mut ()).unwrap_err();
    for finding in &error.0 {
        assert!(!finding.hint.is_empty() && !finding.place.is_empty());
    }
    error
}

/// The texts of all findings, for comparison with the recorded ones.
#[derive(Default)]
struct Log(String);

impl Log {
    fn add(&mut self, error: &Diagnostics, folder: &Path) {
        let text = error.to_string();
        self.0 += &text.replace(&folder.display().to_string(), "FOLDER");
        self.0 += "\n";
    }
}

#[test]
fn every_message_is_as_recorded() {
    let mut log = Log::default();
    options_and_data(&mut log);
    labels(&mut log);
    networks(&mut log);
    divergence(&mut log);
    divergence_of_the_last_step(&mut log);
    checkpoints(&mut log);
    golden::check("train", &log.0);
}

/// The codes, and that each of `says` stands in one of the messages.
fn expect(log: &mut Log, folder: &Path, error: &Diagnostics, codes: &[&str], says: &[&str]) {
    log.add(error, folder);
    let found: Vec<String> = error.0.iter().map(|d| d.code.to_string()).collect();
    assert_eq!(found, codes, "{error}");
    for what in says {
        assert!(error.to_string().contains(what), "{what:?} in {error}");
    }
}

/// All faults of options and data are reported at once.
fn options_and_data(log: &mut Log) {
    let folder = tempfile::tempdir().unwrap();
    let mut data = pictures(30, 1);
    data.class_count = 7;
    data.shape = Shape::map(3, 24, 6);
    let wrong = TrainOptions {
        levels: vec![0.5, 0.5, 1.0, -0.1],
        epochs: 0,
        learning_rate: Some(f32::NAN),
        ..options(folder.path())
    };
    let error = fail(&network(), &data, &wrong);
    let codes = [
        "E402", "E403", "E001", "E001", "E401", "E401", "E401", "E405",
    ];
    let says = [
        "3x24x6",
        "3x12x12",
        "7 classes",
        "4 outputs",
        "50 % is given twice",
        "100 % is not",
        "-10 % is not",
        "30 images",
        "batch of 40",
    ];
    expect(log, folder.path(), &error, &codes, &says);
    assert_eq!(error.exit_code(), 2);
    assert!(!wrong.checkpoint.exists());
}

/// Labels that are missing or out of range.
fn labels(log: &mut Log) {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let mut data = pictures(100, 1);
    data.labels.as_mut().unwrap()[17] = 4;
    expect(
        log,
        folder.path(),
        &fail(&network(), &data, &options),
        &["E404"],
        &["image 17", "0..4"],
    );
    data.labels = None;
    expect(
        log,
        folder.path(),
        &fail(&network(), &data, &options),
        &["E406"],
        &["--loss distill"],
    );
}

/// Networks that cannot be trained.
fn networks(log: &mut Log) {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let data = pictures(100, 1);
    let mut two_outputs = network();
    let inner = two_outputs.nodes.iter().next().unwrap().output;
    two_outputs.outputs.push(inner);
    let error = fail(&two_outputs, &data, &options);
    expect(log, folder.path(), &error, &["E400"], &["conv0 (8x12x12)"]);
    let model = nestc::ir::nested::NestedModel::plain(two_outputs);
    expect(
        log,
        folder.path(),
        &evaluate(&model, &data, None).unwrap_err(),
        &["E400"],
        &[],
    );

    // Every convolution behind the first made depthwise: nothing is left to prune.
    let mut small = network();
    for node in small.nodes.iter_mut().skip(1) {
        if let FloatOp::Conv(c) = &mut node.op {
            c.groups *= c.group_channels;
            c.group_channels = 1;
            c.weight.truncate(c.out_channels * c.window.taps());
        }
    }
    expect(
        log,
        folder.path(),
        &fail(&small, &data, &options),
        &["E407"],
        &[],
    );
}

/// A loss that is not a number names the step.
fn divergence(log: &mut Log) {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        learning_rate: Some(1e30),
        ..options(folder.path())
    };
    let error = fail(&network(), &pictures(240, 1), &options);
    expect(
        log,
        folder.path(),
        &error,
        &["E408"],
        &["epoch 1, step ", "of 6", "--lr"],
    );
}

/// A single step has no loss behind it that could tell: the validation does, and no checkpoint is
/// left.
fn divergence_of_the_last_step(log: &mut Log) {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        learning_rate: Some(1e30),
        epochs: 1,
        ..options(folder.path())
    };
    let (images, other) = (pictures(40, 1), pictures(40, 2));
    let error = train(&network(), &images, Some(&other), &options, &mut ()).unwrap_err();
    let says = ["end of epoch 1", "--lr"];
    expect(log, folder.path(), &error, &["E408"], &says);
    assert!(!options.checkpoint.exists());

    // So far beyond that the weights themselves overflow, validation or not.
    let options = TrainOptions {
        learning_rate: Some(f32::MAX),
        ..options
    };
    let mut large = network();
    for node in large.nodes.iter_mut() {
        if let FloatOp::Dense(dense) = &mut node.op {
            dense.weight.iter_mut().for_each(|w| *w *= 1e6);
        }
    }
    let error = fail(&large, &images, &options);
    expect(log, folder.path(), &error, &["E408"], &["--lr"]);
    assert!(!options.checkpoint.exists());
}

struct StopAtOnce;

impl Progress for StopAtOnce {
    fn epoch_finished(&mut self, summary: &EpochSummary) {
        assert!(summary.levels.iter().all(|l| l.loss.is_finite()));
    }
    fn should_stop(&mut self) -> bool {
        true
    }
}

/// Checkpoints of other runs and damaged ones.
fn checkpoints(log: &mut Log) {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let data = pictures(100, 1);
    train(&network(), &data, None, &options, &mut StopAtOnce).unwrap();
    let resume = TrainOptions {
        resume: true,
        ..options.clone()
    };

    let other = TrainOptions {
        levels: vec![0.8],
        seed: 9,
        loss: Loss::Auto,
        threads: Some(1),
        ..resume.clone()
    };
    let error = fail(&network(), &pictures(120, 1), &other);
    let codes = ["E411", "E411", "E411", "E411"];
    let says = [
        "--levels 90,50,0, this run has 80",
        "--seed 0, this run has 9",
        "--loss labels, this run has auto",
        "of 100 images",
        "of 120 images",
    ];
    expect(log, folder.path(), &error, &codes, &says);
    let mut retrained = network();
    for node in retrained.nodes.iter_mut() {
        if let FloatOp::Dense(dense) = &mut node.op {
            dense.weight[3] += 0.5;
        }
    }
    expect(
        log,
        folder.path(),
        &fail(&retrained, &data, &resume),
        &["E411"],
        &["the network of SHA-256"],
    );

    let whole = std::fs::read(&options.checkpoint).unwrap();
    let damaged: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"something else entirely, but longer than a checkpoint's fixed parts".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [&whole[..], b"x"].concat(),
        {
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 4;
            flipped
        },
    ];
    for bytes in damaged {
        std::fs::write(&options.checkpoint, bytes).unwrap();
        expect(
            log,
            folder.path(),
            &fail(&network(), &data, &resume),
            &["E410"],
            &["small.checkpoint"],
        );
    }
    // Without --resume what lies there does not matter.
    train(&network(), &data, None, &options, &mut StopAtOnce).unwrap();
}
