//! What is written reads back the same.

use std::path::Path;

use super::*;
use crate::import::{self, Imported};
use crate::ir::float::{Node, Value};
use crate::ir::nested::{ChannelOrder, Preprocessing};
use crate::ir::text::{Weights, print, print_nested};
use crate::ir::verify::tests::{sound, sound_nested};

fn read(proto: &ModelProto) -> Imported {
    import::from_bytes(&proto.encode_to_vec(), Path::new("."), "test.onnx")
        .unwrap_or_else(|e| panic!("{e}"))
}

// Texts show where two graphs differ; equality also sees what texts leave out.
fn text(graph: &FloatGraph) -> String {
    print(graph, Weights::Hashed)
}
fn nested_text(model: &NestedModel) -> String {
    print_nested(model, Weights::Hashed)
}

#[test]
fn a_graph_reads_back() {
    let graph = sound();
    let again = read(&to_proto(&graph)).model.graph;
    assert_eq!(text(&again), text(&graph));
    assert!(again == graph);
}

#[test]
fn a_nested_model_reads_back_bit_by_bit() {
    let mut model = sound_nested();
    // A third and 0.1 + 0.2 need 16 and 17 digits.
    model.levels[1].sparsity = 0.1 + 0.2;
    model.levels[1].accuracy_top1 = Some(1.0 / 3.0);
    model.levels[2].sparsity = 0.212_345_678_901_234_57;
    model.preprocessing = Some(Preprocessing {
        scale: 1.0 / 255.0,
        mean: vec![0.485, 0.456],
        std: vec![0.229, f32::MIN_POSITIVE],
        order: ChannelOrder::Rgb,
    });
    model.training = Some(serde_json::json!({ "epochs": 30, "seed": 7, "loss": [2.25, 0.5] }));
    let again = read(&to_nest_proto(&model)).model;
    assert_eq!(nested_text(&again), nested_text(&model));
    assert!(again == model);
    for (a, b) in again.levels.iter().zip(&model.levels) {
        assert_eq!(a.sparsity.to_bits(), b.sparsity.to_bits());
    }
    let hashes =
        |m: &NestedModel| crate::ir::text::print_nested(m, crate::ir::text::Weights::Hashed);
    assert_eq!(hashes(&again), hashes(&model));
}

/// A normalisation of scale one right behind a convolution, a sum of a constant, two affine steps:
/// an ordinary file's would be merged, a nested model's node ids must stay.
#[test]
fn nothing_is_merged_in_a_file_of_ours() {
    let mut graph = sound();
    let mut last = graph.outputs[0];
    for (i, scale) in [1.0, 1.0, 2.0].into_iter().enumerate() {
        let name = format!("affine_after{i}");
        let output = graph.values.push(Value {
            name: name.clone(),
            shape: graph.shape(last),
        });
        graph.nodes.push(Node {
            name,
            op: crate::ir::float::FloatOp::ChannelAffine {
                scale: vec![scale; 2],
                shift: vec![0.25; 2],
            },
            inputs: vec![last],
            output,
        });
        last = output;
    }
    graph.outputs = vec![last];
    let model = NestedModel::plain(graph);
    let again = read(&to_nest_proto(&model)).model;
    assert_eq!(nested_text(&again), nested_text(&model));
    assert!(again == model);
}

#[test]
fn numbering_does_not_matter() {
    let mut model = sound_nested();
    // The same graph with a value no one uses in front of the others' numbers.
    let unused = Value {
        name: "unused".into(),
        shape: model.graph.input_shape(),
    };
    model.graph.values = std::iter::once(unused)
        .chain(model.graph.values.iter().cloned())
        .collect();
    let shift = |id: &mut crate::ir::ids::ValueId| *id = Id::from_index(id.index() + 1);
    model.graph.input.iter_mut().for_each(shift);
    model.graph.outputs.iter_mut().for_each(shift);
    for node in model.graph.nodes.iter_mut() {
        node.inputs.iter_mut().for_each(shift);
        shift(&mut node.output);
    }
    assert!(model != sound_nested());
    assert!(model.renumbered() == sound_nested());
    assert!(read(&to_nest_proto(&model)).model == sound_nested());
}

