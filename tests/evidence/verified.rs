//! `evidence verify` and `replay` of bundles, on a machine that has nothing but them.
use super::ended;
use crate::record::histories::compiler;
use crate::support::bundle::{MANIFEST, Packed, Zip, bundle, files, seal, sha256, zipped};
use crate::support::guest;
use crate::support::world::{World, tasks_config};
use matterstack::evidence::read::{Opened, verify};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A world without a workspace, in which a bundle lies that was made elsewhere.
pub(super) fn stranger(of: &World) -> (World, PathBuf) {
    let there = World::with_tasks(&json!([]));
    let place = there.root().with_file_name("bundle");
    bundle(of, &place);
    (there, place)
}

/// What `evidence verify` finds, as `what path`.
#[track_caller]
fn wrong(world: &World, place: &Path) -> Vec<String> {
    let done = world.run(&["evidence", "verify", place.to_str().expect("UTF-8"), "--json"]);
    let code = done.code;
    let found = done.json();
    let wrong = found["wrong"].as_array().expect("a list").iter();
    let wrong: Vec<String> = wrong
        .map(|one| format!("{} {}", one["what"].as_str().unwrap_or("?"), one["path"].as_str().unwrap_or("?")))
        .collect();
    assert_eq!(code, Some(i32::from(!wrong.is_empty())), "{found}");
    wrong
}

#[test]
fn a_bundle_is_verified_and_replayed_where_nothing_else_is() {
    let mut config = tasks_config(&json!([]));
    let params = json!({"lo": 0, "hi": 1024, "target": 613, "iterations": 4});
    config["campaign"] = json!({"plugin": "loop.wasm", "params": params, "seed": 42});
    let world = World::new(&config);
    fs::copy(guest("loop-rust"), world.workspace().join("loop.wasm")).expect("the guest");
    world.init();
    world.run(&["loop", "r"]).code(0);
    let (there, place) = stranger(&world);
    drop(world);
    let zip = place.with_extension("zip");
    fs::write(&zip, zipped(&place)).expect("a zip");
    for form in [&place, &zip] {
        let name = form.to_str().expect("UTF-8");
        let found = there.run(&["evidence", "verify", name, "--json"]).code(0).json();
        assert_eq!((&found["run_id"], &found["wrong"]), (&json!("r"), &json!([])), "{found}");
        assert_eq!((&found["replay"]["agreed"], &found["signed"]), (&json!(9), &Value::Null));
        assert_eq!(found["files"].as_u64(), Some(files(&place).len() as u64 - 1));
        let told = there.run(&["evidence", "verify", name]).code(0).stdout;
        assert!(told.contains("not signed\n9 decision(s) made again, 9 as recorded"), "{told}");
        let found = there.run(&["replay", name, "--json"]).code(0).json();
        assert_eq!((&found["run_id"], &found["agreed"], &found["first"]), (&json!("r"), &json!(9), &Value::Null));
    }
    // nothing is left of what was unpacked
    let scratch = there.root().with_file_name("scratch");
    fs::create_dir(&scratch).expect("a folder");
    let tmp = [("TMPDIR", scratch.to_str().expect("UTF-8"))];
    there.run_with(&["replay", zip.to_str().expect("UTF-8")], &tmp).code(0);
    assert_eq!(fs::read_dir(&scratch).expect("a folder").count(), 0);
    // a file that a decision read: without it the decision cannot be made again, and that is named
    let store = Connection::open(place.join("state.sqlite")).expect("the database");
    let read: String = store
        .query_row("SELECT lower(hex(sha256)) FROM decision_reads LIMIT 1", [], |row| row.get(0))
        .expect("a file that was read");
    drop(store);
    fs::remove_file(place.join("files").join(&read)).expect("a file");
    let found = there.run(&["replay", place.to_str().expect("UTF-8"), "--json"]).code(1).json();
    let first = &found["first"];
    assert!(first["aspect"] == "file" && first["recorded"].to_string().contains(&read), "{found}");
    assert_eq!(wrong(&there, &place), [format!("missing files/{read}")]);
}

