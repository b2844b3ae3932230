//! Staging over a real ssh connection: what arrives is what was sent, or nothing is put in place.
use crate::support::client::Client;
use crate::support::sshd::{Sshd, Wire};
use matterstack::backend::staging::{Carrier, Carry, CarryError, Fetched, Kept, Parcel, Put, RemoteFile, Wanted};
use matterstack::model::document::sha256;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A cluster's file system behind an sshd, and a run's directory here.
struct Site {
    sshd: Sshd,
    client: Client,
    here: tempfile::TempDir,
    root: String,
}

impl Site {
    fn new() -> Self {
        let sshd = Sshd::start();
        let (client, root) = (sshd.client(), sshd.path().join("remote root"));
        Self { client, here: tempfile::tempdir().expect("a scratch directory"), root: root.display().to_string(), sshd }
    }

    fn carrier(&self) -> Carrier<'_> {
        self.carrier_of(&self.client)
    }

    fn carrier_of<'a>(&'a self, client: &'a Client) -> Carrier<'a> {
        Carrier { transport: &**client, root: &self.root, run: "run-1", timeout: Duration::from_secs(60) }
    }

    fn there(&self, path: &str) -> PathBuf {
        Path::new(&self.root).join("run-1").join(path)
    }

    fn write_there(&self, path: &str, content: &[u8]) {
        let path = self.there(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    fn here(&self, attempt: &str) -> PathBuf {
        let path = self.here.path().join(attempt);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    fn parcel(&self, attempt: &str, files: &[(&str, &[u8])]) -> Parcel {
        let directory = self.here(attempt);
        for (name, content) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, content).expect("a file");
        }
        Parcel {
            attempt: attempt.to_owned(),
            directory: Some(directory),
            files: Vec::new(),
            linked: Vec::new(),
            carry: Carry::default(),
        }
    }

    fn wanted(&self, attempt: &str, outputs: &[&str], keep: &[&str]) -> Wanted {
        let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Wanted {
            attempt: attempt.to_owned(),
            directory: self.here(attempt),
            outputs: owned(outputs),
            keep: owned(keep),
            own: true,
        }
    }
}

/// Every file below a directory with its content.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(directory).expect("below").to_string_lossy().into_owned();
                found.insert(name, fs::read(entry.path()).unwrap_or_default());
            }
        }
    }
    found
}

const ODD: [&str; 8] = [
    "it's",
    "a b",
    "$(touch owned)",
    "-rf",
    "ä→\u{1f600}",
    "back\\slash",
    "deep/er/\"q\"",
    "--checkpoint-action=exec=sh x",
];

