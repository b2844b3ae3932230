//! Commands by which a person changes what a run does.
use super::Session;
use super::output::{print_json, tell};
use super::remedy::rendered;
use super::runs::hold;
use crate::failure::Failure;
use crate::ground::random::new_attempt_id;
use crate::ground::words::quoted;
use crate::model::act::Verb;
use crate::model::config::RunConfig;
use crate::run::Run;
use crate::tick::{self, Adopted, ControlError, Settlement, step_run};
use crate::workspace::{self, Access, SET, act, moment, now_ms, set_values, stopwatch, write_config};
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

/// Says what a command did: the run's state as data, the sentence for a person.
fn say(session: &Session, run: &Run, sentence: &str) -> Result<u8, Failure> {
    say_count(session, run, sentence, None)
}

/// Says it with how many things it was done to, under a key of the JSON.
pub(super) fn say_count(
    session: &Session,
    run: &Run,
    sentence: &str,
    count: Option<(&str, u64)>,
) -> Result<u8, Failure> {
    let row = run.store.run()?;
    tell(&format!("run `{}`: {sentence}", run.dir.address()));
    if session.json {
        let mut document = json!({"run_id": row.run_id, "state": row.state, "reason": row.reason});
        if let Some((key, count)) = count {
            document[key] = count.into();
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

pub(super) fn resume(session: &Session, name: &str, sets: &[String], reason: Option<&str>) -> Result<u8, Failure> {
    let mut supplied = Value::Null;
    set_values(&mut supplied, sets, SET)?;
    let supplied = (!supplied.is_null()).then(|| supplied.to_string());
    let mut held = hold(session, name, Access::Own)?;
    let act = act(Verb::Resume, json!({"set": sets}), reason);
    let changed = tick::resume(&mut held.run, supplied.as_deref(), &act)?;
    let text = if changed { "active; the next `step` or `loop` goes on" } else { "was active already" };
    say(session, &held.run, text)
}

pub(super) fn cancel(session: &Session, name: &str, task: Option<&str>, reason: Option<&str>) -> Result<u8, Failure> {
    let mut held = hold(session, name, Access::Own)?;
    let act = act(Verb::Cancel, json!({"task": task}), reason);
    let changed = match task {
        Some(task) => tick::cancel_task(&mut held.run, task, &act)?,
        None => tick::cancel_run(&mut held.run, &act)?,
    };
    // One tick tells the outside at once, so that nothing runs on because nobody steps.
    step_run(&mut held.run, moment(now_ms(), &stopwatch()))?;
    let what = task.map_or("cancelled".to_owned(), |task| format!("task `{task}` is cancelled"));
    let live = live_of(&held.run, task)?;
    let text = match (changed, live) {
        (false, _) => format!("was {what} already"),
        (true, 0) => what,
        (true, live) => format!("{what}; {live} attempt(s) have been told to stop, `step` or `loop` sees them end"),
    };
    say_count(session, &held.run, &text, Some(("live", live)))
}

/// How many attempts of the run, or of one task, are live.
fn live_of(run: &Run, task: Option<&str>) -> Result<u64, Failure> {
    let Some(task) = task else { return Ok(run.store.live_count(None)?) };
    let attempts = run.store.task(task)?.map(|row| run.store.attempts(row.key)).transpose()?.unwrap_or_default();
    Ok(attempts.iter().filter(|attempt| !attempt.state.ended()).count() as u64)
}

pub(super) fn amend(
    session: &Session,
    name: &str,
    (sets, option): (&[String], &'static str),
    reason: Option<&str>,
) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    sets.iter().try_for_each(|set| refuse_fixed(set, dir.address()))?;
    let mut held = hold(session, name, Access::Own)?;
    let mut config = amended(session, &held.run, sets, option)?;
    if config.pinned != held.run.config.pinned {
        // A plugin that is new to the run is compiled while others may go on with it.
        drop(held);
        workspace::compile_ahead(&dir, &config);
        held = hold(session, name, Access::Own)?;
        config = amended(session, &held.run, sets, option)?;
    }
    if config == held.run.config {
        return Err(Failure::input(format!("nothing is changed: the run has {} so already", keys(sets))));
    }
    workspace::check_plugins(&held.run.dir, &config)?;
    let act = act(Verb::Amend, json!({"set": sets}), reason);
    if workspace::lists_otherwise(&held.run, &config) {
        let (run, added) = workspace::grow(held.run, config, &act)?;
        return say_count(session, &run, &grown(added), Some(("added", added)));
    }
    let run = &mut held.run;
    let quotas = config.limits != run.config.limits;
    write_config(run, config, &act)?;
    let again = if quotas { tick::collect_again(run, act.at_ms)? } else { 0 };
    let more = if again > 0 { format!("; what {again} task(s) left is collected again") } else { String::new() };
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
fn amended(session: &Session, run: &Run, sets: &[String], option: &'static str) -> Result<RunConfig, Failure> {
    let mut config = workspace::amended(workspace::config_document(run)?, sets, option)?;
    let source = |config: &RunConfig| config.reuse.as_ref().and_then(|reuse| reuse.from.clone());
    if source(&config) != source(&run.config) {
        workspace::settle_source(&mut config, &session.workspaces()?, &run.dir)?;
    }
    tick::refuse_amendment(run, &config)?;
    workspace::pin_again(&run.dir, &mut config)?;
    Ok(config)
}

/// Refuses what a run fixes for its life; `run` is what leads a command to it.
fn refuse_fixed(set: &str, run: &str) -> Result<(), Failure> {
    let key = set.split_once('=').map_or(set, |(key, _)| key);
    let open = ["limits", "operators", "backends", "reuse"]
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
        return Err(Failure::input(format!("`{key}` cannot be amended"))
            .hint("limits, operators, backends, reuse and campaign.params can; for anything else make a new run"));
    }
    Ok(())
}

pub(super) fn revive(session: &Session, name: &str, reason: Option<&str>) -> Result<u8, Failure> {
    let mut held = hold(session, name, Access::Own)?;
    let count = tick::revive(&mut held.run, &act(Verb::Revive, json!({}), reason))?;
    let text = format!("active again; {count} task(s) are pending again");
    say_count(session, &held.run, &text, Some(("pending_again", count)))
}

pub(super) fn settle(
    session: &Session,
    name: &str,
    task: &str,
    completed: bool,
    reason: Option<&str>,
) -> Result<u8, Failure> {
    let mut held = hold(session, name, Access::Own)?;
    let to = if completed { Settlement::Completed } else { Settlement::Failed };
    let act = act(Verb::Settle, json!({"task": task, "completed": completed}), reason);
    tick::settle(&mut held.run, task, to, &act, &new_attempt_id)?;
    let what = if completed { "completed, with the outputs that its lost attempt left" } else { "given up" };
    say(session, &held.run, &format!("task `{task}` is {what}"))
}

pub(super) fn adopt(session: &Session, name: &str, reason: Option<&str>) -> Result<u8, Failure> {
    let mut held = hold(session, name, Access::Adopt)?;
    let Adopted { taken, lost } = workspace::adopt(&mut held.run, &act(Verb::Adopt, json!({}), reason))?;
    let text = format!(
        "this directory and this user are now its own; {taken} attempt(s) had ended and were taken, {lost} were given up as lost"
    );
    say_count(session, &held.run, &text, Some(("lost", lost)))
}
