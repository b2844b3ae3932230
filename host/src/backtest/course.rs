//! One virtual run: a campaign decides, its tasks come to what is known of them, and the clock jumps from end to end.
use super::answers::{Answers, Known, asks, key_of};
use super::apart::{Asking, carry_out};
use super::files::Files;
use super::outcome::{Course, Trial, measured};
use super::places::Places;
use super::view::Open;
use super::{Goal, Ready};
use crate::failure::Failure;
use crate::ground::machine::poll_readable;
use crate::model::contract::{Context, Decision, Next, PlanReason};
use crate::model::document::{canonical_own, sha256};
use crate::model::result::{Outcome, TaskResult};
use crate::model::states::TaskState;
use crate::model::workflow::{Task, read_task};
use crate::plugin::{PluginError, PluginHost, Plugins};
use crate::run::CampaignView;
use crate::store::DATA_MAX;
use crate::tick::canonical_output;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// Results of one portion, as many as a run delivers at once.
const PORTION: usize = 1000;
/// Plans in a row that may do nothing.
const IDLE_MAX: u32 = 2;
/// Decisions after which it is given up.
const DECISIONS_MAX: u64 = 100_000;
/// Tasks in a row of which nothing is known, after which it is given up: such a campaign may go on for ever.
const UNKNOWN_MAX: u32 = 200;
/// The id by which a campaign knows a virtual run.
const RUN: &str = "backtest";
/// The code of a task of which nothing is known.
const UNKNOWN: &str = "not-recorded";

/// A task of the virtual run.
struct Planned {
    task: Task,
    /// Its place in the plan.
    place: usize,
    state: TaskState,
    key: Option<String>,
    known: Option<Known>,
}

impl Planned {
    /// Whether it waits for no other any more.
    fn is_ready(&self, tasks: &BTreeMap<String, Self>) -> bool {
        let done = |on: &Self| match self.task.allow_dependency_failure {
            true => on.state.ended(),
            false => on.state == TaskState::Completed,
        };
        self.task.dependencies().iter().all(|on| tasks.get(on.as_str()).is_some_and(done))
    }

    /// Whether it can never start.
    fn is_hopeless(&self, tasks: &BTreeMap<String, Self>) -> bool {
        let bad = |on: &Self| on.state.ended() && on.state != TaskState::Completed;
        !self.task.allow_dependency_failure
            && self.task.dependencies().iter().any(|on| tasks.get(on.as_str()).is_some_and(bad))
    }
}

