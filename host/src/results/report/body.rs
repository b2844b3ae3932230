//! The parts of a page, from its head to the table of tasks.
use super::chart::shortened;
use super::page::{Page, numbers_of, words_of};
use super::scale::number;
use super::seen::{DECISIONS, FAILURES, Line, Seen};
use super::{figures, value};
use crate::model::evidence::Resources;
use crate::model::states::{RunState, TaskCounts, TaskState};
use crate::model::time::{since, span};
use crate::results::said::last_words;
use crate::run::RunDir;
use std::io;

/// Tasks of one table: browsers lay out only those tables that are seen.
const PART: usize = 500;
/// The longest sentence in a table, in characters.
const SENTENCE: usize = 300;

/// Writes the whole page.
pub(super) fn write(page: &mut Page<'_>, dir: &RunDir, seen: &Seen) -> io::Result<()> {
    head(page, seen)?;
    section(page, "result", "Result")?;
    result(page, seen)?;
    section(page, "figures", "Figures")?;
    figures::write(page, seen)?;
    section(page, "timeline", "When attempts ran")?;
    seen.timeline.write(page, 0)?;
    section(page, "failures", "Failures")?;
    failures(page, dir, seen)?;
    section(page, "decisions", "Decisions")?;
    decisions(page, seen)?;
    section(page, "resources", "Resources")?;
    resources(page, seen)?;
    section(page, "environment", "Environment")?;
    environment(page, seen)?;
    section(page, "tasks", "Tasks")?;
    tasks(page, seen)?;
    page.markup("</main></body></html>\n")
}

fn section(page: &mut Page<'_>, id: &'static str, title: &'static str) -> io::Result<()> {
    page.element("h2", &[("id", &id)], title)
}

