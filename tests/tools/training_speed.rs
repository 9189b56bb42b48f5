//! Times training steps on request, for `training_speed.py`, which interleaves them with other engines'.
//!
//! ```text
//! cargo run --release --example training_speed -- resnet8|mobilenet BATCH SPARSITY[,SPARSITY...] uniform|global
//! ```
//!
//! Masks are by magnitude: the same share of every layer, or one ranking over all as `nestc train` has
//! it, which spares the layers at the front, where a weight costs most.
//!
//! Prints `{"ready": ...}`; then, for each number of steps read from standard input, one JSON line
//! with the images a second of the median and of the fastest step, microseconds of processor time an
//! image, and the process's largest resident set in MB.

#[path = "../cycles/networks.rs"]
#[allow(dead_code)]
mod networks;

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nestc::data::{Dataset, Pixels};
use nestc::ir::float::Shape;
use nestc::ir::nested::Preprocessing;
use nestc::train::stopwatch::TrainingStep;
use nestc::train::{Allocation, peak_rss_bytes};

const THREADS: usize = 2;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [network, batch, sparsities, allocation] = arguments.as_slice() else {
        bail!("training_speed resnet8|mobilenet BATCH SPARSITY[,SPARSITY...] uniform|global");
    };
    let allocation = match allocation.as_str() {
        "uniform" => Allocation::Uniform,
        "global" => Allocation::Global,
        other => bail!("masks are uniform or global, not {other}"),
    };
    let batch: usize = batch.parse().context("BATCH")?;
    let sparsities: Vec<f64> = sparsities
        .split(',')
        .map(|s| s.parse::<f64>().map(|s| s / 100.0))
        .collect::<Result<_, _>>()
        .context("SPARSITY")?;
    let graph = match network.as_str() {
        "resnet8" => networks::load("models/resnet8_cifar10.onnx").graph,
        "mobilenet" => networks::mobilenet_vww(),
        other => bail!("no network is called {other}"),
    };
    let shape = graph.shape(graph.input());
    let classes = graph.shape(graph.outputs[0]).len();
    let data = noise(shape, classes, batch);
    let mut step = TrainingStep::new(&graph, &data, &sparsities, allocation, THREADS)?;
    for _ in 0..3 {
        step.run();
    }
    println!("{{\"ready\": 1, \"base\": 0}}");
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        let steps: usize = line?.trim().parse().context("number of steps")?;
        let mut seconds = Vec::with_capacity(steps);
        let before = processor_seconds();
        for _ in 0..steps {
            let start = Instant::now();
            step.run();
            seconds.push(start.elapsed().as_secs_f64());
        }
        let used = processor_seconds() - before;
        seconds.sort_by(f64::total_cmp);
        let rate = |seconds: f64| step.images() as f64 / seconds;
        println!(
            "{{\"med_ips\": {}, \"best_ips\": {}, \"cpu_us\": {}, \"hwm\": {}}}",
            rate(seconds[steps / 2]),
            rate(seconds[0]),
            1e6 * used / (step.images() * steps) as f64,
            peak_rss_bytes().unwrap_or(0) as f64 / 1e6
        );
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// What this process has used so far, over all its threads, where the system tells.
fn processor_seconds() -> f64 {
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    };
    ticks().unwrap_or(0.0) / 100.0
}

/// Labelled noise: the speed does not depend on what is seen.
fn noise(shape: Shape, classes: usize, images: usize) -> Dataset {
    let mut state = 1u32;
    let mut pixel = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    Dataset {
        shape,
        pixels: Pixels::U8((0..images * shape.len()).map(|_| pixel()).collect()),
        labels: Some((0..images as u32).map(|i| i % classes as u32).collect()),
        class_count: classes,
        boxes: None,
        preprocessing: Preprocessing {
            scale: 1.0 / 64.0,
            mean: vec![2.0; shape.c],
            ..Preprocessing::identity(shape.c)
        },
    }
}
