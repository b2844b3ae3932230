//! Native code on disk: used when it is ours and whole, compiled again otherwise.
use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

struct Cached {
    scratch: tempfile::TempDir,
}

impl Cached {
    fn new() -> Self {
        let cached = Self { scratch: tempfile::tempdir().unwrap() };
        cached.plan();
        cached
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path().join("native")
    }

    /// Plans with a new host.
    fn plan(&self) {
        let mut bench = Bench::with_cache(limits(), self.directory());
        let path = bench.file("workflow.wasm", builtin::builtin("workflow").unwrap());
        bench.host.set_campaign(source(&path));
        bench.plan(json!({"tasks": [{"id": "a", "operator": "local", "command": ["true"]}]})).unwrap();
    }

    fn entry(&self) -> PathBuf {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }

    fn inode(&self) -> u64 {
        fs::symlink_metadata(self.entry()).unwrap().ino()
    }
}

#[test]
fn an_entry_is_private_and_used_again() {
    let cached = Cached::new();
    let before = cached.inode();
    cached.plan();
    assert_eq!(cached.inode(), before);
    assert_eq!(fs::metadata(cached.entry()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(cached.directory()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_spoiled_entry_is_replaced() {
    let spoil = |name: &str, act: &dyn Fn(&Path, Vec<u8>)| {
        let cached = Cached::new();
        let (entry, good) = (cached.entry(), fs::read(cached.entry()).unwrap());
        act(&entry, good.clone());
        cached.plan();
        assert!(fs::symlink_metadata(&entry).unwrap().is_file(), "{name}");
        assert!(fs::read(cached.entry()).unwrap() == good, "{name}");
        let restored = cached.inode();
        cached.plan();
        assert_eq!(cached.inode(), restored, "{name}: the new entry is used");
    };
    spoil("flipped byte", &|path, mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    spoil("truncated", &|path, bytes| fs::write(path, &bytes[..bytes.len() / 3]).unwrap());
    spoil("empty", &|path, _| fs::write(path, b"").unwrap());
    spoil("text", &|path, _| {
        fs::write(path, b"not native code at all, and longer than the header of an entry").unwrap()
    });
    spoil("flipped seal", &|path, mut bytes| {
        let end = bytes.len();
        bytes[end - 20] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    spoil("foreign code", &|path, bytes| {
        let (other, mark) = (&b"a whole entry of another program"[..], &bytes[bytes.len() - 40..][..8]);
        fs::write(path, [other, mark, &Sha256::digest(other)].concat()).unwrap();
    });
    spoil("another plugin's entry", &|path, _| fs::write(path, entry_of_another()).unwrap());
    spoil("another engine's code under a good seal", &|path, _| {
        let (name, other) = (path.file_name().unwrap().to_str().unwrap(), entry_of_another());
        let (code, tail) = other.split_at(other.len() - 40);
        let seal = Sha256::new().chain_update(name).chain_update([0]).chain_update(code).finalize();
        fs::write(path, [code, &tail[..8], &seal[..]].concat()).unwrap();
    });
    spoil("pipe", &|path, _| {
        fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    });
    spoil("link", &|path, bytes| {
        let aside = path.parent().unwrap().parent().unwrap().join("aside");
        fs::write(&aside, bytes).unwrap();
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(&aside, path).unwrap();
    });
    spoil("writable by others", &|path, _| fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap());
}

/// A sound entry, of the operator `compute` for its own engine.
fn entry_of_another() -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_cache(limits(), scratch.path().join("native"));
    let path = bench.file("compute.wasm", builtin::builtin("compute").unwrap());
    bench.host.add_operator(key(), source(&path), granted(&["local"]));
    bench.host.load_all().unwrap();
    let entry = fs::read_dir(scratch.path().join("native")).unwrap().next().unwrap().unwrap();
    fs::read(entry.path()).unwrap()
}

#[test]
fn many_runs_fill_a_cache_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let cached = Cached { scratch };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| cached.plan()))));
    let before = cached.inode();
    cached.plan();
    assert_eq!(cached.inode(), before, "the entry is whole, and nothing is left beside it");
}

#[test]
fn a_cache_that_cannot_be_written_is_none() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("native"), b"a file in the way").unwrap();
    Cached { scratch }.plan();
}
