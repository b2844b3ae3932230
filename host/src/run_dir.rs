//! Every path inside a run directory, and the lease.
use crate::model::config::RunConfig;
use crate::model::document::hex;
use crate::model::id::AttemptId;
use crate::store::Identity;
use cap_std::fs::{Dir, OpenOptionsExt};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The shortest time to wait for the lease where its holder is at work.
const PATIENCE_MIN: Duration = Duration::from_secs(30);
/// The budget of a tick, and some time to record what came of it.
const BUDGET_AND_MORE: Duration = Duration::from_secs(5);
/// The largest configuration that is looked into for how long to wait, in bytes.
const CONFIG_MAX: u64 = 1 << 26;

/// A run directory.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
    id: String,
    address: Option<String>,
}

/// The right to advance a run. It ends with this value, or with the process.
#[derive(Debug)]
pub struct Lease {
    _file: File,
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

/// Reads a regular file whole; nothing if there is none. A link is not followed and a pipe does not block: both are errors,
/// and so is more than `max` bytes.
///
/// # Errors
/// If there is something else at the path, or it cannot be read.
pub fn read_regular(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match open_regular_path(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    Ok(Some(bytes))
}

/// Opens a regular file for reading. A link is not followed and a pipe does not block: both are errors.
///
/// # Errors
/// If there is none, or something else is in its place.
pub fn open_regular_path(path: &Path) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular(path)) }
}

/// What is said of something that lies where a file must be.
fn not_regular(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is not a regular file", path.display()))
}

/// Who holds a locked file. The holder writes its name after it has the lock, so an empty file is read again.
fn holder_of(path: &Path) -> String {
    for _ in 0..50 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if !text.trim().is_empty() {
            return text.trim().to_owned();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    "unknown holder".to_owned()
}

/// Makes a file that must not exist yet.
///
/// # Errors
/// If something has the name already, or the directory cannot be written.
pub fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

impl RunDir {
    /// Names a run directory by its place; the last part of it is the run's id.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let id = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { root, id, address: None }
    }

    /// Names the directory in which a run is being made under another name than its own.
    pub fn named(root: impl Into<PathBuf>, id: &str) -> Self {
        Self { root: root.into(), id: id.to_owned(), address: None }
    }

    /// Says that the id does not lead to this directory, so that commands name it by its path.
    #[must_use]
    pub fn addressed_by_path(self) -> Self {
        Self { address: Some(crate::explain::quoted(&self.root.display().to_string())), ..self }
    }

    /// What leads a command to this run, as a shell takes it: its id, or its path where the id does not.
    pub fn address(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.id)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run's id.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// `config.json`
    pub fn config(&self) -> PathBuf {
        self.root.join("config.json")
    }

    /// `state.sqlite`
    pub fn database(&self) -> PathBuf {
        self.root.join("state.sqlite")
    }

    /// `lock`
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// `log`: what plugins wrote through the `log` import.
    pub fn log(&self) -> PathBuf {
        self.root.join("plugins").join("log.jsonl")
    }

    /// `evidence/`
    pub fn evidence(&self) -> PathBuf {
        self.root.join("evidence")
    }

    /// A path relative to the run directory, as a path on this machine.
    pub fn join(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The directory of an attempt, relative to the run's. What becomes a path is harmless: the task's id lends at most
    /// 24 plain characters, the attempt's id does the rest.
    pub fn attempt_directory(operator: &str, task_id: &str, attempt_id: &AttemptId) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        let prefix: String = task_id.chars().take(24).map(plain).collect();
        format!("operators/{operator}/{prefix}-{attempt_id}")
    }

    /// What tells the directory from a copy of it.
    ///
    /// # Errors
    /// If the directory cannot be examined.
    pub fn identity(&self) -> io::Result<Identity> {
        let metadata = std::fs::metadata(&self.root)?;
        let (device, inode) = (metadata.dev() as i64, metadata.ino() as i64);
        Ok(Identity { device, inode, boot_id: crate::machine::boot_id()? })
    }

    /// Takes the lease, waiting up to `patience` for its holder.
    ///
    /// # Errors
    /// If another process keeps it, or the file system has no locks.
    pub fn lease(&self, patience: Duration) -> Result<Lease, LeaseError> {
        let start = Instant::now();
        // Who waits stands at the gate, and whoever would take the lease again and again has to pass it too.
        let _gate = self.locked(&self.root.join("lock.next"), patience)?;
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

    /// How long to wait for the lease: as long as a tick may hold it, which is its budget and what it has under way then.
    pub fn patience(&self) -> Duration {
        let config = read_regular(&self.config(), CONFIG_MAX).ok().flatten();
        let config = config.and_then(|bytes| serde_json::from_slice::<RunConfig>(&bytes).ok());
        let limits = config.map(|config| config.limits.plugin).unwrap_or_default();
        // an attempt may take two calls: one that asks, and one that collects
        PATIENCE_MIN.max(Duration::from_millis(limits.call_ms.saturating_mul(2)) + BUDGET_AND_MORE)
    }

    /// Takes the right to drive the run in a `loop`, which nobody else then has.
    ///
    /// # Errors
    /// If another process has it, or the file system has no locks.
    pub fn loop_lease(&self) -> Result<Lease, LeaseError> {
        self.lock_file(&self.root.join("loop.lock"), Duration::ZERO)
    }

    fn lock_file(&self, path: &Path, patience: Duration) -> Result<Lease, LeaseError> {
        let mut file = self.locked(path, patience)?;
        let holder = format!("pid {}", std::process::id());
        let known = std::fs::read_to_string(path).unwrap_or_default();
        if known != holder {
            let written = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
            written.map_err(|error| LeaseError::Io(self.address().to_owned(), error))?;
        }
        Ok(Lease { _file: file })
    }

    /// Locks a file of the run's, making it where there is none, and waits for that up to `patience`.
    fn locked(&self, path: &Path, patience: Duration) -> Result<File, LeaseError> {
        let failed = |error| LeaseError::Io(self.address().to_owned(), error);
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).custom_flags(flags);
        let file = options.open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(not_regular(path)));
        }
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                    let holder = if path.ends_with("lock.next") { self.lock() } else { path.to_owned() };
                    return Err(LeaseError::Held(self.address().to_owned(), holder_of(&holder)));
                }
                // An OS lock has no queue to wait in with a time limit, so the holder is asked again.
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Opens a regular file below a directory for reading. Neither a link nor a FIFO put in its place is followed or blocks.
///
/// # Errors
/// If it cannot be opened; the kind is `InvalidData` if it is no regular file.
pub fn open_regular(directory: &Dir, path: impl AsRef<Path>) -> io::Result<cap_std::fs::File> {
    let path = path.as_ref();
    let mut options = cap_std::fs::OpenOptions::new();
    options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    let file = directory.open_with(path, &options)?;
    if !file.metadata()?.is_file() {
        return Err(not_regular(path));
    }
    Ok(file)
}

/// SHA-256, as 64 hexadecimal digits, and the number of bytes of all that can be read.
///
/// # Errors
/// If reading fails.
pub fn digest(source: &mut impl Read) -> io::Result<(String, u64)> {
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0_u8; 64 * 1024]);
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex(&hasher.finalize()), size));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::RunDir;
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
            while dir.locked(&directory.path().join("lock.next"), Duration::ZERO).is_ok() {
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
