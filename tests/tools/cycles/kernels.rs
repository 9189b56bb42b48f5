//! Every kernel on every layer that it accepts.

use nest_kernels::KERNELS;
use nestc::ir::float::FloatOp;
use nestc::passes::{Forced, Preferences};
use nestc::report::{BenchLayer, ImageLayer};

use crate::{measure, networks, per};

/// Cycles of CMSIS-NN's kernel for a layer of [`networks::layers`], in the same emulator: the table
/// that `make anchors` prints.
const CMSIS_NN: [(&str, u64); 7] = [
    ("conv3x3_3_16_at32", 1_765_958),
    ("conv3x3_16_16_at32", 4_153_646),
    ("conv3x3_32_64_at16", 7_738_266),
    ("conv1x1_64_64_at16", 1_407_153),
    ("depthwise3x3_64_at16_stride2", 249_483),
    ("depthwise3x3_64_at16", 998_770),
    ("add_16_at32", 833_732),
];

/// A table of every kernel on every layer of [`networks::layers`] that it accepts.
pub fn print_kernels() {
    println!(
        "\n## Kernels\n\n\
         Each layer of `tests/cycles/networks.rs: layers`, compiled as the compiler chooses and with every\n\
         other kernel that it can be told to use. `_70` is the share of zeros in percent, `_at16` the\n\
         extent of the input. Without multiplications, the figure a MAC is one an output element. The\n\
         estimate is the compiler's, and how far it is from the expected cycles.\n\n\
         | layer | kernel | chosen | cycles expected | pessimistic | estimate | a MAC | a MAC, pessimistic | a non-zero MAC | bytes a non-zero weight | CMSIS-NN [3] | a MAC |\n\
         |---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    let weights: Vec<(String, u64)> = (networks::layers().nodes.iter())
        .filter_map(|node| match &node.op {
            FloatOp::Conv(conv) => Some((node.name.clone(), conv.weight.len() as u64)),
            FloatOp::Dense(dense) => Some((node.name.clone(), dense.weight.len() as u64)),
            _ => None,
        })
        .collect();
    let measured = |preferences| {
        let network = networks::all().into_iter().find(|n| n.name == "layers");
        measure::measure(network.expect("it is one of them"), preferences)
    };
    let chosen = measured(Preferences::default());
    // Layer by layer, as chosen first.
    let mut lines: Vec<Vec<String>> = Vec::new();
    let kernels: Vec<String> = std::iter::once(String::new())
        .chain(
            (KERNELS.iter())
                .filter(|k| k.arch != "reference" && k.format != "none")
                .map(|k| k.name.to_string()),
        )
        .collect();
    for kernel in kernels {
        let forced = (!kernel.is_empty()).then(|| {
            measured(Preferences {
                forced: vec![Forced {
                    layer: None,
                    kernel: kernel.clone(),
                }],
                ..Preferences::default()
            })
        });
        let of = forced.as_ref().unwrap_or(&chosen);
        let layers = of.bench.levels[0].layers.iter().zip(&of.image.layers);
        for (at, (layer, image)) in layers.enumerate() {
            if lines.len() <= at {
                lines.push(Vec::new());
            }
            let other = chosen.bench.levels[0].layers[at].kernel != layer.kernel;
            if forced.is_none() || (other && layer.kernel == kernel) {
                lines[at].push(kernel_row(layer, image, &weights, forced.is_none()));
            }
        }
    }
    for line in lines.iter().flatten() {
        println!("{line}");
    }
}

fn kernel_row(
    layer: &BenchLayer,
    image: &ImageLayer,
    weights: &[(String, u64)],
    chosen: bool,
) -> String {
    let (expected, pessimistic) = (
        layer.cycles.map_or(0, |c| c.0),
        layer.cycles_pessimistic.map_or(0, |c| c.0),
    );
    let macs = layer.macs.0;
    let count = if macs == 0 {
        image.output_bytes.0
    } else {
        macs
    };
    let cmsis = CMSIS_NN.iter().find(|(known, _)| {
        layer.name == *known
            || (layer
                .name
                .strip_prefix(known)
                .and_then(|rest| rest.strip_prefix('_')))
            .is_some_and(|rest| rest.parse::<u32>().is_ok())
    });
    let bytes = (weights.iter().find(|(name, _)| *name == layer.name)).map(|(_, count)| {
        let nonzero = *count as f64 * layer.effective_macs.0 as f64 / macs as f64;
        (image.weight_bytes + image.index_bytes).0 as f64 / nonzero
    });
    let estimate = match layer.estimated_cycles.0 {
        0 => "–".to_string(),
        cycles => format!("{:+.0} %", 100.0 * (cycles as f64 / expected as f64 - 1.0)),
    };
    format!(
        "| {} | {} | {} | {expected} | {pessimistic} | {estimate} | {} | {} | {} | {} | {} | {} |",
        layer.name,
        layer.kernel,
        if chosen { "yes" } else { "" },
        per(expected, count),
        per(pessimistic, count),
        per(expected, layer.effective_macs.0),
        bytes.map_or("–".into(), |b| format!("{b:.2}")),
        cmsis.map_or("–".into(), |(_, cycles)| cycles.to_string()),
        cmsis.map_or("–".into(), |(_, cycles)| per(*cycles, count)),
    )
}
