//! The graph as a picture: columns from left to right, each task right of all that it waits for.
use super::{Graph, Node};
use crate::ground::words::{one_line, shortened};
use crate::model::states::TaskState;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// Boxes that a picture may have: nobody can read more.
pub const BOXES_MAX: usize = 2000;

/// Columns of a name that are shown; the whole stands in the title of its box.
const LETTERS: usize = 36;
/// Sizes in pixels: of a letter, of a box, and of what is between them.
const LETTER: usize = 8;
const HEIGHT: usize = 44;
const BETWEEN: usize = 16;
const BESIDE: usize = 64;
/// How often columns are ordered by what they are joined to.
const SWEEPS: usize = 4;

/// Where a box lies.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
}

impl Graph {
    /// A picture in SVG, which follows the reader's choice of light or dark; nothing if there are more boxes than
    /// [`BOXES_MAX`].
    pub fn svg(&self) -> Option<String> {
        if self.nodes.len() > BOXES_MAX {
            return None;
        }
        let (places, width, height) = self.laid_out();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>Tasks and what they wait for</title>\n<style>{STYLE}</style>\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n"
        );
        for (from, to) in &self.arrows {
            let (from, to) = (places[*from], places[*to]);
            let (x, y) = (from.x + from.width, from.y + HEIGHT / 2);
            let (end, down) = (to.x, to.y + HEIGHT / 2);
            // one that leads back, between folded tasks, goes around no box: it is rare, and still ends where it should
            let bend = BESIDE / 2;
            let before = end.saturating_sub(bend);
            let _ =
                writeln!(svg, "<path class=\"arrow\" d=\"M{x} {y}C{} {y} {before} {down} {end} {down}\"/>", x + bend);
        }
        for (node, place) in self.nodes.iter().zip(&places) {
            svg += &drawn(node, *place);
        }
        Some(svg + "</svg>\n")
    }

    /// Where each box lies, and how wide and high the picture is.
    fn laid_out(&self) -> (Vec<Place>, usize, usize) {
        let mut places = vec![Place::default(); self.nodes.len()];
        let (mut x, mut height) = (BETWEEN, 0);
        let columns = self.columns();
        let tallest = columns.iter().map(Vec::len).max().unwrap_or_default() * (HEIGHT + BETWEEN);
        for column in columns {
            let letters = |place: &usize| {
                let node = &self.nodes[*place];
                shown(&node.name).width().max(node.words().width())
            };
            let width = column.iter().map(letters).max().unwrap_or_default() * LETTER + 2 * BETWEEN;
            let mut y = BETWEEN + (tallest - column.len() * (HEIGHT + BETWEEN)) / 2;
            for place in column {
                places[place] = Place { x, y, width };
                y += HEIGHT + BETWEEN;
            }
            height = height.max(y);
            x += width + BESIDE;
        }
        (places, (x + BETWEEN).saturating_sub(BESIDE).max(2 * BETWEEN), height.max(2 * BETWEEN))
    }

    /// The columns, each ordered so that arrows run as level as can be had cheaply.
    fn columns(&self) -> Vec<Vec<usize>> {
        let column_of = self.column_of_each();
        let mut columns = vec![Vec::new(); column_of.iter().max().map_or(0, |last| last + 1)];
        for (place, column) in column_of.iter().enumerate() {
            columns[*column].push(place);
        }
        let (mut before, mut after) = (vec![Vec::new(); self.nodes.len()], vec![Vec::new(); self.nodes.len()]);
        for (from, to) in &self.arrows {
            before[*to].push(*from);
            after[*from].push(*to);
        }
        let mut level = vec![0.0; self.nodes.len()];
        let settle = |column: &mut Vec<usize>, joined: &[Vec<usize>], level: &mut [f64]| {
            let mean = |place: usize, level: &[f64]| match joined[place].as_slice() {
                [] => level[place],
                others => others.iter().map(|other| level[*other]).sum::<f64>() / others.len() as f64,
            };
            column.sort_by(|a, b| mean(*a, level).total_cmp(&mean(*b, level)));
            let middle = column.len() as f64 / 2.0;
            for (row, place) in column.iter().enumerate() {
                level[*place] = row as f64 - middle;
            }
        };
        for sweep in 0..SWEEPS {
            match sweep % 2 {
                0 => columns.iter_mut().for_each(|column| settle(column, &before, &mut level)),
                _ => columns.iter_mut().rev().for_each(|column| settle(column, &after, &mut level)),
            }
        }
        columns
    }

    /// The column of each node: one right of the last that it waits for. Folded tasks may wait for each other; then the
    /// one that was planned first stands left.
    fn column_of_each(&self) -> Vec<usize> {
        let mut waits = vec![0_usize; self.nodes.len()];
        let mut after = vec![Vec::new(); self.nodes.len()];
        for (from, to) in &self.arrows {
            waits[*to] += 1;
            after[*from].push(*to);
        }
        let mut column = vec![0; self.nodes.len()];
        let mut done = vec![false; self.nodes.len()];
        let mut ready: Vec<usize> = (0..self.nodes.len()).rev().filter(|place| waits[*place] == 0).collect();
        loop {
            let next = ready.pop().or_else(|| done.iter().position(|done| !done));
            let Some(place) = next else { return column };
            if std::mem::replace(&mut done[place], true) {
                continue;
            }
            for to in after[place].iter().filter(|to| !done[**to]).copied().collect::<Vec<_>>() {
                column[to] = column[to].max(column[place] + 1);
                waits[to] = waits[to].saturating_sub(1);
                if waits[to] == 0 {
                    ready.push(to);
                }
            }
        }
    }
}

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.words{font-size:11px;fill:#4a5159}\
     rect{fill:#fff;stroke:#6b7480;stroke-width:1.5}.arrow{fill:none;stroke:#8b949e;marker-end:url(#tip)}.tip{fill:#8b949e}\
     .completed rect{stroke:#1a7f37}.failed rect{stroke:#cf222e;stroke-width:2.5}.running rect{stroke:#0969da}\
     .skipped rect,.cancelled rect{stroke-dasharray:4 3}\
     @media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e6edf3}.words{fill:#9da7b3}rect{fill:#161b22}}";

/// A box, its colour that of the state which most wants to be seen.
fn drawn(node: &Node, place: Place) -> String {
    use TaskState::{Cancelled, Completed, Failed, Pending, Running, Skipped};
    let Place { x, y, width } = place;
    let seen = [Failed, Running, Pending, Cancelled, Skipped, Completed];
    let state = seen.into_iter().find(|state| node.states.contains_key(state)).map_or("", TaskState::as_str);
    let words = node.words();
    format!(
        "<g class=\"{state}\"><title>{} ({words})</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" \
         rx=\"6\"/><text x=\"{}\" y=\"{}\">{}</text><text class=\"words\" x=\"{}\" y=\"{}\">{words}</text></g>\n",
        escaped(&node.name),
        x + BETWEEN,
        y + 19,
        escaped(&shown(&node.name)),
        x + BETWEEN,
        y + 35,
    )
}

/// A name as there is room for it.
fn shown(name: &str) -> String {
    shortened(&one_line(name), LETTERS, true)
}

/// A text as SVG has it.
fn escaped(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
