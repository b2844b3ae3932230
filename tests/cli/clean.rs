//! `clean`: what attempts left is removed, and everything that looks for it says so.
use crate::support::world::World;
use serde_json::{Value, json};
use std::fs;

/// A task that leaves two files, one that takes the first of them, and one that failed.
fn ended() -> World {
    let world = World::with_tasks(&json!([
        {"id": "make", "command": "echo '{\"n\": 1}' > y.json; head -c 20000 /dev/zero > wave.bin", "outputs": ["y.json", "wave.bin"]},
        {"id": "take", "command": "cat wave.bin > /dev/null", "files": {"wave.bin": {"from": "make", "output": "wave.bin"}}},
        {"id": "bad", "command": "echo no >&2; exit 3", "allow_failure": true},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    world
}

fn directory(world: &World, task: &str) -> std::path::PathBuf {
    world.run(&["path", "r", task]).code(0).stdout.trim().into()
}

/// No file is missing or changed, and so many were removed.
fn removed(world: &World, count: u64) {
    let evidence = world.evidence();
    assert_eq!(evidence["findings"], json!([]));
    assert_eq!(evidence["verified"]["removed"], count, "{}", evidence["verified"]);
    world.run(&["doctor", "r"]).code(0);
}

#[test]
fn outputs_are_removed_and_everything_that_looks_for_them_says_so() {
    let world = ended();
    let wave = directory(&world, "make").join("wave.bin");
    let tried = world.run(&["clean", "r", "--outputs", "*.bin", "--dry-run"]).code(0);
    assert!(
        tried.stderr.contains("dry run, nothing is changed: run `r`: 0 directories of attempts and 1 outputs"),
        "{tried:?}"
    );
    assert!(wave.exists());
    let done = world.run(&["clean", "r", "--outputs", "*.bin", "--json"]).code(0).json();
    assert!(done[0]["outputs"] == 1 && done[0]["bytes"].as_u64() >= Some(20_000), "{done}");
    assert!(!wave.exists() && directory(&world, "make").join("y.json").exists());
    removed(&world, 1);

    let says = |done: crate::support::world::Done| {
        assert!(done.stderr.contains("was removed by `clean` on 20") && done.stderr.contains(" by "), "{done:?}");
    };
    says(world.run(&["path", "r", "make", "wave.bin"]).code(2));
    says(world.run(&["export", "r", "--out", "out"]).code(74));
    says(world.run(&["table", "r", "--fields", "wave.bin"]).code(0));
    says(world.run(&["report", "r", "--fields", "wave.bin"]).code(0));
    let acts = world.evidence()["acts"].clone();
    let act = acts.as_array().expect("acts").iter().find(|act| act["verb"] == "clean").expect("an act");
    assert_eq!(act["arguments"]["outputs"], json!(["*.bin"]));
    let outputs = world.run(&["tasks", "r", "make", "--json"]).code(0).json()[0]["outputs"].clone();
    assert_eq!(outputs.as_array().map(Vec::len), Some(2), "the digests stay: {outputs}");

    world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
    let explained = world.run(&["explain", "two", "make", "--reuse"]).code(0).stdout;
    assert!(explained.contains("was removed by `clean`"), "{explained}");
    world.run(&["cancel", "two"]).code(0);

    world.run(&["rerun", "r", "take"]).code(0);
    world.run(&["loop", "r"]);
    let why = world.run(&["tasks", "r", "take"]).stdout;
    assert!(why.contains("was removed by `clean`") && why.contains("matterstack rerun r make"), "{why}");
    world.run(&["rerun", "r", "make", "--recursive"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert!(world.tasks().contains("take=completed"), "{}", world.tasks());
    removed(&world, 1);
    world.run(&["clean", "r", "--outputs", "nothing-*"]).code(0);
}

#[test]
fn directories_of_what_was_superseded_or_failed_are_removed() {
    let world = ended();
    let (first, bad) = (directory(&world, "make"), directory(&world, "bad"));
    world.run(&["rerun", "r", "make"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let second = directory(&world, "make");
    let done = world.run(&["clean", "r", "--superseded", "--json"]).code(0).json();
    assert_eq!((&done[0]["directories"], &done[0]["outputs"]), (&json!(1), &json!(0)));
    assert!(!first.exists() && second.join("wave.bin").exists() && bad.exists());
    let logs = world.run(&["logs", "r", "make", "--attempt", "1"]).code(2);
    assert!(logs.stderr.contains("what attempt 1 wrote was removed by `clean`"), "{logs:?}");
    world.run(&["clean", "r", "--failed"]).code(0);
    assert!(!bad.exists() && second.exists());
    let evidence = world.evidence();
    assert_eq!(evidence["findings"], json!([]));
    let attempts: Vec<&Value> = evidence["attempts"].as_array().expect("a list").iter().collect();
    assert_eq!(attempts.iter().filter(|attempt| attempt["removed"][0]["path"] == "").count(), 2);
    assert_eq!(world.run(&["clean", "r", "--failed", "--json"]).code(0).json()[0]["bytes"], 0);
    world.is_sound("r");
}

#[test]
fn what_is_needed_is_not_removed_and_what_to_remove_has_to_be_said() {
    let world = World::with_tasks(&json!([
        {"id": "a", "command": "echo 1 > y.json", "outputs": ["y.json"]},
        {"id": "b", "command": "while [ ! -e ../../../go ]; do sleep 0.02; done; exit 3", "allow_failure": true},
    ]));
    world.init();
    let wrong = world.run(&["clean", "r"]).code(2);
    for flag in ["--superseded", "--failed", "--outputs", "--remote"] {
        assert!(wrong.stderr.contains(flag), "{wrong:?}");
    }
    world.run(&["clean", "r", "--outputs", "[", "--dry-run"]).code(2);
    crate::support::until("a has ended", || {
        world.run(&["step", "r"]).code(0);
        world.tasks().contains("a=completed b=running")
    });
    let early = world.run(&["clean", "r", "--outputs", "*"]).code(2);
    assert!(early.stderr.contains("its tasks may need what others left"), "{early:?}");
    let live = directory(&world, "b");
    world.run(&["clean", "r", "--failed", "--superseded"]).code(0);
    assert!(live.exists());
    fs::write(world.run_dir("r").join("go"), "").expect("a file");
    world.run(&["loop", "r"]).code(0);
    world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
    fs::write(world.run_dir("two").join("go"), "").expect("a file");
    world.run(&["loop", "two"]).code(0);
    let taken = world.run(&["clean", "r", "--outputs", "*"]).code(2);
    assert!(taken.stderr.contains("run `two` took results of run `r`"), "{taken:?}");
    world.run(&["clean", "r", "--failed"]).code(0);
    let remote = world.run(&["clean", "r", "--remote"]).code(0);
    assert!(remote.stderr.contains("no backend of this run has directories of its own"), "{remote:?}");
    world.run(&["clean", "r", "--outputs", "*", "--anyway"]).code(0);
    world.is_sound("two");
    let table = world.run(&["table", "two", "--fields", "y.json", "--json"]).code(0).json();
    assert_eq!(table[0]["reused"], true, "{table}");
}

#[test]
fn a_clean_that_dies_has_told_the_truth_and_the_next_ends_it() {
    for place in ["clean.recorded", "clean.removed"] {
        let world = ended();
        let (make, bad) = (directory(&world, "make"), directory(&world, "bad"));
        let arguments = ["clean", "r", "--failed", "--outputs", "*"];
        let died = world.run_with(&arguments, &[("MATTERSTACK_FAILPOINT", place)]);
        assert_ne!(died.code, Some(0), "{died:?}");
        let left =
            [make.join("y.json"), make.join("wave.bin"), bad.clone()].iter().filter(|path| path.exists()).count();
        assert_eq!(left, if place == "clean.recorded" { 3 } else { 2 });
        let exported = world.run(&["export", "r", "--out", "out"]).code(74);
        assert!(exported.stderr.contains("was removed by `clean`"), "{exported:?}");
        assert_eq!(world.evidence()["findings"], json!([]));
        let done = world.run(&["clean", "r", "--superseded", "--json"]).code(0).json();
        assert!(done[0]["bytes"].as_u64() > Some(0), "{done}");
        assert!(!make.join("y.json").exists() && !make.join("wave.bin").exists() && !bad.exists());
        world.is_sound("r");
    }
}
