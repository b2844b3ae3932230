//! Commands by which a person changes what a run does.
use super::Session;
use super::output::{print_json, tell};
use super::remedy::rendered;
use super::runs::{hold, take};
use super::subject::with_selection;
use super::tasks::wrong_selection;
use crate::failure::Failure;
use crate::ground::random::new_attempt_id;
use crate::ground::words::quoted;
use crate::model::act::Verb;
use crate::model::config::{BackendConfig, RunConfig};
use crate::model::selection::Selection;
use crate::model::states::RunState;
use crate::run::Run;
use crate::tick::{self, Adopted, CancelledTasks, ControlError, Resumed, Settlement, Unsettled, step_run};
use crate::workspace::{self, Access, SET, act, moment, now_ms, set_values, stopwatch, write_config_and_open};
use clap::Args;
use serde_json::{Value, json};

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotNow { what, remedy, address } => {
                Failure { hint: remedy.map(|remedy| rendered(&remedy, &address)), ..Failure::input(what) }
            }
            ControlError::Store(error) => error.into(),
            ControlError::Tick(error) => error.into(),
            ControlError::Workflow(error) => Failure::input(error.to_string()),
        }
    }
}

/// Why an act is carried out, and whether it only is to say what it would come to.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct How {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Say what it would come to, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Says what a command did: the run's state as data, the sentence for a person.
fn say(session: &Session, run: &Run, sentence: &str) -> Result<u8, Failure> {
    say_with(session, run, sentence, Vec::new())
}

/// Says it with how many things it was done to, under a key of the JSON.
pub(super) fn say_count(
    session: &Session,
    run: &Run,
    sentence: &str,
    (key, count): (&str, u64),
) -> Result<u8, Failure> {
    say_with(session, run, sentence, vec![(key, count.into())])
}

/// Says it with one more thing in the JSON.
pub(super) fn say_with(session: &Session, run: &Run, sentence: &str, more: Vec<(&str, Value)>) -> Result<u8, Failure> {
    let row = run.store.run()?;
    let tried = if run.store.rehearses() { "dry run, nothing is changed: " } else { "" };
    tell(&format!("{tried}run `{}`: {sentence}", run.dir.address()));
    if session.json {
        let mut document = json!({"run_id": row.run_id, "state": row.state, "reason": row.reason});
        for (key, value) in more {
            document[key] = value;
        }
        print_json(&document)?;
    }
    Ok(0)
}

pub(super) fn pause(session: &Session, name: &str, reason: Option<&str>) -> Result<u8, Failure> {
    let mut held = hold(session, name, Access::Own)?;
    let changed = tick::pause(&mut held.run, &act(Verb::Pause, json!({}), reason))?;
    let text = if changed { "paused; what is live goes on" } else { "was paused already" };
    say(session, &held.run, text)
}

pub(super) fn resume(session: &Session, name: &str, sets: &[String], how: &How) -> Result<u8, Failure> {
    let mut supplied = Value::Null;
    set_values(&mut supplied, sets, SET)?;
    let supplied = (!supplied.is_null()).then(|| supplied.to_string());
    let mut held = take(session, name, how.dry_run)?;
    let act = act(Verb::Resume, json!({"set": sets}), how.reason.as_deref());
    let resumed = tick::resume(&mut held.run, supplied.as_deref(), &act)?;
    let goes_on = "the next `step` or `loop` goes on";
    let text = match resumed {
        Resumed::Unchanged => "was active already".to_owned(),
        Resumed::Active => format!("active; {goes_on}"),
        Resumed::BroughtBack(count) => format!("active; {count} task(s) are pending again; {goes_on}"),
    };
    say(session, &held.run, &text)
}

