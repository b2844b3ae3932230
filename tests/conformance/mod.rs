//! One campaign in every language a guest is written in: the decisions are the same, byte for byte in canonical JSON.
//!
//! The digest of a decision's input covers the time of the decision, which differs between two runs. So the languages
//! are compared twice: call by call through the plugin host, with one and the same context; and run by run through the
//! binary, where everything a decision says must agree.
mod javascript;

use crate::support::view::{self, View};
use crate::support::world::PROGRAM;
use crate::support::world::World;
use matterstack::backend::{Compute, JobKey};
use matterstack::model::contract::{Context, Decision, Detail, Found, GuestError, Next, StatusReport};
use matterstack::model::document::{canonical, sha256};
use matterstack::model::evidence::DecisionKind;
use matterstack::model::inputs::Inputs;
use matterstack::model::limit::{CompileLimits, PluginLimits};
use matterstack::plugin::{Artifacts, Compiler, HostSettings, LogEntry, PluginHost, PluginLog, PluginSource, Plugins};
use matterstack::store::Store;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// The test campaign, by language; the first is what the others are held against.
const LANGUAGES: [&str; 5] =
    ["loop-rust", "loop-python", "loop-javascript", "loop-script-python", "loop-script-javascript"];
/// Those that are plain scripts: the script, and the language whose runner answers for it.
const SCRIPTS: [(&str, &str, &str); 2] =
    [("loop-script-python", "campaign.py", "python"), ("loop-script-javascript", "campaign.js", "javascript")];
const ITERATIONS: u32 = 4;

fn params() -> Value {
    // an interval whose quarters are no whole numbers, so that floats cross the contract too
    // and a whole one beyond 2^53, which each language writes in its own way
    json!({"lo": 0, "hi": 1003, "target": 613, "iterations": ITERATIONS, "carried": 1.5e17})
}

/// The component of a language, built from the sources as they are: here if it is Rust, by `cargo xtask test`
/// otherwise.
fn component(language: &str) -> PathBuf {
    if let Some((_, _, runner)) = script(language) {
        return crate::support::runner(runner);
    }
    let folder = format!("tests/guests/{language}");
    match language {
        "loop-rust" => crate::support::guest(language),
        "loop-python" => crate::support::built("guests-test/loop-python.wasm", &[&folder, "plugins/sdk/python"]),
        _ => crate::support::built(&format!("guests-test/{language}.wasm"), &[&folder, "plugins/sdk/javascript"]),
    }
}

/// The script of a language, if its campaign is one.
fn script(language: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    SCRIPTS.iter().find(|(named, ..)| *named == language)
}

/// The files that the tasks have left, by digest.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, Vec<u8>>>);

impl Artifacts for Shelf {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        let files = self.0.lock().expect("the shelf");
        let bytes =
            files.get(digest).ok_or_else(|| GuestError::Denied(Detail::new("artifacts", "not a file of it")))?;
        Ok(bytes.iter().skip(offset as usize).take(max as usize).copied().collect())
    }
}

impl Shelf {
    /// Puts a script among the files, and returns what its runner is told of it.
    fn script(&self, path: &Path, name: &str) -> String {
        let bytes = std::fs::read(path).expect("a script");
        let more = json!({"script": {"path": name, "sha256": sha256(&bytes), "size": bytes.len()}, "modules": []});
        self.0.lock().expect("the shelf").insert(sha256(&bytes), bytes);
        more.to_string()
    }
}

fn source_of(language: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests").join(language).join(file)
}

/// A campaign has no backend.
struct NoBackend;

fn denied<T>() -> Result<T, GuestError> {
    Err(GuestError::Denied(Detail::new("compute", "a campaign has no backend")))
}

impl Compute for NoBackend {
    fn submit(&self, _: &str, _: JobKey<'_>, _: &str, _: &Inputs) -> Result<String, GuestError> {
        denied()
    }
    fn find(&self, _: &str, _: JobKey<'_>) -> Result<Found, GuestError> {
        denied()
    }
    fn status(&self, _: &str, _: JobKey<'_>, _: &str) -> Result<StatusReport, GuestError> {
        denied()
    }
    fn collect(&self, _: &str, _: JobKey<'_>, _: &str) -> Result<String, GuestError> {
        denied()
    }
    fn cancel(&self, _: &str, _: JobKey<'_>, _: &str) -> Result<(), GuestError> {
        denied()
    }
}

/// Passes what a guest says on to the test's own output.
struct Echo;

