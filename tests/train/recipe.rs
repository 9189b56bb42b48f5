//! Every part of the recipe in a whole run.

use nestc::data::Dataset;
use nestc::ir::float::{FloatGraph, FloatOp};
use nestc::ir::ids::{Id, Level};
use nestc::ir::int::IntOp;
use nestc::ir::nested::{LevelParams, NestedModel, PRUNED};
use nestc::ir::verify::verify_nested;
use nestc::passes::{Artefact, CompileOptions, compile_until};
use nestc::train::{
    Allocation, Distillation, EpochSummary, Inference, LevelWeights, Loss, Method, Outlook,
    Progress, Pruning, RateShape, Recipe, Routing, Schedule, Source, TrainOptions, Trained,
    evaluate, train,
};

use crate::support::{CLASSES, network, options, pictures};

fn run(graph: &FloatGraph, data: &Dataset, options: &TrainOptions) -> Trained {
    let test = pictures(200, 2);
    let trained = train(graph, data, Some(&test), options, &mut ()).unwrap();
    let breaches = verify_nested(&trained.model);
    assert!(breaches.is_empty(), "{breaches:?}");
    trained
}

/// Multiply-accumulates of a level, counted on its graph.
fn macs(model: &NestedModel, level: usize) -> u64 {
    let graph = model.level(Level::from_index(level));
    let owners = |id| model.weight_levels.get(&id);
    (graph.nodes.iter_enumerated())
        .map(|(id, node)| {
            let pixels = graph.shape(node.output).pixels();
            let weights = match (&node.op, owners(id)) {
                (FloatOp::Conv(_), Some(o)) => {
                    o.iter().filter(|o| usize::from(**o) <= level).count()
                }
                (FloatOp::Conv(conv), None) => conv.weight.len(),
                (FloatOp::Dense(dense), _) => dense.weight.len(),
                _ => 0,
            };
            (weights * pixels) as u64
        })
        .sum()
}

#[test]
fn a_budget_of_multiply_accumulates_is_met() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        allocation: Allocation::Macs,
        levels: vec![0.7, 0.4, 0.0],
        ..options(folder.path())
    };
    let trained = run(&network(), &pictures(240, 1), &options);
    let dense = macs(&trained.model, 2);
    for (level, share) in [0.7, 0.4, 0.0].into_iter().enumerate() {
        let (got, budget) = (macs(&trained.model, level), (1.0 - share) * dense as f64);
        assert_eq!(trained.report.levels[level].macs, got);
        assert!(got as f64 <= budget, "{got} of {budget}");
        // The next weight would be too much; the dearest is multiplied at 144 pixels.
        assert!((got + 144) as f64 > budget, "{got} of {budget}");
    }

    let wanting = TrainOptions {
        levels: vec![0.95, 0.3],
        ..options
    };
    let error = train(&network(), &pictures(240, 1), None, &wanting, &mut ()).unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert_eq!(error.0[0].code.to_string(), "E401");
    assert!(error.to_string().contains("cannot be cut"), "{error}");
}

#[test]
fn a_uniform_allocation_and_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        allocation: Allocation::Uniform,
        block: 4,
        pruning: Pruning::OneShot,
        levels: vec![0.75, 0.5],
        epochs: 1,
        ..options(folder.path())
    };
    let model = run(&network(), &pictures(240, 1), &options).model;
    for (&id, owners) in &model.weight_levels {
        let FloatOp::Conv(conv) = &model.graph.nodes[id].op else {
            panic!("a convolution");
        };
        for (level, share) in [(0, 0.75), (1, 0.5)] {
            let out = owners.iter().filter(|o| **o > level).count();
            assert_eq!(out as f64, share * owners.len() as f64);
        }
        let taps = conv.window.taps();
        for row in owners.chunks(4 * taps) {
            for tap in 0..taps {
                assert!((0..4).all(|c| row[c * taps + tap] == row[tap]), "{row:?}");
            }
        }
    }
}

