//! How closely the integer network follows the float network.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{cells, table};
use crate::passes::{Fidelity, LayerFidelity};
use crate::units::group_thousands;

/// Signal to noise of every layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantisation {
    /// Images it was measured on: some of those that set the ranges.
    pub images: usize,
    /// Rows of weights in all layers.
    pub rows_of_weights: usize,
    /// Those whose weights take wider steps than they would alone.
    pub coarser_rows: usize,
    /// The layer that adds most noise at each level.
    pub worst: Vec<WorstLayer>,
    /// Layers of the quantised network in execution order.
    pub layers: Vec<LayerNoise>,
}

/// The layer that adds most noise at a level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstLayer {
    /// 0 is the sparsest.
    pub level: usize,
    /// The ONNX node's name.
    pub layer: String,
    /// Its own signal-to-noise ratio.
    pub own_snr_db: f64,
}

/// Signal to noise of a layer's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerNoise {
    /// The ONNX node's name.
    pub layer: String,
    /// Whether the layer gives an output of the network.
    pub is_output: bool,
    /// Rows of weights, if it has any.
    pub rows_of_weights: usize,
    /// Those whose weights take wider steps than they would alone.
    pub coarser_rows: usize,
    /// Levels, sparsest first.
    pub levels: Vec<LevelNoise>,
}

/// Signal to noise at a level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelNoise {
    /// 0 is the sparsest.
    pub level: usize,
    /// Against the float network, with all noise that earlier layers brought in; none where there is
    /// no noise or no signal.
    pub snr_db: Option<f64>,
    /// Of the noise that this layer adds by itself.
    pub own_snr_db: Option<f64>,
}

/// Two decimals: more is not stable from one set of images to the next.
fn rounded(db: f64) -> f64 {
    (db * 100.0).round() / 100.0
}

impl Quantisation {
    /// What was measured, for the report.
    pub fn of(fidelity: &Fidelity) -> Self {
        let levels = fidelity.layers.first().map_or(0, |l| l.whole.len());
        let sum = |of: fn(&LayerFidelity) -> usize| fidelity.layers.iter().map(of).sum();
        Self {
            images: fidelity.images,
            rows_of_weights: sum(|l| l.rows),
            coarser_rows: sum(|l| l.coarser_rows),
            worst: (0..levels)
                .filter_map(|level| {
                    let (layer, own) = fidelity.worst(level)?;
                    Some(WorstLayer {
                        level,
                        layer: layer.name.clone(),
                        own_snr_db: rounded(own),
                    })
                })
                .collect(),
            layers: fidelity.layers.iter().map(LayerNoise::of).collect(),
        }
    }

    /// For people: a line a layer, and what stands out.
    pub fn explain(&self) -> String {
        let levels = self.layers.first().map_or(0, |l| l.levels.len());
        let mut head = cells(["layer"]);
        head.extend((0..levels).map(|level| format!("level {level}")));
        head.push("coarser rows".into());
        let mut rows = vec![head];
        let db = |db: Option<f64>| db.map_or("-".into(), |db| format!("{db:.1}"));
        for layer in &self.layers {
            let mut row = vec![layer.layer.clone()];
            row.extend(
                (layer.levels.iter()).map(|l| format!("{} / {}", db(l.own_snr_db), db(l.snr_db))),
            );
            row.push(match layer.rows_of_weights {
                0 => "-".into(),
                all => format!("{} of {all}", layer.coarser_rows),
            });
            rows.push(row);
        }
        let mut out = format!(
            "signal to noise in dB over {} images: of the layer alone / with all before it\n{}",
            self.images,
            table(&rows)
        );
        // Writing into a string cannot fail.
        for worst in &self.worst {
            let _ = writeln!(
                out,
                "level {}: {} adds most noise ({:.1} dB)",
                worst.level, worst.layer, worst.own_snr_db
            );
        }
        let _ = writeln!(
            out,
            "{} of {} rows of weights take wider steps than they would alone\n",
            group_thousands(self.coarser_rows as u64),
            group_thousands(self.rows_of_weights as u64)
        );
        out
    }
}

impl LayerNoise {
    fn of(layer: &LayerFidelity) -> Self {
        Self {
            layer: layer.name.clone(),
            is_output: layer.is_output,
            rows_of_weights: layer.rows,
            coarser_rows: layer.coarser_rows,
            levels: (layer.whole.iter().zip(&layer.own))
                .enumerate()
                .map(|(level, (whole, own))| LevelNoise {
                    level,
                    snr_db: whole.map(rounded),
                    own_snr_db: own.map(rounded),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_layer_is_the_one_that_adds_most_itself() {
        let layer =
            |name: &str, whole: Option<f64>, own: Option<f64>, coarser_rows| LayerFidelity {
                name: name.into(),
                is_output: name == "c",
                whole: vec![whole],
                own: vec![own],
                rows: 8,
                coarser_rows,
            };
        let fidelity = Fidelity {
            images: 3,
            layers: vec![
                layer("a", Some(30.123), Some(30.123), 0),
                layer("b", Some(25.0), Some(40.0), 2),
                layer("pool", Some(24.0), None, 0),
                layer("c", Some(20.0), Some(33.0), 0),
            ],
        };
        let report = Quantisation::of(&fidelity);
        assert_eq!(report.worst[0].layer, "a");
        assert_eq!(report.worst[0].own_snr_db, 30.12);
        assert_eq!((report.rows_of_weights, report.coarser_rows), (32, 2));
        let text = report.explain();
        assert!(
            text.contains("level 0: a adds most noise (30.1 dB)"),
            "{text}"
        );
        assert!(text.contains("- / 24.0"), "{text}");
        assert!(text.contains("2 of 32 rows"), "{text}");
        let json = serde_json::to_value(&report).expect("numbers and strings");
        assert_eq!(
            json["layers"][2]["levels"][0]["own_snr_db"],
            serde_json::Value::Null
        );
        assert_eq!(json["layers"][3]["is_output"], true);
    }
}
