//! Copies scripts into a run, with what they import: files, folders of them, and wheels without native code.
use super::init::workspace_of;
use super::open::read_plugin;
use super::pin::{
    BUILTIN, confined, find_runner, inside, is_native, plugin_place, runner, store_file, store_plugin, store_runner,
};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::read_named;
use crate::model::config::{Pinned, PinnedFile, RunConfig};
use crate::model::document::sha256;
use crate::model::script::{CAMPAIGN, Language, PinnedScript, component, operator_place, unfit};
use crate::run::RunDir;
use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The largest script or module, in bytes.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Modules that one script may have.
const MODULES_MAX: usize = 10_000;
/// How deep folders of modules may be nested.
const DEPTH_MAX: usize = 64;

/// A script as the configuration names it.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    /// What it is the plugin of: `campaign`, or `operators.KEY`.
    pub(super) place: &'a str,
    /// Its path in the workspace.
    pub(super) name: &'a str,
    pub(super) language: Language,
    /// What it imports.
    pub(super) modules: &'a [String],
}

impl<'a> Named<'a> {
    /// The script that a plugin is; none if it is none.
    pub(super) fn of(place: &'a str, name: &'a str, modules: &'a [String]) -> Result<Option<Self>, Failure> {
        let language = Language::of(name);
        if language.is_none() && !modules.is_empty() {
            return Err(Failure::input(format!(
                "{place}.modules is for scripts, and {place}.plugin is `{name}`, which is none"
            ))
            .hint("a component holds all that it needs; leave the modules out"));
        }
        Ok(language.map(|language| Self { place, name, language, modules }))
    }

    /// The files of its modules in the workspace, by their paths there.
    fn find_modules(self, workspace: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
        let mut found = BTreeMap::new();
        for entry in self.modules {
            self.find(workspace, entry, &mut found)?;
        }
        if found.contains_key(self.name) {
            let what = format!("{}.modules names `{}`, which is the script itself", self.place, self.name);
            return Err(Failure::input(what));
        }
        Ok(found)
    }

    /// The files that one entry of its modules names.
    fn find(self, workspace: &Path, entry: &str, found: &mut BTreeMap<String, PathBuf>) -> Result<(), Failure> {
        let place = format!("{}.modules", self.place);
        let name = entry.trim_end_matches('/').trim_start_matches("./");
        let real = inside(workspace, name, &place)?;
        if !real.is_dir() {
            self.check(&confined(workspace, name, &place)?, name)?;
            found.insert(name.to_owned(), real);
            return Ok(());
        }
        let before = found.len();
        self.folder(workspace, name, found)?;
        if found.len() == before {
            let ends = self.language.modules().join("`, `");
            let what = format!("{place} names the folder `{name}`, in which no file ends in `{ends}`");
            return Err(Failure::input(what));
        }
        Ok(())
    }

