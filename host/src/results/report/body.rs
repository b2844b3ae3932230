//! The parts of a page, from its head to the table of tasks.
use super::chart::shortened;
use super::page::{Column, Page, numbers_of, words_of};
use super::scale::number;
use super::seen::{DECISIONS, FAILURES, Line, Seen};
use super::{asked, figures, found, head, value};
use crate::model::config::RunConfig;
use crate::model::evidence::{Finding, LogKind, Resources, Verified};
use crate::model::states::TaskState;
use crate::model::time::{Time, since, span};
use crate::results::said::Said;
use std::io;

/// The parts of a page: the id and the title of each.
pub(super) const SECTIONS: [(&str, &str); 12] = [
    ("result", "Result"),
    ("findings", "Findings"),
    ("asked", "What was asked"),
    ("states", "What became of tasks"),
    ("figures", "Figures"),
    ("timeline", "When attempts ran"),
    ("failures", "Failures"),
    ("decisions", "Decisions"),
    ("commands", "Commands"),
    ("resources", "Resources"),
    ("environment", "Environment"),
    ("tasks", "Tasks"),
];
/// Tasks of one table: browsers lay out only those tables that are seen.
const PART: usize = 500;
/// The longest sentence in a table, in characters.
const SENTENCE: usize = 300;
/// Commands that are listed.
const ACTS: usize = 500;
/// Characters of a digest that tell it from others.
const DIGEST: usize = 12;

