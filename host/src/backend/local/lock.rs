//! The lock that a supervisor holds while it lives, and what it says of its holder.
use super::directory_of;
use super::journal;
use super::record::{FORMAT, Process, existing, line, now, open_own};
use crate::ground::files::read_regular;
use crate::ground::machine;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) const NAME: &str = "supervisor.lock";

/// What stands in the lock: every format has it, so that each can tell whose supervisor that is.
#[derive(Debug, Serialize, Deserialize)]
struct Signature {
    format: u32,
    #[serde(flatten)]
    process: Process,
}

/// A supervisor that lives and does nothing, because somebody stopped its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedSupervisor {
    /// The backend's name.
    pub backend: String,
    /// Its process.
    pub pid: i32,
}

/// Takes the lock of a backend's directory for this process, or finds that there is a supervisor.
pub(super) fn take(directory: &Path) -> io::Result<Option<File>> {
    let lock = open_own(OpenOptions::new().create(true).truncate(false).write(true), &directory.join(NAME))?;
    if !hold(&lock)? {
        return Ok(None);
    }
    sign(&lock)?;
    Ok(Some(lock))
}

/// How long somebody who only looks is waited for: each tick starts another supervisor, and they must not pile up.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Locks a file for as long as it is open; `false` if a supervisor has locked it, or somebody else keeps it. Whoever
/// only looks shares the lock for an instant, which on a busy machine is long.
pub(super) fn hold(file: &File) -> io::Result<bool> {
    let begun = Instant::now();
    while file.try_lock().is_err() {
        if begun.elapsed() > LOOK_MAX || file.try_lock_shared().is_err() {
            return Ok(false);
        }
        file.unlock()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}

/// Says in the file which process holds it, for whoever looks why nothing goes on. A full disk costs no more than that.
fn sign(lock: &File) -> io::Result<()> {
    let pid = std::process::id() as i32;
    if let Some(start_time) = machine::process_start_time(pid) {
        let process = Process { pid, start_time, boot: machine::boot_id()?, started_at: now() };
        let signature = Signature { format: FORMAT, process };
        let _ = lock.set_len(0).and_then(|()| lock.write_all_at(&line(&signature)?, 0));
    }
    Ok(())
}

/// Whether a supervisor holds the lock of a backend's directory, or its journal: either may have been removed under it.
pub(super) fn is_held(directory: &Path) -> io::Result<bool> {
    for name in [NAME, journal::NAME] {
        let Some(file) = existing(&directory.join(name))? else { continue };
        if file.try_lock_shared().is_err() {
            return Ok(true);
        }
        // not by closing it: a process that is just being made by another thread has it open as well
        file.unlock()?;
    }
    Ok(false)
}

/// Looks whether the supervisor of a backend of a run on this machine was stopped. Changes nothing.
pub(in crate::backend) fn stopped_supervisor(run: &Path, backend: &str) -> Option<StoppedSupervisor> {
    let directory = directory_of(run, backend);
    if !is_held(&directory).ok()? {
        return None;
    }
    let text = read_regular(&directory.join(NAME), 1024).ok()??;
    let Signature { process, .. } = serde_json::from_slice(&text).ok()?;
    machine::process_is_stopped(process.pid, process.start_time)
        .then(|| StoppedSupervisor { backend: backend.to_owned(), pid: process.pid })
}
