//! Finds and hashes the output files of an ended attempt, without following links and within quotas. Only folders that
//! a pattern can reach are looked into. What a job left is never trouble of the machine's, but where the machine says
//! so. The files stay as they are: after a crash they are looked at again.
use crate::ground::carriage::{Allowance, Carriage, Carried};
use crate::ground::files::{open_directory, open_regular};
use crate::ground::machine;
use crate::model::code::{Code, Word};
use crate::model::limit::{Limit, Limits};
use crate::model::outputs;
use crate::model::pattern::{Dots, Kind, PATTERNS_MAX, Pattern, Patterns, Seen, misses};
use crate::model::workflow::{OutputPattern, Task};
use crate::store::Output;
use crate::tick::attempts::walk::{Own, Walk};
use cap_std::fs::Dir;
use std::io;
use std::path::Path;

/// How many output files are made durable one by one; more of them, with all that the file system holds.
const SYNCED_MAX: usize = 16;
/// Entries that are looked at to say why a pattern named nothing.
const SEEN_MAX: usize = 2_000;

/// Why outputs could not be collected. Neither fails the tick; what the attempt is to blame for fails the attempt.
#[derive(Debug, thiserror::Error)]
pub(in crate::tick) enum CollectError {
    /// The attempt left more than it may, perhaps by a limit that can be raised.
    #[error("{0}")]
    Quota(String, Option<Limit>),
    /// Something that it left cannot be read: what.
    #[error("`{0}` cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// There is more of it than one tick takes: what is being done.
    #[error("{0}")]
    PutAside(String),
}

impl CollectError {
    /// Whether the machine is to blame, so that the outputs may be collected later.
    pub(in crate::tick) fn passes(&self) -> bool {
        matches!(self, Self::Unreadable(_, error) if machine::is_trouble(error))
    }

    /// The word for it, with the limit that was reached.
    pub(in crate::tick) fn word(&self) -> Word {
        match self {
            Self::Quota(_, Some(limit)) => Word::Limit(Code::OutputQuota, *limit),
            Self::Quota(_, None) => Word::Own(Code::OutputQuota),
            Self::Unreadable(..) => Word::Own(Code::OutputUnreadable),
            Self::PutAside(_) => Word::Own(Code::Collecting),
        }
    }
}

/// What was collected.
#[derive(Debug)]
pub(in crate::tick) struct Collected {
    pub(in crate::tick) outputs: Vec<Output>,
    /// The first pattern that names no file, and what was there instead.
    pub(in crate::tick) missing: Option<String>,
}

/// The attempt whose outputs are collected.
#[derive(Clone, Copy)]
pub(in crate::tick) struct Left<'a> {
    pub(in crate::tick) directory: &'a Path,
    pub(in crate::tick) task: &'a Task,
    pub(in crate::tick) handle: Option<&'a str>,
}

/// The part of a handle in which an operator names its own files, by patterns: they are no outputs of the task.
#[derive(serde::Deserialize)]
struct OwnFiles {
    #[serde(default)]
    own_files: Vec<String>,
}

/// The operator's own files, by its handle. A pattern that is none names nothing.
pub(in crate::tick) fn own_files(handle: Option<&str>) -> Patterns {
    let named = handle.and_then(|handle| serde_json::from_str(handle).ok());
    let named = named.map_or(Vec::new(), |OwnFiles { own_files }| own_files);
    let parsed = named.iter().take(PATTERNS_MAX).filter_map(|text| Pattern::parse(text).ok());
    Patterns::new(parsed.collect(), Dots::Any)
}

