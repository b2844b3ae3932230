//! `evidence verify` and `evidence sign` of a study, on a machine that has nothing but it.
use super::study::world;
use crate::record::histories::compiler;
use crate::support::bundle::{MANIFEST, files, seal, zipped};
use crate::support::world::World;
use matterstack::evidence::read::{Opened, Verification, verify};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A study of two runs, in a folder of its own.
fn study() -> (World, PathBuf) {
    let world = world();
    world.run(&["evidence", "demo", "--out", "study"]).code(0);
    let place = world.root().with_file_name("study");
    (world, place)
}

fn verified(place: &Path) -> Verification {
    let mut opened = Opened::open(place).expect("a study");
    verify(&mut opened, None, &compiler).expect("a verification")
}

/// What is found, as `what path`.
fn wrong(place: &Path) -> Vec<String> {
    verified(place).wrong.iter().map(|wrong| format!("{} {}", wrong.what.as_str(), wrong.path)).collect()
}

/// Changes a text within a file.
#[track_caller]
fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a text");
    assert!(text.contains(from), "{from}: {text}");
    fs::write(file, text.replacen(from, to, 1)).expect("a file");
}

#[test]
fn every_byte_of_a_study_that_is_altered_missing_or_added_is_named() {
    let (_world, place) = study();
    let all = files(&place);
    assert!(all.len() > 20 && wrong(&place).is_empty(), "{all:?}");
    for name in all.iter().filter(|name| *name != MANIFEST) {
        let path = place.join(name);
        let before = fs::read(&path).expect("a file");
        let mut altered = before.clone();
        altered[before.len() / 2] ^= 1;
        fs::write(&path, altered).expect("a change");
        assert_eq!(wrong(&place), [format!("altered {name}")]);
        fs::remove_file(&path).expect("a file");
        // without its document nothing says that it is a study
        assert!(wrong(&place).contains(&format!("missing {name}")), "{name}");
        fs::write(&path, before).expect("a file");
    }
    let manifest = fs::read(place.join(MANIFEST)).expect("a manifest");
    for at in (0..manifest.len()).step_by(37).chain([manifest.len() - 1]) {
        let mut altered = manifest.clone();
        altered[at] ^= 0x20;
        fs::write(place.join(MANIFEST), altered).expect("a change");
        assert!(!wrong(&place).is_empty(), "byte {at}");
    }
    fs::write(place.join(MANIFEST), manifest).expect("a manifest");
    for name in ["more", "runs/more", "runs/r/more", "runs/t/evidence.json"] {
        fs::create_dir_all(place.join(name).parent().expect("a folder")).expect("a folder");
        fs::write(place.join(name), "x").expect("a file");
        assert_eq!(wrong(&place), [format!("added {name}")]);
        fs::remove_file(place.join(name)).expect("a file");
    }
    std::os::unix::fs::symlink("r", place.join("runs/link")).expect("a link");
    assert_eq!(wrong(&place), ["added runs/link"]);
}

#[test]
fn what_agrees_with_the_manifest_of_a_study_must_agree_with_its_bundles() {
    let (world, place) = study();
    let kept = place.with_file_name("kept");
    let aside = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp").success());
    };
    aside(&place, &kept);
    // whoever changes a file writes the manifest of the study anew
    let found = |change: &dyn Fn()| {
        change();
        seal(&place);
        let found = wrong(&place);
        fs::remove_dir_all(&place).expect("a folder");
        aside(&kept, &place);
        found
    };
    let (r, s) = (place.join("runs/r"), place.join("runs/s"));
    let ids = |of: &[&str]| of.iter().map(|id| format!("record runs/{id}/state.sqlite")).collect::<Vec<_>>();
    assert_eq!(found(&|| change(&place.join("table.csv"), "0.25", "0.26")), ["record table.csv"]);
    assert_eq!(found(&|| change(&place.join("table.csv"), "y.loss", "y.gain")), ["record table.csv"]);
    assert_eq!(found(&|| change(&place.join("study.json"), "\"failed\": 1", "\"failed\": 0")), ["record study.json"]);
    assert_eq!(found(&|| change(&place.join("study.json"), "runs/s\"", "runs/r\"")), ["record study.json"]);
    assert_eq!(found(&|| change(&place.join("study.json"), "\"rows\": 2", "\"rows\": 3")), ["record study.json"]);
    assert_eq!(found(&|| change(&place.join("study.json"), "matterstack study", "something")), ["schema study.json"]);
    assert_eq!(found(&|| change(&place.join("study.json"), "\"run_id\"", "\"run\"")), ["schema study.json"]);
    assert!(found(&|| change(&place.join("study.json"), "\"s\"", "\"r\"")).contains(&"record study.json".to_owned()));
    // a bundle in the place of another, one twice, one that is gone, and what nobody has a bundle for
    let swap = || {
        for (from, to) in [(&r, &place.join("x")), (&s, &r), (&place.join("x"), &s)] {
            fs::rename(from, to).expect("a move");
        }
    };
    assert_eq!(found(&swap), ids(&["r", "s"]));
    let twice = || {
        fs::remove_dir_all(&s).expect("a folder");
        aside(&r, &s);
    };
    assert_eq!(found(&twice), ids(&["s"]));
    assert_eq!(found(&|| fs::remove_dir_all(&s).expect("a folder")), [format!("missing runs/s/{MANIFEST}")]);
    let third = found(&|| aside(&r, &place.join("runs/t")));
    assert!(!third.is_empty() && third.iter().all(|one| one.starts_with("record runs/t/")), "{third:?}");
    assert_eq!(found(&|| fs::write(place.join("paper.txt"), "mine").expect("a file")), ["record paper.txt"]);
    assert_eq!(found(&|| fs::remove_file(place.join("table.csv")).expect("a file")), ["missing table.csv"]);
    // within a bundle, also where its own manifest is written anew with it
    let readme = r.join("README.md");
    assert_eq!(found(&|| change(&readme, "completed", "succeeded")), ["altered runs/r/README.md"]);
    assert_eq!(found(&|| fs::remove_file(&readme).expect("a file")), ["missing runs/r/README.md"]);
    assert_eq!(found(&|| fs::write(r.join("more"), "x").expect("a file")), ["added runs/r/more"]);
    assert_eq!(found(&|| fs::remove_file(r.join(MANIFEST)).expect("a file")), [format!("missing runs/r/{MANIFEST}")]);
    let within = || {
        fs::remove_dir_all(&r).expect("a folder");
        aside(&kept, &r);
    };
    assert!(found(&within).contains(&"record runs/r/study.json".to_owned()));
    let count = || {
        let store = Connection::open(s.join("state.sqlite")).expect("a database");
        store.execute_batch("UPDATE task_counts SET n = n + 1 WHERE state = 'failed'").expect("a change");
        drop(store);
        seal(&s);
    };
    assert_eq!(found(&count), ["record runs/s/evidence.json", "store runs/s/state.sqlite"]);
    assert!(wrong(&place).is_empty());
    world.run(&["evidence", "verify", "study/runs/r"]).code(0);
}

