//! How tables stand on a terminal: within its width, with states in colour. What goes to a file or a program is neither
//! shortened nor coloured.
use crate::ground::words::shortened;
use anstyle::AnsiColor;
use std::io::IsTerminal;
use unicode_width::UnicodeWidthStr;

/// The width of a terminal that does not tell it.
const USUAL: usize = 80;
/// What stands around each cell.
const PADDING: usize = 2;
/// What names and paths, texts, and ids are shortened to before columns are left out.
const NAMES_MIN: usize = 12;
const TEXTS_MIN: usize = 16;
const KEYS_MIN: usize = 24;

/// The terminal at standard output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    width: usize,
    colour: bool,
}

impl Terminal {
    /// The terminal, if there is one. `NO_COLOR` and a dumb terminal have no colour.
    pub(super) fn at_stdout() -> Option<Self> {
        let out = std::io::stdout();
        if !out.is_terminal() {
            return None;
        }
        let told = rustix::termios::tcgetwinsize(&out).map_or(0, |size| usize::from(size.ws_col));
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind.is_empty() || kind == "dumb");
        Some(Self { width: if told == 0 { USUAL } else { told }, colour: !no_colour && !dumb })
    }

    /// A word for a state, in its colour.
    pub(super) fn paint(self, state: &str) -> String {
        match colour_of(state).filter(|_| self.colour) {
            Some(colour) => {
                let style = colour.on_default();
                format!("{}{state}{}", style.render(), style.render_reset())
            }
            None => state.to_owned(),
        }
    }
}

/// A word for a state, in its colour where standard output is a terminal that has colours.
pub(super) fn painted(state: &str) -> String {
    Terminal::at_stdout().map_or_else(|| state.to_owned(), |terminal| terminal.paint(state))
}

/// What is good is green, what needs a person red, what waits yellow, and what moves blue.
fn colour_of(state: &str) -> Option<AnsiColor> {
    match state.split(' ').next().unwrap_or_default() {
        "completed" | "ok" => Some(AnsiColor::Green),
        "failed" | "lost" | "unreadable" | "TROUBLE" => Some(AnsiColor::Red),
        "queued" | "held" | "paused" | "waiting_external" | "cancelling" | "WARNING" => Some(AnsiColor::Yellow),
        "active" | "running" => Some(AnsiColor::Blue),
        _ => None,
    }
}

/// What a column does where the terminal is too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// It is as it is, or left out.
    Whole,
    /// It names what the row is about, and is shortened in the middle when nothing else helps.
    Key,
    /// It is shortened in the middle.
    Middle,
    /// It is shortened at its end.
    End,
    /// It goes on a line of its own below the row: what a person reads to the end, or types.
    Below,
}

/// What the column with this heading does; a heading means the same in every table.
fn gives(heading: &str) -> Gives {
    match heading {
        "RUN" | "TASK" => Gives::Key,
        "LABEL" | "WORKSPACE" | "DIRECTORY" | "PATH" | "OPERATOR" | "SOURCE" | "NODE" => Gives::Middle,
        "SUMMARY" => Gives::End,
        "WHY" | "COMMAND THAT HELPS" | "FOUND" | "WHAT HELPS" => Gives::Below,
        _ => Gives::Whole,
    }
}

/// Columns that are left out before others, the first first.
const LEAST: [&str; 6] = ["DIRECTORY", "CREATED", "ITERATION", "OPERATOR", "LABEL", "WORKSPACE"];

/// Where the columns of a table stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// How wide the columns are that stand side by side, by their places.
    beside: Vec<(usize, usize)>,
    /// The columns that go below.
    below: Vec<usize>,
}

