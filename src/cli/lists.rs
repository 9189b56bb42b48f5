//! `nestc targets` and `nestc kernels`: what there is to choose from.

use std::io;

use nest_kernels::KERNELS;
use serde_json::json;

use super::printer::{Printer, table};
use crate::target::{Board, Memory, MemoryKind};

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
