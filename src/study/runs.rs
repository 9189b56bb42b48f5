//! Training runs and what they leave in the study's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use prost::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::approach::Approach;
use super::{Material, Progress, StudyOptions, run_file};
use crate::diag::{
    CHECKPOINT_MISMATCH, Diagnostic, Diagnostics, Result, STUDY_DAMAGED, STUDY_MISMATCH,
};
use crate::export;
use crate::ir::nested::NestedModel;
use crate::report::{SCHEMA_VERSION, TrainRecord, training_html};
use crate::train::{self, TrainOptions, TrainReport};

/// Suffix of a run's model.
pub const MODEL: &str = ".nest.onnx";
/// Suffix of a run's record.
const RECORD: &str = ".json";
/// Suffix of the page of a run's training.
const PAGE: &str = ".html";
/// Suffix of a run's checkpoint, which stands there while it is trained.
const CHECKPOINT: &str = ".checkpoint";

/// What a result depends on, in words.
pub type Fingerprint = BTreeMap<String, String>;

/// A training run of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What it belongs to.
    #[serde(rename = "method")]
    pub approach: Approach,
    /// Its seed.
    pub seed: u64,
    /// The sparsities asked for, sparsest first: all of the study, or one of a separate model.
    pub levels: Vec<f64>,
}

impl Run {
    /// The run's name, and the stem of its files: `nested-seed1`, `separate-90-seed1`.
    pub fn name(&self) -> String {
        match (self.approach, &self.levels[..]) {
            (Approach::Separate, &[level]) => {
                format!("separate-{}-seed{}", short(level), self.seed)
            }
            _ => format!("{}-seed{}", self.approach, self.seed),
        }
    }
}

/// A sparsity in percent, as short as it can be said.
pub fn short(sparsity: f64) -> String {
    let percent = format!("{:.3}", sparsity * 100.0);
    percent
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_string()
}

/// What a training run leaves beside its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The program that trained.
    pub nestc_version: String,
    /// Which run.
    #[serde(flatten)]
    pub run: Run,
    /// What the result depends on.
    pub fingerprint: Fingerprint,
    /// The model file's checksum.
    pub model_sha256: String,
    /// How training went.
    pub report: TrainReport,
}

/// Trains a run, unless its result is there.
pub fn train_run(
    run: &Run,
    material: &Material<'_>,
    options: &StudyOptions,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut train = run.approach.options(&TrainOptions {
        levels: run.levels.clone(),
        seed: run.seed,
        ..options.train.clone()
    });
    let fingerprint = fingerprint(material, &train, options);
    let file = |suffix: &str| run_file(&options.folder, run, suffix);
    train.checkpoint = file(CHECKPOINT);
    if let Some(record) = record(&options.folder, run)? {
        compare(&options.folder, run, &record.fingerprint, &fingerprint)?;
        // A study killed between the record and this line's twin below leaves one behind.
        let _ = fs::remove_file(&train.checkpoint);
        progress.kept(run);
        return Ok(());
    }
    train.resume = true;
    // Images held out are watched while training; test images are not.
    let watched = (options.validation_split > 0).then_some(material.evaluation);
    let mut trained = train::train(
        material.graph,
        material.train,
        watched,
        &train,
        progress.training(run, train.epochs),
    )
    .map_err(elsewhere)?;
    trained.model.graph.name = format!("{}-{}", material.name, run.name());
    if let Some(Value::Object(record)) = &mut trained.model.training {
        record.insert("data".into(), material.data.into());
    }
    let model = export::to_nest_proto(&trained.model).encode_to_vec();
    if let Some(course) = TrainRecord::of(&trained.model) {
        export::replace(&file(PAGE), training_html(&course).as_bytes())?;
    }
    // The record last: with it, the run is done.
    export::replace(&file(MODEL), &model)?;
    let record = RunRecord {
        schema_version: SCHEMA_VERSION,
        nestc_version: env!("CARGO_PKG_VERSION").into(),
        run: run.clone(),
        fingerprint,
        model_sha256: hex(&Sha256::digest(&model)),
        report: trained.report,
    };
    write_json(&file(RECORD), &record)?;
    // The record tells that it is not needed any more.
    let _ = fs::remove_file(&train.checkpoint);
    progress.trained(run, &record);
    Ok(())
}

/// A checkpoint of other options stands where a run's own would: what to do about it in a study.
fn elsewhere(mut faults: Diagnostics) -> Diagnostics {
    for fault in &mut faults.0 {
        if fault.code == CHECKPOINT_MISMATCH {
            fault.hint = "name another folder with -o, or delete the checkpoint".into();
        }
    }
    faults
}