#[test]
fn every_byte_that_is_altered_missing_or_added_is_named() {
    let (there, place) = stranger(&ended());
    let all = files(&place);
    assert!(all.len() > 10 && wrong(&there, &place).is_empty(), "{all:?}");
    for name in &all {
        let path = place.join(name);
        let before = fs::read(&path).expect("a file");
        let changed = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("a change");
            wrong(&there, &place)
        };
        let middle = before.len() / 2;
        let mut altered = before.clone();
        altered[middle] ^= 1;
        let (flipped, longer) = (changed(&altered), changed(&[&before[..], b"x"].concat()));
        let shorter = changed(&before[..before.len() - 1]);
        if name == MANIFEST {
            for found in [&flipped, &longer, &shorter] {
                assert!(!found.is_empty(), "{name}");
            }
        } else {
            for found in [flipped, longer, shorter] {
                assert_eq!(found, [format!("altered {name}")]);
            }
            fs::remove_file(&path).expect("a file");
            assert_eq!(wrong(&there, &place), [format!("missing {name}")]);
        }
        fs::write(&path, before).expect("a file");
    }
    // every byte of the manifest counts
    let manifest = fs::read(place.join(MANIFEST)).expect("a manifest");
    for at in (0..manifest.len()).step_by(37).chain([manifest.len() - 1, 64, 65]) {
        let mut altered = manifest.clone();
        altered[at] ^= 0x20;
        fs::write(place.join(MANIFEST), altered).expect("a change");
        assert!(!wrong(&there, &place).is_empty(), "byte {at}");
    }
    fs::write(place.join(MANIFEST), manifest).expect("a manifest");
    for (name, of) in [("more", "added more"), ("files/more", "added files/more"), ("new/.x", "added new/.x")] {
        fs::create_dir_all(place.join("new")).expect("a folder");
        fs::write(place.join(name), "x").expect("a file");
        assert_eq!(wrong(&there, &place), [of]);
        fs::remove_file(place.join(name)).expect("a file");
    }
    std::os::unix::fs::symlink("/etc/passwd", place.join("link")).expect("a link");
    assert_eq!(wrong(&there, &place), ["added link"]);
    fs::remove_file(place.join("link")).expect("a link");
    let named = all.iter().find(|name| name.starts_with("plugins/")).expect("a plugin");
    fs::rename(place.join(named), place.join("aside")).expect("a move");
    std::os::unix::fs::symlink("../aside", place.join(named)).expect("a link");
    assert_eq!(wrong(&there, &place), ["added aside".to_owned(), format!("altered {named}")]);
    fs::rename(place.join("aside"), place.join(named)).expect("a move");
    assert!(wrong(&there, &place).is_empty());
}

#[test]
fn a_file_of_a_zip_that_is_altered_is_named_as_in_a_folder() {
    let (there, place) = stranger(&ended());
    let path = place.with_extension("zip");
    for damaged in ["config.json", "state.sqlite"] {
        let mut zip = Zip::default();
        for name in files(&place) {
            let mut file = Packed::of(&name, &fs::read(place.join(&name)).expect("a file"));
            if name == damaged {
                let middle = file.packed.len() / 2;
                file.packed[middle] ^= 1;
            }
            zip.add(&file);
        }
        fs::write(&path, zip.finish()).expect("a zip");
        assert_eq!(wrong(&there, &path), [format!("altered {damaged}")]);
        let done = there.run(&["replay", path.to_str().expect("UTF-8")]).code(2);
        assert!(done.stderr.contains(&format!("`{damaged}` of bundle")), "{done:?}");
    }
    // one that is cut off is none
    let whole = zipped(&place);
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("a zip");
        let done = there.run(&["evidence", "verify", path.to_str().expect("UTF-8")]).code(2);
        assert!(done.stderr.contains("it is no zip archive, or not all of one"), "{length}: {done:?}");
    }
}

