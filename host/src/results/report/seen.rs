//! What a page is made from, in one pass over a run.
use super::states::States;
use super::timeline::Timeline;
use super::values::{Goal, Values, measured};
use super::{Wanted, objectives};
use crate::failure::Failure;
use crate::model::act::ActRecord;
use crate::model::config::RunConfig;
use crate::model::evidence::{
    ApprovalRecord, AttemptUse, DecisionRecord, EnvironmentRecord, NumberedEngine, PluginRecord, ResourcesRecord,
    RunRecord, Tally,
};
use crate::model::states::{AttemptState, TaskState};
use crate::results::fields::{data, document, flatten};
use crate::results::said::{Said, place, said_last};
use crate::run::RunDir;
use crate::store::{Snapshot, Store, TaskEnd};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Tasks that are all listed.
const ALL: u64 = 10_000;
/// Of more tasks, how many of those that failed are listed, and of those that are stale, reused, or ran longest.
const NOTABLE: [usize; 4] = [500, 150, 50, 300];
/// Tasks that are read at once.
const PORTION: u32 = 1000;
/// Failures that are told with what was written last.
pub(super) const FAILURES: usize = 20;
/// Attempts that failed or were lost and are listed.
const BAD: usize = 200;
/// Things that people were asked and that are listed.
const APPROVALS: usize = 500;
/// Machines that are listed.
const MACHINES: usize = 500;
/// Outputs that could not be read and are named.
const UNREAD: usize = 10;
/// Decisions that are told.
pub(super) const DECISIONS: usize = 300;

/// A run as the page shows it.
pub(super) struct Seen {
    pub(super) run: RunRecord,
    pub(super) tasks: Tasks,
    pub(super) failures: Vec<TaskEnd>,
    /// What the last attempts of those said last.
    pub(super) said: Vec<Said>,
    pub(super) values: Values,
    pub(super) metrics: Values,
    pub(super) goals: Vec<(String, Goal)>,
    pub(super) decisions: Vec<DecisionRecord>,
    pub(super) decisions_failed: u64,
    pub(super) states: States,
    pub(super) stale: u64,
    /// The first attempts that failed or were lost, with why, and how many more there are.
    pub(super) bad: Vec<(AttemptUse, Option<String>)>,
    pub(super) bad_more: u64,
    /// Where the last attempts at tasks ran: how many, and for how many milliseconds in all.
    pub(super) machines: BTreeMap<String, (u64, i64)>,
    pub(super) plugins: Vec<PluginRecord>,
    pub(super) timeline: Timeline,
    pub(super) resources: ResourcesRecord,
    pub(super) acts: Vec<ActRecord>,
    /// The first things that people were asked, and how many more there are.
    pub(super) approvals: (Vec<ApprovalRecord>, usize),
    pub(super) environments: Vec<EnvironmentRecord>,
    pub(super) engines: Vec<NumberedEngine>,
    unread: Vec<String>,
    unread_more: usize,
    /// Of whose outputs fields are wanted: the place of the attempt, its directory, when it ended, and the task.
    open: Vec<(i64, String, i64, String)>,
}

/// The tasks that are listed.
#[derive(Default)]
pub(super) struct Tasks {
    /// In the order planned.
    pub(super) shown: Vec<Line>,
    /// Whether they are not all.
    pub(super) some: bool,
    counts: [usize; 3],
    longest: Vec<Line>,
}

/// A task as it is listed.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) place: i64,
    pub(super) task: String,
    pub(super) iteration: u32,
    pub(super) operator: String,
    pub(super) state: TaskState,
    pub(super) stale: bool,
    pub(super) reused: Option<String>,
    pub(super) attempts: u32,
    pub(super) started_ms: Option<i64>,
    pub(super) queued_ms: Option<i64>,
    pub(super) ran_ms: Option<i64>,
    pub(super) memory_mb: Option<i64>,
    pub(super) node: Option<String>,
    pub(super) reason: Option<String>,
}

impl Line {
    fn of(place: i64, end: &TaskEnd) -> Self {
        let last = end.last.as_ref();
        let span = |from: Option<i64>, to: Option<i64>| Some((to? - from?).max(0));
        Self {
            place,
            task: end.task.clone(),
            iteration: end.iteration,
            operator: end.operator.clone(),
            state: end.state,
            stale: end.stale,
            reused: last.and_then(|last| last.reused_from.clone()),
            attempts: last.map_or(0, |last| last.number),
            started_ms: last.and_then(|last| last.started_ms),
            queued_ms: last.and_then(|last| span(last.queued_ms, last.started_ms)),
            ran_ms: last.and_then(|last| span(last.started_ms, last.stopped_ms)),
            memory_mb: last.and_then(|last| last.memory_mb),
            node: last.and_then(|last| last.node.clone()),
            reason: end.reason.clone(),
        }
    }
}

