//! Runs of earlier versions, stored as archives below `golden/`, one for each version of the plugin contract. Later
//! versions list, show, explain and bundle them for ever, and replay those that were made under their own contract.
//! `UPDATE_GOLDEN=1` stores the run of this version anew, which a released version never does.
use crate::support::root;
use crate::support::world::{World, tasks_config};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use matterstack::model::config::Journal;
use matterstack::model::evidence::EvidenceBundle;
use matterstack::plugin::CONTRACT;
use matterstack::store::Store;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

fn archives() -> PathBuf {
    root().join("tests/record/golden")
}

/// The archive of a run under a database of the first version.
const FIRST: &str = "0.2.0-dev.tar.gz";

/// A small run in which something of most kinds happened: a failure, an amendment, a revival, a file that travels.
fn life() -> World {
    let mut config = tasks_config(&json!([
        {"id": "make", "operator": "local", "command": ["sh", "make.sh"], "files": {"make.sh": {"path": "scripts/make.sh"}},
         "outputs": ["made.txt"]},
        {"id": "take", "operator": "local", "command": "test -e ../../../ok && cat made.txt",
         "files": {"made.txt": {"from": "make", "output": "made.txt"}}},
        {"id": "may fail", "operator": "local", "command": "exit 7", "allow_failure": true},
    ]));
    config["campaign"]["seed"] = json!(7);
    let world = World::new(&config);
    world.write("scripts/make.sh", "echo made > made.txt\necho said\n");
    world.init();
    world.run(&["loop", "r"]).code(1);
    world.run(&["resume", "r", "--reason", "the machine was mended"]).code(0);
    world.run(&["amend", "r", "config", "limits.max_active=3", "--reason", "more at once"]).code(0);
    fs::write(world.run_dir("r").join("ok"), "").expect("a file");
    world.run(&["loop", "r"]).code(0);
    world
}

/// Puts the run of this version into an archive: without what belongs to a machine, and as one database file.
fn store(world: &World, archive: &PathBuf) {
    let run = world.run_dir("r");
    let database = rusqlite::Connection::open(run.join("state.sqlite")).expect("the database");
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = delete; VACUUM").expect("one file");
    drop(database);
    for name in ["lock", "loop.lock"] {
        let _ = fs::remove_file(run.join(name));
    }
    fs::create_dir_all(archives()).expect("a directory");
    let encoder = GzEncoder::new(File::create(archive).expect("an archive"), Compression::best());
    let mut builder = tar::Builder::new(encoder);
    builder.follow_symlinks(false);
    builder.append_dir_all("r", &run).expect("an archive");
    builder.into_inner().and_then(GzEncoder::finish).expect("an archive");
}

/// A workspace with the run of an archive.
fn unpacked(archive: &Path) -> World {
    let world = World::with_tasks(&json!([]));
    let runs = world.workspace().join("runs");
    fs::create_dir_all(&runs).expect("a directory");
    tar::Archive::new(GzDecoder::new(File::open(archive).expect("an archive"))).unpack(&runs).expect("a run");
    world
}

/// The files at the top of a run that are its database and what SQLite keeps beside it, with what they hold.
fn databases(world: &World) -> BTreeMap<String, Vec<u8>> {
    let all = fs::read_dir(world.run_dir("r")).expect("files").flatten();
    let named = all.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    let named = named.filter(|(name, _)| name.starts_with("state.sqlite"));
    named.map(|(name, path)| (name, fs::read(path).expect("a file"))).collect()
}

fn version(path: &Path) -> i64 {
    let connection = rusqlite::Connection::open(path).expect("a database");
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version")
}

#[test]
fn a_database_of_the_first_version_is_left_as_it_is_by_all_that_look() {
    let world = unpacked(&archives().join(FIRST));
    let before = databases(&world);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["state.sqlite"]);
    let looks: [&[&str]; 8] = [
        &["list"],
        &["status", "r"],
        &["tasks", "r"],
        &["attempts", "r", "take"],
        &["logs", "r", "make"],
        &["explain", "r"],
        &["graph", "r"],
        &["evidence", "r"],
    ];
    for look in looks {
        world.run(look).code(0);
        assert!(databases(&world) == before, "{look:?} has changed the database");
    }
}

