//! Removing what attempts left and nobody needs any more. It is recorded first, with who wanted it; digests stay.
use super::remove::takers;
use super::{Workspaces, act};
use crate::failure::Failure;
use crate::ground::failpoint;
use crate::model::act::Verb;
use crate::model::pattern::Patterns;
use crate::model::states::AttemptState;
use crate::run::Run;
use crate::store::{AttemptRow, Durability, Removal};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

/// The unit in which file systems tell what a file takes, in bytes.
const BLOCK: u64 = 512;

/// What is to be removed of a run.
#[derive(Debug, Default)]
pub struct Unwanted {
    /// The directories of attempts that completed, and after which their task has completed again.
    pub superseded: bool,
    /// The directories of attempts that failed or were cancelled, of tasks that have ended.
    pub failed: bool,
    /// Outputs here of completed attempts, by their paths.
    pub outputs: Option<Patterns>,
    /// Outputs that were kept on clusters; they are only recorded here.
    pub remote: bool,
}

/// What a removal comes to, or came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaning {
    /// Directories of attempts.
    pub directories: u64,
    /// Outputs beside them.
    pub outputs: u64,
    /// Outputs that were kept on clusters; what those come to is known when they are gone.
    pub remote: u64,
    /// Bytes of the disk. What has a second name elsewhere frees nothing.
    pub bytes: u64,
}

/// Says what is to be removed, what that comes to, and whether it is recorded.
struct Sweep<'a> {
    run: &'a Run,
    attempts: HashMap<i64, AttemptRow>,
    /// Directories that more than one attempt has.
    shared: HashSet<String>,
}

/// Removes what is unwanted of a run, and what an earlier removal that was cut short has left over.
///
/// # Errors
/// If it is needed still, or the run cannot be written.
pub fn clean(
    run: &mut Run,
    unwanted: &Unwanted,
    workspaces: &Workspaces,
    (anyway, dry_run): (bool, bool),
    arguments: Value,
) -> Result<Cleaning, Failure> {
    let sweep = Sweep::of(run)?;
    let removals = sweep.choose(unwanted)?;
    if !anyway {
        sweep.refuse_taken(&removals, workspaces)?;
    }
    let root = Dir::open_ambient_dir(run.dir.root(), ambient_authority()).map_err(|error| {
        Failure::io(format!("run directory `{}` cannot be opened", run.dir.root().display()), error)
    })?;
    let (mut cleaning, places) = sweep.measure(&root, &removals)?;
    cleaning.remote = sweep.kept_remotely(&removals)?;
    if dry_run {
        return Ok(cleaning);
    }
    if !removals.is_empty() {
        let act = act(Verb::Clean, arguments, None);
        run.store.transaction(Durability::Full, |writer| writer.keep_removed(&removals, &act))?;
    }
    failpoint::hit("clean.recorded");
    for place in places {
        let wrong = |error| Failure::io(format!("`{}` cannot be removed", run.dir.join(&place).display()), error);
        remove(&root, &place).map_err(wrong)?;
        failpoint::hit("clean.removed");
    }
    Ok(cleaning)
}

impl<'a> Sweep<'a> {
    fn of(run: &'a Run) -> Result<Self, Failure> {
        let (mut seen, mut shared) = (HashSet::new(), HashSet::new());
        let mut attempts = HashMap::new();
        for attempt in run.store.all_attempts()? {
            if !seen.insert(attempt.directory.clone()) {
                shared.insert(attempt.directory.clone());
            }
            attempts.insert(attempt.key, attempt);
        }
        Ok(Self { run, attempts, shared })
    }

