//! Makes a component of its source: by what the configuration says (`campaign.build`), else by what lies there. The
//! programs that do it are the author's own.
use super::component;
use super::scratch::scratch;
use crate::backend::run_in;
use crate::failure::Failure;
use crate::ground::files::{put, read_named};
use crate::model::config::{PLUGIN_MAX, RunConfig};
use crate::plugin::wrap;
use crate::workspace::{Resolved, resolve, user_config};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Programs that build plugins, and how each is installed.
const TOOLS: [(&str, &str); 7] = [
    ("cargo", "install Rust with https://rustup.rs, then `rustup target add wasm32-wasip2`"),
    ("componentize-py", "`pip install componentize-py`"),
    ("componentize-qjs", "`npm install componentize-qjs` in its directory"),
    ("esbuild", "`npm install esbuild` in its directory"),
    ("node", "install Node.js 20 or later"),
    ("npx", "install Node.js 20 or later"),
    ("npm", "install Node.js 20 or later"),
];
/// Where the author's own environments keep programs, below the directory or one above it.
const BESIDE: [&str; 3] = ["node_modules/.bin", "venv/bin", ".venv/bin"];
/// How far above a directory they are looked for.
const LEVELS: usize = 4;
/// What Rust compiles plugins for.
const TARGET: &str = "wasm32-wasip2";

/// Builds the plugin of a directory, or a component of a core module. What the programs print goes to `log`. Returns
/// where the component lies.
///
/// # Errors
/// If nothing there can be built, a program is missing, or it fails.
pub fn build(path: &Path, log: &OwnedFd) -> Result<PathBuf, Failure> {
    if path.is_file() {
        return of_module(path);
    }
    let config = path.join("config.json");
    let config = match config.is_file() {
        true => Some(resolve(&config, user_config().as_deref(), &[]).map(|Resolved { config, .. }| config)?),
        false => None,
    };
    let named = config.as_ref().and_then(named);
    let command = config.as_ref().map(|config| config.campaign.build.clone()).unwrap_or_default();
    if let (Some(named), false) = (&named, command.is_empty()) {
        return build_as_told(&command, path, path.join(named), log);
    }
    if path.join("Cargo.toml").is_file() {
        return of_crate(path, named.as_deref(), log);
    }
    if let Some(made) = named.as_deref().map(|named| of_source(path, named, log)).transpose()?.flatten() {
        return Ok(made);
    }
    let failure = Failure::input(format!("`{}` holds nothing that can be built", path.display()));
    Err(match named {
        Some(named) if named.ends_with(".py") || named.ends_with(".js") => {
            failure.because(format!("`{named}` is a script, which is run as it is"))
        }
        _ => failure.hint(
            "what can be built is a Cargo.toml, a `NAME.ts`, `NAME.js` or `NAME.py` beside the `NAME.js` or `NAME.wasm` that \
             config.json names, and what its `campaign.build` says; or name a core module",
        ),
    })
}

/// What is made of a script: JavaScript of TypeScript, or a component. Nothing if no such source is there.
fn of_source(directory: &Path, named: &str, log: &OwnedFd) -> Result<Option<PathBuf>, Failure> {
    let place = directory.join(named);
    if let Some(source) = component::source_of(&place) {
        component::componentize(&source, &place, log)?;
        return Ok(Some(place));
    }
    let source = Path::new(named).with_extension("ts");
    if !named.ends_with(".js") || !directory.join(&source).is_file() {
        return Ok(None);
    }
    let aside = scratch()?;
    let bundle = aside.path().join("bundle.js");
    let (source, out) = (source.display().to_string(), format!("--outfile={}", bundle.display()));
    // the module is in the sandbox, and everything else goes into the one file
    let words = ["esbuild", &source, "--bundle", "--format=esm", "--external:matterstack", &out];
    start(&words.map(str::to_owned), directory, log)?;
    component::put_in_place(&bundle, &place)?;
    Ok(Some(place))
}

/// Starts the command that makes a plugin.
pub(super) fn build_as_told(
    command: &[String],
    directory: &Path,
    plugin: PathBuf,
    log: &OwnedFd,
) -> Result<PathBuf, Failure> {
    start(command, directory, log)?;
    made(plugin)
}