#[test]
fn what_agrees_with_its_manifest_must_agree_with_itself() {
    let (there, place) = stranger(&ended());
    let database = place.join("state.sqlite");
    let kept = fs::read(&database).expect("a database");
    let with_sql = |sql: &str| {
        let store = Connection::open(&database).expect("a database");
        store.execute_batch(sql).expect("a change");
        drop(store);
        seal(&place);
        let found = wrong(&there, &place);
        fs::write(&database, &kept).expect("a database");
        seal(&place);
        found
    };
    // one that says in both places what was not
    let told = fs::read_to_string(place.join("evidence.json")).expect("a document");
    let mut other: Value = serde_json::from_str(&told).expect("JSON");
    let decision = &mut other["decisions"][1];
    assert_eq!(decision["number"], json!(2));
    decision["fuel"] = json!(decision["fuel"].as_u64().expect("fuel") + 1);
    fs::write(place.join("evidence.json"), other.to_string()).expect("a document");
    assert_eq!(with_sql("UPDATE decisions SET fuel = fuel + 1 WHERE number = 2"), ["replay state.sqlite"]);
    assert_eq!(wrong(&there, &place), ["record evidence.json"]);
    fs::write(place.join("evidence.json"), told).expect("a document");
    let found = with_sql("UPDATE task_counts SET n = n + 1 WHERE state = 'failed'");
    assert_eq!(found, ["record evidence.json", "store state.sqlite"]);
    // a view in the place of a table could keep whoever reads it for ever
    let found = with_sql(
        "ALTER TABLE kept_files RENAME TO k; CREATE VIEW kept_files AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL \
         SELECT x + 1 FROM n) SELECT x AS sha256, x AS size FROM n",
    );
    assert_eq!(found, ["store state.sqlite"]);
    fs::write(place.join("files/stray"), "nobody's").expect("a file");
    seal(&place);
    assert_eq!(wrong(&there, &place), ["altered files/stray"]);
    let stray = format!("files/{}", sha256(b"nobody's"));
    fs::rename(place.join("files/stray"), place.join(&stray)).expect("a move");
    seal(&place);
    assert_eq!(wrong(&there, &place), [format!("record {stray}")]);
    fs::remove_file(place.join(stray)).expect("a file");
    let document = place.join("evidence.json");
    let text = fs::read_to_string(&document).expect("a document");
    let sound: Value = serde_json::from_str(&text).expect("JSON");
    let (mut typed, mut short) = (sound.clone(), sound);
    typed["acts"][0]["verb"] = json!(7);
    short.as_object_mut().expect("an object").remove("complete");
    for changed in [typed.to_string(), short.to_string(), text[..text.len() - 4].to_owned(), "[]".to_owned()] {
        fs::write(&document, changed).expect("a document");
        seal(&place);
        let found = wrong(&there, &place);
        assert!(found.contains(&"schema evidence.json".to_owned()), "{found:?}");
        assert!(found.iter().all(|one| one.ends_with(" evidence.json")), "{found:?}");
    }
    fs::write(&document, &text).expect("a document");
    let left = files(&place).into_iter().find(|name| name.starts_with("files/")).expect("a file");
    fs::rename(place.join(&left), place.with_file_name("aside")).expect("a move");
    seal(&place);
    assert_eq!(wrong(&there, &place), [format!("record {left}")]);
    let mut omitting: Value = serde_json::from_str(&text).expect("JSON");
    omitting["omitted"] = json!([{
        "sha256": &left["files/".len()..], "size": 1, "path": "a", "task": null, "attempt_id": null, "why": "asked"
    }]);
    fs::write(&document, omitting.to_string()).expect("a document");
    seal(&place);
    assert!(wrong(&there, &place).is_empty(), "what is said to be left out need not be there");
    fs::rename(place.with_file_name("aside"), place.join(&left)).expect("a move");
    for gone in ["evidence.json", "state.sqlite"] {
        fs::rename(place.join(gone), place.with_file_name("aside")).expect("a move");
        seal(&place);
        assert!(!wrong(&there, &place).is_empty(), "{gone}");
        fs::rename(place.with_file_name("aside"), place.join(gone)).expect("a move");
    }
    fs::write(&document, text).expect("a document");
    fs::write(&database, "no database").expect("a file");
    seal(&place);
    assert_eq!(wrong(&there, &place), ["store state.sqlite"]);
}