/// Why it ends.
struct End(&'static str, String);

/// What stops a virtual run.
enum Stop {
    End(End),
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<PluginError> for Stop {
    fn from(error: PluginError) -> Self {
        Self::End(End("held", error.to_string()))
    }
}

fn held(why: impl Into<String>) -> Stop {
    Stop::End(End("held", why.into()))
}

struct Running<'a> {
    ready: &'a Ready,
    seed: u64,
    host: &'a PluginHost,
    files: &'a Files,
    answers: &'a Answers,
    /// Can be read as soon as nobody wants it any more.
    stop: BorrowedFd<'a>,
    view: Arc<CampaignView>,
    open: Arc<Open>,
    now_ms: u64,
    iteration: u32,
    state: Option<String>,
    wake_ms: Option<u64>,
    idle: u32,
    /// By id, and in the order planned.
    tasks: BTreeMap<String, Planned>,
    order: Vec<String>,
    /// Those that wait for others.
    blocked: BTreeSet<String>,
    places: Places,
    /// Those that go on, by when they end and in which order they were begun.
    ends: BTreeSet<(u64, u64, String)>,
    begun: u64,
    /// Those that ended and were not heard of.
    fresh: Vec<String>,
    /// Tasks in a row of which nothing is known.
    unknown: u32,
    /// How often each thing was computed.
    again: BTreeMap<String, usize>,
    course: Course,
}

/// Lets a campaign decide with a seed until it is done.
pub(super) fn go(
    ready: &Ready,
    seed: u64,
    host: &PluginHost,
    files: &Files,
    answers: &Answers,
    stop: BorrowedFd<'_>,
) -> Result<Course, Failure> {
    let open = Arc::new(Open::default());
    let view = CampaignView::new(RUN, &ready.dir, &ready.config, None).told_by(open.clone());
    let mut running = Running {
        ready,
        seed,
        host,
        files,
        answers,
        stop,
        view: Arc::new(view),
        open,
        now_ms: answers.begun_ms,
        iteration: 0,
        state: None,
        wake_ms: None,
        idle: 0,
        tasks: BTreeMap::new(),
        order: Vec::new(),
        blocked: BTreeSet::new(),
        places: Places::of(&ready.config),
        ends: BTreeSet::new(),
        begun: 0,
        fresh: Vec::new(),
        unknown: 0,
        again: BTreeMap::new(),
        course: Course::new(&ready.name, seed, &ready.goal),
    };
    let End(state, reason) = match running.drive() {
        Stop::End(end) => end,
        Stop::Failure(failure) => return Err(failure),
    };
    running.course.time_s = running.passed_s();
    Ok(Course { state, reason, ..running.course })
}

impl Running<'_> {
    fn drive(&mut self) -> Stop {
        let mut asked = Some(PlanReason::First);
        loop {
            let turn = self.turn(asked);
            match turn {
                Ok(next) => asked = next,
                Err(stop) => return stop,
            }
        }
    }

    /// Asks for a plan if one is owed, starts what is ready, and lets the next tasks end. Returns why a plan is owed
    /// then.
    fn turn(&mut self, asked: Option<PlanReason>) -> Result<Option<PlanReason>, Stop> {
        if let Some(why) = asked {
            self.plan(why)?;
        }
        self.start()?;
        let each = self.ready.config.campaign.takes_each_result();
        if self.fresh.is_empty() || (!each && self.is_open()) {
            match (self.ends.first().map(|(at, ..)| *at), self.wake_ms) {
                (next, Some(wake)) if next.is_none_or(|next| wake < next) => {
                    self.now_ms = self.now_ms.max(wake);
                    return Ok(Some(PlanReason::Time));
                }
                (Some(at), _) => self.end_all_of(at),
                (None, None | Some(_)) => {
                    self.idle += 1;
                    let why = format!("the campaign planned nothing {IDLE_MAX} times in a row");
                    return if self.idle < IDLE_MAX { Ok(Some(PlanReason::Waited)) } else { Err(held(why)) };
                }
            }
        }
        self.skip();
        if !each && self.is_open() {
            return Ok(None);
        }
        self.analyze()?;
        Ok(Some(PlanReason::Results))
    }

    fn is_open(&self) -> bool {
        !self.open.all().is_empty()
    }

    fn passed_s(&self) -> f64 {
        self.now_ms.saturating_sub(self.answers.begun_ms) as f64 / 1000.0
    }

    fn context(&mut self, iteration: u32, asked: Vec<String>) -> Result<Context, Stop> {
        if self.course.decisions == DECISIONS_MAX {
            return Err(held(format!("it was given up after {DECISIONS_MAX} decisions")));
        }
        if poll_readable(&[self.stop], Some(Duration::ZERO)).is_ok_and(|ready| ready == [true]) {
            return Err(Failure::interrupted().into());
        }
        self.course.decisions += 1;
        let open_tasks = self.open.all().len() as u64;
        Ok(Context {
            decision: self.course.decisions,
            iteration,
            now_ms: self.now_ms,
            seed: self.seed,
            asked,
            open_tasks,
            run: self.view.clone(),
        })
    }

    fn plan(&mut self, why: PlanReason) -> Result<(), Stop> {
        let context = self.context(self.iteration + 1, vec![why.as_str().to_owned()])?;
        let answer = self.host.plan(&context, self.state.as_deref());
        answer.written.into_values().for_each(|bytes| drop(self.files.keep(bytes)));
        let Decision { state, next, cancel, wake_at_ms, reason, .. } = answer.value?;
        self.state = Some(canonical_output(&state, "plan", "state")?);
        self.wake_ms = wake_at_ms;
        cancel.iter().for_each(|id| self.cancel(id));
        match next {
            Next::Workflow(tasks) => self.add(&tasks),
            Next::Wait => Ok(()),
            Next::Complete(_) => Err(Stop::End(End("completed", reason))),
            Next::Fail(detail) => Err(Stop::End(End("failed", detail.message))),
            Next::Hold(detail) => Err(held(detail.message)),
        }
    }

    /// Takes the tasks of a plan in; those that are known already are passed over.
    fn add(&mut self, document: &str) -> Result<(), Stop> {
        let parts: Vec<&RawValue> = serde_json::from_str(document).map_err(|error| held(format!("plan: {error}")))?;
        let before = self.order.len();
        for (position, part) in parts.into_iter().enumerate() {
            let (task, _) =
                read_task(position, part.get(), &self.ready.config).map_err(|error| held(error.to_string()))?;
            let id = task.id.as_str().to_owned();
            if self.tasks.contains_key(&id) {
                continue;
            }
            let pinned = |path: &str| self.ready.pinned(path);
            let key = key_of(&task, pinned, |id| self.tasks.get(id)?.key.clone());
            self.open.all().insert(id.clone());
            self.blocked.insert(id.clone());
            let place = self.order.len();
            self.order.push(id.clone());
            self.tasks.insert(id, Planned { task, place, state: TaskState::Pending, key, known: None });
        }
        if self.order.len() > before {
            self.iteration += 1;
            self.idle = 0;
        }
        if self.order.len() as u64 > self.ready.config.limits.max_tasks {
            return Err(held(format!("it would have {} tasks", self.order.len())));
        }
        Ok(())
    }

    /// Begins every task that waits for nothing and has room, and puts down when it will end.
    fn start(&mut self) -> Result<(), Stop> {
        let (tasks, places) = (&self.tasks, &mut self.places);
        self.blocked.retain(|id| match tasks.get(id).filter(|planned| planned.is_ready(tasks)) {
            Some(planned) => {
                places.ready(&planned.task, planned.place);
                false
            }
            None => true,
        });
        for id in places.begin(self.now_ms, |id| Some(&tasks.get(id)?.task)).map_err(held)? {
            let known = self.comes_to(&id)?;
            let Some(planned) = self.tasks.get_mut(&id) else { continue };
            planned.state = TaskState::Running;
            self.begun += 1;
            self.ends.insert((self.now_ms + known.ran_ms, self.begun, id.clone()));
            planned.known = Some(known);
        }
        Ok(())
    }

    /// What a task comes to: as the record or the table has it; the program of the campaign is asked in earnest.
    fn comes_to(&mut self, id: &str) -> Result<Known, Stop> {
        let Some(Planned { task, key, .. }) = self.tasks.get(id) else { return Err(held("bug: a task is gone")) };
        let counted = key.clone().unwrap_or_else(|| id.to_owned());
        let again = self.again.entry(counted).or_default();
        let found = self.answers.find((task, key.as_deref()), *again, |bytes| self.files.keep(bytes));
        *again += 1;
        if let Some(known) = found {
            self.unknown = 0;
            return Ok(known);
        }
        let mut why = "neither the record nor the table has it";
        if asks(&self.ready.config, id) {
            let left = |task: &str, path: &str| {
                let outputs = &self.tasks.get(task)?.known.as_ref()?.outputs;
                Some(outputs.iter().find(|output| output.path == path)?.sha256.clone())
            };
            let ran_ms = self.answers.usual(&task.operator, true);
            self.course.asked += 1;
            let asking = Asking { ready: self.ready, task, files: self.files, ran_ms, stop: self.stop };
            if let Some(known) = carry_out(&asking, left)? {
                return Ok(known);
            }
            why = "its answer is not recorded, and its program is started only where a local backend would run it";
        }
        self.course.unanswered.push(id.to_owned());
        self.unknown += 1;
        if self.unknown == UNKNOWN_MAX {
            return Err(held(format!("of {UNKNOWN_MAX} tasks in a row nothing is known")));
        }
        Ok(Known {
            outcome: Outcome::Failed,
            code: Some(UNKNOWN.to_owned()),
            reason: Some(why.to_owned()),
            data: None,
            outputs: Vec::new(),
            ran_ms: self.answers.usual(&task.operator, false),
        })
    }

    /// Lets all tasks end that end at this time.
    fn end_all_of(&mut self, at: u64) {
        self.now_ms = self.now_ms.max(at);
        while let Some((end, ..)) = self.ends.first()
            && *end == at
            && let Some((_, _, id)) = self.ends.pop_first()
        {
            let outcome = self.tasks.get(&id).and_then(|planned| Some(planned.known.as_ref()?.outcome));
            self.ended(&id, outcome.map_or(TaskState::Failed, Outcome::state));
        }
    }

    fn ended(&mut self, id: &str, state: TaskState) {
        let Some(planned) = self.tasks.get_mut(id) else { return };
        planned.state = state;
        self.fresh.push(id.to_owned());
        self.open.all().remove(id);
        if !self.blocked.remove(id) {
            self.places.end(&planned.task);
        }
    }

    fn cancel(&mut self, id: &str) {
        if self.tasks.get(id).is_some_and(|planned| !planned.state.ended()) {
            self.ends.retain(|(_, _, other)| other != id);
            self.ended(id, TaskState::Cancelled);
        }
    }

    /// Skips what can never start.
    fn skip(&mut self) {
        loop {
            let is_hopeless =
                |id: &&String| self.tasks.get(*id).is_some_and(|planned| planned.is_hopeless(&self.tasks));
            let hopeless: Vec<String> = self.blocked.iter().filter(is_hopeless).cloned().collect();
            if hopeless.is_empty() {
                return;
            }
            hopeless.iter().for_each(|id| self.ended(id, TaskState::Skipped));
        }
    }

    /// Hands over what has ended, in the order in which it did, or in that of the plan where a whole iteration is
    /// handed over.
    fn analyze(&mut self) -> Result<(), Stop> {
        let mut fresh = std::mem::take(&mut self.fresh);
        if !self.ready.config.campaign.takes_each_result() {
            let of: BTreeSet<&String> = fresh.iter().collect();
            fresh = self.order.iter().filter(|id| of.contains(id)).cloned().collect();
        }
        for portion in fresh.chunks(PORTION) {
            let results: Vec<TaskResult> = portion.iter().filter_map(|id| self.result(id)).collect();
            let finished = canonical_own(&results);
            let context = self.context(self.iteration, Vec::new())?;
            let answer = self.host.analyze(&context, self.state.as_deref().unwrap_or("null"), &finished);
            answer.written.into_values().for_each(|bytes| drop(self.files.keep(bytes)));
            self.state = Some(canonical_output(&answer.value?.state, "analyze", "state")?);
            results.iter().for_each(|result| self.note(result));
        }
        Ok(())
    }

    fn result(&self, id: &str) -> Option<TaskResult> {
        let planned = self.tasks.get(id)?;
        let known = planned.known.as_ref().filter(|known| known.outcome.state() == planned.state);
        let mut result = TaskResult {
            task: id.to_owned(),
            outcome: Outcome::of(planned.state)?,
            code: known.and_then(|known| known.code.clone()),
            reason: known.and_then(|known| known.reason.clone()),
            allow_failure: planned.task.allow_failure,
            attempt: known.map(|_| format!("{RUN}-{id}")),
            attempts: u32::from(known.is_some()),
            data: known.and_then(|known| known.data.clone()),
            data_sha256: None,
            data_size: None,
            outputs: known.map(|known| known.outputs.clone()).unwrap_or_default(),
            supersedes: None,
        };
        if let Some(text) = result.data.as_ref().map(canonical_own).filter(|text| text.len() > DATA_MAX) {
            (result.data_sha256, result.data_size) = (Some(sha256(text.as_bytes())), Some(text.len() as u64));
            self.files.keep(text.into_bytes());
            result.data = None;
        }
        Some(result)
    }

    /// Notes the value of a result, if it has one.
    fn note(&mut self, result: &TaskResult) {
        let (name, goal) = &self.ready.goal;
        if result.outcome != Outcome::Completed || asks(&self.ready.config, &result.task) {
            return;
        }
        let value = |document: &Value| measured(document.get(name)?);
        let of_files = || {
            let documents = result.outputs.iter().filter(|output| output.path.ends_with(".json"));
            documents
                .filter_map(|output| serde_json::from_slice(&self.files.whole(&output.sha256)?).ok())
                .find_map(|one| value(&one))
        };
        let Some(value) = result.data.as_ref().and_then(value).or_else(of_files) else { return };
        let is_better = self.course.best.is_none_or(|best| match goal {
            Goal::Least => value < best,
            Goal::Most => value > best,
        });
        if is_better {
            (self.course.best, self.course.best_after) = (Some(value), Some(self.course.trials.len() + 1));
        }
        let (task, time_s, best) = (result.task.clone(), self.passed_s(), self.course.best.unwrap_or(value));
        self.course.trials.push(Trial { task, time_s, value, best });
    }
}
