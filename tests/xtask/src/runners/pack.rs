//! Compresses the runners for the host's build script, which embeds what it finds.
use crate::project::{Project, say};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// As hard as it can be without special settings on the other side: it is done once for each runner.
const LEVEL: i32 = 19;

/// Puts beside every runner that was made what the host embeds: `NAME.wasm.zst`, and `NAME.txt` with digest and size.
pub(super) fn pack(project: &Project) -> Result<()> {
    let directory = project.target.join("runners");
    let Ok(entries) = fs::read_dir(&directory) else { return Ok(()) };
    for entry in entries {
        let path = entry.with_context(|| format!("`{}` cannot be read", directory.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            pack_one(&path).with_context(|| format!("`{}` cannot be compressed", path.display()))?;
        }
    }
    Ok(())
}

fn pack_one(component: &Path) -> Result<()> {
    let (packed, told) = (component.with_extension("wasm.zst"), component.with_extension("txt"));
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let made: SystemTime = changed(component)?;
    if [&packed, &told].into_iter().all(|file| changed(file).is_ok_and(|packed| packed > made)) {
        return Ok(());
    }
    say(&format!("compressing the runner `{}`", component.display()));
    let bytes = fs::read(component)?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    put(&packed, &zstd::bulk::compress(&bytes, LEVEL)?)?;
    put(&told, format!("{digest} {}\n", bytes.len()).as_bytes())
}

/// Puts a file in place when it is whole: what was cut short leaves nothing that looks new.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = path.with_added_extension("part");
    fs::write(&aside, bytes)?;
    Ok(fs::rename(&aside, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_runner_is_compressed_when_it_is_newer_and_tells_its_digest() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let (component, packed) = (scratch.path().join("python.wasm"), scratch.path().join("python.wasm.zst"));
        let make = |bytes: &[u8], ago: u64| {
            fs::write(&component, bytes).expect("a component");
            let file = fs::File::options().write(true).open(&component).expect("a component");
            file.set_modified(SystemTime::now() - Duration::from_secs(ago)).expect("a time");
            pack_one(&component).expect("packed");
            let packed = fs::read(&packed).expect("a packed component");
            (zstd::bulk::decompress(&packed, 1000).expect("bytes"), packed)
        };
        assert_eq!(make(b"first", 10).0, b"first");
        assert_eq!(make(b"other", 5).0, b"first", "what was packed since stays");
        fs::remove_file(&packed).expect("removed");
        assert_eq!(make(b"other", 5).0, b"other");
        let told = fs::read_to_string(scratch.path().join("python.txt")).expect("a digest");
        assert_eq!(told, format!("{} 5\n", "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"));
    }
}
