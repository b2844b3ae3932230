//! The lease: the right to advance a run, an OS lock on a file of its directory.
use super::RunDir;
use super::ticked::Note;
use crate::ground::files::{open_path_with, read_regular};
use crate::ground::machine;
use crate::model::config::RunConfig;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The shortest time to wait for the lease where its holder is at work.
const PATIENCE_MIN: Duration = Duration::from_secs(30);
/// The budget of a tick, and some time to record what came of it.
const BUDGET_AND_MORE: Duration = Duration::from_secs(5);
/// The largest configuration that is looked into for how long to wait, in bytes.
const CONFIG_MAX: u64 = 1 << 26;

/// The right to advance a run. It ends with this value, or with the process.
#[derive(Debug)]
pub struct Lease {
    file: File,
}

impl Lease {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether the locked file still has its name: a lock on one that was removed meanwhile is worth nothing.
    pub fn is_in_place(&self, path: &Path) -> bool {
        let of = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let held = self.file.metadata().map(of).ok();
        held.is_some() && std::fs::symlink_metadata(path).map(of).ok() == held
    }
}

/// Why the lease was not given.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process holds it; the texts are what leads a command to the run, and who holds it.
    #[error("run `{0}` is being advanced by another process ({1})")]
    Held(String, String),
    /// What leads here leads to a bundle of evidence, which nobody advances.
    #[error("`{0}` is a bundle of evidence, which is read and never changed")]
    Bundle(String),
    /// The file cannot be opened or locked.
    #[error("the lease of run `{0}` cannot be taken")]
    Io(String, #[source] io::Error),
}

/// Who holds a locked file. The holder writes its name after it has the lock, so an empty file is read again.
fn holder_of(path: &Path) -> String {
    for _ in 0..50 {
        if let Some(note) = Note::read(path) {
            return note.holder();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    "unknown holder".to_owned()
}

impl RunDir {
    /// Takes the lease, waiting up to `patience` for its holder.
    ///
    /// # Errors
    /// If another process keeps it, or the file system has no locks.
    pub fn lease(&self, patience: Duration) -> Result<Lease, LeaseError> {
        let start = Instant::now();
        // Who waits stands at the gate, and whoever would take the lease again and again has to pass it too.
        let _gate = self.locked(&self.gate(), patience)?;
        self.lock_file(&self.lock(), patience.saturating_sub(start.elapsed()))
    }

    /// Takes the lease, waiting for its holder as long as a tick may take.
    ///
    /// # Errors
    /// Those of [`RunDir::lease`].
    pub fn lease_in_turn(&self) -> Result<Lease, LeaseError> {
        match self.lease(Duration::ZERO) {
            Err(LeaseError::Held(..)) => self.lease(self.patience()),
            taken => taken,
        }
    }

    /// How long to wait for the lease: as long as a tick may hold it, which is its budget and what it has under way
    /// then.
    pub fn patience(&self) -> Duration {
        let config = read_regular(&self.config(), CONFIG_MAX).ok().flatten();
        let config = config.and_then(|bytes| serde_json::from_slice::<RunConfig>(&bytes).ok());
        let limits = config.map(|config| config.limits.plugin).unwrap_or_default();
        // an attempt may take two calls: one that asks, and one that collects
        PATIENCE_MIN.max(Duration::from_millis(limits.call_ms.saturating_mul(2)) + BUDGET_AND_MORE)
    }

    /// Takes the right to drive the run in a `loop`, which nobody else then has, waiting up to `patience` for its
    /// holder.
    ///
    /// # Errors
    /// If another process has it, or the file system has no locks.
    pub fn loop_lease(&self, patience: Duration) -> Result<Lease, LeaseError> {
        self.lock_file(&self.loop_lock(), patience)
    }

    /// Takes the lease if there is a lock file and nobody holds it; makes and writes none.
    ///
    /// # Errors
    /// If the file cannot be opened, or the file system has no locks.
    pub fn abandoned_lease(&self) -> io::Result<Option<Lease>> {
        let file = open_path_with(OpenOptions::new().read(true).write(true), &self.lock())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lease { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_file(&self, path: &Path, patience: Duration) -> Result<Lease, LeaseError> {
        let lease = Lease { file: self.locked(path, patience)? };
        match lease.sign(Note::read(path)) {
            // who holds it is for people to read, and a full disk costs no more than that
            Err(error) if !machine::is_trouble(&error) => Err(LeaseError::Io(self.address().to_owned(), error)),
            _ => Ok(lease),
        }
    }

    /// Locks a file of the run's, making it where there is none, and waits for that up to `patience`.
    fn locked(&self, path: &Path, patience: Duration) -> Result<File, LeaseError> {
        if self.is_bundle() {
            return Err(LeaseError::Bundle(self.root().display().to_string()));
        }
        let failed = |error| LeaseError::Io(self.address().to_owned(), error);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = open_path_with(&mut options, path).map_err(failed)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                    let holder = if path == self.gate() { self.lock() } else { path.to_owned() };
                    return Err(LeaseError::Held(self.address().to_owned(), holder_of(&holder)));
                }
                // An OS lock has no queue to wait in with a time limit, so the holder is asked again.
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::run::RunDir;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    #[test]
    fn who_waits_for_the_lease_gets_it_from_one_that_takes_it_again_and_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let dir = RunDir::new(directory.path());
        let (done, patience) = (AtomicBool::new(false), Duration::from_secs(20));
        let first = dir.lease(patience).expect("the lease");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let lease = dir.lease(patience);
                done.store(true, Ordering::SeqCst);
                lease.is_ok()
            });
            // the waiter stands at the gate before the first holder goes on
            while dir.locked(&dir.gate(), Duration::ZERO).is_ok() {
                std::thread::yield_now();
            }
            drop(first);
            let mut turns = 0;
            while !done.load(Ordering::SeqCst) {
                drop(dir.lease(patience).expect("the lease"));
                turns += 1;
            }
            assert!(waiter.join().expect("no panic") && turns <= 2, "{turns} turns before the one that waited");
        });
    }
}
