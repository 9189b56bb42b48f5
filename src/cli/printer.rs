//! Everything nestc prints: the result on standard output, the rest on standard error.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::diag::{Diagnostic, Diagnostics};
use crate::report::SCHEMA_VERSION;

/// A line on standard error. Where nobody can read it any more (a closed pipe, a full disk) there is
/// nothing better to do than to go on: the exit code still tells.
macro_rules! say {
    ($($arg:tt)*) => {{
        let _ = writeln!(io::stderr(), $($arg)*);
    }};
}

/// Writes results and messages in the way the command line asked for.
#[derive(Debug)]
pub struct Printer {
    json: bool,
    terminal: bool,
    color: bool,
    /// Whether standard output has its document.
    has_result: Cell<bool>,
}

impl Printer {
    /// A printer for this process.
    pub fn new(json: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            json,
            terminal,
            color: terminal && !no_color,
            has_result: Cell::new(false),
        }
    }

    /// Prints the result: `document` as JSON with `schema_version` first, or `text`.
    pub fn result(&self, document: &impl Serialize, text: &str) -> io::Result<()> {
        self.report(&Document::new(document), text)
    }

    /// Prints a result whose document has a schema version of its own.
    pub fn report(&self, document: &impl Serialize, text: &str) -> io::Result<()> {
        self.has_result.set(true);
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, document)?;
            out.write_all(b"\n")?;
        } else {
            out.write_all(text.as_bytes())?;
        }
        out.flush()
    }

    /// Prints findings on standard error and, where JSON was asked for and no result was printed,
    /// as the document.
    pub fn findings(&self, findings: &Diagnostics) -> io::Result<()> {
        for finding in &findings.0 {
            self.finding(finding);
        }
        if !self.json || self.has_result.get() {
            return Ok(());
        }
        let errors: Vec<Value> = findings.0.iter().map(finding_json).collect();
        self.result(&serde_json::json!({ "errors": errors }), "")
    }

    fn finding(&self, finding: &Diagnostic) {
        let text = finding.to_string();
        if !self.color {
            say!("{text}");
            return;
        }
        // The first line is `error[CODE]: message`: the part before the colon is set in bold red.
        match text.split_once("]: ") {
            Some((head, rest)) => say!("\x1b[1;31m{head}]\x1b[0m: {rest}"),
            None => say!("{text}"),
        }
    }

    /// Prints something that does not stop the run but should be read.
    pub fn warning(&self, warning: &Diagnostic) {
        let text = warning.to_string();
        let text = text.strip_prefix("error").unwrap_or(&text);
        if self.color {
            say!("\x1b[1;33mwarning\x1b[0m{text}");
        } else {
            say!("warning{text}");
        }
    }

    /// A short step that is done, on standard error.
    pub fn step(&self, label: &str, text: &str) {
        say!("{label:>10} {text}");
    }

    /// A long step of `total` units: a bar on a terminal, a line at its end elsewhere.
    pub fn progress(&self, label: &str, total: u64) -> Progress {
        let bar = if self.terminal {
            let style = ProgressStyle::with_template(
                "{prefix:>10} [{bar:32}] {pos}/{len} {msg} ({elapsed}, {eta} left)",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(style);
            bar.set_prefix(label.to_string());
            bar.enable_steady_tick(Duration::from_millis(200));
            Some(bar)
        } else {
            None
        };
        Progress {
            bar,
            label: label.to_string(),
        }
    }
}

/// A step under way.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    label: String,
}

impl Progress {
    /// `done` units are done.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// `done` of `total` units are done.
    pub fn set_of(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// Says something beside the bar.
    pub fn message(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_string());
        }
    }

    /// The step is over.
    pub fn finish(self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say!("{:>10} {text}", self.label);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A document whose first fields are the schema's and nestc's version.
#[derive(Serialize)]
struct Document<'a, T> {
    schema_version: u32,
    nestc_version: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

impl<'a, T> Document<'a, T> {
    fn new(body: &'a T) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            nestc_version: env!("CARGO_PKG_VERSION"),
            body,
        }
    }
}

/// A finding as documents have it.
pub fn finding_json(d: &Diagnostic) -> Value {
    serde_json::json!({
        "code": d.code.0, "place": d.place, "message": d.message, "hint": d.hint,
    })
}

/// A table in plain text: the first row is the heading; columns whose cells are all numbers are
/// set to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, c: usize| row.get(c).cloned().unwrap_or_default();
    let mut widths = vec![0; columns];
    let mut numeric = vec![true; columns];
    for (r, row) in rows.iter().enumerate() {
        for c in 0..columns {
            let text = cell(row, c);
            widths[c] = widths[c].max(text.chars().count());
            let is_number = text
                .chars()
                .next()
                .is_none_or(|first| first.is_ascii_digit() || first == '-');
            numeric[c] &= r == 0 || is_number;
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for c in 0..columns {
            let text = cell(row, c);
            let width = widths[c];
            if c > 0 {
                line.push_str("  ");
            }
            line.push_str(&if numeric[c] {
                format!("{text:>width$}")
            } else {
                format!("{text:<width$}")
            });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_begin_with_the_schema_version() {
        #[derive(Serialize)]
        struct Body {
            b: u32,
            a: u32,
        }
        let text = serde_json::to_string(&Document::new(&Body { b: 1, a: 2 })).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text,
            format!("{{\"schema_version\":1,\"nestc_version\":\"{version}\",\"b\":1,\"a\":2}}")
        );
    }

    #[test]
    fn tables_align_numbers_right_and_text_left() {
        let rows =
            [["level", "name"], ["0", "a"], ["10", "bcd"]].map(|r| r.map(String::from).to_vec());
        assert_eq!(table(&rows), "level  name\n    0  a\n   10  bcd\n");
    }
}
