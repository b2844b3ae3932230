//! A command inside a container: what stands before it in `launcher` is all that it takes.
use crate::support::until;
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A root with nothing but busybox in it, which links to nothing.
fn root(world: &World) -> PathBuf {
    let root = world.root().join("image");
    for part in ["bin", "dev", "proc", "tmp", "work"] {
        std::fs::create_dir_all(root.join(part)).expect("a directory");
    }
    let busybox = crate::support::path().split(':').map(|at| Path::new(at).join("busybox")).find(|at| at.exists());
    let busybox = busybox.expect("no `busybox`: run `cargo xtask test`, or `apt-get install busybox-static`");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
    for name in ["sh", "ls", "sleep", "cat", "env"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    std::fs::write(root.join("only-here"), "").expect("a file");
    root
}

fn world(tasks: &Value) -> World {
    let world = World::with_tasks(&json!([]));
    let root = root(&world);
    let mut config = tasks_config(tasks);
    // `.` is the attempt directory, in which a job starts
    config["operators"]["local"]["config"]["launcher"] = json!([
        "bwrap",
        "--unshare-pid",
        "--die-with-parent",
        "--ro-bind",
        root,
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--bind",
        ".",
        "/work",
        "--chdir",
        "/work",
        "--setenv",
        "PATH",
        "/bin",
    ]);
    world.write("config.json", &config.to_string());
    world
}

#[test]
fn a_command_in_a_container_sees_its_files_and_leaves_outputs() {
    let looks = "ls / > root.txt; test -e /only-here && test ! -e /etc && test ! -e /usr && cat given.txt > taken.txt";
    let world = world(&json!([
        {"id": "line", "command": looks, "files": {"given.txt": {"content": "a text"}}, "outputs": ["*.txt"]},
        {"id": "argv", "command": ["env"], "env": {"MINE": "a b"}},
        {"id": "code", "command": "exit 7", "allow_failure": true},
        {"id": "outside", "command": ["/usr/bin/true"], "allow_failure": true},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "line=completed argv=completed code=failed outside=failed");
    let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
    let outputs: Vec<&str> =
        tasks[0]["outputs"].as_array().into_iter().flatten().filter_map(|o| o["path"].as_str()).collect();
    assert_eq!(outputs, ["root.txt", "taken.txt"]);
    let seen = world.run(&["logs", "r", "argv"]).code(0).stdout;
    assert!(seen.lines().any(|line| line == "MINE=a b") && seen.contains("MATTERSTACK_ATTEMPT="), "{seen}");
    let reason = |task: &str| world.run(&["attempts", "r", task, "--json"]).code(0).json()[0]["reason"].clone();
    assert_eq!(reason("code"), "exited with code 7");
    // a program that is not in the container is bwrap's to miss, and not ours
    assert_eq!(reason("outside"), "exited with code 1");
    // what a folder holds is not known, so what ran in one is not taken for the same
    world.run(&["init", "demo", "--run-id", "s", "--reuse", "r"]).code(0);
    let told = world.run(&["explain", "s", "argv", "--reuse", "--json"]).code(0).json()[0]["sentence"].clone();
    let words = "in the `launcher` of operator `local`, its command names the folder";
    assert!(told.as_str().is_some_and(|told| told.contains(words)), "{told}");
}

#[test]
fn what_a_launcher_runs_is_a_part_of_what_is_reused() {
    let world = World::with_tasks(&json!([]));
    let image = world.root().join("image.sh");
    let mut config = tasks_config(&json!([{"id": "a", "command": ["echo", "a"]}]));
    config["operators"]["local"]["config"]["launcher"] = json!(["sh", image]);
    world.write("config.json", &config.to_string());
    std::fs::write(&image, "exec \"$@\"\n").expect("a file");
    world.init();
    world.run(&["loop", "r"]).code(0);
    let told = |run: &str, set: &str| {
        world.run(&["init", "demo", "--run-id", run, "--reuse", "r", "--set", set]).code(0);
        let told = world.run(&["explain", run, "a", "--reuse", "--json"]).code(0).json()[0].clone();
        format!("{} {}", told["code"].as_str().unwrap_or_default(), told["sentence"].as_str().unwrap_or_default())
    };
    let same = "campaign.seed=0";
    assert!(told("same", same).starts_with("reusable"), "{}", told("again", same));
    let other = told("other", "operators.local.config.launcher=[\"env\"]");
    assert!(other.contains("the operator's `config`"), "{other}");
    std::fs::write(&image, "exec \"$@\" # another image\n").expect("a file");
    let rewritten = told("rewritten", same);
    assert!(rewritten.starts_with("not-reused") && rewritten.contains("a file that the command names"), "{rewritten}");
    let podman = told("podman", "operators.local.config.launcher=[\"podman\", \"run\", \"debian:12\"]");
    assert!(podman.contains("runs an image of `podman` by a tag"), "{podman}");
}

#[test]
fn a_cancel_ends_what_runs_in_a_container() {
    let world = world(&json!([{"id": "long", "command": "echo here > begun; sleep 600; echo not reached > ended"}]));
    world.init();
    world.run(&["step", "r"]).code(0);
    let directory = || {
        let attempts = world.run(&["attempts", "r", "long", "--json"]).code(0).json();
        world.run_dir("r").join(attempts[0]["directory"].as_str().expect("a directory"))
    };
    let directory = directory();
    until("the command runs", || directory.join("begun").exists());
    let root = world.root().join("image").to_string_lossy().into_owned();
    let alive = || {
        let all = std::fs::read_dir("/proc").expect("processes").flatten();
        all.filter(|one| {
            std::fs::read(one.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&root))
        })
        .count()
    };
    assert!(alive() > 0, "the test would notice nothing");
    world.run(&["cancel", "r"]).code(0);
    world.step_to_end();
    assert!(world.tasks().contains("long=cancelled"), "{}", world.tasks());
    until("nothing of the container is left", || alive() == 0);
    assert!(!directory.join("ended").exists());
}
