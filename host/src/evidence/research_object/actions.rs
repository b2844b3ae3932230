//! What was done: the run, the commands that people gave, the decisions, and every attempt at every task.
use super::graph::{Entity, Graph, encoded};
use super::people::People;
use super::{Subject, files, software, unwritten};
use crate::failure::Failure;
use crate::ground::words::shortened;
use crate::model::act::ActRecord;
use crate::model::evidence::{AttemptRecord, DecisionOutcome, DecisionRecord, EnvironmentRecord, LogKind};
use crate::model::states::{AttemptState, RunState, TaskState};
use crate::model::time::Time;
use crate::model::workflow::{CommandLine, Task};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io;

/// The id of the run.
pub(super) const RUN: &str = "#run";
/// The id of what this program did.
const ORGANIZED: &str = "#organized";
/// What an action has come to, for those who read crates: there is no word for what goes on.
const COMPLETED: &str = "http://schema.org/CompletedActionStatus";
const FAILED: &str = "http://schema.org/FailedActionStatus";
/// The longest text of a command or an output document that is written out, in characters; evidence.json has the
/// others.
const TEXT_MAX: usize = 4_000;
/// The operator whose answers are a person's.
const HUMAN: &str = "builtin:human";

/// The id of a command that a person gave.
pub(super) fn act(number: i64) -> String {
    format!("#act-{number}")
}

/// The id of a decision.
pub(super) fn decision(number: i64, attempt: i64) -> String {
    if attempt == 1 { format!("#decision-{number}") } else { format!("#decision-{number}-try-{attempt}") }
}

/// The id of an attempt.
pub(super) fn attempt(id: &str) -> String {
    format!("#attempt-{}", encoded(id))
}

/// The id of a task, as a step of the campaign.
pub(super) fn step(task: &str) -> String {
    format!("#task-{}", encoded(task))
}

fn control(task: &str) -> String {
    format!("#control-{}", encoded(task))
}

fn environment(number: i64) -> String {
    format!("#environment-{number}")
}

/// How an action that has ended went.
enum End<'a> {
    Well,
    Badly(&'a str),
    NotYet,
}

fn ended(entity: Entity, end: &End<'_>) -> Entity {
    match end {
        End::Well => entity.text("actionStatus", COMPLETED),
        End::Badly(why) => entity.text("actionStatus", FAILED).text("error", why),
        End::NotYet => entity,
    }
}

/// Who gave the run its last command that made somebody its owner, by then.
fn owner(subject: &Subject<'_>, people: &mut People<'_>, by: Time) -> String {
    let owns = |act: &&ActRecord| matches!(act.verb.as_str(), "init" | "adopt" | "fork");
    let last = subject.acts.iter().filter(owns).take_while(|act| act.act == 1 || act.at <= by).last();
    match last.or(subject.acts.first()) {
        Some(act) => people.user(&act.by.user, Some(act.by.user_id)),
        None => people.user(&format!("uid {}", subject.run.user_id), None),
    }
}

/// Describes the run, and that this program carried it out.
pub(super) fn run(subject: &Subject<'_>, people: &mut People<'_>, graph: &mut Graph<'_>) -> Result<(), Failure> {
    let run = &subject.run;
    let agent = owner(subject, people, run.created_at);
    let end = match run.state {
        RunState::Completed => End::Well,
        RunState::Failed | RunState::Cancelled => End::Badly(run.reason.as_deref().unwrap_or("no reason is recorded")),
        RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling => End::NotYet,
    };
    let why = run.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let entity = Entity::new(RUN, &["CreateAction"])
        .text("name", &format!("Run {} of {}", run.run_id, run.workspace))
        .text("description", &format!("The run is {}{why}", run.state))
        .link("instrument", &subject.software.main())
        .link("agent", &agent)
        .text("startTime", &super::moment(run.created_at))
        .time("endTime", run.ended_at)
        .links("object", subject.parameters.values(false))
        .links("result", subject.parameters.values(true));
    graph.add(&ended(entity, &end)).map_err(unwritten)?;
    if !subject.operators.iter().any(|(_, made)| *made) {
        return Ok(()); // nothing was carried out that could be organized
    }
    let entity = Entity::new(ORGANIZED, &["OrganizeAction"])
        .text("name", &format!("MatterStack carried out run {}", run.run_id))
        .links("instrument", subject.versions.iter().map(|version| software::host(version)))
        .link("agent", &agent)
        .link("result", RUN)
        .text("startTime", &super::moment(run.created_at))
        .time("endTime", run.ended_at);
    let mut open = graph.open(&ended(entity, &end)).map_err(unwritten)?;
    let mut steps = open.list("object");
    subject.view.each_task_id(|task, attempts| {
        if attempts.is_empty() { Ok(()) } else { steps.push(&control(task)).map_err(unwritten) }
    })?;
    steps.end().and_then(|()| open.end()).map_err(unwritten)
}

