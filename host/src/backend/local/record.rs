//! What stands in the queue and in the journal: one JSON document a line, behind a [`Header`]. A line counts only with
//! its line feed; a torn one is closed by [`TORN`], which makes it unreadable for good.
use super::pool::Needs;
use crate::backend::exit::ExitRecord;
use crate::backend::job::Command;
use crate::ground::files::{open_path_with, read_regular};
use crate::ground::machine;
use crate::ground::random;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// The format of queue, journal and of what is kept of ended attempts. A tick hands nothing to a supervisor of another
/// one.
pub(super) const FORMAT: u32 = 3;
/// Closes a torn line. A torn line may lack nothing but its line feed, and must not come to life by getting one.
pub(super) const TORN: &[u8] = b"#torn\n";
/// The file that holds the newest settings.
pub(super) const SETTINGS: &str = "settings";
/// The longest settings that are read, in bytes: no environment is larger.
const SETTINGS_MAX: u64 = 8 * 1024 * 1024;
/// The longest header that is read, in bytes.
const HEADER_MAX: usize = 512;

/// The first line of a file of the backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    /// How often the file was begun anew.
    pub(super) generation: u64,
    /// The file's own number on its file system, which a copy does not share.
    pub(super) inode: u64,
    /// Which queue and journal belong together: each vouches for the other with it. Other files have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pair: Option<u64>,
}

/// A line of the queue: what ticks ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Submit(Job),
    Cancel {
        attempt: String,
    },
    /// What holds for the jobs that are handed in from here on.
    Settings(Settings),
}

/// What holds for all jobs; also the content of the file `settings`, which has the newest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// How many cores jobs may take together.
    pub(super) cores: u32,
    /// How much memory they may take together, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) memory_mb: Option<u64>,
    /// The graphics processors that they may use; absent: those of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gpus: Option<Vec<String>>,
    /// What they inherit of the environment of whoever hands them in.
    pub(super) environment: BTreeMap<String, String>,
    /// Lines of shell before each command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) setup: Vec<String>,
    /// The shell for them and for commands that are a line of shell; empty: the usual one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) shell: Vec<String>,
}

impl Settings {
    /// The newest settings, if there are any.
    pub(super) fn read(directory: &Path) -> io::Result<Option<Self>> {
        let bytes = read_regular(&directory.join(SETTINGS), SETTINGS_MAX)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

/// A job as it stands in the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) attempt: String,
    /// Relative to the run, which can be moved.
    pub(super) directory: String,
    /// When it was handed in, RFC 3339 in UTC.
    pub(super) queued_at: String,
    pub(super) command: Command,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: BTreeMap<String, String>,
    /// Variables that are set to a secret, which is read when the job starts, with its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) walltime_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signal_before_s: Option<u32>,
    /// What it takes of the machine; absent: one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) needs: Option<Needs>,
    /// What `stdout` and `stderr` may hold, each, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log_max: Option<u64>,
    /// The settings before it.
    #[serde(skip)]
    pub(super) settings: Arc<Settings>,
}

/// A line of the journal: what the supervisor did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// Durable before any of these attempts starts.
    Claim { under: Reign, attempts: Vec<String> },
    /// Written before each start and not made durable: a claim without it provably never started, as long as nothing
    /// that was written can have been lost.
    Starting {
        attempt: String,
        /// The graphics processors that it has.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gpus: Vec<String>,
    },
    /// The machine has no room to start it now, and why; of a job that was claimed, or of one that waits for that.
    NoRoom { attempt: String, why: String },
    /// The process runs. Not written for a job that ended before anybody could have looked.
    Start { attempt: String, process: Process },
    /// The end of the attempt was seen. From here on it is proven; `exit.json`, which is written next and which the job
    /// could write as well, proves nothing.
    Seen(ExitRecord),
    /// The attempt has ended: its exit record was written, or a note says why not.
    End {
        attempt: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Everything before this line, and before this place of the queue, has ended.
    Settled { queue: Position },
}

/// A place in a file that is begun anew from time to time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) generation: u64,
    pub(super) offset: u64,
}

/// The time during which nothing that was written is lost: one boot, and one mount of the file system. A disk that gave
/// up forgets what was not synced, and can be mounted again in the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reign {
    pub(super) boot: String,
    /// The number of the mount, which the kernel never gives again; nothing where it does not tell, and then every
    /// supervisor is a reign of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mount: Option<u64>,
}

impl Reign {
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        Ok(Self { boot: machine::boot_id()?, mount: machine::mount_of(directory) })
    }

    /// Whether what was written then is there now.
    pub(super) fn lasts(&self, now: &Self) -> bool {
        self.boot == now.boot && self.mount.is_some() && self.mount == now.mount
    }
}

/// Names a process for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// In clock ticks since the boot.
    pub(super) start_time: u64,
    pub(super) boot: String,
    pub(super) started_at: String,
}

/// What is wrong with a file of the backend, inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    #[error("it is of format {0}, and this version knows {FORMAT}")]
    Format(u32),
    #[error("it is a copy, and the original may still be at work")]
    Copy,
    #[error("it was emptied or overwritten, and does not begin as a file of matterstack does")]
    Header,
    #[error("it was removed or emptied while there were jobs in the queue")]
    Gone,
    #[error("it belongs to another queue")]
    Unpaired,
}

impl Foreign {
    /// What an error says is wrong, if it is that.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl From<Foreign> for io::Error {
    fn from(foreign: Foreign) -> Self {
        Self::new(io::ErrorKind::InvalidData, foreign)
    }
}

