//! Figures of values: what came over time, and two objectives against each other. Without a script: what a point is
//! stands in its title, and the numbers stand beside.
use super::page::Page;
use super::scale::{Kind, Scale, number, tenth};
use std::fmt::Display;
use std::io;

pub(super) const WIDTH: f64 = 720.0;
pub(super) const HEIGHT: f64 = 340.0;
/// What is left of the drawing, for the numbers of the axis.
pub(super) const LEFT: f64 = 84.0;
/// What is right of it.
pub(super) const RIGHT: f64 = 16.0;
/// What is above it.
const TOP: f64 = 14.0;
/// What is below it.
const BOTTOM: f64 = 52.0;
/// Points that are drawn; of more, the least and the largest of each stretch.
const POINTS: usize = 2000;
/// Points that have a title of their own.
const TITLED: usize = 500;

/// A value that is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dot {
    pub(super) x: f64,
    pub(super) y: f64,
    /// What it is of.
    pub(super) of: String,
    /// Whether it is drawn as one that stands out.
    pub(super) stands_out: bool,
}

/// A figure of values over an axis.
pub(super) struct Chart<'a> {
    pub(super) title: String,
    /// What is to be seen, in a sentence or two.
    pub(super) description: String,
    pub(super) x: (&'a str, Kind),
    pub(super) y: &'a str,
    pub(super) dots: &'a [Dot],
    /// A line of steps, from left to right.
    pub(super) steps: &'a [(f64, f64)],
}

impl Chart<'_> {
    /// Draws it.
    pub(super) fn draw(&self, page: &mut Page<'_>) -> io::Result<()> {
        let on_x = self.dots.iter().map(|dot| dot.x).chain(self.steps.iter().map(|step| step.0));
        let on_y = self.dots.iter().map(|dot| dot.y).chain(self.steps.iter().map(|step| step.1));
        let x = Scale::of(on_x, self.x.1, (LEFT, WIDTH - RIGHT));
        let y = Scale::of(on_y, Kind::Values, (HEIGHT - BOTTOM, TOP));
        begin(page, HEIGHT, &self.title, &self.description)?;
        self.axes(page, &x, &y)?;
        if let Some((first, rest)) = self.steps.split_first() {
            let mut path = format!("M{} {}", x.at(first.0), y.at(first.1));
            for (at, value) in rest {
                path += &format!("H{}V{}", x.at(*at), y.at(*value));
            }
            page.element("path", &[("class", &"best"), ("d", &path)], "")?;
        }
        let drawn = thinned(self.dots);
        for dot in &drawn {
            mark(page, (x.at(dot.x), y.at(dot.y)), dot, drawn.len() <= TITLED)?;
        }
        page.close("svg")
    }

    fn axes(&self, page: &mut Page<'_>, x: &Scale, y: &Scale) -> io::Result<()> {
        for tick in y.ticks(Kind::Values) {
            let at = y.at(tick);
            line(page, "grid", (LEFT, at), (WIDTH - RIGHT, at))?;
            label(page, "end", (LEFT - 8.0, at + 4.0), number(tick))?;
        }
        let floor = HEIGHT - BOTTOM;
        for tick in x.ticks(self.x.1) {
            let at = x.at(tick);
            line(page, "axis", (at, floor), (at, floor + 5.0))?;
            label(page, "middle", (at, floor + 20.0), number(tick))?;
        }
        line(page, "axis", (LEFT, floor), (WIDTH - RIGHT, floor))?;
        line(page, "axis", (LEFT, TOP), (LEFT, floor))?;
        label(page, "middle", ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0), axis(self.x.0, x))?;
        let (at_x, at_y) = (16.0, tenth((TOP + floor) / 2.0));
        let turned = format!("rotate(-90 {at_x} {at_y})");
        let text = shortened(&axis(self.y, y), 44);
        page.element("text", &[("class", &"middle"), ("x", &at_x), ("y", &at_y), ("transform", &turned)], text)
    }
}

fn axis(name: &str, scale: &Scale) -> String {
    if scale.is_log() { format!("{name} (logarithmic)") } else { name.to_owned() }
}

/// Begins a drawing that a reader of screens is told about.
pub(super) fn begin(page: &mut Page<'_>, height: f64, title: &str, description: &str) -> io::Result<()> {
    let id = page.next_figure();
    let (named, view) = (format!("figure-{id}-title figure-{id}-text"), format!("0 0 {WIDTH} {height}"));
    page.open("svg", &[("role", &"img"), ("aria-labelledby", &named), ("viewBox", &view)])?;
    page.element("title", &[("id", &format!("figure-{id}-title"))], title)?;
    page.element("desc", &[("id", &format!("figure-{id}-text"))], description)
}

/// Draws a line.
pub(super) fn line(page: &mut Page<'_>, class: &'static str, from: (f64, f64), to: (f64, f64)) -> io::Result<()> {
    page.element("line", &[("class", &class), ("x1", &from.0), ("y1", &from.1), ("x2", &to.0), ("y2", &to.1)], "")
}

/// Writes a text beside, below or behind a place.
pub(super) fn label(page: &mut Page<'_>, class: &'static str, at: (f64, f64), text: impl Display) -> io::Result<()> {
    page.element("text", &[("class", &class), ("x", &tenth(at.0)), ("y", &tenth(at.1))], text)
}

fn mark(page: &mut Page<'_>, (x, y): (f64, f64), dot: &Dot, titled: bool) -> io::Result<()> {
    if dot.stands_out {
        let path = format!("M{} {y}L{x} {}L{} {y}L{x} {}Z", x - 6.0, y - 6.0, x + 6.0, y + 6.0);
        page.open("path", &[("class", &"out"), ("d", &path)])?;
    } else {
        page.open("circle", &[("class", &"dot"), ("cx", &x), ("cy", &y), ("r", &3)])?;
    }
    if titled {
        page.element("title", &[], format!("{}: {}", dot.of, number(dot.y)))?;
    }
    page.close(if dot.stands_out { "path" } else { "circle" })
}

/// Of too many points the least and the largest of each stretch, and those that stand out.
fn thinned(dots: &[Dot]) -> Vec<&Dot> {
    let stretch = dots.len().div_ceil(POINTS / 2);
    if dots.len() <= POINTS {
        return dots.iter().collect();
    }
    let mut kept = Vec::new();
    for part in dots.chunks(stretch) {
        let least = part.iter().min_by(|one, other| one.y.total_cmp(&other.y));
        let largest = part.iter().max_by(|one, other| one.y.total_cmp(&other.y));
        kept.extend(least.into_iter().chain(largest));
    }
    let out = dots.iter().filter(|dot| dot.stands_out);
    kept.extend(out.take(POINTS / 2));
    kept
}

/// A text of at most so many characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}
