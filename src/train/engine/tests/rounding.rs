//! Forward passes that expect int8.

use super::super::rounding::{Rounding, stored};
use super::*;
use crate::train::simd::rounding::Grid;

const IMAGES: usize = 21;

/// Runs with these roundings; gives every slot's elements and what was seen of it.
fn run(
    graph: &FloatGraph,
    rounding: Option<Vec<Rounding>>,
    isa: Isa,
    threads: usize,
) -> (Vec<Vec<f32>>, Vec<[f32; 2]>) {
    let threads = Threads::new(Some(threads)).unwrap();
    let outputs = &graph.outputs;
    let mut engine = Engine::new(graph, outputs, Fusion::Rounded, IMAGES, true, isa, threads);
    let params = Params::of(engine.plan(), graph);
    let mut prepared = Prepared::default();
    engine.prepare(&params, &[], &mut prepared);
    let inputs = images(graph, IMAGES);
    engine.load(IMAGES, &|i, out| out.copy_from_slice(&inputs[i]));
    engine.set_rounding(rounding);
    engine.forward(&params, &prepared, Mode::Batch, None);
    let slots = 0..engine.plan().slots.len();
    let values = slots.clone().map(|slot| engine.read(slot)).collect();
    (values, slots.map(|slot| engine.seen(slot)).collect())
}

fn bits(values: &[Vec<f32>]) -> Vec<u32> {
    values.iter().flatten().map(|v| v.to_bits()).collect()
}

#[test]
fn watching_changes_nothing_and_sees_every_live_element() {
    for (name, graph) in networks() {
        let engine = engine(&graph, Fusion::Rounded, 1, Isa::detect());
        let stored = stored(engine.plan());
        let (plain, _) = run(&graph, None, Isa::detect(), 2);
        let watch = |&s: &bool| if s { Rounding::Watch } else { Rounding::Leave };
        let rounding = Some(stored.iter().map(watch).collect());
        let (watched, seen) = run(&graph, rounding, Isa::detect(), 2);
        assert_eq!(bits(&plain), bits(&watched), "{name}");
        assert!(stored[engine.plan().input], "{name}: the input is a tensor");
        for (slot, values) in plain.iter().enumerate().filter(|(slot, _)| stored[*slot]) {
            let least = values.iter().copied().fold(f32::INFINITY, f32::min);
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(seen[slot], [least, largest], "{name}: slot {slot}");
        }
    }
}

#[test]
fn stored_values_lie_on_their_grids_whoever_computes_them() {
    for (name, graph) in networks() {
        let engine = engine(&graph, Fusion::Rounded, 1, Isa::detect());
        let stored = stored(engine.plan());
        let (plain, _) = run(&graph, None, Isa::detect(), 2);
        let grid = |values: &[f32]| {
            let step = values.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 100.0;
            Grid {
                step: step.max(1e-6),
                low: -99.0,
                high: 99.0,
            }
        };
        let grids: Vec<Grid> = plain.iter().map(|values| grid(values)).collect();
        let rounding: Vec<Rounding> = (stored.iter().zip(&grids))
            .map(|(&s, &grid)| match s {
                true => Rounding::Round(grid),
                false => Rounding::Leave,
            })
            .collect();
        let (rounded, seen) = run(&graph, Some(rounding.clone()), Isa::detect(), 2);
        for (slot, values) in rounded.iter().enumerate().filter(|(slot, _)| stored[*slot]) {
            let step = grids[slot].step;
            for v in values {
                let steps = v / step;
                assert!(
                    (steps - steps.round()).abs() < 1e-3,
                    "{name}: {slot}: {steps}"
                );
                assert!(steps.abs() < 99.5, "{name}: {slot}: {steps}");
            }
            assert!(seen[slot][0] <= seen[slot][1], "{name}: slot {slot}");
        }
        for isa in Isa::available() {
            for threads in [1, 3] {
                let again = run(&graph, Some(rounding.clone()), isa, threads);
                assert_eq!(bits(&rounded), bits(&again.0), "{name}: {isa:?}, {threads}");
                assert_eq!(seen, again.1, "{name}: {isa:?}, {threads} threads");
            }
        }
    }
}

fn square(kernel: usize, stride: usize, pad: usize) -> Window {
    window([kernel; 2], [stride; 2], [pad; 4], [1; 2])
}

/// Both sides of an addition are tensors of integer inference; what a normalisation reads is not.
#[test]
fn what_is_stored_is_what_the_compiler_stores() {
    let (mut g, x) = Net::new(Shape::map(3, 6, 6));
    let a = g.conv(x, 4, 1, square(3, 1, 1), false);
    let a = g.bn(a);
    let b = g.conv(x, 4, 1, square(1, 1, 0), true);
    let sum = g.add(FloatOp::Add, &[a, b]);
    let relu = g.add(FloatOp::Relu, &[sum]);
    let pool = g.add(FloatOp::MaxPool(square(2, 2, 0)), &[relu]);
    let mean = g.add(FloatOp::GlobalAvgPool, &[pool]);
    let y = g.dense(mean, 5);
    let graph = g.finish(y);
    let engine = engine(&graph, Fusion::Rounded, 1, Isa::detect());
    let stored = stored(engine.plan());
    let of = |value| {
        let slots = &engine.plan().slots;
        let slot = slots.iter().position(|s| s.value == value);
        slot.map(|slot| stored[slot])
    };
    let normalised = graph.nodes.iter().find(|n| n.output == a).expect("a node");
    assert_eq!(of(normalised.inputs[0]), Some(false));
    for (value, expected) in [(x, true), (a, true), (b, true), (pool, false), (mean, true)] {
        assert_eq!(of(value), Some(expected), "{value}");
    }
    assert_eq!((of(sum), of(relu), of(y)), (None, Some(true), Some(true)));
}
