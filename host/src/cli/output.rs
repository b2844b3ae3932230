//! Printing: data to standard output, everything else to standard error.
use super::layout::{Layout, Terminal, width};
use crate::failure::Failure;
use crate::ground::words;
use crate::model::evidence::RemovedRecord;
use crate::model::time::Time;
use crate::workspace::now_ms;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use rustix::event::{PollFd, PollFlags};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(super) use crate::ground::words::{lines, one_line};

/// Prints text to standard output. A reader that has gone away is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::machine("standard output", error)),
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&json_text(value)?)
}

/// A value as JSON for people and programs, with escapes for what could command a terminal.
pub(super) fn json_text(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::machine("writing JSON", error))?;
    Ok(words::json(&text).into_owned() + "\n")
}

/// Passes on what a job wrote. A terminal gets it without what could command it; anything else gets every byte. Breaks
/// off when nobody reads any more.
pub(super) fn pass_to_stdout(bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
    let mut out = std::io::stdout().lock();
    let written = match out.is_terminal() {
        true => out.write_all(words::lines(&String::from_utf8_lossy(bytes)).as_bytes()),
        false => out.write_all(bytes),
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::machine("standard output", error)),
    }
}

/// The same to standard error; where that is closed there is nobody to tell.
pub(super) fn pass_to_stderr(bytes: &[u8]) -> ControlFlow<()> {
    let mut err = std::io::stderr().lock();
    let _ = match err.is_terminal() {
        true => err.write_all(words::lines(&String::from_utf8_lossy(bytes)).as_bytes()),
        false => err.write_all(bytes),
    };
    ControlFlow::Continue(())
}

/// Waits for this time, and less if whoever reads standard output goes away; whether that happened.
pub(super) fn reader_went_away(most: Duration) -> bool {
    let out = std::io::stdout();
    let limit = rustix::time::Timespec { tv_sec: most.as_secs() as i64, tv_nsec: i64::from(most.subsec_nanos()) };
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    rustix::event::poll(&mut watched, Some(&limit)).is_ok_and(|found| found > 0)
        && watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether only what went wrong is told.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Tells from here on only what went wrong.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether only what went wrong is told.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Tells something that is not data. What others wrote stands in it on lines of ours.
pub(super) fn tell(text: &str) {
    if is_quiet() && !text.starts_with("warning: ") {
        return;
    }
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{}", words::lines(text));
}

/// A time as RFC 3339 in UTC with milliseconds.
pub(super) fn time(ms: i64) -> String {
    Time(ms).to_string()
}

/// How long ago a moment was; the seconds of the first minute are not counted.
pub(super) fn ago(ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(now_ms() - ms).unwrap_or(0));
    if since < Duration::from_secs(60) { "< 1 min".to_owned() } else { span(since) }
}

/// A moment for a person: the time itself, and how far that is from now.
pub(super) fn when(ms: i64) -> String {
    let ahead = Duration::from_millis(u64::try_from(ms - now_ms()).unwrap_or(0));
    let far = if ahead.is_zero() { format!("{} ago", ago(ms)) } else { format!("in {}", span(ahead)) };
    format!("{} ({far})", time(ms))
}

/// What to say of a file that a person has removed.
pub(super) fn was_removed(file: &RemovedRecord) -> String {
    format!("was removed by `clean` on {} by {}", when(file.at.0), one_line(&file.user))
}

/// A span of time in its largest unit.
pub(super) fn span(span: Duration) -> String {
    match span.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// A table with a heading.
pub(super) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    Listing::new(heading).rows(rows)
}

/// A table that is printed in portions: each is as wide as those before it, or wider. A terminal gets no more than it
/// is wide.
pub(super) struct Listing {
    heading: Vec<String>,
    begun: bool,
    widths: Vec<u16>,
    terminal: Option<Terminal>,
    /// The columns that the first portion left out.
    left_out: Vec<String>,
}

