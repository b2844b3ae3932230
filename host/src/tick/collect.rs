//! Finds and hashes the output files of an ended attempt, without following links and within quotas.
use crate::model::config::Limits;
use crate::model::document::hex;
use crate::model::workflow::{OutputPattern, Task};
use crate::run_dir::open_regular;
use crate::store::Output;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

/// Files of the host's own in an attempt directory.
const OWN: &[&str] =
    &["stdout", "stderr", "exit.json", "matterstack-job.sh", ".cancel", ".claim", ".fetched", ".pulled"];
/// How deep directories may be nested in an attempt directory; each level keeps one open.
const DEPTH_MAX: usize = 64;

/// Why outputs could not be collected. The attempt fails by it, the tick does not.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectError {
    /// The attempt left more than it may.
    #[error("{0}")]
    Quota(String),
    /// A file could not be read, or is none.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CollectError {
    /// The word for it in the store.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Quota(_) => "output-quota",
            Self::Io(_) => "output-unreadable",
        }
    }
}

/// A pattern of the task, and whether it has named a file.
struct Pattern<'a> {
    text: &'a str,
    glob: GlobMatcher,
    /// Whether the files it names stay on the cluster.
    stays: bool,
    matched: bool,
}

/// What one collection has found and may still find.
struct Collection<'a> {
    task: &'a Task,
    limits: &'a Limits,
    patterns: Vec<Pattern<'a>>,
    /// The operator's own files.
    own: Vec<GlobMatcher>,
    entries: u64,
    bytes: u64,
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
/// `kept` are those that stayed on the cluster.
pub(super) fn collect_outputs(
    directory: &Path,
    task: &Task,
    handle: Option<&str>,
    kept: Vec<Output>,
    limits: &Limits,
) -> Result<(Vec<Output>, Option<String>), CollectError> {
    if task.outputs.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut patterns = Vec::with_capacity(task.outputs.len());
    for declared in &task.outputs {
        let text = OutputPattern::pattern(declared);
        patterns.push(Pattern { text, glob: matcher(text)?, stays: declared.stays(), matched: false });
    }
    let named = handle
        .and_then(|handle| serde_json::from_str(handle).ok())
        .map_or(Vec::new(), |OwnFiles { own_files }| own_files);
    let own = named.iter().filter_map(|pattern| matcher(pattern).ok()).collect();
    let root = Dir::open_ambient_dir(directory, ambient_authority())?;
    let mut found = Collection { task, limits, patterns, own, entries: 0, bytes: 0, outputs: Vec::new() };
    found.take_kept(kept);
    found.walk(&root, Path::new(""), 1)?;
    found.outputs.sort_by(|a, b| (&a.path, a.remote.is_some()).cmp(&(&b.path, b.remote.is_some())));
    // a file that is here after all is the better one
    found.outputs.dedup_by(|b, a| a.path == b.path);
    let missing = found.patterns.iter().find(|pattern| !pattern.matched).map(|pattern| pattern.text.to_owned());
    Ok((found.outputs, missing))
}

impl Collection<'_> {
    fn take_kept(&mut self, kept: Vec<Output>) {
        for output in kept {
            if self.is_output(Path::new(&output.path), |pattern| pattern.stays) {
                self.outputs.push(output);
            }
        }
    }

    fn walk(&mut self, directory: &Dir, below: &Path, depth: usize) -> Result<(), CollectError> {
        if depth > DEPTH_MAX {
            let text = format!("directories are nested more than {DEPTH_MAX} deep in the attempt directory");
            return Err(CollectError::Quota(text));
        }
        for entry in directory.entries()? {
            let entry = entry?;
            self.entries += 1;
            if self.entries > self.limits.attempt_files {
                return Err(CollectError::Quota(format!(
                    "more files are in the attempt directory than allowed: `limits.attempt_files` is {}",
                    self.limits.attempt_files
                )));
            }
            let path = below.join(entry.file_name());
            let kind = entry.file_type()?;
            if path.to_str().is_some_and(|path| OWN.contains(&path)) {
                continue;
            }
            if kind.is_dir() {
                self.walk(&entry.open_dir()?, &path, depth + 1)?;
            } else if kind.is_file() && self.is_output(&path, |_| true) {
                let output = self.hash(directory, &entry.file_name(), &path)?;
                self.outputs.push(output);
            }
        }
        Ok(())
    }

    /// Whether a pattern that counts names the file, and it is neither staged nor the operator's own.
    fn is_output(&mut self, path: &Path, counts: impl Fn(&Pattern<'_>) -> bool) -> bool {
        let given = path.to_str().is_some_and(|path| self.task.files.contains_key(path));
        if given || self.own.iter().any(|glob| glob.is_match(path)) {
            return false;
        }
        let mut matched = false;
        for pattern in self.patterns.iter_mut().filter(|pattern| counts(pattern)) {
            if pattern.glob.is_match(path) {
                (matched, pattern.matched) = (true, true);
            }
        }
        matched
    }

    fn hash(&mut self, directory: &Dir, name: &OsStr, path: &Path) -> Result<Output, CollectError> {
        let shown = path.to_str().ok_or_else(|| {
            io::Error::other(format!("the name of output `{}` is not UTF-8", path.to_string_lossy().escape_debug()))
        })?;
        let mut file = open_regular(directory, name)?;
        // The size that is known beforehand spares reading what is refused anyway; a file that still grows is cut off.
        self.allow(file.metadata()?.len())?;
        let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0_u8; 64 * 1024]);
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            size += read as u64;
            self.allow(size)?;
        }
        self.bytes += size;
        file.sync_data()?;
        Ok(Output { path: shown.to_owned(), sha256: hex(&hasher.finalize()), size, remote: None })
    }

    fn allow(&self, bytes: u64) -> Result<(), CollectError> {
        let most = self.limits.attempt_mb.saturating_mul(1024 * 1024);
        if self.bytes.saturating_add(bytes) > most {
            return Err(CollectError::Quota(format!(
                "the output files are larger together than allowed: `limits.attempt_mb` is {}",
                self.limits.attempt_mb
            )));
        }
        Ok(())
    }
}
