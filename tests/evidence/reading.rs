//! A bundle is a run directory that is read: what looks works on it, what would change it refuses.
use super::verified::stranger;
use super::{ended, names};
use crate::support::bundle::files;
use crate::support::world::World;
use serde_json::{Value, json};
use std::fs;

#[test]
fn commands_that_look_work_on_a_bundle() {
    let run = ended();
    let (there, place) = stranger(&run);
    let name = place.to_str().expect("UTF-8");
    for command in [&["tasks"][..], &["explain"], &["graph"], &["compare", "r"]] {
        let of = |world: &World, run: &str| {
            let mut words: Vec<&str> = command.iter().copied().filter(|word| *word != "r").collect();
            words.push(run);
            if command.contains(&"r") {
                words.push(run);
            }
            words.push("--json");
            if command[0] == "graph" {
                words.pop();
            }
            // hints name a bundle by its place
            world.run(&words).code(0).stdout.replace(name, "r")
        };
        assert_eq!(of(&there, name), of(&run, "r"), "{command:?}");
    }
    let status = there.run(&["status", name, "--json"]).code(0).json();
    assert_eq!((&status["run_id"], &status["state"]), (&json!("r"), &json!("completed")));
    let logs = there.run(&["logs", name, "last"]).code(0);
    assert_eq!(logs.stdout, "1\n");
    let silent = there.run(&["logs", name, "ok"]).code(0);
    assert!(silent.stderr.contains("has written nothing, or what it wrote is not in the bundle"), "{silent:?}");
    let path = there.run(&["path", name, "ok", "sub/s.txt"]).code(0).stdout;
    assert_eq!(fs::read_to_string(path.trim()).expect("a file"), "2\n");
    let none = there.run(&["path", name, "ok"]).code(2);
    assert!(none.stderr.contains("no directories of attempts") && none.stderr.contains("r.json"), "{none:?}");
    let of = |world: &World, run: &str| {
        let mut table = world.run(&["table", run, "--fields", "r.json", "--format", "json"]).code(0).json();
        for row in table.as_array_mut().into_iter().flatten() {
            row.as_object_mut().expect("a row").remove("path");
        }
        table
    };
    assert_eq!(of(&there, name), of(&run, "r"));
    there.run(&["export", name, "--out", "copies"]).code(0);
    let copies = there.root().with_file_name("copies");
    assert_eq!(files(&copies), ["manifest.json", "ok/r.json", "ok/sub/s.txt"]);
    assert_eq!(there.run(&["attempts", name, "bad", "--json"]).code(0).json().as_array().map(Vec::len), Some(2));
    there.run(&["report", name, "--out", "page.html"]).code(0);
    there.run(&["backup", name, "--out", "copy.sqlite"]).code(0);
    assert_eq!(there.run(&["replay", name, "--json"]).code(0).json()["first"], Value::Null);
    // from within it, too
    let inside = there.command(&["status", ".", "--json"]).current_dir(&place).output().expect("the binary runs");
    assert!(inside.status.success(), "{inside:?}");
    // looking has left nothing in it
    there.run(&["evidence", "verify", name]).code(0);
}

#[test]
fn what_would_change_a_bundle_is_refused() {
    let (there, place) = stranger(&ended());
    let (name, before) = (place.to_str().expect("UTF-8"), files(&place));
    fs::write(there.root().with_file_name("results.csv"), "x\n1\n").expect("a table");
    for command in [
        &["step", name][..],
        &["step", name, "--dry-run"],
        &["loop", name],
        &["pause", name],
        &["resume", name],
        &["cancel", name],
        &["adopt", name],
        &["amend", name, "config", "limits.max_active=3"],
        &["amend", name, "config", "limits.max_active=3", "--dry-run"],
        &["rerun", name, "ok"],
        &["rerun", name, "ok", "--dry-run"],
        &["settle", name, "bad", "--completed"],
        &["reuse", "reject", name, "ok"],
        &["respond", name, "ok", "--approve"],
        &["note", name, "a note"],
        &["tell", name, "results.csv"],
        &["kit", "export", name],
        &["kit", "import", "results.csv", "--run", name],
        &["clean", name, "--failed"],
        &["rm", name],
        &["evidence", name],
        &["evidence", name, "--out", "again"],
        &["report", name],
        &["doctor", name],
    ] {
        let done = there.run(command).code(2);
        assert!(done.stderr.contains("is a bundle of evidence"), "{command:?}: {done:?}");
    }
    assert_eq!(files(&place), before);
    there.run(&["evidence", "verify", name]).code(0);
    // one that somebody put beside runs is none of them
    let beside = there.workspace().join("runs/r");
    fs::create_dir_all(beside.parent().expect("a folder")).expect("a folder");
    fs::rename(&place, &beside).expect("a move");
    assert_eq!(there.run(&["list", "--json"]).code(0).json(), json!([]));
    there.run(&["loop", "--all"]).code(0);
    assert!(names(&beside).contains(&"state.sqlite".to_owned()));
}