impl Tasks {
    fn add(&mut self, place: i64, end: &TaskEnd) {
        if !self.some {
            return self.shown.push(Line::of(place, end));
        }
        let reused = end.last.as_ref().is_some_and(|last| last.reused_from.is_some());
        let kinds = [end.state == TaskState::Failed, end.stale, reused];
        if let Some(kind) = kinds.iter().position(|is_so| *is_so).filter(|kind| self.counts[*kind] < NOTABLE[*kind]) {
            self.counts[kind] += 1;
            return self.shown.push(Line::of(place, end));
        }
        self.longest.push(Line::of(place, end));
        if self.longest.len() >= 4 * NOTABLE[3] {
            self.keep_longest();
        }
    }

    fn keep_longest(&mut self) {
        self.longest.sort_by_key(|line| std::cmp::Reverse(line.ran_ms));
        self.longest.truncate(NOTABLE[3]);
    }

    fn finish(&mut self) {
        self.keep_longest();
        self.shown.append(&mut self.longest);
        self.shown.sort_by_key(|line| line.place);
    }
}

impl Seen {
    /// Looks at a run.
    pub(super) fn of(
        dir: &RunDir,
        store: &Store,
        config: Option<&RunConfig>,
        wanted: &Wanted,
    ) -> Result<Self, Failure> {
        let mut seen = store.snapshot(|view| Self::of_store(view, config, wanted))?;
        seen.read_outputs(dir, store, wanted)?;
        let said = |end: &TaskEnd| match &end.last {
            Some(last) => Ok(said_last(dir, &last.directory, &store.logs(last.key)?, &end.spec)),
            None => Ok::<_, Failure>(Said::Nothing),
        };
        seen.said = seen.failures.iter().map(said).collect::<Result<_, _>>()?;
        seen.values.sort();
        Ok(seen)
    }

    fn of_store(view: &Snapshot<'_>, config: Option<&RunConfig>, wanted: &Wanted) -> Result<Self, Failure> {
        let (store, run) = (view.store(), view.run()?);
        let (mut timeline, mut tally) = (Timeline::default(), Tally::default());
        let (mut bad, mut bad_more) = (Vec::new(), 0);
        store.each_use(|one| {
            timeline.add(&one, run.created_at.0);
            tally.add(&one);
            if matches!(one.state, AttemptState::Failed | AttemptState::Lost) {
                if bad.len() < BAD { bad.push(one) } else { bad_more += 1 }
            }
            Ok::<_, Failure>(())
        })?;
        let mut seen = Self {
            goals: wanted.goals(),
            tasks: Tasks { some: run.tasks.total > ALL, ..Tasks::default() },
            failures: Vec::new(),
            said: Vec::new(),
            values: Values::default(),
            metrics: Values::default(),
            decisions: Vec::new(),
            decisions_failed: 0,
            states: States::default(),
            stale: 0,
            bad: reasons(store, bad)?,
            bad_more,
            machines: BTreeMap::new(),
            plugins: store.plugin_versions()?,
            timeline,
            resources: tally.finish(),
            acts: store.acts()?,
            approvals: approvals(view)?,
            environments: store.environments()?,
            engines: store.engines()?,
            unread: Vec::new(),
            unread_more: 0,
            open: Vec::new(),
            run,
        };
        seen.history(config);
        view.each_decision(|decision| seen.decision(decision))?;
        let mut after = 0;
        loop {
            let ends = store.task_ends(after, PORTION)?;
            let Some((last, _)) = ends.last() else { break };
            after = *last;
            ends.into_iter().for_each(|(place, end)| seen.task(place, end, wanted));
        }
        seen.tasks.finish();
        Ok(seen)
    }

    /// Takes the trials of a campaign that tells its objectives: from its result, or while there is none from what the
    /// trials left.
    fn history(&mut self, config: Option<&RunConfig>) {
        let objectives = config.map(|config| objectives(&config.campaign.params)).unwrap_or_default();
        let told = self.run.result.as_ref().and_then(|result| result["history"].as_array());
        for (name, goal) in objectives {
            for (order, trial) in told.into_iter().flatten().enumerate() {
                let value = measured(&trial["result"][&name]).filter(|_| trial["state"] == "completed");
                let of = trial["trial"].as_str().unwrap_or_default();
                value.iter().for_each(|value| self.values.add(&name, order as i64, of, &Value::from(*value)));
            }
            if self.goals.iter().all(|(other, _)| *other != name) {
                self.goals.push((name, goal));
            }
        }
    }

