//! A nested model: one float graph whose weights form N nested subsets.
//!
//! Level 0 is the sparsest; running level `l` uses the weights of levels `0..=l`. Normalisations
//! and biases may differ from level to level. A plain network is a nested model of one level.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::float::{FloatGraph, FloatOp};
use super::ids::{Id, Level, NodeId};

/// Marks a weight that no level uses.
pub const PRUNED: u8 = 255;

/// How pictures become the network's input: `(pixel * scale - mean[c]) / std[c]`, pixel in 0..=255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Multiplies the raw pixel first.
    pub scale: f32,
    /// Subtracted, one a channel.
    pub mean: Vec<f32>,
    /// Divides, one a channel.
    pub std: Vec<f32>,
    /// Channel order the network expects.
    pub order: ChannelOrder,
}

/// Order of colour channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
}

/// What one level is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LevelInfo {
    /// Share of prunable weights that are zero, 0..=1.
    pub sparsity: f64,
    /// Measured after training, if it was.
    pub accuracy_top1: Option<f64>,
}

/// Parameters of one node that belong to a level and not to all.
#[derive(Clone, Debug, PartialEq)]
pub enum LevelParams {
    /// For a [`FloatOp::BatchNorm`] node.
    BatchNorm(super::float::BatchNorm),
    /// For a [`FloatOp::ChannelAffine`] node: scale and shift.
    Affine(Vec<f32>, Vec<f32>),
    /// The bias of a [`FloatOp::Conv`] or [`FloatOp::Dense`] node.
    Bias(Vec<f32>),
}

/// One float graph with N nested weight subsets.
#[derive(Clone, Debug, PartialEq)]
pub struct NestedModel {
    /// The graph; its weights and parameters are those of the densest level (pruned weights are 0).
    pub graph: FloatGraph,
    /// Level 0 first; at least one.
    pub levels: Vec<LevelInfo>,
    /// For each pruned Conv or Dense node, the sparsest level that holds each weight ([`PRUNED`] for
    /// none). A node that is missing uses all its weights at every level.
    pub weight_levels: BTreeMap<NodeId, Vec<u8>>,
    /// Parameters that differ, one entry a level. A missing node has the graph's own at every level.
    pub level_params: BTreeMap<NodeId, Vec<LevelParams>>,
    /// How the training data were prepared, if known.
    pub preprocessing: Option<Preprocessing>,
    /// The training record, if any: free JSON, kept as it was read.
    pub training: Option<serde_json::Value>,
}

impl NestedModel {
    /// A plain network as a nested model of one level. Its zero weights are recorded as pruned by
    /// nothing: whether zeros are skipped is the encoder's matter.
    pub fn plain(graph: FloatGraph) -> Self {
        Self {
            graph,
            levels: vec![LevelInfo::default()],
            weight_levels: BTreeMap::new(),
            level_params: BTreeMap::new(),
            preprocessing: None,
            training: None,
        }
    }

    /// The same model over [`FloatGraph::renumbered`].
    pub fn renumbered(&self) -> Self {
        let (graph, nodes) = self.graph.renumbered();
        let kept = |id: &NodeId| nodes.get(id).copied();
        Self {
            graph,
            levels: self.levels.clone(),
            weight_levels: (self.weight_levels.iter())
                .filter_map(|(id, levels)| Some((kept(id)?, levels.clone())))
                .collect(),
            level_params: (self.level_params.iter())
                .filter_map(|(id, params)| Some((kept(id)?, params.clone())))
                .collect(),
            preprocessing: self.preprocessing.clone(),
            training: self.training.clone(),
        }
    }

    /// How many levels there are.
    pub fn level_count(&self) -> usize {
        self.levels.len()
    }

    /// All levels, sparsest first.
    pub fn level_ids(&self) -> impl DoubleEndedIterator<Item = Level> + ExactSizeIterator + use<> {
        (0..self.levels.len()).map(Level::from_index)
    }

    /// The densest level.
    pub fn densest(&self) -> Level {
        Level::from_index(self.levels.len() - 1)
    }

    /// Level `level` as an ordinary graph: weights of denser levels are zero, parameters are the
    /// level's own. Node and value ids are those of [`NestedModel::graph`].
    pub fn level(&self, level: Level) -> FloatGraph {
        let mut graph = self.graph.clone();
        for (&id, of) in &self.weight_levels {
            let weight = match &mut graph.nodes[id].op {
                FloatOp::Conv(conv) => &mut conv.weight,
                FloatOp::Dense(dense) => &mut dense.weight,
                _ => continue,
            };
            for (w, &l) in weight.iter_mut().zip(of) {
                if usize::from(l) > level.index() {
                    *w = 0.0;
                }
            }
        }
        for (&id, params) in &self.level_params {
            match (&mut graph.nodes[id].op, &params[level.index()]) {
                (FloatOp::BatchNorm(bn), LevelParams::BatchNorm(own)) => *bn = own.clone(),
                (FloatOp::ChannelAffine { scale, shift }, LevelParams::Affine(s, t)) => {
                    scale.clone_from(s);
                    shift.clone_from(t);
                }
                (FloatOp::Conv(conv), LevelParams::Bias(b)) => conv.bias = Some(b.clone()),
                (FloatOp::Dense(dense), LevelParams::Bias(b)) => dense.bias = Some(b.clone()),
                (op, _) => unreachable!(
                    "verified: parameters of another kind on a {} node",
                    op.name()
                ),
            }
        }
        graph
    }
}
