//! Shows a compilation's progress and prints what `--dump-after` asks for.

use super::printer::{Printer, Progress};
use crate::diag::Diagnostic;
use crate::passes::{Fidelity, Observer, PassInfo};

/// The command line's observer.
pub struct Watch<'a> {
    printer: &'a Printer,
    dump_after: Option<&'a str>,
    progress: Option<Progress>,
    /// The text form that was asked for.
    pub dumped: Option<String>,
    /// Whether to measure how closely the integer network follows the float network.
    pub measure_fidelity: bool,
    /// What was measured.
    pub fidelity: Option<Fidelity>,
}

impl<'a> Watch<'a> {
    /// Keeps the text form after the pass `dump_after`.
    pub fn new(printer: &'a Printer, dump_after: Option<&'a str>) -> Self {
        Self {
            printer,
            dump_after,
            progress: None,
            dumped: None,
            measure_fidelity: false,
            fidelity: None,
        }
    }
}

impl Observer for Watch<'_> {
    fn warning(&mut self, diagnostic: Diagnostic) {
        self.printer.warning(&diagnostic);
    }

    fn progress(&mut self, pass: &'static PassInfo, done: usize, total: usize) {
        let progress = self
            .progress
            .get_or_insert_with(|| self.printer.progress(pass.name, total as u64));
        progress.set(done as u64);
    }

    fn fidelity(&mut self, fidelity: Fidelity) {
        self.fidelity = Some(fidelity);
    }

    fn after(&mut self, pass: &'static PassInfo, text: &dyn Fn() -> String) {
        match self.progress.take() {
            Some(progress) => progress.finish(pass.doc),
            None => self.printer.step(pass.name, pass.doc),
        }
        if self.dump_after == Some(pass.name) {
            self.dumped = Some(text());
        }
    }
}
