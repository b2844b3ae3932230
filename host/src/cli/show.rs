//! Commands that look at runs and change nothing.
use super::Session;
use super::layout::painted;
use super::output::{
    JsonList, json_text, one_line, print, print_json, reader_went_away, span, table, tell, time, when,
};
use super::tasks::{no_task, wrong_selection};
use crate::backend::stopped_supervisors;
use crate::drive::watching;
use crate::explain::{Beside, Explanation, explain_chosen, explain_run, explain_task, explain_task_reuse};
use crate::failure::{Failure, FailureKind};
use crate::ground::machine::Watch;
use crate::ground::words::positional;
use crate::model::code::{Code, Word};
use crate::model::config::RunConfig;
use crate::model::evidence::LogKind;
use crate::model::selection::Selection;
use crate::model::states::{AttemptState, RunState, TaskCounts};
use crate::results;
use crate::run::{LastTick, RunDir, outside_command, taking_command};
use crate::store::{Standing, Store, WaitRow};
use crate::workspace::{changed_files, kept_config, now_ms, open_for_reading, open_to_look, read_store, refusal};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::Duration;

/// Things that `status` lists; the counts say how many more there are.
const WAITS_MAX: u32 = 100;
/// Things that `status` lists for a person.
const WAITS_SHOWN: usize = 10;
/// Up to where `status` counts the things of a kind that it does not list.
const WAITS_COUNTED: u32 = 1000;
/// Tasks that `explain` lists for a person.
const EXPLAINED_SHOWN: u64 = 50;
/// Explanations that are printed at once.
const PRINTED_AT_ONCE: usize = 1_000;
/// Characters of the campaign's result that `status` shows a person.
const RESULT_CHARS: usize = 120;

pub(super) fn status(session: &Session, name: &str, watch: bool) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    let store = read_store(&dir)?;
    let mut shown = status_text(session, &dir, &store)?;
    print(&shown)?;
    if !watch || store.run()?.state.ended() {
        return Ok(0);
    }
    refuse_to_stay(&store)?;
    let changes = Watch::new().map_err(watching)?;
    changes.add(dir.root()).map_err(watching)?;
    drop(store);
    loop {
        changes.wait(Some(Duration::from_secs(5))).map_err(watching)?;
        if reader_went_away(Duration::ZERO) {
            return Ok(0);
        }
        let store = read_store(&dir)?;
        let now = status_text(session, &dir, &store)?;
        if now != shown {
            if !session.json && std::io::stdout().is_terminal() {
                print("\x1b[H\x1b[2J")?;
            }
            print(&now)?;
            shown = now;
        }
        if store.run()?.state.ended() {
            return Ok(0);
        }
    }
}

/// Refuses to follow a run whose database others cannot use meanwhile.
pub(super) fn refuse_to_stay(store: &Store) -> Result<(), Failure> {
    if store.keeps_others_out() {
        let what = "the run cannot be followed: the disk is full, and nobody could use its database meanwhile";
        return Err(Failure::of(FailureKind::Machine, what).hint("make room, then repeat the command"));
    }
    Ok(())
}

/// The workspace that a run lies in, by its path below the root; of a run that lies elsewhere, the one it was made
/// from.
fn workspace_name(session: &Session, dir: &RunDir, made_from: String) -> String {
    let place = || {
        let workspace = dir.root().parent().filter(|runs| runs.ends_with("runs"))?.parent()?;
        let root = session.workspaces().ok()?.root().to_owned();
        Some(workspace.strip_prefix(root).ok()?.to_str()?.to_owned()).filter(|slug| !slug.is_empty())
    };
    place().unwrap_or(made_from)
}

/// What the run waits for. A ready task is among it only if it waits for capacity, as `explain` says too; no more than
/// `most` of those, which come last, are looked at.
fn waits_of(dir: &RunDir, store: &Store, most: usize) -> Result<Vec<WaitRow>, Failure> {
    let mut waits = store.waits(WAITS_MAX)?;
    let at_work = dir.is_driven() == Some(true);
    // a submit that is under way is in no doubt
    waits.retain(|wait| !(at_work && wait.kind.is(Code::UnknownSubmit) && wait.reason.is_none()));
    let Some(first) = waits.iter().position(|wait| wait.kind.is(Code::Capacity)) else { return Ok(waits) };
    // Where the configuration cannot be read nobody knows how much room there is, and `explain` says why.
    let Ok(config) = kept_config(dir) else { return Ok(waits) };
    waits.truncate(first + most);
    let beside = Beside { address: dir.address(), stopped: &[], changed: &[], at_work };
    for wait in &mut waits[first..] {
        if let Some(explained) = explain_task(store, &config, beside, &wait.task)? {
            (wait.kind, wait.reason) = (explained.code, Some(explained.sentence));
        }
    }
    waits.retain(|wait| wait.kind.own().is_none_or(|code| !code.is_of_ready_task()));
    Ok(waits)
}

