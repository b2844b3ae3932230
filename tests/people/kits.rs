//! Kits that go to a cluster and come back, with their scripts run as a person runs them.
use super::{attempt, directory, record, waiting, waits_on, woken, world};
use crate::support::world::World;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs a script of a kit as on a login node: an empty environment, nothing but what the system has.
pub(super) fn sh(script: &Path) -> Output {
    Command::new("sh").arg(script).env_clear().current_dir("/").output().expect("sh")
}

/// Exports the kits of the run, carries them to a directory of their own and unpacks them there.
pub(super) fn carried(world: &World, tasks: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let cluster = tempfile::tempdir().expect("a cluster");
    let out = cluster.path().join("kits.tar.gz").display().to_string();
    let words: Vec<&str> = ["kit", "export", "r"].iter().chain(tasks).chain(&["--out", &out]).copied().collect();
    let told = world.run(&words).code(0);
    assert!(told.stdout.trim().ends_with("kits.tar.gz"), "{told:?}");
    let unpacked = Command::new("tar").arg("-xzf").arg(&out).current_dir(cluster.path()).status().expect("tar");
    assert!(unpacked.success());
    let folder = cluster.path().join("kits-r");
    (cluster, folder)
}

/// The folder of the only kit in a bundle.
pub(super) fn only_kit(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("a bundle").flatten().map(|entry| entry.path());
    let mut kits: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert_eq!(kits.len(), 1, "{kits:?}");
    kits.remove(0)
}

/// Runs the job of a kit and packs what it left.
pub(super) fn returned(kit: &Path) -> PathBuf {
    let job = sh(&kit.join("job.sh"));
    assert!(kit.join("status.json").exists(), "{job:?}");
    let packed = sh(&kit.join("return.sh"));
    assert!(packed.status.success(), "{packed:?}");
    PathBuf::from(String::from_utf8(packed.stdout).expect("UTF-8").trim())
}

pub(super) fn import(world: &World, file: &Path) -> crate::support::world::Done {
    world.run(&["kit", "import", file.to_str().expect("UTF-8")])
}

fn sum() -> Value {
    json!([
        {"id": "sum", "operator": "kit", "command": "cat in.txt in.txt > out.txt; mkdir d; echo 1 > d/n.json; echo said",
         "files": {"in.txt": {"content": "1\n"}}, "outputs": ["*.txt", "d/**"]},
        {"id": "next", "operator": "local", "command": "cat x", "files": {"x": {"from": "sum", "output": "out.txt"}}},
    ])
}

#[test]
fn a_kit_goes_out_runs_on_a_bare_machine_and_comes_back() {
    let world = world(&sum());
    waiting(&world);
    let wait = waits_on(&world, "sum");
    assert_eq!((&wait["kind"], &wait["hint"]), (&json!("kit"), &json!("matterstack kit export r sum")));
    world.run(&["loop", "r"]).code(5);
    let (_cluster, folder) = carried(&world, &[]);
    let kit = only_kit(&folder);
    let file = returned(&kit);
    import(&world, &file).code(0);
    let again = import(&world, &file).code(0);
    assert!(again.stderr.contains("had been imported before"), "{again:?}");
    world.run(&["loop", "r"]).code(0);
    let store = matterstack::store::Store::read(&world.run_dir("r").join("state.sqlite")).expect("the store");
    let acts = store.acts().expect("acts");
    let brought: Vec<_> = acts.iter().filter(|act| act.verb == "kit_import").collect();
    assert_eq!(brought.len(), 1, "the return is one act, of who brought it: {acts:?}");
    let attempt = attempt(&world, "sum");
    assert_eq!(
        (&brought[0].arguments["task"], &brought[0].arguments["attempt"]),
        (&json!("sum"), &attempt["attempt_id"])
    );
    assert_eq!(brought[0].by.user_id, matterstack::ground::machine::user_id());
    assert!(brought[0].arguments["sha256"].is_string() && brought[0].by.version.is_some(), "{brought:?}");
    assert_eq!(world.tasks(), "sum=completed next=completed");
    let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
    let outputs = tasks[0]["outputs"].as_array().expect("outputs");
    let paths: Vec<&str> = outputs.iter().filter_map(|output| output["path"].as_str()).collect();
    assert_eq!(paths, ["d/n.json", "out.txt"], "neither inputs nor the kit's own files are outputs");
    assert_eq!(world.run(&["logs", "r", "sum"]).code(0).stdout, "said\n");
    assert_eq!(world.run(&["logs", "r", "next"]).code(0).stdout, "1\n1\n");
    assert_eq!(record(&world, "sum").0, json!({"exit_code": 0}));
    let late = import(&world, &file).code(0);
    assert!(late.stderr.contains("had been imported before"), "{late:?}");
}

