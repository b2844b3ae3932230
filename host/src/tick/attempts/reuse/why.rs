//! Why a task takes an earlier result or runs, what a new run would take, and a person's word that a result is not to
//! be taken.
use super::source::{Found, Source, Sources};
use super::take::{NotTaken, look_at, wanted};
use super::{Reuse, accepted, allowed};
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::document::sha256;
use crate::model::id::{AttemptId, TaskId};
use crate::model::remedy::Remedy;
use crate::model::reuse::{Ignorable, Part, ReuseConfig, ReuseKey};
use crate::model::states::AttemptState;
use crate::model::workflow::{FileSource, Task};
use crate::run::{Run, RunDir};
use crate::store::{Durability, Earlier, EarlierState, NewInput, Store, TaskRow};
use crate::tick::acts::control::{known_task, not_now};
use crate::tick::attempts::consumed::consumed;
use crate::tick::attempts::folders::{Unopened, opened};
use crate::tick::attempts::verdict::stored_task;
use crate::tick::{ControlError, TickError};
use std::collections::{BTreeMap, BTreeSet};

/// Tasks that a survey looks at.
const SURVEYED_MAX: u64 = 1_000;
/// Attempts of a run that are compared with a task which no attempt is like.
const COMPARED_MAX: u32 = 10_000;
/// Files or variables that a sentence names.
const NAMED: usize = 3;

/// What is said of one task.
#[derive(Debug)]
pub struct Answer {
    /// `reused`, `reusable` or `not-reused`.
    pub code: Code,
    /// One sentence.
    pub sentence: String,
}

fn not_reused(sentence: impl Into<String>) -> Answer {
    Answer { code: Code::NotReused, sentence: sentence.into() }
}

/// A task as its next attempt, or the one it had, computes it.
struct Asked {
    row: TaskRow,
    task: Task,
    json: String,
    inputs: Vec<NewInput>,
    keys: Result<Vec<ReuseKey>, String>,
    /// What its first attempt had recorded, if there was one.
    recorded: Option<ReuseKey>,
}

/// Says whether a task has, or would take, what an earlier attempt left, and if not, why. Nothing if there is no such
/// task.
///
/// # Errors
/// If the run's own store cannot be read, or the machine fails.
pub fn explain_reuse(run: &Run, id: &str) -> Result<Option<Answer>, TickError> {
    let Some(row) = run.store.task(id)? else { return Ok(None) };
    if let Some(reused) = run.store.task_reused(row.key)? {
        let from = if reused.origin == reused.attempt { "" } else { ", which had them from an earlier run" };
        let sentence =
            format!("it ran nothing: it has the results of attempt `{}` of run `{}`{from}", reused.attempt, reused.run);
        return Ok(Some(Answer { code: Code::Reused, sentence }));
    }
    let mut reuse = Reuse::default();
    let asked = ask(run, row, &mut reuse)?;
    let keys = match &asked.keys {
        Ok(keys) => keys.clone(),
        Err(why) => return Ok(Some(not_reused(why.clone()))),
    };
    let Some(settings) = allowed(&run.config, &asked.row.operator) else {
        let why = match &run.config.reuse {
            Some(reuse) if reuse.from.is_some() => {
                format!("`reuse.operators` does not name its operator `{}`", asked.row.operator)
            }
            _ => "the run reuses nothing: `reuse.from` is not set".to_owned(),
        };
        return Ok(Some(not_reused(why)));
    };
    let mut answer = look(run, &asked, &keys, &mut reuse, settings)?;
    let passed = &reuse.sources(run, settings)?.passed;
    if answer.code == Code::NotReused && !passed.is_empty() {
        let more = if passed.len() > NAMED { format!(" and {} more", passed.len() - NAMED) } else { String::new() };
        let named: Vec<&str> = passed.iter().take(NAMED).map(String::as_str).collect();
        answer.sentence += &format!("; passed over: {}{more}", named.join("; "));
    }
    Ok(Some(answer))
}

fn ask(run: &Run, row: TaskRow, reuse: &mut Reuse) -> Result<Asked, TickError> {
    let json = run.store.task_json(row.key)?;
    let task = as_begun(run, stored_task(&json)?)?;
    let inputs = consumed(run, &task)?;
    let keys = reuse.keys(run, (&row.operator, &would_lie(&row.operator, &row.id)), &task, &inputs)?;
    let first = run.store.attempts(row.key)?.into_iter().next();
    let recorded = first.map(|attempt| run.store.reuse_key(attempt.key)).transpose()?.flatten();
    Ok(Asked { row, task, json, inputs, keys, recorded })
}

/// The task as an attempt would have it that began now; a folder stays one as long as nobody can say what is in it.
fn as_begun(run: &Run, task: Task) -> Result<Task, TickError> {
    match opened(run, task.clone()) {
        Err(Unopened::Store(error)) => Err(error.into()),
        Err(Unopened::Told(_)) => Ok(task),
        Ok(task) => Ok(task),
    }
}

