//! Copies into a run what it must not lose: plugins, inputs and the files tasks may name, each pinned by its SHA-256.
use super::scripts::{Named, pin_scripts};
use super::{outputs, told};
use crate::failure::{Failure, FailureKind};
use crate::ground::carriage::is_executable;
use crate::ground::digest::copy_hashed;
use crate::ground::files::read_named;
use crate::ground::machine::cache_directory;
use crate::ground::shelf::{Wanted, put_shared};
pub(super) use crate::model::config::BUILTIN;
use crate::model::config::{PLUGIN_MAX, Pinned, PinnedFile, RunConfig};
use crate::model::document::{canonical, sha256};
use crate::model::manifest::Manifest;
use crate::model::pattern::{Dots, Kind, PATTERNS_MAX, Pattern, Patterns, Place, Seen, misses};
use crate::model::script::{Language, component};
use crate::model::workflow::nearest;
use crate::plugin::{builtin, manifest, runner};
use crate::run::RunDir;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// The pattern that may match nothing, because nobody wrote it.
const DEFAULT_PATTERN: &str = "scripts/**";

/// The largest `campaign.params` that stand in the run's config.json, in bytes of canonical text.
const PARAMS_INLINE_MAX: usize = 64 * 1024;
/// How deep folders may be nested in a workspace.
const DEPTH_MAX: usize = 64;
/// Names that are kept to say why a pattern named nothing.
const SEEN_MAX: usize = 2_000;

/// Looks for everything that the configuration names, as `init` does before it copies it.
///
/// # Errors
/// If a plugin, an input or a file is not there, or lies outside the workspace.
pub fn check_files(config: &RunConfig, workspace: &Path) -> Result<(), Failure> {
    for (place, name, modules) in config.places() {
        match Named::of(&place, name, modules)? {
            Some(script) => script.check_files(workspace)?,
            None => find_plugin(name, workspace, &plugin_place(&place)).map(drop)?,
        }
    }
    for (name, path) in &config.campaign.inputs {
        confined(workspace, path, &format!("campaign.inputs.{name}"))?;
    }
    matching_files(config, workspace).map(drop)?;
    outputs::check_outputs(config, workspace)?;
    told::check_in_workspace(config, workspace)
}

/// The key of the configuration that names the plugin of a part of it.
pub(super) fn plugin_place(place: &str) -> String {
    format!("{place}.plugin")
}

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
    outputs::pin_outputs(config, workspace, run, &mut pinned)?;
    Ok(pinned)
}

/// Puts `campaign.params` that are large into a file of their own: an idle tick then costs the same whatever they hold.
pub(super) fn pin_params(config: &mut RunConfig, run: &RunDir) -> Result<(), Failure> {
    let wrong = |error| Failure::input("campaign.params").because(error);
    let text = canonical(&config.campaign.params.to_string()).map_err(wrong)?;
    let pinned = config.pinned.get_or_insert_default();
    pinned.params = None;
    if text.len() > PARAMS_INLINE_MAX {
        let digest = sha256(text.as_bytes());
        let path = run.place(format!("inputs/params-{}.json", &digest[..12]));
        write(&run.join(&path), |file| file.write_all(text.as_bytes()))?;
        pinned.params = Some(PinnedFile::new(path, digest, text.len() as u64));
        config.campaign.params = Value::Object(Map::new());
    }
    Ok(())
}

/// Copies the plugins that are not pinned yet.
pub(super) fn pin_plugins(
    config: &RunConfig,
    workspace: &Path,
    run: &RunDir,
    pinned: &mut Pinned,
) -> Result<(), Failure> {
    for (place, name, _) in config.places() {
        if let Entry::Vacant(none) = pinned.plugins.entry(component(name)) {
            let place = plugin_place(&place);
            none.insert(match Language::of(name) {
                Some(language) => store_runner(language, &place, name, run)?,
                None => pin_plugin(name, workspace, run, &place)?,
            });
        }
    }
    pin_scripts(config, workspace, run, pinned)
}

/// Where a plugin's bytes are.
pub(super) enum Found<'a> {
    Builtin(&'a str, builtin::Standard),
    File(PathBuf),
}

/// The bytes of what carries out the scripts of a language.
pub(super) fn runner(language: Language, place: &str, script: &str) -> Result<Cow<'static, [u8]>, Failure> {
    let bytes = builtin::builtin(language.runner());
    bytes.map(Cow::Borrowed).ok_or_else(|| no_runner(language, place, script))
}

