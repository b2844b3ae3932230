//! Runners of scripts that a user has added, for a binary that carries none: components in the user's cache directory,
//! under their digests, with a note for each language. What lies there is believed only if it is the user's own and has
//! the digest that its note says.
use super::decode::decode;
use super::inspect::{CONTRACT, PACKAGE, WASI, refuse_no_component};
use super::survey;
use crate::ground::files::{is_own, open_regular_path, put, put_readable, read_whole};
use crate::ground::machine;
use crate::model::document::sha256;
use crate::model::script::Language;
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The calls that a runner answers.
const CALLS: [&str; 2] = ["campaign-calls", "operator-calls"];
/// The interfaces of the contract that it may ask for.
const INTERFACES: [&str; 8] =
    ["types", "campaign-types", "operator-types", "log", "artifacts", "run", "lifecycle", "compute"];
/// Bytes of the largest note, and of the largest runner.
const NOTE_MAX: u64 = 4096;
const RUNNER_MAX: u64 = 512 * 1024 * 1024;

/// A runner, as a note says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// `javascript` or `python`.
    pub language: String,
    /// The contract version it was built for.
    pub contract: String,
    /// The SHA-256 of the component.
    pub sha256: String,
    /// Bytes of the component.
    pub size: u64,
}

fn directory() -> Option<PathBuf> {
    Some(machine::cache_directory()?.join("runners"))
}

/// Adds a runner to the user's own, in place of an earlier one of its language.
///
/// # Errors
/// In words that follow its name if it is none for this host; else if it cannot be kept.
pub fn add(bytes: &[u8]) -> io::Result<Result<Runner, String>> {
    let runner = match look(bytes) {
        Ok(runner) => runner,
        Err(why) => return Ok(Err(why)),
    };
    let directory = directory().ok_or_else(|| io::Error::other("there is neither XDG_CACHE_HOME nor HOME"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    put_readable(&directory.join(format!("{}.wasm", runner.sha256)), bytes, true)?;
    let (note, earlier) = (serde_json::to_vec(&runner)?, noted(&runner.language));
    put(&directory.join(format!("{}.json", runner.language)), &note, true)?;
    if let Some(earlier) = earlier.filter(|earlier| earlier.sha256 != runner.sha256) {
        // nobody names it any more; what stays only takes room
        let _ = std::fs::remove_file(directory.join(format!("{}.wasm", earlier.sha256)));
    }
    Ok(Ok(runner))
}

/// The runner of a language that the user has added, whatever contract it was built for.
fn noted(language: &str) -> Option<Runner> {
    let note = open_regular_path(&directory()?.join(format!("{language}.json"))).ok()?;
    if !is_own(&note.metadata().ok()?) {
        return None;
    }
    let runner: Runner = serde_json::from_slice(&read_whole(note, NOTE_MAX).ok()?).ok()?;
    // the digest becomes a file's name
    let whole = runner.sha256.len() == 64 && runner.sha256.bytes().all(|digit| digit.is_ascii_hexdigit());
    (whole && runner.language == language).then_some(runner)
}

/// The runner of a language that the user has added for this host's contract.
pub(super) fn added(language: &str) -> Option<Runner> {
    Language::of_runner(language)?;
    noted(language).filter(|runner| runner.contract == CONTRACT)
}

/// The bytes of a runner that was added.
pub(super) fn read_added(language: &str, digest: &str) -> Option<Vec<u8>> {
    let runner = added(language).filter(|runner| runner.sha256 == digest)?;
    let file = open_regular_path(&directory()?.join(format!("{}.wasm", runner.sha256))).ok()?;
    if !is_own(&file.metadata().ok()?) {
        return None;
    }
    read_whole(file, RUNNER_MAX).ok().filter(|bytes| sha256(bytes) == digest)
}

/// Why there is no runner for a language, and what to do about it.
pub fn missing(language: Language) -> (String, String) {
    let (name, runner) = (language.as_str(), language.runner());
    let hint = format!(
        "`matterstack plugin runner add {runner}.wasm` adds one, which `cargo xtask` leaves in target/runners; \
         the binary that it builds carries it"
    );
    let what = match noted(runner) {
        Some(old) if old.contract != CONTRACT => format!(
            "the runner for {name} that was added is built for contract version {}; this matterstack speaks {CONTRACT} \
             and carries no runner for {name}",
            old.contract
        ),
        Some(_) => {
            format!("the runner for {name} that was added is gone or changed, and this matterstack carries none")
        }
        None => format!("this matterstack carries no runner for {name}, which scripts in {name} need"),
    };
    (what, hint)
}

/// What the interpreter of a language has somewhere in its bytes.
fn mark(language: Language) -> &'static [u8] {
    match language {
        Language::Python => b"Py_InitializeFromConfig",
        Language::JavaScript => b"QuickJS",
    }
}

/// Tells which language a component runs scripts of, from its sections alone: nothing is compiled or executed.
fn look(bytes: &[u8]) -> Result<Runner, String> {
    refuse_no_component(bytes)?;
    survey::survey(bytes)?;
    let shape = decode(bytes)?;
    for call in CALLS {
        let start = format!("{PACKAGE}{call}@");
        let Some(version) = shape.exports.iter().find_map(|(export, _)| export.strip_prefix(&start)) else {
            return Err(format!("is no runner of scripts: it does not export `{PACKAGE}{call}`"));
        };
        if version != CONTRACT {
            return Err(format!("is built for contract version {version}; this matterstack speaks {CONTRACT}"));
        }
    }
    let given = |import: &str| match import.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) {
        Some((interface, version)) => INTERFACES.contains(&interface) && version == CONTRACT,
        None => WASI.iter().any(|package| import.starts_with(package)),
    };
    if let Some((import, _)) = shape.imports.iter().find(|(import, _)| !given(import)) {
        return Err(format!("imports `{import}`, which no runner of scripts is given"));
    }
    let found: Vec<Language> =
        Language::ALL.into_iter().filter(|language| memchr::memmem::find(bytes, mark(*language)).is_some()).collect();
    let [language] = found[..] else {
        let runners = Language::ALL.map(Language::runner).join(" and ");
        return Err(format!("has no interpreter that is known; there are runners for {runners}"));
    };
    let (contract, size) = (CONTRACT.to_owned(), bytes.len() as u64);
    Ok(Runner { language: language.runner().to_owned(), contract, sha256: sha256(bytes), size })
}
