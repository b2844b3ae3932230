//! Printing: data to standard output, everything else to standard error.
use crate::failure::Failure;
use crate::ground::words;
use crate::model::time::Time;
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

/// A table with a heading.
pub(super) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    Listing::new(heading).rows(rows)
}

/// A table that is printed in portions: each is as wide as those before it, or wider.
pub(super) struct Listing {
    heading: Option<Vec<String>>,
    widths: Vec<u16>,
}

impl Listing {
    /// One with this heading, which stands above the first portion.
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { heading: Some(heading.iter().map(|&word| word.to_owned()).collect()), widths: Vec::new() }
    }

    /// The next portion.
    pub(super) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if let Some(heading) = self.heading.take() {
            table.set_header(heading);
        }
        for row in rows {
            table.add_row(row.into_iter().map(|cell| one_line(&cell)).collect::<Vec<_>>());
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