fn no_runner(language: Language, place: &str, script: &str) -> Failure {
    let (why, hint) = runner::missing(language);
    Failure::of(FailureKind::Plugin, format!("{place} is `{script}`, and {why}")).hint(hint)
}

/// What carries out the scripts of a language.
pub(super) fn find_runner(language: Language, place: &str, script: &str) -> Result<builtin::Standard, Failure> {
    builtin::standard(language.runner()).ok_or_else(|| no_runner(language, place, script))
}

/// Keeps what carries out the scripts of a language in the run.
pub(super) fn store_runner(language: Language, place: &str, script: &str, run: &RunDir) -> Result<PinnedFile, Failure> {
    store_standard(&find_runner(language, place, script)?, language.runner(), run)
}

/// Whether a file holds native code, by how its name ends.
pub(super) fn is_native(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".so", ".pyd", ".dll", ".dylib", ".node", ".a", ".o"].iter().any(|end| name.ends_with(end))
        || name.contains(".so.")
}

/// The bytes of the standard plugin with this name, which stands without its beginning.
pub(super) fn builtin_plugin(short: &str, place: &str) -> Result<&'static [u8], Failure> {
    let found = standard(short, place)?;
    found.bytes().ok_or_else(|| gone(short))
}

/// A runner that was added and is not there any more.
fn gone(short: &str) -> Failure {
    let (what, hint) = Language::of_runner(short).map(runner::missing).unwrap_or_default();
    Failure::of(FailureKind::Plugin, what).hint(hint)
}

/// The standard plugin with this name, without its bytes.
fn standard(short: &str, place: &str) -> Result<builtin::Standard, Failure> {
    if let Some(language) = Language::of_runner(short) {
        let what = format!("{place} is `{BUILTIN}{short}`, which carries out scripts, and needs one");
        let end = language.modules()[0];
        return Err(
            Failure::input(what).hint(format!("name the script itself, such as `\"plugin\": \"campaign{end}\"`"))
        );
    }
    builtin::standard(short).ok_or_else(|| {
        let near = nearest(short, builtin::names()).map(|near| format!("did you mean `{BUILTIN}{near}`?"));
        let all: Vec<&str> = builtin::names().collect();
        Failure::input(format!("{place} is `{BUILTIN}{short}`, which is no standard plugin"))
            .hint(near.unwrap_or_else(|| format!("there are: {}", all.join(", "))))
    })
}

pub(super) fn find_plugin<'a>(name: &'a str, workspace: &Path, place: &str) -> Result<Found<'a>, Failure> {
    if let Some(short) = name.strip_prefix(BUILTIN) {
        return Ok(Found::Builtin(short, standard(short, place)?));
    }
    if name.ends_with(".ts") || name.ends_with(".mts") {
        return Err(Failure::input(format!("{place} is `{name}`, and TypeScript is carried out only as JavaScript"))
            .hint(format!(
                "`esbuild {name} --bundle --format=esm --outfile=campaign.js` makes that; name `campaign.js`"
            )));
    }
    confined(workspace, name, place).map(Found::File)
}

fn pin_plugin(name: &str, workspace: &Path, run: &RunDir, place: &str) -> Result<PinnedFile, Failure> {
    let from = match find_plugin(name, workspace, place)? {
        Found::Builtin(short, found) => return store_standard(&found, short, run),
        Found::File(from) => from,
    };
    let bytes = read_named(&from, PLUGIN_MAX)
        .map_err(|error| Failure::machine(format!("plugin `{}` cannot be read", from.display()), error))?;
    let stem = from.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    store_plugin(&bytes, &stem, run)
}

/// Keeps a standard plugin in the run. A runner of scripts says nothing of itself, so that its bytes are not looked at.
fn store_standard(found: &builtin::Standard, short: &str, run: &RunDir) -> Result<PinnedFile, Failure> {
    if Language::of_runner(short).is_none() {
        return store_plugin(found.bytes().ok_or_else(|| gone(short))?, short, run);
    }
    let bytes = || found.bytes().map(Cow::Borrowed).ok_or_else(|| io::Error::other("its bytes cannot be had"));
    let path = shelve(&Wanted { sha256: &found.sha256, size: found.size, bytes }, short, run)
        .map_err(|failure| if found.bytes().is_some() { failure } else { gone(short) })?;
    Ok(PinnedFile::new(path, found.sha256.clone(), found.size))
}