/// The file of the plugin that a workspace makes itself: its campaign's, else its first operator's.
fn named(config: &RunConfig) -> Option<String> {
    let operators = config.operators.values().map(|operator| &operator.plugin);
    let mut files = std::iter::once(&config.campaign.plugin).chain(operators);
    files.find(|name| !name.starts_with("builtin:")).cloned()
}

fn of_crate(directory: &Path, named: Option<&str>, log: &OwnedFd) -> Result<PathBuf, Failure> {
    let target = directory.join("target");
    let words = ["cargo", "build", "--release", "--target", TARGET, "--target-dir", "target"];
    start(&words.map(str::to_owned), directory, log)?;
    let folder = target.join(TARGET).join("release");
    let unread = |error: io::Error| Failure::io(format!("`{}` cannot be read", folder.display()), error);
    let mut built = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.extension().is_some_and(|ending| ending == "wasm") {
            built.push(path);
        }
    }
    let wanted = named.and_then(|named| Path::new(named).file_name()).map(ToOwned::to_owned);
    let found = match built.as_slice() {
        [one] => Some(one),
        several => several.iter().find(|path| path.file_name() == wanted.as_deref()),
    };
    let Some(found) = found else {
        return Err(Failure::input(format!("{} components lie in `{}`", built.len(), folder.display()))
            .hint("name the one that is meant in config.json, or say `crate-type = [\"cdylib\"]` in Cargo.toml"));
    };
    let Some(named) = named else { return Ok(found.clone()) };
    let place = directory.join(named);
    let bytes = read_named(found, PLUGIN_MAX).map_err(unread)?;
    put(&place, &bytes, true)
        .map_err(|error| Failure::io(format!("`{}` cannot be written", place.display()), error))?;
    Ok(place)
}

/// A component of a core module that holds its own description of the world.
fn of_module(module: &Path) -> Result<PathBuf, Failure> {
    let bytes = read_named(module, PLUGIN_MAX)
        .map_err(|error| Failure::input(format!("`{}` cannot be read", module.display())).because(error))?;
    if !bytes.starts_with(b"\0asm\x01\0\0\0") {
        let what = format!("`{}` is no core module of WebAssembly", module.display());
        return Err(Failure::input(what).hint("`matterstack plugin check FILE` says what it is"));
    }
    // a bare name is beside nothing
    let out = Path::new(".").join(module).with_extension("component.wasm");
    let component = wrap(&bytes).map_err(|error| {
        let what = format!("`{}` cannot become a component", module.display());
        Failure::input(what).because(error).hint("build it with the bindings of plugins/sdk, or for wasm32-wasip2")
    })?;
    put(&out, &component, true)
        .map_err(|error| Failure::io(format!("`{}` cannot be written", out.display()), error))?;
    Ok(out)
}

fn made(place: PathBuf) -> Result<PathBuf, Failure> {
    match place.is_file() {
        true => Ok(place),
        false => Err(Failure::input(format!("`{}` was not made, though the build succeeded", place.display()))
            .hint("let `campaign.build` write the file that `campaign.plugin` names")),
    }
}

/// Starts a program that builds, and waits for it. What the author has installed beside the source goes before what is
/// in PATH.
pub(super) fn start(command: &[String], directory: &Path, log: &OwnedFd) -> Result<(), Failure> {
    start_in(command, directory, directory, log)
}

/// As [`start`], in another directory than that of the source.
pub(super) fn start_in(command: &[String], source: &Path, directory: &Path, log: &OwnedFd) -> Result<(), Failure> {
    let shown = command.join(" ");
    let program = command.first().map(String::as_str).unwrap_or_default();
    let real = fs::canonicalize(source).unwrap_or_else(|_| source.to_owned());
    let beside = real.ancestors().take(LEVELS).flat_map(|folder| BESIDE.map(|of| folder.join(of).join(program)));
    let own = beside.filter(|_| !program.contains('/')).find(|file| file.is_file());
    let mut given = command.to_vec();
    if let (Some(first), Some(own)) = (given.first_mut(), own) {
        *first = own.display().to_string();
    }
    let status = run_in(&given, directory, log).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let known = TOOLS.iter().find(|(tool, _)| *tool == program).map(|(_, how)| *how);
            let failure = Failure::input(format!("building needs `{program}`, which is not there"));
            failure.hint(known.unwrap_or("install it, or put its directory into PATH"))
        }
        _ => Failure::io(format!("`{shown}` cannot be started"), error),
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::input(format!("`{shown}` failed")).because(status.to_string())),
    }
}
