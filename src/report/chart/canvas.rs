//! SVG elements, written as text.

use std::fmt::Write;

use super::{FONT, INK};

/// Where a text stands about its place.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// Begins there.
    Start,
    /// Is centred there.
    Middle,
    /// Ends there.
    End,
}

/// An SVG under construction. Coordinates have one decimal; all text is escaped.
#[derive(Debug)]
pub struct Canvas {
    out: String,
}

impl Canvas {
    /// An empty picture of `width` by `height` on white. `id` must be unique on the page and begin
    /// with a letter.
    pub fn new(id: &str, title: &str, description: &str, [width, height]: [f64; 2]) -> Self {
        let id = escaped(id);
        let mut out = String::new();
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" aria-labelledby=\"{id}-title {id}-text\" font-family=\"system-ui, sans-serif\" font-size=\"{FONT}\" fill=\"{INK}\">",
            number(width),
            number(height),
        );
        let _ = writeln!(out, "<title id=\"{id}-title\">{}</title>", escaped(title));
        let _ = writeln!(
            out,
            "<desc id=\"{id}-text\">{}</desc>",
            escaped(description)
        );
        let mut canvas = Self { out };
        canvas.rectangle([0.0, 0.0], [width, height], "fill=\"#ffffff\"");
        canvas
    }

    /// Begins a group of elements that share attributes.
    pub fn open(&mut self, attributes: &str) {
        let _ = writeln!(self.out, "<g {attributes}>");
    }

    /// Ends the group.
    pub fn close(&mut self) {
        self.out.push_str("</g>\n");
    }

    /// A line.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], attributes: &str) {
        self.path(&polyline(&[from, to]), attributes);
    }

    /// A path.
    pub fn path(&mut self, d: &str, attributes: &str) {
        let gap = if attributes.is_empty() { "" } else { " " };
        let _ = writeln!(self.out, "<path d=\"{d}\"{gap}{attributes}/>");
    }

    /// A path that says what it stands for, where the reader shows that.
    pub fn titled_path(&mut self, d: &str, attributes: &str, title: &str) {
        let gap = if attributes.is_empty() { "" } else { " " };
        let _ = writeln!(
            self.out,
            "<path d=\"{d}\"{gap}{attributes}><title>{}</title></path>",
            escaped(title)
        );
    }

    /// A rectangle.
    pub fn rectangle(&mut self, [x, y]: [f64; 2], [w, h]: [f64; 2], attributes: &str) {
        let _ = writeln!(
            self.out,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {attributes}/>",
            number(x),
            number(y),
            number(w),
            number(h)
        );
    }

    /// A text on the line `y`.
    pub fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, attributes: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let gap = if attributes.is_empty() { "" } else { " " };
        let _ = writeln!(
            self.out,
            "<text x=\"{}\" y=\"{}\"{anchor}{gap}{attributes}>{}</text>",
            number(x),
            number(y),
            escaped(text)
        );
    }

    /// Any element.
    pub fn raw(&mut self, element: &str) {
        self.out.push_str(element);
        self.out.push('\n');
    }

    /// The whole file.
    pub fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// A path through points.
pub fn polyline(points: &[[f64; 2]]) -> String {
    let mut d = String::new();
    for (i, [x, y]) in points.iter().enumerate() {
        let command = if i == 0 { "M" } else { " L" };
        let _ = write!(d, "{command}{} {}", number(*x), number(*y));
    }
    d
}

/// A coordinate: one decimal at most.
pub fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".into(),
        Some(whole) => whole.into(),
        None => text,
    }
}

/// Text as XML's character data and attribute values take it; characters that XML cannot hold become
/// the replacement character.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