    /// The modules in a folder. What languages leave there for themselves is passed over, as is all else that is none.
    fn folder(self, workspace: &Path, below: &str, found: &mut BTreeMap<String, PathBuf>) -> Result<(), Failure> {
        let place = format!("{}.modules", self.place);
        if below.split('/').count() > DEPTH_MAX {
            return Err(Failure::input(format!("{place}: folders are nested more than {DEPTH_MAX} deep")));
        }
        let path = workspace.join(below);
        let unreadable = |error| Failure::machine(format!("`{}` cannot be read", path.display()), error);
        for entry in std::fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if name.starts_with('.') || name == "__pycache__" || name == "node_modules" {
                continue;
            }
            let at = format!("{below}/{name}");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.folder(workspace, &at, found)?;
            } else if is_native(&name) || self.language.modules().iter().any(|end| name.ends_with(end)) {
                let real = confined(workspace, &at, &place)?;
                self.check(&real, &at)?;
                found.insert(at, real);
            }
            if found.len() > MODULES_MAX {
                return Err(Failure::input(format!("{place} names more than {MODULES_MAX} files")));
            }
        }
        Ok(())
    }

    /// Refuses what a script cannot import.
    fn check(self, file: &Path, name: &str) -> Result<(), Failure> {
        let native = |what: &str| {
            Failure::input(format!("{}.modules names `{name}`, {what}, which a script cannot import", self.place)).hint(
                "a program of your own can: `builtin:ask-tell` lets one decide, as an ordinary task (docs/ask-tell.md)",
            )
        };
        if is_native(name) {
            return Err(native("which is native code"));
        }
        let is_wheel = name.ends_with(".whl");
        if !self.language.modules().iter().any(|end| name.ends_with(end)) {
            let ends = self.language.modules().join("`, `");
            let what =
                format!("{}.modules names `{name}`, which is no module of a {} script", self.place, self.named());
            return Err(Failure::input(what).hint(format!("modules end in `{ends}`, or are folders of such files")));
        }
        if is_wheel {
            let bytes = read(file)?;
            match super::wheel::native_code(name, &bytes) {
                Err(why) => {
                    let what = format!("{}.modules names `{name}`, which cannot be read as a wheel", self.place);
                    return Err(Failure::input(what).because(why));
                }
                Ok(Some(what)) => return Err(native(&format!("a wheel that holds native code ({what})"))),
                Ok(None) => {}
            }
        }
        Ok(())
    }

    fn named(self) -> &'static str {
        self.language.as_str()
    }

    /// Looks for all that it needs, as `init` does before it copies it.
    pub(super) fn check_files(self, workspace: &Path) -> Result<(), Failure> {
        find_runner(self.language, &plugin_place(self.place), self.name)?;
        let from = confined(workspace, self.name, &plugin_place(self.place))?;
        self.check_text(&read(&from)?)?;
        self.find_modules(workspace).map(drop)
    }

    /// Refuses what lacks a function for sure. A campaign without `analyze` would plan, and be held at its first
    /// result.
    fn check_text(self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(why) = unfit(self.language, bytes, self.place != CAMPAIGN) else { return Ok(()) };
        let what = format!("{} is `{}`, which {why}", plugin_place(self.place), self.name);
        let refused = Failure::of(FailureKind::Plugin, what);
        // how its text is to be saved has nothing to do with functions
        Err(match why.contains("UTF-8") {
            true => refused,
            false => refused
                .hint("docs/authors/scripts.md lists the functions; `matterstack plugin new` begins with all of them"),
        })
    }

    /// Copies it and all its modules into the run; `from` is where the script lies.
    pub(super) fn pin(self, workspace: &Path, from: &Path, run: &RunDir) -> Result<PinnedScript, Failure> {
        self.check_text(&read(from)?)?;
        let modules = self.find_modules(workspace)?;
        let modules = modules.into_iter().map(|(name, from)| Ok((name, keep(&from, run)?)));
        Ok(PinnedScript {
            name: self.name.to_owned(),
            file: keep(from, run)?,
            modules: modules.collect::<Result<_, Failure>>()?,
        })
    }

    /// Pins what of its modules is not pinned yet, and lets go of what the configuration does not name any more. Copies
    /// that the run has stay as they are.
    fn follow_modules(self, workspace: &Path, pinned: &mut PinnedScript, run: &RunDir) -> Result<(), Failure> {
        let entries: Vec<&str> =
            self.modules.iter().map(|entry| entry.trim_end_matches('/').trim_start_matches("./")).collect();
        let covers = |entry: &str, name: &str| {
            name.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        pinned.modules.retain(|name, _| entries.iter().any(|entry| covers(entry, name)));
        for entry in entries {
            if pinned.modules.keys().any(|name| covers(entry, name)) {
                continue;
            }
            let mut found = BTreeMap::new();
            self.find(workspace, entry, &mut found)?;
            for (name, from) in found {
                pinned.modules.insert(name, keep(&from, run)?);
            }
        }
        Ok(())
    }
}

/// Copies the scripts of a configuration that are not pinned yet, with what they import.
pub(super) fn pin_scripts(
    config: &RunConfig,
    workspace: &Path,
    run: &RunDir,
    pinned: &mut Pinned,
) -> Result<(), Failure> {
    let mut named = Vec::new();
    for (place, name, modules) in config.places() {
        let Some(script) = Named::of(&place, name, modules)? else { continue };
        match pinned.scripts.get_mut(&place).filter(|pinned| pinned.name == *name) {
            Some(pinned) => script.follow_modules(workspace, pinned, run)?,
            None => {
                let from = confined(workspace, name, &plugin_place(&place))?;
                pinned.scripts.insert(place.clone(), script.pin(workspace, &from, run)?);
            }
        }
        named.push(place);
    }
    pinned.scripts.retain(|place, _| named.contains(place));
    Ok(())
}

fn read(from: &Path) -> Result<Vec<u8>, Failure> {
    read_named(from, FILE_MAX).map_err(|error| Failure::machine(format!("`{}` cannot be read", from.display()), error))
}

