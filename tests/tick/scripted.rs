//! A run whose plugins follow a script, so that a test decides what the outside answers.
use matterstack::backend::Backends;
use matterstack::model::act::{Act, Actor, Verb};
use matterstack::model::config::{Journal, RunConfig};
use matterstack::model::contract::{
    AttemptRequest, Collected, Context, Decision, Detail, Folded, Found, GuestError, Next, Reads, Status, StatusReport,
    Submitted,
};
use matterstack::model::evidence::EngineRecord;
use matterstack::model::id::{AttemptId, OperatorKey};
use matterstack::model::states::RunState;
use matterstack::plugin::{Answer, PluginError, PluginErrorKind, Plugins};
use matterstack::run::{Machine, Run, RunDir};
use matterstack::store::{Durability, Identity, NewConfig, NewRun, Store};
use matterstack::tick::{Moment, Tick, plan_first, step_run};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the outside answers, by task; every list is used up from the front, the last entry stays.
#[derive(Default)]
pub(crate) struct Script {
    /// What each plan answers beside its state.
    pub(crate) plans: VecDeque<Result<Decision, PluginErrorKind>>,
    pub(crate) analyses: VecDeque<PluginErrorKind>,
    pub(crate) prepare: BTreeMap<String, VecDeque<Result<(), GuestError>>>,
    pub(crate) submit: BTreeMap<String, VecDeque<Result<(), PluginErrorKind>>>,
    pub(crate) reconcile: BTreeMap<String, VecDeque<Found>>,
    pub(crate) status: BTreeMap<String, VecDeque<Status>>,
    pub(crate) cancelled: Vec<String>,
    /// Tasks whose attempts go on whoever asks them to stop.
    pub(crate) stubborn: Vec<String>,
    /// The process dies once so many more calls of `analyze` were answered.
    pub(crate) dies_after: Option<usize>,
    /// Every call, in order: `submit a`, `status a`.
    pub(crate) calls: Vec<String>,
    /// What `plan` was asked, each time.
    pub(crate) asked: Vec<Question>,
    /// The results `analyze` received.
    pub(crate) results: Vec<Value>,
    /// The tasks whose results each call of it received, as `a b`.
    pub(crate) batches: Vec<String>,
    pub(crate) poll_after_ms: Option<u64>,
    /// How long each call of an operator takes, by operator key, in milliseconds.
    pub(crate) call_ms: BTreeMap<String, u64>,
    /// How long the calls of this tick took together.
    pub(crate) spent_ms: u64,
    /// The size of the documents that operators return, in bytes; their run's store then tells how many are not yet in
    /// it.
    pub(crate) document_bytes: Option<usize>,
    /// How many documents were collected.
    pub(crate) collected: u64,
    /// The most of them that were not in the store at once.
    pub(crate) held_max: u64,
    /// The operator whose plugin cannot be loaded, and the call in which that shows.
    pub(crate) unloaded: Option<(String, &'static str)>,
}

/// What a plan was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Why, as `results time`.
    pub(crate) why: String,
    pub(crate) iteration: u32,
    pub(crate) open_tasks: u64,
    pub(crate) supplied: Option<String>,
}

/// A plan that says this and no more.
pub(crate) fn decision(next: Next) -> Decision {
    Decision {
        state: String::new(),
        next,
        cancel: Vec::new(),
        wake_at_ms: None,
        summary: None,
        reason: "scripted".to_owned(),
        skips_known: false,
    }
}

#[derive(Clone, Default)]
pub(crate) struct Scripted(pub(crate) Arc<Mutex<Script>>);

impl Scripted {
    pub(crate) fn edit<T>(&self, work: impl FnOnce(&mut Script) -> T) -> T {
        work(&mut self.0.lock().expect("no test panics while it holds the script"))
    }

    /// Fails a call of an operator whose plugin cannot be loaded.
    fn load(&self, operator: &OperatorKey, call: &'static str) -> Result<(), PluginError> {
        let gone = self.edit(|script| script.unloaded == Some((operator.0.clone(), call)));
        if gone { Err(error(call, PluginErrorKind::Load("its digest differs".to_owned()))) } else { Ok(()) }
    }

