//! A nested model as ONNX messages; [`crate::import::nest`] describes the format.

use std::collections::BTreeMap;

use super::graph::{float_tensor, to_proto};
use crate::import::nest::{
    Document, Exact, FORMAT_VERSION, LevelEntry, METADATA_KEY, ParamsKind, levels_tensor,
    param_tensor, param_vectors,
};
use crate::import::proto::{
    GraphProto, ModelProto, StringStringEntryProto, TensorProto, TrainingInfoProto, data_type,
};
use crate::ir::float::FloatOp;
use crate::ir::nested::NestedModel;

/// The messages of a verified model: its densest level as the graph, the rest beside it.
pub fn to_nest_proto(model: &NestedModel) -> ModelProto {
    let name = |id| model.graph.nodes[id].name.clone();
    let mut tensors = Vec::new();
    for (&id, levels) in &model.weight_levels {
        let dims: Vec<usize> = match &model.graph.nodes[id].op {
            FloatOp::Conv(conv) => {
                let [kh, kw] = conv.window.kernel;
                vec![conv.out_channels, conv.group_channels, kh, kw]
            }
            FloatOp::Dense(dense) => vec![dense.out_features, dense.in_features],
            _ => vec![levels.len()],
        };
        tensors.push(TensorProto {
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: data_type::UINT8,
            name: levels_tensor(&name(id)),
            raw_data: Some(levels.clone()),
            ..TensorProto::default()
        });
    }
    let mut kinds = BTreeMap::new();
    for (&id, all) in &model.level_params {
        for (level, params) in all.iter().enumerate() {
            kinds.insert(name(id), ParamsKind::of(params));
            for (key, data) in param_vectors(params) {
                let tensor = param_tensor(&name(id), level, key);
                tensors.push(float_tensor(tensor, &[data.len()], &data));
            }
        }
    }
    let document = Document {
        format_version: FORMAT_VERSION,
        nestc_version: env!("CARGO_PKG_VERSION").to_owned(),
        levels: (model.levels.iter())
            .map(|level| LevelEntry {
                sparsity: Exact::new(level.sparsity),
                accuracy_top1: level.accuracy_top1.map(Exact::new),
            })
            .collect(),
        pruned_nodes: model.weight_levels.keys().map(|&id| name(id)).collect(),
        level_params: kinds,
        preprocessing: model.preprocessing.clone(),
        training: model.training.clone(),
    };
    let mut proto = to_proto(&model.graph);
    proto.metadata_props.push(StringStringEntryProto {
        key: METADATA_KEY.to_owned(),
        value: serde_json::to_string_pretty(&document)
            .expect("a document of texts, numbers and lists of them is always JSON"),
    });
    proto.training_info.push(TrainingInfoProto {
        initialization: Some(GraphProto {
            name: "nestc levels".to_owned(),
            initializer: tensors,
            ..GraphProto::default()
        }),
        ..TrainingInfoProto::default()
    });
    proto
}
