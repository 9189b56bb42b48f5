//! Random networks through the whole chain, each arrow against an independent oracle.

use nestc::data::{Dataset, Pixels};
use nestc::ir::eval::Executor;
use nestc::ir::eval_float::eval_outputs;
use nestc::ir::float::{FloatOp, Shape};
use nestc::ir::ids::Id;
use nestc::ir::int::Quant;
use nestc::ir::nested::{NestedModel, Preprocessing};
use nestc::ir::program::Step;
use nestc::ir::verify::verify_nested;
use nestc::ir::verify_int::verify_program;
use nestc::passes::{
    Artefact, CompileOptions, Patching, Preferences, compile, compile_until, encode, fold, plan,
    plan_patched, quantise_input,
};

use crate::interpret;
use crate::random::{ALL_OPERATORS, Random, images, model};

const SEEDS: std::ops::Range<u64> = 0..150;

/// Networks of all operators.
const OTHERS: std::ops::Range<u64> = ALL_OPERATORS..ALL_OPERATORS + 150;

/// Prepared images as a data set.
pub fn dataset(shape: Shape, images: &[Vec<f32>]) -> Dataset {
    Dataset {
        shape,
        pixels: Pixels::F32(images.concat()),
        labels: None,
        class_count: 0,
        boxes: None,
        preprocessing: Preprocessing::identity(shape.c),
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

#[test]
fn folding_keeps_the_function_of_every_level() {
    for seed in SEEDS.chain(OTHERS) {
        let original = model(seed, 12);
        let folded = fold(original.clone());
        let mut r = Random(seed);
        for image in images(&mut r, original.graph.input_shape(), 2) {
            for level in original.level_ids() {
                let want = eval_outputs(&original.level(level), &image);
                let got = eval_outputs(&folded.level(level), &image);
                for (want, got) in want.iter().zip(&got) {
                    let bound = 1e-4 * largest(want).max(1.0);
                    assert_eq!(want.len(), got.len());
                    for (a, b) in want.iter().zip(got) {
                        assert!((a - b).abs() <= bound, "seed {seed} {level}: {a} {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn folding_ends_in_canonical_form() {
    for seed in SEEDS.chain(OTHERS) {
        let original = model(seed, 12);
        // Only values that nothing reads are amiss: folding drops them.
        assert!(
            verify_nested(&original).iter().all(|b| b.rule == "V014"),
            "seed {seed}"
        );
        let folded = fold(original);
        assert_eq!(verify_nested(&folded), [], "seed {seed}");
        let graph = &folded.graph;
        let consumers = graph.consumers();
        for node in &graph.nodes {
            match &node.op {
                FloatOp::Dense(_) | FloatOp::BatchNorm(_) | FloatOp::Flatten => {
                    panic!("seed {seed}: a {} is left", node.op.name())
                }
                FloatOp::ChannelAffine { .. } => {
                    let before = graph.producer(node.inputs[0]).expect("not on the input");
                    assert!(
                        matches!(graph.nodes[before].op, FloatOp::Conv(_)),
                        "seed {seed}"
                    );
                    assert_eq!(consumers[node.inputs[0]].len(), 1, "seed {seed}");
                    assert!(!graph.outputs.contains(&node.inputs[0]), "seed {seed}");
                }
                _ => {}
            }
        }
        assert_eq!(
            fold(folded.clone()),
            folded,
            "seed {seed}: folding again changes nothing"
        );
    }
}

/// Ratio of signal to error, in decibel.
pub fn decibel(want: &[f32], got: &[f32]) -> f64 {
    let signal: f64 = want.iter().map(|v| f64::from(*v).powi(2)).sum();
    let error: f64 = (want.iter().zip(got))
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum();
    10.0 * (signal / error.max(1e-30)).log10()
}

/// Back to reals, channel-major.
pub fn reals(q: &[i8], shape: Shape, quant: Quant) -> Vec<f32> {
    let mut out = vec![0.0; q.len()];
    for (i, &q) in q.iter().enumerate() {
        let (pixel, c) = (i / shape.c, i % shape.c);
        out[c * shape.pixels() + pixel] =
            quant.scale * (f32::from(q) - f32::from(quant.zero_point));
    }
    out
}

struct Compiled {
    seed: u64,
    model: NestedModel,
    images: Vec<Vec<f32>>,
    graph: nestc::ir::int::IntGraph,
    program: nestc::ir::program::Program,
}

fn compiled(seed: u64) -> Compiled {
    let model = model(seed, 12);
    let mut r = Random(seed ^ 0xABCD);
    let shape = model.graph.input_shape();
    let images = images(&mut r, shape, 24);
    let data = dataset(shape, &images);
    let options = CompileOptions {
        calibration: Some(&data),
        ..CompileOptions::default()
    };
    let artefact = compile_until(model.clone(), &options, "eliminate", &mut ());
    let Artefact::Int(graph) = artefact.unwrap_or_else(|e| panic!("seed {seed}: {e}")) else {
        panic!("an integer graph comes before the encoding")
    };
    let program = plan(encode(graph.clone(), &Preferences::default()).expect("encodes"));
    let (arena, bound) = (program.arena_bytes, program.arena_bound);
    assert!(program.peak().0 <= bound && bound <= arena, "seed {seed}");
    assert!(
        100 * arena.0 <= 105 * bound.0,
        "seed {seed}: {arena}, at least {bound}"
    );
    let whole = compile(model.clone(), &options, &mut ()).expect("compiles");
    assert_eq!(
        program, whole,
        "seed {seed}: the passes by hand give what the driver gives"
    );
    Compiled {
        seed,
        model,
        images,
        graph,
        program,
    }
}

#[test]
fn programs_run_as_their_graph_is_defined_bit_by_bit() {
    for seed in SEEDS.chain(OTHERS) {
        let c = compiled(seed);
        let mut executor = Executor::new(&c.program);
        let input = &c.graph.tensors[c.graph.input];
        for image in &c.images[..3] {
            let q = quantise_input(image, input.shape, input.quant[0]);
            for level in c.model.level_ids() {
                let want = interpret::run(&c.graph, level.index(), &q);
                executor.run_with(level, &q, &mut |step| {
                    let tensor = c.program.steps[step.step].output;
                    assert_eq!(
                        step.output, want[tensor],
                        "seed {} {level} step {}",
                        c.seed, c.program.steps[step.step].name
                    );
                    assert_eq!(step.checksum(), nest_format::checksum(&want[tensor]));
                });
                for (i, &t) in c.program.outputs.iter().enumerate() {
                    assert_eq!(executor.output(i), want[t], "seed {} output {i}", c.seed);
                }
            }
        }
    }
}

#[test]
fn int8_follows_the_float_network() {
    let mut ratios: Vec<f64> = Vec::new();
    for seed in SEEDS {
        let c = compiled(seed);
        let mut executor = Executor::new(&c.program);
        let input = &c.graph.tensors[c.graph.input];
        for level in c.model.level_ids() {
            let float = c.model.level(level);
            let (mut want, mut got) = (Vec::new(), Vec::new());
            for image in &c.images[..4] {
                let q = quantise_input(image, input.shape, input.quant[0]);
                executor.run(level, &q);
                want.extend_from_slice(&eval_outputs(&float, image)[0]);
                let t = &c.program.tensors[c.program.outputs[0]];
                got.extend(reals(executor.output(0), t.shape, t.quant[level.index()]));
            }
            let ratio = decibel(&want, &got);
            assert!(ratio > 24.0, "seed {seed} {level}: {ratio:.1} dB");
            ratios.push(ratio);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("worst {:.1} dB, median {median:.1} dB", ratios[0]);
    assert!(median > 38.0, "median {median:.1} dB");
}

/// The same of networks of all operators. Products and the like of values that cancel leave little of
/// a signal by their nature: of these networks the median counts.
#[test]
fn int8_follows_the_float_network_whatever_its_operators() {
    let mut ratios = Vec::new();
    for seed in OTHERS {
        let c = compiled(seed);
        let mut executor = Executor::new(&c.program);
        let input = &c.graph.tensors[c.graph.input];
        for level in c.model.level_ids() {
            let (mut want, mut got) = (Vec::new(), Vec::new());
            let float = c.model.level(level);
            for image in &c.images[..4] {
                let q = quantise_input(image, input.shape, input.quant[0]);
                executor.run(level, &q);
                want.extend_from_slice(&eval_outputs(&float, image)[0]);
                let t = &c.program.tensors[c.program.outputs[0]];
                got.extend(reals(executor.output(0), t.shape, t.quant[level.index()]));
            }
            ratios.push((decibel(&want, &got), seed));
        }
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let median = ratios[ratios.len() / 2].0;
    println!("worst {:.1?}, median {median:.1} dB", &ratios[..8]);
    assert!(ratios[0].0 > 12.0, "{:?}", ratios[0]);
    assert!(median > 34.0, "median {median:.1} dB");
}

/// Every kernel that says it runs a layer does, with the same bits; the random networks reach them
/// all.
#[test]
fn any_kernel_that_accepts_a_layer_gives_the_same_bits() {
    let kernels = || (nest_kernels::KERNELS.iter()).filter(|k| k.arch == "armv7em");
    let mut used: Vec<&str> = Vec::new();
    for seed in OTHERS.take(20) {
        used.extend(compiled(seed).program.steps.iter().map(|s| s.kernel));
    }
    for seed in SEEDS {
        let c = compiled(seed);
        used.extend(c.program.steps.iter().map(|s| s.kernel));
        let input = &c.graph.tensors[c.graph.input];
        let q = quantise_input(&c.images[0], input.shape, input.quant[0]);
        for kernel in kernels().filter(|k| k.format != "none") {
            let preferences = Preferences {
                forced: vec![kernel.name.parse().expect("a name")],
                ..Preferences::default()
            };
            let program = plan(encode(c.graph.clone(), &preferences).expect("encodes"));
            verify_program(&program).expect("a sound program");
            let taken = |s: &&Step| s.kernel == kernel.name;
            let accepted = (c.program.steps.iter()).filter(|s| {
                (s.candidates.iter()).any(|k| k.kernel == kernel.name && k.refused.is_none())
            });
            assert_eq!(
                program.steps.iter().filter(taken).count(),
                accepted.count(),
                "seed {seed}: {} where it is accepted",
                kernel.name
            );
            used.extend(program.steps.iter().map(|s| s.kernel));
            let mut executor = Executor::new(&program);
            for level in c.model.level_ids() {
                let want = interpret::run(&c.graph, level.index(), &q);
                executor.run(level, &q);
                for (i, &t) in program.outputs.iter().enumerate() {
                    assert_eq!(executor.output(i), want[t], "seed {seed} {}", kernel.name);
                }
            }
        }
    }
    let missing: Vec<&str> = kernels()
        .map(|k| k.name)
        .filter(|name| !used.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The first layers in stripes of rows against the graph's own definition.
#[test]
fn stripes_give_the_same_bits() {
    let mut patched = 0;
    for seed in SEEDS.chain(OTHERS) {
        let c = compiled(seed);
        for stripes in [2, 3] {
            let encoded = encode(c.graph.clone(), &Preferences::default()).expect("encodes");
            let patching = Patching::Stripes(stripes);
            let program = plan_patched(encoded, &Preferences::default(), None, patching)
                .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let sound = nestc::ir::verify_int::verify_program(&program);
            sound.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let Some(patches) = program.patches else {
                assert_eq!(program, c.program, "seed {seed}");
                continue;
            };
            patched += 1;
            assert_eq!(patches.stripes, stripes);
            assert!(program.arena_bytes < patches.whole_arena, "seed {seed}");
            for id in program.tensors.ids() {
                let written =
                    |s: &nestc::ir::program::Step| s.output == id || program.whole(s.output) == id;
                let is_input = program.whole(id) == program.input;
                assert!(is_input || program.steps.iter().any(written), "{id}");
            }
            let flash = |p: &nestc::ir::program::Program| -> u64 {
                let bytes = |s: &nestc::ir::program::Step| s.weight_bytes + s.index_bytes;
                p.steps.iter().map(|s| bytes(s).0).sum()
            };
            let shared = program.steps.iter().filter(|s| s.same_as.is_some()).count();
            assert_eq!(shared, (stripes - 1) * patches.layers, "seed {seed}");
            assert_eq!(flash(&program), flash(&c.program), "seed {seed}");
            let mut executor = Executor::new(&program);
            let input = &c.graph.tensors[c.graph.input];
            for image in &c.images[..2] {
                let q = quantise_input(image, input.shape, input.quant[0]);
                for level in c.model.level_ids() {
                    let want = interpret::run(&c.graph, level.index(), &q);
                    executor.run(level, &q);
                    for (i, &output) in c.graph.outputs.iter().enumerate() {
                        assert_eq!(executor.output(i), want[output], "seed {seed} {level}");
                    }
                }
            }
        }
    }
    assert!(patched > 5, "{patched} programs run in stripes");
}
