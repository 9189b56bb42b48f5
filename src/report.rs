//! Serialised results. Every number's field names its unit; every figure says what measured it.
//!
//! The fields are a contract with other tools: [`SCHEMA_VERSION`] changes when one of them changes
//! its name or meaning, and not when fields are added.

pub mod chart;
mod kernels;
mod memory;
mod quantisation;
mod training;

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::ir::program::Patches;
use crate::units::{Bytes, Cycles, Hertz, Instructions, Macs, group_thousands};

pub use kernels::{KernelCandidate, LayerKernels, explain};
pub use memory::{MemoryBlock, MemoryMap, MemoryUse};
pub use quantisation::{LayerNoise, LevelNoise, Quantisation, WorstLayer};
pub use training::{
    LayerSparsity, RecordedEpoch, RecordedLevel, RecordedLevelEpoch, TrainRecord, training_html,
};

/// Version of every document defined here.
pub const SCHEMA_VERSION: u32 = 1;

/// What produced a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredBy {
    /// The built-in cycle model; `emulator_model` names it.
    Emulator,
    /// A processor's own cycle counter, read through a debug probe.
    Probe,
    /// A recorded session.
    Replay,
}

/// Flash of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlashBytes {
    /// Weight values.
    pub weights: Bytes,
    /// Where sparse weights stand: column deltas, fillers, row counts.
    pub indices: Bytes,
    /// Requantisation constants and tables.
    pub requant: Bytes,
    /// Code and everything else that is no model data.
    pub code: Bytes,
    /// All bytes that are written into flash.
    pub total: Bytes,
}

/// RAM of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RamBytes {
    /// Activations: the arena but for `scratch`.
    pub arena: Bytes,
    /// Kernels' working memory in the arena while it is fullest.
    pub scratch: Bytes,
    /// Deepest stack seen; 0 before a run.
    pub stack: Bytes,
    /// Their sum.
    pub total: Bytes,
}

/// What `nestc compile` says of the image it built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The compiler's version.
    pub nestc_version: String,
    /// The model's name.
    pub model: String,
    /// The board's name.
    pub target: String,
    /// The layouts' version, read from the image.
    pub format_version: u32,
    /// Flash.
    pub flash_bytes: FlashBytes,
    /// RAM; the stack is not known before a run.
    pub ram_bytes: RamBytes,
    /// The memory the arena lies in.
    pub arena_memory: String,
    /// The arena.
    #[serde(default)]
    pub arena_bytes: Bytes,
    /// What no plan with these kernels and passes can go below, proven.
    #[serde(default)]
    pub arena_lower_bound_bytes: Bytes,
    /// Kernel code that is copied to the instruction memory at start-up.
    pub itcm_bytes: Bytes,
    /// Levels, sparsest first.
    pub levels: Vec<ImageLevel>,
    /// What was removed of the model's layers, exactly, because it changes no output.
    #[serde(default)]
    pub dead_channels: DeadChannels,
    /// Layers that only put elements in another order; earlier versions did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_time_transposes: Option<usize>,
    /// Layers in execution order.
    pub layers: Vec<ImageLayer>,
    /// How the kernels of layers with weights were chosen.
    #[serde(default)]
    pub kernels: Vec<LayerKernels>,
    /// How closely the integer network follows the float network, if that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantisation: Option<Quantisation>,
    /// Whether the first layers run in stripes of rows, and what that costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patches: Option<Patches>,
    /// Where everything lies in the arena, and when.
    #[serde(default)]
    pub memory: MemoryMap,
}

/// Channels that hold one value whatever the input, or that nothing reads: they are not in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadChannels {
    /// Output channels of the model's convolutions and fully connected layers.
    pub channels: u64,
    /// Of those, how many were removed.
    pub removed: u64,
    /// Multiply-accumulates that are left with all weights live.
    pub live_macs: Macs,
}

