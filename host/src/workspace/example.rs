//! New workspaces: a plain one to change, and worked examples. The binary carries both, so that whoever has nothing
//! else can begin.
use super::Workspaces;
use crate::failure::Failure;
use crate::ground::files::put;
use crate::model::workflow::nearest;
use std::fs;
use std::path::{Component, Path, PathBuf};

type Files = &'static [(&'static str, &'static [u8])];

/// The worked examples: name, and files by their paths.
static EXAMPLES: &[(&str, Files)] = include!(concat!(env!("OUT_DIR"), "/examples.rs"));

/// What a new workspace holds that is no example.
static PLAIN: Files = &[
    ("scripts/simulate.py", include_bytes!("plain/scripts/simulate.py")),
    ("config.json", include_bytes!("plain/config.json")),
];

/// A workspace that was made.
#[derive(Debug)]
pub struct NewWorkspace {
    /// Its path below the workspaces root.
    pub slug: String,
    /// Where it lies.
    pub directory: PathBuf,
    /// The example that it holds, by its whole name.
    pub example: Option<&'static str>,
}

/// Makes a workspace below the root, of an example or the plain one; without a place it is called as the example.
///
/// # Errors
/// If the place is not below the root or there is something at it, no example answers to the name, or it cannot be
/// written; then nothing of it is left.
pub fn make_workspace(
    workspaces: &Workspaces,
    place: Option<&Path>,
    example: Option<&str>,
) -> Result<NewWorkspace, Failure> {
    let (name, files) = match example {
        Some(name) => example_called(name).map(|(name, files)| (Some(name), files))?,
        None => (None, PLAIN),
    };
    let place = place.or(name.map(Path::new)).ok_or_else(|| Failure::input("a new workspace needs a name"))?;
    let (slug, directory) = make_workspace_of(workspaces, place, |_| {
        files.iter().map(|(path, bytes)| (Path::new(path).to_owned(), bytes.to_vec())).collect()
    })?;
    Ok(NewWorkspace { slug, directory, example: name })
}

/// Makes a workspace below the root of the files that are given for its slug; returns the slug and where it lies.
///
/// # Errors
/// As [`make_workspace`].
pub fn make_workspace_of(
    workspaces: &Workspaces,
    place: &Path,
    files: impl FnOnce(&str) -> Vec<(PathBuf, Vec<u8>)>,
) -> Result<(String, PathBuf), Failure> {
    let slug = slug_of(workspaces, place)?;
    let directory = workspaces.root().join(&slug);
    let failed = |error| Failure::io(format!("`{}` cannot be made", directory.display()), error);
    fs::create_dir_all(directory.parent().unwrap_or(&directory)).map_err(failed)?;
    fs::create_dir(&directory).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::input(format!("there is something at `{}`", directory.display()))
            .hint("give another name; nothing was changed"),
        _ => failed(error),
    })?;
    write(&directory, &files(&slug)).map_err(|error| {
        // it is ours, and was empty a moment ago
        let _ = fs::remove_dir_all(&directory);
        failed(error)
    })?;
    Ok((slug, directory))
}

fn write(directory: &Path, files: &[(PathBuf, Vec<u8>)]) -> std::io::Result<()> {
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        put(&path, bytes, true)?;
    }
    Ok(())
}

/// The example of that name, or whose alone begins with it.
fn example_called(name: &str) -> Result<(&'static str, Files), Failure> {
    let begins: Vec<_> = EXAMPLES.iter().filter(|(of, _)| of.starts_with(name)).collect();
    if let ([one], false) = (begins.as_slice(), name.is_empty()) {
        return Ok(**one);
    }
    let names: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).collect();
    let near = nearest(name, names.iter().copied()).map(|near| format!("did you mean `{near}`? "));
    Err(Failure::input(format!("no example `{name}`")).hint(format!(
        "{}there are {}",
        near.unwrap_or_default(),
        names.join(", ")
    )))
}

/// The path below the root that a person means: below it, or from here through the root.
fn slug_of(workspaces: &Workspaces, place: &Path) -> Result<String, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::machine("the current directory", error))?;
    // the root has its real path, and what is to be made has none yet
    let real = fs::canonicalize(&here).unwrap_or(here).join(place);
    let below = real.strip_prefix(workspaces.root()).unwrap_or(place);
    let names: Option<Vec<&str>> = below
        .components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| match part {
            Component::Normal(name) => name.to_str().filter(|name| !name.starts_with('.') && *name != "runs"),
            _ => None,
        })
        .collect();
    match names {
        Some(names) if (1..=super::DEPTH_MAX).contains(&names.len()) => Ok(names.join("/")),
        _ => Err(Failure::input(format!("`{}` cannot be a workspace", place.display())).hint(format!(
            "give a name, or a path of at most {} parts below `{}`, none of which begins with `.` or is `runs`",
            super::DEPTH_MAX,
            workspaces.root().display()
        ))),
    }
}
