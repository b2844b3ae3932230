//! Native code of plugins: made once for each plugin and kind of engine, on disk where there is a cache, else kept by
//! this process.
//!
//! An entry is one file: the code, a mark, and a seal. The seal is the SHA-256 of the entry's name, in which the
//! plugin's digest and the engine stand, and of the code, so that an entry that is cut short, changed, or another
//! plugin's under this name is a miss, as is one that others may write to: the plugin is compiled again and the entry
//! replaced. The seal is no secret; who may write to the user's own cache may also start the user's programs. The code
//! comes first, so that a call runs it out of the file: a process that makes one call touches a part of it, and copies
//! nothing. Large entries are looked through once and not by each process: [`seen`] says what is believed of that.
use super::engine::{self, Kind, Role};
use super::error::{PluginError, PluginErrorKind};
use super::{compile, inspect, seen, survey};
use crate::ground::digest::{Stamp, digest_of};
use crate::ground::files::{is_own, open_path_with, open_regular_path, read_whole};
use crate::ground::machine::{self, FileSystem};
use crate::model::document::sha256;
use crate::model::limit::{Bound, CompileLimits};
use crate::model::script;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

/// What stands between the code and the seal.
const MARK: &[u8; 8] = b"MSNATIV2";
/// Bytes of the seal.
const SEAL: usize = 32;
/// Bytes of the mark and the seal.
const TAIL: usize = MARK.len() + SEAL;
/// Bytes of an entry that are hashed at once.
const PIECE: usize = 64 * 1024;
/// The largest plugin file, in bytes.
const PLUGIN_MAX: u64 = 512 * 1024 * 1024;

/// A pinned plugin.
#[derive(Debug, Clone)]
pub struct PluginSource {
    /// As the configuration names it.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
    /// The SHA-256 they must have.
    pub sha256: String,
    /// What it is told of the script that it carries out, a JSON object; none if it is the plugin itself.
    pub script: Option<String>,
}

/// What is told beside arguments to a plugin that carries out no script.
pub(super) const NOTHING_MORE: &str = "{}";

impl PluginSource {
    /// What is compiled: for a script what carries it out.
    fn component(&self) -> String {
        if self.script.is_some() { script::component(&self.name) } else { self.name.clone() }
    }

    /// What it is told beside its arguments.
    pub(super) fn more(&self) -> &str {
        self.script.as_deref().unwrap_or(NOTHING_MORE)
    }

    /// Checks that the plugin is there and the one that is pinned. What this process has checked already and is as it
    /// was is not read again.
    ///
    /// # Errors
    /// If it cannot be read, or is not the one.
    pub(super) fn check(&self) -> Result<(), PluginErrorKind> {
        let digest = open_regular_path(&self.path)
            .and_then(|file| file.metadata())
            .and_then(|metadata| digest_of(&self.path, &metadata));
        self.agree(&digest.map_err(|error| self.unread(&error))?)
    }

    fn agree(&self, digest: &str) -> Result<(), PluginErrorKind> {
        if digest == self.sha256 {
            return Ok(());
        }
        let path = self.path.display();
        Err(PluginErrorKind::Load(format!("`{path}` has the digest {digest}, and {} is pinned", self.sha256)))
    }

    fn unread(&self, error: &std::io::Error) -> PluginErrorKind {
        PluginErrorKind::Load(format!("`{}` cannot be read: {error}", self.path.display()))
    }

    /// Reads the plugin.
    ///
    /// # Errors
    /// If it cannot be read, is no component, or not the one that is pinned.
    pub(super) fn read(&self) -> Result<Vec<u8>, PluginErrorKind> {
        let file = open_regular_path(&self.path).map_err(|error| self.unread(&error))?;
        let bytes = read_whole(file, PLUGIN_MAX).map_err(|error| self.unread(&error))?;
        self.agree(&sha256(&bytes))?;
        Ok(bytes)
    }
}

