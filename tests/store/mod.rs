//! The StateStore alone: what is committed stays, what is illegal or stale is refused, what is broken is named.
mod documents;
mod files;
mod guards;
mod invariants;
mod life;
mod outlook;
mod record;

use matterstack::model::act::{Act, Actor, Verb};
use matterstack::model::code::Code;
use matterstack::model::code::Word;
use matterstack::model::config::{Journal, RunConfig};
use matterstack::model::reason::Reason;
use matterstack::model::states::{AttemptOutcome, AttemptState, TaskState};
use matterstack::model::workflow::{PlannedTask, Task, WorkflowError, validate};
use matterstack::store::{
    AttemptEnd, AttemptRow, Durability, Identity, NewAttempt, NewConfig, NewEnvironment, NewRun, Output, Portion,
    Store, StoreError, Writer,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A command of somebody's.
fn act(verb: Verb, at_ms: i64) -> Act {
    let by = Actor { user_id: 3, user: "ada".to_owned(), host: "host".to_owned(), version: None };
    Act { verb, arguments: json!({}), reason: Some("because".to_owned()), by, at_ms }
}

/// Where a run is made.
pub(crate) fn environment() -> NewEnvironment {
    let variables = BTreeMap::from([("LANG".to_owned(), "C".to_owned())]);
    NewEnvironment { machine: "machine".to_owned(), host: "host".to_owned(), variables, recorded: Vec::new() }
}

fn identity(born_ns: i64, inode: i64) -> Identity {
    Identity { token: "token".to_owned(), inode, born_ns: Some(born_ns), volume: None }
}

/// A store file in a directory of its own.
struct Place {
    directory: tempfile::TempDir,
    journal: Journal,
}

impl Place {
    /// A new store with its run's row.
    fn new(journal: Journal) -> Self {
        let place = Self { directory: tempfile::tempdir().expect("a scratch directory"), journal };
        let mut store = Store::create(&place.path(), journal, false).expect("a new store");
        let identity = identity(1, 2);
        let new = NewRun {
            label: None,
            run_id: "run",
            workspace: "test",
            config: NewConfig { text: "{}", plugins: &[] },
            environment: environment(),
            identity,
            user_id: 3,
            each_result: false,
            act: &act(Verb::Init, 1),
        };
        store.transaction(Durability::Full, |writer| writer.create_run(&new)).expect("the run's row");
        place
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("state.sqlite")
    }

    fn open(&self) -> Store {
        Store::open(&self.path(), (self.journal, false), |_| true).expect("the store opens again")
    }

    /// One transaction in a store that is opened for it and closed after it.
    fn write<T>(&self, work: impl FnOnce(&Writer<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.open().transaction(Durability::Full, work)
    }

    /// Plans an iteration of these tasks.
    fn plan(&self, iteration: u32, tasks: &Value) {
        let planned = planned(tasks, &|id| self.open().has_task(id).expect("a readable store"));
        self.write(|writer| writer.add_workflow(iteration, u64::from(iteration), &planned, 10)).expect("a workflow");
    }

    fn key(&self, task: &str) -> i64 {
        self.open().task(task).expect("a readable store").expect("a task").key
    }

    fn attempt(&self, id: &str) -> AttemptRow {
        let all = self.open().all_attempts().expect("attempts");
        all.into_iter().find(|attempt| attempt.id == id).expect("the attempt")
    }
}

fn planned(tasks: &Value, exists: &dyn Fn(&str) -> bool) -> Vec<PlannedTask> {
    let config: RunConfig = serde_json::from_value(json!({
        "campaign": {"plugin": "x"}, "operators": {"local": {"plugin": "x"}},
    }))
    .expect("a configuration");
    let tasks = tasks.as_array().expect("an array").iter().map(|task| {
        let mut task = task.clone();
        task["operator"] = json!("local");
        (serde_json::from_value::<Task>(task.clone()).expect("a task"), task.to_string())
    });
    validate(tasks.map(Ok), &config, &|id| Ok::<_, WorkflowError>(exists(id.as_str()))).expect("a valid plan")
}

fn new_attempt(id: &str, task_key: i64, number: u32) -> NewAttempt {
    NewAttempt {
        id: id.to_owned(),
        task_key,
        number,
        operator: "local".to_owned(),
        directory: format!("operators/local/{id}"),
        core_ms: None,
    }
}

fn why() -> Reason {
    Reason::new(Word::Guest("code".to_owned()), "why")
}

fn end(outcome: AttemptOutcome) -> AttemptEnd {
    let reason = (outcome != AttemptOutcome::Completed).then(why);
    let outputs = if outcome == AttemptOutcome::Completed {
        vec![Output { path: "out.json".to_owned(), sha256: "a".repeat(64), size: 7, remote: None }]
    } else {
        Vec::new()
    };
    AttemptEnd { data: Some("{\"x\":1}".to_owned()), outputs, ..AttemptEnd::new(outcome, reason) }
}

/// Moves a live attempt on; those the outside knows get a handle.
fn advance(writer: &Writer<'_>, attempt: &AttemptRow, to: AttemptState) -> Result<(), StoreError> {
    let mut attempt = attempt.clone();
    if matches!(to, AttemptState::Submitted | AttemptState::Running | AttemptState::WaitingExternal) {
        attempt.handle.get_or_insert_with(|| "{\"external_id\":\"7\"}".to_owned());
    }
    attempt.waits_for = (to == AttemptState::WaitingExternal).then(|| Code::Person.into());
    if let Some(outcome) = to.outcome() {
        attempt.handle.get_or_insert_with(|| "{}".to_owned());
        writer.end_attempt(&attempt, &end(outcome), 50)
    } else {
        writer.set_attempt_state(&attempt, to, Some(&why()), 40)
    }
}

/// Everything a store holds, in words.
fn everything(store: &Store) -> String {
    let mut text = format!(
        "{:?}\n{:?}\n",
        store.run().expect("a run"),
        (store.task_counts().expect("counts"), store.live_count(None).expect("a count"))
    );
    for task in store.tasks(None, None).expect("tasks") {
        text += &format!("{task:?} {}\n", store.task_json(task.key).expect("a task"));
    }
    for attempt in store.all_attempts().expect("attempts") {
        text += &format!("{attempt:?} {:?}\n", store.outputs(attempt.key).expect("outputs"));
    }
    let outlook = store.outlook(&["local"], &[]).expect("an outlook");
    text += &format!("{outlook:?}\n");
    let whole = Portion { most: 100, bytes_max: usize::MAX };
    text += &format!("{:?}\n", store.undelivered_each(whole).expect("results"));
    // before that not all tasks have an outcome
    for iteration in (1..=outlook.iteration).filter(|_| outlook.open == 0) {
        text += &format!("{:?}\n", store.undelivered(iteration, whole).expect("results"));
    }
    text + &format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n",
        (store.asked(0).expect("words"), store.wake().expect("a time"), store.ends_in().expect("a state")),
        store.dependency_pairs().expect("dependencies"),
        store.decisions().expect("decisions"),
        store.history().expect("a history"),
        (store.acts().expect("acts"), store.campaign_state().expect("a state"), store.engines().expect("engines")),
        store.cursors().expect("cursors"),
    )
}

fn everything_at(path: &Path) -> String {
    everything(&Store::read(path).expect("a readable store"))
}

/// A store in which something of every kind is going on: `a` completed, `b` runs, `c` waits for it, `d` failed, `e` is
/// ready.
fn busy() -> Place {
    let place = Place::new(Journal::Wal);
    place.plan(1, &json!([{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["b"]}, {"id": "d"}, {"id": "e"}]));
    let ends = [("a", Some(TaskState::Completed)), ("b", None), ("d", Some(TaskState::Failed))];
    for (task, ended) in ends {
        let key = place.key(task);
        let running = (TaskState::Pending, TaskState::Running);
        place.write(|writer| writer.set_task_state(key, running, None, 20)).expect("it starts");
        place.write(|writer| writer.create_attempt(&new_attempt(task, key, 1), 30)).expect("an attempt");
        let way = [AttemptState::Prepared, AttemptState::Submitting, AttemptState::Submitted, AttemptState::Running];
        for to in way {
            let attempt = place.attempt(task);
            place.write(|writer| advance(writer, &attempt, to)).expect("a legal move");
        }
        if let Some(ended) = ended {
            let attempt = place.attempt(task);
            let to = if ended == TaskState::Completed { AttemptState::Completed } else { AttemptState::Failed };
            place.write(|writer| advance(writer, &attempt, to)).expect("a legal end");
            let reason = (ended == TaskState::Failed).then(why);
            place
                .write(|writer| writer.set_task_state(key, (TaskState::Running, ended), reason.as_ref(), 60))
                .expect("a legal end");
        }
    }
    assert_eq!(place.open().check_invariants().expect("a readable store"), Vec::<String>::new());
    place
}
