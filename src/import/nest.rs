//! The nested part of a `.nest.onnx` file.
//!
//! Such a file is a valid ONNX file whose ordinary weights are the densest level. The rest:
//!
//! - `metadata_props["nestc"]` holds [`Document`] as JSON;
//! - the tensors of the levels are initializers of `training_info[0].initialization`, where ONNX
//!   keeps what training needs beyond inference (among the graph's own initializers runtimes warn
//!   that nothing uses them): for each pruned node `nestc/NODE/levels`, `uint8` in the extents of
//!   its weights, the sparsest level that holds each weight, 255 for none; for each level and node
//!   with parameters of its own `nestc/NODE/levelL/KEY`, `float`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::proto::{ModelProto, TensorProto, data_type};
use crate::diag::{self, Diagnostic};
use crate::ir::float::{BatchNorm, FloatGraph, FloatOp};
use crate::ir::ids::NodeId;
use crate::ir::nested::{LevelInfo, LevelParams, NestedModel, Preprocessing};

/// The key of the document among the file's metadata.
pub const METADATA_KEY: &str = "nestc";

/// The version this nestc writes and reads.
pub const FORMAT_VERSION: u64 = 1;

/// What the metadata hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// The nestc that wrote it.
    pub nestc_version: String,
    /// Level 0 (the sparsest) first.
    pub levels: Vec<LevelEntry>,
    /// Names of the nodes with pruned weights.
    pub pruned_nodes: Vec<String>,
    /// Names of the nodes whose parameters differ from level to level, and the kind of these.
    pub level_params: BTreeMap<String, ParamsKind>,
    /// How pictures are prepared.
    pub preprocessing: Option<Preprocessing>,
    /// The training record.
    pub training: Option<serde_json::Value>,
}

/// A level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LevelEntry {
    /// Share of prunable weights that are zero.
    pub sparsity: Exact,
    /// Measured accuracy, 0..=1.
    pub accuracy_top1: Option<Exact>,
}

/// A number that reads back as the same bits. It is text in the few cases in which the JSON reader
/// would round another way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Exact {
    /// As a number.
    Number(f64),
    /// As text.
    Text(String),
}

impl Exact {
    /// The form that keeps `value`.
    pub fn new(value: f64) -> Self {
        let text = format!("{value:?}");
        let read = serde_json::from_str::<f64>(&text).map(f64::to_bits);
        if read.ok() == Some(value.to_bits()) {
            Exact::Number(value)
        } else {
            Exact::Text(text)
        }
    }
    fn value(&self) -> Option<f64> {
        match self {
            Exact::Number(value) => Some(*value),
            Exact::Text(text) => text.parse().ok(),
        }
    }
}

/// Which parameters a node has per level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamsKind {
    /// `gamma`, `beta`, `mean`, `var`, `epsilon`.
    BatchNorm,
    /// `scale`, `shift`.
    Affine,
    /// `bias`.
    Bias,
}

impl ParamsKind {
    /// The kind of some parameters.
    pub fn of(params: &LevelParams) -> Self {
        match params {
            LevelParams::BatchNorm(_) => ParamsKind::BatchNorm,
            LevelParams::Affine(..) => ParamsKind::Affine,
            LevelParams::Bias(_) => ParamsKind::Bias,
        }
    }
}

/// The name of a pruned node's tensor of levels.
pub fn levels_tensor(node: &str) -> String {
    format!("nestc/{node}/levels")
}

/// The name of a parameter of one level.
pub fn param_tensor(node: &str, level: usize, key: &str) -> String {
    format!("nestc/{node}/level{level}/{key}")
}

/// The parameters of a level by key, in the order in which they are written.
pub fn param_vectors(params: &LevelParams) -> Vec<(&'static str, Vec<f32>)> {
    match params {
        LevelParams::BatchNorm(bn) => vec![
            ("gamma", bn.gamma.clone()),
            ("beta", bn.beta.clone()),
            ("mean", bn.mean.clone()),
            ("var", bn.var.clone()),
            ("epsilon", vec![bn.epsilon]),
        ],
        LevelParams::Affine(scale, shift) => {
            vec![("scale", scale.clone()), ("shift", shift.clone())]
        }
        LevelParams::Bias(bias) => vec![("bias", bias.clone())],
    }
}

impl Document {
    /// The document of a file, `None` if it is an ordinary ONNX file.
    pub(super) fn read(model: &ModelProto, place: &str) -> Result<Option<Self>, Diagnostic> {
        let Some(entry) = model.metadata_props.iter().find(|p| p.key == METADATA_KEY) else {
            return Ok(None);
        };
        let json = |error: serde_json::Error| damaged(place, format!("its document: {error}"));
        let value: serde_json::Value = serde_json::from_str(&entry.value).map_err(json)?;
        match value.get("format_version").and_then(|v| v.as_u64()) {
            Some(FORMAT_VERSION) => serde_json::from_value(value).map(Some).map_err(json),
            Some(version) => Err(Diagnostic::new(
                diag::NEST_VERSION,
                place,
                format!("format version {version}, this nestc reads {FORMAT_VERSION}"),
                "update nestc, or run `nestc export --level K` where the file was written",
            )),
            None => Err(damaged(
                place,
                "its document states no format_version".into(),
            )),
        }
    }