/// Makes native code of plugins, and keeps it.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// Where native code is kept; without it every process compiles.
    pub cache_dir: Option<PathBuf>,
    /// Our own program, which compiles in a process of its own.
    pub program: PathBuf,
    /// What that process may take.
    pub limits: CompileLimits,
}

/// The name of an entry: of a plugin, and of the engine that the code is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

impl Name {
    fn new(kind: Kind, digest: &str) -> Self {
        Self(format!("{digest}-{}.native", engine::mark(kind)))
    }

    fn seal(&self, code: &[u8]) -> std::io::Result<[u8; SEAL]> {
        self.seal_of(&mut { code }, code.len() as u64)
    }

    /// The seal of so many bytes.
    fn seal_of(&self, code: &mut impl Read, length: u64) -> std::io::Result<[u8; SEAL]> {
        let mut hasher = Sha256::new().chain_update(&self.0).chain_update([0]);
        let (mut piece, mut left) = ([0; PIECE], length);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            code.read_exact(&mut piece[..most])?;
            hasher.update(&piece[..most]);
            left -= most as u64;
        }
        Ok(hasher.finalize().into())
    }

    /// Whether a file is code with this name's mark and seal.
    fn seals(&self, mut file: &File) -> Option<bool> {
        file.rewind().ok()?;
        let Some(length) = file.metadata().ok()?.len().checked_sub(TAIL as u64) else { return Some(false) };
        let seal = self.seal_of(&mut file, length).ok()?;
        let mut tail = [0; TAIL];
        file.read_exact(&mut tail).ok()?;
        Some(tail[..MARK.len()] == MARK[..] && tail[MARK.len()..] == seal)
    }
}

/// What this process has learnt and no cache keeps: code, with the cache that could not be written, or that a plugin
/// takes more than these limits to compile.
struct Learnt {
    code: BTreeMap<(Option<PathBuf>, Name), Arc<[u8]>>,
    refused: BTreeMap<Name, (CompileLimits, Bound)>,
}

static LEARNT: Mutex<Learnt> = Mutex::new(Learnt { code: BTreeMap::new(), refused: BTreeMap::new() });

fn learnt() -> std::sync::MutexGuard<'static, Learnt> {
    LEARNT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who is told that a plugin is compiled, which may take seconds.
static NOTICE: OnceLock<fn(&str)> = OnceLock::new();

/// Has a plugin's name told before it is compiled, by this process for the rest of its life; the first call counts.
pub fn when_compiling(notice: fn(&str)) {
    let _ = NOTICE.set(notice);
}

type Made<T> = Result<T, PluginErrorKind>;

impl Compiler {
    /// Sees to it that a plugin has native code, so that nothing is compiled while a run's lease is held.
    ///
    /// # Errors
    /// If it cannot be read or compiled.
    pub fn ready(&self, role: Role, source: &PluginSource) -> Result<(), PluginError> {
        let error = |kind| PluginError { plugin: source.name.clone(), call: None, kind };
        self.make_ready(role, &source.component(), &source.sha256, || source.read()).map_err(error)
    }

    /// As [`Compiler::ready`], for a plugin whose bytes are at hand; `name` is for messages.
    ///
    /// # Errors
    /// If it is no component, or cannot be compiled.
    pub fn ready_bytes(&self, role: Role, name: &str, bytes: &[u8]) -> Result<(), PluginError> {
        let error = |kind| PluginError { plugin: name.to_owned(), call: None, kind };
        self.make_ready(role, name, &sha256(bytes), || Ok(bytes.to_vec())).map_err(error)
    }

    fn make_ready(&self, role: Role, plugin: &str, digest: &str, bytes: impl FnOnce() -> Made<Vec<u8>>) -> Made<()> {
        let kind = Kind::here(role);
        let name = Name::new(kind, digest);
        if self.entry(&name).is_some_and(|path| path.exists()) || self.kept(&name).is_some() {
            return Ok(());
        }
        self.make(&name, kind, plugin, bytes).map(drop)
    }

