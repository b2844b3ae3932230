use super::*;
use matterstack_sdk::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

#[test]
fn a_secret_is_read_where_the_kit_is_run() {
    let task = json!({"id": "a", "command": "printf %s \"$TOKEN$PLAIN\" > seen", "outputs": ["seen"],
        "env": {"TOKEN": {"secret": "lab"}, "PLAIN": "x"}});
    let desk = Desk::submitted("secret", &task);
    let (kit, home) = (desk.directory.join("kit"), desk.directory.join("home"));
    let place = home.join(".config/matterstack/secrets");
    let run = || Command::new("sh").arg("job.sh").current_dir(&kit).env("HOME", &home).output().unwrap();
    let set_mode = |mode| {
        fs::set_permissions(place.join("lab"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let refused = || {
        let done = run();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{told}");
        assert!(told.contains("the secret lab is wanted in ~/.config/matterstack/secrets/lab"), "{told}");
        assert!(!kit.join("started").exists(), "it can be run once the secret is there");
    };
    refused();
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("lab"), "hush\n").unwrap();
    set_mode(0o640);
    refused();
    set_mode(0o600);
    assert!(run().status.success());
    assert_eq!(fs::read_to_string(kit.join("work/seen")).unwrap(), "hushx");
    assert!(!fs::read_to_string(kit.join("job.sh")).unwrap().contains("hush"));
}

struct Desk {
    directory: PathBuf,
    attempt: Attempt,
}

impl Desk {
    fn new(name: &str, task: &Value) -> Self {
        let directory = std::env::temp_dir().join(format!("operator-kit-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        for (path, source) in task["files"].as_object().into_iter().flatten() {
            fs::create_dir_all(directory.join(path).parent().unwrap()).unwrap();
            fs::write(directory.join(path), source["content"].as_str().unwrap()).unwrap();
        }
        Self { directory, attempt: attempt(task, "{\"settle_s\": 0}") }
    }

    fn submitted(name: &str, task: &Value) -> Self {
        let mut desk = Self::new(name, task);
        desk.inside(ManualHpc::prepare).unwrap();
        desk.attempt.handle = Some(desk.inside(ManualHpc::submit).unwrap().handle);
        desk
    }

    fn inside<T>(&self, call: impl FnOnce(&Attempt) -> T) -> T {
        work::with_directory(&self.directory, || call(&self.attempt))
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.directory.join(name).parent().unwrap()).unwrap();
        fs::write(self.directory.join(name), text).unwrap();
    }

    fn look(&mut self) -> Status {
        let report = self.inside(ManualHpc::check_status).unwrap();
        if report.handle.is_some() {
            self.attempt.handle = report.handle;
        }
        report.status
    }

    fn waits(&mut self) -> String {
        match self.look() {
            Status::Waiting { kind, detail } if kind == "kit" => detail,
            other => panic!("{other:?}"),
        }
    }
}

fn attempt(task: &Value, config: &str) -> Attempt {
    Attempt {
        run_id: "r".into(),
        attempt_id: "0123456789abcdef0123456789abcdef".into(),
        number: 1,
        task: task.to_string(),
        submit_key: "0123456789abcdef0123456789abcdef".into(),
        prepared: None,
        handle: None,
        note: None,
        config: config.into(),
    }
}

fn sum() -> Value {
    json!({
        "id": "sum", "command": ["sh", "-c", "cat in.txt in.txt > out.txt"], "outputs": ["*.txt"],
        "files": {"in.txt": {"content": "1\n"}},
    })
}

#[test]
fn a_kit_is_given_once_and_is_found_again() {
    let desk = Desk::new("given", &sum());
    assert_eq!(desk.inside(ManualHpc::reconcile).unwrap(), Found::No);
    let submitted = desk.inside(ManualHpc::submit).unwrap();
    assert_eq!(submitted.external_id.as_deref(), Some("kit-sum-0123456789ab"));
    let archive = fs::read(desk.directory.join("kit.tar.gz")).unwrap();
    assert_eq!(desk.inside(ManualHpc::reconcile).unwrap(), Found::Yes(submitted.clone()));
    assert_eq!(desk.inside(ManualHpc::submit).unwrap(), submitted);
    assert_eq!(fs::read(desk.directory.join("kit.tar.gz")).unwrap(), archive);
    let manifest: Value = serde_json::from_slice(&fs::read(desk.directory.join("kit/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["files"]["work/in.txt"]["sha256"], work::sha256(b"1\n"));
    assert_eq!(manifest["token"], desk.attempt.token());
}

#[test]
fn its_job_runs_once_and_its_return_holds_the_outputs() {
    let desk = Desk::submitted("job", &sum());
    let kit = desk.directory.join("kit");
    let sh = |script: &str| Command::new("sh").arg(script).current_dir(&kit).env_clear().output().unwrap();
    assert_eq!(sh("return.sh").status.code(), Some(2), "the job has not run");
    assert!(sh("job.sh").status.success());
    assert_eq!(fs::read_to_string(kit.join("work/out.txt")).unwrap(), "1\n1\n");
    assert_eq!(sh("job.sh").status.code(), Some(3), "the command runs once");
    let packed = sh("return.sh");
    assert!(packed.status.success(), "{packed:?}");
    let listed =
        Command::new("tar").arg("-tzf").arg(String::from_utf8(packed.stdout).unwrap().trim()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("/files/output/out.txt") && !listed.contains("output/in.txt"), "{listed}");
}

#[test]
fn status_json_ends_it_once_the_outputs_are_there() {
    let mut desk = Desk::submitted("status", &sum());
    assert!(desk.waits().starts_with("carry `kit-sum-0123456789ab`"));
    desk.write("status.json", "{\"status\": ");
    assert!(desk.waits().contains("cannot be read yet"));
    desk.write("status.json", "{\"status\": \"done\"}");
    assert!(desk.waits().contains("set aside"));
    desk.write("status.json", "{\"status\": \"completed\", \"data\": {\"n\": 1}}");
    assert!(desk.waits().contains("`*.txt`"));
    desk.write("output/out.txt", "2");
    assert_eq!(desk.look(), Status::Succeeded);
    assert_eq!(desk.inside(ManualHpc::collect_results).unwrap(), Collected::output("{\"n\":1}"));
    assert_eq!(fs::read_to_string(desk.directory.join("out.txt")).unwrap(), "2");
    assert_eq!(desk.look(), Status::Succeeded, "a crash after the collection changes nothing");
    desk.write("status.json", "{\"status\": \"failed\", \"error\": \"no licence\"}");
    assert_eq!(desk.look(), Status::Failed(Detail::new("failed", "no licence")));
}

#[test]
fn files_end_it_when_they_stop_changing() {
    let mut desk = Desk::submitted("files", &sum());
    desk.write("output/in.txt", "its own input is no output");
    assert!(desk.waits().contains("matches `*.txt` yet"));
    desk.write("output/a.txt", "1");
    assert!(desk.waits().contains("stops changing"));
    desk.write("output/a.txt", "12");
    assert!(desk.waits().contains("stops changing"));
    assert_eq!(desk.look(), Status::Succeeded);
}

#[test]
fn links_in_output_are_neither_counted_nor_brought_up() {
    let mut desk = Desk::submitted("links", &sum());
    fs::create_dir(desk.directory.join("output")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", desk.directory.join("output/a.txt")).unwrap();
    desk.write("status.json", "{\"status\": \"completed\"}");
    assert!(desk.waits().contains("no file"));
    desk.inside(ManualHpc::collect_results).unwrap();
    assert!(!desk.directory.join("a.txt").exists());
}

#[test]
fn what_cannot_become_a_kit_is_invalid() {
    for (task, config, code) in [
        (json!({"id": "a"}), "{}", "no-command"),
        (json!({"id": "a", "command": " "}), "{}", "no-command"),
        (json!({"id": "a", "command": ["a\u{0}b"]}), "{}", "bad-command"),
        (json!({"id": "a", "command": "a", "env": {"A B": "1"}}), "{}", "env"),
        (json!({"id": "a", "command": "a", "files": {"kit/x": {"content": ""}}}), "{}", "reserved"),
        (json!({"id": "a", "command": "a", "files": {"status.json": {"content": ""}}}), "{}", "reserved"),
        (json!({"id": "a", "command": "a"}), "{\"header\": [\"rm -rf\"]}", "config"),
        (json!({"id": "a", "command": "a"}), "{\"setup\": [\"a\\nb\"]}", "config"),
        (json!({"id": "a", "command": "a"}), "{\"heder\": []}", "config"),
    ] {
        let error = ManualHpc::prepare(&attempt(&task, config)).unwrap_err();
        assert_eq!(error.detail().code, code, "{task} {error}");
    }
}

#[test]
fn its_patterns_are_those_of_the_host() {
    for pattern in ["", "/etc/x", "../x", "a/", "[a", "{a", "a\\"] {
        let task = json!({"id": "a", "command": ["true"], "outputs": [pattern]});
        assert_eq!(ManualHpc::prepare(&attempt(&task, "{}")).unwrap_err().detail().code, "outputs", "{pattern}");
    }
    let outputs = json!([{"pattern": "[!a]*.txt", "keep": "remote"}, "stdout"]);
    let mut desk = Desk::submitted("patterns", &json!({"id": "a", "command": ["true"], "outputs": outputs}));
    desk.write("status.json", "{\"status\": \"completed\"}");
    for not in ["a.txt", ".b.txt", "d/b.txt"] {
        desk.write(&format!("output/{not}"), "1");
        assert!(desk.waits().contains("`[!a]*.txt`"), "{not}");
    }
    desk.write("output/b.txt", "1");
    assert!(desk.waits().contains("`stdout`"));
    desk.write("stdout", "said");
    assert_eq!(desk.look(), Status::Succeeded);
}

#[test]
fn what_a_task_asks_of_a_cluster_stands_in_its_job() {
    let resources =
        json!({"cores": 2, "memory_mb": 10, "gpus": 1, "walltime_s": 90, "nodes": 3, "tasks": 4, "signal_before_s": 5});
    let desk = Desk::submitted("resources", &json!({"id": "a", "command": ["true"], "resources": resources}));
    let job = fs::read_to_string(desk.directory.join("kit/job.sh")).unwrap();
    for option in ["cpus-per-task=2", "mem=10M", "gres=gpu:1", "time=2", "nodes=3", "ntasks=4", "signal=USR1@5"] {
        assert!(job.contains(&format!("#SBATCH --{option}\n")), "{option}: {job}");
    }
}