/// Puts a plugin into the run, under a name that says which it is.
fn shelve<'a>(
    wanted: &Wanted<'_, impl Fn() -> io::Result<Cow<'a, [u8]>>>,
    stem: &str,
    run: &RunDir,
) -> Result<String, Failure> {
    let path = run.place(format!("plugins/{stem}-{}.wasm", &wanted.sha256[..12]));
    let (shelf, to) = (cache_directory().map(|cache| cache.join("components")), run.join(&path));
    put_shared(shelf.as_deref(), &to, wanted)
        .map_err(|error| Failure::machine(format!("`{}` cannot be written", to.display()), error))?;
    Ok(path)
}

/// Keeps a plugin's bytes in the run.
pub(super) fn store_plugin(bytes: &[u8], stem: &str, run: &RunDir) -> Result<PinnedFile, Failure> {
    let digest = sha256(bytes);
    let stem = plain(stem);
    let wanted = Wanted { sha256: &digest, size: bytes.len() as u64, bytes: || Ok(Cow::Borrowed(bytes)) };
    let path = shelve(&wanted, &stem, run)?;
    let told = manifest_of(bytes, &stem)?;
    let of = |manifest: &Manifest| {
        let (name, version) = (manifest.name.as_deref()?, manifest.reuse_version.as_deref()?);
        Some(format!("{name} {version}"))
    };
    let reuse_version = told.as_ref().and_then(of);
    Ok(PinnedFile { reuse_version, ..PinnedFile::new(path, digest, bytes.len() as u64) })
}

/// The name of a file without what a path or a shell could take for more.
fn plain(stem: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    stem.chars().take(64).map(plain).collect()
}

/// Keeps bytes beside the run's plugins, under a name that says which they are.
pub(super) fn store_file(bytes: &[u8], (stem, end): (&str, &str), run: &RunDir) -> Result<PinnedFile, Failure> {
    let (digest, stem) = (sha256(bytes), plain(stem));
    let path = run.place(format!("plugins/{stem}-{}.{end}", &digest[..12]));
    write(&run.join(&path), |file| file.write_all(bytes))?;
    Ok(PinnedFile::new(path, digest, bytes.len() as u64))
}

/// What a plugin says of itself.
fn manifest_of(bytes: &[u8], name: &str) -> Result<Option<Manifest>, Failure> {
    let wrong = |why| Failure::of(FailureKind::Plugin, format!("plugin `{name}` {why}"));
    manifest(bytes).map_err(wrong)
}

/// Takes over what the campaign's plugin says of itself, where the configuration says nothing, and writes the rest out.
pub(super) fn follow_manifest(config: &mut RunConfig, run: &RunDir) -> Result<(), Failure> {
    let name = &config.campaign.plugin;
    if Language::of(name).is_some() {
        // what its runner says of itself is not the script's word
        config.campaign.analyze.get_or_insert_default();
        config.campaign.takes_back.get_or_insert(false);
        return Ok(());
    }
    let Some(file) = config.pinned.as_ref().and_then(|pinned| pinned.plugins.get(name)) else { return Ok(()) };
    let path = run.join(&file.path);
    let bytes = read_named(&path, PLUGIN_MAX)
        .map_err(|error| Failure::machine(format!("plugin `{}` cannot be read", path.display()), error))?;
    let told = manifest_of(&bytes, name)?.unwrap_or_default();
    let campaign = &mut config.campaign;
    campaign.analyze.get_or_insert(told.analyze.unwrap_or_default());
    campaign.takes_back.get_or_insert(told.takes_back.unwrap_or(false));
    Ok(())
}

/// The path of something inside the workspace, links resolved.
pub(super) fn confined(workspace: &Path, relative: &str, place: &str) -> Result<PathBuf, Failure> {
    let real = inside(workspace, relative, place)?;
    if !real.is_file() {
        return Err(Failure::input(format!("{place} is `{relative}`, which is not a file")));
    }
    Ok(real)
}

/// The path of a file or folder inside the workspace, links resolved.
pub(super) fn inside(workspace: &Path, relative: &str, place: &str) -> Result<PathBuf, Failure> {
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
    Ok(real)
}

