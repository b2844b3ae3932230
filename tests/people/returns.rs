//! Returns that are foreign, altered, cut short or hostile: each is refused by name, and nothing of it is taken.
use super::kits::{carried, import, only_kit, returned};
use super::{directory, record, waiting, world};
use crate::support::world::World;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use tar::{Archive, Builder, EntryType, Header};

/// A run with a kit that has come back, and its return.
struct Back {
    world: World,
    cluster: tempfile::TempDir,
    kit: PathBuf,
    file: PathBuf,
    before: BTreeSet<PathBuf>,
}

fn back() -> Back {
    let tasks = json!([{"id": "sum", "operator": "kit", "command": "echo 1 > out.txt", "outputs": ["*.txt"]}]);
    let world = world(&tasks);
    waiting(&world);
    let (cluster, folder) = carried(&world, &[]);
    let kit = only_kit(&folder);
    let file = returned(&kit);
    let before = names(&directory(&world, "sum"));
    Back { world, cluster, kit, file, before }
}

fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let all = std::fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    all.filter(|path| !path.ends_with(".import.lock")).collect()
}

type Item = (String, EntryType, Vec<u8>);

fn unpack(file: &Path) -> Vec<Item> {
    let mut archive = Archive::new(GzDecoder::new(std::fs::File::open(file).expect("a return")));
    let entries = archive.entries().expect("entries");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("bytes");
            let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
            (path, entry.header().entry_type(), bytes)
        })
        .collect()
}

/// Packs items as they are, whatever their names say.
fn pack(items: &[Item], to: &Path) {
    let mut builder = Builder::new(GzEncoder::new(std::fs::File::create(to).expect("a file"), Compression::fast()));
    for (path, kind, bytes) in items {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        // `set_path` refuses what an attacker would write.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_size(0);
            header.set_link_name("/etc/passwd").expect("a link");
        }
        header.set_cksum();
        builder.append(&header, bytes.as_slice()).expect("an entry");
    }
    builder.into_inner().expect("an archive").finish().expect("a stream");
}

impl Back {
    /// Imports the return with its items changed; it must be refused with these words, and nothing may be left of it.
    #[track_caller]
    fn refused(&self, words: &[&str], change: impl FnOnce(&mut Vec<Item>)) {
        let mut items = unpack(&self.file);
        change(&mut items);
        let file = self.cluster.path().join("changed.tar.gz");
        pack(&items, &file);
        self.refused_file(words, &file);
    }

    #[track_caller]
    fn refused_file(&self, words: &[&str], file: &Path) {
        let done = import(&self.world, file).code(2);
        for word in words.iter().copied().chain([file.to_str().expect("UTF-8"), "hint:"]) {
            assert!(done.stderr.contains(word), "{word}: {done:?}");
        }
        assert_eq!(names(&directory(&self.world, "sum")), self.before, "nothing of it is left");
    }

    fn item(&self, items: &mut [Item], end: &str) -> usize {
        items.iter().position(|(path, ..)| path.ends_with(end)).expect("an item")
    }
}

#[test]
fn a_return_that_is_cut_short_is_refused() {
    let back = back();
    let whole = std::fs::read(&back.file).expect("a return");
    for length in [0, 10, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let file = back.cluster.path().join("cut.tar.gz");
        std::fs::write(&file, &whole[..length]).expect("a file");
        back.refused_file(&["truncated or damaged"], &file);
    }
    let mut flipped = whole.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let file = back.cluster.path().join("flipped.tar.gz");
    std::fs::write(&file, flipped).expect("a file");
    back.refused_file(&["truncated or damaged"], &file);
    std::fs::write(&file, "no archive").expect("a file");
    back.refused_file(&["truncated or damaged"], &file);
    import(&back.world, &back.file).code(0);
}

#[test]
fn a_return_that_was_altered_is_refused() {
    let back = back();
    back.refused(&["altered", "`files/output/out.txt`", "digest"], |items| {
        let at = back.item(items, "out.txt");
        items[at].2 = b"2\n".to_vec();
    });
    back.refused(&["altered", "seal"], |items| {
        let (at, sums) = (back.item(items, "out.txt"), back.item(items, "SHA256SUMS"));
        items[at].2 = b"2\n".to_vec();
        let digest = matterstack::model::document::sha256(b"2\n");
        items[sums].2 = format!("{digest}  files/output/out.txt\n").into_bytes();
    });
    back.refused(&["altered", "is missing"], |items| {
        let at = back.item(items, "out.txt");
        items.remove(at);
    });
    back.refused(&["altered", "not listed"], |items| {
        let (top, ..) = items[0].0.split_once('/').map(|(top, _)| (top.to_owned(),)).expect("a folder");
        items.push((format!("{top}/files/output/more.txt"), EntryType::Regular, b"x".to_vec()));
    });
    back.refused(&["not the return of a kit", "`RETURN`"], |items| {
        items.remove(0);
    });
    back.refused_file(&["not the return of a kit"], &back.kit.parent().expect("a bundle").join("../kits.tar.gz"));
}