/// What `status` prints, of one moment of the run.
fn status_text(session: &Session, dir: &RunDir, store: &Store) -> Result<String, Failure> {
    store.snapshot(|_| status_now(session, dir, store))
}

fn status_now(session: &Session, dir: &RunDir, store: &Store) -> Result<String, Failure> {
    let row = store.run()?;
    let counts = store.task_counts()?;
    // one more than is shown tells a person that there are more
    let most = if session.json { WAITS_MAX as usize } else { WAITS_SHOWN + 1 };
    let waits = if row.state.ended() { Vec::new() } else { waits_of(dir, store, most)? };
    let workspace = workspace_name(session, dir, row.workspace.clone());
    let run = dir.address();
    let queued = store.queued_attempts()?;
    let stale = store.stale_tasks()?;
    let config = kept_config(dir).ok();
    let changed = config.as_ref().map(|config| changed_files(dir, config, false)).unwrap_or_default();
    let note = store.last_note()?;
    if session.json {
        let waiting: Vec<Value> = waits.iter().map(|wait| wait_json(run, wait)).collect();
        return json_text(&json!({
            "run_id": row.run_id, "workspace": workspace, "state": row.state, "reason": row.reason,
            "iteration": row.iteration, "tasks": counted(counts, queued), "waiting_on": waiting,
            "summary": row.summary()?, "wake_at": store.wake()?.map(|wake| time(wake.at_ms)),
            "last_tick": dir.last_tick(), "driven": driven(dir, row.state),
            "stale": stale, "changed_files": changed,
            "result": row.result.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()),
            "created_at": time(row.created_at_ms), "ended_at": row.ended_at_ms.map(time),
            "note": note.map(|note| json!({"text": note.arguments["text"], "user": note.by.user, "at": note.at})),
        }));
    }
    let reason = row.reason.as_ref().map(|reason| format!(" ({})", one_line(reason))).unwrap_or_default();
    let mut text = format!("{} ({workspace}): {}{reason}\n", row.run_id, painted(row.state.as_str()));
    text += &counts_line(row.iteration, counts, queued);
    text += &ticked(dir, store, row.state);
    if let Some(line) = row.summary_line() {
        text += &format!("{}\n", one_line(&line));
    }
    if let Some(note) = note {
        let words = one_line(note.arguments["text"].as_str().unwrap_or_default());
        text += &format!("note: {} ({}, {})\n", beginning(&words), one_line(&note.by.user), when(note.at.0));
    }
    if let Some(wake) = store.wake()?.filter(|_| row.state == RunState::Active) {
        text += &format!("the campaign is asked again at {}\n", when(wake.at_ms));
    }
    if let Some(result) = &row.result {
        text += &format!("result: {}\n", beginning(&one_line(result)));
    }
    text += &mendable(run, stale, config.as_ref().map(|config| (config, changed.as_slice())));
    if row.state == RunState::Failed
        && let Some(task) = store.standing_tasks(Standing::Failed, 1).next().transpose()?
    {
        text += &last_words(dir, store, &task.id).unwrap_or_default();
    }
    if !waits.is_empty() {
        text += &waits_text(run, store, &waits)?;
    }
    Ok(text)
}

/// How many tasks are in each state, in a line.
fn counts_line(iteration: u32, counts: TaskCounts, queued: u64) -> String {
    let running = counts.running.saturating_sub(queued);
    let TaskCounts { total, pending, completed, failed, cancelled, skipped, .. } = counts;
    format!(
        "iteration {iteration}: {total} tasks, {pending} pending, {queued} queued, {running} running, {completed} completed, \
         {failed} failed, {cancelled} cancelled, {skipped} skipped\n"
    )
}

/// How many tasks are in each state; those whose live attempt's job has not started count as queued.
fn counted(counts: TaskCounts, queued: u64) -> Value {
    let mut told = json!(counts);
    told["queued"] = queued.into();
    told["running"] = counts.running.saturating_sub(queued).into();
    told
}

