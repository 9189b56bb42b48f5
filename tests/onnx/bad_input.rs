//! Malformed and unsupported files: each gives coded findings with place and remedy, recorded in
//! `tests/golden/import_errors.txt` (`BLESS=1` records them anew), and never a panic.

use std::fmt::Write;
use std::path::Path;

use nestc::diag::{Diagnostics, ExitClass};
use nestc::import;
use nestc::import::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, SparseTensorProto, TypeProto, TypeValue,
    attribute_type, data_type,
};
use nestc::ir::verify::verify;
use prost::Message;

use crate::small_model::{
    at, document, external, floats, graph, input_type, insert, int, integers, ints, node, set,
    text, valid, value, weights,
};

type Change = fn(&mut ModelProto);

/// Changes to the valid model, each of which makes it unusable.
const CASES: &[(&str, Change)] = &[
    // The file as a whole.
    ("no opset", |m| m.opset_import.clear()),
    ("opset too old", |m| m.opset_import[0].version = 10),
    ("opset too new", |m| m.opset_import[0].version = 26),
    ("no graph", |m| m.graph = None),
    ("no nodes", |m| graph(m).node.clear()),
    ("no output", |m| graph(m).output.clear()),
    ("output nobody gives", |m| {
        graph(m).output[0].name = "z".into()
    }),
    ("output is the input", |m| {
        graph(m).output[0].name = "x".into()
    }),
    ("output is a constant", |m| {
        graph(m).output[0].name = "w".into()
    }),
    ("two names for one output", |m| {
        graph(m).node.push(node("Identity", "i", &["y"], "z"));
        graph(m).output.push(value("z", &[-1, 2]));
    }),
    ("two inputs", |m| {
        graph(m).input.push(value("x2", &[-1, 3, 8, 8]))
    }),
    ("no input", |m| graph(m).input.clear()),
    ("cyclic", |m| at(m, "r").input[0] = "pool".into()),
    ("reads its own output", |m| {
        at(m, "r").input[0] = "relu".into()
    }),
    ("two nodes give one tensor", |m| {
        graph(m).node.push(node("Relu", "r2", &["conv"], "relu"));
    }),
    ("two initializers of one name", |m| {
        graph(m).initializer.push(floats("w", &[1]));
    }),
    ("node gives an initializer", |m| {
        graph(m).node.push(node("Relu", "r2", &["conv"], "w"));
    }),
    ("missing initializer", |m| {
        graph(m).initializer.retain(|t| t.name != "w")
    }),
    // The input.
    ("input of rank 1", |m| graph(m).input[0] = value("x", &[8])),
    ("input of rank 5", |m| {
        graph(m).input[0] = value("x", &[-1, 3, 8, 8, 8])
    }),
    ("dynamic spatial extents", |m| {
        graph(m).input[0] = value("x", &[-1, 3, -1, -1])
    }),
    ("zero extent", |m| {
        graph(m).input[0] = value("x", &[1, 3, 0, 8])
    }),
    ("negative extent", |m| {
        graph(m).input[0] = value("x", &[1, -7, 8, 8])
    }),
    ("batch of zero", |m| {
        graph(m).input[0] = value("x", &[0, 3, 8, 8])
    }),
    ("huge input", |m| {
        graph(m).input[0] = value("x", &[1, i64::MAX, i64::MAX, i64::MAX]);
    }),
    ("input of bytes", |m| {
        input_type(m).elem_type = data_type::UINT8
    }),
    ("input without shape", |m| input_type(m).shape = None),
    ("input is a sequence", |m| {
        graph(m).input[0].r#type = Some(TypeProto {
            value: Some(TypeValue::Sequence(Vec::new())),
            ..TypeProto::default()
        });
    }),
    // Constants.
    ("too few weights", |m| {
        weights(m, "w").float_data.pop();
    }),
    ("raw data of another size", |m| {
        weights(m, "w").float_data.clear();
        weights(m, "w").raw_data = Some(vec![0; 431]);
    }),
    ("no data at all", |m| weights(m, "b").float_data.clear()),
    ("extents overflow", |m| {
        weights(m, "w").dims = vec![1 << 40, 1 << 40, 3, 3]
    }),
    ("negative extent of weights", |m| {
        weights(m, "w").dims[0] = -4
    }),
    ("weights of extent zero", |m| {
        weights(m, "w").dims[0] = 0;
        weights(m, "w").float_data.clear();
    }),
    ("NaN weight", |m| weights(m, "w").float_data[17] = f32::NAN),
    ("infinite bias", |m| {
        weights(m, "db").float_data[1] = f32::NEG_INFINITY
    }),
    ("integer weights", |m| {
        let count = weights(m, "w").float_data.len();
        weights(m, "w").data_type = data_type::INT32;
        weights(m, "w").int32_data = vec![1; count];
    }),
    ("text weights", |m| {
        weights(m, "w").data_type = data_type::STRING;
        weights(m, "w").string_data = vec![b"a".to_vec(); 108];
    }),
    ("complex weights", |m| weights(m, "w").data_type = 14),
    ("unheard-of type", |m| weights(m, "w").data_type = -3),
    ("sparse initializer", |m| {
        let values = weights(m, "w").clone();
        graph(m).initializer.retain(|t| t.name != "w");
        graph(m).sparse_initializer.push(SparseTensorProto {
            values: Some(values),
            ..SparseTensorProto::default()
        });
    }),
    ("external file missing", |m| {
        external(m, &[("location", "nowhere.bin")])
    }),
    ("external file outside", |m| {
        external(m, &[("location", "../secret.bin")])
    }),
    ("external file absolute", |m| {
        external(m, &[("location", "/etc/passwd")])
    }),
    ("external file by a link", |m| {
        external(m, &[("location", "link.bin")])
    }),
    ("external file too short", |m| {
        external(m, &[("location", "short.bin")])
    }),
    ("external offset beyond the end", |m| {
        external(
            m,
            &[
                ("location", "weights.bin"),
                ("offset", "18446744073709551615"),
            ],
        );
    }),
    ("external offset no number", |m| {
        external(m, &[("location", "weights.bin"), ("offset", "-1")]);
    }),
    ("external length contradicts", |m| {
        external(m, &[("location", "weights.bin"), ("length", "431")]);
    }),
    ("external without location", |m| external(m, &[])),
    ("external location is a folder", |m| {
        external(m, &[("location", ".")])
    }),
    // Convolution.
    ("stride 0", |m| set(m, "c", ints("strides", &[1, 0]))),
    ("dilation 0", |m| set(m, "c", ints("dilations", &[0, 1]))),
    ("negative pads", |m| {
        set(m, "c", ints("pads", &[0, 0, -1, 0]))
    }),
    ("huge pads", |m| {
        set(m, "c", ints("pads", &[i64::MAX, 0, i64::MAX, 0]))
    }),
    ("three pads", |m| set(m, "c", ints("pads", &[0, 0, 0]))),
    ("kernel_shape contradicts", |m| {
        set(m, "c", ints("kernel_shape", &[5, 5]))
    }),
    ("group 0", |m| set(m, "c", int("group", 0))),
    ("group does not divide", |m| set(m, "c", int("group", 2))),
    ("unknown auto_pad", |m| {
        set(m, "c", text("auto_pad", "SAME"))
    }),
    ("attribute of the wrong type", |m| {
        set(m, "c", text("strides", "2"))
    }),
    ("unknown attribute", |m| {
        set(m, "c", text("activation", "Relu"))
    }),
    ("bias of another size", |m| {
        *weights(m, "b") = floats("b", &[5])
    }),
    ("weights of another layer", |m| {
        *weights(m, "w") = floats("w", &[4, 2, 3, 3])
    }),
    ("one-dimensional convolution", |m| {
        *weights(m, "w") = floats("w", &[4, 3, 3])
    }),
    ("window larger than the picture", |m| {
        *weights(m, "w") = floats("w", &[4, 3, 13, 13]);
        set(m, "c", ints("kernel_shape", &[13, 13]));
    }),
    ("weights computed at run time", |m| {
        at(m, "c").input[1] = "x".into()
    }),
    ("no weights given", |m| at(m, "c").input.truncate(1)),
    ("convolution over a constant", |m| {
        at(m, "c").input[0] = "w".into()
    }),
    ("no output name", |m| at(m, "r").output.clear()),
    // Pooling.
    ("pool without kernel", |m| at(m, "m").attribute.clear()),
    ("pool over padding alone", |m| {
        set(m, "m", ints("pads", &[4, 0, 0, 0]))
    }),
    ("indices of a max pool", |m| {
        at(m, "m").output.push("indices".into());
        graph(m).output.push(value("indices", &[-1, 4, 4, 4]));
    }),
    ("mean over images", |m| {
        graph(m).input[0] = value("x", &[2, 3, 8, 8]);
        insert(m, "ReduceMean", &[], vec![ints("axes", &[0])])
    }),
    // Normalisation.
    ("normalisation of another size", |m| {
        insert(m, "BatchNormalization", &["s", "s", "s", "s"], vec![]);
        graph(m).initializer.push(floats("s", &[3]));
    }),
    ("negative variance", |m| {
        insert(m, "BatchNormalization", &["s", "s", "s", "s"], vec![]);
        graph(m).initializer.push(floats("s", &[4]));
    }),
    ("training mode", |m| {
        insert(
            m,
            "BatchNormalization",
            &["b", "b", "b", "b"],
            vec![int("training_mode", 1)],
        );
    }),
    // Fully connected.
    ("Gemm with B computed", |m| {
        at(m, "d").input[1] = "flat".into()
    }),
    ("Gemm transA", |m| set(m, "d", int("transA", 1))),
    ("Gemm of another size", |m| {
        *weights(m, "dw") = floats("dw", &[2, 5])
    }),
    ("Gemm bias of another size", |m| {
        *weights(m, "db") = floats("db", &[3])
    }),
    ("Gemm on a map", |m| at(m, "d").input[0] = "pool".into()),
    // Elementwise.
    ("clip bounds that are no numbers", |m| {
        insert(m, "Clip", &["lo", "hi"], vec![]);
        for (name, bound) in [("lo", f32::NAN), ("hi", 1.0)] {
            let mut tensor = floats(name, &[]);
            tensor.float_data = vec![bound];
            graph(m).initializer.push(tensor);
        }
    }),
    ("sum of different extents", |m| {
        insert(m, "Add", &["x"], vec![])
    }),
    ("infinite slope", |m| {
        let mut alpha = int("alpha", 0);
        alpha.r#type = attribute_type::FLOAT;
        alpha.f = Some(f32::INFINITY);
        insert(m, "LeakyRelu", &[], vec![alpha]);
    }),
    ("constant of another size", |m| {
        insert(m, "Add", &["each"], vec![]);
        graph(m).initializer.push(floats("each", &[8, 7]));
    }),
    ("constant for each image", |m| {
        graph(m).input[0] = value("x", &[2, 3, 8, 8]);
        insert(m, "Add", &["each"], vec![]);
        graph(m).initializer.push(floats("each", &[2, 4, 8, 8]));
    }),
    ("division by zero", |m| {
        insert(m, "Div", &["zero"], vec![]);
        let mut tensor = floats("zero", &[1]);
        tensor.float_data = vec![0.0];
        graph(m).initializer.push(tensor);
    }),
    ("softmax over the batch", |m| {
        graph(m).input[0] = value("x", &[2, 3, 8, 8]);
        insert(m, "Softmax", &[], vec![int("axis", 0)])
    }),
    // Layout.
    ("batch moved", |m| {
        graph(m).input[0] = value("x", &[2, 3, 8, 8]);
        insert(m, "Transpose", &[], vec![ints("perm", &[1, 0, 2, 3])]);
    }),
    ("perm names an axis twice", |m| {
        insert(m, "Transpose", &[], vec![ints("perm", &[0, 1, 1, 3])]);
    }),
    ("batch cut apart", |m| {
        graph(m).input[0] = value("x", &[6, 3, 8, 8]);
        insert(m, "Reshape", &["shape"], vec![]);
        graph(m).initializer.push(integers("shape", &[4, 6, 8, 8]));
    }),
    ("reshape to another size", |m| {
        insert(m, "Reshape", &["shape"], vec![]);
        graph(m).initializer.push(integers("shape", &[1, 5, 8, 8]));
    }),
    ("reshape overflows", |m| {
        insert(m, "Reshape", &["shape"], vec![]);
        graph(m)
            .initializer
            .push(integers("shape", &[i64::MAX, i64::MAX, -1]));
    }),
    ("pad in another way", |m| {
        insert(m, "Pad", &["pads"], vec![text("mode", "mirror")]);
        graph(m)
            .initializer
            .push(integers("pads", &[0, 0, 1, 1, 0, 0, 1, 1]));
    }),
    ("pad of the batch", |m| {
        insert(m, "Pad", &["pads"], vec![]);
        graph(m)
            .initializer
            .push(integers("pads", &[1, 0, 0, 0, 0, 0, 0, 0]));
    }),
    ("crop to nothing", |m| {
        insert(m, "Pad", &["pads"], vec![]);
        graph(m)
            .initializer
            .push(integers("pads", &[0, 0, -4, 0, 0, 0, -4, 0]));
    }),
    ("huge pad", |m| {
        insert(m, "Pad", &["pads"], vec![]);
        let pads = [0, 1 << 24, 1 << 24, 1 << 24, 0, 0, 0, 0];
        graph(m).initializer.push(integers("pads", &pads));
    }),
    ("slice to nothing", |m| {
        insert(m, "Slice", &["start", "end"], vec![]);
        graph(m).initializer.push(integers("start", &[0, 5]));
        graph(m).initializer.push(integers("end", &[1, 5]));
    }),
    ("slice by no step", |m| {
        insert(m, "Slice", &["start", "end", "axes", "steps"], vec![]);
        for (name, v) in [("start", -1), ("end", -9), ("axes", 3), ("steps", 0)] {
            graph(m).initializer.push(integers(name, &[v]));
        }
    }),
    ("split that leaves something", |m| {
        insert(m, "Split", &[], vec![int("axis", 1), ints("split", &[3])])
    }),
    ("gather of a map by a table", |m| {
        insert(m, "Gather", &["table"], vec![int("axis", 1)]);
        let mut table = integers("table", &[0, 1, 2, 3]);
        table.dims = vec![2, 2];
        graph(m).initializer.push(table);
    }),
    ("gather beyond the channels", |m| {
        insert(m, "Gather", &["index"], vec![int("axis", 1)]);
        graph(m).initializer.push(integers("index", &[4]));
    }),
    ("expand of a long axis", |m| {
        insert(m, "Expand", &["shape"], vec![]);
        graph(m).initializer.push(integers("shape", &[1, 4, 8, 9]));
    }),
    ("transposed convolution of another size", |m| {
        insert(m, "ConvTranspose", &["dw"], vec![])
    }),
    ("transposed convolution of huge phases", |m| {
        insert(
            m,
            "ConvTranspose",
            &["t"],
            vec![ints("strides", &[4096, 4096])],
        );
        graph(m).initializer.push(floats("t", &[4, 4, 3, 3]));
    }),
    ("transposed convolution that reaches too far", |m| {
        insert(
            m,
            "ConvTranspose",
            &["t"],
            vec![ints("dilations", &[4096, 1])],
        );
        graph(m).initializer.push(floats("t", &[4, 4, 3, 3]));
    }),
    ("transposed convolution padded away", |m| {
        insert(
            m,
            "ConvTranspose",
            &["t"],
            vec![ints("pads", &[9, 0, 9, 0])],
        );
        graph(m).initializer.push(floats("t", &[4, 2, 3, 3]));
    }),
    ("blocks that do not fit", |m| {
        insert(m, "DepthToSpace", &[], vec![int("blocksize", 3)])
    }),
    ("squeeze of a long axis", |m| {
        insert(m, "Squeeze", &[], vec![ints("axes", &[1])])
    }),
    // Operators that are not supported.
    ("unknown operator", |m| insert(m, "Frobnicate", &[], vec![])),
    ("unknown domain", |m| {
        insert(m, "FusedConv", &[], vec![]);
        at(m, "new").domain = "com.microsoft".into();
    }),
    ("local function", |m| {
        insert(m, "Block", &[], vec![]);
        at(m, "new").domain = "local".into();
        m.functions.push(FunctionProto {
            name: "Block".into(),
            domain: "local".into(),
            ..FunctionProto::default()
        });
    }),
    ("concat of different extents", |m| {
        insert(m, "Concat", &["x"], vec![int("axis", 2)])
    }),
    ("concat without axis", |m| {
        insert(m, "Concat", &["conv"], vec![])
    }),
    ("concat with a constant", |m| {
        insert(m, "Concat", &["each"], vec![int("axis", 1)]);
        graph(m).initializer.push(floats("each", &[1, 4, 8, 8]));
    }),
    ("cubic resize", |m| {
        insert(m, "Resize", &["", "scales"], vec![text("mode", "cubic")]);
        graph(m).initializer.push(floats("scales", &[4]));
    }),
    ("resize by nothing", |m| {
        insert(m, "Resize", &["", ""], vec![])
    }),
    ("resize of channels too", |m| {
        insert(m, "Resize", &["", "", "sizes"], vec![]);
        graph(m)
            .initializer
            .push(integers("sizes", &[1, 8, 16, 16]));
    }),
    ("error function", |m| insert(m, "Erf", &[], vec![])),
    ("if", |m| {
        let branch = AttributeProto {
            name: "then_branch".into(),
            r#type: attribute_type::GRAPH,
            g: Some(GraphProto::default()),
            ..AttributeProto::default()
        };
        insert(m, "If", &[], vec![branch]);
    }),
    ("loop", |m| insert(m, "Loop", &["", ""], vec![])),
    ("cast to integers", |m| {
        insert(m, "Cast", &[], vec![int("to", 7)])
    }),
    ("quantised", |m| {
        insert(m, "QuantizeLinear", &["b"], vec![]);
        at(m, "g").op_type = "DequantizeLinear".into();
    }),
    ("huge computed constant", |m| {
        insert(m, "Add", &["big"], vec![]);
        graph(m)
            .node
            .insert(0, node("ConstantOfShape", "k", &["size"], "big"));
        graph(m)
            .initializer
            .push(integers("size", &[1 << 13, 1 << 13]));
    }),
    ("root of integers", |m| {
        insert(m, "Reshape", &["shape"], vec![]);
        graph(m)
            .node
            .insert(0, node("Sqrt", "k", &["list"], "shape"));
        graph(m).initializer.push(integers("list", &[1, 4, 64, 64]));
    }),
    ("nested by a newer nestc", |m| {
        document(m, r#"{ "format_version": 9 }"#)
    }),
    ("nested part damaged", |m| {
        document(
            m,
            r#"{ "format_version": 1, "nestc_version": "0.1.0", "levels": [{ "sparsity": 0.5 }],
                "pruned_nodes": ["c"], "level_params": {} }"#,
        );
    }),
    ("preprocessing of another input", |m| {
        document(
            m,
            r#"{ "format_version": 1, "nestc_version": "0.1.0", "levels": [{ "sparsity": 0.0 }],
                "pruned_nodes": [], "level_params": {}, "preprocessing":
                { "scale": 1.0, "mean": [1.0, 2.0], "std": [1.0], "order": "rgb" } }"#,
        );
    }),
    ("preprocessing divides by zero", |m| {
        document(
            m,
            r#"{ "format_version": 1, "nestc_version": "0.1.0", "levels": [{ "sparsity": 0.0 }],
                "pruned_nodes": [], "level_params": {}, "preprocessing":
                { "scale": 1.0, "mean": [0.0], "std": [1.0, 0.0, 1.0], "order": "rgb" } }"#,
        );
    }),
    ("gather beyond the end", |m| {
        insert(m, "Reshape", &["shape"], vec![]);
        graph(m)
            .node
            .insert(0, node("Gather", "k", &["list", "index"], "shape"));
        graph(m).initializer.push(integers("list", &[1, 2]));
        graph(m).initializer.push(integers("index", &[7]));
    }),
    // Several faults at once.
    ("many faults", |m| {
        m.opset_import[0].version = 7;
        insert(m, "Erf", &[], vec![]);
        set(m, "c", ints("strides", &[0, 0]));
        weights(m, "dw").float_data[0] = f32::NAN;
        weights(m, "db").dims = vec![3, 3];
        graph(m).output.push(value("lost", &[1]));
        let more = node("GRU", "gru", &["relu"], "state");
        graph(m).node.push(more);
        graph(m).output.push(value("state", &[1]));
    }),
];

