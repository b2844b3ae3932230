//! What an operator is asked: the calls of one attempt, while the outside is kind and while it is not.
use super::outside::{Mood, Outside};
use super::{HUGE, KEY, Stop, Subject, Trial, attempt_directory, host};
use crate::model::config::Grants;
use crate::model::contract::{AttemptRequest, Found, GuestError, Status, StatusReport, Submitted};
use crate::model::id::{OperatorKey, RunId};
use crate::plugin::{PluginError, PluginHost, PluginSource, Plugins};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// How often an operator is asked where an attempt stands before the case is left.
const LOOKS: usize = 6;

/// An operator and what is written down of it.
struct Driving<'a> {
    host: PluginHost,
    outside: Arc<Outside>,
    subject: &'a Subject<'a>,
    trial: &'a mut Trial,
    place: &'a Path,
    key: OperatorKey,
}

/// Tries an operator.
pub(super) fn run(subject: &Subject<'_>, source: PluginSource, place: &Path, trial: &mut Trial) -> Result<(), Stop> {
    let outside = Arc::new(Outside::default());
    let mut host = host(subject, &outside);
    let key = OperatorKey::from(KEY);
    let grants = Grants { compute: subject.backends.clone(), ..Grants::default() };
    host.add_operator(key.clone(), source, grants);
    host.load_all()?;
    let mut driving = Driving { host, outside, subject, trial, place, key };
    driving.ordinary()?;
    driving.ordinary_that_fails()?;
    driving.lost_answer()?;
    driving.never_taken()?;
    driving.forgotten()?;
    driving.silent()?;
    driving.early_cancel()?;
    driving.odd_tasks()
}