    fn called(&self, call: &str, attempt: &AttemptRequest) -> String {
        let task: Value = serde_json::from_str(&attempt.task).expect("a task is JSON");
        let id = task["id"].as_str().expect("a task has an id").to_owned();
        let operator = task["operator"].as_str().expect("a task has an operator");
        self.edit(|script| {
            script.calls.push(format!("{call} {id}"));
            script.spent_ms += script.call_ms.get(operator).copied().unwrap_or(0);
        });
        id
    }
}

fn next<T: Clone>(list: Option<&mut VecDeque<T>>) -> Option<T> {
    let list = list?;
    if list.len() > 1 { list.pop_front() } else { list.front().cloned() }
}

fn error(call: &'static str, kind: PluginErrorKind) -> PluginError {
    PluginError { plugin: "scripted".to_owned(), call: Some(call), kind }
}

fn answer<T>(value: Result<T, PluginError>, fuel: u64) -> Answer<T> {
    Answer { value, fuel, reads: Reads::default(), written: BTreeMap::new() }
}

impl Plugins for Scripted {
    fn plan(&self, context: &Context, state: Option<&str>) -> Answer<Decision> {
        let question = Question {
            why: context.asked.join(" "),
            iteration: context.iteration,
            open_tasks: context.open_tasks,
            supplied: context.run.supplied(),
        };
        let planned = self.edit(|script| {
            script.asked.push(question);
            script.plans.pop_front()
        });
        let planned = match planned {
            Some(Ok(planned)) => planned,
            Some(Err(kind)) => return answer(Err(error("plan", kind)), 5),
            None => decision(Next::Complete(json!({"done": true}).to_string())),
        };
        let count =
            state.map_or(0, |text| serde_json::from_str::<Value>(text).expect("JSON")["seen"].as_u64().unwrap_or(0));
        let state = json!({"seen": count, "planned_in": context.iteration}).to_string();
        answer(Ok(Decision { state, ..planned }), 7)
    }

    fn analyze(&self, context: &Context, state: &str, finished: &str) -> Answer<Folded> {
        assert!(context.asked.is_empty(), "only a plan is asked for a reason");
        if let Some(kind) = self.edit(|script| script.analyses.pop_front()) {
            return answer(Err(error("analyze", kind)), 2);
        }
        let finished: Vec<Value> = serde_json::from_str(finished).expect("results are JSON");
        let seen =
            serde_json::from_str::<Value>(state).expect("JSON")["seen"].as_u64().unwrap_or(0) + finished.len() as u64;
        let tasks: Vec<&str> = finished.iter().filter_map(|result| result["task"].as_str()).collect();
        let batch = tasks.join(" ");
        let dies = self.edit(|script| {
            script.batches.push(batch);
            script.results.extend(finished);
            let left = script.dies_after.take();
            script.dies_after = left.filter(|left| *left > 1).map(|left| left - 1);
            left == Some(1)
        });
        if dies {
            std::panic::resume_unwind(Box::new("the process dies before it has recorded that"));
        }
        answer(Ok(Folded { state: json!({"seen": seen}).to_string(), summary: None }), 3)
    }

    fn engine(&self) -> EngineRecord {
        matterstack::plugin::this_engine()
    }