/// The files that the task's patterns name, with their digests and made durable. `kept` are those that stayed on the
/// cluster.
pub(in crate::tick) fn collect_outputs(
    left: Left<'_>,
    kept: Vec<Output>,
    limits: &Limits,
    progress: &mut Carriage,
    allowance: &Allowance,
) -> Result<Collected, CollectError> {
    let task = left.task;
    if task.outputs.is_empty() {
        return Ok(Collected { outputs: Vec::new(), missing: None });
    }
    let patterns = outputs::patterns(task.outputs.iter().map(OutputPattern::pattern));
    let own = own_files(left.handle);
    let own = Own { task, operator: &own };
    let unreadable = |error| CollectError::Unreadable(".".to_owned(), error);
    let root = open_directory(left.directory).map_err(unreadable)?;
    let mut walk = Walk::new(&patterns, own, limits);
    let mut outputs = walk.kept(kept, |position| {
        let text = patterns.all().get(position).map(Pattern::text);
        task.outputs.iter().any(|output| output.stays() && Some(output.pattern()) == text)
    });
    walk.walk(&root)?;
    let mut found = std::mem::take(&mut walk.found);
    found.sort();
    let mut room = limits.attempt_mb.saturating_mul(1024 * 1024);
    for path in &found {
        let output = hash(&root, path, room, progress, allowance).map_err(|error| over_quota(error, limits))?;
        room = room.saturating_sub(output.size);
        outputs.push(output);
    }
    sync(left.directory, &root, &found).map_err(|(path, error)| CollectError::Unreadable(path, error))?;
    outputs.sort_by(|a, b| (&a.path, a.remote.is_some()).cmp(&(&b.path, b.remote.is_some())));
    // a file that is here after all is the better one
    outputs.dedup_by(|b, a| a.path == b.path);
    let unmatched = patterns.all().iter().enumerate().find(|(position, _)| !walk.matched(*position));
    let missing = unmatched.map(|(_, pattern)| why_missing(&root, pattern, own));
    Ok(Collected { outputs, missing })
}

fn hash(
    root: &Dir,
    path: &str,
    room: u64,
    progress: &mut Carriage,
    allowance: &Allowance,
) -> Result<Output, CollectError> {
    let unreadable = |error| CollectError::Unreadable(path.to_owned(), error);
    let mut file = open_regular(root, path).map_err(unreadable)?.into_std();
    match progress.hash(&mut file, path, room, allowance).map_err(unreadable)? {
        Carried::Whole(digested) => {
            Ok(Output { path: path.to_owned(), sha256: digested.sha256, size: digested.size, remote: None })
        }
        Carried::PutAside(done) => {
            let of = file.metadata().map(|metadata| metadata.len()).unwrap_or(done);
            Err(CollectError::PutAside(format!("its output `{path}` is being read: {done} of {of} bytes")))
        }
    }
}

pub(in crate::tick) fn over_quota(error: CollectError, limits: &Limits) -> CollectError {
    match error {
        CollectError::Unreadable(path, error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let (limit, most) = (Limit::AttemptMb, limits.attempt_mb);
            let text = format!("the output files are larger together than allowed, at `{path}`: `{limit}` is {most}");
            CollectError::Quota(text, Some(limit))
        }
        other @ (CollectError::Quota(..) | CollectError::Unreadable(..) | CollectError::PutAside(_)) => other,
    }
}

/// Makes files durable before the store names them.
fn sync(directory: &Path, root: &Dir, paths: &[String]) -> Result<(), (String, io::Error)> {
    if paths.len() > SYNCED_MAX {
        return machine::sync_file_system(directory).map_err(|error| (".".to_owned(), error));
    }
    let one = |path: &String| open_regular(root, path).and_then(|file| file.sync_data());
    paths.iter().try_for_each(|path| one(path).map_err(|error| (path.clone(), error)))
}

/// The sentence on a pattern that named no file.
fn why_missing(root: &Dir, pattern: &Pattern, own: Own<'_>) -> String {
    let sentence = format!("output pattern `{pattern}` matches no file");
    match misses(pattern, &seen(root, pattern, own)) {
        Some(miss) => format!("{sentence}: {miss}"),
        None => sentence,
    }
}

/// What lies where a pattern reaches, and in the top folder.
fn seen(root: &Dir, pattern: &Pattern, own: Own<'_>) -> Vec<Seen> {
    let patterns = Patterns::new(vec![pattern.clone()], Dots::Written);
    let mut seen = Vec::new();
    let mut open = vec![(String::new(), patterns.root())];
    while let Some((below, place)) = open.pop() {
        let folder = if below.is_empty() { root.try_clone() } else { root.open_dir(&below) };
        let Ok(entries) = folder.and_then(|folder| folder.entries()) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(kind) = entry.file_type() else { continue };
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let kind = match () {
                () if kind.is_dir() => Kind::Folder,
                () if kind.is_symlink() => Kind::Link,
                () if !kind.is_file() => Kind::Special,
                () if own.is_staged(&path) => Kind::Staged,
                () if own.is_not_the_tasks(&path) => Kind::Own,
                () => Kind::File,
            };
            if kind == Kind::Folder
                && let Some(inner) = patterns.enter(&place, &name)
            {
                open.push((path.clone(), inner));
            }
            seen.push(Seen { path, kind });
            if seen.len() >= SEEN_MAX {
                return seen;
            }
        }
    }
    seen
}