#[test]
fn a_database_of_the_first_version_is_brought_to_this_one_when_it_is_opened_for_writing() {
    let world = unpacked(&archives().join(FIRST));
    let path = world.run_dir("r").join("state.sqlite");
    let database = rusqlite::Connection::open(&path).expect("the database");
    // a campaign's line on how far it has come, which is a document now
    assert!(database.execute("UPDATE decisions SET summary = 'half \"way\"'", []).expect("a line") > 2);
    drop(database);
    let look = |store: &Store| {
        let (row, counts) = (store.run().expect("the run"), store.task_counts().expect("counts"));
        let told = (store.tasks(None, None).expect("tasks"), store.all_attempts().expect("attempts"));
        let record = (store.decisions().expect("decisions"), store.history().expect("a history"));
        assert_eq!(row.summary_line().as_deref(), Some("half \"way\""));
        format!("{row:?}\n{counts:?}\n{told:?}\n{record:?}\n{:?}", store.campaign_state().expect("a state"))
    };
    let seen = look(&Store::read(&path).expect("it is read as it is"));
    for _ in 0..2 {
        let store = Store::open(&path, (Journal::Wal, false), |_| true).expect("it opens");
        assert_eq!(store.check_invariants().expect("a readable store"), Vec::<String>::new());
        assert_eq!(look(&store), seen, "nothing of it is lost, and it is what the look has shown");
        let environments = store.environments().expect("environments");
        assert!(
            !environments.is_empty() && environments.iter().all(|one| one.recorded.is_empty() && one.act.is_none())
        );
        assert!(store.asked(0).expect("words").is_empty(), "of an ended run no plan is owed");
    }
    let kept = path.with_file_name("state.sqlite.v1");
    assert_eq!((version(&path), version(&kept)), (6, 1));
    assert!(look(&Store::read(&kept).expect("the backup is whole")) == seen);
}

/// Makes the run of an archive, which has ended, one that has not.
fn undone(world: &World) {
    let sql = "UPDATE run SET state = 'active', reason = NULL, reason_code = NULL, ended_at_ms = NULL";
    let database = rusqlite::Connection::open(world.run_dir("r").join("state.sqlite")).expect("the database");
    assert_eq!(database.execute(sql, []).expect("a change"), 1);
}

#[test]
fn a_run_of_an_earlier_contract_is_not_ticked() {
    let world = unpacked(&archives().join(FIRST));
    undone(&world);
    let before = databases(&world);
    let acts: [&[&str]; 5] = [
        &["step", "r"],
        &["loop", "r"],
        &["cancel", "r"],
        &["rerun", "r", "make", "--recursive"],
        &["rerun", "r", "make", "--dry-run"],
    ];
    for act in acts {
        let done = world.run(act);
        assert_eq!(done.code, Some(4), "{act:?}: {done:?}");
        for words in ["contract version 0.2.0-dev;", CONTRACT, "finish it with matterstack 0.2.0-dev"] {
            assert!(done.stderr.contains(words), "{act:?} should say `{words}`: {done:?}");
        }
        assert!(databases(&world) == before, "{act:?}: who made it can go on with it");
    }
    world.run(&["status", "r"]).code(0);
}

#[test]
fn runs_of_every_version_are_listed_shown_and_bundled() {
    let own = archives().join(format!("{CONTRACT}.tar.gz"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        store(&life(), &own);
    }
    assert!(own.exists(), "there is no run of this version; UPDATE_GOLDEN=1 stores one");
    assert!(archives().join(FIRST).exists(), "what an earlier version has left is kept");
    for archive in fs::read_dir(archives()).expect("archives").flatten().map(|entry| entry.path()) {
        let world = unpacked(&archive);
        let shown = |arguments: &[&str]| world.run(arguments).code(0);
        let listed = shown(&["list", "--json"]).json();
        assert_eq!((&listed[0]["run_id"], &listed[0]["state"]), (&json!("r"), &json!("completed")), "{archive:?}");
        assert_eq!(shown(&["status", "r", "--json"]).json()["tasks"]["completed"], 2, "{archive:?}");
        assert_eq!(shown(&["tasks", "r", "--json"]).json().as_array().map(Vec::len), Some(3), "{archive:?}");
        assert_eq!(shown(&["attempts", "r", "take", "--json"]).json().as_array().map(Vec::len), Some(2), "{archive:?}");
        assert!(shown(&["logs", "r", "make"]).stdout.contains("said"), "{archive:?}");
        shown(&["explain", "r"]);
        shown(&["graph", "r"]);
        shown(&["evidence", "r"]);
        let bundle = fs::read(world.run_dir("r").join("evidence/evidence.json")).expect("a bundle");
        let bundle: EvidenceBundle = serde_json::from_slice(&bundle).expect("the schema holds");
        assert_eq!(bundle.verified.findings(), 0, "{archive:?}: {:?}", bundle.findings);
        let contract = &bundle.engines[0].engine.contract;
        let replay = world.run(&["replay", "r", "--json"]);
        if contract == CONTRACT {
            let replay = replay.code(0).json();
            assert_eq!(
                (&replay["first"], &replay["agreed"]),
                (&Value::Null, &json!(bundle.decisions.len())),
                "{archive:?}"
            );
        } else {
            assert!(replay.code(4).stderr.contains(contract), "{archive:?}");
        }
    }
}