#[test]
fn the_densest_level_is_the_plain_network() {
    let model = sound_nested();
    let mut proto = to_nest_proto(&model);
    proto.metadata_props.clear();
    let plain = read(&proto).model;
    assert_eq!(plain.level_count(), 1);
    assert_eq!(
        import::from_bytes(&to_proto(&model.graph).encode_to_vec(), Path::new("."), "t")
            .map(|i| i.model),
        Ok(plain)
    );
}

#[test]
fn an_unknown_level_is_refused() {
    let error = export_level(&sound_nested(), 3, Path::new("never-written.onnx"))
        .expect_err("three levels: 0, 1, 2");
    assert_eq!(error.0[0].code, diag::BAD_ARGUMENT);
    assert!(error.0[0].hint.contains("to 2"), "{error}");
}

#[test]
fn nested_parts_that_do_not_fit_are_refused() {
    type Change = fn(&mut ModelProto);
    let cases: &[(diag::Code, &str, Change)] = &[
        (diag::NEST_VERSION, "format version 2", |p| {
            replace_text(p, "\"format_version\": 1", "\"format_version\": 2");
        }),
        (diag::NEST_DAMAGED, "no format_version", |p| {
            replace_text(p, "\"format_version\": 1,", "");
        }),
        (diag::NEST_DAMAGED, "document", |p| {
            p.metadata_props[0].value.truncate(40);
        }),
        (diag::NEST_DAMAGED, "document", |p| {
            replace_text(p, "\"levels\"", "\"stages\"");
        }),
        (diag::NEST_DAMAGED, "node 'conv0'", |p| {
            p.graph.as_mut().expect("a graph").node[0].name = "other".into();
        }),
        (diag::NEST_DAMAGED, "missing", |p| p.training_info.clear()),
        (diag::NEST_DAMAGED, "35 levels for 36 weights", |p| {
            let tensor = &mut tensors(p)[0];
            tensor.raw_data.as_mut().expect("raw").pop();
        }),
        (diag::NEST_DAMAGED, "V021", |p| {
            tensors(p)[0].raw_data = Some(vec![7; 36]);
        }),
        (diag::NEST_DAMAGED, "V023", |p| {
            let bias = tensors(p)
                .iter_mut()
                .find(|t| t.name.ends_with("level0/bias"));
            bias.expect("a bias").raw_data = Some(vec![0; 4]);
        }),
        (diag::NEST_DAMAGED, "cut short", |p| {
            let bias = tensors(p)
                .iter_mut()
                .find(|t| t.name.ends_with("level0/bias"));
            bias.expect("a bias").raw_data = Some(vec![0; 7]);
        }),
        (diag::NEST_DAMAGED, "no weights", |p| {
            replace_text(p, "\"conv0\"\n", "\"relu3\"\n");
        }),
    ];
    for (code, part, change) in cases {
        let mut proto = to_nest_proto(&sound_nested());
        change(&mut proto);
        let error =
            import::from_bytes(&proto.encode_to_vec(), Path::new("."), "t").expect_err(part);
        assert_eq!(error.0[0].code, *code, "{part}: {error}");
        assert!(error.0[0].message.contains(part), "{part}: {error}");
    }
}

fn replace_text(proto: &mut ModelProto, from: &str, to: &str) {
    let text = &mut proto.metadata_props[0].value;
    assert!(text.contains(from), "{text}");
    *text = text.replacen(from, to, 1);
}

fn tensors(proto: &mut ModelProto) -> &mut Vec<crate::import::proto::TensorProto> {
    let info = &mut proto.training_info[0];
    &mut info.initialization.as_mut().expect("tensors").initializer
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    write_onnx(&sound(), &path).expect("written");
    let first = std::fs::read(&path).expect("there");
    write_nest(&sound_nested(), &path).expect("replaced");
    assert_ne!(std::fs::read(&path).expect("there"), first);
    let missing = folder.path().join("no/such/folder/model.onnx");
    let error = write_onnx(&sound(), &missing).expect_err("no folder");
    assert_eq!(error.0[0].code, diag::NO_SUCH_FILE);
    let error = write_onnx(&sound(), folder.path()).expect_err("a folder");
    assert_eq!(error.0[0].code, diag::BAD_ARGUMENT);
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["model.onnx"]);
}
