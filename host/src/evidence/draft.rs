//! The two files of a bundle while they are written: aside first, then put in place together.
use crate::failure::{Failure, FailureKind};
use crate::ground::failpoint;
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The document.
pub(super) const DOCUMENT: &str = "evidence.json";
/// The report.
pub(super) const REPORT: &str = "report.md";

/// A bundle that is being written. If it is dropped before it is put in place, nothing is left of it; a process that is
/// killed leaves files that end in `.part`, which the next one takes over.
#[derive(Debug)]
pub(super) struct Draft {
    directory: PathBuf,
    made_directory: bool,
    document: File,
    in_place: bool,
}

impl Draft {
    /// Makes the directory where needed and takes the right to write the bundle in it.
    pub(super) fn begin(directory: &Path) -> Result<Self, Failure> {
        let failed = |error| cannot_write(directory, error);
        if directory.exists() && !directory.is_dir() {
            return Err(Failure::input(format!("`{}` is not a directory", directory.display())));
        }
        let made_directory = !directory.exists();
        std::fs::create_dir_all(directory).map_err(failed)?;
        let document = match lock(&part(directory, DOCUMENT)) {
            Ok(Some(document)) => document,
            Ok(None) => {
                let what = format!("another process writes evidence to `{}`", directory.display());
                return Err(Failure::of(FailureKind::Busy, what).hint("wait for it, or use `--out DIR`"));
            }
            Err(error) => {
                if made_directory {
                    let _ = std::fs::remove_dir(directory);
                }
                return Err(failed(error));
            }
        };
        let draft = Self { directory: directory.to_owned(), made_directory, document, in_place: false };
        draft.document.set_len(0).map_err(failed)?;
        Ok(draft)
    }

    /// The document, to be written.
    pub(super) fn document(&self) -> &File {
        &self.document
    }

    /// A file for what comes last and is known first. It has no name, so that nothing is left of it.
    pub(super) fn scratch(&self) -> io::Result<File> {
        let path = part(&self.directory, "scratch");
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }

    /// What to say when the bundle cannot be written.
    pub(super) fn failed(&self, error: io::Error) -> Failure {
        cannot_write(&self.directory, error)
    }

    /// Writes the report and puts both in place, each whole; returns where they are. A report names the digest of its
    /// document, so a pair that a power failure parted can be told.
    pub(super) fn put_in_place(
        mut self,
        report: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(PathBuf, PathBuf), Failure> {
        let aside = |name| part(&self.directory, name);
        let work = || -> io::Result<()> {
            self.document.sync_all()?;
            let mut file = BufWriter::new(File::create(aside(REPORT))?);
            report(&mut file)?;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            failpoint::hit("evidence.written");
            std::fs::rename(aside(REPORT), self.directory.join(REPORT))?;
            failpoint::hit("evidence.report-renamed");
            // Last, because its name is the lock: from here on the next writer may begin.
            std::fs::rename(aside(DOCUMENT), self.directory.join(DOCUMENT))?;
            File::open(&self.directory)?.sync_all()
        };
        work().map_err(|error| self.failed(error))?;
        self.in_place = true;
        Ok((self.directory.join(DOCUMENT), self.directory.join(REPORT)))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.in_place {
            return;
        }
        // What cannot be removed now is taken over by the next bundle.
        let _ = std::fs::remove_file(part(&self.directory, DOCUMENT));
        let _ = std::fs::remove_file(part(&self.directory, REPORT));
        if self.made_directory {
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

fn part(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.part"))
}

fn cannot_write(directory: &Path, error: io::Error) -> Failure {
    Failure::machine(format!("evidence cannot be written to `{}`", directory.display()), error)
        .hint("make room or mend the permission, or use `--out DIR`; an earlier bundle is as it was")
}

/// Opens and locks the file at `path`; nothing if another process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Between opening and locking another process may have put the same file in place: then it is no longer aside.
        let (own, named) = (file.metadata()?, std::fs::metadata(path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (own.dev(), own.ino())) {
            return Ok(Some(file));
        }
    }
}
