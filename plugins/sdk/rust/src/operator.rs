//! The operator's side: carries tasks to one outside system.
use crate::bindings::campaign::matterstack::plugin::types;
use crate::bindings::operator::exports::matterstack::plugin::operator_calls::Guest;
use crate::bindings::operator::matterstack::plugin::operator_types as wit;
use crate::error::{Detail, Error};
use serde::Deserialize;
use serde_json::Value;
use std::marker::PhantomData;

/// Drives one outside system. A fresh instance answers each call, so nothing is remembered but the handle.
pub trait Operator {
    /// Makes ready what `submit` needs, inside the attempt directory; may be called again after a crash, or where there
    /// was no time left to submit. What it returns (JSON), if anything, later calls find in [`Attempt::prepared`].
    fn prepare(attempt: &Attempt) -> Result<Option<String>, Error>;
    /// Carries the attempt outside, once.
    fn submit(attempt: &Attempt) -> Result<Submitted, Error>;
    /// Tells whether an interrupted `submit` took effect.
    fn reconcile(attempt: &Attempt) -> Result<Found, Error>;
    /// Asks where the attempt stands.
    fn check_status(attempt: &Attempt) -> Result<StatusReport, Error>;
    /// Brings the results of an ended attempt into its directory.
    fn collect_results(attempt: &Attempt) -> Result<Collected, Error>;
    /// Asks the outside to stop the attempt.
    fn cancel(attempt: &Attempt) -> Result<(), Error>;
}

/// One try at a task. Documents stay text until they are asked for, since most calls need none of them.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The run's id.
    pub run_id: String,
    /// The attempt's id in hexadecimal.
    pub attempt_id: String,
    /// The number of this attempt at its task, from 1.
    pub number: u32,
    /// The task (JSON).
    pub task: String,
    /// The key under which the outside must know this attempt.
    pub submit_key: String,
    /// What `prepare` returned (JSON).
    pub prepared: Option<String>,
    /// What `submit` or a later call returned (JSON).
    pub handle: Option<String>,
    /// What the last undecided `reconcile` noted (JSON).
    pub note: Option<String>,
    /// `operators.<key>.config` of the configuration (JSON).
    pub config: String,
}

impl Attempt {
    /// Makes a first attempt at a task that has not been submitted, for native tests.
    pub fn first(id: &str, task: Value) -> Self {
        Self {
            run_id: "test".into(),
            attempt_id: id.to_owned(),
            number: 1,
            task: task.to_string(),
            submit_key: id.to_owned(),
            prepared: None,
            handle: None,
            note: None,
            config: "{}".into(),
        }
    }

    /// Reads the task into a type of the operator's choice. Fails with `invalid`.
    pub fn task<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(&self.task).map_err(|e| Error::invalid("task", format!("cannot read the task: {e}")))
    }

    /// Reads the operator's configuration. Fails with `invalid`.
    pub fn config<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(&self.config)
            .map_err(|e| Error::invalid("config", format!("cannot read the operator's `config`: {e}")))
    }

    /// Returns the handle, or an `invalid` error with the code `no-handle`.
    pub fn handle(&self) -> Result<&str, Error> {
        self.handle.as_deref().ok_or_else(|| Error::invalid("no-handle", "the attempt has no handle"))
    }

    /// What an answer from outside must repeat to be taken for this attempt's. It follows from the submit key, so every
    /// call knows the same one; it guards against mistakes, and is no secret.
    pub fn token(&self) -> String {
        let mut token =
            crate::work::sha256(format!("matterstack token {} {}", self.run_id, self.submit_key).as_bytes());
        token.truncate(32);
        token
    }
}

/// A submit that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Comes back as `attempt.handle` (JSON) with every later call.
    pub handle: String,
    /// What people over there call it: a job number, a sample's label.
    pub external_id: Option<String>,
}

impl Submitted {
    /// Starts from the handle (JSON).
    pub fn new(handle: impl Into<String>) -> Self {
        Self { handle: handle.into(), external_id: None }
    }

    /// Adds what people over there call it.
    pub fn known_as(mut self, external_id: impl Into<String>) -> Self {
        self.external_id = Some(external_id.into());
        self
    }
}

/// What the outside knows of a submit key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The submit took effect.
    Yes(Submitted),
    /// It did not, and this key can never take effect later.
    No,
    /// Not decided yet.
    Unknown {
        /// Comes back as `attempt.note` (JSON).
        note: String,
        /// When to ask again, in milliseconds from now.
        poll_after_ms: u64,
    },
}