    /// The nested model over the densest level's graph.
    pub(super) fn model(
        &self,
        graph: FloatGraph,
        file: &ModelProto,
        place: &str,
    ) -> Result<NestedModel, Diagnostic> {
        let tensors: BTreeMap<&str, &TensorProto> = file
            .training_info
            .iter()
            .filter_map(|info| info.initialization.as_ref())
            .flat_map(|graph| &graph.initializer)
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect();
        let reader = Reader {
            tensors,
            nodes: (graph.nodes.iter_enumerated())
                .map(|(id, node)| (node.name.as_str(), id))
                .collect(),
            place,
        };
        let mut levels = Vec::new();
        for entry in &self.levels {
            let exact = |value: &Exact| {
                value
                    .value()
                    .ok_or_else(|| damaged(place, "a level's figures are no numbers".into()))
            };
            levels.push(LevelInfo {
                sparsity: exact(&entry.sparsity)?,
                accuracy_top1: entry.accuracy_top1.as_ref().map(exact).transpose()?,
            });
        }
        let mut weight_levels = BTreeMap::new();
        for name in &self.pruned_nodes {
            let id = reader.node(name)?;
            let count = match &graph.nodes[id].op {
                FloatOp::Conv(conv) => conv.weight.len(),
                FloatOp::Dense(dense) => dense.weight.len(),
                op => {
                    let message = format!("node '{name}' ({}) has no weights to prune", op.name());
                    return Err(damaged(place, message));
                }
            };
            weight_levels.insert(id, reader.levels(name, count)?);
        }
        let mut level_params = BTreeMap::new();
        for (name, &kind) in &self.level_params {
            let id = reader.node(name)?;
            let mut all = Vec::new();
            for level in 0..levels.len() {
                all.push(reader.params(name, level, kind)?);
            }
            level_params.insert(id, all);
        }
        let model = NestedModel {
            levels,
            weight_levels,
            level_params,
            preprocessing: self.preprocessing.clone(),
            training: self.training.clone(),
            graph,
        };
        // Whatever else does not fit breaks a rule of nested models; here the file is to blame.
        match crate::ir::verify::verify_nested(&model).first() {
            None => Ok(model),
            Some(breach) => Err(damaged(place, breach.to_string())),
        }
    }
}

fn damaged(place: &str, message: String) -> Diagnostic {
    Diagnostic::new(
        diag::NEST_DAMAGED,
        place,
        message,
        "take the file as nestc wrote it: other tools may read it but must not change it",
    )
}

/// Access to the nested tensors of a file.
struct Reader<'m> {
    tensors: BTreeMap<&'m str, &'m TensorProto>,
    nodes: BTreeMap<&'m str, NodeId>,
    place: &'m str,
}

impl Reader<'_> {
    fn node(&self, name: &str) -> Result<NodeId, Diagnostic> {
        let message = || format!("it nests node '{name}', which the graph does not have");
        (self.nodes.get(name).copied()).ok_or_else(|| damaged(self.place, message()))
    }

    /// The bytes of a tensor of this type.
    fn raw(&self, name: &str, data_type: i32) -> Result<&[u8], Diagnostic> {
        (self.tensors.get(name))
            .filter(|tensor| tensor.data_type == data_type)
            .and_then(|tensor| tensor.raw_data.as_deref())
            .ok_or_else(|| damaged(self.place, format!("its tensor '{name}' is missing")))
    }

    fn levels(&self, node: &str, count: usize) -> Result<Vec<u8>, Diagnostic> {
        let name = levels_tensor(node);
        let raw = self.raw(&name, data_type::UINT8)?;
        if raw.len() == count {
            return Ok(raw.to_vec());
        }
        let message = format!("'{name}' has {} levels for {count} weights", raw.len());
        Err(damaged(self.place, message))
    }

    fn floats(&self, node: &str, level: usize, key: &str) -> Result<Vec<f32>, Diagnostic> {
        let name = param_tensor(node, level, key);
        let (chunks, rest) = self.raw(&name, data_type::FLOAT)?.as_chunks();
        if rest.is_empty() {
            return Ok(chunks.iter().map(|&b| f32::from_le_bytes(b)).collect());
        }
        Err(damaged(
            self.place,
            format!("its tensor '{name}' is cut short"),
        ))
    }

    fn params(
        &self,
        node: &str,
        level: usize,
        kind: ParamsKind,
    ) -> Result<LevelParams, Diagnostic> {
        let floats = |key| self.floats(node, level, key);
        Ok(match kind {
            ParamsKind::BatchNorm => LevelParams::BatchNorm(BatchNorm {
                gamma: floats("gamma")?,
                beta: floats("beta")?,
                mean: floats("mean")?,
                var: floats("var")?,
                epsilon: floats("epsilon")?.first().copied().unwrap_or(f32::NAN),
            }),
            ParamsKind::Affine => LevelParams::Affine(floats("scale")?, floats("shift")?),
            ParamsKind::Bias => LevelParams::Bias(floats("bias")?),
        })
    }
}
