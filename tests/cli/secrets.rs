//! Secrets of local jobs: what one holds is in the job's environment, and in nothing that a run keeps.
use crate::support::secret::{CANARY, find_canary, keep_secret};
use crate::support::world::{World, tasks_config};
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What is put at the place of a secret, or below it.
type Make<'a> = &'a dyn Fn(&Path);

/// Where secrets of this world lie.
fn place(world: &World) -> PathBuf {
    world.root().parent().expect("a parent").join(".config/matterstack/secrets")
}

fn keep(world: &World, name: &str, text: &[u8], mode: u32) {
    keep_secret(&place(world), name, text, mode);
}

#[test]
fn a_secret_reaches_the_command_and_nothing_that_is_kept() {
    // a digest of what it holds says that it was there, and not what it is
    let env = json!({"TOKEN": {"secret": "lab.token"}, "PLAIN": "x"});
    let says = "printf %s \"$PLAIN$TOKEN\" | sha256sum > digest";
    let world = World::with_tasks(&json!([
        {"id": "line", "command": says, "env": env, "outputs": ["digest"]},
        {"id": "argv", "command": ["sh", "-c", says], "env": env, "outputs": ["digest"]},
        {"id": "prints", "command": "echo $TOKEN; echo $TOKEN >&2", "env": env},
    ]));
    keep(&world, "lab.token", format!("{CANARY}\n").as_bytes(), 0o600);
    world.init();
    let dry = world.run(&["step", "r", "--dry-run"]).code(0).stdout;
    assert!(dry.contains("# TOKEN is read from the secret `lab.token`") && !dry.contains(CANARY), "{dry}");
    world.run(&["loop", "r"]).code(0);
    let expected = matterstack::model::document::sha256(format!("x{CANARY}").as_bytes());
    for task in ["line", "argv"] {
        let directory = world.run(&["attempts", "r", task, "--json"]).code(0).json()[0]["directory"].clone();
        let path = world.run_dir("r").join(directory.as_str().expect("a directory")).join("digest");
        assert!(std::fs::read_to_string(path).expect("a digest").starts_with(&expected), "{task}");
    }
    world.run(&["evidence", "r"]).code(0);
    let logs = find_canary(&world.run_dir("r"));
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert!(logs.iter().all(|path| path.to_string_lossy().contains("prints")), "{logs:?}");
    for command in [["explain", "r", "prints"], ["tasks", "r", "--json"], ["attempts", "r", "prints"]] {
        assert!(!world.run(&command).stdout.contains(CANARY), "{command:?}");
    }
    // of what was printed the bundle has the digest, and says so
    let withheld = |task: &str| {
        let evidence = world.evidence();
        let all = evidence["attempts"].as_array().expect("a list").clone();
        all.into_iter().find(|one| one["task"] == *task).expect("an attempt")["withheld"].clone()
    };
    let why = "holds the secret `lab.token`";
    assert_eq!(withheld("prints"), json!([{"file": "stderr", "why": why}, {"file": "stdout", "why": why}]));
    assert_eq!(withheld("line"), json!(null));
    assert!(world.run(&["evidence", "r"]).code(0).stderr.contains("2 file(s) hold a secret of their task"));
    // where the secret cannot be read nobody can say
    std::fs::remove_file(place(&world).join("lab.token")).expect("there");
    let told = withheld("prints");
    assert!(told[0]["file"].is_null() && told.to_string().contains("cannot be read here"), "{told}");
}

#[test]
fn what_a_failed_task_with_a_secret_wrote_last_is_shown_by_its_log_alone() {
    let env = json!({"TOKEN": {"secret": "lab.token"}});
    let world = World::with_tasks(&json!([
        {"id": "prints", "command": "echo $TOKEN >&2; exit 3", "env": env},
        {"id": "other", "command": "echo harmless >&2; exit 3"},
    ]));
    keep(&world, "lab.token", format!("{CANARY}\n").as_bytes(), 0o600);
    world.init();
    world.run(&["loop", "r"]).code(1);
    world.run(&["report", "r"]).code(0);
    let report = std::fs::read_to_string(world.run_dir("r").join("report.html")).expect("a report");
    world.run(&["evidence", "r"]).code(0);
    let markdown = std::fs::read_to_string(world.run_dir("r").join("evidence/README.md")).expect("a report");
    assert!(!markdown.contains(CANARY) && markdown.contains("harmless"), "{markdown}");
    for text in [&report, &markdown] {
        assert!(text.contains("the task has a secret") || text.contains("its task has a secret"), "{text}");
    }
    let told = [["explain", "r", "prints"], ["attempts", "r", "prints"], ["explain", "r", "other"]]
        .map(|command| world.run(&command).code(0).stdout);
    assert!(!report.contains(CANARY) && told.iter().all(|text| !text.contains(CANARY)), "{told:?}");
    assert!(report.contains("harmless") && told[2].contains("harmless"), "of tasks without one it is shown: {told:?}");
    assert!(world.run(&["logs", "r", "prints"]).code(0).stderr.contains(CANARY), "whoever asks for the log gets it");
}

