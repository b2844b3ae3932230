//! What an attempt wrote last to standard error.
use crate::ground::files::open_regular_path;
use crate::model::attempt_dir::STDERR;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes at the end of a file among which the last lines are looked for.
const BYTES: u64 = 4096;
/// How many lines.
const LINES: usize = 5;

/// The last lines that an attempt wrote to standard error, without empty ones; none where there is nothing to be read.
pub fn last_words(attempt: &Path) -> Vec<String> {
    let read = || {
        let mut file = open_regular_path(&attempt.join(STDERR)).ok()?;
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