/// One level of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageLevel {
    /// 0 is the sparsest.
    pub level: usize,
    /// Share of zero weights.
    pub sparsity: f64,
    /// Weights that are not zero.
    pub nonzero_weights: u64,
    /// Multiply-accumulates with all weights live.
    pub macs: Macs,
    /// Multiply-accumulates by non-zero weights.
    pub effective_macs: Macs,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// The ONNX node's name.
    pub name: String,
    /// The operator.
    pub op: String,
    /// The kernel.
    pub kernel: String,
    /// Flash for weight values.
    pub weight_bytes: Bytes,
    /// Flash for indices.
    pub index_bytes: Bytes,
    /// Flash for requantisation.
    pub requant_bytes: Bytes,
    /// Bytes of the inputs.
    pub input_bytes: Bytes,
    /// Bytes of the output.
    pub output_bytes: Bytes,
    /// Bytes of the arena in use while the layer runs: live tensors and its scratch.
    pub live_bytes: Bytes,
    /// Output channels in the model.
    #[serde(default)]
    pub model_channels: u64,
    /// Output channels in the image; the rest is dead.
    #[serde(default)]
    pub live_channels: u64,
    /// Multiply-accumulates of the model's layer with all weights live.
    #[serde(default)]
    pub macs: Macs,
    /// What is left of them without dead channels.
    #[serde(default)]
    pub live_macs: Macs,
}

/// What `nestc bench` measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The compiler's version.
    pub nestc_version: String,
    /// The model's name.
    pub model: String,
    /// The board's name.
    pub target: String,
    /// The core's clock.
    pub clock_hz: Hertz,
    /// What measured cycles.
    pub measured_by: MeasuredBy,
    /// The cycle model's name and version, if an emulator measured.
    pub emulator_model: Option<String>,
    /// Why there are no cycles, if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles_missing: Option<String>,
    /// The cycle model's setting behind `cycles`: `expected`, or the name in a timing file.
    #[serde(default)]
    pub timing: Option<String>,
    /// What the outputs of a detection network mean; absent for other networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Where the inputs came from: a data specification, or `random` with the seed.
    pub inputs: String,
    /// Flash.
    pub flash_bytes: FlashBytes,
    /// RAM.
    pub ram_bytes: RamBytes,
    /// Comparison with the host.
    pub bit_exact: BitExact,
    /// Levels, sparsest first.
    pub levels: Vec<BenchLevel>,
    /// How the kernels of layers with weights were chosen.
    #[serde(default)]
    pub kernels: Vec<LayerKernels>,
}

/// Comparison of device and host, layer by layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BitExact {
    /// Inputs compared, each at every level.
    pub inputs: u64,
    /// Runs (an input at a level) that differ.
    pub mismatches: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_mismatch: Option<Mismatch>,
}

/// Where device and host part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Which input.
    pub input: u64,
    /// Which level.
    pub level: usize,
    /// The first layer whose output differs.
    pub layer: String,
    /// That layer's kernel.
    pub kernel: String,
    /// Checksum of the layer's output on the host.
    pub host_checksum: u32,
    /// Checksum on the device.
    pub device_checksum: u32,
}

/// One level's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchLevel {
    /// 0 is the sparsest.
    pub level: usize,
    /// Share of zero weights.
    pub sparsity: f64,
    /// Weights that are not zero.
    pub nonzero_weights: u64,
    /// Multiply-accumulates with all weights live.
    pub macs: Macs,
    /// Multiply-accumulates by non-zero weights.
    pub effective_macs: Macs,
    /// Share of images classified right, if there were labels.
    pub accuracy_top1: Option<f64>,
    /// Images behind `accuracy_top1`.
    pub accuracy_images: u64,
    /// Of a whole inference: the median of the timed runs. None where there is no cycle model.
    pub cycles: Option<Cycles>,
    /// The same with everything that the cycle model assumes at its unfavourable end; none where
    /// cycles are measured and not modelled.
    #[serde(default)]
    pub cycles_pessimistic: Option<Cycles>,
    /// Of the first timed run, with cold caches; none as `cycles`.
    pub cold_cycles: Option<Cycles>,
    /// Of a whole inference; 0 if the runner cannot count them.
    pub instructions: Instructions,
    /// `cycles` at `clock_hz`; none as `cycles`.
    pub latency_ms: Option<f64>,
    /// Layers in execution order.
    pub layers: Vec<BenchLayer>,
    /// What decoding the boxes took, which `cycles` does not hold; absent without a head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes: Option<BenchBoxes>,
}

