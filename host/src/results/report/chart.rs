//! Figures of values: what came over time, and two objectives against each other. Without a script: what a point is
//! stands in its title, and the numbers stand beside.
use super::scale::{Kind, Scale, number};
use minijinja::{Value, context};

pub(super) const HEIGHT: f64 = 340.0;
/// Where what is drawn ends to the right, of a width of 720.
pub(super) const RIGHT: f64 = 704.0;
/// Points that are drawn; of more, the least and the largest of each stretch.
const POINTS: usize = 2000;
/// Points that have a title of their own.
const TITLED: usize = 500;

/// Where the axes of a figure are, beside its height.
const FRAME: Frame = Frame { height: HEIGHT, left: 84.0, top: 14.0, floor: HEIGHT - 52.0 };

/// How high a drawing is, and where in it the axes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) floor: f64,
}

impl Frame {
    /// It as drawings are given it.
    pub(super) fn view(self) -> Value {
        let Self { height, left, top, floor } = self;
        context! { width => 720, height, left, right => RIGHT, top, floor }
    }
}

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
    /// The table beside it.
    pub(super) numbers: Value,
}

impl Chart<'_> {
    /// What it is drawn from.
    pub(super) fn view(self) -> Value {
        let Frame { left, top, floor, .. } = FRAME;
        let on_x = self.dots.iter().map(|dot| dot.x).chain(self.steps.iter().map(|step| step.0));
        let on_y = self.dots.iter().map(|dot| dot.y).chain(self.steps.iter().map(|step| step.1));
        let x = Scale::of(on_x, self.x.1, (left, RIGHT));
        let y = Scale::of(on_y, Kind::Values, (floor, top));
        let steps = self.steps.split_first().map(|(first, rest)| {
            let begin = format!("M{} {}", x.at(first.0), y.at(first.1));
            rest.iter().fold(begin, |path, (at, value)| format!("{path}H{}V{}", x.at(*at), y.at(*value)))
        });
        let drawn = thinned(self.dots);
        let marks = drawn.iter().map(|dot| {
            let title = (drawn.len() <= TITLED).then(|| format!("{}: {}", dot.of, number(dot.y)));
            (x.at(dot.x), y.at(dot.y), dot.stands_out, title)
        });
        context! {
            title => self.title,
            description => self.description,
            frame => FRAME.view(),
            x => x.axis(&named(self.x.0, &x), self.x.1),
            y => y.axis(&shortened(&named(self.y, &y), 44), Kind::Values),
            steps,
            marks => marks.collect::<Vec<_>>(),
            numbers => self.numbers,
        }
    }
}

fn named(name: &str, scale: &Scale) -> String {
    if scale.is_log() { format!("{name} (logarithmic)") } else { name.to_owned() }
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
