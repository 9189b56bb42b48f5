//! Common networks of torchvision and timm, as their users export them, against onnxruntime: what
//! `tests/tools/exports.py` wrote, with a table for docs/operators.md.

use std::path::Path;
use std::time::Instant;

use nestc::import;
use nestc::import::oracle::deviation;
use nestc::ir::eval_float::eval_outputs;
use nestc::units::group_thousands;

use crate::python::floats;

/// Largest error allowed, as a share of the output's range.
const TOLERANCE: f32 = 1e-4;

/// Networks, and those of them that may fail: a bar, and not a list, so that an exporter's next version
/// does not have to be argued with.
const NETWORKS: usize = 26;
const MOST_FAILURES: usize = 2;

/// What became of an exported network: its row of the table, or why there is none.
fn agreement(folder: &Path) -> Result<String, String> {
    let imported = import::load(&folder.join("model.onnx")).map_err(|faults| {
        let found = &faults.0;
        let first = found.first().map_or(String::new(), ToString::to_string);
        format!("{} findings, the first {first}", found.len())
    })?;
    let graph = &imported.model.graph;
    let outputs = eval_outputs(graph, &floats(&folder.join("input.bin")));
    let output = graph.output_as_in_file(0, &outputs[0]);
    let expected = floats(&folder.join("output.bin"));
    if output.len() != expected.len() {
        return Err(format!("{} outputs, not {}", output.len(), expected.len()));
    }
    let share = deviation(&output, &expected);
    if share.is_nan() || share > TOLERANCE {
        return Err(format!("{share:.1e} of the output's range off"));
    }
    let macs: u64 = graph.nodes.ids().map(|id| graph.macs(id)).sum();
    let nodes = graph.nodes.len();
    Ok(format!("{nodes} | {} | {share:.1e}", group_thousands(macs)))
}

#[test]
#[ignore = "needs NESTC_EXPORTS: make exports"]
fn exports_of_common_networks_agree_with_onnxruntime() {
    let folder = std::env::var_os("NESTC_EXPORTS").expect("NESTC_EXPORTS is a folder of exports");
    let mut folders: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.join("output.bin").exists())
        .collect();
    folders.sort();
    let (mut networks, mut failed) = (0, 0);
    println!("\n| network | exporter | nodes | MACs | share of the output's range |");
    println!("|---|---|---:|---:|---:|");
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let (name, exporter) = match name.strip_suffix(".dynamo") {
            Some(name) => (name, "dynamo"),
            None => (&*name, "TorchScript"),
        };
        let started = Instant::now();
        let row = agreement(folder);
        eprintln!("{name}: {:.1} s", started.elapsed().as_secs_f64());
        let first = exporter == "TorchScript";
        networks += usize::from(first);
        failed += usize::from(first && row.is_err());
        let row = row.unwrap_or_else(|why| format!("| | not read: {}", why.replace('\n', " ")));
        println!("| {name} | {exporter} | {row} |");
    }
    println!("\n{} of {networks} networks", networks - failed);
    assert_eq!(networks, NETWORKS, "exports in {}", folder.display());
    assert!(failed <= MOST_FAILURES, "{failed} networks fail");
}
