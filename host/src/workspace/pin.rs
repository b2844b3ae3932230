//! Copies into a run what it must not lose: plugins, inputs and the files tasks may name, each pinned by its SHA-256.
use crate::failure::Failure;
use crate::model::config::{Pinned, PinnedFile, RunConfig};
use crate::model::document::{hex, sha256};
use crate::model::workflow::nearest;
use crate::plugin::builtin;
use crate::run::RunDir;
use globset::GlobBuilder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

/// The pattern that may match nothing, because nobody wrote it.
const DEFAULT_PATTERN: &str = "scripts/**";

/// Copies everything the configuration names into the run.
pub(super) fn pin_everything(config: &RunConfig, workspace: &Path, run: &RunDir) -> Result<Pinned, Failure> {
    let mut pinned = Pinned::default();
    pin_plugins(config, workspace, run, &mut pinned)?;
    for (name, path) in &config.campaign.inputs {
        let from = confined(workspace, path, &format!("campaign.inputs.{name}"))?;
        pinned.inputs.insert(name.clone(), copy(&from, run, format!("inputs/campaign/{name}"))?);
    }
    for (path, from) in matching_files(config, workspace)? {
        let file = copy(&from, run, format!("inputs/files/{path}"))?;
        pinned.files.insert(path, file);
    }
    Ok(pinned)
}

/// Copies the plugins that are not pinned yet.
pub(super) fn pin_plugins(
    config: &RunConfig,
    workspace: &Path,
    run: &RunDir,
    pinned: &mut Pinned,
) -> Result<(), Failure> {
    let operators = config.operators.iter().map(|(key, operator)| (format!("operators.{key}"), &operator.plugin));
    for (place, name) in std::iter::once(("campaign".to_owned(), &config.campaign.plugin)).chain(operators) {
        if !pinned.plugins.contains_key(name) {
            let file = pin_plugin(name, workspace, run, &format!("{place}.plugin"))?;
            pinned.plugins.insert(name.clone(), file);
        }
    }
    Ok(())
}

fn pin_plugin(name: &str, workspace: &Path, run: &RunDir, place: &str) -> Result<PinnedFile, Failure> {
    if let Some(short) = name.strip_prefix("builtin:") {
        let Some(bytes) = builtin::builtin(short) else {
            let near = nearest(short, builtin::names()).map(|near| format!("did you mean `builtin:{near}`?"));
            let all: Vec<&str> = builtin::names().collect();
            return Err(Failure::input(format!("{place} is `{name}`, which is no standard plugin"))
                .hint(near.unwrap_or_else(|| format!("there are: {}", all.join(", ")))));
        };
        return store_plugin(bytes, short, run);
    }
    let from = confined(workspace, name, place)?;
    let bytes = std::fs::read(&from)
        .map_err(|error| Failure::machine(format!("plugin `{}` cannot be read", from.display()), error))?;
    let stem = from.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    store_plugin(&bytes, &stem, run)
}

/// Keeps a plugin's bytes in the run, under a name that says which they are.
pub(super) fn store_plugin(bytes: &[u8], stem: &str, run: &RunDir) -> Result<PinnedFile, Failure> {
    let digest = sha256(bytes);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let stem: String = stem.chars().take(64).map(plain).collect();
    let path = format!("plugins/{stem}-{}.wasm", &digest[..12]);
    write(&run.join(&path), |file| file.write_all(bytes))?;
    Ok(PinnedFile { path, sha256: digest, size: bytes.len() as u64 })
}

/// The path of something inside the workspace, links resolved.
fn confined(workspace: &Path, relative: &str, place: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(relative);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let outside = || {
        Failure::input(format!("{place} is `{relative}`, which is outside the workspace"))
            .hint("copy the file into the workspace and name it by its path there")
    };
    if !inside || relative.is_empty() {
        return Err(outside());
    }
    let joined = workspace.join(path);
    let real = std::fs::canonicalize(&joined).map_err(|error| {
        let failure = Failure::input(format!("{place} is `{relative}`, which cannot be found")).because(error);
        if relative.ends_with(".wasm") {
            failure.hint("build the plugin first; the workspace's README says how")
        } else {
            failure
        }
    })?;
    if !real.starts_with(workspace) {
        return Err(outside());
    }
    if !real.is_file() {
        return Err(Failure::input(format!("{place} is `{relative}`, which is not a file")));
    }
    Ok(real)
}

/// The files of the workspace that `campaign.files` matches, by their path in it.
fn matching_files(config: &RunConfig, workspace: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut found = BTreeMap::new();
    for pattern in &config.campaign.files {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let glob =
            glob.map_err(|error| Failure::input(format!("campaign.files: pattern `{pattern}`")).because(error.kind()))?;
        let start: PathBuf = Path::new(pattern)
            .components()
            .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{', '\\']))
            .collect();
        if start.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(Failure::input(format!("campaign.files: pattern `{pattern}` leaves the workspace")));
        }
        let before = found.len();
        let matcher = glob.compile_matcher();
        walk(workspace, &start, &mut |path, real| {
            if matcher.is_match(path) {
                found.insert(path.to_owned(), real);
            }
        })?;
        if found.len() == before && pattern != DEFAULT_PATTERN {
            return Err(Failure::input(format!(
                "campaign.files: pattern `{pattern}` matches no file in the workspace"
            ))
            .hint("patterns are relative to the workspace, such as `scripts/**` or `data/*.csv`"));
        }
    }
    Ok(found)
}

fn walk(workspace: &Path, below: &Path, visit: &mut dyn FnMut(&str, PathBuf)) -> Result<(), Failure> {
    let path = workspace.join(below);
    let unreadable = |error| Failure::machine(format!("`{}` cannot be read", path.display()), error);
    let Ok(kind) = std::fs::metadata(&path) else { return Ok(()) };
    if kind.is_dir() {
        let linked = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
        let own =
            below == Path::new("runs") || below.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if linked || own {
            return Ok(());
        }
        for entry in std::fs::read_dir(&path).map_err(unreadable)? {
            walk(workspace, &below.join(entry.map_err(unreadable)?.file_name()), visit)?;
        }
    } else if kind.is_file() {
        let name =
            below.to_str().ok_or_else(|| Failure::input(format!("the name of `{}` is not UTF-8", path.display())))?;
        let real = confined(workspace, name, "campaign.files")?;
        visit(name, real);
    }
    Ok(())
}

fn copy(from: &Path, run: &RunDir, path: String) -> Result<PinnedFile, Failure> {
    let unreadable = |error| Failure::machine(format!("`{}` cannot be read", from.display()), error);
    let mut source = File::open(from).map_err(unreadable)?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0_u8; 256 * 1024]);
    write(&run.join(&path), |file| {
        loop {
            let read = source.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            hasher.update(&buffer[..read]);
            size += read as u64;
            file.write_all(&buffer[..read])?;
        }
    })?;
    Ok(PinnedFile { path, sha256: hex(&hasher.finalize()), size })
}

/// Writes a file durably, making its directory.
pub(super) fn write(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<(), Failure> {
    let work = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::create(path)?;
        fill(&mut file)?;
        file.sync_all()
    };
    work().map_err(|error: std::io::Error| Failure::machine(format!("`{}` cannot be written", path.display()), error))
}