/// Describes the commands that people gave. They are actions of no workflow, so the profiles ask nothing of them.
pub(super) fn acts(subject: &Subject<'_>, people: &mut People<'_>, graph: &mut Graph<'_>) -> io::Result<()> {
    for one in &subject.acts {
        let arguments = shortened(&one.arguments.to_string(), TEXT_MAX, false);
        let version = one.by.version.as_ref().map(|version| software::host(version));
        let because = one.reason.as_ref().map(|reason| format!(", because: {reason}")).unwrap_or_default();
        let entity = Entity::new(&act(one.act), &["Action"])
            .text("name", &one.verb)
            .text("description", &format!("{} with {arguments}, on {}{because}", one.verb, one.by.host))
            .link("agent", &people.user(&one.by.user, Some(one.by.user_id)))
            .links("instrument", version)
            .link("object", "./")
            .text("startTime", &super::moment(one.at))
            .text("endTime", &super::moment(one.at));
        graph.add(&entity)?;
    }
    Ok(())
}

/// Describes the decisions, also those that came to nothing.
pub(super) fn decisions(subject: &Subject<'_>, people: &mut People<'_>, graph: &mut Graph<'_>) -> Result<(), Failure> {
    subject.view.each_decision(|one| {
        let agent = owner(subject, people, one.at);
        graph.add(&decision_entity(subject, &one, &agent)).map_err(unwritten)
    })
}

fn decision_entity(subject: &Subject<'_>, one: &DecisionRecord, agent: &str) -> Entity {
    let (number, kind) = (one.number, one.kind.as_str());
    let decided = one.script_sha256.as_ref().unwrap_or(&one.plugin_sha256);
    let main = subject.software.main();
    let because = one.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let said = match (&one.next, &one.error) {
        (_, Some(error)) => error.clone(),
        (Some(next), None) => format!("next comes {next}{because}"),
        (None, None) => format!("the results are in its state{because}"),
    };
    let end = match one.outcome {
        DecisionOutcome::Answered => End::Well,
        DecisionOutcome::Error
        | DecisionOutcome::Trap
        | DecisionOutcome::Limit
        | DecisionOutcome::Deadline
        | DecisionOutcome::BadOutput => End::Badly(&said),
    };
    let entity = Entity::new(&decision(number as i64, i64::from(one.attempt)), &["CreateAction"])
        .text("name", &format!("Decision {number}: {kind} of iteration {}", one.iteration))
        .text("description", &said)
        .link("instrument", subject.software.id(decided).unwrap_or(&main))
        .link("agent", agent)
        .text("startTime", &super::moment(one.at))
        .text("endTime", &super::moment(one.at))
        .link("object", &config_of(subject, &one.config_sha256))
        .links("result", subject.parameters.values(true).take(1));
    ended(entity, &end)
}

/// The configuration that a decision was made under; what was given to the run where the bundle has it no more.
fn config_of(subject: &Subject<'_>, sha256: &str) -> String {
    let place = subject.contents.place(sha256).map(|path| encoded(&path));
    place.or_else(|| subject.parameters.values(false).next().map(str::to_owned)).unwrap_or_else(|| "./".to_owned())
}

/// Describes the tasks: each as a step, and that it was carried out if an attempt was made.
pub(super) fn tasks(subject: &Subject<'_>, graph: &mut Graph<'_>) -> Result<(), Failure> {
    let mut position = 0;
    subject.view.each_task(|task| {
        position += 1;
        let spec: Option<Task> = serde_json::from_str(task.spec.0.get()).ok();
        let command = spec.and_then(|spec| spec.command).map(|command| match command {
            CommandLine::Argv(words) => words.join(" "),
            CommandLine::Shell(line) => line,
        });
        let stale = if task.stale { ", on what has been changed since" } else { "" };
        let why = task.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let said = format!("Iteration {}, {}{stale}{why}", task.iteration, task.state);
        let said = command.map_or(said.clone(), |command| format!("{said}. {}", shortened(&command, TEXT_MAX, false)));
        let entity = Entity::new(&step(&task.id), &["HowToStep"])
            .text("name", &task.id)
            .text("description", &said)
            .number("position", position)
            .link("workExample", &software::tool(&task.operator));
        graph.add(&entity).map_err(unwritten)?;
        if task.attempts == 0 {
            return Ok(());
        }
        let end = match task.state {
            TaskState::Completed => End::Well,
            TaskState::Failed | TaskState::Cancelled | TaskState::Skipped => {
                End::Badly(task.reason.as_deref().unwrap_or("no reason is recorded"))
            }
            TaskState::Pending | TaskState::Running => End::NotYet,
        };
        let entity = Entity::new(&control(&task.id), &["ControlAction"])
            .text("name", &format!("Task {}", task.id))
            .link("instrument", &step(&task.id))
            .time("startTime", task.started_at)
            .time("endTime", task.ended_at)
            .links("object", subject.view.attempt_ids(&task.id)?.iter().map(|id| attempt(id)));
        graph.add(&ended(entity, &end)).map_err(unwritten)
    })
}

