//! Scatter and line plots.

use super::axis::Scale;
use super::canvas::{Anchor, Canvas, number, polyline};
use super::{COLOURS, FONT, GRID, INK, legend_places, pareto_front, text_width};

/// Half the extent of a mark.
const MARK: f64 = 4.5;
/// Marks on a line of many points.
const MARKS_A_LINE: usize = 6;

/// A plot of series over two axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plot {
    /// Unique on the page; begins with a letter.
    pub id: String,
    /// What is shown.
    pub title: String,
    /// The plot in words, for whom does not see it.
    pub description: String,
    /// Width and height of the picture without its legend.
    pub size: [f64; 2],
    /// To the right.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// What is drawn, in the order of the legend.
    pub series: Vec<Series>,
    /// Marks the points of all series that no other beats by less `x` and more `y`, under this name.
    pub front: Option<String>,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What it measures, and the unit.
    pub label: String,
    /// A value the axis must reach, besides those of the series.
    pub include: Vec<f64>,
}

impl Axis {
    /// An axis over the values of the series.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            include: Vec::new(),
        }
    }

    /// The same axis, from or up to `value` at least.
    #[must_use]
    pub fn with(mut self, value: f64) -> Self {
        self.include.push(value);
        self
    }
}

/// Whether the points of a series are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// Marks alone.
    #[default]
    Marks,
    /// A line through all points, with some marks to tell it by.
    Line,
}

/// Points that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// Whether they are joined.
    pub join: Join,
    /// In order. Points with a number that is none are not drawn.
    pub points: Vec<Point>,
}

/// A point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Least and greatest `y`, drawn as a bar.
    pub spread: Option<[f64; 2]>,
    /// Written beside the mark if it is on the front, and always told to whom points at it.
    pub label: String,
}

impl Point {
    /// A point without a label.
    pub fn new(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            ..Self::default()
        }
    }

    fn is_drawn(&self) -> bool {
        self.x.is_finite() && self.y.is_finite()
    }
}

/// Where the axes lie.
struct Frame {
    x: Scale,
    y: Scale,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Frame {
    fn at(&self, x: f64, y: f64) -> [f64; 2] {
        [
            self.x.place(x, self.left, self.right),
            self.y.place(y, self.bottom, self.top),
        ]
    }
}

impl Plot {
    /// The plot as an SVG file.
    pub fn svg(&self) -> String {
        let [width, height] = self.size;
        let names: Vec<&str> = (self.series.iter().map(|s| s.name.as_str()))
            .chain(self.front.as_deref())
            .collect();
        let (places, rows) = legend_places(&names, width - 24.0);
        let line = FONT * 1.6;
        let total = height + rows as f64 * line + 8.0;
        let mut canvas = Canvas::new(&self.id, &self.title, &self.description, [width, total]);
        canvas.text(
            [12.0, 22.0],
            Anchor::Start,
            "font-size=\"15\" font-weight=\"600\"",
            &self.title,
        );
        let frame = self.frame();
        self.axes(&mut canvas, &frame);
        let front = self.draw_front(&mut canvas, &frame);
        for (index, series) in self.series.iter().enumerate() {
            draw(&mut canvas, &frame, index, series);
        }
        self.label_front(&mut canvas, &frame, &front);
        for (index, (name, &(x, row))) in names.iter().zip(&places).enumerate() {
            let y = height + line * (row as f64 + 0.5);
            let x = x + 12.0;
            match self.series.get(index) {
                Some(series) => sample(&mut canvas, index, series.join, [x, y]),
                None => {
                    let ends = [[x, y], [x + 28.0, y]];
                    canvas.path(&polyline(&ends), FRONT_LINE);
                    canvas.path(&ring([x + 14.0, y]), FRONT_RING);
                }
            }
            canvas.text([x + 34.0, y + FONT * 0.35], Anchor::Start, "", name);
        }
        canvas.finish()
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        let all = self.series.iter().flat_map(|s| &s.points);
        all.filter(|p| p.is_drawn())
    }

    fn frame(&self) -> Frame {
        let [width, height] = self.size;
        let xs = self.points().map(|p| p.x).chain(self.x.include.clone());
        let ys = self
            .points()
            .flat_map(|p| [Some(p.y), p.spread.map(|s| s[0]), p.spread.map(|s| s[1])])
            .flatten()
            .chain(self.y.include.clone());
        let x = Scale::over(xs, (width / 110.0) as usize);
        let y = Scale::over(ys, (height / 65.0) as usize);
        let widest = y.ticks().map(|(_, t)| text_width(&t)).fold(0.0, f64::max);
        Frame {
            left: 12.0 + FONT * 1.5 + widest + 8.0,
            right: width - 22.0,
            top: 38.0,
            bottom: height - 48.0,
            x,
            y,
        }
    }