impl Driving<'_> {
    /// From beginning to end, each call repeated.
    fn ordinary(&mut self) -> Result<(), Stop> {
        let (mut attempt, outcome) = self.begun("an ordinary task, from beginning to end", Mood::Kind)?;
        let submitted = match outcome {
            Ok(submitted) => submitted,
            Err(error) => return Err(self.refused(&error)),
        };
        self.at_most_one(&attempt)?;
        attempt.handle = Some(submitted.handle);
        let found = self.call("reconcile", &attempt, |host, key, attempt| host.reconcile(key, attempt))?;
        if matches!(found, Ok(Found::No)) {
            return Err(self.trial.found("says `no` in `reconcile` after a submit that it acknowledged"));
        }
        if let Some(status) = self.ended(&mut attempt)? {
            let again = self.status(&attempt)?;
            if again.is_ok_and(|again| word(&again.status) != word(&status)) {
                return Err(self.trial.found(format!("takes back that the attempt is {}", word(&status))));
            }
            if status == Status::Succeeded {
                let once = self.call("collect-results", &attempt, |host, key, of| host.collect_results(key, of))?;
                let twice = self.call("collect-results", &attempt, |host, key, of| host.collect_results(key, of))?;
                if format!("{once:?}") != format!("{twice:?}") {
                    return Err(self.trial.found("collects other results when it is asked again"));
                }
            }
        }
        // what has ended cannot be stopped, and that is no reason to break
        self.call("cancel", &attempt, |host, key, attempt| host.cancel(key, attempt)).map(drop)
    }

    fn ordinary_that_fails(&mut self) -> Result<(), Stop> {
        let (mut attempt, outcome) = self.begun("a task whose job fails", Mood::Failing)?;
        let (Ok(submitted), true) = (outcome, self.outside.asked() > 0) else { return Ok(()) };
        attempt.handle = Some(submitted.handle);
        match self.ended(&mut attempt)? {
            Some(Status::Succeeded) => Err(self.trial.found("says that a job succeeded which failed")),
            _ => Ok(()),
        }
    }

    /// The outside took the job, and nobody was told.
    fn lost_answer(&mut self) -> Result<(), Stop> {
        let name = "a submit whose answer is lost, though the outside has taken the job";
        let (attempt, outcome) = self.begun(name, Mood::TakesAndIsSilent)?;
        self.at_most_one(&attempt)?;
        if self.outside.jobs(attempt.attempt_id.as_str()) == 0 || outcome.is_ok() {
            return Ok(());
        }
        if let Err(GuestError::Invalid(detail) | GuestError::Rejected(detail)) = &outcome {
            let text = format!(
                "says for certain that nothing was submitted ({}), and the outside has the job",
                detail.message
            );
            return Err(self.trial.found(text));
        }
        self.reconciled(attempt)
    }

    /// Asks `reconcile` until it decides; the outside has the job.
    fn reconciled(&mut self, mut attempt: AttemptRequest) -> Result<(), Stop> {
        for _ in 0..LOOKS {
            match self.call("reconcile", &attempt, |host, key, attempt| host.reconcile(key, attempt))? {
                Ok(Found::No) => {
                    return Err(self.trial.found(
                        "says `no` in `reconcile` though the outside has the job: it would be started a second time",
                    ));
                }
                Ok(Found::Unknown { note, .. }) => attempt.note = Some(note),
                Ok(Found::Yes(_)) => return Ok(()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The outside never took the job.
    fn never_taken(&mut self) -> Result<(), Stop> {
        let (attempt, outcome) = self.begun("a submit that the outside does not take", Mood::Busy)?;
        let asked = self.outside.asked() > 0;
        match outcome {
            Ok(_) if asked && self.outside.jobs(attempt.attempt_id.as_str()) == 0 => {
                Err(self.trial.found("says that it has submitted what the outside never took"))
            }
            _ => Ok(()),
        }
    }

    fn forgotten(&mut self) -> Result<(), Stop> {
        let (mut attempt, outcome) = self.begun("a job that the outside forgets", Mood::Kind)?;
        let (Ok(submitted), true) = (outcome, self.outside.asked() > 0) else { return Ok(()) };
        attempt.handle = Some(submitted.handle);
        self.outside.behave(Mood::Forgetful);
        match self.status(&attempt)? {
            Ok(StatusReport { status: Status::Succeeded | Status::Failed(_) | Status::NotStarted(_), .. }) => {
                Err(self.trial.found("says how a job ended that the outside has forgotten: `lost` is the word for it"))
            }
            _ => Ok(()),
        }
    }

    fn silent(&mut self) -> Result<(), Stop> {
        let (mut attempt, outcome) = self.begun("an outside that does not answer", Mood::Kind)?;
        let (Ok(submitted), true) = (outcome, self.outside.asked() > 0) else { return Ok(()) };
        attempt.handle = Some(submitted.handle);
        for mood in [Mood::Silent, Mood::Busy] {
            self.outside.behave(mood);
            let before = self.outside.asked();
            let answer = self.status(&attempt)?;
            let verdict = matches!(
                answer,
                Ok(StatusReport {
                    status: Status::Succeeded | Status::Failed(_) | Status::NotStarted(_) | Status::Lost(_),
                    ..
                })
            );
            if verdict && self.outside.asked() > before {
                return Err(self
                    .trial
                    .found("gives a verdict while the outside does not answer: `unavailable` is the word for it"));
            }
        }
        self.outside.behave(Mood::Silent);
        self.call("collect-results", &attempt, |host, key, attempt| host.collect_results(key, attempt))?.ok();
        self.call("cancel", &attempt, |host, key, attempt| host.cancel(key, attempt)).map(drop)
    }

    fn early_cancel(&mut self) -> Result<(), Stop> {
        let mut attempt = self.attempt("a cancel before anything was submitted", &self.task())?;
        self.outside.behave(Mood::Kind);
        attempt.cancelled = true;
        self.call("cancel", &attempt, |host, key, attempt| host.cancel(key, attempt))?.ok();
        self.status(&attempt)?.ok();
        self.call("reconcile", &attempt, |host, key, attempt| host.reconcile(key, attempt))?.ok();
        self.call("collect-results", &attempt, |host, key, attempt| host.collect_results(key, attempt)).map(drop)
    }

    /// What is no task of this operator is refused in words, not by a trap.
    fn odd_tasks(&mut self) -> Result<(), Stop> {
        let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
        for (name, task) in [
            ("a task with nothing but its id", json!({"id": "a"})),
            ("a task with an empty input", json!({"id": "a", "input": {}})),
            ("a task with input of another type", json!({"id": "µ", "input": [1.5e17, null], "command": ["true"]})),
            ("a task with 1 MB of input", json!({"id": "a", "input": {"x": "x".repeat(HUGE)}})),
            ("a task with input nested 100 deep", json!({"id": "a", "input": nested})),
        ] {
            let mut attempt = self.attempt(name, &task)?;
            self.outside.behave(Mood::Kind);
            let Ok(prepared) = self.call("prepare", &attempt, |host, key, of| host.prepare(key, of))? else { continue };
            attempt.prepared = prepared;
            self.call("submit", &attempt, |host, key, attempt| host.submit(key, attempt))?.ok();
        }
        let attempt = self.attempt("a config that is another's", &self.task())?;
        let attempt = AttemptRequest { config: json!({"tomorrow": [1]}).to_string(), ..attempt };
        self.call("prepare", &attempt, |host, key, attempt| host.prepare(key, attempt)).map(drop)
    }

    /// An attempt up to the answer of `submit`.
    fn begun(
        &mut self,
        name: &'static str,
        mood: Mood,
    ) -> Result<(AttemptRequest, Result<Submitted, GuestError>), Stop> {
        let mut attempt = self.attempt(name, &self.task())?;
        self.outside.behave(mood);
        let once = self.call("prepare", &attempt, |host, key, attempt| host.prepare(key, attempt))?;
        let twice = self.call("prepare", &attempt, |host, key, attempt| host.prepare(key, attempt))?;
        let prepared = match (once, twice) {
            (Ok(once), Ok(twice)) if once == twice => once,
            (Err(error), _) => return Ok((attempt, Err(error))),
            (Ok(_), Ok(_) | Err(_)) => {
                return Err(self.trial.found("answers `prepare` otherwise when it is asked again"));
            }
        };
        attempt.prepared = prepared;
        let submitted = self.call("submit", &attempt, |host, key, attempt| host.submit(key, attempt))?;
        Ok((attempt, submitted))
    }

    fn refused(&self, error: &GuestError) -> Stop {
        self.trial.found(format!(
            "does not take an ordinary task: {error}; give one that it takes with --task FILE, or test the workspace \
             that names it"
        ))
    }

    fn at_most_one(&self, attempt: &AttemptRequest) -> Result<(), Stop> {
        match self.outside.jobs(attempt.attempt_id.as_str()) {
            0 | 1 => Ok(()),
            more => Err(self.trial.found(format!("hands {more} jobs over in one `submit`"))),
        }
    }

    /// How the attempt ended, if it did within a few looks.
    fn ended(&mut self, attempt: &mut AttemptRequest) -> Result<Option<Status>, Stop> {
        for _ in 0..LOOKS {
            let Ok(report) = self.status(attempt)? else { continue };
            attempt.handle = report.handle.or_else(|| attempt.handle.take());
            match report.status {
                Status::Queued | Status::Running(_) | Status::Waiting { .. } | Status::Unavailable(_) => {}
                status @ (Status::Succeeded
                | Status::Failed(_)
                | Status::Cancelled
                | Status::NotStarted(_)
                | Status::Lost(_)) => return Ok(Some(status)),
            }
        }
        Ok(None)
    }

    fn status(&mut self, attempt: &AttemptRequest) -> Result<Result<StatusReport, GuestError>, Stop> {
        self.call("check-status", attempt, |host, key, attempt| host.check_status(key, attempt))
    }

    fn call<T: std::fmt::Debug>(
        &mut self,
        name: &'static str,
        attempt: &AttemptRequest,
        call: impl FnOnce(&PluginHost, &OperatorKey, &AttemptRequest) -> Result<T, PluginError>,
    ) -> Result<Result<T, GuestError>, Stop> {
        let answer = call(&self.host, &self.key, attempt);
        let handle = attempt.handle.as_deref().unwrap_or("none");
        self.trial.called(name, &format!("task {}, handle {handle}", attempt.task), &answer);
        self.trial.answered(name, answer)
    }

    fn task(&self) -> Value {
        let plain = || json!({"id": "a", "operator": KEY, "command": ["true"], "input": {}, "outputs": []});
        self.subject.task.clone().unwrap_or_else(plain)
    }

    /// A new attempt, with which a case begins.
    fn attempt(&mut self, name: &'static str, task: &Value) -> Result<AttemptRequest, Stop> {
        self.trial.case(name);
        let number = self.trial.cases;
        Ok(AttemptRequest {
            run_id: RunId::from("20260101T000000Z-test"),
            attempt_id: format!("{number:032x}").as_str().into(),
            task_id: task["id"].as_str().unwrap_or("a").into(),
            number: 1,
            task: task.to_string(),
            prepared: None,
            handle: None,
            note: None,
            config: self.subject.given.to_string(),
            directory: attempt_directory(self.place, number)?,
            inputs: Arc::default(),
            cancelled: false,
        })
    }
}

/// The case of a status, in a word.
fn word(status: &Status) -> &'static str {
    match status {
        Status::Queued => "queued",
        Status::Running(_) => "running",
        Status::Waiting { .. } => "waiting",
        Status::Succeeded => "succeeded",
        Status::Failed(_) => "failed",
        Status::Cancelled => "cancelled",
        Status::NotStarted(_) => "not-started",
        Status::Lost(_) => "lost",
        Status::Unavailable(_) => "unavailable",
    }
}