/// Writes the whole page.
pub(super) fn write(
    page: &mut Page<'_>,
    config: Option<&RunConfig>,
    seen: &Seen,
    compared: Option<&(Verified, Vec<Finding>)>,
) -> io::Result<()> {
    head::write(page, seen)?;
    for (id, title) in SECTIONS {
        page.element("h2", &[("id", &id)], title)?;
        match id {
            "result" => result(page, seen)?,
            "findings" => found::write(page, seen, compared)?,
            "asked" => asked::write(page, config, seen)?,
            "states" => seen.states.write(page)?,
            "figures" => figures::write(page, seen)?,
            "timeline" => seen.timeline.write(page)?,
            "failures" => failures(page, seen)?,
            "decisions" => decisions(page, seen)?,
            "commands" => commands(page, seen)?,
            "resources" => resources(page, seen)?,
            "environment" => environment(page, seen)?,
            _ => tasks(page, seen)?,
        }
    }
    page.markup("</main></body></html>\n")
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

fn failures(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    if seen.failures.is_empty() && seen.bad.is_empty() {
        return page.paragraph("No task failed, and no attempt.");
    }
    for (end, said) in seen.failures.iter().zip(&seen.said) {
        page.element("h3", &[], &end.task)?;
        page.paragraph(end.reason.as_deref().unwrap_or("no reason is recorded"))?;
        let Some(last) = &end.last else { continue };
        let place = format!("operator {}, attempt {}, {}", end.operator, last.number, last.directory);
        page.element("p", &[("class", &"soft")], place)?;
        last_words(page, said)?;
    }
    let more = seen.run.tasks.failed.saturating_sub(FAILURES as u64);
    if more > 0 {
        page.paragraph(format!("and {more} more tasks that failed, in the table of tasks"))?;
    }
    if seen.bad.is_empty() {
        return Ok(());
    }
    page.element("h3", &[], "Attempts that failed or were lost")?;
    let columns = ["task", "attempt", "operator", "state", "started", "ran", "why"].map(words_of);
    let rows = seen.bad.iter().map(|(one, why)| {
        vec![
            one.task.clone(),
            one.number.to_string(),
            one.operator.clone(),
            one.state.to_string(),
            one.started_ms.map(|ms| Time(ms).to_string()).unwrap_or_default(),
            one.ran_ms().map(span).unwrap_or_default(),
            why.as_deref().map(|why| shortened(why, SENTENCE)).unwrap_or_default(),
        ]
    });
    let caption = "Every try that came to nothing, also of tasks that completed later";
    page.listed(caption, &columns, &rows.collect::<Vec<_>>(), seen.bad_more as usize)
}

fn last_words(page: &mut Page<'_>, said: &Said) -> io::Result<()> {
    let soft = |page: &mut Page<'_>, text: &str| page.element("p", &[("class", &"soft")], text);
    match said {
        Said::Nothing => Ok(()),
        Said::Withheld => soft(page, "What it wrote is not shown: its task has a secret."),
        Said::Gone => soft(page, "What it wrote is not there as it was left."),
        Said::Lines(kind, lines) => {
            let output = if *kind == LogKind::Stdout { "output" } else { "error" };
            soft(page, &format!("It wrote last to standard {output}:"))?;
            page.markup("<pre>")?;
            page.lines(&lines.join("\n"))?;
            page.close("pre")
        }
    }
}

fn decisions(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    if seen.decisions.is_empty() {
        return page.paragraph("The campaign has decided nothing.");
    }
    let columns = [
        numbers_of("number"),
        words_of("at"),
        numbers_of("iteration"),
        words_of("next"),
        words_of("why"),
        words_of("decided by"),
    ];
    let rows = seen.decisions.iter().map(|one| {
        let why = one.reason.as_ref().or(one.error.as_ref()).map(|why| shortened(why, SENTENCE));
        let next = one.next.clone().unwrap_or_else(|| one.outcome.as_str().to_owned());
        let by = one.script_sha256.as_ref().unwrap_or(&one.plugin_sha256).chars().take(DIGEST).collect();
        let given = one.supplied.as_ref().map(|given| format!("; a person had supplied {given}"));
        let why = why.unwrap_or_default() + &shortened(&given.unwrap_or_default(), SENTENCE);
        vec![one.number.to_string(), one.at.to_string(), one.iteration.to_string(), next, why, by]
    });
    let rows: Vec<_> = rows.collect();
    page.table("What the campaign decided, and the digest of what decided", &columns, &rows, 0)?;
    if seen.decisions.len() == DECISIONS {
        page.paragraph("Of more decisions the first and the last are shown; `matterstack evidence` has them all.")?;
    }
    Ok(())
}

/// Who did what to the run, when, where and why.
fn commands(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    let columns = ["at", "after", "command", "with", "by", "why"].map(words_of);
    let rows = seen.acts.iter().take(ACTS).map(|act| {
        let by = &act.by;
        let who = format!("{} ({}) on {}", by.user, by.user_id, by.host);
        let with = shortened(&act.arguments.to_string(), SENTENCE);
        let after = since(seen.run.created_at, act.at);
        vec![act.at.to_string(), after, act.verb.clone(), with, who, act.reason.clone().unwrap_or_default()]
    });
    let rows: Vec<_> = rows.collect();
    page.listed("Commands that changed the run", &columns, &rows, seen.acts.len() - rows.len())
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
    page.table("What jobs took of machines", &columns, &rows, 0)?;
    if seen.machines.is_empty() {
        return Ok(());
    }
    let columns = [words_of("machine or node"), numbers_of("tasks"), numbers_of("hours")];
    let hours = |ms: i64| number(ms as f64 / 3_600_000.0);
    let row = |(node, (tasks, ran)): (&String, &(u64, i64))| vec![node.clone(), tasks.to_string(), hours(*ran)];
    let rows: Vec<_> = seen.machines.iter().map(row).collect();
    page.listed("Where the last attempts at tasks ran, and how long in all", &columns, &rows, 0)
}

fn environment(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    for one in &seen.environments {
        let rows: Vec<Vec<String>> =
            one.variables.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
        let caption = format!("Environment {} on {}", one.environment, one.host);
        page.listed(&caption, &[words_of("variable"), words_of("value")], &rows, 0)?;
        for told in &one.recorded {
            let cut = if told.cut { ", the first of it" } else { "" };
            page.paragraph(format!("`{}` on backend {} told{cut}:", told.command, told.backend))?;
            page.markup("<pre>")?;
            page.lines(&told.output)?;
            page.close("pre")?;
        }
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
        // no number, but none that may be broken either
        numbers_of("started"),
        numbers_of("queued / s"),
        numbers_of("ran / s"),
        numbers_of("memory / MiB"),
        words_of("node"),
        words_of("why"),
    ];
    let kept = told_once(page, shown, &columns)?;
    let columns: Vec<_> = kept.iter().map(|place| columns[*place].clone()).collect();
    let parts = shown.len().div_ceil(PART);
    for (place, part) in shown.chunks(PART).enumerate() {
        page.markup("<div class=\"part\">")?;
        let caption = if parts > 1 { format!("Tasks, part {} of {parts}", place + 1) } else { "Tasks".to_owned() };
        page.begin_table(&caption, &columns)?;
        for line in part {
            let mut cells = cells(line);
            let cells: Vec<String> = kept.iter().map(|place| std::mem::take(&mut cells[*place])).collect();
            page.row(&columns, &cells)?;
        }
        page.end_table()?;
        page.markup("</div>\n")?;
    }
    Ok(())
}

/// Says once what all of many tasks have in common, which makes the page lighter; returns the columns that are left.
fn told_once(page: &mut Page<'_>, shown: &[Line], columns: &[Column; 11]) -> io::Result<Vec<usize>> {
    let all: Vec<usize> = (0..columns.len()).collect();
    let Some(first) = shown.first().filter(|_| shown.len() > PART).map(cells) else { return Ok(all) };
    let mut alike = [true; 11];
    for line in shown {
        for (place, cell) in cells(line).iter().enumerate() {
            alike[place] &= *cell == first[place];
        }
    }
    // by these two a task is known
    (alike[0], alike[3]) = (false, false);
    let told = all.iter().filter(|place| alike[**place] && !first[**place].is_empty());
    let told = told.map(|place| format!("{} {}", columns[*place].name(), first[*place])).collect::<Vec<_>>();
    if !told.is_empty() {
        page.paragraph(format!("Of all that are listed: {}.", told.join(", ")))?;
    }
    Ok(all.into_iter().filter(|place| !alike[*place]).collect())
}

fn cells(line: &Line) -> [String; 11] {
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
        line.started_ms.map(|ms| Time(ms).to_string()).unwrap_or_default(),
        seconds(line.queued_ms),
        seconds(line.ran_ms),
        line.memory_mb.map(|mb| mb.to_string()).unwrap_or_default(),
        line.node.clone().unwrap_or_default(),
        line.reason.as_deref().map(|reason| shortened(reason, SENTENCE)).unwrap_or_default(),
    ]
}