/// The record of a run; none if it is not done.
///
/// # Errors
/// `E901` if it cannot be read.
pub fn record(folder: &Path, run: &Run) -> Result<Option<RunRecord>> {
    Ok(read_json(&run_file(folder, run, RECORD))?)
}

/// The model of a run that is done, and its record.
///
/// # Errors
/// `E901` if the run is not done, or its model is not the one of its record.
pub fn model(folder: &Path, run: &Run) -> Result<(NestedModel, RunRecord)> {
    let path = run_file(folder, run, MODEL);
    let damaged = |what: String| -> Diagnostics {
        Diagnostic::new(
            STUDY_DAMAGED,
            path.display().to_string(),
            what,
            format!("delete the files of {} and run the study again", run.name()),
        )
        .into()
    };
    let record = record(folder, run)?
        .ok_or_else(|| damaged(format!("run {} has no record: it is not done", run.name())))?;
    let bytes = fs::read(&path).map_err(|e| damaged(format!("the model cannot be read: {e}")))?;
    let hash = hex(&Sha256::digest(&bytes));
    if hash != record.model_sha256 {
        return Err(damaged(format!(
            "the model has SHA-256 {hash}, and its record says {}",
            record.model_sha256
        )));
    }
    Ok((crate::import::load(&path)?.model, record))
}

/// Writes a document, replacing it as a whole.
pub fn write_json(path: &Path, document: &impl Serialize) -> Result<(), Diagnostic> {
    // Structs of numbers and strings always have a JSON form.
    let text = serde_json::to_string_pretty(document).unwrap_or_default() + "\n";
    export::replace(path, text.as_bytes())
}

/// Reads a document of a study; none if it is not there.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Diagnostic> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Diagnostic::io(path, "read the result", &e)),
    };
    let document = serde_json::from_slice(&bytes).map_err(|e| {
        Diagnostic::new(
            STUDY_DAMAGED,
            path.display().to_string(),
            format!("it is not what nestc writes: {e}"),
            "delete the file and run the study again",
        )
    })?;
    Ok(Some(document))
}

/// What the result of a run depends on. How many threads work on it and where its files lie is not
/// among it.
fn fingerprint(
    material: &Material<'_>,
    train: &TrainOptions,
    options: &StudyOptions,
) -> Fingerprint {
    let mut all = train::depends_on(material.graph, material.train, train);
    let held_out = options.validation_split.to_string();
    all.insert("--validation-split".into(), held_out);
    all
}

/// A finding for every entry in which two results differ.
fn compare(folder: &Path, run: &Run, then: &Fingerprint, now: &Fingerprint) -> Result<()> {
    let mut found = Diagnostics::default();
    let keys: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let nothing = || "nothing".to_string();
    for key in keys {
        let (was, is) = (then.get(key), now.get(key));
        if was != is {
            found.push(Diagnostic::new(
                STUDY_MISMATCH,
                run_file(folder, run, RECORD).display().to_string(),
                format!(
                    "{key}: the run was made with {}, and this study has {}",
                    was.cloned().unwrap_or_else(nothing),
                    is.cloned().unwrap_or_else(nothing)
                ),
                "name another folder with -o, delete the run, or give what it was made with",
            ));
        }
    }
    found.into_result(())
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_levels_are_short() {
        for (sparsity, name) in [
            (0.95, "95"),
            (0.0, "0"),
            (0.9, "90"),
            (0.875, "87.5"),
            (0.29, "29"),
        ] {
            assert_eq!(short(sparsity), name);
        }
    }

    #[test]
    fn every_difference_is_named() {
        let run = Approach::Nested.runs(1, &[0.9, 0.0]).remove(0);
        let of = |pairs: &[(&str, &str)]| -> Fingerprint {
            let pairs = pairs.iter();
            pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
        };
        let then = of(&[("epochs", "10"), ("batch", "256"), ("seed", "1")]);
        let now = of(&[("epochs", "20"), ("batch", "256"), ("flip", "true")]);
        assert!(compare(Path::new("d"), &run, &then, &then).is_ok());
        let faults = compare(Path::new("d"), &run, &then, &now).unwrap_err();
        assert!(faults.0.iter().all(|f| f.code == STUDY_MISMATCH));
        let messages: Vec<&str> = faults.0.iter().map(|f| f.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "epochs: the run was made with 10, and this study has 20",
                "flip: the run was made with nothing, and this study has true",
                "seed: the run was made with 1, and this study has nothing",
            ]
        );
    }
}