#[test]
fn a_study_is_signed_and_every_bundle_of_it_replayed() {
    let (world, place) = study();
    let key = place.with_file_name("key");
    let mut keygen = Command::new("ssh-keygen");
    assert!(keygen.args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(&key).status().expect("ssh-keygen").success());
    let public = fs::read_to_string(key.with_extension("pub")).expect("a public key");
    fs::write(place.with_file_name("signers"), format!("ada@lab.example {public}")).expect("a file");
    fs::write(place.with_extension("zip"), zipped(&place)).expect("a zip");
    for form in ["study", "study.zip"] {
        world.run(&["evidence", "sign", form, "--key", key.to_str().expect("UTF-8")]).code(0);
        let found = world.run(&["evidence", "verify", form, "--signers", "signers", "--json"]).code(0).json();
        assert_eq!((&found["signed"]["signer"], &found["wrong"]), (&json!("ada@lab.example"), &json!([])), "{found}");
        assert_eq!((&found["run_id"], &found["replay"]), (&Value::Null, &Value::Null));
        let runs = found["study"]["runs"].as_array().expect("runs").iter();
        let runs: Vec<_> =
            runs.map(|run| json!([run["run_id"], run["replay"]["agreed"], run["replay"]["first"]])).collect();
        assert_eq!(runs, [json!(["r", 3, null]), json!(["s", 3, null])], "{found}");
        let told = world.run(&["evidence", "verify", form]).code(0).stdout;
        assert!(told.contains("2 run(s) of workspace `demo`\n6 decision(s) made again, 6 as recorded\n"), "{told}");
    }
    let done = world.run(&["replay", "study.zip"]).code(2);
    assert!(done.stderr.contains("`study.zip` is a study of many runs") && done.stderr.contains("`runs`"), "{done:?}");
    for (name, why) in [
        ("study", "name a folder below `study/runs`"),
        ("study/", "below"),
        ("study.zip", "to look into it, unpack it"),
    ] {
        let done = world.run(&["status", name]).code(2);
        assert!(done.stderr.contains(why), "{done:?}");
    }
    let done = world.run(&["evidence", "sign", "study/runs/r", "--key", key.to_str().expect("UTF-8")]).code(2);
    assert!(done.stderr.contains("it is part of the study") && wrong(&place).is_empty(), "{done:?}");
    // a zip of one thing takes no place of another, nor of somebody's own
    for (of, zip) in [("r", "study.zip"), ("demo", "bundle.zip"), ("demo", "mine.zip")] {
        match zip {
            "bundle.zip" => drop(world.run(&["evidence", "r", "--archive", zip]).code(0)),
            "mine.zip" => fs::write(place.with_file_name(zip), zipped(&world.workspace())).expect("a zip"),
            _ => {}
        }
        let before = fs::read(place.with_file_name(zip)).expect("a zip");
        let done = world.run(&["evidence", of, "--archive", zip]).code(2);
        assert!(done.stderr.contains("exists and is no zip of what is to be written there"), "{done:?}");
        assert!(fs::read(place.with_file_name(zip)).expect("a zip") == before, "{zip}");
    }
    // one decision of one run that comes out otherwise
    let store = Connection::open(place.join("runs/s/state.sqlite")).expect("a database");
    store.execute_batch("UPDATE decisions SET fuel = fuel + 1 WHERE number = 2").expect("a change");
    drop(store);
    let document = place.join("runs/s/evidence.json");
    let mut other: Value = serde_json::from_slice(&fs::read(&document).expect("a document")).expect("JSON");
    other["decisions"][1]["fuel"] = json!(other["decisions"][1]["fuel"].as_u64().expect("fuel") + 1);
    fs::write(&document, other.to_string()).expect("a document");
    seal(&place.join("runs/s"));
    seal(&place);
    let found = verified(&place);
    let named: Vec<_> = found.wrong.iter().map(|wrong| (wrong.what.as_str(), wrong.path.as_str())).collect();
    assert_eq!(named, [("signature", "manifest-sha256.txt.sig"), ("replay", "runs/s/state.sqlite")]);
}
