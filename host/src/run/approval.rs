//! The word of a person on a task that waits for approval, as it lies in the run's directory: `approvals/ID-UID.json`.
//! Whose word it is the owner of the file tells, and what it is about stands in it: a copy under another name says
//! nothing of anything else.
use super::{RunDir, Signature};
use crate::ground::files::{open_regular_path, put_readable, read_whole};
use crate::ground::machine;
use crate::model::rules::{Person, is_among, numbers, people};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest word, in bytes.
const WORD_MAX: u64 = 64 * 1024;
/// The most files that are looked at as they are listed, at once.
const WORDS_MAX: usize = 1_000;
/// The most names that are listed, at once: others may have put any number there.
const LISTED_MAX: usize = 10_000;
/// The most names that are looked for where not all could be listed.
const LOOKED_FOR_MAX: usize = 100_000;

/// A person's word, as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Word {
    /// Whether the task may start.
    pub approved: bool,
    /// What was asked, by its id.
    pub approval: String,
    /// Who says so, when and why; its digest is that of the task.
    #[serde(flatten)]
    pub by: Signature,
}

/// What is asked, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The id of what is asked.
    pub approval: String,
    /// The numbers of those whose word counts.
    pub by: Vec<u32>,
}

/// A file in the directory of approvals.
#[derive(Debug)]
pub struct Approval {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: u32,
    /// What it says, or why it counts for nothing.
    pub word: Result<Word, String>,
}

impl Approval {
    /// What it was put there for, by its name.
    pub fn of(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// Why it is no word on what was asked of these people, if it is none.
    pub fn set_aside(&self, request: &str, by: &[Person]) -> Option<String> {
        if !is_among(by, self.owner, &machine::user_number) {
            return Some(format!("only {} may", people(by)));
        }
        match &self.word {
            Err(why) => Some(why.clone()),
            Ok(word) if word.approval != self.of() || word.by.sha256 != request => {
                Some("it is about something else".to_owned())
            }
            Ok(_) => None,
        }
    }
}

impl RunDir {
    /// Puts a word of this process's user on what is asked under an id.
    ///
    /// # Errors
    /// If there is one already, or it cannot be written.
    pub fn give_word(&self, word: &Word) -> io::Result<()> {
        let text = serde_json::to_string(word).map_err(io::Error::other)? + "\n";
        put_readable(&self.own_word(&word.approval), text.as_bytes(), false)
    }

    /// The owner of what lies where this process's user would put a word, if that is somebody else.
    pub fn in_the_way(&self, approval: &str) -> Option<u32> {
        let owner = fs::symlink_metadata(self.own_word(approval)).ok()?.uid();
        (owner != machine::user_id()).then_some(owner)
    }

    fn own_word(&self, approval: &str) -> PathBuf {
        self.approvals().join(name_of(approval, machine::user_id()))
    }

    /// The words that lie in the directory of approvals, and whether these are all: others may have put more there than
    /// is looked at at once.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn words(&self) -> io::Result<(Vec<Approval>, bool)> {
        let entries = match fs::read_dir(self.approvals()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
            entries => entries?,
        };
        let mut listed = 0;
        let names = entries.take(LISTED_MAX).inspect(|_| listed += 1);
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // what begins with a dot is being written, or put aside
        let names = names.filter(|name| name.ends_with(".json") && !name.starts_with('.'));
        let mut names: Vec<String> = names.take(WORDS_MAX).collect();
        names.sort();
        let all = names.len() < WORDS_MAX && listed < LISTED_MAX;
        Ok((names.into_iter().filter_map(|name| read(&self.approvals(), name)).collect(), all))
    }

    /// The words of those whose words are waited for, by their names: nobody hides one behind a crowd.
    pub fn words_of(&self, expected: &[Expected]) -> Vec<Approval> {
        let names = expected.iter().flat_map(|one| one.by.iter().map(|user| name_of(&one.approval, *user)));
        names.take(LOOKED_FOR_MAX).filter_map(|name| read(&self.approvals(), name)).collect()
    }

    /// Puts a word where it is looked at no more: beside the directory into which everybody may put something, so that
    /// nobody can put anything in the way; else, as a directory of somebody else, which cannot leave the one that it is
    /// in, under another name there.
    ///
    /// # Errors
    /// If it cannot be moved, or is gone.
    pub fn put_away(&self, word: &Approval, now_ms: i64) -> io::Result<()> {
        let (from, name) = (self.approvals().join(&word.name), format!("{now_ms}-{}", word.name));
        let taken = self.root().join("approvals-taken");
        let moved = fs::create_dir_all(&taken).and_then(|()| fs::rename(&from, taken.join(&name)));
        moved.or_else(|_| fs::rename(&from, self.approvals().join(format!(".{name}"))))
    }
}

/// The numbers of those of these people whom this machine knows.
pub fn known(by: &[Person]) -> Vec<u32> {
    numbers(by, &machine::user_number)
}

/// What somebody's word on something is named.
fn name_of(approval: &str, user: u32) -> String {
    format!("{approval}-{user}.json")
}

/// Reads one file; nothing where it cannot be read yet.
fn read(directory: &Path, name: String) -> Option<Approval> {
    let path = directory.join(&name);
    let said = |owner: u32, word: Result<Word, String>| Some(Approval { name: name.clone(), owner, word });
    let file = match open_regular_path(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(_) => {
            let owner = fs::symlink_metadata(&path).ok()?.uid();
            return said(owner, Err("it cannot be read".to_owned()));
        }
    };
    let metadata = file.metadata().ok()?;
    if metadata.mode() & 0o022 != 0 {
        return said(metadata.uid(), Err("others may write to its file".to_owned()));
    }
    let word = read_whole(file, WORD_MAX).map_err(|_| "it cannot be read".to_owned());
    let word = word.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|_| "it is no approval".to_owned()));
    said(metadata.uid(), word)
}
