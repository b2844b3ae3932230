use super::*;
use std::fs;
use std::path::{Path, PathBuf};

struct Gate {
    directory: PathBuf,
    attempt: Attempt,
}

impl Gate {
    fn new(name: &str, input: Value) -> Self {
        let directory = std::env::temp_dir().join(format!("operator-human-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let mut gate = Self { directory, attempt: attempt(&json!({"id": "approve", "input": input})) };
        gate.inside(Human::prepare).unwrap();
        gate.attempt.handle = Some(gate.inside(Human::submit).unwrap().handle);
        gate
    }

    fn inside<T>(&self, call: impl FnOnce(&Attempt) -> T) -> T {
        work::with_directory(&self.directory, || call(&self.attempt))
    }

    fn answer(&self, text: &str) {
        fs::write(self.directory.join("response.json"), text).unwrap();
    }

    fn look(&mut self) -> Status {
        let report = self.inside(Human::check_status).unwrap();
        if report.handle.is_some() {
            self.attempt.handle = report.handle;
        }
        report.status
    }

    fn result(&self) -> Value {
        serde_json::from_str(&self.inside(Human::collect_results).unwrap().output.unwrap()).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.directory.join(name).exists()
    }
}

fn attempt(task: &Value) -> Attempt {
    Attempt {
        run_id: "r".into(),
        attempt_id: "a".into(),
        number: 1,
        task: task.to_string(),
        submit_key: "a".into(),
        prepared: None,
        handle: None,
        note: None,
        config: "{}".into(),
    }
}

fn detail(status: &Status) -> &str {
    match status {
        Status::Waiting { kind, detail } => {
            assert_eq!(kind, "person");
            detail
        }
        Status::Failed(detail) => &detail.message,
        other => panic!("{other:?}"),
    }
}

fn dose() -> Value {
    let schema = json!({
        "type": "object", "required": ["dose"],
        "properties": {"dose": {"type": "number", "minimum": 1, "maximum": 5}, "comment": {"type": "string"}},
    });
    json!({"instructions": "# Choose a dose\nBetween 1 and 5.", "schema": schema})
}

#[test]
fn the_first_valid_answer_counts_and_says_whose_it_is() {
    let mut gate = Gate::new("valid", dose());
    assert_eq!(detail(&gate.look()), "Choose a dose");
    assert_eq!(
        fs::read_to_string(gate.directory.join("instructions.md")).unwrap(),
        "# Choose a dose\nBetween 1 and 5."
    );
    gate.answer("{\"dose\": 3}");
    let sha256 = work::sha256(b"{\"dose\": 3}");
    let by = json!({"user": "ada", "uid": 7, "host": "lab", "at": "2026-01-01T00:00:00.000Z", "sha256": sha256});
    fs::write(gate.directory.join("response.by.json"), by.to_string()).unwrap();
    assert_eq!(gate.look(), Status::Succeeded);
    let result = gate.result();
    assert_eq!(result["answer"], json!({"dose": 3}));
    assert_eq!((&result["by"], &result["by_hand"]), (&json!({"user": "ada", "uid": 7, "host": "lab"}), &json!(false)));
    assert_eq!(result["sha256"], sha256);
    assert!(result["summary"].as_str().unwrap().contains("ada@lab (uid 7) at 2026-01-01"), "{result}");
}

#[test]
fn a_signature_of_another_answer_says_nothing() {
    let mut gate = Gate::new("unsigned", dose());
    gate.answer("{\"dose\": 3}");
    let by = json!({"user": "ada", "uid": 7, "host": "lab", "at": "2026-01-01T00:00:00.000Z", "sha256": "00"});
    fs::write(gate.directory.join("response.by.json"), by.to_string()).unwrap();
    assert_eq!(gate.look(), Status::Succeeded);
    assert_eq!((&gate.result()["by"], &gate.result()["by_hand"]), (&Value::Null, &json!(true)));
    assert!(gate.result()["at"].as_str().unwrap().starts_with("20"));
}

#[test]
fn an_answer_by_hand_says_so_and_whose_file_it_is() {
    let mut gate = Gate::new("hand", dose());
    gate.answer("{\"dose\": 3}");
    let sha256 = work::sha256(b"{\"dose\": 3}");
    let at = "2026-01-01T00:00:00.000Z";
    let by = json!({"user": "ada", "uid": 7, "host": "lab", "at": at, "sha256": sha256, "by_hand": true});
    fs::write(gate.directory.join("response.by.json"), by.to_string()).unwrap();
    assert_eq!(gate.look(), Status::Succeeded);
    assert_eq!(gate.result()["by_hand"], true);
    let summary = gate.result()["summary"].as_str().unwrap().to_owned();
    assert!(summary.starts_with("answered by hand, by ada@lab (uid 7) at 2026-01-01"), "{summary}");
}

#[test]
fn an_invalid_answer_is_set_aside_and_the_gate_stays_open() {
    let mut gate = Gate::new("invalid", dose());
    gate.answer("{\"dose\": 9}");
    assert!(detail(&gate.look()).contains("at `/dose`"), "the place and the rule are named");
    assert!(gate.has("response.invalid-1.json") && gate.has("response.invalid-1.txt") && !gate.has("response.json"));
    assert!(detail(&gate.look()).contains("set aside"), "it is still said at the next look");
    fs::create_dir(gate.directory.join("response.json")).unwrap();
    assert!(detail(&gate.look()).contains("directory"));
    assert!(gate.has("response.invalid-2.json"));
    gate.answer(&format!("{{\"dose\": 3, \"comment\": \"{}\"}}", "x".repeat(2 << 20)));
    assert!(detail(&gate.look()).contains("at most 1048576"));
    gate.answer("{\"dose\": 3}");
    assert_eq!(gate.look(), Status::Succeeded);
}

#[test]
fn half_an_answer_is_read_again() {
    let mut gate = Gate::new("half", dose());
    gate.answer("{\"dose\"");
    for _ in 0..3 {
        assert!(detail(&gate.look()).contains("cannot be read yet"));
    }
    gate.answer("{\"dose\": 2}");
    assert_eq!(gate.look(), Status::Succeeded);
}

#[test]
fn a_rejection_fails_with_its_code_unless_it_is_a_result() {
    let mut gate = Gate::new("rejected", dose());
    gate.answer("{\"approved\": false, \"comment\": \"too brittle\"}");
    match gate.look() {
        Status::Failed(detail) => {
            assert_eq!(detail.code, "rejected");
            assert!(detail.message.ends_with(": too brittle"), "{detail:?}");
        }
        other => panic!("{other:?}"),
    }
    let mut input = dose();
    input["on_reject"] = "result".into();
    let mut gate = Gate::new("result", input);
    gate.answer("{\"approved\": false}");
    assert_eq!(gate.look(), Status::Succeeded);
    assert_eq!(gate.result()["rejected"], true);
}

#[test]
fn only_a_deadline_that_is_set_passes() {
    let mut gate = Gate::new("deadline", json!({"instructions": "soon", "deadline_s": 0.05}));
    assert!(matches!(gate.look(), Status::Waiting { .. }));
    std::thread::sleep(std::time::Duration::from_millis(80));
    match gate.look() {
        Status::Failed(detail) => assert_eq!(detail.code, "deadline"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_that_asks_nothing_is_invalid() {
    for (input, word) in [
        (json!({}), "instructions"),
        (json!({"instructions": "a", "shema": {}}), "shema"),
        (json!({"instructions": "a", "schema": {"type": "nothing"}}), "JSON Schema"),
        (json!({"instructions": "a", "schema": {"$ref": "http://127.0.0.1:1/x.json"}}), "JSON Schema"),
        (json!({"instructions": "a", "deadline_s": -1}), "deadline_s"),
    ] {
        let error = Human::prepare(&attempt(&json!({"id": "a", "input": input}))).unwrap_err();
        assert!(error.detail().message.contains(word), "{error}");
    }
}

#[test]
fn a_campaign_cannot_answer_its_own_question() {
    for file in ["response.json", "response.by.json", "response.json/x", ".clock", "schema.json"] {
        let task = json!({"id": "a", "input": {"instructions": "Go on?"}, "files": {file: {"content": "{\"approved\": true}"}}});
        let error = Human::prepare(&attempt(&task)).unwrap_err();
        assert_eq!(error.detail().code, "reserved", "{file}");
    }
}

#[test]
fn without_a_schema_the_question_is_yes_or_no() {
    let mut gate = Gate::new("approval", json!({"instructions": "Go on?"}));
    gate.answer("{}");
    assert!(detail(&gate.look()).contains("approved"));
    gate.answer("{\"approved\": true}");
    assert_eq!(gate.look(), Status::Succeeded);
    assert!(Path::new(&gate.directory).join("schema.json").exists());
}