/// Everything before the parts: what the page is of.
fn head(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    let run = &seen.run;
    page.markup(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
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
    page.markup(
        "<nav aria-label=\"Parts of this page\"><a href=\"#result\">Result</a><a href=\"#figures\">Figures</a>\
         <a href=\"#timeline\">Timeline</a><a href=\"#failures\">Failures</a><a href=\"#decisions\">Decisions</a>\
         <a href=\"#resources\">Resources</a><a href=\"#environment\">Environment</a><a href=\"#tasks\">Tasks</a>\
         </nav></header>\n<main>\n",
    )
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

fn result(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    if let Some(line) = seen.run.summary.as_ref().and_then(|summary| summary.text.as_ref()) {
        page.paragraph(line)?;
    }
    match &seen.run.result {
        Some(result) => value::write(page, "What the campaign ended with", result),
        None => page.paragraph("The campaign has given no result."),
    }
}

fn failures(page: &mut Page<'_>, dir: &RunDir, seen: &Seen) -> io::Result<()> {
    if seen.failures.is_empty() {
        return page.paragraph("No task failed.");
    }
    for end in &seen.failures {
        page.element("h3", &[], &end.task)?;
        page.paragraph(end.reason.as_deref().unwrap_or("no reason is recorded"))?;
        let Some(last) = &end.last else { continue };
        let place = format!("operator {}, attempt {}, {}", end.operator, last.number, last.directory);
        page.element("p", &[("class", &"soft")], place)?;
        let said = last_words(&dir.join(&last.directory), &end.spec);
        if !said.is_empty() {
            page.markup("<p class=\"soft\">It wrote last to standard error:</p><pre>")?;
            page.lines(&said.join("\n"))?;
            page.close("pre")?;
        }
    }
    let more = seen.run.tasks.failed.saturating_sub(FAILURES as u64);
    if more > 0 { page.paragraph(format!("and {more} more, in the table of tasks")) } else { Ok(()) }
}

fn decisions(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    if seen.decisions.is_empty() {
        return page.paragraph("The campaign has decided nothing.");
    }
    let columns = [numbers_of("number"), words_of("at"), numbers_of("iteration"), words_of("next"), words_of("why")];
    let rows = seen.decisions.iter().map(|one| {
        let why = one.reason.as_ref().or(one.error.as_ref()).map(|why| shortened(why, SENTENCE));
        let next = one.next.clone().unwrap_or_else(|| one.outcome.as_str().to_owned());
        vec![one.number.to_string(), one.at.to_string(), one.iteration.to_string(), next, why.unwrap_or_default()]
    });
    page.table("What the campaign decided", &columns, &rows.collect::<Vec<_>>(), 0)?;
    if seen.decisions.len() == DECISIONS {
        page.paragraph("Of more decisions the first and the last are shown; `matterstack evidence` has them all.")?;
    }
    Ok(())
}

fn resources(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    let columns = [
        words_of("operator"),
        numbers_of("attempts"),
        numbers_of("reused"),
        numbers_of("core hours"),
        numbers_of("wasted core hours"),
        numbers_of("CPU hours"),
        numbers_of("peak memory / MiB"),
        numbers_of("queued, median / s"),
        numbers_of("queued, longest / s"),
    ];
    let row = |name: &str, of: &Resources| {
        let some = |value: Option<f64>| value.map(number).unwrap_or_default();
        vec![
            name.to_owned(),
            of.attempts.to_string(),
            of.reused.to_string(),
            number(of.core_hours),
            number(of.wasted_core_hours),
            number(of.cpu_hours),
            of.memory_peak_mb.map(|mb| mb.to_string()).unwrap_or_default(),
            some(of.queued_median_s),
            some(of.queued_max_s),
        ]
    };
    let mut rows: Vec<_> = seen.resources.operators.iter().map(|(name, of)| row(name, of)).collect();
    rows.push(row("all", &seen.resources.total));
    page.paragraph(
        "Core hours are the cores that tasks asked for, times how long their jobs ran; wasted are those of attempts \
         that failed or were lost. What a backend does not tell counts as nothing.",
    )?;
    page.table("What jobs took of machines", &columns, &rows, 0)
}

fn environment(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    for one in &seen.environments {
        let rows: Vec<Vec<String>> =
            one.variables.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
        let caption = format!("Environment {} on {}", one.environment, one.host);
        page.table(&caption, &[words_of("variable"), words_of("value")], &rows, 0)?;
    }
    let rows: Vec<Vec<String>> = seen
        .engines
        .iter()
        .map(|one| {
            let engine = &one.engine;
            vec![engine.version.clone(), engine.contract.clone(), engine.runtime.clone(), engine.target.clone()]
        })
        .collect();
    let columns = ["matterstack", "contract of plugins", "runtime", "machine"].map(words_of);
    page.table("What carried out the campaign's decisions", &columns, &rows, 0)
}

fn tasks(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    let (shown, total) = (&seen.tasks.shown, seen.run.tasks.total);
    if shown.is_empty() {
        return page.paragraph("No task was planned.");
    }
    if seen.tasks.some {
        page.paragraph(format!(
            "{} of {total} tasks: those that failed, are stale or took earlier results, as far as there is room, and \
             those that ran longest. `matterstack table` has them all.",
            shown.len(),
        ))?;
    }
    let columns = [
        words_of("task"),
        numbers_of("iteration"),
        words_of("operator"),
        words_of("state"),
        numbers_of("attempts"),
        numbers_of("queued / s"),
        numbers_of("ran / s"),
        numbers_of("memory / MiB"),
        words_of("node"),
        words_of("why"),
    ];
    let parts = shown.len().div_ceil(PART);
    for (place, part) in shown.chunks(PART).enumerate() {
        page.markup("<div class=\"part\">")?;
        let caption = if parts > 1 { format!("Tasks, part {} of {parts}", place + 1) } else { "Tasks".to_owned() };
        page.begin_table(&caption, &columns)?;
        part.iter().try_for_each(|line| page.row(&columns, &cells(line)))?;
        page.end_table()?;
        page.markup("</div>\n")?;
    }
    Ok(())
}

fn cells(line: &Line) -> [String; 10] {
    let seconds = |ms: Option<i64>| ms.map(|ms| number(ms as f64 / 1000.0)).unwrap_or_default();
    let state = match (&line.reused, line.stale) {
        (_, true) => format!("{} (stale)", line.state),
        (Some(run), false) if line.state == TaskState::Completed => format!("{} (reused from {run})", line.state),
        (Some(_) | None, false) => line.state.to_string(),
    };
    [
        line.task.clone(),
        line.iteration.to_string(),
        line.operator.clone(),
        state,
        line.attempts.to_string(),
        seconds(line.queued_ms),
        seconds(line.ran_ms),
        line.memory_mb.map(|mb| mb.to_string()).unwrap_or_default(),
        line.node.clone().unwrap_or_default(),
        line.reason.as_deref().map(|reason| shortened(reason, SENTENCE)).unwrap_or_default(),
    ]
}
