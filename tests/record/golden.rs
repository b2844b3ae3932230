//! Runs of earlier versions, stored as archives below `golden/`, one for each version. Later versions list, show,
//! explain and bundle them for ever, and replay those that were made under their own plugin contract. `UPDATE_GOLDEN=1`
//! stores the run of this version anew, which a released version never does.
use crate::support::root;
use crate::support::world::{World, tasks_config};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use matterstack::model::act::VERSION;
use matterstack::model::evidence::EvidenceBundle;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::PathBuf;

fn archives() -> PathBuf {
    root().join("tests/record/golden")
}

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

#[test]
fn runs_of_every_version_are_listed_shown_and_bundled() {
    let own = archives().join(format!("{VERSION}.tar.gz"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        store(&life(), &own);
    }
    assert!(own.exists(), "there is no run of this version; UPDATE_GOLDEN=1 stores one");
    for archive in fs::read_dir(archives()).expect("archives").flatten().map(|entry| entry.path()) {
        let world = World::with_tasks(&json!([]));
        let runs = world.workspace().join("runs");
        fs::create_dir_all(&runs).expect("a directory");
        tar::Archive::new(GzDecoder::new(File::open(&archive).expect("an archive"))).unpack(&runs).expect("a run");
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
        if *contract == matterstack::plugin::this_engine().contract {
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
