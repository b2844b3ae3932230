//! Files of a task that are put together of parts.
use crate::support::world::World;
use matterstack::model::document::sha256;
use serde_json::{Value, json};

/// A world whose one task is given such a file, of two inputs.
fn world(source: &Value) -> World {
    let task = json!([{"id": "a", "command": ["sh", "-c", "cat whole > out"], "files": {"whole": source}, "outputs": ["out"]}]);
    let mut config = crate::support::world::tasks_config(&task);
    config["campaign"]["inputs"] = json!({"one": "one", "two": "two"});
    let world = World::new(&config);
    world.write("one", "1,");
    world.write("two", "2\n");
    world
}

fn parts() -> [String; 2] {
    [sha256(b"1,"), sha256(b"2\n")]
}

#[test]
fn a_file_is_put_together_and_taken_away_when_its_attempt_has_completed() {
    let world = world(&json!({"digest": sha256(b"1,2\n"), "parts": parts()}));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let attempts = world.run(&["attempts", "r", "a", "--json"]).code(0).json();
    let directory = world.run_dir("r").join(attempts[0]["directory"].as_str().expect("a directory"));
    assert_eq!(std::fs::read(directory.join("out")).expect("an output"), b"1,2\n");
    assert!(!directory.join("whole").exists());
    assert_eq!(attempts[0]["inputs"][0]["sha256"], sha256(b"1,2\n").as_str(), "{attempts}");
    world.is_sound("r");
}

#[test]
fn parts_that_are_another_file_fail_the_attempt_and_those_that_are_not_there_the_plan() {
    let wrong = world(&json!({"digest": sha256(b"2\n1,"), "parts": parts()}));
    wrong.init();
    wrong.run(&["loop", "r"]).code(1);
    let said = wrong.run(&["explain", "r"]).stdout;
    assert!(said.contains("the parts of file `whole` are not what the digest"), "{said}");
    for (source, words) in [
        (json!({"digest": sha256(b"1,2\n"), "parts": ["0".repeat(64)]}), "0000"),
        (json!({"digest": sha256(b"1,2\n"), "parts": ["short"]}), "`short`"),
        (json!({"digest": sha256(b"1,2\n"), "parts": parts(), "stage": "link"}), "put together of parts"),
        (json!({"path": "one", "parts": parts()}), "parts"),
        (json!({"digest": sha256(b"1,2\n"), "parts": vec![sha256(b"1,"); 5000]}), "5000 parts"),
    ] {
        let world = world(&source);
        let init = world.run(&["init", "demo", "--run-id", "r"]);
        let said = format!("{}{}", init.stderr, world.run(&["explain", "r"]).stdout);
        assert!(said.contains(words), "{source}: {said}");
    }
}
