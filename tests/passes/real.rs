//! The committed ResNet-8 on real pictures.

use std::path::Path;
use std::sync::OnceLock;

use nestc::data::{DataSpec, Dataset};
use nestc::ir::eval::Executor;
use nestc::ir::eval_float::eval_outputs;
use nestc::ir::float::FloatOp;
use nestc::ir::ids::{Id, Level};
use nestc::ir::int::IntOp;
use nestc::ir::nested::{LevelInfo, NestedModel, PRUNED};
use nestc::ir::program::{Program, Step};
use nestc::passes::{
    Artefact, CompileOptions, FastMemory, Preferences, RangeRule, compile_until, eliminate, encode,
    encode_stream, evaluate_int8, plan, plan_for, quantise_input,
};
use nestc::units::Bytes;

use crate::chain::{decibel, reals};
use crate::interpret;

const PREPARATION: &str = "mean=125.3/123.0/113.9,std=63.0/62.1/66.7";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn resnet8() -> NestedModel {
    let path = root().join("models/resnet8_cifar10_bn.onnx");
    nestc::import::load(&path)
        .expect("the committed model reads")
        .model
}

fn sample(split: &str, limit: usize) -> Dataset {
    let path = root().join("models/cifar10-sample");
    let spec = format!(
        "cifar10:{},split={split},limit={limit},{PREPARATION}",
        path.display()
    );
    DataSpec::parse(&spec)
        .and_then(|s| s.load(None))
        .expect("the committed sample reads")
}

/// Magnitude masks over all convolutions but the first, by one global ranking.
fn masked(mut model: NestedModel, sparsities: &[f64]) -> NestedModel {
    let convs: Vec<_> = (model.graph.nodes.iter_enumerated())
        .filter(|(_, n)| matches!(n.op, FloatOp::Conv(_)))
        .map(|(id, _)| id)
        .skip(1)
        .collect();
    let weight = |m: &NestedModel, id| match &m.graph.nodes[id].op {
        FloatOp::Conv(c) => c.weight.clone(),
        _ => unreachable!("chosen above"),
    };
    let mut all: Vec<f32> = (convs.iter())
        .flat_map(|&id| weight(&model, id))
        .map(f32::abs)
        .collect();
    all.sort_by(f32::total_cmp);
    let least: Vec<f32> = (sparsities.iter())
        .map(|s| all[(s * all.len() as f64) as usize])
        .collect();
    for id in convs {
        let of: Vec<u8> = (weight(&model, id).iter())
            .map(|w| {
                (least.iter())
                    .position(|l| w.abs() >= *l)
                    .map_or(PRUNED, |l| l as u8)
            })
            .collect();
        if let FloatOp::Conv(c) = &mut model.graph.nodes[id].op {
            for (w, &l) in c.weight.iter_mut().zip(&of) {
                if l == PRUNED {
                    *w = 0.0;
                }
            }
        }
        model.weight_levels.insert(id, of);
    }
    model.levels = (sparsities.iter())
        .map(|&sparsity| LevelInfo {
            sparsity,
            accuracy_top1: None,
        })
        .collect();
    model
}

struct Network {
    model: NestedModel,
    graph: nestc::ir::int::IntGraph,
    program: Program,
}

fn quantised(model: NestedModel, images: usize) -> Network {
    let data = sample("train", images);
    let options = CompileOptions {
        calibration: Some(&data),
        ..CompileOptions::default()
    };
    let artefact = compile_until(model.clone(), &options, "eliminate", &mut ());
    let Artefact::Int(graph) = artefact.expect("quantises") else {
        panic!("an integer graph comes before the encoding")
    };
    let program = plan(encode(graph.clone(), &Preferences::default()).expect("encodes"));
    Network {
        model,
        graph,
        program,
    }
}

fn plain() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| quantised(resnet8(), 48))
}

