//! Who ticks a run: `status` says when that was last, where and how long it took, and whether anybody does now.
use crate::support::until;
use crate::support::world::World;
use serde_json::{Value, json};
use std::process::Stdio;

fn text(world: &World) -> String {
    world.run(&["status", "r"]).code(0).stdout
}

#[test]
fn status_says_who_ticked_last_and_when_nobody_does() {
    let world = World::with_tasks(
        &json!([{"id": "a", "operator": "local", "command": "while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.05; done"}]),
    );
    world.init();
    let status = world.status();
    assert_eq!((&status["last_tick"], &status["driven"]), (&Value::Null, &json!(false)));
    assert!(text(&world).contains("no tick yet; nobody ticks it now: `matterstack loop r` does\n"), "{}", text(&world));
    let before = now();
    world.run(&["step", "r"]).code(0);
    let status = world.status();
    let last = &status["last_tick"];
    assert_eq!(last["host"], matterstack::ground::machine::host_name());
    assert!(last["took_ms"].is_u64(), "{last}");
    assert!(last["at"].as_str().is_some_and(|at| at >= before.as_str() && at <= now().as_str()), "{last}");
    assert_eq!(status["driven"], false);
    let shown = text(&world);
    let line = shown.lines().find(|line| line.starts_with("last tick ")).expect("a line");
    let host = matterstack::ground::machine::host_name();
    assert!(line.contains(&format!(" ago on {host}, ")) && line.contains(" ms; nobody ticks it now: "), "{line}");
    // with somebody who does
    let mut driver = world.command(&["loop", "r"]).stdout(Stdio::null()).spawn().expect("a loop");
    until("the loop is seen", || world.status()["driven"] == true);
    assert!(!text(&world).contains("nobody"), "{}", text(&world));
    std::fs::write(world.run_dir("r").join("go"), "").expect("a file");
    assert!(driver.wait().expect("a loop").success());
    // what has ended needs nobody
    let status = world.status();
    assert_eq!((&status["driven"], &status["state"]), (&Value::Null, &json!("completed")));
    assert!(status["last_tick"]["took_ms"].is_u64() && !text(&world).contains("tick"), "{}", text(&world));
}

#[test]
fn what_was_ticked_elsewhere_may_be_ticked_there_still() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 600"}]));
    world.init();
    world.run(&["step", "r"]).code(0);
    let lock = world.run_dir("r").join("lock");
    let mut note: Value = serde_json::from_slice(&std::fs::read(&lock).expect("a note")).expect("JSON");
    for place in ["/host", "/tick/host"] {
        *note.pointer_mut(place).expect("a host") = json!("elsewhere");
    }
    std::fs::write(&lock, note.to_string()).expect("a note");
    assert_eq!(world.status()["driven"], Value::Null, "nobody can tell from here");
    assert!(text(&world).contains(" ago on elsewhere, ") && !text(&world).contains("nobody"), "{}", text(&world));
    // paused, it needs nobody either
    world.run(&["pause", "r"]).code(0);
    assert!(!text(&world).contains("nobody"), "{}", text(&world));
    world.run(&["cancel", "r"]).code(0);
}

/// Now, as times are printed.
fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    matterstack::model::time::Time(i64::try_from(since.as_millis()).expect("a time")).to_string()
}