/// A level of a slimmable network has whole channels, which the compiler drops.
#[test]
fn width_leaves_whole_channels_out_and_the_compiler_drops_them() {
    let folder = tempfile::tempdir().unwrap();
    let data = pictures(600, 1);
    let options = TrainOptions {
        method: Method::Width,
        levels: vec![0.6],
        epochs: 4,
        pruning: Pruning::Gradual { end: 0.5, every: 1 },
        ..options(folder.path())
    };
    let trained = run(&network(), &data, &options);
    let model = trained.model;
    let nested = TrainOptions {
        levels: vec![0.0],
        method: Method::Nested,
        epochs: 1,
        ..options.clone()
    };
    let dense = run(&network(), &data, &nested).report.levels[0].macs;
    let share = trained.report.levels[0].macs as f64 / dense as f64;
    assert!((0.25..=0.4).contains(&share), "{share}");
    assert!(trained.report.levels[0].accuracy_top1.unwrap() > 0.6);

    // Rows are whole or gone, and so are scale and shift behind them.
    let mut dead = 0;
    for (&id, owners) in &model.weight_levels {
        let FloatOp::Conv(conv) = &model.graph.nodes[id].op else {
            panic!("a convolution");
        };
        let output = model.graph.nodes[id].output;
        let reader = (model.graph.nodes.iter()).find(|n| n.inputs.contains(&output));
        let Some(FloatOp::BatchNorm(bn)) = reader.map(|n| &n.op) else {
            panic!("a normalisation");
        };
        for (channel, row) in owners.chunks(conv.row_len()).enumerate() {
            if row.iter().all(|o| *o == PRUNED) {
                dead += 1;
                assert_eq!((bn.gamma[channel], bn.beta[channel]), (0.0, 0.0));
            } else {
                assert_ne!(bn.gamma[channel], 0.0);
            }
        }
    }
    assert!(dead > 8, "{dead}");

    let channels = |last: &str| -> usize {
        let compile = CompileOptions {
            calibration: Some(&data),
            ..CompileOptions::default()
        };
        match compile_until(model.clone(), &compile, last, &mut ()) {
            Ok(Artefact::Int(graph)) => (graph.layers.iter())
                .filter_map(|n| match &n.op {
                    IntOp::Conv(conv) => Some(conv.out_channels),
                    _ => None,
                })
                .sum(),
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let (before, after) = (channels("quantise"), channels("eliminate"));
    assert!(
        after + dead <= before,
        "{before} channels, {after} left, {dead} dead"
    );
}

#[test]
fn widths_are_nested() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        method: Method::Width,
        levels: vec![0.7, 0.4, 0.0],
        pruning: Pruning::OneShot,
        epochs: 2,
        ..options(folder.path())
    };
    let trained = run(&network(), &pictures(240, 1), &options);
    let macs: Vec<u64> = trained.report.levels.iter().map(|l| l.macs).collect();
    for (macs_of_level, share) in macs.iter().zip([0.7, 0.4, 0.0]) {
        assert!(*macs_of_level as f64 <= (1.0 - share) * macs[2] as f64);
    }
    // The parameters of a level's dead channels are zero at that level and not at the densest.
    let differ = trained.model.level_params.values().any(|levels| {
        matches!(
            (&levels[0], &levels[2]),
            (LevelParams::BatchNorm(a), LevelParams::BatchNorm(b))
                if a.gamma.contains(&0.0) && !b.gamma.contains(&0.0)
        )
    });
    assert!(differ);
}

