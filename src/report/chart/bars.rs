//! Stacked bars.

use super::axis::Scale;
use super::canvas::{Anchor, Canvas, number};
use super::{COLOURS, FONT, GRID, INK, legend_places, text_width};

/// Horizontal bars, each of several segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// Unique on the page; begins with a letter.
    pub id: String,
    /// What is shown.
    pub title: String,
    /// The chart in words, for whom does not see it.
    pub description: String,
    /// Width of the picture; its height follows from the bars.
    pub width: f64,
    /// What lengths measure, and the unit.
    pub label: String,
    /// What the segments are, from the left.
    pub segments: Vec<String>,
    /// The bars, from the top.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// At its left.
    pub name: String,
    /// The length of each segment, none negative.
    pub lengths: Vec<f64>,
    /// At its right.
    pub note: String,
}

impl Bars {
    /// The chart as an SVG file.
    pub fn svg(&self) -> String {
        const ROW: f64 = 30.0;
        const THICK: f64 = 20.0;
        let names: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        let (places, rows) = legend_places(&names, self.width - 24.0);
        let line = FONT * 1.6;
        let top = 38.0;
        let bottom = top + ROW * self.bars.len() as f64;
        let height = bottom + FONT * 3.6;
        let total = height + rows as f64 * line + 8.0;
        let size = [self.width, total];
        let mut canvas = Canvas::new(&self.id, &self.title, &self.description, size);
        let hatch = |segment: usize| format!("{}-hatch{segment}", self.id);
        canvas.raw("<defs>");
        for segment in 0..self.segments.len() {
            canvas.raw(&pattern(&hatch(segment), segment));
        }
        canvas.raw("</defs>");
        let bold = "font-size=\"15\" font-weight=\"600\"";
        canvas.text([12.0, 22.0], Anchor::Start, bold, &self.title);

        let widest = |of: fn(&Bar) -> &str| {
            let widths = self.bars.iter().map(|b| text_width(of(b)));
            widths.fold(0.0, f64::max)
        };
        let left = 12.0 + widest(|b| &b.name) + 8.0;
        let right = (self.width - 18.0 - widest(|b| &b.note)).max(left + 60.0);
        let length = |bar: &Bar| bar.lengths.iter().filter(|v| v.is_finite()).sum::<f64>();
        let lengths = self.bars.iter().map(length).chain([0.0]);
        let scale = Scale::over(lengths, (self.width / 130.0) as usize);
        canvas.open(&format!("stroke=\"{GRID}\""));
        for (value, _) in scale.ticks() {
            let x = scale.place(value, left, right);
            canvas.line([x, top], [x, bottom], "");
        }
        canvas.close();
        for (value, text) in scale.ticks() {
            let x = scale.place(value, left, right);
            canvas.text([x, bottom + FONT * 1.3], Anchor::Middle, "", &text);
        }
        let below = [(left + right) / 2.0, bottom + FONT * 2.8];
        canvas.text(below, Anchor::Middle, "", &self.label);
        for (row, bar) in self.bars.iter().enumerate() {
            let y = top + ROW * row as f64 + (ROW - THICK) / 2.0;
            let text = y + THICK / 2.0 + FONT * 0.35;
            canvas.text([left - 8.0, text], Anchor::End, "", &bar.name);
            let mut from = 0.0;
            for (segment, &v) in bar.lengths.iter().enumerate() {
                if !(v.is_finite() && v > 0.0) {
                    continue;
                }
                let x = scale.place(from, left, right);
                from += v;
                let w = scale.place(from, left, right) - x;
                let fill = format!("fill=\"url(#{})\" stroke=\"{INK}\"", hatch(segment));
                canvas.rectangle([x, y], [w, THICK], &fill);
            }
            let end = scale.place(from, left, right) + 6.0;
            canvas.text([end, text], Anchor::Start, "", &bar.note);
        }
        for (segment, (name, &(x, row))) in names.iter().zip(&places).enumerate() {
            let y = height + line * (row as f64 + 0.5);
            let fill = format!("fill=\"url(#{})\" stroke=\"{INK}\"", hatch(segment));
            canvas.rectangle([x + 12.0, y - 7.0], [28.0, 14.0], &fill);
            canvas.text([x + 46.0, y + FONT * 0.35], Anchor::Start, "", name);
        }
        canvas.finish()
    }
}

/// A tile that fills a segment: a light colour under lines of its own direction.
pub(super) fn pattern(id: &str, segment: usize) -> String {
    const LINES: [&str; 4] = [
        "",
        "M0 8 L8 0 M-2 2 L2 -2 M6 10 L10 6",
        "M0 4 L8 4",
        "M0 0 L8 8 M-2 6 L2 10 M6 -2 L10 2",
    ];
    let colour = COLOURS[segment % COLOURS.len()];
    let lines = LINES[segment % LINES.len()];
    let size = number(8.0);
    format!(
        "<pattern id=\"{id}\" width=\"{size}\" height=\"{size}\" patternUnits=\"userSpaceOnUse\"><rect width=\"{size}\" height=\"{size}\" fill=\"{colour}\" fill-opacity=\"0.45\"/><path d=\"{}\" stroke=\"{INK}\" stroke-width=\"1\"/></pattern>",
        if lines.is_empty() { "M0 0" } else { lines }
    )
}