/// Copies a script or a module into the run.
fn keep(from: &Path, run: &RunDir) -> Result<PinnedFile, Failure> {
    let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, "txt"));
    store_file(&read(from)?, (stem, end), run)
}

/// A script that is in no run, with what carries it out and what it may read.
#[derive(Debug)]
pub struct LooseScript {
    /// What its runner is told of it, as canonical text.
    pub more: String,
    /// The bytes of its runner.
    pub runner: Cow<'static, [u8]>,
    /// The script and its modules by their SHA-256.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Reads a script of a workspace with its modules, as a run would pin them; nothing if the plugin is none.
///
/// # Errors
/// If there is no runner for it, or a file is refused or cannot be read.
pub fn loose_script(
    workspace: &Path,
    place: &str,
    name: &str,
    modules: &[String],
) -> Result<Option<LooseScript>, Failure> {
    let Some(script) = Named::of(place, name, modules)? else { return Ok(None) };
    let from = confined(workspace, name, &plugin_place(place))?;
    let mut files = BTreeMap::new();
    let mut take = |from: &Path| -> Result<PinnedFile, Failure> {
        let bytes = read(from)?;
        let (digest, size) = (sha256(&bytes), bytes.len() as u64);
        files.insert(digest.clone(), bytes);
        Ok(PinnedFile::new(String::new(), digest, size))
    };
    let file = take(&from)?;
    let modules = script.find_modules(workspace)?.into_iter().map(|(name, from)| Ok((name, take(&from)?)));
    let pinned = PinnedScript { name: name.to_owned(), file, modules: modules.collect::<Result<_, Failure>>()? };
    let runner = runner(script.language, &plugin_place(place), name)?;
    Ok(Some(LooseScript { more: pinned.more(), runner, files }))
}

/// What `amend … plugin` has put in place.
#[derive(Debug)]
pub struct NewPlugin {
    /// What it is called.
    pub name: String,
    /// SHA-256 of the component, or of the script.
    pub sha256: String,
    /// The modules of a script, with their digests.
    pub modules: BTreeMap<String, String>,
    /// How many other parts of the configuration it is the plugin of too.
    pub others: usize,
}

/// A plugin that a person names for a run.
pub(super) enum Given<'a> {
    /// What carries out the scripts of a language, as this program has it.
    Runner(Language),
    /// A script.
    Script(Language),
    /// A component: a file, or a standard plugin.
    Component(&'a Path),
}

impl<'a> Given<'a> {
    pub(super) fn of(file: &'a Path) -> Self {
        let name = file.to_str().unwrap_or_default();
        if let Some(language) = name.strip_prefix(BUILTIN).and_then(Language::of_runner) {
            return Self::Runner(language);
        }
        Language::of(name).map_or(Self::Component(file), Self::Script)
    }
}

/// Copies another plugin into the run in the place of the one that it has: a component, a script with the workspace's
/// present copies of its modules, or what carries out its script.
///
/// # Errors
/// If it cannot be read or copied, or there is no such operator.
pub fn exchange_plugin(
    dir: &RunDir,
    config: &mut RunConfig,
    operator: Option<&str>,
    file: &Path,
) -> Result<NewPlugin, Failure> {
    let place = operator.map_or_else(|| CAMPAIGN.to_owned(), operator_place);
    let of_others = config.places().filter(|(of, _, _)| *of != place).map(|(_, plugin, _)| component(plugin)).collect();
    let (present, modules) = match operator {
        None => (&mut config.campaign.plugin, &mut config.campaign.modules),
        Some(key) => {
            let found = config.operators.get_mut(key);
            let found = found.ok_or_else(|| Failure::input(format!("run `{}` has no operator `{key}`", dir.id())))?;
            (&mut found.plugin, &mut found.modules)
        }
    };
    let pinned = config.pinned.get_or_insert_default();
    let workspace = workspace_of(dir).and_then(|path| std::fs::canonicalize(path).ok()).unwrap_or_default();
    let exchange = Exchange { dir, place: &place, workspace: &workspace, of_others, present, modules, pinned };
    let (name, sha256) = match Given::of(file) {
        Given::Runner(language) => exchange.runner(language)?,
        Given::Script(language) => exchange.script(language, file)?,
        Given::Component(file) => exchange.component(file)?,
    };
    let of_script = config.script(&place).filter(|script| script.name == name);
    let modules = of_script.map(|script| script.modules.iter().map(|(name, file)| (name.clone(), file.sha256.clone())));
    let modules = modules.map(Iterator::collect).unwrap_or_default();
    let shares = |plugin: &str| of_script.is_none() && component(plugin) == name;
    let others = config.places().filter(|(other, plugin, _)| *other != place && shares(plugin)).count();
    Ok(NewPlugin { name, sha256, modules, others })
}

/// One part of a configuration whose plugin is exchanged.
struct Exchange<'a> {
    dir: &'a RunDir,
    place: &'a str,
    workspace: &'a Path,
    /// The components of the other parts, by their names.
    of_others: BTreeSet<String>,
    present: &'a mut String,
    modules: &'a mut Vec<String>,
    pinned: &'a mut Pinned,
}

