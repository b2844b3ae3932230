//! Who last advanced a run, as the file of its lease says: each tick writes there when it began, where and how long it
//! took.
use super::RunDir;
use super::lease::Lease;
use crate::ground::files::read_regular;
use crate::ground::machine;
use crate::model::time::Time;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// The longest text in a lock file, in bytes.
const NOTE_MAX: u64 = 4096;
/// The text is filled up to this many bytes, so that a shorter one covers a longer one in a single write.
const FILLED: usize = 256;

/// The last tick of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTick {
    /// When it began.
    pub at: Time,
    /// The machine it was on.
    pub host: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What stands in a lock file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Note {
    /// The process that has the lock, or had it last.
    pid: u32,
    /// The machine of that process.
    host: String,
    /// The last tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tick: Option<LastTick>,
}

impl Note {
    /// What stands in a lock file; nothing if it cannot be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&read_regular(path, NOTE_MAX).ok()??).ok()
    }

    /// Whose lock it is, in words.
    pub(super) fn holder(&self) -> String {
        format!("pid {} on {}", self.pid, self.host)
    }
}

impl Lease {
    /// Writes who has the lock.
    pub(super) fn sign(&self, before: Option<Note>) -> io::Result<()> {
        let (pid, host) = (std::process::id(), machine::host_name());
        if before.as_ref().is_some_and(|note| note.pid == pid && note.host == host) {
            return Ok(());
        }
        self.write(&Note { pid, host, tick: before.and_then(|note| note.tick) })
    }

    /// Writes that a tick that began then has taken so long. An idle tick writes nothing else.
    ///
    /// # Errors
    /// If the file cannot be written, which loses nothing but this note.
    pub fn note_tick(&self, at_ms: i64, took: Duration) -> io::Result<()> {
        let host = machine::host_name();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let tick = LastTick { at: Time(at_ms), host: host.clone(), took_ms };
        self.write(&Note { pid: std::process::id(), host, tick: Some(tick) })
    }

    fn write(&self, note: &Note) -> io::Result<()> {
        let mut text = serde_json::to_string(note)?;
        let length = text.len().next_multiple_of(FILLED);
        text += &" ".repeat(length - text.len());
        self.file().write_all_at(text.as_bytes(), 0)?;
        self.file().set_len(length as u64)
    }
}

impl RunDir {
    /// The last tick of the run; nothing if there was none or the file cannot be read.
    pub fn last_tick(&self) -> Option<LastTick> {
        Note::read(&self.lock())?.tick
    }

    /// Whether a process advances the run or waits for a reason to. Nothing if that cannot be told, because the last
    /// one to do so was on another machine.
    pub fn is_driven(&self) -> Option<bool> {
        let held = [self.lock(), self.loop_lock()].iter().any(|path| machine::is_locked(path).unwrap_or(false));
        let here = Note::read(&self.lock()).is_none_or(|note| note.host == machine::host_name());
        (held || here).then_some(held)
    }
}