    fn axes(&self, canvas: &mut Canvas, frame: &Frame) {
        canvas.open(&format!("stroke=\"{GRID}\" stroke-width=\"1\""));
        for (value, _) in frame.y.ticks() {
            let [_, y] = frame.at(frame.x.low, value);
            canvas.line([frame.left, y], [frame.right, y], "");
        }
        for (value, _) in frame.x.ticks() {
            let [x, _] = frame.at(value, frame.y.low);
            canvas.line([x, frame.top], [x, frame.bottom], "");
        }
        canvas.close();
        let corner = [
            [frame.left, frame.top],
            [frame.left, frame.bottom],
            [frame.right, frame.bottom],
        ];
        let ink = format!("fill=\"none\" stroke=\"{INK}\"");
        canvas.path(&polyline(&corner), &ink);
        for (value, text) in frame.y.ticks() {
            let [_, y] = frame.at(frame.x.low, value);
            let at = [frame.left - 7.0, y + FONT * 0.35];
            canvas.text(at, Anchor::End, "", &text);
        }
        for (value, text) in frame.x.ticks() {
            let [x, _] = frame.at(value, frame.y.low);
            let at = [x, frame.bottom + FONT * 1.4];
            canvas.text(at, Anchor::Middle, "", &text);
        }
        let middle = (frame.left + frame.right) / 2.0;
        let below = [middle, frame.bottom + FONT * 2.9];
        canvas.text(below, Anchor::Middle, "", &self.x.label);
        let (x, y) = (12.0 + FONT * 0.8, (frame.top + frame.bottom) / 2.0);
        let turn = format!("transform=\"rotate(-90 {} {})\"", number(x), number(y));
        canvas.text([x, y], Anchor::Middle, &turn, &self.y.label);
        if self.points().next().is_none() {
            canvas.text([middle, y], Anchor::Middle, "", "no data");
        }
    }

    /// Draws the line and the rings of the front and gives its points.
    fn draw_front(&self, canvas: &mut Canvas, frame: &Frame) -> Vec<&Point> {
        if self.front.is_none() {
            return Vec::new();
        }
        let all: Vec<&Point> = self.points().collect();
        let costs: Vec<(f64, f64)> = all.iter().map(|p| (p.x, p.y)).collect();
        let front: Vec<&Point> = pareto_front(&costs).into_iter().map(|i| all[i]).collect();
        // From point to point the best that can be had is the cheaper one: a stair.
        let mut stair: Vec<[f64; 2]> = Vec::new();
        for point in &front {
            let at = frame.at(point.x, point.y);
            if let Some(&[_, y]) = stair.last() {
                stair.push([at[0], y]);
            }
            stair.push(at);
        }
        if !stair.is_empty() {
            canvas.path(&polyline(&stair), FRONT_LINE);
        }
        for point in &front {
            canvas.path(&ring(frame.at(point.x, point.y)), FRONT_RING);
        }
        front
    }

