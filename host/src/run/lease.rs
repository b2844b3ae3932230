//! The lease: the right to advance a run, an OS lock on a file of its directory.
use super::RunDir;
use super::ticked::Note;
use crate::ground::files::open_path_with;
use crate::ground::machine;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

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
        self.lock_file(&self.lock(), patience)
    }

    /// Takes the right to drive the run in a `loop`, which nobody else then has, waiting up to `patience` for its holder.
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
        let failed = |error| LeaseError::Io(self.address().to_owned(), error);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = open_path_with(&mut options, path).map_err(failed)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                    return Err(LeaseError::Held(self.address().to_owned(), holder_of(path)));
                }
                // An OS lock has no queue to wait in with a time limit, so the holder is asked again.
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        let lease = Lease { file };
        match lease.sign(Note::read(path)) {
            // who holds it is for people to read, and a full disk costs no more than that
            Err(error) if !machine::is_trouble(&error) => Err(failed(error)),
            _ => Ok(lease),
        }
    }
}
