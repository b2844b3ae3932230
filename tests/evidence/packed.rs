//! What a bundle holds, and what it leaves out.
use super::{NAMES, bundle, ended, evidence_dir, names};
use crate::support::bundle::files;
use crate::support::secret::{CANARY, find_canary, keep_secret};
use crate::support::world::World;
use matterstack::model::evidence::{EvidenceBundle, OmittedWhy};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The digests of everything that attempts left.
fn left(bundle: &EvidenceBundle) -> BTreeSet<String> {
    let of = |attempt: &matterstack::model::evidence::AttemptRecord| {
        let outputs = attempt.outputs.iter().map(|output| output.sha256.clone());
        outputs.chain(attempt.logs.iter().map(|log| log.sha256.clone())).collect::<Vec<_>>()
    };
    bundle.attempts.iter().flat_map(of).collect()
}

fn beside(world: &World, name: &str) -> PathBuf {
    world.root().parent().expect("a parent").join(name)
}

#[track_caller]
fn sums_are_right(folder: &Path) {
    let mut sums = Command::new("sha256sum");
    sums.args(["-c", "--quiet", "--strict", "manifest-sha256.txt"]).current_dir(folder);
    let done = sums.output().expect("sha256sum");
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn every_file_that_the_record_names_is_there_once() {
    let world = ended();
    world.run(&["evidence", "r"]).code(0);
    let folder = evidence_dir(&world);
    sums_are_right(&folder);
    let bundle = bundle(&folder);
    let there: BTreeSet<String> = names(&folder.join("files")).into_iter().collect();
    assert_eq!(there, left(&bundle));
    assert!(bundle.omitted.is_empty());
    let config = std::fs::read(folder.join("config.json")).expect("a configuration");
    assert_eq!(config, std::fs::read(world.run_dir("r").join("config.json")).expect("a configuration"));
    assert_eq!(names(&folder.join("configs")), [format!("{}.json", bundle.run.config_sha256)]);
    for plugin in &bundle.plugins {
        assert!(folder.join(&plugin.path).is_file(), "{plugin:?}");
    }
    world.run(&["evidence", "verify", &folder.display().to_string()]).code(0);
}

#[test]
fn what_an_earlier_configuration_pinned_is_there_too() {
    let script = json!({"one.sh": {"path": "scripts/one.sh"}});
    let world =
        World::with_tasks(&json!([{"id": "a", "operator": "local", "command": ["sh", "one.sh"], "files": script}]));
    world.write("scripts/one.sh", "echo 1\n");
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.write("scripts/one.sh", "echo 2\n");
    world.run(&["amend", "r", "file", "scripts/one.sh"]).code(0);
    world.run(&["rerun", "r", "a"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    let folder = evidence_dir(&world);
    let bundle = bundle(&folder);
    assert_eq!(bundle.configs.len(), 2);
    let consumed: BTreeSet<&String> =
        bundle.attempts.iter().flat_map(|attempt| &attempt.inputs).map(|input| &input.sha256).collect();
    assert_eq!(consumed.len(), 2);
    let all = files(&folder);
    let held: BTreeSet<String> = all
        .iter()
        .map(|name| crate::support::bundle::sha256(&std::fs::read(folder.join(name)).expect("a file")))
        .collect();
    assert!(consumed.iter().all(|sha256| held.contains(*sha256)), "{consumed:?} of {all:?}");
    world.run(&["evidence", "verify", &folder.display().to_string()]).code(0);
}

#[test]
fn an_archive_is_the_folder_and_the_same_each_time() {
    let world = ended();
    let (one, two) = (beside(&world, "one.zip"), beside(&world, "two.zip"));
    for zip in [&one, &two, &one] {
        let name = zip.file_name().expect("a name").to_string_lossy().into_owned();
        let done = world.run(&["evidence", "r", "--archive", &name]).code(0);
        assert_eq!(done.stdout, format!("{name}\n"));
    }
    assert!(std::fs::read(&one).expect("a zip") == std::fs::read(&two).expect("a zip"), "another zip");
    assert_eq!(names(one.parent().expect("a parent")).iter().filter(|name| name.contains(".zip")).count(), 2);
    world.run(&["evidence", "r"]).code(0);
    let out = beside(&world, "unpacked");
    let script =
        "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; z.extractall(sys.argv[2])";
    let done = Command::new("python3").args(["-c", script]).arg(&one).arg(&out).output().expect("python3");
    assert!(done.status.success(), "{done:?}");
    let done = Command::new("diff").arg("-r").arg(&out).arg(evidence_dir(&world)).output().expect("diff");
    assert!(done.status.success(), "{done:?}");
    world.run(&["evidence", "verify", &one.display().to_string()]).code(0);
    world.run(&["replay", &one.display().to_string()]).code(0);

    let other = beside(&world, "notes.txt");
    std::fs::write(&other, "mine").expect("a file");
    let done = world.run(&["evidence", "r", "--archive", &other.display().to_string()]).code(2);
    assert!(done.stderr.contains("exists and is no zip"), "{done:?}");
    let folder = beside(&world, "mine");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("thesis.txt"), "mine").expect("a file");
    let done = world.run(&["evidence", "r", "--out", &folder.display().to_string()]).code(2);
    assert!(done.stderr.contains("holds something else than what is to be written there"), "{done:?}");
    assert_eq!(names(&folder), ["thesis.txt"]);
    assert_eq!(std::fs::read(&other).expect("a file"), b"mine");
}

#[test]
fn what_is_left_out_keeps_its_digest() {
    let world = ended();
    let done = world.run(&["evidence", "r", "--omit", "ok/sub/*", "--omit", "bad/exit.json"]).code(0);
    assert!(done.stderr.contains("3 file(s) are named in the record and are not in the bundle"), "{done:?}");
    let folder = evidence_dir(&world);
    let bundle = bundle(&folder);
    let paths: Vec<&str> = bundle.omitted.iter().map(|one| one.path.rsplit('/').next().unwrap_or_default()).collect();
    assert_eq!(paths, ["s.txt", "exit.json", "exit.json"]);
    for one in &bundle.omitted {
        assert_eq!(one.why, OmittedWhy::Asked);
        assert!(left(&bundle).contains(&one.sha256) && !folder.join("files").join(&one.sha256).exists(), "{one:?}");
    }
    world.run(&["evidence", "verify", &folder.display().to_string()]).code(0);
    let done = world.run(&["evidence", "r", "--omit", "a/[/b"]).code(2);
    assert!(done.stderr.contains("--omit"), "{done:?}");
}

#[test]
fn what_is_gone_or_changed_is_named_and_left_out() {
    let world = ended();
    let ok = super::attempt_dir(&world, "ok");
    std::fs::remove_file(ok.join("r.json")).expect("removed");
    std::fs::write(ok.join("sub/s.txt"), "3\n").expect("changed");
    let done = world.run(&["evidence", "r"]).code(0);
    assert!(done.stderr.contains("`ok` is missing") && done.stderr.contains("is changed"), "{done:?}");
    let bundle = bundle(&evidence_dir(&world));
    let why: Vec<OmittedWhy> = bundle.omitted.iter().map(|one| one.why).collect();
    assert_eq!(why, [OmittedWhy::Missing, OmittedWhy::Changed]);
    world.run(&["evidence", "verify", &evidence_dir(&world).display().to_string()]).code(0);
}

/// Whether a text has a name as a word of its own.
fn tells(text: &[u8], name: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).any(|word| word == name)
}

#[test]
fn names_of_people_and_machines_can_be_taken_out() {
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "uname -n > host.txt; echo 1 > r.json", "outputs": ["*"]},
        {"id": "b", "operator": "local", "command": "exit 3", "allow_failure": true},
    ]));
    world.init();
    world.run(&["note", "r", "measured by nobody"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    let folder = evidence_dir(&world);
    let open = bundle(&folder);
    let (user, host) = (open.acts[0].by.user.clone(), open.environments[0].host.clone());
    assert!(!user.is_empty() && !host.is_empty());
    let done = world.run(&["evidence", "r", "--redact"]).code(0);
    let redacted = bundle(&folder);
    assert_eq!((redacted.acts[0].by.user.as_str(), redacted.environments[0].host.as_str()), ("user-1", "host-1"));
    for name in ["README.md", "report.html", "evidence.json", "state.sqlite"] {
        let mut text = std::fs::read(folder.join(name)).expect("a file");
        if name == "report.html" {
            let page = String::from_utf8(text).expect("UTF-8");
            text = page.split_once("</style>").expect("styles").1.as_bytes().to_vec();
        }
        assert!(!tells(&text, &host), "{name} tells `{host}`");
        assert!(!tells(&text, &user), "{name} tells `{user}`");
    }
    assert!(redacted.omitted.iter().any(|one| one.path.ends_with("/host.txt") && one.why == OmittedWhy::Redacted));
    assert!(redacted.omitted.iter().all(|one| !one.path.ends_with("/r.json")), "{:?}", redacted.omitted);
    assert!(done.stderr.contains("are not in the bundle"), "{done:?}");
    world.run(&["evidence", "verify", &folder.display().to_string()]).code(0);
    assert_eq!(names(&folder), NAMES);
}

#[test]
fn what_is_left_out_is_nowhere_in_the_bundle() {
    let env = json!({"TOKEN": {"secret": "lab.token"}});
    let world = World::with_tasks(&json!([
        {"id": "holds", "operator": "local", "command": "echo $TOKEN > told.txt", "env": env, "outputs": ["told.txt"]},
        {"id": "copies", "operator": "local", "command": "cp got.txt copy.txt", "outputs": ["copy.txt"],
         "files": {"got.txt": {"from": "holds", "output": "told.txt"}}},
        {"id": "bad", "operator": "local", "command": "echo sorrow >&2; exit 7", "allow_failure": true},
    ]));
    let place = beside(&world, ".config/matterstack/secrets");
    keep_secret(&place, "lab.token", format!("{CANARY}\n").as_bytes(), 0o600);
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.run(&["evidence", "r", "--omit", "bad/*"]).code(0);
    let folder = evidence_dir(&world);
    assert_eq!(find_canary(&folder), [] as [PathBuf; 0]);
    let bundle = bundle(&folder);
    let of = |name: &str| bundle.omitted.iter().find(|one| one.path.ends_with(name)).map(|one| one.why);
    assert_eq!((of("/told.txt"), of("/copy.txt")), (Some(OmittedWhy::Secret), Some(OmittedWhy::Secret)));
    for name in files(&folder) {
        let bytes = std::fs::read(folder.join(&name)).expect("a file");
        // the record has the command itself
        let told = String::from_utf8_lossy(&bytes).replace("echo sorrow", "").contains("sorrow");
        assert!(!told, "{name} tells what was left out");
    }
    world.run(&["evidence", "verify", &folder.display().to_string()]).code(0);
}

#[test]
fn a_name_of_two_lines_breaks_no_manifest() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.write("scripts/a\nb.txt", "1\n");
    world.write("scripts/c\\d.txt", "2\n");
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    let folder = evidence_dir(&world);
    sums_are_right(&folder);
    world.run(&["evidence", "verify", &folder.display().to_string()]).code(0);
    // while nothing changes a signature stays
    std::fs::write(folder.join("manifest-sha256.txt.sig"), "signed").expect("a file");
    world.run(&["evidence", "r"]).code(0);
    assert!(folder.join("manifest-sha256.txt.sig").exists());
    world.run(&["note", "r", "more"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    assert!(!folder.join("manifest-sha256.txt.sig").exists());
}
