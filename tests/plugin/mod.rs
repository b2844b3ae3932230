//! The plugin host with real guests.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod asked;
mod cache;
mod campaign;
mod compile;
mod contract;
mod cost;
mod load;
mod operator;
mod python;
mod python_module;
mod reference;
mod room;
mod through_the_binary;

use crate::support::guest;
use crate::support::view::{self, View};
use crate::support::world::PROGRAM;
use matterstack::backend::{Compute, JobKey};
use matterstack::model::config::Grants;
use matterstack::model::contract::{
    AttemptRequest, Context, Decision, Detail, Found, GuestError, Status, StatusReport, Submitted,
};
use matterstack::model::id::{OperatorKey, RunId};
use matterstack::model::inputs::Inputs;
use matterstack::model::limit::{CompileLimits, PluginLimits};
use matterstack::plugin::{
    Artifacts, Compiler, HostSettings, LogEntry, LogLevel, PluginError, PluginErrorKind, PluginHost, PluginLog,
    PluginSource, Plugins, builtin,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// A backend that does what its job says, and at once.
struct Desk;

impl Compute for Desk {
    fn submit(&self, backend: &str, key: JobKey<'_>, job: &str, _: &Inputs) -> Result<String, GuestError> {
        let job: Value = serde_json::from_str(job).unwrap();
        Ok(json!({"on": backend, "for": key.attempt_id, "document": job}).to_string())
    }
    fn find(&self, _: &str, key: JobKey<'_>) -> Result<Found, GuestError> {
        Ok(match key.attempt_id.as_str() {
            "known" => Found::Yes(Submitted { handle: "{\"pid\":7}".into(), external_id: Some("7".into()) }),
            "unclear" => Found::Unknown { note: "{\"asked\":1}".into(), poll_after_ms: 250 },
            _ => Found::No,
        })
    }
    fn status(&self, _: &str, _: JobKey<'_>, _: &str) -> Result<StatusReport, GuestError> {
        Ok(StatusReport { status: Status::Running(None), handle: None, poll_after_ms: Some(5) })
    }
    fn collect(&self, _: &str, _: JobKey<'_>, handle: &str) -> Result<String, GuestError> {
        Ok(json!({"exit": 0, "handle": handle}).to_string())
    }
    fn cancel(&self, _: &str, _: JobKey<'_>, _: &str) -> Result<(), GuestError> {
        let detail = Detail::new("busy", "the scheduler is busy");
        Err(GuestError::Transient { detail, retry_after_ms: Some(70) })
    }
}

/// One file, under the digest `d`.
struct Shelf;

impl Artifacts for Shelf {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        let content: &[u8] = b"{\"x\":512,\"value\":10201}";
        match digest {
            "d" => Ok(content.iter().skip(offset as usize).take(max as usize).copied().collect()),
            _ => Err(GuestError::Denied(Detail::new("artifacts", "not a file of this run"))),
        }
    }
}

/// A logged message: its plugin, its attempt, its level and its text.
type Note = (String, Option<String>, LogLevel, String);

/// Remembers what was logged.
#[derive(Default)]
struct Notes(Mutex<Vec<Note>>);

impl PluginLog for Notes {
    fn write(&self, entry: &LogEntry<'_>) -> usize {
        let LogEntry { plugin, attempt, level, message } = *entry;
        let line = (plugin.to_owned(), attempt.map(str::to_owned), level, message.to_owned());
        self.0.lock().unwrap().push(line);
        // as much as a line of JSON takes
        message.len() + 100
    }
}

/// A host with its scratch directory; native code is shared by all tests of a process.
struct Bench {
    host: PluginHost,
    notes: Arc<Notes>,
    scratch: tempfile::TempDir,
}

fn shared_cache() -> PathBuf {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().unwrap()).path().join("native")
}

fn compiler(cache_dir: Option<PathBuf>, limits: CompileLimits) -> Compiler {
    Compiler { cache_dir, program: PROGRAM.into(), limits }
}

fn limits() -> PluginLimits {
    PluginLimits { memory_mb: 64, call_ms: 10_000, fuel: 2_000_000_000, output_mb: 4, ..PluginLimits::default() }
}

impl Bench {
    fn new(limits: PluginLimits) -> Self {
        Self::with_cache(limits, shared_cache())
    }

    fn with_cache(limits: PluginLimits, cache: PathBuf) -> Self {
        let notes = Arc::new(Notes::default());
        let settings = HostSettings {
            compiler: compiler(Some(cache), CompileLimits::default()),
            compute: Arc::new(Desk),
            backends: vec!["local".to_owned()],
            artifacts: Arc::new(Shelf),
            log: notes.clone(),
            limits,
        };
        Self { host: PluginHost::new(settings), notes, scratch: tempfile::tempdir().unwrap() }
    }

    fn campaign(limits: PluginLimits, path: &Path) -> Self {
        let mut bench = Self::new(limits);
        bench.host.set_campaign(source(path));
        bench
    }

    fn operator(limits: PluginLimits, path: &Path, grants: Grants) -> Self {
        let mut bench = Self::new(limits);
        bench.host.add_operator(key(), source(path), grants);
        bench
    }

    /// Writes a file into the scratch directory.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.scratch.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn attempt(&self, task: Value) -> AttemptRequest {
        let directory = self.scratch.path().join("attempt");
        fs::create_dir_all(&directory).unwrap();
        AttemptRequest {
            run_id: RunId::from("run"),
            attempt_id: "a1".into(),
            task_id: "t1".into(),
            number: 1,
            task: task.to_string(),
            prepared: None,
            handle: None,
            note: None,
            config: "{}".into(),
            directory,
            inputs: Arc::default(),
            cancelled: false,
        }
    }

    fn mode(&self, mode: &str) -> AttemptRequest {
        self.attempt(json!({"input": {"mode": mode}}))
    }

    fn plan(&self, params: Value) -> Result<Planned, PluginError> {
        self.plan_as(&context(params))
    }

    fn plan_as(&self, context: &Context) -> Result<Planned, PluginError> {
        let answer = self.host.plan(context, None);
        answer.value.map(|value| Planned { value, fuel: answer.fuel })
    }
}

/// What a campaign planned, and the fuel it took.
#[derive(Debug)]
struct Planned {
    value: Decision,
    fuel: u64,
}

fn key() -> OperatorKey {
    OperatorKey::from("op")
}

fn source(path: &Path) -> PluginSource {
    let digest = fs::read(path).map(|bytes| sha256(&bytes)).unwrap_or_default();
    PluginSource {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        path: path.to_owned(),
        sha256: digest,
        script: None,
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn granted(backends: &[&str]) -> Grants {
    Grants { compute: backends.iter().map(|name| (*name).to_owned()).collect(), ..Grants::default() }
}

fn context(params: Value) -> Context {
    view::first_context(View::of(&params), 42)
}

/// A copy of a component with some bytes replaced by as many others.
fn patched(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut copy = bytes.to_vec();
    for start in 0..copy.len() - from.len() {
        if copy[start..].starts_with(from.as_bytes()) {
            copy[start..start + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    copy
}