#[test]
fn a_batch_goes_in_one_stream_and_may_go_again() {
    let site = Site::new();
    let contents: Vec<(&str, &[u8])> = ODD.iter().map(|&name| (name, name.as_bytes())).collect();
    let mut parcels = vec![site.parcel("a1", &contents), site.parcel("a2", &[("x", &[0_u8, 255, 10])])];
    fs::set_permissions(site.here("a2").join("x"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::write(site.here("a2").join("stdout"), "the host's own").expect("a file");
    for _ in 0..2 {
        assert_eq!(site.carrier().put(&parcels).expect("put"), Put::default());
    }
    let mut found = files(&site.there("a1"));
    found.remove(".matterstack-staged");
    let expected: BTreeMap<String, Vec<u8>> =
        ODD.iter().map(|&name| (name.to_owned(), name.as_bytes().to_vec())).collect();
    assert_eq!(found, expected);
    let mode = fs::metadata(site.there("a2/x")).expect("there").permissions().mode();
    assert_eq!((mode & 0o100, site.there("a2/stdout").exists()), (0o100, false));
    assert_eq!(site.carrier().list().expect("a list"), ["a1", "a2"], "nothing is left aside");

    // a job has begun: its directory is its own
    fs::create_dir(site.there("a2/.claim")).expect("a claim");
    parcels[1] = site.parcel("a2", &[("x", b"other")]);
    site.carrier().put(&parcels).expect("put");
    assert_eq!(fs::read(site.there("a2/x")).expect("there"), [0, 255, 10]);
}

#[test]
fn links_are_not_sent() {
    let site = Site::new();
    let parcel = site.parcel("a1", &[("x", b"x")]);
    symlink("/etc/passwd", site.here("a1").join("link")).expect("a link");
    let error = site.carrier().put(&[parcel]).expect_err("a link");
    assert!(matches!(&error, CarryError::Here(_, cause) if cause.to_string().contains("`link`")), "{error:?}");
    assert_eq!(site.carrier().list().expect("a list"), [""; 0], "nothing was put in place");
}

#[test]
fn results_come_by_pattern_with_the_hosts_own_files() {
    let site = Site::new();
    site.carrier().put(&[site.parcel("a1", &[("in.json", b"{}")]), site.parcel("a2", &[])]).expect("put");
    for name in ODD {
        site.write_there(&format!("a1/out/{name}"), name.as_bytes());
    }
    for (name, content) in
        [("stdout", "out"), ("stderr", "err"), ("exit.json", "{}"), ("o.json", "1"), ("scratch.tmp", "no")]
    {
        site.write_there(&format!("a1/{name}"), content.as_bytes());
        site.write_there(&format!("a2/{name}"), content.as_bytes());
    }
    symlink("/etc/passwd", site.there("a1/link.json")).expect("a link");
    let wanted =
        [site.wanted("a1", &["*.json", "out/**"], &[]), site.wanted("a2", &[], &[]), site.wanted("a3", &["*"], &[])];
    for _ in 0..2 {
        let fetched = site.carrier().fetch(&wanted).expect("fetched");
        let expected = [("a1", Fetched::Yes(Vec::new())), ("a2", Fetched::Yes(Vec::new())), ("a3", Fetched::Gone)];
        assert_eq!(fetched, expected.map(|(attempt, fetched)| (attempt.to_owned(), fetched)).into());
    }
    let mut expected: BTreeMap<String, Vec<u8>> =
        ODD.iter().map(|name| (format!("out/{name}"), name.as_bytes().to_vec())).collect();
    for (name, content) in
        [("stdout", "out"), ("stderr", "err"), ("exit.json", "{}"), ("o.json", "1"), ("in.json", "{}")]
    {
        expected.insert(name.to_owned(), content.as_bytes().to_vec());
    }
    assert_eq!(files(&site.here("a1")), expected, "`in.json` is the staged one; links and scratch files stay");
    assert_eq!(files(&site.here("a2")).into_keys().collect::<Vec<_>>(), ["exit.json", "stderr", "stdout"]);
}

#[test]
fn x_bits_travel_both_ways() {
    let site = Site::new();
    let executes = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o111 != 0;
    let parcel = site.parcel("a1", &[("run", b"x"), ("data", b"x")]);
    fs::set_permissions(site.here("a1").join("run"), fs::Permissions::from_mode(0o755)).expect("a mode");
    site.carrier().put(&[parcel]).expect("put");
    assert!(executes(&site.there("a1/run")) && !executes(&site.there("a1/data")));
    for (name, mode) in [("tool", 0o755), ("plain", 0o644)] {
        site.write_there(&format!("a2/{name}"), name.as_bytes());
        fs::set_permissions(site.there("a2").join(name), fs::Permissions::from_mode(mode)).expect("a mode");
        let file = RemoteFile {
            attempt: "a2".into(),
            path: name.into(),
            sha256: sha256(name.as_bytes()),
            size: name.len() as u64,
        };
        assert_eq!(site.carrier().pull(&file, &mut Vec::new()).expect("pulled"), mode == 0o755, "{name}");
        let mut parcel = site.parcel(&format!("next-{name}"), &[]);
        parcel.linked.push((name.to_owned(), file));
        site.carrier().put(&[parcel]).expect("put");
        assert_eq!(executes(&site.there(&format!("next-{name}/{name}"))), mode == 0o755, "{name}");
    }
    site.carrier().fetch(&[site.wanted("a2", &["*"], &[])]).expect("fetched");
    assert!(executes(&site.here("a2").join("tool")) && !executes(&site.here("a2").join("plain")));
}

#[test]
fn folders_out_of_reach_are_not_looked_into_over_there() {
    // a `find` over there that tells where it has been
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let log = scratch.path().join("log");
    let script = format!("/usr/bin/find \"$@\" -o -fprint {}", log.display());
    crate::support::sshd::program(&scratch.path().join("find"), &script);
    let sshd = Sshd::with(None, &format!("SetEnv PATH={}:/usr/bin:/bin", scratch.path().display()));
    let (client, root) = (sshd.client(), sshd.path().join("root"));
    for path in ["r/a1/p/scratch/1", "r/a1/out/1/x", "r/a1/out/.git/x", "r/a1/result.csv"] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, "x").expect("a file");
    }
    let root = root.display().to_string();
    let carrier = Carrier { transport: &*client, root: &root, run: "r", timeout: Duration::from_secs(60) };
    let here = tempfile::tempdir().expect("a scratch directory");
    let outputs = vec!["result.csv".to_owned(), "out/*/x".to_owned()];
    let directory = here.path().join("a1");
    let wanted = Wanted { attempt: "a1".into(), directory: directory.clone(), outputs, keep: Vec::new(), own: true };
    let fetched = carrier.fetch(&[wanted]).expect("an answer");
    assert_eq!(fetched["a1"], Fetched::Yes(Vec::new()));
    assert_eq!(files(&directory).into_keys().collect::<Vec<_>>(), ["out/1/x", "result.csv"]);
    let seen = fs::read_to_string(log).expect("a log");
    assert!(seen.contains("./out") && !seen.contains("scratch") && !seen.contains(".git/x"), "{seen}");
}

