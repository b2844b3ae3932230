//! The parts of a page, from the result to the table of tasks.
use super::chart::shortened;
use super::document::document;
use super::scale::number;
use super::seen::{DECISIONS, FAILURES, Line, Seen};
use super::table::{Column, numbers_of, table, words_of};
use super::{asked, figures, found, head};
use crate::model::config::RunConfig;
use crate::model::evidence::{Finding, LogKind, Resources, Verified};
use crate::model::states::TaskState;
use crate::model::time::{Time, since, span};
use crate::results::said::Said;
use crate::store::LastAttempt;
use minijinja::{Value, context};

/// Tasks of one table: browsers lay out only those tables that are seen.
const PART: usize = 500;
/// The longest sentence in a table, in characters.
const SENTENCE: usize = 300;
/// Commands that are listed.
const ACTS: usize = 500;
/// Characters of a digest that tell it from others.
const DIGEST: usize = 12;

/// What the whole page is made from: what it begins with, and each part by its name.
pub(super) fn view(config: Option<&RunConfig>, seen: &Seen, compared: Option<&(Verified, Vec<Finding>)>) -> Value {
    context! {
        head => head::view(seen),
        result => result(seen),
        findings => found::view(seen, compared),
        asked => asked::view(config, seen),
        states => seen.states.view(),
        figures => figures::view(seen),
        timeline => seen.timeline.view(),
        failures => failures(seen),
        decisions => decisions(seen),
        commands => commands(seen),
        resources => resources(seen),
        environment => environment(seen),
        tasks => tasks(seen),
    }
}

fn result(seen: &Seen) -> Value {
    context! {
        summary => seen.run.summary.as_ref().and_then(|summary| summary.text.as_ref()),
        document => seen.run.result.as_ref().map(|result| document("What the campaign ended with", result)),
    }
}

fn failures(seen: &Seen) -> Value {
    let tasks = seen.failures.iter().zip(&seen.said).map(|(end, said)| {
        let last = end.last.as_ref().map(|last| last_words(&end.operator, last, said));
        context! { task => &end.task, reason => &end.reason, last }
    });
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
    let columns = ["task", "attempt", "operator", "state", "started", "ran", "why"].map(words_of);
    let caption = "Every try that came to nothing, also of tasks that completed later";
    context! {
        tasks => tasks.collect::<Vec<_>>(),
        more => seen.run.tasks.failed.saturating_sub(FAILURES as u64),
        attempts => table(caption, &columns, rows.collect(), seen.bad_more as usize),
    }
}

fn last_words(operator: &str, last: &LastAttempt, said: &Said) -> Value {
    let (said, words) = match said {
        Said::Nothing => (None, None),
        Said::Withheld => (Some("withheld"), None),
        Said::Gone => (Some("gone"), None),
        Said::Lines(LogKind::Stdout, lines) => (Some("output"), Some(lines.join("\n"))),
        Said::Lines(_, lines) => (Some("error"), Some(lines.join("\n"))),
    };
    context! { operator, number => last.number, directory => &last.directory, said, words }
}

fn decisions(seen: &Seen) -> Value {
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
    let all = table("What the campaign decided, and the digest of what decided", &columns, rows.collect(), 0);
    context! { all, cut => seen.decisions.len() == DECISIONS }
}

/// Who did what to the run, when, where and why.
fn commands(seen: &Seen) -> Value {
    let columns = ["at", "after", "command", "with", "by", "why"].map(words_of);
    let rows = seen.acts.iter().take(ACTS).map(|act| {
        let by = &act.by;
        let who = format!("{} ({}) on {}", by.user, by.user_id, by.host);
        let with = shortened(&act.arguments.to_string(), SENTENCE);
        let after = since(seen.run.created_at, act.at);
        vec![act.at.to_string(), after, act.verb.clone(), with, who, act.reason.clone().unwrap_or_default()]
    });
    let acts = table("Commands that changed the run", &columns, rows.collect(), seen.acts.len().saturating_sub(ACTS));
    context! { acts, approvals => approvals(seen) }
}

