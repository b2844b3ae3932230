//! Every command that is printed works as it stands, also where something went wrong: each is typed, as in `typed`.
use super::typed::{DASHED, LOOKS, QUOTED, Situation, all_work, made, task};
use crate::support::world::World;
use crate::support::{supervisors, until};
use serde_json::{Value, json};
use std::process::Command;

/// Two tasks, the first of which has these further keys, that are driven until nothing moves by itself.
fn driven(command: &str, more: &Value, change: impl FnOnce(&mut Value)) -> World {
    let mut first = task(DASHED, command);
    for (key, value) in more.as_object().expect("keys") {
        first[key] = value.clone();
    }
    let world = made(&json!([first, task(QUOTED, "true")]), change);
    world.run(&["loop", "r", "--timeout", "60s"]);
    world
}

fn waits_for_approval() -> World {
    driven("true", &json!({}), |config| config["operators"]["local"]["approve"] = json!({"by": ["root"]}))
}

fn waits_for_somebody_else() -> World {
    driven("true", &json!({}), |config| config["operators"]["local"]["approve"] = json!({"by": ["daemon"]}))
}

fn disapproved() -> World {
    let world = waits_for_approval();
    world.run(&["respond", "r", "--reject", "--", DASHED]).code(0);
    world.run(&["step", "r"]).code(0);
    world
}

fn out_of_budget() -> World {
    driven("true", &json!({}), |config| config["operators"]["local"]["budget"] = json!({"attempts": 1}))
}

fn out_of_time() -> World {
    driven("exec sleep 60", &json!({"resources": {"walltime_s": 0.3}}), |_| ())
}

fn without_secret() -> World {
    driven("true", &json!({"env": {"A": {"secret": "missing"}}}), |_| ())
}

fn without_setup() -> World {
    driven("true", &json!({}), |config| config["backends"]["local"]["setup"] = json!(["false"]))
}

fn without_program() -> World {
    driven("true", &json!({"command": ["no-such-program"]}), |_| ())
}

fn without_output() -> World {
    driven("true", &json!({"outputs": ["nothing.dat"]}), |_| ())
}

fn too_talkative() -> World {
    driven("yes", &json!({}), |config| config["limits"] = json!({"attempt_log_mb": 1}))
}

fn without_plugin() -> World {
    let world = made(&json!([task(DASHED, "true"), task(QUOTED, "true")]), |_| ());
    let plugins = std::fs::read_dir(world.run_dir("r").join("plugins")).expect("plugins").flatten();
    for plugin in plugins.filter(|entry| entry.file_name().to_string_lossy().contains("compute")) {
        std::fs::remove_file(plugin.path()).expect("ours");
    }
    world
}

/// Asks an operator that waits for something outside.
fn outside(operator: &str, work: &Value) -> World {
    let tasks = [DASHED, QUOTED].map(|id| {
        let mut task = json!({"id": id, "operator": "local"});
        task.as_object_mut().expect("keys").extend(work.as_object().expect("keys").clone());
        task
    });
    let world = made(&json!(tasks), |config| config["operators"]["local"] = json!({"plugin": operator}));
    world.run(&["step", "r"]).code(0);
    world
}

fn at_the_instrument() -> World {
    outside("builtin:experiment", &json!({"input": {"recipe": 7}}))
}

fn in_a_kit() -> World {
    outside("builtin:manual-hpc", &json!({"command": "true"}))
}

/// The supervisor dies while a job runs, which goes on and ends unseen.
fn unseen() -> World {
    let world =
        made(&json!([task(DASHED, "while [ ! -e ../../../go ]; do sleep 0.02; done"), task(QUOTED, "true")]), |_| ());
    world.run(&["step", "r"]).code(0);
    until("the job runs", || {
        world.run(&["step", "r"]).code(0);
        world.run(&["attempts", "r", "--json", "--", DASHED]).json()[0]["state"] == "running"
    });
    for pid in supervisors(&world.run_dir("r")) {
        Command::new("kill").args(["-9", &pid]).status().expect("killed");
    }
    std::fs::write(world.run_dir("r").join("go"), "").expect("a file");
    world.run(&["loop", "r", "--timeout", "60s"]);
    world
}

fn taken_away() -> World {
    let make = json!({"id": DASHED, "operator": "local", "command": "echo 1 > y", "outputs": ["y"]});
    let take =
        json!({"id": QUOTED, "operator": "local", "command": "cat y", "files": {"y": {"from": DASHED, "output": "y"}}});
    let world = made(&json!([make, take]), |_| ());
    world.run(&["loop", "r"]).code(0);
    world.run(&["clean", "r", "--outputs", "*"]).code(0);
    world.run(&["rerun", "r", QUOTED]).code(0);
    world.run(&["loop", "r"]).code(1);
    world
}

fn held() -> World {
    let world = made(&json!([]), |config| {
        config["campaign"] = json!({"plugin": "builtin:ask-tell", "params": {
            "ask": {"command": "echo no idea >&2; exit 3"}, "tell": {"command": "true"},
            "variables": {"x": [0, 1]}, "objectives": {"y": "MINIMIZE"}, "budget": {"trials": 4}}});
    });
    world.run(&["loop", "r", "--timeout", "60s"]).code(5);
    world
}

const SITUATIONS: &[Situation] = &[
    ("waits for approval", waits_for_approval, LOOKS),
    ("waits for somebody else", waits_for_somebody_else, LOOKS),
    ("disapproved", disapproved, LOOKS),
    ("out of budget", out_of_budget, LOOKS),
    ("out of time", out_of_time, LOOKS),
    ("without secret", without_secret, LOOKS),
    ("without setup", without_setup, LOOKS),
    ("without program", without_program, LOOKS),
    ("without output", without_output, LOOKS),
    ("too talkative", too_talkative, LOOKS),
    ("without plugin", without_plugin, LOOKS),
    ("at the instrument", at_the_instrument, LOOKS),
    ("in a kit", in_a_kit, LOOKS),
    ("unseen", unseen, LOOKS),
    ("taken away", taken_away, LOOKS),
    ("held", held, LOOKS),
    ("mistakes when unseen", unseen, MISTAKES),
    ("mistakes when approval is waited for", waits_for_approval, MISTAKES),
    ("mistakes when something was taken away", taken_away, MISTAKES),
];

/// What a person may get wrong then.
const MISTAKES: &[&[&str]] = &[
    &["clean", "r"],
    &["clean", "r", "--outputs", "*"],
    &["rm", "r"],
    &["path", "r", DASHED, "y"],
    &["logs", "r", QUOTED, "--attempt", "7"],
    &["export", "r", "--out", "out"],
    &["settle", "r", QUOTED, "--completed"],
    &["rerun", "r", QUOTED],
    &["respond", "r", QUOTED, "--set", "a=1"],
    &["resume", "r"],
    &["replay", "nothing"],
    &["evidence", "nothing"],
    &["evidence", "verify", "nothing"],
    &["table", "r", "--fields", "nothing.json"],
    &["compare", "r", "nothing"],
    &["init", "demo", "--reuse", "nothing"],
    &["plugin", "inspect", "nothing.wasm"],
    &["kit", "import", "nothing.tar"],
];

#[test]
fn every_command_that_is_printed_in_trouble_works_when_typed() {
    let tried = all_work(SITUATIONS);
    assert!(tried > 40, "only {tried} commands were printed");
}
