//! Diagnostics: every finding about a user's input has a code, a place, a message with the values
//! that clash, and a remedy. All findings of one run are collected in [`Diagnostics`].
//!
//! [`CODES`] is the one table of codes; `nestc explain E204` prints from it.

use std::fmt;

/// What the process exits with when a diagnostic ends it (see the README, "Exit codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitClass {
    /// A stated check failed (`--fail-if`, bit-exactness): exit 1.
    CheckFailed,
    /// Wrong use or input: exit 2.
    Input,
    /// The surroundings failed (disk, toolchain, probe): exit 3.
    Surroundings,
}

impl ExitClass {
    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            ExitClass::CheckFailed => 1,
            ExitClass::Input => 2,
            ExitClass::Surroundings => 3,
        }
    }
}

/// A row of the table of codes.
#[derive(Debug)]
pub struct CodeInfo {
    /// `E204`.
    pub code: &'static str,
    /// How the process exits.
    pub exit: ExitClass,
    /// One line, lower case, without full stop.
    pub title: &'static str,
    /// What it means, why it matters and what to do, for `nestc explain`.
    pub explanation: &'static str,
}

/// A diagnostic code: a row of [`CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl Code {
    /// The row of the table; every code constant is in it (held by a test).
    pub fn info(self) -> &'static CodeInfo {
        CODES
            .iter()
            .find(|row| row.code == self.0)
            .unwrap_or(&CODES[0])
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! codes {
    ($($name:ident $code:literal $exit:ident $title:literal $explanation:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code($code);)*
        /// Every code nestc can report, in order.
        pub static CODES: &[CodeInfo] = &[
            $(CodeInfo { code: $code, exit: ExitClass::$exit, title: $title, explanation: $explanation },)*
        ];
    };
}

codes! {
    // E0xx: use of the tool and the surroundings
    BAD_ARGUMENT "E001" Input "an argument has no valid value"
        "An option was given a value outside its range or of the wrong form. The message names the option, the value and what is accepted.";
    IO_FAILED "E002" Surroundings "a file could not be read or written"
        "The operating system refused a file operation. Check that the path exists, that you may write there and that the disk has room. nestc writes beside the target and renames at the end, so nothing half-written is left.";
    // E1xx: reading ONNX files
    // E2xx: what the graph says (operators, shapes, weights)
    // E3xx: data sets
    // E4xx: training
    // E5xx: quantising, encoding, planning
    // E6xx: targets, emitted crates, builds, images
    // E7xx: emulator and bench
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which finding this is.
    pub code: Code,
    /// Where: a file, node, option or layer.
    pub place: String,
    /// What clashes, with both values.
    pub message: String,
    /// What to do about it, computed from the values.
    pub hint: String,
}

impl Diagnostic {
    /// A finding at `place`.
    pub fn new(
        code: Code,
        place: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            place: place.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The operating system refused `action` on `path`.
    pub fn io(path: &std::path::Path, action: &str, error: &std::io::Error) -> Self {
        Self::new(
            IO_FAILED,
            path.display().to_string(),
            format!("cannot {action}: {error}"),
            "check the path, its permissions and the free space",
        )
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error[{}]: {}\n  --> {}\n  help: {}",
            self.code, self.message, self.place, self.hint
        )
    }
}

/// All findings of one step, never empty when used as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// `Ok(value)` if nothing was found, all findings otherwise.
    pub fn into_result<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// The process exit code: the most severe class among the findings.
    pub fn exit_code(&self) -> u8 {
        self.0
            .iter()
            .map(|d| d.code.info().exit)
            .max()
            .map_or(0, ExitClass::code)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{d}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// The result of everything that reads input.
pub type Result<T, E = Diagnostics> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_explained() {
        for pair in CODES.windows(2) {
            assert!(
                pair[0].code < pair[1].code,
                "{} before {}",
                pair[0].code,
                pair[1].code
            );
        }
        for row in CODES {
            assert!(
                row.explanation.len() > row.title.len(),
                "{} needs an explanation",
                row.code
            );
        }
    }

    #[test]
    fn exit_code_is_the_most_severe() {
        let mut all = Diagnostics::default();
        assert_eq!(all.exit_code(), 0);
        all.push(Diagnostic::new(BAD_ARGUMENT, "--x", "m", "h"));
        assert_eq!(all.exit_code(), 2);
        all.push(Diagnostic::new(IO_FAILED, "f", "m", "h"));
        assert_eq!(all.exit_code(), 3);
    }
}