    fn decision(&mut self, decision: DecisionRecord) -> Result<(), Failure> {
        for (name, value) in decision.summary.iter().flat_map(|summary| &summary.metrics) {
            let of = format!("decision {}", decision.number);
            self.metrics.add(name, decision.number as i64, &of, &Value::from(*value));
        }
        self.decisions_failed += u64::from(decision.error.is_some());
        if decision.next.is_some() || decision.error.is_some() {
            self.decisions.push(decision);
            // the first and the last tell how it began and how it came out
            if self.decisions.len() > DECISIONS {
                self.decisions.remove(DECISIONS / 2);
            }
        }
        Ok(())
    }

    fn task(&mut self, place: i64, end: TaskEnd, wanted: &Wanted) {
        self.tasks.add(place, &end);
        self.states.add(end.iteration, end.state);
        self.stale += u64::from(end.stale);
        if let Some((node, last)) = end.last.as_ref().and_then(|last| Some((last.node.as_ref()?, last)))
            && (self.machines.len() < MACHINES || self.machines.contains_key(node))
        {
            let ran = self.machines.entry(node.clone()).or_default();
            ran.0 += 1;
            ran.1 += last.stopped_ms.zip(last.started_ms).map_or(0, |(stopped, started)| (stopped - started).max(0));
        }
        if let Some(last) = end.last.as_ref().filter(|_| end.state == TaskState::Completed) {
            let order = last.stopped_ms.or(last.ended_ms).unwrap_or(0);
            if let Some(data) = data(last) {
                self.values_of("data", data, order, &end.task);
            }
            if !wanted.fields.is_empty() || self.is_open() {
                self.open.push((last.key, last.directory.clone(), order, end.task.clone()));
            }
        }
        if end.state == TaskState::Failed && self.failures.len() < FAILURES {
            self.failures.push(end);
        }
    }

    /// Whether the campaign tells objectives and has not told their values.
    fn is_open(&self) -> bool {
        self.run.result.is_none() && self.goals.iter().any(|(name, _)| !name.contains('.'))
    }

    fn values_of(&mut self, name: &str, document: Value, order: i64, task: &str) {
        // while a campaign has told no result, its objectives are what the documents of its trials say
        if self.is_open() && (name == "data" || name == "result") {
            for (objective, _) in self.goals.clone() {
                let value = document.get(&objective).and_then(measured);
                value.iter().for_each(|value| self.values.add(&objective, order, task, &Value::from(*value)));
            }
        }
        flatten(name.to_owned(), document, &mut |name, value| self.values.add(&name, order, task, &value));
    }

    /// Reads the documents that are wanted.
    fn read_outputs(&mut self, dir: &RunDir, store: &Store, wanted: &Wanted) -> Result<(), Failure> {
        let root = Dir::open_ambient_dir(dir.root(), ambient_authority()).map_err(|error| {
            Failure::io(format!("run directory `{}` cannot be opened", dir.root().display()), error)
        })?;
        let is_open = self.is_open();
        let mut absent: BTreeSet<&String> = wanted.fields.iter().collect();
        for (key, directory, order, task) in std::mem::take(&mut self.open) {
            for output in store.outputs(key)? {
                absent.remove(&output.path);
                let named = wanted.fields.contains(&output.path);
                if !(named || is_open && output.path == "result.json") {
                    continue;
                }
                let name = output.path.strip_suffix(".json").unwrap_or(&output.path);
                match document(&root, (store, key), &place(dir, &directory, &output.path, &output.sha256), &output) {
                    Ok(value) => self.values_of(name, value, order, &task),
                    Err(_) if self.unread.len() == UNREAD => self.unread_more += 1,
                    Err(why) => self.unread.push(format!("`{}` of task `{task}` {why}", output.path)),
                }
            }
        }
        self.unread.extend(absent.into_iter().map(|path| format!("no task left an output `{path}`")));
        Ok(())
    }

    /// What the page lacks, in sentences.
    pub(super) fn missing(&self) -> Vec<String> {
        let more = (self.unread_more > 0).then(|| format!("and {} more outputs could not be read", self.unread_more));
        self.unread.iter().cloned().chain(more).collect()
    }
}

/// Attempts, with why each came to its end.
fn reasons(store: &Store, attempts: Vec<AttemptUse>) -> Result<Vec<(AttemptUse, Option<String>)>, Failure> {
    let why = |one: AttemptUse| {
        let attempt = store.attempt(&store.attempt_place(one.key)?.attempt_id)?;
        Ok((one, attempt.and_then(|attempt| attempt.reason)))
    };
    attempts.into_iter().map(why).collect()
}

/// The first things that people were asked, and how many more there are.
fn approvals(view: &Snapshot<'_>) -> Result<(Vec<ApprovalRecord>, usize), Failure> {
    let (mut first, mut more) = (Vec::new(), 0);
    view.each_approval(|one| {
        if first.len() < APPROVALS {
            first.push(one);
        } else {
            more += 1;
        }
        Ok::<_, Failure>(())
    })?;
    Ok((first, more))
}
