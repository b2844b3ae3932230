//! Walks an attempt directory as far as patterns reach. Links are not followed. It reads alone, and a crash leaves
//! nothing.
use crate::model::attempt_dir::{is_printed, own_name};
use crate::model::limit::{Limit, Limits};
use crate::model::pattern::{Patterns, Place};
use crate::model::workflow::Task;
use crate::store::Output;
use crate::tick::attempts::collect::CollectError;
use cap_std::fs::{Dir, DirEntry, FileType};
use std::collections::BTreeSet;
use std::io;

/// How deep folders may be nested in an attempt directory; each level keeps one open.
const DEPTH_MAX: usize = 64;
/// How many characters may be compared for the files of one attempt: seconds.
const STEPS_MAX: u64 = 2_000_000_000;

/// Files that are no outputs of the task.
#[derive(Clone, Copy)]
pub(in crate::tick) struct Own<'a> {
    pub(in crate::tick) task: &'a Task,
    /// The operator's.
    pub(in crate::tick) operator: &'a Patterns,
}

impl Own<'_> {
    pub(in crate::tick) fn is_staged(self, path: &str) -> bool {
        self.task.files.contains_key(path)
    }

    /// Whether a file is the host's or the operator's.
    pub(in crate::tick) fn is_not_the_tasks(self, path: &str) -> bool {
        own_name(path).is_some() || self.operator.match_path(path)
    }
}

/// What one walk has found and may still find.
pub(in crate::tick) struct Walk<'a> {
    patterns: &'a Patterns,
    own: Own<'a>,
    limits: &'a Limits,
    entries: u64,
    matched: BTreeSet<usize>,
    /// The paths of the files that the patterns name.
    pub(in crate::tick) found: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(in crate::tick) fn new(patterns: &'a Patterns, own: Own<'a>, limits: &'a Limits) -> Self {
        Self { patterns, own, limits, entries: 0, matched: BTreeSet::new(), found: Vec::new() }
    }

    /// Whether the pattern at this position has named a file.
    pub(in crate::tick) fn matched(&self, position: usize) -> bool {
        self.matched.contains(&position)
    }

    /// Of files that are elsewhere, those that a pattern that counts names.
    pub(in crate::tick) fn kept(&mut self, kept: Vec<Output>, counts: impl Fn(usize) -> bool) -> Vec<Output> {
        let mut taken = Vec::new();
        for output in kept {
            if self.own.is_staged(&output.path) || self.own.is_not_the_tasks(&output.path) {
                continue;
            }
            let naming: Vec<usize> =
                self.patterns.of_path(&output.path).into_iter().filter(|position| counts(*position)).collect();
            if !naming.is_empty() {
                self.matched.extend(naming);
                taken.push(output);
            }
        }
        taken
    }

    /// Looks for files from the top folder on.
    ///
    /// # Errors
    /// If a folder that a pattern reaches cannot be read, or there is more than is allowed.
    pub(in crate::tick) fn walk(&mut self, root: &Dir) -> Result<(), CollectError> {
        self.folder(root, "", &self.patterns.root(), 1)
    }

    fn folder(&mut self, folder: &Dir, below: &str, place: &Place, depth: usize) -> Result<(), CollectError> {
        if depth > DEPTH_MAX {
            let text = format!(
                "folders are nested more than {DEPTH_MAX} deep in the attempt directory, where its patterns reach"
            );
            return Err(CollectError::Quota(text, None));
        }
        let unreadable = |error| CollectError::Unreadable(if below.is_empty() { "." } else { below }.to_owned(), error);
        for entry in folder.entries().map_err(unreadable)? {
            self.entry(&entry.map_err(unreadable)?, below, place, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, below: &str, place: &Place, depth: usize) -> Result<(), CollectError> {
        self.count()?;
        let name = entry.file_name();
        let shown = name.to_string_lossy();
        let path = if below.is_empty() { shown.clone().into_owned() } else { format!("{below}/{shown}") };
        let unreadable = |error| CollectError::Unreadable(path.clone(), error);
        let kind = match entry.file_type() {
            // whatever it was, it is gone
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            kind => kind.map_err(unreadable)?,
        };
        if below.is_empty() && own_name(&path).is_some() {
            self.printed(path, kind);
            return Ok(());
        }
        if kind.is_dir() {
            return match self.patterns.enter(place, &shown) {
                Some(inner) => self.folder(&entry.open_dir().map_err(unreadable)?, &path, &inner, depth + 1),
                None => Ok(()),
            };
        }
        let naming: Vec<usize> = self.patterns.named(place, &shown).collect();
        if !kind.is_file() || naming.is_empty() || self.own.is_staged(&path) || self.own.is_not_the_tasks(&path) {
            return Ok(());
        }
        if name.to_str().is_none() {
            let text = "its name is not UTF-8, and it matches an output pattern";
            return Err(CollectError::Unreadable(shown.escape_debug().to_string(), io::Error::other(text)));
        }
        self.matched.extend(naming);
        self.found.push(path);
        Ok(())
    }

    /// What the command printed is an output only where that is written.
    fn printed(&mut self, path: String, kind: FileType) {
        let written = |(position, pattern): (usize, &crate::model::pattern::Pattern)| {
            pattern.plain_paths().flatten().any(|plain| plain == path).then_some(position)
        };
        let naming: Vec<usize> = self.patterns.all().iter().enumerate().filter_map(written).collect();
        if kind.is_file() && is_printed(&path) && !naming.is_empty() {
            self.matched.extend(naming);
            self.found.push(path);
        }
    }

    fn count(&mut self) -> Result<(), CollectError> {
        self.entries += 1;
        if self.entries > self.limits.attempt_files {
            let (limit, most) = (Limit::AttemptFiles, self.limits.attempt_files);
            let text = format!(
                "more files are in the attempt directory, where its patterns reach, than allowed: `{limit}` is {most}"
            );
            return Err(CollectError::Quota(text, Some(limit)));
        }
        if self.patterns.steps() > STEPS_MAX {
            let text = "its patterns take too long to be matched against what it left".to_owned();
            return Err(CollectError::Quota(text, None));
        }
        Ok(())
    }
}
