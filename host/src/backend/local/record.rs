//! What stands in the queue and in the journal: one JSON document a line. A line counts only with its
//! line feed; a torn one is closed by [`TORN`], which makes it unreadable for good.
use crate::backend::exit::ExitRecord;
use crate::backend::job::Command;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Closes a torn line. A torn line may lack nothing but its line feed, and must not come to life by getting one.
pub(super) const TORN: &[u8] = b"#torn\n";

/// A line of the queue: what ticks ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Submit(Job),
    Cancel { attempt: String },
    Slots { slots: u32 },
}

/// A job as it stands in the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) attempt: String,
    /// Relative to the run, which can be moved.
    pub(super) directory: String,
    pub(super) command: Command,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) walltime_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signal_before_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cores: Option<u32>,
}

/// A line of the journal: what the supervisor did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// Durable before any of these attempts starts.
    Claim { boot: String, attempts: Vec<String> },
    /// Written before each start: a claim of this boot without it provably never started.
    Starting { attempt: String },
    /// The process runs.
    Start { attempt: String, process: Process },
    /// The end of the attempt was seen. From here on it is proven; `exit.json`, which the job could write as well, proves
    /// nothing.
    Seen(ExitRecord),
    /// The attempt has ended; its exit record was written before, or cannot be.
    End(ExitRecord),
    /// Everything before this line, and before this offset of the queue, has ended.
    Settled { queue: u64 },
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

/// Opens a file of the backend's own; neither a link nor a pipe in its place is followed or blocks.
pub(super) fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
    let file = options.custom_flags(flags).open(path).map_err(named)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(named(io::Error::other("it is not a regular file"))) }
}

/// Reads the complete lines from `offset` to the end of a file; returns them with the offset behind the last one.
pub(super) fn read_lines(file: &File, offset: u64) -> io::Result<(Vec<u8>, u64)> {
    let length = file.metadata()?.len();
    let mut bytes = vec![0_u8; usize::try_from(length.saturating_sub(offset)).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
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

/// The offset of the queue up to which everything has ended, if the journal says so in its last line.
pub(super) fn settled_at(journal: &File) -> io::Result<Option<u64>> {
    let length = journal.metadata()?.len();
    let (tail, _) = read_lines(journal, length.saturating_sub(128))?;
    let Some(line) = tail.strip_suffix(b"\n").and_then(|tail| tail.rsplit(|byte| *byte == b'\n').next()) else {
        return Ok(None);
    };
    Ok(match serde_json::from_slice(line) {
        Ok(Entry::Settled { queue }) if ends_whole(journal)? => Some(queue),
        _ => None,
    })
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
