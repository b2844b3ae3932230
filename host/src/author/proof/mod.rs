//! The conformance kit: calls every function of a plugin with ordinary, empty, huge, failing and repeated input, in the
//! sandbox that a run gives it, and says by the shortest case which rule it breaks.
//!
//! There is no run, and nothing outside is reached: files, tasks and the compute system are made up.
mod campaign;
mod operator;
mod outside;

use super::scratch::scratch;
use crate::failure::Failure;
use crate::model::config::RunConfig;
use crate::model::contract::{Detail, GuestError};
use crate::model::document::sha256;
use crate::model::limit::CompileLimits;
use crate::plugin::{
    Artifacts, HostSettings, LogEntry, PluginError, PluginErrorKind, PluginHost, PluginLog, PluginSource,
};
use crate::workspace::{self, LooseScript};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of what was given or answered that are shown.
const SHOWN_MAX: usize = 400;
/// The key of the operator that is tried.
const KEY: &str = "operator";
/// The backend that is granted to it where no configuration names others.
pub(super) const BACKEND: &str = "local";
/// Bytes of a huge document.
const HUGE: usize = 1024 * 1024;

/// What is tried.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// The plugin as a person names it.
    pub(super) name: &'a str,
    /// Its bytes; for a script those of its runner.
    pub(super) bytes: &'a [u8],
    /// The script, if it is one.
    pub(super) script: Option<&'a LooseScript>,
    /// The backends that are granted to it, if it is an operator.
    pub(super) backends: Vec<String>,
    /// `campaign.params`, or an operator's `config`.
    pub(super) given: Value,
    /// A task that the operator takes.
    pub(super) task: Option<Value>,
    /// The configuration by which tasks are judged, if there is one, and limits are taken.
    pub(super) config: Option<&'a RunConfig>,
    /// What compiling it may take.
    pub(super) compile: CompileLimits,
}

/// A call, with what was given and answered, both shortened.
#[derive(Debug, Clone, Serialize)]
pub struct Called {
    /// The function.
    pub call: String,
    /// What was given.
    pub given: String,
    /// What came back.
    pub answer: String,
}

/// A rule that is broken, by the shortest case that shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What happened, in a sentence that follows the plugin's name.
    pub rule: String,
    /// The case, in words.
    pub case: String,
    /// The calls, in order.
    pub calls: Vec<Called>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// The plugin as a person names it.
    pub plugin: String,
    /// `campaign` or `operator`.
    pub world: String,
    /// How many cases were tried.
    pub cases: usize,
    /// How many calls were made.
    pub calls: usize,
    /// The first rule that is broken, or null.
    pub found: Option<Finding>,
}

/// Tries a plugin.
///
/// # Errors
/// If it cannot be loaded, or the machine does not let it be tried.
pub(super) fn prove(subject: &Subject<'_>, world: &str) -> Result<Proof, Failure> {
    let place = scratch()?;
    let path = place.path().join("plugin.wasm");
    std::fs::write(&path, subject.bytes).map_err(|error| Failure::io("the plugin cannot be copied", error))?;
    let script = subject.script.map(|script| script.more.clone());
    let source = PluginSource { name: subject.name.to_owned(), path, sha256: sha256(subject.bytes), script };
    let mut trial = Trial { cases: 0, calls: Vec::new(), made: 0 };
    let tried = match world {
        "operator" => operator::run(subject, source, place.path(), &mut trial),
        _ => campaign::run(subject, source, &mut trial),
    };
    let found = match tried {
        Ok(()) => None,
        Err(Stop::Found(finding)) => Some(finding),
        Err(Stop::Failed(failure)) => return Err(*failure),
    };
    let (cases, calls) = (trial.cases, trial.made);
    Ok(Proof { plugin: subject.name.to_owned(), world: world.to_owned(), cases, calls, found })
}

/// Why nothing further is tried.
enum Stop {
    Found(Finding),
    Failed(Box<Failure>),
}

impl From<PluginError> for Stop {
    fn from(error: PluginError) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

/// The case that is being tried.
struct Trial {
    cases: usize,
    calls: Vec<(Called, &'static str)>,
    made: usize,
}

impl Trial {
    /// Begins a case: what was called before is no part of it.
    fn case(&mut self, name: &'static str) {
        self.cases += 1;
        self.calls.clear();
        self.calls.push((Called { call: String::new(), given: String::new(), answer: String::new() }, name));
    }

    fn called<T: std::fmt::Debug>(&mut self, call: &str, given: &str, answer: &Result<T, PluginError>) {
        self.made += 1;
        let answer = match answer {
            Ok(answer) => shortened(&format!("{answer:?}")),
            Err(error) => shortened(&error.kind.to_string()),
        };
        let name = self.calls.first().map_or("", |(_, name)| *name);
        self.calls.push((Called { call: call.to_owned(), given: shortened(given), answer }, name));
    }

    /// A rule is broken.
    fn found(&self, rule: impl Into<String>) -> Stop {
        let case = self.calls.first().map_or("", |(_, name)| *name).to_owned();
        let calls = self.calls.iter().skip(1).map(|(called, _)| called.clone()).collect();
        Stop::Found(Finding { rule: rule.into(), case, calls })
    }

    /// What a plugin may always do is answer, with an error too; everything else breaks the contract.
    fn answered<T>(&self, call: &str, answer: Result<T, PluginError>) -> Result<Result<T, GuestError>, Stop> {
        match answer {
            Ok(value) => Ok(Ok(value)),
            Err(PluginError { kind: PluginErrorKind::Guest(error), .. }) => Ok(Err(error)),
            Err(error) if error.kind.is_machine() || error.kind.never_ran() => Err(error.into()),
            Err(error) => Err(self.found(format!("does not answer `{call}`: {}", error.kind))),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

/// The files of a script, by their SHA-256; there are no others.
struct Files(BTreeMap<String, Vec<u8>>);

impl Artifacts for Files {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        let Some(bytes) = self.0.get(digest) else {
            return Err(GuestError::Denied(Detail::new("artifacts", "no such file in a test")));
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(max as usize).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }
}

/// A log that nobody reads.
struct NoLog;

impl PluginLog for NoLog {
    fn write(&self, entry: &LogEntry<'_>) -> usize {
        entry.message.len()
    }
}

/// A host with these limits and nothing outside but the compute system that is made up.
fn host(subject: &Subject<'_>, outside: &Arc<outside::Outside>) -> PluginHost {
    PluginHost::new(HostSettings {
        compiler: workspace::compiler(&subject.compile),
        compute: Arc::clone(outside) as _,
        backends: subject.backends.clone(),
        artifacts: Arc::new(Files(subject.script.map(|script| script.files.clone()).unwrap_or_default())),
        log: Arc::new(NoLog),
        limits: subject.config.map(|config| config.limits.plugin.clone()).unwrap_or_default(),
    })
}

/// A directory of an attempt.
fn attempt_directory(place: &Path, number: usize) -> Result<PathBuf, Stop> {
    let path = place.join(format!("attempt-{number}"));
    let failed = |error| Stop::Failed(Box::new(Failure::io(format!("`{}` cannot be made", path.display()), error)));
    std::fs::create_dir_all(&path).map_err(failed)?;
    Ok(path)
}