/// Decoding of the boxes of one inference, and suppression among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchBoxes {
    /// Boxes found in the input that was timed.
    pub found: u64,
    /// In the timed run that is the median; none as for a whole inference.
    #[serde(default)]
    pub cycles: Option<Cycles>,
    /// As the level's `cycles_pessimistic`.
    #[serde(default)]
    pub cycles_pessimistic: Option<Cycles>,
    /// 0 if the runner cannot count them.
    pub instructions: Instructions,
}

/// One layer's figures at one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchLayer {
    /// The ONNX node's name.
    pub name: String,
    /// The operator.
    pub op: String,
    /// The kernel.
    pub kernel: String,
    /// In the timed run that is the median; none as the level's.
    pub cycles: Option<Cycles>,
    /// As the level's `cycles_pessimistic`.
    #[serde(default)]
    pub cycles_pessimistic: Option<Cycles>,
    /// 0 if the runner cannot count them.
    pub instructions: Instructions,
    /// Multiply-accumulates with all weights live.
    pub macs: Macs,
    /// Multiply-accumulates by non-zero weights.
    pub effective_macs: Macs,
    /// What the cost model expected of `cycles`; 0 if the program does not say.
    #[serde(default)]
    pub estimated_cycles: Cycles,
}

/// Rows of cells as a table: the first column flush left, all others flush right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let pad = " ".repeat(width - cell.chars().count());
            if column == 0 {
                line += &format!("{cell}{pad}");
            } else {
                line += &format!("  {pad}{cell}");
            }
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// A figure that not every runner can give.
fn optional(cycles: Option<Cycles>) -> String {
    cycles.map_or("-".into(), |c| group_thousands(c.0))
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(String::from).to_vec()
}

impl FlashBytes {
    /// The sum and its parts, for people.
    pub fn line(&self) -> String {
        format!(
            "flash   {} = weights {} + indices {} + requantisation {} + code {}",
            self.total,
            group_thousands(self.weights.0),
            group_thousands(self.indices.0),
            group_thousands(self.requant.0),
            group_thousands(self.code.0),
        )
    }
}

impl RamBytes {
    fn line(&self) -> String {
        let stack = match self.stack {
            Bytes(0) => "stack not yet measured".to_string(),
            Bytes(bytes) => format!("stack {}", group_thousands(bytes)),
        };
        format!(
            "RAM     {} = arena {} + scratch {} + {stack}",
            self.total,
            group_thousands(self.arena.0),
            group_thousands(self.scratch.0),
        )
    }
}

