//! Every command that is printed works as it stands: each is typed into a shell, in the situation in which it was told.
use crate::support::until;
use crate::support::world::{Done, PROGRAM, World, done, tasks_config};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Ids that a shell or an option parser would take for something else.
pub(crate) const DASHED: &str = "-a b";
pub(crate) const QUOTED: &str = "it's $HOME";

/// A situation: its name, how it comes about, and what is then looked at or tried.
pub(super) type Situation = (&'static str, fn() -> World, &'static [&'static [&'static str]]);

pub(crate) const LOOKS: &[&[&str]] = &[
    &["status", "r"],
    &["status", "r", "--json"],
    &["explain", "r", "--json"],
    &["explain", "r", "--json", "--", DASHED],
    &["explain", "r", "--json", QUOTED],
    &["tasks", "r"],
    &["doctor", "r"],
    &["list"],
    &["loop", "r", "--timeout", "300ms"],
];

/// Commands that change nothing, so that the situation stays as it is.
const LOOK_ONLY: [&str; 8] = ["attempts", "doctor", "explain", "list", "logs", "status", "table", "tasks"];

/// What a person may get wrong.
const MISTAKES: &[&[&str]] = &[
    &["status", "other"],
    &["status", "workspaces"],
    &["tasks", "r", "nothing"],
    &["attempts", "r", "nothing"],
    &["logs", "r", "nothing"],
    &["logs", "r", "--", DASHED],
    &["explain", "r", "nothing"],
    &["explain", "r", "--reuse", QUOTED],
    &["tasks", "r", "--state", "nothing"],
    &["path", "r", QUOTED, "nothing"],
    &["rerun", "r", "nothing"],
    &["rerun", "r", "--", DASHED],
    &["rerun", "r", QUOTED],
    &["rerun", "r", "--state", "nothing"],
    &["settle", "r", QUOTED, "--failed"],
    &["settle", "r", "--failed", "--", DASHED],
    &["cancel", "r", "nothing"],
    &["respond", "r", QUOTED],
    &["respond", "r", "--approve", "--", DASHED],
    &["kit", "export", "r"],
    &["kit", "export", "r", QUOTED],
    &["reuse", "reject", "r", QUOTED],
    &["note", "r", " "],
    &["tell", "r", "workspaces/demo/config.json"],
    &["rm", "r"],
    &["amend", "r", "config", "nothing=1"],
    &["amend", "r", "config", "operators.local.plugin=builtin:human"],
    &["amend", "r", "config", "limits.nothing=1"],
    &["amend", "r", "plugin", "builtin:workflow"],
    &["amend", "r", "task", "nothing", "command=true"],
    &["amend", "r", "file", "nothing"],
    &["export", "r", "nothing", "--out", "out"],
    &["init", "nothing"],
    &["init", "demo", "--set", "nothing=1"],
    &["init", "demo", "--set", "campaign.params.nothing=1"],
    &["init", "demo", "--run-id", "r"],
    &["config", "check", "demo", "--set", "limits.nothing=1"],
    &["compare", "r", "other"],
    &["backend", "check", "nothing", "--workspace", "demo"],
];

pub(super) fn task(id: &str, command: &str) -> Value {
    json!({"id": id, "operator": "local", "command": command})
}

pub(super) fn made(tasks: &Value, change: impl FnOnce(&mut Value)) -> World {
    let mut config = tasks_config(tasks);
    change(&mut config);
    let world = World::new(&config);
    world.write("data.txt", "as it was");
    world.run(&["init", "demo", "--run-id", "r"]).code(0);
    world
}

fn ready() -> World {
    made(&json!([task(DASHED, "true"), task(QUOTED, "true")]), |_| ())
}

fn paused() -> World {
    let world = ready();
    world.run(&["pause", "r"]).code(0);
    world
}

fn full() -> World {
    let world = made(&json!([task(DASHED, "exec sleep 60"), task(QUOTED, "exec sleep 60")]), |config| {
        config["limits"] = json!({"max_active": 1});
    });
    world.run(&["step", "r"]).code(0);
    until("a job runs", || {
        world.run(&["step", "r"]).code(0);
        world.run(&["attempts", "r", "--json", "--", DASHED]).json()[0]["state"] == "running"
    });
    world
}

fn failed() -> World {
    let mut after = task(QUOTED, "true");
    after["depends_on"] = json!([DASHED]);
    let world = made(&json!([task(DASHED, "echo why >&2; exit 3"), after]), |_| ());
    world.run(&["loop", "r"]).code(1);
    world
}

