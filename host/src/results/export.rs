//! Copies of chosen outputs under names that people can read, with a list of what they are.
use crate::failure::Failure;
use crate::ground::digest::copy_hashed;
use crate::ground::files::{new_file, open_regular};
use crate::model::document::sha256;
use crate::model::pattern::Patterns;
use crate::run::RunDir;
use crate::store::{Output, Store, TaskEnd};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::Serialize;
use std::io;
use std::path::Path;

/// The list of what was exported, in its directory.
const MANIFEST: &str = "manifest.json";
/// The longest part of a task's id in a name, in bytes.
const NAME_MAX: usize = 100;

/// An exported file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// Where it is, relative to the directory of the export.
    pub file: String,
    /// The task that left it.
    pub task: String,
    /// The attempt that left it.
    pub attempt: String,
    /// Its path among the outputs of that attempt.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// What an export came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Export {
    /// What was copied.
    pub files: Vec<Exported>,
    /// What was not, with the reason, for a person.
    pub left_out: Vec<String>,
}

/// Copies outputs of tasks into a new or empty directory: those that one of the patterns matches, or all. Each is
/// compared with its digest on the way; what differs is left out and named.
///
/// # Errors
/// If the directory holds something, or cannot be written.
pub fn export(
    dir: &RunDir,
    store: &Store,
    ends: &[TaskEnd],
    patterns: Option<&Patterns>,
    out: &Path,
) -> Result<Export, Failure> {
    let wrong = |error: io::Error| Failure::io(format!("`{}` cannot be written", out.display()), error);
    std::fs::create_dir_all(out).map_err(wrong)?;
    if std::fs::read_dir(out).map_err(wrong)?.next().is_some() {
        return Err(Failure::input(format!("`{}` is not empty", out.display())).hint("name a new directory"));
    }
    let root = Dir::open_ambient_dir(dir.root(), ambient_authority())
        .map_err(|error| Failure::io(format!("run directory `{}` cannot be opened", dir.root().display()), error))?;
    let mut export = Export::default();
    for end in ends {
        let Some(last) = &end.last else { continue };
        let outputs = store.outputs(last.key)?;
        let chosen = |output: &&Output| patterns.is_none_or(|patterns| patterns.match_path(&output.path));
        for output in outputs.iter().filter(chosen) {
            if let Some(removed) = store.removed_file(last.key, &output.path)? {
                export.left_out.push(format!("`{}` of task `{}` {}", output.path, end.task, removed.sentence()));
                continue;
            }
            let file = format!("{}/{}", name_of(&end.task), output.path);
            match copy(&root, &dir.left(&last.directory, &output.path, &output.sha256), output, &out.join(&file)) {
                Ok(()) => export.files.push(Exported {
                    file,
                    task: end.task.clone(),
                    attempt: last.id.clone(),
                    path: output.path.clone(),
                    sha256: output.sha256.clone(),
                    size: output.size,
                }),
                Err(Trouble::Source(why)) => {
                    export.left_out.push(format!("`{}` of task `{}` {why}", output.path, end.task));
                }
                Err(Trouble::Place(error)) => return Err(wrong(error)),
            }
        }
    }
    let text = serde_json::to_string_pretty(&export.files).map_err(|error| wrong(error.into()))?;
    std::fs::write(out.join(MANIFEST), text + "\n").map_err(wrong)?;
    Ok(export)
}

/// Why a file was not copied.
enum Trouble {
    /// What the run has is not what was left there.
    Source(String),
    /// The copy cannot be written.
    Place(io::Error),
}

fn copy(root: &Dir, from: &str, output: &Output, to: &Path) -> Result<(), Trouble> {
    if let Some(remote) = &output.remote {
        return Err(Trouble::Source(format!("stayed on backend `{}`", remote.backend)));
    }
    let mut source = open_regular(root, from).map_err(|error| Trouble::Source(format!("cannot be read: {error}")))?;
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(Trouble::Place)?;
    }
    let mut target = new_file(to).map_err(Trouble::Place)?;
    let (found, _) = copy_hashed(&mut source, &mut target).map_err(Trouble::Place)?;
    if found == output.sha256 {
        return Ok(());
    }
    std::fs::remove_file(to).map_err(Trouble::Place)?;
    Err(Trouble::Source("is not as it was left".to_owned()))
}

/// A directory name that says which task it is of: its id where that can be a name, else what can be of it, and a word
/// that tells it from others.
fn name_of(task: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | ',' | '+');
    let as_it_is = task.chars().all(plain) && !task.starts_with('.') && task.len() <= NAME_MAX && task != MANIFEST;
    if as_it_is {
        return task.to_owned();
    }
    let mut name = String::new();
    for c in task.chars().map(|c| if plain(c) { c } else { '_' }) {
        if name.len() + c.len_utf8() > NAME_MAX {
            break;
        }
        name.push(c);
    }
    format!("{}-{}", name.trim_start_matches('.'), &sha256(task.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_says_which_task_it_is_of() {
        assert_eq!(name_of("T=300,x=1.5"), "T=300,x=1.5");
        let (one, other) = (name_of("a/b"), name_of("a_b"));
        assert!(one.starts_with("a_b-") && other == "a_b", "{one} {other}");
        assert!(!name_of("../x").starts_with('.') && name_of(&"ä".repeat(100)).len() < 120);
        assert_ne!(name_of("manifest.json"), "manifest.json");
    }
}
