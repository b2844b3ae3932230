//! What a job gets and what it leaves: x bits, patterns, large files, and folders that nobody can read.
use crate::support::until;
use crate::support::world::{Done, World, tasks_config};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

/// The attempts of a task.
fn attempts(world: &World, task: &str) -> Value {
    world.run(&["attempts", "r", task, "--json"]).code(0).json()
}

fn directory(world: &World, task: &str) -> PathBuf {
    world.run_dir("r").join(attempts(world, task)[0]["directory"].as_str().expect("a directory"))
}

/// A shell task for the operator `local`, with further keys.
fn shell(id: &str, command: &str, more: Value) -> Value {
    let mut task = json!({"id": id, "operator": "local", "command": command});
    for (key, value) in more.as_object().into_iter().flatten() {
        task[key] = value.clone();
    }
    task
}

#[test]
fn x_bits_travel_with_staged_and_carried_files() {
    let world = World::with_tasks(&json!([
        shell(
            "path",
            "./run.sh && test ! -x data",
            json!({"files": {"run.sh": {"path": "scripts/run.sh"}, "data": {"path": "scripts/data"}}})
        ),
        shell(
            "build",
            "cp /bin/true solver && chmod 755 solver && echo > plain",
            json!({"outputs": ["solver", "plain"]})
        ),
        shell(
            "output",
            "./solver && test ! -x plain",
            json!({"files": {
            "solver": {"from": "build", "output": "./solver"}, "plain": {"from": "build", "output": "plain"}}})
        ),
        shell(
            "text",
            "./t && test ! -x u",
            json!({"files": {
            "t": {"content": "#!/bin/sh\n", "executable": true}, "u": {"content": "#!/bin/sh\n"}}})
        ),
        shell(
            "said",
            "test ! -x run.sh && ./data",
            json!({"files": {
            "run.sh": {"path": "scripts/run.sh", "executable": false}, "data": {"path": "scripts/data", "executable": true}}})
        ),
        shell(
            "carry",
            "if [ -e tool ]; then ./tool && test ! -x note; else cp /bin/true tool; echo > note; exit 1; fi",
            json!({"retry": {"max_attempts": 2, "backoff_s": 0, "carry": ["tool", "note"]}})
        ),
    ]));
    world.write("scripts/run.sh", "#!/bin/sh\necho hello\n");
    world.write("scripts/data", "#!/bin/sh\n");
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(world.workspace().join("scripts/run.sh"), mode(0o755)).expect("a mode");
    world.init();
    world.run(&["loop", "r"]);
    let tasks = world.tasks();
    assert_eq!(tasks, "path=completed build=completed output=completed text=completed said=completed carry=completed");
}

