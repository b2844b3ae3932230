//! The lock that a supervisor holds while it lives, and what it says of its holder.
use super::record::{Process, line, now, open_own};
use super::{directory_of, existing};
use crate::ground::files::read_regular;
use crate::ground::machine;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

pub(super) const NAME: &str = "supervisor.lock";

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
    // a tick that only looks holds it for an instant
    let taken = (0..20).any(|_| {
        lock.try_lock().is_ok() || {
            std::thread::sleep(Duration::from_millis(1));
            false
        }
    });
    if !taken {
        return Ok(None);
    }
    sign(&lock)?;
    Ok(Some(lock))
}

/// Says in the file which process holds it, for whoever looks why nothing goes on. A full disk costs no more than that.
fn sign(lock: &File) -> io::Result<()> {
    let pid = std::process::id() as i32;
    if let Some(start_time) = machine::process_start_time(pid) {
        let process = Process { pid, start_time, boot: machine::boot_id()?, started_at: now() };
        let _ = lock.set_len(0).and_then(|()| lock.write_all_at(&line(&process)?, 0));
    }
    Ok(())
}

/// Looks whether the supervisor of a backend of a run on this machine was stopped. Changes nothing.
pub fn stopped_supervisor(run: &Path, backend: &str) -> Option<StoppedSupervisor> {
    let path = directory_of(run, backend).join(NAME);
    let lock = existing(&path).ok()??;
    if lock.try_lock_shared().is_ok() {
        return None;
    }
    let text = read_regular(&path, 1024).ok()??;
    let process: Process = serde_json::from_slice(&text).ok()?;
    machine::process_is_stopped(process.pid, process.start_time)
        .then(|| StoppedSupervisor { backend: backend.to_owned(), pid: process.pid })
}
