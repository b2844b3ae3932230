//! What local jobs are run by and in: `setup`, `shell`, `pass_env`, and what a job is told of where it is.
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};

/// A world whose local backend has these settings beside two cores.
fn world(tasks: &Value, settings: Value) -> World {
    let mut config = tasks_config(tasks);
    for (key, value) in settings.as_object().expect("settings") {
        config["backends"]["local"][key] = value.clone();
    }
    World::new(&config)
}

fn logs(world: &World, task: &str) -> String {
    world.run(&["logs", "r", task]).code(0).stdout
}

#[test]
fn what_a_setup_does_holds_for_every_command() {
    let tasks = json!([
        {"id": "line", "command": "printf '%s' \"$GREETING $0\""},
        {"id": "argv", "command": ["sh", "-c", "printf '%s' \"$GREETING $1\"", "x", "a b"]},
    ]);
    let setup = ["export GREETING=\"hello $MATTERSTACK_RUN\"", "cd .", "test -d \"$MATTERSTACK_WORKSPACE_DIR/runs\""];
    let world = world(&tasks, json!({"setup": setup}));
    world.init();
    let dry = world.run(&["step", "r", "--dry-run"]).code(0).stdout;
    assert!(dry.contains("export GREETING") && dry.contains("exec sh -c"), "{dry}");
    world.run(&["loop", "r"]).code(0);
    assert_eq!((logs(&world, "line").as_str(), logs(&world, "argv").as_str()), ("hello r /bin/sh", "hello r a b"));
}

#[test]
fn a_line_of_setup_that_fails_ends_the_attempt_before_its_command() {
    let tasks =
        json!([{"id": "a", "command": "touch ../../../ran"}, {"id": "b", "command": ["touch", "../../../ran"]}]);
    let setups: [(&[&str], &str); 3] = [
        (&["true", "false"], "line 2 of `setup` failed with code 1"),
        (&["exit 7", "true"], "line 1 of `setup` failed with code 7"),
        (&["cd /", ". ./no-such-file-at-all"], "line 2 of `setup` failed"),
    ];
    for (setup, words) in setups {
        let world = world(&tasks, json!({"setup": setup}));
        world.init();
        world.run(&["loop", "r"]).code(1);
        assert!(!world.run_dir("r").join("ran").exists());
        for task in ["a", "b"] {
            let attempts = world.run(&["attempts", "r", task, "--json"]).code(0).json();
            let reason = attempts[0]["reason"].as_str().expect("a reason");
            assert!(reason.contains(words), "{reason}");
        }
        let explained = world.run(&["explain", "r", "a", "--json"]).code(0).json();
        assert_eq!(explained[0]["code"], "setup", "{explained}");
    }
    let lenient = world(&json!([{"id": "a", "command": "true"}]), json!({"setup": ["false"], "setup_may_fail": true}));
    lenient.init();
    lenient.run(&["loop", "r"]).code(0);
    // behind a setup, too, a program that does not exist is told from a command that ends with 127
    let absent = world(&json!([{"id": "a", "command": ["no-such-program"]}]), json!({"setup": ["true"]}));
    absent.init();
    absent.run(&["loop", "r"]).code(1);
    assert_eq!(absent.run(&["explain", "r", "a", "--json"]).json()[0]["code"], "not-found");
}

#[test]
fn a_shell_that_is_strict_sees_what_fails_in_a_line() {
    let tasks = json!([
        {"id": "tee", "command": "sh -c 'echo SCF diverged; exit 1' | tee log.txt", "outputs": ["log.txt"], "allow_failure": true},
        {"id": "lines", "command": "cp no-such-file input.dat\necho default > result.txt", "allow_failure": true},
        {"id": "bash", "command": "set -o pipefail; [[ -n $BASH_VERSION ]]"},
    ]);
    let world = world(&tasks, json!({"shell": ["bash", "-euo", "pipefail", "-c"]}));
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "tee=failed lines=failed bash=completed");
    // another shell is another recipe
    let reuse = world.run(&[
        "init",
        "demo",
        "--run-id",
        "s",
        "--reuse",
        "r",
        "--set",
        "backends.local.shell=[\"bash\", \"-c\"]",
    ]);
    reuse.code(0);
    let explained = world.run(&["explain", "s", "bash", "--reuse", "--json"]).code(0).json();
    assert!(explained[0]["sentence"].as_str().is_some_and(|why| why.contains("shell")), "{explained}");
}

#[test]
fn variables_that_a_pattern_names_are_pinned_but_secrets_and_those_of_a_session() {
    let tasks = json!([{"id": "env", "command": "env"}]);
    let world = world(&tasks, json!({"pass_env": ["OMP_*", "CONDA_PREFIX", "A_*"]}));
    let mine = [
        ("OMP_NUM_THREADS", "3"),
        ("CONDA_PREFIX", "/opt/c"),
        ("A_TOKEN", "hush"),
        ("A_KEY_FILE", "x"),
        ("B", "no"),
        ("TMPDIR", "/nowhere"),
        ("A_NAME", "ü"),
    ];
    world.run_with(&["init", "demo", "--run-id", "r"], &mine).code(0);
    world.run_with(&["loop", "r"], &[("OMP_NUM_THREADS", "8"), ("A_LATER", "1")]).code(0);
    let seen = logs(&world, "env");
    for line in ["OMP_NUM_THREADS=3", "CONDA_PREFIX=/opt/c", "A_NAME=ü", "MATTERSTACK_RUN=r"] {
        assert!(seen.lines().any(|seen| seen == line), "{line}: {seen}");
    }
    for name in ["A_TOKEN", "A_KEY_FILE", "A_LATER", "TMPDIR", "MATTERSTACK_SETUP"] {
        assert!(!seen.contains(name), "{name}: {seen}");
    }
    assert!(!seen.lines().any(|line| line.starts_with("B=")), "{seen}");
    let environments = world.evidence()["environments"].clone();
    assert_eq!(environments[0]["variables"]["OMP_NUM_THREADS"], "3");
    assert!(!environments.to_string().contains("hush"));
    world.run_with(&["amend", "r", "environment"], &[("OMP_NUM_THREADS", "8")]).code(0);
    for (pattern, words) in [("MY_TOKEN", "looks like the name of a secret"), ("A-B", "no pattern of names")] {
        let set = format!("backends.local.pass_env=[\"{pattern}\"]");
        let refused = world.run(&["init", "demo", "--set", &set]).code(2).stderr;
        assert!(refused.contains(words), "{refused}");
    }
}