#[test]
fn what_can_never_match_is_refused_when_it_is_planned() {
    let deep = format!("{}a{}", "{".repeat(300), "}".repeat(300));
    let heavy: Vec<String> = (0..100).map(|n| format!("{n}{}", "?".repeat(900))).collect();
    let outputs = |pattern: &str| json!([shell("a", "true", json!({"outputs": [pattern]}))]);
    let from = |given: Value, output: &str| {
        json!([shell("a", "true", given), shell("b", "true", json!({"files": {"x": {"from": "a", "output": output}}}))])
    };
    for (tasks, words) in [
        (outputs("/scratch/x"), "output pattern `/scratch/x`: it can never match: it begins with a slash"),
        (outputs("../x"), "`..` leads out of the job's working directory"),
        (outputs("results/"), "for all in the folder write `results/**`"),
        (outputs("[a"), "`[` is not closed"),
        (outputs(&deep), "nested more than 8 deep"),
        (outputs(&"{a,b}".repeat(200)), "more than 64 alternatives"),
        (outputs(&"?".repeat(20_000)), "20000 bytes; 1024 are allowed"),
        (json!([shell("a", "true", json!({"outputs": heavy}))]), "too much to be matched together"),
        (json!([shell("a", "true", json!({"outputs": vec!["x"; 1001]}))]), "1001 output patterns; 256 are allowed"),
        (
            json!([shell("a", "true", json!({"retry": {"carry": vec!["x"; 1001]}}))]),
            "1001 carry patterns; 256 are allowed",
        ),
        (json!([shell("a", "true", json!({"outputs": vec!["x"; 300]}))]), "300 output patterns; 256 are allowed"),
        (outputs("exit.json"), "`exit.json` is a name for what the host writes"),
        (outputs(".claim/*"), "`.claim` is a name for what the host writes"),
        (outputs(".matterstack-staged"), "is a name for what the host writes"),
        (
            json!([shell("a", "true", json!({"outputs": ["in"], "files": {"in": {"content": ""}}}))]),
            "`in` is staged, and staged files are no outputs",
        ),
        (json!([shell("a", "true", json!({"outputs": ["in/x"], "files": {"in": {"content": ""}}}))]), "`in` is staged"),
        (json!([shell("a", "true", json!({"retry": {"carry": ["x/"]}}))]), "carry pattern `x/`"),
        (
            json!([shell("a", "true", json!({"retry": {"carry": ["stdout"]}}))]),
            "carry pattern `stdout` can never match",
        ),
        (from(json!({"outputs": ["relaxed.data"]}), "relaxd.data"), "did you mean `relaxed.data`?"),
        (from(json!({"outputs": ["*.csv"]}), "x.json"), "none of that task's output patterns names it: `*.csv`"),
        (from(json!({}), "x"), "that task has no `outputs`"),
        (from(json!({"outputs": ["*"], "files": {"x": {"content": ""}}}), "x"), "it is staged there"),
    ] {
        let world = World::with_tasks(&tasks);
        let done = world.run(&["init", "demo", "--run-id", "r"]).code(2);
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    for name in
        ["stdout", "stderr", "exit.json", ".cancel", ".claim/x", ".fetched", "matterstack-job.sh", ".matterstack-x"]
    {
        let world = World::with_tasks(&json!([shell("a", "true", json!({"files": {name: {"content": ""}}}))]));
        let done = world.run(&["init", "demo", "--run-id", "r"]).code(2);
        assert!(done.stderr.contains("is a name for what the host writes"), "{name}: {}", done.stderr);
    }
    for (pattern, words) in [
        ("../x", "leads out of the workspace"),
        ("scripts/", "write `scripts/**`"),
        (deep.as_str(), "nested"),
        ("Scripts/*", "`scripts` is there: upper and lower case differ"),
        ("none/*", "matches no file"),
    ] {
        let world = World::with_tasks(&json!([shell("a", "true", json!({}))]));
        world.write("scripts/x", "");
        let set = format!("campaign.files={}", json!([pattern]));
        let done = world.run(&["init", "demo", "--set", &set]).code(2);
        assert!(done.stderr.contains(words), "{pattern}: {}", done.stderr);
    }
}

#[test]
fn a_pattern_that_named_nothing_says_what_was_there() {
    let cases = [
        ("link", "echo d > chk.42; ln -s chk.42 latest.chk", "latest.chk", "`latest.chk` is a link"),
        ("dir", "mkdir results; echo 1 > results/a", "results", "write `results/**`"),
        ("brackets", "echo 1 > 'r[1].txt'", "r[1].txt", r"write `r\[1\].txt`"),
        ("case", "echo 1 > Result.TXT", "result.txt", "`Result.TXT` is there: upper and lower case differ"),
        ("hidden", "echo 1 > .x.cfg", "*.cfg", "a leading dot must be written"),
        ("pipe", "mkfifo p", "p", "`p` is neither a file nor a folder"),
        ("near", "echo 1 > relaxed.data", "relaxd.data", "did you mean `relaxed.data`?"),
        ("under", "echo 1 > results", "results/a", "`results` is a file and no folder"),
        ("none", "true", "x", "output pattern `x` matches no file"),
    ];
    let tasks =
        cases.map(|(id, command, pattern, _)| shell(id, command, json!({"outputs": [pattern], "allow_failure": true})));
    let more = json!([
        shell("dot", "echo 1 > a.txt", json!({"outputs": ["./a.txt"]})),
        shell("printed", "echo out; echo err >&2; echo 1 > x", json!({"outputs": ["stdout", "*"]})),
        shell(
            "heard",
            "grep -qx out said && grep -qx err failed",
            json!({"files": {"said": {"from": "printed", "output": "stdout"}, "failed": {"from": "told", "output": "./stderr"}}})
        ),
        shell("told", "echo err >&2", json!({"outputs": ["./{stderr,none}"]})),
    ]);
    let all: Vec<Value> = tasks.into_iter().chain(more.as_array().cloned().unwrap_or_default()).collect();
    let world = World::with_tasks(&Value::from(all));
    world.init();
    world.run(&["loop", "r"]);
    for (id, _, _, words) in cases {
        let reason = attempts(&world, id)[0]["reason"].to_string();
        assert!(reason.replace("\\\\", "\\").contains(words), "{id}: {reason}");
    }
    let outputs = |id: &str| -> Vec<String> {
        let attempts = attempts(&world, id);
        let all = attempts[0]["outputs"].as_array().cloned().unwrap_or_default();
        all.iter().map(|output| output["path"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(outputs("dot"), ["a.txt"]);
    assert_eq!(outputs("printed"), ["stdout", "x"], "what is printed is an output only where that is written");
    assert_eq!(outputs("told"), ["stderr"]);
    assert_eq!(attempts(&world, "heard")[0]["state"], "completed", "and another task takes it like any other");
}

/// Runs the binary as a user whom permissions bind.
fn bound(world: &World, arguments: &[&str]) -> Done {
    let plain = world.command(arguments);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(plain.get_program()).args(arguments);
    command.current_dir(world.root()).env_clear().envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
    command.env("XDG_CACHE_HOME", world.root().join("cache"));
    if std::fs::metadata(world.root()).expect("there").uid() == 0 {
        let owned =
            Command::new("chown").args(["-R", "65534:65534"]).arg(world.root().parent().expect("a parent")).status();
        assert!(owned.expect("chown runs").success());
    }
    let output = command.output().expect("setpriv of util-linux runs");
    Done {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_job_that_puts_a_link_in_the_place_of_its_directory_gives_out_nothing_of_others() {
    let away = "d=\"$PWD\"; cd ..; rm -rf \"$d\"; ln -s /etc \"$d\"";
    let world = World::with_tasks(&json!([
        shell("linked", away, json!({"outputs": ["passwd"], "allow_failure": true})),
        shell(
            "carried",
            &format!("{away}; exit 1"),
            json!({"allow_failure": true, "retry": {"max_attempts": 2, "backoff_s": 0, "carry": ["passwd"]}})
        ),
        shell("other", "true", json!({})),
    ]));
    world.init();
    world.run(&["loop", "r", "--timeout", "60s"]).code(0);
    assert_eq!(world.tasks(), "linked=failed carried=failed other=completed");
    let given = world.run(&["attempts", "r", "carried", "--json"]).code(0).json();
    let inputs: Vec<&Value> = given.as_array().expect("a list").iter().map(|one| &one["inputs"]).collect();
    assert!(inputs.iter().all(|inputs| **inputs == json!([])), "{given}");
}

#[test]
fn what_cannot_be_read_fails_its_own_attempt_and_stops_nothing() {
    let world = World::with_tasks(&json!([
        shell("out of reach", "mkdir secret; chmod 000 secret; echo 1 > ok.txt", json!({"outputs": ["ok.txt"]})),
        shell("file", "echo 1 > o; chmod 000 o", json!({"outputs": ["o"], "allow_failure": true})),
        shell("folder", "mkdir d; echo 1 > d/o; chmod 000 d", json!({"outputs": ["d/*"], "allow_failure": true})),
        shell(
            "carried",
            "echo 1 > s; chmod 000 s; exit 1",
            json!({"allow_failure": true, "retry": {"max_attempts": 2, "backoff_s": 0, "carry": ["s"]}})
        ),
        shell("whole", "chmod 000 .", json!({"outputs": ["o"], "allow_failure": true})),
        shell("made", "echo 1 > given", json!({"outputs": ["given"]})),
        shell("spoils", "chmod 000 ../made-*/given", json!({"depends_on": ["made"]})),
        shell(
            "wants",
            "true",
            json!({"files": {"g": {"from": "made", "output": "given"}}, "depends_on": ["spoils"], "allow_failure": true})
        ),
        shell("after", "true", json!({"depends_on": ["spoils", "out of reach"]})),
    ]));
    bound(&world, &["init", "demo", "--run-id", "r"]).code(0);
    bound(&world, &["loop", "r", "--timeout", "120s"]).code(0);
    let tasks = bound(&world, &["tasks", "r", "--json"]).code(0).json();
    let states: Vec<String> = tasks.as_array().expect("a list").iter().map(|task| task["state"].to_string()).collect();
    assert_eq!(
        states.join(" ").replace('"', ""),
        "completed failed failed failed failed completed completed failed completed",
        "{tasks}"
    );
    for (task, path) in [("file", "`o`"), ("folder", "`d`"), ("carried", "`s`"), ("wants", "given`")] {
        let attempts = bound(&world, &["attempts", "r", task, "--json"]).code(0).json();
        let last = attempts.as_array().and_then(|all| all.last()).expect("an attempt");
        let reason = last["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(path) && reason.contains("ermission denied"), "{task}: {reason}");
    }
    Command::new("chmod").args(["-R", "u+rwX"]).arg(world.root()).status().expect("chmod runs");
}

#[test]
fn scratch_files_out_of_reach_count_for_nothing_and_a_quota_that_is_raised_collects_again() {
    let world = World::with_tasks(&json!([
        shell(
            "foam",
            "mkdir p; cd p; seq 1 200 | xargs touch; cd ..; echo 42 > result.csv",
            json!({"outputs": ["result.csv"]})
        ),
        shell(
            "many",
            "echo x >> ../ran; mkdir p; cd p; seq 1 200 | xargs touch",
            json!({"outputs": ["p/*"], "retry": {"max_attempts": 3, "backoff_s": 0}})
        ),
        shell("large", "echo x >> ../ran; head -c 3000000 /dev/zero > o", json!({"outputs": ["o"]})),
    ]));
    world
        .run(&["init", "demo", "--run-id", "r", "--set", "limits.attempt_files=100", "--set", "limits.attempt_mb=2"])
        .code(0);
    world.run(&["loop", "r"]).code(1);
    assert_eq!(world.tasks(), "foam=completed many=failed large=failed");
    let reason = attempts(&world, "many")[0]["reason"].to_string();
    assert!(reason.contains("`limits.attempt_files` is 100"), "{reason}");
    assert_eq!(attempts(&world, "many").as_array().map(Vec::len), Some(1), "a new attempt would leave as much");
    world.run(&["amend", "r", "config", "limits.attempt_files=1000", "limits.attempt_mb=100"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "foam=completed many=completed large=completed");
    let ran = std::fs::read_to_string(world.run_dir("r").join("operators/local/ran")).expect("a file");
    assert_eq!(ran, "x\nx\n", "nothing is computed twice");
    let outputs = world.run(&["tasks", "r", "--json"]).json()[1]["outputs"].as_array().map(Vec::len);
    assert_eq!(outputs, Some(200));
}

#[test]
fn a_linked_file_is_the_same_one_and_a_job_that_writes_into_it_fails() {
    let linked = |output: &str| json!({"files": {"in": {"from": "made", "output": output, "stage": "link"}}});
    let mut writes = linked("b");
    writes["allow_failure"] = json!(true);
    let world = World::with_tasks(&json!([
        shell("made", "echo a > a; echo b > b", json!({"outputs": ["a", "b"]})),
        shell("reads", "cat in", linked("a")),
        shell("writes", "echo changed > in", writes),
        shell("replaces", "rm in; echo mine > in", linked("a")),
    ]));
    world.init();
    world.run(&["loop", "r"]);
    assert_eq!(world.tasks(), "made=completed reads=completed writes=failed replaces=completed");
    let inode = |path: PathBuf| std::fs::metadata(path).expect("there").ino();
    assert_eq!(inode(directory(&world, "made").join("a")), inode(directory(&world, "reads").join("in")));
    let reason = attempts(&world, "writes")[0]["reason"].to_string();
    assert!(reason.contains("the job wrote into `in`, which is a second name of output"), "{reason}");
}

#[test]
fn a_large_file_costs_little_memory_and_lets_others_in() {
    let world = World::with_tasks(&json!([
        shell("big", "truncate -s 1400M traj", json!({"outputs": ["traj"]})),
        shell("copy", "truncate -s 300M t", json!({"outputs": ["t"]})),
        shell("use", "test $(stat -c %s x) = 314572800", json!({"files": {"x": {"from": "copy", "output": "t"}}})),
    ]));
    world.init();
    let mut loop_ = world.command(&["loop", "r"]).stdout(std::process::Stdio::null()).spawn().expect("a loop");
    let status = format!("/proc/{}/status", loop_.id());
    let (mut peak_kb, mut collecting) = (0_u64, false);
    let mut pauses = 0;
    while loop_.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kb = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        peak_kb = kb.unwrap_or(peak_kb);
        if pauses < 1 && attempts(&world, "big")[0]["reason"].to_string().contains("is being read") {
            collecting = true;
            let started = std::time::Instant::now();
            world.run(&["pause", "r"]).code(0);
            assert!(started.elapsed().as_secs() < 20, "a pause gets in: {:?}", started.elapsed());
            world.run(&["resume", "r"]).code(0);
            pauses += 1;
        }
    }
    world.run(&["loop", "r"]).code(0);
    assert!(collecting, "one tick did not take all of it");
    assert!(peak_kb > 0 && peak_kb < 150_000, "{peak_kb} kB");
    until("the end", || world.status()["state"] == "completed");
}

/// Where a file system can clone files, what is staged shares its blocks with what it is staged from.
#[test]
fn clones_fit_where_copies_would_not() {
    const SIZE: usize = 40_000_000;
    let disk = crate::support::disk::Disk::with_clones(256);
    let staged = |n: usize| {
        let (id, command) = (format!("t{n}"), "sha256sum big | cut -c1-64; [ $0 = 0 ] && printf x >> big; true");
        json!({"id": id, "operator": "local", "command": ["sh", "-c", command, n.to_string()],
               "files": {"big": {"path": "scripts/big"}}})
    };
    let mut config = tasks_config(&json!((0..8).map(staged).collect::<Vec<_>>()));
    config["campaign"]["files"] = json!(["scripts/**"]);
    let world = World::below(&disk.root(), &config);
    // bytes that nothing makes smaller
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    let big: Vec<u8> = noise.take(SIZE).collect();
    let digest = matterstack::model::document::sha256(&big);
    world.write("scripts/none", "");
    std::fs::write(world.workspace().join("scripts/big"), &big).expect("a file");
    world.init();
    world.run(&["loop", "r", "--timeout", "300s"]).code(0);
    for n in 0..8 {
        let said = world.run(&["logs", "r", &format!("t{n}")]).code(0).stdout;
        assert_eq!(said.trim(), digest, "t{n}, also after another has written into its own");
    }
}