impl PluginLog for Echo {
    fn write(&self, entry: &LogEntry<'_>) -> usize {
        println!("{}: {:?}: {}", entry.plugin, entry.level, entry.message);
        entry.message.len()
    }
}

fn host(language: &str, shelf: &Arc<Shelf>) -> PluginHost {
    let script = script(language).map(|(_, file, ..)| shelf.script(&source_of(language, file), file));
    host_of(language, component(language), script, shelf)
}

/// A host with this campaign.
fn host_of(name: &str, path: PathBuf, script: Option<String>, shelf: &Arc<Shelf>) -> PluginHost {
    let mut host = PluginHost::new(HostSettings {
        compiler: Compiler {
            cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/matterstack")),
            program: PROGRAM.into(),
            limits: CompileLimits::default(),
        },
        compute: Arc::new(NoBackend),
        backends: Vec::new(),
        artifacts: shelf.clone(),
        log: Arc::new(Echo),
        limits: PluginLimits::default(),
    });
    let digest = sha256(&std::fs::read(&path).expect("a component"));
    host.set_campaign(PluginSource { name: name.to_owned(), path, sha256: digest, script });
    host
}

/// A decision with its documents in canonical form.
#[derive(Debug, PartialEq, Eq)]
struct Canonical {
    state: String,
    next: String,
    cancel: Vec<String>,
    wake_at_ms: Option<u64>,
    summary: Option<String>,
    reason: String,
    skips_known: bool,
}

fn canonical_decision(decision: Decision) -> Canonical {
    let canonical = |text: &str| canonical(text).expect("canonical JSON");
    let next = match decision.next {
        Next::Workflow(tasks) => format!("workflow {}", canonical(&tasks)),
        Next::Complete(result) => format!("complete {}", canonical(&result)),
        other => format!("{other:?}"),
    };
    let Decision { state, cancel, wake_at_ms, summary, reason, skips_known, .. } = decision;
    let (state, summary) = (canonical(&state), summary.as_deref().map(canonical));
    Canonical { state, next, cancel, wake_at_ms, summary, reason, skips_known }
}

fn first_context() -> Context {
    view::first_context(View::of(&params()), 42)
}

/// What every language answers; they must agree.
#[track_caller]
fn agreed<T: std::fmt::Debug + PartialEq>(hosts: &[PluginHost], ask: impl Fn(&PluginHost) -> T) -> T {
    let mut answers = LANGUAGES.iter().zip(hosts).map(|(language, host)| (language, ask(host)));
    let (first_language, first) = answers.next().expect("a language");
    for (language, answer) in answers {
        assert_eq!(answer, first, "{language} decides otherwise than {first_language}");
    }
    first
}

/// Runs a planned task's command and returns its result as `analyze` receives it. The task named `fails` has failed.
fn carried_out(task: &Value, shelf: &Shelf, fails: bool) -> Value {
    if fails {
        return json!({"task": task["id"], "outcome": "failed", "code": "exit-code", "reason": "exited with code 1",
            "attempts": 1, "allow_failure": false, "outputs": []});
    }
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let argv: Vec<&str> =
        task["command"].as_array().expect("argv").iter().map(|word| word.as_str().expect("text")).collect();
    let status = Command::new(argv[0]).args(&argv[1..]).current_dir(scratch.path()).status();
    assert!(status.expect("the command starts").success(), "{task}");
    let bytes = std::fs::read(scratch.path().join("value.json")).expect("the output");
    let output = json!({"path": "value.json", "sha256": sha256(&bytes), "size": bytes.len()});
    shelf.0.lock().expect("the shelf").insert(sha256(&bytes), bytes);
    json!({"task": task["id"], "outcome": "completed", "attempts": 1, "allow_failure": false, "outputs": [output]})
}