#[test]
fn what_comes_back_cannot_leave_its_directory() {
    let site = Site::new();
    let outside = site.here.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    symlink(&outside, site.here("a1").join("way")).expect("a link");
    site.write_there("a1/way/x", b"x");
    let fetched = site.carrier().fetch(&[site.wanted("a1", &["**"], &[])]).expect("fetched");
    assert!(matches!(&fetched["a1"], Fetched::Never(_, why) if why.contains("cannot be put in place")), "{fetched:?}");
    assert_eq!(files(&outside).len(), 0);
}

#[test]
fn a_hostile_far_end_is_not_believed() {
    // a `tar` and a `sha256sum` over there that answer what they like
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let evil = scratch.path().join("evil.tar");
    let archive =
        tar_of(&[("./a1/../../escaped", b"x"), ("/tmp/absolute", b"x"), ("./a1/o", b"changed"), ("./other/o", b"x")]);
    fs::write(&evil, archive).expect("an archive");
    crate::support::sshd::program(&scratch.path().join("tar"), &format!("cat >/dev/null; exec cat {}", evil.display()));
    let sshd = Sshd::with(None, &format!("SetEnv PATH={}:{}", scratch.path().display(), crate::support::path()));
    let (client, root) = (sshd.client(), sshd.path().join("root"));
    fs::create_dir_all(root.join("r/a1")).expect("a directory");
    fs::write(root.join("r/a1/o"), "as it was").expect("a file");
    let root = root.display().to_string();
    let carrier = Carrier { transport: &*client, root: &root, run: "r", timeout: Duration::from_secs(60) };
    let here = tempfile::tempdir().expect("a scratch directory");
    let directory = here.path().join("d/a1");
    let wanted = Wanted {
        attempt: "a1".into(),
        directory: directory.clone(),
        outputs: vec!["**".into()],
        keep: Vec::new(),
        own: true,
    };
    let fetched = carrier.fetch(&[wanted]).expect("an answer");
    assert!(matches!(&fetched["a1"], Fetched::No(why) if why.contains("`o` was changed")), "{fetched:?}");
    assert_eq!(files(here.path()).len(), 0, "{:?}", files(here.path()));
}

