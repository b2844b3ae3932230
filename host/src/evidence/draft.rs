//! A bundle or a study while it is written: a folder aside, which is put in place whole.
use super::cannot_write;
use super::read::SIGNATURE;
use crate::failure::{Failure, FailureKind};
use crate::ground::failpoint;
use crate::ground::files::open_directory;
use crate::run::MANIFEST;
use cap_std::fs::Dir;
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is being written. If it is dropped before it is put in place, nothing is left of it; a process that is killed
/// leaves a hidden folder, which the next one takes over. Its name is one that nobody else gives, since what is in it
/// goes.
#[derive(Debug)]
pub(super) struct Draft {
    out: PathBuf,
    /// Whose lock is the right to write the bundle.
    folder: File,
    in_place: bool,
}

impl Draft {
    /// Makes a folder aside, and takes the right to write at `out`, where nothing is or a folder of the kind that has a
    /// file `mark`.
    pub(super) fn begin(out: &Path, mark: &str) -> Result<Self, Failure> {
        // of a link, what it leads to is replaced
        let out = std::fs::canonicalize(out).unwrap_or_else(|_| out.to_owned());
        refuse_other(&out, mark)?;
        Self::aside(out)
    }

    /// Makes a folder aside of what is to be a file at `out`, and takes the right to write that.
    pub(super) fn aside(out: PathBuf) -> Result<Self, Failure> {
        let failed = |error| cannot_write(&out, error);
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(failed)?;
        let Some(folder) = lock(&part(&out)).map_err(failed)? else {
            let what = format!("another process writes evidence to `{}`", out.display());
            return Err(Failure::of(FailureKind::Busy, what).hint("wait for it, or use `--out DIR`"));
        };
        let draft = Self { out, folder, in_place: false };
        empty(&draft.path()).map_err(|error| draft.failed(error))?;
        Ok(draft)
    }

    /// Where it is written.
    pub(super) fn path(&self) -> PathBuf {
        part(&self.out)
    }

    /// A file for what comes last and is known first. It has no name, so that nothing is left of it.
    pub(super) fn scratch(&self) -> io::Result<File> {
        let path = self.path().join(".scratch");
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }

    /// What to say when the bundle cannot be written.
    pub(super) fn failed(&self, error: io::Error) -> Failure {
        cannot_write(&self.out, error)
    }

    /// Puts the bundle in place, whole and at once, and takes away the one that was there. Returns whether that was
    /// signed and this one is not, since it is another.
    pub(super) fn put_in_place(mut self) -> Result<bool, Failure> {
        let unsigned = self.work().map_err(|error| self.failed(error))?;
        self.in_place = true;
        Ok(unsigned)
    }

    /// Puts a file that was written in the folder in the place of the whole, with the rights of the one that is there.
    pub(super) fn put_file_in_place(&self, name: &str) -> io::Result<()> {
        let file = self.path().join(name);
        std::fs::set_permissions(&file, std::fs::metadata(&self.out)?.permissions())?;
        File::open(&file)?.sync_all()?;
        failpoint::hit("evidence.written");
        std::fs::rename(file, &self.out)?;
        self.sync_parent()
    }

    fn sync_parent(&self) -> io::Result<()> {
        let parent = self.out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    }

    fn work(&self) -> io::Result<bool> {
        let (part, out) = (self.path(), &self.out);
        let unsigned = !keep_signature(out, &part)?;
        // at once for all files: one by one would wait for the disk as often
        syncfs(&self.folder)?;
        failpoint::hit("evidence.written");
        match renameat_with(CWD, &part, CWD, out, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOENT) => std::fs::rename(&part, out)?,
            // a file system that cannot exchange; a crash between the two leaves both, and neither is half
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                let old = hidden(out, "old");
                remove(&old)?;
                std::fs::rename(out, &old)?;
                std::fs::rename(&part, out)?;
                remove(&old)?;
            }
            Err(error) => return Err(error.into()),
        }
        failpoint::hit("evidence.in-place");
        self.sync_parent()?;
        // what is aside now is the earlier bundle, or the folder of the next writer, which has its lock
        if part.exists()
            && let Some(_lock) = lock(&part)?
        {
            remove(&part)?;
        }
        Ok(unsigned)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.in_place {
            // What cannot be removed now is taken over by the next bundle.
            let _ = std::fs::remove_dir_all(self.path());
        }
    }
}

/// Keeps the signature of the bundle that is there, where what is signed has not changed by a byte; returns whether
/// nothing of it is lost.
fn keep_signature(out: &Path, part: &Path) -> io::Result<bool> {
    let manifest = |folder: &Path| std::fs::read(folder.join(MANIFEST)).ok();
    let signature = out.join(SIGNATURE);
    if !signature.is_file() {
        return Ok(true);
    }
    let is_same = manifest(out) == manifest(part);
    if is_same {
        std::fs::copy(signature, part.join(SIGNATURE))?;
    }
    Ok(is_same)
}

/// Refuses a place that holds something else.
fn refuse_other(out: &Path, mark: &str) -> Result<(), Failure> {
    let shown = out.display();
    if !out.exists() {
        return Ok(());
    }
    if !out.is_dir() {
        return Err(Failure::input(format!("`{shown}` is not a directory")));
    }
    let is_empty = std::fs::read_dir(out).map_err(|error| cannot_write(out, error))?.next().is_none();
    let is_one = out.join(MANIFEST).exists() && out.join(mark).exists();
    if !(is_empty || is_one) {
        return Err(Failure::input(format!("`{shown}` holds something else than what is to be written there"))
            .hint("name a directory that does not exist: whatever is in this one would be replaced"));
    }
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    if device(out) != out.parent().and_then(device) {
        return Err(Failure::input(format!(
            "`{shown}` is where a file system begins, and cannot be replaced as a whole"
        ))
        .hint(format!("name a directory in it, such as `{shown}/evidence`")));
    }
    Ok(())
}

fn part(out: &Path) -> PathBuf {
    hidden(out, "part")
}

/// A hidden path beside another one.
pub(super) fn hidden(path: &Path, what: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".evidence-{what}"));
    path.with_file_name(name)
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes and locks the folder at `path`; nothing if another process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // a link would lead to what is somebody else's, and a pipe would be waited for
        let folder = match open_directory(path).map(Dir::into_std_file) {
            // another process has put it in place, or away
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            folder => folder?,
        };
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // between opening and locking another process may have put the same folder in place: then it is no longer aside
        let (own, named) = (folder.metadata()?, std::fs::metadata(path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (own.dev(), own.ino())) {
            return Ok(Some(folder));
        }
    }
}