impl ImageReport {
    /// For people.
    pub fn table(&self) -> String {
        let mut out = format!(
            "{} for {}\n{}\n{}\narena   {} in {}, lower bound {}; {}\n",
            self.model,
            self.target,
            self.flash_bytes.line(),
            self.ram_bytes.line(),
            self.arena_bytes,
            match self.memory.fast_bytes {
                Bytes(0) => self.arena_memory.clone(),
                fast => format!(
                    "two parts, {fast} in DTCM and {} in {}",
                    self.arena_bytes - fast,
                    self.arena_memory
                ),
            },
            self.arena_lower_bound_bytes,
            match self.itcm_bytes {
                Bytes(0) => "kernels run from flash".to_string(),
                bytes => format!("{bytes} of kernels in ITCM"),
            }
        );
        if let Some(transposes) = self.run_time_transposes {
            out += &format!("layout: {transposes} run-time transposes\n");
        }
        out.push('\n');
        if let Some(patches) = &self.patches {
            let macs: u64 = self.layers.iter().map(|l| l.live_macs.0).sum();
            // Writing into a string cannot fail.
            let _ = writeln!(
                out,
                "the first {} layers run in {} stripes: the arena takes {} instead of {}, for {} MACs more ({:.1} %)\n",
                patches.layers,
                patches.stripes,
                self.arena_bytes,
                patches.whole_arena,
                group_thousands(patches.again.0),
                100.0 * patches.again.0 as f64 / macs.saturating_sub(patches.again.0).max(1) as f64,
            );
        }
        if self.dead_channels.removed > 0 {
            let macs = self.levels.last().map_or(Macs(0), |level| level.macs);
            // Writing into a string cannot fail.
            let _ = writeln!(
                out,
                "{} of {} channels are dead and were removed: {} of {} MACs are left\n",
                group_thousands(self.dead_channels.removed),
                group_thousands(self.dead_channels.channels),
                group_thousands(self.dead_channels.live_macs.0),
                group_thousands(macs.0),
            );
        }
        let mut rows = vec![cells([
            "layer", "op", "kernel", "channels", "weights", "indices", "requant", "output",
            "live RAM",
        ])];
        for layer in &self.layers {
            rows.push(vec![
                layer.name.clone(),
                layer.op.clone(),
                layer.kernel.clone(),
                if layer.live_channels == layer.model_channels {
                    layer.live_channels.to_string()
                } else {
                    format!("{} of {}", layer.live_channels, layer.model_channels)
                },
                group_thousands(layer.weight_bytes.0),
                group_thousands(layer.index_bytes.0),
                group_thousands(layer.requant_bytes.0),
                group_thousands(layer.output_bytes.0),
                group_thousands(layer.live_bytes.0),
            ]);
        }
        out += &table(&rows);
        if !self.kernels.is_empty() {
            out += "\nkernels by the cost model, means over the levels\n";
            out += &kernels::summary(&self.kernels);
        }
        out
    }
}

impl BenchReport {
    /// For people.
    pub fn table(&self) -> String {
        let by = match (self.measured_by, &self.emulator_model) {
            (MeasuredBy::Emulator, Some(model)) => {
                let timing = self.timing.as_deref().unwrap_or("expected");
                format!("emulator, model {model}, timing {timing}")
            }
            (MeasuredBy::Emulator, None) => "emulator, no cycles".into(),
            (MeasuredBy::Probe, _) => "debug probe".into(),
            (MeasuredBy::Replay, _) => "recorded session".into(),
        };
        let mut out = format!(
            "{} on {} at {} MHz, measured by {by}\n{}\n{}\n",
            self.model,
            self.target,
            self.clock_hz.0 / 1_000_000,
            self.flash_bytes.line(),
            self.ram_bytes.line(),
        );
        if let Some(why) = &self.cycles_missing {
            // Writing into a string cannot fail.
            let _ = writeln!(out, "{why}: cycles and times are not known");
        }
        let exact = &self.bit_exact;
        // Writing into a string cannot fail.
        let _ = match &exact.first_mismatch {
            None if exact.inputs == 0 => {
                writeln!(out, "not compared with the host (timed on {})", self.inputs)
            }
            None => writeln!(
                out,
                "bit-exact with the host on {} inputs ({}) at every level",
                exact.inputs, self.inputs
            ),
            Some(at) => writeln!(
                out,
                "NOT bit-exact: {} of {} runs differ; first: input {}, level {}, layer {} ({})",
                exact.mismatches,
                exact.inputs * self.levels.len() as u64,
                at.input,
                at.level,
                at.layer,
                at.kernel
            ),
        };
        if let Some(level) = self.levels.iter().find(|l| l.accuracy_top1.is_some()) {
            // Writing into a string cannot fail.
            let _ = writeln!(
                out,
                "top-1 measured on {} images",
                group_thousands(level.accuracy_images)
            );
        }
        let mut rows = vec![cells([
            "level",
            "sparsity",
            "top-1",
            "non-zero",
            "MACs",
            "cycles",
            "pessimistic",
            "cold",
            "instructions",
            "ms",
        ])];
        for level in &self.levels {
            rows.push(vec![
                level.level.to_string(),
                format!("{:.1} %", level.sparsity * 100.0),
                level
                    .accuracy_top1
                    .map_or("-".into(), |a| format!("{:.2} %", a * 100.0)),
                group_thousands(level.nonzero_weights),
                group_thousands(level.effective_macs.0),
                optional(level.cycles),
                optional(level.cycles_pessimistic),
                optional(level.cold_cycles),
                group_thousands(level.instructions.0),
                level.latency_ms.map_or("-".into(), |ms| format!("{ms:.2}")),
            ]);
        }
        out.push('\n');
        out += &table(&rows);
        out.push('\n');
        out += &self.layer_table();
        if !self.kernels.is_empty() {
            out += "\nkernels by the cost model, means over the levels\n";
            out += &kernels::summary(&self.kernels);
        }
        out
    }

