//! Native code on disk, so that no plugin is compiled twice.
//!
//! An entry is one file: a mark, a seal, and the code. The seal is the SHA-256 of the plugin's digest, the engine's
//! compatibility and the code, so that an entry that is cut short, changed, or another plugin's under this name is a
//! miss, as is one that others may write to: the plugin is compiled again and the entry replaced. The seal is no secret;
//! who may write to the user's own cache may also start the user's programs.
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The first bytes of an entry.
const MARK: &[u8; 8] = b"MSNATIV1";
/// Bytes of the mark and the seal.
const HEAD: usize = MARK.len() + 32;

/// Compiles a plugin, or takes its native code from the cache.
pub(super) fn load(engine: &Engine, wasm: &[u8], digest: &str, cache: Option<&Path>) -> wasmtime::Result<Component> {
    let Some(directory) = cache else { return Component::new(engine, wasm) };
    let name = name(engine, digest);
    let entry = directory.join(&name);
    if let Some(component) = read(engine, &entry, &name) {
        return Ok(component);
    }
    let component = Component::new(engine, wasm)?;
    if let Ok(code) = component.serialize() {
        // Without a cache everything works, only slower.
        let _ = write(directory, &entry, &name, &code);
    }
    Ok(component)
}

/// What the entry is for: the plugin and the engine.
fn name(engine: &Engine, digest: &str) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{digest}-{:016x}.native", hasher.finish())
}

fn seal(name: &str, code: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(name).chain_update([0]).chain_update(code).finalize().into()
}

#[allow(unsafe_code, reason = "native code can be loaded in no other way; the safety comment says what is checked")]
fn read(engine: &Engine, entry: &Path, name: &str) -> Option<Component> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = File::options().read(true).custom_flags(flags.bits() as i32).open(entry).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.uid() != crate::ground::machine::user_id() || metadata.mode() & 0o022 != 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?.checked_add(1)?);
    file.read_to_end(&mut bytes).ok()?;
    let (head, code) = bytes.split_at_checked(HEAD)?;
    if head[..MARK.len()] != MARK[..] || head[MARK.len()..] != seal(name, code) {
        return None;
    }
    // SAFETY: these very bytes, which nobody else can reach, carry the seal that `write` gave to what `serialize` made
    // of this plugin for this engine. wasmtime itself refuses code of another version or with other settings.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Puts an entry in place by renaming. A crash leaves a file aside that nothing reads.
fn write(directory: &Path, entry: &Path, name: &str, code: &[u8]) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Several runs may compile the same plugin at once, in this process too.
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let aside = entry.with_extension(format!("{}-{writer}.tmp", std::process::id()));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    let written = file
        .write_all(MARK)
        .and_then(|()| file.write_all(&seal(name, code)))
        .and_then(|()| file.write_all(code))
        .and_then(|()| fs::rename(&aside, entry));
    if written.is_err() {
        // A disk that is full shall not also keep the beginning of an entry.
        let _ = fs::remove_file(&aside);
    }
    written
}
