//! `fork`: a run that goes on from before a decision of another.
use crate::support::guest;
use crate::support::world::{self, World, tasks_config};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// What is recorded of a run.
fn evidence(world: &World, run: &str) -> Value {
    let out = tempfile::tempdir().expect("a scratch directory");
    let place = out.path().join("bundle");
    world.run(&["evidence", run, "--out", place.to_str().expect("UTF-8")]).code(0);
    serde_json::from_slice(&fs::read(place.join("evidence.json")).expect("a bundle")).expect("JSON")
}

/// Every file of a run but those that a look touches, by its path, with what it holds.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                found.insert(path.display().to_string(), fs::read(&path).expect("a file"));
            }
        }
    }
    // the supervisor of its jobs may be ending still
    found.retain(|path, _| !path.ends_with("-wal") && !path.ends_with("-shm") && !path.contains("/backends/"));
    found
}

fn states(world: &World, run: &str) -> Vec<String> {
    let tasks = world.run(&["tasks", run, "--json"]).code(0).json();
    let of = |task: &Value| {
        let word = |key: &str| task[key].as_str().expect("a text").to_owned();
        let mark = if task["reused"].is_null() { "" } else { "*" };
        format!("{}={}{mark}", word("id"), word("state"))
    };
    tasks.as_array().expect("a list").iter().map(of).collect()
}

fn bisecting(iterations: u32) -> World {
    let mut config = tasks_config(&json!([]));
    let params = json!({"lo": 0, "hi": 1024, "target": 613, "iterations": iterations});
    config["campaign"] = json!({"plugin": "loop.wasm", "params": params, "seed": 42});
    let world = World::new(&config);
    fs::copy(guest("loop-rust"), world.workspace().join("loop.wasm")).expect("the guest");
    world
}

#[test]
fn a_fork_equals_its_parent_up_to_the_decision_and_goes_on_alone() {
    let world = bisecting(5);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let before = files(&world.run_dir("r"));
    let made = world.run(&["fork", "r", "--at", "6", "--run-id", "f", "--label", "other", "--json"]).code(0).json();
    assert_eq!((&made["parent"], &made["at"], &made["missing"]), (&json!("r"), &json!(6), &json!([])));
    let shared = made["shared"].clone();
    assert_eq!(shared["decisions"], 5);
    assert_eq!(shared["open"], 0, "what decision 6 was about to hear of has ended");
    assert!(states(&world, "f").iter().all(|task| task.ends_with("=completed*")), "{:?}", states(&world, "f"));
    world.is_sound("f");
    // as it stands, decisions and reads of files are made again from the fork alone
    let (parent, fork) = (evidence(&world, "r"), evidence(&world, "f"));
    assert_eq!(
        fork["decisions"].as_array().expect("decisions")[..],
        parent["decisions"].as_array().expect("them")[..5]
    );
    let acts = fork["acts"].as_array().expect("acts");
    let last = acts.last().expect("an act");
    assert_eq!(
        (&last["verb"], &last["arguments"]["run"], &last["arguments"]["at"]),
        (&json!("fork"), &json!("r"), &json!(6))
    );
    world.run(&["loop", "f"]).code(0);
    world.is_sound("f");
    let done = evidence(&world, "f");
    assert_eq!(done["run"]["result"], parent["run"]["result"], "the same campaign comes to the same");
    let output = |run: &Value, at: usize| run["decisions"][at]["output_sha256"].clone();
    assert_eq!((output(&done, 5), output(&done, 10)), (output(&parent, 5), output(&parent, 10)));
    let ran = states(&world, "f").iter().filter(|task| !task.ends_with('*')).count() as u64;
    assert_eq!(
        ran + shared["tasks"].as_u64().expect("a count"),
        parent["tasks"].as_array().expect("tasks").len() as u64
    );
    assert_eq!(files(&world.run_dir("r")), before, "the parent was only read");
    // a fork of a fork knows of both
    world.run(&["fork", "f", "--at", "9", "--run-id", "g", "--set", "campaign.params.target=10"]).code(0);
    world.is_sound("g");
    world.run(&["loop", "g"]).code(0);
    world.is_sound("g");
    let under = |run: &Value, at: usize| run["decisions"][at]["config_sha256"].clone();
    let third = evidence(&world, "g");
    assert_ne!(under(&third, 8), under(&third, 7), "from decision 9 on it goes by something else");
    world.run(&["fork", "g", "--at", "3", "--run-id", "h"]).code(0);
    world.is_sound("h");
}

