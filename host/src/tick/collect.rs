//! Finds and hashes the output files of an ended attempt, without following links.
use crate::model::document::hex;
use crate::model::workflow::{OutputPattern, Task};
use crate::store::Output;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use globset::{GlobBuilder, GlobMatcher};
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::Path;

/// Files of the host's own in an attempt directory.
const OWN: &[&str] =
    &["stdout", "stderr", "exit.json", "matterstack-job.sh", ".cancel", ".claim", ".fetched", ".pulled"];
/// The most files one attempt may leave.
const FILES_MAX: usize = 100_000;

/// The files that the task's patterns name, those among them that stayed on a cluster included, with their digests and made durable, and the first pattern that names none.
pub(super) fn collect_outputs(
    directory: &Path,
    task: &Task,
    kept: Vec<Output>,
) -> io::Result<(Vec<Output>, Option<String>)> {
    if task.outputs.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut patterns = Vec::with_capacity(task.outputs.len());
    for pattern in task.outputs.iter().map(OutputPattern::pattern) {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        patterns.push((pattern, glob.map_err(io::Error::other)?.compile_matcher(), false));
    }
    let root = Dir::open_ambient_dir(directory, ambient_authority())?;
    let mut outputs = Vec::new();
    for output in kept {
        let ours = OWN.contains(&output.path.as_str()) || task.files.contains_key(&output.path);
        let mut matched = false;
        for ((_, glob, found), declared) in patterns.iter_mut().zip(&task.outputs) {
            if !ours && declared.stays() && glob.is_match(&output.path) {
                (matched, *found) = (true, true);
            }
        }
        if matched {
            outputs.push(output);
        }
    }
    walk(&root, "", task, &mut patterns, &mut outputs)?;
    outputs.sort_by(|a: &Output, b: &Output| (&a.path, a.remote.is_some()).cmp(&(&b.path, b.remote.is_some())));
    // a file that is here after all is the better one
    outputs.dedup_by(|b, a| a.path == b.path);
    let missing = patterns.into_iter().find(|(_, _, matched)| !matched).map(|(pattern, ..)| pattern.to_owned());
    Ok((outputs, missing))
}

fn walk(
    directory: &Dir,
    prefix: &str,
    task: &Task,
    patterns: &mut [(&str, GlobMatcher, bool)],
    outputs: &mut Vec<Output>,
) -> io::Result<()> {
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
            walk(&entry.open_dir()?, &format!("{path}/"), task, patterns, outputs)?;
        } else if kind.is_file() && !task.files.contains_key(&path) {
            let mut matched = false;
            for (_, glob, found) in patterns.iter_mut() {
                if glob.is_match(&path) {
                    (matched, *found) = (true, true);
                }
            }
            if matched {
                outputs.push(hash(directory, &name, path)?);
            }
            if outputs.len() > FILES_MAX {
                return Err(io::Error::other(format!("more than {FILES_MAX} output files")));
            }
        }
    }
    Ok(())
}

fn hash(directory: &Dir, name: &str, path: String) -> io::Result<Output> {
    let mut options = OpenOptions::new();
    // Neither a link nor a FIFO put in the file's place may be followed or block.
    options.read(true).custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32);
    let mut file = directory.open_with(name, &options)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("`{path}` is not a regular file")));
    }
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0_u8; 64 * 1024]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
    file.sync_data()?;
    Ok(Output { path, sha256: hex(&hasher.finalize()), size, remote: None })
}
