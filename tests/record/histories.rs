//! The simulation's histories with a compiled guest for a campaign: whatever the outside answers and a person does,
//! each decision can be made again.
use crate::support::guest;
use crate::support::world::PROGRAM;
use crate::tick::scripted::{Fixture, Scripted, act, failed};
use matterstack::backend::Backends;
use matterstack::model::act::{Act, Verb};
use matterstack::model::config::{Journal, RunConfig};
use matterstack::model::contract::{
    AttemptRequest, Collected, Context, Decision, Detail, Folded, Found, Status, StatusReport, Submitted,
};
use matterstack::model::document::sha256;
use matterstack::model::evidence::EngineRecord;
use matterstack::model::id::OperatorKey;
use matterstack::model::limit::CompileLimits;
use matterstack::model::selection::Selection;
use matterstack::plugin::{
    Answer, Artifacts, Compiler, HostSettings, LogEntry, PluginError, PluginHost, PluginLog, PluginSource, Plugins,
    builtin,
};
use matterstack::replay::replay;
use matterstack::run::Run;
use matterstack::store::{Durability, Identity, NewConfig, NewEnvironment, NewFork, Store};
use matterstack::tick::{rerun, resume};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// What makes native code for a replay within this process.
pub(crate) fn compiler(limits: &CompileLimits) -> Compiler {
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    Compiler { cache_dir: Some(cache), program: PROGRAM.into(), limits: limits.clone() }
}

/// A campaign that is a compiled plugin, and operators that follow a script.
struct Mixed {
    host: PluginHost,
    scripted: Scripted,
}

struct NoFiles;

impl Artifacts for NoFiles {
    fn read(&self, _: &str, _: u64, _: u32) -> Result<Vec<u8>, matterstack::model::contract::GuestError> {
        Err(matterstack::model::contract::GuestError::Denied(Detail::new("unknown-digest", "there are no files")))
    }
}

struct NoLog;

impl PluginLog for NoLog {
    fn write(&self, _: &LogEntry<'_>) -> usize {
        0
    }
}

impl Plugins for Mixed {
    fn plan(&self, context: &Context, state: Option<&str>) -> Answer<Decision> {
        self.host.plan(context, state)
    }

    fn analyze(&self, context: &Context, state: &str, finished: &str) -> Answer<Folded> {
        self.host.analyze(context, state, finished)
    }

    fn engine(&self) -> EngineRecord {
        self.host.engine()
    }