    /// The component, for an engine that runs: from the cache, else compiled.
    pub(super) fn component(&self, engine: &Engine, kind: Kind, source: &PluginSource) -> Made<Component> {
        self.component_of(engine, kind, &source.component(), &source.sha256, || source.read())
    }

    pub(super) fn component_of(
        &self,
        engine: &Engine,
        kind: Kind,
        plugin: &str,
        digest: &str,
        bytes: impl FnOnce() -> Made<Vec<u8>>,
    ) -> Made<Component> {
        let name = Name::new(kind, digest);
        if let Some(entry) = self.opened(&name) {
            match self.load(engine, &name, &entry) {
                Some(component) => return Ok(component),
                // Whatever is wrong with it, it is made again; another process may have done so by now.
                None => drop(self.entry(&name).filter(|path| is_in_place(&entry, path)).map(fs::remove_file)),
            }
        }
        let code = match self.kept(&name) {
            Some(code) => code,
            None => self.make(&name, kind, plugin, bytes)?,
        };
        deserialize(engine, &code).map_err(unstarted)
    }

    fn kept(&self, name: &Name) -> Option<Arc<[u8]>> {
        learnt().code.get(&(self.cache_dir.clone(), name.clone())).cloned()
    }

    fn entry(&self, name: &Name) -> Option<PathBuf> {
        Some(self.cache_dir.as_ref()?.join(&name.0))
    }

    /// Compiles a plugin, one process at a time for each, and keeps its code.
    fn make(&self, name: &Name, kind: Kind, plugin: &str, bytes: impl FnOnce() -> Made<Vec<u8>>) -> Made<Arc<[u8]>> {
        if let Some((limits, bound)) = learnt().refused.get(name)
            && *limits == self.limits
        {
            return Err(PluginErrorKind::Compile(*bound));
        }
        let bytes = bytes()?;
        inspect::refuse_no_component(&bytes).map_err(PluginErrorKind::Load)?;
        survey::survey(&bytes).map_err(PluginErrorKind::Load)?;
        let only = self.cache_dir.as_deref().and_then(|cache| Only::take(cache, name));
        // Another process may just have done it.
        if only.is_some()
            && let Some(code) = self.cached(name)
        {
            return Ok(code);
        }
        if let Some(notice) = NOTICE.get() {
            notice(plugin);
        }
        let made = compile::in_a_process(&self.program, &self.limits, kind, &bytes);
        if let Err(PluginErrorKind::Compile(bound)) = &made {
            learnt().refused.insert(name.clone(), (self.limits.clone(), *bound));
        }
        let code: Arc<[u8]> = made?.into();
        let kept = self.cache_dir.as_deref().is_some_and(|cache| write(cache, name, &code).is_ok());
        if !kept {
            learnt().code.insert((self.cache_dir.clone(), name.clone()), code.clone());
        }
        Ok(code)
    }

    /// An entry that nobody else may have written.
    fn opened(&self, name: &Name) -> Option<File> {
        let file = open_regular_path(&self.entry(name)?).ok()?;
        is_own(&file.metadata().ok()?).then_some(file)
    }

    /// The component of an entry, if that is sound and for this engine. It runs out of the entry where it can: not from
    /// a server, under which it could vanish, nor where no program may be run. There it is copied, and the copy is what
    /// is looked through.
    fn load(&self, engine: &Engine, name: &Name, entry: &File) -> Option<Component> {
        let local = machine::file_system(&path_of(entry)).ok()? == FileSystem::Local;
        if local {
            if !self.is_sealed(name, entry) {
                return None;
            }
            if let Some(component) = map(engine, entry) {
                return Some(component);
            }
        }
        let (mut from, mut copy) = (entry, machine::file_in_memory(&[]).ok()?);
        from.rewind().ok()?;
        std::io::copy(&mut from, &mut copy).ok()?;
        if !name.seals(&copy)? {
            return None;
        }
        map(engine, &copy).or_else(|| deserialize(engine, &code_of(&copy)?).ok())
    }

