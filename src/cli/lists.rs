//! `nestc targets`, `nestc kernels` and `nestc probes`: what there is to choose from.

use std::io;

use nest_kernels::KERNELS;
use serde_json::json;

use super::printer::{Printer, table};
use crate::bench::probe::{self, ProbeInfo};
use crate::diag::{Diagnostic, PROBE_REFUSED, Result};
use crate::target::{Board, Memory, MemoryKind};

/// Prints the debug probes on this computer.
pub fn probes(printer: &Printer) -> Result<io::Result<()>> {
    let probes = (probe::driver()?.list()).map_err(|error| {
        Diagnostic::new(
            PROBE_REFUSED,
            "nestc probes",
            format!("probes cannot be searched: {}", error.detail),
            "check that USB devices are visible here, for example with `lsusb`",
        )
    })?;
    let (text, document) = listed(&probes);
    Ok(printer.result(&document, &text))
}

/// Probes for people and as a document.
fn listed(probes: &[ProbeInfo]) -> (String, serde_json::Value) {
    let mut rows = vec![["--probe", "name", "usable"].map(String::from).to_vec()];
    let mut documents = Vec::new();
    for probe in probes {
        let selector = probe.selector().to_string();
        documents.push(json!({
            "probe": selector,
            "name": probe.name,
            "usable": probe.allowed,
        }));
        let usable = if probe.allowed {
            "yes"
        } else {
            "no, see nestc explain E762"
        };
        rows.push(vec![selector, probe.name.clone(), usable.into()]);
    }
    let text = match probes {
        [] => "no debug probe is connected\n".into(),
        _ => table(&rows),
    };
    (text, json!({ "probes": documents }))
}

/// Prints the boards.
pub fn targets(printer: &Printer) -> io::Result<()> {
    let boards = Board::all();
    let mut rows = vec![
        [
            "board",
            "core",
            "MHz",
            "flash KiB",
            "RAM KiB",
            "cycles",
            "description",
        ]
        .map(String::from)
        .to_vec(),
    ];
    for board in &boards {
        let kib = |m: &Memory| m.bytes.0 / 1024;
        let ram = (board.memory.iter())
            .filter(|m| matches!(m.kind, MemoryKind::Dtcm | MemoryKind::Sram))
            .map(|m| format!("{} {}", m.name, kib(m)));
        let ram: Vec<String> = ram.collect();
        let cycles = if board.core.kind.has_cycle_model() {
            "modelled"
        } else {
            "none"
        };
        rows.push(vec![
            board.name.clone(),
            board.core.kind.name().to_string(),
            (board.clock.core_hz.0 / 1_000_000).to_string(),
            kib(board.flash()).to_string(),
            ram.join(", "),
            cycles.to_string(),
            board.description.clone(),
        ]);
    }
    let documents: Vec<_> = boards
        .iter()
        .map(|b| {
            let memory: Vec<_> = b
                .memory
                .iter()
                .map(|m| json!({ "name": m.name, "origin": m.origin, "bytes": m.bytes }))
                .collect();
            json!({
                "name": b.name,
                "description": b.description,
                "chip": b.probe_rs_chip,
                "core": b.rust_target_cpu,
                "cycle_model": b.core.kind.has_cycle_model(),
                "rust_target": b.rust_target,
                "clock_hz": b.clock.core_hz,
                "memory": memory,
            })
        })
        .collect();
    printer.result(&json!({ "targets": documents }), &table(&rows))
}

/// Prints the kernels.
pub fn kernels(printer: &Printer) -> io::Result<()> {
    let mut rows = vec![
        ["kernel", "op", "format", "arch", "accepts"]
            .map(String::from)
            .to_vec(),
    ];
    for k in KERNELS {
        rows.push(
            [k.name, k.op, k.format, k.arch, k.accepts]
                .map(String::from)
                .to_vec(),
        );
    }
    let documents: Vec<_> = KERNELS
        .iter()
        .map(|k| {
            json!({
                "name": k.name,
                "op": k.op,
                "format": k.format,
                "arch": k.arch,
                "pixels": k.pixels,
                "accepts": k.accepts,
            })
        })
        .collect();
    printer.result(&json!({ "kernels": documents }), &table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_listed_as_the_option_takes_them() {
        let probes = [true, false].map(|allowed| ProbeInfo {
            name: "ST-Link V3".into(),
            vendor: 0x0483,
            product: 0x374e,
            interface: None,
            serial: allowed.then(|| "0A".into()),
            allowed,
        });
        let (text, document) = listed(&probes);
        assert_eq!(
            text,
            "     --probe  name        usable\n\
             0483:374e:0A  ST-Link V3  yes\n   \
             0483:374e  ST-Link V3  no, see nestc explain E762\n"
        );
        assert_eq!(document["probes"][0]["probe"], "0483:374e:0A");
        assert_eq!(document["probes"][1]["usable"], false);
        assert_eq!(listed(&[]).0, "no debug probe is connected\n");
    }
}
