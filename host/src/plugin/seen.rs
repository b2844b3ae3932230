//! Notes of which large entries of the cache have been looked through, so that not every process does it again.
//!
//! A note is a small file beside the entry, of the same user. It names the boot, and what the system says of the
//! entry: device, inode, size, and when it was written and changed, which nobody sets at will. It is held against the
//! entry that is open, so that whatever another process puts in its place is looked through. One that is torn, altered
//! or about another file says nothing. It holds for this boot, because a machine that lost its power may have kept the
//! size of a file and not its bytes, and for a day, because disks decay. Where several machines write, a time is no
//! proof, so that nothing is noted there.
use crate::ground::files::{is_own, open_regular_path, put, read_whole};
use crate::ground::machine::{self, FileSystem};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Smaller entries are looked through in less time than matters; those of the standard plugins are.
const NOTED_MIN: u64 = 4 * 1024 * 1024;
/// How long a note holds.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
/// What was changed so shortly before it was looked through may change again without another time: some file systems
/// count whole seconds.
const SETTLED: Duration = Duration::from_secs(2);
/// Bytes of the largest note.
const NOTE_MAX: u64 = 4096;

fn place(entry: &Path) -> PathBuf {
    entry.with_added_extension("seen")
}

/// What is noted of an entry; nothing where that would prove nothing.
fn text(entry: &Path, of: &Metadata) -> Option<String> {
    if of.len() < NOTED_MIN || machine::file_system(entry.parent()?).ok()? != FileSystem::Local {
        return None;
    }
    let name = entry.file_name()?.to_str()?;
    let (written, changed) = ((of.mtime(), of.mtime_nsec()), (of.ctime(), of.ctime_nsec()));
    let boot = machine::boot_id().ok()?;
    Some(format!("{name} {boot} {} {} {} {written:?} {changed:?}\n", of.dev(), of.ino(), of.len()))
}

/// Whether an open entry has been looked through as it is.
pub(super) fn is_noted(entry: &Path, of: &Metadata) -> bool {
    let noted = || {
        let wanted = text(entry, of)?;
        let note = open_regular_path(&place(entry)).ok()?;
        let metadata = note.metadata().ok().filter(is_own)?;
        // one from the future has no age
        let age = SystemTime::now().duration_since(metadata.modified().ok()?).ok()?;
        Some(age < HOLDS && read_whole(note, NOTE_MAX).ok()? == wanted.as_bytes())
    };
    noted().unwrap_or(false)
}

/// Notes that an entry was looked through from this time on and found sound, if it was as it is for some time before.
pub(super) fn note(entry: &Path, of: &Metadata, from: SystemTime) {
    let Ok(nanoseconds) = u32::try_from(of.ctime_nsec()) else { return };
    let Ok(seconds) = u64::try_from(of.ctime()) else { return };
    let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    if from.duration_since(changed).is_ok_and(|age| age >= SETTLED)
        && let Some(text) = text(entry, of)
    {
        // without a note it is only looked through again
        let _ = put(&place(entry), text.as_bytes(), true);
    }
}