fn nested() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| quantised(masked(resnet8(), &[0.9, 0.8, 0.5]), 16))
}

#[test]
fn int8_follows_the_float_network_on_real_pictures() {
    let network = plain();
    let data = sample("test", 16);
    let mut executor = Executor::new(&network.program);
    let input = &network.program.tensors[network.program.input];
    let output = &network.program.tensors[network.program.outputs[0]];
    let (mut want, mut got) = (Vec::new(), Vec::new());
    let mut image = vec![0.0; data.shape.len()];
    for i in 0..data.len() {
        data.input(i, &mut image);
        want.extend_from_slice(&eval_outputs(&network.model.graph, &image)[0]);
        let q = quantise_input(&image, input.shape, input.quant[0]);
        executor.run(Level::from_index(0), &q);
        got.extend(reals(executor.output(0), output.shape, output.quant[0]));
    }
    let ratio = decibel(&want, &got);
    println!("{ratio:.1} dB");
    assert!(ratio > 24.0, "{ratio:.1} dB");
}

/// 88.44 % is what the float network reaches on all 10,000 test pictures; int8 gives 88.50 % there.
#[test]
fn int8_accuracy_on_the_sample() {
    let data = sample("test", 300);
    let accuracy = evaluate_int8(&plain().program, &data, &|_| {}).expect("labelled pictures");
    assert_eq!(accuracy.len(), 1);
    assert_eq!(accuracy[0].images, 300);
    println!("{} of 300", accuracy[0].correct);
    assert!(accuracy[0].top1() > 0.85, "{} of 300", accuracy[0].correct);
}

#[test]
fn the_program_runs_as_its_graph_is_defined_at_every_level() {
    let network = nested();
    let data = sample("test", 2);
    let mut image = vec![0.0; data.shape.len()];
    let input = &network.program.tensors[network.program.input];
    let mut executor = Executor::new(&network.program);
    for i in 0..data.len() {
        data.input(i, &mut image);
        let q = quantise_input(&image, input.shape, input.quant[0]);
        for level in network.model.level_ids() {
            let want = interpret::run(&network.graph, level.index(), &q);
            executor.run_with(level, &q, &mut |step| {
                let step_of = &network.program.steps[step.step];
                assert_eq!(
                    step.output, want[step_of.output],
                    "{level} {}",
                    step_of.name
                );
            });
        }
    }
}

/// Channels that are dead or read by nothing: the logits keep every bit, and the work shrinks.
#[test]
fn dead_channels_of_the_network_go_without_a_trace() {
    let mut model = masked(resnet8(), &[0.9, 0.5]);
    for node in model.graph.nodes.iter_mut() {
        if let FloatOp::Conv(conv) = &mut node.op {
            let row = conv.row_len();
            for channel in (0..conv.out_channels).step_by(3) {
                conv.weight[channel * row..][..row].fill(0.0);
            }
        }
    }
    let data = sample("train", 8);
    let options = CompileOptions {
        calibration: Some(&data),
        ..CompileOptions::default()
    };
    let artefact = compile_until(model, &options, "quantise", &mut ());
    let Artefact::Int(graph) = artefact.expect("quantises") else {
        panic!("an integer graph comes after quantisation")
    };
    let program = |graph| plan(encode(graph, &Preferences::default()).expect("encodes"));
    let (whole, smaller) = (program(graph.clone()), program(eliminate(graph)));
    let live = |p: &Program| p.steps.iter().map(|s| s.live_macs.0).sum::<u64>();
    let macs = |p: &Program| p.steps.iter().map(|s| s.macs.0).sum::<u64>();
    println!("{} of {} MACs are left", live(&smaller), live(&whole));
    assert!(live(&smaller) * 10 < live(&whole) * 9);
    assert_eq!(live(&whole), macs(&whole));
    assert_eq!(
        macs(&smaller),
        macs(&whole),
        "the model's work stays counted"
    );
    let counts = |p: &Program| -> Vec<(u64, Vec<u64>)> {
        let of = p.steps.iter();
        of.map(|s| (s.weights, s.nonzero_weights.clone())).collect()
    };
    assert_eq!(counts(&smaller), counts(&whole));
    let (mut whole, mut smaller) = (Executor::new(&whole), Executor::new(&smaller));
    let data = sample("test", 8);
    let mut image = vec![0.0; data.shape.len()];
    for i in 0..data.len() {
        data.input(i, &mut image);
        let input = &whole.program().tensors[whole.program().input];
        let q = quantise_input(&image, input.shape, input.quant[0]);
        for level in [0, 1].map(Level::from_index) {
            whole.run(level, &q);
            smaller.run(level, &q);
            assert_eq!(smaller.output(0), whole.output(0), "picture {i}, {level}");
        }
    }
}