    /// Writes the labels of the front's points above and to the left of them, where by definition
    /// no other point lies.
    fn label_front(&self, canvas: &mut Canvas, frame: &Frame, front: &[&Point]) {
        let labelled: Vec<&&Point> = front.iter().filter(|p| !p.label.is_empty()).collect();
        for alike in labelled.chunk_by(|a, b| (a.x, a.y) == (b.x, b.y)) {
            let [x, y] = frame.at(alike[0].x, alike[0].y);
            let short: Vec<&str> = (alike.iter())
                .filter_map(|p| p.label.split(':').next())
                .collect();
            let short = &short.join(", ");
            // At the left edge there is room to the right alone.
            let (anchor, x) = if x - 7.0 - text_width(short) * 0.85 < frame.left {
                (Anchor::Start, x - 2.0)
            } else {
                (Anchor::End, x - 7.0)
            };
            canvas.text([x, y - 8.0], anchor, "font-size=\"11\"", short);
        }
    }
}

const FRONT_LINE: &str =
    "fill=\"none\" stroke=\"#222222\" stroke-width=\"1\" stroke-dasharray=\"2 3\"";
const FRONT_RING: &str = "fill=\"none\" stroke=\"#222222\" stroke-width=\"1\"";

/// A circle about a mark.
fn ring([x, y]: [f64; 2]) -> String {
    circle([x, y], MARK + 4.0)
}

fn circle([x, y]: [f64; 2], radius: f64) -> String {
    let (r, across) = (number(radius), number(2.0 * radius));
    format!(
        "M{} {} a{r} {r} 0 1 0 {across} 0 a{r} {r} 0 1 0 -{across} 0 Z",
        number(x - radius),
        number(y)
    )
}

/// One of eight shapes, of about equal area.
fn mark(index: usize, [x, y]: [f64; 2]) -> String {
    let corners: &[[f64; 2]] = match index % 8 {
        0 => return circle([x, y], MARK),
        1 => &[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
        2 => &[[0.0, -1.3], [1.2, 0.9], [-1.2, 0.9]],
        3 => &[[0.0, -1.3], [1.3, 0.0], [0.0, 1.3], [-1.3, 0.0]],
        4 => &[[0.0, 1.3], [1.2, -0.9], [-1.2, -0.9]],
        // A plus, an upright cross's outline.
        5 => &[
            [-0.4, -1.2],
            [0.4, -1.2],
            [0.4, -0.4],
            [1.2, -0.4],
            [1.2, 0.4],
            [0.4, 0.4],
            [0.4, 1.2],
            [-0.4, 1.2],
            [-0.4, 0.4],
            [-1.2, 0.4],
            [-1.2, -0.4],
            [-0.4, -0.4],
        ],
        // The same, turned by 45 degrees.
        6 => &[
            [0.0, -0.55],
            [0.57, -1.12],
            [1.12, -0.57],
            [0.55, 0.0],
            [1.12, 0.57],
            [0.57, 1.12],
            [0.0, 0.55],
            [-0.57, 1.12],
            [-1.12, 0.57],
            [-0.55, 0.0],
            [-1.12, -0.57],
            [-0.57, -1.12],
        ],
        _ => &[
            [0.0, -1.3],
            [1.24, -0.4],
            [0.76, 1.05],
            [-0.76, 1.05],
            [-1.24, -0.4],
        ],
    };
    let points: Vec<[f64; 2]> = corners
        .iter()
        .map(|[dx, dy]| [x + dx * MARK, y + dy * MARK])
        .collect();
    polyline(&points) + " Z"
}

/// How a series' marks look: filled, and hollow once all shapes are used.
fn mark_style(index: usize) -> String {
    let colour = COLOURS[index % COLOURS.len()];
    if (index / 8).is_multiple_of(2) {
        format!("fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"0.7\"")
    } else {
        format!("fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"1.6\"")
    }
}

/// How a series' line looks.
fn line_style(index: usize) -> String {
    const DASHES: [&str; 5] = ["", "7 3", "2 2.5", "9 3 2 3", "14 4"];
    let colour = COLOURS[index % COLOURS.len()];
    let dashes = match DASHES[index % DASHES.len()] {
        "" => String::new(),
        dashes => format!(" stroke-dasharray=\"{dashes}\""),
    };
    format!(
        "fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dashes}"
    )
}

fn draw(canvas: &mut Canvas, frame: &Frame, index: usize, series: &Series) {
    let drawn: Vec<&Point> = series.points.iter().filter(|p| p.is_drawn()).collect();
    let places: Vec<[f64; 2]> = drawn.iter().map(|p| frame.at(p.x, p.y)).collect();
    if series.join == Join::Line && places.len() > 1 {
        canvas.path(&polyline(&places), &line_style(index));
    }
    canvas.open(&mark_style(index));
    let every = match series.join {
        Join::Marks => 1,
        Join::Line => places.len().div_ceil(MARKS_A_LINE).max(1),
    };
    for (i, (point, &place)) in drawn.iter().zip(&places).enumerate() {
        if let Some([low, high]) = point.spread {
            let ends = [frame.at(point.x, low), frame.at(point.x, high)];
            let colour = COLOURS[index % COLOURS.len()];
            let style = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\"");
            canvas.path(&polyline(&ends), &style);
        }
        // The marks of lines that run together stand at different points.
        let marked = i % every == index % every || i + 1 == places.len();
        if !marked {
            continue;
        }
        let shape = mark(index, place);
        if point.label.is_empty() {
            canvas.path(&shape, "");
        } else {
            canvas.titled_path(&shape, "", &point.label);
        }
    }
    canvas.close();
}

/// A series in the legend.
fn sample(canvas: &mut Canvas, index: usize, join: Join, [x, y]: [f64; 2]) {
    if join == Join::Line {
        canvas.path(&polyline(&[[x, y], [x + 28.0, y]]), &line_style(index));
    }
    canvas.path(&mark(index, [x + 14.0, y]), &mark_style(index));
}