impl Listing {
    /// One with this heading, which stands above the first portion.
    pub(super) fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|&word| word.to_owned()).collect();
        Self { heading, begun: false, widths: Vec::new(), terminal: Terminal::at_stdout(), left_out: Vec::new() }
    }

    /// The next portion.
    pub(super) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let one_line = |row: Vec<String>| row.iter().map(|cell| words::one_line(cell)).collect::<Vec<String>>();
        let rows: Vec<Vec<String>> = rows.into_iter().map(one_line).collect();
        match self.terminal {
            Some(terminal) => self.on_terminal(rows, terminal),
            None => {
                let heading = std::mem::take(&mut self.heading);
                self.aligned(&heading, &rows).concat()
            }
        }
    }

    /// The lines of a portion, the heading first if it has not been printed.
    fn aligned(&mut self, heading: &[String], rows: &[Vec<String>]) -> Vec<String> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if !std::mem::replace(&mut self.begun, true) {
            table.set_header(heading);
        }
        for row in rows {
            table.add_row(row);
        }
        let found = table.column_max_content_widths();
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            let padded = width.saturating_add(column.padding_width());
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(padded)));
        }
        let before = self.widths.iter().copied().chain(std::iter::repeat(0));
        self.widths = found.into_iter().zip(before).map(|(now, before)| now.max(before)).collect();
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn on_terminal(&mut self, mut rows: Vec<Vec<String>>, terminal: Terminal) -> String {
        let kept: Vec<usize> =
            (0..self.heading.len()).filter(|place| !self.left_out.contains(&self.heading[*place])).collect();
        let pick = |row: &[String]| kept.iter().map(|place| row.get(*place).cloned().unwrap_or_default()).collect();
        let heading: Vec<String> = pick(&self.heading);
        rows = rows.iter().map(|row| pick(row)).collect();
        let widest = |place: usize| rows.iter().map(|row| width(&row[place])).max().unwrap_or(0);
        let widths: Vec<usize> =
            heading.iter().enumerate().map(|(place, word)| widest(place).max(width(word))).collect();
        let layout = Layout::fitting(&heading, &widths, terminal);
        if !self.begun {
            let left_out = layout.left_out(&heading);
            if !left_out.is_empty() {
                tell(&format!("left out for want of room: {}; behind a pipe, all is printed", left_out.join(", ")));
            }
            self.left_out = left_out.into_iter().map(str::to_owned).collect();
        }
        let begun = self.begun;
        let shown: Vec<Vec<String>> = rows.iter().map(|row| layout.beside(&heading, row)).collect();
        let words: Vec<String> = layout.shown().map(|place| heading[place].clone()).collect();
        let mut lines = self.aligned(&words, &shown).into_iter();
        let mut text: String = if begun { String::new() } else { lines.next().unwrap_or_default() };
        let state = words.iter().position(|word| word == "STATE" || word.is_empty());
        for ((line, cells), row) in lines.zip(&shown).zip(&rows) {
            text += &match state {
                Some(place) => self.coloured(&line, cells, place, terminal),
                None => line,
            };
            layout.below(row).for_each(|below| text += &format!("    {below}\n"));
        }
        text
    }

    /// A line with the cell at this place in its colour.
    fn coloured(&self, line: &str, cells: &[String], place: usize, terminal: Terminal) -> String {
        let before = |(cell, wide): (&String, &u16)| cell.len() + usize::from(*wide).saturating_sub(width(cell)) + 2;
        let from = cells.iter().zip(&self.widths).take(place).map(before).sum::<usize>() + 1;
        match line.get(from..).and_then(|rest| rest.strip_prefix(cells[place].as_str())) {
            Some(rest) => format!("{}{}{rest}", &line[..from], terminal.paint(&cells[place])),
            None => line.to_owned(),
        }
    }
}

/// A JSON list that is printed in portions, as [`json_text`] prints a whole one.
#[derive(Default)]
pub(super) struct JsonList {
    begun: bool,
}

impl JsonList {
    /// The next portion, with what stands before it.
    pub(super) fn rows(&mut self, rows: &[impl Serialize]) -> Result<String, Failure> {
        let mut text = String::new();
        for row in rows {
            text += if self.begun { ",\n  " } else { "[\n  " };
            self.begun = true;
            // no text within JSON has a line feed of its own
            text += &json_text(row)?.trim_end().replace('\n', "\n  ");
        }
        Ok(text)
    }

    /// What stands behind the last portion.
    pub(super) fn end(self) -> &'static str {
        if self.begun { "\n]\n" } else { "[]\n" }
    }
}