impl Exchange<'_> {
    /// Puts another runner under the script. Returns what was exchanged, with its digest.
    fn runner(self, language: Language) -> Result<(String, String), Failure> {
        refuse_no_script(self.place, self.present, language)?;
        let kept = store_runner(language, &plugin_place(self.place), self.present, self.dir)?;
        let (name, digest) = (component(self.present), kept.sha256.clone());
        self.pinned.plugins.insert(name.clone(), kept);
        Ok((name, digest))
    }

    /// Puts a script in place; what carries it out stays, if the run has it.
    fn script(self, language: Language, file: &Path) -> Result<(String, String), Failure> {
        let (name, from) = script_file(self.workspace, file)?;
        let script = Named { place: self.place, name: &name, language, modules: self.modules };
        let kept = script.pin(self.workspace, &from, self.dir)?;
        if let Entry::Vacant(none) = self.pinned.plugins.entry(component(&name)) {
            none.insert(store_runner(language, &plugin_place(self.place), &name, self.dir)?);
        }
        let digest = kept.file.sha256.clone();
        self.pinned.scripts.insert(self.place.to_owned(), kept);
        self.present.clone_from(&name);
        Ok((name, digest))
    }

    /// Puts a component in place.
    fn component(self, file: &Path) -> Result<(String, String), Failure> {
        let bytes = read_plugin(file)?;
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = stem.strip_prefix(BUILTIN).map_or(stem.as_str(), |short| short).to_owned();
        let kept = store_plugin(&bytes, &stem, self.dir)?;
        if self.pinned.scripts.remove(self.place).is_some() {
            // a name that ends as a script's would be taken for one
            let name = in_workspace(self.workspace, file).unwrap_or_else(|| file_name(file));
            let as_theirs = |theirs: &PinnedFile| theirs.sha256 == kept.sha256;
            let taken = self.of_others.contains(&name) && !self.pinned.plugins.get(&name).is_some_and(as_theirs);
            // another part's plugin of this name stays what it is
            *self.present = if taken { kept.path.clone() } else { name };
            self.modules.clear();
        }
        let (name, digest) = (self.present.clone(), kept.sha256.clone());
        self.pinned.plugins.insert(name.clone(), kept);
        Ok((name, digest))
    }
}

/// Refuses another runner for what is no script of its language.
fn refuse_no_script(place: &str, present: &str, language: Language) -> Result<(), Failure> {
    if Language::of(present) == Some(language) {
        return Ok(());
    }
    let runs = language.runner();
    let what = format!(
        "`{BUILTIN}{runs}` carries out scripts in {}, and {place}.plugin is `{present}`, which is none",
        language.as_str()
    );
    Err(Failure::input(what).hint("name the script itself, such as `amend RUN plugin campaign.py`"))
}

/// A script that a person names, from here or by its path in the workspace: what it is called, and where it lies.
fn script_file(workspace: &Path, file: &Path) -> Result<(String, PathBuf), Failure> {
    let there = [file.to_owned(), workspace.join(file)].into_iter().find_map(|path| {
        let real = std::fs::canonicalize(path).ok()?;
        real.is_file().then_some(real)
    });
    let Some(real) = there else {
        return Err(Failure::input(format!("there is no script `{}`", file.display()))
            .hint("name it by a path from here, or by its path in the workspace"));
    };
    let name = real.strip_prefix(workspace).ok().and_then(Path::to_str).map(str::to_owned);
    Ok((name.unwrap_or_else(|| file_name(&real)), real))
}

/// The path in the workspace of a file that a person names.
fn in_workspace(workspace: &Path, file: &Path) -> Option<String> {
    Some(std::fs::canonicalize(file).ok()?.strip_prefix(workspace).ok()?.to_str()?.to_owned())
}

fn file_name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
