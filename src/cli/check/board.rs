//! What a network takes on one board, and whether it fits.

use serde::Serialize;

use crate::diag::{Code, Diagnostics, FLASH_OVERFLOW, RAM_OVERFLOW};
use crate::emit::{self, Budgets};
use crate::image;
use crate::ir::float::FloatGraph;
use crate::ir::program::Program;
use crate::passes::{EncodedGraph, FastMemory, Preferences, plan_for, plan_patched};
use crate::report::FlashBytes;
use crate::target::{Board, MemoryKind};
use crate::units::{Bytes, Cycles, Macs};

/// What the network takes on a board.
#[derive(Debug, Serialize)]
pub struct Estimate {
    pub board: String,
    pub description: String,
    pub fits: bool,
    /// Why it does not fit, all reasons.
    #[serde(serialize_with = "super::findings")]
    pub findings: Diagnostics,
    pub flash_bytes: FlashBytes,
    /// The board's flash.
    pub flash_limit_bytes: Bytes,
    pub ram_bytes: RamEstimate,
    /// Sparsest first.
    pub levels: Vec<LevelEstimate>,
}

/// Data memory.
#[derive(Debug, Serialize)]
pub struct RamEstimate {
    pub arena: Bytes,
    pub scratch: Bytes,
    /// Kept free for the stack.
    pub stack: Bytes,
    pub total: Bytes,
    /// The memory that holds the arena, or the largest there is where none does.
    pub arena_memory: String,
    pub arena_memory_bytes: Bytes,
    /// Whether the arena lies behind the data cache, and the cycles are those of that.
    pub arena_is_cached: bool,
}

/// A level by the cost model.
#[derive(Debug, Serialize)]
pub struct LevelEstimate {
    pub level: usize,
    pub sparsity: f64,
    pub effective_macs: Macs,
    /// None for a core whose cycles nobody models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_cycles: Option<Cycles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_latency_ms: Option<f64>,
}

/// Plans `encoded` for a board and holds it to the board's limits.
pub fn estimate(graph: &FloatGraph, encoded: &EncodedGraph, board: &Board) -> Estimate {
    let mut findings = Diagnostics::default();
    let budgets = Budgets::default();
    let program = planned(graph, encoded, board, budgets);
    let largest = (board.memory.iter())
        .filter(|m| matches!(m.kind, MemoryKind::Dtcm | MemoryKind::Sram))
        .max_by_key(|m| m.bytes);
    let arena_memory = match emit::place(&program, board, budgets) {
        Ok(memory) => Some(memory),
        Err(found) => {
            findings.0.extend(found.0);
            largest
        }
    };
    let flash = image::flash_with_code(&program, emit::estimated_code(&program));
    let scratch = program.peak_scratch();
    let arena = program.arena_bytes - scratch;
    let stack = emit::STACK_RESERVE;
    Estimate {
        board: board.name.clone(),
        description: board.description.clone(),
        fits: findings.0.is_empty(),
        findings,
        flash_bytes: flash,
        flash_limit_bytes: board.flash().bytes,
        ram_bytes: RamEstimate {
            arena,
            scratch,
            stack,
            total: arena + scratch + stack,
            arena_memory: arena_memory.map_or(String::new(), |m| m.name.clone()),
            arena_memory_bytes: arena_memory.map_or(Bytes(0), |m| m.bytes),
            arena_is_cached: arena_memory.is_some_and(|m| m.kind == MemoryKind::Sram)
                && board.core.dcache_bytes > Bytes(0),
        },
        levels: levels(&program, board),
    }
}

/// The plan in one block, or what `nestc compile` falls back on where only that fits: an arena in two
/// parts, and first layers in stripes.
fn planned(graph: &FloatGraph, encoded: &EncodedGraph, board: &Board, budgets: Budgets) -> Program {
    let fast = emit::fast_memory(graph, board);
    let one = FastMemory {
        part: Bytes(0),
        ..fast
    };
    let program = plan_for(encoded.clone(), Some(one));
    if emit::place(&program, board, budgets).is_ok() {
        return program;
    }
    let patching = emit::patch_to_fit(graph, board, budgets);
    let preferences = Preferences::default();
    match plan_patched(encoded.clone(), &preferences, Some(fast), patching) {
        Ok(other) if emit::place(&other, board, budgets).is_ok() => other,
        _ => program,
    }
}

fn levels(program: &Program, board: &Board) -> Vec<LevelEstimate> {
    (program.sparsities.iter().enumerate())
        .map(|(level, &sparsity)| {
            let cycles =
                (board.core.kind.has_cycle_model()).then(|| estimated_cycles(program, level));
            LevelEstimate {
                level,
                sparsity,
                effective_macs: image::effective_macs(program, level),
                estimated_cycles: cycles,
                estimated_latency_ms: cycles.map(|c| c.milliseconds_at(board.clock.core_hz)),
            }
        })
        .collect()
}

/// What the cost model expects of all layers.
fn estimated_cycles(program: &Program, level: usize) -> Cycles {
    (program.steps.iter())
        .filter_map(|step| step.estimated_cycles.get(level).copied())
        .sum()
}

impl Estimate {
    /// What is too small, for a table.
    pub fn why_not(&self) -> String {
        let broken = |code: Code| self.findings.0.iter().any(|f| f.code == code);
        let mut parts = Vec::new();
        if broken(FLASH_OVERFLOW) {
            parts.push("flash");
        }
        if broken(RAM_OVERFLOW) {
            parts.push("RAM");
        }
        parts.join(", ")
    }
}
