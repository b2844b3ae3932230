//! Where an experiment is handed over: the attempt directory, or a folder of the exchange directory.
use crate::result::FileOf;
use matterstack_sdk::work::{self, Entry};
use matterstack_sdk::{Attempt, Error, lifecycle};
use std::cell::RefCell;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Time that a call keeps for its answer, in milliseconds.
const RESERVE_MS: u64 = 3_000;
/// Bytes copied between two looks at the time left.
const CHUNK: usize = 1024 * 1024;

thread_local! {
    static EXCHANGE: RefCell<PathBuf> = RefCell::new(PathBuf::from("/exchange"));
}

/// Where the host shows the granted directory.
fn exchange() -> PathBuf {
    EXCHANGE.with_borrow(Clone::clone)
}

/// Runs `body` with another exchange directory on this thread.
#[cfg(test)]
pub(crate) fn with_exchange<T>(directory: &Path, body: impl FnOnce() -> T) -> T {
    let before = EXCHANGE.replace(directory.to_owned());
    let value = body();
    EXCHANGE.set(before);
    value
}

/// Whether the host grants an exchange directory.
pub(crate) fn is_granted() -> bool {
    fs::metadata(exchange()).is_ok_and(|metadata| metadata.is_dir())
}

/// Where one attempt is handed over.
pub(crate) struct Place {
    id: String,
    exchange: bool,
}

/// Why the files of a result are not here yet.
#[derive(Debug)]
pub(crate) struct NotYet {
    pub(crate) what: String,
    /// Whether this operator itself is at work on it.
    pub(crate) moving: bool,
}

impl Place {
    pub(crate) fn of(attempt: &Attempt, exchange: bool) -> Self {
        Self { id: attempt.submit_key.clone(), exchange }
    }

    pub(crate) fn is_exchange(&self) -> bool {
        self.exchange
    }

    fn folder(&self) -> PathBuf {
        if self.exchange { exchange().join(&self.id) } else { work::path("") }
    }

    /// The folder in the making, which a robot does not look at.
    fn aside(&self) -> PathBuf {
        exchange().join(format!(".{}.part", self.id))
    }

    /// A file that both sides see.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Why nothing can be seen there now.
    pub(crate) fn trouble(&self) -> Option<String> {
        match work::entry(&self.folder()) {
            Ok(Entry::Directory) => None,
            _ if !self.exchange => None,
            _ if !is_granted() => Some("the exchange directory is not granted any more".to_owned()),
            _ => Some(format!("the folder `{}` of the exchange directory is gone", self.id)),
        }
    }

    /// Puts the request and its files where the laboratory looks, by one rename.
    pub(crate) fn hand_over(&self, files: &[String]) -> Result<(), Error> {
        if !self.exchange || self.was_handed_over()? {
            return Ok(());
        }
        let aside = self.aside();
        let failed = |error: io::Error| work::failed("handed over", &self.folder(), &error);
        if matches!(work::entry(&aside), Ok(Entry::Directory)) {
            fs::remove_dir_all(&aside).map_err(failed)?;
        }
        fs::create_dir(&aside).map_err(failed)?;
        for file in files.iter().map(String::as_str).chain(["experiment_request.json"]) {
            let to = aside.join(file);
            let copy = || {
                to.parent().map_or(Ok(()), fs::create_dir_all)?;
                let mut copy = work::create(&to)?;
                work::copy_hashed(&work::path(file), &mut copy)?;
                copy.sync_all()
            };
            copy().map_err(failed)?;
        }
        // From here on a missing folder means that it was taken, not that it was never there.
        work::write(&work::path("experiment_handed_over"), b"")?;
        fs::rename(&aside, self.folder()).map_err(failed)
    }

    /// Whether the rename of `hand_over` has happened, whatever the laboratory did with the folder since.
    pub(crate) fn was_handed_over(&self) -> Result<bool, Error> {
        if !self.exchange {
            // The request itself is the hand-over, and `prepare` wrote it.
            return Ok(true);
        }
        let there = |path: &Path| match work::entry(path) {
            Ok(Entry::Missing) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => Err(work::failed("examined", path, &error)),
        };
        if there(&self.folder())? {
            return Ok(true);
        }
        Ok(there(&work::path("experiment_handed_over"))? && !there(&self.aside())?)
    }

    /// Brings the files of a result into the attempt directory; the inner error says what is not there yet.
    pub(crate) fn fetch(&self, files: &[FileOf]) -> Result<Result<(), NotYet>, Error> {
        for file in files {
            let from = self.path(file.path());
            let to = work::path(file.path());
            let failed = |error: io::Error| work::failed("fetched", &from, &error);
            let Entry::File(size, _) = work::entry(&from).map_err(failed)? else {
                let what = format!("the result names `{}`, and there is no such file yet", file.path());
                return Ok(Err(NotYet { what, moving: false }));
            };
            let fetched = !self.exchange || matches!(work::entry(&to), Ok(Entry::File(have, _)) if have == size);
            if !fetched && !copy_on(&from, &to).map_err(failed)? {
                return Ok(Err(NotYet { what: file.path().to_owned(), moving: true }));
            }
            if let Some(sha256) = file.sha256() {
                let (found, _) = work::copy_hashed(&to, &mut io::sink()).map_err(failed)?;
                if !found.eq_ignore_ascii_case(sha256) {
                    if self.exchange {
                        fs::remove_file(&to).map_err(failed)?;
                    }
                    let what = format!("`{}` does not have the hash that the result names", file.path());
                    return Ok(Err(NotYet { what, moving: false }));
                }
            }
        }
        Ok(Ok(()))
    }
}

/// Copies a file as far as the time of this call goes, from where an earlier call left off; tells whether it is whole.
fn copy_on(from: &Path, to: &Path) -> io::Result<bool> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let part = to.with_file_name(format!(".{}.part", work::name(to)));
    let mut source = work::open(from)?;
    let mut copy = match work::entry(&part)? {
        Entry::File(done, _) if done <= source.metadata()?.len() => {
            source.seek(SeekFrom::Start(done))?;
            fs::OpenOptions::new().append(true).open(&part)?
        }
        _ => work::create(&part)?,
    };
    let mut buffer = vec![0_u8; CHUNK];
    loop {
        if lifecycle::time_left_ms() < RESERVE_MS {
            return Ok(false);
        }
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        copy.write_all(&buffer[..read])?;
    }
    copy.sync_all()?;
    fs::rename(&part, to)?;
    Ok(true)
}