/// The folder of a file with external data: `weights.bin` is right for "w", `short.bin` too short,
/// `link.bin` leads outside.
fn folder() -> tempfile::TempDir {
    let outer = tempfile::tempdir().expect("a folder");
    let inner = outer.path().join("models");
    std::fs::create_dir(&inner).expect("a folder");
    std::fs::write(outer.path().join("secret.bin"), [0; 432]).expect("written");
    std::fs::write(inner.join("weights.bin"), [0; 432]).expect("written");
    std::fs::write(inner.join("short.bin"), [0; 100]).expect("written");
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.bin", inner.join("link.bin")).expect("a link");
    outer
}

#[test]
fn the_unchanged_model_is_valid() {
    let folder = folder();
    let mut model = valid();
    for external_data in [false, true] {
        if external_data {
            external(&mut model, &[("location", "weights.bin"), ("offset", "0")]);
        }
        let imported = import::from_bytes(
            &model.encode_to_vec(),
            &folder.path().join("models"),
            "model.onnx",
        );
        let imported = imported.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(imported.model.graph.nodes.len(), 5);
        assert_eq!(imported.warnings, []);
    }
}

fn refused(name: &str, result: Result<import::Imported, Diagnostics>) -> Diagnostics {
    result
        .err()
        .unwrap_or_else(|| panic!("'{name}' was accepted"))
}