fn allowed_to_fail() -> World {
    let [mut first, mut second] = [task(DASHED, "exit 3"), task(QUOTED, "exit 4")];
    first["allow_failure"] = json!(true);
    second["allow_failure"] = json!(true);
    let world = made(&json!([first, second]), |_| ());
    world.run(&["loop", "r"]).code(0);
    world
}

fn completed() -> World {
    let world = made(&json!([task(DASHED, "true"), task(QUOTED, "true")]), |_| ());
    world.run(&["loop", "r"]).code(0);
    world
}

fn cancelled() -> World {
    let world = full();
    world.run(&["cancel", "r"]).code(0);
    until("the end", || world.run(&["step", "r", "--json"]).json()["state"] == "cancelled");
    world
}

fn retried() -> World {
    let retry = json!({"max_attempts": 3, "backoff_s": 3600});
    let tasks = [DASHED, QUOTED].map(|id| {
        let mut task = task(id, "exit 1");
        task["retry"] = retry.clone();
        task
    });
    let world = made(&json!(tasks), |_| ());
    until("it is to be tried again", || {
        world.run(&["step", "r"]).code(0);
        world.status()["waiting_on"].as_array().is_some_and(|waits| waits.len() == 2)
    });
    world
}

fn too_much_left() -> World {
    let mut big = task(DASHED, "head -c 3000000 /dev/zero > big");
    big["outputs"] = json!(["big"]);
    let world = made(&json!([big, task(QUOTED, "true")]), |config| {
        config["limits"] = json!({"attempt_mb": 1});
    });
    world.run(&["loop", "r"]).code(1);
    world
}

fn asked() -> World {
    let ask = |id: &str| {
        json!({"id": id, "operator": "human", "input": {"instructions": "Which?", "schema": {
            "type": "object", "properties": {"dose": {"type": "number"}}, "required": ["dose"]}}})
    };
    let world = made(&json!([ask(DASHED), ask(QUOTED)]), |config| {
        config["operators"]["human"] = json!({"plugin": "builtin:human", "grants": {"work": true, "clock": true}});
    });
    world.run(&["loop", "r"]).code(5);
    world
}

fn unsure() -> World {
    let world = made(&json!([task(DASHED, "true"), task(QUOTED, "true")]), |_| ());
    let died = world.run_with(&["step", "r"], &[("MATTERSTACK_FAILPOINT", "submit.after:1")]);
    assert_eq!(died.code, None, "{died:?}");
    world
}

fn changed() -> World {
    let mut first = task(DASHED, "cat data.txt");
    first["files"] = json!({"data.txt": {"path": "data.txt"}});
    let world = made(&json!([first, task(QUOTED, "true")]), |config| config["campaign"]["files"] = json!(["data.txt"]));
    world.run(&["loop", "r"]).code(0);
    world.write("data.txt", "as it is");
    world
}

fn stale() -> World {
    let world = changed();
    world.run(&["amend", "r", "file", "data.txt"]).code(0);
    world
}

fn copied() -> World {
    let world = full();
    let copy = world.run_dir("moved");
    let output = Command::new("mv").args([world.run_dir("r"), copy.clone()]).output().expect("mv");
    assert!(output.status.success(), "{output:?}");
    let output = Command::new("cp").args(["-r"]).args([copy, world.run_dir("r")]).output().expect("cp");
    assert!(output.status.success(), "{output:?}");
    world
}

fn given_up() -> World {
    let world = copied();
    world.run(&["adopt", "r"]).code(0);
    world
}

fn by_hand() -> World {
    let world = ready();
    let path = world.run_dir("r").join("config.json");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, text + " ").expect("a change");
    world
}

const SITUATIONS: &[Situation] = &[
    ("ready", ready, LOOKS),
    ("paused", paused, LOOKS),
    ("full", full, LOOKS),
    ("failed", failed, LOOKS),
    ("allowed to fail", allowed_to_fail, LOOKS),
    ("completed", completed, LOOKS),
    ("cancelled", cancelled, LOOKS),
    ("retried", retried, LOOKS),
    ("too much left", too_much_left, LOOKS),
    ("asked", asked, LOOKS),
    ("unsure", unsure, LOOKS),
    ("changed", changed, LOOKS),
    ("stale", stale, LOOKS),
    ("copied", copied, LOOKS),
    ("given up", given_up, LOOKS),
    ("changed by hand", by_hand, LOOKS),
    ("mistakes when ready", ready, MISTAKES),
    ("mistakes when full", full, MISTAKES),
    ("mistakes when failed", failed, MISTAKES),
    ("mistakes when completed", completed, MISTAKES),
    ("mistakes when asked", asked, MISTAKES),
    ("mistakes when given up", given_up, MISTAKES),
];

