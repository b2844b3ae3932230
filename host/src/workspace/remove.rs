//! Removing runs, and what they take of the disk.
use super::init::ASIDE;
use super::{Workspaces, owner, read_store};
use crate::failure::{Failure, FailureKind};
use crate::run::RunDir;
use crate::store::Store;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// The unit in which file systems tell what a file takes, in bytes.
const BLOCK: u64 = 512;

/// What a run takes of the disk, in bytes. A file of several names counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// All of it.
    pub total: u64,
    /// The database and what lies beside it.
    pub database: u64,
    /// Plugins.
    pub plugins: u64,
    /// Pinned files, and files that the campaign wrote.
    pub inputs: u64,
    /// What attempts were given and left.
    pub attempts: u64,
    /// How many files there are.
    pub files: u64,
}

/// Adds up what a run takes. Links are not followed.
///
/// # Errors
/// If a directory cannot be read.
pub fn usage(dir: &RunDir) -> Result<Usage, Failure> {
    let (mut usage, mut seen) = (Usage::default(), BTreeSet::new());
    let wrong = |error| Failure::io(format!("run directory `{}` cannot be read", dir.root().display()), error);
    for entry in fs::read_dir(dir.root()).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let mut bytes = 0;
        let mut add = |metadata: &Metadata| {
            if seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.blocks() * BLOCK;
                usage.files += u64::from(!metadata.is_dir());
            }
        };
        walk(&entry.path(), &mut add).map_err(wrong)?;
        usage.total += bytes;
        match entry.file_name().to_str() {
            Some(name) if name.starts_with("state.sqlite") => usage.database += bytes,
            Some("plugins") => usage.plugins += bytes,
            Some("inputs") => usage.inputs += bytes,
            Some("operators") => usage.attempts += bytes,
            _ => {}
        }
    }
    Ok(usage)
}

fn walk(path: &Path, each: &mut impl FnMut(&Metadata)) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        // a job may be at work there
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    each(&metadata);
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(&entry?.path(), each)?;
        }
    }
    Ok(())
}

/// Refuses to remove a run that is not done with: one that goes on, that is another user's, or whose results other runs
/// took; `anyway` says that the last of these is known.
///
/// # Errors
/// Why it is not to be removed.
pub fn refuse_removal(dir: &RunDir, workspaces: &Workspaces, anyway: bool) -> Result<(), Failure> {
    owner::refuse_other_user(dir)?;
    let store = read_store(dir)?;
    let run = dir.address();
    refuse_live(dir, &store)?;
    let kept = store.outputs_elsewhere()?;
    if kept > 0 && !anyway {
        let what = format!("{kept} outputs of run `{run}` are kept on a cluster");
        let hint = format!("`matterstack backend clean {run} --kept` removes them; `--anyway` forgets them there");
        return Err(Failure::input(what).hint(hint));
    }
    let takers = takers(dir, workspaces);
    if let [first, rest @ ..] = takers.as_slice()
        && !anyway
    {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let what = format!("run `{first}`{more} took results of run `{run}`");
        let hint =
            "they keep copies of their own, and what made them would be gone; `--anyway` removes it all the same";
        return Err(Failure::input(what).hint(hint));
    }
    Ok(())
}

fn refuse_live(dir: &RunDir, store: &Store) -> Result<(), Failure> {
    let (state, run) = (store.run()?.state, dir.address());
    if state.ended() {
        return Ok(());
    }
    let what = format!("run `{run}` is {state} and has not ended");
    Err(Failure::input(what).hint(format!("`matterstack cancel {run}` ends it")))
}

/// The other runs of the workspace that took results of a run. One that cannot be read is none of them.
pub(super) fn takers(dir: &RunDir, workspaces: &Workspaces) -> Vec<String> {
    let runs = dir.root().parent();
    let others = workspaces.runs().into_iter().map(|(_, run)| run);
    let others = others.filter(|run| run.root().parent() == runs && run.root() != dir.root());
    let took = |store: Store| store.has_taken_of(&dir.id());
    others.filter(|run| read_store(run).is_ok_and(|store| took(store).unwrap_or(false))).map(|run| run.id()).collect()
}

/// What went wrong with a run that is to be removed; where it is gone, that.
fn if_there(dir: &RunDir, failure: Failure) -> Failure {
    if dir.database().exists() {
        return failure;
    }
    Failure::input(format!("run `{}` is gone: somebody else removed it in the meantime", dir.address()))
        .hint("there is nothing left to do; `matterstack list` shows what there is")
}

/// Removes a run. Nobody drives it meanwhile; what is interrupted is removed by the next `init` of the workspace.
///
/// # Errors
/// If somebody is at work on it, or it cannot be removed.
pub fn remove(dir: &RunDir, patience: Duration) -> Result<(), Failure> {
    let wrong = |error| Failure::io(format!("run directory `{}` cannot be removed", dir.root().display()), error);
    let lease = dir.lease(patience).map_err(|error| if_there(dir, error.into()))?;
    // somebody may have brought it back, or removed it, since it was looked at
    read_store(dir).and_then(|store| refuse_live(dir, &store)).map_err(|failure| if_there(dir, failure))?;
    let Some(runs) = dir.root().parent() else {
        return Err(Failure::of(FailureKind::Input, format!("`{}` is not a run directory", dir.root().display())));
    };
    let aside = runs.join(format!("{ASIDE}{}-removed", dir.id()));
    fs::rename(dir.root(), &aside).map_err(wrong)?;
    fs::File::open(runs).and_then(|runs| runs.sync_all()).map_err(wrong)?;
    let removed = fs::remove_dir_all(&aside).map_err(wrong);
    drop(lease);
    removed
}