/// What the run waits for, as a table and the numbers of what is left out.
fn waits_text(run: &str, store: &Store, waits: &[WaitRow]) -> Result<String, Failure> {
    let rows = waits.iter().take(WAITS_SHOWN).map(|wait| {
        let why = wait.reason.clone().unwrap_or_default();
        let hint = wait_hint(run, wait).unwrap_or_default();
        vec![wait.kind.to_string(), wait.task.clone(), wait.operator.clone(), why, hint]
    });
    let mut text = format!("\n{}", table(&["WAITS FOR", "TASK", "OPERATOR", "WHY", "COMMAND THAT HELPS"], rows));
    if waits.len() > WAITS_SHOWN {
        let totals = totals(store, waits)?;
        text += &format!("and more, in all {totals}; `matterstack explain {run} --json` lists them\n");
    }
    Ok(text)
}

/// What has been changed since tasks completed, and what would make use of it.
fn mendable(run: &str, stale: u64, changed: Option<(&RunConfig, &[String])>) -> String {
    let mut text = String::new();
    if stale > 0 {
        let command = format!("matterstack rerun {run} --state stale --recursive");
        text += &format!("{stale} completed task(s) are stale: `{command}` runs them again\n");
    }
    if let Some((config, [first, rest @ ..])) = changed {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let command = taking_command(config, run, first);
        text += &format!("{}{more} differs in the workspace: `{command}` takes it into the run\n", one_line(first));
    }
    text
}

/// Whether a process advances the run; nothing for one that has ended, or where that cannot be told.
fn driven(dir: &RunDir, state: RunState) -> Option<bool> {
    dir.is_driven().filter(|_| !state.ended())
}

/// When the run was last advanced, by whom and how fast, and whether that goes on.
fn ticked(dir: &RunDir, store: &Store, state: RunState) -> String {
    if state.ended() {
        return String::new();
    }
    let last = match dir.last_tick() {
        Some(LastTick { at, host, took_ms }) => {
            let ago = span(Duration::from_millis(u64::try_from(now_ms() - at.0).unwrap_or(0)));
            format!("last tick {ago} ago on {}, {took_ms} ms", one_line(&host))
        }
        None => "no tick yet".to_owned(),
    };
    let goes_on = matches!(state, RunState::Active | RunState::Cancelling);
    if driven(dir, state) != Some(false) || !goes_on {
        return format!("{last}\n");
    }
    match refusal(dir, store) {
        None => format!("{last}; nobody ticks it now: `matterstack loop {}` does\n", dir.address()),
        Some(refusal) => {
            let hint = refusal.hint.as_ref().map(|hint| format!("\n  {}", one_line(hint))).unwrap_or_default();
            format!("{last}; nobody ticks it now, and it cannot be ticked: {}{hint}\n", one_line(&refusal.to_string()))
        }
    }
}

/// How many things of each kind the run waits for, in words. Ready tasks are counted only where they wait for room.
fn totals(store: &Store, waits: &[WaitRow]) -> Result<String, Failure> {
    let mut counts = store.wait_counts(WAITS_COUNTED + 1)?;
    let may_pass = |kind: &Word| kind.is(Code::Capacity) || kind.is(Code::UnknownSubmit);
    counts.retain(|(kind, _)| !may_pass(kind) || waits.iter().any(|wait| wait.kind == *kind));
    let number = |count: u64| {
        if count > u64::from(WAITS_COUNTED) { format!("more than {WAITS_COUNTED}") } else { count.to_string() }
    };
    let words: Vec<String> = counts.iter().map(|(kind, count)| format!("{} `{kind}`", number(*count))).collect();
    Ok(words.join(", "))
}

/// A text that fits a line; `--json` has the whole.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(RESULT_CHARS) {
        Some((end, _)) => format!("{}… (--json prints all of it)", &text[..end]),
        None => text.to_owned(),
    }
}

fn wait_hint(run: &str, wait: &WaitRow) -> Option<String> {
    let task = positional(&wait.task);
    match wait.kind.own() {
        Some(Code::Person | Code::Kit | Code::Instrument | Code::Approval) => {
            Some(outside_command(Some(&wait.kind), run, &wait.task))
        }
        Some(Code::Environment) => Some(format!("matterstack amend {run} environment")),
        // what is merely in the queue has no reason
        Some(Code::Scheduler) if wait.reason.is_none() => None,
        Some(Code::Retry | Code::UnknownSubmit) => None,
        _ => Some(format!("matterstack explain {run} {task}")),
    }
}