/// Everything at once that keeps a state or draws by chance.
fn elaborate(folder: &std::path::Path) -> TrainOptions {
    TrainOptions {
        levels: vec![0.9, 0.7, 0.5, 0.0],
        loss: Loss::Auto,
        schedule: Schedule::Late(1),
        average: Some(0.99),
        recalibrate: true,
        recalibration_batches: 3,
        validation_split: 40,
        own_epochs: 1,
        qat_epochs: 2,
        label_smoothing: 0.1,
        rate: RateShape::Hold(0.5),
        routing: Routing::Soft(0.3),
        level_weights: Some(LevelWeights {
            start: vec![1.0, 1.0, 2.0, 3.0],
            end: vec![4.0, 2.0, 1.0, 1.0],
        }),
        distillation: Distillation {
            from: Source::Chain,
            share: Some(0.5),
            temperature: 3.0,
        },
        log: Some(folder.join("run.jsonl")),
        ..options(folder)
    }
}

struct StopAfter(usize);

impl Progress for StopAfter {
    fn begins(&mut self, outlook: &Outlook) {
        assert_eq!((outlook.images, outlook.held_out), (200, 40));
        assert!((100_000..100_000_000).contains(&outlook.memory_bytes));
    }
    fn epoch_finished(&mut self, _: &EpochSummary) {
        self.0 -= 1;
    }
    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

#[test]
fn a_resumed_run_ends_in_the_same_bits_whatever_its_state() {
    let (data, test) = (pictures(240, 1), pictures(50, 2));
    let narrow = |folder: &std::path::Path| TrainOptions {
        method: Method::Width,
        levels: vec![0.7, 0.4, 0.0],
        level_weights: Some(LevelWeights::default()),
        ..elaborate(folder)
    };
    let all: [&dyn Fn(&std::path::Path) -> TrainOptions; 2] = [&elaborate, &narrow];
    for of in all {
        let folder = tempfile::tempdir().unwrap();
        let whole = of(folder.path());
        let unbroken = train(&network(), &data, Some(&test), &whole, &mut ()).unwrap();
        assert!(
            unbroken
                .report
                .levels
                .iter()
                .all(|l| l.held_out_accuracy_top1.is_some())
        );
        assert_eq!(unbroken.report.history.len(), 4);

        let folder = tempfile::tempdir().unwrap();
        let broken = TrainOptions {
            resume: true,
            threads: Some(1),
            ..of(folder.path())
        };
        let stopped = train(&network(), &data, Some(&test), &broken, &mut StopAfter(1)).unwrap();
        assert_eq!(stopped.report.epochs, 1);
        let resumed = train(&network(), &data, Some(&test), &broken, &mut ()).unwrap();
        assert_eq!(resumed.report.resumed_at, Some(1));
        assert_eq!(resumed.model, unbroken.model);
        assert_eq!(resumed.report.levels, unbroken.report.levels);

        // Both logs tell the same but for times.
        let lines = |o: &TrainOptions| -> Vec<serde_json::Value> {
            let text = std::fs::read_to_string(o.log.as_ref().unwrap()).unwrap();
            (text.lines())
                .map(|line| {
                    let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
                    if let Some(fields) = line.as_object_mut() {
                        let times = [fields.remove("seconds"), fields.remove("images_per_second")];
                        assert_eq!(
                            fields.contains_key("epoch"),
                            times.iter().all(Option::is_some)
                        );
                    }
                    line
                })
                .collect()
        };
        let (a, b) = (lines(&whole), lines(&broken));
        assert_eq!((a.len(), &a), (5, &b));
    }
}

/// The validation images decide nothing and are read once where training images are held out.
#[test]
fn images_held_out_judge_the_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        validation_split: 60,
        levels: vec![0.5],
        epochs: 6,
        ..options(folder.path())
    };
    let data = pictures(600, 1);
    let mut wrong = pictures(200, 2);
    for label in wrong.labels.iter_mut().flatten() {
        *label = (*label + 1) % CLASSES as u32;
    }
    let report = train(&network(), &data, Some(&wrong), &options, &mut ())
        .unwrap()
        .report;
    let last = report.history.last().unwrap().levels[0].accuracy_top1;
    assert!(last.unwrap() > 0.8, "{last:?}");
    assert!((report.levels[0].held_out_accuracy_top1.unwrap() - last.unwrap()).abs() < 1e-6);
    assert!(report.levels[0].accuracy_top1.unwrap() < 0.2);
}

