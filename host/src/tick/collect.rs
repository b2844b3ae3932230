//! Finds and hashes the output files of an ended attempt, without following links.
use crate::model::workflow::{OutputPattern, Task};
use crate::run_dir::{digest, open_regular};
use crate::store::Output;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};
use std::io;
use std::path::Path;

/// Files of the host's own in an attempt directory.
const OWN: &[&str] =
    &["stdout", "stderr", "exit.json", "matterstack-job.sh", ".cancel", ".claim", ".fetched", ".pulled"];
/// The most files one attempt may leave.
const FILES_MAX: usize = 100_000;

/// What is being looked for, and what is found.
struct Search<'a> {
    task: &'a Task,
    /// Each pattern, and whether it has matched.
    patterns: Vec<(&'a str, GlobMatcher, bool)>,
    /// The operator's own files.
    own: Vec<GlobMatcher>,
    outputs: Vec<Output>,
}

/// The part of a handle in which an operator names its own files, by patterns: they are no outputs of the task.
#[derive(serde::Deserialize)]
struct OwnFiles {
    #[serde(default)]
    own_files: Vec<String>,
}

fn matcher(pattern: &str) -> io::Result<GlobMatcher> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    Ok(glob.map_err(io::Error::other)?.compile_matcher())
}

/// The files that the task's patterns name, with their digests and made durable, and the first pattern that names none.
/// Those that stayed on a cluster (`kept`) have theirs from there.
pub(super) fn collect_outputs(
    directory: &Path,
    task: &Task,
    handle: Option<&str>,
    kept: Vec<Output>,
) -> io::Result<(Vec<Output>, Option<String>)> {
    if task.outputs.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut patterns = Vec::with_capacity(task.outputs.len());
    for pattern in task.outputs.iter().map(OutputPattern::pattern) {
        patterns.push((pattern, matcher(pattern)?, false));
    }
    let named = handle
        .and_then(|handle| serde_json::from_str(handle).ok())
        .map_or(Vec::new(), |OwnFiles { own_files }| own_files);
    let own = named.iter().filter_map(|pattern| matcher(pattern).ok()).collect();
    let root = Dir::open_ambient_dir(directory, ambient_authority())?;
    let mut search = Search { task, patterns, own, outputs: Vec::new() };
    search.take_kept(kept);
    search.walk(&root, "")?;
    let Search { patterns, mut outputs, .. } = search;
    outputs.sort_by(|a: &Output, b: &Output| (&a.path, a.remote.is_some()).cmp(&(&b.path, b.remote.is_some())));
    // a file that is here after all is the better one
    outputs.dedup_by(|b, a| a.path == b.path);
    let missing = patterns.into_iter().find(|(_, _, matched)| !matched).map(|(pattern, ..)| pattern.to_owned());
    Ok((outputs, missing))
}

impl Search<'_> {
    fn take_kept(&mut self, kept: Vec<Output>) {
        for output in kept {
            let mut matched = false;
            let ours = self.is_no_output(&output.path);
            for ((_, glob, found), declared) in self.patterns.iter_mut().zip(&self.task.outputs) {
                if !ours && declared.stays() && glob.is_match(&output.path) {
                    (matched, *found) = (true, true);
                }
            }
            if matched {
                self.outputs.push(output);
            }
        }
    }

    fn walk(&mut self, directory: &Dir, prefix: &str) -> io::Result<()> {
        for entry in directory.entries()? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(io::Error::other(format!("a file name below `{prefix}` is not UTF-8")));
            };
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if OWN.contains(&path.as_str()) {
                continue;
            }
            if kind.is_dir() {
                self.walk(&entry.open_dir()?, &format!("{path}/"))?;
            } else if kind.is_file() && !self.is_no_output(&path) {
                let mut matched = false;
                for (_, glob, found) in &mut self.patterns {
                    if glob.is_match(&path) {
                        (matched, *found) = (true, true);
                    }
                }
                if matched {
                    self.outputs.push(hash(directory, &name, path)?);
                }
                if self.outputs.len() > FILES_MAX {
                    return Err(io::Error::other(format!("more than {FILES_MAX} output files")));
                }
            }
        }
        Ok(())
    }

    fn is_no_output(&self, path: &str) -> bool {
        OWN.contains(&path) || self.task.files.contains_key(path) || self.own.iter().any(|glob| glob.is_match(path))
    }
}

fn hash(directory: &Dir, name: &str, path: String) -> io::Result<Output> {
    let mut file = open_regular(directory, name)?;
    let (sha256, size) = digest(&mut file)?;
    file.sync_data()?;
    Ok(Output { path, sha256, size, remote: None })
}