#[test]
fn every_language_answers_every_call_alike() {
    let shelf = Arc::new(Shelf::default());
    let hosts = LANGUAGES.map(|language| host(language, &shelf));
    let mut context = first_context();
    let mut state: Option<String> = None;
    for iteration in 1..=ITERATIONS {
        context.iteration = iteration;
        let plan = |host: &PluginHost| canonical_decision(host.plan(&context, state.as_deref()).value.expect("a plan"));
        let decision = agreed(&hosts, plan);
        let tasks = decision.next.strip_prefix("workflow ").expect("a workflow");
        let tasks: Vec<Value> = serde_json::from_str(tasks).expect("tasks");
        assert_eq!(tasks.len(), 3);
        // in the second iteration one task fails
        let results = tasks.iter().enumerate();
        let results = results.map(|(position, task)| carried_out(task, &shelf, iteration == 2 && position == 1));
        let results = Value::Array(results.collect()).to_string();
        context.decision += 1;
        context.asked = Vec::new();
        let analyze = |host: &PluginHost| {
            let folded = host.analyze(&context, &decision.state, &results).value.expect("a state");
            let canonical = |text: &str| canonical(text).expect("canonical JSON");
            (canonical(&folded.state), folded.summary.as_deref().map(canonical))
        };
        state = Some(agreed(&hosts, analyze).0);
        context.asked = vec!["results".to_owned()];
        context.decision += 1;
    }
    context.iteration = ITERATIONS + 1;
    let plan = |host: &PluginHost| canonical_decision(host.plan(&context, state.as_deref()).value.expect("a plan"));
    let last = agreed(&hosts, plan);
    let result: Value = serde_json::from_str(last.next.strip_prefix("complete ").expect("an end")).expect("a result");
    assert_eq!(result["evaluated"], 3 * ITERATIONS - 1);
    assert!(last.state.contains("\"carried\":150000000000000000"), "{}", last.state);
    assert!(last.state.contains(".25") || last.state.contains(".5") || last.state.contains(".75"), "{}", last.state);
}

#[test]
fn what_is_no_document_is_refused_by_all_without_a_trap() {
    let shelf = Arc::new(Shelf::default());
    for language in LANGUAGES {
        let error =
            host(language, &shelf).plan(&first_context(), Some("{")).value.expect_err("no plan without a state");
        assert_eq!(error.kind.code(), "plugin-error", "{language}: {error}");
    }
}

/// Number, kind and iteration of a decision, and the digests and words that belong to it.
type Decided = (u64, DecisionKind, u32, Option<String>, Option<String>, Option<String>);

/// What a run's record says, without what may differ: the plugin's digest and fuel, and times.
#[derive(Debug, PartialEq)]
struct Record {
    decisions: Vec<Decided>,
    outputs: Value,
    state: Option<String>,
    result: Option<Value>,
}

fn record(language: &str) -> Record {
    let (plugin, source) = match script(language) {
        Some((_, file, ..)) => (*file, source_of(language, file)),
        None => ("campaign.wasm", component(language)),
    };
    record_of(plugin, &source, &json!({"plugin": "builtin:compute", "grants": {"compute": ["local"]}}), &[])
}

fn record_of(plugin: &str, source: &Path, operator: &Value, beside: &[&Path]) -> Record {
    let world = World::new(&json!({
        "campaign": {"plugin": plugin, "params": params(), "seed": 42},
        "operators": {"local": operator},
        "backends": {"local": {"kind": "local", "cores": 2}},
    }));
    std::fs::copy(source, world.workspace().join(plugin)).expect("a copy");
    for file in beside {
        let name = file.file_name().expect("a name");
        std::fs::copy(file, world.workspace().join(name)).expect("a copy");
    }
    world.init();
    world.run(&["loop", "r"]).code(0);
    let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
    let outputs = tasks.as_array().expect("tasks").iter().map(|task| json!([task["id"], task["outputs"]]));
    let store = Store::read(&world.run_dir("r").join("state.sqlite")).expect("the store");
    let decisions = store.decisions().expect("decisions").into_iter();
    let row = store.run().expect("the run");
    Record {
        decisions: decisions.map(|d| (d.number, d.kind, d.iteration, d.next, d.reason, d.output_sha256)).collect(),
        outputs: outputs.collect(),
        state: store.campaign_state().expect("a state").map(|(_, text)| text),
        result: row.result.map(|text| serde_json::from_str(&text).expect("a result")),
    }
}

#[test]
fn every_language_leaves_the_same_record() {
    let first = record(LANGUAGES[0]);
    // a plan and an analysis for each iteration, and the last plan
    assert_eq!(first.decisions.len() as u32, 2 * ITERATIONS + 1);
    assert_eq!(first.result.as_ref().expect("a result")["evaluated"], 3 * ITERATIONS);
    for language in &LANGUAGES[1..] {
        assert_eq!(record(language), first, "{language}");
    }
}

/// A run whose operator is a script has the same record, beside what its tasks say of themselves.
#[test]
fn a_script_carries_out_the_tasks_of_another_campaign() {
    let expected = record("loop-rust");
    for (language, robot) in [("loop-script-python", "robot.py"), ("loop-script-javascript", "robot.js")] {
        let operator = json!({"plugin": robot, "grants": {"compute": ["local"]}});
        let carried = record_of("campaign.wasm", &component("loop-rust"), &operator, &[&source_of(language, robot)]);
        assert_eq!(carried, expected, "{robot}");
    }
}