#[test]
fn every_bad_file_is_explained() {
    let folder = folder();
    let models = folder.path().join("models");
    let mut golden = String::new();
    let mut record = |name: &str, findings: Diagnostics| {
        assert!(!findings.0.is_empty(), "'{name}' without findings");
        for finding in &findings.0 {
            assert!(!finding.place.is_empty(), "{name}: {finding}");
            assert!(!finding.message.is_empty(), "{name}: {finding}");
            assert!(finding.hint.len() > 10, "{name}: {finding}");
            assert_eq!(
                finding.code.info().code,
                finding.code.0,
                "{name}: unlisted code"
            );
        }
        let shown = findings.to_string();
        let shown = shown.replace(&folder.path().display().to_string(), "FOLDER");
        let _ = writeln!(golden, "== {name}\n{shown}\n");
        findings
    };
    for (name, change) in CASES {
        let mut model = valid();
        change(&mut model);
        let result = import::from_bytes(&model.encode_to_vec(), &models, "model.onnx");
        let findings = record(name, refused(name, result));
        assert_eq!(findings.exit_code(), ExitClass::Input.code(), "{name}");
    }
    let whole = valid().encode_to_vec();
    let files: &[(&str, &[u8])] = &[
        ("empty file", b""),
        ("truncated file", &whole[..whole.len() / 2]),
        ("garbage", &[0xff; 64]),
        ("text", b"import torch\nprint('not a model')\n"),
        ("PyTorch archive", b"PK\x03\x04 and so on"),
        ("Keras file", b"\x89HDF\r\n\x1a\n"),
        ("TensorFlow Lite file", b"\x1c\0\0\0TFL3"),
        (
            "Git LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\n",
        ),
    ];
    for (name, bytes) in files {
        let path = models.join("file.onnx");
        std::fs::write(&path, bytes).expect("written");
        record(name, refused(name, import::load(&path)));
    }
    let result = import::load(&models);
    record("a directory", refused("a directory", result));
    let result = import::load(&models.join("missing.onnx"));
    record("a missing file", refused("a missing file", result));
    let result = import::load(&models.join("file.onnx/model.onnx"));
    let name = "a path through a file";
    record(name, refused(name, result));

    // What is said about files that are accepted, and about errors of nestc's own.
    let mut model = valid();
    graph(&mut model).input[0] = value("x", &[1, 3, 4096, 1024]);
    input_type(&mut model).elem_type = data_type::DOUBLE;
    let path = models.join("large.onnx");
    std::fs::write(&path, model.encode_to_vec()).expect("written");
    let large = import::load_checked(&path).unwrap_or_else(|e| panic!("{e}"));
    record("accepted with warnings", Diagnostics(large.warnings));
    let path = models.join("small.onnx");
    std::fs::write(&path, valid().encode_to_vec()).expect("written");
    let mut small = import::load_checked(&path).unwrap_or_else(|e| panic!("{e}"));
    small.model.graph.outputs.push(small.model.graph.input());
    let verdict = import::oracle::cross_check(&path, &small, 1);
    record("imported wrongly", verdict.expect_err("an output too many"));
    let breaches = verify(&small.model.graph);
    record(
        "imported unsoundly",
        import::unsound(&breaches, "model.onnx"),
    );

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/import_errors.txt");
    if std::env::var_os("BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&path, &golden).expect("written");
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (new, old)) in golden.lines().zip(recorded.lines()).enumerate() {
        assert_eq!(new, old, "line {}; BLESS=1 records anew", line + 1);
    }
    assert_eq!(golden.len(), recorded.len(), "BLESS=1 records anew");
}