/// An archive whose names are not checked by anybody.
fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in entries {
        let mut block = [0_u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000644");
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[148..156].copy_from_slice(b"        ");
        block[156] = b'0';
        block[257..263].copy_from_slice(b"ustar\0");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend(block);
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn large_files_stay_and_are_copied_over_there() {
    let site = Site::new();
    let large: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    site.write_there("a1/WAVECAR", &large);
    site.write_there("a1/o.json", b"1");
    let wire = Wire::to(site.sshd.address(), Duration::ZERO);
    site.sshd.write_config("wired", "id", wire.address(), "");
    let client = site.sshd.client_of("wired");
    let carrier = site.carrier_of(&client);
    let fetched = carrier.fetch(&[site.wanted("a1", &["*.json"], &["WAVE*"])]).expect("fetched");
    let kept = Kept { path: "WAVECAR".to_owned(), sha256: sha256(&large), size: large.len() as u64 };
    assert_eq!(fetched["a1"], Fetched::Yes(vec![kept.clone()]));
    assert_eq!(files(&site.here("a1")).into_keys().collect::<Vec<_>>(), ["o.json"]);

    let file =
        RemoteFile { attempt: "a1".into(), path: kept.path.clone(), sha256: kept.sha256.clone(), size: kept.size };
    let mut parcel = site.parcel("a2", &[("in", b"x")]);
    parcel.linked.push(("start/WAVECAR".to_owned(), file.clone()));
    assert_eq!(carrier.put(&[parcel.clone()]).expect("put"), Put::default());
    assert!(fs::read(site.there("a2/start/WAVECAR")).expect("there") == large);
    assert!(wire.bytes() < 100_000, "{} bytes went over the wire for a file that stayed", wire.bytes());

    // elsewhere it is needed here
    let mut bytes = Vec::new();
    carrier.pull(&file, &mut bytes).expect("pulled");
    assert!(bytes == large && wire.bytes() > 5_000_000);

    // changed since: neither copied nor pulled, and the other attempt of the batch goes its way
    fs::write(site.there("a1/WAVECAR"), "other").expect("a file");
    parcel.attempt = "a3".to_owned();
    let gone = carrier.put(&[parcel, site.parcel("a4", &[("in", b"x")])]).expect("put").refused;
    assert!(matches!(gone.as_slice(), [(attempt, why)] if attempt == "a3" && why.contains("`WAVECAR`")), "{gone:?}");
    assert_eq!((site.there("a3").exists(), site.there("a4/in").exists()), (false, true));
    assert!(matches!(carrier.pull(&file, &mut Vec::new()), Err(CarryError::Damaged(_))));
}

#[test]
fn what_an_attempt_left_goes_to_the_next_one_over_there() {
    let site = Site::new();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    site.carrier().put(&[site.parcel("a1", &[("d/given", b"given")])]).expect("put");
    site.write_there("a1/restart.1", &large);
    for name in ["d/deep", "d/it's \"$(touch owned)\" ä", "-rf", "notes", "stdout", "exit.json", ".claim/owner"] {
        site.write_there(&format!("a1/{name}"), name.as_bytes());
    }
    symlink("/etc/passwd", site.there("a1/d/link")).expect("a link");
    symlink("/etc", site.there("a1/d/way")).expect("a link");
    site.write_there("a1/new", b"of the job before");
    let wire = Wire::to(site.sshd.address(), Duration::ZERO);
    site.sshd.write_config("wired", "id", wire.address(), "");
    let client = site.sshd.client_of("wired");
    let carrier = site.carrier_of(&client);
    let carrying = |attempt: &str, patterns: &[&str], from: &str| {
        let mut parcel = site.parcel(attempt, &[("new", b"of this attempt")]);
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        parcel.carry = Carry { patterns, from: Some(from.to_owned()) };
        parcel
    };
    let second = carrying("a2", &["restart.*", "d/**", "-*", "**/exit.json", "stdout", "**/owner", "new"], "a1");
    for _ in 0..2 {
        assert_eq!(carrier.put(std::slice::from_ref(&second)).expect("put"), Put::default());
        let mut found = files(&site.there("a2"));
        assert!(found.remove("restart.1").is_some_and(|bytes| bytes == large));
        found.remove(".matterstack-staged");
        found.remove(".matterstack-carried");
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["-rf", "d/deep", "d/it's \"$(touch owned)\" ä", "new"],
            "not links, nor what is the host's or staged"
        );
        assert_eq!(found["new"], b"of this attempt");
        // a copy: writing into it changes nothing of the attempt before
        fs::write(site.there("a2/d/deep"), "longer than before").expect("a file");
        assert_eq!(fs::read(site.there("a1/d/deep")).expect("a file"), b"d/deep");
        fs::write(site.there("a2/d/deep"), "d/deep").expect("a file");
        // repeated, it is left as it is
        fs::remove_file(site.there("a1/d/deep")).expect("removed");
        fs::write(site.there("a1/d/deep"), "d/deep").expect("a file");
    }
    assert!(wire.bytes() < 100_000, "{} bytes went over the wire for files that stayed", wire.bytes());

    // what was carried is the attempt's own: it comes back, and goes on to a third
    let fetched = carrier.fetch(&[site.wanted("a2", &["restart.*"], &[])]).expect("fetched");
    assert_eq!(fetched["a2"], Fetched::Yes(Vec::new()));
    assert!(fs::read(site.here("a2").join("restart.1")).expect("here") == large);
    carrier.put(&[carrying("a3", &["restart.*"], "a2")]).expect("put");
    assert!(fs::read(site.there("a3/restart.1")).expect("there") == large);

    // nothing to go on from is told, and what is in the way concerns that attempt alone
    let mut blocked = carrying("a4", &["d/*"], "a1");
    fs::write(site.here("a4").join("d"), "a file").expect("a file");
    blocked.directory = Some(site.here("a4"));
    let put = carrier.put(&[blocked, carrying("a5", &["d/*"], "gone"), carrying("a6", &["d/*"], "a1")]).expect("put");
    assert!(
        matches!(put.refused.as_slice(), [(attempt, why)] if attempt == "a4" && why.contains("carried over")),
        "{put:?}"
    );
    assert_eq!(put.bare, ["a5"]);
    assert!(!site.there("a4").exists() && site.there("a5/new").exists() && site.there("a6/d/deep").exists());
}

#[test]
fn a_stream_that_breaks_puts_nothing_in_place() {
    let site = Site::new();
    let wire = Wire::to(site.sshd.address(), Duration::ZERO);
    site.sshd.write_config("wired", "id", wire.address(), "");
    let client = site.sshd.client_of("wired");
    let carrier = site.carrier_of(&client);
    let large = vec![7_u8; 3_000_000];
    carrier.put(&[site.parcel("a0", &[("x", b"x")])]).expect("put");
    wire.break_after(1_000_000);
    let parcels = [site.parcel("a1", &[("x", &large)]), site.parcel("a2", &[("x", b"x")])];
    let error = carrier.put(&parcels).expect_err("broken");
    assert!(matches!(error, CarryError::NoAnswer(_)), "{error:?}");
    wire.break_after(0);
    assert_eq!(carrier.list().expect("a list"), ["a0"], "half a stream was put in place");
    carrier.put(&parcels).expect("put");

    site.write_there("a1/o", &large);
    site.write_there("a2/o", b"o");
    wire.break_after_answer(1_000_000);
    let wanted = [site.wanted("a1", &["o"], &[]), site.wanted("a2", &["o"], &[])];
    let error = carrier.fetch(&wanted).expect_err("broken");
    assert!(matches!(error, CarryError::NoAnswer(_)), "{error:?}");
    assert!(!site.here("a1").join("o").exists() && !site.here("a2").join("o").exists());
    wire.break_after_answer(0);
    let fetched = carrier.fetch(&wanted).expect("fetched");
    assert!(fetched.values().all(|one| *one == Fetched::Yes(Vec::new())), "{fetched:?}");
    assert!(fs::read(site.here("a1").join("o")).expect("here") == large);
    assert_eq!(files(&site.here("a1")).into_keys().collect::<Vec<_>>(), ["o", "x"]);
}

#[test]
fn a_full_disk_over_there_is_said_and_nothing_is_put_in_place() {
    let site = Site::new();
    let root = Path::new(&site.root);
    fs::create_dir_all(root).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(root).status();
    assert!(
        mounted.is_ok_and(|status| status.success()),
        "a small tmpfs needs root; run the suite as root in a container"
    );
    let answers = (
        site.carrier().put(&[site.parcel("a1", &[("x", &vec![7_u8; 3_000_000])]), site.parcel("a2", &[("x", b"x")])]),
        site.carrier().list(),
        site.carrier().put(&[site.parcel("a2", &[("x", b"x")])]),
    );
    let unmounted = Command::new("umount").arg("-l").arg(root).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert!(matches!(answers.0, Err(CarryError::NoRoom(_))), "{answers:?}");
    assert_eq!(answers.1.expect("a list"), [""; 0], "what did not fit was not cleared away");
    answers.2.expect("room for a small one");
}

#[test]
fn directories_over_there_are_removed_on_request() {
    let site = Site::new();
    assert_eq!(site.carrier().remove(&["a1".to_owned()]).expect("nothing there"), 0);
    site.carrier().put(&[site.parcel("a1", &[("x", &[7; 100_000])]), site.parcel("a2", &[("x", b"x")])]).expect("put");
    assert!(site.carrier().remove(&["a1".to_owned(), "none".to_owned()]).expect("removed") >= 100_000);
    assert_eq!(site.carrier().list().expect("a list"), ["a2"]);
    site.carrier().remove(&["a2".to_owned()]).expect("removed");
    assert!(!site.there("").exists(), "an empty run leaves nothing");
}

#[test]
fn what_was_put_in_the_place_of_a_kept_file_is_neither_awaited_nor_followed_for_ever() {
    let site = Site::new();
    site.write_there("a1/x", b"");
    let file = |path: &str| RemoteFile { attempt: "a1".into(), path: path.into(), sha256: sha256(b"1"), size: 1 };
    symlink("/dev/zero", site.there("a1/zero")).expect("a link");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.there("a1/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a pipe");
    site.write_there("a1/longer", &[b'1'; 4_000_000]);
    for path in ["zero", "pipe", "longer"] {
        let mut bytes = Vec::new();
        let pulled = site.carrier().pull(&file(path), &mut bytes);
        assert!(matches!(pulled, Err(CarryError::Damaged(_))) && bytes.len() < 3, "{path}: {pulled:?}");
        let mut parcel = site.parcel("a2", &[("in", b"x")]);
        parcel.linked.push(("there".to_owned(), file(path)));
        let gone = site.carrier().put(&[parcel]).expect("an answer").refused;
        assert!(matches!(gone.as_slice(), [(_, why)] if why.contains(path)), "{path}: {gone:?}");
        assert!(!site.there("a2").exists());
    }
}

/// A far end whose `PATH` begins with these scripts.
fn site_with(programs: &[(&str, &str)]) -> (tempfile::TempDir, Site) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    for (name, script) in programs {
        crate::support::sshd::program(&scratch.path().join(name), script);
    }
    let sshd = Sshd::with(None, &format!("SetEnv PATH={}:{}", scratch.path().display(), crate::support::path()));
    let (client, root) = (sshd.client(), sshd.path().join("root"));
    let here = tempfile::tempdir().expect("a scratch directory");
    (scratch, Site { client, here, root: root.display().to_string(), sshd })
}