fn wait_json(run: &str, wait: &WaitRow) -> Value {
    json!({
        "task": wait.task, "attempt": wait.attempt, "operator": wait.operator, "kind": wait.kind,
        "since": wait.since_ms.map(time), "hint": wait_hint(run, wait), "reason": wait.reason,
    })
}

pub(super) fn explain(session: &Session, name: &str, selection: &Selection) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    let (store, config) = open_for_reading(&dir)?;
    let (run, stopped) = (dir.address(), stopped_supervisors(dir.root(), &config));
    let mut told = Told { all: Vec::new(), list: JsonList::default(), json: session.json };
    let changed = if selection.is_everything() { changed_files(&dir, &config, false) } else { Vec::new() };
    let at_work = dir.is_driven() == Some(true);
    let beside = Beside { address: run, stopped: &stopped, changed: &changed, at_work };
    let most = if session.json { u64::MAX } else { EXPLAINED_SHOWN };
    let mut chosen = store.choose(selection).map_err(|error| wrong_selection(&dir, &store, error))?;
    let more = if selection.is_everything() {
        explain_run(&store, &config, beside, most, |one| told.tell(one))?
    } else {
        explain_chosen(&store, &config, beside, &mut chosen, most, |one| told.tell(one))?
    };
    if let Some(refusal) = refusal(&dir, &store) {
        let hint = refusal.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        tell(&format!("warning: nothing moves the run before this is mended: {refusal}{hint}"));
    }
    let Told { all, mut list, json } = told;
    if json {
        print(&list.rows(&all)?)?;
        return print(list.end()).map(|()| 0);
    }
    if all.is_empty() {
        let whole = selection.is_everything();
        let none = || format!("no {} of the run is stuck", selection.words());
        tell(&if whole { "nothing is stuck".to_owned() } else { none() });
    }
    print_explanations(all)?;
    if let Some(said) = selection.task.as_deref().and_then(|task| last_words(&dir, &store, task)) {
        print(&said)?;
    }
    if more > 0 {
        tell(&format!("and {more} more; `matterstack explain {} --json` prints all", dir.address()));
    }
    Ok(0)
}

/// The last lines that the last attempt at a task wrote to standard error, if it failed and wrote any.
pub(super) fn last_words(dir: &RunDir, store: &Store, task: &str) -> Option<String> {
    let attempt = store.attempts(store.task(task).ok()??.key).ok()?.pop()?;
    if attempt.state != AttemptState::Failed {
        return None;
    }
    let said = if dir.is_bundle() {
        let logs = store.logs(attempt.key).ok()?;
        let log = logs.into_iter().find(|log| log.kind == LogKind::Stderr)?;
        let stderr = dir.left(&attempt.directory, log.kind.file(), &log.sha256);
        results::last_lines(&dir.join(&stderr), &attempt.task_json)
    } else {
        results::last_words(&dir.join(&attempt.directory), &attempt.task_json)
    };
    let lines: String = said.iter().map(|line| format!("  {}\n", one_line(line))).collect();
    (!said.is_empty()).then(|| format!("\ntask `{}` wrote last to standard error:\n{lines}", one_line(task)))
}

/// Explanations on their way out.
struct Told {
    all: Vec<Explanation>,
    list: JsonList,
    json: bool,
}

impl Told {
    fn tell(&mut self, one: Explanation) -> Result<(), Failure> {
        self.all.push(one);
        if !self.json || self.all.len() < PRINTED_AT_ONCE {
            return Ok(());
        }
        print(&self.list.rows(&std::mem::take(&mut self.all))?)
    }
}

fn print_explanations(all: Vec<Explanation>) -> Result<(), Failure> {
    let rows = all.into_iter().map(|one| {
        let subject = one.task.unwrap_or_else(|| "(the run)".to_owned());
        vec![subject, one.code.to_string(), one.sentence, one.command.unwrap_or_default()]
    });
    let mut rows = rows.peekable();
    if rows.peek().is_some() {
        print(&table(&["TASK", "CODE", "WHY", "COMMAND THAT HELPS"], rows))?;
    }
    Ok(())
}

pub(super) fn explain_reuse(session: &Session, name: &str, task: &str) -> Result<u8, Failure> {
    let run = open_to_look(&session.run(name)?)?;
    let one = explain_task_reuse(&run, task)?.ok_or_else(|| no_task(&run.dir, &run.store, task))?;
    if session.json {
        return print_json(&[one]).map(|()| 0);
    }
    print_explanations(vec![one]).map(|()| 0)
}