pub(super) fn cancel(session: &Session, name: &str, selection: &Selection, how: &How) -> Result<u8, Failure> {
    let mut held = take(session, name, how.dry_run)?;
    let run = &mut held.run;
    let act = act(Verb::Cancel, with_selection(selection, json!({})), how.reason.as_deref());
    let (what, changed) = match &selection.task {
        Some(task) if *selection == Selection::of_task(task) && run.store.has_task(task)? => {
            (format!("task `{task}` is cancelled"), tick::cancel_task(run, task, &act)?)
        }
        None if selection.is_everything() => ("cancelled".to_owned(), tick::cancel_run(run, &act)?),
        _ => (cancelled(tick::cancel_tasks(run, selection, &act)?), true),
    };
    if how.dry_run {
        if run.store.run()?.state == RunState::Cancelling && run.store.live_count(None)? == 0 {
            tick::end_cancelled(run, act.at_ms).map_err(ControlError::from)?;
        }
    } else {
        // One tick tells the outside at once, so that nothing runs on because nobody steps.
        step_run(run, moment(now_ms(), &stopwatch()))?;
    }
    let live = live_of(run, selection)?;
    let text = match (changed, live) {
        (false, _) => format!("was {what} already"),
        (true, 0) => what,
        (true, live) => format!("{what}; {live} attempt(s) have been told to stop, `step` or `loop` sees them end"),
    };
    say_count(session, run, &text, ("live", live))
}

/// What a cancellation of tasks comes to, in words.
fn cancelled(CancelledTasks { cancelled, stopping, ended }: CancelledTasks) -> String {
    let left = if ended > 0 { format!("; {ended} had ended and stay as they are") } else { String::new() };
    format!("{} task(s) are cancelled{left}", cancelled + stopping)
}

/// How many attempts of the run, or of tasks of it, are live.
fn live_of(run: &Run, selection: &Selection) -> Result<u64, Failure> {
    if selection.is_everything() {
        return Ok(run.store.live_count(None)?);
    }
    let mut live = 0;
    for task in run.store.chosen(selection).map_err(|error| wrong_selection(&run.dir, &run.store, error))? {
        live += run.store.attempts(task.key)?.iter().filter(|attempt| !attempt.state.ended()).count() as u64;
    }
    Ok(live)
}

pub(super) fn amend(session: &Session, name: &str, sets: &[String], how: &How) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    sets.iter().try_for_each(|set| refuse_fixed(set, dir.address()))?;
    let mut held = take(session, name, how.dry_run)?;
    let mut config = amended(session, &held.run, sets)?;
    if config.pinned != held.run.config.pinned && !how.dry_run {
        // A plugin that is new to the run is compiled while others may go on with it.
        drop(held);
        workspace::compile_ahead(&dir, &config);
        held = take(session, name, how.dry_run)?;
        config = amended(session, &held.run, sets)?;
    }
    if config == held.run.config {
        return Err(Failure::input(format!("nothing is changed: the run has {} so already", keys(sets))));
    }
    workspace::check_plugins(&held.run.dir, &config)?;
    let act = act(Verb::Amend, json!({"set": sets}), how.reason.as_deref());
    if workspace::lists_otherwise(&held.run, &config) {
        let (run, added) = workspace::grow(held.run, config, &act)?;
        return say_count(session, &run, &grown(added), ("added", added));
    }
    let run = &mut held.run;
    let quotas = config.limits != run.config.limits;
    let opened = write_config_and_open(run, config, &act)?;
    let again = if quotas { tick::collect_again(run, act.at_ms)? } else { 0 };
    let mut more = if again > 0 { format!("; what {again} task(s) left is collected again") } else { String::new() };
    if opened {
        more += "; the run goes on with the next `step` or `loop`, which asks its campaign";
    }
    say(session, run, &format!("amended: {}{more}", sets.join(", ")))
}

/// The keys that are set, for a sentence.
fn keys(sets: &[String]) -> String {
    let keys = sets.iter().map(|set| format!("`{}`", set.split_once('=').map_or(set.as_str(), |(key, _)| key)));
    keys.collect::<Vec<_>>().join(", ")
}

/// What a list that has grown comes to, in words.
pub(super) fn grown(added: u64) -> String {
    format!("amended; {added} task(s) of the list are new and planned: the next `step` or `loop` starts them")
}