#[test]
fn a_stream_without_end_is_given_up() {
    for (program, script) in [("tar", "cat > /dev/null; cat /dev/zero"), ("tar", "yes"), ("sha256sum", "yes")] {
        let (_scratch, site) = site_with(&[(program, script)]);
        site.write_there("a1/o", b"1");
        let fetched = site.carrier().fetch(&[site.wanted("a1", &["**"], &[])]);
        assert!(
            matches!(&fetched, Err(CarryError::Here(_, cause)) if cause.to_string().contains("announced")),
            "{fetched:?}"
        );
        assert_eq!(files(&site.here("a1")).len(), 0, "{script}");
    }
}

#[test]
fn a_file_that_cannot_be_read_over_there_concerns_its_own_attempt_alone() {
    let (_scratch, site) = site_with(&[
        ("sha256sum", "/usr/bin/sha256sum \"$@\" | grep -v ' .\\./a1/secret$'; exit 1"),
        ("tar", "/usr/bin/tar \"$@\"; exit 2"),
    ]);
    site.write_there("a1/secret", b"1");
    site.write_there("a2/o", b"2");
    let wanted = [site.wanted("a1", &["**"], &[]), site.wanted("a2", &["**"], &[])];
    let fetched = site.carrier().fetch(&wanted).expect("an answer");
    assert!(matches!(&fetched["a1"], Fetched::Never(_, why) if why.contains("`secret` cannot be read")), "{fetched:?}");
    assert_eq!(fetched["a2"], Fetched::Yes(Vec::new()));
    assert_eq!(files(&site.here("a2")).into_keys().collect::<Vec<_>>(), ["o"]);
}
