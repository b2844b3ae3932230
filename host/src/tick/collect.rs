//! Finds and hashes the output files of an ended attempt, without following links and within quotas.
use crate::ground::files::open_regular;
use crate::ground::machine;
use crate::model::config::Limits;
use crate::model::document::hex;
use crate::model::workflow::Task;
use crate::store::Output;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

/// Files of the host's own in an attempt directory.
const OWN: &[&str] = &[
    "stdout",
    "stderr",
    "exit.json",
    ".exit.json.tmp",
    "matterstack-job.sh",
    ".cancel",
    ".claim",
    ".fetched",
    ".pulled",
];
/// How the names of the host's own files over there begin, which a pattern for files that stay there can name too.
const OWN_PREFIX: &str = ".matterstack-";
/// How deep directories may be nested in an attempt directory; each level keeps one open.
const DEPTH_MAX: usize = 64;

/// Why outputs could not be collected. Neither fails the tick; what the attempt is to blame for fails the attempt.
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
    /// Whether the machine is to blame, so that the outputs may be collected later.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Io(error) if machine::is_trouble(error))
    }

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
    /// Where what is found is copied to instead of being an output.
    into: Option<&'a Dir>,
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

fn patterns<'a>(declared: impl Iterator<Item = (&'a str, bool)>) -> io::Result<Vec<Pattern<'a>>> {
    declared.map(|(text, stays)| Ok(Pattern { text, glob: matcher(text)?, stays, matched: false })).collect()
}

fn own_files(handle: Option<&str>) -> Vec<GlobMatcher> {
    let named = handle
        .and_then(|handle| serde_json::from_str(handle).ok())
        .map_or(Vec::new(), |OwnFiles { own_files }| own_files);
    named.iter().filter_map(|pattern| matcher(pattern).ok()).collect()
}

/// Copies from the directory of the attempt before, with its handle, what the task carries from one attempt to the next.
/// Tells whether that was anything.
pub(super) fn carry(
    before: (&Path, Option<&str>),
    task: &Task,
    limits: &Limits,
    into: &Dir,
) -> Result<bool, CollectError> {
    let declared = task.retry.carry.iter().map(|text| (text.as_str(), false));
    let (patterns, own) = (patterns(declared)?, own_files(before.1));
    let root = match Dir::open_ambient_dir(before.0, ambient_authority()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        root => root?,
    };
    let into = Some(into);
    let mut found = Collection { task, limits, patterns, own, entries: 0, bytes: 0, outputs: Vec::new(), into };
    found.walk(&root, Path::new(""), 1)?;
    Ok(found.patterns.iter().any(|pattern| pattern.matched))
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
    let declared = task.outputs.iter().map(|declared| (declared.pattern(), declared.stays()));
    let (patterns, own) = (patterns(declared)?, own_files(handle));
    let root = Dir::open_ambient_dir(directory, ambient_authority())?;
    let mut found = Collection { task, limits, patterns, own, entries: 0, bytes: 0, outputs: Vec::new(), into: None };
    found.take_kept(kept);
    found.walk(&root, Path::new(""), 1)?;
    found.outputs.sort_by(|a, b| (&a.path, a.remote.is_some()).cmp(&(&b.path, b.remote.is_some())));
    // a file that is here after all is the better one
    found.outputs.dedup_by(|b, a| a.path == b.path);
    let missing = found.patterns.iter().find(|pattern| !pattern.matched).map(|pattern| pattern.text.to_owned());
    Ok((found.outputs, missing))
}

/// Whether a file, or the directory it is in, is one that the host keeps in an attempt directory.
fn is_of_the_host(path: &Path) -> bool {
    let first = path.components().next().and_then(|first| first.as_os_str().to_str());
    first.is_some_and(|first| OWN.contains(&first) || first.starts_with(OWN_PREFIX))
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
            if is_of_the_host(&path) {
                continue;
            }
            if kind.is_dir() {
                self.walk(&entry.open_dir()?, &path, depth + 1)?;
            } else if kind.is_file() && self.is_output(&path, |_| true) {
                if let Some(into) = self.into {
                    self.copy(directory, &entry.file_name(), (into, &path))?;
                    continue;
                }
                let output = self.hash(directory, &entry.file_name(), &path)?;
                self.outputs.push(output);
            }
        }
        Ok(())
    }

    /// Whether a pattern that counts names the file, and it is neither staged nor the operator's own.
    fn is_output(&mut self, path: &Path, counts: impl Fn(&Pattern<'_>) -> bool) -> bool {
        let given = path.to_str().is_some_and(|path| self.task.files.contains_key(path));
        if given || is_of_the_host(path) || self.own.iter().any(|glob| glob.is_match(path)) {
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

    /// Copies a file to the same place below another directory, where no link leads out of it.
    fn copy(&mut self, directory: &Dir, name: &OsStr, (into, path): (&Dir, &Path)) -> Result<(), CollectError> {
        let mut file = open_regular(directory, name)?;
        self.allow(file.metadata()?.len())?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            into.create_dir_all(parent)?;
        }
        let mut copy = into.create(path)?;
        copy.set_permissions(file.metadata()?.permissions())?;
        let left = self.limits.attempt_mb.saturating_mul(1024 * 1024).saturating_sub(self.bytes);
        let size = io::copy(&mut (&mut file).take(left.saturating_add(1)), &mut copy)?;
        self.allow(size)?;
        self.bytes += size;
        Ok(())
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
