//! What an attempt wrote last to standard error.
use crate::ground::files::open_regular_path;
use crate::model::attempt_dir::STDERR;
use crate::model::evidence::{LogKind, LogRecord};
use crate::model::workflow::{Task, Variable};
use crate::run::RunDir;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes at the end of a file among which the last lines are looked for.
const BYTES: u64 = 4096;
/// How many lines.
const LINES: usize = 5;

/// The last lines that an attempt at a task wrote to standard error, without empty ones; none where there is nothing to
/// be read, or where the task (JSON text) has a secret, which they may hold and which goes into no page.
pub fn last_words(attempt: &Path, task: &str) -> Vec<String> {
    last_lines(&attempt.join(STDERR), task)
}

/// As [`last_words`], of what was written to standard error, wherever that lies.
pub fn last_lines(stderr: &Path, task: &str) -> Vec<String> {
    if has_secret(task) {
        return Vec::new();
    }
    tail(stderr, None).unwrap_or_default()
}

/// What an attempt that ended is known to have said last.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// Nothing was recorded of it.
    Nothing,
    /// These lines, to standard error, or where nothing stands there to standard output.
    Lines(LogKind, Vec<String>),
    /// Its task has a secret, which the lines may hold.
    Withheld,
    /// What it wrote is not there, or not as it was left.
    Gone,
}

/// What an attempt at a task (JSON text) said last. What it wrote is found by its record, in a run and in a bundle of
/// evidence alike, so that a page of either says the same.
pub fn said_last(dir: &RunDir, directory: &str, logs: &[LogRecord], task: &str) -> Said {
    let written = [LogKind::Stderr, LogKind::Stdout];
    let mut written = written.iter().filter_map(|kind| logs.iter().find(|log| log.kind == *kind)).peekable();
    if written.peek().is_some() && has_secret(task) {
        return Said::Withheld;
    }
    let mut said = Said::Nothing;
    for log in written {
        match tail(&dir.join(&place(dir, directory, log.kind.file(), &log.sha256)), Some(log.size)) {
            Some(lines) if lines.is_empty() => {}
            Some(lines) => return Said::Lines(log.kind, lines),
            None => said = Said::Gone,
        }
    }
    said
}

/// Where what an attempt left lies, relative to the run: in its directory, and in a bundle of evidence under its
/// digest, also while the bundle is being put together.
pub(super) fn place(dir: &RunDir, directory: &str, path: &str, sha256: &str) -> String {
    let usual = dir.left(directory, path, sha256);
    let kept = format!("files/{sha256}");
    let is_there = |place: &str| dir.join(place).symlink_metadata().is_ok();
    if !is_there(&usual) && is_there(&kept) { kept } else { usual }
}

/// The last lines of a file, without empty ones; nothing if it cannot be read, or has not the size that it had.
fn tail(file: &Path, size: Option<u64>) -> Option<Vec<String>> {
    let mut file = open_regular_path(file).ok()?;
    let length = file.metadata().ok()?.len();
    if size.is_some_and(|size| size != length) {
        return None;
    }
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let said: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Some(said[said.len().saturating_sub(LINES)..].iter().map(|line| (*line).to_owned()).collect())
}

fn has_secret(task: &str) -> bool {
    // most tasks have none, and a look at the text says so
    let named = |task: Task| task.env.values().any(|value| Variable::secret(value).is_some());
    task.contains("\"secret\"") && serde_json::from_str(task).map_or(true, named)
}