/// Where an attempt stands outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Accepted, not started.
    Queued,
    /// Started, perhaps with progress (JSON).
    Running(Option<String>),
    /// Something outside must happen first.
    Waiting {
        /// `person`, `kit`, `instrument`, `scheduler`, `queue`, `machine`, `waiting`, `capacity`, or a word of its own.
        kind: String,
        /// One sentence for the person who can help.
        detail: String,
    },
    /// Ended well.
    Succeeded,
    /// Ended badly, by the task's own doing.
    Failed(Detail),
    /// Ended because it was cancelled.
    Cancelled,
    /// Provably never started, and not by the task's doing.
    NotStarted(Detail),
    /// Accepted, and nobody knows whether it ran.
    Lost(Detail),
    /// The outside did not answer.
    Unavailable(Detail),
}

/// The answer of `check_status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// Where the attempt stands.
    pub status: Status,
    /// A newer handle (JSON), if it changed.
    pub handle: Option<String>,
    /// When to ask again, in milliseconds from now.
    pub poll_after_ms: Option<u64>,
}

impl From<Status> for StatusReport {
    fn from(status: Status) -> Self {
        Self { status, handle: None, poll_after_ms: None }
    }
}

/// The answer of `collect_results`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The output document (JSON), if the system gives one.
    pub output: Option<String>,
    /// What the attempt used (JSON under the schema `usage`): CPU seconds, peak memory, money, material.
    pub usage: Option<String>,
}

impl Collected {
    /// Starts from the output document (JSON).
    pub fn output(output: impl Into<String>) -> Self {
        Self { output: Some(output.into()), usage: None }
    }

    /// Adds what the attempt used (JSON under the schema `usage`).
    pub fn used(mut self, usage: impl Into<String>) -> Self {
        self.usage = Some(usage.into());
        self
    }
}

impl From<wit::Attempt> for Attempt {
    fn from(a: wit::Attempt) -> Self {
        Self {
            run_id: a.run_id,
            attempt_id: a.attempt_id,
            number: a.number,
            task: a.task,
            submit_key: a.submit_key,
            prepared: a.prepared,
            handle: a.handle,
            note: a.note,
            config: a.config,
        }
    }
}

impl From<wit::Submitted> for Submitted {
    fn from(submitted: wit::Submitted) -> Self {
        Self { handle: submitted.handle, external_id: submitted.external_id }
    }
}

impl From<Submitted> for wit::Submitted {
    fn from(submitted: Submitted) -> Self {
        Self { handle: submitted.handle, external_id: submitted.external_id, more: None }
    }
}

impl From<Collected> for wit::Collected {
    fn from(collected: Collected) -> Self {
        Self { output: collected.output, usage: collected.usage, more: None }
    }
}

impl From<wit::Found> for Found {
    fn from(found: wit::Found) -> Self {
        match found {
            wit::Found::Yes(submitted) => Self::Yes(submitted.into()),
            wit::Found::No => Self::No,
            wit::Found::Unknown(u) => Self::Unknown { note: u.note, poll_after_ms: u.poll_after_ms },
        }
    }
}

impl From<Found> for wit::Found {
    fn from(found: Found) -> Self {
        match found {
            Found::Yes(submitted) => Self::Yes(submitted.into()),
            Found::No => Self::No,
            Found::Unknown { note, poll_after_ms } => Self::Unknown(wit::Undecided { note, poll_after_ms }),
        }
    }
}

impl From<wit::StatusReport> for StatusReport {
    fn from(report: wit::StatusReport) -> Self {
        let status = match report.status {
            wit::Status::Queued => Status::Queued,
            wit::Status::Running(progress) => Status::Running(progress),
            wit::Status::Waiting(w) => Status::Waiting { kind: w.kind, detail: w.detail },
            wit::Status::Succeeded => Status::Succeeded,
            wit::Status::Failed(detail) => Status::Failed(detail.into()),
            wit::Status::Cancelled => Status::Cancelled,
            wit::Status::NotStarted(detail) => Status::NotStarted(detail.into()),
            wit::Status::Lost(detail) => Status::Lost(detail.into()),
            wit::Status::Unavailable(detail) => Status::Unavailable(detail.into()),
        };
        Self { status, handle: report.handle, poll_after_ms: report.poll_after_ms }
    }
}

impl From<StatusReport> for wit::StatusReport {
    fn from(report: StatusReport) -> Self {
        let status = match report.status {
            Status::Queued => wit::Status::Queued,
            Status::Running(progress) => wit::Status::Running(progress),
            Status::Waiting { kind, detail } => wit::Status::Waiting(wit::Waiting { kind, detail, more: None }),
            Status::Succeeded => wit::Status::Succeeded,
            Status::Failed(detail) => wit::Status::Failed(detail.into()),
            Status::Cancelled => wit::Status::Cancelled,
            Status::NotStarted(detail) => wit::Status::NotStarted(detail.into()),
            Status::Lost(detail) => wit::Status::Lost(detail.into()),
            Status::Unavailable(detail) => wit::Status::Unavailable(detail.into()),
        };
        Self { status, handle: report.handle, poll_after_ms: report.poll_after_ms, more: None }
    }
}