/// The files of the workspace that `campaign.files` matches, by their path in it.
fn matching_files(config: &RunConfig, workspace: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let texts = &config.campaign.files;
    if texts.len() > PATTERNS_MAX {
        let what = format!("campaign.files has {} patterns; {PATTERNS_MAX} are allowed", texts.len());
        return Err(Failure::input(what));
    }
    let parse = |text: &String| {
        Pattern::relative_to(text, "the workspace")
            .map_err(|error| Failure::input(format!("campaign.files: pattern `{text}`: {error}")))
    };
    let patterns = Patterns::new(texts.iter().map(parse).collect::<Result<_, _>>()?, Dots::Written);
    let mut search =
        Search { workspace, patterns: &patterns, named: BTreeSet::new(), found: BTreeMap::new(), seen: Vec::new() };
    search.folder(Path::new(""), &patterns.root())?;
    let unmatched = patterns
        .all()
        .iter()
        .enumerate()
        .find(|(position, pattern)| !search.named.contains(position) && pattern.text() != DEFAULT_PATTERN);
    let Some((_, pattern)) = unmatched else { return Ok(search.found) };
    let failure = Failure::input(format!("campaign.files: pattern `{pattern}` matches no file in the workspace"));
    Err(match misses(pattern, &search.seen) {
        Some(miss) => failure.hint(miss.to_string()),
        None => failure.hint("patterns are relative to the workspace, such as `scripts/**` or `data/*.csv`"),
    })
}

/// A walk through the workspace, as far as patterns reach.
struct Search<'a> {
    workspace: &'a Path,
    patterns: &'a Patterns,
    /// The patterns that named a file, by position.
    named: BTreeSet<usize>,
    found: BTreeMap<String, PathBuf>,
    seen: Vec<Seen>,
}

impl Search<'_> {
    fn folder(&mut self, below: &Path, place: &Place) -> Result<(), Failure> {
        let path = self.workspace.join(below);
        let unreadable = |error| Failure::machine(format!("`{}` cannot be read", path.display()), error);
        if below.components().count() > DEPTH_MAX {
            let what = format!("folders are nested more than {DEPTH_MAX} deep in the workspace");
            return Err(Failure::input(what));
        }
        for entry in std::fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let (shown, at) = (name.to_string_lossy(), below.join(&name));
            // what a link points to counts, if it is a file of the workspace
            let Ok(kind) = std::fs::metadata(entry.path()) else { continue };
            if kind.is_dir() {
                let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                if at == Path::new("runs") {
                    continue;
                }
                self.note(&at, if linked { Kind::Link } else { Kind::Folder });
                if let Some(inner) = self.patterns.enter(place, &shown).filter(|_| !linked) {
                    self.folder(&at, &inner)?;
                }
            } else if kind.is_file() {
                self.note(&at, Kind::File);
                self.file(&at, self.patterns.named(place, &shown).collect())?;
            }
        }
        Ok(())
    }

    fn file(&mut self, at: &Path, naming: Vec<usize>) -> Result<(), Failure> {
        if naming.is_empty() {
            return Ok(());
        }
        let name = at.to_str().ok_or_else(|| Failure::input(format!("the name of `{}` is not UTF-8", at.display())))?;
        self.found.insert(name.to_owned(), confined(self.workspace, name, "campaign.files")?);
        self.named.extend(naming);
        Ok(())
    }

    fn note(&mut self, at: &Path, kind: Kind) {
        if self.seen.len() < SEEN_MAX {
            self.seen.push(Seen { path: at.to_string_lossy().into_owned(), kind });
        }
    }
}

/// Copies a file into the run, in pieces.
pub(super) fn copy(from: &Path, run: &RunDir, path: String) -> Result<PinnedFile, Failure> {
    let unreadable = |error| Failure::machine(format!("`{}` cannot be read", from.display()), error);
    copy_open(File::open(from).map_err(unreadable)?, from, run, path)
}

/// The same of a file that is open, and that errors name so.
pub(super) fn copy_open(mut source: File, from: &Path, run: &RunDir, path: String) -> Result<PinnedFile, Failure> {
    let path = run.place(path);
    let unreadable = |error| Failure::machine(format!("`{}` cannot be read", from.display()), error);
    let executable = is_executable(&source.metadata().map_err(unreadable)?);
    let mut digested = (String::new(), 0);
    write(&run.join(&path), |file| {
        digested = copy_hashed(&mut source, file)?;
        if executable {
            let mode = file.metadata()?.permissions().mode();
            file.set_permissions(PermissionsExt::from_mode(mode | (mode & 0o444) >> 2))?;
        }
        Ok(())
    })?;
    let (sha256, size) = digested;
    Ok(PinnedFile { executable, ..PinnedFile::new(path, sha256, size) })
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
