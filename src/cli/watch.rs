//! Shows a compilation's progress and prints what `--dump-after` asks for.

use super::printer::{Printer, Progress};
use crate::diag::Diagnostic;
use crate::passes::{Fidelity, Observer, PassInfo};

/// The command line's observer.
pub struct Watch<'a> {
    printer: &'a Printer,
    dump_after: Option<&'a str>,
    progress: Option<Progress>,
    silent: bool,
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
            silent: false,
            dumped: None,
            measure_fidelity: false,
            fidelity: None,
        }
    }

    /// Shows neither warnings nor progress.
    pub fn silent(printer: &'a Printer) -> Self {
        Self {
            silent: true,
            ..Self::new(printer, None)
        }
    }
}

impl Observer for Watch<'_> {
    fn warning(&mut self, diagnostic: Diagnostic) {
        if !self.silent {
            self.printer.warning(&diagnostic);
        }
    }

    fn progress(&mut self, pass: &'static PassInfo, done: usize, total: usize) {
        if self.silent {
            return;
        }
        let progress = self
            .progress
            .get_or_insert_with(|| self.printer.progress(pass.name, total as u64));
        progress.set(done as u64);
    }

    fn fidelity(&mut self, fidelity: Fidelity) {
        self.fidelity = Some(fidelity);
    }

    fn after(&mut self, pass: &'static PassInfo, text: &dyn Fn() -> String) {
        if self.silent {
            return;
        }
        match self.progress.take() {
            Some(progress) => progress.finish(pass.doc),
            None => self.printer.step(pass.name, pass.doc),
        }
        if self.dump_after == Some(pass.name) {
            self.dumped = Some(text());
        }
    }
}