impl Header {
    /// The header of a file that begins now.
    pub(super) fn new(file: &File, generation: u64, pair: Option<u64>) -> io::Result<Self> {
        Ok(Self { format: FORMAT, generation, inode: file.metadata()?.ino(), pair })
    }

    /// The header of a file, with where its lines begin; nothing while the file is empty or its first line is torn.
    pub(super) fn read(file: &File) -> io::Result<Option<(Self, u64)>> {
        /// What every format has.
        #[derive(Deserialize)]
        struct Any {
            format: u32,
        }
        let mut bytes = [0_u8; HEADER_MAX];
        let filled = read_at_most(file, &mut bytes, 0)?;
        let Some(end) = bytes[..filled].iter().position(|byte| *byte == b'\n') else {
            return if filled < HEADER_MAX { Ok(None) } else { Err(Foreign::Header.into()) };
        };
        let any: Any = serde_json::from_slice(&bytes[..end]).map_err(|_| Foreign::Header)?;
        if any.format != FORMAT {
            return Err(Foreign::Format(any.format).into());
        }
        let header: Self = serde_json::from_slice(&bytes[..end]).map_err(|_| Foreign::Header)?;
        Ok(Some((header, end as u64 + 1)))
    }

    /// The same, and an error for a copy of the file.
    pub(super) fn read_own(file: &File) -> io::Result<Option<(Self, u64)>> {
        match Self::read(file)? {
            Some((header, _)) if header.inode != file.metadata()?.ino() => Err(Foreign::Copy.into()),
            header => Ok(header),
        }
    }
}

/// A number that no other queue or journal of the backend has had: no place in one that is gone is taken for a place in
/// the one that follows it.
pub(super) fn fresh() -> io::Result<u64> {
    let mut bytes = [0_u8; 4];
    random::fill(&mut bytes)?;
    Ok(u64::from(u32::from_le_bytes(bytes)) + 1)
}

/// What tells a file from all others as long as it is open: its file system's number and its own.
pub(super) type Mark = (u64, u64);

pub(super) fn mark_of(file: &File) -> io::Result<Mark> {
    file.metadata().map(|file| (file.dev(), file.ino()))
}

/// Whether a path still leads to an open file, and the file has not lost what it had.
pub(super) fn is_in_place(mark: Mark, path: &Path, length: u64) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == mark && there.len() >= length),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a file of the backend's own; neither a link nor a pipe in its place is followed or blocks.
pub(super) fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    open_path_with(options, path).map_err(|error| match error.kind() {
        // it names the file already
        io::ErrorKind::InvalidData => error,
        _ => named(path, error),
    })
}

/// The error with the file it is about. What a caller asks of it stays: its kind, and a [`Foreign`] as it is.
pub(super) fn named(path: &Path, error: io::Error) -> io::Error {
    if Foreign::of(&error).is_some() {
        return error;
    }
    match error.raw_os_error() {
        // a number says more than a kind, and the disk's trouble is told by it
        Some(_) if machine::is_trouble(&error) => error,
        _ => io::Error::new(error.kind(), format!("`{}`: {error}", path.display())),
    }
}

/// Opens a file of the backend's own for reading, if there is one.
pub(super) fn existing(path: &Path) -> io::Result<Option<File>> {
    match open_own(OpenOptions::new().read(true), path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fills a buffer from an offset as far as the file goes; returns how far that was.
pub(super) fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Reads the complete lines from `offset` to the end of a file; returns them with the offset behind the last one.
pub(super) fn read_lines(file: &File, offset: u64) -> io::Result<(Vec<u8>, u64)> {
    let length = file.metadata()?.len();
    let mut bytes = vec![0_u8; usize::try_from(length.saturating_sub(offset)).map_err(io::Error::other)?];
    let filled = read_at_most(file, &mut bytes, offset)?;
    let complete = bytes[..filled].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    bytes.truncate(complete);
    Ok((bytes, offset + complete as u64))
}

/// The readable records among complete lines; torn ones are passed over.
pub(super) fn records<'a, T: Deserialize<'a>>(lines: &'a [u8]) -> impl Iterator<Item = T> + 'a {
    lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// Whether the file is empty or ends with a line feed.
pub(super) fn ends_whole(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut last = [0_u8];
    Ok(length == 0 || (file.read_at(&mut last, length - 1)? == 1 && last[0] == b'\n'))
}

/// The place of the queue up to which everything has ended, if the journal says so in its last line.
pub(super) fn settled_at(journal: &File) -> io::Result<Option<Position>> {
    let length = journal.metadata()?.len();
    let (tail, _) = read_lines(journal, length.saturating_sub(160))?;
    let Some(line) = tail.strip_suffix(b"\n").and_then(|tail| tail.rsplit(|byte| *byte == b'\n').next()) else {
        return Ok(None);
    };
    Ok(match serde_json::from_slice(line) {
        Ok(Entry::Settled { queue }) if ends_whole(journal)? => Some(queue),
        _ => None,
    })
}

/// Up to where jobs were handed in; nothing for a queue that has not begun.
pub(super) fn end_of(queue: &File) -> io::Result<Option<Position>> {
    let Some((header, _)) = Header::read(queue)? else { return Ok(None) };
    Ok(Some(Position { generation: header.generation, offset: queue.metadata()?.len() }))
}

/// One record as a line.
pub(super) fn line(record: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(record)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Now, in RFC 3339 with milliseconds.
pub(super) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
