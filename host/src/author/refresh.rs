//! Makes a workspace's plugin again before a run takes it, where the configuration says how and its source is newer.
use super::build::build_as_told;
use crate::failure::Failure;
use crate::ground::files::read_named;
use crate::model::config::CONFIG_MAX;
use crate::workspace::{Resolved, resolve, user_config};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How the names of files end of which plugins are made.
const SOURCES: [&str; 16] =
    ["c", "cc", "cpp", "go", "h", "hpp", "js", "lock", "mjs", "mod", "py", "rs", "sum", "toml", "ts", "wit"];
/// Folders in which no source lies: what was made there, and runs.
const LEFT_OUT: [&str; 6] = ["runs", "target", "node_modules", "venv", "__pycache__", "build"];
/// Folders within each other that are looked into.
const DEPTH_MAX: usize = 12;

/// The plugin that was made again, if its source was newer or it was not there; nothing where `campaign.build` says
/// nothing.
///
/// # Errors
/// If the configuration is not valid, or the build fails.
pub fn refresh(
    directory: &Path,
    config: Option<&Path>,
    sets: &[String],
    log: &OwnedFd,
    notice: impl FnOnce(&str),
) -> Result<Option<PathBuf>, Failure> {
    let file = config.map_or_else(|| directory.join("config.json"), Path::to_owned);
    // most workspaces say nothing of it, and a large configuration is not read twice for that
    let said = read_named(&file, CONFIG_MAX).is_ok_and(|text| memchr::memmem::find(&text, b"\"build\"").is_some());
    if !said && !sets.iter().any(|set| set.contains("build")) {
        return Ok(None);
    }
    let Resolved { config, .. } = resolve(&file, user_config().as_deref(), sets)?;
    let plugin = directory.join(&config.campaign.plugin);
    if config.campaign.build.is_empty() || config.campaign.plugin.starts_with("builtin:") {
        return Ok(None);
    }
    let made = fs::metadata(&plugin).and_then(|file| file.modified()).ok();
    let newest = newest(directory, &plugin, DEPTH_MAX);
    if made.is_some_and(|made| newest.as_ref().is_none_or(|(at, _)| *at <= made)) {
        return Ok(None);
    }
    notice(&match newest.filter(|_| made.is_some()) {
        Some((_, source)) => {
            let source = source.strip_prefix(directory).unwrap_or(&source).display().to_string();
            format!("`{}` is older than `{source}`: building it", config.campaign.plugin)
        }
        None => format!("`{}` is not there yet: building it", config.campaign.plugin),
    });
    build_as_told(&config.campaign.build, directory, plugin, log).map(Some)
}

/// The source that was changed last, and when.
fn newest(folder: &Path, plugin: &Path, depth: usize) -> Option<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let times = entries.filter_map(|entry| {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_str().filter(|name| !name.starts_with('.') && !LEFT_OUT.contains(name))?;
        // a link may lead anywhere, and what it leads to is no source of this workspace
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            return (depth > 0).then(|| newest(&path, plugin, depth - 1)).flatten();
        }
        let (_, ending) = name.rsplit_once('.')?;
        let is_source = kind.is_file() && SOURCES.contains(&ending) && path != plugin;
        is_source.then(|| entry.metadata().ok()?.modified().ok()).flatten().map(|at| (at, path))
    });
    times.max()
}