    /// Cycles a layer and level, or where there are none, instructions.
    fn layer_table(&self) -> String {
        let figure = match self.cycles_missing {
            None => "cycles",
            Some(_) => "instructions",
        };
        let mut head = cells(["layer", "op"]);
        for level in &self.levels {
            head.push(format!("level {} {figure}", level.level));
            head.push("per MAC".into());
            if level.cycles_pessimistic.is_some() {
                head.push("pessimistic".into());
            }
        }
        let mut rows = vec![head];
        let count = self.levels.first().map_or(0, |level| level.layers.len());
        for i in 0..count {
            let first = &self.levels[0].layers[i];
            let mut row = vec![first.name.clone(), first.op.clone()];
            for level in &self.levels {
                let layer = &level.layers[i];
                let spent = layer.cycles.map_or(layer.instructions.0, |cycles| cycles.0);
                row.push(group_thousands(spent));
                row.push(if layer.effective_macs.0 == 0 {
                    "-".into()
                } else {
                    format!("{:.2}", spent as f64 / layer.effective_macs.0 as f64)
                });
                if level.cycles_pessimistic.is_some() {
                    row.push(optional(layer.cycles_pessimistic));
                }
            }
            rows.push(row);
        }
        if self.levels.iter().any(|level| level.boxes.is_some()) {
            // Behind the inference, and not in its sum.
            let mut row = cells(["(boxes)", "detect"]);
            for level in &self.levels {
                let boxes = level.boxes.as_ref();
                let spent = boxes.map(|b| b.cycles.map_or(b.instructions.0, |cycles| cycles.0));
                row.push(spent.map_or("-".into(), group_thousands));
                row.push("-".into());
                if level.cycles_pessimistic.is_some() {
                    row.push(optional(boxes.and_then(|b| b.cycles_pessimistic)));
                }
            }
            rows.push(row);
        }
        table(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BenchReport {
        BenchReport {
            schema_version: SCHEMA_VERSION,
            nestc_version: "0.1.0".into(),
            model: "net".into(),
            target: "stm32h743".into(),
            clock_hz: Hertz(480_000_000),
            measured_by: MeasuredBy::Emulator,
            emulator_model: Some("m7-3".into()),
            cycles_missing: None,
            timing: Some("expected".into()),
            head: None,
            inputs: "random, seed 1".into(),
            flash_bytes: FlashBytes {
                weights: Bytes(1000),
                indices: Bytes(200),
                requant: Bytes(30),
                code: Bytes(4),
                total: Bytes(1234),
            },
            ram_bytes: RamBytes::default(),
            bit_exact: BitExact {
                inputs: 8,
                ..BitExact::default()
            },
            levels: vec![BenchLevel {
                level: 0,
                sparsity: 0.9,
                nonzero_weights: 5,
                macs: Macs(100),
                effective_macs: Macs(10),
                accuracy_top1: Some(0.875),
                accuracy_images: 64,
                cycles: Some(Cycles(4800)),
                cycles_pessimistic: Some(Cycles(6000)),
                cold_cycles: Some(Cycles(4900)),
                instructions: Instructions(5000),
                latency_ms: Some(0.01),
                layers: vec![BenchLayer {
                    name: "conv".into(),
                    op: "conv2d".into(),
                    kernel: "k".into(),
                    cycles: Some(Cycles(4800)),
                    cycles_pessimistic: Some(Cycles(6000)),
                    instructions: Instructions(5000),
                    macs: Macs(100),
                    effective_macs: Macs(10),
                    estimated_cycles: Cycles(4700),
                }],
                boxes: None,
            }],
            kernels: Vec::new(),
        }
    }

    fn keys(value: &serde_json::Value) -> Vec<&str> {
        let object = value.as_object().expect("an object");
        object.keys().map(String::as_str).collect()
    }

    #[test]
    fn the_fields_others_rely_on_are_there() {
        let text = serde_json::to_string(&report()).unwrap();
        assert!(text.starts_with("{\"schema_version\":1,"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in [
            "schema_version",
            "nestc_version",
            "model",
            "target",
            "clock_hz",
            "measured_by",
            "emulator_model",
            "timing",
            "flash_bytes",
            "ram_bytes",
            "bit_exact",
            "levels",
            "kernels",
        ] {
            assert!(keys(&json).contains(&key), "{key}");
        }
        assert_eq!(json["measured_by"], "emulator");
        assert_eq!(json["clock_hz"], 480_000_000);
        for (object, expected) in [
            (
                &json["flash_bytes"],
                vec!["code", "indices", "requant", "total", "weights"],
            ),
            (
                &json["ram_bytes"],
                vec!["arena", "scratch", "stack", "total"],
            ),
            (&json["bit_exact"], vec!["inputs", "mismatches"]),
        ] {
            let mut found = keys(object);
            found.sort_unstable();
            assert_eq!(found, expected);
        }
        let level = &json["levels"][0];
        for key in [
            "level",
            "sparsity",
            "nonzero_weights",
            "macs",
            "effective_macs",
            "accuracy_top1",
            "accuracy_images",
            "cycles",
            "cycles_pessimistic",
            "instructions",
            "latency_ms",
            "layers",
        ] {
            assert!(keys(level).contains(&key), "{key}");
        }
        let mut found = keys(&level["layers"][0]);
        found.sort_unstable();
        assert_eq!(
            found,
            [
                "cycles",
                "cycles_pessimistic",
                "effective_macs",
                "estimated_cycles",
                "instructions",
                "kernel",
                "macs",
                "name",
                "op"
            ]
        );
        assert_eq!(
            serde_json::from_str::<BenchReport>(&text).unwrap(),
            report()
        );
    }

    #[test]
    fn the_table_is_aligned_and_names_what_measured() {
        let text = report().table();
        let expected = "\
net on stm32h743 at 480 MHz, measured by emulator, model m7-3, timing expected
flash   1,234 B = weights 1,000 + indices 200 + requantisation 30 + code 4
RAM     0 B = arena 0 + scratch 0 + stack not yet measured
bit-exact with the host on 8 inputs (random, seed 1) at every level
top-1 measured on 64 images

level  sparsity    top-1  non-zero  MACs  cycles  pessimistic   cold  instructions    ms
0        90.0 %  87.50 %         5    10   4,800        6,000  4,900         5,000  0.01

layer      op  level 0 cycles  per MAC  pessimistic
conv   conv2d           4,800   480.00        6,000
";
        assert_eq!(text, expected);
    }
}