/// What people were asked, and what they answered.
fn approvals(seen: &Seen) -> Value {
    let (approvals, more) = &seen.approvals;
    let columns = ["asked", "task", "state", "at", "by", "answer", "SHA-256", "why"].map(words_of);
    let rows = approvals.iter().map(|one| {
        let at = one.at.map(|at| at.to_string()).unwrap_or_default();
        let answer = one.answer.as_ref().map(|answer| shortened(&answer.to_string(), SENTENCE));
        let (state, sha256) = (one.state.as_str().to_owned(), one.sha256.chars().take(DIGEST).collect());
        let (answer, why) = (answer.unwrap_or_default(), one.reason.clone().unwrap_or_default());
        vec![one.asked_at.to_string(), one.task.clone(), state, at, one.who(), answer, sha256, why]
    });
    table("What people were asked, and what they answered", &columns, rows.collect(), *more)
}

fn resources(seen: &Seen) -> Value {
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
    let operators = table("What jobs took of machines", &columns, rows, 0);
    let columns = [words_of("machine or node"), numbers_of("tasks"), numbers_of("hours")];
    let hours = |ms: i64| number(ms as f64 / 3_600_000.0);
    let row = |(node, (tasks, ran)): (&String, &(u64, i64))| vec![node.clone(), tasks.to_string(), hours(*ran)];
    let rows = seen.machines.iter().map(row).collect();
    let machines = table("Where the last attempts at tasks ran, and how long in all", &columns, rows, 0);
    context! { operators, machines }
}

fn environment(seen: &Seen) -> Value {
    let jobs = seen.environments.iter().map(|one| {
        let rows = one.variables.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
        let caption = format!("Environment {} on {}", one.environment, one.host);
        let recorded = one.recorded.iter().map(|told| {
            context! { command => &told.command, backend => &told.backend, cut => told.cut, output => &told.output }
        });
        context! {
            variables => table(&caption, &[words_of("variable"), words_of("value")], rows, 0),
            recorded => recorded.collect::<Vec<_>>(),
        }
    });
    let engines = seen.engines.iter().map(|one| {
        let engine = &one.engine;
        vec![engine.version.clone(), engine.contract.clone(), engine.runtime.clone(), engine.target.clone()]
    });
    let columns = ["matterstack", "contract of plugins", "runtime", "machine"].map(words_of);
    let engines = table("What carried out the campaign's decisions", &columns, engines.collect(), 0);
    context! { jobs => jobs.collect::<Vec<_>>(), engines }
}

fn tasks(seen: &Seen) -> Value {
    let mut columns = vec![
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
    let mut rows: Vec<_> = seen.tasks.shown.iter().map(cells).collect();
    let alike = if rows.len() > PART { told_once(&mut columns, &mut rows) } else { Vec::new() };
    let (shown, count) = (rows.len(), rows.len().div_ceil(PART));
    let mut rows = rows.into_iter();
    let parts = (1..=count).map(|part| {
        let caption = if count > 1 { format!("Tasks, part {part} of {count}") } else { "Tasks".to_owned() };
        table(&caption, &columns, rows.by_ref().take(PART).collect(), 0)
    });
    let parts: Vec<_> = parts.collect();
    context! { parts, some => seen.tasks.some, shown, total => seen.run.tasks.total, alike => alike.join(", ") }
}

/// Takes out what all of many tasks have in common, to be said once, which makes the page lighter.
fn told_once(columns: &mut Vec<Column>, rows: &mut [Vec<String>]) -> Vec<String> {
    let mut told = Vec::new();
    // by the first and the fourth a task is known
    for place in (0..columns.len()).rev().filter(|place| ![0, 3].contains(place)) {
        if rows.iter().any(|row| row[place] != rows[0][place]) {
            continue;
        }
        let (name, _) = columns.remove(place);
        let cells: Vec<_> = rows.iter_mut().map(|row| row.remove(place)).collect();
        told.extend(cells.first().filter(|cell| !cell.is_empty()).map(|cell| format!("{name} {cell}")));
    }
    told.reverse();
    told
}

fn cells(line: &Line) -> Vec<String> {
    let seconds = |ms: Option<i64>| ms.map(|ms| number(ms as f64 / 1000.0)).unwrap_or_default();
    let state = match (&line.reused, line.stale) {
        (_, true) => format!("{} (stale)", line.state),
        (Some(run), false) if line.state == TaskState::Completed => format!("{} (reused from {run})", line.state),
        (Some(_) | None, false) => line.state.to_string(),
    };
    vec![
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
