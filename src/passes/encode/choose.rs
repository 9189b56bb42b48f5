//! What decides between the kernels that can run a layer.

use nest_kernels::{KERNELS, KernelInfo};

use crate::diag::{self, Diagnostic, Diagnostics};
use crate::ir::int::{IntGraph, IntOp};
use crate::ir::program::Candidate;

/// What a choice between kernels aims at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objective {
    /// The fewest cycles, on average over the levels.
    #[default]
    Latency,
    /// The fewest bytes of flash that cost at most [`MOST_SLOWDOWN`] times the fewest cycles.
    Flash,
}

/// How much slower than the fastest a kernel may be that is chosen for its size.
pub const MOST_SLOWDOWN: f64 = 1.5;

/// A kernel to be used instead of the one that the objective prefers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forced {
    /// For this layer; for all that the kernel accepts if there is none.
    pub layer: Option<String>,
    /// The kernel's name.
    pub kernel: String,
}

impl std::str::FromStr for Forced {
    type Err = String;
    /// `LAYER=KERNEL` or `KERNEL`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (layer, kernel) = match text.rsplit_once('=') {
            Some((layer, kernel)) => (Some(layer.to_owned()), kernel),
            None => (None, text),
        };
        if kernel.is_empty() || layer.as_ref().is_some_and(String::is_empty) {
            return Err("give KERNEL or LAYER=KERNEL; `nestc kernels` lists them".into());
        }
        Ok(Self {
            layer,
            kernel: kernel.to_owned(),
        })
    }
}

/// What guides the choice of kernels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// What to aim at.
    pub objective: Objective,
    /// Weight formats to prefer over the objective, wherever a kernel of them accepts the layer.
    pub format: Option<&'static str>,
    /// Kernels that are given.
    pub forced: Vec<Forced>,
}

/// Kernels the compiler can be asked for: those of layers with weights, as the device runs them.
fn choosable() -> impl Iterator<Item = &'static KernelInfo> {
    (KERNELS.iter()).filter(|k| k.arch != "reference" && k.format != "none")
}

impl Preferences {
    /// Whether every forced kernel and layer exists.
    ///
    /// # Errors
    /// All that do not.
    pub fn check(&self, graph: &IntGraph) -> diag::Result<()> {
        let mut faults = Diagnostics::default();
        for forced in &self.forced {
            if !choosable().any(|k| k.name == forced.kernel) {
                let names: Vec<&str> = choosable().map(|k| k.name).collect();
                faults.push(Diagnostic::new(
                    diag::KERNEL_UNKNOWN,
                    "--kernel",
                    format!("`{}` is no kernel of a layer with weights", forced.kernel),
                    format!("name one of {}", names.join(", ")),
                ));
            }
            let Some(name) = &forced.layer else { continue };
            let with_weights = || (graph.layers.iter()).filter(|l| matches!(l.op, IntOp::Conv(_)));
            if !with_weights().any(|l| l.name == *name) {
                let names: Vec<&str> = with_weights().map(|l| l.name.as_str()).collect();
                faults.push(Diagnostic::new(
                    diag::KERNEL_LAYER_UNKNOWN,
                    "--kernel",
                    format!("`{name}` is no layer with weights"),
                    format!("name one of {}", names.join(", ")),
                ));
            }
        }
        faults.into_result(())
    }

    /// Which of the candidates for `layer` to take; only candidates that nothing refuses are.
    ///
    /// # Errors
    /// If a kernel was given for this very layer and does not accept it.
    pub(super) fn pick(&self, layer: &str, candidates: &[Candidate]) -> Result<usize, Diagnostic> {
        let possible = |accept: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
            (0..candidates.len())
                .filter(|&i| candidates[i].refused.is_none() && accept(&candidates[i]))
                .collect()
        };
        for forced in &self.forced {
            let own = forced.layer.as_deref() == Some(layer);
            if !own && forced.layer.is_some() {
                continue;
            }
            let of = possible(&|c| c.kernel == forced.kernel);
            if let Some(best) = self.best(candidates, &of) {
                return Ok(best);
            }
            if own {
                let why = (candidates.iter())
                    .find(|c| c.kernel == forced.kernel)
                    .and_then(|c| c.refused.clone())
                    .unwrap_or_else(|| "it is of another operator".to_owned());
                return Err(Diagnostic::new(
                    diag::KERNEL_REFUSED,
                    format!("layer `{layer}`"),
                    format!("`{}` does not run it: {why}", forced.kernel),
                    "leave the choice to nestc, or see `nestc compile --explain-kernels`",
                ));
            }
        }
        if let Some(format) = self.format {
            let of = possible(&|c| {
                KERNELS
                    .iter()
                    .any(|k| k.name == c.kernel && k.format == format)
            });
            if let Some(best) = self.best(candidates, &of) {
                return Ok(best);
            }
        }
        self.best(candidates, &possible(&|_| true)).ok_or_else(|| {
            let reasons: Vec<String> = (candidates.iter())
                .filter_map(|c| Some(format!("{}: {}", c.kernel, c.refused.as_ref()?)))
                .collect();
            Diagnostic::new(
                diag::EXTENT_TOO_LARGE,
                format!("layer `{layer}`"),
                format!("no kernel runs it: {}", reasons.join("; ")),
                "use a smaller input resolution, or split the layer",
            )
        })
    }

    /// The best of some candidates by the objective.
    fn best(&self, candidates: &[Candidate], of: &[usize]) -> Option<usize> {
        let cycles = |i: usize| candidates[i].mean_cycles();
        let bytes = |i: usize| candidates[i].flash.0;
        let fastest = of
            .iter()
            .copied()
            .min_by(|&a, &b| (cycles(a).total_cmp(&cycles(b))).then(bytes(a).cmp(&bytes(b))))?;
        match self.objective {
            Objective::Latency => Some(fastest),
            Objective::Flash => (of.iter().copied())
                .filter(|&i| cycles(i) <= MOST_SLOWDOWN * cycles(fastest))
                .min_by(|&a, &b| (bytes(a).cmp(&bytes(b))).then(cycles(a).total_cmp(&cycles(b)))),
        }
    }
}