/// A shortcut of 16 KiB, a feature map of 16 KiB that each convolution writes over, and scratch:
/// additions are in place, and convolutions begin a line below their input. Apart, it would be three
/// feature maps and scratch.
#[test]
fn the_arena_is_two_feature_maps_and_scratch() {
    for network in [plain(), nested()] {
        let arena = network.program.arena_bytes;
        assert_eq!(network.program.peak().0, arena, "the bound is reached");
        assert!(arena <= Bytes(49_728), "{arena}");
        let maps = arena - network.program.peak_scratch();
        assert!(maps < Bytes(2 * 16_384 + 2_048), "{maps}");
    }
}

/// How many passes each convolution runs in.
fn passes(program: &Program) -> Vec<usize> {
    let count = |step: &Step| {
        let tiles = step.payload.pass_tiles()?;
        let choices = step.payload.pass_choices();
        // Choices have the fewest tiles for their passes.
        let same = choices.iter().rfind(|choice| choice.pass_tiles <= tiles)?;
        Some(same.passes)
    };
    program.steps.iter().filter_map(count).collect()
}

/// Passes grow into room that the arena has anyway and shrink to make it fit, and change no bit.
#[test]
fn passes_are_as_long_as_memory_allows() {
    for network in [plain(), nested()] {
        let graph = &network.graph;
        let encoded = || encode(graph.clone(), &Preferences::default()).expect("encodes");
        let memory = |whole: u64, part: u64| FastMemory {
            whole: Bytes(whole),
            part: Bytes(part),
        };
        let planned = |fast: u64| plan_for(encoded(), Some(memory(fast, 0)));
        let by_default = plan(encoded());
        let arena = by_default.arena_bytes;
        let pairs = |p: &Program| -> Vec<(usize, usize)> {
            passes(p).into_iter().zip(passes(&by_default)).collect()
        };
        let longest = planned(120_000);
        assert_eq!(longest.arena_bytes, arena);
        assert!(pairs(&longest).iter().all(|(a, b)| a <= b));
        // The dense network's last layers have no room for fewer passes; the nested one's fullest
        // layer has the shortest passes there are.
        let less = arena.0 - 512;
        let short = planned(less);
        let shrinks = std::ptr::eq(network, plain());
        assert_eq!(pairs(&longest).iter().any(|(a, b)| a < b), !shrinks);
        assert_eq!(
            short.arena_bytes.0 <= less,
            shrinks,
            "{}",
            short.arena_bytes
        );
        assert!(!shrinks || pairs(&short).iter().any(|(a, b)| a > b));
        // Nothing makes it fit: behind the data cache no pass is longer, and estimates say what that costs.
        let cached = planned(20_000);
        assert!(cached.arena_bytes <= arena, "{}", cached.arena_bytes);
        assert!(pairs(&cached).iter().all(|(a, b)| a >= b));
        for (step, before) in cached.steps.iter().zip(by_default.steps.iter()) {
            let estimates = step.estimated_cycles.iter().zip(&before.estimated_cycles);
            assert!(
                estimates.clone().all(|(now, before)| now > before),
                "{}",
                step.name
            );
        }

        let data = sample("test", 1);
        let mut image = vec![0.0; data.shape.len()];
        data.input(0, &mut image);
        let input = &graph.tensors[graph.input];
        let q = quantise_input(&image, input.shape, input.quant[0]);
        let divided = plan_for(encoded(), Some(memory(20_000, 20_000)));
        assert!(divided.fast_bytes > Bytes(15_000), "{}", divided.fast_bytes);
        assert!(
            divided.fast_bytes <= Bytes(20_000),
            "{}",
            divided.fast_bytes
        );
        for level in network.model.level_ids() {
            let outputs = [&by_default, &longest, &short, &divided].map(|program| {
                nestc::ir::verify_int::verify_program(program).expect("sound");
                let mut executor = Executor::new(program);
                executor.run(level, &q);
                executor.output(0).to_vec()
            });
            assert!(outputs.iter().all(|o| *o == outputs[0]), "{level}");
        }
    }
}