/// The configuration of the run with these values in it, its plugins pinned.
fn amended(session: &Session, run: &Run, sets: &[String]) -> Result<RunConfig, Failure> {
    let mut config = workspace::amended(workspace::config_document(run)?, sets, "")?;
    let source = |config: &RunConfig| config.reuse.as_ref().and_then(|reuse| reuse.from.clone());
    if source(&config) != source(&run.config) {
        workspace::settle_source(&mut config, &session.workspaces()?, &run.dir)?;
    }
    tick::refuse_amendment(run, &config)?;
    workspace::pin_again(&run.dir, &mut config)?;
    Ok(config)
}

/// Refuses what a run fixes for its life; `run` is what leads a command to it.
pub(super) fn refuse_fixed(set: &str, run: &str) -> Result<(), Failure> {
    let key = set.split_once('=').map_or(set, |(key, _)| key);
    let open = ["limits", "operators", "backends", "reuse", "notify", "evidence"]
        .iter()
        .any(|top| key == *top || key.starts_with(&format!("{top}.")));
    let params = key == "campaign.params" || key.starts_with("campaign.params.");
    if let ["operators", operator, "plugin"] = key.split('.').collect::<Vec<_>>().as_slice() {
        let operator = quoted(operator);
        return Err(Failure::input(format!("`{key}` is pinned for the life of the run")).hint(format!(
            "`matterstack amend {run} plugin FILE --operator {operator}` puts another plugin in its place"
        )));
    }
    if !open && !params {
        return Err(Failure::input(format!("`{key}` cannot be amended")).hint(
            "limits, operators, backends, reuse, notify, evidence and campaign.params can; for anything else make a new run",
        ));
    }
    Ok(())
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("to").required(true))]
pub(super) struct SettleArgs {
    /// The run
    run: String,
    /// The task
    task: String,
    /// It did its work: take its outputs
    #[arg(long, group = "to")]
    completed: bool,
    /// Give it up
    #[arg(long, group = "to")]
    failed: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn settle(session: &Session, arguments: &SettleArgs) -> Result<u8, Failure> {
    let SettleArgs { run, task, completed, failed: _, reason } = arguments;
    let mut held = hold(session, run, Access::Own)?;
    let to = if *completed { Settlement::Completed } else { Settlement::Failed };
    let act = act(Verb::Settle, json!({"task": task, "completed": completed}), reason.as_deref());
    let about = tick::settle(&mut held.run, task, to, &act, &new_attempt_id)?;
    let what = match (about, to) {
        (Unsettled::Lost, Settlement::Completed) => "completed, with the outputs that its lost attempt left",
        (Unsettled::Stale, Settlement::Completed) => "not stale any more: its outputs are taken as they are",
        (Unsettled::Lost | Unsettled::Stale, Settlement::Failed) => "given up",
    };
    let stale = match (about, held.run.store.stale_tasks()?) {
        (Unsettled::Lost, _) | (Unsettled::Stale, 0) => String::new(),
        (Unsettled::Stale, stale) => format!("; {stale} completed task(s) are stale"),
    };
    say(session, &held.run, &format!("task `{task}` is {what}{stale}"))
}

pub(super) fn adopt(session: &Session, name: &str, reason: Option<&str>) -> Result<u8, Failure> {
    let mut held = hold(session, name, Access::Adopt)?;
    let Adopted { taken, lost } = workspace::adopt(&mut held.run, &act(Verb::Adopt, json!({}), reason))?;
    let local = |backend: &BackendConfig| matches!(backend, BackendConfig::Local(_));
    let run = &held.run;
    let unpinned = run.machine.pinned.is_none() && run.config.backends.values().any(local);
    let address = run.dir.address();
    let pin = format!("; local jobs wait for `matterstack amend {address} environment`, given on this machine");
    let pin = if unpinned { pin } else { String::new() };
    let text = format!(
        "this directory and this user are now its own; {taken} attempt(s) had ended and were taken, {lost} were given up as lost{pin}"
    );
    say_count(session, &held.run, &text, ("lost", lost))
}