    fn prepare(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Option<String>, PluginError> {
        self.load(operator, "prepare")?;
        let id = self.called("prepare", attempt);
        let answer = self.edit(|script| next(script.prepare.get_mut(&id))).unwrap_or(Ok(()));
        answer.map_err(|guest| error("prepare", PluginErrorKind::Guest(guest)))?;
        Ok(Some(json!({"for": id}).to_string()))
    }

    fn submit(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Submitted, PluginError> {
        self.load(operator, "submit")?;
        let id = self.called("submit", attempt);
        let answer = self.edit(|script| script.submit.get_mut(&id).and_then(VecDeque::pop_front)).unwrap_or(Ok(()));
        answer.map_err(|kind| error("submit", kind))?;
        assert_eq!(attempt.prepared, Some(json!({"for": id}).to_string()), "what `prepare` returned comes back");
        Ok(Submitted { handle: json!({"of": id}).to_string(), external_id: Some(attempt.attempt_id.0.clone()) })
    }

    fn reconcile(&self, _: &OperatorKey, attempt: &AttemptRequest) -> Result<Found, PluginError> {
        let id = self.called("reconcile", attempt);
        let answer = self.edit(|script| next(script.reconcile.get_mut(&id)));
        Ok(answer.unwrap_or_else(|| {
            Found::Yes(Submitted { handle: "{}".to_owned(), external_id: Some("found".to_owned()) })
        }))
    }

    fn check_status(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<StatusReport, PluginError> {
        self.load(operator, "check-status")?;
        let id = self.called("status", attempt);
        let status = if attempt.cancelled && self.edit(|script| script.cancelled.contains(&id)) {
            Status::Cancelled
        } else {
            self.edit(|script| next(script.status.get_mut(&id))).unwrap_or(Status::Succeeded)
        };
        Ok(StatusReport { status, handle: None, poll_after_ms: self.edit(|script| script.poll_after_ms) })
    }

    fn collect_results(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Collected, PluginError> {
        self.load(operator, "collect-results")?;
        let id = self.called("collect", attempt);
        let Some(bytes) = self.edit(|script| script.document_bytes) else {
            return Ok(Collected { output: Some(json!({"of": id}).to_string()), usage: None });
        };
        let run = attempt.directory.ancestors().nth(3).expect("the run's directory");
        let store = Store::read(&run.join("state.sqlite")).expect("a readable store");
        let recorded = store.task_counts().expect("counts").completed;
        self.edit(|script| {
            script.collected += 1;
            script.held_max = script.held_max.max(script.collected - recorded);
        });
        Ok(Collected { output: Some(json!({"of": "x".repeat(bytes)}).to_string()), usage: None })
    }

    fn cancel(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError> {
        self.load(operator, "cancel")?;
        let id = self.called("cancel", attempt);
        self.edit(|script| {
            if !script.stubborn.contains(&id) {
                script.cancelled.push(id);
            }
        });
        Ok(())
    }
}

/// A command of a person's.
pub(crate) fn act(verb: Verb, at_ms: i64) -> Act {
    let by = Actor { user_id: 0, user: "ada".to_owned(), host: "host".to_owned(), version: None };
    Act { verb, arguments: json!({}), reason: None, by, at_ms }
}

/// A run in a directory of its own.
pub(crate) struct Fixture {
    directory: tempfile::TempDir,
    pub(crate) config: RunConfig,
    pub(crate) plugins: Scripted,
    pub(crate) now_ms: i64,
    ids: AtomicU64,
}

impl Fixture {
    /// A run with these further settings, whose script plans `workflows` one after the other.
    pub(crate) fn new(settings: &Value, workflows: &[Value]) -> Self {
        let pinned = json!({"path": "plugins/scripted.wasm", "sha256": "ab".repeat(32), "size": 1});
        let mut config = json!({
            "campaign": {"plugin": "scripted"}, "pinned": {"plugins": {"scripted": pinned}, "inputs": {}, "files": {}},
            "operators": {"local": {"plugin": "scripted"}, "other": {"plugin": "scripted"}},
        });
        for (key, value) in settings.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let config: RunConfig = serde_json::from_value(config).expect("the configuration is valid");
        let plugins = Scripted::default();
        let workflow = |tasks: &Value| Ok(decision(Next::Workflow(tasks.to_string())));
        plugins.edit(|script| script.plans.extend(workflows.iter().map(workflow)));
        let directory = tempfile::tempdir().expect("a scratch directory");
        let fixture = Self { directory, config, plugins, now_ms: 1_000_000, ids: AtomicU64::new(1) };
        let mut store = Store::create(&fixture.dir().database(), Journal::Wal, false).expect("a new store");
        let new = NewRun {
            label: None,
            run_id: "run",
            workspace: "test",
            config: NewConfig { text: "{}", plugins: &[] },
            environment: crate::store::environment(),
            identity: Identity::default(),
            user_id: 0,
            each_result: fixture.config.campaign.takes_each_result(),
            act: &act(Verb::Init, fixture.now_ms),
        };
        store.transaction(Durability::Full, |writer| writer.create_run(&new)).expect("the run's row");
        drop(store);
        fixture
    }

    pub(crate) fn dir(&self) -> RunDir {
        RunDir::named(self.directory.path(), "run")
    }

    /// Opens the run anew, as each tick of a new process does.
    pub(crate) fn open(&self) -> Run {
        let path: &Path = self.directory.path();
        Run {
            dir: self.dir(),
            config: self.config.clone(),
            store: Store::open(&self.dir().database(), (Journal::Wal, false), |_| true).expect("the store opens again"),
            plugins: Rc::new(self.plugins.clone()),
            backends: Arc::new(Backends::new(path)),
            machine: Machine {
                host: "here".to_owned(),
                architecture: "any",
                user_name: |user| user.to_string(),
                pinned: None,
            },
        }
    }

    pub(crate) fn plan(&self) -> Result<u64, matterstack::tick::PlanError> {
        self.plan_of(&mut self.open())
    }

    /// The first plan, by the run as it was opened.
    pub(crate) fn plan_of(&self, run: &mut Run) -> Result<u64, matterstack::tick::PlanError> {
        let new_id = || self.id();
        let spent = || Duration::ZERO;
        plan_first(run, Moment { now_ms: self.now_ms, new_id: &new_id, spent: &spent, user_name: &user_name })
    }

    fn id(&self) -> AttemptId {
        AttemptId(format!("{:032x}", self.ids.fetch_add(1, Ordering::Relaxed)))
    }

    /// One tick in a process of its own; every rule of the store holds afterwards.
    pub(crate) fn tick(&mut self) -> Tick {
        self.now_ms += 1_000;
        self.tick_of(&mut self.open())
    }

    /// One tick of the run as it was opened; every rule of the store holds afterwards.
    pub(crate) fn tick_of(&self, run: &mut Run) -> Tick {
        let new_id = || self.id();
        self.plugins.edit(|script| script.spent_ms = 0);
        let spent = || Duration::from_millis(self.plugins.edit(|script| script.spent_ms));
        let moment = Moment { now_ms: self.now_ms, new_id: &new_id, spent: &spent, user_name: &user_name };
        let tick = step_run(run, moment).expect("a tick does not fail");
        assert_eq!(run.store.check_invariants().expect("a readable store"), Vec::<String>::new());
        tick
    }

    /// Ticks until the run leaves `active`; says how many ticks that took.
    pub(crate) fn tick_to_end(&mut self) -> (Tick, usize) {
        for count in 1..=500 {
            let tick = self.tick();
            if !matches!(tick.state, RunState::Active | RunState::Cancelling) {
                return (tick, count);
            }
        }
        panic!("the run does not end; calls: {:?}", self.plugins.edit(|script| script.calls.clone()));
    }

    /// The state of each task, as `a=completed b=failed`.
    pub(crate) fn tasks(&self) -> String {
        let tasks = self.open().store.tasks(None, None).expect("tasks");
        let words: Vec<String> = tasks.iter().map(|task| format!("{}={}", task.id, task.state)).collect();
        words.join(" ")
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.plugins.edit(|script| std::mem::take(&mut script.calls))
    }

    pub(crate) fn statuses(&self, task: &str, statuses: impl IntoIterator<Item = Status>) {
        self.plugins.edit(|script| script.status.insert(task.to_owned(), statuses.into_iter().collect()));
    }
}

/// Names no user of this machine.
fn user_name(user: u32) -> String {
    format!("user-{user}")
}

/// A task for the operator `local`, with further keys.
pub(crate) fn task(id: &str, more: Value) -> Value {
    let mut task = json!({"id": id, "operator": "local"});
    for (key, value) in more.as_object().into_iter().flatten() {
        task[key] = value.clone();
    }
    task
}

pub(crate) fn failed(code: &str) -> Status {
    Status::Failed(Detail::new(code, "it failed"))
}
