//! What an attempt wrote last to standard error.
use crate::ground::files::open_regular_path;
use crate::model::attempt_dir::STDERR;
use crate::model::workflow::{Task, Variable};
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
    let read = || {
        let mut file = open_regular_path(stderr).ok()?;
        let from = file.metadata().ok()?.len().saturating_sub(BYTES);
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let said: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    said[said.len().saturating_sub(LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

fn has_secret(task: &str) -> bool {
    // most tasks have none, and a look at the text says so
    let named = |task: Task| task.env.values().any(|value| Variable::secret(value).is_some());
    task.contains("\"secret\"") && serde_json::from_str(task).map_or(true, named)
}
