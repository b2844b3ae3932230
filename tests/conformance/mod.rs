//! One campaign and one operator in every language: the decisions are the same, byte for byte in canonical JSON, and
//! the tasks come to the same ends.
//!
//! The digest of a decision's input covers the time of the decision, which differs between two runs. So the languages
//! are compared twice: call by call through the plugin host, with recorded calls (`calls`); and run by run through the
//! binary, where everything a decision says must agree (`runs`, `operators`).
mod calls;
mod javascript;
mod operators;
mod runs;
mod types;

use crate::support::view::{self, View};
use crate::support::world::PROGRAM;
use crate::support::{built, guest, root, runner};
use matterstack::backend::{Compute, JobKey};
use matterstack::model::contract::{Context, Decision, Detail, Found, GuestError, Next, StatusReport};
use matterstack::model::document::{canonical, sha256};
use matterstack::model::inputs::Inputs;
use matterstack::model::limit::{CompileLimits, PluginLimits};
use matterstack::plugin::{Artifacts, Compiler, HostSettings, LogEntry, PluginHost, PluginLog, PluginSource, Plugins};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The languages, by form; the first is what the others are held against.
const LANGUAGES: [&str; 6] =
    ["rust", "python", "javascript", "script in python", "script in javascript", "script in typescript"];

/// A plugin in one of the languages, built from the sources as they are: here if it is Rust, by `cargo xtask test`
/// otherwise.
struct Subject {
    component: PathBuf,
    /// The script that the component, a runner then, answers for.
    script: Option<PathBuf>,
}

impl Subject {
    /// What a configuration names: the file, and what it is called in a workspace.
    fn named(&self) -> (&Path, String) {
        match &self.script {
            Some(script) => (script, script.file_name().expect("a name").to_string_lossy().into_owned()),
            None => (&self.component, "plugin.wasm".to_owned()),
        }
    }
}

/// The part, `loop` for the campaign or `robot` for the operator, in one of the languages.
fn subject(part: &str, language: &str) -> Subject {
    let file = if part == "loop" { "campaign" } else { "robot" };
    let component = |of: &str| {
        let sources = [format!("tests/guests/loop-{of}"), format!("plugins/sdk/{of}")];
        built(&format!("guests-test/{part}-{of}.wasm"), &sources.each_ref().map(String::as_str))
    };
    let (component, script) = match language {
        "rust" => (guest(&format!("{part}-rust")), None),
        "python" | "javascript" => (component(language), None),
        "script in python" => (runner("python"), Some(root().join(format!("tests/guests/loop-python/{file}.py")))),
        "script in javascript" => {
            (runner("javascript"), Some(root().join(format!("tests/guests/loop-javascript/{file}.js"))))
        }
        "script in typescript" => {
            let script = format!("guests-test/typescript/built/{file}.js");
            let sources = ["tests/guests/loop-typescript", "plugins/sdk/javascript"];
            (runner("javascript"), Some(built(&script, &sources)))
        }
        other => panic!("no language: {other}"),
    };
    Subject { component, script }
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
    /// Puts a file among the others, and returns its digest.
    fn put(&self, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.0.lock().expect("the shelf").insert(digest.clone(), bytes.to_vec());
        digest
    }

    /// Puts a script among the files, and returns what its runner is told of it.
    fn script(&self, path: &Path, name: &str) -> String {
        let bytes = std::fs::read(path).expect("a script");
        let more = json!({"script": {"path": name, "sha256": sha256(&bytes), "size": bytes.len()}, "modules": []});
        self.put(&bytes);
        more.to_string()
    }
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

/// A host with the campaign in this language.
fn host(language: &str, shelf: &Arc<Shelf>) -> PluginHost {
    let Subject { component, script } = subject("loop", language);
    let script = script.map(|path| shelf.script(&path, &path.file_name().expect("a name").to_string_lossy()));
    host_of(language, component, script, shelf)
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
        Next::Workflow(tasks) => format!("tasks {}", canonical(&tasks)),
        Next::Complete(result) => format!("complete {}", canonical(&result)),
        Next::Hold(detail) => format!("hold {}", json!(detail)),
        Next::Fail(detail) => format!("fail {}", json!(detail)),
        Next::Wait => "wait".to_owned(),
    };
    let Decision { state, cancel, wake_at_ms, summary, reason, skips_known, .. } = decision;
    let (state, summary) = (canonical(&state), summary.as_deref().map(canonical));
    Canonical { state, next, cancel, wake_at_ms, summary, reason, skips_known }
}

/// The context of a first plan of a campaign that is told nothing.
fn first_context() -> Context {
    view::first_context(View::of(&json!({})), 42)
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