#[test]
fn a_return_of_another_attempt_is_refused() {
    let (back, other) = (back(), back());
    let foreign = import(&back.world, &other.file).code(2);
    assert!(foreign.stderr.contains("is foreign") && foreign.stderr.contains("attempt `"), "{foreign:?}");
    let id = super::attempt(&back.world, "sum")["attempt_id"].as_str().expect("an id").to_owned();
    let theirs = super::attempt(&other.world, "sum")["attempt_id"].as_str().expect("an id").to_owned();
    let mut items = unpack(&other.file);
    items[0].2 = String::from_utf8(items[0].2.clone()).expect("UTF-8").replace(&theirs, &id).into_bytes();
    let file = back.cluster.path().join("stolen.tar.gz");
    pack(&items, &file);
    back.refused_file(&["altered, or was made with the kit of another attempt"], &file);
}

#[test]
fn entries_that_escape_and_entries_that_are_no_files_are_refused() {
    let back = back();
    for path in ["../../escaped", "/tmp/escaped", "x/files/../../../escaped", "escaped"] {
        back.refused(&["not the return of a kit", "leaves its folder"], |items| {
            items.insert(2, (path.to_owned(), EntryType::Regular, b"x".to_vec()));
        });
    }
    for (kind, word) in [
        (EntryType::Symlink, "is a link"),
        (EntryType::Link, "is a link"),
        (EntryType::Fifo, "neither a file nor a folder"),
        (EntryType::Char, "neither a file nor a folder"),
        (EntryType::GNUSparse, "neither a file nor a folder"),
    ] {
        back.refused(&["not the return of a kit", word], |items| {
            items.push(("x/files/odd".to_owned(), kind, Vec::new()));
        });
    }
    assert!(!back.cluster.path().join("escaped").exists());
}

#[test]
fn a_return_that_would_unpack_to_too_much_is_refused_before_it_does() {
    let back = back();
    let file = back.cluster.path().join("bomb.tar.gz");
    let mut items = unpack(&back.file);
    let bomb = vec![0_u8; 20 * 1024 * 1024];
    items.push(("x/files/bomb".to_owned(), EntryType::Regular, bomb.clone()));
    pack(&items, &file);
    let words = ["kit", "import", file.to_str().expect("UTF-8"), "--max-mb", "10"];
    let refused = back.world.run(&words).code(2);
    assert!(refused.stderr.contains("10485760 bytes") && refused.stderr.contains("--max-mb"), "{refused:?}");
    items.pop();
    items.insert(0, ("long".to_owned(), EntryType::GNULongName, bomb));
    pack(&items, &file);
    back.refused_file(&["too large", "a header of 20971520 bytes"], &file);
    let many: Vec<Item> = (0..200_001).map(|n| (format!("x/{n}"), EntryType::Regular, Vec::new())).collect();
    pack(&many, &file);
    back.refused_file(&["too large", "200000 entries"], &file);
}

#[test]
fn one_return_is_taken_and_a_second_one_is_told() {
    let back = back();
    import(&back.world, &back.file).code(0);
    let status = back.kit.join("status.json");
    std::fs::write(status, "{\"status\": \"completed\", \"data\": {\"exit_code\": 1}}").expect("another status");
    let other = returned_again(&back.kit);
    let second = import(&back.world, &other).code(2);
    assert!(second.stderr.contains("comes second") && second.stderr.contains(" (uid "), "{second:?}");
    back.world.run(&["loop", "r"]).code(0);
    import(&back.world, &other).code(2);
    assert_eq!(record(&back.world, "sum").0, json!({"exit_code": 0}));
}

fn returned_again(kit: &Path) -> PathBuf {
    let packed = super::kits::sh(&kit.join("return.sh"));
    PathBuf::from(String::from_utf8(packed.stdout).expect("UTF-8").trim())
}

#[test]
fn an_import_that_was_killed_can_be_repeated() {
    let back = back();
    let file = back.file.to_str().expect("UTF-8");
    let killed = back.world.run_with(&["kit", "import", file], &[("MATTERSTACK_FAILPOINT", "import.status")]);
    assert_eq!(killed.code, None, "{killed:?}");
    import(&back.world, &back.file).code(0);
    back.world.run(&["loop", "r"]).code(0);
    let tasks = back.world.run(&["tasks", "r", "--json"]).code(0).json();
    assert_eq!(tasks[0]["outputs"].as_array().expect("outputs").len(), 1, "{tasks}");
}

#[test]
fn a_return_that_comes_after_the_end_is_refused() {
    let back = back();
    back.world.run(&["cancel", "r"]).code(0);
    back.world.step_to_end();
    let late = import(&back.world, &back.file).code(2);
    assert!(late.stderr.contains("comes too late") && late.stderr.contains("cancelled"), "{late:?}");
}