/// Words and counts of three levels against the densest level stored alone.
#[test]
fn three_levels_cost_little_more_than_the_densest_alone() {
    let (mut three, mut alone) = (0, 0);
    for layer in &nested().graph.layers {
        let IntOp::Conv(conv) = &layer.op else {
            continue;
        };
        let Some(levels) = &conv.weight_levels else {
            continue;
        };
        let columns = conv.weight.len() / conv.out_channels;
        let bytes = |levels_n: usize, of: &[u8]| {
            let s = encode_stream(conv.out_channels, columns, levels_n, &conv.weight, Some(of))
                .expect("the layer fits");
            4 * s.words.len() + s.count_bytes() * s.prefix.len()
        };
        three += bytes(3, levels);
        let flat: Vec<u8> = levels
            .iter()
            .map(|&l| if l == PRUNED { l } else { 0 })
            .collect();
        alone += bytes(1, &flat);
    }
    let ratio = three as f64 / alone as f64;
    println!("{three} B over {alone} B: {ratio:.4}");
    assert!(alone > 70_000, "the masks reach all layers: {alone} B");
    assert!(ratio <= 1.05, "{three} B over {alone} B: {ratio:.4}");
}

#[test]
fn counts_of_work_are_those_of_the_masks() {
    let program = &nested().program;
    let macs: u64 = program.steps.iter().map(|s| s.macs.0).sum();
    assert_eq!(macs, 12_501_632);
    for (level, share) in [(0, 0.10), (1, 0.20), (2, 0.50)] {
        let prunable: Vec<_> = program
            .steps
            .iter()
            .skip(1)
            .filter(|s| s.op == "conv2d")
            .collect();
        let live: u64 = prunable.iter().map(|s| s.nonzero_weights[level]).sum();
        let all: u64 = prunable.iter().map(|s| s.weights).sum();
        let is = live as f64 / all as f64;
        // Rounding to int8 empties a few.
        assert!(
            is <= share + 1e-4 && is > share - 0.01,
            "level {level}: {is}"
        );
    }
}

#[test]
fn calibration_without_data_is_seeded_and_warned_of() {
    struct Warnings(Vec<String>);
    impl nestc::passes::Observer for Warnings {
        fn warning(&mut self, d: nestc::diag::Diagnostic) {
            self.0.push(d.code.to_string());
        }
    }
    // One small stage of the network is enough.
    let model = crate::random::model(3, 4);
    let mut programs = Vec::new();
    for _ in 0..2 {
        let mut seen = Warnings(Vec::new());
        let options = CompileOptions {
            range_rule: RangeRule::MinMax,
            ..CompileOptions::default()
        };
        programs
            .push(nestc::passes::compile(model.clone(), &options, &mut seen).expect("compiles"));
        assert_eq!(seen.0, ["E500"]);
    }
    assert_eq!(programs[0], programs[1]);
}