/// Carries an operator to the generated bindings; named by [`export_operator!`](crate::export_operator).
#[doc(hidden)]
pub struct Exported<O>(PhantomData<O>);

impl<O: Operator + 'static> Guest for Exported<O> {
    fn prepare(attempt: wit::Attempt) -> Result<Option<String>, types::Error> {
        Ok(O::prepare(&attempt.into())?)
    }

    fn submit(attempt: wit::Attempt) -> Result<wit::Submitted, types::Error> {
        Ok(O::submit(&attempt.into())?.into())
    }

    fn reconcile(attempt: wit::Attempt) -> Result<wit::Found, types::Error> {
        Ok(O::reconcile(&attempt.into())?.into())
    }

    fn check_status(attempt: wit::Attempt) -> Result<wit::StatusReport, types::Error> {
        Ok(O::check_status(&attempt.into())?.into())
    }

    fn collect_results(attempt: wit::Attempt) -> Result<wit::Collected, types::Error> {
        Ok(O::collect_results(&attempt.into())?.into())
    }

    fn cancel(attempt: wit::Attempt) -> Result<(), types::Error> {
        Ok(O::cancel(&attempt.into())?)
    }
}

/// Exports a type that implements [`Operator`] as this component's operator. `manifest:` and a constant text embed what
/// the operator says of itself: a JSON object with `format` (1), `name`, `version`, `authors`, `licence`,
/// `reuse_version` (what counts of it in the reuse of results, in the place of its bytes) and `grants`; all but
/// `format` may be left out.
#[macro_export]
macro_rules! export_operator {
    ($operator:ty) => {
        // a native linker does not take the names of a component's exports
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "exports of a component")]
        const _: () = {
            type Exported = $crate::operator::Exported<$operator>;
    $crate::bindings::operator::__export_operator_world!(Exported with_types_in $crate::bindings::operator);
        };
    };
    ($operator:ty, manifest: $manifest:expr) => {
        $crate::export_operator!($operator);
        $crate::__embed_manifest!($manifest);
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn the_documents_of_an_attempt_are_read_when_asked_for() {
        let mut attempt = Attempt::first("a1", json!({"id": "t", "input": {"x": 1}}));
        assert_eq!(attempt.task::<Value>().unwrap()["input"]["x"], 1);
        assert_eq!(attempt.config::<Value>().unwrap(), json!({}));
        assert_eq!(attempt.handle().unwrap_err().detail().code, "no-handle");
        attempt.handle = Some("{}".into());
        assert_eq!(attempt.handle().unwrap(), "{}");
        (attempt.task, attempt.config) = ("{".into(), "7".into());
        assert_eq!(attempt.task::<Value>().unwrap_err().detail().code, "task");
        #[derive(Debug, Deserialize)]
        struct Config {}
        assert_eq!(attempt.config::<Config>().unwrap_err().detail().code, "config");
    }

    #[test]
    fn every_answer_crosses_the_border_and_comes_back() {
        let detail = || Detail::new("code", "what happened");
        let statuses = [
            Status::Queued,
            Status::Running(Some("{}".into())),
            Status::Running(None),
            Status::Waiting { kind: "person".into(), detail: "look".into() },
            Status::Succeeded,
            Status::Failed(detail()),
            Status::Cancelled,
            Status::NotStarted(detail()),
            Status::Lost(detail()),
            Status::Unavailable(detail()),
        ];
        for status in statuses {
            let report = StatusReport { status, handle: Some("{}".into()), poll_after_ms: Some(5) };
            assert_eq!(StatusReport::from(wit::StatusReport::from(report.clone())), report);
        }
        let unknown = Found::Unknown { note: "{}".into(), poll_after_ms: 9 };
        let submitted = Submitted::new("{}");
        for found in [Found::Yes(submitted.clone()), Found::Yes(submitted.known_as("12")), Found::No, unknown] {
            assert_eq!(Found::from(wit::Found::from(found.clone())), found);
        }
        let collected = wit::Collected::from(Collected::output("{}").used("{\"cpu_s\":1}"));
        assert_eq!((collected.output.as_deref(), collected.usage.as_deref()), (Some("{}"), Some("{\"cpu_s\":1}")));
    }
}