impl Layout {
    /// Of columns of these widths, on a terminal.
    pub(super) fn fitting(heading: &[String], widths: &[usize], terminal: Terminal) -> Self {
        let mut layout = Self { beside: widths.iter().copied().enumerate().collect(), below: Vec::new() };
        let too_wide = |layout: &Self| {
            let total: usize = layout.beside.iter().map(|(_, width)| width + PADDING).sum();
            total.saturating_sub(terminal.width)
        };
        let of = |place: usize| heading.get(place).map_or(Gives::Whole, |word| gives(word));
        while too_wide(&layout) > 0
            && let Some(place) = layout.beside.iter().rposition(|(place, _)| of(*place) == Gives::Below)
        {
            layout.below.insert(0, layout.beside.remove(place).0);
        }
        for (kind, least) in [(Gives::End, TEXTS_MIN), (Gives::Middle, NAMES_MIN), (Gives::Key, KEYS_MIN)] {
            layout.shrink(too_wide(&layout), least, |place| of(place) == kind);
        }
        for word in LEAST {
            if too_wide(&layout) > 0 {
                layout.beside.retain(|(place, _)| *place == 0 || heading.get(*place).is_none_or(|other| other != word));
            }
        }
        for (kind, least) in [(Gives::End, NAMES_MIN), (Gives::Key, NAMES_MIN)] {
            layout.shrink(too_wide(&layout), least, |place| of(place) == kind);
        }
        while too_wide(&layout) > 0 && layout.beside.len() > 1 {
            layout.beside.pop();
        }
        layout
    }

    /// Takes so much from the widest of the chosen columns, down to `least` each.
    fn shrink(&mut self, mut excess: usize, least: usize, chosen: impl Fn(usize) -> bool) {
        while excess > 0 {
            let widest = self.beside.iter_mut().filter(|(place, width)| chosen(*place) && *width > least);
            let Some((_, width)) = widest.max_by_key(|(_, width)| *width) else { return };
            *width -= 1;
            excess -= 1;
        }
    }

    /// The headings of columns that are left out.
    pub(super) fn left_out<'a>(&self, heading: &'a [String]) -> Vec<&'a str> {
        let shown = |place: &usize| self.beside.iter().any(|(one, _)| one == place) || self.below.contains(place);
        (0..heading.len()).filter(|place| !shown(place)).map(|place| heading[place].as_str()).collect()
    }

    /// The cells that stand side by side, shortened.
    pub(super) fn beside(&self, heading: &[String], row: &[String]) -> Vec<String> {
        let cell = |(place, width): &(usize, usize)| {
            let text = row.get(*place).map_or("", String::as_str);
            match heading.get(*place).map_or(Gives::Whole, |word| gives(word)) {
                Gives::End => shortened(text, *width, false),
                Gives::Key | Gives::Middle => shortened(text, *width, true),
                Gives::Whole | Gives::Below => text.to_owned(),
            }
        };
        self.beside.iter().map(cell).collect()
    }

    /// The texts that go below a row, those that say something.
    pub(super) fn below<'a>(&self, row: &'a [String]) -> impl Iterator<Item = &'a String> {
        self.below.iter().filter_map(|place| row.get(*place)).filter(|text| !text.is_empty())
    }

    /// The columns that stand side by side.
    pub(super) fn shown(&self) -> impl Iterator<Item = usize> {
        self.beside.iter().map(|(place, _)| *place)
    }
}

/// How wide a text is on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use super::{Layout, Terminal};

    fn words(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn what_is_typed_goes_below_before_anything_is_shortened() {
        let heading = words(&["TASK", "CODE", "WHY", "COMMAND THAT HELPS"]);
        let terminal = Terminal { width: 60, colour: false };
        let layout = Layout::fitting(&heading, &[10, 10, 20, 40], terminal);
        let row = words(&["a", "exit-code", "it failed", "matterstack logs r a"]);
        assert_eq!(layout.beside(&heading, &row), ["a", "exit-code", "it failed"]);
        assert_eq!(layout.below(&row).collect::<Vec<_>>(), ["matterstack logs r a"]);
        let narrow = Layout::fitting(&heading, &[10, 10, 60, 40], terminal);
        assert_eq!(narrow.below(&row).collect::<Vec<_>>(), ["it failed", "matterstack logs r a"]);
        assert!(narrow.left_out(&heading).is_empty());
    }

    #[test]
    fn names_are_shortened_and_what_matters_least_is_left_out() {
        let heading = words(&["RUN", "LABEL", "STATE", "TASKS ENDED", "SUMMARY"]);
        let fit = |width| Layout::fitting(&heading, &[21, 30, 9, 11, 60], Terminal { width, colour: false });
        for width in [20, 40, 60, 80, 120, 200] {
            let total: usize = fit(width).beside.iter().map(|(_, width)| width + 2).sum();
            assert!(total <= width, "{width}: {:?}", fit(width));
        }
        assert!(fit(80).left_out(&heading).is_empty(), "{:?}", fit(80));
        assert_eq!(fit(66).left_out(&heading), ["LABEL"]);
        assert_eq!(fit(200).beside[4], (4, 60), "nothing gives way without need");
    }
}
