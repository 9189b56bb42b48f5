//! Expressions as rustfmt would print them, so that emitted files need no formatter.

/// What rustfmt lets a line of array elements take; it keeps a column for itself.
const LINE: usize = 99;
/// The widest fields of a struct that stands on one line: rustfmt's `struct_lit_width`.
const STRUCT_LINE: usize = 18;
/// The widest array that stands on one line: rustfmt's `array_width`.
const ARRAY_LINE: usize = 60;
/// The widest element of an array that may share its line with others: rustfmt's
/// `short_array_element_width_threshold`.
const SHORT_ELEMENT: usize = 10;

/// An expression.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    /// Printed as it is.
    Atom(String),
    /// `[a, b]`, or `&[a, b]`.
    Array {
        /// Whether a `&` stands before it.
        reference: bool,
        /// The elements.
        elements: Vec<Expr>,
    },
    /// `Name { field: value }`.
    Struct(&'static str, Vec<(&'static str, Expr)>),
}

/// An atom.
pub(super) fn atom(text: impl ToString) -> Expr {
    Expr::Atom(text.to_string())
}

/// An array of atoms.
pub(super) fn atoms<T: ToString>(items: impl IntoIterator<Item = T>) -> Expr {
    array(items.into_iter().map(atom))
}

/// An array.
pub(super) fn array(elements: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Array {
        reference: false,
        elements: elements.into_iter().collect(),
    }
}

/// A borrowed array.
pub(super) fn array_ref(elements: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Array {
        reference: true,
        elements: elements.into_iter().collect(),
    }
}

impl Expr {
    /// The text, where the line it starts in is indented by `indent` spaces and the expression
    /// starts at `column`.
    pub(super) fn print(&self, indent: usize, column: usize) -> String {
        match self {
            Expr::Atom(text) => text.clone(),
            Expr::Struct(name, fields) => {
                if let Some(line) = self.one_line() {
                    return line;
                }
                let mut out = format!("{name} {{\n");
                for (field, value) in fields {
                    let lead = format!("{:1$}{field}: ", "", indent + 4);
                    out += &lead;
                    out += &value.print(indent + 4, lead.len());
                    out += ",\n";
                }
                out + &format!("{:1$}}}", "", indent)
            }
            Expr::Array {
                reference,
                elements,
            } => {
                let amp = if *reference { "&" } else { "" };
                amp.to_string() + &print_array(elements, indent, column + amp.len())
            }
        }
    }

    /// The text on one line, if it has such a form.
    fn one_line(&self) -> Option<String> {
        match self {
            Expr::Atom(text) => Some(text.clone()),
            Expr::Struct(name, fields) => {
                let parts: Option<Vec<_>> = (fields.iter())
                    .map(|(field, value)| Some(format!("{field}: {}", value.one_line()?)))
                    .collect();
                let inner = parts?.join(", ");
                (inner.len() <= STRUCT_LINE).then(|| format!("{name} {{ {inner} }}"))
            }
            Expr::Array {
                reference,
                elements,
            } => {
                let parts: Option<Vec<_>> = elements.iter().map(Expr::one_line).collect();
                let inner = parts?.join(", ");
                let amp = if *reference { "&" } else { "" };
                (inner.len() <= ARRAY_LINE).then(|| format!("{amp}[{inner}]"))
            }
        }
    }
}

fn print_array(elements: &[Expr], indent: usize, column: usize) -> String {
    let whole = Expr::Array {
        reference: false,
        elements: elements.to_vec(),
    };
    // A comma or semicolon follows.
    if let Some(line) = whole.one_line()
        && column + line.len() <= LINE
    {
        return line;
    }
    if let [only] = elements
        && !matches!(only, Expr::Atom(_))
    {
        return format!("[{}]", only.print(indent, column + 1));
    }
    let inner = " ".repeat(indent + 4);
    let short = |e: &Expr| matches!(e, Expr::Atom(text) if text.len() <= SHORT_ELEMENT);
    let mut out = String::from("[\n");
    if elements.iter().all(short) {
        let mut line = inner.clone();
        for element in elements {
            let text = element.print(0, 0);
            // With a blank before it and a comma behind it.
            let blank = usize::from(line.len() > inner.len());
            if line.len() + blank + text.len() + 1 > LINE {
                out += &line;
                out.push('\n');
                line.clone_from(&inner);
            } else if blank == 1 {
                line.push(' ');
            }
            line += &text;
            line.push(',');
        }
        out += &line;
        out.push('\n');
    } else {
        for element in elements {
            out += &inner;
            out += &element.print(indent + 4, indent + 4);
            out += ",\n";
        }
    }
    out + &" ".repeat(indent) + "]"
}

/// `pub(super) static NAME: TYPE = value;`: modules of other layers may share it.
pub(super) fn static_item(name: &str, ty: &str, value: &Expr) -> String {
    let lead = format!("{STATIC}{name}: {ty} = ");
    let text = value.print(0, lead.len());
    format!("{lead}{text};")
}

const STATIC: &str = "pub(super) static ";

/// The name of a [`static_item`].
pub(super) fn static_name(item: &str) -> Option<&str> {
    Some(item.strip_prefix(STATIC)?.split_once(':')?.0)
}

/// `text` as an identifier part: lower-case letters, digits and single underscores.
pub(super) fn identifier(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('_') && !out.is_empty() {
            out.push('_');
        }
        if out.len() >= 40 {
            break;
        }
    }
    out.trim_end_matches('_').to_string()
}

/// `text` for a comment: no control characters, and nothing that Markdown or rustdoc would read.
pub(super) fn for_comment(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || c == '`' { '_' } else { c })
        .collect()
}

/// `text` as a string literal.
pub(super) fn literal(text: &str) -> String {
    format!("{text:?}")
}

/// A float as a literal that reads back to the same bits.
pub(super) fn float(value: f32) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_arrays_stand_on_one_line() {
        assert_eq!(atoms([1, 2, 3]).print(0, 20), "[1, 2, 3]");
    }

    #[test]
    fn long_arrays_are_filled() {
        let text = atoms((0..40).map(|i| 100_000 + i)).print(0, 20);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + 40usize.div_ceil(12));
        assert!(lines.iter().all(|l| l.len() <= 100));
    }

    #[test]
    fn names_become_identifiers() {
        assert_eq!(identifier("/conv1/Conv"), "conv1_conv");
        assert_eq!(identifier("Änderung::x!"), "nderung_x");
        assert_eq!(identifier(""), "");
    }

    #[test]
    fn comments_hold_no_surprises() {
        assert_eq!(for_comment("a`b\nc"), "a_b_c");
    }
}
