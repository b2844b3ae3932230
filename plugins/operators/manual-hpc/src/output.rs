//! `output/`, where a person puts the files that a job left.
use crate::kit::Kit;
use matterstack_pattern::Pattern;
use matterstack_sdk::Error;
use matterstack_sdk::work::{self, Entry};
use std::fs;
use std::io;
use std::path::Path;

/// The most files that are looked at.
const FILES_MAX: usize = 100_000;

/// A regular file below a directory: its path there, its size, and when it was modified.
type Listed = (String, u64, u64);

/// Lists the regular files below `output/`, sorted; links are neither listed nor followed.
fn list() -> Result<Vec<Listed>, Error> {
    let root = work::path("output");
    let mut found = Vec::new();
    if let Ok(Entry::Directory) = work::entry(&root) {
        walk(&root, "", &mut found).map_err(|error| work::failed("read", &root, &error))?;
    }
    found.sort();
    Ok(found)
}

fn walk(directory: &Path, prefix: &str, found: &mut Vec<Listed>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(io::Error::other(format!("a file name below `{prefix}` is not UTF-8")));
        };
        match work::entry(&entry.path())? {
            Entry::Directory => walk(&entry.path(), &format!("{prefix}{name}/"), found)?,
            Entry::File(size, modified_ms) => found.push((format!("{prefix}{name}"), size, modified_ms)),
            Entry::Missing | Entry::Other(_) => {}
        }
        if found.len() > FILES_MAX {
            return Err(io::Error::other(format!("`output/` holds more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

/// Whether nothing has been put there.
pub(crate) fn is_empty() -> Result<bool, Error> {
    Ok(list()?.is_empty())
}

/// What it looks like: changes when any file does.
pub(crate) fn mark() -> Result<String, Error> {
    Ok(work::sha256(format!("{:?}", list()?).as_bytes()))
}

/// The first of the task's patterns that no file matches. What a job printed comes back beside `output/`.
pub(crate) fn missing(kit: &Kit) -> Result<Option<String>, Error> {
    let mut matched = vec![false; kit.outputs.all().len()];
    let printed = ["stdout", "stderr"].map(str::to_owned);
    let printed = printed.into_iter().filter(|name| matches!(work::entry(&work::path(name)), Ok(Entry::File(..))));
    let there = list()?.into_iter().map(|(path, ..)| path).chain(printed);
    for path in there.filter(|path| !kit.inputs.contains(path)) {
        kit.outputs.of_path(&path).into_iter().for_each(|position| matched[position] = true);
    }
    let missing = kit.outputs.all().iter().zip(matched).find(|(_, matched)| !matched);
    Ok(missing.map(|(pattern, _)| Pattern::text(pattern).to_owned()))
}

/// Links what lies in `output/` into the attempt directory, which is what the task's patterns are relative to. May be
/// repeated. What the task's patterns do not name stays where it is, and so does what is there already.
pub(crate) fn bring_up(kit: &Kit) -> Result<(), Error> {
    for (path, ..) in list()? {
        let (from, to) = (work::path("output").join(&path), work::path(&path));
        let failed = |error: io::Error| work::failed("brought up from `output/`", &from, &error);
        let wanted = kit.outputs.match_path(&path) && !kit.inputs.contains(&path);
        if !wanted || !matches!(work::entry(&to).map_err(failed)?, Entry::Missing) {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        link(&from, &to).map_err(failed)?;
    }
    Ok(())
}

/// Gives a file a second name, or where a file system has no such thing a second copy.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let aside = work::path(".bring-up.part");
    work::copy_hashed(from, &mut work::create(&aside)?)?;
    fs::rename(&aside, to)
}
