//! `evidence` of a workspace: a study of all its runs.
use crate::support::disk::Disk;
use crate::support::world::{World, done};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the task of the first run leaves: numbers, and what is none.
const LEAVE: &str = r#"echo '{"loss": 0.25, "of": {"n": 3}, "phase": "fcc", "all": [1]}' > y.json; echo 7 > state.json; echo 8 > y.txt"#;

/// Two runs of one workspace; the task of the second fails.
pub(super) fn world() -> World {
    let task = |command: &str| {
        json!([{"id": "a", "operator": "local", "command": command, "input": {"x": 1}, "allow_failure": true,
                "outputs": ["*.json", "y.txt"]}])
    };
    let world = World::with_tasks(&task("true"));
    for (run, command) in [("r", LEAVE), ("s", "false")] {
        let set = format!("campaign.params.tasks={}", task(command));
        world.run(&["init", "demo", "--run-id", run, "--label", "a, b", "--reuse", "none", "--set", &set]).code(0);
        world.run(&["loop", run]).code(0);
    }
    world
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else {
                let bytes = fs::read(&entry).expect("a file");
                found.insert(entry.strip_prefix(folder).expect("below").to_owned(), bytes);
            }
        }
    }
    found
}

fn document(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("study.json")).expect("a document")).expect("JSON")
}

/// Compares the numbers of outputs in a table with what `query` has of them, under the same names.
fn numbers_are_those_of_the_database(world: &World, table: &str) {
    world.run(&["query", "demo", "--out", "all.db"]).code(0);
    let store = Connection::open(world.root().with_file_name("all.db")).expect("a database");
    let sql =
        "SELECT run_id, name, number FROM fields WHERE number IS NOT NULL AND task_id != '' AND name NOT LIKE 'data.%'";
    let mut statement = store.prepare(sql).expect("a query");
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).expect("rows");
    let asked: BTreeMap<(String, String), f64> = rows.collect::<Result<_, _>>().expect("values");
    let mut lines = table.lines().map(|line| line.replace("\"a, b\"", "label"));
    let heading: Vec<String> = lines.next().expect("a heading").split(',').map(str::to_owned).collect();
    let mut found = BTreeMap::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), heading.len(), "{line}");
        for (name, cell) in heading.iter().zip(&cells).filter(|(name, cell)| name.contains('.') && !cell.is_empty()) {
            // a document that is one number would have the name of another column
            let name = if name == "state.json" { "state" } else { name };
            found.insert((cells[0].to_owned(), name.to_owned()), cell.parse::<f64>().expect(name));
        }
    }
    assert_eq!(found, asked);
    assert_eq!(found.get(&("r".to_owned(), "y.of.n".to_owned())), Some(&3.0));
    assert_eq!(found.len(), 5, "two parameters, and three numbers of one run: {found:?}");
}