/// Situations in which nothing is moved before what `status` and `explain` warn of is mended.
const REFUSED: [&str; 2] = ["copied", "changed by hand"];

/// The commands that stand in a text between backticks, and in the fields of a document that hold commands.
pub(crate) fn commands(done: &Done) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in [&done.stdout, &done.stderr] {
        let parts: Vec<&str> = text.split("`matterstack ").skip(1).collect();
        found.extend(parts.iter().filter_map(|part| Some(format!("matterstack {}", part.split_once('`')?.0))));
    }
    let documents = serde_json::from_str::<Value>(&done.stdout).unwrap_or_default();
    let lists = [&documents, &documents["waiting_on"]];
    for one in lists.into_iter().filter_map(Value::as_array).flatten() {
        let told = [&one["command"], &one["hint"]].into_iter().filter_map(Value::as_str);
        found.extend(told.filter(|text| text.starts_with("matterstack ")).map(str::to_owned));
    }
    found
}

/// Whether a command leaves something to whoever types it: a word in capitals, such as FILE or KEY=VALUE.
pub(crate) fn leaves_open(command: &str) -> bool {
    let is_open = |word: &str| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    let unquoted = command.replace(&format!("'{}'", QUOTED.replace('\'', r"'\''")), "").replace(DASHED, "");
    unquoted.split([' ', '=', '.', '\'']).any(is_open)
}

pub(crate) fn type_in(world: &World, line: &str, environment: &[(String, String)]) -> Done {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "5", "sh", "-c", line]).current_dir(world.root().parent().expect("a parent")).env_clear();
    let here = Path::new(PROGRAM).parent().expect("a directory").display();
    command.env("PATH", format!("{here}:{}", crate::support::path())).env("HOME", world.root());
    command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    done(command.output().expect("a shell"))
}

/// Whether a command is none, or not one for this moment.
pub(crate) fn cannot_be_typed(done: &Done) -> bool {
    // a question is asked at a terminal, and there is none here
    let asks = done.stderr.contains("nobody is at a terminal")
        // a command that somebody else is to give is told to be that
        || done.stderr.contains("ask one of them to give");
    matches!(done.code, Some(2 | 70 | 126 | 127)) && !asks
}

#[test]
fn every_command_that_is_printed_works_when_typed() {
    let tried = all_work(SITUATIONS);
    assert!(tried > 60, "only {tried} commands were printed");
}

/// Asserts that every command that is printed in these situations works when it is typed, and says how many that were.
pub(super) fn all_work(situations: &[Situation]) -> usize {
    let (mut tried, mut wrong) = (0, Vec::new());
    for (name, situation, arguments) in situations {
        let mut world = situation();
        let mut told = BTreeSet::new();
        for arguments in *arguments {
            let done = world.run(arguments);
            if done.code == Some(0) && !LOOKS.contains(arguments) {
                // what it says is of another situation, which it has made
                leave(&world);
                world = situation();
            } else {
                told.extend(commands(&done));
            }
        }
        let status = world.run(&["status", "r"]).stdout;
        for line in told {
            if line.split(' ').any(|word| word == "RUN") {
                wrong.push(format!("{name}: which run is known: `{line}`"));
            }
            if leaves_open(&line) {
                continue;
            }
            tried += 1;
            let looks = LOOK_ONLY.iter().any(|verb| line.starts_with(&format!("matterstack {verb} ")));
            let other = (!looks).then(situation);
            let done = type_in(other.as_ref().unwrap_or(&world), &line, &[]);
            other.iter().for_each(leave);
            let is_warned = REFUSED.contains(name) && status.contains("cannot be ticked: ");
            if cannot_be_typed(&done) && !is_warned {
                wrong.push(format!("{name}: `{line}`: {done:?}"));
            }
        }
        leave(&world);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    tried
}

/// Stops what still runs.
fn leave(world: &World) {
    world.run(&["cancel", "r"]);
    world.run(&["cancel", "moved"]);
}
