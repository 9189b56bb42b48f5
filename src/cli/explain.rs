//! `nestc explain`: the table of diagnostic codes.

use std::fmt::Write;
use std::io;

use serde_json::json;

use super::args::ExplainArgs;
use super::printer::Printer;
use crate::diag::{CODES, CodeInfo, Diagnostic, Result, UNKNOWN_CODE};

/// Prints one code's explanation, or the list of all.
pub fn run(args: &ExplainArgs, printer: &Printer) -> Result<io::Result<()>> {
    let Some(wanted) = &args.code else {
        let rows: Vec<_> = CODES.iter().map(document).collect();
        let mut text = String::new();
        for row in CODES {
            let _ = writeln!(text, "{}  {}", row.code, row.title);
        }
        return Ok(printer.result(&json!({ "codes": rows }), &text));
    };
    let code = wanted.to_ascii_uppercase();
    let Some(row) = CODES.iter().find(|row| row.code == code) else {
        return Err(Diagnostic::new(
            UNKNOWN_CODE,
            "nestc explain",
            format!("`{wanted}` is not a code that nestc reports"),
            "list them all with `nestc explain`",
        )
        .into());
    };
    let text = format!(
        "{}: {}\n\n{}\n\nExit code: {}\n",
        row.code,
        row.title,
        wrapped(row.explanation, 88),
        row.exit.code()
    );
    Ok(printer.result(&document(row), &text))
}

fn document(row: &CodeInfo) -> serde_json::Value {
    json!({
        "code": row.code,
        "title": row.title,
        "explanation": row.explanation,
        "exit_code": row.exit.code(),
    })
}

/// The text in lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_only() {
        assert_eq!(wrapped("aa bb cc", 5), "aa bb\ncc");
        assert_eq!(wrapped("abcdef gh", 3), "abcdef\ngh");
        assert_eq!(wrapped("", 3), "");
    }
}
