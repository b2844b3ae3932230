//! Native code on disk: used when it is ours and whole, compiled again otherwise.
use super::*;
use std::fs::File;
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
        only_entry(&self.directory())
    }

    fn inode(&self) -> u64 {
        fs::symlink_metadata(self.entry()).unwrap().ino()
    }
}

/// What lies in a cache of one plugin.
fn only_entry(directory: &Path) -> PathBuf {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0)
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

/// A cache with the native code of a large plugin, and a note that it was looked through.
struct Noted {
    scratch: tempfile::TempDir,
    entry: PathBuf,
    note: PathBuf,
}

impl Noted {
    fn new() -> Self {
        static COMPILED: OnceLock<tempfile::TempDir> = OnceLock::new();
        let compiled = COMPILED.get_or_init(|| {
            let scratch = tempfile::tempdir().unwrap();
            Self::plan_in(scratch.path());
            scratch
        });
        let mut native = fs::read_dir(compiled.path()).unwrap().map(|entry| entry.unwrap().path());
        let made = native.find(|path| path.extension().is_some_and(|kind| kind == "native")).unwrap();
        assert!(fs::metadata(&made).unwrap().len() > 4 * 1024 * 1024, "it is not large");
        let scratch = tempfile::tempdir().unwrap();
        let entry = scratch.path().join("native").join(made.file_name().unwrap());
        fs::create_dir(entry.parent().unwrap()).unwrap();
        fs::copy(&made, &entry).unwrap();
        let before = fs::metadata(&entry).unwrap().ino();
        let plan = || Self::plan_in(&scratch.path().join("native"));
        let note = entry.with_added_extension("seen");
        // what was written just now may be written again within the same time
        crate::support::until("the entry is noted", || {
            plan();
            note.exists()
        });
        assert_eq!(fs::metadata(&entry).unwrap().ino(), before, "a copy of a sound entry is one");
        Self { scratch, entry, note }
    }

    /// Plans with a new host.
    fn plan_in(cache: &Path) {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let path = target.join("guests-test/loop-javascript.wasm");
        assert!(path.exists(), "`cargo xtask test` builds {}", path.display());
        let mut bench = Bench::with_cache(PluginLimits::default(), cache.to_owned());
        bench.host.set_campaign(source(&path));
        bench.plan(json!({"lo": 0, "hi": 1003, "target": 613, "iterations": 4})).unwrap();
    }

    fn plan(&self) {
        Self::plan_in(&self.scratch.path().join("native"));
    }

    fn inode(&self) -> u64 {
        fs::symlink_metadata(&self.entry).unwrap().ino()
    }

    /// The times of the entry, as a note has them.
    fn times(&self) -> String {
        let found = fs::metadata(&self.entry).unwrap();
        format!("{:?} {:?}", (found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()))
    }

    /// Flips a bit of the seal, which no code is run from, and leaves all else as it was, the time of the last write
    /// included.
    fn break_seal(&self) {
        let (mut bytes, written) = (fs::read(&self.entry).unwrap(), fs::metadata(&self.entry).unwrap().modified());
        let end = bytes.len();
        bytes[end - 1] ^= 1;
        let file = File::options().write(true).open(&self.entry).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[end - 1..], end as u64 - 1).unwrap();
        file.set_modified(written.unwrap()).unwrap();
    }
}

#[test]
fn a_large_entry_is_looked_through_again_when_something_of_it_has_changed() {
    let noted = Noted::new();
    let before = noted.inode();
    noted.plan();
    assert_eq!(noted.inode(), before);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&noted.note) & 0o022, 0);
    noted.break_seal();
    noted.plan();
    assert_ne!(noted.inode(), before, "the note is as it was, and the time of the last change tells");
    assert!(fs::read_to_string(&noted.note).unwrap().contains(&before.to_string()), "nothing is noted of the new one");
}

#[test]
fn a_note_is_believed_of_the_entry_that_it_is_about_and_only_as_its_owner_left_it() {
    let noted = Noted::new();
    let (before, old) = (noted.inode(), noted.times());
    noted.break_seal();
    let text = fs::read_to_string(&noted.note).unwrap();
    assert!(text.contains(&old), "{text} does not say {old}");
    let forged = text.replace(&old, &noted.times());
    fs::write(&noted.note, &forged).unwrap();
    noted.plan();
    assert_eq!(noted.inode(), before, "it is believed, and nothing is looked through");

    let distrusted = |why: &str, spoil: &dyn Fn(&Path, &str)| {
        let noted = Noted::new();
        let (before, old) = (noted.inode(), noted.times());
        noted.break_seal();
        let forged = fs::read_to_string(&noted.note).unwrap().replace(&old, &noted.times());
        fs::write(&noted.note, &forged).unwrap();
        spoil(&noted.note, &forged);
        noted.plan();
        assert_ne!(noted.inode(), before, "{why}");
    };
    let mode = fs::Permissions::from_mode(0o666);
    distrusted("others may write to it", &|note, _| fs::set_permissions(note, mode.clone()).unwrap());
    distrusted("it is torn", &|note, text| fs::write(note, &text[..text.len() / 2]).unwrap());
    distrusted("it is a link", &|note, text| {
        let aside = note.with_extension("aside");
        fs::write(&aside, text).unwrap();
        fs::remove_file(note).unwrap();
        std::os::unix::fs::symlink(&aside, note).unwrap();
    });
    distrusted("it is a day old", &|note, _| {
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
        File::options().write(true).open(note).unwrap().set_modified(then).unwrap();
    });
}