/// The directory in which an attempt at a task would lie: words of its command that lead out of there are looked at.
fn would_lie(operator: &str, id: &str) -> String {
    RunDir::attempt_directory(operator, id, &AttemptId(String::new()))
}

/// Looks for an attempt that could serve, else for the one that is nearest.
fn look(
    run: &Run,
    asked: &Asked,
    keys: &[ReuseKey],
    reuse: &mut Reuse,
    settings: &ReuseConfig,
) -> Result<Answer, TickError> {
    let began = asked.row.attempts > 0;
    let sources = reuse.sources(run, settings)?;
    let mut unfit = None;
    for found in sources.with_keys(keys, &asked.row.id) {
        let Some(source) = sources.all.get(found.source) else { continue };
        let name = format!("attempt {} at task `{}` of run `{}`", found.earlier.number, found.earlier.task, source.run);
        let why = match of_state(found.earlier.state) {
            Some(why) => why.to_owned(),
            None if run.store.has_reused(&found.earlier.origin)? => {
                "serves another task of this run, and one result stands for one measurement".to_owned()
            }
            None => match whole(source, &found.earlier, (&asked.task, &asked.json)) {
                Ok(()) if began => {
                    let sentence = format!(
                        "{name} computed the same; the task has had an attempt of its own, and what runs again runs"
                    );
                    return Ok(not_reused(sentence));
                }
                Ok(()) => {
                    let other = environment_differs(run, source, &found.earlier);
                    let accepted = keys.first().and_then(|own| accepted(own, &found.earlier, &settings.ignore));
                    let accepted = accepted.unwrap_or_default();
                    return Ok(Answer {
                        code: Code::Reusable,
                        sentence: format!("{name} computed the same, and what it left is there{accepted}{other}"),
                    });
                }
                Err(why) => why,
            },
        };
        unfit.get_or_insert_with(|| not_reused(format!("{name} computed the same, but {why}")));
    }
    if let Some(unfit) = unfit {
        return Ok(unfit);
    }
    let Some(own) = asked.recorded.as_ref().or(keys.first()) else { return Ok(not_reused("it has no key")) };
    Ok(nearest(asked, own, sources))
}

fn of_state(state: EarlierState) -> Option<&'static str> {
    match state {
        EarlierState::Sound => None,
        EarlierState::Rejected => Some("a person rejected what it left"),
        EarlierState::Stale => Some("it is stale: what it computed with has been changed since"),
        EarlierState::Settled => Some("it completed by a person's word"),
        EarlierState::Superseded => Some("its task has run again since, or goes on"),
        EarlierState::Far => Some("some of what it left stayed on a cluster"),
        EarlierState::Removed => Some("what it left was removed by `clean`"),
    }
}

/// Whether what an attempt left is there as recorded.
fn whole(source: &Source, earlier: &Earlier, task: (&Task, &str)) -> Result<(), String> {
    wanted(source, earlier, task).and_then(|wanted| look_at(source, earlier, &wanted)).map_err(|error| match error {
        NotTaken::Unfit(why) | NotTaken::PutAside(why) => why,
    })
}

/// Tells in what the variables differ that jobs inherit; they are no part of a key.
fn environment_differs(run: &Run, source: &Source, earlier: &Earlier) -> String {
    let (Ok(own), Ok(Some(then))) = (run.store.environment(), source.store.variables_of(earlier.key)) else {
        return String::new();
    };
    let names: BTreeSet<&String> = own.variables.keys().chain(then.keys()).collect();
    let names: Vec<&String> = names.into_iter().filter(|name| own.variables.get(*name) != then.get(*name)).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; jobs inherited another {}, which is no part of the key", some(names.iter())),
    }
}

/// The first of some names, for a sentence.
fn some<T: std::fmt::Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
    let named: Vec<String> = names.take(NAMED).map(|name| format!("`{name}`")).collect();
    named.join(", ") + &more
}

/// Says in what the earlier attempt that is most like the task differs first.
fn nearest(asked: &Asked, own: &ReuseKey, sources: &mut Sources) -> Answer {
    let mut best: Option<(Vec<Part>, usize, Earlier)> = None;
    let Sources { all, passed, .. } = sources;
    for same_task in [true, false] {
        for (at, source) in all.iter_mut().enumerate() {
            let read = |store: &Store| match same_task {
                true => store.earlier_at_task(&asked.row.id),
                false => store.earlier_of_all(COMPARED_MAX),
            };
            for earlier in source.read(read, passed).unwrap_or_default() {
                let differing = own.differing(&earlier.parts);
                if best.as_ref().is_none_or(|(fewest, ..)| differing.len() < fewest.len()) {
                    best = Some((differing, at, earlier));
                }
            }
        }
        if best.is_some() {
            break;
        }
    }
    let Some((differing, at, earlier)) = best else {
        return not_reused("no earlier attempt that completed has a key to compare with");
    };
    let source = &all[at];
    let what = match differing.first() {
        Some(Part::Files) => match differing_files(asked, source, &earlier) {
            names if names.is_empty() => Part::Files.name().to_owned(),
            names => format!("{}: {}", Part::Files.name(), some(names.iter())),
        },
        Some(part) => part.name().to_owned(),
        None => "nothing that is kept of it".to_owned(),
    };
    let name = format!("attempt {} at task `{}` of run `{}`", earlier.number, earlier.task, source.run);
    let most = if differing.len() > 1 { " first" } else { "" };
    let words: Option<Vec<&str>> = differing.iter().map(|part| Ignorable::word_of(*part)).collect();
    let accept = match words.filter(|words| !words.is_empty()) {
        Some(words) => format!("; `init --reuse-ignore {}` accepts that", words.join(" --reuse-ignore ")),
        None => String::new(),
    };
    not_reused(format!("no earlier attempt computed the same; the nearest, {name}, differs{most} in {what}{accept}"))
}