#[test]
fn another_campaign_goes_on_with_the_state_and_the_results() {
    let world = bisecting(4);
    world.init();
    world.run(&["loop", "r"]).code(0);
    // the same guest with a custom section: another plugin that decides alike
    let mut bytes = fs::read(guest("loop-rust")).expect("the guest");
    bytes.extend_from_slice(&[0, 2, 1, b'x']);
    fs::write(world.workspace().join("other.wasm"), bytes).expect("a plugin");
    let other = world.workspace().join("other.wasm");
    let other = other.to_str().expect("UTF-8");
    let made = world.run(&["fork", "r", "--at", "5", "--run-id", "f", "--plugin", other, "--json"]).code(0).json();
    world.run(&["loop", "f"]).code(0);
    world.is_sound("f");
    let (parent, fork) = (evidence(&world, "r"), evidence(&world, "f"));
    let plugin = |run: &Value, at: usize| run["decisions"][at]["plugin_sha256"].clone();
    assert_eq!(plugin(&fork, 3), plugin(&parent, 3));
    assert_eq!(plugin(&fork, 4), made["plugin"]["sha256"], "from decision 5 on the other decides");
    assert_eq!(fork["run"]["result"], parent["run"]["result"]);
}

#[test]
fn what_a_rerun_and_an_amendment_did_later_is_not_in_what_was_heard_before() {
    let world = World::with_tasks(&json!([
        {"id": "a", "command": "test -e ../../../ok && echo fine > a.dat", "outputs": ["a.dat"]},
        {"id": "b", "command": "cat a > b.dat", "files": {"a": {"from": "a", "output": "a.dat"}}, "outputs": ["b.dat"]},
        {"id": "c", "command": "echo c > c.dat", "outputs": ["c.dat"]},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(1);
    world.run(&["resume", "r", "--reason", "mended"]).code(0);
    world.run(&["amend", "r", "config", "limits.max_active=3"]).code(0);
    fs::write(world.run_dir("r").join("ok"), "").expect("a file");
    world.run(&["loop", "r"]).code(0);
    // decision 3 failed the run: it had heard that `a` failed and `b` was skipped
    world.run(&["fork", "r", "--at", "3", "--run-id", "f"]).code(0);
    assert_eq!(states(&world, "f"), ["a=failed*", "b=skipped", "c=completed*"]);
    world.is_sound("f");
    world.run(&["loop", "f"]).code(1);
    world.is_sound("f");
    // before decision 2 nothing was heard: what ended since is taken as it ended, also what was brought back
    world.run(&["fork", "r", "--at", "2", "--run-id", "g"]).code(0);
    assert_eq!(states(&world, "g"), ["a=completed*", "b=completed*", "c=completed*"]);
    world.run(&["loop", "g"]).code(0);
    world.is_sound("g");
    let path = world.run(&["path", "g", "b", "b.dat"]).code(0).stdout;
    assert_eq!(fs::read_to_string(path.trim()).expect("the file"), "fine\n");
}

#[test]
fn what_is_rerun_now_is_rerun_in_the_fork_and_what_was_read_of_it_before_is_there() {
    let world = bisecting(2);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let last = states(&world, "r").last().expect("a task").replace("=completed", "");
    world.run(&["rerun", "r", &last]).code(0);
    let made = world.run(&["fork", "r", "--at", "6", "--run-id", "f", "--json"]).code(0).json();
    assert_eq!((&made["shared"]["tasks"], &made["shared"]["open"]), (&json!(5), &json!(1)), "{made}");
    // a decision whose state the rerun has left behind had read what the task left the first time
    world.is_sound("f");
    world.run(&["loop", "f"]).code(0);
    world.is_sound("f");
    assert!(states(&world, "f").contains(&format!("{last}=completed")), "it ran here: {:?}", states(&world, "f"));
    // a campaign that takes back what it was told is told anew in the fork too
    let mut config = tasks_config(&json!([]));
    let params = json!({"lo": 0, "hi": 1024, "target": 613, "iterations": 1, "ask": true});
    config["campaign"] = json!({"plugin": "loop.wasm", "params": params, "seed": 42, "analyze": "each-result",
        "takes_back": true});
    world.write("config.json", &config.to_string());
    world.run(&["init", "demo", "--run-id", "k"]).code(0);
    world.run(&["loop", "k"]);
    let first = states(&world, "k")[0].replace("=completed", "");
    world.run(&["rerun", "k", &first]).code(0);
    let at = evidence(&world, "k")["decisions"].as_array().expect("decisions").len() + 1;
    world.run(&["fork", "k", "--at", &at.to_string(), "--run-id", "l"]).code(0);
    world.is_sound("l");
    assert_eq!(states(&world, "l")[0], format!("{first}=pending"));
    world.run(&["loop", "l"]);
    world.run(&["resume", "l", "--set", "n=1"]).code(0);
    world.run(&["loop", "l"]).code(0);
    world.is_sound("l");
    assert_eq!(evidence(&world, "l")["run"]["result"]["corrected"], 1);
    // before it was brought back, it was not
    world.run(&["fork", "k", "--at", &(at - 1).to_string(), "--run-id", "m"]).code(0);
    world.is_sound("m");
    assert_eq!(states(&world, "m")[0], format!("{first}=completed*"));
}

#[test]
fn of_two_forks_with_one_id_there_is_one() {
    let world = bisecting(2);
    world.init();
    world.run(&["loop", "r"]).code(0);
    for round in 0..3 {
        let id = format!("f{round}");
        let arguments = ["fork", "r", "--at", "4", "--run-id", &id];
        let begun = [0, 1].map(|_| {
            let mut command = world.command(&arguments);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a fork")
        });
        let ended = begun.map(|child| world::done(child.wait_with_output().expect("an end")));
        let (made, refused): (Vec<_>, Vec<_>) = ended.iter().partition(|done| done.code == Some(0));
        assert_eq!(made.len(), 1, "{ended:?}");
        assert!(refused[0].code == Some(2) && refused[0].stderr.contains("exists already"), "{ended:?}");
        world.is_sound(&id);
    }
    let entries = fs::read_dir(world.workspace().join("runs")).expect("runs").flatten();
    assert_eq!(entries.count(), 4, "nothing is left of those that were refused");
}

#[test]
fn what_goes_on_runs_again_and_what_is_gone_is_named() {
    let world = World::with_tasks(&json!([
        {"id": "slow", "command": "while test -e ../../../../../hold; do sleep 0.05; done; echo s > s.dat", "outputs": ["s.dat"]},
        {"id": "gone", "command": "echo g > g.dat", "outputs": ["g.dat"]},
        {"id": "there", "command": "echo t > t.dat", "outputs": ["t.dat"]},
    ]));
    world.write("hold", "");
    world.init();
    crate::support::until("two of three have ended", || {
        world.run(&["step", "r"]).code(0);
        world.status()["tasks"]["completed"] == 2
    });
    let lost = world.run(&["path", "r", "gone", "g.dat"]).code(0).stdout;
    fs::remove_file(lost.trim()).expect("an output");
    // whoever drives the other run is not asked, and drives on
    let mut driver = world.waiting_loop(&[]);
    let made = world.run(&["fork", "r", "--at", "2", "--run-id", "f", "--json"]).code(0);
    assert!(made.stderr.contains("1 file(s) of results are gone or changed there"), "{made:?}");
    assert_eq!(made.json()["shared"], json!({"decisions": 1, "tasks": 1, "open": 2}));
    assert_eq!(states(&world, "f"), ["slow=pending", "gone=pending", "there=completed*"]);
    world.is_sound("f");
    fs::remove_file(world.workspace().join("hold")).expect("the hold");
    world.run(&["loop", "f"]).code(0);
    world.is_sound("f");
    assert_eq!(states(&world, "f"), ["slow=completed", "gone=completed", "there=completed*"]);
    assert!(driver.wait().expect("the loop").success());
    assert_eq!(world.status()["state"], "completed");
}

#[test]
fn a_fork_that_cannot_be_is_refused_and_leaves_nothing() {
    let world = bisecting(2);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let names = || {
        let entries = fs::read_dir(world.workspace().join("runs")).expect("runs").flatten();
        entries.map(|entry| entry.file_name()).collect::<Vec<_>>()
    };
    for (arguments, said) in [
        (&["--at", "1"][..], "before decision 1 there is nothing"),
        (&["--at", "7"], "has made 5 decision(s), and none is number 7"),
        (&["--at", "3", "--run-id", "r"], "exists already"),
        (&["--at", "3", "--run-id", "a b"], "cannot be the id of a run"),
        (&["--at", "3", "--set", "campaign.plugin=x"], "cannot be amended"),
        (&["--at", "3", "--set", "limits.nothing=1"], "nothing"),
        (&["--at", "3", "--plugin", "nothing.wasm"], "cannot be read"),
        (&["--at", "3", "--plugin", "builtin:compute"], "is an operator where a campaign is needed"),
        (&["--at", "3", "--file", "nothing.txt"], "the workspace has no file `nothing.txt`"),
    ] {
        let done = world.run(&[&["fork", "r"], arguments].concat());
        assert!(matches!(done.code, Some(2 | 4)) && done.stderr.contains(said), "{arguments:?}: {done:?}");
        assert_eq!(names(), ["r"], "{arguments:?}");
    }
    // a bundle lies in no workspace, and nothing may be put beside it
    let place = tempfile::tempdir().expect("a folder");
    let bundle = place.path().join("bundle");
    let bundle = bundle.to_str().expect("UTF-8");
    world.run(&["evidence", "r", "--out", bundle]).code(0);
    let done = world.run(&["fork", bundle, "--at", "3"]).code(2);
    assert!(done.stderr.contains("go on with the run that it was made from"), "{done:?}");
    assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 1);
    // a fork that is killed leaves nothing that is taken for a run, and the next takes it away
    let killed =
        world.run_with(&["fork", "r", "--at", "3", "--run-id", "f"], &[("MATTERSTACK_FAILPOINT", "fork.rename:1")]);
    assert_ne!(killed.code, Some(0), "{killed:?}");
    let runs = world.run(&["list", "--json"]).code(0).json();
    assert_eq!(runs.as_array().expect("a list").len(), 1, "{runs}");
    world.run(&["fork", "r", "--at", "3", "--run-id", "f"]).code(0);
    assert_eq!(names().len(), 2, "{:?}", names());
}