#[test]
fn a_study_has_a_bundle_a_run_one_table_and_a_digest_of_each_file() {
    let world = world();
    let made = world.run(&["evidence", "demo", "--json"]).code(0).json();
    let folder = world.workspace().join("evidence");
    assert_eq!((&made["runs"], &made["rows"], &made["left_out"]), (&json!(2), &json!(2), &json!([])), "{made}");
    let document = document(&folder);
    let runs: Vec<Value> = document["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| json!([run["run_id"], run["label"], run["state"], run["tasks"]["failed"], run["path"]]))
        .collect();
    assert_eq!(
        runs,
        [json!(["r", "a, b", "completed", 0, "runs/r"]), json!(["s", "a, b", "completed", 1, "runs/s"])],
        "{document}"
    );
    assert_eq!((&document["workspace"], &document["complete"]), (&json!("demo"), &json!(true)));
    for run in ["r", "s"] {
        let evidence = fs::read(folder.join("runs").join(run).join("evidence.json")).expect("a bundle");
        let evidence: Value = serde_json::from_slice(&evidence).expect("JSON");
        assert_eq!(evidence["run"]["run_id"], run);
    }
    let table = fs::read_to_string(folder.join("table.csv")).expect("a table");
    let rows: Vec<&str> = table.lines().collect();
    assert!(
        rows[0].starts_with("run,label,task,") && !rows[0].contains("path") && rows[0].contains("params.x"),
        "{table}"
    );
    assert!(rows[1].starts_with("r,\"a, b\",a,1,local,1,completed"), "{table}");
    assert!(rows[2].starts_with("s,\"a, b\",a,1,local,1,failed"), "{table}");

    numbers_are_those_of_the_database(&world, &table);
    assert_eq!(document["table"], json!({"path": "table.csv", "rows": 2, "whole": true}));

    let check = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "manifest-sha256.txt"])
        .current_dir(&folder)
        .output();
    done(check.expect("sha256sum")).code(0);
    let manifest = fs::read_to_string(folder.join("manifest-sha256.txt")).expect("a manifest");
    let mut named: Vec<PathBuf> = manifest.lines().map(|line| PathBuf::from(&line[66..])).collect();
    assert!(manifest.lines().map(|line| &line[66..]).is_sorted(), "{manifest}");
    named.push("manifest-sha256.txt".into());
    named.sort();
    assert_eq!(named, files(&folder).into_keys().collect::<Vec<_>>());
    let digest = done(Command::new("sha256sum").arg(folder.join("manifest-sha256.txt")).output().expect("sha256sum"));
    assert!(digest.stdout.starts_with(made["sha256"].as_str().expect("a digest")), "{digest:?} {made}");

    // the same runs are the same bytes, and what is there is replaced whole
    let before = files(&folder);
    fs::write(folder.join("stray"), "of an earlier one").expect("a file");
    world.run(&["evidence", "demo"]).code(0);
    assert!(files(&folder) == before, "the same runs are another study");
    let left = fs::read_dir(world.workspace()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("part-")), "a part is left");

    // what lies in it is no workspace with runs, as which it would be found twice
    for run in ["r", "s"] {
        let bundle = folder.join("runs").join(run);
        for file in ["config.json", "state.sqlite"] {
            fs::copy(world.run_dir(run).join(file), bundle.join(file)).expect("a copy");
        }
    }
    let list = world.run(&["list", "--json"]).code(0).json();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
}

#[test]
fn a_study_leaves_out_what_cannot_be_read_and_says_what_has_not_ended() {
    let world = world();
    for run in ["newer", "text"] {
        fs::create_dir_all(world.run_dir(run)).expect("a run");
        fs::copy(world.run_dir("r").join("config.json"), world.run_dir(run).join("config.json")).expect("a copy");
    }
    let newer = world.run_dir("newer").join("state.sqlite");
    fs::copy(world.run_dir("r").join("state.sqlite"), &newer).expect("a copy");
    Connection::open(newer).and_then(|store| store.pragma_update(None, "user_version", 99)).expect("newer");
    fs::write(world.run_dir("text").join("state.sqlite"), "no database").expect("a file");
    world.run(&["init", "demo", "--run-id", "begun"]).code(0);
    let made = world.run(&["evidence", "demo", "--out", "study", "--json"]).code(0);
    for said in ["run `begun` is active", "warning: run `newer` is left out", "warning: run `text` is left out"] {
        assert!(made.stderr.contains(said), "{said}: {made:?}");
    }
    let folder = world.root().with_file_name("study");
    let document = document(&folder);
    let left_out: Vec<&Value> =
        document["left_out"].as_array().expect("a list").iter().map(|one| &one["run_id"]).collect();
    assert_eq!((json!(left_out), &document["complete"]), (json!(["newer", "text"]), &json!(false)), "{document}");
    let bundles: Vec<_> = fs::read_dir(folder.join("runs")).expect("bundles").collect();
    assert_eq!(bundles.len(), 3);
}