#[test]
fn several_faults_come_together() {
    let mut model = valid();
    let change = CASES.iter().find(|(name, _)| *name == "many faults");
    change.expect("listed").1(&mut model);
    let findings = import::from_bytes(&model.encode_to_vec(), Path::new("."), "model.onnx")
        .expect_err("seven faults");
    let mut codes: Vec<&str> = findings.0.iter().map(|f| f.code.0).collect();
    codes.sort_unstable();
    // Operator set, missing output, mis-sized constant, two operators, stride, NaN; nothing about
    // the nodes behind them.
    assert_eq!(
        codes,
        ["E101", "E103", "E106", "E200", "E200", "E203", "E208"],
        "{findings}"
    );
}

/// Shape arithmetic behind an unsupported node is no fault of its own.
#[test]
fn unknown_extents_raise_no_findings() {
    let mut model = valid();
    at(&mut model, "m").op_type = "Custom".into();
    let graph = graph(&mut model);
    graph.node[4] = node("Reshape", "f", &["mean", "target"], "flat");
    let shape = node("Shape", "s", &["mean"], "shape");
    let gather = node("Gather", "k", &["shape", "zero"], "first");
    let mut concat = node("Concat", "j", &["first", "rest"], "target");
    concat.attribute.push(int("axis", 0));
    graph.node.extend([shape, gather, concat]);
    graph.initializer.push(integers("zero", &[0]));
    graph.initializer.push(integers("rest", &[-1]));
    let findings = import::from_bytes(&model.encode_to_vec(), Path::new("."), "model.onnx")
        .expect_err("one unsupported node");
    assert_eq!(findings.0.len(), 1, "{findings}");
    assert!(findings.0[0].place.contains("Custom"), "{findings}");
}

#[test]
fn every_unsupported_node_is_listed() {
    let mut model = valid();
    for name in ["c", "r", "m", "g"] {
        at(&mut model, name).op_type = format!("Custom_{name}");
        at(&mut model, name).attribute.clear();
    }
    let findings = import::from_bytes(&model.encode_to_vec(), Path::new("."), "model.onnx")
        .expect_err("four unsupported nodes");
    let places: Vec<&str> = findings.0.iter().map(|f| f.place.as_str()).collect();
    assert_eq!(
        places,
        ["c", "r", "m", "g"].map(|n| format!("node '{n}' (Custom_{n})")),
        "{findings}"
    );
}
