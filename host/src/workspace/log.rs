//! `plugins/log.jsonl`: one JSON object for each message of a plugin. Of the last messages 64 MiB at least are kept and
//! 128 MiB at most, whoever writes how much; what cannot be written is dropped.
use super::now_ms;
use crate::ground::files::open_regular_path;
use crate::model::time::Time;
use crate::plugin::{LogEntry, LogLevel, PluginLog};
use crate::run::RunDir;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The size at which the log is put aside and begun anew, in bytes.
const LOG_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of the log in which its last lines are looked for.
const LAST_READ: u64 = 256 * 1024;
/// Lines that are the last, and characters that are shown of each.
const LAST_LINES: usize = 30;
const LINE_MAX: usize = 500;

/// The log of one run.
pub(super) struct RunLog {
    path: PathBuf,
    open: Mutex<Option<Open>>,
    most: u64,
}

struct Open {
    file: File,
    /// Bytes in the file, as far as this process knows.
    size: u64,
}

impl RunLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::new(None), most: LOG_MAX }
    }

    /// The file to write to, with room for so many bytes more.
    fn file<'a>(&self, open: &'a mut Option<Open>, more: u64) -> Option<&'a mut Open> {
        if open.as_ref().is_some_and(|open| open.size.saturating_add(more) > self.most) {
            *open = None;
        }
        if open.is_none() {
            let size = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
            if size > 0 && size.saturating_add(more) > self.most {
                let _ = std::fs::rename(&self.path, self.path.with_extension("old.jsonl"));
            }
            let file = File::options().create(true).append(true).open(&self.path).ok()?;
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            *open = Some(Open { file, size });
        }
        open.as_mut()
    }
}

/// Writes a line into the log of a run, in which a person looks for what went wrong.
pub fn log_for_person(run: &Path, of: &str, message: &str) {
    let entry = LogEntry { plugin: of, attempt: None, level: LogLevel::Error, message };
    RunLog::new(RunDir::new(run).log()).write(&entry);
}

/// The last lines that plugins logged in a run, as far as that can be read.
pub(super) fn last_lines(run: &RunDir) -> Vec<String> {
    let Ok(mut file) = open_regular_path(&run.log()) else { return Vec::new() };
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(size.saturating_sub(LAST_READ))).and_then(|_| file.read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let entries = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let lines: Vec<String> = entries
        .flat_map(|entry| {
            let message = entry["message"].as_str().unwrap_or_default();
            message.lines().map(|line| line.chars().take(LINE_MAX).collect()).collect::<Vec<String>>()
        })
        .collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
}

impl PluginLog for RunLog {
    fn write(&self, entry: &LogEntry<'_>) -> usize {
        let LogEntry { plugin, attempt, level, message } = *entry;
        let line = serde_json::json!({
            "time": Time(now_ms()), "plugin": plugin, "attempt": attempt, "level": level.as_str(), "message": message,
        });
        let line = format!("{}\n", crate::ground::words::json(&line.to_string()));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = self.file(&mut open, line.len() as u64) {
            let _ = open.file.write_all(line.as_bytes());
            open.size += line.len() as u64;
        }
        line.len()
    }
}

#[cfg(test)]
mod tests {
    use super::RunLog;
    use crate::plugin::{LogEntry, LogLevel, PluginLog};

    #[test]
    fn the_log_is_bounded_within_one_process_and_keeps_the_last_messages() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("log.jsonl");
        let mut log = RunLog::new(path.clone());
        log.most = 10_000;
        let mut largest = 0;
        for number in 0..1000 {
            let message = if number % 2 == 0 { String::new() } else { format!("message {number}") };
            log.write(&LogEntry { plugin: "p", attempt: None, level: LogLevel::Info, message: &message });
            let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            largest = largest.max(size(&path) + size(&path.with_extension("old.jsonl")));
        }
        assert!((15_000..=20_000).contains(&largest), "{largest}");
        let text = std::fs::read_to_string(path).expect("the log");
        assert!(text.lines().last().is_some_and(|line| line.contains("message 999")), "{text}");
    }
}
