//! Charts as SVG text: scatter and line plots with an optional Pareto front, stacked bars, and
//! rectangles over time.
//!
//! Everything is told twice, so that no chart needs colour: series have shapes and dashes, segments
//! of bars have hatches. Every chart has a title and a text alternative, and the same chart gives the
//! same bytes everywhere. Colours are those of M. Okabe and K. Ito, "Color Universal Design" (2008),
//! which people with any colour vision tell apart.

mod axis;
mod bars;
mod canvas;
mod pareto;
mod plot;
mod spans;
#[cfg(test)]
mod tests;

pub use bars::{Bar, Bars};
pub use pareto::pareto_front;
pub use plot::{Axis, Join, Plot, Point, Series};
pub use spans::{Span, Spans};

/// The size of letters, in the chart's units.
const FONT: f64 = 13.0;
/// Colours of series and segments in order, repeated from the first.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a7a7a",
];
/// Of axes, letters and outlines.
const INK: &str = "#222222";
/// Of the lines behind marks.
const GRID: &str = "#dddddd";

/// How wide a text is about, at [`FONT`]: letters of proportional fonts are a little more than half
/// as wide as high.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * FONT * 0.56
}

/// Where the entries of a legend stand: rows from the left, wrapped at `width`. Gives each entry's
/// column and row, and the number of rows.
fn legend_places(names: &[&str], width: f64) -> (Vec<(f64, usize)>, usize) {
    const SAMPLE: f64 = 36.0;
    const GAP: f64 = 14.0;
    let (mut x, mut row) = (0.0, 0);
    let mut places = Vec::new();
    for name in names {
        let own = SAMPLE + text_width(name);
        if x > 0.0 && x + own > width {
            x = 0.0;
            row += 1;
        }
        places.push((x, row));
        x += own + GAP;
    }
    let rows = if names.is_empty() { 0 } else { row + 1 };
    (places, rows)
}