    fn prepare(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Option<String>, PluginError> {
        self.scripted.prepare(operator, attempt)
    }

    fn submit(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Submitted, PluginError> {
        self.scripted.submit(operator, attempt)
    }

    fn reconcile(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Found, PluginError> {
        self.scripted.reconcile(operator, attempt)
    }

    fn check_status(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<StatusReport, PluginError> {
        self.scripted.check_status(operator, attempt)
    }

    fn collect_results(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Collected, PluginError> {
        self.scripted.collect_results(operator, attempt)
    }

    fn cancel(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError> {
        self.scripted.cancel(operator, attempt)
    }
}

/// A run whose campaign is a component, in the fixture of the tick's tests.
struct History {
    fixture: Fixture,
    wasm: String,
}

impl History {
    /// Puts the campaign in place, with these parameters.
    fn new(bytes: &[u8], params: &Value) -> Self {
        let mut history = Self { fixture: Fixture::new(&json!({}), &[]), wasm: sha256(bytes) };
        let directory = history.fixture.dir().join("plugins");
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("campaign.wasm"), bytes).expect("a plugin");
        history.amend(params, |_| {});
        history
    }

    /// Changes the parameters, and the configuration in any other way.
    fn amend(&mut self, params: &Value, change: impl FnOnce(&mut RunConfig)) {
        let config = &mut self.fixture.config;
        config.campaign.params = params.clone();
        let file = config.pinned.as_mut().and_then(|pinned| pinned.plugins.get_mut("scripted")).expect("a plugin");
        (file.path, file.sha256) = ("plugins/campaign.wasm".to_owned(), self.wasm.clone());
        change(config);
        let text = serde_json::to_string(config).expect("a text");
        let plugins = config.pinned.as_ref().expect("pinned").code();
        let act = act(Verb::Amend, self.fixture.now_ms);
        let mut store = self.fixture.open().store;
        let new = NewConfig { text: &text, plugins: &plugins };
        store
            .transaction(Durability::Full, |writer| writer.set_config(new, writer.add_act(&act)?))
            .expect("a configuration");
    }

    fn open(&self) -> Run {
        let mut run = self.fixture.open();
        let backends = Arc::new(Backends::new(run.dir.root()));
        let mut host = PluginHost::new(HostSettings {
            compiler: compiler(&run.config.limits.compile),
            compute: backends,
            backends: Vec::new(),
            artifacts: Arc::new(NoFiles),
            log: Arc::new(NoLog),
            limits: run.config.limits.plugin.clone(),
        });
        let path = run.dir.join("plugins/campaign.wasm");
        host.set_campaign(PluginSource { name: "scripted".to_owned(), path, sha256: self.wasm.clone(), script: None });
        run.plugins = Rc::new(Mixed { host, scripted: self.fixture.plugins.clone() });
        run
    }

    /// Ticks until the run is no longer active, or for so long.
    fn ticks(&mut self, most: usize) -> String {
        let mut state = String::new();
        for _ in 0..most {
            self.fixture.now_ms += 5_000;
            state = self.fixture.tick_of(&mut self.open()).state.to_string();
            if state != "active" && state != "cancelling" {
                break;
            }
        }
        state
    }

    /// Cuts a copy of the record back before each decision: what is left keeps every rule, and can go on.
    fn is_forked_anywhere(&self, words: &str) {
        let run = self.open();
        let scratch = tempfile::tempdir().expect("a scratch directory");
        for at in 2..=run.store.run().expect("a row").decisions + 1 {
            let path = scratch.path().join(format!("{at}.sqlite"));
            run.store.back_up(&path).expect("a copy");
            let mut fork = Store::open(&path, (Journal::Auto, false), |_| true).expect("a store");
            let text = fork.config_at(at).expect("a configuration");
            fork.cut_before(at).expect("a cut");
            let config = NewConfig { text: &text, plugins: &[] };
            let environment = NewEnvironment {
                machine: "m".to_owned(),
                host: "h".to_owned(),
                variables: BTreeMap::new(),
                recorded: Vec::new(),
            };
            let act = Act { arguments: json!({"run": "r", "at": at}), ..act(Verb::Fork, self.fixture.now_ms) };
            let shared = fork.finish_fork(&NewFork {
                run_id: "fork",
                label: None,
                config,
                environment,
                identity: Identity::default(),
                user_id: 0,
                each_result: false,
                changed: false,
                lost: &[],
                act: &act,
            });
            assert_eq!(shared.expect("a fork").decisions, at - 1, "{words}");
            assert_eq!(fork.check_invariants().expect("a look"), [] as [&str; 0], "{words}, before decision {at}");
            let whole = run.store.decisions().expect("decisions");
            let before: Vec<_> = whole.into_iter().filter(|decision| decision.number < at).collect();
            assert_eq!(fork.decisions().expect("decisions"), before, "{words}, before decision {at}");
        }
    }

    #[track_caller]
    fn replayed(&self, words: &str) -> u64 {
        let replay = replay(&self.fixture.dir(), &compiler).expect("a replay");
        assert_eq!(replay.first, None, "{words}");
        assert_eq!(replay.differing(), 0, "{words}");
        replay.agreed
    }
}

fn plan_of(count: u64) -> Value {
    let tasks = (0..count).map(|n| {
        let depends: Vec<String> =
            (0..n).filter(|other| (n + other) % 3 == 0).map(|other| format!("t{other}")).collect();
        json!({"id": format!("t{n}"), "operator": "local", "depends_on": depends, "allow_failure": n % 2 == 0})
    });
    json!({"tasks": tasks.collect::<Vec<_>>()})
}

#[test]
fn a_workflow_is_replayed_whatever_becomes_of_its_tasks() {
    let wasm = builtin::builtin("workflow").expect("it is built in");
    for seed in 1..=12_u64 {
        let mut history = History::new(wasm, &plan_of(3 + seed % 7));
        for n in 0..10 {
            let statuses = match (seed * 7 + n) % 5 {
                0 => vec![failed("simulated")],
                1 => vec![Status::Running(None), Status::Succeeded],
                2 => vec![Status::Lost(Detail::new("lost", "nobody knows"))],
                _ => vec![Status::Succeeded],
            };
            history.fixture.statuses(&format!("t{n}"), statuses);
        }
        let moment = matterstack::workspace::moment(history.fixture.now_ms, &|| std::time::Duration::ZERO);
        matterstack::tick::plan_first(&mut history.open(), moment).expect("a plan");
        let state = history.ticks(60);
        // what waits for a person's word is brought back, and ends well this time
        for n in 0..10 {
            history.fixture.statuses(&format!("t{n}"), [Status::Succeeded]);
        }
        let again = act(Verb::Rerun, history.fixture.now_ms);
        match state.as_str() {
            "held" => {
                let lost = Selection { state: Some("lost".to_owned()), ..Selection::default() };
                rerun(&mut history.open(), &lost, &again).expect("a rerun");
            }
            "failed" => drop(resume(&mut history.open(), None, &again).expect("it comes back")),
            _ => {}
        }
        history.amend(&plan_of(3 + seed % 7), |config| config.limits.max_active = 2);
        history.ticks(60);
        assert!(history.replayed(&format!("seed {seed}")) >= 3);
        history.is_forked_anywhere(&format!("seed {seed}"));
    }
}

#[test]
fn a_campaign_that_fails_and_recovers_is_replayed() {
    let wasm = std::fs::read(guest("hostile")).expect("the guest");
    let honest = json!({"mode": "", "again": true});
    let mut history = History::new(&wasm, &honest);
    let moment = matterstack::workspace::moment(history.fixture.now_ms, &|| std::time::Duration::ZERO);
    matterstack::tick::plan_first(&mut history.open(), moment).expect("a plan");
    for (round, mode) in
        ["trap-in-analyze", "trap", "error", "garbage-state", "duplicate-ids", "hold"].iter().enumerate()
    {
        history.amend(&json!({"mode": mode, "again": true}), |_| {});
        history.ticks(5);
        let told = json!({"round": round}).to_string();
        resume(&mut history.open(), Some(&told), &act(Verb::Resume, history.fixture.now_ms)).expect("a resume");
        history.amend(&honest, |config| config.campaign.seed = round as u64);
    }
    assert!(history.replayed("a hostile campaign") >= 5);
    history.is_forked_anywhere("a hostile campaign");
}
