//! Training as a whole: what is learnt, that it is the same every time, and that it survives being
//! killed.

mod faults;
#[path = "../cli/golden.rs"]
mod golden;
mod recipe;
mod resume;
mod support;

use nestc::ir::float::FloatOp;
use nestc::ir::ids::{Id, Level};
use nestc::ir::nested::{LevelParams, PRUNED};
use nestc::train::{Inference, Loss, TrainOptions, evaluate, train};

use support::{network, options, pictures};

#[test]
fn levels_are_nested_as_sparse_as_asked_and_learn() {
    let folder = tempfile::tempdir().unwrap();
    let (data, test) = (pictures(600, 1), pictures(200, 2));
    let options = TrainOptions {
        epochs: 8,
        ..options(folder.path())
    };
    let trained = train(&network(), &data, Some(&test), &options, &mut ()).unwrap();
    let (model, report) = (trained.model, trained.report);

    let accuracies: Vec<f64> = report
        .levels
        .iter()
        .map(|l| l.accuracy_top1.unwrap())
        .collect();
    assert!(
        accuracies[0] > 0.6 && accuracies[1] > 0.8 && accuracies[2] > 0.8,
        "{accuracies:?}"
    );

    // Sparsest first, whatever the order asked in; the first convolution, the depthwise one and the
    // classifier stay whole.
    let owners: Vec<&u8> = model.weight_levels.values().flatten().collect();
    let names: Vec<&str> = model
        .weight_levels
        .keys()
        .map(|&id| model.graph.nodes[id].name.as_str())
        .collect();
    assert_eq!(names, ["conv2", "conv5", "conv8"]);
    for (level, asked) in [0.9f64, 0.5, 0.0].into_iter().enumerate() {
        let out = owners.iter().filter(|o| usize::from(***o) > level).count();
        assert_eq!(out, (asked * owners.len() as f64).floor() as usize);
        assert_eq!(
            model.levels[level].sparsity,
            out as f64 / owners.len() as f64
        );
        let graph = model.level(Level::from_index(level));
        for (&id, owners) in &model.weight_levels {
            let FloatOp::Conv(conv) = &graph.nodes[id].op else {
                panic!("a convolution");
            };
            for (w, &o) in conv.weight.iter().zip(owners) {
                assert!(usize::from(o) <= level || *w == 0.0);
                assert_ne!(o, PRUNED, "the last level is dense");
            }
        }
    }

    // Every level has normalisations and a classifier bias of its own.
    let mut norms = 0;
    for (id, params) in &model.level_params {
        assert_eq!(params.len(), 3, "{}", model.graph.nodes[*id].name);
        assert_ne!(params[0], params[1]);
        assert_ne!(params[1], params[2]);
        norms += usize::from(matches!(params[0], LevelParams::BatchNorm(_)));
    }
    assert_eq!((norms, model.level_params.len()), (5, 6));

    // The graph's own parameters are the densest level's, and the measured accuracies hold for the
    // model as it is handed over, by two ways of running it.
    assert_eq!(model.graph, model.level(model.densest()));
    let evaluations = evaluate(&model, &test, Some(1)).unwrap();
    let mut inputs = vec![0.0; test.len() * test.shape.len()];
    for (i, input) in inputs.chunks_exact_mut(test.shape.len()).enumerate() {
        test.input(i, input);
    }
    for (level, evaluation) in evaluations.iter().enumerate() {
        assert_eq!(evaluation.accuracy_top1, report.levels[level].accuracy_top1);
        let graph = model.level(Level::from_index(level));
        let out = Inference::new(&graph).run(&inputs, test.len());
        for (p, &class) in out.chunks_exact(support::CLASSES).zip(&evaluation.classes) {
            let best = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(p[class as usize], best);
        }
        let right = evaluation
            .classes
            .iter()
            .zip(test.labels.as_ref().unwrap())
            .filter(|(a, b)| a == b)
            .count();
        let share = right as f64 / test.len() as f64;
        assert_eq!(evaluation.accuracy_top1, Some(share));
    }

    let record = model.training.unwrap();
    assert_eq!(
        record["options"]["levels"],
        serde_json::json!([0.9, 0.5, 0.0])
    );
    assert_eq!(record["options"]["seed"], 0);
    assert_eq!(record["history"].as_array().unwrap().len(), 8);
}

#[test]
fn threads_do_not_change_a_bit_and_seeds_do() {
    let folder = tempfile::tempdir().unwrap();
    let (data, test) = (pictures(240, 1), pictures(50, 2));
    let run = |threads, seed| {
        let options = TrainOptions {
            threads,
            seed,
            loss: Loss::Auto,
            epochs: 2,
            ..options(folder.path())
        };
        train(&network(), &data, Some(&test), &options, &mut ())
            .unwrap()
            .model
    };
    let first = run(Some(1), 5);
    assert_eq!(first, run(Some(2), 5));
    assert_eq!(first, run(Some(3), 5));
    assert_eq!(first, run(None, 5));
    assert_ne!(first, run(Some(1), 6));
}

/// Without labels the levels learn to do as the given network does.
#[test]
fn distillation_needs_no_labels() {
    let folder = tempfile::tempdir().unwrap();
    let (data, mut test) = (pictures(600, 1), pictures(200, 2));
    let options = TrainOptions {
        epochs: 6,
        levels: vec![0.0],
        ..options(folder.path())
    };
    let teacher = train(&network(), &data, None, &options, &mut ())
        .unwrap()
        .model;
    let taught = evaluate(&teacher, &test, None).unwrap()[0].classes.clone();
    let mut unlabelled = data;
    unlabelled.labels = None;
    unlabelled.class_count = 0;
    for loss in [Loss::Distill, Loss::Auto] {
        let options = TrainOptions {
            levels: vec![0.7],
            loss,
            ..options.clone()
        };
        let student = train(&teacher.graph, &unlabelled, None, &options, &mut ()).unwrap();
        assert_eq!(student.report.levels[0].accuracy_top1, None);
        test.labels = Some(taught.clone());
        let agreement = evaluate(&student.model, &test, None).unwrap()[0].accuracy_top1;
        assert!(agreement.unwrap() > 0.9, "{agreement:?}");
    }
}
