//! What nesting costs: each level of the committed nested model beside the same network alone.

use nestc::ir::nested::NestedModel;
use nestc::passes::Preferences;

use crate::measure::{self, Measured};
use crate::networks::{self, Network};

/// The bars: flash for weights and indices against the densest level alone, cycles at each level.
const FLASH_BAR: f64 = 1.03;
const CYCLES_BAR: f64 = 1.05;

fn nested() -> Network {
    let network = networks::all()
        .into_iter()
        .find(|n| n.name == "resnet8_nested");
    network.expect("it is one of them")
}

fn stored(measured: &Measured) -> u64 {
    let flash = measured.bench.flash_bytes;
    (flash.weights + flash.indices).0
}

/// A factor, and whether it keeps its bar.
fn factor(value: f64, bar: f64) -> String {
    if value <= bar {
        format!("{value:.3} (bar {bar:.2})")
    } else {
        format!("**{value:.3}** (bar {bar:.2} missed)")
    }
}

/// A table of the levels.
pub fn print_nested() {
    println!(
        "\n## What nesting costs\n\n\
         Each level of the committed nested ResNet-8, and the same weights compiled as a network of\n\
         their own.\n\n\
         | level | cycles nested | alone | factor | pessimistic nested | alone | factor |\n\
         |---|--:|--:|--:|--:|--:|--:|"
    );
    let together = measure::measure(nested(), Preferences::default());
    let mut densest = 0;
    for (level, id) in nested().model.level_ids().enumerate() {
        let model = nested().model;
        let alone = Network {
            name: format!("resnet8_level{level}"),
            model: NestedModel {
                preprocessing: model.preprocessing.clone(),
                ..NestedModel::plain(model.level(id))
            },
            ..nested()
        };
        let alone = measure::measure(alone, Preferences::default());
        densest = stored(&alone);
        let of = |measured: &Measured, level: usize| {
            let level = &measured.bench.levels[level];
            let pessimistic = level.cycles_pessimistic.map_or(0, |c| c.0);
            [level.cycles.map_or(0, |c| c.0), pessimistic].map(|c| c as f64)
        };
        let ([a, b], [c, d]) = (of(&together, level), of(&alone, 0));
        println!(
            "| {level} | {a} | {c} | {} | {b} | {d} | {} |",
            factor(a / c, CYCLES_BAR),
            factor(b / d, CYCLES_BAR)
        );
    }
    let all = stored(&together);
    println!(
        "\nWeights and indices: {all} bytes for all levels, {densest} for the densest alone, factor {}.",
        factor(all as f64 / densest as f64, FLASH_BAR)
    );
}
