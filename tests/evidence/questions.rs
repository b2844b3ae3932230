//! What a stranger asks of a number: who, what, with what, where, when and why, and what failed before. The answers
//! come from the bundle alone.
use crate::support::bundle::sha256;
use crate::support::world::Done;
use matterstack::model::evidence::{ApprovalKind, ApprovalState, AttemptRecord, EvidenceBundle, TaskRecord};
use matterstack::model::states::AttemptState;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A bundle that was given to somebody.
struct Given<'a> {
    folder: &'a Path,
    bundle: EvidenceBundle,
    /// The digests of all its files.
    held: BTreeSet<String>,
}

impl Given<'_> {
    /// The bytes with a digest, which must be there.
    #[track_caller]
    fn has(&self, sha256: &str, what: &str) {
        let omitted = self.bundle.omitted.iter().any(|one| one.sha256 == sha256);
        assert!(self.held.contains(sha256) || omitted, "{what}: nobody has {sha256}");
    }

    fn attempt(&self, id: &str) -> &AttemptRecord {
        self.bundle.attempts.iter().find(|attempt| attempt.attempt_id == id).expect("an attempt that is named")
    }

    /// Why a task was asked for: the decision that planned it, and its reason.
    #[track_caller]
    fn why(&self, task: &TaskRecord) {
        let workflow = self.bundle.workflows.iter().find(|workflow| workflow.iteration == task.iteration);
        let number = workflow.expect("the workflow of a task").decision;
        let decision = self.bundle.decisions.iter().rfind(|decision| decision.number == number).expect("its decision");
        assert!(!decision.plugin_sha256.is_empty());
        self.has(&decision.plugin_sha256, "what decided");
    }

    /// Who, with what, where and when, and of everything consumed the same.
    #[track_caller]
    fn follow(&self, attempt: &AttemptRecord, seen: &mut BTreeSet<String>) {
        if !seen.insert(attempt.attempt_id.clone()) {
            return;
        }
        let what = format!("attempt {} at `{}`", attempt.number, attempt.task);
        let task = self.bundle.tasks.iter().find(|task| task.id == attempt.task).expect("its task");
        assert!(task.spec.0.get().contains("operator") || !task.operator.is_empty(), "{what}: what was asked");
        self.why(task);
        assert!(self.bundle.acts.iter().any(|act| act.verb == "init" || act.verb == "fork"), "{what}: who");
        if let Some(environment) = attempt.environment {
            let found = self.bundle.environments.iter().find(|one| one.environment == environment);
            assert!(found.is_some_and(|one| !one.host.is_empty()), "{what}: where");
        }
        assert!(attempt.ended_at.is_some_and(|end| end.0 >= attempt.created_at.0), "{what}: when");
        for input in &attempt.inputs {
            self.has(&input.sha256, &format!("{what}, `{}`", input.destination));
            match &input.from_attempt {
                Some(from) => self.follow(self.attempt(from), seen),
                None => assert!(!input.from_path.is_empty(), "{what}: where `{}` is from", input.destination),
            }
        }
        for output in &attempt.outputs {
            self.has(&output.sha256, &format!("{what}, `{}`", output.path));
        }
        let before = self.bundle.attempts.iter().filter(|one| one.task == attempt.task && one.number < attempt.number);
        for failed in before.filter(|one| matches!(one.state, AttemptState::Failed | AttemptState::Lost)) {
            assert!(failed.reason.is_some(), "{what}: why attempt {} failed", failed.number);
        }
    }
}

impl Given<'_> {
    /// Who allowed what, and who answered every question: the person, the machine, when, and in which words.
    #[track_caller]
    fn who_answered(&self) {
        let asked = self
            .bundle
            .attempts
            .iter()
            .filter(|one| one.data.as_ref().is_some_and(|data| data["by_hand"].is_boolean()));
        for attempt in asked {
            let id = Some(&attempt.attempt_id);
            let found = self.bundle.approvals.iter().find(|one| one.attempt_id.as_ref() == id).expect("an answer");
            let by = found.by.as_ref().unwrap_or_else(|| panic!("who answered `{}`", attempt.task));
            assert!(!by.user.is_empty() && !by.host.is_empty(), "{found:?}");
            assert!(
                found.at.is_some_and(|at| at.0 + 60_000 >= found.asked_at.0) && found.sha256.len() == 64,
                "{found:?}"
            );
            assert_eq!(found.answer, attempt.data.as_ref().map(|data| data["answer"].clone()));
            let act = self.bundle.acts.iter().find(|act| Some(act.act) == found.act).expect("the act");
            assert_eq!((act.verb.as_str(), &act.by.user), ("respond", &by.user));
        }
        for one in self.bundle.approvals.iter().filter(|one| one.kind == ApprovalKind::Start) {
            let is_answered = matches!(one.state, ApprovalState::Approved | ApprovalState::Rejected);
            assert_eq!(
                (one.by.is_some(), one.at.is_some(), one.act.is_some()),
                (is_answered, is_answered, is_answered)
            );
        }
    }
}

/// Whether a document has a number.
fn has_number(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::Array(all) => all.iter().any(has_number),
        Value::Object(all) => all.values().any(has_number),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Asks every question of every number that attempts left in a bundle; returns how many documents had numbers.
#[track_caller]
pub(crate) fn ask(folder: &Path) -> usize {
    let bundle = super::bundle(folder);
    let all = crate::support::bundle::files(folder);
    let held = all.iter().map(|name| sha256(&fs::read(folder.join(name)).expect("a file"))).collect();
    let given = Given { folder, bundle, held };
    let (mut seen, mut documents) = (BTreeSet::new(), 0);
    for attempt in given.bundle.attempts.iter().filter(|attempt| attempt.state == AttemptState::Completed) {
        let told = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| has_number(&value));
        let read = |sha256: &String| fs::read(given.folder.join("files").join(sha256)).ok();
        let outputs = attempt.outputs.iter().filter_map(|output| read(&output.sha256));
        let numbers = outputs.filter(|bytes| told(bytes.clone())).count();
        documents += numbers + usize::from(attempt.data.as_ref().is_some_and(has_number));
        given.follow(attempt, &mut seen);
    }
    given.who_answered();
    // of each decision the reason, or the error that it came to
    for decision in &given.bundle.decisions {
        assert!(
            decision.next.is_some() || decision.error.is_some() || decision.kind.as_str() == "analyze",
            "{decision:?}"
        );
    }
    documents
}

/// Gives the bundle of a run away as a zip, and asks from that alone; `give` gives a command.
#[track_caller]
pub(crate) fn ask_of_zip(give: &dyn Fn(&[&str]) -> Done, run: &str) {
    let place = tempfile::tempdir().expect("a scratch directory");
    let (zip, folder) = (place.path().join("bundle.zip"), place.path().join("bundle"));
    let shown = zip.display().to_string();
    give(&["evidence", run, "--archive", &shown]).code(0);
    give(&["evidence", "verify", &shown]).code(0);
    let unpacked = Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&zip).arg(&folder).status();
    assert!(unpacked.expect("python3").success());
    assert!(ask(&folder) > 0, "no document has a number");
}

#[test]
fn a_stranger_follows_every_number() {
    let world = super::ended();
    ask_of_zip(&|arguments| world.run(arguments), "r");
}
