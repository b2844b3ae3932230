//! `cargo xtask dist`: what a person installs who has no clone, a wheel and an archive. The same binary stands in both,
//! linked statically, so that it runs wherever the kernel does, the old Linux of a cluster included.
mod archive;
mod wheel;

use crate::guests::newer_than_all;
use crate::project::{Project, output, run, say};
use crate::{runners, tools};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Only what is linked last is told of it: all else is compiled as for every other build, and taken from there.
const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];
/// What the packages are made of, beside the runners. Examples are left out: demo and tests build in their folders.
const SOURCES: [&str; 8] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "host", "plugins", "tests/xtask/src/dist", "wit"];

/// Builds both, and says where they lie.
pub(crate) fn dist(project: &Project) -> Result<bool> {
    tools::ensure(project, tools::FOR_DIST)?;
    runners::build(project)?;
    for package in build(project)? {
        let size = fs::metadata(&package).map(|metadata| metadata.len()).unwrap_or_default();
        println!("{} ({} MB)", package.display(), size / 1_000_000);
    }
    Ok(true)
}

/// Builds them for the suites, where they are missing or older than what they are made of.
pub(crate) fn for_tests(project: &Project) -> Result<()> {
    let directory = project.target.join("dist");
    let sources = SOURCES.map(|source| project.root.join(source)).to_vec();
    let sources: Vec<PathBuf> = sources.into_iter().chain([project.target.join("runners")]).collect();
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    let made = packages(&directory)?;
    let fresh = |package: &PathBuf| newer_than_all(package, &sources);
    if made.len() == 2 && made.iter().map(fresh).collect::<Result<Vec<bool>>>()?.iter().all(|fresh| *fresh) {
        return Ok(());
    }
    build(project).map(|_| ())
}

/// The packages in a directory.
fn packages(directory: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("`{}` cannot be read", directory.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".whl") || name.ends_with(".tar.gz") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Builds both, and returns where they lie.
fn build(project: &Project) -> Result<Vec<PathBuf>> {
    say("linking matterstack statically");
    let cargo = ["rustc", "--release", "--locked", "--package", "matterstack", "--bin", "matterstack", "--"];
    run(project.cargo(cargo).args(STATIC))?;
    let directory = project.target.join("dist");
    // packages of another version would be installed with these, and half of one be taken for it
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("`{}` cannot be removed", directory.display()))?;
    }
    let parts = Parts { directory: directory.join("parts"), version: version(project)? };
    fs::create_dir_all(&parts.directory).with_context(|| format!("`{}` cannot be made", directory.display()))?;
    run(project.command(project.matterstack()).arg("__share").arg(parts.share()))?;
    let made = [archive::make(project, &parts)?, wheel::make(project, &parts)?];
    let mut placed = Vec::new();
    for package in made {
        let place = directory.join(package.file_name().context("bug: a package without a name")?);
        fs::rename(&package, &place).with_context(|| format!("`{}` cannot be put in place", place.display()))?;
        placed.push(place);
    }
    fs::remove_dir_all(&parts.directory).context("what the packages were put together of")?;
    Ok(placed)
}

/// What goes into both.
struct Parts {
    /// Where they are put together.
    directory: PathBuf,
    version: String,
}

impl Parts {
    /// Manual pages and completions.
    fn share(&self) -> PathBuf {
        self.directory.join("share")
    }
}

/// The version, as the binary says it.
fn version(project: &Project) -> Result<String> {
    let said = output(project.command(project.matterstack()).arg("--version"))?;
    Ok(said.trim().trim_start_matches("matterstack ").to_owned())
}

/// Copies a file, or a folder without what Python leaves in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("`{}` cannot be copied to `{}`", from.display(), to.display());
    if !from.is_dir() {
        return fs::copy(from, to).map(|_| ()).with_context(context);
    }
    fs::create_dir_all(to).with_context(context)?;
    for entry in fs::read_dir(from).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.file_name() != "__pycache__" {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_copied_without_what_python_leaves() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        fs::create_dir_all(from.join("inner/__pycache__")).expect("a directory");
        for name in ["a.py", "inner/b.py", "inner/__pycache__/b.pyc"] {
            fs::write(from.join(name), name).expect("a file");
        }
        copy(&from, &to).expect("a copy");
        assert_eq!(fs::read_to_string(to.join("inner/b.py")).expect("a file"), "inner/b.py");
        assert!(to.join("a.py").exists() && !to.join("inner/__pycache__").exists());
    }

    #[test]
    fn packages_are_told_by_their_names() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        assert_eq!(packages(&scratch.path().join("none")).expect("nothing"), [] as [PathBuf; 0]);
        for name in ["m-1-x86_64-linux.tar.gz", "m-1-py3-none-any.whl", "parts"] {
            fs::write(scratch.path().join(name), "").expect("a file");
        }
        let found = packages(scratch.path()).expect("packages");
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["m-1-py3-none-any.whl", "m-1-x86_64-linux.tar.gz"]);
    }
}
