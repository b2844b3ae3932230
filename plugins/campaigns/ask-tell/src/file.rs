//! Files that programs leave: JSON documents, and what they complained of.
use matterstack_document::{Dialect, read};
use matterstack_sdk::{OutputFile, TaskResult, artifacts};
use serde_json::Value;

/// The largest document that is read, in bytes: as values it takes some ten times that of a plugin's memory.
const DOCUMENT_MAX: u64 = 8 * 1024 * 1024;
/// What is read of the end of a complaint, in bytes.
const COMPLAINT_BYTES: u64 = 2000;
/// How many lines of it are told.
const COMPLAINT_LINES: usize = 4;

/// The document in a file, or what is wrong with it in one sentence that names the file.
pub(crate) fn document(file: &OutputFile) -> Result<Value, String> {
    if file.size > DOCUMENT_MAX {
        return Err(format!("`{}` has {} bytes; {DOCUMENT_MAX} are read", file.path, file.size));
    }
    let bytes = artifacts::read_all(file).map_err(|error| error.detail().message.clone())?;
    if bytes.trim_ascii().is_empty() {
        return Err(format!("`{}` is empty", file.path));
    }
    read(&bytes, Dialect::Strict).map_err(|fault| format!("`{}` is no JSON document: {}", file.path, fault.sentence()))
}

/// The output document of a task: in its result, or where that is large in a file.
pub(crate) fn data(result: &TaskResult) -> Option<Value> {
    result.data.clone().or_else(|| document(&result.data_file()?).ok())
}

/// The last lines that a task has written to `stderr`, if it left that.
pub(crate) fn complaint(result: &TaskResult) -> Option<String> {
    let file = result.output("stderr")?;
    let from = file.size.saturating_sub(COMPLAINT_BYTES);
    let bytes = artifacts::read(&file.sha256, from, COMPLAINT_BYTES as u32).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // Python marks a place by a line of nothing but carets
    let says = |line: &&str| line.contains(|c: char| !c.is_whitespace() && c != '^' && c != '~');
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(says).collect();
    let last = lines.split_off(lines.len().saturating_sub(COMPLAINT_LINES));
    (!last.is_empty()).then(|| last.join("\n"))
}
