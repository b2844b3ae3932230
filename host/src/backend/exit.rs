//! How a job ended: the document `exit.json` in its attempt directory, the same on every backend.
use crate::ground::files::{new_file, read_regular};
use crate::model::code::Code;
use crate::model::contract::{Detail, Status};
use crate::model::exit::EXIT_FORMAT;
pub(super) use crate::model::exit::{ExitReason as Reason, ExitRecord};
use rustix::io::Errno;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The longest exit record that is read, in bytes.
const RECORD_MAX_BYTES: u64 = 64 * 1024;

impl ExitRecord {
    /// The record with a note behind its message.
    pub(super) fn with_note(mut self, note: Option<String>) -> Self {
        if let Some(note) = note {
            self.message = Some(self.message.map_or_else(|| note.clone(), |text| format!("{text}; {note}")));
        }
        self
    }

    /// What the end means to the tick, by the record alone.
    pub(super) fn status(&self) -> Status {
        let message = |otherwise: &str| self.message.clone().unwrap_or_else(|| otherwise.to_owned());
        match (self.reason, self.code, self.signal) {
            (Reason::Exited, Some(0), _) => Status::Succeeded,
            (Reason::Exited, Some(code), _) => {
                Status::Failed(Detail::of(Code::Exit, format!("exited with code {code}")))
            }
            (Reason::Signal, _, Some(signal)) => {
                Status::Failed(Detail::of(Code::Signal, format!("killed by signal {signal}")))
            }
            (Reason::Timeout, ..) => Status::Failed(Detail::of(Code::Timeout, "killed at its walltime")),
            (Reason::Terminated, ..) => {
                Status::Failed(Detail::of(Code::Terminated, "stopped by the scheduler, which did not tell why"))
            }
            (Reason::Setup, ..) => Status::Failed(Detail::of(Code::Setup, message("a line of `setup` failed"))),
            (Reason::Secret, ..) => Status::Failed(Detail::of(Code::Secret, message("a secret cannot be read"))),
            (Reason::NotFound, ..) => Status::Failed(Detail::of(Code::NotFound, message("program not found"))),
            (Reason::NotExecutable, ..) => {
                Status::Failed(Detail::of(Code::NotExecutable, message("cannot be executed")))
            }
            (Reason::CannotStart, ..) => Status::Failed(Detail::of(Code::CannotStart, message("cannot be started"))),
            (Reason::NotStarted, ..) => {
                Status::NotStarted(Detail::of(Code::NotStarted, message("could not be started")))
            }
            (Reason::Cancelled, ..) => Status::Cancelled,
            (Reason::LogLimit, ..) => {
                Status::Failed(Detail::of(Code::LogLimit, message("it printed more than it may")))
            }
            (Reason::Unseen, ..) => {
                Status::Lost(Detail::of(Code::EndUnseen, message("it ran, and how it ended was not seen")))
            }
            (Reason::Lost, ..) => Status::Lost(Detail::of(Code::StartUnseen, message("nobody saw whether it ran"))),
            (Reason::Exited | Reason::Signal, ..) => {
                Status::Lost(Detail::of(Code::EndUnseen, "it ran, and its exit record is not complete"))
            }
        }
    }
}

/// Writes `exit.json` into the attempt directory, whole or not at all. A directory that was removed is no error. What a
/// job left at the name or at the temporary one is never followed and never blocks.
pub(super) fn write_exit(directory: &Path, record: &ExitRecord) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(record)?;
    bytes.push(b'\n');
    let path = directory.join("exit.json");
    // the usual case: nothing has the name, and so few bytes are written whole or not at all
    let written = match new_file(&path) {
        Ok(mut file) => file.write_all(&bytes).inspect_err(|_| drop(fs::remove_file(&path))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => replace(directory, &path, &bytes),
        Err(error) => Err(error),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn replace(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(".exit.json.tmp");
    let created = new_file(&temporary).or_else(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        if fs::symlink_metadata(&temporary)?.is_dir() {
            fs::remove_dir_all(&temporary)?;
        } else {
            fs::remove_file(&temporary)?;
        }
        new_file(&temporary)
    });
    let mut file = created?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(&temporary, path));
    // half a record must not stay for an output
    written.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Whether a write that failed is worth trying again: the disk is full, or fails.
pub(super) fn disk_refuses(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// The exit record of this attempt in its directory; a file of the job's own under that name is none, nor is a link, a
/// pipe, or a record of another format.
pub(super) fn read_exit(directory: &Path, attempt: &str) -> Option<ExitRecord> {
    let bytes = read_regular(&directory.join("exit.json"), RECORD_MAX_BYTES).ok()??;
    serde_json::from_slice(&bytes)
        .ok()
        .filter(|record: &ExitRecord| record.attempt == attempt && record.format == EXIT_FORMAT)
}