#[test]
fn a_job_that_fails_comes_back_as_failed_with_its_outputs() {
    let tasks =
        json!([{"id": "bad", "operator": "kit", "command": "echo half > out.txt; exit 7", "outputs": ["out.txt"]}]);
    let world = world(&tasks);
    waiting(&world);
    let (_cluster, folder) = carried(&world, &["bad"]);
    import(&world, &returned(&only_kit(&folder))).code(0);
    world.run(&["loop", "r"]).code(1);
    let (data, reason) = record(&world, "bad");
    assert_eq!(data, json!({"exit_code": 7}));
    assert!(reason.contains("exit code 7"), "{reason}");
    assert!(directory(&world, "bad").join("out.txt").exists());
}

#[test]
fn a_pattern_that_matches_everything_matches_no_file_of_the_kit() {
    let tasks = json!([{"id": "all", "operator": "kit", "command": "mkdir d; echo 1 > d/o; echo said", "outputs": ["**"],
                        "files": {"in": {"content": "1"}}}]);
    let world = world(&tasks);
    waiting(&world);
    let (_cluster, folder) = carried(&world, &[]);
    import(&world, &returned(&only_kit(&folder))).code(0);
    world.run(&["loop", "r"]).code(0);
    let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
    let outputs = tasks[0]["outputs"].as_array().expect("outputs");
    assert_eq!(outputs.iter().map(|output| &output["path"]).collect::<Vec<_>>(), ["d/o"]);
}

#[test]
fn many_kits_travel_in_one_bundle() {
    let tasks: Vec<Value> = (0..4)
        .map(
            |n| json!({"id": format!("t{n}"), "operator": "kit", "command": format!("echo {n} > o"), "outputs": ["o"]}),
        )
        .collect();
    let world = world(&json!(tasks));
    waiting(&world);
    let (_cluster, folder) = carried(&world, &[]);
    let kits: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("a bundle")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    assert_eq!(kits.len(), 4);
    for kit in &kits[1..] {
        assert!(sh(&kit.join("job.sh")).status.success());
    }
    let packed = sh(&folder.join("return-all.sh"));
    assert!(String::from_utf8_lossy(&packed.stderr).contains("has not ended"), "{packed:?}");
    assert!(sh(&kits[0].join("job.sh")).status.success());
    assert!(sh(&folder.join("return-all.sh")).status.success());
    let files: Vec<String> = std::fs::read_dir(&folder)
        .expect("a bundle")
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.ends_with(".tar.gz"))
        .collect();
    assert_eq!(files.len(), 4, "{files:?}");
    let words: Vec<&str> = ["kit", "import"].into_iter().chain(files.iter().map(String::as_str)).collect();
    world.run(&words).code(0);
    world.run(&["loop", "r"]).code(0);
}

