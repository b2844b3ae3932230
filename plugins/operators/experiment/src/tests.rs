use super::*;
use std::fs;
use std::path::{Path, PathBuf};

struct Lab {
    root: PathBuf,
    attempt: Attempt,
}

impl Lab {
    /// A laboratory with or without an exchange directory.
    fn new(name: &str, exchange: bool) -> Self {
        let root = std::env::temp_dir().join(format!("operator-experiment-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("work")).unwrap();
        if exchange {
            fs::create_dir(root.join("exchange")).unwrap();
        }
        fs::write(root.join("work/recipe.txt"), "heat").unwrap();
        let task = json!({"id": "film", "input": {"celsius": 300}, "files": {"recipe.txt": {"content": "heat"}}});
        let attempt = Attempt {
            run_id: "r".into(),
            attempt_id: "abc".into(),
            number: 1,
            task: task.to_string(),
            submit_key: "abc".into(),
            prepared: None,
            handle: None,
            note: None,
            config: "{}".into(),
        };
        Self { root, attempt }
    }

    fn submitted(name: &str, exchange: bool) -> Self {
        let mut lab = Self::new(name, exchange);
        lab.inside(Experiment::prepare).unwrap();
        lab.attempt.handle = Some(lab.inside(Experiment::submit).unwrap().handle);
        lab
    }

    fn inside<T>(&self, call: impl FnOnce(&Attempt) -> T) -> T {
        place::with_exchange(&self.root.join("exchange"), || {
            work::with_directory(&self.root.join("work"), || call(&self.attempt))
        })
    }

    /// Where the robot works.
    fn bench(&self) -> PathBuf {
        let exchange = self.root.join("exchange/abc");
        if exchange.exists() { exchange } else { self.root.join("work") }
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.bench().join(name), text).unwrap();
    }

    fn look(&mut self) -> Status {
        let report = self.inside(Experiment::check_status).unwrap();
        if report.handle.is_some() {
            self.attempt.handle = report.handle;
        }
        report.status
    }

    fn waits(&mut self) -> String {
        match self.look() {
            Status::Waiting { kind, detail } if kind == "instrument" => detail,
            other => panic!("{other:?}"),
        }
    }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_request_goes_out_and_its_result_comes_back_either_way() {
    for exchange in [false, true] {
        let mut lab = Lab::submitted(&format!("round-{exchange}"), exchange);
        assert_eq!(lab.bench().starts_with(lab.root.join("exchange")), exchange);
        let request = json_of(&lab.bench().join("experiment_request.json"));
        assert_eq!(request["parameters"], json!({"celsius": 300}));
        assert_eq!(request["files"][0]["sha256"], work::sha256(b"heat"));
        assert_eq!(fs::read_to_string(lab.bench().join("recipe.txt")).unwrap(), "heat");
        assert!(lab.waits().contains("awaited"));
        lab.put("experiment_progress.json", "{\"percent\": 40}");
        assert_eq!(lab.look(), Status::Running(Some("{\"percent\":40}".into())));
        lab.put("film.csv", "1,2");
        let result = json!({
            "token": request["token"], "status": "completed", "data": {"nm": 80}, "files": [{"path": "film.csv", "sha256": work::sha256(b"1,2")}],
        });
        lab.put("experiment_result.json", &result.to_string());
        assert_eq!(lab.look(), Status::Succeeded);
        assert_eq!(lab.inside(Experiment::collect_results).unwrap(), Collected::output("{\"nm\":80}"));
        assert_eq!(fs::read_to_string(lab.root.join("work/film.csv")).unwrap(), "1,2");
    }
}

#[test]
fn a_campaign_cannot_answer_its_own_request() {
    let mut lab = Lab::new("own", false);
    for file in ["experiment_result.json", "cancel.json", ".clock"] {
        lab.attempt.task = json!({"id": "film", "input": {}, "files": {file: {"content": "{}"}}}).to_string();
        let error = lab.inside(Experiment::prepare).unwrap_err();
        assert_eq!(error.detail().code, "reserved", "{file}");
    }
}

#[test]
fn an_interrupted_hand_over_is_told_from_one_that_the_robot_took() {
    let lab = Lab::new("interrupted", true);
    lab.inside(Experiment::prepare).unwrap();
    assert_eq!(lab.inside(Experiment::reconcile).unwrap(), Found::No);
    fs::create_dir(lab.root.join("exchange/.abc.part")).unwrap();
    fs::write(lab.root.join("work/experiment_handed_over"), "").unwrap();
    assert_eq!(lab.inside(Experiment::reconcile).unwrap(), Found::No, "the rename has not happened");
    lab.inside(Experiment::submit).unwrap();
    assert!(matches!(lab.inside(Experiment::reconcile).unwrap(), Found::Yes(_)));
    fs::rename(lab.root.join("exchange/abc"), lab.root.join("taken")).unwrap();
    assert!(matches!(lab.inside(Experiment::reconcile).unwrap(), Found::Yes(_)), "it is not handed over a second time");
    lab.inside(Experiment::submit).unwrap();
    assert!(!lab.root.join("exchange/abc").exists());
}

#[test]
fn a_result_that_is_not_this_attempts_is_set_aside() {
    let mut lab = Lab::submitted("foreign", true);
    for (result, word) in [
        (json!({"token": "00", "status": "completed"}).to_string(), "another attempt"),
        (json!({"status": "perhaps"}).to_string(), "how the experiment ended"),
        (json!({"status": "completed", "files": ["../../secret"]}).to_string(), "outside its folder"),
        (json!({"status": "completed", "files": ["/etc/passwd"]}).to_string(), "outside its folder"),
        ("[]".to_owned(), "how the experiment ended"),
    ] {
        lab.put("experiment_result.json", &result);
        let detail = lab.waits();
        assert!(detail.contains(word), "{detail}");
    }
    assert!(lab.bench().join("experiment_result.invalid-5.json").exists());
}

#[test]
fn files_that_are_late_or_wrong_keep_the_attempt_waiting() {
    let mut lab = Lab::submitted("late", true);
    lab.put(
        "experiment_result.json",
        "{\"status\": \"completed\", \"files\": [{\"path\": \"a\", \"sha256\": \"00\"}, \"b\"]}",
    );
    assert!(lab.waits().contains("no such file yet"));
    std::os::unix::fs::symlink("/etc/passwd", lab.bench().join("a")).unwrap();
    assert!(lab.waits().contains("no such file yet"), "a link is no file");
    fs::remove_file(lab.bench().join("a")).unwrap();
    lab.put("a", "1");
    assert!(lab.waits().contains("hash"));
    assert!(!lab.root.join("work/a").exists());
    lab.put("experiment_result.json", "{\"status\": \"failed\", \"error\": \"pump\", \"files\": [\"a\"]}");
    assert_eq!(lab.look(), Status::Failed(Detail::new("failed", "pump")));
    assert!(lab.root.join("work/a").exists(), "what a failed experiment left is kept");
}

#[test]
fn a_cancel_is_left_for_the_robot() {
    let lab = Lab::submitted("cancel", true);
    lab.inside(Experiment::cancel).unwrap();
    assert_eq!(json_of(&lab.bench().join("cancel.json"))["token"], lab.attempt.token());
}

#[test]
fn a_folder_that_is_gone_changes_no_verdict() {
    let mut lab = Lab::submitted("gone", true);
    fs::remove_dir_all(lab.bench()).unwrap();
    assert!(matches!(lab.look(), Status::Unavailable(_)));
    fs::remove_dir(lab.root.join("exchange")).unwrap();
    assert!(matches!(lab.look(), Status::Unavailable(_)));
}
