//! The project's own network, all the way: ONNX, int8, image, emulator.

use std::path::Path;

use std::collections::BTreeMap;

use nestc::bench::{self, BenchOptions, Compiled, EmulatorRunner};
use nestc::data::DataSpec;
use nestc::emit::Budgets;
use nestc::ir::float::FloatOp;
use nestc::ir::nested::{LevelInfo, NestedModel, PRUNED};
use nestc::passes::{self, CompileOptions};
use nestc::{image, import};

use crate::support::{board, build_options};

/// Nested levels by one ranking of magnitudes over all convolutions but the first, untrained: what
/// counts here is where the zeros lie.
fn pruned(model: NestedModel, sparsities: &[f64]) -> NestedModel {
    let convs: Vec<_> = (model.graph.nodes.iter_enumerated())
        .filter_map(|(id, node)| match &node.op {
            FloatOp::Conv(conv) => Some((id, conv.weight.clone())),
            _ => None,
        })
        .skip(1)
        .collect();
    let mut magnitudes: Vec<f32> = (convs.iter())
        .flat_map(|(_, weight)| weight.iter().map(|w| w.abs()))
        .collect();
    magnitudes.sort_by(f32::total_cmp);
    let thresholds: Vec<f32> = (sparsities.iter())
        .map(|s| magnitudes[(s * magnitudes.len() as f64) as usize])
        .collect();
    let level_of = |w: f32| {
        let level = thresholds.iter().position(|t| w.abs() >= *t);
        level.map_or(PRUNED, |level| level as u8)
    };
    let weight_levels: BTreeMap<_, Vec<u8>> = (convs.iter())
        .map(|(id, weight)| (*id, weight.iter().map(|&w| level_of(w)).collect()))
        .collect();
    let mut graph = model.graph.clone();
    for (&id, levels) in &weight_levels {
        if let FloatOp::Conv(conv) = &mut graph.nodes[id].op {
            for (w, &level) in conv.weight.iter_mut().zip(levels) {
                if level == PRUNED {
                    *w = 0.0;
                }
            }
        }
    }
    NestedModel {
        graph,
        levels: (sparsities.iter())
            .map(|&sparsity| LevelInfo {
                sparsity,
                accuracy_top1: None,
            })
            .collect(),
        weight_levels,
        ..model
    }
}

#[test]
fn resnet8_runs_bit_exact_and_within_its_cycles() {
    let cases: [(&str, &[f64], &[f64]); 2] = [
        ("resnet8_dense", &[], &[14.0e6]),
        ("resnet8_nested", &[0.9, 0.8, 0.5], &[5.5e6]),
    ];
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let imported = import::load(&models.join("resnet8_cifar10.onnx")).unwrap();
    let sample = models.join("cifar10-sample");
    let spec = DataSpec::parse(&format!(
        "cifar10:{},mean=125.3/123.0/113.9,std=63.0/62.1/66.7,limit=64",
        sample.display()
    ))
    .unwrap();
    let dataset = spec.load(None).unwrap();
    let options = CompileOptions {
        calibration: Some(&dataset),
        preprocessing: Some(dataset.preprocessing.clone()),
        ..CompileOptions::default()
    };
    for (name, sparsities, most_cycles) in cases {
        let model = if sparsities.is_empty() {
            imported.model.clone()
        } else {
            pruned(imported.model.clone(), sparsities)
        };
        let mut program = passes::compile(model, &options, &mut ()).unwrap();
        program.name = name.into();
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let report = image::compile(
            &program,
            &board(),
            Budgets::default(),
            &out,
            &build_options(),
        )
        .unwrap_or_else(|e| panic!("{e}"));
        println!("{}", report.table());
        let compiled = Compiled::open(&out).unwrap_or_else(|e| panic!("{e}"));
        let mut runner = EmulatorRunner::new(&compiled).unwrap();
        let options = BenchOptions {
            verify: 2,
            data: Some(spec.clone()),
            ..BenchOptions::default()
        };
        let report = bench::bench(&compiled, &mut runner, &options, &mut |_, _| {})
            .unwrap_or_else(|e| panic!("{e}"));
        println!("{}", report.table());
        bench::verdict(&report).unwrap_or_else(|e| panic!("{e}"));

        for (level, &most) in report.levels.iter().zip(most_cycles) {
            assert!((level.cycles.0 as f64) < most, "{name}: {}", level.cycles);
            assert!(
                level.instructions.0 > level.cycles.0 / 2,
                "{}",
                level.instructions
            );
        }
    }
}