    /// Whether an entry bears its seal, which is not looked at where it was and the entry is the same.
    fn is_sealed(&self, name: &Name, entry: &File) -> bool {
        let sealed = || {
            let (path, from) = (self.entry(name)?, SystemTime::now());
            let before = entry.metadata().ok()?;
            if seen::is_noted(&path, &before) {
                return Some(true);
            }
            let sealed = name.seals(entry)?;
            let after = entry.metadata().ok()?;
            if sealed && Stamp::of(&before) == Stamp::of(&after) {
                seen::note(&path, &after, from);
            }
            Some(sealed)
        };
        sealed().unwrap_or(false)
    }

    /// The code of a sound entry.
    fn cached(&self, name: &Name) -> Option<Arc<[u8]>> {
        let entry = self.opened(name)?;
        if name.seals(&entry)? { code_of(&entry).map(Into::into) } else { None }
    }
}

/// The open file, whatever has its name now.
fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn is_in_place(file: &File, path: &Path) -> bool {
    let numbers = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, there) = (file.metadata().map(numbers), fs::symlink_metadata(path).map(numbers));
    open.is_ok_and(|open| there.is_ok_and(|there| open == there))
}

/// What stands before the mark and the seal.
fn code_of(mut file: &File) -> Option<Vec<u8>> {
    file.rewind().ok()?;
    let mut code = Vec::new();
    file.read_to_end(&mut code).ok()?;
    code.truncate(code.len().checked_sub(TAIL)?);
    Some(code)
}

fn unstarted(error: wasmtime::Error) -> PluginErrorKind {
    PluginErrorKind::Unstarted(format!("{error:#}"))
}

#[expect(unsafe_code, reason = "native code can be loaded in no other way; the safety comment says what is checked")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: these very bytes, which nobody else can reach, are what a process of our own program made of this plugin
    // for this engine, or carry the seal that `write` gave to such. wasmtime itself refuses code of another version or
    // with other settings.
    unsafe { Component::deserialize(engine, code) }
}

#[expect(unsafe_code, reason = "native code can be loaded in no other way; the safety comment says what is checked")]
fn map(engine: &Engine, entry: &File) -> Option<Component> {
    // SAFETY: as for `deserialize`. The file is this user's alone, and nobody writes into an entry: another is put in
    // its place, which leaves this one as it is. One that was looked through earlier has not been changed since.
    unsafe { Component::deserialize_file(engine, path_of(entry)) }.ok()
}

fn make_directory(cache: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(cache)
}

/// Puts an entry in place by renaming. A crash leaves a file aside that nothing reads.
fn write(cache: &Path, name: &Name, code: &[u8]) -> std::io::Result<()> {
    make_directory(cache)?;
    // Where there are no locks, several threads may be here at once.
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let aside = cache.join(format!("{}.{}-{writer}.tmp", name.0, std::process::id()));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    let seal = name.seal(code)?;
    let written = file
        .write_all(code)
        .and_then(|()| file.write_all(MARK))
        .and_then(|()| file.write_all(&seal))
        .and_then(|()| fs::rename(&aside, cache.join(&name.0)));
    if written.is_err() {
        // A disk that is full shall not also keep the beginning of an entry.
        let _ = fs::remove_file(&aside);
    }
    written
}

/// The right to compile one plugin: a lock on a file of the cache, which goes when it is given back.
struct Only {
    path: PathBuf,
    _lock: File,
}

impl Only {
    /// Waits until nobody else compiles it; nothing where there can be no lock, which only costs.
    fn take(cache: &Path, name: &Name) -> Option<Self> {
        make_directory(cache).ok()?;
        let path = cache.join(format!("{}.lock", name.0));
        loop {
            let mut options = File::options();
            options.write(true).create(true).truncate(false).mode(0o600);
            let lock = open_path_with(&mut options, &path).ok()?;
            lock.lock().ok()?;
            // Who held it before has removed the file, and somebody else may have made another.
            let (held, there) = (lock.metadata().ok()?, fs::symlink_metadata(&path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
                return Some(Self { path, _lock: lock });
            }
        }
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