/// Describes every attempt, whatever became of it, and where attempts were made.
pub(super) fn attempts(subject: &Subject<'_>, people: &mut People<'_>, graph: &mut Graph<'_>) -> Result<(), Failure> {
    for one in &subject.environments {
        graph.add(&environment_entity(one)).map_err(unwritten)?;
    }
    subject.view.each_attempt(|(_, one)| {
        let agent = answerer(subject, people, &one).unwrap_or_else(|| owner(subject, people, one.created_at));
        attempt_entities(subject, &one, &agent).iter().try_for_each(|entity| graph.add(entity)).map_err(unwritten)
    })
}

fn environment_entity(one: &EnvironmentRecord) -> Entity {
    let value = serde_json::json!({"variables": one.variables, "recorded": one.recorded});
    Entity::new(&environment(one.environment), &["PropertyValue"])
        .text("name", &format!("The environment of jobs on {}", one.host))
        .text("value", &value.to_string())
}

/// The person who answered the question that an attempt was.
fn answerer(subject: &Subject<'_>, people: &mut People<'_>, one: &AttemptRecord) -> Option<String> {
    let settings = subject.config?.operators.get(&one.operator)?;
    let by = one.data.as_ref().filter(|_| settings.plugin == HUMAN)?.get("by")?;
    let number = by.get("uid").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    Some(people.user(by.get("user")?.as_str()?, number))
}

/// An attempt, with the numbers that are told of it.
fn attempt_entities(subject: &Subject<'_>, one: &AttemptRecord, agent: &str) -> Vec<Entity> {
    let id = attempt(&one.attempt_id);
    let mut values = Vec::new();
    let mut value = |name: &str, said: &str, text: &str, unit: Option<&str>| {
        let of = format!("#{name}-{}", encoded(&one.attempt_id));
        let entity = Entity::new(&of, &["PropertyValue"]).text("name", said).text("value", text);
        let property = unit.map(|_| format!("urn:matterstack:{name}"));
        values.push(entity.maybe("propertyID", property.as_deref()).maybe("unitCode", unit));
        of
    };
    let mut objects: BTreeSet<String> = one.inputs.iter().map(|input| files::id_of(subject, &input.sha256)).collect();
    if let Some(from) = &one.reused {
        let text = format!("run {}, attempt {}, which ran as attempt {}", from.run, from.attempt, from.origin);
        objects.insert(value("reused", "reused from", &text, None));
    }
    let left = one.outputs.iter().map(|output| &output.sha256).chain(one.logs.iter().map(|log| &log.sha256));
    let mut results: BTreeSet<String> = left.map(|sha256| files::id_of(subject, sha256)).collect();
    // what a command's operator tells of it is its exit record
    let recorded = one.logs.iter().any(|log| log.kind == LogKind::Exit);
    if let Some(data) = one.data.as_ref().filter(|_| !recorded) {
        results.insert(value("data", "output document", &shortened(&data.to_string(), TEXT_MAX, false), None));
    }
    if results.is_empty() {
        results.insert(value("state", "state", &one.state.to_string(), None));
    }
    let usage = [
        ("cpu", "processor time", one.job.cpu_ms, "https://qudt.org/vocab/unit/MilliSEC"),
        ("memory", "peak memory", one.job.memory_peak_mb, "https://qudt.org/vocab/unit/MebiBYTE"),
    ];
    let used: Vec<String> = usage
        .into_iter()
        .filter_map(|(name, said, number, unit)| Some(value(name, said, &number?.to_string(), Some(unit))))
        .collect();
    let reason = one.reason.clone().unwrap_or_else(|| format!("it is {}", one.state));
    let entity = Entity::new(&id, &["CreateAction"])
        .text("name", &format!("Attempt {} at task {}", one.number, one.task))
        .text("description", &told(one))
        .text("identifier", &one.attempt_id)
        .link("instrument", &software::tool(&one.operator))
        .link("agent", agent)
        .text("startTime", &super::moment(one.job.started_at.unwrap_or(one.created_at)))
        .time("endTime", one.ended_at)
        .links("object", &objects)
        .links("result", &results)
        .links("environment", one.environment.map(environment))
        .links("resourceUsage", used);
    values.push(ended(entity, &end_of(one.state, &reason)));
    values
}

fn end_of(state: AttemptState, reason: &str) -> End<'_> {
    match state {
        AttemptState::Completed => End::Well,
        AttemptState::Failed | AttemptState::Cancelled | AttemptState::Lost => End::Badly(reason),
        AttemptState::Created
        | AttemptState::Prepared
        | AttemptState::Submitting
        | AttemptState::Submitted
        | AttemptState::Running
        | AttemptState::WaitingExternal => End::NotYet,
    }
}

/// What became of an attempt and where, in a sentence.
fn told(one: &AttemptRecord) -> String {
    let job = &one.job;
    let node = job.node.as_ref().or(job.host.as_ref()).map(|node| format!(" on {node}")).unwrap_or_default();
    let named = job.external_id.as_ref().map(|id| format!(" as job {id}")).unwrap_or_default();
    let why = one.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match &one.reused {
        Some(_) => format!("It ran nothing and took what an earlier attempt had left; it is {}{why}", one.state),
        None => format!("It is {}{node}{named}{why}", one.state),
    }
}