    fn choose(&self, unwanted: &Unwanted) -> Result<Vec<Removal>, Failure> {
        let store = &self.run.store;
        let (run, state) = (self.run.dir.address(), store.run()?.state);
        if (unwanted.outputs.is_some() || unwanted.remote) && !state.ended() {
            let what = format!("run `{run}` is {state}, and its tasks may need what others left");
            return Err(Failure::input(what).hint(format!("let it end, or end it: `matterstack cancel {run}`")));
        }
        let gone: HashSet<(i64, String)> =
            store.removals()?.into_iter().map(|removal| (removal.key, removal.path)).collect();
        let open: HashSet<i64> = store.open_tasks(u32::MAX)?.into_iter().map(|task| task.key).collect();
        let mut completed = HashMap::new();
        for attempt in self.attempts.values().filter(|attempt| attempt.state == AttemptState::Completed) {
            let newest = completed.entry(attempt.task_key).or_insert(attempt.number);
            *newest = attempt.number.max(*newest);
        }
        let mut chosen = Vec::new();
        for (key, attempt) in &self.attempts {
            let whole = match attempt.state {
                AttemptState::Completed => unwanted.superseded && completed[&attempt.task_key] > attempt.number,
                AttemptState::Failed | AttemptState::Cancelled => unwanted.failed && !open.contains(&attempt.task_key),
                // what is lost may be at work still
                AttemptState::Lost
                | AttemptState::Created
                | AttemptState::Prepared
                | AttemptState::Submitting
                | AttemptState::Submitted
                | AttemptState::Running
                | AttemptState::WaitingExternal => false,
            };
            if whole && !self.shared.contains(&attempt.directory) {
                chosen.push(Removal { key: *key, path: String::new() });
            } else if attempt.state == AttemptState::Completed {
                chosen.extend(self.outputs(*key, unwanted)?);
            }
        }
        chosen.retain(|Removal { key, path }| {
            !gone.contains(&(*key, path.clone())) && !gone.contains(&(*key, String::new()))
        });
        chosen.sort_by(|one, other| (one.key, &one.path).cmp(&(other.key, &other.path)));
        Ok(chosen)
    }

    fn outputs(&self, key: i64, unwanted: &Unwanted) -> Result<Vec<Removal>, Failure> {
        if unwanted.outputs.is_none() && !unwanted.remote {
            return Ok(Vec::new());
        }
        let outputs = self.run.store.outputs(key)?.into_iter().filter(|output| match output.remote {
            Some(_) => unwanted.remote,
            None => unwanted.outputs.as_ref().is_some_and(|patterns| patterns.match_path(&output.path)),
        });
        Ok(outputs.map(|output| Removal { key, path: output.path }).collect())
    }

    /// How many of these are outputs that were kept on clusters.
    fn kept_remotely(&self, removals: &[Removal]) -> Result<u64, Failure> {
        let mut count = 0;
        for Removal { key, path } in removals.iter().filter(|removal| !removal.path.is_empty()) {
            let outputs = self.run.store.outputs(*key)?;
            count += u64::from(outputs.iter().any(|output| output.path == *path && output.remote.is_some()));
        }
        Ok(count)
    }

    /// Refuses to remove what other runs of the workspace took results from.
    fn refuse_taken(&self, removals: &[Removal], workspaces: &Workspaces) -> Result<(), Failure> {
        let left = |removal: &Removal| {
            self.attempts.get(&removal.key).is_some_and(|attempt| attempt.state == AttemptState::Completed)
        };
        if !removals.iter().any(left) {
            return Ok(());
        }
        let takers = takers(&self.run.dir, workspaces);
        let Some(first) = takers.first() else { return Ok(()) };
        let what = format!("run `{first}` took results of run `{}`", self.run.dir.address());
        Err(Failure::input(what)
            .hint("it keeps copies of its own, and what made them would be gone; `--anyway` removes it all the same"))
    }

    /// What there is of it, and of what was to be removed before: how much, and where.
    fn measure(&self, root: &Dir, removals: &[Removal]) -> Result<(Cleaning, Vec<String>), Failure> {
        let (mut cleaning, mut places) = (Cleaning::default(), Vec::new());
        for removal in self.run.store.removals()?.iter().chain(removals) {
            let Some(attempt) = self.attempts.get(&removal.key) else { continue };
            let whole = removal.path.is_empty();
            let place = match whole {
                true => attempt.directory.clone(),
                false => format!("{}/{}", attempt.directory, removal.path),
            };
            if whole && self.shared.contains(&attempt.directory) {
                continue;
            }
            let Ok(bytes) = bytes_of(root, Path::new(&place)) else { continue };
            cleaning.bytes += bytes;
            *(if whole { &mut cleaning.directories } else { &mut cleaning.outputs }) += 1;
            places.push(place);
        }
        Ok((cleaning, places))
    }
}

/// What the removal of a file or a directory frees. Links are not followed.
fn bytes_of(root: &Dir, place: &Path) -> io::Result<u64> {
    let metadata = root.symlink_metadata(place)?;
    if !metadata.is_dir() {
        return Ok(if metadata.nlink() > 1 { 0 } else { metadata.blocks() * BLOCK });
    }
    let mut bytes = metadata.blocks() * BLOCK;
    for entry in root.read_dir(place)? {
        bytes += bytes_of(root, &place.join(entry?.file_name()))?;
    }
    Ok(bytes)
}

fn remove(root: &Dir, place: &str) -> io::Result<()> {
    let removed = match root.symlink_metadata(place)?.is_dir() {
        true => root.remove_dir_all(place),
        false => root.remove_file(place),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
