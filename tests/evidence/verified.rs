//! `evidence verify` and `replay` of bundles, on a machine that has nothing but them.
use super::ended;
use crate::support::bundle::{MANIFEST, Packed, Zip, bundle, files, seal, zipped};
use crate::support::guest;
use crate::support::world::{World, tasks_config};
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
    assert_eq!(with_sql("UPDATE decisions SET now_ms = now_ms + 1 WHERE number = 2"), ["replay state.sqlite"]);
    assert_eq!(with_sql("UPDATE task_counts SET n = n + 1 WHERE state = 'failed'"), ["store state.sqlite"]);
    // a view in the place of a table could keep whoever reads it for ever
    let found = with_sql(
        "ALTER TABLE kept_files RENAME TO k; CREATE VIEW kept_files AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL \
         SELECT x + 1 FROM n) SELECT x AS sha256, x AS size FROM n",
    );
    assert_eq!(found, ["store state.sqlite"]);
    fs::write(place.join("files/stray"), "nobody's").expect("a file");
    seal(&place);
    assert_eq!(wrong(&there, &place), ["record files/stray"]);
    fs::remove_file(place.join("files/stray")).expect("a file");
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
        assert!(!found.is_empty() && found.iter().all(|one| one == "schema evidence.json"), "{found:?}");
    }
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
