//! Workspaces for a single command: what it needs is copied beside a configuration that runs it, so that it can be
//! repeated, mended and compared like any other.
use super::Workspaces;
use crate::failure::Failure;
use crate::ground::files::{open_regular_path, put, read_whole};
use crate::model::rows::{PlainRows, plain_rows};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The largest table of rows, in bytes.
const ROWS_MAX: u64 = 256 * 1024 * 1024;
/// Workspaces that are looked at for a command before it is refused.
const WORKSPACES_MAX: u32 = 1000;
/// Where files lie that go with a command.
const FILES: &str = "files";
/// The table whose rows the command is run for.
const ROWS: &str = "rows.csv";

/// A command that becomes a workspace.
#[derive(Debug, Clone, Copy)]
pub struct Once<'a> {
    /// Where it was given.
    pub here: &'a Path,
    /// The program and its arguments.
    pub command: &'a [String],
    /// Files that go with it beside those that it names, relative to `here`.
    pub files: &'a [String],
    /// Patterns of what it leaves, beside its standard output.
    pub outputs: &'a [String],
    /// A table; the command is run for each of its rows.
    pub rows: Option<&'a Path>,
}

/// A workspace that was made for a command, or found.
#[derive(Debug)]
pub struct MadeOnce {
    /// Its slug.
    pub slug: String,
    /// What was done that the command does not say, for a person.
    pub notes: Vec<String>,
}

/// The root of all workspaces, which is made in `here` if there is none.
///
/// # Errors
/// If it cannot be made.
pub fn workspaces_or_new(given: Option<&Path>, here: &Path) -> Result<Workspaces, Failure> {
    match Workspaces::find(given, here) {
        Err(_) if given.is_none() => {
            let root = here.join("workspaces");
            fs::create_dir_all(&root)
                .map_err(|error| Failure::io(format!("`{}` cannot be made", root.display()), error))?;
            Workspaces::find(Some(&root), here)
        }
        found => found,
    }
}

/// Makes the workspace of a command. One that has the same configuration already is used again.
///
/// # Errors
/// If a file of it cannot be read, or the workspace cannot be written.
pub fn make_once(workspaces: &Workspaces, once: &Once<'_>) -> Result<MadeOnce, Failure> {
    let files = files_of(once)?;
    let mut notes: Vec<String> = files.iter().map(|file| format!("`{file}` goes with the command")).collect();
    let table = once.rows.map(|path| table(path, &mut notes)).transpose()?;
    let columns = table.as_ref().map(|table| table.columns.as_slice()).unwrap_or_default();
    let text = serde_json::to_string_pretty(&config(once, &files, columns)).unwrap_or_default() + "\n";
    let word = word_of(once.command, &files);
    let (slug, directory) = place(workspaces, &word, &text)?;
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        put(&path, bytes, true).map_err(|error| Failure::io(format!("`{}` cannot be written", path.display()), error))
    };
    for file in &files {
        let (from, to) = (once.here.join(file), directory.join(FILES).join(file));
        let copied = fs::create_dir_all(to.parent().unwrap_or(&to)).and_then(|()| fs::copy(&from, &to));
        copied.map_err(|error| Failure::io(format!("`{file}` cannot be copied to `{}`", to.display()), error))?;
    }
    if let Some(table) = table {
        write(ROWS, table.text.as_bytes())?;
    }
    write("config.json", text.as_bytes())?;
    Ok(MadeOnce { slug, notes })
}

/// The files that go with a command: those that are named for it, and those that its words name by a relative path.
fn files_of(once: &Once<'_>) -> Result<Vec<String>, Failure> {
    let there = |word: &String| below(word).filter(|path| once.here.join(path).is_file());
    let mut files = Vec::new();
    for file in once.files {
        files.push(there(file).ok_or_else(|| {
            let what = format!("--file `{file}` is no file below the directory where the command is given");
            Failure::input(what).hint("name it by a relative path without `..`")
        })?);
    }
    files.extend(once.command.iter().filter_map(there));
    files.sort();
    files.dedup();
    Ok(files)
}

