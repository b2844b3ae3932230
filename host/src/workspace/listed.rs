//! Runs as `list` shows them. What was seen of a run is kept in the user's cache and holds as long as the files of its
//! database are the same: then no database is opened. Without that cache, or with a spoilt one, it takes longer.
use super::open::glance_store;
use super::{Workspaces, now_ms};
use crate::failure::Failure;
use crate::ground::files::{put, read_regular};
use crate::ground::machine::cache_directory;
use crate::model::act::VERSION;
use crate::model::document::sha256;
use crate::model::time::Time;
use crate::run::RunDir;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// From how many runs on a cache is kept: fewer are opened in no time.
const WORTH_KEEPING: usize = 20;
/// The largest cache that is read, in bytes.
const CACHE_MAX: u64 = 64 * 1024 * 1024;
/// How long the stamps of a file may stay the same while it changes, in milliseconds: as long as a tick of the kernel,
/// or a second and more on file systems that count no parts of a second.
const FINE_MS: i64 = 100;
const COARSE_MS: i64 = 2500;

/// What tells that a file has not changed: device, inode, size, and when its content and itself were changed, in
/// nanoseconds since the epoch.
type Stamp = (u64, u64, u64, i64, i64);

/// The database of a run, its log and its journal; nothing where there is no such file.
type Stamps = [Option<Stamp>; 3];

/// What was seen of one run, and of which files.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    stamps: Stamps,
    told: Value,
}

/// What was seen of the runs of a root, by their directories.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cache {
    version: String,
    entries: BTreeMap<String, Entry>,
}

/// The runs below a root, or of one workspace of it, each as a document; what cannot be read is told as such.
pub fn listed(workspaces: &Workspaces, workspace: Option<&str>) -> Vec<Value> {
    let runs = workspaces.runs();
    let path = cache_of(workspaces.root()).filter(|_| runs.len() >= WORTH_KEEPING);
    let mut before = path.as_deref().map(read_cache).unwrap_or_default();
    let mut after = BTreeMap::new();
    let (mut found, mut anew) = (Vec::new(), false);
    for (slug, dir) in &runs {
        let name = dir.root().to_string_lossy().into_owned();
        let kept = before.entries.remove(&name);
        if workspace.is_some_and(|workspace| slug != workspace.trim_end_matches('/')) {
            after.extend(kept.map(|kept| (name, kept)));
            continue;
        }
        let stamps = stamps(dir);
        let same = |kept: &Entry| stamps.as_ref().is_ok_and(|stamps| *stamps == kept.stamps);
        if let Some(kept) = kept.filter(same) {
            found.push(kept.told.clone());
            after.insert(name, kept);
            continue;
        }
        let (told, is_read) = told(slug, dir);
        if is_read && let Some(stamps) = stamps.ok().filter(|seen| holds(seen, dir)) {
            after.insert(name, Entry { stamps, told: told.clone() });
            anew = true;
        }
        found.push(told);
    }
    if let Some(path) = path.filter(|_| anew || !before.entries.is_empty()) {
        // Without it the next look takes as long as this one.
        let _ = write_cache(&path, after);
    }
    found
}

/// A run as a document, and whether it could be read.
fn told(slug: &str, dir: &RunDir) -> (Value, bool) {
    let read = || -> Result<Value, Failure> {
        let store = glance_store(dir)?;
        let row = store.run()?;
        Ok(json!({
            "run_id": dir.id(), "workspace": slug, "state": row.state, "reason": row.reason, "iteration": row.iteration,
            "label": row.label, "summary": row.summary()?, "tasks": store.task_counts()?,
            "created_at": Time(row.created_at_ms), "path": dir.root(),
        }))
    };
    match read() {
        Ok(told) => (told, true),
        Err(failure) => (
            json!({
                "run_id": dir.id(), "workspace": slug, "state": "unreadable", "reason": failure.to_string(),
                "iteration": null, "label": null, "summary": null, "tasks": null, "created_at": null,
                "path": dir.root(),
            }),
            false,
        ),
    }
}

fn stamps(dir: &RunDir) -> io::Result<Stamps> {
    let database = dir.database();
    let beside = |end: &str| {
        let mut name = database.clone().into_os_string();
        name.push(end);
        match fs::symlink_metadata(PathBuf::from(name)) {
            Ok(metadata) => Ok(Some(stamp(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    Ok([beside("")?, beside("-wal")?, beside("-journal")?])
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    (
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    )
}

/// Whether stamps that were taken before a run was read tell for certain when it has changed since: the look itself
/// changed nothing, and a change right after it would have others.
fn holds(before: &Stamps, dir: &RunDir) -> bool {
    let now = now_ms();
    let is_past = |(_, _, _, content, file): &Stamp| {
        [content, file].into_iter().all(|at| {
            let grain = if at % 1_000_000_000 == 0 { COARSE_MS } else { FINE_MS };
            at / 1_000_000 < now - grain
        })
    };
    before.iter().flatten().all(is_past) && stamps(dir).is_ok_and(|after| after == *before)
}

/// The file for what was seen below a root.
fn cache_of(root: &Path) -> Option<PathBuf> {
    Some(cache_directory()?.join("runs").join(format!("{}.json", sha256(root.as_os_str().as_bytes()))))
}

fn read_cache(path: &Path) -> Cache {
    let bytes = read_regular(path, CACHE_MAX).ok().flatten().unwrap_or_default();
    let cache: Cache = serde_json::from_slice(&bytes).unwrap_or_default();
    if cache.version == VERSION { cache } else { Cache::default() }
}

fn write_cache(path: &Path, entries: BTreeMap<String, Entry>) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        // what stands in it may come from runs that nobody else can read
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let cache = Cache { version: VERSION.to_owned(), entries };
    put(path, &serde_json::to_vec(&cache)?, true)
}
