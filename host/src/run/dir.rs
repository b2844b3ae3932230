//! Every path inside a run directory.
use crate::ground::files::{put, read_regular};
use crate::ground::random::new_attempt_id;
use crate::ground::{machine, words};
use crate::model::id::AttemptId;
use crate::store::Identity;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The random word that a run's directory shares with its store.
const TOKEN: &str = ".token";
/// The most that is read of it, in bytes.
const TOKEN_MAX: u64 = 256;

/// What a bundle of evidence has and a run has not: the digests of all its files.
pub const MANIFEST: &str = "manifest-sha256.txt";

/// A run directory.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
    id: String,
    address: Option<String>,
    /// The folder below which copies are put that are not to be kept.
    aside: Option<String>,
}

impl RunDir {
    /// Names a run directory by its place; the last part of it is the run's id.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let id = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { root, id, address: None, aside: None }
    }

    /// Names the directory in which a run is being made under another name than its own.
    pub fn named(root: impl Into<PathBuf>, id: &str) -> Self {
        Self { root: root.into(), id: id.to_owned(), address: None, aside: None }
    }

    /// Says that the id does not lead to this directory, so that commands name it by its path.
    #[must_use]
    pub fn addressed_by_path(self) -> Self {
        Self { address: Some(words::quoted(&self.root.display().to_string())), ..self }
    }

    /// The same run, and a folder of its own for copies that are not to be kept: whoever gets it puts nothing else into
    /// the run, and takes the folder away.
    #[must_use]
    pub fn with_aside(self) -> (Self, PathBuf) {
        let aside = format!(".dry-run-{}", new_attempt_id());
        let folder = self.root.join(&aside);
        (Self { aside: Some(aside), ..self }, folder)
    }

    /// Where something is put that the run keeps at this path, relative to it.
    pub fn place(&self, path: String) -> String {
        match &self.aside {
            Some(aside) => format!("{aside}/{path}"),
            None => path,
        }
    }

    /// What leads a command to this run, as a shell takes it: its id, or its path where the id does not.
    pub fn address(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.id)
    }

    /// Whether this is a bundle of evidence: a run that is read and never changed.
    pub fn is_bundle(&self) -> bool {
        self.root.join(MANIFEST).symlink_metadata().is_ok()
    }

    /// Where the bytes lie that an attempt left at `path` in its directory, relative to the run: in a bundle, under
    /// their digest.
    pub fn left(&self, directory: &str, path: &str, sha256: &str) -> String {
        if self.is_bundle() { format!("files/{sha256}") } else { format!("{directory}/{path}") }
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

    /// `lock.next`: who holds it has the next turn at the lease.
    pub fn gate(&self) -> PathBuf {
        self.root.join("lock.next")
    }

    /// `loop.lock`
    pub(super) fn loop_lock(&self) -> PathBuf {
        self.root.join("loop.lock")
    }

    /// `log`: what plugins wrote through the `log` import.
    pub fn log(&self) -> PathBuf {
        self.root.join("plugins").join("log.jsonl")
    }

    /// `evidence/`
    pub fn evidence(&self) -> PathBuf {
        self.root.join("evidence")
    }

    /// `approvals/`: where people put their word on what waits for it.
    pub fn approvals(&self) -> PathBuf {
        self.root.join("approvals")
    }

    /// Makes the directory of approvals, in which whoever reaches it may put files and nobody but the owner may take
    /// others' away: whose word counts is told by the owner of its file.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn make_approvals(&self) -> io::Result<()> {
        let place = self.approvals();
        if place.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&place)?;
        fs::set_permissions(&place, Permissions::from_mode(0o1777))
    }

    /// How far the host has come with the files of an attempt, while it is not done with them.
    pub fn progress(&self, attempt_id: &str) -> PathBuf {
        self.root.join("progress").join(format!("{attempt_id}.json"))
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
        let marks = machine::marks(&self.root)?;
        let token = read_regular(&self.root.join(TOKEN), TOKEN_MAX)?.unwrap_or_default();
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        Ok(Identity { token, inode: marks.inode as i64, born_ns: marks.born_ns, volume: marks.volume })
    }

    /// Gives the directory a new token, and returns what then tells it from a copy.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn new_identity(&self) -> io::Result<Identity> {
        put(&self.root.join(TOKEN), format!("{}\n", new_attempt_id()).as_bytes(), true)?;
        self.identity()
    }
}