/// The files that differ, by where they are put; none if that cannot be told.
fn differing_files(asked: &Asked, source: &Source, earlier: &Earlier) -> Vec<String> {
    let files = |task: &Task, inputs: Vec<(String, String)>| {
        let written = task.files.iter().filter_map(|(destination, source)| match source {
            FileSource::Content(content) => Some((destination.clone(), sha256(content.content.as_bytes()))),
            FileSource::Path(_) | FileSource::From(_) | FileSource::Other(_) | FileSource::Digest(_) => None,
        });
        written.chain(inputs).collect::<BTreeMap<String, String>>()
    };
    let own = asked.inputs.iter().map(|input| (input.destination.clone(), input.sha256.clone())).collect();
    let then = source.store.inputs(earlier.key).unwrap_or_default();
    let then = then.into_iter().map(|input| (input.destination, input.sha256)).collect();
    let attempt = source.store.attempt(&earlier.attempt).ok().flatten();
    let Some(task) = attempt.and_then(|attempt| stored_task(&attempt.task_json).ok()) else { return Vec::new() };
    let (own, then) = (files(&asked.task, own), files(&task, then));
    let names: BTreeSet<&String> = own.keys().chain(then.keys()).collect();
    names.into_iter().filter(|name| own.get(*name) != then.get(*name)).cloned().collect()
}

/// What a run that has just been made would take.
#[derive(Debug, Default)]
pub struct Survey {
    /// Tasks that can start now, as far as they were looked at: at most a thousand of an operator.
    pub ready: u64,
    /// Whether there are more.
    pub more: bool,
    /// Those of them of which an earlier attempt computed the same.
    pub found: u64,
    /// Why runs are passed over.
    pub passed: Vec<String>,
}

/// Counts the tasks that can start now and for which an earlier attempt has a result; that its files are whole is seen
/// when it is taken. What depends on other tasks is not foreseen. Nothing if the run reuses nothing.
///
/// # Errors
/// If the run's own store cannot be read, or the machine fails.
pub fn survey(run: &Run) -> Result<Option<Survey>, TickError> {
    let (mut survey, mut reuse, mut used) = (None, Reuse::default(), BTreeSet::new());
    for operator in run.config.operators.keys() {
        let Some(settings) = allowed(&run.config, operator) else { continue };
        let told: &mut Survey = survey.get_or_insert_default();
        let ready = run.store.ready_tasks(operator, SURVEYED_MAX)?;
        told.more |= ready.len() as u64 == SURVEYED_MAX;
        for spec in ready {
            told.ready += 1;
            let task = as_begun(run, stored_task(&run.store.task_json(spec.key)?)?)?;
            let inputs = consumed(run, &task)?;
            let Ok(keys) = reuse.keys(run, (operator, &would_lie(operator, &spec.id)), &task, &inputs)? else {
                continue;
            };
            let found = reuse.sources(run, settings)?.with_keys(&keys, &spec.id);
            let sound = |one: &&Found| one.earlier.state == EarlierState::Sound && !used.contains(&one.earlier.origin);
            if let Some(one) = found.iter().find(sound) {
                used.insert(one.earlier.origin.clone());
                told.found += 1;
            }
        }
        told.passed = reuse.sources(run, settings)?.passed.clone();
    }
    Ok(survey)
}

/// Keeps that nobody shall take what the last completed attempt at a task left. The act says who wants that, and why.
///
/// # Errors
/// If no attempt at the task has completed, or that is so already.
pub fn reject(run: &mut Run, id: &str, act: &Act) -> Result<(), ControlError> {
    let task = known_task(run, id)?;
    let last = run.store.attempts(task.key)?.into_iter().rfind(|attempt| attempt.state == AttemptState::Completed);
    let refuse = |what: String| Err(not_now(run, what, Some(Remedy::Explain(TaskId(id.to_owned())))));
    let Some(last) = last else { return refuse(format!("no attempt at task `{id}` has completed")) };
    if run.store.reuse_key(last.key)?.is_none() {
        return refuse(format!("no later run would take the results of task `{id}`: its attempt has no key"));
    }
    if run.store.is_reuse_rejected(last.key)? {
        return refuse(format!("the results of task `{id}` are rejected already"));
    }
    run.store.transaction(Durability::Full, |writer| {
        let number = writer.add_act(act)?;
        writer.reject_reuse(last.key, number)
    })?;
    Ok(())
}