#[test]
fn a_secret_that_is_not_as_it_should_be_ends_the_attempt_before_its_command() {
    let cases: [(&str, Make<'_>, &str); 8] = [
        ("missing", &|_| {}, "there is no `~/.config/matterstack/secrets/missing`; write it there, and `chmod 600` it"),
        ("open", &|path| keep_secret(path, "open", b"x", 0o640), "is open to other users (mode 640); `chmod 600` it"),
        ("world", &|path| keep_secret(path, "world", b"x", 0o604), "(mode 604)"),
        ("empty", &|path| keep_secret(path, "empty", b"\n\n", 0o600), "is empty"),
        ("large", &|path| keep_secret(path, "large", &[b'x'; 70_000], 0o600), "has more than 65536 bytes"),
        ("nul", &|path| keep_secret(path, "nul", b"a\0b", 0o600), "holds a NUL character"),
        ("folder", &|path| std::fs::create_dir_all(path.join("folder")).expect("a folder"), "is not a regular file"),
        (
            "link",
            &|path| {
                keep_secret(path, "real", b"x", 0o600);
                symlink(path.join("real"), path.join("link")).expect("a link");
            },
            "is not a regular file",
        ),
    ];
    let task = |name: &str| json!({"id": name, "command": "touch ../../../ran", "env": {"A": {"secret": name}}, "allow_failure": true});
    let tasks: Vec<_> = cases.iter().map(|(name, ..)| task(name)).collect();
    let world = World::with_tasks(&json!(tasks));
    cases.iter().for_each(|(_, make, _)| make(&place(&world)));
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert!(!world.run_dir("r").join("ran").exists());
    for (name, _, words) in &cases {
        let attempts = world.run(&["attempts", "r", name, "--json"]).code(0).json();
        let reason = attempts[0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(words) && reason.contains(&format!("secret `{name}`")), "{name}: {reason}");
        assert_eq!((attempts[0]["state"].as_str(), attempts.as_array().map(Vec::len)), (Some("failed"), Some(1)));
        assert_eq!(world.run(&["explain", "r", name, "--json"]).code(0).json()[0]["code"], "secret");
    }
    // mended, the task runs
    keep(&world, "missing", b"x", 0o400);
    world.run(&["rerun", "r", "missing"]);
    world.run(&["resume", "r"]);
    world.run(&["loop", "r"]).code(0);
    assert!(world.tasks().contains("missing=completed"), "{}", world.tasks());
    assert!(world.run_dir("r").join("ran").exists());
}

#[test]
fn what_is_of_another_user_is_no_secret_of_ours_and_xdg_config_home_is_heeded() {
    let world = World::with_tasks(
        &json!([{"id": "a", "command": "test $A = x", "env": {"A": {"secret": "s"}}, "retry": {"max_attempts": 2}}]),
    );
    keep(&world, "s", b"x", 0o600);
    std::os::unix::fs::chown(place(&world).join("s"), Some(65534), None).expect("tests run as root");
    world.init();
    world.run(&["loop", "r"]).code(1);
    let attempts = world.run(&["attempts", "r", "a", "--json"]).code(0).json();
    assert_eq!(attempts.as_array().map(Vec::len), Some(2), "it costs an attempt, as a line of `setup` does");
    assert!(attempts[1]["reason"].as_str().is_some_and(|text| text.contains("belongs to another user")), "{attempts}");
    let elsewhere = world.root().join("settings");
    keep_secret(&elsewhere.join("matterstack/secrets"), "s", b"x", 0o600);
    let settings = [("XDG_CONFIG_HOME", elsewhere.to_str().expect("UTF-8"))];
    world.run_with(&["resume", "r"], &settings).code(0);
    world.run_with(&["loop", "r"], &settings).code(0);
}

#[test]
fn only_names_are_taken_for_secrets_and_only_names_are_part_of_what_is_reused() {
    for (value, words) in [
        (json!({"secret": "../id_rsa"}), "names the secret `../id_rsa`"),
        (json!({"secret": ""}), "names the secret ``"),
        (json!({"sekret": "a"}), "expected a text, or {\"secret\": NAME}"),
        (json!(1), "expected a text, or {\"secret\": NAME}"),
    ] {
        let world = World::with_tasks(&json!([{"id": "a", "command": "true", "env": {"A": value}}]));
        let refused = world.run(&["init", "demo"]).code(2).stderr;
        assert!(refused.contains(words), "{value}: {refused}");
    }
    let task = json!([{"id": "a", "command": "true", "env": {"A": {"secret": "s"}}}]);
    let world = World::new(&tasks_config(&task));
    keep(&world, "s", b"one", 0o600);
    keep(&world, "t", b"one", 0o600);
    world.init();
    world.run(&["loop", "r"]).code(0);
    keep(&world, "s", b"another", 0o600);
    world.run(&["init", "demo", "--run-id", "s", "--reuse", "r"]).code(0);
    assert_eq!(world.run(&["explain", "s", "a", "--reuse", "--json"]).code(0).json()[0]["code"], "reusable");
    let set = "campaign.params.tasks=[{\"id\":\"a\",\"command\":\"true\",\"env\":{\"A\":{\"secret\":\"t\"}}}]";
    world.run(&["init", "demo", "--run-id", "t", "--reuse", "r", "--set", set]).code(0);
    let told = world.run(&["explain", "t", "a", "--reuse", "--json"]).code(0).json()[0]["sentence"].clone();
    assert!(told.as_str().is_some_and(|told| told.contains("the task's `env`")), "{told}");
}

#[test]
fn a_sweep_may_give_secrets_to_its_tasks() {
    let template =
        json!({"id": "{n}", "command": "test $TOKEN-$N = x-{n}", "env": {"TOKEN": {"secret": "s"}, "N": "{n}"}});
    let params = json!({"template": template, "grid": {"n": [1, 2]}});
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "builtin:sweep", "params": params});
    let world = World::new(&config);
    keep(&world, "s", b"x", 0o600);
    let made = world.run(&["init", "demo", "--run-id", "r"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    world.run(&["loop", "r"]).code(0);
    let mode = std::fs::metadata(place(&world).join("s")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