#[test]
fn what_is_no_bundle_is_said_to_be_none() {
    let world = ended();
    let run = world.run_dir("r");
    for (path, why) in [
        (run.to_str().expect("UTF-8"), "is no bundle of evidence: it has no manifest-sha256.txt"),
        ("nothing", "bundle `nothing` cannot be opened"),
        ("/dev/null", "cannot be opened"),
    ] {
        let done = world.run(&["evidence", "verify", path]).code(2);
        assert!(done.stderr.contains(why), "{done:?}");
    }
}

/// Every table of a database with its columns.
fn columns(database: &Path) -> Vec<(String, String)> {
    let store = Connection::open(database).expect("a database");
    let mut statement = store
        .prepare(
            "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND \
             m.name NOT LIKE 'sqlite_%' ORDER BY 1, c.cid",
        )
        .expect("a query");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("columns")
}

/// What a tick goes by, and numbers that rows have within the database: it tells nothing of what was done.
const BOOKKEEPING: [&str; 21] = [
    "attempts.cancel_asked",
    "attempts.due_at_ms",
    "attempts.due_set_ms",
    "attempts.flips",
    "configs.size",
    "decisions.decision",
    "plugins.plugin",
    "reuse_keys.parts",
    "run.born_ns",
    "run.each_result",
    "run.idle_plans",
    "run.inode",
    "run.notified_seq",
    "run.token",
    "states.depth",
    "states.size",
    "tasks.allow_failure",
    "tasks.blocked",
    "tasks.misfires",
    "tasks.tolerant",
    "tasks.tries",
];

#[test]
fn a_changed_cell_anywhere_in_the_record_is_found() {
    let (_there, place) = stranger(&ended());
    let (database, manifest) = (place.join("state.sqlite"), place.join(MANIFEST));
    let kept = fs::read(&database).expect("a database");
    let listed = fs::read_to_string(&manifest).expect("a manifest");
    let (mut tried, mut unfound) = (0, Vec::new());
    for (table, column) in columns(&database) {
        let store = Connection::open(&database).expect("a database");
        // one row, another value of the same type; a rule of the schema may forbid it, which is as good as found
        let sql = format!(
            "UPDATE {table} SET {column} = CASE typeof({column}) WHEN 'integer' THEN {column} + 1 WHEN 'real' THEN {column} + 1 \
             WHEN 'text' THEN {column} || 'x' WHEN 'blob' THEN CAST(substr({column}, 1, length({column}) - 1) || x'00' AS BLOB) \
             END WHERE rowid = (SELECT max(rowid) FROM {table} WHERE {column} IS NOT NULL)"
        );
        let changed = store.execute_batch("PRAGMA foreign_keys = OFF").and_then(|()| store.execute(&sql, []));
        drop(store);
        let now = fs::read(&database).expect("a database");
        if changed == Ok(1) && now != kept {
            tried += 1;
            fs::write(&manifest, listed.replace(&sha256(&kept), &sha256(&now))).expect("a manifest");
            let mut opened = Opened::open(&place).expect("a bundle");
            // a record that cannot be read is found too
            if verify(&mut opened, None, &compiler).is_ok_and(|found| found.wrong.is_empty()) {
                unfound.push(format!("{table}.{column}"));
            }
        }
        fs::write(&database, &kept).expect("a database");
    }
    assert!(tried > 80, "{tried}");
    unfound.retain(|cell| !BOOKKEEPING.contains(&cell.as_str()));
    assert_eq!(unfound, [""; 0], "of {tried}");
}
