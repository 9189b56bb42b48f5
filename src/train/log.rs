//! The training log: lines of JSON, the first with the options, then one an epoch.
//!
//! A line is written in one piece, so that a reader never sees part of one but at the very end of a
//! file whose writer was killed. A resumed run keeps the lines of the epochs it builds on, writes
//! anew what is missing, and drops the others.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diag::{Diagnostic, Result};
use crate::export;

use super::options::EpochSummary;

/// Changes when a field changes its meaning or goes.
const SCHEMA_VERSION: u32 = 1;

/// The line of an epoch.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    summary: EpochSummary,
    /// At the epoch's last step.
    learning_rate: f64,
    /// How long the epoch took, validation included; missing where only the checkpoint told of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    images_per_second: Option<f64>,
}

/// An open log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
}

impl Log {
    /// Begins a log with `head`, or goes on with one after the epochs of `history`; `rate` gives an
    /// epoch's last learning rate.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(
        path: &Path,
        head: &Value,
        history: &[EpochSummary],
        rate: &dyn Fn(usize) -> f64,
    ) -> Result<Self> {
        let earlier = std::fs::read_to_string(path).unwrap_or_default();
        let known: Vec<(usize, &str)> = earlier
            .lines()
            .filter_map(|text| {
                let line: Line = serde_json::from_str(text).ok()?;
                Some((line.summary.epoch, text))
            })
            .collect();
        let mut head = head.clone();
        if let Value::Object(head) = &mut head {
            head.insert("schema_version".into(), SCHEMA_VERSION.into());
            head.insert("nestc_version".into(), env!("CARGO_PKG_VERSION").into());
        }
        let mut text = format!("{head}\n");
        for summary in history {
            match known
                .iter()
                .rev()
                .find(|(epoch, _)| *epoch == summary.epoch)
            {
                Some((_, line)) => text += line,
                None => {
                    let line = Line {
                        summary: summary.clone(),
                        learning_rate: rate(summary.epoch),
                        seconds: None,
                        images_per_second: None,
                    };
                    text += &json(&line);
                }
            }
            text += "\n";
        }
        export::replace(path, text.as_bytes())?;
        Ok(Self {
            path: path.to_path_buf(),
        })
    }

    /// Adds the line of an epoch.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn add(&self, summary: &EpochSummary, learning_rate: f64) -> Result<()> {
        let line = Line {
            summary: summary.clone(),
            learning_rate,
            seconds: Some(summary.seconds),
            images_per_second: Some(summary.images_per_second),
        };
        let text = json(&line) + "\n";
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(text.as_bytes())
        };
        write().map_err(|e| Diagnostic::io(&self.path, "write the training log", &e).into())
    }
}

fn json(line: &Line) -> String {
    serde_json::to_string(line).expect("numbers and lists of them are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::options::LevelEpoch;

    fn summary(epoch: usize) -> EpochSummary {
        EpochSummary {
            epoch,
            levels: vec![LevelEpoch {
                loss: 0.5,
                training_accuracy: None,
                accuracy_top1: Some(0.25),
            }],
            sparsity: vec![0.9],
            seconds: 2.5,
            images_per_second: 100.0,
        }
    }

    /// A run killed in the middle of a line, after an epoch that no checkpoint knows of.
    #[test]
    fn a_resumed_log_goes_on_where_the_checkpoint_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let head = serde_json::json!({ "options": { "seed": 3 } });
        let rate = |epoch: usize| 0.1 / (epoch + 1) as f64;
        let log = Log::open(&path, &head, &[], &rate).unwrap();
        for epoch in 0..3 {
            log.add(&summary(epoch), rate(epoch)).unwrap();
        }
        let whole = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        assert_eq!(lines.len(), 4);
        let first: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(
            (&first["schema_version"], &first["options"]["seed"]),
            (&1.into(), &3.into())
        );
        let second: Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(second["epoch"], 1);
        assert_eq!(second["learning_rate"], 0.05);
        assert_eq!(second["seconds"], 2.5);
        assert_eq!(second["levels"][0]["accuracy_top1"], 0.25);

        std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        Log::open(&path, &head, &[summary(0), summary(1)], &rate).unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, format!("{}\n", lines[..3].join("\n")));

        // Nothing of it is left: the checkpoint's history stands in, without times.
        std::fs::remove_file(&path).unwrap();
        Log::open(&path, &head, &[summary(0)], &rate).unwrap();
        let anew = std::fs::read_to_string(&path).unwrap();
        let line: Value = serde_json::from_str(anew.lines().nth(1).unwrap()).unwrap();
        assert_eq!((&line["epoch"], line.get("seconds")), (&0.into(), None));
    }
}
