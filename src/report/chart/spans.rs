//! Rectangles over time: what occupies which range, from when to when.

use super::axis::Scale;
use super::bars::pattern;
use super::canvas::{Anchor, Canvas, number};
use super::{FONT, GRID, INK, legend_places, text_width};

/// Ranges that are taken over a row of steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spans {
    /// Unique on the page; begins with a letter.
    pub id: String,
    /// What is shown.
    pub title: String,
    /// The chart in words, for whom does not see it.
    pub description: String,
    /// What the height measures, and the unit.
    pub label: String,
    /// What a column is.
    pub across: String,
    /// Columns.
    pub steps: usize,
    /// What rectangles are: each kind has its own hatch.
    pub kinds: Vec<String>,
    /// The rectangles.
    pub spans: Vec<Span>,
    /// Heights worth a line across, and their names.
    pub lines: Vec<(f64, String)>,
}

/// A rectangle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Written into it where there is room.
    pub name: String,
    /// More about it, which viewers show when it is pointed at.
    pub note: String,
    /// Which of the kinds it is.
    pub kind: usize,
    /// First column and the end of the last; halves are possible.
    pub time: [f64; 2],
    /// Where it begins and ends.
    pub range: [f64; 2],
}

impl Spans {
    /// The chart as an SVG file.
    pub fn svg(&self) -> String {
        const HEIGHT: f64 = 440.0;
        const SMALL: f64 = 11.0;
        let heights = (self.spans.iter().map(|s| s.range[1]))
            .chain(self.lines.iter().map(|l| l.0))
            .chain([0.0]);
        let scale = Scale::over(heights, 8);
        let ticks: Vec<(f64, String)> = scale.ticks().collect();
        let widest = ticks.iter().map(|(_, t)| text_width(t)).fold(0.0, f64::max);
        let left = 12.0 + FONT * 1.6 + widest + 8.0;
        let column = (640.0 / self.steps.max(1) as f64).clamp(18.0, 90.0);
        let right = left + column * self.steps as f64;
        let (top, bottom) = (38.0, 38.0 + HEIGHT);
        let width = (right + 18.0).max(24.0 + text_width(&self.title) * 1.3);
        let names: Vec<&str> = self.kinds.iter().map(String::as_str).collect();
        let (places, rows) = legend_places(&names, width - 24.0);
        let line = FONT * 1.6;
        let legend = bottom + FONT * 3.6;
        let size = [width, legend + rows as f64 * line + 8.0];
        let mut canvas = Canvas::new(&self.id, &self.title, &self.description, size);
        let hatch = |kind: usize| format!("{}-hatch{kind}", self.id);
        canvas.raw("<defs>");
        for kind in 0..self.kinds.len() {
            canvas.raw(&pattern(&hatch(kind), kind));
        }
        canvas.raw("</defs>");
        let bold = "font-size=\"15\" font-weight=\"600\"";
        canvas.text([12.0, 22.0], Anchor::Start, bold, &self.title);

        let x = |step: f64| left + column * step;
        let y = |value: f64| scale.place(value, bottom, top);
        canvas.open(&format!("stroke=\"{GRID}\""));
        for (value, _) in &ticks {
            canvas.line([left, y(*value)], [right, y(*value)], "");
        }
        canvas.close();
        for (value, text) in &ticks {
            let at = [left - 8.0, y(*value) + FONT * 0.35];
            canvas.text(at, Anchor::End, "", text);
        }
        let every = ((text_width("000") + 6.0) / column).ceil().max(1.0) as usize;
        for step in (0..self.steps).step_by(every) {
            let at = [x(step as f64 + 0.5), bottom + FONT * 1.3];
            canvas.text(at, Anchor::Middle, "", &step.to_string());
        }
        let below = [f64::midpoint(left, right), bottom + FONT * 2.8];
        canvas.text(below, Anchor::Middle, "", &self.across);
        let middle = f64::midpoint(top, bottom);
        let turned = format!("transform=\"rotate(-90 20 {})\"", number(middle));
        canvas.text([20.0, middle], Anchor::Middle, &turned, &self.label);

        for span in &self.spans {
            let [x0, x1] = span.time.map(x);
            let [y0, y1] = span.range.map(y);
            let d = format!(
                "M{} {} H{} V{} H{} Z",
                number(x0),
                number(y0),
                number(x1),
                number(y1),
                number(x0)
            );
            let fill = format!("fill=\"url(#{})\" stroke=\"{INK}\"", hatch(span.kind));
            canvas.titled_path(&d, &fill, &format!("{}: {}", span.name, span.note));
        }
        // Names lie over all rectangles, on a rim of white.
        canvas.open(&format!(
            "font-size=\"{SMALL}\" stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\""
        ));
        for span in &self.spans {
            let [x0, x1] = span.time.map(x);
            let [y0, y1] = span.range.map(y);
            let length = text_width(&span.name) * SMALL / FONT + 4.0;
            let centre = [f64::midpoint(x0, x1), f64::midpoint(y0, y1)];
            if length <= x1 - x0 && SMALL + 2.0 <= y0 - y1 {
                let at = [centre[0], centre[1] + SMALL * 0.35];
                canvas.text(at, Anchor::Middle, "", &span.name);
            } else if length <= y0 - y1 && SMALL + 2.0 <= x1 - x0 {
                let at = [centre[0] + SMALL * 0.35, centre[1]];
                let turned = format!("rotate(-90 {} {})", number(at[0]), number(at[1]));
                let turned = format!("transform=\"{turned}\"");
                canvas.text(at, Anchor::Middle, &turned, &span.name);
            }
        }
        for (value, name) in &self.lines {
            let at = [right, y(*value) - 4.0];
            canvas.text(at, Anchor::End, "", name);
        }
        canvas.close();
        for (value, _) in &self.lines {
            let dashed = format!("stroke=\"{INK}\" stroke-width=\"2\" stroke-dasharray=\"7 4\"");
            canvas.line([left, y(*value)], [right, y(*value)], &dashed);
        }
        for (kind, (name, &(x, row))) in names.iter().zip(&places).enumerate() {
            let y = legend + line * (row as f64 + 0.5);
            let fill = format!("fill=\"url(#{})\" stroke=\"{INK}\"", hatch(kind));
            canvas.rectangle([x + 12.0, y - 7.0], [28.0, 14.0], &fill);
            canvas.text([x + 46.0, y + FONT * 0.35], Anchor::Start, "", name);
        }
        canvas.finish()
    }
}