#[test]
fn a_study_is_one_zip_and_tells_no_names_where_they_are_redacted() {
    let world = world();
    world.run(&["evidence", "demo", "--out", "open"]).code(0);
    let beside = |name: &str| world.root().with_file_name(name);
    let evidence = fs::read(beside("open").join("runs/r/evidence.json")).expect("a bundle");
    let evidence: Value = serde_json::from_slice(&evidence).expect("JSON");
    let host = evidence["environments"][0]["host"].as_str().expect("a host").to_owned();
    let tells = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == host)
    };
    assert!(tells(&fs::read(beside("open").join("table.csv")).expect("a table")), "the table names machines");
    for zip in ["one.zip", "two.zip"] {
        world.run(&["evidence", "demo", "--archive", zip, "--redact"]).code(0);
    }
    assert!(fs::read(beside("one.zip")).expect("a zip") == fs::read(beside("two.zip")).expect("a zip"), "another zip");
    let mut unzip = Command::new("python3");
    let unpacked = unzip.args(["-m", "zipfile", "-e"]).arg(beside("one.zip")).arg(beside("unpacked")).status();
    assert!(unpacked.expect("python3").success());
    for name in ["table.csv", "study.json", "runs/r/evidence.json", "runs/s/README.md"] {
        assert!(!tells(&fs::read(beside("unpacked").join(name)).expect("a file")), "{name} tells `{host}`");
    }
    for run in ["r", "s"] {
        world.run(&["evidence", "verify", &format!("unpacked/runs/{run}")]).code(0);
    }
    let left: Vec<_> = fs::read_dir(beside("x").parent().expect("a parent")).expect("a folder").flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("evidence-")), "{left:?}");
}

#[test]
fn a_study_takes_no_place_that_is_taken_and_a_word_that_is_both_is_refused() {
    let world = world();
    let beside = |name: &str| world.root().with_file_name(name);
    fs::create_dir(beside("full")).expect("a folder");
    fs::write(beside("full").join("mine"), "mine").expect("a file");
    fs::write(beside("file"), "mine").expect("a file");
    fs::create_dir(beside("empty")).expect("a folder");
    world.run(&["evidence", "r", "--out", "bundle"]).code(0);
    world.run(&["evidence", "demo", "--out", "studied"]).code(0);
    let why = "holds something else than what is to be written there";
    for (taken, why) in [("full", why), ("bundle", why), ("file", "is not a directory")] {
        let done = world.run(&["evidence", "demo", "--out", taken]).code(2);
        assert!(done.stderr.contains(why), "{done:?}");
    }
    let done = world.run(&["evidence", "r", "--out", "studied"]).code(2);
    assert!(done.stderr.contains(why) && beside("studied").join("study.json").is_file(), "{done:?}");
    assert_eq!(fs::read(beside("full").join("mine")).expect("a file"), b"mine");
    world.run(&["evidence", "demo", "--out", "empty"]).code(0);
    assert!(beside("empty").join("study.json").is_file());
    world.run(&["init", "demo", "--run-id", "demo-2"]).code(0);
    let done = world.run(&["evidence", "demo", "--out", "other"]).code(2);
    assert!(
        done.stderr.contains("is a workspace, and names run `demo-2`") && done.stderr.contains("`demo/`"),
        "{done:?}"
    );
    world.run(&["evidence", "demo/", "--out", "other"]).code(0);
    // nothing to study is said as such by an empty one
    world.write("../none/config.json", "{}");
    let made = world.run(&["evidence", "none", "--json"]).code(0).json();
    assert_eq!((&made["runs"], &made["rows"]), (&json!(0), &json!(0)), "{made}");
}

#[test]
fn on_a_full_disk_an_earlier_study_and_database_stay_as_they_are() {
    let world = world();
    let disk = Disk::new(8);
    let place = |name: &str| disk.root().join(name).display().to_string();
    let (study, database) = (place("study"), place("all.db"));
    let commands = [["evidence", "demo", "--out", &study], ["query", "demo", "--out", &database]];
    for command in &commands {
        world.run(command).code(0);
    }
    let before = files(&disk.root());
    // the first write takes what there is, and those after it what is left over
    for n in 0..3 {
        let _ = fs::write(place(&format!("full-{n}")), vec![7; 1 << (24 - 4 * n)]);
    }
    for command in &commands {
        let done = world.run(command).code(74);
        assert!(done.stderr.contains("cannot be written"), "{done:?}");
    }
    let mut after = files(&disk.root());
    after.retain(|name, _| !name.to_string_lossy().starts_with("full-"));
    assert!(after == before, "{:?}", after.keys());
}
