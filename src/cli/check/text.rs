//! The check for people.

use std::fmt::Write;

use super::board::{Estimate, LevelEstimate};
use super::{Checked, LevelsFrom};
use crate::cli::printer::table;
use crate::units::group_thousands;

/// What the cost model knows, said below its figures.
const ESTIMATES: &str =
    "cycles are estimates of the cost model, which knows an STM32H743's memories";

/// `table` puts every board in a line.
pub fn text(checked: &Checked, table: bool) -> String {
    let extent = |[c, h, w]: [usize; 3]| format!("{c}x{h}x{w}");
    let outputs: Vec<String> = checked.outputs.iter().map(|&o| extent(o)).collect();
    let levels: Vec<String> = checked.levels.iter().map(|&s| percent(s)).collect();
    let mut out = format!(
        "{}: {}\ninput   {}\noutput  {}\nnodes   {}\nweights {}\nMACs    {}\nlevels  {}{}\n",
        checked.model,
        match checked.findings.0.len() {
            0 => "every node is supported".to_owned(),
            1 => "every node can be read; 1 finding about a device".to_owned(),
            n => format!("every node can be read; {n} findings about a device"),
        },
        extent(checked.input),
        outputs.join(", "),
        checked.nodes,
        group_thousands(checked.weights),
        group_thousands(checked.macs.0),
        levels.join(", "),
        match checked.levels_from {
            LevelsFrom::Model => "",
            LevelsFrom::Magnitude => ", cut by magnitude and not trained",
        }
    );
    // Writing into a string cannot fail.
    if let Some(transposes) = &checked.run_time_transposes {
        let _ = write!(out, "layout: {} run-time transposes", transposes.len());
        if !transposes.is_empty() {
            let _ = write!(out, " ({})", transposes.join(", "));
        }
        out.push('\n');
    }
    match &checked.targets[..] {
        [] => {}
        [one] if !table => single(&mut out, one),
        all => every(&mut out, all),
    }
    out
}

/// A level's time, where there is an estimate.
fn ms(level: Option<&LevelEstimate>) -> String {
    let ms = level.and_then(|level| level.estimated_latency_ms);
    ms.map_or("-".to_owned(), |ms| format!("{ms:.1}"))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn single(out: &mut String, on: &Estimate) {
    let ram = &on.ram_bytes;
    let verdict = if on.fits { "fits" } else { "does not fit" };
    let _ = write!(
        out,
        "\n{verdict} {} ({})\n{} (estimate), of {}\nRAM     {} = arena {} + scratch {} + stack {} (reserve), in {} of {}\n\n",
        on.board,
        on.description,
        on.flash_bytes.line(),
        on.flash_limit_bytes,
        ram.total,
        group_thousands(ram.arena.0),
        group_thousands(ram.scratch.0),
        group_thousands(ram.stack.0),
        ram.arena_memory,
        ram.arena_memory_bytes,
    );
    let mut rows = vec![row(["level", "sparsity", "MACs", "cycles", "ms"])];
    for l in &on.levels {
        rows.push(vec![
            l.level.to_string(),
            percent(l.sparsity),
            group_thousands(l.effective_macs.0),
            l.estimated_cycles
                .map_or("-".to_owned(), |c| group_thousands(c.0)),
            ms(Some(l)),
        ]);
    }
    *out += &table(&rows);
    if on.levels.iter().all(|l| l.estimated_cycles.is_none()) {
        *out += "no cycle model for this core: cycles are not estimated\n";
        return;
    }
    let where_to = match ram.arena_is_cached {
        true => "behind the data cache",
        false => "without wait states",
    };
    let _ = writeln!(
        out,
        "{ESTIMATES},\nfor activations in {} ({where_to}); nestc bench measures them",
        ram.arena_memory
    );
}

fn every(out: &mut String, all: &[Estimate]) {
    let mut rows = vec![row([
        "board",
        "fits",
        "flash",
        "of",
        "RAM",
        "of",
        "arena in",
        "fastest ms",
        "densest ms",
    ])];
    for on in all {
        rows.push(vec![
            on.board.clone(),
            match on.fits {
                true => "yes".to_owned(),
                false => format!("no: {}", on.why_not()),
            },
            on.flash_bytes.total.to_string(),
            on.flash_limit_bytes.to_string(),
            on.ram_bytes.total.to_string(),
            on.ram_bytes.arena_memory_bytes.to_string(),
            on.ram_bytes.arena_memory.clone(),
            ms(on.levels.first()),
            ms(on.levels.last()),
        ]);
    }
    out.push('\n');
    *out += &table(&rows);
    let _ = writeln!(
        out,
        "{ESTIMATES},\nfor activations in the memory named; nestc bench measures them"
    );
    for on in all {
        for finding in &on.findings.0 {
            let _ = writeln!(
                out,
                "{}: [{}] {}",
                on.board, finding.code.0, finding.message
            );
        }
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(String::from).to_vec()
}
