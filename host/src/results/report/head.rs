//! What a page begins with: which run it is of, where that stands, and the way to its parts.
use super::body::SECTIONS;
use super::page::Page;
use super::seen::Seen;
use crate::model::states::{RunState, TaskCounts};
use crate::model::time::{since, span};
use std::io;

/// Everything before the parts: what the page is of.
pub(super) fn write(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    let run = &seen.run;
    page.markup(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    )?;
    let name = run.label.as_ref().map_or_else(|| run.run_id.clone(), |label| format!("{label} ({})", run.run_id));
    page.element("title", &[], format!("{name}, {}", run.workspace))?;
    page.markup("<style>\n")?;
    page.markup(include_str!("style.css"))?;
    page.markup("</style></head>\n<body><a class=\"skip\" href=\"#result\">To the result</a>\n<header>")?;
    page.element("h1", &[], &name)?;
    about(page, seen)?;
    if !run.state.ended() {
        page.element("p", &[("class", &"note")], "The run has not ended: this page says what is recorded so far.")?;
    }
    page.markup("<nav aria-label=\"Parts of this page\">")?;
    for (id, title) in SECTIONS {
        page.element("a", &[("href", &format!("#{id}"))], title)?;
    }
    page.markup("</nav></header>\n<main>\n")
}

/// Which run it is, where it stands, and what was noted of it.
fn about(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    let run = &seen.run;
    page.markup("<dl>")?;
    entry(page, "Workspace", &run.workspace)?;
    entry(page, "Run", &run.run_id)?;
    if let Some(label) = &run.label {
        entry(page, "Label", label)?;
    }
    page.markup("<dt>State</dt><dd>")?;
    let class = match run.state {
        RunState::Completed => "completed",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
        RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling => "live",
    };
    page.element("span", &[("class", &format!("state {class}"))], run.state)?;
    page.text(run.reason.as_ref().map(|reason| format!("({reason})")).unwrap_or_default())?;
    page.markup("</dd>\n")?;
    if let Some(first) = seen.acts.first() {
        entry(page, "Made by", &format!("{} on {}", first.by.user, first.by.host))?;
    }
    entry(page, "Made at", &run.created_at.to_string())?;
    if let Some(ended) = run.ended_at {
        entry(page, "Ended at", &format!("{ended}, after {}", span(ended.0 - run.created_at.0)))?;
    }
    entry(page, "Tasks", &counted(&run.tasks))?;
    for note in seen.acts.iter().filter(|act| act.verb == "note") {
        let text = note.arguments["text"].as_str().unwrap_or_default();
        let after = since(run.created_at, note.at);
        entry(page, "Note", &format!("{text} ({}, {}, {after} after the run was made)", note.by.user, note.at))?;
    }
    page.markup("</dl>\n")
}

/// How many tasks there are, and in which states.
fn counted(counts: &TaskCounts) -> String {
    let words = [
        (counts.completed, "completed"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.skipped, "skipped"),
        (counts.running, "running"),
        (counts.pending, "pending"),
    ];
    let words = words.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    let words = words.collect::<Vec<_>>().join(", ");
    format!("{}{}{words}", counts.total, if words.is_empty() { "" } else { ": " })
}

fn entry(page: &mut Page<'_>, name: &'static str, text: &str) -> io::Result<()> {
    page.element("dt", &[], name)?;
    page.element("dd", &[], text)
}