/// A trained network of which weights are cut: measuring the statistics anew brings much back.
#[test]
fn dynamic_pruning_is_recalibration_without_training() {
    let folder = tempfile::tempdir().unwrap();
    let data = pictures(600, 1);
    let trained = TrainOptions {
        levels: vec![0.0],
        epochs: 6,
        ..options(folder.path())
    };
    let dense = run(&network(), &data, &trained).model.graph;
    let dynamic = |recalibrate: bool| {
        let options = TrainOptions {
            levels: vec![0.85, 0.0],
            epochs: 0,
            recalibrate,
            ..options(folder.path())
        };
        train(&dense, &data, Some(&pictures(200, 2)), &options, &mut ())
    };
    let refused = dynamic(false).unwrap_err();
    assert!(refused.to_string().contains("--recalibrate"), "{refused}");
    let trained = dynamic(true).unwrap();
    assert_eq!(
        (trained.report.epochs, trained.report.history.len()),
        (0, 0)
    );
    let with = trained.report.levels[0].accuracy_top1.unwrap();
    // The same masks with the given statistics at every level.
    let mut stale = trained.model.clone();
    stale.level_params.clear();
    for (id, node) in dense.nodes.iter_enumerated() {
        if let FloatOp::BatchNorm(bn) = &node.op {
            stale.graph.nodes[id].op = FloatOp::BatchNorm(bn.clone());
        }
    }
    let without = evaluate(&stale, &pictures(200, 2), None).unwrap()[0]
        .accuracy_top1
        .unwrap();
    assert!(with > without + 0.1, "{with} with, {without} without");
    assert!((trained.report.levels[1].accuracy_top1.unwrap()) > 0.9);
}

/// A network of two outputs, one of them a map, learns to do as it did before it was pruned.
#[test]
fn networks_that_do_not_classify_learn_their_raw_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let pretrain = TrainOptions {
        levels: vec![0.0],
        epochs: 6,
        ..options(folder.path())
    };
    let mut graph = run(&network(), &pictures(600, 1), &pretrain).model.graph;
    let inner = (graph.nodes.iter()).rfind(|n| matches!(n.op, FloatOp::Relu));
    let map = inner.unwrap().output;
    graph.outputs.push(map);
    let mut data = pictures(600, 1);
    data.labels = None;
    data.class_count = 0;
    let after = |epochs: usize, from: Source| {
        let options = TrainOptions {
            levels: vec![0.9, 0.7],
            loss: Loss::Auto,
            learning_rate: Some(0.01),
            epochs,
            recalibrate: epochs == 0,
            distillation: Distillation {
                from,
                ..Distillation::default()
            },
            ..options(folder.path())
        };
        let trained = run(&graph, &data, &options);
        assert!(
            trained
                .report
                .levels
                .iter()
                .all(|l| l.accuracy_top1.is_none())
        );
        let losses = trained.report.levels.iter().map(|l| l.loss.unwrap());
        (losses.collect::<Vec<f64>>(), trained.model)
    };
    let (untrained, _) = after(0, Source::Given);
    for from in [Source::Given, Source::InPlace, Source::Chain] {
        let (trained, model) = after(10, from);
        for (t, u) in trained.iter().zip(&untrained) {
            assert!(
                *t < 0.8 * u,
                "{from:?}: {trained:?} after, {untrained:?} before"
            );
        }
        // The reported loss, by another way: mean over outputs of squared error over variance.
        let test = pictures(200, 2);
        let mut inputs = vec![0.0; test.len() * test.shape.len()];
        for (i, input) in inputs.chunks_exact_mut(test.shape.len()).enumerate() {
            test.input(i, input);
        }
        let of = |graph: &FloatGraph| Inference::new(graph).run(&inputs, test.len());
        let (wanted, got) = (of(&graph), of(&model.level(Level::from_index(0))));
        let per_image = CLASSES + graph.shape(map).len();
        let mut sum = 0.0;
        for part in [0..CLASSES, CLASSES..per_image] {
            let of_part = |all: &[f32]| -> Vec<f64> {
                let images = all.chunks_exact(per_image);
                images
                    .flat_map(|i| &i[part.clone()])
                    .map(|&v| f64::from(v))
                    .collect()
            };
            let (w, g) = (of_part(&wanted), of_part(&got));
            let n = w.len() as f64;
            let mean = w.iter().sum::<f64>() / n;
            let variance = w.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            let error = w.iter().zip(&g).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / n;
            sum += error / variance / 2.0;
        }
        // The variance that training uses is that of other pictures.
        assert!((sum / trained[0] - 1.0).abs() < 0.15, "{sum} {trained:?}");
    }
    let labels = TrainOptions {
        loss: Loss::Labels,
        ..options(folder.path())
    };
    let error = train(&graph, &pictures(100, 1), None, &labels, &mut ()).unwrap_err();
    assert_eq!(error.0[0].code.to_string(), "E400");
}

