//! Folders and patterns among the files of a task: a destination that ends in a slash takes all pinned files below a
//! folder of the workspace, or all outputs of another task that a pattern names.
use super::plan::refuse_clashes;
use super::{FileSource, FromSource, PathSource, Task, WorkflowError};
use crate::model::config::PinnedFile;
use crate::model::pattern::{Dots, Pattern, PatternError, Patterns, plain_path};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A file in a folder that a task is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// Its path below the destination.
    pub below: String,
    /// Its path where it comes from.
    pub path: String,
}

/// Whether a destination is a folder.
pub fn is_folder(destination: &str) -> bool {
    destination.ends_with('/')
}

/// The pinned files below a folder of the workspace. What Python leaves beside its sources is left out, and what has a
/// leading dot in its path.
pub fn pinned_below(files: &BTreeMap<String, PinnedFile>, folder: &str) -> impl Iterator<Item = Inside> {
    let folder = plain_path(folder);
    let prefix = if folder.is_empty() { folder } else { folder + "/" };
    let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
    let paths = files.range::<str, _>(from).map(|(path, _)| path.as_str());
    let below = paths.map_while(move |path| Some((path.strip_prefix(&prefix)?, path)));
    let wanted = below.filter(|(below, _)| !is_litter(below));
    wanted.map(|(below, path)| Inside { below: below.to_owned(), path: path.to_owned() })
}

fn is_litter(below: &str) -> bool {
    below.ends_with(".pyc") || below.split('/').any(|name| name == "__pycache__" || name.starts_with('.'))
}

/// Which outputs of another task go into a folder.
#[derive(Debug)]
pub struct Chosen {
    patterns: Patterns,
    folder: String,
}

impl Chosen {
    /// Reads the pattern.
    ///
    /// # Errors
    /// If it is none.
    pub fn of(pattern: &str) -> Result<Self, PatternError> {
        let pattern = Pattern::parse(pattern)?;
        let folder = pattern.fixed_folder();
        Ok(Self { patterns: Patterns::new(vec![pattern], Dots::Written), folder })
    }

    /// The file that an output becomes; nothing if it is not chosen. It keeps its path below the folder that the
    /// pattern has written out.
    pub fn inside(&self, output: &str) -> Option<Inside> {
        if !self.patterns.match_path(output) {
            return None;
        }
        let below = match self.folder.as_str() {
            "" => output,
            folder => output.strip_prefix(folder)?.strip_prefix('/')?,
        };
        Some(Inside { below: below.to_owned(), path: output.to_owned() })
    }
}

impl FileSource {
    /// The source of one file of a folder.
    fn of_one(&self, path: String) -> Self {
        match self {
            Self::Path(folder) => Self::Path(PathSource { path, ..folder.clone() }),
            Self::From(from) => Self::From(FromSource { output: path, ..from.clone() }),
            Self::Content(_) | Self::Other(_) | Self::Digest(_) => self.clone(),
        }
    }
}

impl Task {
    /// Whether it is given a folder, or what a pattern names.
    pub fn takes_folders(&self) -> bool {
        self.files.keys().any(|destination| is_folder(destination))
    }

    /// The task with single files in the place of its folders; `inside` gives what is in each.
    ///
    /// # Errors
    /// If two files would be one, or one stands in the way of another; or that of `inside`.
    pub fn with_single_files<E: From<WorkflowError>>(
        &self,
        mut inside: impl FnMut(&str, &FileSource) -> Result<Vec<Inside>, E>,
    ) -> Result<Self, E> {
        let (mut task, mut folders) = (self.clone(), Vec::new());
        task.files.retain(|destination, source| {
            let folder = is_folder(destination);
            if folder {
                folders.push((destination.clone(), source.clone()));
            }
            !folder
        });
        for (destination, source) in &folders {
            for Inside { below, path } in inside(destination, source)? {
                let single = format!("{}/{below}", plain_path(destination));
                if task.files.contains_key(&single) {
                    let text = format!("file `{single}` would be there twice: `{destination}` brings one too");
                    return Err(WorkflowError::Value(task.id.clone(), text).into());
                }
                task.files.insert(single, source.of_one(path));
            }
        }
        refuse_clashes(&task)?;
        Ok(task)
    }
}

#[cfg(test)]
mod tests {
    use super::{Chosen, pinned_below};
    use crate::model::config::PinnedFile;
    use std::collections::BTreeMap;

    #[test]
    fn a_folder_is_what_lies_below_it() {
        let paths =
            ["set/a", "set/b/c.py", "set/b/__pycache__/c.pyc", "set/x.pyc", "set/.git/x", "set1/a", "set.x", "z"];
        let pinned = PinnedFile::new(String::new(), String::new(), 0);
        let files: BTreeMap<String, PinnedFile> = paths.map(|path| (path.to_owned(), pinned.clone())).into();
        let below = |folder: &str| pinned_below(&files, folder).map(|one| one.below).collect::<Vec<_>>();
        for folder in ["set", "set/", "./set//"] {
            assert_eq!(below(folder), ["a", "b/c.py"], "{folder}");
        }
        assert_eq!(below("se"), Vec::<String>::new());
        assert_eq!(below("."), ["set.x", "set/a", "set/b/c.py", "set1/a", "z"]);
    }

    #[test]
    fn an_output_keeps_its_path_below_what_the_pattern_has_written_out() {
        for (pattern, output, below) in [
            ("out/*.dat", "out/a.dat", Some("a.dat")),
            ("out/**", "out/b/a.dat", Some("b/a.dat")),
            ("**/*.dat", "out/a.dat", Some("out/a.dat")),
            ("*.dat", "out/a.dat", None),
            ("**", ".x", None),
        ] {
            let inside = Chosen::of(pattern).expect("a pattern").inside(output);
            assert_eq!(inside.map(|one| one.below).as_deref(), below, "{pattern} {output}");
        }
    }
}