#[test]
fn a_script_of_hostile_names_runs_and_none_of_them_does() {
    let id = "it's \"$(touch /tmp/pwned-$$)\"\n`touch pwned`; touch pwned\u{2028}\r ünïcode 名";
    let argument = "a'b \"c\" $(touch pwned) `touch pwned`\n\\ ü";
    let task = json!({
        "id": id, "operator": "kit", "command": ["sh", "-c", "printf '%s' \"$1\" > \"o '\\$(x) ü\"; cat \"in '\n\\$(y)\" >> \"o '\\$(x) ü\"", "sh", argument],
        "files": {"in '\n$(y)": {"content": "z"}, "[a]*.txt": {"content": ""}}, "env": {"NAME": argument},
        "outputs": ["o*", "**/*.txt"], "resources": {"cores": 2, "memory_mb": 100, "walltime_s": 90},
    });
    let mut task = task;
    task["command"][2] =
        json!(format!("{}; printf '%s' \"$NAME\" > b.txt", task["command"][2].as_str().expect("a line")));
    let world = world(&json!([task]));
    waiting(&world);
    let (cluster, folder) = carried(&world, &[]);
    let kit = only_kit(&folder);
    let script = std::fs::read_to_string(kit.join("job.sh")).expect("a script");
    assert!(script.contains("#SBATCH --cpus-per-task=2\n") && script.contains("#SBATCH --time=2\n"), "{script}");
    let checked = Command::new("sh").arg("-n").arg(kit.join("return.sh")).status().expect("sh");
    assert!(checked.success());
    import(&world, &returned(&kit)).code(0);
    world.run(&["loop", "r"]).code(0);
    let place = directory(&world, id);
    assert_eq!(std::fs::read_to_string(place.join("o '$(x) ü")).expect("an output"), format!("{argument}z"));
    assert_eq!(std::fs::read_to_string(place.join("b.txt")).expect("an output"), argument);
    let found = Command::new("find").arg(cluster.path()).args(["-name", "pwned*"]).output().expect("find");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn files_that_appear_complete_a_kit() {
    let world = world(&sum());
    waiting(&world);
    let place = directory(&world, "sum");
    std::fs::create_dir_all(place.join("output/d")).expect("a directory");
    std::fs::write(place.join("output/out.txt"), "2\n").expect("a file");
    world.run(&["step", "r"]).code(0);
    assert!(waits_on(&world, "sum")["reason"].as_str().expect("a reason").contains("`d/**`"));
    std::fs::write(place.join("output/d/n.json"), "1").expect("a file");
    world.run(&["loop", "r", "--wait"]).code(0);
    assert_eq!(world.run(&["logs", "r", "next"]).code(0).stdout, "2\n");
}

#[test]
fn a_loop_is_woken_by_a_status_written_by_hand() {
    let world = world(&json!([{"id": "a", "operator": "kit", "command": "true"}]));
    waiting(&world);
    let driver = world.waiting_loop(&["--wait"]);
    let status = directory(&world, "a").join("status.json");
    std::fs::write(status, "{\"status\": \"failed\", \"error\": \"no licence\"}").expect("a status");
    assert_eq!(woken(driver), Some(1));
    assert!(record(&world, "a").1.contains("no licence"));
}

#[test]
fn an_interrupted_submit_gives_out_one_kit() {
    for point in ["submit.before", "submit.after"] {
        let world = world(&sum());
        world.init();
        let killed = world.run_with(&["step", "r"], &[("MATTERSTACK_FAILPOINT", point)]);
        assert_eq!(killed.code, None, "{killed:?}");
        for _ in 0..2 {
            world.run(&["step", "r"]).code(0);
        }
        assert_eq!(attempt(&world, "sum")["state"], "waiting_external", "{point}");
        let (_cluster, folder) = carried(&world, &[]);
        import(&world, &returned(&only_kit(&folder))).code(0);
        world.run(&["loop", "r"]).code(0);
    }
}

#[test]
fn an_export_says_what_it_cannot_do() {
    let world = world(&json!([
        {"id": "a", "operator": "kit", "command": "true", "files": {"x": {"content": "1"}}},
        {"id": "b", "operator": "human", "input": {"instructions": "Go on?"}},
        {"id": "c", "operator": "kit", "command": "true", "files": {"output/x": {"content": "1"}}},
    ]));
    waiting(&world);
    for (task, word) in [("b", "has no kit"), ("c", "failed"), ("nothing", "no task `nothing`")] {
        let refused = world.run(&["kit", "export", "r", task]).code(2);
        assert!(refused.stderr.contains(word) && refused.stderr.contains("hint:"), "{refused:?}");
    }
    assert!(record(&world, "c").1.contains("`output/x`"));
    let out = world.workspace().join("k.tar.gz").display().to_string();
    std::fs::write(directory(&world, "a").join("kit/work/x"), "2").expect("a change");
    let changed = world.run(&["kit", "export", "r", "--out", &out]).code(2);
    assert!(changed.stderr.contains("`work/x`") && changed.stderr.contains("was changed"), "{changed:?}");
    assert!(!Path::new(&out).exists(), "half a bundle is none");
    std::fs::write(directory(&world, "a").join("kit/work/x"), "1").expect("undone");
    world.run(&["kit", "export", "r", "--out", &out]).code(0);
    let taken = world.run(&["kit", "export", "r", "--out", &out]).code(2);
    assert!(taken.stderr.contains("exists already"), "{taken:?}");
}

/// What can be executed here can be over there, and what can be over there can be here.
#[test]
fn x_bits_travel_in_a_kit_and_in_its_return() {
    let make = "#!/bin/sh\nprintf '#!/bin/sh\\necho made\\n' > tool\nchmod +x tool\necho plain > data\n";
    let tasks = json!([
        {"id": "make", "operator": "kit", "command": ["./make.sh"], "outputs": ["tool", "data"],
         "files": {"make.sh": {"content": make, "executable": true}}},
        {"id": "use", "operator": "local", "command": ["sh", "-c", "./tool; [ -x data ] || echo data is none"],
         "files": {"tool": {"from": "make", "output": "tool"}, "data": {"from": "make", "output": "data"}}},
    ]);
    let world = world(&tasks);
    waiting(&world);
    let (_cluster, folder) = carried(&world, &[]);
    import(&world, &returned(&only_kit(&folder))).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.run(&["logs", "r", "use"]).code(0).stdout, "made\ndata is none\n");
}