/// The path that a word names below the directory where it is given, without what leads nowhere.
fn below(word: &str) -> Option<String> {
    let mut names = Vec::new();
    for part in Path::new(word).components() {
        match part {
            Component::Normal(name) => names.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!names.is_empty()).then(|| names.join("/"))
}

fn table(path: &Path, notes: &mut Vec<String>) -> Result<PlainRows, Failure> {
    let wrong = |what: String| Failure::input(format!("`{}`: {what}", path.display()));
    let read = open_regular_path(path).and_then(|file| read_whole(file, ROWS_MAX));
    let rows =
        plain_rows(&read.map_err(|error| wrong(error.to_string()))?).map_err(|error| wrong(error.to_string()))?;
    notes.extend(rows.notes.iter().map(|note| format!("`{}`: {note}", path.display())));
    Ok(rows)
}

/// The configuration that runs the command, for each row of a table with these columns if there is one.
fn config(once: &Once<'_>, files: &[String], columns: &[String]) -> Value {
    let staged = files.iter().map(|file| (file.clone(), json!({"path": format!("{FILES}/{file}")})));
    let staged: Map<String, Value> = staged.collect();
    let mut outputs = vec!["stdout".to_owned()];
    outputs.extend(once.outputs.iter().cloned());
    let mut task = json!({"command": once.command, "files": staged, "outputs": outputs});
    let mut campaign = match once.rows {
        Some(_) => {
            // the parameters, as such, for tables of results
            let input = columns.iter().map(|column| (column.clone(), Value::from(format!("{{{column}}}"))));
            task["input"] = Value::Object(input.collect());
            json!({
                "plugin": "builtin:sweep", "inputs": {"rows": ROWS}, "params": {"template": task, "rows": "rows"},
            })
        }
        None => {
            task["id"] = Value::from(word_of(once.command, files));
            json!({"plugin": "builtin:workflow", "params": {"tasks": [task]}})
        }
    };
    if !files.is_empty() {
        campaign["files"] = json!([format!("{FILES}/**")]);
    }
    json!({"campaign": campaign})
}

/// What a command is called: the first file that it names, else its program, without ending.
fn word_of(command: &[String], files: &[String]) -> String {
    let is_file = |word: &&String| below(word).is_some_and(|path| files.contains(&path));
    let named = command.iter().find(is_file).or(command.first());
    let stem = named.and_then(|word| Path::new(word).file_stem()).unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let word: String = stem.chars().map(plain).take(40).collect();
    let word = word.trim_matches('-').to_owned();
    if word.is_empty() { "command".to_owned() } else { word }
}

/// The workspace for this configuration: the one that has it, or a new one.
fn place(workspaces: &Workspaces, word: &str, text: &str) -> Result<(String, PathBuf), Failure> {
    for number in 1..=WORKSPACES_MAX {
        let slug = if number == 1 { format!("run-{word}") } else { format!("run-{word}-{number}") };
        let directory = workspaces.root().join(&slug);
        match fs::create_dir(&directory) {
            Ok(()) => return Ok((slug, directory)),
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Failure::io(format!("`{}` cannot be made", directory.display()), error));
            }
            Err(_) if fs::read(directory.join("config.json")).is_ok_and(|found| found == text.as_bytes()) => {
                return Ok((slug, directory));
            }
            Err(_) => {}
        }
    }
    Err(Failure::input(format!("there are {WORKSPACES_MAX} workspaces `run-{word}` already"))
        .hint("remove some of them, their runs first, which `rm` does"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_called_by_its_script_or_its_program() {
        let word = |command: &[&str], files: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            word_of(&owned(command), &owned(files))
        };
        assert_eq!(word(&["python3", "a/sim one.py", "x"], &["a/sim one.py"]), "sim-one");
        assert_eq!(word(&["/usr/bin/env", "-S"], &[]), "env");
        assert_eq!(word(&["--"], &[]), "command");
    }
}
