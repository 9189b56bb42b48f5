//! Which kernels were considered for a layer, and what each would cost.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{cells, table};
use crate::ir::program::{Candidate, Step};
use crate::units::{Bytes, Cycles, group_thousands};

/// The choice of one layer's kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerKernels {
    /// The ONNX node's name.
    pub layer: String,
    /// Weights that are not zero at the densest level.
    pub nonzero_weights: u64,
    /// All kernels of the layer's operator.
    pub candidates: Vec<KernelCandidate>,
}

/// A kernel that was considered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelCandidate {
    /// Its name in the table of kernels.
    pub kernel: String,
    /// Whether it was chosen.
    pub chosen: bool,
    /// Why it cannot run the layer; there are no figures then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
    /// What the cost model expects, one a level.
    pub estimated_cycles: Vec<Cycles>,
    /// Flash for weights and indices.
    pub flash_bytes: Bytes,
    /// Working memory.
    pub scratch_bytes: Bytes,
}

impl LayerKernels {
    /// Those of all steps with weights.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Vec<Self> {
        (steps.into_iter())
            .filter(|step| !step.candidates.is_empty())
            .map(|step| Self {
                layer: step.name.clone(),
                nonzero_weights: step.nonzero_weights.last().copied().unwrap_or(0),
                candidates: (step.candidates.iter())
                    .map(|c| KernelCandidate::of(step, c))
                    .collect(),
            })
            .collect()
    }

    fn chosen(&self) -> Option<&KernelCandidate> {
        self.candidates.iter().find(|c| c.chosen)
    }

    /// Bytes of weights and indices for each weight that is not zero.
    fn bytes_per_nonzero(&self, bytes: Bytes) -> String {
        if self.nonzero_weights == 0 {
            return "-".into();
        }
        format!("{:.2}", bytes.0 as f64 / self.nonzero_weights as f64)
    }
}

impl KernelCandidate {
    fn of(step: &Step, c: &Candidate) -> Self {
        // Scratch may differ: the plan of memory settles how long passes are.
        let chosen = c.refused.is_none() && c.kernel == step.kernel;
        Self {
            kernel: c.kernel.into(),
            chosen,
            refused: c.refused.clone(),
            estimated_cycles: c.cycles.clone(),
            flash_bytes: c.flash,
            scratch_bytes: Bytes(4 * c.scratch_words as u64),
        }
    }

    fn mean(&self) -> f64 {
        let sum: u64 = self.estimated_cycles.iter().map(|c| c.0).sum();
        sum as f64 / self.estimated_cycles.len().max(1) as f64
    }
}

/// `+12.3 %`, by how much one figure exceeds another.
fn more(than: f64, is: f64) -> String {
    if than == 0.0 {
        return "-".into();
    }
    format!("{:+.1} %", (is / than - 1.0) * 100.0)
}

/// One line a layer: the chosen kernel, and what the fastest of the others would cost.
pub(super) fn summary(layers: &[LayerKernels]) -> String {
    let mut rows = vec![cells([
        "layer", "kernel", "estimate", "bytes", "B/nz", "else", "cycles", "bytes",
    ])];
    for layer in layers {
        let Some(chosen) = layer.chosen() else {
            continue;
        };
        let other = (layer.candidates.iter())
            .filter(|c| !c.chosen && c.refused.is_none())
            .min_by(|a, b| a.mean().total_cmp(&b.mean()));
        let mut row = vec![
            layer.layer.clone(),
            chosen.kernel.clone(),
            group_thousands(chosen.mean() as u64),
            group_thousands(chosen.flash_bytes.0),
            layer.bytes_per_nonzero(chosen.flash_bytes),
        ];
        if let Some(other) = other {
            row.extend([
                other.kernel.clone(),
                more(chosen.mean(), other.mean()),
                more(chosen.flash_bytes.0 as f64, other.flash_bytes.0 as f64),
            ]);
        } else {
            row.extend(cells(["-", "-", "-"]));
        }
        rows.push(row);
    }
    table(&rows)
}

/// All candidates of all layers, for `--explain-kernels`.
pub fn explain(layers: &[LayerKernels]) -> String {
    let mut out = String::new();
    for layer in layers {
        let _ = writeln!(
            out,
            "{} ({} non-zero weights)",
            layer.layer,
            group_thousands(layer.nonzero_weights)
        );
        let levels = (layer.candidates.iter())
            .map(|c| c.estimated_cycles.len())
            .max()
            .unwrap_or(0);
        let mut head = cells(["  kernel"]);
        head.extend((0..levels).map(|level| format!("level {level} cycles")));
        head.extend(cells(["bytes", "B/nz", "scratch", "verdict"]));
        let mut rows = vec![head];
        let best = layer.chosen();
        for c in &layer.candidates {
            let mark = if c.chosen { '*' } else { ' ' };
            let mut row = vec![format!("{mark} {}", c.kernel)];
            match &c.refused {
                Some(why) => {
                    row.extend((0..levels + 3).map(|_| "-".to_owned()));
                    row.push(format!("not possible: {why}"));
                }
                None => {
                    row.extend(c.estimated_cycles.iter().map(|n| group_thousands(n.0)));
                    row.push(group_thousands(c.flash_bytes.0));
                    row.push(layer.bytes_per_nonzero(c.flash_bytes));
                    row.push(group_thousands(c.scratch_bytes.0));
                    row.push(match best {
                        _ if c.chosen => "chosen".to_owned(),
                        Some(best) => format!(
                            "{} cycles, {} bytes",
                            more(best.mean(), c.mean()),
                            more(best.flash_bytes.0 as f64, c.flash_bytes.0 as f64)
                        ),
                        None => String::new(),
                    });
                }
            }
            rows.push(row);
        }
        out += &table(&rows);
        out.push('\n');
    }
    out
}
