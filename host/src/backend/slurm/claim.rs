//! The claim in an attempt directory: whoever makes it decides over the attempt, for ever.
//!
//! A job claims the attempt before it starts the command; the host claims it to fence it. Either claim is on the disk
//! before anything follows from it, so that a file system which is rolled back to an earlier state takes none away.
//! What stands in the directory may be the job's own doing: nothing is followed, and nothing is waited for.
use super::ledger::Element;
use super::{Memory, array};
use crate::backend::JobKey;
use crate::ground::files::read_regular;
use crate::model::attempt_dir::{CANCEL, CLAIM, FENCED, OWNER};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest claim that is read, in bytes.
const OWNER_MAX: u64 = 4096;

/// Sees to it that nothing can start the attempt's command from now on. Returns whether nothing has: whoever made the
/// claim decides, and the host's own is marked.
pub(super) fn fence(directory: &Path) -> io::Result<bool> {
    let claim = directory.join(CLAIM);
    match fs::create_dir(&claim) {
        Ok(()) => {
            File::create(claim.join(FENCED))?.sync_all()?;
            File::open(&claim)?.sync_all()?;
            File::open(directory)?.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(claim.join(FENCED).exists()),
        // nothing can enter a directory that is gone, but a job may have before somebody removed it
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether Slurm's own messages say that the job which claimed the attempt was killed for its memory: without cgroups
/// no state word does.
pub(super) fn ran_out_of_memory(memory: &Memory, key: JobKey<'_>, array: &str) -> bool {
    let owner = owner_text(key.directory).unwrap_or_default();
    let Some(id) = owner.split(' ').nth(2) else { return false };
    let log = fs::read(memory.arrays.log_path(array)).unwrap_or_default();
    let (step, job) = (format!("StepId={id}."), format!("JOB {id} "));
    String::from_utf8_lossy(&log).lines().any(|line| {
        (line.contains(&step) || line.contains(&job))
            && ["exceeded memory limit", "oom-kill", "oom_kill"].iter().any(|word| line.contains(word))
    })
}

/// What the job that claimed an attempt says of itself; the job can put anything in its place.
fn owner_text(directory: &Path) -> Option<String> {
    let bytes = read_regular(&directory.join(CLAIM).join(OWNER), OWNER_MAX).ok()??;
    String::from_utf8(bytes).ok()
}

/// The job that claimed an attempt.
pub(super) fn read_owner(directory: &Path) -> Option<Element> {
    let text = owner_text(directory)?;
    let mut words = text.split(' ');
    let (array, index) = (words.next()?, words.next()?.parse().ok()?);
    array::is_name(array).then(|| Element { array: array.to_owned(), index })
}

/// Whether a person wants the attempt's job stopped.
pub(super) fn is_cancelled(directory: &Path) -> bool {
    fs::symlink_metadata(directory.join(CANCEL)).is_ok()
}

/// When a person's wish was told last, in milliseconds since the epoch.
pub(super) fn cancelled_at_ms(directory: &Path) -> Option<i64> {
    let told = fs::symlink_metadata(directory.join(CANCEL)).and_then(|metadata| metadata.modified()).ok()?;
    Some(told.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64))
}

/// Notes at this time that a person wants the job stopped. What the job has put in the note's place is neither followed
/// nor waited for.
pub(super) fn mark_cancelled(directory: &Path, now_ms: i64) -> io::Result<()> {
    let marker = directory.join(CANCEL);
    if fs::symlink_metadata(&marker).is_ok_and(|found| found.is_dir()) {
        fs::remove_dir_all(&marker)?;
    }
    remove(&marker)?;
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&marker)?;
    let at = UNIX_EPOCH + std::time::Duration::from_millis(now_ms.max(0) as u64);
    file.set_modified(at.max(SystemTime::UNIX_EPOCH))
}

/// Removes a file, whether or not it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_claim_decides_whoever_made_it() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let (job, host) = (directory.path().join("job"), directory.path().join("host"));
        fs::create_dir_all(job.join(CLAIM)).expect("a claim");
        fs::create_dir(&host).expect("a directory");
        assert!(!fence(&job).expect("looked at"), "a job was first");
        assert!(fence(&host).expect("fenced") && fence(&host).expect("once more"));
        assert!(!fence(&directory.path().join("gone")).expect("looked at"), "what is gone tells nothing");
    }

    #[test]
    fn a_wish_is_as_old_as_it_was_told() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        assert_eq!(cancelled_at_ms(directory.path()), None);
        fs::create_dir_all(directory.path().join(CANCEL).join("of the job's own")).expect("a directory");
        mark_cancelled(directory.path(), 1_234_567).expect("marked");
        assert_eq!(cancelled_at_ms(directory.path()), Some(1_234_567));
        assert!(is_cancelled(directory.path()));
    }
}