/// Sandwich, in-place distillation and the plain recipe learn, too.
#[test]
fn other_recipes_learn() {
    let folder = tempfile::tempdir().unwrap();
    let data = pictures(600, 1);
    let base = TrainOptions {
        levels: vec![0.9, 0.7, 0.5, 0.0],
        epochs: 8,
        ..options(folder.path())
    };
    let paper = TrainOptions::recipe(Recipe::Paper);
    let variants = [
        TrainOptions {
            schedule: Schedule::Sandwich(1),
            ..base.clone()
        },
        TrainOptions {
            average: Some(0.98),
            ..base.clone()
        },
        TrainOptions {
            routing: paper.routing,
            pruning: paper.pruning,
            block: paper.block,
            distillation: paper.distillation,
            loss: Loss::Auto,
            ..base.clone()
        },
    ];
    for options in variants {
        let trained = run(&network(), &data, &options);
        let accuracies: Vec<f64> = (trained.report.levels.iter())
            .map(|l| l.accuracy_top1.unwrap())
            .collect();
        assert!(
            accuracies[0] > 0.4 && accuracies[3] > 0.7,
            "{options:?}: {accuracies:?}"
        );
    }
}

/// What every wrong option is answered with.
#[test]
fn wrong_options_are_refused_together() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = TrainOptions {
        weight_decay: -1.0,
        block: 0,
        pruning: Pruning::Gradual { end: 0.0, every: 0 },
        routing: Routing::Soft(2.0),
        schedule: Schedule::Sandwich(0),
        distillation: Distillation {
            from: Source::Given,
            share: Some(1.5),
            temperature: 0.0,
        },
        label_smoothing: 1.0,
        qat_epochs: 5,
        rate: RateShape::Hold(1.0),
        warmup: f64::NAN,
        average: Some(1.0),
        shift: -0.5,
        recalibration_batches: 0,
        level_weights: Some(LevelWeights {
            start: vec![1.0],
            end: vec![0.0, 1.0, 1.0],
        }),
        method: Method::Width,
        allocation: Allocation::Macs,
        validation_split: 100,
        ..options(folder.path())
    };
    let error = train(&network(), &pictures(100, 1), None, &wrong, &mut ()).unwrap_err();
    let places: Vec<&str> = error.0.iter().map(|d| d.place.as_str()).collect();
    #[rustfmt::skip]
    let expected = [
        "--weight-decay", "--block", "--ramp-end", "--rank-every", "--routing soft", "--schedule",
        "--distill-share", "--temperature", "--label-smoothing", "--qat", "--rate hold", "--warmup",
        "--average", "--shift", "--recalibrate", "--level-weights", "--level-weights", "--method width",
        "--validation-split",
    ];
    assert_eq!(places, expected);
}
