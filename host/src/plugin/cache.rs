//! Native code on disk, so that no plugin is compiled twice.
//!
//! An entry is a file named after the plugin's digest and the engine's compatibility, and beside it the SHA-256 of that
//! file. An entry that is missing, cut short, changed, not ours or writable by others is a miss: the plugin is compiled
//! again and the entry replaced.
use crate::model::document::{hex, sha256};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Compiles a plugin, or takes its native code from the cache.
pub(super) fn load(engine: &Engine, wasm: &[u8], digest: &str, cache: Option<&Path>) -> wasmtime::Result<Component> {
    let Some(directory) = cache else { return Component::new(engine, wasm) };
    let entry = entry(engine, digest, directory);
    if let Some(component) = read(engine, &entry) {
        return Ok(component);
    }
    let component = Component::new(engine, wasm)?;
    if let Ok(code) = component.serialize() {
        // Without a cache everything works, only slower.
        let _ = write(directory, &entry, &code);
    }
    Ok(component)
}

fn entry(engine: &Engine, digest: &str, directory: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    directory.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
}

fn sum(entry: &Path) -> PathBuf {
    entry.with_extension("sha256")
}

#[allow(unsafe_code, reason = "native code can be loaded in no other way; the safety comment says what is checked")]
fn read(engine: &Engine, entry: &Path) -> Option<Component> {
    let expected = fs::read_to_string(sum(entry)).ok()?;
    let mut file =
        File::options().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32).open(entry).ok()?;
    let metadata = file.metadata().ok()?;
    let ours = metadata.uid() == crate::machine::user_id() && metadata.mode() & 0o022 == 0;
    if !ours || digest_of(&mut file).ok()? != expected.trim() {
        return None;
    }
    // SAFETY: the file holds what `serialize` wrote for this user: its digest is the recorded one, nobody else may write
    // to it, and it is only ever replaced by renaming. wasmtime itself refuses code of another version or engine.
    unsafe { Component::deserialize_file(engine, entry) }.ok()
}

fn digest_of(file: &mut File) -> std::io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0_u8; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn write(directory: &Path, entry: &Path, code: &[u8]) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let put = |path: &Path, bytes: &[u8]| -> std::io::Result<()> {
        let aside = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        fs::rename(&aside, path)
    };
    // The sum comes last: until then the entry is a miss.
    let _ = fs::remove_file(sum(entry));
    put(entry, code)?;
    put(&sum(entry), sha256(code).as_bytes())
}
